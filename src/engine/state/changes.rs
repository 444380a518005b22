//! What a transaction is going to do to the state.

use std::cell::Cell;
use std::collections::HashMap;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::effect::Effect;
use crate::engine::events::{Classes, News};
use crate::engine::state::watch::Noted;
use crate::store::usage::Weight;
use crate::store::{Generation, StoreId};

/// What a write transaction is going to do.
#[derive(Default)]
pub struct Changes {
    /// It can't be done where it runs now: it would take long under the lock, or it needs the lock. All its effects are
    /// void.
    pub is_misplaced: Cell<bool>,
    pub effects: SmallVec<[Effect; 1]>,
    /// For each effect, the size of the record that it replaces or removes.
    pub replaced: SmallVec<[Option<Weight>; 1]>,
    /// The last effect on each key, if there are so many that a search would be slow.
    index: Option<HashMap<(Generation, Bytes), usize>>,
    /// Stores that this transaction gave another generation.
    pub moved: Vec<(StoreId, Generation)>,
    pub generations: u64,
    /// Positions of the effects that change nothing but the expiry of a record.
    pub redated: SmallVec<[usize; 1]>,
    pub news: News,
    /// What watchers of keys in swapped stores have to be told.
    pub swapped: Vec<Noted>,
    /// The sizes of records that have been measured, by the position of their effects, in ascending order.
    pub weights: Vec<(usize, u64)>,
}

/// So many effects are searched one by one before an index is made.
const SEARCHED_EFFECTS_MAX: usize = 8;

impl Changes {
    pub fn new(wanted: Classes) -> Changes {
        Changes { news: News::new(wanted), ..Changes::default() }
    }

    pub fn push(&mut self, effect: Effect, replaced: Option<Weight>) {
        if let Effect::Put { generation, key, .. } | Effect::Remove { generation, key } = &effect
            && self.effects.len() >= SEARCHED_EFFECTS_MAX
        {
            let effects = &self.effects;
            let index = self.index.get_or_insert_with(|| index_of(effects));
            index.insert((*generation, key.clone()), effects.len());
        }
        self.effects.push(effect);
        self.replaced.push(replaced);
    }

    /// The size of the record that an effect writes; `None` if it writes none.
    pub fn weight_of_put(&self, at: usize) -> Option<Weight> {
        let Some(Effect::Put { key, value, expires_at_ms, .. }) = self.effects.get(at) else { return None };
        let plain = Weight::plain(key, value.len(), expires_at_ms.is_some());
        let known = self.weights.binary_search_by_key(&at, |(at, _)| *at).ok();
        let stored_bytes = known.and_then(|known| self.weights.get(known)).map(|(_, bytes)| *bytes);
        Some(Weight { stored_bytes: stored_bytes.unwrap_or(plain.stored_bytes), ..plain })
    }

    /// Whether an effect changes nothing but the expiry of a record.
    pub fn is_redated(&self, at: usize) -> bool {
        self.redated.contains(&at)
    }

    /// The sizes of all records that have been measured.
    pub fn take_stored_sizes(&mut self) -> Vec<(Generation, Bytes, u64)> {
        let weights = std::mem::take(&mut self.weights);
        let sizes = weights.into_iter().filter_map(|(at, bytes)| match self.effects.get(at)? {
            Effect::Put { generation, key, .. } => Some((*generation, key.clone(), bytes)),
            _ => None,
        });
        sizes.collect()
    }

    /// Whether an effect is the last one on its key.
    pub fn is_last_on_its_key(&self, at: usize) -> bool {
        let Some(effect @ Effect::Put { generation, key, .. }) = self.effects.get(at) else { return false };
        self.last(*generation, key).is_some_and(|last| std::ptr::eq(last, effect))
    }

    pub fn last(&self, of: Generation, name: &Bytes) -> Option<&Effect> {
        if let Some(index) = &self.index {
            return index.get(&(of, name.clone())).and_then(|at| self.effects.get(*at));
        }
        self.effects.iter().rev().find(|effect| match effect {
            Effect::Put { generation, key, .. } | Effect::Remove { generation, key } => {
                *generation == of && key == name
            }
            _ => false,
        })
    }
}

/// The last effect on each key.
fn index_of(effects: &[Effect]) -> HashMap<(Generation, Bytes), usize> {
    let keys = effects.iter().enumerate().filter_map(|(at, effect)| match effect {
        Effect::Put { generation, key, .. } | Effect::Remove { generation, key } => {
            Some(((*generation, key.clone()), at))
        }
        _ => None,
    });
    keys.collect()
}
