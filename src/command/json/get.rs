//! Commands that read documents: JSON.GET, MGET, RESP, DEBUG.

use std::collections::HashSet;

use bytes::Bytes;

use crate::command::base::{Call, Keys, Plan, Spec, read, reply};
use crate::command::json;
use crate::command::json::{
    JSON_READ, count, document, find, look, no_such_path, path, path_or_root, too_long,
};
use crate::document::{Entries, JsonType, Layout, Node, Number, Path, Work, layout, scan};
use crate::error::Error;
use crate::limits::{LAYOUT_BYTES_MAX, REPLY_BYTES_MAX};
use crate::resp::{Protocol, Reply};

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "json.get",
        syntax: "key [INDENT indent] [NEWLINE newline] [SPACE space] [NOESCAPE] [FORMAT <STRING | EXPAND1 | EXPAND>] [path [path ...]]",
        summary: "Returns the values at paths as JSON",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: get,
        ..JSON_READ
    },
    Spec {
        name: "json.mget",
        syntax: "key [key ...] path",
        summary: "Returns the values at a path of several documents, as of one instant",
        complexity: "O(M*N) where M is the number of keys and N is the size of a document",
        arity: -3,
        keys: Keys::Range { first: 1, last: -2, step: 1 },
        plan: mget,
        ..JSON_READ
    },
    Spec {
        name: "json.resp",
        syntax: "key [path]",
        summary: "Returns the values at a path in types of the protocol",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        plan: resp,
        ..JSON_READ
    },
    Spec {
        name: "json.debug",
        syntax: "<MEMORY key [path] | HELP>",
        summary: "Returns the bytes of the texts of values",
        complexity: "O(N) where N is the size of the document",
        arity: -2,
        keys: Keys::Range { first: 2, last: 2, step: 1 },
        plan: debug,
        ..JSON_READ
    },
];

/// How values are replied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As JSON text.
    Text,
    /// Scalars as types of the protocol, the rest as JSON text.
    Expand1,
    /// In types of the protocol.
    Expand,
}

impl Format {
    /// The format that the word at a position names, where `text` is the name of the one that RESP2 has too.
    pub fn parse(call: &Call<'_>, at: usize, text: &str) -> Result<Format, Error> {
        let formats = [(text, Format::Text), ("EXPAND1", Format::Expand1), ("EXPAND", Format::Expand)];
        let found = formats.into_iter().find(|(name, _)| call.is(at, name));
        let (_, format) = found.ok_or_else(|| Error::other("ERR wrong reply format"))?;
        if call.session.protocol == Protocol::Resp2 {
            return Err(Error::other("ERR FORMAT argument is not supported on RESP2"));
        }
        Ok(format)
    }

    /// The reply for a value that begins at `start`. Fails if it would take more memory than `room`.
    pub fn reply(self, text: &Bytes, start: usize, room: &mut usize) -> Result<Reply, Error> {
        let value = scan::value(text, start);
        let kind = scan::kind(text, start);
        let is_expanded = self == Format::Expand && matches!(kind, JsonType::Array | JsonType::Object);
        let bytes = size_of::<Reply>() + if is_expanded { 0 } else { value.len() };
        *room = room.checked_sub(bytes).ok_or(Error::ReplyTooLong)?;
        let mut expand = |entry: usize| self.reply(text, entry, room);
        Ok(match kind {
            _ if self == Format::Text => Reply::Bulk(layout::compacted(text, start)),
            JsonType::Null => Reply::Null,
            JsonType::Boolean => Reply::Boolean(value == b"true"),
            JsonType::Number => number(value),
            _ if self == Format::Expand1 => Reply::Bulk(layout::compacted(text, start)),
            JsonType::String => Reply::text(scan::unescaped(value)),
            JsonType::Array => {
                let elements = Entries::of(text, start).map(|entry| expand(entry.value));
                Reply::Array(elements.collect::<Result<_, Error>>()?)
            }
            JsonType::Object => {
                let member = |entry: crate::document::scan::Member| {
                    Ok((Reply::text(scan::unescaped(&text[entry.key])), expand(entry.value)?))
                };
                Reply::Map(Entries::of(text, start).map(member).collect::<Result<_, Error>>()?)
            }
        })
    }
}

