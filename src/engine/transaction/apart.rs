//! Writes that may take long, run apart from the engine's lock.
//!
//! A thread that holds the lock keeps all others waiting. Therefore a command does not run under the lock if it reads a
//! value from LMDB, works on a large value, or declares that it [takes time](WriteTxn::take_time):
//!
//! ```text
//!           misplaced                          nothing has changed
//!  Quick ─────────────▶ Apart: look, run, lock ─────────────────────▶ committed
//!    │                    ▲   │
//!    │ no room yet:       └───┤ something has changed, or no room yet: wait, and run again
//!    └ wait, run again        └──▶ Locked, after a few conflicts: under the lock, however long it takes
//! ```
//!
//! Apart from the lock, the command sees the declared keys and their stores as of one instant, as a read does.
//! Afterwards, under the lock, it is checked that everything it saw is unchanged: the versions of its records, the
//! definitions of its stores, and who listens. If so, its effects are the same as if it had run just now. A command
//! that keeps conflicting with others eventually runs under the lock.

use smallvec::SmallVec;

use crate::engine::core::Engine;
use crate::engine::core::handles::Writer;
use crate::engine::error::Error;
use crate::engine::journal::Seq;
use crate::engine::limits::weigh::Sizes;
use crate::engine::state::changes::Changes;
use crate::engine::state::{Leftovers, State};
use crate::engine::transaction::commit::Committed;
use crate::engine::transaction::look::{OnDisk, Resolved};
use crate::engine::transaction::txn::{Held, Stores, View, WriteTxn};
use crate::store::{Generation, Key, Store};

/// After so many conflicts, or waits for room, a command runs under the lock.
const ATTEMPTS_MAX: u8 = 4;

/// Where a command is run.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// Under the lock, unless it turns out to take long.
    Quick {
        waits: u8,
    },
    Apart {
        conflicts: u8,
    },
    /// Under the lock, however long it takes.
    Locked,
}

impl Default for Place {
    fn default() -> Place {
        Place::Quick { waits: 0 }
    }
}

impl Place {
    /// Where to try again after waiting for room.
    pub fn after_wait(self) -> Place {
        match self {
            Place::Quick { waits } if waits < ATTEMPTS_MAX => Place::Quick { waits: waits + 1 },
            Place::Apart { conflicts } => Place::Apart { conflicts },
            Place::Quick { .. } | Place::Locked => Place::Locked,
        }
    }
}

/// What is kept of a command that is run several times.
#[derive(Default)]
pub struct Weighed {
    pub(in crate::engine) sizes: Sizes,
    /// Where the command is run next.
    pub(in crate::engine) place: Place,
}

/// What a command saw in memory.
struct Seen {
    epoch: u64,
    /// For each declared key its generation and, if a memtable knew it, the version of its last change.
    keys: SmallVec<[(Generation, Option<Seq>); 1]>,
    stores: Stores,
    /// Whether somebody followed each of the stores.
    followed: SmallVec<[bool; 1]>,
}

impl Writer<'_> {
    /// Runs a command apart from the lock. Returns `None` if the command has to be run again.
    pub(in crate::engine) fn write_apart<R, E: From<Error>>(
        &self,
        now_ms: u64,
        keys: &[Key],
        weighed: &mut Weighed,
        run: impl FnOnce(&mut WriteTxn<'_>) -> Result<R, E>,
    ) -> Result<Option<(R, Seq)>, E> {
        let mut changes = Changes::new(self.engine.listening.wanted());
        let seen;
        let (result, reflects) = {
            let snapshot;
            let mut resolved = Resolved::default();
            {
                let state = self.state();
                resolved.look_in_memory(&state, keys, &OnDisk::default(), Held::own)?;
                snapshot = if resolved.missing.is_empty() { None } else { Some(self.engine.snapshot()?) };
                seen = self.engine.see(&state, keys)?;
            }
            if let Some(snapshot) = &snapshot {
                let missing = std::mem::take(&mut resolved.missing);
                let on_disk = self.engine.look_on_disk(snapshot, keys, missing, seen.epoch, self.wait)?;
                resolved.declare_missing(keys, &on_disk);
            }
            let Resolved { declared, reflects, .. } = resolved;
            let (view, changes, listening) =
                (View::Apart(&seen.stores), &mut changes, &self.engine.listening);
            (run(&mut WriteTxn { now_ms, view, keys, declared, changes, listening }), reflects)
        };
        if changes.is_misplaced.get() {
            weighed.place = Place::Locked;
            return Ok(None);
        }
        let result = result?;
        let mut leftovers = Leftovers::default();
        for attempt in 0..=ATTEMPTS_MAX {
            let mut state = self.state_mut();
            if !self.engine.is_as_seen(&state, keys, &seen, &changes) {
                let conflicts =
                    if let Place::Apart { conflicts } = weighed.place { conflicts + 1 } else { 1 };
                let is_over = conflicts >= ATTEMPTS_MAX;
                weighed.place = if is_over { Place::Locked } else { Place::Apart { conflicts } };
                return Ok(None);
            }
            if state.is_bounded
                && let Some(unfit) = self.engine.fit(&mut state, &mut changes, Some(&weighed.sizes))?
            {
                drop(state);
                self.weigh(unfit, Some(&mut weighed.sizes));
                return Ok(None);
            }
            let may_wait = attempt == ATTEMPTS_MAX;
            match self.engine.commit(&mut state, &mut changes, &mut leftovers, may_wait)? {
                Committed::Done(seq) => {
                    drop(state);
                    return Ok(Some((result, seq.unwrap_or(reflects))));
                }
                Committed::NoRoom(bytes, claim) => {
                    drop(state);
                    self.engine.journal.wait_room(bytes, claim).map_err(Error::from)?;
                }
            }
        }
        Ok(None)
    }
}

