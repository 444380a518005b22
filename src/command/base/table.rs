//! All commands there are.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;

use crate::command::base::{Call, Plan, Spec, reply};
use crate::error::Error;
use crate::resp::Reply;

/// The families, each in the file of its name.
static FAMILIES: &[&[Spec]] = &[
    crate::command::acl::COMMANDS,
    crate::command::server::administration::COMMANDS,
    crate::command::stores::backup::COMMANDS,
    crate::command::clients::COMMANDS,
    crate::command::server::config::COMMANDS,
    crate::command::clients::connection::COMMANDS,
    crate::command::strings::counter::COMMANDS,
    crate::command::stores::database::COMMANDS,
    crate::command::server::debug::COMMANDS,
    crate::command::keys::dump::COMMANDS,
    crate::command::keys::expiry::COMMANDS,
    crate::command::strings::increx::COMMANDS,
    crate::command::server::info::COMMANDS,
    crate::command::reference::introspect::COMMANDS,
    crate::command::json::array::COMMANDS,
    crate::command::json::get::COMMANDS,
    crate::command::json::measure::COMMANDS,
    crate::command::json::scalar::COMMANDS,
    crate::command::json::set::COMMANDS,
    crate::command::keys::whole::COMMANDS,
    crate::command::server::latency::COMMANDS,
    crate::command::server::memory::COMMANDS,
    crate::command::server::monitor::COMMANDS,
    crate::command::keys::object::COMMANDS,
    crate::command::pubsub::COMMANDS,
    crate::command::server::replication::COMMANDS,
    crate::command::strings::record::COMMANDS,
    crate::command::keys::scan::COMMANDS,
    crate::command::scripting::COMMANDS,
    crate::command::server::slow::COMMANDS,
    crate::command::stores::COMMANDS,
    crate::command::strings::edit::COMMANDS,
    crate::command::strings::set::COMMANDS,
    crate::command::transaction::COMMANDS,
];

/// What the first words of a request name.
#[derive(Clone, Copy)]
pub enum Lookup {
    Command(&'static Spec),
    UnknownCommand,
    /// A known container, of which the second word names no subcommand.
    UnknownSubcommand(&'static Spec),
}

/// All commands, without subcommands, by name.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    COMMANDS.sorted.iter().copied()
}

/// The command that a request begins with.
pub fn lookup(args: &[Bytes]) -> Lookup {
    let Some(spec) = args.first().and_then(|name| find(name)) else { return Lookup::UnknownCommand };
    if spec.subcommands.is_empty() || args.len() < 2 {
        return Lookup::Command(spec);
    }
    let word = &args[1];
    match spec.subcommands.iter().find(|sub| word.eq_ignore_ascii_case(sub.last_name().as_bytes())) {
        Some(sub) => Lookup::Command(sub),
        None => Lookup::UnknownSubcommand(spec),
    }
}

/// The command of a name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    COMMANDS.by_name.get(&*lower).copied()
}

/// A number for each command and subcommand, from 0 without gaps, constant as long as the program runs.
pub fn index(spec: &'static Spec) -> usize {
    COMMANDS.indexes.get(&std::ptr::from_ref(spec).addr()).copied().unwrap_or_default()
}

/// The command or subcommand of an [`index`].
pub fn by_index(index: usize) -> Option<&'static Spec> {
    COMMANDS.indexed.get(index).copied()
}

/// The full names of all commands and subcommands, by [`index`].
pub fn names() -> Vec<&'static str> {
    COMMANDS.indexed.iter().map(|spec| spec.name).collect()
}

/// The command or subcommand of a full name, in any case: `get`, `config|get`.
pub fn find_full(name: &[u8]) -> Option<&'static Spec> {
    let mut parts = name.splitn(2, |&byte| byte == b'|');
    let container = find(parts.next()?)?;
    match parts.next() {
        None => Some(container),
        Some(sub) => {
            container.subcommands.iter().find(|spec| sub.eq_ignore_ascii_case(spec.last_name().as_bytes()))
        }
    }
}

/// The plan of every HELP subcommand: lists what its container can do, according to the declarations.
pub fn help(call: &mut Call<'_>) -> Result<Plan, Error> {
    let container = call.spec.name.split('|').next().unwrap_or_default();
    let lines = COMMANDS.help.get(container).map(Vec::as_slice).unwrap_or_default();
    reply(Reply::Array(lines.iter().map(|line| Reply::Simple(line)).collect()))
}

/// Longer than any name.
const NAME_BYTES_MAX: usize = 32;

struct Commands {
    by_name: HashMap<&'static [u8], &'static Spec, foldhash::fast::FixedState>,
    sorted: Vec<&'static Spec>,
    /// With subcommands.
    indexed: Vec<&'static Spec>,
    /// The position of a declaration in `indexed`, by its address.
    indexes: HashMap<usize, usize, foldhash::fast::FixedState>,
    /// The replies of HELP, by container. Kept here because a simple string lives as long as the program.
    help: HashMap<&'static str, Vec<String>>,
}

