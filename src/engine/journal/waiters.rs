//! Who waits for which entry, in the order of the entries, so that exactly those get woken who can go on.
//!
//! No wake-up is lost: progress is published before this mutex is taken to collect the satisfied, and whoever registers
//! looks at the progress again under it. Each waiter has one place at most, so the size is bounded by their number.
//! Wakers are called outside the mutex.

use std::collections::BTreeMap;
use std::task::Waker;

use super::{Fault, Seq};

#[derive(Debug, Default)]
pub struct Waiters {
    by_seq: BTreeMap<(Seq, u64), Waker>,
    /// Someone blocks until everything up to here is synced, whatever the policy.
    pub forced: Seq,
    /// Set from a failure to the restart.
    pub failed: Option<Fault>,
    pub stopping: bool,
}

impl Waiters {
    pub fn insert(&mut self, seq: Seq, id: u64, waker: Waker) {
        self.by_seq.insert((seq, id), waker);
    }

    pub fn remove(&mut self, seq: Seq, id: u64) {
        self.by_seq.remove(&(seq, id));
    }

    pub fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    /// Takes out those who wait for entries up to `through`.
    pub fn take_through(&mut self, through: Seq) -> Vec<Waker> {
        let mut satisfied = Vec::new();
        while let Some(first) = self.by_seq.first_entry()
            && first.key().0 <= through
        {
            satisfied.push(first.remove());
        }
        satisfied
    }
}

/// Calls wakers; their mutex has been given back.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_satisfied_are_taken_and_each_waiter_has_one_place() {
        let mut waiters = Waiters::default();
        for (seq, id) in [(5, 1), (3, 2), (5, 3), (9, 4), (9, 4)] {
            waiters.insert(seq, id, Waker::noop().clone());
        }
        waiters.remove(5, 3);
        assert_eq!(waiters.take_through(2).len(), 0);
        assert_eq!(waiters.take_through(5).len(), 2);
        assert_eq!(waiters.take_through(Seq::MAX).len(), 1);
        assert!(waiters.is_empty());
    }
}
