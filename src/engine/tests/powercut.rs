//! Power cuts: an engine runs, the power fails at a chosen operation, what was synced remains, and the next engine
//! opens it.
//!
//! The journal is on a [`SimDisk`], which knows what was synced of each sector and name. LMDB maps its file, so that
//! file is real, and what its commits do is distinguished by two images: the file as of the last commit that returned,
//! and the file as the system has it at the moment of the cut. Several writers, checkpoints of several commits,
//! reclaiming and recovery itself are under way when the power fails; cuts are counted in operations on the disk, not
//! in time.
//!
//! After a cut there is
//! * of the journal what [`SimDisk::after_power_cut`] leaves: all that was synced, each other sector or not;
//! * of LMDB's file the last commit, and of the sectors written since any selection, for LMDB writes them in no order;
//!   but once the new meta page is to be seen, all of them, and the meta page itself or not: LMDB syncs in between.
//!
//! Then has to hold: what was promised is there (`always`: everything acknowledged; `everysec`: everything behind which
//! the journal had said it was synced, which it does every second); the engine holds exactly what some beginning of the
//! history makes, counters included; and a check of the directory finds nothing wrong.
//!
//! These are assumed and not tested here: a sync that returned is true; LMDB's commit syncs as its source says (it is
//! opened with no flag that weakens this, which a test below checks); a sector of 512 bytes is written as a whole or
//! not at all, on which LMDB relies for its meta pages. The data directory was made before the first cut; that is the
//! responsibility of `directory::claim` and [`Tables::create`].
//!
//! `LARDER_TEST_SEED` repeats a run as far as the machine's timing allows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::future::poll_fn;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::engine::journal::disk::sim::{SimDisk, SplitMix};
use crate::engine::lmdb::{CommitStep, Tables};
use crate::engine::scan::Range;
use crate::engine::*;
use crate::store::{Definition, Key, StoreId, Value};

const SECTOR: usize = 512;
/// LMDB's two meta pages, at the start of its file.
const META_BYTES: usize = 2 * 4096;
const WRITERS: u64 = 3;
const KEYS: usize = 20;
const NUMBERED: usize = 3;
const NOW_MS: u64 = 1_000_000;

#[test]
fn always_keeps_what_was_acknowledged() {
    lives(Fsync::Always, 12, 8);
}

#[test]
fn everysec_keeps_what_was_synced() {
    lives(Fsync::EverySec, 12, 8);
}

#[test]
fn lmdb_is_not_told_to_skip_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(dir.path(), None).unwrap();
    assert_eq!(tables.weakening_flags(), 0);
}

/// Lets machines live, each from its own seed, and cuts each one's power again and again.
fn lives(fsync: Fsync, machines: u64, cuts: u64) {
    let first = match std::env::var("LARDER_TEST_SEED") {
        Ok(seed) => seed.parse().expect("LARDER_TEST_SEED is a number"),
        Err(_) => getrandom::u64().unwrap(),
    };
    for seed in (0..machines).map(|at| first.wrapping_add(at)) {
        println!("LARDER_TEST_SEED={seed} repeats this machine");
        let mut machine = Machine::new(fsync, seed);
        for _ in 0..cuts {
            machine.live();
        }
    }
}

/// One change, as a model applies it.
#[derive(Debug, Clone)]
enum Change {
    Put(StoreId, String, String, Option<u64>),
    Remove(StoreId, String),
    Flush(StoreId),
    Swap(StoreId, StoreId),
    Create(StoreId),
    Drop(StoreId),
}

/// Values and deadlines by store and key.
type Model = BTreeMap<StoreId, BTreeMap<String, (String, Option<u64>)>>;
/// What each journal entry changed.
type History = BTreeMap<Seq, Vec<Change>>;

impl Change {
    fn apply(&self, model: &mut Model) {
        match self.clone() {
            Change::Put(store, name, value, deadline) => {
                model.get_mut(&store).unwrap().insert(name, (value, deadline));
            }
            Change::Remove(store, name) => drop(model.get_mut(&store).unwrap().remove(&name)),
            Change::Flush(store) => model.get_mut(&store).unwrap().clear(),
            Change::Swap(a, b) => {
                let (of_a, of_b) = (model.remove(&a).unwrap(), model.remove(&b).unwrap());
                model.extend([(a, of_b), (b, of_a)]);
            }
            Change::Create(store) => drop(model.insert(store, BTreeMap::new())),
            Change::Drop(store) => drop(model.remove(&store)),
        }
    }
}

