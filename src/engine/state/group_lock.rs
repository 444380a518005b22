//! A lock that lets somebody keep all others away for longer than the lock is held.
//!
//! A thread that acquires the lock checks whether somebody has the state to himself, and if so waits at the gate. Only
//! who asks as [`Asker::Alone`] may take the lock then: handles say so that are handed to him and to nobody else.

use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, hint};

/// A thread looks so often whether the lock is free before it sleeps. As a rule the lock is held for less than a
/// microsecond, and to fall asleep and be woken takes several.
const SPINS: usize = 400;

/// Who asks for the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Whoever has it to himself.
    Alone,
    /// Anybody else, who waits until nobody has it to himself.
    Other,
}

/// A state that says whether a thread has it to itself.
pub trait Occupied {
    fn is_occupied(&self) -> bool;
}

pub struct GroupLock<S> {
    state: RwLock<S>,
    /// Held by whoever has the state to himself.
    gate: Mutex<()>,
}

impl<S: Occupied> GroupLock<S> {
    pub fn new(state: S) -> GroupLock<S> {
        GroupLock { state: RwLock::new(state), gate: Mutex::new(()) }
    }

    /// The state, to read; waits while somebody is alone.
    pub fn read(&self) -> RwLockReadGuard<'_, S> {
        self.read_as(Asker::Other)
    }

    /// The state, to change; waits while somebody is alone.
    pub fn write(&self) -> RwLockWriteGuard<'_, S> {
        self.write_as(Asker::Other)
    }

    pub fn read_as(&self, asker: Asker) -> RwLockReadGuard<'_, S> {
        loop {
            let state = self.read_patiently();
            if !state.is_occupied() || asker == Asker::Alone {
                return state;
            }
            drop(state);
            drop(self.gate.lock());
        }
    }

    pub fn write_as(&self, asker: Asker) -> RwLockWriteGuard<'_, S> {
        loop {
            let state = self.write_patiently();
            if !state.is_occupied() || asker == Asker::Alone {
                return state;
            }
            drop(state);
            drop(self.gate.lock());
        }
    }

    fn read_patiently(&self) -> RwLockReadGuard<'_, S> {
        for _ in 0..SPINS {
            if !self.state.is_locked_exclusive()
                && let Some(state) = self.state.try_read()
            {
                return state;
            }
            hint::spin_loop();
        }
        self.state.read()
    }

    fn write_patiently(&self) -> RwLockWriteGuard<'_, S> {
        for _ in 0..SPINS {
            if !self.state.is_locked()
                && let Some(state) = self.state.try_write()
            {
                return state;
            }
            hint::spin_loop();
        }
        self.state.write()
    }

    /// Waits until nobody is alone, and keeps others waiting from when the state says that it is occupied.
    pub fn close(&self) -> MutexGuard<'_, ()> {
        self.gate.lock()
    }

    /// The lock itself, for who begins or ends to have the state to himself, or does not mind that another has it.
    pub fn lock(&self) -> &RwLock<S> {
        &self.state
    }
}

#[cfg(all(test, feature = "model"))]
mod model_tests {
    use std::sync::Arc;

    use crate::engine::state::group_lock::*;
    use crate::sync::thread;

    /// Two numbers that are the same whenever nobody is alone.
    #[derive(Default)]
    struct Pair {
        numbers: [u64; 2],
        is_occupied: bool,
    }

    impl Occupied for Pair {
        fn is_occupied(&self) -> bool {
            self.is_occupied
        }
    }

    fn alone(pair: &GroupLock<Pair>) {
        let _gate = pair.close();
        pair.lock().write().is_occupied = true;
        for at in 0..2 {
            pair.write_as(Asker::Alone).numbers[at] += 1;
        }
        assert!(pair.read_as(Asker::Alone).is_occupied);
        pair.lock().write().is_occupied = false;
    }

    #[test]
    fn nobody_sees_half_of_what_is_done_alone() {
        crate::model::check(2_000, || {
            let pair = Arc::new(GroupLock::new(Pair::default()));
            let acts: [fn(&GroupLock<Pair>); 4] = [
                alone,
                alone,
                |pair| {
                    let [a, b] = pair.read().numbers;
                    assert_eq!(a, b);
                },
                |pair| {
                    let numbers = &mut pair.write().numbers;
                    assert_eq!(numbers[0], numbers[1]);
                    numbers.iter_mut().for_each(|number| *number += 1);
                },
            ];
            let threads = acts.map(|act| {
                let pair = pair.clone();
                thread::spawn(move || act(&pair))
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(pair.read().numbers, [3, 3]);
        });
    }
}
