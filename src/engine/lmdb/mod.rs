//! The LMDB environment and its tables: the only place that knows `heed`, and the only one with `unsafe`.
//!
//! | table | key | value |
//! |---|---|---|
//! | `records` | generation u48, key | a record: see [`crate::record::header`] |
//! | `deadlines` | expires_at_ms u48, generation u48, key | nothing |
//! | `stores` | store u32 | generation u48, definition as JSON |
//! | `usage` | generation u48 | records, expiring, plain bytes, stored bytes: u64 each |
//! | `retired` | generation u48 | nothing: its records are garbage and are reclaimed bit by bit |
//! | `dictionaries` | generation u48, id u32 | a dictionary: see [`crate::record::dictionary`] |
//! | `libraries` | the name of a library of functions | its text |
//! | `meta` | a name | `format` u32, `checkpoint` u64 (journal sequence number that all of this reflects), … |
//!
//! Numbers are big-endian. Only the checkpoint writes, one transaction at a time, and readers never wait for it.
#![allow(unsafe_code)]

mod batch;
mod copy;
#[cfg(test)]
mod damage_tests;
mod dictionaries;
mod env;
mod fault;
pub mod pages;
mod reader;
pub mod residence;
mod seals;
mod space;
mod tables;
mod vet;

pub use batch::WriteBatch;
pub use dictionaries::Known;
pub use env::{DATA_FILE, FORMAT, OpenError, Snapshot};
pub use fault::{Fault, advice};
pub use heed::{Error as LmdbError, MdbError};
#[cfg(test)]
pub use tables::CommitStep;
pub use tables::{DeadlineRow, DiskRecord, JOURNAL, RecordRow, StoredTimeline, Tables, stored_value};

use smallvec::SmallVec;

use crate::limits::{DEADLINE_BYTES, GENERATION_BYTES};
use crate::store::Generation;

/// A key of the table `records` or `deadlines`, on the stack unless it is long.
pub type TableKey = SmallVec<[u8; 64]>;

/// The latest deadline the index can hold, in the year 10889: a later one is indexed as this one, and found not to be
/// due by then.
const DEADLINE_MAX: u64 = (1 << (8 * DEADLINE_BYTES)) - 1;

/// The key of a record in the table `records`.
pub fn record_key(generation: Generation, key: &[u8]) -> TableKey {
    let mut out = TableKey::with_capacity(GENERATION_BYTES + key.len());
    out.extend_from_slice(&generation.to_be_bytes()[2..]);
    out.extend_from_slice(key);
    out
}

/// The key of a record in the table `deadlines`.
pub fn deadline_key(expires_at_ms: u64, generation: Generation, key: &[u8]) -> TableKey {
    let mut out = TableKey::with_capacity(DEADLINE_BYTES + GENERATION_BYTES + key.len());
    out.extend_from_slice(&expires_at_ms.min(DEADLINE_MAX).to_be_bytes()[2..]);
    out.extend_from_slice(&generation.to_be_bytes()[2..]);
    out.extend_from_slice(key);
    out
}

/// Splits a key of the table `records`.
pub fn split_record_key(table_key: &[u8]) -> Option<(Generation, &[u8])> {
    let (generation, key) = table_key.split_at_checked(GENERATION_BYTES)?;
    Some((read_u48(generation), key))
}

/// Splits a key of the table `deadlines` into deadline, generation and key.
pub fn split_deadline_key(table_key: &[u8]) -> Option<(u64, Generation, &[u8])> {
    let (deadline, rest) = table_key.split_at_checked(DEADLINE_BYTES)?;
    let (generation, key) = split_record_key(rest)?;
    Some((read_u48(deadline), generation, key))
}

fn read_u48(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_apart_as_they_were_put_together() {
        assert_eq!(split_record_key(&record_key(77, b"k")), Some((77, &b"k"[..])));
        assert_eq!(split_deadline_key(&deadline_key(5, 77, b"")), Some((5, 77, &b""[..])));
        assert_eq!(split_deadline_key(&deadline_key(u64::MAX, 1, b"x")), Some((DEADLINE_MAX, 1, &b"x"[..])));
        assert_eq!(split_record_key(b"short"), None);
    }

    #[test]
    fn deadlines_sort_by_time() {
        assert!(deadline_key(255, 9, b"z") < deadline_key(256, 1, b"a"));
    }
}
