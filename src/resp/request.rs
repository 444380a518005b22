//! Requests from clients: finds where one ends in what has arrived, and takes it apart.
//!
//! A pure function of bytes: knows no sockets, no time and no commands. Runs on the thread of the connection.
//!
//! A request is a flat array of bulk strings, or an inline line as a person types it. A client may send it in any
//! pieces, so [`Parser`] scans forward and remembers how far it got: however small the pieces, each byte is looked at
//! once, and the data of a bulk string is skipped, not read. On its way the scanner refuses whatever a client may not
//! send, with Redis's own words. Only a request that is complete and within its limits goes to the `redis-protocol`
//! crate, which would start over with every piece, and which recurses: nested arrays never reach it.
//!
//! ```text
//!           '*'                          every bulk announced and arrived
//! start ----------> scan_array -----------------------------------------------> decode --> Request
//!   |                | ^  more bytes needed: next() answers None and resumes here
//!   |                v |
//!   | other byte
//!   +-------------> scan_line -------------------------------> inline::split_arguments --> Request
//! ```
//!
//! Stricter than Redis in three places where Redis reads on past nonsense: a line of an array ends with CR LF, not with
//! CR and any byte; an inline line over the limit is refused also when its end has arrived already; and a byte that
//! is no `$` is refused before its line is complete. So the answer never depends on how the bytes were cut in pieces.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use redis_protocol::resp2::{decode::decode_range, types::RangeFrame};

use super::inline;
use crate::{
    error::Error,
    limits::{
        INLINE_BYTES_MAX, REQUEST_ARGUMENTS_MAX, REQUEST_BYTES_MAX, UNAUTHENTICATED_ARGUMENTS_MAX,
        UNAUTHENTICATED_BULK_BYTES_MAX, VALUE_BYTES_MAX,
    },
};

const CRLF_BYTES: usize = 2;

/// A command as it was sent.
///
/// The arguments of an array are slices of the read buffer: cheap to make, to clone and to hand on, but a single one
/// keeps the whole buffer in memory. Whoever keeps an argument beyond the command copies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The command's name and its arguments. Never empty.
    pub args: Vec<Bytes>,
}

/// What a client may send at this moment; the caller decides, request by request.
#[derive(Debug, Clone)]
pub struct RequestLimits {
    /// Whether the client has authenticated, or need not. A stranger may send little.
    pub authenticated: bool,
    /// Longest argument: `proto-max-bulk-len`.
    pub bulk_bytes_max: usize,
    /// Longest request as it is sent, lengths and line ends included: `client-query-buffer-limit`.
    pub request_bytes_max: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits {
            authenticated: true,
            bulk_bytes_max: VALUE_BYTES_MAX,
            request_bytes_max: REQUEST_BYTES_MAX,
        }
    }
}

/// Why the rest of the connection's bytes cannot be understood. The client gets the text, then the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("Protocol error: too big mbulk count string")]
    CountLineTooLong,
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedCount,
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    #[error("Protocol error: too big bulk count string")]
    LengthLineTooLong,
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedLength,
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    // Redis closes the connection without a word.
    #[error(
        "Protocol error: request is longer than the limit of {0} bytes (client-query-buffer-limit)"
    )]
    RequestTooLong(usize),
    // What passed the scanner but not the crate; no such bytes are known.
    #[error("Protocol error: invalid request")]
    Undecodable,
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Error {
        Error::other(format!("ERR {error}"))
    }
}

/// Takes requests off the front of a read buffer. One for each connection, since it remembers where it stopped.
#[derive(Debug, Default)]
pub struct Parser {
    /// Where the next line of the request starts; beyond the end of the buffer while the data of a bulk is awaited.
    position: usize,
    /// Bytes of the line at `position` that are known not to end it.
    searched: usize,
    /// Bulks that the request announced and whose length is not read yet.
    bulks_left: usize,
}

impl Parser {
    pub fn new() -> Parser {
        Parser::default()
    }