/// The arguments of JSON.GET.
struct Question {
    paths: Vec<Path>,
    layout: Layout,
    format: Format,
}

fn get(call: &mut Call<'_>) -> Result<Plan, Error> {
    let question = question(call)?;
    let key = call.key(1);
    let kind = call.server.engine.kind(key.store)?;
    read(move |txn| {
        let Some(text) = document(txn.get(&key)?, kind)? else { return Ok(Reply::Null) };
        answer(&question, &text)
    })
}

fn question(call: &Call<'_>) -> Result<Question, Error> {
    let bytes_max = call.server.config.proto_max_bulk_len();
    let mut question = Question {
        paths: Vec::new(),
        layout: Layout { bytes_max, ..Layout::default() },
        format: Format::Text,
    };
    call.options(2, |at| {
        let layout = &mut question.layout;
        let part = if call.is(at, "INDENT") {
            &mut layout.indent
        } else if call.is(at, "NEWLINE") {
            &mut layout.newline
        } else if call.is(at, "SPACE") {
            &mut layout.space
        } else if call.is(at, "FORMAT") {
            question.format = Format::parse(call, at + 1, "STRING")?;
            return Ok(1);
        } else {
            if !call.is(at, "NOESCAPE") {
                question.paths.push(path(call, at)?);
            }
            return Ok(0);
        };
        let word = call.arg(at + 1);
        if word.len() > LAYOUT_BYTES_MAX {
            let length = word.len();
            let limit = LAYOUT_BYTES_MAX;
            return Err(Error::other(format!(
                "ERR layout is {length} bytes, longer than the limit of {limit}"
            )));
        }
        *part = Bytes::copy_from_slice(word);
        Ok(1)
    })?;
    if question.paths.is_empty() {
        question.paths.push(Path::legacy_root());
    }
    Ok(question)
}

fn answer(question: &Question, text: &Bytes) -> Result<Reply, Error> {
    let Question { paths, layout, format } = question;
    let mut work = Work::on(text.len());
    if *format != Format::Text {
        let mut room = REPLY_BYTES_MAX;
        let found = |path: &Path| {
            let nodes = find(path, text, &mut work)?;
            let values = nodes.iter().map(|node| format.reply(text, node.start, &mut room));
            Ok(Reply::Array(values.collect::<Result<_, Error>>()?))
        };
        return Ok(Reply::Array(paths.iter().map(found).collect::<Result<_, Error>>()?));
    }
    if let [path] = &paths[..] {
        let nodes = find(path, text, &mut work)?;
        return one(path, layout, text, &nodes);
    }
    // in legacy form only if all paths are legacy
    let is_legacy = paths.iter().all(Path::is_legacy);
    let mut out = Vec::new();
    let mut list = layout.list(b"{}", 0, &mut out);
    let mut answered = HashSet::new();
    for path in paths.iter().filter(|path| answered.insert(path.as_str())) {
        let nodes = find(path, text, &mut work)?;
        list.entry().map_err(too_long)?;
        list.key(serde_json::Value::from(path.as_str()).to_string().as_bytes());
        if is_legacy {
            let first = nodes.first().ok_or_else(no_such_path)?;
            layout.write(text, first.start, 1, list.out).map_err(too_long)?;
        } else {
            write_all(layout, text, &nodes, 1, list.out)?;
        }
    }
    list.end();
    Ok(Reply::Bulk(out.into()))
}

/// What one path found: the first value for a legacy path, else an array of all.
fn one(path: &Path, layout: &Layout, text: &Bytes, nodes: &[Node]) -> Result<Reply, Error> {
    let mut out = Vec::new();
    if !path.is_legacy() {
        write_all(layout, text, nodes, 0, &mut out)?;
        return Ok(Reply::Bulk(out.into()));
    }
    let first = nodes.first().ok_or_else(no_such_path)?;
    if layout.is_compact() {
        return Ok(Reply::Bulk(layout::compacted(text, first.start)));
    }
    layout.write(text, first.start, 0, &mut out).map_err(too_long)?;
    Ok(Reply::Bulk(out.into()))
}

