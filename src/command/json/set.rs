//! Commands that write documents: JSON.SET, MSET, MERGE, DEL, CLEAR.

use bytes::Bytes;

use crate::command::base::{Call, Keys, Plan, Spec, write};
use crate::command::json::{
    Change, JSON_SHRINK, JSON_WRITE, change, check_depth, count, document, find, no_such_path, path,
    path_or_root, put, remove, take_time_for, too_long, value,
};
use crate::document::{Edits, Entries, JsonType, Node, Number, Path, Work, edit, merge, path::Last, scan};
use crate::engine::WriteTxn;
use crate::error::Error;
use crate::limits::DOCUMENT_WRITES_BYTES_MAX;
use crate::resp::Reply;
use crate::store::Key;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "json.set",
        syntax: "key path value [NX | XX] [FPHA <BF16 | FP16 | FP32 | FP64>] [FORMAT <STRING | JSON>]",
        summary: "Sets the JSON value at a path; FPHA has no effect, since numbers are kept as they are written",
        complexity: "O(M+N) where M is the size of the document and N is the size of the new value",
        arity: -4,
        plan: set,
        ..JSON_WRITE
    },
    Spec {
        name: "json.mset",
        syntax: "key path value [key path value ...]",
        summary: "Sets JSON values in several documents, all or none",
        since: "2.6.0",
        complexity: "O(K*(M+N)) where K is the number of keys, M the size of a document and N of a new value",
        arity: -4,
        keys: Keys::Range { first: 1, last: -1, step: 3 },
        plan: mset,
        ..JSON_WRITE
    },
    Spec {
        name: "json.merge",
        syntax: "key path value [FORMAT <STRING | JSON>]",
        summary: "Merges a JSON value into the values at a path: sets members, and removes those that are null",
        since: "2.6.0",
        complexity: "O(M+N) where M is the size of the document and N is the size of the new value",
        arity: -4,
        plan: merge,
        ..JSON_WRITE
    },
    Spec {
        name: "json.del",
        syntax: "key [path]",
        summary: "Deletes the values at a path, and the key if nothing is left",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: del,
        ..JSON_SHRINK
    },
    Spec {
        name: "json.forget",
        syntax: "key [path]",
        summary: "Deletes the values at a path; another name of JSON.DEL",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: del,
        ..JSON_SHRINK
    },
    Spec {
        name: "json.clear",
        syntax: "key [path]",
        summary: "Empties arrays and objects and sets numbers to 0",
        since: "2.0.0",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: clear,
        ..JSON_SHRINK
    },
];

/// When a value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    /// If the path finds nothing.
    Nx,
    /// If it finds something.
    Xx,
}

/// A value for the places that a path names.
struct Assignment {
    path: Path,
    value: Bytes,
    condition: Condition,
}

fn set(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (path, value) = (path(call, 2)?, whole_or_part(call, 2, 3)?);
    let mut condition = Condition::Always;
    call.options(4, |at| {
        let is_free = condition == Condition::Always;
        if call.is(at, "NX") && is_free {
            condition = Condition::Nx;
        } else if call.is(at, "XX") && is_free {
            condition = Condition::Xx;
        } else if call.is(at, "FPHA") {
            let types = ["BF16", "FP16", "FP32", "FP64"];
            if !types.into_iter().any(|name| call.is(at + 1, name)) {
                return Err(Error::other("ERR invalid FPHA type"));
            }
            return Ok(1);
        } else {
            return format(call, at);
        }
        Ok(0)
    })?;
    let (key, event, bytes_max) = (call.key(1), call.spec.name, call.server.config.proto_max_bulk_len());
    let assignment = Assignment { path, value, condition };
    write(move |txn| {
        let is_set = assign(txn, &key, &assignment, bytes_max, event)?;
        Ok(if is_set { Reply::OK } else { Reply::Null })
    })
}

