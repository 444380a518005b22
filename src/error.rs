//! Errors of commands, as clients see them.
//!
//! The text of an error is a complete RESP error line: a code for programs, then a sentence for people. Where Redis has
//! the same error, the text is Redis's own, letter for letter.

use std::borrow::Cow;

/// An error as a client sees it. `Display` gives the whole line, code first, without the leading `-`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    // the client's
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    #[error("ERR value is not a valid float")]
    NotFloat,
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(Cow<'static, str>),
    #[error("ERR invalid expire time in '{0}' command")]
    ExpireTime(&'static str),
    #[error("ERR no such key")]
    NoSuchKey,
    #[error("ERR key is {bytes} bytes, longer than the limit of {limit}")]
    KeyTooLong { bytes: usize, limit: usize },
    #[error("ERR pattern is {bytes} bytes, longer than the limit of {limit}")]
    PatternTooLong { bytes: usize, limit: usize },
    #[error(
        "ERR the reply would take more than {} bytes of memory; ask for less at once",
        crate::limits::REPLY_BYTES_MAX
    )]
    ReplyTooLong,
    /// Never sent to a client: the command has to run again on a thread that may block.
    #[error("ERR the command takes too long for this thread")]
    Aside,
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    ValueTooLong,
    #[error("NOTJSON {what} at line {line} column {column}")]
    NotJson { what: String, line: usize, column: usize },
    #[error(
        "TOOMANYKEYS 426 more than {limit} keys match in store '{store}' (max-keys-per-query is {limit}); use SCAN to page through them"
    )]
    TooManyKeys { store: String, limit: usize },
    #[error("NOSTORE no store is named '{0}'; create it with STORE CREATE")]
    NoStore(String),
    #[error("STOREEXISTS a store named '{0}' exists already")]
    StoreExists(String),
    #[error("INUSE store '{store}' is used by {users}; close or unlink them, or drop it with FORCE")]
    InUse { store: String, users: String },
    #[error("QUOTA {0}")]
    Quota(String),
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPass,
    #[error("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")]
    Busy,
    #[error("ERR a script may write no more than {limit} bytes")]
    ScriptWrites { limit: usize },
    /// A whole error line of one command, code included.
    #[error("{0}")]
    Other(Cow<'static, str>),
    /// The error line of a command that a script ran. It is counted in the statistics already.
    #[error("{0}")]
    Counted(String),

    // the machine's
    /// The journal takes no changes, or there is no room for them that a checkpoint could make.
    #[error("MISCONF {0}; writes are refused until this is mended, reads go on")]
    Storage(String),
    /// LMDB could not be read or written for this command. Others may fare better.
    #[error("ERR the command could not be carried out: {0}")]
    Disk(String),
    /// Nothing is wrong, and nothing has happened: there are too many at it.
    #[error("TRYAGAIN {0}; nothing has changed, try again")]
    Crowded(String),
    #[error("ERR the server is stopping")]
    Stopping,
    // ours
    #[error("ERR the record is damaged: {0}; run larder check")]
    Damaged(String),
}

impl Error {
    /// An error with a whole line of its own, code included: `Error::other("ERR index out of range")`.
    pub fn other(line: impl Into<Cow<'static, str>>) -> Error {
        Error::Other(line.into())
    }

    /// Whether this is the machine's trouble and not about what the command asked for: the same command may succeed later.
    pub fn is_of_machine(&self) -> bool {
        matches!(self, Error::Storage(_) | Error::Disk(_) | Error::Crowded(_) | Error::Stopping)
    }
}
