//! The running journal: the state that appends, writers, the sync thread and the stock thread share.
//!
//! Mutexes, outermost first. The last three are leaves: they are held for moments, and never together:
//!
//! | mutex | held by | while |
//! |---|---|---|
//! | `turn` | sync thread, restart, close | writing and syncing |
//! | `writer` | whoever writes what is pending, and the stock thread when the journal comes to rest | writing into the page cache |
//! | `maker` | stock thread, restart | making or renaming a segment |
//! | `plan`, `ledger`, `waiters` | anyone | changing memory |

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::plan::{Claim, Plan};
use super::recovery::Adopted;
use super::writer::Writer;
use super::{Fault, Fsync, JournalError, Options, Seq};
use crate::engine::journal::segments::ledger::Ledger;
use crate::engine::journal::segments::segment::{Maker, Segment};
use crate::engine::journal::waiting::waiters::{Waiters, wake_all};
use crate::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};

#[derive(Debug)]
pub struct Core {
    pub dir: PathBuf,
    pub options: Options,
    pub plan: Mutex<Plan>,
    /// With `plan`: the stock thread may have something to do.
    pub stock_changed: Condvar,
    /// With `plan`: threads that block for room may look again.
    pub room_moved: Condvar,
    pub ledger: Mutex<Ledger>,
    pub waiters: Mutex<Waiters>,
    /// With `waiters`: the sync thread may have something to do.
    pub sync_wanted: Condvar,
    /// With `waiters`: blocked threads may go on.
    pub durable_moved: Condvar,
    pub maker: Mutex<Maker>,
    pub turn: Mutex<()>,
    pub writer: Mutex<Writer>,
    // Each only grows, and last >= written >= durable.
    last: AtomicU64,
    pub written: AtomicU64,
    pub durable: AtomicU64,
    /// Everything up to here is durable elsewhere.
    pub released: AtomicU64,
    /// Segments with entries after this one are kept, even if they are durable elsewhere.
    pub copied: AtomicU64,
    /// Replies wait until their entries are copied up to here, too; `Seq::MAX` if they need not.
    pub confirmed: AtomicU64,
    pub pending_bytes: AtomicUsize,
    fsync: AtomicU8,
    pub stats: Stats,
    /// Called whenever the journal has failed.
    pub failure_listener: FailureListener,
}

/// The listener that is called when the journal has failed. The journal's outer mutexes are held meanwhile, so it must
/// neither call the journal nor wait.
#[derive(Default)]
pub struct FailureListener(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl FailureListener {
    /// There can be only one.
    pub fn set(&self, listener: Box<dyn Fn() + Send + Sync>) {
        let _ = self.0.set(listener);
    }

    fn call(&self) {
        if let Some(listener) = self.0.get() {
            listener();
        }
    }
}

impl fmt::Debug for FailureListener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FailureListener")
    }
}

#[derive(Debug, Default)]
pub struct Stats {
    pub frames: AtomicU64,
    pub bytes: AtomicU64,
    pub syncs: AtomicU64,
    pub slow_syncs: AtomicU64,
    pub last_sync_us: AtomicU64,
    pub max_sync_us: AtomicU64,
}

impl Core {
    /// A journal that continues after `last`, which is durable; entries up to `released` are also durable elsewhere.
    pub fn new(
        dir: PathBuf,
        options: Options,
        last: Seq,
        released: Seq,
        plan: Plan,
        adopted: Adopted,
    ) -> Core {
        let copied = options.copied;
        Core {
            dir,
            fsync: AtomicU8::new(options.fsync as u8),
            options,
            plan: Mutex::new(plan),
            stock_changed: Condvar::new(),
            room_moved: Condvar::new(),
            ledger: Mutex::new(Ledger::new(adopted.used)),
            waiters: Mutex::default(),
            sync_wanted: Condvar::new(),
            durable_moved: Condvar::new(),
            maker: Mutex::new(adopted.maker),
            turn: Mutex::new(()),
            writer: Mutex::new(Writer::new(adopted.previous)),
            last: AtomicU64::new(last),
            written: AtomicU64::new(last),
            durable: AtomicU64::new(last),
            released: AtomicU64::new(released),
            copied: AtomicU64::new(copied),
            confirmed: AtomicU64::new(Seq::MAX),
            pending_bytes: AtomicUsize::new(0),
            stats: Stats::default(),
            failure_listener: FailureListener::default(),
        }
    }

