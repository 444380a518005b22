//! Lua scripts: EVAL, EVALSHA, their read-only forms, and SCRIPT.

use std::sync::Arc;

use bytes::Bytes;

use crate::command::base::table;
use crate::command::base::{Call, Flags, Group, Keys, Plan, Spec, control, reply};
use crate::command::scripting::run::{end, keys_and_args, run_alone};
use crate::engine::Writer;
use crate::error::Error;
use crate::resp::Reply;
use crate::script::Script;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "eval",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Runs a Lua script",
        plan: |_| control(|call, engine| run_script(call, engine, Named::ByText, Access::Any)),
        ..WRITING
    },
    Spec {
        name: "evalsha",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Runs a cached Lua script",
        flags: WRITING.flags.union(Flags::BY_DIGEST),
        plan: |_| control(|call, engine| run_script(call, engine, Named::BySha, Access::Any)),
        ..WRITING
    },
    Spec {
        name: "eval_ro",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Runs a Lua script that only reads",
        plan: |_| control(|call, engine| run_script(call, engine, Named::ByText, Access::ReadOnly)),
        ..READING
    },
    Spec {
        name: "evalsha_ro",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Runs a cached Lua script that only reads",
        flags: READING.flags.union(Flags::BY_DIGEST),
        plan: |_| control(|call, engine| run_script(call, engine, Named::BySha, Access::ReadOnly)),
        ..READING
    },
    Spec {
        name: "script",
        summary: "Commands about scripts",
        group: Group::Scripting,
        since: "2.6.0",
        complexity: "Depends on the subcommand",
        arity: -2,
        subcommands: &[
            Spec {
                name: "script|debug",
                syntax: "<YES | SYNC | NO>",
                summary: "Accepts NO only, because there is no debugger for scripts",
                since: "3.2.0",
                arity: 3,
                plan: debug,
                ..MANAGING
            },
            Spec {
                name: "script|exists",
                syntax: "sha1 [sha1 ...]",
                summary: "Returns which scripts are cached",
                complexity: "O(N) where N is the number of scripts asked for",
                arity: -3,
                tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
                plan: exists,
                ..MANAGING
            },
            Spec {
                name: "script|flush",
                is_harmful: true,
                syntax: "[ASYNC | SYNC]",
                summary: "Forgets all scripts",
                complexity: "O(N) where N is the number of scripts",
                arity: -2,
                flags: MANAGING.flags.union(Flags::LONG),
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                plan: flush,
                ..MANAGING
            },
            Spec {
                name: "script|help",
                summary: "Returns the subcommands and what they do",
                since: "5.0.0",
                arity: 2,
                flags: Flags::LOADING.union(Flags::STALE),
                plan: table::help,
                ..MANAGING
            },
            Spec {
                name: "script|kill",
                is_harmful: true,
                summary: "Stops the running script, unless it has written",
                arity: 2,
                flags: MANAGING.flags.union(Flags::ALLOW_BUSY).union(Flags::ENDS_SCRIPTS),
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                plan: |call| end(call, false),
                ..MANAGING
            },
            Spec {
                name: "script|load",
                syntax: "script",
                summary: "Caches a script until SCRIPT FLUSH, and returns its SHA-1",
                complexity: "O(N) where N is the length of the script",
                arity: 3,
                flags: MANAGING.flags.union(Flags::STALE).union(Flags::LONG),
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                plan: load,
                ..MANAGING
            },
            Spec {
                name: "script|show",
                syntax: "sha1",
                summary: "Returns the text of a cached script (Valkey)",
                since: "8.0.0",
                arity: 3,
                flags: MANAGING.flags.union(Flags::STALE),
                plan: show,
                ..MANAGING
            },
        ],
        ..Spec::DEFAULT
    },
];

pub(super) const WRITING: Spec = Spec {
    group: Group::Scripting,
    since: "2.6.0",
    complexity: "Depends on the script",
    arity: -3,
    flags: RUNNING.union(Flags::MAY_REPLICATE),
    keys: Keys::Counted { count: 2, first: 3, step: 1 },
    ..Spec::DEFAULT
};

pub(super) const READING: Spec = Spec { since: "7.0.0", flags: RUNNING.union(Flags::READONLY), ..WRITING };

pub(super) const RUNNING: Flags = Flags::NOSCRIPT
    .union(Flags::STALE)
    .union(Flags::SKIP_MONITOR)
    .union(Flags::NO_MANDATORY_KEYS)
    .union(Flags::SCRIPT)
    .union(Flags::CONTROL)
    .union(Flags::LONG);

