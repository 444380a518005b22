//! The JSON of responses. Values of records are included as they are. What is not UTF-8 or not JSON is included as
//! base64 and marked as such, so it never breaks a response.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::record::json;
use crate::resp::Reply;

/// An answer of this JSON.
pub fn answer(json: impl Into<Vec<u8>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Bytes::from(json.into())).into_response()
}

/// Writes an object or array piece by piece.
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Text that is JSON's own: brackets, commas, names.
    pub fn raw(&mut self, text: impl AsRef<[u8]>) -> &mut Writer {
        self.out.extend_from_slice(text.as_ref());
        self
    }

    /// Calls `write` for each item, with commas in between.
    pub fn each<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Writer, T),
    ) -> &mut Writer {
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            write(self, item);
        }
        self
    }

    /// A key as text, or `{"base64":"…"}` if it is not UTF-8.
    pub fn key(&mut self, key: &[u8]) -> &mut Writer {
        match std::str::from_utf8(key) {
            Ok(text) => self.raw(Value::from(text).to_string()),
            Err(_) => self.raw(format!("{{\"base64\":\"{}\"}}", STANDARD.encode(key))),
        }
    }

    /// `"name":…` with the value as it is, or `"name_base64":"…"` if that is not JSON.
    pub fn value(&mut self, name: &str, value: &[u8]) -> &mut Writer {
        match json::check(value) {
            Ok(()) => self.raw(format!("\"{name}\":")).raw(value),
            Err(_) => self.raw(format!("\"{name}_base64\":\"{}\"", STANDARD.encode(value))),
        }
    }

    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

/// A reply that describes something other than a record: its texts are ours or were checked.
pub fn of_reply(reply: &Reply) -> Value {
    match reply {
        Reply::Simple(text) => Value::from(*text),
        Reply::Bulk(text) | Reply::Verbatim(text) => Value::from(String::from_utf8_lossy(text)),
        Reply::Integer(number) => Value::from(*number),
        Reply::Double(number) => Value::from(*number),
        Reply::Boolean(is) => Value::from(*is),
        Reply::Array(items) | Reply::Set(items) => items.iter().map(of_reply).collect(),
        Reply::Map(pairs) => {
            let field = |(name, value): &(Reply, Reply)| match of_reply(name) {
                Value::String(name) => (name, of_reply(value)),
                name => (name.to_string(), of_reply(value)),
            };
            Value::Object(pairs.iter().map(field).collect::<Map<_, _>>())
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use crate::http::response::json::*;

    #[test]
    fn whatever_a_record_holds_the_answer_is_json() {
        let mut writer = Writer::new();
        writer.raw("[").each([&b"{\"a\": 1}"[..], b"\xff\x00", b"", b"text", b"1 2"], |writer, bytes| {
            writer.raw("{\"key\":").key(bytes).raw(",").value("value", bytes).raw("}");
        });
        let json = writer.raw("]").finish();
        let parsed: Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(parsed[0]["value"]["a"], 1);
        assert_eq!(parsed[1]["key"]["base64"], "/wA=");
        assert_eq!(parsed[3]["value_base64"], "dGV4dA==");
        assert!(parsed[2].get("value").is_none());
    }
}
