//! A copy of a running engine's data in a directory of its own, on which a server can start.
//!
//! 1. A checkpoint brings LMDB up to now, and a snapshot of LMDB is taken before the next one can begin: it shows one
//!    instant, with everything that was acknowledged before. A transaction is in it as a whole or not at all.
//! 2. The snapshot is copied into a new environment while everything else goes on.
//! 3. Every record of the copy is checked, as `larder check` does.
//! 4. The file `larder` makes the directory a data directory. Until then, a server refuses to start on it.
//!
//! A copy has an empty journal. A journal that ends before the position that LMDB reflects continues after that
//! position.
//!
//! Runs on the caller's thread, and takes as long as reading all records twice.

pub mod restored;

use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::core::handles::Writer;
use crate::engine::directory;
use crate::engine::directory::DirectoryError;
use crate::engine::error::Fault;
use crate::engine::journal::Seq;
use crate::engine::lmdb;
use crate::engine::lmdb::Tables;
use crate::engine::recovery::check::check_claimed;
use crate::engine::recovery::open::OpenError;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    pub stores: u64,
    pub records: u64,
    pub file_bytes: u64,
    /// The last journal entry that it reflects.
    pub through: Seq,
}

/// Why the backup failed. What had been written of it has been removed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("the copy can't be opened: {0}")]
    Copy(#[from] OpenError),
    #[error("the copy is damaged, and so is the original; run larder check: {0}")]
    Unsound(String),
}

impl From<lmdb::Fault> for BackupError {
    fn from(fault: lmdb::Fault) -> BackupError {
        BackupError::Fault(fault.into())
    }
}

