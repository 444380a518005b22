//! Dictionaries: what the records of a store have in common, stored once for all of them.
//!
//! Brotli removes repetitions within a value, and a small value repeats little. With a dictionary, encoder and decoder
//! act as if another text preceded each value. That text consists of pieces of other records; which ones, and how many,
//! matters little: with 8 KB instead of 4 KB, records of 166 B and of 1 KB become 1 % smaller. A dictionary also has the
//! [prefix codes](codes) of its records.
//!
//! # The row of a dictionary in LMDB
//!
//! | offset | size | meaning                                                          |
//! |-------:|-----:|------------------------------------------------------------------|
//! |      0 |    1 | format: 2                                                        |
//! |      1 |    8 | checksum: XXH3-64 of what follows, seeded with that of the row's key |
//! |      9 |  512 | lengths of the codes                                             |
//! |    521 | rest | the text                                                         |
//!
//! The checksum is verified at every use, because a record's own checksum does not cover the dictionary.
//!
//! Format 1 has no codes. Its records are whole Brotli streams, which the crate's decoder reads.

pub mod codes;
pub mod decode;
pub mod encode;

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Damage;
use codes::Lengths;

/// The most bytes of a dictionary.
pub const TEXT_BYTES_MAX: usize = 4096;
/// The most bytes that one record contributes to a dictionary, so that it has pieces of several.
const PIECE_BYTES_MAX: usize = TEXT_BYTES_MAX / 8;
/// Longer values repeat enough of their own.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

const FORMAT: u8 = 2;
const FORMAT_WITHOUT_CODES: u8 = 1;
const BODY_AT: usize = 9;

/// A text with which values are compressed, and its id in records. Never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictionary<'t> {
    pub id: u32,
    pub text: Cow<'t, [u8]>,
    /// The codes of records; `None` in the first format.
    pub lengths: Option<Lengths<'t>>,
}

impl<'t> Dictionary<'t> {
    /// Without codes, and with a text of pieces of some records' values; the last of them are the cheapest to refer to.
    pub fn of_text<'v>(id: u32, values: impl Iterator<Item = &'v [u8]>) -> Dictionary<'static> {
        let mut text = Vec::with_capacity(TEXT_BYTES_MAX);
        for value in values {
            let room = TEXT_BYTES_MAX - text.len();
            text.extend_from_slice(&value[..value.len().min(PIECE_BYTES_MAX).min(room)]);
        }
        Dictionary { id, text: Cow::Owned(text), lengths: None }
    }

    /// Whether a value can be compressed with a dictionary, and benefits from it.
    pub fn suits(value: &[u8]) -> bool {
        value.len() <= VALUE_BYTES_MAX
    }

    /// The row that is to be stored under `key`.
    pub fn row(&self, key: &[u8]) -> Vec<u8> {
        let (format, lengths) = match &self.lengths {
            Some(lengths) => (FORMAT, lengths.as_bytes()),
            None => (FORMAT_WITHOUT_CODES, &[][..]),
        };
        let body = [lengths, &self.text].concat();
        [&[format], &checksum(format, key, &body).to_be_bytes()[..], &body].concat()
    }

    /// Reads the row stored under `key`, and checks that it is whole and belongs there.
    pub fn parse(id: u32, key: &[u8], row: &'t [u8]) -> Result<Dictionary<'t>, Damage> {
        let (head, body) = row.split_at_checked(BODY_AT).ok_or(Damage::Dictionary(id))?;
        let is_sound = head[1..] == checksum(head[0], key, body).to_be_bytes();
        match head[0] {
            newer if newer > FORMAT => Err(Damage::NewerFormat(newer)),
            FORMAT if is_sound => {
                let (lengths, text) = body.split_at_checked(Lengths::BYTES).ok_or(Damage::Dictionary(id))?;
                Ok(Dictionary { id, text: Cow::Borrowed(text), lengths: Lengths::from_bytes(lengths) })
            }
            FORMAT_WITHOUT_CODES if is_sound => {
                Ok(Dictionary { id, text: Cow::Borrowed(body), lengths: None })
            }
            _ => Err(Damage::Dictionary(id)),
        }
    }

    pub fn into_owned(self) -> Dictionary<'static> {
        Dictionary {
            id: self.id,
            text: Cow::Owned(self.text.into_owned()),
            lengths: self.lengths.map(Lengths::into_owned),
        }
    }
}

/// Covers the format, too, except that of the dictionaries which had no codes.
fn checksum(format: u8, key: &[u8], body: &[u8]) -> u64 {
    let of_format = if format == FORMAT_WITHOUT_CODES { 0 } else { u64::from(format) };
    xxh3_64_with_seed(body, xxh3_64(key) ^ of_format)
}

#[cfg(test)]
mod tests;
