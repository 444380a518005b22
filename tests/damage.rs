//! An LMDB file that was damaged by chance, under an engine in a process of its own: each key has its value or an error,
//! never another answer, and no signal ends the process.
//!
//! `LARDER_TEST_SEED` repeats a run; `LARDER_DAMAGE_CASES` is how many files are damaged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::fs;
use std::ops::{Bound, ControlFlow};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use larder::engine::scan::Range;
use larder::engine::{Engine, Expiry, Options};
use larder::record::Compression;
use larder::store::{Key, Value};
use support::Random;

const CASES: u64 = 25;
const KEYS: usize = 1_500;
const PAGE: usize = 4_096;
const NOW_MS: u64 = 1_000_000;
/// Tells the child where its data is.
const DIRECTORY: &str = "LARDER_DAMAGED_DIRECTORY";

/// Segments are copied with every case, so they are small.
fn options(dir: &Path) -> Options {
    Options { journal_segment_bytes: 1 << 20, compression: Compression::Off, ..Options::new(dir) }
}

fn key(at: usize) -> Key {
    // of different lengths, so that pages are filled differently
    let name = format!("key:{at:05}{}", "+".repeat(at * 7 % 40));
    Key::new(0, Bytes::from(name))
}

fn value(at: usize) -> String {
    let bytes = if at % 100 == 3 { 9_000 } else { 20 + at * 13 % 300 };
    format!("\"{at}{}\"", "v".repeat(bytes))
}

fn expiry(at: usize) -> Expiry {
    if at.is_multiple_of(3) { Expiry::At(4_000_000_000_000 + at as u64) } else { Expiry::Never }
}

fn put(engine: &Engine, at: usize, text: String) -> Result<(), larder::engine::Error> {
    let key = key(at);
    let put = |txn: &mut larder::engine::WriteTxn<'_>| txn.put(&key, Value::unchecked(text), expiry(at));
    engine.writer().write(NOW_MS, std::slice::from_ref(&key), put).map(drop)
}

/// A directory whose file has trees of several levels and, after several rounds, free pages; nothing is left in its journal.
fn directory(rounds: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(dir.path())).unwrap();
    for round in 0..rounds {
        (0..KEYS)
            .filter(|at| round == 0 || at % 7 == round)
            .for_each(|at| put(&engine, at, value(at)).unwrap());
        engine.writer().checkpoint().unwrap();
    }
    engine.close().unwrap();
    dir
}

fn file_of(dir: &Path) -> PathBuf {
    dir.join("lmdb/data.mdb")
}

/// Damages a file in one of the ways that disks and people do.
fn damage(file: &mut Vec<u8>, random: &mut Random) -> String {
    let pages = file.len() / PAGE;
    let page = |random: &mut Random| 2 + random.below(pages - 2);
    let (a, b) = (page(random), page(random));
    match random.below(7) {
        0 => {
            let at = random.below(file.len());
            file[at] ^= 1 << random.below(8);
            format!("a bit of byte {} of page {}", at % PAGE, at / PAGE)
        }
        1 | 2 => {
            let at = random.below(200);
            file[a * PAGE + at] ^= 1 << random.below(8);
            format!("a bit of byte {at} of page {a}")
        }
        3 => {
            let whole = |page: usize| page * PAGE..(page + 1) * PAGE;
            let (left, right) = (file[whole(a)].to_vec(), file[whole(b)].to_vec());
            file[whole(a)].copy_from_slice(&right);
            file[whole(b)].copy_from_slice(&left);
            format!("pages {a} and {b} swapped")
        }
        4 => {
            // as a write to the wrong place would be that gives the page its number
            file.copy_within(b * PAGE + 8..(b + 1) * PAGE, a * PAGE + 8);
            format!("page {a} with what is on page {b}")
        }
        5 => {
            let sector = a * PAGE + random.below(8) * 512;
            file[sector..sector + 512].fill(0);
            format!("zeros in page {a}")
        }
        _ => {
            file.truncate(a * PAGE);
            format!("cut before page {a}")
        }
    }
}

#[test]
fn damaged_pages_never_answer_wrong_and_never_end_the_process() {
    let sound = directory(3);
    let sound_file = fs::read(file_of(sound.path())).unwrap();
    let mut random = Random::from_environment();
    let cases = std::env::var("LARDER_DAMAGE_CASES").map_or(CASES, |text| text.parse().unwrap());
    let mut ends = std::collections::BTreeMap::<i32, u64>::new();
    for case in 0..cases {
        let mut file = sound_file.clone();
        let what = damage(&mut file, &mut random);
        let dir = tempfile::tempdir().unwrap();
        for name in ["lmdb", "journal"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            for entry in fs::read_dir(sound.path().join(name)).unwrap().map(Result::unwrap) {
                fs::copy(entry.path(), dir.path().join(name).join(entry.file_name())).unwrap();
            }
        }
        fs::copy(sound.path().join("larder"), dir.path().join("larder")).unwrap();
        fs::write(file_of(dir.path()), &file).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lives_on_a_damaged_file", "--ignored", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&child.stdout);
        assert_eq!(child.status.signal(), None, "case {case}, {what}: {told}");
        assert!(child.status.success(), "case {case}, {what}: {told}");
        let end = ["end: refused", "end: errors", "end: unharmed"].iter().position(|end| told.contains(end));
        *ends.entry(end.expect("an end") as i32).or_default() += 1;
    }
    println!("refused, with errors, unharmed: {ends:?}");
}

