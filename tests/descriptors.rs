//! Files and sockets that the process may open: however few, connections leave some to the engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::fs;
use std::io::Read;
use std::net::TcpStream;

use support::{Connection, PATIENCE, Reply, Server, exchange, free_port, wait_for};

fn maxclients(connection: &mut Connection) -> i64 {
    let told = connection.ask("CONFIG GET maxclients");
    told.elements()[1].text().parse().unwrap()
}

/// The soft and the hard limit of the process.
fn limits(server: &Server) -> (u64, u64) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process_id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    (words.next().unwrap(), words.next().unwrap())
}

#[test]
fn silent_connections_do_not_stop_writes() {
    let http = free_port().to_string();
    // without compression, since SAVE would wait for it and it is slow in debug builds
    let flags =
        ["--requirepass", "pw", "--http-port", &http, "--checkpoint-interval", "1", "--compression", "off"];
    let server = Server::larder_with_descriptors("-n 1024", &flags);
    let mut connection = server.connect();
    assert_eq!(connection.ask("AUTH pw"), Reply::ok());
    let most = maxclients(&mut connection);
    assert!((200..1_000).contains(&most), "{most}");
    server.wait_for_log("maxclients is lowered");
    let refused = connection.ask(&format!("CONFIG SET maxclients {}", most + 300));
    assert!(refused.text().contains("is not able to handle the specified number of clients, try with"));

    let port: u16 = http.parse().unwrap();
    let open = |port| TcpStream::connect(("127.0.0.1", port)).unwrap();
    let silent: Vec<_> = (0..1_100).map(|at| open(if at % 4 == 0 { port } else { server.port() })).collect();
    let rejected = || {
        let info = exchange_info(&mut connection);
        info.lines()
            .any(|line| line.strip_prefix("rejected_connections:").is_some_and(|count| count.trim() != "0"))
    };
    // they take every place; one more is told so
    let mut more: Vec<_> = (0..20).map(|_| open(server.port())).collect();
    let mut told = String::new();
    let last = more.last_mut().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = last.read_to_string(&mut told);
    assert_eq!(told, "-ERR max number of clients reached\r\n");
    assert_eq!(
        wait_for({
            let mut rejected = rejected;
            move || rejected().then_some(())
        }),
        Some(())
    );
    // several segments of the journal, and checkpoints
    let value = format!("\"{}\"", "x".repeat(1 << 20));
    for at in 0..60 {
        assert_eq!(connection.call(&["SET", &format!("key:{at}"), &value]), Reply::ok());
    }
    assert_eq!(connection.ask("SAVE"), Reply::ok());
    drop((silent, more));
    wait_for(|| Connection::try_open(server.port()).ok()?.try_send(b"PING\r\n").ok())
        .expect("places are free again");
    wait_for(|| exchange(port, "GET /readyz HTTP/1.0\r\n\r\n").contains("\"ready\"").then_some(()))
        .expect("HTTP, too");
}

fn exchange_info(connection: &mut Connection) -> String {
    connection.ask("INFO stats").text()
}

#[test]
fn the_soft_limit_is_raised_as_far_as_it_is_needed() {
    let server = Server::larder_with_descriptors("-S -n 256", &["--maxclients", "300"]);
    let (soft, hard) = limits(&server);
    assert!(soft > 300 && soft <= hard, "{soft} of {hard}");
    let mut connection = server.connect();
    assert_eq!(maxclients(&mut connection), 300);
    assert_eq!(connection.ask("CONFIG SET maxclients 700"), Reply::ok());
    assert!(limits(&server).0 > 700);
    assert!(!server.log().contains("maxclients is lowered"));
}

#[test]
fn a_server_that_could_serve_nobody_does_not_start() {
    let mut server = Server::larder_with_descriptors("-n 1024", &[]);
    server.stop();
    server.set_launcher(&["sh", "-c", "ulimit -n 100 && exec \"$0\" \"$@\""]);
    let said = server.start_in_vain();
    assert!(said.contains("may open 100 files and sockets (ulimit -n), which is not enough"), "{said}");
}
