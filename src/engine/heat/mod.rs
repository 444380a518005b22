//! What is known of how recently and how often records were used, for eviction.
//!
//! It is kept in memory only, so a read writes nothing to the disk, and after a restart a record that has not been read
//! counts as old. The memory is bounded: a table of slots of 8 bytes, about two for each record, up to [`SLOTS`]. What
//! finds no place in it counts as old, too.
//!
//! # The table
//!
//! A slot belongs to a key by the hash of its generation and name:
//!
//! ```text
//! | 16 bits of the hash | uses, 12 bits | time of the last use in milliseconds, 36 bits |
//! ```
//!
//! Eight slots make a bucket, which is one line of the processor's cache, and the hash says in which bucket a key
//! belongs. A key that finds its bucket full takes the slot of the one that matters least. The slot of a record that was
//! evicted stays until another one takes it: if the record comes back, its uses still count. Therefore `lfu` tells a
//! record that is asked for again and again from one that a scan has asked for once.
//!
//! A use reads the slots of a bucket and writes one of them, with relaxed atomics. If two threads use keys of a bucket
//! at the same time, one use may be lost. While nothing evicts, a use costs one relaxed load.
//!
//! The table begins small and is replaced by a larger one as the number of records grows. The smaller one is still asked
//! about keys that were not used since.
//!
//! # Ageing
//!
//! What was popular once must not stay for ever. All counts of uses are halved whenever ten times as many records
//! were evicted as there are, and every hour. Nothing is walked through for that: the times of the halvings are remembered,
//! and whoever looks at a slot halves its count as often as there were halvings since its last use.

pub mod alarm;
pub mod hunt;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::engine::heat::alarm::Alarm;
use crate::store::Generation;

/// The numbers of slots that a table may have.
const SLOTS: [usize; 6] = [1 << 13, 1 << 15, 1 << 17, 1 << 19, 1 << 21, 1 << 23];
const SLOTS_PER_BUCKET: usize = 8;
const SLOTS_PER_RECORD: usize = 2;

const TIME_BITS: u32 = 36;
const USES_BITS: u32 = 12;
const TAG_SHIFT: u32 = TIME_BITS + USES_BITS;
const TIME_MAX: u64 = (1 << TIME_BITS) - 1;
const USES_MAX: u64 = (1 << USES_BITS) - 1;

/// After so many halvings, nothing is left of any count.
const HALVINGS: usize = USES_BITS as usize;
/// Counts are halved when so many times as many records were evicted as there are. More often, `lfu` would forget what is
/// asked for seldom but steadily.
const HALVED_EVERY: u64 = 10;
/// Counts are halved at least this often.
const HALVED_EVERY_MS: u64 = 60 * 60 * 1_000;

/// Recency and frequency of use.
pub struct Heat {
    tables: [OnceLock<Table>; SLOTS.len()],
    /// 0 while nothing evicts; otherwise one more than the position of the table in use.
    in_use: AtomicUsize,
    /// Whether a full bucket gives up the least frequently used key rather than the least recently used one.
    by_frequency: AtomicBool,
    hasher: foldhash::fast::RandomState,
    /// When the times of slots begin, in milliseconds since 1970.
    since_ms: u64,
    halved_at: [AtomicU64; HALVINGS],
    halvings: AtomicUsize,
    evicted_since: AtomicU64,
    /// Tells the thread that evicts that a store may be full.
    pub alarm: Alarm,
}

/// How a key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// Uses since it was first seen, halved by ageing; at least 1 after the last use.
    pub times: u64,
    /// When it was last used, in milliseconds since 1970.
    pub last_ms: u64,
}

impl Heat {
    /// Nothing is known yet.
    pub fn new(now_ms: u64) -> Heat {
        Heat {
            tables: [const { OnceLock::new() }; SLOTS.len()],
            in_use: AtomicUsize::new(0),
            by_frequency: AtomicBool::new(false),
            hasher: foldhash::fast::RandomState::default(),
            // a clock that is set back a little does not make everything equally old
            since_ms: now_ms.saturating_sub(HALVED_EVERY_MS),
            halved_at: [const { AtomicU64::new(0) }; HALVINGS],
            halvings: AtomicUsize::new(0),
            evicted_since: AtomicU64::new(0),
            alarm: Alarm::default(),
        }
    }

    /// Whether uses are recorded.
    pub fn is_on(&self) -> bool {
        self.in_use.load(Ordering::Relaxed) != 0
    }

    /// Records uses from now on, or no longer. What is known already stays.
    pub fn switch(&self, on: bool, by_frequency: bool) {
        self.by_frequency.store(by_frequency, Ordering::Relaxed);
        let is_on = self.is_on();
        if on && !is_on {
            let largest = self.tables.iter().rposition(|table| table.get().is_some()).unwrap_or(0);
            self.use_table(largest);
        } else if !on && is_on {
            self.in_use.store(0, Ordering::Relaxed);
        }
    }

    /// Whether a larger table should be taken into use for so many records. That takes a moment.
    pub fn is_too_small_for(&self, records: u64) -> bool {
        let in_use = self.in_use.load(Ordering::Relaxed);
        (1..SLOTS.len()).contains(&in_use) && records > records_in(in_use - 1)
    }

    /// Takes a table into use that is large enough for so many records, as far as it may grow.
    pub fn grow_for(&self, records: u64) {
        if self.is_too_small_for(records) {
            let large_enough = |at: &usize| records <= records_in(*at);
            self.use_table((0..SLOTS.len()).find(large_enough).unwrap_or(SLOTS.len() - 1));
        }
    }

