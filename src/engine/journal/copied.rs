//! Copies of entries elsewhere, as an archive makes them: what is kept for them, who waits for them, and reading entries.
//!
//! Entries are read back from the segments, behind the writers, so that whoever writes has nothing to do with it. A
//! segment stays until its entries are copied. But the journal never refuses a write for that: when segments that only
//! wait to be copied take too much of the disk, they are given up, and [`Follower::read`] then fails with [`Gone`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::journal::core::Core;
use crate::engine::journal::format::{FRAME_HEADER_BYTES, FRAMES_AT, Frame, FrameHeader};
use crate::engine::journal::segments::segment::Segment;
use crate::engine::journal::waiting::waiters::wake_all;
use crate::engine::journal::{Fault, Fsync, Journal, Seq};
use crate::sync::atomic::Ordering;

/// So many bytes of a segment are read at once, unless a frame is longer.
const READ_BYTES: usize = 256 * 1024;

impl Journal {
    /// Reads entries, beginning after `after`.
    pub fn follow(&self, after: Seq) -> Follower {
        let (segment, at, buffer, buffer_at) = (None, 0, Vec::new(), 0);
        Follower { core: Arc::clone(&self.core), next: after + 1, segment, at, buffer, buffer_at }
    }

    /// Entries up to `seq` are copied; the segments with later ones are kept. `Seq::MAX` keeps none.
    pub fn note_copied(&self, seq: Seq) {
        self.core.copied.store(seq, Ordering::Release);
        self.core.remove_released();
    }

    /// Lets replies leave whose entries are copied: all up to `seq`. `Seq::MAX`: replies don't wait for copies.
    pub fn confirm(&self, seq: Seq) {
        self.core.confirmed.store(seq, Ordering::Release);
        self.core.wake_acknowledged();
    }

    /// Refuses entries, and all who wait for copies, for this reason, until it is `None`.
    pub fn refuse_uncopied(&self, why: Option<String>) {
        self.core.refuse_uncopied(why.map(Fault::Uncopied));
    }

    /// Blocks until there are durable entries after `seq`, or for so long. Returns the last durable entry.
    pub fn wait_for_more(&self, seq: Seq, at_most: Duration) -> Seq {
        let mut waiters = self.core.waiters.lock();
        if self.core.written() <= seq && !waiters.stopping {
            self.core.durable_moved.wait_for(&mut waiters, at_most);
        }
        self.core.durable()
    }

    /// Whether entries that are written become durable before anybody is told of them.
    pub fn syncs_at_once(&self) -> bool {
        self.core.fsync() == Fsync::Always
    }
}

impl Core {
    /// Gives up segments that are kept only to be copied, if they take more than so many bytes. Returns whether it did.
    pub fn give_up_uncopied(&self, bytes_max: u64) -> bool {
        let copied = self.copied.load(Ordering::Acquire);
        if copied >= self.released() || self.ledger.lock().bytes_through(self.released()) <= bytes_max {
            return false;
        }
        tracing::warn!(
            copied,
            "the journal gives up entries that the archive lacks, because they take too much space; the archive goes on with a new snapshot"
        );
        // only if nobody has noted a copy meanwhile
        let given_up = self.copied.compare_exchange(copied, Seq::MAX, Ordering::AcqRel, Ordering::Acquire);
        self.remove_released();
        given_up.is_ok()
    }

    /// Whether an entry is as durable here as the policy promises, whatever copies there are.
    pub fn is_kept(&self, seq: Seq) -> bool {
        match self.fsync() {
            Fsync::Always => self.durable() >= seq,
            Fsync::EverySec | Fsync::No => self.written() >= seq,
        }
    }

    /// Blocks until replies may reflect the entry, which is durable here.
    pub fn wait_confirmed(&self, seq: Seq) -> Result<(), Fault> {
        let mut waiters = self.waiters.lock();
        while self.acknowledged() < seq {
            let fault = waiters.failed.clone().or_else(|| waiters.uncopied.clone());
            if let Some(fault) = fault.or(waiters.stopping.then_some(Fault::Closed)) {
                return Err(fault);
            }
            self.durable_moved.wait(&mut waiters);
        }
        Ok(())
    }

    fn refuse_uncopied(&self, fault: Option<Fault>) {
        let wants_room = {
            let mut plan = self.plan.lock();
            let is_uncopied = matches!(plan.refusal, Some(Fault::Uncopied(_)));
            if plan.refusal.is_none() || is_uncopied {
                plan.refusal = fault.clone();
            }
            self.wanting_room(&mut plan)
        };
        let waiting = {
            let mut waiters = self.waiters.lock();
            waiters.uncopied = fault;
            self.durable_moved.notify_all();
            waiters.take_through(Seq::MAX)
        };
        wake_all(wants_room.into_iter().chain(waiting));
    }
}

