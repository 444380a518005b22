//! Servers, their clocks and disks, the object store, and everything that can go wrong between them, as one sequence of
//! events that a seed determines.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;

use super::chance::Chance;
use super::checker::Checker;
use super::network::{Fate, Store};
use super::server::{Server, Task};
use crate::archive::format::{Id, Name};
use crate::archive::protocol::{Ack, Answer, Input, Request, Role, Ticket};

/// How long a lease is, in real time as on the clocks.
pub const LEASE_MS: u64 = 10_000;

/// What kind of world it is.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub ack: Ack,
    pub servers: usize,
    pub margin_ms: u32,
    /// A clock runs right, or so many thousandths too fast or too slow.
    pub drift: u64,
    /// Leases are endless, and disks too.
    pub is_endless: bool,
    /// What is broken on purpose.
    pub broken: Option<Broken>,
}

impl Setting {
    /// Whether the margin covers the difference of the clocks.
    fn clocks_fit(&self) -> bool {
        self.is_endless
            || (LEASE_MS - u64::from(self.margin_ms)) * (1_000 + self.drift)
                <= LEASE_MS * (1_000 - self.drift)
    }
}

/// Faults of a server or of its driver that the checker has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A candidate leads without a fence in the log.
    Fence,
    /// An upload that meets another segment is taken for one that succeeded.
    Conflict,
    /// An upload whose answer is lost is taken for one that succeeded.
    LostUpload,
    /// The same with a renewal of the lease.
    LostRenewal,
    /// The lease is written whatever it says now.
    BlindLease,
    /// Writes are acknowledged when the lease is over.
    Overtime,
    /// A data directory does not know which epochs it has led.
    Mark,
    /// What the archive lacks is dropped.
    Aside,
    /// Segments are deleted before the manifest says so.
    Prune,
}

/// What happens, to which server.
#[derive(Debug)]
pub enum Event {
    Arrive(Ticket, Request, bool),
    GiveUp(Ticket),
    Told(Input),
    Do(Task),
    Tick,
    /// Not for a certain run of the server.
    Start,
    Delete(Name),
    /// A client writes, or somebody causes trouble.
    Write,
    Trouble,
}

struct Scheduled {
    at: u64,
    number: u64,
    server: usize,
    /// The run of the server that it is meant for.
    run: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.number == other.number
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (Reverse(self.at), Reverse(self.number)).cmp(&(Reverse(other.at), Reverse(other.number)))
    }
}

/// What went wrong, counted.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub steps: u64,
    pub worlds: u64,
    pub requests: u64,
    pub faulty_requests: u64,
    pub damaged_answers: u64,
    pub crashes: u64,
    pub lost_disks: u64,
    pub pauses: u64,
    pub outages: u64,
    pub cut_offs: u64,
    pub failovers: u64,
    pub snapshots: u64,
    pub restores: u64,
    pub set_aside: u64,
    pub epochs: u64,
    pub segments: u64,
    pub acknowledged: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.steps += other.steps;
        self.worlds += other.worlds;
        self.requests += other.requests;
        self.faulty_requests += other.faulty_requests;
        self.damaged_answers += other.damaged_answers;
        self.crashes += other.crashes;
        self.lost_disks += other.lost_disks;
        self.pauses += other.pauses;
        self.outages += other.outages;
        self.cut_offs += other.cut_offs;
        self.failovers += other.failovers;
        self.snapshots += other.snapshots;
        self.restores += other.restores;
        self.set_aside += other.set_aside;
        self.epochs += other.epochs;
        self.segments += other.segments;
        self.acknowledged += other.acknowledged;
    }
}

/// What can happen to a server.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    ShortPause,
    LongPause,
    Crash,
    Outage,
    CutOff,
    FailOver,
    ShutDown,
    Snapshot,
    Retain,
    ShortJournal,
}

