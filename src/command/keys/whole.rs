//! Commands on whole records, whatever their values: removing, finding, renaming, copying and moving them.

use smallvec::smallvec;

use crate::command::base::reach::Stores;
use crate::command::base::{
    Call, Flags, Group, KeyUse, KeyUses, Keys, Plan, Spec, control, read, read_key, write, write_also,
};
use crate::engine::{Event, WriteTxn, Writer};
use crate::error::Error;
use crate::resp::Reply;
use crate::store::{Key, Value};

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "del",
        syntax: "key [key ...]",
        summary: "Removes keys, and returns how many existed",
        group: Group::Generic,
        complexity: "O(N) where N is the number of keys",
        arity: -2,
        flags: Flags::WRITE.union(Flags::REMOVES),
        keys: Keys::ALL,
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        key_uses: KeyUses::Each(&[KeyUse::REMOVE]),
        plan: remove,
        ..Spec::DEFAULT
    },
    Spec {
        name: "unlink",
        syntax: "key [key ...]",
        summary: "Does the same as DEL, because space is always freed in the background",
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(N) where N is the number of keys",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST).union(Flags::REMOVES),
        keys: Keys::ALL,
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        key_uses: KeyUses::Each(&[KeyUse::REMOVE]),
        plan: remove,
        ..Spec::DEFAULT
    },
    Spec {
        name: "exists",
        syntax: "key [key ...]",
        summary: "Returns how many of the keys exist; a repeated key counts each time",
        group: Group::Generic,
        complexity: "O(N) where N is the number of keys",
        arity: -2,
        flags: Flags::READONLY.union(Flags::FAST).union(Flags::PEEKS),
        keys: Keys::ALL,
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: count_existing,
        ..Spec::DEFAULT
    },
    Spec {
        name: "touch",
        syntax: "key [key ...]",
        summary: "Returns how many of the keys exist, which count as used for eviction",
        group: Group::Generic,
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys",
        arity: -2,
        flags: Flags::READONLY.union(Flags::FAST).union(Flags::TOUCHES),
        keys: Keys::ALL,
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: count_existing,
        ..Spec::DEFAULT
    },
    Spec {
        name: "type",
        syntax: "key",
        summary: "Returns the type of the value: string, or none if there is no such key",
        group: Group::Generic,
        arity: 2,
        flags: Flags::READONLY.union(Flags::FAST).union(Flags::PEEKS),
        keys: Keys::ONE,
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: type_of,
        ..Spec::DEFAULT
    },
    Spec {
        name: "rename",
        syntax: "key newkey",
        summary: "Moves a record to another key, and overwrites that",
        group: Group::Generic,
        arity: 3,
        flags: Flags::WRITE,
        keys: Keys::TWO,
        key_uses: KeyUses::Each(&[KeyUse::TAKE, KeyUse::OVERWRITE]),
        plan: rename,
        ..Spec::DEFAULT
    },
    Spec {
        name: "renamenx",
        syntax: "key newkey",
        summary: "Moves a record to another key, if that doesn't exist",
        group: Group::Generic,
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: Keys::TWO,
        key_uses: KeyUses::Each(&[KeyUse::TAKE, KeyUse::CREATE]),
        plan: rename_to_free,
        ..Spec::DEFAULT
    },
    Spec {
        name: "copy",
        syntax: "source destination [DB destination-db] [REPLACE]",
        summary: "Copies a record to another key, or to another store by number or name",
        group: Group::Generic,
        since: "6.2.0",
        arity: -3,
        flags: Flags::WRITE.union(Flags::DENYOOM),
        keys: Keys::TWO,
        stores: Stores::SelectedAndOption { from: 3, option: "db" },
        key_uses: KeyUses::Each(&[KeyUse::READ, KeyUse::OVERWRITE]),
        plan: |_| control(copy),
        ..Spec::DEFAULT
    },
    Spec {
        name: "move",
        syntax: "key db",
        summary: "Moves a record to another store, by number or name, if the key doesn't exist there",
        group: Group::Generic,
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: Keys::ONE,
        stores: Stores::SelectedAnd(2),
        plan: |_| control(move_to_store),
        ..Spec::DEFAULT
    },
    Spec {
        name: "randomkey",
        syntax: "",
        summary: "Returns a random key of the selected store; all are nearly equally likely",
        group: Group::Generic,
        arity: 1,
        flags: Flags::READONLY.union(Flags::LONG),
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        plan: crate::command::keys::scan::random_key,
        ..Spec::DEFAULT
    },
];

fn remove(call: &mut Call<'_>) -> Result<Plan, Error> {
    let keys = call.keys(1);
    write(move |txn| {
        let mut removed = 0;
        for key in &keys {
            removed += i64::from(delete(txn, key)?);
        }
        Ok(Reply::Integer(removed))
    })
}

