//! A directory as a store, local or mounted.
//!
//! | operation | how |
//! |---|---|
//! | create if absent | the object is written beside, synced, and gets its name by `link`, which fails if the name is taken; where there are no hard links, by `renameat2` with `RENAME_NOREPLACE` |
//! | replace if unchanged | under a lock (`flock`) on the file `lock`, which all servers take: the object is read, compared, and replaced by `rename` |
//!
//! NFS, CephFS and local file systems do all of this atomically. An object has its name only when it is complete and
//! durable. What a crash leaves has a name that begins with `.new-`, and is removed after a day.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use xxhash_rust::xxh3::xxh3_128;

use super::{Fault, Found, Listed, Put, Store, Trouble, Version};
use crate::files;

const LOCK: &str = "lock";
const UNFINISHED: &str = ".new-";
/// Older unfinished files were left by a crash.
const UNFINISHED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
pub struct Directory {
    dir: PathBuf,
    /// Makes names of unfinished files differ.
    counter: AtomicU64,
}

impl Directory {
    pub fn new(dir: PathBuf) -> Directory {
        Directory { dir, counter: AtomicU64::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn failed<'a>(&self, doing: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Fault + use<'a> {
        move |error| Fault::of_disk(&format!("cannot {doing} {}", path.display()), &error)
    }

    /// Writes an object under a name of its own, in the folder of `path`, which is made if it is missing.
    fn write_beside(&self, path: &Path, bytes: &[u8]) -> Result<PathBuf, Fault> {
        let folder = files::folder_of(path);
        fs::create_dir_all(folder).map_err(self.failed("make", folder))?;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let beside = folder.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
        let write = || {
            // other servers, with other users, may have to read it, so the umask decides who may
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| {
            // the first error is the one that counts
            let _ = fs::remove_file(&beside);
            self.failed("write", &beside)(error)
        })?;
        Ok(beside)
    }

    fn remove_leftovers(&self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let is_unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
            if is_unfinished && age.is_some_and(|age| age > UNFINISHED_FOR) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Store for Directory {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn get(&self, name: &str, bytes_max: u64) -> Result<Option<Found>, Fault> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(self.failed("open", &path))?,
        };
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(self.failed("read", &path))?;
        if bytes.len() as u64 > bytes_max {
            return Err(Fault::new(
                Trouble::Failed,
                format!("{} is longer than {bytes_max} bytes", path.display()),
            ));
        }
        let version = version_of(&bytes);
        Ok(Some(Found { bytes: bytes.into(), version }))
    }

    fn start(&self, name: &str, bytes: u64) -> Result<Option<Bytes>, Fault> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(self.failed("open", &path))?,
        };
        let mut start = Vec::new();
        file.take(bytes).read_to_end(&mut start).map_err(self.failed("read", &path))?;
        Ok(Some(start.into()))
    }

    fn create(&self, name: &str, bytes: Bytes) -> Result<Put, Fault> {
        let path = self.path(name);
        let beside = self.write_beside(&path, &bytes)?;
        let linked = match fs::hard_link(&beside, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                renameat_with(CWD, &beside, CWD, &path, RenameFlags::NOREPLACE).map_err(io::Error::from)
            }
            linked => linked,
        };
        let _ = fs::remove_file(&beside);
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Put::Refused),
            linked => linked.map_err(self.failed("create", &path))?,
        }
        let folder = files::folder_of(&path);
        files::sync_folder(folder).map_err(self.failed("sync", folder))?;
        Ok(Put::Done(version_of(&bytes)))
    }

    fn replace(&self, name: &str, bytes: Bytes, version: &Version) -> Result<Put, Fault> {
        let (path, lock_path) = (self.path(name), self.path(LOCK));
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(self.failed("open", &lock_path))?;
        lock.lock().map_err(self.failed("lock", &lock_path))?;
        if self.get(name, u64::MAX - 1)?.is_none_or(|found| found.version != *version) {
            return Ok(Put::Refused);
        }
        let beside = self.write_beside(&path, &bytes)?;
        let folder = files::folder_of(&path);
        fs::rename(&beside, &path)
            .and_then(|()| files::sync_folder(folder))
            .map_err(self.failed("replace", &path))?;
        Ok(Put::Done(version_of(&bytes)))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, Fault> {
        let (mut folders, mut listed) = (vec![folder.trim_end_matches('/').to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            let path = if folder.is_empty() { self.dir.clone() } else { self.path(&folder) };
            self.remove_leftovers(&path);
            let entries = match fs::read_dir(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(self.failed("list", &path))?,
            };
            for entry in entries {
                let entry = entry.map_err(self.failed("list", &path))?;
                let file_name = entry.file_name().to_string_lossy().into_owned();
                let is_ours = folder.is_empty() && file_name == LOCK;
                let name = if folder.is_empty() { file_name } else { format!("{folder}/{file_name}") };
                match entry.metadata() {
                    // removed meanwhile
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    meta => {
                        let meta = meta.map_err(self.failed("look at", &entry.path()))?;
                        if meta.is_dir() {
                            folders.push(name);
                        } else if !is_ours && !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                            listed.push(Listed { name, bytes: meta.len() });
                        }
                    }
                }
            }
        }
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.map_err(self.failed("remove", &path))?,
        }
        // the folder of a snapshot goes with the last of its parts
        if let Some(folder) = path.parent().filter(|folder| *folder != self.dir && !folder.ends_with("log")) {
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// No two contents of an object of an archive are the same.
fn version_of(bytes: &[u8]) -> Version {
    Version { tag: Some(format!("{:032x}", xxh3_128(bytes))), number: None }
}
