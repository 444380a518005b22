//! The table of dictionaries. A dictionary is there before the first record that refers to it, and is removed with the
//! last.

use std::ops::Bound;

use super::batch::WriteBatch;
use super::env::Snapshot;
use super::fault::Fault;
use super::residence::Wait;
use super::{TableKey, Tables, record_key};
use crate::record::Damage;
use crate::record::dictionary::Dictionary;
use crate::store::Generation;

const DICTIONARIES: &str = "dictionaries";

/// The dictionaries of a generation.
#[derive(Default)]
pub struct Known {
    /// The newest one that is not damaged, of those with codes.
    pub newest: Option<Dictionary<'static>>,
    /// How many there are, not counting those without codes.
    pub count: usize,
    /// The greatest id of all of them, 0 for none.
    pub last_id: u32,
}

impl Tables {
    /// A dictionary that a record refers to.
    pub(super) fn dictionary<'t>(
        &self,
        txn: &'t Snapshot<'_>,
        generation: Generation,
        id: u32,
    ) -> Result<Result<Dictionary<'t>, Damage>, Fault> {
        let key = dictionary_key(generation, id);
        // a missing dictionary is damage, whatever the reason
        Ok(match self.reader.get(txn, DICTIONARIES, &key, |_, _| true, Wait::ForDisk)? {
            Some(row) => Dictionary::parse(id, &key, row),
            None => Err(Damage::UnknownDictionary(id)),
        })
    }

    /// What new records of a generation can be compressed with.
    pub fn known_dictionaries(&self, txn: &Snapshot<'_>, generation: Generation) -> Result<Known, Fault> {
        let (start, end) = (dictionary_key(generation, 0), dictionary_key(generation + 1, 0));
        let mut known = Known::default();
        for row in self.reader.rows(txn, DICTIONARIES, Bound::Included(&start[..]), Some(&end))? {
            let (key, row) = row?;
            let Some(id) = key.last_chunk().map(|id| u32::from_be_bytes(*id)) else { continue };
            known.last_id = id;
            match Dictionary::parse(id, key, row) {
                Ok(Dictionary { lengths: None, .. }) => continue,
                Ok(dictionary) => known.newest = Some(dictionary.into_owned()),
                Err(_) => {}
            }
            known.count += 1;
        }
        Ok(known)
    }

    /// Every row of the table: the generation, and the dictionary or what is wrong with it.
    pub fn dictionary_rows<'t>(
        &'t self,
        txn: &'t Snapshot<'_>,
    ) -> Result<impl Iterator<Item = Result<(Generation, Dictionary<'t>), Fault>> + use<'t>, Fault> {
        let rows = self.reader.rows(txn, DICTIONARIES, Bound::Unbounded, None)?;
        Ok(rows.map(|row| {
            let (key, row) = row?;
            let (generation, id) = super::split_record_key(key)
                .and_then(|(generation, id)| Some((generation, u32::from_be_bytes(id.try_into().ok()?))))
                .ok_or(Fault::Damaged("a dictionary's key is malformed".into()))?;
            match Dictionary::parse(id, key, row) {
                Ok(dictionary) => Ok((generation, dictionary)),
                Err(_) => {
                    Err(Fault::Damaged(format!("dictionary {id} of generation {generation} is damaged")))
                }
            }
        }))
    }

    /// From this commit on, records may refer to the dictionary.
    pub fn put_dictionary(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        dictionary: &Dictionary<'_>,
    ) -> Result<(), Fault> {
        let key = dictionary_key(generation, dictionary.id);
        batch.put(&self.dictionaries, &key, &dictionary.row(&key))
    }

    pub(super) fn remove_dictionaries(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
    ) -> Result<(), Fault> {
        let (start, end) = (dictionary_key(generation, 0), dictionary_key(generation + 1, 0));
        let rows = batch.rows_before(&self.dictionaries, Bound::Included(&start[..]), Some(&end))?;
        let keys = rows.map(|row| row.map(|(key, _)| TableKey::from_slice(key)));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        keys.iter().try_for_each(|key| batch.delete(&self.dictionaries, key))
    }
}

#[cfg(test)]
impl Tables {
    /// Changes the row of a dictionary as no server would.
    pub fn put_dictionary_row(
        &self,
        batch: &mut WriteBatch<'_>,
        generation: Generation,
        id: u32,
        change: impl FnOnce(&mut [u8]),
    ) {
        let key = dictionary_key(generation, id);
        let row = batch.get(&self.dictionaries, &key).ok().flatten();
        let mut row = row.map(<[u8]>::to_vec).unwrap_or_default();
        change(&mut row);
        assert!(batch.put(&self.dictionaries, &key, &row).is_ok());
    }
}

fn dictionary_key(generation: Generation, id: u32) -> TableKey {
    record_key(generation, &id.to_be_bytes())
}
