//! Strings written and removed whole: SET with its relatives, for one key and for several, and the removals that
//! depend on the value.
//!
//! A value is checked for what its store takes while the command is planned; several keys are written all or none.

use bytes::Bytes;

use crate::command::base::{Call, Flags, Group, KeyUse, KeyUses, Keys, Plan, Spec, write, write_key};
use crate::command::keys::whole::delete;
use crate::command::strings::condition::{Condition, Test};
use crate::command::strings::deadline::{ExpiryOption, Timing, notify_put};
use crate::engine::{Event, Expiry};
use crate::error::Error;
use crate::record::number;
use crate::resp::Reply;
use crate::store::{Key, Value};

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "set",
        syntax: "key value [NX | XX | IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest] \
                 [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        summary: "Sets the value of a key, optionally with an expiry, on a condition, or returning the old value",
        group: Group::String,
        arity: -3,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: Keys::ONE,
        key_uses: KeyUses::ByRequest(KeyUse::READ_WRITE.union(KeyUse::VARIABLE_FLAGS), key_use_of_set),
        plan: set,
        ..Spec::DEFAULT
    },
    Spec {
        name: "setex",
        syntax: "key seconds value",
        summary: "Sets the value of a key, and its expiry in seconds",
        group: Group::String,
        since: "2.0.0",
        arity: 4,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::OVERWRITE]),
        plan: |call| set_expiring(call, Timing::Ex),
        ..Spec::DEFAULT
    },
    Spec {
        name: "psetex",
        syntax: "key milliseconds value",
        summary: "Sets the value of a key, and its expiry in milliseconds",
        group: Group::String,
        since: "2.6.0",
        arity: 4,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::OVERWRITE]),
        plan: |call| set_expiring(call, Timing::Px),
        ..Spec::DEFAULT
    },
    Spec {
        name: "setnx",
        syntax: "key value",
        summary: "Sets the value of a key that doesn't exist",
        group: Group::String,
        arity: 3,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::CREATE]),
        plan: setnx,
        ..Spec::DEFAULT
    },
    Spec {
        name: "getset",
        syntax: "key value",
        summary: "Sets the value of a key and returns the old one",
        group: Group::String,
        arity: 3,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
        keys: Keys::ONE,
        plan: getset,
        ..Spec::DEFAULT
    },
    Spec {
        name: "mset",
        syntax: "key value [key value ...]",
        summary: "Sets the values of several keys at once",
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys",
        arity: -3,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: Keys::PAIRS,
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        key_uses: KeyUses::Each(&[KeyUse::OVERWRITE]),
        plan: mset,
        ..Spec::DEFAULT
    },
    Spec {
        name: "msetnx",
        syntax: "key value [key value ...]",
        summary: "Sets the values of several keys at once if none of them exists",
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys",
        arity: -3,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: Keys::PAIRS,
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        key_uses: KeyUses::Each(&[KeyUse::CREATE]),
        plan: msetnx,
        ..Spec::DEFAULT
    },
    Spec {
        name: "msetex",
        syntax: "numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | \
                 EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        summary: "Sets the values of several keys at once, with one expiry for all; optionally only if none or all of them exist",
        group: Group::String,
        since: "8.4.0",
        complexity: "O(N) where N is the number of keys",
        arity: -4,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: Keys::Counted { count: 1, first: 2, step: 2 },
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        key_uses: KeyUses::Each(&[KeyUse::OVERWRITE]),
        plan: msetex,
        ..Spec::DEFAULT
    },
    Spec {
        name: "delex",
        syntax: "key [IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest]",
        summary: "Removes a key, if its value or digest is as expected",
        group: Group::String,
        since: "8.4.0",
        complexity: "O(1) for IFEQ and IFNE, O(N) for IFDEQ and IFDNE where N is the length of the value",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST).union(Flags::REMOVES),
        keys: Keys::ONE,
        key_uses: KeyUses::ByRequest(
            KeyUse::RW.union(KeyUse::DELETE).union(KeyUse::VARIABLE_FLAGS),
            key_use_of_delex,
        ),
        plan: delex,
        ..Spec::DEFAULT
    },
    Spec {
        name: "delifeq",
        syntax: "key value",
        summary: "Removes a key if its value is as expected (as in Valkey)",
        group: Group::String,
        since: "9.0.0",
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::REMOVE.union(KeyUse::REVEALS)]),
        plan: delifeq,
        ..Spec::DEFAULT
    },
];

