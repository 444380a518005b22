//! A disk in memory that can fail, fill up and lose power at a chosen place. For tests.
//!
//! It keeps apart what was written and what was synced, by sectors of 512 bytes, and likewise for names. When the power
//! goes, each sector not synced is there or not, as the seed has it, and of the changes of names not synced some first
//! part is. A failed sync forgets what it should have written, as Linux does: a second one would succeed without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};

use crate::engine::journal::disk::{Disk, DiskFile};
pub use crate::random::SplitMix;

const SECTOR: usize = 512;

/// Where a fault can be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Fails with half of the bytes written.
    Write,
    Sync,
    Create,
    Rename,
    Remove,
    SyncDir,
    Read,
}

#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>, Arc<Gates>, Arc<Watch>);

/// Told before every operation that changes the disk.
#[derive(Default)]
struct Watch(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl Debug for Watch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Watch")
    }
}

/// Held to keep an operation from going on.
#[derive(Debug, Default)]
struct Gates {
    write: Mutex<()>,
    sync: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Contents>,
    /// File numbers by path: as seen now, and as after a power cut.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes since the last directory sync, oldest first.
    name_changes: Vec<NameChange>,
    /// How many more of an operation succeed before one fails.
    faults: BTreeMap<Operation, u64>,
    /// The fault that comes is a bug's.
    panics: bool,
    /// Bytes that fit, if the disk is bounded.
    capacity: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Link(path, file) => drop(names.insert(path.clone(), *file)),
            NameChange::Unlink(path) => drop(names.remove(path)),
            NameChange::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl SimDisk {
    /// Lets the operation fail once, after so many more successes.
    pub fn fail_after(&self, operation: Operation, successes: u64) {
        self.0.lock().faults.insert(operation, successes);
    }

    /// Lets the next operation of a kind panic, as if there were a bug.
    pub fn panic_at(&self, operation: Operation) {
        self.0.lock().panics = true;
        self.fail_after(operation, 0);
    }

    /// Has `watch` called before every operation from now on that changes the disk, on the thread that wants it.
    pub fn watch(&self, watch: impl Fn() + Send + Sync + 'static) {
        assert!(self.2.0.set(Box::new(watch)).is_ok(), "a disk has one watch");
    }

    fn tell(&self) {
        if let Some(watch) = self.2.0.get() {
            watch();
        }
    }

    /// Lets no write go on as long as the guard lives.
    pub fn hold_writes(&self) -> MutexGuard<'_, ()> {
        self.1.write.lock()
    }

    /// Lets no sync go on as long as the guard lives.
    pub fn hold_syncs(&self) -> MutexGuard<'_, ()> {
        self.1.sync.lock()
    }

    /// Lets files grow no further than to so many bytes in total.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    pub fn used_bytes(&self) -> u64 {
        self.0.lock().used_bytes()
    }

    /// The disk as it is after a power cut at this moment, of which `seed` decides the details.
    pub fn after_power_cut(&self, seed: u64) -> SimDisk {
        let state = self.0.lock();
        let mut random = SplitMix(seed);
        let mut names = state.durable_names.clone();
        let kept = random.below(state.name_changes.len() + 1);
        state.name_changes[..kept].iter().for_each(|change| change.apply(&mut names));
        // Sometimes all, sometimes nothing, mostly a part.
        let odds = [0, 1, 2, 3, 4][random.below(5)];
        let files = state.files.iter().map(|contents| {
            let mut contents = contents.clone();
            for sector in std::mem::take(&mut contents.dirty) {
                if random.below(4) < odds {
                    contents.persist(sector);
                }
            }
            Contents { now: contents.durable.clone(), ..contents }
        });
        SimDisk::from_files(files.collect(), names)
    }

    /// The disk as it is after the process was killed: everything written is there, and still not synced.
    pub fn after_kill(&self) -> SimDisk {
        let state = self.0.lock();
        SimDisk::from_state(State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            name_changes: state.name_changes.clone(),
            ..State::default()
        })
    }

    /// Paths and contents of all files.
    pub fn image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.0.lock();
        state.names.iter().map(|(path, file)| (path.clone(), state.files[*file].now.clone())).collect()
    }

    /// A disk that holds these files, synced.
    pub fn from_image(image: &BTreeMap<PathBuf, Vec<u8>>) -> SimDisk {
        let contents = image.values().map(|bytes| Contents {
            now: bytes.clone(),
            durable: bytes.clone(),
            dirty: BTreeSet::new(),
        });
        let names = image.keys().cloned().zip(0..);
        SimDisk::from_files(contents.collect(), names.collect())
    }

    fn from_files(files: Vec<Contents>, names: BTreeMap<PathBuf, usize>) -> SimDisk {
        SimDisk::from_state(State { files, durable_names: names.clone(), names, ..State::default() })
    }

    fn from_state(state: State) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(state)), Arc::default(), Arc::default())
    }

    fn change(&self, operation: Operation, change: NameChange) -> io::Result<()> {
        self.tell();
        let mut state = self.0.lock();
        state.meet_fault(operation)?;
        if let NameChange::Unlink(path) | NameChange::Rename(path, _) = &change
            && !state.names.contains_key(path)
        {
            return Err(ErrorKind::NotFound.into());
        }
        change.apply(&mut state.names);
        state.name_changes.push(change);
        Ok(())
    }

    fn file(&self, number: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), number })
    }
}

