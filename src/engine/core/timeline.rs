//! When records were last changed, for [retention](crate::engine::expiry::retention).
//!
//! The time of a record's last change follows from its version, which is a journal sequence number: a [`Timeline`]
//! knows which number was the last at points in time. Recent points are a second apart, and older ones are further
//! apart, so that a record is removed at most one part in [`PRECISION`] of its retention late, and never early. The
//! timeline is stored with every checkpoint; if a crash loses a part of it, records are removed later.
//!
//! # Time that has passed
//!
//! Ages must not depend on a clock that can be set, so the timeline has its own time, which only grows. While the
//! server runs, it grows by the steady clock ([`crate::engine::clock`]). The time between two runs is added at the start:
//! * If the machine was not booted in between, the steady clock tells it exactly, whatever the wall clock shows.
//! * Otherwise only the wall clock can tell. It is believed when it has agreed with the steady clock for
//!   [`CLOCK_STEP_PATIENCE_MS`], and of several readings that are possible, the shortest is taken: the timeline keeps
//!   how far the wall clock was ahead of it ([`Timeline::settings`]) for every time that the clock was set. If the
//!   clock once was two days slow and is right again now, then the setting from before it was slow says that little
//!   time has passed.
//!
//! No step of the clock therefore removes a record early, except a clock that is wrong for longer than the patience
//! after the machine was booted, or one that was wrong from a directory's first run until the machine was booted again.

use crate::engine::clock::Reading;
use crate::engine::journal::Seq;
use crate::limits::{CLOCK_EARLIEST_MS, CLOCK_SETTINGS_MAX, CLOCK_STEP_FOLLOWED_MS, CLOCK_STEP_PATIENCE_MS};

/// Neighbouring points are at most this fraction of their age apart, or as far apart as they were recorded.
pub const PRECISION: u64 = 256;
/// Points are at least this far apart.
pub const POINT_EVERY_MS: u64 = 1_000;

/// The format of what [`Timeline::encode`] gives.
const FORMAT: u8 = 1;
/// Format, boot id, steady clock, own time, number of settings.
const HEAD_BYTES: usize = 1 + 16 + 8 + 8 + 1;

/// The last change at points in time, in a time that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Milliseconds of the timeline's own time, and sequence numbers. Both are ascending.
    points: Vec<(u64, Seq)>,
    /// The timeline's own time, and the reading of the steady clock at that time.
    own_ms: u64,
    steady_ms: u64,
    /// By how much the wall clock was ahead of the timeline's own time, for each time that it was set.
    settings: Vec<i64>,
    /// The time since the last run is not known yet.
    gap: Option<Gap>,
}

/// The time between two runs, while nobody knows how long it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    /// The timeline's own time when it began.
    began_ms: u64,
    /// Later changes than this one happened after it.
    last: Seq,
}

/// Why a stored timeline can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the timeline of retention has format {0}, and this version knows only format {FORMAT}; use a newer version"
)]
pub struct UnknownFormat(u8);

impl Timeline {
    /// Of a directory that has none yet.
    pub fn new(reading: &Reading) -> Timeline {
        let steady_ms = reading.steady_ms;
        Timeline { points: Vec::new(), own_ms: 0, steady_ms, settings: Vec::new(), gap: None }
    }

    /// Advances the time, and records what the last change is now.
    pub fn observe(&mut self, reading: &Reading, last: Seq) {
        self.pass(reading);
        let is_due = |(ms, seq): &(u64, Seq)| *ms + POINT_EVERY_MS <= self.own_ms && *seq < last;
        if self.points.last().is_none_or(is_due) {
            self.points.push((self.own_ms, last));
            if self.points.len().is_multiple_of(PRECISION as usize) {
                self.thin();
            }
        }
    }

    /// The last change that happened at least so long ago, as far as is known; never a later one.
    pub fn last_before(&self, age_ms: u64) -> Seq {
        let Some(ms) = self.own_ms.checked_sub(age_ms) else { return 0 };
        let after = self.points.partition_point(|(at, _)| *at <= ms);
        after.checked_sub(1).map_or(0, |at| self.points[at].1)
    }

