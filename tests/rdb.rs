//! What a Redis wrote: payloads of its DUMP and FUNCTION DUMP go both ways, and its RDB files are imported as if it were running.
//!
//! `tests/rdb` has files of servers that Debian does not have: `redis-8.6.rdb` and `valkey-9.1.rdb` hold a value of each
//! encoding that these write. What only old servers wrote is made here, and the reference has to load it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::{Connection, Random, Reply, Server, now_ms, request};

/// `larder import` into this server, with these words: the exit code, and what it said.
fn import(server: &Server, words: &[&str]) -> (Option<i32>, String) {
    said(&mut importing(server, words))
}

fn importing(server: &Server, words: &[&str]) -> Command {
    let mut command = support::larder();
    command.env_remove("REDISCLI_AUTH").arg("import").args(words).args(["--url", &server.url()]);
    command
}

fn said(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Everything in a store: a value as JSON, with the members of sets in order, and its deadline.
fn content(server: &Server, store: &str) -> BTreeMap<String, (Value, i64)> {
    let mut connection = server.connect();
    connection.ask(&format!("SELECT {store}"));
    let Reply::Array(keys) = connection.ask("KEYS *") else { panic!("no keys") };
    let keys = keys.iter().map(|key| String::from_utf8_lossy(key.bytes()).into_owned());
    keys.map(|key| {
        let value = connection.call(&["GET", &key]);
        let mut value = serde_json::from_slice(value.bytes()).unwrap_or_else(|_| json!(value.text()));
        if let (true, Value::Array(members)) = (key.starts_with("set"), &mut value) {
            members.sort_by_key(Value::to_string);
        }
        let deadline = connection.call(&["PEXPIRETIME", &key]).integer();
        (key, (value, deadline))
    })
    .collect()
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rdb").join(name)
}

fn file_for(server: &Server, bytes: &[u8]) -> String {
    let path = server.data_folder().with_file_name("dump.rdb");
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

/// Values in every encoding that a string has in a payload.
fn values() -> Vec<Vec<u8>> {
    let mut random = Random::from_environment();
    let mut values: Vec<Vec<u8>> =
        ["", "0", "-1", "127", "128", "-129", "32768", "2147483647", "2147483648", "007"]
            .map(|text| text.as_bytes().to_vec())
            .into();
    for bytes in [1, 20, 21, 63, 64, 16_383, 16_384, 100_000] {
        values.push((0..bytes).map(|_| random.next() as u8).collect());
        values.push(vec![b'a'; bytes]);
        values.push((0..bytes).map(|_| b'a' + random.below(3) as u8).collect());
    }
    values
}

/// DUMP there, RESTORE here, and the other way round.
fn exchange_payloads(redis: &mut Connection, ours: &mut Connection) {
    ours.ask("STORE SET 0 VALUES any");
    for value in values() {
        let shown = value[..value.len().min(40)].escape_ascii().to_string();
        redis.call(&[&b"SET"[..], b"k", &value]);
        let payload = redis.call(&[&b"DUMP"[..], b"k"]);
        let restore = [&b"RESTORE"[..], b"k", b"0", payload.bytes(), b"REPLACE"];
        assert_eq!(ours.call(&restore), Reply::ok(), "{shown}");
        assert_eq!(ours.call(&[&b"GET"[..], b"k"]), Reply::bulk(&value), "{shown}");
        let payload = ours.call(&[&b"DUMP"[..], b"k"]);
        let restore = [&b"RESTORE"[..], b"back", b"0", payload.bytes(), b"REPLACE"];
        assert_eq!(redis.call(&restore), Reply::ok(), "{shown}");
        assert_eq!(redis.call(&[&b"GET"[..], b"back"]), Reply::bulk(&value), "{shown}");
    }
    for (line, kind) in [
        ("RPUSH other a b", "list"),
        ("SADD other a b", "set"),
        ("ZADD other 1 a", "zset"),
        ("HSET other f v", "hash"),
        ("XADD other * f v", "stream"),
    ] {
        redis.ask("DEL other");
        redis.ask(line);
        let payload = redis.call(&[&b"DUMP"[..], b"other"]);
        let refused = ours.call(&[&b"RESTORE"[..], b"other", b"0", payload.bytes()]);
        assert!(
            refused.is_error(&format!("ERR the payload is a {kind}, and RESTORE takes only strings")),
            "{refused}"
        );
    }
    // what is refused there is refused here, in the same words
    let payload = redis.call(&[&b"DUMP"[..], b"k"]).bytes().to_vec();
    for at in [0, payload.len() / 2, payload.len() - 10, payload.len() - 9, payload.len() - 1] {
        let mut changed = payload.clone();
        changed[at] ^= 0x40;
        for payload in [&changed[..], &payload[..at]] {
            let restore = [&b"RESTORE"[..], b"damaged", b"0", payload];
            let (theirs, mine) = (redis.call(&restore), ours.call(&restore));
            assert!(mine.is_error("ERR"), "{mine}");
            assert_eq!(mine, theirs, "{}", payload.escape_ascii());
        }
    }
}

#[test]
fn payloads_of_dump_go_both_ways() {
    let (redis, larder) = (Server::redis(&[]), Server::larder(&[]));
    exchange_payloads(&mut redis.connect(), &mut larder.connect());
}

#[test]
fn libraries_of_functions_go_both_ways() {
    let (redis, larder) = (Server::redis(&[]), Server::larder(&[]));
    let (mut redis, mut larder) = (redis.connect(), larder.connect());
    hand_over_libraries(&mut redis, &mut larder);
    hand_over_libraries(&mut larder, &mut redis);
}

/// The longer one is compressed by Redis.
fn hand_over_libraries(from: &mut Connection, to: &mut Connection) {
    for (name, repetitions) in [("short", 0), ("long", 5_000)] {
        let comment = "the same again and again, ".repeat(repetitions);
        let code = format!(
            "#!lua name={name}\nredis.register_function('{name}', function() return '{name}' end)\n--{comment}"
        );
        assert_eq!(from.call(&["FUNCTION", "LOAD", "REPLACE", &code]), Reply::bulk(name));
    }
    let payload = from.ask("FUNCTION DUMP");
    assert_eq!(to.call(&[&b"FUNCTION"[..], b"RESTORE", payload.bytes(), b"FLUSH"]), Reply::ok());
    for name in ["short", "long"] {
        assert_eq!(to.call(&["FCALL", name, "0"]), Reply::bulk(name));
    }
}

#[test]
fn a_store_of_json_takes_only_json_from_a_payload() {
    let (redis, larder) = (Server::redis(&[]), Server::larder(&[]));
    let (mut theirs, mut ours) = (redis.connect(), larder.connect());
    ours.ask("STORE CREATE json VALUES json");
    ours.ask("SELECT json");
    theirs.ask("SET k text");
    let payload = theirs.ask("DUMP k");
    let refused = ours.call(&[&b"RESTORE"[..], b"k", b"0", payload.bytes()]);
    assert!(refused.is_error("NOTJSON"), "{refused}");
    assert_eq!(ours.ask("EXISTS k").integer(), 0);
}

/// Some of everything, with several encodings of each type.
fn fill(connection: &mut Connection) {
    let deadline = now_ms() + 24 * 60 * 60 * 1000;
    for line in [
        "SET text hello",
        "SET number 42",
        "RPUSH list:short a 1 b -200",
        "SADD set:integers 3 1 2",
        "SADD set:large 1 99999999999",
        "SADD set:short a b 7",
        "ZADD zset:short 1.5 m -inf n 3 o 0.1 p 5000000000 q 1e20 r -0 s",
        "ZADD zset:equal 1 b 1 a 1 c",
        "HSET hash:short f 1 g x",
        "XADD stream 1-1 a b",
        "XADD stream 2-1 a b",
        "XGROUP CREATE stream g 0",
        "XREADGROUP GROUP g me COUNT 1 STREAMS stream >",
        &format!("SET lasting 1 PXAT {deadline}"),
        &format!("PEXPIREAT hash:short {deadline}"),
    ] {
        let reply = connection.ask(line);
        assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply}");
    }
    for at in 0..2000 {
        let long = "x".repeat(at % 100);
        for line in [
            format!("RPUSH list:long {at} m{at}{long}"),
            format!("SADD set:long m{at}"),
            format!("SADD set:numbers {}", at * at),
            format!("ZADD zset:long {}.25 m{} {} n{at}", at % 7, at, at as f64 / 1024.0),
            format!("HSET hash:long f{at} {at}{long}"),
            format!("SET n:{} {at}", at % 300),
        ] {
            connection.send(&request(&line.split(' ').collect::<Vec<_>>()));
        }
        (0..6).for_each(|_| drop(connection.read()));
    }
    connection.call(&["SET", "json", r#"{"a": [1, 2]}"#]);
    connection.call(&["SET", "quoted", "\"\\ \u{1} é"]);
    connection.call(&["SET", "long", &"abcabc ".repeat(300)]);
    connection.call(&["RPUSH", "list:plain", &"y".repeat(10_000), "z"]);
    connection.ask("SELECT 3");
    connection.ask("SET elsewhere 3");
}

#[test]
fn a_file_is_imported_as_the_running_server_is() {
    let (redis, larder) = (Server::redis(&["--databases", "20"]), Server::larder(&[]));
    let mut theirs = redis.connect();
    fill(&mut theirs);
    assert_eq!(theirs.ask("SAVE"), Reply::ok());
    let path = redis.data_folder().join("dump.rdb").display().to_string();
    let (code, said) = import(&larder, &["--as-string", &path]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("refused: key 'stream': a stream can't become a record"), "{said}");
    assert!(said.ends_with(", 1 refused\n"), "{said}");

    let from = format!("{}/0", redis.url());
    import(&larder, &["--as-string", "--from", &from, "--store", "live", "--create", "json"]);
    let (file, live) = (content(&larder, "0"), content(&larder, "live"));
    assert_eq!(file.keys().collect::<Vec<_>>(), live.keys().collect::<Vec<_>>());
    for (key, imported) in &file {
        assert!(Some(imported) == live.get(key), "{key}: {imported:?}\n{:?}", live.get(key));
    }
    assert_eq!(content(&larder, "3"), BTreeMap::from([("elsewhere".into(), (json!(3), -1))]));

    // one database, into a store with a name
    let words = ["--database", "3", "--store", "third", "--create", "json", &path];
    assert_eq!(import(&larder, &words), (Some(0), "imported 1\n".into()));
    assert_eq!(content(&larder, "third"), content(&larder, "3"));
    let (code, said) = import(&larder, &["--store", "third", &path]);
    assert!(code == Some(1) && said.contains("say with --database"), "{said}");
    theirs.ask("FLUSHALL");
    theirs.ask("SELECT 19");
    theirs.ask("SET k 1");
    theirs.ask("SAVE");
    let (code, said) = import(&larder, &[&path]);
    assert!(
        code == Some(1) && said.contains("database 19 of the file: ERR DB index is out of range"),
        "{said}"
    );
}

/// The members that `tests/rdb/redis-8.6.rdb` and `valkey-9.1.rdb` have.
fn expected_of_fixtures() -> BTreeMap<String, (Value, i64)> {
    const DEADLINE: i64 = 4_102_444_800_123;
    let members =
        |range: std::ops::RangeInclusive<i32>| json!(range.map(|at| at.to_string()).collect::<Vec<_>>());
    let mut expected: BTreeMap<String, (Value, i64)> = [
        ("text", json!("hello \"world\"")),
        ("int8", json!(-5)),
        ("int16", json!(1234)),
        ("int32", json!(-70_000)),
        ("int64", json!(12_345_678_901_i64)),
        ("long", json!("abcabcabc ".repeat(60))),
        ("lasting", json!({"a": 1})),
        ("list:short", json!(["a", "1", "b", "-200"])),
        ("list:long", members(1..=300)),
        ("list:plain", json!(["x".repeat(9000), "y"])),
        ("set:ints", members(1..=3)),
        ("set:big", json!(["1", "2", "99999999999"])),
        ("set:short", json!(["7", "a", "b"])),
        ("set:long", json!(["a", "b", "c", "d", "e", "f"])),
        ("zset:short", json!({"n": "-inf", "m": 1.5, "o": 3})),
        ("zset:long", json!({"f": -2, "c": 0.1, "a": 1, "b": 1, "d": 1e30, "e": "inf"})),
        ("hash:short", json!({"f": "1", "g": "x"})),
        ("hash:long", json!({"a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "f": "6"})),
        // the field h, and the field c of the other, have expired
        ("hash:fields", json!({"f": "1", "g": "x"})),
        ("hash:morefields", json!({"a": "1", "b": "2", "d": "4", "e": "5", "f": "6"})),
    ]
    .map(|(key, value)| (key.to_owned(), (value, -1)))
    .into();
    expected.get_mut("lasting").unwrap().1 = DEADLINE;
    expected
}

#[test]
fn files_of_newer_servers_are_imported() {
    for name in ["redis-8.6.rdb", "valkey-9.1.rdb"] {
        let larder = Server::larder(&[]);
        let path = fixture(name);
        let (code, said) = import(&larder, &["--as-string", path.to_str().unwrap()]);
        assert_eq!(code, Some(2), "{name}: {said}");
        assert!(said.contains("refused: key 'stream': a stream can't become a record"), "{name}: {said}");
        let summary = "imported 21, 2 of them as strings, 1 library of functions, 1 refused\n";
        assert!(said.ends_with(summary), "{name}: {said}");
        let found = content(&larder, "0");
        for (key, expected) in expected_of_fixtures() {
            assert_eq!(found.get(&key), Some(&expected), "{name}: {key}");
        }
        assert_eq!(content(&larder, "3"), BTreeMap::from([("other".into(), (json!(3), -1))]));

        let library = "library of functions '#!lua name=lib'";
        for (options, told) in [
            (&[][..], format!("refused: {library}: ERR Library 'lib' already exists")),
            (&["--skip-existing"], "imported 0, 22 skipped, they exist, 1 refused".into()),
            (&["--replace"], "1 library of functions, 1 refused".into()),
            // a store has no functions
            (&["--database", "3", "--store", "named", "--create", "any"], "imported 1\n".into()),
        ] {
            let (_, said) = import(&larder, &[options, &["--as-string", path.to_str().unwrap()]].concat());
            assert!(said.contains(&told), "{name} {options:?}: {said}");
        }
        assert_eq!(larder.connect().call(&["FUNCTION", "LIST"]).elements().len(), 1);
    }
}

/// A file in parts, as old servers wrote them.
struct OldFile(Vec<u8>);

impl OldFile {
    fn new(version: u32) -> OldFile {
        OldFile(format!("REDIS{version:04}\u{fe}\0").chars().map(|byte| byte as u8).collect())
    }

    fn put(&mut self, kind: u8, key: &str, value: &[&[u8]]) {
        self.0.push(kind);
        self.0.extend(string(key.as_bytes()));
        value.iter().for_each(|part| self.0.extend_from_slice(part));
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(255);
        // zero: it was not summed
        self.0.extend([0; 8]);
        self.0
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    [&[0x80][..], &(text.len() as u32).to_be_bytes(), text].concat()
}

/// A ziplist of texts and numbers, as a string.
fn ziplist(elements: &[&str]) -> Vec<u8> {
    let (mut body, mut previous) = (Vec::new(), 0);
    for element in elements {
        let start = body.len();
        match previous {
            bytes @ ..254 => body.push(bytes as u8),
            bytes => body.extend([&[254][..], &(bytes as u32).to_le_bytes()].concat()),
        }
        match element.parse::<i64>() {
            Ok(number @ 0..=12) => body.push(0xf1 + number as u8),
            Ok(number) if i8::try_from(number).is_ok() => body.extend([0xfe, number as u8]),
            Ok(number) if i16::try_from(number).is_ok() => {
                body.extend([&[0xc0][..], &(number as i16).to_le_bytes()].concat())
            }
            Ok(number) if i32::try_from(number).is_ok() => {
                body.extend([&[0xd0][..], &(number as i32).to_le_bytes()].concat())
            }
            Ok(number) => body.extend([&[0xe0][..], &number.to_le_bytes()].concat()),
            Err(_) if element.len() < 64 => {
                body.extend([&[element.len() as u8][..], element.as_bytes()].concat())
            }
            Err(_) => {
                let length = 0x4000 | element.len() as u16;
                body.extend([&length.to_be_bytes()[..], element.as_bytes()].concat());
            }
        }
        previous = body.len() - start;
    }
    let (bytes, tail) = (10 + body.len() + 1, 10 + body.len() - previous);
    let head = [(bytes as u32).to_le_bytes(), (tail as u32).to_le_bytes()].concat();
    string(&[&head[..], &(elements.len() as u16).to_le_bytes(), &body, &[255]].concat())
}

#[test]
fn files_of_old_servers_are_imported() {
    let long = "z".repeat(300);
    let mut old = OldFile::new(6);
    old.put(1, "list:plain", &[&[2], &string(b"b"), &string(b"a")]);
    old.put(2, "set:plain", &[&[2], &string(b"b"), &string(b"a")]);
    old.put(
        3,
        "zset:plain",
        &[&[3], &string(b"b"), b"\x031.5", &string(b"a"), b"\xff", &string(b"c"), b"\xfe"],
    );
    old.put(4, "hash:plain", &[&[1], &string(b"f"), &string(b"v")]);
    old.put(5, "zset:binary", &[&[1], &string(b"b"), &0.1f64.to_le_bytes()]);
    old.put(9, "hash:zipmap", &[&string(b"\x02\x01a\x03\x02xyz..\x02bc\x01\x00d\xff")]);
    old.put(
        10,
        "list:ziplist",
        &[&ziplist(&["a", "0", "12", "13", "-1", "300", "-70000", "5000000000", &long, "end"])],
    );
    old.put(11, "set:integers", &[&string(b"\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x07\x00")]);
    old.put(12, "zset:ziplist", &[&ziplist(&["a", "-2", "b", "1.25", "c", "3"])]);
    old.put(13, "hash:ziplist", &[&ziplist(&["f", "1", "g", &long])]);
    old.put(14, "list:quicklist", &[&[2], &ziplist(&["a", "1"]), &ziplist(&["b"])]);
    let deadline = now_ms() + 60 * 60 * 1000;
    old.0.push(253);
    old.0.extend(((deadline / 1000) as u32).to_le_bytes());
    old.put(0, "seconds", &[b"\xc0\x01"]);
    old.0.push(252);
    old.0.extend(deadline.to_le_bytes());
    old.put(0, "milliseconds", &[b"\xc3\x05\x0d\x001\xe0\x03\x00"]);
    let bytes = old.finish();

    let (mut redis, larder) = (Server::redis(&[]), Server::larder(&[]));
    redis.stop();
    std::fs::write(redis.data_folder().join("dump.rdb"), &bytes).unwrap();
    redis.start();
    let from = format!("{}/0", redis.url());
    let live = import(&larder, &["--from", &from, "--store", "live", "--create", "json"]);
    assert_eq!(live, (Some(0), "imported 13\n".into()));
    let path = file_for(&larder, &bytes);
    assert_eq!(import(&larder, &[&path]), (Some(0), "imported 13\n".into()));
    assert_eq!(content(&larder, "0"), content(&larder, "live"));
}

#[test]
fn nothing_is_imported_from_a_damaged_file() {
    let whole = std::fs::read(fixture("redis-8.6.rdb")).unwrap();
    let larder = Server::larder(&[]);
    let mut connection = larder.connect();
    let mut random = Random::from_environment();
    let places: Vec<usize> =
        (0..25).map(|_| random.below(whole.len())).chain([0, 5, 9, whole.len() - 1]).collect();
    for at in places {
        let mut changed = whole.clone();
        changed[at] ^= 1 << random.below(8);
        for bytes in [&changed[..], &whole[..at]] {
            let path = file_for(&larder, bytes);
            let (code, said) = import(&larder, &["--format", "rdb", &path]);
            assert_eq!(code, Some(1), "byte {at}: {said}");
            assert!(said.contains("the RDB file can't be read beyond byte "), "byte {at}: {said}");
            assert!(said.contains("nothing was imported"), "byte {at}: {said}");
            assert_eq!(connection.ask("DBSIZE").integer(), 0, "byte {at}");
        }
    }
    let path = file_for(&larder, &[&whole[..], b"more"].concat());
    let (code, said) = import(&larder, &[&path]);
    assert!(code == Some(1) && said.contains("more follows behind its end"), "{said}");
    let path = file_for(&larder, b"REDIS0099\xff\0\0\0\0\0\0\0\0");
    let (code, said) = import(&larder, &[&path]);
    assert!(code == Some(1) && said.contains("its version is 99"), "{said}");
}

#[test]
fn a_stream_is_imported_up_to_its_damage() {
    let mut old = OldFile::new(6);
    old.put(0, "first", &[&string(b"1")]);
    old.put(0, "second", &[&string(b"2")]);
    let sound = old.0.len();
    old.put(42, "third", &[&string(b"3")]);
    let larder = Server::larder(&[]);
    let mut command = importing(&larder, &["-"]);
    command.stdin(std::fs::File::open(file_for(&larder, &old.finish())).unwrap());
    let (code, said) = said(&mut command);
    assert_eq!(code, Some(1), "{said}");
    let why = format!("beyond byte {}: it has a value of the unknown type 42", sound + 1);
    assert!(said.contains(&why) && said.contains("imported 2\n"), "{said}");
    assert_eq!(content(&larder, "0").into_keys().collect::<Vec<_>>(), ["first", "second"]);
}
