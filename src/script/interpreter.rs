//! The interpreter: Lua 5.1 in a sandbox that `prelude.lua` builds.
//!
//! Everything that can go wrong in a script is an error of Lua, never a panic: memory is bounded by the allocator, the
//! depth of calls by Lua itself, and time by the hook. The few functions of Rust that scripts call return errors as
//! values, because a script can't catch an error that Rust raises: such errors end the script.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, IntoLuaMulti, Lua, LuaOptions, StdLib, Table, Value, VmState};

use super::convert::{as_text, to_reply};
use super::library::Bounds;
use super::raised::{COUNTED, PRELUDE, raised, seen, stopped};
use super::register::{Registered, Registering};
use super::{Host, Running, Script, api, library, register};
use crate::error::Error;
use crate::limits::{COMPILED_SCRIPTS_MAX, SCRIPT_TEXT_BYTES_MAX};
use crate::resp::{Protocol, Reply};

/// After how many instructions it is checked whether the script should stop. Most take some nanoseconds, but one that
/// concatenates or compares long strings, or grows a large table, takes milliseconds.
const INSTRUCTIONS_BETWEEN_LOOKS: u32 = 250;
const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";
/// What an interpreter is for. Scripts find `KEYS` and `ARGV` among their globals; functions get them as arguments, and
/// are registered by the text of a library, which sees other globals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Scripts,
    Functions,
}

impl Purpose {
    /// The name that errors give to a text.
    fn chunk_name(self) -> &'static str {
        match self {
            Purpose::Scripts => "@user_script",
            Purpose::Functions => "@user_function",
        }
    }
}

pub struct Interpreter {
    lua: Lua,
    /// Runs a function. Returns whether it succeeded, and its result or error.
    runner: Function,
    /// Where scripts find `KEYS` and `ARGV`.
    globals: Table,
    /// The table that scripts get as their globals.
    environment: Table,
    /// The table of that name, to which scripts get a read-only view.
    redis: Table,
    /// The globals of a library while it is loaded.
    loading_globals: Option<Table>,
    registering: Arc<Registering>,
    purpose: Purpose,
    compiled: HashMap<String, Function>,
    bounds: Arc<Bounds>,
    is_usable: bool,
}

impl Interpreter {
    /// `version` is the version of Redis that scripts see, and `seed` is that of `math.random`.
    pub fn new(
        purpose: Purpose,
        version: &str,
        seed: u32,
        memory_bytes: usize,
        running: Arc<Running>,
    ) -> Result<Interpreter, Error> {
        build(purpose, version, seed, memory_bytes, running)
            .map_err(|error| Error::other(format!("ERR no interpreter: {}", first_line(&error))))
    }

    pub fn used_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    /// Whether it may run another script: not after its memory ran out.
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Sets the current limit, and collects garbage if the previous script left much.
    pub fn prepare(&mut self, memory_bytes: usize) -> Result<(), Error> {
        let refused = |error: mlua::Error| Error::other(format!("ERR {}", first_line(&error)));
        self.lua.set_memory_limit(memory_bytes).map_err(refused)?;
        self.bounds.set_memory_bytes(memory_bytes);
        if self.lua.used_memory() > memory_bytes / 2 {
            self.compiled.clear();
            self.lua.gc_collect().map_err(refused)?;
        }
        Ok(())
    }

    /// Checks whether a script can be compiled.
    pub fn check(&mut self, script: &Script) -> Result<(), Error> {
        self.compile(script).map(|_| ())
    }

    /// Runs a script to its end.
    pub fn run(
        &mut self,
        script: &Script,
        keys: &[Bytes],
        args: &[Bytes],
        host: &mut dyn Host,
    ) -> Result<Reply, Error> {
        let function = self.compile(script)?;
        let set_globals = || {
            self.globals.raw_set("KEYS", words(&self.lua, keys)?)?;
            self.globals.raw_set("ARGV", words(&self.lua, args)?)
        };
        let outcome = set_globals().and_then(|()| self.call(function, host));
        self.reply(&script.sha, outcome)
    }

    /// Runs a function of a library to its end.
    pub fn run_function(
        &mut self,
        name: &str,
        function: &Function,
        keys: &[Bytes],
        args: &[Bytes],
        host: &mut dyn Host,
    ) -> Result<Reply, Error> {
        let arguments = words(&self.lua, keys).and_then(|keys| Ok((keys, words(&self.lua, args)?)));
        let outcome = arguments.and_then(|(keys, args)| self.call((function, keys, args), host));
        self.reply(name, outcome)
    }

