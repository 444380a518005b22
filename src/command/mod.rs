//! Commands: from a request to a reply.
//!
//! ```text
//! request ──▶ dispatch: known? arity? authenticated? ──▶ a command's `plan` ──▶ transaction ──▶ reply
//!                                                        parses what was typed    does it
//! ```
//!
//! [`dispatch`](dispatch::dispatch) is the one gate, for RESP and for HTTP. A command is declared once, as a [`Spec`]
//! in the file of its family; [`COMMANDS`] collects them. Planning parses arguments and checks values, outside any lock; a
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

use std::sync::LazyLock;

pub use base::{Call, Flags, Group, Keys, MoreKeys, Plan, Reading, Server, Session, Spec, Writing};
pub use base::{read, read_key, reply, write, write_also, write_key};
pub use dispatch::{Answer, Postponed, dispatch};

use crate::command::base::table::Table;
use crate::command::reference::compatibility;

/// All commands.
pub static COMMANDS: LazyLock<Table> =
    LazyLock::new(|| Table::new(FAMILIES, compatibility::absent(FAMILIES)));

/// The families, each in the file of its name.
static FAMILIES: &[&[Spec]] = &[
    acl::COMMANDS,
    server::administration::COMMANDS,
    stores::backup::COMMANDS,
    clients::COMMANDS,
    server::config::COMMANDS,
    clients::connection::COMMANDS,
    strings::counter::COMMANDS,
    stores::database::COMMANDS,
    server::debug::COMMANDS,
    keys::dump::COMMANDS,
    keys::expiry::COMMANDS,
    strings::increx::COMMANDS,
    server::info::COMMANDS,
    reference::introspect::COMMANDS,
    json::array::COMMANDS,
    json::get::COMMANDS,
    json::measure::COMMANDS,
    json::scalar::COMMANDS,
    json::set::COMMANDS,
    keys::whole::COMMANDS,
    server::latency::COMMANDS,
    server::memory::COMMANDS,
    server::monitor::COMMANDS,
    keys::object::COMMANDS,
    pubsub::COMMANDS,
    server::replication::COMMANDS,
    strings::record::COMMANDS,
    keys::scan::COMMANDS,
    scripting::functions::COMMANDS,
    scripting::scripts::COMMANDS,
    server::slow::COMMANDS,
    stores::COMMANDS,
    strings::edit::COMMANDS,
    strings::set::COMMANDS,
    transaction::COMMANDS,
];
