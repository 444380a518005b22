//! The parsers of bytes: requests, replies, records, payloads and files of Redis, journal entries, patterns, JSON.

use ::bytes::{Bytes, BytesMut};
use larder::archive::format::{
    Codec, Id, Kind, Lease, LeaseState, Listed, Manifest, Mark, Name, PartHeader, SegmentHeader,
    SnapshotContents, SnapshotName, StoredPart,
};
use larder::engine::effect::Effect;
use larder::engine::journal;
use larder::engine::journal::{Claim, Journal, JournalError};
use larder::rdb;
use larder::record::dictionary::encode::Encoder;
use larder::record::{Compression, Damage, RecordView, compress, json, write};
use larder::resp::{Parser, Protocol, ProtocolError, Reply, Request, RequestLimits, encode};
use larder::store::Definition;
use larder::store::{Pattern, Quota, ValueKind};
use proptest::collection::vec;
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::fuzz;
use super::mutation::mutated;

fn seeds(inputs: &[&[u8]]) -> Vec<Vec<u8>> {
    inputs.iter().map(|input| input.to_vec()).collect()
}

/// However the bytes are cut into pieces, the same requests come out, and the same error.
#[test]
fn requests() {
    let seeds = seeds(&[
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n*1\r\n$4\r\nPING\r\n",
        b"*0\r\n*-1\r\n*1\r\n$0\r\n\r\n",
        b"SET key \"a \\\"quoted\\\" \\x41\\n value\" 'single \\' quote'\r\nPING\n",
        b"\r\n\r\nGET k\r\n",
        b"*11\r\n$16385\r\n",
    ]);
    let inputs = (mutated(seeds), vec(1..40usize, 0..12), any::<bool>());
    fuzz("requests", &inputs, |(bytes, cuts, authenticated)| {
        let limits = RequestLimits { authenticated, bulk_bytes_max: 10_000, request_bytes_max: 50_000 };
        let whole = parse(&[&bytes[..]], &limits);
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        prop_assert_eq!(&parse(&pieces, &limits), &whole);
        for request in &whole.0 {
            prop_assert!(!request.args.is_empty());
            prop_assert!(authenticated || request.args.iter().all(|word| word.len() <= 64 * 1024));
        }
        Ok(())
    });
}