fn mset(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.args.len() % 3 != 1 {
        return Err(call.arity_error());
    }
    let triplet = |at: usize| {
        let assignment = Assignment {
            path: path(call, at + 1)?,
            value: whole_or_part(call, at + 1, at + 2)?,
            condition: Condition::Always,
        };
        Ok((call.key(at), assignment))
    };
    let triplets = (1..call.args.len()).step_by(3).map(triplet).collect::<Result<Vec<_>, Error>>()?;
    let (event, bytes_max) = (call.spec.name, call.server.config.proto_max_bulk_len());
    write(move |txn| {
        // as in RedisJSON, the state before the command decides whether a document exists
        for (key, assignment) in &triplets {
            if !assignment.path.is_root() && txn.peek(key)?.is_none() {
                return Err(not_at_the_root());
            }
        }
        let mut bytes = 0_usize;
        for (key, assignment) in &triplets {
            if !assign(txn, key, assignment, bytes_max, event)? {
                txn.take_back();
                return Ok(Reply::Null);
            }
            // each change makes a new document, also when the same document is changed again
            bytes = bytes.saturating_add(txn.peek(key)?.map_or(0, |meta| meta.value_bytes));
            if bytes > DOCUMENT_WRITES_BYTES_MAX {
                return Err(Error::other(format!(
                    "ERR the documents are more than {DOCUMENT_WRITES_BYTES_MAX} bytes together; change fewer at once"
                )));
            }
        }
        Ok(Reply::OK)
    })
}

/// The value at a position; if it becomes the whole document, with the whitespace around it.
fn whole_or_part(call: &Call<'_>, path_at: usize, at: usize) -> Result<Bytes, Error> {
    let value = value(call, at)?;
    let is_whole = matches!(call.arg(path_at), b"$" | b".");
    Ok(if is_whole { Bytes::copy_from_slice(call.arg(at)) } else { value })
}

/// Returns whether anything was set.
fn assign(
    txn: &mut WriteTxn<'_>,
    key: &Key,
    assignment: &Assignment,
    bytes_max: usize,
    event: &'static str,
) -> Result<bool, Error> {
    let Assignment { path, value, condition } = assignment;
    take_time_for(txn, path)?;
    let kind = txn.kind(key.store)?;
    let Some(text) = document(txn.get(key)?, kind)? else {
        if *condition == Condition::Xx {
            return Ok(false);
        }
        if !path.is_root() {
            return Err(not_at_the_root());
        }
        put(txn, key, value.clone(), event)?;
        return Ok(true);
    };
    if path.is_root() {
        if *condition != Condition::Nx {
            put(txn, key, value.clone(), event)?;
        }
        return Ok(*condition != Condition::Nx);
    }
    let mut edits = Edits::of(&text, bytes_max);
    let mut work = Work::on(text.len());
    let mut nodes = find(path, &text, &mut work)?;
    if nodes.is_empty() {
        if *condition == Condition::Xx || !add(&mut edits, path, &text, value, &mut work)? {
            return Ok(false);
        }
    } else {
        if *condition == Condition::Nx {
            return if path.is_static() { Ok(false) } else { Err(not_static()) };
        }
        edit::outermost(&text, &mut nodes);
        for node in &nodes {
            check_depth(node.depth, value)?;
            edits.replace(node, value.clone()).map_err(too_long)?;
        }
    }
    put(txn, key, edits.apply().map_err(too_long)?, event)?;
    Ok(true)
}

/// Adds the member that a path names and that doesn't exist. Returns whether there is an object to add it to.
fn add(
    edits: &mut Edits<'_>,
    path: &Path,
    text: &[u8],
    value: &[u8],
    work: &mut Work,
) -> Result<bool, Error> {
    let (parent, last) = path.split_last().ok_or_else(not_static)?;
    let Last::Name(name) = last else { return Err(Error::other("ERR array index out of range")) };
    let parents = find(&parent, text, work)?;
    let Some(object) = parents.first().filter(|node| scan::kind(text, node.start) == JsonType::Object) else {
        return Ok(false);
    };
    check_depth(object.depth + 1, value)?;
    edits.add_member(object, name, value).map_err(too_long)?;
    Ok(true)
}

