//! `larder restore`: makes a data directory from an archive. See `archive::restore`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::transfer::progress::Progress;
use crate::archive::restore::{self, Until, restore};
use crate::archive::store::{self, Store};
use crate::archive::time;
use crate::engine::clock;

/// A request for a large object may take long on a slow line.
const TIMEOUT: Duration = Duration::from_secs(300);

pub fn command() -> Command {
    let until = |name: &'static str| Arg::new(name).long(name);
    Command::new("restore")
        .about("Make a data directory from an archive, as of now or an earlier time")
        .arg(archive_argument())
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("PATH")
                .required(true)
                .help("The new data directory, which must be empty or not exist. Start larder with --dir PATH on it"),
        )
        .arg(until("at").value_name("TIME").conflicts_with("entry").help(
            "Restore the state of this time, such as 2026-11-30T23:40:26Z, by the clock of the server that wrote the archive",
        ))
        .arg(until("entry").value_name("N").help("Restore the state after this entry of the journal"))
}

/// `--archive URL`.
pub fn archive_argument() -> Arg {
    Arg::new("archive").long("archive").value_name("URL").required(true).env("LARDER_ARCHIVE").help(
        "The archive: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or a directory. Credentials, region and \
         endpoint come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …)",
    )
}

pub fn open(arguments: &ArgMatches) -> Result<Arc<dyn Store>, String> {
    let text = arguments.get_one::<String>("archive").map(String::as_str).unwrap_or_default();
    store::open(&text.parse()?, TIMEOUT)
}

pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let until = match (arguments.get_one::<String>("at"), arguments.get_one::<String>("entry")) {
        (Some(text), _) => Until::Time(time::parse(text)?),
        (None, Some(text)) => {
            let refused = || format!("'{text}' is no entry: name its number");
            Until::Entry(text.parse().map_err(|_| refused())?)
        }
        (None, None) => Until::Latest,
    };
    let store = open(arguments)?;
    let dir = arguments.get_one::<String>("dir").map(String::as_str).unwrap_or_default();
    let mut progress = Progress::new(None);
    let outcome = restore(&*store, Path::new(dir), until, clock::now_ms(), &mut |step| match step {
        restore::Progress::Total(bytes) => progress = Progress::bytes(bytes),
        restore::Progress::Read(bytes) => progress.advance(bytes as usize),
    });
    progress.finish();
    let outcome = outcome?;
    let time = match outcome.time_ms {
        0 => String::new(),
        ms => format!(", of {}", time::show(ms)),
    };
    eprintln!(
        "{dir} has everything up to entry {}{time}: from {} and {} segments. Start larder with --dir {dir}",
        outcome.entry,
        outcome.snapshot.map_or("the beginning".to_owned(), |name| format!("the snapshot {name}")),
        outcome.segments
    );
    Ok(ExitCode::SUCCESS)
}