fn parse(pieces: &[&[u8]], limits: &RequestLimits) -> (Vec<Request>, Option<ProtocolError>) {
    let (mut parser, mut buffer, mut requests) = (Parser::new(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer, limits) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// A client takes a reply for one whole reply, whatever is in it.
#[test]
fn replies() {
    let inputs = mutated(seeds(&[
        b"\0hello\x01\x02\x03world\x04\x05\x02\x06abc\x07\x08",
        b"\x05\x05\x05\x05",
        b"\x03\r\n-x",
    ]));
    fuzz("replies", &inputs, |bytes| {
        let reply = reply_of(&mut &bytes[..], 8);
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            prop_assert!(is_readable(&reply, protocol), "{reply:?} in {protocol:?}");
        }
        Ok(())
    });
}

/// Reads a reply out of bytes: each first byte chooses a type.
fn reply_of(bytes: &mut &[u8], depth: usize) -> Reply {
    let Some((&choice, rest)) = bytes.split_first() else { return Reply::Null };
    *bytes = rest;
    let length = rest.len().min(usize::from(choice >> 4));
    let (text, behind) = rest.split_at(length);
    let text = || Bytes::copy_from_slice(text);
    let simple = match choice & 15 {
        0 => Some(Reply::Bulk(text())),
        1 => Some(Reply::Integer(i64::from(choice) - 100)),
        2 => Some(Reply::Verbatim(text())),
        3 => Some(Reply::Error(larder::error::Error::other(String::from_utf8_lossy(&text()).into_owned()))),
        4 => Some(Reply::Double(f64::from(choice) / 7.0)),
        5 => Some(Reply::Boolean(choice > 100)),
        6 => Some(Reply::NullArray),
        7 => Some(Reply::BigNumber("12345678901234567890".into())),
        8 => Some(Reply::OK),
        _ => None,
    };
    if let Some(reply) = simple {
        *bytes = behind;
        return reply;
    }
    if depth == 0 {
        return Reply::Null;
    }
    let mut items = || (0..length.min(5)).map(|_| reply_of(bytes, depth - 1)).collect::<Vec<_>>();
    match choice & 3 {
        0 => Reply::Array(items()),
        1 => Reply::Set(items()),
        _ => Reply::Map(items().into_iter().map(|item| (Reply::text("key"), item)).collect()),
    }
}

/// Whether a client reads exactly what was said, and only types of its protocol. (The crate that the unit tests use as
/// their oracle knows no set of maps, as COMMAND INFO has them.)
pub fn is_readable(reply: &Reply, protocol: Protocol) -> bool {
    let mut out = BytesMut::new();
    encode(reply, protocol, &mut out);
    let types: &[u8] = if protocol == Protocol::Resp2 { b"+-:$*" } else { b"+-:$*_,#=(%~>|" };
    let replies = match reply {
        Reply::Sequence(replies) => replies.len(),
        _ => 1,
    };
    (0..replies).try_fold(&out[..], |rest, _| behind_reply(rest, types)) == Some(b"")
}

fn behind_reply<'b>(bytes: &'b [u8], types: &[u8]) -> Option<&'b [u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    let (kind, text) = line.split_first().filter(|(kind, _)| types.contains(kind))?;
    let number = || std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    match kind {
        b':' => number().map(|_| rest),
        b'$' | b'=' if number()? >= 0 => {
            rest.get(number()? as usize..).and_then(|behind| behind.strip_prefix(b"\r\n"))
        }
        b'*' | b'~' | b'>' | b'%' | b'|' if number()? >= 0 => {
            let width = if b"%|".contains(kind) { 2 } else { 1 };
            // attributes are followed by what they belong to
            let count = number()? * width + i64::from(*kind == b'|');
            (0..count).try_fold(rest, |rest, _| behind_reply(rest, types))
        }
        b'$' | b'*' => (text == b"-1" && types.len() == 5).then_some(rest),
        b'_' => text.is_empty().then_some(rest),
        _ => Some(rest),
    }
}

/// A record that is not as it was written is never taken for one, and no header makes the value longer than it says.
#[test]
fn records() {
    let text = br#"{"name":"a record that is long enough to be compressed","list":[1,2,3,4,5,6,7,8,9,10]}"#
        .repeat(3);
    let mut valid = Vec::new();
    let pieces = || text.chunks(40);
    let encoder = Encoder::learn(9, pieces(), pieces()).expect("a dictionary");
    for (expires, plain, encoder) in [
        (None, &b"7"[..], None),
        (Some(1_700_000_000_000), &text[..], None),
        (None, &text[..], None),
        (None, &text[..], Some(&encoder)),
    ] {
        let mut record = Vec::new();
        let encoded = compress(plain, &Compression::default(), encoder);
        assert_eq!(encoded.dictionary.is_some(), encoder.is_some());
        write(b"key", 77, expires, &encoded, &mut record);
        valid.push(record);
    }
    fuzz("records", &mutated(valid.clone()), |bytes| {
        if RecordView::parse(b"key", &bytes).is_ok() {
            prop_assert!(valid.iter().any(|record| bytes == record), "a changed record verifies");
        }
        if let Ok(view) = RecordView::peek(&bytes)
            && view.plain_len < 1 << 20
            && let Ok(plain) = view.plain(Some(&encoder.dictionary))
        {
            prop_assert_eq!(plain.len(), view.plain_len);
        }
        Ok(())
    });
}

