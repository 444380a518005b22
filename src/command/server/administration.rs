//! Commands of operators and tools: saving, shutting down, and reports about features that Larder doesn't have, in the
//! form that tools expect.

use crate::command::base::session::Replies;
use crate::command::base::table::help;
use crate::command::base::{Call, Flags, Plan, Spec, control, reply};
use crate::command::server::lolwut;
use crate::engine::{Writer, clock};
use crate::error::Error;
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
        tips: &["nondeterministic_output"],
        plan: time,
        ..Spec::DEFAULT
    },
    Spec {
        name: "lastsave",
        summary: "Returns when the last checkpoint ended, in seconds since 1970",
        flags: LOADING_STALE.union(Flags::FAST).union(Flags::ADMINISTRATION),
        tips: &["nondeterministic_output"],
        plan: last_save,
        ..Spec::DEFAULT
    },
    Spec {
        name: "save",
        summary: "Writes a checkpoint and waits for it; writes are durable without it",
        complexity: "O(N) where N is the number of records that changed since the last checkpoint",
        flags: ADMIN.union(Flags::NO_MULTI).union(Flags::LONG).union(Flags::CONTROL),
        plan: |_| control(save),
        ..Spec::DEFAULT
    },
    Spec {
        name: "bgsave",
        syntax: "[SCHEDULE]",
        summary: "Writes a checkpoint in the background",
        arity: -1,
        flags: ADMIN.union(Flags::CONTROL),
        plan: |_| control(background_save),
        ..Spec::DEFAULT
    },
    Spec {
        name: "bgrewriteaof",
        summary: "Writes a checkpoint in the background, which shortens the journal",
        flags: ADMIN.union(Flags::CONTROL),
        plan: |_| control(rewrite_journal),
        ..Spec::DEFAULT
    },
    Spec {
        name: "shutdown",
        is_harmful: true,
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        summary: "Stops the server in order. All data is kept, whatever the options",
        complexity: "O(N) where N is the number of records that changed since the last checkpoint",
        arity: -1,
        flags: ADMIN_ALWAYS.union(Flags::NO_MULTI).union(Flags::ALLOW_BUSY).union(Flags::ENDS_SCRIPTS),
        plan: shutdown,
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
        summary: "Commands about modules",
        since: "4.0.0",
        complexity: "Depends on subcommand.",
        arity: -2,
        subcommands: MODULE,
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
        tips: &["nondeterministic_output_order"],
        plan: nothing,
        ..Spec::DEFAULT
    },
    Spec { name: "module|help", summary: "Lists the subcommands of MODULE", since: "5.0.0", ..HELP },
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

fn save(_: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    engine.checkpoint()?;
    reply(Reply::OK)
}

fn background_save(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    if call.args.len() > 2 || (call.args.len() == 2 && !call.is(1, "SCHEDULE")) {
        return Err(Error::Syntax);
    }
    // a running checkpoint is no reason to refuse: the next one begins when it is done
    let is_running = call.server.engine.status().checkpoint.running;
    engine.request_checkpoint();
    reply(Reply::Simple(if is_running { "Background saving scheduled" } else { "Background saving started" }))
}

fn rewrite_journal(_: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    engine.request_checkpoint();
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
    if !no_save && call.server.is_busy() {
        return Err(call.server.busy());
    }
    tracing::info!(client = call.session.client.id, "SHUTDOWN: stopping");
    call.server.shutdown.raise();
    // as Redis: the end of the connection is the answer
    call.session.replies = Replies::Off;
    call.session.closing = true;
    reply(Reply::OK)
}

fn nothing(_: &mut Call<'_>) -> Result<Plan, Error> {
    reply(Reply::Array(Vec::new()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::server::administration::*;
    use crate::command::tests::harness::Harness;

    #[test]
    fn time_is_in_seconds_and_microseconds() {
        let Reply::Array(parts) = Harness::new().run("TIME") else { panic!("not a list") };
        let numbers = parts.iter().map(|part| match part {
            Reply::Bulk(digits) => crate::record::number::parse_i64(digits).unwrap(),
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
        assert_eq!(harness.server.engine.reader().status().checkpoint.done, 1);
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
    fn what_there_is_none_of_is_empty() {
        Harness::new().expect(&[("MODULE LIST", "[]")]);
    }
}
