//! What COMMAND shows in addition to a command's declaration: tips for clients of several servers, and what the command
//! does with its keys. Nothing in Larder depends on it, so it is in one place, in groups, rather than in every
//! declaration.

use crate::command::base::{Flags, Spec};

/// The tips of a command.
pub fn tips(spec: &Spec) -> &'static [&'static str] {
    find(TIPS, spec.name).unwrap_or_default()
}

/// What the command does with the keys: one list of flags for all of them, or one for each.
pub fn key_flags(spec: &Spec) -> &'static [&'static [&'static str]] {
    const WRITTEN: &[&[&str]] = &[&["RW", "access", "update"]];
    const READ: &[&[&str]] = &[&["RO", "access"]];
    let may_write = spec.is(Flags::WRITE) || spec.is(Flags::SCRIPT) && !spec.is(Flags::READONLY);
    let usual = if may_write { WRITTEN } else { READ };
    find(KEY_FLAGS, spec.name).unwrap_or(usual)
}

/// What commands have in common, and their names.
type Groups<T> = &'static [(T, &'static [&'static str])];

fn find<T: Copy>(groups: Groups<T>, name: &str) -> Option<T> {
    groups.iter().find(|(_, names)| names.contains(&name)).map(|(common, _)| *common)
}

static TIPS: Groups<&[&str]> = &[
    (
        &["nondeterministic_output"],
        &[
            "client|info",
            "client|list",
            "dump",
            "lastsave",
            "object|encoding",
            "object|freq",
            "object|idletime",
            "object|refcount",
            "pttl",
            "time",
            "ttl",
        ],
    ),
    (
        &["nondeterministic_output_order"],
        &["command", "command|docs", "command|info", "command|list", "module|list"],
    ),
    (
        &["request_policy:all_nodes", "response_policy:all_succeeded"],
        &["config|set", "latency|reset", "script|flush", "script|load", "slowlog|reset"],
    ),
    (&["request_policy:all_shards", "response_policy:agg_logical_and"], &["script|exists"]),
    (&["request_policy:all_shards", "response_policy:one_succeeded"], &["script|kill"]),
    (&["request_policy:all_shards", "response_policy:agg_sum"], &["dbsize"]),
    (&["request_policy:multi_shard", "response_policy:agg_sum"], &["del", "exists", "touch", "unlink"]),
    (
        &["request_policy:all_shards", "response_policy:all_succeeded"],
        &["flushall", "flushdb", "memory|purge", "ping"],
    ),
    (
        &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        &["info", "memory|doctor", "memory|malloc-stats", "memory|stats"],
    ),
    (&["request_policy:all_shards", "nondeterministic_output_order"], &["keys"]),
    (
        &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        &["latency|doctor", "latency|graph", "latency|histogram", "latency|history", "latency|latest"],
    ),
    (&["request_policy:multi_shard"], &["mget"]),
    (&["request_policy:multi_shard", "response_policy:all_succeeded"], &["mset", "msetex"]),
    (&["request_policy:multi_shard", "response_policy:agg_min"], &["msetnx"]),
    (&["request_policy:all_shards", "nondeterministic_output"], &["randomkey"]),
    (&["nondeterministic_output", "request_policy:special"], &["scan"]),
    (&["request_policy:all_nodes", "nondeterministic_output"], &["slowlog|get"]),
    (&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"], &["slowlog|len"]),
    (&["request_policy:all_shards", "response_policy:agg_min"], &["wait", "waitaof"]),
];

static KEY_FLAGS: Groups<&[&[&str]]> = &[
    (&[&["RW", "insert"]], &["append"]),
    (&[&["RO", "access"], &["OW", "update"]], &["copy"]),
    (&[&["RM", "delete"]], &["del", "delifeq", "unlink"]),
    (&[&["RW", "delete", "variable_flags"]], &["delex"]),
    (
        &[&["RO"]],
        &[
            "exists",
            "memory|usage",
            "object|encoding",
            "object|freq",
            "object|idletime",
            "object|refcount",
            "strlen",
            "touch",
            "type",
            "watch",
        ],
    ),
    (&[&["RW", "update"]], &["expire", "expireat", "persist", "pexpire", "pexpireat", "setrange"]),
    (&[&["RW", "access", "delete"]], &["getdel"]),
    (&[&["OW", "update"]], &["mset", "msetex", "psetex", "restore", "setex"]),
    (&[&["OW", "insert"]], &["msetnx", "setnx"]),
    (&[&["RW", "access", "delete"], &["OW", "update"]], &["rename"]),
    (&[&["RW", "access", "delete"], &["OW", "insert"]], &["renamenx"]),
    (&[&["RW", "access", "update", "variable_flags"]], &["set"]),
    (&[&["not_key"]], &["spublish", "ssubscribe", "sunsubscribe"]),
];

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::command::base::{Keys, table};
    use crate::command::reference::tips::*;

    #[test]
    fn what_is_told_agrees_with_redis() {
        let mut wrong = Vec::new();
        let theirs = include_str!("redis_7_0_tips.txt").lines().filter(|line| !line.starts_with('#'));
        for line in theirs {
            let [name, tips, flags] = line.split(' ').collect::<Vec<_>>().try_into().expect(line);
            let Some(spec) = table::find_full(name.as_bytes()) else { continue };
            let our_tips = crate::command::reference::tips::tests::tips(spec).join(",");
            let our_flags: Vec<String> = key_flags(spec).iter().map(|flags| flags.join(",")).collect();
            if tips.replace('-', "") != our_tips {
                wrong.push(format!("{name}: tips are {our_tips}, in Redis {tips}"));
            }
            if flags != "-" && flags != our_flags.join("/") {
                wrong.push(format!("{name}: key flags are {our_flags:?}, in Redis {flags}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn there_are_flags_for_every_key_that_has_its_own() {
        for spec in table::all().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)) {
            let own = key_flags(spec).len();
            let is_counted = matches!(spec.keys, Keys::Range { last, step: 1, .. } if last == own as isize);
            assert!(own == 1 || is_counted, "{}", spec.name);
        }
    }
}
