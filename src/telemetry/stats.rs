//! Counters of the whole server and of each command.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::engine::clock;
use crate::error::Error;

/// Error codes that are counted apart; further ones are not, so that nobody can fill the memory with them.
const ERROR_CODES_MAX: usize = 128;

/// What happened since the start, or since CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub struct Stats {
    pub commands: AtomicU64,
    pub connections: AtomicU64,
    pub rejected_connections: AtomicU64,
    pub keyspace_hits: AtomicU64,
    pub keyspace_misses: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub errors: AtomicU64,
    by_command: Mutex<BTreeMap<&'static str, CommandStats>>,
    by_error: Mutex<BTreeMap<String, u64>>,
}

/// What one command did.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommandStats {
    pub calls: u64,
    pub micros: u64,
    pub rejected: u64,
    pub failed: u64,
}

/// A command that runs.
pub struct Measure {
    name: &'static str,
    began: Instant,
}

impl Stats {
    pub fn begin(&self, spec: &'static crate::command::Spec) -> Measure {
        self.commands.fetch_add(1, Ordering::Relaxed);
        Measure { name: spec.name, began: clock::monotonic() }
    }

    pub fn end(&self, measure: Measure, failed: bool) {
        let micros = measure.began.elapsed().as_micros() as u64;
        let mut by_command = self.by_command.lock();
        let stats = by_command.entry(measure.name).or_default();
        stats.calls += 1;
        stats.micros += micros;
        stats.failed += u64::from(failed);
    }

    pub fn rejected(&self, _error: &Error) {}

    pub fn set_port(&self, _port: u16) {}

    pub fn error(&self, error: &Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let line = error.to_string();
        let code = line.split(' ').next().unwrap_or("ERR").to_owned();
        let mut by_error = self.by_error.lock();
        if by_error.len() < ERROR_CODES_MAX || by_error.contains_key(&code) {
            *by_error.entry(code).or_default() += 1;
        }
    }
}
