//! Writes a value as commands: literals, and matches with the dictionary's text or with what came before in the value.
//!
//! All codes are known in advance, so it is known how many bits a match saves. Of the matches at a place, the one that
//! saves most is taken, unless one at the next place saves more. Matches are found with hash chains over four bytes. Those
//! of the text are made once; those of the value are small, and are made for each value.

#![expect(
    clippy::disallowed_methods,
    reason = "the first bit of a Brotli stream is the lowest of its first byte"
)]

use brotli::enc::command::{GetCopyLengthCode, GetInsertLengthCode};
use brotli::enc::entropy_encode::BrotliConvertBitDepthsToSymbols;

use super::codes::{
    ALPHABETS, COMMANDS_OF_LAST_DISTANCE, COPIES, Counts, INSERTS, LITERALS, RECENT, RECENT_AT_FIRST, SYMBOLS,
};
use super::decode::Decoder;
use super::{Dictionary, TEXT_BYTES_MAX, VALUE_BYTES_MAX};

/// Bits of the hash of four bytes, for the text and for the value.
const TEXT_HASH_BITS: u32 = 13;
const VALUE_HASH_BITS: u32 = 11;
/// The least length of a match that is found by its hash.
const HASHED_BYTES: usize = 4;
/// Longer matches are taken without a look at the next place.
const LONG_MATCH_BYTES: usize = 24;
/// The symbols of distances that are tried at every place.
const RECENT_TRIED: usize = 10;
/// How often codes are made anew from the commands that the previous ones led to.
const LEARNING_ROUNDS: usize = 3;

/// The distance symbol of a command that is not followed by one.
const NO_DISTANCE: usize = SYMBOLS;
const FIRST_DISTANCE: usize = ALPHABETS[2].start;

// positions are kept in 16 bits, with 0 for none
const _: () = assert!(TEXT_BYTES_MAX + VALUE_BYTES_MAX < u16::MAX as usize);

/// A dictionary, prepared for compression.
pub struct Encoder {
    pub dictionary: Dictionary<'static>,
    codes: Box<[Code; SYMBOLS]>,
    decoder: Decoder,
    /// The last position in the text with each hash, and for each position the one before it with the same hash.
    heads: Vec<u16>,
    chain: Vec<u16>,
}

#[derive(Clone, Copy, Default)]
struct Code {
    /// The first bit is the lowest.
    bits: u16,
    length: u8,
}

/// Some literals, then a match.
struct Command {
    inserted: usize,
    /// 0 at the end of a value that ends in literals.
    copied: usize,
    symbol: usize,
    distance_symbol: usize,
    distance_extra: Extra,
}

/// Bits that follow a code.
#[derive(Clone, Copy, Default)]
struct Extra {
    bits: u32,
    length: u32,
}

/// A match, by how many bits it saves.
#[derive(Clone, Copy, Default)]
struct Match {
    saved_bits: i32,
    length: usize,
    distance: usize,
    /// Among [`RECENT`], or none.
    recent: Option<usize>,
}

impl Encoder {
    /// `None` if the dictionary has no codes, or impossible ones.
    pub fn new(dictionary: Dictionary<'static>) -> Option<Encoder> {
        let lengths = dictionary.lengths.as_ref()?;
        let decoder = Decoder::new(lengths)?;
        let lengths = lengths.unpacked();
        let mut bits = [0; SYMBOLS];
        for alphabet in ALPHABETS {
            let (lengths, bits) = (&lengths[alphabet.clone()], &mut bits[alphabet]);
            BrotliConvertBitDepthsToSymbols(lengths, lengths.len(), bits);
        }
        let mut codes = Box::new([Code::default(); SYMBOLS]);
        for (code, (bits, length)) in codes.iter_mut().zip(bits.into_iter().zip(lengths)) {
            *code = Code { bits, length };
        }
        let text = &dictionary.text[..dictionary.text.len().min(TEXT_BYTES_MAX)];
        let mut heads = vec![0; 1 << TEXT_HASH_BITS];
        let mut chain = vec![0; text.len()];
        for (at, bytes) in text.windows(HASHED_BYTES).enumerate() {
            let head = &mut heads[hash(bytes, TEXT_HASH_BITS)];
            chain[at] = std::mem::replace(head, at as u16 + 1);
        }
        Some(Encoder { dictionary, codes, decoder, heads, chain })
    }

