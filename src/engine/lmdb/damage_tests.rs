//! Every kind of page with each interesting byte changed, under everything that reads and writes tables: never a wrong
//! answer, and no signal.
//!
//! What a signal would end runs in child processes, which go through many files each and say which one they are at. One
//! case of so many is taken, always the same ones; `LARDER_DAMAGE_EACH` says of how many, and 1 takes all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "LMDB writes numbers in the byte order of the machine")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::pages::{BRANCH, HEADER_BYTES, LEAF, NODE_HEADER_BYTES, OVERFLOW, u16_at};
use super::{DATA_FILE, Fault, Tables, WriteBatch, record_key};
use crate::engine::journal::disk::sim::SplitMix;
use crate::engine::lmdb::residence::Wait;
use crate::record::compress::Encoded;
use crate::record::header;
use crate::store::{Definition, Generation, StoreId};

const PAGE: usize = 4_096;
/// Long keys make trees of four levels out of few pages.
const KEYS: usize = 240;
const STORES: u32 = 90;
/// What is read and written, and what was dropped.
const LIVE: Generation = 1;
const DROPPED: Generation = 2;
/// Without `LARDER_DAMAGE_EACH`, one case of so many is taken.
const EACH: usize = 809;
/// Trees that are changed by chance, unless `LARDER_DAMAGE_TREES` says otherwise.
const TREES: u64 = 60;
/// Tells a child which cases are its own: the first one, and the distance to the next.
const CASES: &str = "LARDER_DAMAGE_CASES_OF_CHILD";

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

fn key(at: usize) -> Vec<u8> {
    let filling = if at.is_multiple_of(5) { 900 } else { 300 + at * 7 % 60 };
    format!("{at:04}{}", "k".repeat(filling)).into_bytes()
}

fn value(at: usize, round: usize) -> Vec<u8> {
    let bytes = if (at + round).is_multiple_of(20) { 9_000 } else { 20 + (at * 13 + round * 50) % 300 };
    format!("{at}:{round}:{}", "v".repeat(bytes)).into_bytes()
}

fn put(
    tables: &Tables,
    batch: &mut WriteBatch<'_>,
    of: Generation,
    at: usize,
    value: &[u8],
) -> Result<(), Fault> {
    let (key, mut record) = (key(at), Vec::new());
    let deadline = (at % 4 != 1).then_some(1_000_000 + (at * 37 % KEYS) as u64);
    header::write(&record_key(of, &key), 1, deadline, &Encoded::plain(value), &mut record);
    tables.put_record(batch, of, &key, deadline, &record).map(drop)
}

fn stores(count: u32) -> Vec<(StoreId, Generation, Definition)> {
    let name = |id: u32| Some(format!("{}{id}", "store".repeat(8)));
    let store = |id: u32| (id, 100 + u64::from(id), Definition { name: name(id), ..Definition::default() });
    (0..count).map(store).collect()
}

fn put_stores(tables: &Tables, batch: &mut WriteBatch<'_>, count: u32) -> Result<(), Fault> {
    let stores = stores(count);
    tables.put_stores(batch, stores.iter().map(|(id, generation, store)| (*id, *generation, store)))
}

/// A file with every kind of page, and what is in it.
fn environment(dir: &Path) -> Content {
    let tables = Tables::open(dir, None).unwrap();
    for round in 0..3 {
        let mut batch = tables.batch().unwrap();
        for at in (0..KEYS).filter(|at| round == 0 || at % 9 == round) {
            put(&tables, &mut batch, LIVE, at, &value(at, 0)).unwrap();
        }
        for at in (0..60).filter(|_| round == 0) {
            put(&tables, &mut batch, DROPPED, at, &value(at, 0)).unwrap();
        }
        for generation in 0..2_u64 * u64::from(STORES) {
            let usage = crate::store::Usage { records: generation, ..Default::default() };
            tables.put_usage(&mut batch, 100 + generation, &usage).unwrap();
            tables.retire(&mut batch, 1_000 + generation).unwrap();
        }
        tables.retire(&mut batch, DROPPED).unwrap();
        put_stores(&tables, &mut batch, STORES).unwrap();
        tables.put_meta_number(&mut batch, "checkpoint", 7).unwrap();
        tables.commit(batch).unwrap();
    }
    (0..KEYS).map(|at| (key(at), value(at, 0))).collect()
}

