//! What a server costs that is asked nothing.

use std::io::{Read, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::{Group, Load, key};
use crate::client::{Crew, Span, push_request, run};
use crate::results::Figures;
use crate::server::{Program, Server, Setup};

/// How long the processor time is measured.
const SPAN: Duration = Duration::from_secs(10);
/// How long servers may tidy up before that.
const TIDYING: Duration = Duration::from_secs(10);
const RECORDS: usize = 200_000;
const CONNECTIONS: usize = 10_000;

pub fn loads() -> Vec<Load> {
    vec![
        Load::new(Group::Rest, "rest-idle", "at rest, after the start", |program, folder| {
            let server = Server::start(program, &Setup::with_fsync("always"), folder)?;
            sleep(TIDYING / 5);
            Ok(rest(&server))
        })
        .once(),
        Load::new(Group::Rest, "rest-loaded", "at rest, with 200,000 records that expire in an hour", loaded)
            .once(),
        Load::new(Group::Rest, "rest-connections", "at rest, with 10,000 connections", connected).once(),
    ]
}

fn rest(server: &Server) -> Figures {
    let before = server.processor_time();
    sleep(SPAN);
    let share = server.processor_time().seconds_since(&before) / SPAN.as_secs_f64();
    Figures::from([("core_percent".into(), share * 100.0), ("memory_bytes".into(), server.memory_bytes())])
}

fn loaded(program: &Program, folder: &Path) -> Result<Figures, String> {
    let server = Server::start(program, &Setup::with_fsync("everysec"), folder)?;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let set = |_: &mut fastrand::Rng, bytes: &mut Vec<u8>| {
        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if at < RECORDS {
            push_request(bytes, &[b"SET", &key(at), br#"{"some":"value"}"#, b"EX", b"3600"]);
        }
        at < RECORDS
    };
    run(
        &server,
        &[Crew { connections: 8, threads: 1, pipeline: 64, rate: None, request: &set }],
        Span::ToTheEnd,
    )?;
    server.settle()?;
    sleep(TIDYING);
    Ok(rest(&server))
}

/// Connections that have each sent a request.
fn connected(program: &Program, folder: &Path) -> Result<Figures, String> {
    let server = Server::start(program, &Setup::with_fsync("everysec"), folder)?;
    let before = server.memory_bytes();
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut stream = server.connect()?;
        let mut reply = [0; 7];
        let answered = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut reply));
        answered.map_err(|error| format!("connection {}: {error}", connections.len() + 1))?;
        connections.push(stream);
    }
    let mut figures = rest(&server);
    figures.insert("bytes_per_connection".into(), (server.memory_bytes() - before) / CONNECTIONS as f64);
    Ok(figures)
}
