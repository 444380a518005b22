//! `larder export`: the records of a store, to a file, to standard output, or to an HTTP endpoint.
//!
//! An endpoint gets the records in chunks. With `--move`, acknowledged records are then deleted from the store, one by one
//! and only if the value is still the one that was delivered (DELEX with its digest).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::client::{Client, Reply, Request, request};
use super::transfer::deliver::Endpoint;
use super::transfer::progress::Progress;
use super::transfer::source::Records;
use super::transfer::{Found, Record, Refusals, delimited, lines};
use super::{connect_to_store, server_arguments};
use crate::engine::clock;
use crate::files;
use crate::limits::TRANSFER_BYTES;
use crate::record::digest::digest;

pub fn command() -> Command {
    server_arguments(Command::new("export").about(
        "Write the records of a store to a file or to standard output, or send them to an HTTP endpoint",
    ))
    .arg(
        Arg::new("match")
            .long("match")
            .value_name("PATTERN")
            .help("Only keys that match the pattern, as in SCAN"),
    )
    .arg(
        Arg::new("to")
            .long("to")
            .value_name("FILE|URL")
            .help("A file, or an endpoint (http:// or https://) [default: standard output]"),
    )
    .arg(
        Arg::new("format")
            .long("format")
            .value_parser(["jsonl", "csv", "json"])
            .help("The format; json is an array, for endpoints only [default: jsonl; json for an endpoint]"),
    )
    .arg(
        Arg::new("chunk-size")
            .long("chunk-size")
            .value_name("RECORDS")
            .default_value("100")
            .value_parser(value_parser!(u32).range(1..))
            .help("The maximum number of records in one request to an endpoint; fewer if they are large"),
    )
    .arg(Arg::new("move").long("move").action(ArgAction::SetTrue).help(
        "Delete the records from the store once an endpoint has acknowledged them, unless they have changed",
    ))
    // the default, which was once asked for
    .arg(Arg::new("keep").long("keep").action(ArgAction::SetTrue).conflicts_with("move").hide(true))
    .arg(
        Arg::new("header")
            .long("header")
            .value_name("NAME: VALUE")
            .action(ArgAction::Append)
            .help("A header for the endpoint, for example 'Authorization: Bearer …'"),
    )
    .arg(
        Arg::new("retries")
            .long("retries")
            .default_value("10")
            .value_parser(value_parser!(u32))
            .help("How many times a chunk is sent again before the export fails"),
    )
    .arg(
        Arg::new("retry-wait")
            .long("retry-wait")
            .value_name("MILLISECONDS")
            .default_value("100")
            .value_parser(value_parser!(u64).range(1..))
            .help("The wait before a chunk is sent again; each further wait is twice as long, up to 10 s"),
    )
}

