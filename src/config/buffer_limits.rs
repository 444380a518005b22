//! `client-output-buffer-limit`: how many bytes may wait to be sent, by class of client.
//!
//! The limit of `pubsub` applies to everything that is pushed to any client, and to the replies of subscribers; that of
//! `normal` applies to the replies of all others. By default there is no limit of `normal`: nothing more is read from a
//! client while it does not read its replies, and `maxmemory-clients` bounds what all clients hold together. There are
//! no replicas.

use std::fmt::{self, Display};

use super::units::parse_bytes;
use crate::limits::{UNREAD_BYTES_MAX, UNREAD_BYTES_SOFT, UNREAD_SOFT_S};

/// How many bytes may wait for one client; 0: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    /// How long it may exceed `soft_bytes`.
    pub soft_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferLimits {
    pub normal: Limit,
    pub replica: Limit,
    pub pubsub: Limit,
}

impl Default for BufferLimits {
    fn default() -> BufferLimits {
        BufferLimits {
            normal: Limit::default(),
            replica: Limit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_s: 60 },
            pubsub: Limit {
                hard_bytes: UNREAD_BYTES_MAX,
                soft_bytes: UNREAD_BYTES_SOFT,
                soft_s: UNREAD_SOFT_S,
            },
        }
    }
}

impl BufferLimits {
    /// Changes only the classes in the text, such as `pubsub 32mb 8mb 60`. The errors are Redis's.
    pub fn change(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        for part in words.chunks_exact(4) {
            let limit = match part[0].to_ascii_lowercase().as_str() {
                "normal" => &mut self.normal,
                "slave" | "replica" => &mut self.replica,
                "pubsub" => &mut self.pubsub,
                _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
            };
            let numbers = (parse_bytes(part[1]), parse_bytes(part[2]), part[3].parse());
            let (Ok(hard_bytes), Ok(soft_bytes), Ok(soft_s)) = numbers else {
                return Err(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into()
                );
            };
            *limit = Limit { hard_bytes, soft_bytes, soft_s };
        }
        Ok(())
    }
}

impl Display for BufferLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = [("normal", self.normal), (" slave", self.replica), (" pubsub", self.pubsub)];
        classes.into_iter().try_for_each(|(class, Limit { hard_bytes, soft_bytes, soft_s })| {
            write!(f, "{class} {hard_bytes} {soft_bytes} {soft_s}")
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn classes_change_one_by_one() {
        let mut limits = BufferLimits::default();
        assert_eq!(limits.to_string(), "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
        limits.change("pubsub 1mb 2k 3 Replica 4 5 6").unwrap();
        assert_eq!(limits.to_string(), "normal 0 0 0 slave 4 5 6 pubsub 1048576 2000 3");
        limits.change("").unwrap();
        for (text, why) in [
            ("foo 1 2 3", "Invalid client class specified in buffer limit configuration."),
            ("normal 1 2", "Wrong number of arguments in buffer limit configuration."),
            ("normal 1 x 2", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
        ] {
            assert_eq!(limits.change(text).unwrap_err(), why);
        }
    }
}
