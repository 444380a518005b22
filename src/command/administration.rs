//! What operators and tools ask a server for: saving, shutting down, its place in a replication, and reports of things
//! that it doesn't have, which say so in the form that tools expect.

use super::session::Replies;
use super::table::help;
use super::{Call, Flags, Group, Plan, Spec, lolwut, reply};
use crate::engine::clock;
use crate::error::Error;
use crate::record::number;
use crate::resp::Reply;

const LOADING_STALE: Flags = Flags::LOADING.union(Flags::STALE);
const ADMIN: Flags = Flags::ADMIN.union(Flags::NOSCRIPT);
const ADMIN_ALWAYS: Flags = ADMIN.union(LOADING_STALE);

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "time",
        summary: "Returns the server's time: seconds since 1970, and microseconds",
        since: "2.6.0",
        flags: LOADING_STALE.union(Flags::FAST),
        plan: time,
        ..Spec::DEFAULT
    },
    Spec {
        name: "lastsave",
        summary: "Returns when the last checkpoint was done, in seconds since 1970",
        flags: LOADING_STALE.union(Flags::FAST).union(Flags::ADMINISTRATION),
        plan: last_save,
        ..Spec::DEFAULT
    },
    Spec {
        name: "save",
        summary: "Writes a checkpoint and waits for it. Nothing depends on it: writes are durable anyway",
        complexity: "O(N) where N is the number of records that changed since the last checkpoint",
        flags: ADMIN.union(Flags::NO_MULTI).union(Flags::LONG),
        plan: save,
        ..Spec::DEFAULT
    },
    Spec {
        name: "bgsave",
        syntax: "[SCHEDULE]",
        summary: "Has a checkpoint written in the background",
        arity: -1,
        flags: ADMIN,
        plan: background_save,
        ..Spec::DEFAULT
    },
    Spec {
        name: "bgrewriteaof",
        summary: "Has a checkpoint written in the background, which shortens the journal",
        flags: ADMIN,
        plan: rewrite_journal,
        ..Spec::DEFAULT
    },
    Spec {
        name: "shutdown",
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        summary: "Ends the server in order. It keeps all data, whatever the options",
        complexity: "O(N) where N is the number of records that changed since the last checkpoint",
        arity: -1,
        flags: ADMIN_ALWAYS.union(Flags::NO_MULTI).union(Flags::ALLOW_BUSY),
        plan: shutdown,
        ..Spec::DEFAULT
    },
    Spec {
        name: "role",
        summary: "Returns the role in a replication: always that of a master without replicas",
        since: "2.8.12",
        flags: LOADING_STALE.union(Flags::NOSCRIPT).union(Flags::FAST).union(Flags::ADMINISTRATION),
        plan: |_| reply(Reply::Array(vec![Reply::text("master"), Reply::Integer(0), Reply::Array(vec![])])),
        ..Spec::DEFAULT
    },
    Spec {
        name: "replicaof",
        syntax: "NO ONE",
        summary: "Does nothing: the server is nobody's replica, and can't become one",
        since: "5.0.0",
        arity: 3,
        flags: ADMIN.union(Flags::STALE),
        plan: replica_of,
        ..Spec::DEFAULT
    },
    Spec {
        name: "slaveof",
        syntax: "NO ONE",
        summary: "Does the same as REPLICAOF",
        arity: 3,
        flags: ADMIN.union(Flags::STALE),
        plan: replica_of,
        ..Spec::DEFAULT
    },
    Spec {
        name: "wait",
        syntax: "numreplicas timeout",
        summary: "Returns how many replicas have the writes so far: 0, at once, for there are none",
        group: Group::Generic,
        since: "3.0.0",
        arity: 3,
        flags: Flags::NOSCRIPT.union(Flags::CONNECTION),
        plan: wait,
        ..Spec::DEFAULT
    },
    Spec {
        name: "lolwut",
        syntax: "[VERSION version]",
        summary: "Returns a picture and the version",
        since: "5.0.0",
        arity: -1,
        flags: Flags::READONLY.union(Flags::FAST),
        plan: lolwut::lolwut,
        ..Spec::DEFAULT
    },
    Spec {
        name: "module",
        summary: "Asks about modules",
        since: "4.0.0",
        complexity: "Depends on subcommand.",
        arity: -2,
        subcommands: MODULE,
        ..Spec::DEFAULT
    },
    Spec {
        name: "slowlog",
        summary: "Asks about the slow log, which is always empty",
        since: "2.2.12",
        complexity: "Depends on subcommand.",
        arity: -2,
        subcommands: SLOWLOG,
        ..Spec::DEFAULT
    },
    Spec {
        name: "latency",
        summary: "Asks about the latency monitor, which is always off",
        since: "2.8.13",
        complexity: "Depends on subcommand.",
        arity: -2,
        subcommands: LATENCY,
        ..Spec::DEFAULT
    },
];

