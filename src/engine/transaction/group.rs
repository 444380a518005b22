//! Several commands as one: what EXEC and scripts need.
//!
//! While somebody runs [`alone`](Writer::alone), nobody else reads or writes, and no checkpoint begins: a thread that
//! acquires the engine's lock checks whether a group is open, and if so waits until it ends. The group itself reads and
//! writes through the handle that it was given. What the group writes
//! goes into memory as usual, so that its own commands see it, and its effects are collected. At the end they become
//! one journal entry:
//!
//! ```text
//!  open ──▶ commands: admitted, applied, undo kept ──▶ entry taken ──▶ told to listeners and watchers, gate opens
//!                        │                                  │
//!                        │ too large, or a command panics   │ no room, disk full, journal failed
//!                        └──────────────────────────────────┴──▶ everything taken back ([`crate::engine::state::undo`]), gate opens
//! ```
//!
//! Others therefore see all of it or nothing, a crash leaves all of it or nothing, and memory never holds what the
//! journal has refused. The commands themselves need not know about it.
//!
//! Who waits where is in [`crate::engine::state::group_lock`].

use crate::engine::core::Engine;
use crate::engine::core::handles::{Reader, Writer};
use crate::engine::effect;
use crate::engine::error::{Error, Fault};
use crate::engine::journal::Claim;
use crate::engine::journal::Seq;
use crate::engine::state::group::Group;
use crate::engine::state::undo::Undo;
use crate::engine::state::whole;
use crate::engine::state::{Leftovers, State};
#[cfg(test)]
use crate::engine::tests::atomicity;

/// An open group. If it is dropped without having been closed, a command has panicked, and everything
/// is undone.
struct Open<'e>(&'e Engine);

impl<'e> Open<'e> {
    fn new(engine: &'e Engine) -> Open<'e> {
        let mut state = engine.state.lock().write();
        let group = Group {
            effects: Vec::new(),
            bytes: 0,
            bytes_max: engine.journal.entry_bytes_max(),
            allowance: None,
            refusal: None,
            undo: Undo::new(&state),
            untold: Vec::new(),
            noted: Vec::new(),
        };
        state.group = Some(Box::new(group));
        Open(engine)
    }

    /// Appends what was written to the journal as one entry; if the journal refuses it, undoes it.
    fn close(self) -> Result<Seq, Error> {
        let engine = self.0;
        let (bytes, claim) = {
            let state = engine.state.lock().read();
            let group = state.group.as_ref();
            group.map_or((0, Claim::default()), |group| (group.bytes, effect::claim(&group.effects)))
        };
        if bytes > 0 {
            // Called before the lock is taken, because it may take as long as making a segment. Nobody else appends
            // meanwhile. If there is no room, the append says why.
            let _ = engine.journal.wait_room(bytes, claim);
        }
        // dropped after the lock is released
        let mut leftovers = Leftovers::default();
        // Under one lock, because a writer between the end of the group and its entry would get the entry's number, and
        // its change would be undone when the journal is replayed.
        let mut state = engine.state.lock().write();
        let Some(mut group) = state.group.take() else { return Ok(0) };
        #[cfg(test)]
        tests::between_group_and_entry(engine);
        let taken = whole::change(|| {
            let taken = match group.refusal.take() {
                Some(refusal) => Err(Fault::Journal(refusal)),
                None if group.effects.is_empty() => Ok(0),
                None => engine.append(&group.effects),
            };
            #[cfg(test)]
            atomicity::half_way();
            match &taken {
                Ok(seq) => {
                    engine.listening.tell_kept(&state.catalog, *seq, std::mem::take(&mut group.untold));
                    group.noted.iter().for_each(|noted| state.watches.note(noted));
                }
                Err(_) => engine.take_back(&mut state, &mut group),
            }
            taken
        });
        leftovers.take_group(group);
        drop(state);
        Ok(taken?)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut leftovers = Leftovers::default();
        let mut state = self.0.state.lock().write();
        if let Some(mut group) = state.group.take() {
            whole::change(|| self.0.take_back(&mut state, &mut group));
            leftovers.take_group(group);
        }
        drop(state);
    }
}

impl Reader<'_> {
    /// Whether the group will be refused as a whole.
    pub fn is_group_refused(&self) -> bool {
        self.state().group.as_ref().is_some_and(|group| group.refusal.is_some())
    }
}

