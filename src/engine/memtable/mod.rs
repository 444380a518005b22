//! What is in memory: the changes since the last checkpoint, and the cache of records that LMDB holds.

pub mod cache;
pub mod frozen;
pub mod table;
