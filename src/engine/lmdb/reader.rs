//! Reads tables from the map without LMDB, which trusts its pages: with a damaged one, it could answer that a key is
//! absent, or end the process.
//!
//! Every look-up and every scan of a snapshot goes through here; LMDB itself reads only within a write transaction, whose
//! pages lie elsewhere or were [looked at](super::vet) first. What is believed of the map is LMDB's list of tables, which a
//! start has looked at.
//!
//! # What is verified
//!
//! | of | what |
//! |---|---|
//! | each page on the way | it is in the file, has its own number, the kind that its depth asks for, and its nodes fill exactly the bytes that are not free: so none is missing, added, longer or shorter |
//! | its keys | the first and the last lie between the keys that led here; those around the place where the search ended are in order |
//! | a key that is not found | the records on both sides of its place have sound checksums, which cover their keys; at the edge of a page, the next page's key is on the other side of the key that was looked for |
//! | a scan | each key is behind the one before, and the one that ends it is before the next |
//! | a long value | its pages are in the file, have their number, and room for it |
//!
//! A search that is misled by one damaged key ends next to that key, because all other comparisons are right; so
//! checking both neighbours of its end is enough. A page that was once sound and is now the wrong one (a write was lost)
//! has other contents than the path to it requires, because LMDB never overwrites a page that is in use.
//!
//! Look-ups of network threads [remember](super::residence::Sound) for up to two seconds which branches were verified. That
//! is enough for a key that is found, because it is there, whatever led to it. Before a key counts as absent, all branches
//! on the way are verified.
//!
//! Not noticed are: damage that leaves all of this intact; a damaged key of a record of more than [`CHECKED_BYTES_MAX`]
//! bytes, whose checksum would take too long when its neighbour is looked up; damaged keys in the tables without values
//! (`deadlines`, `retired`). `larder check` finds the latter two.
#![allow(clippy::disallowed_methods, reason = "LMDB writes numbers in the byte order of the machine")]

use std::fs::File;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use heed::{Env, WithoutTls};
use smallvec::SmallVec;

use super::env::{RawTable, Snapshot};
use super::fault::Fault;
use super::pages::{
    BIG_DATA, BRANCH, DEPTH_MAX, HEADER_BYTES, LEAF, NO_PAGE, NODE_HEADER_BYTES, OVERFLOW, TREE_BYTES, Tree,
    u16_at, u32_at, u64_at,
};
use super::residence::{Known, Sound, Wait};
use crate::limits::CHECKED_BYTES_MAX;

/// Whether a row's value is sound and belongs to its key; for tables that have no checksums, always.
pub type IsSound = fn(&[u8], &[u8]) -> bool;

/// A key and its value.
type Row<'t> = (&'t [u8], &'t [u8]);

/// The level of leaves; that of a tree's root is the tree's depth.
const LEAF_LEVEL: u16 = 1;
/// The most leaves that a scan asks for ahead: a quarter of a megabyte.
const LEAVES_AHEAD_MAX: usize = 64;

/// The number of a leaf, and the bound below which its keys are.
pub(super) type LeafOf<'t> = (u64, Option<&'t [u8]>);

/// Trees of so many levels need no heap allocation: enough for terabytes.
pub(super) type Frames<'t> = SmallVec<[Frame<'t>; 8]>;

/// The map, and the file behind it.
pub struct Reader {
    /// The address at which the map begins.
    base: *const u8,
    pub(super) page_bytes: usize,
    file: File,
    /// The file has at least so many pages. Beyond its end, the map must not be touched.
    file_pages: AtomicU64,
    /// LMDB's list of tables.
    list: RawTable,
    pub(super) known: Known,
    sound: Sound,
}

// SAFETY: `base` points to memory that is mapped as long as the environment is open, which the owner of this sees to, that
// this only reads, and that no thread writes: LMDB maps its file read-only.
unsafe impl Send for Reader {}
// SAFETY: the same.
unsafe impl Sync for Reader {}

/// A page whose header and nodes were verified.
#[derive(Clone, Copy)]
pub(super) struct Page<'t> {
    pub bytes: &'t [u8],
    pub number: u64,
    pub nodes: usize,
    pub is_leaf: bool,
}

