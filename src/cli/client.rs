//! A client of a running server: what the subcommands need to talk to Larder or to a Redis.
//!
//! Blocking, RESP2, over a stream of [`super::link`]. The crate `redis` would be a larger dependency than this file,
//! for a dozen commands that need only pipelined requests and replies in order. Requests are encoded by the crate
//! `redis-protocol`; its decoder would start over with every piece of a long reply.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use bytes::BytesMut;
use percent_encoding::percent_decode_str;
use redis_protocol::resp2::{encode::extend_encode_borrowed, types::BorrowedFrame};

use super::link::{self, Place, Stream, Trust};
use crate::limits::VALUE_BYTES_MAX;
use crate::record::number::parse_i64;

/// Requests that are sent before their replies are read. Both ends have room for so many short replies, so that neither
/// waits for the other to read.
const PIPELINE: usize = 1_024;
/// Deepest nesting of a reply.
const DEPTH_MAX: usize = 8;
/// Longest line of a reply.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// A request: its words.
pub type Request = Vec<Vec<u8>>;

/// A request of words that are text.
pub fn request(words: &[&str]) -> Request {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// A reply, in the terms of RESP2.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A simple or a bulk string.
    Text(Vec<u8>),
    Error(String),
    Integer(i64),
    Null,
    List(Vec<Reply>),
}

/// A server, user and store: `redis://[user[:password]@]host[:port][/store]`, the same with `rediss://` for TLS, or
/// `unix://[user[:password]@]/path[?db=store]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Address {
    pub place: Place,
    pub trust: Trust,
    pub user: Option<String>,
    pub password: Option<String>,
    pub store: Option<String>,
}

impl Address {
    pub fn parse(url: &str) -> Result<Address, String> {
        let wrong = |why: &str| format!("the URL '{}' {why}", without_password(url));
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        let is_unix = scheme == "unix";
        if !is_unix && !["redis", "rediss"].contains(&scheme) {
            return Err(wrong("does not begin with redis://, rediss:// (for TLS) or unix://"));
        }
        let (place, behind) = rest.split_once('/').unwrap_or((rest, ""));
        let (path, store) = match behind.split_once('?') {
            _ if !is_unix => ("", behind),
            None => (behind, ""),
            Some((path, query)) => match query.strip_prefix("db=") {
                Some(store) => (path, store),
                None => return Err(wrong("has a query other than ?db=store")),
            },
        };
        let (login, place) = match place.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, place),
        };
        let decoded = |text: &str| {
            percent_decode_str(text)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| wrong("is not UTF-8"))
        };
        let given = |text: &str| if text.is_empty() { Ok(None) } else { decoded(text).map(Some) };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (given(user)?, given(password)?),
            None => (None, None),
        };
        if is_unix {
            if path.is_empty() || !place.is_empty() {
                return Err(wrong("names no absolute path of a socket: unix:///path"));
            }
            let path = PathBuf::from(format!("/{}", decoded(path)?));
            return Ok(Address {
                place: Place::Unix(path),
                trust: Trust::default(),
                user,
                password,
                store: given(store)?,
            });
        }
        let (host, port) = match place.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong("has a port that is no port"))?),
            None => (place, 6379),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { "127.0.0.1" } else { host }.to_owned();
        let place = if scheme == "rediss" { Place::Tls { host, port } } else { Place::Tcp { host, port } };
        Ok(Address { place, trust: Trust::default(), user, password, store: given(store)? })
    }
}

/// For error messages, which end up in logs.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

/// A connection. Its errors are lines for a person.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
    place: String,
}

impl Client {
    /// Connects and logs in.
    pub fn connect(address: &Address) -> Result<Client, String> {
        let place = address.place.to_string();
        let stream = link::connect(&address.place, &address.trust)?;
        let mut client = Client { stream: BufReader::with_capacity(64 * 1024, stream), place };
        match (&address.user, &address.password) {
            (Some(user), password) => {
                client.done(&["AUTH", user, password.as_deref().unwrap_or_default()])?;
            }
            (None, Some(password)) => client.done(&["AUTH", password])?,
            (None, None) => {}
        }
        client.call(request(&["CLIENT", "SETNAME", "larder-tool"]))?;
        Ok(client)
    }

    /// Sends a command whose reply has to be OK; otherwise fails with the reply.
    pub fn done(&mut self, words: &[&str]) -> Result<(), String> {
        match self.call(request(words))? {
            Reply::Error(error) => Err(error),
            _ => Ok(()),
        }
    }

    pub fn call(&mut self, words: Request) -> Result<Reply, String> {
        self.pipeline(&[words])?.pop().ok_or_else(|| "no reply".to_owned())
    }

    /// Sends requests together and returns their replies, in order.
    pub fn pipeline(&mut self, requests: &[Request]) -> Result<Vec<Reply>, String> {
        let mut replies = Vec::with_capacity(requests.len());
        for requests in requests.chunks(PIPELINE) {
            self.exchange(requests, &mut replies)
                .map_err(|error| format!("the connection to {} is lost: {error}", self.place))?;
        }
        Ok(replies)
    }

