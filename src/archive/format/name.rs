//! Names of objects, relative to the archive's prefix. Numbers have leading zeros, so listings are in their order.

use std::fmt;

/// The folder of the segments.
pub const LOG: &str = "log/";
/// The folder of the snapshots.
pub const SNAPSHOTS: &str = "snapshots/";

/// The name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    Manifest,
    Lease,
    /// A segment of the log; numbers begin with 1 and have no gaps.
    Segment(u64),
    /// A part of a snapshot; numbers begin with 1.
    Part(SnapshotName, u32),
    /// The list of a snapshot's parts, which is written last.
    Done(SnapshotName),
}

/// The folder of one snapshot below [`SNAPSHOTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotName {
    /// The journal entry up to which the snapshot has everything.
    pub entry: u64,
    /// Random, so that a second attempt never meets what the first one left.
    pub id: u64,
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Manifest => out.write_str("manifest"),
            Name::Lease => out.write_str("lease"),
            Name::Segment(number) => write!(out, "{LOG}{number:020}"),
            Name::Part(snapshot, part) => write!(out, "{SNAPSHOTS}{snapshot}/part-{part:08}"),
            Name::Done(snapshot) => write!(out, "{SNAPSHOTS}{snapshot}/done"),
        }
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:020}-{:016x}", self.entry, self.id)
    }
}

impl Name {
    /// The object with this name; `None` if an archive has no such object. Every object has only one name.
    pub fn parse(text: &str) -> Option<Name> {
        let name = match text {
            "manifest" => Name::Manifest,
            "lease" => Name::Lease,
            _ => {
                if let Some(number) = text.strip_prefix(LOG) {
                    Name::Segment(number.parse().ok()?)
                } else {
                    let (folder, file) = text.strip_prefix(SNAPSHOTS)?.split_once('/')?;
                    let snapshot = SnapshotName::parse(folder)?;
                    match file.strip_prefix("part-") {
                        Some(part) => Name::Part(snapshot, part.parse().ok()?),
                        None => Name::Done(snapshot),
                    }
                }
            }
        };
        (name.to_string() == text).then_some(name)
    }
}

impl SnapshotName {
    /// The snapshot in the folder with this name.
    pub fn parse(text: &str) -> Option<SnapshotName> {
        let (entry, id) = text.split_once('-')?;
        let name = SnapshotName { entry: entry.parse().ok()?, id: u64::from_str_radix(id, 16).ok()? };
        (name.to_string() == text).then_some(name)
    }
}