/// Places in the file that mean something to whoever walks its pages.
fn places(file: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    for (number, page) in file.chunks_exact(PAGE).enumerate() {
        let mut here: Vec<usize> = vec![0, 1, 5, 10, 11, 12, 13, 14, 15];
        let (flags, lower) = (u16_at(page, 10), usize::from(u16_at(page, 12)).min(PAGE));
        match flags {
            BRANCH | LEAF => {
                let pointers: Vec<usize> = (HEADER_BYTES..lower).step_by(2).collect();
                let some = [0, 1, pointers.len() / 2, pointers.len().saturating_sub(1)];
                for pointer in some.into_iter().filter_map(|at| pointers.get(at).copied()) {
                    let node = usize::from(u16_at(page, pointer));
                    here.extend([pointer, pointer + 1]);
                    // its header, and the begin of its key
                    here.extend(node..node + NODE_HEADER_BYTES + 8);
                    // the begin of its data: a tree, or where a long value is
                    let data = node + NODE_HEADER_BYTES + usize::from(u16_at(page, node + 6));
                    here.extend(data..data + 8);
                }
            }
            OVERFLOW => here.push(100),
            // a meta page
            _ if number < 2 => here.extend(HEADER_BYTES..HEADER_BYTES + 136),
            _ => here.clear(),
        }
        here.retain(|at| *at < PAGE);
        here.sort_unstable();
        here.dedup();
        places.extend(here.into_iter().map(|at| number * PAGE + at));
    }
    places
}

/// What may stand there instead.
fn replacements(byte: u8) -> impl Iterator<Item = u8> {
    let of = [byte ^ 1, byte ^ 2, byte ^ 0x10, byte ^ 0x80, 0, 0xFF, byte.wrapping_add(4)];
    let mut of: Vec<u8> = of.into_iter().filter(|other| *other != byte).collect();
    of.sort_unstable();
    of.dedup();
    of.into_iter()
}

/// What is done with a damaged file.
#[derive(Debug, Clone, Copy)]
enum Work {
    Look,
    Rewrite,
    Remove,
    RemoveHereAndThere,
    Reclaim,
    Copy,
}

const WORK: [Work; 6] =
    [Work::Look, Work::Rewrite, Work::Remove, Work::RemoveHereAndThere, Work::Reclaim, Work::Copy];

/// Does it, as far as it goes, and keeps `content` up to date with what was committed.
fn work(tables: &Tables, work: Work, content: &mut Content) -> Result<(), Fault> {
    match work {
        Work::Look => look(tables, content)?,
        Work::Rewrite => {
            // longer and shorter ones, and new ones in between: pages split
            let mut batch = tables.batch()?;
            let mut changed = content.clone();
            for at in (0..KEYS).filter(|at| at % 3 != 0).chain(KEYS..KEYS + 60) {
                put(tables, &mut batch, LIVE, at, &value(at, 1))?;
                changed.insert(key(at), value(at, 1));
            }
            for generation in (0..u64::from(STORES)).map(|store| 100 + store) {
                let usage = tables.usage_in(&mut batch, generation)?;
                tables.put_usage(&mut batch, generation, &usage)?;
            }
            put_stores(tables, &mut batch, STORES / 2)?;
            tables.put_meta_number(&mut batch, "checkpoint", 8)?;
            tables.put_timeline(&mut batch, &[1; 3_000])?;
            tables.commit(batch)?;
            *content = changed;
        }
        Work::Remove => {
            let all: Vec<usize> = (0..KEYS).filter(|at| at % 17 != 3).collect();
            remove(tables, &all, content)?;
        }
        Work::RemoveHereAndThere => {
            let scattered: Vec<usize> = (0..KEYS * 3 / 4).map(|step| step * 101 % KEYS).collect();
            scattered.chunks(9).try_for_each(|some| remove(tables, some, content))?;
        }
        Work::Reclaim => loop {
            let mut batch = tables.batch()?;
            let is_done = tables.reclaim(&mut batch, DROPPED, 25)?;
            tables.commit(batch)?;
            if is_done {
                break;
            }
        },
        Work::Copy => {
            let to = tempfile::tempdir().unwrap();
            let copy = Tables::open(to.path(), None).unwrap();
            tables.copy(&tables.snapshot()?, &copy)?;
        }
    }
    Ok(())
}

