//! What a command sees of the engine: the keys that it declared, and nothing else.
//!
//! A command is a function of the transaction that it gets: the time is [`now_ms`](ReadTxn::now_ms), and the records
//! are those at its keys. It doesn't know whether a record is in memory or on disk, and it can't wait. This allows for
//! other engines: an embedded one answers from its memory map, and a remote one can fetch the declared keys in one
//! round trip, run the same function, and submit its effects.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::core::handles::Reader;
use crate::engine::effect::Effect;
use crate::engine::error::{Error, Fault};
use crate::engine::events::change::{Old, What};
use crate::engine::events::{Classes, Event, Listening, News, kept};
use crate::engine::heat::Use;
use crate::engine::journal::Seq;
use crate::engine::lmdb::DiskRecord;
use crate::engine::memtable::cache::Cached;
use crate::engine::memtable::table::Entry;
use crate::engine::state::State;
use crate::engine::state::changes::Changes;
use crate::engine::state::watch::Noted;
use crate::limits::{ASIDE_BYTES, KEY_BYTES_MAX, REPLY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::record::dictionary::Dictionary;
use crate::store::Definition;
use crate::store::usage::Weight;
use crate::store::{Generation, Key, Libraries, Store, StoreId, Value, ValueKind};

/// A record as a command sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub value: Bytes,
    pub expires_at_ms: Option<u64>,
    /// The journal sequence number of its last change.
    pub version: Seq,
}

impl Record {
    fn cached(self, stored_bytes: u64) -> Cached {
        let Record { value, expires_at_ms, version } = self;
        Cached { value, expires_at_ms, version, stored_bytes }
    }
}

/// What is known of a record without reading its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub value_bytes: usize,
    pub expires_at_ms: Option<u64>,
    pub version: Seq,
    /// Key and record as they are stored.
    pub stored_bytes: u64,
}

/// What happens to a record's expiry when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Not specified: none, or the store's default.
    Never,
    /// No expiry, whatever the store's default is.
    Persist,
    /// At a point in time, in milliseconds since 1970. If it is in the past, the record is removed instead.
    At(u64),
    /// As it was.
    Keep,
}

impl From<Option<u64>> for Expiry {
    fn from(expires_at_ms: Option<u64>) -> Expiry {
        expires_at_ms.map_or(Expiry::Persist, Expiry::At)
    }
}

/// A value in memory: owned, or borrowed by a thread that holds the engine's lock. Owning one changes a reference count
/// that other threads change, too.
#[derive(Debug, Clone)]
pub(in crate::engine) enum Held<'t> {
    Owned(Bytes),
    Lent(&'t Bytes),
}

impl<'t> Held<'t> {
    pub(in crate::engine) fn own(value: &Bytes) -> Held<'t> {
        Held::Owned(value.clone())
    }

    fn bytes(&self) -> &Bytes {
        match self {
            Held::Owned(value) => value,
            Held::Lent(value) => value,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Held::Owned(value) => value,
            Held::Lent(value) => value.clone(),
        }
    }
}

