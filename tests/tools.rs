//! `redis-cli` as operators use it: its modes for watching, measuring, looking for large keys, loading and listing. And
//! CONFIG REWRITE, which needs a server with a settings file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod support;

use std::process::Command;

use support::{Reply, Server, redis_cli, run, run_with_input};

fn cli(server: &Server, args: &[&str]) -> String {
    run(redis_cli(server).args(args))
}

/// A mode that goes on until it is interrupted, ended after so many seconds.
fn cli_for(server: &Server, seconds: &str, args: &[&str]) -> String {
    let mut command = Command::new("timeout");
    // line by line, since what an interrupted redis-cli holds back is lost
    let port = server.port().to_string();
    command.args(["--signal=INT", seconds, "stdbuf", "--output=L", "redis-cli", "-p", &port]);
    String::from_utf8_lossy(&command.args(args).output().unwrap().stdout).into_owned()
}

fn filled() -> Server {
    let server = Server::larder(&["--default-values", "any"]);
    let mut connection = server.connect();
    for number in 0..300 {
        let value = "x".repeat(number);
        assert_eq!(connection.call(&["SET", &format!("key:{number:03}"), &value]), Reply::ok());
    }
    server
}

#[test]
fn large_keys_are_found() {
    let server = filled();
    let big = cli(&server, &["--bigkeys"]);
    assert!(big.contains("Biggest string found") && big.contains("key:299"), "{big}");
    assert!(big.contains("300 strings with 44850 bytes"), "{big}");
    let memory = cli(&server, &["--memkeys"]);
    assert!(memory.contains("Biggest string found") && memory.contains("Sampled 300 keys"), "{memory}");
}

#[test]
fn hot_keys_are_refused_as_without_lfu() {
    let server = filled();
    let mut command = redis_cli(&server);
    let output = command.arg("--hotkeys").output().unwrap();
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(told.contains("An LFU maxmemory policy is not selected"), "{told}");
}

#[test]
fn keys_are_listed_and_loaded() {
    let server = filled();
    let listed = cli(&server, &["--scan", "--pattern", "key:1*"]);
    assert_eq!(listed.lines().count(), 100, "{listed}");
    let mut requests = String::new();
    for number in 0..5_000 {
        let (key, value) = (format!("load:{number}"), number.to_string());
        requests += &format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len());
    }
    let loaded = run_with_input(redis_cli(&server).arg("--pipe"), requests.as_bytes());
    assert!(loaded.contains("errors: 0, replies: 5000"), "{loaded}");
    assert_eq!(server.connect().call(&["DBSIZE"]), Reply::Integer(5_300));
}

#[test]
fn the_server_is_watched_and_measured() {
    let server = filled();
    let stat = cli_for(&server, "1", &["-i", "0.1", "--stat"]);
    let last = stat.lines().last().unwrap_or_default();
    assert!(stat.contains("keys") && last.split_whitespace().next() == Some("300"), "{stat}");
    // minimum, maximum, average, samples
    let latency = cli(&server, &["--raw", "-i", "0.2", "--latency"]);
    assert_eq!(latency.split_whitespace().count(), 4, "{latency}");
    let history = cli_for(&server, "1", &["--raw", "-i", "0.2", "--latency-history"]);
    assert!(history.lines().count() >= 2, "{history}");
}

#[test]
fn a_value_goes_from_server_to_server() {
    let (from, to) = (filled(), Server::larder(&["--default-values", "any"]));
    let Reply::Bulk(payload) = from.connect().call(&["DUMP", "key:299"]) else { panic!("no payload") };
    let mut connection = to.connect();
    let request: [&[u8]; 4] = [b"RESTORE", b"copy", b"0", &payload];
    assert_eq!(connection.call(&request), Reply::ok());
    assert_eq!(connection.call(&["STRLEN", "copy"]), Reply::Integer(299));
    // what a Redis dumped is of another kind
    let redis = Server::redis(&[]);
    redis.connect().call(&["SET", "k", "1"]);
    let Reply::Bulk(foreign) = redis.connect().call(&["DUMP", "k"]) else { panic!("no payload") };
    let request: [&[u8]; 4] = [b"RESTORE", b"k", b"0", &foreign];
    assert!(connection.call(&request).is_error("ERR DUMP payload version or checksum are wrong"));
}

#[test]
fn settings_are_written_to_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.toml");
    std::fs::write(&path, "# ours\ntimeout = 0 # never\n").unwrap();
    let server = Server::larder(&["--config", path.to_str().unwrap()]);
    let mut connection = server.connect();
    for (request, answer) in [
        (&["CONFIG", "SET", "timeout", "600", "slowlog-max-len", "7"][..], "OK"),
        (&["ACL", "SETUSER", "reader", "on", ">secret", "+get", "~*"], "OK"),
        (&["CONFIG", "REWRITE"], "OK"),
    ] {
        assert_eq!(connection.call(request), Reply::Simple(answer.into()), "{request:?}");
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# ours\ntimeout = 600 # never\n"), "{text}");
    assert!(text.contains("\nslowlog-max-len = 7\n"), "{text}");
    // a described user begins with a reset, which says what is so anyway
    let users = |server: &Server| cli(server, &["ACL", "LIST"]).replace(" sanitize-payload", "");
    let again = Server::larder(&["--config", path.to_str().unwrap()]);
    assert_eq!(users(&again), users(&server));
    assert!(users(&again).contains("user reader on #"));
    let info = cli(&server, &["INFO", "server"]);
    assert!(info.contains(&format!("config_file:{}\r\n", path.display())), "{info}");
}
