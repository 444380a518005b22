//! Candidates for eviction, of one store or of the whole server.
//!
//! Candidates come from two places. The *recent* keys are those that were written lately, in their order; they are known
//! without a look at the memtable or LMDB. The *hand* goes over all records in the order of their keys. The coldest
//! candidates wait in a small *pool*, from which the next victims are taken; the others stay where they are, and are
//! looked at again when their turn comes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::engine::heat::Use;
use crate::engine::journal::Seq;
use crate::store::eviction::Order;
use crate::store::{Key, StoreId};

/// Whose limit makes records go: a store's, or the server's if there is none.
pub type Scope = Option<StoreId>;

/// The most candidates that wait.
const POOL_MAX: usize = 128;
/// The most bytes that the recent keys of all hunts take together.
const RECENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// If the recent keys seem to be all there are, the hand moves only once in so many steps.
const STEPS_PER_LOOK: u64 = 8;
/// The recent keys seem to be all there are if no more than this part of the records is missing.
const UNKNOWN_PART: u64 = 64;
/// What a recent key takes beside its bytes.
const RECENT_OVERHEAD_BYTES: usize = 80;

/// How much a record is worth keeping; the coldest go first. What the numbers mean depends on the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Warmth(u64, u64);

impl Warmth {
    pub fn of(order: Order, used: Option<Use>, expires_at_ms: Option<u64>, version: Seq) -> Warmth {
        let Use { times, last_ms } = used.unwrap_or(Use { times: 0, last_ms: 0 });
        match order {
            // of those of which nothing is known, the one that was written first
            Order::Lru if used.is_none() => Warmth(0, version),
            Order::Lru => Warmth(last_ms, 0),
            Order::Lfu => Warmth(times, last_ms),
            Order::Ttl => Warmth(expires_at_ms.unwrap_or(u64::MAX), 0),
            Order::Random => Warmth::default(),
        }
    }

    /// For the order `random`.
    pub fn by_chance(number: u64) -> Warmth {
        Warmth(number, 0)
    }
}

/// A record that may be evicted next.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub key: Key,
    pub expires_at_ms: Option<u64>,
    pub version: Seq,
    pub warmth: Warmth,
}

/// A key that was written lately.
#[derive(Debug, Clone)]
pub struct Recent {
    pub key: Key,
    pub expires_at_ms: Option<u64>,
    pub version: Seq,
}

/// Where the hand is.
#[derive(Debug, Clone, Default)]
pub struct Hand {
    pub store: StoreId,
    /// The key, or the position in the index of deadlines, that it looked at last.
    pub after: Option<Bytes>,
    /// The epoch of the index of deadlines.
    pub epoch: u64,
}

#[derive(Debug, Default)]
struct Hunt {
    /// The coldest first.
    pool: Vec<Candidate>,
    recent: VecDeque<Recent>,
    hand: Hand,
    /// Candidates that were taken from the pool since it was filled.
    taken: usize,
    /// When the log last said why nothing could be evicted; 0: never.
    told_ms: u64,
    /// The number of checkpoints that had been done when one was first asked for, so that the sizes of compressed records
    /// become known.
    asked_at: Option<u64>,
}

/// What one step begins with.
#[derive(Debug)]
pub struct Step {
    /// The recent keys whose turn it is.
    pub recent: Vec<Recent>,
    /// How warm the warmest candidate is. What is warmer has no chance to be evicted soon. `None` if there are few
    /// candidates.
    pub warmest: Option<Warmth>,
    pub hand: Hand,
    pub moves_hand: bool,
}

/// The bytes that recent keys take, over all hunts.
#[derive(Debug, Default)]
struct RecentBytes(AtomicUsize);

impl Hunt {
    /// Remembers a key that was written; forgets the oldest ones if there are too many.
    fn remember(&mut self, recent: Recent, bytes: &RecentBytes) {
        while bytes.0.load(Ordering::Relaxed) + taken(&recent) > RECENT_BYTES_MAX {
            if self.take_recent(bytes).is_none() {
                return;
            }
        }
        bytes.0.fetch_add(taken(&recent), Ordering::Relaxed);
        self.recent.push_back(recent);
    }

    fn take_recent(&mut self, bytes: &RecentBytes) -> Option<Recent> {
        let recent = self.recent.pop_front()?;
        bytes.0.fetch_sub(taken(&recent), Ordering::Relaxed);
        Some(recent)
    }

    /// The recent keys whose turn it is.
    fn take_some_recent(&mut self, keys_max: usize, bytes: &RecentBytes) -> Vec<Recent> {
        let count = keys_max.min(self.recent.len());
        (0..count).filter_map(|_| self.take_recent(bytes)).collect()
    }

    /// Puts candidates into the pool. Those for which there is no place are warmer than all others; they are remembered
    /// as recent keys if there is room.
    fn offer(&mut self, candidates: Vec<Candidate>, bytes: &RecentBytes) {
        self.pool.extend(candidates);
        self.pool.sort_unstable_by(|a, b| (a.warmth, &a.key.name).cmp(&(b.warmth, &b.key.name)));
        self.pool.dedup_by(|a, b| a.key == b.key);
        for Candidate { key, expires_at_ms, version, .. } in
            self.pool.split_off(POOL_MAX.min(self.pool.len()))
        {
            self.keep(Recent { key, expires_at_ms, version }, bytes);
        }
    }

