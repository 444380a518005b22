//! SET, GET and INCR: alone, beside each other, on a slow disk, and with several network threads.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;

use super::{Group, Load, describe, key};
use crate::client::{Crew, Observed, Span, push_request, run};
use crate::results::Figures;
use crate::server::{Program, Server, Setup, SlowSyncs};

/// So many keys are read and changed, in random order.
const KEYS: usize = 100_000;
/// So many if values have 1 KB, so that they fit into the caches.
const KEYS_OF_1_KB: usize = 10_000;
const CLIENTS: usize = 50;
/// 136 bytes.
const VALUE: &[u8] = br#"{"id":123456,"name":"a customer","email":"somebody@example.com","tags":["one","two"],"active":true,"balance":1234.56,"note":"hello you"}"#;

#[derive(Clone, Copy)]
enum Command {
    Set,
    Get,
    Incr,
    /// One GET for each SET.
    Both,
}

pub fn loads() -> Vec<Load> {
    let mut loads = Vec::new();
    for fsync in ["always", "everysec"] {
        for (name, command) in [("set", Command::Set), ("get", Command::Get), ("incr", Command::Incr)] {
            for pipeline in [1, 16] {
                let title = format!("{}, pipeline {pipeline}, `{fsync}`", name.to_uppercase());
                let measure = move |program: &Program, folder: &Path| {
                    alone(program, &Setup::with_fsync(fsync), folder, command, pipeline, (KEYS, VALUE))
                };
                loads.push(Load::new(Group::Requests, format!("{name}-p{pipeline}-{fsync}"), title, measure));
            }
        }
    }
    let one_kilobyte = |of_larder| {
        move |program: &Program, folder: &Path| {
            let setup = Setup { of_larder, ..Setup::with_fsync("everysec") };
            alone(
                program,
                &setup,
                folder,
                Command::Get,
                16,
                (KEYS_OF_1_KB, super::values::kilobyte(7).as_bytes()),
            )
        }
    };
    loads.push(Load::new(
        Group::Requests,
        "get-1k",
        "GET of 1 KB, pipeline 16, `everysec`",
        one_kilobyte(&[]),
    ));
    let uncached = one_kilobyte(&["--cache-memory", "64kb"]);
    let title = "GET of 1 KB, pipeline 16, `everysec`, a cache of 64 KB in Larder";
    loads.push(Load::new(Group::Requests, "get-1k-uncached", title, uncached));

    loads.push(Load::new(Group::Mixed, "mixed", "GET beside SET, `always`", |program, folder| {
        mixed(program, folder, None)
    }));
    for delay_ms in [2, 10] {
        let title = format!("GET beside SET, `always`, syncs take {delay_ms} ms longer");
        let measure = move |program: &Program, folder: &Path| {
            mixed(program, folder, Some(Duration::from_millis(delay_ms)))
        };
        loads.push(Load::new(Group::Mixed, format!("mixed-slow-{delay_ms}ms"), title, measure));
    }

    for (name, title, command) in
        [("get", "GET", Command::Get), ("both", "GET and SET in turns", Command::Both)]
    {
        for threads in [1, 2, 4] {
            let measure = move |program: &Program, folder: &Path| {
                let setup = Setup { io_threads: Some(threads), ..Setup::with_fsync("everysec") };
                alone(program, &setup, folder, command, 16, (KEYS, VALUE))
            };
            let title = format!("{title}, pipeline 16, `io-threads` {threads}");
            loads.push(Load::new(Group::Threads, format!("threads-{name}-{threads}"), title, measure));
        }
    }
    loads
}

/// One command by 50 clients, on records that are there.
fn alone(
    program: &Program,
    setup: &Setup,
    folder: &Path,
    command: Command,
    pipeline: usize,
    (keys, value): (usize, &[u8]),
) -> Result<Figures, String> {
    let server = Server::start(program, setup, folder)?;
    fill(&server, keys, if matches!(command, Command::Incr) { b"100000" } else { value })?;
    let request = |random: &mut Rng, bytes: &mut Vec<u8>| {
        let key = key(random.usize(..keys));
        match command {
            Command::Set => push_request(bytes, &[b"SET", &key, value]),
            Command::Get => push_request(bytes, &[b"GET", &key]),
            Command::Incr => push_request(bytes, &[b"INCR", &key]),
            Command::Both if random.bool() => push_request(bytes, &[b"GET", &key]),
            Command::Both => push_request(bytes, &[b"SET", &key, value]),
        }
        true
    };
    // clients must not be what limits a server with several threads
    let threads = setup.io_threads.map_or(1, |_| 2);
    let crew = Crew { connections: CLIENTS, threads, pipeline, rate: None, request: &request };
    let Observed { seconds, server_cpu_s, own_share, crews } = run(&server, &[crew], Span::USUAL)?;
    let mut figures = Figures::new();
    describe(&mut figures, "", &crews[0], seconds);
    figures.insert("cpu_us".into(), server_cpu_s * 1e6 / crews[0].requests as f64);
    figures.insert("clients_share".into(), own_share);
    Ok(figures)
}

/// 50 clients that read beside 8 that write.
fn mixed(program: &Program, folder: &Path, delay: Option<Duration>) -> Result<Figures, String> {
    let slow_syncs = delay.map(SlowSyncs::of).transpose()?;
    let server = Server::start(program, &Setup { slow_syncs, ..Setup::with_fsync("always") }, folder)?;
    fill(&server, KEYS, VALUE)?;
    let get = |random: &mut Rng, bytes: &mut Vec<u8>| {
        push_request(bytes, &[b"GET", &key(random.usize(..KEYS))]);
        true
    };
    let set = |random: &mut Rng, bytes: &mut Vec<u8>| {
        push_request(bytes, &[b"SET", &key(random.usize(..KEYS)), VALUE]);
        true
    };
    let crews = [
        Crew { connections: CLIENTS, threads: 1, pipeline: 1, rate: None, request: &get },
        Crew { connections: 8, threads: 1, pipeline: 1, rate: None, request: &set },
    ];
    let Observed { seconds, crews, .. } = run(&server, &crews, Span::USUAL)?;
    let mut figures = Figures::new();
    describe(&mut figures, "get_", &crews[0], seconds);
    describe(&mut figures, "set_", &crews[1], seconds);
    Ok(figures)
}

/// Writes all keys, has them kept as they are kept for long, and reads them once, so that caches are full.
fn fill(server: &Server, keys: usize, value: &[u8]) -> Result<(), String> {
    super::write_in_order(server, keys, |at| (key(at).to_vec(), value.to_vec()))?;
    server.settle()?;
    let next = AtomicUsize::new(0);
    let get = |_: &mut Rng, bytes: &mut Vec<u8>| {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at < keys {
            push_request(bytes, &[b"GET", &key(at)]);
        }
        at < keys
    };
    let crew = Crew { connections: 8, threads: 1, pipeline: 64, rate: None, request: &get };
    run(server, &[crew], Span::ToTheEnd).map(drop)
}
