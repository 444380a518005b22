//! Limits that are nearly reached: logs a warning when 80 % are used, and again if usage fell below that in between.
//!
//! Checked on the sweeper's thread, so that writers pay nothing for it. A limit that is crossed and left again within a
//! tenth of a second is not noticed.

use std::collections::HashSet;

use crate::engine::core::Engine;
use crate::engine::core::handles::Reader;
use crate::engine::state::State;
use crate::store::quota::is_nearly_full;
use crate::store::{Store, StoreId};

/// Whose limit, and which. No store: the server.
type Limit = (Option<StoreId>, &'static str);

/// Limits for which a warning was logged.
#[derive(Default)]
pub(in crate::engine) struct Warned(HashSet<Limit>);

/// A limit, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// None: the server.
    pub store: Option<StoreId>,
    pub setting: &'static str,
    pub used: u64,
    pub max: u64,
}

impl Reader<'_> {
    /// The limits of which at least 80 % are used.
    pub fn nearly_full(&self) -> Vec<Fill> {
        nearly_full(&self.state())
    }
}

impl Engine {
    /// Logs warnings for new ones, and forgets stores that have room again.
    pub(in crate::engine) fn watch_limits(&self, warned: &mut Warned) {
        let fills: Vec<(Fill, String)> = {
            let state = self.state.read();
            if !state.is_bounded && warned.0.is_empty() {
                return;
            }
            let label = |id| state.catalog.get(id).map(|store| store.label()).unwrap_or_default();
            nearly_full(&state)
                .into_iter()
                .map(|fill| (fill.clone(), fill.store.map(label).unwrap_or_default()))
                .collect()
        };
        warned.0.retain(|limit| fills.iter().any(|(fill, _)| (fill.store, fill.setting) == *limit));
        for (Fill { store, setting, used, max }, label) in fills {
            if warned.0.insert((store, setting)) {
                let what = "a limit is nearly reached; writes that add to it are refused beyond it";
                match store {
                    Some(_) => tracing::warn!(store = label, limit = setting, used, max, "{what}"),
                    None => tracing::warn!(limit = setting, used, max, "{what}"),
                }
            }
        }
        self.loosen();
    }
}

fn nearly_full(state: &State) -> Vec<Fill> {
    if !state.is_bounded {
        return Vec::new();
    }
    let (quota, total) = (state.server_quota, state.catalog.total());
    let mut limits = vec![(None, "max-stores", total.named, quota.max_stores)];
    // what evicts is meant to be full
    if quota.evict.is_none() {
        limits.push((None, "max-keys", total.records, quota.max_keys));
        limits.push((None, "max-bytes", total.stored_bytes, quota.max_bytes));
    }
    let refuses = |store: &&Store| store.quota.is_bounded() && store.quota.evict.is_none();
    for store in state.catalog.iter().filter(refuses) {
        limits.push((Some(store.id), "max-keys", store.usage.records, store.quota.max_keys));
        limits.push((Some(store.id), "max-bytes", store.usage.stored_bytes, store.quota.max_bytes));
    }
    let nearly_full = limits.into_iter().filter(|(.., used, max)| is_nearly_full(*used, *max));
    nearly_full
        .filter_map(|(store, setting, used, max)| Some(Fill { store, setting, used, max: max? }))
        .collect()
}