fn merge(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (path, patch) = (path(call, 2)?, whole_or_part(call, 2, 3)?);
    call.options(4, |at| format(call, at))?;
    let (key, event, bytes_max) = (call.key(1), call.spec.name, call.server.config.proto_max_bulk_len());
    write(move |txn| {
        take_time_for(txn, &path)?;
        let kind = txn.kind(key.store)?;
        let Some(text) = document(txn.get(&key)?, kind)? else {
            if !path.is_root() {
                return Err(not_at_the_root());
            }
            put(txn, &key, patch, event)?;
            return Ok(Reply::OK);
        };
        let patch = scan::trimmed(&patch);
        let mut edits = Edits::of(&text, bytes_max);
        let mut work = Work::on(text.len());
        let mut nodes = find(&path, &text, &mut work)?;
        if nodes.is_empty() && !add(&mut edits, &path, &text, patch, &mut work)? {
            return Ok(Reply::Null);
        }
        edit::in_text_order(&mut nodes);
        for node in nodes.iter().rev() {
            let target = edits.text_of(node.start..scan::end(&text, node.start));
            let merged = merge::merged(&target, patch, bytes_max).map_err(too_long)?;
            check_depth(node.depth, &merged)?;
            edits.replace(node, merged.into()).map_err(too_long)?;
        }
        let text = edits.apply().map_err(too_long)?;
        put(txn, &key, text, event)?;
        Ok(Reply::OK)
    })
}

fn del(call: &mut Call<'_>) -> Result<Plan, Error> {
    let path = path_or_root(call, 2)?;
    let (key, bytes_max) = (call.key(1), call.server.config.proto_max_bulk_len());
    let event = "json.del";
    write(move |txn| {
        take_time_for(txn, &path)?;
        let kind = txn.kind(key.store)?;
        let Some(text) = document(txn.get(&key)?, kind)? else { return Ok(Reply::Integer(0)) };
        if path.is_root() {
            remove(txn, &key, event)?;
            return Ok(Reply::Integer(1));
        }
        let mut nodes = find(&path, &text, &mut Work::on(text.len()))?;
        if nodes.is_empty() {
            return Ok(Reply::Integer(0));
        }
        edit::outermost(&text, &mut nodes);
        let mut edits = Edits::of(&text, bytes_max);
        let deleted = count(nodes.len());
        nodes.sort_unstable_by_key(|node| (node.parent, node.slot));
        for siblings in nodes.chunk_by(|a, b| a.parent == b.parent) {
            let mut doomed = siblings.iter().map(|node| node.slot).peekable();
            let container = siblings.first().and_then(|node| node.parent).ok_or_else(no_such_path)?;
            edits
                .remove_entries(container, |_, slot| doomed.next_if_eq(&slot).is_some())
                .map_err(too_long)?;
        }
        let text = edits.apply().map_err(too_long)?;
        let is_empty = Entries::of(&text, scan::root(&text)).next().is_none();
        if is_empty {
            remove(txn, &key, event)?
        } else {
            put(txn, &key, text, event)?
        }
        Ok(deleted)
    })
}

fn clear(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.args.len() > 3 {
        return Err(call.arity_error());
    }
    let path = path_or_root(call, 2)?;
    change(call, path, |Change { text, edits, nodes }, _| {
        // values inside a container that is cleared are removed with it and not counted
        nodes.retain(|node| emptied(text, node).is_some());
        edit::outermost(text, nodes);
        for node in nodes.iter() {
            edits.replace(node, emptied(text, node).unwrap_or_default().into()).map_err(too_long)?;
        }
        Ok(count(nodes.len()))
    })
}

/// The cleared form of a value; `None` if it can't be cleared, or is cleared already.
fn emptied(text: &[u8], node: &Node) -> Option<&'static str> {
    let has_entries = || Entries::of(text, node.start).next().is_some();
    match scan::kind(text, node.start) {
        JsonType::Array => has_entries().then_some("[]"),
        JsonType::Object => has_entries().then_some("{}"),
        JsonType::Number => {
            let is_zero = Number::parse(scan::value(text, node.start)).is_some_and(Number::is_zero);
            (!is_zero).then_some("0")
        }
        _ => None,
    }
}

