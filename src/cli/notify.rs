//! Tells systemd that the server is ready, or stops, with a few words to the socket that the environment names
//! (sd_notify(3)). Without that variable it does nothing.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// All listening sockets are there, and every record is.
pub const READY: &str = "READY=1";
pub const STOPPING: &str = "STOPPING=1";

/// Notifies the service manager, if there is one.
pub fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = tell_at(&socket, state) {
        tracing::warn!(?socket, %error, "systemd can't be told that {state}");
    }
}

fn tell_at(socket: &OsStr, state: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address(socket)?).map(drop)
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn both_kinds_of_socket_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        tell_at(path.as_os_str(), READY).unwrap();
        assert_eq!(heard(&socket), "READY=1");

        let name = format!("@larder-notify-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&address(OsStr::new(&name)).unwrap()).unwrap();
        tell_at(OsStr::new(&name), STOPPING).unwrap();
        assert_eq!(heard(&socket), "STOPPING=1");
        drop(socket);
        assert!(tell_at(path.parent().unwrap().join("none").as_os_str(), READY).is_err());
    }
}
