//! Rounds: what the connections of one network thread do together.
//!
//! A connection with replies joins the round. When all that can run have run, one write and one sync serve all of them,
//! and their replies leave one after another. A client that is woken by the first reply finds the others; if they were
//! sent in between, each would wake it again, which for pipelined GETs took as much time as everything else. At the end
//! of a round, the [delivery](super::delivery) of what was handed over begins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::Notify;

use super::delivery::Delivery;
use super::outbox::Outbox;
use crate::script::turnstile::Slot;
use crate::sync::atomic::{AtomicUsize, Ordering};

pub struct Round {
    delivery: Arc<Delivery>,
    joined: Notify,
    /// How many connections have joined to wait, ever.
    count: AtomicUsize,
    ended: Notify,
    /// Says whether this thread is inside a command.
    pub slot: Arc<Slot>,
}

impl Round {
    pub fn new(delivery: Arc<Delivery>, slot: Arc<Slot>) -> Round {
        Round { delivery, joined: Notify::new(), count: AtomicUsize::new(0), ended: Notify::new(), slot }
    }

    /// Joins the round, and waits for its end.
    pub async fn ended(&self) {
        let ended = self.ended.notified();
        self.count.fetch_add(1, Ordering::Relaxed);
        self.joined.notify_one();
        ended.await;
    }

    /// Delivers the replies in an outbox when the round ends.
    pub fn hand_over(&self, outbox: Arc<Outbox>) {
        self.delivery.take(outbox);
        self.joined.notify_one();
    }

    /// Ends one round after the other, for ever. The first connection of a round wakes this task, which then runs after
    /// every task that is ready already. `sync` makes durable what a round did, and `is_sync_due` says whether it
    /// would sync for that.
    pub async fn finish(&self, is_sync_due: impl Fn() -> bool, sync: impl Fn()) {
        let mut served = 0;
        loop {
            self.joined.notified().await;
            self.delivery.begin();
            if self.count.load(Ordering::Relaxed) == served {
                continue;
            }
            self.gather(&is_sync_due).await;
            served = self.count.load(Ordering::Relaxed);
            // the journal has failed then, and waiters get the error; this thread's later rounds still need this task
            if catch_unwind(AssertUnwindSafe(&sync)).is_err() {
                tracing::error!("a round panicked while its replies were made durable");
            }
            self.ended.notify_waiters();
        }
    }

    /// If the round ends with a sync, lets connections join whose requests have arrived meanwhile, because a sync takes
    /// as long for few as for many.
    async fn gather(&self, is_sync_due: impl Fn() -> bool) {
        const LOOKS_MAX: usize = 8;
        for _ in 0..LOOKS_MAX {
            let before = self.count.load(Ordering::Relaxed);
            if !is_sync_due() {
                return;
            }
            tokio::task::yield_now().await;
            if self.count.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}
