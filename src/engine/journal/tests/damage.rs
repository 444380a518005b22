//! Files that were cut, changed or removed: the journal refuses, or gives a prefix with everything that is proven.

use super::*;
use crate::engine::journal::disk::Disk;
use crate::engine::journal::format::{FRAME_HEADER_BYTES, FRAMES_AT, FrameHeader, SegmentHeader, VERSION};
use crate::engine::journal::recovery::inspect::inspect_on;
use crate::engine::journal::segments::segment::Name;

const ENTRIES: Seq = 30;

/// Three segments of entries, each acknowledged on its own.
fn image(closed: bool) -> Image {
    let (disk, journal) = new_journal(Fsync::Always);
    for seq in 1..=ENTRIES {
        append_and_wait(&journal, 1, 100 + 9 * seq as usize).unwrap();
    }
    eventually("the stock is full", || journal.status().spares == 2);
    if closed {
        journal.close().unwrap();
    }
    drop(journal);
    disk.image()
}

fn expected(entries: &Entries) -> bool {
    entries.iter().zip(1..).all(|((seq, bytes), expected)| {
        *seq == expected && *bytes == entry(1, expected, 100 + 9 * expected as usize)
    })
}

/// Paths of the segments with entries, oldest first, and where in each the frames end.
fn used(image: &Image) -> Vec<(PathBuf, usize)> {
    let inspection = inspect_on(&SimDisk::from_image(image), Path::new(DIR), 0, None).unwrap();
    let used = inspection.segments.into_iter().filter(|segment| segment.frames > 0);
    used.map(|segment| {
        let path = Path::new(DIR).join(segment.file);
        let end = image[&path].iter().rposition(|byte| *byte != 0).unwrap() + 1;
        (path, end)
    })
    .collect()
}

fn changed(image: &Image, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
    let mut image = image.clone();
    change(image.get_mut(path).unwrap());
    SimDisk::from_image(&image)
}

fn without(image: &Image, path: &Path) -> SimDisk {
    let mut image = image.clone();
    image.remove(path).unwrap();
    SimDisk::from_image(&image)
}

/// The journal as a build of format 1 would have left it: without a manifest.
fn of_format_1(image: &Image) -> Image {
    let mut image = image.clone();
    image.remove(&manifest()).unwrap();
    for (path, bytes) in &mut image {
        let name = path.file_name().unwrap().to_string_lossy();
        let salt = crate::engine::journal::segments::segment::Name::parse(&name).unwrap().salt;
        if bytes.starts_with(b"LARDERJL") {
            bytes[11] = 1;
            let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes[..56], salt);
            bytes[56..64].copy_from_slice(&checksum.to_be_bytes());
        }
    }
    image
}

fn manifest() -> PathBuf {
    Path::new(DIR).join("manifest")
}

/// What happens to the newest segment in use, to one made ahead, and to the manifest.
#[test]
fn a_newest_segment_that_was_lost_emptied_or_cut_is_noticed() {
    for closed in [false, true] {
        let image = image(closed);
        let (last, end) = used(&image).pop().unwrap();
        let name = last.file_name().unwrap().to_string_lossy().into_owned();
        let spare = image.keys().rfind(|path| **path != manifest()).unwrap();
        assert_ne!(*spare, last);
        for lost in [&last, spare] {
            let error = replayable(&without(&image, lost), 0).unwrap_err();
            assert!(matches!(error, JournalError::Lost { .. }), "{error}");
            for cut in [0, 64, 4096, end - 1, image[lost].len() - 1] {
                let error = replayable(&changed(&image, lost, |bytes| bytes.truncate(cut)), 0).unwrap_err();
                let JournalError::Cut { file, bytes, expected: 8192, .. } = error else { panic!("{error}") };
                assert!(lost.ends_with(&file) && bytes == cut as u64, "{file} {bytes}");
            }
        }
        // as long as it was, and empty: known from the note of an orderly end
        let blank = replayable(&changed(&image, &last, |bytes| bytes.fill(0)), 0);
        match blank {
            Err(JournalError::Damaged { proof, durable_through: ENTRIES, .. }) if closed => {
                assert!(proof.starts_with("manifest"), "{proof}");
            }
            Ok(entries) if !closed => assert!(expected(&entries)),
            other => panic!("{name}: {other:?}"),
        }
        for (damage, word) in [
            (without(&image, &manifest()), "missing"),
            (changed(&image, &manifest(), |bytes| bytes.fill(0)), "damaged"),
            (changed(&image, &manifest(), Vec::clear), "damaged"),
        ] {
            let error = replayable(&damage, 0).unwrap_err();
            assert!(matches!(error, JournalError::Manifest { what, .. } if what == word), "{error}");
        }
    }
}

