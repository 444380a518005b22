//! Bytes to requests, replies to bytes. Knows no sockets and no commands.

pub mod reply;

pub use reply::Reply;
