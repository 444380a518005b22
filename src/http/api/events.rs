//! The changes of a store with old and new values, as server-sent events, until either side ends the stream.
//!
//! ```text
//! open | lost ──▶ set, delete, expire, flush, swap, rename … ──▶ end
//! ```
//!
//! An event is sent when the change is as durable as a reply would have to be. Changes that the user may not read (with
//! GET, at that moment) are left out. Changes of one journal entry come together, and the last of them has the `id`: a
//! client that sends it in `Last-Event-ID` has seen everything up to there. No changes are kept for clients that are
//! not connected, so the first event says `lost` if there were any in between. An id begins with the run of the server,
//! because after a power cut at `everysec` numbers may be assigned again.
//!
//! A stream is produced as its client reads it. For a client that doesn't read, changes wait within
//! `client-output-buffer-limit`, and beyond that the stream ends; the connection is closed when the system has tried
//! long enough ([`crate::http::server`]).

use std::convert::Infallible;
use std::future::poll_fn;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use crate::acl::Context;
use crate::command::base::permission;
use crate::engine::Seq;
use crate::engine::events::change::{Change, Old, What};
use crate::error::Error;
use crate::http::api::keys::key_schema;
use crate::http::openapi::parameter::{header, prefix};
use crate::http::openapi::route::{self, Route, value_schema};
use crate::http::openapi::schema::{Schema, count, object, text, word};
use crate::http::request::ask::Ask;
use crate::http::request::gate::{Gate, MissingStore};
use crate::http::response::json::Writer;
use crate::http::response::problem::{Answer, Problem};
use crate::http::response::version::version;
use crate::limits::EVENTS_CHUNK_BYTES;
use crate::push::followers::Following;

/// How long a stream is silent before it sends a comment as a sign of life.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// A comment, which clients pass over.
pub const BEAT: &[u8] = b":\n\n";

pub const LAST_EVENT_ID: header::HeaderName = header::HeaderName::from_static("last-event-id");

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/stores/{store}/events", events)
            .named("events", "Follow what changes in a store, without end")
            .parameters([
                prefix(),
                header(
                    "Last-Event-ID",
                    "The last id that was seen; if anything changed since, the first event is lost \
                 instead of open",
                ),
            ])
            .returns_content(
                200,
                "Server-sent events, whose data is an Event and whose name is its kind; the \
                 stream ends with one of kind end",
                vec![("text/event-stream", text())],
            )
            .mentions(event_schema()),
    ]
}

fn event_schema() -> Schema {
    object([
        (
            "kind",
            word(&[
                "open", "lost", "set", "delete", "expire", "evict", "flush", "swap", "rename", "drop", "end",
            ]),
        ),
        (
            "version",
            text()
                .with("pattern", "^[0-9a-f]{8}-[0-9]+$")
                .about("Of the record after the change; changes of one step share it")
                .optional(),
        ),
        ("key", key_schema().optional()),
        ("old", value_schema().about("The value before; missing if there was no record").optional()),
        ("old_base64", text().about("Instead of old, where that is not JSON").optional()),
        ("old_error", text().about("Instead of old, where that is damaged").optional()),
        ("new", value_schema().about("The value that was set").optional()),
        ("new_base64", text().about("Instead of new, where that is not JSON").optional()),
        (
            "expires_at_ms",
            count().about("When what was set expires, in milliseconds since 1970; missing: never").optional(),
        ),
        ("name", text().about("What the store is called now").optional()),
        ("since", text().about("The id after which changes are lost").optional()),
        (
            "code",
            text()
                .about(
                    "Why the stream ends: SHUTDOWN, SLOW, NOPERM, NOSTORE, or the error that keeps \
                 changes from becoming durable",
                )
                .optional(),
        ),
        ("detail", text().about("The same for people").optional()),
    ])
    .named("Event")
}

pub async fn events(ask: Ask) -> Answer {
    let params = ask.params(&["prefix"])?;
    let prefix = params.bytes("prefix").cloned().unwrap_or_default();
    let seen = last_event_id(&ask.headers);
    let store = ask.store();
    let (gate, following) = ask
        .gate
        .page(move |talk| {
            talk.enter(&store, MissingStore::Refused)?;
            let (server, session) = (&talk.server, &talk.session);
            if let Some(get) = server.commands.find(b"get") {
                permission::check(
                    server.view(),
                    session,
                    get,
                    &[Bytes::from_static(b"GET")],
                    Context::TopLevel,
                )?;
            }
            Following::begin(&server.engine, &server.push, session.store, prefix).ok_or_else(|| {
                let detail = "there are too many streams of events; end some, or try again later";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ERR", detail)
            })
        })
        .await?;
    let events = Events { label: following.label.clone(), gate, following, state: State::Begins(seen) };
    let chunks = stream::unfold(events, async |mut events| {
        let chunk = events.next().await?;
        Some((Ok::<_, Infallible>(chunk), events))
    });
    Ok(stream_of(Body::from_stream(chunks)))
}

fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(LAST_EVENT_ID)?;
    Some(String::from_utf8_lossy(id.as_bytes()).into_owned()).filter(|id| !id.is_empty())
}

pub fn stream_of(body: Body) -> Response {
    // asks proxies not to buffer the response
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (NO_BUFFERING, "no")];
    (headers, body).into_response()
}

const NO_BUFFERING: header::HeaderName = header::HeaderName::from_static("x-accel-buffering");

struct Events {
    gate: Gate,
    following: Following,
    /// The name of the store as of the last event.
    label: String,
    state: State,
}

enum State {
    /// Nothing was sent yet; holds what the client says it has seen.
    Begins(Option<String>),
    Goes,
    Ended,
}

/// Why a stream ends.
struct End {
    code: String,
    detail: String,
}

impl End {
    fn new(code: &str, detail: &str) -> End {
        End { code: code.to_owned(), detail: detail.to_owned() }
    }
}

impl Events {
    /// What to send next; `None` after the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        let outcome = match std::mem::replace(&mut self.state, State::Goes) {
            State::Ended => return None,
            State::Begins(seen) => self.begin(seen, &mut out).await,
            State::Goes => self.go_on(&mut out).await,
        };
        if let Err(End { code, detail }) = outcome {
            self.state = State::Ended;
            let data = json!({"kind": "end", "code": code, "detail": detail}).to_string();
            write_event(&mut out, "end", None, data.as_bytes());
        }
        Some(out.into())
    }

    async fn begin(&self, seen: Option<String>, out: &mut Vec<u8>) -> Result<(), End> {
        let since = self.following.since;
        self.acknowledged(since).await?;
        let id = self.id(since);
        let (kind, data) = match seen {
            Some(seen) if seen != id => {
                let detail = "changes since then are not kept: read again what you need to know";
                ("lost", json!({"kind": "lost", "version": id, "since": seen, "detail": detail}))
            }
            _ => ("open", json!({"kind": "open", "version": id})),
        };
        write_event(out, kind, Some(&id), data.to_string().as_bytes());
        Ok(())
    }

    /// Waits for changes, or until a sign of life is due.
    async fn go_on(&mut self, out: &mut Vec<u8>) -> Result<(), End> {
        while out.is_empty() {
            tokio::select! {
                biased;
                () = self.gate.server.shutdown.raised() => {
                    return Err(End::new("SHUTDOWN", "the server stops"));
                }
                () = self.following.too_slow() => {
                    let detail = "changes were read too slowly: more waited than client-output-buffer-limit \
                                  allows for pubsub, and they are lost";
                    return Err(End::new("SLOW", detail));
                }
                () = self.following.filled() => self.tell_changes(out).await?,
                () = tokio::time::sleep(HEARTBEAT) => out.extend_from_slice(BEAT),
            }
            if !permission::may_read(&self.gate.server, &self.gate.session, &self.label, None) {
                return Err(End::new("NOPERM", "this user may not read the store any more"));
            }
        }
        Ok(())
    }

    /// Sends some of the waiting changes, when they are durable.
    async fn tell_changes(&mut self, out: &mut Vec<u8>) -> Result<(), End> {
        while out.len() < EVENTS_CHUNK_BYTES
            && let Some((changes, seq)) = self.following.take()
        {
            self.acknowledged(seq).await?;
            self.tell(&changes, seq, out)?;
        }
        Ok(())
    }

    fn tell(&mut self, changes: &[Change], seq: Seq, out: &mut Vec<u8>) -> Result<(), End> {
        let id = self.id(seq);
        for (at, Change { what, .. }) in changes.iter().enumerate() {
            if let What::Rename { name } = what {
                self.label.clone_from(name);
            }
            let is_last = at + 1 == changes.len();
            if permission::may_read(
                &self.gate.server,
                &self.gate.session,
                &self.label,
                what.key().map(|key| &**key),
            ) {
                write_event(out, kind(what), is_last.then_some(&id), &data(what, &id));
            } else if is_last {
                write_id(out, &id);
            }
            if matches!(what, What::Drop) {
                return Err(End::new("NOSTORE", "the store is gone"));
            }
        }
        Ok(())
    }

    async fn acknowledged(&self, seq: Seq) -> Result<(), End> {
        poll_fn(|cx| self.gate.server.engine.poll_acknowledged(seq, cx)).await.map_err(|error| {
            let problem = Problem::from(error);
            let (code, detail) = problem.told();
            End::new(code, detail)
        })
    }

    fn id(&self, seq: Seq) -> String {
        version(&self.gate.server, seq)
    }
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Set { .. } => "set",
        What::Delete { .. } => "delete",
        What::Expire { .. } => "expire",
        What::Evict { .. } => "evict",
        What::Flush => "flush",
        What::Swap => "swap",
        What::Rename { .. } => "rename",
        What::Drop => "drop",
    }
}

