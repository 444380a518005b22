//! The binary's subcommands. A failure is one line that says what to do, and an exit code of 1.

mod check;
mod serve;

use std::process::ExitCode;

use clap::{Arg, Command};

use crate::config;

/// Runs what the command line says.
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let outcome = match matches.subcommand() {
        Some(("check", arguments)) => check::run(arguments),
        Some((_, arguments)) => serve::run(arguments),
        None => serve::run(&matches),
    };
    match outcome {
        Ok(code) => code,
        Err(why) => {
            eprintln!("larder: {why}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let serve =
        config::command_line(Command::new("serve").about("Run the server (what larder does by itself)"));
    let dir = Arg::new("dir").long("dir").value_name("PATH").default_value("./larder-data").env("LARDER_DIR");
    let check = Command::new("check")
        .about("Walk the data directory of a stopped server, verify every record, recount everything")
        .arg(dir.help("Data directory"));
    config::command_line(Command::new("larder"))
        .about("JSON data stores that speak the Redis protocol")
        .version(env!("CARGO_PKG_VERSION"))
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(check)
        .after_help("Every setting can also come from the environment (LARDER_MAX_KEYS_PER_QUERY=…) or the settings file.")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
