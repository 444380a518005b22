//! How a server begins to write to an archive: what it finds there decides whether it may, and its first segment, a fence,
//! ends what any earlier run of a server may still be writing.
//!
//! | data directory | place | outcome |
//! |---|---|---|
//! | has no mark | empty | begins an archive |
//! | has no mark | an archive | refused: it is another server's |
//! | has a mark | that archive, whose log ends with what this directory has | goes on |
//! | has a mark | that archive, with entries of another server, or more than this directory has | refused |
//! | has a mark | empty, or another archive | refused: the place is wrong, or was emptied |
//! | any | anything else, or a newer format | refused |

use std::fs;
use std::path::{Path, PathBuf};

use crate::archive::format::{Id, Kind, Lease, LeaseState, Manifest, Mark, Name, SegmentHeader};
use crate::archive::objects::{SMALL_BYTES_MAX, read_manifest};
use crate::archive::store::{Fault, Found, Put, Store};
use crate::engine::journal::Seq;
use crate::files;

/// The file in the data directory that says to which archive it belongs.
const MARK: &str = "archive";
/// How often a start begins anew because somebody else wrote at the same time.
const ATTEMPTS: usize = 8;

/// Why a server can't use an archive.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AttachError {
    /// It may be another time.
    #[error("the archive {place} can't be used: {fault}")]
    Fault { place: String, fault: Fault },
    #[error("{0}")]
    Refused(String),
}

/// The right to write to an archive, as long as nobody takes it over.
#[derive(Debug, Clone)]
pub struct Attached {
    pub archive: Id,
    pub epoch: u64,
    /// The next segment.
    pub number: u64,
    /// The archive has the entries up to this one.
    pub entry: Seq,
    pub manifest: Manifest,
    /// Bytes of the segments after the last snapshot.
    pub log_bytes: u64,
}

/// The path of the mark in a data directory.
pub fn mark_path(dir: &Path) -> PathBuf {
    dir.join(MARK)
}

/// To which archive a data directory belongs, if to any.
pub fn read_mark(dir: &Path) -> Result<Option<Mark>, String> {
    let path = mark_path(dir);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} can't be read: {error}", path.display())),
    };
    Mark::decode(&bytes).map(Some).map_err(|error| format!("{}: {error}", path.display()))
}

pub fn write_mark(dir: &Path, mark: &Mark) -> Result<(), String> {
    let path = mark_path(dir);
    files::replace(&path, &mark.encode())
        .map_err(|error| format!("{} can't be written: {error}", path.display()))
}

/// Begins an archive, or goes on with the one that the data directory belongs to. `last` is the last entry of the directory.
pub fn attach(store: &dyn Store, dir: &Path, last: Seq) -> Result<Attached, AttachError> {
    let attaching = Attaching { store, dir, last };
    for _ in 0..ATTEMPTS {
        if let Some(attached) = attaching.attempt()? {
            return Ok(attached);
        }
    }
    Err(attaching.refused(
        "is being written to by another server at the same time; give each server an archive of its own",
    ))
}

struct Attaching<'a> {
    store: &'a dyn Store,
    dir: &'a Path,
    last: Seq,
}

/// The end of a log.
struct End {
    /// The last segment, 0 for none.
    number: u64,
    epoch: u64,
    entry: Seq,
}

