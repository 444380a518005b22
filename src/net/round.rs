//! Rounds: what the connections of one network thread do together.
//!
//! Whoever has replies joins the round, and once all that can run have run, one write and one sync serve them all, and
//! their replies leave one after another. A client that is woken by the first of them finds the others when it looks; sent
//! in between, each would wake it again, which for pipelined GETs took as much time as all the rest. At the end of a round
//! begins the [delivery](super::delivery) of what was handed over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::delivery::Delivery;
use super::outbox::Outbox;
use crate::engine::Engine;
use crate::script::turnstile::Slot;

pub struct Round {
    delivery: Arc<Delivery>,
    joined: Notify,
    /// How many have joined to wait, ever.
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

    /// Has the replies delivered that are under way in an outbox, once the round ends.
    pub fn hand_over(&self, outbox: Arc<Outbox>) {
        self.delivery.take(outbox);
        self.joined.notify_one();
    }

    /// Ends one round after the other, for ever. Woken by the first connection of a round, this stands in line behind all
    /// that can run already.
    pub async fn settle_all(&self, engine: &Engine) {
        let mut served = 0;
        loop {
            self.joined.notified().await;
            self.delivery.begin();
            if self.count.load(Ordering::Relaxed) == served {
                continue;
            }
            self.gather(engine).await;
            served = self.count.load(Ordering::Relaxed);
            // the journal has failed then, and tells who waits; this thread's other rounds still need someone
            if catch_unwind(AssertUnwindSafe(|| engine.settle())).is_err() {
                tracing::error!("settling a round panicked");
            }
            self.ended.notify_waiters();
        }
    }

    /// Lets those join whose requests have arrived meanwhile, if the round ends with a sync: it takes as long for a few
    /// as for many.
    async fn gather(&self, engine: &Engine) {
        const LOOKS_MAX: usize = 8;
        for _ in 0..LOOKS_MAX {
            let before = self.count.load(Ordering::Relaxed);
            if !engine.is_sync_due() {
                return;
            }
            tokio::task::yield_now().await;
            if self.count.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}
