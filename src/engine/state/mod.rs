//! The state that the engine's one lock protects: the stores, and what has changed since the last checkpoint.
//!
//! Pure data: the journal, LMDB and the clock are the callers'. [`State::apply`] is how every change gets here, from a
//! running command and from the journal at start-up alike.

/// What a transaction is going to do to the state.
pub mod changes;
/// What commands write while they run as one.
pub mod group;
/// The engine's lock, at which everybody else waits while a group runs.
pub mod group_lock;
/// Stores that are close to a limit.
pub mod tight;
/// How the changes of a group are undone.
pub mod undo;
/// Watched keys without a record, for WATCH.
pub mod watch;
/// Changes in memory that are completed or end the process.
pub mod whole;

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::clock;
use crate::engine::effect::Effect;
use crate::engine::heat::Heat;
use crate::engine::journal::Seq;
use crate::engine::memtable::cache::RecordCache;
use crate::engine::memtable::frozen::Frozen;
use crate::engine::memtable::table::{Entry, Layer, Live, Memtable, Name};
use crate::engine::state::group::Group;
use crate::engine::state::group_lock::Occupied;
use crate::engine::state::tight::Tight;
use crate::engine::state::undo::Step;
use crate::engine::state::watch::{Noted, Watches};
use crate::store::eviction::{Order, Policy};
use crate::store::usage::Weight;
use crate::store::{
    Catalog, Definition, Generation, Libraries, ServerQuota, Store, StoreId, Usage, ValueKind,
};

pub struct State {
    pub catalog: Catalog,
    /// Changes since the last checkpoint began.
    pub active: Memtable,
    /// Changes that a checkpoint is writing to LMDB.
    pub frozen: Option<Arc<Frozen>>,
    /// A bounded cache of records that are in LMDB but in neither memtable.
    pub cache: RecordCache,
    /// Whether a generation was retired since the cache was last searched for records of retired generations.
    pub cache_holds_retired: bool,
    /// What the journal had written when the last checkpoint began.
    pub journal_bytes_frozen: u64,
    /// Incremented when a checkpoint is done: what was looked up in LMDB before may no longer be valid.
    pub epoch: u64,
    pub last_generation: Generation,
    /// Generations that were flushed or dropped and that no checkpoint has recorded yet.
    pub retired: Vec<Generation>,
    pub libraries: Libraries,
    /// Whether a library was changed since the last checkpoint began.
    pub has_new_libraries: bool,
    /// What a store without a kind of its own takes.
    pub default_kind: ValueKind,
    pub server_quota: ServerQuota,
    /// Whether writes have to be checked against any limit.
    pub is_bounded: bool,
    /// Whether any limit evicts.
    pub evicts: bool,
    pub heat: Arc<Heat>,
    /// The stores that are so close to a limit that compressed sizes matter.
    pub tight: Tight,
    /// Effects that are going to be one journal entry: see [`crate::engine::transaction::group`].
    pub group: Option<Box<Group>>,
    pub watches: Arc<Watches>,
}

/// Values from this size on are dropped outside the lock.
const LARGE_VALUE_BYTES: usize = 64 * 1024;

/// Large values that a change replaced; dropped outside the lock.
#[derive(Default)]
pub struct Leftovers {
    layers: Vec<Layer>,
    entries: Vec<Entry>,
    group: Option<Box<Group>>,
}

impl Leftovers {
    pub fn take_group(&mut self, group: Box<Group>) {
        self.group = Some(group);
    }
}

impl Occupied for State {
    fn is_occupied(&self) -> bool {
        self.group.is_some()
    }
}

impl State {
    pub fn new(default_kind: ValueKind, cache: RecordCache) -> State {
        State {
            catalog: Catalog::default(),
            active: Memtable::default(),
            frozen: None,
            cache,
            cache_holds_retired: false,
            journal_bytes_frozen: 0,
            epoch: 0,
            last_generation: 0,
            retired: Vec::new(),
            libraries: Libraries::default(),
            has_new_libraries: false,
            default_kind,
            server_quota: ServerQuota::default(),
            is_bounded: false,
            evicts: false,
            heat: Arc::new(Heat::new(clock::now_ms())),
            tight: Tight::default(),
            group: None,
            watches: Arc::default(),
        }
    }

    /// The kind of values that the store takes.
    pub fn kind(&self, store: &Store) -> ValueKind {
        store.kind.unwrap_or(self.default_kind)
    }

    /// The last change of a key since the last finished checkpoint.
    pub fn entry(&self, generation: Generation, key: &[u8]) -> Option<&Entry> {
        self.active
            .get(generation, key)
            .or_else(|| self.frozen.as_ref().and_then(|frozen| frozen.memtable.get(generation, key)))
    }

