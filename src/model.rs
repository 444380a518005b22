//! What the tests of the lock protocols share: a checker of interleavings, and a disk that knows what is durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

use crate::engine::journal::{Disk, DiskFile};

/// Threads whose order may change at the places that matter in one run, as PCT counts them.
const DEPTH: usize = 3;

/// Runs the threads of a test in so many orders, half of them by chance and half with priorities that change rarely, which
/// finds what takes long chains of events. `LARDER_MODEL_RUNS` says how many times as many. A failure prints the order,
/// which `shuttle::replay` repeats.
pub fn check(runs: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    let times = std::env::var("LARDER_MODEL_RUNS").map_or(1, |times| times.parse().unwrap());
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    let runs = runs * times / 2;
    Runner::new(RandomScheduler::new(runs), config.clone()).run(test.clone());
    Runner::new(PctScheduler::new(DEPTH, runs), config).run(test);
}

/// A disk in memory. A sync takes a while: others run between its begin and its end, and what they write is not durable
/// by it.
#[derive(Debug, Clone, Default)]
pub struct ModelDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, ModelFile>,
    /// How many more syncs succeed, if one is to fail.
    syncs_left: Option<usize>,
}

#[derive(Debug, Clone)]
struct ModelFile {
    disk: ModelDisk,
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ModelDisk {
    /// Has a sync fail, once so many have succeeded.
    pub fn fail_sync_after(&self, syncs: usize) {
        lock(&self.0).syncs_left = Some(syncs);
    }

    pub fn mend(&self) {
        lock(&self.0).syncs_left = None;
    }

    /// Whether these bytes would survive a power cut.
    pub fn is_durable(&self, bytes: &[u8]) -> bool {
        self.holds(bytes, |content| &content.durable)
    }

    /// Whether these bytes would survive the end of the process.
    pub fn is_written(&self, bytes: &[u8]) -> bool {
        self.holds(bytes, |content| &content.now)
    }

    fn holds(&self, bytes: &[u8], of: fn(&Content) -> &[u8]) -> bool {
        let files = lock(&self.0).files.clone();
        files.values().any(|file| memchr::memmem::find(of(&lock(&file.content)), bytes).is_some())
    }

    fn get(&self, path: &Path) -> io::Result<ModelFile> {
        lock(&self.0).files.get(path).cloned().ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Disk for ModelDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<(String, u64)>> {
        let files = lock(&self.0).files.clone();
        let named = files.iter().filter_map(|(path, file)| {
            Some((path.file_name()?.to_str()?.to_owned(), lock(&file.content).now.len() as u64))
        });
        Ok(named.collect())
    }

    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clone_from(&lock(&self.get(path)?.content).now);
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = ModelFile { disk: self.clone(), content: Arc::default() };
        lock(&self.0).files.insert(path.to_owned(), file.clone());
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.get(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let files = &mut lock(&self.0).files;
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).files.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for ModelFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut content, offset) = (lock(&self.content), offset as usize);
        let end = offset + bytes.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset..end].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = lock(&self.content);
        let rest = content.now.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let now = lock(&self.content).now.clone();
        thread::yield_now();
        if let Some(left) = &mut lock(&self.disk.0).syncs_left {
            *left = left.checked_sub(1).ok_or(io::Error::other("on purpose"))?;
        }
        lock(&self.content).durable = now;
        Ok(())
    }
}
