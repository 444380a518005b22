//! One server's part in the protocol: roles, and what the parts have to do with each other.

use super::catalog::Catalog;
use super::follow::Reading;
use super::lead::{Draft, Leaving, Upload};
use super::line::Requests;
use super::message::{Answer, Input, Line, Millis, Output, Ticket, Version};
use super::start::Start;
use super::tenure::{Event, Goal, Tenure};
use super::{Ack, Config, Lag, Promise, Role, Stop};
use crate::archive::format::{Lease, Listed, Manifest, Mark};
use crate::limits::ARCHIVE_OWN_EPOCHS_MAX;

/// One server's part in the protocol.
#[derive(Debug)]
pub struct Node {
    config: Config,
    state: State,
}

#[derive(Debug)]
enum State {
    Starting(Start),
    Running(Box<Running>),
    Stopped(Stop),
}

/// A node that knows its archive.
#[derive(Debug)]
pub(super) struct Running {
    pub config: Config,
    pub phase: Phase,
    pub tenure: Tenure,
    pub catalog: Catalog,
    /// The line for segments.
    pub log: Requests,
    /// The last segment that was read or written, with its epoch, and the last entry up to there.
    pub segment: u64,
    pub epoch: u64,
    pub logged: u64,
    /// The last entry of the data directory.
    pub local: u64,
    /// As in [`Mark`].
    pub own: Vec<u64>,
    /// When a mark was recorded last, and its segment.
    recorded: (Millis, u64),
    pub reading: Reading,
    /// How often in a row a segment was unreadable or a restore failed.
    pub setbacks: u32,
    /// The log ends here, as far as is known.
    pub is_at_end: bool,
    /// When a request was sent that found nothing more in the log.
    pub ended_at: Option<Millis>,
    pub writes: Writes,
    pub upload: Option<Upload>,
    pub is_packing: bool,
    /// When the last upload of entries began.
    pub uploaded_at: Millis,
    /// The log can't go on without a snapshot.
    pub needs_base: bool,
    pub draft: Option<Draft>,
    /// A snapshot that is not in the manifest yet.
    pub unlisted: Option<Listed>,
    pub leaving: Option<Leaving>,
    /// How often another leader was seen alive, before this node has led.
    rivals_seen: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Standby,
    /// Holds the lease. `has_checked`: it has read the log to its end, and asked where the log begins.
    Candidate {
        epoch: u64,
        has_checked: bool,
    },
    Leader {
        epoch: u64,
    },
}

/// Whether the server accepts writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    No,
    Yes,
    /// It was told to stop, and has not said where.
    Stopping,
}

impl Node {
    /// A node whose data directory has everything up to the entry `local`, and maybe a mark.
    pub fn new(config: Config, local: u64, mark: Option<Mark>) -> Node {
        assert!(config.margin_ms < config.lease_ms.max(1), "the margin is a part of the lease");
        Node { config, state: State::Starting(Start::new(local, mark)) }
    }

    /// Takes note of what happened at a time of the node's clock, and says what has to be done.
    pub fn handle(&mut self, now: Millis, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        if let Err(stop) = self.take(now, input, &mut out) {
            if matches!(&self.state, State::Running(running) if running.writes == Writes::Yes) {
                out.push(Output::StopWrites);
            }
            self.state = State::Stopped(stop);
        }
        out
    }

    fn take(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) -> Result<(), Stop> {
        match &mut self.state {
            State::Starting(start) => match input {
                Input::ShutDown => return Err(Stop::ShutDown),
                Input::Answer(ticket, answer) => {
                    if let Some((manifest, version)) = start.answer(&self.config, now, ticket, answer, out)? {
                        let mut running = Running::new(&self.config, start, manifest, version, now);
                        running.record(now, out); // before the directory gets anything of this archive
                        self.state = State::Running(Box::new(running));
                    }
                }
                _ => {}
            },
            State::Running(running) => running.take(now, input, out)?,
            State::Stopped(_) => {}
        }
        match &mut self.state {
            State::Starting(start) => start.drive(now, out),
            State::Running(running) => running.drive(now, out),
            State::Stopped(_) => {}
        }
        Ok(())
    }

    pub fn role(&self) -> Role {
        match &self.state {
            State::Starting(_) => Role::Starting,
            State::Running(running) => match running.phase {
                Phase::Standby => Role::Standby,
                Phase::Candidate { .. } => Role::Candidate,
                Phase::Leader { .. } => Role::Leader,
            },
            State::Stopped(_) => Role::Stopped,
        }
    }

