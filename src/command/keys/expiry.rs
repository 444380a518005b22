//! Expiry: when records cease to exist.
//!
//! Deadlines are milliseconds since 1970. Seconds exist only in requests, as whole numbers, and in replies, rounded to
//! the nearest.

use crate::command::base::{Call, Flags, Group, KeyUse, KeyUses, Keys, Plan, Spec, read_key, write_key};
use crate::command::keys::whole::delete;
use crate::engine::{Event, Expiry};
use crate::error::Error;
use crate::resp::Reply;

/// What all commands here have in common, then what those that set a deadline have in common, and those that return
/// one.
const EXPIRY: Spec = Spec { group: Group::Generic, keys: Keys::ONE, ..Spec::DEFAULT };
const SETTING: Spec = Spec { arity: -3, flags: Flags::WRITE.union(Flags::FAST), ..EXPIRY };
const ASKING: Spec =
    Spec { syntax: "key", arity: 2, flags: Flags::READONLY.union(Flags::FAST).union(Flags::PEEKS), ..EXPIRY };

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "expire",
        syntax: "key seconds [NX | XX | GT | LT]",
        summary: "Makes a key expire after a number of seconds",
        key_uses: KeyUses::Each(&[KeyUse::CHANGE]),
        plan: |call| set_deadline(call, SECOND_MS, call.now_ms as i64),
        ..SETTING
    },
    Spec {
        name: "pexpire",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        summary: "Makes a key expire after a number of milliseconds",
        since: "2.6.0",
        key_uses: KeyUses::Each(&[KeyUse::CHANGE]),
        plan: |call| set_deadline(call, 1, call.now_ms as i64),
        ..SETTING
    },
    Spec {
        name: "expireat",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        summary: "Makes a key expire at a time in seconds since 1970",
        since: "1.2.0",
        key_uses: KeyUses::Each(&[KeyUse::CHANGE]),
        plan: |call| set_deadline(call, SECOND_MS, 0),
        ..SETTING
    },
    Spec {
        name: "pexpireat",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        summary: "Makes a key expire at a time in milliseconds since 1970",
        since: "2.6.0",
        key_uses: KeyUses::Each(&[KeyUse::CHANGE]),
        plan: |call| set_deadline(call, 1, 0),
        ..SETTING
    },
    Spec {
        name: "ttl",
        summary: "Returns the seconds until a key expires; -1: never, -2: no such key",
        tips: &["nondeterministic_output"],
        plan: |_| ask(|deadline, now_ms| rounded_seconds(deadline.saturating_sub(now_ms))),
        ..ASKING
    },
    Spec {
        name: "pttl",
        summary: "Returns the milliseconds until a key expires; -1: never, -2: no such key",
        since: "2.6.0",
        tips: &["nondeterministic_output"],
        plan: |_| ask(|deadline, now_ms| deadline.saturating_sub(now_ms)),
        ..ASKING
    },
    Spec {
        name: "expiretime",
        summary: "Returns when a key expires, in seconds since 1970; -1: never, -2: no such key",
        since: "7.0.0",
        plan: |_| ask(|deadline, _| rounded_seconds(deadline)),
        ..ASKING
    },
    Spec {
        name: "pexpiretime",
        summary: "Returns when a key expires, in milliseconds since 1970; -1: never, -2: no such key",
        since: "7.0.0",
        plan: |_| ask(|deadline, _| deadline),
        ..ASKING
    },
    Spec {
        name: "persist",
        syntax: "key",
        summary: "Removes the expiry of a key, and returns whether it had one",
        since: "2.2.0",
        arity: 2,
        flags: Flags::WRITE.union(Flags::FAST),
        key_uses: KeyUses::Each(&[KeyUse::CHANGE]),
        plan: persist,
        ..EXPIRY
    },
];

const SECOND_MS: i64 = 1_000;

