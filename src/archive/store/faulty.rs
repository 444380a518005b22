//! A store that fails as object stores do: requests that are refused, and answers that are lost.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Fault, Found, Listed, Put, Store, Trouble, Version};

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It does not take place.
    Refused(Trouble),
    /// It takes place, and the answer is lost.
    AnswerLost,
}

#[derive(Debug)]
pub struct Faulty {
    below: Arc<dyn Store>,
    /// Of the next writes, first the last.
    mishaps: Mutex<Vec<Option<Mishap>>>,
    /// Of all requests, until it is taken away.
    outage: Mutex<Option<Trouble>>,
}

impl Faulty {
    pub fn over(below: Arc<dyn Store>) -> Arc<Faulty> {
        Arc::new(Faulty { below, mishaps: Mutex::default(), outage: Mutex::default() })
    }

    /// The next writes meet these, one each.
    pub fn plan(&self, mishaps: impl IntoIterator<Item = Option<Mishap>>) {
        let mut planned: Vec<_> = mishaps.into_iter().collect();
        planned.reverse();
        *self.mishaps.lock() = planned;
    }

    pub fn set_outage(&self, trouble: Option<Trouble>) {
        *self.outage.lock() = trouble;
    }

    fn meet_outage(&self) -> Result<(), Fault> {
        let outage = *self.outage.lock();
        outage.map_or(Ok(()), |trouble| Err(Fault::new(trouble, "on purpose")))
    }

    fn write(&self, write: impl FnOnce() -> Result<Put, Fault>) -> Result<Put, Fault> {
        self.meet_outage()?;
        let mishap = self.mishaps.lock().pop().flatten();
        match mishap {
            None => write(),
            Some(Mishap::Refused(trouble)) => Err(Fault::new(trouble, "on purpose")),
            Some(Mishap::AnswerLost) => {
                write()?;
                Err(Fault::new(Trouble::Slow, "the answer was lost on purpose"))
            }
        }
    }
}

impl Store for Faulty {
    fn place(&self) -> String {
        self.below.place()
    }

    fn get(&self, name: &str, bytes_max: u64) -> Result<Option<Found>, Fault> {
        self.meet_outage()?;
        self.below.get(name, bytes_max)
    }

    fn start(&self, name: &str, bytes: u64) -> Result<Option<Bytes>, Fault> {
        self.meet_outage()?;
        self.below.start(name, bytes)
    }

    fn create(&self, name: &str, bytes: Bytes) -> Result<Put, Fault> {
        self.write(|| self.below.create(name, bytes))
    }

    fn replace(&self, name: &str, bytes: Bytes, version: &Version) -> Result<Put, Fault> {
        self.write(|| self.below.replace(name, bytes, version))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, Fault> {
        self.meet_outage()?;
        self.below.list(folder)
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        self.meet_outage()?;
        self.below.remove(name)
    }
}