/// The record at a key, expired or not.
#[derive(Debug, Clone)]
pub(in crate::engine) enum Found<'t> {
    Absent,
    Memory { value: Held<'t>, expires_at_ms: Option<u64>, version: Seq, weight: Weight },
    Disk(DiskRecord<'t>),
}

impl<'t> Found<'t> {
    /// What an entry of the memtable says.
    pub(in crate::engine) fn of_entry<'s>(
        key: &[u8],
        entry: &'s Entry,
        hold: impl FnOnce(&'s Bytes) -> Held<'t>,
    ) -> Found<'t> {
        match &entry.live {
            None => Found::Absent,
            Some(live) => Found::Memory {
                value: hold(&live.value),
                expires_at_ms: live.expires_at_ms,
                version: entry.version,
                weight: live.weight(key),
            },
        }
    }

    /// What the cache has from LMDB.
    pub(in crate::engine) fn of_cached<'s>(
        key: &[u8],
        cached: &'s Cached,
        hold: impl FnOnce(&'s Bytes) -> Held<'t>,
    ) -> Found<'t> {
        let Cached { value, expires_at_ms, version, stored_bytes } = cached;
        let plain = Weight::plain(key, value.len(), expires_at_ms.is_some());
        let weight = Weight { stored_bytes: *stored_bytes, ..plain };
        Found::Memory { value: hold(value), expires_at_ms: *expires_at_ms, version: *version, weight }
    }

    pub(in crate::engine) fn of_disk(record: Option<DiskRecord<'t>>) -> Found<'t> {
        record.map_or(Found::Absent, Found::Disk)
    }

    fn expires_at_ms(&self) -> Option<u64> {
        match self {
            Found::Absent => None,
            Found::Memory { expires_at_ms, .. } => *expires_at_ms,
            Found::Disk(record) => record.view.expires_at_ms,
        }
    }

    fn is_live(&self, now_ms: u64) -> bool {
        !matches!(self, Found::Absent) && self.expires_at_ms().is_none_or(|deadline| deadline > now_ms)
    }

    /// Absent from the instant of its expiry on.
    pub(in crate::engine) fn unexpired(self, now_ms: u64) -> Found<'t> {
        if self.is_live(now_ms) { self } else { Found::Absent }
    }

    /// The value, for listeners that are told that it changes.
    fn old(&self, generation: Generation, key: &[u8]) -> Option<Old> {
        match self {
            Found::Absent => None,
            Found::Memory { value, .. } => Some(Old::Plain(value.bytes().clone())),
            Found::Disk(record) => Some(Old::Stored {
                generation,
                record: Bytes::copy_from_slice(record.bytes),
                // a value that can't be read is reported to whoever reads it
                dictionary: record.dictionary(generation, key).ok().flatten().map(Dictionary::into_owned),
            }),
        }
    }

    pub(in crate::engine) fn weight(&self, key: &[u8]) -> Option<Weight> {
        match self {
            Found::Absent => None,
            Found::Memory { weight, .. } => Some(*weight),
            Found::Disk(record) => Some(record.weight(key)),
        }
    }

    pub(in crate::engine) fn meta(&self, key: &[u8]) -> Option<Meta> {
        match self {
            Found::Absent => None,
            Found::Memory { value, expires_at_ms, version, weight } => Some(Meta {
                value_bytes: value.bytes().len(),
                expires_at_ms: *expires_at_ms,
                version: *version,
                stored_bytes: weight.stored_bytes,
            }),
            Found::Disk(record) => Some(Meta {
                value_bytes: record.view.plain_len,
                expires_at_ms: record.view.expires_at_ms,
                version: record.view.version,
                stored_bytes: record.weight(key).stored_bytes,
            }),
        }
    }

    /// The record with its value, checked and decompressed.
    pub(in crate::engine) fn record(
        self,
        generation: Generation,
        key: &[u8],
    ) -> Result<Option<Record>, Fault> {
        Ok(match self {
            Found::Absent => None,
            Found::Memory { value, expires_at_ms, version, .. } => {
                Some(Record { value: value.into_bytes(), expires_at_ms, version })
            }
            Found::Disk(record) => Some(Record {
                value: record.value(generation, key)?,
                expires_at_ms: record.view.expires_at_ms,
                version: record.view.version,
            }),
        })
    }
}

/// A declared key and the record there.
pub(in crate::engine) struct Declared<'t> {
    pub(in crate::engine) generation: Generation,
    pub(in crate::engine) name: &'t Bytes,
    pub(in crate::engine) found: Found<'t>,
}

/// The declared keys of a transaction, in the order in which they were declared.
#[derive(Default)]
pub(in crate::engine) struct DeclaredKeys<'t> {
    keys: SmallVec<[Declared<'t>; 1]>,
    /// The probable position of the next key that is asked for: commands use their keys in the order in which they
    /// declared them.
    next: Cell<usize>,
    /// An index of positions by key, made when many keys are asked for in another order. Keys that are not in memory
    /// are declared after those that are.
    index: OnceCell<Places<'t>>,
}

