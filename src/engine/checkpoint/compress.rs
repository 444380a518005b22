//! Compresses what a checkpoint is going to write.
//!
//! Compression is most of a checkpoint's work, and as a rule nobody waits for it. Therefore it is done by threads of
//! the lowest priority, one for each processor but one, which hold no lock that another thread could need. Only when
//! memory runs short or the journal grows long while the machine is busy, another thread of ordinary priority helps.
//! They share the entries in small portions, so that a slow thread never holds the last of them for long.

use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::engine::checkpoint::learn::Dictionaries;
use crate::engine::checkpoint::priority;
use crate::engine::lmdb::record_key;
use crate::engine::memtable::cache::Cached;
use crate::engine::memtable::table::Entry;
use crate::record::compress::{Compression, compress};
use crate::record::dictionary::encode::Encoder;
use crate::record::header;
use crate::store::Generation;

/// The most records in a portion: some milliseconds of work.
const RECORDS_PER_PORTION: usize = if cfg!(test) { 4 } else { 256 };
/// The most bytes of values in a portion, unless a single value has more.
const BYTES_PER_PORTION: usize = 256 * 1024;
/// How often the helper looks whether it is needed.
const LOOK_AFTER: Duration = Duration::from_millis(10);

/// An entry of the frozen memtable, in the order of LMDB.
pub type Entered<'a> = (Generation, &'a [u8], &'a Entry);

/// A change, ready for LMDB.
pub struct Compressed<'a> {
    pub generation: Generation,
    pub key: &'a [u8],
    pub entry: &'a Entry,
    /// The stored form; empty if the record is removed.
    pub record: Vec<u8>,
}

impl Compressed<'_> {
    /// What the cache is to know of the record; `None` if it is removed.
    pub fn to_cache(&self) -> Option<Cached> {
        let live = self.entry.live.as_ref()?;
        Some(Cached {
            value: live.value.clone(),
            expires_at_ms: live.expires_at_ms,
            version: self.entry.version,
            stored_bytes: (self.key.len() + self.record.len()) as u64,
        })
    }
}

/// The dictionary of one generation, prepared. Entries are in the order of generations, so one is enough.
type Prepared = Option<(Generation, Option<Encoder>)>;

pub struct Compressor<'a> {
    compression: &'a Compression,
    dictionaries: &'a Dictionaries,
    rest: Mutex<&'a [Entered<'a>]>,
    /// Set when nothing is left to take.
    all_taken: Condvar,
}

impl<'a> Compressor<'a> {
    pub fn new(
        entries: &'a [Entered<'a>],
        compression: &'a Compression,
        dictionaries: &'a Dictionaries,
    ) -> Compressor<'a> {
        Compressor { compression, dictionaries, rest: Mutex::new(entries), all_taken: Condvar::new() }
    }

    /// Works until nothing is left, or until nobody receives the portions any more.
    pub fn work(&self, portions: &SyncSender<Vec<Compressed<'a>>>) {
        priority::run_only_when_idle();
        let _given_up = GiveUpOnPanic(self);
        let mut prepared = None;
        while self.work_on_one(portions, &mut prepared) {}
    }

    /// Works whenever it is urgent, until nothing is left.
    pub fn help(&self, portions: &SyncSender<Vec<Compressed<'a>>>, is_urgent: impl Fn() -> bool) {
        let _given_up = GiveUpOnPanic(self);
        let mut prepared = None;
        loop {
            while is_urgent() && self.work_on_one(portions, &mut prepared) {}
            let mut rest = self.rest.lock();
            if rest.is_empty() {
                return;
            }
            self.all_taken.wait_for(&mut rest, LOOK_AFTER);
        }
    }

    /// Returns whether there may be more to do.
    fn work_on_one(&self, portions: &SyncSender<Vec<Compressed<'a>>>, prepared: &mut Prepared) -> bool {
        let portion = self.take();
        if portion.is_empty() {
            return false;
        }
        let compressed = portion.iter().map(|entered| self.compress_entry(entered, prepared)).collect();
        if portions.send(compressed).is_err() {
            self.give_up();
        }
        true
    }

    fn take(&self) -> &'a [Entered<'a>] {
        let mut rest = self.rest.lock();
        let (portion, later) = rest.split_at(portion_size(&rest));
        *rest = later;
        if later.is_empty() {
            self.all_taken.notify_all();
        }
        portion
    }

    fn give_up(&self) {
        *self.rest.lock() = &[];
        self.all_taken.notify_all();
    }

    fn compress_entry(
        &self,
        (generation, key, entry): &Entered<'a>,
        prepared: &mut Prepared,
    ) -> Compressed<'a> {
        let mut record = Vec::new();
        if let Some(live) = &entry.live {
            // the next checkpoint replaces it anyway; until then it is only there for a restart
            let compression = if live.is_outdated() { &Compression::Off } else { self.compression };
            let encoder = match prepared {
                Some((of, encoder)) if of == generation => encoder,
                _ => {
                    let dictionary = self.dictionaries.get(*generation).cloned();
                    &mut prepared.insert((*generation, dictionary.and_then(Encoder::new))).1
                }
            };
            let encoded = compress(&live.value, compression, encoder.as_ref());
            let table_key = record_key(*generation, key);
            header::write(&table_key, entry.version, live.expires_at_ms, &encoded, &mut record);
        }
        Compressed { generation: *generation, key, entry, record }
    }
}

