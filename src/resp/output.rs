//! The output to a client: replies as bytes, in which long values are shared with their other owners.
//!
//! ```text
//! chunk: "*2\r\n$70000\r\n" | chunk: the value, shared | ... | tail: "\r\n$1\r\nx\r\n", more is appended here
//! ```
//!
//! Short replies are copied one after the other into the tail, without any chunks, which is as cheap as a plain buffer.
//! A long value is not copied, so a reply that repeats a value, or the same value for many clients, costs its memory
//! once.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Values from this length on are shared. To copy a shorter one costs less than to send it by itself.
pub const SHARED_BYTES: usize = 32 * 1024;

#[derive(Debug, Default)]
pub struct Output {
    pub(super) chunks: Chunks,
    /// Behind all chunks.
    pub(super) tail: BytesMut,
}

/// What is before the tail.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    chunks: VecDeque<Bytes>,
    bytes: usize,
}

impl Chunks {
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }
}

impl Output {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.chunks.bytes + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that only this output holds: memory that is freed when it is sent.
    pub fn own_bytes(&self) -> usize {
        let chunks = self.chunks.chunks.iter().filter(|chunk| chunk.is_unique());
        chunks.map(Bytes::len).sum::<usize>() + self.tail.len()
    }

    pub fn clear(&mut self) {
        self.chunks = Chunks::default();
        self.tail.clear();
    }

    /// The buffer at the end, for what is appended as bytes. It is the whole output if nothing is shared.
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Whether long values are shared in it.
    pub fn is_shared(&self) -> bool {
        !self.chunks.chunks.is_empty()
    }

    /// The bytes to send next; none at the end.
    pub fn front(&self) -> &[u8] {
        self.chunks.chunks.front().map_or(&self.tail, |chunk| chunk)
    }

    /// Drops bytes at the front, which have been sent, and the chunk if that was all of it.
    pub fn advance(&mut self, sent: usize) {
        let Some(chunk) = self.chunks.chunks.front_mut() else { return self.tail.advance(sent) };
        chunk.advance(sent);
        self.chunks.bytes -= sent;
        if chunk.is_empty() {
            self.chunks.chunks.pop_front();
        }
    }
}

impl From<BytesMut> for Output {
    fn from(tail: BytesMut) -> Output {
        Output { chunks: Chunks::default(), tail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Protocol, Reply, encode, encode_sharing};

    #[test]
    fn long_values_are_shared_and_come_out_in_order() {
        let long = Bytes::from(vec![b'x'; SHARED_BYTES]);
        let values =
            [&long, &Bytes::from_static(b"short"), &long, &long].map(|value| Reply::Bulk(value.clone()));
        let replies = [Reply::Array(values.into()), Reply::Integer(7)];
        let (mut output, mut copied) = (Output::default(), BytesMut::new());
        for reply in &replies {
            encode_sharing(reply, Protocol::Resp2, &mut output);
            encode(reply, Protocol::Resp2, &mut copied);
        }
        assert!(output.is_shared() && output.own_bytes() < 200);
        assert_eq!(output.len(), copied.len());
        let mut sent = Vec::new();
        while !output.is_empty() {
            let piece = output.front();
            // a socket that takes some at a time
            let some = piece.len().min(20_000);
            sent.extend_from_slice(&piece[..some]);
            output.advance(some);
        }
        assert!(sent == copied);
    }

    #[test]
    fn short_values_are_one_buffer() {
        let mut output = Output::default();
        encode_sharing(&Reply::Bulk(Bytes::from(vec![b'x'; SHARED_BYTES - 1])), Protocol::Resp2, &mut output);
        assert!(!output.is_shared());
        assert_eq!(output.own_bytes(), output.len());
    }
}
