//! How much a store holds.

use serde::{Deserialize, Serialize};

use crate::record::header;

/// Exact counters of one store. They change with the records, in the same step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub records: u64,
    /// Records that have an expiry.
    pub expiring: u64,
    /// Keys and values as clients know them.
    pub plain_bytes: u64,
    /// Keys and records as stored, including the header, and compressed where that saves bytes. A record that has not
    /// been compressed yet counts with its uncompressed size.
    pub stored_bytes: u64,
}

/// What one record adds to its store's [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    pub expires: bool,
    pub plain_bytes: u64,
    pub stored_bytes: u64,
}

impl Weight {
    /// The size of a record that is stored uncompressed.
    pub fn plain(key: &[u8], value_bytes: usize, expires: bool) -> Weight {
        let plain_bytes = (key.len() + value_bytes) as u64;
        Weight {
            expires,
            plain_bytes,
            stored_bytes: plain_bytes + header::plain_header_bytes(expires) as u64,
        }
    }
}

impl Usage {
    pub fn add(&mut self, weight: Weight) {
        self.records += 1;
        self.expiring += u64::from(weight.expires);
        self.plain_bytes += weight.plain_bytes;
        self.stored_bytes += weight.stored_bytes;
    }

    /// Subtracts what [`add`](Usage::add) added. Saturates, so that a damaged count can't bring a server down; `larder
    /// check` recounts.
    pub fn subtract(&mut self, weight: Weight) {
        debug_assert!(
            self.records > 0 && self.stored_bytes >= weight.stored_bytes,
            "usage below zero: {self:?} {weight:?}"
        );
        self.records = self.records.saturating_sub(1);
        self.expiring = self.expiring.saturating_sub(u64::from(weight.expires));
        self.plain_bytes = self.plain_bytes.saturating_sub(weight.plain_bytes);
        self.stored_bytes = self.stored_bytes.saturating_sub(weight.stored_bytes);
    }

    /// Adds what others hold.
    pub fn merge(&mut self, other: &Usage) {
        self.records += other.records;
        self.expiring += other.expiring;
        self.plain_bytes += other.plain_bytes;
        self.stored_bytes += other.stored_bytes;
    }

    /// Replaces some records by others. Saturates as [`subtract`](Usage::subtract) does.
    pub fn replace(&mut self, before: &Usage, after: &Usage) {
        self.records = self.records.saturating_sub(before.records);
        self.expiring = self.expiring.saturating_sub(before.expiring);
        self.plain_bytes = self.plain_bytes.saturating_sub(before.plain_bytes);
        self.stored_bytes = self.stored_bytes.saturating_sub(before.stored_bytes);
        self.merge(after);
    }

    /// The size that a record will probably have when it is compressed, if it is like the others.
    pub fn estimate(&self, key_bytes: u64, plain: Weight) -> u64 {
        let (stored, of) = (u128::from(self.stored_bytes), u128::from(self.plain_bytes));
        let like_others = (u128::from(plain.plain_bytes) * stored).checked_div(of).unwrap_or(u128::MAX);
        u64::try_from(like_others).unwrap_or(u64::MAX).max(key_bytes + 1).min(plain.stored_bytes)
    }

    /// The ratio of uncompressed to stored bytes; 1 for an empty store.
    pub fn ratio(&self) -> f64 {
        if self.stored_bytes == 0 { 1.0 } else { self.plain_bytes as f64 / self.stored_bytes as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_can_be_taken_away() {
        let weight = Weight { expires: true, plain_bytes: 100, stored_bytes: 40 };
        let mut usage = Usage::default();
        usage.add(weight);
        assert_eq!(usage, Usage { records: 1, expiring: 1, plain_bytes: 100, stored_bytes: 40 });
        assert_eq!(usage.ratio(), 2.5);
        usage.subtract(weight);
        assert_eq!(usage, Usage::default());
    }
}
