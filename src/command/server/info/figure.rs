//! A figure of the server: its names, its meaning, and how it is read. [`sections`](super::sections) declares them;
//! INFO, `/metrics` and the dashboard are views of these declarations.

use std::path::Path;

use super::sample::Sample;
use crate::telemetry::histogram::Distribution;

/// A section of INFO. Clients ask for it by its title, in any case.
pub struct Section {
    pub title: &'static str,
    /// Whether INFO shows it by default.
    pub by_default: bool,
    /// Whether it can be read while a script runs.
    pub without_engine: bool,
    /// In the order in which INFO shows them.
    pub parts: &'static [Part],
}

pub enum Part {
    Figures(&'static [Figure<Read>]),
    /// Figures of each of several things, such as commands or stores.
    Family(&'static dyn Rows),
    /// Fields with a fixed value.
    Fixed(&'static [(&'static str, &'static str)]),
}

/// How a figure of the whole server is read.
pub type Read = fn(&Sample<'_>) -> Value;

/// How a figure of a row of a family is read.
pub type ReadRow<T> = fn(&T) -> Value;

/// One figure.
#[derive(Clone, Copy)]
pub struct Figure<R> {
    /// The field of INFO: Redis's name if Redis has it. `None` if INFO doesn't show it.
    pub field: Option<&'static str>,
    pub read: R,
    pub metric: Option<Metric>,
    /// Whether it counts from the last CONFIG RESETSTAT on, although its source counts from the start of the server on.
    pub resets: bool,
    /// Whether the history keeps it, by the name of its metric.
    pub is_remembered: bool,
}

/// The metric of a figure for Prometheus.
#[derive(Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// The factor from the figure's unit to the metric's unit.
    pub scale: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A figure of the whole server.
pub const fn figure(field: &'static str, read: Read) -> Figure<Read> {
    Figure { field: Some(field), read, metric: None, resets: false, is_remembered: false }
}

/// A figure of each row of a family. If it has no name, it is the only field that INFO shows for the row.
pub const fn column<T>(field: &'static str, read: ReadRow<T>) -> Figure<ReadRow<T>> {
    Figure { field: Some(field), read, metric: None, resets: false, is_remembered: false }
}

impl<R: Copy> Figure<R> {
    pub const fn counter(self, name: &'static str, help: &'static str) -> Figure<R> {
        self.metric(Kind::Counter, name, help)
    }

    pub const fn gauge(self, name: &'static str, help: &'static str) -> Figure<R> {
        self.metric(Kind::Gauge, name, help)
    }

    /// A distribution, which INFO can't show.
    pub const fn histogram(self, name: &'static str, help: &'static str) -> Figure<R> {
        Figure { field: None, ..self.metric(Kind::Histogram, name, help) }
    }

    const fn metric(self, kind: Kind, name: &'static str, help: &'static str) -> Figure<R> {
        Figure { metric: Some(Metric { name, kind, help, scale: 1.0 }), ..self }
    }

    /// The metric has another unit.
    pub const fn scaled(self, scale: f64) -> Figure<R> {
        match self.metric {
            Some(metric) => Figure { metric: Some(Metric { scale, ..metric }), ..self },
            None => self,
        }
    }

    /// CONFIG RESETSTAT sets it back to 0.
    pub const fn resets(self) -> Figure<R> {
        Figure { resets: true, ..self }
    }

    /// The history keeps it. It must not depend on who reads it.
    pub const fn remembered(self) -> Figure<R> {
        Figure { is_remembered: true, ..self }
    }
}

impl Figure<Read> {
    pub fn value(&self, sample: &Sample<'_>) -> Value {
        match ((self.read)(sample), self.field) {
            (Value::Count(count), Some(field)) if self.resets => {
                Value::Count(sample.stats().since_reset(field, count))
            }
            (value, _) => value,
        }
    }
}

/// The value of a figure at one moment.
pub enum Value {
    Count(u64),
    /// A number of bytes. INFO shows it a second time in a form for people.
    Bytes(u64),
    /// A number, and how many decimal places INFO shows.
    Decimal(f64, usize),
    Text(String),
    Distribution(Distribution),
}

impl Value {
    /// The value as a number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Count(count) | Value::Bytes(count) => Some(*count as f64),
            Value::Decimal(number, _) => Some(*number),
            Value::Text(_) | Value::Distribution(_) => None,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Count(count) | Value::Bytes(count) => write!(f, "{count}"),
            Value::Decimal(number, places) => write!(f, "{number:.places$}"),
            Value::Text(text) => f.write_str(text),
            Value::Distribution(_) => Ok(()),
        }
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Value {
        Value::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Value {
        Value::Count(count as u64)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Value {
        Value::Count(u64::from(is))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<&Path> for Value {
    fn from(path: &Path) -> Value {
        Value::Text(path.display().to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

/// Figures of each of several things of one kind.
pub struct Family<T: 'static> {
    /// The beginning of the field of INFO for each row. The name of the row follows it.
    pub prefix: &'static str,
    /// The label for Prometheus that contains the name of a row.
    pub label: &'static str,
    /// The rows, by name.
    pub rows: fn(&Sample<'_>) -> Vec<(String, T)>,
    pub columns: &'static [Figure<ReadRow<T>>],
}

/// A [`Family`] of any kind of rows.
pub trait Rows: Sync {
    fn prefix(&self) -> &'static str;

    fn label(&self) -> &'static str;

    fn metrics(&self) -> Vec<Metric>;

    /// The name of each row, and its fields of INFO.
    fn fields_of_rows(&self, sample: &Sample<'_>) -> Vec<(String, Vec<(&'static str, Value)>)>;

    /// The name of each row, and its value of each metric.
    fn metrics_of_rows(&self, sample: &Sample<'_>) -> Vec<(String, Vec<(Metric, Value)>)>;
}

impl<T> Rows for Family<T> {
    fn prefix(&self) -> &'static str {
        self.prefix
    }

    fn label(&self) -> &'static str {
        self.label
    }

    fn metrics(&self) -> Vec<Metric> {
        self.columns.iter().filter_map(|column| column.metric).collect()
    }

    fn fields_of_rows(&self, sample: &Sample<'_>) -> Vec<(String, Vec<(&'static str, Value)>)> {
        self.read(sample, |column| column.field)
    }

    fn metrics_of_rows(&self, sample: &Sample<'_>) -> Vec<(String, Vec<(Metric, Value)>)> {
        self.read(sample, |column| column.metric)
    }
}

impl<T> Family<T> {
    /// Reads only the columns that are shown.
    fn read<S>(
        &self,
        sample: &Sample<'_>,
        shown: impl Fn(&Figure<ReadRow<T>>) -> Option<S>,
    ) -> Vec<(String, Vec<(S, Value)>)> {
        let read = |thing: &T| {
            let columns = self.columns.iter();
            columns.filter_map(|column| Some((shown(column)?, (column.read)(thing)))).collect()
        };
        (self.rows)(sample).into_iter().map(|(name, thing)| (name, read(&thing))).collect()
    }
}
