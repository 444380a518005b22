//! A cache of records that are in LMDB, in decompressed form.
//!
//! The cache holds only records that are in LMDB and in neither memtable, exactly as LMDB holds them. A hit therefore
//! needs no look into LMDB. This takes three rules, which [`crate::engine::Engine`] keeps:
//! 1. The memtables are asked first, under the same lock, because newer changes are there.
//! 2. Before a checkpoint drops its memtable, it puts what it wrote into the cache, and removes from the cache what it
//!    removed.
//! 3. A record that a reader found in LMDB goes into the cache only if no checkpoint has ended meanwhile and no memtable
//!    knows the key: then LMDB still holds the same, and will until a checkpoint writes that key, which is rule 2.
//!
//! Flushing and dropping need no rule, because the new generation has other keys. The records of the old generation are
//! removed afterwards, step by step ([`RecordCache::retain_some`]), so that a flush frees their memory.
//!
//! The cache is bounded in bytes and evicts by the CLOCK algorithm: a hand passes over records that were read since it
//! last came by, and evicts the first that was not. It is our own because it lies behind the engine's lock anyway: a
//! look-up takes no further lock, changes one flag at most, and the records of a pipeline can be fetched from memory in
//! parallel ([`Engine::warm_up`](crate::engine::Engine::warm_up)).

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use indexmap::{Equivalent, IndexMap};

use crate::engine::journal::Seq;
use crate::engine::memtable::table::Name;
use crate::store::Generation;

/// What an entry costs beside its key and value: its slot, its place in the index, allocator slack.
const ENTRY_OVERHEAD_BYTES: u64 = 224;
/// The most records that the hand passes over before it evicts one in any case. The bound is there because this happens
/// under the engine's lock.
const PASSED_OVER_MAX: usize = 32;

#[derive(Debug)]
pub struct RecordCache {
    slots: IndexMap<TableKey, Slot, foldhash::fast::RandomState>,
    /// The slot that the hand looks at next.
    hand: usize,
    bytes: u64,
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

#[derive(Debug, PartialEq, Eq, Hash)]
struct TableKey {
    generation: Generation,
    name: Name,
}

/// A [`TableKey`] to look for. Hashes as it does: field by field.
#[derive(Hash)]
struct Wanted<'k> {
    generation: Generation,
    name: &'k [u8],
}

impl Equivalent<TableKey> for Wanted<'_> {
    fn equivalent(&self, key: &TableKey) -> bool {
        self.generation == key.generation && *self.name == key.name[..]
    }
}

#[derive(Debug)]
struct Slot {
    cached: Cached,
    /// Whether it was read since the hand last came by.
    is_used: AtomicBool,
}

impl RecordCache {
    pub fn new(bytes_max: u64) -> RecordCache {
        RecordCache { slots: IndexMap::default(), hand: 0, bytes: 0, bytes_max }
    }

    pub fn get(&self, generation: Generation, key: &[u8]) -> Option<&Cached> {
        let slot = self.slots.get(&Wanted { generation, name: key })?;
        // a flag that many threads read is written only when it changes
        if !slot.is_used.load(Ordering::Relaxed) {
            slot.is_used.store(true, Ordering::Relaxed);
        }
        Some(&slot.cached)
    }

    /// Puts a record into the cache, unless it would evict too much else.
    pub fn put(&mut self, generation: Generation, key: &[u8], cached: Cached) {
        if cached.value.len() as u64 >= self.bytes_max / 8 {
            return self.remove(generation, key);
        }
        self.bytes += weight(key, &cached);
        match self.slots.get_mut(&Wanted { generation, name: key }) {
            Some(slot) => {
                self.bytes -= weight(key, &slot.cached);
                slot.cached = cached;
            }
            None => {
                let key = TableKey { generation, name: Name::from_slice(key) };
                self.slots.insert(key, Slot { cached, is_used: AtomicBool::new(false) });
            }
        }
        while self.bytes > self.bytes_max && !self.slots.is_empty() {
            self.evict();
        }
    }

    pub fn remove(&mut self, generation: Generation, key: &[u8]) {
        if let Some(slot) = self.slots.swap_remove(&Wanted { generation, name: key }) {
            self.bytes -= weight(key, &slot.cached);
        }
    }

