//! What a connection is sent without a request: published messages, notifications of changes, invalidations of what it
//! cached, and what MONITOR shows.
//!
//! ```text
//! PUBLISH ────────────────┐
//! the engine's news ──▶ channels, tracking ──▶ Mailbox of the receiver ──▶ its task, between replies
//! requests ────────────▶ monitors ─┘
//! its changes ─────────▶ followers ──────────▶ Mailbox of the follower ──▶ a stream of `http`
//! ```
//!
//! Everything is put into the receiver's [mailbox](mailbox::Mailbox) by the thread that causes it, and sent by the receiver's own task,
//! which also waits until what a message reveals is durable. Locks are acquired in this order: the engine's, that of
//! [`channels`], [`tracking`] or [`followers`], a mailbox's.

pub mod channels;
pub mod followers;
pub mod monitors;
pub mod tracking;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;

use crate::client::Client;
use crate::config::{Limit, Settings};
use crate::engine::events::{Classes, News, Tap};
use crate::engine::{Reader, Seq, clock};
use crate::push::channels::{About, Channels, Publication};
use crate::push::followers::Followers;
use crate::push::monitors::Monitors;
use crate::push::tracking::Tracking;
use crate::resp::{Protocol, Reply, encode};
use crate::store::{Catalog, StoreId};

/// Who gets which messages.
#[derive(Default)]
pub struct Push {
    pub channels: Channels,
    pub tracking: Tracking,
    pub monitors: Monitors,
    pub followers: Followers,
    pub post: Post,
    /// The letters `K` and `E` of `notify-keyspace-events`.
    published_by: RwLock<Classes>,
}

impl Push {
    /// Applies the settings for pushes.
    pub fn configure(&self, engine: Reader<'_>, settings: &Settings) {
        *self.post.limit.write() = settings.client_output_buffer_limit.pubsub;
        self.tracking.set_keys_max(&self.post, settings.tracking_table_max_keys);
        let classes = settings.notify_keyspace_events;
        *self.published_by.write() = classes;
        // without `K` or `E`, no events are published
        let by_any = classes.intersects(Classes::KEYSPACE | Classes::KEYEVENT);
        let events = !(Classes::CHANGED | Classes::VALUES);
        engine.listen(events, if by_any { classes } else { Classes::empty() });
    }
}

impl Tap for Push {
    fn follows(&self, store: StoreId) -> bool {
        self.followers.follows(store)
    }

    fn told(&self, seq: Seq, catalog: &Catalog, news: &News) {
        if !news.changed.is_empty() || news.stores_changed {
            self.tracking.invalidate(&self.post, seq, catalog, news);
        }
        if !news.values.is_empty() {
            self.followers.deliver(&self.post, seq, &news.values);
        }
        if news.events.is_empty() || self.channels.is_empty() {
            return;
        }
        let by = *self.published_by.read();
        for told in &news.events {
            let Some(store) = catalog.get(told.store) else { continue };
            let (label, name) = (store.label(), told.event.name.as_bytes());
            let about = || Some(About { store: label.clone(), key: told.key.clone() });
            if by.contains(Classes::KEYSPACE) {
                let channel = [b"__keyspace@", label.as_bytes(), b"__:", &told.key].concat().into();
                let payload = Bytes::from_static(name);
                let publication = Publication { channel, payload, shard: false, about: about() };
                self.channels.publish(&self.post, seq, publication);
            }
            if by.contains(Classes::KEYEVENT) {
                let channel = [b"__keyevent@", label.as_bytes(), b"__:", name].concat().into();
                let payload = told.key.clone();
                let publication = Publication { channel, payload, shard: false, about: about() };
                self.channels.publish(&self.post, seq, publication);
            }
        }
    }
}

/// Puts messages into mailboxes.
#[derive(Default)]
pub struct Post {
    limit: RwLock<Limit>,
    /// The number of clients that were disconnected because they did not read what they were sent.
    pub overflows: AtomicU64,
}

impl Post {
    /// Sends a message that must not overtake `seq`. A client that leaves too much unread is disconnected.
    pub fn send(&self, to: &Client, message: Bytes, seq: Seq) {
        let limit = self.limit();
        if to.mailbox.put(message, seq, &limit, clock::steady_ms) {
            return;
        }
        self.note_overflow(to);
        to.overflowed.store(true, Ordering::Relaxed);
        to.end();
    }

    /// What may wait for one client.
    pub fn limit(&self) -> Limit {
        *self.limit.read()
    }

    /// Disconnects a client because it did not read what it was sent.
    pub fn note_overflow(&self, client: &Client) {
        self.overflows.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            id = client.id,
            address = client.address,
            "a client does not read its messages; it was disconnected at client-output-buffer-limit"
        );
    }
}

/// A message to several clients, encoded once for each protocol.
pub struct Message {
    reply: Reply,
    encoded: [Option<Bytes>; 2],
}

impl Message {
    pub fn new(reply: Reply) -> Message {
        Message { reply, encoded: [None, None] }
    }

    /// The encoding for the protocol of this client.
    pub fn bytes_for(&mut self, client: &Client) -> Bytes {
        let protocol = if is_resp3(client) { Protocol::Resp3 } else { Protocol::Resp2 };
        let reply = &self.reply;
        let encoded = self.encoded[usize::from(protocol == Protocol::Resp3)].get_or_insert_with(|| {
            let mut out = BytesMut::new();
            encode(reply, protocol, &mut out);
            out.freeze()
        });
        encoded.clone()
    }
}

fn is_resp3(client: &Client) -> bool {
    client.protocol.load(Ordering::Relaxed) == Protocol::Resp3.number()
}

/// Clients by number.
pub type Receivers = std::collections::BTreeMap<u64, Arc<Client>>;
