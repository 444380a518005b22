//! Segments as files: their names, and making, recycling and removing them.
//!
//! A segment is made ahead of its use: written full of zeros and synced, so that an append overwrites blocks that are
//! allocated already and a sync has no metadata to commit. Ids grow in the order of use; each use has a new name.
//! Knows nothing of entries. `Maker` runs on the stock thread, and where the journal opens or restarts.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::journal::JournalError;
use crate::engine::journal::disk::{Disk, DiskFile};
use crate::engine::journal::format::FRAMES_AT;
use crate::engine::journal::segments::manifest::{Listed, Manifest};

/// The ending of the name of a file that is not ready yet. Such files are leftovers when the journal opens.
pub const UNFINISHED_SUFFIX: &str = ".new";

/// The file that becomes a segment when no other can be made.
pub const RESERVE: &str = "reserve";

static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

/// The name of a segment's file: `<id, 16 digits>-<salt, 16 hex digits>.log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub id: u64,
    /// Seeds the checksums of this use of the file.
    pub salt: u64,
}

impl Name {
    pub fn parse(name: &str) -> Option<Name> {
        let (id, salt) = name.strip_suffix(".log")?.split_once('-')?;
        let parsed = Name { id: id.parse().ok()?, salt: u64::from_str_radix(salt, 16).ok()? };
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016}-{:016x}.log", self.id, self.salt)
    }
}

/// A file that holds frames, or is ready to.
#[derive(Debug)]
pub struct Segment {
    pub name: Name,
    /// Of the whole file.
    pub bytes: u64,
    pub file: Arc<dyn DiskFile>,
}

impl Segment {
    /// Room for frames.
    pub fn capacity(&self) -> u64 {
        self.bytes.saturating_sub(FRAMES_AT)
    }
}

/// Makes segments, one at a time, with ids in the order of their making.
#[derive(Debug)]
pub struct Maker {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next_id: u64,
    pub manifest: Manifest,
    /// A segment that was made and is perhaps not listed. It may be used only when it is listed, and removed only when
    /// it is surely not.
    unlisted: Option<Segment>,
}

