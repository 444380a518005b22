//! Larder and a redis-server of the same machine, side by side: `cargo bench --profile dist --bench against_redis [-- PART …]`.
//!
//! Both run at the same durability, on the same disk, under the same load (`redis-benchmark`, 50 clients), in turns: one
//! round is Larder, then Redis. What is printed is the median of the rounds, and the median of the rounds' ratios.
//! Parts: `always`, `everysec`, `values`, `storage`, `sustained`; all of them, if none is named.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const KEYS: usize = 100_000;

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    println!(
        "rounds: {ROUNDS}, medians; cores: {}; profile: {}",
        std::thread::available_parallelism().map_or(0, |n| n.get()),
        profile()
    );
    if wants("always") {
        throughput("always");
    }
    if wants("everysec") {
        throughput("everysec");
    }
    if wants("values") {
        larger_values();
    }
    if wants("storage") {
        storage();
    }
    if wants("sustained") {
        sustained();
    }
}

/// The profile that the server was built with. Packages are built with `dist`; `release` is quicker to build, and slower.
fn profile() -> &'static str {
    env!("CARGO_BIN_EXE_larder").rsplit('/').nth(1).unwrap_or("?")
}

/// SET, GET and INCR with a pipeline of 1 and 16.
fn throughput(fsync: &str) {
    let value = small_value();
    let set = ["set", "key:__rand_int__", &value];
    let loads: [(&str, &[&str]); 4] = [
        ("SET 150 B", &set),
        ("GET 150 B", &["get", "key:__rand_int__"]),
        ("INCR, 100,000 counters", &["incr", "counter:__rand_int__"]),
        ("INCR, one counter", &["incr", "counter"]),
    ];
    println!("\nappendfsync {fsync}: requests per second\n");
    println!("| load | pipeline | Larder | Redis | ratio |\n|---|---|---|---|---|");
    let (larder, redis) = (Server::larder(fsync, &[]), Server::redis(fsync));
    for (name, load) in loads {
        for (pipeline, requests) in [(1, 200_000), (16, 1_000_000)] {
            let rounds: Vec<_> = (0..ROUNDS)
                .map(|_| {
                    (larder.benchmark(requests, pipeline, load), redis.benchmark(requests, pipeline, load))
                })
                .collect();
            print_row(&format!("{name} | {pipeline}"), &rounds);
        }
    }
}

/// GET of 1 KB values: all of them in the cache, and none.
fn larger_values() {
    println!("\nGET of 1 KB values, {} keys, pipeline 16\n", KEYS / 10);
    println!("| load | Larder | Redis | ratio |\n|---|---|---|---|");
    let redis = Server::redis("everysec");
    redis.load((0..KEYS / 10).map(|at| (format!("key:{at:012}"), value_1k(at))));
    for (name, cache) in [("cached", "256mb"), ("not cached", "64kb")] {
        let larder = Server::larder("everysec", &["--cache-memory", cache]);
        larder.load((0..KEYS / 10).map(|at| (format!("key:{at:012}"), value_1k(at))));
        larder.cli(&["SAVE"]);
        let get =
            |server: &Server| server.benchmark_keys(300_000, 16, KEYS / 10, &["get", "key:__rand_int__"]);
        get(&larder);
        let rounds: Vec<_> = (0..ROUNDS).map(|_| (get(&larder), get(&redis))).collect();
        print_row(name, &rounds);
    }
}

