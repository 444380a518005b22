//! What the server was doing lately: its figures of the last hour, day and week.
//!
//! Every [`LOOK_EVERY`] somebody hands over the figures of that moment as a [`Look`]. Three rings of bounded size keep
//! what happened between two looks: counters as rates, other figures as they were at the end, and how long clients
//! waited as percentiles. The rings survive a restart in a file ([`file`]). Reading the figures is the only work; nothing
//! is added to the way of a request.
//!
//! Knows no commands and no engine: the caller names the figures.

mod file;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Histogram;
pub use file::HistoryError;

/// How often a look is handed over: the step of the finest ring.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The file is written at most this often, and at the end. What was not written is lost in a crash.
const SAVE_EVERY_MS: u64 = 15 * 60 * 1000;
/// A look may come this much too early to count for a ring, because sleeping is not exact.
const EARLY_MS: u64 = 1_000;

/// A ring.
#[derive(Debug, PartialEq, Eq)]
pub struct Span {
    pub name: &'static str,
    pub step_ms: u64,
    /// As many as the span has steps.
    pub points_max: usize,
}

pub static SPANS: [Span; 3] = [
    Span { name: "hour", step_ms: 10_000, points_max: 360 },
    Span { name: "day", step_ms: 120_000, points_max: 720 },
    Span { name: "week", step_ms: 900_000, points_max: 672 },
];

const _: () = assert!(LOOK_EVERY.as_millis() as u64 == SPANS[0].step_ms);

/// The percentiles of the time that clients waited.
const WAITS: [(&str, f64); 3] = [
    ("larder_response_seconds_p50", 50.0),
    ("larder_response_seconds_p99", 99.0),
    ("larder_response_seconds_p999", 99.9),
];

/// A figure that is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    /// Whether it counts something, so that its rate per second is remembered.
    pub is_counter: bool,
}

/// The figures of one moment.
#[derive(Debug)]
pub struct Look {
    pub at_ms: u64,
    /// By the clock that nobody sets.
    pub steady_ms: u64,
    /// In the order of the columns.
    pub figures: Vec<f64>,
    /// How long clients waited, since the start.
    pub responses: Histogram,
    /// Commands since the start. As long as they don't grow, nothing is written, so that the disk can sleep.
    pub commands: u64,
}

/// What happened until a moment. A value that is not known is not a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub at_ms: u64,
    pub values: Box<[f32]>,
}

#[derive(Debug)]
pub struct History {
    columns: Vec<Column>,
    rings: Mutex<Rings>,
}

#[derive(Debug, Default)]
struct Rings {
    /// For each span, the points in the order of time.
    points: [VecDeque<Point>; SPANS.len()],
    /// For each span, the look that its next point begins with.
    last: [Option<Arc<Look>>; SPANS.len()],
    /// When the file was last written, or the server started, and the commands until then.
    saved: Option<(u64, u64)>,
}

impl History {
    pub fn new(columns: Vec<Column>) -> History {
        History { columns, rings: Mutex::default() }
    }

    /// The names of the values of a point.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|column| column.name).chain(WAITS.map(|(name, _)| name))
    }

    /// Remembers what happened since the look before. Returns whether it is time to [`save`](History::save).
    pub fn note(&self, look: Look) -> bool {
        let look = Arc::new(look);
        let rings = &mut *self.rings.lock();
        for (at, span) in SPANS.iter().enumerate() {
            let point = match &rings.last[at] {
                Some(last) if look.steady_ms + EARLY_MS < last.steady_ms + span.step_ms => continue,
                Some(last) => Some(self.between(last, &look)),
                None => None,
            };
            rings.last[at] = Some(look.clone());
            if let Some(point) = point {
                push(&mut rings.points[at], span, point);
            }
        }
        let (saved_ms, commands) = *rings.saved.get_or_insert((look.steady_ms, look.commands));
        let is_due = look.steady_ms >= saved_ms + SAVE_EVERY_MS && look.commands != commands;
        if is_due {
            rings.saved = Some((look.steady_ms, look.commands));
        }
        is_due
    }

    /// The points of a span that are not older than it is long.
    pub fn points(&self, span: &Span, now_ms: u64) -> Vec<Point> {
        let from_ms = now_ms.saturating_sub(span.step_ms * span.points_max as u64);
        let at = SPANS.iter().position(|other| other == span);
        let rings = self.rings.lock();
        let points = at.map(|at| &rings.points[at]).into_iter().flatten();
        points.filter(|point| point.at_ms >= from_ms).cloned().collect()
    }

    fn between(&self, earlier: &Look, later: &Look) -> Point {
        let seconds = (later.steady_ms - earlier.steady_ms) as f64 / 1000.0;
        let figures = self.columns.iter().zip(earlier.figures.iter().zip(&later.figures));
        let figures = figures.map(|(column, (before, now))| match now - before {
            _ if !column.is_counter => *now,
            // CONFIG RESETSTAT sets counters back
            growth if growth < 0.0 => f64::NAN,
            growth => growth / seconds,
        });
        let responses = later.responses.since(&earlier.responses);
        let is_known = responses.total() > 0;
        let waits = WAITS.map(|(_, percent)| match is_known {
            true => responses.percentile_ns(percent) as f64 / 1e9,
            false => f64::NAN,
        });
        let values = figures.chain(waits).map(|value| value as f32).collect();
        Point { at_ms: later.at_ms, values }
    }
}