    fn use_table(&self, at: usize) {
        if let Some(table) = self.tables.get(at) {
            table.get_or_init(|| Table::new(SLOTS[at]));
            self.in_use.store(at + 1, Ordering::Release);
        }
    }

    /// Records a use of a key.
    pub fn touch(&self, generation: Generation, key: &[u8], now_ms: u64) {
        let in_use = self.in_use.load(Ordering::Acquire);
        let Some(table) = in_use.checked_sub(1).and_then(|at| self.tables.get(at)?.get()) else { return };
        let hash = self.hash(generation, key);
        let bucket = table.bucket(hash);
        let known = bucket.slot(hash);
        let before = match known {
            Some(slot) => slot.load(Ordering::Relaxed),
            None => self.in_smaller_tables(in_use, hash).unwrap_or(0),
        };
        let uses = (self.aged(before) + 1).min(USES_MAX);
        let slot = known.unwrap_or_else(|| bucket.least(self.by_frequency.load(Ordering::Relaxed)));
        slot.store(tag(hash) << TAG_SHIFT | uses << TIME_BITS | self.time(now_ms), Ordering::Relaxed);
    }

    /// How a key was used, if that is known.
    pub fn of(&self, generation: Generation, key: &[u8]) -> Option<Use> {
        let in_use = self.in_use.load(Ordering::Acquire);
        let table = self.tables.get(in_use.checked_sub(1)?)?.get()?;
        let hash = self.hash(generation, key);
        let slot = match table.bucket(hash).slot(hash) {
            Some(slot) => slot.load(Ordering::Relaxed),
            None => self.in_smaller_tables(in_use, hash)?,
        };
        Some(Use { times: self.aged(slot), last_ms: self.since_ms + (slot & TIME_MAX) })
    }

    /// Counts evictions from so many records, and lets counts age.
    pub fn note_evicted(&self, evicted: u64, records: u64, now_ms: u64) {
        let evicted = self.evicted_since.fetch_add(evicted, Ordering::Relaxed) + evicted;
        let last = self.halvings.load(Ordering::Relaxed);
        let since_ms = self.time(now_ms).saturating_sub(self.halved_at(last.wrapping_sub(1)));
        if evicted >= records.saturating_mul(HALVED_EVERY) || since_ms >= HALVED_EVERY_MS {
            self.evicted_since.store(0, Ordering::Relaxed);
            self.halved_at[last % HALVINGS].store(self.time(now_ms), Ordering::Relaxed);
            self.halvings.store(last.wrapping_add(1), Ordering::Relaxed);
        }
    }

    fn halved_at(&self, at: usize) -> u64 {
        self.halved_at[at % HALVINGS].load(Ordering::Relaxed)
    }

    /// The uses that a slot counts, halved as often as all were since the last of them.
    fn aged(&self, slot: u64) -> u64 {
        let (uses, time) = (slot >> TIME_BITS & USES_MAX, slot & TIME_MAX);
        let newest = self.halved_at(self.halvings.load(Ordering::Relaxed).wrapping_sub(1));
        if newest <= time {
            return uses;
        }
        uses >> (0..HALVINGS).filter(|at| self.halved_at(*at) > time).count()
    }

    fn in_smaller_tables(&self, in_use: usize, hash: u64) -> Option<u64> {
        let smaller = self.tables.get(..in_use - 1)?.iter().rev().find_map(OnceLock::get)?;
        Some(smaller.bucket(hash).slot(hash)?.load(Ordering::Relaxed))
    }

    fn time(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.since_ms).min(TIME_MAX)
    }

    /// A number by chance, for a name and a moment.
    pub fn chance(&self, name: &[u8], moment: u64) -> u64 {
        self.hash(moment, name)
    }

    fn hash(&self, generation: Generation, key: &[u8]) -> u64 {
        self.hasher.hash_one((generation, key))
    }
}

/// How many records a table is made for.
fn records_in(at: usize) -> u64 {
    (SLOTS[at] / SLOTS_PER_RECORD) as u64
}

/// The bits of a hash that a slot has. None are 0, which an empty slot has.
fn tag(hash: u64) -> u64 {
    (hash >> TAG_SHIFT).max(1)
}

struct Table {
    buckets: Box<[Bucket]>,
}

/// A line of the processor's cache.
#[derive(Default)]
#[repr(align(64))]
struct Bucket([AtomicU64; SLOTS_PER_BUCKET]);

impl Table {
    fn new(slots: usize) -> Table {
        Table { buckets: (0..slots / SLOTS_PER_BUCKET).map(|_| Bucket::default()).collect() }
    }

    fn bucket(&self, hash: u64) -> &Bucket {
        // a power of two
        &self.buckets[hash as usize & (self.buckets.len() - 1)]
    }
}

impl Bucket {
    /// The slot that belongs to a key.
    fn slot(&self, hash: u64) -> Option<&AtomicU64> {
        let tag = tag(hash);
        self.0.iter().find(|slot| slot.load(Ordering::Relaxed) >> TAG_SHIFT == tag)
    }

    /// The slot whose loss matters least: an empty one, or that of the least used key.
    fn least(&self, by_frequency: bool) -> &AtomicU64 {
        let matters = |slot: &&AtomicU64| {
            let slot = slot.load(Ordering::Relaxed);
            let uses = if by_frequency { slot >> TIME_BITS & USES_MAX } else { 0 };
            (slot != 0, uses, slot & TIME_MAX)
        };
        self.0.iter().min_by_key(matters).unwrap_or(&self.0[0])
    }
}
