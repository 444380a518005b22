//! MONITOR: shows every request to the connections that monitor. Costs nothing while none does.

use crate::acl::Access;
use crate::command::base::reach::Stores;
use crate::command::base::{Call, Flags, Plan, Spec, reply};
use crate::error::Error;
use crate::resp::Reply;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "monitor",
    summary: "Shows every request that the server runs, until RESET or the end of the connection",
    flags: Flags::ADMIN
        .union(Flags::NOSCRIPT)
        .union(Flags::LOADING)
        .union(Flags::STALE)
        .union(Flags::STATEFUL),
    // it shows the words of everybody's requests
    stores: Stores::All,
    all_keys: Access::READ,
    plan: monitor,
    ..Spec::DEFAULT
}];

fn monitor(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.server.engine.is_in_group() {
        return Err(Error::other("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if std::mem::replace(&mut call.session.monitoring, true) {
        // as in Redis, a connection that already monitors gets no second reply
        return reply(Reply::Sequence(Vec::new()));
    }
    call.server.push.monitors.add(&call.session.client);
    reply(Reply::OK)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::tests::harness::{Harness, mail, session};

    #[test]
    fn what_is_run_is_shown_and_what_is_dangerous_is_not() {
        let mut harness = Harness::new();
        let mut watcher = session(&harness.server);
        harness.swap(&mut watcher);
        harness.expect(&[
            ("MONITOR", "OK"),
            ("GET k", "-ERR Replica can't interact with the keyspace"),
            ("PUBLISH a b", "-ERR Replica can't interact with the keyspace"),
        ]);
        harness.swap(&mut watcher);
        for line in ["CONFIG GET port", "MULTI", "SET k 1", "EXEC", "SELECT 3", "nonsense", "AUTH a b"] {
            harness.run(line);
        }
        let shown = mail(&watcher.client);
        let lines: Vec<&str> =
            shown.lines().filter_map(|line| line.split_once(" [")).map(|(_, rest)| rest).collect();
        let expected = [
            "0 127.0.0.1:1] \"MULTI\"",
            "0 127.0.0.1:1] \"SET\" \"k\" \"1\"",
            "0 127.0.0.1:1] \"EXEC\"",
            "3 127.0.0.1:1] \"SELECT\" \"3\"",
            "3 127.0.0.1:1] \"AUTH\" \"(redacted)\" \"(redacted)\"",
        ];
        assert_eq!(lines, expected);
        harness.swap(&mut watcher);
        harness.expect(&[("RESET", "RESET"), ("GET k", "\"1\"")]);
        assert!(!harness.server.push.monitors.are_any());
        harness.expect(&[("MULTI", "OK"), ("MONITOR", "QUEUED")]);
        harness.expect(&[("EXEC", "[-ERR MONITOR isn't allowed for DENY BLOCKING client]")]);
    }
}
