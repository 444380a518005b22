//! Finds out what a journal's files hold, and makes it safe to continue from them. The rules are in the essay of the
//! journal's module.
//!
//! There are two steps: [`Survey::read`] reads every byte and changes nothing; [`adopt`] runs only after the survey
//! found no fault, and removes what must never be mistaken for data later. Runs on the thread that opens the journal,
//! before any other thread exists, with one segment in memory at a time.

pub mod inspect;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::format::{self, FRAMES_AT, Frame, HeaderFault, SegmentHeader};
use super::{JournalError, Seq};
use crate::engine::journal::segments::ledger::Used;
use crate::engine::journal::segments::manifest;
use crate::engine::journal::segments::manifest::{Found, Listed, Manifest};
use crate::engine::journal::segments::segment::{Maker, Name, Segment, UNFINISHED_SUFFIX, random};

/// What the engine does with each entry. Its errors are the engine's own, and abort the opening.
pub type Replay<'a, E> = dyn FnMut(Seq, &[u8]) -> Result<(), E> + 'a;

/// What the files hold.
#[derive(Debug)]
pub struct Survey {
    /// In the order of their ids.
    pub files: Vec<SurveyedFile>,
    /// The number that the next entry gets.
    pub next: Seq,
    pub replayed: u64,
    /// The last entry that could be read anywhere, 0 for none.
    pub last_found: Seq,
    /// What proves that entries are lost.
    pub lost: Option<JournalError>,
    /// Files that were being made.
    unfinished: Vec<String>,
    manifest: Found,
    /// Of the manifest, as the database has it.
    identity: Option<u64>,
}

/// What one file holds.
#[derive(Debug)]
pub struct SurveyedFile {
    pub name: Name,
    pub bytes: u64,
    pub header: Option<SegmentHeader>,
    /// First and last entry of the frames that can be read.
    pub entries: Option<(Seq, Seq)>,
    pub frames: usize,
    /// Bytes between or in front of frames that are no frame: damage, or a write that never finished.
    pub unreadable: Vec<Range<u64>>,
    /// The last entry replayed from here, or that would have been.
    replayed_through: Option<Seq>,
    /// Frames behind `after` that were not replayed.
    passed_over: Vec<PassedOver>,
}

#[derive(Debug)]
struct PassedOver {
    offset: u64,
    end: Seq,
    durable_through: Seq,
    /// Its entries were replayed from another frame.
    is_repeated: bool,
}

impl SurveyedFile {
    fn is_blank(&self) -> bool {
        self.header.is_none() && self.frames == 0 && self.unreadable.is_empty()
    }

    fn note(&mut self, frame: &Frame<'_>) {
        let header = frame.header;
        if frame.payload.is_none() {
            self.unreadable.push(frame.offset..frame.end_offset());
            return;
        }
        self.frames += 1;
        if header.entries > 0 {
            let first = self.entries.map_or(header.first, |(first, _)| first);
            self.entries = Some((first, header.end() - 1));
        }
    }
}

impl Survey {
    /// Reads all segments in `dir` and passes every entry after `after` that is safely there to `replay`, in order.
    /// `identity` is the journal's, if the database knows it.
    ///
    /// Changes nothing. Losses are reported in the survey, since they may be accepted; everything else is an error.
    pub fn read<E: From<JournalError>>(
        disk: &dyn Disk,
        dir: &Path,
        after: Seq,
        identity: Option<u64>,
        replay: &mut Replay<'_, E>,
    ) -> Result<Survey, E> {
        let listed = disk.list(dir).map_err(|error| JournalError::io("list", dir, error))?;
        let mut names: Vec<Name> = listed.iter().filter_map(|(name, _)| Name::parse(name)).collect();
        names.sort_unstable();
        let manifest = Found::read(disk, dir, listed.iter().map(|(name, _)| &name[..]))?;
        let mut walk = Walk {
            after,
            next: after + 1,
            replayed: 0,
            ids: names.iter().map(|name| name.id).collect(),
            expected_at: None,
            proof: None,
            lost: None,
        };
        // one buffer for all segments: memory that is new to the process costs as much as reading
        let (mut files, mut bytes) = (Vec::with_capacity(names.len()), Vec::new());
        for name in names {
            let path = dir.join(name.to_string());
            disk.read(&path, &mut bytes).map_err(|error| JournalError::io("read", &path, error))?;
            files.push(walk.file(name, &bytes, replay)?);
        }
        let last_found =
            files.iter().filter_map(|file| file.entries).map(|(_, last)| last).max().unwrap_or(0);
        if let Found::Sound(manifest) = &manifest {
            walk.prove(manifest.durable_through, Place::manifest());
        }
        walk.compare(&files, &manifest, identity);
        let unfinished =
            listed.into_iter().map(|(name, _)| name).filter(|name| name.ends_with(UNFINISHED_SUFFIX));
        Ok(Survey {
            files,
            next: walk.next,
            replayed: walk.replayed,
            last_found,
            unfinished: unfinished.collect(),
            manifest,
            identity,
            lost: walk.verdict(),
        })
    }
}

