//! A server without sockets, for the tests of commands: what a client types, and what it is answered.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::BytesMut;

use super::{Server, Session, clients::Client, dispatch};
use crate::config::Config;
use crate::engine::{Engine, Meta, Options, clock};
use crate::resp::{Parser, Protocol, Reply, RequestLimits, encode};
use crate::store::{Key, Kind};

/// A session with a server on a directory of its own, both gone when it is dropped.
pub struct Harness {
    pub server: Server,
    pub session: Session,
    _dir: tempfile::TempDir,
}

impl Harness {
    /// With stores that take any bytes.
    #[expect(clippy::new_without_default, reason = "the kind of values is a choice")]
    pub fn new() -> Harness {
        Harness::of(Kind::Any)
    }

    /// With stores that take JSON.
    pub fn json() -> Harness {
        Harness::of(Kind::Json)
    }

    fn of(kind: Kind) -> Harness {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options { default_kind: kind, ..Options::new(dir.path()) }).unwrap();
        let server = Server::new(engine, Config::default(), clock::now_ms());
        let session = session(&server);
        Harness { server, session, _dir: dir }
    }

    /// Runs a command line as typed into a bare connection, quotes and escapes included.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Reply {
        let mut buffer = BytesMut::from(format!("{line}\r\n").as_bytes());
        let request = Parser::default().next(&mut buffer, &RequestLimits::default()).unwrap();
        let answer = dispatch(&self.server, &mut self.session, request.expect("a whole line"));
        answer.reply.expect("a reply")
    }

    /// Runs a command line; the answer as the session's protocol writes it, with `\r\n` and the like escaped.
    #[track_caller]
    pub fn bytes(&mut self, line: &str) -> String {
        let reply = self.run(line);
        let mut out = BytesMut::new();
        encode(&reply, self.session.protocol, &mut out);
        out.escape_ascii().to_string()
    }

    /// Runs command lines one after the other, and compares what each is answered, in the short form of [`shown`].
    #[track_caller]
    pub fn expect(&mut self, dialogue: &[(&str, &str)]) {
        for (line, answer) in dialogue {
            assert_eq!(shown(&self.run(line)), *answer, "{line}");
        }
    }

    /// What is known of the record at a key of the selected store.
    pub fn meta(&self, key: &str) -> Option<Meta> {
        let key = Key::new(self.session.store, key.to_owned().into()).unwrap();
        let keys = [key.clone()];
        self.server.engine.read(clock::now_ms(), &keys, |txn| txn.peek(&key)).unwrap().0
    }

    /// Milliseconds that the record at a key has left: -1 if it never expires, -2 if there is none.
    pub fn ttl_ms(&self, key: &str) -> i64 {
        match self.meta(key).map(|meta| meta.expires_at_ms) {
            None => -2,
            Some(None) => -1,
            Some(Some(deadline)) => deadline.saturating_sub(clock::now_ms()) as i64,
        }
    }

    pub fn resp3(mut self) -> Harness {
        self.session.set_protocol(Protocol::Resp3);
        self
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.server.engine.close().unwrap();
    }
}

/// A session of one more client.
pub fn session(server: &Server) -> Session {
    let client = std::sync::Arc::new(Client {
        id: server.clients.next_id(),
        address: "127.0.0.1:1".into(),
        local_address: "127.0.0.1:2".into(),
        file_descriptor: 0,
        unix: false,
        created_ms: server.started_ms,
        name: Default::default(),
        library_name: Default::default(),
        library_version: Default::default(),
        user: Default::default(),
        store: Default::default(),
        protocol: Default::default(),
        no_evict: Default::default(),
        no_touch: Default::default(),
        active_ms: Default::default(),
        last_command: Default::default(),
        commands: Default::default(),
        bytes_in: Default::default(),
        bytes_out: Default::default(),
        query_buffer: Default::default(),
        output_buffer: Default::default(),
        kill: Default::default(),
    });
    server.clients.add(client.clone());
    Session::new(client, true)
}

/// A reply as a person would write it down: `5`, `"text"`, `OK`, `nil`, `[1, "a"]`, `{"len": 3}`, `-ERR syntax error`.
pub fn shown(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(shown).collect::<Vec<_>>().join(", ");
    match reply {
        Reply::Simple(text) => (*text).to_owned(),
        Reply::Error(error) => format!("-{error}"),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(data) | Reply::Verbatim(data) => format!("\"{}\"", data.escape_ascii()),
        Reply::Null | Reply::NullArray => "nil".to_owned(),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => format!("[{}]", list(items)),
        Reply::Map(pairs) => {
            let pairs: Vec<_> =
                pairs.iter().map(|(key, value)| format!("{}: {}", shown(key), shown(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Reply::Double(value) => format!("{value:?}"),
        Reply::Boolean(value) => value.to_string(),
    }
}
