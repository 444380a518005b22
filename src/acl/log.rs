//! What was refused recently, for ACL LOG.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Reason;
use crate::limits::ACL_LOG_OBJECT_BYTES_MAX;

/// The same refusal within this time counts up an entry instead of making another (as Redis).
const GROUPING_MS: u64 = 60_000;
/// The number of latest entries that are compared for that.
const GROUPING_ENTRIES: usize = 10;

/// Where a refused command was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    TopLevel,
    /// Between MULTI and EXEC, or run by EXEC.
    Multi,
    /// In a script.
    Lua,
}

impl Context {
    pub fn as_str(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// Something refused.
#[derive(Debug, Clone)]
pub struct Incident {
    pub reason: Reason,
    pub context: Context,
    /// The command, key, channel or store that it was about.
    pub object: Bytes,
    pub username: Bytes,
    /// The line of CLIENT LIST.
    pub client_info: String,
}

/// An incident, and how often it happened.
#[derive(Debug, Clone)]
pub struct LogEntry {
    pub id: u64,
    pub count: u64,
    pub incident: Incident,
    pub created: Moment,
    pub updated: Moment,
}

/// When something happened: by the server's own time for readers, and by the steady clock for its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub now_ms: u64,
    pub steady_ms: u64,
}

#[derive(Default)]
pub struct Log {
    entries: Mutex<Entries>,
    /// How often something was refused for each reason since the start, whatever the log keeps.
    counts: [AtomicU64; Reason::COUNT],
}

#[derive(Default)]
struct Entries {
    /// The latest first.
    latest: VecDeque<LogEntry>,
    next_id: u64,
}

impl Log {
    /// Records an incident, and forgets the oldest if there are more than `len_max`.
    pub fn add(&self, mut incident: Incident, now: Moment, len_max: usize) {
        for name in [&mut incident.object, &mut incident.username] {
            // copied, so that it keeps no read buffer
            *name = Bytes::copy_from_slice(&name[..name.len().min(ACL_LOG_OBJECT_BYTES_MAX)]);
        }
        self.counts[incident.reason as usize].fetch_add(1, Ordering::Relaxed);
        let mut entries = self.entries.lock();
        let is_same = |entry: &LogEntry| {
            let other = &entry.incident;
            other.reason == incident.reason
                && other.context == incident.context
                && other.object == incident.object
                && other.username == incident.username
                && now.steady_ms.abs_diff(entry.updated.steady_ms) <= GROUPING_MS
        };
        let same = entries.latest.iter().take(GROUPING_ENTRIES).position(is_same);
        let entry = match same.and_then(|at| entries.latest.remove(at)) {
            Some(entry) => LogEntry { count: entry.count + 1, incident, updated: now, ..entry },
            None => {
                let id = entries.next_id;
                entries.next_id += 1;
                LogEntry { id, count: 1, incident, created: now, updated: now }
            }
        };
        entries.latest.push_front(entry);
        entries.latest.truncate(len_max);
    }

    /// How often something was refused for this reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize].load(Ordering::Relaxed)
    }

    /// The latest entries, the last one first.
    pub fn latest(&self, count: usize) -> Vec<LogEntry> {
        self.entries.lock().latest.iter().take(count).cloned().collect()
    }

    pub fn clear(&self) {
        self.entries.lock().latest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(object: &'static str) -> Incident {
        Incident {
            reason: Reason::Key,
            context: Context::TopLevel,
            object: Bytes::from_static(object.as_bytes()),
            username: Bytes::from_static(b"ada"),
            client_info: String::new(),
        }
    }

    fn at(steady_ms: u64) -> Moment {
        Moment { now_ms: steady_ms + 1_000_000, steady_ms }
    }

    fn shown(log: &Log) -> Vec<(u64, u64, usize)> {
        log.latest(usize::MAX)
            .iter()
            .map(|entry| (entry.id, entry.count, entry.incident.object.len()))
            .collect()
    }

    #[test]
    fn the_same_counts_up_and_comes_first() {
        let log = Log::default();
        log.add(incident("a"), at(1_000), 10);
        log.add(incident("bb"), at(2_000), 10);
        log.add(incident("a"), at(3_000), 10);
        log.add(Incident { context: Context::Multi, ..incident("a") }, at(3_000), 10);
        assert_eq!(shown(&log), [(2, 1, 1), (0, 2, 1), (1, 1, 2)]);
        let entry = &log.latest(2)[1];
        assert_eq!((entry.created, entry.updated), (at(1_000), at(3_000)));
        log.add(incident("a"), at(3_001 + GROUPING_MS), 10);
        assert_eq!(shown(&log)[0], (3, 1, 1), "too long ago to be the same");
        log.clear();
        assert!(shown(&log).is_empty());
    }

    #[test]
    fn it_is_bounded() {
        let log = Log::default();
        let long: &'static str = "x".repeat(ACL_LOG_OBJECT_BYTES_MAX + 1).leak();
        log.add(incident(long), at(0), 2);
        log.add(incident("a"), at(0), 2);
        log.add(incident(long), at(0), 2);
        assert_eq!(shown(&log), [(0, 2, ACL_LOG_OBJECT_BYTES_MAX), (1, 1, 1)]);
        log.add(incident("b"), at(0), 2);
        assert_eq!(shown(&log).len(), 2);
        log.add(incident("c"), at(0), 0);
        assert!(shown(&log).is_empty());
    }
}
