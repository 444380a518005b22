//! Restoring: a snapshot and the segments after it become a data directory.
//!
//! Everything is verified on the way: every object's checksums, that the segments follow each other without a gap, and
//! every record of the snapshot. The directory becomes a data directory with the last step; if anything is wrong, it is as
//! it was before.

use std::fs::File;
use std::future::poll_fn;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::archive::attach::write_mark;
use crate::archive::body;
use crate::archive::format::{
    Base, Kind, LOG, Listed, Manifest, Mark, Name, PartHeader, SegmentHeader, SnapshotContents, SnapshotName,
};
use crate::archive::objects::read_manifest;
use crate::archive::store::{Fault, Store};
use crate::archive::time;
use crate::engine::backup::restored::Restored;
use crate::engine::journal::{Fsync, Seq};
use crate::engine::{Engine, Options};
use crate::limits::{ARCHIVE_PART_BYTES_MAX, ARCHIVE_PARTS_MAX, ARCHIVE_SEGMENT_BYTES_MAX};

/// Up to where to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Latest,
    /// The last entry.
    Entry(Seq),
    /// A time, in ms since 1970 by the clock of the server that wrote the archive.
    Time(u64),
}

/// What a restore has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The last entry.
    pub entry: Seq,
    /// When it, or one after it that was archived together with it, had happened; 0 if there is none.
    pub time_ms: u64,
    pub snapshot: Option<SnapshotName>,
    pub segments: u64,
}

/// How far a restore has come.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// So many bytes of objects are going to be read.
    Total(u64),
    /// So many more were read.
    Read(u64),
}

/// What an archive consists of, as its manifest and its listing say.
#[derive(Debug, Clone)]
pub struct Contents {
    pub manifest: Manifest,
    /// Numbers and bytes of the segments, from the first that has to exist on.
    pub segments: Vec<(u64, u64)>,
}

/// The first object of an archive, or what follows from it.
pub fn contents(store: &dyn Store) -> Result<Contents, String> {
    let place = store.place();
    let failed = |fault: Fault| format!("the archive {place} can't be read: {fault}");
    let manifest =
        read_manifest(store).map_err(failed)?.map_err(|error| format!("the archive {place}: {error}"))?;
    let Some((manifest, _)) = manifest else {
        return Err(format!("there is no archive at {place} (it has no manifest)"));
    };
    let mut segments = Vec::new();
    for listed in store.list(LOG).map_err(failed)? {
        match Name::parse(&listed.name) {
            Some(Name::Segment(number)) if number >= manifest.first_segment => {
                segments.push((number, listed.bytes));
            }
            _ => {}
        }
    }
    Ok(Contents { manifest, segments })
}

impl Contents {
    /// The numbers that are missing between the first and the last segment.
    pub fn missing(&self) -> Vec<u64> {
        let (mut next, mut missing) = (self.manifest.first_segment, Vec::new());
        for (number, _) in &self.segments {
            // a damaged listing must not make a list without end
            missing.extend((next..*number).take(1_000));
            next = number + 1;
        }
        missing
    }
}

/// The header of a segment.
pub fn header(store: &dyn Store, number: u64) -> Result<SegmentHeader, String> {
    let name = Name::Segment(number).to_string();
    let start =
        store.start(&name, SegmentHeader::BYTES as u64).map_err(|fault| format!("{name}: {fault}"))?;
    let start = start.ok_or_else(|| format!("{name} is missing"))?;
    SegmentHeader::decode(&start).map_err(|error| format!("{name}: {error}"))
}

/// A segment that was read and verified.
pub struct Segment {
    pub header: SegmentHeader,
    plain: Vec<u8>,
    /// Bytes of the object.
    pub bytes: u64,
}

impl Segment {
    pub fn read(store: &dyn Store, manifest: &Manifest, number: u64) -> Result<Segment, String> {
        let name = Name::Segment(number).to_string();
        let found =
            store.get(&name, ARCHIVE_SEGMENT_BYTES_MAX).map_err(|fault| format!("{name}: {fault}"))?;
        let found = found.ok_or_else(|| format!("{name} is missing"))?;
        let (header, stored) =
            SegmentHeader::open(&found.bytes).map_err(|error| format!("{name}: {error}"))?;
        if header.archive != manifest.archive || header.number != number {
            return Err(format!(
                "{name} is segment {} of the archive {}, and does not belong there",
                header.number, header.archive
            ));
        }
        let plain = body::unpack(header.codec, stored, header.plain_bytes)
            .map_err(|why| format!("{name} is damaged: {why}"))?;
        if header.kind == Kind::Entries {
            body::entries(&plain, header.first, header.last)
                .map_err(|why| format!("{name} is damaged: {why}"))?;
        }
        Ok(Segment { header, plain, bytes: found.bytes.len() as u64 })
    }

