//! Headers of records, Brotli streams and payloads of DUMP. The checksum is made right first, since only then does what
//! stands behind it matter.
#![no_main]

use std::sync::LazyLock;

use larder::record::dictionary::encode::Encoder;
use larder::record::dictionary::Dictionary;
use larder::record::{RecordView, compress, dump};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const KEY: &[u8] = b"key";
const PLAIN_BYTES_MAX: usize = 1 << 20;

static ENCODER: LazyLock<Encoder> = LazyLock::new(|| {
    let values = || [&br#"{"id":1,"name":"user 1","tags":["a","b"]}"#[..]].into_iter();
    Encoder::learn(9, values(), values()).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    let mut record = bytes.to_vec();
    if record.len() > 6 {
        let head = u64::from(u16::from_be_bytes([record[0], record[1]]));
        let checksum = xxh3_64_with_seed(&record[6..], xxh3_64(KEY) ^ head) as u32;
        record[2..6].copy_from_slice(&checksum.to_be_bytes());
    }
    for view in [RecordView::parse(KEY, &record), RecordView::peek(bytes)].into_iter().flatten() {
        if view.plain_len <= PLAIN_BYTES_MAX
            && let Ok(plain) = view.plain(Some(&ENCODER.dictionary))
        {
            assert_eq!(plain.len(), view.plain_len);
        }
    }
    let _ = Dictionary::parse(9, KEY, bytes);
    let _ = dump::decode(bytes);
    for encoder in [None, Some(&*ENCODER)] {
        let encoded = compress(bytes, &Default::default(), encoder);
        let mut record = Vec::new();
        larder::record::write(KEY, 7, None, &encoded, &mut record);
        let plain = RecordView::parse(KEY, &record).and_then(|view| view.plain(encoder.map(|encoder| &encoder.dictionary)));
        assert_eq!(plain.as_deref(), Ok(bytes));
    }
});