impl Attaching<'_> {
    fn refused(&self, why: impl std::fmt::Display) -> AttachError {
        AttachError::Refused(format!("the archive {} {why}", self.store.place()))
    }

    fn fault(&self, fault: Fault) -> AttachError {
        AttachError::Fault { place: self.store.place(), fault }
    }

    /// `None` if somebody else wrote at the same time.
    fn attempt(&self) -> Result<Option<Attached>, AttachError> {
        let mark = read_mark(self.dir).map_err(AttachError::Refused)?;
        let found = read_manifest(self.store).map_err(|fault| self.fault(fault))?;
        let found = found.map_err(|error| self.refused(format_args!("can't be used: {error}")))?;
        let (manifest, mark) = match (found, mark) {
            (None, mark) if mark.as_ref().is_none_or(is_pristine) => {
                let mark = match mark {
                    Some(mark) => mark,
                    None => Mark { archive: new_id()?, segment: 0, entry: 0, own: vec![0] },
                };
                // before the manifest, so that a start that is interrupted can be repeated
                write_mark(self.dir, &mark).map_err(AttachError::Refused)?;
                let Some(manifest) = self.begin(mark.archive)? else { return Ok(None) };
                (manifest, mark)
            }
            (None, mark) => {
                let archive = mark.map_or(Id(0), |mark| mark.archive);
                return Err(self.refused(format_args!(
                    "is empty, but the data directory {} belongs to the archive {}: correct the setting; to begin a new \
                     archive instead, remove the file {}",
                    self.dir.display(),
                    archive,
                    mark_path(self.dir).display()
                )));
            }
            (Some((manifest, _)), mark)
                if mark.as_ref().is_none_or(|mark| is_pristine(mark) && mark.archive != manifest.archive) =>
            {
                return Err(self.refused(format_args!(
                    "is that of another server ({}): the data directory {} belongs to no archive. Name a place of its own, \
                     or get what is in the archive with larder restore",
                    manifest.archive,
                    self.dir.display()
                )));
            }
            (Some((manifest, _)), Some(mark)) if manifest.archive != mark.archive => {
                return Err(self.refused(format_args!(
                    "is that of another server ({}): the data directory {} belongs to the archive {}. Correct the setting",
                    manifest.archive,
                    self.dir.display(),
                    mark.archive
                )));
            }
            (Some((manifest, _)), Some(mark)) => (manifest, mark),
            (Some(_), None) => return Ok(None),
        };
        let end = self.end(&manifest, &mark)?;
        let Some(epoch) = self.take_epoch(&manifest, end.epoch)? else { return Ok(None) };
        let mut own = mark.own.clone();
        if end.entry >= self.last {
            own.clear();
        }
        own.retain(|own| *own < epoch);
        if own.len() >= crate::limits::ARCHIVE_OWN_EPOCHS_MAX {
            own.remove(0);
        }
        own.push(epoch);
        let mark = Mark { archive: manifest.archive, segment: end.number, entry: end.entry, own };
        // before the fence, so that the next start knows it as its own
        write_mark(self.dir, &mark).map_err(AttachError::Refused)?;
        let number = end.number + 1;
        let fence = SegmentHeader::empty(manifest.archive, epoch, number, Kind::Fence, end.entry + 1);
        let fence = fence.encode();
        let name = Name::Segment(number).to_string();
        match self.store.create(&name, fence.clone().into()).map_err(|fault| self.fault(fault))? {
            Put::Done(_) => {}
            Put::Refused => return Ok(None),
        }
        let since = manifest.snapshots.last().map_or(0, |listed| listed.next_segment);
        let log_bytes = self.bytes_since(since)?;
        let (archive, entry) = (manifest.archive, end.entry);
        Ok(Some(Attached { archive, epoch, number: number + 1, entry, manifest, log_bytes }))
    }

    /// Makes the manifest of a new archive. Nothing else may be there.
    fn begin(&self, archive: Id) -> Result<Option<Manifest>, AttachError> {
        let there = self.store.list("").map_err(|fault| self.fault(fault))?;
        if let Some(other) = there.first() {
            return Err(self.refused(format_args!(
                "contains other objects, such as {}, and no manifest: name an empty place",
                other.name
            )));
        }
        let manifest = Manifest { archive, serial: 1, first_segment: 1, snapshots: Vec::new() };
        let name = Name::Manifest.to_string();
        let create = || self.store.create(&name, manifest.encode().into()).map_err(|fault| self.fault(fault));
        match create()? {
            Put::Refused => return Ok(None),
            Put::Done(_) => {}
        }
        // a store that ignores the condition would let two servers overwrite each other
        match create()? {
            Put::Refused => Ok(Some(manifest)),
            Put::Done(_) => Err(self.refused(
                "is in a store that lacks conditional writes (If-None-Match), which an archive needs",
            )),
        }
    }

    /// Where the log ends, if everything after the mark was written by this data directory.
    fn end(&self, manifest: &Manifest, mark: &Mark) -> Result<End, AttachError> {
        let listed = self.store.list(crate::archive::format::LOG).map_err(|fault| self.fault(fault))?;
        let mut numbers = listed.iter().filter_map(|listed| match Name::parse(&listed.name) {
            Some(Name::Segment(number)) if number >= manifest.first_segment => Some(number),
            _ => None,
        });
        let mut end = End { number: 0, epoch: 0, entry: 0 };
        let mut number = manifest.first_segment;
        for found in numbers.by_ref() {
            if found != number {
                return Err(self.refused(format_args!(
                    "lacks segment {number} of its log. Keep it for what can be restored from it, and begin another archive: \
                     name an empty place, and remove the file {}",
                    mark_path(self.dir).display()
                )));
            }
            number += 1;
        }
        let last = number - 1;
        if last < mark.segment {
            return Err(self.refused(format_args!(
                "ends with segment {last} of its log, but segment {} was there: it was changed, or an older state of it was \
                 brought back. Keep it, and begin another archive: name an empty place, and remove the file {}",
                mark.segment,
                mark_path(self.dir).display()
            )));
        }
        for number in (mark.segment + 1).max(manifest.first_segment)..=last {
            let header = self.header(number)?;
            if !mark.own.contains(&header.epoch) {
                return Err(self.refused(format_args!(
                    "has segments from number {number} on that another server has written since: this data directory ({}) is \
                     out of date. Restore from the archive into a new directory with larder restore",
                    self.dir.display()
                )));
            }
            end = End { number, epoch: header.epoch, entry: header.last };
        }
        if end.number == 0 {
            let epoch = if last == 0 { 0 } else { self.header(last)?.epoch };
            end = End { number: mark.segment, epoch, entry: mark.entry };
        }
        if end.entry > self.last {
            return Err(self.refused(format_args!(
                "has the entries up to {}, but the data directory {} ends with entry {}: it has lost some, or is an older \
                 copy. Restore from the archive into a new directory with larder restore",
                end.entry,
                self.dir.display(),
                self.last
            )));
        }
        Ok(end)
    }

    fn header(&self, number: u64) -> Result<SegmentHeader, AttachError> {
        let name = Name::Segment(number).to_string();
        let start =
            self.store.start(&name, SegmentHeader::BYTES as u64).map_err(|fault| self.fault(fault))?;
        let start = start.ok_or_else(|| self.refused(format_args!("lacks segment {number} of its log")))?;
        SegmentHeader::decode(&start)
            .map_err(|error| self.refused(format_args!("can't be used: {name}: {error}")))
    }

    fn bytes_since(&self, segment: u64) -> Result<u64, AttachError> {
        let listed = self.store.list(crate::archive::format::LOG).map_err(|fault| self.fault(fault))?;
        let since = Name::Segment(segment).to_string();
        Ok(listed.iter().filter(|listed| listed.name >= since).map(|listed| listed.bytes).sum())
    }

    /// Takes an epoch that nobody else has: the lease says which was the last. `None` if somebody else took one just now.
    fn take_epoch(&self, manifest: &Manifest, at_least: u64) -> Result<Option<u64>, AttachError> {
        let name = Name::Lease.to_string();
        let found = self.store.get(&name, SMALL_BYTES_MAX).map_err(|fault| self.fault(fault))?;
        let (before, version) = match found {
            None => (None, None),
            Some(Found { bytes, version }) => {
                let lease = Lease::decode(&bytes)
                    .map_err(|error| self.refused(format_args!("can't be used: {error}")))?;
                if lease.archive != manifest.archive {
                    return Err(self.refused("has the lease of another archive"));
                }
                (Some(lease), Some(version))
            }
        };
        let epoch = before.as_ref().map_or(0, |lease| lease.epoch).max(at_least) + 1;
        let lease = Lease {
            state: LeaseState::Held,
            archive: manifest.archive,
            epoch,
            counter: before.map_or(0, |lease| lease.counter) + 1,
            holder: new_id()?,
            entry: self.last,
            length_ms: 0,
            address: String::new(),
        };
        let bytes = lease.encode();
        let put = match &version {
            None => self.store.create(&name, bytes.into()),
            Some(version) => self.store.replace(&name, bytes.into(), version),
        };
        Ok(matches!(put.map_err(|fault| self.fault(fault))?, Put::Done(_)).then_some(epoch))
    }
}

/// Whether nothing was ever written to the archive of this mark, as far as the mark knows.
pub fn is_pristine(mark: &Mark) -> bool {
    (mark.segment, mark.entry, &mark.own[..]) == (0, 0, &[0])
}

fn new_id() -> Result<Id, AttachError> {
    let mut bytes = [0; 16];
    let drawn = getrandom::fill(&mut bytes);
    drawn.map_err(|error| AttachError::Refused(format!("no random number can be drawn: {error}")))?;
    Ok(Id(u128::from_be_bytes(bytes)))
}