/// Appends a point. If the clock was set back, later points are dropped.
fn push(points: &mut VecDeque<Point>, span: &Span, point: Point) {
    while points.back().is_some_and(|last| last.at_ms >= point.at_ms) {
        points.pop_back();
    }
    points.push_back(point);
    while points.len() > span.points_max {
        points.pop_front();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;

    pub const COLUMNS: [Column; 2] =
        [Column { name: "calls", is_counter: true }, Column { name: "bytes", is_counter: false }];

    /// A look after so many seconds, with so many calls since the start.
    pub fn look(second: u64, calls: u64) -> Look {
        let responses = Histogram::default();
        responses.add_many(1_000_000, calls);
        let (at_ms, steady_ms) = (1_000_000 + second * 1000, second * 1000);
        Look { at_ms, steady_ms, figures: vec![calls as f64, 7.0], responses, commands: calls }
    }

    fn known(history: &History, span: usize) -> Vec<(u64, f32)> {
        let points = history.points(&SPANS[span], 1_000_000);
        points.iter().map(|point| ((point.at_ms - 1_000_000) / 1000, point.values[0])).collect()
    }

    #[test]
    fn counters_become_rates_and_waits_percentiles() {
        let history = History::new(COLUMNS.to_vec());
        assert_eq!(
            history.names().collect::<Vec<_>>()[..3],
            ["calls", "bytes", "larder_response_seconds_p50"]
        );
        for look in [look(0, 50), look(10, 150), look(20, 150), look(30, 20)] {
            history.note(look);
        }
        let points = history.points(&SPANS[0], 1_000_000);
        assert_eq!((points[0].values[0], points[0].values[1]), (10.0, 7.0));
        assert!((0.001..0.0011).contains(&points[0].values[2]), "{points:?}");
        // nobody waited, so it is not known how long
        assert_eq!(points[1].values[0], 0.0);
        assert!(points[1].values[2].is_nan());
        // counters were set back
        assert!(points[2].values[0].is_nan());
    }

    #[test]
    fn each_span_has_its_step_and_its_length() {
        let history = History::new(COLUMNS.to_vec());
        // eight days, in steps of a minute, which are too long for the hour and exact for the others
        for minute in 0..8 * 24 * 60 {
            history.note(look(minute * 60, minute * 60));
        }
        for (at, span) in SPANS.iter().enumerate() {
            let points = known(&history, at);
            assert_eq!(points.len(), span.points_max, "{}", span.name);
            assert!(points.is_sorted() && points.iter().all(|(_, rate)| *rate == 1.0), "{}", span.name);
            let steps = points.windows(2).map(|pair| pair[1].0 - pair[0].0);
            assert!(steps.into_iter().all(|step| step == (span.step_ms / 1000).max(60)), "{}", span.name);
        }
        // what is older than the span is not shown
        let late_ms = 1_000_000 + (8 * 24 * 60 + 30) * 60_000;
        assert_eq!(history.points(&SPANS[0], late_ms).len(), 30);
        assert_eq!(history.points(&SPANS[1], late_ms + 7 * 24 * 3_600_000).len(), 0);
    }

    #[test]
    fn a_look_that_comes_a_little_early_counts() {
        let history = History::new(COLUMNS.to_vec());
        let at = |steady_ms, at_ms| Look { steady_ms, at_ms, ..look(0, 0) };
        for steady_ms in [0, 9_990, 15_000, 20_010] {
            history.note(at(steady_ms, 1_000_000 + steady_ms));
        }
        assert_eq!(known(&history, 0).iter().map(|(second, _)| *second).collect::<Vec<_>>(), [9, 20]);
        // somebody set the clock back
        history.note(at(30_000, 1_015_000));
        assert_eq!(known(&history, 0).iter().map(|(second, _)| *second).collect::<Vec<_>>(), [9, 15]);
    }

    #[test]
    fn nothing_is_saved_while_nobody_asks_for_anything() {
        let history = History::new(COLUMNS.to_vec());
        let minutes = |from: u64, calls: u64| -> Vec<u64> {
            (from..from + 60).filter(|minute| history.note(look(minute * 60, calls))).collect()
        };
        assert_eq!(minutes(0, 5), [0_u64; 0]);
        // at the first look after something has happened, and then not again
        assert_eq!(minutes(60, 6), [60]);
        let busy: Vec<u64> =
            (120..180).filter(|minute| history.note(look(minute * 60, minute * 9))).collect();
        assert_eq!(busy, [120, 135, 150, 165]);
    }
}
