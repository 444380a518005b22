//! `larder check`: checks whether a data directory is sound.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;

use crate::engine::recovery::check::{Report, check};

/// Checks the directory; the exit code is 0 if nothing is wrong in it, 2 if something is.
pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let dir = arguments.get_one::<String>("dir").map_or("./larder-data", String::as_str);
    let report = check(Path::new(dir)).map_err(|error| error.to_string())?;
    print(&report, &mut io::stdout().lock()).map_err(|error| error.to_string())?;
    Ok(if report.problem_count == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<24} {:>12} {:>12} {:>16} {:>16} {:>6}",
        "store", "records", "expiring", "plain bytes", "stored bytes", "ratio"
    )?;
    for store in &report.stores {
        let usage = store.counted;
        writeln!(
            out,
            "{:<24} {:>12} {:>12} {:>16} {:>16} {:>6.2}",
            store.label,
            usage.records,
            usage.expiring,
            usage.plain_bytes,
            usage.stored_bytes,
            usage.ratio()
        )?;
    }
    if report.garbage_records > 0 {
        writeln!(
            out,
            "{} records of flushed or dropped stores wait to be reclaimed",
            report.garbage_records
        )?;
    }
    if let Some(journal) = &report.journal {
        writeln!(
            out,
            "journal: {} segments, {} entries to replay, up to entry {}",
            journal.segments.len(),
            journal.replayable,
            journal.last
        )?;
    }
    for problem in &report.problems {
        writeln!(out, "problem: {problem}")?;
    }
    match report.problem_count {
        0 => writeln!(out, "no problems found"),
        count => writeln!(out, "{count} problems found; restore a backup, or export what can be read"),
    }
}
