//! Replies to Lua values and back, as Redis converts them.
//!
//! A script gets replies in the types of the protocol that it chose, and its own result is an array up to its first
//! nil. Tables with a special field stand for types that Lua lacks: `{ok=…}`, `{err=…}`, `{double=…}` and so on.

use bytes::Bytes;
use mlua::{Lua, LuaString, Table, Value};

use super::Running;
use super::format::format_g;
use super::raised::{COUNTED, error_table, stopped};
use crate::error::Error;
use crate::limits::{SCRIPT_REPLY_BYTES_MAX, SCRIPT_REPLY_DEPTH_MAX};
use crate::resp::{Protocol, Reply, format_double};

/// A reply as a Lua value.
pub fn to_lua(lua: &Lua, reply: &Reply, protocol: Protocol) -> mlua::Result<Value> {
    use Protocol::{Resp2, Resp3};

    let string = |bytes: &[u8]| Ok(Value::String(lua.create_string(bytes)?));
    match (reply, protocol) {
        (Reply::Integer(number), _) => Ok(Value::Number(*number as f64)),
        (Reply::Bulk(data), _) | (Reply::Verbatim(data), Resp2) => string(data),
        (Reply::Simple(text), _) => field(lua, "ok", string(text.as_bytes())?),
        (Reply::Status(text), _) => field(lua, "ok", string(text)?),
        (Reply::Error(error), _) => {
            let is_counted = matches!(error, Error::Counted(_));
            error_table(lua, &error.to_string(), is_counted).map(Value::Table)
        }
        (Reply::Null | Reply::NullArray, Resp2) => Ok(Value::Boolean(false)),
        (Reply::Null | Reply::NullArray, Resp3) => Ok(Value::Nil),
        (Reply::Array(items) | Reply::Push(items), _) | (Reply::Set(items), Resp2) => {
            list(lua, items.iter(), protocol)
        }
        (Reply::Map(pairs), Resp2) => list(lua, pairs.iter().flat_map(|(key, value)| [key, value]), protocol),
        (Reply::Map(pairs), Resp3) => {
            let map = lua.create_table()?;
            for (key, value) in pairs {
                map.raw_set(to_lua(lua, key, protocol)?, to_lua(lua, value, protocol)?)?;
            }
            field(lua, "map", Value::Table(map))
        }
        (Reply::Set(items), Resp3) => {
            let set = lua.create_table()?;
            for item in items {
                set.raw_set(to_lua(lua, item, protocol)?, true)?;
            }
            field(lua, "set", Value::Table(set))
        }
        (Reply::Double(number), Resp2) => string(format_double(*number).as_bytes()),
        (Reply::Double(number), Resp3) => field(lua, "double", Value::Number(*number)),
        (Reply::Boolean(value), Resp2) => Ok(Value::Number(f64::from(u8::from(*value)))),
        (Reply::Boolean(value), Resp3) => Ok(Value::Boolean(*value)),
        (Reply::Verbatim(text), Resp3) => {
            let verbatim = lua.create_table()?;
            verbatim.raw_set("format", "txt")?;
            verbatim.raw_set("string", string(text)?)?;
            field(lua, "verbatim_string", Value::Table(verbatim))
        }
        (Reply::BigNumber(digits), Resp2) => string(digits.as_bytes()),
        (Reply::BigNumber(digits), Resp3) => field(lua, "big_number", string(digits.as_bytes())?),
        (Reply::Attributed(_, reply), _) => to_lua(lua, reply, protocol),
        (Reply::Sequence(replies), _) => match replies.last() {
            Some(last) => to_lua(lua, last, protocol),
            None => Ok(Value::Nil),
        },
    }
}

fn field(lua: &Lua, name: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn list<'r>(lua: &Lua, items: impl Iterator<Item = &'r Reply>, protocol: Protocol) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    for (at, item) in items.enumerate() {
        // null is nil in RESP3, and leaves a hole
        table.raw_set(at + 1, to_lua(lua, item, protocol)?)?;
    }
    Ok(Value::Table(table))
}

