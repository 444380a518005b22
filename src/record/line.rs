//! Records as JSON lines: one object per line. The format of export and import, over HTTP and in the subcommands.
//!
//! | field | |
//! |---|---|
//! | `key`, or `key_base64` | the second where the key is not UTF-8 |
//! | `value`, `value_text`, or `value_base64` | the value itself, byte for byte, if it is JSON of one line; in a string, if it is other text; in Base64, if it is none |
//! | `expires_at` | milliseconds since 1970; missing if the record doesn't expire |
//! | `ttl` | seconds that were left when it was written, for people; counts only where `expires_at` is missing |
//!
//! Entries as the HTTP API returns them can also be read: `key` as `{"base64":"…"}`, and `ttl_ms`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json;

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
}

impl Record {
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// Appends a record as an object, without a line end.
pub fn write(record: &Record, now_ms: u64, out: &mut Vec<u8>) {
    out.push(b'{');
    match std::str::from_utf8(&record.key) {
        Ok(key) => field(out, "key", &quoted(key)),
        Err(_) => field(out, "key_base64", &quoted(&STANDARD.encode(&record.key))),
    }
    out.push(b',');
    match std::str::from_utf8(&record.value) {
        Ok(value) if is_one_line_of_json(value) => field(out, "value", value),
        Ok(value) => field(out, "value_text", &quoted(value)),
        Err(_) => field(out, "value_base64", &quoted(&STANDARD.encode(&record.value))),
    }
    if let Some(deadline) = record.expires_at_ms {
        let left_ms = deadline.saturating_sub(now_ms);
        out.push(b',');
        field(out, "expires_at", &deadline.to_string());
        out.push(b',');
        field(out, "ttl", &format!("{}.{:03}", left_ms / 1000, left_ms % 1000));
    }
    out.push(b'}');
}

/// Whether a reader gets exactly these bytes back if they are written into a line as they are.
fn is_one_line_of_json(value: &str) -> bool {
    let trimmed = value.trim_matches([' ', '\t', '\r', '\n']);
    trimmed.len() == value.len() && !value.contains(['\n', '\r']) && json::check(value.as_bytes()).is_ok()
}

fn field(out: &mut Vec<u8>, name: &str, json: &str) {
    out.extend_from_slice(format!("\"{name}\":").as_bytes());
    out.extend_from_slice(json.as_bytes());
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, deserialize_with = "key_too")]
    key: Option<Vec<u8>>,
    key_base64: Option<String>,
    #[serde(borrow, default, deserialize_with = "null_too")]
    value: Option<&'a RawValue>,
    value_text: Option<String>,
    value_base64: Option<String>,
    expires_at: Option<u64>,
    ttl: Option<f64>,
    ttl_ms: Option<u64>,
}

/// A text without the byte order mark that some editors put in front of a file.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A key in JSON: text, or `{"base64":"…"}`.
pub fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Key;

    impl<'de> Visitor<'de> for Key {
        type Value = Vec<u8>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a key as text or as {\"base64\": text}")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
            Ok(text.as_bytes().to_vec())
        }

        fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Vec<u8>, M::Error> {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Encoded {
                base64: String,
            }
            let Encoded { base64 } = Encoded::deserialize(MapAccessDeserializer::new(map))?;
            STANDARD.decode(base64).map_err(|error| serde::de::Error::custom(format!("'base64': {error}")))
        }
    }

    deserializer.deserialize_any(Key)
}

fn key_too<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    key(deserializer).map(Some)
}

