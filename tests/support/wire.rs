//! RESP2 and RESP3 from the client's side, over a blocking socket.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a test waits for a reply before it calls the server hung. No test measures time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A reply as it stood on the wire: two replies are equal exactly when their bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    Array(Vec<Reply>),
    Map(Vec<Reply>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    Double(Vec<u8>),
    Boolean(bool),
    BigNumber(Vec<u8>),
    /// `=…txt:`
    Verbatim(Vec<u8>),
}

impl Reply {
    pub fn ok() -> Reply {
        Reply::Simple(b"OK".to_vec())
    }

    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(bytes.as_ref().to_vec())
    }

    pub fn integer(&self) -> i64 {
        match self {
            Reply::Integer(value) => *value,
            other => panic!("an integer was expected, not {other}"),
        }
    }

    /// The bytes of a bulk string, a simple string, verbatim text or an error.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Bulk(bytes) | Reply::Simple(bytes) | Reply::Verbatim(bytes) | Reply::Error(bytes) => bytes,
            other => panic!("a string was expected, not {other}"),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The elements of an array or of anything like it.
    pub fn elements(&self) -> &[Reply] {
        match self {
            Reply::Array(elements) | Reply::Map(elements) | Reply::Set(elements) | Reply::Push(elements) => {
                elements
            }
            other => panic!("an array was expected, not {other}"),
        }
    }

    pub fn is_error(&self, code: &str) -> bool {
        matches!(self, Reply::Error(text) if text.starts_with(code.as_bytes()))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Reply::Null | Reply::NullBulk | Reply::NullArray)
    }
}

/// The notation of the scenario files, so that a failure can be pasted into one.
impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |out: &mut fmt::Formatter<'_>, open: &str, elements: &[Reply], close: &str| {
            write!(out, "{open}")?;
            for (index, element) in elements.iter().enumerate() {
                out.write_str(if index == 0 { "" } else { " " })?;
                match element {
                    Reply::Error(text) => write!(out, "error\"{}\"", printable(text))?,
                    other => write!(out, "{other}")?,
                }
            }
            write!(out, "{close}")
        };
        match self {
            Reply::Simple(text) => write!(out, "+{}", String::from_utf8_lossy(text)),
            Reply::Error(text) => write!(out, "-{}", String::from_utf8_lossy(text)),
            Reply::Integer(value) => write!(out, ":{value}"),
            Reply::Bulk(bytes) => write!(out, "\"{}\"", printable(bytes)),
            Reply::NullBulk | Reply::Null => write!(out, "nil"),
            Reply::NullArray => write!(out, "nil-array"),
            Reply::Array(elements) => list(out, "[", elements, "]"),
            Reply::Map(elements) => list(out, "map[", elements, "]"),
            Reply::Set(elements) => list(out, "set[", elements, "]"),
            Reply::Push(elements) => list(out, "push[", elements, "]"),
            Reply::Double(text) => write!(out, ",{}", String::from_utf8_lossy(text)),
            Reply::Boolean(value) => write!(out, "{value}"),
            Reply::BigNumber(text) => write!(out, "({}", String::from_utf8_lossy(text)),
            Reply::Verbatim(text) => write!(out, "text\"{}\"", printable(text)),
        }
    }
}

/// Bytes with everything escaped that is not printable ASCII.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// A request as client libraries send it: an array of bulk strings.
pub fn request<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// One client connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
    /// The bytes of the reply that was read last.
    raw: Vec<u8>,
}

impl Connection {
    pub fn open(port: u16) -> Connection {
        Connection::try_open(port).expect("the server accepts a connection")
    }

    pub fn try_open(port: u16) -> io::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection { stream: BufReader::new(stream), raw: Vec::new() })
    }

    /// The socket itself, for tests that write from a second thread.
    pub fn socket(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes the bytes");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends one command and reads its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.send(&request(args));
        self.read()
    }

    /// Sends one command whose arguments hold no spaces, and reads its reply.
    pub fn ask(&mut self, line: &str) -> Reply {
        self.call(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub fn read(&mut self) -> Reply {
        self.try_read().unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    pub fn try_read(&mut self) -> io::Result<Reply> {
        self.raw.clear();
        self.reply()
    }

    /// Reads one reply and gives its bytes.
    pub fn read_raw(&mut self) -> Vec<u8> {
        self.read();
        std::mem::take(&mut self.raw)
    }

    /// Reads this many bytes, or as many as come before the server closes.
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let limited = self.stream.by_ref().take(count as u64);
        read_to_close(limited, &mut bytes);
        bytes
    }

    /// Reads until the server closes.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        read_to_close(&mut self.stream, &mut bytes);
        bytes
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) =
            line.split_first().ok_or_else(|| malformed("an empty line where a reply begins"))?;
        Ok(match kind {
            b'+' => Reply::Simple(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Integer(number(rest)?),
            b',' => Reply::Double(rest.to_vec()),
            b'(' => Reply::BigNumber(rest.to_vec()),
            b'_' if rest.is_empty() => Reply::Null,
            b'#' if rest == b"t" => Reply::Boolean(true),
            b'#' if rest == b"f" => Reply::Boolean(false),
            b'$' if rest == b"-1" => Reply::NullBulk,
            b'*' if rest == b"-1" => Reply::NullArray,
            b'$' => Reply::Bulk(self.blob(rest)?),
            b'=' => {
                let text = self.blob(rest)?;
                match text.strip_prefix(b"txt:") {
                    Some(text) => Reply::Verbatim(text.to_vec()),
                    None => return Err(malformed("verbatim text that is not txt")),
                }
            }
            b'*' => Reply::Array(self.list(rest, 1)?),
            b'~' => Reply::Set(self.list(rest, 1)?),
            b'>' => Reply::Push(self.list(rest, 1)?),
            b'%' => Reply::Map(self.list(rest, 2)?),
            _ => return Err(malformed(&format!("not a reply: {}", printable(&line)))),
        })
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        self.raw.extend_from_slice(&line);
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line.to_vec()),
            None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Err(malformed(&format!("no line: {}", printable(&line)))),
        }
    }

    fn blob(&mut self, length: &[u8]) -> io::Result<Vec<u8>> {
        let length = usize::try_from(number(length)?).map_err(|_| malformed("a negative length"))?;
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        self.raw.extend_from_slice(&bytes);
        match bytes.strip_suffix(b"\r\n") {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(malformed("a bulk string without its end")),
        }
    }

    fn list(&mut self, count: &[u8], width: i64) -> io::Result<Vec<Reply>> {
        (0..number(count)? * width).map(|_| self.reply()).collect()
    }
}

/// The one way to write a number, so that equal replies have equal bytes.
fn number(text: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(text).unwrap_or("?");
    match text.parse::<i64>() {
        Ok(value) if value.to_string() == text => Ok(value),
        _ => Err(malformed(&format!("not a number: {text}"))),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A server that closes while bytes of ours are under way resets the connection: that is closing, too.
fn read_to_close(mut from: impl Read, into: &mut Vec<u8>) {
    match from.read_to_end(into) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("neither bytes nor a close: {error}; read so far: {}", printable(into)),
    }
}
