//! How a command is declared.

use bitflags::bitflags;

use crate::acl::Access;
use crate::command::base::reach::{Channels, Stores};
use crate::command::base::{Call, Plan};
use crate::engine::Claim;
use crate::error::Error;

/// A command, declared beside its code. The look-up, the arity check, COMMAND INFO, DOCS and GETKEYS, ACL categories,
/// labels of metrics and the command reference are made from it.
pub struct Spec {
    /// In lower case; for a subcommand `config|get`.
    pub name: &'static str,
    /// The arguments, as in Redis's documentation: `key [NX | XX]`.
    pub syntax: &'static str,
    pub summary: &'static str,
    pub group: Group,
    /// The version of Redis that has it (of Valkey where the summary says so, of Larder for STORE).
    pub since: &'static str,
    pub complexity: &'static str,
    /// The number of words of a request, including the name (for a subcommand: both names); if negative, the least
    /// number.
    pub arity: i32,
    pub flags: Flags,
    pub keys: Keys,
    pub stores: Stores,
    /// What the command does with all keys of its stores: its user needs that right to every key. Empty for a command
    /// that works only on declared keys, or that shows only what its user may see
    /// ([`permission::sight`](crate::command::base::permission::sight)).
    pub all_keys: Access,
    pub channels: Channels,
    pub plan: fn(&mut Call<'_>) -> Result<Plan, Error>,
    /// The subcommands. If there are any, `plan` answers a request without one.
    pub subcommands: &'static [Spec],
}

impl Spec {
    /// The defaults of a declaration.
    pub const DEFAULT: Spec = Spec {
        name: "",
        syntax: "",
        summary: "",
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        arity: 1,
        flags: Flags::empty(),
        keys: Keys::None,
        stores: Stores::ByFlags,
        all_keys: Access::empty(),
        channels: Channels::None,
        plan: |call| Err(call.arity_error()),
        subcommands: &[],
    };

    /// One, or two of a subcommand.
    pub fn words_of_name(&self) -> usize {
        1 + self.name.matches('|').count()
    }

    pub fn is(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }

    /// Whether it exists to end a script that takes too long.
    pub fn ends_scripts(&self) -> bool {
        matches!(self.name, "script|kill" | "shutdown")
    }

    /// Whether a request may have so many words.
    pub fn takes(&self, words: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// Whether others may notice that it ran, by a record or by a message. `CLIENT PAUSE WRITE` delays such commands,
    /// and a script that only reads may not call them. For commands that run scripts, each request decides
    /// ([`pause::has_effect`](crate::command::clients::pause::has_effect)).
    pub fn has_effect(&self) -> bool {
        self.flags.intersects(Flags::WRITE | Flags::MAY_REPLICATE)
    }

    /// Whether it may write.
    pub fn writes(&self) -> bool {
        self.flags.intersects(Flags::WRITE | Flags::SCRIPT)
    }

    /// How much of the last room the command may use.
    pub fn claim(&self) -> Claim {
        if self.is(Flags::FLUSHES) {
            Claim::Flush
        } else if self.is(Flags::REMOVES) {
            Claim::Removal
        } else {
            Claim::Ordinary
        }
    }

    /// The flags as COMMAND INFO names them.
    pub fn shown_flags(&self) -> impl Iterator<Item = &'static str> {
        let flags = match self.keys {
            // their positions can't be described by first, last and step
            Keys::Counted { .. } => self.flags | Flags::MOVABLEKEYS,
            Keys::None | Keys::Range { .. } => self.flags,
        };
        Flags::SHOWN.into_iter().filter_map(move |(flag, name)| flags.contains(flag).then_some(name))
    }

    /// The ACL categories, in Redis's order. Categories that are not flags follow from the group; a mere container of
    /// subcommands has none.
    pub fn categories(&self) -> impl Iterator<Item = &'static str> {
        let explicit = self.flags & (Flags::KEYSPACE | Flags::CONNECTION);
        let by_group = match self.group {
            Group::Generic | Group::Store => Flags::KEYSPACE,
            Group::Connection => Flags::CONNECTION,
            Group::String
            | Group::Server
            | Group::Transactions
            | Group::PubSub
            | Group::Json
            | Group::Scripting => Flags::empty(),
        };
        let is_container = !self.subcommands.is_empty();
        let kind = if is_container || !explicit.is_empty() { explicit } else { by_group };
        let is_fast = self.is(Flags::FAST);
        let is_admin = self.flags.intersects(Flags::ADMIN | Flags::ADMINISTRATION);
        [
            ("@keyspace", kind.contains(Flags::KEYSPACE)),
            ("@read", self.is(Flags::READONLY) && self.group != Group::Scripting),
            ("@write", self.is(Flags::WRITE)),
            ("@string", self.group == Group::String && !is_container),
            ("@admin", is_admin),
            ("@pubsub", self.is(Flags::PUBSUB)),
            ("@fast", is_fast),
            ("@slow", !is_fast),
            ("@dangerous", is_admin || self.is(Flags::DANGEROUS)),
            ("@connection", kind.contains(Flags::CONNECTION)),
            ("@transaction", self.group == Group::Transactions),
            ("@json", self.group == Group::Json),
            ("@scripting", self.group == Group::Scripting && !is_container),
        ]
        .into_iter()
        .filter_map(|(category, is_in)| is_in.then_some(category))
    }