impl Trouble {
    const ALL: [Trouble; 10] = [
        Trouble::ShortPause,
        Trouble::LongPause,
        Trouble::Crash,
        Trouble::Outage,
        Trouble::CutOff,
        Trouble::FailOver,
        Trouble::ShutDown,
        Trouble::Snapshot,
        Trouble::Retain,
        Trouble::ShortJournal,
    ];
}

/// Everything but the servers, so that one of them can use it.
pub struct Around {
    pub now: u64,
    pub chance: Chance,
    pub setting: Setting,
    pub store: Store,
    pub checker: Checker,
    pub tally: Tally,
    /// Nothing goes wrong any more.
    pub is_calm: bool,
    queue: BinaryHeap<Scheduled>,
    scheduled: u64,
    /// The object store answers nobody until then.
    outage_until: u64,
    /// The kinds of [`Trouble`] that this world knows, as bits, and the longest time between two of them.
    troubles: u64,
    peace_ms: u64,
    /// The higher it is, the fewer requests go wrong.
    luck: u64,
}

pub struct World {
    pub servers: Vec<Server>,
    pub around: Around,
}

impl Around {
    pub fn after(&mut self, ms: u64, server: (usize, u64), event: Event) {
        self.scheduled += 1;
        let (at, number, (server, run)) = (self.now + ms, self.scheduled, server);
        self.queue.push(Scheduled { at, number, server, run, event });
    }

    /// Sends a request to the object store.
    pub fn send(&mut self, server: (usize, u64), is_cut_off: bool, ticket: Ticket, request: Request) {
        let (now, chance) = (self.now, &mut self.chance);
        let fate = if self.is_calm {
            Fate::sound(now, 5, chance)
        } else if now < self.outage_until || is_cut_off {
            Fate::lost(now, chance)
        } else {
            Fate::by_chance(now, self.luck, chance)
        };
        self.tally.requests += 1;
        self.tally.faulty_requests += u64::from(!fate.is_answered || fate.arrivals[1].is_some());
        let answered = fate.arrivals.into_iter().flatten().last().filter(|_| fate.is_answered);
        for arrives in fate.arrivals.into_iter().flatten() {
            let event = Event::Arrive(ticket, request.clone(), Some(arrives) == answered);
            self.after(arrives - now, server, event);
        }
        if !fate.is_answered {
            self.after(fate.gives_up - now, server, Event::GiveUp(ticket));
        }
    }

    fn arrive(&mut self, server: (usize, u64), ticket: Ticket, request: Request, is_answered: bool) {
        let is_blind = self.setting.broken == Some(Broken::BlindLease);
        let answer = match request {
            Request::Replace(Name::Lease, bytes, _) if is_blind => {
                self.store.put(Name::Lease, bytes.clone());
                self.store.serve(Request::Create(Name::Lease, bytes), &mut self.checker);
                Answer::Unknown // the node reads it back
            }
            request => self.store.serve(request, &mut self.checker),
        };
        let answer = match answer {
            Answer::Found(bytes, version) if !self.is_calm && self.chance.one_in(300) => {
                self.tally.damaged_answers += 1;
                Answer::Found(damaged(&bytes, &mut self.chance), version)
            }
            answer => answer,
        };
        if is_answered {
            let delay = if self.is_calm { 5 } else { self.chance.between(2, 150) };
            self.after(delay, server, Event::Told(Input::Answer(ticket, answer)));
        }
    }
}

impl World {
    pub fn new(setting: Setting, seed: u64) -> World {
        let mut chance = Chance::new(seed);
        let servers =
            (0..setting.servers).map(|index| Server::new(index, setting.drift, &mut chance)).collect();
        let around = Around {
            now: 1_000_000,
            setting,
            store: Store::default(),
            checker: Checker::new(setting.ack, setting.clocks_fit()),
            tally: Tally { worlds: 1, ..Tally::default() },
            is_calm: false,
            queue: BinaryHeap::new(),
            scheduled: 0,
            outage_until: 0,
            troubles: chance.number(),
            peace_ms: [1_000, 3_000, 10_000][chance.below(3) as usize],
            luck: [1, 10][chance.below(2) as usize],
            chance,
        };
        let mut world = World { servers, around };
        for index in 0..setting.servers {
            world.around.after(index as u64 * 100, (index, 0), Event::Start);
        }
        world.around.after(1, (0, 0), Event::Write);
        world.around.after(1, (0, 0), Event::Trouble);
        world
    }

