//! The table of all commands.

use std::collections::HashMap;

use bytes::Bytes;

use crate::acl::Vocabulary;
use crate::command::base::{Call, Plan, Spec, reply};
use crate::error::Error;
use crate::resp::Reply;

/// Longer than any name.
pub const NAME_BYTES_MAX: usize = 32;

/// All commands, by name and by number.
pub struct Table {
    by_name: HashMap<&'static [u8], &'static Spec, foldhash::fast::FixedState>,
    sorted: Vec<&'static Spec>,
    /// With subcommands.
    indexed: Vec<&'static Spec>,
    /// The position of a declaration in `indexed`, by its address.
    indexes: HashMap<usize, usize, foldhash::fast::FixedState>,
    /// The replies of HELP, by container. Kept here because a simple string lives as long as the program.
    help: HashMap<&'static str, Vec<String>>,
    /// Why a command of Redis is absent, by its full name.
    absent: HashMap<&'static str, &'static str>,
    /// All commands, as rules of users name them.
    pub vocabulary: Vocabulary,
}

/// The command that the first words of a request name.
#[derive(Clone, Copy)]
pub enum Lookup {
    Command(&'static Spec),
    UnknownCommand,
    /// A command with subcommands, none of which has the name in the second word.
    UnknownSubcommand(&'static Spec),
}

impl Table {
    /// The table of some families. `absent` has the commands of Redis that are in none of them, each with the reason.
    pub fn new(families: &[&'static [Spec]], absent: HashMap<&'static str, &'static str>) -> Table {
        let mut sorted: Vec<&'static Spec> = families.iter().flat_map(|family| family.iter()).collect();
        sorted.sort_unstable_by_key(|spec| spec.name);
        let by_name = sorted.iter().map(|spec| (spec.name.as_bytes(), *spec)).collect();
        let containers = sorted.iter().filter(|spec| !spec.subcommands.is_empty());
        let help = containers.map(|spec| (spec.name, help_lines(spec))).collect();
        let indexed: Vec<_> = sorted.iter().flat_map(|spec| spec.with_subcommands()).collect();
        let indexes =
            indexed.iter().enumerate().map(|(at, spec)| (std::ptr::from_ref(*spec).addr(), at)).collect();
        let categories =
            |spec: &'static Spec| spec.categories().map(|name| name.trim_start_matches('@')).collect();
        let vocabulary = Vocabulary::new(indexed.iter().map(|spec| (spec.name, categories(spec))))
            .with_absent(absent.keys().copied());
        Table { by_name, sorted, indexed, indexes, help, absent, vocabulary }
    }

    /// All commands, without subcommands, by name.
    pub fn all(&self) -> impl Iterator<Item = &'static Spec> {
        self.sorted.iter().copied()
    }

    /// All commands and subcommands, by [`index`](Table::index).
    pub fn everything(&self) -> impl Iterator<Item = &'static Spec> {
        self.indexed.iter().copied()
    }

    /// The command that a request begins with.
    pub fn lookup(&self, args: &[Bytes]) -> Lookup {
        let Some(spec) = args.first().and_then(|name| self.find(name)) else { return Lookup::UnknownCommand };
        if spec.subcommands.is_empty() || args.len() < 2 {
            return Lookup::Command(spec);
        }
        match spec.subcommand(&args[1]) {
            Some(sub) => Lookup::Command(sub),
            None => Lookup::UnknownSubcommand(spec),
        }
    }

    /// The command of a name, in any case.
    pub fn find(&self, name: &[u8]) -> Option<&'static Spec> {
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(&*lower).copied()
    }

    /// The command or subcommand of a full name, in any case: `get`, `config|get`.
    pub fn find_full(&self, name: &[u8]) -> Option<&'static Spec> {
        let mut parts = name.splitn(2, |&byte| byte == b'|');
        let container = self.find(parts.next()?)?;
        match parts.next() {
            None => Some(container),
            Some(sub) => container.subcommand(sub),
        }
    }

    /// A number for each command and subcommand, from 0 without gaps, constant as long as the program runs.
    pub fn index(&self, spec: &'static Spec) -> usize {
        self.indexes.get(&std::ptr::from_ref(spec).addr()).copied().unwrap_or_default()
    }

    /// The command or subcommand of an [`index`](Table::index).
    pub fn by_index(&self, index: usize) -> Option<&'static Spec> {
        self.indexed.get(index).copied()
    }

    /// The full names of all commands and subcommands, by [`index`](Table::index).
    pub fn names(&self) -> Vec<&'static str> {
        self.everything().map(|spec| spec.name).collect()
    }

    /// Why a command of Redis is absent, by its full name in lower case.
    pub fn why_absent(&self, name: &str) -> Option<&'static str> {
        self.absent.get(name).copied()
    }
}

/// The plan of every HELP subcommand: lists the subcommands of its container, according to the declarations.
pub fn help(call: &mut Call<'_>) -> Result<Plan, Error> {
    let commands = call.server.commands;
    let container = call.spec.name.split('|').next().unwrap_or_default();
    let lines = commands.help.get(container).map(Vec::as_slice).unwrap_or_default();
    reply(Reply::Array(lines.iter().map(|line| Reply::Simple(line)).collect()))
}

fn help_lines(container: &Spec) -> Vec<String> {
    let name = container.name.to_uppercase();
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for spec in container.subcommands {
        lines.push(format!("{} {}", spec.last_name().to_uppercase(), spec.syntax).trim_end().to_owned());
        lines.push(format!("    {}.", spec.summary));
    }
    lines
}
