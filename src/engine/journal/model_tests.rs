//! The journal under a checker of interleavings: nobody is told that an entry is durable before it is, everybody is told
//! something, and no two threads wait for each other.

use std::future::poll_fn;

use shuttle::future::block_on;

use super::*;
use crate::model::{ModelDisk, check};
use crate::sync::thread;

fn open(disk: &ModelDisk, fsync: Fsync) -> Arc<Journal> {
    let options = Options {
        fsync,
        segment_bytes: SEGMENT_BYTES_MIN,
        spares_min: 1,
        spares_max: 2,
        kept_bytes: 0,
        disk: Arc::new(disk.clone()),
        ..Options::default()
    };
    Journal::open::<JournalError>(Path::new("/journal"), options, 0, &mut |_, _| Ok(())).unwrap().0
}

/// Takes an entry that no other looks like.
fn append(journal: &Journal, name: &str) -> Seq {
    journal.append(Claim::Ordinary, |_, bytes| bytes.extend_from_slice(entry(name).as_bytes())).unwrap()
}

fn entry(name: &str) -> String {
    format!("<the entry of {name}>")
}

fn spawn(journal: &Arc<Journal>, act: impl FnOnce(&Journal) + Send + 'static) -> thread::JoinHandle<()> {
    let journal = journal.clone();
    thread::spawn(move || act(&journal))
}

/// The ways to wait: on a thread that may block, as a task by itself, and until it is on disk whatever the policy.
const WAYS: [fn(&Journal, Seq) -> Result<(), Fault>; 3] = [
    |journal, seq| journal.acknowledge(seq),
    |journal, seq| block_on(poll_fn(|cx| journal.poll_acknowledged(seq, cx))),
    |journal, seq| journal.wait_durable(seq),
];

#[test]
fn who_waits_is_told_once_its_entry_is_durable() {
    for fsync in [Fsync::Always, Fsync::No] {
        check(600, move || {
            let disk = ModelDisk::default();
            let journal = open(&disk, fsync);
            let waiting = ["a", "b", "c"].into_iter().zip(WAYS).map(|(name, wait)| {
                let disk = disk.clone();
                spawn(&journal, move |journal| {
                    wait(journal, append(journal, name)).unwrap();
                    assert!(disk.is_written(entry(name).as_bytes()), "{name}");
                    let must_last = fsync == Fsync::Always || name == "c";
                    assert!(!must_last || disk.is_durable(entry(name).as_bytes()), "{name}");
                })
            });
            waiting.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
            journal.close().unwrap();
            assert!(["a", "b", "c"].iter().all(|name| disk.is_durable(entry(name).as_bytes())));
        });
    }
}

#[test]
fn who_gathers_is_told_by_whoever_syncs() {
    check(1_000, || {
        let disk = ModelDisk::default();
        let journal = open(&disk, Fsync::Always);
        let threads = ["a", "b"].map(|name| {
            let disk = disk.clone();
            spawn(&journal, move |journal| {
                let seq = append(journal, name);
                let mut has_synced = false;
                block_on(poll_fn(|cx| {
                    let outcome = journal.poll_gathered(seq, cx);
                    // once, as the end of the round does
                    if !std::mem::replace(&mut has_synced, true) {
                        journal.sync_gathered();
                    }
                    outcome
                }))
                .unwrap();
                assert!(disk.is_durable(entry(name).as_bytes()), "{name}");
            })
        });
        // which syncs, too
        let other = spawn(&journal, |journal| journal.wait_durable(append(journal, "c")).unwrap());
        threads.into_iter().chain([other]).for_each(|thread| thread.join().unwrap());
        journal.close().unwrap();
    });
}

#[test]
fn a_failed_sync_is_told_to_everybody_and_a_restart_goes_on() {
    check(1_000, || {
        let disk = ModelDisk::default();
        let journal = open(&disk, Fsync::Always);
        disk.fail_sync_after(1);
        let waiting = ["a", "b", "c"].into_iter().zip(WAYS).map(|(name, wait)| {
            let disk = disk.clone();
            spawn(&journal, move |journal| {
                let bytes = entry(name);
                let taken =
                    journal.append(Claim::Ordinary, |_, into| into.extend_from_slice(bytes.as_bytes()));
                if taken.and_then(|seq| wait(journal, seq)).is_ok() {
                    assert!(disk.is_durable(bytes.as_bytes()), "{name}");
                }
            })
        });
        waiting.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
        disk.mend();
        // as a checkpoint does that has made everything durable elsewhere
        journal.restart(journal.last()).unwrap();
        journal.wait_durable(append(&journal, "d")).unwrap();
        assert!(disk.is_durable(entry("d").as_bytes()));
        journal.close().unwrap();
    });
}

#[test]
fn who_waits_while_it_stops_or_the_policy_changes_is_told_something() {
    check(1_000, || {
        let disk = ModelDisk::default();
        let journal = open(&disk, Fsync::Always);
        let waiting = ["a", "b"].into_iter().zip(WAYS).map(|(name, wait)| {
            spawn(&journal, move |journal| {
                let taken =
                    journal.append(Claim::Ordinary, |_, into| into.extend_from_slice(name.as_bytes()));
                let _ = taken.and_then(|seq| wait(journal, seq));
            })
        });
        let waiting: Vec<_> = waiting.collect();
        let policy = spawn(&journal, |journal| journal.set_fsync(Fsync::No));
        journal.close().unwrap();
        waiting.into_iter().chain([policy]).for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn who_waits_for_room_gets_it_when_a_segment_is_made() {
    const LARGE: usize = 2_500;
    check(600, || {
        let disk = ModelDisk::default();
        let journal = open(&disk, Fsync::Always);
        let threads = [false, true].map(|blocks| {
            spawn(&journal, move |journal| {
                for _ in 0..2 {
                    let seq = loop {
                        let room = match blocks {
                            true => journal.wait_room(LARGE, Claim::Ordinary),
                            false => block_on(poll_fn(|cx| journal.poll_room(LARGE, Claim::Ordinary, cx))),
                        };
                        room.unwrap();
                        match journal.append(Claim::Ordinary, |_, into| into.resize(into.len() + LARGE, 7)) {
                            Ok(seq) => break seq,
                            // another came first
                            Err(Fault::NoRoomYet) => continue,
                            Err(fault) => panic!("{fault}"),
                        }
                    };
                    journal.acknowledge(seq).unwrap();
                    journal.release(seq);
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        journal.close().unwrap();
    });
}
