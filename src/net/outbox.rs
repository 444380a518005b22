//! The sending side of a plain connection, and the replies that leave by another thread.
//!
//! ```text
//!            hand_in                    deliver: acknowledged, and all sent
//!   empty ─────────────▶ under way ───────────────────────────────────────────▶ empty
//!     ▲                      │ not acknowledged, or not all of it taken at once
//!     │    delivered         ▼
//!     └────────────────── returned
//! ```
//!
//! The connection's task hands in replies, and the [delivery](super::delivery) thread sends them. It never waits for a
//! client: replies that a client does not take at once are returned, and the connection's own task waits. One batch is
//! under way at a time, so replies keep their order. A client that waits for a reply sends nothing before it, so a task
//! usually finds the outbox empty when it comes with the next batch, and nobody is woken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::Interest;
use tokio::net::{tcp, unix};
use tokio::sync::Notify;

use crate::client::Client;
use crate::engine::Seq;
use crate::engine::clock::Stopwatch;
use crate::error::Error;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;

/// A buffer that grew beyond this for one large reply is freed afterwards.
pub const KEPT_BYTES: usize = 256 * 1024;

/// How many bytes are sent to one client before others have their turn.
const SENT_AT_ONCE_BYTES: usize = 1024 * 1024;
/// How often a connection checks whether its client is still there, while a command runs.
const PRESENCE_STEP: Duration = Duration::from_millis(100);
/// How long a command continues after its client has closed its side.
const LEAVING_PATIENCE: Duration = Duration::from_secs(2);

/// The sending half of a socket, usable from any thread.
pub enum Outlet {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    /// What a test does with bytes.
    #[cfg(all(test, feature = "model"))]
    Model(Box<dyn Fn(&[u8]) -> io::Result<usize> + Send + Sync>),
}

impl Outlet {
    /// Sends what the socket takes. Fails with [`io::ErrorKind::WouldBlock`] if that is nothing now.
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Outlet::Tcp(half) => half.try_write(bytes),
            Outlet::Unix(half) => half.try_write(bytes),
            #[cfg(all(test, feature = "model"))]
            Outlet::Model(send) => send(bytes),
        }
    }

    /// Whether the client has closed its side, as far as the runtime has been told.
    async fn is_closed_by_peer(&self) -> bool {
        let ready = async {
            match self {
                Outlet::Tcp(half) => half.as_ref().ready(Interest::READABLE).await,
                Outlet::Unix(half) => half.as_ref().ready(Interest::READABLE).await,
                #[cfg(all(test, feature = "model"))]
                Outlet::Model(_) => std::future::pending().await,
            }
        };
        match tokio::time::timeout(Duration::ZERO, ready).await {
            Ok(Ok(ready)) => ready.is_read_closed(),
            Ok(Err(_)) => true,
            // nothing has happened on the socket
            Err(_) => false,
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Outlet::Tcp(half) => half.writable().await,
            Outlet::Unix(half) => half.writable().await,
            #[cfg(all(test, feature = "model"))]
            Outlet::Model(_) => {
                shuttle::future::yield_now().await;
                Ok(())
            }
        }
    }
}

pub struct Outbox {
    outlet: Outlet,
    client: Arc<Client>,
    batch: Mutex<Batch>,
    /// Notified when the connection's task waits for the batch, or gets replies back.
    done: Notify,
}

#[derive(Default)]
struct Batch {
    state: State,
    /// Replies that have not been sent. If nothing is under way or returned, an empty buffer for the next batch.
    bytes: BytesMut,
    /// The change that they must not overtake.
    reflects: Seq,
    asked: Asked,
    /// Whether the connection's task waits for the end of this batch.
    is_awaited: bool,
}

/// The requests that a batch answers: how many, and a stopwatch that runs since they arrived.
#[derive(Clone, Copy, Default)]
pub struct Asked {
    pub requests: usize,
    pub since: Stopwatch,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    UnderWay,
    Returned(Result<(), Error>),
}

/// The result of a batch.
pub enum Outcome {
    Sent,
    /// The rest is still to be sent.
    Unsent(BytesMut),
    /// The changes that its replies show may be lost: none of them was sent, and none may be.
    Refused(Error),
}