    /// Learns a dictionary: a text of pieces of some values, and codes from how other values are written with it. Values
    /// that occur in both are fine, but tell less.
    pub fn learn<'v>(
        id: u32,
        of_text: impl Iterator<Item = &'v [u8]>,
        of_codes: impl Iterator<Item = &'v [u8]> + Clone,
    ) -> Option<Encoder> {
        let lengths = Some(Counts::assumed().lengths());
        let mut encoder = Encoder::new(Dictionary { lengths, ..Dictionary::of_text(id, of_text) })?;
        for _ in 0..LEARNING_ROUNDS {
            let mut counts = Counts::assumed();
            for value in of_codes.clone() {
                encoder.count(&value[..value.len().min(TEXT_BYTES_MAX)], &mut counts);
            }
            encoder = Encoder::new(Dictionary { lengths: Some(counts.lengths()), ..encoder.dictionary })?;
        }
        Some(encoder)
    }

    /// Appends the commands of a value of up to [`VALUE_BYTES_MAX`] bytes to `out`; `effort` is how many earlier places
    /// with the same four bytes are looked at. Returns whether they decompress to the value.
    pub fn encode(&self, value: &[u8], effort: usize, out: &mut Vec<u8>) -> bool {
        assert!(value.len() <= VALUE_BYTES_MAX);
        let start = out.len();
        let mut bits = BitWriter { out, pending: 0, pending_bits: 0 };
        let mut rest = value;
        for command in Parser::new(self, value, effort).commands() {
            let inserted = INSERTS[insert_code(command.inserted)];
            bits.put_code(self.codes[LITERALS + command.symbol]);
            bits.put(command.inserted as u32 - inserted.0, inserted.1);
            if command.copied > 0 {
                let copied = COPIES[copy_code(command.copied)];
                bits.put(command.copied as u32 - copied.0, copied.1);
            }
            let literals;
            (literals, rest) = rest.split_at(command.inserted);
            literals.iter().for_each(|byte| bits.put_code(self.codes[usize::from(*byte)]));
            if command.distance_symbol != NO_DISTANCE {
                bits.put_code(self.codes[FIRST_DISTANCE + command.distance_symbol]);
                bits.put(command.distance_extra.bits, command.distance_extra.length);
            }
            rest = &rest[command.copied..];
        }
        bits.finish();
        let decoded = self.decoder.decode(&out[start..], value.len(), &self.dictionary.text);
        decoded.is_ok_and(|decoded| decoded == value)
    }

    fn count(&self, value: &[u8], counts: &mut Counts) {
        const EFFORT: usize = 8;
        let mut rest = value;
        for command in Parser::new(self, value, EFFORT).commands() {
            counts.note(LITERALS + command.symbol);
            let literals;
            (literals, rest) = rest.split_at(command.inserted);
            literals.iter().for_each(|byte| counts.note(usize::from(*byte)));
            if command.distance_symbol != NO_DISTANCE {
                counts.note(FIRST_DISTANCE + command.distance_symbol);
            }
            rest = &rest[command.copied..];
        }
    }

    fn command_bits(&self, symbol: usize) -> i32 {
        i32::from(self.codes[LITERALS + symbol].length)
    }

    fn distance_bits(&self, symbol: usize) -> i32 {
        i32::from(self.codes[FIRST_DISTANCE + symbol].length)
    }
}

/// Divides one value into commands. Positions count from the start of the text; the value follows it.
struct Parser<'a> {
    encoder: &'a Encoder,
    /// The text, then the value.
    window: Vec<u8>,
    text_bytes: usize,
    effort: usize,
    /// As in the encoder, for the value.
    heads: [u16; 1 << VALUE_HASH_BITS],
    chain: Vec<u16>,
    /// The bits that the literals before each place of the value take.
    literal_bits: Vec<u32>,
    /// The last four distances, most recent first.
    recent: [i32; 4],
    /// What the first distance symbols stand for now.
    near: [usize; RECENT_TRIED],
}

