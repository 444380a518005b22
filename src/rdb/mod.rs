//! The serialization of Redis and Valkey: the payloads of DUMP, and RDB files.
//!
//! Pure decoders over readers and slices. They know no JSON, no store and no command, and run on whatever thread calls
//! them. The bytes may be anything: no length sizes an allocation before real bytes have confirmed it, and a string
//! longer than a value may be is skipped, not held. docs/FORMAT.md names the versions.
//!
//! Larder writes only strings and libraries of functions. Of everything else it reads the members, whatever encoding they have.

// the numbers of Larder's own formats are big-endian, and those of this one are not
#![allow(clippy::disallowed_methods)]

mod file;
mod input;
mod lzf;
mod object;
mod packed;
mod payload;

pub use file::{File, Item, Key};
pub use object::{Collect, Kind};
pub use payload::{Refusal, decode, decode_libraries, encode, encode_libraries, framed};

use std::io;

use crc::{CRC_64_REDIS, Crc, Table};

/// Versions of Redis from its first to 8.6, and of Valkey before 9.0.
const REDIS_VERSIONS: std::ops::RangeInclusive<u64> = 1..=13;
/// The version of Valkey since 9.0. Its types and opcodes are not always those of Redis.
const VALKEY_VERSIONS: std::ops::RangeInclusive<u64> = 80..=80;

/// The CRC-64 that Redis calls Jones's.
static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// Whose numbers the types and opcodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Redis,
    Valkey,
}

impl Dialect {
    /// `None` if no server that is known here writes this version.
    fn of_version(version: u64) -> Option<Dialect> {
        match version {
            version if REDIS_VERSIONS.contains(&version) => Some(Dialect::Redis),
            version if VALKEY_VERSIONS.contains(&version) => Some(Dialect::Valkey),
            _ => None,
        }
    }
}

/// Why bytes can't be read as what they should be.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("it can't be read: {0}")]
    Read(io::Error),
    #[error("it ends too early")]
    Ends,
    #[error("{0}")]
    Damaged(&'static str),
    #[error("it has a value of the unknown type {0}")]
    UnknownType(u8),
    #[error("its version is {0}, and versions 1 to 13 of Redis and 80 of Valkey can be read")]
    UnknownVersion(u64),
    #[error("its checksum does not match: something in it is damaged")]
    Checksum,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Ends,
            _ => Fault::Read(error),
        }
    }
}