static COMMANDS: LazyLock<Commands> = LazyLock::new(|| {
    let mut sorted: Vec<&'static Spec> = FAMILIES.iter().flat_map(|family| family.iter()).collect();
    sorted.sort_unstable_by_key(|spec| spec.name);
    let by_name = sorted.iter().map(|spec| (spec.name.as_bytes(), *spec)).collect();
    let help = sorted
        .iter()
        .filter(|spec| !spec.subcommands.is_empty())
        .map(|spec| (spec.name, help_lines(spec)))
        .collect();
    let indexed: Vec<_> =
        sorted.iter().flat_map(|spec| std::iter::once(*spec).chain(spec.subcommands)).collect();
    let indexes =
        indexed.iter().enumerate().map(|(at, spec)| (std::ptr::from_ref(*spec).addr(), at)).collect();
    Commands { by_name, sorted, indexed, indexes, help }
});

fn help_lines(container: &Spec) -> Vec<String> {
    let name = container.name.to_uppercase();
    let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for spec in container.subcommands {
        lines.push(format!("{} {}", spec.last_name().to_uppercase(), spec.syntax).trim_end().to_owned());
        lines.push(format!("    {}.", spec.summary));
    }
    lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::command::base::table::*;
    use crate::command::base::{Flags, Keys};

    fn everything() -> impl Iterator<Item = &'static Spec> {
        all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
    }

    #[test]
    fn names_are_unique_lower_case_and_short_enough_to_be_found() {
        for spec in all() {
            assert_eq!(spec.name, spec.name.to_lowercase());
            assert!(spec.name.len() <= NAME_BYTES_MAX);
            assert!(std::ptr::eq(find(spec.name.to_uppercase().as_bytes()).expect(spec.name), spec));
            for sub in spec.subcommands {
                assert!(sub.name.starts_with(&format!("{}|", spec.name)), "{}", sub.name);
            }
        }
    }

    #[test]
    fn declarations_are_complete() {
        for spec in everything() {
            let name = spec.name;
            assert!(!spec.summary.is_empty() && !spec.summary.ends_with('.'), "{name}: summary");
            assert_ne!(spec.arity, 0, "{name}: arity");
            // QUIT takes any words and ignores them
            let takes_none = spec.arity == 1 + name.matches('|').count() as i32 || name == "quit";
            assert_eq!(
                spec.syntax.is_empty() && spec.subcommands.is_empty(),
                takes_none,
                "{name}: syntax and arity"
            );
            assert!(!spec.is(Flags::WRITE | Flags::READONLY), "{name}: reads or writes");
            if spec.keys != Keys::None && name != "watch" && !spec.is(Flags::SCRIPT) {
                assert!(spec.flags.intersects(Flags::WRITE | Flags::READONLY), "{name}: has keys");
            }
        }
    }

    /// Where later versions of Redis differ from 7.0, and Larder follows them.
    const CHANGED_SINCE_7_0: [(&str, &str); 7] = [
        ("client|pause", "since"),
        // a command of one word is accepted, and answered that it has no keys
        ("command|getkeys", "arity"),
        ("command|getkeysandflags", "arity"),
        // channels of a shard are declared as keys there, for clients of a cluster
        ("spublish", "keys"),
        ("ssubscribe", "keys"),
        ("sunsubscribe", "keys"),
        // scripts may call it
        ("wait", "flags"),
    ];

    #[test]
    fn declarations_agree_with_redis() {
        let mut wrong = Vec::new();
        for line in include_str!("redis_7_0_commands.txt").lines().filter(|line| !line.starts_with('#')) {
            let [name, since, group, arity, flags, keys, categories] =
                line.split(' ').collect::<Vec<_>>().try_into().expect(line);
            let Some(spec) = find_full(name.as_bytes()) else { continue };
            // Larder is never loading, so it has no use for this one
            let flags = flags.split(',').filter(|flag| !matches!(*flag, "-" | "no_async_loading"));
            let ours = spec.shown_flags().collect::<Vec<_>>();
            let (first, last, step) = spec.keys.legacy_range();
            for (what, ours, theirs) in [
                ("since", spec.since.to_owned(), since.to_owned()),
                ("group", spec.group.as_str().to_owned(), group.to_owned()),
                ("arity", spec.arity.to_string(), arity.to_owned()),
                ("flags", sorted(ours.into_iter()), sorted(flags)),
                ("keys", format!("{first},{last},{step}"), keys.to_owned()),
                ("categories", sorted(spec.categories()), sorted(categories.split(','))),
            ] {
                if ours != theirs && !CHANGED_SINCE_7_0.contains(&(name, what)) {
                    wrong.push(format!("{name}: {what} is {ours}, in Redis {theirs}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn sorted<'a>(words: impl Iterator<Item = &'a str>) -> String {
        let mut words: Vec<&str> = words.collect();
        words.sort_unstable();
        words.join(",")
    }
}
