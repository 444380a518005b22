//! Payloads of DUMP, whose checksum is made right first, and RDB files.
#![no_main]

use larder::cli::transfer::rdb::read;
use larder::rdb::{decode, decode_libraries, encode, encode_libraries, framed};
use libfuzzer_sys::fuzz_target;

const NOW_MS: u64 = 1_700_000_000_000;
const BYTES_MAX: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    for version in [11, 13, 80] {
        if let Ok(value) = decode(&framed(bytes.to_vec(), version), BYTES_MAX) {
            assert_eq!(decode(&encode(&value), BYTES_MAX), Ok(value));
        }
        if let Ok(texts) = decode_libraries(&framed(bytes.to_vec(), version), 256, BYTES_MAX) {
            let payload = encode_libraries(texts.iter().map(|text| &text[..]));
            assert_eq!(decode_libraries(&payload, 256, BYTES_MAX), Ok(texts));
        }
    }
    for head in ["REDIS0013", "VALKEY080"] {
        read(&[head.as_bytes(), bytes].concat()[..], NOW_MS, None).for_each(drop);
    }
});
