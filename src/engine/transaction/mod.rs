//! Transactions: what a command sees and changes, and how several become one.

/// Writes that may take long, without the engine's lock.
pub mod apart;
/// Entries that come from an archive.
pub mod apply;
/// The journal entry of a transaction, and its effects in memory.
pub mod commit;
/// Several commands as one transaction: EXEC and scripts.
pub mod group;
/// Declared keys, in memory and on the disk.
pub mod look;
/// The way of a read and of a write.
pub mod run;
/// What listeners are told, and when.
pub mod telling;
/// What a command sees and changes: `ReadTxn` and `WriteTxn`.
pub mod txn;
/// What eviction has to know of writes.
pub mod uses;
