//! Faults: a whole server on a full or broken disk, with damaged files, with too little room.
//!
//! Each fault is tested in the same way: writes get an error that says what is wrong, reads still work, INFO and the log
//! report the fault, acknowledged changes survive `kill -9`, and service resumes when the fault is gone, by itself unless
//! said otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use support::{Connection, Random, Reply, Server, SmallDisk, Syncs, wait_for};

/// A client that remembers what was acknowledged.
struct Writer {
    random: Random,
    acknowledged: BTreeMap<String, String>,
    /// The value of a write that failed or was not answered: it may be there or not.
    doubtful: BTreeMap<String, String>,
    connection: Option<Connection>,
}

impl Writer {
    fn new() -> Writer {
        let random = Random::from_environment();
        Writer { random, acknowledged: BTreeMap::new(), doubtful: BTreeMap::new(), connection: None }
    }

    /// Writes a record of so many bytes that Brotli can't shrink; the server's error if it refuses.
    fn write(&mut self, server: &Server, bytes: usize) -> Result<(), String> {
        let key = format!("key:{}", self.acknowledged.len() + self.doubtful.len());
        let noise = std::iter::repeat_with(|| char::from(b'0' + self.random.below(64) as u8));
        let value = format!("\"{}\"", noise.filter(|c| *c != '\\').take(bytes).collect::<String>());
        let connection = self.connection.get_or_insert_with(|| server.connect());
        let asked = connection.try_send(&support::request(&["SET", &key, &value]));
        match asked.and_then(|()| connection.try_read()) {
            Ok(reply) if reply == Reply::ok() => {
                self.acknowledged.insert(key, value);
                Ok(())
            }
            outcome => {
                self.connection = None;
                self.doubtful.insert(key, value);
                Err(outcome.map_or_else(|error| error.to_string(), |reply| reply.text()))
            }
        }
    }

    fn write_some(&mut self, server: &Server, count: usize, bytes: usize) {
        for _ in 0..count {
            self.write(server, bytes).unwrap();
        }
    }

    /// Writes until the server refuses; gives its error.
    fn write_until_refused(&mut self, server: &Server, bytes: usize) -> String {
        let refusal = (0..20_000).find_map(|_| self.write(server, bytes).err());
        refusal.expect("the fault is met")
    }

    /// Writes until the server takes it again.
    fn write_until_taken(&mut self, server: &Server) {
        wait_for(|| self.write(server, 100).ok()).expect("service resumes");
    }

    /// Asks for everything that was acknowledged, and for what may be there: of that the server says nothing as long as
    /// it can't make sure.
    fn verify(&self, server: &Server) {
        self.verify_except(server, |_| false);
        for (key, value) in &self.doubtful {
            let found = server.connect().call(&["GET", key]);
            let fits = found.is_null() || found == Reply::bulk(value) || found.is_error("MISCONF");
            assert!(fits, "{key} is neither absent nor as written: {:.100}", found.to_string());
        }
    }

    fn verify_except(&self, server: &Server, may_be_lost: impl Fn(&str) -> bool) {
        let mut connection = server.connect();
        for (key, value) in &self.acknowledged {
            let found = connection.call(&["GET", key]);
            let lost = may_be_lost(key) && found.is_null();
            assert!(
                lost || found == Reply::bulk(value),
                "{key} is not as acknowledged: {:.100}",
                found.to_string()
            );
        }
    }

    /// After a kill and a new start everything is there, and a check finds nothing wrong.
    fn survive_a_kill(&mut self, server: &mut Server) {
        server.kill_hard();
        self.connection = None;
        server.start();
        self.verify(server);
        server.stop();
        let (sound, said) = server.check();
        assert!(sound, "{said}");
    }
}

/// A field of INFO persistence.
fn info(server: &Server, field: &str) -> String {
    let text = server.connect().call(&["INFO", "persistence"]).text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("INFO has a field {field}")).trim().to_owned()
}

fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "'{part}' is not in: {text}");
}

