//! Listening sockets, and the end of all connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::connection::Peer;
use super::thread::{Arrival, Stream, Threads};
use crate::command::Server;
use crate::config::Address;
use crate::engine::clock;
use crate::listen::listen;
use crate::tls::Tls;

/// How long accepting pauses when it fails for lack of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long another server may take to accept a connection before it counts as busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections to the Unix socket that wait to be accepted.
const UNIX_BACKLOG: i32 = 1_024;

/// How long the network threads may take to end. Their connections get the time for their last replies; a thread that is
/// in a long command gets some more.
const THREADS_END: Duration = Duration::from_secs(15);

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Listen {
    pub bind: Vec<Address>,
    /// 0: any free one, which the log names; with TLS none.
    pub port: u16,
    /// 0: no TLS.
    pub tls_port: u16,
    pub unixsocket: Option<PathBuf>,
    /// Permissions of the Unix socket; None: what the process's umask leaves.
    pub unixsocket_mode: Option<u32>,
    pub backlog: u32,
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Tls(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// Listens, tells `listening` the URLs, and serves connections until the server's shutdown signal. Fails if an address
/// can't be bound. `tls` is there if there is a port for it.
pub async fn serve(
    server: Arc<Server>,
    places: &Listen,
    tls: Option<Arc<Tls>>,
    listening: impl FnOnce(&[String]),
) -> io::Result<()> {
    let (with_tls, with_plain) = (places.tls_port != 0, places.tls_port == 0 || places.port != 0);
    let mut port = places.tls_port;
    let (mut listeners, mut urls) = (Vec::new(), Vec::new());
    if with_tls {
        for listener in listen(&places.bind, places.tls_port, "tls-port", places.backlog)? {
            urls.push(format!("rediss://{}", listener.local_addr()?));
            listeners.push((TcpListener::from_std(listener)?, Accepted::Tls as fn(_, _) -> _));
        }
    }
    if with_plain {
        for listener in listen(&places.bind, places.port, "port", places.backlog)? {
            port = listener.local_addr()?.port();
            urls.push(format!("redis://{}", listener.local_addr()?));
            listeners.push((TcpListener::from_std(listener)?, Accepted::Tcp as fn(_, _) -> _));
        }
    }
    server.stats.set_port(port);
    let unix = match places.unixsocket.as_deref() {
        Some(path) => Some(bind_unix(path, places.unixsocket_mode).await?),
        None => None,
    };
    let own_socket = places.unixsocket.as_deref().and_then(identity);
    let threads = Threads::start(&server, server.config.settings().io_threads)?;
    let guests =
        Arc::new(Guests { server: server.clone(), threads, tls, unixsocket: places.unixsocket.clone() });
    let mut accepting = JoinSet::new();
    for (listener, kind) in listeners {
        let guests = guests.clone();
        accepting.spawn(async move {
            let mut troubles = Troubles::default();
            loop {
                let accepted = listener.accept().await;
                if let Some((stream, peer)) = troubles.look(accepted).await {
                    guests.receive(kind(stream, peer));
                }
            }
        });
    }
    if let Some(listener) = unix {
        let guests = guests.clone();
        accepting.spawn(async move {
            let mut troubles = Troubles::default();
            loop {
                let accepted = listener.accept().await;
                if let Some((stream, _)) = troubles.look(accepted).await {
                    guests.receive(Accepted::Unix(stream));
                }
            }
        });
    }
    urls.extend(places.unixsocket.as_ref().map(|path| format!("unix://{}", path.display())));
    listening(&urls);
    // on a thread of its own: a timer of the runtime would wake this one twice each time
    let (end, ended) = sync_channel::<()>(0);
    let sampled = server.clone();
    let sampler = std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
        while ended.recv_timeout(sampled.stats.samples_every()) == Err(RecvTimeoutError::Timeout) {
            if sampled.stats.sample(clock::steady_ms()) {
                sampled.clients.evict(sampled.config.maxmemory_clients());
            }
        }
    })?;
    server.shutdown.raised().await;
    drop(end);
    let _ = sampler.join();
    accepting.shutdown().await;
    if let Some(path) = &places.unixsocket
        && own_socket.is_some()
        && identity(path) == own_socket
    {
        // a socket file that is left behind is replaced at the next start
        let _ = std::fs::remove_file(path);
    }
    server.clients.all().iter().for_each(|client| client.end());
    server.scripts.running.end();
    // the tasks that accept have ended, so nobody else has them
    if let Some(guests) = Arc::into_inner(guests)
        && !guests.threads.end(THREADS_END).await
    {
        tracing::error!("a network thread is stuck in a command; the server exits without waiting for it");
    }
    Ok(())
}

/// Which file is at a path, if there is one: it may be another one later.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

async fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let failed = |error: io::Error| {
        io::Error::new(error.kind(), format!("can't listen on {}: {error}", path.display()))
    };
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            // a killed server leaves one behind at which nobody answers; a running server answers, however busy it is
            match tokio::time::timeout(ANSWER_TIMEOUT, UnixStream::connect(path)).await {
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(failed)?;
                }
                Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => return Err(failed(error)),
                Ok(_) | Err(_) => {
                    let why = "another server listens there; stop it, or name another path";
                    return Err(failed(io::Error::new(io::ErrorKind::AddrInUse, why)));
                }
            }
        }
        _ => {}
    }
    let listener = listen_unix(path, mode).map_err(failed)?;
    Ok(listener)
}

/// Nobody can connect before the permissions are right.
fn listen_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(UNIX_BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Handles connections that can't be accepted for lack of descriptors or memory. Waiting ones are accepted later, so
/// accepting continues, but with pauses, and the log has one line for all failures in a row.
#[derive(Default)]
struct Troubles {
    are_told: bool,
}

impl Troubles {
    async fn look<T>(&mut self, accepted: io::Result<T>) -> Option<T> {
        match accepted {
            Ok(accepted) => {
                self.are_told = false;
                Some(accepted)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.are_told, true) {
                    tracing::warn!(%error, "connections can't be accepted at the moment");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

/// What is needed to begin a connection.
struct Guests {
    server: Arc<Server>,
    threads: Threads,
    tls: Option<Arc<Tls>>,
    unixsocket: Option<PathBuf>,
}

impl Guests {
    /// Passes a connection to a thread, or refuses it. Never waits.
    fn receive(&self, accepted: Accepted) {
        let server = &self.server;
        // everything with a descriptor counts, including unfinished handshakes and killed connections that are not gone
        // yet
        let full = self.threads.connections() >= server.config.settings().maxclients;
        let (stream, peer) = match accepted {
            Accepted::Tcp(stream, _) if full => return refuse(server, |words| stream.try_write(words)),
            Accepted::Unix(stream) if full => return refuse(server, |words| stream.try_write(words)),
            // before the TLS handshake it would not understand the error
            Accepted::Tls(..) if full => return count_refused(server),
            Accepted::Tcp(stream, peer) => {
                let peer = greet(server, &stream, peer);
                (stream.into_std().map(Stream::Tcp), peer)
            }
            Accepted::Tls(stream, peer) => {
                let Some(tls) = self.tls.clone() else { return };
                let peer = greet(server, &stream, peer);
                (stream.into_std().map(|stream| Stream::Tls(stream, tls)), peer)
            }
            Accepted::Unix(stream) => {
                let path =
                    self.unixsocket.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
                let peer = Peer {
                    address: format!("{path}:0"),
                    local_address: format!("{path}:0"),
                    unix: true,
                    file_descriptor: stream.as_raw_fd(),
                };
                (stream.into_std().map(Stream::Unix), peer)
            }
        };
        match stream {
            Ok(stream) => {
                if !self.threads.take(Arrival { stream, peer }) {
                    count_refused(server);
                }
            }
            Err(error) => tracing::warn!(%error, "a connection can't be served"),
        }
    }
}

fn greet(server: &Server, stream: &TcpStream, peer: SocketAddr) -> Peer {
    if let Err(error) = tune(stream, server.config.settings().tcp_keepalive_s) {
        tracing::debug!(%error, "socket options can't be set");
    }
    let local = stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let file_descriptor = stream.as_raw_fd();
    Peer { address: peer.to_string(), local_address: local, unix: false, file_descriptor }
}

fn refuse(server: &Server, write: impl FnOnce(&[u8]) -> io::Result<usize>) {
    count_refused(server);
    // a socket that was just accepted has room for it
    let _ = write(b"-ERR max number of clients reached\r\n");
}

fn count_refused(server: &Server) {
    server.stats.mine().rejected_connections.fetch_add(1, Ordering::Relaxed);
}

fn tune(stream: &TcpStream, keepalive_s: u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if keepalive_s > 0 {
        // as Redis: the first probe after the interval, further ones after a third of it, three in all
        let probe = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive_s))
            .with_interval(Duration::from_secs((keepalive_s / 3).max(1)))
            .with_retries(3);
        socket2::SockRef::from(stream).set_tcp_keepalive(&probe)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_at_which_somebody_answers_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let first = bind_unix(&path, None).await.unwrap();
        let before = identity(&path);
        let refused = bind_unix(&path, None).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().contains("another server listens there"), "{refused}");
        assert_eq!(identity(&path), before);
        UnixStream::connect(&path).await.unwrap();
        drop(first);
        let _second = bind_unix(&path, None).await.unwrap();
        assert!(identity(&path).is_some());
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_has_the_permissions_that_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        for mode in [0o700, 0o770, 0o777, 0o600] {
            let _listener = bind_unix(&path, Some(mode)).await.unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
            UnixStream::connect(&path).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"mine").unwrap();
        assert!(bind_unix(&path, Some(0o700)).await.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