/// A page on the way to a key.
#[derive(Clone, Copy)]
pub(super) struct Frame<'t> {
    pub page: Page<'t>,
    /// In a branch, the child that the path goes to; in a leaf, the first key that is not less than the one searched
    /// for.
    pub at: usize,
    /// The range of the page's keys: from the first bound on, and below the second.
    begin: Option<&'t [u8]>,
    end: Option<&'t [u8]>,
}

/// The path from a tree's root to the place where a key is, or would be.
pub(super) struct Way<'t> {
    pub frames: Frames<'t>,
    pub is_found: bool,
}

pub(super) fn damaged(page: u64, what: impl std::fmt::Display) -> Fault {
    Fault::Damaged(format!(
        "page {page} of the LMDB file {what}; examine the file with `larder check`, and restore a backup"
    ))
}

impl Reader {
    /// For an environment whose list of tables was [verified](super::pages::verify_entrance) and is `list`.
    pub fn new(env: &Env<WithoutTls>, list: RawTable, snapshot: &Snapshot<'_>) -> Result<Reader, Fault> {
        let page_bytes = env.unnamed_database_stat().page_size as usize;
        let damaged = || Fault::Damaged("LMDB's list of tables is not what a start has seen".into());
        // the list is one page, which has its own number, so the beginning of the file is known, too
        let (row, _) = list.first(snapshot)?.ok_or_else(damaged)?;
        let page = row.as_ptr() as usize / page_bytes * page_bytes;
        let within = row.as_ptr() as usize - page;
        let page: *const u8 = row.as_ptr().wrapping_sub(within);
        // SAFETY: LMDB has found the row on a leaf of this list, so its page is mapped, and is read whole by LMDB as well.
        // "Values returned from the database are valid only until a subsequent update operation, or the end of the
        // transaction": the snapshot is open.
        let bytes = unsafe { std::slice::from_raw_parts(page, page_bytes) };
        let (number, flags) = (u64_at(bytes, 0), u16_at(bytes, 10));
        let last_page = env.info().last_page_number as u64;
        if flags != LEAF || number < 2 || number > last_page {
            return Err(damaged());
        }
        let file = env.try_clone_inner_file()?;
        let base = page.wrapping_sub(number as usize * page_bytes);
        let (file_pages, known, sound) = (AtomicU64::new(0), Known::new(), Sound::new());
        let reader = Reader { base, page_bytes, file, file_pages, list, known, sound };
        reader.is_in_file(last_page).then_some(reader).ok_or_else(damaged)
    }

