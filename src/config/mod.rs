//! Settings: what the command line, the environment, the settings file and CONFIG SET can say.
//!
//! A setting is declared once, in `settings`, with its name, default, meaning and rules. It has Redis's name if Redis
//! has the setting.

mod address;
mod buffer_limits;
mod constants;
mod descriptors;
mod environment;
mod load;
mod nearest;
mod redis_file;
pub mod reference;
mod rewrite;
mod settings;
pub mod units;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

pub use address::Address;
pub use buffer_limits::{BufferLimits, Limit};
pub use constants::{Constant, constant, constants};
pub use descriptors::Room;
pub use environment::is_service_link;
pub use load::{Loaded, command_line, load, read_file};
pub use rewrite::rewrite;
pub use settings::{ClientCertificates, DebugAccess, SETTINGS, Setting, Settings, When};

/// The settings of a running server. Settings that every request or read needs are kept in atomics.
#[derive(Debug)]
pub struct Config {
    file: Option<PathBuf>,
    settings: RwLock<Settings>,
    max_keys_per_query: AtomicUsize,
    proto_max_bulk_len: AtomicUsize,
    client_query_buffer_limit: AtomicUsize,
    normal_output: [AtomicU64; 3],
    maxmemory_clients: AtomicU64,
    timeout_s: AtomicU64,
    auto_create_stores: AtomicBool,
    lua_memory_limit: AtomicUsize,
    busy_reply_threshold_ms: AtomicU64,
}

impl Default for Config {
    fn default() -> Config {
        Config::new(Settings::default())
    }
}

impl Config {
    pub fn new(settings: Settings) -> Config {
        let config = Config {
            file: None,
            settings: RwLock::default(),
            max_keys_per_query: AtomicUsize::default(),
            proto_max_bulk_len: AtomicUsize::default(),
            client_query_buffer_limit: AtomicUsize::default(),
            normal_output: Default::default(),
            maxmemory_clients: AtomicU64::default(),
            timeout_s: AtomicU64::default(),
            auto_create_stores: AtomicBool::default(),
            lua_memory_limit: AtomicUsize::default(),
            busy_reply_threshold_ms: AtomicU64::default(),
        };
        config.update(|current| *current = settings);
        config
    }

    /// Settings that came from a file, among other places.
    pub fn of_file(settings: Settings, file: Option<PathBuf>) -> Config {
        // the server may change its directory, and CONFIG REWRITE has to find the file
        let file = file.map(|path| std::path::absolute(&path).unwrap_or(path));
        Config { file, ..Config::new(settings) }
    }

    /// The settings file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// All settings as they are now.
    pub fn settings(&self) -> Settings {
        self.settings.read().clone()
    }

    /// Changes settings, all at once.
    pub fn update(&self, change: impl FnOnce(&mut Settings)) {
        let _ = self.try_update(|settings| {
            change(settings);
            Ok::<(), ()>(())
        });
    }

    /// Changes settings, all at once or, if it fails, none. No other change comes in between.
    pub fn try_update<E>(&self, change: impl FnOnce(&mut Settings) -> Result<(), E>) -> Result<(), E> {
        let mut settings = self.settings.write();
        let mut changed = settings.clone();
        change(&mut changed)?;
        self.max_keys_per_query.store(changed.max_keys_per_query, Ordering::Relaxed);
        self.proto_max_bulk_len.store(changed.proto_max_bulk_len, Ordering::Relaxed);
        self.client_query_buffer_limit.store(changed.client_query_buffer_limit, Ordering::Relaxed);
        let Limit { hard_bytes, soft_bytes, soft_s } = changed.client_output_buffer_limit.normal;
        for (kept, limit) in self.normal_output.iter().zip([hard_bytes, soft_bytes, soft_s]) {
            kept.store(limit, Ordering::Relaxed);
        }
        self.maxmemory_clients.store(changed.maxmemory_clients, Ordering::Relaxed);
        self.timeout_s.store(changed.timeout_s, Ordering::Relaxed);
        self.auto_create_stores.store(changed.auto_create_stores, Ordering::Relaxed);
        self.lua_memory_limit.store(changed.lua_memory_limit, Ordering::Relaxed);
        self.busy_reply_threshold_ms.store(changed.busy_reply_threshold_ms, Ordering::Relaxed);
        *settings = changed;
        Ok(())
    }

    pub fn max_keys_per_query(&self) -> usize {
        self.max_keys_per_query.load(Ordering::Relaxed)
    }

    pub fn proto_max_bulk_len(&self) -> usize {
        self.proto_max_bulk_len.load(Ordering::Relaxed)
    }

    pub fn client_query_buffer_limit(&self) -> usize {
        self.client_query_buffer_limit.load(Ordering::Relaxed)
    }

    /// How much of its replies may wait for a client that does not subscribe.
    pub fn normal_output(&self) -> Limit {
        let [hard_bytes, soft_bytes, soft_s] =
            [0, 1, 2].map(|at| self.normal_output[at].load(Ordering::Relaxed));
        Limit { hard_bytes, soft_bytes, soft_s }
    }

    /// The most memory that all clients together may hold; 0: no limit.
    pub fn maxmemory_clients(&self) -> u64 {
        self.maxmemory_clients.load(Ordering::Relaxed)
    }

    /// Seconds of silence after which a connection is closed; 0: never.
    pub fn timeout_s(&self) -> u64 {
        self.timeout_s.load(Ordering::Relaxed)
    }

    pub fn auto_create_stores(&self) -> bool {
        self.auto_create_stores.load(Ordering::Relaxed)
    }

    pub fn lua_memory_limit(&self) -> usize {
        self.lua_memory_limit.load(Ordering::Relaxed)
    }

    /// After how long a script makes the server busy; `None`: never.
    pub fn busy_reply_threshold(&self) -> Option<Duration> {
        match self.busy_reply_threshold_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }

    pub fn requirepass(&self) -> Option<String> {
        self.settings.read().requirepass.clone()
    }
}
