//! One node beside an object store, step by step.

use bytes::Bytes;

use super::checker::Checker;
use super::network::Store;
use crate::archive::format::{
    Id, Kind, Lease, LeaseState, Listed, Manifest, Mark, Name, SegmentHeader, SnapshotName,
};
use crate::archive::protocol::{Ack, Answer, Config, Input, Node, Output, Request, Role, Ticket};

pub const ARCHIVE: Id = Id(77);
pub const OTHER: Id = Id(2);
pub const SNAPSHOT: SnapshotName = SnapshotName { entry: 20, id: 5 };

/// A node beside an object store that answers when it is asked to.
pub struct Desk {
    pub node: Node,
    pub now: u64,
    pub store: Store,
    /// Requests that nobody has answered yet.
    pub sent: Vec<(Ticket, Request)>,
    /// What the node wanted, without its requests.
    pub wanted: Vec<Output>,
    pub local: u64,
}

pub fn config() -> Config {
    Config {
        me: Id(1),
        earlier: Vec::new(),
        new_archive: ARCHIVE,
        address: "me:6379".to_owned(),
        is_standby: false,
        ack: Ack::Archived,
        lease_ms: 10_000,
        margin_ms: 1_000,
        poll_ms: 500,
        upload_ms: 1_000,
    }
}

pub fn standby() -> Config {
    Config { is_standby: true, ..config() }
}

impl Desk {
    pub fn new(config: Config, local: u64, mark: Option<Mark>, store: Store) -> Desk {
        let node = Node::new(config, local, mark);
        Desk { node, now: 1_000, store, sent: Vec::new(), wanted: Vec::new(), local }
    }

    /// The node of an archive that it has begun.
    pub fn leader() -> Desk {
        let mut desk = Desk::new(config(), 0, None, Store::default());
        desk.wait(1_000);
        assert_eq!(desk.node.role(), Role::Leader);
        desk.wanted.clear();
        desk
    }

    pub fn tell(&mut self, input: Input) {
        for output in self.node.handle(self.now, input) {
            let input = match &output {
                Output::Send(ticket, request) => {
                    self.sent.push((*ticket, request.clone()));
                    continue;
                }
                Output::StopWrites => Some(Input::Stopped(self.local)),
                Output::Apply { segment, .. } => {
                    self.local = SegmentHeader::decode(segment).unwrap().last;
                    Some(Input::Applied)
                }
                Output::Restore(snapshot, _) => {
                    self.local = snapshot.map_or(0, |snapshot| snapshot.entry);
                    Some(Input::Restored(Ok(())))
                }
                _ => None,
            };
            self.wanted.push(output);
            if let Some(input) = input {
                self.tell(input);
            }
        }
    }

    /// Lets the object store answer everything.
    pub fn serve(&mut self) {
        while !self.sent.is_empty() {
            let (ticket, request) = self.sent.remove(0);
            let answer = self.answer(request);
            self.tell(Input::Answer(ticket, answer));
        }
    }

    pub fn answer(&mut self, request: Request) -> Answer {
        self.store.serve(request, &mut Checker::new(Ack::Local, false))
    }

    /// Time passes.
    pub fn wait(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now += 100;
            self.tell(Input::Tick);
            self.serve();
        }
    }

    /// The request that is under way for an object.
    pub fn take(&mut self, name: Name) -> Option<(Ticket, Request)> {
        let is_about = |(_, request): &(Ticket, Request)| match request {
            Request::Get(other) | Request::Create(other, _) | Request::Replace(other, ..) => *other == name,
        };
        self.sent.iter().position(is_about).map(|at| self.sent.remove(at))
    }

    /// Time passes, and requests for one object get no answer.
    pub fn wait_only(&mut self, ms: u64, name: Name, unanswered: &mut Vec<(Ticket, Request)>) {
        for _ in 0..ms / 100 {
            self.now += 100;
            self.tell(Input::Tick);
            while !self.sent.is_empty() {
                unanswered.extend(self.take(name));
                if let Some((ticket, request)) = self.sent.pop() {
                    let answer = self.answer(request);
                    self.tell(Input::Answer(ticket, answer));
                }
            }
        }
    }

    /// Lets time pass until a request for an object is under way.
    pub fn wait_for(&mut self, name: Name) -> (Ticket, Request) {
        loop {
            self.now += 100;
            self.tell(Input::Tick);
            if let Some(sent) = self.take(name) {
                return sent;
            }
            self.serve();
        }
    }

    pub fn write(&mut self, entries: u64) {
        self.local += entries;
        self.tell(Input::Written(self.local));
    }

    /// The segment that the node has asked for, with all entries that there are.
    pub fn pack(&mut self) {
        let at = self.wanted.iter().rposition(|output| matches!(output, Output::Pack { .. }));
        let Output::Pack { number, epoch, first } = self.wanted.remove(at.expect("a segment is wanted"))
        else {
            unreachable!()
        };
        let header = SegmentHeader { last: self.local, kind: Kind::Entries, ..segment(epoch, number, first) };
        self.tell(Input::Packed(whole(header, b"")));
    }

    pub fn lease(&self) -> Lease {
        Lease::decode(self.store.get(Name::Lease).unwrap()).unwrap()
    }

    /// What the node has recorded, in this order.
    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.wanted
            .iter()
            .filter_map(|output| if let Output::Record(mark) = output { Some(mark) } else { None })
    }

    pub fn through(&self) -> Option<u64> {
        self.node.promise().filter(|promise| self.now < promise.until).map(|promise| promise.through)
    }
}

pub fn segment(epoch: u64, number: u64, first: u64) -> SegmentHeader {
    SegmentHeader::empty(ARCHIVE, epoch, number, Kind::Fence, first)
}

pub fn whole(header: SegmentHeader, body: &[u8]) -> Bytes {
    Bytes::from([header.describe(body).encode(), body.to_vec()].concat())
}

pub fn entries(epoch: u64, number: u64, first: u64, last: u64) -> Bytes {
    whole(SegmentHeader { kind: Kind::Entries, last, ..segment(epoch, number, first) }, b"")
}

pub fn lease_of(holder: Id, epoch: u64, counter: u64, state: LeaseState) -> Lease {
    let address = "other:6379".to_owned();
    Lease { archive: ARCHIVE, epoch, counter, holder, state, entry: 0, length_ms: 10_000, address }
}

pub fn manifest(first_segment: u64, snapshots: Vec<Listed>) -> Bytes {
    Bytes::from(Manifest { archive: ARCHIVE, serial: 1, first_segment, snapshots }.encode())
}

/// An archive that another node leads, in epoch 3, with entries 1 to 4.
pub fn archive_of_another() -> Store {
    let mut store = Store::default();
    store.put(Name::Manifest, manifest(1, Vec::new()));
    store.put(Name::Lease, Bytes::from(lease_of(OTHER, 3, 9, LeaseState::Held).encode()));
    store.put(Name::Segment(1), whole(segment(3, 1, 1), b""));
    store.put(Name::Segment(2), entries(3, 2, 1, 4));
    store
}

pub fn mark(archive: Id, segment: u64, entry: u64, own: &[u64]) -> Option<Mark> {
    Some(Mark { archive, segment, entry, own: own.to_vec() })
}
