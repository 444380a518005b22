//! Eviction: removes records so that a full store, or a full server, takes new ones.
//!
//! # How victims are chosen
//!
//! Exact orders by recency or frequency of all records would take memory for each. Instead, the server looks at some
//! records after another and evicts the coldest of them:
//!
//! ```text
//!  keys that were written lately ──┐
//!                                  ├──▶ candidates, with what Heat knows of them ──▶ pool ──▶ the coldest eighth goes
//!  the hand, over all records ─────┘                                                  │
//!            ▲                                                                        │
//!            └──────────── the others stay, and are looked at again later ◀───────────┘
//! ```
//!
//! [`Heat`](crate::engine::heat) remembers in bounded memory when and how often records were used. The hand goes over
//! the records in the order of their keys or, if only expiring records may go, over the index of deadlines. A record
//! that was written lately waits among the recent keys; it is looked at when about an eighth of the store has been
//! evicted since, and goes at once if it is colder than the others. That is what keeps a scan from flushing out what is
//! popular.
//!
//! # Who evicts
//!
//! * A thread of its own keeps full stores a little below their limits ([`Brim`]), so that writes find room.
//! * A write that finds no room evicts for itself ([`make_room`](Writer::make_room)): as much as it needs and no more than
//!   [`EVICTED_PER_WRITE_MAX`] records. That is the back-pressure on writers that are faster than the thread.
//!
//! Each removal is a transaction like any other: it is in the journal, changes the counters, and is told to whoever
//! listens, with the event `evicted`.
//!
//! A thread that must not wait for the disk uses only candidates that are in memory. If there are none, its command runs
//! aside.
//!
//! # Sizes
//!
//! A limit of bytes counts compressed records, but a record is compressed by the checkpoint after it was written. Where
//! a limit refuses writes, the size is therefore measured at once when the store is nearly full. A store that evicts is
//! always nearly full, so there a record counts with an estimate until its checkpoint, which is the average of the
//! store's records ([`crate::engine::limits::weigh`]). If the estimate was too low, the store is over its limit for a
//! moment, and the thread evicts.

/// The thread that evicts ahead of writes.
pub mod ahead;
/// Where the candidates come from.
pub mod candidates;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;

use crate::engine::core::handles::Writer;
use crate::engine::error::{Counted, Error, Fault, QuotaExceeded};
use crate::engine::heat::hunt::{Candidate, Recent, Scope};
use crate::engine::journal::Claim;
use crate::engine::lmdb::residence::Wait;
use crate::store::Key;
use crate::store::eviction::{Brim, Order, Policy};

/// The most records that one write evicts. Only a value as large as so many others needs as many.
pub const EVICTED_PER_WRITE_MAX: u64 = 65_536;
/// The number of records that one transaction evicts.
const EVICTED_AT_ONCE: u64 = 16;
/// After so many steps without a victim, there is probably none.
const FRUITLESS_STEPS_MAX: usize = 64;
/// The most bytes of the journal that a removal takes in addition to its key.
const REMOVAL_OVERHEAD_BYTES: usize = 16;
/// How often the log says why nothing could be evicted.
const TOLD_EVERY_MS: u64 = 60_000;

/// What has to be freed.
#[derive(Debug, Clone, Copy, Default)]
struct Need {
    keys: u64,
    bytes: u64,
}

/// What was freed.
#[derive(Debug, Clone, Copy, Default)]
struct Freed {
    keys: u64,
    bytes: u64,
}

impl Need {
    fn is_met_by(self, freed: Freed) -> bool {
        freed.keys >= self.keys && freed.bytes >= self.bytes
    }

    /// How many records have to go for it, if those that went were like the others.
    fn records(self, freed: Freed) -> u64 {
        let keys = self.keys.saturating_sub(freed.keys);
        let bytes = self.bytes.saturating_sub(freed.bytes);
        let bytes_each = freed.bytes.checked_div(freed.keys).unwrap_or(u64::MAX).max(1);
        keys.max(bytes.div_ceil(bytes_each)).max(1)
    }
}

/// What a command has evicted for itself.
#[derive(Debug, Default)]
pub struct Evicted {
    records: u64,
    has_expired: bool,
}

