//! Writing: from what is pending to frames in the page cache.
//!
//! Runs on the thread that holds the writer: the sync thread, or the thread of a waiting task if writing is enough.

use std::io;
use std::sync::Arc;

use super::core::Core;
use super::format::{FRAMES_AT, FrameHeader, SegmentHeader, VERSION};
use super::plan::Batch;
use super::{Fault, Fsync, JournalError, Seq};
use crate::engine::journal::segments::segment::Segment;
use crate::engine::journal::waiting::waiters::wake_all;
use crate::sync::atomic::Ordering;

/// How many writes a thread that came for its own entry makes in a row while others keep coming.
const WRITES_FOR_OTHERS: usize = 16;

/// The end of the log, where frames are written.
#[derive(Debug)]
pub struct Writer {
    active: Option<Arc<Segment>>,
    /// Where the next frame goes in the active segment.
    offset: u64,
    /// Id of the segment in use, or used last; 0 for none.
    previous: u64,
    /// Serves the next batch.
    buffer: Vec<u8>,
}

impl Writer {
    pub fn new(previous: u64) -> Writer {
        Writer { active: None, offset: 0, previous, buffer: Vec::new() }
    }
}

impl Core {
    /// Writes what is pending, unless someone else is doing so.
    ///
    /// Nobody waits in vain: a thread that finds the mutex taken registers its task and calls again, and the thread
    /// that held it checks for registered tasks after releasing it. In any order, one of the two sees the other.
    pub fn write_unless_busy(&self) {
        for _ in 0..WRITES_FOR_OTHERS {
            let Some(mut writer) = self.writer.try_lock() else { return };
            let written = self.write_pending(&mut writer);
            drop(writer);
            if written.is_err() || !self.is_write_wanted() {
                return;
            }
        }
        // This thread has its own work to do, so all waiting tasks have to check for themselves.
        let waiting = self.waiters.lock().take_through(Seq::MAX);
        wake_all(waiting);
    }

    /// Whether a task registered while the writer was held, and waits to be served.
    pub fn is_write_wanted(&self) -> bool {
        self.fsync() != Fsync::Always && !self.waiters.lock().is_empty()
    }

    /// Takes a segment from the stock, writes its header and syncs it. Returns the room in it. If the stock is empty,
    /// there is none, and the first append finds a segment or is refused.
    pub fn begin_segment(&self) -> Result<u64, JournalError> {
        let mut writer = self.writer.lock();
        let Some(segment) = self.plan.lock().stock.spares.pop_front() else {
            return Ok(0);
        };
        let room = segment.capacity();
        self.activate(&mut writer, segment)?;
        let dirty = self.ledger.lock().take_dirty();
        self.sync_segments(&dirty)?;
        Ok(room)
    }

    /// Continues in a small segment, if all entries are durable elsewhere and none was appended since the journal was
    /// told to rest. Returns whether it did. The previous segment can then be removed.
    pub fn rest_in(&self, small: Arc<Segment>) -> Result<bool, Fault> {
        let mut writer = self.writer.lock();
        if !self.plan.lock().rest(self.released(), small.capacity()) {
            return Ok(false);
        }
        // what is taken from here on is written behind this, since the writer is held
        self.activate(&mut writer, small).map_err(|error| self.fail(error.to_string()))?;
        drop(writer);
        self.release(self.released());
        Ok(true)
    }

    /// Writes a frame without entries after the last one, as proof that everything was synced, so that damage to the
    /// end of the log cannot be mistaken for a write that never finished.
    pub fn leave_mark(&self) -> Result<(), Fault> {
        let _turn = self.turn.lock();
        let mut writer = self.writer.lock();
        let Some(mut mark) = self.plan.lock().mark() else {
            return Ok(());
        };
        let synced = self.write_batch(&mut writer, &mut mark).and_then(|()| {
            let dirty = self.ledger.lock().take_dirty();
            self.sync_segments(&dirty)
        });
        synced.map_err(|error| self.fail(error.to_string()))
    }

    /// Writes what is pending into the page cache, a frame for each segment it goes to.
    pub fn write_pending(&self, writer: &mut Writer) -> Result<(), Fault> {
        let batches = {
            let mut plan = self.plan.lock();
            self.pending_bytes.store(0, Ordering::Relaxed);
            plan.fetch(&mut writer.buffer)
        };
        for mut batch in batches {
            let written = self.write_batch(writer, &mut batch);
            written.map_err(|error| self.fail(error.to_string()))?;
            writer.buffer = batch.into_buffer();
        }
        if self.fsync() != Fsync::Always {
            self.wake_acknowledged();
        }
        Ok(())
    }

    fn write_batch(&self, writer: &mut Writer, batch: &mut Batch) -> Result<(), JournalError> {
        let broken = |what| JournalError::io("write to", &self.dir, io::Error::other(what));
        if batch.first != self.written() + 1 {
            // A writer that panicked took entries with it.
            return Err(broken(format!("entries {} to {} are lost", self.written() + 1, batch.first - 1)));
        }
        if let Some(segment) = batch.segment.take() {
            self.activate(writer, segment)?;
            self.stock_changed.notify_one();
        }
        let bytes = batch.frame.len() as u64;
        let segment = writer.active.as_ref().filter(|segment| writer.offset + bytes <= segment.bytes);
        let segment =
            segment.ok_or_else(|| broken(format!("no room was reserved for entry {}", batch.first)))?;
        let header =
            FrameHeader { entries: batch.entries, first: batch.first, durable_through: self.durable() };
        header.seal(&mut batch.frame, segment.name.salt, writer.offset);
        self.write(segment, &batch.frame, writer.offset)?;
        writer.offset += bytes;
        self.ledger.lock().wrote(batch.last());
        self.written.store(batch.last(), Ordering::Release);
        self.stats.frames.fetch_add(1, Ordering::Relaxed);
        self.stats.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Switches to a segment from the stock.
    fn activate(&self, writer: &mut Writer, segment: Arc<Segment>) -> Result<(), JournalError> {
        let header = SegmentHeader {
            version: VERSION,
            id: segment.name.id,
            previous: writer.previous,
            first: self.written() + 1,
            durable_through: self.durable(),
        };
        self.write(&segment, &header.encode(segment.name.salt), 0)?;
        self.ledger.lock().activate(Arc::clone(&segment), self.written());
        writer.previous = segment.name.id;
        writer.offset = FRAMES_AT;
        writer.active = Some(segment);
        Ok(())
    }

    fn write(&self, segment: &Segment, bytes: &[u8], offset: u64) -> Result<(), JournalError> {
        let path = || self.dir.join(segment.name.to_string());
        segment.file.write_at(bytes, offset).map_err(|error| JournalError::io("write to", &path(), error))
    }
}