/// The way through all frames of all segments.
struct Walk {
    after: Seq,
    /// The first entry not found yet.
    next: Seq,
    replayed: u64,
    /// Of all segments there are.
    ids: BTreeSet<u64>,
    /// Where `next` should be: at the start of a segment, after a frame, or in a damaged one.
    expected_at: Option<Place>,
    /// The greatest durable-through seen, and where.
    proof: Option<(Seq, Place)>,
    lost: Option<JournalError>,
}

/// A file, and an offset in it.
#[derive(Clone)]
struct Place {
    file: String,
    offset: u64,
}

impl Place {
    fn of(name: Name, offset: u64) -> Place {
        Place { file: name.to_string(), offset }
    }

    fn manifest() -> Place {
        Place { file: manifest::FILE.to_owned(), offset: 0 }
    }
}

impl Walk {
    fn file<E: From<JournalError>>(
        &mut self,
        name: Name,
        bytes: &[u8],
        replay: &mut Replay<'_, E>,
    ) -> Result<SurveyedFile, E> {
        let mut file = SurveyedFile {
            name,
            bytes: bytes.len() as u64,
            header: self.header(name, bytes)?,
            entries: None,
            frames: 0,
            unreadable: Vec::new(),
            replayed_through: None,
            passed_over: Vec::new(),
        };
        let mut at = FRAMES_AT;
        // an entry that comes before the segment's first was never written there
        let first = file.header.map_or(0, |header| header.first);
        for frame in format::frames(bytes, name.salt).filter(|frame| frame.header.first >= first) {
            if frame.offset > at {
                file.unreadable.push(at..frame.offset);
            }
            at = frame.end_offset();
            self.frame(&mut file, &frame, replay)?;
        }
        Ok(file)
    }

    fn header(&mut self, name: Name, bytes: &[u8]) -> Result<Option<SegmentHeader>, JournalError> {
        let header = match SegmentHeader::decode(bytes, name.salt) {
            Ok(header) if header.id == name.id => header,
            Ok(_) | Err(HeaderFault::Invalid) => return Ok(None),
            Err(HeaderFault::Newer(version)) => {
                let file = name.to_string();
                return Err(JournalError::Newer { file, version, supported: format::VERSION });
            }
        };
        self.prove(header.durable_through, Place::of(name, 0));
        if header.first <= self.next {
            self.expected_at = Some(Place::of(name, FRAMES_AT));
        } else {
            let (file, seq) = (name.to_string(), self.next);
            if header.previous == 0 {
                self.lose(JournalError::Gap { file, first: header.first, seq });
            } else if !self.ids.contains(&header.previous) {
                self.lose(JournalError::Missing {
                    segment: header.previous,
                    file,
                    seq,
                    until: header.first - 1,
                });
            }
        }
        Ok(Some(header))
    }

