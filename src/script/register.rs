//! `redis.register_function`, and what else the text of a library finds while it is loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mlua::{Function, Lua, MultiValue, Table, Value};
use parking_lot::Mutex;

use super::api;
use super::convert::as_text;
use super::raised::reply_error;
use super::source::{Declared, FLAGS};
use crate::engine::clock;
use crate::limits::{DESCRIPTIONS_PER_LIBRARY_BYTES_MAX, FUNCTION_NAME_BYTES_MAX, FUNCTIONS_PER_LIBRARY_MAX};

/// A function that a library has registered.
pub struct Registered {
    pub name: String,
    pub description: Option<Vec<u8>>,
    pub flags: Declared,
    pub callback: Function,
}

/// The registration that is going on in an interpreter, if there is one.
#[derive(Default)]
pub struct Registering {
    is_active: AtomicBool,
    loading: Mutex<Option<Loading>>,
}

struct Loading {
    functions: Vec<Registered>,
    /// Bytes of names and descriptions.
    bytes: usize,
    ends_at: Instant,
    is_overdue: bool,
}

impl Registering {
    /// Begins; the text may run for so long.
    pub fn begin(&self, time: Duration) {
        let ends_at = clock::monotonic() + time;
        let loading = Loading { functions: Vec::new(), bytes: 0, ends_at, is_overdue: false };
        *self.loading.lock() = Some(loading);
        self.is_active.store(true, Ordering::Release);
    }

    /// What was registered, and whether that was given up because it took too long.
    pub fn end(&self) -> (Vec<Registered>, bool) {
        self.is_active.store(false, Ordering::Release);
        self.loading.lock().take().map_or_else(Default::default, |it| (it.functions, it.is_overdue))
    }

    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Acquire)
    }

    /// Whether the text takes too long.
    pub fn is_overdue(&self) -> bool {
        let mut loading = self.loading.lock();
        loading.as_mut().is_some_and(|loading| {
            loading.is_overdue |= clock::monotonic() >= loading.ends_at;
            loading.is_overdue
        })
    }

    fn add(&self, function: Registered) -> Result<(), String> {
        let mut loading = self.loading.lock();
        let Some(loading) = loading.as_mut() else { return Err(ONLY_WHILE_LOADING.to_owned()) };
        if loading.functions.iter().any(|known| known.name == function.name) {
            return Err("Function already exists in the library".to_owned());
        }
        if loading.functions.len() >= FUNCTIONS_PER_LIBRARY_MAX {
            return Err(format!("a library has at most {FUNCTIONS_PER_LIBRARY_MAX} functions"));
        }
        loading.bytes += function.name.len() + function.description.as_ref().map_or(0, Vec::len);
        if loading.bytes > DESCRIPTIONS_PER_LIBRARY_BYTES_MAX {
            return Err(format!(
                "the names and descriptions of a library's functions have at most {DESCRIPTIONS_PER_LIBRARY_BYTES_MAX} bytes"
            ));
        }
        loading.functions.push(function);
        Ok(())
    }
}

const ONLY_WHILE_LOADING: &str = "redis.register_function can only be called on FUNCTION LOAD command";

/// The table `redis` of a library while it is loaded.
pub fn table(lua: &Lua, version: &str, registering: &Arc<Registering>) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    api::add_log_and_version(lua, &redis, version)?;
    let registering = registering.clone();
    let register_function = lua.create_function(move |_, args: MultiValue| {
        let refused = |why: String| reply_error(format!("ERR {why}"));
        if !registering.is_active() {
            return Err(refused(ONLY_WHILE_LOADING.to_owned()));
        }
        function(&args).and_then(|function| registering.add(function)).map_err(refused)
    })?;
    redis.raw_set("register_function", register_function)?;
    Ok(redis)
}

/// Checks the name of a library or a function. Redis speaks of libraries in both cases.
pub fn check_name(name: &[u8]) -> Result<String, String> {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match std::str::from_utf8(name) {
        Ok(text) if !text.is_empty() && name.iter().all(is_allowed) => {
            if name.len() > FUNCTION_NAME_BYTES_MAX {
                let bytes = name.len();
                return Err(format!(
                    "the name has {bytes} bytes, and the limit is {FUNCTION_NAME_BYTES_MAX}"
                ));
            }
            Ok(text.to_owned())
        }
        _ => Err(
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one \
                  character long"
                .to_owned(),
        ),
    }
}

fn function(args: &MultiValue) -> Result<Registered, String> {
    match (args.front(), args.get(1)) {
        (Some(Value::Table(named)), None) => named_arguments(named),
        (Some(_), None) => {
            Err("calling redis.register_function with a single argument is only applicable to Lua \
                                table (representing named arguments)."
                .to_owned())
        }
        (Some(name), Some(callback)) if args.len() == 2 => {
            let name = as_text(name).ok_or("first argument to redis.register_function must be a string")?;
            let Value::Function(callback) = callback else {
                return Err("second argument to redis.register_function must be a function".to_owned());
            };
            let (description, flags) = (None, Declared::default());
            Ok(Registered { name: check_name(&name)?, description, flags, callback: callback.clone() })
        }
        _ => Err("wrong number of arguments to redis.register_function".to_owned()),
    }
}

fn named_arguments(named: &Table) -> Result<Registered, String> {
    let (mut name, mut description, mut callback, mut flags) = (None, None, None, Declared::default());
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        let key =
            as_text(&key).ok_or("named argument key given to redis.register_function is not a string")?;
        let is = |what: &str| key.eq_ignore_ascii_case(what.as_bytes());
        let text = |what: &str| {
            let refused = || format!("{what} argument given to redis.register_function must be a string");
            as_text(&value).ok_or_else(refused)
        };
        if is("function_name") {
            name = Some(text("function_name")?);
        } else if is("description") {
            description = Some(text("description")?);
        } else if is("callback") {
            let Value::Function(function) = value else {
                let why = "callback argument given to redis.register_function must be a function";
                return Err(why.to_owned());
            };
            callback = Some(function);
        } else if is("flags") {
            let Value::Table(list) = value else {
                let why =
                    "flags argument to redis.register_function must be a table representing function flags";
                return Err(why.to_owned());
            };
            flags = declared(&list)?;
        } else {
            return Err("unknown argument given to redis.register_function".to_owned());
        }
    }
    let name = name.ok_or("redis.register_function must get a function name argument")?;
    let callback = callback.ok_or("redis.register_function must get a callback argument")?;
    Ok(Registered { name: check_name(&name)?, description, flags, callback })
}

fn declared(list: &Table) -> Result<Declared, String> {
    let mut flags = Declared::default();
    for at in 1..=list.raw_len() + 1 {
        let flag = list.raw_get::<Value>(at).map_err(|error| error.to_string())?;
        if flag.is_nil() {
            break;
        }
        let flag = as_text(&flag).unwrap_or_default();
        let known = FLAGS.iter().find(|(name, _)| flag.eq_ignore_ascii_case(name.as_bytes()));
        flags |= known.ok_or("unknown flag given")?.1;
    }
    Ok(flags)
}
