//! Settings, which come from the command line, the environment, the settings file and CONFIG SET.
//!
//! A setting is declared once, in `settings`: its type, default, name, form, meaning, and what a running server does
//! when it changes. Everything else about it is made from that.

mod address;
mod buffer_limits;
mod constants;
mod declaration;
mod descriptors;
mod environment;
mod form;
mod load;
mod nearest;
mod profile;
mod redis_file;
pub mod reference;
mod rewrite;
mod settings;
mod together;
pub mod units;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

pub use address::Address;
pub use buffer_limits::{BufferLimits, Limit};
pub use constants::{Constant, constant, constants};
pub use declaration::{Effect, Setting, When};
pub use descriptors::Room;
pub use environment::is_service_link;
pub use load::{Loaded, command_line, load, read_file};
pub use rewrite::rewrite;
pub use settings::{ClientCertificates, DebugAccess, SETTINGS, Settings};

use settings::Kept;

use crate::limits::KEYS_PER_QUERY_UNLIMITED;

/// The settings of a running server. Those that every request reads are in atomics, too.
#[derive(Debug)]
pub struct Config {
    file: Option<PathBuf>,
    settings: RwLock<Settings>,
    kept: Kept,
    normal_output: [AtomicU64; 3],
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
            kept: Kept::default(),
            normal_output: Default::default(),
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
        self.kept.store(&changed);
        let Limit { hard_bytes, soft_bytes, soft_s } = changed.client_output_buffer_limit.normal;
        for (kept, limit) in self.normal_output.iter().zip([hard_bytes, soft_bytes, soft_s]) {
            kept.store(limit, Ordering::Relaxed);
        }
        *settings = changed;
        Ok(())
    }

    /// How many bytes of replies may wait for a client that does not subscribe.
    pub fn normal_output(&self) -> Limit {
        let [hard_bytes, soft_bytes, soft_s] =
            [0, 1, 2].map(|at| self.normal_output[at].load(Ordering::Relaxed));
        Limit { hard_bytes, soft_bytes, soft_s }
    }

    /// The most keys that one query may return, of a store without a limit of its own.
    pub fn keys_per_query(&self) -> usize {
        match self.max_keys_per_query() {
            0 => KEYS_PER_QUERY_UNLIMITED,
            limit => limit,
        }
    }

    /// The time after which a running script makes the server busy; `None`: never.
    pub fn busy_reply_threshold(&self) -> Option<Duration> {
        match self.busy_reply_threshold_ms() {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }

    pub fn requirepass(&self) -> Option<String> {
        self.settings.read().requirepass.clone()
    }
}
