//! The lease, as one node sees it: watched by those who follow, held by the one who leads.
//!
//! Two rules make sure that one node never leads in the time of another, without comparing their clocks:
//!
//! * The holder counts its time from when it *first tried* the latest write that is known to have succeeded. Nobody can
//!   have seen that write earlier.
//! * Whoever wants to take the lease counts from when it *last saw it change*, which is later, and waits for the whole
//!   length. The holder stops a margin earlier. The margin is for clocks that run at different rates.
//!
//! An answer that was lost is read back. Every content of the lease is unique, so a holder recognizes its own writes. A
//! retry sends the same content again, and counts from the first try: if the first try had its effect after all, others
//! have been counting since then.

use bytes::Bytes;

use super::line::Requests;
use super::message::{Answer, Line, Millis, Output, Request, Ticket, Version};
use super::{Config, Stop, Trouble};
use crate::archive::format::{FormatError, Id, Lease, LeaseState, Name};

/// What the node wants with the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// To know who has it.
    Watch,
    /// To have it as soon as it is free; what is written goes into the log behind an epoch that it has already.
    /// `is_own`: an earlier run with the same data directory had it last.
    Take { epoch_min: u64, entry: u64, is_own: bool },
    /// To go on holding it.
    Keep { entry: u64 },
    /// To let another node have it.
    Release { heir: Option<Id>, entry: u64 },
}

/// What an answer has changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The node holds the lease, in this epoch.
    Taken(u64),
    /// The node has released it.
    Released,
    /// The node does not hold it any more.
    Lost,
    /// Another node holds it, and has written it while this one was watching.
    Alive,
    Stop(Stop),
}

#[derive(Debug)]
pub struct Tenure {
    config: Config,
    archive: Id,
    requests: Requests,
    seen: Option<Seen>,
    read_at: Millis,
    attempt: Option<Attempt>,
    /// When the latest write of this holder was first tried that is known to have succeeded.
    held: Option<Millis>,
}

/// What the lease was when it was last looked at.
#[derive(Debug)]
struct Seen {
    /// `None` if there was no such object.
    lease: Option<(Lease, Version)>,
    /// When it was first seen like this.
    since: Millis,
}

/// A write that is not known to have succeeded or failed.
#[derive(Debug)]
struct Attempt {
    lease: Lease,
    /// What it replaces; `None` if it creates the object.
    base: Option<Version>,
    began: Millis,
    must_read: bool,
}

impl Tenure {
    pub fn new(config: &Config, archive: Id) -> Tenure {
        let requests = Requests::new(Line::Lease);
        Tenure {
            config: config.clone(),
            archive,
            requests,
            seen: None,
            read_at: 0,
            attempt: None,
            held: None,
        }
    }

    pub fn archive(&self) -> Id {
        self.archive
    }

    /// The node does not lead any more.
    pub fn give_up(&mut self) {
        self.held = None;
        self.attempt = None;
        self.requests.forget();
    }

    /// Until when the node may lead, and not a moment longer.
    pub fn valid_until(&self) -> Option<Millis> {
        let releases = self.attempt.as_ref().is_some_and(|attempt| attempt.lease.state != LeaseState::Held);
        let held = self.held.filter(|_| !releases)?;
        let length_ms = u64::from(self.config.lease_ms.saturating_sub(self.config.margin_ms));
        Some(if self.config.lease_ms == 0 { Millis::MAX } else { held + length_ms })
    }

    /// The lease as it was last seen.
    pub fn lease(&self) -> Option<&Lease> {
        self.seen.as_ref()?.lease.as_ref().map(|(lease, _)| lease)
    }

    /// Whether another node holds the lease, and never has to renew it.
    pub fn is_endless(&self) -> bool {
        self.lease().is_some_and(|lease| {
            lease.length_ms == 0 && lease.state == LeaseState::Held && lease.holder != self.config.me
        })
    }

    /// Sends what is due.
    pub fn drive(&mut self, now: Millis, goal: Goal, out: &mut Vec<Output>) {
        if !self.requests.is_free(now) {
            return;
        }
        if self.attempt.is_none() {
            self.attempt = self.wanted(now, goal);
        }
        let request = match &self.attempt {
            Some(attempt) if !attempt.must_read => {
                let bytes = Bytes::from(attempt.lease.encode());
                match &attempt.base {
                    Some(version) => Request::Replace(Name::Lease, bytes, version.clone()),
                    None => Request::Create(Name::Lease, bytes),
                }
            }
            None if self.held.is_some() || now < self.read_at => return,
            _ => Request::Get(Name::Lease),
        };
        self.read_at = now + self.config.poll_ms;
        self.requests.send(request, out);
    }

