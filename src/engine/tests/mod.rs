//! The engine against a model: random transactions, checkpoints, scans and restarts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(test)]
pub mod atomicity;
#[cfg(test)]
pub mod cold;
#[cfg(test)]
pub mod libraries;
#[cfg(test)]
pub mod limits;
#[cfg(test)]
pub mod powercut;

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::engine::error::NoRoom;
use crate::engine::scan::Range;
use crate::engine::*;
use crate::record::compress::Compression;
use crate::store::{Key, StoreId, Usage, Value, ValueKind};

/// Readers beyond those that LMDB has places for are told to come back, and are served then.
#[test]
fn too_many_readers_are_told_to_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let (old, new) = (key(0, "old"), key(0, "new"));
    put(&engine, 1, &old, "1", Expiry::Never);
    engine.writer().checkpoint().unwrap();
    let mut readers = Vec::new();
    let full = loop {
        match engine.tables.snapshot() {
            Ok(snapshot) => readers.push(snapshot),
            Err(fault) => break Fault::from(fault),
        }
        assert!(readers.len() <= 2 * crate::limits::LMDB_READERS_MAX);
    };
    let scanned = |engine: &Engine| {
        let range = Range { store: 0, prefix: b"", from: Bound::Unbounded, keys_max: 9, absent_free: 0 };
        engine
            .reader()
            .scan(1, range, &|_| true, &mut |_| Ok::<_, Error>(ControlFlow::Continue(())))
            .map(drop)
    };
    let told = scanned(&engine).unwrap_err();
    assert!(full.is_of_readers(), "{full}");
    assert!(matches!(&told, Error::Fault(fault) if fault.is_of_readers()), "{told}");
    readers.clear();
    scanned(&engine).unwrap();
    put(&engine, 1, &new, "1", Expiry::Never);
    assert_eq!(keys(&engine, 1, 0, ""), ["new", "old"]);
    engine.close().unwrap();
}

/// An engine that writes checkpoints only when told to, so that a test decides what lies where.
fn open(dir: &std::path::Path) -> Arc<Engine> {
    let engine = Engine::open(Options {
        checkpoint_interval: Duration::from_secs(3600),
        default_kind: ValueKind::Any,
        journal_segment_bytes: 64 * 1024,
        ..Options::new(dir)
    });
    let engine = engine.unwrap();
    engine.writer().set_sweeping(false);
    engine
}

fn key(store: StoreId, name: &str) -> Key {
    Key::new(store, Bytes::copy_from_slice(name.as_bytes()))
}

fn put(engine: &Engine, now_ms: u64, key: &Key, value: &str, expiry: Expiry) -> Seq {
    let value = Value::unchecked(Bytes::copy_from_slice(value.as_bytes()));
    engine.writer().write(now_ms, std::slice::from_ref(key), |txn| txn.put(key, value, expiry)).unwrap().1
}

fn get(engine: &Engine, now_ms: u64, key: &Key) -> Option<Record> {
    engine.reader().read(now_ms, std::slice::from_ref(key), |txn| txn.get(key)).unwrap().0
}

fn remove(engine: &Engine, now_ms: u64, key: &Key) -> bool {
    engine.writer().write(now_ms, std::slice::from_ref(key), |txn| txn.remove(key)).unwrap().0
}

fn keys(engine: &Engine, now_ms: u64, store: StoreId, prefix: &str) -> Vec<String> {
    let range = Range {
        store,
        prefix: prefix.as_bytes(),
        from: Bound::Unbounded,
        keys_max: usize::MAX,
        absent_free: 0,
    };
    let mut keys = Vec::new();
    let end = engine.reader().scan(now_ms, range, &|_| true, &mut |row| {
        keys.push(String::from_utf8(row.key().to_vec()).unwrap());
        assert!(row.record().unwrap().is_some());
        Ok::<_, Error>(ControlFlow::Continue(()))
    });
    assert_eq!(end.unwrap().more_after, None);
    keys
}

