//! The write transaction of a checkpoint. LMDB trusts the pages that it reads while it changes a table, so each of them
//! is [verified](super::vet) first, and nothing here gives access to a table without that.

use std::ops::Bound;

use heed::{PutFlags, RwTxn};

use super::env::{Snapshot, Table};
use super::fault::Fault;
use super::reader::Rows;
use super::tables::Tables;
use super::vet::{Change, Vetted};
use crate::store::Generation;

/// Changes of tables that become durable together. If the batch is dropped without a commit, none of them happens.
pub struct WriteBatch<'e> {
    txn: RwTxn<'e>,
    /// The committed state when the batch began. Meanwhile, every page that LMDB reads in its file is of this state;
    /// pages that it has changed are in memory.
    before: Snapshot<'e>,
    tables: &'e Tables,
    vetted: Vetted,
}

impl<'e> WriteBatch<'e> {
    pub(super) fn begin(tables: &'e Tables) -> Result<WriteBatch<'e>, Fault> {
        // in this order: nobody else commits between the two
        let txn = tables.env.write_txn()?;
        let before = tables.env.read_txn()?;
        Ok(WriteBatch { txn, before, tables, vetted: Vetted::default() })
    }

    pub(super) fn get(&mut self, table: &Table, key: &[u8]) -> Result<Option<&[u8]>, Fault> {
        self.tables.reader.vet(&self.before, table.name, key, Change::None, &mut self.vetted)?;
        Ok(table.rows.get(&self.txn, key)?)
    }

    pub(super) fn put(&mut self, table: &Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.tables.reader.vet(&self.before, table.name, key, Change::Put(value.len()), &mut self.vetted)?;
        Ok(table.rows.put(&mut self.txn, key, value)?)
    }

    /// Asks the system for the pages of records that will be changed, which are in ascending order, so that it reads them
    /// at the same time.
    pub fn fetch_records<'k>(&self, records: impl Iterator<Item = (Generation, &'k [u8])>) {
        self.tables.fetch_records(&self.before, records);
    }

    /// Appends a row after all others, to a table that the caller has made itself, so nothing is verified.
    pub(super) fn append(&mut self, table: &Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        Ok(table.rows.put_with_flags(&mut self.txn, PutFlags::APPEND, key, value)?)
    }

    pub(super) fn delete(&mut self, table: &Table, key: &[u8]) -> Result<(), Fault> {
        self.tables.reader.vet(&self.before, table.name, key, Change::Removal, &mut self.vetted)?;
        table.rows.delete(&mut self.txn, key)?;
        Ok(())
    }

    /// Removes all rows of a table.
    pub(super) fn clear(&mut self, table: &Table) -> Result<(), Fault> {
        // each row, because all of their pages are freed
        for row in self.tables.reader.rows(&self.before, table.name, Bound::Unbounded, None)? {
            self.tables.reader.vet(&self.before, table.name, row?.0, Change::Removal, &mut self.vetted)?;
        }
        Ok(table.rows.clear(&mut self.txn)?)
    }

    /// The rows that a table had when the batch began, from a bound on and below `end`.
    pub(super) fn rows_before(
        &self,
        table: &Table,
        from: Bound<&[u8]>,
        end: Option<&[u8]>,
    ) -> Result<Rows<'_>, Fault> {
        self.tables.reader.rows(&self.before, table.name, from, end)
    }

    pub(super) fn commit(self) -> Result<(), Fault> {
        drop(self.before);
        Ok(self.txn.commit()?)
    }
}

#[cfg(test)]
impl WriteBatch<'_> {
    /// The numbers of all pages that were looked at.
    pub fn vetted_pages(&self) -> std::collections::HashSet<u64> {
        self.vetted.numbers().collect()
    }
}
