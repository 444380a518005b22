//! Runs a command's transaction: looks up its keys, calls it, and commits what it changes.

use crate::engine::core::handles::{Reader, Writer};
use crate::engine::error::Error;
use crate::engine::journal::{Claim, Seq};
use crate::engine::limits::weigh::{Sizes, Unfit};
use crate::engine::state::Leftovers;
use crate::engine::state::changes::Changes;
use crate::engine::transaction::apart::{Place, Weighed};
use crate::engine::transaction::commit::Committed;
use crate::engine::transaction::look::{Missing, OnDisk, Resolved};
use crate::engine::transaction::txn::{Held, ReadTxn, View, WriteTxn};
use crate::store::Key;

impl Reader<'_> {
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
        let sizes = weighed.as_deref().map(|weighed| &weighed.sizes);
        let mut attempt = self.try_write(now_ms, keys, &OnDisk::default(), sizes, may_be_slow, &mut run)?;
        loop {
            attempt = match attempt {
                Attempt::Done(result, reflects) => return Ok(Some((result, reflects))),
                Attempt::Missing(missing, epoch) => {
                    let snapshot = self.engine.snapshot()?;
                    let on_disk = self.engine.look_on_disk(&snapshot, keys, missing, epoch, self.wait)?;
                    self.try_write(
                        now_ms,
                        keys,
                        &on_disk,
                        weighed.as_deref().map(|weighed| &weighed.sizes),
                        may_be_slow,
                        &mut run,
                    )?
                }
                Attempt::Unfit(unfit) => {
                    self.weigh(unfit, weighed.map(|weighed| &mut weighed.sizes));
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
        sizes: Option<&Sizes>,
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
            && let Some(unfit) = self.engine.fit(&mut state, &mut changes, sizes)?
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
