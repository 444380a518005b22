//! Larder: JSON data stores that speak the Redis protocol.
//!
//! The path of the data is also the order of the folders. Imports go down only, which a test checks (`src/rooms.rs`):
//!
//! ```text
//! socket -> bytes -> request -> typed command -> transaction on a store -> record (JSON, Brotli) -> journal + memtable -> LMDB
//! net       resp     command    command          engine, store             record                  engine              engine/lmdb
//! ```
//!
//! | to find | look into |
//! |---|---|
//! | connections, TLS, shutdown | [`net`], and [`http`] for the HTTP API and the dashboard |
//! | a command | the folder of its family in [`command`] |
//! | what is known of a connection: CLIENT LIST, its mailbox | [`client`] |
//! | what clients get without a request: messages, notifications, invalidations | [`push`] |
//! | who may do what | [`acl`], and [`command::base::permission`] |
//! | transactions, the journal, checkpoints, recovery, expiry, limits | [`engine`] |
//! | everything about LMDB | [`engine::lmdb`] |
//! | the archive in object storage: its objects, and who leads | [`archive`] |
//! | JSONPath and changes of documents | [`document`] |
//! | the stored form of a value | [`record`] |
//! | Lua scripts | [`script`] |
//! | a setting, a fixed limit | [`config`], [`limits`] |
//! | a subcommand of the program | [`cli`] |
//!
//! docs/ARCHITECTURE.md has a glossary, and follows a SET, a GET and a KEYS from function to function.
//!
//! The engine works without a server:
//!
//! ```
//! use bytes::Bytes;
//! use larder::engine::{Engine, Expiry, Options, clock};
//! use larder::store::{Key, Value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let engine = Engine::open(Options::new(dir))?;
//! let keys = [Key::new(0, Bytes::from("user:1"))];
//! let now_ms = clock::now_ms();
//!
//! let json = Value::unchecked(Bytes::from(r#"{"name": "Ada"}"#));
//! let ((), seq) = engine.writer().write(now_ms, &keys, |txn| txn.put(&keys[0], json, Expiry::Never))?;
//! engine.acknowledge(seq)?; // now it survives a power cut
//!
//! let (record, _) = engine.reader().read(now_ms, &keys, |txn| txn.get(&keys[0]))?;
//! assert_eq!(record.ok_or("absent")?.value, r#"{"name": "Ada"}"#);
//! engine.close()?;
//! # Ok(())
//! # }
//! ```

pub mod acl;
pub mod archive;
pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod document;
pub mod engine;
pub mod error;
mod files;
#[cfg(test)]
mod generated;
pub mod http;
pub mod limits;
mod listen;
#[cfg(all(test, feature = "model"))]
mod model;
pub mod net;
pub mod push;
mod random;
pub mod rdb;
pub mod record;
pub mod resp;
#[cfg(test)]
mod rooms;
pub mod script;
pub mod store;
mod sync;
pub mod telemetry;
mod text;
mod tls;