fn look(tables: &Tables, content: &Content) -> Result<(), Fault> {
    let snapshot = tables.snapshot()?;
    let mut seen = 0;
    for row in tables.records_from(&snapshot, LIVE, Bound::Unbounded)? {
        let (key, record) = row?;
        if let Ok(value) = record.value(LIVE, key) {
            assert_eq!(content.get(key).map(Vec::as_slice), Some(&value[..]));
        }
        seen += 1;
    }
    assert_eq!(seen, content.len(), "records are missing");
    tables.deadline_rows(&snapshot)?.try_for_each(|row| row.map(drop))?;
    let stores = tables.stores(&snapshot)?;
    assert_eq!(stores.len(), STORES as usize);
    stores.iter().try_for_each(|(_, generation, _)| tables.usage(&snapshot, *generation).map(drop))?;
    tables.retired(&snapshot)?;
    tables.checkpoint(&snapshot).map(drop)
}

fn remove(tables: &Tables, keys: &[usize], content: &mut Content) -> Result<(), Fault> {
    let mut batch = tables.batch()?;
    for at in keys {
        tables.remove_record(&mut batch, LIVE, &key(*at))?;
    }
    tables.commit(batch)?;
    keys.iter().for_each(|at| drop(content.remove(&key(*at))));
    Ok(())
}

/// Each key has the value that was last committed, or an error, also where branches on the way were seen before.
fn expect_nothing_wrong(tables: &Tables, content: &Content) {
    let snapshot = tables.snapshot().unwrap();
    let waits = [Wait::ForDisk, Wait::No, Wait::No].into_iter();
    for (wait, at) in waits.flat_map(|wait| (0..KEYS + 60).map(move |at| (wait, at))) {
        let key = key(at);
        let read = tables.record(&snapshot, LIVE, &key, wait);
        match read.and_then(|record| record.map(|record| record.value(LIVE, &key)).transpose()) {
            Ok(value) => {
                assert!(
                    value.as_deref() == content.get(&key).map(Vec::as_slice),
                    "key {at}: {}",
                    value.map_or("absent".into(), |value| value.escape_ascii().to_string())
                );
            }
            Err(_) => continue,
        }
    }
}

/// Works on the cases of a child, and says which one is next.
#[test]
#[ignore = "is run by the test below"]
fn lives_on_damaged_files() {
    let Ok(of_child) = std::env::var(CASES) else { return };
    let (first, step) = of_child.split_once(' ').expect("two numbers");
    let dir = tempfile::tempdir().unwrap();
    let content = environment(dir.path());
    let sound = std::fs::read(dir.path().join(DATA_FILE)).unwrap();
    for (number, case) in
        cases(&sound).enumerate().skip(first.parse().unwrap()).step_by(step.parse().unwrap())
    {
        let (place, byte, work_of_case) = case;
        println!(
            "case {number}: byte {} of page {} is {byte:#x}, {work_of_case:?}",
            place % PAGE,
            place / PAGE
        );
        let dir = tempfile::tempdir().unwrap();
        let mut file = sound.clone();
        file[place] = byte;
        std::fs::write(dir.path().join(DATA_FILE), &file).unwrap();
        let Ok(tables) = Tables::open(dir.path(), None) else { continue };
        let mut content = content.clone();
        let _ = work(&tables, work_of_case, &mut content);
        expect_nothing_wrong(&tables, &content);
    }
    println!("done");
}

