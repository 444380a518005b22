//! Sockets of the HTTP API: a thread with a runtime of its own, so that a slow client here costs the Redis protocol
//! nothing. HTTP/1.1; what a client may send before its body is bounded in bytes, headers and time, and so are
//! connections.

use std::io;
use std::net::{TcpListener as StdListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::door::Peer;
use crate::command::Server;
use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_REQUESTS_MAX};

/// How long a client may take for the head of a request, and be silent between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long what was sent may lie unread at the other end, or unacknowledged, before the connection is given up.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long accepting pauses when it fails for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long requests may take to end at shutdown.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// The running HTTP API.
pub struct Running(JoinHandle<()>);

impl Running {
    /// Waits for the end, which the server's shutdown signal brings.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

/// Listens on a port of all these addresses, and serves until the server's shutdown signal. Fails if an address can't be
/// bound.
pub fn start(server: Arc<Server>, bind: &[String], port: u16, connections_max: usize) -> io::Result<Running> {
    let listeners = bind.iter().map(|host| listen(host, port)).collect::<io::Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(HTTP_REQUESTS_MAX)
        .thread_name("http-request")
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(server, listeners, connections_max)) {
            tracing::error!(%error, "the HTTP API can't be served");
        }
        runtime.shutdown_timeout(LAST_ANSWERS);
    })?;
    Ok(Running(thread))
}

fn listen(host: &str, port: u16) -> io::Result<StdListener> {
    let name = if host == "*" { "0.0.0.0" } else { host };
    let failed = |error: io::Error| {
        io::Error::new(error.kind(), format!("can't listen on {host}:{port}, http-port: {error}"))
    };
    // one address of a name, as for the Redis protocol
    let address = (name, port).to_socket_addrs().map_err(failed)?.next();
    let address = address.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
    let listener = StdListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    tracing::info!(%address, "listening for HTTP");
    Ok(listener)
}

async fn serve(server: Arc<Server>, listeners: Vec<StdListener>, connections_max: usize) -> io::Result<()> {
    let router = super::router(server.clone());
    let places = Arc::new(Semaphore::new(connections_max));
    let mut listening = JoinSet::new();
    for listener in listeners {
        let listener = TcpListener::from_std(listener)?;
        listening.spawn(accept(server.clone(), listener, router.clone(), places.clone()));
    }
    // each ends with the shutdown signal, once its connections have
    while listening.join_next().await.is_some() {}
    Ok(())
}

async fn accept(server: Arc<Server>, listener: TcpListener, router: Router, places: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            () = server.shutdown.raised() => break,
            (accepted, place) = next => match accepted {
                Ok((stream, _)) => {
                    let (server, router) = (server.clone(), router.clone());
                    connections.spawn(async move {
                        connection(&server, stream, router).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_ANSWERS, ended).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(server: &Server, stream: TcpStream, router: Router) {
    let (Ok(address), Ok(local_address)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let _ = stream.set_nodelay(true);
    // who stops reading in the middle of an answer is not waited for without end
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT));
    let service = TowerToHyperService::new(router.layer(Extension(Peer { address, local_address })));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = server.shutdown.raised() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%address, %error, "HTTP connection lost");
    }
}
