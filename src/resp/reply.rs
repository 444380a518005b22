//! The reply to a request, before it is encoded.

use std::borrow::Cow;

use bytes::Bytes;

use crate::error::Error;

/// A reply in terms of RESP3; [`encode`](mod@super::encode) writes it in either protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK`
    Simple(&'static str),
    /// As `Simple`, with a text made here; on one line.
    Status(Bytes),
    Error(Error),
    Integer(i64),
    Bulk(Bytes),
    /// No value: `$-1` in RESP2, `_` in RESP3.
    Null,
    /// No list: `*-1` in RESP2, `_` in RESP3.
    NullArray,
    Array(Vec<Reply>),
    /// A flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// An array in RESP2.
    Set(Vec<Reply>),
    /// A bulk string in RESP2.
    Double(f64),
    /// `:1` or `:0` in RESP2.
    Boolean(bool),
    /// Text for people (`=…txt:`); a bulk string in RESP2.
    Verbatim(Bytes),
    /// Out of band; an array in RESP2.
    Push(Vec<Reply>),
    /// Decimal digits of any number; a bulk string in RESP2.
    BigNumber(Cow<'static, str>),
    /// A reply behind attributes, which RESP2 leaves out.
    Attributed(Vec<(Reply, Reply)>, Box<Reply>),
    /// Several replies in sequence, such as a push and the reply that follows it.
    Sequence(Vec<Reply>),
}

impl Reply {
    pub const OK: Reply = Reply::Simple("OK");

    /// A bulk string, or null.
    pub fn bulk_or_null(value: Option<Bytes>) -> Reply {
        value.map_or(Reply::Null, Reply::Bulk)
    }

    /// Approximately the memory that it takes and that nobody else holds.
    pub fn own_bytes(&self) -> usize {
        let all = |replies: &[Reply]| replies.iter().map(Reply::own_bytes).sum::<usize>();
        let pairs = |pairs: &[(Reply, Reply)]| {
            pairs.iter().map(|(key, value)| key.own_bytes() + value.own_bytes()).sum::<usize>()
        };
        let held = match self {
            Reply::Bulk(bytes) | Reply::Status(bytes) | Reply::Verbatim(bytes) if bytes.is_unique() => {
                bytes.len()
            }
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Sequence(items) => {
                all(items)
            }
            Reply::Map(items) => pairs(items),
            Reply::Attributed(attributes, reply) => pairs(attributes) + reply.own_bytes(),
            _ => 0,
        };
        held + size_of::<Reply>()
    }

    /// A bulk string of text made here.
    pub fn text(text: impl Into<String>) -> Reply {
        Reply::Bulk(Bytes::from(text.into()))
    }
}