const HELP: Spec = Spec { arity: 2, flags: LOADING_STALE, plan: help, ..Spec::DEFAULT };

static MODULE: &[Spec] = &[
    Spec {
        name: "module|list",
        summary: "Returns the loaded modules: none",
        since: "4.0.0",
        complexity: "O(N) where N is the number of modules",
        arity: 2,
        flags: ADMIN,
        plan: nothing,
        ..Spec::DEFAULT
    },
    Spec { name: "module|help", summary: "Says what MODULE can do", since: "5.0.0", ..HELP },
];

static SLOWLOG: &[Spec] = &[
    Spec {
        name: "slowlog|get",
        syntax: "[count]",
        summary: "Returns the entries of the slow log: none",
        since: "2.2.12",
        complexity: "O(N) where N is the number of entries",
        arity: -2,
        flags: Flags::ADMIN.union(LOADING_STALE),
        plan: slow_entries,
        ..Spec::DEFAULT
    },
    Spec {
        name: "slowlog|len",
        summary: "Returns how many entries the slow log has: 0",
        since: "2.2.12",
        arity: 2,
        flags: Flags::ADMIN.union(LOADING_STALE),
        plan: |_| reply(Reply::Integer(0)),
        ..Spec::DEFAULT
    },
    Spec {
        name: "slowlog|reset",
        summary: "Does nothing: the slow log is empty",
        since: "2.2.12",
        arity: 2,
        flags: Flags::ADMIN.union(LOADING_STALE),
        plan: |_| reply(Reply::OK),
        ..Spec::DEFAULT
    },
    Spec { name: "slowlog|help", summary: "Says what SLOWLOG can do", since: "6.2.0", ..HELP },
];

static LATENCY: &[Spec] = &[
    Spec {
        name: "latency|latest",
        summary: "Returns the latest latency spikes: none",
        since: "2.8.13",
        arity: 2,
        flags: ADMIN_ALWAYS,
        plan: nothing,
        ..Spec::DEFAULT
    },
    Spec {
        name: "latency|history",
        syntax: "event",
        summary: "Returns the latency spikes of an event: none",
        since: "2.8.13",
        arity: 3,
        flags: ADMIN_ALWAYS,
        plan: nothing,
        ..Spec::DEFAULT
    },
    Spec {
        name: "latency|reset",
        syntax: "[event [event ...]]",
        summary: "Returns how many events were forgotten: 0",
        since: "2.8.13",
        arity: -2,
        flags: ADMIN_ALWAYS,
        plan: |_| reply(Reply::Integer(0)),
        ..Spec::DEFAULT
    },
    Spec { name: "latency|help", summary: "Says what LATENCY can do", since: "2.8.13", ..HELP },
];

fn time(_: &mut Call<'_>) -> Result<Plan, Error> {
    const PER_SECOND: u64 = 1_000_000;
    let now_us = clock::now_us();
    let parts = [now_us / PER_SECOND, now_us % PER_SECOND];
    reply(Reply::Array(parts.map(|part| Reply::text(part.to_string())).into()))
}

fn last_save(call: &mut Call<'_>) -> Result<Plan, Error> {
    reply(Reply::Integer((call.server.engine.status().checkpoint.last_ms / 1000) as i64))
}

fn save(call: &mut Call<'_>) -> Result<Plan, Error> {
    call.server.engine.checkpoint()?;
    reply(Reply::OK)
}

fn background_save(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.args.len() > 2 || (call.args.len() == 2 && !call.is(1, "SCHEDULE")) {
        return Err(Error::Syntax);
    }
    // one that runs is no reason to refuse: the next one begins when it is done
    let is_running = call.server.engine.status().checkpoint.running;
    call.server.engine.request_checkpoint();
    reply(Reply::Simple(if is_running { "Background saving scheduled" } else { "Background saving started" }))
}

fn rewrite_journal(call: &mut Call<'_>) -> Result<Plan, Error> {
    call.server.engine.request_checkpoint();
    reply(Reply::Simple("Background append only file rewriting started"))
}

fn shutdown(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (mut save, mut no_save, mut how, mut abort) = (false, false, false, false);
    for at in 1..call.args.len() {
        match () {
            () if call.is(at, "SAVE") => save = true,
            () if call.is(at, "NOSAVE") => no_save = true,
            () if call.is(at, "NOW") || call.is(at, "FORCE") => how = true,
            () if call.is(at, "ABORT") => abort = true,
            () => return Err(Error::Syntax),
        }
    }
    if save && no_save || abort && (save || no_save || how) {
        return Err(Error::Syntax);
    }
    if abort {
        return Err(Error::other("ERR No shutdown in progress."));
    }
    tracing::info!(client = call.session.client.id, "SHUTDOWN: stopping");
    call.server.shutdown.raise();
    // as Redis: the end of the connection is the answer
    call.session.replies = Replies::Off;
    call.session.closing = true;
    reply(Reply::OK)
}

