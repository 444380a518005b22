//! Why something could not be read from LMDB or written to it.

use heed::{Error as LmdbError, MdbError};

/// A failure of LMDB, or of a row in it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("LMDB: {0}{advice}", advice = advice(.0))]
    Lmdb(#[from] LmdbError),
    /// Data on the disk is not what was written there.
    #[error("{0}")]
    Damaged(String),
    /// The page is not in memory, and the caller does not wait for the disk.
    #[error("the record is only on disk")]
    Cold,
}

/// Advice for an error, to be appended to its text.
pub fn advice(error: &LmdbError) -> &'static str {
    /// LMDB's error for a write that was only partly done.
    const EIO: i32 = 5;
    match error {
        LmdbError::Mdb(MdbError::MapFull) => {
            "; the file has reached map-size: start again with a larger --map-size, nothing acknowledged is lost"
        }
        LmdbError::Mdb(MdbError::Panic) => "; the disk has failed: start again once it is sound",
        LmdbError::Mdb(MdbError::Corrupted | MdbError::PageNotFound | MdbError::Invalid) => {
            "; the file is damaged: examine it with `larder check`, and restore a backup"
        }
        LmdbError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => "; make space on the disk",
        LmdbError::Io(error) if error.kind() == std::io::ErrorKind::FileTooLarge => "; raise `ulimit -f`",
        LmdbError::Io(error) if error.raw_os_error() == Some(EIO) => {
            "; see whether the disk is full, `ulimit -f` is reached, or the disk is broken"
        }
        _ => "",
    }
}
