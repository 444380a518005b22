//! Subscriptions, and publishing.
//!
//! The session has a client's own subscriptions ([`Subscriptions`]); here is the same by channel. Messages are put into
//! the mailboxes under one lock, so that all subscribers of a channel see them in the same order, and so that none
//! comes after the end of a subscription.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::client::Client;
use crate::engine::Seq;
use crate::error::Error;
use crate::push::{Message, Post, Receivers};
use crate::resp::Reply;
use crate::store::Pattern;

/// The three kinds of subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionKind {
    Channel,
    Pattern,
    /// A channel of the shard; this server is the only one.
    Shard,
}

impl SubscriptionKind {
    pub const ALL: [SubscriptionKind; 3] =
        [SubscriptionKind::Channel, SubscriptionKind::Pattern, SubscriptionKind::Shard];
}

/// What one connection subscribes to, by kind.
#[derive(Debug, Default)]
pub struct Subscriptions {
    names: [BTreeSet<Bytes>; 3],
    bytes: usize,
}

/// What a subscription costs in addition to the bytes of its name.
const SUBSCRIPTION_BYTES: usize = 256;
/// The most memory that a compiled pattern takes for each of its bytes.
const COMPILED_BYTES: usize = 40;

fn bytes_of(kind: SubscriptionKind, name: &[u8]) -> usize {
    let per_byte = if kind == SubscriptionKind::Pattern { COMPILED_BYTES } else { 1 };
    SUBSCRIPTION_BYTES + name.len() * per_byte
}

impl Subscriptions {
    pub fn are_any(&self) -> bool {
        self.names.iter().any(|names| !names.is_empty())
    }

    pub fn of(&self, kind: SubscriptionKind) -> &BTreeSet<Bytes> {
        &self.names[kind as usize]
    }

    /// Approximately the memory that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The count in a confirmation: channels and patterns together, shard channels by themselves.
    pub fn counted_with(&self, kind: SubscriptionKind) -> usize {
        match kind {
            SubscriptionKind::Channel | SubscriptionKind::Pattern => {
                self.of(SubscriptionKind::Channel).len() + self.of(SubscriptionKind::Pattern).len()
            }
            SubscriptionKind::Shard => self.of(SubscriptionKind::Shard).len(),
        }
    }
}

#[derive(Default)]
pub struct Channels {
    subscribers: Mutex<Subscribers>,
    /// Names with subscribers.
    names: AtomicUsize,
}

#[derive(Default)]
struct Subscribers {
    channels: HashMap<Bytes, Receivers>,
    patterns: BTreeMap<Bytes, (Pattern, Receivers)>,
    shards: HashMap<Bytes, Receivers>,
}

/// What is published.
pub struct Publication {
    pub channel: Bytes,
    pub payload: Bytes,
    pub shard: bool,
    /// What the message is about, if the server itself publishes it: only clients that may know about that get it.
    pub about: Option<About>,
}

/// A key of a store, by the store's name.
pub struct About {
    pub store: String,
    pub key: Bytes,
}

impl Publication {
    fn is_for(&self, client: &Client) -> bool {
        self.about.as_ref().is_none_or(|About { store, key }| client.may_know(store, key))
    }
}

impl Channels {
    /// Fails for a pattern that is too long.
    pub fn subscribe(
        &self,
        client: &Arc<Client>,
        own: &mut Subscriptions,
        kind: SubscriptionKind,
        name: Bytes,
    ) -> Result<(), Error> {
        let mut subscribers = self.subscribers.lock();
        subscribers.of(kind, &name)?.insert(client.id, client.clone());
        self.names.store(subscribers.names(), Ordering::Relaxed);
        let bytes = bytes_of(kind, &name);
        if own.names[kind as usize].insert(name) {
            own.bytes += bytes;
        }
        client.subscriptions[kind as usize].store(own.of(kind).len(), Ordering::Relaxed);
        Ok(())
    }

    /// False: the client did not subscribe to it.
    pub fn unsubscribe(
        &self,
        client: &Client,
        own: &mut Subscriptions,
        kind: SubscriptionKind,
        name: &[u8],
    ) -> bool {
        if !own.names[kind as usize].remove(name) {
            return false;
        }
        own.bytes -= bytes_of(kind, name);
        client.subscriptions[kind as usize].store(own.of(kind).len(), Ordering::Relaxed);
        let mut subscribers = self.subscribers.lock();
        subscribers.remove(kind, name, client.id);
        self.names.store(subscribers.names(), Ordering::Relaxed);
        true
    }

    /// Ends all subscriptions of a client.
    pub fn unsubscribe_all(&self, client: &Client, own: &mut Subscriptions) {
        for kind in SubscriptionKind::ALL {
            for name in own.of(kind).clone() {
                self.unsubscribe(client, own, kind, &name);
            }
        }
    }

    /// Whether nobody subscribes to anything.
    pub fn is_empty(&self) -> bool {
        self.names.load(Ordering::Relaxed) == 0
    }

    /// Sends a message to the subscribers of a channel, of the shard or not. Returns the number of messages.
    pub fn publish(&self, post: &Post, seq: Seq, publication: Publication) -> usize {
        if self.is_empty() {
            return 0;
        }
        let mut count = 0;
        self.subscribers.lock().for_each_receiver(&publication, &mut |client, message| {
            count += 1;
            post.send(client, message.bytes_for(client), seq);
        });
        count
    }

    /// How many messages publishing would send.
    pub fn receivers(&self, publication: &Publication) -> usize {
        let mut count = 0;
        self.subscribers.lock().for_each_receiver(publication, &mut |_, _| count += 1);
        count
    }

