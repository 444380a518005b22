//! Disks that fail or fill up while the journal runs, or while it opens.

use super::*;
use crate::engine::journal::disk::sim::Operation;

#[test]
fn a_failed_write_or_sync_fails_everyone_until_the_restart() {
    for operation in [Operation::Write, Operation::Sync] {
        let (disk, journal) = new_journal(Fsync::Always);
        eventually("the stock is full", || journal.status().spares == 2);
        append_and_wait(&journal, 1, 10).unwrap();
        disk.fail_after(operation, 0);
        let seq = append(&journal, 1, 10).unwrap();
        let fault = acknowledge(&journal, seq).unwrap_err();
        assert!(fault.to_string().contains("injected fault"), "{fault}");
        assert_eq!(append(&journal, 1, 10), Err(fault.clone()));
        assert_eq!(journal.wait_durable(seq), Err(fault.clone()));
        assert_eq!(block_on(poll_fn(|cx| journal.poll_room(1, Claim::Ordinary, cx))), Err(fault.clone()));
        assert_eq!(journal.status().failure, Some(fault.to_string()));
        assert_eq!(acknowledge(&journal, 1), Ok(()), "what was durable stays so");
        assert!(journal.is_failed());

        assert!(journal.restart(seq - 1).is_err(), "that would lose an entry");
        let damaged = disk.image().into_iter().find(|(_, bytes)| bytes.starts_with(b"LARDERJL")).unwrap().0;
        journal.restart(seq).unwrap();
        assert!(!journal.is_failed() && !disk.image().contains_key(&damaged));
        assert_eq!(acknowledge(&journal, seq), Ok(()));
        assert_eq!(append_and_wait(&journal, 2, 10), Ok(seq + 1));
        let entries = replayable(&disk.after_power_cut(0), seq).unwrap();
        assert_eq!(entries, [(seq + 1, entry(2, seq + 1, 10))]);
    }
}

/// Without anybody who asks for it: nobody waits for a sync under these policies.
#[test]
fn the_restarted_journal_syncs_again_as_its_policy_says() {
    for operation in [Operation::Write, Operation::Sync] {
        for fsync in [Fsync::Always, Fsync::EverySec, Fsync::No] {
            let (disk, journal) = new_journal(fsync);
            eventually("the stock is full", || journal.status().spares == 2);
            disk.fail_after(operation, 0);
            let _ = append_and_wait(&journal, 1, 10);
            journal.wait_durable(1).unwrap_err();
            // long enough for the sync thread to have gone to sleep
            thread::sleep(Duration::from_millis(50));
            journal.restart(1).unwrap();
            assert_eq!(append_and_wait(&journal, 2, 10), Ok(2), "{operation:?} at {fsync:?}");
            match fsync {
                Fsync::Always => assert_eq!(journal.durable(), 2),
                Fsync::EverySec => eventually("the sync of each second", || journal.durable() == 2),
                Fsync::No => journal.wait_durable(2).unwrap(),
            }
            assert_eq!(replayable(&disk.after_power_cut(0), 1).unwrap().len(), 1);
        }
    }
}

#[test]
fn whoever_listens_is_told_of_every_failure() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (disk, journal) = new_journal(Fsync::Always);
    eventually("the stock is full", || journal.status().spares == 2);
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    journal.on_failure(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    for failures in 1..3 {
        disk.fail_after(Operation::Sync, 0);
        append_and_wait(&journal, 1, 10).unwrap_err();
        assert_eq!(told.load(Ordering::SeqCst), failures);
        journal.restart(journal.last()).unwrap();
    }
    disk.fail_after(Operation::Write, 0);
    append_and_wait(&journal, 1, 10).unwrap_err();
    let late = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&late);
    journal.on_failure(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(late.load(Ordering::SeqCst), 1, "what has failed already is told");
}

#[test]
fn a_restart_that_fails_can_be_repeated() {
    let (disk, journal) = new_journal(Fsync::Always);
    eventually("the stock is full", || journal.status().spares == 2);
    disk.fail_after(Operation::Sync, 0);
    append_and_wait(&journal, 1, 10).unwrap_err();
    let after = journal.last() + 10;
    // the first write strikes what was damaged from the manifest's list, which can do without
    disk.fail_after(Operation::Write, 1);
    journal.restart(after).unwrap_err();
    assert!(journal.is_failed());
    journal.restart(after).unwrap();
    assert_eq!(append_and_wait(&journal, 2, 10), Ok(after + 1));
    assert_eq!(replayable(&disk.after_power_cut(0), after).unwrap().len(), 1);
}