/// Which place is changed to which byte, and what is done then.
fn cases(sound: &[u8]) -> impl Iterator<Item = (usize, u8, Work)> {
    let of_place = |place: usize| replacements(sound[place]).map(move |byte| (place, byte));
    let all: Vec<_> = places(sound).into_iter().flat_map(of_place).collect();
    let each = std::env::var("LARDER_DAMAGE_EACH").map_or(EACH, |each| each.parse().expect("a number"));
    let all = all.into_iter().flat_map(|(place, byte)| WORK.map(|work| (place, byte, work)));
    all.enumerate().filter(move |(number, _)| number % each == 0).map(|(_, case)| case)
}

#[test]
fn no_page_with_a_changed_byte_ends_the_process() {
    let bad = bad_cases("lives_on_damaged_files");
    assert!(bad.is_empty(), "{} cases:\n{}", bad.len(), bad.join("\n"));
}

/// A branch that becomes wrong in the moment for which it counts as verified neither hides a record nor ends the process.
#[test]
fn a_branch_that_changes_after_it_was_verified_misleads_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let content = environment(dir.path());
    let path = dir.path().join(DATA_FILE);
    let sound = std::fs::read(&path).unwrap();
    let tables = Tables::open(dir.path(), None).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let snapshot = tables.snapshot().unwrap();
    let read = |at: usize| {
        let key = key(at);
        let record = tables.record(&snapshot, LIVE, &key, Wait::No)?;
        record.map(|record| record.value(LIVE, &key)).transpose()
    };
    let is_branch = |place: &usize| u16_at(&sound[place / PAGE * PAGE..], 10) == BRANCH;
    let mut damaged = 0;
    for place in places(&sound).into_iter().filter(is_branch).step_by(3) {
        // remembers the branches again, because a second may have passed
        (0..KEYS).step_by(7).for_each(|at| drop(read(at)));
        for byte in [0, 0xFF, sound[place] ^ 4] {
            file.write_all_at(&[byte], place as u64).unwrap();
            for at in (0..KEYS).step_by(11) {
                match read(at) {
                    Ok(value) => {
                        let expected = content.get(&key(at)).map(Vec::as_slice);
                        assert!(value.as_deref() == expected, "key {at} with {byte:#x} at {place}");
                    }
                    Err(_) => damaged += 1,
                }
            }
        }
        file.write_all_at(&[sound[place]], place as u64).unwrap();
    }
    assert!(damaged > 0, "no damage had any effect");
}

/// Has two children go through all cases of a test; those that one did not survive.
fn bad_cases(test: &str) -> Vec<String> {
    const CHILDREN: usize = 2;
    std::thread::scope(|scope| {
        let children: Vec<_> = (0..CHILDREN)
            .map(|child| {
                scope.spawn(move || {
                    let (mut next, mut bad) = (child, Vec::new());
                    while let Some((case, what)) = first_bad_case(test, next, CHILDREN) {
                        bad.push(what);
                        next = case + CHILDREN;
                    }
                    bad
                })
            })
            .collect();
        children.into_iter().flat_map(|child| child.join().unwrap()).collect()
    })
}

