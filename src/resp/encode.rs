//! Replies to bytes, exactly as Redis writes them.
//!
//! Pure: appends to a buffer, knows no sockets. Runs on the thread of the connection. Recursion is as deep as the reply,
//! which we made ourselves.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};

use super::output::{Chunks, Output, SHARED_BYTES};
use super::{Reply, double::format_double};
use crate::error::Error;

/// The protocol of a connection: RESP2 until `HELLO 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

impl Protocol {
    /// As HELLO counts: 2 or 3.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

/// Appends `reply` to `out`. Types that RESP2 lacks are written as the nearest type: see [`Reply`].
pub fn encode(reply: &Reply, protocol: Protocol, out: &mut BytesMut) {
    write(reply, protocol, &mut Out { tail: out, chunks: None });
}

/// Like [`encode`], but long values are not copied: they become chunks of the output, which share them.
pub fn encode_sharing(reply: &Reply, protocol: Protocol, out: &mut Output) {
    let Output { chunks, tail, .. } = out;
    write(reply, protocol, &mut Out { tail, chunks: Some(chunks) });
}

/// Where replies are written.
struct Out<'o> {
    tail: &'o mut BytesMut,
    /// The chunks before the tail. `None`: long values are copied, too.
    chunks: Option<&'o mut Chunks>,
}

impl Out<'_> {
    fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }
}

fn write(reply: &Reply, protocol: Protocol, out: &mut Out<'_>) {
    use Protocol::{Resp2, Resp3};

    match (reply, protocol) {
        (Reply::Simple(text), _) => write_line(b'+', text.as_bytes(), out.tail),
        (Reply::Status(text), _) => write_status(text, out),
        (Reply::Error(error), _) => write_error(error, out),
        (Reply::Integer(number), _) => write_number(b':', *number, out),
        (Reply::Bulk(data), _) => write_value(data, out),
        (Reply::Null, Resp2) => out.extend_from_slice(b"$-1\r\n"),
        (Reply::NullArray, Resp2) => out.extend_from_slice(b"*-1\r\n"),
        (Reply::Null | Reply::NullArray, Resp3) => out.extend_from_slice(b"_\r\n"),
        (Reply::Array(items), _) => write_items(b'*', items, protocol, out),
        (Reply::Map(pairs), _) => write_map(pairs, protocol, out),
        (Reply::Set(items), Resp2) => write_items(b'*', items, protocol, out),
        (Reply::Set(items), Resp3) => write_items(b'~', items, protocol, out),
        (Reply::Double(value), Resp2) => write_bulk(format_double(*value).as_bytes(), out),
        (Reply::Double(value), Resp3) => write_line(b',', format_double(*value).as_bytes(), out.tail),
        (Reply::Boolean(value), Resp2) => write_number(b':', i64::from(*value), out),
        (Reply::Boolean(value), Resp3) => write_line(b'#', if *value { b"t" } else { b"f" }, out.tail),
        (Reply::Verbatim(text), Resp2) => write_bulk(text, out),
        (Reply::Verbatim(text), Resp3) => write_verbatim(text, out),
        (Reply::Push(items), Resp2) => write_items(b'*', items, protocol, out),
        (Reply::Push(items), Resp3) => write_items(b'>', items, protocol, out),
        (Reply::BigNumber(digits), Resp2) => write_bulk(digits.as_bytes(), out),
        (Reply::BigNumber(digits), Resp3) => write_line(b'(', digits.as_bytes(), out.tail),
        (Reply::Attributed(_, reply), Resp2) => write(reply, protocol, out),
        (Reply::Attributed(attributes, reply), Resp3) => {
            write_length(b'|', attributes.len(), out);
            write_pairs(attributes, protocol, out);
            write(reply, protocol, out);
        }
        (Reply::Sequence(replies), _) => replies.iter().for_each(|reply| write(reply, protocol, out)),
    }
}

fn write_map(pairs: &[(Reply, Reply)], protocol: Protocol, out: &mut Out<'_>) {
    match protocol {
        Protocol::Resp2 => write_length(b'*', pairs.len() * 2, out),
        Protocol::Resp3 => write_length(b'%', pairs.len(), out),
    }
    write_pairs(pairs, protocol, out);
}