/// Positions of declared keys.
type Places<'t> = HashMap<(Generation, &'t [u8]), usize, foldhash::fast::RandomState>;

/// So many declared keys are searched one by one before an index is made.
const SEARCHED_KEYS_MAX: usize = 8;

impl<'t> DeclaredKeys<'t> {
    pub(in crate::engine) fn push(&mut self, declared: Declared<'t>) {
        self.keys.push(declared);
    }

    /// Whether there is much to decompress or, for a command that scans values, to look at.
    fn are_long(&self, goes_through_values: bool) -> bool {
        let bytes = |declared: &Declared<'t>| match &declared.found {
            Found::Memory { value, .. } if goes_through_values => value.bytes().len(),
            Found::Disk(record) => record.view.plain_len,
            Found::Memory { .. } | Found::Absent => 0,
        };
        self.keys.iter().map(bytes).sum::<usize>() > ASIDE_BYTES
    }

    fn get(&self, generation: Generation, name: &[u8]) -> Result<&Declared<'t>, Error> {
        let is_it = |declared: &Declared<'_>| declared.generation == generation && declared.name == name;
        let next = self.next.get();
        let at = match self.keys.get(next) {
            Some(declared) if is_it(declared) => next,
            _ if self.keys.len() <= SEARCHED_KEYS_MAX => {
                self.keys.iter().position(is_it).ok_or(Error::Undeclared)?
            }
            _ => {
                let place =
                    |(at, declared): (usize, &Declared<'t>)| ((declared.generation, &declared.name[..]), at);
                let index = self.index.get_or_init(|| self.keys.iter().enumerate().map(place).collect());
                *index.get(&(generation, name)).ok_or(Error::Undeclared)?
            }
        };
        self.next.set(at + 1);
        self.keys.get(at).ok_or(Error::Undeclared)
    }
}

/// Reads the declared keys, all as of one instant.
pub struct ReadTxn<'t> {
    now_ms: u64,
    /// The generation of each store that a key was declared in.
    stores: SmallVec<[(StoreId, Generation); 1]>,
    keys: &'t [Key],
    declared: DeclaredKeys<'t>,
    reader: Reader<'t>,
    /// The epoch in which LMDB was read.
    epoch: u64,
    /// Bytes that were decompressed for this reply.
    decompressed_bytes: Cell<usize>,
    /// Long values that were decompressed, for when their key is declared again.
    decompressed: RefCell<HashMap<(Generation, &'t [u8]), Record>>,
}

/// Values from this length on are not decompressed twice for one command.
const KEPT_VALUE_BYTES: usize = 64 * 1024;

