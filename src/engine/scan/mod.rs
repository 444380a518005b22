//! Keys in order: what KEYS, SCAN, RANDOMKEY ([`crate::engine::scan::sample`]) and pages of entries read.
//!
//! A scan sees one instant: under the lock it copies what the active memtable knows of its range, takes the frozen
//! memtable (which no longer changes) and opens a snapshot of LMDB. The three are merged afterwards, without the lock.
//! What a memtable says about a key takes precedence over LMDB.

pub mod count;
pub mod sample;

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::core::handles::Reader;
use crate::engine::error::Error;
use crate::engine::journal::Seq;
use crate::engine::lmdb::Snapshot;
use crate::engine::memtable::frozen::Frozen;
use crate::engine::memtable::table::{Layer, Name};
use crate::engine::state::State;
use crate::engine::transaction::txn::{Found, Held, Meta, Record};
use crate::limits::KEY_BYTES_MAX;
use crate::store::{Generation, StoreId};
use crate::sync::{RwLockReadGuard, RwLockWriteGuard};

/// The number of keys that are sorted at once, under the lock, unless writers are faster. Tests have few keys but need
/// several portions.
const ORDERED_AT_ONCE: usize = if cfg!(test) { 64 } else { 4_096 };

/// Which keys of a store a scan looks at.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    pub store: StoreId,
    /// Only keys that begin with this are read.
    pub prefix: &'a [u8],
    /// Where to begin, in key order.
    pub from: Bound<&'a [u8]>,
    /// The most keys that are looked at, whether there is a record or not.
    pub keys_max: usize,
    /// How many keys without a record are skipped before they count as well. They cost little, and after a bulk
    /// deletion there may be very many of them next to each other.
    pub absent_free: usize,
}

/// A record that a scan visits. It borrows from LMDB, so that a value which nobody asks for is not copied.
pub struct Row<'t> {
    found: Found<'t>,
    generation: Generation,
    key: &'t [u8],
}

impl Row<'_> {
    pub fn key(&self) -> &[u8] {
        self.key
    }

    pub fn meta(&self) -> Option<Meta> {
        self.found.meta(self.key)
    }

    /// The record with its value.
    pub fn record(&self) -> Result<Option<Record>, Error> {
        Ok(self.found.clone().record(self.generation, self.key)?)
    }
}

/// How a scan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The last key that was looked at, if there may be more behind it.
    pub more_after: Option<Bytes>,
    /// The journal sequence number that the scan reflects.
    pub reflects: Seq,
}