/// The change as JSON. An old or new value that doesn't exist is left out.
fn data(what: &What, version: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.raw(format!("{{\"kind\":\"{}\",\"version\":\"{version}\"", kind(what)));
    if let Some(key) = what.key() {
        writer.raw(",\"key\":").key(key);
    }
    match what {
        What::Set { key, old, new, expires_at_ms } => {
            if let Some(old) = old {
                write_old(&mut writer, key, old);
            }
            writer.raw(",").value("new", new);
            if let Some(at) = expires_at_ms {
                writer.raw(format!(",\"expires_at_ms\":{at}"));
            }
        }
        What::Delete { key, old } | What::Expire { key, old } | What::Evict { key, old } => {
            write_old(&mut writer, key, old)
        }
        What::Rename { name } => _ = writer.raw(",\"name\":").raw(Value::from(&**name).to_string()),
        What::Flush | What::Swap | What::Drop => {}
    }
    writer.raw("}").finish()
}

fn write_old(writer: &mut Writer, key: &[u8], old: &Old) {
    match old.value(key) {
        Ok(value) => writer.raw(",").value("old", &value),
        Err(error) => {
            writer.raw(",\"old_error\":").raw(Value::from(Error::from(error).to_string()).to_string())
        }
    };
}

/// An event. Lines of the data are lines of the event: a line break within JSON is only space.
fn write_event(out: &mut Vec<u8>, name: &str, id: Option<&String>, data: &[u8]) {
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(format!("event: {name}\n").as_bytes());
    write_data(out, data);
}

