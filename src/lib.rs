//! Larder: JSON data stores that speak the Redis protocol.
//!
//! The path of the data is also the order of the folders. Imports go down only:
//!
//! ```text
//! socket -> bytes -> request -> typed command -> transaction on a store -> record (JSON, Brotli) -> journal + overlay -> LMDB
//! net       resp     command    command          store                    record                  engine              engine/lmdb
//! ```

pub mod acl;
pub mod cli;
pub mod command;
pub mod config;
pub mod document;
pub mod engine;
pub mod error;
mod files;
pub mod http;
pub mod limits;
mod listen;
#[cfg(all(test, feature = "model"))]
mod model;
pub mod net;
pub mod push;
pub mod record;
pub mod resp;
pub mod script;
pub mod store;
mod sync;
pub mod telemetry;
mod text;
mod tls;
