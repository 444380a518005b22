//! Full caches: how often they have what is asked for, and what a burst of new records costs.
//!
//! A client asks for keys one after another, and writes those that are not there, as an application with a cache does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use fastrand::Rng;

use super::{Group, Load, describe, key, sets_in_order, values, write_in_order};
use crate::client::{Crew, Span, push_request, run};
use crate::results::Figures;
use crate::server::{Kind, Program, Server, Setup};

/// What the cache holds, what there is, and what is asked for; the second half of that is counted.
const HELD: usize = 10_000;
const KEYS: usize = 100_000;
const ASKED: usize = 300_000;
/// Keys that are asked for together.
const ASKED_AT_ONCE: usize = 50;
/// Records that are there before a burst, and those of the burst.
const BEFORE_BURST: usize = 100_000;
const BURST: usize = 300_000;

type Value = fn(usize) -> String;

pub fn loads() -> Vec<Load> {
    let sizes: [(&str, &str, Value); 2] =
        [("166b", "166 B", values::small), ("1k", "1 KB", values::kilobyte)];
    let traces =
        [("zipf-0.8", 0.8, false), ("zipf-1.0", 1.0, false), ("zipf-1.2", 1.2, false), ("scan", 1.0, true)];
    let mut loads = Vec::new();
    for policy in ["lru", "lfu"] {
        for (size, size_title, value) in sizes {
            for (trace, exponent, has_scan) in traces {
                let scan = if has_scan { ", every third request of a scan" } else { "" };
                let title = format!("{policy}, records of {size_title}, Zipf {exponent:.1}{scan}");
                let name = format!("eviction-{policy}-{size}-{trace}");
                let measure = move |program: &Program, folder: &Path| {
                    hits(program, folder, policy, value, &trace_of(exponent, has_scan))
                };
                loads.push(Load::new(Group::Eviction, name, title, measure).once());
            }
        }
    }
    for (name, title, policy) in [
        ("eviction-burst-free", "300,000 new records of 166 B, without a limit", None),
        ("eviction-burst-lru", "the same into a full cache of 100,000, lru", Some("allkeys-lru")),
        ("eviction-burst-lfu", "the same, lfu", Some("allkeys-lfu")),
    ] {
        let measure = move |program: &Program, folder: &Path| burst(program, folder, policy);
        loads.push(Load::new(Group::Burst, name, title, measure));
    }
    loads
}

/// Numbers that are asked for, with Zipf's distribution. Those of a scan are asked for once each.
fn trace_of(exponent: f64, has_scan: bool) -> Vec<usize> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    let mut random = Rng::with_seed(1);
    let draw = |at: usize| {
        if has_scan && at.is_multiple_of(3) {
            return KEYS + at;
        }
        let drawn = random.f64() * sum;
        let rank = sums.partition_point(|sum_to| *sum_to < drawn);
        // neighbours in rank are not neighbours in the order of keys
        rank * 7_919 % KEYS
    };
    (0..ASKED).map(draw).collect()
}

/// The share of the second half of a trace that was there: in a cache of so many records, and in one of so many bytes.
fn hits(
    program: &Program,
    folder: &Path,
    policy: &str,
    value: Value,
    trace: &[usize],
) -> Result<Figures, String> {
    let plain_bytes = (0..HELD).map(|at| key(at).len() + value(at).len()).sum::<usize>().to_string();
    let (records, bytes) = match program.kind {
        Kind::Larder => {
            let of_records = ask_all(program, folder, policy, value, trace, |server| {
                server.ask(&["CONFIG", "SET", "max-keys", &HELD.to_string()])
            })?;
            let of_bytes = ask_all(program, folder, policy, value, trace, |server| {
                server.ask(&["CONFIG", "SET", "max-bytes", &plain_bytes])
            })?;
            (of_records, of_bytes)
        }
        // the memory that it takes for so many records is more than the bytes of keys and values
        Kind::Redis => {
            let held = ask_all(program, folder, policy, value, trace, |server| {
                write_in_order(server, HELD, |at| (key(at).to_vec(), value(at).into_bytes()))?;
                let memory = server.ask(&["INFO", "memory"])?;
                let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap_or("0");
                server.ask(&["CONFIG", "SET", "maxmemory", used.trim()])
            })?;
            (held, held)
        }
    };
    Ok(Figures::from([
        ("same_records_hit_percent".into(), records.hits * 100.0),
        ("same_records_held".into(), records.held),
        ("same_bytes_hit_percent".into(), bytes.hits * 100.0),
        ("same_bytes_held".into(), bytes.held),
    ]))
}

