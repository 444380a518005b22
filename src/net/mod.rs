//! Sockets: listening, connections, shutdown. Knows requests and replies as things to pass on, and commands not at all.
//!
//! A connection is a task: it reads what there is, runs every complete request in it, and sends the replies together,
//! once what they reflect is durable. It reads no further before the client has taken its replies, so a client that
//! doesn't read costs one bounded buffer.

mod connection;
mod listener;
mod thread;
mod tls;

pub use listener::{Listen, serve};
