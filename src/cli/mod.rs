//! The binary's subcommands. A failure is one line that says what to do, and an exit code of 1.

mod archive;
mod backup;
mod check;
mod client;
mod demo;
mod export;
mod import;
mod link;
mod notify;
mod place;
mod ready;
mod restore;
mod salvage;
mod serve;
mod shell;
mod stat;
pub mod transfer;
mod version;

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use crate::config;
use crate::telemetry::log;
use client::{Address, Client};
use link::Trust;

/// Runs what the command line says.
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let outcome = match matches.subcommand() {
        Some(("check", arguments)) => check::run(arguments),
        Some(("export", arguments)) => export::run(arguments),
        Some(("import", arguments)) => import::run(arguments),
        Some(("backup", arguments)) => backup::run(arguments),
        Some(("restore", arguments)) => restore::run(arguments),
        Some(("archive", arguments)) => archive::run(arguments),
        Some(("stat", arguments)) => stat::run(arguments),
        Some(("ready", arguments)) => ready::run(arguments),
        Some(("salvage", arguments)) => salvage::run(arguments),
        Some(("demo", arguments)) => demo::run(arguments),
        Some(("completions", arguments)) => shell::print_completions(command(), arguments),
        Some(("man", arguments)) => shell::write_pages(command(), arguments),
        Some((_, arguments)) => serve::run(arguments),
        None => serve::run(&matches),
    };
    match outcome {
        Ok(code) => code,
        Err(why) => {
            log::write_last_line(format!("larder: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let serve =
        config::command_line(Command::new("serve").about("Run the server (also without any subcommand)"));
    let dir = Arg::new("dir").long("dir").value_name("PATH").default_value("./larder-data").env("LARDER_DIR");
    let check = Command::new("check")
        .about("Verify every record in the data directory of a stopped server, and recount everything")
        .arg(dir.help("Data directory"));
    config::command_line(Command::new("larder"))
        .about("JSON data stores that speak the Redis protocol")
        .version(env!("CARGO_PKG_VERSION"))
        .long_version(version::long())
        .help_template("{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}")
        .before_help(FIRST_STEPS)
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(demo::command())
        .subcommand(export::command())
        .subcommand(import::command())
        .subcommand(backup::command())
        .subcommand(restore::command())
        .subcommand(archive::command())
        .subcommand(stat::command())
        .subcommand(ready::command())
        .subcommand(check)
        .subcommand(salvage::command())
        .subcommand(shell::completions_command())
        .subcommand(shell::man_command())
        .after_help("`larder --help` lists all settings; `larder -h` those that you need first.")
        .after_long_help(
            "Every setting can also come from the environment (LARDER_MAX_KEYS_PER_QUERY=…) or the settings file. \
             `larder redis.conf` reads a configuration file of Redis, and says which of its settings have no effect.",
        )
}

/// What somebody does who has just installed the program.
const FIRST_STEPS: &str = "\
First steps:
  larder                      Start a server here, with its data in ./larder-data
  larder demo                 Look around in sample records
  redis-cli                   Talk to the server, as to a Redis
  http://127.0.0.1:8379/      Open the dashboard
  larder backup --to PATH     Back up the data, while the server runs";

/// Adds the options for the server that a subcommand talks to, and for the store.
fn server_arguments(command: Command) -> Command {
    let store = Arg::new("store")
        .long("store")
        .value_name("STORE")
        .help("Name or number of the store; it replaces the one in the URL [default: 0]");
    let needs_store = matches!(command.get_name(), "export" | "import");
    command
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .env("LARDER_URL")
                .default_value("redis://127.0.0.1:6379")
                .hide_env_values(true)
                .help("redis://[user[:password]@]host[:port][/store], rediss:// for TLS, or unix://[user[:password]@]/path[?db=store]; if it has no password, that in REDISCLI_AUTH is used"),
        )
        .args(TLS_FILES.map(|(name, help)| Arg::new(name).long(name).value_name("FILE").help(help)))
        .args(needs_store.then_some(store))
}

/// The options for TLS, with the names of `redis-cli`.
const TLS_FILES: [(&str, &str); 3] = [
    ("cacert", "Certificates of the authorities that sign the server's certificate, for rediss://"),
    ("cert", "The client's own certificate"),
    ("key", "Private key of that certificate"),
];

fn trust(arguments: &ArgMatches) -> Trust {
    let [ca_file, cert_file, key_file] =
        TLS_FILES.map(|(name, _)| arguments.get_one::<String>(name).cloned());
    Trust { ca_file, cert_file, key_file }
}

fn address(arguments: &ArgMatches) -> Result<Address, String> {
    let mut address =
        Address::parse(arguments.get_one::<String>("url").map(String::as_str).unwrap_or_default())?;
    address.trust = trust(arguments);
    address.password = address.password.or_else(|| std::env::var("REDISCLI_AUTH").ok());
    Ok(address)
}

/// A connection that has the store selected.
fn connect_to_store(arguments: &ArgMatches) -> Result<Client, String> {
    let address = address(arguments)?;
    let mut client = Client::connect(&address)?;
    let store = arguments.get_one::<String>("store").or(address.store.as_ref()).map_or("0", String::as_str);
    let creates = |name: &str| arguments.try_get_one::<String>(name).ok().flatten();
    if let (Err(why), kind) = (client.done(&["SELECT", store]), creates("create")) {
        match kind {
            Some(kind) if why.starts_with("NOSTORE ") => {
                client.done(&["STORE", "CREATE", store, "VALUES", kind])?;
                client.done(&["SELECT", store])?;
            }
            _ => return Err(why),
        }
    }
    Ok(client)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
