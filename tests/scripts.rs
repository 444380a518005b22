//! Scripts and everybody else: who waits, who is told, who can end a script, and what is left of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::{Connection, Reply, Server};

const BUSY_FUNCTION: &str =
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
/// What a test waits at most for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn server() -> Server {
    Server::larder(&["--default-values", "any", "--busy-reply-threshold", "50", "--io-threads", "2"])
}

fn begin(connection: &mut Connection, script: &str) {
    connection.send(&support::request(&["EVAL", script, "0"]));
}

/// All texts and numbers of a reply.
fn flat(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) => items.iter().map(flat).collect::<Vec<_>>().join(" "),
        Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

/// Asks until the server is busy.
fn wait_until_busy(connection: &mut Connection) {
    let begun = Instant::now();
    while !connection.ask("PING").is_error("BUSY") {
        assert!(begun.elapsed() < PATIENCE, "the server does not say that it is busy");
    }
}

#[test]
fn a_busy_server_tells_everybody_and_the_script_can_be_killed() {
    let server = server();
    let mut connections: Vec<Connection> = (0..8).map(|_| server.connect()).collect();
    let mut running = server.connect();
    begin(&mut running, "while true do end");
    wait_until_busy(&mut connections[0]);
    for connection in &mut connections {
        for command in ["PING", "GET k", "SET k 1", "KEYS *", "SCRIPT FLUSH", "SHUTDOWN"] {
            assert_eq!(connection.ask(command).text(), BUSY, "{command}");
        }
        assert_eq!(connection.call(&["EVAL", "return 1", "0"]).text(), BUSY);
    }
    let other = &mut connections[0];
    assert_eq!(other.ask("MULTI"), Reply::ok());
    assert_eq!(other.ask("GET k").text(), BUSY);
    assert_eq!(other.ask("EXEC").text(), format!("EXECABORT Transaction discarded because of: {BUSY}"));
    assert_eq!(other.ask("SCRIPT KILL"), Reply::ok());
    assert!(running.read().text().starts_with("ERR Script killed by user with SCRIPT KILL..."));
    for connection in &mut connections {
        assert_eq!(connection.ask("GET k"), Reply::NullBulk);
    }
}

/// As Redis answers: each kind is ended by its own command.
#[test]
fn a_busy_function_shows_itself_and_can_be_killed() {
    let server = server();
    let (mut running, mut other) = (server.connect(), server.connect());
    let library = "#!lua name=lib\nredis.register_function('forever', function() while true do end end) \
                   redis.register_function('writes', function() redis.call('SET', 'k', 1) while true do end end)";
    assert_eq!(other.call(&["FUNCTION", "LOAD", library]), Reply::bulk("lib"));
    running.send(&support::request(&["FCALL", "forever", "1", "key", "arg"]));
    wait_until_busy(&mut other);
    for command in ["PING", "FUNCTION LIST", "FUNCTION FLUSH", "FCALL forever 0", "SCRIPT KILL"] {
        assert_eq!(other.ask(command).text(), BUSY_FUNCTION, "{command}");
    }
    let shown = flat(&other.ask("FUNCTION STATS"));
    for word in ["forever", "FCALL", "key", "arg", "duration_ms", "libraries_count"] {
        assert!(shown.contains(word), "{shown}");
    }
    assert_eq!(other.ask("FUNCTION KILL"), Reply::ok());
    let told = running.read().text();
    assert_eq!(told, "ERR Script killed by user with SCRIPT KILL... script: forever, on @user_function:2.");
    begin(&mut running, "while true do end");
    wait_until_busy(&mut other);
    for command in ["FUNCTION KILL", "FUNCTION STATS"] {
        assert_eq!(other.ask(command).text(), BUSY, "{command}");
    }
    assert_eq!(other.ask("SCRIPT KILL"), Reply::ok());
    assert!(running.read().is_error("ERR"));
    running.send(&support::request(&["FCALL", "writes", "1", "k"]));
    wait_until_busy(&mut other);
    assert!(other.ask("FUNCTION KILL").is_error("UNKILLABLE"));
}