    /// The value of a record that is in memory.
    pub fn value(&self, generation: Generation, key: &[u8]) -> Option<&Bytes> {
        match self.entry(generation, key) {
            Some(entry) => entry.live.as_ref().map(|live| &live.value),
            None => self.cache.get(generation, key).map(|cached| &cached.value),
        }
    }

    /// An estimate of the memory that changes take which are not in LMDB yet.
    pub fn memtable_bytes(&self) -> usize {
        let libraries_bytes = if self.has_new_libraries { self.libraries.bytes() } else { 0 };
        self.active.bytes()
            + libraries_bytes
            + self.frozen.as_ref().map_or(0, |frozen| frozen.unwritten_bytes())
    }

    /// Makes an effect visible. `replaced` is the size of the record that was at the key of a put or a remove. While a
    /// group is open, what is needed to undo the effect is kept with the group.
    pub fn apply(&mut self, seq: Seq, effect: Effect, replaced: Option<Weight>, leftovers: &mut Leftovers) {
        match effect {
            Effect::Put { generation, key, value, expires_at_ms } => {
                let live = Live::new(value, expires_at_ms);
                self.catalog.change_usage(generation, |usage| {
                    replaced.into_iter().for_each(|weight| usage.subtract(weight));
                    usage.add(live.weight(&key));
                });
                if self.watches.any()
                    && let Some(store) = self.catalog.holding(generation)
                {
                    self.note_for_watchers(Noted::Put(store.id, key.clone()));
                }
                let entry = Entry { version: seq, live: Some(live) };
                self.enter(generation, &key, entry, replaced, leftovers);
            }
            Effect::Remove { generation, key } => {
                self.catalog.change_usage(generation, |usage| {
                    replaced.into_iter().for_each(|weight| usage.subtract(weight));
                });
                self.enter(generation, &key, Entry { version: seq, live: None }, replaced, leftovers);
            }
            Effect::Define { store, generation, definition } => {
                let before = self.catalog.get(store).cloned().map(Box::new);
                self.keep_undo(Step::Define { store, before });
                self.define(seq, store, generation, &definition, Usage::default());
            }
            Effect::Drop { store } => {
                if let Some(store) = self.catalog.remove(store) {
                    self.retire(store, leftovers);
                }
            }
            Effect::Flush { store, generation } => {
                if let Some(mut store) = self.catalog.get(store).cloned() {
                    self.retire(store.clone(), leftovers);
                    store.generation = generation;
                    store.usage = Usage::default();
                    store.born = seq;
                    self.catalog.insert(store);
                    self.last_generation = self.last_generation.max(generation);
                }
            }
            Effect::Swap { a, b } => {
                if let Some(born) = self.swap([a, b], [seq, seq]) {
                    self.keep_undo(Step::Swap { stores: [a, b], born });
                }
            }
            Effect::PutLibrary { name, text } => {
                self.change_libraries(|libraries| libraries.put(seq, name, text));
            }
            Effect::RemoveLibrary { name } => {
                self.change_libraries(|libraries| libraries.remove(seq, &name));
            }
        }
    }

    /// Swaps the contents of two stores, if both exist. Returns the sequence numbers that had given them their contents
    /// before.
    pub fn swap(&mut self, [a, b]: [StoreId; 2], born: [Seq; 2]) -> Option<[Seq; 2]> {
        let (mut a, mut b) = (self.catalog.get(a)?.clone(), self.catalog.get(b)?.clone());
        let before = [a.born, b.born];
        std::mem::swap(&mut a.generation, &mut b.generation);
        std::mem::swap(&mut a.usage, &mut b.usage);
        [a.born, b.born] = born;
        self.catalog.insert(a);
        self.catalog.insert(b);
        Some(before)
    }

    /// Notes the last change of a key. What a checkpoint is about to write of it is outdated then.
    fn enter(
        &mut self,
        generation: Generation,
        key: &[u8],
        entry: Entry,
        replaced: Option<Weight>,
        leftovers: &mut Leftovers,
    ) {
        let before = self.active.insert(generation, key, entry);
        if before.is_none()
            && let Some(frozen) = &self.frozen
            && let Some(Entry { live: Some(live), .. }) = frozen.memtable.get(generation, key)
        {
            live.outdate();
        }
        if let Some(group) = &mut self.group {
            let key = Name::from_slice(key);
            group.undo.keep(Step::Record { generation, key, before, replaced });
        } else if let Some(before) = before
            && before.live.as_ref().is_some_and(|live| live.value.len() >= LARGE_VALUE_BYTES)
        {
            leftovers.entries.push(before);
        }
    }