#[derive(Clone, Copy)]
struct Seen {
    hits: f64,
    held: f64,
}

fn ask_all(
    program: &Program,
    folder: &Path,
    policy: &str,
    value: Value,
    trace: &[usize],
    limit: impl FnOnce(&Server) -> Result<String, String>,
) -> Result<Seen, String> {
    let server = Server::start(program, &Setup::with_fsync("everysec"), folder)?;
    server.ask(&["CONFIG", "SET", "maxmemory-policy", &format!("allkeys-{policy}")])?;
    limit(&server)?;
    let stream = server.connect()?;
    let mut replies = BufReader::new(stream.try_clone().map_err(|error| error.to_string())?);
    let (mut asked, mut hits) = (0, 0);
    for numbers in trace.chunks(ASKED_AT_ONCE) {
        let got = exchange(&stream, &mut replies, numbers, |bytes, number| {
            push_request(bytes, &[b"GET", &key(number)]);
        })?;
        let missing = numbers.iter().zip(&got).filter(|(_, is_there)| !**is_there).map(|(number, _)| *number);
        let missing: Vec<usize> = missing.collect();
        if asked >= trace.len() / 2 {
            hits += got.iter().filter(|is_there| **is_there).count();
        }
        asked += numbers.len();
        exchange(&stream, &mut replies, &missing, |bytes, number| {
            push_request(bytes, &[b"SET", &key(number), value(number).as_bytes()]);
        })?;
    }
    let held = server.ask(&["DBSIZE"])?.trim().parse().unwrap_or(0.0);
    Ok(Seen { hits: hits as f64 / (trace.len() - trace.len() / 2) as f64, held })
}

/// Sends a request for each number. Returns which replies are not null.
fn exchange(
    mut stream: &TcpStream,
    replies: &mut BufReader<TcpStream>,
    numbers: &[usize],
    request: impl Fn(&mut Vec<u8>, usize),
) -> Result<Vec<bool>, String> {
    let mut bytes = Vec::new();
    numbers.iter().for_each(|number| request(&mut bytes, *number));
    stream.write_all(&bytes).map_err(|error| error.to_string())?;
    let (mut line, mut value) = (String::new(), Vec::new());
    let mut told = Vec::with_capacity(numbers.len());
    for _ in numbers {
        line.clear();
        replies.read_line(&mut line).map_err(|error| error.to_string())?;
        if line.starts_with('-') {
            return Err(format!("the server refuses: {}", line.trim()));
        }
        let length = line.strip_prefix('$').and_then(|length| length.trim().parse::<i64>().ok());
        if let Some(length) = length.and_then(|length| usize::try_from(length).ok()) {
            value.resize(length + 2, 0);
            replies.read_exact(&mut value).map_err(|error| error.to_string())?;
        }
        told.push(length != Some(-1));
    }
    Ok(told)
}

fn burst(program: &Program, folder: &Path, policy: Option<&str>) -> Result<Figures, String> {
    let server = Server::start(program, &Setup::with_fsync("everysec"), folder)?;
    let record = |at: usize| (key(at).to_vec(), values::small(at).into_bytes());
    write_in_order(&server, BEFORE_BURST, record)?;
    server.settle()?;
    if let Some(policy) = policy {
        server.ask(&["CONFIG", "SET", "maxmemory-policy", policy])?;
        match server.kind {
            Kind::Larder => server.ask(&["CONFIG", "SET", "max-keys", &BEFORE_BURST.to_string()])?,
            Kind::Redis => {
                let memory = server.ask(&["INFO", "memory"])?;
                let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap_or("0");
                server.ask(&["CONFIG", "SET", "maxmemory", used.trim()])?
            }
        };
    }
    let next = AtomicUsize::new(0);
    let set = sets_in_order(&next, BURST, |at| record(BEFORE_BURST + at));
    let crew = Crew { connections: 8, threads: 1, pipeline: 16, rate: None, request: &set };
    let observed = run(&server, &[crew], Span::ToTheEnd)?;
    let mut figures = Figures::new();
    describe(&mut figures, "", &observed.crews[0], observed.seconds);
    figures.insert("cpu_us".into(), observed.server_cpu_s * 1e6 / BURST as f64);
    Ok(figures)
}
