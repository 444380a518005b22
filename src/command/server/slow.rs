//! SLOWLOG: the commands that took longer than `slowlog-log-slower-than`.

use crate::command::base::table::help;
use crate::command::base::{Call, Flags, Plan, Spec, permission, reply};
use crate::error::Error;
use crate::record::number;
use crate::resp::Reply;
use crate::telemetry::slow::SlowCommand;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "slowlog",
    summary: "Commands about the slow log",
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Spec::DEFAULT
}];

const SUBCOMMAND: Spec = Spec {
    since: "2.2.12",
    arity: 2,
    flags: Flags::ADMIN.union(Flags::LOADING).union(Flags::STALE),
    ..Spec::DEFAULT
};

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "slowlog|get",
        syntax: "[count]",
        summary: "Returns the latest entries: id, time, microseconds, words, client's address and name",
        complexity: "O(N) where N is the number of entries returned",
        arity: -2,
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
        plan: get,
        ..SUBCOMMAND
    },
    Spec {
        name: "slowlog|len",
        summary: "Counts the entries",
        tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        plan: |call| reply(Reply::Integer(call.server.slow.len() as i64)),
        ..SUBCOMMAND
    },
    Spec {
        name: "slowlog|reset",
        is_harmful: true,
        summary: "Removes all entries",
        complexity: "O(N) where N is the number of entries",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        plan: |call| {
            call.server.slow.clear();
            reply(Reply::OK)
        },
        ..SUBCOMMAND
    },
    Spec {
        name: "slowlog|help",
        summary: "Lists the subcommands",
        since: "6.2.0",
        flags: Flags::LOADING.union(Flags::STALE),
        plan: help,
        ..SUBCOMMAND
    },
];

fn get(call: &mut Call<'_>) -> Result<Plan, Error> {
    const SHOWN_UNASKED: usize = 10;
    let count = match call.args.len() {
        2 => SHOWN_UNASKED,
        3 => match number::parse_i64(call.arg(2)) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => count as usize,
            _ => return Err(Error::other("ERR count should be greater than or equal to -1")),
        },
        _ => {
            return Err(Error::other(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try SLOWLOG HELP.",
                call.text(1)
            )));
        }
    };
    let sees_all = call.session.account.may_see_everything();
    let entries = call.server.slow.entries(count).into_iter();
    reply(Reply::Array(
        entries.map(|entry| shown(if sees_all { entry } else { without_words(entry) })).collect(),
    ))
}

fn without_words(entry: SlowCommand) -> SlowCommand {
    SlowCommand { words: permission::without_words(entry.words), ..entry }
}

fn shown(entry: SlowCommand) -> Reply {
    Reply::Array(vec![
        Reply::Integer(entry.id as i64),
        Reply::Integer(entry.at_s as i64),
        Reply::Integer(entry.took_us as i64),
        Reply::Array(entry.words.into_iter().map(Reply::Bulk).collect()),
        Reply::text(entry.client_address),
        Reply::text(entry.client_name),
    ])
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::{Harness, shown};
    use crate::resp::Reply;

    /// The words of each entry, latest first.
    fn logged(h: &mut Harness) -> Vec<String> {
        let Reply::Array(entries) = h.run("SLOWLOG GET -1") else { panic!("not a list") };
        let words = entries.iter().map(|entry| match entry {
            Reply::Array(fields) => shown(&fields[3]),
            other => panic!("not an entry: {other:?}"),
        });
        words.collect()
    }

    #[test]
    fn what_is_slow_is_logged_with_its_client() {
        let mut h = Harness::new();
        h.expect(&[
            ("SLOWLOG LEN", "0"),
            ("CLIENT SETNAME me", "OK"),
            ("CONFIG SET slowlog-log-slower-than 0", "OK"),
            ("SET k 1", "OK"),
            ("CONFIG SET slowlog-log-slower-than -1", "OK"),
            ("SLOWLOG LEN", "2"),
        ]);
        let Reply::Array(entries) = h.run("SLOWLOG GET 2") else { panic!("not a list") };
        let Reply::Array(entry) = &entries[0] else { panic!("not an entry") };
        assert_eq!(entries.len(), 2);
        assert_eq!(shown(&entry[0]), "1");
        assert_eq!(shown(&entry[3]), r#"["SET", "k", "1"]"#);
        assert_eq!(shown(&entry[5]), r#""me""#);
        h.expect(&[("SLOWLOG RESET", "OK"), ("SLOWLOG GET", "[]")]);
    }

    #[test]
    fn a_transaction_is_logged_command_by_command() {
        let mut h = Harness::new();
        h.expect(&[
            ("MULTI", "OK"),
            ("CONFIG SET slowlog-log-slower-than 0", "QUEUED"),
            ("INCR k", "QUEUED"),
            ("CONFIG SET slowlog-log-slower-than -1", "QUEUED"),
            ("EXEC", "[OK, 1, OK]"),
        ]);
        let logged = logged(&mut h);
        assert_eq!(logged[0], r#"["INCR", "k"]"#, "{logged:?}");
    }

    #[test]
    fn secrets_are_not_logged() {
        let mut h = Harness::new();
        h.run("CONFIG SET slowlog-log-slower-than 0");
        for (line, expected) in [
            (
                "CONFIG SET timeout 0 requirepass s",
                r#"["CONFIG", "SET", "timeout", "0", "requirepass", "(redacted)"]"#,
            ),
            ("AUTH s", r#"["AUTH", "(redacted)"]"#),
            ("HELLO 2 AUTH default s", r#"["HELLO", "2", "AUTH", "(redacted)", "(redacted)"]"#),
        ] {
            h.run(line);
            assert_eq!(logged(&mut h)[0], expected);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        Harness::new().expect(&[
            ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
            (
                "SLOWLOG GET 1 2",
                "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.",
            ),
        ]);
    }
}
