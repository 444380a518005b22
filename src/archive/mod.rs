//! The archive: a copy of everything in object storage, from which a server that was lost is restored, as of any time.
//!
//! ```text
//!  journal ──▶ uploader ──▶ log/1, log/2, …          (entries, compressed; consecutive numbers)
//!  LMDB ─────▶ keeper ────▶ snapshots/ENTRY/part-…   (now and then; the manifest lists them)
//!                 restore ◀── a snapshot, and the segments after it
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `attach` | how a server begins to write to an archive |
//! | `upload` | the thread that uploads entries |
//! | `keep` | the thread that makes snapshots and removes what is old |
//! | `snapshot` | making and uploading a snapshot |
//! | [`restore`], [`check`] | reading an archive: into a data directory, or to see whether all of it is there |
//! | `objects` | requests that are repeated until it is known what they did |
//! | `body` | compression of objects |
//! | [`status`] | figures |
//! | [`time`] | times as people write them |
//! | [`store`] | object stores, and directories |
//! | [`format`] | names and bytes of the objects |
//! | [`protocol`] | who leads, what is in the log, what may be acknowledged; without IO |
//!
//! All of it runs on threads of its own, which the engine knows nothing of: see `engine::core::archived` for the seam.

pub mod attach;
mod body;
pub mod check;
pub mod format;
mod keep;
mod objects;
pub mod protocol;
pub mod restore;
mod snapshot;
pub mod status;
mod stop;
pub mod store;
#[cfg(test)]
mod tests;
pub mod time;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use self::attach::{AttachError, Attached, attach, read_mark};
use self::objects::{Access, Ended};
pub use self::protocol::Ack;
use self::status::{Figures, Status};
use self::stop::Stop;
use self::store::{Place, Store};
use self::upload::Uploader;
use crate::engine::Engine;
use crate::engine::clock;
use crate::engine::journal::Seq;

/// How an archive is kept. See the settings of the same names.
#[derive(Debug, Clone)]
pub struct Options {
    pub place: Place,
    pub interval: Duration,
    pub keep: Duration,
    pub ack: Ack,
    /// How long a request may take, and how long replies wait under [`Ack::Archived`].
    pub timeout: Duration,
}

/// The archive of a running engine.
pub struct Archive {
    engine: Arc<Engine>,
    store: Arc<dyn Store>,
    options: Options,
    status: Status,
    stop: Stop,
    /// Held while a snapshot is made, or objects are removed.
    snapshotting: Mutex<()>,
    began_ms: u64,
    /// Changes are refused, because the archive does not take them.
    is_refusing: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Up to which entry the journal of a data directory may be given up, before the engine opens: everything that its archive
/// has.
pub fn archived_before_start(dir: &std::path::Path) -> Result<Seq, String> {
    Ok(read_mark(dir)?.map_or(0, |mark| mark.entry))
}

impl Archive {
    /// Begins to archive what an engine has. Fails if the place can't be used for this data directory.
    ///
    /// If the archive is known from an earlier start and only can't be reached now, the server starts without it, and goes
    /// on to try.
    pub fn start(engine: Arc<Engine>, options: Options) -> Result<Arc<Archive>, String> {
        let store = store::open(&options.place, options.timeout)?;
        Archive::start_over(engine, options, store)
    }

    fn start_over(
        engine: Arc<Engine>,
        options: Options,
        store: Arc<dyn Store>,
    ) -> Result<Arc<Archive>, String> {
        let known = read_mark(engine.dir())?.filter(|mark| !attach::is_pristine(mark));
        if options.ack == Ack::Archived {
            engine.confirm_archived(known.as_ref().map_or(0, |mark| mark.entry));
        }
        let attached = match attach(&*store, engine.dir(), engine.last_entry()) {
            Ok(attached) => Some(attached),
            Err(error @ AttachError::Fault { .. }) if known.is_some() => {
                tracing::error!(%error, "the server starts without its archive, and goes on to try");
                None
            }
            Err(error) => return Err(error.to_string()),
        };
        let entry = known.map_or(0, |mark| mark.entry);
        let figures = Figures { entry, ..Figures::default() };
        let archive = Arc::new(Archive {
            engine,
            store,
            status: Status::new(figures),
            stop: Stop::default(),
            snapshotting: Mutex::default(),
            began_ms: clock::now_ms(),
            is_refusing: AtomicBool::new(false),
            threads: Mutex::default(),
            options,
        });
        let place = archive.store.place();
        tracing::info!(place, "archiving");
        let uploading = Arc::clone(&archive);
        archive.spawn("archive-upload", move || uploading.upload(attached))?;
        if archive.options.ack == Ack::Archived {
            let watching = Arc::clone(&archive);
            archive.spawn("archive-watch", move || watching.watch())?;
        }
        Ok(archive)
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
        self.threads.lock().push(spawned.map_err(|error| format!("a thread can't be started: {error}"))?);
        Ok(())
    }

