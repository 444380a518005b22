//! Access control: who may log in, and what a user may do.
//!
//! Users are described by rules, as in Redis (`on >secret ~orders:* +@read`). [`User`] is what the rules of one user add
//! up to, a [`Selector`] one set of permissions in it; [`Acl`] keeps all users, and [`Log`] what was refused. A session
//! holds an [`Account`], which follows its user's rules as they change, so asking is one atomic load for whoever may do
//! everything.
//!
//! ```text
//! rules ──▶ User::apply ──▶ Acl (accounts by name) ──▶ Account::permits(Request) ──▶ Ok, or what was Denied
//! ```
//!
//! Beyond Redis, a user can be kept to some of the stores (`store=orders`) and have one to begin with
//! (`default-store=orders`).
//!
//! This module knows commands as numbers and names in a [`Vocabulary`] that it is given, and nothing of sessions, stores'
//! contents, or the protocol. Nothing in it waits; any thread may call it.

mod accounts;
pub mod file;
mod log;
mod password;
mod rule_error;
mod selector;
mod sight;
mod user;
mod vocabulary;

pub use accounts::{Account, Acl, DEFAULT_USER};
pub use log::{Context, Entry, Incident, Log, Moment};
pub use password::PasswordHash;
pub use rule_error::RuleError;
pub use selector::{Access, Denied, Reason, Request, Selector, has_spaces};
pub use sight::Sight;
pub use user::{User, join_selectors};
pub use vocabulary::{CommandId, CommandSet, Vocabulary};

/// What rules are read by.
#[derive(Clone, Copy)]
pub struct Grammar {
    pub vocabulary: &'static Vocabulary,
    /// Whether a new user may use all channels (`acl-pubsub-default`).
    pub all_channels: bool,
}
