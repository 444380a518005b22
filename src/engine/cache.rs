//! Records of LMDB that are at hand in memory, decompressed.
//!
//! What is in the cache is what LMDB holds, and what neither overlay knows; so a hit needs no look at LMDB. That takes
//! three rules, which [`super::Engine`] keeps:
//! 1. The overlays are asked first, and under the same lock: what changed since is there.
//! 2. Before a checkpoint lets go of its overlay, it puts what it wrote into the cache, or takes out what it removed.
//! 3. What a reader found in LMDB goes into the cache only if no checkpoint ended meanwhile and no overlay knows the key:
//!    then it is still what LMDB holds, and will be until a checkpoint writes that key, which is rule 2.
//!
//! Flushing and dropping need no rule: the new generation has other keys. Bounded in bytes.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::Seq;
use super::lmdb::record_key;
use super::txn::Record;
use crate::store::Generation;

/// What an entry costs beside its key and value.
const ENTRY_OVERHEAD_BYTES: u64 = 160;

pub struct RecordCache {
    cache: Cache<Box<[u8]>, Cached, Weigh>,
    bytes_max: u64,
}

/// A record as LMDB holds it.
#[derive(Debug, Clone)]
pub struct Cached {
    pub value: Bytes,
    pub expires_at_ms: Option<u64>,
    pub version: Seq,
    /// Key and record as they are stored.
    pub stored_bytes: u64,
}

impl Cached {
    pub fn new(record: &Record, stored_bytes: u64) -> Cached {
        let Record { value, expires_at_ms, version } = record.clone();
        Cached { value, expires_at_ms, version, stored_bytes }
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Box<[u8]>, Cached> for Weigh {
    fn weight(&self, key: &Box<[u8]>, cached: &Cached) -> u64 {
        (key.len() + cached.value.len()) as u64 + ENTRY_OVERHEAD_BYTES
    }
}

impl RecordCache {
    pub fn new(bytes_max: u64) -> RecordCache {
        let entries = (bytes_max / 512).max(16) as usize;
        RecordCache { cache: Cache::with_weighter(entries, bytes_max, Weigh), bytes_max }
    }

    pub fn get(&self, generation: Generation, key: &[u8]) -> Option<Cached> {
        self.cache.get(&record_key(generation, key)[..])
    }

    /// Keeps a record, unless it would push out too much else.
    pub fn put(&self, generation: Generation, key: &[u8], cached: Cached) {
        let table_key = record_key(generation, key);
        if (cached.value.len() as u64) < self.bytes_max / 8 {
            self.cache.insert(table_key.into_vec().into_boxed_slice(), cached);
        } else {
            self.cache.remove(&table_key[..]);
        }
    }

    pub fn remove(&self, generation: Generation, key: &[u8]) {
        self.cache.remove(&record_key(generation, key)[..]);
    }

    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}
