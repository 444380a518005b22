//! Verifies the pages that LMDB may read while it changes a table.
//!
//! LMDB moves nodes about by the offsets and lengths that a page names, so a page that is no page makes it write beyond its
//! memory. Which pages does it read? To put a row, those on the way to it. To take something away, more: a leaf that is
//! less than a quarter full takes a row from a neighbour or merges with it (`mdb_rebalance`); a branch that is left with one
//! child does the same, and for its first key the way down to its leftmost leaf is read (`mdb_page_search_lowest`). This
//! goes on within a batch: what has merged can merge again, with the next neighbour.
//!
//! So a page *shrinks* when something is taken from it, and then these are looked at, on both sides:
//!
//! | level | which |
//! |---|---|
//! | leaves | the neighbours up to where those that do not shrink hold a quarter of a page: whatever has merged with them is not underfull any more, and reads no further |
//! | branches | the neighbours up to one that does not shrink: it keeps two children, and so does what merges with it |
//! | each | one more page on the right, which LMDB comes by when it looks for the next row, or for a first key |
//!
//! These pages are *within reach*. A branch all of whose children are within reach of something shrinks itself, since it
//! may be left with one. A leaf that shrinks later than it was counted on is looked around at then.
//!
//! Pages that LMDB has changed within the batch lie in memory, and are made of pages that were looked at.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::env::Snapshot;
use super::fault::Fault;
use super::pages::{HEADER_BYTES, NODE_HEADER_BYTES, OVERFLOW, u16_at, u32_at, u64_at};
use super::reader::{Frames, Page, Reader, damaged};
use super::residence::Wait;

type Numbers = HashSet<u64, foldhash::fast::RandomState>;

/// What will be done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is looked up.
    None,
    /// It gets a value of so many bytes.
    Put(usize),
    Removal,
}

/// The pages that were verified for a batch.
#[derive(Default)]
pub struct Vetted {
    /// Pages that LMDB may read and change.
    pages: Numbers,
    /// Pages that may merge with another, or lend to it.
    within_reach: Numbers,
    /// Pages from which something is removed.
    shrinking: Numbers,
}

impl Reader {
    /// Verifies all pages that LMDB can read while it makes this change to a table, which is the next one in a batch
    /// that began with this snapshot.
    pub fn vet(
        &self,
        snapshot: &Snapshot<'_>,
        table: &str,
        key: &[u8],
        change: Change,
        vetted: &mut Vetted,
    ) -> Result<(), Fault> {
        let Some(way) = self.way(snapshot, table, key, Wait::ForDisk)? else { return Ok(()) };
        way.frames.iter().try_for_each(|frame| vetted.page(frame.page))?;
        let Some(leaf) = way.frames.last().filter(|_| way.is_found && change != Change::None) else {
            return Ok(());
        };
        let (page, at) = (leaf.page, leaf.at);
        if page.is_long(at) {
            self.vet_long(snapshot, page, at)?;
        }
        let is_shrunk = match change {
            Change::None => false,
            Change::Put(bytes) => page.is_long(at) || bytes < page.value_bytes(at),
            Change::Removal => true,
        };
        if is_shrunk { self.shrink(snapshot, &way.frames, way.frames.len(), vetted) } else { Ok(()) }
    }

    /// A long value: LMDB frees all pages that it claims, so it must not claim one too many.
    fn vet_long(&self, snapshot: &Snapshot<'_>, page: Page<'_>, at: usize) -> Result<(), Fault> {
        self.value(snapshot, page, at, Wait::ForDisk)?;
        let (number, bytes) = (u64_at(page.data(at), 0), page.value_bytes(at));
        let header = self.bytes(snapshot, number, HEADER_BYTES)?;
        let pages = (HEADER_BYTES + bytes).div_ceil(self.page_bytes);
        if u16_at(header, 10) != OVERFLOW || u32_at(header, 12) as usize != pages {
            let what = format_args!("does not say that a value of {bytes} bytes lies on {pages} pages");
            return Err(damaged(number, what));
        }
        Ok(())
    }