/// `null` is a value, not the absence of one.
fn null_too<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Parses a line.
pub fn parse(line: &[u8], now_ms: u64) -> Result<Record, String> {
    // what is derived for a struct also takes an array of its fields' values
    if line.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err("a line must be a JSON object".to_owned());
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let decoded =
        |name: &str, text: &str| STANDARD.decode(text).map_err(|error| format!("'{name}': {error}"));
    let key = match (line.key, line.key_base64) {
        (Some(key), None) => key,
        (None, Some(key)) => decoded("key_base64", &key)?,
        _ => return Err("a record has either 'key' or 'key_base64'".to_owned()),
    };
    let value = match (line.value, line.value_text, line.value_base64) {
        (Some(value), None, None) => value.get().as_bytes().to_vec(),
        (None, Some(text), None) => text.into_bytes(),
        (None, None, Some(value)) => decoded("value_base64", &value)?,
        _ => return Err("a record has one of 'value', 'value_text' and 'value_base64'".to_owned()),
    };
    let expires_at_ms = match (line.expires_at, line.ttl_ms, line.ttl) {
        (Some(deadline), ..) => Some(deadline),
        (None, Some(ttl_ms), _) => Some(now_ms.saturating_add(ttl_ms)),
        (None, None, Some(ttl)) => Some(deadline_of(ttl, now_ms)?),
        (None, None, None) => None,
    };
    Ok(Record { key, value, expires_at_ms })
}

/// When a time to live, in seconds, is over.
pub fn deadline_of(ttl_s: f64, now_ms: u64) -> Result<u64, String> {
    if ttl_s.is_finite() && ttl_s >= 0.0 {
        Ok(now_ms.saturating_add((ttl_s * 1000.0).round() as u64))
    } else {
        Err(format!("'ttl' is {ttl_s}, not a number of seconds"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(key: &[u8], value: &[u8], expires_at_ms: Option<u64>) -> String {
        let mut out = Vec::new();
        write(&Record { key: key.into(), value: value.into(), expires_at_ms }, 1_000, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_what_a_person_expects() {
        assert_eq!(
            line(b"user:1", br#"{"a" : 1.50}"#, Some(61_234)),
            r#"{"key":"user:1","value":{"a" : 1.50},"expires_at":61234,"ttl":60.234}"#
        );
        assert_eq!(line(b"\xff", b"<p>", None), r#"{"key_base64":"/w==","value_text":"<p>"}"#);
        assert_eq!(line(b"", b"\xff", None), r#"{"key":"","value_base64":"/w=="}"#);
    }

    #[test]
    fn every_value_comes_back_byte_for_byte() {
        for value in
            ["null", "1.0e+2", " 1", "1\n", "[1,\n2]", "[1, 2 ]", "", "\"\\ud800\"", "{\"a\":1,\"a\":2}"]
        {
            let written = line(b"k", value.as_bytes(), None);
            assert!(!written.contains('\n'), "{written}");
            let read = parse(written.as_bytes(), 0).unwrap();
            assert_eq!(read.value, value.as_bytes(), "{written}");
        }
        let deep = "[".repeat(128) + &"]".repeat(128);
        assert_eq!(parse(line(b"k", deep.as_bytes(), None).as_bytes(), 0).unwrap().value, deep.as_bytes());
    }

    #[test]
    fn a_ttl_counts_from_now_and_a_deadline_from_1970() {
        let deadline = |line: &str| parse(line.as_bytes(), 5_000).map(|record| record.expires_at_ms);
        assert_eq!(deadline(r#"{"key":"k","value":1,"ttl":1.5}"#), Ok(Some(6_500)));
        assert_eq!(deadline(r#"{"key":"k","value":1,"ttl":1.5,"expires_at":7}"#), Ok(Some(7)));
        assert!(deadline(r#"{"key":"k","value":1,"ttl":-1}"#).is_err());
    }

    #[test]
    fn entries_of_the_http_api_are_read_as_well() {
        let entry = r#"{"key":{"base64":"/w=="},"value":[1],"ttl_ms":1500,"version":7}"#;
        let expected = Record { key: vec![255], value: b"[1]".to_vec(), expires_at_ms: Some(6_500) };
        assert_eq!(parse(entry.as_bytes(), 5_000), Ok(expected));
        let forever = parse(br#"{"key":"k","value":1,"ttl_ms":null}"#, 5_000).unwrap();
        assert_eq!(forever.expires_at_ms, None);
        assert!(parse(br#"{"key":{"base64":"!"},"value":1}"#, 0).is_err());
        assert!(parse(br#"{"key":{},"value":1}"#, 0).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(key: Vec<u8>, value: Vec<u8>, expires_at_ms: Option<u64>) {
            let written = line(&key, &value, expires_at_ms);
            prop_assert_eq!(parse(written.as_bytes(), 0), Ok(Record { key, value, expires_at_ms }));
        }
    }
}
