//! Brotli compression, tuned for small JSON texts, and decompression with a bound.
//!
//! Compression runs at a checkpoint, in the background; decompression runs on the thread that reads. Small values are
//! compressed with the [codes](super::dictionary::codes) of a dictionary if there is one, all others by the crate.
//!
//! The crate's encoder keeps nothing between calls. Pooling its buffers was measured and rejected: they must be zeroed
//! again for each record, because the encoder indexes its ring buffer by what it finds in its hash tables (and panics on
//! what an earlier record left there), so pooling saves less than 1 µs at quality 4.
//!
//! # Parameters of the crate, measured
//!
//! JSON records without a dictionary, one core; ratio, and µs to compress / decompress:
//!
//! | quality | 151 B             | 1,041 B           | 4,152 B            |
//! |--------:|-------------------|-------------------|--------------------|
//! |       1 | 1.06   4.3 / 3.2  | 2.08    12 / 6.7  | 2.96     27 / 14.7 |
//! |       2 | 1.06   6.0 / 8.6  | 2.11    14 / 10.4 | 3.18     47 / 13.5 |
//! |       4 | 1.26    17 / 3.1  | 2.27    39 / 6.8  | 3.34     83 / 13.8 |
//! |       5 | 1.32    27 / 3.4  | 2.40    54 / 7.0  | 3.57    118 / 14.5 |
//! |       9 | 1.32   290 / 3.5  | 2.41 1,030 / 7.1  | 3.60  2,300 / 14.4 |
//! |      11 | 1.35   590 / 4.9  | 2.59 1,450 / 9.5  | 3.94  4,600 / 18.4 |
//!
//! The default is 4. Quality 5 saves 5–6 % more for 40–60 % more time, and the sustained write rate of a server is
//! bounded by how fast its checkpoints compress. Below 4, small records hardly shrink. Size hint and text mode change
//! neither size nor time.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderStateStruct};
use brotli::enc::{BrotliEncoderParams, StandardAlloc};
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

use super::Damage;
use super::dictionary::Dictionary;
use super::dictionary::decode::Decoder;
use super::dictionary::encode::Encoder;
use super::header::{DICTIONARY_ID_BYTES, PLAIN_LENGTH_BYTES};
use crate::limits::VALUE_BYTES_MAX;

const QUALITY_DEFAULT: u32 = 4;
const QUALITY_MAX: u32 = 11;
const NO_DICTIONARIES: &str = "no-dictionaries";
/// 3 % of JSON texts of 56 B shrink, 24 % of those of 64 B, and 95 % of those of 80 B; trying costs 13 µs.
const MIN_BYTES_DEFAULT: usize = 64;

/// How much of an announced length is allocated at first; beyond it, the output grows with what was really there.
const PLAIN_STEP_BYTES: usize = 64 * 1024;

/// How values are compressed: the setting `compression`. As text `off` or `QUALITY`, optionally followed by
/// `:MIN_BYTES`, and then by `:no-dictionaries`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Off,
    Brotli {
        /// 0 to 11.
        quality: u32,
        /// Shorter values are stored plain.
        min_bytes: usize,
        /// Whether stores learn dictionaries.
        dictionaries: bool,
    },
}

impl Default for Compression {
    fn default() -> Compression {
        Compression::Brotli { quality: QUALITY_DEFAULT, min_bytes: MIN_BYTES_DEFAULT, dictionaries: true }
    }
}

/// The error for an invalid setting `compression`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "compression is off, or QUALITY[:MIN_BYTES[:{NO_DICTIONARIES}]] with a quality from 0 to {QUALITY_MAX}, not '{0}'"
)]
pub struct InvalidCompression(String);

impl FromStr for Compression {
    type Err = InvalidCompression;