    /// Clients with a subscription like this.
    pub fn clients_with(&self, is_like: impl Fn(&Client, SubscriptionKind, &[u8]) -> bool) -> Receivers {
        let subscribers = self.subscribers.lock();
        let channels = subscribers.channels.iter().map(|(name, of)| (SubscriptionKind::Channel, name, of));
        let patterns =
            subscribers.patterns.iter().map(|(name, (_, of))| (SubscriptionKind::Pattern, name, of));
        let shards = subscribers.shards.iter().map(|(name, of)| (SubscriptionKind::Shard, name, of));
        let all = channels.chain(patterns).chain(shards).flat_map(|(kind, name, receivers)| {
            receivers.iter().map(move |(id, client)| (kind, name, id, client))
        });
        all.filter(|(kind, name, _, client)| is_like(client, *kind, name))
            .map(|(_, _, id, client)| (*id, client.clone()))
            .collect()
    }

    /// How many subscribe to a channel, or to a shard channel.
    pub fn subscribers_of(&self, kind: SubscriptionKind, name: &[u8]) -> usize {
        let subscribers = self.subscribers.lock();
        match kind {
            SubscriptionKind::Channel => subscribers.channels.get(name).map_or(0, staying),
            SubscriptionKind::Pattern => {
                subscribers.patterns.get(name).map_or(0, |(_, receivers)| staying(receivers))
            }
            SubscriptionKind::Shard => subscribers.shards.get(name).map_or(0, staying),
        }
    }

    /// The names of a kind that have subscribers and match.
    pub fn active(&self, kind: SubscriptionKind, matching: Option<&Pattern>) -> Vec<Bytes> {
        let subscribers = self.subscribers.lock();
        let matches = |name: &&Bytes| matching.is_none_or(|pattern| pattern.matches(name));
        match kind {
            SubscriptionKind::Channel => {
                active_of(&subscribers.channels, staying).filter(matches).cloned().collect()
            }
            SubscriptionKind::Pattern => {
                active_of(&subscribers.patterns, |(_, of)| staying(of)).filter(matches).cloned().collect()
            }
            SubscriptionKind::Shard => {
                active_of(&subscribers.shards, staying).filter(matches).cloned().collect()
            }
        }
    }

    /// How many names of a kind have subscribers.
    pub fn count(&self, kind: SubscriptionKind) -> usize {
        let subscribers = self.subscribers.lock();
        match kind {
            SubscriptionKind::Channel => active_of(&subscribers.channels, staying).count(),
            SubscriptionKind::Pattern => active_of(&subscribers.patterns, |(_, of)| staying(of)).count(),
            SubscriptionKind::Shard => active_of(&subscribers.shards, staying).count(),
        }
    }
}

/// How many of them are not being disconnected.
fn staying(receivers: &Receivers) -> usize {
    receivers.values().filter(|client| client.stays()).count()
}

/// The names to which somebody subscribes who is not being disconnected.
fn active_of<'a, R>(
    names: impl IntoIterator<Item = (&'a Bytes, &'a R)>,
    staying: impl Fn(&R) -> usize,
) -> impl Iterator<Item = &'a Bytes>
where
    R: 'a,
{
    names.into_iter().filter(move |(_, of)| staying(of) > 0).map(|(name, _)| name)
}

impl Subscribers {
    fn of(&mut self, kind: SubscriptionKind, name: &Bytes) -> Result<&mut Receivers, Error> {
        Ok(match kind {
            SubscriptionKind::Channel => self.channels.entry(name.clone()).or_default(),
            SubscriptionKind::Pattern => match self.patterns.entry(name.clone()) {
                Entry::Occupied(known) => &mut known.into_mut().1,
                Entry::Vacant(new) => &mut new.insert((Pattern::new(name)?, Receivers::new())).1,
            },
            SubscriptionKind::Shard => self.shards.entry(name.clone()).or_default(),
        })
    }

    fn remove(&mut self, kind: SubscriptionKind, name: &[u8], id: u64) {
        let is_last = |receivers: &mut Receivers| {
            receivers.remove(&id);
            receivers.is_empty()
        };
        match kind {
            SubscriptionKind::Channel => {
                if self.channels.get_mut(name).is_some_and(is_last) {
                    self.channels.remove(name);
                }
            }
            SubscriptionKind::Pattern => {
                if self.patterns.get_mut(name).is_some_and(|(_, receivers)| is_last(receivers)) {
                    self.patterns.remove(name);
                }
            }
            SubscriptionKind::Shard => {
                if self.shards.get_mut(name).is_some_and(is_last) {
                    self.shards.remove(name);
                }
            }
        }
    }

    fn names(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shards.len()
    }

    /// Calls `visit` with each receiver and its message, which is made only once for all subscribers of a name. One
    /// after the other, so that at most one message is in memory that no mailbox holds.
    fn for_each_receiver(&self, publication: &Publication, visit: &mut dyn FnMut(&Client, &mut Message)) {
        let Publication { channel: name, payload, shard, .. } = publication;
        let mut tell = |receivers: Option<&Receivers>, kind: &'static str, pattern: Option<&Bytes>| {
            let Some(receivers) = receivers else { return };
            let words = [Some(Bytes::from_static(kind.as_bytes())), pattern.cloned()].into_iter().flatten();
            let words = words.chain([name.clone(), payload.clone()]).map(Reply::Bulk);
            let mut message = Message::new(Reply::Push(words.collect()));
            for client in receivers.values() {
                // one that is being disconnected receives nothing more
                if client.stays() && publication.is_for(client) {
                    visit(client, &mut message);
                }
            }
        };
        if *shard {
            return tell(self.shards.get(name), "smessage", None);
        }
        tell(self.channels.get(name), "message", None);
        for (pattern, (compiled, receivers)) in &self.patterns {
            if compiled.matches(name) {
                tell(Some(receivers), "pmessage", Some(pattern));
            }
        }
    }
}
