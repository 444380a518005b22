#![allow(clippy::unwrap_used)]
use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use proptest::prelude::*;

use super::codes::{ALPHABETS, COPIES, Counts, INSERTS};
use super::decode::Decoder;
use super::encode::Encoder;
use super::*;

fn user(at: u32) -> Vec<u8> {
    let (number, country) = (at.wrapping_mul(2_654_435_761), ["DE", "FR", "JP"][at as usize % 3]);
    format!(r#"{{"id":{number},"email":"user-{at}@example.com","country":"{country}","active":true}}"#)
        .into_bytes()
}

fn users() -> Encoder {
    let users: Vec<_> = (0..100).map(user).collect();
    let users = || users.iter().map(Vec::as_slice);
    Encoder::learn(9, users().step_by(2), users().skip(1).step_by(2)).unwrap()
}

fn noise(len: usize) -> Vec<u8> {
    let words = (0u64..).flat_map(|at| xxhash_rust::xxh3::xxh3_64(&at.to_be_bytes()).to_be_bytes());
    words.take(len).collect()
}

fn encoded(encoder: &Encoder, value: &[u8], effort: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    assert!(encoder.encode(value, effort, &mut payload), "{}", value.escape_ascii());
    payload
}

fn decode(encoder: &Encoder, payload: &[u8], plain_len: usize) -> Result<Vec<u8>, Damage> {
    Decoder::of(encoder.dictionary.lengths.as_ref().unwrap()).unwrap().decode(
        payload,
        plain_len,
        &encoder.dictionary.text,
    )
}

/// The whole stream that a payload is the end of.
fn stream(lengths: &Lengths<'_>, payload: &[u8], plain_len: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut put = |value: usize, count: usize| bits.extend((0..count).map(|bit| value >> bit & 1 == 1));
    // the order of the fields is that of the module's table
    let fields = [(0, 1), (0b01, 2), (0, 2), (plain_len - 1, 16), (0, 3), (0, 6), (0, 2), (0, 2)];
    fields.into_iter().for_each(|(value, count)| put(value, count));
    let lengths = lengths.unpacked();
    for alphabet in ALPHABETS {
        // the lengths are themselves written with a code: one of four bits for each of 0 to 15, none for repetitions
        put(0, 2);
        for length in [1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
            put(if length > 15 { 0b00 } else { 0b01 }, 2);
        }
        for length in &lengths[alphabet] {
            put(usize::from(length.reverse_bits() >> 4), 4);
        }
    }
    payload.iter().for_each(|byte| put(usize::from(*byte), 8));
    let bytes = bits.chunks(8);
    bytes.map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
}

/// What the crate's decoder makes of a stream.
fn brotli_decoded(stream: &[u8], text: &[u8], plain_len: usize) -> Vec<u8> {
    let alloc = StandardAlloc::default();
    let mut state = BrotliState::new_with_custom_dictionary(alloc, alloc, alloc, text.to_vec().into());
    let mut plain = vec![0; plain_len];
    let (mut unread, mut read, mut room, mut written, mut total) = (stream.len(), 0, plain_len, 0, 0);
    let result = BrotliDecompressStream(
        &mut unread,
        &mut read,
        stream,
        &mut room,
        &mut written,
        &mut plain,
        &mut total,
        &mut state,
    );
    assert!(matches!(result, BrotliResult::ResultSuccess));
    assert_eq!(written, plain_len);
    plain
}

/// Values with literals and matches of every class of lengths, and with distances of all kinds.
fn values() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = (1000..1030).map(user).collect();
    let noise = noise(VALUE_BYTES_MAX);
    for (base, _) in INSERTS.into_iter().chain(COPIES).filter(|(base, _)| *base > 0) {
        for len in [base as usize, base as usize + 1].map(|len| len.min(VALUE_BYTES_MAX)) {
            values.push(noise[..len].to_vec());
            values.push(noise[..9].iter().copied().cycle().take(len).collect());
            values.push([&user(1), &noise[..len / 2], &user(2), &noise[..len / 2]].concat());
        }
    }
    values.push(vec![b'a'; VALUE_BYTES_MAX]);
    values.push(user(5).repeat(VALUE_BYTES_MAX / 100));
    values.retain(|value| value.len() <= VALUE_BYTES_MAX);
    values
}

#[test]
fn a_payload_is_the_end_of_a_brotli_stream() {
    let encoder = users();
    let (lengths, text) = (encoder.dictionary.lengths.clone().unwrap(), &encoder.dictionary.text);
    for value in values() {
        for effort in [0, 1, 8, 256] {
            let payload = encoded(&encoder, &value, effort);
            assert_eq!(decode(&encoder, &payload, value.len()).unwrap(), value);
            let stream = stream(&lengths, &payload, value.len());
            assert_eq!(brotli_decoded(&stream, text, value.len()), value);
        }
    }
    assert_eq!(encoded(&encoder, b"", 8), b"");
    assert_eq!(decode(&encoder, b"", 0).unwrap(), b"");
}

#[test]
fn codes_of_a_store_make_its_records_small() {
    let encoder = users();
    let (mut plain, mut with_codes) = (0, 0);
    for value in (1000..1100).map(user) {
        plain += value.len();
        with_codes += encoded(&encoder, &value, 8).len();
    }
    assert!(with_codes * 6 < plain, "{with_codes} of {plain}");
}

