//! The routes for stores and records, each a command or some commands of the Redis protocol.

pub mod difference;
pub mod events;
pub mod export;
pub mod import;
pub mod keys;
pub mod links;
pub mod many;
pub mod records;
pub mod search;
pub mod stores;
pub mod tree;
