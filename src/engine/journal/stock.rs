//! The stock thread: keeps segments ready ahead of need, and deals with those nobody needs any more.
//!
//! A full disk is no failure here: the attempt is repeated every second, or as soon as a released segment can be
//! recycled, and whoever finds the stock empty meanwhile is refused before anything is taken.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::core::{Core, FailOnPanic};
use super::format::{ENTRY_HEADER_BYTES, FRAME_HEADER_BYTES, FRAMES_AT};
use super::plan::Plan;
use super::segment::Segment;
use super::waiters::wake_all;
use super::{JournalError, Options};
use crate::engine::clock;

const RETRY_INTERVAL: Duration = Duration::from_secs(1);

enum Job {
    Recycle(Arc<Segment>),
    Remove(Arc<Segment>),
    Make {
        bytes: u64,
    },
    /// Notes in the manifest how far entries are durable.
    Note,
}

impl Core {
    /// The stock thread.
    pub fn keep_stock(&self) {
        let _failing = FailOnPanic(self);
        let mut retry_at = None;
        while let Some(job) = self.await_job(&mut retry_at) {
            match self.work(&job) {
                Ok(true) => self.end_shortage(),
                Ok(false) => {}
                Err(error) => {
                    let is_making = matches!(job, Job::Make { .. });
                    retry_at = is_making.then(|| clock::monotonic() + RETRY_INTERVAL).or(retry_at);
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
                    // Only a wish that nobody has any more could not be granted.
                    plan.stock.shortage = None;
                    if self.stock_changed.wait_for(&mut plan, self.options.note_interval).timed_out() {
                        return Some(Job::Note);
                    }
                }
            }
        }
        None
    }

    /// Whether there is a spare more now.
    fn work(&self, job: &Job) -> Result<bool, JournalError> {
        let mut maker = self.maker.lock();
        let spare = match job {
            Job::Recycle(segment) => maker.recycle(segment)?,
            Job::Make { bytes } => maker.make(*bytes)?,
            Job::Remove(segment) => return maker.remove(segment.name).map(|()| false),
            Job::Note => {
                // a note is one proof more: without it nothing is wrong, and a disk that fails shows elsewhere
                let _ = maker.manifest.note(self.durable(), false);
                return Ok(false);
            }
        };
        // Still under the maker's mutex, so that the stock is in the order of ids.
        self.plan.lock().add_spare(spare);
        Ok(true)
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

    /// Everyone who waits for room: to be woken, and to look again.
    pub fn wanting_room(&self, plan: &mut Plan) -> Vec<Waker> {
        self.room_moved.notify_all();
        std::mem::take(&mut plan.stock.waiting).into_values().collect()
    }

    fn report(&self, is_making: bool, error: &JournalError) {
        if !is_making {
            // The file stays where it is, holds nothing that counts, and goes when the journal opens next.
            tracing::warn!(%error, "a journal segment that is not needed stays");
            return;
        }
        let (earlier, waiting) = {
            let mut plan = self.plan.lock();
            let stock = &mut plan.stock;
            stock.wish = 0;
            (stock.shortage.replace(error.to_string()), self.wanting_room(&mut plan))
        };
        if earlier.is_none() {
            tracing::warn!(%error, "no new space for the journal; make space on its disk: it tries again every second");
        }
        wake_all(waiting);
    }
}

/// What the stock needs most: reuse costs least and gives space back, so it goes first.
fn next_job(plan: &mut Plan, options: &Options, may_make: bool) -> Option<Job> {
    if let Some(segment) = plan.stock.discarded.pop() {
        let is_reusable =
            segment.bytes == options.segment_bytes && plan.stock.spares.len() < options.spares_max;
        return Some(if is_reusable { Job::Recycle(segment) } else { Job::Remove(segment) });
    }
    if !may_make {
        return None;
    }
    if plan.stock.wish > 0 {
        return Some(Job::Make { bytes: segment_bytes_for(plan.stock.wish, options.segment_bytes) });
    }
    (plan.stock.spares.len() < options.spares_min).then_some(Job::Make { bytes: options.segment_bytes })
}

/// Size of a segment for an entry of so many bytes. One made for a large entry has room for a usual segment's worth
/// behind it: spares that are passed over for it get new names, and must not be missed while they do.
fn segment_bytes_for(entry_bytes: usize, usual: u64) -> u64 {
    let needed = FRAMES_AT + (FRAME_HEADER_BYTES + ENTRY_HEADER_BYTES + entry_bytes) as u64;
    if needed <= usual { usual } else { needed + usual }
}
