//! The start: which archive this is, and whether the data directory belongs to it.

use bytes::Bytes;

use super::line::Requests;
use super::message::{Answer, Line, Millis, Output, Request, Ticket, Version};
use super::{Config, Stop, Trouble};
use crate::archive::format::{FormatError, Id, Manifest, Mark, Name};

#[derive(Debug)]
pub struct Start {
    requests: Requests,
    step: Step,
    /// The last entry of the data directory.
    local: u64,
    mark: Option<Mark>,
    has_reported: bool,
}

#[derive(Debug)]
enum Step {
    /// The lease is read first: it is made after the manifest, so whoever finds it must find that, too.
    Lease,
    Manifest {
        has_lease: bool,
    },
    Create(Manifest),
}

impl Start {
    pub fn new(local: u64, mark: Option<Mark>) -> Start {
        let requests = Requests::new(Line::Manifest);
        Start { requests, step: Step::Lease, local, mark, has_reported: false }
    }

    pub fn drive(&mut self, now: Millis, out: &mut Vec<Output>) {
        if self.requests.is_free(now) {
            let request = match &self.step {
                Step::Lease => Request::Get(Name::Lease),
                Step::Manifest { .. } => Request::Get(Name::Manifest),
                Step::Create(manifest) => Request::Create(Name::Manifest, Bytes::from(manifest.encode())),
            };
            self.requests.send(request, out);
        }
    }

    /// The manifest, once it is there and fits the data directory.
    pub fn answer(
        &mut self,
        config: &Config,
        now: Millis,
        ticket: Ticket,
        answer: Answer,
        out: &mut Vec<Output>,
    ) -> Result<Option<(Manifest, Version)>, Stop> {
        if !self.requests.accept(ticket) {
            return Ok(None);
        }
        match (&self.step, answer) {
            (Step::Lease, Answer::Found(..)) => self.step = Step::Manifest { has_lease: true },
            (Step::Lease, Answer::Absent) => self.step = Step::Manifest { has_lease: false },
            (Step::Manifest { .. }, Answer::Found(bytes, version)) => match Manifest::decode(&bytes) {
                Ok(manifest) => return self.check(&manifest).map(|()| Some((manifest, version))),
                Err(FormatError::Newer { .. }) => return Err(Stop::Newer(Name::Manifest)),
                Err(error) => {
                    self.requests.pause_until(now + config.poll_ms);
                    out.push(Output::Report(Trouble::Unreadable(Name::Manifest, error)));
                }
            },
            (Step::Manifest { has_lease }, Answer::Absent) => {
                let had_archive = self.mark.as_ref().is_some_and(|mark| mark.segment > 0);
                if *has_lease {
                    return Err(Stop::NoManifest);
                } else if self.local > 0 && had_archive {
                    return Err(Stop::Gone);
                } else if config.is_standby {
                    if !self.has_reported {
                        out.push(Output::Report(Trouble::NoArchive));
                    }
                    self.has_reported = true;
                    self.step = Step::Lease;
                    self.requests.pause_until(now + config.poll_ms);
                } else {
                    self.step = Step::Create(self.begin_archive(config, out));
                }
            }
            (Step::Create(manifest), Answer::Done(version)) => return Ok(Some((manifest.clone(), version))),
            // an answer that was lost, or somebody else was faster
            (Step::Create(_), Answer::Conflict) => self.step = Step::Manifest { has_lease: false },
            (Step::Create(_), _) => {
                self.step = Step::Manifest { has_lease: false };
                self.requests.pause_until(now + config.poll_ms);
            }
            _ => self.requests.pause_until(now + config.poll_ms),
        }
        Ok(None)
    }

    /// The mark comes first. A crash in between must not leave an archive that the directory does not know as its own.
    fn begin_archive(&mut self, config: &Config, out: &mut Vec<Output>) -> Manifest {
        let archive = self.mark.as_ref().map_or(config.new_archive, |mark| mark.archive);
        let mark = Mark { archive, segment: 0, entry: 0, own: vec![0] };
        out.push(Output::Record(mark.clone()));
        self.mark = Some(mark);
        Manifest { archive, serial: 1, first_segment: 1, snapshots: Vec::new() }
    }

    fn check(&self, manifest: &Manifest) -> Result<(), Stop> {
        match &self.mark {
            _ if self.local == 0 => Ok(()),
            Some(mark) if mark.archive == manifest.archive => Ok(()),
            Some(mark) if mark.segment > 0 => {
                Err(Stop::OtherArchive { found: manifest.archive, expected: mark.archive })
            }
            _ => Err(Stop::ForeignData),
        }
    }

    /// The last entry of the data directory, and its mark if it belongs to this archive.
    pub fn local(&self, archive: Id) -> (u64, Option<&Mark>) {
        (self.local, self.mark.as_ref().filter(|mark| mark.archive == archive))
    }
}
