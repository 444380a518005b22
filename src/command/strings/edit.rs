//! Strings: values read, whole or in part, and edited in place. [`set`](crate::command::strings::set) writes them whole,
//! [`counter`](crate::command::strings::counter) and [`increx`](crate::command::strings::increx) as numbers.
//!
//! A value that is edited keeps its expiry. In a `json` store the edited text has to be JSON again, or nothing changes.

use std::ops::Range;

use bytes::Bytes;

use crate::command::base::{
    Call, Flags, Group, KeyUse, KeyUses, Keys, Plan, Spec, read, read_key, write_key,
};
use crate::command::keys::whole::delete;
use crate::command::strings::deadline::ExpiryOption;
use crate::engine::{Event, Expiry, Record};
use crate::error::Error;
use crate::limits::ASIDE_BYTES;
use crate::record::digest::digest;
use crate::record::lcs::{Lcs, Match, lcs};
use crate::resp::Reply;
use crate::store::{Value, ValueKind};

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "get",
        syntax: "key",
        summary: "Returns the value of a key",
        group: Group::String,
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: Keys::ONE,
        plan: get,
        ..Spec::DEFAULT
    },
    Spec {
        name: "mget",
        syntax: "key [key ...]",
        summary: "Returns the values of several keys, as of one instant",
        group: Group::String,
        complexity: "O(N) where N is the number of keys",
        arity: -2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: Keys::ALL,
        tips: &["request_policy:multi_shard"],
        plan: mget,
        ..Spec::DEFAULT
    },
    Spec {
        name: "getdel",
        syntax: "key",
        summary: "Returns the value of a key and removes the key",
        group: Group::String,
        since: "6.2.0",
        arity: 2,
        flags: Flags::WRITE.union(Flags::FAST).union(Flags::REMOVES),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::TAKE]),
        plan: getdel,
        ..Spec::DEFAULT
    },
    Spec {
        name: "getex",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        summary: "Returns the value of a key and sets or removes its expiry",
        group: Group::String,
        since: "6.2.0",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: Keys::ONE,
        plan: getex,
        ..Spec::DEFAULT
    },
    Spec {
        name: "strlen",
        syntax: "key",
        summary: "Returns the number of bytes in the value of a key",
        group: Group::String,
        since: "2.2.0",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: strlen,
        ..Spec::DEFAULT
    },
    Spec {
        name: "getrange",
        syntax: "key start end",
        summary: "Returns a part of the value of a key",
        group: Group::String,
        since: "2.4.0",
        complexity: "O(N) where N is the length of the part",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        plan: getrange,
        ..Spec::DEFAULT
    },
    Spec {
        name: "substr",
        syntax: "key start end",
        summary: "Returns a part of the value of a key; the older name of GETRANGE",
        group: Group::String,
        complexity: "O(N) where N is the length of the part",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        plan: getrange,
        ..Spec::DEFAULT
    },
    Spec {
        name: "append",
        syntax: "key value",
        summary: "Appends bytes to the value of a key; creates the key if it doesn't exist",
        group: Group::String,
        since: "2.0.0",
        arity: 3,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST).union(Flags::WHOLE_VALUE),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::APPEND]),
        plan: append,
        ..Spec::DEFAULT
    },
    Spec {
        name: "setrange",
        syntax: "key offset value",
        summary: "Overwrites a part of the value of a key; a gap before it is filled with zero bytes",
        group: Group::String,
        since: "2.2.0",
        complexity: "O(N) where N is the length of the whole value",
        arity: 4,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::WHOLE_VALUE),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::CHANGE]),
        plan: setrange,
        ..Spec::DEFAULT
    },
    Spec {
        name: "digest",
        syntax: "key",
        summary: "Returns the XXH3 digest of the value of a key, for IFDEQ and IFDNE",
        group: Group::String,
        since: "8.4.0",
        complexity: "O(N) where N is the length of the value",
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST).union(Flags::WHOLE_VALUE),
        keys: Keys::ONE,
        plan: digest_of,
        ..Spec::DEFAULT
    },
    Spec {
        name: "lcs",
        syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        summary: "Finds the longest common subsequence of two values",
        group: Group::String,
        since: "7.0.0",
        complexity: "O(N*M) where N and M are the lengths of the values",
        arity: -3,
        flags: Flags::READONLY.union(Flags::LONG),
        keys: Keys::TWO,
        plan: lcs_of,
        ..Spec::DEFAULT
    },
];

