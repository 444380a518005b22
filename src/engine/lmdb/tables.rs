//! Reading and writing the tables, in terms of generations, keys, records and stores.

use std::borrow::Cow;
use std::ops::Bound;
use std::sync::atomic::AtomicU32;

use bytes::Bytes;
use heed::{Env, WithoutTls};

use super::batch::WriteBatch;
use super::env::{Snapshot, Table};
use super::fault::Fault;
use super::reader::Reader;
use super::residence::Wait;
use super::seals::Sealed;
use super::{deadline_key, record_key, split_deadline_key, split_record_key};
use crate::limits::{CHECKED_BYTES_MAX, GENERATION_BYTES};
use crate::record::Damage;
use crate::record::dictionary::Dictionary;
use crate::record::header::RecordView;
use crate::record::shared;
use crate::store::usage::Weight;
use crate::store::{Definition, Generation, Libraries, StoreId, Usage};

/// The row of `meta` that identifies the journal that belongs to the tables.
pub const JOURNAL: &str = "journal";
const RECORDS: &str = "records";
const DEADLINES: &str = "deadlines";
const TIMELINE: &[u8] = b"ages";
/// The timeline of versions before 0.2, by the wall clock.
const WALL_CLOCK_TIMELINE: &[u8] = b"timeline";

/// The environment and its tables; cheap to share by reference, closed when dropped.
pub struct Tables {
    pub(super) env: Env<WithoutTls>,
    pub(super) records: Table,
    pub(super) deadlines: Table,
    pub(super) stores: Table,
    pub(super) usage: Table,
    pub(super) retired: Table,
    pub(super) dictionaries: Table,
    pub(super) libraries: Table,
    pub(super) meta: Table,
    /// The reader for snapshots.
    pub(super) reader: Reader,
    /// Of an environment that could not be converted, an older one.
    pub(super) format: AtomicU32,
    #[cfg(test)]
    pub(in crate::engine) watch: CommitWatch,
}

/// The timeline of retention, in its stored form.
pub enum StoredTimeline<'t> {
    None,
    ByWallClock(&'t [u8]),
    Own(&'t [u8]),
}

/// Called before and after every commit.
#[cfg(test)]
pub(in crate::engine) type CommitWatch = std::sync::OnceLock<Box<dyn Fn(CommitStep) + Send + Sync>>;

#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitStep {
    Begins,
    Durable,
}

/// A record in the map: not verified, not decompressed.
#[derive(Clone, Copy)]
pub struct DiskRecord<'t> {
    /// The header, not verified.
    pub view: RecordView<'t>,
    /// The whole record, header and payload.
    pub bytes: &'t [u8],
    tables: &'t Tables,
    /// The snapshot in which it was found, and in which its dictionary is.
    txn: &'t Snapshot<'t>,
}

impl std::fmt::Debug for DiskRecord<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view.fmt(f)
    }
}

/// An unchecked row of the table `records`.
pub struct RecordRow<'t> {
    pub generation: Generation,
    pub key: &'t [u8],
    pub bytes: &'t [u8],
}

/// A row of the table `deadlines`.
pub struct DeadlineRow<'t> {
    /// The row's own key, from which a walk can continue.
    pub position: &'t [u8],
    pub deadline: u64,
    pub generation: Generation,
    pub key: &'t [u8],
}

impl<'t> DiskRecord<'t> {
    /// The value as the client set it, verified and decompressed.
    pub fn value(&self, generation: Generation, key: &[u8]) -> Result<Bytes, Fault> {
        stored_value(generation, key, self.bytes, self.dictionary(generation, key)?.as_ref())
    }

    /// The dictionary that it was compressed with.
    pub fn dictionary(&self, generation: Generation, key: &[u8]) -> Result<Option<Dictionary<'t>>, Fault> {
        let Some(id) = self.view.dictionary else { return Ok(None) };
        let found = self.tables.dictionary(self.txn, generation, id)?;
        found.map(Some).map_err(|damage| damaged_record(key, damage))
    }

    /// Whether the record has expired, with a verified deadline.
    pub fn is_sound(&self, generation: Generation, key: &[u8], now_ms: u64) -> bool {
        self.view.expires_at_ms.is_none_or(|deadline| deadline > now_ms)
            || self.bytes.len() > CHECKED_BYTES_MAX
            || is_sound_record(&record_key(generation, key), self.bytes)
    }

    /// What the record adds to its store's usage.
    pub fn weight(&self, key: &[u8]) -> Weight {
        weight(key, &self.view, self.bytes)
    }
}

