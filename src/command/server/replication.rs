//! Replication commands, with the replies of an instance without replication: it is a master, has no replicas, waits
//! for none, and becomes nobody's replica.

use std::time::Duration;

use crate::command::base::{Call, Flags, Group, Plan, Spec, reply};
use crate::engine::{Seq, clock};
use crate::error::Error;
use crate::record::number;
use crate::resp::Reply;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "role",
        summary: "Returns the role in a replication: always that of a master without replicas",
        since: "2.8.12",
        flags: Flags::LOADING
            .union(Flags::STALE)
            .union(Flags::NOSCRIPT)
            .union(Flags::FAST)
            .union(Flags::ADMINISTRATION),
        plan: |_| reply(Reply::Array(vec![Reply::text("master"), Reply::Integer(0), Reply::Array(vec![])])),
        ..Spec::DEFAULT
    },
    Spec {
        name: "replicaof",
        is_harmful: true,
        syntax: "NO ONE",
        summary: "Does nothing: the server is nobody's replica, and can't become one",
        since: "5.0.0",
        arity: 3,
        flags: ADMIN,
        plan: replica_of,
        ..Spec::DEFAULT
    },
    Spec {
        name: "slaveof",
        is_harmful: true,
        syntax: "NO ONE",
        summary: "Does the same as REPLICAOF",
        arity: 3,
        flags: ADMIN,
        plan: replica_of,
        ..Spec::DEFAULT
    },
    Spec {
        name: "failover",
        is_harmful: true,
        syntax: "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        summary: "Fails: there is no replica that could take over",
        since: "6.2.0",
        arity: -1,
        flags: ADMIN,
        plan: fail_over,
        ..Spec::DEFAULT
    },
    Spec {
        name: "wait",
        syntax: "numreplicas timeout",
        summary: "Returns the number of replicas that have the writes so far: always 0",
        group: Group::Generic,
        since: "3.0.0",
        arity: 3,
        flags: Flags::CONNECTION,
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        plan: wait,
        ..Spec::DEFAULT
    },
    Spec {
        name: "waitaof",
        syntax: "numlocal numreplicas timeout",
        summary: "Waits, with a time limit in milliseconds, until the writes so far are durable here; returns where they are durable",
        group: Group::Generic,
        since: "7.2.0",
        arity: 4,
        flags: Flags::CONNECTION.union(Flags::LONG),
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        plan: wait_durable,
        ..Spec::DEFAULT
    },
];

const ADMIN: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::STALE);

fn replica_of(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.is(1, "NO") && call.is(2, "ONE") {
        return reply(Reply::OK);
    }
    match number::parse_i64(call.arg(2)) {
        Some(0..=65_535) => {
            Err(Error::other("ERR there is no replication; only REPLICAOF NO ONE is supported"))
        }
        _ => Err(Error::other("ERR Invalid master port")),
    }
}

fn fail_over(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.args.len() == 2 && call.is(1, "abort") {
        return Err(Error::other("ERR No failover in progress."));
    }
    let (mut has_host, mut has_timeout, mut is_forced) = (false, false, false);
    call.options(1, |at| match () {
        () if call.is(at, "timeout") && !has_timeout && at + 1 < call.args.len() => {
            if call.integer(at + 1)? <= 0 {
                return Err(Error::other("ERR FAILOVER timeout must be greater than 0"));
            }
            has_timeout = true;
            Ok(1)
        }
        () if call.is(at, "to") && !has_host && at + 2 < call.args.len() => {
            call.integer(at + 2)?;
            has_host = true;
            Ok(2)
        }
        () if call.is(at, "force") && !is_forced => {
            is_forced = true;
            Ok(0)
        }
        () => Err(Error::Syntax),
    })?;
    Err(Error::other("ERR FAILOVER requires connected replicas."))
}

fn wait(call: &mut Call<'_>) -> Result<Plan, Error> {
    call.integer(1)?;
    timeout_ms(call, 2)?;
    reply(Reply::Integer(0))
}

/// Waits whatever `appendfsync` says. Between MULTI and EXEC it can't wait.
fn wait_durable(call: &mut Call<'_>) -> Result<Plan, Error> {
    const STEP: Duration = Duration::from_millis(2);
    let wants_local = match call.integer(1)? {
        local @ 0..=1 => local == 1,
        _ => return Err(Error::other("ERR value is out of range, value must between 0 and 1")),
    };
    if call.integer(2)? < 0 {
        return Err(Error::other("ERR value is out of range, must be positive"));
    }
    let timeout_ms = timeout_ms(call, 3)?;
    let through = call.server.engine.last_seq();
    let began = clock::monotonic();
    let is_over = || {
        let waited_ms = began.elapsed().as_millis();
        call.server.engine.is_in_group()
            || (timeout_ms != 0 && waited_ms >= u128::from(timeout_ms))
            || call.server.shutdown.is_raised()
            || call.session.client.kill.is_raised()
    };
    while wants_local && !is_durable(call, through) && !is_over() {
        std::thread::sleep(STEP);
    }
    let local = i64::from(is_durable(call, through));
    reply(Reply::Array(vec![Reply::Integer(local), Reply::Integer(0)]))
}

fn is_durable(call: &Call<'_>, seq: Seq) -> bool {
    call.server.engine.status().journal.durable >= seq
}

fn timeout_ms(call: &Call<'_>, at: usize) -> Result<u64, Error> {
    match number::parse_i64(call.arg(at)) {
        None => Err(Error::other("ERR timeout is not an integer or out of range")),
        Some(timeout_ms) => u64::try_from(timeout_ms).map_err(|_| Error::other("ERR timeout is negative")),
    }
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::Harness;

    #[test]
    fn nobody_is_a_replica() {
        Harness::new().expect(&[
            ("ROLE", r#"["master", 0, []]"#),
            ("REPLICAOF no one", "OK"),
            ("SLAVEOF NO ONE", "OK"),
            ("REPLICAOF host 70000", "-ERR Invalid master port"),
            ("REPLICAOF host port", "-ERR Invalid master port"),
            ("REPLICAOF host 6379", "-ERR there is no replication; only REPLICAOF NO ONE is supported"),
            ("PSYNC ? -1", "-ERR unknown command 'PSYNC': Larder has no replication"),
        ]);
    }

    #[test]
    fn nobody_takes_over() {
        Harness::new().expect(&[
            ("FAILOVER", "-ERR FAILOVER requires connected replicas."),
            ("FAILOVER to host 6379 force timeout 5", "-ERR FAILOVER requires connected replicas."),
            ("FAILOVER ABORT", "-ERR No failover in progress."),
            ("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0"),
            ("FAILOVER TO host", "-ERR syntax error"),
            ("FAILOVER FORCE FORCE", "-ERR syntax error"),
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
    fn durability_is_waited_for() {
        let mut h = Harness::new();
        h.server.engine.writer().set_fsync(crate::engine::Fsync::EverySec);
        h.expect(&[
            ("SET k 1", "OK"),
            ("WAITAOF 1 0 0", "[1, 0]"),
            ("WAITAOF 0 3 1", "[1, 0]"),
            ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
            ("WAITAOF 0 -1 0", "-ERR value is out of range, must be positive"),
            ("WAITAOF 0 0 -1", "-ERR timeout is negative"),
        ]);
    }
}
