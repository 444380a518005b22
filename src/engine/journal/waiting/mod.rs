//! Waiting for entries to become durable, and the syncs that make them so.

pub mod syncer;
pub mod wait;
pub mod waiters;
