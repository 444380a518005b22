//! The libraries that Redis gives to scripts beside Lua's own.

mod bit;
mod cjson;
mod msgpack;
mod pattern;
pub mod string;
mod structs;

use super::raised::library_error;
use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

/// The libraries by their names.
pub fn all(lua: &Lua) -> mlua::Result<Table> {
    let libraries = lua.create_table()?;
    libraries.raw_set("bit", bit::library(lua)?)?;
    libraries.raw_set("cjson", cjson::library(lua)?)?;
    libraries.raw_set("cmsgpack", msgpack::library(lua)?)?;
    libraries.raw_set("struct", structs::library(lua)?)?;
    Ok(libraries)
}

/// Most values that a function gives: there is no more room on the stack of a function in C.
const RESULTS_MAX: usize = 7_900;

/// Why a function failed: the script's fault, which it is told, or a machine's, which ends the script.
enum Failure {
    Script(String),
    Machine(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Failure {
        Failure::Machine(error)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::Script(text)
    }
}

/// Adds a function to a library.
fn add<R: IntoLuaMulti>(
    lua: &Lua,
    library: &Table,
    name: &'static str,
    function: impl Fn(&Lua, &Arguments) -> Result<R, Failure> + Send + 'static,
) -> mlua::Result<()> {
    let function = lua.create_function(move |lua, values: MultiValue| {
        match function(lua, &Arguments { name, values }) {
            Ok(result) => Ok(result),
            Err(Failure::Script(text)) => Err(library_error(lua, &text)),
            Err(Failure::Machine(error)) => Err(error),
        }
    })?;
    library.raw_set(name, function)
}

/// What a function was called with.
struct Arguments {
    name: &'static str,
    values: MultiValue,
}

impl Arguments {
    fn get(&self, at: usize) -> &Value {
        self.values.get(at).unwrap_or(&Value::Nil)
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    /// The number at a position, which may be written as a string.
    fn number(&self, at: usize) -> Result<f64, Failure> {
        let number = match self.get(at) {
            Value::Integer(number) => Some(*number as f64),
            Value::Number(number) => Some(*number),
            Value::String(text) => text.to_string_lossy().trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong(at, "number"))
    }

    /// As [`bytes`](Arguments::bytes), without a copy where it is a string.
    fn string(&self, lua: &Lua, at: usize) -> Result<LuaString, Failure> {
        match self.get(at) {
            Value::String(text) => Ok(text.clone()),
            _ => Ok(lua.create_string(self.bytes(at)?)?),
        }
    }

    /// The string at a position, which may be a number.
    fn bytes(&self, at: usize) -> Result<Vec<u8>, Failure> {
        super::convert::as_text(self.get(at)).ok_or_else(|| self.wrong(at, "string"))
    }

    fn wrong(&self, at: usize, expected: &str) -> Failure {
        let got = if at < self.len() { self.get(at).type_name() } else { "no value" };
        self.bad(at, &format!("{expected} expected, got {got}"))
    }

    /// As `luaL_argerror` says it.
    fn bad(&self, at: usize, why: &str) -> Failure {
        Failure::Script(format!("bad argument #{} to '{}' ({why})", at + 1, self.name))
    }
}
