//! Accepts entries: decides into which segment each one will go, before any of it is written.
//!
//! The plan knows how much room the segment being filled still has, and which segments are in stock behind it. It
//! counts an entry as if it had a frame of its own, which is the most that it can cost; what a shared frame saves is
//! credited when the batch is fetched. So every accepted entry has its place on disk, zero-filled and synced, and an
//! entry without a place is refused as a whole. All of this is under one mutex that is only held for copying memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use super::format::{ENTRY_HEADER_BYTES, FRAME_HEADER_BYTES, FRAMES_AT};
use super::{Fault, Seq};
use crate::engine::journal::segments::segment::Segment;
use crate::engine::journal::waiting::waiters::Identity;

/// How much of the remaining room an entry may use. Some of it is kept for entries that free space, so that a journal
/// that can't grow any more still accepts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Claim {
    /// The entry may add something, so it must not use the kept room.
    #[default]
    Ordinary,
    /// The entry only removes records. It may use most of the kept room.
    Removal,
    /// The entry only empties or drops whole stores. It may use all of the kept room.
    Flush,
}

/// A buffer that grew beyond this is not kept for the next batch.
const BUFFER_BYTES_KEPT: usize = 4 * 1024 * 1024;

/// Entries that go to disk in one frame.
#[derive(Debug)]
pub struct Batch {
    /// The segment to switch to before writing; `None` to stay in the current one.
    pub segment: Option<Arc<Segment>>,
    pub first: Seq,
    pub entries: u32,
    /// Room for the frame's header, then the entries.
    pub frame: Vec<u8>,
    /// The end of the last complete entry; what follows was left by an encoder that panicked.
    end: usize,
}

impl Batch {
    fn new(segment: Option<Arc<Segment>>, mut buffer: Vec<u8>) -> Batch {
        buffer.clear();
        buffer.resize(FRAME_HEADER_BYTES, 0);
        Batch { segment, first: 0, entries: 0, frame: buffer, end: FRAME_HEADER_BYTES }
    }

    /// Sequence number of the last entry.
    pub fn last(&self) -> Seq {
        self.first + u64::from(self.entries) - 1
    }

    /// Writes an entry, with its length, after the others. It belongs to the batch once it is accepted.
    fn encode(
        &mut self,
        seq: Seq,
        bytes_max: usize,
        encode: impl FnOnce(Seq, &mut Vec<u8>),
    ) -> Result<&mut Self, Fault> {
        self.frame.truncate(self.end);
        self.frame.extend([0; ENTRY_HEADER_BYTES]);
        let start = self.frame.len();
        encode(seq, &mut self.frame);
        assert!(self.frame.len() >= start, "an encoder only appends");
        let bytes = self.frame.len() - start;
        if bytes > bytes_max {
            self.frame.truncate(self.end);
            return Err(Fault::TooLarge { bytes, limit: bytes_max });
        }
        self.frame[start - ENTRY_HEADER_BYTES..start].copy_from_slice(&(bytes as u32).to_be_bytes());
        Ok(self)
    }

    fn accept(&mut self, seq: Seq) {
        if self.entries == 0 {
            self.first = seq;
        }
        self.entries += 1;
        self.end = self.frame.len();
    }

    /// The buffer, to serve another batch.
    pub fn into_buffer(self) -> Vec<u8> {
        if self.frame.capacity() <= BUFFER_BYTES_KEPT { self.frame } else { Vec::new() }
    }

    /// Bytes of whole entries.
    fn bytes(&self) -> usize {
        self.end - FRAME_HEADER_BYTES
    }
}

/// Segments ready to be filled, and the need for more.
#[derive(Debug, Default)]
pub struct Stock {
    /// In the order of their ids, which is that of their use.
    pub spares: VecDeque<Arc<Segment>>,
    /// Not needed any more: to be recycled or removed.
    pub discarded: Vec<Arc<Segment>>,
    /// Bytes of the largest entry that someone waits to have room for.
    pub wish: usize,
    /// Why there are no more spares, while making one fails.
    pub shortage: Option<String>,
    /// A segment is being recycled, so there is going to be room.
    pub is_recycling: bool,
    /// All entries are durable elsewhere, and few have come for a while: nothing is kept ahead of need.
    pub is_resting: bool,
    /// There is a file that becomes a segment when no other can be made.
    pub has_reserve: bool,
    /// Tasks that wait for room.
    pub waiting: HashMap<Identity, Waker>,
    pub stopping: bool,
}

/// Where an entry goes.
enum Place {
    /// Into the segment that is being filled.
    Here,
    /// Into a spare, by its position in the stock.
    Spare(usize),
}

