//! Learns dictionaries at a checkpoint, from the records that it is about to write.
//!
//! How much a [dictionary](crate::record::dictionary) saves depends on what a store holds, and that can change. From
//! time to time, a checkpoint therefore makes a dictionary from some of its records, and compresses some others both as
//! before and with the new dictionary. If that saves a tenth or more, the store's records are compressed with it from
//! then on. Records that refer to an earlier dictionary keep it: a dictionary stays until its generation is reclaimed.
//!
//! A store that is so close to its limit that its records are [measured](crate::engine::limits::weigh) as they come learns nothing,
//! because a dictionary that saves space on the whole makes some records longer.
//!
//! Runs on the thread of the checkpoint, without the engine's lock.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::checkpoint::compress::Entered;
use crate::engine::core::Engine;
use crate::engine::error::Fault;
use crate::engine::journal::Seq;
use crate::engine::lmdb::Known;
use crate::limits::DICTIONARIES_PER_GENERATION;
use crate::record::compress::{Compression, compress};
use crate::record::dictionary::Dictionary;
use crate::record::dictionary::encode::Encoder;
use crate::store::Generation;

/// The number of records that it takes to learn from, and the number that are looked at.
const RECORDS_MIN: usize = if cfg!(test) { 4 } else { 32 };
const LOOKED_AT: usize = 192;
/// A checkpoint of so many records always tries, because it costs next to nothing there. A smaller one tries for the
/// first records of a generation, and otherwise one time in eight, at random.
const MANY_RECORDS: usize = if cfg!(test) { 8 } else { 4096 };
const TRY_EACH: u64 = 8;

/// What the records of each generation are compressed with.
#[derive(Default)]
pub struct Dictionaries(HashMap<Generation, Dictionary<'static>>);

impl Dictionaries {
    pub fn get(&self, generation: Generation) -> Option<&Dictionary<'static>> {
        self.0.get(&generation)
    }
}

impl Engine {
    /// The dictionaries with which to compress the entries, in the order of their generations. New ones are durable.
    pub(in crate::engine) fn dictionaries(
        &self,
        entries: &[Entered<'_>],
        compression: &Compression,
        through: Seq,
    ) -> Result<Dictionaries, Fault> {
        let (mut dictionaries, mut learned) = (Dictionaries::default(), Vec::new());
        if !compression.takes_dictionaries() || !self.tables.takes_dictionaries() {
            return Ok(dictionaries);
        }
        let snapshot = self.tables.snapshot()?;
        for entries in entries.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((generation, ..)) = entries.first() else { continue };
            let known = self.tables.known_dictionaries(&snapshot, *generation)?;
            let is_first = match (&known.newest, known.last_id) {
                (Some(_), _) => false,
                (None, 0) => self.tables.usage(&snapshot, *generation)?.records == 0,
                // the dictionaries that there are have no codes, or are damaged
                (None, _) => true,
            };
            let chance =
                xxh3_64(&(through ^ generation.rotate_left(32)).to_be_bytes()).is_multiple_of(TRY_EACH);
            let is_tight = self.state.read().tight.holds(*generation);
            let new = if !is_tight && (entries.len() >= MANY_RECORDS || chance || is_first) {
                learn(entries, &known, compression)
            } else {
                None
            };
            learned.extend(new.as_ref().map(|new| (*generation, new.clone())));
            dictionaries.0.extend(new.or(known.newest).map(|dictionary| (*generation, dictionary)));
        }
        drop(snapshot);
        if !learned.is_empty() {
            let mut batch = self.tables.batch()?;
            for (generation, dictionary) in &learned {
                tracing::debug!(generation, id = dictionary.id, "learned a dictionary");
                self.tables.put_dictionary(&mut batch, *generation, dictionary)?;
            }
            self.tables.commit(batch)?;
        }
        Ok(dictionaries)
    }
}

