//! Pseudorandom numbers: the same seed gives the same numbers.

/// SplitMix64: small, fast, and good enough to choose a key, or the steps of a test. It must not be used for secrets.
pub struct SplitMix(pub u64);

impl SplitMix {
    /// How far the state moves with each number.
    pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(SplitMix::STEP);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to but not including `bound`.
    #[cfg(test)]
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
