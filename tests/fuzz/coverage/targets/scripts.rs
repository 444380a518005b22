//! The decoders that scripts have (cjson, cmsgpack, struct), and their encoders on what came out.
#![no_main]

use std::sync::Arc;

use larder::script::Running;
use larder::script::library::{self, Bounds};
use libfuzzer_sys::fuzz_target;
use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Table};

const MEMORY_BYTES: usize = 64 << 20;

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (choice, bytes, more) = input;
    let (library, decode, encode) =
        [("cjson", "decode", "encode"), ("cmsgpack", "unpack", "pack"), ("struct", "unpack", "pack")]
            [usize::from(choice % 3)];
    // errors of the library itself are the script's; a panic or a crash is ours
    let _ = run(library, decode, encode, bytes, more);
});

fn run(library: &str, decode: &str, encode: &str, bytes: &[u8], more: &[u8]) -> mlua::Result<()> {
    let lua = Lua::new_with(StdLib::STRING | StdLib::TABLE | StdLib::MATH, LuaOptions::default())?;
    lua.set_memory_limit(MEMORY_BYTES)?;
    let bounds = Arc::new(Bounds::new(Arc::new(Running::default()), MEMORY_BYTES));
    let functions: Table = library::all(&lua, &bounds)?.get(library)?;
    let (decode, encode) = (functions.get::<Function>(decode)?, functions.get::<Function>(encode)?);
    let bytes = lua.create_string(bytes)?;
    if library != "struct" {
        let values: MultiValue = decode.call(bytes)?;
        return encode.call::<MultiValue>(values).map(drop);
    }
    let (format, data) = (bytes, lua.create_string(more)?);
    let mut values: MultiValue = decode.call((format.clone(), data))?;
    functions.get::<Function>("size")?.call::<MultiValue>(format.clone())?;
    values.push_front(mlua::Value::String(format));
    encode.call::<MultiValue>(values).map(drop)
}
