//! Checkpoints: how changes move from memory to LMDB.
//!
//! ```text
//!           freeze()                 write_frozen()                  finish()
//!  active ───────────▶ frozen ─────────────────────────▶ in LMDB ─────────────▶ dropped, journal released
//!                        ▲    compressed, sorted,                │
//!                        └──── in commits of bounded size ◀──────┘ fails: stays frozen, is tried again
//! ```
//!
//! The frozen memtable goes to LMDB in several commits, so that one never holds more dirty pages than
//! [`RECORDS_PER_COMMIT`] records make. This is safe because
//! 1. the journal is durable through the checkpoint's end before the first commit, so LMDB is never ahead of it;
//! 2. the journal position, the stores and the flushed generations change only with the last commit: after a crash in
//!    between, all entries are replayed, and an entry says what a record *is*, so replaying over a newer state ends in
//!    the same;
//! 3. a store's usage changes in the commit that changes its records, so it always counts what is there;
//! 4. readers ask the frozen memtable before LMDB until the last commit is done.
//!
//! # What is left out
//!
//! Records that have changed again since the memtable was frozen are not written, and neither are those of stores that
//! have been flushed or dropped since. A counter that changes all the time thus costs a checkpoint nothing. This is safe
//! for the same reason as several commits are: before a commit without such a record, the journal is durable through
//! the change that replaced it, so after a crash that change is replayed. But LMDB shows one instant only when a
//! checkpoint has reached those changes ([`CheckpointStatus::whole_from`]). A backup needs that, so it asks for
//! checkpoints that write what has changed again, too.
//!
//! # When space runs short
//!
//! After a checkpoint has failed, the next attempt first removes from LMDB what has been removed since, also after the
//! memtable was frozen. A client that removes records thus frees space for what still has to be written.
//!
//! Commits that add records do not use LMDB's reserve ([`super::lmdb`]), and become smaller the less other space there
//! is.
//!
//! Runs on a thread of its own, or on the caller's thread for [`Writer::checkpoint`] (SAVE, shutdown).

pub mod compress;
pub mod learn;

pub mod priority;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::MutexGuard;

use crate::engine::checkpoint::compress::{Compressed, Compressor, Entered};
use crate::engine::clock;
use crate::engine::core::Engine;
use crate::engine::core::back_pressure::{PAGES_PER_COMMIT, PAGES_PER_RECORD, SPACE_PER_COMMIT};
use crate::engine::core::control::CheckpointStatus;
use crate::engine::core::handles::Writer;
use crate::engine::error::Fault;
use crate::engine::journal::Seq;
use crate::engine::lmdb;
use crate::engine::lmdb::{LmdbError, Snapshot, Tables, WriteBatch};
use crate::engine::memtable::cache::Cached;
use crate::engine::memtable::frozen::Frozen;
use crate::engine::memtable::table::{Entry, Live, Name};
use crate::engine::state::{State, whole};
use crate::store::usage::Weight;
use crate::store::{Generation, Usage};

/// The most records that one commit writes. A random record makes a page or two of 4 KB dirty. Tests have few records
/// but need several commits.
const RECORDS_PER_COMMIT: usize = if cfg!(test) { 8 } else { 8_192 };
/// Pages of so many records are read from the disk at the same time.
const RECORDS_FETCHED: usize = 256;
/// The most bytes of records that one commit writes, not counting its last portion.
const BYTES_PER_COMMIT: usize = 32 * 1024 * 1024;
/// The most threads that compress when a processor is idle. With more, the thread that writes would be the limit.
const COMPRESSORS_MAX: usize = 6;
/// So many portions are compressed ahead of what is written: about one commit.
const PORTIONS_AHEAD: usize = 32;
/// The number of records of flushed stores that one commit removes.
const RECLAIMED_PER_COMMIT: usize = 8_192;
/// The number of later removals that one commit carries: few, because there may be no pages for them but those of the
/// reserve.
const ANTICIPATED_PER_COMMIT: usize = if cfg!(test) { 8 } else { 64 };
/// The least number of records of flushed stores that one commit removes when space is short.
const RECLAIMED_PER_COMMIT_MIN: u64 = 64;
/// Pages that a commit of one record makes dirty at most, not counting those of the record: a path in each table.
const PAGES_AT_LEAST: u64 = 32;
/// How long a failed checkpoint waits before it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What becomes of records that have changed again since the memtable was frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outdated {
    /// They are left out, if the journal is durable through their change.
    LeftOut,
    /// They are written, so that LMDB shows one instant.
    Written,
}