fn replica_of(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.is(1, "NO") && call.is(2, "ONE") {
        return reply(Reply::OK);
    }
    match number::parse_i64(call.arg(2)) {
        Some(0..=65_535) => Err(Error::other("ERR there is no replication; only REPLICAOF NO ONE is known")),
        _ => Err(Error::other("ERR Invalid master port")),
    }
}

fn wait(call: &mut Call<'_>) -> Result<Plan, Error> {
    call.integer(1)?;
    match number::parse_i64(call.arg(2)) {
        None => Err(Error::other("ERR timeout is not an integer or out of range")),
        Some(..0) => Err(Error::other("ERR timeout is negative")),
        Some(0..) => reply(Reply::Integer(0)),
    }
}

fn slow_entries(call: &mut Call<'_>) -> Result<Plan, Error> {
    match call.args.len() {
        2 => nothing(call),
        3 if number::parse_i64(call.arg(2)).is_some_and(|count| count >= -1) => nothing(call),
        3 => Err(Error::other("ERR count should be greater than or equal to -1")),
        _ => Err(Error::other(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try SLOWLOG HELP.",
            call.text(1)
        ))),
    }
}

fn nothing(_: &mut Call<'_>) -> Result<Plan, Error> {
    reply(Reply::Array(Vec::new()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::command::testing::Harness;

    #[test]
    fn time_is_in_seconds_and_microseconds() {
        let Reply::Array(parts) = Harness::new().run("TIME") else { panic!("not a list") };
        let numbers = parts.iter().map(|part| match part {
            Reply::Bulk(digits) => number::parse_i64(digits).unwrap(),
            other => panic!("{other:?}"),
        });
        let numbers: Vec<i64> = numbers.collect();
        assert_eq!(numbers.len(), 2);
        assert!((1_577_836_800..10_000_000_000).contains(&numbers[0]), "{numbers:?}");
        assert!((0..1_000_000).contains(&numbers[1]), "{numbers:?}");
    }

    #[test]
    fn saving_is_a_checkpoint() {
        let mut harness = Harness::new();
        harness.expect(&[("SET k 1", "OK"), ("SAVE", "OK"), ("SAVE", "OK")]);
        assert_eq!(harness.server.engine.status().checkpoint.done, 1);
        let Reply::Integer(saved) = harness.run("LASTSAVE") else { panic!("not a number") };
        assert!(saved >= (harness.server.started_ms / 1000) as i64);
        harness.expect(&[
            ("BGSAVE now", "-ERR syntax error"),
            ("BGSAVE SCHEDULE now", "-ERR syntax error"),
            ("BGREWRITEAOF", "Background append only file rewriting started"),
        ]);
        assert!(
            matches!(harness.run("BGSAVE schedule"), Reply::Simple(answer) if answer.starts_with("Background saving s"))
        );
    }

    #[test]
    fn a_shutdown_is_answered_by_the_end_of_the_connection() {
        let mut harness = Harness::new();
        for wrong in ["SHUTDOWN later", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW", "SHUTDOWN NOSAVE ABORT"]
        {
            harness.expect(&[(wrong, "-ERR syntax error")]);
        }
        harness.expect(&[("SHUTDOWN ABORT", "-ERR No shutdown in progress.")]);
        assert!(!harness.server.shutdown.is_raised() && !harness.session.closing);
        assert_eq!(harness.send("SHUTDOWN NOSAVE NOW FORCE"), None);
        assert!(harness.server.shutdown.is_raised() && harness.session.closing);
    }

    #[test]
    fn nobody_is_a_replica() {
        Harness::new().expect(&[
            ("ROLE", r#"["master", 0, []]"#),
            ("REPLICAOF no one", "OK"),
            ("SLAVEOF NO ONE", "OK"),
            ("REPLICAOF host 70000", "-ERR Invalid master port"),
            ("REPLICAOF host port", "-ERR Invalid master port"),
            ("REPLICAOF host 6379", "-ERR there is no replication; only REPLICAOF NO ONE is known"),
        ]);
    }

    #[test]
    fn nobody_is_waited_for() {
        Harness::new().expect(&[
            ("WAIT 1 0", "0"),
            ("WAIT x 0", "-ERR value is not an integer or out of range"),
            ("WAIT 0 x", "-ERR timeout is not an integer or out of range"),
            ("WAIT 0 -1", "-ERR timeout is negative"),
        ]);
    }

    #[test]
    fn what_there_is_none_of_is_empty() {
        Harness::new().expect(&[
            ("MODULE LIST", "[]"),
            ("SLOWLOG GET", "[]"),
            ("SLOWLOG GET -1", "[]"),
            ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
            (
                "SLOWLOG GET 1 2",
                "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.",
            ),
            ("SLOWLOG LEN", "0"),
            ("SLOWLOG RESET", "OK"),
            ("LATENCY LATEST", "[]"),
            ("LATENCY HISTORY command", "[]"),
            ("LATENCY RESET command fork", "0"),
        ]);
    }
}
