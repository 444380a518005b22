//! Whether a text is JSON: the check that every SET into a `json` store passes through.
//!
//! Nothing is built and nothing changed, because a value comes back byte for byte as it was set. Numbers of any size
//! and lone surrogates in escapes are JSON by its grammar (RFC 8259), so they pass; computing with them may fail later.
//!
//! Code that builds a tree of a stored value must allow for [`JSON_DEPTH_MAX`] levels: `serde_json` by default stops
//! one level before, at 127.
//!
//! Measured on JSON of 150 B to 4 KB: 1 ns a byte, nine tenths of it the grammar. A value with more than
//! [`JSON_DEPTH_MAX`] brackets, which therefore may be too deep, costs about 1 ns a byte more.

use memchr::{memchr2, memchr2_iter};
use serde::de::IgnoredAny;

use crate::limits::JSON_DEPTH_MAX;

/// Why a text is not JSON, and where. The column counts bytes; both begin at 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line} column {column}")]
pub struct NotJson {
    pub what: String,
    pub line: usize,
    pub column: usize,
}

/// Checks that `text` is one JSON value of any kind in UTF-8, nested no deeper than [`JSON_DEPTH_MAX`], with or without
/// whitespace around it.
pub fn check(text: &[u8]) -> Result<(), NotJson> {
    // serde_json checks only the grammar of what it skips, neither UTF-8 inside strings nor depth.
    serde_json::from_slice::<IgnoredAny>(text).map_err(not_json)?;
    if let Err(error) = std::str::from_utf8(text) {
        return Err(not_json_at(text, error.valid_up_to(), "invalid UTF-8"));
    }
    match first_too_deep(text) {
        Some(index) => Err(not_json_at(text, index, format!("nesting deeper than {JSON_DEPTH_MAX} levels"))),
        None => Ok(()),
    }
}

/// Where a valid JSON text goes deeper than allowed.
fn first_too_deep(text: &[u8]) -> Option<usize> {
    // Brackets in strings count here too; what matters is that few brackets can't nest deeply.
    memchr2_iter(b'[', b'{', text).nth(JSON_DEPTH_MAX)?;
    let (mut depth, mut i) = (0, 0);
    while let Some(&byte) = text.get(i) {
        match byte {
            b'[' | b'{' if depth == JSON_DEPTH_MAX => return Some(i),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b'"' => i = end_of_string(text, i + 1),
            _ => {}
        }
        i += 1;
    }
    None
}

/// The index of the quote that ends the string whose text begins at `i`.
fn end_of_string(text: &[u8], mut i: usize) -> usize {
    while let Some(skipped) = text.get(i..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        i += skipped;
        if text[i] == b'"' {
            return i;
        }
        i += 2;
    }
    text.len()
}

fn not_json(error: serde_json::Error) -> NotJson {
    let text = error.to_string();
    let what = text.rfind(" at line ").map_or(&*text, |suffix| &text[..suffix]);
    let what = match what.strip_prefix("EOF") {
        Some(rest) => format!("end of text{rest}"),
        None => what.to_owned(),
    };
    // serde_json calls the column in front of the first byte 0.
    NotJson { what, line: error.line(), column: error.column().max(1) }
}

fn not_json_at(text: &[u8], index: usize, what: impl Into<String>) -> NotJson {
    let before = &text[..index];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    NotJson { what: what.into(), line, column: 1 + index - line_start }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn json_is_json() {
        for text in [
            "{}",
            "[]",
            "0",
            "-0",
            "-1.5e-7",
            "1e400",
            "\"\"",
            "true",
            "false",
            "null",
            " \t\r\n[1, 2]\n",
            "12345678901234567890123456789012345678901234567890",
            r#""\ud800""#,
            r#""\u0000\"\\\/\b\f\n\r\t""#,
            "\"ünïcödé \u{10ffff}\"",
            r#"{"a":1,"a":2}"#,
            r#"{"":[{"x":null}]}"#,
            "\"\u{7f}\u{2028}\"",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_and_where() {
        let cases: &[(&[u8], &str, usize, usize)] = &[
            (b"", "end of text while parsing a value", 1, 1),
            (b"  ", "end of text while parsing a value", 1, 2),
            (b"NaN", "expected value", 1, 1),
            (b"\xef\xbb\xbf1", "expected value", 1, 1),
            (b"'a'", "expected value", 1, 1),
            (b"01", "invalid number", 1, 2),
            (b"+1", "expected value", 1, 1),
            (b"tru", "end of text while parsing a value", 1, 3),
            (b"hello", "expected value", 1, 1),
            (b"[1,]", "expected value", 1, 4),
            (b"{1:2}", "key must be a string", 1, 2),
            (b"{\"a\":\n \"b\"\n x}", "expected `,` or `}`", 3, 2),
            (b"{} {}", "trailing characters", 1, 4),
            (b"1\0", "trailing characters", 1, 2),
            (b"\"\\x\"", "invalid escape", 1, 3),
            (b"\"\\u12xy\"", "invalid escape", 1, 7),
            (b"\"a\nb\"", "control character (\\u0000-\\u001F) found while parsing a string", 1, 2),
            (b"[\n\"\xff\"]", "invalid UTF-8", 2, 2),
            (b"\"\xed\xa0\x80\"", "invalid UTF-8", 1, 2),
        ];
        for &(text, what, line, column) in cases {
            let expected = NotJson { what: what.to_owned(), line, column };
            assert_eq!(check(text), Err(expected), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(check(nested(JSON_DEPTH_MAX).as_bytes()), Ok(()));
        let what = "nesting deeper than 128 levels".to_owned();
        let column = JSON_DEPTH_MAX + 1;
        assert_eq!(check(nested(column).as_bytes()), Err(NotJson { what, line: 1, column }));
        assert!(check(nested(1_000_000).as_bytes()).is_err());
        let objects = format!("{}1{}", r#"{"a":"#.repeat(129), "}".repeat(129));
        assert!(check(objects.as_bytes()).is_err());
    }

    #[test]
    fn brackets_that_do_not_nest_are_no_depth() {
        let wide = format!("[{}[]]", "[],{},".repeat(1_000));
        assert_eq!(check(wide.as_bytes()), Ok(()));
        let quoted = format!(r#"["\"{0}\\","{0}\"",{1}]"#, "[{".repeat(1_000), nested(127));
        assert_eq!(check(quoted.as_bytes()), Ok(()));
        let quoted = format!(r#"["\"{0}\\","]]{0}\"",{1}]"#, "[{".repeat(1_000), nested(128));
        assert!(check(quoted.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_the_parser(text in r#"[\[\]{}",:0-2eE.+\- \\u"an]{0,12}"#) {
            // RawValue checks the grammar by another path, over a text that is UTF-8 already.
            let other = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(check(text.as_bytes()).is_ok(), other);
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(&text);
        }
    }
}
