//! The commands that rules can name, set once by the owner of the command table.

use std::collections::{HashMap, HashSet};

/// The number of a command or subcommand: from 0, without gaps.
pub type CommandId = usize;

/// Redis's categories, in its order. ACL CAT lists all of them.
pub const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// Names and categories of all commands.
pub struct Vocabulary {
    /// By number. A subcommand (`config|get`) follows its container.
    names: Vec<&'static str>,
    by_name: HashMap<&'static str, CommandId>,
    /// Commands of Redis that Larder lacks. Rules may name them without effect, because rules that were written for a
    /// Redis do.
    absent: HashSet<&'static str>,
    /// Those of [`CATEGORIES`], followed by those that only Larder has.
    categories: Vec<(&'static str, Vec<CommandId>)>,
}

impl Vocabulary {
    /// Of full names with their categories, in the order of their numbers.
    pub fn new(commands: impl Iterator<Item = (&'static str, Vec<&'static str>)>) -> Vocabulary {
        let mut names = Vec::new();
        let mut categories: Vec<(&'static str, Vec<CommandId>)> =
            CATEGORIES.iter().map(|name| (*name, Vec::new())).collect();
        for (id, (name, its_categories)) in commands.enumerate() {
            names.push(name);
            for category in its_categories {
                match categories.iter_mut().find(|(known, _)| *known == category) {
                    Some((_, members)) => members.push(id),
                    None => categories.push((category, vec![id])),
                }
            }
        }
        let by_name = names.iter().enumerate().map(|(id, name)| (*name, id)).collect();
        Vocabulary { names, by_name, absent: HashSet::new(), categories }
    }

    /// The command or subcommand of a full name, in any case.
    pub fn find(&self, name: &[u8]) -> Option<CommandId> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.by_name.get(name.as_str()).copied()
    }

    /// Adds commands that rules may name although they are absent.
    pub fn with_absent(self, absent: impl Iterator<Item = &'static str>) -> Vocabulary {
        Vocabulary { absent: absent.collect(), ..self }
    }

    /// Whether a full name in lower case is that of an absent command or subcommand.
    pub fn is_absent(&self, name: &str) -> bool {
        self.absent.contains(name)
    }

    pub fn name(&self, id: CommandId) -> &'static str {
        self.names.get(id).copied().unwrap_or_default()
    }

    /// How many commands and subcommands there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names of all categories.
    pub fn categories(&self) -> impl Iterator<Item = &'static str> {
        self.categories.iter().map(|(name, _)| *name)
    }

    /// The commands and subcommands of a category, whose name may be in any case.
    pub fn category(&self, name: &[u8]) -> Option<(&'static str, &[CommandId])> {
        let found = self.categories.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        found.map(|(name, members)| (*name, members.as_slice()))
    }

    /// The subcommands of a command, none of most.
    pub fn subcommands(&self, id: CommandId) -> impl Iterator<Item = CommandId> {
        let container = self.name(id);
        let is_sub = move |id: &CommandId| {
            self.name(*id).strip_prefix(container).is_some_and(|rest| rest.starts_with('|'))
        };
        (id + 1..self.len()).take_while(is_sub)
    }
}

/// A set of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSet(Box<[u64]>);

impl CommandSet {
    /// The empty set, with room for so many commands.
    pub fn new(commands: usize) -> CommandSet {
        CommandSet(vec![0; commands.div_ceil(64)].into())
    }

    pub fn contains(&self, id: CommandId) -> bool {
        self.0.get(id / 64).is_some_and(|word| word & (1 << (id % 64)) != 0)
    }

    pub fn set(&mut self, id: CommandId, is_in: bool) {
        if let Some(word) = self.0.get_mut(id / 64) {
            let bit = 1 << (id % 64);
            if is_in { *word |= bit } else { *word &= !bit }
        }
    }

    pub fn set_all(&mut self, is_in: bool) {
        self.0.fill(if is_in { u64::MAX } else { 0 });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// Enough to write rules about.
    pub static SOME: LazyLock<Vocabulary> = LazyLock::new(|| {
        let all: [(&str, &[&str]); 9] = [
            ("auth", &["fast", "connection"]),
            ("config", &["slow"]),
            ("config|get", &["admin", "slow", "dangerous"]),
            ("config|set", &["admin", "slow", "dangerous"]),
            ("get", &["read", "string", "fast"]),
            ("getdel", &["write", "string", "fast"]),
            ("publish", &["pubsub", "fast"]),
            ("select", &["fast", "connection"]),
            ("set", &["write", "string", "slow"]),
        ];
        let vocabulary =
            Vocabulary::new(all.into_iter().map(|(name, categories)| (name, categories.to_vec())));
        vocabulary.with_absent(["hset", "cluster|info"].into_iter())
    });

    #[test]
    fn names_categories_and_subcommands() {
        let id = |name: &str| SOME.find(name.as_bytes()).unwrap();
        assert_eq!(id("CONFIG|Get"), 2);
        assert_eq!(SOME.find(b"get|x"), None);
        assert_eq!(SOME.subcommands(id("config")).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(SOME.subcommands(id("get")).count(), 0, "getdel is no subcommand of get");
        assert_eq!(SOME.category(b"READ"), Some(("read", &[id("get")][..])));
        assert_eq!(SOME.category(b"geo"), Some(("geo", &[][..])), "known, though nothing is in it");
        assert_eq!(SOME.category(b"nope"), None);
    }
}
