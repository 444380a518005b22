//! Measures the compressed size of records, for transactions that a byte limit would otherwise refuse.
//!
//! A record counts with its uncompressed size until its checkpoint. That is fine as long as there is room; otherwise, a
//! limit would refuse what fits. So when a limit is met:
//!
//! ```text
//!  try_write ──▶ over the limit? ──▶ values of the transaction not weighed? ──▶ weigh them ──────────▶ run it again
//!      ▲                        └──▶ records in memory not weighed? ──▶ tighten, weigh some of them ──▶ run it again
//!      │                        └──▶ neither: it doesn't fit, unless it makes less of what is there
//!      └── the command is planned anew: see dispatch
//! ```
//!
//! Compression happens without the lock, in steps of [`WEIGHED_AT_ONCE`]. A step saves more than most writes need, so a
//! write near a limit pays roughly for itself. Only a real refusal measures everything, once. From then on, the stores
//! in question are *tight*: every record that is written there is measured at once, so that unmeasured records never
//! have to be searched for. When they are below 80 % again, they are no longer tight ([`Engine::loosen`]).
//!
//! Others may write between measuring and running again. Then the command may want to write something else, which is
//! measured in its turn. No thread waits for another.

use std::collections::HashMap;

use bytes::Bytes;

use crate::engine::limits::quota::{Excess, Scope, judge};
use crate::engine::memtable::state::State;
use crate::engine::memtable::table::Entry;
use crate::engine::transaction::apart::Place;
use crate::engine::transaction::effect::Effect;
use crate::engine::transaction::txn::Changes;
use crate::engine::{Engine, Error, Reader, Seq};
use crate::record::compress::{Compression, compress};
use crate::record::dictionary::Dictionary;
use crate::record::header;
use crate::store::Generation;
use crate::store::quota::is_nearly_full;
use crate::store::usage::Weight;

/// The most bytes of values, and records, that one step compresses; more if a single value is larger.
const WEIGHED_AT_ONCE: usize = 64 * 1024;
const RECORDS_AT_ONCE: usize = 256;

/// Values that a command wants to write, and the compressed size of a record with each of them, without expiry.
#[derive(Default)]
pub struct Weighed {
    /// Grouped by the dictionary of their generation. Made when the first is measured, because most commands meet no
    /// limit.
    values: Option<HashMap<Generation, HashMap<Bytes, usize, foldhash::fast::RandomState>>>,
    /// Where the command is run next.
    pub(in crate::engine) place: Place,
}

impl Weighed {
    /// The size of a record with a value, if it was measured.
    fn stored_bytes(&self, generation: Generation, key: &[u8], value: &[u8], expires: bool) -> Option<u64> {
        let record_bytes = self.values.as_ref()?.get(&generation)?.get(value)?;
        Some((key.len() + record_bytes + header::deadline_bytes(expires)) as u64)
    }
}

/// The stores that are so close to a limit that compressed sizes matter.
#[derive(Debug, Default)]
pub struct Tight {
    /// All stores, for the limit over all of them.
    server: bool,
    /// The records of tight stores that may still be in memory without having been measured.
    unweighed: HashMap<Generation, Vec<Bytes>>,
}

impl Tight {
    /// Whether every record that is written has to be measured at once.
    pub fn holds(&self, generation: Generation) -> bool {
        self.server || (!self.unweighed.is_empty() && self.unweighed.contains_key(&generation))
    }

    /// Records a key that was written without having been measured.
    fn note(&mut self, effect: &Effect) {
        if let Effect::Put { generation, key, .. } = effect
            && self.holds(*generation)
        {
            self.unweighed.entry(*generation).or_default().push(Bytes::copy_from_slice(key));
        }
    }
}

/// A record in memory to be weighed.
struct Candidate {
    generation: Generation,
    key: Bytes,
    value: Bytes,
    expires: bool,
    version: Seq,
}