    fn from_str(text: &str) -> Result<Compression, InvalidCompression> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Compression::Off);
        }
        let invalid = || InvalidCompression(text.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        let (quality, min_bytes, dictionaries) = match parts[..] {
            [quality] => (quality, None, true),
            [quality, min_bytes] => (quality, Some(min_bytes), true),
            [quality, min_bytes, NO_DICTIONARIES] => (quality, Some(min_bytes), false),
            _ => return Err(invalid()),
        };
        let quality = quality.parse().ok().filter(|quality| *quality <= QUALITY_MAX).ok_or_else(invalid)?;
        let min_bytes =
            min_bytes.map_or(Ok(MIN_BYTES_DEFAULT), |text| text.parse().map_err(|_| invalid()))?;
        Ok(Compression::Brotli { quality, min_bytes, dictionaries })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::Off => f.write_str("off"),
            Compression::Brotli { quality, min_bytes, dictionaries: true } => {
                write!(f, "{quality}:{min_bytes}")
            }
            Compression::Brotli { quality, min_bytes, dictionaries: false } => {
                write!(f, "{quality}:{min_bytes}:{NO_DICTIONARIES}")
            }
        }
    }
}

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Plain,
    Brotli,
}

/// A value in the form in which it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded<'a> {
    pub codec: Codec,
    pub payload: Cow<'a, [u8]>,
    /// Bytes of the value before compression.
    pub plain_len: usize,
    /// The id of the dictionary it was compressed with.
    pub dictionary: Option<u32>,
}

impl<'a> Encoded<'a> {
    /// The value as it is.
    pub fn plain(plain: &'a [u8]) -> Encoded<'a> {
        Encoded {
            codec: Codec::Plain,
            payload: Cow::Borrowed(plain),
            plain_len: plain.len(),
            dictionary: None,
        }
    }
}

impl Compression {
    /// Whether values may be compressed with dictionaries.
    pub fn takes_dictionaries(&self) -> bool {
        matches!(self, Compression::Brotli { dictionaries: true, .. })
    }

    /// Whether a value of so many bytes is worth trying.
    pub fn tries(&self, value_bytes: usize) -> bool {
        matches!(self, Compression::Brotli { min_bytes, .. } if value_bytes >= *min_bytes)
    }
}

/// A value of so many bytes for which a dictionary does little is also compressed by itself: the codes of a dictionary may not
/// suit it, and from this length on its own ones pay.
const ALONE_FROM_BYTES: usize = 1024;

/// Compresses a value if the setting asks for it and the stored record becomes shorter; with the dictionary, if there
/// is one and it is suitable.
pub fn compress<'a>(plain: &'a [u8], compression: &Compression, dictionary: Option<&Encoder>) -> Encoded<'a> {
    let Compression::Brotli { quality, min_bytes, .. } = *compression else { return Encoded::plain(plain) };
    if plain.len() < min_bytes {
        return Encoded::plain(plain);
    }
    let dictionary = dictionary.filter(|_| compression.takes_dictionaries() && Dictionary::suits(plain));
    let encoded = |payload: Vec<u8>, dictionary| Encoded {
        codec: Codec::Brotli,
        payload: payload.into(),
        plain_len: plain.len(),
        dictionary,
    };
    let with = dictionary.and_then(|encoder| {
        let payload = shrink_with(encoder, plain, quality)?;
        Some(encoded(payload, Some(encoder.dictionary.id)))
    });
    let does_little = plain.len() >= ALONE_FROM_BYTES
        && with.as_ref().is_none_or(|with| 2 * with.payload.len() > plain.len());
    let alone = if dictionary.is_none() || does_little { shrink(plain, quality) } else { None };
    let shortest = with.into_iter().chain(alone.map(|payload| encoded(payload, None)));
    shortest.min_by_key(|encoded| encoded.record_bytes(false)).unwrap_or(Encoded::plain(plain))
}

