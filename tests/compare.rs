//! The parts of `benches/compare` that can be tested without measuring: the command line, replies, and the report.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    dead_code
)]

#[path = "../benches/compare/client.rs"]
mod client;
#[path = "../benches/compare/loads/mod.rs"]
mod loads;
#[path = "../benches/compare/machine.rs"]
mod machine;
#[path = "../benches/compare/options.rs"]
mod options;
#[path = "../benches/compare/report.rs"]
mod report;
#[path = "../benches/compare/results.rs"]
mod results;
#[path = "../benches/compare/server.rs"]
mod server;

use client::{Replies, push_request};
use options::{Measure, Options};
use results::Results;
use server::{Kind, Program, Server, Setup};

fn parse(words: &str) -> Result<Options, String> {
    Options::parse(words.split_whitespace().map(str::to_owned))
}

#[test]
fn options() {
    let given = "--bench --server a --load get,mixed --server b --load set-p1 --rounds 5 --dir d --json j";
    let expected = Measure {
        servers: vec!["a".into(), "b".into()],
        loads: ["get", "mixed", "set-p1"].map(str::to_owned).into(),
        rounds: 5,
        folder: "d".into(),
        json: Some("j".into()),
    };
    assert_eq!(parse(given), Ok(Options::Measure(expected)));
    assert!(matches!(parse(""), Ok(Options::Measure(Measure { rounds: 3, json: None, .. }))));
    assert_eq!(parse("--report r"), Ok(Options::Report("r".into())));
    assert_eq!(parse("--help"), Ok(Options::Help));
    for (wrong, why) in [
        ("--server", "--server needs a value"),
        ("--rounds 0", "--rounds needs a number from 1, and not '0'"),
        ("--rounds many", "--rounds needs a number from 1, and not 'many'"),
        ("always", "unknown option 'always'"),
    ] {
        let refused = parse(wrong).unwrap_err();
        assert!(refused.starts_with(why), "{wrong}: {refused}");
    }
}

#[test]
fn loads_are_chosen_by_the_beginnings_of_their_names() {
    let names = |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        loads::chosen(&wanted).map(|loads| loads.iter().map(|load| load.name.as_str()).collect::<Vec<_>>())
    };
    assert_eq!(names(&["get-p16"]).unwrap(), ["get-p16-always", "get-p16-everysec"]);
    assert_eq!(names(&["mixed", "set-p1-always"]).unwrap().len(), 4);
    assert_eq!(names(&[]).unwrap().len(), loads::all().len());
    let refused = names(&["get-p"]).unwrap_err();
    assert!(refused.starts_with("there is no load 'get-p'; there are set-p1-always, "), "{refused}");
    let mut all = names(&[]).unwrap();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), loads::all().len(), "two loads have the same name");
}

#[test]
fn servers_are_known_by_what_they_say() {
    for (text, expected) in [
        ("larder 0.1.0\n", Some((Kind::Larder, "Larder 0.1.0"))),
        (
            "Redis server v=8.6.3 sha=00000000:1 malloc=libc bits=64 build=8f82",
            Some((Kind::Redis, "Redis 8.6.3")),
        ),
        ("Valkey server v=9.1.2 sha=0:1 malloc=jemalloc-5.3.0", Some((Kind::Redis, "Valkey 9.1.2"))),
        ("redis-cli 7.0.15", None),
        ("", None),
    ] {
        assert_eq!(server::identify(text), expected.map(|(kind, name)| (kind, name.to_owned())), "{text}");
    }
}

#[test]
fn replies_end_wherever_their_pieces_end() {
    let replies: [&[u8]; 9] = [
        b"+OK\r\n",
        b":-17\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$12\r\none\r\n$9\r\ntwo\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*2\r\n:1\r\n$1\r\nx\r\n*0\r\n",
        b"*1\r\n$-1\r\n",
    ];
    let all = replies.concat();
    for length in 1..=all.len() {
        let mut scanner = Replies::default();
        let ended: usize = all.chunks(length).map(|piece| scanner.feed(piece).unwrap()).sum();
        assert_eq!(ended, replies.len(), "pieces of {length}");
    }
    for (bytes, why) in [
        (&b"+OK\r\n-ERR unknown command\r\n"[..], "ERR unknown command"),
        (b"$many\r\n", "no length: $many"),
        (b"HTTP/1.1 400\r\n", "no reply: HTTP/1.1 400"),
        (b"\r\n", "no reply: "),
    ] {
        assert_eq!(Replies::default().feed(bytes).unwrap_err(), why);
    }
}

#[test]
fn requests_are_arrays_of_strings() {
    let mut bytes = b"before".to_vec();
    push_request(&mut bytes, &[b"SET", b"key", b""]);
    assert_eq!(bytes, b"before*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n");
}

