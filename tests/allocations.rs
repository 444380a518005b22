//! How often the server allocates memory for a request. Allocations take a noticeable part of the time of a short
//! command, so what a change adds has to be on purpose.
//!
//! The server runs in this process, whose allocator counts. Clients do not allocate while they are counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use larder::command::{COMMANDS, Server};
use larder::config::Config;
use larder::engine::{Engine, Fsync, Options, clock};
use larder::net;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// Requests of each kind. Threads in the background allocate, too, so only averages mean something.
const REQUESTS: usize = 20_000;

#[test]
fn a_short_request_allocates_little() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        fsync: Fsync::No,
        checkpoint_interval: Duration::from_secs(3600),
        ..Options::new(dir.path())
    };
    let engine = Engine::open(options).unwrap();
    let server = Arc::new(Server::new(&COMMANDS, engine.clone(), Config::default(), clock::steady_ms()));
    let serving = {
        let server = server.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let places = net::Listen {
                bind: Config::default().settings().bind.clone(),
                port: 0,
                tls_port: 0,
                unixsocket: None,
                unixsocket_mode: None,
                backlog: 16,
            };
            runtime.block_on(net::serve(server, &places, None, |_| ())).unwrap();
        })
    };
    while server.stats.port() == 0 {
        std::thread::yield_now();
    }
    let mut client = TcpStream::connect(("127.0.0.1", server.stats.port())).unwrap();
    let value = format!("\"{}\"", "v".repeat(134));
    let set = command(&["SET", "key:1", &value]);
    let expire = command(&["SET", "key:2", &value, "EX", "1000"]);
    let (get, miss) = (command(&["GET", "key:1"]), command(&["GET", "key:3"]));
    let incr = command(&["INCR", "counter"]);
    let got = format!("$136\r\n{value}\r\n");
    let mut failures = Vec::new();
    // A write allocates its value and its plan; a batch of the journal allocates two lists, which the writes of all
    // connections share. The look-up of a key that is in memory nowhere allocates what it returns.
    for (name, request, reply_bytes, pipeline, allocations_max) in [
        ("SET", &set, 5, 1, 4.0),
        ("SET", &set, 5, 16, 2.0),
        ("SET EX", &expire, 5, 16, 2.0),
        ("GET", &get, got.len(), 1, 0.0),
        ("GET", &get, got.len(), 16, 0.0),
        ("GET of nothing", &miss, 5, 16, 1.0),
        ("INCR", &incr, 8, 1, 4.0),
        ("INCR", &incr, 8, 16, 2.0),
    ] {
        if name == "INCR" {
            // counts with as many digits all the time
            client.write_all(&command(&["SET", "counter", "10000"])).unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
        }
        let (sent, mut received) = (request.repeat(pipeline), vec![0; reply_bytes * pipeline]);
        let mut ask = |times: usize| {
            for _ in 0..times {
                client.write_all(&sent).unwrap();
                client.read_exact(&mut received).unwrap();
            }
        };
        ask(100);
        let before = allocations();
        ask(REQUESTS / pipeline);
        let each = (allocations() - before) as f64 / REQUESTS as f64;
        println!("{name}, pipeline {pipeline}: {each:.2} allocations per request");
        if each > allocations_max + 0.1 {
            failures.push(format!("{name}, pipeline {pipeline}: {each:.2} instead of {allocations_max}"));
        }
    }
    server.shutdown.raise();
    serving.join().unwrap();
    engine.close().unwrap();
    assert_eq!(failures, [""; 0]);
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}
