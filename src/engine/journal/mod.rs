//! The journal: an append-only, checksummed log of opaque entries. It is the reason why an acknowledged write survives.
//!
//! # How it works
//!
//! An entry is *taken* into memory by [`Journal::append`], which copies it and does nothing else, so it may be called
//! under the engine's lock. It is *written* when it has reached the page cache: then it survives the process. It is
//! *durable* when its file was synced: then it survives the machine. Entries are numbered from 1 without gaps; three
//! numbers say how far each step has come, and `last >= written >= durable` always holds.
//!
//! Replies wait with [`Journal::poll_gathered`], and the thread that runs the waiting tasks calls [`Journal::sync_gathered`]
//! when all of them have come as far as they can. That takes everything pending, writes it as one frame, syncs it under
//! `always`, and wakes exactly the tasks that are satisfied; what is taken meanwhile is the next frame. Where syncs are
//! slow, or another thread is syncing, the sync thread does it. The sync thread also syncs once a second under
//! `everysec`, when [`Journal::wait_durable`] asks, and for tasks that wait alone, with [`Journal::poll_acknowledged`].
//! A thread that may block does it itself, with [`Journal::acknowledge`]. If the disk stalls, writes stall with it.
//!
//! ```text
//!            append            write (a frame)              sync
//!   engine ---------> pending -----------------> page cache ------> disk
//!                     plan        whoever       segments    whoever syncs,
//!                                 syncs                     or sync thread
//!
//!   segment:  made (zeros, synced) -> spare -> active -> filled -> released -> recycled under a new name -> spare
//!             stock thread                    append    append    release      stock thread, or removed
//! ```
//!
//! Spares are needed only while there are writes. When everything is released and nothing was written for a while, the
//! journal *rests*: it gives up its spares and continues in a small segment, so that the previous one can be removed,
//! too. The rest ends when a quarter of the small segment is filled: new spares are then made while the remainder
//! fills. A journal that is closed with everything released leaves no segment.
//!
//! The stock thread makes segments ahead of need, because syncing a file that does not grow costs less than half. An
//! entry goes only where room is reserved, so a full disk refuses entries and never loses one that was taken. The last
//! of the room is kept for entries that free space ([`Claim`]), and so is a file, `reserve`, which becomes a segment
//! for them when no other can be made. An entry longer than a segment needs one of its own size: wait for it with
//! [`Journal::poll_room`].
//!
//! # When something fails
//!
//! After a failed write or sync the journal is *failed*: entries are refused, waiters get the error, and nothing is
//! tried again on those files, because the kernel may have dropped what it could not write. What was taken is still in
//! the engine's memory: when a checkpoint has made it durable elsewhere, [`Journal::restart`] continues in a new
//! segment.
//!
//! # Recovery
//!
//! Opening reads all segments in the order of their ids, and every frame in them that verifies, and replays the entries
//! after `after`; the database holds those up to `after`. The log ends before the first entry that cannot be found.
//! That is what a crash looks like: what was written and never synced may be there, or not, or in part, in any order.
//! But *damage* must not look like that. Therefore each header and each frame says up to where everything had been
//! synced when it was written, its *durable-through*, and the end is accepted only if nothing anywhere contradicts it:
//!
//! | found | outcome |
//! |---|---|
//! | the next entry, in a frame that verifies | replayed |
//! | damage in, or absence of, entries up to `after` | irrelevant |
//! | no next entry, and no durable-through reaches it | the log ends here; later frames are a crash's leavings, destroyed |
//! | no next entry, but a durable-through that reaches it | it was lost: refused, naming file, offset and entry |
//! | a segment that begins behind the next entry, and follows one that is missing | refused: names are durable before they are used, so no crash explains it |
//! | a segment that begins behind the next entry, and follows none | refused: the database is older than the journal |
//! | a segment that the [manifest](segments::manifest) lists, not older than the newest one in use, that is missing or was cut | refused: it is listed only while it is durable under its name |
//! | no manifest where there has to be one, or one of another journal | refused |
//! | the same entry in two frames | refused |
//! | the log ends before `after` | fine, the database is ahead: goes on behind `after` |
//! | a newer format version | refused |
//!
//! With [`Options::salvage`], the log ends at the loss for which it would otherwise be refused.
//!
//! What was replayed is synced before anything else, because it may have been only in the page cache. What was written
//! after the end is destroyed before a new entry gets one of those numbers. New entries go to a new segment. An orderly
//! close leaves a mark, a frame without entries, so that even the last entry is proven.
//!
//! # What it relies on
//!
//! The journal relies on these properties: a successful sync is true; an interrupted write leaves each byte in its
//! range old or new (frames of different syncs share pages); a rename is durable when its directory was synced;
//! overwriting allocated blocks needs no new ones. Where it does, as on a copy-on-write file system, a full disk fails
//! the journal instead of refusing entries. The journal notices bytes that change later, but damage to the very end of
//! the log, after what the manifest's last note covers, looks like a crash.
//!
//! It knows nothing about records, keys, LMDB or tokio. `append` and the polls may be called on any thread; two threads
//! of its own sync, and keep the stock.

