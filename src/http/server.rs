//! The sockets of the HTTP API: a thread with a runtime of its own, so that a slow client here costs the Redis protocol
//! nothing. It speaks HTTP/1.1. What a client may send before its body is bounded in bytes, headers and time, and so is
//! the number of connections.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::command::Server;
use crate::config::Address;
use crate::http::request::door::Peer;
use crate::limits::{
    HTTP_ADDRESS_PERCENT, HTTP_CROWDED_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_THREADS_MAX,
};
use crate::listen::listen;
use crate::tls::Tls;

/// How long a client may take for the head of a request, or be silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take for the head of its first request, because until then it is not known whether it wants
/// anything.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The same, for a client beyond the maximum.
const CROWDED_HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// How long sent data may stay unread or unacknowledged before the connection is closed.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long accepting pauses when it fails for lack of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long requests may take to end at shutdown.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Listen {
    pub bind: Vec<Address>,
    /// 0: no plain HTTP.
    pub port: u16,
    /// 0: no HTTPS.
    pub tls_port: u16,
    pub backlog: u32,
}

/// The running HTTP API.
pub struct Running {
    thread: JoinHandle<()>,
    /// Where it is, one for each address.
    pub urls: Vec<String>,
}

impl Running {
    /// Waits for the end, which the server's shutdown signal brings.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

/// Listens, and serves until the server's shutdown signal. Fails if an address can't be bound. `tls` is there if there is
/// a port for it. None: there is no port at all.
pub fn start(
    server: Arc<Server>,
    places: &Listen,
    tls: Option<Arc<Tls>>,
    connections_max: usize,
) -> io::Result<Option<Running>> {
    let (mut listeners, mut urls) = (Vec::new(), Vec::new());
    if places.port != 0 {
        for listener in listen(&places.bind, places.port, "http-port", places.backlog)? {
            urls.push(format!("http://{}/", listener.local_addr()?));
            listeners.push((listener, None));
        }
    }
    if places.tls_port != 0 {
        for listener in listen(&places.bind, places.tls_port, "https-port", places.backlog)? {
            urls.push(format!("https://{}/", listener.local_addr()?));
            listeners.push((listener, tls.clone()));
        }
    }
    if listeners.is_empty() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(HTTP_THREADS_MAX)
        .thread_name("http-request")
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(server, listeners, connections_max)) {
            tracing::error!(%error, "the HTTP API can't be served");
        }
        runtime.shutdown_timeout(LAST_ANSWERS);
    })?;
    Ok(Some(Running { thread, urls }))
}

async fn serve(
    server: Arc<Server>,
    listeners: Vec<(std::net::TcpListener, Option<Arc<Tls>>)>,
    connections_max: usize,
) -> io::Result<()> {
    let router = super::router(server.clone());
    let places = Arc::new(Places::new(connections_max));
    let mut listening = JoinSet::new();
    for (listener, tls) in listeners {
        let listener = TcpListener::from_std(listener)?;
        listening.spawn(accept(server.clone(), listener, tls, router.clone(), places.clone()));
    }
    // each ends with the shutdown signal, once its connections have
    while listening.join_next().await.is_some() {}
    Ok(())
}

/// Marks a connection beyond the maximum, in all or from one address. It is accepted nevertheless, so that health
/// checks get through when all places are taken; everything else is refused.
#[derive(Debug, Clone, Copy)]
pub struct Crowded;

/// Who is connected.
struct Places {
    connections_max: usize,
    connections_per_address_max: usize,
    crowded_max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
    /// Connections beyond the most there may be, oldest first, some of which have ended.
    crowded: Mutex<VecDeque<AbortHandle>>,
}

/// The place of a connection, for as long as it lives.
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn new(descriptors: usize) -> Places {
        let crowded_max = HTTP_CROWDED_MAX.min(descriptors / 4).max(1);
        let connections_max = descriptors.saturating_sub(crowded_max).max(1);
        Places {
            connections_max,
            connections_per_address_max: (connections_max * HTTP_ADDRESS_PERCENT / 100).max(1),
            crowded_max,
            taken: Mutex::default(),
            crowded: Mutex::default(),
        }
    }

    /// A place for a connection from this address, if one is free.
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock();
        let all: usize = taken.values().sum();
        let of_address = taken.get(&address).copied().unwrap_or(0);
        if all >= self.connections_max || of_address >= self.connections_per_address_max {
            return None;
        }
        taken.insert(address, of_address + 1);
        Some(Place { places: self.clone(), address })
    }

    /// Keeps a connection that has no place. If there are too many of them, the oldest is closed.
    fn crowd(&self, connection: AbortHandle) {
        let mut crowded = self.crowded.lock();
        crowded.retain(|connection| !connection.is_finished());
        if crowded.len() >= self.crowded_max
            && let Some(oldest) = crowded.pop_front()
        {
            oldest.abort();
        }
        crowded.push_back(connection);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

async fn accept(
    server: Arc<Server>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    places: Arc<Places>,
) {
    let mut connections = JoinSet::new();
    let mut is_trouble_told = false;
    loop {
        tokio::select! {
            () = server.shutdown.raised() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    is_trouble_told = false;
                    let (server, tls, router) = (server.clone(), tls.clone(), router.clone());
                    match places.take(peer.ip()) {
                        Some(place) => {
                            connections.spawn(async move {
                                connection(&server, stream, tls, router, FIRST_HEAD_TIMEOUT).await;
                                drop(place);
                            });
                        }
                        None => {
                            let router = router.layer(Extension(Crowded));
                            places.crowd(connections.spawn(async move {
                                connection(&server, stream, tls, router, CROWDED_HEAD_TIMEOUT).await;
                            }));
                        }
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_trouble_told, true) {
                        tracing::warn!(%error, "HTTP connections can't be accepted at the moment");
                    }
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

/// Serves a connection, over TLS if there is one: the handshake is done within the time for the first head.
async fn connection(
    server: &Server,
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    router: Router,
    first_head: Duration,
) {
    let (Ok(address), Ok(local_address)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let _ = stream.set_nodelay(true);
    // a client that stops reading in the middle of a response is not waited for without end
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT));
    let peer = Peer { address, local_address };
    let Some(tls) = tls else { return speak(server, stream, peer, router, first_head).await };
    let agreed = tokio::select! {
        agreed = tokio::time::timeout(first_head, tls.accept(stream)) => agreed,
        () = server.shutdown.raised() => return,
    };
    match agreed {
        Ok(Ok(stream)) => speak(server, stream, peer, router, first_head).await,
        Ok(Err(error)) => tracing::debug!(%address, %error, "HTTPS: the TLS handshake failed"),
        Err(_) => {}
    }
}

/// Takes requests from a stream of bytes, and answers them.
async fn speak(
    server: &Server,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    router: Router,
    first_head: Duration,
) {
    let heard = Arc::new(AtomicBool::new(false));
    let hears = heard.clone();
    let hear = move |request: Request, next: Next| {
        hears.store(true, Ordering::Relaxed);
        next.run(request)
    };
    let router = router.layer(middleware::from_fn(hear)).layer(Extension(peer));
    let service = TowerToHyperService::new(router);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let is_silent = async {
        tokio::time::sleep(first_head).await;
        if heard.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = is_silent => return,
        () = server.shutdown.raised() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(address = %peer.address, %error, "HTTP connection lost");
    }
}
