//! A bar on standard error while records move; nothing where that is no terminal.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

pub struct Progress(ProgressBar);

impl Progress {
    /// Towards a number of records, if it is known.
    pub fn new(records: Option<u64>) -> Progress {
        if !stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let (bar, template) = match records {
            Some(records) => {
                (ProgressBar::new(records), "{wide_bar} {pos}/{len} records, {per_sec}, {eta} left")
            }
            None => (ProgressBar::new_spinner(), "{spinner} {pos} records, {per_sec}"),
        };
        // the templates are constants; a bad one would show as the plain bar
        Progress(
            bar.with_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar())),
        )
    }

    /// Towards a number of bytes; what advances are bytes, too.
    pub fn bytes(bytes: u64) -> Progress {
        if !stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let style =
            ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
        Progress(ProgressBar::new(bytes).with_style(style.unwrap_or(ProgressStyle::default_bar())))
    }

    pub fn advance(&self, records: usize) {
        self.0.inc(records as u64);
    }

    /// A line above the bar.
    pub fn say(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