    /// The value of a key.
    pub fn get<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        table: &str,
        key: &[u8],
        is_sound: IsSound,
        wait: Wait,
    ) -> Result<Option<&'t [u8]>, Fault> {
        let Some(way) = self.way(snapshot, table, key, wait)? else { return Ok(None) };
        let Some(frame) = way.frames.last() else { return Ok(None) };
        if way.is_found {
            return self.value(snapshot, frame.page, frame.at, wait).map(Some);
        }
        if wait != Wait::ForDisk {
            // a branch that was verified a moment ago and is damaged now would have misled the search
            for Frame { page, .. } in way.frames.iter().filter(|frame| !frame.page.is_leaf) {
                Page::verified(page.bytes, page.number, false).map_err(|what| damaged(page.number, what))?;
            }
        }
        self.verify_edges(snapshot, &way.frames, key, wait)?;
        for at in [frame.at.checked_sub(1), Some(frame.at).filter(|at| *at < frame.page.nodes)] {
            let Some(at) = at else { continue };
            let (neighbour, bytes) = (frame.page.key(at), frame.page.value_bytes(at));
            if bytes > CHECKED_BYTES_MAX {
                continue;
            }
            if !is_sound(neighbour, self.value(snapshot, frame.page, at, wait)?) {
                let what = format_args!(
                    "holds a damaged row beside the one looked for, '{}'",
                    neighbour.escape_ascii()
                );
                return Err(damaged(frame.page.number, what));
            }
        }
        Ok(None)
    }

    /// Rows from a bound on and below `end`, in the order of their keys.
    pub fn rows<'t>(
        &'t self,
        snapshot: &'t Snapshot<'_>,
        table: &str,
        from: Bound<&[u8]>,
        end: Option<&[u8]>,
    ) -> Result<Rows<'t>, Fault> {
        let start = match from {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => &[],
        };
        let mut rows = Rows {
            reader: self,
            snapshot,
            frames: Frames::new(),
            end: end.map(SmallVec::from_slice),
            previous: None,
            ahead: 0,
            fetched: 0,
        };
        let Some(way) = self.way(snapshot, table, start, Wait::ForDisk)? else { return Ok(rows) };
        if !way.is_found {
            self.verify_edges(snapshot, &way.frames, start, Wait::ForDisk)?;
        }
        rows.frames = way.frames;
        if let Some(leaf) = rows.frames.last_mut()
            && way.is_found
            && matches!(from, Bound::Excluded(_))
        {
            leaf.at += 1;
        }
        Ok(rows)
    }

    /// `None` if the table is empty.
    pub(super) fn way<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        table: &str,
        key: &[u8],
        wait: Wait,
    ) -> Result<Option<Way<'t>>, Fault> {
        self.way_to(snapshot, table, key, wait, LEAF_LEVEL)
    }

    /// The leaf on which a key is or would be; `None` if the tree has no branches. The leaf itself is not touched.
    pub(super) fn leaf_of<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        table: &str,
        key: &[u8],
    ) -> Result<Option<LeafOf<'t>>, Fault> {
        let way = self.way_to(snapshot, table, key, Wait::ForDisk, LEAF_LEVEL + 1)?;
        let frame = way.as_ref().and_then(|way| way.frames.last());
        Ok(frame.map(|frame| {
            let (number, _, end) = frame.child();
            (number, end)
        }))
    }

    /// The way down to a level; leaves have level 1.
    fn way_to<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        table: &str,
        key: &[u8],
        wait: Wait,
        level: u16,
    ) -> Result<Option<Way<'t>>, Fault> {
        let row = self.list.get(snapshot, table.as_bytes())?;
        let tree = row.filter(|row| row.len() == TREE_BYTES).map(Tree::decode);
        let tree = tree.ok_or_else(|| Fault::Damaged(format!("LMDB's list of tables lacks '{table}'")))?;
        if tree.root == NO_PAGE {
            return Ok(None);
        }
        if tree.flags != 0 || !(1..=DEPTH_MAX).contains(&tree.depth) {
            return Err(damaged(tree.root, format_args!("is a root of depth {} of '{table}'", tree.depth)));
        }
        let mut way = Way { frames: Frames::new(), is_found: false };
        let mut next = (tree.root, None, None);
        for depth in (level..=tree.depth).rev() {
            let (number, begin, end) = next;
            // the few pages above these are always in memory
            if wait != Wait::ForDisk && depth <= LEAF_LEVEL + 1 {
                self.approach(number, 1, wait)?;
            }
            let page = self.page_on_way(snapshot, number, depth == 1, wait)?;
            let mut frame = Frame::new(page, begin, end)?;
            let first = usize::from(!page.is_leaf);
            let (at, is_found) = page.search(first, key)?;
            // in a branch: the last child whose key is not greater
            frame.at = if page.is_leaf { at } else { at - usize::from(!is_found) };
            way.is_found = is_found;
            if !page.is_leaf {
                next = frame.child();
            }
            way.frames.push(frame);
        }
        Ok(Some(way))
    }

    /// A page, verified against what the path to it requires.
    pub(super) fn frame<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        number: u64,
        is_leaf: bool,
        begin: Option<&'t [u8]>,
        end: Option<&'t [u8]>,
    ) -> Result<Frame<'t>, Fault> {
        Frame::new(self.page(snapshot, number, is_leaf)?, begin, end)
    }

    /// A page on the way to a key. Branches are passed again and again, so for look-ups on network threads it is
    /// remembered for a moment which ones were verified.
    fn page_on_way<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        number: u64,
        is_leaf: bool,
        wait: Wait,
    ) -> Result<Page<'t>, Fault> {
        if is_leaf || wait == Wait::ForDisk {
            return self.page(snapshot, number, is_leaf);
        }
        if self.sound.has(number, snapshot.id()) {
            let page = Page::header(self.bytes(snapshot, number, self.page_bytes)?, number, is_leaf);
            return page.map_err(|what| damaged(number, what));
        }
        let page = self.page(snapshot, number, is_leaf)?;
        self.sound.note(number, snapshot.id());
        Ok(page)
    }

    pub(super) fn page<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        number: u64,
        is_leaf: bool,
    ) -> Result<Page<'t>, Fault> {
        Page::verified(self.bytes(snapshot, number, self.page_bytes)?, number, is_leaf)
            .map_err(|what| damaged(number, what))
    }

    /// If a search ended at the edge of a page, checks that the key is not beyond the keys of the next page.
    fn verify_edges(
        &self,
        snapshot: &Snapshot<'_>,
        frames: &[Frame<'_>],
        key: &[u8],
        wait: Wait,
    ) -> Result<(), Fault> {
        let Some(leaf) = frames.last() else { return Ok(()) };
        let misled =
            |page: Page<'_>| Err(damaged(page.number, "holds keys that the way to it does not lead to"));
        if leaf.at == 0
            && let Some(before) = self.beside(snapshot, frames, false, wait)?
            && before.key(before.nodes - 1) >= key
        {
            return misled(before);
        }
        if leaf.at == leaf.page.nodes
            && let Some(behind) = self.beside(snapshot, frames, true, wait)?
            && behind.key(0) <= key
        {
            return misled(behind);
        }
        Ok(())
    }

    /// The leaf after or before the one where the path ends.
    fn beside<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        frames: &[Frame<'_>],
        behind: bool,
        wait: Wait,
    ) -> Result<Option<Page<'t>>, Fault> {
        let (Some((_, branches)), depth) = (frames.split_last(), frames.len()) else { return Ok(None) };
        let turn = branches.iter().enumerate().rev().find_map(|(level, frame)| {
            let at = if behind { Some(frame.at + 1) } else { frame.at.checked_sub(1) };
            Some((level, frame.page.child(at.filter(|at| *at < frame.page.nodes)?)))
        });
        let Some((level, mut number)) = turn else { return Ok(None) };
        for level in level + 1..depth {
            self.approach(number, 1, wait)?;
            let page = self.page(snapshot, number, level + 1 == depth)?;
            if page.is_leaf {
                return Ok(Some(page));
            }
            number = page.child(if behind { 0 } else { page.nodes - 1 });
        }
        Ok(None)
    }

    /// The value of a node of a leaf.
    pub(super) fn value<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        page: Page<'t>,
        at: usize,
        wait: Wait,
    ) -> Result<&'t [u8], Fault> {
        let (data, bytes) = (page.data(at), page.value_bytes(at));
        if !page.is_long(at) {
            return Ok(data);
        }
        let number = u64_at(data, 0);
        self.approach(number, (HEADER_BYTES + bytes).div_ceil(self.page_bytes), wait)?;
        let header = self.bytes(snapshot, number, HEADER_BYTES)?;
        let pages = u64::from(u32_at(header, 12));
        let room = pages.saturating_mul(self.page_bytes as u64).saturating_sub(HEADER_BYTES as u64);
        if u64_at(header, 0) != number || u16_at(header, 10) != OVERFLOW || room < bytes as u64 {
            return Err(damaged(number, format_args!("is not where a value of {bytes} bytes begins")));
        }
        Ok(&self.bytes(snapshot, number, HEADER_BYTES + bytes)?[HEADER_BYTES..])
    }

    /// Bytes of the map from the beginning of a page on, possibly on several pages.
    pub(super) fn bytes<'t>(
        &self,
        _snapshot: &'t Snapshot<'_>,
        number: u64,
        bytes: usize,
    ) -> Result<&'t [u8], Fault> {
        let last = number.checked_add((bytes.max(1) - 1) as u64 / self.page_bytes as u64);
        if number < 2 || !last.is_some_and(|last| self.is_in_file(last)) {
            return Err(damaged(
                number,
                format_args!("is not in the file, or {bytes} bytes from it on are not"),
            ));
        }
        let start = self.address(number);
        // SAFETY: the pages are in the file, which LMDB has mapped from `base` on; it never shrinks, and the map is as long
        // as the file may become. "[The values] are valid until the end of the transaction": the reference lives no longer
        // than a borrow of the snapshot, and LMDB writes no page that a snapshot can reach. A damaged number can lead to
        // a page that nobody reaches, which a checkpoint may be writing meanwhile, through the file: then what is read is
        // verified like any other bytes.
        Ok(unsafe { std::slice::from_raw_parts(start, bytes) })
    }

    /// Where a page is, if it is in the file.
    pub(super) fn address(&self, number: u64) -> *const u8 {
        self.base.wrapping_add((number as usize).wrapping_mul(self.page_bytes))
    }

    fn is_in_file(&self, number: u64) -> bool {
        if number < self.file_pages.load(Ordering::Relaxed) {
            return true;
        }
        // the file has grown, or the number is wrong
        let bytes = self.file.metadata().map_or(0, |metadata| metadata.len());
        let pages = bytes / self.page_bytes as u64;
        self.file_pages.store(pages, Ordering::Relaxed);
        number < pages
    }
}