/// What was reported once: two leaves changed places, their keys seemed to be absent, and were written anew.
#[test]
fn keys_of_swapped_pages_are_not_absent() {
    let sound = directory(1);
    let path = file_of(sound.path());
    let mut file = fs::read(&path).unwrap();
    let is_leaf_of_records = |page: &[u8]| {
        page[10..12] == [2, 0] && {
            let node = usize::from(page[16]) | usize::from(page[17]) << 8;
            page[node + 8..].starts_with(&[0, 0, 0, 0, 0, 1, b'k'])
        }
    };
    let leaves: Vec<usize> =
        (2..file.len() / PAGE).filter(|page| is_leaf_of_records(&file[page * PAGE..][..PAGE])).collect();
    let (a, b) = (leaves[leaves.len() / 3], leaves[leaves.len() / 2]);
    let (left, right) = (file[a * PAGE..][..PAGE].to_vec(), file[b * PAGE..][..PAGE].to_vec());
    file[a * PAGE..][..PAGE].copy_from_slice(&right);
    file[b * PAGE..][..PAGE].copy_from_slice(&left);
    fs::write(&path, file).unwrap();
    let engine = Engine::open(options(sound.path())).unwrap();
    let mut errors = 0;
    for at in 0..KEYS {
        let key = key(at);
        // as SETNX does
        let written = engine.writer().write(NOW_MS, std::slice::from_ref(&key), |txn| {
            let is_absent = txn.get(&key)?.is_none();
            assert!(!is_absent, "key {at} seems to be absent");
            Ok(())
        });
        match written {
            Err(larder::error::Error::Damaged(what)) => {
                assert!(what.contains("of the LMDB file has another page's number"), "{what}");
                errors += 1;
            }
            other => drop(other.unwrap()),
        }
    }
    assert!(errors > 10, "{errors} keys are on these pages");
    engine.close().unwrap();
}

/// What the child does. Alone it has nothing to do.
#[test]
#[ignore = "is run by the test above"]
fn lives_on_a_damaged_file() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let engine = match Engine::open(options(Path::new(&dir))) {
        Ok(engine) => engine,
        Err(error) => return println!("end: refused: {error}"),
    };
    let mut errors = 0;
    for at in 0..KEYS {
        let key = key(at);
        match engine.reader().read(NOW_MS, std::slice::from_ref(&key), |txn| txn.get(&key)) {
            Ok((Some(record), _)) => assert!(record.value == value(at), "key {at} has another value"),
            Ok((None, _)) => panic!("key {at} is absent"),
            Err(_) => errors += 1,
        }
    }
    let (mut seen, mut failed) = (0, 0);
    let range = Range { store: 0, prefix: b"", from: Bound::Unbounded, keys_max: usize::MAX, absent_free: 0 };
    let scanned = engine.reader().scan(NOW_MS, range, &|_| true, &mut |row| {
        match row.record() {
            Ok(Some(record)) => {
                let digits: String =
                    record.value[1..].iter().take_while(|b| b.is_ascii_digit()).map(|b| *b as char).collect();
                let at: usize = digits.parse().unwrap();
                assert!(record.value == value(at) && row.key() == &key(at).name[..]);
                seen += 1;
            }
            Ok(None) => panic!("a scanned record is absent"),
            Err(_) => failed += 1,
        }
        Ok::<_, larder::engine::Error>(ControlFlow::Continue(()))
    });
    assert!(scanned.is_err() || seen + failed == KEYS, "{seen} and {failed} of {KEYS} are seen");
    // writes everywhere: each is refused, or done; and what a checkpoint can't write stays in memory
    let refused = (0..KEYS).step_by(3).filter(|at| put(&engine, *at, value(*at)).is_err()).count();
    for at in (0..KEYS).step_by(41) {
        let key = key(at);
        let _ = engine.writer().write(NOW_MS, std::slice::from_ref(&key), |txn| txn.remove(&key));
    }
    let ended = engine.writer().checkpoint().and_then(|()| engine.close());
    let is_harmed = errors + failed + refused > 0 || scanned.is_err() || ended.is_err();
    println!("end: {}", if is_harmed { "errors" } else { "unharmed" });
}
