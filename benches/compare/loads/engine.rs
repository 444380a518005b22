//! The engine without a server: threads that read and write records in memory.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::engine::{Engine, Expiry, Fsync, Options, clock};
use larder::store::{Key, Value};

use super::{Group, Load, Subject, key};
use crate::results::Figures;

const KEYS: usize = 100_000;
const SPAN: Duration = Duration::from_millis(1_000);
const VALUE: &[u8] =
    br#"{"id":123456,"name":"a customer","email":"somebody@example.com","tags":["one","two"]}"#;

pub fn loads() -> Vec<Load> {
    let mut loads = Vec::new();
    for (name, title, reads_of_10) in
        [("read", "reads", 10), ("write", "writes", 0), ("mixed", "9 reads for each write", 9)]
    {
        for threads in [1, 2, 4, 8] {
            let title =
                format!("engine, {title}, {threads} {}", if threads == 1 { "thread" } else { "threads" });
            let measure = move |_: &_, folder: &Path| measure(folder, threads, reads_of_10);
            let load = Load::new(Group::Engine, format!("engine-{name}-{threads}"), title, measure);
            loads.push(load.of(Subject::Engine));
        }
    }
    loads
}

fn measure(folder: &Path, threads: usize, reads_of_10: usize) -> Result<Figures, String> {
    let failed = |error: larder::engine::Error| error.to_string();
    let folder = tempfile::tempdir_in(folder).map_err(|error| error.to_string())?;
    let options = Options { fsync: Fsync::EverySec, ..Options::new(folder.path()) };
    let engine = Engine::open(options).map_err(|error| error.to_string())?;
    let write = |at: usize| {
        let keys = [Key::new(0, Bytes::copy_from_slice(&key(at)))];
        let value = Value::unchecked(Bytes::copy_from_slice(VALUE));
        engine.writer().write(clock::now_ms(), &keys, |txn| txn.put(&keys[0], value, Expiry::Never)).map(drop)
    };
    let read = |at: usize| {
        let keys = [Key::new(0, Bytes::copy_from_slice(&key(at)))];
        engine.reader().read(clock::now_ms(), &keys, |txn| txn.get(&keys[0])).map(drop)
    };
    (0..KEYS).try_for_each(write).map_err(failed)?;
    let stop = AtomicBool::new(false);
    let work = |seed| {
        let (mut random, mut count) = (fastrand::Rng::with_seed(seed), 0_u64);
        while !stop.load(Ordering::Relaxed) {
            let at = random.usize(..KEYS);
            if random.usize(..10) < reads_of_10 {
                read(at)?
            } else {
                write(at)?
            }
            count += 1;
        }
        Ok(count)
    };
    let began = Instant::now();
    let count = std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..threads as u64).map(|seed| scope.spawn(move || work(seed))).collect();
        std::thread::sleep(SPAN);
        stop.store(true, Ordering::Relaxed);
        let counts = workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| "a thread panicked".to_owned())?.map_err(failed));
        counts.sum::<Result<u64, String>>()
    })?;
    let seconds = began.elapsed().as_secs_f64();
    engine.close().map_err(|error| error.to_string())?;
    Ok(Figures::from([("per_s".into(), count as f64 / seconds)]))
}
