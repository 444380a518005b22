//! What export and import share: records in transit, their file formats, and their sources.
//!
//! Knows no command line. Everything runs on the subcommand's thread.

pub mod commands;
pub mod delimited;
pub mod deliver;
pub mod lines;
pub mod progress;
pub mod rdb;
mod shape;
pub mod source;

pub use crate::record::line::Record;

/// What a source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Record(Record),
    /// The number of the database that the following records are from.
    Database(u64),
    /// The code of a library of functions.
    Library(Vec<u8>),
    /// Something that is no record, or can't become one, and the reason.
    Refused(String, String),
}

/// Records one by one, or why there are no more.
pub type Source<'a> = Box<dyn Iterator<Item = Result<Found, String>> + 'a>;

/// Refusals that are described one by one; further ones are only counted.
const DESCRIBED_MAX: u64 = 100;

/// Reports what was refused, on standard error.
#[derive(Debug, Default)]
pub struct Refusals(u64);

impl Refusals {
    pub fn add(&mut self, progress: &progress::Progress, what: &str, why: &str) {
        self.0 += 1;
        match self.0 {
            ..=DESCRIBED_MAX => progress.say(&format!("refused: {what}: {why}")),
            count if count == DESCRIBED_MAX + 1 => progress.say("further refusals are only counted"),
            _ => {}
        }
    }

    pub fn count(&self) -> u64 {
        self.0
    }
}

/// How a record is named in a message.
pub fn named(key: &[u8]) -> String {
    format!("key '{}'", shown(key))
}

/// How a library of functions is named in a message: with its first line, which has its name.
pub fn named_library(code: &[u8]) -> String {
    let line = code.split(|byte| *byte == b'\n').next().unwrap_or_default();
    format!("library of functions '{}'", shown(line))
}

fn shown(text: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 128;
    String::from_utf8_lossy(&text[..text.len().min(SHOWN_BYTES_MAX)]).escape_debug().to_string()
}
