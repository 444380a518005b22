//! OBJECT: what Redis would say about the representation of a value.
//!
//! Larder has no encodings and no shared objects: clients get what Redis replies for a value that was just set. How
//! recently and how often a record was used is known while anything evicts, as far as eviction remembers it.

use crate::command::base::table::help;
use crate::command::base::{Call, Flags, Group, KeyUse, KeyUses, Keys, Plan, Spec, read_key};
use crate::engine::ReadTxn;
use crate::error::Error;
use crate::record::number;
use crate::resp::Reply;
use crate::store::Key;
use crate::store::eviction::Order;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "object",
    summary: "Commands about the representation of values",
    group: Group::Generic,
    since: "2.2.3",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Spec::DEFAULT
}];

const SUBCOMMAND: Spec = Spec {
    syntax: "key",
    group: Group::Generic,
    since: "2.2.3",
    arity: 3,
    flags: Flags::READONLY.union(Flags::PEEKS),
    keys: Keys::Range { first: 2, last: 2, step: 1 },
    ..Spec::DEFAULT
};

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "object|encoding",
        summary: "Returns the encoding that Redis would choose for the value: int, embstr or raw",
        tips: &["nondeterministic_output"],
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: encoding,
        ..SUBCOMMAND
    },
    Spec {
        name: "object|freq",
        summary: "Returns how often a record is used, as a logarithm from 0 to 255; only with an LFU policy",
        since: "4.0.0",
        tips: &["nondeterministic_output"],
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: frequency,
        ..SUBCOMMAND
    },
    Spec {
        name: "object|idletime",
        summary: "Returns for how many seconds a record was not used, if anything evicts; only without an LFU policy",
        tips: &["nondeterministic_output"],
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: idle_time,
        ..SUBCOMMAND
    },
    Spec {
        name: "object|refcount",
        summary: "Returns 1, because values are not shared",
        tips: &["nondeterministic_output"],
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: |_| of_existing(|_, _| Ok(Reply::Integer(1))),
        ..SUBCOMMAND
    },
    Spec {
        name: "object|help",
        syntax: "",
        summary: "Lists the subcommands",
        since: "6.2.0",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE),
        keys: Keys::None,
        plan: help,
        ..SUBCOMMAND
    },
];

const NO_IDLE_TIME: &str = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
const NO_FREQUENCY: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";

/// The longest text of an integer that Redis tries to store as one.
const INT_BYTES_MAX: usize = 20;
/// The longest text that Redis keeps in one piece with its object.
const EMBEDDED_BYTES_MAX: usize = 44;

/// Null if there is no such key.
fn of_existing(answer: fn(&ReadTxn<'_>, &Key) -> Result<Reply, Error>) -> Result<Plan, Error> {
    read_key(move |txn, key| if txn.peek(key)?.is_some() { answer(txn, key) } else { Ok(Reply::Null) })
}

/// Whether the records of the selected store are evicted by frequency: by its own setting or else by the server's.
fn is_by_frequency(call: &Call<'_>) -> bool {
    call.server.engine.eviction_order(call.session.store) == Some(Order::Lfu)
}

fn frequency(call: &mut Call<'_>) -> Result<Plan, Error> {
    if !is_by_frequency(call) {
        return of_existing(|_, _| Err(Error::other(NO_FREQUENCY)));
    }
    of_existing(|txn, key| {
        let times = txn.used(key)?.map_or(0, |used| used.times);
        // 4,096 uses, which are not counted any further, are 255
        let logarithm = ((times + 1) as f64).log2() / 12.0 * 255.0;
        Ok(Reply::Integer(logarithm.round() as i64))
    })
}

fn idle_time(call: &mut Call<'_>) -> Result<Plan, Error> {
    if is_by_frequency(call) {
        return of_existing(|_, _| Err(Error::other(NO_IDLE_TIME)));
    }
    of_existing(|txn, key| {
        let last_ms = txn.used(key)?.map(|used| used.last_ms);
        let idle_ms = last_ms.map_or(0, |last_ms| txn.now_ms().saturating_sub(last_ms));
        Ok(Reply::Integer((idle_ms / 1_000) as i64))
    })
}

fn encoding(_: &mut Call<'_>) -> Result<Plan, Error> {
    of_existing(|txn, key| {
        let value_bytes = txn.peek(key)?.map_or(0, |meta| meta.value_bytes);
        let is_integer = value_bytes <= INT_BYTES_MAX
            && txn.get(key)?.is_some_and(|record| number::parse_i64(&record.value).is_some());
        Ok(Reply::text(if is_integer {
            "int"
        } else if value_bytes <= EMBEDDED_BYTES_MAX {
            "embstr"
        } else {
            "raw"
        }))
    })
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::Harness;

    #[test]
    fn encodings_as_redis_chooses_them() {
        let mut h = Harness::new();
        for (value, encoding) in [
            ("0", "int"),
            ("-9223372036854775808", "int"),
            ("9223372036854775808", "embstr"),
            ("01", "embstr"),
            ("text", "embstr"),
            (&"x".repeat(44), "embstr"),
            (&"x".repeat(45), "raw"),
        ] {
            h.run(&format!("SET k {value}"));
            h.expect(&[("OBJECT ENCODING k", &format!("\"{encoding}\""))]);
        }
    }

    #[test]
    fn a_key_that_is_not_there_has_no_inside() {
        let mut h = Harness::new();
        h.expect(&[
            ("SET k 1", "OK"),
            ("OBJECT REFCOUNT k", "1"),
            ("OBJECT IDLETIME k", "0"),
            ("OBJECT FREQ k", &format!("-{}", super::NO_FREQUENCY)),
        ]);
        for subcommand in ["ENCODING", "REFCOUNT", "IDLETIME", "FREQ"] {
            h.expect(&[(&format!("OBJECT {subcommand} missing"), "nil")]);
        }
    }

    #[test]
    fn use_is_told_in_the_terms_of_the_policy() {
        let mut h = Harness::new();
        h.expect(&[
            ("SET k 1", "OK"),
            ("CONFIG SET maxmemory-policy allkeys-lfu maxmemory 1gb", "OK"),
            ("OBJECT IDLETIME k", &format!("-{}", super::NO_IDLE_TIME)),
            ("OBJECT IDLETIME missing", "nil"),
            // it was written before anything evicted
            ("OBJECT FREQ k", "0"),
            ("GET k", "\"1\""),
            ("OBJECT FREQ k", "21"),
            ("TOUCH k", "1"),
            ("SET k 2", "OK"),
            ("OBJECT FREQ k", "43"),
            // these only look
            ("EXISTS k", "1"),
            ("TTL k", "-1"),
            ("TYPE k", "string"),
            ("OBJECT ENCODING k", "\"int\""),
            ("OBJECT FREQ k", "43"),
            ("CLIENT NO-TOUCH ON", "OK"),
            ("GET k", "\"2\""),
            ("OBJECT FREQ k", "43"),
            ("TOUCH k", "1"),
            ("OBJECT FREQ k", "49"),
            ("STORE SET 0 evict lru", "OK"),
            ("OBJECT FREQ k", &format!("-{}", super::NO_FREQUENCY)),
            ("OBJECT IDLETIME k", "0"),
            ("OBJECT IDLETIME missing", "nil"),
        ]);
    }

    #[test]
    fn object_refuses_what_redis_refuses() {
        Harness::new().expect(&[
            ("OBJECT", "-ERR wrong number of arguments for 'object' command"),
            ("OBJECT FOO s", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
            ("OBJECT ENCODING s t", "-ERR wrong number of arguments for 'object|encoding' command"),
        ]);
    }
}
