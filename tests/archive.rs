//! Servers with an archive are killed under load, and everything is restored from the archive alone: in a directory, and in
//! an S3 server that others wrote (moto).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use support::{Connection, Random, Reply, Server, free_port, installed, request, wait_for};

const KILLS: usize = 6;
const WRITERS: usize = 4;

/// Where archives are.
enum Place {
    Directory(tempfile::TempDir),
    S3(S3),
}

/// moto's server.
struct S3 {
    process: Child,
    port: u16,
}

impl S3 {
    fn start() -> S3 {
        let port = free_port();
        let program = installed("moto/bin/moto_server");
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let s3 = S3 { process, port };
        wait_for(|| s3.ask("PUT", "/bucket", b"").ok().filter(|answer| answer.starts_with("HTTP/1.1 200")))
            .expect("the bucket is made");
        s3
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Place {
    fn directory() -> Place {
        Place::Directory(tempfile::tempdir().unwrap())
    }

    fn url(&self) -> String {
        match self {
            Place::Directory(dir) => dir.path().join("archive").display().to_string(),
            Place::S3(_) => "s3://bucket/some/prefix".to_owned(),
        }
    }

    fn environment(&self) -> Vec<String> {
        match self {
            Place::Directory(_) => Vec::new(),
            Place::S3(s3) => vec![
                "AWS_ACCESS_KEY_ID=key".to_owned(),
                "AWS_SECRET_ACCESS_KEY=secret".to_owned(),
                "AWS_REGION=us-east-1".to_owned(),
                "AWS_ALLOW_HTTP=true".to_owned(),
                format!("AWS_ENDPOINT_URL=http://127.0.0.1:{}", s3.port),
            ],
        }
    }

    fn server(&self, flags: &[&str]) -> Server {
        let (url, launcher) = (self.url(), [vec!["env".to_owned()], self.environment()].concat());
        let flags = [&["--archive", &url], flags].concat();
        Server::larder_by(launcher, &flags)
    }

    /// Runs a subcommand of the program on this archive.
    fn larder(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = support::larder();
        for variable in self.environment() {
            let (name, value) = variable.split_once('=').unwrap();
            command.env(name, value);
        }
        let output = command.args(words).args(["--archive", &self.url()]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    fn restore(&self, dir: &Path, words: &[&str]) -> String {
        let dir = dir.display().to_string();
        let (code, said) = self.larder(&[&["restore", "--dir", &dir], words].concat());
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// What a server on a restored directory answers.
    fn ask_restored(&self, words: &[&str], questions: &[String]) -> Vec<Reply> {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("restored");
        self.restore(&dir, words);
        ask(&dir, questions)
    }
}

/// Asks a server that starts on a directory, and stops it.
fn ask(dir: &Path, questions: &[String]) -> Vec<Reply> {
    let port = free_port();
    let mut process = support::larder()
        .args(["--port", &port.to_string(), "--http-port", "0", "--dir"])
        .arg(dir)
        .spawn()
        .unwrap();
    let mut connection = wait_for(|| Connection::try_open(port).ok()).expect("it starts");
    let answers = questions.iter().map(|question| connection.ask(question)).collect();
    connection.send(b"SHUTDOWN\r\n");
    assert!(process.wait().unwrap().success());
    answers
}

/// What a writer was told, and what it sent.
#[derive(Default)]
struct Ledger {
    acknowledged: u64,
    sent: u64,
}

/// Writes the next numbers, each to two keys at once, until the server is gone.
fn write(port: u16, writer: usize, ledger: &mut Ledger) {
    const PIPELINE: u64 = 8;
    let Ok(mut connection) = Connection::try_open(port) else { return };
    ledger.sent = ledger.sent.max(ledger.acknowledged);
    loop {
        let numbers = ledger.sent + 1..=ledger.sent + PIPELINE;
        let set = |number: u64| {
            let number = number.to_string();
            request(&["MSET", &format!("a:{writer}"), &number, &format!("b:{writer}"), &number])
        };
        let bytes: Vec<u8> = numbers.clone().flat_map(set).collect();
        ledger.sent += PIPELINE;
        if connection.try_send(&bytes).is_err() {
            return;
        }
        for number in numbers {
            match connection.try_read() {
                Ok(reply) => assert!(!reply.is_error(""), "{reply}"),
                Err(_) => return,
            }
            ledger.acknowledged = number;
        }
    }
}

fn questions() -> Vec<String> {
    (0..WRITERS).map(|writer| format!("MGET a:{writer} b:{writer}")).collect()
}

/// The numbers that writers find, each twice.
fn numbers(answers: &[Reply]) -> Vec<u64> {
    let number = |answer: &Reply| {
        let texts: Vec<String> = answer.elements().iter().map(Reply::to_string).collect();
        assert_eq!(texts[0], texts[1], "a transaction is there as a whole or not at all");
        texts[0].trim_matches('"').parse().unwrap_or(0)
    };
    answers.iter().map(number).collect()
}

fn survive_kills(place: &Place, ack: &str) {
    let mut random = Random::from_environment();
    let mut server = place.server(&["--archive-ack", ack]);
    let mut ledgers: Vec<Ledger> = (0..WRITERS).map(|_| Ledger::default()).collect();
    for kill in 0..KILLS {
        let port = server.port();
        thread::scope(|scope| {
            for (writer, ledger) in ledgers.iter_mut().enumerate() {
                scope.spawn(move || write(port, writer, ledger));
            }
            thread::sleep(Duration::from_millis(200 + random.below(1_500) as u64));
            server.kill_hard();
        });
        let found = numbers(&place.ask_restored(&[], &questions()));
        for (found, ledger) in found.iter().zip(&ledgers) {
            let Ledger { acknowledged, sent } = ledger;
            assert!(found <= sent, "kill {kill}: {found} was found, and {sent} sent");
            if ack == "archived" {
                assert!(
                    found >= acknowledged,
                    "kill {kill}: {found} was found, and {acknowledged} acknowledged"
                );
            }
        }
        // the server itself has lost nothing, and goes on with its archive
        server.start();
        let mut connection = server.connect();
        let answers: Vec<Reply> = questions().iter().map(|question| connection.ask(question)).collect();
        for (found, ledger) in numbers(&answers).into_iter().zip(&mut ledgers) {
            assert!(found >= ledger.acknowledged);
            (ledger.acknowledged, ledger.sent) = (found, found);
        }
    }
    server.stop();
    let found = numbers(&place.ask_restored(&[], &questions()));
    assert_eq!(found, ledgers.iter().map(|ledger| ledger.acknowledged).collect::<Vec<_>>());
    let (code, said) = place.larder(&["archive", "check"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no problems found"), "{said}");
}

#[test]
fn nothing_acknowledged_is_lost_with_the_machine_if_replies_wait_for_the_archive() {
    survive_kills(&Place::directory(), "archived");
}

#[test]
fn only_the_tail_is_lost_with_the_machine_if_replies_do_not_wait() {
    survive_kills(&Place::directory(), "local");
}

#[test]
fn nothing_acknowledged_is_lost_with_an_s3_server() {
    survive_kills(&Place::S3(S3::start()), "archived");
}

#[test]
fn an_s3_server_that_is_away_stops_nothing_and_gets_everything_later() {
    let place = Place::S3(S3::start());
    let server = place.server(&["--archive-timeout", "1"]);
    let mut connection = server.connect();
    assert_eq!(connection.ask("SET early 1"), Reply::ok());
    let info = |connection: &mut Connection| connection.ask("INFO persistence").to_string();
    wait_for(|| info(&mut connection).contains("archive_lag_entries:0").then_some(()))
        .expect("it is archived");
    let Place::S3(mut s3) = place else { panic!("it is one") };
    s3.process.kill().unwrap();
    s3.process.wait().unwrap();
    assert_eq!(connection.ask("SET late 2"), Reply::ok());
    let told =
        wait_for(|| Some(info(&mut connection)).filter(|told| told.contains("archive_state:unreachable")));
    assert!(told.is_some_and(|told| told.contains("archive_lag_entries:1")));
    assert!(server.log().contains("the archive does not take"), "{}", server.log());
}

#[test]
fn an_earlier_time_or_entry_is_restored() {
    let place = Place::directory();
    let mut server = place.server(&["--archive-ack", "archived"]);
    let mut connection = server.connect();
    let mut times = Vec::new();
    for number in 1..=5 {
        assert_eq!(connection.ask(&format!("SET key {number}")), Reply::ok());
        // by the server's clock
        let time = connection.ask("TIME").elements().iter().map(Reply::to_string).collect::<Vec<_>>();
        let part = |at: usize| time[at].trim_matches('"').parse::<u64>().unwrap();
        times.push((number, format!("{}.{:06}", part(0), part(1))));
        thread::sleep(Duration::from_millis(30));
    }
    server.stop();
    let question = ["GET key".to_owned()];
    for (number, time) in times {
        let found = |words: &[&str]| place.ask_restored(words, &question)[0].to_string();
        assert_eq!(found(&["--at", &time]).trim_matches('"'), number.to_string(), "{time}");
        assert_eq!(found(&["--entry", &number.to_string()]).trim_matches('"'), number.to_string());
    }
    let (code, said) = place.larder(&["archive", "list"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("entries 0 to 5"), "{said}");
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let place = Place::directory();
    let mut server = place.server(&[]);
    server.connect().ask("SET key 1");
    server.stop();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("restored").display().to_string();
    for (words, told) in [
        (&["restore", "--dir", &dir, "--at", "yesterday"][..], "is no time"),
        (&["restore", "--dir", &dir, "--at", "2001-01-01"], "can be restored from 20"),
        (&["restore", "--dir", &dir, "--entry", "17"], "has the entries from 0 to 1"),
        (&["restore", "--dir", &dir, "--entry", "x"], "is no entry"),
        (&["restore", "--dir", &server.data_folder().display().to_string()], "is not empty"),
    ] {
        let (code, said) = place.larder(words);
        assert_eq!(code, Some(1), "{words:?}: {said}");
        assert!(said.contains(told), "{words:?}: {said}");
        assert!(!Path::new(&dir).exists(), "{words:?}");
    }
    for url in ["ftp://host/x", "s3://key:secret@bucket/x", "s3:///x"] {
        let mut command = support::larder();
        let output = command.args(["restore", "--dir", &dir, "--archive", url]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("s3://bucket/prefix"), "{url}");
    }
    // a server on another directory
    let output = support::larder()
        .args(["--port", "0", "--http-port", "0", "--archive", &place.url(), "--dir", &dir])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("is that of another server") && said.contains("larder restore"), "{said}");
}

#[test]
fn damage_is_named() {
    let place = Place::directory();
    let mut server = place.server(&["--archive-ack", "archived"]);
    let mut connection = server.connect();
    for number in 0..5 {
        connection.ask(&format!("SET key:{number} {number}"));
    }
    server.stop();
    let path = PathBuf::from(place.url()).join("log/00000000000000000003");
    let sound = fs::read(&path).unwrap();
    let mut flipped = sound.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("restored").display().to_string();
    for (what, bytes) in [("missing", None), ("cut", Some(sound[..9].to_vec())), ("flipped", Some(flipped))] {
        match bytes {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        for (words, expected) in [(&["restore", "--dir", &dir][..], 1), (&["archive", "check"], 2)] {
            let (code, said) = place.larder(words);
            assert_eq!(code, Some(expected), "{what}: {said}");
            assert!(said.contains("log/00000000000000000003"), "{what}: {said}");
            assert!(!Path::new(&dir).exists());
        }
    }
}
