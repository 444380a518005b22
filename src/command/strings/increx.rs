//! INCREX: a counter with bounds and an expiry, in one step.
//!
//! The same rules apply to integers and to decimal numbers, so they are written once, for `Number`. A sum outside the
//! bounds (by default those of the type) is refused and answered with `[value, 0]`; with `SATURATE`, it becomes the
//! bound that it exceeded.

use std::ops::RangeInclusive;

use crate::command::base::{Call, Flags, Group, Keys, Plan, Spec, write_key};
use crate::command::strings::deadline::{ExpiryOption, notify_put};
use crate::engine::{Event, Expiry};
use crate::error::Error;
use crate::record::number::{self, LongDouble};
use crate::resp::{Protocol, Reply};
use crate::store::Value;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "increx",
    syntax: "key [BYFLOAT increment | BYINT increment] [LBOUND lowerbound] [UBOUND upperbound] [SATURATE] \
             [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] [ENX]",
    summary: "Adds to the number at a key within bounds, and sets or removes the key's expiry",
    group: Group::String,
    since: "8.8.0",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    keys: Keys::ONE,
    plan: increx,
    ..Spec::DEFAULT
}];

/// The options as they were typed: positions of words.
#[derive(Default)]
struct Options {
    by_integer: Option<usize>,
    by_float: Option<usize>,
    lower: Option<usize>,
    upper: Option<usize>,
    saturate: bool,
    expiry: ExpiryOption,
    /// The expiry applies only to a key that has none.
    enx: bool,
}

fn increx(call: &mut Call<'_>) -> Result<Plan, Error> {
    let options = Options::parse(call)?;
    match (options.by_integer, options.by_float) {
        (None, None) => count(call, &options, 1),
        (Some(at), _) => count(call, &options, i64::operand(call, at, "Increment")?),
        (_, Some(at)) => {
            let increment = LongDouble::operand(call, at, "Increment")?;
            if increment.is_infinite() {
                return Err(Error::other("ERR BYFLOAT increment cannot be Infinity"));
            }
            count(call, &options, increment)
        }
    }
}

impl Options {
    /// Unlike SET, INCREX takes no option twice.
    fn parse(call: &Call<'_>) -> Result<Options, Error> {
        let mut options = Options::default();
        call.options(2, |at| {
            let with_operand = [
                ("BYINT", &mut options.by_integer),
                ("BYFLOAT", &mut options.by_float),
                ("LBOUND", &mut options.lower),
                ("UBOUND", &mut options.upper),
            ];
            if let Some((_, operand)) = with_operand.into_iter().find(|(name, _)| call.is(at, name)) {
                return once(operand.replace(at + 1).is_some(), 1);
            }
            for (name, flag) in [("SATURATE", &mut options.saturate), ("ENX", &mut options.enx)] {
                if call.is(at, name) {
                    return once(std::mem::replace(flag, true), 0);
                }
            }
            let repeated = options.expiry != ExpiryOption::Unsaid;
            let words = options.expiry.take(call, at, ExpiryOption::Persist)?.ok_or(Error::Syntax)?;
            once(repeated, words)
        })?;
        if options.by_integer.is_some() && options.by_float.is_some() {
            return Err(Error::Syntax);
        }
        match options.expiry {
            ExpiryOption::Persist if options.enx => Err(Error::Syntax),
            ExpiryOption::Unsaid if options.enx => Err(Error::other("ERR ENX flag requires an expiration")),
            _ => Ok(options),
        }
    }
}

fn once(repeated: bool, words: usize) -> Result<usize, Error> {
    if repeated { Err(Error::Syntax) } else { Ok(words) }
}

fn count<N: Number>(call: &Call<'_>, options: &Options, increment: N) -> Result<Plan, Error> {
    let lower = options.lower.map_or(Ok(N::min()), |at| N::operand(call, at, "LBOUND"))?;
    let upper = options.upper.map_or(Ok(N::max()), |at| N::operand(call, at, "UBOUND"))?;
    if lower > upper {
        return Err(Error::other("ERR LBOUND can't be greater than UBOUND"));
    }
    let (saturate, enx) = (options.saturate, options.enx);
    let expiry = options.expiry.resolve(call)?.unwrap_or(Expiry::Keep);
    let protocol = call.session.protocol;
    write_key(move |txn, key| {
        let record = txn.get(key)?;
        let expires = record.as_ref().is_some_and(|record| record.expires_at_ms.is_some());
        let old = record.map_or(Ok(N::ZERO), |record| N::stored(&record.value))?;
        let answer = |new: N, applied: N| Reply::Array(vec![new.reply(protocol), applied.reply(protocol)]);
        let Some(new) = step(old, increment, lower..=upper, saturate) else {
            return Ok(answer(old, N::ZERO));
        };
        let applied = new.checked_sub(old).ok_or_else(|| Error::other(N::APPLIED_TOO_LARGE))?;
        let expiry = if enx && expires { Expiry::Keep } else { expiry };
        txn.put(key, new.value(), expiry)?;
        notify_put(txn, key, N::EVENT, expiry);
        if expires && expiry == Expiry::Persist {
            txn.notify(key, Event::PERSIST);
        }
        Ok(answer(new, applied))
    })
}

