//! Notes what is written, for eviction: that records are used, which are new, and when a limit comes close.

use bytes::Bytes;

use crate::engine::clock;
use crate::engine::core::Engine;
use crate::engine::effect::Effect;
use crate::engine::heat::hunt::{Recent, Scope};
use crate::engine::journal::Seq;
use crate::engine::state::State;
use crate::engine::state::changes::Changes;
use crate::store::eviction::{Brim, Policy};
use crate::store::{Key, Store};

impl Engine {
    /// Called under the lock, before the effects are applied, and only if any limit evicts.
    pub(super) fn note_uses(&self, state: &State, changes: &Changes, seq: Seq) {
        let now_ms = clock::now_ms();
        for (effect, replaced) in changes.effects.iter().zip(&changes.replaced) {
            let Effect::Put { generation, key, expires_at_ms, .. } = effect else { continue };
            let Some(store) = state.catalog.holding(*generation) else { continue };
            self.heat.touch(*generation, key, now_ms);
            for (scope, policy) in evicting(state, store) {
                // a record that was there already is remembered, or was
                if replaced.is_none() && (expires_at_ms.is_some() || !policy.only_expiring) {
                    let key = Key::new(store.id, Bytes::copy_from_slice(key));
                    let recent = Recent { key, expires_at_ms: *expires_at_ms, version: seq };
                    self.hunts.remember(scope, recent);
                }
            }
            if is_full(state, store) || self.heat.is_too_small_for(state.catalog.total().records) {
                self.heat.alarm.raise();
            }
        }
    }
}

/// The limits that may evict records of a store.
fn evicting(state: &State, store: &Store) -> impl Iterator<Item = (Scope, Policy)> + use<> {
    let of_store = store.quota.eviction().map(|policy| (Some(store.id), policy));
    let of_server = state.server_quota.eviction().map(|policy| (None, policy));
    of_store.into_iter().chain(of_server)
}

/// Whether anything has to be evicted from the store, or from all, so that writes find room.
fn is_full(state: &State, store: &Store) -> bool {
    let is_above = |used: u64, max: Option<u64>| max.is_some_and(|max| used > Brim::of(max).evicts_above);
    let (quota, usage) = (&store.quota, &store.usage);
    let (server, total) = (&state.server_quota, state.catalog.total());
    quota.evict.is_some()
        && (is_above(usage.records, quota.max_keys) || is_above(usage.stored_bytes, quota.max_bytes))
        || server.evict.is_some()
            && (is_above(total.records, server.max_keys) || is_above(total.stored_bytes, server.max_bytes))
}
