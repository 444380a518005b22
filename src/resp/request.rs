//! Requests from clients: finds where a request ends in the received bytes, and splits it into words.
//!
//! A pure function of bytes: knows no sockets, no time and no commands. Runs on the thread of the connection.
//!
//! A request is a flat array of bulk strings, or an inline line as a person types it. A client may send it in any
//! pieces, so [`Parser`] scans forward and remembers how far it got: however small the pieces are, each byte is looked
//! at once, and the data of a bulk string is skipped, not read. On its way the scanner refuses whatever a client may
//! not send, with Redis's own texts, and notes where each bulk string is. The decoder of the crate `redis-protocol` would
//! start over with every piece, and it recurses: nested arrays must never reach it. Behind the scanner it would only
//! parse the same bytes once more, which took 6 % of the time of a pipelined GET, so it serves the tests: what it encodes
//! must be parsed.
//!
//! ```text
//!           '*'                          every bulk announced and arrived
//! start ----------> scan_array -----------------------------------------------> words --> Request
//!   |                | ^  more bytes needed: next() answers None and resumes here
//!   |                v |
//!   | other byte
//!   +-------------> scan_line -------------------------------> inline::split_arguments --> Request
//! ```
//!
//! It is stricter than Redis in three places where Redis accepts malformed bytes: a line of an array ends with CR LF,
//! not with CR and any byte; an inline line over the limit is refused also when its end has arrived already; and a byte
//! that is no `$` is refused before its line is complete. So the reply never depends on how the bytes were split into
//! pieces.

use std::cell::RefCell;

use bytes::{Buf, Bytes, BytesMut};

use super::inline;
use crate::error::Error;
use crate::limits::{
    ARGUMENT_BYTES, INLINE_BYTES_MAX, PLAIN_ARGUMENTS, REQUEST_ARGUMENTS_MAX, REQUEST_BYTES_MAX,
    UNAUTHENTICATED_ARGUMENTS_MAX, UNAUTHENTICATED_BULK_BYTES_MAX, VALUE_BYTES_MAX,
};

const CRLF_BYTES: usize = 2;

/// A command as it was sent.
///
/// The arguments of an array are slices of the read buffer: cheap to make, to clone and to pass on, but a single one
/// keeps the whole buffer in memory. To keep an argument beyond the command, copy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The command's name and its arguments. Never empty.
    pub args: Vec<Bytes>,
}

/// So many lists of arguments are kept for the next requests of a thread, if they have room for at most so many.
const SPARE_LISTS: usize = 64;
const SPARE_ARGUMENTS: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Vec<Bytes>>> = const { RefCell::new(Vec::new()) };
}

impl Request {
    /// Drops the request, and keeps the memory of its list of arguments for the next requests of this thread.
    pub fn recycle(self) {
        let mut args = self.args;
        args.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_LISTS && args.capacity() <= SPARE_ARGUMENTS {
                spare.push(args);
            }
        });
    }
}

/// What a client may send now; the caller decides for each request.
#[derive(Debug, Clone)]
pub struct RequestLimits {
    /// Whether the client has authenticated, or need not. An unauthenticated client may send little.
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

/// Why the rest of the connection's bytes cannot be parsed. The client gets the text, then the connection closes.
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
    #[error("Protocol error: request is longer than the limit of {0} bytes (client-query-buffer-limit)")]
    RequestTooLong(usize),
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Error {
        Error::other(format!("ERR {error}"))
    }
}

/// Takes requests from the front of a read buffer. Each connection has its own, because it remembers where it stopped.
#[derive(Debug, Default)]
pub struct Parser {
    /// Where the next line of the request starts; beyond the end of the buffer while the data of a bulk is awaited.
    position: usize,
    /// Bytes of the line at `position` that are known not to end it.
    searched: usize,
    /// Bulks that the request announced.
    bulks: usize,
    /// Where those of them are whose length was read: starts and ends.
    ranges: Vec<(usize, usize)>,
}

/// The memory for so many ranges is kept for the next request.
const KEPT_RANGES: usize = 64;

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
                words(buf.split_to(end).freeze(), &self.ranges)
            } else {
                let Some(end) = self.scan_line(buf)? else {
                    return Ok(None);
                };
                let args = inline::split_arguments(&buf[..end]);
                buf.advance(end);
                args.ok_or(ProtocolError::UnbalancedQuotes)?
            };
            self.begin();
            // An empty line, `*0` and `*-1` are no requests and get no reply.
            if !args.is_empty() {
                return Ok(Some(Request { args }));
            }
        }
        Ok(None)
    }

    /// Forgets the request that was scanned.
    fn begin(&mut self) {
        let mut ranges = std::mem::take(&mut self.ranges);
        ranges.clear();
        ranges.shrink_to(KEPT_RANGES);
        *self = Parser { ranges, ..Parser::default() };
    }

    /// Where the array at the start of `buf` ends, once all of it has arrived.
    fn scan_array(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<Option<usize>, ProtocolError> {
        if self.position == 0 {
            let Some(count) =
                self.read_number(buf, ProtocolError::CountLineTooLong, ProtocolError::InvalidCount)?
            else {
                return Ok(None);
            };
            self.bulks = checked_count(count, limits)?;
        }
        while self.ranges.len() < self.bulks {
            match buf.get(self.position) {
                Some(b'$') => {}
                Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
                None => return Ok(None),
            }
            let Some(length) =
                self.read_number(buf, ProtocolError::LengthLineTooLong, ProtocolError::InvalidLength)?
            else {
                return Ok(None);
            };
            let end = self.position.saturating_add(checked_length(length, limits)?);
            self.ranges.push((self.position, end));
            self.position = end.saturating_add(CRLF_BYTES);
            let beyond = self.ranges.len().saturating_sub(PLAIN_ARGUMENTS);
            let bytes = self.position.saturating_add(beyond.saturating_mul(ARGUMENT_BYTES));
            if bytes > limits.request_bytes_max {
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

    /// The first position of `byte` in `line`. Only the part that is new since the last call is searched.
    fn find_in_line(
        &mut self,
        line: &[u8],
        byte: u8,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        // A plain loop: these lines are so short that a vectorised search costs more than it saves.
        let found = (self.searched..line.len()).find(|&at| line[at] == byte);
        self.searched = found.unwrap_or(line.len());
        if self.searched > INLINE_BYTES_MAX {
            return Err(too_long);
        }
        Ok(found)
    }
}

/// How many bulks to expect; `None` if the announced count is zero or negative.
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
    let (sign, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    if !matches!(digits, [b'1'..=b'9', ..]) {
        return None;
    }
    digits.iter().try_fold(0i64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(sign * i64::from(digit))
    })
}

/// The words of an array that has arrived completely.
fn words(mut request: Bytes, ranges: &[(usize, usize)]) -> Vec<Bytes> {
    let Some((last, before)) = ranges.split_last() else { return Vec::new() };
    let mut words = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    words.reserve(ranges.len());
    words.extend(before.iter().map(|(start, end)| request.slice(*start..*end)));
    // the last one takes over the request's reference, which saves one share of the buffer
    request.truncate(last.1);
    request.advance(last.0);
    words.push(request);
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
