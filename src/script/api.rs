//! The functions of the `redis` table that are not written in Lua.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use mlua::{Function, Lua, MultiValue, Scope, Table, Value};

use super::Host;
use super::convert::{as_number, as_text, as_word, to_lua};
use super::format::parse_number;
use super::library::Bounds;
use super::raised::{command_error, reply_error};
use super::source::sha1_hex;
use crate::error::Error;
use crate::limits::SCRIPT_LOG_BYTES_MAX;
use crate::resp::{Protocol, Reply};

const LOG_LEVELS: [(&str, i64); 4] =
    [("LOG_DEBUG", 0), ("LOG_VERBOSE", 1), ("LOG_NOTICE", 2), ("LOG_WARNING", 3)];
const REPLICATION: [(&str, i64); 5] =
    [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", 3)];

/// The part that is the same for all scripts.
pub fn table(lua: &Lua, version: &str, bounds: &Arc<Bounds>) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    for (name, value) in REPLICATION {
        redis.raw_set(name, value)?;
    }
    add_log_and_version(lua, &redis, version)?;
    let looking = bounds.clone();
    let sha1hex = lua.create_function(move |lua, args| {
        looking.look()?;
        sha1hex(lua, args)
    })?;
    redis.raw_set("sha1hex", sha1hex)?;
    redis.raw_set("set_repl", lua.create_function(set_repl)?)?;
    Ok(redis)
}

/// Adds what libraries of functions see while they are loaded, too.
pub fn add_log_and_version(lua: &Lua, redis: &Table, version: &str) -> mlua::Result<()> {
    for (name, value) in LOG_LEVELS {
        redis.raw_set(name, value)?;
    }
    redis.raw_set("REDIS_VERSION", version)?;
    let number = version.split('.').fold(0, |number: i64, part| number << 8 | part.parse().unwrap_or(0));
    redis.raw_set("REDIS_VERSION_NUM", number)?;
    redis.raw_set("log", lua.create_function(log)?)
}

/// Adds what belongs to one run; it ends with the scope.
pub fn add_commands<'scope, 'env: 'scope>(
    redis: &Table,
    scope: &'scope Scope<'scope, 'env>,
    host: &'env RefCell<&mut dyn Host>,
    bounds: &'env Bounds,
) -> mlua::Result<()> {
    let call: Function = scope.create_function(|lua, args: MultiValue| {
        bounds.look()?;
        let (reply, protocol) = run(host, &args, bounds);
        match reply {
            Reply::Error(error) => Err(command_error(&error)),
            reply => to_lua(lua, &reply, protocol),
        }
    })?;
    redis.raw_set("call", call)?;
    let pcall = scope.create_function(|lua, args: MultiValue| {
        bounds.look()?;
        let (reply, protocol) = run(host, &args, bounds);
        to_lua(lua, &reply, protocol)
    })?;
    redis.raw_set("pcall", pcall)?;
    let acl_check_cmd = scope.create_function(|_, args: MultiValue| {
        let allowed = words(&args, bounds).and_then(|words| host.borrow_mut().may_run(&words));
        allowed.map_err(|error| reply_error(error.to_string()))
    })?;
    redis.raw_set("acl_check_cmd", acl_check_cmd)?;
    let setresp = scope.create_function(|_, args: MultiValue| {
        host.borrow_mut().set_protocol(protocol(&args)?);
        Ok(())
    })?;
    redis.raw_set("setresp", setresp)
}

fn run(host: &RefCell<&mut dyn Host>, args: &MultiValue, bounds: &Bounds) -> (Reply, Protocol) {
    let mut host = host.borrow_mut();
    let reply = match words(args, bounds) {
        Ok(words) => host.call(words),
        Err(error) => Reply::Error(error),
    };
    (reply, host.protocol())
}

/// A command as a script passed it. The same string may be in it thousands of times.
fn words(args: &MultiValue, bounds: &Bounds) -> Result<Vec<Bytes>, Error> {
    if args.is_empty() {
        return Err(Error::other("ERR Please specify at least one argument for this redis lib call"));
    }
    let bytes: usize = args.iter().filter_map(Value::as_string).map(|text| text.as_bytes().len()).sum();
    if bytes > bounds.memory_bytes() {
        let why = format!("ERR the command has {bytes} bytes, which is more than lua-memory-limit");
        return Err(Error::other(why));
    }
    let words: Option<Vec<Bytes>> = args.iter().map(as_word).collect();
    words.ok_or(Error::other("ERR Lua redis lib command arguments must be strings or integers"))
}

/// The number at a position, as `lua_tonumber` reads it.
fn number(args: &MultiValue, at: usize) -> Option<f64> {
    match args.get(at)? {
        Value::String(text) => parse_number(&text.as_bytes()),
        value => as_number(value),
    }
}

fn protocol(args: &MultiValue) -> mlua::Result<Protocol> {
    if args.len() != 1 {
        return Err(reply_error("ERR redis.setresp() requires one argument."));
    }
    match number(args, 0).map(|version| version as i64) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        _ => Err(reply_error("ERR RESP version must be 2 or 3.")),
    }
}

fn sha1hex(_: &Lua, args: MultiValue) -> mlua::Result<String> {
    if args.len() != 1 {
        return Err(reply_error("ERR wrong number of arguments"));
    }
    Ok(sha1_hex(&args.front().and_then(as_text).unwrap_or_default()))
}

/// Nothing is replicated, so it only checks.
fn set_repl(_: &Lua, args: MultiValue) -> mlua::Result<()> {
    if args.len() != 1 {
        return Err(reply_error("ERR redis.set_repl() requires two arguments."));
    }
    let flags = number(&args, 0).unwrap_or(0.0) as i64;
    if !(0..=3).contains(&flags) {
        let why = "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return Err(reply_error(why));
    }
    Ok(())
}

fn log(_: &Lua, args: MultiValue) -> mlua::Result<()> {
    if args.len() < 2 {
        return Err(reply_error("ERR redis.log() requires two arguments or more."));
    }
    let Some(level) = number(&args, 0) else {
        return Err(reply_error("ERR First argument must be a number (log level)."));
    };
    let mut text = Vec::new();
    for word in args.iter().skip(1).filter_map(as_text) {
        if !text.is_empty() {
            text.push(b' ');
        }
        text.extend_from_slice(&word[..word.len().min(SCRIPT_LOG_BYTES_MAX)]);
        if text.len() >= SCRIPT_LOG_BYTES_MAX {
            text.truncate(SCRIPT_LOG_BYTES_MAX);
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    match level as i64 {
        0 | 1 => tracing::debug!(target: "script", "{text}"),
        2 => tracing::info!(target: "script", "{text}"),
        3 => tracing::warn!(target: "script", "{text}"),
        _ => return Err(reply_error("ERR Invalid log level.")),
    }
    Ok(())
}
