//! The journal as a whole, on disks that fail, fill up and lose power.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod concurrency;
mod damage;
mod faults;
mod model;
mod service;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::{Claim, Fault, Fsync, Journal, JournalError, Options, Recovery, Seq};
use crate::engine::journal::disk::sim::{SimDisk, SplitMix};

const DIR: &str = "/journal";
const PATIENCE: Duration = Duration::from_secs(20);

type Image = BTreeMap<PathBuf, Vec<u8>>;
type Entries = Vec<(Seq, Vec<u8>)>;

/// Small segments, so that a test soon has several.
fn options(disk: &SimDisk) -> Options {
    Options {
        segment_bytes: 8192,
        kept_bytes: 0,
        // faults are counted in operations, so none comes by time
        note_interval: Duration::from_secs(3600),
        disk: Arc::new(disk.clone()),
        ..Options::default()
    }
}

fn open_with(options: Options, after: Seq) -> Result<(Arc<Journal>, Recovery, Entries), JournalError> {
    let mut entries = Vec::new();
    let mut replay = |seq, entry: &[u8]| {
        entries.push((seq, entry.to_vec()));
        Ok::<_, JournalError>(())
    };
    let (journal, recovery) = Journal::open(Path::new(DIR), options, after, &mut replay)?;
    Ok((journal, recovery, entries))
}

fn open(disk: &SimDisk, after: Seq) -> Result<(Arc<Journal>, Recovery, Entries), JournalError> {
    open_with(options(disk), after)
}

/// A journal on a new disk.
fn new_journal(fsync: Fsync) -> (SimDisk, Arc<Journal>) {
    let disk = SimDisk::default();
    let (journal, ..) = open_with(Options { fsync, ..options(&disk) }, 0).unwrap();
    (disk, journal)
}

/// What a reader of the disk would replay, or why it would not open.
fn replayable(disk: &SimDisk, after: Seq) -> Result<Entries, JournalError> {
    let mut entries = Vec::new();
    let mut replay = |seq, entry: &[u8]| {
        entries.push((seq, entry.to_vec()));
        Ok::<_, JournalError>(())
    };
    let survey = super::recovery::Survey::read(disk, Path::new(DIR), after, None, &mut replay)?;
    survey.lost.map_or(Ok(entries), Err)
}

/// The entry that belongs to a number, in one of many lives of a log: any mix-up shows.
fn entry(life: u64, seq: Seq, bytes: usize) -> Vec<u8> {
    let mut random = SplitMix(life << 32 | seq);
    std::iter::repeat_with(|| random.next() as u8).take(bytes).collect()
}

/// Takes an entry, waiting for room as the engine would.
fn append(journal: &Journal, life: u64, bytes: usize) -> Result<Seq, Fault> {
    loop {
        match journal.append(Claim::Ordinary, |seq, out| out.extend(entry(life, seq, bytes))) {
            Err(Fault::NoRoomYet) => journal.wait_room(bytes, Claim::Ordinary)?,
            outcome => return outcome,
        }
    }
}

/// Waits in all ways that there are, in turns: alone, blocking, and as one of a round that is synced together.
fn acknowledge(journal: &Journal, seq: Seq) -> Result<(), Fault> {
    match seq % 3 {
        0 => return acknowledge_alone(journal, seq),
        1 => return journal.acknowledge(seq),
        _ => {}
    }
    block_on(poll_fn(|cx| {
        let outcome = journal.poll_gathered(seq, cx);
        if outcome.is_pending() {
            journal.sync_gathered();
        }
        outcome
    }))
}

fn acknowledge_alone(journal: &Journal, seq: Seq) -> Result<(), Fault> {
    block_on(poll_fn(|cx| journal.poll_acknowledged(seq, cx)))
}

fn append_and_wait(journal: &Journal, life: u64, bytes: usize) -> Result<Seq, Fault> {
    let seq = append(journal, life, bytes)?;
    acknowledge(journal, seq).map(|()| seq)
}

/// The smallest executor. A wake-up that is lost fails the test instead of hanging it.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let start = crate::engine::clock::monotonic();
        thread::park_timeout(PATIENCE);
        assert!(start.elapsed() < PATIENCE, "a wake-up was lost");
    }
}

/// Waits for something that another thread brings about.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = crate::engine::clock::monotonic();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
