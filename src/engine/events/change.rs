//! Changes with old and new values, for the followers of a store.
//!
//! A transaction notes them as it makes them, only for stores that [somebody follows](crate::engine::events::Tap::follows), and
//! tells them with its other [news](crate::engine::events::News). So that no value is decompressed under the engine's lock, an old
//! value in LMDB is copied in its stored form; the follower decompresses it.

use bytes::Bytes;

use crate::engine::error::Fault;
use crate::engine::lmdb::stored_value;
use crate::record::dictionary::Dictionary;
use crate::store::{Generation, StoreId};

/// What happened to a store or to one of its records.
#[derive(Debug, Clone)]
pub struct Change {
    pub store: StoreId,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    /// A record was written; without an old value it is new.
    Set {
        key: Bytes,
        old: Option<Old>,
        new: Bytes,
        expires_at_ms: Option<u64>,
    },
    Delete {
        key: Bytes,
        old: Old,
    },
    /// A record expired.
    Expire {
        key: Bytes,
        old: Old,
    },
    /// A record was evicted.
    Evict {
        key: Bytes,
        old: Old,
    },
    /// All records were removed.
    Flush,
    /// The store now has all records of another store.
    Swap,
    /// The store has another name.
    Rename {
        name: String,
    },
    /// The store is gone with all its records.
    Drop,
}

/// A value that was replaced or removed.
#[derive(Debug, Clone)]
pub enum Old {
    Plain(Bytes),
    /// The stored form, from LMDB: see [`crate::record::header`].
    Stored {
        generation: Generation,
        record: Bytes,
        dictionary: Option<Dictionary<'static>>,
    },
}

impl What {
    /// The record that it is about, if it is about one.
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            What::Set { key, .. }
            | What::Delete { key, .. }
            | What::Expire { key, .. }
            | What::Evict { key, .. } => Some(key),
            What::Flush | What::Swap | What::Rename { .. } | What::Drop => None,
        }
    }

    /// Key and values, as they are in memory.
    pub fn bytes(&self) -> usize {
        let values = match self {
            What::Set { old, new, .. } => new.len() + old.as_ref().map_or(0, Old::bytes),
            What::Delete { old, .. } | What::Expire { old, .. } | What::Evict { old, .. } => old.bytes(),
            What::Rename { name } => name.len(),
            What::Flush | What::Swap | What::Drop => 0,
        };
        values + self.key().map_or(0, Bytes::len)
    }
}

