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

fn parse_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &RequestLimits) -> Outcome {
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
    let bytes = b"PING\r\n*1\r\n$4\r\nPING\r\n\r\n\nGET 'a b'\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nQUIT";
    let expected = vec![args(&["PING"]), args(&["PING"]), args(&["GET", "a b"]), args(&["GET", "k"])];
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
    let request = Parser::new().next(&mut buf, &RequestLimits::default()).unwrap().unwrap();
    assert_eq!(request.args[1].as_ptr(), key_address);
}

#[test]
fn bad_counts_are_refused() {
    let limits = RequestLimits::default();
    for count in ["", "x", "+1", "01", "-0", "-", " 1", "1 ", "1x", "9223372036854775808", "2147483648"] {
        assert_refused(format!("*{count}\r\n"), &limits, "Protocol error: invalid multibulk length");
    }
    assert_refused("*1\rX", &limits, "Protocol error: invalid multibulk length");
    assert_accepted("*2147483647\r\n$1\r\na\r\n", &limits);
    let long_line = format!("*{}", "1".repeat(INLINE_BYTES_MAX));
    assert_refused(&long_line, &limits, "Protocol error: too big mbulk count string");
    assert_accepted(&long_line[..INLINE_BYTES_MAX], &limits);
}

#[test]
fn the_bound_on_words_is_one_on_bytes() {
    let words = |count: usize| format!("*{count}\r\n{}", "$0\r\n\r\n".repeat(count));
    let parsed = |text: String, limits: &RequestLimits| {
        let mut buf = BytesMut::from(text.as_bytes());
        Parser::new().next(&mut buf, limits).map(|request| request.map(|request| request.args.len()))
    };
    assert_eq!(parsed(words(1_200_000), &RequestLimits::default()), Ok(Some(1_200_000)));
    let limits = RequestLimits { request_bytes_max: 10_000_000, ..RequestLimits::default() };
    assert_eq!(parsed(words(1_048_576), &limits), Ok(Some(1_048_576)));
    assert_eq!(parsed(words(1_200_000), &limits), Err(ProtocolError::RequestTooLong(10_000_000)));
}

#[test]
fn bad_bulks_are_refused() {
    let limits = RequestLimits { bulk_bytes_max: 100, ..RequestLimits::default() };
    for length in ["", "-1", "x", "007", "101", "18446744073709551616"] {
        assert_refused(format!("*1\r\n${length}\r\n"), &limits, "Protocol error: invalid bulk length");
    }
    assert_accepted("*1\r\n$100\r\n", &limits);
    assert_refused("*2\r\n$1\r\na\r\nfoo\r\n", &limits, "Protocol error: expected '$', got 'f'");
    assert_refused("*1\r\n+OK\r\n", &limits, "Protocol error: expected '$', got '+'");
    let long_line = format!("*1\r\n${}", "1".repeat(INLINE_BYTES_MAX));
    assert_refused(long_line, &limits, "Protocol error: too big bulk count string");
}

#[test]
fn nesting_is_refused_at_its_first_level() {
    let nested = "*1\r\n".repeat(100_000);
    let (requests, error) = parse(nested.as_bytes());
    assert_eq!((requests, error), (vec![], Some(ProtocolError::ExpectedBulk(b'*'))));
}

#[test]
fn bad_lines_are_refused() {
    let limits = RequestLimits::default();
    assert_refused("SET k \"v\r\n", &limits, "Protocol error: unbalanced quotes in request");
    let long_line = "a".repeat(INLINE_BYTES_MAX + 1);
    assert_refused(&long_line, &limits, "Protocol error: too big inline request");
    assert_refused(format!("{long_line}\n"), &limits, "Protocol error: too big inline request");
    assert_accepted(&long_line[1..], &limits);
    assert_accepted(format!("{}\n", &long_line[1..]), &limits);
}

#[test]
fn strangers_may_send_little() {
    assert_accepted("*10\r\n$16384\r\n", &STRANGER);
    assert_refused("*11\r\n", &STRANGER, "Protocol error: unauthenticated multibulk length");
    assert_refused("*1\r\n$16385\r\n", &STRANGER, "Protocol error: unauthenticated bulk length");
}

#[test]
fn limits_are_those_of_the_moment() {
    let mut buf = BytesMut::from(&b"*1\r\n$4\r\nAUTH\r\n*11\r\n"[..]);
    let mut parser = Parser::new();
    assert!(parser.next(&mut buf, &STRANGER).unwrap().is_some());
    assert_eq!(parser.next(&mut buf, &RequestLimits::default()).unwrap(), None);
}

#[test]
fn a_request_over_the_limit_is_refused_when_announced() {
    let limits = RequestLimits { request_bytes_max: 30, ..RequestLimits::default() };
    assert_accepted("*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n", &limits);
    assert_refused(
        "*2\r\n$3\r\nGET\r\n$11\r\n",
        &limits,
        "Protocol error: request is longer than the limit of 30 bytes (client-query-buffer-limit)",
    );
    let limits = RequestLimits { bulk_bytes_max: usize::MAX, ..limits };
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
        assert!(buf.len() - seen <= 2, "all but a line end is behind the scanner");
        // The first byte tells an array from a line, and the type byte of a line is looked at with its end.
        let spoil_end = if parser.searched > 0 { parser.position } else { seen };
        buf[..spoil_end].iter_mut().skip(1).for_each(|byte| *byte = b'#');
    }
}

#[test]
fn errors_become_replies() {
    let error = Error::from(ProtocolError::ExpectedBulk(b'x'));
    assert_eq!(error.to_string(), "ERR Protocol error: expected '$', got 'x'");
}

fn encode(args: &Args) -> Vec<u8> {
    let bulks = args.iter().map(|arg| BytesFrame::BulkString(arg.clone().into()));
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
        let pieces = cut(&stream, &sizes);
        prop_assert_eq!(parse_pieces(pieces.iter().map(Vec::as_slice), &limits), whole);
    }
}