pub mod copied;
mod core;
pub(crate) mod disk;
mod error;
mod format;
#[cfg(all(test, feature = "model"))]
mod model_tests;
mod plan;
mod recovery;
pub mod segments;
#[cfg(test)]
mod tests;
pub mod waiting;
mod writer;

use std::mem::take;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use self::core::Core;
pub use self::disk::{Disk, DiskFile, RealDisk};
pub use self::error::{Fault, JournalError};
pub use self::format::{ENTRY_BYTES_MAX, VERSION};
pub use self::plan::Claim;
use self::plan::{Plan, Stock};
pub use self::recovery::Replay;
use self::recovery::{Survey, adopt};
pub use crate::engine::journal::recovery::inspect::{Inspection, SegmentReport, inspect};
use crate::limits::{JOURNAL_KEPT_BYTES, JOURNAL_REST_BYTES, JOURNAL_UNCOPIED_BYTES_MAX};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread::{self, JoinHandle};

/// The number of an entry, from 1; 0 means before the first.
pub type Seq = u64;

/// Segments are whole pages, and one for the header is not enough.
const SEGMENT_BYTES_MIN: u64 = 2 * format::FRAMES_AT;

/// At most one part in so many of a segment is kept for entries that give space back.
const KEPT_PER_SEGMENT: u64 = 16;

/// When the journal is synced: the setting `appendfsync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before a reply.
    #[default]
    Always = 0,
    /// Once a second.
    EverySec = 1,
    /// When a checkpoint or the shutdown asks.
    No = 2,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub fsync: Fsync,
    /// Size of a segment, rounded up to whole pages.
    pub segment_bytes: u64,
    /// Segments made ahead of need.
    pub spares_min: usize,
    /// Segments kept for reuse once they are released.
    pub spares_max: usize,
    /// Size of the segment in which the journal rests, and begins; at most half of a usual one.
    pub rest_bytes: u64,
    /// How long nothing has to come before it rests.
    pub rest_after: Duration,
    /// The longest entry that is accepted, up to [`ENTRY_BYTES_MAX`].
    pub entry_bytes_max: usize,
    /// Room that is kept for entries that free space; less where segments are small.
    pub kept_bytes: u64,
    /// Let the log end where entries are lost, instead of refusing to open. What follows them is destroyed.
    pub salvage: bool,
    /// The [identity](Journal::identity) of the journal that has to be there, if the database knows one.
    pub identity: Option<u64>,
    /// Keep segments with entries after this one until they have been [copied](copied). `Seq::MAX`: keep none.
    pub copied: Seq,
    /// The most bytes of segments that wait to be copied; beyond, they are given up uncopied.
    pub uncopied_bytes_max: u64,
    /// How often the manifest notes how far entries are durable.
    pub note_interval: Duration,
    pub disk: Arc<dyn Disk>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            fsync: Fsync::Always,
            segment_bytes: 16 * 1024 * 1024,
            spares_min: 2,
            spares_max: 8,
            rest_bytes: JOURNAL_REST_BYTES,
            rest_after: Duration::from_secs(5),
            entry_bytes_max: ENTRY_BYTES_MAX,
            kept_bytes: JOURNAL_KEPT_BYTES,
            salvage: false,
            identity: None,
            copied: Seq::MAX,
            uncopied_bytes_max: JOURNAL_UNCOPIED_BYTES_MAX,
            note_interval: Duration::from_secs(1),
            disk: Arc::new(RealDisk),
        }
    }
}

