//! SUBSCRIBE, PSUBSCRIBE and MONITOR as server-sent events. The data of an event is a message with commas between its
//! parts, `message,channel,text`, or a line of MONITOR.
//!
//! A message is sent when what it reveals is durable, and only while its user has the right to get it. For a client that
//! doesn't read, messages wait within `client-output-buffer-limit`; beyond that, the stream ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::spec;
use crate::acl::Context;
use crate::client::Client;
use crate::command::Server;
use crate::command::base::permission;
use crate::http::App;
use crate::http::api::events::{BEAT, HEARTBEAT, stream_of, write_data};
use crate::http::request::gate::{Gate, MissingStore, Talk};
use crate::http::response::problem::{Answer, Problem};
use crate::limits::EVENTS_CHUNK_BYTES;
use crate::push::channels::Subscriptions;
use crate::resp::{Parser, Reply, RequestLimits};

/// Whether a command with this name gets a stream.
pub fn is_stream(name: &[u8]) -> bool {
    ["subscribe", "psubscribe", "monitor"].iter().any(|stream| name.eq_ignore_ascii_case(stream.as_bytes()))
}

/// Opens the stream for a command.
pub async fn open(app: &App, gate: Gate, store: Option<Bytes>, words: Vec<Bytes>) -> Answer {
    let place = app.streams.clone().try_acquire_owned().map_err(|_| {
        let detail = "there are too many streams; end some, or try again later";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ERR", detail)
    })?;
    let begin = words.clone();
    let (gate, (reply, listening)) = gate
        .page(move |talk| {
            if let Some(store) = &store {
                talk.enter(store, MissingStore::Refused)?;
            }
            let reply = talk.command(begin)?;
            Ok((reply, Listening::take(talk)))
        })
        .await?;
    let mut first = Vec::new();
    begin_with(&reply, &mut first);
    let stream = Stream { gate, listening, words, first, _place: place };
    let chunks = stream::unfold(stream, async |mut stream| {
        let chunk = stream.next().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    });
    Ok(stream_of(Body::from_stream(chunks)))
}

/// The events that confirm what was asked for.
fn begin_with(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Sequence(replies) => replies.iter().for_each(|reply| begin_with(reply, out)),
        Reply::Push(parts) => {
            let parts: Vec<Vec<u8>> = parts.iter().map(part).collect();
            write_data(out, &parts.join(&b','));
        }
        _ => out.extend_from_slice(b"data: \"OK\"\n\n"),
    }
}

fn part(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Bulk(text) => text.to_vec(),
        Reply::Integer(number) => number.to_string().into_bytes(),
        _ => Vec::new(),
    }
}

/// What a client listens to. Dropping it ends that, wherever the request is.
struct Listening {
    server: Arc<Server>,
    client: Arc<Client>,
    subscriptions: Subscriptions,
}

impl Listening {
    fn take(talk: &mut Talk) -> Listening {
        Listening {
            server: talk.server.clone(),
            client: talk.session.client.clone(),
            subscriptions: std::mem::take(&mut talk.session.subscriptions),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.server.push.channels.unsubscribe_all(&self.client, &mut self.subscriptions);
        self.server.push.monitors.remove(self.client.id);
        self.client.mailbox.close();
    }
}

struct Stream {
    gate: Gate,
    listening: Listening,
    /// The command, whose user must keep the right to send it.
    words: Vec<Bytes>,
    /// What is sent first.
    first: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// What to send next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = std::mem::take(&mut self.first);
        let client = self.listening.client.clone();
        while out.is_empty() {
            tokio::select! {
                biased;
                () = self.gate.server.shutdown.raised() => return None,
                () = client.disturbed() => {
                    if !client.stays() || !self.is_allowed() {
                        return None;
                    }
                    self.take_messages(&client, &mut out).await?;
                }
                () = tokio::time::sleep(HEARTBEAT) => {
                    if !self.is_allowed() {
                        return None;
                    }
                    out.extend_from_slice(BEAT);
                }
            }
        }
        Some(out.into())
    }

    fn is_allowed(&self) -> bool {
        let Gate { server, session } = &self.gate;
        spec(server, &self.words).is_some_and(|spec| {
            permission::check(server.view(), session, spec, &self.words, Context::TopLevel).is_ok()
        })
    }

    async fn take_messages(&self, client: &Client, out: &mut Vec<u8>) -> Option<()> {
        while out.len() < EVENTS_CHUNK_BYTES
            && let Some((message, seq)) = client.mailbox.take_one()
        {
            poll_fn(|cx| self.gate.server.engine.poll_acknowledged(seq, cx)).await.ok()?;
            write_message(&message, out);
        }
        Some(())
    }
}

/// A message of a channel is encoded as a request would be, and what MONITOR shows is a line.
fn write_message(message: &[u8], out: &mut Vec<u8>) {
    if let Some(line) = message.strip_prefix(b"+") {
        write_data(out, line.trim_ascii_end());
        return;
    }
    let parsed = Parser::new().next(&mut BytesMut::from(message), &RequestLimits::default());
    let Ok(Some(request)) = parsed else { return };
    write_data(out, &request.args.join(&b','));
}
