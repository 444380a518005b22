//! `larder archive list` and `larder archive check`: what there is in an archive, and whether all of it can be read.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::restore::{archive_argument, open};
use super::transfer::progress::Progress;
use crate::archive::check::{Report, check};
use crate::archive::restore::{self, Contents, Range, contents};
use crate::archive::time;

pub fn command() -> Command {
    let list = Command::new("list")
        .about("Show the snapshots of an archive, and from when to when it can be restored");
    let check = Command::new("check").about("Read an archive back, and name what is missing or damaged");
    Command::new("archive")
        .about("Look at an archive")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list.arg(archive_argument()))
        .subcommand(check.arg(archive_argument()))
}

/// The exit code of `check` is 0 if the archive is sound, 2 if not.
pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    match arguments.subcommand() {
        Some(("check", arguments)) => run_check(arguments),
        Some((_, arguments)) => run_list(arguments),
        None => Err("say what to do: list or check".to_owned()),
    }
}

fn run_list(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let store = open(arguments)?;
    let contents = contents(&*store)?;
    let range = Range::read(&*store, &contents)?;
    print(&contents, &range, &mut io::stdout().lock()).map_err(|error| error.to_string())?;
    for number in contents.missing() {
        println(&format!("missing: segment {number}"))?;
    }
    Ok(if contents.missing().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn run_check(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let store = open(arguments)?;
    let mut progress = Progress::new(None);
    let report = check(&*store, &mut |step| match step {
        restore::Progress::Total(bytes) => progress = Progress::bytes(bytes),
        restore::Progress::Read(bytes) => progress.advance(bytes as usize),
    });
    progress.finish();
    let report = report?;
    let mut out = io::stdout().lock();
    print(&report.contents, &report.range, &mut out)
        .and_then(|()| print_report(&report, &mut out))
        .map_err(|error| error.to_string())?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn print(contents: &Contents, range: &Range, out: &mut impl Write) -> io::Result<()> {
    let manifest = &contents.manifest;
    writeln!(out, "archive {}", manifest.archive)?;
    for listed in &manifest.snapshots {
        writeln!(
            out,
            "snapshot {}: entry {}, {}, {} bytes; segments from {} on follow",
            listed.name,
            listed.name.entry,
            time::show(listed.time_ms),
            listed.bytes,
            listed.next_segment
        )?;
    }
    if let (Some((first, _)), Some((last, _))) = (contents.segments.first(), contents.segments.last()) {
        let bytes: u64 = contents.segments.iter().map(|(_, bytes)| bytes).sum();
        writeln!(out, "segments {first} to {last}: {bytes} bytes")?;
    }
    writeln!(
        out,
        "can be restored from {} to {}, entries {} to {}",
        time::show(range.from_ms),
        time::show(range.to_ms),
        range.first,
        range.last
    )
}

fn print_report(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} entries were read", report.entries)?;
    for (first, last) in &report.gaps {
        writeln!(
            out,
            "no time within entries {first} to {last} can be restored: the log goes on behind a snapshot"
        )?;
    }
    if report.leftovers > 0 {
        writeln!(
            out,
            "{} objects are no longer needed, or belong to an upload that is not complete",
            report.leftovers
        )?;
    }
    if report.others > 0 {
        writeln!(out, "{} objects are not the archive's", report.others)?;
    }
    for problem in &report.problems {
        writeln!(out, "problem: {problem}")?;
    }
    match report.problems.len() {
        0 => writeln!(out, "no problems found"),
        count => writeln!(out, "{count} problems found; restore stops at the first one that it needs"),
    }
}

fn println(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())
}