    /// Runs the text of a library, without its first line, and returns the functions that it registers.
    pub fn load(&mut self, code: &[u8], time: Duration) -> Result<Vec<Registered>, Error> {
        let refused = |why: &str| Error::other(format!("ERR Error registering functions: {why}"));
        let text = self.lua.load(code).set_name(self.purpose.chunk_name()).set_mode(ChunkMode::Text);
        let text = text.set_environment(self.environment.clone()).into_function().map_err(|error| {
            self.is_usable &= !is_memory(&error);
            Error::other(format!("ERR Error compiling function: {}", first_line(&error)))
        })?;
        self.registering.begin(time);
        let ended = self.show_globals(self.loading_globals.as_ref()).and_then(|()| {
            let ended = self.runner.call::<(bool, Value)>(text);
            self.show_globals(Some(&self.globals))?;
            let (well, value) = ended?;
            if well { Ok(Ended::Well(value)) } else { Ended::from_error(&value) }
        });
        let (registered, is_overdue) = self.registering.end();
        match ended {
            Ok(Ended::Well(_)) => Ok(registered),
            _ if is_overdue => Err(refused("ERR FUNCTION LOAD timeout")),
            Ok(Ended::Raised { text, .. }) => Err(refused(&text)),
            Ok(Ended::Broken(why)) => {
                self.is_usable = false;
                Err(refused(&format!("ERR {why}")))
            }
            Err(error) => {
                self.is_usable = false;
                Err(refused(&format!("ERR {}", first_line(&error))))
            }
        }
    }

    /// Makes the environment show the fields of this table.
    fn show_globals(&self, globals: Option<&Table>) -> mlua::Result<()> {
        match self.environment.metatable() {
            Some(metatable) => metatable.raw_set("__index", globals),
            None => Ok(()),
        }
    }

