//! `bit`: operations on 32 bits, as in LuaJIT's library of that name.

use std::sync::Arc;

use mlua::{Lua, Table};

use super::{Arguments, Bounds, Failure, Library};

pub fn library(lua: &Lua, bounds: &Arc<Bounds>) -> mlua::Result<Table> {
    let library = Library::new(lua, bounds)?;
    library.add("tobit", |_, args| bits(args, 0))?;
    library.add("bnot", |_, args| Ok(!bits(args, 0)?))?;
    library.add("bswap", |_, args| Ok(bits(args, 0)?.swap_bytes()))?;
    library.add("band", |_, args| fold(args, |a, b| a & b))?;
    library.add("bor", |_, args| fold(args, |a, b| a | b))?;
    library.add("bxor", |_, args| fold(args, |a, b| a ^ b))?;
    library.add("lshift", |_, args| shift(args, |a, by| ((a as u32) << by) as i32))?;
    library.add("rshift", |_, args| shift(args, |a, by| ((a as u32) >> by) as i32))?;
    library.add("arshift", |_, args| shift(args, |a, by| a >> by))?;
    library.add("rol", |_, args| shift(args, i32::rotate_left))?;
    library.add("ror", |_, args| shift(args, i32::rotate_right))?;
    library.add("tohex", |_, args| to_hex(args))?;
    Ok(library.table)
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

/// The last digits: eight, or as many as the second argument says; in capitals if that is negative.
fn to_hex(args: &Arguments) -> Result<String, Failure> {
    let digits = if args.len() > 1 { bits(args, 1)? } else { 8 };
    let text = format!("{:08x}", bits(args, 0)?);
    let text = &text[8 - digits.unsigned_abs().min(8) as usize..];
    Ok(if digits < 0 { text.to_uppercase() } else { text.to_owned() })
}
