//! Rounds: what the connections of one network thread do together.
//!
//! A connection with replies joins the round. When all that can run have run, one write and one sync serve all of them,
//! and their replies leave one after another. A client that is woken by the first reply finds the others; if they were
//! sent in between, each would wake it again, which for pipelined GETs took as much time as everything else. At the end
//! of a round, the [delivery](super::delivery) of what was handed over begins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use super::delivery::Delivery;
use super::outbox::Outbox;
use crate::script::turnstile::Slot;
use crate::sync::Mutex;

pub struct Round {
    delivery: Arc<Delivery>,
    joined: Notify,
    current: Mutex<Current>,
    /// Says whether this thread is inside a command.
    pub slot: Arc<Slot>,
}

/// The round that connections join now.
#[derive(Default)]
struct Current {
    /// How many have ended before it.
    number: u64,
    /// The connections that wait for its end. A list that is emptied at the end costs each of them less than
    /// [`Notify`] does, which takes out one by one.
    waiting: Vec<Waker>,
}

/// Waits for the end of a round, which it joins when it is first polled.
pub struct Ended<'r> {
    round: &'r Round,
    /// The number of the round, and the place in its list.
    joined: Option<(u64, usize)>,
}

impl Future for Ended<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut current = self.round.current.lock();
        match self.joined {
            Some((number, _)) if number < current.number => return Poll::Ready(()),
            Some((_, place)) => current.waiting[place].clone_from(cx.waker()),
            None => {
                self.joined = Some((current.number, current.waiting.len()));
                current.waiting.push(cx.waker().clone());
                drop(current);
                self.round.joined.notify_one();
            }
        }
        Poll::Pending
    }
}

impl Round {
    pub fn new(delivery: Arc<Delivery>, slot: Arc<Slot>) -> Round {
        Round { delivery, joined: Notify::new(), current: Mutex::default(), slot }
    }

    /// Joins the round, and waits for its end.
    pub fn ended(&self) -> Ended<'_> {
        Ended { round: self, joined: None }
    }

    /// How many connections have joined to wait.
    fn waiting(&self) -> usize {
        self.current.lock().waiting.len()
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
        let mut ended = Vec::new();
        loop {
            self.joined.notified().await;
            self.delivery.begin();
            if self.waiting() == 0 {
                continue;
            }
            self.gather(&is_sync_due).await;
            // the journal has failed then, and waiters get the error; this thread's later rounds still need this task
            if catch_unwind(AssertUnwindSafe(&sync)).is_err() {
                tracing::error!("a round panicked while its replies were made durable");
            }
            {
                let mut current = self.current.lock();
                current.number += 1;
                std::mem::swap(&mut current.waiting, &mut ended);
            }
            ended.drain(..).for_each(Waker::wake);
        }
    }

    /// If the round ends with a sync, lets connections join whose requests have arrived meanwhile, because a sync takes
    /// as long for few as for many.
    async fn gather(&self, is_sync_due: impl Fn() -> bool) {
        const LOOKS_MAX: usize = 8;
        for _ in 0..LOOKS_MAX {
            let before = self.waiting();
            if !is_sync_due() {
                return;
            }
            tokio::task::yield_now().await;
            if self.waiting() == before {
                return;
            }
        }
    }
}
