//! Verifies the pages of an LMDB file without LMDB, which trusts them: a damaged page can end the process.
//!
//! Uses plain file reads, changes nothing, and trusts nothing that it has not checked. [`verify`] walks every tree of
//! the newest state and the list of free pages; `larder check` does so before LMDB may touch the file.
//! [`verify_entrance`] checks the meta pages, the list of tables and the root of each, and the list of free pages,
//! which is little enough for every start.
//!
//! It can't see everything: pages have no checksums, so a change that leaves the structure sound (a byte of a key or a
//! value) goes unnoticed. Rows have checksums of their own, and `reader` verifies pages while a server runs.
//!
//! # The format (LMDB 0.9, data version 1; `mdb.c`), numbers in the byte order of the machine
//!
//! | what | offset, bytes |
//! |---|---|
//! | page header | number 0, 8; unused 8, 2; flags 10, 2; lower 12, 2; upper 14, 2 (of an overflow page: pages 12, 4) |
//! | meta, behind the header of pages 0 and 1 | magic 0, 4; version 4, 4; address 8, 8; map size 16, 8; tree of free pages 24, 48; tree of tables 72, 48; last page 120, 8; transaction 128, 8 |
//! | tree | page size (of the first in meta) 0, 4; flags 4, 2; depth 6, 2; branch, leaf, overflow pages 8, 16, 24, 8 each; entries 32, 8; root 40, 8 |
//! | node | size of data, or page of a branch 0, 4; flags, or the page's upper bits 4, 2; size of key 6, 2; key; data |
//!
//! After a page's header come the offsets of its nodes (u16), up to `lower`; the nodes are from `upper` on. Data that
//! is too long for a node is on overflow pages, and the node has the number of the first. Free pages are listed in rows
//! of the first tree: the key is a transaction, the data is a count and so many page numbers, in descending order.
#![allow(clippy::disallowed_methods, reason = "LMDB writes numbers in the byte order of the machine")]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::env::TABLES;

#[cfg(test)]
mod tests;

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const NODE_HEADER_BYTES: usize = 8;
const META_BYTES: usize = 136;
pub(super) const TREE_BYTES: usize = 48;

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const OVERFLOW: u16 = 0x04;
const META: u16 = 0x08;
pub(super) const BIG_DATA: u16 = 0x01;
const SUB_TREE: u16 = 0x02;
const INTEGER_KEY: u16 = 0x08;
pub(super) const NO_PAGE: u64 = u64::MAX;

const PAGE_BYTES_MIN: usize = 512;
const PAGE_BYTES_MAX: usize = 32 * 1024;
/// Pages that LMDB's cursors can be deep in a tree.
pub(super) const DEPTH_MAX: u16 = 32;
/// The table that says which format the others have.
const FORMAT_TABLE: &str = "meta";
/// So many problems are described, because one bad page causes many.
const DESCRIBED_MAX: usize = 20;

/// Why something is not what LMDB would have written.
type Damage = String;

/// Walks everything. Returns descriptions of what is wrong, up to a bound.
pub fn verify(path: &Path) -> io::Result<Vec<Damage>> {
    Walk::begin(path, Walk::whole_file)
}

/// Looks at what LMDB looks at first.
pub fn verify_entrance(path: &Path) -> io::Result<Vec<Damage>> {
    Walk::begin(path, Walk::entrance)
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub flags: u16,
    pub depth: u16,
    tally: Tally,
    pub root: u64,
}

/// What a tree consists of, as noted and as counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally {
    branch_pages: u64,
    leaf_pages: u64,
    overflow_pages: u64,
    entries: u64,
}

#[derive(Debug)]
struct Meta {
    page_bytes: usize,
    map_bytes: u64,
    free: Tree,
    tables: Tree,
    last_page: u64,
    transaction: u64,
}

/// How the rows of a tree have to be interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Free,
    Tables,
    Records,
}

struct Node<'p> {
    key: &'p [u8],
    /// Of a leaf: the bytes that lie in it. Of a branch: none.
    data: &'p [u8],
    /// Of a leaf: bytes of data, wherever they lie.
    data_bytes: usize,
    flags: u16,
    /// Of a branch.
    child: u64,
}

