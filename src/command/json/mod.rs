//! What the JSON.* commands share: arguments, reading and writing documents, and the two forms of replies.
//!
//! A document is a record like any other: GET returns its text, and JSON.GET reads what SET stored. A path that begins
//! with `$` is answered with a list that has one entry for each value found; a legacy path with one value, or an error
//! if there is none. Errors are those of RedisJSON, except that a text that is not JSON is answered with `NOTJSON`, as
//! everywhere in Larder.
//!
//! The commands: [`json_get`](crate::command::json::get), [`json_measure`](crate::command::json::measure), [`json_set`](crate::command::json::set),
//! [`json_array`](crate::command::json::array), [`json_scalar`](crate::command::json::scalar). What they do to a text is in
//! [`document`](crate::document).

pub mod array;
pub mod get;
pub mod measure;
pub mod scalar;
pub mod set;

use bytes::Bytes;

use crate::command::base::reach::Stores;
use crate::command::base::{Call, Flags, Group, Keys, Plan, Spec, read, write};
use crate::document::{Edits, Node, Number, Path, PathError, TooMuchWork, Work, edit, scan};
use crate::engine::{Event, Expiry, Record, WriteTxn};
use crate::error::Error;
use crate::limits::{JSON_DEPTH_MAX, PATH_BYTES_MAX};
use crate::record::json;
use crate::resp::Reply;
use crate::store::{Key, Value, ValueKind};

/// What every declaration of the family begins with.
pub const JSON_READ: Spec = Spec {
    group: Group::Json,
    flags: Flags::READONLY,
    keys: Keys::ONE,
    stores: Stores::Selected,
    ..Spec::DEFAULT
};
pub const JSON_WRITE: Spec = Spec { flags: Flags::WRITE.union(Flags::DENYOOM), ..JSON_READ };
/// A write that removes something.
pub const JSON_SHRINK: Spec = Spec { flags: Flags::WRITE, ..JSON_READ };

/// The path at a position.
pub fn path(call: &Call<'_>, at: usize) -> Result<Path, Error> {
    let bytes = call.arg(at);
    if bytes.len() > PATH_BYTES_MAX {
        let length = bytes.len();
        return Err(Error::other(format!(
            "ERR path is {length} bytes, longer than the limit of {PATH_BYTES_MAX}"
        )));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::other("ERR path is not UTF-8"))?;
    Path::parse(text).map_err(|error| not_a_path(text, &error))
}

/// The path at a position; the whole document if there is none.
pub fn path_or_root(call: &Call<'_>, at: usize) -> Result<Path, Error> {
    if at < call.args.len() { path(call, at) } else { Ok(Path::legacy_root()) }
}

/// The JSON value at a position, without whitespace around it.
pub fn value(call: &Call<'_>, at: usize) -> Result<Bytes, Error> {
    let text = call.arg(at);
    json::check(text)?;
    Ok(Bytes::copy_from_slice(scan::trimmed(text)))
}

/// The JSON values from a position on; there is at least one.
pub fn values(call: &Call<'_>, from: usize) -> Result<Vec<Bytes>, Error> {
    (from..call.args.len()).map(|at| value(call, at)).collect()
}

/// The text of a record; None if there is none. In a store of any bytes, a value may be no JSON.
pub fn document(record: Option<Record>, kind: ValueKind) -> Result<Option<Bytes>, Error> {
    let Some(record) = record else { return Ok(None) };
    if kind == ValueKind::Any && json::check(&record.value).is_err() {
        return Err(Error::other("Existing key has wrong Redis type"));
    }
    Ok(Some(record.value))
}

/// A plan that reads what a path finds in the document at the first key; `missing` makes the reply if there is no such
/// key.
pub fn look(
    call: &Call<'_>,
    path: Path,
    missing: Result<Reply, Error>,
    answer: impl FnOnce(&Bytes, &Path, Vec<Node>) -> Result<Reply, Error> + 'static,
) -> Result<Plan, Error> {
    let key = call.key(1);
    let kind = call.server.engine.kind(key.store)?;
    read(move |txn| {
        let Some(text) = document(txn.get(&key)?, kind)? else { return missing };
        let nodes = find(&path, &text, &mut Work::on(text.len()))?;
        answer(&text, &path, nodes)
    })
}

/// What a path finds.
pub fn find(path: &Path, text: &[u8], work: &mut Work) -> Result<Vec<Node>, Error> {
    path.select(text, work).map_err(|TooMuchWork| {
        Error::other("ERR path looks at too much of the document, or at the same parts too often")
    })
}

/// A path with filters and regular expressions may take long even on a small document.
pub fn take_time_for(txn: &WriteTxn<'_>, path: &Path) -> Result<(), Error> {
    if path.is_static() { Ok(()) } else { Ok(txn.take_time()?) }
}

/// A document that is being changed.
pub struct Change<'d> {
    pub text: &'d [u8],
    pub edits: Edits<'d>,
    /// What the path found, in its order.
    pub nodes: Vec<Node>,
}

