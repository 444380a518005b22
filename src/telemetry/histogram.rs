//! A distribution of durations.
//!
//! Buckets are log-linear: each power of two of nanoseconds is divided into 16, so that results are at most a sixteenth
//! too large. Counting is one relaxed addition.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of a duration that tell buckets of the same power of two apart.
const FINE_BITS: u32 = 4;
const FINE: usize = 1 << FINE_BITS;
/// Durations of this many bits or more, 17 seconds, share the last bucket.
const BITS_MAX: u32 = 34;
const BUCKETS: usize = (BITS_MAX - FINE_BITS + 1) as usize * FINE;

pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
}

/// How many durations are below each of several bounds.
#[derive(Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Bounds in nanoseconds, ascending, and how many durations are below each.
    pub below: Vec<(u64, u64)>,
    /// How many there are.
    pub count: u64,
    /// Their sum in nanoseconds. It is estimated from the same buckets, so it is off by a 32nd at most.
    pub sum_ns: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Histogram of {}", self.total())
    }
}

impl Histogram {
    pub fn add(&self, nanos: u64) {
        self.add_many(nanos, 1);
    }

    /// Counts the same duration so many times.
    pub fn add_many(&self, nanos: u64, count: u64) {
        self.counts[bucket(nanos)].fetch_add(count, Ordering::Relaxed);
    }

    /// All durations of several distributions.
    pub fn sum<'h>(distributions: impl Iterator<Item = &'h Histogram>) -> Histogram {
        let all = Histogram::default();
        for distribution in distributions {
            for (sum, count) in all.counts.iter().zip(distribution.counts()) {
                sum.fetch_add(count, Ordering::Relaxed);
            }
        }
        all
    }

    /// What was counted since this was `earlier`. Buckets that were reset in between count as they are now.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let grown = Histogram::default();
        for ((at, now), before) in self.counts().enumerate().zip(earlier.counts()) {
            grown.counts[at].store(now.checked_sub(before).unwrap_or(now), Ordering::Relaxed);
        }
        grown
    }

    pub fn reset(&self) {
        self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    pub fn total(&self) -> u64 {
        self.counts().sum()
    }

    /// The given percentile in nanoseconds; 0 if nothing was counted.
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        let wanted = (self.total() as f64 * percent.clamp(0.0, 100.0) / 100.0).ceil().max(1.0) as u64;
        let mut below = 0;
        for (at, count) in self.counts().enumerate() {
            below += count;
            if below >= wanted {
                return longest(at);
            }
        }
        0
    }

    /// As LATENCY HISTOGRAM shows it: for each power of two of about a microsecond, the bound in microseconds and how
    /// many took no longer; only those at which there are more than at the one before.
    pub fn doublings(&self) -> Vec<(u64, u64)> {
        let mut shown: Vec<(u64, u64)> = Vec::new();
        for (bits, below) in self.powers_of_two() {
            if below > shown.last().map_or(0, |(_, before)| *before) {
                // Redis's histogram keeps two digits, and shows the longest duration that it takes for the same
                let bound_ns: u64 = (1 << bits) + (1 << (bits - 7)) - 1;
                shown.push((bound_ns / 1_000, below));
            }
        }
        shown
    }

    /// As Prometheus takes it, with bounds from a microsecond to 8.6 seconds.
    pub fn distribution(&self) -> Distribution {
        let mut below = self.powers_of_two();
        // the last bucket has durations of any length, so its bound is infinity
        let count = below.pop().map_or(0, |(_, count)| count);
        let below = below.into_iter().map(|(bits, below)| (1 << bits, below)).collect();
        let sum_ns = self.counts().enumerate().map(|(at, count)| count * middle(at)).sum();
        Distribution { below, count, sum_ns }
    }

    /// For each power of two of about a microsecond, its exponent, and how many durations are below it. At the last one,
    /// these are all.
    fn powers_of_two(&self) -> Vec<(u32, u64)> {
        const FIRST_BITS: u32 = 10;
        let (mut counts, mut at, mut below) = (self.counts(), 0, 0);
        let powers = (FIRST_BITS..=BITS_MAX).map(|bits| {
            let end = if bits == BITS_MAX { BUCKETS } else { bucket(1 << bits) };
            below += counts.by_ref().take(end - at).sum::<u64>();
            at = end;
            (bits, below)
        });
        powers.collect()
    }

    /// The longest duration of each bucket that has any, in nanoseconds, and how many it has.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts().enumerate().filter(|(_, count)| *count > 0).map(|(at, count)| (longest(at), count))
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed))
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min((1 << BITS_MAX) - 1);
    let bits = u64::BITS - nanos.leading_zeros();
    let Some(coarse) = bits.checked_sub(FINE_BITS + 1) else { return nanos as usize };
    // the highest bit is the same in all of them
    let fine = (nanos >> coarse) as usize - FINE;
    (coarse as usize + 1) * FINE + fine
}