/// The data of an event, and its end.
pub fn write_data(out: &mut Vec<u8>, data: &[u8]) {
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// How far the stream is, without an event.
fn write_id(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(format!("id: {id}\n\n").as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http_body_util::BodyExt;

    use crate::command::tests::harness::session;
    use crate::command::{Session, dispatch};
    use crate::http::api::events::*;
    use crate::http::testing::Api;
    use crate::resp::{Reply, Request};

    /// In the words of the protocol, as if a command had read it.
    #[test]
    fn an_old_value_that_is_damaged_is_told_to_be() {
        let old = Old::Stored { generation: 1, record: Bytes::from_static(b"damaged"), dictionary: None };
        let mut writer = Writer::new();
        write_old(&mut writer, b"k", &old);
        let told = String::from_utf8(writer.finish()).unwrap_or_default();
        assert!(told.starts_with(",\"old_error\":\"ERR the record is damaged: "), "{told}");
    }

    /// A stream of events, as its client reads it.
    struct Reading {
        body: Body,
        text: String,
    }

    /// What a client makes of the lines of an event.
    #[derive(Debug)]
    struct Event {
        name: String,
        id: Option<String>,
        data: Value,
    }

    impl Reading {
        async fn of(api: &Api, line: &str, headers: &[(&str, &str)]) -> Reading {
            let response = api.begin(line, headers, "").await;
            assert_eq!(response.status(), 200, "{line}");
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            Reading { body: response.into_body(), text: String::new() }
        }

        /// The next event; comments, and ids without an event, are passed over. None: the stream has ended.
        async fn next(&mut self) -> Option<Event> {
            loop {
                while let Some((block, rest)) = self.text.split_once("\n\n") {
                    let event = event(block);
                    self.text = rest.to_owned();
                    if event.is_some() {
                        return event;
                    }
                }
                let frame = self.body.frame().await?.unwrap().into_data().unwrap();
                self.text += std::str::from_utf8(&frame).unwrap();
            }
        }

        async fn expect(&mut self, data: Value) {
            let event = self.next().await.expect("an event");
            assert_eq!(event.name, data["kind"], "{event:?}");
            let mut told = event.data.clone();
            let version = told.as_object_mut().unwrap().remove("version");
            assert!(event.name == "end" || version.unwrap().is_string());
            assert_eq!(told, data);
        }

        async fn expect_end(&mut self, code: &str) {
            let event = self.next().await.expect("an end");
            assert_eq!((&*event.name, event.data["code"].as_str()), ("end", Some(code)));
            assert!(self.next().await.is_none());
        }
    }

    fn event(block: &str) -> Option<Event> {
        let fields: Vec<(&str, &str)> = block.lines().filter_map(|line| line.split_once(": ")).collect();
        let all = |name| fields.iter().filter(move |(of, _)| *of == name).map(|(_, value)| *value);
        let name = all("event").next()?.to_owned();
        let data = all("data").collect::<Vec<_>>().join("\n");
        let id = all("id").next().map(str::to_owned);
        Some(Event { name, id, data: serde_json::from_str(&data).unwrap() })
    }

    fn run(api: &Api, session: &mut Session, line: &str) {
        let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let reply = dispatch(&api.server, session, Request { args }).reply;
        assert!(!matches!(reply, None | Some(Reply::Error(_))), "{line}: {reply:?}");
    }

    const EVENTS: &str = "GET /api/v1/stores/0/events";

    #[tokio::test]
    async fn writes_of_every_kind_are_told_in_order() {
        let api = Api::new();
        let mut resp = session(&api.server);
        let mut reading = Reading::of(&api, EVENTS, &[]).await;
        reading.expect(json!({"kind": "open"})).await;
        api.run("PUT /api/v1/stores/0/records/a", "{\"n\":\n 1}").await;
        for line in ["JSON.NUMINCRBY a $.n 1", "MULTI", "SET b 1 PXAT 99999999999999", "RENAME b c", "EXEC"] {
            run(&api, &mut resp, line);
        }
        run(&api, &mut resp, "EVAL redis.call('set',KEYS[1],'[]') 1 d");
        reading.expect(json!({"kind": "set", "key": "a", "new": {"n": 1}})).await;
        reading.expect(json!({"kind": "set", "key": "a", "old": {"n": 1}, "new": {"n": 2}})).await;
        let until = 99_999_999_999_999_u64;
        reading.expect(json!({"kind": "set", "key": "b", "new": 1, "expires_at_ms": until})).await;
        reading.expect(json!({"kind": "set", "key": "c", "new": 1, "expires_at_ms": until})).await;
        reading.expect(json!({"kind": "delete", "key": "b", "old": 1})).await;
        reading.expect(json!({"kind": "set", "key": "d", "new": []})).await;
        run(&api, &mut resp, "SET e 5 PX 1");
        assert_eq!(reading.next().await.unwrap().data["key"], "e");
        // nobody looks at it: the sweeper does
        reading.expect(json!({"kind": "expire", "key": "e", "old": 5})).await;
        run(&api, &mut resp, "FLUSHDB");
        reading.expect(json!({"kind": "flush"})).await;
        api.server.shutdown.raise();
        reading.expect_end("SHUTDOWN").await;
    }

    #[tokio::test]
    async fn a_prefix_and_another_store_are_left_out() {
        let api = Api::new();
        let mut reading = Reading::of(&api, &format!("{EVENTS}?prefix=a%2F"), &[]).await;
        reading.expect(json!({"kind": "open"})).await;
        for path in ["0/records/b", "1/records/a%2F1", "0/records/a%2F2"] {
            api.run(&format!("PUT /api/v1/stores/{path}"), "1").await;
        }
        reading.expect(json!({"kind": "set", "key": "a/2", "new": 1})).await;
    }

    #[tokio::test]
    async fn ids_say_what_was_seen_and_what_was_lost() {
        let api = Api::new();
        let mut resp = session(&api.server);
        let mut reading = Reading::of(&api, EVENTS, &[]).await;
        let open = reading.next().await.unwrap();
        run(&api, &mut resp, "MSET a 1 b 2");
        let (first, last) = (reading.next().await.unwrap(), reading.next().await.unwrap());
        assert_eq!((first.id, &first.data["version"]), (None, &last.data["version"]));
        assert_ne!(open.id, last.id);
        let get = api.run("GET /api/v1/stores/0/records/b", "").await;
        assert_eq!(get.header("etag"), last.data["version"].to_string());
        drop(reading);
        let seen = last.id.unwrap();
        let mut again = Reading::of(&api, EVENTS, &[("last-event-id", &seen)]).await;
        again.expect(json!({"kind": "open"})).await;
        run(&api, &mut resp, "SET a 3");
        again.next().await.unwrap();
        drop(again);
        for id in [&*seen, "00000000-99", "nonsense"] {
            let mut late = Reading::of(&api, EVENTS, &[("last-event-id", id)]).await;
            let lost = late.next().await.unwrap();
            assert_eq!((&*lost.name, &lost.data["since"]), ("lost", &json!(id)));
        }
    }

    #[tokio::test]
    async fn users_see_what_they_may_read() {
        let api = Api::new();
        let mut resp = session(&api.server);
        run(&api, &mut resp, "ACL SETUSER reader on >pw ~a* %W~w* +@read resetstores store=0");
        run(&api, &mut resp, "ACL SETUSER writer on >pw ~* +@write");
        let bearer = |user: &str| format!("Bearer {}", STANDARD.encode(format!("{user}:pw")));
        let (reader, writer) = (bearer("reader"), bearer("writer"));
        assert_eq!(api.send(EVENTS, &[("authorization", &writer)], "").await.status, 403);
        let elsewhere = "GET /api/v1/stores/1/events";
        assert_eq!(api.send(elsewhere, &[("authorization", &reader)], "").await.status, 403);
        let mut reading = Reading::of(&api, EVENTS, &[("authorization", &reader)]).await;
        reading.expect(json!({"kind": "open"})).await;
        run(&api, &mut resp, "MSET a 1 b 1 w 1");
        run(&api, &mut resp, "SET a 2");
        reading.expect(json!({"kind": "set", "key": "a", "new": 1})).await;
        reading.expect(json!({"kind": "set", "key": "a", "old": 1, "new": 2})).await;
        run(&api, &mut resp, "ACL SETUSER reader resetstores store=1");
        run(&api, &mut resp, "SET a 3");
        reading.expect_end("NOPERM").await;
    }

    #[tokio::test]
    async fn a_stream_outlives_a_new_name_and_not_its_store() {
        let api = Api::new();
        let mut resp = session(&api.server);
        run(&api, &mut resp, "STORE CREATE orders");
        let mut reading = Reading::of(&api, "GET /api/v1/stores/orders/events", &[]).await;
        reading.expect(json!({"kind": "open"})).await;
        run(&api, &mut resp, "STORE RENAME orders sales");
        run(&api, &mut resp, "SWAPDB sales 0");
        run(&api, &mut resp, "STORE DROP sales FORCE");
        reading.expect(json!({"kind": "rename", "name": "sales"})).await;
        reading.expect(json!({"kind": "swap"})).await;
        reading.expect(json!({"kind": "drop"})).await;
        reading.expect_end("NOSTORE").await;
    }

    #[tokio::test]
    async fn who_reads_too_slowly_is_told_so_at_the_end() {
        let api = Api::new();
        let mut resp = session(&api.server);
        api.server.config.update(|settings| settings.client_output_buffer_limit.pubsub.hard_bytes = 1_000);
        api.server.push.configure(api.server.engine.reader(), &api.server.config.settings());
        let mut reading = Reading::of(&api, EVENTS, &[]).await;
        for n in 0..20 {
            run(&api, &mut resp, &format!("SET a {n}"));
        }
        reading.expect(json!({"kind": "open"})).await;
        reading.expect_end("SLOW").await;
        assert_eq!(api.server.push.followers.count(), 0);
    }

    #[tokio::test]
    async fn what_is_no_json_and_no_utf8_breaks_no_event() {
        let api = Api::new();
        let mut resp = session(&api.server);
        run(&api, &mut resp, "STORE CREATE blobs VALUES any");
        let mut reading = Reading::of(&api, "GET /api/v1/stores/blobs/events", &[]).await;
        reading.expect(json!({"kind": "open"})).await;
        run(&api, &mut resp, "SELECT blobs");
        let words = [&b"SET"[..], b"\xff\n\n", b"data: \r\n\n\xfe"];
        let args = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
        assert_eq!(dispatch(&api.server, &mut resp, Request { args }).reply, Some(Reply::OK));
        let value = STANDARD.encode(b"data: \r\n\n\xfe");
        reading.expect(json!({"kind": "set", "key": {"base64": "/woK"}, "new_base64": value})).await;
    }

    #[tokio::test]
    async fn bad_requests_begin_no_stream() {
        let api = Api::new();
        for (line, status) in [
            ("GET /api/v1/stores/none/events", 404),
            ("GET /api/v1/stores/99/events", 404),
            ("GET /api/v1/stores/0/events?limit=1", 400),
            ("GET /api/v1/stores/0/events?prefix=%f", 400),
            ("POST /api/v1/stores/0/events", 405),
        ] {
            assert_eq!(api.run(line, "").await.status, status, "{line}");
        }
        assert_eq!(api.server.push.followers.count(), 0);
    }
}