    fn pass(&mut self, reading: &Reading) {
        self.own_ms += reading.steady_ms.saturating_sub(self.steady_ms);
        self.steady_ms = reading.steady_ms;
        if let Some(gap) = self.gap {
            if reading.agreed_ms >= CLOCK_STEP_PATIENCE_MS
                && let Some(passed_ms) = self.passed_ms(reading.wall_ms)
            {
                self.close_gap(gap, passed_ms);
            }
            return;
        }
        let setting = ahead_ms(reading.wall_ms, self.own_ms);
        let is_known =
            self.settings.iter().any(|known| known.abs_diff(setting) <= 2 * CLOCK_STEP_FOLLOWED_MS);
        if !is_known && reading.wall_ms >= CLOCK_EARLIEST_MS {
            self.settings.push(setting);
            self.settings.sort_unstable();
            if self.settings.len() > CLOCK_SETTINGS_MAX {
                // without it, the time between two runs may not be counted, and records are removed later
                self.settings.remove(0);
            }
        }
    }

    /// The shortest time that can have passed beyond the timeline's own time; `None` if the wall clock never showed so
    /// little.
    fn passed_ms(&self, wall_ms: u64) -> Option<u64> {
        let ahead_ms = ahead_ms(wall_ms, self.own_ms);
        self.settings
            .iter()
            .filter(|setting| **setting <= ahead_ms)
            .map(|known| known.abs_diff(ahead_ms))
            .min()
    }

    /// The gap was so long. Everything that happened in this run happened after it.
    fn close_gap(&mut self, gap: Gap, passed_ms: u64) {
        self.gap = None;
        self.own_ms = self.own_ms.saturating_add(passed_ms);
        for (ms, seq) in &mut self.points {
            if *seq > gap.last {
                *ms = ms.saturating_add(passed_ms);
            }
        }
    }

    /// Drops points whose neighbours are close enough together for their age.
    fn thin(&mut self) {
        let mut kept: Vec<(u64, Seq)> = Vec::with_capacity(self.points.len());
        for (at, point) in self.points.iter().enumerate().rev() {
            let older = at.checked_sub(1).map(|before| self.points[before].0);
            let is_needless = kept.last().zip(older).is_some_and(|((later, _), older)| {
                later.saturating_sub(older) <= self.own_ms.saturating_sub(point.0) / PRECISION
            });
            if !is_needless {
                kept.push(*point);
            }
        }
        kept.reverse();
        self.points = kept;
    }

    /// The encoding that is stored with a checkpoint that reflects all changes up to `through`. As long as it is not
    /// known how long ago the last run was, what was known then is stored again.
    pub fn encode(&mut self, reading: &Reading, boot: Option<[u8; 16]>, through: Seq) -> Vec<u8> {
        self.pass(reading);
        let mut points = self.points.clone();
        let (mut boot, mut own_ms) = (boot.unwrap_or_default(), self.own_ms);
        match self.gap {
            Some(gap) => {
                points.retain(|(_, seq)| *seq <= gap.last);
                (boot, own_ms) = (UNKNOWN_BOOT, gap.began_ms);
            }
            None if points.last().is_none_or(|(ms, seq)| *ms < own_ms && *seq < through) => {
                points.push((own_ms, through));
            }
            None => {}
        }
        let mut bytes = vec![FORMAT];
        bytes.extend(boot);
        bytes.extend(self.steady_ms.to_be_bytes());
        bytes.extend(own_ms.to_be_bytes());
        bytes.push(self.settings.len() as u8);
        bytes.extend(self.settings.iter().flat_map(|setting| setting.to_be_bytes()));
        bytes.extend(points.iter().flat_map(|(ms, seq)| [ms.to_be_bytes(), seq.to_be_bytes()].concat()));
        bytes
    }

