//! What changed since the last checkpoint, in memory, in front of LMDB.
//!
//! Point reads need a hash index; only scans need an order. A layer therefore keeps its entries in a hash map and sorts
//! its keys when it is first scanned; until then new keys wait in `unordered`. A scan never costs more than maintaining
//! the order all along would have cost, and a server that is never scanned doesn't pay for it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::journal::Seq;
use crate::store::Generation;
use crate::store::usage::Weight;

/// A key as a layer keeps it. Most are short and stored in the table itself, so that finding one touches no other
/// memory.
pub type Name = SmallVec<[u8; 32]>;

type Hashed<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What an entry costs beside its key and value: two hash slots, allocator slack, the expiry index.
const ENTRY_OVERHEAD_BYTES: usize = 192;
/// Copies of a key that a layer holds: in the table, in the order of keys, and once more while a checkpoint has sorted them.
const KEY_COPIES: usize = 3;
/// What the allocator adds to a key that has memory of its own.
const SPILLED_OVERHEAD_BYTES: usize = 16;

/// The last change of one key.
#[derive(Debug)]
pub struct Entry {
    pub version: Seq,
    /// `None`: the record was removed.
    pub live: Option<Live>,
}

#[cfg(test)]
impl Entry {
    fn told(&self) -> String {
        let live = self.live.as_ref();
        let live = live.map(|live| (&live.value, live.expires_at_ms, live.is_outdated()));
        format!("{} {live:?}", self.version)
    }
}

/// A record in memory, not compressed.
#[derive(Debug)]
pub struct Live {
    pub value: Bytes,
    pub expires_at_ms: Option<u64>,
    /// The bytes that it takes in LMDB, once it has been compressed; 0 before. Changes only under the engine's lock.
    known_bytes: AtomicU64,
    /// The record has changed again since its layer was frozen.
    is_outdated: AtomicBool,
    /// A checkpoint has written it to LMDB. If that checkpoint fails later, the next attempt skips it.
    is_written: AtomicBool,
}

impl Live {
    pub fn new(value: Bytes, expires_at_ms: Option<u64>) -> Live {
        let (is_outdated, is_written) = (AtomicBool::new(false), AtomicBool::new(false));
        Live { value, expires_at_ms, known_bytes: AtomicU64::new(0), is_outdated, is_written }
    }

    /// What the record adds to its store's usage.
    pub fn weight(&self, key: &[u8]) -> Weight {
        let plain = Weight::plain(key, self.value.len(), self.expires_at_ms.is_some());
        Weight { stored_bytes: self.known_stored_bytes().unwrap_or(plain.stored_bytes), ..plain }
    }

    /// The record has changed again.
    pub fn outdate(&self) {
        self.is_outdated.store(true, Ordering::Relaxed);
    }

    /// The change that had replaced it was undone.
    pub fn renew(&self) {
        self.is_outdated.store(false, Ordering::Relaxed);
    }

    pub fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Relaxed)
    }

    pub fn note_written(&self) {
        self.is_written.store(true, Ordering::Relaxed);
    }

    pub fn is_written(&self) -> bool {
        self.is_written.load(Ordering::Relaxed)
    }

    pub fn set_stored_bytes(&self, stored_bytes: u64) {
        self.known_bytes.store(stored_bytes, Ordering::Relaxed);
    }

    /// The bytes that it takes in LMDB; `None` as long as it has not been compressed.
    pub fn known_stored_bytes(&self) -> Option<u64> {
        Some(self.known_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes != 0)
    }
}

/// The changes of one generation.
#[derive(Debug, Default)]
pub struct Layer {
    entries: Hashed<Name, Entry>,
    ordered: BTreeSet<Name>,
    unordered: Vec<Name>,
    bytes: usize,
    deadlines: BTreeSet<(u64, Name)>,
    /// All keys in order, for a layer that doesn't change any more.
    sorted: OnceLock<Vec<Name>>,
}