/// A tree being walked.
struct TreeWalk {
    rows: Rows,
    counted: Tally,
    /// Rows whose contents matter: key and data.
    kept: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The range in which the keys of a page have to be.
#[derive(Clone, Copy)]
struct Range<'k> {
    begin: Option<&'k [u8]>,
    /// Not below the page any more.
    end: Option<&'k [u8]>,
}

struct Walk {
    file: File,
    file_pages: u64,
    page_bytes: usize,
    last_page: u64,
    /// Which pages of the file are in use or free.
    claimed: Vec<bool>,
    problems: Vec<Damage>,
}

impl Walk {
    /// A missing or empty file is not damaged: LMDB makes a new one.
    fn begin(path: &Path, look: fn(&mut Walk, &Meta)) -> io::Result<Vec<Damage>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let bytes = file.metadata()?.len();
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let meta = match newest_meta(&file, bytes) {
            Ok(meta) => meta,
            Err(damage) => return Ok(vec![damage]),
        };
        let file_pages = bytes / meta.page_bytes as u64;
        let mut claimed = vec![false; usize::try_from(file_pages).unwrap_or(usize::MAX)];
        claimed.iter_mut().take(2).for_each(|meta| *meta = true);
        let (page_bytes, last_page) = (meta.page_bytes, meta.last_page);
        let mut walk = Walk { file, file_pages, page_bytes, last_page, claimed, problems: Vec::new() };
        look(&mut walk, &meta);
        Ok(walk.problems)
    }

    fn whole_file(&mut self, meta: &Meta) {
        for (name, tree) in self.list_of_tables(meta) {
            self.tree(&format!("table '{name}'"), &tree, Rows::Records);
        }
        self.list_of_free_pages(meta);
    }

    fn list_of_free_pages(&mut self, meta: &Meta) {
        for (key, data) in self.tree("the list of free pages", &meta.free, Rows::Free) {
            if let Err(damage) = self.free_pages(&data) {
                self.problem(format!("free pages of transaction {}: {damage}", u64_at(&key, 0)));
            }
        }
    }

    fn entrance(&mut self, meta: &Meta) {
        // LMDB writes to the pages that this list says are free
        self.list_of_free_pages(meta);
        let trees = self.list_of_tables(meta);
        for (name, tree) in trees.into_iter().filter(|(_, tree)| tree.root != NO_PAGE) {
            if name == FORMAT_TABLE {
                // LMDB itself reads the format there, before anything else can
                self.tree(&format!("table '{name}'"), &tree, Rows::Records);
                continue;
            }
            let mut page = vec![0; self.page_bytes];
            let read = self.read(tree.root, &mut page).and_then(|()| nodes(&page, tree.depth == 1).map(drop));
            read.unwrap_or_else(|damage| self.problem(format!("root of '{name}': {damage}")));
        }
    }

    fn list_of_tables(&mut self, meta: &Meta) -> Vec<(String, Tree)> {
        let rows = self.tree("the list of tables", &meta.tables, Rows::Tables);
        let tables: Vec<_> =
            rows.iter().map(|(name, tree)| (name.escape_ascii().to_string(), Tree::decode(tree))).collect();
        // a table whose name has changed would be missed, and made anew; a file without any of these is somebody else's
        let is_known = |name: &str| TABLES.contains(&name);
        let unknown: Vec<_> =
            tables.iter().filter(|(name, _)| !is_known(name)).map(|(name, _)| name).collect();
        if unknown.len() < tables.len() {
            unknown.into_iter().for_each(|name| self.problem(format!("an unknown table '{name}'")));
        }
        tables
    }

    /// Walks a tree and compares it with its description. Returns the rows that matter here.
    fn tree(&mut self, name: &str, tree: &Tree, rows: Rows) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut walk = TreeWalk { rows, counted: Tally::default(), kept: Vec::new() };
        let problems_before = self.problems.len();
        // the first tree's flags are those of the environment, too
        let is_flagged = if rows == Rows::Free { tree.flags & INTEGER_KEY != 0 } else { tree.flags == 0 };
        let (is_empty, is_deep) = (tree.root == NO_PAGE, (1..=DEPTH_MAX).contains(&tree.depth));
        if !is_flagged || is_deep == is_empty {
            self.problem(format!(
                "{name}: flags {:#x}, depth {}, root {}",
                tree.flags, tree.depth, tree.root
            ));
        } else if !is_empty {
            self.page(name, &mut walk, tree.root, tree.depth, Range { begin: None, end: None });
        }
        // a wrong count is not reported if its reason was reported already
        if self.problems.len() == problems_before && walk.counted != tree.tally {
            self.problem(format!("{name}: noted are {:?}, counted {:?}", tree.tally, walk.counted));
        }
        walk.kept
    }

    /// A page and all below it.
    fn page(&mut self, name: &str, walk: &mut TreeWalk, number: u64, depth: u16, keys: Range<'_>) {
        let mut page = vec![0; self.page_bytes];
        let outcome = self.claim(number, 1).and_then(|()| self.read(number, &mut page)).and_then(|()| {
            let nodes = nodes(&page, depth == 1)?;
            if depth == 1 {
                self.leaf(walk, &nodes, keys)
            } else {
                self.branch(name, walk, &nodes, depth, keys)
            }
        });
        outcome.unwrap_or_else(|damage| self.problem(format!("{name}, page {number}: {damage}")));
    }

    fn branch(
        &mut self,
        name: &str,
        walk: &mut TreeWalk,
        nodes: &[Node<'_>],
        depth: u16,
        range: Range<'_>,
    ) -> Result<(), Damage> {
        walk.counted.branch_pages += 1;
        if nodes.len() < 2 && walk.rows != Rows::Free {
            return Err("a branch with fewer than two children".into());
        }
        // each key is the beginning of its child; the first child begins with the page, and its key is not used
        let keys = nodes.iter().skip(1).map(|node| walk.rows.sortable(node.key));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let starts: Vec<_> =
            std::iter::once(range.begin).chain(keys.iter().map(|key| Some(&key[..]))).collect();
        for (at, node) in nodes.iter().enumerate() {
            let begin = starts.get(at).copied().flatten();
            let end = starts.get(at + 1).copied().unwrap_or(range.end);
            if begin.zip(end).is_some_and(|(begin, end)| begin >= end) {
                return Err(format!("child {at} ends before it begins"));
            }
            self.page(name, walk, node.child, depth - 1, Range { begin, end });
        }
        Ok(())
    }

    fn leaf(&mut self, walk: &mut TreeWalk, nodes: &[Node<'_>], range: Range<'_>) -> Result<(), Damage> {
        walk.counted.leaf_pages += 1;
        walk.counted.entries += nodes.len() as u64;
        let mut previous: Option<Vec<u8>> = None;
        for node in nodes {
            let key = walk.rows.sortable(node.key)?;
            if previous.is_some_and(|previous| previous >= key) {
                return Err(format!("key '{}' is not behind the one before it", node.key.escape_ascii()));
            }
            if range.begin.is_some_and(|begin| begin > &key[..])
                || range.end.is_some_and(|end| end <= &key[..])
            {
                return Err(format!("key '{}' belongs on another page", node.key.escape_ascii()));
            }
            previous = Some(key);
            let is_kept = walk.rows != Rows::Records;
            let mut data = Vec::new();
            match (node.flags, walk.rows) {
                (0, Rows::Free | Rows::Records) => {
                    data.extend_from_slice(if is_kept { node.data } else { &[] })
                }
                (SUB_TREE, Rows::Tables) if node.data.len() == TREE_BYTES => {
                    data.extend_from_slice(node.data)
                }
                (BIG_DATA, Rows::Free | Rows::Records) => {
                    let (number, into) = (u64_at(node.data, 0), is_kept.then_some(&mut data));
                    walk.counted.overflow_pages += self.overflow(number, node.data_bytes, into)?;
                }
                (flags, _) => return Err(format!("a row with flags {flags:#x}")),
            }
            if is_kept {
                walk.kept.push((node.key.to_vec(), data));
            }
        }
        Ok(())
    }

    /// Checks the pages that hold long data. Returns how many there are.
    fn overflow(&mut self, number: u64, bytes: usize, into: Option<&mut Vec<u8>>) -> Result<u64, Damage> {
        let mut page = vec![0; self.page_bytes];
        self.read(number, &mut page)?;
        let pages = u64::from(u32_at(&page, 12));
        let room = (pages.saturating_mul(self.page_bytes as u64)).saturating_sub(HEADER_BYTES as u64);
        if u16_at(&page, 10) != OVERFLOW || room < bytes as u64 {
            return Err(format!("overflow page {number} is none, or has no room for {bytes} bytes"));
        }
        self.claim(number, pages)?;
        if let Some(data) = into {
            data.resize(bytes, 0);
            let offset = number * self.page_bytes as u64 + HEADER_BYTES as u64;
            self.file.read_exact_at(data, offset).map_err(|error| error.to_string())?;
        }
        Ok(pages)
    }

    fn free_pages(&mut self, data: &[u8]) -> Result<(), Damage> {
        let count = u64_at(data, 0);
        let numbers = data.chunks_exact(8).skip(1);
        if !data.len().is_multiple_of(8) || (numbers.len() as u64) < count {
            return Err(format!("{count} pages in {} bytes", data.len()));
        }
        let mut previous = NO_PAGE;
        for number in numbers.take(count as usize).map(|bytes| u64_at(bytes, 0)) {
            if number >= previous {
                return Err(format!("page {number} behind page {previous}"));
            }
            previous = number;
            // the file may be shorter than its last free pages
            if number < self.file_pages || number > self.last_page {
                self.claim(number, 1)?;
            }
        }
        Ok(())
    }

    /// Marks these pages as used; nothing else may be on them.
    fn claim(&mut self, number: u64, pages: u64) -> Result<(), Damage> {
        let end =
            number.checked_add(pages).filter(|end| *end <= self.file_pages && *end - 1 <= self.last_page);
        let Some(end) = end.filter(|_| pages > 0) else {
            return Err(format!("{pages} pages from {number} on are not in the file"));
        };
        for number in number..end {
            let claimed = usize::try_from(number).ok().and_then(|at| self.claimed.get_mut(at));
            if claimed.is_none_or(|claimed| std::mem::replace(claimed, true)) {
                return Err(format!("page {number} is used twice"));
            }
        }
        Ok(())
    }

    fn read(&self, number: u64, page: &mut [u8]) -> Result<(), Damage> {
        if number < 2 || number > self.last_page || number >= self.file_pages {
            return Err(format!("page {number} is not in the file"));
        }
        let offset = number * self.page_bytes as u64;
        self.file.read_exact_at(page, offset).map_err(|error| format!("page {number}: {error}"))?;
        match u64_at(page, 0) {
            own if own == number => Ok(()),
            other => Err(format!("page {number} says it is page {other}")),
        }
    }

    fn problem(&mut self, what: Damage) {
        if self.problems.len() < DESCRIBED_MAX {
            self.problems.push(what);
        }
    }
}

impl Rows {
    /// A key in bytes that sort as LMDB sorts it.
    fn sortable(self, key: &[u8]) -> Result<Vec<u8>, Damage> {
        match self {
            Rows::Free if key.len() == 8 => Ok(u64_at(key, 0).to_be_bytes().to_vec()),
            Rows::Free => Err(format!("a transaction of {} bytes", key.len())),
            Rows::Tables | Rows::Records => Ok(key.to_vec()),
        }
    }
}

impl Tree {
    pub fn decode(bytes: &[u8]) -> Tree {
        let tally = Tally {
            branch_pages: u64_at(bytes, 8),
            leaf_pages: u64_at(bytes, 16),
            overflow_pages: u64_at(bytes, 24),
            entries: u64_at(bytes, 32),
        };
        Tree { flags: u16_at(bytes, 4), depth: u16_at(bytes, 6), tally, root: u64_at(bytes, 40) }
    }
}

impl Meta {
    fn read(file: &File, number: u64, page_bytes: usize) -> Result<Meta, Damage> {
        let mut page = [0; HEADER_BYTES + META_BYTES];
        let damage = |what: &str| format!("meta page {number}: {what}");
        file.read_exact_at(&mut page, number * page_bytes as u64)
            .map_err(|error| damage(&error.to_string()))?;
        let (header, meta) = page.split_at(HEADER_BYTES);
        if u64_at(header, 0) != number || u16_at(header, 10) != META {
            return Err(damage("its header is not that of a meta page"));
        }
        if u32_at(meta, 0) != MAGIC || u32_at(meta, 4) != VERSION {
            return Err(damage("not of an LMDB file of version 1"));
        }
        let read = Meta {
            page_bytes: u32_at(meta, 24) as usize,
            map_bytes: u64_at(meta, 16),
            free: Tree::decode(&meta[24..72]),
            tables: Tree::decode(&meta[72..120]),
            last_page: u64_at(meta, 120),
            transaction: u64_at(meta, 128),
        };
        let is_sized = (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&read.page_bytes);
        if !is_sized || !read.page_bytes.is_power_of_two() {
            return Err(damage("a page size that LMDB does not use"));
        }
        if read.last_page < 1 || read.last_page >= read.map_bytes / read.page_bytes as u64 {
            return Err(damage("its last page is outside of its map"));
        }
        Ok(read)
    }
}

/// Both meta pages have to be sound: they are of the last two transactions.
fn newest_meta(file: &File, bytes: u64) -> Result<Meta, Damage> {
    let first = Meta::read(file, 0, 0)?;
    if bytes < 2 * first.page_bytes as u64 {
        return Err("the file is shorter than its two meta pages".into());
    }
    let second = Meta::read(file, 1, first.page_bytes)?;
    let (a, b) = (first.transaction, second.transaction);
    let is_new = (a, b) == (0, 0);
    let is_in_place = a % 2 == 0 && b % 2 == 1 && a.abs_diff(b) == 1;
    if second.page_bytes != first.page_bytes || !(is_new || is_in_place) {
        return Err(format!("the two meta pages, of transactions {a} and {b}, do not go together"));
    }
    Ok(if a > b { first } else { second })
}

/// The nodes of a page, which has to be of the kind that its depth asks for.
fn nodes(page: &[u8], is_leaf: bool) -> Result<Vec<Node<'_>>, Damage> {
    let (flags, lower, upper) = (u16_at(page, 10), u16_at(page, 12), u16_at(page, 14));
    let expected = if is_leaf { LEAF } else { BRANCH };
    if flags != expected {
        return Err(format!("flags {flags:#x} instead of {expected:#x}"));
    }
    let (lower, upper) = (usize::from(lower), usize::from(upper));
    if lower <= HEADER_BYTES || !lower.is_multiple_of(2) || lower > upper || upper > page.len() {
        return Err(format!("nodes up to {lower} and from {upper} on"));
    }
    let offsets = (HEADER_BYTES..lower).step_by(2).map(|at| usize::from(u16_at(page, at)));
    let nodes = offsets.clone().map(|at| node(page, at, upper, is_leaf)).collect::<Result<Vec<_>, _>>()?;
    let mut places: Vec<_> = offsets.zip(nodes.iter().map(Node::bytes)).collect();
    places.sort_unstable();
    // LMDB leaves no gaps
    let end = places.iter().try_fold(upper, |end, (at, bytes)| (*at == end).then_some(end + bytes));
    if end == Some(page.len()) { Ok(nodes) } else { Err("nodes that overlap, or leave a gap".into()) }
}

