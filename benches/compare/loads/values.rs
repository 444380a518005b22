//! JSON values that are all different, and the same at every run.

use std::fmt::Write as _;

/// A number that looks random and is the same at every run.
fn scramble(at: usize) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&at.to_be_bytes())
}

/// A value that makes, with a key of 12 B, a record of about 166 B.
pub fn small(at: usize) -> String {
    let random = scramble(at);
    format!(
        r#"{{"id":{at},"session":"{random:016x}","user":"user-{}@example.com","country":"{}","visits":{},"active":{},"last_seen":"2026-{:02}-{:02}T{:02}:00:00Z"}}"#,
        random % 1_000_003,
        ["DE", "FR", "US", "JP", "BR"][(random % 5) as usize],
        random % 997,
        random.is_multiple_of(3),
        random % 12 + 1,
        random % 28 + 1,
        random % 24
    )
}

/// A value of about 1 KB.
pub fn kilobyte(at: usize) -> String {
    let mut text = format!(r#"{{"order":{at},"customer":{},"items":["#, small(at));
    for item in 0..8 {
        let random = scramble(at * 8 + item);
        let _ = write!(
            text,
            r#"{}{{"sku":"{:08x}","title":"article number {}","quantity":{},"price":{}.{:02},"currency":"EUR"}}"#,
            if item == 0 { "" } else { "," },
            random as u32,
            random % 4096,
            random % 9 + 1,
            random % 500,
            random % 100
        );
    }
    text.push_str("]}");
    text
}