impl Layer {
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Entry)> {
        self.entries.iter()
    }

    /// How many keys wait to be ordered before [`range`](Layer::range) sees them.
    pub fn unordered(&self) -> usize {
        self.unordered.len()
    }

    /// Orders up to `keys_max` of the waiting keys.
    pub fn order(&mut self, keys_max: usize) {
        let rest = self.unordered.len().saturating_sub(keys_max);
        self.ordered.extend(self.unordered.drain(rest..));
    }

    /// Keys in order, from a bound on. They are complete when [`unordered`](Layer::unordered) is 0.
    pub fn range<'a>(&'a self, from: Bound<&'a [u8]>) -> impl Iterator<Item = (&'a Name, &'a Entry)> {
        debug_assert!(self.unordered.is_empty());
        self.ordered
            .range::<[u8], _>((from, Bound::Unbounded))
            .filter_map(|key| self.entries.get(key).map(|entry| (key, entry)))
    }

    /// All keys in order, of a layer that doesn't change any more. The first call sorts.
    pub fn sorted(&self) -> &[Name] {
        self.sorted.get_or_init(|| {
            let mut keys: Vec<Name> = self.entries.keys().cloned().collect();
            keys.sort_unstable();
            keys
        })
    }

    /// Deadlines up to now, earliest first.
    pub fn due(&self, now_ms: u64) -> impl Iterator<Item = &(u64, Name)> {
        self.deadlines.iter().take_while(move |(deadline, _)| *deadline <= now_ms)
    }

    /// Returns what it knew of the key before.
    fn insert(&mut self, key: &[u8], entry: Entry) -> Option<Entry> {
        use std::collections::hash_map::Entry as Slot;
        let key = Name::from_slice(key);
        self.move_deadline(&key, Some(&entry));
        self.bytes += value_bytes(&entry);
        match self.entries.entry(key) {
            Slot::Occupied(mut slot) => {
                self.bytes -= value_bytes(slot.get());
                Some(slot.insert(entry))
            }
            Slot::Vacant(slot) => {
                self.bytes += KEY_COPIES * copy_bytes(slot.key()) + ENTRY_OVERHEAD_BYTES;
                self.unordered.push(slot.key().clone());
                slot.insert(entry);
                None
            }
        }
    }

    /// Forgets the key. Returns what it knew.
    fn forget(&mut self, key: &[u8]) -> Option<Entry> {
        self.move_deadline(&Name::from_slice(key), None);
        let (key, entry) = self.entries.remove_entry(key)?;
        self.bytes -= KEY_COPIES * copy_bytes(&key) + ENTRY_OVERHEAD_BYTES + value_bytes(&entry);
        if !self.ordered.remove(&key)
            && let Some(at) = self.unordered.iter().rposition(|waiting| *waiting == key)
        {
            self.unordered.swap_remove(at);
        }
        Some(entry)
    }

    fn move_deadline(&mut self, key: &Name, entry: Option<&Entry>) {
        let deadline_of = |entry: &Entry| entry.live.as_ref().and_then(|live| live.expires_at_ms);
        let after = entry.and_then(deadline_of);
        if after.is_none() && self.deadlines.is_empty() {
            return;
        }
        let before = self.entries.get(key).and_then(deadline_of);
        if before != after {
            if let Some(deadline) = before
                && self.deadlines.remove(&(deadline, key.clone()))
            {
                self.bytes -= copy_bytes(key);
            }
            if let Some(deadline) = after
                && self.deadlines.insert((deadline, key.clone()))
            {
                self.bytes += copy_bytes(key);
            }
        }
    }
}

fn value_bytes(entry: &Entry) -> usize {
    entry.live.as_ref().map_or(0, |live| live.value.len())
}

/// The memory that a copy of a key takes. A short key is in the slot itself, which the overhead of an entry includes.
fn copy_bytes(key: &Name) -> usize {
    if key.spilled() { key.capacity() + SPILLED_OVERHEAD_BYTES } else { 0 }
}

/// The changes of all stores, by generation.
#[derive(Debug, Default)]
pub struct Memtable {
    layers: Hashed<Generation, Layer>,
    bytes: usize,
}

impl Memtable {
    pub fn get(&self, generation: Generation, key: &[u8]) -> Option<&Entry> {
        self.layers.get(&generation)?.get(key)
    }

    pub fn layer(&self, generation: Generation) -> Option<&Layer> {
        self.layers.get(&generation)
    }

    pub fn layer_mut(&mut self, generation: Generation) -> Option<&mut Layer> {
        self.layers.get_mut(&generation)
    }

    /// All layers, by generation.
    pub fn layers(&self) -> Vec<(Generation, &Layer)> {
        let mut layers: Vec<_> = self.layers.iter().map(|(generation, layer)| (*generation, layer)).collect();
        layers.sort_unstable_by_key(|(generation, _)| *generation);
        layers
    }

    /// Replaces what the memtable knew of the key. Returns the replaced entry.
    pub fn insert(&mut self, generation: Generation, key: &[u8], entry: Entry) -> Option<Entry> {
        let layer = self.layers.entry(generation).or_default();
        self.bytes -= layer.bytes;
        let before = layer.insert(key, entry);
        self.bytes += layer.bytes;
        before
    }

    /// Undoes an [`insert`](Memtable::insert), given what it returned. Returns what it had inserted.
    pub fn take_back(&mut self, generation: Generation, key: &[u8], before: Option<Entry>) -> Option<Entry> {
        if let Some(before) = before {
            return self.insert(generation, key, before);
        }
        let layer = self.layers.get_mut(&generation)?;
        self.bytes -= layer.bytes;
        let inserted = layer.forget(key);
        self.bytes += layer.bytes;
        if layer.entries.is_empty() {
            self.layers.remove(&generation);
        }
        inserted
    }

    /// Undoes a [`remove_layer`](Memtable::remove_layer).
    pub fn restore_layer(&mut self, generation: Generation, layer: Layer) {
        self.bytes += layer.bytes;
        self.layers.insert(generation, layer);
    }

