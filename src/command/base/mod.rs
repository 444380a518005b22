//! What every command is built on: how one is declared, the session and the server that it sees, and who may run it.

pub mod call;
pub mod clients;
pub mod guesses;
pub mod login;
pub mod permission;
pub mod plan;
pub mod reach;
pub mod server;
pub mod session;
pub mod signal;
pub mod spec;
pub mod syntax;
pub mod table;

pub use call::Call;
pub use plan::{MoreKeys, Plan, Reading, Writing, read, read_key, reply, write, write_also, write_key};
pub use server::Server;
pub use session::Session;
pub use spec::{Flags, Group, Keys, Spec};