impl<'t> Page<'t> {
    /// A page whose header was verified.
    fn header(bytes: &'t [u8], number: u64, is_leaf: bool) -> Result<Page<'t>, &'static str> {
        let (flags, lower, upper) = (u16_at(bytes, 10), u16_at(bytes, 12), u16_at(bytes, 14));
        let (lower, upper) = (usize::from(lower), usize::from(upper));
        if u64_at(bytes, 0) != number {
            return Err("has another page's number");
        }
        if flags != if is_leaf { LEAF } else { BRANCH } {
            return Err("is of another kind than the way to it says");
        }
        if lower <= HEADER_BYTES || !lower.is_multiple_of(2) || lower > upper || upper > bytes.len() {
            return Err("has bounds that no page has");
        }
        Ok(Page { bytes, number, nodes: (lower - HEADER_BYTES) / 2, is_leaf })
    }

    fn verified(bytes: &'t [u8], number: u64, is_leaf: bool) -> Result<Page<'t>, &'static str> {
        let page = Page::header(bytes, number, is_leaf)?;
        let upper = usize::from(u16_at(bytes, 14));
        let mut used = 0;
        for at in 0..page.nodes {
            let node = page.node(at);
            let header_end = node + NODE_HEADER_BYTES;
            if node < upper || header_end > bytes.len() {
                return Err("has a node that is not on it");
            }
            let mut node_bytes = NODE_HEADER_BYTES + usize::from(u16_at(bytes, node + 6));
            if is_leaf {
                node_bytes += match u16_at(bytes, node + 4) {
                    0 => u32_at(bytes, node) as usize,
                    BIG_DATA => size_of::<u64>(),
                    _ => return Err("has a row of a kind that its table does not have"),
                };
            }
            if bytes.len() - node < node_bytes {
                return Err("has a node that ends behind it");
            }
            used += node_bytes.next_multiple_of(2);
        }
        // LMDB leaves no gaps
        if used == bytes.len() - upper { Ok(page) } else { Err("has bytes that no node accounts for") }
    }

