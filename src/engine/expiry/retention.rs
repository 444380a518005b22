//! Retention: removes records some time after their last change, whatever their own expiry says.
//!
//! It is a rule of the store, not a deadline of the record. It therefore takes no room in records and no time in
//! writes, applies to records that were there before the rule, changes with the rule, and cannot be lifted with
//! PERSIST. TTL continues to show what clients have set. The [timeline](crate::engine::core::timeline) knows when a
//! record was last changed.
//!
//! # Walks
//!
//! From time to time, the sweeper's thread walks through the stores that have a retention, in bounded steps. A walk
//! that takes long is repeated less often.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::engine::clock;
use crate::engine::clock::Reading;
use crate::engine::core::handles::Writer;
use crate::engine::core::timeline::{POINT_EVERY_MS, PRECISION};
use crate::engine::error::Error;
use crate::engine::scan::Range;
use crate::store::{Key, StoreId};

/// The number of keys that a walk looks at, and removes, in one step.
const KEYS_AT_ONCE: usize = 1_024;
/// A walk may take this fraction of the time, so that large stores with a short retention don't keep a core busy.
const REST_PER_WALK: u32 = 20;

/// The time of the next walk through each store, by the steady clock.
#[derive(Default)]
pub(in crate::engine) struct Rounds(HashMap<StoreId, u64>);

