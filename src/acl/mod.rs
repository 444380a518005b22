//! Access control: who may log in, and what a user may do.
//!
//! Users are described by rules, as in Redis (`on >secret ~orders:* +@read`). A [`User`] is the result of the rules of
//! one user, and a [`Selector`] is one set of permissions in it; [`Acl`] keeps all users, and [`Log`] what was refused.
//! A session holds an [`Account`], which follows its user's rules as they change, so for a user who may do everything a
//! check is one atomic load.
//!
//! ```text
//! rules ──▶ User::apply ──▶ Acl (accounts by name) ──▶ Account::permits(Request) ──▶ Ok, or what was Denied
//! ```
//!
//! In addition to Redis's rules, a user can be restricted to some stores (`store=orders`) and have a first store
//! (`default-store=orders`).
//!
//! This module knows commands as numbers and names in a [`Vocabulary`] that it gets, and nothing about sessions,
//! contents of stores, or the protocol. Nothing in it waits; any thread may call it.

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
pub use log::{Context, Incident, Log, LogEntry, Moment};
pub use password::PasswordHash;
pub use rule_error::RuleError;
pub use selector::{Access, Denied, Reason, Request, Selector, has_spaces};
pub use sight::Sight;
pub use user::{User, join_selectors};
pub use vocabulary::{CommandId, CommandSet, Vocabulary};

/// The context in which rules are parsed.
#[derive(Clone, Copy)]
pub struct Grammar {
    pub vocabulary: &'static Vocabulary,
    /// Whether a new user may use all channels (`acl-pubsub-default`).
    pub all_channels: bool,
}
