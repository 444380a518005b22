//! Watched keys without a record.
//!
//! A record that changes gets another version, so a watcher compares versions. A key without a record has no version,
//! and a record that was written and removed in between would go unnoticed: LMDB keeps nothing of removed records, and
//! the memtable only until the next checkpoint. Such keys are therefore registered here as long as they are watched, and
//! each record that is written there is counted.
//!
//! Stores are identified by their numbers, not by their contents. A record that comes to a key by SWAPDB counts as
//! written there.
//!
//! Callable on every thread. A thread that writes a record holds the engine's lock, and checks a counter first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::store::{Key, StoreId};

/// The watchers of keys.
#[derive(Debug, Default)]
pub struct Watches {
    /// Watchers. A thread that acquires the engine's lock after a watcher has had it is guaranteed to see that watcher.
    count: AtomicUsize,
    keys: Mutex<HashMap<(StoreId, Bytes), Watched>>,
}

#[derive(Debug, Default)]
struct Watched {
    watchers: usize,
    puts: u64,
}

/// What watchers have to be told about a change.
#[derive(Debug)]
pub enum Noted {
    /// A record was put at a key.
    Put(StoreId, Bytes),
    /// Two stores swapped what they hold; with the names without a record in both.
    Swap([StoreId; 2], HashSet<Bytes>),
}

/// Someone's watch on a key; it ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    watches: Arc<Watches>,
    key: (StoreId, Bytes),
    puts_before: u64,
}

impl Watches {
    /// Begins a watch. Read the key only afterwards, so that no change goes unnoticed.
    pub fn watch(self: &Arc<Watches>, key: &Key) -> Watch {
        let key = (key.store, key.name.clone());
        let mut keys = self.keys.lock();
        let watched = keys.entry(key.clone()).or_default();
        watched.watchers += 1;
        self.count.fetch_add(1, Ordering::Relaxed);
        Watch { watches: self.clone(), key, puts_before: watched.puts }
    }

    /// Whether anyone watches anything.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Tells the watchers of the keys concerned.
    pub fn note(&self, noted: &Noted) {
        match noted {
            Noted::Put(store, key) => self.note_put(*store, key),
            Noted::Swap(stores, untouched) => self.note_swap(*stores, untouched),
        }
    }

    /// A record is put.
    fn note_put(&self, store: StoreId, key: &Bytes) {
        if let Some(watched) = self.keys.lock().get_mut(&(store, key.clone())) {
            watched.puts += 1;
        }
    }

    /// Names of keys that are watched in one of two stores.
    pub fn names_in(&self, stores: [StoreId; 2]) -> HashSet<Bytes> {
        let keys = self.keys.lock();
        keys.keys().filter(|(store, _)| stores.contains(store)).map(|(_, name)| name.clone()).collect()
    }

    /// Two stores swap what they hold. `untouched`: names without a record in both.
    fn note_swap(&self, stores: [StoreId; 2], untouched: &HashSet<Bytes>) {
        for ((store, name), watched) in self.keys.lock().iter_mut() {
            if stores.contains(store) && !untouched.contains(name) {
                watched.puts += 1;
            }
        }
    }
}

impl Watch {
    /// Whether a record was put at the key since the watch began.
    pub fn saw_put(&self) -> bool {
        let keys = self.watches.keys.lock();
        keys.get(&self.key).is_some_and(|watched| watched.puts != self.puts_before)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut keys = self.watches.keys.lock();
        if let Some(watched) = keys.get_mut(&self.key) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                keys.remove(&self.key);
            }
        }
        self.watches.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::state::watch::*;

    #[test]
    fn puts_are_seen_by_those_who_watch_at_the_time() {
        let key = |store| Key { store, name: Bytes::from_static(b"k") };
        let watches = Arc::new(Watches::default());
        assert!(!watches.any());
        let first = watches.watch(&key(0));
        watches.note_put(1, &key(1).name);
        assert!(watches.any() && !first.saw_put());
        watches.note_put(0, &key(0).name);
        let second = watches.watch(&key(0));
        assert!(first.saw_put() && !second.saw_put());
        drop(first);
        watches.note_put(0, &key(0).name);
        assert!(second.saw_put());
        drop(second);
        assert!(!watches.any() && watches.keys.lock().is_empty());
    }
}
