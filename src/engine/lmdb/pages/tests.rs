//! Sound files, and files with a byte changed anywhere.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::*;
use crate::engine::journal::disk::sim::SplitMix;
use crate::engine::lmdb::{Snapshot, Tables};
use crate::record::compress::Encoded;
use crate::record::header::{self, RecordView};

/// An environment with tables of several levels, long values and free pages; its file.
fn environment(dir: &Path) -> PathBuf {
    let tables = Tables::open(dir, None).unwrap();
    for round in 0..4 {
        let mut batch = tables.batch().unwrap();
        for at in (0..600).filter(|at| round == 0 || at % 40 == round) {
            let (key, mut record) = (format!("key:{at:04}"), Vec::new());
            let value = vec![b'x'; if at % 60 == 1 { 9_000 } else { 40 + at % 200 }];
            let table_key = crate::engine::lmdb::record_key(1, key.as_bytes());
            header::write(&table_key, 1, None, &Encoded::plain(&value), &mut record);
            let deadline = (at % 3 == 0).then_some(1_000 + at as u64);
            tables.put_record(&mut batch, 1, key.as_bytes(), deadline, &record).unwrap();
        }
        for at in (round..600).step_by(150) {
            tables.remove_record(&mut batch, 1, format!("key:{at:04}").as_bytes()).unwrap();
        }
        tables.commit(batch).unwrap();
    }
    dir.join("data.mdb")
}

fn problems(path: &Path) -> Vec<Damage> {
    verify(path).unwrap()
}

#[test]
fn a_sound_file_has_no_problems() {
    let dir = tempfile::tempdir().unwrap();
    let file = environment(dir.path());
    assert_eq!(problems(&file), [""; 0]);
    assert_eq!(verify_entrance(&file).unwrap(), [""; 0]);
    assert_eq!(problems(&dir.path().join("missing")), [""; 0]);
}

/// All records, as LMDB gives them; a record that is damaged says so by itself.
fn content(tables: &Tables, snapshot: &Snapshot<'_>) -> Option<Vec<Vec<u8>>> {
    let mut rows = Vec::new();
    for row in tables.record_rows(snapshot).ok()? {
        let row = row.ok()?;
        let view = RecordView::parse(&crate::engine::lmdb::record_key(row.generation, row.key), row.bytes);
        rows.push([row.key, &view.ok()?.plain(None).ok()?].concat());
    }
    // a deadline has no checksum: that it fits its record is for the check of records
    for row in tables.deadline_rows(snapshot).ok()? {
        row.ok()?;
    }
    Some(rows)
}

#[test]
fn a_file_without_problems_can_be_read_and_holds_what_it_held() {
    let dir = tempfile::tempdir().unwrap();
    let file = environment(dir.path());
    let sound = std::fs::read(&file).unwrap();
    let expected = {
        let tables = Tables::open(dir.path(), None).unwrap();
        content(&tables, &tables.snapshot().unwrap()).unwrap()
    };
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = SplitMix(seed);
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..400 {
        let mut damaged = sound.clone();
        // mostly where structure is: a page's header, offsets and nodes' headers
        let page = random.below(damaged.len() / 4096) * 4096;
        let at = page + if random.below(3) == 0 { random.below(4096) } else { random.below(64) };
        damaged[at] ^= 1 << random.below(8);
        std::fs::write(&file, &damaged).unwrap();
        if !problems(&file).is_empty() {
            found += 1;
            continue;
        }
        harmless += 1;
        // a table of another name is refused here
        let Ok(tables) = Tables::open(dir.path(), None) else { continue };
        let content = content(&tables, &tables.snapshot().unwrap());
        assert!(content.is_none_or(|content| content == expected), "byte {at} changed unnoticed");
    }
    // about 70 and 330: far from both bounds, whatever the seed
    assert!(found > 20 && harmless > 100, "{found} found, {harmless} harmless");
}

#[test]
fn a_file_that_was_cut_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let file = environment(dir.path());
    let sound = std::fs::read(&file).unwrap();
    for bytes in [100, 4096, 5000, 8192, sound.len() / 2] {
        std::fs::write(&file, &sound[..bytes]).unwrap();
        assert!(!problems(&file).is_empty(), "{bytes} bytes");
    }
}

#[test]
fn damaged_meta_pages_are_noticed_at_the_entrance() {
    let dir = tempfile::tempdir().unwrap();
    let file = environment(dir.path());
    let sound = std::fs::read(&file).unwrap();
    /// Of the list of tables: a high byte of the page's number.
    const ROOT: usize = 16 + 72 + 40 + 3;
    // magic, last page, transaction, root
    for at in [16, 16 + 120 + 6, 16 + 128, ROOT] {
        for page in [0, 4096] {
            let mut damaged = sound.clone();
            damaged[page + at] ^= 0x40;
            std::fs::write(&file, &damaged).unwrap();
            let is_newest = u64_at(&sound, page + 16 + 128) > u64_at(&sound, (4096 - page) + 16 + 128);
            let is_about_the_whole = at != ROOT;
            if is_newest || is_about_the_whole {
                assert!(!verify_entrance(&file).unwrap().is_empty(), "byte {at} of page {page}");
            }
        }
    }
}
