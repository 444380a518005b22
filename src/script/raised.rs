//! Errors that functions of Rust raise in a script.
//!
//! To Lua they are opaque values, so the prelude calls [`seen`] to get what a script sees that catches one. An error of
//! any other kind from Rust ends the script: it was stopped, or out of memory.

use std::borrow::Cow;

use mlua::{Lua, Table, Value};

use crate::error::Error;

/// The name of the prelude in errors.
pub const PRELUDE: &str = "prelude";

/// The field of an error table that says that the error is in the statistics. Redis's name.
pub const COUNTED: &str = "ignore_error_stats_update";

/// What a script did wrong.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Raised {
    pub text: String,
    kind: Kind,
    /// The error of a command: see [`Error::Counted`].
    pub is_counted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An error reply: scripts catch a table.
    Reply,
    /// As Lua's own functions raise them: scripts catch a text.
    Text,
}

/// An error of the `redis` table: a whole error line, code included.
pub fn reply_error(line: impl Into<String>) -> mlua::Error {
    mlua::Error::external(Raised { text: line.into(), kind: Kind::Reply, is_counted: false })
}

/// Ends a script that was stopped: no script can catch it.
pub fn stopped() -> mlua::Error {
    mlua::Error::runtime("the script was stopped")
}

/// An error of a command.
pub fn command_error(error: &Error) -> mlua::Error {
    let is_counted = matches!(error, Error::Counted(_));
    mlua::Error::external(Raised { text: error.to_string(), kind: Kind::Reply, is_counted })
}

/// An error of a library, after the place in the script that called it, as with `luaL_error`. There is no place if
/// `pcall` or another function that is not written in Lua called it.
pub fn library_error(lua: &Lua, text: &str) -> mlua::Error {
    const LEVELS: usize = 4;
    let mut place = String::new();
    for level in 1..LEVELS {
        let caller = lua.inspect_stack(level, |frame| {
            (frame.source().short_src.map(Cow::into_owned), frame.current_line())
        });
        match caller {
            Some((Some(name), Some(_))) if name == PRELUDE => {}
            Some((Some(name), Some(line))) => {
                place = format!("{name}:{line}: ");
                break;
            }
            _ => break,
        }
    }
    let text = format!("{place}{text}");
    mlua::Error::external(Raised { text, kind: Kind::Text, is_counted: false })
}

/// What was raised, if the script caused it.
pub fn raised(error: &mlua::Error) -> Option<&Raised> {
    match error {
        mlua::Error::CallbackError { cause, .. } => raised(cause),
        mlua::Error::ExternalError(error) => error.downcast_ref(),
        _ => None,
    }
}

impl Raised {
    /// The error line of the reply, if nobody catches it.
    pub fn line(&self) -> String {
        match self.kind {
            Kind::Reply => self.text.clone(),
            Kind::Text => format!("ERR {}", self.text),
        }
    }
}

/// What a script sees of an error that it catches; nil if it must not catch it.
pub fn seen(lua: &Lua, error: Value) -> mlua::Result<Value> {
    let Value::Error(error) = error else { return Ok(Value::Nil) };
    let Some(raised) = raised(&error) else { return Ok(Value::Nil) };
    if raised.kind == Kind::Text {
        return Ok(Value::String(lua.create_string(&raised.text)?));
    }
    error_table(lua, &raised.text, raised.is_counted).map(Value::Table)
}

/// An error as scripts see it.
pub fn error_table(lua: &Lua, text: &str, is_counted: bool) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(text)?)?;
    if is_counted {
        table.raw_set(COUNTED, true)?;
    }
    Ok(table)
}
