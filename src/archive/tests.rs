//! An engine, its archive in a store that fails, and what a restore brings.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::archive::check::check;
use crate::archive::format::{Name, SegmentHeader};
use crate::archive::restore::{Outcome, Until, restore};
use crate::archive::store::faulty::{Faulty, Mishap};
use crate::archive::store::{self, Trouble};
use crate::archive::*;
use crate::engine::{Expiry, Fsync};
use crate::store::{Definition, Key, Value};

const LATE_MS: u64 = 1 << 45;

fn open(dir: &Path) -> Arc<Engine> {
    let archived = archived_before_start(dir).unwrap();
    Engine::open(crate::engine::Options { archived, ..crate::engine::Options::new(dir) }).unwrap()
}

fn options(ack: Ack) -> Options {
    Options {
        place: Place::Directory("unused".into()),
        interval: Duration::from_millis(5),
        keep: Duration::from_secs(3_600),
        ack,
        timeout: Duration::from_millis(300),
    }
}

fn start(engine: &Arc<Engine>, store: &Arc<dyn Store>, ack: Ack) -> Arc<Archive> {
    Archive::start_over(engine.clone(), options(ack), store.clone()).unwrap()
}

fn put(engine: &Engine, name: &str, value: &str) -> Seq {
    let key = Key::new(0, Bytes::copy_from_slice(name.as_bytes()));
    let value = Value::unchecked(Bytes::copy_from_slice(value.as_bytes()));
    let keys = std::slice::from_ref(&key);
    engine.writer().write(1, keys, |txn| txn.put(&key, value, Expiry::Never)).unwrap().1
}

fn contents(engine: &Engine) -> BTreeMap<String, String> {
    let keys: Vec<Key> = (0..400).map(|at| Key::new(0, format!("key:{at}").into())).collect();
    let read = |txn: &crate::engine::ReadTxn<'_>| {
        let mut found = BTreeMap::new();
        for key in &keys {
            if let Some(record) = txn.get(key)? {
                let name = String::from_utf8(key.name.to_vec()).unwrap();
                found.insert(name, String::from_utf8(record.value.to_vec()).unwrap());
            }
        }
        Ok::<_, crate::engine::Error>(found)
    };
    engine.reader().read(1, &keys, read).unwrap().0
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} does not come");
}

fn restored(store: &Arc<dyn Store>, dir: &Path, until: Until) -> Result<Outcome, String> {
    restore(&**store, dir, until, LATE_MS, &mut |_| {})
}

/// What a restore brings up to some entry.
fn state_at(store: &Arc<dyn Store>, until: Until) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("restored");
    restored(store, &dir, until).unwrap();
    assert_eq!(crate::engine::recovery::check::check(&dir).unwrap().problems, [""; 0]);
    let engine = open(&dir);
    let found = contents(&engine);
    engine.close().unwrap();
    found
}

#[test]
fn every_entry_can_be_restored() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::in_memory();
    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Local);
    let (mut model, mut states) = (BTreeMap::new(), Vec::new());
    for at in 0..60 {
        let (name, value) = (format!("key:{}", at % 17), format!("{at}"));
        if at % 10 == 7 {
            let key = Key::new(0, name.clone().into());
            engine.writer().write(1, std::slice::from_ref(&key), |txn| txn.remove(&key)).unwrap();
            model.remove(&name);
        } else {
            put(&engine, &name, &value);
            model.insert(name, value);
        }
        if at == 30 {
            engine.writer().write(1, &[], |txn| txn.flush(0)).unwrap();
            model.clear();
            let definition = Definition { name: Some("orders".into()), ..Definition::default() };
            engine.writer().write(1, &[], |txn| txn.define(None, definition)).unwrap();
        }
        if at % 20 == 5 {
            engine.writer().checkpoint().unwrap();
        }
        states.push((engine.last_entry(), model.clone()));
    }
    archive.close();
    drop(archive);
    engine.close().unwrap();
    for (entry, state) in states.iter().step_by(7).chain(states.last()) {
        assert_eq!(state_at(&store, Until::Entry(*entry)), *state, "{entry}");
    }
    assert_eq!(state_at(&store, Until::Latest), model);
    let report = check(&*store, &mut |_| {}).unwrap();
    assert_eq!((report.problems, report.entries), (vec![], states.last().unwrap().0));
}

