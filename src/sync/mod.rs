//! Locks, atomics and threads of the lock protocols: the journal, rounds and delivery, the turnstile, room, and whoever
//! is alone with the engine.
//!
//! Normally they are those of `parking_lot` and the standard library. With the feature `model` they are those of
//! `shuttle`, which runs the threads of a test one step at a time in an order that it chooses, and so finds lost
//! wake-ups and deadlocks. Only the tests named `model_tests` run with the feature, because these locks work only
//! within such a test.

#[cfg(not(feature = "model"))]
pub use std::{hint, sync::atomic, thread};

#[cfg(not(feature = "model"))]
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(feature = "model")]
mod model;
#[cfg(feature = "model")]
pub use model::*;
