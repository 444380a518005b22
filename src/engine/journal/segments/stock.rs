//! The stock thread: keeps segments ready ahead of need, and recycles or removes those that are no longer needed.
//!
//! A full disk is no failure here: the attempt is repeated every second, or as soon as a released segment can be
//! recycled. An entry that finds the stock empty meanwhile is refused before anything is taken.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::engine::clock;
use crate::engine::journal::core::{Core, FailOnPanic};
use crate::engine::journal::format::{ENTRY_HEADER_BYTES, FRAME_HEADER_BYTES, FRAMES_AT};
use crate::engine::journal::plan::Plan;
use crate::engine::journal::segments::segment::{Maker, Segment};
use crate::engine::journal::waiting::waiters::wake_all;
use crate::engine::journal::{JournalError, Options, Seq};
use crate::limits::JOURNAL_PART;

const NO_SPACE: &str =
    "No space left on device, but what a checkpoint needs to move to LMDB what the journal holds";
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

enum Job {
    Recycle(Arc<Segment>),
    Remove(Arc<Segment>),
    Make {
        bytes: u64,
    },
    Reserve,
    /// Goes on in a small segment.
    Rest,
    /// Records in the manifest how far entries are durable.
    Note,
}

/// How long no entry has come.
#[derive(Default)]
struct Idle(Option<(Seq, Instant)>);

impl Idle {
    fn lasts(&mut self, last: Seq, for_as_long_as: Duration) -> bool {
        let now = clock::monotonic();
        match self.0 {
            Some((seen, since)) if seen == last => now.duration_since(since) >= for_as_long_as,
            _ => {
                self.0 = Some((last, now));
                for_as_long_as.is_zero()
            }
        }
    }
}

impl Core {
    /// The stock thread.
    pub fn keep_stock(&self) {
        let _failing = FailOnPanic(self);
        let (mut retry_at, mut idle) = (None, Idle::default());
        while let Some(job) = self.await_job(&mut retry_at) {
            if matches!(job, Job::Note) && idle.lasts(self.last(), self.options.rest_after) {
                self.begin_rest();
            }
            let outcome = self.work(&job);
            self.end_recycling(&job);
            match outcome {
                Ok(true) => self.end_shortage(),
                Ok(false) => {}
                Err(error) => {
                    let is_making = matches!(job, Job::Make { .. } | Job::Reserve);
                    let is_retried = is_making || matches!(job, Job::Rest);
                    retry_at = is_retried.then(|| clock::monotonic() + RETRY_INTERVAL).or(retry_at);
                    self.report(is_making, &error);
                }
            }
        }
    }

    /// Sleeps until there is something to do; `None` when it is time to stop.
    fn await_job(&self, retry_at: &mut Option<Instant>) -> Option<Job> {
        let mut plan = self.plan.lock();
        while !plan.stock.stopping {
            *retry_at = retry_at.filter(|at| clock::monotonic() < *at);
            if let Some(job) = next_job(&mut plan, &self.options, retry_at.is_none()) {
                return Some(job);
            }
            match *retry_at {
                Some(at) => drop(self.stock_changed.wait_until(&mut plan, at)),
                None => {
                    // A request that was withdrawn meanwhile needs no segment.
                    plan.stock.shortage = None;
                    if self.stock_changed.wait_for(&mut plan, self.options.note_interval).timed_out() {
                        return Some(Job::Note);
                    }
                }
            }
        }
        None
    }

    /// Whether there is one more spare now.
    fn work(&self, job: &Job) -> Result<bool, JournalError> {
        let mut maker = self.maker.lock();
        let spare = match job {
            // the volume may have had more space when it was made
            Job::Recycle(segment) if self.has_space_for(segment.bytes, segment.bytes) => {
                maker.recycle(segment)?
            }
            Job::Recycle(segment) => return maker.remove(segment.name).map(|()| false),
            Job::Make { bytes } if self.has_space_for(*bytes, 0) => maker.make(*bytes)?,
            // what waits to be copied only must not keep writes from being taken
            Job::Make { .. } if self.give_up_uncopied(0) => return Ok(false),
            Job::Make { .. } => {
                let error = io::Error::new(io::ErrorKind::StorageFull, NO_SPACE);
                return Err(JournalError::io("make a segment in", &self.dir, error));
            }
            Job::Remove(segment) => return maker.remove(segment.name).map(|()| false),
            Job::Reserve => {
                maker.make_reserve(self.options.kept_bytes)?;
                self.plan.lock().stock.has_reserve = true;
                return Ok(false);
            }
            Job::Rest => {
                let small = Arc::new(maker.make(self.options.rest_bytes)?);
                drop(maker); // it is not held while somebody waits for the writer
                if !matches!(self.rest_in(Arc::clone(&small)), Ok(true)) {
                    self.plan.lock().stock.discarded.push(small);
                }
                return Ok(false);
            }
            Job::Note => {
                // nobody has taken a segment for a while: what a burst has left is given up bit by bit
                self.remove_surplus(&mut maker)?;
                // the note is an additional proof: nothing is wrong without it, and a failing disk is noticed elsewhere
                let _ = maker.manifest.note(self.durable(), false);
                return Ok(false);
            }
        };
        // Still under the maker's mutex, so that the stock is in the order of ids.
        self.plan.lock().add_spare(spare);
        Ok(true)
    }

    /// Makes the journal rest, unless it holds something that is not durable elsewhere.
    pub fn begin_rest(&self) {
        let mut plan = self.plan.lock();
        plan.stock.is_resting |= plan.is_idle(self.released());
    }

