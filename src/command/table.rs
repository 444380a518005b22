//! All commands there are.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;

use super::Spec;

/// The families, each in the file of its name.
static FAMILIES: &[&[Spec]] = &[
    super::string::COMMANDS,
    super::string_set::COMMANDS,
    super::counter::COMMANDS,
    super::increx::COMMANDS,
    super::key::COMMANDS,
    super::expiry::COMMANDS,
    super::scan::COMMANDS,
    super::object::COMMANDS,
    super::database::COMMANDS,
    super::memory::COMMANDS,
    super::store::COMMANDS,
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

/// Longer than any name.
const NAME_BYTES_MAX: usize = 32;

struct Commands {
    by_name: HashMap<&'static [u8], &'static Spec, foldhash::fast::FixedState>,
    sorted: Vec<&'static Spec>,
}

static COMMANDS: LazyLock<Commands> = LazyLock::new(|| {
    let mut sorted: Vec<&'static Spec> = FAMILIES.iter().flat_map(|family| family.iter()).collect();
    sorted.sort_unstable_by_key(|spec| spec.name);
    let by_name = sorted.iter().map(|spec| (spec.name.as_bytes(), *spec)).collect();
    Commands { by_name, sorted }
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Flags, Keys};

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
            assert_eq!(
                spec.syntax.is_empty() && spec.subcommands.is_empty(),
                spec.arity.abs() == 1 + name.matches('|').count() as i32 && spec.arity > 0,
                "{name}: syntax and arity"
            );
            assert!(!spec.is(Flags::WRITE | Flags::READONLY), "{name}: reads or writes");
            if spec.keys != Keys::None {
                assert!(spec.flags.intersects(Flags::WRITE | Flags::READONLY), "{name}: has keys");
            }
        }
    }
}
