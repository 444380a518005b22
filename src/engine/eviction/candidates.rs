//! Where the candidates for eviction come from: recent keys, and the hand over all records.

use std::collections::{HashMap, HashSet};
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::engine::core::Engine;
use crate::engine::core::handles::{Reader, Writer};
use crate::engine::error::{Error, Fault};
use crate::engine::heat::hunt::{Candidate, Hand, Recent, Scope, Step, Warmth};
use crate::engine::journal::Seq;
use crate::engine::lmdb::DeadlineRow;
use crate::engine::lmdb::residence::Wait;
use crate::engine::scan::Range;
use crate::engine::state::State;
use crate::store::eviction::{Order, Policy};
use crate::store::{Generation, Key, StoreId};

/// The number of records that are looked at in one step: 16 for each that is evicted. With half as many, `lfu` has a tenth
/// fewer hits; `lru` needs fewer.
const EXAMINED_AT_ONCE: usize = 256;
/// As many of them are under the hand.
const UNDER_HAND: usize = EXAMINED_AT_ONCE / 2;
/// Keys without a record that the hand passes over in one step.
const ABSENT_AT_ONCE: usize = 512;
/// Rows of the index of deadlines that the hand passes over in one step.
const ROWS_AT_ONCE: usize = 512;

impl Writer<'_> {
    /// Looks at some records, and puts the coldest into the pool. Returns whether there are none at all.
    pub(super) fn find_candidates(&self, now_ms: u64, scope: Scope, policy: Policy) -> Result<bool, Error> {
        let hunts = &self.engine.hunts;
        let Step { recent, warmest, mut hand, moves_hand } =
            hunts.begin_step(scope, self.records(scope), EXAMINED_AT_ONCE);
        let (recent, too_warm) = self.colder(policy.order, warmest, recent);
        let mut seen = self.still_there(now_ms, recent)?;
        let is_at_begin = hand.after.is_none();
        if self.wait == Wait::No {
            if seen.is_empty() && warmest.is_none() {
                return Err(Fault::Cold.into());
            }
        } else if moves_hand {
            seen.extend(if policy.only_expiring {
                self.expiring_under(scope, &mut hand)?
            } else {
                self.records_under(now_ms, scope, &mut hand)?
            });
        }
        // the index of deadlines has the records of all stores
        let sees_all = is_at_begin && hand.after.is_none() && (policy.only_expiring || scope.is_some());
        let is_none = seen.is_empty() && moves_hand && sees_all;
        let generations = self.generations_of(seen.iter().map(|recent| recent.key.store));
        let candidates = seen.into_iter().filter_map(|Recent { key, expires_at_ms, version }| {
            let generation = generations.get(&key.store)?;
            let warmth = self.engine.warmth(policy.order, *generation, &key, expires_at_ms, version);
            Some(Candidate { key, expires_at_ms, version, warmth })
        });
        hunts.end_step(scope, hand, candidates.collect(), too_warm);
        Ok(is_none)
    }

    /// The recent keys that are colder than the warmest candidate, and the others. To ask how warm a key is costs less than
    /// to look up its record.
    fn colder(
        &self,
        order: Order,
        warmest: Option<Warmth>,
        recent: Vec<Recent>,
    ) -> (Vec<Recent>, Vec<Recent>) {
        let Some(warmest) = warmest else { return (recent, Vec::new()) };
        let generations = self.generations_of(recent.iter().map(|recent| recent.key.store));
        recent.into_iter().partition(|Recent { key, expires_at_ms, version }| {
            generations.get(&key.store).is_none_or(|generation| {
                self.engine.warmth(order, *generation, key, *expires_at_ms, *version) < warmest
            })
        })
    }
}