#[test]
fn notes_prove_the_end_of_a_log_that_nothing_follows() {
    let disk = SimDisk::default();
    let often = Options { note_interval: Duration::from_millis(1), ..options(&disk) };
    let (journal, ..) = open_with(often, 0).unwrap();
    append_and_wait(&journal, 1, 100).unwrap();
    let noted = || replayable(&changed(&disk.image(), &used(&disk.image())[0].0, |bytes| bytes.fill(0)), 0);
    eventually("a note", || noted().is_err());
    assert!(matches!(noted(), Err(JournalError::Damaged { seq: 1, durable_through: 1, .. })));
    // it counts for this run only: a log that was cut off for good gives the number out again
    let disk = changed(&disk.image(), &used(&disk.image())[0].0, |bytes| bytes.fill(0));
    let (journal, recovery, _) = open_with(Options { salvage: true, ..options(&disk) }, 0).unwrap();
    assert_eq!(recovery.last, 0);
    drop(journal);
    assert_eq!(open(&disk.after_power_cut(0), 0).unwrap().2, []);
}

#[test]
fn a_journal_whose_files_are_all_gone_is_noticed_by_who_knows_it() {
    let (disk, journal) = new_journal(Fsync::Always);
    append_and_wait(&journal, 1, 10).unwrap();
    let identity = journal.identity();
    assert!(identity.is_some());
    journal.close().unwrap();
    let expecting = |disk: &SimDisk, identity| open_with(Options { identity, ..options(disk) }, 0).map(drop);
    expecting(&disk, identity).unwrap();
    for (disk, what) in [(SimDisk::default(), "missing"), (new_journal(Fsync::No).0, "another journal's")] {
        let error = expecting(&disk, identity).unwrap_err();
        assert!(matches!(error, JournalError::Manifest { what: found, .. } if found == what), "{error}");
        // salvaged once, it is this journal from then on
        let salvage = Options { salvage: true, identity, ..options(&disk) };
        assert_eq!(open_with(salvage, 0).unwrap().0.identity(), identity);
        expecting(&disk.after_power_cut(0), identity).unwrap();
    }
}

#[test]
fn a_journal_of_format_1_is_opened_and_has_a_manifest_from_then_on() {
    let disk = SimDisk::from_image(&of_format_1(&image(false)));
    let (journal, _, entries) = open(&disk, 0).unwrap();
    assert!(expected(&entries) && entries.len() as Seq == ENTRIES);
    append_and_wait(&journal, 2, 10).unwrap();
    let image = disk.after_power_cut(0).image();
    assert_eq!(replayable(&SimDisk::from_image(&image), 0).unwrap().len() as Seq, ENTRIES + 1);
    let (last, _) = used(&image).pop().unwrap();
    assert!(matches!(replayable(&without(&image, &last), 0), Err(JournalError::Lost { .. })));
}

/// A slot that a power cut tore leaves the other; nothing else is damaged by that.
#[test]
fn one_damaged_slot_of_the_manifest_does_not_matter() {
    let image = image(false);
    for slot in [0, 1] {
        let disk = changed(&image, &manifest(), |bytes| bytes[slot * 4096 + 100] ^= 1);
        assert_eq!(replayable(&disk, 0).unwrap().len() as Seq, ENTRIES, "slot {slot}");
    }
    let disk = changed(&image, &manifest(), |bytes| bytes[8192..].fill(7));
    assert_eq!(replayable(&disk, 0).unwrap().len() as Seq, ENTRIES);
}