impl<'e> Reader<'e> {
    /// Calls `visit` with each record of the range whose key `wants` likes, in key order, until it breaks.
    pub fn scan<E: From<Error>>(
        &self,
        now_ms: u64,
        range: Range<'_>,
        wants: &dyn Fn(&[u8]) -> bool,
        visit: &mut dyn FnMut(Row<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<End, E> {
        // LMDB returns an error for keys that are longer than its keys can be
        if range.prefix.len() > KEY_BYTES_MAX {
            return Ok(End { more_after: None, reflects: self.engine.journal.last() });
        }
        let from = start(range);
        let copy = self.copy_active(now_ms, range, from)?;
        let frozen_layer = copy.frozen.as_deref().and_then(|frozen| frozen.memtable.layer(copy.generation));
        let mut active = copy.active.into_iter().peekable();
        let mut frozen =
            frozen_layer.map(|layer| sorted_from(layer, from)).unwrap_or_default().iter().peekable();
        let rows = self.engine.tables.records_from(&copy.snapshot, copy.generation, from);
        let mut disk = rows.map_err(Error::from)?.peekable();

        let mut last = Bytes::new();
        let mut looked_at = Budget::new(range);
        loop {
            // the smallest of the three keys; a damaged row ends the scan with its error
            if matches!(disk.peek(), Some(Err(_)))
                && let Some(Err(fault)) = disk.next()
            {
                return Err(Error::from(fault).into());
            }
            let on_disk = disk.peek().and_then(|row| row.as_ref().ok()).map(|(key, _)| *key);
            let smallest =
                [active.peek().map(|(key, _)| &key[..]), frozen.peek().map(|key| &key[..]), on_disk];
            let Some(key) = smallest.into_iter().flatten().min() else { break };
            if !key.starts_with(range.prefix) {
                break;
            }
            if looked_at.is_used_up() {
                return Ok(End { more_after: Some(last), reflects: copy.reflects });
            }
            let key = Bytes::copy_from_slice(key);
            let mut found = None;
            if on_disk == Some(&key[..]) {
                found = disk.next().and_then(Result::ok).map(|(_, record)| Found::Disk(record));
            }
            if frozen.next_if(|frozen| frozen[..] == key).is_some() {
                found = frozen_layer
                    .and_then(|layer| layer.get(&key))
                    .map(|entry| Found::of_entry(&key, entry, Held::own));
            }
            if let Some((_, newest)) = active.next_if(|(active, _)| active[..] == key) {
                found = Some(newest);
            }
            last = key.clone();
            let found = match found {
                // a damaged deadline hides no record; reading the record returns an error
                Some(Found::Disk(record)) if !record.is_sound(copy.generation, &key, now_ms) => {
                    Some(Found::Disk(record))
                }
                found => found.map(|found| found.unexpired(now_ms)),
            };
            looked_at.count(matches!(found, None | Some(Found::Absent)));
            if !wants(&key) {
                continue;
            }
            match found {
                None | Some(Found::Absent) => {}
                Some(found) => {
                    let row = Row { found, generation: copy.generation, key: &key };
                    if visit(row)?.is_break() {
                        return Ok(End { more_after: Some(last), reflects: copy.reflects });
                    }
                }
            }
        }
        Ok(End { more_after: None, reflects: copy.reflects })
    }

    /// What a scan needs, taken at one instant.
    fn copy_active(&self, now_ms: u64, range: Range<'_>, from: Bound<&[u8]>) -> Result<Copy<'e>, Error> {
        #[cfg(test)]
        tests::between_two_looks(self.engine);
        let state = self.state();
        if is_ordered(&state, range.store) {
            return self.copy_ordered(&state, now_ms, range, from);
        }
        drop(state);
        let state = self.order(range.store);
        self.copy_ordered(&state, now_ms, range, from)
    }

    /// Sorts the new keys of a store, and keeps the lock so that no key is added afterwards.
    ///
    /// The lock is released after every portion, so that writers need not wait for all of them. If they insert as fast
    /// as this function sorts, the portions double until one holds everything that the memtable has room for, so that it
    /// ends in any case.
    fn order(&self, store: StoreId) -> RwLockReadGuard<'e, State> {
        let (mut portion, mut backlog) = (ORDERED_AT_ONCE, usize::MAX);
        loop {
            #[cfg(test)]
            tests::between_two_looks(self.engine);
            let mut state = self.state_mut();
            let generation = state.catalog.get(store).map(|store| store.generation);
            let layer = generation.and_then(|generation| state.active.layer_mut(generation));
            let rest = layer.map_or(0, |layer| {
                layer.order(portion);
                layer.unordered()
            });
            if rest == 0 {
                return RwLockWriteGuard::downgrade(state);
            }
            if rest > backlog.saturating_sub(portion / 2) {
                portion = portion.saturating_mul(2);
            }
            backlog = rest;
        }
    }

    /// The copy, of a store whose keys are in order.
    fn copy_ordered(
        &self,
        state: &State,
        now_ms: u64,
        range: Range<'_>,
        from: Bound<&[u8]>,
    ) -> Result<Copy<'e>, Error> {
        let store = state.catalog.get(range.store).ok_or(Error::NoStore(range.store))?;
        let layer = state.active.layer(store.generation);
        let keys = layer.into_iter().flat_map(|layer| layer.range(from));
        let in_range = keys.take_while(|(key, _)| key.starts_with(range.prefix));
        // one more than may be looked at, so that the merge knows whether there is more
        let (mut looked_at, mut is_last) = (Budget::new(range), false);
        let copied = in_range.take_while(|(_, entry)| {
            let is_done = is_last;
            is_last = looked_at.is_used_up();
            let live = entry.live.as_ref();
            looked_at.count(live.is_none_or(|live| live.expires_at_ms.is_some_and(|at| at <= now_ms)));
            !is_done
        });
        Ok(Copy {
            generation: store.generation,
            active: copied
                .map(|(key, entry)| (key.clone(), Found::of_entry(key, entry, Held::own)))
                .collect(),
            frozen: state.frozen.clone(),
            snapshot: self.engine.tables.snapshot()?,
            reflects: self.engine.journal.last(),
        })
    }
}

fn is_ordered(state: &State, store: StoreId) -> bool {
    let layer = state.catalog.get(store).and_then(|store| state.active.layer(store.generation));
    layer.is_none_or(|layer| layer.unordered() == 0)
}

/// How many more keys a scan may look at.
struct Budget {
    keys: usize,
    absent_free: usize,
}

impl Budget {
    fn new(range: Range<'_>) -> Budget {
        Budget { keys: range.keys_max, absent_free: range.absent_free }
    }

