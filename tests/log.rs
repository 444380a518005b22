//! The log goes to whoever reads standard error, and whatever becomes of that, the server serves and can be stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

use support::{Connection, Reply, free_port, run, wait_for};
use tempfile::TempDir;

/// A server whose log goes to a place of the test's choice.
struct Logging {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Logging {
    fn start(log: Stdio) -> Logging {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let mut command = support::larder();
        command.args(["--bind", "127.0.0.1", "--http-port", "0", "--port", &port.to_string()]);
        command.arg("--dir").arg(folder.path().join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Logging { process: command.spawn().unwrap(), port, _folder: folder }
    }

    fn connect(&self) -> Connection {
        wait_for(|| Connection::try_open(self.port).ok()).expect("it listens")
    }

    /// Has so many lines logged, each of about a kilobyte.
    fn log_lines(&self, count: usize) {
        let script = format!(
            "local line = string.rep('x', 1000) for i = 1, {count} do redis.log(redis.LOG_WARNING, line) end return 1"
        );
        assert_eq!(self.connect().call(&["EVAL", &script, "0"]), Reply::Integer(1));
    }

    /// SIGTERM, after which it has to end well by itself.
    fn stop(&mut self) {
        run(Command::new("kill").arg(self.process.id().to_string()));
        let status = wait_for(|| self.process.try_wait().unwrap()).expect("an end after SIGTERM");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_line(log: &mut BufReader<ChildStderr>) -> String {
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    line
}

#[test]
fn a_log_that_cannot_be_written_does_not_matter() {
    for (what, log) in [
        ("its reader is gone", Stdio::piped()),
        ("its reader has stopped reading", Stdio::piped()),
        ("its device is full", Stdio::from(File::options().write(true).open("/dev/full").unwrap())),
    ] {
        println!("{what}");
        let mut server = Logging::start(log);
        let reader = server.process.stderr.take();
        let mut reader = reader.map(BufReader::new);
        if let Some(reader) = &mut reader {
            assert!(!read_line(reader).is_empty());
        }
        if what == "its reader is gone" {
            drop(reader.take());
        }
        // ten times what a pipe holds
        server.log_lines(640);
        let mut connection = server.connect();
        assert_eq!(connection.ask("SET key 1"), Reply::ok());
        assert_eq!(connection.ask("GET key"), Reply::bulk("1"));
        server.stop();
    }
}

#[test]
fn lines_that_were_lost_are_told_once_the_log_is_read_again() {
    let mut server = Logging::start(Stdio::piped());
    let mut log = BufReader::new(server.process.stderr.take().unwrap());
    read_line(&mut log);
    // more than pipe and queue hold
    server.log_lines(10_000);
    let mut lines = std::iter::from_fn(|| Some(read_line(&mut log))).take_while(|line| !line.is_empty());
    let told = lines.find(|line| line.contains("lines of the log were lost")).expect("it is told");
    let count = told.trim_end().rsplit('=').next().and_then(|count| count.parse::<u64>().ok());
    assert!(count.is_some_and(|count| (1_000..10_000).contains(&count)), "{told}");
    server.stop();
}

/// Levels by their own names and by Redis's, at run time; what is set alone changes what is logged.
#[test]
fn the_level_of_the_log_can_be_changed() {
    let mut server = Logging::start(Stdio::piped());
    let mut log = server.process.stderr.take().unwrap();
    let mut client = server.connect();
    let levels = [
        ("warning", false),
        ("notice", true),
        ("error", false),
        ("verbose", true),
        ("nothing", false),
        ("INFO", true),
    ];
    for (at, (level, is_logged)) in levels.into_iter().enumerate() {
        assert_eq!(client.call(&["CONFIG", "SET", "loglevel", level]), Reply::ok());
        let told = client.call(&["CONFIG", "GET", "loglevel"]);
        assert_eq!(told, Reply::Array(vec![Reply::bulk("loglevel"), Reply::bulk(level.to_lowercase())]));
        // logged at the level of information
        assert_eq!(client.call(&["CONFIG", "SET", "timeout", &at.to_string()]), Reply::ok());
        let script = format!("redis.log(redis.LOG_NOTICE, 'mark-{at}-{is_logged}') return 1");
        assert_eq!(client.call(&["EVAL", &script, "0"]), Reply::Integer(1));
    }
    let refused = client.call(&["CONFIG", "SET", "loglevel", "loud"]).text();
    assert!(refused.contains("must be one of the following: error, warn, info, debug, trace, "), "{refused}");
    server.stop();
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    for (at, (level, is_logged)) in levels.into_iter().enumerate() {
        assert_eq!(text.contains(&format!("mark-{at}-{is_logged}")), is_logged, "{level}: {text}");
    }
}

#[test]
fn an_orderly_end_is_the_last_line() {
    let mut server = Logging::start(Stdio::piped());
    let mut log = server.process.stderr.take().unwrap();
    assert_eq!(server.connect().ask("PING"), Reply::Simple(b"PONG".to_vec()));
    server.stop();
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(text.lines().last().is_some_and(|line| line.ends_with("stopped")), "{text}");
}
