//! What must hold, watched from outside with a clock of its own: the checker sees every change of the object store, every
//! acknowledgement and every data directory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::network::Store;
use crate::archive::format::{Base, Kind, Manifest, Name, SegmentHeader, SnapshotName};
use crate::archive::protocol::Ack;

/// Identifies a write, wherever it is.
pub type Write = u64;

#[derive(Debug)]
pub struct Checker {
    ack: Ack,
    /// Clocks differ by no more than the margin, so only one server leads at a time.
    is_alone: bool,
    /// All writes in the log, in the order of their entries; entry 1 comes first.
    pub history: Vec<Write>,
    /// The segments of the log: the last one, and the last entry at the end of each.
    ends: Vec<usize>,
    epoch: u64,
    /// How much history each fence closes.
    fences: BTreeMap<u64, usize>,
    pub snapshots: BTreeMap<SnapshotName, Vec<Write>>,
    manifest: Option<Manifest>,
    /// The run of a server that acknowledged in an epoch, and the highest of these epochs.
    leaders: BTreeMap<u64, (usize, u64)>,
    acknowledged: BTreeSet<Write>,
    /// Writes that were kept aside, or lost with a disk.
    excused: BTreeSet<Write>,
    pub violation: Option<String>,
    pub segments: u64,
}

impl Checker {
    pub fn new(ack: Ack, is_alone: bool) -> Checker {
        Checker {
            ack,
            is_alone,
            history: Vec::new(),
            ends: vec![0],
            epoch: 0,
            fences: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            manifest: None,
            leaders: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            excused: BTreeSet::new(),
            violation: None,
            segments: 0,
        }
    }

    pub fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// An object was written.
    pub fn written(&mut self, name: Name, bytes: &Bytes, store: &Store) {
        match name {
            Name::Segment(number) => self.segment(number, bytes),
            Name::Manifest => self.manifest(bytes, store),
            _ => {}
        }
    }

    /// History is one: each segment continues the one before.
    fn segment(&mut self, number: u64, bytes: &Bytes) {
        let Ok((header, body)) = SegmentHeader::open(bytes) else {
            return self.expect(false, || format!("segment {number} is damaged"));
        };
        if self.manifest.as_ref().is_some_and(|manifest| number < manifest.first_segment) {
            return; // it was deleted, and came back too late to matter
        }
        let next = self.ends.len() as u64;
        self.expect(number == next, || format!("segment {number} was created, and {next} is the next one"));
        let (epoch, length) = (self.epoch, self.history.len() as u64);
        self.expect(header.epoch >= epoch, || {
            format!("segment {number} is of epoch {} after {epoch}", header.epoch)
        });
        let is_new = header.epoch > epoch;
        self.expect(is_new == (header.kind == Kind::Fence), || {
            format!("epoch {} without a fence", header.epoch)
        });
        match header.kind {
            Kind::Base => match Base::decode(body).ok().and_then(|base| self.snapshots.get(&base.name)) {
                Some(writes) if writes.starts_with(&self.history) => self.history = writes.clone(),
                _ => self.expect(false, || format!("segment {number} is based on something else")),
            },
            _ => {
                let first = header.first;
                self.expect(first == length + 1, || {
                    format!("segment {number} begins with {first} after {length}")
                });
                self.history.extend(decode(body));
            }
        }
        let (last, length) = (header.last, self.history.len());
        self.expect(last == length as u64, || {
            format!("segment {number} ends with {last} and not with {length}")
        });
        self.ends.push(length);
        self.epoch = header.epoch;
        if header.kind == Kind::Fence {
            self.fences.insert(header.epoch, length);
        }
        self.segments += 1;
    }

    /// Whatever is listed can be restored and followed.
    fn manifest(&mut self, bytes: &Bytes, store: &Store) {
        let Ok(manifest) = Manifest::decode(bytes) else {
            return self.expect(false, || "the manifest is damaged".to_owned());
        };
        for listed in &manifest.snapshots {
            let (name, next) = (listed.name, listed.next_segment as usize);
            let is_complete = store.get(Name::Done(name)).is_some();
            self.expect(is_complete, || format!("snapshot {name} is listed and not there"));
            let is_true = self.snapshots.get(&name).is_some_and(|writes| self.history.starts_with(writes));
            self.expect(is_true, || format!("snapshot {name} is listed and of another history"));
            let follows = self.ends.get(next - 1).is_some_and(|end| *end as u64 <= name.entry);
            self.expect(follows, || format!("segment {next} does not follow snapshot {name}"));
        }
        let first = manifest.first_segment;
        let before = self.manifest.as_ref().map_or(1, |manifest| manifest.first_segment);
        self.expect(first >= before, || format!("the log begins with {first} after {before}"));
        self.manifest = Some(manifest);
        self.restorable(store);
    }

