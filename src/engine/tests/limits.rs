//! Limits against a model: nothing that fits is refused, and nothing else is accepted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::engine::*;
use crate::record::compress::{Compression, compress};
use crate::store::{Definition, Key, Quota, ServerQuota, StoreId, Value, ValueKind};

const STORES: StoreId = 3;
/// Without dictionaries: what a record takes depends on nothing but itself.
const COMPRESSION: Compression = Compression::Brotli { quality: 4, min_bytes: 64, dictionaries: false };

fn open(dir: &std::path::Path, quota: ServerQuota) -> Arc<Engine> {
    let engine = Engine::open(Options {
        checkpoint_interval: Duration::from_secs(3600),
        default_kind: ValueKind::Any,
        journal_segment_bytes: 64 * 1024,
        compression: COMPRESSION,
        quota,
        ..Options::new(dir)
    });
    engine.unwrap()
}

fn key(store: StoreId, name: u8) -> Key {
    Key::new(store, Bytes::from(format!("key:{name}")))
}

/// A value that shrinks, or one that doesn't.
fn value(size: u16, shrinks: bool) -> Bytes {
    let size = usize::from(size);
    if shrinks {
        return Bytes::from("abcdefgh ".repeat(size / 9 + 1));
    }
    let noise =
        (0..size as u64 / 8 + 1).flat_map(|at| xxhash_rust::xxh3::xxh3_64(&at.to_be_bytes()).to_be_bytes());
    noise.collect::<Vec<u8>>().into()
}

/// What a record takes in LMDB.
fn stored_bytes(key: &Key, value: &Bytes) -> u64 {
    (key.name.len() + compress(value, &COMPRESSION, None).record_bytes(false)) as u64
}

/// Runs a transaction as the gate does: again for as long as something has to be weighed.
fn write(
    engine: &Engine,
    keys: &[Key],
    run: impl Fn(&mut WriteTxn<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut weighed = Weighed::default();
    for _ in 0..10_000 {
        if let Some(((), _)) = engine.writer().write_weighed(1, keys, &mut weighed, &run)? {
            return Ok(());
        }
    }
    panic!("weighing has no end");
}

fn put_all(engine: &Engine, records: &[(Key, Bytes)]) -> Result<(), Error> {
    let keys: Vec<Key> = records.iter().map(|(key, _)| key.clone()).collect();
    write(engine, &keys, |txn| {
        records
            .iter()
            .try_for_each(|(key, value)| txn.put(key, Value::unchecked(value.clone()), Expiry::Never))
    })
}

fn set_quota(engine: &Engine, store: StoreId, quota: Quota) {
    let definition = Definition { quota, ..Definition::default() };
    engine.writer().write(1, &[], |txn| txn.define(Some(store), definition)).unwrap();
}

#[test]
fn what_is_put_while_there_is_no_limit_is_weighed_once_there_is_one_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), ServerQuota::default());
    let limit = |max_bytes| engine.writer().set_quota(ServerQuota { max_bytes, ..ServerQuota::default() });
    let put = |name| put_all(&engine, &[(key(0, name), value(1000, true))]);
    put(0).unwrap();
    // so close that what lies in memory has to be weighed
    limit(Some(200));
    put(1).unwrap();
    limit(None);
    put(2).unwrap();
    limit(Some(300));
    put(3).unwrap();
    engine.close().unwrap();
}