/// What is left of a machine after a cut.
struct Remains {
    journal: SimDisk,
    lmdb_file: Vec<u8>,
    /// The last entry that has to be there.
    promised: Seq,
}

/// The power of one life: goes when so many operations have been begun.
struct Power {
    operations_left: AtomicI64,
    seed: u64,
    journal: SimDisk,
    lmdb_path: PathBuf,
    /// LMDB's file as of its last commit.
    lmdb_durable: Mutex<Vec<u8>>,
    /// The last entry that a writer was told it could rely on.
    acknowledged: AtomicU64,
    /// What the life before had promised.
    promised_before: Seq,
    engine: OnceLock<Weak<Engine>>,
    remains: Mutex<Option<Remains>>,
}

impl Power {
    fn is_gone(&self) -> bool {
        self.operations_left.load(Ordering::Acquire) <= 0
    }

    fn operation_begins(&self) {
        if self.operations_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let remains = self.cut();
            *self.remains.lock() = Some(remains);
        }
    }

    fn commit_is_durable(&self) {
        let mut durable = self.lmdb_durable.lock();
        *durable = fs::read(&self.lmdb_path).unwrap();
    }

    /// What would be left if the power went now. The promises are looked at first: what is promised later may be missing.
    fn cut(&self) -> Remains {
        let durable = self.lmdb_durable.lock(); // no commit ends meanwhile
        let engine = self.engine.get().and_then(Weak::upgrade);
        let synced = engine.map_or(0, |engine| engine.journal.durable());
        let promised = self.promised_before.max(self.acknowledged.load(Ordering::Acquire)).max(synced);
        let journal = self.journal.after_power_cut(self.seed);
        // from its start on, so that a meta page is seen before the pages that were synced ahead of it
        let now = fs::read(&self.lmdb_path).unwrap();
        Remains { journal, lmdb_file: torn(&durable, &now, &mut SplitMix(self.seed)), promised }
    }
}

/// A file that was synced as `durable` and written on to `now`.
fn torn(durable: &[u8], now: &[u8], random: &mut SplitMix) -> Vec<u8> {
    if durable[..META_BYTES] != now[..META_BYTES] {
        let mut file = now.to_vec();
        if random.below(2) == 0 {
            file[..META_BYTES].copy_from_slice(&durable[..META_BYTES]);
        }
        return file;
    }
    // sometimes all, sometimes nothing, mostly a part
    let odds = [0, 1, 2, 3, 4][random.below(5)];
    let mut file = durable.to_vec();
    for (at, sector) in now.chunks(SECTOR).enumerate() {
        let (begin, end) = (at * SECTOR, at * SECTOR + sector.len());
        if durable.get(begin..end) != Some(sector) && random.below(4) < odds {
            file.resize(file.len().max(end), 0);
            file[begin..end].copy_from_slice(sector);
        }
    }
    file
}

/// A machine through its lives: its disk, and what happened on it.
struct Machine {
    fsync: Fsync,
    random: SplitMix,
    dir: tempfile::TempDir,
    journal: SimDisk,
    lmdb_file: Vec<u8>,
    promised: Seq,
    history: History,
}