#[test]
fn libraries_survive_a_kill() {
    let mut server = server();
    let mut connection = server.connect();
    for round in 0..3 {
        let library = format!("#!lua name=lib\nredis.register_function('f', function() return {round} end)");
        assert_eq!(connection.call(&["FUNCTION", "LOAD", "REPLACE", &library]), Reply::bulk("lib"));
        if round == 1 {
            assert_eq!(connection.ask("SAVE"), Reply::ok());
        }
        server.kill_hard();
        server.start();
        connection = server.connect();
        assert_eq!(connection.ask("FCALL f 0").integer(), round);
    }
    assert_eq!(connection.ask("FUNCTION DELETE lib"), Reply::ok());
    server.kill_hard();
    server.start();
    assert!(server.connect().ask("FCALL f 0").is_error("ERR Function not found"));
}

#[test]
fn a_script_that_wrote_runs_until_the_server_ends() {
    let mut server = server();
    let (mut running, mut other) = (server.connect(), server.connect());
    begin(&mut running, "redis.call('SET', 'k', '1') while true do end");
    wait_until_busy(&mut other);
    assert!(other.ask("SCRIPT KILL").is_error("UNKILLABLE"));
    server.stop();
    server.start();
    assert_eq!(server.connect().ask("GET k"), Reply::bulk("1"));
}

#[test]
fn whoever_waits_for_a_short_script_is_answered() {
    let server = Server::larder(&["--default-values", "any"]);
    let (mut running, mut other) = (server.connect(), server.connect());
    begin(
        &mut running,
        "local n = 0 for i = 1, 5e6 do n = n + i end redis.call('SET', 'k', 'done') return n",
    );
    while other.ask("GET k").is_null() {}
    assert_eq!(other.ask("GET k"), Reply::bulk("done"));
    assert_eq!(running.read().integer(), 12_500_002_500_000);
}

/// No network thread may be caught inside a command when a script begins: all of its connections would wait with it.
#[test]
fn a_script_that_begins_among_other_commands_can_always_be_killed() {
    let server = server();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = server.connect();
                let batch = support::request(&["SET", "k", "1"]).repeat(50);
                while !done.load(Ordering::Relaxed) {
                    connection.send(&batch);
                    for _ in 0..50 {
                        let reply = connection.read();
                        assert!(reply == Reply::ok() || reply.is_error("BUSY"), "{reply:?}");
                    }
                }
            });
        }
        let (mut running, mut killer) = (server.connect(), server.connect());
        for _ in 0..30 {
            begin(&mut running, "while true do end");
            let begun = Instant::now();
            while killer.ask("SCRIPT KILL") != Reply::ok() {
                assert!(begun.elapsed() < PATIENCE, "the script can't be killed");
            }
            assert!(running.read().is_error("ERR"));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_a_script_wrote_survives_a_kill_whole() {
    let mut server = server();
    let mut connection = server.connect();
    let script = "for i = 1, 100 do redis.call('SET', 'k' .. i, ARGV[1]) end return redis.call('DBSIZE')";
    for round in 0..5 {
        assert_eq!(connection.call(&["EVAL", script, "0", &round.to_string()]).integer(), 100);
        server.kill_hard();
        server.start();
        connection = server.connect();
        for key in ["k1", "k50", "k100"] {
            assert_eq!(connection.call(&["GET", key]), Reply::bulk(round.to_string()));
        }
    }
}

#[test]
fn memory_is_bounded_by_the_setting() {
    let server = server();
    let mut connection = server.connect();
    assert_eq!(connection.ask("CONFIG SET lua-memory-limit 4mb"), Reply::ok());
    let hungry = ["EVAL", "return #string.rep('x', 8e6)", "0"];
    assert!(connection.call(&hungry).text().ends_with(", not enough memory"));
    assert_eq!(connection.ask("CONFIG SET lua-memory-limit 64mb"), Reply::ok());
    assert_eq!(connection.call(&hungry).integer(), 8_000_000);
}