#[test]
fn swapped_contents_are_judged_by_what_both_take() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), ServerQuota::default());
    // uncompressed, the first is the larger one, and holds less
    put_all(&engine, &[(key(0, 0), value(1000, true)), (key(2, 0), value(900, false))]).unwrap();
    set_quota(&engine, 0, Quota { max_bytes: Some(50), ..Quota::default() });
    assert!(matches!(write(&engine, &[], |txn| txn.swap(0, 2, Default::default())), Err(Error::Quota(_))));
    engine.close().unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<(u8, u8, u16, bool)>),
    Remove(u8, u8),
    Flush(u8),
    Swap(u8, u8),
    Limit(u8, Option<u8>, Option<u16>),
    LimitServer(Option<u8>, Option<u16>),
    Checkpoint,
    Loosen,
    Restart,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let store = || 0..STORES as u8;
    let record = (store(), 0..10u8, 0..1200u16, any::<bool>());
    let bytes = || proptest::option::of(50..3_000u16);
    let step = prop_oneof![
        14 => proptest::collection::vec(record, 1..4).prop_map(Step::Put),
        3 => (store(), 0..10u8).prop_map(|(s, k)| Step::Remove(s, k)),
        1 => store().prop_map(Step::Flush),
        1 => (store(), store()).prop_map(|(a, b)| Step::Swap(a, b)),
        2 => (store(), proptest::option::of(1..8u8), bytes()).prop_map(|(s, k, b)| Step::Limit(s, k, b)),
        1 => (proptest::option::of(1..16u8), bytes()).prop_map(|(k, b)| Step::LimitServer(k, b)),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Loosen),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..60)
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    stores: [BTreeMap<u8, u64>; STORES as usize],
}

impl Model {
    fn used(&self, store: usize) -> (u64, u64) {
        (self.stores[store].len() as u64, self.stores[store].values().sum())
    }

    fn used_of_server(&self) -> (u64, u64) {
        let used = (0..STORES as usize).map(|store| self.used(store));
        used.fold((0, 0), |sum, used| (sum.0 + used.0, sum.1 + used.1))
    }

    /// Whether limits let this become that.
    fn may_become(&self, after: &Model, quotas: &[Quota; STORES as usize], server: ServerQuota) -> bool {
        let fits =
            |before: u64, after: u64, max: Option<u64>| after <= before || max.is_none_or(|max| after <= max);
        let both = |before: (u64, u64), after: (u64, u64), max_keys, max_bytes| {
            fits(before.0, after.0, max_keys) && fits(before.1, after.1, max_bytes)
        };
        let of_store =
            |at: usize| both(self.used(at), after.used(at), quotas[at].max_keys, quotas[at].max_bytes);
        (0..STORES as usize).all(of_store)
            && both(self.used_of_server(), after.used_of_server(), server.max_keys, server.max_bytes)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_fits_is_taken_and_nothing_else(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut quotas, mut server) = ([Quota::default(); STORES as usize], ServerQuota::default());
        let mut engine = open(dir.path(), server);
        let mut model = Model::default();
        for step in steps {
            let mut after = model.clone();
            let outcome = match &step {
                Step::Put(records) => {
                    let records: Vec<_> = records
                        .iter()
                        .map(|(store, name, size, shrinks)| {
                            let (key, value) = (key((*store).into(), *name), value(*size, *shrinks));
                            after.stores[usize::from(*store)].insert(*name, stored_bytes(&key, &value));
                            (key, value)
                        })
                        .collect();
                    Some(put_all(&engine, &records))
                }
                Step::Swap(a, b) => {
                    after.stores.swap((*a).into(), (*b).into());
                    Some(write(&engine, &[], |txn| txn.swap((*a).into(), (*b).into(), Default::default())))
                }
                Step::Remove(store, name) => {
                    after.stores[usize::from(*store)].remove(name);
                    let key = key((*store).into(), *name);
                    write(&engine, std::slice::from_ref(&key), |txn| txn.remove(&key).map(drop)).unwrap();
                    None
                }
                Step::Flush(store) => {
                    after.stores[usize::from(*store)].clear();
                    write(&engine, &[], |txn| txn.flush((*store).into())).unwrap();
                    None
                }
                Step::Limit(store, keys, bytes) => {
                    let quota = Quota { max_keys: keys.map(u64::from), max_bytes: bytes.map(u64::from), ..Quota::default() };
                    quotas[usize::from(*store)] = quota;
                    set_quota(&engine, (*store).into(), quota);
                    None
                }
                Step::LimitServer(keys, bytes) => {
                    server = ServerQuota { max_keys: keys.map(u64::from), max_bytes: bytes.map(u64::from), ..ServerQuota::default() };
                    engine.writer().set_quota(server);
                    None
                }
                Step::Checkpoint => {
                    engine.writer().checkpoint().unwrap();
                    for store in 0..STORES {
                        let usage = engine.reader().catalog().get(store).unwrap().usage;
                        prop_assert_eq!((usage.records, usage.stored_bytes), model.used(store as usize));
                    }
                    None
                }
                Step::Loosen => {
                    engine.loosen();
                    None
                }
                Step::Restart => {
                    engine.close().unwrap();
                    drop(engine);
                    prop_assert_eq!(recovery::check::check(dir.path()).unwrap().problems, [""; 0]);
                    engine = open(dir.path(), server);
                    None
                }
                Step::Crash => {
                    engine.abandon();
                    drop(engine);
                    engine = open(dir.path(), server);
                    None
                }
            };
            match outcome {
                None => model = after,
                Some(outcome) => {
                    let may = model.may_become(&after, &quotas, server);
                    prop_assert_eq!(outcome.is_ok(), may, "{:?}: {:?}", step, outcome);
                    if may {
                        model = after;
                    } else {
                        prop_assert!(matches!(outcome, Err(Error::Quota(_))));
                    }
                }
            }
            let total = engine.reader().catalog().total();
            let used: u64 = engine.reader().catalog().iter().map(|store| store.usage.stored_bytes).sum();
            prop_assert_eq!((total.records, total.stored_bytes), (model.used_of_server().0, used));
        }
        engine.close().unwrap();
    }
}