    pub fn last(&self) -> Seq {
        self.last.load(Ordering::Acquire)
    }

    pub fn written(&self) -> Seq {
        self.written.load(Ordering::Acquire)
    }

    pub fn durable(&self) -> Seq {
        self.durable.load(Ordering::Acquire)
    }

    pub fn released(&self) -> Seq {
        self.released.load(Ordering::Acquire)
    }

    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    pub fn fsync(&self) -> Fsync {
        match self.fsync.load(Ordering::Acquire) {
            0 => Fsync::Always,
            1 => Fsync::EverySec,
            _ => Fsync::No,
        }
    }

    /// The last entry that a reply may reflect under the policy.
    pub fn acknowledged(&self) -> Seq {
        let kept = match self.fsync() {
            Fsync::Always => self.durable(),
            Fsync::EverySec | Fsync::No => self.written(),
        };
        kept.min(self.confirmed.load(Ordering::Acquire))
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        self.fsync.store(fsync as u8, Ordering::Release);
        // Wakes all waiters, so that they check again what they wait for.
        let waiting = {
            let mut waiters = self.waiters.lock();
            self.sync_wanted.notify_one();
            waiters.take_through(Seq::MAX)
        };
        wake_all(waiting);
    }

    /// Takes an entry.
    pub fn append(&self, claim: Claim, encode: impl FnOnce(Seq, &mut Vec<u8>)) -> Result<Seq, Fault> {
        let mut plan = self.plan.lock();
        let seq = plan.push(claim, encode)?;
        self.pending_bytes.store(plan.pending_bytes(), Ordering::Relaxed);
        self.last.store(seq, Ordering::Release);
        if plan.stock.is_resting && !plan.may_go_on_resting(self.options.rest_bytes) {
            plan.stock.is_resting = false;
            self.stock_changed.notify_one(); // to have segments ready again
        }
        Ok(seq)
    }

    /// Begins the first segment, after `last`. If there is no space for it, the stock thread keeps trying.
    pub fn begin(&self, last: Seq) -> Result<(), JournalError> {
        if self.plan.lock().stock.spares.is_empty()
            && let Err(error) = self.restock(self.options.rest_bytes)
        {
            tracing::warn!(%error, "there is no space for the journal; writes are refused until there is");
            self.plan.lock().stock.shortage = Some(error.to_string());
            self.use_reserve();
        }
        let room = self.begin_segment()?;
        self.plan.lock().resume(last, room);
        Ok(())
    }

    /// Abandons all segments and begins a new one after `after`. Everything up to `after` is durable elsewhere.
    pub fn restart(&self, after: Seq) -> Result<(), Fault> {
        let _turn = self.turn.lock();
        let (is_failed, is_stopping) = {
            let waiters = self.waiters.lock();
            (waiters.failed.is_some(), waiters.stopping)
        };
        if is_stopping {
            return Err(Fault::Closed);
        }
        if !is_failed {
            return Ok(());
        }
        let last = self.last();
        if after < last {
            return Err(Fault::Failed(format!("cannot restart after entry {after}, {last} have been taken")));
        }
        let damaged = {
            let _writer = self.writer.lock();
            self.last.store(after, Ordering::Release);
            self.written.store(after, Ordering::Release);
            self.durable.store(after, Ordering::Release);
            self.released.store(after, Ordering::Release);
            self.ledger.lock().abandon()
        };
        self.remove_damaged(&damaged); // first, since the new segment may need their space
        let room = self.begin_anew().map_err(|error| Fault::Failed(error.to_string()))?;
        {
            let mut waiters = self.waiters.lock();
            waiters.failed = None;
            // The sync thread sleeps without a deadline while the journal has failed.
            self.sync_wanted.notify_one();
        }
        self.plan.lock().resume(after, room); // from here on entries are taken
        tracing::info!(after, "the journal continues in a new segment");
        Ok(())
    }

