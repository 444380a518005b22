//! Libraries of functions are kept like data.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::engine::recovery::check::check;
use crate::engine::{Engine, Error, Options, Writer};

#[derive(Debug, Clone)]
enum Step {
    Put(u8, Vec<u8>),
    Remove(u8),
    /// Several changes as one, which is refused and undone if the entry would be too large.
    Group(Vec<(u8, Option<Vec<u8>>)>, bool),
    Checkpoint,
    Crash,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = || proptest::collection::vec(any::<u8>(), 0..40);
    let change = (0..4u8, proptest::option::of(text()));
    let step = prop_oneof![
        4 => (0..4u8, text()).prop_map(|(name, text)| Step::Put(name, text)),
        2 => (0..4u8).prop_map(Step::Remove),
        2 => (proptest::collection::vec(change, 0..4), any::<bool>()).prop_map(|(all, fits)| Step::Group(all, fits)),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..20)
}

const ENTRY_BYTES_MAX: usize = 1_000;

fn open(dir: &std::path::Path) -> Arc<Engine> {
    let checkpoint_interval = std::time::Duration::from_secs(3600);
    let journal_entry_bytes_max = ENTRY_BYTES_MAX;
    Engine::open(Options { checkpoint_interval, journal_entry_bytes_max, ..Options::new(dir) }).unwrap()
}

fn name(of: u8) -> Bytes {
    Bytes::from(format!("lib{of}"))
}

fn change(writer: Writer<'_>, of: u8, text: Option<&[u8]>) -> Result<(), Error> {
    let done = writer.write(1, &[], |txn| {
        match text {
            Some(text) => txn.put_library(name(of), Bytes::copy_from_slice(text)),
            None => txn.remove_library(name(of)),
        }
        Ok::<_, Error>(())
    });
    done.map(drop)
}

fn libraries(engine: &Engine) -> BTreeMap<Bytes, Bytes> {
    engine.reader().libraries().iter().map(|(name, text)| (name.clone(), text.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn libraries_are_what_they_were_after_crashes_restarts_and_refusals(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, mut model) = (open(dir.path()), BTreeMap::new());
        let note = |model: &mut BTreeMap<Bytes, Bytes>, of: u8, text: Option<Vec<u8>>| match text {
            Some(text) => drop(model.insert(name(of), Bytes::from(text))),
            None => drop(model.remove(&name(of))),
        };
        for step in steps {
            match step {
                Step::Put(of, text) => {
                    change(engine.writer(), of, Some(&text)).unwrap();
                    note(&mut model, of, Some(text));
                }
                Step::Remove(of) => {
                    change(engine.writer(), of, None).unwrap();
                    note(&mut model, of, None);
                }
                Step::Group(changes, fits) => {
                    let done = engine.writer().alone(|group| {
                        for (of, text) in &changes {
                            change(group, *of, text.as_deref()).unwrap();
                        }
                        if !fits {
                            prop_assert!(change(group, 0, Some(&[b'x'; ENTRY_BYTES_MAX])).is_err());
                        }
                        Ok(())
                    });
                    prop_assert_eq!(done.is_ok(), fits);
                    if fits {
                        changes.into_iter().for_each(|(of, text)| note(&mut model, of, text));
                    }
                }
                Step::Checkpoint => engine.writer().checkpoint().unwrap(),
                Step::Crash => {
                    engine.abandon();
                    drop(engine);
                    engine = open(dir.path());
                }
                Step::Restart => {
                    engine.close().unwrap();
                    drop(engine);
                    engine = open(dir.path());
                }
            }
            prop_assert_eq!(&libraries(&engine), &model);
        }
        let copy = dir.path().with_extension("copy");
        engine.writer().back_up(&copy).unwrap();
        let copied = open(&copy);
        prop_assert_eq!(&libraries(&copied), &model);
        copied.close().unwrap();
        engine.close().unwrap();
        drop((copied, engine));
        for dir in [dir.path(), &copy] {
            prop_assert_eq!(check(dir).unwrap().problems, [""; 0]);
        }
        std::fs::remove_dir_all(copy).unwrap();
    }
}
