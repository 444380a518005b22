//! Eviction in an engine: what goes, what stays, and what is told of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::engine::error::QuotaExceeded;
use crate::engine::events::change::What;
use crate::engine::events::{Classes, News, Tap};
use crate::engine::*;
use crate::record::compress::Compression;
use crate::store::eviction::{Order, Policy};
use crate::store::{Catalog, Definition, Key, Quota, ServerQuota, StoreId, Value, ValueKind};

const NOW_MS: u64 = 1_800_000_000_000;
const NEVER: Option<u64> = None;

fn open(dir: &std::path::Path) -> Arc<Engine> {
    let engine = Engine::open(Options {
        checkpoint_interval: Duration::from_secs(3600),
        default_kind: ValueKind::Any,
        journal_segment_bytes: 64 * 1024,
        compression: Compression::Off,
        ..Options::new(dir)
    });
    let engine = engine.unwrap();
    // it would remove what is due by the real clock
    engine.writer().set_sweeping(false);
    engine
}

fn key(store: StoreId, number: usize) -> Key {
    Key::new(store, Bytes::from(format!("key:{number:05}")))
}

/// Writes a record as the gate does: again for as long as room can be made.
fn put_bytes(
    engine: &Engine,
    key: &Key,
    bytes: usize,
    deadline: Option<u64>,
    now_ms: u64,
) -> Result<(), Error> {
    put_value(engine, key, Bytes::from(vec![b'v'; bytes]), deadline, now_ms)
}

