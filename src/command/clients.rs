//! The connections there are: what CLIENT LIST shows, CLIENT KILL ends and CLIENT PAUSE holds up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::signal::Signal;
use crate::store::StoreId;

/// What is known of a connection outside its own task. The connection writes, others read.
#[derive(Debug)]
pub struct Client {
    pub id: u64,
    /// `address:port` of the peer, or the path of the Unix socket.
    pub address: String,
    /// `address:port` of ours.
    pub local_address: String,
    pub file_descriptor: i32,
    pub unix: bool,
    pub created_ms: u64,
    pub name: Mutex<String>,
    pub library_name: Mutex<String>,
    pub library_version: Mutex<String>,
    pub user: Mutex<String>,
    pub store: AtomicU32,
    /// 2 or 3.
    pub protocol: AtomicU8,
    pub no_evict: AtomicBool,
    pub no_touch: AtomicBool,
    /// When it sent its last request, in milliseconds since 1970.
    pub active_ms: AtomicU64,
    /// The last command, as an index into the command table's list of names.
    pub last_command: Mutex<&'static str>,
    pub commands: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// Bytes received and not yet understood.
    pub query_buffer: AtomicUsize,
    /// Bytes of replies not yet sent.
    pub output_buffer: AtomicUsize,
    /// Raised to end the connection.
    pub kill: Signal,
}

impl Client {
    pub fn store(&self) -> StoreId {
        self.store.load(Ordering::Relaxed)
    }
}

/// All connections, by id.
#[derive(Default)]
pub struct Clients {
    last_id: AtomicU64,
    by_id: RwLock<BTreeMap<u64, Arc<Client>>>,
    pause: Mutex<Pause>,
}

/// Which commands wait, and until when (CLIENT PAUSE).
#[derive(Debug, Clone, Copy, Default)]
pub struct Pause {
    /// In milliseconds since 1970; 0: no pause.
    pub until_ms: u64,
    /// Only commands that may write.
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
        self.by_id.write().remove(&id);
    }

    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.read().get(&id).cloned()
    }

    /// All of them, by id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.read().values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.by_id.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets commands wait until a point in time. As in Redis, a pause can become longer and stricter, not shorter or
    /// laxer, until [`unpause`](Clients::unpause).
    pub fn pause(&self, pause: Pause, now_ms: u64) {
        let mut current = self.pause.lock();
        let running = current.until_ms > now_ms;
        *current = Pause {
            until_ms: current.until_ms.max(pause.until_ms),
            writes_only: pause.writes_only && (!running || current.writes_only),
        };
    }

    pub fn unpause(&self) {
        *self.pause.lock() = Pause::default();
    }

    pub fn current_pause(&self) -> Pause {
        *self.pause.lock()
    }
}

impl Clients {
    /// Whether a pause holds up a command like this now.
    pub fn holds_up(&self, spec: &super::Spec, now_ms: impl FnOnce() -> u64) -> bool {
        let pause = self.current_pause();
        pause.until_ms != 0
            && (!pause.writes_only || spec.is(super::Flags::WRITE))
            && spec.group != super::Group::Connection
            && pause.until_ms > now_ms()
    }
}