impl Change<'_> {
    /// Calls `change` once for each value that was found, inner values before the values that contain them. Returns the
    /// results in the path's order.
    pub fn each<T: Clone>(
        &mut self,
        mut operation: impl FnMut(&[u8], &mut Edits<'_>, &Node) -> Result<Option<T>, Error>,
    ) -> Result<Vec<Option<T>>, Error> {
        let mut backwards: Vec<usize> = (0..self.nodes.len()).collect();
        backwards.sort_by_key(|at| std::cmp::Reverse(self.nodes[*at].start));
        let mut answers: Vec<Option<T>> = vec![None; self.nodes.len()];
        let mut before: Option<usize> = None;
        for at in backwards {
            answers[at] = match before {
                Some(before) if self.nodes[before].start == self.nodes[at].start => answers[before].clone(),
                _ => operation(self.text, &mut self.edits, &self.nodes[at])?,
            };
            before = Some(at);
        }
        Ok(answers)
    }
}

/// A plan that changes what a path finds in the document at the first key, which has to exist.
pub fn change(
    call: &Call<'_>,
    path: Path,
    run: impl FnOnce(&mut Change<'_>, &Path) -> Result<Reply, Error> + 'static,
) -> Result<Plan, Error> {
    let key = call.key(1);
    let bytes_max = call.server.config.proto_max_bulk_len();
    let event = call.spec.name;
    write(move |txn| {
        take_time_for(txn, &path)?;
        let kind = txn.kind(key.store)?;
        let text = document(txn.get(&key)?, kind)?.ok_or_else(no_such_document)?;
        let nodes = find(&path, &text, &mut Work::on(text.len()))?;
        let mut change = Change { text: &text, edits: Edits::of(&text, bytes_max), nodes };
        let reply = run(&mut change, &path)?;
        if !change.edits.is_empty() {
            put(txn, &key, change.edits.apply().map_err(too_long)?, event)?;
        }
        Ok(reply)
    })
}

/// Writes a document back, with the expiry that it had. Every change of a document passes here or through [`remove`].
/// `event` is its name in keyspace notifications: `json.set`, `json.numincrby` …
pub fn put(txn: &mut WriteTxn<'_>, key: &Key, text: Bytes, event: &'static str) -> Result<(), Error> {
    txn.put(key, Value::of_parts(text), Expiry::Keep)?;
    txn.notify(key, Event::module(event));
    Ok(())
}

/// Removes a document.
pub fn remove(txn: &mut WriteTxn<'_>, key: &Key, event: &'static str) -> Result<(), Error> {
    txn.remove(key)?;
    txn.notify(key, Event::module(event));
    Ok(())
}

/// Fails if `value` would be nested too deep with so many containers around it.
pub fn check_depth(around: usize, value: &[u8]) -> Result<(), Error> {
    // few texts are long enough to nest deeply
    if around + value.len() > JSON_DEPTH_MAX && around + scan::nesting(value) > JSON_DEPTH_MAX {
        return Err(Error::other("ERR recursion limit exceeded"));
    }
    Ok(())
}

/// The reply to a path: for `$` a list, with null for values without a result. A legacy path changes everything that it
/// finds and gets the last result, as in RedisJSON; if there is no result, it gets `none`.
pub fn answered(path: &Path, answers: Vec<Option<Reply>>, none: Error) -> Result<Reply, Error> {
    if path.is_legacy() {
        return answers.into_iter().flatten().next_back().ok_or(none);
    }
    Ok(Reply::Array(answers.into_iter().map(|answer| answer.unwrap_or(Reply::Null)).collect()))
}

/// A count as a reply.
pub fn count(number: usize) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A number as a reply of its own, with all its digits if it is an integer.
pub fn number(number: Number) -> Reply {
    match number {
        Number::Integer(integer) => Reply::Integer(integer),
        // the protocol's integers are signed
        Number::Unsigned(unsigned) => Reply::BigNumber(unsigned.to_string().into()),
        Number::BigInteger(double) | Number::Double(double) => Reply::Double(double),
    }
}

pub fn no_such_document() -> Error {
    Error::other("ERR could not perform this operation on a key that doesn't exist")
}

pub fn no_such_path() -> Error {
    Error::other("ERR Path does not exist")
}

/// `no_such_path_or("not an array")`
pub fn no_such_path_or(what: &str) -> Error {
    Error::other(format!("ERR Path does not exist or {what}"))
}

pub fn wrong_type(expected: &str) -> Error {
    Error::other(format!("WRONGTYPE wrong type of path value - expected {expected}"))
}

pub fn too_long(_: edit::TooLong) -> Error {
    Error::ValueTooLong
}

/// In RedisJSON's words, except for the expected type.
fn not_a_path(path: &str, error: &PathError) -> Error {
    let PathError { at, expected } = *error;
    let (before, behind) = path.split_at_checked(at).unwrap_or((path, ""));
    let place =
        if behind.is_empty() { format!("{path} <<<<----") } else { format!("{before} ---->>>> {behind}") };
    Error::other(format!("Error occurred on position {at}, \"{place}\", expected {expected}."))
}
