//! What a connection has told us: who it is, which store, which protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clients::Client;
use super::transaction::{Queue, Watched};
use crate::acl::Account;
use crate::resp::Protocol;
use crate::store::StoreId;

/// The state of one connection, owned by its task.
pub struct Session {
    pub client: Arc<Client>,
    pub protocol: Protocol,
    /// Who it is: before it authenticates, the default user.
    pub account: Arc<Account>,
    pub authenticated: bool,
    pub store: StoreId,
    pub replies: Replies,
    /// Set by a command after whose reply the connection ends.
    pub closing: bool,
    /// The transaction between MULTI and EXEC.
    pub queue: Option<Queue>,
    /// What EXEC compares first.
    pub watched: Vec<Watched>,
}

/// Which replies are sent (CLIENT REPLY).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replies {
    On,
    Off,
    /// Not that of the command that asked for it, nor the next one.
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
            watched: Vec::new(),
        }
    }

    /// Back to how a connection begins (RESET). What it said of its library stays true.
    pub fn reset(&mut self, account: Arc<Account>, authenticated: bool) {
        self.become_user(account, authenticated);
        self.queue = None;
        self.watched.clear();
        self.show_transaction();
        self.select(0);
        self.set_protocol(Protocol::Resp2);
        self.replies = Replies::On;
        self.client.name.lock().clear();
        self.client.no_evict.store(false, Ordering::Relaxed);
        self.client.no_touch.store(false, Ordering::Relaxed);
    }

    /// Lets others see how far the transaction is.
    pub fn show_transaction(&self) {
        let queued = self.queue.as_ref().map_or(-1, |queue| queue.len() as i64);
        self.client.queued.store(queued, Ordering::Relaxed);
        self.client.watched.store(self.watched.len(), Ordering::Relaxed);
    }

    pub fn become_user(&mut self, account: Arc<Account>, authenticated: bool) {
        account.name().clone_into(&mut self.client.user.lock());
        (self.account, self.authenticated) = (account, authenticated);
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
