//! The situations that the protocol names, one by one.

use bytes::Bytes;

use super::chance::Chance;
use super::desk::{
    ARCHIVE, Desk, OTHER, SNAPSHOT, archive_of_another, config, entries, lease_of, manifest, mark, segment,
    standby, whole,
};
use super::network::Store;
use crate::archive::format::{
    Base, Id, Kind, LeaseState, Listed, Manifest, Mark, Name, SegmentHeader, SnapshotName,
};
use crate::archive::protocol::{Answer, Input, Output, Request, Role, Stop, Stored, Trouble, Version};

#[test]
fn the_first_start_makes_the_archive_and_leads() {
    let mut desk = Desk::new(config(), 0, None, Store::default());
    desk.wait(1_000);
    assert_eq!(desk.node.role(), Role::Leader);
    let names: Vec<String> = desk.store.names().map(|name| name.to_string()).collect();
    assert_eq!(names, ["manifest", "lease", "log/00000000000000000001"]);
    assert_eq!((desk.lease().epoch, desk.lease().holder), (1, Id(1)));
    // the directory knows the archive before that is there, the epoch before the fence, and the fence before writes
    let marks: Vec<(u64, Vec<u64>)> = desk.marks().map(|mark| (mark.segment, mark.own.clone())).collect();
    assert_eq!(marks, [(0, vec![0]), (0, vec![0]), (0, vec![0, 1]), (1, vec![1])]);
    assert_eq!(desk.wanted.last(), Some(&Output::StartWrites));
}

#[test]
fn a_standby_does_not_begin_an_archive() {
    let mut desk = Desk::new(standby(), 0, None, Store::default());
    desk.wait(60_000);
    assert_eq!(desk.node.role(), Role::Starting);
    assert_eq!(desk.store.names().count(), 0);
    assert_eq!(desk.wanted, [Output::Report(Trouble::NoArchive)]);
}

#[test]
fn who_does_not_belong_there_stops_and_changes_nothing() {
    let with = |change: fn(&mut Store)| {
        let mut store = archive_of_another();
        change(&mut store);
        store
    };
    let other = || Stop::OtherArchive { found: ARCHIVE, expected: Id(9) };
    fn newer(store: &mut Store, name: Name) {
        let mut object = store.get(name).unwrap().to_vec();
        object[11] = 2;
        store.put(name, Bytes::from(object));
    }
    let cases = [
        ("data of its own", 3, None, with(|_| {}), Stop::ForeignData),
        (
            "data of an archive that it could not begin",
            3,
            mark(Id(9), 0, 0, &[0]),
            with(|_| {}),
            Stop::ForeignData,
        ),
        ("data of another archive", 3, mark(Id(9), 2, 3, &[]), with(|_| {}), other()),
        ("data of an archive that is gone", 3, mark(ARCHIVE, 2, 3, &[]), Store::default(), Stop::Gone),
        ("no manifest", 0, None, with(|store| store.delete(Name::Manifest)), Stop::NoManifest),
        (
            "a newer manifest",
            0,
            None,
            with(|store| newer(store, Name::Manifest)),
            Stop::Newer(Name::Manifest),
        ),
        ("a newer lease", 0, None, with(|store| newer(store, Name::Lease)), Stop::Newer(Name::Lease)),
        (
            "a newer segment",
            0,
            None,
            with(|store| newer(store, Name::Segment(2))),
            Stop::Newer(Name::Segment(2)),
        ),
        (
            "a segment of another archive",
            0,
            None,
            with(|store| {
                store.put(Name::Segment(2), whole(SegmentHeader { archive: Id(9), ..segment(3, 2, 1) }, b""))
            }),
            Stop::OtherArchive { found: Id(9), expected: ARCHIVE },
        ),
        (
            "a segment of an earlier epoch",
            0,
            None,
            with(|store| store.put(Name::Segment(2), entries(2, 2, 1, 4))),
            Stop::Broken(2),
        ),
        ("a gap", 0, None, with(|store| store.put(Name::Segment(2), entries(3, 2, 2, 4))), Stop::Broken(2)),
        (
            "a wrong number",
            0,
            None,
            with(|store| store.put(Name::Segment(2), entries(3, 3, 1, 4))),
            Stop::Broken(2),
        ),
    ];
    for (what, local, mark, store, stop) in cases {
        let before: Vec<(Name, Bytes)> =
            store.names().map(|name| (name, store.get(name).unwrap().clone())).collect();
        let mut desk = Desk::new(config(), local, mark, store);
        desk.wait(3_000);
        assert_eq!(desk.node.stopped(), Some(stop), "{what}");
        assert_eq!(desk.node.role(), Role::Stopped, "{what}");
        let after: Vec<(Name, Bytes)> =
            desk.store.names().map(|name| (name, desk.store.get(name).unwrap().clone())).collect();
        assert_eq!(before, after, "{what}");
        desk.wait(30_000);
        assert!(desk.sent.is_empty(), "{what}");
    }
}

