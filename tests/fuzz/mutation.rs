//! Bytes by chance: a valid input, changed a few times. What fails shrinks to fewer changes.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    Cut(Index),
    /// From here on another valid input, from the same place of it.
    Splice(Index, Index),
}

/// One of the seeds, most of the time not as it is.
pub fn mutated(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Bytes> {
    let others = seeds.clone();
    (select(seeds), vec(change(), 0..6)).prop_map(move |(mut bytes, changes)| {
        for change in changes {
            apply(change, &mut bytes, &others);
        }
        Bytes::from(bytes)
    })
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    // what parsers look for, and the edges of numbers
    let special = select(b"\r\n*$:+-0129\"'\\[]{}^?\0\x01\x7f\x80\xff,. ".to_vec());
    let words: Vec<Vec<u8>> = [
        &b"\r\n"[..],
        b"*1\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"*1048577\r\n",
        b"$536870913\r\n",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"18446744073709551616",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\\x4",
        b"\\u12",
        b"[[[[[[[[",
        b"{\"a\":",
        b"1e999",
        b"****",
        b"[^a-",
        b"\xed\xa0\x80",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    prop_oneof![
        (place(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (place(), prop_oneof![special, any::<u8>()]).prop_map(|(at, byte)| Change::Set(at, byte)),
        (place(), prop_oneof![select(words), vec(any::<u8>(), 1..9)])
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (place(), 1..16usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (place(), 1..16usize, 2..40usize).prop_map(|(at, count, times)| Change::Repeat(at, count, times)),
        place().prop_map(Change::Cut),
        (place(), place()).prop_map(|(at, other)| Change::Splice(at, other)),
    ]
}

fn apply(change: Change, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let end = bytes.len();
    match change {
        Change::Flip(at, bit) if end > 0 => bytes[at.index(end)] ^= 1 << bit,
        Change::Set(at, byte) if end > 0 => bytes[at.index(end)] = byte,
        Change::Flip(..) | Change::Set(..) => {}
        Change::Insert(at, inserted) => {
            let at = at.index(end + 1);
            bytes.splice(at..at, inserted);
        }
        Change::Remove(at, count) => {
            let at = at.index(end + 1);
            bytes.drain(at..(at + count).min(end));
        }
        Change::Repeat(at, count, times) => {
            let at = at.index(end + 1);
            let repeated = bytes[at..(at + count).min(end)].repeat(times);
            bytes.splice(at..at, repeated);
        }
        Change::Cut(at) => bytes.truncate(at.index(end + 1)),
        Change::Splice(at, other) => {
            let at = at.index(end + 1);
            let other = other.get(others);
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(at..).unwrap_or_default());
        }
    }
}