impl Old {
    /// The value of the record at this key. Fails if it was damaged.
    pub fn value(&self, key: &[u8]) -> Result<Bytes, Fault> {
        match self {
            Old::Plain(value) => Ok(value.clone()),
            Old::Stored { generation, record, dictionary } => {
                Ok(stored_value(*generation, key, record, dictionary.as_ref())?)
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Old::Plain(bytes) | Old::Stored { record: bytes, .. } => bytes.len(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use crate::engine::events::change::*;
    use crate::engine::events::{Classes, News, Tap};
    use crate::engine::{Engine, Error, Expiry, Options, Seq, Writer};
    use crate::store::{Catalog, Definition, Key, Value};

    /// Follows one store, and records what changes in it.
    struct Notes {
        store: StoreId,
        lines: Mutex<Vec<(Seq, String)>>,
    }

    impl Tap for Notes {
        fn follows(&self, store: StoreId) -> bool {
            store == self.store
        }

        fn told(&self, seq: Seq, _: &Catalog, news: &News) {
            let mut lines = self.lines.lock();
            lines.extend(news.values.iter().map(|change| (seq, line(&change.what))));
        }
    }

    fn line(what: &What) -> String {
        let shown = |key: &Bytes, old: Option<&Old>| {
            old.map_or("-".into(), |old| {
                String::from_utf8_lossy(&old.value(key).unwrap()).chars().take(4).collect::<String>()
            })
        };
        match what {
            What::Set { key, old, new, expires_at_ms } => {
                let (old, new) = (shown(key, old.as_ref()), String::from_utf8_lossy(new));
                let new: String = new.chars().take(4).collect();
                let until = expires_at_ms.map_or(String::new(), |at| format!(" until {at}"));
                format!("set {} {old} {new}{until}", key.escape_ascii())
            }
            What::Delete { key, old } => format!("delete {} {}", key.escape_ascii(), shown(key, Some(old))),
            What::Expire { key, old } => format!("expire {} {}", key.escape_ascii(), shown(key, Some(old))),
            What::Evict { key, old } => format!("evict {} {}", key.escape_ascii(), shown(key, Some(old))),
            What::Flush => "flush".into(),
            What::Swap => "swap".into(),
            What::Rename { name } => format!("rename {name}"),
            What::Drop => "drop".into(),
        }
    }

    struct Scene {
        engine: Arc<Engine>,
        notes: Arc<Notes>,
        _dir: tempfile::TempDir,
    }

    impl Scene {
        fn following(store: StoreId) -> Scene {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(Options::new(dir.path())).unwrap();
            engine.writer().set_sweeping(false);
            let notes = Arc::new(Notes { store, lines: Mutex::default() });
            engine.set_tap(notes.clone());
            engine.reader().listen(Classes::all(), Classes::VALUES);
            Scene { engine, notes, _dir: dir }
        }

        fn put(&self, key: &Key, value: &str, expiry: Expiry, now_ms: u64) {
            Scene::put_through(self.engine.writer(), key, value, expiry, now_ms);
        }

        fn put_through(engine: Writer<'_>, key: &Key, value: &str, expiry: Expiry, now_ms: u64) {
            let value = Value::unchecked(Bytes::copy_from_slice(value.as_bytes()));
            engine.write(now_ms, std::slice::from_ref(key), |txn| txn.put(key, value, expiry)).unwrap();
        }

        fn remove(&self, key: &Key, now_ms: u64) -> bool {
            self.engine.writer().write(now_ms, std::slice::from_ref(key), |txn| txn.remove(key)).unwrap().0
        }

        #[track_caller]
        fn expect(&self, lines: &[&str]) {
            let noted = std::mem::take(&mut *self.notes.lines.lock());
            let last = self.engine.reader().last_seq();
            assert!(noted.iter().all(|(seq, _)| *seq <= last), "{noted:?}");
            assert_eq!(noted.iter().map(|(_, line)| &**line).collect::<Vec<_>>(), lines);
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            self.engine.close().unwrap();
        }
    }

    fn key(store: StoreId, name: &'static str) -> Key {
        Key { store, name: Bytes::from_static(name.as_bytes()) }
    }

    #[test]
    fn changes_of_a_followed_store_are_told_with_both_values() {
        let scene = Scene::following(0);
        let (k, elsewhere) = (key(0, "k"), key(1, "k"));
        scene.put(&k, "1", Expiry::Never, 1);
        scene.put(&elsewhere, "1", Expiry::Never, 1);
        scene.put(&k, "2", Expiry::At(9), 1);
        assert!(scene.remove(&k, 2) && !scene.remove(&k, 2));
        scene.expect(&["set k - 1", "set k 1 2 until 9", "delete k 2"]);
        scene.engine.reader().listen(Classes::VALUES, Classes::empty());
        scene.put(&k, "3", Expiry::Never, 1);
        scene.expect(&[]);
    }

    #[test]
    fn old_values_are_read_from_lmdb_too() {
        let scene = Scene::following(0);
        let k = key(0, "k");
        let long = format!("\"{}\"", "larder ".repeat(1_000));
        scene.put(&k, &long, Expiry::Never, 1);
        scene.engine.writer().checkpoint().unwrap();
        scene.put(&k, "2", Expiry::Never, 1);
        scene.expect(&["set k - \"lar", "set k \"lar 2"]);
    }

    #[test]
    fn what_expires_is_told_once_whoever_notices() {
        let scene = Scene::following(0);
        let (swept, replaced, removed) = (key(0, "a"), key(0, "b"), key(0, "c"));
        for k in [&swept, &replaced, &removed] {
            scene.put(k, "1", Expiry::At(10), 1);
        }
        scene.notes.lines.lock().clear();
        scene.put(&replaced, "2", Expiry::Never, 10);
        assert!(!scene.remove(&removed, 10));
        assert_eq!(scene.engine.writer().expire_due(10, 9).unwrap(), 1);
        scene.expect(&["expire b 1", "set b - 2", "expire c 1", "expire a 1"]);
        // a deadline in the past removes
        scene.put(&replaced, "3", Expiry::At(5), 10);
        scene.expect(&["delete b 2"]);
    }

    #[test]
    fn a_transaction_sees_its_own_changes_as_old_values() {
        let scene = Scene::following(0);
        let k = key(0, "k");
        let twice = scene.engine.writer().write(1, std::slice::from_ref(&k), |txn| {
            txn.put(&k, Value::integer(1), Expiry::Never)?;
            txn.put(&k, Value::integer(2), Expiry::Never)?;
            txn.remove(&k)
        });
        assert!(twice.unwrap().0);
        scene.expect(&["set k - 1", "set k 1 2", "delete k 2"]);
        let failed = scene.engine.writer().write(1, std::slice::from_ref(&k), |txn| {
            txn.put(&k, Value::integer(1), Expiry::Never)?;
            Err::<(), _>(Error::Undeclared)
        });
        assert!(failed.is_err());
        scene.expect(&[]);
    }

    #[test]
    fn a_group_tells_all_of_it_at_once_and_in_order() {
        let scene = Scene::following(0);
        let (_, seq) = scene
            .engine
            .writer()
            .alone(|group| {
                Scene::put_through(group, &key(0, "a"), "1", Expiry::Never, 1);
                group.write(1, &[], |txn| txn.flush(0)).unwrap();
                Scene::put_through(group, &key(0, "b"), "1", Expiry::Never, 1);
                assert!(scene.notes.lines.lock().is_empty());
            })
            .unwrap();
        assert!(scene.notes.lines.lock().iter().all(|(of, _)| *of == seq));
        scene.expect(&["set a - 1", "flush", "set b - 1"]);
    }

    #[test]
    fn what_happens_to_a_whole_store_is_told() {
        let scene = Scene::following(16);
        let named = |name: &str| Definition { name: Some(name.into()), ..Definition::default() };
        scene.engine.writer().write(1, &[], |txn| txn.define(None, named("orders"))).unwrap();
        scene.engine.writer().write(1, &[], |txn| txn.define(Some(16), named("orders"))).unwrap();
        scene.engine.writer().write(1, &[], |txn| txn.define(Some(16), named("sales"))).unwrap();
        scene.engine.writer().write(1, &[], |txn| txn.swap(16, 3, Default::default())).unwrap();
        scene.engine.writer().write(1, &[], |txn| txn.swap(3, 16, Default::default())).unwrap();
        scene.engine.writer().write(1, &[], |txn| txn.swap(16, 16, Default::default())).unwrap();
        scene.engine.writer().write(1, &[], |txn| txn.flush(16)).unwrap();
        scene.engine.writer().write(1, &[], |txn| txn.drop_store(16)).unwrap();
        scene.expect(&["rename sales", "swap", "swap", "flush", "drop"]);
    }
}
