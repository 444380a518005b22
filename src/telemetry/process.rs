//! What the system reports about this process: memory, processor time and file descriptors, from Linux's `/proc` and
//! the allocator's counters. If either is missing, the numbers are 0.

use std::fs;

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// What the program has allocated and not freed.
    pub allocated: u64,
    /// Pages of the allocator with something in them.
    pub active: u64,
    /// Pages of the allocator that are in memory.
    pub resident: u64,
    /// All pages of the process that are in memory.
    pub rss: u64,
    /// Those of them that are not backed by a file: without the LMDB map, whose pages the system reclaims when it needs
    /// them.
    pub rss_anonymous: u64,
    /// What the machine has.
    pub system: u64,
}

pub fn memory() -> Memory {
    use tikv_jemalloc_ctl::stats;

    refresh_allocator();
    let bytes = |counter: Result<usize, _>| counter.map_or(0, |bytes: usize| bytes as u64);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Memory {
        allocated: bytes(stats::allocated::read()),
        active: bytes(stats::active::read()),
        resident: bytes(stats::resident::read()),
        rss: kilobytes(&status, "VmRSS:"),
        rss_anonymous: kilobytes(&status, "RssAnon:"),
        system: kilobytes(&machine, "MemTotal:"),
    }
}

/// What the program has allocated and not freed.
pub fn allocated_bytes() -> u64 {
    refresh_allocator();
    tikv_jemalloc_ctl::stats::allocated::read().map_or(0, |bytes| bytes as u64)
}

/// Makes the allocator return memory to the system in the background, some seconds after it was freed. Otherwise it
/// does so only on threads that continue to allocate, and an idle server keeps the memory of its busiest time.
pub fn return_memory_in_background() {
    let started = tikv_jemalloc_ctl::max_background_threads::write(1)
        .and_then(|()| tikv_jemalloc_ctl::background_thread::write(true));
    if let Err(error) = started {
        tracing::warn!(%error, "the allocator has no thread of its own, so unused memory is returned to the system later");
    }
}

/// Makes the allocator return all unused memory to the system at once.
///
/// An arena with a decay time of 0 ms returns all unused pages; then its usual decay time is restored.
pub fn return_memory() {
    use tikv_jemalloc_ctl::{Access, AsName, arenas};

    for arena in 0..arenas::narenas::read().unwrap_or(0) {
        for pages in ["dirty", "muzzy"] {
            let name = format!("arena.{arena}.{pages}_decay_ms\0");
            let decay = name.as_bytes().name();
            // an arena that was never used can't be asked, and has nothing
            if let Ok(usual_ms) = Access::<isize>::update(decay, 0) {
                let _ = decay.write(usual_ms);
            }
        }
    }
}

/// The allocator's counters change only when they are refreshed.
fn refresh_allocator() {
    let _ = tikv_jemalloc_ctl::epoch::advance();
}

/// The bytes of a line like `VmRSS:     1234 kB`.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim_end().parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// Processor time, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

/// Of the whole process.
pub fn cpu() -> Cpu {
    parse_stat(&fs::read_to_string("/proc/self/stat").unwrap_or_default())
}

fn parse_stat(stat: &str) -> Cpu {
    /// The kernel counts in hundredths of a second for programs, whatever its own clock.
    const TICKS_PER_SECOND: f64 = 100.0;
    // the name of the program comes first, in parentheses, and may itself hold spaces and parentheses
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let seconds = |at: usize| {
        let ticks = fields.split_whitespace().nth(at).and_then(|field| field.parse::<u64>().ok());
        ticks.unwrap_or(0) as f64 / TICKS_PER_SECOND
    };
    // fields 14 and 15 of proc(5), which counts from 1 and begins before the name
    Cpu { user: seconds(11), system: seconds(12) }
}

/// Raises the number of files and sockets that this process may open, as far as its hard limit allows (`ulimit -Hn`).
/// Returns the limit that is now in effect; never lowers it.
pub fn allow_descriptors(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (now, most) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let raised = wanted.min(most);
    if raised > now && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok() {
        return raised;
    }
    now
}

/// `Linux 6.1.0-13-amd64 x86_64`.
pub fn operating_system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = if cfg!(target_os = "linux") { "Linux" } else { std::env::consts::OS };
    format!("{system} {} {}", release.trim(), std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_this_process() {
        let memory = memory();
        assert!(memory.rss > 1 << 20, "{memory:?}");
        assert!(memory.rss_anonymous <= memory.rss && memory.rss < memory.system, "{memory:?}");
    }

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "1234 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 75 0 0 20 0 1 0 12345";
        assert_eq!(parse_stat(stat), Cpu { user: 2.5, system: 0.75 });
        assert_eq!(parse_stat(""), Cpu::default());
    }
}
