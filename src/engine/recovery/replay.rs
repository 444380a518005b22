//! Replay: at a start, the entries of the journal that LMDB lacks are applied on top of it.
//!
//! Two threads share the work: one reads and verifies the journal, the other applies the entries. Counters are not
//! updated entry by entry, because that would take a look-up in LMDB for each. They are computed at the end, when it is
//! known which keys have changed: in the order of the keys, by as many threads as there are processors.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::engine::effect::Effect;
use crate::engine::error::Fault;
use crate::engine::journal;
use crate::engine::journal::Seq;
use crate::engine::lmdb::Tables;
use crate::engine::lmdb::residence::Wait;
use crate::engine::memtable::table::{Entry, Layer, Name};
use crate::engine::recovery::open::OpenError;
use crate::engine::state::{Leftovers, State};
use crate::store::{Generation, Usage};

/// The most effects, and bytes of their entries, that are passed from thread to thread together.
const EFFECTS_PER_BATCH: usize = if cfg!(test) { 8 } else { 1_024 };
const BYTES_PER_BATCH: usize = 1024 * 1024;
/// The number of batches that are read ahead.
const BATCHES_AHEAD: usize = 8;
/// For fewer keys than this no thread is started.
const KEYS_PER_THREAD_MIN: usize = if cfg!(test) { 8 } else { 8_192 };

type Batch = Vec<(Seq, Effect)>;

/// Applies what `read` replays, and then counts what the stores hold. After an error the state is unusable.
pub fn replay<T>(
    tables: &Tables,
    state: &mut State,
    read: impl FnOnce(&mut journal::Replay<'_, OpenError>) -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let outcome = thread::scope(|scope| {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let changed = &mut *state;
        let applying = thread::Builder::new()
            .name("replay".into())
            .spawn_scoped(scope, move || apply(changed, batches))
            .map_err(OpenError::Thread)?;
        let (mut batch, mut bytes) = (Batch::new(), 0);
        let outcome = read(&mut |seq, entry| {
            let effects = Effect::decode_all(entry).map_err(|why| OpenError::Replay { seq, why })?;
            batch.extend(effects.into_iter().map(|effect| (seq, effect)));
            bytes += entry.len();
            if batch.len() >= EFFECTS_PER_BATCH || bytes >= BYTES_PER_BATCH {
                bytes = 0;
                // the receiver is gone only if the other thread has panicked, which is noticed below
                let _ = sender.send(std::mem::take(&mut batch));
            }
            Ok(())
        });
        let _ = sender.send(batch);
        drop(sender);
        match applying.join() {
            Ok(()) => outcome,
            Err(_) => Err(Fault::Damaged("applying the journal's entries panicked".to_owned()).into()),
        }
    })?;
    count(tables, state)?;
    Ok(outcome)
}

fn apply(state: &mut State, batches: Receiver<Batch>) {
    for (seq, effect) in batches.into_iter().flatten() {
        state.apply(seq, effect, None, &mut Leftovers::default());
    }
}

/// Counts what the stores hold: LMDB's counts, minus the records there that have changed since, plus what they are now.
/// LMDB's count is right for every generation, including those that belong to no store yet: a checkpoint that was
/// interrupted may have written some of their records.
fn count(tables: &Tables, state: &mut State) -> Result<(), Fault> {
    let (snapshot, mut usages) = (tables.snapshot()?, Vec::new());
    for generation in state.catalog.iter().map(|store| store.generation) {
        let mut usage = tables.usage(&snapshot, generation)?;
        if let Some(layer) = state.active.layer(generation) {
            let (before, after) = weigh(tables, generation, layer)?;
            usage.replace(&before, &after);
        }
        usages.push((generation, usage));
    }
    for (generation, usage) in usages {
        state.catalog.change_usage(generation, |counted| *counted = usage);
    }
    Ok(())
}

