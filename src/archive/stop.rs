//! How the threads of an archive are told to end, and how they wait.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Raised once.
#[derive(Debug, Default)]
pub struct Stop {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub fn raise(&self) {
        *self.raised.lock() = true;
        self.changed.notify_all();
    }

    pub fn is_raised(&self) -> bool {
        *self.raised.lock()
    }

    /// Waits for so long, or until it is raised. Returns whether it is.
    pub fn wait(&self, at_most: Duration) -> bool {
        let mut raised = self.raised.lock();
        if !*raised {
            self.changed.wait_for(&mut raised, at_most);
        }
        *raised
    }
}
