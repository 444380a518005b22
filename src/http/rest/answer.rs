//! Replies as JSON, as they are in RESP2: strings, integers, null and arrays.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ENCODING;
use crate::error::Error;
use crate::http::openapi::schema::{Schema, any, object, text};
use crate::limits::HTTP_VALUES_BYTES_MAX;
use crate::resp::{Reply, format_double};

/// How strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As text. What is not UTF-8 is lost.
    Text,
    /// In base64, except an `OK` that is the whole reply.
    Base64,
}

pub fn result_schema() -> Schema {
    object([("result", any().about("The reply; strings may be in base64"))]).named("RedisResult")
}

pub fn error_schema() -> Schema {
    object([("error", text())]).named("RedisError")
}

impl Encoding {
    pub fn asked_for(headers: &HeaderMap) -> Encoding {
        match headers.get(ENCODING) {
            Some(encoding) if encoding.as_bytes().eq_ignore_ascii_case(b"base64") => Encoding::Base64,
            _ => Encoding::Text,
        }
    }

    /// Appends `{"result": …}` or `{"error": …}`. A result that makes the answer too long is replaced by an error, which is
    /// returned, too.
    pub fn write(self, reply: &Reply, out: &mut Vec<u8>) -> Result<(), Error> {
        let begin = out.len();
        let result = match reply {
            Reply::Error(error) => {
                out.extend(error_json(&error.to_string()));
                return Ok(());
            }
            Reply::Simple("OK") => {
                out.extend_from_slice(b"{\"result\":\"OK\"");
                Ok(())
            }
            reply => {
                out.extend_from_slice(b"{\"result\":");
                self.write_reply(reply, out)
            }
        };
        match &result {
            Ok(()) => out.push(b'}'),
            Err(error) => {
                out.truncate(begin);
                out.extend(error_json(&error.to_string()));
            }
        }
        result
    }

    /// Fails if the answer is longer than it may be. A single string may be of any length.
    fn write_reply(self, reply: &Reply, out: &mut Vec<u8>) -> Result<(), Error> {
        if out.len() > HTTP_VALUES_BYTES_MAX {
            return Err(too_long());
        }
        match reply {
            Reply::Simple(text) => self.write_string(text.as_bytes(), out),
            Reply::Status(text) | Reply::Bulk(text) | Reply::Verbatim(text) => self.write_string(text, out),
            Reply::Error(error) => self.write_string(error.to_string().as_bytes(), out),
            Reply::Integer(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Reply::Boolean(is_true) => out.push(if *is_true { b'1' } else { b'0' }),
            Reply::Double(number) => self.write_string(format_double(*number).as_bytes(), out),
            Reply::BigNumber(digits) => self.write_string(digits.as_bytes(), out),
            Reply::Null | Reply::NullArray => out.extend_from_slice(b"null"),
            Reply::Attributed(_, reply) => return self.write_reply(reply, out),
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Sequence(items) => {
                return self.write_items(items.iter(), out);
            }
            Reply::Map(pairs) => {
                return self.write_items(pairs.iter().flat_map(|(key, value)| [key, value]), out);
            }
        }
        Ok(())
    }

    fn write_items<'r>(self, items: impl Iterator<Item = &'r Reply>, out: &mut Vec<u8>) -> Result<(), Error> {
        out.push(b'[');
        for (at, item) in items.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.write_reply(item, out)?;
        }
        out.push(b']');
        Ok(())
    }

    fn write_string(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Encoding::Text => write_text(&String::from_utf8_lossy(text), out),
            Encoding::Base64 => {
                out.push(b'"');
                out.extend_from_slice(STANDARD.encode(text).as_bytes());
                out.push(b'"');
            }
        }
    }
}

fn too_long() -> Error {
    Error::other(format!(
        "ERR the reply was left out, because the answer has more than {HTTP_VALUES_BYTES_MAX} bytes"
    ))
}

/// `{"error": …}`
pub fn error_json(line: &str) -> Vec<u8> {
    let mut out = b"{\"error\":".to_vec();
    write_text(line, &mut out);
    out.push(b'}');
    out
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // a string is always JSON, and a vector takes everything
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn replies_become_json() {
        let bulk = |text: &'static [u8]| Reply::Bulk(Bytes::from_static(text));
        for (reply, as_text, in_base64) in [
            (Reply::OK, r#"{"result":"OK"}"#, r#"{"result":"OK"}"#),
            (Reply::Simple("PONG"), r#"{"result":"PONG"}"#, r#"{"result":"UE9ORw=="}"#),
            (bulk(b"OK"), r#"{"result":"OK"}"#, r#"{"result":"T0s="}"#),
            (bulk(b"a\"\n\xff"), "{\"result\":\"a\\\"\\n\u{fffd}\"}", r#"{"result":"YSIK/w=="}"#),
            (Reply::Integer(-7), r#"{"result":-7}"#, r#"{"result":-7}"#),
            (Reply::NullArray, r#"{"result":null}"#, r#"{"result":null}"#),
            (
                Reply::Array(vec![Reply::OK, Reply::Null, Reply::Array(vec![bulk(b"x")])]),
                r#"{"result":["OK",null,["x"]]}"#,
                r#"{"result":["T0s=",null,["eA=="]]}"#,
            ),
            (
                Reply::Map(vec![(bulk(b"a"), Reply::Double(1.5)), (bulk(b"b"), Reply::Boolean(true))]),
                r#"{"result":["a","1.5","b",1]}"#,
                r#"{"result":["YQ==","MS41","Yg==",1]}"#,
            ),
            (
                Reply::Error(Error::Syntax),
                r#"{"error":"ERR syntax error"}"#,
                r#"{"error":"ERR syntax error"}"#,
            ),
        ] {
            for (encoding, expected) in [(Encoding::Text, as_text), (Encoding::Base64, in_base64)] {
                let mut out = Vec::new();
                encoding.write(&reply, &mut out).unwrap();
                assert_eq!(String::from_utf8_lossy(&out), expected);
            }
        }
    }

    /// JSON can be six times as long as the text, so what counts is the answer and not the values.
    #[test]
    fn an_answer_has_a_bound_and_a_single_string_has_none() {
        let bulk = |bytes: usize| Reply::Bulk(Bytes::from(vec![1; bytes]));
        let (mut out, part) = (b"[".to_vec(), HTTP_VALUES_BYTES_MAX / 6 / 2);
        Encoding::Text.write(&bulk(2 * part + 1), &mut out).unwrap();
        assert!(out.len() > HTTP_VALUES_BYTES_MAX);
        for reply in [Reply::Integer(1), Reply::Array(vec![bulk(part)])] {
            let begin = out.len();
            assert!(Encoding::Text.write(&reply, &mut out).is_err());
            assert!(out[begin..].starts_with(b"{\"error\":\"ERR the reply was left out"));
            out.truncate(begin);
        }
        let mut out = Vec::new();
        let parts = Reply::Array(vec![bulk(part), bulk(part), bulk(part), bulk(part)]);
        assert!(Encoding::Text.write(&parts, &mut out).is_err());
        assert!(out.len() < 200 && out.capacity() < 4 * HTTP_VALUES_BYTES_MAX);
    }
}