#[test]
fn an_upload_without_an_answer_is_read_back() {
    enum Found {
        Ours,
        Nothing,
        Later,
    }
    for found in [Found::Ours, Found::Nothing, Found::Later] {
        let mut desk = Desk::leader();
        desk.write(3);
        desk.pack();
        let (ticket, request) = desk.take(Name::Segment(2)).unwrap();
        let Request::Create(name, bytes) = request else { panic!("{request:?}") };
        match found {
            Found::Ours => desk.store.put(name, bytes),
            Found::Nothing => {}
            Found::Later => {
                desk.store.put(name, whole(segment(2, 2, 1), b""));
                desk.store.put(Name::Lease, Bytes::from(lease_of(OTHER, 2, 50, LeaseState::Held).encode()));
            }
        }
        desk.tell(Input::Answer(ticket, Answer::Unknown));
        assert_eq!(desk.through(), Some(0));
        desk.wait(1_000);
        if let Found::Later = found {
            assert_eq!((desk.node.role(), desk.node.promise()), (Role::Standby, None));
            // its three entries are not in the archive
            let aside =
                desk.wanted.iter().position(|output| *output == Output::SetAside { after: 0 }).unwrap();
            assert!(matches!(desk.wanted[aside + 1], Output::Restore(None, _)));
            assert!(desk.wanted[..aside].contains(&Output::StopWrites));
        } else {
            assert_eq!((desk.node.role(), desk.through()), (Role::Leader, Some(3)));
        }
    }
}

#[test]
fn a_damaged_segment_is_read_again_and_never_passed() {
    let mut store = archive_of_another();
    store.put(Name::Segment(3), entries(3, 3, 5, 6));
    let mut damaged = store.get(Name::Segment(2)).unwrap().to_vec();
    damaged[60] ^= 1;
    let sound = store.get(Name::Segment(2)).unwrap().clone();
    store.put(Name::Segment(2), Bytes::from(damaged));
    let mut desk = Desk::new(standby(), 0, None, store);
    desk.wait(30_000);
    assert_eq!((desk.node.role(), desk.local, desk.lease().epoch), (Role::Standby, 0, 3));
    assert!(matches!(desk.wanted.last(), Some(Output::Report(Trouble::Unreadable(Name::Segment(2), _)))));
    desk.store.put(Name::Segment(2), sound);
    desk.wait(1_000);
    assert_eq!(desk.local, 6);
}

#[test]
fn a_candidate_that_cannot_read_the_log_lets_others_try() {
    let mut desk = Desk::new(standby(), 0, None, archive_of_another());
    desk.wait(9_800);
    let mut damaged = entries(3, 3, 5, 6).to_vec();
    damaged[60] ^= 1;
    desk.store.put(Name::Segment(3), Bytes::from(damaged));
    // the lease is taken by what was known before
    let mut unanswered = Vec::new();
    desk.wait_only(800, Name::Segment(3), &mut unanswered);
    assert_eq!(desk.node.role(), Role::Candidate);
    for (ticket, _) in unanswered {
        desk.tell(Input::Answer(ticket, Answer::Unknown));
    }
    desk.wait(10_000);
    assert_eq!((desk.node.role(), desk.lease().epoch), (Role::Standby, 4));
    assert_eq!(desk.lease().state, LeaseState::Released { heir: None });
    desk.store.put(Name::Segment(3), entries(3, 3, 5, 6));
    desk.wait(12_000);
    assert_eq!((desk.node.role(), desk.lease().epoch, desk.local), (Role::Leader, 5, 6));
}

