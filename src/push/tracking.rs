//! Client-side caching: who may have cached which key, and telling them when it changes (CLIENT TRACKING).
//!
//! A client that tracks is recorded with every key that it reads, *before* it reads, so that no change in between goes
//! unnoticed; the invalidation for such a change is sent after the reply. A client in broadcasting mode gets all keys
//! with its prefixes instead. As in Redis, keys count without their store: a change in one store invalidates the key in
//! all.
//!
//! The table is bounded by `tracking-table-max-keys`: beyond that, the oldest key is forgotten, and its clients are
//! told as if it had changed. The numbers of clients that are gone stay until the key is invalidated, or until a key
//! has more numbers than there are clients.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::client::Client;
use crate::engine::events::{Classes, News};
use crate::engine::{Reader, Seq};
use crate::limits::KEY_BYTES_MAX;
use crate::push::{Message, Post, is_resp3};
use crate::resp::Reply;
use crate::store::{Catalog, Key};

/// The channel on which RESP2 clients receive redirected invalidations.
const CHANNEL: &str = "__redis__:invalidate";

/// How a client tracks.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The client that gets the invalidations instead of this one.
    pub redirect: Option<Arc<Client>>,
    pub broadcast: bool,
    /// Only with `broadcast`.
    pub prefixes: BTreeSet<Bytes>,
    pub opt_in: bool,
    pub opt_out: bool,
    /// Not told of its own changes.
    pub no_loop: bool,
    /// The client to which invalidations are redirected is gone.
    pub is_broken: bool,
}

/// Who tracks what.
#[derive(Default)]
pub struct Tracking {
    table: Mutex<Table>,
    keys_max: AtomicUsize,
}

#[derive(Default)]
struct Table {
    clients: HashMap<u64, Tracker>,
    readers: HashMap<Bytes, Readers>,
    /// Keys of `readers` in the order in which they came.
    oldest: BTreeMap<u64, Bytes>,
    last_number: u64,
    /// Numbers in all `readers`.
    items: usize,
    /// Broadcasting clients by prefix.
    prefixes: BTreeMap<Bytes, BTreeSet<u64>>,
}

struct Tracker {
    client: Arc<Client>,
    options: Options,
}

/// The clients that have read a key.
struct Readers {
    /// Its place in [`Table::oldest`].
    number: u64,
    /// In rising order.
    ids: SmallVec<[u64; 2]>,
}

/// What INFO tells.
pub struct Figures {
    pub clients: usize,
    pub keys: usize,
    pub items: usize,
    pub prefixes: usize,
}

impl Tracking {
    /// The most keys that are remembered; surplus keys are forgotten at once. 0: any number.
    pub fn set_keys_max(&self, post: &Post, keys_max: usize) {
        self.keys_max.store(keys_max, Ordering::Relaxed);
        self.table.lock().trim(post, keys_max);
    }

    /// Begins to track, or changes the options. Prefixes are added to the existing ones.
    pub fn start(&self, engine: Reader<'_>, client: &Arc<Client>, mut options: Options) {
        let mut table = self.table.lock();
        for prefix in &options.prefixes {
            table.prefixes.entry(prefix.clone()).or_default().insert(client.id);
        }
        if let Some(before) = table.clients.get_mut(&client.id) {
            let mut prefixes = std::mem::take(&mut before.options.prefixes);
            prefixes.extend(std::mem::take(&mut options.prefixes));
            options.prefixes = prefixes;
        }
        table.clients.insert(client.id, Tracker { client: client.clone(), options });
        engine.listen(Classes::CHANGED, Classes::CHANGED);
    }

    /// Ends tracking, if the client did track.
    pub fn stop(&self, engine: Reader<'_>, client: &Client) {
        let mut table = self.table.lock();
        let Some(tracker) = table.clients.remove(&client.id) else { return };
        for prefix in &tracker.options.prefixes {
            if let Some(clients) = table.prefixes.get_mut(prefix) {
                clients.remove(&client.id);
                if clients.is_empty() {
                    table.prefixes.remove(prefix);
                }
            }
        }
        if table.clients.is_empty() {
            *table = Table::default();
            engine.listen(Classes::CHANGED, Classes::empty());
        }
    }

    /// How a client tracks; none if it does not.
    pub fn options(&self, client: &Client) -> Option<Options> {
        self.with_options(client, |options| options.cloned())
    }

    /// Reads how a client tracks, without copying its prefixes, of which there may be many.
    pub fn with_options<R>(&self, client: &Client, look: impl FnOnce(Option<&Options>) -> R) -> R {
        look(self.table.lock().clients.get(&client.id).map(|tracker| &tracker.options))
    }