    /// From each way to begin, the log leads to its end without a gap.
    pub fn restorable(&mut self, store: &Store) {
        let Some(manifest) = &self.manifest else { return };
        let gone: Vec<u64> = (manifest.first_segment..self.ends.len() as u64)
            .filter(|number| store.get(Name::Segment(*number)).is_none())
            .collect();
        self.expect(gone.is_empty(), || format!("segments {gone:?} of the log are gone"));
    }

    pub fn acknowledged(&mut self, server: (usize, u64), epoch: u64, entry: u64, write: Write) {
        let leader = *self.leaders.entry(epoch).or_insert(server);
        self.expect(leader == server, || format!("{leader:?} and {server:?} acknowledge in epoch {epoch}"));
        let newest = *self.leaders.keys().next_back().unwrap_or(&0);
        let is_over = epoch < newest && (self.is_alone || self.ack == Ack::Local);
        self.expect(!is_over, || format!("{server:?} acknowledges in epoch {epoch}, after one in {newest}"));
        if self.ack == Ack::Archived {
            let is_there = self.history.get(entry as usize - 1) == Some(&write);
            self.expect(is_there, || format!("write {write} is acknowledged and not in the archive"));
        }
        self.acknowledged.insert(write);
    }

    /// A node begins to lead: it has everything before its fence.
    pub fn leads(&mut self, server: usize, epoch: u64, writes: &[Write]) {
        let length = self.fences.get(&epoch).copied();
        let holds = length.is_some_and(|length| writes.starts_with(&self.history[..length]));
        self.expect(holds, || format!("server {server} leads in epoch {epoch} without having everything"));
    }

    /// A node follows: what it has is a part of the history, from its beginning.
    pub fn follows(&mut self, server: usize, writes: &[Write], from: usize) {
        let holds = self.history.get(from..writes.len()).is_some_and(|part| part == &writes[from..]);
        self.expect(holds, || format!("server {server} serves another history after entry {from}"));
    }

    /// Writes that disappear on purpose, and not without a word.
    pub fn excuse(&mut self, writes: &[Write]) {
        self.excused.extend(writes);
    }

    /// A data directory is about to be replaced.
    pub fn replaces(&mut self, server: usize, writes: &[Write]) {
        let common = writes.iter().zip(&self.history).take_while(|(one, other)| one == other).count();
        let lost = writes[common..].iter().find(|write| {
            self.acknowledged.contains(*write)
                && !self.excused.contains(*write)
                && !self.history.contains(*write)
        });
        let lost = lost.copied();
        self.expect(lost.is_none(), || format!("server {server} drops the acknowledged write {lost:?}"));
    }

    /// At the end, when every server follows the same history.
    pub fn nothing_is_lost(&mut self) {
        let history: BTreeSet<Write> = self.history.iter().copied().collect();
        let mut missing = self.acknowledged.iter().filter(|write| !history.contains(write));
        let lost = match self.ack {
            Ack::Archived => missing.next().copied(),
            Ack::Local => missing.find(|write| !self.excused.contains(*write)).copied(),
        };
        self.expect(lost.is_none(), || format!("the acknowledged write {lost:?} is lost"));
        self.expect(history.len() == self.history.len(), || "a write is in the history twice".to_owned());
    }

    pub fn acknowledgements(&self) -> usize {
        self.acknowledged.len()
    }

    pub fn epochs(&self) -> usize {
        self.fences.len()
    }
}

pub fn encode(writes: &[Write]) -> Vec<u8> {
    writes.iter().flat_map(|write| write.to_be_bytes()).collect()
}

pub fn decode(body: &[u8]) -> impl Iterator<Item = Write> {
    body.chunks_exact(8).map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
