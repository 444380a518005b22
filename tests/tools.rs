//! `redis-cli` as operators use it: its modes for watching, measuring, looking for large keys, loading and listing; what
//! redis_exporter and iredis make of the server. And CONFIG REWRITE, which needs a server with a settings file.
//! What RedisInsight sends is in `tests/scenarios/redisinsight.txt`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod support;

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use support::{Reply, Server, exchange, free_port, installed, redis_cli, run, run_with_input, wait_for};

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

/// Ends the program with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is at a path, once the port is listened on.
fn fetch(port: u16, path: &str) -> String {
    wait_for(|| TcpStream::connect(("127.0.0.1", port)).ok()).expect("it listens");
    exchange(port, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

#[test]
fn redis_exporter_finds_what_it_looks_for() {
    let server = filled();
    server.connect().ask("NONSENSE");
    let port = free_port();
    let mut exporter = Command::new("prometheus-redis-exporter");
    exporter.arg(format!("-redis.addr=redis://127.0.0.1:{}", server.port()));
    exporter.arg(format!("-web.listen-address=127.0.0.1:{port}"));
    exporter.args([
        "-check-keys=key:29*",
        "-count-keys=db0=key:*",
        "-export-client-list",
        "-set-client-name",
    ]);
    let _exporter = Ended(exporter.stderr(Stdio::null()).spawn().expect("tests/run installs redis_exporter"));
    let metrics = fetch(port, "/metrics");
    for metric in [
        "redis_up 1",
        "redis_exporter_last_scrape_error{err=\"\"} 0",
        "redis_db_keys{db=\"db0\"} 300",
        "redis_db_keys{db=\"db15\"} 0",
        "redis_key_size{db=\"db0\",key=\"key:299\"} 299",
        "redis_keys_count{db=\"db0\",key=\"key:*\"} 300",
        "redis_commands_total{cmd=\"set\"} 300",
        "redis_errors_total{err=\"ERR\"} 1",
        "redis_config_maxclients 10000",
        "redis_aof_enabled 1",
        "redis_connected_slaves 0",
    ] {
        assert!(metrics.lines().any(|line| line == metric), "{metric} is not in\n{metrics}");
    }
    for name in
        ["redis_memory_used_bytes ", "redis_slowlog_length ", "redis_latency_percentiles_usec{cmd=\"set\""]
    {
        assert!(metrics.contains(&format!("\n{name}")), "{name} is not in\n{metrics}");
    }
}

#[test]
fn iredis_is_a_client() {
    let server = Server::larder(&[]);
    let mut iredis = Command::new(installed("iredis/bin/iredis"));
    // it keeps its history there
    let home = tempfile::tempdir().unwrap();
    iredis.env("HOME", home.path()).args(["-p", &server.port().to_string(), "--raw", "--no-rainbow"]);
    let typed = b"SET \"a key\" '{\"n\":1}'\nGET \"a key\"\nSCAN 0\nJSON.NUMINCRBY \"a key\" $.n 2\nTTL \"a key\"\n\
        HELP GETEX\nCLIENT LIST\nMULTI\nINCR counter\nEXEC\nSTORE CREATE orders\nSELECT 16\nDBSIZE\nINFO server\n";
    let printed = run_with_input(&mut iredis, typed);
    let mut lines = printed.lines().map(str::trim_end);
    for expected in [
        "OK",
        "{\"n\":1}",
        "0",
        "a key",
        "[3]",
        "-1",
        "  GETEX",
        "OK",
        "QUEUED",
        "1",
        "OK",
        "OK",
        "0",
        "redis_mode:standalone",
    ] {
        assert!(lines.any(|line| line == expected), "{expected:?} does not follow in\n{printed}");
    }
    assert!(printed.contains(" lib-name=redis-py "), "{printed}");
    assert!(!printed.contains("ERR"), "{printed}");
}

#[test]
fn a_value_goes_from_server_to_server() {
    let (from, to) = (filled(), Server::larder(&["--default-values", "any"]));
    let Reply::Bulk(payload) = from.connect().call(&["DUMP", "key:299"]) else { panic!("no payload") };
    let mut connection = to.connect();
    let request: [&[u8]; 4] = [b"RESTORE", b"copy", b"0", &payload];
    assert_eq!(connection.call(&request), Reply::ok());
    assert_eq!(connection.call(&["STRLEN", "copy"]), Reply::Integer(299));
    // and from a Redis
    let redis = Server::redis(&[]);
    redis.connect().call(&["SET", "k", "1"]);
    let Reply::Bulk(foreign) = redis.connect().call(&["DUMP", "k"]) else { panic!("no payload") };
    let request: [&[u8]; 4] = [b"RESTORE", b"k", b"0", &foreign];
    assert_eq!(connection.call(&request), Reply::ok());
    assert_eq!(connection.call(&["GET", "k"]), Reply::bulk("1"));
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
