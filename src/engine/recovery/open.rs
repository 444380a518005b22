//! Opening a data directory, with recovery, and closing it in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::engine::clock;
use crate::engine::core::Engine;
use crate::engine::core::control::Control;
use crate::engine::core::room::Room;
use crate::engine::core::swept::Position;
use crate::engine::core::timeline::{Timeline, UnknownFormat};
use crate::engine::directory;
use crate::engine::effect::Malformed;
use crate::engine::error::Fault;
use crate::engine::events::Listening;
use crate::engine::heat::hunt::Hunts;
use crate::engine::journal;
use crate::engine::journal::{Disk, Fsync, Journal, JournalError, RealDisk, Seq};
use crate::engine::lmdb;
use crate::engine::lmdb::{JOURNAL, Snapshot, StoredTimeline as Stored, Tables};
use crate::engine::memtable::cache::RecordCache;
use crate::engine::recovery::replay::replay;
use crate::engine::state::State;
use crate::engine::state::group_lock::GroupLock;
use crate::limits::{self, JOURNAL_SEGMENT_BYTES_MIN, JOURNAL_SEGMENTS_PER_VOLUME};
use crate::record::compress::Compression;
use crate::store::Definition;
use crate::store::{Generation, ServerQuota, StoreId, ValueKind};

/// How an engine runs. See the settings of the same names.
#[derive(Debug, Clone)]
pub struct Options {
    pub dir: PathBuf,
    pub fsync: Fsync,
    /// Numbered stores.
    pub databases: u32,
    pub default_kind: ValueKind,
    pub quota: ServerQuota,
    pub compression: Compression,
    /// Memory for changes that are not in LMDB yet. Writers wait when it is used up.
    pub memtable_bytes_max: usize,
    /// Memory for decompressed values.
    pub cache_bytes_max: u64,
    /// A checkpoint runs at least this often, if anything changed.
    pub checkpoint_interval: Duration,
    /// Size of the journal's segments.
    pub journal_segment_bytes: u64,
    /// Most bytes that one transaction may write.
    pub journal_entry_bytes_max: usize,
    /// `None`: as much address space as is needed.
    pub map_bytes: Option<usize>,
    /// The archive has the entries up to this one; later ones stay in the journal. `Seq::MAX`: there is no archive.
    pub archived: Seq,
    /// The disk that the journal's files are on.
    pub disk: Arc<dyn Disk>,
}

impl Options {
    /// The defaults, on a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            fsync: Fsync::Always,
            databases: limits::DATABASES,
            default_kind: ValueKind::Json,
            quota: ServerQuota::default(),
            compression: Compression::default(),
            memtable_bytes_max: limits::MEMTABLE_BYTES as usize,
            cache_bytes_max: limits::CACHE_BYTES,
            checkpoint_interval: Duration::from_secs(limits::CHECKPOINT_INTERVAL_S),
            journal_segment_bytes: 16 * 1024 * 1024,
            journal_entry_bytes_max: journal::ENTRY_BYTES_MAX,
            map_bytes: None,
            archived: Seq::MAX,
            disk: Arc::new(RealDisk),
        }
    }
}