impl Node<'_> {
    /// Bytes that it takes, with what evens them out.
    fn bytes(&self) -> usize {
        (NODE_HEADER_BYTES + self.key.len() + self.data.len()).next_multiple_of(2)
    }
}

fn node(page: &[u8], at: usize, upper: usize, is_leaf: bool) -> Result<Node<'_>, Damage> {
    let outside = || format!("a node at {at} that is not on the page");
    let bytes = page.get(at..).filter(|bytes| at >= upper && bytes.len() >= NODE_HEADER_BYTES);
    let (header, rest) = bytes.ok_or_else(outside)?.split_at(NODE_HEADER_BYTES);
    let (low, flags) = (u32_at(header, 0), u16_at(header, 4));
    let (key, rest) = rest.split_at_checked(usize::from(u16_at(header, 6))).ok_or_else(outside)?;
    if !is_leaf {
        let child = u64::from(flags) << 32 | u64::from(low);
        return Ok(Node { key, data: &[], data_bytes: 0, flags: 0, child });
    }
    let data_bytes = low as usize;
    let here = if flags & BIG_DATA == 0 { data_bytes } else { size_of::<u64>() };
    let data = rest.get(..here).ok_or_else(outside)?;
    Ok(Node { key, data, data_bytes, flags, child: NO_PAGE })
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}