impl<'a> Parser<'a> {
    fn new(encoder: &'a Encoder, value: &[u8], effort: usize) -> Parser<'a> {
        let mut literal_bits = Vec::with_capacity(value.len() + 1);
        let mut sum = 0;
        literal_bits.push(sum);
        literal_bits.extend(value.iter().map(|byte| {
            sum += u32::from(encoder.codes[usize::from(*byte)].length);
            sum
        }));
        let text = &encoder.dictionary.text[..encoder.chain.len()];
        Parser {
            encoder,
            window: [text, value].concat(),
            text_bytes: text.len(),
            effort,
            heads: [0; 1 << VALUE_HASH_BITS],
            chain: vec![0; value.len()],
            literal_bits,
            recent: RECENT_AT_FIRST,
            near: near(&RECENT_AT_FIRST),
        }
    }

    fn commands(mut self) -> Vec<Command> {
        let value_bytes = self.window.len() - self.text_bytes;
        let mut commands = Vec::with_capacity(value_bytes / 8);
        let (mut at, mut written) = (0, 0);
        while at < value_bytes {
            let mut found = self.best_match(at, at - written);
            self.note(at);
            while found.saved_bits > 0 && found.length < LONG_MATCH_BYTES {
                let later = self.best_match(at + 1, at + 1 - written);
                if later.saved_bits <= found.saved_bits {
                    break;
                }
                found = later;
                at += 1;
                self.note(at);
            }
            if found.saved_bits <= 0 {
                at += 1;
                continue;
            }
            commands.push(self.command(at - written, found));
            (at + 1..at + found.length).for_each(|at| self.note(at));
            at += found.length;
            written = at;
        }
        if written < at {
            commands.push(self.last_command(at - written));
        }
        commands
    }

    /// The match at a place of the value that saves most.
    fn best_match(&self, at: usize, inserted: usize) -> Match {
        let mut best = Match::default();
        let (place, insert) = (self.text_bytes + at, insert_code(inserted));
        let rest = &self.window[place..];
        let Some(two) = rest.first_chunk::<2>() else { return best };
        for (symbol, distance) in self.near.iter().enumerate() {
            let Some(from) = place.checked_sub(*distance) else { continue };
            if self.window[from..].first_chunk() != Some(two) {
                continue;
            }
            let length = self.common_length(from, rest);
            // the second byte may be behind the text's end
            if length < 2 {
                continue;
            }
            let saved_bits =
                self.saved_bits(at, insert, length, symbol == 0, self.encoder.distance_bits(symbol));
            if saved_bits > best.saved_bits {
                best = Match { saved_bits, length, distance: *distance, recent: Some(symbol) };
            }
        }
        if rest.len() < HASHED_BYTES {
            return best;
        }
        let mut consider = |from: usize| {
            // a longer match has to be equal where the best one ends
            if self.window.get(from + best.length) != rest.get(best.length) {
                return;
            }
            let length = self.common_length(from, rest);
            if length < HASHED_BYTES {
                return;
            }
            let distance = place - from;
            let (symbol, extra) = distance_symbol(distance);
            let distance_bits = self.encoder.distance_bits(symbol) + extra.length as i32;
            let saved_bits = self.saved_bits(at, insert, length, false, distance_bits);
            if saved_bits > best.saved_bits {
                best = Match { saved_bits, length, distance, recent: None };
            }
        };
        let mut link = self.heads[hash(rest, VALUE_HASH_BITS)];
        for _ in 0..self.effort {
            let Some(from) = usize::from(link).checked_sub(1) else { break };
            consider(self.text_bytes + from);
            link = self.chain[from];
        }
        let mut link = self.encoder.heads[hash(rest, TEXT_HASH_BITS)];
        for _ in 0..self.effort {
            let Some(from) = usize::from(link).checked_sub(1) else { break };
            consider(from);
            link = self.encoder.chain[from];
        }
        best
    }

    /// How much of the rest of the value is at a position, too. A match ends where the text ends.
    fn common_length(&self, from: usize, rest: &[u8]) -> usize {
        let end = if from < self.text_bytes { self.text_bytes } else { self.window.len() };
        common_length(&self.window[from..end], rest)
    }

    fn saved_bits(&self, at: usize, insert: usize, length: usize, is_last: bool, distance_bits: i32) -> i32 {
        let copy = copy_code(length);
        let symbol = command_symbol(insert, copy, is_last);
        let distance_bits = if symbol < COMMANDS_OF_LAST_DISTANCE { 0 } else { distance_bits };
        let literal_bits = self.literal_bits[at + length] - self.literal_bits[at];
        literal_bits as i32 - self.encoder.command_bits(symbol) - COPIES[copy].1 as i32 - distance_bits
    }

    /// Makes a place of the value known as the start of matches.
    fn note(&mut self, at: usize) {
        let place = self.text_bytes + at;
        if let Some(bytes) = self.window.get(place..place + HASHED_BYTES) {
            let head = &mut self.heads[hash(bytes, VALUE_HASH_BITS)];
            self.chain[at] = std::mem::replace(head, at as u16 + 1);
        }
    }

    fn command(&mut self, inserted: usize, found: Match) -> Command {
        let (insert, copy) = (insert_code(inserted), copy_code(found.length));
        let symbol = command_symbol(insert, copy, found.recent == Some(0));
        let (distance_symbol, distance_extra) = match found.recent {
            _ if symbol < COMMANDS_OF_LAST_DISTANCE => (NO_DISTANCE, Extra::default()),
            Some(recent) => (recent, Extra::default()),
            None => distance_symbol(found.distance),
        };
        if found.recent != Some(0) {
            self.recent.rotate_right(1);
            self.recent[0] = found.distance as i32;
            self.near = near(&self.recent);
        }
        Command { inserted, copied: found.length, symbol, distance_symbol, distance_extra }
    }

    /// The literals at the end, with a match that is not carried out: the one that is cheapest to write.
    fn last_command(&self, inserted: usize) -> Command {
        let insert = insert_code(inserted);
        let without_extra = (0..8).flat_map(|copy| [true, false].map(|is_last| (copy, is_last)));
        let symbols = without_extra.map(|(copy, is_last)| command_symbol(insert, copy, is_last));
        let symbol = symbols.min_by_key(|symbol| self.encoder.command_bits(*symbol)).unwrap_or_default();
        Command {
            inserted,
            copied: 0,
            symbol,
            distance_symbol: NO_DISTANCE,
            distance_extra: Extra::default(),
        }
    }
}

/// The distances that the first symbols stand for, after these.
fn near(recent: &[i32; 4]) -> [usize; RECENT_TRIED] {
    std::array::from_fn(|symbol| {
        let (which, more) = RECENT[symbol];
        // there is nothing at a distance that is not positive
        usize::try_from(recent[which] + more).ok().filter(|distance| *distance > 0).unwrap_or(usize::MAX)
    })
}

fn hash(bytes: &[u8], bits: u32) -> usize {
    let four = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    (four.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

/// How many bytes two slices have in common at their start.
fn common_length(one: &[u8], other: &[u8]) -> usize {
    let eight = |chunk: &[u8; 8]| u64::from_le_bytes(*chunk);
    let (ones, others) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    let mut length = 0;
    for (one, other) in ones.iter().zip(others) {
        let differing = eight(one) ^ eight(other);
        if differing != 0 {
            return length + differing.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = one[length..].iter().zip(&other[length..]);
    length + rest.take_while(|(one, other)| one == other).count()
}

fn insert_code(inserted: usize) -> usize {
    usize::from(GetInsertLengthCode(inserted))
}

fn copy_code(copied: usize) -> usize {
    usize::from(GetCopyLengthCode(copied))
}

/// The command with these codes; of two that there may be, the one that repeats the last distance if `is_last`.
fn command_symbol(insert: usize, copy: usize, is_last: bool) -> usize {
    const GROUPS: [[usize; 3]; 3] = [[2, 3, 6], [4, 5, 8], [7, 9, 10]];
    let is_short = is_last && insert < 8 && copy < 16;
    let group = if is_short { copy >> 3 } else { GROUPS[insert >> 3][copy >> 3] };
    group << 6 | (insert & 7) << 3 | copy & 7
}

/// The symbol of a distance that is none of the recent ones.
fn distance_symbol(distance: usize) -> (usize, Extra) {
    let offset = distance as u32 + 3;
    let length = offset.ilog2() - 1;
    let half = offset >> length & 1;
    let symbol = RECENT.len() + 2 * (length as usize - 1) + half as usize;
    (symbol, Extra { bits: offset & ((1 << length) - 1), length })
}

struct BitWriter<'o> {
    out: &'o mut Vec<u8>,
    /// The first bit is the lowest.
    pending: u64,
    /// Below 32.
    pending_bits: u32,
}

impl BitWriter<'_> {
    fn put_code(&mut self, code: Code) {
        self.put(code.bits.into(), code.length.into());
    }

    fn put(&mut self, bits: u32, length: u32) {
        self.pending |= u64::from(bits) << self.pending_bits;
        self.pending_bits += length;
        if self.pending_bits >= 32 {
            self.out.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.pending_bits -= 32;
        }
    }

    fn finish(self) {
        let bytes = self.pending_bits.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.pending.to_le_bytes()[..bytes]);
    }
}
