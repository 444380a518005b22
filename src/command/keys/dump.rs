//! DUMP and RESTORE: move values between servers, Larder, Redis and Valkey.

use bytes::Bytes;

use crate::command::base::{Call, Flags, Group, KeyUse, KeyUses, Keys, Plan, Spec, read_key, write_key};
use crate::engine::Expiry;
use crate::engine::events::Event;
use crate::error::Error;
use crate::limits::ASIDE_BYTES;
use crate::rdb::{self, Refusal};
use crate::record::{dump, number};
use crate::resp::Reply;
use crate::store::Value;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "dump",
        syntax: "key",
        summary: "Returns the value in the form that RESTORE takes, without its expiry",
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N) where N is the length of the value",
        arity: 2,
        flags: Flags::READONLY,
        keys: Keys::ONE,
        tips: &["nondeterministic_output"],
        plan: dump_value,
        ..Spec::DEFAULT
    },
    Spec {
        name: "restore",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        summary: "Sets a key to a value that DUMP returned, with an expiry in milliseconds (0: none)",
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N) where N is the length of the value",
        arity: -4,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::DANGEROUS),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::OVERWRITE]),
        plan: restore,
        ..Spec::DEFAULT
    },
];

fn dump_value(_: &mut Call<'_>) -> Result<Plan, Error> {
    read_key(move |txn, key| {
        let payload = txn.get(key)?.map(|record| rdb::encode(&record.value).into());
        Ok(Reply::bulk_or_null(payload))
    })
}

/// What RESTORE may do.
#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
}