fn usage(engine: &Engine, store: StoreId) -> Usage {
    engine.reader().catalog().get(store).unwrap().usage
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8, u16, Option<u8>),
    Remove(u8, u8),
    Rename(u8, u8, u8),
    Fail(u8, u8),
    Flush(u8),
    Swap(u8, u8),
    Checkpoint,
    Expire,
    Tick(u8),
    Restart,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let store = || 0..3u8;
    let name = || 0..12u8;
    let step = prop_oneof![
        12 => (store(), name(), 0..2000u16, proptest::option::of(1..40u8)).prop_map(|(s, k, v, e)| Step::Put(s, k, v, e)),
        4 => (store(), name()).prop_map(|(s, k)| Step::Remove(s, k)),
        2 => (store(), name(), name()).prop_map(|(s, a, b)| Step::Rename(s, a, b)),
        1 => (store(), name()).prop_map(|(s, k)| Step::Fail(s, k)),
        1 => store().prop_map(Step::Flush),
        1 => (store(), store()).prop_map(|(a, b)| Step::Swap(a, b)),
        3 => Just(Step::Checkpoint),
        2 => Just(Step::Expire),
        2 => (1..20u8).prop_map(Step::Tick),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..80)
}

type Model = BTreeMap<(StoreId, String), (String, Option<u64>)>;

fn agree(engine: &Engine, model: &Model, now_ms: u64) {
    for store in 0..3 {
        let live = |(of, _): &&(StoreId, String), (_, deadline): &&(String, Option<u64>)| {
            *of == store && deadline.is_none_or(|deadline| deadline > now_ms)
        };
        let expected: Vec<_> =
            model.iter().filter(|(key, value)| live(key, value)).map(|((_, name), _)| name.clone()).collect();
        assert_eq!(keys(engine, now_ms, store, ""), expected);
        for name in 0..12 {
            let name = format!("key:{name}");
            let expected =
                model.get(&(store, name.clone())).filter(|(_, deadline)| deadline.is_none_or(|d| d > now_ms));
            let found = get(engine, now_ms, &key(store, &name));
            let found =
                found.map(|record| (String::from_utf8(record.value.to_vec()).unwrap(), record.expires_at_ms));
            assert_eq!(found.as_ref(), expected, "store {store}, {name}");
        }
        // the counters know everything that has not been swept yet
        let swept = model.iter().filter(|((of, _), _)| *of == store);
        let (records, plain): (Vec<_>, Vec<_>) = swept
            .map(|((_, name), (value, deadline))| (deadline.is_some(), name.len() + value.len()))
            .unzip();
        let usage = usage(engine, store);
        assert_eq!(usage.records, records.len() as u64);
        assert_eq!(usage.expiring, records.iter().filter(|expires| **expires).count() as u64);
        assert_eq!(usage.plain_bytes, plain.iter().sum::<usize>() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_is_a_map_of_maps(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = open(dir.path());
        let mut model = Model::new();
        let mut now_ms = 1_000_000;
        for step in steps {
            match step {
                Step::Put(store, name, size, ttl) => {
                    let name = format!("key:{name}");
                    let value = format!("\"{}{size}\"", "abcdefgh ".repeat(size as usize / 10));
                    let deadline = ttl.map(|ttl| now_ms + u64::from(ttl));
                    put(&engine, now_ms, &key(store.into(), &name), &value, deadline.into());
                    model.insert((store.into(), name), (value, deadline));
                }
                Step::Remove(store, name) => {
                    let name = format!("key:{name}");
                    let gone = model.remove(&(store.into(), name.clone()));
                    let was_there = gone.is_some_and(|(_, deadline)| deadline.is_none_or(|d| d > now_ms));
                    assert_eq!(remove(&engine, now_ms, &key(store.into(), &name)), was_there);
                }
                Step::Rename(store, from, to) if from != to => {
                    let store = StoreId::from(store);
                    let (from, to) = (format!("key:{from}"), format!("key:{to}"));
                    let (a, b) = (key(store, &from), key(store, &to));
                    let renamed = engine.writer().write(now_ms, &[a.clone(), b.clone()], |txn| {
                        let Some(record) = txn.get(&a)? else { return Ok::<_, Error>(false) };
                        txn.remove(&a)?;
                        txn.put(&b, Value::unchecked(record.value), record.expires_at_ms.into())?;
                        assert!(txn.get(&a)?.is_none() && txn.get(&b)?.is_some(), "a transaction sees what it did");
                        Ok(true)
                    });
                    let at = (store, from);
                    let live = model.get(&at).is_some_and(|(_, deadline)| deadline.is_none_or(|d| d > now_ms));
                    assert_eq!(renamed.unwrap().0, live);
                    if live {
                        let record = model.remove(&at).unwrap();
                        model.insert((store, to), record);
                    }
                }
                Step::Rename(..) => {}
                Step::Fail(store, name) => {
                    let key = key(store.into(), &format!("key:{name}"));
                    let failed = engine.writer().write(now_ms, std::slice::from_ref(&key), |txn| {
                        txn.put(&key, Value::unchecked(Bytes::from_static(b"never")), Expiry::Never)?;
                        Err::<(), _>(Error::Undeclared)
                    });
                    assert!(matches!(failed, Err(Error::Undeclared)));
                }
                Step::Flush(store) => {
                    engine.writer().write(now_ms, &[], |txn| txn.flush(store.into())).unwrap();
                    model.retain(|(of, _), _| *of != StoreId::from(store));
                }
                Step::Swap(a, b) => {
                    let (a, b) = (StoreId::from(a), StoreId::from(b));
                    engine.writer().write(now_ms, &[], |txn| txn.swap(a, b, Default::default())).unwrap();
                    let swapped = |store| if store == a { b } else if store == b { a } else { store };
                    model = model.into_iter().map(|((store, name), value)| ((swapped(store), name), value)).collect();
                }
                Step::Checkpoint => engine.writer().checkpoint().unwrap(),
                Step::Expire => {
                    engine.writer().expire_due(now_ms, usize::MAX).unwrap();
                    model.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now_ms));
                }
                Step::Tick(ms) => now_ms += u64::from(ms),
                Step::Restart => {
                    engine.close().unwrap();
                    drop(engine);
                    let report = recovery::check::check(dir.path()).unwrap();
                    assert_eq!(report.problems, [""; 0]);
                    engine = open(dir.path());
                }
                Step::Crash => {
                    engine.abandon();
                    drop(engine);
                    engine = open(dir.path());
                }
            }
            agree(&engine, &model, now_ms);
        }
        let before: Vec<_> = (0..3).map(|store| usage(&engine, store)).collect();
        engine.close().unwrap();
        drop(engine);
        let report = recovery::check::check(dir.path()).unwrap();
        assert_eq!(report.problems, [""; 0]);
        let engine = open(dir.path());
        agree(&engine, &model, now_ms);
        for (store, before) in before.into_iter().enumerate() {
            let after = usage(&engine, store as StoreId);
            assert!(after.stored_bytes <= before.stored_bytes, "{before:?} {after:?}");
        }
        engine.close().unwrap();
    }
}

