//! Values, and which values a store takes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::json::{self, NotJson};
use crate::record::shared;

/// The kind of values that a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueKind {
    /// Any JSON text.
    Json,
    /// Any bytes.
    Any,
}

impl ValueKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ValueKind::Json => "json",
            ValueKind::Any => "any",
        }
    }

    /// `json` or `any`, in any case.
    pub fn parse(text: &[u8]) -> Option<ValueKind> {
        [ValueKind::Json, ValueKind::Any]
            .into_iter()
            .find(|kind| text.eq_ignore_ascii_case(kind.as_str().as_bytes()))
    }
}

/// The bytes of a value, and whether they are known to be JSON, so that no text is checked twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    bytes: Bytes,
    is_json: bool,
}

impl Value {
    /// Unchecked bytes; a `json` store checks them when they are written.
    pub fn unchecked(bytes: impl Into<Bytes>) -> Value {
        Value { bytes: bytes.into(), is_json: false }
    }

    /// A value that is checked to be JSON.
    pub fn json(bytes: impl Into<Bytes>) -> Result<Value, NotJson> {
        let bytes = bytes.into();
        json::check(&bytes)?;
        Ok(Value { bytes, is_json: true })
    }

    /// The bytes of a record that the store holds already, written back unchanged together with new metadata.
    pub fn stored(bytes: Bytes) -> Value {
        Value { bytes, is_json: true }
    }

    /// A text that was assembled from checked ones, so that it needn't be checked again.
    pub fn of_parts(bytes: Bytes) -> Value {
        debug_assert_eq!(json::check(&bytes), Ok(()));
        Value { bytes, is_json: true }
    }

    /// The decimal text of an integer, which is JSON.
    pub fn integer(number: i64) -> Value {
        Value { bytes: shared::copy(itoa::Buffer::new().format(number).as_bytes()), is_json: true }
    }

    /// Checks the value for a store of `kind`, if that is needed and not done yet.
    pub fn admit(self, kind: ValueKind) -> Result<Value, NotJson> {
        match kind {
            ValueKind::Json if !self.is_json => Value::json(self.bytes),
            _ => Ok(self),
        }
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}
