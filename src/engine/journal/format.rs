//! The layout of the journal's bytes: pure encoding, verifying and searching. Knows no files, threads or state.
//!
//! All integers are big-endian. `salt` is the number in the segment's file name, and the seed of all its checksums: it is
//! random and new for every use of a file, so bytes from an earlier use never verify, and no client can store a value
//! that would pass for a frame.
//!
//! Segment header, at the start of a page of its own (the rest of the page is zero or stale):
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic `LARDERJL` |
//! | 8 | 4 | format version, 2. Magic, version and checksum keep their places in all versions |
//! | 12 | 4 | zero |
//! | 16 | 8 | segment id, as in the file name |
//! | 24 | 8 | id of the segment used before this one, 0 for none |
//! | 32 | 8 | sequence number of the first entry |
//! | 40 | 8 | durable-through: entries up to here were synced before this header was written |
//! | 48 | 8 | zero |
//! | 56 | 8 | XXH3-64 of the bytes before, seeded with the salt |
//!
//! Frames follow from offset 4,096, one behind the other, one for each write call:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | magic `LJFR` |
//! | 4 | 4 | number of entries; 0 in the mark that a clean shutdown leaves |
//! | 8 | 8 | sequence number of the first entry |
//! | 16 | 8 | durable-through, as above |
//! | 24 | 8 | bytes of the payload |
//! | 32 | 8 | XXH3-64 of the payload, seeded with the salt |
//! | 40 | 8 | XXH3-64 of the 40 bytes before, seeded with the salt plus the frame's offset in the file |
//! | 48 | | payload: for each entry its length (4 bytes) and its bytes |

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Seq;

/// The format this build writes, and the newest that it reads.
pub const VERSION: u32 = 2;
/// The first format whose journals have a [manifest](crate::engine::journal::segments::manifest). Nothing else tells it from format 1.
pub const VERSION_WITH_MANIFEST: u32 = 2;
const VERSION_MIN: u32 = 1;

/// The offset of the first frame of a segment. The header has a page of its own, which is written once.
pub const FRAMES_AT: u64 = 4_096;
pub const SEGMENT_HEADER_BYTES: usize = 64;
pub const FRAME_HEADER_BYTES: usize = 48;
/// The length in front of an entry.
pub const ENTRY_HEADER_BYTES: usize = 4;
/// The longest entry. It is well within its 32-bit length, and longer than anything that a request can hold.
pub const ENTRY_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;

const SEGMENT_MAGIC: [u8; 8] = *b"LARDERJL";
const FRAME_MAGIC: [u8; 4] = *b"LJFR";

const _: () = assert!(ENTRY_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(SEGMENT_HEADER_BYTES as u64 <= FRAMES_AT);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Of the format.
    pub version: u32,
    pub id: u64,
    /// The segment used before this one, 0 for none.
    pub previous: u64,
    pub first: Seq,
    pub durable_through: Seq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// Blank, torn, damaged, or from an earlier use of the file.
    Invalid,
    /// Written by a newer build, in this version.
    Newer(u32),
}