fn get(_: &mut Call<'_>) -> Result<Plan, Error> {
    read_key(move |txn, key| Ok(Reply::bulk_or_null(txn.get(key)?.map(|record| record.value))))
}

fn mget(call: &mut Call<'_>) -> Result<Plan, Error> {
    let keys = call.keys(1);
    read(move |txn| {
        let value = |key| Ok(Reply::bulk_or_null(txn.get(key)?.map(|record| record.value)));
        Ok(Reply::Array(keys.iter().map(value).collect::<Result<_, Error>>()?))
    })
}

fn getdel(call: &mut Call<'_>) -> Result<Plan, Error> {
    let lookups = call.server.stats.mine().lookups.clone();
    write_key(move |txn, key| {
        let found = txn.get(key)?;
        lookups.count_one(found.is_some());
        let Some(record) = found else {
            txn.notify(key, Event::KEY_MISS);
            return Ok(Reply::Null);
        };
        delete(txn, key)?;
        Ok(Reply::Bulk(record.value))
    })
}

fn getex(call: &mut Call<'_>) -> Result<Plan, Error> {
    let mut expiry = ExpiryOption::default();
    call.options(2, |at| expiry.take(call, at, ExpiryOption::Persist)?.ok_or(Error::Syntax))?;
    if expiry == ExpiryOption::Unsaid {
        return get(call);
    }
    // as in Redis, a bad time is an error only if there is a record
    let expiry = expiry.resolve(call);
    let lookups = call.server.stats.mine().lookups.clone();
    write_key(move |txn, key| {
        let found = txn.get(key)?;
        lookups.count_one(found.is_some());
        let Some(record) = found else {
            txn.notify(key, Event::KEY_MISS);
            return Ok(Reply::Null);
        };
        match expiry? {
            None => {}
            Some(Expiry::Persist) if record.expires_at_ms.is_none() => {}
            Some(expiry) => {
                txn.set_expiry(key, &record, expiry)?;
                txn.notify(
                    key,
                    match expiry {
                        Expiry::At(deadline) if deadline <= txn.now_ms() => Event::DEL,
                        Expiry::At(_) => Event::EXPIRE,
                        Expiry::Never | Expiry::Persist | Expiry::Keep => Event::PERSIST,
                    },
                );
            }
        }
        Ok(Reply::Bulk(record.value))
    })
}

fn strlen(_: &mut Call<'_>) -> Result<Plan, Error> {
    read_key(move |txn, key| Ok(Reply::Integer(txn.peek(key)?.map_or(0, |meta| meta.value_bytes as i64))))
}

fn getrange(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    read_key(move |txn, key| {
        let Some(record) = txn.get(key)? else { return Ok(Reply::Bulk(Bytes::new())) };
        Ok(Reply::Bulk(record.value.slice(range(start, end, record.value.len()))))
    })
}

