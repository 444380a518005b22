//! The only source of time.
//!
//! All other code gets the time as an argument or asks here, so that it is easy to see what depends on time. Depends on
//! nothing else; callable on every thread.
//!
//! The server's own time ([`now_ms`]) is not simply the system's. The wall clock can be set, by hand, by a time service
//! or by a virtual machine that was moved, and a record that expires because of a wrong clock is lost for good. The
//! steady clock ([`steady_ms`]) counts since the machine was booted and cannot be set. Therefore the server reads the
//! wall clock when it starts, and from then on its time advances by the steady clock. The sweeper compares the two ten
//! times a second ([`keep`]):
//!
//! * A step of up to [`CLOCK_STEP_FOLLOWED_MS`] is followed at once, in either direction. Leap seconds and small
//!   corrections are of this kind. Gradual corrections by a time service slow down or speed up both clocks alike.
//! * A larger step contradicts the steady clock. It is logged, and followed only when the wall clock has kept to it for
//!   [`CLOCK_STEP_PATIENCE_MS`]. A glimpse of another date therefore changes nothing.
//!
//! At a start there is nothing that could contradict the wall clock, so it is believed.

#![allow(clippy::disallowed_methods)]

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::time::ClockId;

use crate::limits::{CLOCK_STEP_FOLLOWED_MS, CLOCK_STEP_PATIENCE_MS};

/// Milliseconds since 1970 by the server's own time, for deadlines of records and for everything that is shown. It may
/// step in either direction, but only as described at the top of this module.
pub fn now_ms() -> u64 {
    now_us() / 1_000
}

/// Microseconds since 1970 by the server's own time.
pub fn now_us() -> u64 {
    at_us(steady_us())
}

/// Milliseconds since the machine was booted, including the time it slept: for durations that are reported or stored as
/// numbers.
pub fn steady_ms() -> u64 {
    steady_us() / 1_000
}

/// A point in time that only moves forward: for durations and deadlines inside this process.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The same instant on all clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The server's own time, in milliseconds since 1970.
    pub now_ms: u64,
    /// What the system's wall clock shows, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Milliseconds since the machine was booted.
    pub steady_ms: u64,
    /// For how long the wall clock and the steady clock have agreed; 0 while they don't.
    pub agreed_ms: u64,
}

/// Reads all clocks, and lets the server's own time follow the wall clock where the rules allow it.
pub fn keep() -> Reading {
    let mut course = COURSE.lock();
    let (wall_us, steady_us) = both_us();
    let course = course.get_or_insert_with(|| Course::new(wall_us, steady_us));
    let step = course.observe(wall_us, steady_us);
    OFFSET_US.store(course.offset_us, Ordering::Relaxed);
    let patience_s = CLOCK_STEP_PATIENCE_MS / 1_000;
    match step {
        None => {}
        Some(Step::Noticed(by_us)) => tracing::warn!(
            by_s = by_us as f64 / 1e6,
            patience_s,
            "the system's clock was set; the server continues with its own time, and follows when the clock has kept the new time \
             for this long. Records that have expired by then are removed"
        ),
        Some(Step::Revoked) => {
            tracing::info!("the system's clock agrees with the server's time again; nothing was changed");
        }
        Some(Step::Followed(by_us)) => {
            tracing::warn!(by_s = by_us as f64 / 1e6, "the server's time has followed the system's clock");
        }
    }
    Reading {
        now_ms: steady_us.saturating_add_signed(course.offset_us) / 1_000,
        wall_ms: wall_us / 1_000,
        steady_ms: steady_us / 1_000,
        agreed_ms: course.agreed_us(steady_us) / 1_000,
    }
}

/// Identifies the current boot of the machine, within which readings of the steady clock can be compared. `None` if the
/// system does not provide it.
pub fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

/// By how many microseconds the server's time is ahead of the steady clock; [`UNREAD`] before the first reading.
static OFFSET_US: AtomicI64 = AtomicI64::new(UNREAD);
static COURSE: Mutex<Option<Course>> = Mutex::new(None);
const UNREAD: i64 = i64::MIN;

fn at_us(steady_us: u64) -> u64 {
    let offset_us = match OFFSET_US.load(Ordering::Relaxed) {
        UNREAD => begin(),
        offset_us => offset_us,
    };
    steady_us.saturating_add_signed(offset_us)
}