#[test]
fn without_a_manifest_a_cut_last_segment_gives_what_stands_before() {
    let image = of_format_1(&image(false));
    let (last, end) = used(&image).pop().unwrap();
    let mut counts = std::collections::BTreeSet::new();
    for cut in 0..=end {
        let entries = replayable(&changed(&image, &last, |bytes| bytes.truncate(cut)), 0).unwrap();
        assert!(expected(&entries), "cut at {cut}");
        counts.insert(entries.len());
        if cut < end {
            assert!(entries.len() < ENTRIES as usize, "cut at {cut}");
        }
    }
    // Everything from the segment's start to its end was seen.
    assert_eq!(counts.last(), Some(&(ENTRIES as usize)));
    assert_eq!(counts.len(), counts.last().unwrap() - counts.first().unwrap() + 1);
}

#[test]
fn a_cut_log_goes_on_and_what_was_cut_off_stays_away() {
    let image = image(false);
    let (last, end) = used(&image).pop().unwrap();
    for cut in (0..=end).step_by(97) {
        let disk = changed(&image, &last, |bytes| bytes.truncate(cut));
        let salvage = Options { salvage: true, ..options(&disk) };
        let (journal, recovery, _) = open_with(salvage, 0).unwrap();
        append_and_wait(&journal, 2, 50).unwrap();
        let (_, _, entries) = open(&disk.after_power_cut(cut as u64), 0).unwrap();
        let (new, old) = entries.split_last().unwrap();
        assert!(expected(&old.to_vec()));
        assert_eq!(new, &(recovery.last + 1, entry(2, recovery.last + 1, 50)));
    }
}

#[test]
fn any_changed_byte_is_refused_or_costs_no_more_than_the_last_frame() {
    for closed in [false, true] {
        let image = image(closed);
        let segments = used(&image);
        let (mut refused, mut shortened) = (0, 0);
        for (path, end) in &segments {
            for at in (0..64).chain(4096..*end) {
                let disk = changed(&image, path, |bytes| bytes[at] ^= 1 << (at % 8));
                match replayable(&disk, 0) {
                    Ok(entries) => {
                        assert!(expected(&entries), "{path:?} changed at {at}");
                        let missing = ENTRIES as usize - entries.len();
                        // After an orderly close, not even the last entry can be lost unnoticed.
                        assert!(missing <= usize::from(!closed), "{path:?} changed at {at}");
                        shortened += missing;
                    }
                    Err(JournalError::Damaged { file, seq, .. }) => {
                        assert!(path.ends_with(&file), "{path:?} changed at {at}, {file} blamed");
                        assert!((1..=ENTRIES).contains(&seq));
                        refused += 1;
                    }
                    Err(other) => panic!("{path:?} changed at {at}: {other}"),
                }
            }
        }
        assert!(segments.len() >= 3 && refused > 5_000);
        assert_eq!(shortened > 0, !closed);
    }
}

#[test]
fn damage_in_what_the_database_holds_does_not_matter() {
    let image = image(true);
    let (first, end) = used(&image).remove(0);
    let disk = changed(&image, &first, |bytes| bytes[4096..end].fill(0x55));
    assert!(matches!(replayable(&disk, 0), Err(JournalError::Damaged { seq: 1, .. })));
    let held = replayable(&SimDisk::from_image(&image), 0).unwrap().len() as Seq;
    let entries = replayable(&disk, held - 3).unwrap();
    assert_eq!(entries.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [held - 2, held - 1, held]);
}

#[test]
fn damage_in_one_frame_of_a_segment_spares_the_frames_behind_it() {
    let image = image(true);
    let (first, _) = used(&image).remove(0);
    let disk = changed(&image, &first, |bytes| bytes[4096 + 60] ^= 1);
    assert!(matches!(replayable(&disk, 0), Err(JournalError::Damaged { seq: 1, offset: 4096, .. })));
    assert_eq!(replayable(&disk, 1).unwrap().len() as Seq, ENTRIES - 1);
}

