//! Looks up the declared keys of a transaction: in memory under the engine's lock, and on the disk without it.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::core::Engine;
use crate::engine::core::handles::Reader;
use crate::engine::error::Error;
use crate::engine::journal::Seq;
use crate::engine::lmdb;
use crate::engine::lmdb::Snapshot;
use crate::engine::lmdb::residence::Wait;
use crate::engine::memtable::cache::Cached;
use crate::engine::state::State;
use crate::engine::transaction::txn::{Declared, DeclaredKeys, Found, Held};
use crate::store::{Generation, Key, StoreId};

impl Engine {
    /// Prefetches the records of some keys into the processor's cache. A look-up of a record that is in memory but not
    /// hot mostly waits for memory; here these waits overlap.
    pub fn warm_up<'k>(&self, store: StoreId, keys: impl Iterator<Item = &'k Bytes>) {
        let state = self.state.read();
        let Some(generation) = state.catalog.get(store).map(|store| store.generation) else { return };
        // first all slots, then all values: the less happens between the waits, the more they overlap
        let values: SmallVec<[&Bytes; 32]> = keys.filter_map(|key| state.value(generation, key)).collect();
        for value in values {
            fetch(value);
        }
    }

    /// Asks the system for the pages of records that are neither in memory nor in its page cache, so that it reads them at
    /// the same time. Does not wait for that.
    pub fn fetch_cold<'k>(&self, store: StoreId, keys: impl Iterator<Item = &'k Bytes>) {
        let mut wanted: Vec<&[u8]> = Vec::new();
        let (generation, snapshot) = {
            let state = self.state.read();
            let Some(generation) = state.catalog.get(store).map(|store| store.generation) else { return };
            let is_on_disk = |key: &&Bytes| {
                state.entry(generation, key).is_none() && state.cache.get(generation, key).is_none()
            };
            wanted.extend(keys.filter(is_on_disk).map(|key| &key[..]));
            (generation, self.tables.snapshot())
        };
        // nothing depends on this, so an error is left to who looks the record up
        let Ok(snapshot) = snapshot else { return };
        wanted.sort_unstable();
        self.tables.fetch_records(&snapshot, wanted.into_iter().map(|key| (generation, key)));
    }

    pub(super) fn look_on_disk<'s>(
        &'s self,
        snapshot: &'s Snapshot<'_>,
        keys: &[Key],
        missing: Missing,
        epoch: u64,
        wait: Wait,
    ) -> Result<OnDisk<'s>, Error> {
        let look = |at: usize, generation, wait| {
            // LMDB returns an error for a key that is longer than its keys can be
            let is_possible = !keys[at].is_too_long();
            let record = is_possible.then(|| self.tables.record(snapshot, generation, &keys[at].name, wait));
            Ok::<_, lmdb::Fault>((at, generation, Found::of_disk(record.transpose()?.flatten())))
        };
        let mut found = Vec::with_capacity(missing.len());
        if wait == Wait::No || missing.len() == 1 {
            for (at, generation) in missing {
                found.push(look(at, generation, wait)?);
            }
            return Ok(OnDisk { found, epoch });
        }
        // what is not in memory is looked up in a second round, when the system has been asked for all of it
        let mut cold = Missing::new();
        for (at, generation) in missing {
            match look(at, generation, Wait::Ask) {
                Err(lmdb::Fault::Cold) => cold.push((at, generation)),
                looked => found.push(looked?),
            }
        }
        if !cold.is_empty() {
            for (at, generation) in cold {
                found.push(look(at, generation, Wait::ForDisk)?);
            }
            found.sort_unstable_by_key(|(at, ..)| *at);
        }
        Ok(OnDisk { found, epoch })
    }
}

impl Reader<'_> {
    /// Puts a record that was found in LMDB into the cache, if LMDB still holds it: the cache's third rule.
    pub(super) fn remember(&self, epoch: u64, generation: Generation, key: &[u8], cached: Cached) {
        let mut state = self.state_mut();
        if state.epoch == epoch
            && state.entry(generation, key).is_none()
            && state.catalog.holding(generation).is_some()
        {
            state.cache.put(generation, key, cached);
        }
    }
}

/// Prefetches the memory of a value, as far as a reply of ordinary size needs it.
fn fetch(value: &Bytes) {
    const LINE_BYTES: usize = 64;
    const LINES_MAX: usize = 8;
    // reads the reference count of a long value, which every clone changes; that of a short one is beside its bytes
    std::hint::black_box(value.is_unique());
    for byte in value.iter().step_by(LINE_BYTES).take(LINES_MAX) {
        std::hint::black_box(*byte);
    }
}

/// Positions of declared keys that have to be looked up in LMDB, in ascending order, and their generations.
pub(super) type Missing = SmallVec<[(usize, Generation); 1]>;

/// What LMDB held at declared keys: positions in ascending order, generations, records.
#[derive(Default)]
pub(super) struct OnDisk<'s> {
    pub(super) found: Vec<(usize, Generation, Found<'s>)>,
    pub(super) epoch: u64,
}

/// Declared keys that are being resolved for a transaction.
#[derive(Default)]
pub(super) struct Resolved<'t> {
    pub(super) stores: SmallVec<[(StoreId, Generation); 1]>,
    pub(super) declared: DeclaredKeys<'t>,
    pub(super) missing: Missing,
    pub(super) reflects: Seq,
}

impl<'t> Resolved<'t> {
    /// Resolves the keys that the memtable, the cache, or `on_disk` (if it is still valid) know, and records the others
    /// as missing.
    pub(super) fn look_in_memory<'s>(
        &mut self,
        state: &'s State,
        keys: &'t [Key],
        on_disk: &OnDisk<'t>,
        hold: impl Fn(&'s Bytes) -> Held<'t>,
    ) -> Result<(), Error> {
        let mut on_disk_keys =
            if on_disk.epoch == state.epoch { &on_disk.found[..] } else { Default::default() }
                .iter()
                .peekable();
        for (at, key) in keys.iter().enumerate() {
            let store = state.catalog.get(key.store).ok_or(Error::NoStore(key.store))?;
            let (generation, name) = (store.generation, &key.name);
            if !self.stores.contains(&(store.id, generation)) {
                self.stores.push((store.id, generation));
            }
            let looked_up = on_disk_keys.next_if(|(position, ..)| *position == at);
            if let Some(entry) = state.entry(generation, name) {
                self.reflects = self.reflects.max(entry.version);
                let found = Found::of_entry(name, entry, &hold);
                self.declared.push(Declared { generation, name, found });
                continue;
            }
            self.reflects = self.reflects.max(store.born);
            match looked_up {
                Some((_, of, found)) if *of == generation => {
                    self.declared.push(Declared { generation, name, found: found.clone() });
                }
                _ => match state.cache.get(generation, name) {
                    Some(cached) => {
                        let found = Found::of_cached(name, cached, &hold);
                        self.declared.push(Declared { generation, name, found });
                    }
                    None => self.missing.push((at, generation)),
                },
            }
        }
        Ok(())
    }

    /// Resolves the keys that were missing.
    pub(super) fn declare_missing(&mut self, keys: &'t [Key], on_disk: &OnDisk<'t>) {
        for (at, generation, found) in &on_disk.found {
            self.declared.push(Declared {
                generation: *generation,
                name: &keys[*at].name,
                found: found.clone(),
            });
        }
    }
}
