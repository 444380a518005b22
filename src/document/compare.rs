//! Whether two values are equal, and which is less: for filters, and for searching a value in an array.
//!
//! Each value is given as the text from its first byte on; what follows it is not looked at.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use super::number;
use super::scan::{self, Entries, JsonType};

/// The rule for comparing numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// By their value: 1 is 1.0.
    ByValue,
    /// By value and kind: 1 is not 1.0.
    ByKind,
}

/// Deep equality; the order of members doesn't count.
pub fn equal(a: &[u8], b: &[u8], numbers: Numbers) -> bool {
    let kind = scan::kind(a, 0);
    if kind != scan::kind(b, 0) {
        return false;
    }
    match kind {
        JsonType::Null => true,
        JsonType::Boolean => a.first() == b.first(),
        JsonType::Number => {
            let (a, b) = (scan::value(a, 0), scan::value(b, 0));
            if numbers == Numbers::ByValue { number::equal(a, b) } else { number::same(a, b) }
        }
        JsonType::String => strings_equal(scan::value(a, 0), scan::value(b, 0)),
        JsonType::Array => arrays_equal(a, b, numbers),
        JsonType::Object => objects_equal(a, b, numbers),
    }
}

/// How two numbers or two strings compare; `None` for anything else. Strings compare by code points.
pub fn order(a: &[u8], b: &[u8]) -> Option<Ordering> {
    match (scan::kind(a, 0), scan::kind(b, 0)) {
        (JsonType::Number, JsonType::Number) => number::order(scan::value(a, 0), scan::value(b, 0)),
        (JsonType::String, JsonType::String) => {
            Some(scan::unescaped(scan::value(a, 0)).cmp(&scan::unescaped(scan::value(b, 0))))
        }
        _ => None,
    }
}

/// Whether two quoted strings stand for the same.
pub fn strings_equal(a: &[u8], b: &[u8]) -> bool {
    let is_plain = |quoted| memchr::memchr(b'\\', quoted).is_none();
    a == b || !(is_plain(a) && is_plain(b)) && scan::unescaped(a) == scan::unescaped(b)
}

/// Whether a quoted key stands for a name.
pub fn is_key(quoted: &[u8], name: &str) -> bool {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(b'\\', inner).is_none() {
        inner == name.as_bytes()
    } else {
        scan::unescaped(quoted) == name
    }
}

fn arrays_equal(a: &[u8], b: &[u8], numbers: Numbers) -> bool {
    let (mut in_a, mut in_b) = (Entries::of(a, 0), Entries::of(b, 0));
    loop {
        match (in_a.next(), in_b.next()) {
            (None, None) => return true,
            (Some(x), Some(y)) if equal(&a[x.value..], &b[y.value..], numbers) => {}
            _ => return false,
        }
    }
}

fn objects_equal(a: &[u8], b: &[u8], numbers: Numbers) -> bool {
    let (in_a, in_b) = (members(a), members(b));
    in_a.len() == in_b.len()
        && in_a
            .iter()
            .all(|(key, value)| in_b.get(key).is_some_and(|other| equal(&a[*value..], &b[*other..], numbers)))
}

/// Where the values of an object are. Of a key that is there more than once the first value counts: that is the one that a
/// path finds.
fn members(object: &[u8]) -> HashMap<Cow<'_, str>, usize> {
    let mut members = HashMap::new();
    for entry in Entries::of(object, 0) {
        members.entry(scan::unescaped(&object[entry.key])).or_insert(entry.value);
    }
    members
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn by_value(a: &str, b: &str) -> bool {
        let forth = equal(a.as_bytes(), b.as_bytes(), Numbers::ByValue);
        assert_eq!(forth, equal(b.as_bytes(), a.as_bytes(), Numbers::ByValue), "{a} {b}");
        forth
    }

    #[test]
    fn equality_is_deep_and_knows_no_order_of_members() {
        assert!(by_value(r#"{"a":[1,{"b":null}],"c":"é"}"#, r#"{ "c": "\u00e9", "a": [1.0, {"b": null}] }"#));
        assert!(!by_value(r#"{"a":1}"#, r#"{"a":1,"b":2}"#));
        assert!(!by_value("[1,2]", "[1]"));
        assert!(!by_value("[1]", "[2]"));
        assert!(!by_value("1", "\"1\""));
        assert!(!by_value("true", "false"));
        assert!(by_value("null", "null"));
        assert!(by_value("[],1", "[ ]"));
        assert!(!equal(b"[1]", b"[1.0]", Numbers::ByKind));
    }

    #[test]
    fn of_a_repeated_key_the_first_value_counts() {
        for object in [r#"{"a":1,"a":2}"#, r#"{"a":1,"a":1}"#, r#"[{"a":[],"b":0,"\u0061":{}}]"#] {
            assert!(by_value(object, object), "{object}");
        }
        assert!(by_value(r#"{"a":1,"a":2}"#, r#"{"a":1}"#));
        assert!(by_value(r#"{"a":1,"b":3,"a":2}"#, r#"{"b":3,"b":4,"a":1}"#));
        assert!(!by_value(r#"{"a":1,"a":2}"#, r#"{"a":2}"#));
        assert!(!by_value(r#"{"a":1,"a":1}"#, r#"{"a":1,"b":1}"#));
    }

    #[test]
    fn only_numbers_and_strings_have_an_order() {
        assert_eq!(order(b"1", b"2.5"), Some(Ordering::Less));
        assert_eq!(order(b"\"b\"", b"\"\\u0061\""), Some(Ordering::Greater));
        for (a, b) in [("1", "\"1\""), ("true", "true"), ("null", "null"), ("[]", "[]")] {
            assert_eq!(order(a.as_bytes(), b.as_bytes()), None, "{a} {b}");
        }
    }

    #[test]
    fn keys_are_compared_as_what_they_stand_for() {
        assert!(is_key(br#""a""#, "a"));
        assert!(is_key(br#""\u0061\n""#, "a\n"));
        assert!(!is_key(br#""ab""#, "a"));
        assert!(!is_key(br#""\\""#, "\\\\"));
    }
}