/// Why entries can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Gone {
    /// The journal has given it up, or it is damaged.
    #[error("the journal has entry {0} no more")]
    Entry(Seq),
    #[error("the journal can't be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads entries one after another from the segments.
#[derive(Debug)]
pub struct Follower {
    core: Arc<Core>,
    next: Seq,
    segment: Option<Arc<Segment>>,
    /// Where the next frame begins.
    at: u64,
    /// Bytes of the segment from `buffer_at` on. They may have been read before they were written.
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl Follower {
    /// The next entry to read.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// Hands entries up to `through`, which must be written, to `take`, in order, until it says that it has enough. Entries
    /// of one frame can't be left for later: `take` gets all of them.
    pub fn read(&mut self, through: Seq, mut take: impl FnMut(Seq, &[u8]) -> Enough) -> Result<(), Gone> {
        while self.next <= through {
            let Some((header, payload_bytes)) = self.header()? else {
                if !self.move_on() {
                    return Err(Gone::Entry(self.next));
                }
                continue;
            };
            if header.end() <= self.next {
                self.at += (FRAME_HEADER_BYTES + payload_bytes) as u64;
                continue;
            }
            if header.first > self.next {
                return Err(Gone::Entry(self.next));
            }
            if header.end() > through + 1 {
                return Ok(());
            }
            let (salt, next) = (self.salt(), self.next);
            let mut enough = Enough::No;
            let frame_bytes = FRAME_HEADER_BYTES + payload_bytes;
            let mut is_whole = false;
            for fresh in [false, true] {
                let at = self.at;
                let bytes = self.bytes(at, frame_bytes, fresh)?;
                let Some(frame) = Frame::read_alone(bytes, at, salt).filter(|frame| frame.payload.is_some())
                else {
                    continue;
                };
                for (seq, entry) in frame.entries().skip_while(|(seq, _)| *seq < next) {
                    enough = take(seq, entry);
                }
                is_whole = true;
                break;
            }
            if !is_whole {
                return Err(Gone::Entry(self.next));
            }
            (self.next, self.at) = (header.end(), self.at + frame_bytes as u64);
            if enough == Enough::Yes {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The header of the next frame in this segment, and the bytes of its payload; `None` if there is none.
    fn header(&mut self) -> io::Result<Option<(FrameHeader, usize)>> {
        let Some(segment) = self.segment.clone() else { return Ok(None) };
        if self.at + FRAME_HEADER_BYTES as u64 > segment.bytes {
            return Ok(None);
        }
        let (salt, at) = (segment.name.salt, self.at);
        for fresh in [false, true] {
            if let Some((header, payload_bytes)) =
                FrameHeader::read(self.bytes(at, FRAME_HEADER_BYTES, fresh)?, at, salt)
            {
                let is_inside = at + FRAME_HEADER_BYTES as u64 + payload_bytes <= segment.bytes;
                return Ok(is_inside.then_some((header, payload_bytes as usize)));
            }
        }
        Ok(None)
    }

    fn salt(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| segment.name.salt)
    }

    /// Goes to the segment with the next entry, if it is another one.
    fn move_on(&mut self) -> bool {
        let found = self.core.ledger.lock().find(self.next);
        let current = self.segment.as_ref().map(|segment| segment.name);
        let Some(segment) = found.filter(|segment| Some(segment.name) != current) else { return false };
        (self.segment, self.at, self.buffer_at) = (Some(segment), FRAMES_AT, 0);
        self.buffer.clear();
        true
    }

    /// Bytes of the segment; fewer at its end. `fresh` ones are read again.
    fn bytes(&mut self, at: u64, count: usize, fresh: bool) -> io::Result<&[u8]> {
        let start = at.checked_sub(self.buffer_at).map_or(usize::MAX, |start| start as usize);
        let is_there = start.checked_add(count).is_some_and(|end| end <= self.buffer.len());
        if is_there && !fresh {
            return Ok(&self.buffer[start..start + count]);
        }
        if let Some(segment) = &self.segment {
            self.buffer.resize(count.max(READ_BYTES), 0);
            let filled = segment.file.read_at(&mut self.buffer, at)?;
            self.buffer.truncate(filled);
            self.buffer_at = at;
        }
        let end = count.min(self.buffer.len());
        Ok(&self.buffer[..end])
    }
}

/// Whether a reader of entries wants no more for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enough {
    No,
    Yes,
}