    pub fn entries(&self) -> Vec<(Seq, &[u8])> {
        match self.header.kind {
            // they were verified when the segment was read
            Kind::Entries => {
                body::entries(&self.plain, self.header.first, self.header.last).unwrap_or_default()
            }
            Kind::Fence | Kind::Base => Vec::new(),
        }
    }

    /// The snapshot behind which the log goes on, if it does.
    pub fn base(&self) -> Result<Option<SnapshotName>, String> {
        if self.header.kind != Kind::Base {
            return Ok(None);
        }
        let base = Base::decode(&self.plain);
        base.map(|base| Some(base.name))
            .map_err(|error| format!("{}: {error}", Name::Segment(self.header.number)))
    }
}

/// Follows the segments of a log, and checks that each follows the one before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chain {
    epoch: u64,
    /// The last entry; `None` before the first segment.
    last: Option<Seq>,
}

impl Chain {
    pub fn follow(&mut self, header: &SegmentHeader) -> Result<(), String> {
        let name = Name::Segment(header.number);
        if header.epoch < self.epoch {
            return Err(format!("{name} is of epoch {}, after one of epoch {}", header.epoch, self.epoch));
        }
        if let Some(last) = self.last {
            let goes_on = match header.kind {
                Kind::Base => header.first > last,
                Kind::Entries | Kind::Fence => header.first == last + 1,
            };
            if !goes_on {
                return Err(format!(
                    "{name} begins with entry {}, but entry {} comes next",
                    header.first,
                    last + 1
                ));
            }
        }
        (self.epoch, self.last) = (header.epoch, Some(header.last));
        Ok(())
    }
}

/// The list of a snapshot's parts.
pub fn snapshot_contents(
    store: &dyn Store,
    manifest: &Manifest,
    name: SnapshotName,
) -> Result<SnapshotContents, String> {
    let object = Name::Done(name).to_string();
    let bytes_max = 1024 + 16 * u64::from(ARCHIVE_PARTS_MAX);
    let found = store.get(&object, bytes_max).map_err(|fault| format!("{object}: {fault}"))?;
    let found = found.ok_or_else(|| format!("{object} is missing"))?;
    let contents = SnapshotContents::decode(&found.bytes).map_err(|error| format!("{object}: {error}"))?;
    if contents.archive != manifest.archive || contents.name != name {
        return Err(format!("{object} does not belong there"));
    }
    Ok(contents)
}

/// The bytes of a part of a snapshot.
pub fn part(store: &dyn Store, contents: &SnapshotContents, at: usize) -> Result<Vec<u8>, String> {
    let number = at as u32 + 1;
    let object = Name::Part(contents.name, number).to_string();
    let listed = contents.parts.get(at).ok_or_else(|| format!("{object} is not listed"))?;
    let bytes_max = 2 * u64::from(ARCHIVE_PART_BYTES_MAX);
    let found = store.get(&object, bytes_max).map_err(|fault| format!("{object}: {fault}"))?;
    let found = found.ok_or_else(|| format!("{object} is missing"))?;
    let (header, stored) = PartHeader::open(&found.bytes).map_err(|error| format!("{object}: {error}"))?;
    let is_it = header.archive == contents.archive
        && header.snapshot == contents.name
        && header.part == number
        && header.checksum == listed.checksum;
    if !is_it {
        return Err(format!("{object} does not belong there"));
    }
    body::unpack(header.codec, stored, header.plain_bytes.into())
        .map_err(|why| format!("{object} is damaged: {why}"))
}

/// Restores an archive into a directory that is empty or missing. `now_ms` is the time.
pub fn restore(
    store: &dyn Store,
    dir: &Path,
    until: Until,
    now_ms: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, String> {
    let contents = contents(store)?;
    let range = Range::read(store, &contents)?;
    let begin = range.begin(&contents.manifest, until, now_ms)?;
    let restored = Restored::begin(dir).map_err(|error| error.to_string())?;
    let restoring = Restoring { store, contents: &contents, until, restored: &restored };
    let mut begin = begin;
    let (outcome, number) = loop {
        match restoring.run(begin, progress)? {
            Step::Done(outcome, number) => break (outcome, number),
            Step::Base(name) => begin = Some(name),
        }
    };
    let mark =
        Mark { archive: contents.manifest.archive, segment: number, entry: outcome.entry, own: Vec::new() };
    write_mark(dir, &mark)?;
    restored.finish().map_err(|error| error.to_string())?;
    Ok(outcome)
}

/// From when to when, and from which entry to which, a restore is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first entry to which it is possible: that of the oldest snapshot, or 0.
    pub first: Seq,
    pub last: Seq,
    /// The oldest time; 0 if the archive has everything from the beginning.
    pub from_ms: u64,
    pub to_ms: u64,
}

