//! The codec between a client's value and the bytes of a record.
//!
//! Pure functions over byte slices: they know no engine, no command and no clock, and run on whatever thread calls
//! them. Inputs may be anything (a client's bytes, or those of a damaged disk), so nothing here panics on input, and no
//! length field sizes an allocation before real bytes have confirmed it.

pub mod compress;
pub mod dictionary;
pub mod digest;
pub mod dump;
pub mod header;
pub mod json;
pub mod lcs;
pub mod line;
pub mod number;
pub mod shared;

pub use compress::{Codec, Compression, Encoded, compress, decompress};
pub use header::{RecordView, write};

use crate::limits::VALUE_BYTES_MAX;

/// Why a stored record can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it ends inside its header")]
    Truncated,
    /// Not damage, but a file of a later release, which this one must neither judge nor repair.
    #[error("its format is {0}, newer than the {known} that this server knows", known = header::FORMAT)]
    NewerFormat(u8),
    #[error("its header is impossible: {0}")]
    Header(&'static str),
    #[error("its checksum does not match")]
    Checksum,
    #[error("its header says that the value has {0} bytes, more than the limit of {VALUE_BYTES_MAX}")]
    PlainLength(usize),
    #[error("its compressed value {0}")]
    Brotli(&'static str),
    #[error("it needs dictionary {0}, which is unknown")]
    UnknownDictionary(u32),
    #[error("its dictionary {0} is damaged")]
    Dictionary(u32),
}
