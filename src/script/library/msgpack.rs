//! `cmsgpack`: MessagePack as lua-cmsgpack reads and writes it.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Table, Value};

use super::{Arguments, Bounds, Failure, Library, RESULTS_MAX};
use crate::limits::SCRIPT_JSON_DEPTH_MAX;
use crate::script::convert::as_number;

/// A table that is nested deeper is written as nil.
const DEPTH_MAX: usize = 16;
/// How much work a value counts as, apart from its bytes.
const VALUE_STEPS: usize = 64;

pub fn library(lua: &Lua, bounds: &Arc<Bounds>) -> mlua::Result<Table> {
    let library = Library::new(lua, bounds)?;
    library.table.raw_set("_NAME", "cmsgpack")?;
    library.table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    library.add("pack", |lua, args| {
        if args.len() == 0 {
            return Err(Failure::Script(
                "bad argument #0 to 'pack' (MessagePack pack needs input.)".to_owned(),
            ));
        }
        let mut out = Vec::new();
        for at in 0..args.len() {
            write(args, args.get(at), 0, &mut out)?;
        }
        Ok(lua.create_string(out)?)
    })?;
    library.add("unpack", |lua, args| read_many(lua, args, 0, 0, false))?;
    library.add("unpack_one", |lua, args| read_many(lua, args, 1, offset(args, 1)?, true))?;
    library.add("unpack_limit", |lua, args| {
        read_many(lua, args, args.number(1)? as i64, offset(args, 2)?, true)
    })?;
    Ok(library.table)
}

fn offset(args: &Arguments, at: usize) -> Result<i64, Failure> {
    Ok(if args.get(at).is_nil() { 0 } else { args.number(at)? as i64 })
}

fn write(args: &Arguments, value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    args.fits(out.len())?;
    args.spend(VALUE_STEPS)?;
    match value {
        Value::String(text) => {
            let text = text.as_bytes();
            args.spend(text.len())?;
            args.fits(out.len() + text.len())?;
            write_head(
                &[(31, Head::Short(0xa0)), (255, Head::U8(0xd9)), (65_535, Head::U16(0xda))],
                0xdb,
                text.len(),
                out,
            );
            out.extend_from_slice(&text);
        }
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Table(table) if depth < DEPTH_MAX => write_table(args, table, depth, out)?,
        value => match as_number(value) {
            Some(number) => write_number(number, out),
            None => out.push(0xc0),
        },
    }
    Ok(())
}

/// How a length up to a maximum is written.
#[derive(Clone, Copy)]
enum Head {
    Short(u8),
    U8(u8),
    U16(u8),
}

