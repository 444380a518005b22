//! Descriptions of commands: COMMAND, docs/COMMANDS.md and docs/COMPATIBILITY.md.

pub mod compatibility;
pub mod introspect;
pub mod markdown;
