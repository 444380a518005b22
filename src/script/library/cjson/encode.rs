//! Lua values to JSON.

use mlua::{Table, Value};

use super::super::{Arguments, Failure};
use super::{ARRAY_MARK, Invalid, Settings, VALUE_STEPS};
use crate::script::convert::as_number;
use crate::script::format::format_g;

/// The first argument as JSON.
pub fn encode(args: &Arguments, settings: &Settings) -> Result<Vec<u8>, Failure> {
    let mut encoder = Encoder { args, settings, out: Vec::new() };
    encoder.value(args.get(0), 0)?;
    Ok(encoder.out)
}

struct Encoder<'s> {
    args: &'s Arguments<'s>,
    settings: &'s Settings,
    out: Vec<u8>,
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Failure> {
        self.args.spend(VALUE_STEPS)?;
        self.args.fits(self.out.len())?;
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            value if value.is_null() => self.out.extend_from_slice(b"null"),
            Value::Boolean(value) => self.out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Table(table) => self.table(table, depth + 1)?,
            value => match as_number(value) {
                Some(number) => self.number(number)?,
                None => return Err(cannot(value, "type not supported")),
            },
        }
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<(), Failure> {
        if !number.is_finite() {
            match self.settings.encode_invalid_numbers {
                Invalid::Refused => {
                    return Err(cannot(&Value::Number(number), "must not be NaN or Inf"));
                }
                Invalid::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                Invalid::Written => {}
            }
        }
        let text = format_g(number, self.settings.encode_number_precision);
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.args.spend(text.len())?;
        self.args.fits(self.out.len() + text.len())?;
        self.out.push(b'"');
        for &byte in text {
            match byte {
                b'"' | b'\\' | b'/' => self.out.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                0..0x20 | 0x7f => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Failure> {
        if depth > self.settings.encode_max_depth {
            return Err(Failure::Script(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        match self.array_length(table)? {
            Some(length) if length > 0 => self.array(table, length, depth),
            Some(_) if is_marked_array(table)? => {
                self.out.extend_from_slice(b"[]");
                Ok(())
            }
            _ => self.object(table, depth),
        }
    }

    /// The length of an array; `None` if it is an object.
    fn array_length(&self, table: &Table) -> Result<Option<i64>, Failure> {
        let (mut items, mut last) = (0_i64, 0_i64);
        for pair in table.pairs::<Value, Value>() {
            self.args.spend(VALUE_STEPS)?;
            let Some(number) = as_number(&pair?.0) else { return Ok(None) };
            let index = number as i64;
            if index < 1 || index as f64 != number {
                return Ok(None);
            }
            items += 1;
            last = last.max(index);
        }
        let ratio = self.settings.encode_sparse_ratio;
        if ratio > 0 && last > items.saturating_mul(ratio) && last > self.settings.encode_sparse_safe {
            if !self.settings.encode_sparse_convert {
                return Err(cannot(&Value::Table(table.clone()), "excessively sparse array"));
            }
            return Ok(None);
        }
        Ok(Some(last))
    }

    fn array(&mut self, table: &Table, length: i64, depth: usize) -> Result<(), Failure> {
        self.out.push(b'[');
        for index in 1..=length {
            if index > 1 {
                self.out.push(b',');
            }
            self.value(&table.raw_get(index)?, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, table: &Table, depth: usize) -> Result<(), Failure> {
        self.out.push(b'{');
        for (at, pair) in table.pairs::<Value, Value>().enumerate() {
            let (key, value) = pair?;
            if at > 0 {
                self.out.push(b',');
            }
            match (&key, as_number(&key)) {
                (Value::String(text), _) => self.string(&text.as_bytes())?,
                (_, Some(number)) => {
                    self.out.push(b'"');
                    self.number(number)?;
                    self.out.push(b'"');
                }
                _ => return Err(cannot(&key, "table key must be a number or string")),
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// Whether an empty table was decoded from an array, or is marked as one.
fn is_marked_array(table: &Table) -> Result<bool, Failure> {
    let Some(metatable) = table.metatable() else { return Ok(false) };
    Ok(!matches!(metatable.raw_get(ARRAY_MARK)?, Value::Nil | Value::Boolean(false)))
}

fn cannot(value: &Value, why: &str) -> Failure {
    let kind = match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) => "userdata",
        value => value.type_name(),
    };
    Failure::Script(format!("Cannot serialise {kind}: {why}"))
}
