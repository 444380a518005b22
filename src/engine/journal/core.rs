//! The running journal: what appends, writers, the sync thread and the stock thread share.
//!
//! Mutexes, outermost first; the last three are leaves, held for moments and never while another of them is:
//!
//! | mutex | held by | while |
//! |---|---|---|
//! | `turn` | sync thread, restart, close | writing and syncing |
//! | `writer` | whoever writes what is pending | writing into the page cache |
//! | `maker` | stock thread, restart | making or renaming a segment |
//! | `plan`, `ledger`, `waiters` | anyone | changing memory |

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::format::{FRAMES_AT, FrameHeader, SegmentHeader};
use super::ledger::Ledger;
use super::plan::{Batch, Plan};
use super::recovery::Settled;
use super::segment::{Maker, Segment};
use super::waiters::{Waiters, wake_all};
use super::{Fault, Fsync, JournalError, Options, Seq};
use crate::engine::clock;

/// How often `everysec` syncs, and how long making a segment rests after a failure.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

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
    writer: Mutex<Writer>,
    // Each only grows, and last >= written >= durable.
    last: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    pending_bytes: AtomicUsize,
    fsync: AtomicU8,
    pub stats: Stats,
}

/// The end of the log, where frames are written.
#[derive(Debug)]
struct Writer {
    active: Option<Arc<Segment>>,
    /// Where the next frame goes in the active segment.
    offset: u64,
    /// Id of the segment in use, or used last; 0 for none.
    previous: u64,
    /// Serves the next batch.
    buffer: Vec<u8>,
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
    /// A journal that goes on behind `last`, which is durable.
    pub fn new(dir: PathBuf, options: Options, last: Seq, plan: Plan, settled: Settled) -> Core {
        Core {
            dir,
            fsync: AtomicU8::new(options.fsync as u8),
            options,
            plan: Mutex::new(plan),
            stock_changed: Condvar::new(),
            room_moved: Condvar::new(),
            ledger: Mutex::new(Ledger::new(settled.used)),
            waiters: Mutex::default(),
            sync_wanted: Condvar::new(),
            durable_moved: Condvar::new(),
            maker: Mutex::new(settled.maker),
            turn: Mutex::new(()),
            writer: Mutex::new(Writer {
                active: None,
                offset: 0,
                previous: settled.previous,
                buffer: Vec::new(),
            }),
            last: AtomicU64::new(last),
            written: AtomicU64::new(last),
            durable: AtomicU64::new(last),
            pending_bytes: AtomicUsize::new(0),
            stats: Stats::default(),
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

    /// How far a reply may go under the policy.
    pub fn acknowledged(&self) -> Seq {
        match self.fsync() {
            Fsync::Always => self.durable(),
            Fsync::EverySec | Fsync::No => self.written(),
        }
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        self.fsync.store(fsync as u8, Ordering::Release);
        // Everyone who waits looks again at what to wait for.
        let waiting = {
            let mut waiters = self.waiters.lock();
            self.sync_wanted.notify_one();
            waiters.take_through(Seq::MAX)
        };
        wake_all(waiting);
    }

    /// Takes an entry.
    pub fn append(&self, encode: impl FnOnce(Seq, &mut Vec<u8>)) -> Result<Seq, Fault> {
        let mut plan = self.plan.lock();
        let seq = plan.push(encode)?;
        self.pending_bytes.store(plan.pending_bytes(), Ordering::Relaxed);
        self.last.store(seq, Ordering::Release);
        Ok(seq)
    }

    /// Writes what is pending, unless someone else is doing so: then they will look again before they leave.
    ///
    /// Both sides of that promise: whoever is refused the mutex here has registered before calling, and whoever held it
    /// looks for the registered after giving it back.
    pub fn write_unless_busy(&self) {
        while let Some(mut writer) = self.writer.try_lock() {
            let written = self.write_pending(&mut writer);
            drop(writer);
            if written.is_err() || !self.is_write_wanted() {
                break;
            }
        }
    }

    fn is_write_wanted(&self) -> bool {
        self.fsync() != Fsync::Always && !self.waiters.lock().is_empty()
    }

    /// Writes what is pending into the page cache, a frame for each segment it goes to.
    fn write_pending(&self, writer: &mut Writer) -> Result<(), Fault> {
        let batches = {
            let mut plan = self.plan.lock();
            self.pending_bytes.store(0, Ordering::Relaxed);
            plan.fetch(&mut writer.buffer)
        };
        for mut batch in batches {
            let written = self.write_batch(writer, &mut batch);
            written.map_err(|error| self.fail(error.to_string()))?;
            writer.buffer = batch.frame;
        }
        if self.fsync() != Fsync::Always {
            self.wake_acknowledged();
        }
        Ok(())
    }

    fn write_batch(&self, writer: &mut Writer, batch: &mut Batch) -> Result<(), JournalError> {
        let broken = |what| JournalError::io("write to", &self.dir, std::io::Error::other(what));
        if batch.first != self.written() + 1 {
            // A writer that panicked took entries with it.
            return Err(broken(format!("entries {} to {} are lost", self.written() + 1, batch.first - 1)));
        }
        if let Some(segment) = batch.segment.take() {
            self.activate(writer, segment)?;
            self.stock_changed.notify_one();
        }
        let bytes = batch.frame.len() as u64;
        let segment = writer.active.as_ref().filter(|segment| writer.offset + bytes <= segment.bytes);
        let segment =
            segment.ok_or_else(|| broken(format!("no room was reserved for entry {}", batch.first)))?;
        let header =
            FrameHeader { entries: batch.entries, first: batch.first, durable_through: self.durable() };
        header.seal(&mut batch.frame, segment.name.salt, writer.offset);
        self.write(segment, &batch.frame, writer.offset)?;
        writer.offset += bytes;
        self.ledger.lock().wrote(batch.last());
        self.written.store(batch.last(), Ordering::Release);
        self.stats.frames.fetch_add(1, Ordering::Relaxed);
        self.stats.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Goes on to a segment from the stock.
    fn activate(&self, writer: &mut Writer, segment: Arc<Segment>) -> Result<(), JournalError> {
        let header = SegmentHeader {
            id: segment.name.id,
            previous: writer.previous,
            first: self.written() + 1,
            durable_through: self.durable(),
        };
        self.write(&segment, &header.encode(segment.name.salt), 0)?;
        self.ledger.lock().activate(Arc::clone(&segment), self.written());
        writer.previous = segment.name.id;
        writer.offset = FRAMES_AT;
        writer.active = Some(segment);
        Ok(())
    }

    fn write(&self, segment: &Segment, bytes: &[u8], offset: u64) -> Result<(), JournalError> {
        let path = || self.dir.join(segment.name.to_string());
        segment.file.write_at(bytes, offset).map_err(|error| JournalError::io("write to", &path(), error))
    }

    /// Makes everything taken so far durable.
    pub fn sync(&self) {
        let _turn = self.turn.lock();
        let (target, segments) = {
            let mut writer = self.writer.lock();
            if self.write_pending(&mut writer).is_err() {
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

    fn sync_segments(&self, segments: &[Arc<Segment>]) -> Result<(), JournalError> {
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

    fn wake_acknowledged(&self) {
        let satisfied = {
            let mut waiters = self.waiters.lock();
            self.durable_moved.notify_all();
            waiters.take_through(self.acknowledged())
        };
        wake_all(satisfied);
    }

    /// Gives up: nothing more is taken, and everyone waiting learns why. Nothing is tried again on the same files, since
    /// after a failed sync the kernel may have dropped what it could not write, and a second sync would succeed without it.
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
        tracing::error!(%fault, "writes are refused until a checkpoint has restarted the journal");
        wake_all(wants_room.into_iter().chain(waiting));
        fault
    }

    /// Blocks until everything up to `seq` is synced, and has it synced now.
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

    /// Takes a segment from the stock, writes its header and syncs it; gives the room in it. With an empty stock there is
    /// none, and the first append finds a segment or is refused.
    pub fn begin_segment(&self) -> Result<u64, JournalError> {
        let mut writer = self.writer.lock();
        let Some(segment) = self.plan.lock().stock.spares.pop_front() else {
            return Ok(0);
        };
        let room = segment.capacity();
        self.activate(&mut writer, segment)?;
        let dirty = self.ledger.lock().take_dirty();
        self.sync_segments(&dirty)?;
        Ok(room)
    }

    /// Leaves all segments behind and begins a new one after `after`, everything up to which is durable elsewhere.
    pub fn restart(&self, after: Seq) -> Result<(), Fault> {
        let _turn = self.turn.lock();
        let last = self.last();
        let failed = self.waiters.lock().failed.clone();
        if failed.is_none() {
            return Ok(());
        }
        if after < last {
            return Err(Fault::Failed(format!("cannot restart after entry {after}, {last} have been taken")));
        }
        let damaged = {
            let _writer = self.writer.lock();
            self.written.store(after, Ordering::Release);
            self.durable.store(after, Ordering::Release);
            self.ledger.lock().abandon()
        };
        let room = self.begin_anew().map_err(|error| Fault::Failed(error.to_string()))?;
        self.last.store(after, Ordering::Release);
        self.waiters.lock().failed = None;
        self.plan.lock().resume(after, room); // from here on entries are taken
        tracing::info!(after, "the journal goes on in a new segment");
        let maker = self.maker.lock();
        for segment in damaged {
            // What stays is all durable elsewhere, and goes when the journal opens next.
            if let Err(error) = maker.remove(segment.name) {
                tracing::warn!(%error, "a damaged journal segment stays");
            }
        }
        Ok(())
    }

    fn begin_anew(&self) -> Result<u64, JournalError> {
        if self.plan.lock().stock.spares.is_empty() {
            self.restock()?;
        }
        self.begin_segment()
    }

    /// Begins the first segment, behind `last`. Without space for it the stock thread goes on trying.
    pub fn begin(&self, last: Seq) -> Result<(), JournalError> {
        if self.plan.lock().stock.spares.is_empty()
            && let Err(error) = self.restock()
        {
            tracing::warn!(%error, "no space for the journal: writes are refused until there is");
            self.plan.lock().stock.shortage = Some(error.to_string());
        }
        let room = self.begin_segment()?;
        self.plan.lock().resume(last, room);
        Ok(())
    }

    /// Tells the threads to end. Whoever still waits for something to become durable learns that it will not.
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

    /// Makes one spare of the usual size.
    pub fn restock(&self) -> Result<(), JournalError> {
        let mut maker = self.maker.lock();
        let segment = maker.make(self.options.segment_bytes)?;
        self.plan.lock().add_spare(segment);
        Ok(())
    }

    /// Leaves a frame without entries behind the last one, as proof that all of it was synced: so that damage to the
    /// end of the log cannot be mistaken for a write that never finished.
    pub fn leave_mark(&self) -> Result<(), Fault> {
        let _turn = self.turn.lock();
        let mut writer = self.writer.lock();
        let Some(mut mark) = self.plan.lock().mark() else {
            return Ok(());
        };
        let synced = self.write_batch(&mut writer, &mut mark).and_then(|()| {
            let dirty = self.ledger.lock().take_dirty();
            self.sync_segments(&dirty)
        });
        synced.map_err(|error| self.fail(error.to_string()))
    }

    /// The sync thread.
    pub fn run_syncs(&self) {
        let _failing = FailOnPanic(self);
        let mut last_sync = clock::monotonic();
        while self.await_sync(last_sync) {
            last_sync = clock::monotonic();
            self.sync();
        }
    }

    /// Sleeps until there is something to sync; false when it is time to stop.
    fn await_sync(&self, last_sync: Instant) -> bool {
        let mut waiters = self.waiters.lock();
        while !waiters.stopping {
            let fsync = self.fsync();
            let now = clock::monotonic();
            if waiters.failed.is_some() {
                self.sync_wanted.wait(&mut waiters);
            } else if waiters.forced > self.durable() || fsync == Fsync::Always && !waiters.is_empty() {
                return true;
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
