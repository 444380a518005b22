//! A server around a node: it carries out what the node wants, has a disk and a clock, and can crash between any two
//! steps.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;

use super::chance::Chance;
use super::checker::{Write, decode, encode};
use super::world::{Around, Broken, Event, LEASE_MS, id, stored_snapshot};
use crate::archive::format::{Codec, Id, Kind, Mark, Name, SegmentHeader, SnapshotName};
use crate::archive::protocol::{
    Answer, Config, Input, Line, Node, Output, Request, RestoreFailed, Role, Stop, Stored, Ticket, Version,
};

pub struct Server {
    pub index: usize,
    /// Counts the starts.
    pub run: u64,
    node: Option<Node>,
    id: Id,
    archive: Id,
    accepts: bool,
    /// Entries and writes whose clients still wait.
    waiting: VecDeque<(u64, Write)>,
    pub paused_until: u64,
    pub cut_off_until: u64,
    is_quiet: Cell<bool>,
    // the clock: a reading is `offset + real time * rate / 1,000`
    offset: u64,
    rate: u64,
    // the disk
    pub writes: Vec<Write>,
    mark: Option<Mark>,
    earlier: Vec<Id>,
    /// The oldest entry that the journal has.
    oldest: u64,
}

/// Work that takes time.
#[derive(Debug)]
pub enum Task {
    Pack { number: u64, epoch: u64, first: u64 },
    Apply { segment: Bytes, after: u64 },
    Restore(Option<SnapshotName>, Mark),
    Copy { id: u64 },
    Store { name: SnapshotName, writes: Vec<Write>, time_ms: u64 },
}

impl Server {
    pub fn new(index: usize, drift: u64, chance: &mut Chance) -> Server {
        // the first one may have had data before it got an archive
        let before = if index == 0 && chance.one_in(2) { chance.below(20) } else { 0 };
        Server {
            index,
            run: 0,
            node: None,
            id: Id(0),
            archive: id(chance),
            accepts: false,
            waiting: VecDeque::new(),
            paused_until: 0,
            cut_off_until: 0,
            is_quiet: Cell::new(false),
            offset: chance.below(1 << 40),
            rate: 1_000 - drift + chance.below(3) * drift,
            writes: (0..before).map(|_| chance.number()).collect(),
            mark: None,
            earlier: Vec::new(),
            oldest: if chance.one_in(2) { 1 } else { before + 1 },
        }
    }

    pub fn is_up(&self) -> bool {
        self.node.is_some()
    }

    pub fn role(&self) -> Role {
        self.node.as_ref().map_or(Role::Stopped, Node::role)
    }

    pub fn id(&self) -> Id {
        self.id
    }

    /// Its clients have nothing more to write.
    pub fn stops_writing(&self) {
        self.is_quiet.set(true);
    }

    fn clock(&self, around: &Around) -> u64 {
        self.offset + around.now * self.rate / 1_000
    }

    fn who(&self) -> (usize, u64) {
        (self.index, self.run)
    }

    pub fn start(&mut self, around: &mut Around) {
        if self.node.is_some() {
            return;
        }
        self.run += 1;
        self.earlier.push(self.id);
        self.id = id(&mut around.chance);
        self.accepts = false;
        let config = Config {
            me: self.id,
            earlier: self.earlier.clone(),
            new_archive: self.archive,
            address: format!("server-{}:6379", self.index),
            is_standby: self.index > 0 || around.store.get(Name::Manifest).is_some(),
            ack: around.setting.ack,
            lease_ms: if around.setting.is_endless { 0 } else { LEASE_MS as u32 },
            margin_ms: if around.setting.is_endless { 0 } else { around.setting.margin_ms },
            poll_ms: 200,
            upload_ms: 1_000,
        };
        self.node = Some(Node::new(config, self.writes.len() as u64, self.mark.clone()));
        around.after(0, self.who(), Event::Tick);
    }

    /// Nothing happens in it for a while; its clock goes on.
    pub fn pause(&mut self, pause_ms: u64, around: &mut Around) {
        self.paused_until = self.paused_until.max(around.now + pause_ms);
        around.tally.pauses += 1;
    }

    pub fn crash(&mut self, around: &mut Around) {
        self.node = None;
        self.waiting.clear();
        around.tally.crashes += 1;
        if around.chance.one_in(4) && self.index > 0 && !around.setting.is_endless {
            around.tally.lost_disks += 1;
            around.checker.excuse(&self.writes);
            (self.writes, self.mark, self.oldest) = (Vec::new(), None, 1);
        }
    }