#[test]
fn a_server_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::in_memory();
    for round in 0..4 {
        let engine = open(dir.path());
        let archive = start(&engine, &store, Ack::Local);
        for at in 0..20 {
            put(&engine, &format!("key:{at}"), &format!("{round}"));
        }
        if round % 2 == 0 {
            archive.close();
            engine.close().unwrap();
        } else {
            // the archive ends before the last entries, which only the journal has then
            archive.close();
            drop(archive);
            for at in 0..5 {
                put(&engine, &format!("key:{}", 100 + at), "\"late\"");
            }
            if round == 1 { engine.abandon() } else { engine.close().unwrap() }
        }
    }
    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Local);
    let expected = contents(&engine);
    archive.close();
    drop(archive);
    let last = engine.last_entry();
    engine.close().unwrap();
    let report = check(&*store, &mut |_| {}).unwrap();
    assert_eq!((report.problems, report.gaps, report.entries), (vec![], vec![], last));
    assert_eq!(state_at(&store, Until::Latest), expected);
}

#[test]
fn lost_answers_and_refused_uploads_lose_and_repeat_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let memory = store::in_memory();
    let faulty = Faulty::over(memory.clone());
    let store: Arc<dyn Store> = faulty.clone();
    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Local);
    let mishaps = [
        Some(Mishap::AnswerLost),
        None,
        Some(Mishap::Refused(Trouble::Throttled)),
        Some(Mishap::AnswerLost),
        None,
        Some(Mishap::Refused(Trouble::Unreachable)),
    ];
    faulty.plan(mishaps);
    for at in 0..30 {
        let seq = put(&engine, &format!("key:{at}"), "1");
        wait_for("the upload", || archive.figures().entry >= seq);
    }
    assert_eq!(archive.figures().failures, 4);
    assert_eq!(archive.figures().state(), "ok");
    archive.close();
    drop(archive);
    let expected = contents(&engine);
    engine.close().unwrap();
    let report = check(&*memory, &mut |_| {}).unwrap();
    assert_eq!((report.problems, report.entries), (vec![], 30));
    assert_eq!(state_at(&memory, Until::Latest), expected);
}

#[test]
fn a_reply_that_waits_for_the_archive_waits_and_then_fails() {
    let dir = tempfile::tempdir().unwrap();
    let memory = store::in_memory();
    let faulty = Faulty::over(memory.clone());
    let store: Arc<dyn Store> = faulty.clone();
    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Archived);
    let seq = put(&engine, "key:1", "1");
    engine.acknowledge(seq).unwrap();
    assert!(archive.figures().entry >= seq);

    faulty.set_outage(Some(Trouble::Unreachable));
    let seq = put(&engine, "key:2", "1");
    let refused = engine.acknowledge(seq).unwrap_err().to_string();
    assert!(
        refused.contains("has not confirmed") && refused.contains("may be in the archive or not"),
        "{refused}"
    );
    let key = Key::new(0, "key:3".into());
    let write = || {
        engine
            .writer()
            .write(1, std::slice::from_ref(&key), |txn| txn.put(&key, Value::integer(1), Expiry::Never))
    };
    let refused = write().map(drop).unwrap_err().to_string();
    assert!(refused.contains("unreachable"), "{refused}");
    assert_eq!(contents(&engine).len(), 2, "reads go on");

    faulty.set_outage(None);
    wait_for("the archive", || archive.figures().entry >= seq);
    wait_for("writes", || write().is_ok());
    engine.acknowledge(engine.last_entry()).unwrap();
    let expected = contents(&engine);
    assert_eq!(state_at(&memory, Until::Latest), expected);
    archive.close();
    drop(archive);
    engine.close().unwrap();
}

