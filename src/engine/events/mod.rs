//! Tells others what happened: for keyspace notifications, for the invalidation of what clients have cached, and for
//! anything else that follows changes.
//!
//! ```text
//! command ── txn.notify(key, Event::SET) ──▶ News ──▶ commit: the effects' keys join it ──▶ Tap::told(seq, news)
//! ```
//!
//! A command names what it did; the transaction itself notices creation and expiry. The news of a transaction is
//! delivered under the engine's lock, when the journal has its entry, so that all news comes in the order of the
//! changes. A tap must therefore only take notes. What it passes on must not be sent before the journal entry `seq` is
//! durable: the one rule for replies. The news of a group ([`crate::engine::transaction::group`]) waits for the group's end, and so does
//! what a command of the group [says](crate::engine::Reader::say_at_end).
//!
//! While nobody listens, a transaction pays one relaxed load. [Changes](crate::engine::events::change) with old and new values are
//! recorded only for stores that the tap [follows](Tap::follows), and it is asked that only while somebody wants
//! values.

pub mod change;

use std::fmt::{self, Display, Write};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bitflags::bitflags;
use bytes::Bytes;

use crate::engine::effect::Effect;
use crate::engine::events::change::{Change, What};
use crate::engine::journal::Seq;
use crate::store::{Catalog, Key, StoreId};

bitflags! {
    /// Kinds of news, with the letters of `notify-keyspace-events`.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Classes: u32 {
        /// Not a kind: events are published by key (`K`).
        const KEYSPACE = 1;
        /// Not a kind: events are published by name (`E`).
        const KEYEVENT = 1 << 1;
        const GENERIC = 1 << 2;
        const STRING = 1 << 3;
        const LIST = 1 << 4;
        const SET = 1 << 5;
        const HASH = 1 << 6;
        const SORTED_SET = 1 << 7;
        const EXPIRED = 1 << 8;
        const EVICTED = 1 << 9;
        const STREAM = 1 << 10;
        const MODULE = 1 << 11;
        const NEW = 1 << 12;
        const KEY_MISS = 1 << 13;
        const OVERWRITTEN = 1 << 14;
        /// A key got another type: that never happens, since there is only one.
        const TYPE_CHANGED = 1 << 15;
        /// Not kinds: ways to publish fields of hashes, which there are none of (`S`, `T`, `I`, `V`).
        const SUBKEYSPACE = 1 << 16;
        const SUBKEYEVENT = 1 << 17;
        const SUBKEYSPACE_ITEM = 1 << 18;
        const SUBKEYSPACE_EVENT = 1 << 19;
        /// What changed in stores that are followed, with old and new values; without a letter.
        const VALUES = 1 << 30;
        /// Which records changed, whatever changed them; without a letter.
        const CHANGED = 1 << 31;
    }
}

impl Classes {
    /// `A`: everything but misses, new and overwritten keys, which are many.
    const ALL: Classes = Classes::GENERIC
        .union(Classes::STRING)
        .union(Classes::LIST)
        .union(Classes::SET)
        .union(Classes::HASH)
        .union(Classes::SORTED_SET)
        .union(Classes::EXPIRED)
        .union(Classes::EVICTED)
        .union(Classes::STREAM)
        .union(Classes::MODULE);

    /// In the order of Redis's canonical form.
    const LETTERS: [(char, Classes); 20] = [
        ('g', Classes::GENERIC),
        ('$', Classes::STRING),
        ('l', Classes::LIST),
        ('s', Classes::SET),
        ('h', Classes::HASH),
        ('z', Classes::SORTED_SET),
        ('x', Classes::EXPIRED),
        ('e', Classes::EVICTED),
        ('t', Classes::STREAM),
        ('d', Classes::MODULE),
        ('n', Classes::NEW),
        ('o', Classes::OVERWRITTEN),
        ('c', Classes::TYPE_CHANGED),
        ('K', Classes::KEYSPACE),
        ('E', Classes::KEYEVENT),
        ('m', Classes::KEY_MISS),
        ('S', Classes::SUBKEYSPACE),
        ('T', Classes::SUBKEYEVENT),
        ('I', Classes::SUBKEYSPACE_ITEM),
        ('V', Classes::SUBKEYSPACE_EVENT),
    ];
}