/// The result of a script as a reply. `protocol` is what the script chose. Fails if the script should end.
pub fn to_reply(value: &Value, protocol: Protocol, running: &Running) -> Result<Reply, mlua::Error> {
    to_bounded_reply(value, protocol, running, SCRIPT_REPLY_BYTES_MAX)
}

fn to_bounded_reply(
    value: &Value,
    protocol: Protocol,
    running: &Running,
    bytes_max: usize,
) -> Result<Reply, mlua::Error> {
    let mut conversion = Conversion { protocol, running, values: 0, bytes: 0, bytes_max };
    match conversion.reply(value, 0) {
        Ok(reply) => Ok(reply),
        Err(Failure::TooLong) => {
            let why = format!("ERR the script's reply is longer than {bytes_max} bytes");
            Ok(Reply::Error(Error::other(why)))
        }
        Err(Failure::Machine(error)) => Err(error),
    }
}

/// The conversion of one result.
///
/// Tables may contain each other, so a few of them can stand for more than there is memory. Therefore everything that
/// becomes a part of the reply comes from [`reply`](Conversion::reply), which counts it before it is made.
struct Conversion<'r> {
    protocol: Protocol,
    running: &'r Running,
    /// How many values have been converted.
    values: u32,
    /// The size of the reply so far.
    bytes: usize,
    bytes_max: usize,
}

/// Why there is no reply.
enum Failure {
    TooLong,
    /// The script was stopped, or memory ran out.
    Machine(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Failure {
        Failure::Machine(error)
    }
}

impl Conversion<'_> {
    fn reply(&mut self, value: &Value, depth: usize) -> Result<Reply, Failure> {
        const TOO_DEEP: &str = "ERR reached lua stack limit";
        const VALUES_BETWEEN_LOOKS: u32 = 4096;
        self.count(size_of::<Reply>())?;
        self.values += 1;
        if self.values.is_multiple_of(VALUES_BETWEEN_LOOKS) && self.running.is_stopped() {
            return Err(Failure::Machine(stopped()));
        }
        if depth > SCRIPT_REPLY_DEPTH_MAX {
            self.count(TOO_DEEP.len())?;
            return Ok(Reply::Error(Error::other(TOO_DEEP)));
        }
        Ok(match value {
            Value::String(text) => Reply::Bulk(self.bytes_of(text)?),
            Value::Integer(number) => Reply::Integer(*number),
            Value::Number(number) => Reply::Integer(truncated(*number)),
            Value::Boolean(value) if self.protocol == Protocol::Resp3 => Reply::Boolean(*value),
            Value::Boolean(true) => Reply::Integer(1),
            Value::Table(table) => self.table(table, depth)?,
            _ => Reply::Null,
        })
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<Reply, Failure> {
        if let Some(reply) = self.scalar(table)? {
            return Ok(reply);
        }
        if let Value::Table(map) = table.raw_get("map")? {
            return self.map(&map, depth);
        }
        if let Value::Table(set) = table.raw_get("set")? {
            return self.set(&set, depth);
        }
        self.array(table, depth)
    }

    /// The reply for a table that is not a list.
    fn scalar(&mut self, table: &Table) -> Result<Option<Reply>, Failure> {
        if let Value::String(text) = table.raw_get("err")? {
            let text = self.text_of(&text)?;
            let is_counted = table.raw_get(COUNTED)?;
            return Ok(Some(Reply::Error(if is_counted {
                Error::Counted(text)
            } else {
                Error::other(text)
            })));
        }
        if let Value::String(text) = table.raw_get("ok")? {
            return Ok(Some(Reply::Status(self.bytes_of(&text)?)));
        }
        if let Some(number) = as_number(&table.raw_get("double")?) {
            return Ok(Some(Reply::Double(number)));
        }
        if let Value::String(digits) = table.raw_get("big_number")? {
            let digits = self.text_of(&digits)?.replace(['\r', '\n'], " ");
            return Ok(Some(Reply::BigNumber(digits.into())));
        }
        if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
            && let Value::String(_) = verbatim.raw_get("format")?
            && let Value::String(text) = verbatim.raw_get("string")?
        {
            return Ok(Some(Reply::Verbatim(self.bytes_of(&text)?)));
        }
        Ok(None)
    }

    fn map(&mut self, map: &Table, depth: usize) -> Result<Reply, Failure> {
        let mut pairs = Vec::new();
        for pair in map.pairs::<Value, Value>() {
            let (key, value) = pair?;
            pairs.push((self.reply(&key, depth + 1)?, self.reply(&value, depth + 1)?));
        }
        Ok(Reply::Map(pairs))
    }

    fn set(&mut self, set: &Table, depth: usize) -> Result<Reply, Failure> {
        let mut items = Vec::new();
        for pair in set.pairs::<Value, Value>() {
            items.push(self.reply(&pair?.0, depth + 1)?);
        }
        Ok(Reply::Set(items))
    }

    fn array(&mut self, table: &Table, depth: usize) -> Result<Reply, Failure> {
        let mut items = Vec::new();
        loop {
            match table.raw_get(items.len() + 1)? {
                Value::Nil => return Ok(Reply::Array(items)),
                value => items.push(self.reply(&value, depth + 1)?),
            }
        }
    }

    fn bytes_of(&mut self, text: &LuaString) -> Result<Bytes, Failure> {
        let text = text.as_bytes();
        self.count(text.len())?;
        Ok(Bytes::copy_from_slice(&text))
    }

    /// A text for a part of a reply that is not binary. Each byte that is not UTF-8 becomes three.
    fn text_of(&mut self, text: &LuaString) -> Result<String, Failure> {
        let bytes = text.as_bytes();
        self.count(bytes.len())?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.count(text.len().saturating_sub(bytes.len()))?;
        Ok(text)
    }

    /// Counts what will be a part of the reply, and fails if that is too much.
    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bytes_max { Err(Failure::TooLong) } else { Ok(()) }
    }
}