/// Payloads of DUMP, with a checksum that is right: what is read as a value is written so that it reads the same.
#[test]
fn payloads() {
    const BYTES_MAX: usize = 10_000;
    let mut objects = seeds(&[
        b"\x00\xc0\x05",
        b"\x00\xc3\x05\x0d\x00a\xe0\x03\x00",
        b"\xf3\x01abcd\x05\x01x\x00\x00\x01v",
    ]);
    objects.extend([&b""[..], b"value", &[b'x'; 300]].map(|value| {
        let payload = rdb::encode(value);
        payload[..payload.len() - 10].to_vec()
    }));
    fuzz("payloads", &(mutated(objects), 1..82u16), |(object, version)| {
        if let Ok(value) = rdb::decode(&rdb::framed(object.to_vec(), version), BYTES_MAX) {
            prop_assert!(value.len() <= BYTES_MAX);
            prop_assert_eq!(rdb::decode(&rdb::encode(&value), BYTES_MAX), Ok(value));
        }
        let libraries = [b"\xf5", &object[..]].concat();
        if let Ok(texts) = rdb::decode_libraries(&rdb::framed(libraries, version), 256, BYTES_MAX) {
            prop_assert!(texts.iter().map(Vec::len).sum::<usize>() <= BYTES_MAX);
            let payload = rdb::encode_libraries(texts.iter().map(|text| &text[..]));
            prop_assert_eq!(rdb::decode_libraries(&payload, 256, BYTES_MAX), Ok(texts));
        }
        Ok(())
    });
}

/// However an RDB file is damaged, it is read to an end, and gives no more than it has bytes.
#[test]
fn rdb_files() {
    let seeds = seeds(&[
        include_bytes!("../rdb/redis-8.6.rdb"),
        include_bytes!("../rdb/valkey-9.1.rdb"),
        b"REDIS0006\xfe\0\x09\x01m\x0f\x02\x01a\x03\x02xyz..\x01b\x00\x00\xff\x0a\x01l\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf2\x02\x01a\xff\xff\0\0\0\0\0\0\0\0",
    ]);
    fuzz("rdb files", &mutated(seeds), |bytes| {
        let mut members = 0;
        if let Ok(mut file) = rdb::File::open(&bytes[..], 0) {
            while let Ok(Some(item)) = file.next_item() {
                members += 1;
                let rdb::Item::Key(key) = item else { continue };
                let outcome = match key.kind {
                    rdb::Kind::String => file.text().map(drop),
                    _ => file.read_value(&mut Count(&mut members)).map(drop),
                };
                if outcome.is_err() {
                    break;
                }
            }
            prop_assert!(file.offset() <= bytes.len() as u64);
        }
        prop_assert!(members <= bytes.len() + 264 * bytes.len(), "{members} members");
        Ok(())
    });
}

struct Count<'a>(&'a mut usize);

impl rdb::Collect for Count<'_> {
    fn member(&mut self, _: &[u8]) {
        *self.0 += 1;
    }

    fn scored(&mut self, _: &[u8], score: f64) {
        assert!(!score.is_nan());
        *self.0 += 1;
    }

    fn field(&mut self, _: &[u8], _: &[u8]) {
        *self.0 += 1;
    }
}