impl Tables {
    pub fn snapshot(&self) -> Result<Snapshot<'_>, Fault> {
        Ok(self.env.read_txn()?)
    }

    pub fn batch(&self) -> Result<WriteBatch<'_>, Fault> {
        WriteBatch::begin(self)
    }

    /// Makes a batch durable, or fails and changes nothing.
    pub fn commit(&self, batch: WriteBatch<'_>) -> Result<(), Fault> {
        #[cfg(test)]
        self.tell(CommitStep::Begins);
        batch.commit()?;
        #[cfg(test)]
        self.tell(CommitStep::Durable);
        Ok(())
    }

    #[cfg(test)]
    fn tell(&self, step: CommitStep) {
        if let Some(watch) = self.watch.get() {
            watch(step);
        }
    }

    pub fn map_bytes(&self) -> u64 {
        self.env.info().map_size as u64
    }

    // records

    pub fn record<'t>(
        &'t self,
        txn: &'t Snapshot<'_>,
        generation: Generation,
        key: &[u8],
        wait: Wait,
    ) -> Result<Option<DiskRecord<'t>>, Fault> {
        let table_key = record_key(generation, key);
        match self.reader.get(txn, RECORDS, &table_key, is_sound_record, wait)? {
            Some(bytes) => {
                let record = self.disk_record(txn, &table_key, bytes)?;
                // with a damaged deadline the record would be absent, and nobody would read its value
                if record.view.expires_at_ms.is_some() && bytes.len() <= CHECKED_BYTES_MAX {
                    RecordView::parse(&table_key, bytes).map_err(|damage| damaged_record(key, damage))?;
                }
                Ok(Some(record))
            }
            None => Ok(None),
        }
    }

    /// Asks the system for the pages on which some records are or would be, in ascending order, so that it reads them at
    /// the same time.
    pub fn fetch_records<'k>(
        &self,
        txn: &Snapshot<'_>,
        records: impl Iterator<Item = (Generation, &'k [u8])>,
    ) {
        let keys: Vec<_> = records.map(|(generation, key)| record_key(generation, key)).collect();
        self.reader.fetch_leaves(txn, RECORDS, keys.iter().map(|key| &key[..]));
    }

    fn disk_record<'t>(
        &'t self,
        txn: &'t Snapshot<'_>,
        table_key: &[u8],
        bytes: &'t [u8],
    ) -> Result<DiskRecord<'t>, Fault> {
        let key = &table_key[GENERATION_BYTES.min(table_key.len())..];
        Ok(DiskRecord { view: peek(key, bytes)?, bytes, tables: self, txn })
    }

    /// The records of a generation in key order, from a bound on.
    pub fn records_from<'t>(
        &'t self,
        txn: &'t Snapshot<'_>,
        generation: Generation,
        from: Bound<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<(&'t [u8], DiskRecord<'t>), Fault>> + use<'t>, Fault> {
        let start = match from {
            Bound::Included(key) => Bound::Included(record_key(generation, key)),
            Bound::Excluded(key) => Bound::Excluded(record_key(generation, key)),
            Bound::Unbounded => Bound::Included(record_key(generation, b"")),
        };
        let end = record_key(generation + 1, b"");
        let rows = self.reader.rows(txn, RECORDS, start.as_ref().map(|key| &key[..]), Some(&end))?;
        Ok(rows.map(move |row| {
            let (table_key, bytes) = row?;
            let (_, key) =
                split_record_key(table_key).ok_or(Fault::Damaged("a record's key is too short".into()))?;
            Ok((key, self.disk_record(txn, table_key, bytes)?))
        }))
    }

    /// Every row of the table `records`.
    pub fn record_rows<'t>(
        &'t self,
        txn: &'t Snapshot<'_>,
    ) -> Result<impl Iterator<Item = Result<RecordRow<'t>, Fault>> + use<'t>, Fault> {
        let rows = self.reader.rows(txn, RECORDS, Bound::Unbounded, None)?;
        Ok(rows.map(|row| {
            let (table_key, bytes) = row?;
            let (generation, key) =
                split_record_key(table_key).ok_or(Fault::Damaged("a record's key is too short".into()))?;
            Ok(RecordRow { generation, key, bytes })
        }))
    }

    /// Writes a record and its deadline. Returns the size of the record that it replaces.
    pub fn put_record(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        key: &[u8],
        expires_at_ms: Option<u64>,
        record: &[u8],
    ) -> Result<Option<Weight>, Fault> {
        let replaced = self.unindex(batch, generation, key)?;
        batch.put(&self.records, &record_key(generation, key), record)?;
        if let Some(deadline) = expires_at_ms {
            batch.put(&self.deadlines, &deadline_key(deadline, generation, key), &[])?;
        }
        Ok(replaced)
    }

    /// Removes a record and its deadline. Returns the size of the removed record.
    pub fn remove_record(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        key: &[u8],
    ) -> Result<Option<Weight>, Fault> {
        let replaced = self.unindex(batch, generation, key)?;
        if replaced.is_some() {
            batch.delete(&self.records, &record_key(generation, key))?;
        }
        Ok(replaced)
    }

    fn unindex(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        key: &[u8],
    ) -> Result<Option<Weight>, Fault> {
        let Some(bytes) = batch.get(&self.records, &record_key(generation, key))? else { return Ok(None) };
        let view = peek(key, bytes)?;
        let (weight, deadline) = (weight(key, &view, bytes), view.expires_at_ms);
        if let Some(deadline) = deadline {
            batch.delete(&self.deadlines, &deadline_key(deadline, generation, key))?;
        }
        Ok(Some(weight))
    }

    // deadlines

    /// Deadlines up to now, earliest first, after the position of an earlier walk.
    pub fn due<'t>(
        &'t self,
        txn: &'t Snapshot<'_>,
        after: Option<&[u8]>,
        now_ms: u64,
    ) -> Result<impl Iterator<Item = Result<DeadlineRow<'t>, Fault>> + use<'t>, Fault> {
        let end = deadline_key(now_ms.saturating_add(1), 0, b"");
        // a start after the end is an empty range, which LMDB accepts but Rust's ranges don't
        let start = after.filter(|after| *after < &end[..]).map_or(Bound::Unbounded, Bound::Excluded);
        let nothing_left = after.is_some_and(|after| after >= &end[..]);
        let rows = self.reader.rows(txn, DEADLINES, start, Some(&end))?;
        Ok(rows.take_while(move |_| !nothing_left).map(|row| deadline_row(row?.0)))
    }

    /// Whether a record is in the index with this deadline.
    pub fn has_deadline(
        &self,
        txn: &Snapshot<'_>,
        deadline: u64,
        generation: Generation,
        key: &[u8],
    ) -> Result<bool, Fault> {
        let row = self.reader.get(
            txn,
            DEADLINES,
            &deadline_key(deadline, generation, key),
            |_, _| true,
            Wait::ForDisk,
        )?;
        Ok(row.is_some())
    }

    /// Every row of the table `deadlines`.
    pub fn deadline_rows<'t>(
        &'t self,
        txn: &'t Snapshot<'_>,
    ) -> Result<impl Iterator<Item = Result<DeadlineRow<'t>, Fault>> + use<'t>, Fault> {
        let rows = self.reader.rows(txn, DEADLINES, Bound::Unbounded, None)?;
        Ok(rows.map(|row| deadline_row(row?.0)))
    }

    // stores and usage

    pub fn stores(&self, txn: &Snapshot<'_>) -> Result<Vec<(StoreId, Generation, Definition)>, Fault> {
        let damaged = || Fault::Damaged("a row of the table 'stores' is malformed".into());
        let mut stores = Vec::new();
        for row in self.reader.rows(txn, Sealed::Stores.name(), Bound::Unbounded, None)? {
            let (id, row) = row?;
            let bytes = self.unseal(Sealed::Stores, id, row)?;
            let id = id.try_into().map(StoreId::from_be_bytes).map_err(|_| damaged())?;
            let (generation, definition) = split_record_key(bytes).ok_or_else(damaged)?;
            stores.push((id, generation, Definition::decode(definition).ok_or_else(damaged)?));
        }
        Ok(stores)
    }

    /// Replaces the whole table of stores.
    pub fn put_stores<'a>(
        &self,
        batch: &mut WriteBatch<'_>,
        stores: impl Iterator<Item = (StoreId, Generation, &'a Definition)>,
    ) -> Result<(), Fault> {
        batch.clear(&self.stores)?;
        for (id, generation, definition) in stores {
            let row = record_key(generation, &definition.encode());
            self.put_sealed(batch, Sealed::Stores, &id.to_be_bytes(), &row)?;
        }
        Ok(())
    }

    pub fn usage(&self, txn: &Snapshot<'_>, generation: Generation) -> Result<Usage, Fault> {
        usage_of(self.sealed_value(txn, Sealed::Usage, &record_key(generation, b""))?)
    }

    /// As a write transaction has it.
    pub fn usage_in(&self, batch: &mut WriteBatch<'_>, generation: Generation) -> Result<Usage, Fault> {
        usage_of(self.sealed_value_in(batch, Sealed::Usage, &record_key(generation, b""))?)
    }
    pub fn put_usage(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        usage: &Usage,
    ) -> Result<(), Fault> {
        let mut row = [0; 32];
        let fields = [usage.records, usage.expiring, usage.plain_bytes, usage.stored_bytes];
        for (slot, field) in row.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_be_bytes());
        }
        self.put_sealed(batch, Sealed::Usage, &record_key(generation, b""), &row)
    }

    // what was flushed or dropped

    pub fn retire(&self, batch: &mut WriteBatch<'_>, generation: Generation) -> Result<(), Fault> {
        self.put_sealed(batch, Sealed::Retired, &record_key(generation, b""), &[])
    }

    /// Adds a generation whose records are garbage.
    pub fn first_retired(&self, txn: &Snapshot<'_>) -> Result<Option<Generation>, Fault> {
        let mut rows = self.reader.rows(txn, Sealed::Retired.name(), Bound::Unbounded, None)?;
        rows.next().map(|row| self.retired_row(row?)).transpose()
    }

    fn retired_row(&self, (key, row): (&[u8], &[u8])) -> Result<Generation, Fault> {
        self.unseal(Sealed::Retired, key, row)?;
        let malformed = || Fault::Damaged("a row of the table 'retired' is malformed".into());
        split_record_key(key).map(|(generation, _)| generation).ok_or_else(malformed)
    }

    /// All generations whose records are garbage.
    pub fn retired(&self, txn: &Snapshot<'_>) -> Result<Vec<Generation>, Fault> {
        let rows = self.reader.rows(txn, Sealed::Retired.name(), Bound::Unbounded, None)?;
        rows.map(|row| self.retired_row(row?)).collect()
    }

    /// Removes up to `records_max` records of a retired generation, and the generation itself once it is empty. Returns
    /// whether it is empty.
    pub fn reclaim(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        records_max: usize,
    ) -> Result<bool, Fault> {
        let (start, end) = (record_key(generation, b""), record_key(generation + 1, b""));
        let mut doomed = Vec::new();
        let rows = batch.rows_before(&self.records, Bound::Included(&start[..]), Some(&end))?;
        for row in rows.take(records_max) {
            let (table_key, bytes) = row?;
            let key = split_record_key(table_key).map_or(&b""[..], |(_, key)| key);
            // a damaged record is garbage all the same; its deadline, if any, is dropped by the sweeper
            let deadline = RecordView::peek(bytes).ok().and_then(|view| view.expires_at_ms);
            doomed
                .push((table_key.to_vec(), deadline.map(|deadline| deadline_key(deadline, generation, key))));
        }
        for (table_key, deadline) in &doomed {
            batch.delete(&self.records, table_key)?;
            if let Some(deadline) = deadline {
                batch.delete(&self.deadlines, deadline)?;
            }
        }
        let empty = doomed.len() < records_max;
        if empty {
            batch.delete(&self.retired, &record_key(generation, b""))?;
            batch.delete(&self.usage, &record_key(generation, b""))?;
            self.remove_dictionaries(batch, generation)?;
        }
        Ok(empty)
    }

    // libraries of functions

    pub fn libraries(&self, txn: &Snapshot<'_>) -> Result<Libraries, Fault> {
        let rows = self.reader.rows(txn, Sealed::Libraries.name(), Bound::Unbounded, None)?;
        rows.map(|row| {
            let (name, row) = row?;
            let text = self.unseal(Sealed::Libraries, name, row)?;
            Ok((Bytes::copy_from_slice(name), Bytes::copy_from_slice(text)))
        })
        .collect()
    }

    /// Replaces the whole table of libraries.
    pub fn put_libraries(&self, batch: &mut WriteBatch<'_>, libraries: &Libraries) -> Result<(), Fault> {
        batch.clear(&self.libraries)?;
        libraries.iter().try_for_each(|(name, text)| self.put_sealed(batch, Sealed::Libraries, name, text))
    }

    // meta

    pub fn meta_number(&self, txn: &Snapshot<'_>, name: &str) -> Result<Option<u64>, Fault> {
        let Some(bytes) = self.sealed_value(txn, Sealed::Meta, name.as_bytes())? else { return Ok(None) };
        let malformed = |_| Fault::Damaged(format!("the row '{name}' of the table 'meta' is malformed"));
        bytes.try_into().map(|bytes| Some(u64::from_be_bytes(bytes))).map_err(malformed)
    }

    pub fn put_meta_number(&self, batch: &mut WriteBatch<'_>, name: &str, number: u64) -> Result<(), Fault> {
        self.put_sealed(batch, Sealed::Meta, name.as_bytes(), &number.to_be_bytes())
    }

    /// What retention knows of times, as it wrote it.
    pub fn timeline<'t>(&self, txn: &'t Snapshot<'_>) -> Result<StoredTimeline<'t>, Fault> {
        Ok(
            match (
                self.sealed_value(txn, Sealed::Meta, TIMELINE)?,
                self.sealed_value(txn, Sealed::Meta, WALL_CLOCK_TIMELINE)?,
            ) {
                (Some(bytes), _) => StoredTimeline::Own(bytes),
                (None, Some(bytes)) => StoredTimeline::ByWallClock(bytes),
                (None, None) => StoredTimeline::None,
            },
        )
    }

    pub fn put_timeline(&self, batch: &mut WriteBatch<'_>, timeline: &[u8]) -> Result<(), Fault> {
        batch.delete(&self.meta, WALL_CLOCK_TIMELINE)?;
        self.put_sealed(batch, Sealed::Meta, TIMELINE, timeline)
    }

    /// The journal sequence number up to which the tables reflect everything.
    pub fn checkpoint(&self, txn: &Snapshot<'_>) -> Result<u64, Fault> {
        Ok(self.meta_number(txn, "checkpoint")?.unwrap_or(0))
    }
}

