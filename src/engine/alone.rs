//! Several commands as one: what EXEC needs.
//!
//! Every read and write of the engine passes a gate, many at a time. Whoever runs [`alone`](Engine::alone) closes it:
//! nobody else reads or writes meanwhile, and no checkpoint begins. What is written goes into memory as usual, and its
//! effects are collected; at the end they become one journal entry. So others see all of it or nothing, a crash leaves
//! all of it or nothing, and the commands themselves need not know.
//!
//! The thread that is alone passes its own gate; a flag of the thread says so.

use std::cell::Cell;

use parking_lot::RwLockReadGuard;

use super::effect::Effect;
use super::{Engine, Seq};
use crate::error::Error;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has the engine to itself.
pub(super) fn is_alone() -> bool {
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
    /// Waits while somebody is alone. Held for the length of a read or write.
    pub(super) fn pass_gate(&self) -> Option<RwLockReadGuard<'_, ()>> {
        if ALONE.get() { None } else { Some(self.gate.read()) }
    }

    /// Runs several commands as one. Gives their result, and the journal sequence number of what they wrote, 0 if they
    /// wrote nothing.
    ///
    /// Fails if the journal takes the entry no more; what was written is in memory then, whole, and the next checkpoint
    /// decides whether it lasts.
    pub fn alone<R>(&self, run: impl FnOnce() -> R) -> Result<(R, Seq), Error> {
        let _gate = self.gate.write();
        ALONE.set(true);
        let reopen = Reopen(self);
        self.state.write().group = Some(Vec::new());
        let result = run();
        let effects: Vec<Effect> = self.state.write().group.take().unwrap_or_default();
        let seq = if effects.is_empty() { 0 } else { self.append(&effects)? };
        drop(reopen);
        Ok((result, seq))
    }
}