impl Machine {
    /// With a data directory that was made, and closed in order.
    fn new(fsync: Fsync, seed: u64) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let journal = SimDisk::default();
        open(dir.path(), fsync, &journal).close().unwrap();
        let lmdb_file = fs::read(lmdb_path(dir.path())).unwrap();
        Machine {
            fsync,
            random: SplitMix(seed),
            dir,
            journal,
            lmdb_file,
            promised: 0,
            history: History::new(),
        }
    }

    /// From power on to power off.
    fn live(&mut self) {
        self.check();
        let power = Arc::new(Power {
            operations_left: AtomicI64::new(self.operations() as i64),
            seed: self.random.next(),
            journal: self.journal.clone(),
            lmdb_path: lmdb_path(self.dir.path()),
            lmdb_durable: Mutex::new(self.lmdb_file.clone()),
            acknowledged: AtomicU64::new(0),
            promised_before: self.promised,
            engine: OnceLock::new(),
            remains: Mutex::new(None),
        });
        let watch = Arc::downgrade(&power);
        self.journal.watch(move || watch.upgrade().into_iter().for_each(|power| power.operation_begins()));
        let engine = open(self.dir.path(), self.fsync, &self.journal);
        let last = self.compare(&engine);
        if !power.is_gone() {
            self.history.split_off(&(last + 1));
            self.run(&engine, &power);
        }
        engine.abandon();
        drop(engine);
        let remains = power.remains.lock().take().expect("the power goes before the writers end");
        self.journal = remains.journal;
        self.lmdb_file = remains.lmdb_file;
        self.promised = remains.promised;
    }

    /// How many operations the power lasts: sometimes not even recovery's.
    fn operations(&mut self) -> usize {
        let most = if self.random.below(4) == 0 { 30 } else { 500 };
        1 + self.random.below(most)
    }

    /// Writes, with checkpoints in between, until the power goes.
    fn run(&mut self, engine: &Arc<Engine>, power: &Arc<Power>) {
        power.engine.set(Arc::downgrade(engine)).unwrap();
        let watch = power.clone();
        let watched = engine.tables.watch.set(Box::new(move |step| {
            if step == CommitStep::Durable {
                watch.commit_is_durable();
            }
            watch.operation_begins();
        }));
        assert!(watched.is_ok());
        let history = Mutex::new(std::mem::take(&mut self.history));
        let fsync = self.fsync;
        // held alone while nobody writes, so that the journal comes to rest
        let lull = RwLock::new(());
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (mut random, history, lull) = (SplitMix(self.random.next()), &history, &lull);
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    while !power.is_gone() {
                        let _writing = lull.read();
                        let Some((seq, changes)) = change(engine, writer, &mut random) else { continue };
                        let before = history.lock().insert(seq, changes);
                        assert!(before.is_none(), "entry {seq} was taken twice");
                        runtime.block_on(poll_fn(|cx| engine.poll_acknowledged(seq, cx))).unwrap();
                        if fsync == Fsync::Always {
                            power.acknowledged.fetch_max(seq, Ordering::AcqRel);
                        }
                    }
                });
            }
            while !power.is_gone() {
                let pause = (self.random.below(3) == 0).then(|| lull.write());
                engine.writer().checkpoint().unwrap();
                engine.journal.rest_now();
                drop(pause); // it comes to rest while writing goes on, or just before
                engine.writer().request_checkpoint(); // its thread also reclaims what was flushed
                std::thread::yield_now();
            }
        });
        self.history = history.into_inner();
    }

    /// Puts back what the cut left, and has it checked as `larder check` would.
    fn check(&self) {
        let dir = self.dir.path();
        let restore = || {
            fs::remove_dir_all(dir.join("lmdb")).unwrap();
            fs::create_dir(dir.join("lmdb")).unwrap();
            fs::write(lmdb_path(dir), &self.lmdb_file).unwrap();
        };
        restore();
        let _ = fs::remove_dir_all(dir.join("journal"));
        fs::create_dir(dir.join("journal")).unwrap();
        for (path, bytes) in self.journal.image() {
            fs::write(path, bytes).unwrap();
        }
        assert_eq!(recovery::check::check(dir).unwrap().problems, [""; 0]);
        restore();
    }

    /// Compares what the engine holds with what happened up to its last entry; gives that one's number.
    fn compare(&self, engine: &Engine) -> Seq {
        let last = engine.reader().last_seq();
        assert!(last >= self.promised, "entries behind {last} are missing, {} was promised", self.promised);
        let mut expected: Model =
            (0..crate::limits::DATABASES).map(|store| (store, BTreeMap::new())).collect();
        for change in self.history.range(..=last).flat_map(|(_, changes)| changes) {
            change.apply(&mut expected);
        }
        let ids: Vec<StoreId> = engine.reader().catalog().iter().map(|store| store.id).collect();
        let found: Model = ids.iter().map(|store| (*store, records(engine, *store))).collect();
        assert_eq!(found, expected, "after entry {last}");
        for (store, records) in expected {
            let usage = engine.reader().catalog().get(store).unwrap().usage;
            let expiring = records.values().filter(|(_, deadline)| deadline.is_some()).count();
            let plain: usize = records.iter().map(|(name, (value, _))| name.len() + value.len()).sum();
            assert_eq!(
                (usage.records, usage.expiring, usage.plain_bytes),
                (records.len() as u64, expiring as u64, plain as u64),
                "store {store}"
            );
        }
        last
    }
}

fn lmdb_path(dir: &Path) -> PathBuf {
    dir.join("lmdb/data.mdb")
}