/// Whatever is compressed with a dictionary, also what looks much like its end, comes back.
#[test]
fn values_with_a_dictionary() {
    let user =
        |id: u32| format!(r#"{{"id":{id},"name":"user {id}","tags":["a","b"],"active":true}}"#).into_bytes();
    let users: Vec<_> = (0..40).map(user).collect();
    let users = || users.iter().map(Vec::as_slice);
    let encoder = Encoder::learn(9, users().step_by(2), users().skip(1).step_by(2)).expect("a dictionary");
    let mut valid: Vec<Vec<u8>> = (40..50).map(user).collect();
    let text = &encoder.dictionary.text;
    valid.extend([&text[..], &text[text.len() - 100..]].map(<[u8]>::to_vec));
    let quality = std::cell::Cell::new(0);
    fuzz("values with a dictionary", &mutated(valid), |bytes| {
        quality.set((quality.get() + 1) % 9);
        let compression = Compression::Brotli { quality: quality.get(), min_bytes: 0, dictionaries: true };
        let mut record = Vec::new();
        write(b"key", 77, None, &compress(&bytes, &compression, Some(&encoder)), &mut record);
        let plain = RecordView::parse(b"key", &record).and_then(|view| view.plain(Some(&encoder.dictionary)));
        prop_assert_eq!(plain.as_deref(), Ok::<_, &Damage>(&bytes[..]));
        Ok(())
    });
}

/// What is read of an entry is what it says: written again, it reads the same.
#[test]
fn journal_entries() {
    let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(b"[1,2,3]"));
    let definition = Definition {
        name: Some("orders".into()),
        kind: Some(ValueKind::Any),
        quota: Quota { max_keys: Some(7), retention_ms: Some(1_000), ..Quota::default() },
        links: ["nightly import".to_owned()].into(),
    };
    let effects = [
        Effect::Put { generation: 5, key: key.clone(), value, expires_at_ms: Some(1_700_000_000_000) },
        Effect::Remove { generation: 5, key },
        Effect::Define { store: 16, generation: 6, definition: definition.into() },
        Effect::Drop { store: 16 },
        Effect::Flush { store: 0, generation: 7 },
        Effect::Swap { a: 0, b: 1 },
    ];
    let encode = |effects: &[Effect]| {
        let mut entry = Vec::new();
        effects.iter().for_each(|effect| effect.encode(&mut entry));
        entry
    };
    let mut seeds = vec![encode(&effects)];
    seeds.extend(effects.iter().map(|effect| encode(std::slice::from_ref(effect))));
    fuzz("journal entries", &mutated(seeds), |bytes| {
        if let Ok(read) = Effect::decode_all(&bytes) {
            prop_assert_eq!(Effect::decode_all(&encode(&read)).ok(), Some(read));
        }
        Ok(())
    });
}

/// A damaged segment is refused or read in part, and never has more entries than were written.
#[test]
fn journal_segments() {
    const ENTRIES: u64 = 5;
    let folder = tempfile::tempdir().unwrap();
    let options = journal::Options { segment_bytes: 1, ..journal::Options::default() };
    let (journal, _) = Journal::open::<JournalError>(folder.path(), options, 0, &mut |_, _| Ok(())).unwrap();
    for at in 0..ENTRIES {
        journal.append(Claim::Ordinary, |_, out| out.extend_from_slice(&[at as u8; 30])).unwrap();
        journal.wait_durable(at + 1).unwrap();
    }
    journal.close().unwrap();
    drop(journal);
    let used: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let contents: Vec<Vec<u8>> = used.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let longest = |bytes: &Vec<u8>| bytes.iter().rposition(|byte| *byte != 0);
    let active = (0..used.len()).max_by_key(|at| longest(&contents[*at])).unwrap();
    assert_eq!(journal::inspect(folder.path(), 0, None).unwrap().replayable, ENTRIES);

    fuzz("journal segments", &mutated(vec![contents[active].clone()]), |bytes| {
        std::fs::write(&used[active], &bytes).unwrap();
        if let Ok(seen) = journal::inspect(folder.path(), 0, None) {
            prop_assert!(seen.replayable <= ENTRIES, "{seen:?}");
        }
        Ok(())
    });
}

/// A pattern matches only what begins with its literal prefix: what a scan relies on. (That it matches what it should is
/// compared with a plain matcher beside the code.)
#[test]
fn patterns() {
    let patterns =
        mutated(seeds(&[b"user:*", b"h[a-c]llo?", b"[^x-z]*\\*", b"*a*b*", b"[", b"[]", b"[a-", b"\\"]));
    let strings = mutated(seeds(&[b"user:1", b"hallo1", b"a*", b"xaxbx", b"["]));
    fuzz("patterns", &(patterns, strings), |(pattern, string)| {
        let Ok(compiled) = Pattern::new(&pattern) else {
            prop_assert!(pattern.len() > larder::limits::GLOB_BYTES_MAX);
            return Ok(());
        };
        let matches = compiled.matches(&string);
        if matches {
            prop_assert!(string.starts_with(compiled.literal_prefix()));
            prop_assert!(!compiled.is_literal() || string[..] == *compiled.literal_prefix());
        }
        prop_assert!(!compiled.is_all() || matches);
        let ignoring_case = Pattern::ignoring_case(&pattern).is_ok_and(|pattern| pattern.matches(&string));
        prop_assert!(!matches || ignoring_case || pattern.contains(&b'['));
        Ok(())
    });
}

