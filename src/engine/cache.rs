//! Decompressed values, by key and version.
//!
//! A version names one state of a record for good, so an entry is never stale and is never invalidated: a look-up with
//! another version just misses. Bounded in bytes.

use std::borrow::Cow;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::lmdb::{DiskRecord, record_key};
use super::{Fault, Seq};
use crate::record::compress::Codec;
use crate::record::header::RecordView;
use crate::store::Generation;

/// What an entry costs beside its key and value.
const ENTRY_OVERHEAD_BYTES: u64 = 128;

pub struct ValueCache {
    cache: Cache<Box<[u8]>, (Seq, Bytes), Weigh>,
    bytes_max: u64,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Box<[u8]>, (Seq, Bytes)> for Weigh {
    fn weight(&self, key: &Box<[u8]>, (_, value): &(Seq, Bytes)) -> u64 {
        (key.len() + value.len()) as u64 + ENTRY_OVERHEAD_BYTES
    }
}

impl ValueCache {
    pub fn new(bytes_max: u64) -> ValueCache {
        let entries = (bytes_max / 1024).max(16) as usize;
        ValueCache { cache: Cache::with_weighter(entries, bytes_max, Weigh), bytes_max }
    }

    /// The value of a record as the client set it, checked and decompressed.
    pub fn value(&self, generation: Generation, key: &[u8], record: &DiskRecord<'_>) -> Result<Bytes, Fault> {
        let table_key = record_key(generation, key);
        if record.view.codec == Codec::Brotli
            && let Some((version, value)) = self.cache.get(&table_key[..])
            && version == record.view.version
        {
            return Ok(value);
        }
        let damaged = |damage| Fault::Damaged(format!("record '{}': {damage}", key.escape_ascii()));
        let view = RecordView::parse(&table_key, record.bytes).map_err(damaged)?;
        match view.plain().map_err(damaged)? {
            Cow::Borrowed(plain) => Ok(Bytes::copy_from_slice(plain)),
            Cow::Owned(plain) => {
                let value = Bytes::from(plain);
                // one value must not push out everything else
                if (value.len() as u64) < self.bytes_max / 8 {
                    self.cache.insert(table_key.into_vec().into_boxed_slice(), (view.version, value.clone()));
                }
                Ok(value)
            }
        }
    }

    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}
