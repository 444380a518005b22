//! Counters: values that are numbers, incremented in place.
//!
//! The decimal text of a number is JSON, so counters work in stores of either kind. A missing key counts as 0, and a
//! counter keeps its expiry.

use crate::command::base::{Call, Flags, Group, Keys, Plan, Spec, write_key};
use crate::engine::{Event, Expiry};
use crate::error::Error;
use crate::record::number::{self, LongDouble};
use crate::resp::Reply;
use crate::store::Value;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "incr",
        syntax: "key",
        summary: "Adds 1 to the integer at a key",
        plan: |_| add(1),
        ..COUNTER
    },
    Spec {
        name: "decr",
        syntax: "key",
        summary: "Subtracts 1 from the integer at a key",
        plan: |_| add(-1),
        ..COUNTER
    },
    Spec {
        name: "incrby",
        syntax: "key increment",
        summary: "Adds to the integer at a key",
        arity: 3,
        plan: |call| add(call.integer(2)?),
        ..COUNTER
    },
    Spec {
        name: "decrby",
        syntax: "key decrement",
        summary: "Subtracts from the integer at a key",
        arity: 3,
        plan: decrby,
        ..COUNTER
    },
    Spec {
        name: "incrbyfloat",
        syntax: "key increment",
        summary: "Adds to the decimal number at a key",
        since: "2.6.0",
        arity: 3,
        plan: incrbyfloat,
        ..COUNTER
    },
];

const COUNTER: Spec = Spec {
    group: Group::String,
    arity: 2,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    keys: Keys::ONE,
    ..Spec::DEFAULT
};

fn add(increment: i64) -> Result<Plan, Error> {
    write_key(move |txn, key| {
        let old = txn.read(key, |value| match value {
            Some(text) => number::parse_i64(text).ok_or(Error::NotInteger),
            None => Ok(0),
        })??;
        let new = old
            .checked_add(increment)
            .ok_or_else(|| Error::other("ERR increment or decrement would overflow"))?;
        txn.put(key, Value::integer(new), Expiry::Keep)?;
        txn.notify(key, Event::INCRBY);
        Ok(Reply::Integer(new))
    })
}

fn decrby(call: &mut Call<'_>) -> Result<Plan, Error> {
    let decrement = call.integer(2)?;
    let increment = decrement.checked_neg().ok_or_else(|| Error::other("ERR decrement would overflow"))?;
    add(increment)
}

fn incrbyfloat(call: &mut Call<'_>) -> Result<Plan, Error> {
    let increment = LongDouble::parse(call.arg(2)).ok_or(Error::NotFloat)?;
    write_key(move |txn, key| {
        let old = txn.read(key, |value| match value {
            Some(text) => LongDouble::parse(text).ok_or(Error::NotFloat),
            None => Ok(LongDouble::ZERO),
        })??;
        let new = old
            .checked_add(increment)
            .ok_or_else(|| Error::other("ERR increment would produce NaN or Infinity"))?
            .to_string();
        txn.put(key, Value::unchecked(new.clone()), Expiry::Keep)?;
        txn.notify(key, Event::INCRBYFLOAT);
        Ok(Reply::text(new))
    })
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::Harness;

    // The expected replies were taken from Redis 7.0.15.

    #[test]
    fn integers() {
        let mut h = Harness::json();
        h.expect(&[
            ("INCR n", "1"),
            ("INCRBY n 41", "42"),
            ("DECR n", "41"),
            ("DECRBY n 50", "-9"),
            ("INCRBY n -1", "-10"),
            ("GET n", "\"-10\""),
            ("SET n 5 EX 100", "OK"),
            ("INCR n", "6"),
        ]);
        assert!(h.ttl_ms("n") > 90_000);
    }

    #[test]
    fn what_is_no_integer_or_becomes_none() {
        let (not_integer, overflow) =
            ("-ERR value is not an integer or out of range", "-ERR increment or decrement would overflow");
        Harness::new().expect(&[
            ("INCRBY n x", not_integer),
            ("DECRBY n 1.5", not_integer),
            ("GET n", "nil"),
            ("SET n ' 1'", "OK"),
            ("INCR n", not_integer),
            ("SET n 9223372036854775807", "OK"),
            ("INCR n", overflow),
            ("GET n", "\"9223372036854775807\""),
            ("SET n -9223372036854775808", "OK"),
            ("DECR n", overflow),
            ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
        ]);
    }

    #[test]
    fn decimal_numbers() {
        let mut h = Harness::json();
        let (not_float, infinite) =
            ("-ERR value is not a valid float", "-ERR increment would produce NaN or Infinity");
        h.expect(&[
            ("INCRBYFLOAT f 0.1", "\"0.1\""),
            ("INCRBYFLOAT f 0.2", "\"0.3\""),
            ("INCRBYFLOAT f -0.3", "\"0\""),
            ("INCRBYFLOAT f 5.0e3", "\"5000\""),
            ("INCR f", "5001"),
            ("INCRBYFLOAT f x", not_float),
            ("INCRBYFLOAT f inf", infinite),
            ("SET f 10.50 EX 100", "OK"),
            ("INCRBYFLOAT f .1", "\"10.6\""),
            ("GET f", "\"10.6\""),
            ("SET g true", "OK"),
            ("INCRBYFLOAT g 1", not_float),
        ]);
        assert!(h.ttl_ms("f") > 90_000);
    }
}