fn count_existing(call: &mut Call<'_>) -> Result<Plan, Error> {
    let keys = call.keys(1);
    read(move |txn| {
        let mut existing = 0;
        for key in &keys {
            existing += i64::from(txn.peek(key)?.is_some());
        }
        Ok(Reply::Integer(existing))
    })
}

fn type_of(_: &mut Call<'_>) -> Result<Plan, Error> {
    read_key(move |txn, key| Ok(Reply::Simple(if txn.peek(key)?.is_some() { "string" } else { "none" })))
}

fn rename(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (from, to) = (call.key(1), call.key(2));
    write(move |txn| match relocate(txn, &from, &to, true, RENAMED)? {
        Copied::NoSource => Err(Error::NoSuchKey),
        Copied::Yes { .. } | Copied::Taken => Ok(Reply::OK),
    })
}

fn rename_to_free(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (from, to) = (call.key(1), call.key(2));
    write(move |txn| match relocate(txn, &from, &to, false, RENAMED)? {
        Copied::NoSource => Err(Error::NoSuchKey),
        outcome => Ok(outcome.as_reply()),
    })
}

fn copy(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let (mut store, mut replace) = (call.session.store, false);
    call.options(3, |at| {
        if call.is(at, "replace") {
            replace = true;
            Ok(0)
        } else if call.is(at, "db") && at + 1 < call.args.len() {
            store = call.store(at + 1, engine)?;
            Ok(1)
        } else {
            Err(Error::Syntax)
        }
    })?;
    let (from, to) = (call.key(1), call.key_in(store, 2));
    if from == to {
        return Err(same_object());
    }
    let lookups = call.server.stats.mine().lookups.clone();
    write_also(smallvec![to.clone()], move |txn| {
        let outcome = copy_record(txn, &from, &to, replace)?;
        lookups.count_one(outcome != Copied::NoSource);
        match outcome {
            Copied::Yes { overwritten } => notify_arrival(txn, &to, Event::COPY_TO, overwritten),
            Copied::NoSource => txn.notify(&from, Event::KEY_MISS),
            Copied::Taken => {}
        }
        Ok(outcome.as_reply())
    })
}

fn move_to_store(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let (from, to) = (call.key(1), call.key_in(call.store(2, engine)?, 1));
    if from == to {
        return Err(same_object());
    }
    write_also(smallvec![to.clone()], move |txn| {
        let outcome = relocate(txn, &from, &to, false, [Event::MOVE_FROM, Event::MOVE_TO])?;
        Ok(outcome.as_reply())
    })
}

/// How the copying of a record went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copied {
    Yes {
        /// There was something at the target.
        overwritten: bool,
    },
    NoSource,
    /// The target exists and must not be replaced.
    Taken,
}

impl Copied {
    fn as_reply(self) -> Reply {
        Reply::Integer(i64::from(matches!(self, Copied::Yes { .. })))
    }
}

/// Copies a record with its expiry. In another store it is checked like a new value.
fn copy_record(txn: &mut WriteTxn<'_>, from: &Key, to: &Key, replace: bool) -> Result<Copied, Error> {
    let Some(record) = txn.get(from)? else { return Ok(Copied::NoSource) };
    let is_taken = txn.peek(to)?.is_some();
    if !replace && is_taken {
        return Ok(Copied::Taken);
    }
    let value =
        if from.store == to.store { Value::stored(record.value) } else { Value::unchecked(record.value) };
    txn.put(to, value, record.expires_at_ms.into())?;
    if is_taken {
        // as in Redis, which removes what is there first
        txn.notify(to, Event::NEW);
    }
    Ok(Copied::Yes { overwritten: is_taken })
}

/// Says that a record came to a key, and perhaps took the place of another.
fn notify_arrival(txn: &mut WriteTxn<'_>, key: &Key, event: Event, overwritten: bool) {
    txn.notify(key, event);
    if overwritten {
        txn.notify(key, Event::OVERWRITTEN);
    }
}

const RENAMED: [Event; 2] = [Event::RENAME_FROM, Event::RENAME_TO];

/// Removes a record. Returns whether there was one.
pub fn delete(txn: &mut WriteTxn<'_>, key: &Key) -> Result<bool, Error> {
    let was_there = txn.remove(key)?;
    if was_there {
        txn.notify(key, Event::DEL);
    }
    Ok(was_there)
}

/// Copies a record and removes it at its old key. A record can always be moved onto its own key. The events are those
/// of both keys.
fn relocate(
    txn: &mut WriteTxn<'_>,
    from: &Key,
    to: &Key,
    replace: bool,
    events: [Event; 2],
) -> Result<Copied, Error> {
    let outcome = copy_record(txn, from, to, replace && from != to)?;
    if let Copied::Yes { overwritten } = outcome {
        txn.remove(from)?;
        txn.notify(from, events[0]);
        notify_arrival(txn, to, events[1], overwritten);
    }
    Ok(outcome)
}