/// What opening found.
#[derive(Debug)]
pub struct Recovery {
    /// Entries handed to the replay.
    pub replayed: u64,
    /// The last entry, whether from the journal or the database.
    pub last: Seq,
    /// The last entry that the files held, 0 for none. Less than what the database holds if files were removed, or if a
    /// checkpoint was ahead of the journal in a crash: nothing is lost then.
    pub last_found: Seq,
    /// What was given up for salvage.
    pub salvaged: Option<JournalError>,
}

/// How a journal is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub fsync: Fsync,
    pub last: Seq,
    pub written: Seq,
    pub durable: Seq,
    pub pending_bytes: usize,
    /// Segments with entries, and their bytes on disk.
    pub segments: usize,
    pub segments_bytes: u64,
    pub spares: usize,
    /// Bytes of all its files: segments with entries, spares and what is kept for entries that give space back.
    pub disk_bytes: u64,
    /// Since opening: frames and bytes written.
    pub frames: u64,
    pub bytes: u64,
    /// Since opening: file syncs, and those that took a second or more.
    pub syncs: u64,
    pub slow_syncs: u64,
    pub last_sync_us: u64,
    pub max_sync_us: u64,
    /// Why entries are refused until a restart.
    pub failure: Option<String>,
    /// Why no new segments can be made at the moment.
    pub shortage: Option<String>,
}

/// An open journal. Dropping it stops its threads and writes nothing: what counts is [closed](Journal::close).
#[derive(Debug)]
pub struct Journal {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal, creating it if it is missing, and hands every entry behind `after` to `replay`, in order.
    ///
    /// After an error nothing has changed that counts, and what was replayed is to be thrown away. A full disk is no
    /// error: entries are refused then until there is space.
    pub fn open<E: From<JournalError>>(
        dir: &Path,
        mut options: Options,
        after: Seq,
        replay: &mut Replay<'_, E>,
    ) -> Result<(Arc<Journal>, Recovery), E> {
        options.segment_bytes =
            options.segment_bytes.max(SEGMENT_BYTES_MIN).next_multiple_of(format::FRAMES_AT);
        let rest_bytes_max = (options.segment_bytes / 2).next_multiple_of(format::FRAMES_AT);
        options.rest_bytes =
            options.rest_bytes.clamp(SEGMENT_BYTES_MIN, rest_bytes_max.max(SEGMENT_BYTES_MIN));
        let disk = Arc::clone(&options.disk);
        disk.create_dir(dir).map_err(|error| JournalError::io("create", dir, error))?;

        let mut survey = Survey::read(&*disk, dir, after, options.identity, replay)?;
        let salvaged = survey.lost.take();
        if !options.salvage
            && let Some(lost) = salvaged
        {
            return Err(lost.into());
        }
        let last = survey.next - 1;
        let recovery = Recovery { replayed: survey.replayed, last, last_found: survey.last_found, salvaged };

        let mut adopted = adopt(survey, &disk, dir, options.segment_bytes, options.copied)?;
        let (spares, discarded) = (take(&mut adopted.spares), take(&mut adopted.discarded));
        options.kept_bytes = options.kept_bytes.min(options.segment_bytes / KEPT_PER_SEGMENT);
        let has_reserve = adopted.maker.has_reserve(options.kept_bytes);
        let stock = Stock { spares, discarded, has_reserve, ..Stock::default() };
        let plan = Plan::new(last, stock, options.kept_bytes, options.entry_bytes_max.min(ENTRY_BYTES_MAX));
        let core = Arc::new(Core::new(dir.to_owned(), options, last, after, plan, adopted));
        core.begin(last)?;
        let journal = Journal { core, threads: Mutex::default() };
        journal.spawn("journal-sync", Core::run_syncs)?;
        journal.spawn("journal-stock", Core::keep_stock)?;
        Ok((Arc::new(journal), recovery))
    }

    /// Takes an entry that `encode` appends to the buffer it is given, after bytes that are not its own, and returns its
    /// number, one more than the last. Copies memory and nothing else. A refused entry leaves nothing.
    pub fn append(&self, claim: Claim, encode: impl FnOnce(Seq, &mut Vec<u8>)) -> Result<Seq, Fault> {
        self.core.append(claim, encode)
    }

