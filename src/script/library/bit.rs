//! `bit`: operations on 32 bits, as in LuaJIT's library of that name.

use mlua::{Lua, Table};

use super::{Arguments, Failure, add};

pub fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    add(lua, &library, "tobit", |_, args| bits(args, 0))?;
    add(lua, &library, "bnot", |_, args| Ok(!bits(args, 0)?))?;
    add(lua, &library, "bswap", |_, args| Ok(bits(args, 0)?.swap_bytes()))?;
    add(lua, &library, "band", |_, args| fold(args, |a, b| a & b))?;
    add(lua, &library, "bor", |_, args| fold(args, |a, b| a | b))?;
    add(lua, &library, "bxor", |_, args| fold(args, |a, b| a ^ b))?;
    add(lua, &library, "lshift", |_, args| shift(args, |a, by| ((a as u32) << by) as i32))?;
    add(lua, &library, "rshift", |_, args| shift(args, |a, by| ((a as u32) >> by) as i32))?;
    add(lua, &library, "arshift", |_, args| shift(args, |a, by| a >> by))?;
    add(lua, &library, "rol", |_, args| shift(args, i32::rotate_left))?;
    add(lua, &library, "ror", |_, args| shift(args, i32::rotate_right))?;
    add(lua, &library, "tohex", |_, args| to_hex(args))?;
    Ok(library)
}

/// The number at a position modulo 2^32, with a sign.
fn bits(args: &Arguments, at: usize) -> Result<i32, Failure> {
    const MODULUS: f64 = 4_294_967_296.0;
    let number = args.number(at)?;
    // what is no number has no bits
    Ok(number.round_ties_even().rem_euclid(MODULUS) as u32 as i32)
}

fn fold(args: &Arguments, with: fn(i32, i32) -> i32) -> Result<i32, Failure> {
    (1..args.len()).try_fold(bits(args, 0)?, |all, at| Ok(with(all, bits(args, at)?)))
}

fn shift(args: &Arguments, with: fn(i32, u32) -> i32) -> Result<i32, Failure> {
    Ok(with(bits(args, 0)?, bits(args, 1)? as u32 & 31))
}

/// The last digits, eight unless the second argument says how many; in capitals if it is negative.
fn to_hex(args: &Arguments) -> Result<String, Failure> {
    let digits = if args.len() > 1 { bits(args, 1)? } else { 8 };
    let text = format!("{:08x}", bits(args, 0)?);
    let text = &text[8 - digits.unsigned_abs().min(8) as usize..];
    Ok(if digits < 0 { text.to_uppercase() } else { text.to_owned() })
}