impl<'t> ReadTxn<'t> {
    pub(in crate::engine) fn new(
        now_ms: u64,
        stores: SmallVec<[(StoreId, Generation); 1]>,
        keys: &'t [Key],
        declared: DeclaredKeys<'t>,
        reader: Reader<'t>,
        epoch: u64,
    ) -> ReadTxn<'t> {
        let (decompressed_bytes, decompressed) = (Cell::new(0), RefCell::default());
        ReadTxn { now_ms, stores, keys, declared, reader, epoch, decompressed_bytes, decompressed }
    }

    /// The first declared key.
    pub fn key(&self) -> Result<&'t Key, Error> {
        self.keys.first().ok_or(Error::Undeclared)
    }

    /// Milliseconds since 1970: the one time of the whole transaction.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The record at a key, with its value.
    pub fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let declared = self.declared(key)?;
        let found = declared.found.clone().unexpired(self.now_ms);
        let Found::Disk(on_disk) = &found else { return Ok(found.record(declared.generation, &key.name)?) };
        let (stored_bytes, plain_bytes) = (on_disk.weight(&key.name).stored_bytes, on_disk.view.plain_len);
        let place = (declared.generation, &declared.name[..]);
        if plain_bytes >= KEPT_VALUE_BYTES
            && let Some(record) = self.decompressed.borrow().get(&place)
        {
            return Ok(Some(record.clone()));
        }
        self.spend(plain_bytes)?;
        let record = found.record(declared.generation, &key.name)?;
        if let Some(record) = &record {
            if plain_bytes >= KEPT_VALUE_BYTES && self.declared.keys.len() > 1 {
                self.decompressed.borrow_mut().insert(place, record.clone());
            }
            self.reader.remember(
                self.epoch,
                declared.generation,
                &key.name,
                record.clone().cached(stored_bytes),
            );
        }
        Ok(record)
    }

    /// Counts bytes that are decompressed or made for the reply; fails when they are too many.
    pub fn spend(&self, bytes: usize) -> Result<(), Error> {
        let all = self.decompressed_bytes.get().saturating_add(bytes);
        if all > REPLY_BYTES_MAX {
            return Err(Error::ReplyTooLong);
        }
        self.decompressed_bytes.set(all);
        Ok(())
    }

    /// The bytes that were [spent](ReadTxn::spend) on the reply.
    pub fn spent_bytes(&self) -> usize {
        self.decompressed_bytes.get()
    }

    /// Whether a command on these keys is too much work for a thread that has others to serve.
    pub fn is_long(&self, goes_through_values: bool) -> bool {
        self.declared.are_long(goes_through_values)
    }

    /// What is known of the record at a key without reading its value.
    pub fn peek(&self, key: &Key) -> Result<Option<Meta>, Error> {
        Ok(self.declared(key)?.found.clone().unexpired(self.now_ms).meta(&key.name))
    }

    /// Tells listeners which of the declared keys have no record.
    pub fn tell_misses(&self) {
        let wanted = self.reader.engine.listening.wanted();
        if !wanted.contains(Classes::KEY_MISS) {
            return;
        }
        let mut news = News::new(wanted);
        for Declared { generation, name, found } in &self.declared.keys {
            let store = self.stores.iter().find(|(_, other)| other == generation);
            if let (Some((store, _)), false) = (store, found.is_live(self.now_ms)) {
                news.note(&Key { store: *store, name: (*name).clone() }, Event::KEY_MISS);
            }
        }
        self.reader.tell_of_reading(news);
    }

    /// Whether anything evicts, so that uses count.
    pub fn counts_uses(&self) -> bool {
        self.reader.engine.heat.is_on()
    }

    /// Notes that the records at the declared keys are used, for eviction.
    pub fn touch(&self) {
        for Declared { generation, name, found } in &self.declared.keys {
            if found.is_live(self.now_ms) {
                self.reader.engine.heat.touch(*generation, name, self.now_ms);
            }
        }
    }

    /// How the record at a key was used, if that is known.
    pub fn used(&self, key: &Key) -> Result<Option<Use>, Error> {
        Ok(self.reader.engine.heat.of(self.declared(key)?.generation, &key.name))
    }

    /// How many of the declared keys have a record, and how many have none.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        let live = |declared: &&Declared<'_>| declared.found.is_live(self.now_ms);
        let hits = self.declared.keys.iter().filter(live).count();
        (hits as u64, (self.declared.keys.len() - hits) as u64)
    }

    fn declared(&self, key: &Key) -> Result<&Declared<'t>, Error> {
        let store = self.stores.iter().find(|(store, _)| *store == key.store);
        let (_, generation) = store.ok_or(Error::Undeclared)?;
        self.declared.get(*generation, &key.name)
    }
}

/// Reads and writes the declared keys. Nobody sees any of it before all of it is done; if the command fails, nothing
/// has happened.
pub struct WriteTxn<'t> {
    pub(in crate::engine) now_ms: u64,
    pub(in crate::engine) view: View<'t>,
    pub(in crate::engine) keys: &'t [Key],
    pub(in crate::engine) declared: DeclaredKeys<'t>,
    pub(in crate::engine) changes: &'t mut Changes,
    pub(in crate::engine) listening: &'t Listening,
}

