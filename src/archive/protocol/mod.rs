//! The protocol of the archive: who leads, what is in the log, and what may be acknowledged.
//!
//! [`Node`] is one server's part in it: a state machine without IO, clocks, threads or chance. It is told what happened
//! ([`Input`]), and says what has to be done ([`Output`]). The simulation in `tests` runs several of them against an
//! object store that loses answers, on clocks that differ, and checks what is promised here.
//!
//! # Roles
//!
//! ```text
//!               begin                 take the lease                fence
//!  Starting ------------> Standby -----------------> Candidate -----------> Leader
//!     |                    |   ^                         |                    |
//!     | stop               |   +-------------------------+--------------------+
//!     v                    |          the lease is lost or released, or
//!  Stopped <---------------+          the log has a segment of a later epoch
//! ```
//!
//! # Why nothing is lost
//!
//! A segment's number can be created only once. A candidate first makes itself the holder of the lease, in a new epoch.
//! It replays every segment there is, and then creates the next number as its *fence*. From then on, whatever an earlier
//! leader uploads meets a number that exists already, with a later epoch, and it stops. What the earlier leader has
//! acknowledged as [`Ack::Archived`] was in the log before the fence, so the new leader has replayed it.
//!
//! With [`Ack::Local`], a leader acknowledges before it uploads. So it has to stop by itself: it may acknowledge only
//! until [`Promise::until`]; [`tenure`] says why nobody else leads before that. What it had acknowledged and not
//! uploaded when it was cut off is not in the archive. When it finds that out, it keeps these entries
//! [aside](Output::SetAside), and takes the archive's history.
//!
//! Segments that nobody needs are deleted, and a deleted number could be created again. Three rules keep that harmless:
//! the manifest says where the log begins, and is changed first; an upload counts only while the lease is valid; and
//! segments have to be kept for much longer than a lease.
//!
//! # What a data directory knows
//!
//! The [`Mark`](crate::archive::format::Mark) says up to which segment the directory and the log are known to agree, and
//! which epochs the directory has led since. Segments of these epochs contain what it wrote itself. If the log goes on
//! with any other epoch while the directory has entries that the log lacks, the histories have parted.

mod catalog;
mod follow;
mod lead;
mod line;
mod message;
mod node;
mod start;
mod tenure;
#[cfg(test)]
mod tests;

use crate::archive::format::{FormatError, Id, Name};

pub use self::message::{
    Answer, Input, Line, Millis, Output, Request, RestoreFailed, Stored, Ticket, Version,
};
pub use self::node::Node;

/// When a write may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// When the local journal has it.
    Local,
    /// When the archive has it.
    Archived,
}

/// The settings of a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// This run of this server: random, never used before. The data directory remembers it before the node begins.
    pub me: Id,
    /// Earlier runs with this data directory, as far as they matter for an endless lease.
    pub earlier: Vec<Id>,
    /// Random: what the archive will be called if this node creates it.
    pub new_archive: Id,
    /// `host:port` where clients reach this node.
    pub address: String,
    /// It neither creates an archive, nor minds that another node leads.
    pub is_standby: bool,
    pub ack: Ack,
    /// How long the leader may lead without a renewal; 0 for ever. Then nobody takes over from it until it hands over,
    /// except another run with the same data directory, and it needs no renewals.
    pub lease_ms: u32,
    /// How much earlier it stops. Covers the clocks' rates: for a lease of 10 s, 1 s covers 10 %.
    pub margin_ms: u32,
    /// Time between looks for new segments and at the lease, and after a request that failed.
    pub poll_ms: u64,
    /// Time between uploads with [`Ack::Local`].
    pub upload_ms: u64,
}

impl Config {
    /// Time between what is good to do now and then.
    fn upkeep_ms(&self) -> u64 {
        u64::from(self.lease_ms).max(10_000)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Starting,
    Standby,
    Candidate,
    Leader,
    Stopped,
}

/// What a leader may acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    pub epoch: u64,
    /// Entries up to this one, if the local journal has them.
    pub through: u64,
    /// And only before this time on the node's clock.
    pub until: Millis,
}

/// How far a node is behind the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Entries that the leader had when it last wrote the lease, and this node lacks.
    pub entries: u64,
    /// The node had everything in the archive so many milliseconds ago; `None` if it never had.
    pub ms: Option<Millis>,
}

/// Why a node does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    #[error("it was shut down")]
    ShutDown,
    #[error("another server leads this archive: start this one with --standby, or give it another prefix")]
    AnotherLeads,
    #[error(
        "the archive is {found}, and the data directory belongs to {expected}: check the URL, or use an empty directory"
    )]
    OtherArchive { found: Id, expected: Id },
    #[error(
        "the data directory has data that does not belong to this archive: use an empty directory, or an empty prefix"
    )]
    ForeignData,
    #[error("the data directory belongs to an archive, and there is none: check the URL")]
    Gone,
    #[error(
        "the prefix has a lease and no manifest: the archive is damaged, or another program writes there"
    )]
    NoManifest,
    #[error("the object {0} has a newer format: use a newer version")]
    Newer(Name),
    #[error("segment {0} does not continue the log: the archive is damaged, or another program writes there")]
    Broken(u64),
}

/// What a person should know; the node tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("the object {0} can't be read: {1}")]
    Unreadable(Name, FormatError),
    #[error("the log lacks the segments before {0}, and there is no snapshot yet")]
    NoSnapshot(u64),
    #[error("there is no archive yet; another server has to create it")]
    NoArchive,
}