#[test]
fn stored_bytes_are_those_on_disk_after_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let text = format!("[{}1]", "\"the same again\",".repeat(200));
    for at in 0..50 {
        put(&engine, 1, &key(0, &format!("k{at}")), &text, Expiry::Never);
    }
    assert!(usage(&engine, 0).stored_bytes > usage(&engine, 0).plain_bytes, "not compressed yet");
    engine.writer().checkpoint().unwrap();
    let usage_now = usage(&engine, 0);
    assert!(usage_now.ratio() > 5.0, "{usage_now:?}");
    assert_eq!(get(&engine, 1, &key(0, "k7")).unwrap().value, text);
    // overwritten while nothing is frozen: what LMDB holds is subtracted
    put(&engine, 1, &key(0, "k7"), "1", Expiry::Never);
    engine.writer().checkpoint().unwrap();
    let usage_then = usage(&engine, 0);
    assert!(usage_then.stored_bytes < usage_now.stored_bytes);
    engine.close().unwrap();
    drop(engine);
    let report = recovery::check::check(dir.path()).unwrap();
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(report.stores.iter().find(|store| store.label == "0").unwrap().counted, usage_then);
}

#[test]
fn a_flushed_store_gives_its_space_back_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    for at in 0..100 {
        put(&engine, 1, &key(3, &format!("k{at}")), "{}", Expiry::At(5_000));
    }
    engine.writer().checkpoint().unwrap();
    engine.writer().write(1, &[], |txn| txn.flush(3)).unwrap();
    assert_eq!(usage(&engine, 3), Usage::default());
    assert!(keys(&engine, 1, 3, "").is_empty());
    put(&engine, 1, &key(3, "k1"), "2", Expiry::Never);
    engine.writer().request_checkpoint();
    let reclaimed = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        engine.reader().status().checkpoint.done >= 2 && !engine.is_reclaiming().unwrap()
    });
    assert!(reclaimed);
    engine.close().unwrap();
    drop(engine);
    let report = recovery::check::check(dir.path()).unwrap();
    assert_eq!((report.garbage_records, report.problems), (0, vec![]));
}

