//! `larder ready`: whether a running server serves reads and writes, for the health checks of containers and the like,
//! where there is often no other HTTP client.
//!
//! It asks where the server's own environment says that it listens. Over HTTPS it does not look at the server's certificate,
//! as the probes of Kubernetes don't: it asks this machine, sends nothing secret, and learns a yes or no. Where clients have to
//! show a certificate, it shows the server's, as Redis does to other servers.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, TlsConfig, parse_pem};

use crate::config::{Address, is_service_link};
use crate::limits::ENDPOINT_ANSWER_BYTES_MAX;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(4);

pub fn command() -> Command {
    let arg = |name: &'static str, value: &'static str, variable: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).env(variable).help(help)
    };
    Command::new("ready")
        .about("Check whether a running server serves reads and writes; the exit code is 0 or 1")
        .arg(
            arg(
                "host",
                "HOST",
                "LARDER_HTTP_BIND",
                "The addresses on which it listens, in the form of http-bind",
            )
            .default_value("127.0.0.1")
            .allow_hyphen_values(true),
        )
        .arg(arg("http-port", "PORT", "LARDER_HTTP_PORT", "The server's HTTP port").default_value("8379"))
        .arg(
            arg(
                "https-port",
                "PORT",
                "LARDER_HTTPS_PORT",
                "The server's port for HTTPS, if it has no HTTP port",
            )
            .default_value("0"),
        )
        .arg(arg("cert", "FILE", "LARDER_TLS_CERT_FILE", "Certificate to show if the server asks for one"))
        .arg(arg("key", "FILE", "LARDER_TLS_KEY_FILE", "Private key of that certificate"))
}

pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let text = |name: &str| arguments.get_one::<String>(name).map(String::as_str);
    let host = near(text("host").unwrap_or_default())?;
    let (plain, tls) = (port(arguments, "http-port", 8379)?, port(arguments, "https-port", 0)?);
    let url = match (plain, tls) {
        (0, 0) => return Err("the server has neither an http-port nor an https-port".to_owned()),
        (0, port) => format!("https://{host}:{port}/readyz"),
        (port, _) => format!("http://{host}:{port}/readyz"),
    };
    // directly, without a proxy
    let mut config =
        Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).proxy(None);
    if plain == 0 {
        let shown = match (text("cert"), text("key")) {
            (Some(cert), Some(key)) => Some(read_shown(Path::new(cert), Path::new(key))?),
            _ => None,
        };
        config =
            config.tls_config(TlsConfig::builder().disable_verification(true).client_cert(shown).build());
    }
    let asked = Agent::from(config.build()).get(&url).call();
    let mut answer = asked.map_err(|error| format!("{url}: {error}"))?;
    if answer.status().is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    let why = answer.body_mut().with_config().limit(ENDPOINT_ANSWER_BYTES_MAX).read_to_string();
    Err(format!("{url}: {} {}", answer.status(), why.unwrap_or_default()))
}

/// The host of a URL at which this machine reaches a server that listens like this.
pub fn near(bind: &str) -> Result<String, String> {
    let addresses = Address::parse_all(bind).map_err(|why| format!("host '{bind}': {why}"))?;
    // the first that has to be there
    let address = addresses.iter().find(|address| !address.is_optional).unwrap_or(&addresses[0]);
    Ok(match address.name().parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => address.host.clone(),
    })
}

fn port(arguments: &ArgMatches, name: &str, default: u16) -> Result<u16, String> {
    let Some(text) = arguments.get_one::<String>(name) else { return Ok(default) };
    let of_environment = arguments.value_source(name) == Some(ValueSource::EnvVariable);
    if of_environment && is_service_link("LARDER_PORT", text) {
        return Ok(default);
    }
    text.parse().map_err(|_| format!("{name} '{text}': it must be a number between 0 and 65535"))
}

fn read_shown(cert: &Path, key: &Path) -> Result<ClientCert, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let chain: Vec<Certificate<'static>> = parse_pem(&read(cert)?)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    let key = PrivateKey::from_pem(&read(key)?).map_err(|error| format!("{}: {error}", key.display()))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_where_the_server_listens() {
        for (bind, host) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("* -::*", "127.0.0.1"),
            ("::", "[::1]"),
            ("::*", "[::1]"),
            ("-::1 10.0.0.1", "10.0.0.1"),
            ("-::1", "[::1]"),
            ("fd00::1 10.0.0.1", "[fd00::1]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(near(bind).as_deref(), Ok(host), "{bind}");
        }
        assert!(near(" ").is_err());
    }

    #[test]
    fn a_port_of_a_service_link_is_none() {
        let port = |args: &[&str]| {
            let matches = command().try_get_matches_from(args).map_err(|error| error.to_string())?;
            port(&matches, "http-port", 8379)
        };
        assert_eq!(port(&["ready", "--http-port", "80"]), Ok(80));
        for bad in ["x", "70000", "tcp://10.0.0.1:1"] {
            assert!(port(&["ready", "--http-port", bad]).is_err(), "{bad}");
        }
    }
}
