//! Copies a state of all tables into another environment, row by row in the order of their keys.
//!
//! LMDB's own copy begins with whatever is committed at some moment within the call. This one takes a read transaction
//! that the caller has chosen. Rows that are appended fill their pages, so the copy is compact; what is retired is left
//! out. The reader holds on to pages meanwhile, so the file that is copied grows by what is written to it.

use std::collections::HashSet;

use heed::PutFlags;

use super::env::{Snapshot, Table};
use super::{Tables, split_deadline_key, split_record_key};
use crate::engine::Fault;
use crate::store::Generation;

/// Bytes of rows that one commit writes, before its last.
const BYTES_PER_COMMIT: usize = 32 * 1024 * 1024;

impl Tables {
    /// Copies everything that a snapshot of these tables shows to tables that are empty. Returns once it is durable.
    pub fn copy(&self, snapshot: &Snapshot<'_>, to: &Tables) -> Result<(), Fault> {
        let retired: HashSet<Generation> = self.retired(snapshot)?.into_iter().collect();
        let lives = |generation: Option<Generation>| generation.is_none_or(|of| !retired.contains(&of));
        let all = |_: &[u8]| true;
        let of_record = |key: &[u8]| lives(split_record_key(key).map(|(generation, _)| generation));
        let of_deadline = |key: &[u8]| lives(split_deadline_key(key).map(|(_, generation, _)| generation));
        to.take_rows(snapshot, &self.records, &to.records, of_record)?;
        to.take_rows(snapshot, &self.deadlines, &to.deadlines, of_deadline)?;
        to.take_rows(snapshot, &self.usage, &to.usage, of_record)?;
        to.take_rows(snapshot, &self.dictionaries, &to.dictionaries, of_record)?;
        to.take_rows(snapshot, &self.stores, &to.stores, all)?;
        to.take_rows(snapshot, &self.meta, &to.meta, all)
    }

    fn take_rows(
        &self,
        snapshot: &Snapshot<'_>,
        from: &Table,
        to: &Table,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Fault> {
        let mut batch = self.batch()?;
        // a new environment has its format already
        let flags = if to.is_empty(&batch)? { PutFlags::APPEND } else { PutFlags::empty() };
        let mut bytes = 0;
        for row in from.iter(snapshot)? {
            let (key, value) = row?;
            if !is_wanted(key) {
                continue;
            }
            to.put_with_flags(&mut batch, flags, key, value)?;
            bytes += key.len() + value.len();
            if bytes >= BYTES_PER_COMMIT {
                self.commit(batch)?;
                (batch, bytes) = (self.batch()?, 0);
            }
        }
        self.commit(batch)
    }
}
