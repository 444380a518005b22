//! The state of a session's transaction: the queued requests and the watched keys.

use bytes::Bytes;
use indexmap::IndexMap;

use crate::command::base::table::Lookup;
use crate::command::base::{Flags, Session, Shared, Spec, pause};
use crate::engine::{Claim, Seq, Watch};
use crate::error::Error;
use crate::limits::{ASIDE_BYTES, ASIDE_COMMANDS, REQUEST_BYTES_MAX};
use crate::resp::Reply;
use crate::store::Key;

/// A transaction that a session has begun.
#[derive(Default)]
pub struct Queue {
    pub requests: Vec<(&'static Spec, Vec<Bytes>)>,
    bytes: usize,
    /// The union of the flags of the queued requests.
    flags: Flags,
    /// The smallest claim of the queued requests that write.
    claim: Option<Claim>,
    selects: bool,
    /// Other clients may notice that EXEC ran.
    has_effect: bool,
    /// Whether a request was refused, so that EXEC refuses the rest.
    pub refused: bool,
}

impl Queue {
    /// Whether one of the queued commands has these flags.
    pub fn has(&self, flags: Flags) -> bool {
        self.flags.intersects(flags)
    }

    /// Whether EXEC may take long.
    pub fn is_long(&self) -> bool {
        self.has(Flags::LONG | Flags::SCRIPT | Flags::WHOLE_VALUE)
            || self.requests.len() > ASIDE_COMMANDS
            || self.bytes > ASIDE_BYTES
    }

    /// How much of the reserved space the transaction may use: as much as each of its writing commands may use.
    pub fn claim(&self) -> Option<Claim> {
        self.claim
    }

    /// How many commands are queued.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether one of the queued commands has an effect on others.
    pub fn has_effect(&self) -> bool {
        self.has_effect
    }

    /// Whether the selected store may change before the next queued command runs.
    pub fn selects(&self) -> bool {
        self.selects
    }

    /// The memory of the queued requests.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The watched keys of a session, each once.
pub type WatchedKeys = IndexMap<Key, Watched>;

/// The state at a watched key.
pub struct Watched {
    pub was: Standing,
    /// Only for a key without a record.
    pub puts: Option<Watch>,
}

/// The content of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The version of the record; 0 if there is none.
    pub version: Seq,
    /// The sequence number of the last flush or swap of the store.
    pub born: Seq,
}

impl Standing {
    /// A flush or swap concerns a record only if there was one, or is one now.
    pub fn is_changed(self, now: Standing) -> bool {
        self.version != now.version || (self.version != 0 && self.born != now.born)
    }
}

/// Queues a request that has passed the gate.
pub fn queue(
    server: &Shared,
    session: &mut Session,
    spec: &'static Spec,
    args: &[Bytes],
) -> Result<Reply, Error> {
    const WORD_BYTES: usize = 64;
    let has_effect = pause::has_effect(server, session, spec, args);
    let Some(queue) = &mut session.queue else { return Err(Error::other("ERR no transaction was begun")) };
    let bytes = args.iter().map(|word| word.len() + WORD_BYTES).sum::<usize>();
    if spec.is(Flags::NO_MULTI) {
        queue.refused = true;
        return Err(Error::other("ERR Command not allowed inside a transaction"));
    }
    if queue.bytes + bytes > REQUEST_BYTES_MAX {
        queue.refused = true;
        return Err(Error::other(format!("ERR the transaction is longer than {REQUEST_BYTES_MAX} bytes")));
    }
    queue.bytes += bytes;
    queue.flags |= spec.flags;
    queue.claim = queue.claim.into_iter().chain(spec.writes().then(|| spec.claim())).min();
    if spec.goes_through_values() {
        queue.flags |= Flags::WHOLE_VALUE;
    }
    queue.has_effect |= has_effect;
    queue.selects |= spec.is(Flags::SELECTS);
    // copied, so that a long transaction does not keep every read buffer alive
    queue.requests.push((spec, args.iter().map(|word| Bytes::copy_from_slice(word)).collect()));
    session.show_transaction();
    Ok(Reply::Simple("QUEUED"))
}

/// Called when a request was refused before it could be queued: EXEC will be refused, too.
pub fn refused(session: &mut Session, found: Lookup, error: Error) -> Error {
    if let Some(queue) = &mut session.queue {
        queue.refused = true;
    }
    match found {
        Lookup::Command(spec) if spec.is(Flags::EXECUTES) => {
            session.queue = None;
            session.unwatch();
            session.show_transaction();
            discarded_because(&error)
        }
        _ => error,
    }
}

/// The error of EXEC for a transaction that did not run, in Redis's words.
pub fn discarded_because(error: &Error) -> Error {
    let why = error.to_string();
    let why = why.strip_prefix("ERR ").unwrap_or(&why);
    Error::other(format!("EXECABORT Transaction discarded because of: {why}"))
}
