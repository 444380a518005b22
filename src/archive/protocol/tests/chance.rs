//! Chance with a seed.

use crate::random::SplitMix;

pub struct Chance(SplitMix);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(SplitMix(seed))
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next() % bound
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn number(&mut self) -> u64 {
        self.0.next()
    }
}
