//! Keeps commands off the engine while a script has it, without blocking the threads that serve connections.
//!
//! A script runs alone, as long as it wants. A command that asked the engine for something meanwhile would block its
//! thread, and with it every other connection of that thread, including the one that could stop the script. Therefore a
//! network thread marks when it is inside a command, with a flag of its own ([`Slot`]), and a script begins only when
//! no thread is, with the turnstile closed. A connection that finds it closed waits as a task.
//!
//! ```text
//! command: slot = inside; closed? ── no ──▶ run; slot = outside
//!                                └─ yes ─▶ slot = outside; wait until it opens
//! script:  closed = yes; wait until every slot is outside; run; closed = no
//! ```
//!
//! Both sides write before they read, in one total order (`SeqCst`), so at least one of them sees the other.
//!
//! Scripts take turns, and between two scripts the waiting connections get their turn.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, hint, thread};

#[derive(Debug, Default)]
pub struct Turnstile {
    is_closed: AtomicBool,
    slots: Mutex<Vec<Arc<Slot>>>,
    /// Held by the script whose turn it is.
    turn: Mutex<()>,
    waiting: Mutex<Waiting>,
    passed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By the number of their [`Opened`], which removes its waker when it is dropped.
    wakers: HashMap<u64, Waker>,
    last_number: u64,
    /// Those that were woken and have not entered yet.
    woken: usize,
}

/// Whether a network thread is inside a command. On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Slot(AtomicBool);

/// A thread is inside a command as long as this lives.
pub struct Inside<'s>(&'s Slot);

/// No thread enters as long as this lives.
pub struct Closed<'t> {
    turnstile: &'t Turnstile,
    _turn: MutexGuard<'t, ()>,
}

impl Turnstile {
    /// A slot for one more thread, as long as it is kept.
    pub fn slot(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        let mut slots = self.slots.lock();
        slots.retain(|slot| Arc::strong_count(slot) > 1);
        slots.push(slot.clone());
        slot
    }

    /// Lets the thread of a slot in, unless it is closed.
    pub fn enter<'s>(&self, slot: &'s Slot) -> Option<Inside<'s>> {
        slot.0.store(true, Ordering::SeqCst);
        // outside again in any case
        let inside = Inside(slot);
        if self.is_closed.load(Ordering::SeqCst) { None } else { Some(inside) }
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Closes it, and waits until all threads are outside. Blocks until other scripts have had their turn. Returns
    /// `None` if `gives_up` says so meanwhile.
    pub fn close(&self, gives_up: impl Fn() -> bool) -> Option<Closed<'_>> {
        const STEP: Duration = Duration::from_micros(20);
        const LOOK: Duration = Duration::from_millis(10);
        let turn = loop {
            if gives_up() {
                return None;
            }
            if let Some(turn) = self.turn.try_lock_for(LOOK) {
                break turn;
            }
        };
        self.let_waiters_pass();
        self.is_closed.store(true, Ordering::SeqCst);
        let closed = Closed { turnstile: self, _turn: turn };
        for slot in &*self.slots.lock() {
            let mut looks = 0;
            while slot.0.load(Ordering::SeqCst) {
                looks += 1;
                if looks < 100 { hint::spin_loop() } else { thread::sleep(STEP) }
            }
        }
        Some(closed)
    }

    /// Ready when it is open.
    pub fn opened(&self) -> Opened<'_> {
        Opened { turnstile: self, number: None }
    }

    /// Connections that waited for the last script run before the next one, unless they take too long.
    fn let_waiters_pass(&self) {
        const PATIENCE: Duration = Duration::from_millis(2);
        let mut waiting = self.waiting.lock();
        if waiting.woken > 0 {
            self.passed.wait_while_for(&mut waiting, |waiting| waiting.woken > 0, PATIENCE);
        }
        // a connection that left before its turn is not waited for again
        waiting.woken = 0;
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        let mut waiting = self.turnstile.waiting.lock();
        self.turnstile.is_closed.store(false, Ordering::SeqCst);
        let wakers = std::mem::take(&mut waiting.wakers);
        waiting.woken = wakers.len();
        drop(waiting);
        wakers.into_values().for_each(Waker::wake);
    }
}

/// Waits for a [`Turnstile`] to open.
pub struct Opened<'t> {
    turnstile: &'t Turnstile,
    /// Given with the first registration.
    number: Option<u64>,
}

impl Future for Opened<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let turnstile = self.turnstile;
        let mut waiting = turnstile.waiting.lock();
        if !turnstile.is_closed() {
            drop(waiting);
            self.leave();
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            waiting.last_number += 1;
            waiting.last_number
        });
        waiting.wakers.insert(number, cx.waker().clone());
        Poll::Pending
    }
}

