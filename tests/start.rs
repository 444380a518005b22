//! The first minutes with the program: what it says when it starts, what it says when a port is taken or a data directory
//! is new, sample records, completions, manual pages, its version.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Connection, Reply, Server, free_port, larder, run, wait_for};
use tempfile::TempDir;

/// A line of the log with a text.
fn line_with<'a>(log: &'a str, text: &str) -> &'a str {
    log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line with '{text}' in {log}"))
}

#[test]
fn one_line_says_what_runs_where_on_what() {
    let http_port = free_port();
    let mut server = Server::larder(&["--http-port", &http_port.to_string()]);
    let mut connection = server.connect();
    for request in
        ["SET a 1", "SET b 2", "STORE CREATE orders", "STORE CREATE empty", "SELECT orders", "SET c 3"]
    {
        assert_eq!(connection.ask(request), Reply::ok(), "{request}");
    }
    let log_of_start = |server: &Server, before: usize| {
        let log = wait_for(|| Some(server.log()).filter(|log| log[before..].contains("listening")));
        log.expect("it says so")[before..].to_owned()
    };
    assert!(log_of_start(&server, 0).contains("stores=0 records=0"));
    server.stop();
    let before = server.log().len();
    server.start();
    let second = log_of_start(&server, before);
    assert_eq!(second.matches("listening").count(), 1, "{second}");
    let line = line_with(&second, "listening");
    for part in [
        format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
        format!("dir={}", fs::canonicalize(server.data_folder()).unwrap().display()),
        "stores=3 records=3".to_owned(),
        format!("redis=\"redis://127.0.0.1:{}\"", server.port()),
        format!("dashboard=\"http://127.0.0.1:{http_port}/\""),
    ] {
        assert!(line.contains(&part), "{part}: {line}");
    }
}

