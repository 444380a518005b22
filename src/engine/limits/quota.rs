//! Limits: decides whether what a transaction is about to do fits.
//!
//! The transaction is judged as a whole, under the lock, before anything of it happens, by what each store and all
//! stores together would hold afterwards. So a RENAME in a full store works, and an MSET is refused as one. A write
//! that does not grow the store is never refused, even above a limit that was lowered; nor is another expiry of an
//! unchanged record, though it may take a few bytes. Removals are not judged at all.
//!
//! Bytes are those after compression. A record that no checkpoint has compressed yet counts with its uncompressed size,
//! which is more than its final one. Before a write is refused, everything that could still shrink is therefore
//! measured ([`crate::engine::limits::weigh`]). Judging is pure, and allocates nothing while a transaction concerns one or two stores.

use smallvec::SmallVec;

use crate::engine::effect::Effect;
use crate::engine::error::{Counted, QuotaExceeded};
use crate::engine::state::State;
use crate::engine::state::changes::Changes;
use crate::engine::state::tight::Scope;
use crate::store::eviction::Policy;
use crate::store::usage::Weight;
use crate::store::{Generation, Quota, Store, StoreId, Usage};

/// A limit that a transaction would exceed.
#[derive(Debug)]
pub(in crate::engine) struct Excess {
    pub scope: Scope,
    /// Compressed sizes could make it fit.
    pub is_of_bytes: bool,
    pub exceeded: QuotaExceeded,
}

/// What a transaction would make of the stores that it changes.
#[derive(Default)]
struct Outlook<'s> {
    stores: SmallVec<[Prospect<'s>; 2]>,
    new_names: u64,
}

struct Prospect<'s> {
    store: &'s Store,
    generation: Generation,
    quota: Quota,
    records: u64,
    stored_bytes: u64,
    /// The growth of records that only got another expiry.
    excused_bytes: u64,
    /// It may grow.
    fills: bool,
}

/// Returns the first limit that a transaction would exceed. A store over its limit still takes writes that do not grow
/// it; as long as sizes are not final (`is_weighed` is false), that can't be decided.
pub(in crate::engine) fn judge(
    state: &State,
    changes: &Changes,
    is_weighed: &dyn Fn(Scope) -> bool,
) -> Result<(), Excess> {
    let mut outlook = Outlook::default();
    for (at, effect) in changes.effects.iter().enumerate() {
        let (put, replaced) = (changes.weight_of_put(at), changes.replaced[at]);
        outlook.follow(state, effect, put, replaced, changes.is_redated(at));
    }
    outlook.stores.iter().try_for_each(|prospect| prospect.judge(is_weighed))?;
    outlook.judge_server(state, is_weighed)
}

impl<'s> Outlook<'s> {
    fn follow(
        &mut self,
        state: &'s State,
        effect: &Effect,
        put: Option<Weight>,
        replaced: Option<Weight>,
        is_redated: bool,
    ) {
        match effect {
            Effect::Put { generation, .. } | Effect::Remove { generation, .. } => {
                let Some(prospect) = self.holding(state, *generation) else { return };
                if let Some(weight) = replaced {
                    prospect.records = prospect.records.saturating_sub(1);
                    prospect.stored_bytes = prospect.stored_bytes.saturating_sub(weight.stored_bytes);
                }
                if let Some(weight) = put {
                    prospect.fills = true;
                    prospect.records += 1;
                    prospect.stored_bytes += weight.stored_bytes;
                }
                if is_redated && let (Some(put), Some(replaced)) = (put, replaced) {
                    prospect.excused_bytes += put.stored_bytes.saturating_sub(replaced.stored_bytes);
                }
            }
            Effect::Define { store, definition, .. } => match self.of(state, *store) {
                Some(prospect) => prospect.quota = definition.quota,
                None => self.new_names += u64::from(definition.name.is_some()),
            },
            Effect::Drop { store } => self.empty(state, *store, 0),
            Effect::Flush { store, generation } => self.empty(state, *store, *generation),
            Effect::Swap { a, b } => self.swap(state, *a, *b),
            // the limits are those of stores
            Effect::PutLibrary { .. } | Effect::RemoveLibrary { .. } => {}
        }
    }

    fn empty(&mut self, state: &'s State, store: StoreId, generation: Generation) {
        if let Some(prospect) = self.of(state, store) {
            (prospect.generation, prospect.records, prospect.stored_bytes) = (generation, 0, 0);
        }
    }

    fn swap(&mut self, state: &'s State, a: StoreId, b: StoreId) {
        let held =
            |prospect: &mut Prospect<'_>| (prospect.generation, prospect.records, prospect.stored_bytes);
        let (Some(of_a), Some(of_b)) = (self.of(state, a).map(held), self.of(state, b).map(held)) else {
            return;
        };
        for (store, held) in [(a, of_b), (b, of_a)] {
            if let Some(prospect) = self.of(state, store) {
                prospect.fills = true;
                (prospect.generation, prospect.records, prospect.stored_bytes) = held;
            }
        }
    }

