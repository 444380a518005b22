//! Counters of the whole server and of each command.
//!
//! Commands are counted by number; the caller provides their names. Counting is a few relaxed additions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{Histogram, process};
use crate::error::Error;

/// So many error codes are counted separately; further ones are not, so that nobody can fill the memory with them.
const ERROR_CODES_MAX: usize = 128;
/// Samples that the rates are the mean of.
const SAMPLES: usize = 16;
/// How often whoever drives the server calls [`Stats::sample`].
pub const SAMPLE_EVERY_MS: u64 = 100;

/// What happened since the start, or since CONFIG RESETSTAT.
#[derive(Debug)]
pub struct Stats {
    pub connections: AtomicU64,
    pub rejected_connections: AtomicU64,
    /// Shared, because a writing command counts look-ups while it runs, and then knows nothing else about the server.
    pub lookups: Arc<Lookups>,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// Times that something was read from a connection, and written to one.
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    pub errors: AtomicU64,
    /// Connections that were ended because a request was longer than `client-query-buffer-limit`.
    pub overlong_requests: AtomicU64,
    /// What was allocated when the server started.
    pub startup_bytes: u64,
    pub http_requests: AtomicU64,
    /// Requests that were answered with a status of 400 or more.
    pub http_errors: AtomicU64,
    /// How long clients waited.
    responses: Histogram,
    port: AtomicU16,
    /// Most bytes that were allocated at any sample.
    memory_peak: AtomicU64,
    /// How many expired records the engine had removed at the last reset.
    expired_before: AtomicU64,
    /// Whether durations are kept as distributions, too.
    tracks_latency: AtomicBool,
    names: Vec<&'static str>,
    by_command: Vec<Counters>,
    by_error: Mutex<BTreeMap<String, u64>>,
    rates: Mutex<Rates>,
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    nanos: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    /// Made when the command is first called.
    durations: OnceLock<Box<Histogram>>,
}

