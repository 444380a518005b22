//! Random lives of a journal, with crashes, against what it promised.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append {
        bytes: usize,
        wait: bool,
    },
    Sync,
    /// A database takes everything over, waiting for the journal first or not.
    Checkpoint {
        wait: bool,
    },
    Policy(Fsync),
    Close,
    Kill,
    PowerCut(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let policy = prop_oneof![Just(Fsync::Always), Just(Fsync::EverySec), Just(Fsync::No)];
    let step = prop_oneof![
        40 => (0usize..1500, any::<bool>()).prop_map(|(bytes, wait)| Step::Append { bytes, wait }),
        2 => (8000usize..20_000).prop_map(|bytes| Step::Append { bytes, wait: false }),
        3 => Just(Step::Sync),
        4 => any::<bool>().prop_map(|wait| Step::Checkpoint { wait }),
        3 => policy.prop_map(Step::Policy),
        2 => Just(Step::Close),
        3 => Just(Step::Kill),
        4 => any::<u64>().prop_map(Step::PowerCut),
    ];
    prop::collection::vec(step, 1..80)
}

/// A journal, and what it should hold.
struct World {
    disk: SimDisk,
    journal: Arc<Journal>,
    fsync: Fsync,
    entries: Vec<Vec<u8>>,
    /// What the database holds.
    after: Seq,
    /// Counts crashes: the same number gets another entry after each.
    life: u64,
}

impl World {
    fn new() -> World {
        let (disk, journal) = new_journal(Fsync::Always);
        World { disk, journal, fsync: Fsync::Always, entries: Vec::new(), after: 0, life: 0 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { bytes, wait } => {
                let seq = append(&self.journal, self.life, bytes).unwrap();
                self.entries.push(entry(self.life, seq, bytes));
                assert_eq!(seq, self.entries.len() as Seq);
                if wait {
                    acknowledge(&self.journal, seq).unwrap();
                }
            }
            Step::Sync => self.journal.wait_durable(self.journal.last()).unwrap(),
            Step::Checkpoint { wait } => {
                if wait {
                    self.journal.wait_durable(self.journal.last()).unwrap();
                }
                self.after = self.journal.last();
                self.journal.release(self.after);
            }
            Step::Policy(fsync) => {
                self.fsync = fsync;
                self.journal.set_fsync(fsync);
            }
            Step::Close => {
                self.journal.close().unwrap();
                self.reopen(self.disk.after_power_cut(0), self.journal.last());
            }
            Step::Kill => {
                let promised = self.journal.written();
                self.reopen(self.disk.after_kill(), promised);
            }
            Step::PowerCut(seed) => {
                let promised = self.journal.durable();
                self.reopen(self.disk.after_power_cut(seed), promised);
            }
        }
    }

    /// Goes on with the disk as it is after a crash, which may have taken what was not promised.
    fn reopen(&mut self, disk: SimDisk, promised: Seq) {
        self.life += 1;
        let options = Options { fsync: self.fsync, ..options(&disk) };
        let (journal, recovery, found) = open_with(options, self.after).unwrap();
        let first = self.after as usize;
        let expected = self.entries.get(first..first + found.len()).expect("no more than was taken");
        for ((seq, found), (expected_seq, expected)) in found.iter().zip((self.after + 1..).zip(expected)) {
            assert!((seq, found) == (&expected_seq, expected), "entry {seq}");
        }
        let last = self.after + found.len() as Seq;
        assert!(last >= promised, "{promised} entries were promised, {last} are there");
        assert_eq!((recovery.last, journal.last(), journal.durable()), (last, last, last));
        self.entries.truncate(last as usize);
        (self.disk, self.journal) = (disk, journal);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_promised_is_there_and_nothing_else(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        let promised = world.journal.durable();
        world.reopen(world.disk.after_power_cut(steps.len() as u64), promised);
    }
}