    /// Longest entry that is taken.
    pub fn entry_bytes_max(&self) -> usize {
        self.core.options.entry_bytes_max.min(ENTRY_BYTES_MAX)
    }

    /// Refuses an entry that would be too long, before anybody makes it.
    pub fn check_entry(&self, bytes: usize) -> Result<(), Fault> {
        let limit = self.entry_bytes_max();
        if bytes > limit { Err(Fault::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    /// Which journal this is: a random number that its manifest has, for the database to note. None as long as there is
    /// no space for a manifest.
    pub fn identity(&self) -> Option<u64> {
        self.core.maker.lock().manifest.identity()
    }

    /// The last entry taken.
    pub fn last(&self) -> Seq {
        self.core.last()
    }

    /// The last entry that survives the process.
    pub fn written(&self) -> Seq {
        self.core.written()
    }

    /// The last entry that survives the machine.
    pub fn durable(&self) -> Seq {
        self.core.durable()
    }

    /// Bytes taken and not written: grows without bound if nobody waits for acknowledgement.
    pub fn pending_bytes(&self) -> usize {
        self.core.pending_bytes()
    }

    /// Ready when everything up to `seq` is as durable as the policy promises, or never will be. A number that no entry has
    /// yet stands for the last one that has.
    pub fn poll_acknowledged(&self, seq: Seq, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.core.poll_acknowledged(seq, cx)
    }

    /// The same, for a caller that will soon call [`sync_gathered`](Journal::sync_gathered) on behalf of many that wait like this.
    pub fn poll_gathered(&self, seq: Seq, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.core.poll_gathered(seq, cx)
    }

    /// Does what the policy promises to all tasks that wait with [`poll_gathered`](Journal::poll_gathered): writes, and
    /// under `always` syncs. On this thread as long as the disk is fast, otherwise on the sync thread.
    pub fn sync_gathered(&self) {
        self.core.sync_gathered()
    }

    /// Whether [`acknowledge`](Journal::acknowledge) would take no longer than a short sync.
    pub fn is_acknowledged_soon(&self, seq: Seq) -> bool {
        self.core.is_acknowledged_soon(seq)
    }

    /// Makes everything up to `seq` as durable as the policy promises, on this thread, however long that takes.
    pub fn acknowledge(&self, seq: Seq) -> Result<(), Fault> {
        self.core.acknowledge(seq)
    }

    /// Whether [`sync_gathered`](Journal::sync_gathered) would sync, if somebody waits for it.
    pub fn is_sync_due(&self) -> bool {
        self.core.fsync() == Fsync::Always && self.durable() < self.last()
    }

    /// Whether an entry of so many bytes would be accepted now.
    pub fn has_room(&self, bytes: usize, claim: Claim) -> bool {
        self.core.plan.lock().has_room(bytes, claim)
    }

    /// Ready when an entry of so many bytes would be accepted, unless others come first, or when there is no space for
    /// it. Poll it before a transaction begins.
    pub fn poll_room(&self, bytes: usize, claim: Claim, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.core.poll_room(bytes, claim, cx)
    }

    /// The same, blocking, for callers that got [`Fault::NoRoomYet`] nevertheless. Takes as long as making a segment.
    pub fn wait_room(&self, bytes: usize, claim: Claim) -> Result<(), Fault> {
        self.core.wait_room(bytes, claim)
    }

    /// Whether somebody waits for more room than there is.
    #[cfg(test)]
    pub fn is_room_wanted(&self) -> bool {
        self.core.plan.lock().stock.wish > 0
    }

    /// Blocks until everything up to `seq` is synced, whatever the policy: for checkpoints and the shutdown.
    pub fn wait_durable(&self, seq: Seq) -> Result<(), Fault> {
        self.core.wait_durable(seq)
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        self.core.set_fsync(fsync);
    }

    /// Bytes of frames written since it was opened.
    pub fn bytes(&self) -> u64 {
        self.core.stats.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of its volume that the journal still needs in any case: for the segment after the one in use, and for the
    /// reserve.
    pub fn owed_bytes(&self) -> u64 {
        let options = &self.core.options;
        let (segments, _) = self.core.ledger.lock().size();
        let stock = &self.core.plan.lock().stock;
        let segment = if segments + stock.spares.len() <= 1 { options.segment_bytes } else { 0 };
        let reserve = if stock.has_reserve { 0 } else { format::FRAMES_AT + options.kept_bytes };
        segment + reserve
    }

    /// Releases entries up to `through`, which are durable elsewhere. Segments without later entries are reused.
    pub fn release(&self, through: Seq) {
        self.core.release(through);
    }

    /// Makes the journal rest if it may, without waiting until nothing was written for a while.
    #[cfg(test)]
    pub fn rest_now(&self) {
        self.core.begin_rest();
        self.core.stock_changed.notify_one();
    }

    /// Puts a failed journal back into service when everything taken, up to `after`, is durable elsewhere. Blocks for a
    /// few writes. Does nothing to a journal that has not failed.
    pub fn restart(&self, after: Seq) -> Result<(), Fault> {
        self.core.restart(after)
    }

    /// Calls `listener` whenever the journal fails, and now if it has failed already. It is called on the thread that
    /// met the failure, and must neither call the journal nor wait.
    pub fn on_failure(&self, listener: impl Fn() + Send + Sync + 'static) {
        let listener = Arc::new(listener);
        let called = Arc::clone(&listener);
        self.core.failure_listener.set(Box::new(move || called()));
        if self.is_failed() {
            listener();
        }
    }

    /// Whether the journal needs a restart to continue.
    pub fn is_failed(&self) -> bool {
        self.core.waiters.lock().failed.is_some()
    }

    pub fn status(&self) -> Status {
        let core = &self.core;
        let stat = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (segments, segments_bytes) = core.ledger.lock().size();
        let failure = core.waiters.lock().failed.as_ref().map(Fault::to_string);
        let (spares, spare_bytes, shortage) = {
            let stock = &core.plan.lock().stock;
            let waiting = stock.spares.iter().chain(&stock.discarded).map(|segment| segment.bytes);
            let reserve = if stock.has_reserve { format::FRAMES_AT + core.options.kept_bytes } else { 0 };
            (stock.spares.len(), waiting.sum::<u64>() + reserve, stock.shortage.clone())
        };
        // In this order, so that each number is at most the next one.
        let (durable, written, last) = (core.durable(), core.written(), core.last());
        Status {
            fsync: core.fsync(),
            last,
            written,
            durable,
            pending_bytes: core.pending_bytes(),
            segments,
            segments_bytes,
            spares,
            disk_bytes: segments_bytes + spare_bytes + segments::manifest::FILE_BYTES as u64,
            frames: stat(&core.stats.frames),
            bytes: stat(&core.stats.bytes),
            syncs: stat(&core.stats.syncs),
            slow_syncs: stat(&core.stats.slow_syncs),
            last_sync_us: stat(&core.stats.last_sync_us),
            max_sync_us: stat(&core.stats.max_sync_us),
            failure,
            shortage,
        }
    }

    /// Accepts nothing more, makes everything durable and stops. Closing again does nothing.
    pub fn close(&self) -> Result<(), Fault> {
        self.core.plan.lock().refusal.get_or_insert(Fault::Closed);
        if self.threads.lock().is_empty() {
            return Ok(());
        }
        let closed = self.core.wait_durable(self.last()).and_then(|()| self.core.leave_mark());
        self.stop();
        if closed.is_ok()
            && let Err(error) = self.core.maker.lock().manifest.note(self.durable(), true)
        {
            tracing::warn!(%error, "the last entries could not be noted in the journal's manifest; nothing is lost");
        }
        if closed.is_ok()
            && let Err(error) = self.core.clear()
        {
            tracing::warn!(%error, "journal segments that are not needed can't be removed");
        }
        closed
    }

    fn spawn(&self, name: &str, run: fn(&Core)) -> Result<(), JournalError> {
        let core = Arc::clone(&self.core);
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || run(&core));
        let thread =
            spawned.map_err(|error| JournalError::io("start a thread for", &self.core.dir, error))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn stop(&self) {
        self.core.stop();
        for thread in take(&mut *self.threads.lock()) {
            // A thread that panicked has failed the journal, so everyone gets the error.
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}
