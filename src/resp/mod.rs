//! Bytes to requests, replies to bytes. Knows no sockets and no commands.

pub mod double;
pub mod encode;
mod inline;
pub mod output;
pub mod reply;
pub mod request;

pub use double::format_double;
pub use encode::{Protocol, encode, encode_sharing};
pub use inline::split_arguments;
pub use output::Output;
pub use reply::Reply;
pub use request::{Parser, ProtocolError, Request, RequestLimits};