/// What passes is JSON to a parser that builds a tree, and what it builds is JSON here.
#[test]
fn json_texts() {
    let inputs = mutated(seeds(&[
        br#"{"a":[1,2.5e-3,"\u00e9\n",null,true],"b":{"c":false}}"#,
        b"  [ ]  ",
        b"\"\\ud800\"",
        b"-0.0e+10",
        &[b'['; 127],
    ]));
    fuzz("json texts", &inputs, |bytes| {
        let tree = serde_json::from_slice::<serde_json::Value>(&bytes);
        match json::check(&bytes) {
            // numbers out of range, lone surrogates and the deepest level are JSON, and no tree of this crate's
            Ok(()) => prop_assert!(tree.is_ok() || std::str::from_utf8(&bytes).is_ok()),
            Err(_) => prop_assert!(tree.is_err(), "refused, and is {tree:?}"),
        }
        Ok(())
    });
}

/// What is taken for an object of an archive comes back as it was. The checksum is made right, too, since only then does
/// what stands before it matter.
#[test]
fn archive_objects() {
    let (archive, name) = (Id(7), SnapshotName { entry: 4, id: 5 });
    let state = LeaseState::Released { heir: Some(Id(3)) };
    let (epoch, counter, holder, entry, length_ms) = (3, 9, Id(1), 44, 10_000);
    let lease = Lease { archive, epoch, counter, holder, state, entry, length_ms, address: "a:1".to_owned() };
    let listed = Listed { name, next_segment: 6, time_ms: 1, bytes: 2 };
    let manifest = Manifest { archive, serial: 1, first_segment: 6, snapshots: vec![listed] };
    let parts = vec![StoredPart { bytes: 1, checksum: 2 }];
    let contents = SnapshotContents { archive, name, time_ms: 1, plain_bytes: 9, parts };
    let (first, last, earliest_ms, latest_ms, plain_bytes) = (1, 2, 3, 4, 5);
    let (number, kind, codec, stored_bytes, checksum) = (6, Kind::Entries, Codec::Brotli, 0, 0);
    let segment = SegmentHeader {
        archive,
        epoch,
        number,
        kind,
        first,
        last,
        earliest_ms,
        latest_ms,
        codec,
        plain_bytes,
        stored_bytes,
        checksum,
    };
    let part =
        PartHeader { archive, snapshot: name, part: 1, codec, plain_bytes: 5, stored_bytes: 0, checksum };
    let inputs = mutated(vec![
        lease.encode(),
        manifest.encode(),
        contents.encode(),
        Mark { archive, segment: 6, entry: 44, own: vec![0, 3] }.encode(),
        segment.describe(b"").encode(),
        part.describe(b"").encode(),
        Name::Part(name, 3).to_string().into_bytes(),
        Name::Segment(3).to_string().into_bytes(),
    ]);
    fuzz("archive objects", &inputs, |bytes| {
        let content = &bytes[..bytes.len().saturating_sub(8)];
        let sealed = [content, &xxh3_64(content).to_be_bytes()].concat();
        for object in [&bytes[..], &sealed] {
            let decoded = [
                Lease::decode(object).map(|lease| lease.encode()),
                Manifest::decode(object).map(|manifest| manifest.encode()),
                SnapshotContents::decode(object).map(|contents| contents.encode()),
                Mark::decode(object).map(|mark| mark.encode()),
                SegmentHeader::open(object).map(|(header, body)| [header.encode(), body.to_vec()].concat()),
                PartHeader::open(object).map(|(header, body)| [header.encode(), body.to_vec()].concat()),
            ];
            for encoded in decoded.into_iter().flatten() {
                prop_assert_eq!(&encoded[..], object);
            }
        }
        if let Ok(text) = str::from_utf8(&bytes)
            && let Some(name) = Name::parse(text)
        {
            prop_assert_eq!(name.to_string(), text);
        }
        Ok(())
    });
}
