//! Recovery of a journal: segments whose checksums are right and whose contents are made up, damaged by chance.
//!
//! Entries come in order and without gaps, and what a start found, the next one finds.
#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbitrary::Arbitrary;
use larder::engine::journal::{Disk, DiskFile, Journal, JournalError, Options, Seq};
use libfuzzer_sys::fuzz_target;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const FRAMES_AT: usize = 4_096;
const SEGMENT_BYTES: usize = 2 * FRAMES_AT;

#[derive(Debug, Arbitrary)]
struct Given {
    after: u8,
    salvage: bool,
    segments: Vec<Segment>,
    others: Vec<(u8, Vec<u8>)>,
}

#[derive(Debug, Arbitrary)]
struct Segment {
    id: u8,
    previous: u8,
    version: u8,
    first: u8,
    durable_through: u8,
    is_blank: bool,
    frames: Vec<Frame>,
    damage: Vec<(u16, u8)>,
    cut: Option<u16>,
}

#[derive(Debug, Arbitrary)]
struct Frame {
    first: u8,
    durable_through: u8,
    entries: Vec<u8>,
    said_entries: Option<u32>,
    said_bytes: Option<u64>,
    first_high: Option<u32>,
}

fuzz_target!(|given: Given| {
    let disk = Memory::default();
    let dir = Path::new("/journal");
    for segment in given.segments.iter().take(8) {
        let salt = u64::from(segment.id) * 77;
        let name = format!("{:016}-{salt:016x}.log", segment.id);
        disk.0.lock().insert(dir.join(name), Arc::new(Mutex::new(bytes_of(segment, salt))));
    }
    for (name, bytes) in given.others.into_iter().take(3) {
        let name = [".new", "newest", "newest.new", "x.log"][usize::from(name % 4)];
        disk.0.lock().insert(dir.join(name), Arc::new(Mutex::new(bytes)));
    }
    let after = Seq::from(given.after);
    let Ok((first, _)) = open(&disk, after, given.salvage) else { return };
    let Ok((again, _)) = open(&disk, after, false) else { panic!("opened once, and not again") };
    assert_eq!(first, again);
});

type Found = Vec<(Seq, Vec<u8>)>;

fn open(disk: &Memory, after: Seq, salvage: bool) -> Result<(Found, Arc<Journal>), JournalError> {
    let options = Options {
        segment_bytes: SEGMENT_BYTES as u64,
        salvage,
        disk: Arc::new(disk.clone()),
        ..Options::default()
    };
    let mut found = Found::new();
    let opened = Journal::open::<JournalError>(Path::new("/journal"), options, after, &mut |seq, entry| {
        assert_eq!(seq, after + 1 + found.len() as u64);
        found.push((seq, entry.to_vec()));
        Ok(())
    });
    let (journal, recovery) = opened?;
    assert_eq!(recovery.last, after + found.len() as u64);
    let _ = journal.close();
    Ok((found, journal))
}

fn bytes_of(segment: &Segment, salt: u64) -> Vec<u8> {
    let mut bytes = vec![0; SEGMENT_BYTES];
    if !segment.is_blank {
        bytes[0..8].copy_from_slice(b"LARDERJL");
        bytes[8..12].copy_from_slice(&u32::from(segment.version % 4).to_be_bytes());
        for (at, number) in
            [(16, segment.id), (24, segment.previous), (32, segment.first), (40, segment.durable_through)]
        {
            bytes[at..at + 8].copy_from_slice(&u64::from(number).to_be_bytes());
        }
        let checksum = xxh3_64_with_seed(&bytes[..56], salt);
        bytes[56..64].copy_from_slice(&checksum.to_be_bytes());
    }
    let mut at = FRAMES_AT;
    for frame in &segment.frames {
        let mut payload = Vec::new();
        for entry in &frame.entries {
            let length = usize::from(*entry % 40);
            payload.extend((length as u32).to_be_bytes());
            payload.extend(std::iter::repeat_n(*entry, length));
        }
        let mut header = b"LJFR".to_vec();
        let first = u64::from(frame.first_high.unwrap_or(0)) << 32 | u64::from(frame.first);
        header.extend(frame.said_entries.unwrap_or(frame.entries.len() as u32).to_be_bytes());
        header.extend(first.to_be_bytes());
        header.extend(u64::from(frame.durable_through).to_be_bytes());
        header.extend(frame.said_bytes.unwrap_or(payload.len() as u64).to_be_bytes());
        header.extend(xxh3_64_with_seed(&payload, salt).to_be_bytes());
        header.extend(xxh3_64_with_seed(&header, salt.wrapping_add(at as u64)).to_be_bytes());
        header.extend(payload);
        let Some(room) = bytes.get_mut(at..at + header.len()) else { break };
        room.copy_from_slice(&header);
        at += header.len();
    }
    for (place, with) in &segment.damage {
        bytes[usize::from(*place) % SEGMENT_BYTES] ^= with;
    }
    bytes.truncate(segment.cut.map_or(SEGMENT_BYTES, usize::from));
    bytes
}

/// A disk on which everything is durable at once.
#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<PathBuf, Arc<Mutex<Vec<u8>>>>>>);

#[derive(Debug)]
struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn get(&self, path: &Path) -> io::Result<Arc<Mutex<Vec<u8>>>> {
        self.0.lock().get(path).cloned().ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Disk for Memory {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<(String, u64)>> {
        let files = self.0.lock();
        let named = files.iter().filter_map(|(path, file)| {
            Some((path.file_name()?.to_str()?.to_owned(), file.lock().len() as u64))
        });
        Ok(named.collect())
    }

    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clone_from(&*self.get(path)?.lock());
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(Mutex::new(Vec::new()));
        self.0.lock().insert(path.to_owned(), file.clone());
        Ok(Arc::new(MemoryFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(MemoryFile(self.get(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut file, offset) = (self.0.lock(), offset as usize);
        let end = offset + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset..end].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.0.lock();
        let rest = file.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
