//! The engine itself: what it consists of, and how much it takes in.

/// What an archive of the engine's changes needs.
pub mod archived;
/// Whether the engine takes a write now.
pub mod back_pressure;
/// How checkpoints are requested, and how they are going.
pub mod control;
/// What a caller may do with the engine: `Reader` and `Writer`.
pub mod handles;
/// Room in memory and on disk.
pub mod room;
/// How far the sweeper got.
pub mod swept;
/// Which change was the last at points in time.
pub mod timeline;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};

use crate::engine::core::control::{CheckpointStatus, Control};
use crate::engine::core::handles::Reader;
use crate::engine::core::room::Room;
use crate::engine::core::swept::Position;
use crate::engine::core::timeline::Timeline;
use crate::engine::directory::Lock;
use crate::engine::error::Error;
use crate::engine::events::Listening;
use crate::engine::heat::Heat;
use crate::engine::heat::hunt::Hunts;
use crate::engine::journal;
use crate::engine::journal::{Journal, Seq};
use crate::engine::lmdb::{Snapshot, Tables};
use crate::engine::state::State;
use crate::engine::state::group_lock::GroupLock;
use crate::engine::state::watch::Watches;
use crate::record::compress::Compression;

/// The engine. Cheap to share as an `Arc`; [`close`](Engine::close) ends it in order.
pub struct Engine {
    pub(super) state: GroupLock<State>,
    pub(super) tables: Tables,
    pub(super) journal: Arc<Journal>,
    pub(super) watches: Arc<Watches>,
    pub(super) listening: Listening,
    pub(super) compression: RwLock<Compression>,
    pub(super) room: Room,
    pub(super) checkpoint: Arc<Control>,
    pub(super) sweep: Mutex<Position>,
    pub(super) sweeping: AtomicBool,
    /// Until when the sweeper rests, by the steady clock (`CLIENT PAUSE`).
    pub(super) sweeps_from_ms: AtomicU64,
    /// The sequence number of the last change at points in time, for retention.
    pub(super) timeline: Mutex<Timeline>,
    pub(super) expired: AtomicU64,
    /// How records were used, for eviction.
    pub(super) heat: Arc<Heat>,
    pub(super) hunts: Hunts,
    pub(super) memtable_bytes: AtomicUsize,
    pub(super) noting_space: Mutex<()>,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
    /// The data directory.
    pub(super) dir: PathBuf,
    /// Held as long as the engine lives, so that no second server opens the directory.
    pub(super) _lock: Lock,
}

impl Engine {
    /// LMDB as it is now.
    pub(super) fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        Ok(self.tables.snapshot()?)
    }

    /// Ready once everything up to `seq` is as durable as the policy promises. This is the one rule for replies: no
    /// reply is sent before everything that it reflects is durable.
    pub fn poll_acknowledged(&self, seq: Seq, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.journal.poll_acknowledged(seq, cx).map_err(Error::from)
    }

    /// The same, for a caller that will soon call [`sync_gathered`](Engine::sync_gathered) on behalf of many that wait like this.
    pub fn poll_gathered(&self, seq: Seq, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.journal.poll_gathered(seq, cx).map_err(Error::from)
    }

    /// Makes everything up to `seq` as durable as the policy promises, on this thread, however long that takes.
    pub fn acknowledge(&self, seq: Seq) -> Result<(), Error> {
        self.journal.acknowledge(seq).map_err(Error::from)
    }

    /// Whether [`acknowledge`](Engine::acknowledge) would take no longer than a short sync.
    pub fn is_acknowledged_soon(&self, seq: Seq) -> bool {
        self.journal.is_acknowledged_soon(seq)
    }

    /// Whether [`sync_gathered`](Engine::sync_gathered) would sync.
    pub fn is_sync_due(&self) -> bool {
        self.journal.is_sync_due()
    }

    /// Makes everything so far as durable as the policy promises, for all callers that wait with
    /// [`poll_gathered`](Engine::poll_gathered). Takes as long as a short sync.
    pub fn sync_gathered(&self) {
        self.journal.sync_gathered();
    }

    /// Whether the sweeper is switched on (`DEBUG SET-ACTIVE-EXPIRE`).
    pub fn is_sweeping(&self) -> bool {
        self.sweeping.load(Ordering::Relaxed)
    }
}

impl Reader<'_> {
    pub fn status(&self) -> Status {
        // only sizes are read, so there is no need to wait for a group to end
        let state = self.engine.state.lock().read();
        // a figure that can't be read now is left out here; the error is reported where it matters
        let file = self.engine.tables.file_space().unwrap_or_default();
        Status {
            journal: self.engine.journal.status(),
            checkpoint: self.engine.checkpoint.status(),
            memtable_bytes: state.memtable_bytes(),
            cache_bytes: state.cache.bytes(),
            file_bytes: file.pages,
            file_live_bytes: file.live(),
            file_free_bytes: file.free,
            file_free_pages: file.free_pages(),
            file_reserve_bytes: file.reserve,
            map_bytes: self.engine.tables.map_bytes(),
            shortage: self.engine.room.shortage(),
            expired_records: self.engine.expired.load(Ordering::Relaxed),
            evicted_records: self.engine.hunts.evicted.load(Ordering::Relaxed),
        }
    }
}

/// How the engine is doing, for INFO and the like.
#[derive(Debug, Clone)]
pub struct Status {
    pub journal: journal::Status,
    pub checkpoint: CheckpointStatus,
    pub memtable_bytes: usize,
    pub cache_bytes: u64,
    /// LMDB's file, up to the last page that was ever used.
    pub file_bytes: u64,
    /// The pages of the file that hold something.
    pub file_live_bytes: u64,
    /// The other pages, which are reused before the file grows.
    pub file_free_bytes: u64,
    pub file_free_pages: u64,
    /// What the file takes after its last page, so that records can always be removed.
    pub file_reserve_bytes: u64,
    /// What the file can grow to.
    pub map_bytes: u64,
    /// Why LMDB's file has no space for more, if a write was refused for that.
    pub shortage: Option<String>,
    pub expired_records: u64,
    pub evicted_records: u64,
}
