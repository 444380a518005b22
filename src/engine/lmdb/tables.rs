//! Reading and writing the tables, in terms of generations, keys, records and stores.

use std::borrow::Cow;
use std::ops::Bound;

use bytes::Bytes;
use heed::{Env, RoTxn, WithoutTls};

use super::env::{Snapshot, Table, WriteBatch};
use super::{deadline_key, record_key, split_deadline_key, split_record_key};
use crate::engine::effect::Definition;
use crate::engine::{Fault, Seq};
use crate::record::Damage;
use crate::record::dictionary::Dictionary;
use crate::record::header::RecordView;
use crate::store::usage::Weight;
use crate::store::{Generation, StoreId, Usage};

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
    pub(super) meta: Table,
    #[cfg(test)]
    pub(in crate::engine) watch: CommitWatch,
}

/// What retention knows of times, as it lies on disk.
pub enum StoredTimeline<'t> {
    None,
    ByWallClock(&'t [u8]),
    Own(&'t [u8]),
}

/// Told before and after every commit.
#[cfg(test)]
pub(in crate::engine) type CommitWatch = std::sync::OnceLock<Box<dyn Fn(CommitStep) + Send + Sync>>;

#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitStep {
    Begins,
    Durable,
}

/// A record as it lies in the map: not checked, not decompressed.
#[derive(Clone, Copy)]
pub struct DiskRecord<'t> {
    /// The header, taken at its word.
    pub view: RecordView<'t>,
    /// All of it, header and payload.
    pub bytes: &'t [u8],
    tables: &'t Tables,
    /// Where it was found, and so is its dictionary.
    txn: &'t Snapshot<'t>,
}

impl std::fmt::Debug for DiskRecord<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view.fmt(f)
    }
}

/// A row of the table `records` as it is.
pub struct RecordRow<'t> {
    pub generation: Generation,
    pub key: &'t [u8],
    pub bytes: &'t [u8],
}

/// A row of the table `deadlines`.
pub struct DeadlineRow<'t> {
    /// The row's own key: where a walk can go on.
    pub position: &'t [u8],
    pub deadline: u64,
    pub generation: Generation,
    pub key: &'t [u8],
}

impl<'t> DiskRecord<'t> {
    /// The value as the client set it, checked and decompressed.
    pub fn value(&self, generation: Generation, key: &[u8]) -> Result<Bytes, Fault> {
        stored_value(generation, key, self.bytes, self.dictionary(generation, key)?.as_ref())
    }

    /// The dictionary that it was compressed with.
    pub fn dictionary(&self, generation: Generation, key: &[u8]) -> Result<Option<Dictionary<'t>>, Fault> {
        let Some(id) = self.view.dictionary else { return Ok(None) };
        let found = self.tables.dictionary(self.txn, generation, id)?;
        found.map(Some).map_err(|damage| damaged_record(key, damage))
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
        Ok(self.env.write_txn()?)
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