impl Writer<'_> {
    /// Makes everything that has happened so far durable, and writes it to LMDB, except for records that change again
    /// meanwhile.
    pub fn checkpoint(&self) -> Result<(), Fault> {
        if self.is_in_group() {
            // a checkpoint can't begin in the middle of a group; it follows
            self.request_checkpoint();
            return Ok(());
        }
        self.engine.checkpoint_now()
    }

    /// Requests a checkpoint in the background.
    pub fn request_checkpoint(&self) {
        self.engine.checkpoint.request();
    }
}

impl Engine {
    pub(super) fn checkpoint_now(&self) -> Result<(), Fault> {
        let now = self.journal.last();
        let _running = self.checkpoint.running.lock();
        self.run_checkpoint(Outdated::LeftOut)?;
        // if one had failed before, what it froze was written first
        if self.checkpoint.status().through < now { self.run_checkpoint(Outdated::LeftOut) } else { Ok(()) }
    }

    /// A snapshot of LMDB that shows one instant, with everything that had happened when this was called. Later
    /// checkpoints do not change it.
    pub(super) fn snapshot_of_now(&self) -> Result<Snapshot<'_>, Fault> {
        let now = self.journal.last();
        let _running = self.checkpoint.running.lock();
        // a second time if one had failed before or was overtaken by a flush, because what it froze is written first
        let is_reached = |status: CheckpointStatus| status.through >= now.max(status.whole_from);
        while !is_reached(self.checkpoint.status()) {
            self.run_checkpoint(Outdated::Written)?;
        }
        // while no checkpoint runs, an entry is in LMDB as a whole or not at all
        Ok(self.tables.snapshot()?)
    }

    /// Writes a checkpoint. The caller holds the right to do so.
    fn run_checkpoint(&self, outdated: Outdated) -> Result<(), Fault> {
        let (began, before) = (clock::monotonic(), self.checkpoint.status());
        self.checkpoint.status.lock().running = true;
        let outcome = self.write_checkpoint(before.through, outdated);
        let mut status = self.checkpoint.status.lock();
        status.running = false;
        match &outcome {
            Ok(Some((through, records))) => {
                status.through = *through;
                status.done += 1;
                status.last_ms = clock::now_ms();
                status.last_took_ms = began.elapsed().as_millis() as u64;
                status.last_records = *records as u64;
                status.failure = None;
            }
            Ok(None) => {
                // LMDB already holds everything: clients that wait for LASTSAVE to advance see it advance
                status.last_ms = clock::now_ms();
                status.failure = None;
            }
            Err(fault) => {
                if status.failure.is_none() {
                    tracing::error!(
                        %fault,
                        "a checkpoint failed; its changes stay in memory and in the journal, and the server tries again every second"
                    );
                }
                status.failure = Some(fault.to_string());
            }
        }
        if outcome.is_ok() && before.failure.is_some() {
            tracing::info!("checkpoints succeed again");
        }
        drop(status);
        if let Err(fault) = self.tables.keep_reserve() {
            tracing::warn!(%fault, "LMDB's file can't be extended or shortened to the length of its reserve");
        }
        self.note_space();
        self.room.checkpoint_ended(outcome.as_ref().err().map(ToString::to_string));
        outcome.map(|_| ())
    }

    /// The thread that writes checkpoints and reclaims flushed generations, until the engine closes.
    pub(super) fn run_checkpoints(&self) {
        priority::stand_back();
        let mut wait = self.checkpoint.interval;
        while self.checkpoint.wait(wait) {
            let mut well = self.checkpoint_now().is_ok();
            if well && self.journal.is_failed() {
                // Entries that were appended after this checkpoint had begun are only in the failed journal. By now it
                // accepts none, so a second checkpoint holds all that there are.
                well = self.checkpoint_now().is_ok() && !self.journal.is_failed();
            }
            wait = if well { self.checkpoint.interval } else { RETRY_AFTER };
            if let Err(fault) = self.reclaim() {
                tracing::error!(%fault, "the space of flushed stores can't be reclaimed; the server tries again after the next checkpoint");
            }
        }
    }

    fn write_checkpoint(&self, before: Seq, outdated: Outdated) -> Result<Option<(Seq, usize)>, Fault> {
        let Some(frozen) = self.freeze(before) else {
            if self.journal.is_failed() {
                self.restart_journal()?;
            }
            return Ok(None);
        };
        // there is no point in waiting for a failed journal: the checkpoint itself makes its entries durable
        let journal_failed = self.journal.wait_durable(frozen.through).is_err();
        let records = self.write_frozen(&frozen, outdated)?;
        self.finish();
        if journal_failed {
            self.restart_journal()?;
        }
        self.journal.release(frozen.through);
        Ok(Some((frozen.through, records)))
    }

    /// Freezes the changes so far. Returns `None` if there are none.
    pub(super) fn freeze(&self, before: Seq) -> Option<Arc<Frozen>> {
        let mut state = self.state.write();
        if let Some(unfinished) = &state.frozen {
            return Some(unfinished.clone());
        }
        let through = self.journal.last();
        if through == before {
            return None;
        }
        let frozen = Arc::new(Frozen {
            memtable: std::mem::take(&mut state.active),
            written_bytes: AtomicUsize::new(0),
            through,
            stores: state
                .catalog
                .iter()
                .map(|store| (store.id, store.generation, store.definition()))
                .collect(),
            next_store: state.catalog.next_id(),
            last_generation: state.last_generation,
            retired: std::mem::take(&mut state.retired),
            libraries: std::mem::take(&mut state.has_new_libraries).then(|| state.libraries.clone()),
        });
        state.frozen = Some(frozen.clone());
        state.journal_bytes_frozen = self.journal.bytes();
        Some(frozen)
    }

    fn write_frozen(&self, frozen: &Frozen, outdated: Outdated) -> Result<usize, Fault> {
        let compression = *self.compression.read();
        let is_short = self.checkpoint.status().failure.is_some();
        if is_short {
            self.anticipate_removals(frozen)?;
        }
        let mut entries = Vec::new();
        for (generation, layer) in frozen.memtable.layers() {
            let unwritten = |entry: &&Entry| !entry.live.as_ref().is_some_and(Live::is_written);
            entries.extend(layer.sorted().iter().filter_map(|key| {
                let entry = layer.get(key).filter(unwritten)?;
                Some((generation, &key[..], entry))
            }));
        }
        let all = frozen.memtable.layers().iter().map(|(_, layer)| layer.sorted().len()).sum::<usize>();
        self.leave_out(&mut entries, if is_short { Outdated::LeftOut } else { outdated })?;
        if entries.is_empty() {
            // stores changed, or were flushed
            self.write_commit(&[], Some(frozen))?;
            return Ok(0);
        }
        let dictionaries = self.dictionaries(&entries, &compression, frozen.through)?;
        let compressor = Compressor::new(&entries, &compression, &dictionaries);
        thread::scope(|scope| {
            let (compressed, portions) = sync_channel(PORTIONS_AHEAD);
            let threads = self.start_compressors(scope, &compressor, compressed)?;
            let (mut commit, mut bytes, mut taken, mut written) = (Vec::new(), 0, 0, 0);
            for portion in portions {
                bytes += portion.iter().map(|compressed| compressed.record.len()).sum::<usize>();
                commit.extend(portion);
                let is_last = taken + commit.len() == entries.len();
                let part = self.checkpoint.pace.part();
                if !is_last && commit.len() < RECORDS_PER_COMMIT / part && bytes < BYTES_PER_COMMIT / part {
                    continue;
                }
                taken += commit.len();
                let began = clock::monotonic();
                written += self.write_fitting(&mut commit, is_last.then_some(frozen), outdated)?;
                self.checkpoint.pace.note(began.elapsed());
                commit.clear();
                bytes = 0;
                // waiting writers continue after each commit, not after the whole checkpoint
                let done = all - (entries.len() - taken);
                let written_bytes = frozen.memtable.bytes() as u128 * done as u128 / all.max(1) as u128;
                // writers must not see room in memory before they see what it took in LMDB
                self.note_space();
                frozen.written_bytes.store(written_bytes as usize, Ordering::Release);
                self.note_memtable_bytes(&self.state.read());
                self.room.wake();
            }
            if threads.into_iter().any(|thread| thread.join().is_err()) {
                return Err(Fault::Damaged(
                    "a value can't be compressed: the compressor panicked".to_owned(),
                ));
            }
            Ok(written)
        })
    }

    /// Removes entries that no longer have to be written: records of stores that have been flushed or dropped since
    /// and, if wanted, records that have changed again. The journal must be durable through the changes that replaced
    /// them; otherwise nothing is left out.
    fn leave_out<E: AsEntered>(&self, entries: &mut Vec<E>, outdated: Outdated) -> Result<(), Fault> {
        // Entries are seldom in a processor's cache, so all of them are looked at before the lock is taken, and only those
        // that seem outdated while it is held.
        let mut generations = Vec::new();
        let mut left_out = Vec::new();
        for (at, (generation, live)) in entries.iter().map(E::generation_and_live).enumerate() {
            if generations.last() != Some(&generation) {
                generations.push(generation);
            }
            if outdated == Outdated::LeftOut && live.is_some_and(Live::is_outdated) {
                left_out.push(at);
            }
        }
        let through = {
            let state = self.state.read();
            // a group that was undone may have outdated it
            left_out.retain(|at| entries[*at].generation_and_live().1.is_some_and(Live::is_outdated));
            generations.retain(|generation| state.catalog.holding(*generation).is_none());
            self.journal.last()
        };
        let is_nothing = left_out.is_empty() && generations.is_empty();
        if is_nothing || self.journal.wait_durable(through).is_err() {
            return Ok(());
        }
        self.note_ahead(through);
        let (mut at, mut left_out) = (0, left_out.into_iter().peekable());
        entries.retain(|entry| {
            let is_outdated = left_out.next_if_eq(&at).is_some();
            at += 1;
            !is_outdated && !generations.contains(&entry.generation_and_live().0)
        });
        Ok(())
    }

    /// Removes from LMDB, in small commits, what has been removed up to now.
    fn anticipate_removals(&self, frozen: &Frozen) -> Result<(), Fault> {
        let (mut removed, through) = {
            let state = self.state.read();
            let mut removed: Vec<(Generation, Name)> = Vec::new();
            for memtable in [&frozen.memtable, &state.active] {
                for (generation, layer) in memtable.layers() {
                    let gone = layer.iter().filter(|(key, entry)| {
                        entry.live.is_none()
                            && state.entry(generation, key).is_some_and(|newest| newest.live.is_none())
                    });
                    removed.extend(gone.map(|(key, _)| (generation, key.clone())));
                }
            }
            (removed, self.journal.last())
        };
        if removed.is_empty() || self.journal.wait_durable(through).is_err() {
            return Ok(());
        }
        self.note_ahead(through);
        removed.sort_unstable();
        for some in removed.chunks(ANTICIPATED_PER_COMMIT) {
            let (mut batch, mut usages) = (self.tables.batch()?, Usages::default());
            for (generation, key) in some {
                if let Some(weight) = self.tables.remove_record(&mut batch, *generation, key)? {
                    usages.of(&self.tables, &mut batch, *generation)?.subtract(weight);
                }
            }
            if !usages.is_empty() {
                usages.put(&self.tables, &mut batch)?;
                self.tables.commit(batch)?;
            }
        }
        Ok(())
    }

    /// Records that LMDB is about to hold some of the changes up to `through`.
    fn note_ahead(&self, through: Seq) {
        let mut status = self.checkpoint.status.lock();
        status.whole_from = status.whole_from.max(through);
    }

    /// Writes records in as many commits as the space requires, and everything else with the last of them. The commits
    /// do not use LMDB's reserve unless they add nothing. Returns how many records were not left out.
    fn write_fitting(
        &self,
        commit: &mut Vec<Compressed<'_>>,
        last: Option<&Frozen>,
        outdated: Outdated,
    ) -> Result<usize, Fault> {
        self.leave_out(commit, outdated)?;
        if commit.is_empty() && last.is_none() {
            return Ok(0);
        }
        let mut rest = &commit[..];
        loop {
            let fitting = self.fitting(rest)?;
            let (some, later) = rest.split_at(fitting);
            self.write_commit(some, last.filter(|_| later.is_empty()))?;
            self.mark_written(some);
            if later.is_empty() {
                return Ok(commit.len());
            }
            rest = later;
        }
    }

    /// How many of these records one commit can take. Fails if there is no space for the first. Where nothing is added,
    /// the reserve counts, too.
    fn fitting(&self, commit: &[Compressed<'_>]) -> Result<usize, Fault> {
        let page_bytes = self.tables.page_bytes();
        let need =
            |compressed: &Compressed<'_>| compressed.record.len() as u64 + PAGES_PER_RECORD * page_bytes;
        let only_removes = commit.iter().all(|compressed| compressed.record.is_empty());
        let space = self.tables.space()?;
        let available = if only_removes { space.spare + space.kept } else { space.spare };
        let mut left = (available / SPACE_PER_COMMIT).saturating_sub(PAGES_PER_COMMIT * page_bytes);
        let fitting = commit.iter().take_while(|compressed| {
            let after = left.checked_sub(need(compressed));
            left = after.unwrap_or(left);
            after.is_some()
        });
        match fitting.count() {
            fitting if only_removes => Ok(fitting.max(ANTICIPATED_PER_COMMIT).min(commit.len())),
            // the estimate is larger than what one record needs, so the last records are tried one by one
            0 if commit
                .first()
                .is_some_and(|first| available >= need(first) + PAGES_AT_LEAST * page_bytes) =>
            {
                Ok(1)
            }
            0 => Err(self.tables.shortage()?.into()),
            fitting => Ok(fitting),
        }
    }

    /// Starts the threads that compress when a processor is idle, and the one that helps when memory runs short or the
    /// journal grows long. The thread that writes needs a processor, too.
    fn start_compressors<'s, 'e: 's>(
        &'e self,
        scope: &'s thread::Scope<'s, 'e>,
        compressor: &'e Compressor<'e>,
        compressed: SyncSender<Vec<Compressed<'e>>>,
    ) -> Result<Vec<thread::ScopedJoinHandle<'s, ()>>, Fault> {
        let start = |name: &str, work: Box<dyn FnOnce() + Send + 'e>| {
            let started = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
            started.map_err(|error| Fault::Lmdb(LmdbError::Io(error)))
        };
        let journal_bytes = self.journal.bytes();
        let is_urgent = move || {
            let journal_bytes = self.journal.bytes().saturating_sub(journal_bytes);
            self.room.is_short(self.memtable_bytes.load(Ordering::Relaxed), journal_bytes)
        };
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let mut threads = Vec::new();
        for _ in 0..(processors - 1).clamp(1, COMPRESSORS_MAX) {
            let compressed = compressed.clone();
            threads.push(start("compress", Box::new(move || compressor.work(&compressed)))?);
        }
        threads.push(start("compress-help", Box::new(move || compressor.help(&compressed, is_urgent)))?);
        Ok(threads)
    }

    /// One commit: some records with their usage and, with the last of them, everything else.
    fn write_commit(&self, commit: &[Compressed<'_>], last: Option<&Frozen>) -> Result<(), Fault> {
        let mut batch = self.tables.batch()?;
        let mut usages = Usages::default();
        for (at, Compressed { generation, key, entry, record }) in commit.iter().enumerate() {
            if at.is_multiple_of(RECORDS_FETCHED) {
                let next = commit[at..].iter().take(RECORDS_FETCHED);
                batch.fetch_records(next.map(|compressed| (compressed.generation, compressed.key)));
            }
            let (replaced, added) = match &entry.live {
                None => (self.tables.remove_record(&mut batch, *generation, key)?, None),
                Some(live) => {
                    let stored_bytes = (key.len() + record.len()) as u64;
                    let replaced =
                        self.tables.put_record(&mut batch, *generation, key, live.expires_at_ms, record)?;
                    (replaced, Some(Weight { stored_bytes, ..live.weight(key) }))
                }
            };
            let usage = usages.of(&self.tables, &mut batch, *generation)?;
            replaced.into_iter().for_each(|weight| usage.subtract(weight));
            added.into_iter().for_each(|weight| usage.add(weight));
        }
        usages.put(&self.tables, &mut batch)?;
        if let Some(frozen) = last {
            let stores =
                frozen.stores.iter().map(|(id, generation, definition)| (*id, *generation, definition));
            self.tables.put_stores(&mut batch, stores)?;
            for generation in &frozen.retired {
                self.tables.retire(&mut batch, *generation)?;
            }
            if let Some(libraries) = &frozen.libraries {
                self.tables.put_libraries(&mut batch, libraries)?;
            }
            self.tables.put_meta_number(&mut batch, "next_store", frozen.next_store.into())?;
            self.tables.put_meta_number(&mut batch, "last_generation", frozen.last_generation)?;
            let timeline = self.timeline.lock().encode(&clock::keep(), clock::boot_id(), frozen.through);
            self.tables.put_timeline(&mut batch, &timeline)?;
            self.tables.put_meta_number(&mut batch, "checkpoint", frozen.through)?;
        }
        Ok(self.tables.commit(batch)?)
    }

    /// Counts written records with their compressed size, and puts them into the cache before the memtable that hides
    /// them is dropped: the cache's second rule. Neither is done for records that have changed meanwhile.
    fn mark_written(&self, commit: &[Compressed<'_>]) {
        const SETTLED_AT_ONCE: usize = 64;
        for some in commit.chunks(SETTLED_AT_ONCE) {
            // copied before the lock is taken, because values are seldom in a processor's cache
            let copies = some.iter().map(Compressed::to_cache).collect();
            let mut state = self.state.write();
            whole::change(|| mark_some_written(&mut state, some, copies));
        }
    }

    /// LMDB has everything now: drops the frozen memtable.
    fn finish(&self) {
        let mut state = self.state.write();
        let frozen = whole::change(|| {
            state.epoch += 1;
            state.frozen.take()
        });
        self.note_memtable_bytes(&state);
        drop(state);
        drop(frozen);
    }

    /// After the journal has failed and a checkpoint has made its entries durable, continues in a new segment, unless
    /// more was changed in between; the next checkpoint includes that.
    fn restart_journal(&self) -> Result<(), Fault> {
        let state = self.state.write();
        let through = self.journal.last();
        if state.active.is_empty() && self.checkpoint_holds(through)? {
            self.journal.restart(through)?;
            tracing::info!("the journal continues in a new segment; writes are accepted again");
        }
        Ok(())
    }

    fn checkpoint_holds(&self, seq: Seq) -> Result<bool, Fault> {
        Ok(self.tables.checkpoint(&self.tables.snapshot()?)? >= seq)
    }

    /// Removes the records of flushed and dropped stores, in commits of bounded size, until none is left or a
    /// checkpoint is due.
    fn reclaim(&self) -> Result<(), Fault> {
        let mut running = self.checkpoint.running.lock();
        while !self.checkpoint.is_wanted() {
            // a thread that waits for a checkpoint (SAVE, BACKUP, the shutdown) waits for one commit at most
            MutexGuard::bump(&mut running);
            let Some(generation) = self.tables.first_retired(&self.tables.snapshot()?)? else {
                return Ok(());
            };
            let record_bytes = PAGES_PER_RECORD * self.tables.page_bytes();
            let available = self.tables.spare_bytes(0)? / SPACE_PER_COMMIT;
            let records_max = (available / record_bytes).max(RECLAIMED_PER_COMMIT_MIN);
            let records_max = usize::try_from(records_max).unwrap_or(usize::MAX).min(RECLAIMED_PER_COMMIT);
            let mut batch = self.tables.batch()?;
            self.tables.reclaim(&mut batch, generation, records_max)?;
            self.tables.commit(batch)?;
            self.note_space();
        }
        Ok(())
    }
}

/// One step of [`Engine::mark_written`].
fn mark_some_written(state: &mut State, some: &[Compressed<'_>], copies: Vec<Option<Cached>>) {
    // by generation, in their order
    let mut changes: Vec<(Generation, i64)> = Vec::new();
    for (Compressed { generation, key, entry, record }, copy) in some.iter().zip(copies) {
        entry.live.iter().for_each(Live::note_written);
        let Some(live) = entry.live.as_ref().filter(|live| !live.is_outdated()) else {
            state.cache.remove(*generation, key);
            continue;
        };
        let stored_bytes = (key.len() + record.len()) as u64;
        let change = stored_bytes as i64 - live.weight(key).stored_bytes as i64;
        match changes.last_mut().filter(|(of, _)| of == generation) {
            Some((_, sum)) => *sum += change,
            None => changes.push((*generation, change)),
        }
        live.set_stored_bytes(stored_bytes);
        if let Some(copy) = copy.filter(|_| state.catalog.holding(*generation).is_some()) {
            state.cache.put(*generation, key, copy);
        }
    }
    for (generation, change) in changes {
        state.catalog.change_usage(generation, |usage| {
            usage.stored_bytes = usage.stored_bytes.saturating_add_signed(change);
        });
    }
}

/// The form in which a record is written: compressed already, or not yet.
trait AsEntered {
    fn generation_and_live(&self) -> (Generation, Option<&Live>);
}

impl AsEntered for Entered<'_> {
    fn generation_and_live(&self) -> (Generation, Option<&Live>) {
        (self.0, self.2.live.as_ref())
    }
}

impl AsEntered for Compressed<'_> {
    fn generation_and_live(&self) -> (Generation, Option<&Live>) {
        (self.generation, self.entry.live.as_ref())
    }
}

/// What LMDB holds of the generations that a batch changes, updated with its changes.
#[derive(Default)]
struct Usages(HashMap<Generation, Usage>);

impl Usages {
    fn of(
        &mut self,
        tables: &Tables,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
    ) -> Result<&mut Usage, Fault> {
        use std::collections::hash_map::Entry as Slot;
        Ok(match self.0.entry(generation) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => slot.insert(tables.usage_in(batch, generation)?),
        })
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn put(&self, tables: &Tables, batch: &mut WriteBatch<'_>) -> Result<(), lmdb::Fault> {
        self.0.iter().try_for_each(|(generation, usage)| tables.put_usage(batch, *generation, usage))
    }
}
