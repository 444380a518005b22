//! Whole stores: counting, emptying and swapping what they hold.

use bytes::Bytes;

use crate::acl::Access;
use crate::command::base::reach::Stores;
use crate::command::base::{Call, Flags, Group, Plan, Spec, control, write, write_also};
use crate::engine::Writer;
use crate::error::Error;
use crate::resp::Reply;
use crate::store::Key;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "dbsize",
        syntax: "",
        summary: "Returns the number of keys in the selected store",
        group: Group::Server,
        arity: 1,
        flags: Flags::READONLY.union(Flags::FAST).union(Flags::LONG).union(Flags::KEYSPACE),
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        plan: size,
        ..Spec::DEFAULT
    },
    Spec {
        name: "flushdb",
        is_harmful: true,
        syntax: "[ASYNC | SYNC]",
        summary: "Removes all keys of the selected store; space is always freed in the background",
        group: Group::Server,
        arity: -1,
        flags: Flags::WRITE
            .union(Flags::DANGEROUS)
            .union(Flags::LONG)
            .union(Flags::KEYSPACE)
            .union(Flags::FLUSHES),
        all_keys: Access::WRITE,
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        plan: flush,
        ..Spec::DEFAULT
    },
    Spec {
        name: "flushall",
        is_harmful: true,
        syntax: "[ASYNC | SYNC]",
        summary: "Removes all keys of all stores; the stores themselves stay",
        group: Group::Server,
        complexity: "O(N) where N is the number of stores",
        arity: -1,
        flags: Flags::WRITE
            .union(Flags::DANGEROUS)
            .union(Flags::LONG)
            .union(Flags::KEYSPACE)
            .union(Flags::FLUSHES),
        stores: Stores::All,
        all_keys: Access::WRITE,
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        plan: flush_all,
        ..Spec::DEFAULT
    },
    Spec {
        name: "swapdb",
        is_harmful: true,
        syntax: "index1 index2",
        summary: "Swaps the contents of two stores, by number or name",
        group: Group::Server,
        since: "4.0.0",
        arity: 3,
        flags: Flags::WRITE.union(Flags::FAST).union(Flags::DANGEROUS).union(Flags::KEYSPACE),
        stores: Stores::Named { first: 1, last: 2 },
        all_keys: Access::all(),
        plan: |_| control(swap),
        ..Spec::DEFAULT
    },
];

fn size(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (records, reflects) = call.server.engine.count(call.now_ms, call.session.store)?;
    Ok(Plan::Reflecting(Reply::Integer(records as i64), reflects))
}

fn flush(call: &mut Call<'_>) -> Result<Plan, Error> {
    check_flush_options(call)?;
    let store = call.session.store;
    write(move |txn| {
        txn.flush(store)?;
        Ok(Reply::OK)
    })
}

fn flush_all(call: &mut Call<'_>) -> Result<Plan, Error> {
    check_flush_options(call)?;
    write(move |txn| {
        for store in txn.filled_stores() {
            txn.flush(store)?;
        }
        txn.notify_flush();
        Ok(Reply::OK)
    })
}

/// ASYNC and SYNC make no difference: a flush is one step, whatever it removes.
fn check_flush_options(call: &Call<'_>) -> Result<(), Error> {
    match call.args.len() {
        1 => Ok(()),
        2 if call.is(1, "async") || call.is(1, "sync") => Ok(()),
        _ => Err(Error::Syntax),
    }
}

fn swap(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let (a, b) = match (call.store(1, engine), call.store(2, engine)) {
        (Err(Error::NotInteger), _) => return Err(Error::other("ERR invalid first DB index")),
        (_, Err(Error::NotInteger)) => return Err(Error::other("ERR invalid second DB index")),
        (a, b) => (a?, b?),
    };
    let mut names = call.server.engine.watches().names_in([a, b]);
    let in_both = move |name: &Bytes| [a, b].map(|store| Key { store, name: name.clone() });
    write_also(names.iter().flat_map(in_both).collect(), move |txn| {
        let (kind_a, kind_b) = (txn.kind(a)?, txn.kind(b)?);
        if kind_a != kind_b {
            // the records of an `any` store would turn up in a store that promises JSON
            return Err(Error::other(format!(
                "ERR stores {} and {} accept different values ({}, {}) and can't be swapped",
                txn.store(a)?.label(),
                txn.store(b)?.label(),
                kind_a.as_str(),
                kind_b.as_str()
            )));
        }
        // a record that came with one swap and leaves with the next leaves no other trace
        for name in std::mem::take(&mut names) {
            let [in_a, in_b] = in_both(&name);
            if txn.peek(&in_a)?.is_none() && txn.peek(&in_b)?.is_none() {
                names.insert(name);
            }
        }
        txn.swap(a, b, names)?;
        Ok(Reply::OK)
    })
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::Harness;

    #[test]
    fn flushdb_empties_one_store_and_flushall_all() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE orders", "OK")]);
        for store in [0, 1, 16] {
            h.session.select(store);
            h.expect(&[("MSET a 1 b 2", "OK")]);
        }
        h.session.select(1);
        h.expect(&[("FLUSHDB async", "OK"), ("DBSIZE", "0"), ("EXISTS a", "0")]);
        h.session.select(16);
        h.expect(&[("DBSIZE", "2"), ("FLUSHALL", "OK")]);
        for store in [0, 1, 16] {
            h.session.select(store);
            h.expect(&[("DBSIZE", "0"), ("GET a", "nil")]);
        }
    }

    #[test]
    fn flush_knows_its_options() {
        Harness::new().expect(&[
            ("FLUSHDB SYNC", "OK"),
            ("FLUSHALL ASYNC", "OK"),
            ("FLUSHDB FOO", "-ERR syntax error"),
            ("FLUSHALL SYNC ASYNC", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn dbsize_leaves_out_what_expired() {
        let mut h = Harness::new();
        h.expect(&[("MSET a 1 b 2", "OK"), ("PEXPIRE a 5", "1")]);
        std::thread::sleep(std::time::Duration::from_millis(10));
        h.expect(&[("DBSIZE", "1")]);
    }

    #[test]
    fn swapdb_swaps_contents_of_stores_of_one_kind() {
        let mut h = Harness::new();
        h.expect(&[("SET k 0", "OK")]);
        h.session.select(1);
        h.expect(&[
            ("SET k 1", "OK"),
            ("SWAPDB 0 1", "OK"),
            ("GET k", r#""0""#),
            ("SWAPDB 1 1", "OK"),
            ("SWAPDB 0 16", "-ERR DB index is out of range"),
            ("SWAPDB 01 0", "-ERR invalid first DB index"),
            ("SWAPDB 16 01", "-ERR invalid second DB index"),
            ("STORE CREATE strict VALUES json", "OK"),
            (
                "SWAPDB strict 1",
                "-ERR stores strict and 1 accept different values (json, any) and can't be swapped",
            ),
            ("GET k", r#""0""#),
        ]);
        h.session.select(0);
        h.expect(&[("GET k", r#""1""#)]);
    }
}
