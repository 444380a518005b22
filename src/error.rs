//! Errors of commands, as clients see them.
//!
//! The text of an error is a complete RESP error line: a code for programs, then a sentence for people. Where Redis has
//! the same error, the text is Redis's own, letter for letter.
//!
//! The engine and what is below it have errors of their own, which are facts. They get their words for clients here.

use std::borrow::Cow;

use crate::engine;
use crate::engine::error::{Counted, QuotaExceeded};
use crate::engine::{Fault, journal};
use crate::limits::GLOB_BYTES_MAX;
use crate::record::json::NotJson;
use crate::record::{Damage, header, lcs};
use crate::store::catalog::InvalidName;
use crate::store::pattern::PatternTooLong;

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
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    ValueTooLong,
    /// A text that has to be JSON whatever the store takes: an argument of JSON.SET.
    #[error("NOTJSON {0}")]
    NotJson(#[from] NotJson),
    /// A value for a store that takes only JSON.
    #[error(
        "NOTJSON this store takes JSON and the value is not (line {line}, column {column}): quote text as '\"bar\"', or let the store \
         take anything with STORE SET {store} values any"
    )]
    NotForStore { store: String, line: usize, column: usize },
    #[error(
        "TOOMANYKEYS 426 more than {limit} keys match in store '{store}' (max-keys-per-query is {limit}); use SCAN to page through them"
    )]
    TooManyKeys { store: String, limit: usize },
    #[error("NOSTORE no store is named '{0}'; create it with STORE CREATE")]
    NoStore(String),
    /// No store has the number that was asked for.
    #[error("ERR DB index is out of range")]
    NoStoreNumber,
    #[error("STOREEXISTS a store named '{0}' exists already")]
    StoreExists(String),
    #[error("INUSE store '{store}' is used by {users}; close or unlink them, or drop it with FORCE")]
    InUse { store: String, users: String },
    #[error("{}", refusal(.0))]
    Quota(QuotaExceeded),
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPass,
    #[error("NOPERM {0}")]
    NoPermission(String),
    #[error("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")]
    Busy,
    #[error("BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.")]
    BusyFunction,
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
    #[error("MISCONF {0}; writes are refused until this is fixed, reads still work")]
    Storage(String),
    /// The archive does not take changes, and `archive-ack archived` promises that it has those that are acknowledged.
    #[error(
        "NOARCHIVE {0}; writes are refused until the archive takes them again, reads of what it has still work"
    )]
    Unarchived(String),
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

    /// A value that a store, by its name or number, does not take because it is not JSON.
    pub fn not_for_store(store: String, why: &NotJson) -> Error {
        Error::NotForStore { store, line: why.line, column: why.column }
    }

    /// Whether this is the machine's trouble and not about what the command asked for: the same command may succeed later.
    pub fn is_of_machine(&self) -> bool {
        matches!(
            self,
            Error::Storage(_) | Error::Unarchived(_) | Error::Disk(_) | Error::Crowded(_) | Error::Stopping
        )
    }
}

/// The words for a limit that was reached. One that evicts, but finds nothing more to evict, is refused in Redis's words.
fn refusal(exceeded: &QuotaExceeded) -> String {
    match exceeded.eviction {
        Some(_) => "OOM command not allowed when used memory > 'maxmemory'.".to_owned(),
        None => format!("QUOTA {exceeded}; {}", remedy(exceeded)),
    }
}

