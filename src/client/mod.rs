//! Connections as the rest of the server sees them, and their registry, for CLIENT LIST, CLIENT KILL and CLIENT PAUSE.

pub mod mailbox;
pub mod signal;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use parking_lot::{Mutex, RwLock};

use crate::acl::{Account, DEFAULT_USER};
use crate::client::mailbox::Mailbox;
use crate::client::signal::Signal;
use crate::store::StoreId;

/// The public state of a connection. The connection's task writes it, and other threads read it.
#[derive(Debug)]
pub struct Client {
    pub id: u64,
    /// `address:port` of the peer; `path:0` of a Unix socket.
    pub address: String,
    /// `address:port` of the server; `path:0` of a Unix socket.
    pub local_address: String,
    pub file_descriptor: i32,
    pub unix: bool,
    /// By the steady clock.
    pub created_ms: u64,
    pub name: Mutex<String>,
    pub library_name: Mutex<String>,
    pub library_version: Mutex<String>,
    /// Its account; `None` before its session has begun.
    pub account: Mutex<Option<Arc<Account>>>,
    pub store: AtomicU32,
    /// 2 or 3.
    pub protocol: AtomicU8,
    pub no_evict: AtomicBool,
    pub no_touch: AtomicBool,
    /// When it sent its last request, by the steady clock.
    pub active_ms: AtomicU64,
    /// The last command, as an index into the command table's list of names.
    pub last_command: AtomicUsize,
    pub commands: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// Received bytes of requests that have not all run yet.
    pub query_buffer: AtomicUsize,
    /// The unused capacity of that buffer.
    pub query_room: AtomicUsize,
    /// Bytes of the words of a request that waits, or that runs on another thread.
    pub argument_bytes: AtomicUsize,
    /// Bytes of replies not yet sent.
    pub output_buffer: AtomicUsize,
    /// The part of that memory that is not shared.
    pub own_output: AtomicUsize,
    /// The memory of its queued commands, watched keys and subscriptions.
    pub session_bytes: AtomicUsize,
    /// Commands queued since MULTI; negative: there is no transaction.
    pub queued: AtomicI64,
    /// Keys that it watches.
    pub watched: AtomicUsize,
    /// Whether a pause delays it.
    pub held: AtomicBool,
    /// How many channels, patterns and shard channels it subscribes to.
    pub subscriptions: [AtomicUsize; 3],
    /// Messages from others for it.
    pub mailbox: Mailbox,
    /// Raised to end the connection.
    pub kill: Signal,
    /// Whether it was removed from the registry.
    pub gone: AtomicBool,
    /// It did not read its messages, and is disconnected without waiting for it any longer.
    pub overflowed: AtomicBool,
    /// Set when the client has disconnected while a command runs for it. A long command that only reads then ends
    /// early.
    pub has_left: AtomicBool,
}

impl Client {
    /// A connection that has sent nothing yet.
    pub fn new(id: u64, address: String, local_address: String, steady_ms: u64) -> Client {
        Client {
            id,
            address,
            local_address,
            file_descriptor: -1,
            unix: false,
            created_ms: steady_ms,
            name: Mutex::default(),
            library_name: Mutex::default(),
            library_version: Mutex::default(),
            account: Mutex::default(),
            store: AtomicU32::new(0),
            protocol: AtomicU8::new(2),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            active_ms: AtomicU64::new(steady_ms),
            last_command: AtomicUsize::new(usize::MAX),
            commands: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            query_buffer: AtomicUsize::new(0),
            query_room: AtomicUsize::new(0),
            argument_bytes: AtomicUsize::new(0),
            output_buffer: AtomicUsize::new(0),
            own_output: AtomicUsize::new(0),
            session_bytes: AtomicUsize::new(0),
            queued: AtomicI64::new(-1),
            watched: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            subscriptions: Default::default(),
            mailbox: Mailbox::default(),
            kill: Signal::default(),
            gone: AtomicBool::new(false),
            overflowed: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
        }
    }

    /// Ends the connection.
    pub fn end(&self) {
        self.kill.raise();
        self.mailbox.wake();
    }

    /// Ready when the connection has to end, or when there are messages for it. Only for its own task.
    pub async fn disturbed(&self) {
        poll_fn(|cx| {
            let filled = self.mailbox.poll_filled(cx);
            // checked last: whoever ends the connection after this line wakes the task
            if self.kill.is_raised() { Poll::Ready(()) } else { filled }
        })
        .await;
    }

    pub fn store(&self) -> StoreId {
        self.store.load(Ordering::Relaxed)
    }

    /// The name of its user.
    pub fn user(&self) -> String {
        self.account.lock().as_ref().map_or(DEFAULT_USER, |account| account.name()).to_owned()
    }

    /// Whether it is a connection of this user.
    pub fn is_of(&self, user: &str) -> bool {
        self.account.lock().as_ref().map_or(DEFAULT_USER, |account| account.name()) == user
    }

    /// Whether its user may do everything.
    pub fn is_unrestricted(&self) -> bool {
        self.account.lock().as_ref().is_some_and(|account| account.is_unrestricted())
    }

    /// Whether its user may know that a store has a key. Checked for each message that would reveal it.
    pub fn may_know(&self, store: &str, key: &[u8]) -> bool {
        self.account.lock().as_ref().is_some_and(|account| account.may_know(store, key))
    }

    /// Whether its user may see the names and contents in requests of all users.
    pub fn may_see_everything(&self) -> bool {
        self.account.lock().as_ref().is_some_and(|account| account.may_see_everything())
    }

    /// The number of bytes that were received but not parsed yet, and of those that were not sent yet.
    pub fn buffer_bytes(&self) -> usize {
        self.query_buffer.load(Ordering::Relaxed) + self.output_buffer.load(Ordering::Relaxed)
    }

