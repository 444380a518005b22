//! Who subscribes to what, and publishing.
//!
//! A client's own subscriptions are its session's ([`Subscriptions`]); here is the same by channel. Messages are put into
//! the mailboxes under the one lock, so that all subscribers of a channel see them in the same order, and so that none
//! comes after the end of a subscription.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Message, Post, Receivers};
use crate::command::clients::Client;
use crate::engine::Seq;
use crate::resp::Reply;
use crate::store::Pattern;

/// The three kinds of subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Channel,
    Pattern,
    /// A channel of the shard; this server is the only one.
    Shard,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];
}

/// What one connection subscribes to, by kind.
#[derive(Debug, Default)]
pub struct Subscriptions {
    names: [BTreeSet<Bytes>; 3],
}

impl Subscriptions {
    pub fn are_any(&self) -> bool {
        self.names.iter().any(|names| !names.is_empty())
    }

    pub fn of(&self, kind: Kind) -> &BTreeSet<Bytes> {
        &self.names[kind as usize]
    }

    /// What a confirmation counts: channels and patterns together, shard channels alone.
    pub fn counted_with(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.of(Kind::Channel).len() + self.of(Kind::Pattern).len(),
            Kind::Shard => self.of(Kind::Shard).len(),
        }
    }
}

#[derive(Default)]
pub struct Channels {
    subscribers: Mutex<Subscribers>,
    /// Names that anybody subscribes to.
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
}

/// A message and its receiver.
type Delivery<'a> = (&'a Client, Bytes);

impl Channels {
    /// False: the client did so before.
    pub fn subscribe(&self, client: &Arc<Client>, own: &mut Subscriptions, kind: Kind, name: Bytes) -> bool {
        let mut subscribers = self.subscribers.lock();
        subscribers.of(kind, &name).insert(client.id, client.clone());
        self.names.store(subscribers.names(), Ordering::Relaxed);
        let is_new = own.names[kind as usize].insert(name);
        client.subscriptions[kind as usize].store(own.of(kind).len(), Ordering::Relaxed);
        is_new
    }

    /// False: the client did not subscribe to it.
    pub fn unsubscribe(&self, client: &Client, own: &mut Subscriptions, kind: Kind, name: &[u8]) -> bool {
        if !own.names[kind as usize].remove(name) {
            return false;
        }
        client.subscriptions[kind as usize].store(own.of(kind).len(), Ordering::Relaxed);
        let mut subscribers = self.subscribers.lock();
        subscribers.remove(kind, name, client.id);
        self.names.store(subscribers.names(), Ordering::Relaxed);
        true
    }

    /// Ends all subscriptions of a client.
    pub fn unsubscribe_all(&self, client: &Client, own: &mut Subscriptions) {
        for kind in Kind::ALL {
            for name in own.of(kind).clone() {
                self.unsubscribe(client, own, kind, &name);
            }
        }
    }

    /// Whether nobody subscribes to anything.
    pub fn is_empty(&self) -> bool {
        self.names.load(Ordering::Relaxed) == 0
    }

    /// Sends a message to those who subscribe to the channel, of the shard or not. Gives the number of messages.
    pub fn publish(&self, post: &Post, seq: Seq, publication: Publication) -> usize {
        if self.is_empty() {
            return 0;
        }
        let subscribers = self.subscribers.lock();
        let deliveries = subscribers.deliveries(&publication);
        let count = deliveries.len();
        deliveries.into_iter().for_each(|(client, message)| post.send(client, message, seq));
        count
    }

    /// How many messages publishing would send.
    pub fn receivers(&self, publication: &Publication) -> usize {
        self.subscribers.lock().deliveries(publication).len()
    }

    /// Clients with a subscription like this.
    pub fn clients_with(&self, is_like: impl Fn(&Client, Kind, &[u8]) -> bool) -> Receivers {
        let subscribers = self.subscribers.lock();
        let channels = subscribers.channels.iter().map(|(name, of)| (Kind::Channel, name, of));
        let patterns = subscribers.patterns.iter().map(|(name, (_, of))| (Kind::Pattern, name, of));
        let shards = subscribers.shards.iter().map(|(name, of)| (Kind::Shard, name, of));
        let all = channels.chain(patterns).chain(shards).flat_map(|(kind, name, receivers)| {
            receivers.iter().map(move |(id, client)| (kind, name, id, client))
        });
        all.filter(|(kind, name, _, client)| is_like(client, *kind, name))
            .map(|(_, _, id, client)| (*id, client.clone()))
            .collect()
    }

