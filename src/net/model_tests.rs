//! Rounds, delivery and outboxes over a journal, under a checker of interleavings: no reply leaves before its entry is
//! durable, each leaves once and in order, and nobody waits for ever.
//!
//! A network thread runs its connections and its rounds as one task here, so they take turns where they wait, as on its
//! runtime; the delivery thread and those of the journal run beside it.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::BytesMut;
use shuttle::future::block_on;

use super::delivery::Delivery;
use super::outbox::{Asked, Outbox, Outcome, Outlet};
use super::round::Round;
use crate::client::Client;
use crate::engine::journal::{Claim, Fault, Journal, JournalError, Options, Seq};
use crate::error::Error;
use crate::model::{ModelDisk, check};
use crate::script::turnstile::Turnstile;
use crate::sync::thread;

/// What one network thread has, without its sockets.
struct Side {
    disk: ModelDisk,
    journal: Arc<Journal>,
    round: Round,
}

/// A client that takes so many bytes of each batch at once, and what it got.
struct Peer {
    outbox: Arc<Outbox>,
    got: Arc<Mutex<Vec<u8>>>,
}

fn acknowledge(journal: &Journal, seq: Seq) -> Result<(), Error> {
    journal.acknowledge(seq).map_err(refused)
}

fn refused(fault: Fault) -> Error {
    Error::Storage(fault.to_string())
}

fn peer(disk: &ModelDisk, bytes_at_once: usize) -> Peer {
    let (got, disk) = (Arc::new(Mutex::new(Vec::new())), disk.clone());
    let taken = got.clone();
    let send = move |bytes: &[u8]| {
        // each reply is the entry that it reflects
        for reply in bytes.split_inclusive(|byte| *byte == b';').filter(|reply| reply.starts_with(b"<")) {
            assert!(disk.is_durable(reply), "{} has left", reply.escape_ascii());
        }
        let some = bytes.len().min(bytes_at_once);
        taken.lock().unwrap().extend_from_slice(&bytes[..some]);
        match some {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            some => Ok(some),
        }
    };
    let client = Arc::new(Client::new(1, String::new(), String::new(), 0));
    Peer { outbox: Arc::new(Outbox::new(Outlet::Model(Box::new(send)), client)), got }
}

impl Side {
    /// An entry, and a reply that reflects it.
    fn change(&self, name: &str) -> Result<(BytesMut, Seq), Error> {
        let reply = format!("<{name}>;");
        let append = self.journal.append(Claim::Ordinary, |_, into| into.extend_from_slice(reply.as_bytes()));
        append.map(|seq| (BytesMut::from(&reply[..]), seq)).map_err(refused)
    }

    /// As a connection does with what a few requests are answered, at the end of a round.
    async fn answer(&self, peer: &Peer, name: &str) -> Result<(), Error> {
        let (replies, reflects) = self.change(name)?;
        let mut round = pin!(self.round.ended());
        let mut has_ended = false;
        poll_fn(|cx| {
            let outcome = self.journal.poll_gathered(reflects, cx);
            has_ended = has_ended || round.as_mut().poll(cx).is_ready();
            if has_ended { outcome } else { Poll::Pending }
        })
        .await
        .map_err(refused)?;
        peer.outbox.send(&replies).await.unwrap();
        Ok(())
    }

    /// As a connection does with pipelines, one after the other.
    async fn pipeline(&self, peer: &Peer, names: &[&str]) -> Result<(), Error> {
        for name in names {
            let (mut replies, reflects) = self.change(name)?;
            peer.outbox.hand_in(&mut replies, reflects, Asked::default());
            self.round.hand_over(peer.outbox.clone());
            match peer.outbox.delivered().await {
                Outcome::Sent => {}
                Outcome::Unsent(rest) => peer.outbox.send(&rest).await.unwrap(),
                Outcome::Refused(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Runs connections on a network thread with its delivery thread.
fn serve(fails_after: Option<usize>) {
    let disk = ModelDisk::default();
    let options = Options {
        segment_bytes: 8_192,
        spares_min: 1,
        spares_max: 1,
        kept_bytes: 0,
        disk: Arc::new(disk.clone()),
        ..Options::default()
    };
    let journal =
        Journal::open::<JournalError>(Path::new("/journal"), options, 0, &mut |_, _| Ok(())).unwrap().0;
    if let Some(syncs) = fails_after {
        disk.fail_sync_after(syncs);
    }
    let delivery = Arc::new(Delivery::default());
    let (delivering, of_delivery) = (delivery.clone(), journal.clone());
    let deliverer = thread::spawn(move || delivering.run(|seq| acknowledge(&of_delivery, seq), |_, _| {}));
    let turnstile = Turnstile::default();
    let side = Side {
        disk: disk.clone(),
        journal: journal.clone(),
        round: Round::new(delivery.clone(), turnstile.slot()),
    };
    let peers = [peer(&side.disk, 100), peer(&side.disk, 3), peer(&side.disk, 100)];
    let outcomes = block_on(async {
        let settling = side.round.finish(|| journal.is_sync_due(), || journal.sync_gathered());
        let served = async {
            tokio::join!(
                side.answer(&peers[0], "a"),
                side.pipeline(&peers[1], &["b1", "b2"]),
                side.pipeline(&peers[2], &["c1", "c2"])
            )
        };
        tokio::select! {
            () = settling => unreachable!("it never ends"),
            outcomes = served => outcomes,
        }
    });
    delivery.end();
    deliverer.join().unwrap();
    for (peer, (outcome, all)) in
        peers.iter().zip([(outcomes.0, "<a>;"), (outcomes.1, "<b1>;<b2>;"), (outcomes.2, "<c1>;<c2>;")])
    {
        let got = peer.got.lock().unwrap();
        let got = std::str::from_utf8(&got).unwrap();
        match outcome {
            Ok(()) => assert_eq!(got, all),
            Err(_) => assert!(fails_after.is_some() && all.starts_with(got) && got != all, "{got}"),
        }
    }
    let _ = journal.close();
}

#[test]
fn replies_leave_once_and_in_order_when_their_entries_are_durable() {
    check(1_500, || serve(None));
}

#[test]
fn replies_whose_entries_may_not_last_do_not_leave() {
    for syncs in [0, 1, 2] {
        check(500, move || serve(Some(syncs)));
    }
}