impl SegmentHeader {
    pub fn encode(&self, salt: u64) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.previous.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.first.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.durable_through.to_be_bytes());
        let checksum = xxh3_64_with_seed(&bytes[..56], salt);
        bytes[56..64].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads the header of a segment from the segment's bytes.
    pub fn decode(segment: &[u8], salt: u64) -> Result<SegmentHeader, HeaderFault> {
        let bytes = segment.get(..SEGMENT_HEADER_BYTES).ok_or(HeaderFault::Invalid)?;
        let checksum = xxh3_64_with_seed(&bytes[..56], salt);
        if bytes[..8] != SEGMENT_MAGIC || u64_at(bytes, 56) != checksum {
            return Err(HeaderFault::Invalid);
        }
        match u32_at(bytes, 8) {
            version @ VERSION_MIN..=VERSION => {
                let header = SegmentHeader {
                    version,
                    id: u64_at(bytes, 16),
                    previous: u64_at(bytes, 24),
                    first: u64_at(bytes, 32),
                    durable_through: u64_at(bytes, 40),
                };
                is_possible(header.first, header.durable_through)
                    .then_some(header)
                    .ok_or(HeaderFault::Invalid)
            }
            other => Err(HeaderFault::Newer(other)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    pub entries: u32,
    pub first: Seq,
    pub durable_through: Seq,
}

impl FrameHeader {
    /// The sequence number after the last entry; `first` if there are no entries.
    pub fn end(&self) -> Seq {
        self.first.saturating_add(u64::from(self.entries))
    }

    /// Reads a header that is at `offset` of a segment, and how many bytes of payload follow; `None` if it does not verify.
    pub fn read(header: &[u8], offset: u64, salt: u64) -> Option<(FrameHeader, u64)> {
        let header = header.get(..FRAME_HEADER_BYTES)?;
        let checksum = xxh3_64_with_seed(&header[..40], salt.wrapping_add(offset));
        if header[..4] != FRAME_MAGIC || u64_at(header, 40) != checksum {
            return None;
        }
        let (entries, first, durable_through) = (u32_at(header, 4), u64_at(header, 8), u64_at(header, 16));
        let read = FrameHeader { entries, first, durable_through };
        is_possible(first, durable_through).then_some((read, u64_at(header, 24)))
    }

    /// Fills in the header of `frame` for its place at `offset`. The payload follows the room for the header.
    pub fn seal(&self, frame: &mut [u8], salt: u64, offset: u64) {
        let (header, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
        header[0..4].copy_from_slice(&FRAME_MAGIC);
        header[4..8].copy_from_slice(&self.entries.to_be_bytes());
        header[8..16].copy_from_slice(&self.first.to_be_bytes());
        header[16..24].copy_from_slice(&self.durable_through.to_be_bytes());
        header[24..32].copy_from_slice(&(payload.len() as u64).to_be_bytes());
        header[32..40].copy_from_slice(&xxh3_64_with_seed(payload, salt).to_be_bytes());
        let checksum = xxh3_64_with_seed(&header[..40], salt.wrapping_add(offset));
        header[40..48].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// A frame whose header verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// From the start of the segment.
    pub offset: u64,
    pub header: FrameHeader,
    /// The entries, if they verified too.
    pub payload: Option<&'a [u8]>,
}

impl<'a> Frame<'a> {
    /// The end of the trusted part of the frame: the end of its payload, or of its header if the payload is damaged.
    pub fn end_offset(&self) -> u64 {
        self.offset + (FRAME_HEADER_BYTES + self.payload.map_or(0, <[u8]>::len)) as u64
    }

    /// The entries with their sequence numbers; none if the payload is damaged.
    pub fn entries(&self) -> impl Iterator<Item = (Seq, &'a [u8])> + use<'a> {
        (self.header.first..).zip(Entries { rest: self.payload.unwrap_or_default() })
    }

    /// The frame whose header starts at `offset` of the segment, if one verifies there.
    fn read(segment: &'a [u8], offset: usize, salt: u64) -> Option<Frame<'a>> {
        Frame::read_alone(segment.get(offset..)?, offset as u64, salt)
    }

    /// The same, from the bytes of the segment that begin at `offset`.
    pub fn read_alone(rest: &'a [u8], offset: u64, salt: u64) -> Option<Frame<'a>> {
        let (header, payload_bytes) = FrameHeader::read(rest, offset, salt)?;
        let payload = usize::try_from(payload_bytes)
            .ok()
            .and_then(|bytes| rest[FRAME_HEADER_BYTES..].get(..bytes))
            .filter(|payload| u64_at(rest, 32) == xxh3_64_with_seed(payload, salt))
            .filter(|payload| holds_exactly(payload, header.entries));
        Some(Frame { offset, header, payload })
    }
}

/// All frames of a segment whose headers verify, in order, at any offset: damaged bytes are searched, too.
pub fn frames(segment: &[u8], salt: u64) -> impl Iterator<Item = Frame<'_>> {
    let finder = memmem::Finder::new(&FRAME_MAGIC).into_owned();
    let mut at = FRAMES_AT as usize;
    std::iter::from_fn(move || {
        loop {
            at += finder.find(segment.get(at..)?)?;
            if let Some(frame) = Frame::read(segment, at, salt) {
                at = frame.end_offset() as usize;
                return Some(frame);
            }
            at += 1;
        }
    })
}

/// What stands before an entry was written before it was, so it cannot say that the entry is durable.
fn is_possible(first: Seq, durable_through: Seq) -> bool {
    durable_through < first
}

/// Reads entries until the payload ends or a length points past its end.
struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.rest = rest;
        Some(entry)
    }
}

/// Whether the payload is made of exactly so many entries.
fn holds_exactly(payload: &[u8], entries: u32) -> bool {
    let mut found = Entries { rest: payload };
    found.by_ref().count() == entries as usize && found.rest.is_empty()
}

/// The caller has checked that the bytes are there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const SALT: u64 = 0x5eed;

    fn segment_with(frames: &[(Seq, &[&[u8]])]) -> Vec<u8> {
        let header = SegmentHeader { version: VERSION, id: 7, previous: 6, first: 1, durable_through: 0 };
        let mut segment = header.encode(SALT).to_vec();
        segment.resize(FRAMES_AT as usize, 0);
        for (first, entries) in frames {
            let mut frame = vec![0; FRAME_HEADER_BYTES];
            for entry in *entries {
                frame.extend((entry.len() as u32).to_be_bytes());
                frame.extend(*entry);
            }
            let header = FrameHeader { entries: entries.len() as u32, first: *first, durable_through: 0 };
            header.seal(&mut frame, SALT, segment.len() as u64);
            segment.extend(frame);
        }
        segment
    }

    fn entries_of(segment: &[u8], salt: u64) -> Vec<(Seq, Vec<u8>)> {
        frames(segment, salt)
            .flat_map(|frame| frame.entries().collect::<Vec<_>>())
            .map(|(seq, entry)| (seq, entry.to_vec()))
            .collect()
    }

    #[test]
    fn what_claims_that_its_own_entries_are_durable_is_not_believed() {
        for (durable_through, is_believed) in
            [(0, true), (6, true), (7, false), (8, false), (u64::MAX, false)]
        {
            let header = SegmentHeader { version: VERSION, id: 1, previous: 0, first: 7, durable_through };
            let mut segment = vec![0; FRAMES_AT as usize];
            segment[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode(SALT));
            assert_eq!(SegmentHeader::decode(&segment, SALT).is_ok(), is_believed, "{durable_through}");
            for entries in [0, 1] {
                let mut frame = vec![0; FRAME_HEADER_BYTES];
                frame.extend_from_slice(&[0; 4][..4 * entries]);
                let header = FrameHeader { entries: entries as u32, first: 7, durable_through };
                header.seal(&mut frame, SALT, FRAMES_AT);
                let segment = [&segment[..], &frame].concat();
                assert_eq!(frames(&segment, SALT).next().is_some(), is_believed, "{durable_through}");
            }
        }
    }

    #[test]
    fn frames_come_back_as_they_were_written() {
        let segment = segment_with(&[(1, &[b"one", b""]), (3, &[b"three"]), (4, &[])]);
        let expected = [(1, b"one".to_vec()), (2, vec![]), (3, b"three".to_vec())];
        assert_eq!(entries_of(&segment, SALT), expected);
        assert_eq!(frames(&segment, SALT).count(), 3);
        let header = SegmentHeader::decode(&segment, SALT).unwrap();
        assert_eq!((header.id, header.previous, header.first), (7, 6, 1));
    }

    #[test]
    fn nothing_verifies_under_another_salt_or_at_another_offset() {
        let segment = segment_with(&[(1, &[b"one"])]);
        assert_eq!(frames(&segment, SALT + 1).count(), 0);
        assert_eq!(SegmentHeader::decode(&segment, SALT + 1), Err(HeaderFault::Invalid));
        let mut moved = segment.clone();
        moved.insert(FRAMES_AT as usize, 0);
        assert_eq!(frames(&moved, SALT).count(), 0);
    }

    #[test]
    fn a_frame_is_found_behind_damage() {
        let mut segment = segment_with(&[(1, &[b"one"]), (2, &[b"two"]), (3, &[b"three"])]);
        let second = frames(&segment, SALT).nth(1).unwrap().offset as usize;
        segment[second + FRAME_HEADER_BYTES + ENTRY_HEADER_BYTES] ^= 1; // its payload: the header still tells of it
        let found: Vec<_> = frames(&segment, SALT).map(|frame| frame.payload.is_some()).collect();
        assert_eq!(found, [true, false, true]);
        segment[second + 9] ^= 1; // its header
        assert_eq!(entries_of(&segment, SALT), [(1, b"one".to_vec()), (3, b"three".to_vec())]);
    }

    #[test]
    fn a_payload_that_does_not_divide_into_its_entries_is_damaged() {
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        frame.extend([0, 0, 0, 9, b'x']);
        let mut segment = vec![0; FRAMES_AT as usize];
        FrameHeader { entries: 1, first: 1, durable_through: 0 }.seal(&mut frame, SALT, FRAMES_AT);
        segment.extend(frame);
        assert_eq!(frames(&segment, SALT).next().unwrap().payload, None);
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let header = SegmentHeader { version: VERSION, id: 1, previous: 0, first: 1, durable_through: 0 };
        let mut bytes = header.encode(SALT);
        bytes[11] = VERSION as u8 + 1;
        assert_eq!(SegmentHeader::decode(&bytes, SALT), Err(HeaderFault::Invalid));
        let checksum = xxh3_64_with_seed(&bytes[..56], SALT);
        bytes[56..].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(SegmentHeader::decode(&bytes, SALT), Err(HeaderFault::Newer(VERSION + 1)));
    }
}