#[test]
fn what_the_journal_gave_up_is_healed_by_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::in_memory();
    // a directory with data, and without a journal of it
    let engine = Engine::open(crate::engine::Options::new(dir.path())).unwrap();
    for at in 0..20 {
        put(&engine, &format!("key:{at}"), "1");
    }
    engine.close().unwrap();
    drop(engine);
    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Local);
    wait_for("the first snapshot", || archive.figures().snapshot_entry == 20);
    for at in 20..30 {
        put(&engine, &format!("key:{at}"), "2");
    }
    wait_for("the upload", || archive.figures().entry == 30);
    assert_eq!(state_at(&store, Until::Latest), contents(&engine));
    assert_eq!(state_at(&store, Until::Entry(25)).len(), 25);
    archive.close();
    drop(archive);
    engine.close().unwrap();
    drop(engine);
    // without an archive, the journal is given up
    let engine = Engine::open(crate::engine::Options::new(dir.path())).unwrap();
    for at in 30..40 {
        put(&engine, &format!("key:{at}"), "3");
    }
    engine.close().unwrap();
    drop(engine);
    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Local);
    wait_for("the second snapshot", || archive.figures().snapshot_entry == 40);
    put(&engine, "key:0", "4");
    archive.close();
    drop(archive);
    let expected = contents(&engine);
    engine.close().unwrap();
    assert_eq!(state_at(&store, Until::Latest), expected);
    let report = check(&*store, &mut |_| {}).unwrap();
    assert_eq!((report.problems, report.gaps), (vec![], vec![(31, 40)]));
    let target = tempfile::tempdir().unwrap();
    let refused = restored(&store, target.path(), Until::Entry(35)).unwrap_err();
    assert!(refused.contains("no entries from 31 to 40"), "{refused}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

/// A server that was killed knows from its mark only how far the archive once had come.
#[test]
fn what_the_archive_has_at_the_start_is_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::in_memory();
    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Archived);
    let mark = fs::read(attach::mark_path(dir.path())).unwrap();
    engine.acknowledge(put(&engine, "key:1", "1")).unwrap();
    archive.close();
    drop(archive);
    engine.close().unwrap();
    drop(engine);
    fs::write(attach::mark_path(dir.path()), mark).unwrap();

    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Archived);
    let read = engine.clone();
    let reading = std::thread::spawn(move || read.acknowledge(read.last_entry()));
    wait_for("a reply", || reading.is_finished());
    reading.join().unwrap().unwrap();
    archive.close();
}

