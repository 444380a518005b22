//! Space: what comes back when records go.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use support::{Reply, Server, wait_for};

/// A field of a section of INFO.
fn info(server: &Server, section: &str, field: &str) -> String {
    let text = server.connect().call(&["INFO", section]).text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("INFO has a field {field}")).trim().to_owned()
}

fn number(server: &Server, section: &str, field: &str) -> u64 {
    info(server, section, field).parse().unwrap()
}

/// Sets so many records of so many bytes; fails with the first refusal.
fn fill(server: &Server, prefix: &str, records: usize, bytes: usize) -> Result<(), String> {
    let mut connection = server.connect();
    let value = format!("\"{}\"", "x".repeat(bytes));
    for from in (0..records).step_by(100) {
        let to = records.min(from + 100);
        let sent: Vec<u8> =
            (from..to).flat_map(|at| support::request(&["SET", &format!("{prefix}:{at}"), &value])).collect();
        connection.send(&sent);
        for _ in from..to {
            match connection.read() {
                reply if reply == Reply::ok() => {}
                other => return Err(other.text()),
            }
        }
    }
    Ok(())
}

#[test]
fn memory_of_flushed_records_goes_back_to_the_system() {
    let server = Server::larder(&["--compression", "off", "--appendfsync", "no"]);
    fill(&server, "key", 1_000, 100_000).unwrap();
    assert_eq!(server.connect().ask("SAVE"), Reply::ok());
    // some of it is read, so that it is in the cache
    let mut connection = server.connect();
    (0..500).for_each(|at| assert!(!connection.call(&["GET", &format!("key:{at}")]).is_null()));
    assert!(number(&server, "memory", "cache_bytes") > 30_000_000);
    assert_eq!(server.connect().ask("FLUSHALL"), Reply::ok());
    assert_eq!(server.connect().ask("SAVE"), Reply::ok());
    wait_for(|| (number(&server, "memory", "cache_bytes") == 0).then_some(()))
        .expect("the cache gives up what was flushed");
    assert_eq!(server.connect().ask("MEMORY PURGE"), Reply::ok());
    let resident = number(&server, "memory", "allocator_resident");
    assert!(resident < 40_000_000, "{resident} bytes for nothing");
}