/// Has a child work from a case on; the case that it did not survive, and how it ended.
fn first_bad_case(test: &str, first: usize, step: usize) -> Option<(usize, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("engine::lmdb::damage_tests::{test}"), "--ignored", "--nocapture"])
        .env(CASES, format!("{first} {step}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let last = lines.filter(|line| line.contains("case ") || line == "done").last().expect("a case");
    let output = child.wait_with_output().unwrap();
    if last == "done" {
        return None;
    }
    let number = last.split_once("case ").and_then(|(_, rest)| rest.split_once(':')).unwrap().0;
    let errors = String::from_utf8_lossy(&output.stderr);
    let panicked = errors.lines().skip_while(|line| !line.contains("panicked")).take(3).collect::<String>();
    let end = output.status.signal().map_or(panicked, |signal| format!("signal {signal}"));
    Some((number.parse().unwrap(), format!("{last}: {end}")))
}

/// What a batch does to the keys of a tree, by chance: runs that are removed, and single ones, and values that shrink and grow.
fn change_by_chance(tables: &Tables, batch: &mut WriteBatch<'_>, random: &mut SplitMix) -> Result<(), Fault> {
    for _ in 0..1 + random.below(8) {
        let (first, count) = (random.below(KEYS), random.below(90));
        let act = random.below(5);
        for at in first..(first + count).min(KEYS) {
            // backwards, too, since neighbours are taken from the left as a rule
            let at = if count % 2 == 0 { at } else { (2 * first + count).saturating_sub(at + 1) };
            match act {
                0 | 1 => drop(tables.remove_record(batch, LIVE, &key(at))?),
                2 if random.below(2) == 0 => drop(tables.remove_record(batch, LIVE, &key(at))?),
                2 | 3 => put_plain(tables, batch, at, &vec![b'v'; random.below(9)])?,
                _ => put_plain(tables, batch, at, &vec![b'v'; random.below(900)])?,
            }
        }
    }
    Ok(())
}

fn put_plain(tables: &Tables, batch: &mut WriteBatch<'_>, at: usize, value: &[u8]) -> Result<(), Fault> {
    let (key, mut record) = (key(at), Vec::new());
    header::write(&record_key(LIVE, &key), 1, None, &Encoded::plain(value), &mut record);
    tables.put_record(batch, LIVE, &key, None, &record).map(drop)
}

/// The pages of the tree of records: one that nobody looked at is overwritten before LMDB makes the same changes again.
#[test]
#[ignore = "is run by the test below"]
fn changes_trees_whose_other_pages_are_overwritten() {
    let Ok(of_child) = std::env::var(CASES) else { return };
    let (first, step) = of_child.split_once(' ').expect("two numbers");
    let trees = std::env::var("LARDER_DAMAGE_TREES").map_or(TREES, |trees| trees.parse().expect("a number"));
    for seed in (first.parse().unwrap()..trees).step_by(step.parse().unwrap()) {
        println!("case {seed}: a tree");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DATA_FILE);
        let mut random = SplitMix(seed);
        {
            let tables = Tables::open(dir.path(), None).unwrap();
            let mut batch = tables.batch().unwrap();
            (0..KEYS)
                .for_each(|at| put_plain(&tables, &mut batch, at, &vec![b'v'; random.below(700)]).unwrap());
            tables.commit(batch).unwrap();
            for _ in 0..random.below(4) {
                let mut batch = tables.batch().unwrap();
                change_by_chance(&tables, &mut batch, &mut random).unwrap();
                tables.commit(batch).unwrap();
            }
        }
        let mut file = std::fs::read(&path).unwrap();
        let (tree, vetted) = {
            let tables = Tables::open(dir.path(), None).unwrap();
            let tree = tables.record_pages();
            let mut batch = tables.batch().unwrap();
            change_by_chance(&tables, &mut batch, &mut SplitMix(seed)).unwrap();
            (tree, batch.vetted_pages())
        };
        // its root comes first, which a start looks at
        let others: Vec<_> = tree.into_iter().skip(1).filter(|page| !vetted.contains(page)).collect();
        others.iter().for_each(|page| file[*page as usize * PAGE..][..PAGE].fill(0xEE));
        std::fs::write(&path, file).unwrap();
        println!("case {seed}: {} pages overwritten, {} not", others.len(), vetted.len());
        let tables = Tables::open(dir.path(), None).unwrap();
        let mut batch = tables.batch().unwrap();
        change_by_chance(&tables, &mut batch, &mut SplitMix(seed)).unwrap();
        tables.commit(batch).unwrap();
    }
    println!("done");
}

#[test]
fn nothing_is_read_for_a_change_that_was_not_looked_at() {
    let bad = bad_cases("changes_trees_whose_other_pages_are_overwritten");
    assert!(bad.is_empty(), "{} cases:\n{}", bad.len(), bad.join("\n"));
}
