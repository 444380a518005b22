//! Lua scripts and functions.
//!
//! A script runs alone, like the commands of EXEC, and what it wrote is one journal entry. As in Redis, an error ends
//! it and undoes nothing; only if the journal refuses its entry, nothing of it has happened. Its commands pass the
//! checks of the gate that apply to them ([`run`]). They run in a session of the script's own, so that a SELECT
//! ends with the script. A function is a script that the server keeps: see [`functions`].
//!
//! While a script runs, others wait. When it has run for longer than `busy-reply-threshold`, the gate answers them with
//! [`Error::Busy`](crate::error::Error), except for the few commands that may end it.

/// FUNCTION, FCALL and FCALL_RO.
pub mod functions;
/// What scripts and functions have in common.
mod run;
/// EVAL, EVALSHA, their read-only forms, and SCRIPT.
pub mod scripts;