/// The sum if it is within the bounds; otherwise the bound that it exceeded, or `None`.
fn step<N: Number>(old: N, increment: N, bounds: RangeInclusive<N>, saturate: bool) -> Option<N> {
    let sum = old.checked_add(increment);
    if let Some(sum) = sum
        && bounds.contains(&sum)
    {
        return Some(sum);
    }
    let too_low = sum.map_or(increment < N::ZERO, |sum| sum < *bounds.start());
    saturate.then_some(if too_low { *bounds.start() } else { *bounds.end() })
}

/// What INCREX counts in.
trait Number: Copy + PartialOrd + 'static {
    const ZERO: Self;
    /// The name of the increment in notifications.
    const EVENT: Event;
    /// When the difference between old and new value is no such number.
    const APPLIED_TOO_LARGE: &'static str;

    fn min() -> Self;
    fn max() -> Self;
    fn checked_add(self, other: Self) -> Option<Self>;
    fn checked_sub(self, other: Self) -> Option<Self>;

    /// The number at a position of the request; errors say what it is for.
    fn operand(call: &Call<'_>, at: usize, what: &str) -> Result<Self, Error>;
    /// The number in a record.
    fn stored(value: &[u8]) -> Result<Self, Error>;

    fn value(self) -> Value;
    fn reply(self, protocol: Protocol) -> Reply;
}

impl Number for i64 {
    const ZERO: i64 = 0;
    const EVENT: Event = Event::INCRBY;
    const APPLIED_TOO_LARGE: &'static str = "ERR applied increment would overflow";

    fn min() -> i64 {
        i64::MIN
    }

    fn max() -> i64 {
        i64::MAX
    }

    fn checked_add(self, other: i64) -> Option<i64> {
        i64::checked_add(self, other)
    }

    fn checked_sub(self, other: i64) -> Option<i64> {
        i64::checked_sub(self, other)
    }

    fn operand(call: &Call<'_>, at: usize, what: &str) -> Result<i64, Error> {
        let number = number::parse_i64(call.arg(at));
        number.ok_or_else(|| Error::other(format!("ERR {what} is not an integer or out of range")))
    }

    fn stored(value: &[u8]) -> Result<i64, Error> {
        number::parse_i64(value).ok_or(Error::NotInteger)
    }

    fn value(self) -> Value {
        Value::integer(self)
    }

    fn reply(self, _: Protocol) -> Reply {
        Reply::Integer(self)
    }
}

impl Number for LongDouble {
    const ZERO: LongDouble = LongDouble::ZERO;
    const EVENT: Event = Event::INCRBYFLOAT;
    const APPLIED_TOO_LARGE: &'static str = "ERR applied increment would be Infinity";

    fn min() -> LongDouble {
        -LongDouble::max()
    }

    fn max() -> LongDouble {
        LongDouble::max()
    }

    fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        LongDouble::checked_add(self, other)
    }

    fn checked_sub(self, other: LongDouble) -> Option<LongDouble> {
        LongDouble::checked_sub(self, other)
    }

    fn operand(call: &Call<'_>, at: usize, what: &str) -> Result<LongDouble, Error> {
        LongDouble::parse(call.arg(at))
            .ok_or_else(|| Error::other(format!("ERR {what} is not a valid float")))
    }

    fn stored(value: &[u8]) -> Result<LongDouble, Error> {
        let number = LongDouble::parse(value).ok_or(Error::NotFloat)?;
        if number.is_infinite() {
            return Err(Error::other("ERR value cannot be Infinity"));
        }
        Ok(number)
    }

    fn value(self) -> Value {
        Value::unchecked(self.to_string())
    }

    /// RESP2 has no doubles, so its text can have all digits.
    fn reply(self, protocol: Protocol) -> Reply {
        match protocol {
            Protocol::Resp2 => Reply::text(self.to_string()),
            Protocol::Resp3 => Reply::Double(self.to_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::command::strings::increx::*;
    use crate::command::tests::harness::Harness;

    // The cases are those of Redis's and Valkey's tests of INCREX.

    #[test]
    fn integers() {
        Harness::json().expect(&[
            ("INCREX k", "[1, 1]"),
            ("INCREX k BYINT 99", "[100, 99]"),
            ("INCREX k BYINT -10 LBOUND 0 UBOUND 90", "[90, -10]"),
            ("INCREX k BYINT 0", "[90, 0]"),
            ("INCREX k BYINT 11 UBOUND 100", "[90, 0]"),
            ("INCREX k BYINT 11 UBOUND 100 SATURATE", "[100, 10]"),
            ("INCREX k BYINT -100 LBOUND 5 SATURATE", "[5, -95]"),
            ("INCREX k LBOUND 5 BYINT -1", "[5, 0]"),
            ("GET k", "\"5\""),
        ]);
    }

    #[test]
    fn a_value_outside_the_bounds_may_come_back() {
        Harness::new().expect(&[
            ("SET k 50", "OK"),
            ("INCREX k BYINT 5 UBOUND 30", "[50, 0]"),
            ("INCREX k BYINT -25 UBOUND 30", "[25, -25]"),
            ("INCREX k BYINT 5 UBOUND 20 SATURATE", "[20, -5]"),
            ("INCREX k BYINT -5 LBOUND 40 SATURATE", "[40, 20]"),
            ("INCREX k BYINT 5 LBOUND 40 UBOUND 40", "[40, 0]"),
        ]);
    }

    #[test]
    fn a_refused_key_is_not_created() {
        Harness::new().expect(&[
            ("INCREX k UBOUND 0", "[0, 0]"),
            ("INCREX k LBOUND 5", "[0, 0]"),
            ("INCREX k BYFLOAT -0.5 UBOUND -1.5", "[\"0\", \"0\"]"),
            ("GET k", "nil"),
            ("INCREX k UBOUND 0 SATURATE", "[0, 0]"),
            ("GET k", "\"0\""),
            ("INCREX new LBOUND 5 SATURATE", "[5, 5]"),
        ]);
    }

    #[test]
    fn the_ends_of_the_integers() {
        let (max, almost) = ("9223372036854775807", "9223372036854775800");
        let (min, almost_min) = ("-9223372036854775808", "-9223372036854775800");
        Harness::new().expect(&[
            (&format!("SET k {almost}"), "OK"),
            (&format!("INCREX k BYINT {almost}"), &format!("[{almost}, 0]")),
            (&format!("INCREX k BYINT {almost} UBOUND {max}"), &format!("[{almost}, 0]")),
            (&format!("INCREX k BYINT {almost} SATURATE"), &format!("[{max}, 7]")),
            ("INCREX k SATURATE", &format!("[{max}, 0]")),
            ("INCREX k SATURATE UBOUND 100 LBOUND 0 BYINT -1", "[100, -9223372036854775707]"),
            (&format!("INCREX k BYINT {max} UBOUND 110 SATURATE"), "[110, 10]"),
            (&format!("SET k {almost_min}"), "OK"),
            (&format!("INCREX k BYINT {almost_min} SATURATE"), &format!("[{min}, -8]")),
            (&format!("INCREX k BYINT {almost_min} LBOUND {min}"), &format!("[{min}, 0]")),
            (&format!("SET k {almost}"), "OK"),
            (&format!("INCREX k SATURATE UBOUND {min}"), "-ERR applied increment would overflow"),
            ("GET k", &format!("\"{almost}\"")),
        ]);
    }

    #[test]
    fn decimal_numbers() {
        let mut h = Harness::json();
        h.expect(&[
            ("INCREX k BYFLOAT 1.5", "[\"1.5\", \"1.5\"]"),
            ("INCREX k BYFLOAT 0.25", "[\"1.75\", \"0.25\"]"),
            ("INCREX k BYFLOAT 10 UBOUND 7.4", "[\"1.75\", \"0\"]"),
            ("INCREX k BYFLOAT 10 UBOUND 7.4 SATURATE", "[\"7.4\", \"5.65\"]"),
            ("INCREX k BYFLOAT -20 LBOUND -5.5 SATURATE", "[\"-5.5\", \"-12.9\"]"),
            ("SET k 10", "OK"),
            ("INCREX k BYFLOAT 2 UBOUND inf LBOUND -inf", "[\"12\", \"2\"]"),
            ("INCREX k", "[13, 1]"),
        ]);
        let mut h = h.resp3();
        assert_eq!(h.bytes("INCREX k BYFLOAT 0.5"), r"*2\r\n,13.5\r\n,0.5\r\n");
        assert_eq!(h.bytes("GET k"), r"$4\r\n13.5\r\n");
    }

    #[test]
    fn the_ends_of_the_decimal_numbers() {
        let mut h = Harness::new();
        h.expect(&[
            ("SET k 10", "OK"),
            ("INCREX k BYFLOAT 1e4932 UBOUND 100", "[\"10\", \"0\"]"),
            ("INCREX k BYFLOAT 1e4932 UBOUND 100 SATURATE", "[\"100\", \"90\"]"),
            ("INCREX k BYFLOAT -1e4932 LBOUND -100 SATURATE", "[\"-100\", \"-200\"]"),
            ("INCREX k BYFLOAT 1 LBOUND -inf UBOUND -inf", "[\"-100\", \"0\"]"),
            ("INCREX k BYFLOAT 1 LBOUND inf UBOUND inf SATURATE", "-ERR applied increment would be Infinity"),
            ("INCREX k BYFLOAT +inf", "-ERR BYFLOAT increment cannot be Infinity"),
            ("INCREX k BYFLOAT nan", "-ERR Increment is not a valid float"),
            ("GET k", "\"-100\""),
            ("SET k -inf", "OK"),
            ("INCREX k BYFLOAT 0 LBOUND -100", "-ERR value cannot be Infinity"),
        ]);
        h.run("SET k 1e4932");
        h.run("INCREX k BYFLOAT 1e4932 SATURATE");
        let largest = LongDouble::max();
        h.expect(&[("INCREX k BYFLOAT 0 UBOUND 5", &format!("[\"{largest}\", \"0\"]"))]);
    }

    #[test]
    fn expiry() {
        let mut h = Harness::new();
        let (long, short) = (400_000..=500_000, 1..=100_000);
        h.run("INCREX k EX 500 BYINT 5");
        assert!(long.contains(&h.ttl_ms("k")));
        h.run("INCREX k");
        assert!(long.contains(&h.ttl_ms("k")), "kept where nothing is said");
        h.expect(&[("INCREX k EX 100 ENX", "[7, 1]")]);
        assert!(long.contains(&h.ttl_ms("k")), "ENX leaves one that is there");
        h.expect(&[("INCREX k UBOUND 7 EX 100", "[7, 0]")]);
        assert!(long.contains(&h.ttl_ms("k")), "a refusal changes nothing");
        h.expect(&[("INCREX k EXAT 1 ENX", "[8, 1]"), ("GET k", "\"8\"")]);
        h.run("INCREX k PX 100000");
        assert!(short.contains(&h.ttl_ms("k")));
        h.run("INCREX k PERSIST");
        assert_eq!(h.ttl_ms("k"), -1);
        h.run("INCREX k EX 100 ENX");
        assert!(short.contains(&h.ttl_ms("k")), "ENX gives one where there is none");
        h.expect(&[("INCREX k PXAT 1", "[12, 1]"), ("GET k", "nil")]);
    }

    #[test]
    fn refuses_what_redis_refuses() {
        let mut h = Harness::new();
        h.run("SET k hello");
        for options in [
            "FOO",
            "BYINT",
            "LBOUND",
            "BYINT 1 BYFLOAT 1.5",
            "BYINT 1 BYINT 2",
            "LBOUND 0 LBOUND 1",
            "SATURATE SATURATE",
            "ENX ENX EX 10",
            "PERSIST PERSIST",
            "PERSIST EX 10",
            "EX 10 PERSIST",
            "EX 10 EX 20",
            "EX 10 PX 5000",
            "PERSIST ENX",
            "ENX PERSIST",
            "KEEPTTL",
        ] {
            h.expect(&[(&format!("INCREX k {options}"), "-ERR syntax error")]);
        }
        h.expect(&[
            ("INCREX k ENX", "-ERR ENX flag requires an expiration"),
            ("INCREX k BYINT 1.5", "-ERR Increment is not an integer or out of range"),
            ("INCREX k BYFLOAT abc", "-ERR Increment is not a valid float"),
            ("INCREX k LBOUND 1.5", "-ERR LBOUND is not an integer or out of range"),
            ("INCREX k UBOUND inf", "-ERR UBOUND is not an integer or out of range"),
            ("INCREX k BYFLOAT 1 UBOUND abc", "-ERR UBOUND is not a valid float"),
            ("INCREX k LBOUND 10 UBOUND 5", "-ERR LBOUND can't be greater than UBOUND"),
            ("INCREX k BYFLOAT 1 UBOUND -inf", "-ERR LBOUND can't be greater than UBOUND"),
            ("INCREX k EX 0", "-ERR invalid expire time in 'increx' command"),
            ("INCREX k EX x", "-ERR value is not an integer or out of range"),
            ("INCREX k", "-ERR value is not an integer or out of range"),
            ("INCREX k BYFLOAT 1", "-ERR value is not a valid float"),
            ("GET k", "\"hello\""),
        ]);
    }
}