/// Bytes on disk, memory and start-up with many records.
fn storage() {
    println!("\nbytes on disk per record\n");
    println!(
        "| records | plain | Larder: LMDB file | stored bytes | Redis: RDB | Redis: AOF |\n|---|---|---|---|---|---|"
    );
    for (records, name) in [(1_000_000, "166 B"), (100_000, "1 KB")] {
        let pair = |at: usize| {
            (format!("user:{at:07}"), if records == 1_000_000 { value_166(at) } else { value_1k(at) })
        };
        let plain: usize =
            (0..1000).map(|at| pair(at * 97)).map(|(key, value)| key.len() + value.len()).sum();
        let (larder, redis) = (Server::larder("everysec", &[]), Server::redis("everysec"));
        let idle = (larder.resident_kb(), redis.resident_kb());
        larder.load((0..records).map(pair));
        redis.load((0..records).map(pair));
        larder.cli(&["SAVE"]);
        redis.cli(&["SAVE"]);
        let stored = larder.info_number("store_0:", "stored_bytes=");
        let per = |bytes: u64| bytes as f64 / records as f64;
        let aof: u64 = folder_bytes(&redis.folder.join("appendonlydir"));
        println!(
            "| {records} of {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            plain as f64 / 1000.0,
            per(fs::metadata(larder.folder.join("data/lmdb/data.mdb")).map_or(0, |meta| meta.len())),
            per(stored),
            per(fs::metadata(redis.folder.join("dump.rdb")).map_or(0, |meta| meta.len())),
            per(aof),
        );
        println!(
            "\nresident memory, MB, idle / loaded: Larder {} / {}, Redis {} / {}",
            idle.0 / 1024,
            larder.resident_kb() / 1024,
            idle.1 / 1024,
            redis.resident_kb() / 1024
        );
        if records == 1_000_000 {
            let began = Instant::now();
            for _ in 0..1000 {
                larder.cli_quiet("KEYS user:012345*");
            }
            let hello = Instant::now();
            for _ in 0..1000 {
                larder.cli_quiet("PING");
            }
            let scan_us = (hello - began).as_micros().saturating_sub(hello.elapsed().as_micros()) / 1000;
            println!("KEYS user:012345* over {records} records, beyond a PING: {scan_us} µs");
            larder.shut_down();
            let orderly = larder.start_time();
            larder.load((0..20_000).map(|at| pair(at + 1)));
            larder.kill();
            let disorderly = larder.start_time();
            redis.shut_down();
            let redis_start = redis.start_time();
            drop((larder, redis));
            // much of it is only in the journal then
            let loading = Server::larder("everysec", &[]);
            loading.load((0..records).map(pair));
            loading.kill();
            println!(
                "start with {records} records: Larder {} ms after an orderly end, {} ms after kill -9, {} ms after kill -9 at the end of their load; Redis {} ms",
                orderly.as_millis(),
                disorderly.as_millis(),
                loading.start_time().as_millis(),
                redis_start.as_millis()
            );
        }
        println!();
    }
}

/// Many different records as fast as they are taken, until all are in LMDB, with a reader beside.
fn sustained() {
    const RECORDS: usize = 3_000_000;
    println!(
        "\nsustained load: {RECORDS} different records of 166 B, everysec, 8 writers with pipelines of 64\n"
    );
    let larder = Server::larder("everysec", &[]);
    let (port, began) = (larder.port, Instant::now());
    let done = std::sync::atomic::AtomicBool::new(false);
    let (mut stalls, mut latencies) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let records = (writer..RECORDS).step_by(8).map(|at| (format!("user:{at:07}"), value_166(at)));
                scope.spawn(move || load_measured(port, records))
            })
            .collect();
        let done = &done;
        let reader = scope.spawn(move || {
            let mut connection = Connection::new(port);
            let mut latencies = Vec::new();
            for at in (0..).step_by(997) {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let sent = Instant::now();
                connection.send(&request(&["GET", &format!("user:{:07}", at % RECORDS)]));
                connection.read_replies(1);
                latencies.push(sent.elapsed());
                std::thread::sleep(Duration::from_micros(500));
            }
            latencies
        });
        stalls.extend(writers.into_iter().map(|writer| writer.join().expect("a writer")));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        latencies = reader.join().expect("the reader");
    });
    let acknowledged = began.elapsed();
    larder.cli(&["SAVE"]);
    let all = began.elapsed();
    latencies.sort_unstable();
    println!(
        "acknowledged {:.0} records/s, in LMDB {:.0} records/s; longest stall of a writer {} ms; GET p50 {} µs, p99 {} µs; resident {} MB",
        RECORDS as f64 / acknowledged.as_secs_f64(),
        RECORDS as f64 / all.as_secs_f64(),
        stalls.iter().max().map_or(0, |stall| stall.as_millis()),
        latencies[latencies.len() / 2].as_micros(),
        latencies[latencies.len() * 99 / 100].as_micros(),
        larder.resident_kb() / 1024
    );
}

fn print_row(name: &str, rounds: &[(f64, f64)]) {
    let larder = median(rounds.iter().map(|round| round.0));
    let redis = median(rounds.iter().map(|round| round.1));
    let ratio = median(rounds.iter().map(|round| round.0 / round.1));
    println!("| {name} | {larder:.0} | {redis:.0} | {ratio:.2} |");
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn small_value() -> String {
    r#"{"id":123456,"name":"a customer of ours","email":"somebody@example.com","tags":["one","two","three"],"active":true,"balance":1234.56,"note":"hello, we"}"#.into()
}

/// A number that looks random and is the same at every run.
fn scramble(at: usize) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&at.to_be_bytes())
}

