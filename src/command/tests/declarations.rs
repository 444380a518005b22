//! Declarations are complete, and agree with those of Redis.

use crate::command::COMMANDS;
use crate::command::base::table::NAME_BYTES_MAX;
use crate::command::base::{Flags, KeyUse, Keys};
use crate::rooms::sources;

#[test]
fn names_are_unique_lower_case_and_short_enough_to_be_found() {
    for spec in COMMANDS.all() {
        assert_eq!(spec.name, spec.name.to_lowercase());
        assert!(spec.name.len() <= NAME_BYTES_MAX);
        assert!(std::ptr::eq(COMMANDS.find(spec.name.to_uppercase().as_bytes()).expect(spec.name), spec));
        for sub in spec.subcommands {
            assert!(sub.name.starts_with(&format!("{}|", spec.name)), "{}", sub.name);
        }
    }
}

#[test]
fn declarations_are_complete() {
    for spec in COMMANDS.everything() {
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
        let Some(spec) = COMMANDS.find_full(name.as_bytes()) else { continue };
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

#[test]
fn tips_and_key_flags_agree_with_redis() {
    let mut wrong = Vec::new();
    let theirs = include_str!("redis_7_0_tips.txt").lines().filter(|line| !line.starts_with('#'));
    for line in theirs {
        let [name, tips, flags] = line.split(' ').collect::<Vec<_>>().try_into().expect(line);
        let Some(spec) = COMMANDS.find_full(name.as_bytes()) else { continue };
        let our_tips = spec.tips.join(",");
        let shown = |key_use: KeyUse| key_use.shown().collect::<Vec<_>>().join(",");
        let our_flags = spec.key_uses().into_iter().map(shown).collect::<Vec<_>>().join("/");
        if tips.replace('-', "") != our_tips {
            wrong.push(format!("{name}: tips are {our_tips}, in Redis {tips}"));
        }
        if flags != "-" && flags != our_flags {
            wrong.push(format!("{name}: key flags are {our_flags}, in Redis {flags}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_uses_for_every_key_that_has_its_own() {
    for spec in COMMANDS.everything() {
        let own = spec.key_uses().len();
        let is_counted = matches!(spec.keys, Keys::Range { last, step: 1, .. } if last == own as isize);
        assert!(own == 1 || is_counted, "{}", spec.name);
    }
}

/// Whatever is known about a command is in its declaration. Code that compares names would be knowledge elsewhere.
#[test]
fn nobody_asks_for_a_command_by_its_name() {
    const ASKS: [&str; 7] = [
        "match spec.name",
        "spec.name ==",
        "spec.name !=",
        "spec.name.starts_with(",
        "spec.name.ends_with(",
        "spec.name.contains(",
        "contains(&spec.name)",
    ];
    let mut found = Vec::new();
    for (path, text) in sources("src") {
        if path.starts_with("command/tests/") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| ASKS.iter().any(|asks| line.contains(asks)));
        found.extend(lines.map(|line| format!("{path}: {}", line.trim())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A person is asked before a dangerous command runs, except for those that show something or lose nothing.
#[test]
fn dangerous_commands_are_harmful_or_lose_nothing() {
    const LOSE_NOTHING: [&str; 29] = [
        "acl|dryrun",
        "acl|getuser",
        "acl|list",
        "acl|log",
        "acl|save",
        "acl|users",
        "backup",
        "bgrewriteaof",
        "bgsave",
        "client|list",
        "client|no-evict",
        "client|unblock",
        "client|unpause",
        "config|get",
        "info",
        "keys",
        "lastsave",
        "latency|doctor",
        "latency|graph",
        "latency|histogram",
        "latency|history",
        "latency|latest",
        "module|list",
        "monitor",
        "restore",
        "role",
        "save",
        "slowlog|get",
        "slowlog|len",
    ];
    for spec in COMMANDS.everything() {
        let is_dangerous =
            spec.categories().any(|category| category == "@dangerous") || spec.is(Flags::FLUSHES);
        let loses_nothing = LOSE_NOTHING.contains(&spec.name) || spec.name == "store|rename";
        if is_dangerous {
            assert!(spec.is_harmful != loses_nothing, "{}", spec.name);
        }
    }
}