    /// Forgets a generation that was flushed or dropped. The caller drops the returned layer where that may take time.
    pub fn remove_layer(&mut self, generation: Generation) -> Option<Layer> {
        let layer = self.layers.remove(&generation)?;
        self.bytes -= layer.bytes;
        Some(layer)
    }

    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// An estimate of the memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything it contains except measured sizes, in an order that depends only on the contents.
    #[cfg(test)]
    pub fn told(&self) -> Vec<String> {
        let mut told = vec![format!("{} bytes", self.bytes)];
        for (generation, layer) in self.layers() {
            let mut entries: Vec<String> =
                layer.entries.iter().map(|(key, entry)| format!("{key:?} {}", entry.told())).collect();
            entries.sort();
            let mut keys: Vec<&Name> = layer.ordered.iter().chain(&layer.unordered).collect();
            keys.sort();
            told.push(format!("{generation}: {} bytes, {keys:?}, due {:?}", layer.bytes, layer.deadlines));
            told.extend(entries);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::memtable::table::*;

    fn live(value: &'static str, expires_at_ms: Option<u64>) -> Entry {
        Entry { version: 1, live: Some(Live::new(Bytes::from_static(value.as_bytes()), expires_at_ms)) }
    }

    #[test]
    fn keys_come_in_order_once_ordered() {
        let mut memtable = Memtable::default();
        for key in ["b", "c", "a"] {
            memtable.insert(1, key.as_bytes(), live("1", None));
        }
        memtable.insert(1, b"b", Entry { version: 2, live: None });
        let layer = memtable.layer_mut(1).expect("layer");
        assert_eq!(layer.unordered(), 3);
        layer.order(2);
        assert_eq!(layer.unordered(), 1);
        layer.order(2);
        let keys: Vec<_> =
            layer.range(Bound::Excluded(b"a")).map(|(key, entry)| (&key[..], entry.version)).collect();
        assert_eq!(keys, [(&b"b"[..], 2), (b"c", 1)]);
        assert_eq!(layer.sorted().len(), 3);
    }

    #[test]
    fn inserts_that_are_taken_back_leave_nothing() {
        let mut memtable = Memtable::default();
        memtable.insert(1, b"kept", live("1", Some(10)));
        let bytes = memtable.bytes();
        let changes = [
            (1, "kept", live("22", Some(20))),
            (1, "new", live("1", Some(30))),
            (1, "ordered", live("1", None)),
            (2, "new layer", live("1", None)),
            (1, "kept", Entry { version: 2, live: None }),
        ];
        let mut taken = Vec::new();
        for (generation, key, entry) in changes {
            taken.push((generation, key, memtable.insert(generation, key.as_bytes(), entry)));
            if let Some(layer) = memtable.layer_mut(1).filter(|_| key == "ordered") {
                layer.order(1);
            }
        }
        for (generation, key, before) in taken.into_iter().rev() {
            assert!(memtable.take_back(generation, key.as_bytes(), before).is_some());
        }
        assert_eq!((memtable.bytes(), memtable.layers().len()), (bytes, 1));
        let layer = memtable.layer_mut(1).expect("layer");
        assert_eq!((layer.due(u64::MAX).count(), layer.unordered()), (1, 1));
        layer.order(9);
        assert_eq!(layer.range(Bound::Unbounded).count(), 1);
    }

    #[test]
    fn deadlines_follow_their_records() {
        let mut memtable = Memtable::default();
        memtable.insert(1, b"a", live("1", Some(10)));
        memtable.insert(1, b"b", live("1", Some(20)));
        memtable.insert(1, b"a", live("1", Some(30)));
        assert_eq!(memtable.layer(1).expect("layer").due(25).count(), 1);
        memtable.insert(1, b"b", Entry { version: 2, live: None });
        assert_eq!(memtable.layer(1).expect("layer").due(25).count(), 0);
        memtable.remove_layer(1);
        assert!(memtable.layer(1).is_none());
        assert_eq!(memtable.bytes(), 0);
    }

    #[test]
    fn a_long_key_is_counted_as_often_as_it_is_held() {
        let cases: [(usize, Option<u64>, usize); 4] =
            [(32, None, 0), (32, Some(1), 0), (1_000, None, 3), (1_000, Some(1), 4)];
        for (key_bytes, expires_at_ms, copies) in cases {
            let (mut memtable, key) = (Memtable::default(), vec![b'k'; key_bytes]);
            memtable.insert(1, &key, live("1", expires_at_ms));
            let bytes = memtable.bytes();
            assert!(
                (copies * key_bytes..copies * (key_bytes + 32) + 256).contains(&bytes),
                "{key_bytes}, {expires_at_ms:?}: {bytes}"
            );
            // replaced, renewed and removed it is counted the same way
            memtable.insert(1, &key, live("2", Some(7)));
            memtable.insert(1, &key, live("3", Some(9)));
            memtable.insert(1, &key, live("3", expires_at_ms));
            assert_eq!(memtable.bytes(), bytes, "{key_bytes}, {expires_at_ms:?}");
        }
    }
}
