//! Reading the log: what the data directory lacks is applied, and where the histories have parted is noticed.

use bytes::Bytes;

use super::lead::Leaving;
use super::message::{Answer, Millis, Output, Request, RestoreFailed};
use super::node::{Phase, Running, Writes};
use super::{Stop, Trouble};
use crate::archive::format::{Base, FormatError, Kind, Listed, Mark, Name, SegmentHeader, SnapshotName};

/// After so many failures in a row, a candidate gives up the lease.
const SETBACKS_MAX: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The next segment, when it is due.
    Next,
    /// The answer to a request that was sent at this time.
    Asked(Millis),
    Applying(SegmentHeader),
    /// The data directory does not fit the log any more, and needs a snapshot.
    Lost,
    /// What a restore will lead to: the position in the log, and the last entry.
    Restoring {
        segment: u64,
        entry: u64,
    },
}

impl Running {
    /// Sends what is due.
    pub fn follow(&mut self, now: Millis, out: &mut Vec<Output>) {
        if self.writes != Writes::No || self.upload.is_some() {
            return;
        }
        if self.reading == Reading::Next && self.catalog.first_segment() > self.segment + 1 {
            self.fall_back(now, out);
        }
        match self.reading {
            Reading::Lost if self.log.is_free(now) => self.restore(now, out),
            Reading::Next if self.log.is_free(now) => {
                self.log.send(Request::Get(Name::Segment(self.segment + 1)), out);
                self.reading = Reading::Asked(now);
            }
            _ => {}
        }
    }

    /// The line is needed for something else; the answer to the latest request does not matter any more.
    pub fn stop_reading(&mut self) {
        self.log.forget();
        if let Reading::Asked(_) = self.reading {
            self.reading = Reading::Next;
        }
    }

    pub fn answer_read(&mut self, now: Millis, answer: Answer, out: &mut Vec<Output>) -> Result<(), Stop> {
        let Reading::Asked(asked_at) = self.reading else { return Ok(()) };
        self.reading = Reading::Next;
        match answer {
            Answer::Found(bytes, _) => return self.found(now, bytes, out),
            Answer::Absent => {
                (self.is_at_end, self.ended_at) = (true, Some(asked_at));
                if now >= self.catalog.read_at() + self.config.upkeep_ms() {
                    self.catalog.refresh(); // the segment may have been deleted
                }
            }
            _ => {}
        }
        self.log.pause_until(now + self.config.poll_ms);
        Ok(())
    }

    /// The next segment of the log is there.
    fn found(&mut self, now: Millis, bytes: Bytes, out: &mut Vec<Output>) -> Result<(), Stop> {
        let number = self.segment + 1;
        self.is_at_end = false;
        let (header, base) = match open(&bytes) {
            Ok(opened) => opened,
            Err(FormatError::Newer { .. }) => return Err(Stop::Newer(Name::Segment(number))),
            Err(error) => {
                out.push(Output::Report(Trouble::Unreadable(Name::Segment(number), error)));
                self.set_back(now);
                return Ok(());
            }
        };
        if header.archive != self.tenure.archive() {
            let (found, expected) = (header.archive, self.tenure.archive());
            return Err(Stop::OtherArchive { found, expected });
        }
        let continues = header.first <= self.logged + 1 || base.is_some();
        if header.number != number || header.epoch < self.epoch || !continues {
            return Err(Stop::Broken(number));
        }
        if let Phase::Candidate { epoch, .. } = self.phase
            && header.epoch > epoch
        {
            return self.step_down(out); // a later candidate was faster
        }
        if !self.own.is_empty() && !self.own.contains(&header.epoch) {
            if self.local > self.logged {
                self.reading = Reading::Lost; // the log goes on without what was written here
                return Ok(());
            }
            // what is applied from now on must not be taken for this directory's own after a restart
            self.own.clear();
            self.record(now, out);
        }
        if let Some(base) = base {
            let next_segment = number + 1;
            let Base { name, time_ms, bytes } = base;
            self.unlisted = Some(Listed { name, next_segment, time_ms, bytes });
            if self.local < name.entry {
                self.replace(Some(name), number, out);
                return Ok(());
            }
        }
        if header.last <= self.local {
            self.passed(header);
        } else if header.first > self.local + 1 {
            self.reading = Reading::Lost; // the local disk lost entries that the log had
        } else {
            self.reading = Reading::Applying(header);
            out.push(Output::Apply { segment: bytes, after: self.local });
        }
        Ok(())
    }

