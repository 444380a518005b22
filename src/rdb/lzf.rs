//! Decompression of LZF, with which Redis stores longer strings.
//!
//! A control byte below 32 is followed by that many bytes and one more, as they are. Any other refers to bytes that have
//! been written: its upper three bits are their number less two, where 7 is continued in the next byte, and the lower five
//! bits with the next byte are the distance less one.

/// The most bytes that one byte of compressed input can become: 264 from three.
const EXPANSION_MAX: usize = 88;

/// The plain bytes, which have to be `plain_bytes` many. `None` if the input is damaged.
pub fn decompress(mut input: &[u8], plain_bytes: usize) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(plain_bytes.min(input.len().saturating_mul(EXPANSION_MAX)));
    while let Some(control) = input.split_off_first() {
        let control = usize::from(*control);
        if control < 32 {
            plain.extend_from_slice(input.split_off(..=control)?);
        } else {
            let mut count = (control >> 5) + 2;
            if control >> 5 == 7 {
                count += usize::from(*input.split_off_first()?);
            }
            let distance = ((control & 31) << 8) + usize::from(*input.split_off_first()?) + 1;
            let start = plain.len().checked_sub(distance)?;
            if count <= distance {
                plain.extend_from_within(start..start + count);
            } else {
                // the copied bytes overlap with those that are written
                (start..start + count).for_each(|at| plain.push(plain[at]));
            }
        }
        if plain.len() > plain_bytes {
            return None;
        }
    }
    (plain.len() == plain_bytes).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_references_are_written_out() {
        let text = |bytes: &[u8], plain_bytes| decompress(bytes, plain_bytes);
        assert_eq!(text(b"\x02abc", 3).as_deref(), Some(&b"abc"[..]));
        // three bytes from a distance of three, and nine and more from a distance of one
        assert_eq!(text(b"\x02abc\x20\x02", 6).as_deref(), Some(&b"abcabc"[..]));
        assert_eq!(text(b"\x00a\xe0\x03\x00", 13).as_deref(), Some(&b"aaaaaaaaaaaaa"[..]));
        assert_eq!(text(b"", 0).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn damage_is_refused() {
        for (bytes, plain_bytes) in [
            (&b"\x02ab"[..], 3),
            (b"\x02abc", 2),
            (b"\x02abc", 4),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0", 4),
            (b"\x00a\xe0\xff\x00", usize::MAX),
        ] {
            assert_eq!(decompress(bytes, plain_bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
