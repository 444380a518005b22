//! Import: JSON lines, CSV and commands. A record that was read is written so that it reads the same.
#![no_main]

use larder::cli::transfer::{Found, commands, delimited, lines};
use libfuzzer_sys::fuzz_target;

const NOW_MS: u64 = 1_700_000_000_000;

fuzz_target!(|text: &[u8]| {
    for found in lines::read(text, NOW_MS).flatten() {
        let Found::Record(record) = found else { continue };
        let mut line = Vec::new();
        lines::write(&record, NOW_MS, &mut line);
        let again = lines::read(&line[..], NOW_MS).next();
        // a record that is due by now has no line of its own
        if record.expires_at_ms.is_none_or(|deadline| deadline > NOW_MS) {
            let Some(Ok(Found::Record(again))) = again else { panic!("{}", line.escape_ascii()) };
            assert_eq!((again.key, again.value), (record.key, record.value));
        }
    }
    if let Ok(rows) = delimited::read(text, NOW_MS) {
        for found in rows.flatten() {
            let Found::Record(record) = found else { continue };
            let mut row = delimited::HEADER.as_bytes().to_vec();
            if delimited::write(&record, &mut row).is_err() {
                panic!("can't be written: {record:?}");
            }
            let again = delimited::read(&row[..], NOW_MS).ok().and_then(|mut rows| rows.next());
            assert_eq!(again, Some(Ok(Found::Record(record))));
        }
    }
    commands::read(text, NOW_MS).for_each(drop);
});
