//! JSON to Lua values.

use mlua::{Lua, Value};

use super::super::{Arguments, Failure};
use super::{ARRAY_MARK, Settings, VALUE_STEPS};
use crate::script::format::parse_prefix;

/// The JSON of the first argument as a value.
pub fn decode(lua: &Lua, args: &Arguments, settings: &Settings) -> Result<Value, Failure> {
    let text = args.bytes(0)?;
    let text = text.as_slice();
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(Failure::Script("JSON parser does not support UTF-16 or UTF-32".to_owned()));
    }
    let mut parser = Parser { lua, args, text, at: 0, settings };
    let (token, place) = parser.next();
    let value = parser.value(token, place, 0)?;
    match parser.next() {
        (Token::End, _) => Ok(value),
        (token, place) => Err(expected("the end", &token, place)),
    }
}

struct Parser<'a> {
    lua: &'a Lua,
    args: &'a Arguments<'a>,
    text: &'a [u8],
    at: usize,
    settings: &'a Settings,
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Colon,
    Comma,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    End,
    Wrong(&'static str),
}

impl Token {
    /// Its name in errors.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::String(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::End => "T_END",
            Token::Wrong(what) => what,
        }
    }
}

/// `place` is that of the token, counted from 0.
fn expected(what: &str, found: &Token, place: usize) -> Failure {
    Failure::Script(format!("Expected {what} but found {} at character {}", found.name(), place + 1))
}

impl Parser<'_> {
    fn value(&mut self, token: Token, place: usize, depth: usize) -> Result<Value, Failure> {
        self.args.spend(VALUE_STEPS + self.at.saturating_sub(place))?;
        Ok(match token {
            Token::String(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Null => Value::NULL,
            Token::ObjectBegin => self.object(depth + 1)?,
            Token::ArrayBegin => self.array(depth + 1)?,
            token => return Err(expected("value", &token, place)),
        })
    }

    fn descend(&self, depth: usize) -> Result<(), Failure> {
        if depth <= self.settings.decode_max_depth {
            return Ok(());
        }
        let why = format!("Found too many nested data structures ({depth}) at character {}", self.at);
        Err(Failure::Script(why))
    }

    fn object(&mut self, depth: usize) -> Result<Value, Failure> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        let (mut token, mut place) = self.next();
        if matches!(token, Token::ObjectEnd) {
            return Ok(Value::Table(table));
        }
        loop {
            let Token::String(key) = token else { return Err(expected("object key string", &token, place)) };
            (token, place) = self.next();
            if !matches!(token, Token::Colon) {
                return Err(expected("colon", &token, place));
            }
            (token, place) = self.next();
            let value = self.value(token, place, depth)?;
            table.raw_set(self.lua.create_string(key)?, value)?;
            (token, place) = self.next();
            match token {
                Token::ObjectEnd => return Ok(Value::Table(table)),
                Token::Comma => (token, place) = self.next(),
                token => return Err(expected("comma or object end", &token, place)),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Failure> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        let (mut token, mut place) = self.next();
        if matches!(token, Token::ArrayEnd) {
            if self.settings.decode_array_with_array_mt {
                // one for each: scripts may change it
                let mark = self.lua.create_table_with_capacity(0, 1)?;
                mark.raw_set(ARRAY_MARK, true)?;
                table.set_metatable(Some(mark))?;
            }
            return Ok(Value::Table(table));
        }
        for index in 1.. {
            let value = self.value(token, place, depth)?;
            table.raw_set(index, value)?;
            (token, place) = self.next();
            match token {
                Token::ArrayEnd => break,
                Token::Comma => (token, place) = self.next(),
                token => return Err(expected("comma or array end", &token, place)),
            }
        }
        Ok(Value::Table(table))
    }

    /// The next token, and where it begins.
    fn next(&mut self) -> (Token, usize) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let place = self.at;
        let Some(&byte) = self.text.get(self.at) else { return (Token::End, place) };
        let simple = match byte {
            b'{' => Some(Token::ObjectBegin),
            b'}' => Some(Token::ObjectEnd),
            b'[' => Some(Token::ArrayBegin),
            b']' => Some(Token::ArrayEnd),
            b':' => Some(Token::Colon),
            b',' => Some(Token::Comma),
            _ => None,
        };
        if let Some(token) = simple {
            self.at += 1;
            return (token, place);
        }
        match byte {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => (self.number(), place),
            _ => (self.word(), place),
        }
    }

    fn word(&mut self) -> Token {
        for (word, token) in
            [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)]
        {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return token;
            }
        }
        if self.settings.decode_invalid_numbers && self.is_invalid_number() {
            return self.number();
        }
        Token::Wrong("invalid token")
    }

    /// Whether what follows begins like a number that JSON doesn't have.
    fn is_invalid_number(&self) -> bool {
        let rest = &self.text[self.at..];
        if rest.first() == Some(&b'+') {
            return true;
        }
        match rest.strip_prefix(b"-").unwrap_or(rest) {
            [b'0', next, ..] => next.eq_ignore_ascii_case(&b'x') || next.is_ascii_digit(),
            rest => {
                let begin = rest.get(..3).unwrap_or_default();
                begin.eq_ignore_ascii_case(b"inf") || begin.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn number(&mut self) -> Token {
        if !self.settings.decode_invalid_numbers && self.is_invalid_number() {
            return Token::Wrong("invalid number");
        }
        match parse_prefix(&self.text[self.at..]) {
            Some((number, length)) => {
                self.at += length;
                Token::Number(number)
            }
            None => Token::Wrong("invalid number"),
        }
    }

    /// A string, or what is wrong with it and where.
    fn string(&mut self) -> (Token, usize) {
        let place = self.at;
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let Some(&byte) = self.text.get(self.at) else {
                return (Token::Wrong("unexpected end of string"), self.at);
            };
            self.at += 1;
            match byte {
                b'"' => return (Token::String(out), place),
                b'\\' => match self.escape(&mut out) {
                    Ok(()) => {}
                    Err(wrong) => return (Token::Wrong(wrong), self.at - 1),
                },
                byte => out.push(byte),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let Some(&byte) = self.text.get(self.at) else { return Err("invalid escape code") };
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode(out),
            _ => return Err("invalid escape code"),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        const WRONG: &str = "invalid unicode escape code";
        let unit = self.unit(self.at + 1).ok_or(WRONG)?;
        let (code, bytes) = if (0xd800..0xdc00).contains(&unit) {
            let is_pair = self.text.get(self.at + 5..self.at + 7) == Some(&b"\\u"[..]);
            let low = self.unit(self.at + 7).filter(|low| is_pair && (0xdc00..0xe000).contains(low));
            (0x10000 + ((unit - 0xd800) << 10) + (low.ok_or(WRONG)? - 0xdc00), 11)
        } else {
            (unit, 5)
        };
        let character = char::from_u32(code).ok_or(WRONG)?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += bytes;
        Ok(())
    }

    /// Four hexadecimal digits.
    fn unit(&self, from: usize) -> Option<u32> {
        let digits = self.text.get(from..from + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}
