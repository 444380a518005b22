//! A lock that lets one thread keep all others away for longer than it holds the lock.
//!
//! A thread that acquires the lock checks whether another thread has the state to itself, and if so waits at the gate.
//! The thread that has it to itself may take the lock; a thread-local flag says so.

use std::cell::Cell;

use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, thread_local};

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has the state to itself.
pub fn is_alone() -> bool {
    ALONE.with(Cell::get)
}

/// Marks, in the thread and under the lock in the state, whether this thread has the state to itself.
pub fn set_alone(is_alone: bool) {
    ALONE.with(|alone| alone.set(is_alone));
}

/// A state that says whether a thread has it to itself.
pub trait Occupied {
    fn is_occupied(&self) -> bool;
}

pub struct Gated<S> {
    state: RwLock<S>,
    /// Held by the thread that has the state to itself.
    gate: Mutex<()>,
}

impl<S: Occupied> Gated<S> {
    pub fn new(state: S) -> Gated<S> {
        Gated { state: RwLock::new(state), gate: Mutex::new(()) }
    }

    /// The state, to read; waits while somebody else is alone.
    pub fn read(&self) -> RwLockReadGuard<'_, S> {
        loop {
            let state = self.state.read();
            if !state.is_occupied() || is_alone() {
                return state;
            }
            drop(state);
            drop(self.gate.lock());
        }
    }

    /// The state, to change; waits while somebody else is alone.
    pub fn write(&self) -> RwLockWriteGuard<'_, S> {
        loop {
            let state = self.state.write();
            if !state.is_occupied() || is_alone() {
                return state;
            }
            drop(state);
            drop(self.gate.lock());
        }
    }

    /// Waits until nobody else is alone, and keeps others waiting from when the state says that it is occupied.
    pub fn close(&self) -> MutexGuard<'_, ()> {
        self.gate.lock()
    }

    /// The lock itself, for the thread that has the state to itself, begins or ends to have it, or does not mind that
    /// another has it.
    pub fn lock(&self) -> &RwLock<S> {
        &self.state
    }
}

#[cfg(all(test, feature = "model"))]
mod model_tests {
    use std::sync::Arc;

    use crate::engine::transaction::gate::*;
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

    fn alone(pair: &Gated<Pair>) {
        let _gate = pair.close();
        pair.lock().write().is_occupied = true;
        set_alone(true);
        for at in 0..2 {
            pair.write().numbers[at] += 1;
        }
        assert!(pair.read().is_occupied);
        pair.lock().write().is_occupied = false;
        set_alone(false);
    }

    #[test]
    fn nobody_sees_half_of_what_is_done_alone() {
        crate::model::check(2_000, || {
            let pair = Arc::new(Gated::new(Pair::default()));
            let acts: [fn(&Gated<Pair>); 4] = [
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
