//! Locks, atomics and threads of the lock protocols: the journal, rounds and delivery, the turnstile, room, and whoever
//! is alone with the engine.
//!
//! As a rule they are those of `parking_lot` and the standard library. With the feature `model` they are those of `shuttle`,
//! which runs the threads of a test one step at a time in an order that it chooses, and so finds wake-ups that get lost and
//! threads that wait for each other. The tests named `model_tests` do that; nothing else runs with the feature, since these
//! locks work within such a test only.

#[cfg(not(feature = "model"))]
pub use std::{hint, sync::atomic, thread, thread_local};

#[cfg(not(feature = "model"))]
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(feature = "model")]
mod model;
#[cfg(feature = "model")]
pub use model::*;