#[test]
fn a_missing_segment_is_refused_unless_the_database_holds_it() {
    let image = image(true);
    let segments = used(&image);
    for missing in [0, 1] {
        let error = replayable(&without(&image, &segments[missing].0), 0).unwrap_err();
        assert!(
            matches!(error, JournalError::Missing { segment, .. } if segment == missing as u64 + 1),
            "{error}"
        );
    }
    // The last one: only the manifest tells of it.
    let error = replayable(&without(&image, &segments.last().unwrap().0), 0).unwrap_err();
    assert!(matches!(error, JournalError::Lost { .. }), "{error}");
    let without_first = without(&image, &segments[0].0);
    let first =
        inspect_on(&without_first, Path::new(DIR), ENTRIES, None).unwrap().segments[0].entries.unwrap().0;
    assert!(replayable(&without_first, first - 2).is_err());
    assert_eq!(replayable(&without_first, first - 1).unwrap()[0].0, first);
}

#[test]
fn a_database_older_than_the_journal_is_refused() {
    let disk = SimDisk::default();
    let (journal, ..) = open(&disk, 1_000).unwrap();
    append_and_wait(&journal, 1, 10).unwrap();
    let error = replayable(&disk, 500).unwrap_err();
    assert!(matches!(error, JournalError::Gap { first: 1001, seq: 501, .. }), "{error}");
    assert_eq!(replayable(&disk, 1_000).unwrap().len(), 1);
}

#[test]
fn a_database_ahead_of_the_journal_is_fine() {
    let disk = SimDisk::from_image(&image(true));
    let (journal, recovery, entries) = open(&disk, 1_000).unwrap();
    assert_eq!((entries.len(), recovery.last, recovery.last_found), (0, 1_000, ENTRIES));
    assert_eq!(append_and_wait(&journal, 1, 10), Ok(1_001));
    assert_eq!(replayable(&disk.after_power_cut(0), 1_000).unwrap().len(), 1);
}

#[test]
fn entries_that_are_there_twice_are_refused() {
    let mut image = image(true);
    let (first, _) = used(&image).remove(0);
    let name = first.file_name().unwrap().to_string_lossy().replace("0001-", "0099-");
    image.insert(first.with_file_name(name), image[&first].clone());
    let disk = SimDisk::from_image(&image);
    let error = replayable(&disk, 0).unwrap_err();
    assert!(matches!(error, JournalError::Twice { seq: 1, offset: 4096, .. }), "{error}");
    // once salvaged, they are there once
    let (journal, _, entries) = open_with(Options { salvage: true, ..options(&disk) }, 0).unwrap();
    assert!(expected(&entries) && !entries.is_empty());
    journal.close().unwrap();
    assert_eq!(replayable(&disk, 0).unwrap(), entries);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let image = image(true);
    let (first, _) = used(&image).remove(0);
    let salt =
        crate::engine::journal::segments::segment::Name::parse(&first.file_name().unwrap().to_string_lossy())
            .unwrap()
            .salt;
    let disk = changed(&image, &first, |bytes| {
        bytes[11] = 9;
        let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes[..56], salt);
        bytes[56..64].copy_from_slice(&checksum.to_be_bytes());
    });
    assert!(matches!(replayable(&disk, 0), Err(JournalError::Newer { version: 9, .. })));
}

/// A write that never finished, in front of one that did, and was never acknowledged either.
#[test]
fn leavings_of_a_crash_never_come_back() {
    let (disk, journal) = new_journal(Fsync::No);
    for _ in 1..=5 {
        append_and_wait(&journal, 1, 100).unwrap();
    }
    let image = disk.image();
    let (path, _) = used(&image).remove(0);
    // The third frame is lost, the fourth and fifth are there.
    let disk = changed(&image, &path, |bytes| bytes[4096 + 2 * 152..4096 + 3 * 152].fill(0));
    let (journal, recovery, _) = open(&disk, 0).unwrap();
    assert_eq!(recovery.last, 2);
    append_and_wait(&journal, 2, 100).unwrap();
    append_and_wait(&journal, 2, 100).unwrap();
    // The database holds the new third one: now the old fourth would fit.
    assert_eq!(replayable(&disk.after_kill(), 3).unwrap(), [(4, entry(2, 4, 100))]);
    // And before any of the new ones, the old ones are gone already.
    let (journal, recovery, _) = open(&disk.after_power_cut(1), 3).unwrap();
    assert_eq!((recovery.last, journal.last()), (4, 4));
}