    /// Something is removed from the last page of these frames, in a tree of this height.
    fn shrink<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        frames: &Frames<'t>,
        height: usize,
        vetted: &mut Vetted,
    ) -> Result<(), Fault> {
        let Some(frame) = frames.last() else { return Ok(()) };
        if !vetted.shrinking.insert(frame.page.number) {
            return Ok(());
        }
        vetted.within_reach.insert(frame.page.number);
        self.vet_lowest(snapshot, frames, height, vetted)?;
        let mut parents: SmallVec<[Frames<'t>; 4]> = SmallVec::new();
        parents.extend(above(frames));
        for is_right in [false, true] {
            let (mut beside, mut held) = (frames.clone(), 0);
            while held < self.page_bytes.div_ceil(4)
                && self.step(snapshot, &mut beside, height, is_right, vetted)?
            {
                let Some(page) = beside.last().map(|frame| frame.page) else { break };
                vetted.within_reach.insert(page.number);
                self.vet_lowest(snapshot, &beside, height, vetted)?;
                if !vetted.shrinking.contains(&page.number) {
                    // a branch keeps two children, however short they are
                    held += if page.is_leaf { page.used_bytes() } else { self.page_bytes };
                }
                parents.extend(above(&beside));
            }
            if is_right && self.step(snapshot, &mut beside, height, true, vetted)? {
                self.vet_lowest(snapshot, &beside, height, vetted)?;
            }
        }
        for parent in parents {
            let all_within_reach = parent.last().is_some_and(|frame| {
                (0..frame.page.nodes).all(|at| vetted.within_reach.contains(&frame.page.child(at)))
            });
            if all_within_reach {
                self.shrink(snapshot, &parent, height, vetted)?;
            }
        }
        Ok(())
    }

    /// Moves to the next page of the same level, on one side. Returns false if there is none.
    fn step<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        frames: &mut Frames<'t>,
        height: usize,
        is_right: bool,
        vetted: &mut Vetted,
    ) -> Result<bool, Fault> {
        let level = frames.len();
        let above = frames.iter().take(level - 1).enumerate().rev();
        let turn = above.into_iter().find_map(|(at, frame)| {
            let next = if is_right { Some(frame.at + 1) } else { frame.at.checked_sub(1) };
            next.filter(|next| *next < frame.page.nodes).map(|next| (at, next))
        });
        let Some((at, next)) = turn else { return Ok(false) };
        frames.truncate(at + 1);
        frames[at].at = next;
        while frames.len() < level {
            self.descend(snapshot, frames, height, vetted)?;
            if let Some(frame) = frames.last_mut().filter(|_| !is_right) {
                frame.at = frame.page.nodes - 1;
            }
        }
        Ok(true)
    }

    /// Verifies the path from a page to its leftmost leaf.
    fn vet_lowest<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        frames: &Frames<'t>,
        height: usize,
        vetted: &mut Vetted,
    ) -> Result<(), Fault> {
        let mut frames = frames.clone();
        if let Some(frame) = frames.last_mut() {
            frame.at = 0;
        }
        while frames.len() < height {
            self.descend(snapshot, &mut frames, height, vetted)?;
        }
        Ok(())
    }

    /// Moves to the child that the last page leads to, and to the first node on it.
    fn descend<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        frames: &mut Frames<'t>,
        height: usize,
        vetted: &mut Vetted,
    ) -> Result<(), Fault> {
        let Some(above) = frames.last() else { return Ok(()) };
        let (number, begin, end) = above.child();
        let frame = self.frame(snapshot, number, frames.len() + 1 == height, begin, end)?;
        vetted.page(frame.page)?;
        frames.push(frame);
        Ok(())
    }
}

/// The path to the parent page.
fn above<'t>(frames: &Frames<'t>) -> Option<Frames<'t>> {
    frames.split_last().filter(|(_, above)| !above.is_empty()).map(|(_, above)| Frames::from_slice(above))
}

impl Vetted {
    /// A page that was [verified](Page) otherwise: whether its nodes lie side by side, and all its keys are in order.
    fn page(&mut self, page: Page<'_>) -> Result<(), Fault> {
        if !self.pages.insert(page.number) {
            return Ok(());
        }
        let mut nodes: SmallVec<[(usize, usize); 128]> =
            (0..page.nodes).map(|at| (page.node(at), page.node_bytes(at))).collect();
        nodes.sort_unstable();
        if nodes.windows(2).any(|pair| pair[0].0 + pair[0].1 != pair[1].0) {
            return Err(damaged(page.number, "has nodes that overlap"));
        }
        let first = usize::from(!page.is_leaf);
        if (first + 1..page.nodes).any(|at| page.key(at - 1) >= page.key(at)) {
            return Err(damaged(page.number, "has keys that are not in order"));
        }
        if !page.is_leaf && page.nodes < 2 {
            return Err(damaged(page.number, "is a branch with fewer than two children"));
        }
        Ok(())
    }
}

impl Page<'_> {
    /// Bytes of a node, and what evens them out.
    fn node_bytes(&self, at: usize) -> usize {
        let value = if self.is_leaf { self.data(at).len() } else { 0 };
        (NODE_HEADER_BYTES + self.key(at).len() + value).next_multiple_of(2)
    }

    /// Bytes that its rows take.
    fn used_bytes(&self) -> usize {
        let free = usize::from(u16_at(self.bytes, 14)) - usize::from(u16_at(self.bytes, 12));
        self.bytes.len() - HEADER_BYTES - free
    }
}

#[cfg(test)]
impl Vetted {
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.pages.iter().copied()
    }
}

#[cfg(test)]
impl super::Tables {
    /// The numbers of all pages of the tree of records, without those of long values.
    #[allow(clippy::unwrap_used)]
    pub fn record_pages(&self) -> Vec<u64> {
        let snapshot = self.snapshot().unwrap();
        let way = self.reader.way(&snapshot, self.records.name, b"", Wait::ForDisk).unwrap();
        let mut level: Vec<Page<'_>> =
            way.iter().filter_map(|way| way.frames.first()).map(|root| root.page).collect();
        let mut pages = level.clone();
        for below in (1..way.map_or(0, |way| way.frames.len())).rev() {
            let children = level.iter().flat_map(|branch| (0..branch.nodes).map(|at| branch.child(at)));
            level = children.map(|child| self.reader.page(&snapshot, child, below == 1).unwrap()).collect();
            pages.extend(&level);
        }
        pages.into_iter().map(|page| page.number).collect()
    }
}