#[test]
fn a_scan_stops_where_it_is_told_and_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let expected: Vec<_> = (0..300).map(|at| format!("user:{at:03}")).collect();
    for (at, name) in expected.iter().enumerate() {
        put(&engine, 1, &key(0, name), "1", Expiry::Never);
        if at % 100 == 50 {
            engine.writer().checkpoint().unwrap();
        }
    }
    put(&engine, 1, &key(0, "usez"), "1", Expiry::Never);
    let (mut found, mut from) = (Vec::new(), Bound::Unbounded);
    let mut position;
    loop {
        let range = Range { store: 0, prefix: b"user:", from, keys_max: 7, absent_free: 0 };
        let end = engine.reader().scan(1, range, &|_| true, &mut |row| {
            found.push(String::from_utf8(row.key().to_vec()).unwrap());
            Ok::<_, Error>(ControlFlow::Continue(()))
        });
        match end.unwrap().more_after {
            Some(key) => position = key,
            None => break,
        }
        from = Bound::Excluded(&position[..]);
    }
    assert_eq!(found, expected);
    assert!(engine.reader().random_key(1, 0, &mut || 77).unwrap().0.is_some());
    assert!(engine.reader().random_key(1, 5, &mut || 77).unwrap().0.is_none());
    engine.close().unwrap();
}

#[test]
fn writers_and_a_checkpointing_engine_agree_on_every_count() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..400 {
                    let counter = key(0, &format!("counter:{}", round % 7));
                    engine
                        .writer()
                        .write(1, std::slice::from_ref(&counter), |txn| {
                            let text = txn.get(&counter)?.map(|record| record.value);
                            let number =
                                text.map_or(0, |text| std::str::from_utf8(&text).unwrap().parse().unwrap());
                            txn.put(&counter, Value::integer(number + 1), Expiry::Keep)
                        })
                        .unwrap();
                    put(engine, 1, &key(1, &format!("{writer}:{round}")), &"x".repeat(round), Expiry::Never);
                }
            });
        }
        for _ in 0..20 {
            engine.writer().checkpoint().unwrap();
        }
    });
    let total: u64 = (0..7)
        .map(|at| get(&engine, 1, &key(0, &format!("counter:{at}"))).unwrap())
        .map(|record| std::str::from_utf8(&record.value).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(total, 3 * 400);
    assert_eq!(usage(&engine, 1).records, 3 * 400);
    engine.writer().checkpoint().unwrap();
    let (zero, one) = (usage(&engine, 0), usage(&engine, 1));
    engine.close().unwrap();
    drop(engine);
    let report = recovery::check::check(dir.path()).unwrap();
    assert_eq!(report.problems, [""; 0]);
    let counted = |label: &str| report.stores.iter().find(|store| store.label == label).unwrap().counted;
    assert_eq!((counted("0"), counted("1")), (zero, one));
}