    /// Why the node has stopped.
    pub fn stopped(&self) -> Option<Stop> {
        if let State::Stopped(stop) = self.state { Some(stop) } else { None }
    }

    /// What may be acknowledged. A reply that needs more than this has to wait for the next promise.
    pub fn promise(&self) -> Option<Promise> {
        let State::Running(running) = &self.state else { return None };
        let Phase::Leader { epoch } = running.phase else { return None };
        let through = match self.config.ack {
            Ack::Local => u64::MAX,
            Ack::Archived => running.logged,
        };
        Some(Promise { epoch, through, until: running.tenure.valid_until()? })
    }

    /// How far this node is behind; `None` as long as it does not know any leader.
    pub fn lag(&self, now: Millis) -> Option<Lag> {
        let State::Running(running) = &self.state else { return None };
        let entries = running.tenure.lease()?.entry.saturating_sub(running.local);
        Some(Lag { entries, ms: running.ended_at.map(|at| now.saturating_sub(at)) })
    }

    /// Where clients reach the node that leads, or led last.
    pub fn leader(&self) -> Option<&str> {
        let State::Running(running) = &self.state else { return None };
        running.tenure.lease().map(|lease| &*lease.address)
    }
}

impl Running {
    fn new(config: &Config, start: &Start, manifest: Manifest, version: Version, now: Millis) -> Running {
        let (local, mark) = start.local(manifest.archive);
        let (segment, logged) = mark.map_or((0, 0), |mark| (mark.segment, mark.entry));
        let must_restore = local < logged || (local == 0 && !manifest.snapshots.is_empty());
        Running {
            config: config.clone(),
            phase: Phase::Standby,
            tenure: Tenure::new(config, manifest.archive),
            catalog: Catalog::new(config, manifest, version),
            log: Requests::new(Line::Log),
            segment,
            epoch: 0,
            logged,
            local,
            own: mark.map_or(Vec::new(), |mark| mark.own.clone()),
            recorded: (now, segment),
            reading: if must_restore { Reading::Lost } else { Reading::Next },
            setbacks: 0,
            is_at_end: false,
            ended_at: None,
            writes: Writes::No,
            upload: None,
            is_packing: false,
            uploaded_at: now,
            needs_base: false,
            draft: None,
            unlisted: None,
            leaving: None,
            rivals_seen: 0,
        }
    }

    fn take(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) -> Result<(), Stop> {
        let is_leader = matches!(self.phase, Phase::Leader { .. });
        match input {
            Input::Tick => {}
            Input::Answer(ticket, answer) => self.answer(now, ticket, answer, out)?,
            Input::Written(entry) => self.local = self.local.max(entry),
            Input::Stopped(entry) => {
                self.local = self.local.max(entry);
                self.writes = Writes::No;
            }
            Input::Packed(segment) => self.packed(segment),
            Input::Unpackable if self.is_packing => {
                (self.is_packing, self.needs_base) = (false, true);
                out.push(Output::TakeSnapshot);
            }
            Input::Applied => self.applied(now, out),
            Input::Restored(result) => self.restored(now, result),
            Input::SnapshotBegins(id) => {
                self.draft = is_leader.then_some(Draft { id, next_segment: self.segment + 1, stored: None });
            }
            Input::SnapshotStored(stored) => {
                if let Some(draft) = self.draft.as_mut().filter(|draft| draft.id == stored.name.id) {
                    draft.stored = Some(stored);
                }
            }
            Input::Retain(since_ms) if is_leader => self.catalog.retain(since_ms),
            Input::FailOver(heir) if is_leader => self.leave(Leaving { heir, must_stop: false }, out),
            Input::Retain(_) | Input::FailOver(_) | Input::Unpackable => {}
            Input::ShutDown if self.phase == Phase::Standby => return Err(Stop::ShutDown),
            Input::ShutDown => self.leave(Leaving { heir: None, must_stop: true }, out),
        }
        Ok(())
    }

