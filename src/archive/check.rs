//! Reads all of an archive back, and names what is missing or damaged.

use std::collections::BTreeSet;

use crate::archive::format::{Kind, Name, SNAPSHOTS, SnapshotName};
use crate::archive::restore::{Chain, Contents, Progress, Range, Segment, contents, part, snapshot_contents};
use crate::archive::store::Store;

/// What an archive has.
#[derive(Debug, Clone)]
pub struct Report {
    pub contents: Contents,
    pub range: Range,
    /// What is wrong, at most so much that a person reads it.
    pub problems: Vec<String>,
    pub entries: u64,
    /// Ranges of entries that the log lacks, because it goes on behind a snapshot.
    pub gaps: Vec<(u64, u64)>,
    /// Objects that no restore needs: they wait to be removed, or an upload was interrupted.
    pub leftovers: u64,
    /// Objects that are not an archive's.
    pub others: u64,
}

const PROBLEMS_MAX: usize = 1_000;

/// Reads an archive. Fails only if it can't be read at all; what is wrong is in the report.
pub fn check(store: &dyn Store, progress: &mut dyn FnMut(Progress)) -> Result<Report, String> {
    let contents = contents(store)?;
    let range = Range::read(store, &contents)?;
    let mut report = Report {
        problems: Vec::new(),
        entries: 0,
        gaps: Vec::new(),
        leftovers: 0,
        others: 0,
        contents: contents.clone(),
        range,
    };
    let snapshots_bytes: u64 = contents.manifest.snapshots.iter().map(|listed| listed.bytes).sum();
    progress(Progress::Total(
        snapshots_bytes + contents.segments.iter().map(|(_, bytes)| bytes).sum::<u64>(),
    ));
    for number in contents.missing() {
        report.problem(format!("{} is missing", Name::Segment(number)));
    }
    let mut known: BTreeSet<SnapshotName> = BTreeSet::new();
    for listed in &contents.manifest.snapshots {
        known.insert(listed.name);
        check_snapshot(store, &mut report, listed.name, progress);
    }
    check_log(store, &mut report, &mut known, progress);
    let all = store.list("").map_err(|fault| format!("the archive can't be listed: {fault}"))?;
    for listed in all {
        match Name::parse(&listed.name) {
            None if listed.name.starts_with(SNAPSHOTS) => report.leftovers += 1,
            None => report.others += 1,
            Some(Name::Segment(number)) if number < contents.manifest.first_segment => report.leftovers += 1,
            Some(Name::Part(name, _) | Name::Done(name)) if !known.contains(&name) => report.leftovers += 1,
            Some(_) => {}
        }
    }
    Ok(report)
}

fn check_snapshot(
    store: &dyn Store,
    report: &mut Report,
    name: SnapshotName,
    progress: &mut dyn FnMut(Progress),
) {
    let contents = match snapshot_contents(store, &report.contents.manifest, name) {
        Ok(contents) => contents,
        Err(why) => return report.problem(why),
    };
    let mut bytes = 0;
    for (at, listed) in contents.parts.iter().enumerate() {
        match part(store, &contents, at) {
            Ok(plain) => bytes += plain.len() as u64,
            Err(why) => report.problem(why),
        }
        progress(Progress::Read(listed.bytes));
    }
    if bytes != contents.plain_bytes && report.problems.is_empty() {
        report.problem(format!("the snapshot {name} has {bytes} bytes instead of {}", contents.plain_bytes));
    }
}

fn check_log(
    store: &dyn Store,
    report: &mut Report,
    known: &mut BTreeSet<SnapshotName>,
    progress: &mut dyn FnMut(Progress),
) {
    let (mut chain, mut last) = (Chain::default(), None);
    for (number, bytes) in report.contents.segments.clone() {
        progress(Progress::Read(bytes));
        let segment = match Segment::read(store, &report.contents.manifest, number) {
            Ok(segment) => segment,
            Err(why) => {
                report.problem(why);
                // what follows is compared with what comes after the damage
                chain = Chain::default();
                continue;
            }
        };
        if let Err(why) = chain.follow(&segment.header) {
            report.problem(why);
        }
        match segment.base() {
            Ok(None) => {}
            Ok(Some(name)) => {
                let before = last.map_or(0, |last: u64| last);
                if before > 0 {
                    report.gaps.push((before + 1, name.entry));
                }
                if known.insert(name) {
                    check_snapshot(store, report, name, progress);
                }
            }
            Err(why) => report.problem(why),
        }
        if segment.header.kind == Kind::Entries {
            report.entries += segment.header.last - segment.header.first + 1;
        }
        last = Some(segment.header.last);
    }
}

impl Report {
    fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        }
    }
}