/// Sets the deadline of the key to the number in the request, in its unit and counted from its base.
fn set_deadline(call: &Call<'_>, unit_ms: i64, base_ms: i64) -> Result<Plan, Error> {
    let conditions = Conditions::parse(call)?;
    let deadline = call.integer(2)?.checked_mul(unit_ms).and_then(|after| after.checked_add(base_ms));
    let deadline = deadline.ok_or(Error::ExpireTime(call.spec.name))?;
    write_key(move |txn, key| {
        let Some(meta) = txn.peek(key)? else { return Ok(Reply::Integer(0)) };
        if !conditions.allow(meta.expires_at_ms.map(|current| current as i64), deadline) {
            return Ok(Reply::Integer(0));
        }
        match u64::try_from(deadline).ok().filter(|deadline| *deadline > txn.now_ms()) {
            Some(deadline) => {
                if let Some(record) = txn.get(key)? {
                    txn.set_expiry(key, &record, Expiry::At(deadline))?;
                    txn.notify(key, Event::EXPIRE);
                }
            }
            None => {
                delete(txn, key)?;
            }
        }
        Ok(Reply::Integer(1))
    })
}

fn ask(answer: fn(deadline: u64, now_ms: u64) -> u64) -> Result<Plan, Error> {
    read_key(move |txn, key| {
        let meta = txn.peek(key)?;
        Ok(Reply::Integer(match meta.map(|meta| meta.expires_at_ms) {
            None => -2,
            Some(None) => -1,
            Some(Some(deadline)) => answer(deadline, txn.now_ms()) as i64,
        }))
    })
}

fn persist(_: &mut Call<'_>) -> Result<Plan, Error> {
    write_key(move |txn, key| {
        let expires = txn.peek(key)?.is_some_and(|meta| meta.expires_at_ms.is_some());
        if expires && let Some(record) = txn.get(key)? {
            txn.set_expiry(key, &record, Expiry::Persist)?;
            txn.notify(key, Event::PERSIST);
        }
        Ok(Reply::Integer(i64::from(expires)))
    })
}

fn rounded_seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1_000
}

/// When a deadline may be set.
#[derive(Default)]
struct Conditions {
    /// Only where there is none.
    nx: bool,
    /// Only where there is one.
    xx: bool,
    /// Only if it becomes later. No deadline is later than any.
    gt: bool,
    /// Only if it becomes earlier.
    lt: bool,
}

