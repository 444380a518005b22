//! Memory and journal always agree: what the journal refuses has not happened, and a panic in between ends the process.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;

use crate::engine::core::handles;
use crate::engine::error::NoRoom;
use crate::engine::events::{Classes, News, Tap};
use crate::engine::journal::disk::sim::{Operation, SimDisk};
use crate::engine::*;
use crate::store::{Catalog, Definition, Key, Quota, StoreId, Value, ValueKind};

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Called where the journal has an entry and memory has not all of its effects, or the other way round.
pub fn half_way() {
    assert!(!PANICS.replace(false), "on purpose");
}

const ENTRY_BYTES_MAX: usize = 20_000;
const NOW_MS: u64 = 1 << 40;

fn open_on(dir: &Path, disk: &SimDisk) -> Arc<Engine> {
    let engine = Engine::open(Options {
        checkpoint_interval: Duration::from_secs(3600),
        default_kind: ValueKind::Any,
        journal_segment_bytes: 64 * 1024,
        journal_entry_bytes_max: ENTRY_BYTES_MAX,
        disk: Arc::new(disk.clone()),
        ..Options::new(dir)
    });
    let engine = engine.unwrap();
    engine.writer().set_sweeping(false);
    engine
}

fn key(store: StoreId, name: u8) -> Key {
    Key::new(store, format!("key:{name}").into())
}

fn noise(bytes: usize) -> Value {
    let mut random = journal::disk::sim::SplitMix(bytes as u64);
    Value::unchecked(Bytes::from_iter(std::iter::repeat_with(|| random.next() as u8).take(bytes)))
}

/// All that the engine says of its data, in one form for all states that are the same. What has been weighed counts by what
/// it takes, which need not be taken back; so stored bytes are only compared with the records there are.
fn told(engine: &Engine) -> Vec<String> {
    let usages: Vec<(StoreId, crate::store::Usage)> =
        engine.reader().catalog().iter().map(|store| (store.id, store.usage)).collect();
    for (store, usage) in usages {
        let range = scan::Range {
            store,
            prefix: b"",
            from: std::ops::Bound::Unbounded,
            keys_max: usize::MAX,
            absent_free: 0,
        };
        let mut stored_bytes = Vec::new();
        let visit = &mut |row: scan::Row<'_>| {
            stored_bytes.extend(row.meta().map(|meta| meta.stored_bytes));
            Ok::<_, Error>(std::ops::ControlFlow::Continue(()))
        };
        // nothing has expired yet
        engine.reader().scan(0, range, &|_| true, visit).unwrap();
        assert_eq!(usage.records, stored_bytes.len() as u64, "records of store {store}");
        assert_eq!(usage.stored_bytes, stored_bytes.iter().sum::<u64>(), "stored bytes of store {store}");
    }
    let state = engine.state.lock().read();
    assert!(state.group.is_none());
    let mut told = vec![
        format!(
            "last {} generation {} retired {:?}",
            engine.journal.last(),
            state.last_generation,
            state.retired
        ),
        format!("bounded {} next {} of {:?}", state.is_bounded, state.catalog.next_id(), {
            let total = state.catalog.total();
            (total.records, total.named)
        }),
        format!(
            "memtable {} noted {}",
            state.memtable_bytes(),
            engine.memtable_bytes.load(Ordering::Relaxed)
        ),
    ];
    for store in state.catalog.iter() {
        let named = store.name.as_deref().and_then(|name| state.catalog.named(name)).map(|store| store.id);
        let holding = state.catalog.holding(store.generation).map(|store| store.id);
        let mut store = store.clone();
        store.usage.stored_bytes = 0;
        told.push(format!("{store:?} named {named:?} holding {holding:?}"));
    }
    told.extend(state.active.told());
    told.extend(state.frozen.iter().flat_map(|frozen| frozen.memtable.told()));
    told
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Tap for Heard {
    fn follows(&self, _: StoreId) -> bool {
        true
    }

    fn told(&self, seq: Seq, _: &Catalog, news: &News) {
        self.0.lock().push(format!("{seq} {news:?}"));
    }
}