impl Options {
    /// IDLETIME and FREQ are only checked, because accesses are not recorded.
    fn parse(call: &Call<'_>) -> Result<Options, Error> {
        let mut options = Options::default();
        let (mut has_idle, mut has_frequency) = (false, false);
        call.options(4, |at| {
            let has_value = at + 1 < call.args.len();
            match () {
                () if call.is(at, "replace") => options.replaces = true,
                () if call.is(at, "absttl") => options.is_absolute = true,
                () if call.is(at, "idletime") && has_value && !has_frequency => {
                    if call.integer(at + 1)? < 0 {
                        return Err(Error::other("ERR Invalid IDLETIME value, must be >= 0"));
                    }
                    has_idle = true;
                    return Ok(1);
                }
                () if call.is(at, "freq") && has_value && !has_idle => {
                    if !(0..=255).contains(&call.integer(at + 1)?) {
                        return Err(Error::other("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                    }
                    has_frequency = true;
                    return Ok(1);
                }
                () => return Err(Error::Syntax),
            }
            Ok(0)
        })?;
        Ok(options)
    }
}

/// As in Redis, an existing key is reported before any problem of the payload.
fn restore(call: &mut Call<'_>) -> Result<Plan, Error> {
    let options = Options::parse(call)?;
    let ttl_ms = number::parse_i64(call.arg(2));
    let bytes_max = call.server.config.proto_max_bulk_len();
    // a short payload may hold a long value, compressed
    let bytes_now = if call.session.may_block { bytes_max } else { bytes_max.min(ASIDE_BYTES) };
    let value = match value(call.arg(3), bytes_now) {
        Err(Error::ValueTooLong) if bytes_now < bytes_max => return Ok(Plan::Aside),
        value => value,
    };
    write_key(move |txn, key| {
        let is_there = txn.peek(key)?.is_some();
        if is_there && !options.replaces {
            return Err(Error::other("BUSYKEY Target key name already exists."));
        }
        let ttl_ms = u64::try_from(ttl_ms.ok_or(Error::NotInteger)?)
            .map_err(|_| Error::other("ERR Invalid TTL value, must be >= 0"))?;
        let value = value?;
        let expiry = match ttl_ms {
            0 => Expiry::Persist,
            deadline if options.is_absolute => Expiry::At(deadline),
            ttl => Expiry::At(txn.now_ms().saturating_add(ttl)),
        };
        txn.put(key, Value::unchecked(value), expiry)?;
        match expiry {
            Expiry::At(deadline) if deadline <= txn.now_ms() => {
                if is_there {
                    txn.notify(key, Event::DEL);
                }
            }
            _ => {
                txn.notify(key, Event::RESTORE);
                if is_there {
                    txn.notify(key, Event::OVERWRITTEN);
                }
            }
        }
        Ok(Reply::OK)
    })
}

/// The value in a payload of any server.
fn value(payload: &[u8], bytes_max: usize) -> Result<Bytes, Error> {
    if let Some(value) = dump::decode(payload) {
        return Ok(value);
    }
    rdb::decode(payload, bytes_max).map(Bytes::from).map_err(|refusal| match refusal {
        Refusal::Frame => Error::other("ERR DUMP payload version or checksum are wrong"),
        Refusal::Format => Error::other("ERR Bad data format"),
        Refusal::Kind(kind) => Error::other(format!(
            "ERR the payload is a {}, and RESTORE takes only strings; larder import makes JSON of other types",
            kind.name()
        )),
        Refusal::TooLong => Error::ValueTooLong,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::tests::harness::{Harness, shown};
    use crate::resp::Reply;

    /// What DUMP returned, as one would type it.
    fn dumped(h: &mut Harness, key: &str) -> String {
        let reply = h.run(&format!("DUMP {key}"));
        assert!(matches!(reply, Reply::Bulk(_)), "{reply:?}");
        shown(&reply)
    }

    #[test]
    fn values_are_restored_with_an_expiry() {
        let mut h = Harness::new();
        h.expect(&[(r#"SET k "a\x00b""#, "OK"), ("DUMP missing", "nil")]);
        let payload = dumped(&mut h, "k");
        let mut restore = |rest: &str, answer: &str| {
            h.expect(&[(&format!("RESTORE {}", rest.replace('$', &payload)), answer)]);
        };
        restore("k 0 $", "-BUSYKEY Target key name already exists.");
        restore("k 0 $ REPLACE", "OK");
        restore("new 5000000 $ IDLETIME 1", "OK");
        restore("past 1 $ ABSTTL FREQ 255", "OK");
        restore("far 99999999999999 $ absttl", "OK");
        h.expect(&[
            ("GET new", r#""a\x00b""#),
            ("TTL k", "-1"),
            ("EXISTS past", "0"),
            ("PEXPIRETIME far", "99999999999999"),
        ]);
        assert!((4_900_000..=5_000_000).contains(&h.ttl_ms("new")));
    }

    #[test]
    fn what_is_wrong_is_refused_in_redis_words() {
        let wrong = "-ERR DUMP payload version or checksum are wrong";
        Harness::new().expect(&[
            ("RESTORE k 0 abc", wrong),
            (r#"RESTORE k 0 "\x00\x011\t\x00\xb3\x80\x8e\xba1\xb2C\xbb""#, wrong),
            ("RESTORE k -1 abc", "-ERR Invalid TTL value, must be >= 0"),
            ("RESTORE k x abc", "-ERR value is not an integer or out of range"),
            ("RESTORE k 0 abc IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0"),
            ("RESTORE k 0 abc FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("RESTORE k 0 abc FREQ 1 IDLETIME 1", "-ERR syntax error"),
            ("RESTORE k 0 abc IDLETIME", "-ERR syntax error"),
            ("EXISTS k", "0"),
        ]);
    }

    #[test]
    fn payloads_of_earlier_versions_are_restored() {
        Harness::new().expect(&[
            (r#"RESTORE k 0 "LDMP\x01{}b\xdam\xffP>\xd7\xf4""#, "OK"),
            ("GET k", r#""{}""#),
            (
                r#"RESTORE l 0 "LDMP\x01{}b\xdam\xffP>\xd7\xf5""#,
                "-ERR DUMP payload version or checksum are wrong",
            ),
        ]);
    }

    #[test]
    fn a_store_of_json_takes_back_only_json() {
        let mut any = Harness::new();
        any.run("SET k text");
        let payload = dumped(&mut any, "k");
        let refused = Harness::json().run(&format!("RESTORE k 0 {payload}"));
        assert!(shown(&refused).starts_with("-NOTJSON "), "{refused:?}");
    }
}