fn value_166(at: usize) -> String {
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

fn value_1k(at: usize) -> String {
    let mut text = format!(r#"{{"order":{at},"customer":{},"items":["#, value_166(at));
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

fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// A server of either kind, in a folder of its own beside the build, so on the same disk.
struct Server {
    folder: PathBuf,
    port: u16,
    process: std::cell::RefCell<Child>,
    command: Box<dyn Fn() -> Command>,
}

impl Server {
    fn larder(fsync: &str, more: &[&str]) -> Server {
        let (fsync, more) = (fsync.to_owned(), more.iter().map(|arg| arg.to_string()).collect::<Vec<_>>());
        Server::start("larder", move |folder, port| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
            command.arg("--dir").arg(folder.join("data")).args(["--port", &port.to_string()]);
            command.args(["--appendfsync", &fsync, "--http-port", "0"]).args(&more);
            command
        })
    }

    fn redis(fsync: &str) -> Server {
        let fsync = fsync.to_owned();
        Server::start("redis", move |folder, port| {
            let mut command = Command::new("redis-server");
            command.arg("--dir").arg(folder).args(["--port", &port.to_string(), "--save", ""]);
            command.args(["--appendonly", "yes", "--appendfsync", &fsync]);
            command
        })
    }

    fn start(kind: &str, command: impl Fn(&Path, u16) -> Command + 'static) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{kind}-{port}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        let make: Box<dyn Fn() -> Command> = {
            let folder = folder.clone();
            Box::new(move || {
                let mut command = command(&folder, port);
                command.stdout(Stdio::null()).stderr(Stdio::null());
                command
            })
        };
        let process = make().spawn().expect("the server");
        let server = Server { folder, port, process: process.into(), command: make };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let mut line = String::new();
                let _ = stream.write_all(b"PING\r\n");
                if BufReader::new(stream).read_line(&mut line).is_ok() && line == "+PONG\r\n" {
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the server does not answer");
    }

    fn shut_down(&self) {
        self.cli(&["SHUTDOWN"]);
        self.process.borrow_mut().wait().expect("the server's end");
    }

    fn kill(&self) {
        let mut process = self.process.borrow_mut();
        process.kill().expect("kill");
        process.wait().expect("the server's end");
    }

    /// Starts it again; how long it takes to answer.
    fn start_time(&self) -> Duration {
        let began = Instant::now();
        *self.process.borrow_mut() = (self.command)().spawn().expect("the server");
        self.wait_until_ready();
        began.elapsed()
    }

    fn benchmark(&self, requests: usize, pipeline: usize, load: &[&str]) -> f64 {
        self.benchmark_keys(requests, pipeline, KEYS, load)
    }

    fn benchmark_keys(&self, requests: usize, pipeline: usize, keys: usize, load: &[&str]) -> f64 {
        let output = Command::new("redis-benchmark")
            .args(["-p", &self.port.to_string(), "-n", &requests.to_string(), "-c", "50"])
            .args(["-P", &pipeline.to_string(), "-r", &keys.to_string(), "-q"])
            .args(load)
            .output()
            .expect("redis-benchmark, of Debian's redis-tools");
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
        let line = text.lines().rev().find(|line| line.contains("requests per second")).expect("a result");
        let before = line.split(" requests per second").next().expect("a number");
        before.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    }

    fn cli(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output();
        String::from_utf8_lossy(&output.expect("redis-cli").stdout).into_owned()
    }

    fn cli_quiet(&self, line: &str) {
        let mut connection = self.connect();
        connection.send(&request(&line.split(' ').collect::<Vec<_>>()));
        connection.read_line();
    }

    fn info_number(&self, line: &str, field: &str) -> u64 {
        let info = self.cli(&["INFO", "stores"]);
        let line = info.lines().find(|found| found.starts_with(line)).unwrap_or_default();
        let number = line.split([',', ':']).find_map(|part| part.strip_prefix(field));
        number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }

    /// Memory of its own: pages of LMDB's file that the kernel keeps mapped are not counted.
    fn resident_kb(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.process.borrow().id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    fn connect(&self) -> Connection {
        Connection::new(self.port)
    }

    fn load(&self, records: impl Iterator<Item = (String, String)>) {
        load_measured(self.port, records);
    }
}

/// Sets the records in pipelines of 64; gives the longest time that a pipeline took.
fn load_measured(port: u16, records: impl Iterator<Item = (String, String)>) -> Duration {
    let mut connection = Connection::new(port);
    let (mut batch, mut count, mut longest) = (Vec::new(), 0, Duration::ZERO);
    let mut send = |batch: &mut Vec<u8>, count: &mut usize| {
        let sent = Instant::now();
        connection.send(batch);
        connection.read_replies(*count);
        batch.clear();
        *count = 0;
        longest = longest.max(sent.elapsed());
    };
    for (key, value) in records {
        batch.extend_from_slice(&request(&["SET", &key, &value]));
        count += 1;
        if count == 64 {
            send(&mut batch, &mut count);
        }
    }
    send(&mut batch, &mut count);
    longest
}

struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    fn new(port: u16) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        Connection { reader: BufReader::new(stream) }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("a request");
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a reply");
        line
    }

    /// Simple and bulk replies.
    fn read_replies(&mut self, count: usize) {
        for _ in 0..count {
            let line = self.read_line();
            assert!(!line.starts_with('-'), "{line}");
            if line.starts_with('$') && !line.starts_with("$-1") {
                self.read_line();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        let _ = process.kill();
        let _ = process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