/// Why a data directory can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Directory(#[from] directory::DirectoryError),
    #[error("in {0}: {1}")]
    Tables(PathBuf, lmdb::OpenError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the data directory can't be read: {0}")]
    Fault(#[from] Fault),
    #[error("journal entry {seq} can't be replayed: {why}; it was written by another version, or by a bug")]
    Replay { seq: Seq, why: Malformed },
    #[error(transparent)]
    Timeline(#[from] UnknownFormat),
    #[error("a thread can't be started: {0}")]
    Thread(std::io::Error),
}

impl From<lmdb::Fault> for OpenError {
    fn from(fault: lmdb::Fault) -> OpenError {
        OpenError::Fault(fault.into())
    }
}

impl Engine {
    /// Opens a data directory, making it if it is missing, and brings it up to its last acknowledged change.
    pub fn open(options: Options) -> Result<Arc<Engine>, OpenError> {
        let lock = directory::claim(&options.dir)?;
        let lmdb_dir = options.dir.join("lmdb");
        let tables = Tables::create(&lmdb_dir, options.map_bytes)
            .and_then(|()| Tables::open(&lmdb_dir, options.map_bytes))
            .map_err(|error| OpenError::Tables(lmdb_dir, error))?;
        if let Err(fault) = tables.upgrade() {
            tracing::warn!(%fault, "the LMDB tables stay in their older format; the next start tries again");
        }
        // before the journal uses the rest of the disk
        tables.keep_reserve()?;
        let (state, journal, through) = recover(&tables, &options)?;
        let (memtable_bytes, watches, heat) =
            (state.memtable_bytes(), state.watches.clone(), state.heat.clone());
        let timeline = read_timeline(&tables, journal.last())?;
        let control = Control::new(options.checkpoint_interval, through, clock::now_ms());
        let checkpoint = Arc::new(control);
        // A failed journal refuses writes until a checkpoint has made its entries durable, so a checkpoint begins at
        // once.
        let wanted = Arc::clone(&checkpoint);
        journal.on_failure(move || wanted.request());
        let engine = Arc::new(Engine {
            state: GroupLock::new(state),
            tables,
            journal,
            watches,
            listening: Listening::default(),
            compression: RwLock::new(options.compression),
            room: Room::new(options.memtable_bytes_max),
            checkpoint,
            sweep: Mutex::new(Position::default()),
            sweeping: AtomicBool::new(true),
            sweeps_from_ms: AtomicU64::new(0),
            timeline: Mutex::new(timeline),
            expired: AtomicU64::new(0),
            heat,
            hunts: Hunts::default(),
            memtable_bytes: AtomicUsize::new(memtable_bytes),
            noting_space: Mutex::default(),
            threads: Mutex::new(Vec::new()),
            dir: options.dir,
            _lock: lock,
        });
        engine.note_space();
        engine.start("checkpoint", Engine::run_checkpoints)?;
        engine.start("sweeper", Engine::run_sweeps)?;
        engine.start("eviction", Engine::run_evictions)?;
        if memtable_bytes >= options.memtable_bytes_max / 2 {
            engine.checkpoint.request();
        }
        Ok(engine)
    }

    /// Writes everything to LMDB and ends the engine's threads. Nothing may be written afterwards.
    pub fn close(&self) -> Result<(), Fault> {
        self.room.close();
        self.checkpoint.stop();
        self.heat.alarm.raise();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("a thread of the engine had panicked");
            }
        }
        let checkpoint = self.checkpoint_now();
        self.journal.close()?;
        checkpoint
    }

    /// Ends the threads and nothing else, like a crash: what LMDB lacks is in the journal.
    #[cfg(test)]
    #[allow(clippy::expect_used)]
    pub(crate) fn abandon(&self) {
        self.room.close();
        self.checkpoint.stop();
        self.heat.alarm.raise();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            thread.join().expect("a thread of the engine");
        }
        self.journal.wait_durable(self.journal.last()).expect("the journal");
    }

    fn start(self: &Arc<Engine>, name: &str, run: fn(&Engine)) -> Result<(), OpenError> {
        let engine = self.clone();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(&engine));
        self.threads.lock().push(thread.map_err(OpenError::Thread)?);
        Ok(())
    }
}

/// The state of LMDB, and on top of it the entries of the journal that LMDB lacks.
fn recover(tables: &Tables, options: &Options) -> Result<(State, Arc<Journal>, Seq), OpenError> {
    let snapshot = tables.snapshot()?;
    let through = tables.checkpoint(&snapshot)?;
    let mut state = load(tables, &snapshot, options)?;
    number_stores(tables, &snapshot, &mut state, options.databases)?;
    let dir = options.dir.join("journal");
    let journal_options = journal_options(options, tables.meta_number(&snapshot, JOURNAL)?);
    let open =
        |replay: &mut journal::Replay<'_, OpenError>| Journal::open(&dir, journal_options, through, replay);
    let (journal, recovery) = replay(tables, &mut state, open)?;
    note_journal(tables, &snapshot, &journal);
    if recovery.replayed > 0 {
        tracing::info!(
            entries = recovery.replayed,
            from = through + 1,
            through = recovery.last,
            "journal replayed"
        );
    }
    Ok((state, journal, through))
}

