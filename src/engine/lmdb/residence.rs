//! Determines which pages of the map are in memory, and asks the system to read others.
//!
//! The map is opened without read-ahead, because a look-up needs one page and not those beside it. Three things follow:
//! * A thread that serves many connections must not touch a page that is only on disk, because the page fault would stop
//!   them all. It asks first, and hands the command to a thread that may [wait](Wait).
//! * Several look-ups first ask the system for all of their pages, which it then reads at the same time.
//! * A scan asks for the pages that follow ([`Rows`](super::reader::Rows)), more and more of them the longer it goes on.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use super::env::Snapshot;
use super::fault::Fault;
use super::reader::Reader;
use crate::engine::clock;

/// What to do about a page that is not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Read it from the disk.
    ForDisk,
    /// Ask the system to read it, and fail with [`Fault::Cold`], to ask for others meanwhile.
    Ask,
    /// Fail with [`Fault::Cold`]. Even to ask the system takes time that a network thread should not spend.
    No,
}

/// The number of the system's pages at the beginning of a long value that are checked.
const PAGES_ASKED: usize = 256;
/// The most bytes that the system is asked to read at once.
const BYTES_FETCHED_MAX: usize = 16 << 20;
/// After this many leaves in memory, [`Reader::fetch_leaves`] assumes that all are.
const RESIDENT_ENOUGH: usize = 16;

/// How many pages [`Known`] can hold.
const KNOWN_PAGES: usize = 1 << 15;

/// Pages that were in memory when the system was asked, within this second or the last one. Asking takes a third of a
/// microsecond, which is much for pages that are looked at again and again; and the system evicts these last.
pub(super) struct Known(Box<[AtomicU64]>);

impl Known {
    pub fn new() -> Known {
        Known((0..KNOWN_PAGES).map(|_| AtomicU64::new(0)).collect())
    }

    fn has(&self, number: u64, second: u32) -> bool {
        let known = self.slot(number).load(Ordering::Relaxed);
        known >> 32 == number & u64::from(u32::MAX) && second.wrapping_sub(known as u32) <= 1
    }

    fn note(&self, number: u64, second: u32) {
        self.slot(number).store(number << 32 | u64::from(second), Ordering::Relaxed);
    }

    /// Neighbours have slots of their own.
    fn slot(&self, number: u64) -> &AtomicU64 {
        &self.0[number as usize % KNOWN_PAGES]
    }
}

/// Branches that were verified within this second or the last one, as a transaction of LMDB sees them. The contents of a page
/// don't change under a transaction, and pages that are used all the time stay in memory. To verify a branch takes half a
/// microsecond, and there are several on each way.
pub(super) struct Sound(Box<[AtomicU64]>);

impl Sound {
    pub fn new() -> Sound {
        Sound((0..KNOWN_PAGES).map(|_| AtomicU64::new(0)).collect())
    }

    pub fn has(&self, number: u64, transaction: usize) -> bool {
        let (second, noted) = (second(), self.slot(number).load(Ordering::Relaxed));
        [second, second.wrapping_sub(1)].iter().any(|second| noted == mark(number, transaction, *second))
    }

    pub fn note(&self, number: u64, transaction: usize) {
        self.slot(number).store(mark(number, transaction, second()), Ordering::Relaxed);
    }

    fn slot(&self, number: u64) -> &AtomicU64 {
        &self.0[number as usize % KNOWN_PAGES]
    }
}

/// All three in one number, so that they are read at once. Others have the same number by a chance of one in 2^64.
fn mark(number: u64, transaction: usize, second: u32) -> u64 {
    foldhash::quality::FixedState::default().hash_one((number, transaction, second))
}

/// Seconds by the steady clock, from 2 on, so that an empty slot is too old.
fn second() -> u32 {
    ((clock::steady_ms() / 1000) as u32).wrapping_add(2)
}

impl Reader {
    /// Fails if pages are not in memory and the caller does not wait for them. If it waits and there are several of
    /// them, they are read at once, not one by one.
    pub(super) fn approach(&self, number: u64, pages: usize, wait: Wait) -> Result<(), Fault> {
        if wait == Wait::ForDisk && pages == 1 {
            return Ok(());
        }
        let second = second();
        if pages == 1 && self.known.has(number, second) {
            return Ok(());
        }
        if self.are_resident(number, pages) {
            self.known.note(number, second);
            return Ok(());
        }
        if wait != Wait::No {
            self.fetch(number, pages);
        }
        if wait == Wait::ForDisk { Ok(()) } else { Err(Fault::Cold) }
    }

    /// Asks the system for the leaves on which keys are or would be, so that it reads them at the same time. The keys
    /// are in ascending order. Invalid pages are skipped here, because the code that reads them reports them.
    pub(super) fn fetch_leaves<'k>(
        &self,
        snapshot: &Snapshot<'_>,
        table: &str,
        keys: impl Iterator<Item = &'k [u8]>,
    ) {
        let (mut resident, mut end): (_, Option<&[u8]>) = (0, Some(&[]));
        for key in keys {
            // several keys may be on one leaf
            if end.is_none_or(|end| key < end) {
                continue;
            }
            let Ok(Some((number, end_of_leaf))) = self.leaf_of(snapshot, table, key) else { return };
            end = end_of_leaf;
            if self.are_resident(number, 1) {
                resident += 1;
                if resident == RESIDENT_ENOUGH {
                    return;
                }
            } else {
                resident = 0;
                self.fetch(number, 1);
            }
        }
    }

    /// Whether pages are in memory; true if the system does not say.
    fn are_resident(&self, number: u64, pages: usize) -> bool {
        let (address, bytes) = self.range(number, pages);
        // the file may come from a system with larger pages, which are LMDB's pages, too
        let bytes = bytes.min(PAGES_ASKED * system_page_bytes());
        let mut residence = [0_u8; PAGES_ASKED];
        // SAFETY: mincore reads no memory at the address, whatever it is, and writes one byte for each page of the system in
        // a range that begins with such a page: at most as many as the limit above allows.
        let asked = unsafe { libc::mincore(address.cast(), bytes, residence.as_mut_ptr().cast()) };
        asked != 0 || residence[..bytes.div_ceil(system_page_bytes())].iter().all(|page| page & 1 == 1)
    }

    /// Asks the system to read pages, and does not wait for that.
    pub(super) fn fetch(&self, number: u64, pages: usize) {
        let (address, bytes) = self.range(number, pages);
        // SAFETY: MADV_WILLNEED changes nothing in memory: it starts to read the part of the file that is mapped there.
        // An address that is not mapped is refused.
        unsafe { libc::madvise(address.cast(), bytes.min(BYTES_FETCHED_MAX), libc::MADV_WILLNEED) };
    }

    /// The position of pages in the map, extended to the beginning of a page of the system.
    fn range(&self, number: u64, pages: usize) -> (*mut u8, usize) {
        let start = self.address(number);
        let before = start.addr() % system_page_bytes();
        (start.wrapping_sub(before).cast_mut(), before + pages.saturating_mul(self.page_bytes))
    }
}

fn system_page_bytes() -> usize {
    rustix::param::page_size()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_remembered_for_its_transaction() {
        let sound = Sound::new();
        assert!(!sound.has(0, 0));
        sound.note(7, 40);
        assert!(sound.has(7, 40));
        assert!(!sound.has(7, 41) && !sound.has(8, 40) && !sound.has(7 + KNOWN_PAGES as u64, 40));
    }
}