    pub(super) fn node(&self, at: usize) -> usize {
        usize::from(u16_at(self.bytes, HEADER_BYTES + 2 * at))
    }

    pub(super) fn key(&self, at: usize) -> &'t [u8] {
        let node = self.node(at);
        let start = node + NODE_HEADER_BYTES;
        // always there if the page was verified; an empty key is in no order
        self.bytes.get(start..start + usize::from(u16_at(self.bytes, node + 6))).unwrap_or_default()
    }

    /// Of a branch.
    pub(super) fn child(&self, at: usize) -> u64 {
        let node = self.node(at);
        u64::from(u16_at(self.bytes, node + 4)) << 32 | u64::from(u32_at(self.bytes, node))
    }

    /// Of a leaf: bytes of a value, wherever it lies.
    pub(super) fn value_bytes(&self, at: usize) -> usize {
        u32_at(self.bytes, self.node(at)) as usize
    }

    pub(super) fn is_long(&self, at: usize) -> bool {
        u16_at(self.bytes, self.node(at) + 4) == BIG_DATA
    }

    /// Of a leaf: the value, or the number of the page that it begins on.
    pub(super) fn data(&self, at: usize) -> &'t [u8] {
        let node = self.node(at);
        let start = node + NODE_HEADER_BYTES + usize::from(u16_at(self.bytes, node + 6));
        let bytes = if self.is_long(at) { size_of::<u64>() } else { self.value_bytes(at) };
        &self.bytes[start..start + bytes]
    }

    /// The position of a key among those from `first` on, or where it would be.
    fn search(&self, first: usize, key: &[u8]) -> Result<(usize, bool), Fault> {
        let (mut low, mut high) = (first, self.nodes);
        let mut is_found = false;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    (low, is_found) = (middle, true);
                    break;
                }
            }
        }
        let around = low.saturating_sub(2).max(first)..(low + 2).min(self.nodes);
        let in_order = around.clone().skip(1).all(|at| self.key(at - 1) < self.key(at));
        if in_order {
            Ok((low, is_found))
        } else {
            Err(damaged(self.number, "has keys that are not in order"))
        }
    }
}

