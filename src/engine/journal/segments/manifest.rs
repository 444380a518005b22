//! The manifest lists the segments that have to exist, so that a lost one is noticed even if no later segment proves
//! it.
//!
//! The segments of a journal prove each other: a header names the segment before it, and headers and frames say how far
//! everything had been synced. No segment follows the newest one, so its loss would look like a log that ends earlier.
//! The manifest proves it instead. It lists segments with their lengths, including spares, because only the writer
//! knows which spare it has begun to fill, and the writer must not wait for another file.
//!
//! # Order of changes
//!
//! A start is refused if a listed segment is missing, so the list must never be ahead of the directory, whatever a
//! crash leaves of either:
//!
//! | change | first | then | then |
//! |---|---|---|---|
//! | a segment is made | it is durable under its name | it is listed | it is used |
//! | a segment is recycled | it is listed under either name | it is renamed | it is used |
//! | a segment is removed | it is no longer listed | it is removed | |
//!
//! Each list is synced before the next step. All of this happens on the stock thread and while the journal opens or
//! restarts; appending and syncing entries never write here. Files that are not listed are judged by their contents alone.
//!
//! # How far entries were durable
//!
//! From time to time, the stock thread also records how far entries had been synced, without syncing this note: it is
//! true whenever it is there. It proves entries at the end of the newest segment, which nothing after them can prove.
//! It counts only for the run of the journal that wrote it, because a salvaged journal assigns numbers again.
//!
//! # Format, version 1
//!
//! The file `manifest` has two slots for lists, at 0 and 4,096, which are written in turns, and the note at 8,192. The
//! sound slot with the greater serial number counts. A slot:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | `LARDERJM` |
//! | 8 | 4 | format: 1. Magic, version and checksum keep their places in all versions |
//! | 12 | 4 | number of segments listed |
//! | 16 | 8 | identity: random, of this journal; the database knows it, too |
//! | 24 | 8 | serial number; an even one is in the first slot |
//! | 32 | 8 | run: random, new whenever the journal opens |
//! | 40 | 8 | durable-through: entries up to here had been synced |
//! | 48 | 8 | zero |
//! | 56 | 24 each | a segment: id, the id that its file had before it was recycled, bytes; rising |
//! | 4,088 | 8 | XXH3-64 of the bytes before |
//!
//! The note: `LARDERJN`, run, durable-through and the XXH3-64 of these, 8 bytes each.
//!
//! A journal of more segments than a slot has room for lists the newest ones.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::journal::disk::{Disk, DiskFile};
use crate::engine::journal::segments::segment::UNFINISHED_SUFFIX;
use crate::engine::journal::{JournalError, Seq};

/// The manifest's name in the journal's directory.
pub const FILE: &str = "manifest";
/// The format this build writes, and the newest that it reads.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"LARDERJM";
const NOTE_MAGIC: [u8; 8] = *b"LARDERJN";

const SLOT_BYTES: usize = 4_096;
const CHECKSUM_AT: usize = SLOT_BYTES - 8;
const LIST_AT: usize = 56;
const LISTED_BYTES: usize = 24;
const LISTED_MAX: usize = (CHECKSUM_AT - LIST_AT) / LISTED_BYTES;
const NOTE_AT: usize = 2 * SLOT_BYTES;
const NOTE_BYTES: usize = 32;
pub const FILE_BYTES: usize = 3 * SLOT_BYTES;

/// A segment that has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub id: u64,
    /// The id that the file may still have if it was about to be recycled; otherwise the same.
    pub before: u64,
    pub bytes: u64,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub identity: u64,
    /// Entries up to here had been synced.
    pub durable_through: Seq,
    pub listed: Vec<Listed>,
    serial: u64,
    run: u64,
}

/// What is found where the manifest should be.
#[derive(Debug)]
pub enum Found {
    /// No file. Journals of format 1 have none.
    Nothing,
    /// A file without a sound slot, which no crash leaves.
    Damaged,
    Sound(Contents),
}

