//! The interpreter: Lua 5.1 in a sandbox that `prelude.lua` builds.
//!
//! Everything a script can meet is an error of Lua, never a panic: memory is bounded by the allocator, the depth of calls by
//! Lua itself, time by the hook. The few functions of Rust that scripts call give errors as values, for an error that
//! Rust raises can't be caught by a script: those are the ones that end it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};

use super::convert::to_reply;
use super::raised::{COUNTED, PRELUDE, raised, seen};
use super::{Host, Running, Script, api, library};
use crate::error::Error;
use crate::limits::COMPILED_SCRIPTS_MAX;
use crate::resp::{Protocol, Reply};

/// How many instructions pass between two looks whether the script should stop: some tens of microseconds.
const INSTRUCTIONS_BETWEEN_LOOKS: u32 = 10_000;
const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";
/// The name that errors give to a script.
const SCRIPT_NAME: &str = "@user_script";

pub struct Interpreter {
    lua: Lua,
    /// Runs a function, and gives whether it came to its end, and its result or error.
    runner: Function,
    /// Where scripts find `KEYS` and `ARGV`.
    globals: Table,
    /// What scripts get for the globals.
    environment: Table,
    /// The table of that name, of which scripts get a read-only view.
    redis: Table,
    compiled: HashMap<String, Function>,
    running: Arc<Running>,
    is_usable: bool,
}

impl Interpreter {
    /// `version` is the one of Redis that scripts see, `seed` what `math.random` begins with.
    pub fn new(
        version: &str,
        seed: u32,
        memory_bytes: usize,
        running: Arc<Running>,
    ) -> Result<Interpreter, Error> {
        build(version, seed, memory_bytes, running)
            .map_err(|error| Error::other(format!("ERR no interpreter: {}", first_line(&error))))
    }

    pub fn used_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    /// Whether it may run another script: not once its memory ran out.
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Sets the limit as it is now, and makes room if what ran before left a lot behind.
    pub fn prepare(&mut self, memory_bytes: usize) -> Result<(), Error> {
        let refused = |error: mlua::Error| Error::other(format!("ERR {}", first_line(&error)));
        self.lua.set_memory_limit(memory_bytes).map_err(refused)?;
        if self.lua.used_memory() > memory_bytes / 2 {
            self.compiled.clear();
            self.lua.gc_collect().map_err(refused)?;
        }
        Ok(())
    }

    /// Compiles a script, to say whether it can be.
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
        let outcome = self.call(function, keys, args, host);
        match outcome {
            Ok((Ended::Well(value), protocol)) => match to_reply(&value, protocol, &self.running) {
                Ok(Reply::Error(error)) => Err(error),
                Ok(reply) => Ok(reply),
                Err(error) => Err(self.failed(script, &error)),
            },
            Ok((Ended::Raised { text, place, is_counted }, _)) => {
                let text = match place {
                    Some(place) => format!("{text} script: {}, on {place}.", script.sha),
                    None => text,
                };
                Err(if is_counted { Error::Counted(text) } else { Error::other(text) })
            }
            Ok((Ended::Broken(why), _)) => {
                self.is_usable = false;
                Err(Error::other(format!("ERR Error running script {}, {why}", script.sha)))
            }
            Err(error) => Err(self.failed(script, &error)),
        }
    }

    fn failed(&mut self, script: &Script, error: &mlua::Error) -> Error {
        if self.running.is_stopped() {
            return Error::other(KILLED);
        }
        self.is_usable = false;
        Error::other(format!("ERR Error running script {}, {}", script.sha, first_line(error)))
    }

    fn compile(&mut self, script: &Script) -> Result<Function, Error> {
        if let Some(known) = self.compiled.get(&script.sha) {
            return Ok(known.clone());
        }
        let chunk = self
            .lua
            .load(script.code())
            .set_name(SCRIPT_NAME)
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
        function: Function,
        keys: &[Bytes],
        args: &[Bytes],
        host: &mut dyn Host,
    ) -> mlua::Result<(Ended, Protocol)> {
        self.globals.raw_set("KEYS", words(&self.lua, keys)?)?;
        self.globals.raw_set("ARGV", words(&self.lua, args)?)?;
        let host = RefCell::new(host);
        self.lua.scope(|scope| {
            api::add_commands(&self.redis, scope, &host)?;
            let (well, value): (bool, Value) = self.runner.call(function)?;
            let protocol = host.borrow().protocol();
            Ok((if well { Ended::Well(value) } else { Ended::from_error(&value)? }, protocol))
        })
    }
}

/// How a script came to its end.
enum Ended {
    Well(Value),
    /// With an error of its own, perhaps with the place where it was raised.
    Raised {
        text: String,
        place: Option<String>,
        is_counted: bool,
    },
    /// With one of ours: no memory, or too deep in calls to say where.
    Broken(String),
}

impl Ended {
    /// What [`handle`] made of an error, or an error that came past it.
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
    version: &str,
    seed: u32,
    memory_bytes: usize,
    running: Arc<Running>,
) -> Result<Interpreter, mlua::Error> {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
    let lua = Lua::new_with(libraries, LuaOptions::default())?;
    lua.set_memory_limit(memory_bytes)?;
    let globals = lua.globals();
    globals.get::<Table>("math")?.get::<Function>("randomseed")?.call::<()>(seed)?;

    let redis = api::table(&lua, version)?;
    let native = lua.create_table()?;
    native.raw_set("redis", &redis)?;
    native.raw_set("libraries", library::all(&lua)?)?;
    native.raw_set("null", Value::NULL)?;
    native.raw_set("string", library::string::library(&lua, &running)?)?;
    native.raw_set("seen", lua.create_function(seen)?)?;
    let watched = running.clone();
    native.raw_set("handle", lua.create_function(move |lua, error| handle(lua, error, &watched))?)?;

    let environment = lua.create_table()?;
    let runner: Function = lua
        .load(include_str!("prelude.lua"))
        .set_name(format!("={PRELUDE}"))
        .set_mode(ChunkMode::Text)
        .call((native, &globals, &environment))?;
    // chunks that scripts load themselves find their globals there
    lua.set_globals(environment.clone())?;
    let watched = running.clone();
    lua.set_global_hook(
        HookTriggers::new().every_nth_instruction(INSTRUCTIONS_BETWEEN_LOOKS),
        move |_, _| {
            if watched.is_stopped() {
                return Err(mlua::Error::runtime("the script was stopped"));
            }
            Ok(VmState::Continue)
        },
    )?;
    Ok(Interpreter {
        lua,
        runner,
        globals,
        environment,
        redis,
        compiled: HashMap::new(),
        running,
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

/// Sees an error where it was raised: what it says, and the line of the script.
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
            Value::String(text) => {
                is_counted = table.raw_get(COUNTED)?;
                text.to_string_lossy()
            }
            _ => "ERR the error is a table without 'err'".to_owned(),
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
        Interpreter::new("8.8.0", 1, MEMORY_BYTES, Arc::default()).unwrap()
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
            let mut interpreter = Interpreter::new("8.8.0", 1, MEMORY_BYTES, running.clone()).unwrap();
            let _run = running.begin();
            running.kill();
            let answer = run_in(&mut interpreter, code);
            assert_eq!(
                answer, "-ERR Script killed by user with SCRIPT KILL... script: SHA, on @user_script:1.",
                "{code}"
            );
        }
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
                "user_script:1: Expected value but found T_END at character 2",
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
            ("error(redis)", "-ERR the error is a table without 'err' script: SHA, on @user_script:1."),
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
