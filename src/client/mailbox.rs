//! The messages that wait to be sent to one connection, apart from its replies, or to one follower of a store.
//!
//! Other threads put messages in, and the connection's task takes them out; neither waits. The bytes in it are
//! bounded: at the hard limit, or above the soft limit for too long, it accepts no more, and its client has to be
//! disconnected.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::config::Limit;
use crate::engine::Seq;

/// The memory of a message in addition to its bytes.
const MESSAGE_BYTES: usize = 64;

/// A message of a known size.
pub trait Letter: Default {
    fn bytes(&self) -> usize;
}

impl Letter for Bytes {
    fn bytes(&self) -> usize {
        self.len()
    }
}

#[derive(Debug, Default)]
pub struct Mailbox<L = Bytes> {
    /// Whether it contains messages. Its task checks this after every request.
    waiting: AtomicBool,
    content: Mutex<Content<L>>,
}

#[derive(Debug, Default)]
struct Content<L> {
    messages: VecDeque<(L, Seq)>,
    bytes: usize,
    /// By the steady clock.
    over_soft_since_ms: Option<u64>,
    task: Option<Waker>,
    closed: bool,
}

impl<L: Letter> Mailbox<L> {
    /// Adds a message, which must not be sent before `seq` is durable. Returns false if the mailbox exceeds its
    /// limit; it then accepts no more.
    pub fn put(&self, message: L, seq: Seq, limit: &Limit, steady_ms: impl FnOnce() -> u64) -> bool {
        let task = {
            let mut content = self.content.lock();
            if content.closed {
                return true;
            }
            content.bytes += message.bytes() + MESSAGE_BYTES;
            if content.is_over(limit, steady_ms) {
                *content = Content { closed: true, task: content.task.take(), ..Content::default() };
                return false;
            }
            content.messages.push_back((message, seq));
            self.waiting.store(true, Ordering::Release);
            content.task.take()
        };
        task.into_iter().for_each(Waker::wake);
        true
    }

    /// Takes out the first message, with the sequence number that has to be durable before it is sent.
    pub fn take_one(&self) -> Option<(L, Seq)> {
        let mut content = self.content.lock();
        let first = content.messages.pop_front();
        if let Some((message, _)) = &first {
            content.bytes -= message.bytes() + MESSAGE_BYTES;
        }
        self.waiting.store(!content.messages.is_empty(), Ordering::Release);
        first
    }

    /// Whether there is something in it.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Ready when it contains messages. Only for the task that takes them out.
    pub fn filled(&self) -> Filled<'_, L> {
        Filled(self)
    }

    /// The same; wakes the task when it is filled, or [woken](Mailbox::wake).
    pub fn poll_filled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut content = self.content.lock();
        if !content.messages.is_empty() {
            return Poll::Ready(());
        }
        if !content.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            content.task = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Wakes the task that waits for messages.
    pub fn wake(&self) {
        let task = self.content.lock().task.take();
        task.into_iter().for_each(Waker::wake);
    }

    /// The number of messages in it, and of their bytes.
    pub fn size(&self) -> (usize, usize) {
        let content = self.content.lock();
        (content.messages.len(), content.bytes)
    }

    /// Accepts no more messages, because the connection has ended.
    pub fn close(&self) {
        *self.content.lock() = Content { closed: true, ..Content::default() };
        self.waiting.store(false, Ordering::Release);
    }
}

impl Mailbox {
    /// Moves this many messages to the end of `out`, or fewer if they reach `bytes_max`. Returns the highest sequence
    /// number that has to be durable before they are sent.
    pub fn take(&self, out: &mut BytesMut, count_max: usize, bytes_max: usize) -> Seq {
        if count_max == 0 || !self.is_waiting() {
            return 0;
        }
        let mut content = self.content.lock();
        let (mut seq, mut count, mut bytes) = (0, 0, 0);
        while count < count_max
            && bytes < bytes_max
            && let Some((message, of)) = content.messages.pop_front()
        {
            content.bytes -= message.len() + MESSAGE_BYTES;
            count += 1;
            bytes += message.len();
            seq = seq.max(of);
            out.extend_from_slice(&message);
        }
        self.waiting.store(!content.messages.is_empty(), Ordering::Release);
        seq
    }
}

impl<L> Content<L> {
    fn is_over(&mut self, limit: &Limit, steady_ms: impl FnOnce() -> u64) -> bool {
        let over = |limit_bytes: u64| limit_bytes > 0 && self.bytes as u64 > limit_bytes;
        if over(limit.hard_bytes) {
            return true;
        }
        if !over(limit.soft_bytes) {
            self.over_soft_since_ms = None;
            return false;
        }
        let steady_ms = steady_ms();
        let since_ms = *self.over_soft_since_ms.get_or_insert(steady_ms);
        steady_ms.saturating_sub(since_ms) > limit.soft_s.saturating_mul(1_000)
    }
}

/// Waits for a [`Mailbox`] to be filled.
pub struct Filled<'a, L = Bytes>(&'a Mailbox<L>);

impl<L: Letter> Future for Filled<'_, L> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_filled(cx)
    }
}

#[cfg(test)]
mod tests {
    use crate::client::mailbox::*;

    const LIMIT: Limit = Limit { hard_bytes: 1_000, soft_bytes: 300, soft_s: 2 };

    fn put(mailbox: &Mailbox, bytes: usize, now_ms: u64) -> bool {
        mailbox.put(Bytes::from(vec![b'x'; bytes]), 7, &LIMIT, || now_ms)
    }

    #[test]
    fn messages_come_out_in_order_and_in_portions() {
        let mailbox = Mailbox::default();
        let mut out = BytesMut::new();
        assert_eq!(mailbox.take(&mut out, 9, 10), 0);
        for (message, seq) in [("ab", 3), ("cd", 5), ("ef", 4)] {
            assert!(mailbox.put(Bytes::from(message), seq, &Limit::default(), || 0));
        }
        assert_eq!(mailbox.take(&mut out, 9, 3), 5);
        assert_eq!(&out[..], b"abcd");
        assert!(mailbox.is_waiting());
        assert_eq!(mailbox.take(&mut out, 1, 9), 4);
        assert_eq!((&out[..], mailbox.is_waiting(), mailbox.size()), (&b"abcdef"[..], false, (0, 0)));
    }

    #[test]
    fn at_the_hard_limit_it_lets_go_of_everything() {
        let mailbox = Mailbox::default();
        assert!(put(&mailbox, 800, 0));
        assert!(!put(&mailbox, 100, 0), "with what a message costs beside its bytes");
        assert_eq!(mailbox.size(), (0, 0));
        assert!(put(&mailbox, 100, 0), "only the first time is to be acted on");
        assert_eq!(mailbox.size(), (0, 0));
    }

    #[test]
    fn above_the_soft_limit_it_may_be_for_a_while() {
        let mailbox = Mailbox::default();
        let mut out = BytesMut::new();
        assert!(put(&mailbox, 300, 1_000));
        assert!(put(&mailbox, 1, 3_000));
        mailbox.take(&mut out, usize::MAX, usize::MAX);
        assert!(put(&mailbox, 1, 9_000), "it was below in between");
        assert!(put(&mailbox, 300, 10_000));
        assert!(!put(&mailbox, 1, 12_001));
    }
}
