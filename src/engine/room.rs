//! Back-pressure: the overlay is bounded, and writers wait for a checkpoint instead of growing it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Error;

pub struct Room {
    overlay_bytes_max: usize,
    waiting: Mutex<Vec<Waker>>,
    /// The last checkpoint failed: waiting for the next would be waiting for nothing.
    stuck: AtomicBool,
    closing: Mutex<bool>,
    closed: Condvar,
}

impl Room {
    pub fn new(overlay_bytes_max: usize) -> Room {
        Room {
            overlay_bytes_max,
            waiting: Mutex::new(Vec::new()),
            stuck: AtomicBool::new(false),
            closing: Mutex::new(false),
            closed: Condvar::new(),
        }
    }

    /// A checkpoint begins when the active overlay takes this much, so that as much again fits while it runs; or when the
    /// journal has grown by this much, so that changing few records often makes neither the journal nor its replay long.
    pub fn checkpoint_at(&self) -> usize {
        self.overlay_bytes_max / 2
    }

    /// Whether a checkpoint that is being written should hurry: the overlay is nearly full, or the journal has grown so
    /// much meanwhile that a restart would replay for a second or more.
    pub fn is_short(&self, overlay_bytes: usize, journal_bytes: u64) -> bool {
        let journal_bytes_max = self.overlay_bytes_max.saturating_mul(2) as u64;
        overlay_bytes >= self.overlay_bytes_max / 4 * 3 || journal_bytes >= journal_bytes_max
    }

    /// Whether the overlay is below its bound.
    pub fn is_open(&self, overlay_bytes: usize) -> bool {
        overlay_bytes < self.overlay_bytes_max
    }

    /// Ready once the overlay is below its bound.
    pub fn poll(&self, cx: &mut Context<'_>, overlay_bytes: impl Fn() -> usize) -> Poll<Result<(), Error>> {
        if self.is_open(overlay_bytes()) {
            return Poll::Ready(Ok(()));
        }
        if self.stuck.load(Ordering::Acquire) {
            let why = "changes can't be moved from memory to LMDB (see the log and INFO persistence)";
            return Poll::Ready(Err(Error::Storage(why.into())));
        }
        self.waiting.lock().push(cx.waker().clone());
        // a checkpoint may have ended before the waker was there
        if self.is_open(overlay_bytes()) || self.stuck.load(Ordering::Acquire) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// A checkpoint ended, well or not.
    pub fn checkpoint_ended(&self, well: bool) {
        self.stuck.store(!well, Ordering::Release);
        self.wake();
    }

    /// Has those who wait look again.
    pub fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The engine closes.
    pub fn close(&self) {
        *self.closing.lock() = true;
        self.closed.notify_all();
    }

    /// Sleeps; says whether the engine closes meanwhile.
    pub fn closes_within(&self, time: Duration) -> bool {
        let mut closing = self.closing.lock();
        if !*closing {
            self.closed.wait_for(&mut closing, time);
        }
        *closing
    }
}