    /// The approximate memory that it uses, as `maxmemory-clients` counts it.
    pub fn memory_bytes(&self) -> usize {
        let parts = [&self.query_buffer, &self.own_output, &self.session_bytes];
        let parts = parts.map(|bytes| bytes.load(Ordering::Relaxed)).into_iter().sum::<usize>();
        size_of::<Client>() + parts + self.mailbox.size().1
    }

    /// Whether it is disconnected.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Whether it is not being disconnected. A connection that is being disconnected is no longer counted or found,
    /// although its task may need a moment to notice.
    pub fn stays(&self) -> bool {
        !self.kill.is_raised()
    }

    /// Whether the client no longer waits for the reply of the running command.
    pub fn is_leaving(&self) -> bool {
        self.has_left.load(Ordering::Relaxed) || self.kill.is_raised()
    }

    pub fn is_subscriber(&self) -> bool {
        self.subscriptions.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }
}

/// All connections, by id.
#[derive(Default)]
pub struct Clients {
    last_id: AtomicU64,
    by_id: RwLock<BTreeMap<u64, Arc<Client>>>,
    /// Whether there may be a pause. Every request checks this.
    paused: AtomicBool,
    pause: Mutex<Pause>,
    /// Connections that a pause delays.
    held: AtomicUsize,
    /// Connections that were ended at `maxmemory-clients`.
    pub evicted: AtomicU64,
}

/// A connection that waits for the end of a pause.
pub struct Held<'a> {
    clients: &'a Clients,
    client: &'a Client,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.client.held.store(false, Ordering::Relaxed);
        self.clients.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The commands that have to wait, and until when (CLIENT PAUSE).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pause {
    /// By the steady clock, in milliseconds; 0: no pause.
    pub until_ms: u64,
    /// Delays only commands that have an effect on others: those that write or publish.
    pub writes_only: bool,
}

impl Clients {
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn add(&self, client: Arc<Client>) {
        self.by_id.write().insert(client.id, client);
    }

    pub fn remove(&self, id: u64) {
        if let Some(client) = self.by_id.write().remove(&id) {
            client.gone.store(true, Ordering::Relaxed);
        }
    }

    /// Ends a connection. It counts as gone from now on, though its task needs a moment to notice.
    pub fn kill(&self, client: &Client) {
        client.end();
        self.remove(client.id);
    }

    /// Ends the connections of a user, except one, which ends by itself. Returns whether that one is among them.
    pub fn kill_user(&self, name: &str, spared: u64) -> bool {
        let of_user = self.all().into_iter().filter(|client| client.is_of(name));
        let (spared, others): (Vec<_>, Vec<_>) = of_user.partition(|client| client.id == spared);
        others.iter().for_each(|client| self.kill(client));
        !spared.is_empty()
    }

    /// Ends the connections that hold most memory until all together hold at most `bytes_max` (0: no limit), except
    /// those that are marked with CLIENT NO-EVICT.
    pub fn evict(&self, bytes_max: u64) {
        if bytes_max == 0 {
            return;
        }
        let mut bytes = self.by_id.read().values().map(|client| client.memory_bytes() as u64).sum::<u64>();
        if bytes <= bytes_max {
            return;
        }
        let mut by_size: Vec<_> =
            self.all().into_iter().map(|client| (client.memory_bytes(), client)).collect();
        by_size.sort_by_key(|(held, _)| std::cmp::Reverse(*held));
        for (held, client) in by_size {
            if bytes <= bytes_max {
                break;
            }
            if client.no_evict.load(Ordering::Relaxed) {
                continue;
            }
            tracing::warn!(
                id = client.id,
                address = client.address,
                bytes = held,
                "all clients together use more memory than maxmemory-clients; the one that uses most is disconnected"
            );
            self.evicted.fetch_add(1, Ordering::Relaxed);
            self.kill(&client);
            bytes = bytes.saturating_sub(held as u64);
        }
    }

    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.read().get(&id).filter(|client| client.stays()).cloned()
    }

    /// All of them, by id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.read().values().filter(|client| client.stays()).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.by_id.read().values().filter(|client| client.stays()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes commands wait until a point in time. As in Redis, a pause can become longer and stricter, but not shorter
    /// or laxer, until [`unpause`](Clients::unpause). Returns the pause that is now in effect.
    pub fn pause(&self, pause: Pause, steady_ms: u64) -> Pause {
        let mut current = self.pause.lock();
        self.paused.store(true, Ordering::Release);
        let running = current.until_ms > steady_ms;
        *current = Pause {
            until_ms: current.until_ms.max(pause.until_ms),
            writes_only: pause.writes_only && (!running || current.writes_only),
        };
        *current
    }

    pub fn unpause(&self) {
        let mut current = self.pause.lock();
        self.paused.store(false, Ordering::Release);
        *current = Pause::default();
    }

    pub fn current_pause(&self) -> Pause {
        *self.pause.lock()
    }

    /// Whether a pause currently delays a command, given whether it has an effect on others.
    pub fn holds_up(&self, has_effect: impl FnOnce() -> bool, steady_ms: impl FnOnce() -> u64) -> bool {
        if !self.paused.load(Ordering::Acquire) {
            return false;
        }
        let pause = self.current_pause();
        pause.until_ms > steady_ms() && (!pause.writes_only || has_effect())
    }

    /// Counts a connection as delayed until the guard is dropped.
    pub fn hold<'a>(&'a self, client: &'a Client) -> Held<'a> {
        self.held.fetch_add(1, Ordering::Relaxed);
        client.held.store(true, Ordering::Relaxed);
        Held { clients: self, client }
    }

    /// How many connections a pause delays.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}