/// The bytes from `start` to `end`, which is one of them; negative ones count from the end of `len` bytes.
fn range(start: i64, end: i64, len: usize) -> Range<usize> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let len = len as i64;
    let from_start = |index: i64| if index < 0 { (len + index).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

fn append(call: &mut Call<'_>) -> Result<Plan, Error> {
    let tail = call.word(2);
    let bytes_max = call.server.config.proto_max_bulk_len();
    write_key(move |txn, key| {
        let head_bytes = txn.peek(key)?.map_or(0, |meta| meta.value_bytes);
        if head_bytes > 0 && head_bytes + tail.len() > bytes_max {
            return Err(Error::ValueTooLong);
        }
        let head = txn.get(key)?.map_or(Bytes::new(), |record| record.value);
        let whole = [&head[..], &tail[..]].concat();
        let length = whole.len();
        txn.put(key, Value::unchecked(whole), Expiry::Keep)?;
        txn.notify(key, Event::APPEND);
        Ok(Reply::Integer(length as i64))
    })
}

fn setrange(call: &mut Call<'_>) -> Result<Plan, Error> {
    let offset = call.integer(2)?;
    let offset = usize::try_from(offset).map_err(|_| Error::other("ERR offset is out of range"))?;
    let patch = call.word(3);
    if offset > ASIDE_BYTES && !call.session.may_block {
        return Ok(Plan::Aside);
    }
    let bytes_max = call.server.config.proto_max_bulk_len();
    write_key(move |txn, key| {
        if patch.is_empty() {
            return Ok(Reply::Integer(txn.peek(key)?.map_or(0, |meta| meta.value_bytes as i64)));
        }
        let end =
            offset.checked_add(patch.len()).filter(|end| *end <= bytes_max).ok_or(Error::ValueTooLong)?;
        let old = txn.get(key)?.map_or(Bytes::new(), |record| record.value);
        let store = txn.store(key.store)?;
        if offset > old.len() && txn.kind(key.store)? == ValueKind::Json {
            // the gap would be filled with zeros, and a zero byte is no JSON, so it is refused before they are
            // allocated
            Value::unchecked([&old[..], b"\0"].concat())
                .admit(ValueKind::Json)
                .map_err(|why| Error::not_for_store(store.label(), &why))?;
        }
        let length = old.len().max(end);
        let mut value = Vec::with_capacity(length);
        value.extend_from_slice(&old);
        value.resize(length, 0);
        value[offset..end].copy_from_slice(&patch);
        txn.put(key, Value::unchecked(value), Expiry::Keep)?;
        txn.notify(key, Event::SETRANGE);
        Ok(Reply::Integer(length as i64))
    })
}

fn digest_of(_: &mut Call<'_>) -> Result<Plan, Error> {
    read_key(move |txn, key| {
        let digest = txn.get(key)?.map(|record| Bytes::copy_from_slice(&digest(&record.value)));
        Ok(Reply::bulk_or_null(digest))
    })
}

fn lcs_of(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (mut len, mut idx, mut with_lengths, mut length_min) = (false, false, false, 0);
    call.options(3, |at| {
        if call.is(at, "LEN") {
            len = true;
        } else if call.is(at, "IDX") {
            idx = true;
        } else if call.is(at, "WITHMATCHLEN") {
            with_lengths = true;
        } else if call.is(at, "MINMATCHLEN") && at + 1 < call.args.len() {
            length_min = call.integer(at + 1)?;
            return Ok(1);
        } else {
            return Err(Error::Syntax);
        }
        Ok(0)
    })?;
    if len && idx {
        return Err(Error::other("ERR If you want both the length and indexes, please just use IDX."));
    }
    let (a, b) = (call.key(1), call.key(2));
    read(move |txn| {
        let value = |record: Option<Record>| record.map_or(Bytes::new(), |record| record.value);
        let Lcs { text, matches } = lcs(&value(txn.get(&a)?), &value(txn.get(&b)?))?;
        let text_bytes = Reply::Integer(text.len() as i64);
        if len {
            return Ok(text_bytes);
        }
        if !idx {
            return Ok(Reply::Bulk(text.into()));
        }
        let long_enough = matches.iter().filter(|run| run.len as i64 >= length_min);
        let matches = Reply::Array(long_enough.map(|run| run_reply(run, with_lengths)).collect());
        Ok(Reply::Map(vec![(Reply::text("matches"), matches), (Reply::text("len"), text_bytes)]))
    })
}

/// A run as first and last position in either value, and its length if wanted.
fn run_reply(run: &Match, with_length: bool) -> Reply {
    let integer = |number: usize| Reply::Integer(number as i64);
    let ends = |start: usize| Reply::Array(vec![integer(start), integer(start + run.len - 1)]);
    let mut reply = vec![ends(run.a_start), ends(run.b_start)];
    reply.extend(with_length.then(|| integer(run.len)));
    Reply::Array(reply)
}

#[cfg(test)]
mod tests {
    use crate::command::strings::edit::*;
    use crate::command::tests::harness::{Harness, not_json};

    // The expected replies were taken from Redis 7.0.15, except where a test says otherwise.

    #[test]
    fn values_are_read() {
        Harness::new().expect(&[
            ("GET k", "nil"),
            ("SET k v", "OK"),
            ("GET k", "\"v\""),
            ("MGET k none k", "[\"v\", nil, \"v\"]"),
            ("STRLEN k", "1"),
            ("STRLEN none", "0"),
            ("GETDEL k", "\"v\""),
            ("GETDEL k", "nil"),
            ("GET k", "nil"),
        ]);
    }

    #[test]
    fn getex_sets_and_removes_the_expiry() {
        let mut h = Harness::json();
        h.expect(&[("SET k 1", "OK"), ("GETEX k", "\"1\"")]);
        assert_eq!(h.ttl_ms("k"), -1);
        h.run("GETEX k EX 100");
        assert!((90_000..=100_000).contains(&h.ttl_ms("k")));
        h.run("GETEX k PX 5000");
        assert!((1..=5_000).contains(&h.ttl_ms("k")));
        h.run("GETEX k");
        assert!((1..=5_000).contains(&h.ttl_ms("k")), "without an option nothing changes");
        h.run("GETEX k PERSIST PERSIST");
        assert_eq!(h.ttl_ms("k"), -1);
        let version = h.meta("k").map(|meta| meta.version);
        h.run("GETEX k PERSIST");
        assert_eq!(h.meta("k").map(|meta| meta.version), version, "nothing to remove is no change");
        h.expect(&[("GETEX k PXAT 1", "\"1\""), ("GETEX k", "nil")]);
    }

    #[test]
    fn getex_refuses_what_redis_refuses() {
        Harness::new().expect(&[
            ("GETEX none EX 0", "nil"),
            ("GETEX none EX abc", "nil"),
            ("SET k v", "OK"),
            ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command"),
            ("GETEX k EX abc", "-ERR value is not an integer or out of range"),
            ("GETEX k EX", "-ERR syntax error"),
            ("GETEX k EX 10 PERSIST", "-ERR syntax error"),
            ("GETEX k EX 10 PX 10", "-ERR syntax error"),
            ("GETEX k KEEPTTL", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn parts_of_a_value() {
        // From Redis's own tests.
        for (start, end, part) in [
            (0, 3, "Hell"),
            (0, -1, "Hello World"),
            (-4, -1, "orld"),
            (5, 3, ""),
            (5, 5000, " World"),
            (-5000, 10000, "Hello World"),
            (0, -100, "H"),
            (1, -100, ""),
            (-1, -100, ""),
            (-100, -99, "H"),
            (-100, -100, "H"),
            (-100, -101, ""),
            (i64::MIN, i64::MAX, "Hello World"),
        ] {
            assert_eq!(&"Hello World"[range(start, end, 11)], part, "{start} {end}");
            assert_eq!(range(start, end, 0), 0..0, "{start} {end}");
        }
        Harness::new().expect(&[
            ("SET k abcde", "OK"),
            ("GETRANGE k 1 2", "\"bc\""),
            ("SUBSTR k -4 -1", "\"bcde\""),
            ("GETRANGE none 0 -1", "\"\""),
            ("GETRANGE k 0 x", "-ERR value is not an integer or out of range"),
        ]);
    }

    #[test]
    fn values_grow_and_keep_their_expiry() {
        let mut h = Harness::new();
        h.expect(&[
            ("APPEND k ''", "0"),
            ("GET k", "\"\""),
            ("APPEND k foo", "3"),
            ("SETRANGE k 4 bar", "7"),
            ("GET k", "\"foo\\x00bar\""),
            ("SETRANGE k 0 b", "7"),
            ("GET k", "\"boo\\x00bar\""),
            ("SETRANGE k 2 ''", "7"),
            ("SETRANGE none 5 ''", "0"),
            ("GET none", "nil"),
            ("SETRANGE new 1 foo", "4"),
            ("GET new", "\"\\x00foo\""),
            ("SET k v EX 100", "OK"),
            ("APPEND k w", "2"),
            ("SETRANGE k 0 x", "2"),
            ("GET k", "\"xw\""),
        ]);
        assert!(h.ttl_ms("k") > 90_000);
    }

    #[test]
    fn values_do_not_grow_beyond_the_limit() {
        let mut h = Harness::new();
        h.server.config.update(|settings| settings.proto_max_bulk_len = 10);
        let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
        h.expect(&[
            ("SET k 12345", "OK"),
            ("APPEND k 123456", too_long),
            ("APPEND k 12345", "10"),
            ("SETRANGE k 9 x", "10"),
            ("SETRANGE k 9 xy", too_long),
            ("SETRANGE k 9223372036854775807 x", too_long),
            ("SETRANGE none 10 x", too_long),
            ("SETRANGE k -1 x", "-ERR offset is out of range"),
            ("SETRANGE k x x", "-ERR value is not an integer or out of range"),
            ("GET k", "\"123451234x\""),
        ]);
    }

    #[test]
    fn a_json_store_refuses_an_edit_that_is_no_json() {
        let mut h = Harness::json();
        h.expect(&[
            ("SET k 12", "OK"),
            ("APPEND k 3", "3"),
            ("APPEND k ,", &not_json(1, 4)),
            ("SETRANGE k 0 x", &not_json(1, 1)),
            ("SETRANGE k 0 9", "3"),
            ("GET k", "\"923\""),
            ("APPEND new ''", &not_json(1, 1)),
            ("GET new", "nil"),
        ]);
    }

    #[test]
    fn digests() {
        // From the documentation of DIGEST.
        Harness::new().expect(&[
            ("DIGEST k", "nil"),
            ("SET k 'Hello world'", "OK"),
            ("DIGEST k", "\"b6acb9d84a38ff74\""),
        ]);
    }

    #[test]
    fn longest_common_subsequence() {
        let mut h = Harness::new();
        h.expect(&[
            ("MSET a ohmytext b mynewtext", "OK"),
            ("LCS a b", "\"mytext\""),
            ("LCS a b LEN", "6"),
            ("LCS a b IDX", "{\"matches\": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], \"len\": 6}"),
            ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", "{\"matches\": [[[4, 7], [5, 8], 4]], \"len\": 6}"),
            ("LCS a b IDX MINMATCHLEN 9", "{\"matches\": [], \"len\": 6}"),
            ("LCS a b MINMATCHLEN -3 IDX", "{\"matches\": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], \"len\": 6}"),
            ("LCS a none", "\"\""),
            ("LCS none none LEN", "0"),
            ("LCS none none IDX", "{\"matches\": [], \"len\": 0}"),
            ("LCS a b LEN IDX", "-ERR If you want both the length and indexes, please just use IDX."),
            ("LCS a b MINMATCHLEN", "-ERR syntax error"),
            ("LCS a b MINMATCHLEN x IDX", "-ERR value is not an integer or out of range"),
            ("LCS a b FOO", "-ERR syntax error"),
        ]);
        let flat = r"*4\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n";
        assert_eq!(h.bytes("LCS none none IDX"), flat);
    }
}
