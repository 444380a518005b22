//! The manifest, as one node sees it.
//!
//! A change is a function of the manifest, and does nothing when it has been made already. After an answer that was lost,
//! or a change by another node, the manifest is read and the change is made again, so it does not matter whose it was.

use bytes::Bytes;

use super::line::Requests;
use super::message::{Answer, Line, Millis, Output, Request, Ticket, Version};
use super::{Config, Stop, Trouble};
use crate::archive::format::{FormatError, Id, Listed, Manifest, Name};
use crate::limits::ARCHIVE_SNAPSHOTS_MAX;

#[derive(Debug)]
pub struct Catalog {
    config: Config,
    archive: Id,
    requests: Requests,
    manifest: Manifest,
    version: Version,
    /// When the request was sent that read it.
    read_at: Millis,
    asked_at: Millis,
    must_read: bool,
    changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    List(Listed),
    /// Snapshots that are not needed for any time since then may go.
    Retain(u64),
}

impl Catalog {
    pub fn new(config: &Config, manifest: Manifest, version: Version) -> Catalog {
        Catalog {
            config: config.clone(),
            archive: manifest.archive,
            requests: Requests::new(Line::Manifest),
            manifest,
            version,
            read_at: 0,
            asked_at: 0,
            must_read: false,
            changes: Vec::new(),
        }
    }

    pub fn first_segment(&self) -> u64 {
        self.manifest.first_segment
    }

    pub fn newest_snapshot(&self) -> Option<Listed> {
        self.manifest.snapshots.last().copied()
    }

    /// When the request was sent that the present knowledge is from.
    pub fn read_at(&self) -> Millis {
        self.read_at
    }

    /// The manifest is read again, now or soon.
    pub fn refresh(&mut self) {
        self.must_read = true;
    }

    /// The manifest is read again; what an earlier request finds does not count.
    pub fn read_now(&mut self) {
        self.must_read = true;
        self.requests.forget();
    }

    pub fn is_refreshing(&self) -> bool {
        self.must_read
    }

    /// A snapshot of the history that the log covers, to be listed.
    pub fn list(&mut self, listed: Listed) {
        self.changes.push(Change::List(listed));
    }

    pub fn retain(&mut self, since_ms: u64) {
        self.changes.retain(|change| !matches!(change, Change::Retain(_)));
        self.changes.push(Change::Retain(since_ms));
    }

    /// The node does not lead any more.
    pub fn give_up(&mut self) {
        self.changes.clear();
    }

    /// Sends what is due.
    pub fn drive(&mut self, now: Millis, out: &mut Vec<Output>) {
        if !self.requests.is_free(now) {
            return;
        }
        let mut request = None;
        if self.must_read {
            request = Some(Request::Get(Name::Manifest));
        }
        while request.is_none()
            && let Some(change) = self.changes.first()
        {
            match change.apply(&self.manifest) {
                Some(manifest) => {
                    let bytes = Bytes::from(manifest.encode());
                    request = Some(Request::Replace(Name::Manifest, bytes, self.version.clone()));
                }
                None => self.done(out),
            }
        }
        if let Some(request) = request {
            self.asked_at = now;
            self.requests.send(request, out);
        }
    }

    /// The first change has been made.
    fn done(&mut self, out: &mut Vec<Output>) {
        if let Change::Retain(_) = self.changes.remove(0) {
            let (first_segment, snapshots) = (self.manifest.first_segment, self.manifest.snapshots.clone());
            out.push(Output::Prune { first_segment, snapshots });
        }
    }

    pub fn answer(
        &mut self,
        now: Millis,
        ticket: Ticket,
        answer: Answer,
        out: &mut Vec<Output>,
    ) -> Result<(), Stop> {
        if !self.requests.accept(ticket) {
            return Ok(());
        }
        match answer {
            Answer::Found(bytes, version) => match Manifest::decode(&bytes) {
                Ok(manifest) if manifest.archive != self.archive => {
                    return Err(Stop::OtherArchive { found: manifest.archive, expected: self.archive });
                }
                Ok(manifest) => {
                    (self.manifest, self.version) = (manifest, version);
                    (self.read_at, self.must_read) = (self.asked_at, false);
                }
                Err(FormatError::Newer { .. }) => return Err(Stop::Newer(Name::Manifest)),
                Err(error) => {
                    self.requests.pause_until(now + self.config.poll_ms);
                    out.push(Output::Report(Trouble::Unreadable(Name::Manifest, error)));
                }
            },
            Answer::Absent => return Err(Stop::Gone),
            Answer::Unknown => {
                self.must_read = true;
                self.requests.pause_until(now + self.config.poll_ms);
            }
            // the change is made again on what is there now, or is found to be there
            Answer::Conflict | Answer::Done(_) => self.must_read = true,
        }
        Ok(())
    }
}

impl Change {
    /// The manifest with this change; `None` if there is nothing to change.
    fn apply(self, manifest: &Manifest) -> Option<Manifest> {
        let mut changed = manifest.clone();
        match self {
            Change::List(listed) => {
                let newest = manifest.snapshots.last();
                let is_newer = newest.is_none_or(|newest| {
                    newest.name.entry < listed.name.entry && newest.next_segment <= listed.next_segment
                });
                if !is_newer || manifest.snapshots.len() >= ARCHIVE_SNAPSHOTS_MAX {
                    return None;
                }
                changed.snapshots.push(listed);
            }
            Change::Retain(since_ms) => {
                // the newest one before that time, and everything after it, is needed
                let needed = manifest.snapshots.iter().rposition(|listed| listed.time_ms <= since_ms)?;
                changed.snapshots.drain(..needed);
                changed.first_segment = changed.snapshots.first()?.next_segment;
                if changed.first_segment == manifest.first_segment && needed == 0 {
                    return None;
                }
            }
        }
        changed.serial += 1;
        Some(changed)
    }
}
