//! The server at one moment, as figures are read from it.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::archive::status::Figures;
use crate::client::Client;
use crate::command::base::{Session, View, permission};
use crate::config::Settings;
use crate::engine::{Status, clock};
use crate::script::CacheStatus;
use crate::script::functions::Known;
use crate::store::{Store, Usage};
use crate::telemetry::Stats;
use crate::telemetry::process::{self, Cpu, Memory};

/// Data that several figures need is looked up once, when the first of them is read.
pub struct Sample<'a> {
    pub server: View<'a>,
    /// The session that reads the figures.
    pub reader: &'a Session,
    settings: OnceCell<Settings>,
    memory: OnceCell<Memory>,
    cpu: OnceCell<Cpu>,
    engine: OnceCell<Status>,
    archive: OnceCell<Figures>,
    scripts: OnceCell<CacheStatus>,
    functions: OnceCell<Arc<Known>>,
    clients: OnceCell<Vec<Arc<Client>>>,
    totals: OnceCell<Totals>,
}

/// The usage of the stores that the reader may use.
#[derive(Default)]
pub struct Totals {
    pub named_stores: u64,
    pub usage: Usage,
}

impl<'a> Sample<'a> {
    pub fn new(server: View<'a>, reader: &'a Session) -> Sample<'a> {
        Sample {
            server,
            reader,
            settings: OnceCell::new(),
            memory: OnceCell::new(),
            cpu: OnceCell::new(),
            engine: OnceCell::new(),
            archive: OnceCell::new(),
            scripts: OnceCell::new(),
            functions: OnceCell::new(),
            clients: OnceCell::new(),
            totals: OnceCell::new(),
        }
    }

    /// The figures of the archive; all zero if there is none.
    pub fn archive(&self) -> &Figures {
        let archive = self.server.archive.get();
        self.archive.get_or_init(|| archive.map(|archive| archive.figures()).unwrap_or_default())
    }

    /// The entries that the archive lacks, if there is one.
    pub fn archive_lag(&self) -> u64 {
        let lag = |last: u64| last.saturating_sub(self.archive().entry);
        self.server.archive.get().map_or(0, |archive| lag(archive.last_entry()))
    }

    pub fn stats(&self) -> &Stats {
        &self.server.stats
    }

    pub fn uptime_s(&self) -> u64 {
        clock::steady_ms().saturating_sub(self.server.started_ms) / 1000
    }

    pub fn settings(&self) -> &Settings {
        self.settings.get_or_init(|| self.server.config.settings())
    }

    pub fn memory(&self) -> &Memory {
        self.memory.get_or_init(process::memory)
    }

    pub fn cpu(&self) -> &Cpu {
        self.cpu.get_or_init(process::cpu)
    }

    pub fn engine(&self) -> &Status {
        self.engine.get_or_init(|| self.server.engine.status())
    }

    pub fn scripts(&self) -> &CacheStatus {
        self.scripts.get_or_init(|| self.server.scripts.cache_status())
    }

    pub fn functions(&self) -> &Known {
        self.functions.get_or_init(|| self.server.functions())
    }

    pub fn clients(&self) -> &[Arc<Client>] {
        self.clients.get_or_init(|| self.server.clients.all())
    }

    pub fn totals(&self) -> &Totals {
        self.totals.get_or_init(|| {
            self.stores(|_| true).iter().fold(Totals::default(), |mut totals, store| {
                totals.named_stores += u64::from(store.name.is_some());
                totals.usage.records += store.usage.records;
                totals.usage.stored_bytes += store.usage.stored_bytes;
                totals
            })
        })
    }

    /// The stores for which `wanted` is true, without those that the reader may not know about.
    pub fn stores(&self, wanted: impl Fn(&Store) -> bool) -> Vec<Store> {
        self.server.engine.with_catalog(|catalog| {
            let all = catalog.iter().filter(|store| wanted(store));
            all.filter(|store| permission::may_use_store(self.reader, &store.label())).cloned().collect()
        })
    }
}
