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
//! The methods of the handles are implemented next to their subject: reads and writes in the engine's own module, and the
//! rest in `transaction`, `scan`, `limits`, `events`, `expiry`, `checkpoint` and `backup`.

use std::ops::Deref;

use crate::engine::Engine;
use crate::engine::lmdb::residence::Wait;
use crate::engine::memtable::state::State;
use crate::engine::transaction::group_lock::Asker;
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
}

impl<'e> Deref for Writer<'e> {
    type Target = Reader<'e>;

    fn deref(&self) -> &Reader<'e> {
        &self.0
    }
}
