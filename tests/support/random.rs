//! Chance with a seed: the same seed gives the same test.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Good enough to choose commands.
pub struct Random(fastrand::Rng);

impl Random {
    /// Seeded by `LARDER_TEST_SEED`, else by chance. Prints the seed, so that a failure can be repeated.
    pub fn from_environment() -> Random {
        let seed = match std::env::var("LARDER_TEST_SEED") {
            Ok(text) => text.parse().expect("LARDER_TEST_SEED is a number"),
            Err(_) => RandomState::new().build_hasher().finish(),
        };
        println!("LARDER_TEST_SEED={seed} repeats this run");
        Random::new(seed)
    }

    /// Seeded by the caller, who prints the seed that this one comes from.
    pub fn new(seed: u64) -> Random {
        Random(fastrand::Rng::with_seed(seed))
    }

    /// What the next numbers come from: a [`Random::new`] of it gives the same.
    pub fn next_seed(&self) -> u64 {
        self.0.get_seed()
    }

    pub fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number from 0 up to but not including `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
