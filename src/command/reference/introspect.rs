//! COMMAND: describes the command table, in the form that clients know from Redis 7 and later.
//!
//! Everything here is made from the declarations, and from what [`tips`] adds to them.

use bytes::Bytes;

use crate::command::base::syntax;
use crate::command::base::syntax::{Argument, Kind, Repeats};
use crate::command::base::{Call, Flags, Group, KeyUse, Keys, Plan, Spec, reply, table};
use crate::error::Error;
use crate::resp::Reply;
use crate::store::pattern::Pattern;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "command",
    summary: "Describes every command to client libraries",
    complexity: "O(N), where N is the number of commands",
    arity: -1,
    tips: &["nondeterministic_output_order"],
    plan: |call| reply(Reply::Array(call.server.commands.all().map(info).collect())),
    subcommands: SUBCOMMANDS,
    ..COMMAND
}];

const COMMAND: Spec = Spec {
    group: Group::Server,
    since: "2.8.13",
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::CONNECTION),
    arity: 2,
    ..Spec::DEFAULT
};

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "command|count",
        summary: "Counts the commands",
        plan: |call| reply(Reply::Integer(call.server.commands.all().count() as i64)),
        ..COMMAND
    },
    Spec {
        name: "command|docs",
        syntax: "[command-name [command-name ...]]",
        summary: "Documents commands: summary, arguments, complexity",
        since: "7.0.0",
        complexity: "O(N), where N is the number of commands",
        arity: -2,
        tips: &["nondeterministic_output_order"],
        plan: docs_of,
        ..COMMAND
    },
    Spec {
        name: "command|getkeys",
        syntax: "command [arg [arg ...]]",
        summary: "Returns the keys in a command",
        complexity: "O(N), where N is the number of arguments",
        arity: -3,
        plan: |call| reply(keys_of(call, |_, _, key| Reply::Bulk(key.clone()))?),
        ..COMMAND
    },
    Spec {
        name: "command|getkeysandflags",
        syntax: "command [arg [arg ...]]",
        summary: "Returns the keys in a command, and what the command does with them",
        since: "7.0.0",
        complexity: "O(N), where N is the number of arguments",
        arity: -3,
        plan: |call| {
            let request = call.rest(2);
            reply(keys_of(call, |spec, nth, key| {
                Reply::Array(vec![Reply::Bulk(key.clone()), flags_of(spec, request, nth)])
            })?)
        },
        ..COMMAND
    },
    Spec {
        name: "command|help",
        summary: "Lists the subcommands",
        since: "5.0.0",
        plan: table::help,
        ..COMMAND
    },
    Spec {
        name: "command|info",
        syntax: "[command-name [command-name ...]]",
        summary: "Describes commands: arity, flags, where the keys are",
        complexity: "O(N), where N is the number of commands",
        arity: -2,
        tips: &["nondeterministic_output_order"],
        plan: info_of,
        ..COMMAND
    },
    Spec {
        name: "command|list",
        syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        summary: "Lists the names of all commands",
        since: "7.0.0",
        complexity: "O(N), where N is the number of commands",
        arity: -2,
        tips: &["nondeterministic_output_order"],
        plan: list,
        ..COMMAND
    },
];

fn info_of(call: &mut Call<'_>) -> Result<Plan, Error> {
    call.check_names(2)?;
    reply(Reply::Array(match call.rest(2) {
        [] => call.server.commands.all().map(info).collect(),
        names => {
            names.iter().map(|name| call.server.commands.find_full(name).map_or(Reply::Null, info)).collect()
        }
    }))
}

/// An entry of COMMAND INFO: name, arity, flags, first key, last key, step, ACL categories, tips, key specifications,
/// subcommands.
fn info(spec: &'static Spec) -> Reply {
    let (first, last, step) = spec.keys.legacy_range();
    Reply::Array(vec![
        Reply::text(spec.name),
        Reply::Integer(spec.arity.into()),
        words(spec.shown_flags()),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
        words(spec.categories()),
        Reply::Set(spec.tips.iter().map(|tip| Reply::text(*tip)).collect()),
        Reply::Set(key_specifications(spec)),
        // as in Redis: a list of subcommands, or an empty set
        match spec.subcommands {
            [] => Reply::Set(Vec::new()),
            subcommands => Reply::Array(subcommands.iter().map(info).collect()),
        },
    ])
}

