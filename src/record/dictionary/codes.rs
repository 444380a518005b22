//! Prefix codes that all records of a store share: most of Brotli for a small value is what precedes the value.
//!
//! A Brotli stream begins with prefix codes for literals, commands and distances. They hardly differ between the records
//! of a store, but they are up to half of the stream of a small record. A [dictionary](super) therefore has
//! codes, too, that were made from other records of its store. A record that was compressed with it consists of what
//! follows the codes: the commands of one meta-block.
//!
//! Encoder and decoder for these commands are [`super::encode`] and [`super::decode`]. The crate can't write streams with given codes;
//! it clears its tables for each value, and reads the codes again for each stream. JSON records with a dictionary of
//! 4 KB; bytes, and µs to compress / decompress, where the shared codes include a decompression that verifies:
//!
//! | with                     | 149 B            | 932 B            | 15,244 B           |
//! |--------------------------|------------------|------------------|--------------------|
//! | the crate, at quality 3  |  55    17 / 3.3  | 197    24 / 7.5  | 2,520    133 / 70  |
//! | the crate, at quality 11 |  51   750 / 4.3  | 181 1,480 / 7.8  | 2,092 19,000 / 70  |
//! | shared codes             |  28   2.0 / 0.3  | 144    12 / 1.5  | 2,367    217 / 22  |
//!
//! # The stream of a record
//!
//! A record's bytes are the end of this Brotli stream (RFC 7932), from the first bit after the codes on. A Brotli
//! decoder that is given the dictionary's text as a raw dictionary (RFC 9841) decompresses it; the tests do that.
//!
//! | bits | value | meaning                                                                              |
//! |-----:|------:|--------------------------------------------------------------------------------------|
//! |    1 |     0 | window of 64 KB                                                                      |
//! |    2 |  1, 0 | the last meta-block, and not empty                                                   |
//! |    2 |     0 | the length has 16 bits                                                               |
//! |   16 |       | length of the value, less 1                                                          |
//! |    3 |     0 | one type of blocks for literals, commands, and distances                             |
//! |    6 |     0 | distances without postfix, and none that are direct                                  |
//! |    2 |     0 | context mode, of no effect                                                           |
//! |    2 |     0 | one code for literals, one for distances                                             |
//! |      |       | the codes for literals, commands and distances, of [`Lengths`]                       |
//!
//! Every symbol has a code, also one that no record had, so every value can be written. Matches do not reach beyond the
//! end of the dictionary's text, and references to the words that are built into Brotli are not used.

use std::borrow::Cow;

use brotli::enc::entropy_encode::{BrotliCreateHuffmanTree, HuffmanTree};

pub(super) const LITERALS: usize = 256;
pub(super) const COMMANDS: usize = 704;
pub(super) const DISTANCES: usize = 64;
/// Where the symbols of each alphabet are among all symbols.
pub(super) const ALPHABETS: [std::ops::Range<usize>; 3] =
    [0..LITERALS, LITERALS..LITERALS + COMMANDS, LITERALS + COMMANDS..SYMBOLS];
pub(super) const SYMBOLS: usize = LITERALS + COMMANDS + DISTANCES;

/// The most bits of a code.
pub(super) const CODE_BITS_MAX: usize = 15;

/// The distances that the first 16 distance symbols stand for: one of the last four, most recent first, and what to add.
pub(super) const RECENT: [(usize, i32); 16] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (0, -1),
    (0, 1),
    (0, -2),
    (0, 2),
    (0, -3),
    (0, 3),
    (1, -1),
    (1, 1),
    (1, -2),
    (1, 2),
    (1, -3),
    (1, 3),
];
/// The last four distances before the first command.
pub(super) const RECENT_AT_FIRST: [i32; 4] = [4, 11, 15, 16];
/// Commands below this repeat the last distance, and are followed by none.
pub(super) const COMMANDS_OF_LAST_DISTANCE: usize = 128;

/// The number of literals of each insert code: the least, and how many bits say how many more.
pub(super) const INSERTS: [(u32, u32); 24] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 1),
    (8, 1),
    (10, 2),
    (14, 2),
    (18, 3),
    (26, 3),
    (34, 4),
    (50, 4),
    (66, 5),
    (98, 5),
    (130, 6),
    (194, 7),
    (322, 8),
    (578, 9),
    (1090, 10),
    (2114, 12),
    (6210, 14),
    (22594, 24),
];
/// The length of the match of each copy code, in the same way.
pub(super) const COPIES: [(u32, u32); 24] = [
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 1),
    (12, 1),
    (14, 2),
    (18, 2),
    (22, 3),
    (30, 3),
    (38, 4),
    (54, 4),
    (70, 5),
    (102, 5),
    (134, 6),
    (198, 7),
    (326, 8),
    (582, 9),
    (1094, 10),
    (2118, 24),
];

/// How long the code of each symbol is, which determines the codes: four bits for each of the literals, commands and
/// distances, in this order. Not verified: [`super::decode::Decoder::new`] does that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lengths<'t>(Cow<'t, [u8]>);

impl<'t> Lengths<'t> {
    /// Bytes of the stored form.
    pub const BYTES: usize = SYMBOLS / 2;

    /// From the stored form; `None` if it has another length.
    pub fn from_bytes(bytes: &'t [u8]) -> Option<Lengths<'t>> {
        (bytes.len() == Self::BYTES).then_some(Lengths(Cow::Borrowed(bytes)))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_owned(self) -> Lengths<'static> {
        Lengths(Cow::Owned(self.0.into_owned()))
    }

    /// The length of each symbol's code.
    pub(super) fn unpacked(&self) -> [u8; SYMBOLS] {
        let mut lengths = [0; SYMBOLS];
        for (pair, byte) in lengths.chunks_exact_mut(2).zip(&*self.0) {
            pair.copy_from_slice(&[byte >> 4, byte & 15]);
        }
        lengths
    }
}

/// How often each symbol occurs.
pub(super) struct Counts([u32; SYMBOLS]);

impl Counts {
    /// How much more an occurrence counts than what is assumed of records that nobody has seen.
    const SEEN: u32 = 16;

    /// What is assumed before any record was seen: everything may occur, and text more likely than other bytes.
    pub(super) fn assumed() -> Counts {
        let mut counts = [1; SYMBOLS];
        (b' '..=b'~').for_each(|byte| counts[usize::from(byte)] += 1);
        (b'a'..=b'z').for_each(|byte| counts[usize::from(byte)] += 2);
        (b'0'..=b'9').for_each(|byte| counts[usize::from(byte)] += 3);
        Counts(counts)
    }

    pub(super) fn note(&mut self, symbol: usize) {
        self.0[symbol] += Self::SEEN;
    }

    /// The codes that make these occurrences shortest.
    pub(super) fn lengths(&self) -> Lengths<'static> {
        let mut tree = [HuffmanTree::new(0, 0, 0); 2 * COMMANDS + 1];
        let mut lengths = [0; SYMBOLS];
        for alphabet in ALPHABETS {
            let (counts, depths) = (&self.0[alphabet.clone()], &mut lengths[alphabet]);
            BrotliCreateHuffmanTree(counts, counts.len(), CODE_BITS_MAX as i32, &mut tree, depths);
        }
        Lengths(lengths.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    }
}
