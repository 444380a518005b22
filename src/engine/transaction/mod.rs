//! Transactions: what a command sees and changes, and how several become one.

pub mod apart;
pub mod effect;
pub mod group;
pub mod group_lock;
pub mod txn;
pub mod undo;
pub mod watch;
pub mod whole;
