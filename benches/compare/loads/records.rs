//! Records that are all different, until all of them are in the form in which the server keeps them; starts on them.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fastrand::Rng;

use super::values::{kilobyte, small};
use super::{Group, Load, describe, sets_in_order};
use crate::client::{Crew, Span, push_request, run};
use crate::results::Figures;
use crate::server::{Program, Server, Setup, disk_bytes};

pub fn loads() -> Vec<Load> {
    vec![
        Load::new(Group::Records, "records-166b", "500,000 records of 166 B", |program, folder| {
            measure(program, folder, 500_000, small)
        })
        .once(),
        Load::new(Group::Records, "records-1k", "100,000 records of 1 KB", |program, folder| {
            measure(program, folder, 100_000, kilobyte)
        })
        .once(),
    ]
}

fn measure(
    program: &Program,
    folder: &Path,
    count: usize,
    value: impl Fn(usize) -> String + Sync,
) -> Result<Figures, String> {
    let setup = Setup::with_fsync("everysec");
    let server = Server::start(program, &setup, folder)?;
    let record = |at: usize| (format!("user:{at:07}").into_bytes(), value(at).into_bytes());
    let next = AtomicUsize::new(0);
    let set = sets_in_order(&next, count, record);
    let get = |random: &mut Rng, bytes: &mut Vec<u8>| {
        push_request(bytes, &[b"GET", format!("user:{:07}", random.usize(..count)).as_bytes()]);
        next.load(Ordering::Relaxed) < count
    };
    let crews = [
        Crew { connections: 8, threads: 1, pipeline: 64, rate: None, request: &set },
        Crew { connections: 1, threads: 1, pipeline: 1, rate: Some(1_000.0), request: &get },
    ];
    let (began, cpu_before) = (Instant::now(), server.processor_time());
    let observed = run(&server, &crews, Span::ToTheEnd)?;
    let memory_bytes = server.memory_bytes();
    server.settle()?;
    let (all_s, cpu_s) = (began.elapsed().as_secs_f64(), server.processor_time().seconds_since(&cpu_before));
    let mut figures = Figures::new();
    describe(&mut figures, "get_", &observed.crews[1], observed.seconds);
    describe(&mut figures, "set_", &observed.crews[0], observed.seconds);
    figures.insert("kept_per_s".into(), count as f64 / all_s);
    figures.insert("cpu_us".into(), cpu_s * 1e6 / count as f64);
    figures.insert("memory_bytes".into(), memory_bytes);

    let folder = server.shut_down()?;
    figures.insert("disk_bytes_per_record".into(), disk_bytes(folder.path()) as f64 / count as f64);
    let (server, start_ms) = start(program, &setup, folder)?;
    figures.insert("start_ms".into(), start_ms);
    super::write_in_order(&server, count, record)?;
    let (_server, start_ms) = start(program, &setup, server.kill()?)?;
    figures.insert("start_after_kill_ms".into(), start_ms);
    Ok(figures)
}

/// Starts a server on the data of another, and says how long it takes until it answers.
fn start(program: &Program, setup: &Setup, folder: tempfile::TempDir) -> Result<(Server, f64), String> {
    let began = Instant::now();
    let server = Server::start_in(program, setup, folder)?;
    Ok((server, began.elapsed().as_secs_f64() * 1e3))
}
