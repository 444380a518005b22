//! Expiry: removes what is due, without anyone reading it.
//!
//! A record is absent from the instant of its expiry on, whatever the sweeper does ([`crate::engine::transaction::txn`] sees to that). The
//! sweeper frees its space and updates the counters. It finds candidates in the memtables' deadlines and in LMDB's
//! index. LMDB's index is only as new as the last checkpoint, so a row may belong to a record that has changed since.
//! Every candidate is therefore checked again, under the lock, before it is removed, and a walk remembers how far it
//! got in LMDB until the next checkpoint has removed the rows.
//!
//! Runs on its own thread, in bounded steps. When very many records are due at once, it waits for room in the memtable
//! and the journal as every writer does, and leaves a part of the room to clients: records that it has not removed yet
//! are absent anyway.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::clock;
use crate::engine::core::Engine;
use crate::engine::core::handles::Writer;
use crate::engine::core::swept::Position;
use crate::engine::error::{Error, Fault};
use crate::engine::expiry::retention::Rounds;
use crate::engine::journal::Claim;
use crate::engine::limits::fill::Warned;
use crate::engine::lmdb::DeadlineRow;
use crate::engine::state::State;
use crate::store::{Generation, Key};

/// How often the sweeper looks for what is due.
const EVERY: Duration = Duration::from_millis(100);
/// How often it does while nothing is written and nothing expires, so that a server at rest costs little.
const EVERY_AT_REST: Duration = Duration::from_millis(500);
/// After so many turns without a write, the server is at rest.
const TURNS_BEFORE_REST: u32 = 100;
/// While nothing is written, the space of the disk is looked at in one of so many turns.
const TURNS_PER_LOOK_AT_SPACE: u32 = 10;
/// The number of records that one transaction removes.
const REMOVED_AT_ONCE: usize = 128;
/// The most bytes of the journal that a removal takes in addition to its key.
const REMOVAL_OVERHEAD_BYTES: usize = 16;
/// The number of records that one walk removes before it reads the clock again.
const REMOVED_PER_WALK: usize = 8_192;

/// The number of cached records that are looked at in one critical section.
const CACHED_AT_ONCE: usize = 1_024;

/// Keys of records that are due, and how far the walk has got when they are removed.
struct Due {
    keys: Vec<Key>,
    position: Position,
}

impl Writer<'_> {
    /// Lets the sweeper rest until a point in time by the steady clock; 0: it goes on at once. What is due is absent
    /// nevertheless.
    pub fn sweep_from(&self, steady_ms: u64) {
        self.engine.sweeps_from_ms.store(steady_ms, Ordering::Relaxed);
    }

    pub fn set_sweeping(&self, on: bool) {
        self.engine.sweeping.store(on, Ordering::Relaxed);
    }

    /// Removes some records that are due, for a command that met a limit, because the sweeper may be a tenth of a
    /// second late. Returns whether there were any.
    pub fn remove_due(&self, now_ms: u64) -> Result<bool, Error> {
        Ok(self.engine.may_sweep() && self.expire_due(now_ms, REMOVED_PER_WALK)? > 0)
    }

    /// Removes up to `records_max` records that are due. Returns how many.
    pub fn expire_due(&self, now_ms: u64, records_max: usize) -> Result<usize, Error> {
        let mut removed = 0;
        while removed < records_max {
            let Due { keys, position } = self.due(now_ms, REMOVED_AT_ONCE.min(records_max - removed))?;
            if keys.is_empty() {
                *self.engine.sweep.lock() = position;
                break;
            }
            if !self.engine.has_room_to_sweep(&keys) {
                break;
            }
            let outcome = self.write(now_ms, &keys, |txn| {
                let mut gone = 0;
                for key in &keys {
                    gone += usize::from(txn.remove_expired(key)?);
                }
                Ok::<_, Error>(gone)
            });
            // Removals that could not be written are found again later; a record that can't be read is not tried again
            // and again.
            if !outcome.as_ref().is_err_and(Error::is_of_machine) {
                *self.engine.sweep.lock() = position;
            }
            let (gone, _) = outcome?;
            removed += gone;
            self.engine.expired.fetch_add(gone as u64, Ordering::Relaxed);
        }
        Ok(removed)
    }

    /// Keys of records that are due, as far as can be told without the lock.
    fn due(&self, now_ms: u64, keys_max: usize) -> Result<Due, Error> {
        let (mut keys, snapshot, epoch) = {
            let state = self.state();
            let is_due = |generation: Generation, key: &[u8]| {
                let live = state.entry(generation, key).and_then(|entry| entry.live.as_ref());
                live.and_then(|live| live.expires_at_ms).is_some_and(|deadline| deadline <= now_ms)
            };
            let mut keys = Vec::new();
            let frozen = state.frozen.as_ref().map(|frozen| &frozen.memtable);
            for memtable in [Some(&state.active), frozen].into_iter().flatten() {
                for (generation, layer) in memtable.layers() {
                    let Some(store) = state.catalog.holding(generation) else { continue };
                    let due = layer.due(now_ms).filter(|(_, key)| is_due(generation, key));
                    let room = keys_max - keys.len();
                    keys.extend(
                        due.take(room)
                            .map(|(_, key)| Key { store: store.id, name: Bytes::copy_from_slice(key) }),
                    );
                }
            }
            (keys, self.engine.tables.snapshot()?, state.epoch)
        };
        let mut after = self.engine.sweep.lock().swept(epoch);
        for row in self.engine.tables.due(&snapshot, after.as_deref(), now_ms)? {
            if keys.len() >= keys_max {
                break;
            }
            let DeadlineRow { position, generation, key, .. } = row?;
            after = Some(position.to_vec());
            let state = self.state();
            // what the memtable knows about the key is newer
            if state.entry(generation, key).is_none()
                && let Some(store) = state.catalog.holding(generation)
            {
                keys.push(Key { store: store.id, name: Bytes::copy_from_slice(key) });
            }
        }
        Ok(Due { keys, position: Position { epoch, after } })
    }
}

