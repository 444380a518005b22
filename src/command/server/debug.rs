//! DEBUG: what tests of servers and of client libraries need. It has only those of Redis's subcommands that mean
//! something here and do no harm. The setting `enable-debug-command` says who may send it.
//!
//! As in Redis, subcommands have no declarations of their own, and an unknown one is refused with another text than
//! elsewhere.

use std::net::SocketAddr;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::Ordering;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::acl::Access;
use crate::command::base::reach::Stores;
use crate::command::base::{Call, Flags, Plan, Spec, control, reply};
use crate::config::DebugAccess;
use crate::engine::Writer;
use crate::engine::scan::Range;
use crate::error::Error;
use crate::resp::{Protocol, Reply};

pub static COMMANDS: &[Spec] = &[Spec {
    name: "debug",
    is_harmful: true,
    syntax: "subcommand [argument ...]",
    summary: "Functions for tests; see DEBUG HELP",
    complexity: "Depends on subcommand.",
    arity: -2,
    flags: Flags::ADMIN
        .union(Flags::NOSCRIPT)
        .union(Flags::LOADING)
        .union(Flags::STALE)
        .union(Flags::LONG)
        .union(Flags::CONTROL)
        .union(Flags::DEBUGS),
    // it shows any record
    stores: Stores::All,
    all_keys: Access::READ,
    plan: |_| control(debug),
    ..Spec::DEFAULT
}];

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DIGEST",
    "    Returns a digest of all records, whatever their order and age; zeros for none.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Returns a digest of each value.",
    "ERROR <string>",
    "    Returns an error with this text.",
    "LOADAOF",
    "    Writes a checkpoint.",
    "LOG <message>",
    "    Writes the message to the log.",
    "OBJECT <key>",
    "    Describes the record at a key.",
    "PROTOCOL <type>",
    "    Returns a value of a type: string, integer, double, bignum, null, array, set, map, attrib, push, verbatim, true,",
    "    false.",
    "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
    "    Writes a checkpoint, unless NOSAVE is given.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Stops or restarts the removal of expired records. They are absent for every command in any case.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Lets scripts call DEBUG, or forbids it again.",
    "SLEEP <seconds>",
    "    Replies after this time. Other connections continue.",
    "HELP",
    "    Prints this help.",
];

fn debug(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    if !is_allowed(call) {
        return Err(Error::other(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from \
             a local connection, otherwise you need to set this option in the configuration file, and then restart the \
             server.",
        ));
    }
    let subcommand = call.text(1).to_lowercase();
    match (subcommand.as_str(), call.args.len()) {
        ("help", 2) => reply(Reply::Array(HELP.iter().map(|line| Reply::Simple(line)).collect())),
        ("digest", 2) => digest_all(call),
        ("digest-value", 2..) => digest_values(call),
        ("error", 3) => Err(Error::other(call.text(2).into_owned())),
        ("log", 3) => {
            tracing::warn!(message = %call.text(2), "DEBUG LOG");
            reply(Reply::OK)
        }
        ("object", 3) => object(call),
        ("protocol", 3) => protocol(call),
        ("reload", 2..) | ("loadaof", 2) => reload(call, engine),
        ("set-active-expire", 3) => {
            engine.set_sweeping(call.arg(2) != b"0");
            reply(Reply::OK)
        }
        ("set-disable-deny-scripts", 3) => {
            call.server.scripts.may_debug.store(call.arg(2) != b"0", Ordering::Relaxed);
            reply(Reply::OK)
        }
        ("sleep", 3) => {
            sleep(call);
            reply(Reply::OK)
        }
        _ => Err(Error::other(format!(
            "ERR unknown subcommand or wrong number of arguments for '{:.128}'. Try DEBUG HELP.",
            call.text(1)
        ))),
    }
}

fn is_allowed(call: &Call<'_>) -> bool {
    let client = &call.session.client;
    match call.server.config.settings().enable_debug_command {
        DebugAccess::No => false,
        DebugAccess::Yes => true,
        DebugAccess::Local => {
            client.unix || client.address.parse::<SocketAddr>().is_ok_and(|peer| peer.ip().is_loopback())
        }
    }
}

