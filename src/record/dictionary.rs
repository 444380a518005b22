//! Dictionaries: what the records of a store have in common, stored once for all of them.
//!
//! Brotli removes repetitions within a value, and a small value repeats little. With a dictionary, encoder and decoder
//! act as if another text preceded each value. That text consists of pieces of other records; which ones, and how many,
//! matters little. JSON records; ratio, and µs to compress / decompress:
//!
//! | quality, dictionary | 153 B             | 934 B             | 61 B, of many kinds |
//! |--------------------:|-------------------|-------------------|---------------------|
//! |             4, none | 1.23    22 / 5.0  | 2.82    38 / 8.0  | 0.99    17 / 3.9    |
//! |             4, 4 KB | 2.78    26 / 5.0  | 4.86    38 / 7.5  | 1.47    25 / 4.9    |
//! |             3, 1 KB | 2.77    16 / 5.0  | 4.80    25 / 7.5  | 1.28    14 / 5.0    |
//! |             3, 4 KB | 2.77    19 / 4.9  | 4.80    27 / 7.4  | 1.46    17 / 4.9    |
//! |             3, 8 KB | 2.79    23 / 4.9  | 4.77    31 / 7.4  | 1.51    21 / 5.0    |
//! |             2, 4 KB | 2.32    11 / 10   | 4.29    17 / 12   | 1.05    11 / 7.8    |
//! |             5, 4 KB | 2.92    44 / 5.1  | 5.04    62 / 7.5  | 1.56    35 / 3.5    |
//!
//! Therefore quality 3 is used where 4 is requested, and 4 KB leave room for records of several kinds.
//!
//! # The row of a dictionary in LMDB
//!
//! | offset | size | meaning                                                        |
//! |-------:|-----:|----------------------------------------------------------------|
//! |      0 |    1 | format: 1                                                      |
//! |      1 |    8 | checksum: XXH3-64 of the text, seeded with that of the row's key |
//! |      9 | rest | the text                                                       |
//!
//! The checksum is verified at every use, because a record's own checksum does not cover the dictionary.
//!
//! # The text's end
//!
//! The last byte is 0xFF, which never occurs in JSON; a value that contains it (in a store that takes any bytes) is
//! compressed without a dictionary. The reason is a defect of the crate's encoder: it cuts a match at the end of the
//! dictionary, and if one byte of it is left, writes nonsense or panics (9.1.1; `fix_unbroken_len`). No match can begin
//! at a byte that the value does not have.

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Damage;

/// The most bytes of a dictionary.
pub const TEXT_BYTES_MAX: usize = 4096;
/// The most bytes that one record contributes to a dictionary, so that it has pieces of several.
const PIECE_BYTES_MAX: usize = TEXT_BYTES_MAX / 8;
/// Longer values repeat enough of their own.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// The last byte of a text.
const END: u8 = 0xff;

const FORMAT: u8 = 1;
const TEXT_AT: usize = 9;

/// A text with which values are compressed, and its id in records. Never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictionary<'t> {
    pub id: u32,
    pub text: Cow<'t, [u8]>,
}

impl<'t> Dictionary<'t> {
    /// Made of pieces of some records' values; the last of them are the cheapest to refer to.
    pub fn of<'v>(id: u32, values: impl Iterator<Item = &'v [u8]>) -> Dictionary<'static> {
        let mut text = Vec::with_capacity(TEXT_BYTES_MAX);
        for value in values {
            let room = TEXT_BYTES_MAX - 1 - text.len();
            text.extend_from_slice(&value[..value.len().min(PIECE_BYTES_MAX).min(room)]);
        }
        text.push(END);
        Dictionary { id, text: Cow::Owned(text) }
    }

    /// Whether a value can be compressed with a dictionary, and benefits from it.
    pub fn suits(value: &[u8]) -> bool {
        value.len() <= VALUE_BYTES_MAX && !value.contains(&END)
    }

    /// The quality to use for a requested one: 3 finds what 4 does.
    pub fn quality(asked: u32) -> u32 {
        if asked == 4 { 3 } else { asked }
    }

    /// The row that is to be stored under `key`.
    pub fn row(&self, key: &[u8]) -> Vec<u8> {
        [&[FORMAT], &checksum(key, &self.text).to_be_bytes()[..], &self.text].concat()
    }

    /// Reads the row stored under `key`, and checks that it is whole and belongs there.
    pub fn parse(id: u32, key: &[u8], row: &'t [u8]) -> Result<Dictionary<'t>, Damage> {
        let (head, text) = row.split_at_checked(TEXT_AT).ok_or(Damage::Dictionary(id))?;
        match head.split_first() {
            Some((&FORMAT, stored)) if stored == checksum(key, text).to_be_bytes() => {
                Ok(Dictionary { id, text: Cow::Borrowed(text) })
            }
            Some((&format, _)) if format > FORMAT => Err(Damage::NewerFormat(format)),
            _ => Err(Damage::Dictionary(id)),
        }
    }

    pub fn into_owned(self) -> Dictionary<'static> {
        Dictionary { id: self.id, text: Cow::Owned(self.text.into_owned()) }
    }
}

fn checksum(key: &[u8], text: &[u8]) -> u64 {
    xxh3_64_with_seed(text, xxh3_64(key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_pieces_of_several_records_and_no_more_than_fits() {
        let (long, short) = (vec![b'l'; 9_000], vec![b's'; 300]);
        let values = [&long[..], &short, &long, &long, &long, &long, &long, &long, &long];
        let text = Dictionary::of(1, values.into_iter()).text;
        assert_eq!((text.len(), text.last()), (TEXT_BYTES_MAX, Some(&END)));
        assert_eq!(text.iter().filter(|byte| **byte == b's').count(), 300);
        assert_eq!(Dictionary::of(1, std::iter::empty()).text[..], [END]);
    }

    #[test]
    fn a_row_comes_back_and_every_flipped_bit_is_found() {
        let dictionary = Dictionary::of(7, [&br#"{"name":"Ada"}"#[..]].into_iter());
        let row = dictionary.row(b"key");
        assert_eq!(Dictionary::parse(7, b"key", &row), Ok(dictionary));
        assert_eq!(Dictionary::parse(7, b"yek", &row), Err(Damage::Dictionary(7)));
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Dictionary::parse(7, b"key", &flipped).is_err(), "bit {bit}");
        }
        for len in 0..row.len() {
            assert!(Dictionary::parse(7, b"key", &row[..len]).is_err(), "cut at {len}");
        }
        let newer = [&[2], &row[1..]].concat();
        assert_eq!(Dictionary::parse(7, b"key", &newer), Err(Damage::NewerFormat(2)));
    }
}