impl Range {
    pub fn read(store: &dyn Store, contents: &Contents) -> Result<Range, String> {
        let oldest = contents.manifest.snapshots.first();
        let mut first = oldest.map_or(0, |oldest| oldest.name.entry);
        let mut from_ms = oldest.map_or(u64::MAX, |oldest| oldest.time_ms);
        let mut last = contents.manifest.snapshots.last().map_or(0, |newest| newest.name.entry);
        let mut to_ms = contents.manifest.snapshots.last().map_or(0, |newest| newest.time_ms);
        // fences have no time; and what comes before a damaged segment can be restored
        for (number, _) in contents.segments.iter().rev().take(1_000) {
            let Ok(header) = header(store, *number) else { continue };
            last = last.max(header.last);
            if header.kind == Kind::Entries {
                to_ms = to_ms.max(header.latest_ms);
                break;
            }
        }
        // a log that begins with the first entry needs no snapshot
        if contents.manifest.first_segment == 1
            && let Some((number, _)) =
                contents.segments.iter().take(1_000).find(|(number, _)| {
                    header(store, *number).is_ok_and(|header| header.kind == Kind::Entries)
                })
            && let begin = header(store, *number)?
            && begin.first == 1
        {
            (first, from_ms) = (0, begin.earliest_ms.min(from_ms));
        }
        from_ms = from_ms.min(to_ms);
        Ok(Range { first, last, from_ms, to_ms })
    }

    /// The snapshot to begin with; `None` for none.
    fn begin(&self, manifest: &Manifest, until: Until, now_ms: u64) -> Result<Option<SnapshotName>, String> {
        let newest = |fits: &dyn Fn(&Listed) -> bool| {
            manifest.snapshots.iter().rev().find(|listed| fits(listed)).map(|listed| listed.name)
        };
        match until {
            Until::Latest => Ok(newest(&|_| true)),
            Until::Entry(entry) if entry < self.first || entry > self.last => Err(format!(
                "entry {entry} is not in the archive: it has the entries from {} to {}",
                self.first, self.last
            )),
            Until::Entry(entry) => Ok(newest(&|listed| listed.name.entry <= entry)),
            Until::Time(ms) if ms < self.from_ms || ms > now_ms.max(self.to_ms) => Err(format!(
                "the archive can be restored from {} to {}",
                time::show(self.from_ms),
                time::show(self.to_ms)
            )),
            Until::Time(ms) => Ok(newest(&|listed| listed.time_ms <= ms)),
        }
    }
}

enum Step {
    /// With the last segment of which everything was restored.
    Done(Outcome, u64),
    /// The log goes on behind this snapshot.
    Base(SnapshotName),
}

struct Restoring<'a> {
    store: &'a dyn Store,
    contents: &'a Contents,
    until: Until,
    restored: &'a Restored,
}

