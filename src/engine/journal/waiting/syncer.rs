//! Syncing: the sync thread, and the threads that block until it has done its work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::clock;
use crate::engine::journal::core::{Core, FailOnPanic};
use crate::engine::journal::segments::segment::Segment;
use crate::engine::journal::{Fault, Fsync, JournalError, Seq};
use crate::sync::atomic::Ordering;

/// How often `everysec` syncs, and how long a sync may take before it counts as slow.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Passing a sync to the sync thread and being woken by it costs 20 to 50 µs. If syncs take much longer than that, it
/// is better to do something else meanwhile.
const SYNCED_ASIDE_US: u64 = 1_000;
/// The sync thread waits for the writers that it has just served, for this part of the time that the sync took.
const CROWD_PART: u32 = 8;
/// And no longer than this, however slow the disk is.
const CROWD_AWAITED_MAX: Duration = Duration::from_millis(5);

/// The writers that a slow sync has served. They will soon be back with their next writes. If the next sync began
/// without them, they would wait for that sync and for another one, and each sync would serve only a part of the writers.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    /// The last entry when all of them are back, one entry for each that the sync served.
    back_at: Seq,
    until: Instant,
}

impl Crowd {
    /// Nobody is waited for.
    fn none(now: Instant) -> Crowd {
        Crowd { back_at: 0, until: now }
    }

    /// Those that a sync has served, which took so long, when the last entry is this one.
    fn served(count: u64, took: Duration, last: Seq, now: Instant) -> Crowd {
        if took.as_micros() <= u128::from(SYNCED_ASIDE_US) {
            return Crowd::none(now);
        }
        Crowd { back_at: last.saturating_add(count), until: now + (took / CROWD_PART).min(CROWD_AWAITED_MAX) }
    }

    fn is_awaited(&self, last: Seq, now: Instant) -> bool {
        last < self.back_at && now < self.until
    }
}

impl Core {
    /// The sync thread.
    pub fn run_syncs(&self) {
        let _failing = FailOnPanic(self);
        let mut last_sync = clock::monotonic();
        let mut crowd = Crowd::none(last_sync);
        while self.await_sync(last_sync, crowd) {
            last_sync = clock::monotonic();
            let before = self.durable();
            self.sync();
            let (now, served) = (clock::monotonic(), self.durable().saturating_sub(before));
            crowd = Crowd::served(served, now.duration_since(last_sync), self.last(), now);
        }
    }

    /// Does what the policy promises to all tasks that wait with `poll_gathered`.
    pub fn sync_gathered(&self) {
        let _failing = FailOnPanic(self);
        if self.fsync() != Fsync::Always {
            self.write_unless_busy();
        } else if !self.waiters.lock().is_empty() {
            match self.turn.try_lock() {
                Some(_turn) if !self.is_slow() => self.sync_in_turn(),
                _ => self.have_synced(self.last()),
            }
        }
    }

    /// Whether `acknowledge` takes no longer than a short sync.
    pub fn is_acknowledged_soon(&self, seq: Seq) -> bool {
        let is_confirmed = self.confirmed.load(Ordering::Acquire) >= seq;
        self.acknowledged() >= seq || is_confirmed && (self.fsync() != Fsync::Always || !self.is_slow())
    }

    /// Whether the last sync took so long that it is better done on the sync thread.
    fn is_slow(&self) -> bool {
        self.stats.last_sync_us.load(Ordering::Relaxed) > SYNCED_ASIDE_US
    }

    /// Makes everything up to `seq` as durable as the policy promises, on this thread, however long that takes.
    pub fn acknowledge(&self, seq: Seq) -> Result<(), Fault> {
        let _failing = FailOnPanic(self);
        let seq = seq.min(self.last());
        while self.acknowledged() < seq {
            let (failed, stopping) = {
                let waiters = self.waiters.lock();
                (waiters.failed.clone(), waiters.stopping)
            };
            if let Some(fault) = failed.or(stopping.then_some(Fault::Closed)) {
                return Err(fault);
            }
            if self.is_kept(seq) {
                return self.wait_confirmed(seq);
            }
            if self.fsync() == Fsync::Always {
                let _turn = self.turn.lock();
                // the thread that had the mutex before may have done it
                if self.durable() < seq {
                    self.sync_in_turn();
                }
            } else {
                let mut writer = self.writer.lock();
                if self.written() < seq {
                    // if that fails, the next check returns the error
                    let _ = self.write_pending(&mut writer);
                }
                drop(writer);
                if self.is_write_wanted() {
                    self.write_unless_busy();
                }
            }
        }
        Ok(())
    }

    /// Asks the sync thread to make everything up to `seq` durable.
    pub fn have_synced(&self, seq: Seq) {
        let mut waiters = self.waiters.lock();
        waiters.forced = waiters.forced.max(seq);
        self.sync_wanted.notify_one();
    }

