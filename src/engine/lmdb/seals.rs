//! Checksums of the rows of small tables: `stores`, `usage`, `retired`, `libraries` and `meta`.
//!
//! From format 3 on, each of their values ends with the XXH3-64 of the bytes before it, seeded with that of the table's
//! name and the row's key. A row that was changed, or that belongs elsewhere, is therefore not accepted. The row
//! `format` of `meta` has no checksum; it tells whether the others have one. An environment of an older format is
//! converted when an engine opens it, in one commit, and stays as it is until there is space for that. Records and
//! dictionaries have checksums of their own.

use std::ops::Bound;
use std::sync::atomic::Ordering;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::batch::WriteBatch;
use super::env::{
    FORMAT, FORMAT_ROW, FORMAT_WITH_CODES, FORMAT_WITH_LIBRARIES, FORMAT_WITH_SEALS, Snapshot, Table,
};
use super::fault::Fault;
use super::reader::IsSound;
use super::residence::Wait;
use super::tables::Tables;

const SEAL_BYTES: usize = 8;

/// The tables whose rows are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    Stores,
    Usage,
    Retired,
    Libraries,
    Meta,
}

impl Sealed {
    const ALL: [Sealed; 5] =
        [Sealed::Stores, Sealed::Usage, Sealed::Retired, Sealed::Libraries, Sealed::Meta];

    pub fn name(self) -> &'static str {
        match self {
            Sealed::Stores => "stores",
            Sealed::Usage => "usage",
            Sealed::Retired => "retired",
            Sealed::Libraries => "libraries",
            Sealed::Meta => "meta",
        }
    }

    fn seal(self, key: &[u8], value: &[u8]) -> [u8; SEAL_BYTES] {
        let seed = xxh3_64_with_seed(key, xxh3_64(self.name().as_bytes()));
        xxh3_64_with_seed(value, seed).to_be_bytes()
    }

    /// The value without its checksum, if that is right.
    fn opened(self, key: &[u8], row: &[u8]) -> Option<usize> {
        if self == Sealed::Meta && key == FORMAT_ROW {
            return Some(row.len());
        }
        let (value, seal) = row.split_last_chunk::<SEAL_BYTES>()?;
        (*seal == self.seal(key, value)).then_some(value.len())
    }
}

impl Tables {
    fn is_sealed(&self) -> bool {
        self.format.load(Ordering::Relaxed) >= FORMAT_WITH_SEALS
    }

    fn sealed_table(&self, table: Sealed) -> &Table {
        match table {
            Sealed::Stores => &self.stores,
            Sealed::Usage => &self.usage,
            Sealed::Retired => &self.retired,
            Sealed::Libraries => &self.libraries,
            Sealed::Meta => &self.meta,
        }
    }

