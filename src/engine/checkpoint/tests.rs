//! Which records a checkpoint writes.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::checkpoint::Outdated;
use crate::engine::*;
use crate::store::{Key, Value};

fn open(dir: &Path) -> Arc<Engine> {
    let options = Options { checkpoint_interval: Duration::from_secs(3600), ..Options::new(dir) };
    Engine::open(options).unwrap()
}

fn key(name: &str) -> Key {
    Key::new(0, Bytes::copy_from_slice(name.as_bytes()))
}

fn put(engine: &Engine, name: &str, value: i64) {
    let key = key(name);
    let put = |txn: &mut WriteTxn<'_>| txn.put(&key, Value::integer(value), Expiry::Never);
    engine.writer().write(1, std::slice::from_ref(&key), put).unwrap();
}

fn remove(engine: &Engine, name: &str) {
    let key = key(name);
    engine.writer().write(1, std::slice::from_ref(&key), |txn| txn.remove(&key)).unwrap();
}

fn values(engine: &Engine) -> Vec<Option<Bytes>> {
    let value = |name: &str| {
        let key = key(name);
        let found = engine.reader().read(1, std::slice::from_ref(&key), |txn| txn.get(&key));
        found.unwrap().0.map(|record| Bytes::copy_from_slice(&record.value))
    };
    ["quiet", "hot", "gone"].map(value).to_vec()
}

/// Three records are frozen, one of which changes and one of which goes before they are written.
fn frozen_and_outdated(dir: &Path) -> Arc<Engine> {
    let engine = open(dir);
    for name in ["quiet", "hot", "gone"] {
        put(&engine, name, 1);
    }
    engine.freeze(0).unwrap();
    put(&engine, "hot", 2);
    remove(&engine, "gone");
    engine
}

const NEWEST: [Option<Bytes>; 3] = [Some(Bytes::from_static(b"1")), Some(Bytes::from_static(b"2")), None];

#[test]
fn what_has_changed_again_is_left_out_and_survives_a_crash() {
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = frozen_and_outdated(dir.path());
    engine.run_checkpoint(Outdated::LeftOut).unwrap();
    assert_eq!(engine.checkpoint.status().last_records, 1);
    assert_eq!(values(&engine), NEWEST);
    // what a crash would leave now
    for folder in ["", "journal", "lmdb"] {
        std::fs::create_dir_all(after.path().join(folder)).unwrap();
        for file in std::fs::read_dir(dir.path().join(folder)).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), after.path().join(folder).join(file.file_name())).unwrap();
            }
        }
    }
    engine.close().unwrap();
    let recovered = open(after.path());
    assert_eq!(values(&recovered), NEWEST);
    assert_eq!(recovered.reader().catalog().get(0).unwrap().usage.records, 2);
    recovered.close().unwrap();
}

#[test]
fn a_backup_holds_what_has_changed_again() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = frozen_and_outdated(dir.path());
    engine.run_checkpoint(Outdated::LeftOut).unwrap();
    let copy = copies.path().join("copy");
    assert_eq!(engine.writer().back_up(&copy).unwrap().records, 2);
    let restored = open(&copy);
    assert_eq!(values(&restored), NEWEST);
    restored.close().unwrap();
    engine.close().unwrap();
}

/// Otherwise a backup would not end while something changes all the time.
#[test]
fn checkpoints_for_a_backup_leave_nothing_out() {
    let dir = tempfile::tempdir().unwrap();
    let engine = frozen_and_outdated(dir.path());
    engine.run_checkpoint(Outdated::Written).unwrap();
    let status = engine.checkpoint.status();
    assert_eq!(status.last_records, 3);
    assert!(status.whole_from <= status.through);
    engine.close().unwrap();
}

#[test]
fn a_failed_journal_keeps_everything_in_the_checkpoint() {
    use crate::engine::journal::disk::sim::{Operation, SimDisk};
    let (dir, disk) = (tempfile::tempdir().unwrap(), SimDisk::default());
    let options = Options {
        checkpoint_interval: Duration::from_secs(3600),
        fsync: Fsync::No,
        disk: Arc::new(disk.clone()),
        ..Options::new(dir.path())
    };
    let engine = Engine::open(options).unwrap();
    put(&engine, "hot", 1);
    engine.freeze(0).unwrap();
    put(&engine, "hot", 2);
    disk.fail_after(Operation::Sync, 0);
    engine.run_checkpoint(Outdated::LeftOut).unwrap();
    assert_eq!(engine.checkpoint.status().last_records, 1);
    engine.close().unwrap();
}
