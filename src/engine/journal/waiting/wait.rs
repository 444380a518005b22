//! Waiting without blocking, for acknowledgement and for room. Runs on the thread of the waiting task.

use std::task::{Context, Poll};

use crate::engine::journal::core::Core;
use crate::engine::journal::plan::Claim;
use crate::engine::journal::waiting::waiters::identity;
use crate::engine::journal::{Fault, Fsync, Seq};

impl Core {
    pub fn poll_acknowledged(&self, seq: Seq, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let seq = seq.min(self.last());
        if self.reaches(seq) {
            return Poll::Ready(Ok(()));
        }
        if let Some(outcome) = self.register(seq, cx) {
            return Poll::Ready(outcome);
        }
        if self.fsync() == Fsync::Always {
            self.have_synced(seq);
        }
        // A thread that was writing meanwhile may have finished before this task was registered.
        if self.reaches(seq) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    pub fn poll_gathered(&self, seq: Seq, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let seq = seq.min(self.last());
        if self.acknowledged() >= seq {
            return Poll::Ready(Ok(()));
        }
        self.register(seq, cx).map_or(Poll::Pending, Poll::Ready)
    }

    pub fn poll_room(&self, bytes: usize, claim: Claim, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut plan = self.plan.lock();
        match plan.ask_for(bytes, claim) {
            Ok(true) => Poll::Ready(Ok(())),
            Err(fault) => Poll::Ready(Err(fault)),
            Ok(false) => {
                let waker = cx.waker().clone();
                plan.stock.waiting.insert(identity(&waker), waker);
                self.stock_changed.notify_one();
                Poll::Pending
            }
        }
    }

    pub fn wait_room(&self, bytes: usize, claim: Claim) -> Result<(), Fault> {
        let mut plan = self.plan.lock();
        while !plan.ask_for(bytes, claim)? {
            self.stock_changed.notify_one();
            self.room_moved.wait(&mut plan);
        }
        Ok(())
    }

    /// Whether `seq` is acknowledged. If writing is enough for that, writes first.
    fn reaches(&self, seq: Seq) -> bool {
        if self.acknowledged() < seq && self.fsync() != Fsync::Always {
            self.write_unless_busy();
        }
        self.acknowledged() >= seq
    }

    /// Wakes the task when `seq` is acknowledged, or returns the result if it is known already.
    fn register(&self, seq: Seq, cx: &mut Context<'_>) -> Option<Result<(), Fault>> {
        let mut waiters = self.waiters.lock();
        if self.acknowledged() >= seq {
            return Some(Ok(()));
        }
        if let Some(fault) = &waiters.failed {
            return Some(Err(fault.clone()));
        }
        if waiters.stopping {
            return Some(Err(Fault::Closed));
        }
        if let Some(fault) = &waiters.uncopied {
            return Some(Err(fault.clone()));
        }
        waiters.insert(seq, cx.waker().clone());
        None
    }
}