fn usage_of(row: Option<&[u8]>) -> Result<Usage, Fault> {
    let Some(bytes) = row else { return Ok(Usage::default()) };
    let field =
        |at: usize| bytes.get(8 * at..8 * at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
    match (field(0), field(1), field(2), field(3)) {
        (Some(records), Some(expiring), Some(plain_bytes), Some(stored_bytes)) if bytes.len() == 32 => {
            Ok(Usage { records, expiring, plain_bytes, stored_bytes })
        }
        _ => Err(Fault::Damaged("a row of the table 'usage' is malformed".into())),
    }
}

fn is_sound_record(table_key: &[u8], record: &[u8]) -> bool {
    RecordView::parse(table_key, record).is_ok()
}

fn deadline_row(position: &[u8]) -> Result<DeadlineRow<'_>, Fault> {
    let parts = split_deadline_key(position).ok_or(Fault::Damaged("a deadline's key is too short".into()));
    parts.map(|(deadline, generation, key)| DeadlineRow { position, deadline, generation, key })
}

/// The value in the bytes of a record, verified and decompressed, with the dictionary that it refers to.
pub fn stored_value(
    generation: Generation,
    key: &[u8],
    record: &[u8],
    dictionary: Option<&Dictionary<'_>>,
) -> Result<Bytes, Fault> {
    let damaged = |damage| damaged_record(key, damage);
    let view = RecordView::parse(&record_key(generation, key), record).map_err(damaged)?;
    Ok(match view.plain(dictionary).map_err(damaged)? {
        Cow::Borrowed(plain) => shared::copy(plain),
        Cow::Owned(plain) => shared::keep(plain),
    })
}

fn peek<'t>(key: &[u8], bytes: &'t [u8]) -> Result<RecordView<'t>, Fault> {
    RecordView::peek(bytes).map_err(|damage| damaged_record(key, damage))
}

fn damaged_record(key: &[u8], damage: Damage) -> Fault {
    Fault::Damaged(format!("record '{}': {damage}", key.escape_ascii()))
}

fn weight(key: &[u8], view: &RecordView<'_>, bytes: &[u8]) -> Weight {
    Weight {
        expires: view.expires_at_ms.is_some(),
        plain_bytes: (key.len() + view.plain_len) as u64,
        stored_bytes: (key.len() + bytes.len()) as u64,
    }
}
