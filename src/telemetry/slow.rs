//! Slow commands: the slow log, and the spikes of the latency monitor.
//!
//! After each command, the gate asks [`Slow::is_notable`], which is one comparison, and reports only what passes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::limits::{LATENCY_SPIKES_PER_EVENT, SLOW_ARGUMENT_BYTES_MAX, SLOW_ARGUMENTS_MAX};

/// The threshold for slow commands, and how many of them are kept.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// In microseconds; negative: no command is.
    pub slow_us: i64,
    pub entries_max: usize,
    /// In milliseconds; 0: nothing is a spike.
    pub spike_ms: u64,
}

/// A slow command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCommand {
    pub id: u64,
    /// When it was done, in seconds since 1970.
    pub at_s: u64,
    pub took_us: u64,
    /// Its words, shortened.
    pub words: Vec<Bytes>,
    pub client_address: String,
    pub client_name: String,
}

/// A moment at which something took long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spike {
    /// In seconds since 1970.
    pub at_s: u64,
    pub took_ms: u64,
}

/// The latest spikes of an event, oldest first, and the longest there ever was.
#[derive(Debug, Clone, Default)]
pub struct Spikes {
    pub latest: VecDeque<Spike>,
    pub longest_ms: u64,
}

/// A finished command, as the slow log needs it.
pub struct Done<'a> {
    pub now_ms: u64,
    pub took_ns: u64,
    /// Its event in the latency monitor.
    pub event: &'static str,
    /// Whether the slow log may have it.
    pub is_logged: bool,
    pub words: &'a [Bytes],
    /// How many of the words may be shown; the others are replaced.
    pub shown_words: usize,
    pub client_address: &'a str,
    pub client_name: &'a str,
}

#[derive(Debug)]
pub struct Slow {
    /// The lower of the two thresholds.
    notable_ns: AtomicU64,
    thresholds: Mutex<Thresholds>,
    log: Mutex<Log>,
    spikes: Mutex<BTreeMap<&'static str, Spikes>>,
}

#[derive(Debug, Default)]
struct Log {
    /// Latest first.
    entries: VecDeque<SlowCommand>,
    next_id: u64,
}

impl Slow {
    pub fn new(thresholds: Thresholds) -> Slow {
        let slow = Slow {
            notable_ns: AtomicU64::default(),
            thresholds: Mutex::new(thresholds),
            log: Mutex::default(),
            spikes: Mutex::default(),
        };
        slow.set_thresholds(thresholds);
        slow
    }

    pub fn set_thresholds(&self, thresholds: Thresholds) {
        let slow_ns =
            u64::try_from(thresholds.slow_us).map_or(u64::MAX, |micros| micros.saturating_mul(1_000));
        let spike_ns = match thresholds.spike_ms {
            0 => u64::MAX,
            millis => millis.saturating_mul(1_000_000),
        };
        *self.thresholds.lock() = thresholds;
        self.notable_ns.store(slow_ns.min(spike_ns), Ordering::Relaxed);
    }

    /// Whether a command that took so long has to be [recorded](Slow::note).
    pub fn is_notable(&self, took_ns: u64) -> bool {
        took_ns >= self.notable_ns.load(Ordering::Relaxed)
    }

    pub fn note(&self, done: &Done<'_>) {
        let thresholds = *self.thresholds.lock();
        let at_s = done.now_ms / 1_000;
        let (took_us, took_ms) = (done.took_ns / 1_000, done.took_ns / 1_000_000);
        if done.is_logged && u64::try_from(thresholds.slow_us).is_ok_and(|slow_us| took_us >= slow_us) {
            let mut log = self.log.lock();
            let entry = SlowCommand {
                id: log.next_id,
                at_s,
                took_us,
                words: shortened(done.words, done.shown_words),
                client_address: done.client_address.to_owned(),
                client_name: done.client_name.to_owned(),
            };
            log.next_id += 1;
            log.entries.push_front(entry);
            log.entries.truncate(thresholds.entries_max);
        }
        if thresholds.spike_ms > 0 && took_ms >= thresholds.spike_ms {
            self.spikes.lock().entry(done.event).or_default().add(Spike { at_s, took_ms });
        }
    }