impl State {
    /// Whether all records that count for a limit have been measured.
    pub(in crate::engine) fn is_weighed(&self, scope: Scope) -> bool {
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
    fn tighten(&mut self, scope: Scope) {
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
    pub(in crate::engine) fn weigh_anew(&mut self, generation: Generation) {
        if self.tight.holds(generation) {
            let keys = self.of_unknown_size(generation);
            self.tight.unweighed.insert(generation, keys);
        }
    }

    /// The same for the record at one key.
    pub(in crate::engine) fn weigh_key_anew(&mut self, generation: Generation, key: &[u8]) {
        let is_of_unknown_size =
            |entry: &Entry| entry.live.as_ref().is_some_and(|live| live.known_stored_bytes().is_none());
        if self.tight.holds(generation) && self.entry(generation, key).is_some_and(is_of_unknown_size) {
            self.tight.unweighed.entry(generation).or_default().push(Bytes::copy_from_slice(key));
        }
    }

    /// Some records that are not measured. Forgets those that are, or that are gone.
    fn unweighed(&mut self, scope: Scope) -> Vec<Candidate> {
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

/// Compresses as the next checkpoint would.
struct Scale<'e> {
    engine: &'e Engine,
    compression: Compression,
    dictionaries: HashMap<Generation, Option<Dictionary<'static>>>,
}

impl<'e> Scale<'e> {
    fn new(engine: &'e Engine) -> Scale<'e> {
        Scale { engine, compression: *engine.compression.read(), dictionaries: HashMap::new() }
    }

    /// Bytes of a record without expiry.
    fn record_bytes(&mut self, generation: Generation, value: &[u8]) -> usize {
        let Scale { engine, compression, dictionaries } = self;
        // otherwise more is counted, until the record's checkpoint
        let of_generation = || engine.dictionary(generation, compression).unwrap_or_default();
        let dictionary = dictionaries.entry(generation).or_insert_with(of_generation);
        compress(value, compression, dictionary.as_ref()).record_bytes(false)
    }
}

/// Why a transaction has to wait until something is measured, or is refused.
#[derive(Debug)]
pub(in crate::engine) enum Unfit {
    /// These values that it puts.
    Values(Vec<(Generation, Bytes)>),
    /// Records in memory that count for a limit.
    Memory(Scope),
}

/// Whether the limits allow a transaction; if that is not known yet, what has to be measured first. Records in the
/// transaction the sizes that are known already.
pub(in crate::engine) fn fit(
    state: &State,
    changes: &mut Changes,
    weighed: &Weighed,
    compression: &Compression,
) -> Result<Option<Unfit>, Error> {
    if !changes.effects.iter().any(|effect| !matches!(effect, Effect::Remove { .. })) {
        return Ok(None);
    }
    let is_tight = changes
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::Put { generation, .. } if state.tight.holds(*generation)));
    if !is_tight
        && weighed.values.is_none()
        && judge(state, changes, &|scope| state.is_weighed(scope)).is_ok()
    {
        return Ok(None);
    }
    let (mut values, mut weights) = (Vec::new(), Vec::new());
    for (at, effect) in changes.effects.iter().enumerate() {
        let Effect::Put { generation, key, value, expires_at_ms } = effect else { continue };
        if !changes.is_last_on_its_key(at) {
            continue;
        }
        let expires = expires_at_ms.is_some();
        match weighed.stored_bytes(*generation, key, value, expires) {
            Some(stored_bytes) => weights.push((at, stored_bytes)),
            None if compression.tries(value.len()) => values.push((*generation, value.clone())),
            None => weights.push((at, Weight::plain(key, value.len(), expires).stored_bytes)),
        }
    }
    changes.weights = weights;
    match judge(state, changes, &|scope| state.is_weighed(scope)) {
        Ok(()) if is_tight && !values.is_empty() => Ok(Some(Unfit::Values(values))),
        Ok(()) => Ok(None),
        Err(Excess { is_of_bytes: true, .. }) if !values.is_empty() => Ok(Some(Unfit::Values(values))),
        Err(Excess { is_of_bytes: true, scope, .. }) if !state.is_weighed(scope) => {
            Ok(Some(Unfit::Memory(scope)))
        }
        Err(Excess { exceeded, .. }) => Err(Error::Quota(exceeded)),
    }
}

impl Engine {
    /// Whether a transaction fits; if that is not known yet, what has to be measured first. For a command that can't
    /// run again nothing is measured first: what exceeds a limit by its uncompressed size is refused, and what is
    /// written to a tight store is measured later.
    pub(in crate::engine) fn fit(
        &self,
        state: &mut State,
        changes: &mut Changes,
        weighed: Option<&Weighed>,
    ) -> Result<Option<Unfit>, Error> {
        match weighed {
            Some(weighed) => fit(state, changes, weighed, &self.compression.read()),
            None => {
                judge(state, changes, &|_| true).map_err(|excess| Error::Quota(excess.exceeded))?;
                changes.effects.iter().for_each(|effect| state.tight.note(effect));
                Ok(None)
            }
        }
    }

    /// Ends the tight state of stores that have room again.
    pub(in crate::engine) fn loosen(&self) {
        {
            let state = self.state.read();
            if !state.tight.server && state.tight.unweighed.is_empty() {
                return;
            }
        }
        let mut state = self.state.write();
        let State { tight, catalog, server_quota, .. } = &mut *state;
        tight.server &= is_nearly_full(catalog.total().stored_bytes, server_quota.max_bytes);
        if !tight.server {
            tight.unweighed.retain(|generation, _| {
                let store = catalog.holding(*generation);
                store.is_some_and(|store| is_nearly_full(store.usage.stored_bytes, store.quota.max_bytes))
            });
        }
    }
}

impl Reader<'_> {
    /// Measures what a limit has to know, without the lock.
    pub(in crate::engine) fn weigh(&self, unfit: Unfit, weighed: Option<&mut Weighed>) {
        match unfit {
            Unfit::Values(values) => {
                let Some(weighed) = weighed else { return };
                let mut scale = Scale::new(self.engine);
                let known = weighed.values.get_or_insert_default();
                for (generation, value) in values {
                    let record_bytes = scale.record_bytes(generation, &value);
                    known.entry(generation).or_default().insert(value, record_bytes);
                }
            }
            Unfit::Memory(scope) => self.weigh_in_memory(scope),
        }
    }

    /// Measures some records in memory that count for a limit.
    fn weigh_in_memory(&self, scope: Scope) {
        let candidates = {
            let mut state = self.state_mut();
            state.tighten(scope);
            state.unweighed(scope)
        };
        let mut scale = Scale::new(self.engine);
        let weighed: Vec<(Candidate, u64)> = candidates
            .into_iter()
            .map(|candidate| {
                let Candidate { generation, key, value, expires, .. } = &candidate;
                let record_bytes = scale.record_bytes(*generation, value);
                let stored_bytes = key.len() + record_bytes + header::deadline_bytes(*expires);
                (candidate, stored_bytes as u64)
            })
            .collect();
        let mut state = self.state_mut();
        for (Candidate { generation, key, version, .. }, stored_bytes) in &weighed {
            state.note_stored_bytes(*generation, key, *version, *stored_bytes);
        }
    }
}