    fn answer(
        &mut self,
        now: Millis,
        ticket: Ticket,
        answer: Answer,
        out: &mut Vec<Output>,
    ) -> Result<(), Stop> {
        match ticket.line {
            Line::Manifest => self.catalog.answer(now, ticket, answer, out),
            Line::Log if !self.log.accept(ticket) => Ok(()),
            Line::Log if self.upload.is_some() => self.answer_upload(now, answer, out),
            Line::Log => self.answer_read(now, answer, out),
            Line::Lease => match self.tenure.answer(now, ticket, answer, out) {
                None if self.tenure.is_endless() && !self.led_last() && !self.config.is_standby => {
                    Err(Stop::AnotherLeads) // and goes on for ever, as far as this node can know
                }
                None => Ok(()),
                Some(Event::Taken(epoch)) => {
                    self.phase = Phase::Candidate { epoch, has_checked: false };
                    self.is_at_end = false;
                    self.log.pause_until(now); // to read on at once
                    Ok(())
                }
                Some(Event::Released | Event::Lost) => self.step_down(out),
                Some(Event::Alive) => {
                    // the first time may be this server itself, before it was started again
                    self.rivals_seen += 1;
                    if self.rivals_seen > 1 && !self.config.is_standby && self.phase == Phase::Standby {
                        return Err(Stop::AnotherLeads);
                    }
                    Ok(())
                }
                Some(Event::Stop(stop)) => Err(stop),
            },
        }
    }

    fn drive(&mut self, now: Millis, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Standby => self.follow(now, out),
            Phase::Candidate { .. } if self.leaving.is_some() => {}
            Phase::Candidate { .. } => {
                self.follow(now, out);
                self.rise(now, out);
            }
            Phase::Leader { .. } => self.lead(now, out),
        }
        self.catalog.drive(now, out);
        self.tenure.drive(now, self.goal(), out);
    }

    fn goal(&self) -> Goal {
        let entry = self.local;
        match (self.phase, self.leaving) {
            (Phase::Standby, _) => {
                let has_all = self.is_at_end && self.local >= self.logged && self.writes == Writes::No;
                let epoch_min = self.epoch.max(self.own.last().copied().unwrap_or(0));
                let is_own = self.led_last();
                if has_all { Goal::Take { epoch_min, entry, is_own } } else { Goal::Watch }
            }
            (Phase::Candidate { .. }, Some(leaving)) => Goal::Release { heir: leaving.heir, entry },
            (Phase::Leader { .. }, Some(leaving)) if self.has_left() => {
                Goal::Release { heir: leaving.heir, entry }
            }
            _ => Goal::Keep { entry },
        }
    }

    /// Whether the latest leader was a run with this data directory.
    fn led_last(&self) -> bool {
        let is_own =
            |lease: &Lease| self.own.contains(&lease.epoch) || self.config.earlier.contains(&lease.holder);
        self.tenure.lease().is_some_and(is_own)
    }

    /// The node follows from now on. What it has and the log lacks is dealt with when the log goes on without it.
    pub fn step_down(&mut self, out: &mut Vec<Output>) -> Result<(), Stop> {
        if self.writes == Writes::Yes {
            out.push(Output::StopWrites);
            self.writes = Writes::Stopping;
        }
        self.config.is_standby |= matches!(self.phase, Phase::Leader { .. });
        self.phase = Phase::Standby;
        self.tenure.give_up();
        self.catalog.give_up();
        self.stop_reading();
        (self.upload, self.draft, self.unlisted) = (None, None, None);
        (self.is_packing, self.needs_base, self.is_at_end) = (false, false, false);
        let must_stop = self.leaving.take().is_some_and(|leaving| leaving.must_stop);
        if must_stop { Err(Stop::ShutDown) } else { Ok(()) }
    }

    /// Records how far the data directory and the log agree.
    pub fn record(&mut self, now: Millis, out: &mut Vec<Output>) {
        self.recorded = (now, self.segment);
        let (archive, own) = (self.tenure.archive(), self.own.clone());
        out.push(Output::Record(Mark { archive, segment: self.segment, entry: self.logged, own }));
    }

    /// Records that from time to time. An old mark is true, too; it only makes the next start read more.
    pub fn record_at_times(&mut self, now: Millis, out: &mut Vec<Output>) {
        let (at, segment) = self.recorded;
        if self.segment > segment && now >= at + self.config.upkeep_ms() {
            self.record(now, out);
        }
    }

    /// From now on, segments of this epoch are this directory's own.
    pub fn own(&mut self, epoch: u64) {
        if self.own.last() == Some(&epoch) {
            return;
        }
        if self.own.len() >= ARCHIVE_OWN_EPOCHS_MAX {
            self.own.remove(1); // the first may have entries; the others came to nothing
        }
        self.own.push(epoch);
    }
}
