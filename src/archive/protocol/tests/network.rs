//! An object store in memory behind a bad network: requests and answers are slow, lost, late, doubled and reordered.

use std::collections::BTreeMap;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::chance::Chance;
use super::checker::Checker;
use crate::archive::format::Name;
use crate::archive::protocol::{Answer, Request, Version};

/// After so long the sender gives up on a request, which may still be under way.
pub const TIMEOUT_MS: u64 = 3_000;

/// What becomes of one request.
#[derive(Debug, Clone, Copy)]
pub struct Fate {
    /// When it has its effect, and maybe once more.
    pub arrivals: [Option<u64>; 2],
    /// Whether the sender gets the answer to the last arrival. If not, it gives up then.
    pub is_answered: bool,
    pub gives_up: u64,
}

impl Fate {
    pub fn sound(now: u64, slow_ms: u64, chance: &mut Chance) -> Fate {
        let arrives = now + chance.between(1, slow_ms);
        Fate { arrivals: [Some(arrives), None], is_answered: true, gives_up: now + TIMEOUT_MS }
    }

    pub fn lost(now: u64, chance: &mut Chance) -> Fate {
        let gives_up = now + if chance.one_in(2) { 1 } else { TIMEOUT_MS };
        Fate { arrivals: [None, None], is_answered: false, gives_up }
    }

    pub fn by_chance(now: u64, luck: u64, chance: &mut Chance) -> Fate {
        let mut fate = Fate::sound(now, 120, chance);
        match chance.below(40 * luck) {
            0 => return Fate::lost(now, chance),
            // it has its effect, and nobody hears of it
            1 => fate.is_answered = false,
            // it has its effect after the sender has given up
            2 => {
                fate.arrivals[0] = Some(fate.gives_up + chance.below(30_000));
                fate.is_answered = false;
            }
            // it is sent again by what is below, and the second one is answered
            3 => fate.arrivals[1] = Some(now + chance.between(120, 2_000)),
            4 | 5 => fate.arrivals[0] = Some(now + chance.between(120, 2_500)),
            _ => {}
        }
        fate
    }
}

/// Versions are hashes of contents, as many ETags are: a content that comes back has its old version.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Name, Bytes>,
}

impl Store {
    pub fn get(&self, name: Name) -> Option<&Bytes> {
        self.objects.get(&name)
    }

    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.objects.keys().copied()
    }

    /// Puts an object without a condition.
    pub fn put(&mut self, name: Name, bytes: Bytes) {
        self.objects.insert(name, bytes);
    }

    pub fn delete(&mut self, name: Name) {
        self.objects.remove(&name);
    }

    /// Carries a request out; the checker sees every change.
    pub fn serve(&mut self, request: Request, checker: &mut Checker) -> Answer {
        let found = |name| self.objects.get(&name);
        match request {
            Request::Get(name) => {
                found(name).map_or(Answer::Absent, |bytes| Answer::Found(bytes.clone(), version(bytes)))
            }
            Request::Create(name, _) if found(name).is_some() => Answer::Conflict,
            Request::Replace(name, _, expected) if found(name).map(version) != Some(expected.clone()) => {
                Answer::Conflict
            }
            Request::Create(name, bytes) | Request::Replace(name, bytes, _) => {
                let version = version(&bytes);
                self.objects.insert(name, bytes.clone());
                checker.written(name, &bytes, self);
                Answer::Done(version)
            }
        }
    }
}

fn version(bytes: &Bytes) -> Version {
    Version(format!("{:016x}", xxh3_64(bytes)))
}