/// Converts as C does on the machines that Redis runs on: values out of range, and NaN, become the smallest integer.
pub fn truncated(number: f64) -> i64 {
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    if (-TOO_LARGE..TOO_LARGE).contains(&number) { number as i64 } else { i64::MIN }
}

/// A number from a script.
pub fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// A word of a command; None: it is neither a string nor a number. Numbers are written as Redis does since 8.0: the
/// shortest digits that read back as the same number. Earlier versions wrote 17 digits, so that 3.3 was not "3.3".
pub fn as_word(value: &Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(Bytes::copy_from_slice(&text.as_bytes())),
        _ => as_number(value).map(|number| Bytes::from(word_of(number))),
    }
}

fn word_of(number: f64) -> String {
    if number == 0.0 {
        // without the sign of -0
        "0".to_owned()
    } else if number.is_nan() {
        // with its sign
        format_g(number, 1)
    } else {
        format_double(number)
    }
}

/// A string, or a number as Lua makes a string of it.
pub fn as_text(value: &Value) -> Option<Vec<u8>> {
    const DIGITS: usize = 14;
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        _ => as_number(value).map(|number| format_g(number, DIGITS).into_bytes()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn result(code: &str, protocol: Protocol) -> Reply {
        let lua = Lua::new();
        to_reply(&lua.load(code).eval().unwrap(), protocol, &Running::default()).unwrap()
    }

    /// As Redis 8.6.3 writes them.
    #[test]
    fn numbers_become_words() {
        for (number, word) in [
            (3.3, "3.3"),
            (-3.5, "-3.5"),
            (10.0, "10"),
            (0.0, "0"),
            (-0.0, "0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (12345.67890123, "1.234567890123e+4"),
            (1e-7, "1e-7"),
            (1e15, "1000000000000000"),
            (4611686018427387904.0, "4611686018427387904"),
            (9223372036854775808.0, "9223372036854776000"),
            (1e19, "1e+19"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN.copysign(1.0), "nan"),
            (f64::NAN.copysign(-1.0), "-nan"),
        ] {
            assert_eq!(as_word(&Value::Number(number)).unwrap(), word);
        }
        assert_eq!(as_word(&Value::Integer(-7)).unwrap(), "-7");
        assert_eq!(as_word(&Value::Boolean(true)), None);
    }

    #[test]
    fn results_become_replies() {
        for (code, reply) in [
            ("return nil", Reply::Null),
            ("return false", Reply::Null),
            ("return true", Reply::Integer(1)),
            ("return -3.99", Reply::Integer(-3)),
            ("return 1e300", Reply::Integer(i64::MIN)),
            ("return 0/0", Reply::Integer(i64::MIN)),
            ("return print", Reply::Null),
            ("return 'a\\0b'", Reply::Bulk(Bytes::from_static(b"a\0b"))),
            ("return {1, nil, 3}", Reply::Array(vec![Reply::Integer(1)])),
            ("return {a=1}", Reply::Array(vec![])),
            ("return {ok='fine'}", Reply::Status("fine".into())),
            ("return {err='MY error'}", Reply::Error(Error::other("MY error"))),
            ("return {double=1.5}", Reply::Double(1.5)),
            ("return {big_number='12\\n3'}", Reply::BigNumber("12 3".into())),
            ("return {verbatim_string={format='txt', string='x'}}", Reply::Verbatim("x".into())),
            ("return {map={a=1}}", Reply::Map(vec![(Reply::text("a"), Reply::Integer(1))])),
            ("return {set={a=true}}", Reply::Set(vec![Reply::text("a")])),
        ] {
            assert_eq!(result(code, Protocol::Resp2), reply, "{code}");
        }
        assert_eq!(result("return false", Protocol::Resp3), Reply::Boolean(false));
    }

    #[test]
    fn a_table_that_holds_itself_ends() {
        let mut reply = result("local t = {}; t[1] = t; return t", Protocol::Resp2);
        let mut depth = 0;
        while let Reply::Array(mut items) = reply {
            reply = items.pop().unwrap();
            depth += 1;
        }
        assert_eq!(depth, SCRIPT_REPLY_DEPTH_MAX + 1);
        assert_eq!(reply, Reply::Error(Error::other("ERR reached lua stack limit")));
    }

    /// Everything that a table stands for is counted, and what is refused was never made.
    #[test]
    fn a_reply_that_would_never_end_is_refused() {
        const TEXT: &str = "local s = string.rep('\\255', 1e5); local t = {}; for i = 1, 100 do t[i] =";
        for code in [
            "local t = {}; t[1] = t; t[2] = t; return t",
            "local t = {}; for i = 1, 1000 do t[i] = t end return t",
            "local t = {}; t.map = {t, t}; return t",
            "local t = {}; local m = {map = t}; for i = 1, 1000 do t[i] = m end return t",
            "local t = {}; t[t] = 1; t[{set = t}] = 1; t[{set = t}] = 1; return {set = t}",
            "local t = {}; for i = 1, 1e5 do t[i] = {} end return t",
            "local t = {}; for i = 1, 1e5 do t[i] = false end return t",
            &format!("{TEXT} s end return t"),
            &format!("{TEXT} {{err = s}} end return t"),
            &format!("{TEXT} {{ok = s}} end return t"),
            &format!("{TEXT} {{big_number = s}} end return t"),
            &format!("{TEXT} {{verbatim_string = {{format = 'txt', string = s}}}} end return t"),
            &format!("{TEXT} {{map = {{[s] = s}}}} end return t"),
            &format!("{TEXT} {{set = {{[s] = true}}}} end return t"),
        ] {
            let lua = Lua::new();
            let value: Value = lua.load(code).eval().unwrap();
            let mut made = Conversion {
                protocol: Protocol::Resp2,
                running: &Running::default(),
                values: 0,
                bytes: 0,
                bytes_max: 1 << 20,
            };
            assert!(matches!(made.reply(&value, 0), Err(Failure::TooLong)), "{code}");
            assert!(
                made.values <= (1 << 20) / size_of::<Reply>() as u32 + 1,
                "{code}: {} values",
                made.values
            );
            let reply = to_bounded_reply(&value, Protocol::Resp2, &Running::default(), 1 << 20).unwrap();
            assert_eq!(
                reply,
                Reply::Error(Error::other("ERR the script's reply is longer than 1048576 bytes")),
                "{code}"
            );
        }
    }
}