    fn frame<E>(
        &mut self,
        file: &mut SurveyedFile,
        frame: &Frame<'_>,
        replay: &mut Replay<'_, E>,
    ) -> Result<(), E> {
        let (first, end) = (frame.header.first, frame.header.end());
        let is_whole = frame.payload.is_some();
        let holds_next = (first..end).contains(&self.next);
        self.prove(frame.header.durable_through, Place::of(file.name, frame.offset));
        file.note(frame);
        if is_whole && end == self.next {
            self.expected_at = Some(Place::of(file.name, frame.end_offset()));
        } else if !is_whole && holds_next {
            self.expected_at = Some(Place::of(file.name, frame.offset));
        }
        if end <= self.after + 1 {
            return Ok(()); // the database holds all of it
        }
        let is_repeated = is_whole && first < self.next && self.next > self.after + 1;
        if is_whole && holds_next && !is_repeated {
            for (seq, entry) in frame.entries().skip_while(|(seq, _)| *seq < self.next) {
                replay(seq, entry)?;
                self.replayed += 1;
            }
            self.next = end;
            self.expected_at = Some(Place::of(file.name, frame.end_offset()));
            file.replayed_through = Some(end - 1);
            return Ok(());
        }
        if is_repeated {
            self.lose(JournalError::Twice { file: file.name.to_string(), offset: frame.offset, seq: first });
        }
        let durable_through = frame.header.durable_through;
        file.passed_over.push(PassedOver { offset: frame.offset, end, durable_through, is_repeated });
        Ok(())
    }

    fn prove(&mut self, durable_through: Seq, place: Place) {
        if self.proof.as_ref().is_none_or(|(greatest, _)| durable_through > *greatest) {
            self.proof = Some((durable_through, place));
        }
    }

    /// Compares the files with what the manifest lists. Segments before the newest one with entries are not checked
    /// here: the segments themselves show whether one of those is missing.
    fn compare(&mut self, files: &[SurveyedFile], manifest: &Found, identity: Option<u64>) {
        let seq = self.next;
        let has_manifest = |header: &SegmentHeader| header.version >= format::VERSION_WITH_MANIFEST;
        let contents = match manifest {
            Found::Nothing => {
                if identity.is_some()
                    || files.iter().filter_map(|file| file.header.as_ref()).any(has_manifest)
                {
                    self.lose(JournalError::Manifest { what: "missing", seq });
                }
                return;
            }
            Found::Damaged => return self.lose(JournalError::Manifest { what: "damaged", seq }),
            Found::Sound(contents) => contents,
        };
        if identity.is_some_and(|identity| identity != contents.identity) {
            return self.lose(JournalError::Manifest { what: "another journal's", seq });
        }
        let is_used = |file: &&SurveyedFile| file.header.is_some() || file.frames > 0;
        let newest = files.iter().rfind(is_used).map_or(0, |file| file.name.id);
        for listed in contents.listed.iter().filter(|listed| listed.id >= newest) {
            let file = files.iter().find(|file| [listed.id, listed.before].contains(&file.name.id));
            match file {
                None => self.lose(JournalError::Lost { segment: listed.id, seq }),
                Some(file) if file.bytes < listed.bytes => self.lose(JournalError::Cut {
                    file: file.name.to_string(),
                    bytes: file.bytes,
                    expected: listed.bytes,
                    seq,
                }),
                Some(_) => {}
            }
        }
    }

    /// The first loss that is found is reported.
    fn lose(&mut self, error: JournalError) {
        self.lost.get_or_insert(error);
    }

    /// Whether the log may end where it does. It may not if something proves that the next entry had been synced.
    fn verdict(self) -> Option<JournalError> {
        let proven = self.proof.filter(|(durable_through, _)| *durable_through >= self.next);
        self.lost.or_else(|| {
            let (durable_through, proof) = proven?;
            let proven_by = format!("{} at offset {}", proof.file, proof.offset);
            let expected_at = self.expected_at.unwrap_or(Place { offset: FRAMES_AT, ..proof });
            Some(JournalError::Damaged {
                file: expected_at.file,
                offset: expected_at.offset,
                seq: self.next,
                proof: proven_by,
                durable_through,
            })
        })
    }
}