/// Segments were deleted while a standby was away.
#[test]
fn a_standby_that_finds_a_gap_falls_back_to_a_snapshot() {
    // what the standby has, whether any of it was written by itself, and whether it needs the snapshot
    let cases = [(4, &[][..], true), (20, &[], false), (25, &[], false), (4, &[3], true), (25, &[3], true)];
    for (local, own, restores) in cases {
        let mut store = archive_of_another();
        let listed = Listed { name: SNAPSHOT, next_segment: 8, time_ms: 0, bytes: 0 };
        store.put(Name::Manifest, manifest(8, vec![listed]));
        store.put(Name::Segment(8), entries(3, 8, 18, 30));
        store.delete(Name::Segment(1));
        store.delete(Name::Segment(2));
        let mut desk = Desk::new(standby(), local, mark(ARCHIVE, 2, 4, own), store);
        desk.wait(2_000);
        let mark = Mark { archive: ARCHIVE, segment: 7, entry: 20, own: Vec::new() };
        let restored = desk.wanted.contains(&Output::Restore(Some(SNAPSHOT), mark));
        assert_eq!(restored, restores, "{local} {own:?}");
        // who can't know whether the archive has its entries keeps them
        let aside = desk.wanted.contains(&Output::SetAside { after: 4 });
        assert_eq!(aside, local == 25 && !own.is_empty(), "{local} {own:?}");
        assert_eq!(desk.local, 30);
    }
}

/// The log only seems to end where it was deleted.
#[test]
fn no_fence_is_put_where_the_log_was_deleted() {
    let listed = Listed { name: SNAPSHOT, next_segment: 8, time_ms: 0, bytes: 0 };
    let delete = |store: &mut Store| {
        store.put(Name::Manifest, manifest(8, vec![listed]));
        store.put(Name::Segment(8), entries(3, 8, 18, 30));
        store.delete(Name::Segment(1));
        store.delete(Name::Segment(2));
    };
    for (before_ms, after_ms) in [(1_000, 12_000), (9_800, 2_500)] {
        let mut desk = Desk::new(standby(), 0, None, archive_of_another());
        desk.wait(before_ms);
        assert_eq!(desk.local, 4);
        delete(&mut desk.store);
        desk.wait(after_ms);
        assert_eq!((desk.node.role(), desk.local), (Role::Leader, 30));
        assert!(desk.store.get(Name::Segment(3)).is_none() && desk.store.get(Name::Segment(9)).is_some());
    }
    // a standby notices while another node leads, too, even if the answer takes long
    let mut desk = Desk::new(standby(), 0, None, archive_of_another());
    desk.wait(1_000);
    delete(&mut desk.store);
    let mut asked = Vec::new();
    for counter in 10..60 {
        desk.wait_only(300, Name::Manifest, &mut asked);
        desk.store.put(Name::Lease, Bytes::from(lease_of(OTHER, 3, counter, LeaseState::Held).encode()));
    }
    assert_eq!((asked.len(), desk.local), (1, 4));
    for (ticket, request) in asked {
        let answer = desk.answer(request);
        desk.tell(Input::Answer(ticket, answer));
    }
    desk.wait(1_000);
    assert_eq!((desk.node.role(), desk.local), (Role::Standby, 30));
}

#[test]
fn a_candidate_gives_way_to_a_later_epoch() {
    let mut desk = Desk::new(standby(), 0, None, archive_of_another());
    desk.wait(9_000);
    let (ticket, request) = loop {
        let (ticket, request) = desk.wait_for(Name::Lease);
        if let Request::Replace(..) = request {
            break (ticket, request);
        }
        let answer = desk.answer(request);
        desk.tell(Input::Answer(ticket, answer));
    };
    let answer = desk.answer(request);
    desk.store.put(Name::Segment(3), whole(segment(5, 3, 5), b""));
    desk.store.put(Name::Lease, Bytes::from(lease_of(OTHER, 5, 60, LeaseState::Held).encode()));
    desk.tell(Input::Answer(ticket, answer));
    assert_eq!(desk.node.role(), Role::Candidate);
    desk.wait(1_000);
    assert_eq!(desk.node.role(), Role::Standby);
    assert!(desk.store.get(Name::Segment(4)).is_none());
}

