//! Commands: from a request to a reply.
//!
//! ```text
//! request ──▶ dispatch: known? arity? authenticated? ──▶ a command's `plan` ──▶ transaction ──▶ reply
//!                                                        parses what was typed    does it
//! ```
//!
//! [`dispatch`](dispatch::dispatch) is the one gate, for RESP and for HTTP. A command is declared once, as a [`Spec`]
//! in the file of its family; [`base::table`] collects them. Planning parses arguments and checks values, outside any lock; a
//! plan then sees only its transaction. A read can't write, by type.
//!
//! Nothing here waits or knows sockets. It runs on the caller's thread.

pub mod acl;
pub mod base;
pub mod clients;
pub mod dispatch;
pub mod json;
pub mod keys;
pub mod pubsub;
pub mod reference;
pub mod scripting;
pub mod server;
pub mod stores;
pub mod strings;
#[cfg(test)]
pub mod tests;
pub mod transaction;

pub use base::{Call, Flags, Group, Keys, MoreKeys, Plan, Reading, Server, Session, Spec, Writing};
pub use base::{read, read_key, reply, write, write_also, write_key};
pub use dispatch::{Answer, Postponed, dispatch};
