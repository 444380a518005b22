//! Sockets: listening, connections, shutdown. Knows requests and replies as things to pass on, and commands not at all.
//!
//! A connection is a task: it reads what there is, runs every complete request in it, and sends the replies together,
//! once what they reflect is durable. It reads no further before the client has taken its replies, but for one batch
//! that is on its way, so a client that doesn't read costs two bounded buffers.

mod connection;
mod delivery;
mod listener;
#[cfg(all(test, feature = "model"))]
mod model_tests;
mod outbox;
mod round;
mod thread;

pub use listener::{Listen, serve};