#[test]
fn a_full_disk_refuses_writes_and_is_survived() {
    let disk = SmallDisk::new(112);
    let mut server = Server::larder_on(&disk, &["--memtable-memory", "8mb", "--checkpoint-interval", "1"]);
    let mut writer = Writer::new();
    writer.write_some(&server, 100, 20_000);
    disk.fill();
    let refusal = writer.write_until_refused(&server, 20_000);
    assert_contains(&refusal, "MISCONF");
    assert_contains(&refusal, "reads still work");
    writer.verify(&server);
    wait_for(|| (info(&server, "rdb_last_bgsave_status") == "err").then_some(())).expect("INFO tells");
    assert_contains(&info(&server, "checkpoint_failure"), "make space on the disk");
    server.wait_for_log("make space on the disk");

    // killed and started on the full disk: what is there is served
    server.kill_hard();
    writer.connection = None;
    server.start();
    writer.verify(&server);

    disk.free();
    writer.write_until_taken(&server);
    wait_for(|| (info(&server, "rdb_last_bgsave_status") == "ok").then_some(()))
        .expect("checkpoints succeed again");
    writer.write_some(&server, 100, 20_000);
    writer.survive_a_kill(&mut server);
}

#[test]
fn a_disk_that_is_full_from_the_start_is_waited_for() {
    let disk = SmallDisk::new(112);
    let mut server = Server::larder_on(&disk, &["--memtable-memory", "8mb"]);
    let mut writer = Writer::new();
    writer.write_some(&server, 10, 1_000);
    // a backup is a data directory whose journal has no segment yet that could take an entry
    let backup = disk.path().join("backup");
    let made = server.connect().call(&["BACKUP", backup.to_str().unwrap()]);
    assert!(matches!(made, Reply::Array(_)), "{made}");
    server.stop();
    writer.connection = None;
    let restored = Command::new("nsenter")
        .args(&disk.launcher()[1..])
        .args(["sh", "-c", r#"rm -r "$1" && mv "$2" "$1""#, "sh"])
        .arg(server.data_folder())
        .arg(&backup)
        .status();
    assert!(restored.unwrap().success());
    disk.fill();
    server.start();
    let refusal = writer.write(&server, 1_000).unwrap_err();
    assert_contains(&refusal, "MISCONF no journal space");
    assert_contains(&info(&server, "journal_shortage"), "No space left");
    server.wait_for_log("no space for the journal");
    writer.verify(&server);
    disk.free();
    writer.write_until_taken(&server);
    assert_eq!(info(&server, "journal_shortage"), "");
    writer.survive_a_kill(&mut server);
}

#[test]
fn a_failing_sync_acknowledges_nothing_and_is_survived() {
    let syncs = Syncs::new();
    let mut server = syncs.server(&["--checkpoint-interval", "1"]);
    let mut writer = Writer::new();
    writer.write_some(&server, 50, 1_000);
    syncs.fail();
    let refusal = writer.write(&server, 1_000).unwrap_err();
    assert_contains(&refusal, "MISCONF the journal failed");
    assert_contains(&refusal, Syncs::FAILURE);
    assert_contains(&info(&server, "journal_failure"), Syncs::FAILURE);
    assert_eq!(info(&server, "aof_last_write_status"), "err");
    wait_for(|| server.log().contains("check the disk").then_some(())).expect("the log tells");
    for _ in 0..20 {
        assert_contains(&writer.write(&server, 1_000).unwrap_err(), "MISCONF");
        writer.verify(&server);
    }
    // a checkpoint made durable what the journal could not, but the journal can't go on yet
    wait_for(|| info(&server, "checkpoint_failure").contains(Syncs::FAILURE).then_some(()))
        .expect("INFO tells");
    assert_contains(&writer.write(&server, 1_000).unwrap_err(), "MISCONF");
    writer.verify(&server);
    syncs.succeed();
    writer.write_until_taken(&server);
    assert_eq!(info(&server, "journal_failure"), "");
    writer.write_some(&server, 50, 1_000);
    writer.survive_a_kill(&mut server);
}

/// Of a pipeline, too, nothing is acknowledged: it gets one error, and an end.
#[test]
fn a_failing_sync_acknowledges_nothing_of_a_pipeline() {
    let syncs = Syncs::new();
    let server = syncs.server(&["--checkpoint-interval", "3600"]);
    let pipeline = |at: usize| support::request(&["SET", &format!("key:{at}"), "1"]);
    let pipeline: Vec<u8> = (0..16).flat_map(pipeline).collect();
    let mut connection = server.connect();
    connection.send(&pipeline);
    (0..16).for_each(|at| assert_eq!(connection.read(), Reply::ok(), "reply {at}"));
    syncs.fail();
    connection.send(&pipeline);
    assert_contains(&connection.read().text(), "MISCONF the journal failed");
    assert_eq!(connection.read_to_close(), b"");
    // the failure asked for a checkpoint, which makes durable what the journal could not; until then readers are refused
    let read = || server.connect().call(&["GET", "key:1"]);
    wait_for(|| (read() == Reply::bulk("1")).then_some(())).expect("the checkpoint is not waited for");
    // but the journal can't go on yet
    assert_contains(&server.connect().call(&["SET", "key:1", "2"]).text(), "MISCONF");
    assert_eq!(server.connect().ask("PING"), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn a_failing_sync_is_followed_by_a_kill() {
    let syncs = Syncs::new();
    let mut server = syncs.server(&["--checkpoint-interval", "3600"]);
    let mut writer = Writer::new();
    writer.write_some(&server, 50, 1_000);
    syncs.fail();
    assert_contains(&writer.write(&server, 1_000).unwrap_err(), "MISCONF");
    syncs.succeed();
    writer.survive_a_kill(&mut server);
}

#[test]
fn writes_that_fail_are_refused_and_survived() {
    let mut server = Server::larder(&["--checkpoint-interval", "1"]);
    let mut writer = Writer::new();
    writer.write_some(&server, 200, 2_000);
    // the soft limit alone, so that it can be raised again
    limit_file_size(&server, "100000:");
    let refusal = writer.write_until_refused(&server, 2_000);
    assert_contains(&refusal, "MISCONF");
    assert_contains(&refusal, "File too large");
    assert_contains(&info(&server, "journal_failure"), "File too large");
    wait_for(|| info(&server, "checkpoint_failure").contains("`ulimit -f`").then_some(()))
        .expect("INFO tells");
    server.wait_for_log("`ulimit -f`");
    writer.verify(&server);
    limit_file_size(&server, "unlimited:");
    writer.write_until_taken(&server);
    writer.write_some(&server, 200, 2_000);
    writer.survive_a_kill(&mut server);
}

fn limit_file_size(server: &Server, limit: &str) {
    let id = server.process_id().to_string();
    let status = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={limit}")]).status();
    assert!(status.expect("util-linux has prlimit").success());
}

/// Goes when the server is started with a larger map: LMDB's can't grow under its readers.
#[test]
fn a_full_map_refuses_writes_and_is_survived() {
    let flags = ["--memtable-memory", "2mb", "--checkpoint-interval", "1", "--map-size"];
    let mut server = Server::larder(&[&flags[..], &["4mb"]].concat());
    let mut writer = Writer::new();
    let refusal = writer.write_until_refused(&server, 20_000);
    assert_contains(&refusal, "MISCONF LMDB: MDB_MAP_FULL");
    assert_contains(&refusal, "start again with a larger --map-size");
    assert_contains(&info(&server, "lmdb_shortage"), "larger --map-size");
    assert_eq!(info(&server, "checkpoint_failure"), "", "what was taken has its place");
    server.wait_for_log("start again with a larger --map-size");
    writer.verify(&server);
    server.kill_hard();
    writer.connection = None;
    server.set_flags(&[&flags[..], &["1gb"]].concat());
    server.start();
    writer.verify(&server);
    writer.write_until_taken(&server);
    writer.write_some(&server, 200, 20_000);
    writer.survive_a_kill(&mut server);
}

#[test]
fn a_small_memtable_holds_writers_up_and_memory_down() {
    const CLIENTS: usize = 4;
    const RECORDS: usize = 40;
    const RECORD_BYTES: usize = 400_000;
    let mut server =
        Server::larder(&["--memtable-memory", "1mb", "--cache-memory", "1mb", "--appendfsync", "no"]);
    let mut writers: Vec<Writer> = Vec::new();
    for at in 0..CLIENTS {
        server.connect().call(&["SELECT", &at.to_string()]);
        writers.push(Writer::new());
    }
    let before = server.resident_bytes();
    std::thread::scope(|scope| {
        let running: Vec<_> = writers
            .iter_mut()
            .enumerate()
            .map(|(at, writer)| {
                let server = &server;
                scope.spawn(move || {
                    let mut connection = server.connect();
                    connection.call(&["SELECT", &at.to_string()]);
                    writer.connection = Some(connection);
                    writer.write_some(server, RECORDS, RECORD_BYTES);
                })
            })
            .collect();
        while running.iter().any(|writer| !writer.is_finished()) {
            // what is over the bound was let in before the bound was reached: at most a record of each client
            let text = server.connect().call(&["INFO", "memory"]).text();
            let line = text.lines().find_map(|line| line.strip_prefix("memtable_bytes:")).unwrap();
            let memtable: usize = line.trim().parse().unwrap();
            assert!(
                memtable <= (1 << 20) + CLIENTS * (RECORD_BYTES + 1_000),
                "{memtable} bytes in the memtable"
            );
        }
    });
    let grown = server.resident_bytes().saturating_sub(before);
    let written = (CLIENTS * RECORDS * RECORD_BYTES) as u64;
    assert!(grown < written / 2 + mapped(&server), "{grown} bytes more for {written} written");
    server.kill_hard();
    server.start();
    for (at, writer) in writers.iter().enumerate() {
        let mut connection = server.connect();
        connection.call(&["SELECT", &at.to_string()]);
        for (key, value) in &writer.acknowledged {
            assert_eq!(connection.call(&["GET", key]), Reply::bulk(value), "{key}");
        }
    }
    server.stop();
    let (sound, said) = server.check();
    assert!(sound, "{said}");
}

/// Memory that is LMDB's file, and the system's to take.
fn mapped(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Where a frame of the journal begins.
struct Frame {
    file: PathBuf,
    offset: usize,
    bytes: usize,
}

/// The frames of a stopped server's journal, in the order of their entries; docs/FORMAT.md says what is where.
fn frames(server: &Server) -> Vec<Frame> {
    let mut frames = Vec::new();
    for file in fs::read_dir(server.data_folder().join("journal")).unwrap() {
        let file = file.unwrap().path();
        let content = fs::read(&file).unwrap();
        let number = |at: usize| u64::from_be_bytes(content[at..at + 8].try_into().unwrap());
        let mut offset = 4096;
        while content.get(offset..offset + 4) == Some(b"LJFR") {
            let bytes = 48 + usize::try_from(number(offset + 24)).unwrap();
            frames.push((number(offset + 8), Frame { file: file.clone(), offset, bytes }));
            offset += bytes;
        }
    }
    frames.sort_by_key(|(first, _)| *first);
    frames.into_iter().map(|(_, frame)| frame).collect()
}

fn change(file: &PathBuf, edit: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
    let mut content = fs::read(file)?;
    edit(&mut content);
    fs::write(file, content)
}

/// A server that was killed with all it was sent in its journal, one frame a record.
fn killed(records: usize, bytes: usize) -> (Server, Writer) {
    let mut server = Server::larder(&["--memtable-memory", "256mb", "--checkpoint-interval", "3600"]);
    let mut writer = Writer::new();
    writer.write_some(&server, records, bytes);
    server.kill_hard();
    writer.connection = None;
    (server, writer)
}

#[test]
fn a_torn_end_of_the_journal_is_cut_off() {
    let (mut server, mut writer) = killed(20, 1_000);
    let frames = frames(&server);
    let last = frames.last().unwrap();
    // the write of one more frame, of which only a part arrived
    change(&last.file, |content| {
        let torn = content[last.offset..last.offset + last.bytes / 2].to_vec();
        let end = last.offset + last.bytes;
        content[end..end + torn.len()].copy_from_slice(&torn);
    })
    .unwrap();
    server.start();
    writer.verify(&server);
    writer.write_some(&server, 20, 1_000);
    writer.survive_a_kill(&mut server);
}

/// It can't be told from a write that never finished, as docs/FORMAT.md says: all before it is there.
#[test]
fn a_flipped_bit_in_the_last_frame_costs_that_frame() {
    let (mut server, mut writer) = killed(20, 1_000);
    let frames = frames(&server);
    let last = frames.last().unwrap();
    change(&last.file, |content| content[last.offset + 500] ^= 4).unwrap();
    server.start();
    writer.verify_except(&server, |key| key == "key:19");
    writer.acknowledged.remove("key:19");
    writer.write_some(&server, 1, 1_000);
    writer.write_some(&server, 20, 1_000);
    writer.survive_a_kill(&mut server);
}

/// `larder salvage` on the data of a stopped server: whether the journal is sound by then, and what it says.
fn salvage(server: &Server, words: &[&str]) -> (bool, String) {
    let mut command = support::larder();
    let output = command.arg("salvage").arg(server.data_folder()).args(words).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_damaged_entry_in_the_middle_is_refused_and_can_be_salvaged() {
    let (mut server, mut writer) = killed(20, 1_000);
    let frames = frames(&server);
    let middle = &frames[frames.len() / 2];
    change(&middle.file, |content| content[middle.offset + 500] ^= 4).unwrap();
    let before = fs::read(&middle.file).unwrap();
    let said = server.start_in_vain();
    assert_contains(&said, middle.file.file_name().unwrap().to_str().unwrap());
    assert_contains(&said, &format!("damaged at offset {}", middle.offset));
    assert_contains(&said, "restore a backup");
    assert_contains(&said, "`larder salvage DIR`");
    assert!(fs::read(&middle.file).unwrap() == before, "a refused start changes nothing");
    let (sound, told) = server.check();
    assert!(!sound);
    assert_contains(&told, "damaged at offset");

    let (is_done, told) = salvage(&server, &[]);
    assert!(!is_done);
    for word in ["damage: ", "damaged at offset", "kept: all changes up to entry", "lost: entries", "--yes"] {
        assert_contains(&told, word);
    }
    assert!(fs::read(&middle.file).unwrap() == before, "without --yes nothing is changed");
    server.start_in_vain();
    let (is_done, told) = salvage(&server, &["--yes"]);
    assert!(is_done, "{told}");
    // there is nothing left to do
    for words in [&[][..], &["--yes"]] {
        let (is_sound, told) = salvage(&server, words);
        assert!(is_sound);
        assert_contains(&told, "the journal has lost nothing");
    }
    server.start();
    let first_lost = frames.len() / 2;
    let is_lost = |key: &str| key["key:".len()..].parse::<usize>().unwrap() >= first_lost;
    writer.verify_except(&server, is_lost);
    writer.acknowledged.retain(|key, _| !is_lost(key));
    writer.write_some(&server, 20, 1_000);
    writer.survive_a_kill(&mut server);
}

#[test]
fn a_deleted_segment_is_refused_and_can_be_salvaged() {
    let (mut server, mut writer) = killed(90, 500_000);
    let frames = frames(&server);
    let mut files: Vec<&PathBuf> = frames.iter().map(|frame| &frame.file).collect();
    files.dedup();
    assert!(files.len() >= 3, "the records take several segments");
    let first_lost = frames.iter().position(|frame| frame.file == *files[1]).unwrap();
    fs::remove_file(files[1]).unwrap();
    let said = server.start_in_vain();
    assert_contains(&said, "the journal lacks entries");
    assert_contains(&said, "`larder salvage DIR`");
    let (sound, told) = server.check();
    assert!(!sound);
    assert_contains(&told, "the journal lacks entries");

    let (is_done, told) = salvage(&server, &["--yes"]);
    assert!(is_done, "{told}");
    server.start();
    let is_lost = |key: &str| key["key:".len()..].parse::<usize>().unwrap() >= first_lost;
    writer.verify_except(&server, is_lost);
    writer.acknowledged.retain(|key, _| !is_lost(key));
    writer.survive_a_kill(&mut server);
}

/// LMDB trusts its pages and can end the process on one that holds nonsense, so it must not get to see one.
#[test]
fn damaged_pages_of_lmdb_are_refused_and_told() {
    let mut server = Server::larder(&[]);
    let mut writer = Writer::new();
    writer.write_some(&server, 500, 1_000);
    server.stop();
    let file = server.data_folder().join("lmdb/data.mdb");
    let sound = fs::read(&file).unwrap();
    let refused = |server: &mut Server, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut damaged = sound.clone();
        edit(&mut damaged);
        fs::write(&file, damaged).unwrap();
        let (is_sound, told) = server.check();
        assert!(!is_sound);
        assert_contains(&told, "problem: LMDB file: ");
        let said = server.start_in_vain();
        assert_contains(&said, "the LMDB file is damaged");
        assert_contains(&said, "larder check");
    };
    refused(&mut server, &|content| content[4096..4200].fill(0));
    refused(&mut server, &|content| content[2 * 4096..].fill(0xff));
    refused(&mut server, &|content| content.truncate(3 * 4096));
    fs::write(&file, &sound).unwrap();
    writer.connection = None;
    server.start();
    writer.verify(&server);
}
