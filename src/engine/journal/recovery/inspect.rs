//! Inspects a journal without changing it, for `larder check`.
//!
//! Reads and verifies every frame, and judges the whole as opening would. If a server is writing to the journal, the
//! end of the log may look incomplete.

use std::ops::Range;
use std::path::Path;

use crate::engine::journal::disk::{Disk, RealDisk};
use crate::engine::journal::recovery::{Survey, SurveyedFile};
use crate::engine::journal::{JournalError, Seq};

/// What a journal's directory holds.
#[derive(Debug)]
pub struct Inspection {
    /// In the order of their use.
    pub segments: Vec<SegmentReport>,
    /// Entries that opening would replay.
    pub replayable: u64,
    /// The last entry there is after replay.
    pub last: Seq,
    /// Why the journal would not open.
    pub lost: Option<JournalError>,
}

/// What one segment holds.
#[derive(Debug, PartialEq, Eq)]
pub struct SegmentReport {
    pub file: String,
    pub bytes: u64,
    /// Whether its header verifies. A spare has none.
    pub has_header: bool,
    pub frames: usize,
    /// First and last entry that can be read.
    pub entries: Option<(Seq, Seq)>,
    /// Bytes between frames that belong to no frame: damage, or writes that never finished.
    pub unreadable: Vec<Range<u64>>,
}

/// Inspects the journal in `dir` for a database that holds everything up to `after`, and that has recorded this
/// identity of the journal, if any.
pub fn inspect(dir: &Path, after: Seq, identity: Option<u64>) -> Result<Inspection, JournalError> {
    inspect_on(&RealDisk, dir, after, identity)
}

pub(in crate::engine::journal) fn inspect_on(
    disk: &dyn Disk,
    dir: &Path,
    after: Seq,
    identity: Option<u64>,
) -> Result<Inspection, JournalError> {
    let survey = Survey::read::<JournalError>(disk, dir, after, identity, &mut |_, _| Ok(()))?;
    Ok(Inspection {
        segments: survey.files.into_iter().map(SegmentReport::from).collect(),
        replayable: survey.replayed,
        last: survey.next - 1,
        lost: survey.lost,
    })
}

impl From<SurveyedFile> for SegmentReport {
    fn from(file: SurveyedFile) -> SegmentReport {
        SegmentReport {
            file: file.name.to_string(),
            bytes: file.bytes,
            has_header: file.header.is_some(),
            frames: file.frames,
            entries: file.entries,
            unreadable: file.unreadable,
        }
    }
}
