//! Files of JSON lines: [`crate::record::line`]s, one after the other.

use std::io::BufRead;

pub use crate::record::line::{deadline_of, write};

use super::Found;
use crate::record::line::{parse, without_mark};

/// The records of JSON lines.
pub fn read<'a>(
    mut from: impl BufRead + 'a,
    now_ms: u64,
) -> impl Iterator<Item = Result<Found, String>> + 'a {
    let (mut number, mut has_failed) = (0, false);
    std::iter::from_fn(move || {
        while !has_failed {
            let mut line = Vec::new();
            number += 1;
            match from.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {
                    let line = if number == 1 { without_mark(&line) } else { &line[..] };
                    if line.trim_ascii().is_empty() {
                        continue;
                    }
                    return Some(Ok(match parse(line, now_ms) {
                        Ok(record) => Found::Record(record),
                        Err(why) => Found::Refused(format!("line {number}"), why),
                    }));
                }
                Err(error) => {
                    has_failed = true;
                    return Some(Err(format!("the input can't be read: {error}")));
                }
            }
        }
        None
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_in_front_is_no_part_of_the_first_record() {
        let record = "{\"key\":\"a\",\"value\":1}\n";
        let marked = format!("\u{feff}{record}");
        for (input, records) in
            [(marked.clone(), 1), (format!("\u{feff}\n{record}"), 1), (format!("{record}{marked}"), 1)]
        {
            let found = read(input.as_bytes(), 0).map(Result::unwrap);
            assert_eq!(found.filter(|found| matches!(found, Found::Record(_))).count(), records, "{input:?}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused_with_its_line() {
        let input = "\n{\"key\":\"a\"}\n{\"key\":\"b\",\"value\":}\n{\"key\":\"c\",\"value\":null}";
        let found: Vec<_> = read(input.as_bytes(), 0).map(Result::unwrap).collect();
        assert!(matches!(&found[0], Found::Refused(line, _) if line == "line 2"));
        assert!(matches!(&found[1], Found::Refused(line, _) if line == "line 3"));
        assert!(matches!(&found[2], Found::Record(record) if record.value == b"null"));
    }
}