    /// The subcommand's own name: `get` of `config|get`.
    pub fn last_name(&self) -> &'static str {
        self.name.rsplit('|').next().unwrap_or(self.name)
    }
}

bitflags! {
    /// Properties of a command. COMMAND INFO shows the names in lower case, except for the last ones.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u32 {
        const WRITE = 1;
        const READONLY = 1 << 1;
        const DENYOOM = 1 << 2;
        const ADMIN = 1 << 3;
        const NOSCRIPT = 1 << 4;
        const LOADING = 1 << 5;
        const STALE = 1 << 6;
        const FAST = 1 << 7;
        /// May be sent before AUTH.
        const NO_AUTH = 1 << 8;
        /// Others may notice that it ran although it writes no record itself: it publishes, or runs a script.
        const MAY_REPLICATE = 1 << 9;
        const MOVABLEKEYS = 1 << 10;
        const ALLOW_BUSY = 1 << 11;
        const NO_MULTI = 1 << 12;
        const SKIP_SLOWLOG = 1 << 13;
        const SENTINEL = 1 << 14;
        /// An ACL category rather than a flag: @dangerous.
        const DANGEROUS = 1 << 15;
        /// @keyspace, if the group doesn't say so.
        const KEYSPACE = 1 << 16;
        /// @connection, if the group doesn't say so.
        const CONNECTION = 1 << 17;
        /// @admin, of a command that anyone may use.
        const ADMINISTRATION = 1 << 18;
        /// Reads all of a value or makes a new one, which takes long for a long value. All commands on documents do.
        const WHOLE_VALUE = 1 << 19;
        /// Only removes records, so it is accepted when other writes are refused for lack of space.
        const REMOVES = 1 << 20;
        /// Only empties or drops whole stores, so it is accepted as long as any write is.
        const FLUSHES = 1 << 21;
        /// Of channels, not keys; also @pubsub.
        const PUBSUB = 1 << 24;
        const SKIP_MONITOR = 1 << 27;
        const NO_MANDATORY_KEYS = 1 << 28;
        /// Runs a script, which may write unless it is READONLY too.
        const SCRIPT = 1 << 29;
        /// May take long (a walk over many keys, a checkpoint), so it runs on a thread that may block.
        const LONG = 1 << 31;
    }
}

impl Flags {
    /// The flags that COMMAND INFO shows, with its names.
    pub const SHOWN: [(Flags, &'static str); 16] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_SLOWLOG, "skip_slowlog"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::MOVABLEKEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];
}

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
    pub fn positions(self, request: &[bytes::Bytes]) -> impl Iterator<Item = usize> + use<> {
        let (first, end, step) = self.span(request);
        (first..end.min(request.len())).step_by(step)
    }

    /// The first key, the last and the step, as clients know them since Redis 2.8; zeros if that can't tell it.
    pub fn legacy_range(self) -> (i64, i64, i64) {
        match self {
            Keys::Range { first, last, step } => (first as i64, last as i64, step as i64),
            Keys::None | Keys::Counted { .. } => (0, 0, 0),
        }
    }

    /// Whether a request has as many keys as it says.
    pub fn are_all_in(self, request: &[bytes::Bytes]) -> bool {
        let (_, end, _) = self.span(request);
        end <= request.len()
    }

    /// The first position, the one behind the last, and the step.
    fn span(self, request: &[bytes::Bytes]) -> (usize, usize, usize) {
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

/// Families of commands, as COMMAND DOCS and the documentation name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    String,
    Generic,
    Connection,
    Server,
    Scripting,
    Store,
    Transactions,
    PubSub,
    Json,
}

impl Group {
    pub fn as_str(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Generic => "generic",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::Store => "store",
            Group::Transactions => "transactions",
            Group::PubSub => "pubsub",
            Group::Json => "json",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::command::base::spec::*;
    use bytes::Bytes;

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