fn write_head(heads: &[(usize, Head)], longest: u8, length: usize, out: &mut Vec<u8>) {
    match heads.iter().find(|(max, _)| length <= *max) {
        Some((_, Head::Short(byte))) => out.push(byte | length as u8),
        Some((_, Head::U8(byte))) => out.extend_from_slice(&[*byte, length as u8]),
        Some((_, Head::U16(byte))) => {
            out.push(*byte);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        None => {
            out.push(longest);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn write_table(args: &Arguments, table: &Table, depth: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let (mut count, mut last, mut is_array) = (0_usize, 0.0_f64, true);
    for pair in table.pairs::<Value, Value>() {
        args.spend(VALUE_STEPS)?;
        let index = as_number(&pair?.0).filter(|index| *index >= 1.0 && index.fract() == 0.0);
        count += 1;
        is_array &= index.is_some();
        last = last.max(index.unwrap_or_default());
    }
    if is_array && last == count as f64 {
        write_head(&[(15, Head::Short(0x90)), (65_535, Head::U16(0xdc))], 0xdd, count, out);
        for index in 1..=count {
            write(args, &table.raw_get(index)?, depth + 1, out)?;
        }
        return Ok(());
    }
    write_head(&[(15, Head::Short(0x80)), (65_535, Head::U16(0xde))], 0xdf, count, out);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        write(args, &key, depth + 1, out)?;
        write(args, &value, depth + 1, out)?;
    }
    Ok(())
}

fn write_number(number: f64, out: &mut Vec<u8>) {
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && (-TOO_LARGE..TOO_LARGE).contains(&number) {
        return write_integer(number as i64, out);
    }
    let single = number as f32;
    if f64::from(single) == number {
        out.push(0xca);
        out.extend_from_slice(&single.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    let (head, bytes) = match number {
        -32..=127 => return out.push(number as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -0x80..=-33 => (0xd0, 1),
        -0x8000..=-0x81 => (0xd1, 2),
        -0x8000_0000..=-0x8001 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(head);
    out.extend_from_slice(&number.to_be_bytes()[8 - bytes..]);
}

/// So many values from an offset on, or all; perhaps behind the offset of what is left, -1 if nothing is.
fn read_many(
    lua: &Lua,
    args: &Arguments,
    limit: i64,
    offset: i64,
    with_offset: bool,
) -> Result<MultiValue, Failure> {
    let data = args.bytes(0)?;
    if offset < 0 || limit < 0 {
        let why = format!("Invalid request to unpack with offset of {offset} and limit of {}.", data.len());
        return Err(Failure::Script(why));
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    if start > data.len() {
        let why = format!("Start offset {offset} greater than input length {}.", data.len());
        return Err(Failure::Script(why));
    }
    let mut reader = Reader { lua, args, data: &data, at: start };
    let mut values = MultiValue::new();
    while reader.at < data.len() && (limit == 0 || (values.len() as i64) < limit) {
        values.push_back(reader.value(0)?);
        if values.len() > RESULTS_MAX {
            return Err(Failure::Script("too many results to unpack".to_owned()));
        }
    }
    if with_offset {
        let left = if reader.at < data.len() { reader.at as f64 } else { -1.0 };
        values.push_front(Value::Number(left));
    }
    Ok(values)
}

struct Reader<'d> {
    lua: &'d Lua,
    args: &'d Arguments<'d>,
    data: &'d [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, Failure> {
        if depth > SCRIPT_JSON_DEPTH_MAX {
            return Err(Failure::Script("too many nested data structures".to_owned()));
        }
        self.args.spend(VALUE_STEPS)?;
        let head = self.take(1)?[0];
        Ok(match head {
            0..=0x7f => Value::Number(f64::from(head)),
            0xe0.. => Value::Number(f64::from(head as i8)),
            0x80..=0x8f => self.map(usize::from(head & 15), depth)?,
            0x90..=0x9f => self.array(usize::from(head & 15), depth)?,
            0xa0..=0xbf => self.string(usize::from(head & 31))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xc4 | 0xd9 => self.length(1).and_then(|length| self.string(length))?,
            0xc5 | 0xda => self.length(2).and_then(|length| self.string(length))?,
            0xc6 | 0xdb => self.length(4).and_then(|length| self.string(length))?,
            0xca => {
                let bits = self.unsigned(4)? as u32;
                Value::Number(f64::from(f32::from_bits(bits)))
            }
            0xcb => Value::Number(f64::from_bits(self.unsigned(8)?)),
            0xcc => Value::Number(self.unsigned(1)? as f64),
            0xcd => Value::Number(self.unsigned(2)? as f64),
            0xce => Value::Number(self.unsigned(4)? as f64),
            0xcf => Value::Number(self.unsigned(8)? as f64),
            0xd0 => Value::Number(f64::from(self.unsigned(1)? as i8)),
            0xd1 => Value::Number(f64::from(self.unsigned(2)? as i16)),
            0xd2 => Value::Number(f64::from(self.unsigned(4)? as i32)),
            0xd3 => Value::Number(self.unsigned(8)? as i64 as f64),
            0xdc => self.length(2).and_then(|length| self.array(length, depth))?,
            0xdd => self.length(4).and_then(|length| self.array(length, depth))?,
            0xde => self.length(2).and_then(|length| self.map(length, depth))?,
            0xdf => self.length(4).and_then(|length| self.map(length, depth))?,
            _ => return Err(Failure::Script("Bad data format in input.".to_owned())),
        })
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Failure> {
        let end = self.at.checked_add(count);
        let part = end.and_then(|end| self.data.get(self.at..end));
        let part = part.ok_or_else(|| Failure::Script("Missing bytes in input.".to_owned()))?;
        self.at += count;
        Ok(part)
    }

    fn unsigned(&mut self, bytes: usize) -> Result<u64, Failure> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, bytes: usize) -> Result<usize, Failure> {
        Ok(self.unsigned(bytes)? as usize)
    }

    fn string(&mut self, length: usize) -> Result<Value, Failure> {
        self.args.spend(length)?;
        let lua = self.lua;
        Ok(Value::String(lua.create_string(self.take(length)?)?))
    }

    fn array(&mut self, length: usize, depth: usize) -> Result<Value, Failure> {
        let table = self.lua.create_table()?;
        for index in 1..=length {
            table.raw_set(index, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Value, Failure> {
        let table = self.lua.create_table()?;
        for _ in 0..length {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match &key {
                Value::Nil => return Err(Failure::Script("table index is nil".to_owned())),
                Value::Number(number) if number.is_nan() => {
                    return Err(Failure::Script("table index is NaN".to_owned()));
                }
                _ => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}
