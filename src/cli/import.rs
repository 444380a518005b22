//! `larder import`: records into a store of a running server, from a file, from standard input, or from a Redis.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::client::{Address, Client, Reply, Request, request};
use super::link::Trust;
use super::transfer::progress::Progress;
use super::transfer::source::Records;
use super::transfer::{
    Found, Record, Refusals, Source, commands, delimited, lines, named, named_library, rdb,
};
use super::{address, connect_to_store, server_arguments};
use crate::engine::clock;
use crate::limits::{TRANSFER_BATCH_BYTES, TRANSFER_BATCH_RECORDS};
use crate::record::line::without_mark;

pub fn command() -> Command {
    server_arguments(Command::new("import").about(
        "Import records into a store: from a file of larder export, from commands in the format of redis-cli --pipe, or from a Redis or its RDB file",
    ))
    .arg(Arg::new("file").value_name("FILE").conflicts_with("from").help("The file to import; - is standard input [default: -]"))
    .arg(Arg::new("from").long("from").value_name("URL").help(
        "A running Redis or Larder, redis://[user[:password]@]host[:port][/database], or as for --url; hashes, lists and sets become JSON",
    ))
    .arg(
        Arg::new("match")
            .long("match")
            .value_name("PATTERN")
            .requires("from")
            .help("Only keys that match the pattern, as in SCAN"),
    )
    .arg(
        Arg::new("format")
            .long("format")
            .value_parser(["jsonl", "csv", "commands", "rdb"])
            .help("The format [default: jsonl if the first byte is {, commands if it is *, rdb if it begins with REDIS or VALKEY, otherwise by the file's name]"),
    )
    .arg(
        Arg::new("database")
            .long("database")
            .value_name("NUMBER")
            .value_parser(value_parser!(u64))
            .conflicts_with("from")
            .help("Of an RDB file, import only this database, into the store of --store [default: all, each into the store of its number]"),
    )
    .arg(
        Arg::new("replace")
            .long("replace")
            .action(ArgAction::SetTrue)
            .help("Overwrite existing records [default: they are not changed, and count as refused]"),
    )
    .arg(
        Arg::new("skip-existing")
            .long("skip-existing")
            .action(ArgAction::SetTrue)
            .conflicts_with("replace")
            .help("Skip existing records, and do not report them as errors"),
    )
    .arg(
        Arg::new("as-string")
            .long("as-string")
            .action(ArgAction::SetTrue)
            .help("Convert values that are not JSON into JSON strings, if the store accepts only JSON"),
    )
    .arg(
        Arg::new("create")
            .long("create")
            .value_parser(["json", "any"])
            .help("Create the store, for values of this kind, if it does not exist"),
    )
}