    fn change_libraries(&mut self, change: impl FnOnce(&mut Libraries)) {
        self.keep_undo(Step::Libraries(self.libraries.clone()));
        change(&mut self.libraries);
        self.has_new_libraries = true;
    }

    fn keep_undo(&mut self, step: Step) {
        if let Some(group) = &mut self.group {
            group.undo.keep(step);
        }
    }

    /// Tells watchers at once or, while a group is open, when the group has succeeded.
    pub fn note_for_watchers(&mut self, noted: Noted) {
        match &mut self.group {
            Some(group) => group.noted.push(noted),
            None => self.watches.note(&noted),
        }
    }

    /// Creates a store, or changes what an existing one is; `usage` is that of a new one.
    pub fn define(
        &mut self,
        seq: Seq,
        id: StoreId,
        generation: Generation,
        definition: &Definition,
        usage: Usage,
    ) {
        let known = self.catalog.get(id).filter(|store| store.generation == generation);
        let store = Store {
            id,
            name: definition.name.as_deref().map(Arc::from),
            kind: definition.kind,
            quota: definition.quota,
            links: Arc::new(definition.links.clone()),
            generation,
            born: known.map_or(seq, |store| store.born),
            usage: known.map_or(usage, |store| store.usage),
        };
        let quota_before = self.catalog.get(id).map(|store| store.quota).unwrap_or_default();
        self.catalog.insert(store);
        self.last_generation = self.last_generation.max(generation);
        if quota_before != definition.quota {
            self.note_bounds();
        }
    }

    pub fn set_server_quota(&mut self, quota: ServerQuota) {
        self.server_quota = quota;
        self.note_bounds();
    }

    pub fn note_bounds(&mut self) {
        self.is_bounded =
            self.server_quota.is_bounded() || self.catalog.iter().any(|store| store.quota.is_bounded());
        if !self.is_bounded {
            // without a limit, writes are not recorded, so everything is looked at again when there is a limit
            self.tight = Tight::default();
        }
        let stores = self.catalog.iter().filter_map(|store| store.quota.eviction());
        let (mut evicts, mut by_frequency) = (false, false);
        for policy in stores.chain(self.server_quota.eviction()) {
            (evicts, by_frequency) = (true, by_frequency || policy.order == Order::Lfu);
        }
        self.evicts = evicts;
        self.heat.switch(evicts, by_frequency);
        if evicts {
            self.heat.alarm.raise();
        }
    }

    /// Whether records of a store count with an estimate until they are compressed: if a limit of bytes evicts whatever
    /// there is, and none refuses writes. A limit that evicts only some records may find none of them, and what is above
    /// it would then stay.
    pub fn estimates(&self, store: &Store) -> bool {
        let evicts_all = |policy: Option<Policy>| policy.is_some_and(|policy| !policy.only_expiring);
        let (quota, server) = (&store.quota, &self.server_quota);
        let limits = [
            (quota.max_bytes, evicts_all(quota.eviction())),
            (server.max_bytes, evicts_all(server.eviction())),
        ];
        let mut evict = limits.iter().filter(|(max, _)| max.is_some()).map(|(_, evicts)| *evicts);
        let mut is_any = false;
        evict.all(|evicts| {
            is_any = true;
            evicts
        }) && is_any
    }

    /// Makes a record in memory count with its compressed size. Does nothing if the record has changed since this
    /// version.
    pub fn note_stored_bytes(&mut self, generation: Generation, key: &[u8], version: Seq, stored_bytes: u64) {
        let State { active, frozen, catalog, .. } = self;
        let entry = active
            .get(generation, key)
            .or_else(|| frozen.as_ref().and_then(|frozen| frozen.memtable.get(generation, key)));
        let Some(Entry { version: current, live: Some(live) }) = entry else { return };
        if *current == version {
            let before = live.weight(key).stored_bytes;
            live.set_stored_bytes(stored_bytes);
            catalog.change_usage(generation, |usage| {
                usage.stored_bytes = usage.stored_bytes.saturating_sub(before) + stored_bytes;
            });
        }
    }

    /// Retires the contents of a store.
    fn retire(&mut self, store: Store, leftovers: &mut Leftovers) {
        self.retired.push(store.generation);
        self.cache_holds_retired = true;
        let layer = self.active.remove_layer(store.generation);
        match &mut self.group {
            Some(group) => group.undo.keep(Step::Retire { store: Box::new(store), layer }),
            None => leftovers.layers.extend(layer),
        }
    }
}