#[test]
fn a_wrong_length_is_damage() {
    let encoder = users();
    for value in values().into_iter().filter(|value| value.len() > 1) {
        let payload = encoded(&encoder, &value, 8);
        let error = |payload: &[u8], plain_len| decode(&encoder, payload, plain_len).unwrap_err();
        let longer = [&*payload, b"x"].concat();
        assert_eq!(error(&longer, value.len()), Damage::Brotli("is followed by something else"));
        // if it is not the last bit of the value, it has to be zero
        let mut padded = payload.clone();
        *padded.last_mut().unwrap() ^= 0x80;
        assert_ne!(decode(&encoder, &padded, value.len()), Ok(value.clone()));
        for cut in 0..payload.len().min(300) {
            assert!(decode(&encoder, &payload[..cut], value.len()).is_err(), "{cut} of {}", payload.len());
        }
    }
    // that ends in a match, and one that ends in literals
    for value in [user(7).repeat(3), [&user(7)[..], &noise(50)].concat()] {
        let payload = encoded(&encoder, &value, 8);
        let shorter = decode(&encoder, &payload, value.len() - 1);
        assert_eq!(shorter, Err(Damage::Brotli("is longer than announced")));
    }
    let payload = encoded(&encoder, &user(7), 8);
    assert!(decode(&encoder, &payload, 10).is_err());
    assert!(decode(&encoder, &payload, 10_000).is_err());
    assert_eq!(
        decode(&encoder, &payload, VALUE_BYTES_MAX + 1),
        Err(Damage::Brotli("is longer than a value with a dictionary"))
    );
}

#[test]
fn lengths_of_codes_that_there_cannot_be_are_refused() {
    let lengths = Counts::assumed().lengths();
    assert!(Decoder::new(&lengths).is_some());
    for at in 0..Lengths::BYTES {
        for change in [0x10, 0x01, 0x80, 0x08] {
            let mut bytes = lengths.as_bytes().to_vec();
            bytes[at] ^= change;
            assert!(Decoder::new(&Lengths::from_bytes(&bytes).unwrap()).is_none(), "{at}, {change:x}");
        }
    }
    for bytes in [vec![0; Lengths::BYTES], vec![0xff; Lengths::BYTES], vec![0x11; Lengths::BYTES]] {
        assert!(Decoder::new(&Lengths::from_bytes(&bytes).unwrap()).is_none());
    }
    assert_eq!(Lengths::from_bytes(&[0; Lengths::BYTES - 1]), None);
}

#[test]
fn each_dictionary_has_its_own_decoder() {
    // more than a thread keeps
    let encoders: Vec<Encoder> = (0..10)
        .map(|at: u32| {
            let values: Vec<_> = (0..20).map(|more| user(at * 1000 + more * at)).collect();
            let values = || values.iter().map(Vec::as_slice);
            Encoder::learn(at, values(), values()).unwrap()
        })
        .collect();
    for _ in 0..3 {
        for encoder in encoders.iter().chain(&encoders[2..5]) {
            let payload = encoded(encoder, &user(7), 8);
            assert_eq!(decode(encoder, &payload, user(7).len()).unwrap(), user(7));
        }
    }
}

#[test]
fn a_text_has_pieces_of_several_records_and_no_more_than_fits() {
    let (long, short) = (vec![b'l'; 9_000], vec![b's'; 300]);
    let values = [&long[..], &short, &long, &long, &long, &long, &long, &long, &long];
    let text = Dictionary::of_text(1, values.into_iter()).text;
    assert_eq!(text.len(), TEXT_BYTES_MAX);
    assert_eq!(text.iter().filter(|byte| **byte == b's').count(), 300);
    assert!(Dictionary::of_text(1, std::iter::empty()).text.is_empty());
}

#[test]
fn a_row_comes_back_and_every_flipped_bit_is_found() {
    let values = || [&br#"{"name":"Ada"}"#[..]].into_iter();
    for dictionary in
        [Dictionary::of_text(7, values()), Encoder::learn(7, values(), values()).unwrap().dictionary]
    {
        let row = dictionary.row(b"key");
        assert_eq!(Dictionary::parse(7, b"key", &row), Ok(dictionary));
        assert_eq!(Dictionary::parse(7, b"yek", &row), Err(Damage::Dictionary(7)));
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Dictionary::parse(7, b"key", &flipped).is_err(), "bit {bit}");
        }
        for len in 0..row.len() {
            assert!(Dictionary::parse(7, b"key", &row[..len]).is_err(), "cut at {len}");
        }
        let newer = [&[3], &row[1..]].concat();
        assert_eq!(Dictionary::parse(7, b"key", &newer), Err(Damage::NewerFormat(3)));
        for format in 0..=FORMAT {
            let other = [&[format][..], &row[1..]].concat();
            assert_eq!(Dictionary::parse(7, b"key", &other).is_ok(), format == row[0], "format {format}");
        }
    }
}

proptest! {
    #[test]
    fn every_value_comes_back(
        pieces in proptest::collection::vec(
            (0usize..600, 0usize..80, proptest::collection::vec(any::<u8>(), 0..20)),
            0..60,
        ),
        text in proptest::collection::vec(0u8..6, 0..600),
        effort in 0usize..20,
    ) {
        let encoder = Encoder::learn(3, text.chunks(100), text.chunks(70)).unwrap();
        // of pieces of the text, its end included, and others
        let mut value = Vec::new();
        for (from, length, other) in pieces {
            value.extend(text.iter().skip(from).take(length));
            value.extend(other);
        }
        let payload = encoded(&encoder, &value, effort);
        if !value.is_empty() {
            let dictionary = &encoder.dictionary;
            let stream = stream(dictionary.lengths.as_ref().unwrap(), &payload, value.len());
            prop_assert_eq!(brotli_decoded(&stream, &dictionary.text, value.len()), value);
        }
    }

    #[test]
    fn any_payload_gives_the_announced_length_or_an_error(
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        plain_len in 0usize..20_000,
    ) {
        let encoder = users();
        if let Ok(plain) = decode(&encoder, &payload, plain_len) {
            prop_assert_eq!(plain.len(), plain_len);
        }
    }
}
