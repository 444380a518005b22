//! Replies as JSON, as they are in RESP2: strings, integers, null and arrays.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ENCODING;
use crate::http::openapi::schema::{Schema, any, object, text};
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

    /// Appends `{"result": …}` or `{"error": …}`.
    pub fn write(self, reply: &Reply, out: &mut Vec<u8>) {
        match reply {
            Reply::Error(error) => out.extend(error_json(&error.to_string())),
            reply => {
                out.extend_from_slice(b"{\"result\":");
                match reply {
                    Reply::Simple("OK") => out.extend_from_slice(b"\"OK\""),
                    reply => self.write_reply(reply, out),
                }
                out.push(b'}');
            }
        }
    }

    fn write_reply(self, reply: &Reply, out: &mut Vec<u8>) {
        match reply {
            Reply::Simple(text) => self.write_string(text.as_bytes(), out),
            Reply::Status(text) | Reply::Bulk(text) | Reply::Verbatim(text) => self.write_string(text, out),
            Reply::Error(error) => self.write_string(error.to_string().as_bytes(), out),
            Reply::Integer(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Reply::Boolean(is_true) => out.push(if *is_true { b'1' } else { b'0' }),
            Reply::Double(number) => self.write_string(format_double(*number).as_bytes(), out),
            Reply::BigNumber(digits) => self.write_string(digits.as_bytes(), out),
            Reply::Null | Reply::NullArray => out.extend_from_slice(b"null"),
            Reply::Attributed(_, reply) => self.write_reply(reply, out),
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Sequence(items) => {
                self.write_items(items.iter(), out);
            }
            Reply::Map(pairs) => self.write_items(pairs.iter().flat_map(|(key, value)| [key, value]), out),
        }
    }

    fn write_items<'r>(self, items: impl Iterator<Item = &'r Reply>, out: &mut Vec<u8>) {
        out.push(b'[');
        for (at, item) in items.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.write_reply(item, out);
        }
        out.push(b']');
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
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::error::Error;

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
                encoding.write(&reply, &mut out);
                assert_eq!(String::from_utf8_lossy(&out), expected);
            }
        }
    }
}