impl Found {
    /// Reads the manifest; `names` are the files in the directory.
    pub fn read<'n>(
        disk: &dyn Disk,
        dir: &Path,
        mut names: impl Iterator<Item = &'n str>,
    ) -> Result<Found, JournalError> {
        if !names.any(|name| name == FILE) {
            return Ok(Found::Nothing);
        }
        let (path, mut bytes) = (dir.join(FILE), Vec::new());
        disk.read(&path, &mut bytes).map_err(|error| JournalError::io("read", &path, error))?;
        let mut newest: Option<Contents> = None;
        for slot in bytes.chunks_exact(SLOT_BYTES).take(2) {
            if let Some(read) = Contents::decode(slot)?
                && newest.as_ref().is_none_or(|newest| read.serial > newest.serial)
            {
                newest = Some(read);
            }
        }
        let Some(mut contents) = newest else { return Ok(Found::Damaged) };
        let note = bytes.get(NOTE_AT..NOTE_AT + NOTE_BYTES).unwrap_or_default();
        if let Some((run, durable_through)) = decode_note(note)
            && run == contents.run
        {
            contents.durable_through = contents.durable_through.max(durable_through);
        }
        Ok(Found::Sound(contents))
    }
}

impl Contents {
    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        let listed = &self.listed[self.listed.len().saturating_sub(LISTED_MAX)..];
        slot[0..8].copy_from_slice(&MAGIC);
        slot[8..12].copy_from_slice(&VERSION.to_be_bytes());
        slot[12..16].copy_from_slice(&(listed.len() as u32).to_be_bytes());
        slot[16..24].copy_from_slice(&self.identity.to_be_bytes());
        slot[24..32].copy_from_slice(&self.serial.to_be_bytes());
        slot[32..40].copy_from_slice(&self.run.to_be_bytes());
        slot[40..48].copy_from_slice(&self.durable_through.to_be_bytes());
        for (row, listed) in slot[LIST_AT..].chunks_exact_mut(LISTED_BYTES).zip(listed) {
            row[0..8].copy_from_slice(&listed.id.to_be_bytes());
            row[8..16].copy_from_slice(&listed.before.to_be_bytes());
            row[16..24].copy_from_slice(&listed.bytes.to_be_bytes());
        }
        let checksum = xxh3_64(&slot[..CHECKSUM_AT]);
        slot[CHECKSUM_AT..].copy_from_slice(&checksum.to_be_bytes());
        slot
    }

    /// None if the slot is blank, torn or damaged.
    fn decode(slot: &[u8]) -> Result<Option<Contents>, JournalError> {
        if slot[..8] != MAGIC || u64_at(slot, CHECKSUM_AT) != xxh3_64(&slot[..CHECKSUM_AT]) {
            return Ok(None);
        }
        let version = u64_at(slot, 8) >> 32;
        if version != u64::from(VERSION) {
            let (file, version) = (FILE.to_owned(), version as u32);
            return Err(JournalError::Newer { file, version, supported: VERSION });
        }
        let count = (u64_at(slot, 8) & u64::from(u32::MAX)) as usize;
        let rows = slot[LIST_AT..CHECKSUM_AT].chunks_exact(LISTED_BYTES).take(count);
        let listed =
            rows.map(|row| Listed { id: u64_at(row, 0), before: u64_at(row, 8), bytes: u64_at(row, 16) });
        Ok(Some(Contents {
            identity: u64_at(slot, 16),
            serial: u64_at(slot, 24),
            run: u64_at(slot, 32),
            durable_through: u64_at(slot, 40),
            listed: listed.collect(),
        }))
    }
}

/// The manifest of a running journal, in step with its file.
#[derive(Debug)]
pub struct Manifest {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// `None` as long as there was no space for it; then no segment may be used.
    file: Option<Arc<dyn DiskFile>>,
    identity: u64,
    run: u64,
    serial: u64,
    listed: BTreeMap<u64, Listed>,
    /// As noted last, whether in a slot or in the note.
    durable_through: Seq,
}

impl Manifest {
    /// Begins a run: lists the segments that stay, and invalidates the notes of earlier runs. `found` is `None` if
    /// there is no file that can be continued.
    pub fn begin(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        found: Option<&Contents>,
        identity: u64,
        listed: impl Iterator<Item = Listed>,
        durable_through: Seq,
    ) -> Result<Manifest, JournalError> {
        let mut manifest = Manifest {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            file: None,
            identity,
            run: crate::engine::journal::segments::segment::random(dir)?,
            serial: found.map_or(0, |found| found.serial),
            listed: listed.map(|listed| (listed.id, listed)).collect(),
            durable_through,
        };
        if found.is_some() {
            let path = manifest.path();
            let file = disk.open(&path).map_err(|error| JournalError::io("open", &path, error))?;
            manifest.file = Some(file);
            manifest.write(manifest.listed.clone())?;
        } else if let Err(error) = manifest.create() {
            tracing::warn!(%error, "there is no space for the journal's manifest; writes are refused until there is");
        }
        Ok(manifest)
    }

