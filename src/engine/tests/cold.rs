//! Records whose pages are not in memory: who may not wait for the disk does not, and who may gets them.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use crate::engine::lmdb::DATA_FILE;
use crate::engine::tests::*;

const RECORDS: usize = 2_000;

/// A data directory on a disk: beside the test program, because a folder for temporary files may be in memory.
fn folder() -> tempfile::TempDir {
    let program = std::env::current_exe().unwrap();
    tempfile::tempdir_in(program.parent().unwrap()).unwrap()
}

fn name(number: usize) -> String {
    format!("key:{number:06}")
}

/// An engine with records on many leaves, of which no page is in memory but those that opening it has read.
fn cold_engine(dir: &Path) -> Arc<Engine> {
    let engine = open(dir);
    for number in 0..RECORDS {
        put(&engine, 1, &key(0, &name(number)), &format!("{number:0400}"), Expiry::Never);
    }
    // longer than a page
    put(&engine, 1, &key(0, "long"), &"a b ".repeat(30_000), Expiry::Never);
    engine.writer().set_compression(Compression::Off);
    engine.writer().checkpoint().unwrap();
    engine.close().unwrap();
    drop(engine);
    open_cold(dir)
}

/// Opens an engine, and makes the system forget what of LMDB's file it had in memory before, or read ahead for that.
fn open_cold(dir: &Path) -> Arc<Engine> {
    forget_pages(&data_file(dir));
    let engine = open(dir);
    forget_pages(&data_file(dir));
    engine
}

fn data_file(dir: &Path) -> PathBuf {
    let folders = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path().join(DATA_FILE));
    folders.into_iter().find(|file| file.exists()).unwrap()
}

/// Makes the system forget what it holds of a file in memory.
fn forget_pages(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}

/// What a thread that may not wait finds: `None` if it would have had to.
fn get_at_once(engine: &Engine, keys: &[Key]) -> Option<Vec<Option<Record>>> {
    let all = |txn: &ReadTxn<'_>| keys.iter().map(|key| txn.get(key)).collect::<Result<Vec<_>, Error>>();
    match engine.reader().without_disk().read(1, keys, all) {
        Ok((records, _)) => Some(records),
        Err(Error::Fault(Fault::Cold)) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn who_may_not_wait_for_the_disk_does_not() {
    let dir = folder();
    let engine = cold_engine(dir.path());
    // opening has mapped some of the pages, and those beside them
    let first_cold = |suffix: &str, from: usize| {
        let keys = (from..RECORDS).map(|number| key(0, &(name(number) + suffix)));
        let is_cold = |key: &Key| get_at_once(&engine, std::slice::from_ref(key)).is_none();
        keys.into_iter().find(is_cold).unwrap()
    };
    let looked_for =
        [first_cold("", 0), first_cold("", RECORDS / 2), first_cold("x", RECORDS / 3), key(0, "long")];
    for key in &looked_for {
        let waited = get(&engine, 1, key);
        assert_eq!(waited.is_some(), !key.name.ends_with(b"x"));
        // now that its pages are in memory
        assert_eq!(get_at_once(&engine, std::slice::from_ref(key)), Some(vec![waited]), "{:?}", key.name);
    }
    // what a transaction is going to write is looked up first
    let write = |writer: Writer<'_>, key: &Key| {
        let value = Value::unchecked(Bytes::from_static(b"new"));
        writer.write(1, std::slice::from_ref(key), |txn| txn.put(key, value, Expiry::Never).map(drop))
    };
    let refused = (RECORDS / 4..RECORDS).map(|number| key(0, &name(number))).find(|key| {
        match write(engine.writer().without_disk(), key) {
            Ok(_) => false,
            Err(Error::Fault(Fault::Cold)) => true,
            Err(error) => panic!("{error}"),
        }
    });
    let refused = refused.unwrap();
    assert_ne!(get(&engine, 1, &refused).unwrap().value, "new");
    write(engine.writer(), &refused).unwrap();
    assert_eq!(get(&engine, 1, &refused).unwrap().value, "new");
    engine.close().unwrap();
}

#[test]
fn many_cold_records_are_read_by_one_transaction_and_by_a_scan() {
    let dir = folder();
    let engine = cold_engine(dir.path());
    // not in their order, and some of them are absent
    let numbers = (0..RECORDS).step_by(37).map(|number| number * 1_009 % (RECORDS + 100));
    let all: Vec<Key> = numbers.map(|number| key(0, &name(number))).collect();
    assert_eq!(get_at_once(&engine, &all), None);
    let read = |txn: &ReadTxn<'_>| all.iter().map(|key| txn.get(key)).collect::<Result<Vec<_>, Error>>();
    let (records, _) = engine.reader().read(1, &all, read).unwrap();
    for (key, record) in all.iter().zip(records) {
        let number: usize = String::from_utf8_lossy(&key.name[4..]).parse().unwrap();
        let expected = (number < RECORDS).then(|| format!("{number:0400}"));
        assert_eq!(record.map(|record| record.value), expected.map(Bytes::from), "{:?}", key.name);
    }
    engine.close().unwrap();
    drop(engine);
    let engine = open_cold(dir.path());
    assert_eq!(keys(&engine, 1, 0, "").len(), RECORDS + 1);
    engine.close().unwrap();
}

/// What is asked for ahead is in memory soon.
#[test]
fn records_that_were_asked_for_come_into_memory() {
    let dir = folder();
    let engine = cold_engine(dir.path());
    let wanted: Vec<Key> = (0..RECORDS).step_by(100).map(|number| key(0, &name(number))).collect();
    assert_eq!(get_at_once(&engine, &wanted), None);
    engine.fetch_cold(0, wanted.iter().map(|key| &key.name));
    while get_at_once(&engine, &wanted).is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    engine.close().unwrap();
}

/// The changes of a checkpoint are on pages that have to be read first.
#[test]
fn a_checkpoint_changes_records_that_are_only_on_disk() {
    let dir = folder();
    let engine = cold_engine(dir.path());
    for number in (0..RECORDS).rev().step_by(7) {
        put(&engine, 1, &key(0, &name(number)), "changed", Expiry::Never);
    }
    engine.writer().checkpoint().unwrap();
    engine.close().unwrap();
    drop(engine);
    let engine = open(dir.path());
    for number in 0..RECORDS {
        let is_changed = (RECORDS - 1 - number).is_multiple_of(7);
        let expected = if is_changed { "changed".to_owned() } else { format!("{number:0400}") };
        assert_eq!(get(&engine, 1, &key(0, &name(number))).unwrap().value, expected, "{number}");
    }
    engine.close().unwrap();
}