impl Writer<'_> {
    /// Makes room for a command that met a limit: removes records that are due, because the sweeper may be a tenth of a
    /// second late, and then evicts what the limit allows to evict. Returns whether the command should be tried again.
    pub fn make_room(
        &self,
        now_ms: u64,
        exceeded: &QuotaExceeded,
        evicted: &mut Evicted,
    ) -> Result<bool, Error> {
        let QuotaExceeded { scope, counted, used, after, max, eviction, .. } = exceeded;
        let Some(policy) = eviction else { return self.remove_due(now_ms) };
        let is_first = !std::mem::replace(&mut evicted.has_expired, true);
        if is_first && self.remove_due(now_ms)? {
            return Ok(true);
        }
        let excess = after.saturating_sub(*max);
        if after.saturating_sub(*used) > *max {
            self.tell_why(now_ms, exceeded, "what is written is larger than the limit itself");
            return Ok(false);
        }
        if evicted.records >= EVICTED_PER_WRITE_MAX {
            self.tell_why(now_ms, exceeded, "one write evicts no more records");
            return Ok(false);
        }
        let headroom = max - Brim::of(*max).evicts_above;
        // one transaction evicts for the next writes, too, as far as the thread would do so a moment later
        let (need, at_once) = match counted {
            Counted::Bytes => {
                let bytes_each = used.checked_div(self.records(*scope)).unwrap_or(u64::MAX).max(1);
                (Need { keys: 0, bytes: excess }, headroom / bytes_each)
            }
            Counted::Keys | Counted::Stores => (Need { keys: excess, bytes: 0 }, headroom),
        };
        let records_max = EVICTED_PER_WRITE_MAX - evicted.records;
        let freed = self.evict(now_ms, *scope, *policy, need, at_once, records_max)?;
        evicted.records += freed.keys;
        if freed.keys == 0 {
            let why =
                if policy.only_expiring { "no record that expires is left" } else { "no record is left" };
            self.tell_why(now_ms, exceeded, why);
        }
        Ok(freed.keys > 0)
    }

    /// Logs why a write was refused although the limit evicts, but not with every write.
    fn tell_why(&self, now_ms: u64, exceeded: &QuotaExceeded, why: &str) {
        if self.engine.hunts.is_to_be_told(exceeded.scope, now_ms, TOLD_EVERY_MS) {
            tracing::warn!(limit = exceeded.counted.setting(), why, "a write was refused: {exceeded}");
        }
    }

    /// Evicts until a need is met, or until so many records have gone. Each transaction evicts at least `at_once` records,
    /// as far as one can.
    fn evict(
        &self,
        now_ms: u64,
        scope: Scope,
        policy: Policy,
        need: Need,
        at_once: u64,
        records_max: u64,
    ) -> Result<Freed, Error> {
        let (mut freed, mut fruitless) = (Freed::default(), 0);
        while !need.is_met_by(freed) && freed.keys < records_max && fruitless < FRUITLESS_STEPS_MAX {
            let is_hungry = self.engine.hunts.is_hungry(scope, EVICTED_AT_ONCE as usize);
            let is_none = is_hungry && self.find_candidates(now_ms, scope, policy)?;
            let count = need.records(freed).max(at_once).min(EVICTED_AT_ONCE).min(records_max - freed.keys);
            let victims = self.engine.hunts.take_coldest(scope, count as usize);
            if is_none && victims.is_empty() {
                break;
            }
            let gone = self.evict_these(now_ms, scope, policy, victims)?;
            // of the same candidates, others may be there still
            fruitless = if gone.keys == 0 { fruitless + usize::from(is_hungry) } else { 0 };
            freed = Freed { keys: freed.keys + gone.keys, bytes: freed.bytes + gone.bytes };
        }
        let records = self.with_catalog(|catalog| catalog.total().records);
        self.engine.heat.note_evicted(freed.keys, records, now_ms);
        Ok(freed)
    }

    /// Evicts candidates, except those that were used meanwhile.
    fn evict_these(
        &self,
        now_ms: u64,
        scope: Scope,
        policy: Policy,
        victims: Vec<Candidate>,
    ) -> Result<Freed, Error> {
        let generations = self.generations(&victims);
        let (victims, used): (Vec<_>, Vec<_>) = victims.into_iter().partition(|victim| {
            let Some(generation) = generations.get(&victim.key.store) else { return true };
            let is_by_use = matches!(policy.order, Order::Lru | Order::Lfu);
            !is_by_use || self.engine.warmth_of(policy.order, *generation, victim) <= victim.warmth
        });
        for Candidate { key, expires_at_ms, version, .. } in used {
            self.engine.hunts.remember(scope, Recent { key, expires_at_ms, version });
        }
        if victims.is_empty() {
            return Ok(Freed::default());
        }
        let keys: Vec<Key> = victims.iter().map(|victim| victim.key.clone()).collect();
        self.wait_for_room(&keys)?;
        let removed = self.write(now_ms, &keys, |txn| {
            let mut freed = Freed::default();
            for Candidate { key, expires_at_ms, .. } in &victims {
                let Some(meta) = txn.peek(key)? else { continue };
                let is_allowed = match policy {
                    Policy { order: Order::Ttl, .. } => {
                        meta.expires_at_ms.is_some_and(|now| Some(now) <= *expires_at_ms)
                    }
                    Policy { only_expiring, .. } => meta.expires_at_ms.is_some() || !only_expiring,
                };
                if is_allowed && txn.evict(key)? {
                    freed = Freed { keys: freed.keys + 1, bytes: freed.bytes + meta.stored_bytes };
                }
            }
            Ok::<_, Error>(freed)
        });
        let freed = match removed {
            Ok((freed, _)) => freed,
            // a store was dropped meanwhile, or a record can't be read; the others are found again
            Err(Error::NoStore(_) | Error::Fault(Fault::Damaged(_))) => Freed::default(),
            Err(error) => return Err(error),
        };
        self.engine.hunts.evicted.fetch_add(freed.keys, Ordering::Relaxed);
        Ok(freed)
    }

    /// Waits until the journal has room for removals; fails on a thread that must not wait.
    fn wait_for_room(&self, keys: &[Key]) -> Result<(), Error> {
        let bytes = keys.iter().map(|key| key.name.len() + REMOVAL_OVERHEAD_BYTES).sum();
        if self.engine.journal.has_room(bytes, Claim::Removal) {
            return Ok(());
        }
        if self.wait == Wait::No {
            return Err(Fault::Cold.into());
        }
        Ok(self.engine.journal.wait_room(bytes, Claim::Removal)?)
    }
}
