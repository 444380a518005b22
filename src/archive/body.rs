//! Bodies of objects: compressed if that makes them shorter.

use crate::archive::format::Codec;
use crate::record::compress::{self, Compression, compress, decompress};

/// Entries wait for the compression of a segment, so it is fast.
const QUALITY: u32 = 1;
/// Longer bodies are not compressed.
const COMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;
const COMPRESSED_BYTES_MIN: usize = 64;

/// A body as it is stored.
pub fn pack(plain: Vec<u8>) -> (Codec, Vec<u8>) {
    let compression =
        Compression::Brotli { quality: QUALITY, min_bytes: COMPRESSED_BYTES_MIN, dictionaries: false };
    if plain.len() > COMPRESSED_BYTES_MAX {
        return (Codec::Plain, plain);
    }
    let encoded = compress(&plain, &compression, None);
    match encoded.codec {
        compress::Codec::Brotli => (Codec::Brotli, encoded.payload.into_owned()),
        compress::Codec::Plain => (Codec::Plain, plain),
    }
}

/// A body as it was, of exactly so many bytes.
pub fn unpack(codec: Codec, stored: &[u8], plain_bytes: u64) -> Result<Vec<u8>, String> {
    match codec {
        Codec::Plain if stored.len() as u64 == plain_bytes => Ok(stored.to_vec()),
        Codec::Plain => Err(format!("it has {} bytes instead of {plain_bytes}", stored.len())),
        Codec::Brotli => {
            let plain_bytes = usize::try_from(plain_bytes).map_err(|_| "it is too long".to_owned())?;
            decompress(stored, plain_bytes, None).map_err(|damage| damage.to_string())
        }
    }
}

/// The entries of a segment's body, beginning with `first`.
pub fn entries(plain: &[u8], first: u64, last: u64) -> Result<Vec<(u64, &[u8])>, String> {
    let (mut rest, mut found, mut seq) = (plain, Vec::new(), first);
    while let Some((length, after)) = rest.split_first_chunk() {
        let Some((entry, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            return Err(format!("entry {seq} ends behind the segment"));
        };
        found.push((seq, entry));
        (rest, seq) = (after, seq + 1);
    }
    if !rest.is_empty() || seq != last + 1 {
        return Err(format!("it has {} entries instead of those from {first} to {last}", found.len()));
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back() {
        for plain in [vec![], b"short".to_vec(), vec![7; 100_000], (0..=255).collect::<Vec<u8>>()] {
            let (codec, stored) = pack(plain.clone());
            assert_eq!(unpack(codec, &stored, plain.len() as u64).unwrap(), plain);
            assert!(unpack(codec, &stored, plain.len() as u64 + 1).is_err());
        }
    }

    #[test]
    fn entries_that_do_not_fill_their_segment_are_refused() {
        let plain = [0, 0, 0, 1, b'a', 0, 0, 0, 0];
        assert_eq!(entries(&plain, 5, 6).unwrap(), [(5, &b"a"[..]), (6, b"")]);
        assert_eq!(entries(&[], 5, 4).unwrap(), []);
        for (plain, first, last) in
            [(&plain[..], 5, 7), (&plain[..], 5, 5), (&plain[..8], 5, 6), (&[0, 0, 0, 9, 1], 1, 1)]
        {
            assert!(entries(plain, first, last).is_err(), "{plain:?}");
        }
    }
}