fn write_all(
    layout: &Layout,
    text: &[u8],
    nodes: &[Node],
    level: usize,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut list = layout.list(b"[]", level, out);
    for node in nodes {
        list.entry().map_err(too_long)?;
        layout.write(text, node.start, level + 1, list.out).map_err(too_long)?;
    }
    list.end();
    Ok(())
}

fn mget(call: &mut Call<'_>) -> Result<Plan, Error> {
    let last = call.args.len() - 1;
    let path = path(call, last)?;
    let keys: Vec<_> = (1..last).map(|at| call.key(at)).collect();
    let kind = call.server.engine.kind(call.session.store)?;
    let layout = Layout { bytes_max: call.server.config.proto_max_bulk_len(), ..Layout::default() };
    read(move |txn| {
        let mut values = Vec::with_capacity(keys.len());
        for key in &keys {
            // a key that holds no document, and a legacy path that finds nothing, are null among the others
            let text = document(txn.get(key)?, kind).unwrap_or_default();
            values.push(match text {
                None => Reply::Null,
                Some(text) => {
                    let nodes = find(&path, &text, &mut Work::on(text.len()))?;
                    if path.is_legacy() && nodes.is_empty() {
                        Reply::Null
                    } else {
                        let value = one(&path, &layout, &text, &nodes)?;
                        txn.spend(value.own_bytes())?;
                        value
                    }
                }
            });
        }
        Ok(Reply::Array(values))
    })
}

fn resp(call: &mut Call<'_>) -> Result<Plan, Error> {
    look(call, path_or_root(call, 2)?, Ok(Reply::Null), |text, path, nodes| {
        let mut replies = nodes.iter().map(|node| in_resp(text, node.start));
        if path.is_legacy() {
            replies.next().ok_or_else(no_such_path)
        } else {
            Ok(Reply::Array(replies.collect()))
        }
    })
}

/// Containers are arrays whose first element says which kind they are.
fn in_resp(text: &[u8], start: usize) -> Reply {
    let value = scan::value(text, start);
    match scan::kind(text, start) {
        JsonType::Null => Reply::Null,
        JsonType::Boolean => Reply::Simple(if value == b"true" { "true" } else { "false" }),
        JsonType::Number => number(value),
        JsonType::String => Reply::text(scan::unescaped(value)),
        JsonType::Array => {
            let elements = Entries::of(text, start).map(|entry| in_resp(text, entry.value));
            Reply::Array(std::iter::once(Reply::Simple("[")).chain(elements).collect())
        }
        JsonType::Object => {
            let members = Entries::of(text, start).flat_map(|entry| {
                [Reply::text(scan::unescaped(&text[entry.key])), in_resp(text, entry.value)]
            });
            Reply::Array(std::iter::once(Reply::Simple("{")).chain(members).collect())
        }
    }
}

fn number(text: &[u8]) -> Reply {
    match Number::parse(text) {
        // an integer that a double cannot represent
        Some(Number::BigInteger(_)) => Reply::BigNumber(String::from_utf8_lossy(text).into_owned().into()),
        Some(number) => json::number(number),
        None => Reply::Null,
    }
}

fn debug(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.is(1, "HELP") {
        let lines = ["MEMORY <key> [path] - reports memory usage", "HELP                - this message"];
        return reply(Reply::Array(lines.map(Reply::text).into()));
    }
    if !call.is(1, "MEMORY") {
        return Err(Error::other("ERR unknown subcommand - try `JSON.DEBUG HELP`"));
    }
    if call.args.len() < 3 {
        return Err(call.arity_error());
    }
    let path = path_or_root(call, 3)?;
    let (key, kind) = (call.key(2), call.server.engine.kind(call.session.store)?);
    read(move |txn| {
        let Some(text) = document(txn.get(&key)?, kind)? else {
            return Ok(if path.is_legacy() { Reply::Integer(0) } else { Reply::Array(Vec::new()) });
        };
        let nodes = find(&path, &text, &mut Work::on(text.len()))?;
        let mut sizes = nodes.iter().map(|node| count(scan::value(&text, node.start).len()));
        if path.is_legacy() {
            sizes.next().ok_or_else(no_such_path)
        } else {
            Ok(Reply::Array(sizes.collect()))
        }
    })
}
