//! The one door through which time comes in.
//!
//! Everything else takes time as an argument or asks here, so that one place shows who depends on it. Knows nothing;
//! callable on every thread.

#![allow(clippy::disallowed_methods)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 by the wall clock, which may jump in either direction. A clock before 1970 reads as 0.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Microseconds since 1970 by the wall clock, which may jump in either direction. A clock before 1970 reads as 0.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// A point in time that only moves forward: for durations and deadlines inside this process.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Both clocks for many short steps, one reading a step: the wall clock is read at the start, and goes on with the
/// other from there.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    started_ms: u64,
    started: Instant,
    lap_began: Instant,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        let started = monotonic();
        Stopwatch { started_ms: now_ms(), started, lap_began: started }
    }

    /// Wall clock at the end of the last lap, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.started_ms + (self.lap_began - self.started).as_millis() as u64
    }

    /// Ends a lap and begins the next; says how long it was, in nanoseconds.
    pub fn lap_ns(&mut self) -> u64 {
        let now = monotonic();
        let took = now - self.lap_began;
        self.lap_began = now;
        took.as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_move_and_the_wall_clock_counts_milliseconds() {
        let (wall, start) = (now_ms(), monotonic());
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(monotonic() > start);
        assert!((5..60_000).contains(&(now_ms() - wall)));
        // 2020-01-01 in milliseconds: seconds or microseconds would be far off.
        assert!((1_577_836_800_000..10_000_000_000_000).contains(&wall));
    }
}
