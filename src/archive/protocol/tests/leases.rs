//! Who may lead, and until when.

use bytes::Bytes;

use super::desk::{ARCHIVE, Desk, OTHER, archive_of_another, config, lease_of, mark, standby};
use super::network::Store;
use crate::archive::format::{Id, Kind, Lease, LeaseState, Mark, Name, SegmentHeader};
use crate::archive::protocol::{Ack, Answer, Config, Input, Output, Request, Role, Stop, Version};

/// A second server that was configured to lead, and not as a standby.
#[test]
fn two_leaders_by_mistake() {
    let mut desk = Desk::new(config(), 0, None, archive_of_another());
    for counter in 10..13 {
        desk.wait(3_000);
        desk.store.put(Name::Lease, Bytes::from(lease_of(OTHER, 3, counter, LeaseState::Held).encode()));
    }
    desk.wait(1_000);
    assert_eq!(desk.node.stopped(), Some(Stop::AnotherLeads));
    // a standby does not mind
    let mut desk = Desk::new(standby(), 0, None, archive_of_another());
    for counter in 10..30 {
        desk.wait(3_000);
        desk.store.put(Name::Lease, Bytes::from(lease_of(OTHER, 3, counter, LeaseState::Held).encode()));
    }
    assert_eq!((desk.node.role(), desk.local), (Role::Standby, 4));
    assert_eq!(desk.node.leader(), Some("other:6379"));
    assert!(
        desk.node.lag(desk.now).is_some_and(|lag| lag.entries == 0 && lag.ms.is_some_and(|ms| ms <= 600))
    );
}

#[test]
fn a_lease_is_taken_when_it_has_not_changed_for_its_length() {
    let cases = [(10_000, 10_000), (30_000, 30_000), (2_000, 10_000)];
    for (length_ms, waits_ms) in cases {
        let mut desk = Desk::new(standby(), 0, None, archive_of_another());
        let lease = Lease { length_ms, ..lease_of(OTHER, 3, 10, LeaseState::Held) };
        desk.wait(2_000);
        desk.store.put(Name::Lease, Bytes::from(lease.encode()));
        desk.wait(waits_ms);
        assert_eq!((desk.node.role(), desk.lease().epoch), (Role::Standby, 3), "a lease of {length_ms} ms");
        desk.wait(1_200);
        assert_eq!((desk.node.role(), desk.lease().epoch), (Role::Leader, 4), "a lease of {length_ms} ms");
        let fence = SegmentHeader::decode(desk.store.get(Name::Segment(3)).unwrap()).unwrap();
        assert_eq!((fence.kind, fence.epoch, fence.first), (Kind::Fence, 4, 5));
    }
}

/// A server without standbys need not renew its lease, and serves on when the archive is out of reach.
#[test]
fn an_endless_lease_is_taken_by_the_same_directory_only() {
    let endless = || Config { lease_ms: 0, margin_ms: 0, ack: Ack::Local, ..config() };
    let mut desk = Desk::new(endless(), 0, None, Store::default());
    desk.wait(1_500);
    desk.write(3);
    assert_eq!((desk.lease().length_ms, desk.through()), (0, Some(u64::MAX)));
    desk.pack();
    desk.wait(600_000);
    assert_eq!((desk.lease().counter, desk.through()), (1, Some(u64::MAX)));
    let again = |config: Config, local, mark: Option<Mark>| {
        let mut store = Store::default();
        for name in [Name::Manifest, Name::Lease, Name::Segment(1), Name::Segment(2)] {
            store.put(name, desk.store.get(name).unwrap().clone());
        }
        let mut other = Desk::new(Config { me: Id(4), ..config }, local, mark, store);
        other.wait(60_000);
        (other.node.role(), other.node.stopped(), other.local)
    };
    assert_eq!(again(endless(), 3, mark(ARCHIVE, 1, 0, &[1])), (Role::Leader, None, 3));
    assert_eq!(again(config(), 3, mark(ARCHIVE, 1, 0, &[1])), (Role::Leader, None, 3));
    let earlier = Config { earlier: vec![Id(1)], ..endless() }; // its mark did not get that far
    assert_eq!(again(earlier, 0, mark(ARCHIVE, 0, 0, &[0])), (Role::Leader, None, 3));
    assert_eq!(again(standby(), 0, None), (Role::Standby, None, 3));
    assert_eq!(again(endless(), 0, None), (Role::Stopped, Some(Stop::AnotherLeads), 0));
}