/// Sleeps, but not beyond a shutdown. As in Redis, a word that is no number counts as 0.
fn sleep(call: &Call<'_>) {
    const STEP: Duration = Duration::from_millis(50);
    let seconds = call.text(2).parse::<f64>().unwrap_or(0.0);
    let mut left = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    while !left.is_zero() && !call.server.shutdown.is_raised() {
        let step = left.min(STEP);
        std::thread::sleep(step);
        left -= step;
    }
}

fn reload(call: &Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let is_known = |at: usize| ["MERGE", "NOFLUSH", "NOSAVE"].iter().any(|option| call.is(at, option));
    if !(2..call.args.len()).all(is_known) {
        return Err(Error::other("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."));
    }
    if !(2..call.args.len()).any(|at| call.is(at, "NOSAVE")) {
        engine.checkpoint()?;
    }
    reply(Reply::OK)
}

/// A digest that is the same for servers with the same contents.
fn digest_all(call: &Call<'_>) -> Result<Plan, Error> {
    let engine = &call.server.engine;
    let stores: Vec<_> = engine.with_catalog(|catalog| catalog.iter().map(|store| store.id).collect());
    let (mut all, mut reflects) = (0, 0);
    for store in stores {
        let range =
            Range { store, prefix: b"", from: Bound::Unbounded, keys_max: usize::MAX, absent_free: 0 };
        let end = engine.scan(call.now_ms, range, &|_| true, &mut |row| {
            if let Some(record) = row.record()? {
                let of_place = xxh3_128_with_seed(row.key(), store.into());
                let expires = u64::from(record.expires_at_ms.is_some());
                let of_value = xxh3_128_with_seed(&record.value, expires);
                // whatever the order in which records come; equal values at different keys don't cancel each other
                all ^= xxh3_128_with_seed(&[of_place.to_be_bytes(), of_value.to_be_bytes()].concat(), 0);
            }
            Ok::<_, Error>(ControlFlow::Continue(()))
        })?;
        reflects = end.reflects.max(reflects);
    }
    Ok(Plan::Reflecting(shown_digest(all), reflects))
}

fn digest_values(call: &Call<'_>) -> Result<Plan, Error> {
    let keys = call.keys(2);
    let (digests, reflects) = call.server.engine.read(call.now_ms, &keys, |txn| {
        let digest = |key| Ok(txn.get(key)?.map_or(0, |record| xxh3_128_with_seed(&record.value, 0)));
        keys.iter().map(digest).collect::<Result<Vec<u128>, Error>>()
    })?;
    Ok(Plan::Reflecting(Reply::Array(digests.into_iter().map(shown_digest).collect()), reflects))
}

/// As long as Redis's.
fn shown_digest(digest: u128) -> Reply {
    Reply::text(format!("{digest:040x}"))
}

/// Names and values as client libraries split them: at spaces and colons.
fn object(call: &Call<'_>) -> Result<Plan, Error> {
    let key = call.key(2);
    let keys = [key.clone()];
    let (meta, reflects) = call.server.engine.read(call.now_ms, &keys, |txn| txn.peek(&key))?;
    let meta = meta.ok_or(Error::NoSuchKey)?;
    let line = format!(
        "Value at:0x0 refcount:1 serializedlength:{} lru:0 lru_seconds_idle:0 value_bytes:{} version:{} expires_at_ms:{}",
        meta.stored_bytes,
        meta.value_bytes,
        meta.version,
        meta.expires_at_ms.map_or(-1, |deadline| deadline as i64)
    );
    Ok(Plan::Reflecting(Reply::text(line), reflects))
}