    /// `name` is that of the script or the function, for errors.
    fn reply(&mut self, name: &str, outcome: mlua::Result<(Ended, Protocol)>) -> Result<Reply, Error> {
        match outcome {
            Ok((Ended::Well(value), protocol)) => match to_reply(&value, protocol, &self.bounds.running) {
                Ok(Reply::Error(error)) => Err(error),
                Ok(reply) => Ok(reply),
                Err(error) => Err(self.failed(name, &error)),
            },
            Ok((Ended::Raised { text, place, is_counted }, _)) => {
                let text = match place {
                    Some(place) => format!("{text} script: {name}, on {place}."),
                    None => text,
                };
                Err(if is_counted { Error::Counted(text) } else { Error::other(text) })
            }
            Ok((Ended::Broken(why), _)) => {
                self.is_usable = false;
                Err(Error::other(format!("ERR Error running script {name}, {why}")))
            }
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    fn failed(&mut self, name: &str, error: &mlua::Error) -> Error {
        if self.bounds.running.is_stopped() {
            return Error::other(KILLED);
        }
        self.is_usable = false;
        Error::other(format!("ERR Error running script {name}, {}", first_line(error)))
    }

    fn compile(&mut self, script: &Script) -> Result<Function, Error> {
        if let Some(known) = self.compiled.get(&script.sha) {
            return Ok(known.clone());
        }
        let chunk = self
            .lua
            .load(script.code())
            .set_name(self.purpose.chunk_name())
            .set_mode(ChunkMode::Text)
            .set_environment(self.environment.clone());
        let function = chunk.into_function().map_err(|error| {
            self.is_usable &= !is_memory(&error);
            Error::other(format!("ERR Error compiling script (new function): {}", first_line(&error)))
        })?;
        if self.compiled.len() >= COMPILED_SCRIPTS_MAX {
            self.compiled.clear();
        }
        self.compiled.insert(script.sha.clone(), function.clone());
        Ok(function)
    }

    fn call(
        &self,
        function_and_arguments: impl IntoLuaMulti,
        host: &mut dyn Host,
    ) -> mlua::Result<(Ended, Protocol)> {
        let host = RefCell::new(host);
        self.lua.scope(|scope| {
            api::add_commands(&self.redis, scope, &host, &self.bounds)?;
            let (well, value): (bool, Value) = self.runner.call(function_and_arguments)?;
            let protocol = host.borrow().protocol();
            Ok((if well { Ended::Well(value) } else { Ended::from_error(&value)? }, protocol))
        })
    }
}

/// How a script ended.
enum Ended {
    Well(Value),
    /// With an error of its own, perhaps with the place where it was raised.
    Raised {
        text: String,
        place: Option<String>,
        is_counted: bool,
    },
    /// With an error of ours: out of memory, or too deep in calls to say where.
    Broken(String),
}

impl Ended {
    /// The result of [`handle`] for an error, or an error that bypassed it.
    fn from_error(error: &Value) -> mlua::Result<Ended> {
        Ok(match error {
            Value::Table(handled) => Ended::Raised {
                text: handled.raw_get("text")?,
                place: handled.raw_get("place")?,
                is_counted: handled.raw_get(COUNTED)?,
            },
            Value::Error(error) => Ended::Broken(first_line(error)),
            Value::String(text) => Ended::Broken(text.to_string_lossy()),
            _ => Ended::Broken("execution failure".to_owned()),
        })
    }
}

fn build(
    purpose: Purpose,
    version: &str,
    seed: u32,
    memory_bytes: usize,
    running: Arc<Running>,
) -> Result<Interpreter, mlua::Error> {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
    let lua = Lua::new_with(libraries, LuaOptions::default())?;
    lua.set_memory_limit(memory_bytes)?;
    let globals = lua.globals();
    let bounds = Arc::new(Bounds::new(running.clone(), memory_bytes));
    let redis = api::table(&lua, version, &bounds)?;
    let native = lua.create_table()?;
    native.raw_set("redis", &redis)?;
    native.raw_set("libraries", library::all(&lua, &bounds)?)?;
    native.raw_set("null", Value::NULL)?;
    native.raw_set("results_max", library::RESULTS_MAX)?;
    native.raw_set("text_bytes_max", SCRIPT_TEXT_BYTES_MAX)?;
    native.raw_set("string", library::string::library(&lua, &globals.get("string")?, &bounds)?)?;
    native.raw_set("table", library::table::library(&lua, &globals.get("table")?, &bounds)?)?;
    native.raw_set("math", library::random::library(&lua, seed, &bounds)?)?;
    let looking = bounds.clone();
    native.raw_set("look", lua.create_function(move |_, ()| looking.look())?)?;
    native.raw_set("seen", lua.create_function(seen)?)?;
    let watched = running.clone();
    native.raw_set("handle", lua.create_function(move |lua, error| handle(lua, error, &watched))?)?;

    let registering = Arc::new(Registering::default());
    if purpose == Purpose::Functions {
        native.raw_set("loading", register::table(&lua, version, &registering)?)?;
    }

    let environment = lua.create_table()?;
    let runner: Function = lua
        .load(include_str!("prelude.lua"))
        .set_name(format!("={PRELUDE}"))
        .set_mode(ChunkMode::Text)
        .call((&native, &globals, &environment))?;
    // chunks that scripts load themselves find their globals there
    lua.set_globals(environment.clone())?;
    let (watched, loaded) = (running.clone(), registering.clone());
    lua.set_global_hook(
        HookTriggers::new().every_nth_instruction(INSTRUCTIONS_BETWEEN_LOOKS),
        move |_, _| {
            // while a library is loaded, it may be another interpreter's script that is stopped
            let is_stopped = match loaded.is_active() {
                true => loaded.is_overdue() || watched.has_ended(),
                false => watched.is_stopped(),
            };
            if is_stopped { Err(stopped()) } else { Ok(VmState::Continue) }
        },
    )?;
    Ok(Interpreter {
        lua,
        runner,
        globals,
        environment,
        redis,
        loading_globals: native.raw_get("loading_globals")?,
        registering,
        purpose,
        compiled: HashMap::new(),
        bounds,
        is_usable: true,
    })
}

fn words(lua: &Lua, words: &[Bytes]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(words.len(), 0)?;
    for (at, word) in words.iter().enumerate() {
        table.raw_set(at + 1, lua.create_string(word)?)?;
    }
    Ok(table)
}

/// Handles an error where it was raised: its message, and the line of the script.
fn handle(lua: &Lua, error: Value, running: &Running) -> mlua::Result<Value> {
    let mut is_counted = false;
    let text = match &error {
        Value::Error(failure) => match raised(failure) {
            Some(raised) => {
                is_counted = raised.is_counted;
                raised.line()
            }
            None if running.is_stopped() => KILLED.to_owned(),
            None => return Ok(error),
        },
        Value::Table(table) => match table.raw_get("err")? {
            text @ (Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
                is_counted = table.raw_get(COUNTED)?;
                String::from_utf8_lossy(&as_text(&text).unwrap_or_default()).into_owned()
            }
            _ => "ERR unknown error".to_owned(),
        },
        other => format!("ERR {}", other.to_string()?),
    };
    let handled = lua.create_table_with_capacity(0, 3)?;
    handled.raw_set("text", text)?;
    handled.raw_set(COUNTED, is_counted)?;
    handled.raw_set("place", place(lua))?;
    Ok(Value::Table(handled))
}

/// The innermost line of a script that is running.
fn place(lua: &Lua) -> Option<String> {
    const LEVELS: usize = 32;
    (1..LEVELS).find_map(|level| {
        lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let name = source.source.as_deref().unwrap_or_default();
            let is_script = matches!(source.what, "Lua" | "main") && name.strip_prefix('=') != Some(PRELUDE);
            frame.current_line().filter(|_| is_script).map(|line| format!("{name}:{line}"))
        })?
    })
}