/// The canonical form, which CONFIG GET shows.
impl Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_all = self.contains(Classes::ALL);
        if is_all {
            f.write_char('A')?;
        }
        for (letter, class) in Classes::LETTERS {
            if self.contains(class) && !(is_all && Classes::ALL.contains(class)) {
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

impl FromStr for Classes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Classes, &'static str> {
        text.chars().try_fold(Classes::empty(), |classes, letter| {
            let known = Classes::LETTERS.into_iter().find(|(other, _)| *other == letter);
            match (letter, known) {
                ('A', _) => Ok(classes | Classes::ALL),
                (_, Some((_, class))) => Ok(classes | class),
                _ => Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
            }
        })
    }
}

/// What happened to a key, as notifications name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub class: Classes,
    pub name: &'static str,
}

impl Event {
    pub const APPEND: Event = Event::string("append");
    pub const COPY_TO: Event = Event::generic("copy_to");
    pub const DEL: Event = Event::generic("del");
    pub const EXPIRE: Event = Event::generic("expire");
    pub const EVICTED: Event = Event { class: Classes::EVICTED, name: "evicted" };
    pub const EXPIRED: Event = Event { class: Classes::EXPIRED, name: "expired" };
    pub const INCRBY: Event = Event::string("incrby");
    pub const INCRBYFLOAT: Event = Event::string("incrbyfloat");
    pub const KEY_MISS: Event = Event { class: Classes::KEY_MISS, name: "keymiss" };
    pub const MOVE_FROM: Event = Event::generic("move_from");
    pub const MOVE_TO: Event = Event::generic("move_to");
    pub const NEW: Event = Event { class: Classes::NEW, name: "new" };
    pub const OVERWRITTEN: Event = Event { class: Classes::OVERWRITTEN, name: "overwritten" };
    pub const PERSIST: Event = Event::generic("persist");
    pub const RENAME_FROM: Event = Event::generic("rename_from");
    pub const RENAME_TO: Event = Event::generic("rename_to");
    pub const RESTORE: Event = Event::generic("restore");
    pub const SET: Event = Event::string("set");
    pub const SETRANGE: Event = Event::string("setrange");

    /// Events that can happen to any record.
    pub const fn generic(name: &'static str) -> Event {
        Event { class: Classes::GENERIC, name }
    }

    /// Events of string commands.
    pub const fn string(name: &'static str) -> Event {
        Event { class: Classes::STRING, name }
    }

    /// Events of commands that are a module's in Redis: `json.set`.
    pub const fn module(name: &'static str) -> Event {
        Event { class: Classes::MODULE, name }
    }
}

/// Receives the news of every transaction, under the engine's lock. It must neither wait nor call the engine.
pub trait Tap: Send + Sync {
    /// Whether somebody wants to know old and new values of this store's records.
    fn follows(&self, _store: StoreId) -> bool {
        false
    }

    /// The news must not be passed on before `seq` is durable.
    fn told(&self, seq: Seq, catalog: &Catalog, news: &News);
}

/// The news of a transaction.
#[derive(Debug, Default)]
pub struct News {
    /// What somebody wants to know; the rest is not recorded.
    wanted: Classes,
    /// The number of the connection that did it, or 0 for the server itself.
    pub origin: u64,
    pub events: Vec<Told>,
    /// The keys at which records were written or removed, if [`Classes::CHANGED`] is wanted.
    pub changed: Vec<Key>,
    /// Whole stores were emptied, swapped or dropped.
    pub stores_changed: bool,
    /// The changes in followed stores, if [`Classes::VALUES`] are wanted: everything in the journal entry, in order.
    pub values: Vec<Change>,
}

/// An event and its key.
#[derive(Debug, Clone)]
pub struct Told {
    pub store: StoreId,
    pub key: Bytes,
    pub event: Event,
}

impl News {
    pub(super) fn new(wanted: Classes) -> News {
        News { wanted, ..News::default() }
    }

    pub(super) fn note(&mut self, key: &Key, event: Event) {
        if self.wanted.contains(event.class) {
            self.events.push(Told { store: key.store, key: kept(&key.name), event });
        }
    }

    /// What somebody wants to know.
    pub(super) fn wanted(&self) -> Classes {
        self.wanted
    }

    /// Whether changes of followed stores are to be noted.
    pub(super) fn wants_values(&self) -> bool {
        self.wanted.contains(Classes::VALUES)
    }

    pub(super) fn note_change(&mut self, store: StoreId, what: What) {
        self.values.push(Change { store, what });
    }

