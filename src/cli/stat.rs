//! `larder stat`: shows what a running server, or the data directory of a stopped one, holds.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use super::client::{Client, Reply, request};
use super::{address, server_arguments};
use crate::engine::recovery::check::{Overview, overview};

pub fn command() -> Command {
    server_arguments(
        Command::new("stat").about(
            "Show the contents of a server or of a data directory: records, bytes, limits, the journal",
        ),
    )
    .arg(
        Arg::new("dir")
            .long("dir")
            .value_name("PATH")
            .conflicts_with("url")
            .help("The data directory of a stopped server, instead of a running server"),
    )
}

pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let table = match arguments.get_one::<String>("dir") {
        Some(dir) => of_directory(&overview(Path::new(dir)).map_err(|error| error.to_string())?),
        None => of_server(&mut Client::connect(&address(arguments)?)?)?,
    };
    table.print(&mut io::stdout().lock()).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// A table of stores, and lines below it.
#[derive(Debug, Default, PartialEq)]
struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
    lines: Vec<String>,
}

fn of_directory(overview: &Overview) -> Table {
    let titles =
        ["name", "records", "expiring", "plain_bytes", "stored_bytes", "ratio", "max_keys", "max_bytes"];
    let rows = overview.stores.iter().map(|store| {
        let usage = store.counted;
        let mut row = vec![store.label.clone()];
        row.extend(
            [usage.records, usage.expiring, usage.plain_bytes, usage.stored_bytes].map(|n| n.to_string()),
        );
        row.push(format!("{:.2}", usage.ratio()));
        row.extend([store.quota.max_keys, store.quota.max_bytes].map(|max| max.unwrap_or(0).to_string()));
        row
    });
    let journal = &overview.journal;
    let mut lines = vec![
        format!("lmdb: {} bytes, through entry {}", overview.file_bytes, overview.checkpoint),
        format!(
            "journal: {} bytes in {} segments, {} entries that the stores above don't show yet",
            journal.segments.iter().map(|segment| segment.bytes).sum::<u64>(),
            journal.segments.len(),
            journal.replayable
        ),
    ];
    lines.extend(journal.lost.as_ref().map(|lost| format!("problem: {lost}")));
    Table { titles: titles.map(str::to_owned).into(), rows: rows.collect(), lines }
}

fn of_server(client: &mut Client) -> Result<Table, String> {
    let stores = match client.call(request(&["STORE", "LIST"]))? {
        Reply::List(stores) => stores,
        Reply::Error(error) => return Err(error),
        _ => return Err("what answers is no Larder".to_owned()),
    };
    let info = match client.call(request(&["INFO"]))? {
        Reply::Text(info) => String::from_utf8_lossy(&info).into_owned(),
        // a user who may not ask for it still sees the stores
        _ => String::new(),
    };
    let mut table = Table::default();
    for store in stores {
        let Reply::List(fields) = store else { continue };
        table.add(fields.chunks(2).filter_map(|pair| Some((shown(pair.first()?), shown(pair.get(1)?)))));
    }
    let shown_fields = [
        ("larder_version", "version"),
        ("uptime_in_seconds", "up for seconds"),
        ("connected_clients", "clients"),
        ("lmdb_file_bytes", "lmdb bytes"),
        ("lmdb_live_bytes", "lmdb bytes in use"),
        ("lmdb_free_bytes", "lmdb bytes free"),
        ("lmdb_free_pages", "lmdb pages free"),
        ("journal_disk_bytes", "journal bytes"),
        ("rdb_changes_since_last_save", "entries since the last checkpoint"),
        ("memtable_bytes", "bytes of changes in memory"),
    ];
    for (field, name) in shown_fields {
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        table.lines.extend(value.map(|value| format!("{name}: {}", value.trim_end())));
    }
    Ok(table)
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Integer(number) => number.to_string(),
        Reply::Null => String::new(),
        Reply::Error(error) => error.clone(),
        Reply::List(list) => list.iter().map(shown).collect::<Vec<_>>().join(" "),
    }
}

impl Table {
    /// A row of named cells; a name that is new makes a column.
    fn add(&mut self, cells: impl Iterator<Item = (String, String)>) {
        let mut row = vec![String::new(); self.titles.len()];
        for (title, cell) in cells {
            match self.titles.iter().position(|known| *known == title) {
                Some(column) => row[column] = cell,
                None => {
                    self.titles.push(title);
                    row.push(cell);
                }
            }
        }
        self.rows.push(row);
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..self.titles.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| cell(row, column).chars().count());
                cells.chain([self.titles[column].chars().count()]).max().unwrap_or(0)
            })
            .collect();
        for row in std::iter::once(&self.titles).chain(&self.rows) {
            let cells = widths.iter().enumerate().map(|(column, width)| {
                let (cell, width) = (cell(row, column), *width);
                let is_name = self.titles[column] == "name";
                if is_name { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        self.lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_what_is_told() {
        let mut table = Table::default();
        let row = |cells: &[(&str, &str)]| {
            cells
                .iter()
                .map(|(name, cell)| (name.to_string(), cell.to_string()))
                .collect::<Vec<_>>()
                .into_iter()
        };
        table.add(row(&[("name", "a"), ("records", "12345678")]));
        table.add(row(&[("name", "orders"), ("records", "1"), ("max_keys", "7")]));
        table.lines.push("lmdb: 1".into());
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let expected = "name     records  max_keys\na       12345678\norders         1         7\nlmdb: 1\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
