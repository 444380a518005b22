//! The libraries that Redis gives to scripts in addition to Lua's own.

mod bit;
mod cjson;
mod msgpack;
mod pattern;
pub mod random;
pub mod string;
mod structs;
pub mod table;

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Running;
use super::convert::truncated;
use super::format::parse_number;
use super::raised::{library_error, stopped};
use mlua::{Function, IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

/// The libraries by their names.
pub fn all(lua: &Lua, bounds: &Arc<Bounds>) -> mlua::Result<Table> {
    let libraries = lua.create_table()?;
    libraries.raw_set("bit", bit::library(lua, bounds)?)?;
    libraries.raw_set("cjson", cjson::library(lua, bounds)?)?;
    libraries.raw_set("cmsgpack", msgpack::library(lua, bounds)?)?;
    libraries.raw_set("struct", structs::library(lua, bounds)?)?;
    Ok(libraries)
}

/// The bounds for the functions of an interpreter that are not written in Lua.
pub struct Bounds {
    pub running: Arc<Running>,
    /// The memory limit of the interpreter.
    memory_bytes: AtomicUsize,
}

impl Bounds {
    pub fn new(running: Arc<Running>, memory_bytes: usize) -> Bounds {
        Bounds { running, memory_bytes: AtomicUsize::new(memory_bytes) }
    }

    pub fn set_memory_bytes(&self, memory_bytes: usize) {
        self.memory_bytes.store(memory_bytes, Ordering::Relaxed);
    }

    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Fails if the script should end.
    pub fn look(&self) -> mlua::Result<()> {
        if self.running.is_stopped() { Err(stopped()) } else { Ok(()) }
    }
}

/// The most values that a function returns: the stack of a function in C has no more room.
pub const RESULTS_MAX: usize = 7_900;

/// Why a function failed: through the script's fault, which the script is told, or the machine's, which ends the
/// script.
enum Failure {
    Script(String),
    /// An argument, counted from 0, and what is wrong with it.
    Argument(usize, String),
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

/// A library under construction.
struct Library<'l> {
    lua: &'l Lua,
    table: Table,
    bounds: &'l Arc<Bounds>,
}

impl<'l> Library<'l> {
    fn new(lua: &'l Lua, bounds: &'l Arc<Bounds>) -> mlua::Result<Library<'l>> {
        Ok(Library { lua, table: lua.create_table()?, bounds })
    }

    /// Adds a function. Before it does anything, it checks whether the script should end.
    fn add<R: IntoLuaMulti>(
        &self,
        name: &'static str,
        function: impl Fn(&Lua, &Arguments) -> Result<R, Failure> + Send + 'static,
    ) -> mlua::Result<()> {
        let bounds = self.bounds.clone();
        let function = self.lua.create_function(move |lua, values: MultiValue| {
            bounds.look()?;
            match function(lua, &Arguments { values, bounds: &bounds, spent: Cell::new(0) }) {
                Ok(result) => Ok(result),
                Err(Failure::Script(text)) => Err(library_error(lua, &text)),
                Err(Failure::Argument(at, why)) => Err(library_error(lua, &bad_argument(lua, at, &why))),
                Err(Failure::Machine(error)) => Err(error),
            }
        })?;
        self.table.raw_set(name, function)
    }

    /// Adds a function of Lua's own libraries that calls nothing of the script and whose time is bounded by the memory
    /// that a script can have.
    fn guard(&self, name: &'static str, own: Function) -> mlua::Result<()> {
        self.add(name, move |_, args| args.forward(&own))
    }
}

/// What a function was called with, and how far it has come.
struct Arguments<'b> {
    values: MultiValue,
    bounds: &'b Bounds,
    spent: Cell<usize>,
}

impl Arguments<'_> {
    /// Counts steps of a long function, and fails if the script should end. A step is about the time to look at a byte.
    fn spend(&self, steps: usize) -> Result<(), Failure> {
        const STEPS_BETWEEN_LOOKS: usize = 64 * 1024;
        let spent = self.spent.get().saturating_add(steps);
        if spent < STEPS_BETWEEN_LOOKS {
            self.spent.set(spent);
            return Ok(());
        }
        self.spent.set(0);
        Ok(self.bounds.look()?)
    }

    fn is_stopped(&self) -> bool {
        self.bounds.running.is_stopped()
    }

    /// Fails if a text that is being built can't become a string of the script any more.
    fn fits(&self, bytes: usize) -> Result<(), Failure> {
        if bytes > self.bounds.memory_bytes() {
            return Err(Failure::Machine(mlua::Error::MemoryError("not enough memory".to_owned())));
        }
        Ok(())
    }

    /// Calls a function of Lua's own with the same arguments. It must not call back into the script.
    fn forward(&self, own: &Function) -> Result<MultiValue, Failure> {
        own.call::<MultiValue>(self.values.clone()).map_err(|error| match error {
            mlua::Error::RuntimeError(text) => {
                // a traceback follows, and called from here the function does not know its name
                let text = text.split("\nstack traceback:").next().unwrap_or_default();
                match bad_argument_of(text) {
                    Some((at, why)) => self.bad(at, why),
                    None => Failure::Script(text.to_owned()),
                }
            }
            error => Failure::Machine(error),
        })
    }

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
            Value::String(text) => parse_number(&text.as_bytes()),
            _ => None,
        };
        number.ok_or_else(|| self.wrong(at, "number"))
    }

    /// The number at a position as `luaL_checkint` reads it: of one that is too large for an `int`, the lowest bits.
    fn int(&self, at: usize) -> Result<i32, Failure> {
        Ok(truncated(self.number(at)?) as i32)
    }

    /// Like [`bytes`](Arguments::bytes), without a copy if it is a string.
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
        let got = match self.values.get(at) {
            None => "no value",
            // names of mlua's own
            Some(Value::Integer(_)) => "number",
            Some(Value::LightUserData(_)) => "userdata",
            Some(value) => value.type_name(),
        };
        self.bad(at, &format!("{expected} expected, got {got}"))
    }

    fn bad(&self, at: usize, why: &str) -> Failure {
        Failure::Argument(at, why.to_owned())
    }
}

/// The argument that a message of `luaL_argerror` is about, counted from 0, and the problem.
fn bad_argument_of(text: &str) -> Option<(usize, &str)> {
    let (number, why) = text.strip_prefix("bad argument #")?.split_once(" to '?' (")?;
    let at = number.parse::<usize>().ok()?.checked_sub(1)?;
    Some((at, why.strip_suffix(')')?))
}

/// In the form of `luaL_argerror`: with the name that the caller used, and without counting the object of a method.
fn bad_argument(lua: &Lua, at: usize, why: &str) -> String {
    let called = lua.inspect_stack(0, |frame| {
        let names = frame.names();
        (names.name.map(Cow::into_owned), names.name_what == Some("method"))
    });
    let (name, is_method) = called.unwrap_or_default();
    let name = name.as_deref().unwrap_or("?");
    match (is_method, at) {
        (true, 0) => format!("calling '{name}' on bad self ({why})"),
        (true, at) => format!("bad argument #{at} to '{name}' ({why})"),
        (false, at) => format!("bad argument #{} to '{name}' ({why})", at + 1),
    }
}