/// What the data directory has, when the log goes on with the epoch of another node.
#[test]
fn histories_that_part_are_noticed() {
    // entries here, own epochs, whether they are kept aside, and what has to happen before the log's entries are applied
    let cases = [
        ("a follower whose mark is old", 3, &[][..], None, false),
        ("a leader without anything of its own", 2, &[2][..], None, true),
        ("a leader with more", 3, &[2], Some(2), false),
        ("the leader of that epoch", 3, &[3], None, false),
        ("a disk that has lost entries", 1, &[2], None, false),
    ];
    for (what, local, own, aside, forgets) in cases {
        let mut store = archive_of_another();
        store.put(Name::Segment(1), whole(segment(2, 1, 1), b""));
        store.put(Name::Segment(2), entries(2, 2, 1, 2));
        store.put(Name::Segment(3), whole(segment(3, 3, 3), b""));
        store.put(Name::Segment(4), entries(3, 4, 3, 6));
        let mut desk = Desk::new(standby(), local, mark(ARCHIVE, 2, 2, own), store);
        desk.wait(2_000);
        assert_eq!(desk.local, 6, "{what}");
        let kept = desk.wanted.iter().find_map(|output| match output {
            Output::SetAside { after } => Some(*after),
            _ => None,
        });
        assert_eq!(kept, aside, "{what}");
        let restores = desk.wanted.iter().any(|output| matches!(output, Output::Restore(..)));
        assert_eq!(restores, aside.is_some() || local < 2, "{what}");
        let applied = desk.wanted.iter().position(|output| matches!(output, Output::Apply { .. })).unwrap();
        let forgot = desk.wanted[1..applied]
            .iter()
            .any(|output| matches!(output, Output::Record(mark) if mark.own.is_empty()));
        assert_eq!(forgot, forgets, "{what}");
    }
}

#[test]
fn a_log_that_cannot_go_on_continues_behind_a_snapshot() {
    let mut desk = Desk::leader();
    desk.write(20);
    assert!(matches!(desk.wanted.pop(), Some(Output::Pack { first: 1, .. })));
    desk.tell(Input::Unpackable);
    assert_eq!(desk.wanted.pop(), Some(Output::TakeSnapshot));
    desk.tell(Input::SnapshotBegins(SNAPSHOT.id));
    desk.wait(2_000);
    assert_eq!(desk.through(), Some(0));
    desk.tell(Input::SnapshotStored(Stored { name: SNAPSHOT, time_ms: 7, bytes: 8 }));
    desk.serve();
    desk.wait(500);
    assert_eq!(desk.through(), Some(20));
    let (header, body) = SegmentHeader::open(desk.store.get(Name::Segment(2)).unwrap()).unwrap();
    assert_eq!((header.kind, header.first, header.last), (Kind::Base, 21, 20));
    assert_eq!(Base::decode(body).unwrap().name, SNAPSHOT);
    let listed = Listed { name: SNAPSHOT, next_segment: 3, time_ms: 7, bytes: 8 };
    let manifest = Manifest::decode(desk.store.get(Name::Manifest).unwrap()).unwrap();
    assert_eq!(manifest.snapshots, [listed]);
    // whoever comes to that place without these entries loads the snapshot, even if it is not listed
    let mut store = std::mem::take(&mut desk.store);
    store.put(Name::Manifest, self::manifest(1, Vec::new()));
    let mut desk = Desk::new(standby(), 0, None, store);
    desk.wait(1_000);
    assert_eq!(desk.local, 20);
}

