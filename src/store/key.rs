//! The place of a record: a store and a key in it.

use bytes::Bytes;

use crate::error::Error;
use crate::limits::KEY_BYTES_MAX;

/// The number of a store: what `SELECT` takes.
pub type StoreId = u32;

/// A key in a store; its length is checked where it is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub store: StoreId,
    pub name: Bytes,
}

impl Key {
    /// Fails with [`Error::KeyTooLong`] over [`KEY_BYTES_MAX`]. Any bytes will do, none included.
    pub fn new(store: StoreId, name: Bytes) -> Result<Key, Error> {
        if name.len() > KEY_BYTES_MAX {
            return Err(Error::KeyTooLong { bytes: name.len(), limit: KEY_BYTES_MAX });
        }
        Ok(Key { store, name })
    }
}
