//! Passwords, of which only the SHA-256 is ever kept.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

const HASH_BYTES: usize = 32;

/// The SHA-256 of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordHash([u8; HASH_BYTES]);

impl PasswordHash {
    pub fn of(password: &[u8]) -> PasswordHash {
        PasswordHash(Sha256::digest(password).into())
    }

    /// Parses 64 hexadecimal digits; as in Redis, letters must be in lower case.
    pub fn parse(hex: &[u8]) -> Option<PasswordHash> {
        if hex.len() != 2 * HASH_BYTES {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; HASH_BYTES];
        for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(PasswordHash(hash))
    }

    /// Whether this is one of `accepted`, in a time that does not depend on where they differ or which one it is.
    pub fn is_among(&self, accepted: &[PasswordHash]) -> bool {
        let found = accepted.iter().fold(Choice::from(0), |found, other| found | self.0.ct_eq(&other.0));
        found.into()
    }
}

/// In hexadecimal digits.
impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Even a hash stays out of logs.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_redis() {
        let hash = PasswordHash::of(b"pw");
        let hex = "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4";
        assert_eq!(hash.to_string(), hex);
        assert!(PasswordHash::parse(hex.as_bytes()) == Some(hash));
        for wrong in [&hex[1..], &hex.to_uppercase(), &format!("{}g", &hex[1..]), ""] {
            assert!(PasswordHash::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(!format!("{hash:?}").contains("30c9"));
    }

    #[test]
    fn any_of_several_will_do() {
        let accepted = [PasswordHash::of(b"a"), PasswordHash::of(b"b")];
        assert!(PasswordHash::of(b"b").is_among(&accepted));
        assert!(!PasswordHash::of(b"c").is_among(&accepted));
        assert!(!PasswordHash::of(b"").is_among(&[]));
    }
}
