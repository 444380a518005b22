//! The state that all connections share.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use crate::acl::Acl;
use crate::archive::Archive;
use crate::client::Clients;
use crate::client::signal::Signal;
use crate::command::base::guesses::Guesses;
use crate::command::base::table::Table;
use crate::config::{Config, Settings};
use crate::engine::{Engine, Reader, Writer};
use crate::error::Error;
use crate::limits::KEYS_PER_QUERY_UNLIMITED;
use crate::push::Push;
use crate::random::SplitMix;
use crate::record::number;
use crate::script::Scripts;
use crate::script::functions::Known;
use crate::store::Definition;
use crate::store::catalog::check_name;
use crate::store::cursor::Cursors;
use crate::store::{Catalog, Key, Store, StoreId};
use crate::telemetry::{History, Slow, Stats};

/// Applies TLS settings, or returns why they can't be applied.
pub type TlsReload = dyn Fn(&Settings) -> Result<(), String> + Send + Sync;

/// A running server: the engine, and what its sessions share. The network and HTTP hold it; commands see a [`View`].
pub struct Server {
    pub engine: Arc<Engine>,
    shared: Shared,
}

/// The state that all sessions share, apart from the engine.
pub struct Shared {
    pub commands: &'static Table,
    pub config: Config,
    pub clients: Clients,
    pub acl: Acl,
    pub guesses: Guesses,
    pub push: Arc<Push>,
    pub cursors: Cursors,
    pub stats: Stats,
    /// The slow log and the latency monitor.
    pub slow: Slow,
    /// Figures of the last hour, day and week. Set by whoever keeps them.
    pub history: OnceLock<History>,
    pub scripts: Scripts,
    /// 40 hexadecimal digits, different at every start.
    pub run_id: String,
    /// By the steady clock.
    pub started_ms: u64,
    /// Applies new TLS settings. Set by the listener, if TLS is on.
    pub tls_reload: OnceLock<Box<TlsReload>>,
    /// What keeps the archive, if there is one.
    pub archive: OnceLock<Arc<Archive>>,
    /// Raised to stop the server.
    pub shutdown: Signal,
    random: AtomicU64,
}

/// The server as its commands see it. They can only read from its engine.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub engine: Reader<'a>,
    shared: &'a Shared,
}

impl Deref for Server {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Deref for View<'_> {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        self.shared
    }
}

impl Server {
    pub fn new(commands: &'static Table, engine: Arc<Engine>, config: Config, steady_ms: u64) -> Server {
        let mut seed = [0; 28];
        // without a source of randomness the id is all zeros, and nothing else depends on it
        let _ = getrandom::fill(&mut seed);
        let acl = Acl::new(&commands.vocabulary);
        acl.set_all_channels_by_default(config.settings().acl_pubsub_default);
        acl.set_default_password(config.requirepass().as_deref());
        let [id @ .., a, b, c, d, e, f, g, h] = seed;
        let settings = config.settings();
        let stats = Stats::new(commands.names());
        stats.track_latency(settings.latency_tracking);
        let push = Arc::new(Push::default());
        push.configure(engine.reader(), &config.settings());
        engine.set_tap(push.clone());
        let random = u64::from_be_bytes([a, b, c, d, e, f, g, h]) | 1;
        let version = settings.reported_version.clone();
        let shared = Shared {
            commands,
            slow: Slow::new(settings.slow_thresholds()),
            history: OnceLock::new(),
            config,
            clients: Clients::default(),
            acl,
            guesses: Guesses::default(),
            push,
            cursors: Cursors::default(),
            stats,
            scripts: Scripts::new(version, random as u32),
            run_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            started_ms: steady_ms,
            tls_reload: OnceLock::new(),
            archive: OnceLock::new(),
            shutdown: Signal::default(),
            random: AtomicU64::new(random),
        };
        // a library that can't be loaded is reported now, and not when somebody misses its functions
        shared.with(engine.reader()).functions();
        Server { engine, shared }
    }

    /// The server as its commands see it.
    pub fn view(&self) -> View<'_> {
        self.shared.with(self.engine.reader())
    }

    /// See [`View::find_store`].
    pub fn find_store(&self, word: &[u8]) -> Result<StoreId, Error> {
        self.view().find_store(word, self.engine.writer())
    }
}

