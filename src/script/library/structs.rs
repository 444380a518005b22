//! `struct`: values to bytes and back, according to a format.

use std::sync::Arc;

use mlua::{Lua, MultiValue, Table, Value};

use super::{Arguments, Bounds, Failure, Library, RESULTS_MAX};

const INTEGER_BYTES_MAX: usize = 32;
const ALIGNMENT_MAX: usize = 8;

pub fn library(lua: &Lua, bounds: &Arc<Bounds>) -> mlua::Result<Table> {
    let library = Library::new(lua, bounds)?;
    library.add("pack", |lua, args| Ok(lua.create_string(pack(args)?)?))?;
    library.add("unpack", unpack)?;
    library.add("size", |_, args| size(args))?;
    Ok(library.table)
}

/// One option of a format, with its size in bytes and what it is padded with before it.
struct Item {
    option: u8,
    bytes: usize,
    padding: usize,
}

/// Reads a format, option by option.
struct Format<'f> {
    args: &'f Arguments<'f>,
    text: &'f [u8],
    at: usize,
    is_little: bool,
    alignment: usize,
}

impl<'f> Format<'f> {
    fn new(args: &'f Arguments<'f>, text: &'f [u8]) -> Format<'f> {
        Format { args, text, at: 0, is_little: true, alignment: 1 }
    }

    /// The next option; `position` is where its value will be.
    fn next(&mut self, position: usize) -> Result<Option<Item>, Failure> {
        while let Some(&option) = self.text.get(self.at) {
            self.at += 1;
            self.args.spend(1)?;
            let bytes = match option {
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'f' => 4,
                b's' => 0,
                b'c' => self.number(1)?,
                b'i' | b'I' => {
                    let bytes = self.number(4)?;
                    if bytes > INTEGER_BYTES_MAX {
                        let why =
                            format!("integral size {bytes} is larger than limit of {INTEGER_BYTES_MAX}");
                        return Err(Failure::Script(why));
                    }
                    bytes
                }
                control => {
                    self.control(control)?;
                    continue;
                }
            };
            return Ok(Some(Item { option, bytes, padding: self.padding(option, bytes, position) }));
        }
        Ok(None)
    }

    fn padding(&self, option: u8, bytes: usize, position: usize) -> usize {
        if bytes == 0 || option == b'c' {
            return 0;
        }
        let mask = bytes.min(self.alignment) - 1;
        (mask + 1 - (position & mask)) & mask
    }

    fn control(&mut self, option: u8) -> Result<(), Failure> {
        match option {
            b' ' => {}
            b'<' => self.is_little = true,
            b'>' => self.is_little = false,
            b'!' => {
                let alignment = self.number(ALIGNMENT_MAX)?;
                if !alignment.is_power_of_two() {
                    return Err(Failure::Script(format!("alignment {alignment} is not a power of 2")));
                }
                self.alignment = alignment;
            }
            other => {
                return Err(self.args.bad(0, &format!("invalid format option '{}'", char::from(other))));
            }
        }
        Ok(())
    }

    /// The number after an option, if there is one.
    fn number(&mut self, otherwise: usize) -> Result<usize, Failure> {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(otherwise);
        }
        let text = String::from_utf8_lossy(&self.text[self.at..self.at + digits]);
        let number = text.parse::<i32>().ok().and_then(|number| usize::try_from(number).ok());
        self.at += digits;
        number.ok_or_else(|| Failure::Script("integral size overflow".to_owned()))
    }

    /// Bytes in the order of the format, or of the format into that of this code, which is little-endian.
    fn ordered(&self, bytes: &mut [u8]) {
        if !self.is_little {
            bytes.reverse();
        }
    }
}

fn pack(args: &Arguments) -> Result<Vec<u8>, Failure> {
    let text = args.bytes(0)?;
    let mut format = Format::new(args, &text);
    let (mut out, mut arg) = (Vec::new(), 1);
    while let Some(Item { option, bytes, padding }) = format.next(out.len())? {
        out.resize(out.len() + padding, 0);
        match option {
            b'x' => out.push(0),
            b's' | b'c' => {
                let value = args.bytes(arg)?;
                let bytes = if bytes == 0 { value.len() } else { bytes };
                // counted as Redis counts it
                let Some(part) = value.get(..bytes) else {
                    return Err(args.bad(arg + 1, "string too short"));
                };
                out.extend_from_slice(part);
                if option == b's' {
                    out.push(0);
                }
                arg += 1;
            }
            _ => {
                let mut value = number_bytes(option, bytes, args.number(arg)?);
                format.ordered(&mut value);
                out.extend_from_slice(&value);
                arg += 1;
            }
        }
        args.fits(out.len())?;
        args.spend(bytes)?;
    }
    Ok(out)
}

