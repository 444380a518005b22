//! Delivery: a second thread beside each network thread, which sends the replies of pipelines.
//!
//! It makes what they reflect as durable as the policy promises, and sends them, while the network thread reads and
//! runs what others have sent meanwhile. With pipelines of 16, a sync and the sending are a quarter of the work, and
//! the network thread's time bounds the throughput. Single requests, or few at once, are answered on the network thread
//! itself ([`Round`](super::round::Round)): for them sending is up to half of the work, and on a small machine the
//! processor that would do it has to serve the clients. Replies that have to wait for a slow disk don't come here either,
//! because those behind them would have to wait as well.
//!
//! The network thread wakes this one at the end of a round, not with each connection: a sync takes as long for one as
//! for many. What is handed in while it works is its next batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::outbox::{Asked, Outbox};
use crate::engine::Seq;
use crate::error::Error;
use crate::sync::{Condvar, Mutex};

#[derive(Default)]
pub struct Delivery {
    handed_in: Mutex<HandedIn>,
    changed: Condvar,
}

#[derive(Default)]
struct HandedIn {
    outboxes: Vec<Arc<Outbox>>,
    is_over: bool,
}

impl Delivery {
    /// Accepts an outbox with replies that are under way.
    pub fn take(&self, outbox: Arc<Outbox>) {
        self.handed_in.lock().outboxes.push(outbox);
    }

    /// Starts the delivery of what was accepted, unless it is under way already.
    pub fn begin(&self) {
        if !self.handed_in.lock().outboxes.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Nothing more will be taken.
    pub fn end(&self) {
        self.handed_in.lock().is_over = true;
        self.changed.notify_one();
    }

    /// The thread: delivers until the end. `acknowledge` makes changes as durable as the policy promises, and `sent` is told
    /// how many bytes have left, and what was asked for.
    pub fn run(&self, acknowledge: impl Fn(Seq) -> Result<(), Error>, sent: impl Fn(usize, Asked)) {
        // a journal that panics fails, and tells who waits; connections still need this thread
        let acknowledge = |reflects| {
            let outcome = catch_unwind(AssertUnwindSafe(|| acknowledge(reflects)));
            outcome.unwrap_or_else(|_| Err(Error::Storage("making changes durable panicked".to_owned())))
        };
        let mut outboxes = Vec::new();
        while self.wait(&mut outboxes) {
            // What is durable already leaves first. For the others, the first sync makes all of them durable.
            outboxes.sort_by_cached_key(|outbox| outbox.reflects());
            for outbox in outboxes.drain(..) {
                let asked = outbox.asked();
                sent(outbox.deliver(acknowledge(outbox.reflects())), asked);
            }
        }
    }

    /// Waits for outboxes; false at the end.
    fn wait(&self, outboxes: &mut Vec<Arc<Outbox>>) -> bool {
        let mut handed_in = self.handed_in.lock();
        while handed_in.outboxes.is_empty() && !handed_in.is_over {
            self.changed.wait(&mut handed_in);
        }
        std::mem::swap(outboxes, &mut handed_in.outboxes);
        !outboxes.is_empty()
    }
}
