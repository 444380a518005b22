//! Transactions: what a command sees and changes, and how several become one.

/// Writes that may take long, without the engine's lock.
pub mod apart;
/// What a transaction did, and its form in the journal.
pub mod effect;
/// Several commands as one transaction: EXEC and scripts.
pub mod group;
/// The engine's lock, at which everybody else waits while a group runs.
pub mod group_lock;
/// What a command sees and changes: `ReadTxn` and `WriteTxn`.
pub mod txn;
/// How the changes of a group are undone.
pub mod undo;
/// Watched keys without a record, for WATCH.
pub mod watch;
/// Changes in memory that are completed or end the process.
pub mod whole;
