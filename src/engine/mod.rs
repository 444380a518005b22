//! The engine: transactions on records that are durable when they are acknowledged.
//!
//! ```text
//!  write ──▶ transaction under one short lock ──▶ memtable (memory, ordered on demand) ──▶ checkpoint ──▶ LMDB
//!                        │                                                                  (background)
//!                        └──▶ journal entry ──▶ syncer ──▶ acknowledged
//!  read  ──▶ memtable, frozen memtable, LMDB
//! ```
//!
//! Everything here is synchronous. It runs on the caller's thread, except for these threads: two of the engine, of which one
//! writes checkpoints and reclaims what was flushed, and the other removes what has expired; two of the journal, of which
//! one syncs, and the other makes segments ahead of need; and some that compress while a checkpoint is written. Tasks wait
//! in [`Engine::poll_acknowledged`], [`Engine::poll_gathered`] and [`Engine::poll_room`]. Threads block in
//! [`Engine::acknowledge`] and [`Engine::sync_gathered`] and, if the journal has no room for an entry that is much longer
//! than its request, in [`Journal::wait_room`](journal::Journal::wait_room).
//!
//! The rooms are listed from top to bottom: each rests on rooms below it, and imports none above it. The rooms
//! above `core` implement what their name says as methods of `Engine`, `Reader` and `Writer`, which are in `core`.
//!
//! | room | what is in it |
//! |---|---|
//! | `backup` | copies a running engine's data |
//! | `recovery` | opening a data directory, replaying the journal, closing; checking and salvaging a directory |
//! | `eviction` | removes records so that a full store takes new ones |
//! | `expiry` | removes records whose deadline or retention has passed |
//! | `checkpoint` | moves changes from memory to LMDB |
//! | `scan` | keys in order, counts, random keys |
//! | `transaction` | what a command sees and changes, and its way to the journal and to memory; groups of commands |
//! | `limits` | quotas of stores: whether a transaction fits |
//! | `core` | the engine itself: what it consists of, its handles `Reader` and `Writer`, and room in memory and on disk |
//! | `state` | what the engine's lock protects, the lock, the changes of a transaction, how they are undone; watched keys |
//! | `memtable` | the changes since the last checkpoint, and the cache of records that LMDB holds |
//! | `heat` | how recently and how often records were used, and candidates for eviction |
//! | `events` | what listeners are told of changes |
//! | `effect` | a change of a record or a store, and its form in the journal |
//! | `error` | why the engine did not do something |
//! | `directory` | the data directory and its lock |
//! | `journal` | the write-ahead log |
//! | `lmdb` | the tables of LMDB, and reading and verifying its pages |
//! | `clock` | the only source of time |

pub mod backup;
mod checkpoint;
pub mod clock;
mod core;
mod directory;
pub mod effect;
pub mod error;
pub mod events;
mod eviction;
mod expiry;
mod heat;
pub mod journal;
mod limits;
pub mod lmdb;
mod memtable;
pub mod recovery;
pub mod scan;
mod state;
#[cfg(test)]
mod tests;
mod transaction;

pub use crate::engine::checkpoint::priority::stand_back;
pub use crate::engine::core::control::CheckpointStatus;
pub use crate::engine::core::handles::{Reader, Writer};
pub use crate::engine::core::{Engine, Status};
pub use crate::engine::directory::{DirectoryError, is_data_directory};
pub use crate::engine::error::{Error, Fault};
pub use crate::engine::events::Event;
pub use crate::engine::eviction::Evicted;
pub use crate::engine::journal::{Claim, Fsync, Seq};
pub use crate::engine::limits::fill::Fill;
pub use crate::engine::recovery::open::{OpenError, Options};
pub use crate::engine::state::watch::{Watch, Watches};
pub use crate::engine::transaction::apart::Weighed;
pub use crate::engine::transaction::apply::ApplyError;
pub use crate::engine::transaction::txn::{Expiry, Meta, ReadTxn, Record, WriteTxn};

/// The formats of files that this version writes.
pub const FORMATS: [(&str, u32); 3] =
    [("data directory", directory::FORMAT), ("tables", lmdb::FORMAT), ("journal", journal::VERSION)];
