//! Adding to the log: the fence of a candidate, and the segments of a leader, one after another.
//!
//! The next segment is never uploaded before it is known that this node created the one before. So an upload that comes
//! too late can't leave a segment behind the fence of a later leader.

use bytes::Bytes;

use super::message::{Answer, Millis, Output, Request, Stored};
use super::node::{Phase, Running, Writes};
use super::{Ack, Stop, Trouble};
use crate::archive::format::{Base, Id, Kind, Listed, Name, SegmentHeader};

/// A segment that is being created.
#[derive(Debug)]
pub(super) struct Upload {
    header: SegmentHeader,
    bytes: Bytes,
    /// It is not known whether it was created.
    must_read: bool,
    /// The snapshot that it names.
    base: Option<Listed>,
}

/// A snapshot that is being made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft {
    pub id: u64,
    /// The next segment when it began. Everything before is in the snapshot.
    pub next_segment: u64,
    pub stored: Option<Stored>,
}

/// The node is about to hand over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub heir: Option<Id>,
    pub must_stop: bool,
}

impl Running {
    /// A candidate that has read the log to its end ends the epochs before its own.
    pub fn rise(&mut self, now: Millis, out: &mut Vec<Output>) {
        let Phase::Candidate { epoch, has_checked } = &mut self.phase else { return };
        if self.upload.is_none() {
            if !self.is_at_end {
                *has_checked = false;
                return;
            }
            if !*has_checked {
                // the log may only seem to end, where it was deleted
                *has_checked = true;
                self.catalog.read_now();
            }
            if self.catalog.is_refreshing() || self.catalog.first_segment() > self.segment + 1 {
                return;
            }
            let epoch = *epoch;
            self.stop_reading();
            self.own(epoch);
            self.record(now, out);
            let fence = self.header(epoch, Kind::Fence, self.logged + 1);
            self.upload = Some(Upload::new(fence, &[], None));
        }
        self.send_upload(now, out);
    }

    /// Sends what is due.
    pub fn lead(&mut self, now: Millis, out: &mut Vec<Output>) {
        let Phase::Leader { epoch } = self.phase else { return };
        self.deal_with_draft(epoch, out);
        if let Some(unlisted) = self.unlisted.take() {
            self.catalog.list(unlisted);
        }
        self.send_upload(now, out);
        let pause_ms = match self.config.ack {
            Ack::Local if self.leaving.is_none() => self.config.upload_ms,
            _ => 0,
        };
        let is_due = self.local > self.logged && now >= self.uploaded_at + pause_ms;
        if is_due && self.upload.is_none() && !self.is_packing && !self.needs_base && self.log.is_free(now) {
            self.is_packing = true;
            self.uploaded_at = now;
            out.push(Output::Pack { number: self.segment + 1, epoch, first: self.logged + 1 });
        }
        self.record_at_times(now, out);
    }

    /// A snapshot goes into the manifest when the log covers it, and into the log when that can't go on without it.
    fn deal_with_draft(&mut self, epoch: u64, out: &mut Vec<Output>) {
        let Some(Draft { next_segment, stored: Some(stored), .. }) = self.draft else { return };
        let Stored { name, time_ms, bytes } = stored;
        if name.entry <= self.logged {
            self.unlisted = Some(Listed { name, next_segment, time_ms, bytes });
            self.draft = None;
            if self.needs_base {
                out.push(Output::TakeSnapshot); // it began too early to help
            }
        } else if self.needs_base && self.upload.is_none() {
            let base = Base { name, time_ms, bytes };
            let body = base.encode();
            let header = self.header(epoch, Kind::Base, name.entry + 1);
            let header = SegmentHeader { plain_bytes: body.len() as u64, ..header }.describe(&body);
            let listed = Listed { name, next_segment: header.number + 1, time_ms, bytes };
            self.upload = Some(Upload::new(header, &body, Some(listed)));
            (self.draft, self.needs_base) = (None, false);
        }
    }

    /// The next segment, without a body.
    fn header(&self, epoch: u64, kind: Kind, first: u64) -> SegmentHeader {
        SegmentHeader::empty(self.tenure.archive(), epoch, self.segment + 1, kind, first)
    }

