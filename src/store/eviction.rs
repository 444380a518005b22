//! Which records are evicted when a store or the server is full.

use serde::{Deserialize, Serialize};

/// The order in which records are evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The least recently used ones first.
    Lru,
    /// The least frequently used ones first.
    Lfu,
    /// Those that expire next first; only records that expire.
    Ttl,
    Random,
}

impl Order {
    /// The names of the orders, as settings have them.
    pub const NAMES: [(&str, Order); 4] =
        [("lru", Order::Lru), ("lfu", Order::Lfu), ("ttl", Order::Ttl), ("random", Order::Random)];

    pub fn as_str(self) -> &'static str {
        Order::NAMES.iter().find(|(_, order)| *order == self).map_or("", |(name, _)| name)
    }

    /// One of the names, in any case.
    pub fn parse(text: &str) -> Option<Order> {
        Order::NAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, order)| *order)
    }
}

/// What may be evicted, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub order: Order,
    /// Records without an expiry stay.
    pub only_expiring: bool,
}

impl Policy {
    /// The policies over the whole server, with Redis's names, in the order of Redis's error.
    pub const NAMES: &[(&str, Option<Policy>)] = &[
        ("volatile-lru", Some(Policy { order: Order::Lru, only_expiring: true })),
        ("volatile-lfu", Some(Policy { order: Order::Lfu, only_expiring: true })),
        ("volatile-random", Some(Policy { order: Order::Random, only_expiring: true })),
        ("volatile-ttl", Some(Policy { order: Order::Ttl, only_expiring: true })),
        ("allkeys-lru", Some(Policy { order: Order::Lru, only_expiring: false })),
        ("allkeys-lfu", Some(Policy { order: Order::Lfu, only_expiring: false })),
        ("allkeys-random", Some(Policy { order: Order::Random, only_expiring: false })),
        ("noeviction", None),
    ];

    /// The policy of a store that evicts in an order.
    pub fn of_store(order: Order) -> Policy {
        Policy { order, only_expiring: order == Order::Ttl }
    }
}

/// Up to where a full store or server is emptied ahead of writes, and from where on: a little below the limit, so that
/// a write seldom has to wait for an eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brim {
    pub evicts_above: u64,
    pub evicts_to: u64,
}

impl Brim {
    /// The brim below a limit. A very small limit is used up entirely, and writes themselves evict then.
    pub fn of(max: u64) -> Brim {
        let headroom = (max / HEADROOM_PART).min(HEADROOM_MAX);
        Brim { evicts_above: max - headroom, evicts_to: max - 2 * headroom }
    }
}

/// The part of a limit that is kept free, at least once and at most twice.
const HEADROOM_PART: u64 = 256;
/// The most that is kept free, in bytes or keys.
const HEADROOM_MAX: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_shown() {
        for (name, order) in Order::NAMES {
            assert_eq!((Order::parse(&name.to_uppercase()), order.as_str()), (Some(order), name));
        }
        assert_eq!(Order::parse("none"), None);
    }

    #[test]
    fn a_brim_is_just_below_the_limit() {
        for (max, above, to) in [(0, 0, 0), (255, 255, 255), (256, 255, 254), (1 << 20, 1_044_480, 1_040_384)]
        {
            assert_eq!(Brim::of(max), Brim { evicts_above: above, evicts_to: to }, "{max}");
        }
        assert_eq!(Brim::of(u64::MAX).evicts_above, u64::MAX - HEADROOM_MAX);
    }
}