#[test]
fn a_released_lease_is_for_the_heir_or_anybody() {
    for (heir, is_at_once) in [(None, true), (Some(Id(1)), true), (Some(Id(3)), false)] {
        let mut desk = Desk::new(standby(), 0, None, archive_of_another());
        desk.wait(2_000);
        desk.store
            .put(Name::Lease, Bytes::from(lease_of(OTHER, 3, 10, LeaseState::Released { heir }).encode()));
        desk.wait(1_200);
        assert_eq!(desk.node.role() == Role::Leader, is_at_once, "{heir:?}");
        desk.wait(10_000);
        assert_eq!(desk.node.role(), Role::Leader, "{heir:?}");
    }
}

#[test]
fn a_renewal_counts_from_its_first_try() {
    // whether the first try had its effect or not, and whether its retry is told of a conflict
    for (has_effect, is_doubled) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut desk = Desk::leader();
        let (ticket, request) = desk.wait_for(Name::Lease);
        let first_try = desk.now;
        if has_effect {
            desk.answer(request);
        }
        let answer = if is_doubled { Answer::Conflict } else { Answer::Unknown };
        desk.now += 700;
        desk.tell(Input::Answer(ticket, answer));
        desk.wait(600);
        desk.serve();
        let until = desk.node.promise().unwrap().until;
        assert_eq!(until, first_try + 9_000, "effect {has_effect}, doubled {is_doubled}");
    }
}

#[test]
fn nothing_is_promised_when_the_lease_is_over() {
    let mut desk = Desk::leader();
    let until = desk.node.promise().unwrap().until;
    desk.write(1);
    desk.pack();
    let (upload, _) = desk.take(Name::Segment(2)).unwrap();
    while desk.now < until + 5_000 {
        desk.now += 100;
        desk.tell(Input::Tick);
        for (ticket, request) in std::mem::take(&mut desk.sent) {
            assert!(!matches!(request, Request::Create(..)), "an upload after the lease");
            desk.tell(Input::Answer(ticket, Answer::Unknown));
        }
        assert_eq!(desk.through().is_some(), desk.now < until);
    }
    // an answer that comes too late does not count
    desk.tell(Input::Answer(upload, Answer::Done(Version("1".to_owned()))));
    assert_eq!(desk.node.promise().unwrap().through, 0);
    // nobody has taken the lease, so it goes on
    desk.wait(2_000);
    assert_eq!((desk.node.role(), desk.through()), (Role::Leader, Some(1)));
}

#[test]
fn a_planned_failover_puts_everything_into_the_log_first() {
    for (ack, heir) in [(Ack::Local, Some(OTHER)), (Ack::Archived, None)] {
        let mut desk = Desk::new(Config { ack, ..config() }, 0, None, Store::default());
        desk.wait(1_000);
        desk.write(2);
        desk.tell(Input::FailOver(heir));
        assert_eq!(desk.wanted.iter().filter(|output| **output == Output::StopWrites).count(), 1);
        desk.wait(300);
        assert_eq!(desk.lease().state, LeaseState::Held, "{ack:?}");
        assert!(desk.node.promise().is_some());
        desk.pack();
        // from the first try on, the lease may be anybody's
        let (ticket, request) = desk.take(Name::Segment(2)).unwrap();
        let answer = desk.answer(request);
        desk.tell(Input::Answer(ticket, answer));
        let (ticket, request) = desk.take(Name::Lease).unwrap();
        assert_eq!((desk.node.role(), desk.node.promise()), (Role::Leader, None));
        desk.answer(request);
        desk.tell(Input::Answer(ticket, Answer::Unknown));
        assert_eq!((desk.node.role(), desk.node.promise()), (Role::Leader, None));
        desk.wait(1_000);
        assert_eq!(desk.lease().state, LeaseState::Released { heir }, "{ack:?}");
        assert_eq!((desk.node.role(), desk.lease().entry), (Role::Standby, 2));
        // nobody wants it, so this node may have it back after a while
        desk.wait(8_000);
        assert_eq!((desk.node.role(), desk.lease().epoch), (Role::Standby, 1));
        desk.wait(3_000);
        assert_eq!((desk.node.role(), desk.lease().epoch), (Role::Leader, 2));
    }
}

#[test]
fn a_shutdown_releases_the_lease_and_the_next_start_leads_at_once() {
    let mut desk = Desk::leader();
    desk.write(2);
    desk.pack();
    desk.serve();
    desk.tell(Input::ShutDown);
    desk.wait(300);
    assert_eq!(desk.node.stopped(), Some(Stop::ShutDown));
    let mark = mark(ARCHIVE, 1, 0, &[1]);
    let mut desk = Desk::new(Config { me: Id(4), ..config() }, 2, mark, std::mem::take(&mut desk.store));
    desk.wait(1_500);
    assert_eq!((desk.node.role(), desk.lease().epoch), (Role::Leader, 2));
}