impl Conditions {
    fn parse(call: &Call<'_>) -> Result<Conditions, Error> {
        let mut conditions = Conditions::default();
        for at in 3..call.args.len() {
            match call.arg(at).to_ascii_lowercase().as_slice() {
                b"nx" => conditions.nx = true,
                b"xx" => conditions.xx = true,
                b"gt" => conditions.gt = true,
                b"lt" => conditions.lt = true,
                _ => {
                    // Redis prints a C string
                    let text = call.text(at);
                    let shown = text.split('\0').next().unwrap_or_default();
                    return Err(Error::other(format!("ERR Unsupported option {shown}")));
                }
            }
        }
        let Conditions { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err(Error::other("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if gt && lt {
            return Err(Error::other("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    fn allow(&self, current: Option<i64>, deadline: i64) -> bool {
        !(self.nx && current.is_some()
            || self.xx && current.is_none()
            || self.gt && current.is_none_or(|current| deadline <= current)
            || self.lt && current.is_some_and(|current| deadline >= current))
    }
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::{Harness, shown};

    #[test]
    fn a_deadline_is_set_asked_for_and_taken_away() {
        let mut h = Harness::new();
        h.expect(&[
            ("EXPIRE k 100", "0"),
            ("PERSIST k", "0"),
            ("SET k 1", "OK"),
            ("EXPIREAT k 99999999999", "1"),
            ("EXPIRETIME k", "99999999999"),
            ("PEXPIRETIME k", "99999999999000"),
            ("PEXPIREAT k 99999999999500", "1"),
            ("EXPIRETIME k", "100000000000"),
            ("GET k", r#""1""#),
            ("PERSIST k", "1"),
            ("PERSIST k", "0"),
        ]);
        for command in ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"] {
            h.expect(&[(&format!("{command} k"), "-1"), (&format!("{command} missing"), "-2")]);
        }
    }

    #[test]
    fn relative_deadlines_count_from_now() {
        let mut h = Harness::new();
        h.expect(&[("SET k 1", "OK"), ("EXPIRE k 1000000", "1")]);
        assert!((999_900_000..=1_000_000_000).contains(&h.ttl_ms("k")));
        assert!(["1000000", "999999"].contains(&&*shown(&h.run("TTL k"))));
        h.expect(&[("PEXPIRE k 5000000", "1")]);
        assert!((4_900_000..=5_000_000).contains(&h.ttl_ms("k")));
    }

    #[test]
    fn a_deadline_that_has_passed_removes_at_once() {
        let mut h = Harness::new();
        for line in ["EXPIRE k 0", "EXPIRE k -1", "PEXPIRE k -100", "EXPIREAT k 1", "PEXPIREAT k -5"] {
            h.expect(&[("SET k 1", "OK"), (line, "1"), ("EXISTS k", "0"), (line, "0")]);
        }
    }

    #[test]
    fn conditions() {
        let mut h = Harness::new();
        // the deadline before (0: none), the option, the new deadline, whether it is set
        for (before, option, after, expected) in [
            (0, "NX", 2_000, 1),
            (3_000, "nx", 2_000, 0),
            (0, "XX", 2_000, 0),
            (3_000, "xx", 2_000, 1),
            (0, "GT", 2_000, 0),
            (3_000, "GT", 2_000, 0),
            (3_000, "GT", 3_000, 0),
            (3_000, "gt", 4_000, 1),
            (0, "LT", 2_000, 1),
            (3_000, "LT", 3_000, 0),
            (3_000, "LT", 4_000, 0),
            (3_000, "lt", 2_000, 1),
            (0, "XX LT", 2_000, 0),
            (3_000, "XX GT", 4_000, 1),
        ] {
            const FAR: i64 = 99_999_999_000;
            h.run("SET k 1");
            if before != 0 {
                h.run(&format!("EXPIREAT k {}", FAR + before));
            }
            let deadline = match (expected, before) {
                (1, _) => FAR + after,
                (_, 0) => -1,
                _ => FAR + before,
            };
            h.expect(&[
                (&format!("EXPIREAT k {} {option}", FAR + after), &expected.to_string()),
                ("EXPIRETIME k", &deadline.to_string()),
            ]);
        }
    }

    #[test]
    fn errors_come_in_the_order_of_redis() {
        const NOT_WITH_NX: &str = "-ERR NX and XX, GT or LT options at the same time are not compatible";
        Harness::new().expect(&[
            ("EXPIRE k abc NX GT FOO", "-ERR Unsupported option FOO"),
            (r#"EXPIRE k abc NX "a\x00b""#, "-ERR Unsupported option a"),
            ("EXPIRE k abc NX GT", NOT_WITH_NX),
            ("EXPIRE k abc LT XX NX", NOT_WITH_NX),
            ("EXPIRE k abc XX GT LT", "-ERR GT and LT options at the same time are not compatible"),
            ("EXPIRE k abc", "-ERR value is not an integer or out of range"),
            ("PEXPIREAT k 9223372036854775808", "-ERR value is not an integer or out of range"),
            ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("EXPIRE k -9223372036854776", "-ERR invalid expire time in 'expire' command"),
            ("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
            ("EXPIREAT k 9223372036854776", "-ERR invalid expire time in 'expireat' command"),
            ("EXPIRE k", "-ERR wrong number of arguments for 'expire' command"),
        ]);
    }

    #[test]
    fn the_last_moments_there_are() {
        Harness::new().expect(&[
            ("SET k 1", "OK"),
            ("PEXPIREAT k 9223372036854775807", "1"),
            ("PEXPIRETIME k", "9223372036854775807"),
            ("GET k", r#""1""#),
            ("EXPIRE k -9223372036854775", "1"),
            ("GET k", "nil"),
        ]);
    }
}
