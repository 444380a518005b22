//! Strings: values read and written whole, in part, or as numbers.

use super::{Call, Flags, Group, Keys, Plan, Spec, read};
use crate::error::Error;
use crate::resp::Reply;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "get",
    syntax: "key",
    summary: "Returns the value of a key",
    group: Group::String,
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    keys: Keys::ONE,
    plan: get,
    ..Spec::DEFAULT
}];

fn get(call: &mut Call<'_>) -> Result<Plan, Error> {
    let key = call.key(1)?;
    read(move |txn| Ok(Reply::bulk_or_null(txn.get(&key)?.map(|record| record.value))))
}
