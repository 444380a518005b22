//! The place of a record: a store and a key in it.

use bytes::Bytes;

use crate::limits::KEY_BYTES_MAX;

/// The number of a store: what `SELECT` takes.
pub type StoreId = u32;

/// A key in a store. It may have any length. The key of a record has at most [`KEY_BYTES_MAX`] bytes, so there is no
/// record at a longer key, and writing one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub store: StoreId,
    pub name: Bytes,
}

impl Key {
    /// Any bytes, possibly none.
    pub fn new(store: StoreId, name: Bytes) -> Key {
        Key { store, name }
    }

    /// Whether no record can be at this key.
    pub fn is_too_long(&self) -> bool {
        self.name.len() > KEY_BYTES_MAX
    }
}