impl Reader<'_> {
    /// The recent keys that have a record. Those that were evicted under the hand, or removed otherwise, would look like the
    /// coldest of all.
    fn still_there(&self, now_ms: u64, recent: Vec<Recent>) -> Result<Vec<Recent>, Error> {
        let keys: Vec<Key> = recent.iter().map(|recent| recent.key.clone()).collect();
        let found = self.read(now_ms, &keys, |txn| {
            let mut found = Vec::with_capacity(recent.len());
            for Recent { key, .. } in recent {
                if let Some(meta) = txn.peek(&key)? {
                    found.push(Recent { key, expires_at_ms: meta.expires_at_ms, version: meta.version });
                }
            }
            Ok::<_, Error>(found)
        });
        match found {
            Ok((found, _)) => Ok(found),
            // a store was dropped meanwhile, or a record can't be read; the hand finds the others again
            Err(Error::NoStore(_) | Error::Fault(Fault::Damaged(_))) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The order in which records of a store are evicted: by its own setting or else by the server's.
    pub fn eviction_order(&self, store: StoreId) -> Option<Order> {
        let state = self.state();
        let of_store = state.catalog.get(store).and_then(|store| store.quota.evict);
        of_store.or(state.server_quota.evict.map(|policy| policy.order))
    }

    /// The next records under the hand.
    fn records_under(&self, now_ms: u64, scope: Scope, hand: &mut Hand) -> Result<Vec<Recent>, Error> {
        let Some(store) = self.store_under(scope, hand) else { return Ok(Vec::new()) };
        let mut seen = Vec::with_capacity(UNDER_HAND);
        let from = hand.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = Range { store, prefix: b"", from, keys_max: UNDER_HAND, absent_free: ABSENT_AT_ONCE };
        let scanned = self.scan(now_ms, range, &|_| true, &mut |row| {
            if let Some(meta) = row.meta() {
                let key = Key::new(store, Bytes::copy_from_slice(row.key()));
                seen.push(Recent { key, expires_at_ms: meta.expires_at_ms, version: meta.version });
            }
            Ok::<_, Error>(ControlFlow::Continue(()))
        });
        match scanned {
            Ok(end) => hand.after = end.more_after,
            Err(Error::NoStore(_)) => hand.after = None,
            Err(error) => return Err(error),
        }
        if hand.after.is_none() {
            hand.store = store.saturating_add(1);
        }
        Ok(seen)
    }

    /// The store that the hand is in: that of the scope, or the next one that holds anything.
    fn store_under(&self, scope: Scope, hand: &mut Hand) -> Option<StoreId> {
        if scope.is_some() {
            return scope;
        }
        let at = hand.store;
        let store = self.with_catalog(|catalog| {
            let mut filled = catalog.iter().filter(|store| store.usage.records > 0).map(|store| store.id);
            let first = filled.next()?;
            if first >= at { Some(first) } else { filled.find(|store| *store >= at).or(Some(first)) }
        })?;
        if store != at {
            *hand = Hand { store, ..Hand::default() };
        }
        Some(store)
    }

    /// The next records under the hand, in the order of their deadlines: from both memtables those that are due first,
    /// and from LMDB's index the rows where the hand is. What the memtable knows about a key is newer than a row.
    fn expiring_under(&self, scope: Scope, hand: &mut Hand) -> Result<Vec<Recent>, Error> {
        let is_in_scope = |store: StoreId| scope.is_none_or(|scope| scope == store);
        let mut seen = Vec::new();
        let (snapshot, epoch) = {
            let state = self.state();
            let frozen = state.frozen.as_ref().map(|frozen| &frozen.memtable);
            for memtable in [Some(&state.active), frozen].into_iter().flatten() {
                for (generation, layer) in memtable.layers() {
                    let holder = state.catalog.holding(generation).filter(|store| is_in_scope(store.id));
                    let Some(store) = holder.map(|store| store.id) else { continue };
                    let keys = layer.due(u64::MAX).take(UNDER_HAND);
                    seen.extend(keys.filter_map(|(_, key)| recent_in(&state, generation, store, key)));
                }
            }
            (self.engine.tables.snapshot()?, state.epoch)
        };
        if hand.epoch != epoch {
            *hand = Hand { epoch, ..Hand::default() };
        }
        let rows = self.engine.tables.due(&snapshot, hand.after.as_deref(), u64::MAX)?;
        let (mut looked_at, mut after) = (0, None);
        for row in rows.take(ROWS_AT_ONCE) {
            let DeadlineRow { position, deadline, generation, key } = row?;
            (looked_at, after) = (looked_at + 1, Some(Bytes::copy_from_slice(position)));
            let state = self.state();
            let holder = state.catalog.holding(generation).filter(|store| is_in_scope(store.id));
            if let Some(store) = holder.filter(|_| state.entry(generation, key).is_none()) {
                let key = Key::new(store.id, Bytes::copy_from_slice(key));
                seen.push(Recent { key, expires_at_ms: Some(deadline), version: 0 });
                if seen.len() >= EXAMINED_AT_ONCE {
                    break;
                }
            }
        }
        // at the end of the index it begins again
        hand.after = after.filter(|_| looked_at > 0);
        Ok(seen)
    }

    pub(super) fn records(&self, scope: Scope) -> u64 {
        self.with_catalog(|catalog| match scope {
            Some(store) => catalog.get(store).map_or(0, |store| store.usage.records),
            None => catalog.total().records,
        })
    }

    pub(super) fn generations(&self, candidates: &[Candidate]) -> HashMap<StoreId, Generation> {
        self.generations_of(candidates.iter().map(|candidate| candidate.key.store))
    }

    /// The generations of some stores, as far as there are such stores.
    fn generations_of(&self, stores: impl Iterator<Item = StoreId>) -> HashMap<StoreId, Generation> {
        let stores: HashSet<StoreId> = stores.collect();
        self.with_catalog(|catalog| {
            stores.into_iter().filter_map(|id| Some((id, catalog.get(id)?.generation))).collect()
        })
    }
}

/// What a memtable knows of a key, if there is a record that expires.
fn recent_in(state: &State, generation: Generation, store: StoreId, key: &[u8]) -> Option<Recent> {
    let entry = state.entry(generation, key)?;
    let expires_at_ms = Some(entry.live.as_ref()?.expires_at_ms?);
    let key = Key::new(store, Bytes::copy_from_slice(key));
    Some(Recent { key, expires_at_ms, version: entry.version })
}

impl Engine {
    pub(super) fn warmth_of(&self, order: Order, generation: Generation, candidate: &Candidate) -> Warmth {
        let Candidate { key, expires_at_ms, version, .. } = candidate;
        self.warmth(order, generation, key, *expires_at_ms, *version)
    }

    fn warmth(
        &self,
        order: Order,
        generation: Generation,
        key: &Key,
        expires_at_ms: Option<u64>,
        version: Seq,
    ) -> Warmth {
        match order {
            Order::Random => Warmth::by_chance(self.heat.chance(&key.name, self.hunts.steps())),
            order => Warmth::of(order, self.heat.of(generation, &key.name), expires_at_ms, version),
        }
    }
}