/// Conditions on what is at a key: the reply tells whether they were met.
const CONDITIONS: &[&str] = &["IFEQ", "IFNE", "IFDEQ", "IFDNE"];

fn has_option(request: &[Bytes], from: usize, options: &[&str]) -> bool {
    let is_one = |word: &Bytes| options.iter().any(|option| word.eq_ignore_ascii_case(option.as_bytes()));
    request.iter().skip(from).any(is_one)
}

fn key_use_of_delex(request: &[Bytes]) -> KeyUse {
    if has_option(request, 2, CONDITIONS) {
        KeyUse::RW | KeyUse::DELETE | KeyUse::REVEALS
    } else {
        KeyUse::REMOVE
    }
}

fn key_use_of_set(request: &[Bytes]) -> KeyUse {
    if has_option(request, 3, &["GET"]) {
        KeyUse::READ_WRITE
    } else if has_option(request, 3, CONDITIONS) {
        KeyUse::CHANGE | KeyUse::REVEALS
    } else {
        KeyUse::OVERWRITE
    }
}

fn set(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (mut condition, mut expiry, mut get) = (Condition::default(), ExpiryOption::default(), false);
    call.options(3, |at| {
        if call.is(at, "GET") {
            get = true;
            return Ok(0);
        }
        if let Some(words) = condition.take(call, at, Test::ALL)? {
            return Ok(words);
        }
        expiry.take(call, at, ExpiryOption::KeepTtl)?.ok_or(Error::Syntax)
    })?;
    let expiry = expiry.resolve(call)?.unwrap_or(Expiry::Never);
    let value = call.value(2)?;
    let lookups = get.then(|| call.server.stats.mine().lookups.clone());
    write_key(move |txn, key| {
        let old = if get { txn.get(key)? } else { None };
        if let Some(lookups) = lookups {
            lookups.count_one(old.is_some());
        }
        if get && old.is_none() {
            txn.notify(key, Event::KEY_MISS);
        }
        let holds = condition.holds(txn, key)?;
        if holds {
            txn.overwrite(key, value, expiry)?;
            notify_put(txn, key, Event::SET, expiry);
        }
        Ok(match (get, holds) {
            (true, _) => Reply::bulk_or_null(old.map(|record| record.value)),
            (false, true) => Reply::OK,
            (false, false) => Reply::Null,
        })
    })
}

fn set_expiring(call: &mut Call<'_>, timing: Timing) -> Result<Plan, Error> {
    let expiry = Expiry::At(timing.deadline_at(call, 2)?);
    let value = call.value(3)?;
    write_key(move |txn, key| {
        txn.overwrite(key, value, expiry)?;
        notify_put(txn, key, Event::SET, expiry);
        Ok(Reply::OK)
    })
}

fn setnx(call: &mut Call<'_>) -> Result<Plan, Error> {
    let pair = (call.key(1), call.value(2)?);
    put_all(vec![pair], Condition::NX, Expiry::Never, as_integer)
}

fn getset(call: &mut Call<'_>) -> Result<Plan, Error> {
    let value = call.value(2)?;
    let lookups = call.server.stats.mine().lookups.clone();
    write_key(move |txn, key| {
        let old = txn.get(key)?;
        lookups.count_one(old.is_some());
        if old.is_none() {
            txn.notify(key, Event::KEY_MISS);
        }
        txn.overwrite(key, value, Expiry::Never)?;
        txn.notify(key, Event::SET);
        Ok(Reply::bulk_or_null(old.map(|record| record.value)))
    })
}

fn mset(call: &mut Call<'_>) -> Result<Plan, Error> {
    put_all(all_pairs(call)?, Condition::default(), Expiry::Never, |_| Reply::OK)
}

fn msetnx(call: &mut Call<'_>) -> Result<Plan, Error> {
    put_all(all_pairs(call)?, Condition::NX, Expiry::Never, as_integer)
}