    /// Uploads what there is, and ends the archive's threads. If the archive does not take it now, that is left for the
    /// next start.
    pub fn close(&self) {
        self.stop.raise();
        loop {
            let Some(thread) = self.threads.lock().pop() else { break };
            if thread.join().is_err() {
                tracing::error!("a thread of the archive had panicked");
            }
        }
        let figures = self.figures();
        let last = self.engine.last_entry();
        if figures.entry < last {
            tracing::warn!(
                archived = figures.entry,
                last,
                "the archive lacks entries, which the journal keeps for the next start"
            );
        }
    }

    pub fn figures(&self) -> Figures {
        self.status.figures(self.engine.last_entry())
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The last entry that there is to archive.
    pub fn last_entry(&self) -> Seq {
        self.engine.last_entry()
    }

    fn access(&self, attached: &Attached) -> Access<'_> {
        Access { store: &*self.store, archive: attached.archive, status: &self.status, stop: &self.stop }
    }

    /// The thread that uploads.
    fn upload(self: Arc<Archive>, attached: Option<Attached>) {
        let attached = match attached {
            Some(attached) => attached,
            None => match self.attach_later() {
                Ok(attached) => attached,
                Err(ended) => return self.end(ended),
            },
        };
        self.status.change(|figures| {
            figures.epoch = attached.epoch;
            figures.log_bytes = attached.log_bytes;
            if let Some(last) = attached.manifest.snapshots.last() {
                (figures.snapshot_entry, figures.snapshot_ms) = (last.name.entry, last.time_ms);
                figures.snapshot_bytes = last.bytes;
            }
        });
        let mut uploader = Uploader::new(&self, attached.clone());
        let keeping = Arc::clone(&self);
        let keeps = self.spawn("archive-keep", move || {
            crate::engine::stand_back();
            let ended = keep::run(&keeping, &attached);
            keeping.end(ended);
        });
        if let Err(why) = keeps {
            tracing::error!(why, "the archive gets no snapshots, and nothing old is removed from it");
        }
        let ended = uploader.run();
        self.end(ended);
    }

    /// Tries to attach until that is decided.
    fn attach_later(&self) -> Result<Attached, Ended> {
        loop {
            match attach(&*self.store, self.engine.dir(), self.engine.last_entry()) {
                Ok(attached) => {
                    self.status.recovered();
                    return Ok(attached);
                }
                Err(AttachError::Fault { fault, .. }) => self.status.failed("anything", fault),
                Err(AttachError::Refused(why)) => return Err(Ended::Superseded(why)),
            }
            if self.stop.wait(Duration::from_secs(1)) {
                return Err(Ended::Stopping);
            }
        }
    }

    /// What follows from the end of a thread.
    fn end(&self, ended: Ended) {
        let Ended::Superseded(why) = ended else { return };
        let is_first = {
            let mut is_first = false;
            self.status.change(|figures| is_first = figures.ended.replace(why.clone()).is_none());
            is_first
        };
        if is_first {
            tracing::error!(why, "nothing is archived any more");
        }
        self.stop.raise();
        match self.options.ack {
            // the journal need not be kept for it
            Ack::Local => self.engine.note_archived(Seq::MAX),
            Ack::Archived => self.refuse(why),
        }
    }

    /// The thread that refuses changes while the archive does not take them.
    fn watch(&self) {
        const TICK: Duration = Duration::from_millis(100);
        while !self.stop.wait(TICK) {
            let figures = self.figures();
            if figures.stalled > self.options.timeout {
                let seconds = figures.stalled.as_secs();
                let why = figures.trouble.map_or_else(String::new, |fault| format!(": {fault}"));
                self.refuse(format!(
                    "the archive has not confirmed changes for {seconds} seconds{why}. What waited for it is written here, and \
                     may be in the archive or not"
                ));
            }
        }
    }

    fn refuse(&self, why: String) {
        if !self.is_refusing.swap(true, Ordering::AcqRel) {
            tracing::error!(why, "changes are refused until the archive takes them");
        }
        self.engine.refuse_unarchived(Some(why));
    }

    /// Tells the engine that the archive has everything up to this entry.
    fn tell_engine(&self, entry: Seq) {
        self.engine.note_archived(entry);
        if self.options.ack == Ack::Archived {
            self.engine.confirm_archived(entry);
            self.accept();
        }
    }

    /// Ends that changes are refused.
    fn accept(&self) {
        if self.is_refusing.swap(false, Ordering::AcqRel) {
            self.engine.refuse_unarchived(None);
            tracing::info!("the archive takes changes again");
        }
    }
}
