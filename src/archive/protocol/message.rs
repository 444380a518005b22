//! What a node is told, and what it wants done.

use bytes::Bytes;

use crate::archive::format::{Id, Listed, Mark, Name, SnapshotName};

/// Milliseconds on the monotonic clock of one server, which also runs while the machine sleeps. A reading means nothing
/// to another server.
pub type Millis = u64;

/// What an object store calls the content that an object has now (its ETag, its generation), for a compare-and-swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

/// A request to the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A segment never changes, so the server may read ahead, and answer [`Answer::Found`] from what it has read.
    Get(Name),
    /// Only if there is no object with this name.
    Create(Name, Bytes),
    /// Only if the object still has this version.
    Replace(Name, Bytes, Version),
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Found(Bytes, Version),
    /// There is no such object.
    Absent,
    /// The object was written.
    Done(Version),
    /// The object was there already, or had another version. A retry below this level may have met its own first try.
    Conflict,
    /// The request failed or took too long. It may have had its effect, or may have it later.
    Unknown,
}

/// Names a request, so that its answer finds back. Every request gets one answer, in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub line: Line,
    pub number: u64,
}

/// Requests of different lines may be under way at the same time; a line has one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Lease,
    Log,
    Manifest,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time passed. At least a few times per [`poll_ms`](super::Config::poll_ms).
    Tick,
    Answer(Ticket, Answer),
    /// The local journal is durable up to this entry, which was written here.
    Written(u64),
    /// To [`Output::StopWrites`]: the last entry that was written, durable.
    Stopped(u64),
    /// To [`Output::Pack`]: the whole segment.
    Packed(Bytes),
    /// To [`Output::Pack`]: the local journal no longer has the entries, so a snapshot has to take their place.
    Unpackable,
    /// To [`Output::Apply`]: everything of the segment is in the data directory, durably.
    Applied,
    /// To [`Output::Restore`].
    Restored(Result<(), RestoreFailed>),
    /// A copy of the database is about to begin. The identity is new, and becomes a part of the snapshot's name.
    SnapshotBegins(u64),
    /// All objects of that snapshot are in the archive.
    SnapshotStored(Stored),
    /// Snapshots that are not needed to restore any time since then may go; ms since 1970.
    Retain(u64),
    /// Stop writes, put everything into the log, and let another node lead: this one, or whichever comes first.
    FailOver(Option<Id>),
    /// The same, and then stop.
    ShutDown,
}

/// The snapshot could not be loaded. The data directory is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreFailed;

/// A snapshot whose objects are all in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub name: SnapshotName,
    /// When the copy began, in ms since 1970.
    pub time_ms: u64,
    pub bytes: u64,
}

/// What has to be done, in this order; [`Output::Send`] without waiting for the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Send(Ticket, Request),
    /// Make this durable before anything that follows.
    Record(Mark),
    /// Accept writes, as long as [`Node::promise`](super::Node::promise) allows replies.
    StartWrites,
    /// Accept no more writes; answered with [`Input::Stopped`].
    StopWrites,
    /// Make a segment of entries of the local journal, beginning with `first`, as many as are durable and fit.
    Pack {
        number: u64,
        epoch: u64,
        first: u64,
    },
    /// Apply the entries after `after` of this segment to the data directory.
    Apply {
        segment: Bytes,
        after: u64,
    },
    /// Keep the entries after this one in a file beside the data directory, durably, and report it: the archive has
    /// another history. A restore follows.
    SetAside {
        after: u64,
    },
    /// Replace the content of the data directory, and its mark with it, by this snapshot, or by nothing.
    Restore(Option<SnapshotName>, Mark),
    /// Copy the database into the archive, however many attempts it takes: the log can't go on without it. Each attempt
    /// begins with [`Input::SnapshotBegins`].
    TakeSnapshot,
    /// The manifest has changed. Objects that it needs no more may be deleted: segments below its first one, and
    /// snapshots that it does not list with entries before the newest one that it lists.
    Prune {
        first_segment: u64,
        snapshots: Vec<Listed>,
    },
    /// A person should know this. It comes again as long as it lasts.
    Report(super::Trouble),
}