#[test]
fn a_reader_never_sees_a_value_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = [0u64; 3];
                while !done.load(Ordering::Relaxed) {
                    for (at, seen) in seen.iter_mut().enumerate() {
                        let Some(record) = get(&engine, 1, &key(0, &format!("k{at}"))) else { continue };
                        let number = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
                        assert!(number >= *seen, "{number} after {seen}");
                        *seen = number;
                    }
                }
            });
        }
        scope.spawn(|| {
            for number in 1..=1_500u64 {
                put(&engine, 1, &key(0, &format!("k{}", number % 3)), &number.to_string(), Expiry::Never);
                // the keys are in LMDB and the cache now and then, not always in the memtable
                if number % 5 == 0 {
                    engine.writer().checkpoint().unwrap();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    });
    engine.close().unwrap();
}

#[test]
fn what_a_slow_reader_found_does_not_become_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let key = key(0, "k");
    put(&engine, 1, &key, "1", Expiry::Never);
    engine.close().unwrap();
    drop(engine);
    let engine = open(dir.path());
    let (found, _) = engine
        .reader()
        .read(1, std::slice::from_ref(&key), |txn| {
            // between the look at LMDB and the reading of the value, the record changes and a checkpoint ends
            put(&engine, 1, &key, "2", Expiry::Never);
            engine.writer().checkpoint().unwrap();
            txn.get(&key)
        })
        .unwrap();
    assert_eq!(found.unwrap().value, "1", "the transaction sees one instant");
    assert_eq!(get(&engine, 1, &key).unwrap().value, "2");
    engine.writer().write(1, std::slice::from_ref(&key), |txn| txn.remove(&key)).unwrap();
    engine.writer().checkpoint().unwrap();
    assert_eq!(get(&engine, 1, &key), None);
    engine.close().unwrap();
}

#[test]
fn changing_one_record_often_keeps_the_journal_short() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(Options {
        checkpoint_interval: Duration::from_secs(3600),
        default_kind: ValueKind::Any,
        journal_segment_bytes: 64 * 1024,
        memtable_bytes_max: 512 * 1024,
        ..Options::new(dir.path())
    });
    let engine = engine.unwrap();
    for _ in 0..64 {
        let seq = put(&engine, 1, &key(0, "hot"), &"v".repeat(32 * 1024), Expiry::Never);
        engine.journal.wait_durable(seq).unwrap();
    }
    let began = clock::monotonic();
    while engine.reader().status().checkpoint.done == 0 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "no checkpoint though 2 MB were written to the journal"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    engine.close().unwrap();
}

