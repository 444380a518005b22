//! The engine: transactions on records that are durable when they are acknowledged.
//!
//! ```text
//!  write ──▶ transaction under one short lock ──▶ memtable (memory, ordered on demand) ──▶ checkpoint ──▶ LMDB
//!                        │                                                                  (background)
//!                        └──▶ journal entry ──▶ syncer ──▶ acknowledged
//!  read  ──▶ memtable, frozen memtable, LMDB
//! ```
//!
//! Everything here is synchronous. It runs on the caller's thread, except for these threads: two of the engine, of which one
//! writes checkpoints and reclaims what was flushed, and the other removes what has expired; two of the journal, of which
//! one syncs, and the other makes segments ahead of need; and two that compress while a checkpoint is written. Tasks wait
//! in [`Engine::poll_acknowledged`], [`Engine::poll_gathered`] and [`Engine::poll_room`]. Threads block in
//! [`Engine::acknowledge`] and [`Engine::sync_gathered`] and, if the journal has no room for an entry that is much longer
//! than its request, in [`Journal::wait_room`].
//!
//! | part | what is in it |
//! |---|---|
//! | `handles` | what a caller may do with the engine: `Reader` and `Writer` |
//! | `transaction` | what a command sees and changes, groups of commands, watched keys |
//! | `memtable` | the changes since the last checkpoint, and the cache of records that LMDB holds |
//! | `journal` | the write-ahead log |
//! | `checkpoint` | moves changes from memory to LMDB |
//! | `lmdb` | the tables of LMDB, and reading and verifying its pages |
//! | `recovery` | opening a data directory, replaying the journal, closing |
//! | `expiry` | removes records whose deadline or retention has passed |
//! | `scan` | keys in order, counts, random keys |
//! | `limits` | quotas of stores, and room in memory and on disk |
//! | `events` | tells listeners what changed |
//! | `backup` | copies a running engine's data, and checks a data directory |
//! | `clock` | the only source of time |
//! | `error` | why the engine did not do something |

pub mod backup;
pub mod clock;
pub mod error;
pub mod events;
mod expiry;
mod handles;
pub mod journal;
mod limits;
pub mod lmdb;
mod memtable;
pub mod recovery;
pub mod scan;
pub mod transaction;

mod checkpoint;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

pub use crate::engine::error::{Error, Fault};
pub use crate::engine::events::Event;
pub use crate::engine::handles::{Reader, Writer};
pub use crate::engine::limits::fill::Fill;
pub use crate::engine::limits::weigh::Weighed;
pub use crate::engine::recovery::directory::DirectoryError;
pub use crate::engine::recovery::open::{OpenError, Options};
pub use crate::engine::transaction::txn::{Expiry, Meta, ReadTxn, Record, WriteTxn};
pub use crate::engine::transaction::watch::{Watch, Watches};
pub use checkpoint::CheckpointStatus;
pub use journal::{Claim, Fsync, Seq};
pub use lmdb::FileSpace;

use crate::engine::error::NoRoom;
use crate::engine::limits::weigh::Unfit;
use crate::engine::memtable::cache::Cached;
use crate::engine::memtable::state::{Leftovers, State};
use crate::engine::transaction::apart::Place;
use crate::engine::transaction::effect::Effect;
use crate::engine::transaction::group_lock::GroupLock;
use crate::engine::transaction::txn::{Changes, Declared, DeclaredKeys, Found, Held, View};
use crate::record::compress::Compression;
use crate::store::{Catalog, Generation, Key, ServerQuota, Store, StoreId, ValueKind};
use journal::Journal;
use lmdb::residence::Wait;
use lmdb::{Snapshot, Tables};

