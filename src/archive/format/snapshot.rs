//! A snapshot: a copy of the database in parts, and the list of the parts, which is written last.

use xxhash_rust::xxh3::xxh3_64;

use super::fields::{CHECKSUM_BYTES, Fields, Rest, check_body};
use super::{Codec, FormatError, Id, SnapshotName};
use crate::limits::{ARCHIVE_PART_BYTES_MAX, ARCHIVE_PARTS_MAX};

const WHAT: &str = "list of a snapshot's parts";
const MAGIC: &[u8; 8] = b"LARDERAD";
const LISTED_BYTES: usize = 16;
/// Without parts.
const BYTES_MIN: usize = 64 + CHECKSUM_BYTES;

const PART_WHAT: &str = "part of a snapshot";
const PART_MAGIC: &[u8; 8] = b"LARDERAP";

/// The object `done` of a snapshot. Without it, a snapshot is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotContents {
    pub archive: Id,
    pub name: SnapshotName,
    /// When the copy began, in ms since 1970.
    pub time_ms: u64,
    /// Bytes of the database.
    pub plain_bytes: u64,
    /// In order, beginning with part 1; at most [`ARCHIVE_PARTS_MAX`].
    pub parts: Vec<StoredPart>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPart {
    /// Bytes of the object.
    pub bytes: u64,
    /// XXH3-64 of its body as it is stored.
    pub checksum: u64,
}

impl SnapshotContents {
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Fields::new(MAGIC);
        fields.u32(self.parts.len() as u32);
        fields.id(self.archive);
        fields.u64(self.name.entry);
        fields.u64(self.name.id);
        fields.u64(self.time_ms);
        fields.u64(self.plain_bytes);
        for part in &self.parts {
            fields.u64(part.bytes);
            fields.u64(part.checksum);
        }
        fields.seal()
    }

    pub fn decode(object: &[u8]) -> Result<SnapshotContents, FormatError> {
        let mut rest = Rest::sealed(WHAT, MAGIC, object, BYTES_MIN)?;
        let count = rest.u32()?;
        let archive = rest.id()?;
        let name = SnapshotName { entry: rest.u64()?, id: rest.u64()? };
        let (time_ms, plain_bytes) = (rest.u64()?, rest.u64()?);
        rest.check_list(count.into(), "parts", ARCHIVE_PARTS_MAX.into(), LISTED_BYTES)?;
        let part = |rest: &mut Rest<'_>| Ok(StoredPart { bytes: rest.u64()?, checksum: rest.u64()? });
        let parts = (0..count).map(|_| part(&mut rest)).collect::<Result<Vec<_>, FormatError>>()?;
        if plain_bytes > u64::from(count) * u64::from(ARCHIVE_PART_BYTES_MAX) {
            return Err(rest.damaged("its parts can't hold as many bytes"));
        }
        rest.end()?;
        Ok(SnapshotContents { archive, name, time_ms, plain_bytes, parts })
    }
}

/// What a part of a snapshot says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartHeader {
    pub archive: Id,
    pub snapshot: SnapshotName,
    /// Begins with 1.
    pub part: u32,
    pub codec: Codec,
    /// Bytes of the body before compression, at most [`ARCHIVE_PART_BYTES_MAX`].
    pub plain_bytes: u32,
    pub stored_bytes: u32,
    /// XXH3-64 of the body as it is stored.
    pub checksum: u64,
}

impl PartHeader {
    pub const BYTES: usize = 80;

    /// The header of a part with this body. The caller compressed it if `codec` says so.
    pub fn describe(self, body: &[u8]) -> PartHeader {
        PartHeader { stored_bytes: body.len() as u32, checksum: xxh3_64(body), ..self }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Fields::new(PART_MAGIC);
        fields.u32(self.codec as u32);
        fields.id(self.archive);
        fields.u64(self.snapshot.entry);
        fields.u64(self.snapshot.id);
        fields.u32(self.part);
        fields.u32(self.plain_bytes);
        fields.u32(self.stored_bytes);
        fields.u32(0);
        fields.u64(self.checksum);
        fields.seal()
    }

    /// Reads the header of a part; its body may be there or not, and is not looked at.
    pub fn decode(object: &[u8]) -> Result<PartHeader, FormatError> {
        let header = object.get(..PartHeader::BYTES).unwrap_or(object);
        let mut rest = Rest::sealed(PART_WHAT, PART_MAGIC, header, PartHeader::BYTES)?;
        let codec = rest.u32()?;
        let codec = Codec::from_number(codec).ok_or_else(|| rest.damaged("its codec is impossible"))?;
        let archive = rest.id()?;
        let snapshot = SnapshotName { entry: rest.u64()?, id: rest.u64()? };
        let (part, plain_bytes, stored_bytes) = (rest.u32()?, rest.u32()?, rest.u32()?);
        rest.reserved()?;
        let checksum = rest.u64()?;
        if plain_bytes > ARCHIVE_PART_BYTES_MAX {
            let (number, limit) = (plain_bytes.into(), ARCHIVE_PART_BYTES_MAX.into());
            return Err(FormatError::TooLarge { what: PART_WHAT, number, units: "bytes", limit });
        }
        rest.end()?;
        Ok(PartHeader { archive, snapshot, part, codec, plain_bytes, stored_bytes, checksum })
    }

    /// Takes a whole part apart into its header and its body as it is stored, which is verified.
    pub fn open(object: &[u8]) -> Result<(PartHeader, &[u8]), FormatError> {
        let header = PartHeader::decode(object)?;
        let body = object.get(PartHeader::BYTES..).unwrap_or_default();
        check_body(PART_WHAT, body, header.stored_bytes.into(), header.checksum)?;
        Ok((header, body))
    }
}
