//! What each thread counts by itself.
//!
//! Counters that several threads change travel from one processor's cache to the other's at each change, which costs
//! more than looking up a record. So there are several sets of counters, and each thread counts in one of them. Threads
//! share a set only if there are more threads than sets, so additions are atomic. Whoever reads a counter adds up all
//! sets.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use super::Histogram;

const SETS_MAX: usize = 16;

/// Something that CONFIG RESETSTAT resets.
pub trait Reset {
    fn reset(&self);
}

/// Declares a structure whose `reset` resets all its fields.
macro_rules! reset_together {
    ($(#[$about:meta])* $scope:vis struct $name:ident {
        $($(#[$field_about:meta])* $field_scope:vis $field:ident: $kind:ty,)*
    }) => {
        $(#[$about])*
        $scope struct $name { $($(#[$field_about])* $field_scope $field: $kind,)* }

        impl Reset for $name {
            fn reset(&self) {
                $(self.$field.reset();)*
            }
        }
    };
}

reset_together! {
    /// What one thread, or several, counted since the last reset. A counter that is declared here is read as
    /// `stats.total(|counts| &counts.connections)`.
    #[derive(Debug, Default)]
    pub struct Counts {
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
        pub http_requests: AtomicU64,
        /// Requests that were answered with a status of 400 or more.
        pub http_errors: AtomicU64,
        /// How long clients waited.
        pub responses: Histogram,
        pub by_command: Vec<Counters>,
    }
}

reset_together! {
    /// Of one command.
    #[derive(Debug, Default)]
    pub struct Counters {
        pub calls: AtomicU64,
        pub nanos: AtomicU64,
        pub rejected: AtomicU64,
        pub failed: AtomicU64,
        /// Made when the command is first called.
        pub durations: OnceLock<Box<Histogram>>,
    }
}

reset_together! {
    /// Keys that commands looked for to read them.
    #[derive(Debug, Default)]
    pub struct Lookups {
        pub hits: AtomicU64,
        pub misses: AtomicU64,
    }
}

/// All sets of counters.
#[derive(Debug)]
pub struct Sets(Box<[Aligned]>);

/// Apart from the other sets' cache lines, also for processors that fetch lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Aligned(Counts);

impl Sets {
    /// Counters for so many commands.
    pub fn new(commands: usize) -> Sets {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        // there are threads besides those that serve connections
        let sets = (2 * processors).min(SETS_MAX);
        let set = || {
            let by_command = (0..commands).map(|_| Counters::default()).collect();
            Aligned(Counts { by_command, ..Counts::default() })
        };
        Sets((0..sets).map(|_| set()).collect())
    }

    /// The counters of the calling thread.
    pub fn mine(&self) -> &Counts {
        &self.0[thread_number() % self.0.len()].0
    }

    pub fn iter(&self) -> impl Iterator<Item = &Counts> {
        self.0.iter().map(|aligned| &aligned.0)
    }

    pub fn total(&self, counter: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.iter().map(|counts| counter(counts).load(Ordering::Relaxed)).sum()
    }
}

/// A number that each thread is given when it counts for the first time.
fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) });
    NUMBER.with(|number| match number.get() {
        usize::MAX => {
            number.set(THREADS.fetch_add(1, Ordering::Relaxed));
            number.get()
        }
        known => known,
    })
}

impl Reset for Sets {
    fn reset(&self) {
        self.iter().for_each(Counts::reset);
    }
}

impl Reset for AtomicU64 {
    fn reset(&self) {
        self.store(0, Ordering::Relaxed);
    }
}

impl Reset for Histogram {
    fn reset(&self) {
        Histogram::reset(self);
    }
}

impl<T: Reset> Reset for Arc<T> {
    fn reset(&self) {
        (**self).reset();
    }
}

impl<T: Reset> Reset for Box<T> {
    fn reset(&self) {
        (**self).reset();
    }
}

impl<T: Reset> Reset for OnceLock<T> {
    fn reset(&self) {
        self.get().into_iter().for_each(T::reset);
    }
}

impl<T: Reset> Reset for Vec<T> {
    fn reset(&self) {
        self.iter().for_each(T::reset);
    }
}

impl Lookups {
    pub fn count(&self, (hits, misses): (u64, u64)) {
        // even adding 0 has a cost
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
}