    /// The identity of this journal; `None` as long as there is no manifest.
    pub fn identity(&self) -> Option<u64> {
        self.file.as_ref().map(|_| self.identity)
    }

    /// Makes the file, if there was no space for it before.
    pub fn ensure(&mut self) -> Result<(), JournalError> {
        if self.file.is_none() { self.create() } else { Ok(()) }
    }

    /// Lists a segment, durably. After an error it may be listed or not, so it has to stay.
    pub fn list(&mut self, segment: Listed) -> Result<(), JournalError> {
        let mut listed = self.listed.clone();
        if segment.before != segment.id {
            listed.remove(&segment.before);
        }
        listed.insert(segment.id, segment);
        self.write(listed)
    }

    /// Removes segments from the list, durably. After an error they may still be listed, so they have to stay.
    pub fn strike(&mut self, ids: &[u64]) -> Result<(), JournalError> {
        let mut listed = self.listed.clone();
        let before = listed.len();
        listed.retain(|id, _| !ids.contains(id));
        if listed.len() == before { Ok(()) } else { self.write(listed) }
    }

    /// Notes that entries up to `durable_through` are durable. The note itself need not be, unless it is the last.
    pub fn note(&mut self, durable_through: Seq, is_last: bool) -> Result<(), JournalError> {
        let Some(file) = self.file.as_ref().filter(|_| durable_through > self.durable_through) else {
            return Ok(());
        };
        let mut note = [0; NOTE_BYTES];
        note[0..8].copy_from_slice(&NOTE_MAGIC);
        note[8..16].copy_from_slice(&self.run.to_be_bytes());
        note[16..24].copy_from_slice(&durable_through.to_be_bytes());
        let checksum = xxh3_64(&note[..24]);
        note[24..32].copy_from_slice(&checksum.to_be_bytes());
        let written = file.write_at(&note, NOTE_AT as u64);
        let written = written.and_then(|()| if is_last { file.sync() } else { Ok(()) });
        written.map_err(|error| JournalError::io("write to", &self.path(), error))?;
        self.durable_through = durable_through;
        Ok(())
    }

    /// Writes a list into the slot that is not valid now, so that the other one stays valid until this one is complete.
    /// After a failure the same slot is written again.
    fn write(&mut self, listed: BTreeMap<u64, Listed>) -> Result<(), JournalError> {
        let contents = self.contents(self.serial + 1, &listed);
        let offset = (contents.serial % 2) * SLOT_BYTES as u64;
        let Some(file) = &self.file else {
            self.listed = listed; // to be written when the file is made
            return Ok(());
        };
        let written = file.write_at(&contents.encode(), offset).and_then(|()| file.sync());
        written.map_err(|error| JournalError::io("write to", &self.path(), error))?;
        (self.serial, self.listed) = (contents.serial, listed);
        Ok(())
    }

    fn create(&mut self) -> Result<(), JournalError> {
        let unfinished = self.dir.join(format!("{FILE}{UNFINISHED_SUFFIX}"));
        let mut bytes = self.contents(0, &self.listed).encode().to_vec();
        bytes.resize(FILE_BYTES, 0);
        let make = || -> io::Result<_> {
            let file = self.disk.create(&unfinished)?;
            file.write_at(&bytes, 0)?;
            file.sync()?;
            self.disk.rename(&unfinished, &self.path())?;
            self.disk.sync_dir(&self.dir)?;
            Ok(file)
        };
        let file = make().map_err(|error| JournalError::io("make", &unfinished, error))?;
        (self.file, self.serial) = (Some(file), 0);
        Ok(())
    }

    fn contents(&self, serial: u64, listed: &BTreeMap<u64, Listed>) -> Contents {
        Contents {
            identity: self.identity,
            durable_through: self.durable_through,
            listed: listed.values().copied().collect(),
            serial,
            run: self.run,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }
}

fn decode_note(note: &[u8]) -> Option<(u64, Seq)> {
    let is_sound =
        note.len() == NOTE_BYTES && note[..8] == NOTE_MAGIC && u64_at(note, 24) == xxh3_64(&note[..24]);
    is_sound.then(|| (u64_at(note, 8), u64_at(note, 16)))
}

/// The caller has checked that the bytes are there.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
