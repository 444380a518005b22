//! Copies of values that many share: the memtable, the cache, and replies on their way.
//!
//! A [`Bytes`] that is made from a vector gets its reference count in a second allocation when it is first cloned. Each GET
//! clones one, so each would touch one more cache line of memory, which it mostly has to wait for. Here a short value and
//! its count are one allocation.

use bytes::Bytes;

/// A short value in an array of a fixed size.
struct Short<const N: usize> {
    len: u16,
    bytes: [u8; N],
}

impl<const N: usize> AsRef<[u8]> for Short<N> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

fn short<const N: usize>(value: &[u8]) -> Bytes {
    let mut bytes = [0; N];
    bytes[..value.len()].copy_from_slice(value);
    Bytes::from_owner(Short { len: value.len() as u16, bytes })
}

/// A copy of a value.
pub fn copy(value: &[u8]) -> Bytes {
    // together with the count and the length, these arrays fill the sizes in which allocators give memory
    match value.len() {
        0..=14 => short::<14>(value),
        15..=30 => short::<30>(value),
        31..=46 => short::<46>(value),
        47..=62 => short::<62>(value),
        63..=78 => short::<78>(value),
        79..=94 => short::<94>(value),
        95..=110 => short::<110>(value),
        111..=142 => short::<142>(value),
        143..=174 => short::<174>(value),
        175..=206 => short::<206>(value),
        207..=238 => short::<238>(value),
        239..=302 => short::<302>(value),
        303..=366 => short::<366>(value),
        367..=430 => short::<430>(value),
        431..=494 => short::<494>(value),
        _ => Bytes::copy_from_slice(value),
    }
}

/// The same for a value that has memory of its own already, which a long one keeps.
pub fn keep(value: Vec<u8>) -> Bytes {
    const SHORT_BYTES_MAX: usize = 494;
    if value.len() <= SHORT_BYTES_MAX { copy(&value) } else { Bytes::from(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_any_length_is_copied_whole() {
        let all: Vec<u8> = (0..1_000_u32).map(|at| at as u8).collect();
        for length in 0..all.len() {
            assert_eq!(copy(&all[..length]), all[..length]);
            assert_eq!(keep(all[..length].to_vec()), all[..length]);
        }
    }
}