#[derive(Debug)]
pub struct Plan {
    pub stock: Stock,
    /// Bytes behind all others that are kept for entries that give space back.
    kept: u64,
    /// Why nothing is accepted any more.
    pub refusal: Option<Fault>,
    entry_bytes_max: usize,
    last: Seq,
    /// Bytes that the segment of the current batch still takes.
    room: u64,
    /// Bytes that it took when it was begun.
    capacity: u64,
    /// Batches that filled their segments, oldest first.
    full: Vec<Batch>,
    current: Batch,
}

impl Plan {
    /// The first entry gets the number after `last`, and goes to the first spare. `kept` bytes are kept for entries that
    /// give space back.
    pub fn new(last: Seq, stock: Stock, kept: u64, entry_bytes_max: usize) -> Plan {
        let current = Batch::new(None, Vec::new());
        Plan {
            stock,
            kept,
            refusal: None,
            entry_bytes_max,
            last,
            room: 0,
            capacity: 0,
            full: Vec::new(),
            current,
        }
    }

    /// Takes an entry, or refuses it and keeps nothing of it.
    pub fn push(&mut self, claim: Claim, encode: impl FnOnce(Seq, &mut Vec<u8>)) -> Result<Seq, Fault> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let seq = self.last + 1;
        let start = self.current.end;
        let entry_bytes = self.current.encode(seq, self.entry_bytes_max, encode)?.frame.len() - start;
        let cost = cost(entry_bytes);
        match self.place(cost, claim) {
            Some(Place::Here) => {}
            Some(Place::Spare(at)) => self.next_segment(at, start),
            None => {
                self.current.frame.truncate(start);
                return Err(match &self.stock.shortage {
                    Some(why) if !self.is_recycling() => Fault::DiskFull(why.clone()),
                    _ => Fault::NoRoomYet,
                });
            }
        }
        self.room -= cost;
        self.current.accept(seq);
        self.last = seq;
        Ok(seq)
    }

    /// Whether an entry of so many bytes would be accepted, or why not. If there is no room but some can be made,
    /// requests it and returns `Ok(false)`.
    pub fn ask_for(&mut self, bytes: usize, claim: Claim) -> Result<bool, Fault> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        if bytes > self.entry_bytes_max {
            return Err(Fault::TooLarge { bytes, limit: self.entry_bytes_max });
        }
        let fits = self.fits(bytes, claim);
        match &self.stock.shortage {
            Some(why) if !fits && !self.is_recycling() => return Err(Fault::DiskFull(why.clone())),
            _ if !fits => self.stock.wish = self.stock.wish.max(bytes),
            _ => {}
        }
        Ok(fits)
    }

    /// Whether an entry of so many bytes would be accepted now. Requests nothing.
    pub fn has_room(&self, bytes: usize, claim: Claim) -> bool {
        self.refusal.is_none() && self.fits(bytes, claim)
    }

    /// Whether there is room for an entry of so many bytes.
    pub fn fits(&self, bytes: usize, claim: Claim) -> bool {
        self.place(cost(bytes + ENTRY_HEADER_BYTES), claim).is_some()
    }

    /// Whether nothing is left but what is kept for entries that give space back.
    pub fn is_down_to_kept(&self) -> bool {
        self.stock.spares.is_empty() && self.room < self.kept
    }

    fn is_recycling(&self) -> bool {
        self.stock.is_recycling || !self.stock.discarded.is_empty()
    }

    /// Where an entry goes. In the last segment that there is, it has to leave the room that it must not use; the
    /// segments before are followed by a whole one.
    fn place(&self, cost: u64, claim: Claim) -> Option<Place> {
        let kept = match claim {
            Claim::Ordinary => self.kept,
            Claim::Removal => self.kept / 4,
            Claim::Flush => 0,
        };
        let spares = &self.stock.spares;
        let left_behind = |behind: usize| if behind == 0 { kept } else { 0 };
        if cost + left_behind(spares.len()) <= self.room {
            return Some(Place::Here);
        }
        let mut places = spares.iter().zip((0..spares.len()).rev());
        places.position(|(spare, behind)| cost + left_behind(behind) <= spare.capacity()).map(Place::Spare)
    }

    /// Puts a segment into the stock, behind those with lower ids.
    pub fn add_spare(&mut self, spare: Segment) {
        self.stock.spares.push_back(Arc::new(spare));
        if self.fits(self.stock.wish, Claim::Ordinary) {
            self.stock.wish = 0; // at once, or another one would be made when somebody takes this one
        }
    }

    /// Everything accepted since the last call. If there is any, `buffer` is used for what comes next.
    pub fn fetch(&mut self, buffer: &mut Vec<u8>) -> Vec<Batch> {
        if self.current.entries == 0 {
            return Vec::new();
        }
        self.room += (u64::from(self.current.entries) - 1) * FRAME_HEADER_BYTES as u64;
        let mut last = std::mem::replace(&mut self.current, Batch::new(None, std::mem::take(buffer)));
        last.frame.truncate(last.end);
        let mut batches = std::mem::take(&mut self.full);
        batches.push(last);
        batches
    }

    /// A frame without entries for the segment being filled, if there is room for one.
    pub fn mark(&mut self) -> Option<Batch> {
        self.room = self.room.checked_sub(FRAME_HEADER_BYTES as u64)?;
        Some(Batch { first: self.last + 1, ..Batch::new(None, Vec::new()) })
    }

    /// Drops entries that were accepted and not fetched, and refuses further ones.
    pub fn abandon(&mut self, refusal: Fault) {
        self.full.clear();
        self.current = Batch::new(None, Vec::new());
        self.room = 0;
        self.refusal = Some(refusal);
    }

    /// Accepts entries again, after `last`, into the segment that the writer has begun, which has so much room.
    pub fn resume(&mut self, last: Seq, room: u64) {
        (self.last, self.room, self.capacity, self.refusal) = (last, room, room, None);
    }

    /// Whether everything taken has been fetched, and is durable elsewhere.
    pub fn is_idle(&self, released: Seq) -> bool {
        self.refusal.is_none() && self.current.entries == 0 && self.last == released
    }

    /// Whether the segment being filled is larger than one has to be while nothing is written.
    pub fn is_spacious(&self, rest_bytes: u64) -> bool {
        self.capacity + FRAMES_AT > rest_bytes
    }

    /// Whether what is written still has plenty of room in the small segment. So few writes now and then don't have segments
    /// made that would go unused; of many, the first have room while segments are made.
    pub fn may_go_on_resting(&self, rest_bytes: u64) -> bool {
        !self.is_spacious(rest_bytes) && self.room >= self.capacity / 4 * 3
    }

    /// Goes on in a segment with so much room, which the writer is about to begin; not if the rest is over.
    pub fn rest(&mut self, released: Seq, room: u64) -> bool {
        let may_rest = self.stock.is_resting && self.is_idle(released);
        if may_rest {
            (self.room, self.capacity) = (room, room);
        }
        may_rest
    }

    /// Bytes of entries taken and not fetched.
    pub fn pending_bytes(&self) -> usize {
        self.current.bytes() + self.full.iter().map(Batch::bytes).sum::<usize>()
    }

    /// Switches to a spare, and moves the entry that starts at `start` of the batch there.
    fn next_segment(&mut self, at: usize, start: usize) {
        let stock = &mut self.stock;
        // Ids have to increase in the order of use, so spares that are too small are skipped and get new ids.
        stock.discarded.extend(stock.spares.drain(..at));
        let segment = stock.spares.pop_front();
        self.room = segment.as_ref().map_or(0, |segment| segment.capacity());
        self.capacity = self.room;
        if self.current.entries == 0 {
            self.current.segment = segment;
            return;
        }
        let mut next = Batch::new(segment, Vec::new());
        next.frame.extend_from_slice(&self.current.frame[start..]);
        self.current.frame.truncate(start);
        self.full.push(std::mem::replace(&mut self.current, next));
    }
}