/// The engine. Cheap to share as an `Arc`; [`close`](Engine::close) ends it in order.
pub struct Engine {
    state: GroupLock<State>,
    tables: Tables,
    journal: Arc<Journal>,
    watches: Arc<Watches>,
    listening: events::Listening,
    compression: RwLock<Compression>,
    room: limits::room::Room,
    checkpoint: Arc<checkpoint::Control>,
    sweep: Mutex<expiry::sweep::Position>,
    sweeping: AtomicBool,
    /// Until when the sweeper rests, by the steady clock (`CLIENT PAUSE`).
    sweeps_from_ms: AtomicU64,
    /// The sequence number of the last change at points in time, for retention.
    timeline: Mutex<expiry::retention::Timeline>,
    expired: AtomicU64,
    memtable_bytes: AtomicUsize,
    noting_space: Mutex<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The data directory.
    dir: std::path::PathBuf,
    /// Held as long as the engine lives, so that no second server opens the directory.
    _lock: recovery::directory::Lock,
}

impl Engine {
    /// Prefetches the records of some keys into the processor's cache. A look-up of a record that is in memory but not
    /// hot mostly waits for memory; here these waits overlap.
    pub fn warm_up<'k>(&self, store: StoreId, keys: impl Iterator<Item = &'k Bytes>) {
        let state = self.state.read();
        let Some(generation) = state.catalog.get(store).map(|store| store.generation) else { return };
        // first all slots, then all values: the less happens between the waits, the more they overlap
        let values: SmallVec<[&Bytes; 32]> = keys.filter_map(|key| state.value(generation, key)).collect();
        for value in values {
            fetch(value);
        }
    }

    /// Asks the system for the pages of records that are neither in memory nor in its page cache, so that it reads them at
    /// the same time. Does not wait for that.
    pub fn fetch_cold<'k>(&self, store: StoreId, keys: impl Iterator<Item = &'k Bytes>) {
        let mut wanted: Vec<&[u8]> = Vec::new();
        let (generation, snapshot) = {
            let state = self.state.read();
            let Some(generation) = state.catalog.get(store).map(|store| store.generation) else { return };
            let is_on_disk = |key: &&Bytes| {
                state.entry(generation, key).is_none() && state.cache.get(generation, key).is_none()
            };
            wanted.extend(keys.filter(is_on_disk).map(|key| &key[..]));
            (generation, self.tables.snapshot())
        };
        // nothing depends on this, so an error is left to who looks the record up
        let Ok(snapshot) = snapshot else { return };
        wanted.sort_unstable();
        self.tables.fetch_records(&snapshot, wanted.into_iter().map(|key| (generation, key)));
    }

    /// LMDB as it is now.
    fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        Ok(self.tables.snapshot()?)
    }

    fn look_on_disk<'s>(
        &'s self,
        snapshot: &'s Snapshot<'_>,
        keys: &[Key],
        missing: Missing,
        epoch: u64,
        wait: Wait,
    ) -> Result<OnDisk<'s>, Error> {
        let look = |at: usize, generation, wait| {
            // LMDB returns an error for a key that is longer than its keys can be
            let is_possible = !keys[at].is_too_long();
            let record = is_possible.then(|| self.tables.record(snapshot, generation, &keys[at].name, wait));
            Ok::<_, Fault>((at, generation, Found::of_disk(record.transpose()?.flatten())))
        };
        let mut found = Vec::with_capacity(missing.len());
        if wait == Wait::No || missing.len() == 1 {
            for (at, generation) in missing {
                found.push(look(at, generation, wait)?);
            }
            return Ok(OnDisk { found, epoch });
        }
        // what is not in memory is looked up in a second round, when the system has been asked for all of it
        let mut cold = Missing::new();
        for (at, generation) in missing {
            match look(at, generation, Wait::No) {
                Err(Fault::Cold) => cold.push((at, generation)),
                looked => found.push(looked?),
            }
        }
        if !cold.is_empty() {
            for (at, generation) in cold {
                found.push(look(at, generation, Wait::ForDisk)?);
            }
            found.sort_unstable_by_key(|(at, ..)| *at);
        }
        Ok(OnDisk { found, epoch })
    }

    /// Appends the effects to the journal, and then makes them visible.
    fn commit(
        &self,
        state: &mut State,
        changes: &mut Changes,
        leftovers: &mut Leftovers,
        may_wait: bool,
    ) -> Result<Committed, Error> {
        if changes.effects.is_empty() {
            self.listening.tell_or_keep(state, 0, std::mem::take(&mut changes.news));
            return Ok(Committed::Done(None));
        }
        let seq = match &mut state.group {
            Some(group) => {
                group.admit(&changes.effects)?;
                self.journal.last() + 1
            }
            None if may_wait => self.append(&changes.effects)?,
            None => match self.append_at_once(&changes.effects) {
                Err(Fault::Journal(journal::Fault::NoRoomYet)) => {
                    return Ok(Committed::NoRoom(
                        encoded_bytes(&changes.effects),
                        transaction::effect::claim(&changes.effects),
                    ));
                }
                taken => taken?,
            },
        };
        let stored_sizes = changes.take_stored_sizes();
        let mut news = std::mem::take(&mut changes.news);
        news.add_changes(&state.catalog, &changes.effects);
        transaction::whole::change(|| {
            #[cfg(test)]
            tests::atomicity::half_way();
            self.listening.tell_or_keep(state, seq, news);
            for (effect, replaced) in changes.effects.drain(..).zip(changes.replaced.drain(..)) {
                state.apply(seq, effect, replaced, leftovers);
            }
            changes.swapped.drain(..).for_each(|noted| state.note_for_watchers(noted));
            for (generation, key, stored_bytes) in stored_sizes {
                state.note_stored_bytes(generation, &key, seq, stored_bytes);
            }
            self.note_memtable_bytes(state);
        });
        Ok(Committed::Done(Some(seq)))
    }

    /// Appends a journal entry, and waits for room if there is none yet. Callers have made sure that there is room for
    /// the request ([`Engine::poll_room`]), but an entry that is much longer than its request (the copy of a large
    /// value) may find none.
    fn append(&self, effects: &[Effect]) -> Result<Seq, Fault> {
        loop {
            match self.append_at_once(effects) {
                Err(Fault::Journal(journal::Fault::NoRoomYet)) => {
                    self.journal.wait_room(encoded_bytes(effects), transaction::effect::claim(effects))?;
                }
                taken => return taken,
            }
        }
    }

    /// Appends a journal entry if there is room for it.
    fn append_at_once(&self, effects: &[Effect]) -> Result<Seq, Fault> {
        self.journal.check_entry(encoded_bytes(effects))?;
        Ok(self.journal.append(transaction::effect::claim(effects), |_, entry| {
            effects.iter().for_each(|effect| effect.encode(entry))
        })?)
    }

    /// Ready once everything up to `seq` is as durable as the policy promises. This is the one rule for replies: no
    /// reply is sent before everything that it reflects is durable.
    pub fn poll_acknowledged(&self, seq: Seq, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.journal.poll_acknowledged(seq, cx).map_err(Error::from)
    }

    /// The same, for a caller that will soon call [`sync_gathered`](Engine::sync_gathered) on behalf of many that wait like this.
    pub fn poll_gathered(&self, seq: Seq, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.journal.poll_gathered(seq, cx).map_err(Error::from)
    }

    /// Makes everything up to `seq` as durable as the policy promises, on this thread, however long that takes.
    pub fn acknowledge(&self, seq: Seq) -> Result<(), Error> {
        self.journal.acknowledge(seq).map_err(Error::from)
    }

    /// Whether [`sync_gathered`](Engine::sync_gathered) would sync.
    pub fn is_sync_due(&self) -> bool {
        self.journal.is_sync_due()
    }

    /// Makes everything so far as durable as the policy promises, for all callers that wait with
    /// [`poll_gathered`](Engine::poll_gathered). Takes as long as a short sync.
    pub fn sync_gathered(&self) {
        self.journal.sync_gathered();
    }

    /// Ready once journal and memtable have room for a write of so many bytes with this claim. Fails if there is no room
    /// and none can be made.
    pub fn poll_room(&self, bytes: usize, claim: Claim, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.journal.poll_room(bytes, claim, cx) {
            Poll::Ready(Ok(())) => self.poll_memtable_room(bytes, claim, cx),
            // a checkpoint frees the space of the journal, as long as checkpoints succeed
            Poll::Ready(Err(journal::Fault::DiskFull(why)))
                if self.checkpoint.is_behind(self.journal.last()) =>
            {
                let is_there = || self.journal.has_room(bytes, claim);
                let refusal = || journal::Fault::DiskFull(why).into();
                let waiting = self.room.poll_checkpoint(cx, is_there, refusal);
                self.checkpoint.request();
                waiting
            }
            other => other.map_err(Error::from),
        }
    }

    fn poll_memtable_room(
        &self,
        bytes: usize,
        claim: Claim,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let memtable_bytes = || self.memtable_bytes.load(Ordering::Acquire);
        let lacks_space = || claim == Claim::Ordinary && !self.room.has_space(memtable_bytes(), bytes);
        if lacks_space() {
            self.note_space();
        }
        let lacks_space = lacks_space();
        if lacks_space && memtable_bytes() == 0 {
            // there is nothing that a checkpoint could compress or replace to make space
            let why = self.tables.shortage().unwrap_or_else(|fault| fault).to_string();
            self.room.note_shortage(bytes, &why);
            return Poll::Ready(Err(Error::NoRoom(NoRoom::File(why))));
        }
        let room = self.room.poll(bytes, claim, cx, memtable_bytes);
        if lacks_space {
            // what is in memory counts with its plain size: once it is in LMDB, one knows better
            self.checkpoint.request();
        }
        room
    }

    /// Notes how much checkpoints may still add to LMDB, once the journal has what it is going to take.
    fn note_space(&self) {
        // one after another, so that no older figure replaces a newer one
        let _noting = self.noting_space.lock();
        // what can't be read now is not known to be short: a checkpoint is going to say what is wrong
        let spare = self.tables.spare_bytes(self.journal.owed_bytes()).unwrap_or(u64::MAX);
        let commit = checkpoint::commit_overhead_bytes(self.tables.page_bytes());
        self.room.note_space(spare.saturating_sub(commit));
    }

    /// Whether there is room for writes of so many bytes now.
    pub fn has_room(&self, bytes: usize) -> bool {
        let claim = Claim::Ordinary;
        self.room.is_open(self.memtable_bytes.load(Ordering::Acquire), bytes, claim)
            && self.journal.has_room(bytes, claim)
    }

    fn note_memtable_bytes(&self, state: &State) {
        let journal_bytes = self.journal.bytes().saturating_sub(state.journal_bytes_frozen);
        let due = state.active.bytes().max(usize::try_from(journal_bytes).unwrap_or(usize::MAX));
        self.memtable_bytes.store(state.memtable_bytes(), Ordering::Release);
        self.room.note_journal_bytes(journal_bytes);
        if due >= self.room.checkpoint_at() && state.frozen.is_none() {
            self.checkpoint.request();
        }
    }
}