/// If one thread of a compressor panics, the other ends as well, so that the receiver of the portions sees that some are
/// missing.
struct GiveUpOnPanic<'p, 'a>(&'p Compressor<'a>);

impl Drop for GiveUpOnPanic<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.give_up();
        }
    }
}

/// How many of the entries make a portion.
fn portion_size(entries: &[Entered<'_>]) -> usize {
    let mut bytes = 0;
    let fits = entries.iter().take(RECORDS_PER_PORTION).take_while(|(_, key, entry)| {
        let before = bytes;
        bytes += key.len() + entry.live.as_ref().map_or(0, |live| live.value.len());
        before < BYTES_PER_PORTION
    });
    fits.count()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use bytes::Bytes;

    use crate::engine::checkpoint::compress::*;
    use crate::engine::memtable::table::Live;

    fn entry(value: Vec<u8>) -> Entry {
        Entry { version: 1, live: Some(Live::new(Bytes::from(value), None)) }
    }

    #[test]
    fn a_portion_takes_records_up_to_its_bounds_and_at_least_one() {
        let key: &[u8] = b"k";
        let (big, small) = (entry(vec![0; BYTES_PER_PORTION]), Entry { version: 1, live: None });
        assert_eq!(portion_size(&[(1, key, &big), (1, key, &big)]), 1);
        assert_eq!(portion_size(&[(1, key, &small), (1, key, &small)]), 2);
        assert_eq!(portion_size(&[(1, key, &small); RECORDS_PER_PORTION + 1]), RECORDS_PER_PORTION);
        assert_eq!(portion_size(&[]), 0);
    }

    #[test]
    fn what_has_changed_again_is_not_compressed() {
        let (entry, compression) = (entry(vec![b'1'; 1000]), Compression::default());
        let dictionaries = Dictionaries::default();
        let entries: [Entered<'_>; 1] = [(1, b"k", &entry)];
        let compressor = Compressor::new(&entries, &compression, &dictionaries);
        let record_bytes = || compressor.compress_entry(&entries[0], &mut None).record.len();
        assert!(record_bytes() < 100);
        entry.live.as_ref().expect("a record").outdate();
        assert!(record_bytes() > 1000);
    }

    #[test]
    fn two_threads_press_every_entry_once() {
        let (entry, compression) = (entry(b"{}".to_vec()), Compression::default());
        let dictionaries = Dictionaries::default();
        let keys: Vec<[u8; 2]> = (0..1000_u16).map(u16::to_be_bytes).collect();
        let entries: Vec<Entered<'_>> = keys.iter().map(|key| (1, &key[..], &entry)).collect();
        let compressor = Compressor::new(&entries, &compression, &dictionaries);
        let mut compressed: Vec<&[u8]> = thread::scope(|scope| {
            let (sender, portions) = sync_channel(1);
            let other = sender.clone();
            scope.spawn(|| compressor.work(&{ sender }));
            scope.spawn(|| compressor.help(&{ other }, || true));
            portions.iter().flatten().map(|compressed| compressed.key).collect()
        });
        compressed.sort_unstable();
        assert!(compressed.iter().eq(keys.iter().map(|key| &key[..]).collect::<Vec<_>>().iter()));
    }

    #[test]
    fn both_end_when_nobody_takes_portions() {
        let (entry, compression) = (entry(b"{}".to_vec()), Compression::default());
        let dictionaries = Dictionaries::default();
        let entries: Vec<Entered<'_>> = (0..100).map(|_| (1, &b"k"[..], &entry)).collect();
        let compressor = Compressor::new(&entries, &compression, &dictionaries);
        thread::scope(|scope| {
            let (sender, portions) = sync_channel(1);
            let other = sender.clone();
            drop(portions);
            scope.spawn(|| compressor.help(&{ other }, || false));
            scope.spawn(|| compressor.work(&{ sender }));
        });
        assert!(compressor.take().is_empty());
    }
}
