//! Followers of a store, which are told each change of its records, with old and new values.
//!
//! The engine asks, under its lock, whether [there are any](Followers::follows), and passes on what changed. Each
//! follower gets a copy of the changes of keys with its prefix, entry by entry of the journal, and reads it at its own
//! pace. Copies share keys and values. What waits for one follower is bounded like pushes to a client: beyond that its
//! mailbox takes no more, and the follower is told that it was too slow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::client::mailbox::{Filled, Letter, Mailbox};
use crate::client::signal::Signal;
use crate::engine::events::Classes;
use crate::engine::events::change::Change;
use crate::engine::{Engine, Seq, clock};
use crate::limits::FOLLOWERS_MAX;
use crate::push::{Post, Push};
use crate::store::{Store, StoreId};

/// All followers.
#[derive(Default)]
pub struct Followers {
    following: Mutex<BTreeMap<u64, Arc<Follower>>>,
}

struct Follower {
    id: u64,
    store: StoreId,
    prefix: Bytes,
    mailbox: Mailbox<Vec<Change>>,
    too_slow: Signal,
}

impl Letter for Vec<Change> {
    fn bytes(&self) -> usize {
        self.iter().map(|change| size_of::<Change>() + change.what.bytes()).sum()
    }
}

/// A follower of a store. Following ends when this is dropped.
pub struct Following {
    engine: Arc<Engine>,
    push: Arc<Push>,
    follower: Arc<Follower>,
    /// The last change before those that are delivered.
    pub since: Seq,
    /// The name of the store at that time.
    pub label: String,
}

impl Followers {
    /// Whether anyone follows a store.
    pub fn follows(&self, store: StoreId) -> bool {
        self.following.lock().values().any(|follower| follower.store == store)
    }

    pub fn count(&self) -> usize {
        self.following.lock().len()
    }

    /// Delivers the changes of one journal entry to the followers that follow them.
    pub fn deliver(&self, post: &Post, seq: Seq, changes: &[Change]) {
        let limit = *post.limit.read();
        for follower in self.following.lock().values() {
            let seen: Vec<Change> =
                changes.iter().filter(|change| follower.is_told_of(change)).cloned().collect();
            if seen.is_empty() || follower.mailbox.put(seen, seq, &limit, clock::steady_ms) {
                continue;
            }
            post.overflows.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                store = follower.store,
                "a follower of a store does not read its events; its stream was ended at client-output-buffer-limit"
            );
            follower.too_slow.raise();
        }
    }
}

impl Follower {
    fn is_told_of(&self, change: &Change) -> bool {
        change.store == self.store && change.what.key().is_none_or(|key| key.starts_with(&self.prefix))
    }
}

impl Following {
    /// Follows changes from now on at keys that begin with `prefix`. `None` if there are too many followers.
    pub fn begin(engine: &Arc<Engine>, push: &Arc<Push>, store: StoreId, prefix: Bytes) -> Option<Following> {
        let reader = engine.reader();
        // nothing changes meanwhile, so each change is either before this or delivered
        let (follower, since, label) = reader.with_catalog(|catalog| {
            let mut following = push.followers.following.lock();
            if following.len() >= FOLLOWERS_MAX {
                return None;
            }
            let id = following.last_key_value().map_or(0, |(last, _)| last + 1);
            let follower =
                Follower { id, store, prefix, mailbox: Mailbox::default(), too_slow: Signal::default() };
            let follower = Arc::new(follower);
            following.insert(id, follower.clone());
            reader.listen(Classes::VALUES, Classes::VALUES);
            let label = catalog.get(store).map_or_else(|| store.to_string(), Store::label);
            Some((follower, reader.last_seq(), label))
        })?;
        Some(Following { engine: engine.clone(), push: push.clone(), follower, since, label })
    }

    /// Ready once there is something to [take](Self::take). Only for one task.
    pub fn filled(&self) -> Filled<'_, Vec<Change>> {
        self.follower.mailbox.filled()
    }

    /// Ready once the follower was too slow: it gets nothing more, and what had been waiting is dropped.
    pub async fn too_slow(&self) {
        self.follower.too_slow.raised().await;
    }

    /// The changes of the next journal entry, which must not be passed on before that is durable.
    pub fn take(&self) -> Option<(Vec<Change>, Seq)> {
        self.follower.mailbox.take_one()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut following = self.push.followers.following.lock();
        following.remove(&self.follower.id);
        if following.is_empty() {
            self.engine.reader().listen(Classes::VALUES, Classes::empty());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::tests::harness::Harness;
    use crate::push::followers::*;

    fn begin(harness: &Harness, store: StoreId, prefix: &'static str) -> Option<Following> {
        let server = &harness.server;
        Following::begin(&server.engine, &server.push, store, Bytes::from_static(prefix.as_bytes()))
    }

    fn told(following: &Following) -> Vec<Vec<u8>> {
        let entries = std::iter::from_fn(|| following.take());
        entries
            .flat_map(|(changes, _)| {
                changes.into_iter().map(|change| change.what.key().map_or(b"*".to_vec(), |key| key.to_vec()))
            })
            .collect()
    }

    #[test]
    fn each_follower_is_told_what_it_follows() {
        let mut harness = Harness::new();
        let (all, some) = (begin(&harness, 0, "").unwrap(), begin(&harness, 0, "a").unwrap());
        let other = begin(&harness, 1, "").unwrap();
        harness.expect(&[("MSET a1 1 b1 1", "OK"), ("FLUSHDB", "OK")]);
        assert_eq!(told(&all), [&b"a1"[..], b"b1", b"*"]);
        assert_eq!(told(&some), [&b"a1"[..], b"*"]);
        assert!(told(&other).is_empty());
    }

    #[test]
    fn nothing_is_noted_once_the_last_has_gone() {
        let mut harness = Harness::new();
        let (first, second) = (begin(&harness, 0, "").unwrap(), begin(&harness, 0, "").unwrap());
        assert_eq!(second.since, harness.server.engine.reader().last_seq());
        drop(first);
        harness.expect(&[("SET a 1", "OK")]);
        assert_eq!(told(&second).len(), 1);
        drop(second);
        harness.expect(&[("SET a 2", "OK")]);
        assert_eq!(harness.server.push.followers.count(), 0);
        assert!(!harness.server.push.followers.follows(0));
    }

    #[test]
    fn who_is_too_slow_is_told_so_and_gets_no_more() {
        let mut harness = Harness::new();
        let following = begin(&harness, 0, "").unwrap();
        harness.expect(&[
            ("CONFIG SET client-output-buffer-limit \"pubsub 1000 0 0\"", "OK"),
            ("SET a 1", "OK"),
        ]);
        assert!(!following.follower.too_slow.is_raised());
        let long = format!("SET a \"{}\"", "1".repeat(1_000));
        harness.expect(&[(&long, "OK"), ("SET a 3", "OK")]);
        assert!(following.follower.too_slow.is_raised());
        assert!(following.take().is_none());
    }

    #[test]
    fn followers_are_bounded() {
        let harness = Harness::new();
        let all: Vec<_> = std::iter::from_fn(|| begin(&harness, 0, "")).collect();
        assert_eq!(all.len(), FOLLOWERS_MAX);
        drop(all);
        assert!(begin(&harness, 0, "").is_some());
    }
}
