//! Reads a value that was written as commands. The bytes may be anything: whatever they are, the value gets the length
//! that was announced, or there is an error.

#![expect(
    clippy::disallowed_methods,
    reason = "the first bit of a Brotli stream is the lowest of its first byte"
)]

use std::cell::RefCell;
use std::rc::Rc;

use super::VALUE_BYTES_MAX;
use super::codes::{
    ALPHABETS, CODE_BITS_MAX, COMMANDS_OF_LAST_DISTANCE, COPIES, INSERTS, Lengths, RECENT, RECENT_AT_FIRST,
};
use crate::record::Damage;

/// Codes of up to so many bits are read with one look into a table.
const DIRECT_BITS: usize = 9;
/// How many decoders each thread keeps, of about 6 KB each. Making one takes several µs, and a pipeline may go to and fro
/// between stores.
const KEPT_PER_THREAD: usize = 16;

/// The first insert and copy code of each group of 64 commands.
const GROUPS: [(usize, usize); 11] =
    [(0, 0), (0, 8), (0, 0), (0, 8), (8, 0), (8, 8), (0, 16), (16, 0), (8, 16), (16, 8), (16, 16)];

/// The codes of a dictionary, prepared for decompression.
pub struct Decoder {
    literals: Symbols,
    commands: Symbols,
    distances: Symbols,
}

impl Decoder {
    /// `None` if there are no codes with these lengths.
    pub fn new(lengths: &Lengths<'_>) -> Option<Decoder> {
        let lengths = lengths.unpacked();
        let [literals, commands, distances] = ALPHABETS.map(|alphabet| Symbols::new(&lengths[alphabet]));
        Some(Decoder { literals: literals?, commands: commands?, distances: distances? })
    }

    /// The decoder of a dictionary, which this thread may have kept. `None` as for [`new`](Decoder::new).
    pub fn of(lengths: &Lengths<'_>) -> Option<Rc<Decoder>> {
        thread_local! {
            /// The most recently used one is the last.
            static KEPT: RefCell<Vec<(Lengths<'static>, Rc<Decoder>)>> = const { RefCell::new(Vec::new()) };
        }
        KEPT.with_borrow_mut(|kept| {
            if let Some(at) = kept.iter().rposition(|(of, _)| of == lengths) {
                kept[at..].rotate_left(1);
            } else {
                let decoder = Rc::new(Decoder::new(lengths)?);
                if kept.len() == KEPT_PER_THREAD {
                    kept.remove(0);
                }
                kept.push((lengths.clone().into_owned(), decoder));
            }
            kept.last().map(|(_, decoder)| decoder.clone())
        })
    }

    /// The value of so many bytes; `text` is that of the dictionary.
    pub fn decode(&self, payload: &[u8], plain_len: usize, text: &[u8]) -> Result<Vec<u8>, Damage> {
        if plain_len > VALUE_BYTES_MAX {
            return Err(Damage::Brotli("is longer than a value with a dictionary"));
        }
        let mut plain = Vec::with_capacity(plain_len);
        let mut bits = BitReader { bytes: payload, next: 0, held: 0, held_bits: 0 };
        let mut recent = RECENT_AT_FIRST;
        while plain.len() < plain_len {
            bits.fill();
            let command = self.commands.read(&mut bits);
            let (insert, copy) = GROUPS[command >> 6];
            let (inserted, more) = INSERTS[insert + (command >> 3 & 7)];
            let inserted = (inserted + bits.take(more)) as usize;
            bits.fill();
            let (copied, more) = COPIES[copy + (command & 7)];
            let copied = (copied + bits.take(more)) as usize;
            if inserted > plain_len - plain.len() {
                return Err(Damage::Brotli("is longer than announced"));
            }
            for _ in 0..inserted {
                bits.fill_for_code();
                plain.push(self.literals.read(&mut bits) as u8);
            }
            if plain.len() == plain_len {
                break;
            }
            if command >= COMMANDS_OF_LAST_DISTANCE {
                bits.fill();
                let symbol = self.distances.read(&mut bits);
                let distance = match RECENT.get(symbol) {
                    Some((which, more)) => recent[*which] + more,
                    None => {
                        let symbol = (symbol - RECENT.len()) as u32;
                        let more = 1 + symbol / 2;
                        (((2 + symbol % 2) << more) - 3 + bits.take(more)) as i32
                    }
                };
                if symbol != 0 {
                    recent.rotate_right(1);
                    recent[0] = distance;
                }
            }
            if copied > plain_len - plain.len() {
                return Err(Damage::Brotli("is longer than announced"));
            }
            copy_match(&mut plain, text, recent[0], copied).ok_or(Damage::Brotli("is not valid Brotli"))?;
        }
        match bits.bytes_used().cmp(&payload.len()) {
            std::cmp::Ordering::Equal if bits.rest_of_byte() == 0 => Ok(plain),
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => {
                Err(Damage::Brotli("is followed by something else"))
            }
            std::cmp::Ordering::Greater => Err(Damage::Brotli("ends early")),
        }
    }
}

/// Appends what is so far back, in the value or, before its start, in the text. `None` if nothing is there.
fn copy_match(plain: &mut Vec<u8>, text: &[u8], distance: i32, copied: usize) -> Option<()> {
    let distance = usize::try_from(distance).ok().filter(|distance| *distance > 0)?;
    let Some(from) = plain.len().checked_sub(distance) else {
        let from = (text.len() + plain.len()).checked_sub(distance)?;
        plain.extend_from_slice(text.get(from..from + copied)?);
        return Some(());
    };
    // a match may overlap itself
    let mut left = copied;
    while left > 0 {
        let some = left.min(plain.len() - from);
        plain.extend_from_within(from..from + some);
        left -= some;
    }
    Some(())
}

/// The code of one alphabet.
struct Symbols {
    /// For the next bits, the symbol and below it the four bits of its length; 0 if the code is longer.
    direct: [u16; 1 << DIRECT_BITS],
    /// The symbols in the order of their codes.
    in_order: Vec<u16>,
    /// For each length, the first code that is longer, as if it had all bits.
    ends: [u32; CODE_BITS_MAX + 1],
    /// For each length, the place in `in_order` of the code 0 of that length, were there one.
    places: [u32; CODE_BITS_MAX + 1],
}

impl Symbols {
    fn new(lengths: &[u8]) -> Option<Symbols> {
        let mut counts = [0_u32; CODE_BITS_MAX + 1];
        lengths.iter().for_each(|length| counts[usize::from(length & 15)] += 1);
        let (mut ends, mut places, mut firsts) = ([0; CODE_BITS_MAX + 1], [0; CODE_BITS_MAX + 1], [0; 16]);
        let (mut code, mut place) = (0_u32, 0_u32);
        for length in 1..=CODE_BITS_MAX {
            code <<= 1;
            firsts[length] = place;
            places[length] = place.wrapping_sub(code);
            code += counts[length];
            place += counts[length];
            ends[length] = code << (CODE_BITS_MAX - length);
        }
        // every sequence of bits has to mean something, and one thing only
        if code != 1 << CODE_BITS_MAX || counts[0] > 0 {
            return None;
        }
        let mut symbols =
            Symbols { direct: [0; 1 << DIRECT_BITS], in_order: vec![0; lengths.len()], ends, places };
        for (symbol, length) in lengths.iter().enumerate() {
            let length = usize::from(*length);
            let place = firsts[length];
            firsts[length] += 1;
            symbols.in_order[place as usize] = symbol as u16;
            if length <= DIRECT_BITS {
                let code = place.wrapping_sub(places[length]);
                let first = (code.reverse_bits() >> (32 - length)) as usize;
                let entries = symbols.direct[first..].iter_mut().step_by(1 << length);
                entries.for_each(|entry| *entry = (symbol << 4 | length) as u16);
            }
        }
        Some(symbols)
    }