/// Exports; the exit code is 0 if everything went, 2 if some records could not be read or deleted.
pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let text = |name: &str| arguments.get_one::<String>(name).map(String::as_str);
    let endpoint = text("to").filter(|to| to.starts_with("http://") || to.starts_with("https://"));
    let format = match (text("format"), endpoint) {
        (None, None) | (Some("jsonl"), _) => Format::Lines,
        (None, Some(_)) | (Some("json"), Some(_)) => Format::Array,
        (Some("json"), None) => {
            return Err("--format json is for endpoints; a file takes jsonl or csv".to_owned());
        }
        (Some(_), _) => Format::Delimited,
    };
    if arguments.get_flag("move") && endpoint.is_none() {
        return Err(
            "--move needs an endpoint that acknowledges the records: --to http://… or https://…".to_owned()
        );
    }
    let target = match (endpoint, text("to")) {
        (Some(url), _) => {
            let headers: Vec<String> =
                arguments.get_many("header").map(|lines| lines.cloned().collect()).unwrap_or_default();
            let retries = arguments.get_one("retries").copied().unwrap_or_default();
            let wait = Duration::from_millis(arguments.get_one("retry-wait").copied().unwrap_or_default());
            Target::Endpoint(Box::new(Delivery {
                endpoint: Endpoint::new(url, &headers, retries, wait)?,
                records_max: *arguments.get_one::<u32>("chunk-size").unwrap_or(&100) as usize,
                deletes: arguments.get_flag("move"),
                chunk: Vec::new(),
            }))
        }
        (None, Some(path)) if path != "-" => Target::File(Output::create(Path::new(path))?),
        _ => Target::Output(Output::standard()),
    };
    let mut client = connect_to_store(arguments)?;
    let total = match text("match") {
        None => count(&mut client, None)?,
        // it takes a pass through the keys, which only somebody needs who will miss what is gone
        pattern if arguments.get_flag("move") => count(&mut client, pattern)?,
        Some(_) => None,
    };
    if let (true, Some(total)) = (arguments.get_flag("move"), total) {
        eprintln!("--move: {total} records are deleted from the store as the endpoint acknowledges them");
    }
    let records = Records::new(&mut client, text("match").map(str::to_owned))?;
    let mut export = Export { client, format, progress: Progress::new(total), done: Done::default() };
    let outcome = export.run(records, target);
    export.progress.finish();
    eprintln!("{}", export.done.summary());
    outcome?;
    Ok(if export.done.refusals.count() == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// How many records the store has now, of those whose keys match the pattern; None if the server does not say.
fn count(client: &mut Client, pattern: Option<&str>) -> Result<Option<u64>, String> {
    let Some(pattern) = pattern else {
        return Ok(match client.call(request(&["DBSIZE"]))? {
            Reply::Integer(records) => u64::try_from(records).ok(),
            _ => None,
        });
    };
    let (mut cursor, mut records) = ("0".to_owned(), 0);
    loop {
        let page = match client.call(request(&["SCAN", &cursor, "MATCH", pattern, "COUNT", "1000"]))? {
            Reply::List(page) => page,
            Reply::Error(error) => return Err(error),
            _ => return Ok(None),
        };
        let [Reply::Text(next), Reply::List(keys)] = page.as_slice() else { return Ok(None) };
        records += keys.len() as u64;
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" {
            return Ok(Some(records));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Array,
    Delimited,
}

enum Target {
    Output(Output),
    File(Output),
    Endpoint(Box<Delivery>),
}

/// What has been done so far.
#[derive(Default)]
struct Done {
    exported: u64,
    deleted: Option<u64>,
    changed: u64,
    retried: u64,
    refusals: Refusals,
}

struct Export {
    client: Client,
    format: Format,
    progress: Progress,
    done: Done,
}

struct Delivery {
    endpoint: Endpoint,
    records_max: usize,
    deletes: bool,
    chunk: Vec<Record>,
}

impl Export {
    fn run(&mut self, mut records: Records, mut target: Target) -> Result<(), String> {
        if let (Target::File(output) | Target::Output(output), Format::Delimited) = (&mut target, self.format)
        {
            output.write(delimited::HEADER.as_bytes())?;
        }
        let mut chunk_bytes = 0;
        while let Some(found) = records.next(&mut self.client)? {
            let record = match found {
                Found::Record(record) => record,
                // only an RDB file has them
                Found::Database(_) | Found::Library(_) => continue,
                Found::Refused(what, why) => {
                    self.done.refusals.add(&self.progress, &what, &why);
                    continue;
                }
            };
            match &mut target {
                Target::File(output) | Target::Output(output) => {
                    output.write(&self.encode(std::slice::from_ref(&record))?)?;
                    self.done.exported += 1;
                    self.progress.advance(1);
                }
                Target::Endpoint(delivery) => {
                    chunk_bytes += record.bytes();
                    delivery.chunk.push(record);
                    if delivery.chunk.len() >= delivery.records_max || chunk_bytes >= TRANSFER_BYTES {
                        self.deliver(delivery)?;
                        chunk_bytes = 0;
                    }
                }
            }
        }
        match target {
            Target::File(output) | Target::Output(output) => output.finish(),
            Target::Endpoint(mut delivery) if !delivery.chunk.is_empty() => self.deliver(&mut delivery),
            Target::Endpoint(_) => Ok(()),
        }
    }

    /// Delivers a chunk and, if it is to be moved, deletes what it held once it is acknowledged.
    fn deliver(&mut self, delivery: &mut Delivery) -> Result<(), String> {
        let mut body = match self.format {
            Format::Delimited => delimited::HEADER.as_bytes().to_vec(),
            Format::Lines | Format::Array => Vec::new(),
        };
        body.extend(self.encode(&delivery.chunk)?);
        let content_type = match self.format {
            Format::Lines => "application/x-ndjson",
            Format::Array => "application/json",
            Format::Delimited => "text/csv; charset=utf-8",
        };
        let outcome = delivery.endpoint.deliver(&body, content_type);
        self.done.retried = delivery.endpoint.retried;
        outcome?;
        self.done.exported += delivery.chunk.len() as u64;
        self.progress.advance(delivery.chunk.len());
        let chunk = std::mem::take(&mut delivery.chunk);
        if delivery.deletes { self.delete(&chunk) } else { Ok(()) }
    }

    fn delete(&mut self, chunk: &[Record]) -> Result<(), String> {
        let deletion = |record: &Record| -> Request {
            let digest = digest(&record.value).to_vec();
            vec![b"DELEX".to_vec(), record.key.clone(), b"IFDEQ".to_vec(), digest]
        };
        let answers = self.client.pipeline(&chunk.iter().map(deletion).collect::<Vec<_>>())?;
        let deleted = self.done.deleted.get_or_insert(0);
        for (record, answer) in chunk.iter().zip(answers) {
            match answer {
                Reply::Integer(1) => *deleted += 1,
                Reply::Error(error) => {
                    let what = format!(
                        "{}, which was delivered but not deleted",
                        super::transfer::named(&record.key)
                    );
                    self.done.refusals.add(&self.progress, &what, &error);
                }
                _ => self.done.changed += 1,
            }
        }
        Ok(())
    }

    fn encode(&self, records: &[Record]) -> Result<Vec<u8>, String> {
        let (mut out, now_ms) = (Vec::new(), clock::now_ms());
        if self.format == Format::Array {
            out.push(b'[');
        }
        for (at, record) in records.iter().enumerate() {
            match self.format {
                Format::Delimited => delimited::write(record, &mut out)?,
                Format::Lines => {
                    lines::write(record, now_ms, &mut out);
                    out.push(b'\n');
                }
                Format::Array => {
                    out.extend_from_slice(if at == 0 { b"\n" } else { b",\n" });
                    lines::write(record, now_ms, &mut out);
                }
            }
        }
        if self.format == Format::Array {
            out.extend_from_slice(b"\n]\n");
        }
        Ok(out)
    }
}

impl Done {
    fn summary(&self) -> String {
        let mut parts = vec![format!("exported {}", self.exported)];
        parts.extend(self.deleted.map(|deleted| format!("deleted {deleted}")));
        for (count, what) in [
            (self.changed, "changed or gone since they were read, not deleted"),
            (self.retried, "attempts repeated"),
            (self.refusals.count(), "refused"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.join(", ")
    }
}

/// A file that appears under its name only when it is whole, or standard output.
struct Output {
    to: BufWriter<Box<dyn Write>>,
    /// Its name until it is whole, and its name then.
    file: Option<(PathBuf, PathBuf)>,
}

impl Output {
    fn standard() -> Output {
        Output { to: BufWriter::new(Box::new(io::stdout().lock())), file: None }
    }

    fn create(path: &Path) -> Result<Output, String> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".part");
        let unfinished = PathBuf::from(unfinished);
        let file = File::create(&unfinished)
            .map_err(|error| format!("{} can't be written: {error}", unfinished.display()))?;
        Ok(Output { to: BufWriter::new(Box::new(file)), file: Some((unfinished, path.to_owned())) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.to.write_all(bytes).map_err(|error| format!("the output can't be written: {error}"))
    }

    fn finish(mut self) -> Result<(), String> {
        let flushed = self.to.flush().and_then(|()| match &self.file {
            Some((unfinished, path)) => files::publish(unfinished, path),
            None => Ok(()),
        });
        flushed.map_err(|error| format!("the output can't be written: {error}"))
    }
}
