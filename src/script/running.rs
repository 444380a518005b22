//! The running script, as others see it: how long it has been running, and whether it can be stopped.
//!
//! Shared by the thread that runs the script, which checks whether it should stop, and by those that stop it. Knows no
//! interpreter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::engine::clock;

/// At most one script runs at a time: it has the engine to itself.
#[derive(Debug, Default)]
pub struct Running {
    /// Whether there is a script.
    active: AtomicBool,
    since: Mutex<Option<Instant>>,
    has_written: AtomicBool,
    stopped: AtomicBool,
    /// The server ends.
    ended: AtomicBool,
}

/// The result of a request to stop a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    Done,
    /// None runs.
    NotBusy,
    /// It has written, and must not be left half done.
    Unkillable,
}

/// A script runs as long as this lives.
pub struct Run<'a>(&'a Running);

impl Running {
    /// A script begins.
    pub fn begin(&self) -> Run<'_> {
        *self.since.lock() = Some(clock::monotonic());
        self.has_written.store(false, Ordering::Relaxed);
        self.stopped.store(false, Ordering::Relaxed);
        self.active.store(true, Ordering::Release);
        Run(self)
    }

    /// How long the script has been running, if there is one.
    pub fn age(&self) -> Option<Duration> {
        if !self.active.load(Ordering::Acquire) {
            return None;
        }
        self.since.lock().map(|since| clock::monotonic().saturating_duration_since(since))
    }

    /// The script is about to write.
    pub fn note_write(&self) {
        self.has_written.store(true, Ordering::Release);
    }

    /// Stops a script that has not written.
    pub fn kill(&self) -> Kill {
        match self.age() {
            None => Kill::NotBusy,
            Some(_) if self.has_written.load(Ordering::Acquire) => Kill::Unkillable,
            Some(_) => {
                self.stop();
                Kill::Done
            }
        }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Stops the script, whatever it did, and all later ones, because the server ends.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether the script should end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) || self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.active.store(false, Ordering::Release);
        *self.0.since.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_script_that_has_not_written_is_killed() {
        let running = Running::default();
        assert_eq!(running.kill(), Kill::NotBusy);
        let run = running.begin();
        assert!(running.age().is_some() && !running.is_stopped());
        assert_eq!(running.kill(), Kill::Done);
        assert!(running.is_stopped());
        drop(run);
        let run = running.begin();
        assert!(!running.is_stopped());
        running.note_write();
        assert_eq!(running.kill(), Kill::Unkillable);
        assert!(!running.is_stopped());
        drop(run);
        assert_eq!(running.age(), None);
    }

    #[test]
    fn the_end_of_the_server_is_the_end_of_every_script() {
        let running = Running::default();
        let run = running.begin();
        running.end();
        assert!(running.is_stopped());
        drop(run);
        let _run = running.begin();
        assert!(running.is_stopped());
    }
}