/// Little-endian.
#[expect(clippy::disallowed_methods, reason = "little-endian is what a format may ask for")]
fn number_bytes(option: u8, bytes: usize, number: f64) -> Vec<u8> {
    match option {
        b'f' => (number as f32).to_le_bytes().to_vec(),
        b'd' => number.to_le_bytes().to_vec(),
        _ => {
            let integer = if number < 0.0 { number as i64 as u64 } else { number as u64 };
            let mut out = integer.to_le_bytes().to_vec();
            out.resize(bytes, 0);
            out
        }
    }
}

/// The opposite of [`number_bytes`].
fn number_of(option: u8, bytes: &[u8]) -> f64 {
    if option == b'f' {
        return <[u8; 4]>::try_from(bytes).map_or(0.0, |bytes| f64::from(f32::from_le_bytes(bytes)));
    }
    if option == b'd' {
        return <[u8; 8]>::try_from(bytes).map_or(0.0, f64::from_le_bytes);
    }
    let integer = bytes.iter().rev().fold(0_u64, |integer, byte| integer << 8 | u64::from(*byte));
    if option.is_ascii_uppercase() {
        return integer as f64;
    }
    let unused = 64_u32.saturating_sub(8 * bytes.len() as u32).min(63);
    ((integer << unused) as i64 >> unused) as f64
}

fn unpack(lua: &Lua, args: &Arguments) -> Result<MultiValue, Failure> {
    let (text, data) = (args.bytes(0)?, args.bytes(1)?);
    let start = if args.get(2).is_nil() { 1.0 } else { args.number(2)? };
    if start.is_nan() || start < 1.0 {
        return Err(args.bad(2, "offset must be 1 or greater"));
    }
    let (mut format, mut at) = (Format::new(args, &text), start as usize - 1);
    let mut results = MultiValue::new();
    while let Some(Item { option, bytes, padding }) = format.next(at)? {
        let missing = || args.bad(1, "data string too short");
        at = at.saturating_add(padding);
        let mut end = at.saturating_add(bytes);
        let mut part = data.get(at..end).ok_or_else(missing)?.to_vec();
        match option {
            b'x' => {}
            b's' => {
                let rest = &data[at..];
                let Some(length) = memchr::memchr(0, rest) else {
                    return Err(Failure::Script("unfinished string in data".to_owned()));
                };
                results.push_back(Value::String(lua.create_string(&rest[..length])?));
                end = at + length + 1;
            }
            b'c' => {
                if bytes == 0 {
                    let Some(Value::Number(length)) = results.pop_back() else {
                        return Err(Failure::Script("format 'c0' needs a previous size".to_owned()));
                    };
                    end = at.saturating_add(length as usize);
                    part = data.get(at..end).ok_or_else(missing)?.to_vec();
                }
                results.push_back(Value::String(lua.create_string(&part)?));
            }
            _ => {
                format.ordered(&mut part);
                results.push_back(Value::Number(number_of(option, &part)));
            }
        }
        if results.len() > RESULTS_MAX {
            return Err(Failure::Script("too many results to unpack".to_owned()));
        }
        at = end;
    }
    results.push_back(Value::Number((at + 1) as f64));
    Ok(results)
}

fn size(args: &Arguments) -> Result<f64, Failure> {
    let text = args.bytes(0)?;
    let (mut format, mut size) = (Format::new(args, &text), 0_usize);
    while let Some(Item { option, bytes, padding }) = format.next(size)? {
        match option {
            b's' => return Err(args.bad(0, "option 's' has no fixed size")),
            b'c' if bytes == 0 => return Err(args.bad(0, "option 'c0' has no fixed size")),
            _ => size = size.saturating_add(padding).saturating_add(bytes),
        }
    }
    Ok(size as f64)
}