    /// The bytes of the file that hold something: what the tables take on disk.
    pub fn file_bytes(&self) -> u64 {
        self.env.real_disk_size().unwrap_or(0)
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
    ) -> Result<Option<DiskRecord<'t>>, Fault> {
        match self.records.get(txn, &record_key(generation, key))? {
            Some(bytes) => self.disk_record(txn, key, bytes).map(Some),
            None => Ok(None),
        }
    }

    fn disk_record<'t>(
        &'t self,
        txn: &'t Snapshot<'_>,
        key: &[u8],
        bytes: &'t [u8],
    ) -> Result<DiskRecord<'t>, Fault> {
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
        let range = (start.as_ref().map(|key| &key[..]), Bound::Excluded(&end[..]));
        let rows = self.records.range(txn, &range)?;
        Ok(rows.map(move |row| {
            let (table_key, bytes) = row?;
            let (_, key) =
                split_record_key(table_key).ok_or(Fault::Damaged("a record's key is too short".into()))?;
            Ok((key, self.disk_record(txn, key, bytes)?))
        }))
    }

    /// Every row of the table `records`.
    pub fn record_rows<'t>(
        &self,
        txn: &'t Snapshot<'_>,
    ) -> Result<impl Iterator<Item = Result<RecordRow<'t>, Fault>> + use<'t>, Fault> {
        let rows = self.records.iter(txn)?;
        Ok(rows.map(|row| {
            let (table_key, bytes) = row?;
            let (generation, key) =
                split_record_key(table_key).ok_or(Fault::Damaged("a record's key is too short".into()))?;
            Ok(RecordRow { generation, key, bytes })
        }))
    }

    /// Writes a record and its deadline; gives the weight of what it replaces.
    pub fn put_record(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        key: &[u8],
        expires_at_ms: Option<u64>,
        record: &[u8],
    ) -> Result<Option<Weight>, Fault> {
        let replaced = self.unindex(batch, generation, key)?;
        self.records.put(batch, &record_key(generation, key), record)?;
        if let Some(deadline) = expires_at_ms {
            self.deadlines.put(batch, &deadline_key(deadline, generation, key), &[])?;
        }
        Ok(replaced)
    }

    /// Removes a record and its deadline; gives the weight of what is gone.
    pub fn remove_record(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        key: &[u8],
    ) -> Result<Option<Weight>, Fault> {
        let replaced = self.unindex(batch, generation, key)?;
        if replaced.is_some() {
            self.records.delete(batch, &record_key(generation, key))?;
        }
        Ok(replaced)
    }

    fn unindex(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        key: &[u8],
    ) -> Result<Option<Weight>, Fault> {
        let Some(bytes) = self.records.get(batch, &record_key(generation, key))? else { return Ok(None) };
        let view = peek(key, bytes)?;
        let (weight, deadline) = (weight(key, &view, bytes), view.expires_at_ms);
        if let Some(deadline) = deadline {
            self.deadlines.delete(batch, &deadline_key(deadline, generation, key))?;
        }
        Ok(Some(weight))
    }

    // deadlines

    /// Deadlines up to now, earliest first, behind a position of an earlier walk.
    pub fn due<'t>(
        &self,
        txn: &'t Snapshot<'_>,
        after: Option<&[u8]>,
        now_ms: u64,
    ) -> Result<impl Iterator<Item = Result<DeadlineRow<'t>, Fault>> + use<'t>, Fault> {
        let end = deadline_key(now_ms.saturating_add(1), 0, b"");
        // a start behind the end is an empty range, which LMDB takes, but Rust's ranges don't
        let start = after.filter(|after| *after < &end[..]).map_or(Bound::Unbounded, Bound::Excluded);
        let nothing_left = after.is_some_and(|after| after >= &end[..]);
        let rows = self.deadlines.range(txn, &(start, Bound::Excluded(&end[..])))?;
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
        Ok(self.deadlines.get(txn, &deadline_key(deadline, generation, key))?.is_some())
    }

    /// Every row of the table `deadlines`.
    pub fn deadline_rows<'t>(
        &self,
        txn: &'t Snapshot<'_>,
    ) -> Result<impl Iterator<Item = Result<DeadlineRow<'t>, Fault>> + use<'t>, Fault> {
        let rows = self.deadlines.iter(txn)?;
        Ok(rows.map(|row| deadline_row(row?.0)))
    }

    // stores and usage

    pub fn stores(&self, txn: &Snapshot<'_>) -> Result<Vec<(StoreId, Generation, Definition)>, Fault> {
        let damaged = || Fault::Damaged("a row of the table 'stores' is malformed".into());
        let mut stores = Vec::new();
        for row in self.stores.iter(txn)? {
            let (id, bytes) = row?;
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
        self.stores.clear(batch)?;
        for (id, generation, definition) in stores {
            self.stores.put(batch, &id.to_be_bytes(), &record_key(generation, &definition.encode()))?;
        }
        Ok(())
    }

    pub fn usage(&self, txn: &RoTxn<'_>, generation: Generation) -> Result<Usage, Fault> {
        let Some(bytes) = self.usage.get(txn, &record_key(generation, b""))? else {
            return Ok(Usage::default());
        };
        let field =
            |at: usize| bytes.get(8 * at..8 * at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
        match (field(0), field(1), field(2), field(3)) {
            (Some(records), Some(expiring), Some(plain_bytes), Some(stored_bytes)) if bytes.len() == 32 => {
                Ok(Usage { records, expiring, plain_bytes, stored_bytes })
            }
            _ => Err(Fault::Damaged("a row of the table 'usage' is malformed".into())),
        }
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
        Ok(self.usage.put(batch, &record_key(generation, b""), &row)?)
    }

    // what was flushed or dropped

    pub fn retire(&self, batch: &mut WriteBatch<'_>, generation: Generation) -> Result<(), Fault> {
        Ok(self.retired.put(batch, &record_key(generation, b""), &[])?)
    }

    /// A generation whose records are garbage.
    pub fn first_retired(&self, txn: &Snapshot<'_>) -> Result<Option<Generation>, Fault> {
        Ok(self
            .retired
            .first(txn)?
            .and_then(|(key, _)| split_record_key(key))
            .map(|(generation, _)| generation))
    }

    /// All generations whose records are garbage.
    pub fn retired(&self, txn: &Snapshot<'_>) -> Result<Vec<Generation>, Fault> {
        let mut generations = Vec::new();
        for row in self.retired.iter(txn)? {
            generations.extend(split_record_key(row?.0).map(|(generation, _)| generation));
        }
        Ok(generations)
    }

    /// Removes up to `records_max` records of a retired generation, and the generation itself once it is empty; says
    /// whether it is.
    pub fn reclaim(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        records_max: usize,
    ) -> Result<bool, Fault> {
        let (start, end) = (record_key(generation, b""), record_key(generation + 1, b""));
        let mut doomed = Vec::new();
        for row in self
            .records
            .range(batch, &(Bound::Included(&start[..]), Bound::Excluded(&end[..])))?
            .take(records_max)
        {
            let (table_key, bytes) = row?;
            let key = split_record_key(table_key).map_or(&b""[..], |(_, key)| key);
            // a damaged record is garbage all the same; its deadline, if any, is dropped by the sweeper
            let deadline = RecordView::peek(bytes).ok().and_then(|view| view.expires_at_ms);
            doomed
                .push((table_key.to_vec(), deadline.map(|deadline| deadline_key(deadline, generation, key))));
        }
        for (table_key, deadline) in &doomed {
            self.records.delete(batch, table_key)?;
            if let Some(deadline) = deadline {
                self.deadlines.delete(batch, deadline)?;
            }
        }
        let empty = doomed.len() < records_max;
        if empty {
            self.retired.delete(batch, &record_key(generation, b""))?;
            self.usage.delete(batch, &record_key(generation, b""))?;
            self.remove_dictionaries(batch, generation)?;
        }
        Ok(empty)
    }

    // meta

    pub fn meta_number(&self, txn: &Snapshot<'_>, name: &str) -> Result<Option<u64>, Fault> {
        let bytes = self.meta.get(txn, name.as_bytes())?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
    }

    pub fn put_meta_number(&self, batch: &mut WriteBatch<'_>, name: &str, number: u64) -> Result<(), Fault> {
        Ok(self.meta.put(batch, name.as_bytes(), &number.to_be_bytes())?)
    }

    /// What retention knows of times, as it wrote it.
    pub fn timeline<'t>(&self, txn: &'t Snapshot<'_>) -> Result<StoredTimeline<'t>, Fault> {
        Ok(match (self.meta.get(txn, TIMELINE)?, self.meta.get(txn, WALL_CLOCK_TIMELINE)?) {
            (Some(bytes), _) => StoredTimeline::Own(bytes),
            (None, Some(bytes)) => StoredTimeline::ByWallClock(bytes),
            (None, None) => StoredTimeline::None,
        })
    }

    pub fn put_timeline(&self, batch: &mut WriteBatch<'_>, timeline: &[u8]) -> Result<(), Fault> {
        self.meta.delete(batch, WALL_CLOCK_TIMELINE)?;
        Ok(self.meta.put(batch, TIMELINE, timeline)?)
    }

    /// The journal sequence number up to which the tables reflect everything.
    pub fn checkpoint(&self, txn: &Snapshot<'_>) -> Result<Seq, Fault> {
        Ok(self.meta_number(txn, "checkpoint")?.unwrap_or(0))
    }
}

fn deadline_row(position: &[u8]) -> Result<DeadlineRow<'_>, Fault> {
    let parts = split_deadline_key(position).ok_or(Fault::Damaged("a deadline's key is too short".into()));
    parts.map(|(deadline, generation, key)| DeadlineRow { position, deadline, generation, key })
}

/// The value in the bytes of a record, checked and decompressed; with the dictionary that it names.
pub fn stored_value(
    generation: Generation,
    key: &[u8],
    record: &[u8],
    dictionary: Option<&Dictionary<'_>>,
) -> Result<Bytes, Fault> {
    let damaged = |damage| damaged_record(key, damage);
    let view = RecordView::parse(&record_key(generation, key), record).map_err(damaged)?;
    Ok(match view.plain(dictionary).map_err(damaged)? {
        Cow::Borrowed(plain) => Bytes::copy_from_slice(plain),
        Cow::Owned(plain) => Bytes::from(plain),
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