    /// A client writes, if the server lets it.
    pub fn write(&mut self, around: &mut Around) {
        if self.accepts && !self.is_quiet.get() {
            let write = around.chance.number();
            self.writes.push(write);
            let entry = self.writes.len() as u64;
            self.waiting.push_back((entry, write));
            self.told(Input::Written(entry), around);
        }
    }

    /// The node hears of something, and the server does what it wants then.
    pub fn told(&mut self, input: Input, around: &mut Around) {
        let now = self.clock(around);
        let Some(node) = &mut self.node else { return };
        let mut outputs = VecDeque::from(node.handle(now, input));
        while let Some(output) = outputs.pop_front() {
            if !around.is_calm && around.chance.one_in(2_000) {
                self.crash(around);
                let pause_ms = around.chance.between(100, 20_000);
                return around.after(pause_ms, self.who(), Event::Start);
            }
            if let Some(input) = self.carry_out(output, around)
                && let Some(node) = &mut self.node
            {
                outputs.extend(node.handle(now, input));
            }
        }
        self.acknowledge(around);
        let stopped = self.node.as_ref().and_then(Node::stopped);
        if let Some(stop) = stopped {
            let is_fine = matches!(stop, Stop::ShutDown | Stop::AnotherLeads);
            around.checker.expect(is_fine, || format!("server {} stopped: {stop}", self.index));
            self.node = None;
            let pause_ms = around.chance.between(100, 5_000);
            around.after(pause_ms, self.who(), Event::Start);
        }
    }

    pub fn answered(&mut self, ticket: Ticket, answer: Answer, around: &mut Around) {
        let done = Answer::Done(Version(String::new()));
        let answer = match (around.setting.broken, ticket.line, &answer) {
            (Some(Broken::Conflict), Line::Log, Answer::Conflict) => done,
            (Some(Broken::LostUpload), Line::Log, Answer::Unknown) => done,
            (Some(Broken::LostRenewal), Line::Lease, Answer::Unknown) => done,
            _ => answer,
        };
        self.told(Input::Answer(ticket, answer), around);
    }

    fn carry_out(&mut self, output: Output, around: &mut Around) -> Option<Input> {
        let broken = around.setting.broken;
        let soon = |around: &mut Around| if around.is_calm { 5 } else { around.chance.between(1, 200) };
        match output {
            Output::Send(ticket, request) => {
                let is_fence = |bytes: &Bytes| {
                    SegmentHeader::decode(bytes).is_ok_and(|header| header.kind == Kind::Fence)
                };
                if broken == Some(Broken::Fence)
                    && let Request::Create(Name::Segment(_), bytes) = &request
                    && is_fence(bytes)
                {
                    let answer = Answer::Done(Version(String::new()));
                    around.after(1, self.who(), Event::Told(Input::Answer(ticket, answer)));
                    return None;
                }
                let is_cut_off = around.now < self.cut_off_until;
                around.send(self.who(), is_cut_off, ticket, request);
            }
            Output::Record(mark) => {
                if broken == Some(Broken::Mark) && self.mark.is_some() {
                    let own = Vec::new();
                    self.mark = Some(Mark { own, ..mark });
                } else {
                    self.mark = Some(Mark::decode(&mark.encode()).expect("a mark"));
                }
            }
            Output::StartWrites => {
                self.accepts = true;
                if let Some(promise) = self.node.as_ref().and_then(Node::promise) {
                    around.checker.leads(self.index, promise.epoch, &self.writes);
                }
            }
            Output::StopWrites => {
                self.accepts = false;
                return Some(Input::Stopped(self.writes.len() as u64));
            }
            Output::Pack { number, epoch, first } => {
                let after = soon(around);
                around.after(after, self.who(), Event::Do(Task::Pack { number, epoch, first }));
            }
            Output::Apply { segment, after } => {
                let pause_ms = soon(around);
                around.after(pause_ms, self.who(), Event::Do(Task::Apply { segment, after }));
            }
            Output::SetAside { after } => {
                if broken != Some(Broken::Aside) {
                    around.checker.excuse(&self.writes[after as usize..]);
                }
                around.tally.set_aside += 1;
            }
            Output::Restore(snapshot, mark) => {
                around.checker.replaces(self.index, &self.writes);
                (self.writes, self.mark, self.oldest) = (Vec::new(), None, 1);
                around.tally.restores += 1;
                let pause_ms = soon(around) * 5;
                around.after(pause_ms, self.who(), Event::Do(Task::Restore(snapshot, mark)));
            }
            Output::TakeSnapshot => self.begin_snapshot(around),
            Output::Prune { first_segment, snapshots } => {
                let first = first_segment + u64::from(broken == Some(Broken::Prune));
                let newest = snapshots.last().map_or(0, |listed| listed.name.entry);
                let is_done_with = |name: &Name| match name {
                    Name::Segment(number) => *number < first,
                    Name::Part(snapshot, _) | Name::Done(snapshot) => {
                        snapshot.entry < newest && snapshots.iter().all(|listed| listed.name != *snapshot)
                    }
                    Name::Manifest | Name::Lease => false,
                };
                let names: Vec<Name> = around.store.names().filter(is_done_with).collect();
                for name in names {
                    let pause_ms = around.chance.between(1, 2_000);
                    around.after(pause_ms, self.who(), Event::Delete(name));
                }
            }
            Output::Report(_) => {}
        }
        None
    }