impl Outbox {
    pub fn new(outlet: Outlet, client: Arc<Client>) -> Outbox {
        Outbox { outlet, client, batch: Mutex::default(), done: Notify::new() }
    }

    /// Sends from the connection's own task, waiting for the client. Nothing may be under way.
    pub async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut sent_here = 0;
        while !bytes.is_empty() {
            // a client that reads as fast as this sends must not keep others waiting
            if sent_here > SENT_AT_ONCE_BYTES {
                tokio::task::yield_now().await;
                sent_here = 0;
            }
            match self.outlet.try_send(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    bytes = &bytes[sent..];
                    sent_here += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.outlet.writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what the socket takes at once. Returns how much that was. Nothing may be under way.
    pub fn send_some(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.outlet.try_send(bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(0)
            }
            sent => sent,
        }
    }

    /// Ready when the client has closed its side and some time has passed since.
    pub async fn left(&self) {
        while !self.outlet.is_closed_by_peer().await {
            tokio::time::sleep(PRESENCE_STEP).await;
        }
        // it may have closed only its sending side, and wait for replies
        tokio::time::sleep(LEAVING_PATIENCE).await;
    }

    /// Accepts replies, and returns an empty buffer for the next ones. Nothing may be under way or returned. The
    /// replies are sent by [`deliver`](Outbox::deliver).
    pub fn hand_in(&self, replies: &mut BytesMut, reflects: Seq, asked: Asked) {
        self.client.output_buffer.store(replies.len(), Ordering::Relaxed);
        let mut batch = self.batch.lock();
        debug_assert!(matches!(batch.state, State::Empty) && batch.bytes.is_empty());
        std::mem::swap(&mut batch.bytes, replies);
        (batch.state, batch.reflects, batch.asked) = (State::UnderWay, reflects, asked);
    }

    /// The requests that are answered by what is under way.
    pub fn asked(&self) -> Asked {
        self.batch.lock().asked
    }

    /// The change that the replies under way must not overtake.
    pub fn reflects(&self) -> Seq {
        self.batch.lock().reflects
    }

    /// Sends the batch that is under way, if what it reflects is acknowledged. Returns how many bytes were sent. Never
    /// waits.
    pub fn deliver(&self, acknowledged: Result<(), Error>) -> usize {
        let mut bytes = std::mem::take(&mut self.batch.lock().bytes);
        let mut sent = 0;
        // the connection's task will notice errors of the socket, too
        while acknowledged.is_ok()
            && sent < bytes.len()
            && let Ok(some @ 1..) = self.outlet.try_send(&bytes[sent..])
        {
            sent += some;
        }
        let is_done = sent == bytes.len();
        if is_done {
            self.client.output_buffer.store(0, Ordering::Relaxed);
            bytes = emptied(bytes);
        } else {
            bytes.advance(sent);
        }
        self.client.bytes_out.fetch_add(sent as u64, Ordering::Relaxed);
        let mut batch = self.batch.lock();
        batch.state = if is_done { State::Empty } else { State::Returned(acknowledged) };
        batch.bytes = bytes;
        if std::mem::take(&mut batch.is_awaited) || !is_done {
            self.done.notify_one();
        }
        sent
    }

    /// Waits until nothing is under way. Returned replies then belong to the caller.
    pub async fn delivered(&self) -> Outcome {
        loop {
            if let Some(delivery) = self.look() {
                return delivery;
            }
            self.done.notified().await;
        }
    }

    /// Waits until something was returned; [`delivered`](Outbox::delivered) gets it.
    pub async fn returned(&self) {
        while !matches!(self.batch.lock().state, State::Returned(_)) {
            self.done.notified().await;
        }
    }

    fn look(&self) -> Option<Outcome> {
        let mut batch = self.batch.lock();
        match std::mem::take(&mut batch.state) {
            State::Empty => Some(Outcome::Sent),
            State::UnderWay => {
                (batch.state, batch.is_awaited) = (State::UnderWay, true);
                None
            }
            State::Returned(Ok(())) => Some(Outcome::Unsent(std::mem::take(&mut batch.bytes))),
            State::Returned(Err(error)) => {
                batch.bytes.clear();
                Some(Outcome::Refused(error))
            }
        }
    }
}

/// A buffer whose bytes have been sent, for further use.
pub fn emptied(mut buffer: BytesMut) -> BytesMut {
    if buffer.capacity() > KEPT_BYTES {
        return BytesMut::new();
    }
    buffer.clear();
    buffer
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream as Peer;

    use tokio::net::UnixStream;

    use super::*;

    /// An outbox, and its client's side.
    fn outbox() -> (Arc<Outbox>, Peer) {
        let (ours, theirs) = Peer::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (_, writer) = UnixStream::from_std(ours).unwrap().into_split();
        let client = Arc::new(Client::new(1, String::new(), String::new(), 0));
        (Arc::new(Outbox::new(Outlet::Unix(writer), client)), theirs)
    }

    async fn writable(outbox: &Outbox) {
        outbox.outlet.writable().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_acknowledged_leaves_and_its_buffer_serves_again() {
        let (outbox, mut peer) = outbox();
        writable(&outbox).await;
        for (reply, reflects) in [("+OK\r\n", 7), (":12\r\n", 9)] {
            let mut replies = BytesMut::from(reply);
            outbox.hand_in(&mut replies, reflects, Asked::default());
            assert!(replies.is_empty());
            assert_eq!((outbox.reflects(), outbox.deliver(Ok(()))), (reflects, 5));
            assert!(matches!(outbox.delivered().await, Outcome::Sent));
            let mut read = [0; 5];
            peer.read_exact(&mut read).unwrap();
            assert_eq!(read, reply.as_bytes());
        }
        let mut next = BytesMut::new();
        outbox.hand_in(&mut next, 10, Asked::default());
        assert!(next.capacity() > 0, "the buffer of the batch before");
    }

    #[tokio::test]
    async fn what_is_not_acknowledged_does_not_leave() {
        let (outbox, mut peer) = outbox();
        writable(&outbox).await;
        outbox.hand_in(&mut BytesMut::from("+OK\r\n"), 7, Asked::default());
        assert_eq!(outbox.deliver(Err(Error::Storage("no".into()))), 0);
        outbox.returned().await;
        assert!(matches!(outbox.delivered().await, Outcome::Refused(Error::Storage(why)) if why == "no"));
        // and does not come back with the next batch
        outbox.hand_in(&mut BytesMut::from("+2\r\n"), 8, Asked::default());
        assert_eq!(outbox.deliver(Ok(())), 4);
        let mut read = [0; 4];
        peer.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"+2\r\n");
    }

    #[tokio::test]
    async fn what_the_client_does_not_take_comes_back() {
        let (outbox, mut peer) = outbox();
        writable(&outbox).await;
        let all: Vec<u8> = (0..4_000_000_u32).map(|at| at as u8).collect();
        outbox.hand_in(&mut BytesMut::from(&all[..]), 7, Asked::default());
        let sent = outbox.deliver(Ok(()));
        assert!((1..all.len()).contains(&sent));
        outbox.returned().await;
        let Outcome::Unsent(rest) = outbox.delivered().await else { panic!("nothing came back") };
        assert_eq!(rest.len(), all.len() - sent);
        let reader = std::thread::spawn(move || {
            let mut read = vec![0; 4_000_000];
            peer.read_exact(&mut read).map(|()| read)
        });
        outbox.send(&rest).await.unwrap();
        assert!(reader.join().unwrap().unwrap() == all);
        assert!(matches!(outbox.delivered().await, Outcome::Sent));
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_delivery() {
        let (outbox, _peer) = outbox();
        writable(&outbox).await;
        for _ in 0..100 {
            outbox.hand_in(&mut BytesMut::from("+OK\r\n"), 7, Asked::default());
            let delivering = outbox.clone();
            let delivery = std::thread::spawn(move || delivering.deliver(Ok(())));
            assert!(matches!(outbox.delivered().await, Outcome::Sent));
            delivery.join().unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_an_error_for_its_task() {
        let (outbox, peer) = outbox();
        writable(&outbox).await;
        drop(peer);
        outbox.hand_in(&mut BytesMut::from("+OK\r\n"), 7, Asked::default());
        assert_eq!(outbox.deliver(Ok(())), 0);
        let Outcome::Unsent(rest) = outbox.delivered().await else { panic!("nothing came back") };
        assert!(outbox.send(&rest).await.is_err());
    }
}