/// What an entry costs at most on disk, given its bytes with the length in front.
fn cost(entry_bytes: usize) -> u64 {
    (FRAME_HEADER_BYTES + entry_bytes) as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::disk::DiskFile;
    use super::super::format::ENTRY_BYTES_MAX;
    use super::*;
    use crate::engine::journal::segments::segment::Name;

    #[derive(Debug)]
    struct NoFile;

    impl DiskFile for NoFile {
        fn write_at(&self, _: &[u8], _: u64) -> std::io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<usize> {
            Ok(0)
        }
    }

    /// A plan with spares that have room for so many bytes.
    fn plan(capacities: &[u64]) -> Plan {
        let spares = capacities.iter().zip(1..).map(|(capacity, id)| {
            let name = Name { id, salt: 0 };
            Arc::new(Segment { name, bytes: FRAMES_AT + capacity, file: Arc::new(NoFile) })
        });
        Plan::new(0, Stock { spares: spares.collect(), ..Stock::default() }, 0, ENTRY_BYTES_MAX)
    }

    fn push(plan: &mut Plan, bytes: usize) -> Result<Seq, Fault> {
        plan.push(Claim::Ordinary, |_, out| out.extend(std::iter::repeat_n(7, bytes)))
    }

    fn ids(batches: &[Batch]) -> Vec<Option<u64>> {
        batches.iter().map(|batch| batch.segment.as_ref().map(|segment| segment.name.id)).collect()
    }

    #[test]
    fn entries_share_a_frame_until_their_segment_is_full() {
        let mut plan = plan(&[200, 200]);
        for seq in 1..=3 {
            assert_eq!(push(&mut plan, 40), Ok(seq)); // 48 + 4 + 40 = 92: two in each segment
        }
        assert_eq!(plan.pending_bytes(), 3 * 44);
        let batches = plan.fetch(&mut Vec::new());
        assert_eq!(ids(&batches), [Some(1), Some(2)]);
        assert_eq!((batches[0].first, batches[0].last(), batches[0].frame.len()), (1, 2, 48 + 88));
        assert_eq!((batches[1].first, batches[1].last(), batches[1].frame.len()), (3, 3, 48 + 44));
        assert_eq!(plan.pending_bytes(), 0);
        assert!(plan.fetch(&mut Vec::new()).is_empty());
    }

    #[test]
    fn what_sharing_a_frame_saved_is_given_back() {
        let mut plan = plan(&[3 * 52]);
        assert_eq!((push(&mut plan, 0), push(&mut plan, 0), push(&mut plan, 0)), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(push(&mut plan, 0), Err(Fault::NoRoomYet));
        plan.fetch(&mut Vec::new());
        assert_eq!(push(&mut plan, 0), Ok(4)); // two headers of 48 bytes came back
        assert_eq!(push(&mut plan, 0), Err(Fault::NoRoomYet));
    }

    #[test]
    fn a_refused_entry_leaves_nothing() {
        let mut plan = plan(&[100]);
        assert_eq!(push(&mut plan, 10), Ok(1));
        assert_eq!(push(&mut plan, 60), Err(Fault::NoRoomYet));
        plan.stock.shortage = Some("no space".to_owned());
        assert_eq!(push(&mut plan, 60), Err(Fault::DiskFull("no space".to_owned())));
        let batches = plan.fetch(&mut Vec::new());
        assert_eq!((batches.len(), batches[0].entries, batches[0].frame.len()), (1, 1, 48 + 14));
    }

    #[test]
    fn a_large_entry_passes_over_the_small_spares() {
        let mut plan = plan(&[100, 100, 1_000]);
        assert!(plan.fits(900, Claim::Ordinary) && !plan.fits(1_000, Claim::Ordinary));
        assert_eq!(push(&mut plan, 900), Ok(1));
        assert_eq!(ids(&plan.fetch(&mut Vec::new())), [Some(3)]);
        let discarded: Vec<_> = plan.stock.discarded.iter().map(|segment| segment.name.id).collect();
        assert_eq!(discarded, [1, 2]);
    }

    #[test]
    fn the_last_of_the_room_is_kept_for_what_gives_space_back() {
        let mut plan = plan(&[1_000, 1_000]);
        plan.kept = 400;
        let mut push = |claim| plan.push(claim, |_, out| out.extend([7; 48])).is_ok(); // 48 + 4 + 48 = 100
        let taken = |claim, push: &mut dyn FnMut(Claim) -> bool| (0..50).take_while(|_| push(claim)).count();
        // ten in the first, six in the last
        assert_eq!(taken(Claim::Ordinary, &mut push), 16);
        assert_eq!(taken(Claim::Removal, &mut push), 3);
        assert!(!push(Claim::Ordinary) && !push(Claim::Removal));
        assert_eq!(taken(Claim::Flush, &mut push), 1);
        assert!(plan.is_down_to_kept());
    }

    #[test]
    fn an_encoder_that_panics_leaves_nothing() {
        let mut plan = plan(&[1_000]);
        push(&mut plan, 10).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            plan.push(Claim::Ordinary, |_, out| {
                out.extend(b"half");
                panic!("on purpose");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(push(&mut plan, 10), Ok(2));
        assert_eq!(plan.fetch(&mut Vec::new())[0].frame.len(), 48 + 2 * 14);
    }

    #[test]
    fn a_plan_that_was_abandoned_refuses_until_it_resumes() {
        let mut plan = plan(&[1_000]);
        push(&mut plan, 10).unwrap();
        plan.abandon(Fault::Closed);
        assert_eq!(push(&mut plan, 10), Err(Fault::Closed));
        assert!(plan.fetch(&mut Vec::new()).is_empty());
        plan.resume(9, 500);
        assert_eq!(push(&mut plan, 10), Ok(10));
        assert_eq!(ids(&plan.fetch(&mut Vec::new())), [None]);
    }
}
