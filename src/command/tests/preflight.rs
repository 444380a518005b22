//! What published test suites ask of a server before, between and after their tests: it has to be answered, or not one of
//! their tests runs.

use crate::command::tests::harness::{Harness, shown};
use crate::resp::Reply;

/// Suites, and what they send before and after a test, as of November 2026. `OK?` is any reply but an error.
const SUITES: &[(&str, &[(&str, &str)])] = &[
    (
        "Redis's own, with --host (tests/support/server.tcl)",
        &[
            ("SELECT 9", "OK"),
            ("FLUSHALL", "OK"),
            ("FUNCTION FLUSH", "OK"),
            ("SCRIPT FLUSH", "OK"),
            ("CONFIG RESETSTAT", "OK"),
            ("CONFIG GET *", "OK?"),
            ("DEBUG SET-ACTIVE-EXPIRE 1", "OK"),
            ("DEBUG DIGEST", "OK?"),
            ("DEBUG DIGEST-VALUE k", "OK?"),
            ("DEBUG SLEEP 0", "OK"),
            ("DEBUG RELOAD", "OK"),
            ("DEBUG LOADAOF", "OK"),
            ("CLIENT NO-EVICT on", "OK"),
            ("LATENCY RESET", "0"),
            ("CONFIG SET latency-monitor-threshold 0", "OK"),
        ],
    ),
    (
        "redis-py (tests/conftest.py)",
        &[
            ("HELLO 3", "OK?"),
            ("CLIENT SETINFO LIB-NAME redis-py", "OK"),
            ("CLIENT SETINFO LIB-VER 7.0.0", "OK"),
            ("INFO", "OK?"),
            // whether it is an enterprise cluster
            ("DPING", "-ERR unknown command 'DPING'"),
            ("FLUSHDB", "OK"),
            ("CONFIG RESETSTAT", "OK"),
            ("FUNCTION FLUSH", "OK"),
            ("FUNCTION FLUSH ASYNC", "OK"),
            ("ACL USERS", "[\"default\"]"),
            ("CLIENT ID", "OK?"),
        ],
    ),
    (
        "coredis (tests/conftest.py)",
        &[
            ("INFO", "OK?"),
            ("FLUSHALL", "OK"),
            ("CONFIG SET maxmemory-policy noeviction", "OK"),
            ("CONFIG SET latency-monitor-threshold 10", "OK"),
            ("ACL LOG RESET", "OK"),
            ("FUNCTION FLUSH", "OK"),
        ],
    ),
    (
        "ioredis (test/helpers/global.ts)",
        &[
            ("INFO", "OK?"),
            ("FLUSHALL", "OK"),
            ("SCRIPT FLUSH", "OK"),
            // the suite looks at no reply of these
            ("CLIENT KILL normal", "-ERR No such client"),
        ],
    ),
    (
        "node-redis (packages/test-utils/lib/index.ts)",
        &[("CLIENT SETINFO LIB-NAME node-redis", "OK"), ("FLUSHALL", "OK"), ("ACL USERS", "[\"default\"]")],
    ),
    (
        "go-redis (main_test.go)",
        &[
            ("HELLO 3", "OK?"),
            ("CLIENT SETINFO LIB-NAME go-redis,go1.25", "OK"),
            ("PING", "PONG"),
            ("FLUSHDB", "OK"),
            ("CONFIG GET maxmemory", "OK?"),
            ("CONFIG SET maxmemory 0", "OK"),
            ("CONFIG SET slowlog-log-slower-than 0", "OK"),
            ("CONFIG SET slowlog-log-slower-than 10000", "OK"),
            ("CONFIG RESETSTAT", "OK"),
            ("CONFIG SET latency-monitor-threshold 100", "OK"),
            ("LATENCY RESET", "0"),
            ("FUNCTION FLUSH", "OK"),
        ],
    ),
    (
        "redis-rs (redis/tests/support/mod.rs)",
        &[("HELLO 3", "OK?"), ("CLIENT SETINFO LIB-NAME redis-rs", "OK"), ("FLUSHDB", "OK"), ("INFO", "OK?")],
    ),
    (
        "Jedis (JedisCommandsTestBase.java, ScriptingCommandsTest.java)",
        &[("CLIENT SETINFO LIB-NAME jedis", "OK"), ("FLUSHALL", "OK"), ("FUNCTION FLUSH", "OK")],
    ),
];

#[test]
fn what_suites_ask_first_is_answered() {
    for (suite, requests) in SUITES {
        let mut h = Harness::new();
        h.server.config.update(|settings| settings.enable_debug_command = crate::config::DebugAccess::Yes);
        for (line, expected) in *requests {
            let answer = shown(&h.run(line));
            if *expected == "OK?" {
                assert!(!answer.starts_with('-'), "{suite}: {line}: {answer}");
            } else {
                assert_eq!(answer, *expected, "{suite}: {line}");
            }
        }
    }
}

/// Redis's suite sets every setting to what it was before, and so do others after a test that changed some.
#[test]
fn every_setting_can_be_set_to_what_it_is() {
    let mut h = Harness::new();
    let Reply::Map(settings) = h.run("CONFIG GET *") else { panic!("not a map") };
    assert!(settings.len() > 100);
    let mut immutable = 0;
    for (name, value) in &settings {
        let line = format!("CONFIG SET {} {}", shown(name), shown(value));
        match shown(&h.run(&line)) {
            answer if answer.ends_with("can't set immutable config") => immutable += 1,
            answer => assert_eq!(answer, "OK", "{line}"),
        }
    }
    assert!(immutable < 30, "{immutable}");
    assert_eq!(shown(&h.run("CONFIG GET *")), shown(&Reply::Map(settings)));
}

/// What tests of suites change in a Redis and that means nothing here.
#[test]
fn what_does_nothing_is_remembered_and_what_would_promise_something_is_refused() {
    let mut h = Harness::new();
    for (name, value, answer) in [
        ("hash-max-listpack-entries", "64", "64"),
        ("HZ", "100", "100"),
        ("activedefrag", "yes", "yes"),
        ("lazyfree-lazy-eviction", "YES", "yes"),
        ("repl-backlog-size", "2mb", "2097152"),
        ("stream-node-max-entries", "10", "10"),
        ("sanitize-dump-payload", "no", "no"),
    ] {
        h.expect(&[(&format!("CONFIG SET {name} {value}"), "OK")]);
        assert_eq!(shown(&h.run(&format!("CONFIG GET {name}"))), format!("{{\"{name}\": \"{answer}\"}}"));
    }
    for (line, why) in [
        ("CONFIG SET save \"900 1\"", "it can't be changed here from ''"),
        ("CONFIG SET appendonly no", "it can't be changed here from 'yes'"),
        ("CONFIG SET min-replicas-to-write 1", "it can't be changed here from '0'"),
        ("CONFIG SET hz fast", "argument couldn't be parsed into an integer"),
        ("CONFIG SET activedefrag maybe", "argument must be 'yes' or 'no'"),
    ] {
        let answer = shown(&h.run(line));
        assert!(answer.starts_with("-ERR CONFIG SET failed") && answer.ends_with(why), "{line}: {answer}");
    }
    h.expect(&[
        ("CONFIG SET hz 50 activedefrag maybe", "-ERR CONFIG SET failed (possibly related to argument 'activedefrag') - argument must be 'yes' or 'no'"),
        ("CONFIG GET hz", "{\"hz\": \"100\"}"),
    ]);
}
