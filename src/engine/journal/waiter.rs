//! A place to wait at, without blocking: for acknowledgement, or for room.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::core::Core;
use super::{Fault, Fsync, Seq};

/// Someone who waits for one thing at a time: the last poll counts. Dropping it gives its place back.
#[derive(Debug)]
pub struct Waiter {
    core: Arc<Core>,
    id: u64,
    /// The entry it is registered for, if it still is.
    registered: Option<Seq>,
}

impl Waiter {
    pub(super) fn new(core: Arc<Core>, id: u64) -> Waiter {
        Waiter { core, id, registered: None }
    }

    /// Ready when everything up to `seq` is as durable as the policy promises, or never will be. A number that has not
    /// been given to an entry yet stands for the last one that has.
    pub fn poll_acknowledged(&mut self, seq: Seq, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let seq = seq.min(self.core.last());
        if self.is_acknowledged(seq) {
            return Poll::Ready(Ok(()));
        }
        if let Some(outcome) = self.register(seq, cx) {
            return Poll::Ready(outcome);
        }
        // Whoever was writing meanwhile may have left before this one was registered.
        if self.is_acknowledged(seq) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Ready when an entry of so many bytes would be taken, unless others come first, or when there is no space for it.
    /// To be polled before a transaction begins; after [`Fault::NoRoomYet`] wait here and run it again.
    pub fn poll_room(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut plan = self.core.plan.lock();
        match plan.ask_for(bytes) {
            Ok(true) => Poll::Ready(Ok(())),
            Err(fault) => Poll::Ready(Err(fault)),
            Ok(false) => {
                plan.stock.waiting.insert(self.id, cx.waker().clone());
                self.core.stock_changed.notify_one();
                Poll::Pending
            }
        }
    }

    /// Whether `seq` is acknowledged; where writing is enough for that, writes first.
    fn is_acknowledged(&self, seq: Seq) -> bool {
        if self.core.acknowledged() < seq && self.core.fsync() != Fsync::Always {
            self.core.write_unless_busy();
        }
        self.core.acknowledged() >= seq
    }

    /// Waits for `seq` from now on, or says how that ended already.
    fn register(&mut self, seq: Seq, cx: &mut Context<'_>) -> Option<Result<(), Fault>> {
        let mut waiters = self.core.waiters.lock();
        if let Some(registered) = self.registered.take() {
            waiters.remove(registered, self.id);
        }
        if self.core.acknowledged() >= seq {
            return Some(Ok(()));
        }
        if let Some(fault) = &waiters.failed {
            return Some(Err(fault.clone()));
        }
        if waiters.stopping {
            return Some(Err(Fault::Closed));
        }
        waiters.insert(seq, self.id, cx.waker().clone());
        self.registered = Some(seq);
        if self.core.fsync() == Fsync::Always {
            self.core.sync_wanted.notify_one();
        }
        None
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(seq) = self.registered {
            self.core.waiters.lock().remove(seq, self.id);
        }
        self.core.plan.lock().stock.waiting.remove(&self.id);
    }
}
