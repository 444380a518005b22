//! Several commands as one: what EXEC needs.
//!
//! While somebody runs [`alone`](Engine::alone), nobody else reads or writes, and no checkpoint begins: who takes the
//! engine's lock looks whether a group is open, and waits at the gate if so. What is written goes into memory as usual,
//! and its effects are collected; at the end they become one journal entry. So others see all of it or nothing, a crash
//! leaves all of it or nothing, and the commands themselves need not know.
//!
//! The thread that is alone may take the lock; a flag of the thread says so.

use std::cell::Cell;

use parking_lot::{RwLockReadGuard, RwLockWriteGuard};

use super::effect::Effect;
use super::state::State;
use super::{Engine, Seq};
use crate::error::Error;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has the engine to itself.
pub fn is_alone() -> bool {
    ALONE.get()
}

/// Opens the gate again, whatever happened.
struct Reopen<'e>(&'e Engine);

impl Drop for Reopen<'_> {
    fn drop(&mut self) {
        ALONE.set(false);
        self.0.state.write().group = None;
    }
}

impl Engine {
    /// The state, to read; waits while somebody else is alone.
    pub(super) fn read_state(&self) -> RwLockReadGuard<'_, State> {
        loop {
            let state = self.state.read();
            if state.group.is_none() || ALONE.get() {
                return state;
            }
            drop(state);
            drop(self.gate.lock());
        }
    }

    /// The state, to change; waits while somebody else is alone.
    pub(super) fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        loop {
            let state = self.state.write();
            if state.group.is_none() || ALONE.get() {
                return state;
            }
            drop(state);
            drop(self.gate.lock());
        }
    }

    /// Runs several commands as one. Gives their result, and the journal sequence number of what they wrote, 0 if they
    /// wrote nothing.
    ///
    /// Fails if the journal takes the entry no more; what was written is in memory then, whole, and the next checkpoint
    /// decides whether it lasts.
    pub fn alone<R>(&self, run: impl FnOnce() -> R) -> Result<(R, Seq), Error> {
        let _gate = self.gate.lock();
        ALONE.set(true);
        let reopen = Reopen(self);
        self.state.write().group = Some(Vec::new());
        let result = run();
        // Under one lock: a writer that came between the group's end and its entry would take the entry's number, and
        // be undone by it when the journal is replayed.
        let mut state = self.state.write();
        let effects: Vec<Effect> = state.group.take().unwrap_or_default();
        let seq = if effects.is_empty() { 0 } else { self.append(&effects)? };
        drop(state);
        drop(reopen);
        Ok((result, seq))
    }
}