    /// The write that is due, if any.
    fn wanted(&self, now: Millis, goal: Goal) -> Option<Attempt> {
        let seen = self.seen.as_ref()?;
        let (epoch, entry, state) = match goal {
            Goal::Watch => return None,
            Goal::Take { epoch_min, entry, is_own } => {
                let epoch = self.lease().map_or(0, |lease| lease.epoch).max(epoch_min) + 1;
                (self.is_free(now, epoch_min, is_own).then_some(epoch)?, entry, LeaseState::Held)
            }
            Goal::Keep { entry } => {
                let renewal_ms = u64::from(self.config.lease_ms / 4);
                let is_due = renewal_ms > 0 && self.held.is_some_and(|held| now >= held + renewal_ms);
                (is_due.then_some(self.lease()?.epoch)?, entry, LeaseState::Held)
            }
            Goal::Release { heir, entry } => (self.lease()?.epoch, entry, LeaseState::Released { heir }),
        };
        let lease = Lease {
            archive: self.archive,
            epoch,
            counter: self.lease().map_or(0, |lease| lease.counter) + 1,
            holder: self.config.me,
            state,
            entry,
            length_ms: self.config.lease_ms,
            address: self.config.address.clone(),
        };
        let base = seen.lease.as_ref().map(|(_, version)| version.clone());
        Some(Attempt { lease, base, began: now, must_read: false })
    }

    /// Whether this node may take the lease that it has seen.
    fn is_free(&self, now: Millis, epoch_min: u64, is_own: bool) -> bool {
        let Some(seen) = &self.seen else { return false };
        let lease = self.lease();
        let length_ms = match lease.map_or(0, |lease| lease.length_ms).max(self.config.lease_ms) {
            0 => self.config.upkeep_ms(),
            length_ms => u64::from(length_ms),
        };
        let is_over = now >= seen.since + length_ms;
        match lease.map(|lease| (lease.state, lease)) {
            // nobody can hold a lease that there has never been
            None => is_over || epoch_min == 0,
            Some((LeaseState::Held, lease)) if lease.length_ms == 0 => is_own,
            Some((LeaseState::Held, _)) => is_over,
            Some((LeaseState::Released { heir }, lease)) => {
                let is_for_me = heir.is_none_or(|heir| heir == self.config.me);
                is_over || (is_for_me && lease.holder != self.config.me)
            }
        }
    }

    pub fn answer(
        &mut self,
        now: Millis,
        ticket: Ticket,
        answer: Answer,
        out: &mut Vec<Output>,
    ) -> Option<Event> {
        if !self.requests.accept(ticket) {
            return None;
        }
        match answer {
            Answer::Found(bytes, version) => match Lease::decode(&bytes) {
                Ok(lease) if lease.archive != self.archive => {
                    Some(Event::Stop(Stop::OtherArchive { found: lease.archive, expected: self.archive }))
                }
                Ok(lease) => self.read(now, Some((lease, version))),
                Err(FormatError::Newer { .. }) => Some(Event::Stop(Stop::Newer(Name::Lease))),
                Err(error) => {
                    self.requests.pause_until(now + self.config.poll_ms);
                    out.push(Output::Report(Trouble::Unreadable(Name::Lease, error)));
                    None
                }
            },
            Answer::Absent => self.read(now, None),
            Answer::Done(version) => self.succeeded(now, version),
            Answer::Conflict => {
                self.read_back();
                None
            }
            Answer::Unknown => {
                self.read_back();
                self.requests.pause_until(now + self.config.poll_ms);
                None
            }
        }
    }

    fn read_back(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.must_read = true;
        }
    }

    /// The lease has been read.
    fn read(&mut self, now: Millis, found: Option<(Lease, Version)>) -> Option<Event> {
        if let Some(attempt) = &mut self.attempt {
            let (lease, version) = found.as_ref().map(|(lease, version)| (lease, version)).unzip();
            if lease == Some(&attempt.lease) {
                return self.succeeded(now, version?.clone());
            }
            if version == attempt.base.as_ref() {
                attempt.must_read = false; // it is still to have its effect: the same again
                return None;
            }
            self.attempt = None;
        }
        let lease = found.as_ref().map(|(lease, _)| lease);
        let was_held = self.held.is_some();
        let is_new = self.seen.is_none();
        if self.seen.as_ref().is_none_or(|seen| seen.lease.as_ref().map(|(lease, _)| lease) != lease) {
            let is_alive =
                lease.is_some_and(|lease| lease.state == LeaseState::Held && lease.holder != self.config.me);
            self.seen = Some(Seen { lease: found, since: now });
            if was_held {
                self.held = None;
                return Some(Event::Lost);
            }
            return (is_alive && !is_new).then_some(Event::Alive);
        }
        None
    }

    /// The write that was attempted is what the lease says now.
    fn succeeded(&mut self, now: Millis, version: Version) -> Option<Event> {
        let attempt = self.attempt.take()?;
        let (epoch, state) = (attempt.lease.epoch, attempt.lease.state);
        self.seen = Some(Seen { lease: Some((attempt.lease, version)), since: now });
        if state != LeaseState::Held {
            self.held = None;
            return Some(Event::Released);
        }
        self.held.replace(attempt.began).is_none().then_some(Event::Taken(epoch))
    }
}
