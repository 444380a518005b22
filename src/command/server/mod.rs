//! What operators and tools ask a server for: INFO, CONFIG, MEMORY, SLOWLOG and the like.

pub mod administration;
pub mod config;
pub mod debug;
pub mod history;
pub mod info;
pub mod latency;
pub mod lolwut;
pub mod memory;
pub mod monitor;
pub mod replication;
pub mod slow;
