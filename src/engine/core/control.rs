//! How checkpoints are requested, and how they are going.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::engine::journal::Seq;

/// Requests checkpoints, and reports on them.
pub struct Control {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    /// Held by the thread that writes one.
    pub running: Mutex<()>,
    pub status: Mutex<CheckpointStatus>,
    pub pace: Pace,
    pub interval: Duration,
}

/// How large the commits of a checkpoint are: the longer the last ones took, the smaller the next.
///
/// Writers that wait for room wait for a commit, and a record whose pages have to be read from a disk first can take a
/// hundred times as long as one whose pages are in memory.
#[derive(Debug)]
pub struct Pace(AtomicUsize);

impl Pace {
    const COMMIT_TAKES_MAX: Duration = Duration::from_millis(100);
    /// Each commit costs two syncs, so there must not be too many.
    const PART_MAX: usize = 32;

    /// The next commit may have one part in so many of what a commit has at most.
    pub fn part(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes how long a commit took.
    pub fn note(&self, took: Duration) {
        let part = self.part();
        let next = if took > Pace::COMMIT_TAKES_MAX {
            (part * 2).min(Pace::PART_MAX)
        } else if took < Pace::COMMIT_TAKES_MAX / 4 {
            (part / 2).max(1)
        } else {
            part
        };
        self.0.store(next, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Wanted {
    now: bool,
    stop: bool,
}

/// How checkpoints are going.
#[derive(Debug, Clone, Default)]
pub struct CheckpointStatus {
    /// LMDB reflects the journal up to here.
    pub through: Seq,
    /// LMDB holds some changes up to here, and lacks records that those made unnecessary. It shows one instant when
    /// `through` has come this far.
    pub whole_from: Seq,
    pub running: bool,
    pub done: u64,
    /// When the last successful one ended, in milliseconds since 1970.
    pub last_ms: u64,
    /// How long the last one took, in milliseconds.
    pub last_took_ms: u64,
    pub last_records: u64,
    /// Why the last one failed, if it did.
    pub failure: Option<String>,
}

impl Control {
    pub fn new(interval: Duration, through: Seq, now_ms: u64) -> Control {
        let status = CheckpointStatus { through, last_ms: now_ms, ..CheckpointStatus::default() };
        Control {
            wanted: Mutex::default(),
            changed: Condvar::new(),
            running: Mutex::new(()),
            status: Mutex::new(status),
            pace: Pace(AtomicUsize::new(1)),
            interval,
        }
    }

    /// Makes the background thread write a checkpoint soon.
    pub fn request(&self) {
        let mut wanted = self.wanted.lock();
        if !wanted.now {
            wanted.now = true;
            self.changed.notify_all();
        }
    }

    pub fn stop(&self) {
        self.wanted.lock().stop = true;
        self.changed.notify_all();
    }

    pub fn status(&self) -> CheckpointStatus {
        self.status.lock().clone()
    }

    /// Whether there is something that a checkpoint would move to LMDB.
    pub fn is_behind(&self, last: Seq) -> bool {
        self.status.lock().through < last
    }

    /// Keeps checkpoints from running as long as the guard lives.
    #[cfg(test)]
    pub fn hold(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.running.lock()
    }

    /// Waits until a checkpoint is due. Returns false when the thread has to end.
    pub fn wait(&self, at_most: Duration) -> bool {
        let mut wanted = self.wanted.lock();
        if !wanted.now && !wanted.stop {
            self.changed.wait_for(&mut wanted, at_most);
        }
        wanted.now = false;
        !wanted.stop
    }

    pub fn is_wanted(&self) -> bool {
        let wanted = self.wanted.lock();
        wanted.now || wanted.stop
    }
}
