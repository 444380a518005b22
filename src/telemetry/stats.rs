//! Counters of the whole server and of each command.
//!
//! Commands are counted by number; the caller provides their names. Counting is a few relaxed additions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::counts::{Counters, Counts, Reset, Sets};
use super::{Histogram, process};
use crate::error::Error;

/// So many error codes are counted separately; further ones are not, so that nobody can fill the memory with them.
const ERROR_CODES_MAX: usize = 128;
/// Samples that the rates are the mean of.
const SAMPLES: usize = 16;
/// As long as nothing happens, only one of so many samples is a thorough one.
const QUIET_SAMPLES: u32 = 10;
/// How often whoever drives the server calls [`Stats::sample`], and how often if nothing has happened for
/// [`SAMPLES_BEFORE_REST`] samples.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
const SAMPLE_EVERY_AT_REST: Duration = Duration::from_millis(500);
const SAMPLES_BEFORE_REST: u32 = 100;

/// Counters of the server since the start, or since CONFIG RESETSTAT, and what it needs for them.
#[derive(Debug)]
pub struct Stats {
    counts: Sets,
    by_error: Mutex<BTreeMap<String, u64>>,
    rates: Mutex<Rates>,
    /// Most bytes that were allocated at any sample.
    memory_peak: AtomicU64,
    /// What was allocated when the server started.
    pub startup_bytes: u64,
    port: AtomicU16,
    /// Whether durations are kept as distributions, too.
    tracks_latency: AtomicBool,
    names: Vec<&'static str>,
    /// What counters of others, which are never reset, were at the last reset, by their names.
    before: Mutex<BTreeMap<&'static str, u64>>,
}

/// What one command did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandStats {
    pub calls: u64,
    pub micros: u64,
    /// Refused before it ran: wrong number of arguments, not authenticated.
    pub rejected: u64,
    pub failed: u64,
}

/// Recent totals of commands, bytes in, bytes out and HTTP requests, oldest first, with their times.
#[derive(Debug, Default)]
struct Rates {
    samples: Vec<(u64, [u64; 4])>,
    /// Samples in a row at which nothing had happened.
    quiet: u32,
}

impl Stats {
    /// Counters for commands of these names, which are counted by their positions.
    pub fn new(names: Vec<&'static str>) -> Stats {
        Stats {
            counts: Sets::new(names.len()),
            by_error: Mutex::default(),
            rates: Mutex::default(),
            memory_peak: AtomicU64::default(),
            startup_bytes: process::allocated_bytes(),
            port: AtomicU16::default(),
            tracks_latency: AtomicBool::new(true),
            names,
            before: Mutex::default(),
        }
    }

    /// The counters of the calling thread.
    pub fn mine(&self) -> &Counts {
        self.counts.mine()
    }

    /// The sum of one counter of all threads.
    pub fn total(&self, counter: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.counts.total(counter)
    }

