//! Tells listeners what transactions did: at once or, in a group, when it ends.

use std::sync::Arc;

use crate::engine::core::Engine;
use crate::engine::core::handles::Reader;
use crate::engine::events::{Classes, News, Tap, Untold};
use crate::engine::journal::Seq;
use crate::engine::state::State;

impl Engine {
    /// Delivers news to `tap` from now on. There can be only one.
    pub fn set_tap(&self, tap: Arc<dyn Tap>) {
        self.listening.set_tap(tap);
    }

    /// Delivers the news now or, while a group is open, when it ends.
    pub(super) fn tell_or_keep(&self, state: &mut State, seq: Seq, news: News) {
        match &mut state.group {
            None => self.listening.tell(seq, &state.catalog, &news),
            Some(group) if !news.is_empty() => group.untold.push(Untold::News(news)),
            Some(_) => {}
        }
    }
}

impl Reader<'_> {
    /// Sets which of the kinds in `of` are wanted. Other kinds stay as they are.
    pub fn listen(&self, of: Classes, wanted: Classes) {
        self.engine.listening.listen(of, wanted);
    }

    /// Calls a function at the end of the group, in order with the news of its commands. It gets the sequence number that
    /// it must not overtake.
    pub fn say_at_end(&self, say: impl FnOnce(Seq) + Send + Sync + 'static) {
        if let Some(group) = &mut self.state_mut().group {
            group.untold.push(Untold::Said(Box::new(say)));
        }
    }

    /// Delivers the news of a transaction that changed nothing.
    pub(super) fn tell_of_reading(&self, news: News) {
        if self.is_in_group() {
            if let Some(group) = &mut self.state_mut().group {
                group.untold.push(Untold::News(news));
            }
        } else {
            self.engine.listening.tell(0, &self.state().catalog, &news);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use parking_lot::Mutex;

    use crate::engine::events::Event;
    use crate::engine::transaction::telling::*;
    use crate::engine::{Expiry, Options, Writer};
    use crate::store::{Catalog, Key, Value};

    /// Writes down what it is told: sequence numbers, events, changed keys.
    #[derive(Default)]
    struct Notes(Mutex<Vec<(Seq, String)>>);

    impl Tap for Notes {
        fn told(&self, seq: Seq, _: &Catalog, news: &News) {
            let mut notes = self.0.lock();
            for key in &news.changed {
                notes.push((seq, format!("changed {}", key.name.escape_ascii())));
            }
            if news.stores_changed {
                notes.push((seq, "stores".into()));
            }
            for told in &news.events {
                notes.push((seq, format!("{} {}", told.event.name, told.key.escape_ascii())));
            }
        }
    }

    impl Notes {
        fn take(&self) -> Vec<(Seq, String)> {
            std::mem::take(&mut self.0.lock())
        }
    }

    struct Scene {
        engine: Arc<Engine>,
        notes: Arc<Notes>,
        _dir: tempfile::TempDir,
    }

    impl Scene {
        fn new(wanted: Classes) -> Scene {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(Options::new(dir.path())).unwrap();
            engine.writer().set_sweeping(false);
            let notes = Arc::new(Notes::default());
            engine.set_tap(notes.clone());
            engine.reader().listen(Classes::all(), wanted);
            Scene { engine, notes, _dir: dir }
        }

        fn put(&self, name: &'static str, expiry: Expiry, now_ms: u64) -> Seq {
            Scene::put_through(self.engine.writer(), name, expiry, now_ms)
        }

        fn put_through(engine: Writer<'_>, name: &'static str, expiry: Expiry, now_ms: u64) -> Seq {
            let key = Key { store: 0, name: Bytes::from_static(name.as_bytes()) };
            let put = engine.write(now_ms, std::slice::from_ref(&key), |txn| {
                txn.put(&key, Value::integer(1), expiry)?;
                txn.notify(&key, Event::SET);
                Ok::<_, crate::engine::Error>(())
            });
            put.unwrap().1
        }

        /// What was told since, with the one number that it was told with.
        #[track_caller]
        fn expect(&self, seq: Seq, told: &[&str]) {
            let notes = self.notes.take();
            assert!(notes.iter().all(|(of, _)| *of == seq), "{notes:?} {seq}");
            let notes: Vec<&str> = notes.iter().map(|(_, note)| &**note).collect();
            assert_eq!(notes, told);
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            self.engine.close().unwrap();
        }
    }

    const SOME: Classes = Classes::STRING.union(Classes::NEW).union(Classes::EXPIRED).union(Classes::CHANGED);

    #[test]
    fn a_transaction_tells_what_it_did_with_the_number_of_its_entry() {
        let scene = Scene::new(SOME);
        let seq = scene.put("k", Expiry::At(1_000), 10);
        assert_eq!(seq, scene.engine.reader().last_seq());
        scene.expect(seq, &["changed k", "new k", "set k"]);
        let seq = scene.put("k", Expiry::Keep, 20);
        scene.expect(seq, &["changed k", "set k"]);
        let seq = scene.put("k", Expiry::Never, 2_000);
        scene.expect(seq, &["changed k", "expired k", "new k", "set k"]);
        scene.engine.reader().listen(Classes::all(), Classes::empty());
        scene.put("k", Expiry::Never, 2_000);
        scene.expect(0, &[]);
    }

    #[test]
    fn what_fails_is_not_told() {
        let scene = Scene::new(SOME);
        let key = Key { store: 0, name: Bytes::from_static(b"k") };
        let failed = scene.engine.writer().write(1, std::slice::from_ref(&key), |txn| {
            txn.put(&key, Value::integer(1), Expiry::Never)?;
            txn.notify(&key, Event::SET);
            Err::<(), _>(crate::engine::Error::Undeclared)
        });
        assert!(failed.is_err());
        scene.expect(0, &[]);
    }

    #[test]
    fn the_sweeper_tells_what_expired() {
        let scene = Scene::new(SOME);
        scene.put("k", Expiry::At(1_000), 10);
        scene.notes.take();
        assert_eq!(scene.engine.writer().expire_due(1_000, 9).unwrap(), 1);
        scene.expect(scene.engine.reader().last_seq(), &["changed k", "expired k"]);
    }

    #[test]
    fn a_group_tells_at_its_end_and_in_its_order() {
        let scene = Scene::new(SOME);
        let (_, seq) = scene
            .engine
            .writer()
            .alone(|group| {
                Scene::put_through(group, "a", Expiry::Never, 1);
                let notes = scene.notes.clone();
                assert!(group.is_in_group());
                group.say_at_end(move |seq| notes.0.lock().push((seq, "said".into())));
                Scene::put_through(group, "b", Expiry::Never, 1);
                assert!(scene.notes.0.lock().is_empty());
            })
            .unwrap();
        assert_eq!(seq, scene.engine.reader().last_seq());
        scene.expect(seq, &["changed a", "changed b", "new a", "set a", "said", "new b", "set b"]);
        assert!(!scene.engine.reader().is_in_group());
    }
}
