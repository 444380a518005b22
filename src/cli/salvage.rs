//! `larder salvage`: gives up what a damaged journal has lost, once and on purpose.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::engine::recovery::salvage::{Loss, look, salvage};

pub fn command() -> Command {
    let dir = Arg::new("dir").value_name("DIR").required(true).help("Data directory of a stopped server");
    let yes = Arg::new("yes")
        .long("yes")
        .action(ArgAction::SetTrue)
        .help("Give up the lost entries; without this option, only show them");
    Command::new("salvage")
        .about("Show which entries a damaged journal has lost. With --yes, give them up, so that a server can start without them")
        .arg(dir)
        .arg(yes)
}

/// The exit code is 0 if the journal is sound by now, 2 if something would be lost.
pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let dir = arguments.get_one::<String>("dir").map(String::as_str).unwrap_or_default();
    let path = Path::new(dir);
    let mut out = io::stdout().lock();
    let Some(loss) = look(path).map_err(|error| error.to_string())? else {
        writeln!(out, "the journal has lost nothing: start larder with --dir {dir}")
            .map_err(|error| error.to_string())?;
        return Ok(ExitCode::SUCCESS);
    };
    print(&loss, &mut out).map_err(|error| error.to_string())?;
    if !arguments.get_flag("yes") {
        writeln!(out, "nothing was changed; to give up the lost entries, copy the directory, and then run: larder salvage {dir} --yes")
            .map_err(|error| error.to_string())?;
        return Ok(ExitCode::from(2));
    }
    salvage(path).map_err(|error| error.to_string())?;
    writeln!(out, "done: the journal ends with entry {}; start larder with --dir {dir}", loss.kept_through)
        .map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn print(loss: &Loss, out: &mut impl Write) -> io::Result<()> {
    let Loss { why, kept_through, lost_through, unreadable_bytes } = loss;
    writeln!(out, "damage: {why}")?;
    writeln!(out, "kept: all changes up to entry {kept_through}")?;
    match lost_through {
        Some(last) => writeln!(
            out,
            "lost: entries {} to {last}, {} of them at most, those included that can still be read behind the damage",
            kept_through + 1,
            last - kept_through
        )?,
        None => writeln!(out, "lost: every entry after that; none of them can be read")?,
    }
    writeln!(out, "unreadable: {unreadable_bytes} bytes")
}