    /// Lets so many things happen, heals everything, and looks what came of it.
    pub fn run(mut self, steps: u64) -> (Tally, Option<String>) {
        while self.around.tally.steps < steps && self.around.checker.violation.is_none() {
            self.step();
        }
        self.heal();
        let around = &mut self.around;
        around.tally.epochs = around.checker.epochs() as u64;
        around.tally.segments = around.checker.segments;
        around.tally.acknowledged = around.checker.acknowledgements() as u64;
        (around.tally, around.checker.violation.take())
    }

    pub fn step(&mut self) {
        let Some(Scheduled { at, server: index, run, event, .. }) = self.around.queue.pop() else { return };
        self.around.now = self.around.now.max(at);
        self.around.tally.steps += 1;
        let who = (index, run);
        match event {
            Event::Arrive(ticket, request, is_answered) => {
                return self.around.arrive(who, ticket, request, is_answered);
            }
            Event::Delete(name) => {
                self.around.store.delete(name);
                let Around { store, checker, .. } = &mut self.around;
                return checker.restorable(store);
            }
            Event::Write => return self.write(),
            Event::Trouble => return self.trouble(),
            _ => {}
        }
        let server = &mut self.servers[index];
        if server.paused_until > self.around.now {
            let pause_ms = server.paused_until - self.around.now;
            return self.around.after(pause_ms, who, event);
        }
        match event {
            Event::Start => server.start(&mut self.around),
            _ if server.run != run || !server.is_up() => {}
            Event::Told(Input::Answer(ticket, answer)) => server.answered(ticket, answer, &mut self.around),
            Event::Told(input) => server.told(input, &mut self.around),
            Event::GiveUp(ticket) => server.answered(ticket, Answer::Unknown, &mut self.around),
            Event::Do(task) => server.work(task, &mut self.around),
            _ => {
                server.told(Input::Tick, &mut self.around);
                let pause_ms = self.around.chance.between(50, 300);
                self.around.after(pause_ms, who, Event::Tick);
            }
        }
    }

    fn write(&mut self) {
        let index = self.around.chance.below(self.servers.len() as u64) as usize;
        let server = &mut self.servers[index];
        if server.is_up() && server.paused_until <= self.around.now {
            server.write(&mut self.around);
        }
        let pause_ms = self.around.chance.between(1, 150);
        self.around.after(pause_ms, (0, 0), Event::Write);
    }

    /// Something happens to a server, often to the one that leads. Each world knows only some kinds of trouble, so that
    /// the others do not hide what these lead to.
    fn trouble(&mut self) {
        let any = self.around.chance.below(self.servers.len() as u64) as usize;
        let leader = self.leader().filter(|_| self.around.chance.one_in(2));
        let kind = Trouble::ALL[self.around.chance.below(Trouble::ALL.len() as u64) as usize];
        let is_known = self.around.troubles & (1 << kind as u64) != 0;
        if is_known && !self.around.is_calm {
            self.befall(leader.unwrap_or(any), kind);
        }
        let pause_ms = self.around.chance.between(100, self.around.peace_ms);
        self.around.after(pause_ms, (0, 0), Event::Trouble);
    }

    fn leader(&self) -> Option<usize> {
        self.servers.iter().position(|server| server.role() == Role::Leader)
    }