/// The interval of this engine's checkpoints is an hour, so what mends the journal is the checkpoint that it asked for.
#[test]
fn a_failed_journal_asks_for_the_checkpoint_that_mends_it() {
    use crate::engine::journal::disk::sim::{Operation, SimDisk};
    const PATIENCE: Duration = Duration::from_secs(20);
    for operation in [Operation::Sync, Operation::Write] {
        for fsync in [Fsync::Always, Fsync::EverySec, Fsync::No] {
            let (dir, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
            let engine = Engine::open(Options {
                checkpoint_interval: Duration::from_secs(3600),
                fsync,
                disk: Arc::new(disk.clone()),
                ..Options::new(dir.path())
            });
            let engine = engine.unwrap();
            let k = key(0, "k");
            engine.acknowledge(put(&engine, 1, &k, "1", Expiry::Never)).unwrap();
            disk.fail_after(operation, 0);
            let began = clock::monotonic();
            let write = |value: i64| {
                let put = |txn: &mut WriteTxn<'_>| txn.put(&k, Value::integer(value), Expiry::Never);
                let (_, seq) = engine.writer().write(1, std::slice::from_ref(&k), put)?;
                engine.acknowledge(seq)?;
                engine.journal.wait_durable(seq).map_err(|fault| Error::from(Fault::from(fault)))
            };
            // again if the stock thread met the fault, which fails nothing
            let meets_fault = || {
                disk.fail_after(operation, 0);
                write(2).is_err()
            };
            assert!(
                std::iter::repeat_with(meets_fault).take(100).any(|met| met),
                "{operation:?} at {fsync:?}"
            );
            while let Err(error) = write(3) {
                assert!(began.elapsed() < PATIENCE, "{operation:?} at {fsync:?}: {error}");
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(get(&engine, 1, &k).unwrap().value, "3");
            engine.close().unwrap();
        }
    }
}

/// Room for an entry of so many bytes, after the checkpoints that it takes.
fn room(engine: &Engine, bytes: usize, claim: Claim) -> Result<(), Error> {
    loop {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match engine.poll_room(bytes, claim, &mut cx) {
            Poll::Ready(outcome) => return outcome,
            // a second look, which finds what has changed meanwhile
            Poll::Pending => drop(engine.writer().checkpoint()),
        }
    }
}

#[test]
fn a_journal_at_its_bound_says_so_and_takes_removals() {
    const MEMTABLE_BYTES: usize = 64 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(Options {
        checkpoint_interval: Duration::from_secs(3600),
        default_kind: ValueKind::Any,
        journal_segment_bytes: 256 * 1024,
        memtable_bytes_max: MEMTABLE_BYTES,
        ..Options::new(dir.path())
    });
    let engine = engine.unwrap();
    let (hot, value) = (key(0, "hot"), "v".repeat(1_000));
    let held = engine.checkpoint.hold();
    engine.room.checkpoint_ended(Some("on purpose".into())); // as it is after a checkpoint that failed
    let most = MEMTABLE_BYTES * crate::limits::JOURNAL_BYTES_PER_MEMTABLE as usize / value.len();
    let refusal = (0..2 * most).find_map(|_| {
        let refusal = room(&engine, value.len(), Claim::Ordinary).err();
        if refusal.is_none() {
            engine.acknowledge(put(&engine, 1, &hot, &value, Expiry::Never)).unwrap();
        }
        refusal
    });
    let refusal = refusal.expect("the journal has a bound").to_string();
    for said in ["the journal has grown by 1048576 bytes", "16 times memtable-memory"] {
        assert!(refusal.contains(said), "{refusal}");
    }
    assert!(
        engine.memtable_bytes.load(Ordering::Relaxed) < MEMTABLE_BYTES / 2,
        "it is not the memtable that is full"
    );
    room(&engine, 10, Claim::Removal).unwrap();
    assert!(remove(&engine, 1, &hot));
    drop(held);
    engine.writer().checkpoint().unwrap();
    room(&engine, value.len(), Claim::Ordinary).unwrap();
    engine.close().unwrap();
}

#[test]
fn what_lmdb_has_no_space_for_is_refused_before_it_is_taken() {
    for record_bytes in [2_000, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options {
            checkpoint_interval: Duration::from_secs(3600),
            default_kind: ValueKind::Any,
            compression: Compression::Off,
            map_bytes: Some(4 * 1024 * 1024),
            ..Options::new(dir.path())
        });
        let engine = engine.unwrap();
        let value = "v".repeat(record_bytes);
        // scattered, as keys mostly are
        let name = |at: usize| key(0, &format!("{:08x}", (at as u32).wrapping_mul(0x9e37_79b1)));
        let refused_at = (0..100_000).find(|at| {
            let refusal = room(&engine, record_bytes + 100, Claim::Ordinary).err();
            match refusal {
                None => drop(put(&engine, 1, &name(*at), &value, Expiry::Never)),
                Some(ref refusal) => {
                    let status = engine.reader().status();
                    let what = format!("{record_bytes} B, record {at}: {refusal}; {status:?}");
                    assert!(
                        matches!(refusal, Error::NoRoom(NoRoom::File(why)) if why.contains("larger --map-size")),
                        "{what}"
                    );
                }
            }
            assert_eq!(engine.reader().status().checkpoint.failure, None, "{record_bytes} B, record {at}");
            refusal.is_some()
        });
        let records = refused_at.expect("a map has an end");
        assert!(records * record_bytes > 1024 * 1024, "{record_bytes} B: only {records}");
        engine.writer().checkpoint().unwrap();
        assert!(engine.reader().status().shortage.is_some());
        for at in 0..records {
            room(&engine, 10, Claim::Removal).unwrap();
            assert!(remove(&engine, 1, &name(at)), "{record_bytes} B, record {at}");
        }
        engine.writer().checkpoint().unwrap();
        room(&engine, record_bytes + 100, Claim::Ordinary).unwrap();
        assert_eq!(engine.reader().status().shortage, None, "{record_bytes} B");
        engine.close().unwrap();
    }
}
