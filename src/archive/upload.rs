//! The thread that follows the journal and uploads its entries, segment by segment.
//!
//! It reads entries that are durable here, so the archive is never ahead of the data directory. Under `archive-ack archived`
//! it uploads as soon as there is something, and whatever comes meanwhile goes into the next segment together: the same
//! group commit as that of the journal. Under `local` it waits for the interval between two uploads.
//!
//! A segment is uploaded until that has succeeded, under the same number and with the same bytes. So an upload whose answer
//! was lost finds its own segment, and one that another server was faster with finds other bytes: then this server has been
//! replaced, and uploads nothing more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::archive::Ack;
use crate::archive::attach::{Attached, write_mark};
use crate::archive::body;
use crate::archive::format::{Base, Codec, Kind, Mark, Name, SegmentHeader};
use crate::archive::objects::Ended;
use crate::archive::snapshot;
use crate::archive::{Archive, snapshot::Made};
use crate::engine::Engine;
use crate::engine::clock;
use crate::engine::journal::Seq;
use crate::engine::journal::copied::{Enough, Follower, Gone};

/// Entries of so many bytes make a segment.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// How long the thread waits for entries before it looks whether the server stops.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often the data directory notes how far the archive has come. The archive itself knows it better.
const MARK_INTERVAL: Duration = Duration::from_secs(60);

/// Uploads the entries of an engine.
pub struct Uploader<'a> {
    archive: &'a Archive,
    engine: Arc<Engine>,
    attached: Attached,
    follower: Follower,
    /// The archive has the entries up to this one.
    entry: Seq,
    /// The next segment.
    number: u64,
    marked_at: Instant,
}

impl<'a> Uploader<'a> {
    pub fn new(archive: &'a Archive, attached: Attached) -> Uploader<'a> {
        let engine = Arc::clone(&archive.engine);
        let (entry, number) = (attached.entry, attached.number);
        let follower = engine.follow(entry);
        archive.status.advanced(entry, number - 1);
        // there may be nothing to upload, and replies wait for what the archive has already
        archive.tell_engine(entry);
        Uploader { archive, engine, attached, follower, entry, number, marked_at: clock::monotonic() }
    }

    /// Runs until the server stops, or may no longer write to the archive.
    pub fn run(&mut self) -> Ended {
        loop {
            let is_last = self.wait();
            match self.upload() {
                Ok(()) => {}
                Err(ended) => {
                    self.mark();
                    return ended;
                }
            }
            if is_last {
                // and what was not durable before
                let ended = self.upload().err();
                self.mark();
                return ended.unwrap_or(Ended::Stopping);
            }
            if self.marked_at.elapsed() >= MARK_INTERVAL {
                self.mark();
            }
        }
    }

    /// Waits until it is time for the next upload. Returns whether that is the last one.
    fn wait(&self) -> bool {
        match self.archive.options.ack {
            Ack::Local => self.archive.stop.wait(self.archive.options.interval),
            Ack::Archived => {
                // an error is found again when the entries are made durable
                let _ = self.engine.wait_for_more(self.entry, PATIENCE);
                self.archive.stop.is_raised()
            }
        }
    }

    /// Uploads everything that there is by now.
    fn upload(&mut self) -> Result<(), Ended> {
        // a journal that has failed is restarted by a checkpoint; what it had lost is then found to be gone
        let Ok(through) = self.engine.wait_for_more(self.entry, Duration::ZERO) else { return Ok(()) };
        let now_ms = clock::now_ms();
        while self.entry < through {
            match self.take(through) {
                Ok(Some((last, plain))) => self.put_entries(last, plain, now_ms)?,
                Ok(None) => return Ok(()),
                Err(gone) => self.heal(&gone)?,
            }
        }
        Ok(())
    }

    /// The next entries, up to the last of them.
    fn take(&mut self, through: Seq) -> Result<Option<(Seq, Vec<u8>)>, Gone> {
        let (mut last, mut plain) = (self.entry, Vec::new());
        self.follower.read(through, |seq, entry| {
            plain.extend_from_slice(&(entry.len() as u32).to_be_bytes());
            plain.extend_from_slice(entry);
            last = seq;
            if plain.len() >= SEGMENT_BYTES { Enough::Yes } else { Enough::No }
        })?;
        Ok((last > self.entry).then_some((last, plain)))
    }

    fn put_entries(&mut self, last: Seq, plain: Vec<u8>, now_ms: u64) -> Result<(), Ended> {
        let plain_bytes = plain.len() as u64;
        let (codec, stored) = body::pack(plain);
        let header = SegmentHeader {
            last,
            earliest_ms: now_ms,
            latest_ms: now_ms,
            codec,
            plain_bytes,
            ..SegmentHeader::empty(
                self.attached.archive,
                self.attached.epoch,
                self.number,
                Kind::Entries,
                self.entry + 1,
            )
        };
        self.put(header, &stored)?;
        self.advance(last);
        Ok(())
    }

    fn put(&mut self, header: SegmentHeader, stored: &[u8]) -> Result<(), Ended> {
        let mut object = header.describe(stored).encode();
        object.extend_from_slice(stored);
        let bytes = object.len() as u64;
        self.archive.access(&self.attached).create(Name::Segment(header.number), Bytes::from(object))?;
        self.archive.status.change(|figures| figures.log_bytes += bytes);
        Ok(())
    }

    /// The archive has everything up to this entry, with the segment that was written last.
    fn advance(&mut self, entry: Seq) {
        self.archive.status.advanced(entry, self.number);
        self.number += 1;
        self.entry = entry;
        self.archive.tell_engine(entry);
    }

    /// The journal has not got the next entry any more: the log goes on behind a snapshot.
    fn heal(&mut self, gone: &Gone) -> Result<(), Ended> {
        if self.entry > 0 {
            tracing::warn!(%gone, "the archive goes on with a new snapshot, because the journal lacks entries");
            self.archive.status.change(|figures| figures.gaps += 1);
        }
        // from here on nothing is lost again
        self.engine.note_archived(self.engine.last_entry());
        let made = loop {
            match snapshot::make(self.archive, &self.attached) {
                Ok(made) => break made,
                Err(snapshot::Failed::Ended(ended)) => return Err(ended),
                Err(snapshot::Failed::Here(why)) => {
                    tracing::error!(why, "no snapshot can be made for the archive; the server tries again");
                    if self.archive.stop.wait(snapshot::RETRY_AFTER) {
                        return Err(Ended::Stopping);
                    }
                }
            }
        };
        let Made { name, time_ms, bytes } = made;
        let base = Base { name, time_ms, bytes }.encode();
        let header = SegmentHeader {
            codec: Codec::Plain,
            plain_bytes: base.len() as u64,
            ..SegmentHeader::empty(
                self.attached.archive,
                self.attached.epoch,
                self.number,
                Kind::Base,
                name.entry + 1,
            )
        };
        self.put(header, &base)?;
        let number = self.number;
        self.follower = self.engine.follow(name.entry);
        self.advance(name.entry);
        snapshot::list(self.archive, &self.attached, made, number)
    }

    fn mark(&mut self) {
        self.marked_at = clock::monotonic();
        let mark = Mark {
            archive: self.attached.archive,
            segment: self.number - 1,
            entry: self.entry,
            own: vec![self.attached.epoch],
        };
        if let Err(why) = write_mark(self.engine.dir(), &mark) {
            tracing::warn!(
                why,
                "the data directory can't note how far the archive has come; the next start finds out"
            );
        }
    }
}