    fn befall(&mut self, index: usize, kind: Trouble) {
        let heir = self.around.chance.below(self.servers.len() as u64) as usize;
        let heir = self.servers[heir].id();
        let (server, around) = (&mut self.servers[index], &mut self.around);
        if !server.is_up() {
            return;
        }
        let (now, who) = (around.now, (index, server.run));
        match kind {
            Trouble::ShortPause => server.pause(around.chance.between(10, 3_000), around),
            Trouble::LongPause => server.pause(around.chance.between(5_000, 30_000), around),
            Trouble::Crash => server.crash(around),
            Trouble::Outage => {
                around.outage_until = now + around.chance.between(500, 25_000);
                around.tally.outages += 1;
            }
            Trouble::CutOff => {
                server.cut_off_until = now + around.chance.between(500, 30_000);
                around.tally.cut_offs += 1;
            }
            Trouble::FailOver => {
                around.tally.failovers += u64::from(server.role() == Role::Leader);
                let heir = Some(heir).filter(|heir| around.chance.one_in(2) && *heir != server.id());
                server.told(Input::FailOver(heir), around);
            }
            Trouble::ShutDown => server.told(Input::ShutDown, around),
            Trouble::Snapshot => server.begin_snapshot(around),
            Trouble::Retain => {
                let keep_ms = around.chance.between(80_000, 200_000);
                server.told(Input::Retain(now.saturating_sub(keep_ms)), around);
            }
            Trouble::ShortJournal => server.forget_journal(),
        }
        // a server that somebody stopped is started again
        if !server.is_up() && server.run == who.1 {
            let pause_ms = around.chance.between(100, 20_000);
            around.after(pause_ms, who, Event::Start);
        }
    }

    /// How long no other server leads after something has happened to the leader, and nothing else goes wrong.
    pub fn takeover_ms(mut self, kind: Trouble) -> u64 {
        self.around.is_calm = true;
        let begin = self.around.now + 3 * LEASE_MS + self.around.chance.below(LEASE_MS);
        while self.around.now < begin {
            self.step();
        }
        let before = self.leader().expect("a leader");
        self.befall(before, kind);
        while self.leader().is_none_or(|leader| leader == before) && self.around.now < begin + 10 * LEASE_MS {
            self.step();
        }
        self.around.now - begin
    }

    /// Nothing goes wrong from now on; soon, one server leads, and all have everything.
    fn heal(&mut self) {
        if self.around.checker.violation.is_some() {
            return;
        }
        self.around.is_calm = true;
        let begin = self.around.now;
        let until = |leases: u64| begin + 30_000 + leases * LEASE_MS;
        while self.around.now < until(4) && self.around.checker.violation.is_none() {
            for index in 0..self.servers.len() {
                if !self.servers[index].is_up() {
                    self.servers[index].start(&mut self.around);
                }
            }
            self.step();
        }
        let before = self.around.checker.acknowledgements();
        while self.around.now < until(5) && self.around.checker.violation.is_none() {
            self.step();
        }
        let checker = &mut self.around.checker;
        checker.expect(checker.acknowledgements() > before, || "nobody acknowledges a write".to_owned());
        for server in &self.servers {
            server.stops_writing();
        }
        while self.around.now < until(6) && self.around.checker.violation.is_none() {
            self.step();
        }
        let checker = &mut self.around.checker;
        let leading = self.servers.iter().filter(|server| server.role() == Role::Leader).count();
        checker.expect(leading == 1, || format!("{leading} servers lead"));
        for server in &self.servers {
            checker.follows(server.index, &server.writes, 0);
            let (has, all) = (server.writes.len(), checker.history.len());
            checker.expect(has == all, || format!("server {} has {has} writes of {all}", server.index));
        }
        checker.nothing_is_lost();
    }
}

/// The same bytes with one bit flipped, but not in their format.
fn damaged(bytes: &Bytes, chance: &mut Chance) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = chance.below(bytes.len() as u64) as usize;
    if !(8..12).contains(&at) {
        bytes[at] ^= 1 << chance.below(8);
    }
    Bytes::from(bytes)
}

/// Identities that nobody has drawn before.
pub fn id(chance: &mut Chance) -> Id {
    Id(u128::from(chance.number()) << 64 | u128::from(chance.number()))
}

/// A snapshot's list of parts, which stands for all of its objects here.
pub fn stored_snapshot() -> Bytes {
    Bytes::from_static(b"all parts")
}