fn put_value(
    engine: &Engine,
    key: &Key,
    value: Bytes,
    deadline: Option<u64>,
    now_ms: u64,
) -> Result<(), Error> {
    let (mut weighed, mut evicted) = (Weighed::default(), Evicted::default());
    loop {
        let keys = std::slice::from_ref(key);
        let done = engine.writer().write_weighed(now_ms, keys, &mut weighed, |txn| {
            txn.put(key, Value::unchecked(value.clone()), deadline.map_or(Expiry::Never, Expiry::At))
        });
        match done {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(Error::Quota(exceeded)) => {
                if !engine.writer().make_room(now_ms, &exceeded, &mut evicted)? {
                    return Err(Error::Quota(exceeded));
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn put(engine: &Engine, key: &Key, deadline: Option<u64>, now_ms: u64) -> Result<(), Error> {
    put_bytes(engine, key, 100, deadline, now_ms)
}

/// Reads records as GET does; says how many there are.
fn read(engine: &Engine, numbers: impl IntoIterator<Item = usize>, now_ms: u64) -> usize {
    let is_there = |number: &usize| {
        let key = key(0, *number);
        let read = engine.reader().read(now_ms, std::slice::from_ref(&key), |txn| {
            txn.touch();
            txn.get(&key)
        });
        read.unwrap().0.is_some()
    };
    numbers.into_iter().filter(is_there).count()
}

fn is_there(engine: &Engine, key: &Key) -> bool {
    let keys = std::slice::from_ref(key);
    engine.reader().read(NOW_MS, keys, |txn| txn.peek(key)).unwrap().0.is_some()
}

fn set_quota(engine: &Engine, quota: Quota) {
    let definition = Definition { quota, ..Definition::default() };
    engine.writer().write(NOW_MS, &[], |txn| txn.define(Some(0), definition)).unwrap();
}

fn keys_max(max: u64, order: Order) -> Quota {
    Quota { max_keys: Some(max), evict: Some(order), ..Quota::default() }
}

fn records(engine: &Engine) -> u64 {
    engine.reader().store(0).unwrap().usage.records
}

/// Waits until the thread that evicts has done so.
fn wait_until(is_done: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if is_done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it takes too long");
}

/// The counters are those of a recount, and evictions are counted. While the thread still evicts, they may differ.
fn assert_exact(engine: &Engine, written: u64) {
    let range = scan::Range {
        store: 0,
        prefix: b"",
        from: std::ops::Bound::Unbounded,
        keys_max: usize::MAX,
        absent_free: 0,
    };
    wait_until(|| {
        let (usage, (mut found, mut bytes)) = (engine.reader().store(0).unwrap().usage, (0, 0));
        let evicted = engine.reader().status().evicted_records;
        let scanned = engine.reader().scan(NOW_MS, range, &|_| true, &mut |row| {
            (found, bytes) = (found + 1, bytes + row.meta().unwrap().stored_bytes);
            Ok::<_, Error>(std::ops::ControlFlow::Continue(()))
        });
        scanned.unwrap();
        (found, bytes, evicted) == (usage.records, usage.stored_bytes, written - found)
    });
}

/// Every policy with every limit, of the store and of the server, in memory and in LMDB.
#[test]
fn a_full_store_takes_more_whatever_its_limit_and_its_policy() {
    const WRITTEN: usize = 300;
    let policies = Policy::NAMES.iter().filter_map(|(name, policy)| Some((*name, (*policy)?)));
    for (name, policy) in policies {
        for (max_keys, max_bytes) in [(Some(100), None), (None, Some(11_000)), (Some(100), Some(11_000))] {
            for of_server in [false, true] {
                let is_of_store = policy == Policy::of_store(policy.order);
                if !of_server && !is_of_store {
                    continue;
                }
                let dir = tempfile::tempdir().unwrap();
                let engine = open(dir.path());
                if of_server {
                    let quota =
                        ServerQuota { max_keys, max_bytes, evict: Some(policy), ..ServerQuota::default() };
                    engine.writer().set_quota(quota);
                } else {
                    set_quota(
                        &engine,
                        Quota { max_keys, max_bytes, evict: Some(policy.order), ..Quota::default() },
                    );
                }
                for number in 0..WRITTEN {
                    // some that never expire
                    let deadline = if number % 10 == 3 { NEVER } else { Some(NOW_MS * 2 + number as u64) };
                    put(&engine, &key(0, number), deadline, NOW_MS).unwrap();
                    assert!(records(&engine) <= 100, "{name} {max_keys:?} {max_bytes:?}");
                    if number == WRITTEN / 2 {
                        engine.writer().checkpoint().unwrap();
                    }
                }
                assert!(records(&engine) > 50, "{name} {max_keys:?} {max_bytes:?}");
                if policy.only_expiring {
                    let stay = (0..WRITTEN).filter(|number| number % 10 == 3);
                    assert_eq!(
                        stay.filter(|number| is_there(&engine, &key(0, *number))).count(),
                        WRITTEN / 10,
                        "{name}"
                    );
                }
                assert_exact(&engine, WRITTEN as u64);
                engine.close().unwrap();
            }
        }
    }
}

#[test]
fn the_order_decides_what_stays() {
    const HOT: usize = 10;
    for order in [Order::Lru, Order::Lfu, Order::Ttl] {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        set_quota(&engine, keys_max(100, order));
        for number in 0..400 {
            let now_ms = NOW_MS + number as u64;
            // the first ones expire last
            put(&engine, &key(0, number), Some(NOW_MS * 3 - number as u64), now_ms).unwrap();
            if order != Order::Ttl {
                read(&engine, 0..HOT.min(number + 1), now_ms);
            }
        }
        let stayed = (0..HOT).filter(|number| is_there(&engine, &key(0, *number))).count();
        assert!(stayed >= HOT - 1, "{order:?}: {stayed}");
        engine.close().unwrap();
    }
}

#[test]
fn after_a_restart_what_is_not_read_counts_as_old() {
    for crashes in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = open(dir.path());
        set_quota(&engine, keys_max(100, Order::Lru));
        (0..200).for_each(|number| put(&engine, &key(0, number), NEVER, NOW_MS).unwrap());
        let held: Vec<usize> = (0..200).filter(|number| is_there(&engine, &key(0, *number))).collect();
        if crashes {
            engine.abandon()
        } else {
            engine.close().unwrap()
        }
        drop(engine);
        engine = open(dir.path());
        assert_eq!(records(&engine), held.len() as u64, "an eviction is as durable as any removal");
        assert!(held.iter().all(|number| is_there(&engine, &key(0, *number))));
        let hot = &held[..10];
        for number in 1_000..1_050 {
            read(&engine, hot.iter().copied(), NOW_MS + number as u64);
            put(&engine, &key(0, number), NEVER, NOW_MS + number as u64).unwrap();
        }
        assert_eq!(read(&engine, hot.iter().copied(), NOW_MS), 10);
        engine.close().unwrap();
    }
}

#[test]
fn what_cannot_be_made_room_for_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let refused = |outcome: Result<(), Error>| match outcome {
        Err(Error::Quota(QuotaExceeded { eviction, .. })) => assert!(eviction.is_some()),
        other => panic!("{other:?}"),
    };
    set_quota(&engine, Quota { max_bytes: Some(5_000), evict: Some(Order::Lru), ..Quota::default() });
    (0..30).for_each(|number| put(&engine, &key(0, number), NEVER, NOW_MS).unwrap());
    let before = records(&engine);
    refused(put_bytes(&engine, &key(0, 99), 6_000, NEVER, NOW_MS));
    assert_eq!(records(&engine), before, "nothing is evicted for what is larger than the limit");
    put_bytes(&engine, &key(0, 99), 4_900, NEVER, NOW_MS).unwrap();
    assert_eq!(records(&engine), 1, "everything else is");
    // nothing expires
    set_quota(&engine, keys_max(1, Order::Ttl));
    refused(put(&engine, &key(0, 100), NEVER, NOW_MS));
    put(&engine, &key(0, 99), NEVER, NOW_MS).expect("it adds nothing");
    set_quota(&engine, Quota { max_keys: Some(1), ..Quota::default() });
    let Err(Error::Quota(exceeded)) = put(&engine, &key(0, 100), NEVER, NOW_MS) else { panic!("it is full") };
    assert_eq!(exceeded.eviction, None);
    engine.close().unwrap();
}

#[test]
fn a_lowered_limit_is_kept_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    (0..3_000).for_each(|number| put(&engine, &key(0, number), NEVER, NOW_MS).unwrap());
    engine.writer().checkpoint().unwrap();
    let two_rooms = [(Quota::default(), 1_000), (keys_max(500, Order::Random), 500)];
    let quota = ServerQuota { max_keys: Some(1_000), evict: Policy::NAMES[4].1, ..ServerQuota::default() };
    engine.writer().set_quota(quota);
    for (quota, max) in two_rooms {
        set_quota(&engine, quota);
        wait_until(|| records(&engine) <= max);
    }
    assert_exact(&engine, 3_000);
    set_quota(&engine, Quota { max_bytes: Some(10_000), evict: Some(Order::Lfu), ..Quota::default() });
    wait_until(|| engine.reader().store(0).unwrap().usage.stored_bytes <= 10_000);
    engine.close().unwrap();
}

/// What was evicted as a record under the hand is still among the recent keys, where it looks like the coldest of all.
#[test]
fn a_long_burst_always_finds_something_to_evict() {
    for order in [Order::Lru, Order::Lfu] {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        set_quota(&engine, keys_max(2_000, order));
        for number in 0..16_000 {
            let written = put(&engine, &key(0, number), NEVER, NOW_MS + number as u64);
            assert!(written.is_ok(), "{order:?}, {number}: {written:?}");
            if number % 3_000 == 0 {
                engine.writer().checkpoint().unwrap();
            }
        }
        assert_exact(&engine, 16_000);
        engine.close().unwrap();
    }
}

/// The records that are there compress well, so an estimate would say that the next ones do, too. If nothing may be
/// evicted, what is above the limit would stay there.
#[test]
fn a_limit_that_evicts_only_some_records_is_kept_by_records_that_do_not_compress() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        checkpoint_interval: Duration::from_secs(3600),
        default_kind: ValueKind::Any,
        ..Options::new(dir.path())
    };
    let engine = Engine::open(options).unwrap();
    let max_bytes = 64 * 1024;
    set_quota(&engine, Quota { max_bytes: Some(max_bytes), evict: Some(Order::Ttl), ..Quota::default() });
    for number in 0..200 {
        put_bytes(&engine, &key(0, number), 2_000, NEVER, NOW_MS).unwrap();
    }
    engine.writer().checkpoint().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let refused = (0..400).filter(|number| {
        let value: Vec<u8> = (0..500).map(|_| random.u8(..)).collect();
        put_value(&engine, &key(0, 1_000 + number), Bytes::from(value), NEVER, NOW_MS).is_err()
    });
    assert!(refused.count() > 200);
    engine.writer().checkpoint().unwrap();
    let stored_bytes = engine.reader().store(0).unwrap().usage.stored_bytes;
    assert!(stored_bytes <= max_bytes, "{stored_bytes}");
    engine.close().unwrap();
}

