//! What it does when all is well.

use std::sync::atomic::Ordering;

use super::super::RealDisk;
use super::*;
use crate::engine::journal::inspect;

/// More than a usual segment here has.
const MANIFEST_BYTES: usize = 3 * 4096;

#[test]
fn entries_come_back_in_order_and_after_the_given_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("journal");
    let read = |after| {
        let mut entries = Vec::new();
        let options =
            Options { segment_bytes: 8192, kept_bytes: 0, disk: Arc::new(RealDisk), ..Options::default() };
        let mut replay = |seq, entry: &[u8]| {
            entries.push((seq, entry.to_vec()));
            Ok::<_, JournalError>(())
        };
        let (journal, recovery) = Journal::open(&at, options, after, &mut replay).unwrap();
        (journal, recovery, entries)
    };
    let (journal, recovery, entries) = read(0);
    assert!((entries.is_empty(), recovery.replayed, recovery.last) == (true, 0, 0));
    for seq in 1..=100 {
        assert_eq!(append_and_wait(&journal, 1, 200), Ok(seq));
    }
    journal.close().unwrap();
    drop(journal);
    assert_eq!(inspect(&at, 0, None).unwrap().last, 100);

    for after in [0, 1, 57, 100] {
        let (journal, recovery, entries) = read(after);
        let expected: Entries = (after + 1..=100).map(|seq| (seq, entry(1, seq, 200))).collect();
        assert!(entries == expected);
        assert_eq!(
            (recovery.replayed, recovery.last, journal.last(), journal.durable()),
            (100 - after, 100, 100, 100)
        );
    }
    let (journal, ..) = read(100);
    assert_eq!(append_and_wait(&journal, 1, 3), Ok(101));
}

#[test]
fn what_is_appended_together_is_one_frame_and_one_sync() {
    let (_disk, journal) = new_journal(Fsync::Always);
    let before = journal.status();
    for _ in 0..10 {
        append(&journal, 1, 10).unwrap();
    }
    let last = journal.last();
    assert_eq!((journal.pending_bytes(), journal.written()), (10 * 14, 0));
    acknowledge(&journal, last).unwrap();
    let after = journal.status();
    assert_eq!((after.frames - before.frames, after.syncs - before.syncs), (1, 1));
    assert_eq!((after.last, after.written, after.durable, after.pending_bytes), (10, 10, 10, 0));
}

#[test]
fn who_blocks_does_only_what_the_policy_promises() {
    for (fsync, syncs) in [(Fsync::Always, 1), (Fsync::EverySec, 0), (Fsync::No, 0)] {
        let (_disk, journal) = new_journal(fsync);
        let before = journal.status();
        for _ in 0..10 {
            append(&journal, 1, 10).unwrap();
        }
        journal.acknowledge(10).unwrap();
        // what nobody has taken yet stands for the last that somebody has
        journal.acknowledge(15).unwrap();
        let after = journal.status();
        assert_eq!((after.written, after.frames - before.frames), (10, 1), "{fsync:?}");
        assert_eq!(after.syncs - before.syncs, syncs, "{fsync:?}");
    }
}