fn write_pairs(pairs: &[(Reply, Reply)], protocol: Protocol, out: &mut Out<'_>) {
    for (key, value) in pairs {
        write(key, protocol, out);
        write(value, protocol, out);
    }
}

fn write_items(prefix: u8, items: &[Reply], protocol: Protocol, out: &mut Out<'_>) {
    write_length(prefix, items.len(), out);
    for item in items {
        write(item, protocol, out);
    }
}

/// An error is one line, so line ends inside it become spaces, and those at its end are removed; a name that a client
/// chose may be part of the text.
fn write_error(error: &Error, out: &mut Out<'_>) {
    let (start, out) = (out.tail.len(), &mut *out.tail);
    // Writing to memory cannot fail.
    let _ = write!(out, "-{error}");
    while let Some(b'\r' | b'\n') = out.last() {
        out.truncate(out.len() - 1);
    }
    end_line(start, out);
}

fn write_status(text: &[u8], out: &mut Out<'_>) {
    let (start, out) = (out.tail.len(), &mut *out.tail);
    out.extend_from_slice(b"+");
    out.extend_from_slice(text);
    end_line(start, out);
}

/// Makes one line of what was written since `start`.
fn end_line(start: usize, out: &mut BytesMut) {
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn write_verbatim(text: &[u8], out: &mut Out<'_>) {
    const FORMAT: &[u8] = b"txt:";
    write_length(b'=', FORMAT.len() + text.len(), out);
    out.extend_from_slice(FORMAT);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn write_value(data: &Bytes, out: &mut Out<'_>) {
    match &mut out.chunks {
        Some(chunks) if data.len() >= SHARED_BYTES => {
            write_line(b'$', itoa::Buffer::new().format(data.len()).as_bytes(), out.tail);
            chunks.push(out.tail.split().freeze());
            chunks.push(data.clone());
            out.tail.extend_from_slice(b"\r\n");
        }
        _ => write_bulk(data, out),
    }
}

fn write_bulk(data: &[u8], out: &mut Out<'_>) {
    write_length(b'$', data.len(), out);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

fn write_length(prefix: u8, length: usize, out: &mut Out<'_>) {
    write_line(prefix, itoa::Buffer::new().format(length).as_bytes(), out.tail);
}

fn write_number(prefix: u8, number: i64, out: &mut Out<'_>) {
    write_line(prefix, itoa::Buffer::new().format(number).as_bytes(), out.tail);
}

fn write_line(prefix: u8, text: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(&[prefix]);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;
    use redis_protocol::{
        resp2::{decode::decode as decode_resp2, types::OwnedFrame as Resp2Frame},
        resp3::{
            decode::complete::decode as decode_resp3,
            types::{OwnedFrame as Resp3Frame, VerbatimStringFormat},
        },
    };

    use super::*;

    fn encoded(reply: &Reply, protocol: Protocol) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(reply, protocol, &mut out);
        out.to_vec()
    }

    #[track_caller]
    fn assert_encoded(reply: Reply, resp2: &str, resp3: &str) {
        for (protocol, expected) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let bytes = encoded(&reply, protocol);
            assert_eq!(bytes.escape_ascii().to_string(), expected, "{protocol:?}");
        }
    }

    #[track_caller]
    fn assert_same(reply: Reply, expected: &str) {
        assert_encoded(reply, expected, expected);
    }

    fn list() -> Vec<Reply> {
        vec![Reply::Integer(1), Reply::Null]
    }

    #[test]
    fn what_both_protocols_have() {
        assert_same(Reply::OK, r"+OK\r\n");
        assert_same(Reply::Integer(i64::MIN), r":-9223372036854775808\r\n");
        assert_same(Reply::text(""), r"$0\r\n\r\n");
        assert_same(Reply::Bulk(Bytes::from_static(b"a\r\n\0")), r"$4\r\na\r\n\x00\r\n");
        assert_same(Reply::Array(vec![]), r"*0\r\n");
        assert_same(Reply::Error(Error::Syntax), r"-ERR syntax error\r\n");
    }

    #[test]
    fn what_resp2_writes_as_something_else() {
        assert_encoded(Reply::Null, r"$-1\r\n", r"_\r\n");
        assert_encoded(Reply::NullArray, r"*-1\r\n", r"_\r\n");
        assert_encoded(Reply::Boolean(true), r":1\r\n", r"#t\r\n");
        assert_encoded(Reply::Boolean(false), r":0\r\n", r"#f\r\n");
        assert_encoded(Reply::Double(1.1), r"$3\r\n1.1\r\n", r",1.1\r\n");
        assert_encoded(Reply::Double(f64::NEG_INFINITY), r"$4\r\n-inf\r\n", r",-inf\r\n");
        assert_encoded(Reply::Double(f64::NAN), r"$3\r\nnan\r\n", r",nan\r\n");
        let verbatim = Reply::Verbatim(Bytes::from_static(b"a\nb"));
        assert_encoded(verbatim, r"$3\r\na\nb\r\n", r"=7\r\ntxt:a\nb\r\n");
        assert_encoded(Reply::Array(list()), r"*2\r\n:1\r\n$-1\r\n", r"*2\r\n:1\r\n_\r\n");
        assert_encoded(Reply::Set(list()), r"*2\r\n:1\r\n$-1\r\n", r"~2\r\n:1\r\n_\r\n");
        assert_encoded(Reply::Push(list()), r"*2\r\n:1\r\n$-1\r\n", r">2\r\n:1\r\n_\r\n");
        let map = Reply::Map(vec![(Reply::Integer(1), Reply::Boolean(true))]);
        assert_encoded(map, r"*2\r\n:1\r\n:1\r\n", r"%1\r\n:1\r\n#t\r\n");
    }

    #[test]
    fn what_resp2_leaves_out_and_what_comes_together() {
        let attributes = vec![(Reply::text("a"), Reply::Integer(1))];
        let attributed = Reply::Attributed(attributes, Box::new(Reply::Null));
        assert_encoded(attributed, r"$-1\r\n", r"|1\r\n$1\r\na\r\n:1\r\n_\r\n");
        assert_encoded(Reply::Sequence(list()), r":1\r\n$-1\r\n", r":1\r\n_\r\n");
        assert_encoded(Reply::BigNumber("-12".into()), r"$3\r\n-12\r\n", r"(-12\r\n");
    }

    #[test]
    fn errors_stay_on_one_line() {
        let error = Error::other("ERR unknown command 'a\r\n+OK'\r\n\n");
        let reply = Reply::Array(vec![Reply::text("\r\n"), Reply::Error(error)]);
        assert_same(reply, r"*2\r\n$2\r\n\r\n\r\n-ERR unknown command \'a  +OK\'\r\n");
    }

    #[test]
    fn statuses_stay_on_one_line() {
        assert_same(Reply::Status("FINE\r\n+OK".into()), r"+FINE  +OK\r\n");
    }

    #[test]
    fn replies_are_appended() {
        let mut out = BytesMut::from(&b"before\n"[..]);
        encode(&Reply::Error(Error::other("")), Protocol::Resp2, &mut out);
        encode(&Reply::OK, Protocol::Resp2, &mut out);
        assert_eq!(&out[..], b"before\n-\r\n+OK\r\n");
    }

    fn in_resp2(reply: &Reply) -> Resp2Frame {
        let bulk = |data: &[u8]| Resp2Frame::BulkString(data.to_vec());
        match reply {
            Reply::Simple(text) => Resp2Frame::SimpleString(text.as_bytes().to_vec()),
            Reply::Status(text) => Resp2Frame::SimpleString(text.to_vec()),
            Reply::Error(error) => Resp2Frame::Error(error.to_string()),
            Reply::Integer(number) => Resp2Frame::Integer(*number),
            Reply::Boolean(value) => Resp2Frame::Integer(i64::from(*value)),
            Reply::Bulk(data) | Reply::Verbatim(data) => bulk(data),
            Reply::Double(value) => bulk(format_double(*value).as_bytes()),
            Reply::BigNumber(digits) => bulk(digits.as_bytes()),
            Reply::Attributed(_, reply) => in_resp2(reply),
            Reply::Sequence(_) => unreachable!("not one frame"),
            Reply::Null | Reply::NullArray => Resp2Frame::Null,
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
                Resp2Frame::Array(items.iter().map(in_resp2).collect())
            }
            Reply::Map(pairs) => {
                let flat = pairs.iter().flat_map(|(key, value)| [in_resp2(key), in_resp2(value)]);
                Resp2Frame::Array(flat.collect())
            }
        }
    }

    fn in_resp3(reply: &Reply) -> Resp3Frame {
        let attributes = None;
        match reply {
            Reply::Simple(text) => Resp3Frame::SimpleString { data: text.as_bytes().to_vec(), attributes },
            Reply::Status(text) => Resp3Frame::SimpleString { data: text.to_vec(), attributes },
            Reply::Error(error) => Resp3Frame::SimpleError { data: error.to_string(), attributes },
            Reply::Integer(data) => Resp3Frame::Number { data: *data, attributes },
            Reply::Boolean(data) => Resp3Frame::Boolean { data: *data, attributes },
            Reply::Bulk(data) => Resp3Frame::BlobString { data: data.to_vec(), attributes },
            Reply::Verbatim(data) => Resp3Frame::VerbatimString {
                data: data.to_vec(),
                format: VerbatimStringFormat::Text,
                attributes,
            },
            Reply::Double(data) => Resp3Frame::Double { data: *data, attributes },
            Reply::BigNumber(digits) => {
                Resp3Frame::BigNumber { data: digits.as_bytes().to_vec(), attributes }
            }
            Reply::Attributed(..) | Reply::Sequence(_) => unreachable!("not one frame of its own"),
            Reply::Null | Reply::NullArray => Resp3Frame::Null,
            Reply::Array(items) => {
                Resp3Frame::Array { data: items.iter().map(in_resp3).collect(), attributes }
            }
            Reply::Push(items) => Resp3Frame::Push { data: items.iter().map(in_resp3).collect(), attributes },
            Reply::Set(items) => Resp3Frame::Set { data: items.iter().map(in_resp3).collect(), attributes },
            Reply::Map(pairs) => Resp3Frame::Map {
                data: pairs.iter().map(|(key, value)| (in_resp3(key), in_resp3(value))).collect(),
                attributes,
            },
        }
    }

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    fn any_reply() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            Just(Reply::OK),
            Just(Reply::Status("FINE".into())),
            Just(Reply::Null),
            Just(Reply::NullArray),
            Just(Reply::Error(Error::NotInteger)),
            Just(Reply::BigNumber("-12345678901234567890".into())),
            any::<i64>().prop_map(Reply::Integer),
            any::<bool>().prop_map(Reply::Boolean),
            any::<f64>().prop_filter("NaN equals nothing", |value| !value.is_nan()).prop_map(Reply::Double),
            any_bytes().prop_map(Reply::Bulk),
            any_bytes().prop_map(Reply::Verbatim),
        ];
        // The decoder keeps sets and maps hashed, so what is hashed is distinct and of a kind it can hash.
        let distinct = || prop::collection::btree_set(any::<i64>(), 0..4);
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let items = prop::collection::vec(inner.clone(), 0..4);
            prop_oneof![
                items.clone().prop_map(Reply::Array),
                items.prop_map(Reply::Push),
                distinct().prop_map(|set| Reply::Set(set.into_iter().map(Reply::Integer).collect())),
                (distinct(), prop::collection::vec(inner, 4)).prop_map(|(keys, values)| {
                    Reply::Map(keys.into_iter().map(Reply::Integer).zip(values).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_client_reads_what_was_meant(reply in any_reply()) {
            let bytes = encoded(&reply, Protocol::Resp2);
            prop_assert_eq!(decode_resp2(&bytes).unwrap(), Some((in_resp2(&reply), bytes.len())));
            let bytes = encoded(&reply, Protocol::Resp3);
            prop_assert_eq!(decode_resp3(&bytes).unwrap(), Some((in_resp3(&reply), bytes.len())));
        }
    }
}