const MANAGING: Spec =
    Spec { group: Group::Scripting, since: "2.6.0", flags: Flags::NOSCRIPT, ..Spec::DEFAULT };

/// What the first argument is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    ByText,
    BySha,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Any,
    ReadOnly,
}

fn run_script(call: &mut Call<'_>, engine: Writer<'_>, named: Named, access: Access) -> Result<Plan, Error> {
    const SHA_DIGITS: usize = 40;
    if named == Named::BySha && call.arg(1).len() != SHA_DIGITS {
        return Err(no_script());
    }
    let (keys, args) = keys_and_args(call, call.integer(2)?)?;
    let scripts = &call.server.scripts;
    let memory_bytes = call.server.config.lua_memory_limit();
    let script = match named {
        Named::BySha => scripts.find(call.arg(1)).ok_or_else(no_script)?,
        Named::ByText => scripts.take(call.arg(1), memory_bytes)?,
    };
    if access == Access::ReadOnly && script.declared.is_some() && !script.only_reads() {
        return Err(Error::other("ERR Can not execute a script with write flag using *_ro command."));
    }
    let reads_only = access == Access::ReadOnly || script.only_reads();
    let (reply, reflects) = run_alone(call, engine, reads_only, |scripts, host| {
        scripts.run(&script, &keys, &args, memory_bytes, host)
    })?;
    Ok(Plan::Reflecting(reply, reflects))
}

fn no_script() -> Error {
    Error::other("NOSCRIPT No matching script. Please use EVAL.")
}

fn load(call: &mut Call<'_>) -> Result<Plan, Error> {
    let memory_bytes = call.server.config.lua_memory_limit();
    let script: Arc<Script> = call.server.scripts.load(call.arg(2), memory_bytes)?;
    reply(Reply::text(script.sha.clone()))
}

fn show(call: &mut Call<'_>) -> Result<Plan, Error> {
    let script = call.server.scripts.find(call.arg(2));
    let script = script.ok_or(Error::other("NOSCRIPT No matching script."))?;
    reply(Reply::Bulk(script.text.clone()))
}

fn exists(call: &mut Call<'_>) -> Result<Plan, Error> {
    let has = |sha: &Bytes| Reply::Integer(i64::from(call.server.scripts.has(sha)));
    reply(Reply::Array(call.rest(2).iter().map(has).collect()))
}