/// Imports; the exit code is 0 if everything went in, 2 if something was refused.
pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let text = |name: &str| arguments.get_one::<String>(name).map(String::as_str);
    let existing = match (arguments.get_flag("replace"), arguments.get_flag("skip-existing")) {
        (true, _) => Existing::Replace,
        (_, true) => Existing::Skip,
        _ => Existing::Refuse,
    };
    let source = match text("from") {
        Some(url) => from_server(url, super::trust(arguments), text("match"))?,
        None => (from_file(arguments)?, None),
    };
    let client = connect_to_store(arguments)?;
    let (source, total) = source;
    let mut import = Import {
        client,
        existing,
        as_string: arguments.get_flag("as-string"),
        progress: Progress::new(total),
        done: Done::default(),
    };
    let outcome = import.run(source);
    import.progress.finish();
    eprintln!("{}", import.done.summary());
    outcome?;
    Ok(if import.done.refusals.count() == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn from_server(
    url: &str,
    trust: Trust,
    pattern: Option<&str>,
) -> Result<(Source<'static>, Option<u64>), String> {
    let address = Address { trust, ..Address::parse(url)? };
    let mut client = Client::connect(&address)?;
    client.done(&["SELECT", address.store.as_deref().unwrap_or("0")])?;
    let total = match client.call(request(&["DBSIZE"]))? {
        Reply::Integer(records) if pattern.is_none() => u64::try_from(records).ok(),
        _ => None,
    };
    let mut records = Records::new(&mut client, pattern.map(str::to_owned))?;
    Ok((Box::new(std::iter::from_fn(move || records.next(&mut client).transpose())), total))
}

fn from_file(arguments: &ArgMatches) -> Result<Source<'static>, String> {
    let text = |name: &str| arguments.get_one::<String>(name).map(String::as_str);
    let (path, format) = (text("file").filter(|path| *path != "-"), text("format"));
    let file = match path {
        None => None,
        Some(path) => Some(File::open(path).map_err(|error| format!("{path} can't be read: {error}"))?),
    };
    let mut input: Box<dyn BufRead> = match &file {
        None => Box::new(BufReader::new(io::stdin())),
        Some(file) => {
            let file = file.try_clone().map_err(|error| format!("the input can't be read: {error}"))?;
            Box::new(BufReader::with_capacity(64 * 1024, file))
        }
    };
    let first = input.fill_buf().map_err(|error| format!("the input can't be read: {error}"))?;
    let first = without_mark(first);
    let named = |end: &str| path.is_some_and(|path| path.ends_with(end));
    let format = match (format, first.first()) {
        (Some(format), _) => format,
        (None, Some(b'{') | None) => "jsonl",
        (None, Some(b'*')) => "commands",
        (None, Some(_)) if [&b"REDIS0"[..], b"VALKEY"].iter().any(|magic| first.starts_with(magic)) => "rdb",
        _ if named(".csv") => "csv",
        _ if named(".jsonl") || named(".ndjson") => "jsonl",
        _ => return Err("what the input is can't be told; say it with --format".to_owned()),
    };
    let now_ms = clock::now_ms();
    Ok(match format {
        "csv" => Box::new(delimited::read(input, now_ms)?),
        "commands" => Box::new(commands::read(input, now_ms)),
        "rdb" => {
            let database = arguments.get_one::<u64>("database").copied();
            let names_store = text("store").is_some() || address(arguments)?.store.is_some();
            if database.is_none() && names_store {
                return Err(
                    "an RDB file may have several databases, and each goes into the store of its number; \
                     say with --database which one goes into this store"
                        .to_owned(),
                );
            }
            if let Some(file) = file.filter(|file| file.metadata().is_ok_and(|file| file.is_file())) {
                check(file, now_ms)?;
            }
            Box::new(rdb::read(input, now_ms, database))
        }
        _ => Box::new(lines::read(input, now_ms)),
    })
}

/// Reads an RDB file to its end, so that nothing is imported from a damaged one. Leaves it where it was.
fn check(mut file: File, now_ms: u64) -> Result<(), String> {
    let failed = |error: io::Error| format!("the input can't be read: {error}");
    let position = file.stream_position().map_err(failed)?;
    file.rewind().map_err(failed)?;
    let input = BufReader::with_capacity(64 * 1024, &file);
    if let Some(why) = rdb::read(input, now_ms, None).find_map(Result::err) {
        return Err(format!(
            "{why}; nothing was imported. What comes before the damage is imported from standard input: larder import - <FILE"
        ));
    }
    file.seek(io::SeekFrom::Start(position)).map(drop).map_err(failed)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Replace,
    Skip,
    Refuse,
}

#[derive(Default)]
struct Done {
    imported: u64,
    as_strings: u64,
    libraries: u64,
    skipped: u64,
    expired: u64,
    refusals: Refusals,
}

struct Import {
    client: Client,
    existing: Existing,
    as_string: bool,
    progress: Progress,
    done: Done,
}