impl Writer<'_> {
    /// Writes a copy of everything into an empty or missing directory. Returns once it is verified and durable.
    pub fn back_up(&self, dir: &Path) -> Result<Backup, BackupError> {
        let dir = &directory::resolve_outside(dir, &self.engine.dir)?;
        let existed = dir.exists();
        let lock = directory::begin(dir)?;
        let outcome = self.write_backup(dir).and_then(|backup| {
            directory::finish(dir)?;
            Ok(backup)
        });
        if outcome.is_err() {
            // a copy that can't be removed has no mark, so it is not mistaken for a backup
            for name in ["lmdb", "lmdb.new", "journal"] {
                let _ = fs::remove_dir_all(dir.join(name));
            }
            let _ = fs::remove_file(dir.join("larder.new"));
            let _ = fs::remove_file(dir.join("lock"));
            if !existed {
                let _ = fs::remove_dir(dir);
            }
        }
        drop(lock);
        outcome
    }

    /// Writes a copy into a folder of the data directory that does not exist, for an archive. It is verified, but no data
    /// directory.
    pub fn copy_inside(&self, folder: &str) -> Result<(PathBuf, Backup), BackupError> {
        let dir = self.engine.dir.join(folder);
        let lock = directory::begin(&dir)?;
        let backup = self.write_backup(&dir)?;
        drop(lock);
        Ok((dir.join("lmdb").join(lmdb::DATA_FILE), backup))
    }

    fn write_backup(&self, dir: &Path) -> Result<Backup, BackupError> {
        let lmdb_dir = dir.join("lmdb");
        let open = || {
            Tables::create(&lmdb_dir, None)
                .and_then(|()| Tables::open(&lmdb_dir, None))
                .map_err(|error| BackupError::Copy(OpenError::Tables(lmdb_dir.clone(), error)))
        };
        let copy = open()?;
        let snapshot = self.engine.snapshot_of_now()?;
        self.engine.tables.copy(&snapshot, &copy)?;
        drop(snapshot);
        let (file_bytes, through) = (copy.file_bytes(), copy.checkpoint(&copy.snapshot()?)?);
        drop(copy);
        let report = check_claimed(dir)?;
        if let Some(problem) = report.problems.first() {
            return Err(BackupError::Unsound(problem.clone()));
        }
        let (stores, records) =
            (report.stores.len() as u64, report.stores.iter().map(|s| s.counted.records).sum());
        Ok(Backup { stores, records, file_bytes, through })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::engine::recovery::check::check;
    use crate::engine::{Engine, Expiry, Options};
    use crate::store::{Key, Value};

    fn key(name: &str) -> Key {
        Key::new(0, Bytes::copy_from_slice(name.as_bytes()))
    }

    fn put(engine: Writer<'_>, name: &str, value: i64) {
        let key = key(name);
        engine
            .write(1, std::slice::from_ref(&key), |txn| txn.put(&key, Value::integer(value), Expiry::Never))
            .unwrap();
    }

    fn get(engine: &Engine, name: &str) -> Option<i64> {
        let key = key(name);
        let read = engine.reader().read(1, std::slice::from_ref(&key), |txn| txn.get(&key)).unwrap().0;
        read.map(|record| std::str::from_utf8(&record.value).unwrap().parse().unwrap())
    }

    #[test]
    fn a_backup_under_load_is_of_one_instant() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::new(dir.path().join("data"))).unwrap();
        (0..200).for_each(|at| put(engine.writer(), &format!("before:{at}"), at));
        let stop = AtomicBool::new(false);
        for round in 0..3 {
            let copy = dir.path().join(format!("copy-{round}"));
            let backup = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        count += 1;
                        // more records than one commit of a checkpoint takes, all of the same number
                        let put_all = |group: Writer<'_>| {
                            (0..20).for_each(|at| put(group, &format!("pair:{at}"), count));
                        };
                        engine.writer().alone(put_all).unwrap();
                    }
                });
                let backup = engine.writer().back_up(&copy);
                stop.store(true, Ordering::Relaxed);
                backup
            });
            stop.store(false, Ordering::Relaxed);
            let backup = backup.unwrap();
            assert_eq!(check(&copy).unwrap().problems, [""; 0]);
            let copied = Engine::open(Options::new(&copy)).unwrap();
            assert!((0..200).all(|at| get(&copied, &format!("before:{at}")) == Some(at)));
            let pairs: Vec<_> = (0..20).map(|at| get(&copied, &format!("pair:{at}"))).collect();
            assert!(pairs.iter().all(|number| *number == pairs[0]), "{pairs:?}");
            assert!(backup.records >= 200 && backup.through >= 200);
            put(copied.writer(), "after", 1);
            copied.close().unwrap();
            assert_eq!(get(&engine, "after"), None);
        }
        engine.close().unwrap();
    }

    #[test]
    fn what_was_dropped_is_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::new(dir.path().join("data"))).unwrap();
        (0..50).for_each(|at| put(engine.writer(), &format!("old:{at}"), at));
        engine.writer().checkpoint().unwrap();
        engine.writer().write(1, &[], |txn| txn.flush(0)).unwrap();
        put(engine.writer(), "new", 1);
        let copy = dir.path().join("copy");
        engine.writer().back_up(&copy).unwrap();
        let report = check(&copy).unwrap();
        assert_eq!((report.garbage_records, report.problem_count), (0, 0));
        assert_eq!(report.stores.iter().map(|store| store.counted.records).sum::<u64>(), 1);
        engine.close().unwrap();
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::new(dir.path().join("data"))).unwrap();
        let (own, other) = (dir.path().join("data"), dir.path().join("other"));
        fs::create_dir(&other).unwrap();
        fs::write(other.join("thesis.txt"), "x").unwrap();
        let refused = engine.writer().back_up(&other);
        assert!(matches!(refused, Err(BackupError::Directory(DirectoryError::NotEmpty(_)))), "{refused:?}");
        assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let count = fs::read_dir(&own).unwrap().count();
        for inside in [&own, &link, &own.join("new"), &link.join("a/b"), &own.join("lmdb/new")] {
            let refused = engine.writer().back_up(inside);
            assert!(matches!(refused, Err(BackupError::Directory(DirectoryError::Own(..)))), "{refused:?}");
        }
        assert_eq!(fs::read_dir(&own).unwrap().count(), count, "nothing was made");
        engine.close().unwrap();
    }
}
