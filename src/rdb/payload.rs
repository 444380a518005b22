//! The payload of DUMP and RESTORE, as Redis and Valkey exchange it.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 1 | the type; 0 is a string |
//! | 1 | | the value |
//! | end − 10 | 2 | the version of the format, little-endian |
//! | end − 8 | 8 | CRC-64 of all bytes before, little-endian |

use super::input::Input;
use super::object::{Kind, STRING};
use super::{CRC64, Dialect};

/// The version in a payload that Larder writes. It is the first that DUMP had, in Redis 2.6, so every server takes it.
const VERSION: u16 = 6;
/// Version and checksum.
const FOOTER_BYTES: usize = 10;

/// Why a payload holds no value for RESTORE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The version is unknown, or the checksum is another.
    Frame,
    /// What the checksum covers is no value.
    Format,
    /// It is a value of another type.
    Kind(Kind),
    /// It is too long.
    TooLong,
}

/// The payload of a string.
pub fn encode(value: &[u8]) -> Vec<u8> {
    const HEAD_BYTES: usize = 6;
    let mut payload = Vec::with_capacity(HEAD_BYTES + value.len() + FOOTER_BYTES);
    payload.push(STRING);
    match value.len() {
        bytes @ ..0x40 => payload.push(bytes as u8),
        bytes @ ..0x4000 => payload.extend_from_slice(&(0x4000 | bytes as u16).to_be_bytes()),
        // a value has at most 512 MiB
        bytes => {
            payload.push(0x80);
            payload.extend_from_slice(&(bytes as u32).to_be_bytes());
        }
    }
    payload.extend_from_slice(value);
    framed(payload, VERSION)
}

/// A payload with this in it.
pub fn framed(mut object: Vec<u8>, version: u16) -> Vec<u8> {
    object.extend_from_slice(&version.to_le_bytes());
    let checksum = CRC64.checksum(&object);
    object.extend_from_slice(&checksum.to_le_bytes());
    object
}

/// The string in a payload of any server, if it has at most `bytes_max` bytes.
pub fn decode(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let (covered, checksum) = payload.split_last_chunk().ok_or(Refusal::Frame)?;
    let (object, version) = covered.split_last_chunk().ok_or(Refusal::Frame)?;
    let dialect = Dialect::of_version(u16::from_le_bytes(*version).into()).ok_or(Refusal::Frame)?;
    if u64::from_le_bytes(*checksum) != CRC64.checksum(covered) {
        return Err(Refusal::Frame);
    }
    let mut input = Input::new(object, bytes_max);
    let number = input.object_type(dialect).map_err(|_| Refusal::Format)?;
    match Kind::of(number, dialect).ok_or(Refusal::Format)? {
        Kind::String => {}
        kind => return Err(Refusal::Kind(kind)),
    }
    let value = input.string().map_err(|_| Refusal::Format)?;
    match input.take_skipped() {
        true => Err(Refusal::TooLong),
        false if input.reader().is_empty() => Ok(value),
        false => Err(Refusal::Format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES_MAX: usize = 1 << 20;

    #[test]
    fn lengths_have_three_forms() {
        for bytes in [0, 1, 0x3f, 0x40, 0x3fff, 0x4000, 70_000] {
            let value = vec![b'x'; bytes];
            assert_eq!(decode(&encode(&value), bytes), Ok(value), "{bytes}");
        }
        assert_eq!(encode(b"{}").escape_ascii().to_string(), r"\x00\x02{}\x06\x00\x8c\xa4 \xdc\xc2\xb3C\xcb");
    }

    #[test]
    fn what_is_no_string_is_refused() {
        for (object, version, expected) in [
            (&b"\x00\xc0\x05"[..], 11, Ok(b"5".to_vec())),
            (b"\x00\xc0\x05", 80, Ok(b"5".to_vec())),
            (b"\x00\xc0\x05", 0, Err(Refusal::Frame)),
            (b"\x00\xc0\x05", 14, Err(Refusal::Frame)),
            (b"\x00\xc0\x05", 79, Err(Refusal::Frame)),
            (b"\x00\xc0\x05", 81, Err(Refusal::Frame)),
            (b"", 11, Err(Refusal::Format)),
            (b"\x00", 11, Err(Refusal::Format)),
            (b"\x00\x05abc", 11, Err(Refusal::Format)),
            (b"\x00\x01ab", 11, Err(Refusal::Format)),
            (b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff", 11, Err(Refusal::Format)),
            (b"\x00\x0aabcdefghij", 11, Err(Refusal::TooLong)),
            (b"\x00\xc3\x05\x0d\x00a\xe0\x03\x00", 11, Err(Refusal::TooLong)),
            (b"\x08\x01a", 11, Err(Refusal::Format)),
            (b"\xff\x01a", 11, Err(Refusal::Format)),
            (b"\x01\x01\x01a", 11, Err(Refusal::Kind(Kind::List))),
            (b"\x0b", 11, Err(Refusal::Kind(Kind::Set))),
            (b"\x18", 13, Err(Refusal::Kind(Kind::Hash))),
            (b"\x16", 80, Err(Refusal::Kind(Kind::Hash))),
            (b"\x18", 80, Err(Refusal::Format)),
            // what a module attached to the key: class, a number, a string, the end
            (b"\xf3\x01abcd\x02\x05\x05\x01x\x00\x00\x01v", 13, Ok(b"v".to_vec())),
            (b"\xf3\x01abcd\x02\x05\x05\x01x\x00\x00\x01v", 80, Err(Refusal::Format)),
        ] {
            assert_eq!(
                decode(&framed(object.to_vec(), version), 9),
                expected,
                "{} {version}",
                object.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn values_come_back(value: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&value), value.len()), Ok(value));
        }

        #[test]
        fn a_changed_or_cut_payload_is_refused(value: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let whole = encode(&value);
            let at = at.index(whole.len());
            prop_assert_eq!(decode(&whole[..at], BYTES_MAX), Err(Refusal::Frame));
            let mut changed = whole;
            changed[at] ^= 1 << bit;
            prop_assert_eq!(decode(&changed, BYTES_MAX), Err(Refusal::Frame));
        }

        #[test]
        fn any_object_is_decoded_or_refused(object: Vec<u8>, version in 1..=13u16) {
            let _ = decode(&framed(object, version), BYTES_MAX);
        }
    }
}
