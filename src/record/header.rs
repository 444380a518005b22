//! The record on disk: a header, then the payload.
//!
//! | offset | size | meaning                                                                          |
//! |-------:|-----:|----------------------------------------------------------------------------------|
//! |      0 |    1 | format: 1                                                                        |
//! |      1 |    1 | flags: bit 0 payload is Brotli, bit 1 expires, bit 2 has a dictionary; rest zero |
//! |      2 |    4 | checksum, see below                                                              |
//! |      6 |    8 | version: journal sequence number of the last change                              |
//! |     14 |    8 | only if it expires: the deadline, in milliseconds since 1970                     |
//! |      … |    4 | only with a dictionary: the dictionary's id                                      |
//! |      … |    4 | only if the payload is Brotli: length of the plain value                         |
//! |      … | rest | payload                                                                          |
//!
//! Big-endian. A dictionary is a dictionary of Brotli, so bit 2 without bit 0 is damage.
//!
//! The checksum is the low half of XXH3-64 over everything after it, seeded with the XXH3-64 of the record's LMDB key
//! and with the two bytes before it. So it covers the whole record, and a sound record under a wrong key (from a page
//! of another time or place) does not pass either. It finds accidental damage, of which 1 in 2³² goes unnoticed; it
//! does not protect against someone who can write to the file.

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Damage;
use super::compress::{Codec, Encoded, decompress};
use super::dictionary::Dictionary;
use crate::limits::VALUE_BYTES_MAX;

/// The format that [`write()`] writes, and the newest that [`RecordView::parse`] reads.
pub const FORMAT: u8 = 1;

/// The longest header that [`write()`] makes or [`RecordView::parse`] accepts.
pub const HEADER_BYTES_MAX: usize = VERSION_AT + 8 + 8 + DICTIONARY_ID_BYTES + PLAIN_LENGTH_BYTES;

/// The length of the header before an uncompressed value.
pub fn plain_header_bytes(expires: bool) -> usize {
    VERSION_AT + 8 + deadline_bytes(expires)
}

/// The bytes of an expiry in the header.
pub fn deadline_bytes(expires: bool) -> usize {
    if expires { 8 } else { 0 }
}

impl Encoded<'_> {
    /// Length of the record: header and payload.
    pub fn record_bytes(&self, expires: bool) -> usize {
        let plain_length = if self.codec == Codec::Brotli { PLAIN_LENGTH_BYTES } else { 0 };
        let dictionary = self.dictionary.map_or(0, |_| DICTIONARY_ID_BYTES);
        plain_header_bytes(expires) + plain_length + dictionary + self.payload.len()
    }
}

/// The additional bytes in the header for a Brotli payload.
pub(super) const PLAIN_LENGTH_BYTES: usize = 4;
/// The additional bytes for a dictionary.
pub(super) const DICTIONARY_ID_BYTES: usize = 4;

const CHECKSUM_AT: usize = 2;
const VERSION_AT: usize = 6;

const BROTLI: u8 = 1 << 0;
const EXPIRES: u8 = 1 << 1;
const DICTIONARY: u8 = 1 << 2;

const _: () = assert!(VALUE_BYTES_MAX <= u32::MAX as usize);

