//! Client programs: redis-cli, and scripts for the client libraries that `tests/run` installs under `target/`.
//!
//! A script finds the server in `LARDER_URL`, prints `restart` and waits for a line when it wants that, and at its end
//! prints `done`. What fails in it ends it with an error.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use super::{Kind, Server};

/// `redis-cli` for this server; arguments can be added.
pub fn redis_cli(server: &Server) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &server.port().to_string()]);
    if let Some(password) = server.password() {
        command.env("REDISCLI_AUTH", password);
    }
    command
}

/// A script of `tests/clients/python` for this server.
pub fn python_script(name: &str, server: &Server) -> Command {
    script(installed("venv/bin/python"), &format!("python/{name}"), server)
}

/// A script of `tests/clients/node` for this server.
pub fn node_script(name: &str, server: &Server) -> Command {
    let mut command = script("node", &format!("node/{name}"), server);
    command.env("LARDER_NODE_PACKAGES", installed("node/node_modules"));
    command
}

/// A script of `tests/clients` for this server, with the program that runs it.
pub fn script(interpreter: impl AsRef<OsStr>, path: &str, server: &Server) -> Command {
    let mut command = program(interpreter, server);
    command.arg(clients_folder().join(path));
    command
}

/// A program of `tests/clients/rust` for this server.
pub fn rust_program(name: &str, server: &Server) -> Command {
    let path = target_folder().join("debug").join(name);
    assert!(path.exists(), "{} is missing: tests/run builds it", path.display());
    program(path, server)
}

/// A program of its own that talks to this server.
pub fn program(path: impl AsRef<OsStr>, server: &Server) -> Command {
    let mut command = Command::new(path);
    command.env("LARDER_URL", server.url());
    command.env("LARDER_FEATURES", features());
    command
}

/// What the scripts can count on beyond strings, keys and transactions: they have a section for each.
fn features() -> &'static str {
    "pubsub acl eval"
}

/// Runs a script to its end, and restarts the server where it asks for that.
pub fn hold(command: Command, server: &mut Server) {
    heed(command, |asked| {
        let is_restart = asked == "restart";
        if is_restart {
            server.restart();
        }
        is_restart
    });
}

/// Runs a script to its end, which is the line `done`. What it says is given to `act` line by line; where that has done
/// what was asked for, the script is told to go on.
pub fn heed(mut command: Command, mut act: impl FnMut(&str) -> bool) {
    let mut script = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let mut stdin = script.stdin.take().unwrap();
    let mut last = String::new();
    for line in BufReader::new(script.stdout.take().unwrap()).lines() {
        last = line.unwrap();
        if last != "done" && act(&last) {
            stdin.write_all(b"\n").unwrap();
        }
    }
    let status = script.wait().unwrap();
    assert!(status.success(), "{command:?} ended with {status}");
    assert_eq!(last, "done");
}

/// Runs a program that has to succeed, and gives what it printed.
pub fn run(command: &mut Command) -> String {
    run_with_input(command, b"")
}

pub fn run_with_input(command: &mut Command, input: &[u8]) -> String {
    let output = output_of(command, input);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

fn output_of(command: &mut Command, input: &[u8]) -> Output {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let mut stdin = process.stdin.take().unwrap();
    thread::scope(|scope| {
        // A second thread, since the program may print before it has read everything.
        scope.spawn(move || {
            let _ = stdin.write_all(input);
        });
        process.wait_with_output().unwrap()
    })
}

/// What tests/run has put into target/test-tools.
pub fn installed(path: &str) -> PathBuf {
    let path = target_folder().join("test-tools").join(path);
    assert!(path.exists(), "{} is missing: tests/run installs it", path.display());
    path
}

fn target_folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

pub fn clients_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}