#[test]
fn a_round_is_synced_with_one_frame_and_one_sync_whoever_syncs() {
    let (_disk, journal) = new_journal(Fsync::Always);
    for slow_us in [0, u64::MAX] {
        let before = journal.status();
        let waiting: Vec<_> = (0..10).map(|_| append(&journal, 1, 10).unwrap()).collect();
        // as if the last sync had taken so long: then the next is the sync thread's
        journal.core.stats.last_sync_us.store(slow_us, Ordering::Relaxed);
        block_on(poll_fn(|cx| {
            let polls = waiting.iter().map(|seq| journal.poll_gathered(*seq, cx)).collect::<Vec<_>>();
            if polls.iter().all(Poll::is_pending) {
                journal.sync_gathered();
            }
            if polls.iter().all(|poll| *poll == Poll::Ready(Ok(()))) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        let after = journal.status();
        assert_eq!((after.frames - before.frames, after.syncs - before.syncs), (1, 1));
        assert_eq!(journal.durable(), journal.last());
    }
}

#[test]
fn without_always_a_reply_waits_for_the_page_cache_only() {
    for fsync in [Fsync::EverySec, Fsync::No] {
        let (disk, journal) = new_journal(fsync);
        let seq = append_and_wait(&journal, 1, 10).unwrap();
        assert_eq!((journal.written(), journal.durable()), (seq, 0));
        assert_eq!(replayable(&disk.after_kill(), 0).unwrap().len(), 1);
        journal.wait_durable(seq).unwrap();
        assert_eq!(journal.durable(), seq);
        assert_eq!(replayable(&disk.after_power_cut(0), 0).unwrap().len(), 1);
    }
}

#[test]
fn everysec_syncs_without_being_asked() {
    let (_disk, journal) = new_journal(Fsync::EverySec);
    let seq = append(&journal, 1, 10).unwrap(); // nobody waits for it, either
    eventually("the sync", || journal.durable() == seq);
}

#[test]
fn a_change_of_policy_reaches_those_who_wait() {
    let (_disk, journal) = new_journal(Fsync::No);
    let seq = append_and_wait(&journal, 1, 10).unwrap();
    thread::sleep(Duration::from_millis(20)); // the sync thread sleeps now, with nothing to wake it
    journal.set_fsync(Fsync::EverySec);
    eventually("a sync", || journal.durable() == seq);
    journal.set_fsync(Fsync::Always);
    let seq = append_and_wait(&journal, 1, 10).unwrap();
    assert_eq!(journal.durable(), seq);
}

#[test]
fn released_segments_are_recycled_and_few_are_kept() {
    let (disk, journal) = new_journal(Fsync::Always);
    for _ in 0..400 {
        append_and_wait(&journal, 1, 500).unwrap();
    }
    let full = journal.status();
    assert!(full.segments > 50);
    journal.release(journal.last());
    let kept = 2 + journal.core.options.spares_max; // the segment in use, and the manifest
    eventually("the rest goes", || disk.image().len() <= kept);
    assert_eq!(journal.status().segments, 1);
    // What was recycled is used, and nothing of its earlier life comes back.
    let after = journal.last();
    for _ in 0..100 {
        append_and_wait(&journal, 2, 500).unwrap();
    }
    let (_journal, _, entries) = open(&disk.after_kill(), after).unwrap();
    let expected: Entries = (after + 1..=after + 100).map(|seq| (seq, entry(2, seq, 500))).collect();
    assert!(entries == expected);
}

#[test]
fn an_entry_longer_than_a_segment_gets_one_of_its_own() {
    let (disk, journal) = new_journal(Fsync::Always);
    append_and_wait(&journal, 1, 10).unwrap();
    assert_eq!(
        journal.append(Claim::Ordinary, |_, out| out.extend(entry(1, 2, 100_000))),
        Err(Fault::NoRoomYet)
    );
    block_on(poll_fn(|cx| journal.poll_room(100_000, Claim::Ordinary, cx))).unwrap();
    let seq = journal.append(Claim::Ordinary, |seq, out| out.extend(entry(1, seq, 100_000))).unwrap();
    acknowledge(&journal, seq).unwrap();
    for _ in 0..50 {
        append_and_wait(&journal, 1, 400).unwrap();
    }
    let entries = replayable(&disk.after_power_cut(3), 0).unwrap();
    assert!(entries[1].1 == entry(1, 2, 100_000));
    assert_eq!(entries.len(), 52);
    journal.release(journal.last());
    eventually("the large one goes", || disk.image().values().all(|bytes| bytes.len() <= MANIFEST_BYTES));
}

#[test]
fn closing_flushes_refuses_and_proves() {
    let (disk, journal) = new_journal(Fsync::No);
    append(&journal, 1, 10).unwrap();
    journal.close().unwrap();
    journal.close().unwrap();
    assert_eq!(append(&journal, 1, 10), Err(Fault::Closed));
    assert_eq!(acknowledge(&journal, 1), Ok(()));
    assert_eq!(replayable(&disk.after_power_cut(0), 0).unwrap().len(), 1);
}

#[test]
fn dropping_writes_nothing() {
    let (disk, journal) = new_journal(Fsync::Always);
    append(&journal, 1, 10).unwrap();
    drop(journal);
    assert_eq!(replayable(&disk, 0).unwrap().len(), 0);
}

#[test]
fn a_wait_that_was_given_up_harms_nobody() {
    let (_disk, journal) = new_journal(Fsync::Always);
    for _ in 0..100 {
        let seq = append(&journal, 1, 10).unwrap();
        let _ = journal.poll_acknowledged(seq, &mut Context::from_waker(Waker::noop()));
    }
    append_and_wait(&journal, 1, 10).unwrap();
    assert!(journal.core.waiters.lock().is_empty());
}

#[test]
fn a_wait_for_an_entry_not_taken_yet_is_one_for_the_last() {
    let (_disk, journal) = new_journal(Fsync::Always);
    acknowledge(&journal, 7).unwrap();
    append(&journal, 1, 10).unwrap();
    acknowledge(&journal, 7).unwrap();
    assert_eq!(journal.durable(), 1);
}

/// Segments of eight pages, and one of two to rest in.
fn restful(disk: &SimDisk) -> Options {
    Options { segment_bytes: 32 * 1024, rest_bytes: 8 * 1024, ..options(disk) }
}

fn write(journal: &Journal, entries: usize) {
    for _ in 0..entries {
        append_and_wait(journal, 1, 500).unwrap();
    }
}

fn bytes_of(disk: &SimDisk) -> usize {
    disk.image().values().map(Vec::len).sum()
}

#[test]
fn a_journal_at_rest_is_small_and_takes_what_comes() {
    let disk = SimDisk::default();
    let (journal, ..) = open_with(restful(&disk), 0).unwrap();
    let mut released = 0;
    for _ in 0..3 {
        write(&journal, 400);
        eventually("the stock is full", || journal.status().spares >= 2);
        let before = bytes_of(&disk);
        journal.rest_now();
        write(&journal, 1);
        assert!(bytes_of(&disk) >= before, "what is not durable elsewhere is needed");
        assert_eq!(replayable(&disk.after_power_cut(1), released).unwrap().len(), 401);

        released = journal.last();
        journal.release(released);
        journal.rest_now();
        eventually("rest", || bytes_of(&disk) == MANIFEST_BYTES + 8 * 1024);
        assert_eq!(journal.status().disk_bytes, (MANIFEST_BYTES + 8 * 1024) as u64);
        assert_eq!(replayable(&disk.after_power_cut(2), released).unwrap().len(), 0);
    }
    // the first entries find their place, and have the stock made again
    write(&journal, 1);
    assert!(journal.core.plan.lock().stock.is_resting, "one entry is no reason to make segments");
    write(&journal, 1);
    eventually("the stock is full again", || journal.status().spares == 2);
    assert_eq!(replayable(&disk.after_power_cut(3), released).unwrap().len(), 2);
}

#[test]
fn a_journal_rests_once_nothing_comes_and_ends_without_segments() {
    let disk = SimDisk::default();
    let often = Duration::from_millis(5);
    let restful = || Options { note_interval: often, rest_after: often, ..restful(&disk) };
    let (journal, ..) = open_with(restful(), 0).unwrap();
    write(&journal, 400);
    journal.release(journal.last() - 1);
    thread::sleep(20 * often);
    assert!(journal.status().segments > 0 && journal.status().spares == 2, "one entry is still needed");
    journal.release(journal.last());
    eventually("rest", || bytes_of(&disk) == MANIFEST_BYTES + 8 * 1024);
    write(&journal, 400);
    let last = journal.last();
    journal.release(last);
    journal.close().unwrap();
    assert_eq!(bytes_of(&disk), MANIFEST_BYTES, "only the manifest");
    for seed in 0..8 {
        let cut = disk.after_power_cut(seed);
        let (_again, recovery, entries) = open_with(self::restful(&cut.after_kill()), last).unwrap();
        assert_eq!((recovery.last, entries.len()), (last, 0));
        // removing is not synced, so what is left may still have the entry
        let is_noticed = replayable(&cut, last - 1).map_or(true, |entries| entries.len() == 1);
        assert!(is_noticed, "nothing tells that the database is older than the journal");
    }
    let (again, ..) = open_with(restful(), last).unwrap();
    assert_eq!(append_and_wait(&again, 1, 500), Ok(last + 1));
}

#[test]
fn power_may_go_at_any_operation_of_coming_to_rest() {
    for closes in [false, true] {
        let disk = SimDisk::default();
        let (journal, ..) = open_with(restful(&disk), 0).unwrap();
        write(&journal, 200);
        eventually("the stock is full", || journal.status().spares >= 2);
        let released = journal.last();
        let cuts = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let (watched, kept, at) = (disk.clone(), Arc::clone(&cuts), Arc::downgrade(&journal));
        disk.watch(move || {
            let durable = at.upgrade().map_or(0, |journal| journal.durable());
            let seed = kept.lock().len() as u64;
            let cut = watched.after_power_cut(seed);
            kept.lock().push((durable, cut));
        });
        journal.release(released);
        if closes {
            journal.close().unwrap();
        } else {
            journal.rest_now();
            eventually("rest", || journal.status().spares == 0 && journal.status().segments == 1);
            write(&journal, 60);
            drop(journal);
        }
        let cuts = std::mem::take(&mut *cuts.lock());
        assert!(cuts.len() > 5, "{}", cuts.len());
        for (durable, cut) in cuts {
            let found = replayable(&cut, released).unwrap();
            assert!(released + found.len() as Seq >= durable, "{} of {durable}", found.len());
            let (again, ..) = open_with(restful(&cut), released).unwrap();
            append_and_wait(&again, 1, 500).unwrap();
        }
    }
}

#[test]
fn a_fault_while_the_journal_comes_to_rest_costs_nothing() {
    use crate::engine::journal::disk::sim::Operation::{Create, Remove, Rename, Sync, SyncDir, Write};
    for operation in [Create, Write, Sync, Rename, SyncDir, Remove] {
        for successes in 0..6 {
            let disk = SimDisk::default();
            let (journal, ..) = open_with(restful(&disk), 0).unwrap();
            write(&journal, 100);
            eventually("the stock is full", || journal.status().spares >= 2);
            let released = journal.last();
            journal.release(released);
            disk.fail_after(operation, successes);
            journal.rest_now();
            let mut after = released;
            for _ in 0..80 {
                let mut refusal = append_and_wait(&journal, 1, 500).err();
                if let Some(Fault::DiskFull(_)) = refusal {
                    // no segment could be made; the next attempt succeeds
                    eventually("room", || journal.wait_room(500, Claim::Ordinary).is_ok());
                    refusal = append_and_wait(&journal, 1, 500).err();
                }
                if let Some(refusal) = refusal {
                    assert!(journal.is_failed(), "{operation:?} {successes}: {refusal}");
                    after = journal.last();
                    journal.restart(after).or_else(|_| journal.restart(after)).unwrap();
                }
            }
            let (last, durable) = (journal.last(), journal.durable());
            assert_eq!(last, durable);
            let found = replayable(&disk.after_power_cut(successes), after).unwrap();
            assert_eq!(after + found.len() as Seq, last, "{operation:?} {successes}");
            let _ = journal.close();
        }
    }
}
