//! A data directory that is being made from a copy that was kept elsewhere.
//!
//! Until it is complete, its parts are in a folder of the new directory, and no server starts on that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::directory;
use crate::engine::directory::{DirectoryError, Lock};
use crate::engine::lmdb;
use crate::engine::recovery::check::check_claimed;
use crate::engine::recovery::open::OpenError;
use crate::files;

const FOLDER: &str = "restoring";

/// An unfinished data directory. It is removed again unless it is [finished](Restored::finish).
#[derive(Debug)]
pub struct Restored {
    dir: PathBuf,
    existed: bool,
    is_finished: bool,
    _lock: Lock,
}

impl Restored {
    /// Begins a data directory, which must be empty or missing.
    pub fn begin(dir: &Path) -> Result<Restored, DirectoryError> {
        let existed = dir.exists();
        let lock = directory::begin(dir)?;
        Ok(Restored { dir: dir.to_owned(), existed, is_finished: false, _lock: lock })
    }

    /// The folder in which an engine can be opened meanwhile.
    pub fn folder(&self) -> PathBuf {
        self.dir.join(FOLDER)
    }

    /// Begins with nothing, or with a copy of a database, whose file the caller then writes: its path.
    pub fn begin_copy(&self) -> Result<PathBuf, DirectoryError> {
        let folder = self.folder();
        let failed = |error| DirectoryError::Io(folder.clone(), error);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        drop(directory::begin(&folder)?);
        fs::create_dir(folder.join("lmdb")).map_err(failed)?;
        Ok(folder.join("lmdb").join(lmdb::DATA_FILE))
    }

    /// Verifies the copy, every record of it, and makes it one that an engine can open. Returns what is wrong with it.
    pub fn end_copy(&self) -> Result<Vec<String>, OpenError> {
        let problems = check_claimed(&self.folder())?.problems;
        if problems.is_empty() {
            directory::finish(&self.folder())?;
        }
        Ok(problems)
    }

    /// Makes it a data directory. No engine may be open in the folder.
    pub fn finish(mut self) -> Result<(), DirectoryError> {
        let folder = self.folder();
        let adopt = || -> io::Result<()> {
            fs::remove_dir(self.dir.join("journal"))?;
            for name in ["lmdb", "journal"] {
                fs::rename(folder.join(name), self.dir.join(name))?;
            }
            fs::remove_dir_all(&folder)?;
            files::sync_folder(&self.dir)
        };
        adopt().map_err(|error| DirectoryError::Io(self.dir.clone(), error))?;
        directory::finish(&self.dir)?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        // what can't be removed has no mark, so no server starts on it
        for name in [FOLDER, "lmdb", "journal"] {
            let _ = fs::remove_dir_all(self.dir.join(name));
        }
        for name in ["larder.new", "lock", "archive"] {
            let _ = fs::remove_file(self.dir.join(name));
        }
        if !self.existed {
            let _ = fs::remove_dir(&self.dir);
        }
    }
}
