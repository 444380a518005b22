//! A segment of the log: a header, and journal entries as opaque bytes.

use xxhash_rust::xxh3::xxh3_64;

use super::fields::{Fields, Rest, check_body};
use super::{Codec, FormatError, Id, SnapshotName};
use crate::limits::ARCHIVE_SEGMENT_BYTES_MAX;

const WHAT: &str = "segment";
const MAGIC: &[u8; 8] = b"LARDERAS";

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub archive: Id,
    pub epoch: u64,
    pub number: u64,
    pub kind: Kind,
    /// The first entry in it, or the entry that the next segment begins with if it has none.
    pub first: u64,
    /// The last entry in it; `first - 1` if it has none.
    pub last: u64,
    /// When its oldest and its newest entry were noticed, in ms since 1970, on the leader's clock.
    pub earliest_ms: u64,
    pub latest_ms: u64,
    pub codec: Codec,
    /// Bytes of the body before compression, at most [`ARCHIVE_SEGMENT_BYTES_MAX`].
    pub plain_bytes: u64,
    pub stored_bytes: u64,
    /// XXH3-64 of the body as it is stored.
    pub checksum: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Consecutive entries of the journal.
    Entries = 1,
    /// The first segment of an epoch: no leader of an earlier epoch can add to the log behind it.
    Fence = 2,
    /// The log goes on behind a [snapshot](Base), because it lacks entries before.
    Base = 3,
}

impl Kind {
    fn from_number(number: u32) -> Option<Kind> {
        [Kind::Entries, Kind::Fence, Kind::Base].into_iter().find(|kind| *kind as u32 == number)
    }
}

impl SegmentHeader {
    pub const BYTES: usize = 120;

    /// The header of a segment with this body. The caller compressed it if `codec` says so.
    pub fn describe(self, body: &[u8]) -> SegmentHeader {
        SegmentHeader { stored_bytes: body.len() as u64, checksum: xxh3_64(body), ..self }
    }

    /// A segment without entries.
    pub fn empty(archive: Id, epoch: u64, number: u64, kind: Kind, first: u64) -> SegmentHeader {
        let (last, codec) = (first.saturating_sub(1), Codec::Plain);
        let (earliest_ms, latest_ms, plain_bytes, stored_bytes) = (0, 0, 0, 0);
        let header = SegmentHeader {
            archive,
            epoch,
            number,
            kind,
            first,
            last,
            earliest_ms,
            latest_ms,
            codec,
            plain_bytes,
            stored_bytes,
            checksum: 0,
        };
        header.describe(&[])
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Fields::new(MAGIC);
        fields.u32(self.kind as u32);
        fields.id(self.archive);
        fields.u64(self.epoch);
        fields.u64(self.number);
        fields.u64(self.first);
        fields.u64(self.last);
        fields.u64(self.earliest_ms);
        fields.u64(self.latest_ms);
        fields.u32(self.codec as u32);
        fields.u32(0);
        fields.u64(self.plain_bytes);
        fields.u64(self.stored_bytes);
        fields.u64(self.checksum);
        fields.seal()
    }

    /// Reads the header of a segment; its body may be there or not, and is not looked at.
    pub fn decode(object: &[u8]) -> Result<SegmentHeader, FormatError> {
        let header = object.get(..SegmentHeader::BYTES).unwrap_or(object);
        let mut rest = Rest::sealed(WHAT, MAGIC, header, SegmentHeader::BYTES)?;
        let kind = rest.u32()?;
        let kind = Kind::from_number(kind).ok_or_else(|| rest.damaged("its kind is impossible"))?;
        let archive = rest.id()?;
        let (epoch, number, first, last) = (rest.number()?, rest.number()?, rest.number()?, rest.number()?);
        let (earliest_ms, latest_ms) = (rest.u64()?, rest.u64()?);
        let codec = rest.u32()?;
        let codec = Codec::from_number(codec).ok_or_else(|| rest.damaged("its codec is impossible"))?;
        rest.reserved()?;
        let (plain_bytes, stored_bytes, checksum) = (rest.u64()?, rest.u64()?, rest.u64()?);
        if plain_bytes > ARCHIVE_SEGMENT_BYTES_MAX {
            let limit = ARCHIVE_SEGMENT_BYTES_MAX;
            return Err(FormatError::TooLarge { what: WHAT, number: plain_bytes, units: "bytes", limit });
        }
        let has_entries = kind == Kind::Entries;
        if first == 0 || last < first - 1 || (last >= first) != has_entries {
            return Err(rest.damaged("its entries are impossible"));
        }
        rest.end()?;
        Ok(SegmentHeader {
            archive,
            epoch,
            number,
            kind,
            first,
            last,
            earliest_ms,
            latest_ms,
            codec,
            plain_bytes,
            stored_bytes,
            checksum,
        })
    }

    /// Takes a whole segment apart into its header and its body as it is stored, which is verified.
    pub fn open(object: &[u8]) -> Result<(SegmentHeader, &[u8]), FormatError> {
        let header = SegmentHeader::decode(object)?;
        let body = object.get(SegmentHeader::BYTES..).unwrap_or_default();
        check_body(WHAT, body, header.stored_bytes, header.checksum)?;
        Ok((header, body))
    }
}

/// The body of a segment of kind [`Kind::Base`]: the snapshot that has everything before the next segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    pub name: SnapshotName,
    /// As in [`Listed`](super::Listed).
    pub time_ms: u64,
    pub bytes: u64,
}

impl Base {
    pub const BYTES: usize = 32;

    pub fn encode(&self) -> Vec<u8> {
        let numbers = [self.name.entry, self.name.id, self.time_ms, self.bytes];
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    pub fn decode(body: &[u8]) -> Result<Base, FormatError> {
        if body.len() != Base::BYTES {
            let (bytes, expected) = (body.len() as u64, Base::BYTES as u64);
            return Err(FormatError::Length { what: "body of a segment with a base", bytes, expected });
        }
        let number =
            |at: usize| body[at * 8..][..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let name = SnapshotName { entry: number(0), id: number(1) };
        Ok(Base { name, time_ms: number(2), bytes: number(3) })
    }
}
