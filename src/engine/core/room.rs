//! Back-pressure: the memtable and the journal are bounded, and writers wait for a checkpoint instead of growing them.
//!
//! A write is accepted only if LMDB has space for it together with everything that is still in memory. A full disk
//! therefore refuses new writes, and a checkpoint of the accepted ones succeeds.
//!
//! Commands that remove records or empty stores may use more room than others ([`Claim`]), because that is how space
//! comes back when checkpoints fail for lack of disk space. The sweeper, for which nobody waits, may use less, and
//! leaves the rest to clients.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::engine::error::{Error, NoRoom};
use crate::engine::journal::Claim;
use crate::limits::{JOURNAL_BYTES_PER_MEMTABLE, LMDB_BYTES_PER_MEMTABLE};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};

pub struct Room {
    memtable_bytes_max: usize,
    /// The journal is so long that it takes no more before a checkpoint has ended.
    is_journal_full: AtomicBool,
    /// Bytes that checkpoints may still add to LMDB.
    space_bytes: AtomicU64,
    shortage: Mutex<Option<Shortage>>,
    waiting: Mutex<Vec<Waker>>,
    /// The last checkpoint failed, so there is no point in waiting for the next.
    stuck: AtomicBool,
    /// Why it failed.
    failure: Mutex<String>,
    closing: Mutex<bool>,
    closed: Condvar,
}

/// Space that a write did not find.
struct Shortage {
    lacking_bytes: u64,
    why: String,
}

/// The most space that changes in memory take in LMDB.
fn space_for(memtable_bytes: usize) -> u64 {
    (memtable_bytes as u64).saturating_mul(LMDB_BYTES_PER_MEMTABLE)
}

impl Room {
    pub fn new(memtable_bytes_max: usize) -> Room {
        Room {
            memtable_bytes_max,
            is_journal_full: AtomicBool::new(false),
            space_bytes: AtomicU64::new(u64::MAX),
            shortage: Mutex::new(None),
            waiting: Mutex::new(Vec::new()),
            stuck: AtomicBool::new(false),
            failure: Mutex::default(),
            closing: Mutex::new(false),
            closed: Condvar::new(),
        }
    }

    /// Whether a checkpoint has to begin: when the active memtable is half full, so that as much again fits while it runs;
    /// or when the journal has grown by the size of a memtable, so that frequent changes of few records make neither the
    /// journal nor its replay long. If the journal asked for it earlier, the same records would be written more often.
    pub fn is_checkpoint_due(&self, active_bytes: usize, journal_bytes: u64) -> bool {
        active_bytes >= self.memtable_bytes_max / 2 || journal_bytes >= self.memtable_bytes_max as u64
    }

    /// Whether a checkpoint that is being written should hurry: the memtable is nearly full, or the journal has grown so
    /// much meanwhile that a restart would replay for a second or more.
    pub fn is_short(&self, memtable_bytes: usize, journal_bytes: u64) -> bool {
        let journal_bytes_max = self.memtable_bytes_max.saturating_mul(2) as u64;
        memtable_bytes >= self.memtable_bytes_max / 4 * 3 || journal_bytes >= journal_bytes_max
    }

    fn journal_bytes_max(&self) -> u64 {
        (self.memtable_bytes_max as u64).saturating_mul(JOURNAL_BYTES_PER_MEMTABLE)
    }

    /// Records how much the journal has grown since the last checkpoint began. Frequent changes of few records don't
    /// fill the memtable, but their journal entries have to be kept, and replayed at a start.
    pub fn note_journal_bytes(&self, journal_bytes: u64) {
        let is_full = journal_bytes >= self.journal_bytes_max();
        if self.is_journal_full.load(Ordering::Relaxed) != is_full {
            self.is_journal_full.store(is_full, Ordering::Relaxed);
        }
    }

    /// Records how many bytes checkpoints may still add to LMDB.
    pub fn note_space(&self, bytes: u64) {
        self.space_bytes.store(bytes, Ordering::Relaxed);
        let mut shortage = self.shortage.lock();
        if shortage.as_ref().is_some_and(|shortage| shortage.lacking_bytes <= bytes) {
            *shortage = None;
            tracing::info!("LMDB has space again: writes are accepted");
        }
    }

    /// Whether LMDB has space for what is in memory and an entry of so many bytes.
    pub fn has_space(&self, memtable_bytes: usize, bytes: usize) -> bool {
        space_for(memtable_bytes.saturating_add(bytes)) <= self.space_bytes.load(Ordering::Relaxed)
    }

    /// Records that an entry of so many bytes was refused for lack of space.
    pub fn note_shortage(&self, bytes: usize, why: &str) {
        let (mut shortage, lacking_bytes) = (self.shortage.lock(), space_for(bytes));
        match &mut *shortage {
            Some(shortage) => shortage.lacking_bytes = shortage.lacking_bytes.min(lacking_bytes),
            None => {
                tracing::error!(why, "LMDB has no space for more: only removals and flushes are accepted");
                *shortage = Some(Shortage { lacking_bytes, why: why.to_owned() });
            }
        }
    }

    /// Why writes are refused for lack of space, if they are.
    pub fn shortage(&self) -> Option<String> {
        self.shortage.lock().as_ref().map(|shortage| shortage.why.clone())
    }

    /// Whether there is room for such an entry of so many bytes.
    pub fn is_open(&self, memtable_bytes: usize, bytes: usize, claim: Claim) -> bool {
        match claim {
            Claim::Ordinary => {
                memtable_bytes < self.memtable_bytes_max
                    && !self.is_journal_full.load(Ordering::Relaxed)
                    && self.has_space(memtable_bytes, bytes)
            }
            Claim::Removal => memtable_bytes < self.memtable_bytes_max / 4 * 5,
            // it takes nothing
            Claim::Flush => true,
        }
    }