    fn remove_surplus(&self, maker: &mut Maker) -> Result<(), JournalError> {
        let surplus = {
            let spares = &mut self.plan.lock().stock.spares;
            if spares.len() > self.options.spares_min { spares.pop_back() } else { None }
        };
        surplus.map_or(Ok(()), |segment| maker.remove(segment.name))
    }

    fn end_recycling(&self, job: &Job) {
        if matches!(job, Job::Recycle(_) | Job::Remove(_)) {
            let waiting = {
                let mut plan = self.plan.lock();
                plan.stock.is_recycling = false;
                self.wanting_room(&mut plan)
            };
            wake_all(waiting);
        }
    }

    /// Whether the volume has room for one more segment, of which `there` bytes exist already, and for what a
    /// checkpoint has to write before any can be removed. The first spare after the segment in use is always made, if
    /// possible.
    fn has_space_for(&self, bytes: u64, there: u64) -> bool {
        let (segments, used) = self.ledger.lock().size();
        let (spares, spare_bytes) = {
            let spares = &self.plan.lock().stock.spares;
            (spares.len(), spares.iter().map(|spare| spare.bytes).sum::<u64>())
        };
        if segments + spares <= 1 {
            return true;
        }
        let taken = used + spare_bytes;
        self.options.disk.space(&self.dir).is_none_or(|space| {
            let all = taken.saturating_add(there).saturating_add(space.free);
            let is_part = (taken + bytes).saturating_mul(JOURNAL_PART) <= all;
            // a segment for a large entry is needed once, and the same amount again in LMDB
            let is_large = bytes > self.options.segment_bytes;
            is_part || (is_large && bytes.saturating_mul(2).saturating_add(taken) <= space.free)
        })
    }

    /// Called when only the room that is kept for entries that free space is left, and there is no space for more:
    /// turns the reserve into a segment for them.
    pub fn use_reserve(&self) {
        let mut maker = self.maker.lock();
        {
            let mut plan = self.plan.lock();
            if !plan.is_down_to_kept() || !std::mem::take(&mut plan.stock.has_reserve) {
                return;
            }
        }
        match maker.use_reserve(self.options.kept_bytes) {
            Ok(segment) => self.plan.lock().add_spare(segment),
            Err(error) => {
                tracing::warn!(%error, "the journal's reserve can't be used; the server tries again every second");
                let has_reserve = maker.has_reserve(self.options.kept_bytes);
                self.plan.lock().stock.has_reserve = has_reserve;
            }
        }
    }

    fn end_shortage(&self) {
        let (shortage, waiting) = {
            let mut plan = self.plan.lock();
            let stock = &mut plan.stock;
            (stock.shortage.take(), self.wanting_room(&mut plan))
        };
        if shortage.is_some() {
            tracing::info!("there is space for the journal again");
        }
        wake_all(waiting);
    }

    /// All tasks that wait for room, to be woken so that they check again.
    pub fn wanting_room(&self, plan: &mut Plan) -> Vec<Waker> {
        self.room_moved.notify_all();
        std::mem::take(&mut plan.stock.waiting).into_values().collect()
    }

    fn report(&self, is_making: bool, error: &JournalError) {
        if !is_making {
            // The file stays where it is, holds nothing that counts, and is removed when the journal is next opened.
            tracing::warn!(%error, "a journal segment that is not needed can't be removed");
            return;
        }
        let (earlier, waiting) = {
            let mut plan = self.plan.lock();
            let stock = &mut plan.stock;
            stock.wish = 0;
            (stock.shortage.replace(error.to_string()), self.wanting_room(&mut plan))
        };
        self.use_reserve();
        if earlier.is_none() {
            tracing::warn!(%error, "there is no new space for the journal; free some space on its disk. The server tries again every second");
        }
        wake_all(waiting);
    }
}

/// What the stock needs most. Reuse costs least and frees space, so it comes first.
fn next_job(plan: &mut Plan, options: &Options, may_make: bool) -> Option<Job> {
    let is_resting = plan.stock.is_resting && plan.stock.wish == 0;
    let surplus = if is_resting { plan.stock.spares.pop_back() } else { None };
    if let Some(segment) = surplus.or_else(|| plan.stock.discarded.pop()) {
        let is_reusable = segment.bytes == options.segment_bytes
            && plan.stock.spares.len() < options.spares_max
            && !is_resting;
        plan.stock.is_recycling = true;
        return Some(if is_reusable { Job::Recycle(segment) } else { Job::Remove(segment) });
    }
    if !may_make {
        return None;
    }
    if plan.stock.wish > 0 {
        return Some(Job::Make { bytes: segment_bytes_for(plan.stock.wish, options) });
    }
    if is_resting && plan.is_spacious(options.rest_bytes) {
        return Some(Job::Rest);
    }
    if plan.stock.spares.len() < options.spares_min && !is_resting {
        return Some(Job::Make { bytes: options.segment_bytes });
    }
    (!plan.stock.has_reserve && options.kept_bytes > 0).then_some(Job::Reserve)
}

/// The size of a segment for an entry of so many bytes. A segment for a large entry has room for the contents of a
/// usual segment after it, because spares that are skipped for it get new names, and must not be missed meanwhile.
fn segment_bytes_for(entry_bytes: usize, options: &Options) -> u64 {
    let usual = options.segment_bytes;
    let needed = FRAMES_AT + (FRAME_HEADER_BYTES + ENTRY_HEADER_BYTES + entry_bytes) as u64;
    if needed + options.kept_bytes <= usual { usual } else { needed + usual }
}
