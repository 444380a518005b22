//! The common base of all commands: their declarations, the session and the server that they see, permissions, and
//! running them. Nothing here depends on a family of commands.

pub mod caching;
pub mod call;
pub mod describe;
pub mod flags;
pub mod guesses;
pub mod keys;
pub mod login;
pub mod pause;
pub mod permission;
pub mod plan;
pub mod queue;
pub mod reach;
pub mod run;
pub mod server;
pub mod session;
pub mod spec;
pub mod syntax;
pub mod table;

pub use call::Call;
pub use flags::Flags;
pub use keys::{KeyUse, KeyUses, Keys};
pub use plan::{
    Controlling, MoreKeys, Plan, Reading, Writing, control, read, read_key, reply, write, write_also,
    write_key,
};
pub use server::{Server, Shared, View};
pub use session::Session;
pub use spec::{Group, Secrets, Spec};