impl State {
    fn meet_fault(&mut self, operation: Operation) -> io::Result<()> {
        match self.faults.get_mut(&operation) {
            None => Ok(()),
            Some(0) => {
                self.faults.remove(&operation);
                assert!(!self.panics, "injected panic: {operation:?}");
                Err(io::Error::other(format!("injected fault: {operation:?}")))
            }
            Some(successes) => {
                *successes -= 1;
                Ok(())
            }
        }
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].now.len() as u64).sum()
    }
}

impl Contents {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn persist(&mut self, sector: usize) {
        let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.now.len());
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        self.durable[range.clone()].copy_from_slice(&self.now[range]);
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.0.lock();
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let named = inside.filter_map(|(path, file)| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((name, state.files[*file].now.len() as u64))
        });
        Ok(named.collect())
    }

    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut state = self.0.lock();
        state.meet_fault(Operation::Read)?;
        let file = state.names.get(path).ok_or(ErrorKind::NotFound)?;
        bytes.clone_from(&state.files[*file].now);
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let number = {
            let mut state = self.0.lock();
            state.files.push(Contents::default());
            state.files.len() - 1
        };
        self.change(Operation::Create, NameChange::Link(path.to_owned(), number))?;
        Ok(self.file(number))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.0.lock().names.get(path).copied().ok_or(ErrorKind::NotFound)?;
        Ok(self.file(number))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Operation::Rename, NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Remove, NameChange::Unlink(path.to_owned()))
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.tell();
        let mut state = self.0.lock();
        state.meet_fault(Operation::SyncDir)?;
        state.durable_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    number: usize,
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.tell();
        let _gate = self.disk.1.write.lock();
        let mut state = self.disk.0.lock();
        let (fault, offset) = (state.meet_fault(Operation::Write), offset as usize);
        let growth = (offset + bytes.len()).saturating_sub(state.files[self.number].now.len()) as u64;
        if state.capacity.is_some_and(|capacity| growth > 0 && state.used_bytes() + growth > capacity) {
            return Err(ErrorKind::StorageFull.into());
        }
        let written = if fault.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        state.files[self.number].write(written, offset);
        fault
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.0.lock();
        let rest = state.files[self.number].now.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.tell();
        let _gate = self.disk.1.sync.lock();
        let mut state = self.disk.0.lock();
        let fault = state.meet_fault(Operation::Sync);
        let contents = &mut state.files[self.number];
        for sector in std::mem::take(&mut contents.dirty) {
            if fault.is_ok() {
                contents.persist(sector);
            }
        }
        fault
    }
}