impl Import {
    fn run(&mut self, source: Source<'_>) -> Result<(), String> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for found in source {
            match found {
                Ok(Found::Record(record)) => {
                    bytes += record.bytes();
                    batch.push(record);
                }
                Ok(Found::Database(number)) => {
                    self.send(std::mem::take(&mut batch))?;
                    bytes = 0;
                    self.client.done(&["SELECT", &number.to_string()]).map_err(|why| {
                        format!("database {number} of the file: {why}; import it with --database {number} --store NAME")
                    })?;
                }
                Ok(Found::Library(code)) => self.load(&code)?,
                Ok(Found::Refused(what, why)) => self.done.refusals.add(&self.progress, &what, &why),
                Err(why) => {
                    // what came before is as good as if the source had ended there
                    self.send(std::mem::take(&mut batch))?;
                    return Err(why);
                }
            }
            if batch.len() >= TRANSFER_BATCH_RECORDS || bytes >= TRANSFER_BATCH_BYTES {
                self.send(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.send(batch)
    }

    /// Loads a library of functions.
    fn load(&mut self, code: &[u8]) -> Result<(), String> {
        let mut words = request(&["FUNCTION", "LOAD"]);
        if self.existing == Existing::Replace {
            words.push(b"REPLACE".to_vec());
        }
        words.push(code.to_vec());
        match self.client.call(words)? {
            Reply::Error(error) if self.existing == Existing::Skip && error.ends_with(" already exists") => {
                self.done.skipped += 1;
            }
            Reply::Error(error) => self.done.refusals.add(&self.progress, &named_library(code), &error),
            _ => self.done.libraries += 1,
        }
        Ok(())
    }

    fn send(&mut self, mut batch: Vec<Record>) -> Result<(), String> {
        let (now_ms, count) = (clock::now_ms(), batch.len());
        batch.retain(|record| record.expires_at_ms.is_none_or(|deadline| deadline > now_ms));
        self.done.expired += (count - batch.len()) as u64;
        self.progress.advance(count);
        let mut retried = Vec::new();
        for (record, answer) in self.set(batch)? {
            match (answer, std::str::from_utf8(&record.value)) {
                (Reply::Error(error), Ok(text)) if self.as_string && error.starts_with("NOTJSON ") => {
                    let value = serde_json::Value::from(text).to_string().into_bytes();
                    retried.push(Record { value, ..record });
                }
                (answer, _) => self.note(&record, answer),
            }
        }
        let before = self.done.imported;
        for (record, answer) in self.set(retried)? {
            self.note(&record, answer);
        }
        self.done.as_strings += self.done.imported - before;
        Ok(())
    }

    fn set(&mut self, batch: Vec<Record>) -> Result<impl Iterator<Item = (Record, Reply)> + use<>, String> {
        let requests: Vec<Request> = batch.iter().map(|record| self.setting(record)).collect();
        let answers = self.client.pipeline(&requests)?;
        Ok(batch.into_iter().zip(answers))
    }

    fn setting(&self, record: &Record) -> Request {
        let mut words = vec![b"SET".to_vec(), record.key.clone(), record.value.clone()];
        if let Some(deadline) = record.expires_at_ms {
            words.extend([b"PXAT".to_vec(), deadline.to_string().into_bytes()]);
        }
        if self.existing != Existing::Replace {
            words.push(b"NX".to_vec());
        }
        words
    }

    fn note(&mut self, record: &Record, answer: Reply) {
        match answer {
            Reply::Error(error) => self.done.refusals.add(&self.progress, &named(&record.key), &error),
            Reply::Null if self.existing == Existing::Skip => self.done.skipped += 1,
            Reply::Null => self.done.refusals.add(
                &self.progress,
                &named(&record.key),
                "it exists; see --replace and --skip-existing",
            ),
            _ => self.done.imported += 1,
        }
    }
}

impl Done {
    fn summary(&self) -> String {
        let libraries = if self.libraries == 1 { "library of functions" } else { "libraries of functions" };
        let mut parts = vec![format!("imported {}", self.imported)];
        for (count, what) in [
            (self.as_strings, "of them as strings"),
            (self.libraries, libraries),
            (self.skipped, "skipped, they exist"),
            (self.expired, "left out, they have expired"),
            (self.refusals.count(), "refused"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.join(", ")
    }
}