    pub fn figures(&self) -> Figures {
        let table = self.table.lock();
        Figures {
            clients: table.clients.len(),
            keys: table.readers.len(),
            items: table.items,
            prefixes: table.prefixes.len(),
        }
    }

    /// The client is about to read these keys.
    pub fn remember<'k>(&self, post: &Post, client: &Client, keys: impl Iterator<Item = &'k Bytes>) {
        let mut table = self.table.lock();
        keys.for_each(|key| table.remember(key, client.id));
        table.trim(post, self.keys_max.load(Ordering::Relaxed));
    }

    /// Sends invalidations to the clients that may have cached what changed.
    pub fn invalidate(&self, post: &Post, seq: Seq, catalog: &Catalog, news: &News) {
        let mut table = self.table.lock();
        if table.clients.is_empty() {
            return;
        }
        for key in &news.changed {
            table.invalidate(post, seq, news.origin, &key.name, |tracker| tracker.may_know(catalog, key));
        }
        table.broadcast(post, seq, catalog, news);
        if news.stores_changed {
            table.invalidate_all(post, seq);
        }
    }
}

impl Table {
    fn remember(&mut self, key: &Bytes, id: u64) {
        if key.len() > KEY_BYTES_MAX {
            // there is never a record at such a key, so nothing changes
            return;
        }
        if let Some(readers) = self.readers.get_mut(key) {
            if let Err(at) = readers.ids.binary_search(&id) {
                if readers.ids.len() > self.clients.len() {
                    let before = readers.ids.len();
                    readers.ids.retain(|id| self.clients.contains_key(id));
                    self.items -= before - readers.ids.len();
                }
                let at = readers.ids.binary_search(&id).err().unwrap_or(at);
                readers.ids.insert(at, id);
                self.items += 1;
            }
            return;
        }
        self.last_number += 1;
        self.items += 1;
        // a key that a request brought shares its buffer
        let key = Bytes::copy_from_slice(key);
        self.oldest.insert(self.last_number, key.clone());
        self.readers.insert(key, Readers { number: self.last_number, ids: SmallVec::from_slice(&[id]) });
    }

    /// Forgets the oldest keys that are too many, as if they had changed.
    fn trim(&mut self, post: &Post, keys_max: usize) {
        while keys_max > 0 && self.readers.len() > keys_max {
            let Some((_, key)) = self.oldest.first_key_value() else { break };
            let key = key.clone();
            // a client is told only about what it read itself
            self.invalidate(post, 0, 0, &key, |_| true);
        }
    }

    /// Tells the clients that have read the key and may know about the change, and forgets them. Others have read the
    /// key of another store, and stay recorded.
    fn invalidate(
        &mut self,
        post: &Post,
        seq: Seq,
        origin: u64,
        key: &Bytes,
        may_know: impl Fn(&Tracker) -> bool,
    ) {
        let Some(mut readers) = self.readers.remove(key) else { return };
        self.items -= readers.ids.len();
        let mut messages = Messages::new(Reply::Array(vec![Reply::Bulk(key.clone())]));
        readers.ids.retain(|id| {
            let Some(tracker) = self.clients.get_mut(id) else { return false };
            if !may_know(tracker) {
                return true;
            }
            let is_own = tracker.options.no_loop && *id == origin;
            if !tracker.options.broadcast && !is_own {
                tracker.tell(post, seq, &mut messages);
            }
            false
        });
        if readers.ids.is_empty() {
            self.oldest.remove(&readers.number);
        } else {
            self.items += readers.ids.len();
            self.readers.insert(key.clone(), readers);
        }
    }

    /// Sends broadcasting clients the keys with their prefixes that they may know about: one message for each prefix,
    /// shared by all clients that may know about every key.
    fn broadcast(&mut self, post: &Post, seq: Seq, catalog: &Catalog, news: &News) {
        if self.prefixes.is_empty() {
            return;
        }
        let mut changed: BTreeMap<&Bytes, Vec<&Key>> = BTreeMap::new();
        for key in &news.changed {
            changed.entry(&key.name).or_default().push(key);
        }
        let mut told: BTreeMap<&Bytes, (Vec<&Bytes>, &BTreeSet<u64>)> = BTreeMap::new();
        for name in changed.keys() {
            for_each_prefix(&self.prefixes, name, |prefix, clients| {
                let (names, _) = told.entry(prefix).or_insert_with(|| (Vec::new(), clients));
                names.push(name);
            });
        }
        for (names, clients) in told.into_values() {
            let known_names = |known: &dyn Fn(&Key) -> bool| -> Vec<Reply> {
                let is_known =
                    |name: &Bytes| changed.get(name).is_some_and(|keys| keys.iter().any(|key| known(key)));
                names.iter().filter(|name| is_known(name)).map(|name| Reply::Bulk((*name).clone())).collect()
            };
            let mut messages = Messages::new(Reply::Array(known_names(&|_| true)));
            for id in clients {
                let Some(tracker) = self.clients.get_mut(id) else { continue };
                if tracker.options.no_loop && *id == news.origin {
                    continue;
                }
                if tracker.may_know_all() {
                    tracker.tell(post, seq, &mut messages);
                    continue;
                }
                let known = known_names(&|key| tracker.may_know(catalog, key));
                if !known.is_empty() {
                    tracker.tell(post, seq, &mut Messages::new(Reply::Array(known)));
                }
            }
        }
    }

