//! The manifest says which snapshots exist and where the log begins. It changes by compare-and-swap only.
//!
//! Whatever it says is true of the archive's history, whoever leads: a snapshot is listed only after the log covers its
//! entry. Therefore it needs no epoch.

use super::fields::{CHECKSUM_BYTES, Fields, Rest};
use super::{FormatError, Id, SnapshotName};
use crate::limits::ARCHIVE_SNAPSHOTS_MAX;

const WHAT: &str = "manifest";
const MAGIC: &[u8; 8] = b"LARDERAM";
const LISTED_BYTES: usize = 40;
/// Without snapshots.
const BYTES_MIN: usize = 48 + CHECKSUM_BYTES;

/// What belongs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub archive: Id,
    /// Rises with every write.
    pub serial: u64,
    /// The first segment that has to exist. Objects of earlier ones are leftovers.
    pub first_segment: u64,
    /// Rising by entry; at most [`ARCHIVE_SNAPSHOTS_MAX`].
    pub snapshots: Vec<Listed>,
}

/// A snapshot that a restore may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub name: SnapshotName,
    /// The segment to follow on with. It may begin with entries that the snapshot has already.
    pub next_segment: u64,
    /// When the copy began, in ms since 1970, on the clock of the server that made it.
    pub time_ms: u64,
    /// Bytes of its objects.
    pub bytes: u64,
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Fields::new(MAGIC);
        fields.u32(self.snapshots.len() as u32);
        fields.id(self.archive);
        fields.u64(self.serial);
        fields.u64(self.first_segment);
        for listed in &self.snapshots {
            fields.u64(listed.name.entry);
            fields.u64(listed.name.id);
            fields.u64(listed.next_segment);
            fields.u64(listed.time_ms);
            fields.u64(listed.bytes);
        }
        fields.seal()
    }

    pub fn decode(object: &[u8]) -> Result<Manifest, FormatError> {
        let mut rest = Rest::sealed(WHAT, MAGIC, object, BYTES_MIN)?;
        let count = rest.u32()?;
        let archive = rest.id()?;
        let (serial, first_segment) = (rest.number()?, rest.number()?);
        rest.check_list(count.into(), "snapshots", ARCHIVE_SNAPSHOTS_MAX as u64, LISTED_BYTES)?;
        let mut snapshots: Vec<Listed> = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let name = SnapshotName { entry: rest.number()?, id: rest.u64()? };
            let listed =
                Listed { name, next_segment: rest.number()?, time_ms: rest.u64()?, bytes: rest.u64()? };
            let rises = snapshots.last().is_none_or(|before| {
                before.name.entry < name.entry && before.next_segment <= listed.next_segment
            });
            if !rises || listed.next_segment < first_segment.max(1) {
                return Err(rest.damaged("its snapshots are not in order"));
            }
            snapshots.push(listed);
        }
        rest.end()?;
        Ok(Manifest { archive, serial, first_segment, snapshots })
    }
}