/// The first reading of the wall clock.
#[cold]
fn begin() -> i64 {
    let mut course = COURSE.lock();
    let (wall_us, steady_us) = both_us();
    let course = course.get_or_insert_with(|| Course::new(wall_us, steady_us));
    OFFSET_US.store(course.offset_us, Ordering::Relaxed);
    course.offset_us
}

/// The wall clock and the steady clock at the same instant. A thread may lose its processor between two readings, which
/// would look like a step. The wall clock is therefore read between two readings of the steady one, and the closest
/// pair counts.
fn both_us() -> (u64, u64) {
    const READINGS_MAX: usize = 8;
    const CLOSE_US: u64 = 20;
    let mut best = (0, 0);
    let mut apart_us_min = u64::MAX;
    for _ in 0..READINGS_MAX {
        let before = steady_us();
        let wall = wall_us();
        let apart_us = steady_us().saturating_sub(before);
        if apart_us < apart_us_min {
            (best, apart_us_min) = ((wall, before + apart_us / 2), apart_us);
        }
        if apart_us <= CLOSE_US {
            break;
        }
    }
    best
}

/// A clock before 1970 reads as 0.
fn wall_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn steady_ns() -> u64 {
    let time = rustix::time::clock_gettime(ClockId::Boottime);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

fn steady_us() -> u64 {
    steady_ns() / 1_000
}

/// How the server's time follows from the two clocks. Pure.
#[derive(Debug, Clone, Copy)]
struct Course {
    /// By how much the server's time is ahead of the steady clock.
    offset_us: i64,
    /// A step that is not followed yet: by how much the wall clock is ahead of the steady clock, and since when.
    pending: Option<(i64, u64)>,
    /// Since when the two have agreed, by the steady clock.
    agreed_since_us: u64,
}

/// What to log about a step. Values say by how many microseconds the wall clock is ahead of the server's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Noticed(i64),
    Revoked,
    Followed(i64),
}

impl Course {
    fn new(wall_us: u64, steady_us: u64) -> Course {
        Course { offset_us: ahead(wall_us, steady_us), pending: None, agreed_since_us: steady_us }
    }

    fn observe(&mut self, wall_us: u64, steady_us: u64) -> Option<Step> {
        const FOLLOWED_US: u64 = CLOCK_STEP_FOLLOWED_MS * 1_000;
        let offset_us = ahead(wall_us, steady_us);
        let by_us = offset_us.saturating_sub(self.offset_us);
        if by_us.unsigned_abs() <= FOLLOWED_US {
            self.offset_us = offset_us;
            if self.pending.take().is_some() {
                self.agreed_since_us = steady_us;
                return Some(Step::Revoked);
            }
            return None;
        }
        match self.pending {
            Some((to_us, since_us)) if offset_us.abs_diff(to_us) <= FOLLOWED_US => {
                if steady_us.saturating_sub(since_us) < CLOCK_STEP_PATIENCE_MS * 1_000 {
                    return None;
                }
                *self = Course { offset_us, pending: None, agreed_since_us: since_us };
                Some(Step::Followed(by_us))
            }
            _ => {
                self.pending = Some((offset_us, steady_us));
                Some(Step::Noticed(by_us))
            }
        }
    }

    fn agreed_us(&self, steady_us: u64) -> u64 {
        if self.pending.is_some() { 0 } else { steady_us.saturating_sub(self.agreed_since_us) }
    }
}

fn ahead(wall_us: u64, steady_us: u64) -> i64 {
    i64::try_from(i128::from(wall_us) - i128::from(steady_us)).unwrap_or(i64::MAX)
}