/// What the keys of a layer hold in LMDB, and what in the layer.
fn weigh(tables: &Tables, generation: Generation, layer: &Layer) -> Result<(Usage, Usage), Fault> {
    let mut entries: Vec<(&Name, &Entry)> = layer.iter().collect();
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    let share = entries.len().div_ceil(threads).max(KEYS_PER_THREAD_MIN);
    let counts = thread::scope(|scope| {
        let mut shares = entries.chunks_mut(share);
        let first = shares.next();
        let others: Vec<_> =
            shares.map(|share| scope.spawn(move || weigh_share(tables, generation, share))).collect();
        let mut counts =
            vec![first.map_or(Ok(Default::default()), |share| weigh_share(tables, generation, share))];
        let panicked = || Err(Fault::Damaged("counting the changed records panicked".to_owned()));
        counts.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|_| panicked())));
        counts
    });
    let (mut before, mut after) = (Usage::default(), Usage::default());
    for counted in counts {
        let (share_before, share_after) = counted?;
        before.merge(&share_before);
        after.merge(&share_after);
    }
    Ok((before, after))
}

fn weigh_share(
    tables: &Tables,
    generation: Generation,
    share: &mut [(&Name, &Entry)],
) -> Result<(Usage, Usage), Fault> {
    let snapshot = tables.snapshot()?;
    // in the order of LMDB's keys, so that their pages are in the processor's cache
    share.sort_unstable_by_key(|(key, _)| *key);
    let (mut before, mut after) = (Usage::default(), Usage::default());
    for (key, entry) in share.iter() {
        if let Some(record) = tables.record(&snapshot, generation, key, Wait::ForDisk)? {
            before.add(record.weight(key));
        }
        if let Some(live) = &entry.live {
            after.add(live.weight(key));
        }
    }
    Ok((before, after))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::engine::recovery::replay::*;
    use crate::engine::{Engine, Expiry, Options};
    use crate::store::{Definition, Key, StoreId, Value};

    fn open(dir: &Path) -> Arc<Engine> {
        let checkpoint_interval = Duration::from_secs(3600);
        Engine::open(Options { checkpoint_interval, ..Options::new(dir) }).unwrap()
    }

    fn put(engine: &Engine, store: StoreId, at: usize, value_bytes: usize, expiry: Expiry) {
        let key = Key::new(store, format!("key:{at}").into());
        let value = Value::unchecked(format!("\"{}\"", "a".repeat(value_bytes)));
        engine.writer().write(0, std::slice::from_ref(&key), |txn| txn.put(&key, value, expiry)).unwrap();
    }

    fn remove(engine: &Engine, store: StoreId, at: usize) {
        let key = Key::new(store, format!("key:{at}").into());
        engine.writer().write(0, std::slice::from_ref(&key), |txn| txn.remove(&key)).unwrap();
    }

    fn usages(engine: &Engine) -> Vec<(StoreId, Usage)> {
        engine.reader().catalog().iter().map(|store| (store.id, store.usage)).collect()
    }

    #[test]
    fn what_stores_hold_is_counted_right_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        for store in [0, 1, 2] {
            (0..100).for_each(|at| put(&engine, store, at, 200 + at, Expiry::Never));
        }
        engine.writer().checkpoint().unwrap();
        // known to LMDB or not, several times or once, with and without expiry, which is so late that no sweeper comes
        for round in 0..3 {
            (50..150).for_each(|at| put(&engine, 0, at, 10 * round, Expiry::At(1 << 45)));
        }
        (140..200).for_each(|at| put(&engine, 0, at, 5, Expiry::Never));
        (0..300).step_by(3).for_each(|at| remove(&engine, 0, at));
        engine.writer().write(0, &[], |txn| txn.flush(1)).unwrap();
        (0..30).for_each(|at| put(&engine, 1, at, 40, Expiry::Never));
        engine.writer().write(0, &[], |txn| txn.swap(0, 2, Default::default())).unwrap();
        (95..105).for_each(|at| put(&engine, 2, at, 1, Expiry::Never));
        let definition = Definition { name: Some("orders".into()), ..Definition::default() };
        let orders = engine.writer().write(0, &[], |txn| txn.define(None, definition)).unwrap().0;
        (0..20).for_each(|at| put(&engine, orders, at, 7, Expiry::Never));

        let before = usages(&engine);
        engine.abandon();
        drop(engine);
        let engine = open(dir.path());
        assert_eq!(usages(&engine), before);
        engine.writer().checkpoint().unwrap();
        let counted_anew = usages(&engine);
        engine.close().unwrap();
        drop(engine);
        // LMDB counts for itself
        let engine = open(dir.path());
        assert_eq!(usages(&engine), counted_anew);
        engine.close().unwrap();
    }
}
