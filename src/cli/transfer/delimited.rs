//! Records as CSV (RFC 4180), under the header `key,value,expires_at,base64`.
//!
//! `expires_at` is in milliseconds since 1970, or empty. `base64` names what is in Base64 because it is not UTF-8:
//! `key`, `value`, `key value`, or nothing. Reading accepts the columns in any order, and `ttl` (seconds) instead of
//! `expires_at`, and ignores others.

use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use csv::{ByteRecord, QuoteStyle, ReaderBuilder, Terminator, WriterBuilder};

use super::lines::deadline_of;
use super::{Found, Record};

pub const HEADER: &str = "key,value,expires_at,base64\r\n";

/// Appends a record as a row.
pub fn write(record: &Record, out: &mut Vec<u8>) -> Result<(), String> {
    let (key, key_is_text) = shown(&record.key);
    let (value, value_is_text) = shown(&record.value);
    let encoded = match (key_is_text, value_is_text) {
        (true, true) => "",
        (false, true) => "key",
        (true, false) => "value",
        (false, false) => "key value",
    };
    let deadline = record.expires_at_ms.map(|deadline| deadline.to_string()).unwrap_or_default();
    let mut row =
        WriterBuilder::new().terminator(Terminator::CRLF).quote_style(QuoteStyle::Necessary).from_writer(out);
    row.write_record([&key[..], &value, deadline.as_bytes(), encoded.as_bytes()])
        .and_then(|()| Ok(row.flush()?))
        .map_err(|error| error.to_string())
}

fn shown(bytes: &[u8]) -> (Vec<u8>, bool) {
    match std::str::from_utf8(bytes) {
        Ok(_) => (bytes.to_vec(), true),
        Err(_) => (STANDARD.encode(bytes).into_bytes(), false),
    }
}

/// The records of a CSV file. Fails if its header lacks a key or a value.
pub fn read<'a>(
    from: impl Read + 'a,
    now_ms: u64,
) -> Result<impl Iterator<Item = Result<Found, String>> + 'a, String> {
    let quotes = Rc::new(Cell::new(Quotes::FieldBegins));
    let from = Watched { from, quotes: quotes.clone() };
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(from);
    let header = reader.byte_headers().map_err(|error| error.to_string())?.clone();
    let column = |name: &str| header.iter().position(|title| title.eq_ignore_ascii_case(name.as_bytes()));
    let (Some(key), Some(value)) = (column("key"), column("value")) else {
        return Err("the first line of a CSV file names its columns, 'key' and 'value' among them".to_owned());
    };
    let columns = Columns {
        key,
        value,
        expires_at: column("expires_at"),
        ttl: column("ttl"),
        base64: column("base64"),
    };
    let mut rows = reader.into_byte_records().peekable();
    Ok(std::iter::from_fn(move || {
        let row = rows.next()?;
        // known once the end has been read
        let is_cut = rows.peek().is_none() && quotes.get() == Quotes::Within;
        Some(found(&columns, row, is_cut, now_ms))
    }))
}

fn found(
    columns: &Columns,
    row: Result<ByteRecord, csv::Error>,
    is_cut: bool,
    now_ms: u64,
) -> Result<Found, String> {
    let row = row.map_err(|error| format!("the input can't be read: {error}"))?;
    let line = row.position().map_or(0, |position| position.line());
    let record = if is_cut {
        Err("the file ends within a field in quotes: it was cut off".to_owned())
    } else {
        columns.record(&row, now_ms)
    };
    Ok(match record {
        Ok(record) => Found::Record(record),
        Err(why) => Found::Refused(format!("line {line}"), why),
    })
}

/// Tracks the state of quotes in a CSV file, because the reader of the crate accepts a file that ends within quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    FieldBegins,
    Without,
    Within,
    /// Behind a quote within quotes: it ends them, unless another follows.
    Ending,
}

impl Quotes {
    fn behind(self, byte: u8) -> Quotes {
        match (self, byte) {
            (Quotes::Within, b'"') => Quotes::Ending,
            (Quotes::Within, _) | (Quotes::FieldBegins | Quotes::Ending, b'"') => Quotes::Within,
            (_, b',' | b'\n' | b'\r') => Quotes::FieldBegins,
            _ => Quotes::Without,
        }
    }
}

/// A reader that tracks quotes.
struct Watched<R> {
    from: R,
    quotes: Rc<Cell<Quotes>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(into)?;
        self.quotes.set(into[..count].iter().fold(self.quotes.get(), |quotes, byte| quotes.behind(*byte)));
        Ok(count)
    }
}

