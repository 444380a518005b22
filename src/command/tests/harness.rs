//! A server without sockets, for tests of commands: sends what a client types, and returns the replies.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::BytesMut;

use crate::client::Client;
use crate::command::base::{Server, Session};
use crate::command::{COMMANDS, Postponed, dispatch};
use crate::config::Config;
use crate::engine::{Engine, Meta, Options, clock};
use crate::resp::{Parser, Protocol, Reply, Request, RequestLimits, encode};
use crate::store::{Key, ValueKind};

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
        Harness::of(ValueKind::Any)
    }

    /// With stores that take JSON.
    pub fn json() -> Harness {
        Harness::of(ValueKind::Json)
    }

    fn of(kind: ValueKind) -> Harness {
        Harness::with(|options| Options { default_kind: kind, ..options })
    }

    /// With an engine that is opened with other options than the defaults.
    pub fn with(options: impl FnOnce(Options) -> Options) -> Harness {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(options(Options::new(dir.path()))).unwrap();
        let server = Server::new(&COMMANDS, engine, Config::default(), clock::steady_ms());
        let session = session(&server);
        Harness { server, session, _dir: dir }
    }

    /// Runs a command line as typed into a bare connection, quotes and escapes included.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Reply {
        self.send(line).expect("a reply")
    }

    /// Runs a command line that may get no answer.
    #[track_caller]
    pub fn send(&mut self, line: &str) -> Option<Reply> {
        dispatch(&self.server, &mut self.session, typed(line)).reply
    }

    /// Sends a command line; whether CLIENT PAUSE holds it up.
    #[track_caller]
    pub fn is_held(&mut self, line: &str) -> bool {
        let answer = dispatch(&self.server, &mut self.session, typed(line));
        matches!(answer.postponed, Some(Postponed::Held(_)))
    }

    /// Continues as another client: from now on, commands come from that one.
    pub fn swap(&mut self, other: &mut Session) {
        std::mem::swap(&mut self.session, other);
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
        let key = Key::new(self.session.store, key.to_owned().into());
        let keys = [key.clone()];
        self.server.engine.reader().read(clock::now_ms(), &keys, |txn| txn.peek(&key)).unwrap().0
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

/// The error for a value that is not JSON from this line and column on, in the short form of [`shown`].
pub fn not_json(line: usize, column: usize) -> String {
    format!(
        "-NOTJSON this store takes JSON and the value is not (line {line}, column {column}): quote text as '\"bar\"', or let the \
         store take anything with STORE SET 0 values any"
    )
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.server.engine.close().unwrap();
    }
}

fn typed(line: &str) -> Request {
    let mut buffer = BytesMut::from(format!("{line}\r\n").as_bytes());
    let request = Parser::default().next(&mut buffer, &RequestLimits::default()).unwrap();
    request.expect("a whole line")
}

/// Runs a command line as one more client.
pub fn type_in(server: &Server, line: &str) -> Reply {
    dispatch(server, &mut session(server), typed(line)).reply.expect("a reply")
}

/// A session of one more client.
pub fn session(server: &Server) -> Session {
    let id = server.clients.next_id();
    let client = Client::new(id, format!("127.0.0.1:{id}"), "127.0.0.1:6379".into(), server.started_ms);
    let client = std::sync::Arc::new(client);
    server.clients.add(client.clone());
    crate::command::base::login::begin(server, client)
}

/// What waits in a client's mailbox, as its protocol writes it.
pub fn mail(client: &Client) -> String {
    let mut out = BytesMut::new();
    client.mailbox.take(&mut out, usize::MAX, usize::MAX);
    String::from_utf8(out.to_vec()).unwrap()
}

/// A reply as a person would write it down: `5`, `"text"`, `OK`, `nil`, `[1, "a"]`, `{"len": 3}`, `-ERR syntax error`.
pub fn shown(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(shown).collect::<Vec<_>>().join(", ");
    match reply {
        Reply::Simple(text) => (*text).to_owned(),
        Reply::Status(text) => String::from_utf8_lossy(text).into_owned(),
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
        Reply::BigNumber(digits) => digits.to_string(),
        Reply::Attributed(_, reply) => shown(reply),
        Reply::Sequence(replies) => list(replies),
    }
}
