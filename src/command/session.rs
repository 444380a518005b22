//! What a connection has told us: who it is, which store, which protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clients::Client;
use crate::resp::Protocol;
use crate::store::StoreId;

/// The state of one connection, owned by its task.
pub struct Session {
    pub client: Arc<Client>,
    pub protocol: Protocol,
    pub authenticated: bool,
    pub store: StoreId,
    pub replies: Replies,
    /// Set by a command after whose reply the connection ends.
    pub closing: bool,
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
    pub fn new(client: Arc<Client>, authenticated: bool) -> Session {
        Session {
            client,
            protocol: Protocol::Resp2,
            authenticated,
            store: 0,
            replies: Replies::On,
            closing: false,
        }
    }

    pub fn select(&mut self, store: StoreId) {
        self.store = store;
        self.client.store.store(store, Ordering::Relaxed);
    }

    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        let number = match protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        self.client.protocol.store(number, Ordering::Relaxed);
    }
}