impl<'a> View<'a> {
    /// The same with another handle of the engine: that of a group.
    pub fn with(self, engine: Reader<'a>) -> View<'a> {
        self.shared.with(engine)
    }

    /// The libraries of functions, as the engine has them.
    pub fn functions(self) -> Arc<Known> {
        self.scripts.functions.known(&self.engine.libraries(), self.config.lua_memory_limit())
    }

    /// The number of the store that a word names: a number, or the name of a store. A missing one is created if
    /// `auto-create-stores` is on.
    pub fn find_store(self, word: &[u8], engine: Writer<'_>) -> Result<StoreId, Error> {
        match self.known_store(word) {
            Err(Error::NoStore(_)) if self.config.auto_create_stores() => {}
            outcome => return outcome,
        }
        let name = check_name(word)?;
        let definition = Definition { name: Some(name.to_owned()), ..Definition::default() };
        let keys: &[Key] = &[];
        let (id, _) =
            engine.write(crate::engine::clock::now_ms(), keys, |txn| match txn.store_named(name) {
                Some(store) => Ok::<_, Error>(store.id),
                None => Ok(txn.define(None, definition)?),
            })?;
        Ok(id)
    }

    /// Like [`find_store`](View::find_store), for commands that ask about a store rather than use it: creates none.
    pub fn known_store(self, word: &[u8]) -> Result<StoreId, Error> {
        if let Some(number) = number::parse_i64(word) {
            if i32::try_from(number).is_err() {
                return Err(Error::other(
                    "ERR value is out of range, value must between -2147483648 and 2147483647",
                ));
            }
            let store = StoreId::try_from(number)
                .ok()
                .filter(|id| self.engine.with_catalog(|catalog| catalog.get(*id).is_some()));
            return store.ok_or(Error::NoStoreNumber);
        }
        if word.strip_prefix(b"-").unwrap_or(word).iter().all(u8::is_ascii_digit) {
            return Err(Error::NotInteger);
        }
        let named = |name| self.engine.with_catalog(|catalog| catalog.named(name).map(|store| store.id));
        let store = std::str::from_utf8(word).ok().and_then(named);
        store.ok_or_else(|| Error::NoStore(String::from_utf8_lossy(word).into_owned()))
    }

    /// The most keys that one query of a store may return.
    pub fn keys_per_query(self, id: StoreId) -> usize {
        let of_store = |catalog: &Catalog| catalog.get(id).and_then(|store| store.quota.max_keys_per_query);
        match self.engine.with_catalog(of_store) {
            None => self.config.keys_per_query(),
            Some(0) => KEYS_PER_QUERY_UNLIMITED,
            Some(limit) => usize::try_from(limit).unwrap_or(KEYS_PER_QUERY_UNLIMITED),
        }
    }

    /// The name of a store.
    pub fn store_label(self, id: StoreId) -> String {
        self.engine.with_catalog(|catalog| catalog.get(id).map_or_else(|| id.to_string(), Store::label))
    }

    /// The name of the store that a word names; if the store does not exist, the name that it would get.
    pub fn label_of_named_store(self, word: &[u8]) -> String {
        match self.known_store(word) {
            Ok(id) => self.store_label(id),
            Err(_) => String::from_utf8_lossy(word).into_owned(),
        }
    }
}

impl Shared {
    /// The view of commands that reach the engine through this handle.
    pub fn with<'a>(&'a self, engine: Reader<'a>) -> View<'a> {
        View { engine, shared: self }
    }

    /// Reads certificates and keys again; new connections use them. If one is bad, everything stays as it was.
    pub fn reload_tls(&self, settings: &Settings) -> Result<(), String> {
        self.tls_reload.get().map_or(Ok(()), |reload| reload(settings))
    }

    /// A random number that clients can't predict, good enough to choose a key.
    pub fn random(&self) -> u64 {
        SplitMix(self.random.fetch_add(SplitMix::STEP, Ordering::Relaxed)).next()
    }

    /// Whether a script has run so long that others are answered with BUSY.
    pub fn is_busy(&self) -> bool {
        self.busy_in().is_some_and(|left| left.is_zero())
    }

    /// The error for those who wait for the running script or function.
    pub fn busy(&self) -> Error {
        if self.scripts.running.is_function() { Error::BusyFunction } else { Error::Busy }
    }

    /// How long the running script may continue before the server counts as busy; `None` if there is none, or if it may
    /// always continue.
    pub fn busy_in(&self) -> Option<Duration> {
        let age = self.scripts.running.age()?;
        let threshold = self.config.busy_reply_threshold()?;
        Some(threshold.saturating_sub(age))
    }

    /// The full name of a command by its number in the table; `NULL` if there is none.
    pub fn command_name(&self, index: usize) -> &'static str {
        self.commands.by_index(index).map_or("NULL", |spec| spec.name)
    }
}

/// A reply's text as bytes.
pub fn text(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}
