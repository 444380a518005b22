//! The request scanner: however the bytes are cut into pieces, the same requests come out, and the same error.
#![no_main]

use bytes::{Bytes, BytesMut};
use larder::resp::{Parser, RequestLimits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (authenticated, piece_bytes, bytes) = input;
    let limits = RequestLimits { authenticated, bulk_bytes_max: 10_000, request_bytes_max: 50_000 };
    let whole = parse([bytes].into_iter(), &limits);
    let pieces = parse(bytes.chunks(usize::from(piece_bytes) + 1), &limits);
    assert_eq!(whole, pieces);
});

fn parse<'b>(
    pieces: impl Iterator<Item = &'b [u8]>,
    limits: &RequestLimits,
) -> (Vec<Vec<Bytes>>, Option<String>) {
    let (mut parser, mut buffer, mut requests) = (Parser::new(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer, limits) {
                Ok(Some(request)) => {
                    assert!(!request.args.is_empty());
                    requests.push(request.args);
                }
                Ok(None) => break,
                Err(error) => return (requests, Some(format!("{error:?}"))),
            }
        }
    }
    (requests, None)
}