/// The longest duration of a bucket.
fn longest(bucket: usize) -> u64 {
    let (coarse, fine) = (bucket / FINE, bucket % FINE);
    match coarse.checked_sub(1) {
        None => fine as u64,
        Some(shift) => (((FINE + fine + 1) as u64) << shift) - 1,
    }
}

/// The duration in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let shortest = if bucket == 0 { 0 } else { longest(bucket - 1) + 1 };
    shortest.midpoint(longest(bucket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        assert_eq!(bucket(0), 0);
        for at in 0..BUCKETS {
            assert_eq!(bucket(longest(at)), at);
            if at + 1 < BUCKETS {
                assert_eq!(bucket(longest(at) + 1), at + 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_a_sixteenth_too_long_at_most() {
        let histogram = Histogram::default();
        assert_eq!(histogram.percentile_ns(50.0), 0);
        (1..=1_000).for_each(|micros| histogram.add(micros * 1_000));
        for (percent, exact) in [(50.0, 500_000), (99.0, 990_000), (100.0, 1_000_000), (0.0, 1_000)] {
            let shown = histogram.percentile_ns(percent);
            assert!((exact..=exact + exact / 16).contains(&shown), "{percent}: {shown}");
        }
        histogram.reset();
        assert_eq!(histogram.total(), 0);
    }

    #[test]
    fn doublings_have_redis_bounds() {
        let histogram = Histogram::default();
        for nanos in [10, 1_000, 1_500, 30_000, 60_000, u64::MAX] {
            histogram.add(nanos);
        }
        assert_eq!(histogram.doublings(), [(1, 2), (2, 3), (33, 4), (66, 5), (17_314_086, 6)]);
    }

    #[test]
    fn distributions_are_exact_at_their_bounds() {
        let histogram = Histogram::default();
        for nanos in [10, 1_023, 1_024, 40_000, 5_000_000_000, u64::MAX] {
            histogram.add(nanos);
        }
        let Distribution { below, count, sum_ns } = histogram.distribution();
        assert_eq!((below.len(), below[0], count), (24, (1_024, 2), 6));
        let at = |bound| below.iter().find(|(at, _)| *at == bound).map(|(_, below)| *below);
        assert_eq!([1 << 11, 1 << 15, 1 << 16, 1 << 32, 1 << 33].map(at), [3, 3, 4, 4, 5].map(Some));
        // what took longer than the last bucket counts as much as that
        let exact = 10 + 1_023 + 1_024 + 40_000 + 5_000_000_000 + (1 << BITS_MAX);
        assert!(sum_ns.abs_diff(exact) <= exact / 32, "{sum_ns}");
        let other = Histogram::default();
        (1..=100).for_each(|micros| other.add(micros * 1_000));
        assert!(other.distribution().sum_ns.abs_diff(5_050_000) <= 5_050_000 / 32);
    }
}
