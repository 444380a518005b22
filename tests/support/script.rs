//! The language of `tests/scenarios/*.txt`: who says what, and what has to come back.
//!
//! ```text
//! against: both            # both | larder | reference: who is asked (default both)
//! values: any              # any | json: what Larder's stores hold (default json)
//! protocol: both           # 2 | 3 | both (default both)
//! since: 8.4               # the Redis version that knows this; an older reference is not asked
//! flags: --databases 4     # for the servers' command lines
//! fresh: yes               # a new server for every section (default: one server, emptied by FLUSHALL)
//!
//! == A section: new connections, an empty server. Settings of its own may follow.
//! > SET k "a value" EX ${seconds+10}      a command; quoting as in redis-cli
//! < +OK                                   the reply, exactly
//! other> GET k                            a command of a second connection
//! < "a value"
//! before 8.0< "a value"                   the reply of a reference older than that, where it is another one
//! from 8.0< "a value"                     the reply of a reference of that version or newer, where Larder means to differ
//! wait 20                                 at least so many milliseconds pass
//! ```
//!
//! A `<` line reads one reply of the connection that spoke last (`other<`: of that one). The notation of replies covers
//! both protocols at once, since every form has one encoding in each. `${space}` is a space where an editor would
//! remove it, `${seconds}` and `${millis}` are the time at which the section began, `${port}` is the server's:
//!
//! | written | RESP2 | RESP3 |
//! |---|---|---|
//! | `+OK`, `-ERR text` | simple string, error | same |
//! | `:5`, `:1..9`, `:*` | integer: this, within, any | same |
//! | `"text"`, `~"te*t"` | bulk string: this, matching (`*` only) | same |
//! | `~-ERR *`, `~+FULL*` | error, simple string matching | same |
//! | `error"ERR text"` | an error within a list | same |
//! | `nil`, `nil-array` | `$-1`, `*-1` | `_` |
//! | `[…]`, `any-order[…]` | array | same |
//! | `map[k v …]`, `set[…]`, `push[…]` | array | map, set, push |
//! | `,3.14`, `(123`, `true`, `text"…"` | bulk, bulk, `:1`, bulk | double, big number, boolean, verbatim |
//! | `?`, `...`, `$name` | anything, the rest of a list, anything, from here on `${name}` | same |
//! | `closed` | the server closes the connection | same |

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::wire::{Reply, printable};

#[derive(Debug, Clone)]
pub struct Settings {
    pub against_larder: bool,
    pub against_reference: bool,
    pub any_values: bool,
    pub protocols: Vec<u8>,
    pub since: (u32, u32),
    pub flags: Vec<String>,
    pub fresh: bool,
}

#[derive(Debug)]
pub struct Section {
    pub title: String,
    pub settings: Settings,
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub struct Step {
    /// Counted from 1, as editors do.
    pub line: usize,
    pub action: Action,
}

#[derive(Debug)]
pub enum Action {
    /// Sends a command; nothing is read. The text is what stands behind `>`.
    Send {
        connection: String,
        text: String,
    },
    /// Reads a reply of a connection, or of the one that spoke last.
    Expect {
        connection: Option<String>,
        text: String,
        /// What references of some versions answer instead.
        instead: Vec<Instead>,
    },
    Wait {
        milliseconds: u64,
    },
}

/// The reply of those references whose versions are in the range.
#[derive(Debug, Clone)]
pub struct Instead {
    versions: Range<(u32, u32)>,
    text: String,
}

impl Action {
    /// Reads the line that follows an expected reply: `before 8.0< …` or `from 8.0< …`.
    fn add_instead(&mut self, line: &str) -> Option<()> {
        let Action::Expect { instead, .. } = self else { return None };
        let (condition, text) = line.split_once('<')?;
        let (word, version) = condition.split_once(' ')?;
        let version = parse_version(version)?;
        let versions = if word == "before" { (0, 0)..version } else { version..(u32::MAX, u32::MAX) };
        instead.push(Instead { versions, text: text.trim_start().to_string() });
        Some(())
    }
}

/// The reply that a reference of this version has to give, or Larder if there is none.
pub fn expected<'s>(text: &'s str, instead: &'s [Instead], reference: Option<(u32, u32)>) -> &'s str {
    let known = |version| instead.iter().find(|instead| instead.versions.contains(&version));
    reference.and_then(known).map_or(text, |instead| &instead.text)
}

/// What `${name}` stands for.
pub type Variables = HashMap<String, String>;

/// Reads a scenario file. Panics with the line if it is not one.
pub fn parse_file(path: &Path) -> (Settings, Vec<Section>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut settings = Settings {
        against_larder: true,
        against_reference: true,
        any_values: false,
        protocols: vec![2, 3],
        since: (0, 0),
        flags: Vec::new(),
        fresh: false,
    };
    let mut sections: Vec<Section> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let wrong = || -> ! { panic!("{}:{line_number}: {line:?}", path.display()) };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("== ") {
            sections.push(Section {
                title: title.to_string(),
                settings: settings.clone(),
                steps: Vec::new(),
            });
            continue;
        }
        if line.starts_with("before ") || line.starts_with("from ") {
            let step = sections.last_mut().and_then(|section| section.steps.last_mut());
            step.and_then(|step| step.action.add_instead(line)).unwrap_or_else(|| wrong());
            continue;
        }
        if let Some(action) = action(line) {
            let section = sections.last_mut().unwrap_or_else(|| wrong());
            section.steps.push(Step { line: line_number, action });
            continue;
        }
        let subject = match sections.last_mut() {
            None => &mut settings,
            Some(section) if section.steps.is_empty() => &mut section.settings,
            Some(_) => wrong(),
        };
        apply_setting(line, subject).unwrap_or_else(|| wrong());
    }
    (settings, sections)
}