    /// Decodes what [`encode`](Timeline::encode) returned. Points that are not ascending, or are later than `last`, are
    /// ignored; then records are removed later.
    pub fn decode(
        bytes: &[u8],
        reading: &Reading,
        boot: Option<[u8; 16]>,
        last: Seq,
    ) -> Result<Timeline, UnknownFormat> {
        let mut timeline = Timeline::new(reading);
        if let Some(format) = bytes.first().filter(|format| **format != FORMAT) {
            return Err(UnknownFormat(*format));
        }
        let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Ok(timeline) };
        let settings_bytes = usize::from(head[HEAD_BYTES - 1]) * 8;
        let Some((settings, points)) = rest.split_at_checked(settings_bytes) else { return Ok(timeline) };
        timeline.own_ms = number(&head[25..33]);
        timeline.settings = settings.chunks_exact(8).map(|setting| number(setting) as i64).collect();
        timeline.settings.sort_unstable();
        timeline.points = rising(points, |ms, seq| seq <= last && ms <= timeline.own_ms);
        let same_boot = boot.is_some_and(|boot| boot != UNKNOWN_BOOT && boot == head[1..17]);
        timeline.resume(same_boot.then(|| number(&head[17..25])));
        Ok(timeline)
    }

    /// Decodes what versions before 0.2 stored: points by the wall clock. Those in the future are ignored, because the
    /// clock was wrong when they were recorded.
    pub fn decode_by_wall_clock(bytes: &[u8], reading: &Reading, last: Seq) -> Timeline {
        let points = rising(bytes, |ms, seq| seq <= last && ms <= reading.wall_ms);
        let mut timeline = Timeline::new(reading);
        if let Some((ms, _)) = points.last() {
            timeline.own_ms = if points.len() * 16 == bytes.len() { *ms } else { reading.wall_ms };
            timeline.settings = vec![0];
            timeline.points = points;
            timeline.resume(None);
        }
        timeline
    }

    /// Continues after the last run, given what the steady clock showed then, if it can be compared.
    fn resume(&mut self, steady_ms: Option<u64>) {
        match steady_ms.and_then(|before_ms| self.steady_ms.checked_sub(before_ms)) {
            Some(passed_ms) => self.own_ms = self.own_ms.saturating_add(passed_ms),
            // there is nothing to go by
            None if self.settings.is_empty() => {}
            None => {
                let last = self.points.last().map_or(0, |(_, seq)| *seq);
                self.gap = Some(Gap { began_ms: self.own_ms, last });
            }
        }
    }
}

/// Stands for a boot whose steady clock can't be compared.
const UNKNOWN_BOOT: [u8; 16] = [0; 16];

