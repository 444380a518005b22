//! Client programs: redis-cli, and scripts for the client libraries that `tests/run` installs under `target/`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use super::Server;

/// `redis-cli` for this server; arguments can be added.
pub fn redis_cli(server: &Server) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &server.port().to_string()]);
    command
}

/// A script of `tests/clients/python` for this server.
pub fn python_script(name: &str, server: &Server) -> Command {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(clients_folder().join("python").join(name));
    command.env("LARDER_URL", server.url());
    command
}

/// A script of `tests/clients/node` for this server.
pub fn node_script(name: &str, server: &Server) -> Command {
    let mut command = Command::new("node");
    command.arg(clients_folder().join("node").join(name));
    command.env("LARDER_URL", server.url());
    command.env("LARDER_NODE_PACKAGES", installed("node/node_modules"));
    command
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
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("test-tools").join(path);
    assert!(path.exists(), "{} is missing: tests/run installs it", path.display());
    path
}

fn clients_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}
