//! Chance with a seed: the same seed gives the same test.

use std::hash::{BuildHasher, Hasher, RandomState};

/// SplitMix64: small, and good enough to choose commands.
pub struct Random {
    state: u64,
}

impl Random {
    /// Seeded by `LARDER_TEST_SEED`, else by chance. Prints the seed, so that a failure can be repeated.
    pub fn from_environment() -> Random {
        let seed = match std::env::var("LARDER_TEST_SEED") {
            Ok(text) => text.parse().expect("LARDER_TEST_SEED is a number"),
            Err(_) => RandomState::new().build_hasher().finish(),
        };
        println!("LARDER_TEST_SEED={seed} repeats this run");
        Random { state: seed }
    }

    /// Seeded by the caller, who prints the seed that this one comes from.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// What the next numbers come from: a [`Random::new`] of it gives the same.
    pub fn next_seed(&self) -> u64 {
        self.state
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to but not including `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