    /// Tells all tracking clients that everything has changed.
    fn invalidate_all(&mut self, post: &Post, seq: Seq) {
        let mut messages = Messages::new(Reply::Null);
        for tracker in self.clients.values_mut() {
            tracker.tell(post, seq, &mut messages);
        }
        self.readers.clear();
        self.oldest.clear();
        self.items = 0;
    }
}

/// Calls `visit` with each entry whose key is a prefix of `text`, the longest first. However many entries there are, it
/// looks at few, because only longer prefixes sort between a prefix of `text` and the last entry found.
fn for_each_prefix<'t, V>(
    by_prefix: &'t BTreeMap<Bytes, V>,
    text: &[u8],
    mut visit: impl FnMut(&'t Bytes, &'t V),
) {
    let mut rest = text;
    while let Some((prefix, value)) =
        by_prefix.range::<[u8], _>((Bound::Unbounded, Bound::Included(rest))).next_back()
    {
        let common = prefix.iter().zip(rest).take_while(|(a, b)| a == b).count();
        if common < prefix.len() {
            // a longer prefix of `rest` would sort behind this one
            rest = &rest[..common];
            continue;
        }
        visit(prefix, value);
        match prefix.len().checked_sub(1) {
            Some(shorter) => rest = &rest[..shorter],
            None => return,
        }
    }
}

/// An invalidation in its two forms.
struct Messages {
    push: Message,
    on_channel: Message,
}

impl Messages {
    fn new(keys: Reply) -> Messages {
        Messages {
            push: Message::new(Reply::Push(vec![Reply::text("invalidate"), keys.clone()])),
            on_channel: Message::new(Reply::Push(vec![Reply::text("message"), Reply::text(CHANNEL), keys])),
        }
    }
}

impl Tracker {
    /// Who is told.
    fn target(&self) -> &Client {
        self.options.redirect.as_ref().unwrap_or(&self.client)
    }

    /// Whether both the tracking client and the receiver may know that there is such a key.
    fn may_know(&self, catalog: &Catalog, key: &Key) -> bool {
        if self.may_know_all() {
            return true;
        }
        let label = catalog.get(key.store).map_or_else(|| key.store.to_string(), |store| store.label());
        self.client.may_know(&label, &key.name) && self.target().may_know(&label, &key.name)
    }

    fn may_know_all(&self) -> bool {
        self.client.is_unrestricted() && self.target().is_unrestricted()
    }

    fn tell(&mut self, post: &Post, seq: Seq, messages: &mut Messages) {
        let target = self.options.redirect.as_ref().unwrap_or(&self.client);
        if target.is_gone() {
            self.options.is_broken = true;
            if is_resp3(&self.client) {
                let id = Reply::Integer(target.id as i64);
                let mut message = Message::new(Reply::Push(vec![Reply::text("tracking-redir-broken"), id]));
                post.send(&self.client, message.bytes_for(&self.client), seq);
            }
        } else if is_resp3(target) {
            post.send(target, messages.push.bytes_for(target), seq);
        } else if self.options.redirect.is_some() && target.is_subscriber() {
            post.send(target, messages.on_channel.bytes_for(target), seq);
        }
        // a RESP2 connection without redirection can't be told
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::push::tracking::*;

    proptest! {
        #[test]
        fn prefixes_are_found(
            prefixes in prop::collection::btree_set("[abc]{0,5}", 0..30),
            text in "[abc]{0,6}",
        ) {
            let by_prefix: BTreeMap<Bytes, ()> =
                prefixes.iter().map(|prefix| (Bytes::from(prefix.clone()), ())).collect();
            let mut found = Vec::new();
            for_each_prefix(&by_prefix, text.as_bytes(), |prefix, ()| found.push(prefix.clone()));
            let mut expected: Vec<_> =
                by_prefix.keys().filter(|prefix| text.as_bytes().starts_with(prefix)).cloned().collect();
            expected.reverse();
            prop_assert_eq!(found, expected);
        }
    }
}