    fn exchange(&mut self, requests: &[Request], replies: &mut Vec<Reply>) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        for words in requests {
            let words: Vec<_> = words.iter().map(|word| BorrowedFrame::BulkString(word)).collect();
            extend_encode_borrowed(&mut bytes, &BorrowedFrame::Array(&words), false)
                .map_err(io::Error::other)?;
        }
        self.stream.get_mut().write_all(&bytes)?;
        self.stream.get_mut().flush()?;
        for _ in requests {
            replies.push(read_reply(&mut self.stream, DEPTH_MAX)?);
        }
        Ok(())
    }
}

/// Reads a reply. Nothing is allocated for announced lengths before the bytes have arrived.
fn read_reply(from: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    let mut line = Vec::new();
    from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "what answers doesn't speak RESP");
    let line = line.strip_suffix(b"\r\n").ok_or_else(nonsense)?;
    let (kind, rest) = line.split_first().ok_or_else(nonsense)?;
    let number = || parse_i64(rest).ok_or_else(nonsense);
    Ok(match kind {
        b'+' => Reply::Text(rest.to_vec()),
        b'-' => Reply::Error(String::from_utf8_lossy(rest).into_owned()),
        b':' => Reply::Integer(number()?),
        b'$' | b'*' if rest == b"-1" => Reply::Null,
        b'$' => {
            let length = usize::try_from(number()?).ok().filter(|length| *length <= VALUE_BYTES_MAX);
            let length = length.ok_or_else(nonsense)?;
            let mut bytes = Vec::new();
            from.by_ref().take(length as u64 + 2).read_to_end(&mut bytes)?;
            if bytes.len() < length + 2 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.truncate(length);
            Reply::Text(bytes)
        }
        b'*' if depth > 0 => {
            let count = number()?;
            Reply::List((0..count).map(|_| read_reply(from, depth - 1)).collect::<io::Result<_>>()?)
        }
        _ => return Err(nonsense()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_out_of_a_url() {
        let tcp = |host: &str, port| Place::Tcp { host: host.to_owned(), port };
        let tls = |host: &str, port| Place::Tls { host: host.to_owned(), port };
        let unix = |path: &str| Place::Unix(path.into());
        type Case<'a> = (&'a str, Place, [Option<&'a str>; 3]);
        let cases: [Case<'_>; 10] = [
            (
                "redis://ada:p%40ss:w@[::1]:7000/my%20orders",
                tcp("::1", 7000),
                [Some("ada"), Some("p@ss:w"), Some("my orders")],
            ),
            ("redis://:secret@example", tcp("example", 6379), [None, Some("secret"), None]),
            ("redis://[::1]", tcp("::1", 6379), [None, None, None]),
            ("redis://", tcp("127.0.0.1", 6379), [None, None, None]),
            ("rediss://example:6380/3", tls("example", 6380), [None, None, Some("3")]),
            ("rediss://ada@example", tls("example", 6379), [Some("ada"), None, None]),
            ("unix:///run/larder.sock", unix("/run/larder.sock"), [None, None, None]),
            ("unix:///run/a%3Fb?db=orders", unix("/run/a?b"), [None, None, Some("orders")]),
            (
                "unix://ada:secret@/run/l.sock?db=3",
                unix("/run/l.sock"),
                [Some("ada"), Some("secret"), Some("3")],
            ),
            ("unix://:secret@/l", unix("/l"), [None, Some("secret"), None]),
        ];
        for (url, place, login_and_store) in cases {
            let [user, password, store] = login_and_store.map(|text| text.map(str::to_owned));
            let expected = Address { place, trust: Trust::default(), user, password, store };
            assert_eq!(Address::parse(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn a_refused_url_keeps_its_password() {
        for wrong in [
            "http://u:secret@h",
            "redis://u:secret@h:port",
            "rediss://u:secret@h:70000",
            "unix://u:secret@h/l",
            "unix://u:secret@",
            "unix://u:secret@/l?store=1",
        ] {
            let why = Address::parse(wrong).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn replies_are_read_whole() {
        let read = |bytes: &[u8]| read_reply(&mut io::Cursor::new(bytes), DEPTH_MAX);
        let list = read(b"*4\r\n$2\r\n\r\n\r\n:-7\r\n-ERR no\r\n$-1\r\n").unwrap();
        let expected =
            [Reply::Text(b"\r\n".to_vec()), Reply::Integer(-7), Reply::Error("ERR no".into()), Reply::Null];
        assert_eq!(list, Reply::List(expected.into()));
        for cut in [&b"$5\r\nab"[..], b"*2\r\n:1\r\n", b"", b"+OK", b"HTTP/1.1 400\r\n", b"$-7\r\n"] {
            assert!(read(cut).is_err(), "{}", cut.escape_ascii());
        }
        assert!(read(&b"*1\r\n".repeat(100)).is_err(), "too deep");
    }
}
