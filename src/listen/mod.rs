//! Listening sockets of TCP, for the Redis protocol and for HTTP alike.

mod holder;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Address;

/// Listens on a port of these addresses; errors name the port's `setting`. With port 0, all addresses use the port that
/// the first one was assigned.
///
/// As in Redis, an address of a family that this machine doesn't support is left out, and so is an optional address
/// that it doesn't have, with a warning. Any other failure is an error, and so is an empty list of addresses at the
/// end. Names stand for the first address that they resolve to, and IPv6 addresses are for IPv6 alone.
pub fn listen(
    addresses: &[Address],
    mut port: u16,
    setting: &str,
    backlog: u32,
) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let host = &address.host;
        match listen_on(address.name(), port, backlog) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if may_be_left_out(address, &error) => {
                tracing::warn!(address = host, port, %error, "this machine has no such address; the server listens for {setting} without it");
            }
            Err(error) => {
                let why = match resolve(address.name(), port) {
                    Ok(taken) if error.kind() == io::ErrorKind::AddrInUse => holder::describe(taken, setting),
                    _ => error.to_string(),
                };
                let why = format!("can't listen on {host}:{port}, {setting}: {why}");
                return Err(io::Error::new(error.kind(), why));
            }
        }
    }
    if listeners.is_empty() {
        let why =
            format!("{setting}: this machine has none of the addresses {}", Address::show_all(addresses));
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why));
    }
    Ok(listeners)
}

fn may_be_left_out(address: &Address, error: &io::Error) -> bool {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ADDRNOTAVAIL) => address.is_optional,
        Some(Errno::AFNOSUPPORT | Errno::PFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::NOPROTOOPT) => true,
        _ => false,
    }
}

fn resolve(name: &str, port: u16) -> io::Result<SocketAddr> {
    (name, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable.into())
}

fn listen_on(name: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let address = resolve(name, port)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // otherwise `::` would also take the port of IPv4, and `* -::*` could not be served
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A machine has no address of these networks, which are for documentation.
    #[test]
    fn an_optional_address_may_be_missing() {
        let listened = |bind: &str| {
            let addresses = Address::parse_all(bind).unwrap();
            let listeners = listen(&addresses, 0, "port", 16).map_err(|error| error.to_string())?;
            Ok::<usize, String>(listeners.len())
        };
        for (bind, count) in [
            ("127.0.0.1", 1),
            ("localhost", 1),
            ("127.0.0.1 127.0.0.2", 2),
            ("127.0.0.1 -192.0.2.1", 1),
            ("-192.0.2.1 127.0.0.1", 1),
            ("-127.0.0.1", 1),
        ] {
            assert_eq!(listened(bind), Ok(count), "{bind}");
        }
        let both = listened("* -::*").unwrap();
        assert_eq!(both, 1 + usize::from(TcpListener::bind("[::1]:0").is_ok()));
        for (bind, why) in [
            ("192.0.2.1", "can't listen on 192.0.2.1:0, port: "),
            ("127.0.0.1 192.0.2.1", "can't listen on 192.0.2.1:"),
            ("-192.0.2.1", "port: this machine has none of the addresses -192.0.2.1"),
            ("no.such.host.invalid", "can't listen on no.such.host.invalid:0, port: "),
        ] {
            assert!(listened(bind).unwrap_err().starts_with(why), "{bind}");
        }
    }

    #[test]
    fn all_addresses_have_the_port_of_the_first() {
        let listeners = listen(&["127.0.0.1".into(), "127.0.0.2".into()], 0, "port", 16).unwrap();
        let port = |at: usize| listeners[at].local_addr().unwrap().port();
        assert_eq!(port(0), port(1));
        let taken = listen(&["127.0.0.1".into()], port(0), "http-port", 16).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert!(taken.to_string().contains(&format!("127.0.0.1:{}, http-port: ", port(0))), "{taken}");
    }
}
