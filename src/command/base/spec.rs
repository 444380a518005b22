//! How a command is declared.

use bytes::Bytes;

use crate::acl::Access;
use crate::command::base::reach::{Channels, Stores};
use crate::command::base::{Call, Flags, KeyUse, KeyUses, Keys, Plan};
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
    /// The version of Redis that has it (of Valkey where the summary says so, of Larder where Redis lacks the command).
    pub since: &'static str,
    pub complexity: &'static str,
    /// The number of words of a request, including the name (for a subcommand: both names). A negative number is a
    /// minimum.
    pub arity: i32,
    pub flags: Flags,
    pub keys: Keys,
    pub key_uses: KeyUses,
    pub stores: Stores,
    /// What the command does with all keys of its stores: its user needs that right to every key. Empty for a command
    /// that works only on declared keys, or that shows only what its user may see
    /// ([`permission::sight`](crate::command::base::permission::sight)).
    pub all_keys: Access,
    pub channels: Channels,
    pub secrets: Secrets,
    /// Whether it empties, stops or changes something for everybody, so that a person should be asked before it runs.
    pub is_harmful: bool,
    /// Hints of COMMAND for clients that use several servers. Nothing in Larder depends on them.
    pub tips: &'static [&'static str],
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
        key_uses: KeyUses::ByFlags,
        stores: Stores::ByFlags,
        all_keys: Access::empty(),
        channels: Channels::None,
        secrets: Secrets::None,
        is_harmful: false,
        tips: &[],
        plan: |call| Err(call.arity_error()),
        subcommands: &[],
    };

    /// The number of words of its name: one, or two for a subcommand.
    pub fn words_of_name(&self) -> usize {
        1 + self.name.matches('|').count()
    }

    pub fn is(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }

    /// The command, then its subcommands.
    pub fn with_subcommands(&'static self) -> impl Iterator<Item = &'static Spec> {
        std::iter::once(self).chain(self.subcommands)
    }

    /// The subcommand of a word, in any case.
    pub fn subcommand(&self, word: &[u8]) -> Option<&'static Spec> {
        self.subcommands.iter().find(|spec| word.eq_ignore_ascii_case(spec.last_name().as_bytes()))
    }

    pub fn is_subcommand(&self) -> bool {
        self.name.contains('|')
    }

    /// Whether it reads a whole value or creates a new one, which takes long for a long value. All commands on
    /// documents do this.
    pub fn goes_through_values(&self) -> bool {
        self.group == Group::Json || self.is(Flags::WHOLE_VALUE)
    }

    /// What the command does with its keys, as COMMAND INFO shows it: the same with all of them, or something else with
    /// each.
    pub fn key_uses(&self) -> Vec<KeyUse> {
        match self.key_uses {
            KeyUses::Each(uses) => uses.to_vec(),
            KeyUses::ByRequest(shown, _) => vec![shown],
            KeyUses::ByFlags => vec![self.key_use_by_flags()],
        }
    }

    /// What a request does with its key of this number.
    pub fn key_use(&self, request: &[Bytes], nth: usize) -> KeyUse {
        match self.key_uses {
            KeyUses::Each(uses) => uses.get(nth).or(uses.first()).copied().unwrap_or(KeyUse::READ_WRITE),
            KeyUses::ByRequest(_, of) => of(request),
            KeyUses::ByFlags => self.key_use_by_flags(),
        }
    }

    fn key_use_by_flags(&self) -> KeyUse {
        let may_write = self.writes() && !self.is(Flags::READONLY);
        if may_write { KeyUse::READ_WRITE } else { KeyUse::READ }
    }

    /// Whether a request may have so many words.
    pub fn takes(&self, words: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// Whether other clients may notice that it ran, by a record or by a message. `CLIENT PAUSE WRITE` delays such
    /// commands, and a script that only reads may not call them. For commands that run scripts, each request decides
    /// ([`pause::has_effect`](crate::command::base::pause::has_effect)).
    pub fn has_effect(&self) -> bool {
        self.flags.intersects(Flags::WRITE | Flags::MAY_REPLICATE)
    }

    /// Whether some of its words may be secrets.
    pub fn hides(&self) -> bool {
        !matches!(self.secrets, Secrets::None)
    }

    /// Whether it may write.
    pub fn writes(&self) -> bool {
        self.flags.intersects(Flags::WRITE | Flags::SCRIPT)
    }

    /// How much of the reserved space the command may use.
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

/// The words of a request that are secret. Neither MONITOR nor the slow log may show them.
#[derive(Clone, Copy)]
pub enum Secrets {
    None,
    /// All words from a position on.
    From(usize),
    /// So many words after each option of which this is true, which may be anywhere after the second word.
    After(fn(&Bytes) -> bool, usize),
}

impl Secrets {
    /// Whether the word at a position is one.
    pub fn has(self, request: &[Bytes], at: usize) -> bool {
        match self {
            Secrets::None => false,
            Secrets::From(first) => at >= first,
            Secrets::After(is_option, words) => {
                at < request.len() && (1..=words).any(|back| at >= 2 + back && is_option(&request[at - back]))
            }
        }
    }

    /// The position of the first one.
    pub fn first(self, request: &[Bytes]) -> Option<usize> {
        (0..request.len()).find(|at| self.has(request, *at))
    }
}