    /// The value of a row, without its checksum.
    pub(super) fn unseal<'t>(&self, table: Sealed, key: &[u8], row: &'t [u8]) -> Result<&'t [u8], Fault> {
        let damaged = || {
            let (name, key) = (table.name(), key.escape_ascii());
            Fault::Damaged(format!("the row '{key}' of the table '{name}' has a wrong checksum"))
        };
        if !self.is_sealed() {
            return Ok(row);
        }
        table.opened(key, row).map(|bytes| &row[..bytes]).ok_or_else(damaged)
    }

    /// A value as a snapshot has it.
    pub(super) fn sealed_value<'t>(
        &self,
        snapshot: &'t Snapshot<'_>,
        table: Sealed,
        key: &[u8],
    ) -> Result<Option<&'t [u8]>, Fault> {
        let is_sound: IsSound = match table {
            _ if !self.is_sealed() => |_, _| true,
            Sealed::Stores => |key, row| Sealed::Stores.opened(key, row).is_some(),
            Sealed::Usage => |key, row| Sealed::Usage.opened(key, row).is_some(),
            Sealed::Retired => |key, row| Sealed::Retired.opened(key, row).is_some(),
            Sealed::Libraries => |key, row| Sealed::Libraries.opened(key, row).is_some(),
            Sealed::Meta => |key, row| Sealed::Meta.opened(key, row).is_some(),
        };
        let row = self.reader.get(snapshot, table.name(), key, is_sound, Wait::ForDisk)?;
        row.map(|row| self.unseal(table, key, row)).transpose()
    }

    /// A value as a write transaction has it.
    pub(super) fn sealed_value_in<'t>(
        &self,
        batch: &'t mut WriteBatch<'_>,
        table: Sealed,
        key: &[u8],
    ) -> Result<Option<&'t [u8]>, Fault> {
        let row = batch.get(self.sealed_table(table), key)?;
        row.map(|row| self.unseal(table, key, row)).transpose()
    }

    pub(super) fn put_sealed(
        &self,
        batch: &mut WriteBatch<'_>,
        table: Sealed,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Fault> {
        if !self.is_sealed() {
            return batch.put(self.sealed_table(table), key, value);
        }
        batch.put(self.sealed_table(table), key, &[value, &table.seal(key, value)].concat())
    }

    fn is_of_this_format(&self) -> bool {
        self.format.load(Ordering::Relaxed) == FORMAT
    }

    /// Whether dictionaries may be added, which servers of older formats could not read.
    pub fn takes_dictionaries(&self) -> bool {
        self.format.load(Ordering::Relaxed) >= FORMAT_WITH_CODES
    }

    /// Whether libraries of functions may be added, of which servers of older formats know nothing.
    pub fn takes_libraries(&self) -> bool {
        self.format.load(Ordering::Relaxed) >= FORMAT_WITH_LIBRARIES
    }

    /// As if there had been no space to convert an environment of an older format.
    #[cfg(test)]
    pub fn pretend_format(&self, format: u32) {
        self.format.store(format, Ordering::Relaxed);
    }

    /// Converts an environment of an older format to this one, in one commit.
    pub fn upgrade(&self) -> Result<(), Fault> {
        if self.is_of_this_format() {
            return Ok(());
        }
        let mut batch = self.batch()?;
        for table in Sealed::ALL.into_iter().filter(|_| !self.is_sealed()) {
            let mut rows = Vec::new();
            for row in batch.rows_before(self.sealed_table(table), Bound::Unbounded, None)? {
                let (key, value) = row?;
                rows.push((key.to_vec(), [value, &table.seal(key, value)].concat()));
            }
            for (key, row) in rows.iter().filter(|(key, _)| table != Sealed::Meta || key != FORMAT_ROW) {
                batch.put(self.sealed_table(table), key, row)?;
            }
        }
        batch.put(&self.meta, FORMAT_ROW, &FORMAT.to_be_bytes())?;
        self.commit(batch)?;
        self.format.store(FORMAT, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use super::*;
    use crate::engine::recovery::check;
    use crate::engine::{Engine, Expiry, Options};
    use crate::store::{Definition, Key, Value};

    type Row = (Sealed, Vec<u8>, Vec<u8>);

    fn rows(tables: &Tables) -> Vec<Row> {
        let snapshot = tables.snapshot().unwrap();
        let of = |table: Sealed| {
            let rows = tables.sealed_table(table).rows.iter(&snapshot).unwrap().map(Result::unwrap);
            rows.map(|(key, row)| (table, key.to_vec(), row.to_vec())).collect::<Vec<_>>()
        };
        Sealed::ALL.into_iter().flat_map(of).filter(|(_, key, _)| key != FORMAT_ROW).collect()
    }

    fn put_raw(tables: &Tables, (table, key, row): &Row) {
        let mut batch = tables.batch().unwrap();
        batch.put(tables.sealed_table(*table), key, row).unwrap();
        tables.commit(batch).unwrap();
    }

    /// A closed engine's directory, with a row of every kind.
    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::new(dir.path())).unwrap();
        let named = Definition { name: Some("orders".into()), ..Definition::default() };
        engine.writer().write(1, &[], |txn| txn.define(None, named)).unwrap();
        for at in 0..20 {
            let key = Key::new(0, Bytes::from(format!("key:{at}")));
            let put =
                |txn: &mut crate::engine::WriteTxn<'_>| txn.put(&key, Value::integer(at), Expiry::Never);
            engine.writer().write(1, std::slice::from_ref(&key), put).unwrap();
        }
        let put = |txn: &mut crate::engine::WriteTxn<'_>| {
            txn.put_library("lib".into(), "#!lua name=lib".into());
            Ok::<_, crate::engine::Error>(())
        };
        engine.writer().write(1, &[], put).unwrap();
        engine.close().unwrap();
        drop(engine);
        let tables = open(dir.path());
        let mut batch = tables.batch().unwrap();
        tables.retire(&mut batch, 900).unwrap();
        tables.commit(batch).unwrap();
        dir
    }

    fn open(dir: &Path) -> Tables {
        Tables::open(&dir.join("lmdb"), None).unwrap()
    }

    /// Reads every row of the sealed tables.
    fn read(tables: &Tables) -> Result<(), Fault> {
        let snapshot = tables.snapshot()?;
        for (_, generation, _) in tables.stores(&snapshot)? {
            tables.usage(&snapshot, generation)?;
        }
        for name in ["checkpoint", "last_generation", "next_store", "journal"] {
            tables.meta_number(&snapshot, name)?;
        }
        tables.timeline(&snapshot)?;
        tables.retired(&snapshot)?;
        tables.libraries(&snapshot)?;
        Ok(())
    }

    #[test]
    fn any_changed_byte_of_a_small_table_is_noticed() {
        let dir = directory();
        let tables = open(dir.path());
        read(&tables).unwrap();
        let mut met = std::collections::BTreeSet::new();
        for row in rows(&tables) {
            met.insert(row.0.name());
            for at in 0..row.2.len() {
                let mut changed = row.clone();
                changed.2[at] ^= 1 << (at % 8);
                put_raw(&tables, &changed);
                let read = read(&tables);
                assert!(matches!(read, Err(Fault::Damaged(_))), "byte {at} of {row:?}: {read:?}");
            }
            // the row of another key
            let moved = (row.0, row.1.clone(), [&row.2[..], b"x"].concat());
            put_raw(&tables, &moved);
            assert!(read(&tables).is_err());
            put_raw(&tables, &row);
        }
        read(&tables).unwrap();
        assert_eq!(met.len(), Sealed::ALL.len(), "{met:?}");
    }

    #[test]
    fn an_environment_of_an_older_format_is_read_and_converted() {
        for format in 1..FORMAT {
            let is_sealed = format >= FORMAT_WITH_SEALS;
            let dir = directory();
            let expected = {
                let tables = open(dir.path());
                let expected = rows(&tables);
                for (table, key, row) in &expected {
                    let bytes = table.opened(key, row).unwrap();
                    let bytes = if is_sealed { row.len() } else { bytes };
                    put_raw(&tables, &(*table, key.clone(), row[..bytes].to_vec()));
                }
                put_raw(&tables, &(Sealed::Meta, FORMAT_ROW.to_vec(), format.to_be_bytes().to_vec()));
                expected
            };
            {
                let tables = open(dir.path());
                assert_eq!((tables.is_sealed(), tables.takes_libraries()), (is_sealed, false));
                read(&tables).unwrap();
                // a look changes nothing, and what is written meanwhile fits the old format
                let mut batch = tables.batch().unwrap();
                tables.put_meta_number(&mut batch, "next_store", 17).unwrap();
                tables.commit(batch).unwrap();
            }
            let tables = open(dir.path());
            assert_eq!(tables.meta_number(&tables.snapshot().unwrap(), "next_store").unwrap(), Some(17));
            tables.upgrade().unwrap();
            assert!(tables.is_sealed() && tables.takes_dictionaries() && tables.takes_libraries());
            drop(tables);
            let tables = open(dir.path());
            assert!(tables.is_sealed() && tables.takes_dictionaries() && tables.takes_libraries());
            assert_eq!(rows(&tables), expected);
            drop(tables);
            assert_eq!(check::check(dir.path()).unwrap().problems, [""; 0]);
            Engine::open(Options::new(dir.path())).unwrap().close().unwrap();
        }
    }
}