    fn remove_damaged(&self, damaged: &[Arc<Segment>]) {
        let mut maker = self.maker.lock();
        for segment in damaged {
            // Whatever remains is durable elsewhere, and is removed when the journal is next opened.
            if let Err(error) = maker.remove(segment.name) {
                tracing::warn!(%error, "a damaged journal segment can't be removed");
            }
        }
    }

    fn begin_anew(&self) -> Result<u64, JournalError> {
        if self.plan.lock().stock.spares.is_empty()
            && let Err(error) = self.restock(self.options.segment_bytes)
        {
            self.use_reserve();
            if self.plan.lock().stock.spares.is_empty() {
                return Err(error);
            }
        }
        self.begin_segment()
    }

    /// Makes one spare.
    fn restock(&self, bytes: u64) -> Result<(), JournalError> {
        let mut maker = self.maker.lock();
        let segment = maker.make(bytes)?;
        self.plan.lock().add_spare(segment);
        Ok(())
    }

    /// Gives up entries up to `through`, which are durable elsewhere.
    pub fn release(&self, through: Seq) {
        self.released.fetch_max(through, Ordering::AcqRel);
        self.give_up_uncopied(self.options.uncopied_bytes_max);
        self.remove_released();
    }

    /// Gives up the segments that nobody needs any more.
    pub fn remove_released(&self) {
        let through = self.released().min(self.copied.load(Ordering::Acquire));
        let released = self.ledger.lock().release(through);
        if !released.is_empty() {
            self.plan.lock().stock.discarded.extend(released);
            self.stock_changed.notify_one();
        }
    }

    /// Removes all segments of a journal that is closed, if what they hold is durable elsewhere. Those that can't be removed
    /// hold nothing that counts, and go when the journal opens next.
    pub fn clear(&self) -> Result<(), JournalError> {
        if self.released().min(self.copied.load(Ordering::Acquire)) < self.last() {
            return Ok(());
        }
        let mut segments = self.ledger.lock().abandon();
        {
            let stock = &mut self.plan.lock().stock;
            segments.extend(stock.spares.drain(..).chain(stock.discarded.drain(..)));
        }
        let names: Vec<_> = segments.iter().map(|segment| segment.name).collect();
        self.maker.lock().remove_all(&names)
    }

    /// Wakes the waiters whose entries are acknowledged.
    pub fn wake_acknowledged(&self) {
        let satisfied = {
            let mut waiters = self.waiters.lock();
            self.durable_moved.notify_all();
            waiters.take_through(self.acknowledged())
        };
        wake_all(satisfied);
    }

    /// Marks the journal as failed: no more entries are accepted, and all waiters get the error. Nothing is tried again
    /// on the same files, because after a failed sync the kernel may have dropped what it could not write, and a second
    /// sync would succeed without it.
    pub fn fail(&self, why: String) -> Fault {
        let fault = Fault::Failed(why);
        let wants_room = {
            let mut plan = self.plan.lock();
            plan.abandon(fault.clone());
            self.pending_bytes.store(0, Ordering::Relaxed);
            self.wanting_room(&mut plan)
        };
        let waiting = {
            let mut waiters = self.waiters.lock();
            waiters.failed.get_or_insert_with(|| fault.clone());
            self.durable_moved.notify_all();
            waiters.take_through(Seq::MAX)
        };
        tracing::error!(%fault, "writes are refused until a checkpoint has restarted the journal; if that takes more than a few seconds, check the disk");
        wake_all(wants_room.into_iter().chain(waiting));
        self.failure_listener.call();
        fault
    }

    /// Tells the threads to end. Waiters for durability get an error.
    pub fn stop(&self) {
        let wants_room = {
            let mut plan = self.plan.lock();
            plan.refusal.get_or_insert(Fault::Closed);
            plan.stock.stopping = true;
            self.stock_changed.notify_all();
            self.wanting_room(&mut plan)
        };
        let waiting = {
            let mut waiters = self.waiters.lock();
            waiters.stopping = true;
            self.sync_wanted.notify_all();
            self.durable_moved.notify_all();
            waiters.take_through(Seq::MAX)
        };
        wake_all(wants_room.into_iter().chain(waiting));
    }
}

/// A journal thread that panics must not leave others waiting for it.
pub struct FailOnPanic<'a>(pub &'a Core);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("one of its threads panicked".to_owned());
        }
    }
}