/// The files of a journal from which it is safe to continue.
#[derive(Debug)]
pub struct Adopted {
    /// With entries that were replayed, all synced.
    pub used: Vec<Used>,
    pub spares: VecDeque<Arc<Segment>>,
    pub discarded: Vec<Arc<Segment>>,
    /// The last segment in `used`, 0 for none.
    pub previous: u64,
    pub maker: Maker,
}

/// Makes what was replayed durable, and destroys what was written after it. If that stayed, it could verify at a later
/// recovery and be mistaken for the entries that get those numbers next.
///
/// Can be repeated after a crash at any point, with the same outcome: it only removes what does not count, last segment
/// first, so that no segment is ever seen to follow a missing one.
pub fn adopt(
    survey: Survey,
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segment_bytes: u64,
    copied: Seq,
) -> Result<Adopted, JournalError> {
    let found = match &survey.manifest {
        Found::Sound(contents) => Some(contents),
        Found::Nothing | Found::Damaged => None,
    };
    let last_id = survey.files.last().map_or(0, |file| file.name.id);
    let last_listed = found.and_then(|found| found.listed.last()).map_or(0, |listed| listed.id);
    let next_id = last_id.max(last_listed).saturating_add(1);
    let last_used =
        survey.files.iter().filter(|file| !file.is_blank()).map(|file| file.name.id).max().unwrap_or(0);
    let next = survey.next;
    let is_stale =
        |passed: &PassedOver| passed.is_repeated || passed.end > next || passed.durable_through >= next;
    let goes = |file: &SurveyedFile| {
        let belongs_behind =
            file.header.is_some_and(|header| header.first > next || header.durable_through >= next);
        file.replayed_through.is_none() && (belongs_behind || file.passed_over.iter().any(is_stale))
    };
    // Removed files must no longer be listed, and earlier notes must not count for the numbers that come next.
    let stays = survey.files.iter().filter(|file| !goes(file));
    let listed = stays.map(|file| Listed { id: file.name.id, before: file.name.id, bytes: file.bytes });
    let identity = match (survey.identity, found) {
        (Some(identity), _) => identity,
        (None, Some(found)) => found.identity,
        (None, None) => random(dir)?,
    };
    let durable_through = found.map_or(0, |found| found.durable_through).min(next - 1);
    let manifest = Manifest::begin(disk, dir, found, identity, listed, durable_through)?;
    let has_manifest = manifest.identity().is_some();
    let mut maker = Maker::new(Arc::clone(disk), dir, next_id, manifest);

    let (mut used, mut spares, mut discarded) = (Vec::new(), VecDeque::new(), Vec::new());
    for file in survey.files.iter().rev() {
        let path = dir.join(file.name.to_string());
        let stale: Vec<u64> =
            file.passed_over.iter().filter(|passed| is_stale(passed)).map(|passed| passed.offset).collect();
        if goes(file) {
            maker.remove(file.name)?;
            maker.sync_names()?;
            continue;
        }
        let opened = disk.open(&path).map_err(|error| JournalError::io("open", &path, error))?;
        let segment = Arc::new(Segment { name: file.name, bytes: file.bytes, file: opened });
        if let Some(last) = file.replayed_through {
            let blank = [0; format::FRAME_HEADER_BYTES];
            let mut erased = stale.iter().map(|offset| segment.file.write_at(&blank, *offset));
            let synced = erased.try_for_each(|erased| erased).and_then(|()| segment.file.sync());
            synced.map_err(|error| JournalError::io("write to", &path, error))?;
            used.push(Used { segment, last, dirty: false });
        } else if let Some((_, last)) = file.entries.filter(|(_, last)| *last > copied) {
            // the database has its entries, and their copy has not
            used.push(Used { segment, last, dirty: false });
        } else if file.is_blank() && file.name.id > last_used && file.bytes == segment_bytes && has_manifest {
            spares.push_front(segment);
        } else {
            discarded.push(segment);
        }
    }
    for name in survey.unfinished {
        let path = dir.join(name);
        disk.remove(&path).map_err(|error| JournalError::io("remove", &path, error))?;
    }
    used.reverse();
    let previous = used.last().map_or(0, |used| used.segment.name.id);
    Ok(Adopted { used, spares, discarded, previous, maker })
}
