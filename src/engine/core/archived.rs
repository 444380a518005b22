//! The seam to an archive, which copies the entries of the journal elsewhere.
//!
//! The engine knows nothing of archives but this: which entries it has, for which others the journal is kept, and whether
//! replies wait for it. The rule for replies is the same as ever; the archive only is one more horizon.

use std::path::Path;
use std::time::Duration;

use crate::engine::core::Engine;
use crate::engine::error::Fault;
use crate::engine::journal::copied::Follower;
use crate::engine::journal::{Disk, RealDisk, Seq};

impl Engine {
    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Free bytes of the volume of the data directory, if they are known.
    pub fn free_bytes(&self) -> Option<u64> {
        RealDisk.space(&self.dir).map(|space| space.free)
    }

    /// Reads the entries after this one from the journal.
    pub fn follow(&self, after: Seq) -> Follower {
        self.journal.follow(after)
    }

    /// The archive has the entries up to this one, so the journal need not keep them for it.
    pub fn note_archived(&self, through: Seq) {
        self.journal.note_copied(through);
    }

    /// Lets replies leave only when the archive has what they reflect: everything up to this entry so far.
    pub fn confirm_archived(&self, through: Seq) {
        self.journal.confirm(through);
    }

    /// Refuses changes, and replies that wait for the archive, for this reason; `None` ends that.
    pub fn refuse_unarchived(&self, why: Option<String>) {
        self.journal.refuse_uncopied(why);
    }

    /// Blocks until there are entries after `seq`, or for so long. If none of them is durable, makes them so. Returns the
    /// last durable entry.
    pub fn wait_for_more(&self, seq: Seq, at_most: Duration) -> Result<Seq, Fault> {
        let durable = self.journal.wait_for_more(seq, at_most);
        // under the policy `always`, most entries are synced by those who wait for them
        if durable > seq && self.journal.syncs_at_once() {
            return Ok(durable);
        }
        self.journal.wait_durable(self.journal.last())?;
        Ok(self.journal.durable())
    }

    /// The last entry.
    pub fn last_entry(&self) -> Seq {
        self.journal.last()
    }
}