    fn holding(&mut self, state: &'s State, generation: Generation) -> Option<&mut Prospect<'s>> {
        match self.stores.iter().position(|prospect| prospect.generation == generation) {
            Some(at) => self.stores.get_mut(at),
            None => self.of(state, state.catalog.holding(generation)?.id),
        }
    }

    fn of(&mut self, state: &'s State, id: StoreId) -> Option<&mut Prospect<'s>> {
        let at = match self.stores.iter().position(|prospect| prospect.store.id == id) {
            Some(at) => at,
            None => {
                self.stores.push(Prospect::new(state.catalog.get(id)?));
                self.stores.len() - 1
            }
        };
        self.stores.get_mut(at)
    }

    fn judge_server(&self, state: &State, is_weighed: &dyn Fn(Scope) -> bool) -> Result<(), Excess> {
        let quota = state.server_quota;
        if !quota.is_bounded() {
            return Ok(());
        }
        let total = state.catalog.total();
        let named = total.named + self.new_names;
        if let Some(max) = quota.max_stores.filter(|max| self.new_names > 0 && named > *max) {
            let exceeded = QuotaExceeded {
                store: None,
                scope: None,
                counted: Counted::Stores,
                used: total.named,
                after: named,
                max,
                eviction: None,
            };
            return Err(Excess { scope: Scope::Server, is_of_bytes: false, exceeded });
        }
        if !self.stores.iter().any(|prospect| prospect.fills) {
            return Ok(());
        }
        let before = |count: fn(&Usage) -> u64| -> u64 {
            self.stores.iter().map(|prospect| count(&prospect.store.usage)).sum()
        };
        let records: u64 = self.stores.iter().map(|prospect| prospect.records).sum();
        let records = (total.records + records).saturating_sub(before(|usage| usage.records));
        let stored_bytes: u64 = self.stores.iter().map(|prospect| prospect.stored_bytes).sum();
        let stored_bytes =
            (total.stored_bytes + stored_bytes).saturating_sub(before(|usage| usage.stored_bytes));
        let excused_bytes = self.stores.iter().map(|prospect| prospect.excused_bytes).sum();
        let (scope, scope_before) = (Scope::Server, Scope::Server);
        let eviction = quota.eviction();
        let side = Side { scope, scope_before, is_weighed, excused_bytes, store: None, eviction };
        side.judge(total.records, records, quota.max_keys, Counted::Keys)?;
        side.judge(total.stored_bytes, stored_bytes, quota.max_bytes, Counted::Bytes)
    }
}

impl<'s> Prospect<'s> {
    fn new(store: &'s Store) -> Prospect<'s> {
        let Store { generation, quota, usage, .. } = store;
        let (records, stored_bytes) = (usage.records, usage.stored_bytes);
        let (generation, quota) = (*generation, *quota);
        Prospect { store, generation, quota, records, stored_bytes, excused_bytes: 0, fills: false }
    }

    fn judge(&self, is_weighed: &dyn Fn(Scope) -> bool) -> Result<(), Excess> {
        if !self.fills || !self.quota.is_bounded() {
            return Ok(());
        }
        let side = Side {
            scope: Scope::Store(self.generation),
            scope_before: Scope::Store(self.store.generation),
            is_weighed,
            excused_bytes: self.excused_bytes,
            store: Some(self.store),
            eviction: self.quota.eviction(),
        };
        side.judge(self.store.usage.records, self.records, self.quota.max_keys, Counted::Keys)?;
        side.judge(self.store.usage.stored_bytes, self.stored_bytes, self.quota.max_bytes, Counted::Bytes)
    }
}

/// A store or the server, as far as its refusals go.
struct Side<'a> {
    /// The store to which the bytes count from now on.
    scope: Scope,
    /// The store to which the bytes counted before: another one, if contents are swapped.
    scope_before: Scope,
    is_weighed: &'a dyn Fn(Scope) -> bool,
    excused_bytes: u64,
    /// `None`: the server.
    store: Option<&'a Store>,
    /// What may be evicted. Sizes are estimated then, and are not going to be measured.
    eviction: Option<Policy>,
}

impl Side<'_> {
    fn judge(&self, before: u64, after: u64, max: Option<u64>, counted: Counted) -> Result<(), Excess> {
        let Some(max) = max.filter(|max| after > *max) else { return Ok(()) };
        let is_of_bytes = counted == Counted::Bytes;
        let is_weighed = |scope: &Scope| self.eviction.is_some() || (self.is_weighed)(*scope);
        let unweighed = [self.scope, self.scope_before].into_iter().find(|scope| !is_weighed(scope));
        let adds_nothing = if is_of_bytes {
            after.saturating_sub(self.excused_bytes) <= before && unweighed.is_none()
        } else {
            after <= before
        };
        if adds_nothing {
            return Ok(());
        }
        let exceeded = QuotaExceeded {
            store: self.store.map(Store::label),
            scope: self.store.map(|store| store.id),
            counted,
            used: before,
            after,
            max,
            eviction: self.eviction,
        };
        Err(Excess { scope: unweighed.unwrap_or(self.scope), is_of_bytes, exceeded })
    }
}
