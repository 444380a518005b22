//! Space: how large the file is, how much of it is free, and how much is kept so that records can always be removed.
//!
//! LMDB never changes a page in place. It needs pages even to remove records, and only afterwards are others free; its
//! file grows and is reused, but never shrinks. On a full disk that would be a trap: nothing could be removed without
//! space. Therefore the file is kept longer than its pages by a *reserve*, which is after the last page, takes space on
//! the disk, and is used by LMDB when it has no free pages. Commits that add records do not use the reserve
//! ([`Tables::spare_bytes`]); those that only remove records, and those that empty stores, may use it. What they free
//! serves as the reserve from then on.

use std::fs::File;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};

use super::fault::Fault;
use super::tables::Tables;
use crate::limits::{LMDB_RESERVE_BYTES_MAX, LMDB_RESERVE_BYTES_MIN, LMDB_RESERVE_PART};

/// The space of LMDB's file, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileSpace {
    /// Up to the last page that was ever used.
    pub pages: u64,
    /// The free pages among them, which are reused before the file grows.
    pub free: u64,
    /// The reserve after the last page.
    pub reserve: u64,
    page_bytes: u64,
}

impl FileSpace {
    /// Bytes of pages that hold something.
    pub fn live(&self) -> u64 {
        self.pages.saturating_sub(self.free)
    }

    pub fn free_pages(&self) -> u64 {
        self.free.checked_div(self.page_bytes).unwrap_or(0)
    }
}

/// The space that commits may use, in bytes.
pub struct Space {
    /// Commits that add records.
    pub spare: u64,
    /// Only those that remove records.
    pub kept: u64,
}

/// How much the file may still grow.
struct Growth {
    bytes: u64,
    /// The map is full before the disk is.
    is_bounded_by_map: bool,
}

impl Tables {
    /// What the file takes.
    pub fn file_space(&self) -> Result<FileSpace, Fault> {
        let pages = self.file_bytes();
        let length = self.file()?.metadata().map_err(heed::Error::Io)?.len();
        let snapshot = self.snapshot()?;
        let mut held = 2; // the meta pages
        let tables = [
            &self.records,
            &self.deadlines,
            &self.stores,
            &self.usage,
            &self.retired,
            &self.dictionaries,
            &self.meta,
        ];
        let stats = tables.into_iter().map(|table| table.rows.stat(&snapshot));
        for stat in stats.chain([Ok(self.env.unnamed_database_stat())]) {
            let stat = stat?;
            held += stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        }
        let page_bytes = self.page_bytes();
        let free = pages.saturating_sub(held as u64 * page_bytes);
        // LMDB lists free pages in a table whose pages can't be counted: eight bytes for each, and the path of the
        // table itself
        let listing = free / page_bytes * 8 + FREE_LIST_PAGES * page_bytes;
        let (free, reserve) = (free.saturating_sub(listing), length.saturating_sub(pages));
        Ok(FileSpace { pages, free, reserve, page_bytes })
    }

    /// The bytes of pages that commits may use that add records, without the reserve. `owed_bytes` of the disk are for
    /// the journal.
    pub fn spare_bytes(&self, owed_bytes: u64) -> Result<u64, Fault> {
        Ok(self.space_beside(owed_bytes)?.spare)
    }

    /// The space that commits may use.
    pub fn space(&self) -> Result<Space, Fault> {
        self.space_beside(0)
    }

    fn space_beside(&self, owed_bytes: u64) -> Result<Space, Fault> {
        let file = self.file_space()?;
        let available = file.free + self.growth(&file, owed_bytes)?.bytes;
        let kept = available.min(self.reserve_bytes()?);
        Ok(Space { spare: available - kept, kept })
    }

    /// Why no bytes are left.
    pub fn shortage(&self) -> Result<Fault, Fault> {
        let growth = self.growth(&self.file_space()?, 0)?;
        Ok(Fault::Lmdb(match growth.is_bounded_by_map {
            true => heed::Error::Mdb(heed::MdbError::MapFull),
            false => heed::Error::Io(std::io::ErrorKind::StorageFull.into()),
        }))
    }

    /// Gives the file the length that its reserve requires: longer if the disk has room for it, shorter if a failed
    /// commit has left more. Only for the thread that may write, because a commit changes the length, too.
    pub fn keep_reserve(&self) -> Result<(), Fault> {
        let (file, pages, reserve) = (self.file()?, self.file_bytes(), self.reserve_bytes()?);
        let length = file.metadata().map_err(heed::Error::Io)?.len();
        if length < pages + reserve {
            // if the disk has no room, it is tried again after the next checkpoint
            if let Err(error) = fallocate(&file, FallocateFlags::empty(), pages, reserve) {
                tracing::debug!(%error, "no space could be reserved for the removal of records");
            }
        } else if length > pages + 2 * reserve {
            file.set_len(pages + reserve).map_err(heed::Error::Io)?;
        }
        Ok(())
    }

    /// The size of the reserve, by the size of the disk and of the map.
    fn reserve_bytes(&self) -> Result<u64, Fault> {
        let volume = fstatvfs(self.file()?).map_err(|error| heed::Error::Io(error.into()))?;
        let volume_bytes = volume.f_blocks.saturating_mul(volume.f_frsize);
        let part = volume_bytes.min(self.map_bytes()) / LMDB_RESERVE_PART;
        let page_bytes = self.page_bytes();
        Ok(part.clamp(LMDB_RESERVE_BYTES_MIN, LMDB_RESERVE_BYTES_MAX) / page_bytes * page_bytes)
    }

    /// The journal takes from the disk, not from the map.
    fn growth(&self, space: &FileSpace, owed_bytes: u64) -> Result<Growth, Fault> {
        let volume = fstatvfs(self.file()?).map_err(|error| heed::Error::Io(error.into()))?;
        let free = volume.f_bavail.saturating_mul(volume.f_frsize).saturating_sub(owed_bytes);
        let by_disk = space.reserve.saturating_add(free);
        let by_map = self.map_bytes().saturating_sub(space.pages);
        Ok(Growth { bytes: by_disk.min(by_map), is_bounded_by_map: by_map < by_disk })
    }

    /// Bytes of a page.
    pub fn page_bytes(&self) -> u64 {
        u64::from(self.env.unnamed_database_stat().page_size)
    }

    /// Bytes up to the last page that was ever used: what the tables take on disk.
    pub fn file_bytes(&self) -> u64 {
        (self.env.info().last_page_number as u64 + 1) * self.page_bytes()
    }

    fn file(&self) -> Result<File, Fault> {
        Ok(self.env.try_clone_inner_file()?)
    }
}

/// Pages of the list of free pages, beside those that its length asks for.
const FREE_LIST_PAGES: u64 = 8;