    /// Makes everything taken so far durable.
    fn sync(&self) {
        let _turn = self.turn.lock();
        self.sync_in_turn();
    }

    fn sync_in_turn(&self) {
        // before whoever panics gives the turn back
        let _failing = FailOnPanic(self);
        let (target, segments) = {
            let mut writer = self.writer.lock();
            // A thread that had the turn before and failed has taken the segments that had to be synced. Without this
            // check there would be nothing left to sync, and everything written would count as durable.
            if self.waiters.lock().failed.is_some() || self.write_pending(&mut writer).is_err() {
                return;
            }
            (self.written(), self.ledger.lock().take_dirty())
        };
        if self.is_write_wanted() {
            self.write_unless_busy();
        }
        match self.sync_segments(&segments) {
            Ok(()) => self.publish_durable(target),
            Err(error) => drop(self.fail(error.to_string())),
        }
    }

    /// Requests a sync now, and blocks until everything up to `seq` is synced.
    pub fn wait_durable(&self, seq: Seq) -> Result<(), Fault> {
        let seq = seq.min(self.last());
        let mut waiters = self.waiters.lock();
        loop {
            if self.durable() >= seq {
                return Ok(());
            }
            if let Some(fault) = &waiters.failed {
                return Err(fault.clone());
            }
            if waiters.stopping {
                return Err(Fault::Closed);
            }
            waiters.forced = waiters.forced.max(seq);
            self.sync_wanted.notify_one();
            self.durable_moved.wait(&mut waiters);
        }
    }

    /// Sleeps until there is something to sync, and the crowd is back. Returns false when it is time to stop.
    fn await_sync(&self, last_sync: Instant, crowd: Crowd) -> bool {
        let mut waiters = self.waiters.lock();
        while !waiters.stopping {
            let fsync = self.fsync();
            let now = clock::monotonic();
            if waiters.failed.is_some() {
                self.sync_wanted.wait(&mut waiters);
            } else if waiters.forced > self.durable() {
                if fsync != Fsync::Always || !crowd.is_awaited(self.last(), now) {
                    return true;
                }
                self.sync_wanted.wait_until(&mut waiters, crowd.until);
            } else if fsync != Fsync::EverySec {
                self.sync_wanted.wait(&mut waiters);
            } else if self.last() == self.durable() {
                self.sync_wanted.wait_until(&mut waiters, now + SYNC_INTERVAL);
            } else if now >= last_sync + SYNC_INTERVAL {
                return true;
            } else {
                self.sync_wanted.wait_until(&mut waiters, last_sync + SYNC_INTERVAL);
            }
        }
        false
    }

    pub fn sync_segments(&self, segments: &[Arc<Segment>]) -> Result<(), JournalError> {
        for segment in segments {
            let start = clock::monotonic();
            let path = || self.dir.join(segment.name.to_string());
            segment.file.sync().map_err(|error| JournalError::io("sync", &path(), error))?;
            let took = clock::monotonic().duration_since(start);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.stats.syncs.fetch_add(1, Ordering::Relaxed);
            self.stats.last_sync_us.store(micros, Ordering::Relaxed);
            self.stats.max_sync_us.fetch_max(micros, Ordering::Relaxed);
            self.stats.slow_syncs.fetch_add(u64::from(took >= SYNC_INTERVAL), Ordering::Relaxed);
        }
        Ok(())
    }

    fn publish_durable(&self, durable: Seq) {
        self.durable.fetch_max(durable, Ordering::AcqRel);
        self.wake_acknowledged();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_a_slow_sync_served_are_awaited_and_not_for_long() {
        const SLOW: Duration = Duration::from_millis(8);
        let now = clock::monotonic();
        let after = |micros| now + Duration::from_micros(micros);
        // served, the last entry then, time of the sync; the last entry later, how much later
        let cases = [
            // four writers were served while four others came; all eight are awaited
            (4, 104, SLOW, 104, 0, true),
            (4, 104, SLOW, 107, 0, true),
            (4, 104, SLOW, 108, 0, false),
            // a writer that is alone never waits
            (1, 100, SLOW, 101, 0, false),
            // nobody is awaited longer than an eighth of the sync
            (4, 104, SLOW, 104, 999, true),
            (4, 104, SLOW, 104, 1_000, false),
            (4, 104, Duration::from_secs(8), 104, 5_000, false),
            // a short sync is over before a wait would be
            (4, 104, Duration::from_micros(1_000), 104, 0, false),
            (4, Seq::MAX, SLOW, Seq::MAX, 0, false),
        ];
        for (served, last, took, later, micros, is_awaited) in cases {
            let crowd = Crowd::served(served, took, last, now);
            assert_eq!(
                crowd.is_awaited(later, after(micros)),
                is_awaited,
                "{served} {last} {took:?} {later}"
            );
        }
        assert!(!Crowd::none(now).is_awaited(0, now));
    }
}