fn action(line: &str) -> Option<Action> {
    if let Some(milliseconds) = line.strip_prefix("wait ") {
        let milliseconds = milliseconds.parse().ok()?;
        return Some(Action::Wait { milliseconds });
    }
    let (name, mark, text) =
        line.find(['<', '>']).map(|at| (&line[..at], &line[at..=at], line[at + 1..].trim_start()))?;
    if !name.chars().all(char::is_alphanumeric) {
        return None;
    }
    let text = text.to_string();
    Some(match mark {
        ">" => Action::Send { connection: name.to_string(), text },
        _ => Action::Expect {
            connection: (!name.is_empty()).then(|| name.to_string()),
            text,
            instead: Vec::new(),
        },
    })
}

fn apply_setting(line: &str, settings: &mut Settings) -> Option<()> {
    let (name, value) = line.split_once(": ")?;
    let value = value.split(" #").next()?.trim();
    match (name, value) {
        ("against", "both") => (settings.against_larder, settings.against_reference) = (true, true),
        ("against", "larder") => (settings.against_larder, settings.against_reference) = (true, false),
        ("against", "reference") => (settings.against_larder, settings.against_reference) = (false, true),
        ("values", "any") => settings.any_values = true,
        ("values", "json") => settings.any_values = false,
        ("protocol", "both") => settings.protocols = vec![2, 3],
        ("protocol", "2") => settings.protocols = vec![2],
        ("protocol", "3") => settings.protocols = vec![3],
        ("since", version) => settings.since = parse_version(version)?,
        ("flags", flags) => {
            settings.flags = flags.split_whitespace().map(str::to_string).collect();
        }
        ("fresh", "yes") => settings.fresh = true,
        _ => return None,
    }
    Some(())
}

/// `7.0.15` as (7, 0): what is compared.
pub fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Puts values in the place of `${name}`, `${name+1}` and `${name-1}`.
pub fn substitute(text: &str, variables: &Variables) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (expression, behind) = after.split_once('}').expect("${ has its }");
        out.push_str(before);
        out.push_str(&evaluate(expression, variables));
        rest = behind;
    }
    out + rest
}

fn evaluate(expression: &str, variables: &Variables) -> String {
    let (name, offset) = match expression.find(['+', '-']) {
        Some(at) => expression.split_at(at),
        None => (expression, ""),
    };
    let value = variables.get(name).unwrap_or_else(|| panic!("${{{name}}} is not known here"));
    if offset.is_empty() {
        return value.clone();
    }
    let offset: i64 = offset.parse().expect("an offset is a number");
    let value: i64 = value.parse().expect("only numbers have offsets");
    (value + offset).to_string()
}

/// The arguments of a command line, quoted as in redis-cli.
pub fn arguments(text: &str) -> Vec<Vec<u8>> {
    let mut cursor = Cursor::new(text);
    let mut arguments = Vec::new();
    while cursor.skip_spaces() {
        arguments.push(match cursor.peek() {
            Some('"') => cursor.quoted(),
            _ => cursor.word().into_bytes(),
        });
    }
    arguments
}

/// What a reply has to look like.
#[derive(Debug)]
pub enum Pattern {
    Anything,
    Rest,
    Capture(String),
    Simple(Text),
    Error(Text),
    Bulk(Text),
    Verbatim(Text),
    Integer { least: i64, most: i64 },
    Double(String),
    BigNumber(String),
    Boolean(bool),
    Null,
    NullArray,
    Array(Vec<Pattern>),
    AnyOrder(Vec<Pattern>),
    Map(Vec<Pattern>),
    Set(Vec<Pattern>),
    Push(Vec<Pattern>),
}