    /// The next request of `buf`, which is cut off its front; `None` if more bytes are needed.
    ///
    /// Between calls `buf` may only grow at its end. After an error neither parser nor buffer are of further use.
    pub fn next(
        &mut self,
        buf: &mut BytesMut,
        limits: &RequestLimits,
    ) -> Result<Option<Request>, ProtocolError> {
        while let Some(&first) = buf.first() {
            let args = if first == b'*' {
                let Some(end) = self.scan_array(buf, limits)? else {
                    return Ok(None);
                };
                decode(buf.split_to(end).freeze())?
            } else {
                let Some(end) = self.scan_line(buf)? else {
                    return Ok(None);
                };
                let args = inline::split_arguments(&buf[..end]);
                buf.advance(end);
                args.ok_or(ProtocolError::UnbalancedQuotes)?
            };
            *self = Parser::default();
            // An empty line, `*0` and `*-1` ask for nothing and get no answer.
            if !args.is_empty() {
                return Ok(Some(Request { args }));
            }
        }
        Ok(None)
    }

    /// Where the array at the start of `buf` ends, once all of it has arrived.
    fn scan_array(
        &mut self,
        buf: &[u8],
        limits: &RequestLimits,
    ) -> Result<Option<usize>, ProtocolError> {
        if self.position == 0 {
            let Some(count) = self.read_number(
                buf,
                ProtocolError::CountLineTooLong,
                ProtocolError::InvalidCount,
            )?
            else {
                return Ok(None);
            };
            self.bulks_left = checked_count(count, limits)?;
        }
        while self.bulks_left > 0 {
            match buf.get(self.position) {
                Some(b'$') => {}
                Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
                None => return Ok(None),
            }
            let Some(length) = self.read_number(
                buf,
                ProtocolError::LengthLineTooLong,
                ProtocolError::InvalidLength,
            )?
            else {
                return Ok(None);
            };
            let length = checked_length(length, limits)?;
            self.position = self.position.saturating_add(length + CRLF_BYTES);
            self.bulks_left -= 1;
            if self.position > limits.request_bytes_max {
                return Err(ProtocolError::RequestTooLong(limits.request_bytes_max));
            }
        }
        Ok((self.position <= buf.len()).then_some(self.position))
    }

    /// The number between the type byte at `position` and the end of its line, which it steps over.
    fn read_number(
        &mut self,
        buf: &[u8],
        too_long: ProtocolError,
        invalid: ProtocolError,
    ) -> Result<Option<i64>, ProtocolError> {
        let line = &buf[self.position..];
        let Some(end) = self.find_in_line(line, b'\r', too_long)? else {
            return Ok(None);
        };
        match line.get(end + 1) {
            Some(b'\n') => {}
            Some(_) => return Err(invalid),
            None => return Ok(None),
        }
        let number = parse_number(&line[1..end]).ok_or(invalid)?;
        self.position += end + CRLF_BYTES;
        self.searched = 0;
        Ok(Some(number))
    }

    /// Where the inline request at the start of `buf` ends, line end included.
    fn scan_line(&mut self, buf: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let end = self.find_in_line(buf, b'\n', ProtocolError::InlineTooLong)?;
        Ok(end.map(|end| end + 1))
    }

    /// Where `byte` is first in `line`, of which only what is new since the last call is searched.
    fn find_in_line(
        &mut self,
        line: &[u8],
        byte: u8,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let found = memchr(byte, &line[self.searched..]).map(|at| self.searched + at);
        self.searched = found.unwrap_or(line.len());
        if self.searched > INLINE_BYTES_MAX {
            return Err(too_long);
        }
        Ok(found)
    }
}

/// How many bulks to expect; none if the announced count is zero or negative.
fn checked_count(count: i64, limits: &RequestLimits) -> Result<usize, ProtocolError> {
    let count = usize::try_from(count).unwrap_or(0);
    if count > REQUEST_ARGUMENTS_MAX {
        return Err(ProtocolError::InvalidCount);
    }
    if !limits.authenticated && count > UNAUTHENTICATED_ARGUMENTS_MAX {
        return Err(ProtocolError::UnauthenticatedCount);
    }
    Ok(count)
}

fn checked_length(length: i64, limits: &RequestLimits) -> Result<usize, ProtocolError> {
    let length = usize::try_from(length)
        .ok()
        .filter(|&length| length <= limits.bulk_bytes_max)
        .ok_or(ProtocolError::InvalidLength)?;
    if !limits.authenticated && length > UNAUTHENTICATED_BULK_BYTES_MAX {
        return Err(ProtocolError::UnauthenticatedLength);
    }
    Ok(length)
}