/// What a client can do when a limit is reached.
fn remedy(exceeded: &QuotaExceeded) -> String {
    let setting = exceeded.counted.setting();
    match &exceeded.store {
        Some(store) => format!("delete some or raise it with STORE SET {store} {setting}"),
        None if exceeded.counted == Counted::Stores => format!("drop stores or raise {setting}"),
        None => format!("delete some or raise {setting}"),
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Error {
        match error {
            engine::Error::NoStore(id) => Error::NoStore(id.to_string()),
            engine::Error::KeyTooLong { bytes, limit } => Error::KeyTooLong { bytes, limit },
            engine::Error::ValueTooLong { .. } => Error::ValueTooLong,
            engine::Error::NotJson { store, why } => Error::not_for_store(store, &why),
            engine::Error::ReplyTooLong => Error::ReplyTooLong,
            engine::Error::Quota(exceeded) => Error::Quota(exceeded),
            engine::Error::AllowanceExceeded { limit } => Error::ScriptWrites { limit },
            engine::Error::Undeclared | engine::Error::Misplaced => Error::other(format!("ERR {error}")),
            engine::Error::NoRoom(why) => Error::Storage(why.to_string()),
            engine::Error::Fault(fault) => fault.into(),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Damaged(what) => Error::Damaged(what),
            Fault::Journal(fault) => match fault {
                journal::Fault::TooLarge { bytes, limit } => Error::other(format!(
                    "ERR the change takes {bytes} bytes in the journal, and the limit is {limit}; split the change into parts"
                )),
                journal::Fault::DiskFull(_) | journal::Fault::Failed(_) => Error::Storage(fault.to_string()),
                journal::Fault::Uncopied(_) => Error::Unarchived(fault.to_string()),
                journal::Fault::NoRoomYet => Error::Crowded(fault.to_string()),
                journal::Fault::Closed => Error::Stopping,
            },
            fault if fault.is_of_readers() => Error::Crowded(
                "too many commands read from the disk at once, and LMDB has no slot for another reader"
                    .to_owned(),
            ),
            Fault::Lmdb(_) | Fault::Cold => Error::Disk(fault.to_string()),
        }
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Error {
        match damage {
            Damage::NewerFormat(format) => Error::other(format!(
                "ERR the record has format {format}, newer than the {} that this server knows; use a newer larder",
                header::FORMAT
            )),
            damage => Error::Damaged(damage.to_string()),
        }
    }
}

impl From<lcs::TooLong> for Error {
    fn from(_: lcs::TooLong) -> Error {
        Error::other("ERR Insufficient memory, failed allocating transient memory for LCS")
    }
}

impl From<PatternTooLong> for Error {
    fn from(PatternTooLong { bytes }: PatternTooLong) -> Error {
        Error::PatternTooLong { bytes, limit: GLOB_BYTES_MAX }
    }
}

impl From<InvalidName> for Error {
    fn from(invalid: InvalidName) -> Error {
        Error::other(format!("ERR {invalid}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::error::NoRoom;
    use crate::engine::lmdb::{LmdbError, MdbError};
    use crate::record::json;
    use crate::store::eviction::{Order, Policy};

    /// Each trouble is told as what it is: only what keeps the journal from taking changes says that writes are refused.
    #[test]
    fn troubles_of_the_machine_are_told_by_their_cause() {
        use journal::Fault::{Closed, DiskFull, Failed, NoRoomYet, TooLarge};

        let io = |kind: std::io::ErrorKind| LmdbError::Io(kind.into());
        let refusal = "; writes are refused until this is fixed, reads still work";
        for (fault, begins, ends) in [
            (Fault::from(DiskFull("x".into())), "MISCONF no journal space: x; ", refusal),
            (Failed("x".into()).into(), "MISCONF the journal failed: x; ", refusal),
            (
                TooLarge { bytes: 9, limit: 8 }.into(),
                "ERR the change takes 9 bytes",
                "split the change into parts",
            ),
            (NoRoomYet.into(), "TRYAGAIN no journal space is ready yet", "try again"),
            (Closed.into(), "ERR the server is stopping", "stopping"),
            (LmdbError::Mdb(MdbError::ReadersFull).into(), "TRYAGAIN too many commands", "try again"),
            (
                LmdbError::Mdb(MdbError::MapFull).into(),
                "ERR the command could not",
                "nothing acknowledged is lost",
            ),
            (LmdbError::Mdb(MdbError::Corrupted).into(), "ERR the command could not", "restore a backup"),
            (LmdbError::Mdb(MdbError::Panic).into(), "ERR the command could not", "once it is sound"),
            (
                io(std::io::ErrorKind::StorageFull).into(),
                "ERR the command could not",
                "make space on the disk",
            ),
            (Fault::Damaged("x".into()), "ERR the record is damaged: x", "run larder check"),
        ] {
            let fault = engine::Error::from(fault);
            let is_of_machine = fault.is_of_machine();
            let error = Error::from(fault);
            let told = error.to_string();
            assert!(told.starts_with(begins) && told.ends_with(ends), "{told}");
            assert_eq!(told.contains(refusal), matches!(error, Error::Storage(_)), "{told}");
            assert_eq!(is_of_machine, error.is_of_machine(), "{told}");
        }
    }

    #[test]
    fn what_is_below_commands_is_told_in_the_words_of_the_protocol() {
        let newer =
            "ERR the record has format 9, newer than the 1 that this server knows; use a newer larder";
        let damaged = "ERR the record is damaged: its checksum does not match; run larder check";
        let not_json = json::check(b"{\"a\" 1}").unwrap_err();
        let lcs = "ERR Insufficient memory, failed allocating transient memory for LCS";
        let quota = |store: Option<&str>, counted| {
            let (store, scope) = (store.map(str::to_owned), None);
            QuotaExceeded { store, scope, counted, used: 1, after: 3, max: 2, eviction: None }
        };
        let evicts = Some(Policy::of_store(Order::Lru));
        let out_of_memory = QuotaExceeded { eviction: evicts, ..quota(None, Counted::Bytes) };
        let quota = |store, counted| Error::from(engine::Error::Quota(quota(store, counted)));
        let cases = [
            (
                quota(Some("0"), Counted::Bytes),
                "QUOTA store '0' holds 1 of at most 2 bytes after compression; \
                 delete some or raise it with STORE SET 0 max-bytes",
            ),
            (
                quota(Some("s"), Counted::Keys),
                "QUOTA store 's' holds 1 of at most 2 keys; delete some or raise it with STORE SET s max-keys",
            ),
            (
                quota(None, Counted::Keys),
                "QUOTA the server holds 1 of at most 2 keys; delete some or raise max-keys",
            ),
            (
                quota(None, Counted::Stores),
                "QUOTA the server holds 1 of at most 2 stores; drop stores or raise max-stores",
            ),
            (Error::Quota(out_of_memory), "OOM command not allowed when used memory > 'maxmemory'."),
            (Damage::NewerFormat(9).into(), newer),
            (Damage::Checksum.into(), damaged),
            (lcs::TooLong.into(), lcs),
            (not_json.clone().into(), "NOTJSON expected `:` at line 1 column 6"),
            (
                engine::Error::NotJson { store: "orders".into(), why: not_json }.into(),
                "NOTJSON this store takes JSON and the value is not (line 1, column 6): quote text as '\"bar\"', or let the store \
                 take anything with STORE SET orders values any",
            ),
            (
                engine::Error::NoRoom(NoRoom::Memory { failure: "x".into(), takes_removals: true }).into(),
                "MISCONF changes can't be moved from memory to LMDB: x; removals and flushes are still \
                 accepted; writes are refused until this is fixed, reads still work",
            ),
            (
                engine::Error::NoRoom(NoRoom::Journal { bytes_max: 9, times: 3, failure: "x".into() }).into(),
                "MISCONF the journal has grown by 9 bytes, 3 times memtable-memory, since the last time that changes could be moved from \
                 memory to LMDB: x; writes are refused until this is fixed, reads still work",
            ),
        ];
        for (error, line) in cases {
            assert_eq!(Error::to_string(&error), line);
        }
    }
}