    /// Everything up to this segment is in the data directory.
    fn passed(&mut self, header: SegmentHeader) {
        self.reading = Reading::Next;
        (self.segment, self.epoch) = (header.number, header.epoch);
        self.logged = self.logged.max(header.last);
        self.setbacks = 0;
    }

    /// It tries again. A candidate that fails again and again lets others try.
    fn set_back(&mut self, now: Millis) {
        self.log.pause_until(now + self.config.poll_ms);
        self.setbacks += 1;
        if matches!(self.phase, Phase::Candidate { .. }) && self.setbacks >= SETBACKS_MAX {
            self.setbacks = 0;
            self.leaving.get_or_insert(Leaving { heir: None, must_stop: false });
        }
    }

    pub fn applied(&mut self, now: Millis, out: &mut Vec<Output>) {
        if let Reading::Applying(header) = self.reading {
            self.local = header.last;
            self.passed(header);
            self.record_at_times(now, out);
        }
    }

    /// The next segment has been deleted. What the directory has may still reach to a snapshot.
    fn fall_back(&mut self, now: Millis, out: &mut Vec<Output>) {
        self.is_at_end = false;
        match self.catalog.newest_snapshot() {
            Some(newest) if self.own.is_empty() && self.local >= newest.name.entry => {
                (self.segment, self.logged) = (newest.next_segment - 1, newest.name.entry);
                self.record(now, out);
            }
            _ => self.reading = Reading::Lost,
        }
    }

    /// Replaces the data directory's content by the newest snapshot.
    fn restore(&mut self, now: Millis, out: &mut Vec<Output>) {
        let newest = self.catalog.newest_snapshot();
        if newest.is_none() && self.catalog.first_segment() > 1 {
            self.catalog.refresh();
            self.log.pause_until(now + self.config.poll_ms);
            out.push(Output::Report(Trouble::NoSnapshot(self.catalog.first_segment())));
            return;
        }
        if !self.own.is_empty() && self.local > self.logged {
            out.push(Output::SetAside { after: self.logged });
        }
        let segment = newest.map_or(0, |newest| newest.next_segment - 1);
        self.replace(newest.map(|newest| newest.name), segment, out);
    }

    fn replace(&mut self, snapshot: Option<SnapshotName>, segment: u64, out: &mut Vec<Output>) {
        let (archive, entry) = (self.tenure.archive(), snapshot.map_or(0, |snapshot| snapshot.entry));
        self.reading = Reading::Restoring { segment, entry };
        out.push(Output::Restore(snapshot, Mark { archive, segment, entry, own: Vec::new() }));
    }

    pub fn restored(&mut self, now: Millis, result: Result<(), RestoreFailed>) {
        let Reading::Restoring { segment, entry } = self.reading else { return };
        self.own.clear();
        (self.is_at_end, self.epoch) = (false, 0);
        if result.is_ok() {
            (self.segment, self.logged, self.local) = (segment, entry, entry);
            (self.reading, self.setbacks) = (Reading::Next, 0);
        } else {
            (self.segment, self.logged, self.local) = (0, 0, 0);
            self.reading = Reading::Lost;
            self.catalog.refresh(); // it may have been deleted in the meantime
            self.set_back(now);
        }
    }
}

/// A segment's header, and what it is based on if it has no entries and names a snapshot.
fn open(segment: &[u8]) -> Result<(SegmentHeader, Option<Base>), FormatError> {
    let (header, body) = SegmentHeader::open(segment)?;
    if header.kind != Kind::Base {
        return Ok((header, None));
    }
    let base = Base::decode(body)?;
    if base.name.entry != header.last {
        return Err(FormatError::Damaged { what: "segment", why: "it does not fit its snapshot" });
    }
    Ok((header, Some(base)))
}