    /// Bytes were read from a connection.
    pub fn received(&self, bytes: usize) {
        let counts = self.mine();
        counts.reads.fetch_add(1, Ordering::Relaxed);
        counts.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes were written to a connection.
    pub fn sent(&self, bytes: usize) {
        let counts = self.mine();
        counts.writes.fetch_add(1, Ordering::Relaxed);
        counts.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A command ran for so long. Most take less than a microsecond.
    pub fn command(&self, command: usize, nanos: u64, failed: bool) {
        if let Some(counters) = self.mine().by_command.get(command) {
            counters.calls.fetch_add(1, Ordering::Relaxed);
            counters.nanos.fetch_add(nanos, Ordering::Relaxed);
            if failed {
                counters.failed.fetch_add(1, Ordering::Relaxed);
            }
            if self.tracks_latency.load(Ordering::Relaxed) {
                counters.durations.get_or_init(Box::default).add(nanos);
            }
        }
    }

    /// So many requests that arrived together were answered after so long: from when they were read from their connection
    /// until their replies were sent, the wait for the disk included.
    pub fn answered(&self, requests: usize, nanos: u64) {
        if requests > 0 {
            self.mine().responses.add_many(nanos, requests as u64);
        }
    }

    /// How long clients [waited](Stats::answered).
    pub fn responses(&self) -> Histogram {
        Histogram::sum(self.counts.iter().map(|counts| &counts.responses))
    }

    /// How many commands ran. Added up here, so that it costs them nothing.
    pub fn commands(&self) -> u64 {
        let by_command = self.counts.iter().flat_map(|counts| &counts.by_command);
        by_command.map(|counters| counters.calls.load(Ordering::Relaxed)).sum()
    }

    /// Whether [`durations`](Stats::durations) are kept (`latency-tracking`).
    pub fn track_latency(&self, on: bool) {
        self.tracks_latency.store(on, Ordering::Relaxed);
    }

    /// How long a command took each time; none if it was never called.
    pub fn durations(&self, command: usize) -> Option<Histogram> {
        let of_each = self.counts.iter().filter_map(|counts| counts.by_command.get(command)?.durations.get());
        let durations: Vec<&Histogram> = of_each.map(|durations| &**durations).collect();
        let all = (!durations.is_empty()).then(|| Histogram::sum(durations.into_iter()))?;
        Some(all).filter(|histogram| histogram.total() > 0)
    }

    /// The durations of all commands that were called, by name.
    pub fn all_durations(&self) -> impl Iterator<Item = (&'static str, Histogram)> {
        let all = self.names.iter().enumerate();
        all.filter_map(|(command, name)| Some((*name, self.durations(command)?)))
    }

    /// A command was refused before it ran.
    pub fn rejected(&self, command: usize) {
        if let Some(counters) = self.mine().by_command.get(command) {
            counters.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An error was answered, to a client or a script.
    pub fn error(&self, error: &Error) {
        if matches!(error, Error::Counted(_)) {
            return;
        }
        self.mine().errors.fetch_add(1, Ordering::Relaxed);
        let line = error.to_string();
        let code = line.split(' ').next().unwrap_or("ERR");
        let mut by_error = self.by_error.lock();
        if let Some(count) = by_error.get_mut(code) {
            *count += 1;
        } else if by_error.len() < ERROR_CODES_MAX {
            by_error.insert(code.to_owned(), 1);
        }
    }

    /// Commands that were called or refused, by name.
    pub fn by_command(&self) -> Vec<(&'static str, CommandStats)> {
        let all = self.names.iter().enumerate().map(|(command, name)| {
            let total = |counter: fn(&Counters) -> &AtomicU64| {
                let of_each = self.counts.iter().filter_map(|counts| counts.by_command.get(command));
                of_each.map(|counters| counter(counters).load(Ordering::Relaxed)).sum::<u64>()
            };
            let stats = CommandStats {
                calls: total(|counters| &counters.calls),
                micros: total(|counters| &counters.nanos) / 1_000,
                rejected: total(|counters| &counters.rejected),
                failed: total(|counters| &counters.failed),
            };
            (*name, stats)
        });
        all.filter(|(_, stats)| *stats != CommandStats::default()).collect()
    }

    /// Error codes, and how often each was answered.
    pub fn by_error(&self) -> Vec<(String, u64)> {
        self.by_error.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// Records the current totals, for the rates, and the memory in use, for its peak. Asking for the memory costs more
    /// than everything else that an idle server does, so it happens less often while nobody asks the server anything.
    /// Returns whether this sample was such a thorough one.
    pub fn sample(&self, steady_ms: u64) -> bool {
        let totals = [
            self.commands(),
            self.total(|counts| &counts.bytes_in),
            self.total(|counts| &counts.bytes_out),
            self.total(|counts| &counts.http_requests),
        ];
        let is_thorough = {
            let Rates { samples, quiet } = &mut *self.rates.lock();
            let has_happened = samples.last().is_none_or(|(_, last)| *last != totals);
            *quiet = if has_happened { 0 } else { quiet.saturating_add(1) };
            samples.push((steady_ms, totals));
            if samples.len() > SAMPLES {
                samples.remove(0);
            }
            quiet.is_multiple_of(QUIET_SAMPLES)
        };
        if is_thorough {
            self.note_memory(process::allocated_bytes());
        }
        is_thorough
    }

    /// How long to wait before the next [`sample`](Stats::sample).
    pub fn samples_every(&self) -> Duration {
        let is_at_rest = self.rates.lock().quiet >= SAMPLES_BEFORE_REST;
        if is_at_rest { SAMPLE_EVERY_AT_REST } else { SAMPLE_EVERY }
    }

    /// Commands a second, lately.
    pub fn ops_per_sec(&self) -> u64 {
        self.rate(0) as u64
    }

    /// Kilobytes a second, in and out, lately.
    pub fn kbps(&self) -> (f64, f64) {
        (self.rate(1) / 1024.0, self.rate(2) / 1024.0)
    }

    fn rate(&self, of: usize) -> f64 {
        let rates = self.rates.lock();
        match (rates.samples.first(), rates.samples.last()) {
            (Some((from_ms, from)), Some((to_ms, to))) if to_ms > from_ms => {
                to[of].saturating_sub(from[of]) as f64 * 1000.0 / (to_ms - from_ms) as f64
            }
            _ => 0.0,
        }
    }

    /// The most memory that was seen in use, given what is used now.
    pub fn note_memory(&self, allocated_bytes: u64) -> u64 {
        self.memory_peak.fetch_max(allocated_bytes, Ordering::Relaxed).max(allocated_bytes)
    }

    /// How much a counter that is never reset has grown since the last reset.
    pub fn since_reset(&self, name: &str, count: u64) -> u64 {
        count.saturating_sub(self.before.lock().get(name).copied().unwrap_or(0))
    }

    /// The TCP port that is listened on, once it is.
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Resets the counters (CONFIG RESETSTAT). Counters of others continue, so their current values are recorded.
    pub fn reset(&self, counted_by_others: BTreeMap<&'static str, u64>) {
        self.counts.reset();
        self.by_error.lock().clear();
        *self.rates.lock() = Rates::default();
        self.memory_peak.store(0, Ordering::Relaxed);
        *self.before.lock() = counted_by_others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_errors_are_counted_and_forgotten() {
        let stats = Stats::new(vec!["get", "set"]);
        stats.command(1, 700, false);
        stats.command(1, 11_500, true);
        stats.rejected(0);
        stats.error(&Error::Syntax);
        let set = CommandStats { calls: 2, micros: 12, rejected: 0, failed: 1 };
        assert_eq!(
            stats.by_command(),
            [("get", CommandStats { rejected: 1, ..Default::default() }), ("set", set)]
        );
        assert_eq!(stats.by_error(), [("ERR".to_owned(), 1)]);
        assert_eq!(stats.since_reset("expired_keys", 7), 7);
        stats.reset(BTreeMap::from([("expired_keys", 7)]));
        assert_eq!(stats.since_reset("expired_keys", 9), 2);
        assert!(stats.by_command().is_empty() && stats.by_error().is_empty());
    }

    #[test]
    fn rates_are_per_second() {
        let stats = Stats::new(vec!["get"]);
        stats.sample(1_000);
        (0..50).for_each(|_| stats.command(0, 1, false));
        stats.mine().bytes_in.fetch_add(10_240, Ordering::Relaxed);
        stats.sample(1_500);
        assert_eq!(stats.ops_per_sec(), 100);
        assert_eq!(stats.kbps(), (20.0, 0.0));
    }

    #[test]
    fn samples_of_a_server_that_is_asked_nothing_are_rarely_thorough() {
        let stats = Stats::new(vec!["get"]);
        let thorough = |count| (0..count).filter(|_| stats.sample(0)).count();
        assert_eq!(thorough(100), 10);
        assert_eq!(stats.samples_every(), SAMPLE_EVERY);
        assert_eq!(thorough(901), 91);
        assert_eq!(stats.samples_every(), SAMPLE_EVERY_AT_REST);
        let activities: [&dyn Fn(); 4] =
            [&|| stats.command(0, 1, false), &|| stats.received(1), &|| stats.sent(1), &|| {
                stats.mine().http_requests.store(1, Ordering::Relaxed)
            }];
        for active in activities {
            active();
            assert_eq!((thorough(1), stats.samples_every()), (1, SAMPLE_EVERY));
            assert_eq!(thorough(9), 0);
        }
    }
}
