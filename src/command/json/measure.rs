//! Commands that ask about documents: JSON.TYPE, ARRLEN, OBJLEN, STRLEN, OBJKEYS, ARRINDEX.
//!
//! Their replies when there is no key, no match or another type differ from command to command, as in RedisJSON.

use bytes::Bytes;

use crate::command::base::{Call, Plan, Spec};
use crate::command::json::{
    JSON_READ, count, look, no_such_document, no_such_path, no_such_path_or, path, path_or_root, value,
    wrong_type,
};
use crate::document::compare::{self, Numbers};
use crate::document::{Entries, JsonType, Node, Number, Path, scan};
use crate::error::Error;
use crate::resp::{Protocol, Reply};

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "json.type",
        syntax: "key [path]",
        summary: "Returns the types of the values at a path",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: type_of,
        ..JSON_READ
    },
    Spec {
        name: "json.arrlen",
        syntax: "key [path]",
        summary: "Returns the lengths of the arrays at a path",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: |call| measure(call, ARRAYS),
        ..JSON_READ
    },
    Spec {
        name: "json.objlen",
        syntax: "key [path]",
        summary: "Returns the numbers of members of the objects at a path",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: |call| measure(call, OBJECTS),
        ..JSON_READ
    },
    Spec {
        name: "json.objkeys",
        syntax: "key [path]",
        summary: "Returns the keys of the objects at a path",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: |call| measure(call, KEYS),
        ..JSON_READ
    },
    Spec {
        name: "json.strlen",
        syntax: "key [path]",
        summary: "Returns the lengths of the strings at a path, in bytes of UTF-8",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: |call| measure(call, STRINGS),
        ..JSON_READ
    },
    Spec {
        name: "json.arrindex",
        syntax: "key path value [start [stop]]",
        summary: "Returns the index of a value in the arrays at a path",
        complexity: "O(N) where N is the size of the document",
        arity: -4,
        plan: arrindex,
        ..JSON_READ
    },
];

/// What is measured, and how.
struct Measure {
    kind: JsonType,
    of: fn(&[u8], usize) -> Reply,
    /// The reply to a legacy path that finds nothing.
    no_path: fn() -> Result<Reply, Error>,
    /// The reply to a legacy path that finds a value of another type.
    other_type: fn() -> Error,
    /// The reply to another path if there is no key.
    no_key: fn() -> Error,
}

const ARRAYS: Measure = Measure {
    kind: JsonType::Array,
    of: |text, start| count(Entries::of(text, start).count()),
    no_path: || Err(no_such_path()),
    other_type: || no_such_path_or("not an array"),
    no_key: no_such_document,
};
const OBJECTS: Measure = Measure {
    kind: JsonType::Object,
    of: |text, start| count(Entries::of(text, start).count()),
    no_path: || Ok(Reply::Null),
    other_type: || wrong_type("object"),
    no_key: || no_such_path_or("not an object"),
};
const KEYS: Measure = Measure {
    kind: JsonType::Object,
    of: |text, start| {
        let key = |entry: scan::Member| Reply::text(scan::unescaped(&text[entry.key]));
        Reply::Array(Entries::of(text, start).map(key).collect())
    },
    no_path: || Ok(Reply::Null),
    other_type: || no_such_path_or("not an object"),
    no_key: no_such_document,
};
const STRINGS: Measure = Measure {
    kind: JsonType::String,
    of: |text, start| count(scan::unescaped(scan::value(text, start)).len()),
    no_path: || Err(no_such_path()),
    other_type: || wrong_type("string"),
    no_key: no_such_document,
};

fn measure(call: &mut Call<'_>, measure: Measure) -> Result<Plan, Error> {
    let path = path_or_root(call, 2)?;
    let missing = if path.is_legacy() { Ok(Reply::Null) } else { Err((measure.no_key)()) };
    look(call, path, missing, move |text, path, nodes| {
        let is_it = |node: &Node| scan::kind(text, node.start) == measure.kind;
        if !path.is_legacy() {
            let of = |node: &Node| if is_it(node) { (measure.of)(text, node.start) } else { Reply::Null };
            return Ok(Reply::Array(nodes.iter().map(of).collect()));
        }
        match nodes.first() {
            None => (measure.no_path)(),
            Some(node) if is_it(node) => Ok((measure.of)(text, node.start)),
            Some(_) => Err((measure.other_type)()),
        }
    })
}

fn type_of(call: &mut Call<'_>) -> Result<Plan, Error> {
    let is_resp3 = call.session.protocol == Protocol::Resp3;
    // RESP3 has one list more around everything
    let wrapped = move |reply| if is_resp3 { Reply::Array(vec![reply]) } else { reply };
    look(call, path_or_root(call, 2)?, Ok(wrapped(Reply::Null)), move |text, path, nodes| {
        let mut names = nodes.iter().map(|node| Reply::text(type_name(text, node.start)));
        Ok(wrapped(if path.is_legacy() {
            names.next().unwrap_or(Reply::Null)
        } else {
            Reply::Array(names.collect())
        }))
    })
}

fn type_name(text: &[u8], start: usize) -> &'static str {
    match scan::kind(text, start) {
        JsonType::Null => "null",
        JsonType::Boolean => "boolean",
        JsonType::Number => match Number::parse(scan::value(text, start)) {
            Some(number) if number.is_integer() => "integer",
            _ => "number",
        },
        JsonType::String => "string",
        JsonType::Array => "array",
        JsonType::Object => "object",
    }
}

fn arrindex(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.args.len() > 6 {
        return Err(call.arity_error());
    }
    let (path, wanted) = (path(call, 2)?, value(call, 3)?);
    let bound = |at: usize| if at < call.args.len() { call.integer(at) } else { Ok(0) };
    let (start, stop) = (bound(4)?, bound(5)?);
    look(call, path, Err(no_such_path()), move |text, path, nodes| {
        let index = |node: &Node| {
            let is_array = scan::kind(text, node.start) == JsonType::Array;
            is_array.then(|| Reply::Integer(index_of(text, node.start, &wanted, start, stop)))
        };
        answer_of_first(path, &nodes, index)
    })
}

fn answer_of_first(
    path: &Path,
    nodes: &[Node],
    index: impl Fn(&Node) -> Option<Reply>,
) -> Result<Reply, Error> {
    if path.is_legacy() {
        return index(nodes.first().ok_or_else(no_such_path)?).ok_or_else(|| wrong_type("array"));
    }
    Ok(Reply::Array(nodes.iter().map(|node| index(node).unwrap_or(Reply::Null)).collect()))
}

/// The index of the first element equal to `wanted`, from `start` on and before `stop` (0 means the end); -1 if there
/// is none. Negative bounds count from the end; a start beyond the end means the last element.
fn index_of(text: &Bytes, array: usize, wanted: &[u8], start: i64, stop: i64) -> i64 {
    let length = i64::try_from(Entries::of(text, array).count()).unwrap_or(i64::MAX);
    let start = if start < 0 { length.saturating_add(start).max(0) } else { start.min(length - 1) };
    let stop = match stop {
        0 => length,
        stop if stop < 0 => length.saturating_add(stop).max(0),
        stop => stop.min(length),
    };
    let found = (0..stop).zip(Entries::of(text, array)).find(|(index, entry)| {
        *index >= start && compare::equal(&text[entry.value..], wanted, Numbers::ByKind)
    });
    found.map_or(-1, |(index, _)| index)
}
