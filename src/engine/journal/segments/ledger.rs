//! Which segments hold entries, the last entry in each, and which segments have something to sync.
//!
//! Knows no frames and does no I/O. Protected by a mutex that is never held while a thread waits.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::journal::Seq;
use crate::engine::journal::segments::segment::Segment;

/// A segment with entries in it, or about to be.
#[derive(Debug)]
pub struct Used {
    pub segment: Arc<Segment>,
    /// Sequence number of its last entry so far.
    pub last: Seq,
    /// Written to since the last sync began.
    pub dirty: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    /// Oldest first.
    filled: VecDeque<Used>,
    active: Option<Used>,
}

impl Ledger {
    pub fn new(filled: impl IntoIterator<Item = Used>) -> Ledger {
        Ledger { filled: filled.into_iter().collect(), active: None }
    }

    /// From now on frames go to this segment, after the entry `last`.
    pub fn activate(&mut self, segment: Arc<Segment>, last: Seq) {
        let next = Used { segment, last, dirty: true };
        self.filled.extend(self.active.replace(next));
    }

    /// A frame that ends with the entry `last` went to the active segment.
    pub fn wrote(&mut self, last: Seq) {
        if let Some(active) = &mut self.active {
            (active.last, active.dirty) = (last, true);
        }
    }

    /// The segments to sync so that everything written so far is durable. They count as synced from now on, so a
    /// failure has to end the use of all segments.
    pub fn take_dirty(&mut self) -> Vec<Arc<Segment>> {
        let used = self.filled.iter_mut().chain(&mut self.active);
        used.filter_map(|used| std::mem::take(&mut used.dirty).then(|| Arc::clone(&used.segment))).collect()
    }

    /// Removes and returns the filled segments that have no entry after `through`.
    pub fn release(&mut self, through: Seq) -> Vec<Arc<Segment>> {
        let released = self.filled.iter().take_while(|used| used.last <= through).count();
        self.filled.drain(..released).map(|used| used.segment).collect()
    }

    /// The segment with this entry, or the first one after it.
    pub fn find(&self, seq: Seq) -> Option<Arc<Segment>> {
        let mut used = self.filled.iter().chain(&self.active);
        used.find(|used| used.last >= seq).map(|used| Arc::clone(&used.segment))
    }

    /// Bytes of the filled segments that have no entry after `through`.
    pub fn bytes_through(&self, through: Seq) -> u64 {
        self.filled.iter().take_while(|used| used.last <= through).map(|used| used.segment.bytes).sum()
    }

    /// Takes out everything.
    pub fn abandon(&mut self) -> Vec<Arc<Segment>> {
        self.filled.drain(..).chain(self.active.take()).map(|used| used.segment).collect()
    }

    /// How many segments are in use, and their bytes.
    pub fn size(&self) -> (usize, u64) {
        let used = self.filled.iter().chain(&self.active);
        used.fold((0, 0), |(count, bytes), used| (count + 1, bytes + used.segment.bytes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::engine::journal::disk::Disk;
    use crate::engine::journal::disk::sim::SimDisk;
    use crate::engine::journal::segments::ledger::*;
    use crate::engine::journal::segments::segment::Name;

    fn segment(id: u64) -> Arc<Segment> {
        let file = SimDisk::default().create("/file".as_ref()).unwrap();
        Arc::new(Segment { name: Name { id, salt: 0 }, bytes: 100, file })
    }

    fn ids(segments: &[Arc<Segment>]) -> Vec<u64> {
        segments.iter().map(|segment| segment.name.id).collect()
    }

    #[test]
    fn only_filled_segments_with_nothing_newer_are_released() {
        let mut ledger = Ledger::new([Used { segment: segment(1), last: 10, dirty: false }]);
        ledger.activate(segment(2), 10);
        ledger.wrote(20);
        ledger.activate(segment(3), 20);
        ledger.wrote(25);
        assert_eq!((ids(&ledger.release(9)), ledger.size()), (vec![], (3, 300)));
        assert_eq!((ids(&ledger.release(19)), ledger.size()), (vec![1], (2, 200)));
        assert_eq!((ids(&ledger.release(99)), ledger.size()), (vec![2], (1, 100)));
        assert_eq!((ids(&ledger.abandon()), ledger.size()), (vec![3], (0, 0)));
    }

    #[test]
    fn what_was_written_since_the_last_time_is_to_be_synced() {
        let mut ledger = Ledger::default();
        ledger.activate(segment(1), 0);
        ledger.wrote(5);
        ledger.activate(segment(2), 5);
        assert_eq!(ids(&ledger.take_dirty()), [1, 2]);
        assert!(ledger.take_dirty().is_empty());
        ledger.wrote(6);
        assert_eq!(ids(&ledger.take_dirty()), [2]);
    }
}
