//! `shuttle`'s locks with the interface of `parking_lot`'s, as far as it is used. Time does not pass in a model: a
//! thread that waits with a deadline waits until it is woken.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};
use std::time::{Duration, Instant};

pub use shuttle::sync::{RwLockReadGuard, atomic};
pub use shuttle::{hint, sync, thread};

#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

/// Gives its lock away while it waits for a [`Condvar`], and has it otherwise.
#[derive(Debug)]
pub struct MutexGuard<'m, T>(Option<sync::MutexGuard<'m, T>>);

#[derive(Debug, Default)]
pub struct Condvar(sync::Condvar);

#[derive(Debug, Default)]
pub struct RwLock<T>(sync::RwLock<T>);

pub struct RwLockWriteGuard<'l, T> {
    guard: sync::RwLockWriteGuard<'l, T>,
    lock: &'l RwLock<T>,
}

/// Whether a wait ended without having been woken: never.
pub struct WaitTimeoutResult;

impl WaitTimeoutResult {
    pub fn timed_out(&self) -> bool {
        false
    }
}

impl<T> Mutex<T> {
    pub fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        available(self.0.try_lock()).map(|guard| MutexGuard(Some(guard)))
    }

    pub fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
        self.try_lock().or_else(|| {
            thread::yield_now();
            None
        })
    }
}

fn available<G>(tried: Result<G, TryLockError<G>>) -> Option<G> {
    match tried {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| unreachable!("it waits"))
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_deref_mut().unwrap_or_else(|| unreachable!("it waits"))
    }
}

impl<T: fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Condvar {
    pub fn new() -> Condvar {
        Condvar::default()
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let lock = guard.0.take();
        guard.0 = lock.map(|lock| self.0.wait(lock).unwrap_or_else(PoisonError::into_inner));
    }

    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> WaitTimeoutResult {
        self.wait(guard);
        WaitTimeoutResult
    }

    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> WaitTimeoutResult {
        self.wait(guard);
        WaitTimeoutResult
    }

    pub fn wait_while_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut is_early: impl FnMut(&mut T) -> bool,
        _: Duration,
    ) -> WaitTimeoutResult {
        while is_early(guard) {
            self.wait(guard);
        }
        WaitTimeoutResult
    }
}

impl<T> RwLock<T> {
    pub fn new(value: T) -> RwLock<T> {
        RwLock(sync::RwLock::new(value))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard { guard: self.0.write().unwrap_or_else(PoisonError::into_inner), lock: self }
    }

    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        available(self.0.try_write()).map(|guard| RwLockWriteGuard { guard, lock: self })
    }

    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        available(self.0.try_read())
    }

    /// Locked, as far as a model shows: a thread that would look again and again runs through all its steps for nothing.
    pub fn is_locked(&self) -> bool {
        true
    }

    pub fn is_locked_exclusive(&self) -> bool {
        true
    }

    pub fn try_write_for(&self, _: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        self.try_write()
    }
}

impl<'l, T> RwLockWriteGuard<'l, T> {
    /// Not at once, as `parking_lot` does it: no model relies on that.
    pub fn downgrade(guard: RwLockWriteGuard<'l, T>) -> RwLockReadGuard<'l, T> {
        let lock = guard.lock;
        drop(guard);
        lock.read()
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
