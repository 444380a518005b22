//! Bytes to requests, replies to bytes. Knows no sockets and no commands.

pub mod double;
pub mod encode;
mod inline;
pub mod reply;
pub mod request;

pub use double::format_double;
pub use encode::{Protocol, encode};
pub use inline::split_arguments;
pub use reply::Reply;
pub use request::{Parser, ProtocolError, Request, RequestLimits};
