//! Network threads: each serves its share of the connections, on a runtime of its own.
//!
//! A thread runs what its connections have received, one after another, and then makes it durable for all of them at
//! once, itself: the commands of a round share one journal write and one sync, as in Redis's event loop, and no request
//! is passed to another thread and back. Measured on two cores at `appendfsync always`, that takes half as much
//! processor time per request as a pool of threads that steal tasks from each other, with syncs on a thread of their
//! own. Only the commands of pipelines are made durable and answered by a [second thread](super::delivery), while this
//! one continues. What may take long runs aside, on a thread that may block.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::{self, Link, Peer};
use super::delivery::Delivery;
use super::outbox::Outlet;
use super::round::Round;
use crate::command::Server;
use crate::limits;
use crate::tls::Tls;

/// A thread with so many connections that it has not taken yet gets more only if all others are in the same state: it
/// is stuck in a long command, or has too much to do.
const ARRIVALS_MANY: usize = 64;
/// How long connections may take to send their last replies at shutdown.
const LAST_REPLIES: Duration = Duration::from_secs(5);

/// A connection, on its way to its thread.
pub struct Arrival {
    pub stream: Stream,
    pub peer: Peer,
}

pub enum Stream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
    /// The handshake is still to come.
    Tls(std::net::TcpStream, Arc<Tls>),
}

/// The network threads.
pub struct Threads(Vec<Thread>);

struct Thread {
    arrivals: mpsc::Sender<Arrival>,
    /// Connections it has, and those on their way to it.
    connections: Arc<AtomicUsize>,
    handles: [JoinHandle<()>; 2],
}

impl Threads {
    /// Starts so many.
    pub fn start(server: &Arc<Server>, count: usize) -> io::Result<Threads> {
        let count = count.max(1);
        // each may read, and LMDB has room for a fixed number of readers
        let long_commands_max = (limits::LONG_COMMANDS_MAX / count).max(1);
        let thread = |at| Thread::start(server.clone(), at, long_commands_max);
        (0..count).map(thread).collect::<io::Result<_>>().map(Threads)
    }

    /// Passes a connection to the thread that has the fewest. Never waits, because a stuck thread must neither delay
    /// the connections of others nor the end of the server. Returns false if the thread is gone.
    pub fn take(&self, arrival: Arrival) -> bool {
        let idlest = self.0.iter().min_by_key(|thread| {
            (thread.untaken() >= ARRIVALS_MANY, thread.connections.load(Ordering::Relaxed))
        });
        let Some(thread) = idlest else { return false };
        thread.connections.fetch_add(1, Ordering::Relaxed);
        let is_taken = thread.arrivals.try_send(arrival).is_ok();
        if !is_taken {
            thread.connections.fetch_sub(1, Ordering::Relaxed);
        }
        is_taken
    }

    /// How many connections they serve or have yet to serve.
    pub fn connections(&self) -> usize {
        self.0.iter().map(|thread| thread.connections.load(Ordering::Relaxed)).sum()
    }

    /// Accepts no more, lets every connection finish what it has received, and ends. Returns false if a thread did not
    /// end in time.
    pub async fn end(self, patience: Duration) -> bool {
        const STEP: Duration = Duration::from_millis(2);
        // without the senders of their channels, they have nothing more to wait for
        let handles: Vec<_> = self.0.into_iter().flat_map(|thread| thread.handles).collect();
        let ended = async {
            while !handles.iter().all(JoinHandle::is_finished) {
                tokio::time::sleep(STEP).await;
            }
        };
        tokio::time::timeout(patience, ended).await.is_ok()
    }
}

impl Thread {
    fn start(server: Arc<Server>, at: usize, long_commands_max: usize) -> io::Result<Thread> {
        // `maxclients` bounds it, and it takes memory only for what is in it
        let (sender, arrivals) = mpsc::channel(limits::CLIENTS_MAX);
        let connections = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(long_commands_max)
            .thread_stack_size(limits::THREAD_STACK_BYTES)
            .build()?;
        let spawn =
            |name: String, run: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name).spawn(run);
        let (counted, delivery) = (connections.clone(), Arc::new(Delivery::default()));
        let (delivering, served) = (delivery.clone(), server.clone());
        let handles = [
            spawn(
                format!("delivery-{at}"),
                Box::new(move || {
                    let acknowledge = |reflects| Ok(served.engine.acknowledge(reflects)?);
                    delivering.run(acknowledge, |bytes, mut asked| {
                        served.stats.sent(bytes);
                        served.stats.answered(asked.requests, asked.since.lap_ns());
                    });
                }),
            )?,
            spawn(
                format!("net-{at}"),
                Box::new(move || runtime.block_on(serve(server, delivery, arrivals, counted))),
            )?,
        ];
        Ok(Thread { arrivals: sender, connections, handles })
    }

    /// Connections on their way to it.
    fn untaken(&self) -> usize {
        self.arrivals.max_capacity() - self.arrivals.capacity()
    }
}

