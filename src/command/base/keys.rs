//! The positions of the keys in a request, and what the command does with these keys.

use bitflags::bitflags;
use bytes::Bytes;

use crate::acl::Access;

/// The positions of the keys in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    None,
    /// From `first` to `last` (if negative, counted from the end), every `step` words; positions count from the name,
    /// which is 0.
    Range {
        first: usize,
        last: isize,
        step: usize,
    },
    /// As many keys as the word at `count` says, from `first` on, every `step` words.
    Counted {
        count: usize,
        first: usize,
        step: usize,
    },
}

impl Keys {
    /// The first word after the name.
    pub const ONE: Keys = Keys::Range { first: 1, last: 1, step: 1 };
    /// The two words after the name.
    pub const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };
    /// All words after the name.
    pub const ALL: Keys = Keys::Range { first: 1, last: -1, step: 1 };
    /// Every other word after the name.
    pub const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };

    /// Positions of the keys in a request, never outside of it: the command itself refuses a wrong count.
    pub fn positions(self, request: &[Bytes]) -> impl Iterator<Item = usize> + use<> {
        let (first, end, step) = self.span(request);
        (first..end.min(request.len())).step_by(step)
    }

    /// The first key, the last key and the step, as in COMMAND since Redis 2.8; zeros if these three numbers can't
    /// express the positions.
    pub fn legacy_range(self) -> (i64, i64, i64) {
        match self {
            Keys::Range { first, last, step } => (first as i64, last as i64, step as i64),
            Keys::None | Keys::Counted { .. } => (0, 0, 0),
        }
    }

    /// Whether a request has as many keys as its count says.
    pub fn are_all_in(self, request: &[Bytes]) -> bool {
        let (_, end, _) = self.span(request);
        end <= request.len()
    }

    /// The first position, the position after the last one, and the step.
    fn span(self, request: &[Bytes]) -> (usize, usize, usize) {
        match self {
            Keys::None => (0, 0, 1),
            Keys::Range { first, last, step } => {
                let last = if last < 0 {
                    request.len().checked_add_signed(last).unwrap_or(0)
                } else {
                    last as usize
                };
                (first, last + 1, step)
            }
            Keys::Counted { count, first, step } => {
                let number = request.get(count).and_then(|word| crate::record::number::parse_i64(word));
                let number = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
                (first, number.saturating_mul(step).saturating_add(first), step)
            }
        }
    }
}

bitflags! {
    /// What a command does with a key, in the words of COMMAND INFO. The last one is Larder's own and is not shown.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct KeyUse: u16 {
        /// Reads and writes the record.
        const RW = 1;
        /// Only reads it.
        const RO = 1 << 1;
        /// Overwrites it, whatever it was.
        const OW = 1 << 2;
        /// Removes it.
        const RM = 1 << 3;
        /// Returns or copies the value. A command that only returns whether the key exists does not have this flag.
        const ACCESS = 1 << 4;
        const INSERT = 1 << 5;
        const UPDATE = 1 << 6;
        const DELETE = 1 << 7;
        /// The word is not a key, but clients of a cluster use it to route the request.
        const NOT_KEY = 1 << 8;
        /// The options of a request decide what happens to the key.
        const VARIABLE_FLAGS = 1 << 9;
        /// The reply tells something about the value, though Redis's flags do not say so.
        const REVEALS = 1 << 10;
    }
}

impl KeyUse {
    pub const READ: KeyUse = KeyUse::RO.union(KeyUse::ACCESS);
    pub const READ_WRITE: KeyUse = KeyUse::RW.union(KeyUse::ACCESS).union(KeyUse::UPDATE);
    pub const APPEND: KeyUse = KeyUse::RW.union(KeyUse::INSERT);
    pub const CHANGE: KeyUse = KeyUse::RW.union(KeyUse::UPDATE);
    pub const CREATE: KeyUse = KeyUse::OW.union(KeyUse::INSERT);
    pub const OVERWRITE: KeyUse = KeyUse::OW.union(KeyUse::UPDATE);
    pub const REMOVE: KeyUse = KeyUse::RM.union(KeyUse::DELETE);
    /// Returns or moves the value, and removes the record.
    pub const TAKE: KeyUse = KeyUse::RW.union(KeyUse::ACCESS).union(KeyUse::DELETE);

    /// The access to the key that a user needs.
    pub fn access(self) -> Access {
        let mut access = Access::empty();
        access.set(Access::READ, self.intersects(KeyUse::ACCESS | KeyUse::REVEALS));
        access.set(Access::WRITE, self.intersects(KeyUse::INSERT | KeyUse::UPDATE | KeyUse::DELETE));
        access
    }

    /// The names that COMMAND INFO shows.
    pub fn shown(self) -> impl Iterator<Item = &'static str> {
        const SHOWN: [(KeyUse, &str); 10] = [
            (KeyUse::RW, "RW"),
            (KeyUse::RO, "RO"),
            (KeyUse::OW, "OW"),
            (KeyUse::RM, "RM"),
            (KeyUse::ACCESS, "access"),
            (KeyUse::INSERT, "insert"),
            (KeyUse::UPDATE, "update"),
            (KeyUse::DELETE, "delete"),
            (KeyUse::NOT_KEY, "not_key"),
            (KeyUse::VARIABLE_FLAGS, "variable_flags"),
        ];
        SHOWN.into_iter().filter_map(move |(flag, name)| self.contains(flag).then_some(name))
    }
}

/// What a command does with its keys.
#[derive(Clone, Copy)]
pub enum KeyUses {
    /// It reads and writes them, or only reads them, according to its flags.
    ByFlags,
    /// The same with all keys, or something else with each.
    Each(&'static [KeyUse]),
    /// COMMAND INFO shows the first; the second computes what a given request does.
    ByRequest(KeyUse, fn(&[Bytes]) -> KeyUse),
}

#[cfg(test)]
mod tests {
    use crate::command::base::keys::*;

    fn positions(keys: Keys, request: &str) -> Vec<usize> {
        let words: Vec<Bytes> =
            request.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        keys.positions(&words).collect()
    }

    #[test]
    fn keys_are_where_the_declaration_says() {
        assert_eq!(positions(Keys::None, "ping"), [0; 0]);
        assert_eq!(positions(Keys::ONE, "get k"), [1]);
        assert_eq!(positions(Keys::ALL, "del a b c"), [1, 2, 3]);
        assert_eq!(positions(Keys::PAIRS, "mset a 1 b 2"), [1, 3]);
        let counted = Keys::Counted { count: 1, first: 2, step: 2 };
        assert_eq!(positions(counted, "msetex 2 a 1 b 2 ex 10"), [2, 4]);
        for lie in ["msetex 99 a 1", "msetex -1 a 1", "msetex x a 1", "msetex"] {
            assert!(positions(counted, lie).len() <= 2, "{lie}");
        }
        let request = |words: &str| -> Vec<Bytes> {
            words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
        };
        assert!(counted.are_all_in(&request("msetex 2 a 1 b 2")));
        assert!(!counted.are_all_in(&request("msetex 3 a 1 b 2")));
        assert!(Keys::ALL.are_all_in(&request("del a b")));
    }
}
