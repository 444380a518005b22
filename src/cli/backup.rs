//! `larder backup`: makes a running server write a copy of its data. See `engine::backup`.

use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use super::client::{Client, Reply};
use super::{address, server_arguments};

pub fn command() -> Command {
    server_arguments(Command::new("backup").about(
        "Let a running server copy all its stores, as of one instant, into a new data directory that is compacted and verified",
    ))
    .arg(
        Arg::new("to")
            .long("to")
            .value_name("DIR")
            .required(true)
            .help("A directory on the server's machine, which must be empty or not exist. To restore, start larder with --dir DIR"),
    )
}

pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let to = arguments.get_one::<String>("to").map(String::as_str).unwrap_or_default();
    let to = std::path::absolute(Path::new(to)).map_err(|error| format!("{to}: {error}"))?;
    let to = to.into_os_string().into_encoded_bytes();
    let mut client = Client::connect(&address(arguments)?)?;
    let told = match client.call(vec![b"BACKUP".to_vec(), to.clone()])? {
        Reply::List(told) => told,
        Reply::Error(error) => return Err(error),
        _ => return Err("what answers is no Larder".to_owned()),
    };
    let told: Vec<String> = told
        .chunks(2)
        .filter_map(|pair| match pair {
            [Reply::Text(name), Reply::Integer(number)] => {
                Some(format!("{} {number}", String::from_utf8_lossy(name)))
            }
            _ => None,
        })
        .collect();
    eprintln!("{} is a sound copy: {}", String::from_utf8_lossy(&to), told.join(", "));
    Ok(ExitCode::SUCCESS)
}
