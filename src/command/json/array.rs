//! Commands that change arrays in documents: JSON.ARRAPPEND, ARRINSERT, ARRPOP, ARRTRIM.

use bytes::Bytes;

use crate::command::base::{Call, Plan, Spec};
use crate::command::json::get::Format;
use crate::command::json::{
    Change, JSON_SHRINK, JSON_WRITE, answered, change, check_depth, count, no_such_path_or, path,
    path_or_root, too_long, values,
};
use crate::document::{Edits, Entries, JsonType, Node, Path, scan};
use crate::error::Error;
use crate::limits::REPLY_BYTES_MAX;
use crate::resp::Reply;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "json.arrappend",
        syntax: "key path value [value ...]",
        summary: "Appends values to the arrays at a path",
        complexity: "O(N) where N is the size of the document",
        arity: -4,
        plan: arrappend,
        ..JSON_WRITE
    },
    Spec {
        name: "json.arrinsert",
        syntax: "key path index value [value ...]",
        summary: "Inserts values into the arrays at a path, before an index",
        complexity: "O(N) where N is the size of the document",
        arity: -5,
        plan: arrinsert,
        ..JSON_WRITE
    },
    Spec {
        name: "json.arrpop",
        syntax: "key [FORMAT <STRINGS | EXPAND1 | EXPAND>] [path [index]]",
        summary: "Removes and returns an element of the arrays at a path, the last one by default",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: arrpop,
        ..JSON_SHRINK
    },
    Spec {
        name: "json.arrtrim",
        syntax: "key path start stop",
        summary: "Trims the arrays at a path to a range of elements",
        complexity: "O(N) where N is the size of the document",
        arity: 5,
        plan: arrtrim,
        ..JSON_SHRINK
    },
];

fn arrappend(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (path, elements) = (path(call, 2)?, Elements::of(values(call, 3)?));
    change(call, path, move |change, path| {
        each_array(change, path, |edits, node, length| {
            elements.check_depth(node)?;
            edits.append(node, &elements.text).map_err(too_long)?;
            Ok(count(length + elements.count))
        })
    })
}

fn arrinsert(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (path, index, elements) = (path(call, 2)?, call.integer(3)?, Elements::of(values(call, 4)?));
    change(call, path, move |change, path| {
        each_array(change, path, |edits, node, length| {
            let from_start = if index < 0 { signed(length).checked_add(index) } else { Some(index) };
            let index =
                from_start.and_then(|index| usize::try_from(index).ok()).filter(|index| *index <= length);
            let index = index.ok_or_else(|| Error::other("ERR index out of bounds"))?;
            elements.check_depth(node)?;
            edits.insert(node, index, &elements.text).map_err(too_long)?;
            Ok(count(length + elements.count))
        })
    })
}

fn arrpop(call: &mut Call<'_>) -> Result<Plan, Error> {
    let mut at = 2;
    let mut format = Format::Text;
    // a path may be named FORMAT, too
    if call.is(at, "FORMAT") && call.args.len() > at + 1 {
        format = Format::parse(call, at + 1, "STRINGS")?;
        at += 2;
    }
    if call.args.len() > at + 2 {
        return Err(call.arity_error());
    }
    let path = path_or_root(call, at)?;
    if path.is_legacy() && format != Format::Text {
        return Err(Error::other("Legacy paths are supported only with FORMAT STRINGS"));
    }
    let index = if call.args.len() > at + 1 { call.integer(at + 1)? } else { -1 };
    change(call, path, move |change, path| {
        let text = change.text;
        each_array(change, path, |edits, node, length| {
            let Some(last) = length.checked_sub(1) else { return Ok(Reply::Null) };
            let index = clamped(index, length).min(last);
            let Some(entry) = Entries::of(text, node.start).nth(index) else { return Ok(Reply::Null) };
            let popped = Bytes::from(edits.text_of(entry.value..scan::end(text, entry.value)));
            edits.remove_entries(node.start, |at, _| at == index).map_err(too_long)?;
            format.reply(&popped, 0, &mut { REPLY_BYTES_MAX })
        })
    })
}

fn arrtrim(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (path, start, stop) = (path(call, 2)?, call.integer(3)?, call.integer(4)?);
    change(call, path, move |change, path| {
        each_array(change, path, |edits, node, length| {
            let kept = kept(start, stop, length);
            edits.remove_entries(node.start, |at, _| !kept.contains(&at)).map_err(too_long)?;
            Ok(count(kept.len()))
        })
    })
}

/// Changes each array that was found. Other values are null in the reply.
fn each_array(
    change: &mut Change<'_>,
    path: &Path,
    mut operation: impl FnMut(&mut Edits<'_>, &Node, usize) -> Result<Reply, Error>,
) -> Result<Reply, Error> {
    let answers = change.each(|text, edits, node| {
        if scan::kind(text, node.start) != JsonType::Array {
            return Ok(None);
        }
        operation(edits, node, Entries::of(text, node.start).count()).map(Some)
    })?;
    answered(path, answers, no_such_path_or("not an array"))
}

/// Values that are going to be elements.
struct Elements {
    count: usize,
    /// Separated by commas.
    text: Vec<u8>,
    values: Vec<Bytes>,
}

impl Elements {
    fn of(values: Vec<Bytes>) -> Elements {
        Elements { count: values.len(), text: values.join(&b","[..]), values }
    }

    fn check_depth(&self, array: &Node) -> Result<(), Error> {
        self.values.iter().try_for_each(|value| check_depth(array.depth + 1, value))
    }
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// An index, which counts from the end if it is negative, not below 0.
fn clamped(index: i64, length: usize) -> usize {
    let from_start = if index < 0 { signed(length).saturating_add(index).max(0) } else { index };
    usize::try_from(from_start).unwrap_or(usize::MAX)
}

/// The elements from `start` to `stop`, which is one of them.
fn kept(start: i64, stop: i64, length: usize) -> std::ops::Range<usize> {
    let (start, stop) = (clamped(start, length), clamped(stop, length));
    let end = stop.saturating_add(1).min(length);
    if start >= end { 0..0 } else { start..end }
}

#[cfg(test)]
mod tests {
    use crate::command::json::array::*;

    #[test]
    fn ranges_are_kept_as_in_redisjson() {
        for (start, stop, expected) in [
            (1, -2, 1..6),
            (0, 99, 0..7),
            (99, 2, 0..0),
            (-1, 0, 0..0),
            (-4, 1, 0..0),
            (-100, -100, 0..1),
            (i64::MIN, i64::MAX, 0..7),
            (i64::MAX, i64::MIN, 0..0),
        ] {
            assert_eq!(kept(start, stop, 7), expected, "{start} {stop}");
        }
        assert_eq!(kept(0, -1, 0), 0..0);
        assert_eq!(clamped(-8, 7), 0);
    }
}