#[test]
fn a_refusal_says_limit_use_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), ServerQuota { max_keys: Some(2), ..ServerQuota::default() });
    set_quota(&engine, 0, Quota { max_keys: Some(1), max_bytes: Some(100), ..Quota::default() });
    let put = |store, name, value: Bytes| {
        put_all(&engine, &[(key(store, name), value)]).map_err(|error| error.to_string())
    };
    assert_eq!(
        put(0, 1, value(200, false)).unwrap_err(),
        "store '0' holds 0 of at most 100 bytes after compression"
    );
    put(0, 1, value(1_000, true)).unwrap();
    assert_eq!(put(0, 2, value(1, false)).unwrap_err(), "store '0' holds 1 of at most 1 keys");
    put(1, 1, value(1, false)).unwrap();
    assert_eq!(put(1, 2, value(1, false)).unwrap_err(), "the server holds 2 of at most 2 keys");
    engine.close().unwrap();
}

#[test]
fn what_fits_with_a_dictionary_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(Options::new(dir.path())).unwrap();
    let put = |name| {
        let text = format!(r#"{{"id":{name},"name":"somebody with a name","country":"DE","active":true}}"#);
        put_all(&engine, &[(key(0, name), text.into())])
    };
    (0..40).for_each(|name| put(name).unwrap());
    engine.writer().checkpoint().unwrap();
    let used = || engine.reader().catalog().get(0).unwrap().usage.stored_bytes;
    let (max, records_before) = (2 * used(), 40);
    set_quota(&engine, 0, Quota { max_bytes: Some(max), ..Quota::default() });
    let refused = (records_before..u8::MAX).find(|name| put(*name).is_err()).unwrap();
    assert!((78..=82).contains(&refused), "{refused} records");
    engine.writer().checkpoint().unwrap();
    assert!(used() <= max);
    engine.close().unwrap();
    drop(engine);
    assert_eq!(recovery::check::check(dir.path()).unwrap().problems, [""; 0]);
}

#[test]
fn many_writers_at_a_limit_never_exceed_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), ServerQuota::default());
    let max = 4_000;
    set_quota(&engine, 0, Quota { max_bytes: Some(max), ..Quota::default() });
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..150u16 {
                    let name = thread * 8 + (round % 24) as u8;
                    let outcome = put_all(engine, &[(key(0, name), value(round * 7 % 900, round % 3 != 0))]);
                    assert!(matches!(outcome, Ok(()) | Err(Error::Quota(_))));
                    assert!(engine.reader().catalog().get(0).unwrap().usage.stored_bytes <= max);
                    if round % 50 == 0 {
                        engine.writer().checkpoint().unwrap();
                    }
                }
            });
        }
    });
    engine.close().unwrap();
    drop(engine);
    assert_eq!(recovery::check::check(dir.path()).unwrap().problems, [""; 0]);
}