impl Engine {
    /// Whether the sweeper is switched on and does not rest.
    pub fn may_sweep(&self) -> bool {
        self.is_sweeping() && self.sweeps_from_ms.load(Ordering::Relaxed) <= clock::steady_ms()
    }

    /// The thread that removes expired records, until the engine closes.
    pub(in crate::engine) fn run_sweeps(&self) {
        let (mut warned, mut rounds) = (Warned::default(), Rounds::default());
        let (mut written, mut turns_without_write, mut every) = (self.journal.last(), 0_u32, EVERY);
        while !self.room.closes_within(every) {
            let reading = clock::keep();
            let last = self.journal.last();
            turns_without_write = if last == written { turns_without_write.saturating_add(1) } else { 0 };
            written = last;
            let is_at_rest = turns_without_write >= TURNS_BEFORE_REST
                && self.state.read().catalog.iter().all(|store| store.usage.expiring == 0);
            every = if is_at_rest { EVERY_AT_REST } else { EVERY };
            self.watch_limits(&mut warned);
            self.forget_retired();
            // others may fill the disk, too
            if turns_without_write.is_multiple_of(TURNS_PER_LOOK_AT_SPACE) {
                self.note_space();
            }
            if !self.may_sweep() {
                continue;
            }
            // a fault here comes from the journal or from LMDB, and their own threads report it
            while matches!(
                self.writer().expire_due(clock::now_ms(), REMOVED_PER_WALK),
                Ok(REMOVED_PER_WALK..)
            ) {}
            self.writer().retain_in_turn(&reading, &mut rounds);
        }
    }

    /// Whether these records may be removed now. If not, a checkpoint makes room.
    pub(in crate::engine) fn has_room_to_sweep(&self, keys: &[Key]) -> bool {
        let bytes = keys.iter().map(|key| key.name.len() + REMOVAL_OVERHEAD_BYTES).sum();
        let is_open = self.room.is_open_for_sweeper(self.memtable_bytes.load(Ordering::Relaxed));
        is_open && self.journal.has_room(bytes, Claim::Removal)
    }

    /// Removes records of flushed and dropped stores from the cache, in steps that hold the lock only for moments.
    fn forget_retired(&self) {
        let mut from = {
            let state = self.state.read();
            if !state.cache_holds_retired {
                return;
            }
            state.cache.len()
        };
        self.state.write().cache_holds_retired = false;
        loop {
            let mut state = self.state.write();
            let State { cache, catalog, .. } = &mut *state;
            let (next, removed) =
                cache.retain_some(from, CACHED_AT_ONCE, |generation| catalog.holding(generation).is_some());
            from = next;
            drop(state);
            drop(removed);
            if from == 0 {
                return;
            }
        }
    }

    /// Whether there are flushed stores whose space has not been freed yet.
    pub fn is_reclaiming(&self) -> Result<bool, Fault> {
        Ok(self.tables.first_retired(&self.tables.snapshot()?)?.is_some())
    }
}
