//! Computes how many connections fit into the number of files that the process may open.
//!
//! Every connection takes a file descriptor, and so does every segment of the journal. If connections could take all of
//! them, anyone could stop all writes by opening enough silent connections. Therefore the server raises its limit as
//! far as necessary and possible, reserves descriptors for itself, and serves as many clients as the rest allows.

use super::Settings;
use crate::limits::{
    ADDRESS_DESCRIPTORS, CLIENTS_MIN, HTTP_CONNECTIONS_MAX, HTTP_DESCRIPTORS_SHARE, OWN_DESCRIPTORS,
    THREAD_DESCRIPTORS,
};
use crate::telemetry::process;

/// The numbers of connections that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub clients: usize,
    pub http_connections: usize,
}

impl Room {
    /// Raises the limit of the process as far as these settings need it and the system allows it. Fails with a sentence
    /// if too few descriptors are left.
    pub fn make(settings: &Settings) -> Result<Room, String> {
        let own = own(settings);
        let wanted = own + settings.maxclients + HTTP_CONNECTIONS_MAX;
        let limit = usize::try_from(process::allow_descriptors(wanted as u64)).unwrap_or(usize::MAX);
        let room = Room::within(limit, settings);
        if room.clients < CLIENTS_MIN {
            let least = own + CLIENTS_MIN * HTTP_DESCRIPTORS_SHARE;
            return Err(format!(
                "this process may open {limit} files and sockets (ulimit -n), which is not enough; let it open {least}"
            ));
        }
        Ok(room)
    }

    fn within(limit: usize, settings: &Settings) -> Room {
        let left = limit.saturating_sub(own(settings));
        let http_connections =
            if settings.has_http() { HTTP_CONNECTIONS_MAX.min(left / HTTP_DESCRIPTORS_SHARE) } else { 0 };
        Room { clients: left - http_connections, http_connections }
    }
}

/// Descriptors that are not for connections.
fn own(settings: &Settings) -> usize {
    OWN_DESCRIPTORS
        + settings.io_threads * THREAD_DESCRIPTORS
        + settings.bind.len().max(settings.http_bind.len()) * ADDRESS_DESCRIPTORS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_keeps_what_it_needs_and_clients_get_the_rest() {
        let settings = |http_port| Settings { io_threads: 1, http_port, ..Settings::default() };
        for (limit, http_port, clients, http_connections) in [
            (1_024, 8379, 636, 212),
            (1_024, 0, 848, 0),
            (256, 8379, 60, 20),
            (176, 8379, 0, 0),
            (0, 8379, 0, 0),
            (20_000, 8379, 19_312, 512),
        ] {
            let room = Room::within(limit, &settings(http_port));
            assert_eq!(room, Room { clients, http_connections }, "{limit}");
        }
    }
}