/// A decimal integer as Redis's `string2ll` takes it: no spaces, no plus sign, no leading zeros, no `-0`.
fn parse_number(text: &[u8]) -> Option<i64> {
    match text {
        [b'0'] => return Some(0),
        [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..] => {}
        _ => return None,
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The arguments of a complete array that the scanner has passed.
fn decode(request: Bytes) -> Result<Vec<Bytes>, ProtocolError> {
    // A count of zero or less; the crate knows -1 alone.
    if let [b'*', b'0' | b'-', ..] = *request {
        return Ok(Vec::new());
    }
    let Ok(Some((RangeFrame::Array(frames), _))) = decode_range(&request) else {
        return Err(ProtocolError::Undecodable);
    };
    let mut args = Vec::with_capacity(frames.len());
    for frame in frames {
        let RangeFrame::BulkString((start, end)) = frame else {
            return Err(ProtocolError::Undecodable);
        };
        args.push(request.slice(start..end));
    }
    Ok(args)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;
    use redis_protocol::resp2::{encode::encode_bytes, types::BytesFrame};

    use super::*;

    type Args = Vec<Vec<u8>>;
    /// What a connection gets: the requests in order, and the error that ended it, if one did.
    type Outcome = (Vec<Args>, Option<ProtocolError>);

    const STRANGER: RequestLimits = RequestLimits {
        authenticated: false,
        bulk_bytes_max: VALUE_BYTES_MAX,
        request_bytes_max: REQUEST_BYTES_MAX,
    };

    fn parse_pieces<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
        limits: &RequestLimits,
    ) -> Outcome {
        let (mut parser, mut buf, mut requests) = (Parser::new(), BytesMut::new(), Vec::new());
        for piece in pieces {
            buf.extend_from_slice(piece);
            loop {
                match parser.next(&mut buf, limits) {
                    Ok(Some(request)) => {
                        requests.push(request.args.iter().map(|arg| arg.to_vec()).collect());
                    }
                    Ok(None) => break,
                    Err(error) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    }

    fn parse(bytes: &[u8]) -> Outcome {
        parse_pieces([bytes], &RequestLimits::default())
    }

    fn args(words: &[&str]) -> Args {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[track_caller]
    fn assert_refused(bytes: impl AsRef<[u8]>, limits: &RequestLimits, expected: &str) {
        let bytes = bytes.as_ref();
        let text = |outcome: Outcome| outcome.1.map(|error| error.to_string());
        let start = &bytes[..bytes.len().min(40)];
        assert_eq!(
            text(parse_pieces([bytes], limits)).as_deref(),
            Some(expected),
            "at once: {}",
            start.escape_ascii()
        );
        assert_eq!(
            text(parse_pieces(bytes.chunks(1), limits)).as_deref(),
            Some(expected),
            "byte by byte: {}",
            start.escape_ascii()
        );
    }

    #[track_caller]
    fn assert_accepted(bytes: impl AsRef<[u8]>, limits: &RequestLimits) {
        let bytes = bytes.as_ref();
        let start = &bytes[..bytes.len().min(40)];
        let (_, error) = parse_pieces([bytes], limits);
        assert_eq!(error, None, "{}", start.escape_ascii());
    }

    #[test]
    fn arrays_are_taken_apart() {
        let set = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n\"a\r\n\"\r\n";
        assert_eq!(parse(set), (vec![args(&["SET", "k", "\"a\r\n\""])], None));
        assert_eq!(parse(b"*1\r\n$0\r\n\r\n"), (vec![args(&[""])], None));
        assert_eq!(parse(&set[..set.len() - 1]), (vec![], None));
    }

    #[test]
    fn pipelines_mix_arrays_and_lines() {
        let bytes =
            b"PING\r\n*1\r\n$4\r\nPING\r\n\r\n\nGET 'a b'\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nQUIT";
        let expected = vec![
            args(&["PING"]),
            args(&["PING"]),
            args(&["GET", "a b"]),
            args(&["GET", "k"]),
        ];
        assert_eq!(parse(bytes), (expected, None));
    }

    #[test]
    fn empty_requests_are_skipped() {
        let bytes = b"*0\r\n*-1\r\n*-9223372036854775808\r\n\r\n  \r\n\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(parse(bytes), (vec![args(&["PING"])], None));
    }

    #[test]
    fn what_follows_a_request_stays() {
        let mut buf = BytesMut::from(&b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI"[..]);
        let mut parser = Parser::new();
        let limits = RequestLimits::default();
        assert!(parser.next(&mut buf, &limits).unwrap().is_some());
        assert_eq!(&buf[..], b"*1\r\n$4\r\nPI");
        assert_eq!(parser.next(&mut buf, &limits).unwrap(), None);
        buf.extend_from_slice(b"NG\r\n");
        assert!(parser.next(&mut buf, &limits).unwrap().is_some());
        assert!(buf.is_empty());
    }

    #[test]
    fn arguments_are_not_copied() {
        let mut buf = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"[..]);
        let key_address = buf[17..].as_ptr();
        let request = Parser::new()
            .next(&mut buf, &RequestLimits::default())
            .unwrap()
            .unwrap();
        assert_eq!(request.args[1].as_ptr(), key_address);
    }

    #[test]
    fn bad_counts_are_refused() {
        let limits = RequestLimits::default();
        for count in [
            "",
            "x",
            "+1",
            "01",
            "-0",
            "-",
            " 1",
            "1 ",
            "1x",
            "9223372036854775808",
            "1048577",
        ] {
            assert_refused(
                format!("*{count}\r\n"),
                &limits,
                "Protocol error: invalid multibulk length",
            );
        }
        assert_refused("*1\rX", &limits, "Protocol error: invalid multibulk length");
        assert_accepted("*1048576\r\n$1\r\na\r\n", &limits);
        let long_line = format!("*{}", "1".repeat(INLINE_BYTES_MAX));
        assert_refused(
            &long_line,
            &limits,
            "Protocol error: too big mbulk count string",
        );
        assert_accepted(&long_line[..INLINE_BYTES_MAX], &limits);
    }

    #[test]
    fn bad_bulks_are_refused() {
        let limits = RequestLimits {
            bulk_bytes_max: 100,
            ..RequestLimits::default()
        };
        for length in ["", "-1", "x", "007", "101", "18446744073709551616"] {
            assert_refused(
                format!("*1\r\n${length}\r\n"),
                &limits,
                "Protocol error: invalid bulk length",
            );
        }
        assert_accepted("*1\r\n$100\r\n", &limits);
        assert_refused(
            "*2\r\n$1\r\na\r\nfoo\r\n",
            &limits,
            "Protocol error: expected '$', got 'f'",
        );
        assert_refused(
            "*1\r\n+OK\r\n",
            &limits,
            "Protocol error: expected '$', got '+'",
        );
        let long_line = format!("*1\r\n${}", "1".repeat(INLINE_BYTES_MAX));
        assert_refused(
            long_line,
            &limits,
            "Protocol error: too big bulk count string",
        );
    }

    #[test]
    fn nesting_is_refused_at_its_first_level() {
        let nested = "*1\r\n".repeat(100_000);
        let (requests, error) = parse(nested.as_bytes());
        assert_eq!(
            (requests, error),
            (vec![], Some(ProtocolError::ExpectedBulk(b'*')))
        );
    }

    #[test]
    fn bad_lines_are_refused() {
        let limits = RequestLimits::default();
        assert_refused(
            "SET k \"v\r\n",
            &limits,
            "Protocol error: unbalanced quotes in request",
        );
        let long_line = "a".repeat(INLINE_BYTES_MAX + 1);
        assert_refused(
            &long_line,
            &limits,
            "Protocol error: too big inline request",
        );
        assert_refused(
            format!("{long_line}\n"),
            &limits,
            "Protocol error: too big inline request",
        );
        assert_accepted(&long_line[1..], &limits);
        assert_accepted(format!("{}\n", &long_line[1..]), &limits);
    }

    #[test]
    fn strangers_may_send_little() {
        assert_accepted("*10\r\n$16384\r\n", &STRANGER);
        assert_refused(
            "*11\r\n",
            &STRANGER,
            "Protocol error: unauthenticated multibulk length",
        );
        assert_refused(
            "*1\r\n$16385\r\n",
            &STRANGER,
            "Protocol error: unauthenticated bulk length",
        );
    }

    #[test]
    fn limits_are_those_of_the_moment() {
        let mut buf = BytesMut::from(&b"*1\r\n$4\r\nAUTH\r\n*11\r\n"[..]);
        let mut parser = Parser::new();
        assert!(parser.next(&mut buf, &STRANGER).unwrap().is_some());
        assert_eq!(
            parser.next(&mut buf, &RequestLimits::default()).unwrap(),
            None
        );
    }

    #[test]
    fn a_request_over_the_limit_is_refused_when_announced() {
        let limits = RequestLimits {
            request_bytes_max: 30,
            ..RequestLimits::default()
        };
        assert_accepted("*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n", &limits);
        assert_refused(
            "*2\r\n$3\r\nGET\r\n$11\r\n",
            &limits,
            "Protocol error: request is longer than the limit of 30 bytes (client-query-buffer-limit)",
        );
        let limits = RequestLimits {
            bulk_bytes_max: usize::MAX,
            ..limits
        };
        assert_refused(
            "*1\r\n$9223372036854775807\r\n",
            &limits,
            "Protocol error: request is longer than the limit of 30 bytes (client-query-buffer-limit)",
        );
    }

    #[test]
    fn announcements_cost_nothing() {
        let mut buf = BytesMut::with_capacity(64);
        buf.extend_from_slice(b"*1048576\r\n$536870912\r\n");
        let parsed = Parser::new().next(&mut buf, &RequestLimits::default());
        assert_eq!(parsed, Ok(None));
        assert!(buf.capacity() <= 64);
    }

    /// Spoils whatever the scanner has seen, so that looking at it again would be an error.
    #[test]
    fn nothing_is_scanned_twice() {
        let bulk = b"$16\r\n0123456789abcdef\r\n";
        let stream = [b"*1000\r\n".as_slice(), &bulk.repeat(999), b"$3\r\nend\r"].concat();
        let (mut parser, mut buf) = (Parser::new(), BytesMut::new());
        for piece in stream.chunks(7) {
            buf.extend_from_slice(piece);
            assert_eq!(parser.next(&mut buf, &RequestLimits::default()), Ok(None));
            let seen = (parser.position + parser.searched).min(buf.len());
            assert!(
                buf.len() - seen <= 2,
                "all but a line end is behind the scanner"
            );
            // The first byte tells an array from a line, and the type byte of a line is looked at with its end.
            let spoil_end = if parser.searched > 0 {
                parser.position
            } else {
                seen
            };
            buf[..spoil_end]
                .iter_mut()
                .skip(1)
                .for_each(|byte| *byte = b'#');
        }
    }

    #[test]
    fn errors_become_replies() {
        let error = Error::from(ProtocolError::ExpectedBulk(b'x'));
        assert_eq!(
            error.to_string(),
            "ERR Protocol error: expected '$', got 'x'"
        );
    }

    fn encode(args: &Args) -> Vec<u8> {
        let bulks = args
            .iter()
            .map(|arg| BytesFrame::BulkString(arg.clone().into()));
        let frame = BytesFrame::Array(bulks.collect());
        let mut out = BytesMut::zeroed(frame_bytes(args));
        let written = encode_bytes(&mut out, &frame, false).unwrap();
        out[..written].to_vec()
    }

    fn frame_bytes(args: &Args) -> usize {
        32 + args.iter().map(|arg| arg.len() + 32).sum::<usize>()
    }

    fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        for &size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at(size.min(rest.len()));
            pieces.push(piece.to_vec());
            rest = tail;
        }
        pieces
    }

    /// Bytes that are nearly requests.
    fn any_stream() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            8 => prop::sample::select(vec![
                "*0\r\n", "*1\r\n", "*2\r\n", "*-3\r\n", "*", "$0\r\n\r\n", "$3\r\nGET\r\n", "$1\r\na\r\n",
                "$2\r\n\r\n\r\n", "$", "$1", "\r", "\n", "\r\n", "GET a\r\n", "\"", "'", "\\x41", " ", "11", "99999999999",
            ]).prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(token, 0..20).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_parsed(
            requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 0..6),
            sizes in prop::collection::vec(1usize..50, 1..5),
        ) {
            let bytes: Vec<u8> = requests.iter().flat_map(encode).collect();
            let pieces = cut(&bytes, &sizes);
            let outcome = parse_pieces(pieces.iter().map(Vec::as_slice), &RequestLimits::default());
            prop_assert_eq!(outcome, (requests, None));
        }

        #[test]
        fn pieces_do_not_matter(
            stream in any_stream(),
            sizes in prop::collection::vec(1usize..20, 1..5),
            authenticated: bool,
        ) {
            let limits = RequestLimits { authenticated, ..RequestLimits::default() };
            let whole = parse_pieces([stream.as_slice()], &limits);
            prop_assert_ne!(whole.1, Some(ProtocolError::Undecodable));
            let pieces = cut(&stream, &sizes);
            prop_assert_eq!(parse_pieces(pieces.iter().map(Vec::as_slice), &limits), whole);
        }
    }
}
