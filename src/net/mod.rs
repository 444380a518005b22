//! Sockets: listening, connections, shutdown. Passes on requests and replies, and knows no commands.
//!
//! A connection is a task: it reads what is available, runs every complete request in it, and sends the replies
//! together, when what they reflect is durable. It reads nothing more before the client has taken its replies, except
//! one batch that is being delivered, so a client that doesn't read costs two bounded buffers.

mod connection;
mod delivery;
mod listener;
#[cfg(all(test, feature = "model"))]
mod model_tests;
mod outbox;
mod round;
mod thread;

pub use listener::{Listen, serve};
