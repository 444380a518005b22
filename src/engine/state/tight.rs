//! What is known of the sizes of records in memory, for stores that are close to a limit of bytes.

use std::collections::HashMap;

use bytes::Bytes;

use crate::engine::effect::Effect;
use crate::engine::journal::Seq;
use crate::engine::memtable::table::Entry;
use crate::engine::state::State;
use crate::store::Generation;

/// The most bytes of values, and records, that one step compresses; more if a single value is larger.
pub const WEIGHED_AT_ONCE: usize = 64 * 1024;
const RECORDS_AT_ONCE: usize = 256;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The limit of the store that holds a generation.
    Store(Generation),
    Server,
}

/// The stores that are so close to a limit that compressed sizes matter.
#[derive(Debug, Default)]
pub struct Tight {
    /// All stores, for the limit over all of them.
    pub server: bool,
    /// The records of tight stores that may still be in memory without having been measured.
    pub unweighed: HashMap<Generation, Vec<Bytes>>,
}

impl Tight {
    /// Whether every record that is written has to be measured at once.
    pub fn holds(&self, generation: Generation) -> bool {
        self.server || (!self.unweighed.is_empty() && self.unweighed.contains_key(&generation))
    }

    /// Records a key that was written without having been measured.
    pub fn note(&mut self, effect: &Effect) {
        if let Effect::Put { generation, key, .. } = effect
            && self.holds(*generation)
        {
            self.unweighed.entry(*generation).or_default().push(Bytes::copy_from_slice(key));
        }
    }
}

/// A record in memory to be weighed.
pub struct Candidate {
    pub generation: Generation,
    pub key: Bytes,
    pub value: Bytes,
    pub expires: bool,
    pub version: Seq,
}

impl State {
    /// Whether all records that count for a limit have been measured.
    pub fn is_weighed(&self, scope: Scope) -> bool {
        match scope {
            Scope::Server => self.tight.server && self.tight.unweighed.values().all(Vec::is_empty),
            Scope::Store(generation) => match self.tight.unweighed.get(&generation) {
                Some(keys) => keys.is_empty(),
                // tight since before its first record
                None => self.tight.server,
            },
        }
    }

    /// From now on, all records that count for a limit are measured. Collects those that were not.
    pub fn tighten(&mut self, scope: Scope) {
        let mut layers: Vec<Generation> = match scope {
            Scope::Store(generation) => vec![generation],
            Scope::Server => {
                let frozen = self.frozen.as_ref().map(|frozen| frozen.memtable.layers());
                let layers = self.active.layers().into_iter().chain(frozen.into_iter().flatten());
                layers.map(|(generation, _)| generation).collect()
            }
        };
        layers.sort_unstable();
        layers.dedup();
        // stores that became tight together with the server have been measured already
        layers.retain(|generation| !self.tight.holds(*generation));
        for generation in layers {
            let keys = self.of_unknown_size(generation);
            self.tight.unweighed.insert(generation, keys);
        }
        self.tight.server |= scope == Scope::Server;
    }

    /// Keys in memory whose records have not been measured.
    fn of_unknown_size(&self, generation: Generation) -> Vec<Bytes> {
        let mut keys = Vec::new();
        for memtable in [Some(&self.active), self.frozen.as_ref().map(|frozen| &frozen.memtable)] {
            let layer = memtable.and_then(|memtable| memtable.layer(generation));
            let entries = layer.into_iter().flat_map(|layer| layer.iter());
            let of_unknown_size = entries.filter(|(_, entry)| {
                entry.live.as_ref().is_some_and(|live| live.known_stored_bytes().is_none())
            });
            keys.extend(of_unknown_size.map(|(key, _)| Bytes::copy_from_slice(key)));
        }
        keys
    }

    /// The records of a generation are back; the notes about them may have been dropped meanwhile.
    pub fn weigh_anew(&mut self, generation: Generation) {
        if self.tight.holds(generation) {
            let keys = self.of_unknown_size(generation);
            self.tight.unweighed.insert(generation, keys);
        }
    }

    /// The same for the record at one key.
    pub fn weigh_key_anew(&mut self, generation: Generation, key: &[u8]) {
        let is_of_unknown_size =
            |entry: &Entry| entry.live.as_ref().is_some_and(|live| live.known_stored_bytes().is_none());
        if self.tight.holds(generation) && self.entry(generation, key).is_some_and(is_of_unknown_size) {
            self.tight.unweighed.entry(generation).or_default().push(Bytes::copy_from_slice(key));
        }
    }

    /// Some records that are not measured. Forgets those that are, or that are gone.
    pub fn unweighed(&mut self, scope: Scope) -> Vec<Candidate> {
        let mut tight = std::mem::take(&mut self.tight);
        let mut candidates = Vec::new();
        let mut bytes = 0;
        for (generation, keys) in &mut tight.unweighed {
            if !matches!(scope, Scope::Store(of) if of != *generation) {
                keys.truncate(
                    keys.iter()
                        .rposition(|key| self.candidate(*generation, key).is_some())
                        .map_or(0, |at| at + 1),
                );
                for candidate in keys.iter().rev().filter_map(|key| self.candidate(*generation, key)) {
                    if bytes >= WEIGHED_AT_ONCE || candidates.len() >= RECORDS_AT_ONCE {
                        break;
                    }
                    bytes += candidate.value.len();
                    candidates.push(candidate);
                }
            }
        }
        self.tight = tight;
        candidates
    }

    fn candidate(&self, generation: Generation, key: &Bytes) -> Option<Candidate> {
        self.catalog.holding(generation)?;
        let entry = self.entry(generation, key)?;
        let live = entry.live.as_ref().filter(|live| live.known_stored_bytes().is_none())?;
        Some(Candidate {
            generation,
            key: key.clone(),
            value: live.value.clone(),
            expires: live.expires_at_ms.is_some(),
            version: entry.version,
        })
    }
}