/// Serves connections until no more can come, and then until the last has ended.
async fn serve(
    server: Arc<Server>,
    delivery: Arc<Delivery>,
    mut arrivals: mpsc::Receiver<Arrival>,
    counted: Arc<AtomicUsize>,
) {
    let _over = EndOnDrop(&delivery);
    let round = Arc::new(Round::new(delivery.clone(), server.scripts.turnstile.slot()));
    let (ending, engine) = (round.clone(), server.engine.clone());
    let settling =
        tokio::spawn(async move { ending.finish(|| engine.is_sync_due(), || engine.sync_gathered()).await });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            arrival = arrivals.recv() => match arrival {
                Some(arrival) => start(&server, &round, &mut connections, arrival),
                None => break,
            },
            Some(_) = connections.join_next() => {
                counted.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_REPLIES, ended).await.is_err() {
        tracing::warn!("some clients did not read their last replies in time");
        connections.shutdown().await;
    }
    settling.abort();
}

fn start(server: &Arc<Server>, round: &Arc<Round>, connections: &mut JoinSet<()>, arrival: Arrival) {
    let Arrival { stream, peer } = arrival;
    let (server, round) = (server.clone(), round.clone());
    connections.spawn(async move {
        let address = peer.address.clone();
        if let Err(error) = run(server, round, stream, peer).await {
            tracing::info!(address, %error, "a connection can't be served");
        }
    });
}

async fn run(server: Arc<Server>, round: Arc<Round>, stream: Stream, peer: Peer) -> io::Result<()> {
    match stream {
        Stream::Tcp(stream) => {
            let (reader, writer) = TcpStream::from_std(stream)?.into_split();
            connection::run(server, round, reader, Link::Plain(Outlet::Tcp(writer)), peer).await;
        }
        Stream::Unix(stream) => {
            let (reader, writer) = UnixStream::from_std(stream)?.into_split();
            connection::run(server, round, reader, Link::Plain(Outlet::Unix(writer)), peer).await;
        }
        Stream::Tls(stream, tls) => {
            let stream = TcpStream::from_std(stream)?;
            let stream = tokio::select! {
                () = server.shutdown.raised() => return Ok(()),
                agreed = tls.accept(stream) => agreed?,
            };
            let (reader, writer) = tokio::io::split(stream);
            connection::run(server, round, reader, Link::Sealed(Box::new(writer)), peer).await;
        }
    }
    Ok(())
}

