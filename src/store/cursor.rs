//! SCAN cursors: a number for the client, a position for us.
//!
//! A position is a key of any length, but a cursor is a number: clients parse it as one, some of them as a double. A
//! cursor therefore stays below 2^53 and has two parts:
//!
//! ```text
//! bit 52         32 31                            0
//!     [  ticket    ][  piece                      ]
//! ```
//!
//! The *ticket* identifies an entry of a ring that holds the last [`REMEMBERED`] positions in full. The *piece* is the
//! first four bytes of the position after the pattern's literal prefix. If the ring has lost the entry (because of a
//! restart, or of very many scans at once), the scan continues at prefix and piece.
//!
//! The guarantee: a key that is in the store from the start of a scan to its end is returned at least once, and exactly
//! once as long as the ring remembers the position. A lost ticket may repeat keys that share prefix and piece with the
//! position; it never misses one. The ring is the only memory, however many scans are begun and abandoned.

use bytes::Bytes;
use parking_lot::Mutex;

use super::Generation;

/// Positions that are remembered.
pub const REMEMBERED: usize = 16_384;
const TICKET_BITS: u32 = 21;
const PIECE_BITS: u32 = 32;

const _: () = assert!(TICKET_BITS + PIECE_BITS <= 53);
const _: () = assert!(REMEMBERED < 1 << TICKET_BITS);

/// Where a scan continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    Start,
    /// After this key.
    After(Bytes),
    /// At this key or the first one after it.
    At(Bytes),
}

/// Whether a cursor may hold a piece of its position. Without it, a scan whose ticket is lost begins again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    Shown,
    Hidden,
}

/// The positions of running scans.
pub struct Cursors {
    ring: Mutex<Ring>,
}

struct Ring {
    entries: Vec<Option<Entry>>,
    tickets: u64,
}

struct Entry {
    ticket: u64,
    generation: Generation,
    key: Bytes,
    piece: Piece,
}

impl Default for Cursors {
    fn default() -> Cursors {
        Cursors { ring: Mutex::new(Ring { entries: Vec::new(), tickets: 0 }) }
    }
}

impl Cursors {
    /// The cursor of a scan that looked at keys up to `key`, with a pattern of that literal prefix.
    pub fn remember(&self, generation: Generation, prefix: &[u8], key: Bytes, piece: Piece) -> u64 {
        let shown = piece_of(prefix, &key, piece);
        let mut ring = self.ring.lock();
        // a cursor of 0 would mean the end
        ring.tickets += 1;
        if ticket_of(ring.tickets) == 0 {
            ring.tickets += 1;
        }
        let ticket = ring.tickets;
        let slot = (ticket as usize) % REMEMBERED;
        if ring.entries.len() <= slot {
            ring.entries.resize_with(slot + 1, || None);
        }
        ring.entries[slot] = Some(Entry { ticket, generation, key, piece });
        ticket_of(ticket) << PIECE_BITS | shown
    }

    /// Where the scan of a cursor continues.
    pub fn recall(&self, generation: Generation, prefix: &[u8], cursor: u64) -> Position {
        if cursor == 0 {
            return Position::Start;
        }
        let (ticket, piece) = (cursor >> PIECE_BITS, cursor & ((1 << PIECE_BITS) - 1));
        let ring = self.ring.lock();
        let newest = ring.tickets;
        // the latest ticket with these low bits
        let behind = newest.wrapping_sub(ticket) & ((1 << TICKET_BITS) - 1);
        let entry = newest.checked_sub(behind).and_then(|ticket| {
            let entry = ring.entries.get((ticket as usize) % REMEMBERED)?.as_ref()?;
            let fits = entry.ticket == ticket
                && entry.generation == generation
                && piece_of(prefix, &entry.key, entry.piece) == piece;
            fits.then(|| entry.key.clone())
        });
        match entry {
            Some(key) => Position::After(key),
            None => {
                let piece = (piece as u32).to_be_bytes();
                let length = piece.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                Position::At(Bytes::from([prefix, &piece[..length]].concat()))
            }
        }
    }
}

fn ticket_of(number: u64) -> u64 {
    number & ((1 << TICKET_BITS) - 1)
}

/// The four bytes after the prefix; missing ones are zeros, which sort before everything.
fn piece_of(prefix: &[u8], key: &[u8], kind: Piece) -> u64 {
    let mut piece = [0; 4];
    if kind == Piece::Hidden {
        return 0;
    }
    let rest = key.strip_prefix(prefix).unwrap_or_default();
    let length = rest.len().min(4);
    piece[..length].copy_from_slice(&rest[..length]);
    u64::from(u32::from_be_bytes(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_cursor_goes_on_behind_its_key() {
        let cursors = Cursors::default();
        let cursor = cursors.remember(1, b"user:", Bytes::from_static(b"user:12345678"), Piece::Shown);
        assert!(cursor != 0 && cursor < 1 << 53);
        assert_eq!(
            cursors.recall(1, b"user:", cursor),
            Position::After(Bytes::from_static(b"user:12345678"))
        );
        assert_eq!(cursors.recall(1, b"", 0), Position::Start);
    }

    #[test]
    fn a_forgotten_cursor_goes_on_no_later_than_its_key() {
        let key = Bytes::from_static(b"user:12345678");
        let cursor = Cursors::default().remember(1, b"user:", key.clone(), Piece::Shown);
        assert_eq!(
            Cursors::default().recall(1, b"user:", cursor),
            Position::At(Bytes::from_static(b"user:1234"))
        );
        let cursors = Cursors::default();
        let cursor = cursors.remember(1, b"user:", key, Piece::Shown);
        for at in 0..=REMEMBERED {
            cursors.remember(1, b"", Bytes::from(at.to_string()), Piece::Shown);
        }
        assert_eq!(cursors.recall(1, b"user:", cursor), Position::At(Bytes::from_static(b"user:1234")));
        assert_eq!(cursors.ring.lock().entries.len(), REMEMBERED);
    }

    #[test]
    fn tickets_wrap_without_becoming_the_end() {
        let cursors = Cursors::default();
        cursors.ring.lock().tickets = (1 << TICKET_BITS) - 2;
        for _ in 0..4 {
            let cursor = cursors.remember(7, b"", Bytes::from_static(b""), Piece::Shown);
            assert_ne!(cursor, 0);
            assert_eq!(cursors.recall(7, b"", cursor), Position::After(Bytes::new()));
        }
    }

    #[test]
    fn a_cursor_of_another_store_or_out_of_thin_air_is_harmless() {
        let cursors = Cursors::default();
        let cursor = cursors.remember(1, b"", Bytes::from_static(b"abcdef"), Piece::Shown);
        assert_eq!(cursors.recall(2, b"", cursor), Position::At(Bytes::from_static(b"abcd")));
        assert!(matches!(cursors.recall(1, b"", u64::MAX), Position::At(_)));
    }
}
