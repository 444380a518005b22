//! The errors of the engine: facts, without the words of a protocol.

use crate::engine::journal;
use crate::engine::lmdb;
use crate::limits::REPLY_BYTES_MAX;
use crate::record::json::NotJson;
use crate::store::StoreId;
use crate::store::eviction::Policy;

/// Why the engine refused an operation. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // the caller's
    #[error("there is no store {0}")]
    NoStore(StoreId),
    #[error("a key of {bytes} bytes is longer than the limit of {limit}")]
    KeyTooLong { bytes: usize, limit: usize },
    #[error("a value of {bytes} bytes is longer than the limit of {limit}")]
    ValueTooLong { bytes: usize, limit: usize },
    /// The store, by its name or number, takes nothing else.
    #[error("the value for store '{store}' is not JSON: {why}")]
    NotJson { store: String, why: NotJson },
    #[error("the values that were read take more than {REPLY_BYTES_MAX} bytes")]
    ReplyTooLong,
    #[error("{0}")]
    Quota(QuotaExceeded),
    /// A part of a group would write more than it [may](crate::engine::Writer::allow_writes).
    #[error("more than {limit} bytes would be written")]
    AllowanceExceeded { limit: usize },
    /// The command has an error: it uses a key that it has not declared.
    #[error("the command read a key that it had not declared")]
    Undeclared,
    /// Only the engine sees this: the command runs again, without the engine's lock.
    #[error("the transaction has to run again")]
    Misplaced,
    // the machine's
    /// Changes in memory can't become durable in LMDB, and there is no room for more of them.
    #[error("{0}")]
    NoRoom(NoRoom),
    #[error("{0}")]
    Fault(#[from] Fault),
}

impl Error {
    /// Whether this is a fault of the machine and not of the request, so that the same request may succeed later.
    pub fn is_of_machine(&self) -> bool {
        match self {
            Error::NoRoom(_) => true,
            Error::Fault(fault) => fault.is_of_machine(),
            _ => false,
        }
    }
}

impl From<lmdb::Fault> for Error {
    fn from(fault: lmdb::Fault) -> Error {
        Fault::from(fault).into()
    }
}

impl From<journal::Fault> for Error {
    fn from(fault: journal::Fault) -> Error {
        Fault::from(fault).into()
    }
}

/// A failure of the journal, of LMDB or of a record on disk.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("LMDB: {0}{advice}", advice = lmdb::advice(.0))]
    Lmdb(#[from] lmdb::LmdbError),
    #[error("{0}")]
    Journal(#[from] journal::Fault),
    /// Data on the disk is not what was written there.
    #[error("{0}")]
    Damaged(String),
    /// The record is not in memory, and the caller does not wait for the disk.
    #[error("the record is only on disk")]
    Cold,
}

impl From<lmdb::Fault> for Fault {
    fn from(fault: lmdb::Fault) -> Fault {
        match fault {
            lmdb::Fault::Lmdb(error) => Fault::Lmdb(error),
            lmdb::Fault::Damaged(what) => Fault::Damaged(what),
            lmdb::Fault::Cold => Fault::Cold,
        }
    }
}

impl Fault {
    fn is_of_machine(&self) -> bool {
        match self {
            Fault::Lmdb(_) => true,
            Fault::Journal(fault) => !matches!(fault, journal::Fault::TooLarge { .. }),
            Fault::Damaged(_) | Fault::Cold => false,
        }
    }

    /// Whether LMDB has no slot for another reader.
    pub fn is_of_readers(&self) -> bool {
        matches!(self, Fault::Lmdb(lmdb::LmdbError::Mdb(lmdb::MdbError::ReadersFull)))
    }
}

/// A limit that a transaction would exceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The store whose limit it is, by its name or number; `None` for a limit of the whole server.
    pub store: Option<String>,
    /// The number of that store.
    pub scope: Option<StoreId>,
    pub counted: Counted,
    /// The current usage.
    pub used: u64,
    /// The usage that the transaction would cause.
    pub after: u64,
    pub max: u64,
    /// What the limit allows to evict; `None` if it refuses writes instead.
    pub eviction: Option<Policy>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    Keys,
    /// Bytes after compression.
    Bytes,
    /// Stores with a name.
    Stores,
}

impl Counted {
    /// The setting that limits it.
    pub fn setting(self) -> &'static str {
        match self {
            Counted::Keys => "max-keys",
            Counted::Bytes => "max-bytes",
            Counted::Stores => "max-stores",
        }
    }
}

impl std::fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.store {
            Some(store) => write!(f, "store '{store}'")?,
            None => f.write_str("the server")?,
        }
        let what = match self.counted {
            Counted::Keys => "keys",
            Counted::Bytes => "bytes after compression",
            Counted::Stores => "stores",
        };
        write!(f, " holds {} of at most {} {what}", self.used, self.max)
    }
}

/// Why changes in memory can't become durable in LMDB.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Checkpoints fail, and the journal has grown as far as it may.
    #[error(
        "the journal has grown by {bytes_max} bytes, {times} times memtable-memory, since \
         the last time that changes could be moved from memory to LMDB: {failure}"
    )]
    Journal { bytes_max: u64, times: u64, failure: String },
    /// Checkpoints fail, and the memory for changes is used up.
    #[error(
        "changes can't be moved from memory to LMDB: {failure}{removals}",
        removals = if *.takes_removals { "; removals and flushes are still accepted" } else { "" }
    )]
    Memory { failure: String, takes_removals: bool },
    /// LMDB's file can't grow.
    #[error("{0}")]
    File(String),
}