    /// Looks at `slots_max` slots below `from`, and removes the records of generations that are not `live`. Returns
    /// where to continue (0 at the end), and the removed records, so that the caller can drop them without a lock.
    pub fn retain_some(
        &mut self,
        from: usize,
        slots_max: usize,
        live: impl Fn(Generation) -> bool,
    ) -> (usize, Vec<Cached>) {
        let mut removed = Vec::new();
        let from = from.min(self.slots.len());
        let to = from.saturating_sub(slots_max);
        // downwards, because the record that takes the place of a removed one comes from the end, which has been looked
        // at
        for at in (to..from).rev() {
            if self.slots.get_index(at).is_some_and(|(key, _)| !live(key.generation))
                && let Some((key, slot)) = self.slots.swap_remove_index(at)
            {
                self.bytes -= weight(&key.name, &slot.cached);
                removed.push(slot.cached);
            }
        }
        if to == 0 && self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
        (to, removed)
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes out one record.
    fn evict(&mut self) {
        for _ in 0..PASSED_OVER_MAX {
            self.hand = if self.hand < self.slots.len() { self.hand } else { 0 };
            match self.slots.get_index(self.hand) {
                Some((_, slot)) if slot.is_used.swap(false, Ordering::Relaxed) => self.hand += 1,
                _ => break,
            }
        }
        let at = if self.hand < self.slots.len() { self.hand } else { 0 };
        if let Some((key, slot)) = self.slots.swap_remove_index(at) {
            self.bytes -= weight(&key.name, &slot.cached);
        }
    }

    /// An estimate of the memory it takes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn weight(key: &[u8], cached: &Cached) -> u64 {
    (key.len() + cached.value.len()) as u64 + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use crate::engine::memtable::cache::*;

    fn cached(bytes: usize) -> Cached {
        Cached { value: Bytes::from(vec![b'1'; bytes]), expires_at_ms: None, version: 1, stored_bytes: 1 }
    }

    #[test]
    fn a_key_of_one_generation_is_not_that_of_another() {
        let mut cache = RecordCache::new(1 << 20);
        cache.put(1, b"key", cached(3));
        cache.put(2, b"key", cached(5));
        let length = |cache: &RecordCache, generation| cache.get(generation, b"key").map(|c| c.value.len());
        assert_eq!([1, 2, 3].map(|generation| length(&cache, generation)), [Some(3), Some(5), None]);
        cache.put(1, b"key", cached(7));
        cache.remove(2, b"key");
        assert_eq!([1, 2].map(|generation| length(&cache, generation)), [Some(7), None]);
        assert_eq!(cache.bytes(), weight(b"key", &cached(7)));
        cache.remove(1, b"key");
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn records_of_dead_generations_are_taken_out_step_by_step() {
        let mut cache = RecordCache::new(1 << 20);
        for at in 0..300 {
            cache.put(at % 3, format!("key-{at}").as_bytes(), cached(100));
        }
        let (mut from, mut removed) = (cache.len(), 0);
        while from > 0 {
            let (next, gone) = cache.retain_some(from, 64, |generation| generation == 2);
            assert!(next < from && gone.len() <= 64);
            (from, removed) = (next, removed + gone.len());
        }
        assert_eq!((removed, cache.len()), (200, 100));
        assert!(
            (0..300).all(|at| cache.get(at % 3, format!("key-{at}").as_bytes()).is_some() == (at % 3 == 2))
        );
        while cache.len() > 0 {
            cache.evict();
        }
        assert_eq!(cache.bytes(), 0);
        cache.retain_some(0, 64, |_| true);
        assert!(cache.slots.capacity() < 300, "memory of the table goes as well");
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_read() {
        let bytes_max = 100 * weight(b"key-0000", &cached(1000));
        let mut cache = RecordCache::new(bytes_max);
        for at in 0..10_000 {
            cache.put(1, format!("key-{at:04}").as_bytes(), cached(1000));
            assert!(cache.get(1, b"key-0000").is_some(), "after {at}");
            assert!(cache.bytes() <= bytes_max);
        }
        assert_eq!(cache.slots.len(), 100);
    }

    #[test]
    fn a_value_that_would_push_out_much_is_not_kept() {
        let mut cache = RecordCache::new(8_000);
        cache.put(1, b"key", cached(10));
        cache.put(1, b"key", cached(1000));
        assert!(cache.get(1, b"key").is_none(), "nor is what it replaced");
        assert_eq!(cache.bytes(), 0);
    }
}
