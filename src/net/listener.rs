//! Listening sockets, and the end of all connections.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream, lookup_host};
use tokio::task::JoinSet;

use super::connection::Peer;
use super::thread::{Arrival, Stream, Threads};
use crate::command::Server;
use crate::engine::clock;
use crate::telemetry::stats::SAMPLE_EVERY_MS;

/// How long accepting pauses when it fails for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Listen {
    pub bind: Vec<String>,
    /// 0: any free one, which the log names.
    pub port: u16,
    pub unixsocket: Option<PathBuf>,
    pub backlog: u32,
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// Listens, and serves connections until the server's shutdown signal. Fails if an address can't be bound.
pub async fn serve(server: Arc<Server>, listen: &Listen) -> io::Result<()> {
    let mut port = listen.port;
    let mut listeners = Vec::new();
    for host in &listen.bind {
        let listener = bind(host, port, listen.backlog).await?;
        // with port 0, all addresses get the port that the first was given
        port = listener.local_addr()?.port();
        tracing::info!(address = %listener.local_addr()?, "listening");
        listeners.push(listener);
    }
    server.stats.set_port(port);
    let unix = listen.unixsocket.as_deref().map(bind_unix).transpose()?;
    let threads = Threads::start(&server, server.config.settings().io_threads)?;
    let mut accepting = JoinSet::new();
    let (sender, mut accepted) = tokio::sync::mpsc::channel(64);
    for listener in listeners {
        let sender = sender.clone();
        accepting.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => drop(sender.send(Accepted::Tcp(stream, peer)).await),
                    Err(error) => accept_failed(&error).await,
                }
            }
        });
    }
    if let Some(listener) = unix {
        accepting.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(sender.send(Accepted::Unix(stream)).await),
                    Err(error) => accept_failed(&error).await,
                }
            }
        });
    }
    let mut tick = tokio::time::interval(Duration::from_millis(SAMPLE_EVERY_MS));
    loop {
        tokio::select! {
            () = server.shutdown.raised() => break,
            _ = tick.tick() => server.stats.sample(clock::now_ms()),
            Some(one) = accepted.recv() => start(&server, &threads, one, listen.unixsocket.as_deref()).await,
        }
    }
    accepting.shutdown().await;
    if let Some(path) = &listen.unixsocket {
        // a socket file that is left behind is replaced at the next start
        let _ = std::fs::remove_file(path);
    }
    server.clients.all().iter().for_each(|client| client.kill.raise());
    threads.end().await;
    Ok(())
}

async fn bind(host: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let failed =
        |error: io::Error| io::Error::new(error.kind(), format!("can't listen on {host}:{port}: {error}"));
    let host = if host == "*" { "0.0.0.0" } else { host };
    let address = lookup_host((host, port)).await.map_err(failed)?.next();
    let address = address.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    socket.listen(backlog).map_err(failed)
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let failed = |error: io::Error| {
        io::Error::new(error.kind(), format!("can't listen on {}: {error}", path.display()))
    };
    // what a server that was killed left behind; a live one's data directory is locked, so this is not its socket
    match std::fs::symlink_metadata(path) {
        Ok(meta) if std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()) => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    tracing::info!(path = %path.display(), "listening");
    Ok(listener)
}

async fn accept_failed(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn start(server: &Server, threads: &Threads, accepted: Accepted, unixsocket: Option<&Path>) {
    let full = server.clients.len() >= server.config.settings().maxclients;
    match accepted {
        Accepted::Tcp(stream, _) if full => refuse(server, stream).await,
        Accepted::Unix(stream) if full => refuse(server, stream).await,
        Accepted::Tcp(stream, peer) => {
            if let Err(error) = tune(&stream, server.config.settings().tcp_keepalive_s) {
                tracing::debug!(%error, "socket options can't be set");
            }
            let local = stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
            let peer = Peer { address: peer.to_string(), local_address: local, unix: false };
            hand_over(threads, stream.into_std().map(Stream::Tcp), peer).await;
        }
        Accepted::Unix(stream) => {
            let path = unixsocket.map(|path| path.display().to_string()).unwrap_or_default();
            let peer = Peer { address: format!("{path}:0"), local_address: format!("{path}:0"), unix: true };
            hand_over(threads, stream.into_std().map(Stream::Unix), peer).await;
        }
    }
}

async fn hand_over(threads: &Threads, stream: io::Result<Stream>, peer: Peer) {
    match stream {
        Ok(stream) => threads.take(Arrival { stream, peer }).await,
        Err(error) => tracing::warn!(%error, "a connection can't be served"),
    }
}

async fn refuse(server: &Server, mut stream: impl AsyncWriteExt + Unpin) {
    server.stats.rejected_connections.fetch_add(1, Ordering::Relaxed);
    let _ = stream.write_all(b"-ERR max number of clients reached\r\n").await;
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
