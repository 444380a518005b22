//! The place of a record: a store and a key in it.

use bytes::Bytes;

use crate::limits::KEY_BYTES_MAX;

/// The number of a store: what `SELECT` takes.
pub type StoreId = u32;

/// A key in a store. It may be of any length: a record has at most [`KEY_BYTES_MAX`] bytes
/// of key, so there is none at a longer one, and to put one there is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub store: StoreId,
    pub name: Bytes,
}

impl Key {
    /// Any bytes will do, none included.
    pub fn new(store: StoreId, name: Bytes) -> Key {
        Key { store, name }
    }

    /// Whether no record can be at this key.
    pub fn is_too_long(&self) -> bool {
        self.name.len() > KEY_BYTES_MAX
    }
}
