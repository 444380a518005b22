//! Reads records from commands as `redis-cli --pipe` takes them: SET, SETEX, PSETEX, SETNX and MSET, as lines or in
//! RESP.
//!
//! Commands that write something else are refused one by one.

use std::io::Read;

use bytes::{Bytes, BytesMut};

use super::{Found, Record};
use crate::record::number::parse_i64;
use crate::resp::{Parser, RequestLimits};

const READ_BYTES: usize = 64 * 1024;

/// The records that a stream of commands sets.
pub fn read<'a>(from: impl Read + 'a, now_ms: u64) -> impl Iterator<Item = Result<Found, String>> + 'a {
    let mut requests =
        Requests { from, parser: Parser::new(), buffer: BytesMut::new(), ended: false, number: 0 };
    let mut found = Vec::new().into_iter();
    let mut has_failed = false;
    std::iter::from_fn(move || {
        loop {
            if let Some(next) = found.next() {
                return Some(Ok(next));
            }
            // after an error, requests can't be separated any more
            if has_failed {
                return None;
            }
            match requests.next()? {
                Ok(args) => {
                    let refused = |why| vec![Found::Refused(format!("command {}", requests.number), why)];
                    found = records(&args, now_ms).unwrap_or_else(refused).into_iter();
                }
                Err(why) => {
                    has_failed = true;
                    return Some(Err(why));
                }
            }
        }
    })
}

struct Requests<R> {
    from: R,
    parser: Parser,
    buffer: BytesMut,
    ended: bool,
    /// Of the command that was read last, from 1.
    number: u64,
}

impl<R: Read> Requests<R> {
    fn next(&mut self) -> Option<Result<Vec<Bytes>, String>> {
        loop {
            match self.parser.next(&mut self.buffer, &RequestLimits::default()) {
                Ok(Some(request)) => {
                    self.number += 1;
                    return Some(Ok(request.args));
                }
                Ok(None) if self.ended => {
                    let cut = format!("the input ends within command {}", self.number + 1);
                    return (!self.buffer.is_empty()).then_some(Err(cut));
                }
                Ok(None) => {}
                Err(error) => return Some(Err(format!("command {}: {error}", self.number + 1))),
            }
            let mut piece = vec![0; READ_BYTES];
            match self.from.read(&mut piece) {
                Ok(0) => {
                    self.ended = true;
                    // the last line may lack its end
                    if self.buffer.first().is_some_and(|first| *first != b'*') {
                        self.buffer.extend_from_slice(b"\n");
                    }
                }
                Ok(bytes) => self.buffer.extend_from_slice(&piece[..bytes]),
                Err(error) => return Some(Err(format!("the input can't be read: {error}"))),
            }
        }
    }
}

fn records(args: &[Bytes], now_ms: u64) -> Result<Vec<Found>, String> {
    let name = args.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    let record = |key: &Bytes, value: &Bytes, expires_at_ms| {
        Found::Record(Record { key: key.to_vec(), value: value.to_vec(), expires_at_ms })
    };
    match (&name[..], &args[1.min(args.len())..]) {
        (b"SET", [key, value, options @ ..]) => Ok(vec![record(key, value, deadline(options, now_ms)?)]),
        (b"SETNX", [key, value]) => Ok(vec![record(key, value, None)]),
        (b"SETEX", [key, ttl, value]) => Ok(vec![record(key, value, Some(after(ttl, 1000, now_ms)?))]),
        (b"PSETEX", [key, ttl, value]) => Ok(vec![record(key, value, Some(after(ttl, 1, now_ms)?))]),
        (b"MSET", pairs @ [_, _, ..]) if pairs.len() % 2 == 0 => {
            Ok(pairs.chunks(2).map(|pair| record(&pair[0], &pair[1], None)).collect())
        }
        (b"SET" | b"SETNX" | b"SETEX" | b"PSETEX" | b"MSET", _) => {
            Err("wrong number of arguments".to_owned())
        }
        _ => Err(format!(
            "{} is not accepted, only SET, SETNX, SETEX, PSETEX and MSET",
            String::from_utf8_lossy(&name).escape_debug()
        )),
    }
}

/// The deadline among the options of a SET. Conditions are import's own to make.
fn deadline(options: &[Bytes], now_ms: u64) -> Result<Option<u64>, String> {
    let (mut found, mut options) = (None, options.iter());
    while let Some(option) = options.next() {
        let mut number = || options.next().map(|number| &number[..]).unwrap_or_default();
        match &option.to_ascii_uppercase()[..] {
            b"EX" => found = Some(after(number(), 1000, now_ms)?),
            b"PX" => found = Some(after(number(), 1, now_ms)?),
            b"EXAT" => found = Some(positive(number())?.saturating_mul(1000)),
            b"PXAT" => found = Some(positive(number())?),
            b"NX" | b"XX" | b"GET" => {}
            _ => return Err(format!("SET has no option '{}' here", String::from_utf8_lossy(option))),
        }
    }
    Ok(found)
}

fn after(number: &[u8], unit_ms: u64, now_ms: u64) -> Result<u64, String> {
    Ok(now_ms.saturating_add(positive(number)?.saturating_mul(unit_ms)))
}

fn positive(number: &[u8]) -> Result<u64, String> {
    let parsed = parse_i64(number).and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0);
    parsed.ok_or_else(|| format!("'{}' is not an expire time", String::from_utf8_lossy(number)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn found(input: &[u8]) -> Vec<Result<Found, String>> {
        const MORE_THAN_ANY_INPUT_HAS: usize = 100;
        let found: Vec<_> = read(input, 1_000).take(MORE_THAN_ANY_INPUT_HAS).collect();
        assert!(found.len() < MORE_THAN_ANY_INPUT_HAS, "it has no end");
        found
    }

    fn record(key: &str, value: &str, expires_at_ms: Option<u64>) -> Result<Found, String> {
        Ok(Found::Record(Record { key: key.into(), value: value.into(), expires_at_ms }))
    }

    #[test]
    fn lines_and_resp_may_be_mixed() {
        let input = b"SET a '{\"x\": 1}' EX 2\r\n*3\r\n$3\r\nset\r\n$1\r\nb\r\n$2\r\n\r\n\r\nMSET c 1 d 2\nPSETEX e 5 3\nset f 4 nx pxat 9";
        let expected = [
            record("a", "{\"x\": 1}", Some(3_000)),
            record("b", "\r\n", None),
            record("c", "1", None),
            record("d", "2", None),
            record("e", "3", Some(1_005)),
            record("f", "4", Some(9)),
        ];
        assert_eq!(found(input), expected);
    }

    #[test]
    fn other_commands_are_refused_and_the_rest_is_taken() {
        let found = found(b"HSET h f v\nSET a\nSET a 1 EX soon\nSET a 1 KEEPTTL\nMSET a 1 b\nSET b 2\n");
        assert_eq!(found.len(), 6);
        assert!(found[..5].iter().all(|found| matches!(found, Ok(Found::Refused(..)))), "{found:?}");
        assert_eq!(found[5], record("b", "2", None));
    }

    #[test]
    fn an_input_that_was_cut_off_is_an_error() {
        for cut in [&b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nab"[..], b"SET a \"b"] {
            let found = found(cut);
            assert!(matches!(found[..], [Err(_)]), "one error, and the end: {found:?}");
        }
    }
}
