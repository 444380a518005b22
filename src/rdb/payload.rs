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

/// The number before the text of a library of functions, and that of a release candidate of Redis 7.0.
pub(super) const FUNCTION: u8 = 245;
pub(super) const FUNCTION_CANDIDATE: u8 = 246;
/// The version in a payload of libraries that Larder writes: the first that could have some, in Redis 7.0.
const VERSION_OF_LIBRARIES: u16 = 10;
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
    put_string(value, &mut payload);
    framed(payload, VERSION)
}

/// The payload of FUNCTION DUMP with the texts of these libraries.
pub fn encode_libraries<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    for text in texts {
        payload.push(FUNCTION);
        put_string(text, &mut payload);
    }
    framed(payload, VERSION_OF_LIBRARIES)
}

fn put_string(value: &[u8], out: &mut Vec<u8>) {
    match value.len() {
        bytes @ ..0x40 => out.push(bytes as u8),
        bytes @ ..0x4000 => out.extend_from_slice(&(0x4000 | bytes as u16).to_be_bytes()),
        // a value has at most 512 MiB
        bytes => {
            out.push(0x80);
            out.extend_from_slice(&(bytes as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
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
    let (object, dialect) = unframed(payload).ok_or(Refusal::Frame)?;
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

/// The texts of the libraries in a payload of FUNCTION DUMP of any server, if there are at most `count_max`, and all
/// together have at most `bytes_max` bytes. Errors are in the words of Redis.
pub fn decode_libraries(
    payload: &[u8],
    count_max: usize,
    bytes_max: usize,
) -> Result<Vec<Vec<u8>>, &'static str> {
    let (object, _) = unframed(payload).ok_or("DUMP payload version or checksum are wrong")?;
    let mut input = Input::new(object, bytes_max);
    let (mut texts, mut bytes) = (Vec::new(), 0);
    while !input.reader().is_empty() {
        match input.byte() {
            Ok(FUNCTION) => {}
            Ok(FUNCTION_CANDIDATE) => return Err("Pre-GA function format not supported"),
            Ok(_) => return Err("given type is not a function"),
            Err(_) => return Err("can not read data type"),
        }
        let text = input.string().map_err(|_| "failed loading the given functions payload")?;
        bytes += text.len();
        if input.take_skipped() || bytes > bytes_max {
            return Err("the libraries in the payload are too long");
        }
        if texts.len() >= count_max {
            return Err("the payload has too many libraries");
        }
        texts.push(text);
    }
    Ok(texts)
}

/// What a payload covers, and whose numbers are in it; `None` if the version is unknown or the checksum another.
fn unframed(payload: &[u8]) -> Option<(&[u8], Dialect)> {
    let (covered, checksum) = payload.split_last_chunk()?;
    let (object, version) = covered.split_last_chunk()?;
    let dialect = Dialect::of_version(u16::from_le_bytes(*version).into())?;
    (u64::from_le_bytes(*checksum) == CRC64.checksum(covered)).then_some((object, dialect))
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

    /// What Redis 8.6 and Valkey 9.1 dump. One library is compressed.
    #[test]
    fn libraries_of_other_servers_are_read() {
        let one = "#!lua name=one\nredis.register_function('f', function() return 1 end)".to_owned();
        let two = "#!lua name=two\nredis.register_function('g', function() return 2 end)\n".to_owned()
            + &"-- a comment that is long enough to be compressed, ".repeat(4);
        const REDIS: &str = "f5c3407b41111f23216c7561206e616d653d74776f0a72656469732e72656769737465725f66750b6e6374696f6e282767272c20e0000d1f292072657475726e203220656e64290a2d2d206120636f6d6d656e74207468610874206973206c6f6e67201e096f75676820746f206265402108707265737365642c20e08e32012c20f5404423216c7561206e616d653d6f6e650a72656469732e72656769737465725f66756e6374696f6e282766272c2066756e6374696f6e28292072657475726e203120656e64290d00d99ec37e9565fe6a";
        const VALKEY: &str = "f5404423216c7561206e616d653d6f6e650a72656469732e72656769737465725f66756e6374696f6e282766272c2066756e6374696f6e28292072657475726e203120656e6429f5c3407b41111f23216c7561206e616d653d74776f0a72656469732e72656769737465725f66750b6e6374696f6e282767272c20e0000d1f292072657475726e203220656e64290a2d2d206120636f6d6d656e74207468610874206973206c6f6e67201e096f75676820746f206265402108707265737365642c20e08e32012c2050002c347cca66bbe69c";
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or(0))
                .collect()
        };
        for (payload, texts) in [
            (bytes(REDIS), vec![&two, &one]),
            (bytes(VALKEY), vec![&one, &two]),
            (bytes("0d00ff32d5f308cad51a"), vec![]),
            (bytes("500092b195d1912dc52e"), vec![]),
            (encode_libraries([&*one, &*two].into_iter().map(str::as_bytes)), vec![&one, &two]),
        ] {
            let texts = texts.into_iter().map(|text| text.clone().into_bytes()).collect();
            assert_eq!(decode_libraries(&payload, 2, 1_000), Ok(texts));
            for at in 0..payload.len() {
                let mut changed = payload.clone();
                changed[at] ^= 1;
                assert!(decode_libraries(&changed, 2, 1_000).is_err(), "byte {at}");
                assert!(decode_libraries(&payload[..at], 2, 1_000).is_err(), "{at} bytes");
            }
        }
        for (object, why) in [
            (&b"\xf6\x01x"[..], "Pre-GA function format not supported"),
            (b"\x00\x01x", "given type is not a function"),
            (b"\xf5\x02x", "failed loading the given functions payload"),
            (b"\xf5\x01x\x00", "given type is not a function"),
            (b"\xf5\x81\xff\xff\xff\xff\xff\xff\xff\xff", "failed loading the given functions payload"),
            (b"\xf5\x06123456", "the libraries in the payload are too long"),
            (b"\xf5\x03123\xf5\x03123", "the libraries in the payload are too long"),
            (b"\xf5\x00\xf5\x00\xf5\x00", "the payload has too many libraries"),
        ] {
            assert_eq!(decode_libraries(&framed(object.to_vec(), 11), 2, 5), Err(why), "{object:?}");
        }
    }
}