fn words(words: impl Iterator<Item = &'static str>) -> Reply {
    Reply::Set(words.map(Reply::Simple).collect())
}

fn map(fields: impl IntoIterator<Item = (&'static str, Reply)>) -> Reply {
    Reply::Map(fields.into_iter().map(|(name, value)| (Reply::text(name), value)).collect())
}

fn integers<const N: usize>(fields: [(&'static str, i64); N]) -> Reply {
    map(fields.map(|(name, value)| (name, Reply::Integer(value))))
}

/// Where a search for keys begins, how it continues from there, and what the command does with them.
fn key_specifications(spec: &Spec) -> Vec<Reply> {
    let uses = spec.key_uses();
    let Some(&of_all) = uses.first() else { return Vec::new() };
    match spec.keys {
        Keys::None => Vec::new(),
        // each key has flags of its own
        Keys::Range { first, .. } if uses.len() > 1 => {
            let each = uses.into_iter().enumerate();
            each.map(|(at, key_use)| {
                let find = integers([("lastkey", 0), ("keystep", 1), ("limit", 0)]);
                key_specification(key_use, first + at, "range", find)
            })
            .collect()
        }
        Keys::Range { first, last, step } => {
            // counted from the first key, or from the end
            let last = if last < 0 { last as i64 } else { last as i64 - first as i64 };
            let find = integers([("lastkey", last), ("keystep", step as i64), ("limit", 0)]);
            vec![key_specification(of_all, first, "range", find)]
        }
        Keys::Counted { count, first, step } => {
            let first = first as i64 - count as i64;
            let find = integers([("keynumidx", 0), ("firstkey", first), ("keystep", step as i64)]);
            vec![key_specification(of_all, count, "keynum", find)]
        }
    }
}

fn key_specification(key_use: KeyUse, begin: usize, find_type: &'static str, find: Reply) -> Reply {
    let search = |kind, spec| map([("type", Reply::text(kind)), ("spec", spec)]);
    map([
        ("flags", words(key_use.shown())),
        ("begin_search", search("index", integers([("index", begin as i64)]))),
        ("find_keys", search(find_type, find)),
    ])
}

/// The flags of one of the keys in a request.
fn flags_of(spec: &Spec, request: &[Bytes], nth: usize) -> Reply {
    words(spec.key_use(request, nth).shown())
}

/// Unknown commands are left out.
fn docs_of(call: &mut Call<'_>) -> Result<Plan, Error> {
    call.check_names(2)?;
    reply(match call.rest(2) {
        [] => docs_map(call.server.commands.all()),
        names => docs_map(names.iter().filter_map(|name| call.server.commands.find_full(name))),
    })
}

fn docs_map(specs: impl Iterator<Item = &'static Spec>) -> Reply {
    Reply::Map(specs.map(|spec| (Reply::text(spec.name), docs(spec))).collect())
}

fn docs(spec: &'static Spec) -> Reply {
    let mut fields = vec![
        ("summary", Reply::text(spec.summary)),
        ("since", Reply::text(spec.since)),
        ("group", Reply::text(spec.group.as_str())),
        ("complexity", Reply::text(spec.complexity)),
    ];
    let arguments = syntax::parse(spec.syntax).unwrap_or_default();
    if !arguments.is_empty() {
        fields.push(("arguments", Reply::Array(arguments.iter().map(argument).collect())));
    }
    if !spec.subcommands.is_empty() {
        fields.push(("subcommands", docs_map(spec.subcommands.iter())));
    }
    map(fields)
}

fn argument(argument: &Argument) -> Reply {
    let mut fields =
        vec![("name", Reply::text(&argument.name)), ("type", Reply::text(argument.kind.as_str()))];
    let has_members = !argument.members.is_empty();
    if !has_members {
        fields.push(("display_text", Reply::text(&argument.name)));
    }
    if argument.kind == Kind::Key {
        fields.push(("key_spec_index", Reply::Integer(0)));
    }
    if let Some(token) = argument.token {
        fields.push(("token", Reply::text(token)));
    }
    let flags: Vec<&'static str> = [
        ("optional", argument.optional),
        ("multiple", argument.repeats.is_some()),
        ("multiple_token", argument.repeats == Some(Repeats::WithToken)),
    ]
    .into_iter()
    .filter_map(|(flag, applies)| applies.then_some(flag))
    .collect();
    if !flags.is_empty() {
        fields.push(("flags", words(flags.into_iter())));
    }
    if has_members {
        fields.push((
            "arguments",
            Reply::Array(
                argument.members.iter().map(crate::command::reference::introspect::argument).collect(),
            ),
        ));
    }
    map(fields)
}

/// The keys in the command after the subcommand, each turned into a reply by `show`.
fn keys_of(call: &Call<'_>, show: impl Fn(&'static Spec, usize, &Bytes) -> Reply) -> Result<Reply, Error> {
    let request = call.rest(2);
    let table::Lookup::Command(spec) = call.server.commands.lookup(request) else {
        return Err(Error::other("ERR Invalid command specified"));
    };
    if spec.keys == Keys::None {
        return Err(Error::other("ERR The command has no key arguments"));
    }
    if !spec.takes(request.len()) {
        return Err(Error::other("ERR Invalid number of arguments specified for command"));
    }
    let mut keys: Vec<&Bytes> = spec.keys.positions(request).filter_map(|at| request.get(at)).collect();
    let are_wrong = keys.is_empty() || !spec.keys.are_all_in(request);
    if are_wrong && spec.is(Flags::NO_MANDATORY_KEYS) {
        // as in Redis, also if it has fewer keys than its count says
        keys.clear();
    } else if are_wrong {
        return Err(Error::other("ERR Invalid arguments specified for command"));
    }
    Ok(Reply::Array(keys.into_iter().enumerate().map(|(nth, key)| show(spec, nth, key)).collect()))
}

/// The commands that COMMAND LIST names.
enum Filter {
    None,
    /// There are no modules.
    Module,
    Category(String),
    Name(Pattern),
}

fn list(call: &mut Call<'_>) -> Result<Plan, Error> {
    let filter = match call.rest(2) {
        [] => Filter::None,
        [_, kind, word] if call.is(2, "filterby") => match kind.to_ascii_lowercase().as_slice() {
            b"module" => Filter::Module,
            b"aclcat" => Filter::Category(format!("@{}", String::from_utf8_lossy(word).to_lowercase())),
            b"pattern" => Filter::Name(Pattern::ignoring_case(word)?),
            _ => return Err(Error::Syntax),
        },
        _ => return Err(Error::Syntax),
    };
    let admits = |spec: &Spec| match &filter {
        Filter::None => true,
        Filter::Module => false,
        Filter::Category(category) => spec.categories().any(|of_spec| of_spec == category),
        Filter::Name(pattern) => pattern.matches(spec.name.as_bytes()),
    };
    let names = call.server.commands.everything().filter(|spec| admits(spec));
    reply(Reply::Array(names.map(|spec| Reply::text(spec.name)).collect()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::command::COMMANDS;
    use crate::command::reference::introspect::*;
    use crate::command::tests::harness::Harness;

    /// As Redis 8.6.3 answers.
    #[test]
    fn keys_of_requests_and_what_becomes_of_them() {
        let mut h = Harness::new();
        let wrong = "-ERR Invalid arguments specified for command";
        for (request, answer) in [
            ("EVAL x 0", "[]"),
            ("EVAL x 5 a", "[]"),
            ("EVAL x -1 a", "[]"),
            ("EVAL x many a", "[]"),
            ("EVALSHA_RO x 3 a", "[]"),
            ("EVAL x 1 a", "[[\"a\", [RW, access, update]]]"),
            ("EVAL_RO x 1 a b", "[[\"a\", [RO, access]]]"),
            ("MSETEX 0 a b", wrong),
            ("MSETEX 5 a b", wrong),
            ("MSETEX many a b", wrong),
            ("MSETEX 1 a b EX 10", "[[\"a\", [OW, update]]]"),
            ("SET k v", "[[\"k\", [OW, update]]]"),
            ("SET k v ifEQ v", "[[\"k\", [RW, update]]]"),
            ("SET k v IFDNE v", "[[\"k\", [RW, update]]]"),
            ("SET k v GET", "[[\"k\", [RW, access, update]]]"),
            ("SET k v IFNE v GET", "[[\"k\", [RW, access, update]]]"),
            ("DELEX k", "[[\"k\", [RM, delete]]]"),
            ("DELEX k IFEQ v", "[[\"k\", [RW, delete]]]"),
            ("GET k", "[[\"k\", [RO, access]]]"),
            ("PING", "-ERR The command has no key arguments"),
        ] {
            h.expect(&[(&format!("COMMAND GETKEYSANDFLAGS {request}"), answer)]);
        }
        h.expect(&[("COMMAND GETKEYS EVAL x 0", "[]"), ("COMMAND GETKEYS EVAL x 1 a b", "[\"a\"]")]);
    }

    #[test]
    fn an_entry_has_the_shape_of_redis_7() {
        let mut harness = Harness::new();
        assert_eq!(
            harness.bytes("COMMAND INFO GET nope").replace("\\r\\n", " "),
            "*2 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags *2 +RO +access \
             $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys *4 $4 type $5 range $4 spec *6 \
             $7 lastkey :0 $7 keystep :1 $5 limit :0 *0 $-1 "
        );
        let mut harness = harness.resp3();
        assert_eq!(
            harness.bytes("COMMAND INFO client|id").replace("\\r\\n", " "),
            "*1 *10 $9 client|id :2 ~3 +noscript +loading +stale :0 :0 :0 ~2 +@slow +@connection ~0 ~0 ~0 "
        );
    }

    /// Where the keys are, as COMMAND INFO shows it: the three numbers, and the search.
    fn shown_keys(keys: Keys) -> String {
        let spec = Box::leak(Box::new(Spec { name: "x", keys, flags: Flags::WRITE, ..Spec::DEFAULT }));
        let Reply::Array(entry) = info(spec) else { panic!("not a list") };
        let shown = |reply: &Reply| crate::command::tests::harness::shown(reply);
        format!(
            "{} {} {} {} {}",
            shown(&entry[2]),
            shown(&entry[3]),
            shown(&entry[4]),
            shown(&entry[5]),
            shown(&entry[8])
        )
    }

    #[test]
    fn keys_are_told_twice() {
        assert_eq!(
            shown_keys(Keys::PAIRS),
            r#"[write] 1 -1 2 [{"flags": [RW, access, update], "begin_search": {"type": "index", "spec": {"index": 1}}, "find_keys": {"type": "range", "spec": {"lastkey": -1, "keystep": 2, "limit": 0}}}]"#
        );
        assert!(
            shown_keys(Keys::TWO).contains(r#"1 2 1 "#) && shown_keys(Keys::TWO).contains(r#""lastkey": 1"#)
        );
        let counted = shown_keys(Keys::Counted { count: 1, first: 2, step: 2 });
        assert!(counted.starts_with("[write, movablekeys] 0 0 0 "), "{counted}");
        assert!(
            counted.contains(r#"{"type": "keynum", "spec": {"keynumidx": 0, "firstkey": 1, "keystep": 2}}"#),
            "{counted}"
        );
    }

    #[test]
    fn all_commands_are_counted_listed_described_and_documented() {
        let mut harness = Harness::new();
        let count = COMMANDS.all().count();
        let subcommands: usize = COMMANDS.all().map(|spec| spec.subcommands.len()).sum();
        assert_eq!(harness.run("COMMAND COUNT"), Reply::Integer(count as i64));
        let length = |reply: Reply| match reply {
            Reply::Array(items) => items.len(),
            Reply::Map(pairs) => pairs.len(),
            other => panic!("not a list: {other:?}"),
        };
        assert_eq!(length(harness.run("COMMAND")), count);
        assert_eq!(length(harness.run("COMMAND INFO")), count);
        assert_eq!(length(harness.run("COMMAND DOCS")), count);
        assert_eq!(length(harness.run("COMMAND LIST")), count + subcommands);
    }

    #[test]
    fn lists_can_be_filtered() {
        let mut harness = Harness::new();
        harness.expect(&[
            ("COMMAND LIST FILTERBY PATTERN C*|GETN*", r#"["client|getname"]"#),
            ("COMMAND LIST FILTERBY MODULE json", "[]"),
            ("COMMAND LIST FILTERBY ACLCAT nope", "[]"),
            ("COMMAND LIST FILTERBY ACLCAT @connection", "[]"),
            ("COMMAND LIST FILTERBY what x", "-ERR syntax error"),
            ("COMMAND LIST FILTERBY PATTERN", "-ERR syntax error"),
            ("COMMAND LIST FILTERBY PATTERN x FILTERBY MODULE x", "-ERR syntax error"),
        ]);
        let Reply::Array(names) = harness.run("COMMAND LIST filterby aclcat CONNECTION") else {
            panic!("not a list")
        };
        assert!(names.contains(&Reply::text("ping")) && names.contains(&Reply::text("command|docs")));
        assert!(!names.contains(&Reply::text("get")) && !names.contains(&Reply::text("client")));
    }

    #[test]
    fn documentation() {
        Harness::new().expect(&[
            (
                "COMMAND DOCS nope echo",
                r#"{"echo": {"summary": "Returns the message", "since": "1.0.0", "group": "connection", "complexity": "O(1)", "arguments": [{"name": "message", "type": "string", "display_text": "message"}]}}"#,
            ),
            (
                "COMMAND DOCS client|no-evict",
                r#"{"client|no-evict": {"summary": "Protects the connection from being closed at maxmemory-clients", "since": "7.0.0", "group": "connection", "complexity": "O(1)", "arguments": [{"name": "on-or-off", "type": "oneof", "arguments": [{"name": "on", "type": "pure-token", "display_text": "on", "token": "ON"}, {"name": "off", "type": "pure-token", "display_text": "off", "token": "OFF"}]}]}}"#,
            ),
            (
                "COMMAND DOCS get",
                r#"{"get": {"summary": "Returns the value of a key", "since": "1.0.0", "group": "string", "complexity": "O(1)", "arguments": [{"name": "key", "type": "key", "display_text": "key", "key_spec_index": 0}]}}"#,
            ),
            ("COMMAND DOCS nope", "{}"),
        ]);
        let docs = Harness::new().bytes("COMMAND DOCS client");
        assert!(docs.contains("subcommands") && docs.contains("client|list"));
    }

    #[test]
    fn keys_in_a_command() {
        Harness::new().expect(&[
            ("COMMAND GETKEYS get k", r#"["k"]"#),
            ("COMMAND GETKEYSANDFLAGS get k", r#"[["k", [RO, access]]]"#),
            ("COMMAND GETKEYSANDFLAGS set k v ex 10", r#"[["k", [OW, update]]]"#),
            ("COMMAND GETKEYSANDFLAGS set k v get", r#"[["k", [RW, access, update]]]"#),
            ("COMMAND GETKEYSANDFLAGS rename a b", r#"[["a", [RW, access, delete]], ["b", [OW, update]]]"#),
            ("COMMAND GETKEYS get", "-ERR Invalid number of arguments specified for command"),
            ("COMMAND GETKEYS ping x", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS client id", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS client what", "-ERR Invalid command specified"),
            ("COMMAND GETKEYS nope k", "-ERR Invalid command specified"),
            ("COMMAND GETKEYS", "-ERR wrong number of arguments for 'command|getkeys' command"),
        ]);
    }
}
