//! Counting: what stores hold at a point in time, without changing anything.
//!
//! The counters of a store follow every write. A record that has expired stays in them until the sweeper has removed
//! it, although nobody can read it any more. Therefore a store holds what its counters say, minus the records that are
//! due. Those are found where the sweeper finds them: in the deadlines of the memtables and in LMDB's index. The cost is
//! a walk over the records that have expired and were not swept yet, which are few as long as the sweeper can write.
//!
//! The engine's lock is held for reading meanwhile, so that counters, memtables and LMDB show the same instant.

use std::collections::HashMap;

use crate::engine::core::handles::Reader;
use crate::engine::error::{Error, Fault};
use crate::engine::journal::Seq;
use crate::engine::lmdb::DeadlineRow;
use crate::engine::lmdb::residence::Wait;
use crate::engine::state::State;
use crate::store::usage::Weight;
use crate::store::{Generation, StoreId, Usage};

/// A record that is due: its generation, its key and, if it is in memory, its size.
type Visit<'v> = dyn FnMut(Generation, &[u8], Option<Weight>) -> Result<(), Fault> + 'v;

impl Reader<'_> {
    /// The number of records of a store, without those that have expired.
    pub fn count(&self, now_ms: u64, store: StoreId) -> Result<(u64, Seq), Error> {
        let state = self.state();
        let store = state.catalog.get(store).ok_or(Error::NoStore(store))?;
        let mut expired = 0;
        self.visit_expired(&state, now_ms, &mut |generation, _, _| {
            expired += u64::from(generation == store.generation);
            Ok(())
        })?;
        Ok((store.usage.records.saturating_sub(expired), self.engine.journal.last()))
    }

    /// What every store holds, without records that have expired.
    pub fn usages(&self, now_ms: u64) -> Result<HashMap<StoreId, Usage>, Error> {
        let state = self.state();
        let mut expired: HashMap<Generation, Usage> = HashMap::new();
        let snapshot = self.engine.tables.snapshot()?;
        self.visit_expired(&state, now_ms, &mut |generation, key, weight| {
            let weight = match weight {
                Some(weight) => Some(weight),
                None => self
                    .engine
                    .tables
                    .record(&snapshot, generation, key, Wait::ForDisk)?
                    .map(|record| record.weight(key)),
            };
            weight.into_iter().for_each(|weight| expired.entry(generation).or_default().add(weight));
            Ok(())
        })?;
        let usages = state.catalog.iter().map(|store| {
            let mut usage = store.usage;
            if let Some(expired) = expired.get(&store.generation) {
                usage.replace(expired, &Usage::default());
            }
            (store.id, usage)
        });
        Ok(usages.collect())
    }

    /// Calls `visit` with every record that is due and still counted. While the sweeper is switched off, there are
    /// none: expired records then count until they are removed.
    fn visit_expired(&self, state: &State, now_ms: u64, visit: &mut Visit<'_>) -> Result<(), Fault> {
        if !self.engine.is_sweeping() {
            return Ok(());
        }
        let frozen = state.frozen.as_ref().map(|frozen| &frozen.memtable);
        for (generation, layer) in state.active.layers() {
            for (_, key) in layer.due(now_ms) {
                let live = layer.get(key).and_then(|entry| entry.live.as_ref());
                live.map_or(Ok(()), |live| visit(generation, key, Some(live.weight(key))))?;
            }
        }
        for (generation, layer) in frozen.into_iter().flat_map(|memtable| memtable.layers()) {
            for (_, key) in layer.due(now_ms) {
                // a newer entry takes precedence
                if state.active.get(generation, key).is_none()
                    && let Some(live) = layer.get(key).and_then(|entry| entry.live.as_ref())
                {
                    visit(generation, key, Some(live.weight(key)))?;
                }
            }
        }
        let snapshot = self.engine.tables.snapshot()?;
        let swept = self.engine.sweep.lock().swept(state.epoch);
        for row in self.engine.tables.due(&snapshot, swept.as_deref(), now_ms)? {
            let DeadlineRow { generation, key, .. } = row?;
            if state.entry(generation, key).is_none() {
                visit(generation, key, None)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use crate::engine::scan::count::*;
    use crate::engine::{Engine, Expiry, Options};
    use crate::store::{Key, Value};

    /// A time that no clock has reached, so that the sweeper has nothing to do.
    const LATER_MS: u64 = 1 << 46;

    /// Records of which `at / 2` is the deadline, and some that never expire.
    fn fill(engine: &Engine, store: StoreId, from: u64, to: u64) {
        for at in from..to {
            let key = Key::new(store, format!("key:{at:04}").into());
            let expiry = if at % 5 == 0 { Expiry::Never } else { Expiry::At(LATER_MS + at / 2 + 1) };
            let put = |txn: &mut crate::engine::WriteTxn<'_>| txn.put(&key, Value::integer(1), expiry);
            engine.writer().write(0, std::slice::from_ref(&key), put).unwrap();
        }
    }

    /// A recount of what one can see.
    fn seen(engine: &Engine, now_ms: u64, store: StoreId) -> u64 {
        let mut seen = 0;
        let range = crate::engine::scan::Range {
            store,
            prefix: b"",
            from: std::ops::Bound::Unbounded,
            keys_max: usize::MAX,
            absent_free: 0,
        };
        let mut visit = |_: crate::engine::scan::Row<'_>| {
            seen += 1;
            Ok::<_, Error>(std::ops::ControlFlow::Continue(()))
        };
        engine.reader().scan(now_ms, range, &|_| true, &mut visit).unwrap();
        seen
    }

    #[test]
    fn what_has_expired_does_not_count_wherever_it_lies_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { checkpoint_interval: Duration::from_secs(3600), ..Options::new(dir.path()) };
        let engine = Engine::open(options).unwrap();
        for store in [0, 3] {
            fill(&engine, store, 0, 100);
        }
        engine.writer().checkpoint().unwrap();
        // some are renewed, some removed, some new; the sweeper has done a part of its work
        fill(&engine, 0, 160, 200);
        for at in (0..60).step_by(3) {
            let key = Key::new(0, format!("key:{at:04}").into());
            let put = |txn: &mut crate::engine::WriteTxn<'_>| match at % 2 {
                0 => txn.remove(&key).map(drop),
                _ => txn.put(&key, Value::integer(2), Expiry::At(LATER_MS + 90)),
            };
            engine.writer().write(0, std::slice::from_ref(&key), put).unwrap();
        }
        let last = engine.reader().last_seq();
        for now_ms in [0, 1, 2, 20, 49, 50, 90, 91, 99, 1000].map(|ms| LATER_MS + ms) {
            let usages = engine.reader().usages(now_ms).unwrap();
            for store in [0, 3] {
                let seen = seen(&engine, now_ms, store);
                assert_eq!(
                    engine.reader().count(now_ms, store).unwrap().0,
                    seen,
                    "store {store} at {now_ms}"
                );
                assert_eq!(usages[&store].records, seen, "store {store} at {now_ms}");
            }
            assert_eq!(engine.reader().last_seq(), last);
        }
        let usages = engine.reader().usages(LATER_MS + 1000).unwrap();
        assert_eq!((usages[&0].expiring, usages[&3].expiring), (0, 0));
        let kept = |store| (usages[&store].plain_bytes, usages[&store].stored_bytes);
        engine.writer().expire_due(LATER_MS + 1000, usize::MAX).unwrap();
        for store in [0, 3] {
            let usage = engine.reader().catalog().get(store).unwrap().usage;
            assert_eq!(kept(store), (usage.plain_bytes, usage.stored_bytes), "store {store}");
        }
        engine.close().unwrap();
    }
}