fn ahead_ms(wall_ms: u64, own_ms: u64) -> i64 {
    i64::try_from(i128::from(wall_ms) - i128::from(own_ms)).unwrap_or(i64::MAX)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// Pairs of milliseconds and sequence numbers that rise and are possible.
fn rising(bytes: &[u8], is_possible: impl Fn(u64, Seq) -> bool) -> Vec<(u64, Seq)> {
    let mut points: Vec<(u64, Seq)> = Vec::new();
    for point in bytes.chunks_exact(16) {
        let (ms, seq) = (number(&point[..8]), number(&point[8..]));
        if is_possible(ms, seq) && points.last().is_none_or(|(before, of)| *before < ms && *of < seq) {
            points.push((ms, seq));
        }
    }
    points
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use crate::engine::core::timeline::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    const HOUR_MS: u64 = 60 * 60 * 1_000;
    /// A right clock when the machine was booted.
    const BOOT_MS: u64 = CLOCK_EARLIEST_MS + 365 * DAY_MS;
    const BOOT: Option<[u8; 16]> = Some([1; 16]);
    const OTHER_BOOT: Option<[u8; 16]> = Some([2; 16]);

    /// One machine, whose wall clock can be wrong, and a timeline on it. Each change is one sequence number.
    struct Machine {
        /// What really has passed.
        true_ms: u64,
        booted_ms: u64,
        boot: [u8; 16],
        wrong_ms: i64,
        set_ms: u64,
        timeline: Timeline,
        stored: Vec<u8>,
        /// When each change happened.
        changes: Vec<u64>,
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// Runs for so long, with one change a minute at the most.
        Run(u64),
        /// The wall clock is off by so much from now on.
        Set(i64),
        /// Ends in order, is away for so long, and starts.
        Restart(u64),
        /// The same without an end in order.
        Crash(u64),
        /// Ends in order, is away for so long while the machine is booted, and starts.
        Reboot(u64),
    }

    impl Machine {
        fn new(wrong_ms: i64) -> Machine {
            let mut machine = Machine {
                true_ms: DAY_MS,
                booted_ms: 0,
                boot: [1; 16],
                wrong_ms,
                set_ms: 0,
                timeline: Timeline::new(&reading(0, 0)),
                stored: Vec::new(),
                changes: Vec::new(),
            };
            machine.timeline = Timeline::new(&machine.reading());
            machine
        }

        fn reading(&self) -> Reading {
            let agreed_ms = self.true_ms - self.set_ms;
            Reading {
                agreed_ms,
                ..reading(self.wrong_ms, self.true_ms).steady(self.true_ms - self.booted_ms)
            }
        }

        fn take(&mut self, step: Step) {
            match step {
                Step::Run(ms) => {
                    let end_ms = self.true_ms + ms;
                    while self.true_ms < end_ms {
                        self.true_ms += (end_ms - self.true_ms).min(60_000);
                        self.changes.push(self.true_ms);
                        self.timeline.observe(&self.reading(), self.changes.len() as Seq);
                    }
                    let (reading, through) = (self.reading(), self.changes.len() as Seq);
                    self.stored = self.timeline.encode(&reading, Some(self.boot), through);
                }
                Step::Set(wrong_ms) => {
                    (self.wrong_ms, self.set_ms) = (wrong_ms, self.true_ms);
                    self.timeline.observe(&self.reading(), self.changes.len() as Seq);
                }
                Step::Restart(ms) | Step::Crash(ms) | Step::Reboot(ms) => {
                    let (reading, last) = (self.reading(), self.changes.len() as Seq);
                    if !matches!(step, Step::Crash(_)) {
                        self.stored = self.timeline.encode(&reading, Some(self.boot), last);
                    }
                    self.true_ms += ms;
                    self.set_ms = self.true_ms;
                    if matches!(step, Step::Reboot(_)) {
                        self.booted_ms = self.true_ms;
                        self.boot[0] += 1;
                    }
                    let (reading, boot) = (self.reading(), Some(self.boot));
                    self.timeline = Timeline::decode(&self.stored, &reading, boot, last).unwrap();
                }
            }
        }

        /// The age of the youngest change that a retention of so long takes.
        fn youngest_taken_ms(&self, retention_ms: u64) -> Option<u64> {
            let last = self.timeline.last_before(retention_ms);
            let at = usize::try_from(last).ok()?.checked_sub(1)?;
            Some(self.true_ms - self.changes[at])
        }
    }

    impl Reading {
        fn steady(self, steady_ms: u64) -> Reading {
            Reading { steady_ms, ..self }
        }
    }

    fn reading(wrong_ms: i64, true_ms: u64) -> Reading {
        let wall_ms = (BOOT_MS + true_ms).saturating_add_signed(wrong_ms);
        Reading { now_ms: wall_ms, wall_ms, steady_ms: true_ms, agreed_ms: 0 }
    }

    #[test]
    fn no_step_of_the_clock_takes_a_record_early_or_turns_retention_off() {
        use Step::*;
        const PATIENCE: u64 = CLOCK_STEP_PATIENCE_MS;
        const FUTURE: i64 = 74 * 365 * DAY_MS as i64;
        const TWO_DAYS: i64 = 2 * DAY_MS as i64;
        const MINUTE: u64 = 60_000;
        // what happens, how wrong the clock is at first, and how late the retention of a day is at the end
        type Case<'a> = (&'a str, i64, &'a [Step], u64);
        let cases: &[Case<'_>] = &[
            ("nothing", 0, &[Run(3 * DAY_MS)], 0),
            (
                "a glimpse of the future",
                0,
                &[Run(HOUR_MS), Set(FUTURE), Run(MINUTE), Set(0), Run(3 * DAY_MS)],
                0,
            ),
            ("a run in the future", FUTURE, &[Run(MINUTE), Set(0), Restart(MINUTE), Run(3 * DAY_MS)], 0),
            (
                "a run in the future before a boot",
                0,
                &[
                    Run(HOUR_MS),
                    Set(FUTURE),
                    Restart(0),
                    Run(MINUTE),
                    Set(0),
                    Reboot(HOUR_MS),
                    Run(3 * DAY_MS),
                ],
                0,
            ),
            ("a run in the past", -TWO_DAYS, &[Run(MINUTE), Set(0), Restart(1_000), Run(MINUTE)], DAY_MS),
            (
                "back and forward",
                0,
                &[Run(HOUR_MS), Set(-TWO_DAYS), Run(HOUR_MS), Set(0), Run(MINUTE)],
                DAY_MS,
            ),
            ("a first start in 1970", -(BOOT_MS as i64), &[Run(MINUTE), Set(0), Run(2 * HOUR_MS)], DAY_MS),
            (
                "a first start in 1970, and a boot",
                -(BOOT_MS as i64),
                &[Run(HOUR_MS), Set(0), Reboot(MINUTE), Run(2 * HOUR_MS)],
                DAY_MS,
            ),
            (
                "in the past from one boot to the next",
                0,
                &[
                    Run(HOUR_MS),
                    Set(-TWO_DAYS),
                    Reboot(MINUTE),
                    Run(HOUR_MS),
                    Set(0),
                    Reboot(MINUTE),
                    Run(HOUR_MS),
                ],
                DAY_MS,
            ),
            (
                "a boot with a clock in the future that is set in time",
                0,
                &[Run(HOUR_MS), Set(FUTURE), Reboot(MINUTE), Run(MINUTE), Set(0), Run(HOUR_MS)],
                DAY_MS,
            ),
            (
                "set forward, and a boot at once",
                -TWO_DAYS,
                &[Run(HOUR_MS), Set(0), Run(MINUTE), Reboot(MINUTE), Run(HOUR_MS)],
                DAY_MS,
            ),
            ("days away", 0, &[Run(HOUR_MS), Restart(3 * DAY_MS), Run(MINUTE)], 0),
            ("days away after a crash", 0, &[Run(HOUR_MS), Crash(3 * DAY_MS), Run(MINUTE)], 0),
            ("days away, with a boot", 0, &[Run(HOUR_MS), Reboot(3 * DAY_MS), Run(PATIENCE + MINUTE)], 0),
            (
                "days away, with a boot, and another start before that is believed",
                0,
                &[Run(HOUR_MS), Reboot(3 * DAY_MS), Run(MINUTE), Restart(MINUTE), Run(PATIENCE + MINUTE)],
                0,
            ),
            (
                "days away, with a boot into the past",
                0,
                &[Run(HOUR_MS), Set(-TWO_DAYS), Reboot(3 * HOUR_MS), Set(0), Run(3 * DAY_MS)],
                0,
            ),
        ];
        for (what, wrong_ms, steps, late_ms) in cases {
            for retention_ms in [MINUTE, HOUR_MS, DAY_MS, 2 * DAY_MS] {
                let mut machine = Machine::new(*wrong_ms);
                for step in *steps {
                    machine.take(*step);
                    let youngest_ms = machine.youngest_taken_ms(retention_ms).unwrap_or(u64::MAX);
                    assert!(youngest_ms >= retention_ms, "{what}: early by {step:?}, {youngest_ms} ms old");
                }
            }
            let mut machine = Machine::new(*wrong_ms);
            steps.iter().for_each(|step| machine.take(*step));
            let through = machine.timeline.last_before(DAY_MS) as usize;
            let due =
                |ms: &&u64| machine.true_ms - **ms >= DAY_MS + late_ms + DAY_MS / PRECISION * 2 + 2 * MINUTE;
            assert!(through >= machine.changes.iter().filter(due).count(), "{what}: late");
        }
    }

    #[test]
    fn a_gap_that_is_not_known_yet_is_stored_as_it_was() {
        let at = |true_ms: u64| Reading { agreed_ms: true_ms, ..reading(0, true_ms) };
        let mut timeline = Timeline::new(&at(0));
        (1..=5).for_each(|seq| timeline.observe(&at(seq * 2_000), seq));
        let stored = timeline.encode(&at(11_000), BOOT, 5);
        let restarted = at(DAY_MS).steady(1_000);
        let mut again =
            Timeline::decode(&stored, &Reading { agreed_ms: 0, ..restarted }, OTHER_BOOT, 9).unwrap();
        again.observe(&Reading { agreed_ms: 2_000, ..at(DAY_MS + 2_000).steady(3_000) }, 9);
        let stored_again =
            again.encode(&Reading { agreed_ms: 3_000, ..restarted.steady(4_000) }, OTHER_BOOT, 9);
        let decode = |bytes: &[u8]| Timeline::decode(bytes, &restarted, OTHER_BOOT, 9).unwrap();
        assert_eq!(decode(&stored), decode(&stored_again));
    }

    #[test]
    fn nonsense_on_disk_is_no_timeline() {
        let now = reading(0, DAY_MS);
        let mut timeline = Timeline::new(&reading(0, 0));
        for (seq, ms) in [(1, 1_000), (5, 5_000), (12, 12_000)] {
            timeline.observe(&reading(0, ms), seq);
        }
        let stored = timeline.encode(&reading(0, 12_000), BOOT, 12);
        let decode = |bytes: &[u8], last| Timeline::decode(bytes, &now, BOOT, last).unwrap();
        assert_eq!(decode(&stored, 12).points, timeline.points);
        assert_eq!(decode(&stored, 9).points, timeline.points[..2], "none lies behind the last change");
        for bytes in [&b""[..], &[FORMAT; 15], &stored[..HEAD_BYTES]] {
            assert_eq!(decode(bytes, 12).points, []);
        }
        for end in 0..stored.len() {
            assert!(decode(&stored[..end], 12).points.len() <= 3);
        }
        let newer = [&[FORMAT + 1], &stored[1..]].concat();
        let refused = Timeline::decode(&newer, &now, BOOT, 12).unwrap_err();
        assert!(
            refused.to_string().contains("has format 2, and this version knows only format 1"),
            "{refused}"
        );
    }

    #[test]
    fn a_timeline_by_the_wall_clock_is_taken_over() {
        let now = Reading { agreed_ms: CLOCK_STEP_PATIENCE_MS, ..reading(0, 10 * DAY_MS) };
        let days_ago = |days: u64| now.wall_ms - days * DAY_MS;
        let bytes = |points: &[(u64, Seq)]| -> Vec<u8> {
            points.iter().flat_map(|(ms, seq)| [ms.to_be_bytes(), seq.to_be_bytes()].concat()).collect()
        };
        type Case<'a> = (&'a str, &'a [(u64, Seq)], [(u64, Seq); 2]);
        // the last change that happened at least so many days ago
        let cases: &[Case<'_>] = &[
            ("none", &[], [(0, 9), (3, 0)]),
            ("as it should be", &[(days_ago(8), 3), (days_ago(2), 7)], [(1, 7), (5, 3)]),
            ("a glimpse of the future", &[(days_ago(8), 3), (now.wall_ms + DAY_MS, 7)], [(0, 9), (5, 3)]),
        ];
        for (what, points, expected) in cases {
            let mut timeline =
                Timeline::decode_by_wall_clock(&bytes(points), &Reading { agreed_ms: 0, ..now }, 9);
            timeline.observe(&now, 9);
            for (days, last) in expected {
                assert_eq!(timeline.last_before(days * DAY_MS), *last, "{what}: {days} days");
            }
        }
    }

    proptest! {
        #[test]
        fn a_timeline_is_small_precise_and_never_early(
            steps in proptest::collection::vec(1_000..400_000u64, 1..3_000),
            ages in proptest::collection::vec(0..400_000_000u64, 1..20),
        ) {
            let (mut now_ms, mut truth) = (1_000_000_000, Vec::new());
            let mut timeline = Timeline::new(&reading(0, now_ms));
            for (at, step) in steps.iter().enumerate() {
                now_ms += step;
                timeline.observe(&reading(0, now_ms), at as Seq + 1);
                truth.push((now_ms, at as Seq + 1));
            }
            prop_assert!(timeline.points.len() < 20 * PRECISION as usize);
            for age in ages {
                let ms = now_ms - age.min(now_ms);
                let last_at = |ms: u64| truth.iter().rev().find(|(at, _)| *at <= ms).map_or(0, |(_, seq)| *seq);
                let known = timeline.last_before(age);
                prop_assert!(known <= last_at(ms), "early");
                let margin = age / PRECISION * 2 + 800_000;
                prop_assert!(known >= last_at(ms.saturating_sub(margin)), "late: {known}");
            }
        }

        #[test]
        fn nothing_goes_early_if_the_clock_is_right_around_boots(
            steps in proptest::collection::vec(
                prop_oneof![
                    (60_000..HOUR_MS).prop_map(Step::Run),
                    (-400..400i64).prop_map(|hours| Step::Set(hours * HOUR_MS as i64)),
                    (0..DAY_MS).prop_map(Step::Restart),
                    (0..DAY_MS).prop_map(Step::Crash),
                    (0..DAY_MS).prop_map(Step::Reboot),
                ],
                1..20,
            ),
        ) {
            let mut machine = Machine::new(0);
            machine.take(Step::Run(60_000));
            for step in steps {
                if matches!(step, Step::Reboot(_)) {
                    machine.take(Step::Set(0));
                    machine.take(step);
                    machine.take(Step::Run(CLOCK_STEP_PATIENCE_MS + 60_000));
                } else {
                    machine.take(step);
                }
                for retention_ms in [60_000, HOUR_MS, DAY_MS] {
                    let youngest_ms = machine.youngest_taken_ms(retention_ms).unwrap_or(u64::MAX);
                    prop_assert!(youngest_ms >= retention_ms, "{step:?}: {youngest_ms}");
                }
            }
        }
    }
}
