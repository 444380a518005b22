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
//! Compression happens without the lock, in steps of some records. A step saves more than most writes need, so a
//! write near a limit pays roughly for itself. Only a real refusal measures everything, once. From then on, the stores
//! in question are *tight*: every record that is written there is measured at once, so that unmeasured records never
//! have to be searched for. When they are below 80 % again, they are no longer tight ([`Engine::loosen`]).
//!
//! Others may write between measuring and running again. Then the command may want to write something else, which is
//! measured in its turn. No thread waits for another.

use std::collections::HashMap;

use bytes::Bytes;

use crate::engine::core::Engine;
use crate::engine::core::handles::Reader;
use crate::engine::effect::Effect;
use crate::engine::error::{Error, Fault};
use crate::engine::limits::quota::{Excess, judge};
use crate::engine::state::State;
use crate::engine::state::changes::Changes;
use crate::engine::state::tight::{Candidate, Scope};
use crate::record::compress::{Compression, compress};
use crate::record::dictionary::Dictionary;
use crate::record::dictionary::encode::Encoder;
use crate::record::header;
use crate::store::Generation;
use crate::store::quota::is_nearly_full;
use crate::store::usage::Weight;

/// Values that a command wants to write, and the compressed size of a record with each of them, without expiry.
#[derive(Default)]
pub struct Sizes {
    /// Grouped by the dictionary of their generation. Made when the first is measured, because most commands meet no
    /// limit.
    values: Option<HashMap<Generation, HashMap<Bytes, usize, foldhash::fast::RandomState>>>,
}

impl Sizes {
    /// The size of a record with a value, if it was measured.
    fn stored_bytes(&self, generation: Generation, key: &[u8], value: &[u8], expires: bool) -> Option<u64> {
        let record_bytes = self.values.as_ref()?.get(&generation)?.get(value)?;
        Some((key.len() + record_bytes + header::deadline_bytes(expires)) as u64)
    }
}

/// Compresses as the next checkpoint would.
struct Scale<'e> {
    engine: &'e Engine,
    compression: Compression,
    encoders: HashMap<Generation, Option<Encoder>>,
}

impl<'e> Scale<'e> {
    fn new(engine: &'e Engine) -> Scale<'e> {
        Scale { engine, compression: *engine.compression.read(), encoders: HashMap::new() }
    }

    /// Bytes of a record without expiry.
    fn record_bytes(&mut self, generation: Generation, value: &[u8]) -> usize {
        let Scale { engine, compression, encoders } = self;
        // otherwise more is counted, until the record's checkpoint
        let of_generation =
            || dictionary(engine, generation, compression).unwrap_or_default().and_then(Encoder::new);
        let encoder = encoders.entry(generation).or_insert_with(of_generation);
        compress(value, compression, encoder.as_ref()).record_bytes(false)
    }
}

/// What a new record of the generation would be compressed with now; for estimates.
fn dictionary(
    engine: &Engine,
    generation: Generation,
    compression: &Compression,
) -> Result<Option<Dictionary<'static>>, Fault> {
    if !compression.takes_dictionaries() {
        return Ok(None);
    }
    Ok(engine.tables.known_dictionaries(&engine.tables.snapshot()?, generation)?.newest)
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
    sizes: &Sizes,
    compression: &Compression,
) -> Result<Option<Unfit>, Error> {
    if !changes.effects.iter().any(|effect| !matches!(effect, Effect::Remove { .. })) {
        return Ok(None);
    }
    let is_tight = changes
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::Put { generation, .. } if state.tight.holds(*generation)));
    estimate(state, changes);
    if !is_tight && sizes.values.is_none() {
        match judge(state, changes, &|scope| state.is_weighed(scope)) {
            Ok(()) => return Ok(None),
            // others are evicted, and nothing has to be measured for that
            Err(Excess { exceeded, .. }) if exceeded.eviction.is_some_and(|policy| !policy.only_expiring) => {
                return Err(Error::Quota(exceeded));
            }
            Err(_) => {}
        }
    }
    let estimated = std::mem::take(&mut changes.weights);
    let (mut values, mut weights) = (Vec::new(), Vec::with_capacity(estimated.len()));
    for (at, effect) in changes.effects.iter().enumerate() {
        let Effect::Put { generation, key, value, expires_at_ms } = effect else { continue };
        if !changes.is_last_on_its_key(at) {
            continue;
        }
        if let Some(estimated) = estimated.iter().find(|(of, _)| *of == at) {
            weights.push(*estimated);
            continue;
        }
        let expires = expires_at_ms.is_some();
        match sizes.stored_bytes(*generation, key, value, expires) {
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

/// Gives records of stores that evict the sizes that they will probably have when they are compressed.
fn estimate(state: &State, changes: &mut Changes) {
    changes.weights.clear();
    if !state.evicts {
        return;
    }
    for (at, effect) in changes.effects.iter().enumerate() {
        if let Effect::Put { generation, key, value, expires_at_ms } = effect
            && let Some(store) = state.catalog.holding(*generation).filter(|store| state.estimates(store))
        {
            let plain = Weight::plain(key, value.len(), expires_at_ms.is_some());
            changes.weights.push((at, store.usage.estimate(key.len() as u64, plain)));
        }
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
        sizes: Option<&Sizes>,
    ) -> Result<Option<Unfit>, Error> {
        match sizes {
            Some(sizes) => fit(state, changes, sizes, &self.compression.read()),
            None => {
                estimate(state, changes);
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
    pub(in crate::engine) fn weigh(&self, unfit: Unfit, sizes: Option<&mut Sizes>) {
        match unfit {
            Unfit::Values(values) => {
                let Some(sizes) = sizes else { return };
                let mut scale = Scale::new(self.engine);
                let known = sizes.values.get_or_insert_default();
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