#[test]
fn a_snapshot_is_listed_when_the_log_covers_it_and_in_its_own_epoch_only() {
    let listed = |desk: &Desk| {
        let manifest = Manifest::decode(desk.store.get(Name::Manifest).unwrap()).unwrap();
        manifest.snapshots.len()
    };
    let mut desk = Desk::leader();
    desk.tell(Input::SnapshotBegins(SNAPSHOT.id));
    desk.write(20);
    let stored = Input::SnapshotStored(Stored { name: SNAPSHOT, time_ms: 7, bytes: 8 });
    desk.tell(stored.clone());
    desk.wait(300);
    assert_eq!(listed(&desk), 0);
    desk.pack();
    desk.wait(300);
    assert_eq!(listed(&desk), 1);

    let mut desk = Desk::leader();
    desk.tell(Input::SnapshotBegins(SNAPSHOT.id));
    desk.tell(Input::FailOver(None));
    desk.wait(12_000); // nobody else takes the lease
    assert_eq!((desk.node.role(), desk.lease().epoch), (Role::Leader, 2));
    desk.write(20);
    desk.tell(stored);
    desk.pack();
    desk.wait(1_000);
    assert_eq!(listed(&desk), 0);
}

/// Objects that no server writes, and answers that make no sense.
#[test]
fn whatever_the_object_store_says_a_node_goes_on_or_stops() {
    let mut chance = Chance::new(1);
    let number = |chance: &mut Chance| match chance.below(5) {
        0 => u64::MAX / 2 - chance.below(2),
        1 => u64::MAX - chance.below(2),
        _ => chance.below(5),
    };
    for round in 0..3_000 {
        let (config, local) = (if round % 2 == 0 { config() } else { standby() }, chance.below(3));
        let mark =
            chance.one_in(2).then(|| mark(ARCHIVE, chance.below(3), chance.below(3), &[chance.below(3)]));
        let mut desk = Desk::new(config, local, mark.flatten(), Store::default());
        for _ in 0..60 {
            desk.now += chance.below(4_000);
            let holder = Id(u128::from(chance.below(3)));
            let state = if chance.one_in(2) { LeaseState::Held } else { LeaseState::Released { heir: None } };
            let (epoch, counter) = (number(&mut chance), number(&mut chance));
            let name = SnapshotName { entry: number(&mut chance), id: 1 };
            let listed = Listed { name, next_segment: number(&mut chance), time_ms: 0, bytes: 0 };
            let (first, last) = (number(&mut chance), number(&mut chance));
            let objects = [
                Bytes::from(lease_of(holder, epoch, counter, state).encode()),
                manifest(number(&mut chance), vec![listed; chance.below(2) as usize]),
                entries(epoch, number(&mut chance), first, last),
                whole(segment(epoch, number(&mut chance), first), b""),
                whole(SegmentHeader { kind: Kind::Base, ..segment(epoch, 2, first) }, &base_of(name)),
            ];
            let version = Version(chance.below(2).to_string());
            let input = match (desk.sent.pop(), chance.below(12)) {
                (Some((ticket, _)), 0) => Input::Answer(ticket, Answer::Absent),
                (Some((ticket, _)), 1) => Input::Answer(ticket, Answer::Conflict),
                (Some((ticket, _)), 2) => Input::Answer(ticket, Answer::Unknown),
                (Some((ticket, _)), 3..6) => Input::Answer(ticket, Answer::Done(version)),
                (Some((ticket, _)), _) => {
                    let object = objects[chance.below(objects.len() as u64) as usize].clone();
                    Input::Answer(ticket, Answer::Found(object, version))
                }
                (None, 0) => Input::FailOver(None),
                (None, 1) => Input::Unpackable,
                (None, 2) => Input::SnapshotBegins(1),
                (None, 3) => Input::SnapshotStored(Stored { name, time_ms: 0, bytes: 0 }),
                (None, 4) => Input::Packed(objects[2].clone()),
                (None, 5) => Input::Retain(1),
                (None, _) => Input::Tick,
            };
            desk.tell(input);
            let _ = (desk.node.lag(desk.now), desk.node.promise());
        }
    }
}

fn base_of(name: SnapshotName) -> Vec<u8> {
    Base { name, time_ms: 0, bytes: 0 }.encode()
}
