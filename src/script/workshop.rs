//! An interpreter that is made when it is first needed, and again after it ran out of memory.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Running;
use super::interpreter::{Interpreter, Purpose};
use crate::error::Error;

/// `T` is what belongs to an interpreter, and goes with it.
pub struct Workshop<T> {
    purpose: Purpose,
    version: String,
    seed: u32,
    running: Arc<Running>,
    slot: Mutex<Option<(Interpreter, T)>>,
}

impl<T: Default> Workshop<T> {
    pub fn new(purpose: Purpose, version: String, seed: u32, running: Arc<Running>) -> Workshop<T> {
        Workshop { purpose, version, seed, running, slot: Mutex::default() }
    }

    /// Works with the interpreter, alone. One that reached its limit is not used again.
    pub fn with<R>(
        &self,
        memory_bytes: usize,
        work: impl FnOnce(&mut Interpreter, &mut T) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut slot = self.slot.lock();
        let (mut interpreter, mut belongings) = match slot.take() {
            Some(known) => known,
            None => {
                let running = self.running.clone();
                let made = Interpreter::new(self.purpose, &self.version, self.seed, memory_bytes, running)?;
                (made, T::default())
            }
        };
        let outcome =
            interpreter.prepare(memory_bytes).and_then(|()| work(&mut interpreter, &mut belongings));
        if interpreter.is_usable() {
            *slot = Some((interpreter, belongings));
        }
        outcome
    }

    /// Looks at what belongs to the interpreter, if there is one.
    pub fn with_known<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.slot.lock().as_mut().map(|(_, belongings)| look(belongings))
    }

    /// Gives the interpreter up, and does something else before anybody can have a new one.
    pub fn forget(&self, meanwhile: impl FnOnce()) {
        let mut slot = self.slot.lock();
        meanwhile();
        *slot = None;
    }

    /// The memory of the interpreter; 0 while it works.
    pub fn used_bytes(&self) -> usize {
        let slot = self.slot.try_lock();
        slot.and_then(|it| it.as_ref().map(|(interpreter, _)| interpreter.used_bytes())).unwrap_or(0)
    }

    pub fn running(&self) -> &Running {
        &self.running
    }
}
