//! GETRECORD: a record with its value and metadata, in one reply.

use crate::command::base::{Call, Flags, Group, Keys, Plan, Spec, read_key};
use crate::error::Error;
use crate::resp::Reply;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "getrecord",
    syntax: "key",
    summary: "Returns a record's value, version, remaining milliseconds (-1: forever), and bytes plain and as stored, key included",
    group: Group::Store,
    since: "0.1.0",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    keys: Keys::ONE,
    plan: get_record,
    ..Spec::DEFAULT
}];

fn get_record(_: &mut Call<'_>) -> Result<Plan, Error> {
    read_key(move |txn, key| {
        let (Some(meta), Some(record)) = (txn.peek(key)?, txn.get(key)?) else { return Ok(Reply::Null) };
        let count = |number: u64| Reply::Integer(number as i64);
        let remaining = record.expires_at_ms.map_or(-1, |at| at.saturating_sub(txn.now_ms()) as i64);
        let plain_bytes = (key.name.len() + record.value.len()) as u64;
        let lines = [
            ("value", Reply::Bulk(record.value)),
            ("version", count(record.version)),
            ("ttl_ms", Reply::Integer(remaining)),
            ("plain_bytes", count(plain_bytes)),
            ("stored_bytes", count(meta.stored_bytes)),
        ];
        Ok(Reply::Map(lines.into_iter().map(|(name, value)| (Reply::text(name), value)).collect()))
    })
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::{Harness, shown};

    #[test]
    fn a_record_is_told_with_its_version_which_grows() {
        let mut h = Harness::json();
        h.expect(&[("GETRECORD k", "nil"), ("SET k 12", "OK")]);
        let first = h.meta("k").map(|meta| meta.version).unwrap_or_default();
        let told = shown(&h.run("GETRECORD k"));
        let expected = format!(r#""value": "12", "version": {first}, "ttl_ms": -1, "plain_bytes": 3, "#);
        assert!(told.contains(&expected), "{told}");
        h.expect(&[("PEXPIRE k 100000", "1")]);
        assert!(h.meta("k").is_some_and(|meta| meta.version > first));
        assert!(!shown(&h.run("GETRECORD k")).contains("\"ttl_ms\": -1"));
    }
}