/// One command of a group.
#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8, u16, Option<u16>),
    Remove(u8, u8),
    Flush(u8),
    Swap(u8, u8),
    Create,
    Bound(u8, Option<u8>),
    Drop,
    Expire,
    Scan(u8),
}

impl Act {
    fn run(&self, engine: handles::Writer<'_>) -> Result<(), Error> {
        let named =
            || engine.catalog().iter().filter(|store| store.name.is_some()).map(|store| store.id).last();
        let outcome = match *self {
            Act::Put(store, name, bytes, ttl_ms) => {
                let key = key(store.into(), name);
                let expiry = ttl_ms.map_or(Expiry::Never, |ttl_ms| Expiry::At(NOW_MS + u64::from(ttl_ms)));
                let mut weighed = Weighed::default();
                loop {
                    let value = noise(bytes.into());
                    let put = engine.write_weighed(NOW_MS, std::slice::from_ref(&key), &mut weighed, |txn| {
                        txn.put(&key, value, expiry)
                    });
                    match put {
                        Ok(None) => {}
                        Ok(Some(_)) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                }
            }
            Act::Remove(store, name) => {
                let key = key(store.into(), name);
                engine.write(NOW_MS, std::slice::from_ref(&key), |txn| txn.remove(&key)).map(|_| ())
            }
            Act::Flush(store) => engine.write(NOW_MS, &[], |txn| txn.flush(store.into())).map(|_| ()),
            Act::Swap(a, b) => {
                let swap = |txn: &mut WriteTxn<'_>| txn.swap(a.into(), b.into(), HashSet::new());
                engine.write(NOW_MS, &[], swap).map(|_| ())
            }
            Act::Create => {
                let name = format!("store {}", engine.catalog().next_id());
                let definition = Definition { name: Some(name), ..Definition::default() };
                engine.write(NOW_MS, &[], |txn| txn.define(None, definition)).map(|_| ())
            }
            Act::Bound(store, kilobytes) => {
                let max_bytes = kilobytes.map(|kilobytes| u64::from(kilobytes) * 1024);
                let quota = Quota { max_bytes, ..Quota::default() };
                let definition = Definition { quota, ..Definition::default() };
                engine.write(NOW_MS, &[], |txn| txn.define(Some(store.into()), definition)).map(|_| ())
            }
            Act::Drop => match named() {
                Some(store) => engine.write(NOW_MS, &[], |txn| txn.drop_store(store)).map(|_| ()),
                None => Ok(()),
            },
            Act::Expire => engine.expire_due(NOW_MS + 100, 9).map(|_| ()),
            Act::Scan(store) => {
                let range = scan::Range {
                    store: store.into(),
                    prefix: b"",
                    from: std::ops::Bound::Unbounded,
                    keys_max: 9,
                    absent_free: 0,
                };
                let visit = &mut |_: scan::Row<'_>| Ok(std::ops::ControlFlow::Continue(()));
                engine.scan(NOW_MS, range, &|_| true, visit).map(|_| ())
            }
        };
        match outcome {
            Err(Error::Quota(_)) => Ok(()),
            outcome => outcome,
        }
    }
}

fn acts(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Act>> {
    let (store, name) = (|| 0..3u8, || 0..8u8);
    let act = prop_oneof![
        8 => (store(), name(), 0..1_000u16, proptest::option::of(1..200u16)).prop_map(|(s, k, v, e)| Act::Put(s, k, v, e)),
        3 => (store(), name()).prop_map(|(s, k)| Act::Remove(s, k)),
        1 => store().prop_map(Act::Flush),
        1 => (store(), store()).prop_map(|(a, b)| Act::Swap(a, b)),
        1 => Just(Act::Create),
        2 => (store(), proptest::option::of(1..6u8)).prop_map(|(s, kilobytes)| Act::Bound(s, kilobytes)),
        1 => Just(Act::Drop),
        1 => Just(Act::Expire),
        1 => store().prop_map(Act::Scan),
    ];
    proptest::collection::vec(act, count)
}

/// Why a group does not happen.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cause {
    TooLarge,
    DiskFull,
    Failed,
    Panic,
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![Just(Cause::TooLarge), Just(Cause::DiskFull), Just(Cause::Failed), Just(Cause::Panic)]
}

/// Takes up all room that the journal has left, in a store that the acts leave alone.
fn fill_journal(engine: &Engine, disk: &SimDisk) {
    disk.set_capacity(Some(disk.used_bytes()));
    let key = key(9, 0);
    let fills = |bytes: usize| {
        let put = |txn: &mut WriteTxn<'_>| txn.put(&key, noise(bytes), Expiry::Never);
        engine.writer().write(NOW_MS, std::slice::from_ref(&key), put).is_ok()
    };
    for bytes in [15_000, 1_000, 20, 0] {
        while fills(bytes) {}
    }
}

/// The journal has failed, and stays so until the guard is dropped: the checkpoint that mends it waits for that.
fn fail_journal<'e>(engine: &'e Engine, disk: &SimDisk) -> parking_lot::MutexGuard<'e, ()> {
    let held = engine.checkpoint.hold();
    let key = key(9, 0);
    loop {
        disk.fail_after(Operation::Sync, 0);
        let put = |txn: &mut WriteTxn<'_>| txn.put(&key, Value::integer(1), Expiry::Never);
        let seq = engine.writer().write(NOW_MS, std::slice::from_ref(&key), put).map(|(_, seq)| seq);
        if seq.is_err() || engine.acknowledge(seq.unwrap()).is_err() {
            return held;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_group_that_is_refused_leaves_everything_as_it_was(
        in_lmdb in acts(0..12),
        frozen in proptest::option::of(acts(1..12)),
        active in acts(0..12),
        group in acts(1..25),
        cause in cause(),
    ) {
        let (dir, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
        let engine = open_on(dir.path(), &disk);
        in_lmdb.iter().for_each(|act| act.run(engine.writer()).unwrap());
        engine.writer().checkpoint().unwrap();
        if let Some(frozen) = frozen {
            frozen.iter().for_each(|act| act.run(engine.writer()).unwrap());
            engine.freeze(engine.checkpoint.status().through);
        }
        active.iter().for_each(|act| act.run(engine.writer()).unwrap());
        let held = match cause {
            Cause::DiskFull => {
                fill_journal(&engine, &disk);
                None
            }
            Cause::Failed => Some(fail_journal(&engine, &disk)),
            Cause::TooLarge | Cause::Panic => None,
        };
        let heard = Arc::new(Heard::default());
        engine.set_tap(heard.clone());
        engine.reader().listen(Classes::all(), Classes::all());
        let watches: Vec<Watch> =
            (0..3).flat_map(|store| (0..8).map(move |name| key(store, name))).map(|key| engine.reader().watch(&key)).collect();
        let before = told(&engine);
        let run = || {
            engine.writer().alone(|engine| {
                for act in &group {
                    let _ = act.run(engine);
                }
                engine.say_at_end(|_| panic!("a refused group says nothing"));
                let key = key(9, 1);
                let bytes = if cause == Cause::TooLarge { ENTRY_BYTES_MAX } else { 100 };
                let put = |txn: &mut WriteTxn<'_>| txn.put(&key, noise(bytes), Expiry::Never);
                let last = engine.write(NOW_MS, std::slice::from_ref(&key), put);
                assert_eq!(engine.is_group_refused(), cause == Cause::TooLarge);
                assert_eq!(last.is_err(), cause == Cause::TooLarge);
                assert!(cause != Cause::Panic, "on purpose");
            })
        };
        match cause {
            Cause::Panic => {
                prop_assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
            }
            _ => drop(run().unwrap_err()),
        }
        prop_assert_eq!(told(&engine), before);
        prop_assert!(heard.0.lock().is_empty(), "{:?}", heard.0.lock());
        prop_assert!(!watches.iter().any(Watch::saw_put));
        drop(held);

        // it goes on with the next number, and with what a start finds
        disk.set_capacity(None);
        let began = clock::monotonic();
        let key = key(9, 2);
        let last = engine.reader().last_seq();
        let seq = loop {
            let put = |txn: &mut WriteTxn<'_>| txn.put(&key, Value::integer(1), Expiry::Never);
            match engine.writer().write(NOW_MS, std::slice::from_ref(&key), put) {
                Ok((_, seq)) => break seq,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        prop_assert_eq!(seq, last + 1);
        let stores = |engine: &Engine| -> Vec<String> {
            let usage = |store: &crate::store::Store| (store.usage.records, store.usage.plain_bytes);
            engine.reader().catalog().iter().map(|store| format!("{} {:?}", store.id, usage(store))).collect()
        };
        let before = stores(&engine);
        engine.abandon();
        drop(engine);
        let engine = open_on(dir.path(), &disk.after_kill());
        prop_assert_eq!(stores(&engine), before);
        engine.close().unwrap();
    }
}

/// What writes: a command, EXEC and scripts, which are groups, and what the server does by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Writer {
    Command,
    Group,
    GroupInGroup,
    Expiry,
    Retention,
    /// A command in a store with a limit, which has values weighed first.
    Quota,
}

const WRITERS: [Writer; 6] =
    [Writer::Command, Writer::Group, Writer::GroupInGroup, Writer::Expiry, Writer::Retention, Writer::Quota];

impl Writer {
    /// Records that each writer has something to do with.
    fn prepare(engine: &Engine) {
        let quota = Quota { max_bytes: Some(6_000), retention_ms: Some(1_000), ..Quota::default() };
        let definition = Definition { quota, ..Definition::default() };
        engine.writer().write(NOW_MS, &[], |txn| txn.define(Some(2), definition)).unwrap();
        for name in 0..8 {
            Act::Put(0, name, 100, None).run(engine.writer()).unwrap();
            Act::Put(1, name, 100, Some(50)).run(engine.writer()).unwrap();
            Act::Put(2, name, 700, None).run(engine.writer()).unwrap();
        }
        let start = clock::keep();
        for ms in [0, 10_000] {
            let (wall_ms, steady_ms) = (start.wall_ms + ms, start.steady_ms + ms);
            let later = clock::Reading { now_ms: start.now_ms + ms, wall_ms, steady_ms, ..start };
            engine.timeline.lock().observe(&later, engine.reader().last_seq());
        }
    }

    fn write(self, engine: &Engine) -> Result<(), Error> {
        let engine = engine.writer();
        let put = |engine: handles::Writer<'_>, name| Act::Put(0, name, 200, None).run(engine);
        match self {
            Writer::Command => put(engine, 1),
            Writer::Group => {
                let both = engine.alone(|group| put(group, 1).and_then(|()| put(group, 9)));
                both.and_then(|(both, _)| both)
            }
            Writer::GroupInGroup => {
                let inner =
                    |group: handles::Writer<'_>| group.alone(|group| put(group, 9)).and_then(|(put, _)| put);
                let all = engine.alone(|group| put(group, 1).and_then(|()| inner(group)));
                all.and_then(|(all, _)| all)
            }
            Writer::Expiry => engine.expire_due(NOW_MS + 100, usize::MAX).and_then(all_or_none),
            Writer::Retention => engine.retain(NOW_MS, 2).and_then(all_or_none),
            Writer::Quota => Act::Put(2, 1, 200, None).run(engine),
        }
    }
}

/// Nobody waits for the sweeper, so it is not refused: it leaves what there is no room for.
fn all_or_none(gone: usize) -> Result<(), Error> {
    match gone {
        8 => Ok(()),
        0 => Err(Error::NoRoom(NoRoom::File("nothing was removed".into()))),
        gone => panic!("{gone} of 8 records were removed"),
    }
}

/// Whether there is no durable place for the change.
fn is_of_storage(error: &Error) -> bool {
    use journal::Fault::{DiskFull, Failed};
    matches!(error, Error::NoRoom(_) | Error::Fault(Fault::Journal(DiskFull(_) | Failed(_))))
}

#[test]
fn what_the_journal_refuses_has_not_happened() {
    for writer in WRITERS {
        for cause in [Cause::DiskFull, Cause::Failed] {
            let (dir, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
            let engine = open_on(dir.path(), &disk);
            Writer::prepare(&engine);
            let held = match cause {
                Cause::DiskFull => {
                    fill_journal(&engine, &disk);
                    None
                }
                _ => Some(fail_journal(&engine, &disk)),
            };
            if cause == Cause::DiskFull && matches!(writer, Writer::Expiry | Writer::Retention) {
                // some room is kept for what only removes records
                writer.write(&engine).unwrap();
                disk.set_capacity(None);
                engine.close().unwrap();
                continue;
            }
            let before = told(&engine);
            let refusal = writer.write(&engine).expect_err("it is refused");
            assert!(is_of_storage(&refusal), "{writer:?}: {refusal}");
            assert_eq!(told(&engine), before, "{writer:?} {cause:?}");
            drop(held);
            disk.set_capacity(None);
            let began = clock::monotonic();
            while let Err(error) = writer.write(&engine) {
                assert!(began.elapsed() < Duration::from_secs(20), "{writer:?} {cause:?}: {error}");
                std::thread::sleep(Duration::from_millis(1));
            }
            engine.close().unwrap();
        }
    }
}

const PANICS_IN: &str = "LARDER_TEST_PANICS_IN";

/// In a process of its own, which the test below starts: panics half way through a change.
#[test]
fn child_that_panics_half_way() {
    let Ok(dir) = std::env::var(PANICS_IN) else { return };
    let writer = WRITERS[std::env::var("LARDER_TEST_WRITER").unwrap().parse::<usize>().unwrap()];
    let engine =
        Engine::open(Options { checkpoint_interval: Duration::from_secs(3600), ..options(dir) }).unwrap();
    engine.writer().set_sweeping(false);
    Writer::prepare(&engine);
    engine.acknowledge(engine.reader().last_seq()).unwrap();
    PANICS.set(true);
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.write(&engine)));
}

fn options(dir: impl Into<std::path::PathBuf>) -> Options {
    Options { default_kind: ValueKind::Any, ..Options::new(dir) }
}

#[test]
fn a_panic_half_way_through_a_change_ends_the_process() {
    for (at, writer) in WRITERS.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "engine::tests::atomicity::child_that_panics_half_way", "--nocapture"])
            .env(PANICS_IN, dir.path())
            .env("LARDER_TEST_WRITER", at.to_string())
            .output()
            .unwrap();
        const SIGABRT: i32 = 6;
        assert_eq!(child.status.signal(), Some(SIGABRT), "{writer:?}: {child:?}");
        // a start finds all or nothing
        let engine = Engine::open(options(dir.path())).unwrap();
        let records: Vec<u64> =
            engine.reader().catalog().iter().map(|store| store.usage.records).take(3).collect();
        assert!(records == [8, 8, 8], "nobody waited for the change, so it never left memory: {records:?}");
        engine.close().unwrap();
    }
}

/// Within a group, and without harm to it.
#[test]
fn what_is_over_the_allowance_is_refused_before_it_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_on(dir.path(), &SimDisk::default());
    let (_, seq) = engine
        .writer()
        .alone(|group| {
            let put = |name| Act::Put(0, name, 900, None).run(group);
            group.allow_writes(Some(2_000));
            put(0).unwrap();
            put(1).unwrap();
            assert!(matches!(put(2), Err(Error::AllowanceExceeded { limit: 2_000 })));
            Act::Remove(0, 0).run(group).unwrap();
            group.allow_writes(None);
            put(3).unwrap();
            assert!(!group.is_group_refused());
        })
        .unwrap();
    assert_eq!(seq, engine.reader().last_seq());
    let names: Vec<bool> = (0..4)
        .map(|name| {
            let key = key(0, name);
            engine.reader().read(NOW_MS, std::slice::from_ref(&key), |txn| txn.get(&key)).unwrap().0.is_some()
        })
        .collect();
    assert_eq!(names, [false, true, false, true]);
    engine.close().unwrap();
}