/// However a network thread ends, its delivery thread ends, too.
struct EndOnDrop<'d>(&'d Delivery);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::command::COMMANDS;
    use crate::config::Config;
    use crate::engine::journal::disk::sim::SimDisk;
    use crate::engine::{Engine, Fsync, Options, clock};

    fn arrival() -> Arrival {
        let (ours, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer =
            Peer { address: String::new(), local_address: String::new(), unix: true, file_descriptor: -1 };
        Arrival { stream: Stream::Unix(ours), peer }
    }

    /// A thread that takes no connection until it is let go.
    fn stuck(channel: &mut Vec<mpsc::Receiver<Arrival>>, let_go: &Arc<std::sync::Barrier>) -> Thread {
        let (sender, arrivals) = mpsc::channel(limits::CLIENTS_MAX);
        channel.push(arrivals);
        let wait = || {
            let let_go = let_go.clone();
            std::thread::spawn(move || {
                let_go.wait();
            })
        };
        Thread { arrivals: sender, connections: Arc::default(), handles: [wait(), wait()] }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_stuck_thread() {
        let (mut channels, let_go) = (Vec::new(), Arc::new(std::sync::Barrier::new(5)));
        let threads = Threads(vec![stuck(&mut channels, &let_go), stuck(&mut channels, &let_go)]);
        // the second thread works, and has more connections
        let mut taken = Vec::new();
        threads.0[1].connections.store(1_000, Ordering::Relaxed);
        for _ in 0..3 * ARRIVALS_MANY {
            assert!(threads.take(arrival()));
            taken.extend(std::iter::from_fn(|| channels[1].try_recv().ok()));
        }
        assert_eq!((channels[0].len(), taken.len()), (ARRIVALS_MANY, 2 * ARRIVALS_MANY));
        // both are stuck
        for _ in 0..4 * ARRIVALS_MANY {
            assert!(threads.take(arrival()));
        }
        assert_eq!(threads.connections(), 1_000 + 7 * ARRIVALS_MANY);
        assert!(!threads.end(Duration::from_millis(10)).await);
        let_go.wait();
    }

    #[tokio::test]
    async fn a_thread_that_is_gone_takes_nobody() {
        let (mut channels, let_go) = (Vec::new(), Arc::new(std::sync::Barrier::new(3)));
        let threads = Threads(vec![stuck(&mut channels, &let_go)]);
        channels.clear();
        assert!(!threads.take(arrival()));
        assert_eq!(threads.connections(), 0);
        let_go.wait();
        assert!(threads.end(Duration::from_secs(60)).await);
    }

    /// The client's side of a connection.
    struct Caller(std::os::unix::net::UnixStream);

    impl Caller {
        fn connect(threads: &Threads) -> Caller {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            // only so that a failure doesn't hang
            theirs.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            assert!(threads.take(Arrival { stream: Stream::Unix(ours), peer: arrival().peer }));
            Caller(theirs)
        }

        fn send(&mut self, words: &str, times: usize) {
            self.0.write_all(words.repeat(times).as_bytes()).unwrap();
        }

        fn expect(&mut self, reply: &str, times: usize) {
            let mut read = vec![0; reply.len() * times];
            self.0.read_exact(&mut read).unwrap();
            assert_eq!(String::from_utf8_lossy(&read), reply.repeat(times));
        }

        fn has_no_reply(&mut self) -> bool {
            self.0.set_nonblocking(true).unwrap();
            let read = self.0.read(&mut [0]);
            self.0.set_nonblocking(false).unwrap();
            read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        }
    }

    /// A sync that takes long holds up only the replies that show what it makes durable, for single requests and for
    /// pipelines.
    #[test]
    fn reads_of_what_is_durable_do_not_wait_for_a_slow_disk() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
        let options =
            Options { fsync: Fsync::Always, disk: Arc::new(disk.clone()), ..Options::new(dir.path()) };
        let engine = Engine::open(options).unwrap();
        let server = Arc::new(Server::new(&COMMANDS, engine, Config::default(), clock::steady_ms()));
        let threads = Threads::start(&server, 1).unwrap();
        let [mut reader, mut writer, mut pipeline, mut curious] = [(); 4].map(|()| Caller::connect(&threads));
        writer.send("SET old 1\r\n", 1);
        writer.expect("+OK\r\n", 1);
        // the journal learns that the disk is slow
        while server.engine.reader().status().journal.last_sync_us <= 1_000 {
            let held = disk.hold_syncs();
            writer.send("SET slow 1\r\n", 1);
            std::thread::sleep(Duration::from_millis(20));
            drop(held);
            writer.expect("+OK\r\n", 1);
        }

        let held = disk.hold_syncs();
        let writes = [(&mut writer, 1), (&mut pipeline, 50)];
        for (client, times) in writes {
            client.send("SET new 1\r\n", times);
            for times in [1, 50, 1, 50] {
                reader.send("GET old\r\n", times);
                reader.expect("$1\r\n1\r\n", times);
            }
        }
        curious.send("GET new\r\n", 1);
        for times in [1, 50] {
            reader.send("GET old\r\n", times);
            reader.expect("$1\r\n1\r\n", times);
        }
        assert!([&mut writer, &mut pipeline, &mut curious].into_iter().all(Caller::has_no_reply));
        drop(held);
        writer.expect("+OK\r\n", 1);
        pipeline.expect("+OK\r\n", 50);
        curious.expect("$1\r\n1\r\n", 1);
    }
}