    /// Remembers a key that was looked at, if there is room.
    fn keep(&mut self, recent: Recent, bytes: &RecentBytes) {
        if bytes.0.load(Ordering::Relaxed) + taken(&recent) <= RECENT_BYTES_MAX {
            self.remember(recent, bytes);
        }
    }

    /// Takes the coldest candidates.
    fn take_coldest(&mut self, candidates_max: usize) -> Vec<Candidate> {
        let count = candidates_max.min(self.pool.len());
        self.taken += count;
        self.pool.drain(..count).collect()
    }

    /// Forgets everything, because the hunt is over.
    fn forget(&mut self, bytes: &RecentBytes) {
        while self.take_recent(bytes).is_some() {}
        *self = Hunt::default();
    }
}

fn taken(recent: &Recent) -> usize {
    recent.key.name.len() + RECENT_OVERHEAD_BYTES
}

/// All hunts, and what they share.
#[derive(Default)]
pub struct Hunts {
    by_scope: Mutex<HashMap<Scope, Hunt>>,
    bytes: RecentBytes,
    /// Records that were evicted.
    pub evicted: AtomicU64,
    steps: AtomicU64,
}

impl Hunts {
    /// Remembers keys that were used or written, for when their turn comes.
    pub fn remember(&self, scope: Scope, recent: Recent) {
        self.by_scope.lock().entry(scope).or_default().remember(recent, &self.bytes);
    }

    /// Begins to look for candidates, in a scope of so many records. If all of them seem to be known as recent keys, so many
    /// of these are looked at; otherwise half as many, and as many under the hand.
    pub fn begin_step(&self, scope: Scope, records: u64, keys_max: usize) -> Step {
        let mut hunts = self.by_scope.lock();
        let hunt = hunts.entry(scope).or_default();
        // the others wait in the pool, or are just being written
        let known = (hunt.recent.len() + hunt.pool.len()) as u64;
        let knows_all = known >= records - records / UNKNOWN_PART;
        let recent = hunt.take_some_recent(if knows_all { keys_max } else { keys_max / 2 }, &self.bytes);
        // keys that are written anew count twice, so the hand moves now and then
        let is_due = self.steps.fetch_add(1, Ordering::Relaxed).is_multiple_of(STEPS_PER_LOOK);
        let warmest = hunt.pool.last().filter(|_| hunt.pool.len() >= POOL_MAX / 2);
        Step {
            recent,
            warmest: warmest.map(|candidate| candidate.warmth),
            hand: hunt.hand.clone(),
            moves_hand: !knows_all || is_due,
        }
    }

    /// Ends it, with what was found, and with the recent keys that are too warm.
    pub fn end_step(&self, scope: Scope, hand: Hand, candidates: Vec<Candidate>, too_warm: Vec<Recent>) {
        let mut hunts = self.by_scope.lock();
        let hunt = hunts.entry(scope).or_default();
        hunt.hand = hand;
        hunt.taken = 0;
        hunt.offer(candidates, &self.bytes);
        too_warm.into_iter().for_each(|recent| hunt.keep(recent, &self.bytes));
    }

    /// Whether candidates have to be looked for, because so many were taken since.
    pub fn is_hungry(&self, scope: Scope, taken_max: usize) -> bool {
        let hunts = self.by_scope.lock();
        hunts.get(&scope).is_none_or(|hunt| hunt.pool.is_empty() || hunt.taken >= taken_max)
    }

    pub fn take_coldest(&self, scope: Scope, candidates_max: usize) -> Vec<Candidate> {
        let mut hunts = self.by_scope.lock();
        hunts.get_mut(&scope).map_or_else(Vec::new, |hunt| hunt.take_coldest(candidates_max))
    }

    /// The number of steps so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Ends the hunts of all other scopes.
    pub fn retain(&self, scopes: &HashSet<Scope>) {
        self.by_scope.lock().retain(|scope, hunt| {
            let stays = scopes.contains(scope);
            if !stays {
                hunt.forget(&self.bytes);
            }
            stays
        });
    }

    /// Whether the log is to say why nothing could be evicted: at most once in so long.
    pub fn is_to_be_told(&self, scope: Scope, now_ms: u64, every_ms: u64) -> bool {
        let mut hunts = self.by_scope.lock();
        let told_ms = &mut hunts.entry(scope).or_default().told_ms;
        let is_due = *told_ms == 0 || now_ms.saturating_sub(*told_ms) >= every_ms;
        if is_due {
            *told_ms = now_ms.max(1);
        }
        is_due
    }

    /// The number of checkpoints that had been done when one was first asked for, and whether that is now.
    pub fn ask_for_checkpoint(&self, scope: Scope, done: u64) -> (u64, bool) {
        let mut hunts = self.by_scope.lock();
        let asked_at = &mut hunts.entry(scope).or_default().asked_at;
        let is_first = asked_at.is_none();
        (*asked_at.get_or_insert(done), is_first)
    }
}
