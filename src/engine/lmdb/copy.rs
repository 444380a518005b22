//! Copies a snapshot of all tables into another environment, row by row in the order of their keys.
//!
//! LMDB's own copy starts from whatever is committed at some moment during the call. This one uses a read transaction
//! that the caller has chosen. Appended rows fill their pages, so the copy is compact; retired generations are left
//! out. The read transaction keeps pages from being reused, so the original file grows by what is written meanwhile.

use std::collections::HashSet;
use std::ops::Bound;

use super::env::{FORMAT_ROW, Snapshot, Table};
use super::fault::Fault;
use super::seals::Sealed;
use super::{JOURNAL, Tables, split_deadline_key, split_record_key};
use crate::store::Generation;

/// Bytes of rows that one commit writes, before its last.
const BYTES_PER_COMMIT: usize = 32 * 1024 * 1024;

impl Tables {
    /// Copies everything that a snapshot of these tables shows to tables that are empty. Returns once it is durable.
    pub fn copy(&self, snapshot: &Snapshot<'_>, to: &Tables) -> Result<(), Fault> {
        let retired: HashSet<Generation> = self.retired(snapshot)?.into_iter().collect();
        let lives = |generation: Option<Generation>| generation.is_none_or(|of| !retired.contains(&of));
        let of_record = |key: &[u8]| lives(split_record_key(key).map(|(generation, _)| generation));
        let of_deadline = |key: &[u8]| lives(split_deadline_key(key).map(|(_, generation, _)| generation));
        to.take_rows(snapshot, self, "records", &to.records, of_record)?;
        to.take_rows(snapshot, self, "deadlines", &to.deadlines, of_deadline)?;
        to.take_rows(snapshot, self, "dictionaries", &to.dictionaries, of_record)?;
        to.take_sealed(snapshot, self, Sealed::Usage, of_record)?;
        to.take_sealed(snapshot, self, Sealed::Stores, |_| true)?;
        to.take_sealed(snapshot, self, Sealed::Libraries, |_| true)?;
        // the copy begins a journal of its own
        let is_wanted = |name: &[u8]| name != JOURNAL.as_bytes() && name != FORMAT_ROW;
        to.take_sealed(snapshot, self, Sealed::Meta, is_wanted)
    }

    /// The rows of a small table, with new checksums, because the copied ones may be in an older format.
    fn take_sealed(
        &self,
        snapshot: &Snapshot<'_>,
        from: &Tables,
        table: Sealed,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Fault> {
        let mut batch = self.batch()?;
        for row in from.reader.rows(snapshot, table.name(), Bound::Unbounded, None)? {
            let (key, row) = row?;
            if is_wanted(key) {
                self.put_sealed(&mut batch, table, key, from.unseal(table, key, row)?)?;
            }
        }
        self.commit(batch)
    }

    fn take_rows(
        &self,
        snapshot: &Snapshot<'_>,
        from: &Tables,
        name: &str,
        to: &Table,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Fault> {
        let mut batch = self.batch()?;
        let mut bytes = 0;
        for row in from.reader.rows(snapshot, name, Bound::Unbounded, None)? {
            let (key, value) = row?;
            if !is_wanted(key) {
                continue;
            }
            batch.append(to, key, value)?;
            bytes += key.len() + value.len();
            if bytes >= BYTES_PER_COMMIT {
                self.commit(batch)?;
                (batch, bytes) = (self.batch()?, 0);
            }
        }
        self.commit(batch)
    }
}