impl Restoring<'_> {
    /// Restores from a snapshot on, or from the beginning.
    fn run(&self, begin: Option<SnapshotName>, progress: &mut dyn FnMut(Progress)) -> Result<Step, String> {
        let manifest = &self.contents.manifest;
        let listed = manifest.snapshots.iter().find(|listed| Some(listed.name) == begin);
        let mut next_segment = listed.map_or(manifest.first_segment, |listed| listed.next_segment);
        let first_segment = next_segment;
        let log = self.contents.segments.iter().filter(|(number, _)| *number >= first_segment);
        let log_bytes = log.clone().map(|(_, bytes)| bytes).sum::<u64>();
        progress(Progress::Total(log_bytes + listed.map_or(0, |listed| listed.bytes)));
        let mut time_ms = 0;
        if let Some(name) = begin {
            let contents = snapshot_contents(self.store, manifest, name)?;
            self.copy(&contents, progress)?;
            time_ms = contents.time_ms;
        }
        let engine = self.open()?;
        let mut outcome = Outcome { entry: engine.last_entry(), time_ms, snapshot: begin, segments: 0 };
        if let Some(name) = begin
            && outcome.entry != name.entry
        {
            return Err(format!("the snapshot {name} ends with entry {}", outcome.entry));
        }
        let mut chain = Chain::default();
        for (number, _) in log {
            if *number != next_segment {
                return Err(self.missing(next_segment, outcome.entry));
            }
            let segment = Segment::read(self.store, manifest, *number)?;
            progress(Progress::Read(segment.bytes));
            chain.follow(&segment.header)?;
            if self.is_beyond(&segment.header, outcome.entry) {
                break;
            }
            if let Some(name) = segment.base()?
                && name.entry > outcome.entry
            {
                if matches!(self.until, Until::Entry(entry) if entry < name.entry) {
                    return Err(format!(
                        "the archive has no entries from {} to {}: its log goes on behind the snapshot {name}",
                        outcome.entry + 1,
                        name.entry
                    ));
                }
                if let Until::Time(ms) = self.until
                    && snapshot_contents(self.store, manifest, name)?.time_ms > ms
                {
                    break;
                }
                drop(close(&engine));
                return Ok(Step::Base(name));
            }
            if segment.header.kind == Kind::Entries && segment.header.first > outcome.entry + 1 {
                return Err(format!(
                    "{} begins with entry {}: the entries from {} on are missing",
                    Name::Segment(*number),
                    segment.header.first,
                    outcome.entry + 1
                ));
            }
            self.apply(&engine, &segment, &mut outcome)?;
            next_segment = number + 1;
            if self.until == Until::Entry(outcome.entry) {
                break;
            }
        }
        if let Until::Entry(entry) = self.until
            && outcome.entry != entry
        {
            return Err(self.missing(next_segment, outcome.entry));
        }
        close(&engine)?;
        Ok(Step::Done(outcome, next_segment - 1))
    }

    fn missing(&self, number: u64, entry: Seq) -> String {
        format!(
            "the archive is incomplete: {} is missing, and with it the entries from {} on",
            Name::Segment(number),
            entry + 1
        )
    }

    /// Whether a segment comes after what is to be restored.
    fn is_beyond(&self, header: &SegmentHeader, entry: Seq) -> bool {
        match self.until {
            Until::Latest => false,
            Until::Entry(until) => entry >= until,
            Until::Time(ms) => header.kind == Kind::Entries && header.last > entry && header.latest_ms > ms,
        }
    }

    fn copy(&self, contents: &SnapshotContents, progress: &mut dyn FnMut(Progress)) -> Result<(), String> {
        let path = self.restored.begin_copy().map_err(|error| error.to_string())?;
        let failed = |error| format!("{} can't be written: {error}", path.display());
        let mut file = File::create(&path).map_err(failed)?;
        let mut written = 0;
        for (at, listed) in contents.parts.iter().enumerate() {
            let plain = part(self.store, contents, at)?;
            written += plain.len() as u64;
            file.write_all(&plain).map_err(failed)?;
            progress(Progress::Read(listed.bytes));
        }
        if written != contents.plain_bytes {
            return Err(format!(
                "the snapshot {} has {written} bytes instead of {}",
                contents.name, contents.plain_bytes
            ));
        }
        file.sync_all().map_err(failed)?;
        drop(file);
        let problems = self.restored.end_copy().map_err(|error| error.to_string())?;
        problems
            .first()
            .map_or(Ok(()), |problem| Err(format!("the snapshot {} is damaged: {problem}", contents.name)))
    }

    fn open(&self) -> Result<Arc<Engine>, String> {
        let options = Options { fsync: Fsync::No, ..Options::new(self.restored.folder()) };
        Engine::open(options).map_err(|error| error.to_string())
    }

    fn apply(&self, engine: &Arc<Engine>, segment: &Segment, outcome: &mut Outcome) -> Result<(), String> {
        let until = match self.until {
            Until::Entry(entry) => entry,
            Until::Latest | Until::Time(_) => Seq::MAX,
        };
        let writer = engine.writer();
        for (seq, entry) in segment.entries() {
            if seq <= outcome.entry || seq > until {
                continue;
            }
            block_on(poll_fn(|cx| engine.poll_room_for_entry(entry.len(), cx)))
                .map_err(|error| error.to_string())?;
            writer.apply_entry(seq, entry).map_err(|error| error.to_string())?;
            (outcome.entry, outcome.time_ms) = (seq, segment.header.latest_ms);
        }
        outcome.segments += 1;
        Ok(())
    }
}

fn close(engine: &Engine) -> Result<(), String> {
    engine.close().map_err(|error| format!("what was restored can't be written: {error}"))
}

/// Blocks this thread until a future is done.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