/// A view of a record, usually in the memory map; nothing is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Journal sequence number of the record's last change.
    pub version: u64,
    pub expires_at_ms: Option<u64>,
    /// Bytes of the value once decompressed; never over [`VALUE_BYTES_MAX`] in a Brotli record.
    pub plain_len: usize,
    /// The dictionary with which the payload was compressed, apart from Brotli's own.
    pub dictionary: Option<u32>,
    pub codec: Codec,
    pub payload: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Reads the record stored under `key`, and checks that it is whole and belongs there.
    pub fn parse(key: &[u8], bytes: &'a [u8]) -> Result<RecordView<'a>, Damage> {
        let view = RecordView::peek(bytes)?;
        let stored = bytes.get(CHECKSUM_AT..VERSION_AT).ok_or(Damage::Truncated)?;
        if stored == checksum(key, bytes).to_be_bytes() { Ok(view) } else { Err(Damage::Checksum) }
    }

    /// Reads the header without verifying it, for hot paths that need a length, a deadline or a version, but not the
    /// value.
    pub fn peek(bytes: &'a [u8]) -> Result<RecordView<'a>, Damage> {
        let mut rest = bytes;
        match take(&mut rest)? {
            [FORMAT] => {}
            [0] => return Err(Damage::Header("format 0")),
            [newer] => return Err(Damage::NewerFormat(newer)),
        }
        let [flags] = take(&mut rest)?;
        let has = |flag| flags & flag != 0;
        if has(!(BROTLI | EXPIRES | DICTIONARY)) {
            return Err(Damage::Header("unknown flags"));
        }
        if has(DICTIONARY) && !has(BROTLI) {
            return Err(Damage::Header("a dictionary without compression"));
        }
        let _checksum: [u8; VERSION_AT - CHECKSUM_AT] = take(&mut rest)?;
        let version = u64::from_be_bytes(take(&mut rest)?);
        let expires_at_ms = has(EXPIRES).then(|| take(&mut rest)).transpose()?.map(u64::from_be_bytes);
        let dictionary = has(DICTIONARY).then(|| take(&mut rest)).transpose()?.map(u32::from_be_bytes);
        let (codec, plain_len) = if has(BROTLI) {
            (Codec::Brotli, u32::from_be_bytes(take(&mut rest)?) as usize)
        } else {
            (Codec::Plain, rest.len())
        };
        if codec == Codec::Brotli && plain_len > VALUE_BYTES_MAX {
            return Err(Damage::PlainLength(plain_len));
        }
        Ok(RecordView { version, expires_at_ms, plain_len, dictionary, codec, payload: rest })
    }

    /// The value; borrowed if it is stored uncompressed. Needs the dictionary that
    /// [`dictionary`](RecordView::dictionary) names.
    pub fn plain(&self, dictionary: Option<&Dictionary<'_>>) -> Result<Cow<'a, [u8]>, Damage> {
        if self.codec == Codec::Plain {
            return Ok(Cow::Borrowed(self.payload));
        }
        let dictionary = match self.dictionary {
            None => None,
            Some(id) => Some(dictionary.filter(|known| known.id == id).ok_or(Damage::UnknownDictionary(id))?),
        };
        decompress(self.payload, self.plain_len, dictionary).map(Cow::Owned)
    }
}

/// Appends the record to `out`, as it is to be stored under `key`.
pub fn write(key: &[u8], version: u64, expires_at_ms: Option<u64>, encoded: &Encoded, out: &mut Vec<u8>) {
    assert!(encoded.plain_len <= VALUE_BYTES_MAX);
    let start = out.len();
    out.reserve(HEADER_BYTES_MAX + encoded.payload.len());
    let flags = match encoded.codec {
        Codec::Plain => 0,
        Codec::Brotli => BROTLI,
    } | if expires_at_ms.is_some() { EXPIRES } else { 0 }
        | if encoded.dictionary.is_some() { DICTIONARY } else { 0 };
    out.extend_from_slice(&[FORMAT, flags]);
    out.extend_from_slice(&[0; VERSION_AT - CHECKSUM_AT]);
    out.extend_from_slice(&version.to_be_bytes());
    if let Some(deadline) = expires_at_ms {
        out.extend_from_slice(&deadline.to_be_bytes());
    }
    if let Some(id) = encoded.dictionary {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if encoded.codec == Codec::Brotli {
        out.extend_from_slice(&(encoded.plain_len as u32).to_be_bytes());
    }
    out.extend_from_slice(&encoded.payload);
    seal(key, &mut out[start..]);
}

/// Writes the checksum to its place.
fn seal(key: &[u8], record: &mut [u8]) {
    let checksum = checksum(key, record);
    record[CHECKSUM_AT..VERSION_AT].copy_from_slice(&checksum.to_be_bytes());
}

/// The checksum of a record that is at least as long as the part of the header that every record has.
fn checksum(key: &[u8], record: &[u8]) -> u32 {
    let head = u64::from(u16::from_be_bytes([record[0], record[1]]));
    xxh3_64_with_seed(&record[VERSION_AT..], xxh3_64(key) ^ head) as u32
}

/// Splits the next `N` bytes off the front.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Damage> {
    let (&front, behind) = rest.split_first_chunk().ok_or(Damage::Truncated)?;
    *rest = behind;
    Ok(front)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::compress::{Compression, compress};
    use super::super::dictionary::encode::Encoder;
    use super::*;

    const JSON: &[u8] = br#"{"name":"Ada","tags":["one","one","one","one","one","one","one","one","one"]}"#;

    fn record(key: &[u8], value: &[u8], expires_at_ms: Option<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        write(key, 77, expires_at_ms, &compress(value, &Compression::default(), None), &mut out);
        out
    }

    #[test]
    fn bytes_of_a_plain_record() {
        let mut out = b"before".to_vec();
        write(b"k", 0x0102, Some(0x0a0b), &Encoded::plain(b"true"), &mut out);
        let (header, payload) = out["before".len()..].split_at(22);
        assert_eq!(header[..2], [1, 0b010]);
        assert_eq!(header[2..6], checksum(b"k", &out["before".len()..]).to_be_bytes());
        assert_eq!(header[6..], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 10, 11]);
        assert_eq!(payload, b"true");
    }

    #[test]
    fn the_checksum_stays_what_it_is() {
        let mut out = Vec::new();
        write(b"k", 1, None, &Encoded::plain(b"true"), &mut out);
        assert_eq!(out[2..6], 0x26e1_b0bf_u32.to_be_bytes());
    }

    #[test]
    fn a_compressed_record_comes_back() {
        let bytes = record(b"k", JSON, None);
        let view = RecordView::parse(b"k", &bytes).unwrap();
        assert_eq!((view.codec, view.version, view.expires_at_ms), (Codec::Brotli, 77, None));
        assert_eq!((view.plain_len, view.dictionary), (JSON.len(), None));
        assert_eq!(view.plain(None).unwrap(), JSON);
        assert!(bytes.len() < JSON.len());
    }

    #[test]
    fn a_record_with_a_dictionary_comes_back_with_that_one_only() {
        let values = || std::iter::repeat_n(JSON, 2);
        let encoder = Encoder::learn(9, values(), values()).unwrap();
        let encoded = compress(JSON, &Compression::default(), Some(&encoder));
        let dictionary = encoder.dictionary;
        let mut bytes = Vec::new();
        write(b"k", 77, Some(5), &encoded, &mut bytes);
        assert_eq!(bytes.len(), encoded.record_bytes(true));
        let view = RecordView::parse(b"k", &bytes).unwrap();
        assert_eq!((view.plain_len, view.expires_at_ms, view.dictionary), (JSON.len(), Some(5), Some(9)));
        assert_eq!(view.plain(Some(&dictionary)).unwrap(), JSON);
        let other = Dictionary { id: 8, ..dictionary };
        assert_eq!(view.plain(Some(&other)), Err(Damage::UnknownDictionary(9)));
        assert_eq!(view.plain(None), Err(Damage::UnknownDictionary(9)));
    }

    #[test]
    fn a_record_under_another_key_is_found_out() {
        let bytes = record(b"k", JSON, None);
        assert_eq!(RecordView::parse(b"l", &bytes), Err(Damage::Checksum));
        assert!(RecordView::peek(&bytes).is_ok());
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        let sealed = |change: fn(&mut Vec<u8>)| {
            let mut bytes = record(b"k", JSON, None);
            change(&mut bytes);
            seal(b"k", &mut bytes);
            RecordView::parse(b"k", &bytes).map(|view| view.plain(None).map(Cow::into_owned))
        };
        assert_eq!(sealed(|_| {}), Ok(Ok(JSON.to_vec())));
        assert_eq!(sealed(|b| b[0] = 2), Err(Damage::NewerFormat(2)));
        assert_eq!(sealed(|b| b[0] = 0), Err(Damage::Header("format 0")));
        assert_eq!(sealed(|b| b[1] |= 1 << 3), Err(Damage::Header("unknown flags")));
        assert_eq!(sealed(|b| b[1] = DICTIONARY), Err(Damage::Header("a dictionary without compression")));
        assert_eq!(sealed(|b| b[14] = 0x20), Err(Damage::PlainLength(VALUE_BYTES_MAX + JSON.len())));
        let with_dictionary = sealed(|b| {
            b[1] |= DICTIONARY;
            b.splice(14..14, [0, 0, 0, 9]);
        });
        assert_eq!(with_dictionary, Ok(Err(Damage::UnknownDictionary(9))));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        for expires_at_ms in [None, Some(1_700_000_000_000)] {
            let whole = record(b"k", JSON, expires_at_ms);
            for len in 0..whole.len() {
                assert!(RecordView::parse(b"k", &whole[..len]).is_err(), "cut at {len}");
            }
            for bit in 0..whole.len() * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(RecordView::parse(b"k", &flipped).is_err(), "bit {bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            value in proptest::collection::vec(0u8..8, 0..400),
            version: u64,
            expires_at_ms: Option<u64>,
        ) {
            let mut out = Vec::new();
            write(&key, version, expires_at_ms, &compress(&value, &Compression::default(), None), &mut out);
            let view = RecordView::parse(&key, &out).unwrap();
            prop_assert_eq!(RecordView::peek(&out).unwrap(), view);
            prop_assert_eq!((view.version, view.expires_at_ms, view.plain_len), (version, expires_at_ms, value.len()));
            prop_assert_eq!(view.plain(None).unwrap(), value);
        }

        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), flags in 0u8..8) {
            let _ = RecordView::parse(b"k", &bytes);
            if let Some([format, bits, ..]) = bytes.get_mut(..VERSION_AT) {
                (*format, *bits) = (FORMAT, flags);
                seal(b"k", &mut bytes);
                // Sealed, so damage behind the checksum is reached too.
                let _ = RecordView::parse(b"k", &bytes).map(|view| view.plain(None));
            }
        }
    }
}