    /// Adds which records the effects change.
    pub(super) fn add_changes(&mut self, catalog: &Catalog, effects: &[Effect]) {
        if !self.wanted.contains(Classes::CHANGED) {
            return;
        }
        for effect in effects {
            match effect {
                Effect::Put { generation, key, .. } | Effect::Remove { generation, key, .. } => {
                    // nobody can have read a generation that no store holds any more
                    let store = catalog.holding(*generation).map(|store| store.id);
                    self.changed.extend(store.map(|store| Key { store, name: kept(key) }));
                }
                Effect::Drop { .. } | Effect::Flush { .. } | Effect::Swap { .. } => {
                    self.stores_changed = true;
                }
                Effect::Define { .. } | Effect::PutLibrary { .. } | Effect::RemoveLibrary { .. } => {}
            }
        }
    }

    /// Whole stores change, whatever is in them.
    pub(super) fn note_stores_changed(&mut self) {
        self.stores_changed |= self.wanted.contains(Classes::CHANGED);
    }

    /// Adds the changes of another one.
    fn take_changes(&mut self, other: &mut News) {
        self.origin = other.origin;
        self.changed.append(&mut other.changed);
        self.stores_changed |= std::mem::take(&mut other.stores_changed);
        self.values.append(&mut other.values);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.changed.is_empty() && !self.stores_changed && self.values.is_empty()
    }
}

/// A key that is kept until somebody has read about it, so it is copied out of the request's buffer.
pub(super) fn kept(key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(key)
}

/// What waits for the end of a group, in its order.
pub enum Untold {
    News(News),
    Said(Box<dyn FnOnce(Seq) + Send + Sync>),
}

/// Who listens, and to what.
#[derive(Default)]
pub(super) struct Listening {
    wanted: AtomicU32,
    tap: OnceLock<Arc<dyn Tap>>,
}

impl Listening {
    /// What somebody wants to know: asked once by every transaction, under the lock.
    pub(super) fn wanted(&self) -> Classes {
        Classes::from_bits_retain(self.wanted.load(Ordering::Relaxed))
    }

    /// Sets which of the kinds in `of` are wanted. Other kinds stay as they are.
    pub(super) fn listen(&self, of: Classes, wanted: Classes) {
        let change = |old: u32| Some((old & !of.bits()) | (wanted & of).bits());
        let _ = self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// Delivers news to `tap` from now on. There can be only one.
    pub(super) fn set_tap(&self, tap: Arc<dyn Tap>) {
        let _ = self.tap.set(tap);
    }

    /// Whether somebody follows a store: asked only while values are wanted.
    pub(super) fn follows(&self, store: StoreId) -> bool {
        self.tap.get().is_some_and(|tap| tap.follows(store))
    }

    /// Delivers the news of a group: first all that it changed, together, then what happened, in order.
    pub(super) fn tell_kept(&self, catalog: &Catalog, seq: Seq, mut untold: Vec<Untold>) {
        let mut changes = News::default();
        for one in &mut untold {
            if let Untold::News(news) = one {
                changes.take_changes(news);
            }
        }
        self.tell(seq, catalog, &changes);
        for one in untold {
            match one {
                Untold::News(news) => self.tell(seq, catalog, &news),
                Untold::Said(say) => say(seq),
            }
        }
    }

    pub(super) fn tell(&self, seq: Seq, catalog: &Catalog, news: &News) {
        if !news.is_empty()
            && let Some(tap) = self.tap.get()
        {
            tap.told(seq, catalog, news);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::engine::events::*;

    #[test]
    fn classes_have_one_canonical_form() {
        // as Redis 7.0.15 shows them
        for (text, canonical) in [
            ("", ""),
            ("KEA", "AKE"),
            ("KEAmn", "AnKEm"),
            ("Elg$", "g$lE"),
            ("Kn", "nK"),
            ("Emx", "xEm"),
            ("KEg$lshzxetdm", "AKEm"),
            ("Kx", "xK"),
        ] {
            let classes: Classes = text.parse().unwrap();
            assert_eq!(classes.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse(), Ok(classes));
        }
        assert!("Q".parse::<Classes>().is_err());
    }

    #[test]
    fn what_nobody_wants_is_not_noted() {
        let key = Key { store: 0, name: Bytes::from_static(b"k") };
        let mut news = News::new(Classes::STRING);
        news.note(&key, Event::NEW);
        news.note(&key, Event::SET);
        news.add_changes(&Catalog::default(), &[Effect::Remove { generation: 1, key: key.name.clone() }]);
        assert_eq!(news.events.len(), 1);
        assert!(news.changed.is_empty() && !news.is_empty());
    }
}