    /// Needs [`CODE_BITS_MAX`] bits.
    fn read(&self, bits: &mut BitReader<'_>) -> usize {
        let entry = self.direct[bits.held as usize & ((1 << DIRECT_BITS) - 1)];
        if entry != 0 {
            bits.skip(u32::from(entry & 15));
            return usize::from(entry >> 4);
        }
        let code = (bits.held as u32).reverse_bits() >> (32 - CODE_BITS_MAX);
        let longer = &self.ends[DIRECT_BITS + 1..CODE_BITS_MAX];
        let length = DIRECT_BITS + 1 + longer.iter().take_while(|end| code >= **end).count();
        bits.skip(length as u32);
        let place = self.places[length].wrapping_add(code >> (CODE_BITS_MAX - length));
        self.in_order.get(place as usize).map_or(0, |symbol| usize::from(*symbol))
    }
}

/// Reads bits; after the end, zeros.
struct BitReader<'p> {
    bytes: &'p [u8],
    /// The first byte of which not all bits are counted in `held_bits`.
    next: usize,
    /// The next bit is the lowest. What is above `held_bits` is zero, or what will be there.
    held: u64,
    held_bits: u32,
}

impl BitReader<'_> {
    /// Holds at least 56 bits.
    fn fill(&mut self) {
        let next = self.bytes.get(self.next..).and_then(<[u8]>::first_chunk);
        if let Some(eight) = next {
            self.held |= u64::from_le_bytes(*eight) << self.held_bits;
            self.next += (63 - self.held_bits) as usize / 8;
            self.held_bits |= 56;
            return;
        }
        while self.held_bits < 56 {
            let byte = self.bytes.get(self.next).copied().unwrap_or(0);
            self.held |= u64::from(byte) << self.held_bits;
            self.next += 1;
            self.held_bits += 8;
        }
    }

    fn fill_for_code(&mut self) {
        if self.held_bits < CODE_BITS_MAX as u32 {
            self.fill();
        }
    }

    fn skip(&mut self, count: u32) {
        self.held >>= count;
        self.held_bits -= count;
    }

    fn take(&mut self, count: u32) -> u32 {
        let taken = self.held & ((1 << count) - 1);
        self.skip(count);
        taken as u32
    }

    /// The unread bits of the byte that was last read from.
    fn rest_of_byte(&self) -> u64 {
        self.held & ((1 << (self.held_bits % 8)) - 1)
    }

    fn bytes_used(&self) -> usize {
        self.next - self.held_bits as usize / 8
    }
}
