//! Compares Larder's commands with those of Redis: which are the same, which differ and which are absent, and why.
//! Generates docs/COMPATIBILITY.md, and the error for a client that sends an absent command.
//!
//! The existing commands come from the command table. The rest is in `redis_8_commands.txt`, which describes its own
//! format.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::LazyLock;

use crate::command::base::Spec;
use crate::command::base::table::Table;

/// One of Redis's commands, or a subcommand of one.
struct Entry {
    /// As the command table names it: `config|get`.
    name: &'static str,
    note: Note,
}

#[derive(Clone, Copy)]
enum Note {
    None,
    Differs(&'static str),
    Absent(&'static str),
}

struct Family {
    name: &'static str,
    title: &'static str,
    /// Why its commands are absent, except those that are declared or have reasons of their own.
    absent: Option<&'static str>,
    entries: Vec<Entry>,
}

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| parse(include_str!("redis_8_commands.txt")));

/// Why commands of Redis are absent, by their full names in lower case.
pub fn absent(declared: &[&'static [Spec]]) -> HashMap<&'static str, &'static str> {
    let declared: HashSet<&str> = declared
        .iter()
        .flat_map(|family| family.iter())
        .flat_map(Spec::with_subcommands)
        .map(|spec| spec.name)
        .collect();
    let entries = FAMILIES.iter().flat_map(|family| family.entries.iter().map(move |entry| (family, entry)));
    entries
        .filter_map(|(family, entry)| match status(family, entry, declared.contains(entry.name)) {
            Some(Status::Absent(why)) => Some((entry.name, why)),
            _ => None,
        })
        .collect()
}

/// The error for a client that sends a command of Redis that is absent here; `None` for a command that Redis doesn't
/// have either. It begins like Redis's own error, because clients check for that.
pub fn refusal(commands: &Table, name: &str) -> Option<String> {
    /// From these words, cluster clients find out that they talk to a single server.
    const CLUSTER_DISABLED: &str = "ERR This instance has cluster support disabled";
    let lower = name.to_lowercase();
    let why = commands.why_absent(&lower)?;
    let is_of_cluster = FAMILIES
        .iter()
        .any(|family| family.name == "cluster" && family.entries.iter().any(|entry| entry.name == lower));
    Some(if is_of_cluster {
        CLUSTER_DISABLED.to_owned()
    } else {
        format!("ERR unknown command '{name}': {why}")
    })
}

/// How a command compares to that of Redis.
enum Status {
    Same,
    Differs(&'static str),
    Absent(&'static str),
}

/// `None` if the command is not declared and no reason is given.
fn status(family: &Family, entry: &Entry, is_declared: bool) -> Option<Status> {
    match entry.note {
        Note::Absent(why) => Some(Status::Absent(why)),
        Note::Differs(how) if is_declared => Some(Status::Differs(how)),
        Note::None if is_declared => Some(Status::Same),
        Note::None | Note::Differs(_) => family.absent.map(Status::Absent),
    }
}

fn parse(text: &'static str) -> Vec<Family> {
    let mut families = Vec::<Family>::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((name, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
            let (title, absent) = match rest.split_once(" | ") {
                Some((title, why)) => (title, Some(why)),
                None => (rest, None),
            };
            families.push(Family { name, title, absent, entries: Vec::new() });
        } else if let Some(family) = families.last_mut() {
            let (name, note) = match (line.split_once(" ~ "), line.split_once(" - ")) {
                (Some((name, how)), _) => (name, Note::Differs(how)),
                (None, Some((name, why))) => (name, Note::Absent(why)),
                (None, None) => (line, Note::None),
            };
            family.entries.push(Entry { name, note });
        }
    }
    families
}

/// The whole table, as Markdown.
pub fn compatibility_markdown(commands: &Table) -> String {
    let mut out = String::from(INTRODUCTION);
    for family in FAMILIES.iter() {
        // writing to memory cannot fail
        let _ = write!(out, "\n## {}\n", family.title);
        let statuses: Vec<_> = family
            .entries
            .iter()
            .map(|entry| {
                (entry.name, status(family, entry, commands.find_full(entry.name.as_bytes()).is_some()))
            })
            .collect();
        if let Some(why) = family.absent
            && statuses.iter().all(|(_, status)| matches!(status, Some(Status::Absent(_))))
        {
            let names: Vec<String> = statuses.iter().map(|(name, _)| shown(name)).collect();
            let _ = write!(out, "\nAbsent: {why}.\n\n{}\n", names.join(", "));
            continue;
        }
        out.push_str("\n| command | | |\n|---|---|---|\n");
        for (name, status) in statuses {
            let (word, note) = match status {
                Some(Status::Same) => ("same", ""),
                Some(Status::Differs(how)) => ("differs", how),
                Some(Status::Absent(why)) => ("absent", why),
                None => ("absent", ""),
            };
            let _ = writeln!(out, "| {} | {word} | {note} |", shown(name));
        }
    }
    let own: Vec<String> = own_commands(commands).map(shown).collect();
    let _ = write!(out, "\n## Commands that Redis doesn't have\n\n{}\n", own.join(", "));
    out
}

const INTRODUCTION: &str = "# Compatibility

This page lists every command of Redis 8 and says whether Larder has it and how it differs. It is generated from the command table and
`src/command/reference/redis_8_commands.txt`; don't edit it by hand. *Same* means that replies, errors and effects are those that Redis
documents, with these differences, which apply to all commands:

* A key has at most 1,920 bytes. Writing a record with a longer key is refused. Other commands find no record at such a key.
* A value is a string. A `json` store, which is the default, accepts only JSON texts; an `any` store accepts any bytes.
* A JSON document is such a string, and every JSON record is a document. Paths are those of RFC 9535, and the legacy ones.
* A text that is not JSON is refused with `NOTJSON`, and the error says where the text stops being JSON.
* A store can be selected by number or by name. A store that does not exist can't be selected.
* A reply is sent when everything that it reflects is durable (`appendfsync always`).

## The reported version

`INFO` and `HELLO` report Redis 8.8.0, unless the setting `redis-version` says otherwise. The commands for strings, keys, connections,
users, scripts and publishing were compared with Redis 8.6.3. What Redis 8.8 adds to them is taken from its release notes. Of these
features, the following are missing or different:

* `HOTKEYS` (8.6) is absent.
* `slowlog-entry-max-argc` and `slowlog-entry-max-string-len` (8.8) can be read, but are always 32 and 128.
* `JSON.SET` accepts the option `FPHA` (8.8), which has no effect: numbers keep the digits with which they were set.
* `notify-keyspace-events` accepts the letter `c` (8.2) and the letters `S`, `T`, `I` and `V` (8.8), but these notifications are never
  sent, because a key never changes its type and there are no hashes with fields.

Of the features that only Valkey has, Larder has `DELIFEQ`, `SCRIPT SHOW`, the filters of `CLIENT LIST` and `CLIENT KILL` except `CAPA`,
and `server` as another name of `redis` in scripts.
";

/// Declared here, and unknown to Redis.
fn own_commands(commands: &Table) -> impl Iterator<Item = &'static str> {
    let is_of_redis =
        |name: &str| FAMILIES.iter().any(|family| family.entries.iter().any(|entry| entry.name == name));
    commands.everything().map(|spec| spec.name).filter(move |name| !is_of_redis(name))
}

/// `CONFIG GET` of `config|get`.
fn shown(name: &str) -> String {
    format!("`{}`", name.replace('|', " ").to_uppercase())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::command::COMMANDS;
    use crate::command::reference::compatibility::*;
    use crate::command::tests::harness::Harness;

    #[test]
    fn the_table_is_up_to_date() {
        crate::generated::check_up_to_date("COMPATIBILITY.md", &compatibility_markdown(&COMMANDS));
    }

    #[test]
    fn every_command_of_redis_is_here_or_there_is_a_reason() {
        let mut wrong = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for family in FAMILIES.iter() {
            for entry in &family.entries {
                let is_declared = COMMANDS.find_full(entry.name.as_bytes()).is_some();
                let fault = match entry.note {
                    Note::Absent(_) if is_declared => "is said to be absent, and declared",
                    Note::Differs(_) if !is_declared && family.absent.is_none() => {
                        "is said to differ, and not declared"
                    }
                    _ if status(family, entry, is_declared).is_none() => {
                        "is not declared, and nothing says why"
                    }
                    _ if !seen.insert(entry.name) => "is there twice",
                    _ => continue,
                };
                wrong.push(format!("{} {fault}", entry.name));
            }
        }
        assert!(wrong.is_empty(), "redis_8_commands.txt:\n{}", wrong.join("\n"));
        assert!(seen.len() > 500, "{}", seen.len());
    }

    #[test]
    fn the_error_for_an_absent_command_says_why() {
        Harness::new().expect(&[
            (
                "HSET h f v",
                "-ERR unknown command 'HSET': Larder holds JSON values and has no hashes; keep one as an object",
            ),
            ("cluster info", "-ERR This instance has cluster support disabled"),
            ("READONLY", "-ERR This instance has cluster support disabled"),
            ("NONSENSE", "-ERR unknown command 'NONSENSE'"),
            ("COMMAND INFO hset cluster", "[nil, nil]"),
        ]);
    }
}