impl Opened<'_> {
    /// Removes its registration. If it has been woken, no script waits for it any longer.
    fn leave(&mut self) {
        let Some(number) = self.number.take() else { return };
        let mut waiting = self.turnstile.waiting.lock();
        if waiting.wakers.remove(&number).is_some() {
            return;
        }
        waiting.woken = waiting.woken.saturating_sub(1);
        if waiting.woken == 0 {
            self.turnstile.passed.notify_one();
        }
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    #[test]
    fn nobody_is_inside_while_it_is_closed() {
        let turnstile = Turnstile::default();
        let inside = AtomicUsize::new(0);
        let (entered, closed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let slot = turnstile.slot();
                    while closed.load(Ordering::Relaxed) < 500 {
                        if let Some(_inside) = turnstile.enter(&slot) {
                            inside.fetch_add(1, Ordering::SeqCst);
                            entered.fetch_add(1, Ordering::Relaxed);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                        thread::yield_now();
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while closed.load(Ordering::Relaxed) < 500 {
                        let _closed = turnstile.close(|| false).unwrap();
                        assert_eq!(inside.load(Ordering::SeqCst), 0);
                        thread::yield_now();
                        assert_eq!(inside.load(Ordering::SeqCst), 0);
                        closed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(entered.load(Ordering::Relaxed) > 0);
    }

    #[test]
    fn who_waits_is_woken_and_goes_first() {
        struct Woken(AtomicUsize);

        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        let turnstile = Turnstile::default();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = woken.clone().into();
        let mut cx = Context::from_waker(&waker);
        let closed = turnstile.close(|| false).unwrap();
        assert!(turnstile.close(|| true).is_none());
        assert!(turnstile.enter(&turnstile.slot()).is_none());
        let mut opened = turnstile.opened();
        assert!(Pin::new(&mut opened).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut opened).poll(&mut cx).is_pending());
        drop(closed);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(turnstile.waiting.lock().woken, 1);
        assert!(Pin::new(&mut opened).poll(&mut cx).is_ready());
        assert_eq!(turnstile.waiting.lock().woken, 0);
        assert!(turnstile.enter(&turnstile.slot()).is_some());
    }

    #[test]
    fn whoever_stops_waiting_is_neither_remembered_nor_waited_for() {
        let turnstile = Turnstile::default();
        let mut cx = Context::from_waker(Waker::noop());
        let closed = turnstile.close(|| false).unwrap();
        for _ in 0..100 {
            let mut opened = turnstile.opened();
            assert!(Pin::new(&mut opened).poll(&mut cx).is_pending());
        }
        assert_eq!(turnstile.waiting.lock().wakers.len(), 0);
        let mut opened = turnstile.opened();
        assert!(Pin::new(&mut opened).poll(&mut cx).is_pending());
        drop(closed);
        assert_eq!(turnstile.waiting.lock().woken, 1);
        drop(opened);
        assert_eq!(turnstile.waiting.lock().woken, 0);
    }
}

#[cfg(all(test, feature = "model"))]
mod model_tests {
    use shuttle::future::block_on;

    use super::*;
    use crate::sync::atomic::AtomicUsize;

    #[test]
    fn nobody_is_inside_while_a_script_runs_and_everybody_gets_in() {
        crate::model::check(2_000, || {
            let turnstile = Arc::new(Turnstile::default());
            // how many are inside, and how many scripts run
            let (inside, running) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let commands = (0..2).map(|_| {
                let (turnstile, inside, running) = (turnstile.clone(), inside.clone(), running.clone());
                thread::spawn(move || {
                    let slot = turnstile.slot();
                    for _ in 0..2 {
                        loop {
                            if let Some(_inside) = turnstile.enter(&slot) {
                                inside.fetch_add(1, Ordering::SeqCst);
                                assert_eq!(running.load(Ordering::SeqCst), 0);
                                inside.fetch_sub(1, Ordering::SeqCst);
                                break;
                            }
                            block_on(turnstile.opened());
                        }
                    }
                })
            });
            let scripts = (0..2).map(|_| {
                let (turnstile, inside, running) = (turnstile.clone(), inside.clone(), running.clone());
                thread::spawn(move || {
                    let _closed = turnstile.close(|| false).unwrap();
                    assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                    assert_eq!(inside.load(Ordering::SeqCst), 0);
                    thread::yield_now();
                    assert_eq!(inside.load(Ordering::SeqCst), 0);
                    running.fetch_sub(1, Ordering::SeqCst);
                })
            });
            let threads: Vec<_> = commands.chain(scripts).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(turnstile.waiting.lock().wakers.len(), 0);
        });
    }

    #[test]
    fn whoever_stops_waiting_holds_nobody_up() {
        crate::model::check(1_000, || {
            let turnstile = Arc::new(Turnstile::default());
            let waiting = turnstile.clone();
            let leaver = thread::spawn(move || {
                let mut opened = waiting.opened();
                let mut cx = Context::from_waker(Waker::noop());
                let _ = Pin::new(&mut opened).poll(&mut cx);
                thread::yield_now();
            });
            let scripts = [(); 2].map(|()| {
                let turnstile = turnstile.clone();
                thread::spawn(move || drop(turnstile.close(|| false)))
            });
            scripts.into_iter().chain([leaver]).for_each(|thread| thread.join().unwrap());
            assert_eq!(turnstile.waiting.lock().woken, 0);
        });
    }
}
