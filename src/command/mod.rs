//! Commands: from a request to a reply.
//!
//! ```text
//! request ──▶ dispatch: known? arity? authenticated? ──▶ a command's `plan` ──▶ transaction ──▶ reply
//!                                                        parses what was typed    does it
//! ```
//!
//! [`dispatch`](dispatch::dispatch) is the one gate, for RESP and for HTTP. A command is declared once, as a [`Spec`] in
//! the file of its family; [`table`] collects them. Planning looks at arguments and checks values, outside any lock;
//! what a plan runs sees only its transaction. A read can't write, by type.
//!
//! Nothing here waits or knows sockets. It runs on the thread of whoever dispatches.

pub mod acl;
pub mod administration;
pub mod backup;
pub mod call;
pub mod client;
pub mod client_list;
pub mod client_tracking;
pub mod clients;
pub mod compatibility;
pub mod condition;
pub mod config;
pub mod connection;
pub mod counter;
pub mod database;
pub mod deadline;
pub mod debug;
pub mod dispatch;
pub mod dump;
pub mod expiry;
pub mod guesses;
pub mod increx;
pub mod info;
pub mod info_constants;
pub mod introspect;
pub mod json;
pub mod json_array;
pub mod json_get;
pub mod json_measure;
pub mod json_scalar;
pub mod json_set;
pub mod key;
pub mod latency;
#[cfg(test)]
mod limit_tests;
pub mod login;
pub mod lolwut;
pub mod memory;
pub mod monitor;
pub mod object;
pub mod pause;
pub mod permission;
pub mod pubsub;
pub mod push;
pub mod reach;
pub mod record;
pub mod reference;
pub mod replication;
pub mod scan;
pub mod scripting;
pub mod server;
pub mod session;
pub mod signal;
pub mod slow;
pub mod spec;
pub mod store;
pub mod store_links;
pub mod store_settings;
pub mod string;
pub mod string_set;
pub mod syntax;
pub mod table;
#[cfg(test)]
pub mod testing;
pub mod tips;
pub mod transaction;
#[cfg(test)]
mod visibility_tests;

pub use call::Call;
pub use dispatch::{Answer, Postponed, dispatch};
pub use server::Server;
pub use session::Session;
pub use spec::{Flags, Group, Keys, Spec};

use smallvec::SmallVec;

use crate::engine::{ReadTxn, Seq, WriteTxn};
use crate::error::Error;
use crate::resp::Reply;
use crate::store::Key;

/// Keys that a command declares beyond those at the key positions of its spec: in another store.
pub type MoreKeys = SmallVec<[Key; 1]>;

/// What a plan runs to read.
pub type Reading = dyn FnOnce(&ReadTxn<'_>) -> Result<Reply, Error>;
/// What a plan runs to write.
pub type Writing = dyn FnOnce(&mut WriteTxn<'_>) -> Result<Reply, Error>;

/// What is left to do once the arguments are understood.
pub enum Plan {
    /// Nothing.
    Reply(Reply),
    /// Nothing, and the reply reflects what happened up to here.
    Reflecting(Reply, Seq),
    Read(Box<Reading>),
    Write(Box<Writing>, MoreKeys),
}

/// A plan that reads the declared keys.
pub fn read(run: impl FnOnce(&ReadTxn<'_>) -> Result<Reply, Error> + 'static) -> Result<Plan, Error> {
    Ok(Plan::Read(Box::new(run)))
}

/// A plan that reads and writes the declared keys.
pub fn write(run: impl FnOnce(&mut WriteTxn<'_>) -> Result<Reply, Error> + 'static) -> Result<Plan, Error> {
    Ok(Plan::Write(Box::new(run), MoreKeys::new()))
}

/// A plan that reads the first declared key.
pub fn read_key(
    run: impl FnOnce(&ReadTxn<'_>, &Key) -> Result<Reply, Error> + 'static,
) -> Result<Plan, Error> {
    read(move |txn| run(txn, txn.key()?))
}

/// A plan that reads and writes the first declared key.
pub fn write_key(
    run: impl FnOnce(&mut WriteTxn<'_>, &Key) -> Result<Reply, Error> + 'static,
) -> Result<Plan, Error> {
    write(move |txn| {
        let key = txn.key()?;
        run(txn, key)
    })
}

/// A plan that reads and writes the declared keys, and some more.
pub fn write_also(
    more: MoreKeys,
    run: impl FnOnce(&mut WriteTxn<'_>) -> Result<Reply, Error> + 'static,
) -> Result<Plan, Error> {
    Ok(Plan::Write(Box::new(run), more))
}

/// A plan that is done.
pub fn reply(reply: Reply) -> Result<Plan, Error> {
    Ok(Plan::Reply(reply))
}