#[test]
fn damage_is_named_and_nothing_is_restored_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    let store = store::open(&Place::Directory(place.path().to_owned()), Duration::from_secs(9)).unwrap();
    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Archived);
    (0..9).for_each(|at| engine.acknowledge(put(&engine, &format!("key:{at}"), "\"value\"")).unwrap());
    archive.close();
    drop(archive);
    let expected = contents(&engine);
    engine.close().unwrap();
    assert_eq!(state_at(&store, Until::Latest), expected);
    let path = place.path().join(Name::Segment(4).to_string());
    let sound = fs::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        Some(bytes)
    };
    let cut = |to: usize| Some(sound[..to].to_vec());
    let header = SegmentHeader::BYTES;
    let other = fs::read(place.path().join(Name::Segment(5).to_string())).unwrap();
    for (what, bytes) in [
        ("missing", None),
        ("empty", cut(0)),
        ("a cut header", cut(header - 1)),
        ("no body", cut(header)),
        ("a cut body", cut(sound.len() - 1)),
        ("a flipped header", flipped(40)),
        ("a flipped body", flipped(header + 3)),
        ("another segment", Some(other)),
    ] {
        match &bytes {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        let target = tempfile::tempdir().unwrap();
        let refused = restored(&store, target.path(), Until::Latest).unwrap_err();
        assert!(refused.contains("log/00000000000000000004"), "{what}: {refused}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "{what}");
        let report = check(&*store, &mut |_| {}).unwrap();
        assert!(report.problems.iter().any(|what| what.contains("log/00000000000000000004")), "{what}");
        assert_eq!(state_at(&store, Until::Entry(2)).len(), 2, "{what}: what comes before is there");
        fs::write(&path, &sound).unwrap();
    }
    // what comes before a damaged end can be restored, too
    let last =
        fs::read_dir(place.path().join("log")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    fs::write(&last, b"x").unwrap();
    let target = tempfile::tempdir().unwrap();
    let refused = restored(&store, target.path(), Until::Latest).unwrap_err();
    assert!(refused.contains(last.file_name().unwrap().to_str().unwrap()), "{refused}");
    assert_eq!(state_at(&store, Until::Entry(2)).len(), 2);
    assert_eq!(check(&*store, &mut |_| {}).unwrap().problems.len(), 1);
}

#[test]
fn a_place_that_is_not_this_servers_is_refused_and_says_what_to_do() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store::in_memory();
    let engine = open(one.path());
    let archive = start(&engine, &store, Ack::Local);
    put(&engine, "key:1", "1");
    archive.close();
    drop(archive);
    let refused = |engine: &Arc<Engine>, store: &Arc<dyn Store>| {
        Archive::start_over(engine.clone(), options(Ack::Local), store.clone()).map(drop).unwrap_err()
    };
    let told = refused(&engine, &store::in_memory());
    assert!(told.contains("is empty") && told.contains("remove the file"), "{told}");
    let other = open(two.path());
    put(&other, "key:1", "1");
    let told = refused(&other, &store);
    assert!(told.contains("another server") && told.contains("larder restore"), "{told}");
    // a start that was refused changes nothing for the next one
    let its_own = store::in_memory();
    start(&other, &its_own, Ack::Local).close();
    let told = refused(&other, &store);
    assert!(told.contains("another server"), "{told}");
    let used = store::in_memory();
    used.create("thesis.txt", Bytes::from_static(b"x")).unwrap();
    let third = tempfile::tempdir().unwrap();
    let fresh = open(third.path());
    let told = refused(&fresh, &used);
    assert!(told.contains("thesis.txt"), "{told}");
    let newer = store::in_memory();
    let mut manifest = b"LARDERAM".to_vec();
    manifest.extend([0, 0, 0, 9]);
    newer.create("manifest", manifest.into()).unwrap();
    let told = refused(&fresh, &newer);
    assert!(told.contains("format 9") && told.contains("newer version"), "{told}");
    for engine in [engine, other, fresh] {
        engine.close().unwrap();
    }
}

/// A copy of a data directory takes the archive over, and the server on the original notices with its next upload.
#[test]
fn only_one_of_two_servers_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let store = store::in_memory();
    let engine = open(&one);
    let archive = start(&engine, &store, Ack::Archived);
    engine.acknowledge(put(&engine, "key:1", "1")).unwrap();
    restored(&store, &two, Until::Latest).unwrap();
    let other = open(&two);
    let taken = start(&other, &store, Ack::Archived);
    other.acknowledge(put(&other, "key:2", "2")).unwrap();

    let seq = put(&engine, "key:3", "3");
    let refused = engine.acknowledge(seq).unwrap_err().to_string();
    assert!(refused.contains("another server has written"), "{refused}");
    assert_eq!(archive.figures().state(), "stopped");
    assert_eq!(state_at(&store, Until::Latest), contents(&other));
    archive.close();
    drop(archive);
    taken.close();
    engine.close().unwrap();
    other.close().unwrap();
    drop(engine);
    // the original has an entry that the archive has not
    let engine = open(&one);
    let told = Archive::start_over(engine.clone(), options(Ack::Local), store.clone()).map(drop).unwrap_err();
    assert!(told.contains("out of date") && told.contains("larder restore"), "{told}");
    engine.close().unwrap();
}

