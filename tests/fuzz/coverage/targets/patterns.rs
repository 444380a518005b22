//! Glob patterns: what matches begins with the literal prefix, which is what a scan relies on.
#![no_main]

use larder::store::Pattern;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (pattern, string) = input;
    let Ok(compiled) = Pattern::new(pattern) else { return };
    let matches = compiled.matches(string);
    if matches {
        assert!(string.starts_with(compiled.literal_prefix()));
        assert!(!compiled.is_literal() || string == compiled.literal_prefix());
    }
    assert!(!compiled.is_all() || matches);
    if let Ok(compiled) = Pattern::ignoring_case(pattern) {
        let _ = compiled.matches(string);
    }
});
