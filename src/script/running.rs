//! The running script or function, as others see it: how long it has been running, and whether it can be stopped.
//!
//! Shared by the thread that runs the script, which checks whether it should stop, and by those that stop it. Knows no
//! interpreter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::engine::clock;

/// At most one script runs at a time: it has the engine to itself.
#[derive(Debug, Default)]
pub struct Running {
    /// Whether there is a script.
    active: AtomicBool,
    started: Mutex<Option<Started>>,
    has_written: AtomicBool,
    stopped: AtomicBool,
    /// The server ends.
    ended: AtomicBool,
}

#[derive(Debug, Clone)]
struct Started {
    at: Instant,
    runs: Runs,
}

/// What runs.
#[derive(Debug, Clone)]
pub enum Runs {
    Script,
    Function {
        name: Bytes,
        /// The request that called it.
        command: Vec<Bytes>,
    },
}

/// The result of a request to stop a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    Done,
    /// None runs.
    NotBusy,
    /// A function runs and a script was to be stopped, or the other way round.
    Other,
    /// It has written, and must not be left half done.
    Unkillable,
}

/// A script runs as long as this lives.
pub struct Run<'a>(&'a Running);

impl Running {
    /// A script or a function begins.
    pub fn begin(&self, runs: Runs) -> Run<'_> {
        *self.started.lock() = Some(Started { at: clock::monotonic(), runs });
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
        self.started.lock().as_ref().map(|started| clock::monotonic().saturating_duration_since(started.at))
    }

    /// What is running, and for how long.
    pub fn now(&self) -> Option<(Runs, Duration)> {
        let started = self.started.lock().clone()?;
        Some((started.runs, clock::monotonic().saturating_duration_since(started.at)))
    }

    /// Whether it is a function that runs.
    pub fn is_function(&self) -> bool {
        self.started.lock().as_ref().is_some_and(|started| matches!(started.runs, Runs::Function { .. }))
    }

    /// The script is about to write.
    pub fn note_write(&self) {
        self.has_written.store(true, Ordering::Release);
    }

    /// Stops a script, or a function, that has not written.
    pub fn kill(&self, function: bool) -> Kill {
        match self.age() {
            None => Kill::NotBusy,
            Some(_) if self.has_written.load(Ordering::Acquire) => Kill::Unkillable,
            Some(_) if self.is_function() != function => Kill::Other,
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

    /// Whether the server ends.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether the script should end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) || self.has_ended()
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.active.store(false, Ordering::Release);
        *self.0.started.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_script_that_has_not_written_is_killed() {
        let running = Running::default();
        assert_eq!(running.kill(false), Kill::NotBusy);
        let run = running.begin(Runs::Script);
        assert!(running.age().is_some() && !running.is_stopped());
        assert_eq!(running.kill(false), Kill::Done);
        assert!(running.is_stopped());
        drop(run);
        let run = running.begin(Runs::Script);
        assert!(!running.is_stopped());
        running.note_write();
        assert_eq!(running.kill(false), Kill::Unkillable);
        assert!(!running.is_stopped());
        drop(run);
        assert_eq!(running.age(), None);
    }

    #[test]
    fn a_script_and_a_function_are_killed_by_their_own_commands() {
        let running = Running::default();
        for is_function in [false, true] {
            let function = Runs::Function { name: "f".into(), command: vec!["FCALL".into()] };
            let run = running.begin(if is_function { function } else { Runs::Script });
            assert_eq!(running.is_function(), is_function);
            assert_eq!(running.kill(!is_function), Kill::Other);
            assert!(!running.is_stopped());
            assert_eq!(running.kill(is_function), Kill::Done);
            assert!(running.is_stopped());
            drop(run);
            assert!(running.now().is_none() && !running.is_function());
        }
    }

    #[test]
    fn the_end_of_the_server_is_the_end_of_every_script() {
        let running = Running::default();
        let run = running.begin(Runs::Script);
        running.end();
        assert!(running.is_stopped());
        drop(run);
        let _run = running.begin(Runs::Script);
        assert!(running.is_stopped());
    }
}