    fn is_used_up(&self) -> bool {
        self.keys == 0
    }

    fn count(&mut self, is_absent: bool) {
        match (is_absent, self.absent_free) {
            (true, 1..) => self.absent_free -= 1,
            _ => self.keys = self.keys.saturating_sub(1),
        }
    }
}

struct Copy<'e> {
    generation: Generation,
    active: Vec<(Name, Found<'e>)>,
    frozen: Option<Arc<Frozen>>,
    snapshot: Snapshot<'e>,
    reflects: Seq,
}

/// The later of where the range begins and where its prefix does.
fn start(range: Range<'_>) -> Bound<&[u8]> {
    match range.from {
        Bound::Included(from) if from >= range.prefix => Bound::Included(from),
        Bound::Excluded(from) if from >= range.prefix => Bound::Excluded(from),
        _ => Bound::Included(range.prefix),
    }
}

/// The first position behind everything that begins so.
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=at].to_vec();
    next[at] += 1;
    Some(next)
}

fn sorted_from<'a>(layer: &'a Layer, from: Bound<&[u8]>) -> &'a [Name] {
    let keys = layer.sorted();
    let at = match from {
        Bound::Included(from) => keys.partition_point(|key| key[..] < *from),
        Bound::Excluded(from) => keys.partition_point(|key| key[..] <= *from),
        Bound::Unbounded => 0,
    };
    &keys[at..]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;

    use super::super::{Engine, Expiry, Options};
    use super::*;
    use crate::store::{Key, Value};

    type Act = Box<dyn FnMut(&Engine)>;

    thread_local! {
        static BETWEEN: RefCell<Option<Act>> = const { RefCell::new(None) };
    }

    /// Called by a scan whenever it is about to acquire the engine's lock.
    pub fn between_two_looks(engine: &Engine) {
        // writing may not come here again
        if let Some(mut act) = BETWEEN.take() {
            act(engine);
            BETWEEN.set(Some(act));
        }
    }

    #[test]
    fn a_scan_ends_although_others_go_on_inserting() {
        const LOOKS_MAX: usize = 20;
        for inserted_at_once in [1, ORDERED_AT_ONCE / 2, ORDERED_AT_ONCE, 3 * ORDERED_AT_ONCE] {
            let dir = tempfile::tempdir().unwrap();
            let interval = std::time::Duration::from_secs(3600);
            let engine =
                Engine::open(Options { checkpoint_interval: interval, ..Options::new(dir.path()) }).unwrap();
            let (mut looks, mut inserted) = (0, 0);
            let keys_per_write = inserted_at_once.min(32);
            BETWEEN.set(Some(Box::new(move |engine| {
                looks += 1;
                assert!(looks < LOOKS_MAX, "with {inserted_at_once} at once, a scan does not end");
                for at in (inserted..inserted + inserted_at_once).step_by(keys_per_write) {
                    let names = (at..at + keys_per_write).map(|at| Bytes::from(format!("{at:08}")));
                    let keys: Vec<Key> = names.map(|name| Key::new(0, name)).collect();
                    let put = |txn: &mut super::super::WriteTxn<'_>| {
                        keys.iter()
                            .try_for_each(|key| txn.put(key, Value::integer(1), Expiry::Never).map(|_| ()))
                    };
                    engine.writer().write(1, &keys, put).unwrap();
                }
                inserted += inserted_at_once;
            })));
            let mut found = 0;
            let range =
                Range { store: 0, prefix: b"", from: Bound::Unbounded, keys_max: usize::MAX, absent_free: 0 };
            let end = engine.reader().scan(1, range, &|_| true, &mut |_| {
                found += 1;
                Ok::<_, Error>(ControlFlow::Continue(()))
            });
            BETWEEN.take();
            // each transaction is one entry: the scan has seen all that it reflects, and nothing in part
            assert_eq!(found as u64, end.unwrap().reflects * keys_per_write as u64);
            engine.close().unwrap();
        }
    }

    #[test]
    fn a_range_begins_at_its_prefix_or_later() {
        let range = |prefix, from| start(Range { store: 0, prefix, from, keys_max: 1, absent_free: 0 });
        assert_eq!(range(b"b", Bound::Unbounded), Bound::Included(&b"b"[..]));
        assert_eq!(range(b"b", Bound::Excluded(b"a")), Bound::Included(&b"b"[..]));
        assert_eq!(range(b"b", Bound::Excluded(b"bx")), Bound::Excluded(&b"bx"[..]));
    }
}
