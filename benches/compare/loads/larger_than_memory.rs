//! More data than memory. Needs root, for a control group.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

use super::{Group, Load, Subject, describe, key};
use crate::client::{Crew, Span, push_request, run};
use crate::machine::random_reads_per_s;
use crate::results::Figures;
use crate::server::{Cage, Program, Server, Setup};

const RECORDS: usize = 2_000_000;
const MEMORY_BYTES: u64 = 400 << 20;
/// Keys that are read so often that they stay in memory.
const HOT_KEYS: usize = 1_000;
const SPAN: Span = Span::Time { warm_up: Duration::from_secs(2), measured: Duration::from_secs(5) };

pub fn loads() -> Vec<Load> {
    let title = "2,000,000 records of 560 B, 400 MB of memory";
    vec![
        Load::new(Group::LargerThanMemory, "larger-than-memory", title, measure)
            .of(Subject::LarderServers)
            .once(),
    ]
}

fn measure(program: &Program, folder: &Path) -> Result<Figures, String> {
    // before the records are written, because it can fail
    let cage = Cage::new(MEMORY_BYTES)?;
    let mut setup = Setup { of_larder: &["--compression", "off"], ..Setup::with_fsync("everysec") };
    let server = Server::start(program, &setup, folder)?;
    let value = format!("\"{}\"", "a value of no meaning ".repeat(25).split_at(542).0).into_bytes();
    super::write_in_order(&server, RECORDS, |at| (key(at).to_vec(), value.clone()))?;
    server.settle()?;
    let folder = server.shut_down()?;
    let data = folder.path().join("lmdb/data.mdb");
    forget(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    let mut figures = Figures::from([
        ("disk_1_thread_per_s".into(), random_reads_per_s(&data, 1)?),
        ("disk_16_threads_per_s".into(), random_reads_per_s(&data, 16)?),
    ]);

    setup.memory = Some(cage);
    let server = Server::start_in(program, &setup, folder)?;
    let get_of = |keys: usize| {
        move |random: &mut Rng, bytes: &mut Vec<u8>| {
            push_request(bytes, &[b"GET", &key(random.usize(..keys))]);
            true
        }
    };
    let (get, get_hot) = (get_of(RECORDS), get_of(HOT_KEYS));
    let set = |random: &mut Rng, bytes: &mut Vec<u8>| {
        push_request(bytes, &[b"SET", &key(random.usize(..RECORDS)), &value]);
        true
    };
    let readers = || Crew { connections: 50, threads: 1, pipeline: 1, rate: None, request: &get };
    let read_before = server.read_bytes();
    let alone = run(&server, &[readers()], SPAN)?;
    // the warm-up reads, too, at the same rate
    let warm_up_part = alone.crews[0].requests as f64 * 2.0 / 5.0;
    let read_bytes = (server.read_bytes() - read_before) / (alone.crews[0].requests as f64 + warm_up_part);
    describe(&mut figures, "get_", &alone.crews[0], alone.seconds);
    figures.insert("get_read_bytes".into(), read_bytes);

    let hot = Crew { connections: 5, threads: 1, pipeline: 1, rate: None, request: &get_hot };
    let beside_hot = run(&server, &[readers(), hot], SPAN)?;
    describe(&mut figures, "beside_hot_get_", &beside_hot.crews[0], beside_hot.seconds);
    describe(&mut figures, "hot_get_", &beside_hot.crews[1], beside_hot.seconds);

    // more than the disk can take, and less
    for (prefix, get_prefix, rate) in
        [("set_", "beside_set_get_", 50_000.0), ("calm_set_", "beside_calm_set_get_", 5_000.0)]
    {
        let writers = Crew { connections: 16, threads: 1, pipeline: 16, rate: Some(rate), request: &set };
        let beside_writes = run(&server, &[readers(), writers], SPAN)?;
        describe(&mut figures, get_prefix, &beside_writes.crews[0], beside_writes.seconds);
        describe(&mut figures, prefix, &beside_writes.crews[1], beside_writes.seconds);
        server.settle()?;
    }
    Ok(figures)
}

/// Has the system keep nothing of a file in memory.
fn forget(path: &Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
}