    /// Up to so many entries, latest first.
    pub fn entries(&self, entries_max: usize) -> Vec<SlowCommand> {
        self.log.lock().entries.iter().take(entries_max).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.log.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the entries; their ids are not used again.
    pub fn clear(&self) {
        self.log.lock().entries.clear();
    }

    /// The spikes of all events, by name.
    pub fn spikes(&self) -> Vec<(&'static str, Spikes)> {
        self.spikes.lock().iter().map(|(event, spikes)| (*event, spikes.clone())).collect()
    }

    /// Forgets the spikes of the selected events. Returns how many events had any.
    pub fn forget_spikes(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        let mut spikes = self.spikes.lock();
        let before = spikes.len();
        spikes.retain(|event, _| !is_meant(event));
        before - spikes.len()
    }
}

impl Spikes {
    /// Of those in the same second the longest is kept.
    fn add(&mut self, spike: Spike) {
        self.longest_ms = self.longest_ms.max(spike.took_ms);
        match self.latest.back_mut() {
            Some(last) if last.at_s == spike.at_s => last.took_ms = last.took_ms.max(spike.took_ms),
            _ => self.latest.push_back(spike),
        }
        if self.latest.len() > LATENCY_SPIKES_PER_EVENT {
            self.latest.pop_front();
        }
    }
}

/// The words of a request as the slow log keeps them: not too many, not too long, and no secrets.
fn shortened(words: &[Bytes], shown_words: usize) -> Vec<Bytes> {
    let kept = if words.len() > SLOW_ARGUMENTS_MAX { SLOW_ARGUMENTS_MAX - 1 } else { words.len() };
    let mut short: Vec<Bytes> = words[..kept]
        .iter()
        .enumerate()
        .map(|(at, word)| match word.len().checked_sub(SLOW_ARGUMENT_BYTES_MAX) {
            _ if at >= shown_words => Bytes::from_static(b"(redacted)"),
            // copied, so that an entry does not keep the whole read buffer
            None | Some(0) => Bytes::copy_from_slice(word),
            Some(more) => {
                let mut text = word[..SLOW_ARGUMENT_BYTES_MAX].to_vec();
                text.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
                text.into()
            }
        })
        .collect();
    if kept < words.len() {
        short.push(format!("... ({} more arguments)", words.len() - kept).into());
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(slow_us: i64, entries_max: usize, spike_ms: u64) -> Slow {
        Slow::new(Thresholds { slow_us, entries_max, spike_ms })
    }

    fn done<'a>(now_ms: u64, took_us: u64, words: &'a [Bytes]) -> Done<'a> {
        Done {
            now_ms,
            took_ns: took_us * 1_000,
            event: "command",
            is_logged: true,
            words,
            shown_words: usize::MAX,
            client_address: "127.0.0.1:5",
            client_name: "me",
        }
    }

    #[test]
    fn only_what_reaches_a_threshold_is_notable() {
        assert!(!slow(-1, 1, 0).is_notable(u64::MAX - 1));
        assert!(slow(0, 1, 0).is_notable(0));
        assert!(slow(10, 1, 0).is_notable(10_000) && !slow(10, 1, 0).is_notable(9_999));
        assert!(slow(-1, 1, 2).is_notable(2_000_000) && !slow(-1, 1, 2).is_notable(1_999_999));
    }

    #[test]
    fn the_latest_entries_are_kept() {
        let slow = slow(10, 2, 0);
        for took_us in [9, 10, 11, 12] {
            slow.note(&done(1_000, took_us, &[]));
        }
        let kept: Vec<_> = slow.entries(9).iter().map(|entry| (entry.id, entry.took_us)).collect();
        assert_eq!(kept, [(2, 12), (1, 11)]);
        slow.clear();
        assert!(slow.is_empty());
        slow.note(&done(1_000, 10, &[]));
        assert_eq!(slow.entries(1)[0].id, 3);
        slow.note(&Done { is_logged: false, ..done(1_000, 10, &[]) });
        assert_eq!(slow.len(), 1);
    }

    #[test]
    fn words_are_shortened() {
        let words: Vec<Bytes> = (0..40).map(|at| "x".repeat(100 + at).into()).collect();
        let short = shortened(&words, usize::MAX);
        assert_eq!(short.len(), 32);
        assert_eq!(short[28].len(), 128);
        assert!(short[29].ends_with(b"x... (1 more bytes)"));
        assert_eq!(short[31], "... (9 more arguments)");
        assert_eq!(shortened(&words[..32], 2)[1..3], [words[1].clone(), "(redacted)".into()]);
        assert_eq!(shortened(&words[..32], 40).len(), 32);
    }

    #[test]
    fn spikes_are_kept_by_event_and_second() {
        let slow = slow(-1, 0, 5);
        for (now_ms, took_us) in
            [(1_000, 6_000), (1_900, 8_000), (1_950, 7_000), (3_000, 4_999), (3_000, 5_000)]
        {
            slow.note(&done(now_ms, took_us, &[]));
        }
        let spikes = slow.spikes();
        assert_eq!(spikes.len(), 1);
        let (event, Spikes { latest, longest_ms }) = &spikes[0];
        assert_eq!((*event, *longest_ms), ("command", 8));
        assert_eq!(*latest, [Spike { at_s: 1, took_ms: 8 }, Spike { at_s: 3, took_ms: 5 }]);
        (0..200).for_each(|second| slow.note(&done(second * 1_000, 9_000, &[])));
        assert_eq!(slow.spikes()[0].1.latest.len(), LATENCY_SPIKES_PER_EVENT);
        assert_eq!(slow.forget_spikes(|event| event == "fork"), 0);
        assert_eq!(slow.forget_spikes(|_| true), 1);
        assert!(slow.spikes().is_empty());
    }
}
