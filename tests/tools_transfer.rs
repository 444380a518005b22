//! `larder export` and `larder import`, as a person runs them: what goes out comes back byte for byte, an endpoint gets
//! everything although it fails half of the time, and a Redis is taken over with all its types.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use support::{Connection, Random, Reply, Server, now_ms, request, run_with_input};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// `larder` with a subcommand, which talks to this server.
fn larder(server: &Server, words: &[&str]) -> Command {
    let mut command = support::larder();
    for name in ["REDISCLI_AUTH", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.args(words).args(["--url", &server.url()]);
    command
}

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Everything in the selected store: key, value, deadline.
fn content(connection: &mut Connection) -> HashMap<Vec<u8>, (Vec<u8>, i64)> {
    let mut content = HashMap::new();
    let mut cursor = "0".to_owned();
    loop {
        let Reply::Array(page) = connection.ask(&format!("SCAN {cursor} COUNT 1000")) else {
            panic!("no page")
        };
        let Reply::Array(keys) = &page[1] else { panic!("no keys") };
        for key in keys {
            let value = connection.call(&[b"GET", key.bytes()]).bytes().to_vec();
            let deadline = connection.call(&[b"PEXPIRETIME", key.bytes()]).integer();
            content.insert(key.bytes().to_vec(), (value, deadline));
        }
        cursor = page[0].text();
        if cursor == "0" {
            return content;
        }
    }
}

/// Sends many commands at once; none may fail.
fn pipeline(connection: &mut Connection, commands: &[Vec<Vec<u8>>]) {
    for commands in commands.chunks(500) {
        connection.send(&commands.iter().flat_map(|command| request(command)).collect::<Vec<_>>());
        for _ in commands {
            let reply = connection.read();
            assert!(!matches!(reply, Reply::Error(_)), "{reply}");
        }
    }
}

fn set(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
    vec![b"SET".to_vec(), key.as_ref().to_vec(), value.as_ref().to_vec()]
}

/// Records of every kind that is hard to write down.
fn fill_with_oddities(connection: &mut Connection) {
    connection.ask("STORE CREATE odd VALUES any");
    connection.ask("SELECT odd");
    let mut noise = Random::new(7);
    let big: Vec<u8> = (0..1024 * 1024).map(|_| noise.next() as u8).collect();
    let text = format!("\"{}\"", "larder ".repeat(150_000));
    let all_bytes: Vec<u8> = (0..=255).collect();
    let mut commands = vec![
        set("json", br#"{"b" : 1.0,  "a":[null, "\u00e9"], "a":2}"#),
        set("null", "null"),
        set("lines", "{\r\n  \"a\": 1\n}"),
        set("spaces", " 1 "),
        set("empty", ""),
        set("html", "<p>\"a\", b\r\n</p>"),
        set("binary", &all_bytes),
        set(&all_bytes, "1"),
        set(b"\xff\xfe", b"\xff"),
        set("", "0"),
        set("a,b\"c\r\nd", "1"),
        set("é\u{2028}", "\"\\ud800\""),
        set("big", &big),
        set("text", text),
    ];
    for at in 0..700 {
        commands.push(set(format!("many:{at}"), at.to_string()));
    }
    pipeline(connection, &commands);
    for (at, key) in ["json", "binary", "empty", "many:1"].iter().enumerate() {
        connection.ask(&format!("PEXPIREAT {key} {}", now_ms() + DAY_MS + at as i64));
    }
}

fn export_wipe_import(format: &str) {
    let server = Server::larder(&[]);
    let mut connection = server.connect();
    fill_with_oddities(&mut connection);
    let before = content(&mut connection);
    assert_eq!(before.len(), 714);
    let file = server.data_folder().with_file_name(format!("odd.{format}"));
    let path = file.to_str().unwrap();
    let words = ["export", "--store", "odd", "--format", format, "--to", path];
    let (code, said) = ended(&mut larder(&server, &words));
    assert_eq!((code, said.trim()), (Some(0), "exported 714"));
    connection.ask("FLUSHDB");
    assert!(content(&mut connection).is_empty());
    let (code, said) = ended(&mut larder(&server, &["import", "--store", "odd", "--format", format, path]));
    assert_eq!((code, said.trim()), (Some(0), "imported 714"));
    assert_eq!(content(&mut connection), before);
}

#[test]
fn json_lines_bring_everything_back() {
    export_wipe_import("jsonl");
}

#[test]
fn csv_brings_everything_back() {
    export_wipe_import("csv");
}

#[test]
fn what_exists_is_refused_skipped_or_replaced() {
    let server = Server::larder(&[]);
    let mut connection = server.connect();
    pipeline(&mut connection, &[set("old", "1")]);
    let lines = b"{\"key\":\"old\",\"value\":2}\n{\"key\":\"new\",\"value\":[ 1 ]}\n{\"key\":\"gone\",\"value\":1,\"expires_at\":1}\n";
    let file = server.data_folder().with_file_name("some.jsonl");
    std::fs::write(&file, lines).unwrap();
    let import = |words: &[&str]| ended(larder(&server, &["import"]).args(words).arg(&file));
    let (code, said) = import(&[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("refused: key 'old': it exists"), "{said}");
    assert!(said.ends_with("imported 1, 1 left out, they have expired, 1 refused\n"), "{said}");
    let (code, said) = import(&["--skip-existing"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "imported 0, 2 skipped, they exist, 1 left out, they have expired\n")
    );
    assert_eq!(connection.ask("GET old"), Reply::bulk("1"));
    assert_eq!(import(&["--replace"]).0, Some(0));
    assert_eq!(
        connection.ask("MGET old new gone"),
        Reply::Array(vec![Reply::bulk("2"), Reply::bulk("[ 1 ]"), Reply::NullBulk])
    );
}

#[test]
fn what_a_store_does_not_take_is_reported_record_by_record() {
    let server = Server::larder(&[]);
    let mut connection = server.connect();
    let commands =
        "SET a 1\r\nSET b 'plain text' EX 100\r\nHSET h f v\nSET c \"\\xff\"\nSET d '{\"x\": 2}'\n";
    let input = server.data_folder().with_file_name("commands.txt");
    std::fs::write(&input, commands).unwrap();
    let import = |words: &[&str]| {
        ended(larder(&server, &["import", "--format", "commands", "--replace"]).args(words).arg(&input))
    };
    let (code, said) = import(&[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("refused: key 'b': NOTJSON "), "{said}");
    assert!(said.contains("refused: command 3: HSET is not accepted"), "{said}");
    assert!(said.ends_with("imported 2, 3 refused\n"), "{said}");
    let (code, said) = import(&["--as-string"]);
    assert_eq!(code, Some(2));
    assert!(said.ends_with("imported 3, 1 of them as strings, 2 refused\n"), "{said}");
    assert_eq!(connection.ask("GET b"), Reply::bulk("\"plain text\""));
    assert!((1..=100).contains(&connection.ask("TTL b").integer()));
    let (code, said) = ended(&mut larder(&server, &["import", "--store", "none", input.to_str().unwrap()]));
    assert_eq!(code, Some(1));
    assert!(said.contains("--format") || said.contains("NOSTORE"), "{said}");
}

#[test]
fn export_goes_through_a_pipe_and_a_password() {
    let server = Server::larder(&["--requirepass", "pass word"]);
    let url = format!("redis://:pass%20word@127.0.0.1:{}", server.port());
    let run = |words: &[&str], input: &[u8]| run_with_input(support::larder().args(words), input);
    run(&["import", "--url", &format!("{url}/new"), "--create", "any"], b"{\"key\":\"k\",\"value\":1}\n");
    let printed = run(&["export", "--url", &format!("{url}/new"), "--match", "k*"], b"");
    assert_eq!(printed, "{\"key\":\"k\",\"value\":1}\n");
    let printed = run(&["export", "--url", &format!("{url}/new"), "--format", "csv", "--match", "x*"], b"");
    assert_eq!(printed, "key,value,expires_at,base64\r\n");
    let (code, said) = ended(&mut larder(&Server::larder(&[]), &["export", "--store", "none"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("NOSTORE"), "{said}");
}

#[test]
fn a_redis_is_taken_over_with_all_its_types() {
    let redis = Server::redis(&[]);
    let mut theirs = redis.connect();
    let deadline = now_ms() + DAY_MS;
    for line in [
        "SET text hello",
        "SET number 42",
        "RPUSH list b a b",
        "SADD set one",
        "ZADD zset 1.5 m -inf n",
        "HSET hash f 1 g x",
        "XADD stream * a b",
    ] {
        assert!(!matches!(theirs.ask(line), Reply::Error(_)), "{line}");
    }
    theirs.call(&[&b"SET"[..], b"binary", b"\xff\x00"]);
    theirs.call(&[&b"HSET"[..], b"bad", b"f", b"\xff"]);
    theirs.ask(&format!("PEXPIREAT hash {deadline}"));
    theirs.ask(&format!("SET lasting 1 PXAT {deadline}"));
    pipeline(&mut theirs, &(0..1000).map(|at| set(format!("n:{at}"), at.to_string())).collect::<Vec<_>>());
    let server = Server::larder(&[]);
    let from = format!("{}/0", redis.url());
    let import = |words: &[&str]| ended(larder(&server, &["import", "--from", &from]).args(words));
    let (code, said) = import(&["--as-string"]);
    assert_eq!(code, Some(2), "{said}");
    for refused in ["key 'stream': a stream", "key 'bad': a member is not UTF-8", "key 'binary': NOTJSON"] {
        assert!(said.contains(refused), "{said}");
    }
    assert!(said.ends_with("imported 1007, 1 of them as strings, 3 refused\n"), "{said}");
    let mut ours = server.connect();
    for (key, value) in [
        ("text", "\"hello\""),
        ("number", "42"),
        ("list", r#"["b","a","b"]"#),
        ("set", r#"["one"]"#),
        ("zset", r#"{"n":"-inf","m":1.5}"#),
        ("hash", r#"{"f":"1","g":"x"}"#),
        ("n:999", "999"),
    ] {
        assert_eq!(ours.ask(&format!("GET {key}")), Reply::bulk(value), "{key}");
    }
    for key in ["hash", "lasting"] {
        assert_eq!(ours.ask(&format!("PEXPIRETIME {key}")).integer(), deadline);
    }
    let (code, said) = import(&["--store", "bytes", "--create", "any", "--match", "b?n*"]);
    assert_eq!((code, said.trim()), (Some(0), "imported 1"));
    ours.ask("SELECT bytes");
    assert_eq!(ours.ask("GET binary"), Reply::bulk(b"\xff\x00"));
}

/// A key and its value.
type Arrived = (String, String);

/// An endpoint as one finds them: it fails, hangs up before and after it took a chunk, and answers late.
struct Endpoint {
    url: String,
    state: Arc<State>,
}

struct State {
    random: Mutex<Random>,
    /// What it took, by key: the values, each as often as it came.
    taken: Mutex<HashMap<String, Vec<String>>>,
    /// Keys of chunks that were answered with 2xx, or may have been: the answer was on its way.
    acknowledged: Mutex<HashSet<String>>,
    chunks: Mutex<Vec<usize>>,
    broken: AtomicBool,
}

impl Endpoint {
    fn start(random: Random, on_chunk: impl Fn(&[Arrived]) + Send + Sync + 'static) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/take?all=1", listener.local_addr().unwrap());
        let state = Arc::new(State {
            random: Mutex::new(random),
            taken: Mutex::default(),
            acknowledged: Mutex::default(),
            chunks: Mutex::default(),
            broken: AtomicBool::new(false),
        });
        let (serving, on_chunk) = (state.clone(), Arc::new(on_chunk));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, on_chunk) = (serving.clone(), on_chunk.clone());
                thread::spawn(move || state.serve(BufReader::new(stream.unwrap()), &*on_chunk));
            }
        });
        Endpoint { url, state }
    }
}

impl State {
    /// Serves a connection until one of both ends it.
    fn serve(&self, mut stream: BufReader<TcpStream>, on_chunk: &dyn Fn(&[Arrived])) -> Option<()> {
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                (stream.read_line(&mut line).ok()? > 0).then_some(())?;
                let line = line.trim_end().to_ascii_lowercase();
                if line.is_empty() {
                    break;
                }
                if let Some(bytes) = line.strip_prefix("content-length:") {
                    length = bytes.trim().parse().unwrap();
                }
            }
            let fate =
                if self.broken.load(Ordering::Relaxed) { 0 } else { self.random.lock().unwrap().below(12) };
            if fate == 1 {
                return None;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).ok()?;
            let answer = match fate {
                0 => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops",
                2 => "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                3 => "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            if fate < 4 {
                stream.get_mut().write_all(answer.as_bytes()).ok()?;
                if fate == 2 {
                    return None;
                }
                continue;
            }
            let records = records(&body);
            self.chunks.lock().unwrap().push(records.len());
            for (key, value) in &records {
                self.taken.lock().unwrap().entry(key.clone()).or_default().push(value.clone());
            }
            on_chunk(&records);
            if fate == 4 {
                // taken, and the answer is lost
                return None;
            }
            if fate == 5 {
                thread::sleep(std::time::Duration::from_millis(20));
            }
            self.acknowledged.lock().unwrap().extend(records.into_iter().map(|(key, _)| key));
            stream.get_mut().write_all(answer.as_bytes()).ok()?;
        }
    }
}

/// Keys and values of an array of records.
fn records(body: &[u8]) -> Vec<Arrived> {
    let body: Vec<serde_json::Value> = serde_json::from_slice(body).unwrap();
    let record = |record: &serde_json::Value| {
        (record["key"].as_str().unwrap().to_owned(), record["value"].to_string())
    };
    body.iter().map(record).collect()
}

#[test]
fn a_flaky_endpoint_gets_everything_and_nothing_is_deleted_before() {
    let count: usize = std::env::var("LARDER_EXPORT_RECORDS")
        .map_or(20_000, |count| count.parse().expect("a number of records"));
    let server = Server::larder(&[]);
    let mut connection = server.connect();
    let all: Vec<_> = (0..count).map(|at| set(format!("k:{at}"), format!("{{\"n\":{at}}}"))).collect();
    pipeline(&mut connection, &all);
    // some records change while the endpoint has them in hand
    let meddler = Mutex::new(server.connect());
    let changed = Arc::new(Mutex::new(HashSet::new()));
    let meddled = changed.clone();
    let endpoint = Endpoint::start(Random::from_environment(), move |records| {
        let mut meddler = meddler.lock().unwrap();
        if let Some((key, _)) = records.first().filter(|(key, _)| key.ends_with('7') || key.ends_with('3')) {
            meddled.lock().unwrap().insert(key.clone());
            meddler.call(&["SET", key, "\"changed\""]);
        }
    });
    let watched = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let (mut connection, state, done) = (server.connect(), endpoint.state.clone(), watched.clone());
        move || {
            // what is missing from the store has been acknowledged
            let mut random = Random::new(1);
            while !done.load(Ordering::Relaxed) {
                let key = format!("k:{}", random.below(count));
                if connection.ask(&format!("EXISTS {key}")).integer() == 0 {
                    assert!(
                        state.acknowledged.lock().unwrap().contains(&key),
                        "{key} was deleted unacknowledged"
                    );
                }
            }
        }
    });
    let words =
        ["export", "--to", &endpoint.url, "--chunk-size", "100", "--retries", "30", "--retry-wait", "2"];
    let (code, said) = ended(larder(&server, &words).arg("--move"));
    watched.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    assert_eq!(code, Some(0), "{said}");
    let changed = changed.lock().unwrap();
    let taken = endpoint.state.taken.lock().unwrap();
    assert!(taken.len() == count, "{} of {count} arrived: {said}", taken.len());
    for (key, values) in taken.iter() {
        let original = format!("{{\"n\":{}}}", &key[2..]);
        assert!(values.contains(&original), "{key}: {values:?}");
    }
    assert!(endpoint.state.chunks.lock().unwrap().iter().all(|records| *records <= 100));
    let left: HashSet<String> =
        content(&mut connection).into_keys().map(|key| String::from_utf8(key).unwrap()).collect();
    assert!(!changed.is_empty(), "the test has met what it is about");
    assert_eq!(left, *changed, "what changed is kept, all else is gone");
    assert!(said.contains("attempts repeated"), "{said}");
    assert!(said.contains(&format!("--move: {count} records are deleted from the store")), "{said}");
}

#[test]
fn an_endpoint_that_fails_for_good_costs_nothing() {
    let server = Server::larder(&[]);
    let mut connection = server.connect();
    pipeline(&mut connection, &(0..300).map(|at| set(format!("k:{at:03}"), "1")).collect::<Vec<_>>());
    let endpoint = Endpoint::start(Random::new(1), |_| {});
    endpoint.state.broken.store(true, Ordering::Relaxed);
    let export = |words: &[&str]| ended(larder(&server, &["export", "--retry-wait", "2"]).args(words));
    let (code, said) = export(&["--to", &endpoint.url, "--retries", "1"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("accepted no chunk in 2 attempts: 500"), "{said}");
    assert!(said.contains("exported 0"), "{said}");
    assert_eq!(connection.ask("DBSIZE").integer(), 300);
    endpoint.state.broken.store(false, Ordering::Relaxed);
    let (code, said) = export(&["--to", &endpoint.url, "--retries", "30"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(endpoint.state.taken.lock().unwrap().len(), 300);
    assert_eq!(connection.ask("DBSIZE").integer(), 300, "it copies");
    assert!(!said.contains("delete"), "{said}");
}

/// Deleting is asked for. The word that once kept it from deleting is still taken, and means nothing.
#[test]
fn only_a_move_deletes_and_says_how_many() {
    let server = Server::larder(&[]);
    let mut connection = server.connect();
    pipeline(&mut connection, &(0..300).map(|at| set(format!("k:{at:03}"), "1")).collect::<Vec<_>>());
    let endpoint = Endpoint::start(Random::new(1), |_| {});
    let base = ["export", "--to", &endpoint.url, "--retry-wait", "2", "--retries", "30"];
    let export = |words: &[&str]| ended(larder(&server, &base).args(words));
    assert_eq!(export(&["--keep"]).0, Some(0));
    assert_eq!(connection.ask("DBSIZE").integer(), 300);
    let (code, said) = export(&["--move", "--match", "k:1*"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("--move: 100 records are deleted from the store"), "{said}");
    assert!(said.contains("exported 100, deleted 100"), "{said}");
    assert_eq!(connection.ask("DBSIZE").integer(), 200);
    let file = server.data_folder().with_file_name("moved.jsonl");
    for (words, why) in [
        (&["--move", "--keep"][..], "cannot be used with"),
        (&["--move", "--to", file.to_str().unwrap()], "--move needs an endpoint"),
    ] {
        let words =
            if words.contains(&"--to") { [&["export"], words].concat() } else { [&base, words].concat() };
        let (code, said) = ended(&mut larder(&server, &words));
        assert!(code != Some(0) && said.contains(why), "{words:?}: {said}");
    }
    assert!(!file.exists());
    assert_eq!(connection.ask("DBSIZE").integer(), 200);
}

#[test]
fn a_failed_export_leaves_the_file_of_an_earlier_one() {
    let server = Server::larder(&[]);
    let file = server.data_folder().with_file_name("earlier.jsonl");
    std::fs::write(&file, "earlier").unwrap();
    let words = ["export", "--store", "none", "--to", file.to_str().unwrap()];
    assert_eq!(ended(&mut larder(&server, &words)).0, Some(1));
    assert_eq!(std::fs::read(Path::new(&file)).unwrap(), b"earlier");
}
