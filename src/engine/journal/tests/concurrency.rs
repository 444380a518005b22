//! Many threads at once.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const THREADS: u64 = 8;
const APPENDS: u64 = 300;

/// Every thread appends and waits, with what else happens going on beside it; then everything must be there.
fn run(fsync: Fsync, beside: impl Fn(&Journal, &SimDisk) + Sync) -> Arc<Journal> {
    let (disk, journal) = new_journal(fsync);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    for turn in 0..APPENDS {
                        let seq = append(&journal, 1, 40).unwrap();
                        if turn % 3 != 0 {
                            acknowledge(&journal, seq).unwrap();
                            assert!(journal.written() >= seq);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                beside(&journal, &disk);
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    journal.close().unwrap();
    let entries = replayable(&disk.after_power_cut(0), 0).unwrap();
    assert_eq!(entries.len() as u64, THREADS * APPENDS);
    assert!(entries.iter().all(|(seq, bytes)| *bytes == entry(1, *seq, 40)));
    assert!(journal.core.waiters.lock().is_empty());
    journal
}

#[test]
fn everyone_is_acknowledged_under_every_policy() {
    for fsync in [Fsync::Always, Fsync::EverySec, Fsync::No] {
        run(fsync, |_, _| thread::sleep(Duration::from_millis(1)));
    }
}

#[test]
fn everyone_is_acknowledged_while_the_policy_changes() {
    run(Fsync::No, |journal, _| {
        for fsync in [Fsync::Always, Fsync::EverySec, Fsync::No] {
            journal.set_fsync(fsync);
            thread::sleep(Duration::from_micros(300));
        }
    });
}

#[test]
fn everyone_is_acknowledged_while_others_force_syncs() {
    run(Fsync::EverySec, |journal, _| journal.wait_durable(journal.last()).unwrap());
}

#[test]
fn the_power_may_go_at_any_moment() {
    for fsync in [Fsync::Always, Fsync::EverySec] {
        run(fsync, |journal, disk| {
            let promised = journal.durable();
            let crashed = disk.after_power_cut(promised);
            let entries = replayable(&crashed, 0).unwrap();
            assert!(entries.len() as Seq >= promised);
            assert!(
                entries
                    .iter()
                    .zip(1..)
                    .all(|((seq, bytes), expected)| { *seq == expected && *bytes == entry(1, expected, 40) })
            );
        });
    }
}

/// A sync thread or a connection holds the writer while another one comes to wait.
#[test]
fn whoever_comes_while_another_writes_is_served_by_them() {
    for by_sync_thread in [false, true] {
        let (disk, journal) = new_journal(Fsync::No);
        eventually("the stock is full", || journal.status().spares == 2);
        thread::scope(|scope| {
            let held = disk.hold_writes();
            let first = append(&journal, 1, 10).unwrap();
            let journal = &journal;
            scope.spawn(move || match by_sync_thread {
                true => journal.wait_durable(first),
                false => acknowledge(journal, first),
            });
            eventually("someone writes", || journal.pending_bytes() == 0);
            let second = append(journal, 1, 10).unwrap();
            scope.spawn(move || acknowledge(journal, second).unwrap());
            eventually("the second waits", || !journal.core.waiters.lock().is_empty());
            thread::sleep(Duration::from_millis(5)); // and has looked again
            drop(held);
        });
        assert_eq!(journal.written(), 2);
    }
}

#[test]
fn a_milder_policy_lets_go_who_waits_for_a_sync() {
    let (disk, journal) = new_journal(Fsync::Always);
    eventually("the stock is full", || journal.status().spares == 2);
    let held = disk.hold_syncs();
    let seq = append(&journal, 1, 10).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| acknowledge_alone(&journal, seq).unwrap());
        eventually("it waits", || journal.written() == seq);
        journal.set_fsync(Fsync::No);
    });
    assert_eq!(journal.durable(), 0);
    drop(held);
    eventually("the sync", || journal.durable() == seq);
}

#[test]
fn a_failure_reaches_everyone_who_waits() {
    for fsync in [Fsync::Always, Fsync::EverySec] {
        // With room enough that only frames are written.
        let disk = SimDisk::default();
        let (journal, ..) =
            open_with(Options { fsync, segment_bytes: 1 << 20, ..options(&disk) }, 0).unwrap();
        eventually("the stock is full", || journal.status().spares == 2);
        disk.fail_after(crate::engine::journal::disk::sim::Operation::Write, 60);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let failed = (0..10_000).find_map(|_| append_and_wait(&journal, 1, 40).err());
                    assert!(matches!(failed, Some(Fault::Failed(_))), "{failed:?}");
                });
            }
        });
    }
}