/// Decompresses a payload, with the dictionary that it was compressed with, to exactly `plain_len` bytes; a stream that is
/// shorter, longer or followed by anything is damage.
pub fn decompress(
    payload: &[u8],
    plain_len: usize,
    dictionary: Option<&Dictionary<'_>>,
) -> Result<Vec<u8>, Damage> {
    if plain_len > VALUE_BYTES_MAX {
        return Err(Damage::PlainLength(plain_len));
    }
    if let Some(Dictionary { id, text, lengths: Some(lengths) }) = dictionary {
        let decoder = Decoder::of(lengths).ok_or(Damage::Dictionary(*id))?;
        return decoder.decode(payload, plain_len, text);
    }
    let alloc = StandardAlloc::default();
    let mut state = match dictionary {
        None => BrotliState::new_strict(alloc, alloc, alloc),
        Some(dictionary) => {
            let text = dictionary.text.to_vec().into();
            BrotliState::new_with_custom_dictionary(alloc, alloc, alloc, text)
        }
    };
    // the encoder below never makes one of up to 1 GB
    state.large_window = false;
    let mut plain = vec![0; plain_len.min(PLAIN_STEP_BYTES)];
    let (mut unread, mut read, mut written, mut total) = (payload.len(), 0, 0, 0);
    loop {
        let mut room = plain.len() - written;
        let result = BrotliDecompressStream(
            &mut unread,
            &mut read,
            payload,
            &mut room,
            &mut written,
            &mut plain,
            &mut total,
            &mut state,
        );
        match result {
            BrotliResult::ResultSuccess => break,
            BrotliResult::NeedsMoreOutput if plain.len() < plain_len => {
                let grown = plain_len.min(2 * plain.len());
                plain.reserve_exact(grown - plain.len());
                plain.resize(grown, 0);
            }
            BrotliResult::NeedsMoreOutput => {
                return Err(Damage::Brotli("is longer than announced"));
            }
            BrotliResult::NeedsMoreInput => return Err(Damage::Brotli("ends early")),
            BrotliResult::ResultFailure => return Err(Damage::Brotli("is not valid Brotli")),
        }
    }
    if written != plain_len {
        return Err(Damage::Brotli("is shorter than announced"));
    }
    if unread != 0 {
        return Err(Damage::Brotli("is followed by something else"));
    }
    Ok(plain)
}

/// The commands of a dictionary's codes, or nothing if the record would not get shorter.
fn shrink_with(dictionary: &Encoder, plain: &[u8], quality: u32) -> Option<Vec<u8>> {
    let effort = match quality {
        ..5 => 8,
        5..9 => 32,
        _ => 256,
    };
    let mut payload = Vec::with_capacity(plain.len() / 2);
    // a result that does not decompress to the value is not used
    let comes_back = dictionary.encode(plain, effort, &mut payload);
    let header_bytes = PLAIN_LENGTH_BYTES + DICTIONARY_ID_BYTES;
    (comes_back && payload.len() + header_bytes < plain.len()).then_some(payload)
}

/// Brotli, or nothing if the record would not get shorter: the output has no room for more.
fn shrink(plain: &[u8], quality: u32) -> Option<Vec<u8>> {
    let mut payload = vec![0; plain.len().checked_sub(PLAIN_LENGTH_BYTES + 1)?];
    let mut encoder = BrotliEncoderStateStruct::new(StandardAlloc::default());
    encoder.params = BrotliEncoderParams {
        quality: quality.min(QUALITY_MAX) as i32,
        lgwin: window_bits(plain.len(), quality),
        size_hint: plain.len(),
        ..BrotliEncoderParams::default()
    };
    let (mut unread, mut read, mut room, mut written) = (plain.len(), 0, payload.len(), 0);
    let sound = encoder.compress_stream(
        BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
        &mut unread,
        plain,
        &mut read,
        &mut room,
        &mut payload,
        &mut written,
        &mut None,
        &mut |_, _, _, _| (),
    );
    if !(sound && encoder.is_finished()) {
        return None;
    }
    payload.truncate(written);
    Some(payload)
}