    /// How many subscribe to a channel, or to a shard channel.
    pub fn subscribers_of(&self, kind: Kind, name: &[u8]) -> usize {
        let subscribers = self.subscribers.lock();
        match kind {
            Kind::Channel => subscribers.channels.get(name).map_or(0, BTreeMap::len),
            Kind::Pattern => subscribers.patterns.get(name).map_or(0, |(_, receivers)| receivers.len()),
            Kind::Shard => subscribers.shards.get(name).map_or(0, BTreeMap::len),
        }
    }

    /// The names of a kind that anybody subscribes to, if they match.
    pub fn active(&self, kind: Kind, matching: Option<&Pattern>) -> Vec<Bytes> {
        let subscribers = self.subscribers.lock();
        let matches = |name: &&Bytes| matching.is_none_or(|pattern| pattern.matches(name));
        match kind {
            Kind::Channel => subscribers.channels.keys().filter(matches).cloned().collect(),
            Kind::Pattern => subscribers.patterns.keys().filter(matches).cloned().collect(),
            Kind::Shard => subscribers.shards.keys().filter(matches).cloned().collect(),
        }
    }

    /// How many names of a kind anybody subscribes to.
    pub fn count(&self, kind: Kind) -> usize {
        let subscribers = self.subscribers.lock();
        match kind {
            Kind::Channel => subscribers.channels.len(),
            Kind::Pattern => subscribers.patterns.len(),
            Kind::Shard => subscribers.shards.len(),
        }
    }
}

impl Subscribers {
    fn of(&mut self, kind: Kind, name: &Bytes) -> &mut Receivers {
        match kind {
            Kind::Channel => self.channels.entry(name.clone()).or_default(),
            Kind::Pattern => {
                let (_, receivers) = self
                    .patterns
                    .entry(name.clone())
                    .or_insert_with(|| (Pattern::new(name), Receivers::new()));
                receivers
            }
            Kind::Shard => self.shards.entry(name.clone()).or_default(),
        }
    }

    fn remove(&mut self, kind: Kind, name: &[u8], id: u64) {
        let is_last = |receivers: &mut Receivers| {
            receivers.remove(&id);
            receivers.is_empty()
        };
        match kind {
            Kind::Channel => {
                if self.channels.get_mut(name).is_some_and(is_last) {
                    self.channels.remove(name);
                }
            }
            Kind::Pattern => {
                if self.patterns.get_mut(name).is_some_and(|(_, receivers)| is_last(receivers)) {
                    self.patterns.remove(name);
                }
            }
            Kind::Shard => {
                if self.shards.get_mut(name).is_some_and(is_last) {
                    self.shards.remove(name);
                }
            }
        }
    }

    fn names(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shards.len()
    }

    fn deliveries(&self, publication: &Publication) -> Vec<Delivery<'_>> {
        let mut deliveries = Vec::new();
        let Publication { channel: name, payload, shard } = publication;
        let (channel, payload) = (Reply::Bulk(name.clone()), Reply::Bulk(payload.clone()));
        if *shard {
            let message = || vec![Reply::text("smessage"), channel, payload];
            add(&mut deliveries, self.shards.get(name), message);
            return deliveries;
        }
        let message = || vec![Reply::text("message"), channel.clone(), payload.clone()];
        add(&mut deliveries, self.channels.get(name), message);
        for (pattern, (compiled, receivers)) in &self.patterns {
            if compiled.matches(name) {
                let pattern = Reply::Bulk(pattern.clone());
                let message = || vec![Reply::text("pmessage"), pattern, channel.clone(), payload.clone()];
                add(&mut deliveries, Some(receivers), message);
            }
        }
        deliveries
    }
}

fn add<'a>(
    deliveries: &mut Vec<Delivery<'a>>,
    receivers: Option<&'a Receivers>,
    message: impl FnOnce() -> Vec<Reply>,
) {
    let Some(receivers) = receivers else { return };
    let mut message = Message::new(Reply::Push(message()));
    deliveries.extend(receivers.values().map(|client| (&**client, message.bytes_for(client))));
}
