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
        let mut state = self.0.state.write();
        state.group = None;
        state.untold.clear();
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

    /// What has been written so far by who is alone, behind the first `from` effects: how many effects there are, and how
    /// many bytes those behind take.
    pub fn written_alone(&self, from: usize) -> (usize, usize) {
        let state = self.read_state();
        let written = state.group.as_deref().unwrap_or_default();
        let new = written.get(from..).unwrap_or_default();
        (written.len(), new.iter().map(Effect::encoded_bytes_max).sum())
    }

    /// Runs several commands as one. Gives their result, and the journal sequence number of what they wrote, 0 if they
    /// wrote nothing.
    ///
    /// Fails if the journal takes the entry no more; what was written is in memory then, whole, and the next checkpoint
    /// decides whether it lasts. Within another such call it is part of that one.
    pub fn alone<R>(&self, run: impl FnOnce() -> R) -> Result<(R, Seq), Error> {
        if is_alone() {
            return Ok((run(), 0));
        }
        let _gate = self.gate.lock();
        ALONE.set(true);
        let reopen = Reopen(self);
        self.state.write().group = Some(Vec::new());
        let result = run();
        // Under one lock: a writer that came between the group's end and its entry would take the entry's number, and
        // be undone by it when the journal is replayed.
        let mut state = self.state.write();
        let effects: Vec<Effect> = state.group.take().unwrap_or_default();
        #[cfg(test)]
        tests::between_group_and_entry(self);
        let seq = if effects.is_empty() { 0 } else { self.append(&effects)? };
        self.listening.tell_kept(&mut state, seq);
        drop(state);
        drop(reopen);
        Ok((result, seq))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::{Expiry, Options};
    use super::*;
    use crate::store::{Key, Value};

    type Act = Box<dyn FnOnce(&Engine)>;

    thread_local! {
        static BETWEEN: RefCell<Option<Act>> = const { RefCell::new(None) };
    }

    /// Called after a group has ended and before its entry is taken.
    pub fn between_group_and_entry(engine: &Engine) {
        if let Some(act) = BETWEEN.take() {
            act(engine);
        }
    }

    fn open(dir: &std::path::Path) -> std::sync::Arc<Engine> {
        Engine::open(Options { checkpoint_interval: Duration::from_secs(3600), ..Options::new(dir) }).unwrap()
    }

    fn put(engine: &Engine, value: i64) -> Seq {
        let key = key();
        let put = engine
            .write(1, std::slice::from_ref(&key), |txn| txn.put(&key, Value::integer(value), Expiry::Never));
        put.unwrap().1
    }

    fn get(engine: &Engine) -> Bytes {
        let key = key();
        engine.read(1, std::slice::from_ref(&key), |txn| txn.get(&key)).unwrap().0.unwrap().value
    }

    fn key() -> Key {
        Key::new(0, Bytes::from_static(b"k")).unwrap()
    }

    /// Writes from another thread, if the engine's lock is to be had in that time.
    fn write_if_possible(engine: &Engine, value: i64, patience: Duration) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if engine.state.try_write_for(patience).is_some() {
                    put(engine, value);
                }
            });
        });
    }

    #[test]
    fn no_writer_comes_between_a_group_and_its_entry() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        BETWEEN.set(Some(Box::new(|engine| write_if_possible(engine, 2, Duration::ZERO))));
        let (seq_inside, seq) = engine.alone(|| put(&engine, 1)).unwrap();
        assert!(BETWEEN.take().is_none(), "it was called");
        assert_eq!(seq, seq_inside, "the entry has the number that its records bear");
        let before = get(&engine);
        engine.abandon();
        drop(engine);
        let engine = open(dir.path());
        assert_eq!(get(&engine), before, "replaying the journal changes nothing");
        engine.close().unwrap();
    }

    #[test]
    fn a_group_that_panics_leaves_the_gate_open() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = engine.alone(|| panic!("on purpose"));
        }));
        assert!(panicked.is_err() && !is_alone());
        write_if_possible(&engine, 3, Duration::from_secs(60));
        assert_eq!(get(&engine), "3");
        engine.close().unwrap();
    }
}
