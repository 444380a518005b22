//! Wakes the thread that evicts.

use std::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex};

/// A bell: whoever rings it does not wait, and the thread that listens hears it at once or when it listens next.
#[derive(Default)]
pub struct Alarm {
    /// Asked before the lock is taken, so that ringing again costs one load.
    is_raised: AtomicBool,
    heard: Mutex<()>,
    rang: Condvar,
}

impl Alarm {
    pub fn raise(&self) {
        if !self.is_raised.load(Ordering::Relaxed) && !self.is_raised.swap(true, Ordering::AcqRel) {
            // the listener is either before its look at the flag or asleep
            drop(self.heard.lock());
            self.rang.notify_one();
        }
    }

    /// Waits until it is raised or, if there is a limit, no longer than that. Lowers it.
    pub fn wait(&self, at_most: Option<Duration>) {
        let mut heard = self.heard.lock();
        while !self.is_raised.load(Ordering::Acquire) {
            match at_most {
                Some(at_most) => {
                    self.rang.wait_for(&mut heard, at_most);
                    break;
                }
                None => self.rang.wait(&mut heard),
            }
        }
        self.is_raised.store(false, Ordering::Release);
    }
}

#[cfg(all(test, feature = "model"))]
mod model_tests {
    use std::sync::Arc;

    use crate::engine::heat::alarm::*;
    use crate::sync::thread;

    #[test]
    fn who_listens_hears_every_alarm() {
        crate::model::check(2_000, || {
            let alarm = Arc::new(Alarm::default());
            let work = Arc::new(crate::sync::atomic::AtomicU64::new(0));
            let ringers: Vec<_> = (0..2)
                .map(|_| {
                    let (alarm, work) = (alarm.clone(), work.clone());
                    thread::spawn(move || {
                        work.fetch_add(1, Ordering::SeqCst);
                        alarm.raise();
                    })
                })
                .collect();
            let mut done = 0;
            while done < 2 {
                alarm.wait(None);
                done += work.swap(0, Ordering::SeqCst);
            }
            ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
        });
    }
}
