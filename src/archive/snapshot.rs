//! Snapshots: a copy of the database, uploaded in parts, from which a restore begins.
//!
//! The copy is what BACKUP makes: it shows one instant, and every record of it is verified. It needs space on the disk of
//! the data directory while it is uploaded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::time::Duration;

use crate::archive::Archive;
use crate::archive::attach::Attached;
use crate::archive::body;
use crate::archive::format::{Listed, Name, PartHeader, SnapshotContents, SnapshotName, StoredPart};
use crate::archive::objects::Ended;
use crate::engine::clock;
use crate::limits::{ARCHIVE_PARTS_MAX, ARCHIVE_SNAPSHOTS_MAX};

/// How long a snapshot that failed waits before it is tried again.
pub const RETRY_AFTER: Duration = Duration::from_secs(30);
/// The folder of the copy in the data directory.
const FOLDER: &str = "archive.copy";
/// Plain bytes of a part.
const PART_BYTES: usize = 16 * 1024 * 1024;

/// A snapshot that is complete in the archive, and not listed yet.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    pub name: SnapshotName,
    pub time_ms: u64,
    pub bytes: u64,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub enum Failed {
    /// It can be tried again.
    Here(String),
    Ended(Ended),
}

impl From<Ended> for Failed {
    fn from(ended: Ended) -> Failed {
        Failed::Ended(ended)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Here(format!("the copy can't be read: {error}"))
    }
}

/// Makes a snapshot and uploads it.
pub fn make(archive: &Archive, attached: &Attached) -> Result<Made, Failed> {
    let _one = archive.snapshotting.lock();
    let folder = archive.engine.dir().join(FOLDER);
    let _ = fs::remove_dir_all(&folder);
    let made = upload(archive, attached);
    let _ = fs::remove_dir_all(&folder);
    made
}

fn upload(archive: &Archive, attached: &Attached) -> Result<Made, Failed> {
    let status = archive.engine.reader().status();
    if let Some(free) = archive.engine.free_bytes()
        && free < status.file_live_bytes.saturating_add(status.file_live_bytes / 8)
    {
        return Err(Failed::Here(format!(
            "the disk has {free} bytes left, and the copy may need {}",
            status.file_live_bytes
        )));
    }
    let (file, backup) =
        archive.engine.writer().copy_inside(FOLDER).map_err(|error| Failed::Here(error.to_string()))?;
    // by now, all entries in it have happened
    let time_ms = clock::now_ms();
    let id = getrandom::u64().map_err(|error| Failed::Here(error.to_string()))?;
    let name = SnapshotName { entry: backup.through, id };
    let access = archive.access(attached);
    let (mut file, mut parts, mut plain_bytes, mut bytes) = (File::open(file)?, Vec::new(), 0, 0);
    loop {
        let mut plain = Vec::new();
        file.by_ref().take(PART_BYTES as u64).read_to_end(&mut plain)?;
        if plain.is_empty() {
            break;
        }
        if parts.len() >= ARCHIVE_PARTS_MAX as usize {
            return Err(Failed::Here("the database has too many parts for a snapshot".to_owned()));
        }
        let part = parts.len() as u32 + 1;
        plain_bytes += plain.len() as u64;
        let plain_part = plain.len() as u32;
        let (codec, stored) = body::pack(plain);
        let header = PartHeader {
            archive: attached.archive,
            snapshot: name,
            part,
            codec,
            plain_bytes: plain_part,
            stored_bytes: 0,
            checksum: 0,
        };
        let header = header.describe(&stored);
        let mut object = header.encode();
        object.extend_from_slice(&stored);
        let part_bytes = object.len() as u64;
        access.create(Name::Part(name, part), object.into())?;
        bytes += part_bytes;
        parts.push(StoredPart { bytes: part_bytes, checksum: header.checksum });
    }
    let contents = SnapshotContents { archive: attached.archive, name, time_ms, plain_bytes, parts };
    let done = contents.encode();
    bytes += done.len() as u64;
    access.create(Name::Done(name), done.into())?;
    Ok(Made { name, time_ms, bytes })
}

/// Lists a snapshot in the manifest, with the segment to follow on with. The log has to cover its entry.
pub fn list(archive: &Archive, attached: &Attached, made: Made, next_segment: u64) -> Result<(), Ended> {
    let listed = Listed { name: made.name, next_segment, time_ms: made.time_ms, bytes: made.bytes };
    archive.access(attached).change_manifest(|manifest| {
        let last = manifest.snapshots.last().map(|last| last.name.entry);
        // one more of the same entry adds nothing
        if last.is_none_or(|last| last < made.name.entry) {
            manifest.snapshots.push(listed);
            if manifest.snapshots.len() > ARCHIVE_SNAPSHOTS_MAX {
                // in the middle: the oldest one is what keeps the promise of archive-keep
                manifest.snapshots.remove(ARCHIVE_SNAPSHOTS_MAX / 2);
            }
        }
    })?;
    archive.status.change(|figures| {
        (figures.snapshot_entry, figures.snapshot_ms) = (made.name.entry, made.time_ms);
        (figures.snapshot_bytes, figures.log_bytes) = (made.bytes, 0);
    });
    tracing::info!(entry = made.name.entry, bytes = made.bytes, "the archive has a new snapshot");
    Ok(())
}