fn flush(call: &mut Call<'_>) -> Result<Plan, Error> {
    match call.args.len() {
        2 => {}
        3 if call.is(2, "SYNC") || call.is(2, "ASYNC") => {}
        _ => return Err(Error::other("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    call.server.scripts.flush();
    reply(Reply::OK)
}

fn debug(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.is(2, "NO") {
        return reply(Reply::OK);
    }
    if call.is(2, "YES") || call.is(2, "SYNC") {
        return Err(Error::other("ERR there is no debugger for scripts"));
    }
    Err(Error::other("ERR Use SCRIPT DEBUG YES/SYNC/NO"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use crate::command::tests::harness::{Harness, session};

    #[test]
    fn a_script_is_one_journal_entry() {
        let mut h = Harness::new();
        h.expect(&[("SET a 1", "OK")]);
        let before = h.server.engine.reader().last_seq();
        h.expect(&[(
            r#"EVAL "redis.call('INCR', 'a') redis.call('SET', 'b', '1') redis.call('DEL', 'a') return 1" 0"#,
            "1",
        )]);
        assert_eq!(h.server.engine.reader().last_seq(), before + 1);
        h.expect(&[
            ("MULTI", "OK"),
            ("SET c 1", "QUEUED"),
            (r#"EVAL "return redis.call('INCR', 'c')" 0"#, "QUEUED"),
            ("EXEC", "[OK, 2]"),
        ]);
        assert_eq!(h.server.engine.reader().last_seq(), before + 2);
        h.expect(&[(r#"EVAL "return redis.call('GET', 'c')" 0"#, "\"2\"")]);
        assert_eq!(h.server.engine.reader().last_seq(), before + 2);
    }

    #[test]
    fn time_stands_still_in_a_script() {
        let script = "redis.call('SET', 'a', '1', 'PX', 1) local n = 0 for i = 1, 3e6 do n = n + i end \
                      return redis.call('PTTL', 'a')";
        Harness::new().expect(&[(&format!(r#"EVAL "{script}" 0"#), "1")]);
    }

    #[test]
    fn a_script_can_write_no_more_than_a_limit() {
        let mut h = Harness::new();
        // the same key again and again: what counts is the size of the journal entry
        let script = "local v = string.rep('x', 8e6) for i = 1, 1000 do redis.call('SET', 'a', v) end";
        let answer = h.bytes(&format!(r#"EVAL "{script}" 0"#));
        assert!(answer.contains("a script may write no more than"), "{answer}");
        h.expect(&[("STRLEN a", "8000000")]);
    }

    #[test]
    fn a_json_store_takes_no_other_values_from_scripts() {
        let mut h = Harness::json();
        h.expect(&[(r#"EVAL "return redis.call('SET', 'a', '[1]')" 0"#, "OK")]);
        let answer = h.bytes(r#"EVAL "return redis.call('SET', 'a', 'text')" 0"#);
        assert!(answer.starts_with("-NOTJSON "), "{answer}");
    }

    /// As Valkey 9.1.2 answers.
    #[test]
    fn scripts_that_are_kept_can_be_shown() {
        Harness::new().expect(&[
            ("SCRIPT LOAD \"return 7\"", "\"59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9\""),
            ("SCRIPT SHOW 59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9", "\"return 7\""),
            ("SCRIPT SHOW 59B6AB2FBE0EE4B25733DE0F62E6CDA4899EF8E9", "\"return 7\""),
            ("SCRIPT SHOW ffffffffffffffffffffffffffffffffffffffff", "-NOSCRIPT No matching script."),
            ("SCRIPT SHOW 12", "-NOSCRIPT No matching script."),
            ("SCRIPT SHOW", "-ERR wrong number of arguments for 'script|show' command"),
        ]);
    }

    /// Valkey's name for the table `redis`.
    #[test]
    fn the_table_of_commands_has_two_names() {
        Harness::new().expect(&[
            (r#"EVAL "return server == redis and server.call('PING')" 0"#, "PONG"),
            (r#"EVAL "return server.error_reply('MY error')" 0"#, "-MY error"),
            (
                r#"EVAL "return select(2, pcall(function() server.call = 1 end))" 0"#,
                "\"user_script:1: Attempt to modify a readonly table\"",
            ),
        ]);
    }

    #[test]
    fn users_may_do_in_scripts_what_they_may_do() {
        let mut h = Harness::new();
        h.expect(&[("ACL SETUSER bo on >x ~a* +eval +get +set -set", "OK"), ("AUTH bo x", "OK")]);
        h.expect(&[
            (r#"EVAL "return redis.pcall('GET', 'ab')" 0"#, "nil"),
            (
                r#"EVAL "return redis.pcall('GET', 'b')" 0"#,
                "-ERR ACL failure in script: No permissions to access a key",
            ),
            (
                r#"EVAL "return redis.pcall('SET', 'ab', '1')" 0"#,
                "-ERR ACL failure in script: User bo has no permissions to run the 'set' command",
            ),
            (
                r#"EVAL "return {redis.acl_check_cmd('GET', 'ab'), redis.acl_check_cmd('GET', 'b')}" 0"#,
                "[1, nil]",
            ),
        ]);
    }

    #[test]
    fn an_error_is_counted_once_with_the_command_that_made_it() {
        let mut h = Harness::new();
        // `GET` is refused each time, since it wants a key
        for (script, eval_failed, errors) in [
            ("redis.pcall('GET')", 0, 1),
            ("return redis.pcall('GET')", 1, 2),
            ("redis.call('GET')", 2, 3),
            ("local e = redis.pcall('GET') error(e)", 3, 4),
            ("redis.pcall('GET') error('mine')", 4, 6),
        ] {
            h.run(&format!(r#"EVAL "{script}" 0"#));
            let commands: HashMap<_, _> = h.server.stats.by_command().into_iter().collect();
            assert_eq!(commands["eval"].failed, eval_failed, "{script}");
            assert_eq!(commands["get"].rejected, commands["eval"].calls, "{script}");
            assert_eq!(h.server.stats.by_error(), [("ERR".to_owned(), errors)], "{script}");
        }
    }

    #[test]
    fn what_a_script_selects_is_not_what_its_client_has_selected() {
        let mut h = Harness::new();
        let mut other = session(&h.server);
        h.expect(&[(r#"EVAL "return redis.call('SELECT', 3)" 0"#, "OK"), ("SET a 1", "OK")]);
        assert_eq!(h.session.client.store(), 0);
        h.swap(&mut other);
        h.expect(&[("EXISTS a", "1")]);
    }
}