fn open(dir: &Path, fsync: Fsync, disk: &SimDisk) -> Arc<Engine> {
    let engine = Engine::open(Options {
        fsync,
        checkpoint_interval: Duration::from_secs(3600),
        journal_segment_bytes: 16 * 1024,
        disk: Arc::new(disk.clone()),
        ..Options::new(dir)
    });
    let engine = engine.unwrap();
    engine.writer().set_sweeping(false);
    engine
}

fn records(engine: &Engine, store: StoreId) -> BTreeMap<String, (String, Option<u64>)> {
    let range = Range { store, prefix: b"", from: Bound::Unbounded, keys_max: usize::MAX, absent_free: 0 };
    let mut records = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let end = engine.reader().scan(NOW_MS, range, &|_| true, &mut |row| {
        let record = row.record()?.expect("a scanned record is there");
        records.insert(text(row.key()), (text(&record.value), record.expires_at_ms));
        Ok::<_, Error>(ControlFlow::Continue(()))
    });
    end.unwrap();
    records
}

/// One transaction by chance: its entry and what it changed; `None` if it changed nothing.
fn change(engine: &Engine, writer: u64, random: &mut SplitMix) -> Option<(Seq, Vec<Change>)> {
    let store = any_store(engine, random);
    let name = format!("key:{}", random.below(KEYS));
    match random.below(100) {
        0..55 => Some(one(put(engine.writer(), store, &name, random)?)),
        55..70 => {
            let key = Key::new(store, name.clone().into());
            let removed =
                engine.writer().write(NOW_MS, std::slice::from_ref(&key), |txn| txn.remove(&key)).ok()?;
            removed.0.then(|| one((removed.1, Change::Remove(store, name))))
        }
        70..80 => {
            // a transaction of several commands, as EXEC runs it
            let (changes, seq) = engine
                .writer()
                .alone(|group| {
                    let names = (0..3).map(|at| format!("{writer}:{at}"));
                    names.filter_map(|name| Some(put(group, store, &name, random)?.1)).collect::<Vec<_>>()
                })
                .unwrap();
            (!changes.is_empty()).then_some((seq, changes))
        }
        80..84 => {
            let (_, seq) = engine.writer().write(NOW_MS, &[], |txn| txn.flush(store)).ok()?;
            Some(one((seq, Change::Flush(store))))
        }
        84..88 => {
            let (a, b) = (random.below(NUMBERED) as StoreId, random.below(NUMBERED) as StoreId);
            let (_, seq) =
                engine.writer().write(NOW_MS, &[], |txn| txn.swap(a, b, Default::default())).ok()?;
            (a != b).then(|| one((seq, Change::Swap(a, b))))
        }
        88..94 => {
            let definition =
                Definition { name: Some(format!("named-{}", random.next())), ..Definition::default() };
            let (id, seq) = engine.writer().write(NOW_MS, &[], |txn| txn.define(None, definition)).unwrap();
            Some(one((seq, Change::Create(id))))
        }
        _ if store >= crate::limits::DATABASES => {
            let (_, seq) = engine.writer().write(NOW_MS, &[], |txn| txn.drop_store(store)).ok()?;
            Some(one((seq, Change::Drop(store))))
        }
        _ => None,
    }
}

fn one((seq, change): (Seq, Change)) -> (Seq, Vec<Change>) {
    (seq, vec![change])
}

/// Nothing if somebody dropped the store meanwhile.
fn put(engine: Writer<'_>, store: StoreId, name: &str, random: &mut SplitMix) -> Option<(Seq, Change)> {
    let key = Key::new(store, name.to_owned().into());
    let size = if random.below(20) == 0 { 5_000 } else { 40 };
    let value = format!(r#"["{}",{}]"#, "text ".repeat(random.below(size)), random.next());
    let deadline = (random.below(4) == 0).then(|| NOW_MS + 1 + random.next() % 1_000_000);
    let put = |txn: &mut WriteTxn<'_>| txn.put(&key, Value::unchecked(value.clone()), deadline.into());
    let (_, seq) = engine.write(NOW_MS, std::slice::from_ref(&key), put).ok()?;
    Some((seq, Change::Put(store, name.to_owned(), value, deadline)))
}

/// A numbered store, or one of the named ones.
fn any_store(engine: &Engine, random: &mut SplitMix) -> StoreId {
    let catalog = engine.reader().catalog();
    let named: Vec<StoreId> =
        catalog.iter().filter(|store| store.name.is_some()).map(|store| store.id).collect();
    match random.below(NUMBERED + named.len().min(2)) {
        at if at < NUMBERED => at as StoreId,
        _ => named[random.below(named.len())],
    }
}
