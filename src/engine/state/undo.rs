//! What is needed to undo the changes of a group.
//!
//! A group ([`crate::engine::transaction::group`]) changes the engine's state while it runs, so that its own commands see what it did. Only
//! at its end is it known whether the journal accepts its entry. If not, memory must not hold anything that the journal
//! does not: every change is undone, the last one first, and the state is what it was before the group.
//!
//! Three things are not undone, because they are true or harmless without the group: records that were measured or read
//! into the cache, and keys that wait to be measured.

use crate::engine::journal::Seq;
use crate::engine::memtable::table::{Entry, Layer, Name};
use crate::engine::state::State;
use crate::store::usage::Weight;
use crate::store::{Generation, Libraries, Store, StoreId};

/// The changes of a group, and the counters of the state before it.
pub struct Undo {
    steps: Vec<Step>,
    last_generation: Generation,
    next_store: StoreId,
}

/// What one change replaced.
pub enum Step {
    /// What the active memtable knew of a key, and the size of the record that was there, in memory or in LMDB.
    Record { generation: Generation, key: Name, before: Option<Entry>, replaced: Option<Weight> },
    /// A store as it was before it was flushed or dropped, and what the active memtable knew of its contents.
    Retire { store: Box<Store>, layer: Option<Layer> },
    /// The sequence numbers that had given two stores their contents before they were swapped.
    Swap { stores: [StoreId; 2], born: [Seq; 2] },
    /// A store before it was changed; none if it was created.
    Define { store: StoreId, before: Option<Box<Store>> },
    /// The libraries of functions before one of them was changed.
    Libraries(Libraries),
}

impl Undo {
    pub fn new(state: &State) -> Undo {
        Undo {
            steps: Vec::new(),
            last_generation: state.last_generation,
            next_store: state.catalog.next_id(),
        }
    }

    pub fn keep(&mut self, step: Step) {
        self.steps.push(step);
    }
}

impl State {
    /// Undoes what a group changed. The group is closed already.
    pub fn take_back(&mut self, undo: Undo) {
        let changes_nothing = undo.steps.is_empty();
        for step in undo.steps.into_iter().rev() {
            match step {
                Step::Record { generation, key, before, replaced } => {
                    self.take_back_record(generation, &key, before, replaced);
                }
                Step::Retire { store, layer } => {
                    self.retired.pop();
                    let generation = store.generation;
                    if let Some(layer) = layer {
                        self.active.restore_layer(generation, layer);
                    }
                    self.catalog.insert(*store);
                    self.weigh_anew(generation);
                }
                Step::Swap { stores, born } => {
                    let [a, b] = stores;
                    let [born_a, born_b] = born;
                    self.swap([a, b], [born_a, born_b]);
                }
                Step::Define { store, before } => {
                    let usage = self.catalog.get(store).map(|store| store.usage);
                    self.catalog.remove(store);
                    if let Some(mut before) = before {
                        // records may have been weighed since
                        before.usage = usage.unwrap_or(before.usage);
                        self.catalog.insert(*before);
                    }
                }
                Step::Libraries(before) => self.libraries = before,
            }
        }
        if !changes_nothing {
            self.last_generation = undo.last_generation;
            self.catalog.restore_next_id(undo.next_store);
            self.note_bounds();
        }
    }

    fn take_back_record(
        &mut self,
        generation: Generation,
        key: &Name,
        before: Option<Entry>,
        replaced: Option<Weight>,
    ) {
        let was_new = before.is_none();
        let taken = self.active.take_back(generation, key, before);
        let put = taken.and_then(|entry| entry.live).map(|live| live.weight(key));
        self.catalog.change_usage(generation, |usage| {
            put.into_iter().for_each(|weight| usage.subtract(weight));
            replaced.into_iter().for_each(|weight| usage.add(weight));
        });
        if was_new
            && let Some(frozen) = &self.frozen
            && let Some(Entry { live: Some(live), .. }) = frozen.memtable.get(generation, key)
        {
            live.renew();
        }
        self.weigh_key_anew(generation, key);
    }
}