impl Writer<'_> {
    /// Sets how many more bytes the group may write; `None` means as many as an entry can hold. A command that would
    /// write more is refused, and the group continues.
    pub fn allow_writes(&self, bytes_max: Option<usize>) {
        if let Some(group) = &mut self.state_mut().group {
            group.allowance = bytes_max.map(|bytes| (bytes, bytes));
        }
    }

    /// Runs several commands as one, through the handle that `run` gets. Returns their result, and the journal sequence
    /// number of what they wrote, or 0 if they wrote nothing.
    ///
    /// Fails if the journal refuses their entry, or if the entry would be too large. Then nothing has happened: what
    /// was written is undone before anyone else sees it. A call through the handle of a group is part of that group.
    pub fn alone<R>(self, run: impl FnOnce(Writer<'_>) -> R) -> Result<(R, Seq), Error> {
        if self.is_in_group() {
            return Ok((run(self), 0));
        }
        let _gate = self.engine.state.close();
        let open = Open::new(self.engine);
        let result = run(self.engine.writer_in_group());
        let seq = open.close()?;
        Ok((result, seq))
    }
}

impl Engine {
    fn take_back(&self, state: &mut State, group: &mut Group) {
        let nothing = Undo::new(state);
        state.take_back(std::mem::replace(&mut group.undo, nothing));
        self.note_memtable_bytes(state);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use bytes::Bytes;

    use crate::engine::transaction::group::*;
    use crate::engine::{Expiry, Options};
    use crate::store::{Key, Value};

    type Act = Box<dyn FnOnce(&Engine)>;

    thread_local! {
        static BETWEEN: RefCell<Option<Act>> = const { RefCell::new(None) };
    }

    /// Called after a group has ended and before its entry is appended.
    pub fn between_group_and_entry(engine: &Engine) {
        if let Some(act) = BETWEEN.take() {
            act(engine);
        }
    }

    fn open(dir: &std::path::Path) -> std::sync::Arc<Engine> {
        Engine::open(Options { checkpoint_interval: Duration::from_secs(3600), ..Options::new(dir) }).unwrap()
    }

    fn put(engine: Writer<'_>, value: i64) -> Seq {
        let key = key();
        let put = engine
            .write(1, std::slice::from_ref(&key), |txn| txn.put(&key, Value::integer(value), Expiry::Never));
        put.unwrap().1
    }

    fn get(engine: &Engine) -> Bytes {
        let key = key();
        engine.reader().read(1, std::slice::from_ref(&key), |txn| txn.get(&key)).unwrap().0.unwrap().value
    }

    fn key() -> Key {
        Key::new(0, Bytes::from_static(b"k"))
    }

    /// Writes from another thread, if the engine's lock is to be had in that time.
    fn write_if_possible(engine: &Engine, value: i64, patience: Duration) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if engine.state.lock().try_write_for(patience).is_some() {
                    put(engine.writer(), value);
                }
            });
        });
    }

    #[test]
    fn no_writer_comes_between_a_group_and_its_entry() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        BETWEEN.set(Some(Box::new(|engine| write_if_possible(engine, 2, Duration::ZERO))));
        let (seq_inside, seq) = engine.writer().alone(|group| put(group, 1)).unwrap();
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
            let _ = engine.writer().alone(|_| panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        write_if_possible(&engine, 3, Duration::from_secs(60));
        assert_eq!(get(&engine), "3");
        engine.close().unwrap();
    }
}