fn same_object() -> Error {
    Error::other("ERR source and destination objects are the same")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::command::tests::harness::{Harness, shown};

    const SAME: &str = "-ERR source and destination objects are the same";

    #[test]
    fn del_counts_what_was_there() {
        Harness::new().expect(&[
            ("MSET a 1 b 2 c 3", "OK"),
            ("DEL a missing b", "2"),
            ("UNLINK c c", "1"),
            ("EXISTS a b c", "0"),
        ]);
    }

    #[test]
    fn exists_counts_every_mention() {
        Harness::new().expect(&[
            ("MSET a 1 b 2", "OK"),
            ("EXISTS a b missing a", "3"),
            ("TOUCH a b missing a", "3"),
            ("TYPE a", "string"),
            ("TYPE missing", "none"),
        ]);
    }

    #[test]
    fn rename_takes_value_and_expiry_along() {
        Harness::new().expect(&[
            ("MSET a 1 b 2 c 3", "OK"),
            ("PEXPIREAT a 99999999999999", "1"),
            ("RENAME a b", "OK"),
            ("GET b", r#""1""#),
            ("PEXPIRETIME b", "99999999999999"),
            ("EXISTS a", "0"),
            ("RENAME c b", "OK"),
            ("TTL b", "-1"),
        ]);
    }

    #[test]
    fn rename_onto_itself_onto_others_and_from_nothing() {
        Harness::new().expect(&[
            ("MSET a 1 b 2", "OK"),
            ("RENAME a a", "OK"),
            ("RENAMENX a a", "0"),
            ("GET a", r#""1""#),
            ("RENAME missing missing", "-ERR no such key"),
            ("RENAMENX missing b", "-ERR no such key"),
            ("RENAMENX a b", "0"),
            ("GET b", r#""2""#),
            ("RENAMENX a c", "1"),
            ("GET c", r#""1""#),
            ("EXISTS a", "0"),
        ]);
    }

    #[test]
    fn copy_within_a_store_and_across() {
        let mut h = Harness::new();
        h.expect(&[
            ("MSET a 1 b 2", "OK"),
            ("PEXPIREAT a 99999999999999", "1"),
            ("COPY a b", "0"),
            ("COPY a b REPLACE", "1"),
            ("COPY a a DB 1", "1"),
            ("COPY a a db 1", "0"),
            ("COPY missing x REPLACE", "0"),
        ]);
        h.session.select(1);
        h.expect(&[("GET a", r#""1""#), ("PEXPIRETIME a", "99999999999999")]);
    }

    #[test]
    fn copy_refuses_what_redis_refuses() {
        Harness::new().expect(&[
            ("COPY a a", SAME),
            ("COPY a a DB 0", SAME),
            ("COPY a b DB 16", "-ERR DB index is out of range"),
            ("COPY a b DB -1", "-ERR DB index is out of range"),
            ("COPY a b DB", "-ERR syntax error"),
            ("COPY a b FOO", "-ERR syntax error"),
            ("COPY a", "-ERR wrong number of arguments for 'copy' command"),
        ]);
    }

    #[test]
    fn move_goes_to_free_keys_only() {
        Harness::new().expect(&[
            ("SET a 1", "OK"),
            ("MOVE a 1", "1"),
            ("MOVE a 1", "0"),
            ("SET a 2", "OK"),
            ("MOVE a 1", "0"),
            ("GET a", r#""2""#),
            ("MOVE a 0", SAME),
            ("MOVE a 16", "-ERR DB index is out of range"),
            ("MOVE a nowhere", "-NOSTORE no store is named 'nowhere'; create it with STORE CREATE"),
        ]);
    }

    #[test]
    fn a_json_store_takes_no_other_values_from_elsewhere() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE strict VALUES json", "OK"), ("MSET text <html> number 5", "OK")]);
        for line in ["COPY text text DB strict", "MOVE text strict"] {
            assert!(shown(&h.run(line)).starts_with("-NOTJSON "), "{line}");
        }
        h.expect(&[("EXISTS text", "1"), ("MOVE number strict", "1"), ("RENAME text other", "OK")]);
    }

    #[test]
    fn random_key_is_one_of_them() {
        let mut h = Harness::new();
        h.expect(&[("RANDOMKEY", "nil"), ("MSET a 1 b 1 c 1", "OK")]);
        let drawn: BTreeSet<String> = (0..200).map(|_| shown(&h.run("RANDOMKEY"))).collect();
        assert_eq!(Vec::from_iter(drawn), [r#""a""#, r#""b""#, r#""c""#]);
    }
}
