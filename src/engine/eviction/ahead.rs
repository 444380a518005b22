//! Evicts ahead of writes, so that full stores have a little room.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::clock;
use crate::engine::core::Engine;
use crate::engine::eviction::{Freed, Need};
use crate::engine::heat::hunt::Scope;
use crate::engine::state::State;
use crate::store::eviction::{Brim, Policy};

/// How many records the thread evicts before it looks at other stores.
const EVICTED_PER_TURN: u64 = 1_024;
/// How long the thread rests when it can't evict now.
const REST: Duration = Duration::from_millis(100);

/// A store, or the server, that is fuller than it should be.
#[derive(Debug, Clone)]
struct Full {
    scope: Scope,
    policy: Policy,
    need: Need,
    /// By how much it is over its limit; 0 if it is only close to it.
    over: u64,
    label: String,
    /// Nothing in it seems to be compressed.
    is_plain: bool,
}

impl Engine {
    /// The thread that evicts ahead of writes, until the engine closes.
    pub(in crate::engine) fn run_evictions(&self) {
        let (mut lowered, mut rest) = (HashMap::new(), None);
        while !self.room.closes_within(Duration::ZERO) {
            self.heat.alarm.wait(rest);
            rest = self.evict_ahead(&mut lowered);
        }
    }

    /// Evicts a little in each full store. Returns how long to rest; `None`: until the next alarm.
    fn evict_ahead(&self, lowered: &mut HashMap<Scope, String>) -> Option<Duration> {
        let (full, records) = {
            let state = self.state.read();
            self.hunts.retain(&scopes(&state));
            (full(&state), state.catalog.total().records)
        };
        self.heat.grow_for(records);
        tell_of_lowered_limits(&full, lowered);
        if self.sweeps_from_ms.load(Ordering::Relaxed) > clock::steady_ms() {
            return (!full.is_empty()).then_some(REST);
        }
        let mut rest = None;
        for Full { scope, policy, need, is_plain, .. } in full {
            let is_possible = self.room.is_open_for_sweeper(self.memtable_bytes.load(Ordering::Relaxed))
                && !(is_plain && self.waits_for_compression(scope));
            let freed = match is_possible {
                true => self.writer().evict(clock::now_ms(), scope, policy, need, 1, EVICTED_PER_TURN),
                false => Ok(Freed::default()),
            };
            // a fault here comes from the journal or from LMDB, and their own threads report it
            let pause = if freed.is_ok_and(|freed| freed.keys > 0) { Duration::ZERO } else { REST };
            rest = Some(rest.unwrap_or(pause).min(pause));
        }
        rest
    }

    /// Whether a checkpoint, which compresses, is to be waited for before anything is evicted: the first time that a store
    /// is full of records that were never compressed.
    fn waits_for_compression(&self, scope: Scope) -> bool {
        let checkpoint = self.checkpoint.status();
        let (done_before, is_first) = self.hunts.ask_for_checkpoint(scope, checkpoint.done);
        if is_first {
            self.checkpoint.request();
        }
        let is_behind = self.checkpoint.is_behind(self.journal.last());
        is_behind && checkpoint.failure.is_none() && checkpoint.done == done_before
    }
}

/// Whose limits evict.
fn scopes(state: &State) -> HashSet<Scope> {
    let stores = state.catalog.iter().filter(|store| store.quota.eviction().is_some());
    let server = state.server_quota.eviction().map(|_| None);
    stores.map(|store| Some(store.id)).chain(server).collect()
}

/// The stores that are above their brim and, if the server is, the server.
fn full(state: &State) -> Vec<Full> {
    let mut full = Vec::new();
    let total = state.catalog.total();
    let server = state.server_quota;
    let stores = state.catalog.iter().filter_map(|store| {
        let (quota, usage) = (&store.quota, &store.usage);
        let used = [(usage.records, quota.max_keys), (usage.stored_bytes, quota.max_bytes)];
        Some((Some(store.id), quota.eviction()?, used))
    });
    let used = [(total.records, server.max_keys), (total.stored_bytes, server.max_bytes)];
    for (scope, policy, used) in stores.chain(server.eviction().map(|policy| (None, policy, used))) {
        let [keys, bytes] = used.map(|(used, max)| {
            let Some(max) = max else { return (0, 0) };
            let brim = Brim::of(max);
            let need = if used > brim.evicts_above { used - brim.evicts_to } else { 0 };
            // estimates may be a little too low
            (need, if used > max + max / 16 { used - max } else { 0 })
        });
        let used_bytes = used[1].0;
        if keys.0 > 0 || bytes.0 > 0 {
            let store = scope.and_then(|id| state.catalog.get(id));
            let plain_bytes = match store {
                Some(store) => store.usage.plain_bytes,
                None => state.catalog.iter().map(|store| store.usage.plain_bytes).sum(),
            };
            // stored bytes are a little more than plain ones, or much less
            let is_plain = bytes.0 > 0 && used_bytes > plain_bytes / 10 * 9;
            full.push(Full {
                scope,
                policy,
                need: Need { keys: keys.0, bytes: bytes.0 },
                over: keys.1.max(bytes.1),
                label: store.map_or_else(|| "all".to_owned(), |store| store.label()),
                is_plain,
            });
        }
    }
    full
}

/// Logs when a limit is below what is there, and when it is kept again.
fn tell_of_lowered_limits(full: &[Full], lowered: &mut HashMap<Scope, String>) {
    for Full { scope, over, label, .. } in full {
        if *over > 0 && lowered.insert(*scope, label.clone()).is_none() {
            tracing::warn!(
                store = label,
                over,
                "a limit is below what is there; records are evicted in the background until it is kept"
            );
        }
    }
    lowered.retain(|scope, label| {
        let is_over = full.iter().any(|full| full.scope == *scope && full.over > 0);
        if !is_over {
            tracing::info!(store = label, "enough records were evicted: the limit is kept");
        }
        is_over
    });
}