/// A life with everything in it, in which one operation fails; the database takes over what the journal cannot hold.
fn live(disk: &SimDisk) -> Result<(), JournalError> {
    let mut after = 0;
    for life in 0..3 {
        let (journal, recovery, entries) = open(disk, after)?;
        assert_eq!(recovery.last, after + entries.len() as Seq);
        for turn in 0..30 {
            let appended = append_and_wait(&journal, life, 600);
            if journal.is_failed() {
                after = journal.last();
                // The next one may meet the fault again only if this one did.
                journal.restart(after).or_else(|_| journal.restart(after)).unwrap();
            } else {
                let refused = matches!(appended, Err(Fault::DiskFull(_)));
                assert!(refused || appended == Ok(journal.last()), "{appended:?}");
            }
            if turn == 20 {
                after = journal.last();
                journal.release(after);
            }
        }
        let promised = journal.durable();
        let crashed = disk.after_power_cut(life);
        let found = replayable(&crashed, after)?;
        assert!(after + found.len() as Seq >= promised);
        let lives: Vec<_> = found.iter().map(|(seq, bytes)| *bytes == entry(life, *seq, 600)).collect();
        assert!(lives.iter().all(|same| *same));
        after = journal.last();
        // A failure at the very end leaves nothing unwritten: everything was acknowledged.
        let _ = journal.close();
    }
    Ok(())
}

#[test]
fn one_fault_anywhere_costs_nothing_that_was_acknowledged() {
    use Operation::{Create, Remove, Rename, Sync, SyncDir, Write};
    for operation in [Write, Sync, Create, Rename, Remove, SyncDir] {
        for successes in (0..24).chain((24..120).step_by(7)) {
            let disk = SimDisk::default();
            disk.fail_after(operation, successes);
            match live(&disk) {
                Ok(()) | Err(JournalError::Io { .. }) => {}
                Err(other) => panic!("{operation:?} after {successes}: {other}"),
            }
        }
    }
}

#[test]
fn ids_grow_in_the_order_of_use_though_one_could_not_be_listed() {
    let disk = SimDisk::default();
    let (journal, ..) = open(&disk, 0).unwrap();
    eventually("the stock is full", || journal.status().spares == 2);
    let mut maker = journal.core.maker.lock();
    disk.fail_after(Operation::Sync, 1); // the first one is that of the segment's zeros
    maker.make(8192).unwrap_err();
    let later = maker.make(4 * 8192).unwrap();
    assert!(maker.make(8192).unwrap().name > later.name);
    disk.fail_after(Operation::Sync, 1);
    maker.make(8192).unwrap_err();
    let recycled = maker.recycle(&later).unwrap();
    assert!(maker.make(8192).unwrap().name > recycled.name);
}

