//! The handles through which commands reach the engine.
//!
//! | handle | what it can do | who gets it |
//! |---|---|---|
//! | [`Reader`] | read transactions, scans, counts, the catalog, figures, watches | every command |
//! | [`Writer`] | all of that, and writes, groups, checkpoints, backups, settings | commands that are declared to change something |
//!
//! A handle also says whether it belongs to a [group](crate::engine::transaction::group). The handle that a group
//! hands out can use the engine while all others wait, and can't outlive the group. Nothing depends on the thread.
//!
//! The lowest methods of the handles are here; the others are next to their subject, in the rooms above.

use std::ops::Deref;

use crate::engine::core::Engine;
use crate::engine::error::Error;
use crate::engine::journal::{Fsync, Seq};
use crate::engine::lmdb::residence::Wait;
use crate::engine::state::State;
use crate::engine::state::group_lock::Asker;
use crate::engine::state::watch::{Watch, Watches};
use crate::record::compress::Compression;
use crate::store::{Catalog, Key, Libraries, ServerQuota, Store, StoreId, ValueKind};
use crate::sync::{RwLockReadGuard, RwLockWriteGuard};

/// Access to the engine that can only read. It gives no access to anything that can write.
#[derive(Clone, Copy)]
pub struct Reader<'e> {
    pub(in crate::engine) engine: &'e Engine,
    asker: Asker,
    pub(in crate::engine) wait: Wait,
}

/// Access to the engine that can read and write.
#[derive(Clone, Copy)]
pub struct Writer<'e>(Reader<'e>);

impl Engine {
    pub fn reader(&self) -> Reader<'_> {
        Reader { engine: self, asker: Asker::Other, wait: Wait::ForDisk }
    }

    pub fn writer(&self) -> Writer<'_> {
        Writer(self.reader())
    }

    /// The handle for the code that runs a group.
    pub(in crate::engine) fn writer_in_group(&self) -> Writer<'_> {
        Writer(Reader { engine: self, asker: Asker::Alone, wait: Wait::ForDisk })
    }
}

impl<'e> Reader<'e> {
    /// The same, for a thread that must not wait: reads that need the disk fail with
    /// [`Fault::Cold`](crate::engine::Fault).
    pub fn without_disk(self) -> Reader<'e> {
        Reader { wait: Wait::No, ..self }
    }

    /// Whether it belongs to a group.
    pub fn is_in_group(self) -> bool {
        self.asker == Asker::Alone
    }

    /// Looks at the stores as they are now. The engine's lock is held meanwhile, so `look` must not ask the engine for
    /// anything.
    pub fn with_catalog<R>(self, look: impl FnOnce(&Catalog) -> R) -> R {
        look(&self.state().catalog)
    }

    /// The store of a number.
    pub fn store(self, id: StoreId) -> Option<Store> {
        self.with_catalog(|catalog| catalog.get(id).cloned())
    }

    /// A copy of all stores.
    #[cfg(test)]
    pub fn catalog(self) -> Catalog {
        self.with_catalog(Catalog::clone)
    }

    /// What a store takes as a value; fails with [`Error::NoStore`].
    pub fn kind(&self, store: StoreId) -> Result<ValueKind, Error> {
        let state = self.state();
        let store = state.catalog.get(store).ok_or(Error::NoStore(store))?;
        Ok(state.kind(store))
    }

    /// The libraries of functions.
    pub fn libraries(&self) -> Libraries {
        self.state().libraries.clone()
    }

    /// Whether libraries can be kept: not in a data directory that is still in an older format.
    pub fn takes_libraries(&self) -> bool {
        self.engine.tables.takes_libraries()
    }

    /// What a store without a kind of its own takes.
    pub fn default_kind(&self) -> ValueKind {
        self.state().default_kind
    }

    /// Begins to watch whether records are written at a key.
    pub fn watch(&self, key: &Key) -> Watch {
        self.engine.watches.watch(key)
    }

    /// The watchers of keys.
    pub fn watches(&self) -> &'e Watches {
        &self.engine.watches
    }

    /// The sequence number of the last change.
    pub fn last_seq(&self) -> Seq {
        self.engine.journal.last()
    }

    pub(in crate::engine) fn state(self) -> RwLockReadGuard<'e, State> {
        self.engine.state.read_as(self.asker)
    }

    /// The state, for changes that no reader sees: of the cache, or of what is known about sizes and order.
    pub(in crate::engine) fn state_mut(self) -> RwLockWriteGuard<'e, State> {
        self.engine.state.write_as(self.asker)
    }
}

impl<'e> Writer<'e> {
    /// The same, for a thread that must not wait.
    pub fn without_disk(self) -> Writer<'e> {
        Writer(self.0.without_disk())
    }

    pub fn set_default_kind(&self, kind: ValueKind) {
        self.state_mut().default_kind = kind;
    }

    pub fn set_quota(&self, quota: ServerQuota) {
        self.state_mut().set_server_quota(quota);
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        self.engine.journal.set_fsync(fsync);
    }

    pub fn set_compression(&self, compression: Compression) {
        *self.engine.compression.write() = compression;
    }
}

impl<'e> Deref for Writer<'e> {
    type Target = Reader<'e>;

    fn deref(&self) -> &Reader<'e> {
        &self.0
    }
}
