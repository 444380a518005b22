//! Commands that change scalars in documents: JSON.NUMINCRBY, NUMMULTBY, NUMPOWBY, STRAPPEND, TOGGLE.

use crate::command::base::{Call, Plan, Spec};
use crate::command::json::{
    Change, JSON_SHRINK, JSON_WRITE, answered, change, count, no_such_path_or, number, path, path_or_root,
    too_long, wrong_type,
};
use crate::document::number::{Operation, Refusal};
use crate::document::{JsonType, Number, Path, scan};
use crate::error::Error;
use crate::record::json;
use crate::resp::{Protocol, Reply};

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "json.numincrby",
        syntax: "key path value",
        summary: "Adds a number to the numbers at a path",
        complexity: "O(N) where N is the size of the document",
        arity: 4,
        plan: |call| calculate(call, Operation::Add),
        ..JSON_SHRINK
    },
    Spec {
        name: "json.nummultby",
        syntax: "key path value",
        summary: "Multiplies the numbers at a path",
        complexity: "O(N) where N is the size of the document",
        arity: 4,
        plan: |call| calculate(call, Operation::Multiply),
        ..JSON_SHRINK
    },
    Spec {
        name: "json.numpowby",
        syntax: "key path value",
        summary: "Raises the numbers at a path to a power",
        complexity: "O(N) where N is the size of the document",
        arity: 4,
        plan: |call| calculate(call, Operation::Power),
        ..JSON_SHRINK
    },
    Spec {
        name: "json.strappend",
        syntax: "key [path] value",
        summary: "Appends a JSON string to the strings at a path",
        complexity: "O(N) where N is the size of the document",
        arity: -3,
        plan: strappend,
        ..JSON_WRITE
    },
    Spec {
        name: "json.toggle",
        syntax: "key path",
        summary: "Turns true into false and false into true",
        since: "2.0.0",
        complexity: "O(N) where N is the size of the document",
        arity: 3,
        plan: toggle,
        ..JSON_SHRINK
    },
];

fn calculate(call: &mut Call<'_>, operation: Operation) -> Result<Plan, Error> {
    let path = path(call, 2)?;
    // as in RedisJSON, a bad operand is an error only if a number was found
    let operand = operand(call, 3);
    let is_resp3 = call.session.protocol == Protocol::Resp3;
    change(call, path, move |change, path| {
        let results = change.each(|text, edits, node| {
            if scan::kind(text, node.start) != JsonType::Number {
                return Ok(None);
            }
            let old = Number::parse(scan::value(text, node.start)).ok_or_else(not_a_number)?;
            let new = old.apply(operation, operand.clone()?).map_err(|refusal| match refusal {
                Refusal::Overflow => Error::other("ERR numeric overflow"),
                Refusal::NotANumber => not_a_number(),
            })?;
            edits.replace(node, new.to_text().into()).map_err(too_long)?;
            Ok(Some(new))
        })?;
        if is_resp3 {
            Ok(Reply::Array(results.into_iter().map(|result| result.map_or(Reply::Null, number)).collect()))
        } else {
            in_resp2(path, &results)
        }
    })
}

fn operand(call: &Call<'_>, at: usize) -> Result<Number, Error> {
    let text = call.arg(at);
    json::check(text)?;
    Number::parse(scan::trimmed(text)).ok_or_else(|| Error::other("bad input number"))
}

fn not_a_number() -> Error {
    Error::other("ERR result is not a number")
}

/// One JSON text: an array with null for values that are not numbers, or for a legacy path the last result.
fn in_resp2(path: &Path, results: &[Option<Number>]) -> Result<Reply, Error> {
    if path.is_legacy() {
        let last = results.iter().flatten().next_back();
        let last = last.ok_or_else(|| no_such_path_or("does not contains a number"))?;
        return Ok(Reply::text(last.to_text()));
    }
    let texts: Vec<_> =
        results.iter().map(|result| result.map_or_else(|| "null".to_owned(), Number::to_text)).collect();
    Ok(Reply::text(format!("[{}]", texts.join(","))))
}

fn strappend(call: &mut Call<'_>) -> Result<Plan, Error> {
    let has_path = call.args.len() > 3;
    let path = if has_path { path(call, 2)? } else { path_or_root(call, usize::MAX)? };
    let tail = json_string(call, if has_path { 3 } else { 2 });
    change(call, path, move |change, path| {
        let lengths = change.each(|text, edits, node| {
            if scan::kind(text, node.start) != JsonType::String {
                return Ok(None);
            }
            let tail = tail.as_ref().map_err(Clone::clone)?;
            // Two halves of a surrogate pair may meet where the strings are joined; they then form the character.
            let inner = &tail[1..tail.len() - 1];
            let quote = scan::end(text, node.start) - 1;
            edits.splice(quote..quote, inner.to_vec().into()).map_err(too_long)?;
            let joined = [&text[node.start..quote], inner, b"\""].concat();
            Ok(Some(count(scan::unescaped(&joined).len())))
        })?;
        answered(path, lengths, no_such_path_or("not a string"))
    })
}

/// The quoted string at a position.
fn json_string(call: &Call<'_>, at: usize) -> Result<Vec<u8>, Error> {
    let text = call.arg(at);
    json::check(text)?;
    let value = scan::trimmed(text);
    if scan::kind(value, 0) == JsonType::String { Ok(value.to_vec()) } else { Err(wrong_type("string")) }
}

fn toggle(call: &mut Call<'_>) -> Result<Plan, Error> {
    change(call, path(call, 2)?, |change: &mut Change<'_>, path| {
        let is_legacy = path.is_legacy();
        let toggled = change.each(|text, edits, node| {
            if scan::kind(text, node.start) != JsonType::Boolean {
                return Ok(None);
            }
            let (now, word) =
                if scan::value(text, node.start) == b"true" { (0, "false") } else { (1, "true") };
            edits.replace(node, word.into()).map_err(too_long)?;
            Ok(Some(if is_legacy { Reply::text(word) } else { Reply::Integer(now) }))
        })?;
        answered(path, toggled, no_such_path_or("not a bool"))
    })
}