/// Only the thread evicts, so that a write finds room.
#[test]
fn a_large_store_is_kept_a_little_below_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    set_quota(&engine, keys_max(1_024, Order::Lru));
    (0..1_024).for_each(|number| put(&engine, &key(0, number), NEVER, NOW_MS).unwrap());
    put(&engine, &key(0, 0), NEVER, NOW_MS).unwrap();
    wait_until(|| records(&engine) <= 1_020);
    assert_exact(&engine, 1_024);
    engine.close().unwrap();
}

/// Writes down events and changes.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Tap for Notes {
    fn follows(&self, _: StoreId) -> bool {
        true
    }

    fn told(&self, _: Seq, _: &Catalog, news: &News) {
        let mut notes = self.0.lock();
        notes.extend(
            news.events.iter().map(|told| format!("{} {}", told.event.name, told.key.escape_ascii())),
        );
        notes.extend(news.changed.iter().map(|key| format!("changed {}", key.name.escape_ascii())));
        notes.extend(news.values.iter().filter_map(|change| match &change.what {
            What::Evict { key, old } => {
                Some(format!("evict {} {}", key.escape_ascii(), old.value(key).unwrap().len()))
            }
            _ => None,
        }));
    }
}

#[test]
fn an_eviction_is_told_and_seen_by_watchers() {
    for in_lmdb in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        set_quota(&engine, keys_max(1, Order::Lru));
        put(&engine, &key(0, 0), NEVER, NOW_MS).unwrap();
        if in_lmdb {
            engine.writer().checkpoint().unwrap();
        }
        let notes = Arc::new(Notes::default());
        engine.set_tap(notes.clone());
        engine.reader().listen(Classes::all(), Classes::EVICTED | Classes::CHANGED | Classes::VALUES);
        put(&engine, &key(0, 1), NEVER, NOW_MS).unwrap();
        let notes = std::mem::take(&mut *notes.0.lock());
        assert_eq!(
            notes,
            ["evicted key:00000", "changed key:00000", "evict key:00000 100", "changed key:00001"]
        );
        engine.close().unwrap();
    }
}

/// EXEC and scripts evict as a part of what they do.
#[test]
fn a_group_evicts_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    set_quota(&engine, keys_max(10, Order::Lru));
    (0..10).for_each(|number| put(&engine, &key(0, number), NEVER, NOW_MS).unwrap());
    let done = engine.writer().alone(|group| {
        let (key, mut evicted) = (key(0, 10), Evicted::default());
        let put = |txn: &mut WriteTxn<'_>| txn.put(&key, Value::unchecked("v"), Expiry::Never);
        let Err(Error::Quota(exceeded)) = group.write(NOW_MS, std::slice::from_ref(&key), put) else {
            panic!("it is full")
        };
        assert!(group.make_room(NOW_MS, &exceeded, &mut evicted).unwrap());
        group.write(NOW_MS, std::slice::from_ref(&key), put).unwrap();
        assert_eq!(group.store(0).unwrap().usage.records, 10);
    });
    done.unwrap();
    assert_eq!(records(&engine), 10);
    assert!(is_there(&engine, &key(0, 10)));
    engine.close().unwrap();
}
