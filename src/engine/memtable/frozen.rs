//! The memtable that a checkpoint writes to LMDB.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::journal::Seq;
use crate::engine::memtable::table::Memtable;
use crate::store::{Definition, Generation, Libraries, StoreId};

/// What a checkpoint writes: the state between the last one and `through`.
pub struct Frozen {
    pub memtable: Memtable,
    /// How much of the memtable's estimated size is in LMDB already, and thus room for new changes.
    pub written_bytes: AtomicUsize,
    pub through: Seq,
    pub stores: Vec<(StoreId, Generation, Definition)>,
    pub next_store: StoreId,
    pub last_generation: Generation,
    pub retired: Vec<Generation>,
    /// All libraries, if one of them has changed.
    pub libraries: Option<Libraries>,
}

impl Frozen {
    /// An estimate of the memory that is still unwritten.
    pub fn unwritten_bytes(&self) -> usize {
        let libraries_bytes = self.libraries.as_ref().map_or(0, Libraries::bytes);
        self.memtable.bytes().saturating_sub(self.written_bytes.load(Ordering::Relaxed)) + libraries_bytes
    }
}
