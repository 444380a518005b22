//! `larder backup` of a server that is being written to, `larder stat`, and a start on the copy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use support::{Reply, Server, free_port, now_ms, request, wait_for};

fn larder(words: &[&str]) -> (Option<i32>, String) {
    let mut command = support::larder();
    let output = command.args(words).env_remove("REDISCLI_AUTH").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Asks a server that starts on a copy, and stops it.
fn ask_copy(dir: &Path, questions: &[&str]) -> Vec<Reply> {
    let port = free_port();
    let mut process = support::larder()
        .args(["--port", &port.to_string(), "--http-port", "0", "--dir"])
        .arg(dir)
        .spawn()
        .unwrap();
    let mut connection = wait_for(|| support::Connection::try_open(port).ok()).expect("it starts");
    let answers = questions.iter().map(|question| connection.ask(question)).collect();
    connection.send(b"SHUTDOWN\r\n");
    assert!(process.wait().unwrap().success());
    answers
}

#[test]
fn a_backup_under_load_is_consistent_and_complete() {
    let server = Server::larder(&["--checkpoint-interval", "1"]);
    let mut connection = server.connect();
    connection.ask("STORE CREATE orders VALUES any");
    let deadline = now_ms() + 1_000_000_000;
    for at in 0..2_000 {
        connection.send(&request(&[
            "SET",
            &format!("early:{at}"),
            &format!("{{\"n\":{at},\"text\":\"{}\"}}", "x".repeat(500)),
        ]));
    }
    (0..2_000).for_each(|_| assert_eq!(connection.read(), Reply::ok()));
    connection.ask(&format!("SET lasting 1 PXAT {deadline}"));
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicI64::new(0));
    let folder = tempfile::tempdir().unwrap();
    let mut floors = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = server.connect();
            for number in 1.. {
                let number_text = number.to_string();
                for words in [
                    &["MULTI"][..],
                    &["SET", "left", &number_text],
                    &["SET", "right", &number_text],
                    &["EXEC"],
                ] {
                    connection.send(&request(words));
                }
                (0..4).for_each(|_| drop(connection.read()));
                acknowledged.store(number, Ordering::SeqCst);
                connection.call(&["SET", &format!("load:{number}"), &number_text]);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for round in 0..3 {
            wait_for(|| (acknowledged.load(Ordering::SeqCst) > 100 * round).then_some(())).unwrap();
            floors.push(acknowledged.load(Ordering::SeqCst));
            let to = folder.path().join(format!("copy-{round}"));
            let (code, said) = larder(&["backup", "--url", &server.url(), "--to", to.to_str().unwrap()]);
            if code != Some(0) {
                stop.store(true, Ordering::SeqCst);
            }
            assert_eq!(code, Some(0), "{said}");
            assert!(said.contains("is a sound copy: stores "), "{said}");
        }
        stop.store(true, Ordering::SeqCst);
    });
    for (round, floor) in floors.into_iter().enumerate() {
        let copy = folder.path().join(format!("copy-{round}"));
        let dir = copy.to_str().unwrap();
        let (code, said) = larder(&["check", "--dir", dir]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("no problems found"), "{said}");
        let answers = ask_copy(
            &copy,
            &[
                "GET left",
                "GET right",
                "PEXPIRETIME lasting",
                "GET early:1999",
                "SELECT orders",
                "SET later 1",
            ],
        );
        assert_eq!(answers[0], answers[1], "one transaction");
        let number: i64 = answers[0].text().parse().unwrap();
        assert!(number >= floor, "{number} of {floor} that were acknowledged before");
        assert_eq!(answers[2].integer(), deadline);
        assert!(answers[3].text().starts_with("{\"n\":1999,"));
        assert_eq!(answers[4..], [Reply::ok(), Reply::ok()]);
        assert_eq!(larder(&["check", "--dir", dir]).0, Some(0), "after it was written to");
        let (code, said) = larder(&["stat", "--dir", dir]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.lines().any(|line| line.split_whitespace().take(2).eq(["orders", "1"])), "{said}");
    }
}

#[test]
fn a_directory_in_use_is_refused_and_unharmed() {
    let server = Server::larder(&[]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "x").unwrap();
    for (taken, why) in
        [(folder.path(), "is not empty"), (&server.data_folder(), "the server's own data directory")]
    {
        let (code, said) = larder(&["backup", "--url", &server.url(), "--to", taken.to_str().unwrap()]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_running_server_tells_its_stores() {
    let server = Server::larder(&["--requirepass", "secret"]);
    let mut connection = server.connect();
    for line in ["AUTH secret", "STORE CREATE orders", "SELECT orders", "SET k 1"] {
        assert_eq!(connection.ask(line), Reply::ok());
    }
    let (code, said) = larder(&["stat", "--url", &server.url()]);
    assert_eq!(code, Some(0), "{said}");
    let mut lines = said.lines();
    assert!(lines.next().unwrap().contains("name"), "{said}");
    let row: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["16", "orders", "json", "1"], "{said}");
    assert!(said.contains("journal bytes: "), "{said}");
    let (code, said) = larder(&["stat", "--url", &format!("redis://:wrong@127.0.0.1:{}", server.port())]);
    assert_eq!(code, Some(1));
    assert!(said.contains("WRONGPASS") && !said.contains(":wrong"), "{said}");
}