/// A server of each kind answers, and is gone with its data afterwards.
#[test]
fn both_kinds_of_servers_are_started_and_asked() {
    let redis = std::env::var("PATH").unwrap();
    let redis =
        std::env::split_paths(&redis).map(|folder| folder.join("redis-server")).find(|path| path.exists());
    for path in [server::OWN.into(), redis.expect("redis-server")] {
        let program = Program::of(&path).unwrap();
        let parent = tempfile::tempdir().unwrap();
        let server = Server::start(&program, &Setup::with_fsync("always"), parent.path()).unwrap();
        assert_eq!(server.ask(&["SET", "some", "17"]).unwrap(), "OK");
        server.settle().unwrap();
        assert_eq!(server.ask(&["GET", "some"]).unwrap(), "17");
        assert!(server.ask(&["NO", "SUCH"]).unwrap_err().starts_with("ERR unknown command"));
        let earlier = server.processor_time();
        assert_eq!(server.ask(&["PING"]).unwrap(), "PONG");
        assert!(server.memory_bytes() > 0.0 && server.processor_time().seconds_since(&earlier) > 0.0);
        let folder = server.shut_down().unwrap();
        let server = Server::start_in(&program, &Setup::with_fsync("always"), folder).unwrap();
        assert_eq!(server.ask(&["GET", "some"]).unwrap(), "17");
        drop(server);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}

const SAMPLE: &str = r#"{"format": 1, "date": "2026-11-30", "rounds": 3,
    "machine": {"processor": "P", "cores": 2, "memory_bytes": 8000000000, "kernel": "6.1", "disk": "ext4 on /dev/x", "sync_us": 250.4},
    "servers": [{"name": "Larder 1", "version": "larder 1, profile dist"}, {"name": "Redis 8", "version": "Redis server v=8"}],
    "measured": [
        {"load": "set-p1-always", "round": 0, "server": "Larder 1", "figures": {"per_s": 15000, "p99_us": 1000, "clients_share": 0.5}},
        {"load": "set-p1-always", "round": 0, "server": "Redis 8", "figures": {"per_s": 10000, "p99_us": 500, "clients_share": 0.4}},
        {"load": "set-p1-always", "round": 1, "server": "Redis 8", "figures": {"per_s": 20000, "p99_us": 500}},
        {"load": "set-p1-always", "round": 1, "server": "Larder 1", "figures": {"per_s": 40000, "p99_us": 2500}},
        {"load": "set-p1-always", "round": 2, "server": "Larder 1", "figures": {"per_s": 1234567.6, "p99_us": 400}},
        {"load": "documents-1kb-get", "round": 0, "server": "Larder 1", "figures": {"per_s": 7}}],
    "skipped": [{"load": "set-p1-always", "round": 2, "server": "Redis 8", "why": "it burned"}]}"#;

#[test]
fn the_report_has_medians_and_ratios_of_rounds() {
    let report = report::markdown(&Results::parse(SAMPLE).unwrap()).unwrap();
    for expected in [
        "Measured on 2026-11-30: P, 2 cores, 8 GB of memory, Linux 6.1, ext4 on /dev/x; a synced write of 4 KB takes 250 µs. Medians of 3 rounds.\n",
        "* Redis 8: `Redis server v=8`\n",
        // a round that only one server has counts for its median, and for no ratio
        "| SET, pipeline 1, `always` | requests/s | 40,000 | 15,000 | 1.75 |\n|  | p99, ms | 1.00 | 0.50 | 0.35 |\n",
        "|  | cores that the clients used | 0.50 | 0.40 |  |\n",
        "### What Larder loses\n\n| load | figure | slower or larger than | ratio | range |\n|---|---|---|---|---|\n| SET, pipeline 1, `always` | p99, ms | Redis 8 | 0.35 | 0.20–0.50 |\n",
        "| SET, pipeline 1, `always` | requests/s | Redis 8 | 1.75 | 1.50–2.00 |\n",
        "### Documents\n\n| | | Larder 1 |\n|---|---|---|\n| 1 KB, GET of the whole | requests/s | 7 |\n",
        "* `set-p1-always`, round 3, Redis 8: it burned\n",
    ] {
        assert!(report.contains(expected), "{expected}\nis not in\n{report}");
    }
    let unknown = SAMPLE.replace("documents-1kb-get", "no-such");
    assert_eq!(
        report::markdown(&Results::parse(&unknown).unwrap()).unwrap_err(),
        "there is no load 'no-such'"
    );
    let newer = Results::parse(&SAMPLE.replace("\"format\": 1", "\"format\": 2")).unwrap_err();
    assert_eq!(newer, "the format is 2, and this program reads 1");
}

#[test]
fn results_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    let results = Results::parse(SAMPLE).unwrap();
    results.write(&path).unwrap();
    assert_eq!(format!("{:?}", Results::read(&path).unwrap()), format!("{results:?}"));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("{\"load\"")).count(), 7, "{text}");
}

#[test]
fn a_run_of_some_loads_keeps_the_results_of_others() {
    let mut results = Results::parse(SAMPLE).unwrap();
    results.measured.truncate(1);
    results.add_other_loads(Results::parse(SAMPLE).unwrap(), &["set-p1-always"]).unwrap();
    let loads: Vec<&str> = results.measured.iter().map(|found| found.load.as_str()).collect();
    assert_eq!(loads, ["set-p1-always", "documents-1kb-get"]);
    let other = Results::parse(&SAMPLE.replace("server v=8", "server v=9")).unwrap();
    assert!(results.add_other_loads(other, &[]).unwrap_err().contains("other servers or versions"));
}

#[test]
fn the_tables_of_the_document_are_those_of_the_results() {
    let results = Results::parse(include_str!("../benches/compare/results.json")).unwrap();
    let document = include_str!("../docs/BENCHMARKS.md");
    let new = report::replace(document, &report::markdown(&results).unwrap()).unwrap();
    assert!(new == document, "cargo bench --bench compare -- --report benches/compare/results.json");
}

#[test]
fn only_the_tables_of_the_document_are_replaced() {
    let document = include_str!("../docs/BENCHMARKS.md");
    let once = report::replace(document, "some tables\n").unwrap();
    let twice = report::replace(&once, "some tables").unwrap();
    assert_eq!(once, twice);
    let (before, after) = once.split_once("\nsome tables\n\n").unwrap();
    assert!(document.starts_with(before) && document.ends_with(after));
    assert!(report::replace("nothing", "tables").is_err());
}
