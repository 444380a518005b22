//! `larder ready`: whether a running server serves reads and writes, for the health checks of containers and the like,
//! where there is often no other HTTP client.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use ureq::Agent;

use crate::limits::ENDPOINT_ANSWER_BYTES_MAX;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(4);

pub fn command() -> Command {
    let port = Arg::new("http-port")
        .long("http-port")
        .value_name("PORT")
        .env("LARDER_HTTP_PORT")
        .default_value("8379")
        .value_parser(value_parser!(u16).range(1..))
        .help("The server's HTTP port");
    let host =
        Arg::new("host").long("host").value_name("HOST").default_value("127.0.0.1").help("Where it listens");
    Command::new("ready")
        .about("Tell whether a running server serves reads and writes; the exit code is 0 or 1")
        .arg(host)
        .arg(port)
}

pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let host = arguments.get_one::<String>("host").map_or("127.0.0.1", String::as_str);
    let port = arguments.get_one::<u16>("http-port").copied().unwrap_or_default();
    let url = format!("http://{host}:{port}/readyz");
    // nobody else is asked: no proxy
    let config =
        Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).proxy(None);
    let asked = Agent::from(config.build()).get(&url).call();
    let mut answer = asked.map_err(|error| format!("{url}: {error}"))?;
    if answer.status().is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    let why = answer.body_mut().with_config().limit(ENDPOINT_ANSWER_BYTES_MAX).read_to_string();
    Err(format!("{url}: {} {}", answer.status(), why.unwrap_or_default()))
}
