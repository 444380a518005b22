//! `larder demo`: fills a store with sample records, to look around in.
//!
//! They go into a running server. If none answers at the address, and that is one of this machine, this process becomes
//! the server, with its data in a temporary directory that is removed at the end.

mod samples;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use super::client::{Address, Client, Reply, Request, request};
use super::link::{self, Place};
use super::serve::{self, Places};
use super::{address, ready, server_arguments};
use crate::config;
use samples::Sample;

pub fn command() -> Command {
    server_arguments(Command::new("demo").about(
        "Fill a store with sample records, in a running server or in one that this starts, and show where the dashboard is",
    ))
    .arg(
        Arg::new("store")
            .long("store")
            .value_name("STORE")
            .default_value("demo")
            .help("Name of the store; it is created, or has to be empty"),
    )
}

pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let address = address(arguments)?;
    let store = arguments.get_one::<String>("store").map_or("demo", String::as_str);
    if let Err(why) = link::connect(&address.place, &address.trust) {
        return match &address.place {
            Place::Tcp { host, port } if ["127.0.0.1", "localhost"].contains(&host.as_str()) => {
                serve_samples(&address, *port, store)
            }
            _ => Err(why),
        };
    }
    let mut client = Client::connect(&address)?;
    let told = fill(&mut client, store)?;
    let dashboard = dashboard(&mut client, &address.place);
    say(&[told, shown(dashboard.as_deref()), how_to_look(&address.place, store)])?;
    Ok(ExitCode::SUCCESS)
}

/// Starts a server of its own, fills it, and serves until it is ended.
fn serve_samples(address: &Address, port: u16, store: &str) -> Result<ExitCode, String> {
    let dir = std::env::temp_dir().join(format!("larder-demo-{}", std::process::id()));
    let dir_text = dir.display().to_string();
    let port = port.to_string();
    let words = ["serve", "--dir", &dir_text, "--port", &port, "--loglevel", "warning"];
    let settings = config::command_line(Command::new("serve"))
        .try_get_matches_from(words)
        .map_err(|error| error.to_string())?;
    let (address, store) = (address.clone(), store.to_owned());
    let served = serve::run_and_then(&settings, |places: &Places| {
        let dashboard = places.http.first().cloned();
        std::thread::spawn(move || {
            let told = Client::connect(&address).and_then(|mut client| fill(&mut client, &store));
            let lines = match told {
                Ok(told) => [
                    told,
                    shown(dashboard.as_deref()),
                    how_to_look(&address.place, &store),
                    "This server is for looking around: Ctrl+C ends it, and removes the records.".to_owned(),
                ],
                Err(why) => [format!("larder: {why}"), String::new(), String::new(), String::new()],
            };
            // without an output there is nobody to tell
            let _ = say(&lines);
        });
    });
    if let Err(error) = std::fs::remove_dir_all(&dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        return served.and(Err(format!("{dir_text} can't be removed: {error}")));
    }
    served
}

/// Creates the store if need be and writes the samples. Fails if the store has records.
fn fill(client: &mut Client, store: &str) -> Result<String, String> {
    match client.done(&["SELECT", store]) {
        Err(why) if why.starts_with("NOSTORE ") => {
            client.done(&["STORE", "CREATE", store, "VALUES", "json"])?;
            client.done(&["SELECT", store])?;
        }
        Err(why) if client.done(&["STORE", "LIST"]).is_err() => {
            return Err(format!("what answers is no Larder ({why}); name the server with --url"));
        }
        outcome => outcome?,
    }
    if let Reply::Integer(records @ 1..) = client.call(request(&["DBSIZE"]))? {
        return Err(format!(
            "the store '{store}' has {records} records already; name another one with --store"
        ));
    }
    let samples = samples::all();
    let expiring = samples.iter().filter(|sample| sample.ttl_s.is_some()).count();
    let requests: Vec<Request> = samples.iter().map(to_request).collect();
    for reply in client.pipeline(&requests)? {
        if let Reply::Error(error) = reply {
            return Err(error);
        }
    }
    Ok(format!("{} sample records are in the store '{store}'; {expiring} of them expire.", samples.len()))
}

fn to_request(sample: &Sample) -> Request {
    let mut words = request(&["SET", &sample.key, &sample.value]);
    if let Some(ttl_s) = sample.ttl_s {
        words.extend(request(&["EX", &ttl_s.to_string()]));
    }
    words
}

/// The URL of a running server's dashboard, if it has one and the user may ask.
fn dashboard(client: &mut Client, place: &Place) -> Option<String> {
    let asked = client.call(request(&["CONFIG", "GET", "http-port", "https-port", "http-bind"]));
    let Ok(Reply::List(answer)) = asked else { return None };
    let value = |name: &str| {
        let pair = answer.chunks(2).find(|pair| pair.first() == Some(&Reply::Text(name.into())))?;
        match pair.get(1) {
            Some(Reply::Text(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    };
    let host =
        match place {
            Place::Tcp { host, .. } | Place::Tls { host, .. } if host != "127.0.0.1" => {
                if host.contains(':') { format!("[{host}]") } else { host.clone() }
            }
            _ => ready::near(&value("http-bind")?).ok()?,
        };
    let port = |name: &str| value(name).filter(|port| port != "0");
    let plain = port("http-port").map(|port| format!("http://{host}:{port}/"));
    plain.or_else(|| port("https-port").map(|port| format!("https://{host}:{port}/")))
}

fn shown(dashboard: Option<&str>) -> String {
    match dashboard {
        Some(url) => format!("Dashboard: {url}"),
        None => "The server has no dashboard, or this user may not ask where it is.".to_owned(),
    }
}

/// A command to type next.
fn how_to_look(place: &Place, store: &str) -> String {
    let server = match place {
        Place::Tcp { host, port } if host == "127.0.0.1" => format!("-p {port}"),
        Place::Tcp { host, port } => format!("-h {host} -p {port}"),
        Place::Tls { host, port } => format!("--tls -h {host} -p {port}"),
        Place::Unix(path) => format!("-s {}", path.display()),
    };
    format!("redis-cli:  redis-cli {server}   and there   SELECT {store}   and   KEYS user:*")
}

fn say(lines: &[String]) -> Result<(), String> {
    let text: String = lines.iter().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| format!("the output can't be written: {error}"))
}
