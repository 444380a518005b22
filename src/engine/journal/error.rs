//! What can go wrong: when a journal opens, and while it runs.

use std::io;
use std::path::{Path, PathBuf};

use super::Seq;

const ADVICE: &str = "restore a backup, or look at the damage with `larder check`; \
                      `larder salvage DIR` tells what is lost, and lets a server start without it";

/// Why an entry is not accepted, or will not become durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing is wrong, but entries come faster than the disk takes them. Wait for [room](super::Journal::poll_room),
    /// then retry.
    #[error("no journal space is ready yet")]
    NoRoomYet,
    /// Nothing was accepted. The journal keeps trying to make room, and recovers by itself.
    #[error("no journal space: {0}")]
    DiskFull(String),
    #[error("an entry of {bytes} bytes is longer than the journal's limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// Nothing is accepted until a [restart](super::Journal::restart).
    #[error("the journal failed: {0}")]
    Failed(String),
    /// Nothing is accepted until copies of entries are made again.
    #[error("{0}")]
    Uncopied(String),
    #[error("the journal is closed")]
    Closed,
}

/// Why a journal does not open.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    // the machine's
    #[error("cannot {doing} {path}: {source}", path = path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    // the data's
    #[error(
        "journal segment {file} has format version {version}, and this version reads only formats up to {supported}"
    )]
    Newer { file: String, version: u32, supported: u32 },
    #[error(
        "journal segment {file} is damaged at offset {offset}: entry {seq} must have been there, because {proof} says that \
         everything up to {durable_through} was synced; {ADVICE}"
    )]
    Damaged { file: String, offset: u64, seq: Seq, proof: String, durable_through: Seq },
    #[error(
        "the journal lacks entries {seq} to {until}: they were in segment {segment} before \
         {file}, which is missing; {ADVICE}"
    )]
    Missing { segment: u64, file: String, seq: Seq, until: Seq },
    #[error(
        "the journal begins with entry {first}, in {file}, but the database holds only entries before {seq}; {ADVICE}"
    )]
    Gap { file: String, first: Seq, seq: Seq },
    #[error(
        "journal segment {segment} is missing: entry {seq} and later ones may have been in it, because the journal's \
         manifest lists it; {ADVICE}"
    )]
    Lost { segment: u64, seq: Seq },
    #[error(
        "journal segment {file} has {bytes} bytes instead of {expected}: entry {seq} and later ones may have been in \
         the part that was cut off; {ADVICE}"
    )]
    Cut { file: String, bytes: u64, expected: u64, seq: Seq },
    #[error(
        "the journal's manifest is {what}: entry {seq} and later ones may be missing, because nothing says which \
         segments have to exist; {ADVICE}"
    )]
    Manifest { what: &'static str, seq: Seq },
    #[error("entry {seq} is in the journal twice, the second time in {file} at offset {offset}; {ADVICE}")]
    Twice { file: String, offset: u64, seq: Seq },
}

impl JournalError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> JournalError {
        JournalError::Io { doing, path: path.to_owned(), source }
    }
}