#[expect(clippy::approx_constant, reason = "Redis sends this much of it")]
fn protocol(call: &Call<'_>) -> Result<Plan, Error> {
    let numbers = || (0..3).map(Reply::Integer).collect();
    let value = match call.text(2).to_lowercase().as_str() {
        "string" => Reply::text("Hello World"),
        "integer" => Reply::Integer(12345),
        "double" => Reply::Double(3.141),
        "bignum" => Reply::BigNumber("1234567999999999999999999999999999999".into()),
        "null" => Reply::Null,
        "array" => Reply::Array(numbers()),
        "set" => Reply::Set(numbers()),
        "map" => Reply::Map((0..3).map(|n| (Reply::Integer(n), Reply::Boolean(n == 1))).collect()),
        "attrib" => {
            let popularity = Reply::Array(vec![Reply::text("key:123"), Reply::Integer(90)]);
            Reply::Attributed(
                vec![(Reply::text("key-popularity"), popularity)],
                Box::new(Reply::text("Some real reply following the attribute")),
            )
        }
        "push" if call.session.protocol == Protocol::Resp2 => {
            return Err(Error::other("ERR RESP2 is not supported by this command"));
        }
        "push" => Reply::Sequence(vec![
            Reply::Push(vec![Reply::text("server-cpu-usage"), Reply::Integer(42)]),
            Reply::text("Some real reply following the push reply"),
        ]),
        "verbatim" => Reply::Verbatim("This is a verbatim\nstring".into()),
        "true" => Reply::Boolean(true),
        "false" => Reply::Boolean(false),
        _ => {
            return Err(Error::other(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    };
    reply(value)
}

#[cfg(test)]
mod tests {
    use crate::command::server::debug::*;
    use crate::command::tests::harness::Harness;

    fn harness() -> Harness {
        let harness = Harness::new();
        harness.server.config.update(|settings| settings.enable_debug_command = DebugAccess::Local);
        harness
    }

    #[test]
    fn digests_are_of_what_there_is_and_not_of_how_it_came() {
        let zeros = format!("\"{}\"", "0".repeat(40));
        let (mut a, mut b) = (harness(), harness());
        a.expect(&[("DEBUG DIGEST", &zeros), ("DEBUG DIGEST-VALUE k", &format!("[{zeros}]"))]);
        let mut digests = Vec::new();
        for line in ["MSET x 1 y 2", "SET z 1", "EXPIRE z 1000", "DEL y", "RENAME x w", "SELECT 1", "SET w 1"]
        {
            a.run(line);
            let digest = a.bytes("DEBUG DIGEST");
            assert!(digests.last() != Some(&digest) || line == "SELECT 1", "{line}");
            digests.push(digest);
        }
        for line in ["SET z 1 EX 99", "SET w 1", "SAVE", "SELECT 1", "SET w 2", "SET w 1"] {
            b.run(line);
        }
        assert_eq!(digests.last(), Some(&b.bytes("DEBUG DIGEST")));
        assert_eq!(a.bytes("DEBUG DIGEST-VALUE w x"), b.bytes("DEBUG DIGEST-VALUE w x"));
    }

    #[test]
    fn debug_is_for_those_who_may() {
        let mut harness = Harness::new();
        assert!(harness.bytes("DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed. If the"));
        for (access, is_allowed) in
            [(DebugAccess::No, false), (DebugAccess::Local, true), (DebugAccess::Yes, true)]
        {
            harness.server.config.update(|settings| settings.enable_debug_command = access);
            assert_eq!(harness.run("DEBUG SLEEP 0") == Reply::OK, is_allowed, "{access:?}");
        }
        let client = crate::client::Client::new(9, "10.0.0.1:5".into(), "10.0.0.2:6379".into(), 0);
        harness.session.client = std::sync::Arc::new(client);
        harness.server.config.update(|settings| settings.enable_debug_command = DebugAccess::Local);
        assert!(harness.bytes("DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed."));
    }

    /// What Redis 7.0 writes, byte for byte.
    #[test]
    fn every_type_is_written_as_redis_writes_it() {
        let answers = [
            ("string", r"$11\r\nHello World\r\n", r"$11\r\nHello World\r\n"),
            ("integer", r":12345\r\n", r":12345\r\n"),
            ("double", r"$5\r\n3.141\r\n", r",3.141\r\n"),
            ("null", r"$-1\r\n", r"_\r\n"),
            ("array", r"*3\r\n:0\r\n:1\r\n:2\r\n", r"*3\r\n:0\r\n:1\r\n:2\r\n"),
            ("set", r"*3\r\n:0\r\n:1\r\n:2\r\n", r"~3\r\n:0\r\n:1\r\n:2\r\n"),
            (
                "map",
                r"*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n",
                r"%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n",
            ),
            (
                "attrib",
                r"$39\r\nSome real reply following the attribute\r\n",
                r"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n$39\r\nSome real reply following the attribute\r\n",
            ),
            (
                "push",
                r"-ERR RESP2 is not supported by this command\r\n",
                r">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n",
            ),
            (
                "verbatim",
                r"$25\r\nThis is a verbatim\nstring\r\n",
                r"=29\r\ntxt:This is a verbatim\nstring\r\n",
            ),
            ("true", r":1\r\n", r"#t\r\n"),
            ("false", r":0\r\n", r"#f\r\n"),
            (
                "bignum",
                r"$37\r\n1234567999999999999999999999999999999\r\n",
                r"(1234567999999999999999999999999999999\r\n",
            ),
        ];
        let mut resp2 = harness();
        let mut resp3 = harness().resp3();
        for (name, in_resp2, in_resp3) in answers {
            assert_eq!(resp2.bytes(&format!("DEBUG PROTOCOL {name}")), in_resp2, "{name}");
            assert_eq!(resp3.bytes(&format!("debug protocol {name}")), in_resp3, "{name}");
        }
        assert!(resp2.bytes("DEBUG PROTOCOL x").starts_with("-ERR Wrong protocol type name. Please use one"));
    }

    #[test]
    fn the_sweeper_stops_and_goes_on() {
        let mut harness = harness();
        harness.run("DEBUG SET-ACTIVE-EXPIRE 0");
        assert!(!harness.server.engine.is_sweeping());
        harness.run("DEBUG SET-ACTIVE-EXPIRE 1");
        assert!(harness.server.engine.is_sweeping());
    }

    #[test]
    fn scripts_may_debug_if_they_are_let() {
        let mut harness = harness();
        let script = r#"EVAL "return redis.pcall('DEBUG', 'PROTOCOL', 'integer')" 0"#;
        let refused = "-ERR This Redis command is not allowed from script";
        harness.expect(&[
            (script, refused),
            ("DEBUG SET-DISABLE-DENY-SCRIPTS 1", "OK"),
            (script, "12345"),
            (r#"EVAL "return redis.call('DEBUG', 'RELOAD')" 0"#, "OK"),
            (r#"EVAL "return redis.pcall('EVAL', 'return 1', '0')" 0"#, refused),
            ("DEBUG SET-DISABLE-DENY-SCRIPTS 0", "OK"),
            (script, refused),
        ]);
    }

    #[test]
    fn an_object_is_described() {
        let mut harness = harness();
        harness.run("SET k hello");
        let answer = harness.bytes("DEBUG OBJECT k");
        assert!(answer.contains("Value at:0x0 refcount:1 serializedlength:"), "{answer}");
        assert!(answer.contains(" value_bytes:5 version:1 expires_at_ms:-1"), "{answer}");
        harness.expect(&[("DEBUG OBJECT missing", "-ERR no such key")]);
    }

    #[test]
    fn the_rest_does_what_it_says() {
        let mut harness = harness();
        harness.expect(&[
            ("SET k 1", "OK"),
            ("DEBUG RELOAD NOSAVE merge", "OK"),
            ("DEBUG RELOAD now", "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."),
        ]);
        assert_eq!(harness.server.engine.reader().status().checkpoint.done, 0);
        harness.expect(&[
            ("DEBUG RELOAD", "OK"),
            ("GET k", r#""1""#),
            ("DEBUG LOG hello", "OK"),
            ("DEBUG SLEEP 0.001", "OK"),
            ("DEBUG SLEEP soon", "OK"),
            ("DEBUG SLEEP -1", "OK"),
            ("DEBUG ERROR \"MYCODE my words\"", "-MYCODE my words"),
            ("DEBUG", "-ERR wrong number of arguments for 'debug' command"),
            (
                "DEBUG SEGFAULT",
                "-ERR unknown subcommand or wrong number of arguments for 'SEGFAULT'. Try DEBUG HELP.",
            ),
            ("DEBUG LOG", "-ERR unknown subcommand or wrong number of arguments for 'LOG'. Try DEBUG HELP."),
        ]);
        assert_eq!(harness.server.engine.reader().status().checkpoint.done, 1);
        let Reply::Array(lines) = harness.run("DEBUG HELP") else { panic!("not a list") };
        assert_eq!(lines.len(), HELP.len());
    }

    #[test]
    fn nobody_sleeps_over_a_shutdown() {
        let mut harness = harness();
        harness.server.shutdown.raise();
        harness.expect(&[("DEBUG SLEEP 1e9", "OK")]);
    }
}
