//! Gives up what a damaged journal has lost, so that a server starts on the rest: `larder salvage`.
//!
//! It is a deliberate act on the directory of a stopped server and not a setting, because a setting that stays behind
//! would silently discard data at the next damage.
//!
//! Only the journal is changed: its log ends where it would be refused. The next start replays it like any other.

use std::path::Path;

use crate::engine::directory;
use crate::engine::error::Fault;
use crate::engine::journal;
use crate::engine::journal::{Inspection, Journal, JournalError, Seq};
use crate::engine::lmdb::{JOURNAL, Tables};
use crate::engine::recovery::check::overview;
use crate::engine::recovery::open;
use crate::engine::recovery::open::{OpenError, Options};

/// What a journal has lost, and what goes with it.
#[derive(Debug)]
pub struct Loss {
    /// What is wrong.
    pub why: JournalError,
    /// The last entry that stays.
    pub kept_through: Seq,
    /// The last entry after the damage that can still be read, if there is one. It is given up with all entries before
    /// it that follow the damage.
    pub lost_through: Option<Seq>,
    /// Bytes of the journal that are no entries.
    pub unreadable_bytes: u64,
}

/// Returns what salvage would give up; `None` if the journal is sound. Changes nothing.
pub fn look(dir: &Path) -> Result<Option<Loss>, OpenError> {
    let Inspection { segments, last, lost, .. } = overview(dir)?.journal;
    let lost_through = segments.iter().filter_map(|segment| segment.entries).map(|(_, last)| last).max();
    let unreadable = segments.iter().flat_map(|segment| &segment.unreadable).map(|gap| gap.end - gap.start);
    Ok(lost.map(|why| Loss {
        why,
        kept_through: last,
        lost_through: lost_through.filter(|readable| *readable > last),
        unreadable_bytes: unreadable.sum(),
    }))
}

/// Ends the journal's log before what it has lost. What stays is durable afterwards. Returns what was wrong; `None` if
/// nothing was, and then nothing that counts has changed.
pub fn salvage(dir: &Path) -> Result<Option<JournalError>, OpenError> {
    let _lock = directory::claim_existing(dir)?;
    let lmdb_dir = dir.join("lmdb");
    let tables = Tables::open(&lmdb_dir, None).map_err(|error| OpenError::Tables(lmdb_dir, error))?;
    let snapshot = tables.snapshot()?;
    let (through, identity) = (tables.checkpoint(&snapshot)?, tables.meta_number(&snapshot, JOURNAL)?);
    let options = journal::Options { salvage: true, ..open::journal_options(&Options::new(dir), identity) };
    let (journal, recovery) =
        Journal::open(&dir.join("journal"), options, through, &mut |_, _| Ok::<(), OpenError>(()))?;
    open::note_journal(&tables, &snapshot, &journal);
    journal.close().map_err(Fault::from)?;
    Ok(recovery.salvaged)
}
