//! Retention: records go some time after their last change, whatever their own expiry says.
//!
//! It is a rule of the store, not a deadline of the record: so it needs no room in records, takes nothing from a write,
//! holds for what was there before the rule was made, changes with it, and nobody can PERSIST against it. TTL goes on
//! telling what clients have set.
//!
//! When a record was last changed follows from its version, which is a journal sequence number: a [`Timeline`] knows what
//! the last change was at points in time. Points are a second apart where they are fresh and grow rarer with age, so
//! that a record goes at most one part in [`PRECISION`] of its retention late, and never early. The timeline is stored
//! with every checkpoint; what a crash takes of it makes records go later.
//!
//! Stores with a retention are walked through from time to time, in bounded steps, on the sweeper's thread. A walk that
//! takes long is repeated less often.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::scan::Range;
use super::{Engine, Seq, clock};
use crate::error::Error;
use crate::store::{Key, StoreId};

/// Neighbours on the timeline are no further apart than this part of their age, or as they were noted.
const PRECISION: u64 = 256;
/// Points are at least this far apart.
const POINT_EVERY_MS: u64 = 1_000;
/// Keys that a walk looks at, and removes, in one step.
const KEYS_AT_ONCE: usize = 1_024;
/// A walk may take this part of the time, so that large stores with a short retention don't keep a core busy.
const REST_PER_WALK: u32 = 20;

/// What the last change was, at points in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Milliseconds since 1970 and sequence numbers, both rising.
    points: Vec<(u64, Seq)>,
}

impl Timeline {
    /// Notes what the last change is now.
    pub fn note(&mut self, now_ms: u64, last: Seq) {
        let due = self.points.last().is_none_or(|(ms, seq)| *ms + POINT_EVERY_MS <= now_ms && *seq < last);
        if due {
            self.points.push((now_ms, last));
            if self.points.len().is_multiple_of(PRECISION as usize) {
                self.thin(now_ms);
            }
        }
    }

    /// The last change that had happened at a point in time, as far as is known: never a later one.
    pub fn last_at(&self, ms: u64) -> Seq {
        let after = self.points.partition_point(|(at, _)| *at <= ms);
        after.checked_sub(1).map_or(0, |at| self.points[at].1)
    }

    /// Drops the points without which its neighbours are still close enough for their age.
    fn thin(&mut self, now_ms: u64) {
        let mut kept: Vec<(u64, Seq)> = Vec::with_capacity(self.points.len());
        for (at, point) in self.points.iter().enumerate().rev() {
            let older = at.checked_sub(1).map(|before| self.points[before].0);
            let is_needless = kept.last().zip(older).is_some_and(|((later, _), older)| {
                later.saturating_sub(older) <= now_ms.saturating_sub(point.0) / PRECISION
            });
            if !is_needless {
                kept.push(*point);
            }
        }
        kept.reverse();
        self.points = kept;
    }

    pub fn encode(&self) -> Vec<u8> {
        self.points.iter().flat_map(|(ms, seq)| [ms.to_be_bytes(), seq.to_be_bytes()].concat()).collect()
    }

    /// Points that don't rise, or lie behind `last`, are none: then records go later.
    pub fn decode(bytes: &[u8], last: Seq) -> Timeline {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
        let mut points: Vec<(u64, Seq)> = Vec::new();
        for point in bytes.chunks_exact(16) {
            let (ms, seq) = (number(&point[..8]), number(&point[8..]));
            if seq <= last && points.last().is_none_or(|(before, of)| *before < ms && *of < seq) {
                points.push((ms, seq));
            }
        }
        Timeline { points }
    }
}

/// When the next walk through each store is due, in milliseconds since 1970.
#[derive(Default)]
pub(super) struct Rounds(HashMap<StoreId, u64>);

impl Engine {
    /// Walks through the stores whose turn it is.
    pub(super) fn retain_in_turn(&self, now_ms: u64, rounds: &mut Rounds) {
        self.timeline.lock().note(now_ms, self.last_seq());
        let stores: Vec<(StoreId, u64)> = {
            let catalog = self.catalog();
            catalog.iter().filter_map(|store| Some((store.id, store.quota.retention_ms?))).collect()
        };
        rounds.0.retain(|id, _| stores.iter().any(|(store, _)| store == id));
        for (store, retention_ms) in stores {
            if rounds.0.get(&store).is_some_and(|due_ms| *due_ms > now_ms && *due_ms <= now_ms + retention_ms)
            {
                continue;
            }
            let began = clock::monotonic();
            // a fault here is one of the journal or of LMDB, which their own threads report
            let _ = self.retain(now_ms, store);
            let rest_ms = (began.elapsed() * REST_PER_WALK).as_millis() as u64;
            let pause_ms = rest_ms
                .max(retention_ms / PRECISION)
                .max(POINT_EVERY_MS)
                .min(retention_ms.max(POINT_EVERY_MS));
            rounds.0.insert(store, now_ms + pause_ms);
        }
    }