/// Where a write transaction sees the stores.
#[derive(Clone, Copy)]
pub(in crate::engine) enum View<'t> {
    /// In the state itself, under the engine's lock. Slow work is done apart from the lock instead, unless it is
    /// allowed here.
    Locked { state: &'t State, may_be_slow: bool },
    /// As they were when it began, without the lock: see [`crate::engine::transaction::apart`].
    Apart(&'t Stores),
}

/// The stores that keys were declared in, as they were at one instant.
pub(in crate::engine) struct Stores {
    pub(in crate::engine) stores: SmallVec<[Store; 1]>,
    pub(in crate::engine) default_kind: ValueKind,
}

/// A value in memory from this size on is not worked on under the engine's lock.
const QUICK_VALUE_BYTES: usize = 32 * 1024;

impl<'t> WriteTxn<'t> {
    /// The first declared key.
    pub fn key(&self) -> Result<&'t Key, Error> {
        self.keys.first().ok_or(Error::Undeclared)
    }

    /// Milliseconds since 1970: the one time of the whole transaction.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The record at a key, with its value.
    pub fn get(&mut self, key: &Key) -> Result<Option<Record>, Error> {
        let generation = self.generation(key.store)?;
        let found = self.found(generation, &key.name)?.unexpired(self.now_ms);
        self.take_time_for(&found)?;
        Ok(found.record(generation, &key.name)?)
    }

    /// Whether a command on these keys is too much work for a thread that has others to serve.
    pub fn is_long(&self, goes_through_values: bool) -> bool {
        self.declared.are_long(goes_through_values)
    }

    /// Reads the value at a key without copying it.
    pub fn read<R>(&mut self, key: &Key, read: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, Error> {
        let generation = self.generation(key.store)?;
        let found = self.found(generation, &key.name)?.unexpired(self.now_ms);
        self.take_time_for(&found)?;
        Ok(match found {
            Found::Absent => read(None),
            Found::Memory { value, .. } => read(Some(value.bytes())),
            Found::Disk(record) => read(Some(&record.value(generation, &key.name)?)),
        })
    }

    /// Declares that the command is going to do something that may take long, whatever the size of the values. If this
    /// returns an error, the command must return it; it is then run again where it disturbs nobody.
    pub fn take_time(&self) -> Result<(), Error> {
        match self.view {
            View::Locked { may_be_slow: false, .. } => Err(self.misplaced()),
            View::Locked { .. } | View::Apart(_) => Ok(()),
        }
    }

    /// Values in LMDB are read, and large values are worked on, without the engine's lock.
    fn take_time_for(&self, found: &Found<'_>) -> Result<(), Error> {
        match found {
            Found::Absent => Ok(()),
            Found::Memory { value, .. } if value.bytes().len() < QUICK_VALUE_BYTES => Ok(()),
            Found::Memory { .. } | Found::Disk(_) => self.take_time(),
        }
    }

    fn misplaced(&self) -> Error {
        self.changes.is_misplaced.set(true);
        Error::Misplaced
    }

    /// The state, for commands that need all of it.
    fn whole_state(&self) -> Result<&'t State, Error> {
        match self.view {
            View::Locked { state, .. } => Ok(state),
            View::Apart(_) => Err(self.misplaced()),
        }
    }

    fn kind_in(&self, store: &Store) -> ValueKind {
        match self.view {
            View::Locked { state, .. } => state.kind(store),
            View::Apart(stores) => store.kind.unwrap_or(stores.default_kind),
        }
    }

    /// What is known of the record at a key without reading its value.
    pub fn peek(&mut self, key: &Key) -> Result<Option<Meta>, Error> {
        let generation = self.generation(key.store)?;
        Ok(self.found(generation, &key.name)?.unexpired(self.now_ms).meta(&key.name))
    }

    /// Says what happened to a key, in the words of notifications. Every command calls it after it has changed a
    /// record. That a record is new or had expired is noticed automatically.
    pub fn notify(&mut self, key: &Key, event: Event) {
        self.changes.news.note(key, event);
    }

    /// Says that all records are gone, even if there were none.
    pub fn notify_flush(&mut self) {
        self.changes.news.note_stores_changed();
    }

    /// Undoes everything that the command has done so far, for a command that decides to do nothing and answers without
    /// an error.
    pub fn take_back(&mut self) {
        let origin = self.changes.news.origin;
        let is_misplaced = self.changes.is_misplaced.take();
        *self.changes = Changes::new(self.changes.news.wanted());
        self.changes.is_misplaced.set(is_misplaced);
        self.changes.news.origin = origin;
    }

    /// Sets the connection that the transaction is for.
    pub fn set_origin(&mut self, id: u64) {
        self.changes.news.origin = id;
    }

    /// Writes a record. Fails with [`Error::NotJson`] if the store takes only JSON and the value is none, and with
    /// [`Error::KeyTooLong`].
    pub fn put(&mut self, key: &Key, value: Value, expiry: Expiry) -> Result<(), Error> {
        if key.is_too_long() {
            return Err(Error::KeyTooLong { bytes: key.name.len(), limit: KEY_BYTES_MAX });
        }
        let store = self.store(key.store)?;
        let kind = self.kind_in(store);
        let bytes = value.bytes().len();
        if bytes > VALUE_BYTES_MAX {
            return Err(Error::ValueTooLong { bytes, limit: VALUE_BYTES_MAX });
        }
        let not_json = |why| Error::NotJson { store: store.label(), why };
        let value = value.admit(kind).map_err(not_json)?.into_bytes();
        let generation = self.generation(key.store)?;
        let found = self.found(generation, &key.name)?;
        let expires_at_ms = match expiry {
            Expiry::Never => self.default_deadline(store),
            Expiry::Persist => None,
            Expiry::At(deadline) => Some(deadline),
            Expiry::Keep if found.is_live(self.now_ms) => found.expires_at_ms(),
            Expiry::Keep => self.default_deadline(store),
        };
        let replaced = found.weight(&key.name);
        self.tell_expired(key, generation, &found);
        if !found.is_live(self.now_ms) {
            self.notify(key, Event::NEW);
        }
        if expires_at_ms.is_some_and(|deadline| deadline <= self.now_ms) {
            self.tell_deleted(key, generation, &found);
            if replaced.is_some() {
                self.changes.push(Effect::Remove { generation, key: key.name.clone() }, replaced);
            }
            return Ok(());
        }
        let now_ms = self.now_ms;
        self.tell_followers(key.store, || {
            let (key, old) = (kept(&key.name), found.unexpired(now_ms).old(generation, &key.name));
            Some(What::Set { key, old, new: value.clone(), expires_at_ms })
        });
        let effect = Effect::Put { generation, key: key.name.clone(), value, expires_at_ms };
        self.changes.push(effect, replaced);
        Ok(())
    }

    /// Like [`put`](WriteTxn::put), for a command that gives a key a new value whatever was there. Notifies of the
    /// overwriting if there was a record.
    pub fn overwrite(&mut self, key: &Key, value: Value, expiry: Expiry) -> Result<(), Error> {
        let is_told = self.changes.news.wanted().contains(Event::OVERWRITTEN.class)
            && !matches!(expiry, Expiry::At(deadline) if deadline <= self.now_ms)
            && self.peek(key)?.is_some();
        self.put(key, value, expiry)?;
        if is_told {
            self.notify(key, Event::OVERWRITTEN);
        }
        Ok(())
    }

    /// Changes the expiry of a record. That may take a few bytes, but no limit refuses it, because it is how stores get
    /// room again.
    pub fn set_expiry(&mut self, key: &Key, record: &Record, expiry: Expiry) -> Result<(), Error> {
        self.changes.redated.push(self.changes.effects.len());
        self.put(key, Value::stored(record.value.clone()), expiry)
    }

    /// The expiry of a record that is written without an expiry of its own.
    fn default_deadline(&self, store: &Store) -> Option<u64> {
        store.quota.default_ttl_ms.map(|ttl_ms| self.now_ms.saturating_add(ttl_ms))
    }

    /// Removes the record at a key. Returns whether there was one.
    pub fn remove(&mut self, key: &Key) -> Result<bool, Error> {
        let generation = self.generation(key.store)?;
        let found = self.found(generation, &key.name)?;
        let replaced = found.weight(&key.name);
        self.tell_expired(key, generation, &found);
        self.tell_deleted(key, generation, &found);
        if replaced.is_some() {
            self.changes.push(Effect::Remove { generation, key: key.name.clone() }, replaced);
        }
        Ok(!matches!(found.unexpired(self.now_ms), Found::Absent))
    }

    /// Removes the record at a key if it has expired. Returns whether it was removed.
    pub(in crate::engine) fn remove_expired(&mut self, key: &Key) -> Result<bool, Error> {
        let generation = self.generation(key.store)?;
        let found = self.found(generation, &key.name)?;
        let replaced = found.weight(&key.name);
        self.tell_expired(key, generation, &found);
        let expired = replaced.is_some() && matches!(found.unexpired(self.now_ms), Found::Absent);
        if expired {
            self.changes.push(Effect::Remove { generation, key: key.name.clone() }, replaced);
        }
        Ok(expired)
    }

    /// Evicts the record at a key. Returns whether there was one.
    pub(in crate::engine) fn evict(&mut self, key: &Key) -> Result<bool, Error> {
        let generation = self.generation(key.store)?;
        let found = self.found(generation, &key.name)?.unexpired(self.now_ms);
        let Some(replaced) = found.weight(&key.name) else { return Ok(false) };
        self.notify(key, Event::EVICTED);
        self.tell_followers(key.store, || {
            found.old(generation, &key.name).map(|old| What::Evict { key: kept(&key.name), old })
        });
        self.changes.push(Effect::Remove { generation, key: key.name.clone() }, Some(replaced));
        Ok(true)
    }

    /// Reports that a record had expired that is now replaced or removed.
    fn tell_expired(&mut self, key: &Key, generation: Generation, found: &Found<'_>) {
        if !matches!(found, Found::Absent) && !found.is_live(self.now_ms) {
            self.notify(key, Event::EXPIRED);
            self.tell_followers(key.store, || {
                found.old(generation, &key.name).map(|old| What::Expire { key: kept(&key.name), old })
            });
        }
    }

    /// Tells followers that a record is removed, if there is one that has not expired.
    fn tell_deleted(&mut self, key: &Key, generation: Generation, found: &Found<'_>) {
        let now_ms = self.now_ms;
        self.tell_followers(key.store, || {
            let old = found.clone().unexpired(now_ms).old(generation, &key.name)?;
            Some(What::Delete { key: kept(&key.name), old })
        });
    }

    /// Tells the followers of a store what changes in it. Does nothing while there are none.
    fn tell_followers(&mut self, store: StoreId, what: impl FnOnce() -> Option<What>) {
        if self.changes.news.wants_values()
            && self.listening.follows(store)
            && let Some(what) = what()
        {
            self.changes.news.note_change(store, what);
        }
    }

    /// Removes all records of a store, however many, in one step.
    pub fn flush(&mut self, store: StoreId) -> Result<(), Error> {
        self.store(store)?;
        self.tell_followers(store, || Some(What::Flush));
        let generation = self.new_generation()?;
        self.changes.push(Effect::Flush { store, generation }, None);
        self.changes.moved.push((store, generation));
        Ok(())
    }

    /// The stores that may hold records: those that did when the transaction began, or all if it has changed anything.
    pub fn filled_stores(&self) -> Vec<StoreId> {
        let any = !self.changes.effects.is_empty();
        let Ok(state) = self.whole_state() else { return Vec::new() };
        let filled = state.catalog.iter().filter(|store| any || store.usage.records > 0);
        filled.map(|store| store.id).collect()
    }

    /// Swaps the contents of two stores. `untouched` are the watched names that have a record in neither of them; for
    /// all others, a swap is a change.
    pub fn swap(&mut self, a: StoreId, b: StoreId, untouched: HashSet<Bytes>) -> Result<(), Error> {
        let (generation_a, generation_b) = (self.generation(a)?, self.generation(b)?);
        self.changes.swapped.push(Noted::Swap([a, b], untouched));
        if a != b {
            [a, b].into_iter().for_each(|store| self.tell_followers(store, || Some(What::Swap)));
            self.changes.push(Effect::Swap { a, b }, None);
            self.changes.moved.extend([(a, generation_b), (b, generation_a)]);
        }
        Ok(())
    }

    /// Creates a store, or changes its definition. `None` gives it the next number.
    pub fn define(&mut self, store: Option<StoreId>, definition: Definition) -> Result<StoreId, Error> {
        let (store, generation) = match store {
            Some(id) => {
                let old = self.store(id)?.name.as_deref();
                self.tell_followers(id, || {
                    let name = definition.name.clone().filter(|name| old != Some(name))?;
                    Some(What::Rename { name })
                });
                (id, self.generation(id)?)
            }
            None => (self.whole_state()?.catalog.next_id(), self.new_generation()?),
        };
        let definition = Box::new(definition);
        self.changes.push(Effect::Define { store, generation, definition }, None);
        Ok(store)
    }

    /// Removes a store with all its records.
    pub fn drop_store(&mut self, store: StoreId) -> Result<(), Error> {
        self.store(store)?;
        self.tell_followers(store, || Some(What::Drop));
        self.changes.push(Effect::Drop { store }, None);
        Ok(())
    }

    /// The libraries of functions, as they were when the transaction began.
    pub fn libraries(&self) -> Result<&'t Libraries, Error> {
        Ok(&self.whole_state()?.libraries)
    }

    /// Adds a library of functions, or replaces the one of that name.
    pub fn put_library(&mut self, name: Bytes, text: Bytes) {
        self.changes.push(Effect::PutLibrary { name, text }, None);
    }

    pub fn remove_library(&mut self, name: Bytes) {
        self.changes.push(Effect::RemoveLibrary { name }, None);
    }

    /// The store of a number, as it was when the transaction began.
    pub fn store(&self, id: StoreId) -> Result<&'t Store, Error> {
        match self.view {
            View::Locked { state, .. } => state.catalog.get(id).ok_or(Error::NoStore(id)),
            View::Apart(stores) => {
                stores.stores.iter().find(|store| store.id == id).ok_or_else(|| self.misplaced())
            }
        }
    }

    /// The store of a name, as it was when the transaction began.
    pub fn store_named(&self, name: &str) -> Option<&'t Store> {
        self.whole_state().ok()?.catalog.named(name)
    }

    /// The kind of values that a store takes.
    pub fn kind(&self, store: StoreId) -> Result<ValueKind, Error> {
        Ok(self.kind_in(self.store(store)?))
    }

    /// The kind of values that a store with this definition takes.
    pub fn kind_of(&self, definition: &Definition) -> ValueKind {
        definition.kind.unwrap_or(match self.view {
            View::Locked { state, .. } => state.default_kind,
            View::Apart(stores) => stores.default_kind,
        })
    }

    fn new_generation(&mut self) -> Result<Generation, Error> {
        let last = self.whole_state()?.last_generation;
        self.changes.generations += 1;
        Ok(last + self.changes.generations)
    }

    fn generation(&self, store: StoreId) -> Result<Generation, Error> {
        let moved = self.changes.moved.iter().rev().find(|(id, _)| *id == store);
        match moved {
            Some((_, generation)) => Ok(*generation),
            None => Ok(self.store(store)?.generation),
        }
    }

    /// The record at a key, as this transaction left it, or from the memtable, or from LMDB.
    fn found(&self, generation: Generation, name: &Bytes) -> Result<Found<'t>, Error> {
        match self.changes.last(generation, name) {
            Some(Effect::Put { value, expires_at_ms, .. }) => {
                return Ok(Found::Memory {
                    value: Held::own(value),
                    expires_at_ms: *expires_at_ms,
                    version: 0,
                    weight: Weight::plain(name, value.len(), expires_at_ms.is_some()),
                });
            }
            Some(_) => return Ok(Found::Absent),
            None => {}
        }
        Ok(self.declared.get(generation, name)?.found.clone())
    }
}