#[derive(Debug)]
pub enum Text {
    Exactly(Vec<u8>),
    /// `*` stands for any bytes.
    Like(Vec<u8>),
}

impl Text {
    fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            Text::Exactly(expected) => expected == bytes,
            Text::Like(pattern) => is_like(bytes, pattern),
        }
    }
}

fn is_like(bytes: &[u8], pattern: &[u8]) -> bool {
    match pattern.iter().position(|&byte| byte == b'*') {
        None => bytes == pattern,
        Some(star) => {
            let (head, tail) = (&pattern[..star], &pattern[star + 1..]);
            bytes.starts_with(head) && (head.len()..=bytes.len()).any(|at| is_like(&bytes[at..], tail))
        }
    }
}

/// Reads the text behind `<`, whose variables have been put in.
pub fn parse_pattern(text: &str) -> Pattern {
    let exactly = |text: &str| Text::Exactly(text.as_bytes().to_vec());
    let like = |text: &str| Text::Like(text.as_bytes().to_vec());
    if let Some(error) = text.strip_prefix('-') {
        return Pattern::Error(exactly(error));
    }
    if let Some(error) = text.strip_prefix("~-") {
        return Pattern::Error(like(error));
    }
    if let Some(simple) = text.strip_prefix('+') {
        return Pattern::Simple(exactly(simple));
    }
    if let Some(simple) = text.strip_prefix("~+") {
        return Pattern::Simple(like(simple));
    }
    let mut cursor = Cursor::new(text);
    let pattern = cursor.pattern();
    assert!(!cursor.skip_spaces(), "something follows the reply: {text}");
    pattern
}

impl Pattern {
    /// Whether the reply is this one, in this protocol. Captures go into `variables`.
    pub fn matches(&self, reply: &Reply, protocol: u8, variables: &mut Variables) -> bool {
        let resp3 = protocol == 3;
        match (self, reply) {
            (Pattern::Anything | Pattern::Rest, _) => true,
            (Pattern::Capture(name), reply) => {
                let value = match reply {
                    Reply::Integer(value) => value.to_string(),
                    other => other.text(),
                };
                variables.insert(name.clone(), value);
                true
            }
            (Pattern::Simple(text), Reply::Simple(bytes))
            | (Pattern::Error(text), Reply::Error(bytes))
            | (Pattern::Bulk(text), Reply::Bulk(bytes)) => text.matches(bytes),
            (Pattern::Verbatim(text), Reply::Verbatim(bytes)) if resp3 => text.matches(bytes),
            (Pattern::Verbatim(text), Reply::Bulk(bytes)) if !resp3 => text.matches(bytes),
            (Pattern::Integer { least, most }, Reply::Integer(value)) => (least..=most).contains(&value),
            (Pattern::Double(text), Reply::Double(bytes)) if resp3 => text.as_bytes() == bytes,
            (Pattern::Double(text), Reply::Bulk(bytes)) if !resp3 => text.as_bytes() == bytes,
            (Pattern::BigNumber(text), Reply::BigNumber(bytes)) if resp3 => text.as_bytes() == bytes,
            (Pattern::BigNumber(text), Reply::Bulk(bytes)) if !resp3 => text.as_bytes() == bytes,
            (Pattern::Boolean(expected), Reply::Boolean(value)) if resp3 => expected == value,
            (Pattern::Boolean(expected), Reply::Integer(value)) if !resp3 => i64::from(*expected) == *value,
            (Pattern::Null, Reply::NullBulk) | (Pattern::NullArray, Reply::NullArray) => !resp3,
            (Pattern::Null | Pattern::NullArray, Reply::Null) => resp3,
            (Pattern::Array(patterns), Reply::Array(replies)) => {
                in_order(patterns, replies, protocol, variables)
            }
            (Pattern::AnyOrder(patterns), Reply::Array(replies)) => {
                any_order(patterns, replies, protocol, variables)
            }
            (Pattern::Map(patterns), Reply::Map(replies)) if resp3 => {
                in_order(patterns, replies, protocol, variables)
            }
            (Pattern::Map(patterns), Reply::Array(replies)) if !resp3 => {
                in_order(patterns, replies, protocol, variables)
            }
            (Pattern::Set(patterns), Reply::Set(replies)) if resp3 => {
                any_order(patterns, replies, protocol, variables)
            }
            (Pattern::Set(patterns), Reply::Array(replies)) if !resp3 => {
                any_order(patterns, replies, protocol, variables)
            }
            (Pattern::Push(patterns), Reply::Push(replies)) if resp3 => {
                in_order(patterns, replies, protocol, variables)
            }
            (Pattern::Push(patterns), Reply::Array(replies)) if !resp3 => {
                in_order(patterns, replies, protocol, variables)
            }
            _ => false,
        }
    }
}