/// Parses `FORMAT STRING` and `FORMAT JSON`, which change nothing; BSON values are not supported.
fn format(call: &Call<'_>, at: usize) -> Result<usize, Error> {
    if !call.is(at, "FORMAT") {
        return Err(Error::Syntax);
    }
    let is_known = ["STRING", "JSON"].into_iter().any(|name| call.is(at + 1, name));
    if is_known { Ok(1) } else { Err(Error::other("ERR wrong format")) }
}

fn not_at_the_root() -> Error {
    Error::other("ERR new objects must be created at the root")
}

fn not_static() -> Error {
    Error::other("Err wrong static path")
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::Harness;

    /// A command that replies without an error that it did nothing has changed nothing, at none of its keys.
    #[test]
    fn what_is_answered_with_nil_or_zero_changes_nothing() {
        let mut h = Harness::json();
        h.expect(&[
            ("JSON.SET a $ '{\"n\":1,\"o\":{}}'", "OK"),
            ("MSET s '\"x\"' n 5 t '[1,2]'", "OK"),
            ("PEXPIRE s 1000000", "1"),
        ]);
        for (line, answer) in [
            ("JSON.MSET a $.x.y 1 b $ 2", "nil"),
            ("JSON.MSET b $ 2 a $.x.y 1", "nil"),
            ("JSON.MSET a $.n 2 c $ 1 a $.n.deep 3 b $ 2", "nil"),
            ("JSON.MSET a $.o.new 2 a $.x.y 1", "nil"),
            ("JSON.SET a $.x.y 1", "nil"),
            ("JSON.SET a $.n 1 NX", "nil"),
            ("JSON.SET a $.m 1 XX", "nil"),
            ("JSON.SET b $ 1 XX", "nil"),
            ("JSON.MERGE a $.x.y 1", "nil"),
            ("JSON.DEL a $.x", "0"),
            ("JSON.DEL b", "0"),
            ("JSON.CLEAR a $.x", "0"),
            ("JSON.NUMINCRBY a $.o 1", "\"[null]\""),
            ("JSON.ARRAPPEND a $.n 1", "[nil]"),
            ("JSON.ARRPOP a $.n", "[nil]"),
            ("JSON.TOGGLE a $.n", "[nil]"),
            ("MSETNX b 1 a 2", "0"),
            ("MSETEX 2 b 1 a 2 NX", "0"),
            ("MSETEX 2 a 1 b 2 XX EX 10", "0"),
            ("SETNX a 1", "0"),
            ("SET a 1 NX", "nil"),
            ("SET b 1 XX", "nil"),
            ("SET a 1 IFEQ 7", "nil"),
            ("COPY a n", "0"),
            ("COPY b c", "0"),
            ("RENAMENX a n", "0"),
            ("MOVE b 1", "0"),
            ("DEL b c", "0"),
            ("DELEX a IFEQ 7", "0"),
            ("PERSIST a", "0"),
            ("EXPIRE b 10", "0"),
            ("PEXPIRE s 1 GT", "0"),
            ("GETDEL b", "nil"),
            ("GETEX b EX 10", "nil"),
        ] {
            let before = h.server.engine.reader().last_seq();
            h.expect(&[(line, answer)]);
            assert_eq!(h.server.engine.reader().last_seq(), before, "{line}");
        }
        h.expect(&[("EXISTS b c", "0"), ("JSON.GET a $", r#""[{\"n\":1,\"o\":{}}]""#)]);
        // and no notification is sent
        h.expect(&[
            ("MULTI", "OK"),
            ("JSON.MSET b $ 2 a $.x.y 1", "QUEUED"),
            ("INCR n", "QUEUED"),
            ("EXEC", "[nil, 6]"),
        ]);
        h.expect(&[("EXISTS b", "0")]);
    }
}