    pub fn begin_snapshot(&mut self, around: &mut Around) {
        if self.role() == Role::Leader {
            let id = around.chance.number();
            around.after(0, self.who(), Event::Told(Input::SnapshotBegins(id)));
            let pause_ms = around.chance.between(1, 3_000);
            around.after(pause_ms, self.who(), Event::Do(Task::Copy { id }));
        }
    }

    pub fn work(&mut self, task: Task, around: &mut Around) {
        match task {
            Task::Pack { number, epoch, first } => {
                let input = match self.pack(number, epoch, first, around) {
                    Some(segment) => Input::Packed(segment),
                    None => Input::Unpackable,
                };
                self.told(input, around);
            }
            Task::Apply { segment, after } => {
                let (header, body) = SegmentHeader::open(&segment).expect("a segment");
                if self.writes.len() as u64 == after {
                    let skipped = (after + 1 - header.first) as usize;
                    self.writes.extend(decode(body).skip(skipped));
                    around.checker.follows(self.index, &self.writes, after as usize);
                }
                self.told(Input::Applied, around);
            }
            Task::Restore(snapshot, mark) => {
                let writes = snapshot.map_or(Some(Vec::new()), |name| {
                    around.store.get(Name::Done(name)).and(around.checker.snapshots.get(&name)).cloned()
                });
                let result = writes.map(|writes| {
                    (self.oldest, self.mark) = (writes.len() as u64 + 1, Some(mark));
                    self.writes = writes;
                    around.checker.follows(self.index, &self.writes, 0);
                });
                self.told(Input::Restored(result.ok_or(RestoreFailed)), around);
            }
            Task::Copy { id } if self.role() == Role::Leader => {
                let name = SnapshotName { entry: self.writes.len() as u64, id };
                let (writes, time_ms) = (self.writes.clone(), around.now);
                let pause_ms = around.chance.between(10, 5_000);
                around.after(pause_ms, self.who(), Event::Do(Task::Store { name, writes, time_ms }));
            }
            Task::Copy { .. } => {}
            Task::Store { name, writes, time_ms } => {
                around.checker.snapshots.insert(name, writes);
                around.store.put(Name::Done(name), stored_snapshot());
                around.tally.snapshots += 1;
                self.told(Input::SnapshotStored(Stored { name, time_ms, bytes: 9 }), around);
            }
        }
    }

    fn pack(&self, number: u64, epoch: u64, first: u64, around: &mut Around) -> Option<Bytes> {
        let most = around.chance.between(1, 50);
        let last = (self.writes.len() as u64).min(first + most - 1);
        if first < self.oldest || last < first {
            return None;
        }
        let body = encode(&self.writes[first as usize - 1..last as usize]);
        let header = SegmentHeader {
            archive: self.mark.as_ref()?.archive,
            epoch,
            number,
            kind: Kind::Entries,
            first,
            last,
            earliest_ms: around.now,
            latest_ms: around.now,
            codec: Codec::Plain,
            plain_bytes: body.len() as u64,
            stored_bytes: 0,
            checksum: 0,
        };
        Some(Bytes::from([header.describe(&body).encode(), body].concat()))
    }

    /// The journal has been checkpointed, and keeps only its end.
    pub fn forget_journal(&mut self) {
        self.oldest = self.oldest.max((self.writes.len() as u64).saturating_sub(2));
    }

    /// Replies that may leave do so.
    fn acknowledge(&mut self, around: &mut Around) {
        let promise = self.node.as_ref().and_then(Node::promise);
        let is_overtime = around.setting.broken == Some(Broken::Overtime);
        let now = self.clock(around);
        let Some(promise) = promise.filter(|promise| now < promise.until || is_overtime) else {
            if self.role() != Role::Leader {
                self.waiting.clear(); // they get an error
            }
            return;
        };
        while let Some((entry, write)) = self.waiting.front().copied()
            && entry <= promise.through
        {
            self.waiting.pop_front();
            around.checker.acknowledged(self.who(), promise.epoch, entry, write);
        }
    }
}