fn in_order(patterns: &[Pattern], replies: &[Reply], protocol: u8, variables: &mut Variables) -> bool {
    let patterns = match patterns.split_last() {
        Some((Pattern::Rest, first)) if first.len() <= replies.len() => first,
        _ if patterns.len() == replies.len() => patterns,
        _ => return false,
    };
    patterns.iter().zip(replies).all(|(pattern, reply)| pattern.matches(reply, protocol, variables))
}

fn any_order(patterns: &[Pattern], replies: &[Reply], protocol: u8, variables: &mut Variables) -> bool {
    let (patterns, more_may_come) = match patterns.split_last() {
        Some((Pattern::Rest, first)) => (first, true),
        _ => (patterns, false),
    };
    let mut left: Vec<&Reply> = replies.iter().collect();
    for pattern in patterns {
        match left.iter().position(|reply| pattern.matches(reply, protocol, variables)) {
            Some(index) => left.swap_remove(index),
            None => return false,
        };
    }
    left.is_empty() || more_may_come
}

/// Reads notation from the left.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Cursor<'a> {
        Cursor { rest: text }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// False at the end.
    fn skip_spaces(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        !self.rest.is_empty()
    }

    fn word(&mut self) -> String {
        let end = self.rest.find(|character: char| character.is_whitespace()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_string()
    }

    /// What stands in double quotes, with its escapes resolved.
    fn quoted(&mut self) -> Vec<u8> {
        assert!(self.take("\""), "a quote is missing: {}", self.rest);
        let mut bytes = Vec::new();
        loop {
            let character = self.peek().expect("quotes are closed");
            self.rest = &self.rest[character.len_utf8()..];
            match character {
                '"' => return bytes,
                '\\' => bytes.push(self.escape()),
                other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self) -> u8 {
        let character = self.peek().expect("an escape names a character");
        self.rest = &self.rest[character.len_utf8()..];
        match character {
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'x' => {
                let (digits, rest) = self.rest.split_at(2);
                self.rest = rest;
                u8::from_str_radix(digits, 16).expect("\\x has two digits")
            }
            other => u8::try_from(other).expect("an escaped character is ASCII"),
        }
    }

    fn pattern(&mut self) -> Pattern {
        self.skip_spaces();
        if self.peek() == Some('"') {
            return Pattern::Bulk(Text::Exactly(self.quoted()));
        }
        if self.take("~") {
            return Pattern::Bulk(Text::Like(self.quoted()));
        }
        if self.take("text~") {
            return Pattern::Verbatim(Text::Like(self.quoted()));
        }
        if self.rest.starts_with("text\"") && self.take("text") {
            return Pattern::Verbatim(Text::Exactly(self.quoted()));
        }
        if self.take("error") {
            return Pattern::Error(Text::Exactly(self.quoted()));
        }
        for (open, list) in [
            ("[", Pattern::Array as fn(Vec<Pattern>) -> Pattern),
            ("any-order[", Pattern::AnyOrder),
            ("map[", Pattern::Map),
            ("set[", Pattern::Set),
            ("push[", Pattern::Push),
        ] {
            if self.take(open) {
                return list(self.list());
            }
        }
        self.scalar()
    }

    fn list(&mut self) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        loop {
            assert!(self.skip_spaces(), "a list is not closed");
            if self.take("]") {
                return patterns;
            }
            patterns.push(self.pattern());
        }
    }

    fn scalar(&mut self) -> Pattern {
        let end = self
            .rest
            .find(|character: char| character.is_whitespace() || character == ']')
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "nil" => return Pattern::Null,
            "nil-array" => return Pattern::NullArray,
            "true" => return Pattern::Boolean(true),
            "false" => return Pattern::Boolean(false),
            "?" => return Pattern::Anything,
            "..." => return Pattern::Rest,
            _ => {}
        }
        let behind = word.get(1..).unwrap_or_default();
        match word.chars().next() {
            Some('+') => Pattern::Simple(Text::Exactly(behind.as_bytes().to_vec())),
            Some('$') => Pattern::Capture(behind.to_string()),
            Some(',') => Pattern::Double(behind.to_string()),
            Some('(') => Pattern::BigNumber(behind.to_string()),
            Some(':') => integer(behind),
            _ => panic!("not a reply: {}", printable(word.as_bytes())),
        }
    }
}

fn integer(text: &str) -> Pattern {
    let number = |text: &str| text.parse::<i64>().expect("an integer");
    let (least, most) = match text.split_once("..") {
        _ if text == "*" => (i64::MIN, i64::MAX),
        Some((least, most)) => (number(least), number(most)),
        None => (number(text), number(text)),
    };
    Pattern::Integer { least, most }
}
