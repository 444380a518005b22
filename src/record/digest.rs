//! The digest of a value, as DIGEST returns it and IFDEQ and IFDNE compare it.

use xxhash_rust::xxh3::xxh3_64;

/// Characters of a digest.
pub const DIGEST_BYTES: usize = 16;

/// XXH3-64 without a seed, as 16 lowercase hex digits, leading zeros kept (Redis 8.4, `t_string.c`).
pub fn digest(value: &[u8]) -> [u8; DIGEST_BYTES] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let hash = xxh3_64(value);
    std::array::from_fn(|i| HEX[(hash >> (60 - 4 * i)) as usize & 0xf])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_redis() {
        // From the documentation of DIGEST in Redis, and from a client library's tests against it.
        assert_eq!(&digest(b"Hello world"), b"b6acb9d84a38ff74");
        assert_eq!(&digest(b"myvalue"), b"5a32b091fa5dafe7");
    }

    #[test]
    fn leading_zeros_are_kept() {
        // The documentation of DIGEST in Dragonfly.
        assert_eq!(&digest(b"Hello, Dragonfly!"), b"063b4909128e92b7");
    }
}
