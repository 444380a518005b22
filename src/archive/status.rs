//! How an archive is doing, for INFO, metrics and the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::store::{Fault, Trouble};
use crate::engine::clock;
use crate::engine::journal::Seq;

/// What the threads of an archive note, and others look at.
#[derive(Debug)]
pub struct Status(Mutex<Noted>);

#[derive(Debug)]
struct Noted {
    figures: Figures,
    /// When the archive last had everything, or got more.
    progress_at: Instant,
}

/// The figures of an archive.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The archive has all entries up to this one.
    pub entry: Seq,
    /// The number of the last segment.
    pub segment: u64,
    pub epoch: u64,
    /// Objects and bytes that were uploaded, snapshots included, since the start.
    pub uploads: u64,
    pub bytes: u64,
    /// Requests that failed since the start, and why the last one did; `None` if requests succeed again.
    pub failures: u64,
    pub trouble: Option<Fault>,
    /// The last snapshot: its entry, and when it was made, in ms since 1970; 0 for none.
    pub snapshot_entry: Seq,
    pub snapshot_ms: u64,
    pub snapshot_bytes: u64,
    /// Bytes of the segments after the last snapshot.
    pub log_bytes: u64,
    /// How often the journal no longer had what the archive lacked.
    pub gaps: u64,
    /// Why nothing is uploaded any more.
    pub ended: Option<String>,
    /// How long the archive has made no progress although there are entries that it lacks.
    pub stalled: Duration,
}

impl Figures {
    /// One word for it.
    pub fn state(&self) -> &'static str {
        match (&self.ended, &self.trouble) {
            (Some(_), _) => "stopped",
            (None, Some(fault)) => fault.trouble.name(),
            (None, None) => "ok",
        }
    }
}

impl Status {
    pub fn new(figures: Figures) -> Status {
        Status(Mutex::new(Noted { figures, progress_at: clock::monotonic() }))
    }

    /// The figures; `last` is the last entry there is.
    pub fn figures(&self, last: Seq) -> Figures {
        let mut noted = self.0.lock();
        if noted.figures.entry >= last {
            noted.progress_at = clock::monotonic();
        }
        let stalled = noted.progress_at.elapsed();
        Figures { stalled, ..noted.figures.clone() }
    }

    pub fn change(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.0.lock().figures);
    }

    /// An object of so many bytes was uploaded.
    pub fn uploaded(&self, bytes: u64) {
        self.change(|figures| {
            figures.uploads += 1;
            figures.bytes += bytes;
        });
    }

    /// The archive has everything up to this entry.
    pub fn advanced(&self, entry: Seq, segment: u64) {
        let mut noted = self.0.lock();
        (noted.figures.entry, noted.figures.segment) = (entry, segment);
        noted.progress_at = clock::monotonic();
    }

    /// A request failed. The first of its kind in a row is logged.
    pub fn failed(&self, doing: &str, fault: Fault) {
        let before = {
            let figures = &mut self.0.lock().figures;
            figures.failures += 1;
            figures.trouble.replace(fault.clone()).map(|before| before.trouble)
        };
        if before != Some(fault.trouble) {
            let needs_a_person = matches!(
                fault.trouble,
                Trouble::Refused | Trouble::Expired | Trouble::Full | Trouble::Absent | Trouble::Unsupported
            );
            if needs_a_person {
                tracing::error!(%fault, "the archive does not take {doing}; the server tries again");
            } else {
                tracing::warn!(%fault, "the archive does not take {doing}; the server tries again");
            }
        }
    }

    /// A request succeeded.
    pub fn recovered(&self) {
        let before = self.0.lock().figures.trouble.take();
        if before.is_some() {
            tracing::info!("the archive can be used again");
        }
    }
}