/// How a journal runs that the tables know by this identity, if by any.
pub(in crate::engine) fn journal_options(options: &Options, identity: Option<u64>) -> journal::Options {
    let space = options.disk.space(&options.dir.join("journal"));
    let volume_part = space.map(|space| space.total / JOURNAL_SEGMENTS_PER_VOLUME);
    let segment_bytes_max = volume_part.unwrap_or(u64::MAX).max(JOURNAL_SEGMENT_BYTES_MIN);
    journal::Options {
        fsync: options.fsync,
        segment_bytes: options.journal_segment_bytes.min(segment_bytes_max),
        entry_bytes_max: options.journal_entry_bytes_max,
        identity,
        copied: options.archived,
        disk: options.disk.clone(),
        ..journal::Options::default()
    }
}

/// The timeline of retention, in the format of this version or of an earlier one.
fn read_timeline(tables: &Tables, last: Seq) -> Result<Timeline, OpenError> {
    let (snapshot, reading) = (tables.snapshot()?, clock::keep());
    Ok(match tables.timeline(&snapshot)? {
        Stored::None => Timeline::new(&reading),
        Stored::ByWallClock(bytes) => Timeline::decode_by_wall_clock(bytes, &reading, last),
        Stored::Own(bytes) => Timeline::decode(bytes, &reading, clock::boot_id(), last)?,
    })
}

/// Records which journal belongs to the tables, once there is one. From then on it has to exist.
pub(in crate::engine) fn note_journal(tables: &Tables, snapshot: &Snapshot<'_>, journal: &Journal) {
    let Some(identity) = journal.identity() else { return };
    let noted = tables.meta_number(snapshot, JOURNAL).and_then(|known| {
        if known == Some(identity) {
            return Ok(());
        }
        let mut batch = tables.batch()?;
        tables.put_meta_number(&mut batch, JOURNAL, identity)?;
        tables.commit(batch)
    });
    if let Err(fault) = noted {
        tracing::warn!(%fault, "the identity of the journal can't be stored in LMDB; the next start tries again");
    }
}

fn load(tables: &Tables, snapshot: &Snapshot<'_>, options: &Options) -> Result<State, Fault> {
    let mut state = State::new(options.default_kind, RecordCache::new(options.cache_bytes_max));
    state.set_server_quota(options.quota);
    state.last_generation = tables.meta_number(snapshot, "last_generation")?.unwrap_or(0);
    let next_store = tables.meta_number(snapshot, "next_store")?.unwrap_or(0);
    state.catalog.reserve_ids_below(StoreId::try_from(next_store).unwrap_or(StoreId::MAX));
    state.libraries = tables.libraries(snapshot)?;
    for (id, generation, definition) in tables.stores(snapshot)? {
        let usage = tables.usage(snapshot, generation)?;
        state.define(0, id, generation, &definition, usage);
    }
    Ok(state)
}

/// Numbered stores always exist. Each has the generation of its number plus one until it is flushed for the first time,
/// so that a new directory needs no entry for them.
fn number_stores(
    tables: &Tables,
    snapshot: &Snapshot<'_>,
    state: &mut State,
    databases: u32,
) -> Result<(), Fault> {
    for id in 0..databases {
        if state.catalog.get(id).is_none() {
            let generation = first_generation(id);
            let usage = tables.usage(snapshot, generation)?;
            state.define(0, id, generation, &Definition::default(), usage);
        }
    }
    state.last_generation = state.last_generation.max(first_generation(crate::limits::DATABASES_MAX));
    Ok(())
}

fn first_generation(id: StoreId) -> Generation {
    Generation::from(id) + 1
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.threads.lock().is_empty() && self.memtable_bytes.load(Ordering::Relaxed) > 0 {
            tracing::warn!("the engine was not closed; the next start replays its journal");
        }
    }
}
