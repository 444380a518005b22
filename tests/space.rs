//! Space: what comes back when records go.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use support::{Reply, Server, SmallDisk, wait_for};

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

/// The size of a record that a test fills a disk with.
const RECORD_BYTES: usize = 2_000;

fn larder_on(disk: &SmallDisk) -> Server {
    Server::larder_on(disk, &["--compression", "off", "--checkpoint-interval", "2"])
}

/// Writes until the server refuses, and says how many batches of 100 records it took.
fn fill_up(server: &Server) -> usize {
    fill_up_with(server, RECORD_BYTES)
}

fn fill_up_with(server: &Server, record_bytes: usize) -> usize {
    for batch in 0.. {
        if let Err(refusal) = fill(server, &format!("batch{batch}"), 100, record_bytes) {
            assert!(refusal.starts_with("MISCONF"), "{refusal}");
            return batch;
        }
    }
    unreachable!("a disk has an end")
}

fn wait_until_checkpoints_succeed(server: &Server) {
    wait_for(|| (info(server, "persistence", "rdb_last_bgsave_status") == "ok").then_some(()))
        .expect("checkpoints succeed again");
}

/// What was flushed can be written again, and more than once.
fn assert_comes_back(server: &Server, batches: usize) {
    wait_for(|| {
        let _ = server.connect().ask("SAVE");
        let free = number(server, "persistence", "lmdb_free_bytes");
        (free as usize > batches * 100 * RECORD_BYTES / 4).then_some(())
    })
    .expect("space comes back");
    for batch in 0..batches / 4 {
        wait_for(|| fill(server, &format!("again{batch}"), 100, RECORD_BYTES).ok())
            .expect("it is taken again");
    }
}

#[test]
fn a_full_disk_is_emptied_by_a_flush_and_filled_again() {
    for megabytes in [72, 90, 160] {
        let disk = SmallDisk::new(megabytes);
        let mut server = larder_on(&disk);
        for round in 0..2 {
            let batches = fill_up(&server);
            if round == 1 {
                // killed and started, nothing is different
                server.kill_hard();
                server.start();
            }
            // what only reads goes on
            let mut connection = server.connect();
            for command in ["DBSIZE", "STORE INFO", "STORE LIST", "GET batch0:0", "SCAN 0"] {
                let reply = connection.ask(command).to_string();
                assert!(!reply.contains("MISCONF"), "{megabytes} MB, {command}: {reply}");
            }
            assert_eq!(connection.ask("FLUSHALL"), Reply::ok(), "{megabytes} MB, round {round}");
            assert_eq!(connection.ask("DBSIZE"), Reply::Integer(0));
            wait_until_checkpoints_succeed(&server);
            assert_eq!(connection.ask("SAVE"), Reply::ok());
            assert_comes_back(&server, batches);
            assert_eq!(connection.ask("FLUSHALL"), Reply::ok());
        }
        server.stop();
        let (sound, said) = server.check();
        assert!(sound, "{said}");
    }
}

/// Removes all that [`fill_up`] has written, and takes no refusal for good.
fn delete_batches(server: &Server, batches: usize, case: &str) {
    let mut connection = server.connect();
    for batch in 0..batches {
        let keys: Vec<String> = (0..100).map(|at| format!("batch{batch}:{at}")).collect();
        let request: Vec<&str> = std::iter::once("DEL").chain(keys.iter().map(String::as_str)).collect();
        let deleted = wait_for(|| match connection.call(&request) {
            Reply::Integer(deleted) => Some(deleted),
            refused => {
                assert!(refused.is_error("MISCONF"), "{case}: {refused}");
                None
            }
        });
        let refused =
            || format!("{case}, batch {batch}: refused; {}", server.connect().ask("INFO persistence").text());
        assert_eq!(deleted.unwrap_or_else(|| panic!("{}", refused())), 100, "{case}, batch {batch}");
    }
}

#[test]
fn a_full_disk_is_emptied_by_deleting() {
    delete_all(&[(90, RECORD_BYTES, false), (90, RECORD_BYTES, true), (40, 300, true)]);
}

#[test]
fn a_larger_full_disk_is_emptied_by_deleting() {
    delete_all(&[(400, RECORD_BYTES, true)]);
}

/// Fills disks of so many megabytes with records of so many bytes, after a kill or not, and removes all of them.
fn delete_all(cases: &[(u64, usize, bool)]) {
    for &(megabytes, record_bytes, is_killed) in cases {
        let case = format!("{megabytes} MB of {record_bytes} B, killed: {is_killed}");
        let disk = SmallDisk::new(megabytes);
        let mut server = larder_on(&disk);
        let batches = fill_up_with(&server, record_bytes);
        if is_killed {
            server.kill_hard();
            server.start();
        }
        delete_batches(&server, batches, &case);
        wait_until_checkpoints_succeed(&server);
        assert_eq!(server.connect().ask("SAVE"), Reply::ok(), "{case}");
        if record_bytes == RECORD_BYTES {
            assert_comes_back(&server, batches);
        }
        server.kill_hard();
        server.start();
        server.stop();
        let (sound, said) = server.check();
        assert!(sound, "{case}: {said}");
    }
}

#[test]
fn a_full_disk_is_emptied_by_dropping_a_store() {
    let disk = SmallDisk::new(90);
    let server = larder_on(&disk);
    let mut connection = server.connect();
    connection.ask("STORE CREATE large");
    let mut batches = 0;
    let mut filler = server.connect();
    filler.ask("SELECT large");
    let value = format!("\"{}\"", "x".repeat(RECORD_BYTES));
    while filler.call(&["SET", &format!("key:{batches}"), &value]) == Reply::ok() {
        batches += 1;
    }
    assert_eq!(connection.ask("STORE DROP large FORCE"), Reply::ok());
    wait_until_checkpoints_succeed(&server);
    assert_comes_back(&server, batches / 100);
}

#[test]
fn a_full_disk_is_emptied_by_expiry_and_by_retention() {
    for what in ["expiry", "retention"] {
        let disk = SmallDisk::new(90);
        let server = larder_on(&disk);
        let mut connection = server.connect();
        let setting = if what == "expiry" { "default-ttl" } else { "retention" };
        assert_eq!(connection.ask(&format!("STORE SET 0 {setting} 20")), Reply::ok());
        // on a slow machine, records go while others are written, so that more are written than fit
        let batches = fill_up(&server).min(90_000_000 / (100 * RECORD_BYTES));
        wait_for(|| (connection.ask("DBSIZE") == Reply::Integer(0)).then_some(())).expect(what);
        wait_until_checkpoints_succeed(&server);
        assert_comes_back(&server, batches);
    }
}