/// The window (as a power of two) that holds so many bytes. Among those that are cheap to write down: the stream starts
/// with one bit for 16, four bits for 18 and up, seven for all others.
///
/// 16 is out of bounds from quality 5 on: there the crate falls back to a hash table of 32 MB, ten times slower.
fn window_bits(bytes: usize, quality: u32) -> i32 {
    const SMALL: i32 = 16;
    // Brotli keeps 16 bytes of its window to itself.
    let bits = (bytes + 16).next_power_of_two().ilog2() as i32;
    if bits <= SMALL && quality < 5 { SMALL } else { bits.clamp(18, 22) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brotli(quality: u32) -> Compression {
        Compression::Brotli { quality, min_bytes: 0, dictionaries: true }
    }

    fn repetitive(len: usize) -> Vec<u8> {
        br#"{"name":"Ada","age":36},"#.iter().copied().cycle().take(len).collect()
    }

    #[test]
    fn setting() {
        for (text, compression, shown) in [
            ("off", Compression::Off, "off"),
            ("OFF", Compression::Off, "off"),
            ("4", Compression::default(), "4:64"),
            ("11:0", brotli(11), "11:0"),
            ("0:0", brotli(0), "0:0"),
            (
                "4:64:no-dictionaries",
                Compression::Brotli { quality: 4, min_bytes: 64, dictionaries: false },
                "4:64:no-dictionaries",
            ),
        ] {
            assert_eq!(text.parse(), Ok(compression), "{text}");
            assert_eq!(compression.to_string(), shown);
        }
        for text in ["", "12", "-1", "4:", ":64", "4:-1", "4:64:1", "4:64:", "4::no-dictionaries", "on", " 4"]
        {
            let error = text.parse::<Compression>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("not '{text}'")), "{error}");
        }
    }

    const SIZES: [usize; 7] = [0, 1, 6, 1_000, PLAIN_STEP_BYTES - 16, PLAIN_STEP_BYTES, 300_000];

    #[test]
    fn every_quality_comes_back_at_every_size() {
        for quality in 0..=QUALITY_MAX {
            for len in SIZES {
                let plain = repetitive(len);
                let encoded = compress(&plain, &brotli(quality), None);
                assert_eq!(encoded.plain_len, len);
                if len >= 1_000 {
                    let what = format!("quality {quality}, {len} bytes");
                    assert_eq!(encoded.codec, Codec::Brotli, "{what}");
                    assert_eq!(decompress(&encoded.payload, len, None).unwrap(), plain, "{what}");
                }
            }
        }
    }

    #[test]
    fn what_would_not_shrink_stays_plain() {
        let noise: Vec<u8> =
            (0u64..20).flat_map(|i| xxhash_rust::xxh3::xxh3_64(&i.to_be_bytes()).to_be_bytes()).collect();
        for quality in 0..=QUALITY_MAX {
            assert_eq!(compress(&noise, &brotli(quality), None), Encoded::plain(&noise));
        }
        assert_eq!(compress(b"", &brotli(4), None), Encoded::plain(b""));
        assert_eq!(compress(b"true", &brotli(4), None), Encoded::plain(b"true"));
    }

    #[test]
    fn the_setting_is_heeded() {
        let text = repetitive(100);
        let codec = |compression| compress(&text, &compression, None).codec;
        let from = |min_bytes| Compression::Brotli { quality: 4, min_bytes, dictionaries: true };
        assert_eq!(codec(Compression::Off), Codec::Plain);
        assert_eq!(codec(from(101)), Codec::Plain);
        assert_eq!(codec(from(100)), Codec::Brotli);
        let (user, encoder) = users();
        let without = Compression::Brotli { quality: 4, min_bytes: 0, dictionaries: false };
        assert_eq!(compress(&user, &without, Some(&encoder)).dictionary, None);
    }

    /// Two records that have much in common, and a dictionary of others like them.
    fn users() -> (Vec<u8>, Encoder) {
        let user = |at: u32| {
            let (number, country) = (at.wrapping_mul(2_654_435_761), ["DE", "FR", "JP"][at as usize % 3]);
            format!(r#"{{"id":{number},"country":"{country}","visits":{},"active":true}}"#, at % 89)
                .into_bytes()
        };
        let others: Vec<_> = (0..20).map(user).collect();
        let others = || others.iter().map(Vec::as_slice);
        (user(77), Encoder::learn(9, others().step_by(2), others().skip(1).step_by(2)).unwrap())
    }

    #[test]
    fn a_dictionary_shrinks_small_records_at_every_quality() {
        let (user, encoder) = users();
        for quality in 0..=QUALITY_MAX {
            let encoded = compress(&user, &brotli(quality), Some(&encoder));
            assert_eq!((encoded.codec, encoded.dictionary), (Codec::Brotli, Some(9)), "quality {quality}");
            let without = compress(&user, &brotli(quality), None);
            assert!(encoded.record_bytes(false) + 30 < without.record_bytes(false), "quality {quality}");
            let decompressed = decompress(&encoded.payload, user.len(), Some(&encoder.dictionary));
            assert_eq!(decompressed.unwrap(), user);
        }
    }

    #[test]
    fn a_value_that_the_codes_do_not_suit_has_its_own() {
        let (user, encoder) = users();
        let mut random = crate::random::SplitMix(7);
        let mut letters = |count| -> String {
            (0..count).filter_map(|_| char::from_u32(0x430 + random.next() as u32 % 32)).collect()
        };
        let foreign = format!(r#"{{"name":"{}"}}"#, letters(2_000));
        let with = compress(foreign.as_bytes(), &brotli(4), Some(&encoder));
        assert_eq!(with, compress(foreign.as_bytes(), &brotli(4), None));
        assert!(with.codec == Codec::Brotli && 2 * with.payload.len() < foreign.len());
        // a short one is not tried twice
        assert_eq!(compress(&user, &brotli(4), Some(&encoder)).dictionary, Some(9));
    }

    #[test]
    fn a_dictionary_is_for_small_values() {
        let (user, encoder) = users();
        let with = |plain: &[u8]| compress(plain, &brotli(4), Some(&encoder)).dictionary;
        let (short, long) = (user.repeat(16 * 1024 / user.len()), user.repeat(16 * 1024 / user.len() + 1));
        assert_eq!((with(&short), with(&long)), (Some(9), None));
    }

    #[test]
    fn records_of_a_dictionary_without_codes_are_read() {
        let text = br#"{"name":"Ada Lovelace","city":"London","tags":["mathematics","engines"]}"#;
        let dictionary = Dictionary { id: 9, text: [&text[..], b"\xff"].concat().into(), lengths: None };
        // as the crate's encoder compressed it at quality 3
        let payload = b"\x82\x07\x00\x00@\x9d,\xd5O\x99\x94\xee7#H\xe4!\xc00U\t&\x1b\xe7p[\xaf\xc0\xa6e\x00";
        let plain = br#"{"name":"Charles Babbage","city":"London","tags":["engines"]}"#;
        assert_eq!(decompress(payload, plain.len(), Some(&dictionary)).unwrap(), plain);
        assert!(Encoder::new(dictionary).is_none());
    }

    #[test]
    fn a_dictionary_counts_for_whether_a_record_shrinks() {
        let (_, encoder) = users();
        for len in 0..=encoder.dictionary.text.len().min(200) {
            let plain = &encoder.dictionary.text[..len];
            let encoded = compress(plain, &brotli(4), Some(&encoder));
            assert!(encoded.record_bytes(false) <= Encoded::plain(plain).record_bytes(false), "{len} bytes");
        }
    }

    #[test]
    fn a_wrong_length_is_damage() {
        let plain = repetitive(3 * PLAIN_STEP_BYTES);
        let payload = compress(&plain, &brotli(4), None).payload;
        let error = |payload: &[u8], plain_len| decompress(payload, plain_len, None).unwrap_err();
        for plain_len in [0, 1, PLAIN_STEP_BYTES, plain.len() - 1] {
            assert_eq!(error(&payload, plain_len), Damage::Brotli("is longer than announced"));
        }
        for plain_len in [plain.len() + 1, VALUE_BYTES_MAX] {
            assert_eq!(error(&payload, plain_len), Damage::Brotli("is shorter than announced"));
        }
        assert_eq!(error(&payload, VALUE_BYTES_MAX + 1), Damage::PlainLength(VALUE_BYTES_MAX + 1));
        assert_eq!(
            error(&[&*payload, b"x"].concat(), plain.len()),
            Damage::Brotli("is followed by something else")
        );
        for cut in 0..payload.len() {
            assert!(decompress(&payload[..cut], plain.len(), None).is_err());
        }
        assert_eq!(error(b"", 1), Damage::Brotli("ends early"));
    }

    #[test]
    fn windows_hold_the_value() {
        assert_eq!(window_bits(100, 4), 16);
        assert_eq!(window_bits(65_520, 4), 16);
        assert_eq!(window_bits(65_521, 4), 18);
        assert_eq!(window_bits(100, 5), 18);
        assert_eq!(window_bits(300_000, 4), 19);
        assert_eq!(window_bits(VALUE_BYTES_MAX, 4), 22);
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..300), plain_len in 0usize..5_000) {
            if let Ok(plain) = decompress(&payload, plain_len, None) {
                prop_assert_eq!(plain.len(), plain_len);
            }
        }

        #[test]
        fn a_damaged_payload_never_panics(bit in 0usize..400, quality in 0u32..6) {
            let plain = repetitive(700);
            let mut payload = compress(&plain, &brotli(quality), None).payload.into_owned();
            let bit = bit % (payload.len() * 8);
            payload[bit / 8] ^= 1 << (bit % 8);
            let _ = decompress(&payload, plain.len(), None);
        }

        #[test]
        fn round_trip_with_a_dictionary(
            pieces in proptest::collection::vec((0usize..600, 0usize..80, proptest::collection::vec(0u8..6, 0..20)), 0..60),
            text in proptest::collection::vec(0u8..6, 0..600),
            quality in 0u32..12,
        ) {
            let encoder = Encoder::learn(3, text.chunks(100), text.chunks(70)).unwrap();
            // of pieces of the text, its end included, and others
            let mut plain = Vec::new();
            for (from, length, other) in pieces {
                plain.extend(text.iter().skip(from).take(length));
                plain.extend(other);
            }
            let encoded = compress(&plain, &brotli(quality), Some(&encoder));
            let used = encoded.dictionary.map(|_| &encoder.dictionary);
            match encoded.codec {
                Codec::Plain => prop_assert_eq!(&*encoded.payload, &plain),
                Codec::Brotli => prop_assert_eq!(decompress(&encoded.payload, plain.len(), used).unwrap(), plain),
            }
        }

        #[test]
        fn no_payload_panics_with_a_dictionary(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            text in proptest::collection::vec(any::<u8>(), 0..300),
            plain_len in 0usize..5_000,
        ) {
            let learned = Encoder::learn(3, text.chunks(100), text.chunks(70)).unwrap().dictionary;
            let without_codes = Dictionary { lengths: None, ..learned.clone() };
            for dictionary in [learned, without_codes] {
                if let Ok(plain) = decompress(&payload, plain_len, Some(&dictionary)) {
                    prop_assert_eq!(plain.len(), plain_len);
                }
            }
        }

        #[test]
        fn round_trip(plain in proptest::collection::vec(0u8..6, 0..3_000), quality in 0u32..10) {
            let encoded = compress(&plain, &brotli(quality), None);
            prop_assert!(encoded.payload.len() <= plain.len());
            match encoded.codec {
                Codec::Plain => prop_assert_eq!(&*encoded.payload, &plain),
                Codec::Brotli => prop_assert_eq!(decompress(&encoded.payload, plain.len(), None).unwrap(), plain),
            }
        }
    }
}