    /// The segment that was asked for.
    pub fn packed(&mut self, bytes: Bytes) {
        let Phase::Leader { epoch } = self.phase else { return };
        let Ok(header) = SegmentHeader::decode(&bytes) else { return };
        let is_asked = self.is_packing && header.number == self.segment + 1 && header.epoch == epoch;
        if is_asked && header.first == self.logged + 1 && header.last <= self.local {
            self.is_packing = false;
            self.upload = Some(Upload { header, bytes, must_read: false, base: None });
        }
    }

    /// An upload counts only while the lease is valid, so it is not sent either when it is not.
    fn send_upload(&mut self, now: Millis, out: &mut Vec<Output>) {
        let may_send = self.may_lead(now) && self.log.is_free(now);
        if let Some(upload) = self.upload.as_ref().filter(|_| may_send) {
            let name = Name::Segment(upload.header.number);
            let create = || Request::Create(name, upload.bytes.clone());
            let request = if upload.must_read { Request::Get(name) } else { create() };
            self.log.send(request, out);
        }
    }

    fn may_lead(&self, now: Millis) -> bool {
        self.tenure.valid_until().is_some_and(|until| now < until)
    }

    pub fn answer_upload(&mut self, now: Millis, answer: Answer, out: &mut Vec<Output>) -> Result<(), Stop> {
        let may_lead = self.may_lead(now);
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let number = upload.header.number;
        match answer {
            Answer::Absent => upload.must_read = false,
            Answer::Conflict => upload.must_read = true,
            Answer::Done(_) if may_lead => self.uploaded(now, out),
            Answer::Found(bytes, _) if may_lead && bytes == upload.bytes => self.uploaded(now, out),
            Answer::Found(bytes, _) if bytes != upload.bytes => match SegmentHeader::open(&bytes) {
                Ok((found, _)) if found.epoch > upload.header.epoch => return self.step_down(out),
                Ok((found, _)) if found.epoch < upload.header.epoch && upload.header.kind == Kind::Fence => {
                    // an earlier leader was faster; its segment is read like any other
                    (self.upload, self.is_at_end) = (None, false);
                }
                Ok(_) => return Err(Stop::Broken(number)),
                Err(error) => {
                    upload.must_read = true;
                    self.log.pause_until(now + self.config.poll_ms);
                    out.push(Output::Report(Trouble::Unreadable(Name::Segment(number), error)));
                }
            },
            // not known, or known too late
            Answer::Unknown | Answer::Done(_) | Answer::Found(..) => {
                upload.must_read = true;
                self.log.pause_until(now + self.config.poll_ms);
            }
        }
        Ok(())
    }

    /// The segment is this node's.
    fn uploaded(&mut self, now: Millis, out: &mut Vec<Output>) {
        let Some(Upload { header, base, .. }) = self.upload.take() else { return };
        (self.segment, self.epoch, self.logged) = (header.number, header.epoch, header.last);
        if base.is_some() {
            self.unlisted = base;
        }
        if header.kind == Kind::Fence {
            // what the directory had before, and the log lacks, is of this epoch now
            self.own = vec![header.epoch];
            self.phase = Phase::Leader { epoch: header.epoch };
            self.writes = Writes::Yes;
            self.record(now, out);
            out.push(Output::StartWrites);
        }
    }

    /// Stops writes. The lease is released when everything is in the log.
    pub fn leave(&mut self, leaving: Leaving, out: &mut Vec<Output>) {
        self.leaving = Some(leaving);
        if self.writes == Writes::Yes {
            self.writes = Writes::Stopping;
            out.push(Output::StopWrites);
        }
    }

    /// No writes come any more, and the log has all of them.
    pub fn has_left(&self) -> bool {
        self.writes == Writes::No && self.logged == self.local && self.upload.is_none()
    }
}

impl Upload {
    fn new(header: SegmentHeader, body: &[u8], base: Option<Listed>) -> Upload {
        let bytes = Bytes::from([&header.encode(), body].concat());
        Upload { header, bytes, must_read: false, base }
    }
}