#[test]
fn a_value_that_looks_like_a_frame_is_none() {
    let (disk, journal) = new_journal(Fsync::Always);
    append_and_wait(&journal, 1, 100).unwrap();
    let image = disk.image();
    let (path, end) = used(&image).remove(0);
    // A client stores what it saw of another journal, and the crash tears its entry in front.
    let stolen = image[&path][4096..end].to_vec();
    let (disk, journal) = new_journal(Fsync::Always);
    journal.append(Claim::Ordinary, |_, out| out.extend(&stolen)).unwrap();
    acknowledge(&journal, 1).unwrap();
    let image = disk.image();
    let (path, _) = used(&image).remove(0);
    let torn = changed(&image, &path, |bytes| bytes[4096] = 0);
    assert_eq!(replayable(&torn, 0).unwrap(), []);
}

#[test]
fn salvage_keeps_what_stands_before_the_damage() {
    let image = image(true);
    let (second, _) = used(&image).remove(1);
    let disk = changed(&image, &second, |bytes| bytes[4096 + 60] ^= 1);
    assert!(matches!(open(&disk, 0), Err(JournalError::Damaged { .. })));
    assert!(
        disk.image() == changed(&image, &second, |bytes| bytes[4096 + 60] ^= 1).image(),
        "refusing changes nothing"
    );
    let (journal, recovery, entries) = open_with(Options { salvage: true, ..options(&disk) }, 0).unwrap();
    assert!(expected(&entries) && !entries.is_empty());
    assert!(matches!(recovery.salvaged, Some(JournalError::Damaged { .. })));
    append_and_wait(&journal, 2, 10).unwrap();
    journal.close().unwrap();
    let (_, recovery, again) = open(&disk.after_power_cut(0), 0).unwrap();
    assert!(recovery.salvaged.is_none());
    assert_eq!(again.len(), entries.len() + 1);
}

#[test]
fn an_entry_before_the_first_of_its_segment_is_not_believed() {
    const SALT: u64 = 7;
    for (first, is_believed) in [(37, false), (38, true)] {
        let disk = SimDisk::default();
        disk.create_dir(Path::new(DIR)).unwrap();
        let file = disk.create(&Path::new(DIR).join(Name { id: 95, salt: SALT }.to_string())).unwrap();
        let header =
            SegmentHeader { version: VERSION - 1, id: 95, previous: 0, first: 38, durable_through: 8 };
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        frame.extend_from_slice(&[0; 8]);
        FrameHeader { entries: 2, first, durable_through: 8 }.seal(&mut frame, SALT, FRAMES_AT);
        file.write_at(&[0; 8192], 0).unwrap();
        file.write_at(&header.encode(SALT), 0).unwrap();
        file.write_at(&frame, FRAMES_AT).unwrap();
        let (journal, _, entries) = open_with(Options { salvage: true, ..options(&disk) }, 37).unwrap();
        assert_eq!(!entries.is_empty(), is_believed, "{first}");
        journal.close().unwrap();
        assert_eq!(replayable(&disk, 37).unwrap(), entries, "{first}");
    }
}

#[test]
fn inspecting_tells_of_the_damage_and_changes_nothing() {
    let image = image(true);
    let segments = used(&image);
    let disk = changed(&image, &segments[1].0, |bytes| bytes[4096] ^= 1);
    let before = disk.image();
    let inspection = inspect_on(&disk, Path::new(DIR), 0, None).unwrap();
    assert!(disk.image() == before);
    assert!(matches!(inspection.lost, Some(JournalError::Damaged { .. })));
    let damaged: Vec<_> =
        inspection.segments.iter().filter(|segment| !segment.unreadable.is_empty()).collect();
    assert_eq!(damaged.len(), 1);
    assert!(segments[1].0.ends_with(&damaged[0].file));
    assert_eq!(damaged[0].unreadable[0].start, 4096);
    let spares = inspection.segments.iter().filter(|segment| !segment.has_header && segment.frames == 0);
    assert_eq!(spares.count() + segments.len() + 1, image.len(), "and the manifest");
}