#[test]
fn a_new_data_directory_is_said_to_be_new_and_names_others_near_it() {
    let folder = TempDir::new().unwrap();
    let start = |dir: &Path| {
        let ports = [free_port(), free_port()].map(|port| port.to_string());
        let mut process = larder()
            .current_dir(folder.path())
            .arg("--dir")
            .arg(dir)
            .args(["--port", &ports[0], "--http-port", &ports[1]])
            .stderr(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = String::new();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        while !log.contains("listening") {
            log += &(lines.next().expect("it starts").unwrap() + "\n");
        }
        process.kill().unwrap();
        process.wait().unwrap();
        log
    };
    let log = start(Path::new("./data"));
    let line = line_with(&log, "this data directory is new and empty");
    assert!(line.contains(&*folder.path().join("data").to_string_lossy()), "{line}");
    assert!(!start(Path::new("data")).contains("is new"));
    // a letter is missing
    let log = start(Path::new("dat"));
    let line = line_with(&log, "this data directory is new and empty; there are others near it");
    assert!(line.contains("WARN") && line.contains(&*folder.path().join("data").to_string_lossy()), "{line}");
}

/// What a start on a taken port says.
fn refused(setting: &str, port: u16) -> String {
    let folder = TempDir::new().unwrap();
    let mut command = larder();
    command.arg("--dir").arg(folder.path().join("data")).args([&format!("--{setting}"), &port.to_string()]);
    let other = if setting == "port" { "--http-port" } else { "--port" };
    let output = command.args([other, "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_taken_port_says_who_has_it_and_what_to_do() {
    let redis = Server::redis(&[]);
    let locked = Server::redis(&["--requirepass", "secret"]);
    let ours = Server::larder(&[]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for (setting, port, what, process) in [
        ("port", redis.port(), "a Redis", redis.process_id()),
        ("port", locked.port(), "a server that speaks the Redis protocol", locked.process_id()),
        ("port", ours.port(), "another Larder", ours.process_id()),
        ("http-port", silent_port, "another program", std::process::id()),
    ] {
        let said = refused(setting, port);
        let is_told = said.contains(&format!("can't listen on 127.0.0.1:{port}, {setting}: {what}"))
            && said.contains(&format!("(process {process}, "))
            && said.contains(&format!("such as --{setting} "));
        assert!(is_told, "{what}: {said}");
    }
}

#[test]
fn a_port_that_is_given_twice_is_the_servers_own_mistake() {
    let port = free_port().to_string();
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let output =
        larder().arg("--dir").arg(data).args(["--port", &port, "--http-port", &port]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("this server itself listens there"), "{said}");
}

#[test]
fn a_demo_fills_a_running_server_once() {
    let http_port = free_port();
    let server = Server::larder(&["--http-port", &http_port.to_string()]);
    let demo = |words: &[&str]| larder().args(["demo", "--url", &server.url()]).args(words).output().unwrap();
    let output = demo(&[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains(&format!("http://127.0.0.1:{http_port}/")), "{said}");
    let mut connection = server.connect();
    assert_eq!(connection.ask("DBSIZE").integer(), 0, "the default store is left alone");
    connection.ask("SELECT demo");
    let records = connection.ask("DBSIZE").integer();
    assert!(records > 500 && said.contains(&format!("{records} sample records")), "{said}");
    assert!(connection.ask("TTL rate:203.0.113.1").integer() > 0);
    assert_eq!(connection.ask("JSON.TYPE order:2026:1001 $.lines"), Reply::Array(vec![Reply::bulk("array")]));
    let again = demo(&[]);
    let why = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && why.contains("has ") && why.contains("--store"), "{why}");
    assert!(demo(&["--store", "other"]).status.success());
    let redis = Server::redis(&[]);
    let output = larder().args(["demo", "--url", &redis.url()]).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && why.contains("is no Larder"), "{why}");
}

#[test]
fn a_demo_without_a_server_becomes_one_and_leaves_nothing() {
    let (port, http_port) = (free_port(), free_port());
    let folder = TempDir::new().unwrap();
    let mut process = larder()
        .args(["demo", "--url", &format!("redis://127.0.0.1:{port}")])
        .env("TMPDIR", folder.path())
        .env("LARDER_HTTP_PORT", http_port.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let told: Vec<String> = lines.by_ref().take(4).map(Result::unwrap).collect();
    assert!(told[1].contains(&format!("http://127.0.0.1:{http_port}/")), "{told:?}");
    let mut connection = Connection::open(port);
    connection.ask("SELECT demo");
    assert!(connection.ask("DBSIZE").integer() > 500);
    run(Command::new("kill").arg(process.id().to_string()));
    let status = wait_for(|| process.try_wait().unwrap()).expect("an end");
    assert!(status.success());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "its data is removed");
}

#[test]
fn help_begins_with_what_one_needs_first() {
    let help = |word: &str| run(larder().arg(word));
    let (short, long) = (help("-h"), help("--help"));
    for text in [&short, &long] {
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no '{part}' in {text}"));
        assert!(at("First steps:") < at("Usage:") && at("Usage:") < at("Commands:"), "{text}");
        assert!(at("\n  larder demo") < at("http://127.0.0.1:8379/"), "{text}");
        let first = at("Settings that you need first:");
        for setting in ["--dir ", "--bind ", "--port ", "--http-port ", "--requirepass "] {
            assert!(first < at(setting), "{setting}");
        }
    }
    assert!(!short.contains("--tls-cert-file") && long.contains("--tls-cert-file"));
    let headings =
        ["Settings that you need first:", "TLS:", "Users and passwords:", "Stores and limits:", "Clients:"];
    let places: Vec<_> =
        headings.iter().map(|heading| long.find(&format!("\n{heading}\n")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn the_version_has_the_formats_of_the_files() {
    let said = run(larder().arg("--version"));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], concat!("larder ", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("formats: data directory "), "{said}");
    assert_eq!(run(larder().arg("-V")).trim(), lines[0]);
}

#[test]
fn completions_are_sound_scripts() {
    let folder = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(larder().args(["completions", shell]));
        for word in ["larder", "export", "max-keys-per-query", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        fs::write(folder.path().join(shell), script).unwrap();
    }
    // what bash proposes after `larder sal`
    let asked = format!(
        "source {}; COMP_WORDS=(larder sal); COMP_CWORD=1; _larder larder sal larder; echo \"${{COMPREPLY[@]}}\"",
        folder.path().join("bash").display()
    );
    assert_eq!(run(Command::new("bash").args(["--norc", "-c", &asked])).trim(), "salvage");
    assert!(!larder().args(["completions", "none"]).output().unwrap().status.success());
}

#[test]
fn manual_pages_are_written() {
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man");
    run(larder().args(["man", "--to"]).arg(&pages));
    let names: Vec<String> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in ["larder.1", "larder-export.1", "larder-demo.1"] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
    assert!(run(larder().arg("man")) == fs::read_to_string(pages.join("larder.1")).unwrap());
}