/// A dictionary that compresses the entries better than the newest known one.
fn learn(entries: &[Entered<'_>], known: &Known, compression: &Compression) -> Option<Dictionary<'static>> {
    if known.count >= DICTIONARIES_PER_GENERATION {
        return None;
    }
    let values: Vec<&[u8]> = entries
        .iter()
        .filter_map(|(.., entry)| entry.live.as_ref().filter(|live| !live.is_outdated()))
        .map(|live| &live.value[..])
        .filter(|value| compression.tries(value.len()) && Dictionary::suits(value))
        .collect();
    if values.len() < RECORDS_MIN {
        return None;
    }
    let looked_at = values.len().min(LOOKED_AT);
    let spread = |from: usize| (from..looked_at).step_by(3).map(|at| values[at * values.len() / looked_at]);
    let new = Encoder::learn(known.last_id + 1, spread(0), spread(1))?;
    let stored_bytes = |encoder: Option<&Encoder>| -> usize {
        spread(2).map(|value| compress(value, compression, encoder).record_bytes(false)).sum()
    };
    let before = stored_bytes(known.newest.clone().and_then(Encoder::new).as_ref());
    (10 * stored_bytes(Some(&new)) <= 9 * before).then_some(new.dictionary)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use crate::engine::checkpoint::learn::*;
    use crate::engine::lmdb::record_key;
    use crate::engine::recovery::check;
    use crate::engine::{Expiry, Options};
    use crate::record::compress::{Codec, Encoded};
    use crate::record::header;
    use crate::store::{Key, StoreId, Value, ValueKind};

    /// An engine that writes checkpoints only when told to, and has no cache that would hide what LMDB holds.
    fn open(dir: &Path) -> Arc<Engine> {
        Engine::open(Options {
            checkpoint_interval: Duration::from_secs(3600),
            cache_bytes_max: 0,
            default_kind: ValueKind::Any,
            ..Options::new(dir)
        })
        .unwrap()
    }

    fn key(store: StoreId, at: usize) -> Key {
        Key::new(store, Bytes::from(format!("user:{at:05}")))
    }

    fn user(at: usize) -> String {
        let country = ["DE", "FR", "JP"][at % 3];
        let id = at * 7919 % 10_007;
        format!(r#"{{"id":{id},"email":"user-{id}@example.com","country":"{country}","active":true}}"#)
    }

    fn order(at: usize) -> String {
        format!(r#"["order",{},"to be delivered to the door",{{"weight_in_grams":{}}}]"#, at * 31, at * 7)
    }

    fn put(engine: &Engine, store: StoreId, at: usize, value: &str) {
        let (key, value) = (key(store, at), Value::unchecked(Bytes::copy_from_slice(value.as_bytes())));
        engine
            .writer()
            .write(0, std::slice::from_ref(&key), |txn| txn.put(&key, value, Expiry::Never))
            .unwrap();
    }

    fn get(engine: &Engine, store: StoreId, at: usize) -> Result<Option<Bytes>, crate::engine::Error> {
        let key = key(store, at);
        let read = engine.reader().read(0, std::slice::from_ref(&key), |txn| txn.get(&key));
        read.map(|(record, _)| record.map(|record| record.value))
    }

    fn count(engine: &Engine, store: StoreId) -> usize {
        let generation = engine.reader().catalog().get(store).unwrap().generation;
        engine.tables.known_dictionaries(&engine.tables.snapshot().unwrap(), generation).unwrap().count
    }

    #[test]
    fn a_store_learns_what_its_records_have_in_common() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        (0..200).for_each(|at| put(&engine, 0, at, &user(at)));
        engine.writer().checkpoint().unwrap();
        assert_eq!((count(&engine, 0), count(&engine, 1)), (1, 0));
        let usage = engine.reader().catalog().get(0).unwrap().usage;
        let without =
            |at| compress(user(at).as_bytes(), &Compression::default(), None).record_bytes(false) + 10;
        let without: usize = (0..200).map(without).sum();
        assert!(usage.stored_bytes * 4 < without as u64 * 3, "{usage:?}, {without} without");

        // the same again is known already; something else is learned, and what names the first one keeps it
        (0..100).for_each(|at| put(&engine, 0, at, &user(at + 1)));
        engine.writer().checkpoint().unwrap();
        assert_eq!(count(&engine, 0), 1);
        (0..100).for_each(|at| put(&engine, 0, at, &order(at)));
        engine.writer().checkpoint().unwrap();
        assert_eq!(count(&engine, 0), 2);

        let elsewhere = tempfile::tempdir().unwrap();
        let backup = elsewhere.path().join("backup");
        engine.writer().back_up(&backup).unwrap();
        engine.close().unwrap();
        drop(engine);
        for dir in [dir.path(), &backup] {
            assert_eq!(check::check(dir).unwrap().problems, [""; 0]);
            let engine = open(dir);
            for at in 0..200 {
                let expected = if at < 100 { order(at) } else { user(at) };
                assert_eq!(get(&engine, 0, at).unwrap().unwrap(), expected, "record {at}");
            }
            engine.close().unwrap();
        }
    }

    #[test]
    fn an_environment_of_an_older_format_gets_no_dictionaries() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        for (format, learned) in [(3, 0), (4, 1)] {
            engine.tables.pretend_format(format);
            (0..20).for_each(|at| put(&engine, 0, at, &user(at)));
            engine.writer().checkpoint().unwrap();
            assert_eq!(count(&engine, 0), learned, "format {format}");
        }
        engine.close().unwrap();
    }

    #[test]
    fn a_dictionary_goes_with_what_it_was_for() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        for store in [0, 1] {
            (0..20).for_each(|at| put(&engine, store, at, &user(at)));
        }
        engine.writer().checkpoint().unwrap();
        let rows = || engine.tables.dictionary_rows(&engine.tables.snapshot().unwrap()).unwrap().count();
        assert_eq!(rows(), 2);
        let snapshot_before = engine.tables.snapshot().unwrap();
        engine.writer().write(0, &[], |txn| txn.flush(0)).unwrap();
        engine.writer().checkpoint().unwrap();
        while engine.tables.first_retired(&engine.tables.snapshot().unwrap()).unwrap().is_some() {
            engine.writer().request_checkpoint();
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(rows(), 1);
        // who began to read before goes on
        let mut records =
            engine.tables.records_from(&snapshot_before, 1, std::ops::Bound::Unbounded).unwrap();
        let (name, record) = records.next().unwrap().unwrap();
        assert!(record.view.dictionary.is_some());
        assert_eq!(record.value(1, name).unwrap(), user(0));
        assert_eq!(get(&engine, 1, 7).unwrap().unwrap(), user(7));
        drop(records);
        drop(snapshot_before);
        engine.close().unwrap();
    }

    #[test]
    fn a_damaged_dictionary_is_an_error_never_another_value() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        (0..20).for_each(|at| put(&engine, 0, at, &user(at)));
        engine.writer().checkpoint().unwrap();
        let known = engine.tables.known_dictionaries(&engine.tables.snapshot().unwrap(), 1).unwrap();
        let dictionary = known.newest.unwrap();
        let mut batch = engine.tables.batch().unwrap();
        engine.tables.put_dictionary_row(&mut batch, 1, dictionary.id, |row| {
            let at = row.len() / 2;
            row[at] ^= 1;
        });
        engine.tables.commit(batch).unwrap();
        let error = get(&engine, 0, 3).unwrap_err().to_string();
        assert!(error.contains("its dictionary 1 is damaged"), "{error}");

        // and what is written from now on does not depend on it
        (10..30).for_each(|at| put(&engine, 0, at, &user(at)));
        engine.writer().checkpoint().unwrap();
        assert_eq!(get(&engine, 0, 12).unwrap().unwrap(), user(12));
        assert_eq!(count(&engine, 0), 2);
        engine.close().unwrap();
        drop(engine);
        let report = check::check(dir.path()).unwrap();
        assert!(report.problems[0].contains("dictionary 1 of generation 1 is damaged"), "{report:?}");
        assert!(report.problems[1].contains("needs dictionary 1, which is unknown"), "{report:?}");
    }

    #[test]
    fn a_dictionary_without_codes_is_read_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        (0..20).for_each(|at| put(&engine, 0, at, &user(at)));
        // as earlier versions wrote them
        let text = br#"{"name":"Ada Lovelace","city":"London","tags":["mathematics","engines"]}"#;
        let old = Dictionary { id: 1, text: [&text[..], b"\xff"].concat().into(), lengths: None };
        let plain = br#"{"name":"Charles Babbage","city":"London","tags":["engines"]}"#;
        let payload = b"\x82\x07\x00\x00@\x9d,\xd5O\x99\x94\xee7#H\xe4!\xc00U\t&\x1b\xe7p[\xaf\xc0\xa6e\x00";
        let encoded = Encoded {
            codec: Codec::Brotli,
            payload: payload[..].into(),
            plain_len: plain.len(),
            dictionary: Some(1),
        };
        let mut record = Vec::new();
        let name = key(0, 1000);
        header::write(&record_key(1, &name.name), 1, None, &encoded, &mut record);
        let mut batch = engine.tables.batch().unwrap();
        engine.tables.put_dictionary(&mut batch, 1, &old).unwrap();
        engine.tables.put_record(&mut batch, 1, &name.name, None, &record).unwrap();
        engine.tables.commit(batch).unwrap();
        assert_eq!(count(&engine, 0), 0);

        engine.writer().checkpoint().unwrap();
        let known = engine.tables.known_dictionaries(&engine.tables.snapshot().unwrap(), 1).unwrap();
        assert_eq!((known.count, known.newest.map(|newest| newest.id)), (1, Some(2)));
        assert_eq!(get(&engine, 0, 7).unwrap().unwrap(), user(7));
        assert_eq!(get(&engine, 0, 1000).unwrap().unwrap(), plain[..]);
        engine.close().unwrap();
    }

    #[test]
    fn a_store_whose_records_have_nothing_in_common_learns_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        for at in 0..100u64 {
            // its digits would at least have their alphabet in common
            let noise =
                (0..16).flat_map(|part| xxh3_64(&[at, part].map(u64::to_be_bytes).concat()).to_be_bytes());
            let (key, value) = (key(0, at as usize), Value::unchecked(noise.collect::<Vec<u8>>()));
            let keys = std::slice::from_ref(&key);
            engine.writer().write(0, keys, |txn| txn.put(&key, value, Expiry::Never)).unwrap();
        }
        engine.writer().checkpoint().unwrap();
        assert_eq!(count(&engine, 0), 0);
        engine.close().unwrap();
    }
}
