//! The functions of `string` that match patterns: see `pattern`.
//!
//! `gmatch`, and `gsub` with a function or a table, are loops of the prelude around `search`: what they call is called
//! by Lua.

use std::sync::Arc;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use super::pattern::{Capture, Match, Stop, search};
use super::{Arguments, Bounds, Failure, Library};
use crate::script::raised::stopped;

const SPECIAL: &[u8] = b"^$*+?.([%-";

/// `find`, `match`, `gsub` for texts, and `search`, and the functions of Lua's own library that take time.
pub fn library(lua: &Lua, own: &Table, bounds: &Arc<Bounds>) -> mlua::Result<Table> {
    let library = Library::new(lua, bounds)?;
    library.add("find", |lua, args| {
        let subject = Subject::of(lua, args)?;
        if is_true(args.get(3)) || !subject.pattern.as_bytes().iter().any(|byte| SPECIAL.contains(byte)) {
            return subject.find_plain(lua);
        }
        subject.first(lua, args, true)
    })?;
    library.add("match", |lua, args| Subject::of(lua, args)?.first(lua, args, false))?;
    library.add("search", |lua, args| {
        let subject = Subject::of(lua, args)?;
        let (text, pattern) = (subject.text.as_bytes(), subject.pattern.as_bytes());
        let found = search(&text, &pattern, subject.start, false, &|| args.is_stopped())?;
        results(lua, &text, found.as_ref(), true)
    })?;
    library.add("gsub", replace)?;
    let repeat: Function = own.get("rep")?;
    library.add("rep", move |lua, args| {
        // Lua's own would count to the end, which may take hours
        let is_empty = args.string(lua, 0)?.as_bytes().is_empty();
        if is_empty && args.number(1).is_ok() {
            return Ok(MultiValue::from_iter([Value::String(lua.create_string("")?)]));
        }
        args.forward(&repeat)
    })?;
    for name in ["dump", "format", "lower", "reverse", "upper"] {
        library.guard(name, own.get(name)?)?;
    }
    Ok(library.table)
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Failure {
        match stop {
            Stop::Wrong(why) => Failure::Script(why.to_owned()),
            Stop::Stopped => Failure::Machine(stopped()),
        }
    }
}

fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Nil | Value::Boolean(false))
}

/// The text, the pattern, and the start of a search.
struct Subject {
    text: LuaString,
    pattern: LuaString,
    start: usize,
}

impl Subject {
    fn of(lua: &Lua, args: &Arguments) -> Result<Subject, Failure> {
        let (text, pattern) = (args.string(lua, 0)?, args.string(lua, 1)?);
        let length = text.as_bytes().len();
        let init = if args.get(2).is_nil() { 1.0 } else { args.number(2)? } as i64;
        let from = if init < 0 { init.saturating_add(length as i64 + 1) } else { init };
        let start = usize::try_from(from.saturating_sub(1)).unwrap_or(0).min(length);
        Ok(Subject { text, pattern, start })
    }

    fn find_plain(&self, lua: &Lua) -> Result<MultiValue, Failure> {
        let (text, pattern) = (self.text.as_bytes(), self.pattern.as_bytes());
        let found = memchr::memmem::find(&text[self.start..], &pattern).map(|at| Match {
            start: self.start + at,
            end: self.start + at + pattern.len(),
            captures: Vec::new(),
        });
        results(lua, &text, found.as_ref(), true)
    }

    fn first(&self, lua: &Lua, args: &Arguments, with_positions: bool) -> Result<MultiValue, Failure> {
        let (text, pattern) = (self.text.as_bytes(), self.pattern.as_bytes());
        let (is_anchored, pattern) = anchored(&pattern);
        let found = search(&text, pattern, self.start, is_anchored, &|| args.is_stopped())?;
        let mut values = results(lua, &text, found.as_ref(), with_positions)?;
        if let Some(found) = found.filter(|found| found.captures.is_empty() && !with_positions) {
            values.push_back(Value::String(lua.create_string(&text[found.start..found.end])?));
        }
        Ok(values)
    }
}

fn anchored(pattern: &[u8]) -> (bool, &[u8]) {
    pattern.strip_prefix(b"^").map_or((false, pattern), |rest| (true, rest))
}

/// Nil, or the positions if they are wanted, and the captures.
fn results(
    lua: &Lua,
    text: &[u8],
    found: Option<&Match>,
    with_positions: bool,
) -> Result<MultiValue, Failure> {
    let mut values = MultiValue::new();
    let Some(found) = found else {
        values.push_back(Value::Nil);
        return Ok(values);
    };
    if with_positions {
        values.push_back(Value::Number((found.start + 1) as f64));
        values.push_back(Value::Number(found.end as f64));
    }
    for capture in &found.captures {
        values.push_back(match capture {
            Capture::Text { start, end } => Value::String(lua.create_string(&text[*start..*end])?),
            Capture::Position { start } => Value::Number((start + 1) as f64),
            Capture::Open { .. } => return Err(Failure::Script("unfinished capture".to_owned())),
        });
    }
    Ok(values)
}

/// `gsub` with a text to put in.
fn replace(lua: &Lua, args: &Arguments) -> Result<(LuaString, f64), Failure> {
    let (text, pattern) = (args.string(lua, 0)?, args.string(lua, 1)?);
    let Ok(by) = args.string(lua, 2) else {
        return Err(args.bad(2, "string/function/table expected"));
    };
    let limit = if args.get(3).is_nil() { f64::INFINITY } else { args.number(3)? };
    let (text, pattern, by) = (text.as_bytes(), pattern.as_bytes(), by.as_bytes());
    let (is_anchored, pattern) = anchored(&pattern);
    // a search counts its own steps, and a short one looks at nothing
    const MATCH_STEPS: usize = 1024;
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0.0);
    while count < limit {
        let Some(found) = search(&text, pattern, at, is_anchored, &|| args.is_stopped())? else { break };
        count += 1.0;
        out.extend_from_slice(&text[at..found.start]);
        put_replacement(args, &text, &found, &by, &mut out)?;
        at = found.end;
        if found.end == found.start {
            let Some(byte) = text.get(at) else { break };
            out.push(*byte);
            at += 1;
        }
        args.fits(out.len())?;
        args.spend(MATCH_STEPS + found.end - found.start)?;
        if is_anchored {
            break;
        }
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Ok((lua.create_string(out)?, count))
}

/// `by`, with captures where it says `%1`.
fn put_replacement(
    args: &Arguments,
    text: &[u8],
    found: &Match,
    by: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let whole = Capture::Text { start: found.start, end: found.end };
    let mut bytes = by.iter();
    while let Some(&byte) = bytes.next() {
        let digit = if byte == b'%' { bytes.next().copied().unwrap_or(0) } else { 0 };
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let capture = match digit {
            b'0' => Some(whole),
            b'1' if found.captures.is_empty() => Some(whole),
            b'1'..=b'9' => found.captures.get((digit - b'1') as usize).copied(),
            other => {
                out.push(other);
                continue;
            }
        };
        args.fits(out.len())?;
        match capture {
            Some(Capture::Text { start, end }) => out.extend_from_slice(&text[start..end]),
            Some(Capture::Position { start }) => out.extend_from_slice((start + 1).to_string().as_bytes()),
            Some(Capture::Open { .. }) => return Err(Failure::Script("unfinished capture".to_owned())),
            None => return Err(Failure::Script("invalid capture index".to_owned())),
        }
    }
    Ok(())
}