impl Engine {
    fn see(&self, state: &State, keys: &[Key]) -> Result<Seen, Error> {
        let mut seen = Seen {
            epoch: state.epoch,
            keys: SmallVec::new(),
            stores: Stores { stores: SmallVec::new(), default_kind: state.default_kind },
            followed: SmallVec::new(),
        };
        for key in keys {
            let store = state.catalog.get(key.store).ok_or(Error::NoStore(key.store))?;
            let entry = state.entry(store.generation, &key.name);
            seen.keys.push((store.generation, entry.map(|entry| entry.version)));
            if seen.stores.stores.iter().all(|seen| seen.id != store.id) {
                seen.stores.stores.push(store.clone());
                seen.followed.push(self.listening.follows(store.id));
            }
        }
        Ok(seen)
    }

    fn is_as_seen(&self, state: &State, keys: &[Key], seen: &Seen, changes: &Changes) -> bool {
        let is_same = |now: &Store, then: &Store| {
            (now.generation, now.kind, now.quota) == (then.generation, then.kind, then.quota)
        };
        let mut stores = seen.stores.stores.iter().zip(&seen.followed);
        state.default_kind == seen.stores.default_kind
            && self.listening.wanted() == changes.news.wanted()
            && stores.all(|(then, followed)| {
                state.catalog.get(then.id).is_some_and(|now| is_same(now, then))
                    && self.listening.follows(then.id) == *followed
            })
            && keys.iter().zip(&seen.keys).all(|(key, (generation, version))| {
                match state.entry(*generation, &key.name) {
                    Some(entry) => *version == Some(entry.version),
                    // LMDB holds the same as long as no checkpoint has ended
                    None => version.is_none() && state.epoch == seen.epoch,
                }
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use crate::engine::events::{Classes, News, Tap};
    use crate::engine::journal::disk::sim::SimDisk;
    use crate::engine::transaction::apart::*;
    use crate::engine::{Event, Expiry, Options};
    use crate::store::{Catalog, Value, ValueKind};

    fn open(disk: &SimDisk) -> (tempfile::TempDir, Arc<Engine>) {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options {
            checkpoint_interval: Duration::from_secs(3600),
            default_kind: ValueKind::Any,
            journal_segment_bytes: 64 * 1024,
            disk: Arc::new(disk.clone()),
            cache_bytes_max: 0,
            ..Options::new(dir.path())
        });
        (dir, engine.unwrap())
    }

    fn key(name: &'static str) -> Key {
        Key::new(0, Bytes::from_static(name.as_bytes()))
    }

    /// Runs it until it is done, as dispatch does.
    fn write<R>(
        engine: Writer<'_>,
        key: &Key,
        mut run: impl FnMut(&mut WriteTxn<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut weighed = Weighed::default();
        loop {
            let keys = std::slice::from_ref(key);
            if let Some((result, _)) = engine.write_weighed(1, keys, &mut weighed, &mut run)? {
                return Ok(result);
            }
        }
    }

    fn put(engine: &Engine, key: &Key, value: &str) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        write(engine.writer(), key, |txn| txn.put(key, Value::unchecked(value.clone()), Expiry::Never))
            .unwrap();
    }

    fn get(engine: &Engine, key: &Key) -> String {
        let record =
            engine.reader().read(1, std::slice::from_ref(key), |txn| txn.get(key)).unwrap().0.unwrap();
        String::from_utf8(record.value.to_vec()).unwrap()
    }

    /// Appends a letter; says whether that happened while the lock was free.
    fn append(engine: &Engine, key: &Key, beside: &mut dyn FnMut()) -> bool {
        append_through(engine.writer(), key, beside)
    }

    fn append_through(engine: Writer<'_>, key: &Key, beside: &mut dyn FnMut()) -> bool {
        let mut was_free = false;
        write(engine, key, |txn| {
            let old = txn.get(key)?.unwrap().value;
            was_free = engine.engine.state.lock().try_write().is_some();
            if was_free {
                beside();
            }
            txn.put(key, Value::unchecked([&old[..], b"+"].concat()), Expiry::Keep)?;
            txn.notify(key, Event::APPEND);
            Ok(())
        })
        .unwrap();
        was_free
    }

    #[test]
    fn cold_and_large_values_are_worked_on_without_the_lock() {
        let (_dir, engine) = open(&SimDisk::default());
        let (cold, large, small) = (key("cold"), key("large"), key("small"));
        put(&engine, &cold, &"cold ".repeat(100));
        engine.writer().checkpoint().unwrap();
        put(&engine, &large, &"large ".repeat(10_000));
        put(&engine, &small, "small");
        for (key, was_free) in [(&cold, true), (&large, true), (&small, false), (&cold, false)] {
            let before = get(&engine, key);
            assert_eq!(append(&engine, key, &mut || ()), was_free, "{key:?}");
            assert_eq!(get(&engine, key), before + "+");
        }
        // a group has the engine to itself
        put(&engine, &large, &"large ".repeat(10_000));
        let (was_free, _) = engine.writer().alone(|group| append_through(group, &large, &mut || ())).unwrap();
        assert!(!was_free && get(&engine, &large).ends_with("e +"));
        let took_time = write(engine.writer(), &small, |txn| {
            txn.take_time()?;
            Ok(engine.state.lock().try_write().is_some())
        });
        assert!(took_time.unwrap());
        engine.close().unwrap();
    }

    /// Whatever changes meanwhile, nothing is lost, and after some conflicts the command runs under the lock.
    #[test]
    fn what_has_changed_meanwhile_is_looked_at_again() {
        let (_dir, engine) = open(&SimDisk::default());
        let large = key("large");
        type Beside<'a> = &'a dyn Fn();
        let letters = |letter| "l".repeat(100_000).replace('l', letter);
        let other = || put(&engine, &large, &letters("o"));
        let flush_and_put = || {
            engine.writer().write(1, &[], |txn| txn.flush(0)).unwrap();
            put(&engine, &large, &letters("f"));
        };
        let checkpoint = || engine.writer().checkpoint().unwrap();
        let cases: [(Beside<'_>, &str); 3] = [(&other, "o+"), (&flush_and_put, "f+"), (&checkpoint, "l+")];
        for (beside, end) in cases {
            for times in [1, 100] {
                put(&engine, &large, &letters("l"));
                let mut left = times;
                let was_free = append(&engine, &large, &mut || {
                    if left > 0 {
                        left -= 1;
                        beside();
                    }
                });
                assert!(get(&engine, &large).ends_with(end), "{end} {times}");
                assert_eq!(get(&engine, &large).len(), 100_001);
                assert_eq!(was_free, times == 1 || end == "l+", "{end} {times}");
            }
        }
        engine.close().unwrap();
    }

    #[test]
    fn who_begins_to_listen_meanwhile_is_told() {
        #[derive(Default)]
        struct Heard(parking_lot::Mutex<usize>);
        impl Tap for Heard {
            fn told(&self, _: Seq, _: &Catalog, news: &News) {
                *self.0.lock() += news.events.len();
            }
        }
        let (_dir, engine) = open(&SimDisk::default());
        let (large, heard) = (key("large"), Arc::new(Heard::default()));
        engine.set_tap(heard.clone());
        put(&engine, &large, &"l".repeat(100_000));
        append(&engine, &large, &mut || engine.reader().listen(Classes::all(), Classes::STRING));
        assert_eq!(*heard.0.lock(), 1);
        engine.close().unwrap();
    }

    #[test]
    fn the_lock_is_free_while_the_journal_makes_room() {
        const PATIENCE: Duration = Duration::from_secs(20);
        let disk = SimDisk::default();
        let (_dir, engine) = open(&disk);
        for of in ["quick", "apart"] {
            let large = key("large");
            put(&engine, &large, "x");
            if of == "apart" {
                put(&engine, &large, &"l".repeat(40_000));
            }
            let held = disk.hold_writes();
            std::thread::scope(|scope| {
                let writing = scope.spawn(|| {
                    write(engine.writer(), &large, |txn| {
                        txn.get(&large)?;
                        txn.put(&large, Value::unchecked("v".repeat(300_000)), Expiry::Never)
                    })
                });
                let began = crate::engine::clock::monotonic();
                while !engine.journal.is_room_wanted() {
                    assert!(began.elapsed() < PATIENCE, "it waits for room");
                    std::thread::sleep(Duration::from_millis(1));
                }
                // can never be acquired while the writer waits under it
                assert!(engine.state.lock().try_write_for(Duration::from_secs(3)).is_some(), "{of}");
                drop(held);
                writing.join().unwrap().unwrap();
            });
            assert_eq!(get(&engine, &large).len(), 300_000);
        }
        engine.close().unwrap();
    }
}