impl Maker {
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, next_id: u64, manifest: Manifest) -> Maker {
        Maker { disk, dir: dir.to_owned(), next_id, manifest, unlisted: None }
    }

    /// A new segment of so many bytes, full of zeros, durably there and listed. What an error leaves behind is what the next
    /// call gives, of whatever size that was to be, or is cleared away when the journal opens.
    pub fn make(&mut self, bytes: u64) -> Result<Segment, JournalError> {
        self.manifest.ensure()?;
        let segment = match self.take_unlisted()? {
            Some(segment) => segment,
            None => self.make_unlisted(bytes)?,
        };
        self.list(segment)
    }

    /// What an earlier call has made and could not list.
    fn take_unlisted(&mut self) -> Result<Option<Segment>, JournalError> {
        match self.unlisted.take() {
            // ids have to increase in the order of use, so it can't be used when another segment has a higher id
            Some(segment) if segment.name.id + 1 < self.next_id => {
                let removed = self.remove(segment.name);
                if let Err(error) = removed {
                    self.unlisted = Some(segment);
                    return Err(error);
                }
                Ok(None)
            }
            unlisted => Ok(unlisted),
        }
    }

    /// Lists a segment once its name is durable.
    fn list(&mut self, segment: Segment) -> Result<Segment, JournalError> {
        let listed = Listed { id: segment.name.id, before: segment.name.id, bytes: segment.bytes };
        if let Err(error) = self.sync_names().and_then(|()| self.manifest.list(listed)) {
            self.unlisted = Some(segment);
            return Err(error);
        }
        Ok(segment)
    }

    fn make_unlisted(&mut self, bytes: u64) -> Result<Segment, JournalError> {
        let name = self.next_name()?;
        let unfinished = self.dir.join(format!("{name}{UNFINISHED_SUFFIX}"));
        let made = self.fill(&unfinished, bytes).and_then(|file| {
            self.disk.rename(&unfinished, &self.path(name))?;
            Ok(file)
        });
        let file = made.map_err(|error| {
            // Frees the space if it can; the first error is the one that counts.
            let _ = self.disk.remove(&unfinished);
            JournalError::io("make a segment", &unfinished, error)
        })?;
        Ok(Segment { name, bytes, file })
    }

    /// Gives a segment that is no longer needed a new name, under which nothing in it verifies.
    pub fn recycle(&mut self, old: &Segment) -> Result<Segment, JournalError> {
        self.manifest.ensure()?;
        let (from, name) = (self.path(old.name), self.next_name()?);
        self.manifest.list(Listed { id: name.id, before: old.name.id, bytes: old.bytes })?;
        let renamed = self.disk.rename(&from, &self.path(name));
        renamed.map_err(|error| JournalError::io("recycle", &from, error))?;
        // Before its first use, because a file that got its old name back in a crash would lose new entries.
        self.sync_names()?;
        Ok(Segment { name, bytes: old.bytes, file: Arc::clone(&old.file) })
    }

    /// Whether there is a reserve with so much room, or what could not be listed of it.
    pub fn has_reserve(&self, room: u64) -> bool {
        if self.unlisted.as_ref().is_some_and(|segment| segment.bytes == FRAMES_AT + room) {
            return true;
        }
        let is_reserve = |(name, bytes): &(String, u64)| name == RESERVE && *bytes == FRAMES_AT + room;
        self.disk.list(&self.dir).is_ok_and(|files| files.iter().any(is_reserve))
    }

    /// Makes the reserve, with so much room, in place of one that may be there.
    pub fn make_reserve(&self, room: u64) -> Result<(), JournalError> {
        let path = self.dir.join(RESERVE);
        let unfinished = self.dir.join(format!("{RESERVE}{UNFINISHED_SUFFIX}"));
        let made = self.fill(&unfinished, FRAMES_AT + room);
        made.and_then(|_| self.disk.rename(&unfinished, &path)).map_err(|error| {
            // Frees the space if it can; the first error is the one that counts.
            let _ = self.disk.remove(&unfinished);
            JournalError::io("make a reserve", &path, error)
        })?;
        self.sync_names()
    }

    /// Turns the reserve into a segment, and lists it. Takes no space. What an error leaves behind is treated like what
    /// [`make`](Maker::make) leaves.
    pub fn use_reserve(&mut self, room: u64) -> Result<Segment, JournalError> {
        self.manifest.ensure()?;
        if let Some(segment) = self.take_unlisted()? {
            return self.list(segment);
        }
        let (from, name) = (self.dir.join(RESERVE), self.next_name()?);
        let file = self
            .disk
            .open(&from)
            .and_then(|file| self.disk.rename(&from, &self.path(name)).map(|()| file))
            .map_err(|error| JournalError::io("use the reserve", &from, error))?;
        // durably there before it is listed, and listed before its first use
        self.list(Segment { name, bytes: FRAMES_AT + room, file })
    }

    pub fn remove(&mut self, name: Name) -> Result<(), JournalError> {
        self.remove_all(&[name])
    }

    /// Removes segments, once none of them is listed any more.
    pub fn remove_all(&mut self, names: &[Name]) -> Result<(), JournalError> {
        let ids: Vec<u64> = names.iter().map(|name| name.id).collect();
        self.manifest.strike(&ids)?;
        names.iter().try_for_each(|name| {
            let path = self.path(*name);
            self.disk.remove(&path).map_err(|error| JournalError::io("remove", &path, error))
        })
    }

    pub fn sync_names(&self) -> Result<(), JournalError> {
        self.disk.sync_dir(&self.dir).map_err(|error| JournalError::io("sync", &self.dir, error))
    }

    fn fill(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(path)?;
        let mut written = 0;
        while written < bytes {
            let step = (bytes - written).min(ZEROS.len() as u64);
            file.write_at(&ZEROS[..step as usize], written)?;
            written += step;
        }
        file.sync()?;
        Ok(file)
    }

    /// Ids are used up even by a failure, so that no id ever names two files.
    fn next_name(&mut self) -> Result<Name, JournalError> {
        let salt = random(&self.dir)?;
        let id = self.next_id;
        self.next_id += 1;
        Ok(Name { id, salt })
    }

    fn path(&self, name: Name) -> PathBuf {
        self.dir.join(name.to_string())
    }
}

/// A number that nobody can guess, for the journal in `dir`.
pub fn random(dir: &Path) -> Result<u64, JournalError> {
    let drawn = getrandom::u64();
    drawn.map_err(|error| JournalError::io("draw a number for", dir, io::Error::other(error.to_string())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::engine::journal::disk::RealDisk;
    use crate::engine::journal::segments::segment::*;

    #[test]
    fn a_name_reads_back_and_only_its_own_spelling_does() {
        let name = Name { id: 42, salt: 0xbeef };
        assert_eq!(name.to_string(), "0000000000000042-000000000000beef.log");
        assert_eq!(Name::parse(&name.to_string()), Some(name));
        for other in
            ["42-beef.log", "0000000000000042-000000000000BEEF.log", "0000000000000042-.log", "x.log", ""]
        {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_maker_fills_recycles_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let manifest = Manifest::begin(&disk, dir.path(), None, 1, std::iter::empty(), 0).unwrap();
        let mut maker = Maker::new(disk, dir.path(), 5, manifest);
        let segment = maker.make(600_000).unwrap();
        assert_eq!(segment.name.id, 5);
        let path = dir.path().join(segment.name.to_string());
        assert!(std::fs::read(&path).unwrap() == vec![0; 600_000]);

        segment.file.write_at(b"old", 0).unwrap();
        let again = maker.recycle(&segment).unwrap();
        assert_eq!(again.name.id, 6);
        assert_ne!(again.name.salt, segment.name.salt);
        assert!(!path.exists());
        assert_eq!(std::fs::read(dir.path().join(again.name.to_string())).unwrap().len(), 600_000);

        maker.remove(again.name).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["manifest"]);
    }
}