/// A stopwatch for many short steps, with one reading of the clock for each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stopwatch {
    started_ns: u64,
    lap_began_ns: u64,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        let started_ns = steady_ns();
        Stopwatch { started_ns, lap_began_ns: started_ns }
    }

    /// The server's own time at the end of the last lap, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        at_us(self.lap_began_ns / 1_000) / 1_000
    }

    /// The steady clock at the end of the last lap.
    pub fn steady_ms(&self) -> u64 {
        self.lap_began_ns / 1_000_000
    }

    /// How long it has run up to the end of the last lap. Reads no clock.
    pub fn ran(&self) -> Duration {
        Duration::from_nanos(self.lap_began_ns.saturating_sub(self.started_ns))
    }

    /// Ends a lap and begins the next. Returns how long it took, in nanoseconds.
    pub fn lap_ns(&mut self) -> u64 {
        let now_ns = steady_ns();
        let took_ns = now_ns.saturating_sub(self.lap_began_ns);
        self.lap_began_ns = now_ns;
        took_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_move_and_the_servers_time_counts_milliseconds() {
        let (server, steady, start) = (now_ms(), steady_ms(), monotonic());
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(monotonic() > start && steady_ms() > steady);
        assert!((5..60_000).contains(&(now_ms() - server)));
        // 2020-01-01 in milliseconds: seconds or microseconds would be far off.
        assert!((1_577_836_800_000..10_000_000_000_000).contains(&server));
        let reading = keep();
        assert!(reading.now_ms.abs_diff(reading.wall_ms) <= CLOCK_STEP_FOLLOWED_MS);
        assert!(boot_id().is_some() && boot_id() == boot_id());
    }

    const S: u64 = 1_000_000;
    const HOUR: u64 = 3_600 * S;
    const PATIENCE: u64 = CLOCK_STEP_PATIENCE_MS * 1_000;
    /// The wall clock when the steady clock was at 0.
    const BOOT: u64 = 1_700_000_000 * S;

    /// Shows a course the steady clock, and what the wall clock is ahead of a right one, and gives what it told and how far
    /// the server's time is ahead of a right one at the end.
    fn told(readings: &[(u64, i64)]) -> (Vec<Step>, i64) {
        let mut course = Course::new(BOOT, 0);
        let observe = |(steady_us, wrong_us): &(u64, i64)| {
            course.observe((BOOT + steady_us).saturating_add_signed(*wrong_us), *steady_us)
        };
        let told = readings.iter().filter_map(observe).collect();
        (told, course.offset_us - BOOT as i64)
    }

    #[test]
    fn steps_are_followed_at_once_later_or_never() {
        use Step::*;
        let hour = HOUR as i64;
        type Case<'a> = (&'a str, &'a [(u64, i64)], &'a [Step], i64);
        let cases: &[Case<'_>] = &[
            ("no step", &[(S, 0), (2 * HOUR, 0)], &[], 0),
            ("a leap second", &[(S, -1_000_000), (2 * S, -1_000_000)], &[], -1_000_000),
            ("a glimpse of the future", &[(S, hour), (2 * S, 0)], &[Noticed(hour), Revoked], 0),
            ("a glimpse of the past", &[(S, -hour), (2 * S, 0)], &[Noticed(-hour), Revoked], 0),
            ("1970", &[(S, -(BOOT as i64)), (2 * S, 0)], &[Noticed(-(BOOT as i64)), Revoked], 0),
            ("not long enough", &[(S, hour), (PATIENCE, hour)], &[Noticed(hour)], 0),
            ("long enough", &[(S, hour), (S + PATIENCE, hour)], &[Noticed(hour), Followed(hour)], hour),
            (
                "back, long enough",
                &[(S, -hour), (S + PATIENCE, -hour)],
                &[Noticed(-hour), Followed(-hour)],
                -hour,
            ),
            (
                "another step begins anew",
                &[(S, hour), (PATIENCE, 2 * hour), (S + PATIENCE, 2 * hour), (2 * PATIENCE, 2 * hour)],
                &[Noticed(hour), Noticed(2 * hour), Followed(2 * hour)],
                2 * hour,
            ),
            (
                "a glimpse in between begins anew",
                &[(S, hour), (2 * S, 0), (3 * S, hour), (S + PATIENCE, hour)],
                &[Noticed(hour), Revoked, Noticed(hour)],
                0,
            ),
        ];
        for (what, readings, expected, ahead_us) in cases {
            assert_eq!(told(readings), (expected.to_vec(), *ahead_us), "{what}");
        }
    }

    #[test]
    fn the_clocks_agree_from_the_step_on_that_was_followed() {
        let mut course = Course::new(BOOT, 0);
        assert_eq!(course.agreed_us(5 * S), 5 * S);
        course.observe(BOOT + HOUR, 10 * S);
        assert_eq!(course.agreed_us(11 * S), 0);
        course.observe(BOOT + 10 * S + PATIENCE + HOUR - 10 * S, 10 * S + PATIENCE);
        assert_eq!(course.agreed_us(10 * S + PATIENCE), PATIENCE);
    }

    #[test]
    fn a_stopwatch_goes_by_the_servers_time() {
        let mut watch = Stopwatch::start();
        assert!(watch.now_ms().abs_diff(now_ms()) < 60_000 && watch.steady_ms() <= steady_ms());
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(watch.lap_ns() >= 2_000_000);
    }
}
