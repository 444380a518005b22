//! Navigates a JSON text without building a tree.
//!
//! A value is identified by the position of its first byte. Its end is searched only when it is needed, so a path like
//! `$.a.b` reads no further than `b`. Skipped values are not parsed: brackets are counted, and strings are skipped.
//!
//! The text was checked to be JSON before it gets here. On other bytes nothing here panics, loops or reads out of
//! bounds: walks end early, with meaningless results.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

/// The kind of a value, according to its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl JsonType {
    pub fn is_container(self) -> bool {
        matches!(self, JsonType::Array | JsonType::Object)
    }
}

/// What the value at a position is.
pub fn kind(text: &[u8], start: usize) -> JsonType {
    match text.get(start) {
        Some(b'{') => JsonType::Object,
        Some(b'[') => JsonType::Array,
        Some(b'"') => JsonType::String,
        Some(b't' | b'f') => JsonType::Boolean,
        Some(b'-' | b'0'..=b'9') => JsonType::Number,
        _ => JsonType::Null,
    }
}

/// Where the value of a whole text begins.
pub fn root(text: &[u8]) -> usize {
    skip_space(text, 0)
}

/// A text without the whitespace around its value.
pub fn trimmed(text: &[u8]) -> &[u8] {
    let start = root(text);
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// The position after the value that begins at `start`.
pub fn end(text: &[u8], start: usize) -> usize {
    match text.get(start) {
        Some(b'"') => string_end(text, start),
        Some(b'{' | b'[') => container_end(text, start),
        _ => {
            let rest = text.get(start..).unwrap_or_default();
            let is_over = |byte: &u8| matches!(byte, b',' | b']' | b'}') || is_space(*byte);
            start + rest.iter().position(is_over).unwrap_or(rest.len())
        }
    }
}

/// The value that begins at `start`.
pub fn value(text: &[u8], start: usize) -> &[u8] {
    text.get(start..end(text, start)).unwrap_or_default()
}

/// The string that a quoted JSON string stands for. A half of a surrogate pair, which stands for nothing, becomes
/// U+FFFD.
pub fn unescaped(quoted: &[u8]) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', inner).is_none() {
        return String::from_utf8_lossy(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut at = 0;
    while let Some(&byte) = inner.get(at) {
        if byte != b'\\' {
            out.push(byte);
            at += 1;
            continue;
        }
        at += 2;
        let plain = match inner.get(at - 1) {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let (character, used) = unicode_escape(&inner[at.min(inner.len())..]);
                at += used;
                character
            }
            Some(&other) => char::from(other),
            None => break,
        };
        out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Cow::Owned(
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// Reads what stands behind `\u`, a second escape included if both are halves of one character, and how long it is.
fn unicode_escape(text: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 4)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(0) else { return (char::REPLACEMENT_CHARACTER, text.len().min(4)) };
    if let (0xd800..=0xdbff, Some(b"\\u"), Some(second @ 0xdc00..=0xdfff)) = (first, text.get(4..6), unit(6))
    {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

/// How deep a value nests: 0 for a scalar, 1 for `[]`.
pub fn nesting(value: &[u8]) -> usize {
    let (mut depth, mut deepest, mut at) = (0usize, 0, 0);
    while let Some(&byte) = value.get(at) {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                at = string_end(value, at);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    deepest
}

/// A member of an object or an element of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it begins: with its key, or with its value in an array.
    pub slot: usize,
    /// The quoted key; empty in an array.
    pub key: Range<usize>,
    /// Where its value begins.
    pub value: usize,
}

/// The entries of a container, in their order. The value of an entry is passed over only when the next one is asked for.
pub struct Entries<'t> {
    text: &'t [u8],
    /// Behind the opening bracket or the last value; with an unread value, at its beginning.
    at: usize,
    is_object: bool,
    has_unread_value: bool,
    is_first: bool,
}

impl<'t> Entries<'t> {
    /// Of the value that begins at `start`; a scalar has none.
    pub fn of(text: &'t [u8], start: usize) -> Entries<'t> {
        let kind = kind(text, start);
        let at = if kind.is_container() { start + 1 } else { text.len() };
        Entries { text, at, is_object: kind == JsonType::Object, has_unread_value: false, is_first: true }
    }

    /// Behind the last value that was passed over: where the text between two entries begins.
    pub fn position(&mut self) -> usize {
        self.pass();
        self.at
    }

    /// How far the text was read: where the last value begins, or behind the last one.
    pub fn seen(&self) -> usize {
        self.at
    }

    /// The position after the closing bracket, when there is no entry left.
    pub fn closed(&mut self) -> usize {
        let bracket = skip_space(self.text, self.position());
        (bracket + 1).min(self.text.len())
    }

    /// Sets the end of the last returned value, if the caller knows it.
    pub fn passed(&mut self, end: usize) {
        self.at = end;
        self.has_unread_value = false;
    }

    fn pass(&mut self) {
        if self.has_unread_value {
            self.passed(end(self.text, self.at));
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        self.pass();
        let mut slot = skip_space(self.text, self.at);
        if !self.is_first {
            if self.text.get(slot) != Some(&b',') {
                return None;
            }
            slot = skip_space(self.text, slot + 1);
        }
        let first = self.text.get(slot)?;
        if matches!(first, b']' | b'}') || self.is_object && *first != b'"' {
            return None;
        }
        self.is_first = false;
        let (mut key, mut value) = (slot..slot, slot);
        if self.is_object {
            key.end = string_end(self.text, slot);
            let colon = skip_space(self.text, key.end);
            value = skip_space(self.text, colon + 1);
        }
        (self.at, self.has_unread_value) = (value, true);
        Some(Member { slot, key, value })
    }
}

pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The first position from `at` on that is not whitespace.
pub fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(|byte| is_space(*byte)) {
        at += 1;
    }
    at
}

/// The position after the string that begins at `start`.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    // most strings are short, and a call of memchr costs as much as looking at some bytes
    for _ in 0..16 {
        match text.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return text.len(),
        }
    }
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// The position after the container that begins at `start`.
fn container_end(text: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0usize, start);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth <= 1 => return at + 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(text: &str) -> Vec<(String, String)> {
        let bytes = text.as_bytes();
        Entries::of(bytes, root(bytes))
            .map(|entry| {
                let part = |range: Range<usize>| text[range].to_owned();
                (part(entry.key), part(entry.value..end(bytes, entry.value)))
            })
            .collect()
    }

    #[test]
    fn entries_are_found_through_any_layout() {
        let text = " { \"a\" : [1, {\"b\":\"]}\\\"\"}] ,\r\n\"c\\\"\":\t-1.5e3 , \"d\":null } ";
        let expected = [(r#""a""#, r#"[1, {"b":"]}\""}]"#), (r#""c\"""#, "-1.5e3"), (r#""d""#, "null")];
        let found = entries(text);
        assert_eq!(found.iter().map(|(key, value)| (&key[..], &value[..])).collect::<Vec<_>>(), expected);
        assert_eq!(entries("[ ]"), []);
        assert_eq!(entries("{}"), []);
        assert_eq!(entries("12"), []);
        assert_eq!(entries(r#"[true,"",[[]]]"#).len(), 3);
    }

    #[test]
    fn values_end_where_they_end() {
        for value in ["1", "-1.5e-7", "true", r#""a\\""#, r#""\"]""#, "[[],{}]", r#"{"a":"}"}"#] {
            for around in ["", ",1", "]", " \n}"] {
                assert_eq!(end(format!("{value}{around}").as_bytes(), 0), value.len(), "{value}{around}");
            }
        }
        let long = format!(r#""{}\"x""#, "é".repeat(100));
        assert_eq!(end(long.as_bytes(), 0), long.len());
        assert_eq!(trimmed(b" \n[1] "), b"[1]");
        assert_eq!(trimmed(b"  "), b"");
    }

    #[test]
    fn nesting_counts_brackets_outside_strings() {
        for (text, depth) in [("1", 0), ("\"[[\"", 0), ("[]", 1), (r#"{"a":[1,[]],"b":{}}"#, 3)] {
            assert_eq!(nesting(text.as_bytes()), depth, "{text}");
        }
    }

    #[test]
    fn escapes_are_undone() {
        for (quoted, plain) in [
            (r#""plain é""#, "plain é"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\u00e9\ud83d\ude00!""#, "é😀!"),
            (r#""\ud83dx""#, "\u{fffd}x"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(unescaped(quoted.as_bytes()), plain, "{quoted}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(text in r#"[\[\]{}",: 0-2tn\\ué]{0,20}"#, start in 0usize..24) {
            let bytes = text.as_bytes();
            prop_assert!(end(bytes, start) <= bytes.len().max(start));
            prop_assert!(Entries::of(bytes, start).count() <= bytes.len());
            let _ = (nesting(bytes), unescaped(bytes), trimmed(bytes));
        }

        #[test]
        fn strings_come_back(string in any::<String>()) {
            let quoted = serde_json::to_string(&string).unwrap();
            prop_assert_eq!(unescaped(quoted.as_bytes()), string);
            prop_assert_eq!(end(quoted.as_bytes(), 0), quoted.len());
        }
    }
}
