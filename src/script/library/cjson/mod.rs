//! `cjson`: JSON as lua-cjson reads and writes it, its errors and its settings included.
//!
//! It is our own because results must be those of Redis: fourteen digits, arrays guessed from keys, strings of any
//! bytes. Settings last as long as the interpreter.

mod decode;
mod encode;

use std::sync::Arc;

use mlua::{Lua, Table, Value};
use parking_lot::Mutex;

use super::{Arguments, Bounds, Failure, Library};
use crate::limits::SCRIPT_JSON_DEPTH_MAX;

/// The settings that the functions of the same names set.
#[derive(Debug, Clone)]
struct Settings {
    /// Makes objects of arrays with too many holes, instead of refusing them.
    encode_sparse_convert: bool,
    encode_sparse_ratio: i64,
    encode_sparse_safe: i64,
    encode_max_depth: usize,
    decode_max_depth: usize,
    encode_number_precision: usize,
    encode_invalid_numbers: Invalid,
    decode_invalid_numbers: bool,
    /// Marks empty arrays, so that they are encoded as arrays again.
    decode_array_with_array_mt: bool,
}

/// The field of a metatable that says that an empty table is an array. Redis's name.
const ARRAY_MARK: &str = "__is_cjson_array";

/// How numbers that JSON doesn't have are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            encode_sparse_convert: false,
            encode_sparse_ratio: 2,
            encode_sparse_safe: 10,
            encode_max_depth: SCRIPT_JSON_DEPTH_MAX,
            decode_max_depth: SCRIPT_JSON_DEPTH_MAX,
            encode_number_precision: 14,
            encode_invalid_numbers: Invalid::Refused,
            decode_invalid_numbers: true,
            decode_array_with_array_mt: false,
        }
    }
}

type Shared = Arc<Mutex<Settings>>;

/// How much work a value counts as, apart from its bytes.
const VALUE_STEPS: usize = 64;

pub fn library(lua: &Lua, bounds: &Arc<Bounds>) -> mlua::Result<Table> {
    let library = Library::new(lua, bounds)?;
    library.table.raw_set("_NAME", "cjson")?;
    library.table.raw_set("_VERSION", "2.1.0")?;
    let settings = Shared::default();
    let shared = settings.clone();
    library.add("encode", move |lua, args| {
        one(args)?;
        let text = encode::encode(args, &shared.lock())?;
        Ok(lua.create_string(text)?)
    })?;
    let shared = settings.clone();
    library.add("decode", move |lua, args| {
        one(args)?;
        decode::decode(lua, args, &shared.lock())
    })?;
    let shared_bounds = bounds.clone();
    library.add("new", move |lua, _| Ok(self::library(lua, &shared_bounds)?))?;
    library.table.raw_set("null", Value::NULL)?;
    add_settings(&library, &settings)?;
    Ok(library.table)
}

fn one(args: &Arguments) -> Result<(), Failure> {
    if args.len() == 1 { Ok(()) } else { Err(args.bad(0, "expected 1 argument")) }
}

fn add_settings(library: &Library<'_>, settings: &Shared) -> mlua::Result<()> {
    let shared = settings.clone();
    library.add("encode_max_depth", move |_, args| depth(args, &mut shared.lock().encode_max_depth))?;
    let shared = settings.clone();
    library.add("decode_max_depth", move |_, args| depth(args, &mut shared.lock().decode_max_depth))?;
    let shared = settings.clone();
    library.add("encode_number_precision", move |_, args| {
        integer(args, 0, 1, 14, &mut shared.lock().encode_number_precision)
    })?;
    let shared = settings.clone();
    library.add("encode_sparse_array", move |_, args| {
        let mut settings = shared.lock();
        switch(args, 0, &mut settings.encode_sparse_convert)?;
        integer(args, 1, 0, i64::from(i32::MAX), &mut settings.encode_sparse_ratio)?;
        integer(args, 2, 0, i64::from(i32::MAX), &mut settings.encode_sparse_safe)?;
        let Settings { encode_sparse_convert, encode_sparse_ratio, encode_sparse_safe, .. } = *settings;
        Ok((encode_sparse_convert, encode_sparse_ratio, encode_sparse_safe))
    })?;
    let shared = settings.clone();
    library.add("encode_invalid_numbers", move |_, args| {
        let chosen = &mut shared.lock().encode_invalid_numbers;
        match args.get(0) {
            Value::Nil => {}
            Value::Boolean(true) => *chosen = Invalid::Written,
            Value::Boolean(false) => *chosen = Invalid::Refused,
            Value::String(word) if *word.as_bytes() == *b"on" => *chosen = Invalid::Written,
            Value::String(word) if *word.as_bytes() == *b"off" => *chosen = Invalid::Refused,
            Value::String(word) if *word.as_bytes() == *b"null" => *chosen = Invalid::Null,
            _ => return Err(args.bad(0, "invalid option")),
        }
        Ok(*chosen != Invalid::Refused)
    })?;
    let shared = settings.clone();
    library.add("decode_invalid_numbers", move |_, args| {
        let mut settings = shared.lock();
        switch(args, 0, &mut settings.decode_invalid_numbers)?;
        Ok(settings.decode_invalid_numbers)
    })?;
    let shared = settings.clone();
    library.add("decode_array_with_array_mt", move |_, args| {
        let mut settings = shared.lock();
        switch(args, 0, &mut settings.decode_array_with_array_mt)?;
        Ok(settings.decode_array_with_array_mt)
    })?;
    // the buffer is never kept
    library.add("encode_keep_buffer", |_, args| {
        let mut kept = true;
        switch(args, 0, &mut kept)?;
        Ok(kept)
    })
}

fn depth(args: &Arguments, depth: &mut usize) -> Result<i64, Failure> {
    integer(args, 0, 1, SCRIPT_JSON_DEPTH_MAX as i64, depth)
}

/// Sets an integer if there is an argument for it. Returns the current value.
fn integer<N: Copy + TryFrom<i64> + TryInto<i64>>(
    args: &Arguments,
    at: usize,
    min: i64,
    max: i64,
    setting: &mut N,
) -> Result<i64, Failure> {
    if !args.get(at).is_nil() {
        let asked = args.number(at)? as i64;
        let fitting = N::try_from(asked).ok().filter(|_| (min..=max).contains(&asked));
        *setting =
            fitting.ok_or_else(|| args.bad(at, &format!("expected integer between {min} and {max}")))?;
    }
    Ok((*setting).try_into().unwrap_or(i64::MAX))
}

fn switch(args: &Arguments, at: usize, setting: &mut bool) -> Result<(), Failure> {
    match args.get(at) {
        Value::Nil => {}
        Value::Boolean(value) => *setting = *value,
        Value::String(word) if *word.as_bytes() == *b"on" => *setting = true,
        Value::String(word) if *word.as_bytes() == *b"off" => *setting = false,
        _ => return Err(args.bad(at, "invalid option")),
    }
    Ok(())
}
