//! Numbers of all kinds: what is read is written so that it reads the same.
#![no_main]

use larder::config::units;
use larder::document::Number;
use larder::document::number::Operation;
use larder::record::number::{LongDouble, format_f64, format_i64, parse_f64, parse_i64};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Some(number) = parse_i64(text) {
        assert_eq!(format_i64(number), text);
    }
    if let Some(number) = parse_f64(text) {
        assert!(!number.is_nan());
        assert_eq!(parse_f64(format_f64(number).as_bytes()), Some(number));
    }
    if let Some(number) = LongDouble::parse(text) {
        let written = number.to_string();
        if !number.is_infinite() {
            assert!(LongDouble::parse(written.as_bytes()).is_some(), "{written}");
        }
        let _ = (number.checked_add(number), number.checked_sub(LongDouble::max()), number.to_f64());
    }
    if let Some(number) = Number::parse(text) {
        // a number beyond the range of a double is JSON, and no result
        for operation in [Operation::Add, Operation::Multiply, Operation::Power] {
            if let Ok(result) = number.apply(operation, number) {
                let written = result.to_text();
                assert!(Number::parse(written.as_bytes()).is_some(), "{written}");
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(text) {
        let _ = (units::parse_bytes(text), units::parse_number(text, 0u32, 9));
    }
});