    /// Whether there is room for removals by the sweeper. Otherwise it removes later, and clients write meanwhile. Only
    /// while checkpoints fail may it use the room that is kept for removals.
    pub fn is_open_for_sweeper(&self, memtable_bytes: usize) -> bool {
        if self.stuck.load(Ordering::Acquire) {
            self.is_open(memtable_bytes, 0, Claim::Removal)
        } else {
            memtable_bytes < self.memtable_bytes_max / 4 * 3 && !self.is_journal_full.load(Ordering::Relaxed)
        }
    }

    /// Ready once there is room for such an entry.
    pub fn poll(
        &self,
        bytes: usize,
        claim: Claim,
        cx: &mut Context<'_>,
        memtable_bytes: impl Fn() -> usize,
    ) -> Poll<Result<(), Error>> {
        if self.is_open(memtable_bytes(), bytes, claim) {
            return Poll::Ready(Ok(()));
        }
        if self.stuck.load(Ordering::Acquire) {
            let failure = self.failure.lock().clone();
            if claim == Claim::Ordinary && self.is_journal_full.load(Ordering::Relaxed) {
                return Poll::Ready(Err(Error::NoRoom(NoRoom::Journal {
                    bytes_max: self.journal_bytes_max(),
                    times: JOURNAL_BYTES_PER_MEMTABLE,
                    failure,
                })));
            }
            let takes_removals = self.is_open(memtable_bytes(), bytes, Claim::Removal);
            return Poll::Ready(Err(Error::NoRoom(NoRoom::Memory { failure, takes_removals })));
        }
        self.waiting.lock().push(cx.waker().clone());
        // a checkpoint may have ended before the waker was registered
        if self.is_open(memtable_bytes(), bytes, claim) || self.stuck.load(Ordering::Acquire) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Waits for the end of a checkpoint. Fails while checkpoints fail.
    pub fn poll_checkpoint(
        &self,
        cx: &mut Context<'_>,
        is_there: impl Fn() -> bool,
        refusal: impl FnOnce() -> Error,
    ) -> Poll<Result<(), Error>> {
        if self.stuck.load(Ordering::Acquire) {
            return Poll::Ready(Err(refusal()));
        }
        self.waiting.lock().push(cx.waker().clone());
        // a checkpoint may have ended before the waker was registered
        if is_there() || self.stuck.load(Ordering::Acquire) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Called when a checkpoint has ended, successfully or not.
    pub fn checkpoint_ended(&self, failure: Option<String>) {
        let is_stuck = failure.is_some();
        *self.failure.lock() = failure.unwrap_or_default();
        self.stuck.store(is_stuck, Ordering::Release);
        self.wake();
    }

    /// Wakes the waiters, so that they check again.
    pub fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Called when the engine closes.
    pub fn close(&self) {
        *self.closing.lock() = true;
        self.closed.notify_all();
    }

    /// Sleeps. Returns whether the engine closes meanwhile.
    pub fn closes_within(&self, time: Duration) -> bool {
        let mut closing = self.closing.lock();
        if !*closing {
            self.closed.wait_for(&mut closing, time);
        }
        *closing
    }
}

#[cfg(all(test, feature = "model"))]
mod model_tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use shuttle::future::block_on;

    use crate::engine::core::room::*;
    use crate::sync::atomic::AtomicUsize;
    use crate::sync::thread;

    #[test]
    fn who_waits_for_room_goes_on_when_a_checkpoint_ends() {
        for well in [true, false] {
            crate::model::check(2_000, move || {
                let (room, memtable_bytes) = (Arc::new(Room::new(100)), Arc::new(AtomicUsize::new(100)));
                let writers = [Claim::Ordinary, Claim::Ordinary].map(|claim| {
                    let (room, memtable_bytes) = (room.clone(), memtable_bytes.clone());
                    thread::spawn(move || {
                        let bytes = || memtable_bytes.load(Ordering::Relaxed);
                        block_on(poll_fn(|cx| room.poll(0, claim, cx, bytes))).is_ok()
                    })
                });
                let watcher = {
                    let (room, memtable_bytes) = (room.clone(), memtable_bytes.clone());
                    thread::spawn(move || {
                        let is_there = || memtable_bytes.load(Ordering::Relaxed) == 0;
                        let refusal = || Error::NoRoom(NoRoom::File("stuck".into()));
                        block_on(poll_fn(|cx| match is_there() {
                            true => Poll::Ready(Ok(())),
                            false => room.poll_checkpoint(cx, is_there, refusal),
                        }))
                        .is_ok()
                    })
                };
                if well {
                    // commit by commit
                    memtable_bytes.store(50, Ordering::Relaxed);
                    room.wake();
                    memtable_bytes.store(0, Ordering::Relaxed);
                }
                room.checkpoint_ended((!well).then(|| "on purpose".to_owned()));
                let outcomes = writers.into_iter().chain([watcher]).map(|thread| thread.join().unwrap());
                assert!(outcomes.eq([well; 3]));
            });
        }
    }

    #[test]
    fn who_sleeps_is_woken_by_the_end() {
        crate::model::check(500, || {
            let room = Arc::new(Room::new(100));
            let sleeper = room.clone();
            let sleeper = thread::spawn(move || assert!(sleeper.closes_within(Duration::MAX)));
            room.close();
            sleeper.join().unwrap();
        });
    }
}