impl<'e> Reader<'e> {
    /// Runs a command that only reads. Returns its result, and the journal sequence number that the result reflects.
    pub fn read<R, E: From<Error>>(
        &self,
        now_ms: u64,
        keys: &[Key],
        run: impl FnOnce(&ReadTxn<'_>) -> Result<R, E>,
    ) -> Result<(R, Seq), E> {
        let snapshot;
        let epoch;
        let mut resolved = Resolved::default();
        {
            let state = self.state();
            epoch = state.epoch;
            resolved.look_in_memory(&state, keys, &OnDisk::default(), Held::own)?;
            // opened under the lock, so that memtable and LMDB show the same instant
            snapshot = if resolved.missing.is_empty() { None } else { Some(self.engine.snapshot()?) };
        }
        if let Some(snapshot) = &snapshot {
            let on_disk = self.engine.look_on_disk(
                snapshot,
                keys,
                std::mem::take(&mut resolved.missing),
                0,
                self.wait,
            )?;
            resolved.declare_missing(keys, &on_disk);
        }
        let Resolved { stores, declared, reflects, .. } = resolved;
        let result = run(&ReadTxn::new(now_ms, stores, keys, declared, *self, epoch))?;
        Ok((result, reflects))
    }

    /// Puts a record that was found in LMDB into the cache, if LMDB still holds it: the cache's third rule.
    pub(super) fn remember(&self, epoch: u64, generation: Generation, key: &[u8], cached: Cached) {
        let mut state = self.state_mut();
        if state.epoch == epoch
            && state.entry(generation, key).is_none()
            && state.catalog.holding(generation).is_some()
        {
            state.cache.put(generation, key, cached);
        }
    }

    /// Looks at the stores as they are now. The engine's lock is held meanwhile, so `look` must not ask the engine for
    /// anything.
    pub fn with_catalog<R>(self, look: impl FnOnce(&Catalog) -> R) -> R {
        look(&self.state().catalog)
    }

    /// The store of a number.
    pub fn store(self, id: StoreId) -> Option<Store> {
        self.with_catalog(|catalog| catalog.get(id).cloned())
    }

    /// A copy of all stores.
    #[cfg(test)]
    pub fn catalog(self) -> Catalog {
        self.with_catalog(Catalog::clone)
    }

    /// What a store takes as a value; fails with [`Error::NoStore`].
    pub fn kind(&self, store: StoreId) -> Result<ValueKind, Error> {
        let state = self.state();
        let store = state.catalog.get(store).ok_or(Error::NoStore(store))?;
        Ok(state.kind(store))
    }

    /// What a store without a kind of its own takes.
    pub fn default_kind(&self) -> ValueKind {
        self.state().default_kind
    }

    /// Begins to watch whether records are written at a key.
    pub fn watch(&self, key: &Key) -> Watch {
        self.engine.watches.watch(key)
    }

    /// The watchers of keys.
    pub fn watches(&self) -> &'e Watches {
        &self.engine.watches
    }

