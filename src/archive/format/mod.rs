//! The objects of an archive: their names and their bytes, without any IO.
//!
//! All numbers are big-endian. Every object begins with a magic number of 8 bytes and its format as a u32, names the
//! archive it belongs to, and has checksums (XXH3-64) over all of its bytes. docs/FORMAT.md has the tables.
//!
//! Objects come from outside. Decoding refuses what is cut, damaged, newer or too large before it allocates, and never
//! panics.

mod fields;
mod lease;
mod manifest;
mod mark;
mod name;
mod segment;
mod snapshot;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::lease::{Lease, LeaseState};
pub use self::manifest::{Listed, Manifest};
pub use self::mark::Mark;
pub use self::name::{LOG, Name, SNAPSHOTS, SnapshotName};
pub use self::segment::{Base, Kind, SegmentHeader};
pub use self::snapshot::{PartHeader, SnapshotContents, StoredPart};

/// The format of all objects that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A random number that nobody else has drawn: the identity of an archive, or of one run of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u128);

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

/// How the body of an object is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Plain = 0,
    Brotli = 1,
}

impl Codec {
    fn from_number(number: u32) -> Option<Codec> {
        [Codec::Plain, Codec::Brotli].into_iter().find(|codec| *codec as u32 == number)
    }
}

/// Why bytes are not the object that they should be. `what` names the kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("this is no {what} of a Larder archive")]
    Foreign { what: &'static str },
    #[error(
        "the {what} has format {format}, and this version reads only formats up to {FORMAT}: use a newer version"
    )]
    Newer { what: &'static str, format: u32 },
    #[error("the {what} has {bytes} bytes instead of {expected}")]
    Length { what: &'static str, bytes: u64, expected: u64 },
    #[error("the {what} announces {number} {units}, and the limit is {limit}")]
    TooLarge { what: &'static str, number: u64, units: &'static str, limit: u64 },
    #[error("the {what} is damaged: {why}")]
    Damaged { what: &'static str, why: &'static str },
}
