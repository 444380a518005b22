//! Streams of changes of a whole server, as clients read them from sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use support::{
    Server, Syncs, connect_http, installed, larder_with_http, redis_cli, run, run_with_input, wait_for,
};

/// A server with an HTTP port.
struct Scene {
    server: Server,
    http_port: u16,
}

impl Scene {
    fn start(flags: &[&str]) -> Scene {
        let (server, http_port) = larder_with_http(flags);
        Scene { server, http_port }
    }

    fn redis(&self, words: &[&str]) -> String {
        run(redis_cli(&self.server).args(words)).trim_end().to_owned()
    }

    /// The events of a store, from its first one on.
    fn events(&self, store: &str, headers: &str) -> Reading {
        let mut stream = connect_http(self.http_port);
        let line = format!("GET /api/v1/stores/{store}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        stream.write_all(format!("{line}{headers}\r\n").as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(lines.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Reading { lines }
    }

    fn streams(&self) -> String {
        let info = self.redis(&["INFO", "stats"]);
        let line = info.lines().find_map(|line| line.trim().strip_prefix("http_event_streams:"));
        line.unwrap().to_owned()
    }
}

/// The lines of a stream. Those that frame its chunks look like none of an event's.
struct Reading {
    lines: BufReader<TcpStream>,
}

impl Reading {
    /// The data of the next event, and its id; none at the end.
    fn next(&mut self) -> Option<(Value, Option<String>)> {
        let (mut id, mut line) = (None, String::new());
        loop {
            line.clear();
            if self.lines.read_line(&mut line).unwrap() == 0 || line == "0\r\n" {
                return None;
            }
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.trim_end().to_owned());
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some((serde_json::from_str(data).unwrap(), id));
            }
        }
    }

    fn kind(&mut self) -> Option<String> {
        self.next().map(|(data, _)| data["kind"].as_str().unwrap().to_owned())
    }
}

#[test]
fn clients_that_write_at_once_are_all_told_in_the_order_of_versions() {
    const CLIENTS: usize = 4;
    const TIMES: usize = 200;
    let scene = Scene::start(&[]);
    let mut reading = scene.events("0", "");
    assert_eq!(reading.kind().unwrap(), "open");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut connection = scene.server.connect();
            scope.spawn(move || {
                for n in 0..TIMES {
                    connection.send(format!("MSET shared {client} own{client} {n}\r\n").as_bytes());
                    connection.read();
                }
            });
        }
    });
    let (mut last, mut shared) = (0, Value::Null);
    let mut own = vec![Value::Null; CLIENTS];
    for _ in 0..2 * CLIENTS * TIMES {
        let (data, _) = reading.next().unwrap();
        let (_run, version) = data["version"].as_str().unwrap().split_once('-').unwrap();
        let version: u64 = version.parse().unwrap();
        assert!(version >= last);
        last = version;
        // what is told as the old value is what was told as the new one before
        let key = data["key"].as_str().unwrap();
        let known = match key.strip_prefix("own") {
            None => &mut shared,
            Some(client) => &mut own[client.parse::<usize>().unwrap()],
        };
        assert_eq!(data["old"], *known);
        *known = data["new"].clone();
    }
    assert!(own.iter().all(|value| *value == json!(TIMES - 1)));
}

#[test]
fn what_was_told_survives_a_crash_and_what_followed_is_lost_to_the_stream() {
    let mut scene = Scene::start(&[]);
    let mut reading = scene.events("0", "");
    reading.next().unwrap();
    let mut connection = scene.server.connect();
    connection.send(b"SET a 1\r\n");
    // not the reply, but the event says that it is on disk
    let (data, id) = reading.next().unwrap();
    assert_eq!(data["new"], 1);
    scene.server.kill_hard();
    scene.server.start();
    assert_eq!(scene.redis(&["GET", "a"]), "1");
    let mut again = scene.events("0", &format!("Last-Event-ID: {}\r\n", id.unwrap()));
    assert_eq!(again.kind().unwrap(), "lost");
}

#[test]
fn what_does_not_become_durable_is_not_told() {
    let syncs = Syncs::new();
    let (server, http_port) = syncs.server_with_http(&[]);
    let scene = Scene { server, http_port };
    let mut reading = scene.events("0", "");
    assert_eq!(reading.kind().unwrap(), "open");
    syncs.fail();
    let refused = scene.redis(&["SET", "a", "1"]);
    assert!(refused.contains("MISCONF"), "{refused}");
    let (data, _) = reading.next().unwrap();
    assert_eq!((&data["kind"], &data["code"]), (&json!("end"), &json!("MISCONF")));
    assert!(reading.next().is_none());
}

