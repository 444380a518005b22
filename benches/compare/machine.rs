//! What the measurements were made on.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::results::median;

#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    /// The file system of the servers' data, and its device.
    pub disk: String,
    /// How long it takes to append 4 KB to a file and to sync it; the median.
    pub sync_us: f64,
}

impl Machine {
    pub fn describe(folder: &Path) -> Result<Machine, String> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or("?".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kb: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        Ok(Machine {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, |cores| cores.get()),
            memory_bytes: memory_kb * 1024,
            // without what a distributor or a cloud has added to its number
            kernel: read("/proc/sys/kernel/osrelease")
                .trim()
                .split('-')
                .next()
                .unwrap_or_default()
                .to_owned(),
            disk: disk_of(folder, &read("/proc/self/mounts")),
            sync_us: sync_us(folder).map_err(|error| format!("{}: {error}", folder.display()))?,
        })
    }
}

/// The mount with the longest path that contains the folder.
fn disk_of(folder: &Path, mounts: &str) -> String {
    let folder = folder.canonicalize().unwrap_or_default();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let holding = fields.filter(|fields| fields.len() > 2 && folder.starts_with(fields[1]));
    holding
        .max_by_key(|fields| fields[1].len())
        .map_or("?".to_owned(), |fields| format!("{} on {}", fields[2], fields[0]))
}

fn sync_us(folder: &Path) -> std::io::Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed().as_nanos() as f64 / 1e3);
    }
    Ok(median(times).unwrap_or(0.0))
}

/// Like 2026-11-30; empty if the system can't tell.
pub fn today() -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output();
    date.map_or(String::new(), |date| String::from_utf8_lossy(&date.stdout).trim().to_owned())
}

/// Allows this process and the servers that it starts as many descriptors as the system permits.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// How many random blocks of 4 KB threads can read in a second from a file, past the page cache.
pub fn random_reads_per_s(path: &Path, threads: usize) -> Result<f64, String> {
    const SPAN: Duration = Duration::from_secs(2);
    let stop = AtomicBool::new(false);
    let read = |seed| -> std::io::Result<u64> {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT;
        let mut file = File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?);
        let blocks = file.metadata()?.len() / 4096;
        let (mut random, mut count) = (fastrand::Rng::with_seed(seed), 0);
        // a direct read needs a buffer that begins at a block
        let mut buffer = vec![0; 2 * 4096];
        let from = buffer.as_ptr().align_offset(4096);
        while !stop.load(Ordering::Relaxed) {
            file.seek(SeekFrom::Start(random.u64(..blocks) * 4096))?;
            file.read_exact(&mut buffer[from..from + 4096])?;
            count += 1;
        }
        Ok(count)
    };
    std::thread::scope(|scope| {
        let read = &read;
        let readers: Vec<_> = (0..threads as u64).map(|seed| scope.spawn(move || read(seed))).collect();
        std::thread::sleep(SPAN);
        stop.store(true, Ordering::Relaxed);
        let mut sum = 0;
        for reader in readers {
            sum += reader
                .join()
                .map_err(|_| "a reader panicked")?
                .map_err(|error| format!("direct reads: {error}"))?;
        }
        Ok(sum as f64 / SPAN.as_secs_f64())
    })
}