fn is_memory(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. } => is_memory(cause),
        _ => false,
    }
}

/// An error as Redis shows those of Lua: without what mlua puts around it.
fn first_line(error: &mlua::Error) -> String {
    let text = match error {
        mlua::Error::CallbackError { cause, .. } => return first_line(cause),
        mlua::Error::MemoryError(_) => "not enough memory".to_owned(),
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::script::running::Runs;

    /// Answers every command with its words, and `fail` with an error.
    struct Echo(Protocol);

    impl Host for Echo {
        fn call(&mut self, args: Vec<Bytes>) -> Reply {
            match &*args[0] {
                b"fail" => Reply::Error(Error::other("MY failure")),
                _ => Reply::Array(args.into_iter().map(Reply::Bulk).collect()),
            }
        }

        fn may_run(&mut self, _: &[Bytes]) -> Result<bool, Error> {
            Ok(true)
        }

        fn protocol(&self) -> Protocol {
            self.0
        }

        fn set_protocol(&mut self, protocol: Protocol) {
            self.0 = protocol;
        }
    }

    const MEMORY_BYTES: usize = 16 << 20;

    fn interpreter() -> Interpreter {
        Interpreter::new(Purpose::Scripts, "8.8.0", 1, MEMORY_BYTES, Arc::default()).unwrap()
    }

    /// What a script gives: a text, a number or `nil`; of an error its text, without the name of the script.
    fn run_in(interpreter: &mut Interpreter, code: &str) -> String {
        let script = Script::parse(code.as_bytes()).unwrap();
        let outcome = interpreter.run(&script, &[], &[], &mut Echo(Protocol::Resp2));
        match outcome {
            Ok(Reply::Bulk(text)) => String::from_utf8_lossy(&text).into_owned(),
            Ok(Reply::Integer(number)) => number.to_string(),
            Ok(Reply::Null) => "nil".to_owned(),
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("-{}", error.to_string().replace(&script.sha, "SHA")),
        }
    }

    #[track_caller]
    fn expect(dialogue: &[(&str, &str)]) {
        let mut interpreter = interpreter();
        for (code, answer) in dialogue {
            assert_eq!(run_in(&mut interpreter, code), *answer, "{code}");
        }
    }

    #[test]
    fn nothing_that_is_shared_can_be_changed() {
        const REFUSED: &str =
            "-ERR user_script:1: Attempt to modify a readonly table script: SHA, on @user_script:1.";
        const REFUSED_BY_C: &str = "-ERR Attempt to modify a readonly table script: SHA, on @user_script:1.";
        expect(&[
            ("x = 1", REFUSED),
            ("redis.call = nil", REFUSED),
            ("string.rep = nil", REFUSED),
            ("cjson.encode = nil", REFUSED),
            ("getmetatable(_G).__index = nil", REFUSED),
            (
                "getmetatable(getmetatable(_G)).__newindex = nil",
                "-ERR user_script:1: attempt to index a boolean value script: SHA, on @user_script:1.",
            ),
            ("getmetatable('').__index = nil", REFUSED),
            ("getmetatable('').__index.rep = nil", REFUSED),
            ("rawset(_G, 'x', 1)", REFUSED_BY_C),
            ("setmetatable(_G, {})", REFUSED_BY_C),
            ("table.insert(_G, 1)", REFUSED_BY_C),
            ("local _, t = pairs(_G); t.x = 1", REFUSED),
            (
                "for _, t in pairs(_G) do if type(t) == 'table' and t ~= KEYS and t ~= ARGV then t.x = 1 end end",
                REFUSED,
            ),
            ("return type(rawget(_G, 'redis')) .. #redis .. tostring(rawget(_G, 'x'))", "table0nil"),
            ("KEYS[1] = 'x'; return KEYS[1]", "x"),
            ("return tostring(KEYS[1])", "nil"),
        ]);
    }

    #[test]
    fn what_reaches_out_is_not_there() {
        for name in [
            "io", "debug", "package", "require", "dofile", "loadfile", "print", "module", "newproxy",
            "getfenv",
        ] {
            let refused = format!(
                "-ERR user_script:1: Script attempted to access nonexistent global variable '{name}' script: SHA, on @user_script:1."
            );
            expect(&[(&format!("return {name}"), &refused)]);
        }
        expect(&[
            (
                "local names = {} for name in pairs(os) do names[#names + 1] = name end return table.concat(names)",
                "clock",
            ),
            ("return tostring(loadstring(string.dump(function() end)))", "nil"),
            (
                "local done return tostring(load(function() if not done then done = true return string.dump(function() end) end end))",
                "nil",
            ),
        ]);
    }

    #[test]
    fn memory_that_runs_out_ends_the_script_and_the_interpreter() {
        for code in [
            "return string.rep('x', 1e9)",
            "local t = {} while true do t[#t + 1] = t end",
            "local t = {} for i = 1, 1e9 do t[i] = 'x' .. i end",
            "local t = {} for i = 1, 1e9 do t[i] = function() return t end end",
            "local s = 'x' while true do s = s .. s end",
            "local s = string.rep('x', 1e6) return #s:gsub('x', string.rep('y', 100))",
        ] {
            let mut interpreter = interpreter();
            assert_eq!(
                run_in(&mut interpreter, code),
                "-ERR Error running script SHA, not enough memory",
                "{code}"
            );
            assert!(!interpreter.is_usable());
        }
    }

    /// On a thread like those that serve connections.
    fn on_server_stack(test: fn()) {
        let thread = std::thread::Builder::new().stack_size(crate::limits::THREAD_STACK_BYTES);
        thread.spawn(test).unwrap().join().unwrap();
    }

    #[test]
    fn depth_ends_the_script_only() {
        on_server_stack(depths);
    }

    fn depths() {
        let mut interpreter = interpreter();
        for (code, why) in [
            ("local function f() return 1 + f() end return f()", "stack overflow"),
            ("local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x", "loop in gettable"),
            ("return cjson.decode(string.rep('[', 1e5))", "too many nested data structures"),
            (
                "local t = {} for i = 1, 1001 do t = {t} end return cjson.encode(t)",
                "excessive nesting (1001)",
            ),
            ("local function f() return (('x'):gsub('x', f)) end return f()", "overflow"),
            (
                "local function f(n) if n == 0 then return cjson.encode(cjson.decode(string.rep('[', 999) .. \
                 string.rep(']', 999))) end return (('x'):gsub('x', function() return f(n - 1) end)) end return #f(60)",
                "1998",
            ),
            ("return string.find(string.rep('a', 1e4), string.rep('a?', 1e4))", "pattern too complex"),
        ] {
            let answer = run_in(&mut interpreter, code);
            assert!(answer.contains(why), "{code}: {answer}");
        }
        let deep = format!("return {}1{}", "{".repeat(1000), "}".repeat(1000));
        let script = Script::parse(deep.as_bytes()).unwrap();
        assert!(interpreter.check(&script).is_err(), "the parser nests 200 levels");
        assert!(interpreter.is_usable());
        assert_eq!(run_in(&mut interpreter, "return 'alive'"), "alive");
    }

    #[test]
    fn a_script_that_is_stopped_can_not_go_on() {
        for code in [
            "while true do end",
            "while true do pcall(function() while true do end end) end",
            "while true do xpcall(function() while true do end end, function() return 1 end) end",
            "while true do pcall(coroutine.wrap(function() while true do end end)) end",
            "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
            "return string.find(string.rep('a', 5000), string.rep('.?', 100) .. 'b')",
            "local s = string.gsub(string.rep('a', 5000), string.rep('.?', 100) .. 'b', function() end)",
        ] {
            let running = Arc::new(Running::default());
            let mut interpreter =
                Interpreter::new(Purpose::Scripts, "8.8.0", 1, MEMORY_BYTES, running.clone()).unwrap();
            let _run = running.begin(Runs::Script);
            running.kill(false);
            let answer = run_in(&mut interpreter, code);
            assert_eq!(
                answer, "-ERR Script killed by user with SCRIPT KILL... script: SHA, on @user_script:1.",
                "{code}"
            );
        }
    }

    /// A loop that spends its time in functions of C or Rust, or in coroutines, ends as soon as any other.
    #[test]
    fn no_function_keeps_a_script_from_being_stopped() {
        for work in [
            "cjson.decode(json)",
            "cjson.encode(list)",
            "cmsgpack.pack(list)",
            "cmsgpack.unpack(packed)",
            "struct.pack('s', text)",
            "struct.unpack(('x'):rep(1e5), text)",
            "redis.sha1hex(text)",
            "redis.log(redis.LOG_DEBUG, text)",
            "redis.call('echo', text)",
            "text:upper()",
            "text:lower()",
            "text:reverse()",
            "text:rep(4)",
            "text:gsub('x', 'y')",
            "text:gsub('x', {})",
            "text:find('y')",
            "for _ in text:gmatch('x') do end",
            "('%q'):format(text)",
            "table.concat(list, ',')",
            "table.maxn(list)",
            "table.sort(list, function() return false end)",
            "table.insert(list, 1, 1) table.remove(list, 1)",
            "table.foreach(list, type)",
            "table.foreachi(list, type)",
            "collectgarbage()",
            "loadstring(('x = 1 '):rep(1e4))",
            "load(function() return ' ' end)",
            "unpack(list, 1, 7000)",
            "text = text .. 'x'",
            "local _ = text < (text .. 'x')",
            "coroutine.wrap(function() coroutine.wrap(function() for i = 1, 50 do end end)() end)()",
            "coroutine.resume(coroutine.create(function() coroutine.resume(coroutine.create(function() for i = 1, 50 do end end)) end))",
        ] {
            let code = format!(
                "local text, list = ('x'):rep(3e5), {{}} for i = 1, 4e4 do list[i] = i end \
                 local json, packed = cjson.encode(list), cmsgpack.pack(text, 1) \
                 redis.call('kill') while true do {work} end"
            );
            expect_killed(&code);
        }
    }

    /// One call that would take minutes at least.
    #[test]
    fn no_single_call_takes_for_ever() {
        // without an array part, so that the length is looked for by doubling
        let elements: String = (0..29).map(|power| format!("[{}] = 1, ", 1 << power)).collect();
        let sparse = format!("local sparse = {{{elements}}} assert(#sparse > 1e8)");
        for call in [
            "table.insert(sparse, 1, 1)",
            "table.insert({}, -2147483648, 1)",
            "table.insert({}, 2147483648, 1)",
            "table.insert({}, -1e300, 1)",
            "table.remove(sparse, 1)",
            "table.sort(sparse, function() return false end)",
            "table.foreachi(sparse, function() end)",
        ] {
            expect_killed(&format!("{sparse} redis.call('kill') {call} while true do end"));
        }
        assert_eq!(run_in(&mut interpreter(), "return #(''):rep(2147483647)"), "0");
    }

    /// A script is killed from elsewhere, a moment after it called `kill`.
    fn expect_killed(code: &str) {
        let running = Arc::new(Running::default());
        let (begun, begin) = std::sync::mpsc::sync_channel(1);
        let (ended, end) = std::sync::mpsc::sync_channel(1);
        let watched = running.clone();
        let script = Script::parse(code.as_bytes()).unwrap();
        std::thread::spawn(move || {
            let mut interpreter =
                Interpreter::new(Purpose::Scripts, "8.8.0", 1, MEMORY_BYTES, watched.clone()).unwrap();
            let _run = watched.begin(Runs::Script);
            let _ = ended.send(interpreter.run(&script, &[], &[], &mut Killed(begun)));
        });
        begin.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("does not begin: {code}"));
        std::thread::sleep(std::time::Duration::from_millis(30));
        running.kill(false);
        let outcome = end.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("goes on: {code}"));
        let error = outcome.expect_err(code).to_string();
        assert!(error.starts_with(KILLED), "{code}: {error}");
    }

    /// What a test waits at most.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

    /// Tells when a script calls `kill`.
    struct Killed(std::sync::mpsc::SyncSender<()>);

    impl Host for Killed {
        fn call(&mut self, args: Vec<Bytes>) -> Reply {
            if &*args[0] == b"kill" {
                let _ = self.0.try_send(());
            }
            Reply::OK
        }

        fn may_run(&mut self, _: &[Bytes]) -> Result<bool, Error> {
            Ok(true)
        }

        fn protocol(&self) -> Protocol {
            Protocol::Resp2
        }

        fn set_protocol(&mut self, _: Protocol) {}
    }

    /// Faults that Redis fixed in its copy of Lua, and which of them apply here: see docs/ARCHITECTURE.md.
    #[test]
    fn ranges_are_checked_before_they_are_computed_with() {
        for range in [
            "0, 2147483647",
            "-2, 2147483647",
            "-2147483648, 2147483647",
            "-2147483648, 0",
            "1, 2147483648",
            "1, 1e300",
            "-1e300, 1e300",
            "-1 / 0, 1 / 0",
            "1, 8000",
            "'0', '2147483647'",
        ] {
            let code = format!("return {{unpack({{1, 2, 3}}, {range})}}");
            let refused = "-ERR user_script:1: too many results to unpack script: SHA, on @user_script:1.";
            expect(&[(&code, refused)]);
        }
        expect(&[
            ("return table.concat({unpack({1, 2, 3})}, ',')", "1,2,3"),
            ("return table.concat({unpack({1, 2, 3}, 2)}, ',')", "2,3"),
            ("return table.concat({unpack({1, 2, 3}, '2', 3)}, ',')", "2,3"),
            ("return select('#', unpack({}, 2147483647, 2147483647))", "1"),
            ("return select('#', unpack({}, 5, 3))", "0"),
            ("local t = {} for i = 1, 7000 do t[i] = i end return select('#', unpack(t))", "7000"),
            (
                "local x = unpack(1)",
                "-ERR user_script:1: bad argument #1 to 'unpack' (table expected, got number) script: SHA, on @user_script:1.",
            ),
        ]);
    }

    #[test]
    fn the_parser_gets_names_and_texts_that_it_can_take() {
        expect(&[
            ("return (loadstring('return 1', 'a\\0b'))()", "1"),
            ("local f = loadstring('return 1 \\0') return tostring(f)", "nil"),
            ("return select(2, loadstring('x', '=a\\0b'))", "a:1: '=' expected near '<eof>'"),
            (
                "return select(2, loadstring((' '):rep(16777217)))",
                "-ERR Error running script SHA, not enough memory",
            ),
        ]);
        let long = vec![b' '; SCRIPT_TEXT_BYTES_MAX + 1];
        assert!(Script::parse(&long).unwrap_err().to_string().contains("16777216"));
        let mut large = Interpreter::new(Purpose::Scripts, "8.8.0", 1, 1 << 27, Arc::default()).unwrap();
        let answer = run_in(&mut large, "return select(2, loadstring((' '):rep(16777217)))");
        assert_eq!(answer, "chunk has more than 16777216 bytes");
    }

    #[test]
    fn values_of_basic_types_have_no_metatable_that_could_be_changed() {
        for value in
            ["nil", "true", "1", "type", "function() end", "coroutine.create(function() end)", "cjson.null"]
        {
            let code = format!(
                "local ok, value = pcall(function() return {value} end) return tostring(getmetatable(value))"
            );
            expect(&[(&code, "nil")]);
        }
        expect(&[(
            "return tostring(newproxy)",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'newproxy' script: SHA, on @user_script:1.",
        )]);
    }

    /// What Redis 7.0 gives.
    #[test]
    fn random_numbers_are_those_of_redis() {
        const MANY: &str =
            "local t = {} for i = 1, 6 do t[i] = math.random(LIMITS) end return table.concat(t, ',')";
        for (seed, limits, numbers) in
            [("1", "1000", "42,455,835,336,566,2"), ("123456789", "-5, 1000", "47,20,94,433,324,821")]
        {
            let code = format!("math.randomseed({seed}) {}", MANY.replace("LIMITS", limits));
            expect(&[(&code, numbers)]);
        }
        for (seed, number) in [
            ("-7", "75212"),
            ("2 ^ 31", "670829"),
            ("1e300", "170829"),
            ("3.7", "783235"),
            ("'12'", "620456"),
        ] {
            expect(&[(&format!("math.randomseed({seed}) return math.random(1000000)"), number)]);
        }
        expect(&[
            ("math.randomseed(1) return ('%.17g'):format(math.random())", "0.041630344484760586"),
            ("return math.random(-2147483648, 2147483647)", "-2147483648"),
            (
                "math.random(0)",
                "-ERR user_script:1: bad argument #1 to 'random' (interval is empty) script: SHA, on @user_script:1.",
            ),
            (
                "math.random(3e9)",
                "-ERR user_script:1: bad argument #1 to 'random' (interval is empty) script: SHA, on @user_script:1.",
            ),
            (
                "math.random(1, 2, 3)",
                "-ERR user_script:1: wrong number of arguments script: SHA, on @user_script:1.",
            ),
        ]);
    }

    #[test]
    fn json_is_read_and_written_as_in_redis() {
        expect(&[
            ("return cjson.decode('0x10')", "16"),
            ("return tostring(cjson.decode('[1e5,0x1F]')[2])", "31"),
            ("return tostring(cjson.decode('-0x10'))", "-16"),
            ("return tostring(cjson.decode('0xfFp-1'))", "127.5"),
            ("return tostring(cjson.decode('+1'))", "1"),
            ("return tostring(cjson.decode('010'))", "10"),
            ("return tostring(cjson.decode('-inf'))", "-inf"),
            ("return tostring(cjson.decode('1.'))", "1"),
            (
                "return select(2, pcall(cjson.decode, '.5'))",
                "Expected value but found invalid token at character 1",
            ),
            (
                "return select(2, pcall(cjson.decode, '0x'))",
                "Expected the end but found invalid token at character 2",
            ),
            (
                "return select(2, pcall(cjson.decode, '1e'))",
                "Expected the end but found invalid token at character 2",
            ),
            (
                "cjson.decode_invalid_numbers(false) return select(2, pcall(cjson.decode, '-0x10'))",
                "Expected value but found invalid number at character 1",
            ),
            ("return cjson.encode(cjson.decode('{\"a\":[]}'))", "{\"a\":{}}"),
            ("return tostring(cjson.decode_array_with_array_mt())", "false"),
            (
                "cjson.decode_array_with_array_mt(true) return cjson.encode(cjson.decode('{\"a\":[],\"b\":{}}'))",
                "{\"a\":[],\"b\":{}}",
            ),
            ("local t = cjson.decode('[]') t[1] = 5 return cjson.encode(t)", "[5]"),
            ("return cjson.encode(setmetatable({}, {__is_cjson_array = true}))", "[]"),
            ("cjson.decode_array_with_array_mt(false) return cjson.encode(cjson.decode('[]'))", "{}"),
        ]);
    }

    #[test]
    fn a_command_has_no_more_words_than_the_script_has_memory() {
        let code = "local text, words = ('x'):rep(1e6), {} for i = 1, 100 do words[i] = text end \
                    return redis.call('echo', unpack(words))";
        let refused = "-ERR the command has 100000004 bytes, which is more than lua-memory-limit script: SHA, on @user_script:1.";
        expect(&[(code, refused)]);
    }

    #[test]
    fn sorting_is_that_of_lua() {
        expect(&[
            ("local t = {3, 1, 2} table.sort(t) return table.concat(t, ',')", "1,2,3"),
            ("local t = {'b', 'a', 'c'} table.sort(t) return table.concat(t, ',')", "a,b,c"),
            (
                "local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return table.concat(t, ',')",
                "3,2,1",
            ),
            (
                "local t = {} for i = 1, 1000 do t[i] = (i * 7919) % 1009 end table.sort(t) \
                 for i = 2, 1000 do if t[i - 1] > t[i] then return i end end return 'sorted'",
                "sorted",
            ),
            (
                "local t = {1, 'x'} table.sort(t)",
                "-ERR attempt to compare string with number script: SHA, on @user_script:1.",
            ),
            (
                "table.sort({3, 2, 1, 4}, function(a, b) return true end)",
                "-ERR invalid order function for sorting script: SHA, on @user_script:1.",
            ),
        ]);
    }

    #[test]
    fn errors_can_be_caught() {
        expect(&[
            ("local ok, err = pcall(redis.call, 'fail') return tostring(ok) .. err", "falseMY failure"),
            (
                "local _, err = xpcall(function() redis.call('fail') end, function(e) return e.err end) return err",
                "MY failure",
            ),
            ("return redis.pcall('fail').err", "MY failure"),
            (
                "local _, err = pcall(cjson.decode, '[') return err",
                "Expected value but found T_END at character 2",
            ),
            (
                "local _, err = pcall(function() return cjson.decode('[') end) return err",
                "user_script:1: Expected value but found T_END at character 2",
            ),
            (
                "local _, err = pcall(function() ('x'):gsub('x', function() error({err = 'mine'}) end) end) return err",
                "mine",
            ),
            ("local _, err = pcall(error, {1}) return err[1]", "1"),
            ("redis.call('fail')", "-MY failure script: SHA, on @user_script:1."),
            ("\n\nreturn redis.call('fail')", "-MY failure script: SHA, on @user_script:3."),
            ("error({})", "-ERR unknown error script: SHA, on @user_script:1."),
            ("error({err = {}})", "-ERR unknown error script: SHA, on @user_script:1."),
            ("error({err = 5})", "-5 script: SHA, on @user_script:1."),
            ("error({err = 'MY text'})", "-MY text script: SHA, on @user_script:1."),
            ("redis.log(9, 'x')", "-ERR Invalid log level. script: SHA, on @user_script:1."),
            ("redis.log(-1, 'x')", "-ERR Invalid log level. script: SHA, on @user_script:1."),
            ("error(redis)", "-ERR unknown error script: SHA, on @user_script:1."),
        ]);
    }

    #[test]
    fn patterns_work_as_in_lua() {
        expect(&[
            ("return table.concat({('hello world'):find('o w')}, ',')", "5,7"),
            ("return table.concat({('key = value'):match('^(%w+)%s*=%s*(%w+)$')}, ',')", "key,value"),
            ("return (('hello'):gsub('', '-'))", "-h-e-l-l-o-"),
            ("return (('hello'):gsub('', function() return '-' end))", "-h-e-l-l-o-"),
            ("return (('abc'):gsub('%w', '%0%0'))", "aabbcc"),
            ("return (('abc'):gsub('^a', {a = 1}))", "1bc"),
            ("return (('$name is $age'):gsub('%$(%w+)', {name = 'Bo', age = 5}))", "Bo is 5"),
            ("return (('abc abc'):gsub('abc', string.upper, 1))", "ABC abc"),
            (
                "local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[#t + 1] = k .. v end return table.concat(t)",
                "a1b2",
            ),
            ("local n = 0 for _ in ('abc'):gmatch('') do n = n + 1 end return n", "4"),
            ("return ('x'):find('', 10)", "2"),
            ("return ('a.b'):find('.', 1, true)", "2"),
            ("return ('x'):rep(3)", "xxx"),
            (
                "local s = ('x'):gsub('x', '%9')",
                "-ERR user_script:1: invalid capture index script: SHA, on @user_script:1.",
            ),
        ]);
    }
}