fn msetex(call: &mut Call<'_>) -> Result<Plan, Error> {
    let count = number::parse_i64(call.arg(1))
        .filter(|count| (1..=i64::from(i32::MAX)).contains(count))
        .ok_or_else(|| Error::other("ERR invalid numkeys value"))? as usize;
    let options = 2 + 2 * count;
    if options > call.args.len() {
        return Err(Error::other("ERR wrong number of key-value pairs"));
    }
    let (mut condition, mut expiry) = (Condition::default(), ExpiryOption::default());
    call.options(options, |at| {
        if let Some(words) = condition.take(call, at, Test::EXISTENCE)? {
            return Ok(words);
        }
        expiry.take(call, at, ExpiryOption::KeepTtl)?.ok_or(Error::Syntax)
    })?;
    let expiry = expiry.resolve(call)?.unwrap_or(Expiry::Never);
    put_all(pairs(call, 2, options)?, condition, expiry, as_integer)
}

/// Keys and values that make up the rest of the request.
fn all_pairs(call: &Call<'_>) -> Result<Vec<(Key, Value)>, Error> {
    let words = call.args.len();
    if words.is_multiple_of(2) {
        return Err(call.arity_error());
    }
    pairs(call, 1, words)
}

fn pairs(call: &Call<'_>, from: usize, to: usize) -> Result<Vec<(Key, Value)>, Error> {
    (from..to).step_by(2).map(|at| Ok((call.key(at), call.value(at + 1)?))).collect()
}

/// Writes all records if the condition holds for every key, in order, so that the last value of a repeated key stays.
/// The reply says whether it did.
fn put_all(
    pairs: Vec<(Key, Value)>,
    condition: Condition,
    expiry: Expiry,
    reply: impl FnOnce(bool) -> Reply + 'static,
) -> Result<Plan, Error> {
    write(move |txn| {
        for (key, _) in &pairs {
            if !condition.holds(txn, key)? {
                return Ok(reply(false));
            }
        }
        for (key, value) in pairs {
            txn.overwrite(&key, value, expiry)?;
            notify_put(txn, &key, Event::SET, expiry);
        }
        Ok(reply(true))
    })
}

fn as_integer(done: bool) -> Reply {
    Reply::Integer(i64::from(done))
}

fn delex(call: &mut Call<'_>) -> Result<Plan, Error> {
    let mut condition = Condition::default();
    let known = match call.args.len() {
        2 => true,
        4 => condition.take(call, 2, Test::COMPARISONS)?.is_some(),
        _ => return Err(call.arity_error()),
    };
    write_key(move |txn, key| {
        // as in Redis, the condition matters only if there is a record
        if txn.peek(key)?.is_none() {
            return Ok(Reply::Integer(0));
        }
        if !known {
            return Err(Error::other("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"));
        }
        Ok(as_integer(condition.holds(txn, key)? && delete(txn, key)?))
    })
}