struct Columns {
    key: usize,
    value: usize,
    expires_at: Option<usize>,
    ttl: Option<usize>,
    base64: Option<usize>,
}

impl Columns {
    fn record(&self, row: &ByteRecord, now_ms: u64) -> Result<Record, String> {
        let cell = |column: usize| row.get(column).ok_or_else(|| "a column is missing".to_owned());
        let text = |column: Option<usize>| {
            let text = column.and_then(|column| row.get(column)).unwrap_or_default();
            std::str::from_utf8(text).map(str::trim).map_err(|error| error.to_string())
        };
        let encoded = text(self.base64)?;
        if let Some(word) = encoded.split_whitespace().find(|word| !["key", "value"].contains(word)) {
            return Err(format!("'base64' says '{word}'; it may say 'key', 'value', both or nothing"));
        }
        let decoded = |name: &str, column: usize| {
            let bytes = cell(column)?;
            if encoded.split_whitespace().any(|word| word == name) {
                STANDARD.decode(bytes).map_err(|error| format!("'{name}': {error}"))
            } else {
                Ok(bytes.to_vec())
            }
        };
        let expires_at_ms = match (text(self.expires_at)?, text(self.ttl)?) {
            ("", "") => None,
            ("", ttl) => {
                let ttl = ttl.parse().map_err(|_| format!("'ttl' is '{ttl}', not a number of seconds"))?;
                Some(deadline_of(ttl, now_ms)?)
            }
            (deadline, _) => {
                let wrong = |_| format!("'expires_at' is '{deadline}', not milliseconds since 1970");
                Some(deadline.parse().map_err(wrong)?)
            }
        };
        Ok(Record { key: decoded("key", self.key)?, value: decoded("value", self.value)?, expires_at_ms })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(text: &[u8]) -> Vec<Found> {
        read(text, 5_000).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn other_tables_are_read_too() {
        let found = read_all(b"id,TTL,Value,key\n7,1.5,\"{\"\"a\"\": 1}\",k\n8,,1,l\n9,soon,1,m\n10,1\n");
        let record = |key: &str, value: &str, expires_at_ms| {
            Found::Record(Record { key: key.into(), value: value.into(), expires_at_ms })
        };
        assert_eq!(found[..2], [record("k", r#"{"a": 1}"#, Some(6_500)), record("l", "1", None)]);
        assert!(matches!(&found[2], Found::Refused(line, _) if line == "line 4"), "{found:?}");
        assert!(matches!(&found[3], Found::Refused(..)), "{found:?}");
        assert!(read(&b"a,b\n1,2\n"[..], 0).is_err());
    }

    #[test]
    fn a_file_that_was_cut_in_quotes_and_unknown_words_are_refused() {
        let whole = b"key,value,base64\na,\"say \"\"hi\"\", \n1\",\nb,x\"y,\nc,\"YQ==\",value";
        for end in 17..=whole.len() {
            let found = read_all(&whole[..end]);
            let refused = found
                .iter()
                .filter(|found| matches!(found, Found::Refused(_, why) if why.contains("cut off")));
            // the quotes of the first record, in its middle a doubled one, and those of the last
            let is_within = matches!(end, 20..=24 | 26..=28 | 30..=34 | 47..=51);
            assert_eq!(
                refused.count(),
                usize::from(is_within),
                "{:?}",
                String::from_utf8_lossy(&whole[..end])
            );
        }
        for (word, is_taken) in [
            ("", true),
            ("key", true),
            ("value ", true),
            ("key value", true),
            ("values", false),
            ("yes", false),
        ] {
            let found = read_all(format!("key,value,base64\nYQ==,YQ==,{word}\n").as_bytes());
            assert_eq!(matches!(found[..], [Found::Record(_)]), is_taken, "{word}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(key: Vec<u8>, value: Vec<u8>, expires_at_ms: Option<u64>) {
            let record = Record { key, value, expires_at_ms };
            let mut out = HEADER.as_bytes().to_vec();
            write(&record, &mut out).unwrap();
            prop_assert_eq!(read_all(&out), [Found::Record(record)]);
        }

        #[test]
        fn line_ends_and_quotes_are_kept(value in "[\r\n\", a]{0,12}") {
            let record = Record { key: b"k".to_vec(), value: value.into(), expires_at_ms: None };
            let mut out = HEADER.as_bytes().to_vec();
            write(&record, &mut out).unwrap();
            prop_assert_eq!(read_all(&out), [Found::Record(record)]);
        }
    }
}