/// The client in docs/HTTP.md, and the schema of an event that `/openapi.json` has.
#[test]
fn events_are_as_documented() {
    let scene = Scene::start(&[]);
    assert_eq!(scene.redis(&["STORE", "CREATE", "orders"]), "OK");
    let document = include_str!("../docs/HTTP.md");
    let (_, python) = document.split_once("```python\n").unwrap();
    let (python, _) = python.split_once("```").unwrap();
    let python = python.replace(":8379/", &format!(":{}/", scene.http_port)).replace(
        "print(json.loads(b\"\".join(data)))",
        "print(json.dumps(json.loads(b\"\".join(data))), flush=True)",
    );
    let mut client =
        Command::new("python3").args(["-c", &python]).stdout(Stdio::piped()).spawn().expect("python3");
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut all = vec![lines.next().unwrap()];
    for words in [
        &["SET", "a", "1"][..],
        &["SET", "a", "{\n\"n\":\r\n[2]}", "EX", "1000"],
        &["RENAME", "a", "b"],
        &["SET", "b", "3", "PX", "1"],
    ] {
        scene.redis(&[&["-n", "16"], words].concat());
    }
    while !all.last().unwrap().contains("\"expire\"") {
        all.push(lines.next().unwrap());
    }
    for words in
        [&["SWAPDB", "16", "0"][..], &["STORE", "RENAME", "orders", "sales"], &["STORE", "DROP", "sales"]]
    {
        scene.redis(words);
    }
    all.extend(lines);
    assert!(all.len() >= 10 && all.last().unwrap().contains("NOSTORE"), "{all:?}");
    assert!(client.wait().unwrap().success());
    let check = "import json, jsonschema_rs, sys
api = json.load(open('docs/openapi.json'))
schema = {'$ref': '#/components/schemas/Event', 'components': api['components']}
validator = jsonschema_rs.Draft202012Validator(schema)
for line in sys.stdin: validator.validate(json.loads(line))";
    run_with_input(
        Command::new(installed("openapi/bin/python")).args(["-c", check]),
        all.join("\n").as_bytes(),
    );
}

#[test]
fn records_that_expire_are_told_without_anyone_reading_them() {
    let scene = Scene::start(&[]);
    scene.redis(&["SET", "old", "[1]", "PX", "200"]);
    let mut reading = scene.events("0", "");
    assert_eq!(reading.kind().unwrap(), "open");
    let (data, _) = reading.next().unwrap();
    assert_eq!((&data["kind"], &data["key"], &data["old"]), (&json!("expire"), &json!("old"), &json!([1])));
}

#[test]
fn who_does_not_read_is_ended_and_costs_the_others_nothing() {
    let scene = Scene::start(&["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let mut slow = scene.events("0", "");
    let mut quick = scene.events("0", "");
    assert_eq!(quick.kind().unwrap(), "open");
    let value = format!("\"{}\"", "x".repeat(100_000));
    let mut connection = scene.server.connect();
    // what sockets hold comes first, so it takes more than the limit
    let mut written = 0;
    while !scene.server.log().contains("a follower of a store does not read") {
        assert!(written < 10_000, "nobody was ended");
        let command = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n{value}\r\n", value.len());
        connection.send(command.as_bytes());
        connection.read();
        assert_eq!(quick.kind().unwrap(), "set");
        written += 1;
    }
    let mut kinds: Vec<String> = std::iter::from_fn(|| slow.kind()).collect();
    assert_eq!(kinds.pop().unwrap(), "end");
    assert_eq!(kinds.remove(0), "open");
    assert!(kinds.len() < written && kinds.iter().all(|kind| kind == "set"));
    scene.redis(&["SET", "a", "1"]);
    assert_eq!(quick.kind().unwrap(), "set");
}

#[test]
fn streams_end_with_their_clients_and_with_the_server() {
    let mut scene = Scene::start(&[]);
    let gone = scene.events("0", "");
    let mut there = scene.events("1", "");
    assert_eq!(there.kind().unwrap(), "open");
    assert_eq!(scene.streams(), "2");
    drop(gone);
    assert!(wait_for(|| (scene.streams() == "1").then_some(())).is_some());
    scene.server.stop();
    let (data, _) = there.next().unwrap();
    assert_eq!((&data["kind"], &data["code"]), (&json!("end"), &json!("SHUTDOWN")));
    assert!(there.next().is_none());
}