fn delifeq(call: &mut Call<'_>) -> Result<Plan, Error> {
    let condition = Condition::if_equal(call.word(2));
    write_key(move |txn, key| Ok(as_integer(condition.holds(txn, key)? && delete(txn, key)?)))
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::{Harness, not_json};

    // Of Redis 7.0.15 where it knows the command and the option, else of the tests of Redis 8.

    #[test]
    fn set_on_a_condition() {
        Harness::new().expect(&[
            ("SET k 1 XX", "nil"),
            ("SET k 1 nx", "OK"),
            ("SET k 2 NX NX", "nil"),
            ("SET k 2 XX", "OK"),
            ("SET k 3 GET", "\"2\""),
            ("SET k 4 NX GET", "\"3\""),
            ("SET new 5 GET NX", "nil"),
            ("SET none 5 GET XX", "nil"),
            ("MGET k new none", "[\"3\", \"5\", nil]"),
        ]);
    }

    #[test]
    fn set_if_the_value_is_or_is_not() {
        Harness::new().expect(&[
            ("SET k world IFEQ hello", "nil"),
            ("SET k world IFEQ hello GET", "nil"),
            ("GET k", "nil"),
            ("SET k hello IFNE hello", "OK"),
            ("SET k world IFNE hello", "nil"),
            ("SET k world ifeq hello", "OK"),
            ("SET k x IFEQ hello GET", "\"world\""),
            ("SET k x IFNE hello GET", "\"world\""),
            ("SET k '' IFEQ x", "OK"),
            ("SET k y IFNE ''", "nil"),
            ("GET k", "\"\""),
        ]);
    }

    #[test]
    fn set_if_the_digest_is_or_is_not() {
        let bad = "-ERR must be exactly 16 hexadecimal characters";
        Harness::new().expect(&[
            ("SET k hello IFDEQ 1234567890", "nil"),
            ("SET k hello IFDNE 1234567890", "OK"),
            ("DIGEST k", "\"9555e8555c62dcfd\""),
            ("SET k world IFDNE 9555e8555c62dcfd", "nil"),
            ("SET k world IFDEQ 9555e8555c62dcfe", "nil"),
            ("SET k world IFDEQ 9555E8555C62DCFD GET", "\"hello\""),
            ("SET k x IFDEQ zzzzzzzzzzzzzzzz", "nil"),
            ("SET k x IFDEQ 555e8555c62dcfd", bad),
            ("SET k x IFDNE 09555e8555c62dcfd", bad),
            ("SET k x IFDEQ ''", bad),
            ("GET k", "\"world\""),
        ]);
    }

    #[test]
    fn set_with_an_expiry() {
        let mut h = Harness::new();
        let ex_100 = 90_000..=100_000;
        for line in ["SET k v EX 100", "SET k v PX 100000", "SET k v EX 1 EX 100", "SETEX k 100 v"] {
            h.expect(&[("SET k old", "OK"), (line, "OK")]);
            assert!(ex_100.contains(&h.ttl_ms("k")), "{line}");
        }
        h.run("SET k w KEEPTTL KEEPTTL");
        assert!(ex_100.contains(&h.ttl_ms("k")));
        h.run("SET k w");
        assert_eq!(h.ttl_ms("k"), -1);
        h.run("PSETEX k 5000 v");
        assert!((1..=5_000).contains(&h.ttl_ms("k")));
        h.run("SET k w PXAT 9223372036854775807");
        assert_eq!(h.meta("k").and_then(|meta| meta.expires_at_ms), Some(i64::MAX as u64));
        h.expect(&[("SET k v EXAT 1", "OK"), ("GET k", "nil")]);
    }

    #[test]
    fn set_refuses_what_redis_refuses() {
        let mut h = Harness::new();
        for options in [
            "FOO",
            "EX",
            "EX 10 PX 10",
            "EX 10 EXAT 10",
            "KEEPTTL EX 10",
            "PERSIST",
            "NX XX",
            "NX IFEQ a",
            "IFEQ a IFNE a",
            "IFDEQ",
            "NX GET IFDNE a",
        ] {
            h.expect(&[(&format!("SET k v {options}"), "-ERR syntax error")]);
        }
        let not_integer = "-ERR value is not an integer or out of range";
        let out_of_range = "-ERR invalid expire time in 'set' command";
        h.expect(&[
            ("SET k v EX abc", not_integer),
            ("SET k v EX 0", out_of_range),
            ("SET k v PX -1", out_of_range),
            ("SET k v PX 9223372036854775807", out_of_range),
            ("SET k v EX 9223372036854775", out_of_range),
            ("SETEX k 0 v", "-ERR invalid expire time in 'setex' command"),
            ("SETEX k x v", not_integer),
            ("PSETEX k -1 v", "-ERR invalid expire time in 'psetex' command"),
            ("GET k", "nil"),
        ]);
    }

    #[test]
    fn the_old_setters() {
        let mut h = Harness::new();
        h.expect(&[
            ("SETNX k 1", "1"),
            ("SETNX k 2", "0"),
            ("GETSET k 3", "\"1\""),
            ("GETSET new 4", "nil"),
            ("MGET k new", "[\"3\", \"4\"]"),
            ("SETEX k 100 v", "OK"),
            ("GETSET k w", "\"v\""),
        ]);
        assert_eq!(h.ttl_ms("k"), -1);
    }

    #[test]
    fn several_keys_at_once() {
        Harness::new().expect(&[
            ("MSET a 1 b 2 a 3", "OK"),
            ("MGET a b", "[\"3\", \"2\"]"),
            ("MSETNX c 1 a 2", "0"),
            ("GET c", "nil"),
            ("MSETNX c 1 c 2", "1"),
            ("GET c", "\"2\""),
            ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
            ("MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command"),
        ]);
    }

    #[test]
    fn several_keys_with_one_expiry() {
        let mut h = Harness::new();
        h.expect(&[
            ("MSETEX 2 a 1 b 2 ex 100 nx", "1"),
            ("MSETEX 2 b 3 c 4 NX", "0"),
            ("MSETEX 2 b 3 c 4 XX", "0"),
            ("MGET a b c", "[\"1\", \"2\", nil]"),
            ("MSETEX 2 a 5 b 6 XX KEEPTTL", "1"),
            ("MGET a b", "[\"5\", \"6\"]"),
        ]);
        assert!(h.ttl_ms("a") > 90_000 && h.ttl_ms("b") > 90_000);
        h.expect(&[("MSETEX 1 a 7", "1"), ("MSETEX 1 b 8 EXAT 1", "1"), ("MGET a b", "[\"7\", nil]")]);
        assert_eq!(h.ttl_ms("a"), -1);
        let (bad_count, too_few) = ("-ERR invalid numkeys value", "-ERR wrong number of key-value pairs");
        h.expect(&[
            ("MSETEX key1 val1 ex 10", bad_count),
            ("MSETEX 0 a 1", bad_count),
            ("MSETEX -1 a 1", bad_count),
            ("MSETEX 2147483648 a 1 ex 10", bad_count),
            ("MSETEX 2147483647 a 1 ex 10", too_few),
            ("MSETEX 2 a 1 b", too_few),
            ("MSETEX 1 a 1 invalid_flag", "-ERR syntax error"),
            ("MSETEX 1 a 1 IFEQ 1", "-ERR syntax error"),
            ("MSETEX 1 a 1 NX XX", "-ERR syntax error"),
            ("MSETEX 1 a 1 KEEPTTL PX 1", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 0", "-ERR invalid expire time in 'msetex' command"),
            ("GET a", "\"7\""),
        ]);
    }

    #[test]
    fn a_json_store_takes_all_or_nothing() {
        let refused = |column| not_json(1, column);
        Harness::json().expect(&[
            ("SET a hello", &refused(1)),
            ("MSET a 1 b nope", &refused(2)),
            ("MSETEX 2 a 1 b {", &refused(1)),
            ("GET a", "nil"),
            (r#"SET a "{\"x\": [1, 2]}""#, "OK"),
            ("GET a", r#""{\"x\": [1, 2]}""#),
        ]);
    }

    #[test]
    fn removals_on_a_condition() {
        let arity = "-ERR wrong number of arguments for 'delex' command";
        Harness::new().expect(&[
            ("DELEX k", "0"),
            ("DELEX k FOO x", "0"),
            ("DELEX k IFNE x", "0"),
            ("DELEX k IFDNE 12", "0"),
            ("SET k hello", "OK"),
            ("DELEX k FOO x", "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"),
            ("DELEX k NX x", "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"),
            ("DELEX k IFEQ", arity),
            ("DELEX k IFEQ a b", arity),
            ("DELEX k IFEQ world", "0"),
            ("DELEX k IFNE hello", "0"),
            ("DELEX k IFDEQ 0000000000000000", "0"),
            ("DELEX k IFDNE 9555E8555C62DCFD", "0"),
            ("DELEX k IFDNE 12", "-ERR must be exactly 16 hexadecimal characters"),
            ("GET k", "\"hello\""),
            ("DELEX k IFDEQ 9555e8555c62dcfd", "1"),
            ("SET k hello", "OK"),
            ("DELEX k IfNe world", "1"),
            ("SET k hello", "OK"),
            ("DELEX k", "1"),
            ("DELIFEQ k hello", "0"),
            ("SET k hello", "OK"),
            ("DELIFEQ k world", "0"),
            ("DELIFEQ k hello", "1"),
            ("GET k", "nil"),
        ]);
    }
}
