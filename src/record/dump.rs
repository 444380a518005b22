//! The payload of DUMP in Larder's first versions, which RESTORE still takes. The one that DUMP has now is in
//! [`crate::rdb`].
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | `LDMP` |
//! | 4 | 1 | format: 1 |
//! | 5 | | the value, plain |
//! | end − 8 | 8 | XXH3-64 of all bytes before |

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 4] = b"LDMP";
const FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// The value in a payload, copied; none if it is damaged, of another version, or of another server.
pub fn decode(payload: &[u8]) -> Option<Bytes> {
    let (covered, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
    let value = covered.strip_prefix(MAGIC)?.strip_prefix(&[FORMAT])?;
    (u64::from_be_bytes(*checksum) == xxh3_64(covered)).then(|| Bytes::copy_from_slice(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A payload as it was made.
    fn encode(value: &[u8]) -> Vec<u8> {
        let mut payload = [&MAGIC[..], &[FORMAT], value].concat();
        let checksum = xxh3_64(&payload);
        payload.extend_from_slice(&checksum.to_be_bytes());
        payload
    }

    #[test]
    fn the_format_is_what_it_was() {
        assert_eq!(encode(b"{}").escape_ascii().to_string(), PAYLOAD_OF_VERSION_1);
    }

    const PAYLOAD_OF_VERSION_1: &str = r"LDMP\x01{}b\xdam\xffP>\xd7\xf4";

    proptest! {
        #[test]
        fn values_come_back(value: Vec<u8>) {
            let back = decode(&encode(&value));
            prop_assert_eq!(back.as_deref(), Some(&value[..]));
        }

        #[test]
        fn a_changed_or_cut_payload_is_refused(value: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let whole = encode(&value);
            let at = at.index(whole.len());
            prop_assert_eq!(decode(&whole[..at]), None);
            let mut changed = whole;
            changed[at] ^= 1 << bit;
            prop_assert_eq!(decode(&changed), None);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(payload: Vec<u8>) {
            prop_assert_eq!(decode(&payload), None);
        }
    }
}
