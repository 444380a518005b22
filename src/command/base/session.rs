//! The state of a connection: its user, store and protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::acl::Account;
use crate::client::Client;
use crate::command::base::caching::Caching;
use crate::command::base::queue::{Queue, WatchedKeys};
use crate::command::base::server::View;
use crate::engine::Seq;
use crate::push::channels::Subscriptions;
use crate::resp::Protocol;
use crate::store::StoreId;

/// The state of one connection, owned by its task.
pub struct Session {
    pub client: Arc<Client>,
    pub protocol: Protocol,
    /// Its account; that of the default user before it authenticates.
    pub account: Arc<Account>,
    pub authenticated: bool,
    pub store: StoreId,
    pub replies: Replies,
    /// Set by a command after whose reply the connection has to end.
    pub closing: bool,
    /// The transaction between MULTI and EXEC.
    pub queue: Option<Queue>,
    /// The watched keys, which EXEC compares first.
    pub watched: WatchedKeys,
    /// The memory of the watched keys.
    pub watched_bytes: usize,
    pub subscriptions: Subscriptions,
    pub monitoring: bool,
    /// Which of the keys it reads are remembered (CLIENT TRACKING).
    pub caching: Caching,
    /// The latest change that the connection has made or seen. Messages that it publishes may reveal this change, so
    /// they wait until it is durable.
    pub seen: Seq,
    /// CLIENT PAUSE may delay its requests; the caller of dispatch tries again.
    pub may_be_held: bool,
    /// Its commands may take long, because it runs on a thread that serves no other client meanwhile.
    pub may_block: bool,
    /// Its commands only update a page that shows the server, so the slow log and the latency monitor leave them out.
    pub is_watching: bool,
    /// The memory of the reply that is being assembled; only that of EXEC has several parts.
    pub reply_bytes: usize,
    /// Whether it is the session of a script, not of a connection.
    pub is_script: bool,
    /// The number of messages in its mailbox that are sent before the reply, because their subscription has ended.
    pub messages_first: usize,
}

/// Which replies are sent (CLIENT REPLY).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replies {
    On,
    Off,
    /// Neither the reply of the command that asked for it, nor the next one.
    SkipNext,
    /// Not this one.
    Skip,
}

impl Session {
    pub fn new(client: Arc<Client>, account: Arc<Account>, authenticated: bool) -> Session {
        Session {
            client,
            protocol: Protocol::Resp2,
            account,
            authenticated,
            store: 0,
            replies: Replies::On,
            closing: false,
            queue: None,
            watched: WatchedKeys::default(),
            watched_bytes: 0,
            subscriptions: Subscriptions::default(),
            monitoring: false,
            caching: Caching::default(),
            seen: 0,
            may_be_held: false,
            may_block: true,
            is_watching: false,
            reply_bytes: 0,
            is_script: false,
            messages_first: 0,
        }
    }

    /// The session of a script that this one runs: in the same store, with the same rights, and in RESP2.
    pub fn for_script(&self) -> Session {
        Session {
            store: self.store,
            caching: self.caching,
            seen: self.seen,
            is_script: true,
            ..Session::new(self.client.clone(), self.account.clone(), self.authenticated)
        }
    }

    /// Resets the session to that of a new connection (RESET). The information about the client's library stays.
    pub fn reset(&mut self, account: Arc<Account>, authenticated: bool) {
        self.become_user(account, authenticated);
        self.queue = None;
        self.unwatch();
        self.show_transaction();
        self.select(0);
        self.set_protocol(Protocol::Resp2);
        self.replies = Replies::On;
        self.client.name.lock().clear();
        self.client.no_evict.store(false, Ordering::Relaxed);
        self.client.no_touch.store(false, Ordering::Relaxed);
    }

    /// Publishes the state of the transaction for CLIENT LIST.
    pub fn show_transaction(&self) {
        let queued = self.queue.as_ref().map_or(-1, |queue| queue.len() as i64);
        self.client.queued.store(queued, Ordering::Relaxed);
        self.client.watched.store(self.watched.len(), Ordering::Relaxed);
        self.show_memory();
    }

    /// Publishes how much memory the session keeps for its client.
    pub fn show_memory(&self) {
        let queued = self.queue.as_ref().map_or(0, Queue::bytes);
        let kept = queued + self.watched_bytes + self.subscriptions.bytes();
        self.client.session_bytes.store(kept, Ordering::Relaxed);
    }

    /// Forgets all watched keys.
    pub fn unwatch(&mut self) -> WatchedKeys {
        self.watched_bytes = 0;
        std::mem::take(&mut self.watched)
    }

    pub fn become_user(&mut self, account: Arc<Account>, authenticated: bool) {
        *self.client.account.lock() = Some(account.clone());
        (self.account, self.authenticated) = (account, authenticated);
    }

    /// Ends everything that is sent to the connection without a request: subscriptions, tracking, MONITOR.
    pub fn detach(&mut self, server: View<'_>) {
        let Session { client, subscriptions, .. } = self;
        server.push.channels.unsubscribe_all(client, subscriptions);
        server.push.tracking.stop(server.engine, client);
        server.push.monitors.remove(client.id);
        (self.monitoring, self.caching) = (false, Caching::default());
        self.messages_first = self.client.mailbox.size().0;
    }

    /// Whether the connection only receives messages, and is therefore not closed for being idle.
    pub fn is_listening(&self) -> bool {
        self.monitoring || self.subscriptions.are_any()
    }

    pub fn select(&mut self, store: StoreId) {
        self.store = store;
        self.client.store.store(store, Ordering::Relaxed);
    }

    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.protocol.store(protocol.number(), Ordering::Relaxed);
    }
}