    /// The sequence number of the last change.
    pub fn last_seq(&self) -> Seq {
        self.engine.journal.last()
    }

    pub fn status(&self) -> Status {
        // only sizes are read, so there is no need to wait for a group to end
        let state = self.engine.state.lock().read();
        Status {
            journal: self.engine.journal.status(),
            checkpoint: self.engine.checkpoint.status(),
            memtable_bytes: state.memtable_bytes(),
            cache_bytes: state.cache.bytes(),
            // a figure that can't be read now is left out here; the error is reported where it matters
            file: self.engine.tables.file_space().unwrap_or_default(),
            map_bytes: self.engine.tables.map_bytes(),
            shortage: self.engine.room.shortage(),
            expired_records: self.engine.expired.load(Ordering::Relaxed),
        }
    }
}

impl Writer<'_> {
    /// Runs a command that may write. It takes effect as a whole or, if it fails, not at all. Returns its result, and
    /// the journal sequence number that the result reflects.
    ///
    /// Keys that the memtable doesn't know are looked up in LMDB without the lock, so that no page fault happens under
    /// it. The result is valid as long as no checkpoint has ended in between, because LMDB changes only then.
    pub fn write<R, E: From<Error>>(
        &self,
        now_ms: u64,
        keys: &[Key],
        run: impl FnOnce(&mut WriteTxn<'_>) -> Result<R, E>,
    ) -> Result<(R, Seq), E> {
        Ok(self.run_write(now_ms, keys, None, run)?.ok_or(Error::Misplaced)?)
    }

    /// Like [`write`](Writer::write), but does nothing slow under the lock. `write` compares uncompressed sizes with
    /// byte limits, and does all its work under the lock, however long that takes. This function first compresses
    /// values that a limit would refuse, and does slow work [apart](transaction::apart) from the lock. If that was necessary, it
    /// returns `None`: nothing has happened, and the caller has to plan and run the command again.
    pub fn write_weighed<R, E: From<Error>>(
        &self,
        now_ms: u64,
        keys: &[Key],
        weighed: &mut Weighed,
        run: impl FnOnce(&mut WriteTxn<'_>) -> Result<R, E>,
    ) -> Result<Option<(R, Seq)>, E> {
        self.run_write(now_ms, keys, Some(weighed), run)
    }

    fn run_write<R, E: From<Error>>(
        &self,
        now_ms: u64,
        keys: &[Key],
        mut weighed: Option<&mut Weighed>,
        run: impl FnOnce(&mut WriteTxn<'_>) -> Result<R, E>,
    ) -> Result<Option<(R, Seq)>, E> {
        let may_be_slow = match weighed.as_deref_mut() {
            Some(weighed) if !self.is_in_group() => match weighed.place {
                Place::Quick { .. } => false,
                Place::Apart { .. } => return self.write_apart(now_ms, keys, weighed, run),
                Place::Locked => true,
            },
            // in a group, all others wait anyway
            _ => true,
        };
        let mut run = Some(run);
        let weighing = weighed.as_deref();
        let mut attempt =
            self.try_write(now_ms, keys, &OnDisk::default(), weighing, may_be_slow, &mut run)?;
        loop {
            attempt = match attempt {
                Attempt::Done(result, reflects) => return Ok(Some((result, reflects))),
                Attempt::Missing(missing, epoch) => {
                    let snapshot = self.engine.snapshot()?;
                    let on_disk = self.engine.look_on_disk(&snapshot, keys, missing, epoch, self.wait)?;
                    self.try_write(now_ms, keys, &on_disk, weighed.as_deref(), may_be_slow, &mut run)?
                }
                Attempt::Unfit(unfit) => {
                    self.weigh(unfit, weighed.as_deref_mut());
                    return Ok(None);
                }
                Attempt::Misplaced => {
                    if let Some(weighed) = weighed {
                        weighed.place = Place::Apart { conflicts: 0 };
                    }
                    return Ok(None);
                }
                Attempt::NoRoom(bytes, claim) => {
                    self.engine.journal.wait_room(bytes, claim).map_err(Error::from)?;
                    if let Some(weighed) = weighed {
                        weighed.place = weighed.place.after_wait();
                    }
                    return Ok(None);
                }
            };
        }
    }

    fn try_write<R, E: From<Error>, F: FnOnce(&mut WriteTxn<'_>) -> Result<R, E>>(
        &self,
        now_ms: u64,
        keys: &[Key],
        on_disk: &OnDisk<'_>,
        weighed: Option<&Weighed>,
        may_be_slow: bool,
        run: &mut Option<F>,
    ) -> Result<Attempt<R>, E> {
        // dropped after the lock is released, because it may be large
        let mut leftovers = Leftovers::default();
        let mut state = self.state_mut();
        let mut changes = Changes::new(self.engine.listening.wanted());
        let (result, reflects) = {
            let mut resolved = Resolved::default();
            resolved.look_in_memory(&state, keys, on_disk, Held::Lent)?;
            if !resolved.missing.is_empty() {
                return Ok(Attempt::Missing(resolved.missing, state.epoch));
            }
            let run = run.take().ok_or(Error::Misplaced)?;
            let Resolved { declared, reflects, .. } = resolved;
            let view = View::Locked { state: &state, may_be_slow };
            let (changes, listening) = (&mut changes, &self.engine.listening);
            (run(&mut WriteTxn { now_ms, view, keys, declared, changes, listening }), reflects)
        };
        if changes.is_misplaced.get() {
            return Ok(Attempt::Misplaced);
        }
        let result = result?;
        if state.is_bounded
            && let Some(unfit) = self.engine.fit(&mut state, &mut changes, weighed)?
        {
            return Ok(Attempt::Unfit(unfit));
        }
        match self.engine.commit(&mut state, &mut changes, &mut leftovers, may_be_slow)? {
            Committed::Done(seq) => {
                drop(state);
                Ok(Attempt::Done(result, seq.unwrap_or(reflects)))
            }
            Committed::NoRoom(bytes, claim) => Ok(Attempt::NoRoom(bytes, claim)),
        }
    }

    pub fn set_default_kind(&self, kind: ValueKind) {
        self.state_mut().default_kind = kind;
    }

    pub fn set_quota(&self, quota: ServerQuota) {
        self.state_mut().set_server_quota(quota);
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        self.engine.journal.set_fsync(fsync);
    }

    pub fn set_compression(&self, compression: Compression) {
        *self.engine.compression.write() = compression;
    }
}

/// Prefetches the memory of a value, as far as a reply of ordinary size needs it.
fn fetch(value: &Bytes) {
    const LINE_BYTES: usize = 64;
    const LINES_MAX: usize = 8;
    // reads the reference count, which every clone changes
    std::hint::black_box(value.is_unique());
    for byte in value.iter().step_by(LINE_BYTES).take(LINES_MAX) {
        std::hint::black_box(*byte);
    }
}

/// Positions of declared keys that have to be looked up in LMDB, in ascending order, and their generations.
type Missing = SmallVec<[(usize, Generation); 1]>;

/// The size of the journal entry in bytes.
fn encoded_bytes(effects: &[Effect]) -> usize {
    effects.iter().map(Effect::encoded_bytes).sum()
}

/// How a commit ended.
enum Committed {
    /// With its sequence number, if anything changed.
    Done(Option<Seq>),
    /// Nothing has happened; the journal has to make room for so many bytes first.
    NoRoom(usize, Claim),
}

/// How an attempt to write ended.
enum Attempt<R> {
    Done(R, Seq),
    /// These keys have to be looked up first; what is found is valid in this epoch.
    Missing(Missing, u64),
    /// A limit has to know first how far something can be compressed.
    Unfit(Unfit),
    /// It would take long, so it has to run apart from the lock.
    Misplaced,
    /// The journal has to make room for so many bytes first.
    NoRoom(usize, Claim),
}

/// What LMDB held at declared keys: positions in ascending order, generations, records.
#[derive(Default)]
struct OnDisk<'s> {
    found: Vec<(usize, Generation, Found<'s>)>,
    epoch: u64,
}

/// Declared keys that are being resolved for a transaction.
#[derive(Default)]
struct Resolved<'t> {
    stores: SmallVec<[(StoreId, Generation); 1]>,
    declared: DeclaredKeys<'t>,
    missing: Missing,
    reflects: Seq,
}

impl<'t> Resolved<'t> {
    /// Resolves the keys that the memtable, the cache, or `on_disk` (if it is still valid) know, and records the others
    /// as missing.
    fn look_in_memory<'s>(
        &mut self,
        state: &'s State,
        keys: &'t [Key],
        on_disk: &OnDisk<'t>,
        hold: impl Fn(&'s Bytes) -> Held<'t>,
    ) -> Result<(), Error> {
        let mut on_disk_keys =
            if on_disk.epoch == state.epoch { &on_disk.found[..] } else { Default::default() }
                .iter()
                .peekable();
        for (at, key) in keys.iter().enumerate() {
            let store = state.catalog.get(key.store).ok_or(Error::NoStore(key.store))?;
            let (generation, name) = (store.generation, &key.name);
            if !self.stores.contains(&(store.id, generation)) {
                self.stores.push((store.id, generation));
            }
            let looked_up = on_disk_keys.next_if(|(position, ..)| *position == at);
            if let Some(entry) = state.entry(generation, name) {
                self.reflects = self.reflects.max(entry.version);
                let found = Found::of_entry(name, entry, &hold);
                self.declared.push(Declared { generation, name, found });
                continue;
            }
            self.reflects = self.reflects.max(store.born);
            match looked_up {
                Some((_, of, found)) if *of == generation => {
                    self.declared.push(Declared { generation, name, found: found.clone() });
                }
                _ => match state.cache.get(generation, name) {
                    Some(cached) => {
                        let found = Found::of_cached(name, cached, &hold);
                        self.declared.push(Declared { generation, name, found });
                    }
                    None => self.missing.push((at, generation)),
                },
            }
        }
        Ok(())
    }

    /// Resolves the keys that were missing.
    fn declare_missing(&mut self, keys: &'t [Key], on_disk: &OnDisk<'t>) {
        for (at, generation, found) in &on_disk.found {
            self.declared.push(Declared {
                generation: *generation,
                name: &keys[*at].name,
                found: found.clone(),
            });
        }
    }
}

/// How the engine is doing, for INFO and the like.
#[derive(Debug, Clone)]
pub struct Status {
    pub journal: journal::Status,
    pub checkpoint: CheckpointStatus,
    pub memtable_bytes: usize,
    pub cache_bytes: u64,
    pub file: FileSpace,
    pub map_bytes: u64,
    /// Why LMDB's file has no space for more, if a write was refused for that.
    pub shortage: Option<String>,
    pub expired_records: u64,
}
