//! The tasks that wait for entries, in the order of the entries, so that exactly the satisfied ones are woken.
//!
//! No wake-up is lost: progress is published before this mutex is acquired to collect the satisfied tasks, and a task
//! that registers checks the progress again under it. A task has one place for an entry however often it polls, and a
//! place lasts only until the journal gets there or fails. Wakers are called outside the mutex.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::engine::journal::{Fault, Seq};

/// Identifies tasks: wakers with the same identity wake the same task.
pub type Identity = (usize, usize);

/// The identity of a waker that is kept; meanwhile no other task can have the same.
pub fn identity(waker: &Waker) -> Identity {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

#[derive(Debug, Default)]
pub struct Waiters {
    by_seq: BTreeMap<(Seq, Identity), Waker>,
    /// A thread blocks until everything up to here is synced, whatever the policy.
    pub forced: Seq,
    /// Set from a failure to the restart.
    pub failed: Option<Fault>,
    /// Set while nobody may wait for copies.
    pub uncopied: Option<Fault>,
    pub stopping: bool,
}

impl Waiters {
    pub fn insert(&mut self, seq: Seq, waker: Waker) {
        self.by_seq.insert((seq, identity(&waker)), waker);
    }

    pub fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    /// Removes and returns the tasks that wait for entries up to `through`.
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

/// Calls wakers, after their mutex was released.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use crate::engine::journal::waiting::waiters::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_the_satisfied_are_woken_and_a_task_has_one_place_for_an_entry() {
        let tasks: [Arc<Count>; 3] = Default::default();
        let mut waiters = Waiters::default();
        for (seq, task) in [(5, 0), (3, 1), (5, 0), (9, 2), (5, 0)] {
            waiters.insert(seq, Waker::from(Arc::clone(&tasks[task])));
        }
        let woken = || tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed));
        wake_all(waiters.take_through(2));
        assert_eq!(woken(), [0, 0, 0]);
        wake_all(waiters.take_through(5));
        assert_eq!(woken(), [1, 1, 0]);
        wake_all(waiters.take_through(Seq::MAX));
        assert_eq!(woken(), [1, 1, 1]);
        assert!(waiters.is_empty());
    }
}
