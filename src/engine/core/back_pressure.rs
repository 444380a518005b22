//! Whether the engine takes a write now: see [`crate::engine::core::room`].

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use crate::engine::core::Engine;
use crate::engine::error::{Error, NoRoom};
use crate::engine::journal;
use crate::engine::journal::Claim;
use crate::engine::state::State;

/// The most pages that a commit makes dirty: for each record its own, that of its deadline, and those of the record
/// that it replaces; and those of the other tables.
pub const PAGES_PER_RECORD: u64 = 3;
pub const PAGES_PER_COMMIT: u64 = 64;
/// A commit takes at most one part in so many of the space there is. The pages that the commit before it freed count as space,
/// but LMDB takes them again only with the commit after it.
pub const SPACE_PER_COMMIT: u64 = 2;

/// Space that there has to be beside what the records of a commit take.
fn commit_overhead_bytes(page_bytes: u64) -> u64 {
    SPACE_PER_COMMIT * (PAGES_PER_COMMIT + PAGES_PER_RECORD) * page_bytes
}

impl Engine {
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
    pub(in crate::engine) fn note_space(&self) {
        // one after another, so that no older figure replaces a newer one
        let _noting = self.noting_space.lock();
        // what can't be read now is not known to be short: a checkpoint is going to say what is wrong
        let spare = self.tables.spare_bytes(self.journal.owed_bytes()).unwrap_or(u64::MAX);
        let commit = commit_overhead_bytes(self.tables.page_bytes());
        self.room.note_space(spare.saturating_sub(commit));
    }

    /// Whether there is room for writes of so many bytes now.
    pub fn has_room(&self, bytes: usize) -> bool {
        let claim = Claim::Ordinary;
        self.room.is_open(self.memtable_bytes.load(Ordering::Acquire), bytes, claim)
            && self.journal.has_room(bytes, claim)
    }

    pub(in crate::engine) fn note_memtable_bytes(&self, state: &State) {
        let journal_bytes = self.journal.bytes().saturating_sub(state.journal_bytes_frozen);
        self.memtable_bytes.store(state.memtable_bytes(), Ordering::Release);
        self.room.note_journal_bytes(journal_bytes);
        if self.room.is_checkpoint_due(state.active.bytes(), journal_bytes) && state.frozen.is_none() {
            self.checkpoint.request();
        }
    }
}