impl Writer<'_> {
    /// Walks through the stores for which a walk is due.
    pub(in crate::engine) fn retain_in_turn(&self, reading: &Reading, rounds: &mut Rounds) {
        self.engine.timeline.lock().observe(reading, self.last_seq());
        let stores: Vec<(StoreId, u64)> = self.with_catalog(|catalog| {
            catalog.iter().filter_map(|store| Some((store.id, store.quota.retention_ms?))).collect()
        });
        let steady_ms = reading.steady_ms;
        rounds.0.retain(|id, _| stores.iter().any(|(store, _)| store == id));
        for (store, retention_ms) in stores {
            // a retention that was shortened does not wait for the old interval
            let is_later = |due_ms: &u64| *due_ms > steady_ms && *due_ms <= steady_ms + retention_ms;
            if rounds.0.get(&store).is_some_and(is_later) {
                continue;
            }
            let began = clock::monotonic();
            // a fault here comes from the journal or from LMDB, and their own threads report it
            let _ = self.retain(reading.now_ms, store);
            let rest_ms = (began.elapsed() * REST_PER_WALK).as_millis() as u64;
            let pause_ms = rest_ms
                .max(retention_ms / PRECISION)
                .max(POINT_EVERY_MS)
                .min(retention_ms.max(POINT_EVERY_MS));
            rounds.0.insert(store, steady_ms + pause_ms);
        }
    }

    /// Removes the records of a store that have not changed for as long as its retention; says how many.
    pub fn retain(&self, now_ms: u64, store: StoreId) -> Result<usize, Error> {
        let retention_ms = self.with_catalog(|catalog| catalog.get(store)?.quota.retention_ms);
        let Some(retention_ms) = retention_ms else { return Ok(0) };
        let through = self.engine.timeline.lock().last_before(retention_ms);
        if through == 0 {
            return Ok(0);
        }
        let (mut removed, mut from) = (0, Bound::Unbounded);
        loop {
            let mut old = Vec::new();
            let from_key = from.as_ref().map(|key: &Bytes| &key[..]);
            let range = Range { store, prefix: b"", from: from_key, keys_max: KEYS_AT_ONCE, absent_free: 0 };
            let end = self.scan(now_ms, range, &|_| true, &mut |row| {
                if row.meta().is_some_and(|meta| meta.version <= through) {
                    old.push(Key { store, name: Bytes::copy_from_slice(row.key()) });
                }
                Ok::<_, Error>(ControlFlow::Continue(()))
            })?;
            if !self.engine.has_room_to_sweep(&old) {
                // the next walk goes on
                return Ok(removed);
            }
            if !old.is_empty() {
                let (gone, _) = self.write(now_ms, &old, |txn| {
                    let mut gone = 0;
                    for key in &old {
                        // looked at again: it may have changed since the scan
                        if txn.peek(key)?.is_some_and(|meta| meta.version <= through) {
                            gone += usize::from(txn.remove(key)?);
                        }
                    }
                    Ok::<_, Error>(gone)
                })?;
                removed += gone;
                self.engine.expired.fetch_add(gone as u64, Ordering::Relaxed);
            }
            match end.more_after {
                Some(last) if !self.engine.room.closes_within(std::time::Duration::ZERO) => {
                    from = Bound::Excluded(last)
                }
                _ => return Ok(removed),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::engine::expiry::retention::*;
    use crate::engine::{Engine, Expiry, Options};
    use crate::limits::CLOCK_EARLIEST_MS;
    use crate::store::{Definition, Quota, Value};

    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    /// A right clock when the machine was booted.
    const BOOT_MS: u64 = CLOCK_EARLIEST_MS + 365 * DAY_MS;

    fn open(dir: &std::path::Path) -> std::sync::Arc<Engine> {
        let options =
            Options { checkpoint_interval: std::time::Duration::from_secs(3600), ..Options::new(dir) };
        Engine::open(options).unwrap()
    }

    fn key(name: &'static str) -> Key {
        Key::new(0, Bytes::from_static(name.as_bytes()))
    }

    fn put(engine: &Engine, at: &Reading, name: &'static str, expiry: Expiry) {
        let key = key(name);
        let put = |txn: &mut crate::engine::WriteTxn<'_>| txn.put(&key, Value::integer(1), expiry);
        engine.writer().write(at.now_ms, std::slice::from_ref(&key), put).unwrap();
        engine.timeline.lock().observe(at, engine.reader().last_seq());
    }

    fn is_there(engine: &Engine, at: &Reading, name: &'static str) -> bool {
        let key = key(name);
        engine.reader().read(at.now_ms, std::slice::from_ref(&key), |txn| txn.peek(&key)).unwrap().0.is_some()
    }

    fn set_retention(engine: &Engine, retention_ms: u64) {
        let quota = Quota { retention_ms: Some(retention_ms), ..Quota::default() };
        let definition = Definition { quota, ..Definition::default() };
        engine.writer().write(BOOT_MS, &[], |txn| txn.define(Some(0), definition)).unwrap();
    }

    fn retain(engine: &Engine, at: &Reading) -> usize {
        engine.timeline.lock().observe(at, engine.reader().last_seq());
        engine.writer().retain(at.now_ms, 0).unwrap()
    }

    #[test]
    fn records_go_when_they_have_not_changed_for_long_enough() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = open(dir.path());
        // the sweeper would show the timeline the real clock
        engine.writer().set_sweeping(false);
        let start = clock::keep();
        let after = |ms: u64| Reading {
            now_ms: start.now_ms + ms,
            wall_ms: start.wall_ms + ms,
            steady_ms: start.steady_ms + ms,
            ..start
        };
        put(&engine, &after(0), "untouched", Expiry::Never);
        put(&engine, &after(0), "persisted", Expiry::Persist);
        put(&engine, &after(0), "renewed", Expiry::Never);
        put(&engine, &after(0), "later", Expiry::At(start.now_ms + 100 * DAY_MS));
        put(&engine, &after(POINT_EVERY_MS), "fence", Expiry::Never);
        assert_eq!(retain(&engine, &after(5 * DAY_MS)), 0, "there is no rule yet");
        set_retention(&engine, 7 * DAY_MS);
        put(&engine, &after(6 * DAY_MS), "renewed", Expiry::Keep);
        assert_eq!(retain(&engine, &after(7 * DAY_MS - 1)), 0);
        // what the timeline knows survives with the checkpoint
        engine.close().unwrap();
        drop(engine);
        engine = open(dir.path());
        engine.writer().set_sweeping(false);
        assert_eq!(retain(&engine, &after(2 * DAY_MS)), 4);
        for (name, stays) in [("untouched", false), ("persisted", false), ("later", false), ("renewed", true)]
        {
            assert_eq!(is_there(&engine, &after(2 * DAY_MS), name), stays, "{name}");
        }
        engine.close().unwrap();
    }
}
