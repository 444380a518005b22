//! An event that happens once and can be waited for: a client is killed, or the server shuts down.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Waiting needs no runtime. A task that stops waiting leaves nothing behind: the server's signal outlives every
/// connection, so a registration that stayed would be a leak.
#[derive(Debug, Default)]
pub struct Signal {
    raised: AtomicBool,
    waiting: Notify,
}

impl Signal {
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.waiting.notify_waiters();
    }

    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Ready once the signal is raised.
    pub async fn raised(&self) {
        // a signal that is raised after this line reaches `told`; one that was raised before is seen here
        let told = self.waiting.notified();
        if !self.is_raised() {
            told.await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake, Waker};

    use crate::client::signal::*;

    /// Counts wake-ups. Each registration holds a reference to it.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_stops_waiting_is_not_remembered() {
        let signal = Signal::default();
        let tasks: Vec<Arc<Task>> = std::iter::repeat_with(Arc::default).take(1_000).collect();
        for task in &tasks {
            let waker = Waker::from(task.clone());
            let mut raised = Box::pin(signal.raised());
            assert!(raised.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert!(raised.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let registrations: usize = tasks.iter().map(|task| Arc::strong_count(task) - 1).sum();
        assert_eq!(registrations, 0);
        signal.raise();
        assert!(tasks.iter().all(|task| task.0.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn all_who_wait_are_woken_and_later_ones_do_not_wait() {
        let signal = Signal::default();
        let tasks: [Arc<Task>; 3] = Default::default();
        let mut waiting: Vec<_> = tasks.iter().map(|_| Box::pin(signal.raised())).collect();
        for (task, raised) in tasks.iter().zip(&mut waiting) {
            let waker = Waker::from(task.clone());
            assert!(raised.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        // made before the signal is raised, polled after
        let mut early = pin!(signal.raised());
        signal.raise();
        let woken = tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed));
        assert_eq!(woken, [1, 1, 1]);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(waiting.iter_mut().all(|raised| raised.as_mut().poll(cx).is_ready()));
        assert!(early.as_mut().poll(cx).is_ready() && pin!(signal.raised()).poll(cx).is_ready());
    }
}
