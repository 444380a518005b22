//! The settings of a running server.

use parking_lot::RwLock;

/// Settings that commands read and CONFIG SET may change.
#[derive(Debug, Clone)]
pub struct Settings {
    pub max_keys_per_query: usize,
    pub requirepass: Option<String>,
    pub auto_create_stores: bool,
    pub maxclients: usize,
    /// Seconds of silence after which a connection is closed; 0: never.
    pub timeout_s: u64,
    /// Seconds; 0: off.
    pub tcp_keepalive_s: u64,
    pub proto_max_bulk_len: usize,
    /// `redis_version` in INFO and HELLO.
    pub reported_version: String,
    pub databases: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_keys_per_query: crate::limits::KEYS_PER_QUERY,
            requirepass: None,
            auto_create_stores: false,
            maxclients: 10_000,
            timeout_s: 0,
            tcp_keepalive_s: 300,
            proto_max_bulk_len: crate::limits::VALUE_BYTES_MAX,
            reported_version: "8.8.0".into(),
            databases: crate::limits::DATABASES,
        }
    }
}

/// The settings, shared.
#[derive(Debug, Default)]
pub struct Config {
    settings: RwLock<Settings>,
}

impl Config {
    pub fn new(settings: Settings) -> Config {
        Config { settings: RwLock::new(settings) }
    }

    pub fn max_keys_per_query(&self) -> usize {
        self.settings.read().max_keys_per_query
    }

    pub fn requirepass(&self) -> Option<String> {
        self.settings.read().requirepass.clone()
    }

    pub fn auto_create_stores(&self) -> bool {
        self.settings.read().auto_create_stores
    }

    pub fn settings(&self) -> Settings {
        self.settings.read().clone()
    }

    pub fn update(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings.write());
    }
}