    /// Removes the records of a store that have not changed for as long as its retention; says how many.
    pub fn retain(&self, now_ms: u64, store: StoreId) -> Result<usize, Error> {
        let retention_ms = self.catalog().get(store).and_then(|store| store.quota.retention_ms);
        let Some(retention_ms) = retention_ms else { return Ok(0) };
        let through = self.timeline.lock().last_at(now_ms.saturating_sub(retention_ms));
        if through == 0 {
            return Ok(0);
        }
        let (mut removed, mut from) = (0, Bound::Unbounded);
        loop {
            let mut old = Vec::new();
            let from_key = from.as_ref().map(|key: &Bytes| &key[..]);
            let range = Range { store, prefix: b"", from: from_key, keys_max: KEYS_AT_ONCE };
            let end = self.scan(now_ms, range, &|_| true, &mut |row| {
                if row.meta().is_some_and(|meta| meta.version <= through) {
                    old.push(Key { store, name: Bytes::copy_from_slice(row.key()) });
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if !old.is_empty() {
                let (gone, _) = self.write(now_ms, &old, |txn| {
                    let mut gone = 0;
                    for key in &old {
                        // looked at again: it may have changed since the scan
                        if txn.peek(key)?.is_some_and(|meta| meta.version <= through) {
                            gone += usize::from(txn.remove(key)?);
                        }
                    }
                    Ok(gone)
                })?;
                removed += gone;
                self.expired.fetch_add(gone as u64, Ordering::Relaxed);
            }
            match end.more_after {
                Some(last) if !self.room.closes_within(std::time::Duration::ZERO) => {
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
    use proptest::prelude::*;

    use super::super::effect::Definition;
    use super::super::{Expiry, Options};
    use super::*;
    use crate::store::{Quota, Value};

    fn open(dir: &std::path::Path) -> std::sync::Arc<Engine> {
        let options =
            Options { checkpoint_interval: std::time::Duration::from_secs(3600), ..Options::new(dir) };
        Engine::open(options).unwrap()
    }

    fn key(name: &'static str) -> Key {
        Key::new(0, Bytes::from_static(name.as_bytes())).unwrap()
    }

    fn put(engine: &Engine, now_ms: u64, name: &'static str, expiry: Expiry) {
        let key = key(name);
        let put = |txn: &mut super::super::WriteTxn<'_>| txn.put(&key, Value::integer(1), expiry);
        engine.write(now_ms, std::slice::from_ref(&key), put).unwrap();
        engine.timeline.lock().note(now_ms, engine.last_seq());
    }

    fn is_there(engine: &Engine, now_ms: u64, name: &'static str) -> bool {
        let key = key(name);
        engine.read(now_ms, std::slice::from_ref(&key), |txn| txn.peek(&key)).unwrap().0.is_some()
    }

    /// A time that no clock has reached, so that the sweeper's own notes don't matter.
    const LATER_MS: u64 = 1 << 46;
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

    #[test]
    fn records_go_when_they_have_not_changed_for_long_enough() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = open(dir.path());
        put(&engine, LATER_MS, "untouched", Expiry::Never);
        put(&engine, LATER_MS, "persisted", Expiry::Persist);
        put(&engine, LATER_MS, "renewed", Expiry::Never);
        put(&engine, LATER_MS, "later", Expiry::At(LATER_MS + 100 * DAY_MS));
        put(&engine, LATER_MS + POINT_EVERY_MS, "fence", Expiry::Never);
        assert_eq!(engine.retain(LATER_MS + 9 * DAY_MS, 0).unwrap(), 0, "there is no rule yet");
        let quota = Quota { retention_ms: Some(7 * DAY_MS), ..Quota::default() };
        let definition = Definition { quota, ..Definition::default() };
        engine.write(LATER_MS, &[], |txn| txn.define(Some(0), definition)).unwrap();
        put(&engine, LATER_MS + 6 * DAY_MS, "renewed", Expiry::Keep);
        assert_eq!(engine.retain(LATER_MS + 7 * DAY_MS - 1, 0).unwrap(), 0);
        // what the timeline knows survives with the checkpoint
        engine.close().unwrap();
        drop(engine);
        engine = open(dir.path());
        assert_eq!(engine.retain(LATER_MS + 8 * DAY_MS, 0).unwrap(), 4);
        for (name, stays) in [("untouched", false), ("persisted", false), ("later", false), ("renewed", true)]
        {
            assert_eq!(is_there(&engine, LATER_MS + 8 * DAY_MS, name), stays, "{name}");
        }
        engine.close().unwrap();
    }

    #[test]
    fn nonsense_on_disk_is_no_timeline() {
        assert_eq!(Timeline::decode(b"", 9), Timeline::default());
        assert_eq!(Timeline::decode(&[1; 15], 9), Timeline::default());
        let timeline = Timeline { points: vec![(10, 1), (20, 5), (30, 12)] };
        assert_eq!(Timeline::decode(&timeline.encode(), 12), timeline);
        assert_eq!(
            Timeline::decode(&timeline.encode(), 9).points,
            [(10, 1), (20, 5)],
            "none lies in the future"
        );
    }

    proptest! {
        #[test]
        fn a_timeline_is_small_precise_and_never_early(
            steps in proptest::collection::vec(1_000..400_000u64, 1..3_000),
            ages in proptest::collection::vec(0..400_000_000u64, 1..20),
        ) {
            let (mut timeline, mut truth, mut now_ms) = (Timeline::default(), Vec::new(), 1_000_000_000);
            for (at, step) in steps.iter().enumerate() {
                now_ms += step;
                timeline.note(now_ms, at as Seq + 1);
                truth.push((now_ms, at as Seq + 1));
            }
            prop_assert!(timeline.points.len() < 20 * PRECISION as usize);
            for age in ages {
                let ms = now_ms - age.min(now_ms);
                let last_at = |ms: u64| truth.iter().rev().find(|(at, _)| *at <= ms).map_or(0, |(_, seq)| *seq);
                let known = timeline.last_at(ms);
                prop_assert!(known <= last_at(ms), "early");
                let margin = age / PRECISION * 2 + 800_000;
                prop_assert!(known >= last_at(ms.saturating_sub(margin)), "late: {known}");
            }
        }
    }
}