#[test]
fn an_opening_that_failed_anywhere_can_be_repeated() {
    use Operation::{Read, Remove, Rename, Sync, SyncDir, Write};
    let (disk, journal) = new_journal(Fsync::No);
    for _ in 0..40 {
        append_and_wait(&journal, 1, 600).unwrap();
    }
    let promised = journal.durable();
    drop(journal);
    for seed in 0..20 {
        let crashed = disk.after_power_cut(seed);
        let expected = replayable(&crashed, 0).unwrap();
        assert!(expected.len() as Seq >= promised);
        for operation in [Read, Write, Sync, Remove, Rename, SyncDir] {
            for successes in 0..4 {
                let disk = crashed.after_kill();
                disk.fail_after(operation, successes);
                drop(open(&disk, 0)); // fails, or not, and dies at once
                let again = disk.after_power_cut(seed + successes);
                assert!(
                    replayable(&again, 0).unwrap() == expected,
                    "seed {seed}, {operation:?} after {successes}"
                );
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_before_taking_and_recovers_by_itself() {
    let (disk, journal) = new_journal(Fsync::Always);
    eventually("the stock is full", || journal.status().spares == 2);
    disk.set_capacity(Some(disk.used_bytes()));
    let mut taken = 0;
    let fault = loop {
        match append_and_wait(&journal, 1, 1_000) {
            Ok(seq) => taken = seq,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault, Fault::DiskFull(_)), "{fault}");
    assert!(taken >= 9, "all the room that was reserved has been used: {taken}");
    assert_eq!((journal.last(), journal.durable()), (taken, taken));
    assert!(!journal.is_failed() && journal.status().shortage.is_some());

    // A checkpoint gives room back at once.
    journal.release(taken);
    eventually("a recycled segment", || append_and_wait(&journal, 1, 1_000).is_ok());
    // And so does anyone who frees space.
    while append_and_wait(&journal, 1, 1_000).is_ok() {}
    disk.set_capacity(None);
    eventually("a new segment", || append_and_wait(&journal, 1, 1_000).is_ok());
    eventually("the end of the shortage", || journal.status().shortage.is_none());
    let last = journal.last();
    assert_eq!(replayable(&disk.after_power_cut(9), taken).unwrap().len() as Seq, last - taken);
}

#[test]
fn a_full_disk_does_not_keep_a_journal_from_opening() {
    let disk = SimDisk::default();
    disk.set_capacity(Some(0));
    let (journal, ..) = open(&disk, 7).unwrap();
    assert!(matches!(append(&journal, 1, 10), Err(Fault::DiskFull(_))));
    disk.set_capacity(None);
    eventually("space", || append_and_wait(&journal, 1, 10) == Ok(8));
    journal.close().unwrap();
    assert_eq!(replayable(&disk.after_power_cut(0), 7).unwrap().len(), 1);
}

#[test]
fn what_gives_space_back_is_taken_at_the_end_and_survives_a_power_cut() {
    let with_reserve =
        |disk: &SimDisk| Options { segment_bytes: 64 * 1024, kept_bytes: 4096, ..options(disk) };
    let reserve = Path::new(DIR).join("reserve");
    // where the use of the reserve fails: nowhere, at its new name, or before that name is durable
    for fault in [None, Some(Operation::Rename), Some(Operation::SyncDir)] {
        let disk = SimDisk::default();
        let (journal, ..) = open_with(with_reserve(&disk), 0).unwrap();
        eventually("the reserve is there", || disk.image().contains_key(&reserve));
        disk.set_capacity(Some(disk.used_bytes()));
        for bytes in [1_000, 0] {
            while append_and_wait(&journal, 1, bytes).is_ok() {}
        }
        if let Some(operation) = fault {
            disk.fail_after(operation, 0);
        }
        let remove = || {
            let mut removed = 0;
            while let Ok(seq) = journal.append(Claim::Removal, |seq, out| out.extend(entry(1, seq, 20))) {
                acknowledge(&journal, seq).unwrap();
                removed += 1;
            }
            removed
        };
        assert!(remove() > 20, "{fault:?}");
        // what failed is tried again
        eventually("the reserve is used", || !disk.image().contains_key(&reserve));
        eventually("there is room again", || remove() > 20);
        assert!(append(&journal, 1, 1_000).is_err(), "it is not for others");
        let last = journal.last();
        for seed in 0..8 {
            let cut = disk.after_power_cut(seed);
            cut.set_capacity(None);
            assert_eq!(replayable(&cut, 0).unwrap().len() as Seq, last, "{fault:?}");
            let (again, ..) = open_with(with_reserve(&cut), 0).unwrap();
            append_and_wait(&again, 1, 10).unwrap();
            again.close().unwrap();
        }
        disk.set_capacity(None);
        eventually("it goes on", || append_and_wait(&journal, 1, 1_000).is_ok());
        let last = journal.last();
        journal.close().unwrap();
        assert_eq!(replayable(&disk.after_power_cut(1), 0).unwrap().len() as Seq, last);
    }
}

#[test]
fn a_large_entry_without_space_is_told_and_small_ones_go_on() {
    let (disk, journal) = new_journal(Fsync::Always);
    eventually("the stock is full", || journal.status().spares == 2);
    disk.set_capacity(Some(disk.used_bytes() + 50_000));
    let fault = journal.wait_room(100_000, Claim::Ordinary).unwrap_err();
    assert!(matches!(fault, Fault::DiskFull(_)), "{fault}");
    append_and_wait(&journal, 1, 100).unwrap();
    disk.set_capacity(None);
    eventually("space for it", || journal.wait_room(100_000, Claim::Ordinary).is_ok());
    append_and_wait(&journal, 1, 100_000).unwrap();
}

#[test]
fn a_thread_that_panics_fails_the_journal_instead_of_stalling_it() {
    for operation in [Operation::Create, Operation::Sync] {
        let (disk, journal) = new_journal(Fsync::Always);
        eventually("the stock is full", || journal.status().spares == 2);
        disk.panic_at(operation); // on the stock thread, or the sync thread
        let failed = (0..1_000).find_map(|_| {
            let seq = append(&journal, 1, 1_000);
            seq.and_then(|seq| acknowledge_alone(&journal, seq)).err()
        });
        assert!(matches!(failed, Some(Fault::Failed(_))), "{failed:?}");
        assert!(matches!(journal.wait_room(10, Claim::Ordinary), Err(Fault::Failed(_))));
    }
}

#[test]
fn whoever_panics_while_settling_leaves_nobody_waiting() {
    let (disk, journal) = new_journal(Fsync::Always);
    eventually("the stock is full", || journal.status().spares == 2);
    disk.panic_at(Operation::Sync);
    let seq = append(&journal, 1, 10).unwrap();
    let waited = block_on(poll_fn(|cx| {
        let outcome = journal.poll_gathered(seq, cx);
        if outcome.is_pending() {
            let panicked = thread::scope(|scope| scope.spawn(|| journal.sync_gathered()).join().is_err());
            assert!(panicked);
        }
        outcome
    }));
    assert!(matches!(waited, Err(Fault::Failed(_))), "{waited:?}");
}

#[test]
fn a_writer_that_panics_does_not_leave_a_hole() {
    let (disk, journal) = new_journal(Fsync::No);
    eventually("the stock is full", || journal.status().spares == 2);
    disk.panic_at(Operation::Write);
    let write = || {
        let seq = append(&journal, 1, 10).unwrap();
        acknowledge_alone(&journal, seq)
    };
    assert!(thread::scope(|scope| scope.spawn(write).join().is_err()));
    let fault = append_and_wait(&journal, 1, 10).unwrap_err();
    assert!(fault.to_string().contains("entries 1 to 1 are lost"), "{fault}");
    journal.restart(2).unwrap();
    assert_eq!(append_and_wait(&journal, 1, 10), Ok(3));
}