#[test]
fn a_directory_does_what_an_object_store_does() {
    let dir = tempfile::tempdir().unwrap();
    let directory = store::open(&Place::Directory(dir.path().join("a/b")), Duration::from_secs(1)).unwrap();
    for store in [directory, store::in_memory()] {
        assert_eq!(store.get("x/y", 9).unwrap(), None);
        assert_eq!(store.list("").unwrap(), []);
        let put = |bytes: &'static [u8]| store.create("x/y", Bytes::from_static(bytes)).unwrap();
        let store::Put::Done(first) = put(b"one") else { panic!("not created") };
        assert_eq!(put(b"one"), store::Put::Refused);
        assert_eq!(store.get("x/y", 3).unwrap().unwrap().version, first);
        assert!(store.get("x/y", 2).is_err());
        assert_eq!(store.start("x/y", 2).unwrap().unwrap(), "on");
        let replace =
            |version: &store::Version| store.replace("x/y", Bytes::from_static(b"two"), version).unwrap();
        let store::Put::Done(second) = replace(&first) else { panic!("not replaced") };
        assert_eq!(replace(&first), store::Put::Refused);
        assert_eq!(
            store.get("x/y", 9).unwrap().unwrap(),
            store::Found { bytes: "two".into(), version: second }
        );
        store.create("x/z", Bytes::new()).unwrap();
        store.create("z", Bytes::new()).unwrap();
        let names =
            |folder: &str| store.list(folder).unwrap().into_iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(
            (names("x/"), names("")),
            (vec!["x/y".into(), "x/z".into()], ["x/y", "x/z", "z"].map(String::from).to_vec())
        );
        store.remove("x/y").unwrap();
        store.remove("x/y").unwrap();
        assert_eq!(names("x/"), ["x/z"]);
    }
}

#[test]
fn nothing_is_changed_by_a_restore_that_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::in_memory();
    let engine = open(&dir.path().join("data"));
    let archive = start(&engine, &store, Ack::Local);
    put(&engine, "key:1", "1");
    archive.close();
    drop(archive);
    engine.close().unwrap();
    let target = dir.path().join("target");
    let refused = restored(&store, &target, Until::Entry(99)).unwrap_err();
    assert!(refused.contains("has the entries from 0 to 1"), "{refused}");
    for ms in [1, u64::MAX] {
        let refused = restored(&store, &target, Until::Time(ms)).unwrap_err();
        assert!(refused.contains("can be restored from 20"), "{refused}");
    }
    let refused = restored(&store::in_memory(), &target, Until::Latest).unwrap_err();
    assert!(refused.contains("no archive"), "{refused}");
    assert!(!target.exists());
    fs::create_dir(&target).unwrap();
    fs::write(target.join("thesis.txt"), "x").unwrap();
    let refused = restored(&store, &target, Until::Latest).unwrap_err();
    assert!(refused.contains("not empty"), "{refused}");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
}

#[test]
fn replies_do_not_wait_for_the_archive_under_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Faulty::over(store::in_memory());
    let store: Arc<dyn Store> = faulty.clone();
    let engine = open(dir.path());
    let archive = start(&engine, &store, Ack::Local);
    faulty.set_outage(Some(Trouble::Full));
    for at in 0..20 {
        engine.acknowledge(put(&engine, &format!("key:{at}"), "1")).unwrap();
    }
    engine.writer().checkpoint().unwrap();
    wait_for("the trouble", || archive.figures().state() == "no space");
    archive.close();
    drop(archive);
    engine.close().unwrap();
    drop(engine);
    // all of it was kept
    faulty.set_outage(None);
    let engine = open(dir.path());
    engine.writer().set_fsync(Fsync::EverySec);
    start(&engine, &store, Ack::Local).close();
    assert_eq!(state_at(&store, Until::Latest), contents(&engine));
    let report = check(&*store, &mut |_| {}).unwrap();
    assert_eq!((report.gaps, report.entries), (vec![], 20));
    engine.close().unwrap();
}