/// Keys that commands looked for to read them.
#[derive(Debug, Default)]
pub struct Lookups {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Lookups {
    pub fn count(&self, (hits, misses): (u64, u64)) {
        // other threads count here, too, so even adding 0 has a cost
        for (counter, count) in [(&self.hits, hits), (&self.misses, misses)] {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// One key, and whether it had a record.
    pub fn count_one(&self, found: bool) {
        self.count((u64::from(found), u64::from(!found)));
    }

    /// How many had a record, and how many had none.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
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

/// Recent totals of commands, bytes in and bytes out, oldest first, with their times.
#[derive(Debug, Default)]
struct Rates {
    samples: Vec<(u64, [u64; 3])>,
}

impl Stats {
    /// Counters for commands of these names, which are counted by their positions.
    pub fn new(names: Vec<&'static str>) -> Stats {
        Stats {
            connections: AtomicU64::default(),
            rejected_connections: AtomicU64::default(),
            lookups: Arc::default(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            reads: AtomicU64::default(),
            writes: AtomicU64::default(),
            errors: AtomicU64::default(),
            overlong_requests: AtomicU64::default(),
            startup_bytes: process::allocated_bytes(),
            http_requests: AtomicU64::default(),
            http_errors: AtomicU64::default(),
            responses: Histogram::default(),
            port: AtomicU16::default(),
            memory_peak: AtomicU64::default(),
            expired_before: AtomicU64::default(),
            tracks_latency: AtomicBool::new(true),
            by_command: names.iter().map(|_| Counters::default()).collect(),
            names,
            by_error: Mutex::default(),
            rates: Mutex::default(),
        }
    }

    /// Bytes were read from a connection.
    pub fn received(&self, bytes: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes were written to a connection.
    pub fn sent(&self, bytes: usize) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A command ran for so long. Most take less than a microsecond.
    pub fn command(&self, command: usize, nanos: u64, failed: bool) {
        if let Some(counters) = self.by_command.get(command) {
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
            self.responses.add_many(nanos, requests as u64);
        }
    }

    /// How long clients [waited](Stats::answered).
    pub fn responses(&self) -> &Histogram {
        &self.responses
    }

    /// How many commands ran. Added up here, so that it costs them nothing.
    pub fn commands(&self) -> u64 {
        self.by_command.iter().map(|counters| counters.calls.load(Ordering::Relaxed)).sum()
    }

    /// Whether [`durations`](Stats::durations) are kept (`latency-tracking`).
    pub fn track_latency(&self, on: bool) {
        self.tracks_latency.store(on, Ordering::Relaxed);
    }

    /// How long a command took each time; none if it was never called.
    pub fn durations(&self, command: usize) -> Option<&Histogram> {
        let histogram = self.by_command.get(command)?.durations.get()?;
        Some(&**histogram).filter(|histogram| histogram.total() > 0)
    }

    /// The durations of all commands that were called, by name.
    pub fn all_durations(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        let all = self.names.iter().enumerate();
        all.filter_map(|(command, name)| Some((*name, self.durations(command)?)))
    }

    /// A command was refused before it ran.
    pub fn rejected(&self, command: usize) {
        if let Some(counters) = self.by_command.get(command) {
            counters.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An error was answered, to a client or a script.
    pub fn error(&self, error: &Error) {
        if matches!(error, Error::Counted(_)) {
            return;
        }
        self.errors.fetch_add(1, Ordering::Relaxed);
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
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let all = self.names.iter().zip(&self.by_command).map(|(name, counters)| {
            let stats = CommandStats {
                calls: read(&counters.calls),
                micros: read(&counters.nanos) / 1_000,
                rejected: read(&counters.rejected),
                failed: read(&counters.failed),
            };
            (*name, stats)
        });
        all.filter(|(_, stats)| *stats != CommandStats::default()).collect()
    }

    /// Error codes, and how often each was answered.
    pub fn by_error(&self) -> Vec<(String, u64)> {
        self.by_error.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// Records the current totals, for the rates, and the memory in use, for its peak.
    pub fn sample(&self, steady_ms: u64) {
        self.note_memory(process::allocated_bytes());
        let totals =
            [self.commands(), self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed)];
        let samples = &mut self.rates.lock().samples;
        samples.push((steady_ms, totals));
        if samples.len() > SAMPLES {
            samples.remove(0);
        }
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

    /// Expired records that were removed since the last reset, given the engine's own count.
    pub fn expired(&self, expired_records: u64) -> u64 {
        expired_records.saturating_sub(self.expired_before.load(Ordering::Relaxed))
    }

    /// The TCP port that is listened on, once it is.
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Resets the counters (CONFIG RESETSTAT). The engine's own counters continue, so their current values are
    /// recorded.
    pub fn reset(&self, expired_records: u64) {
        let totals = [
            &self.connections,
            &self.rejected_connections,
            &self.lookups.hits,
            &self.lookups.misses,
            &self.bytes_in,
            &self.bytes_out,
            &self.reads,
            &self.writes,
            &self.errors,
            &self.overlong_requests,
            &self.http_requests,
            &self.http_errors,
            &self.memory_peak,
        ];
        let per_command = self.by_command.iter().flat_map(|c| [&c.calls, &c.nanos, &c.rejected, &c.failed]);
        totals.into_iter().chain(per_command).for_each(|counter| counter.store(0, Ordering::Relaxed));
        self.by_command.iter().filter_map(|counters| counters.durations.get()).for_each(|h| h.reset());
        self.responses.reset();
        self.expired_before.store(expired_records, Ordering::Relaxed);
        self.by_error.lock().clear();
        self.rates.lock().samples.clear();
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
        assert_eq!(stats.expired(7), 7);
        stats.reset(7);
        assert_eq!(stats.expired(9), 2);
        assert!(stats.by_command().is_empty() && stats.by_error().is_empty());
    }

    #[test]
    fn rates_are_per_second() {
        let stats = Stats::new(vec!["get"]);
        stats.sample(1_000);
        (0..50).for_each(|_| stats.command(0, 1, false));
        stats.bytes_in.fetch_add(10_240, Ordering::Relaxed);
        stats.sample(1_500);
        assert_eq!(stats.ops_per_sec(), 100);
        assert_eq!(stats.kbps(), (20.0, 0.0));
    }
}
