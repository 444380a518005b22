//! How much may be stored, and for how long, in one store and on the whole server.

use serde::{Deserialize, Serialize};

use super::eviction::{Order, Policy};

/// What a store may hold, and for how long. `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<u64>,
    /// Keys and records as stored, so after compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// How long a record lives that is written without an expiry of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_ttl_ms: Option<u64>,
    /// How long a record lives after its last change, whatever its own expiry says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// Which records make room when a limit is reached. `None`: writes are refused instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evict: Option<Order>,
    /// The most keys that one query returns; 0: any number. `None`: what the server's setting says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keys_per_query: Option<u64>,
}

/// What the server may hold. `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerQuota {
    /// Named stores; the numbered ones always exist.
    pub max_stores: Option<u64>,
    /// Over all stores.
    pub max_keys: Option<u64>,
    /// Keys and records as stored, over all stores.
    pub max_bytes: Option<u64>,
    /// Which records make room when `max_keys` or `max_bytes` is reached. `None`: writes are refused instead.
    pub evict: Option<Policy>,
}

impl Quota {
    /// Whether writes have to be checked against it.
    pub fn is_bounded(&self) -> bool {
        self.max_keys.is_some() || self.max_bytes.is_some()
    }

    /// What is evicted when a limit is reached; `None` if there is no limit, or if it refuses writes.
    pub fn eviction(&self) -> Option<Policy> {
        self.evict.filter(|_| self.is_bounded()).map(Policy::of_store)
    }
}

impl ServerQuota {
    /// Whether writes have to be checked against it.
    pub fn is_bounded(&self) -> bool {
        self.max_stores.is_some() || self.max_keys.is_some() || self.max_bytes.is_some()
    }

    /// What is evicted when the limit of keys or bytes is reached; `None` if there is none, or if it refuses writes.
    pub fn eviction(&self) -> Option<Policy> {
        self.evict.filter(|_| self.max_keys.is_some() || self.max_bytes.is_some())
    }
}

/// Whether so much of a limit is used that people should know: from 80 % on.
pub fn is_nearly_full(used: u64, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| u128::from(used) * 5 >= u128::from(limit) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_full_is_four_fifths() {
        assert!(!is_nearly_full(79, Some(100)));
        assert!(is_nearly_full(80, Some(100)));
        assert!(is_nearly_full(u64::MAX, Some(u64::MAX)));
        assert!(!is_nearly_full(u64::MAX, None));
    }
}