impl<'t> Frame<'t> {
    /// A page, verified against what the path to it requires.
    fn new(page: Page<'t>, begin: Option<&'t [u8]>, end: Option<&'t [u8]>) -> Result<Frame<'t>, Fault> {
        // the first key of a branch is not used
        if let Some(first) = (usize::from(!page.is_leaf)..page.nodes).next() {
            let is_within = begin.is_none_or(|begin| begin <= page.key(first))
                && end.is_none_or(|end| page.key(page.nodes - 1) < end);
            if !is_within {
                return Err(damaged(page.number, "holds keys that belong on another page"));
            }
        }
        Ok(Frame { page, at: 0, begin, end })
    }

    /// The child that the path goes to, and the range of its keys.
    pub(super) fn child(&self) -> (u64, Option<&'t [u8]>, Option<&'t [u8]>) {
        let begin = if self.at > 0 { Some(self.page.key(self.at)) } else { self.begin };
        let behind = Some(self.at + 1).filter(|at| *at < self.page.nodes);
        (self.page.child(self.at), begin, behind.map_or(self.end, |at| Some(self.page.key(at))))
    }
}

/// Rows in the order of their keys. Ends after an error.
pub struct Rows<'t> {
    reader: &'t Reader,
    snapshot: &'t Snapshot<'t>,
    frames: Frames<'t>,
    end: Option<SmallVec<[u8; 64]>>,
    previous: Option<&'t [u8]>,
    /// How many leaves the system is asked for at once: twice as many each time.
    ahead: usize,
    /// How many of the next leaves it was asked for.
    fetched: usize,
}

impl<'t> Rows<'t> {
    fn advance(&mut self) -> Result<Option<Row<'t>>, Fault> {
        loop {
            let Some(leaf) = self.frames.last_mut() else { return Ok(None) };
            let page = leaf.page;
            if leaf.at < page.nodes {
                let (key, at) = (page.key(leaf.at), leaf.at);
                leaf.at += 1;
                if self.previous.is_some_and(|previous| previous >= key) {
                    return Err(damaged(page.number, "has keys that are not in order"));
                }
                if self.end.as_ref().is_some_and(|end| key >= &end[..]) {
                    // a damaged key would end the scan ahead of time
                    if leaf.at < page.nodes && page.key(leaf.at) <= key {
                        return Err(damaged(page.number, "has keys that are not in order"));
                    }
                    self.frames.clear();
                    return Ok(None);
                }
                self.previous = Some(key);
                return Ok(Some((key, self.reader.value(self.snapshot, page, at, Wait::ForDisk)?)));
            }
            self.next_leaf()?;
        }
    }

    /// Moves on to the next leaf; if there is none, no frames are left.
    fn next_leaf(&mut self) -> Result<(), Fault> {
        let depth = self.frames.len();
        self.frames.pop();
        while let Some(branch) = self.frames.last_mut() {
            branch.at += 1;
            if branch.at < branch.page.nodes {
                break;
            }
            self.frames.pop();
        }
        while let Some(above) = self.frames.last().filter(|_| self.frames.len() < depth) {
            let (number, begin, end) = above.child();
            let is_leaf = self.frames.len() + 1 == depth;
            if is_leaf {
                self.fetch_ahead();
            }
            let frame = self.reader.frame(self.snapshot, number, is_leaf, begin, end)?;
            self.frames.push(frame);
        }
        Ok(())
    }
}

impl Rows<'_> {
    /// Asks the system for the leaves that follow, as long as their parent is the same.
    fn fetch_ahead(&mut self) {
        self.fetched = self.fetched.saturating_sub(1);
        if self.fetched > self.ahead / 2 {
            return;
        }
        let Some(above) = self.frames.last() else { return };
        self.ahead = (self.ahead * 2).clamp(1, LEAVES_AHEAD_MAX);
        if self.ahead == 1 {
            // most scans end soon
            return;
        }
        let asked = (above.at + self.fetched..above.page.nodes).take(self.ahead);
        self.fetched += asked.len();
        let numbers: SmallVec<[u64; LEAVES_AHEAD_MAX]> = asked.map(|at| above.page.child(at)).collect();
        for run in numbers.chunk_by(|before, next| before.wrapping_add(1) == *next) {
            self.reader.fetch(run[0], run.len());
        }
    }
}

impl<'t> Iterator for Rows<'t> {
    type Item = Result<Row<'t>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.advance().transpose()?;
        if row.is_err() {
            self.frames.clear();
        }
        Some(row)
    }
}
