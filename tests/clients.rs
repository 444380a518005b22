//! Real clients: redis-cli and the libraries of seven languages do what programs do with them every day.
//!
//! Each also talks to Redis (`cargo test --test clients ::redis`), which shows that the scripts themselves are right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::process::Command;

use support::{
    Kind, Server, clients_folder, hold, node_script, on_both, program, python_script, redis_cli, request,
    run, run_with_input, rust_program, script,
};
use tempfile::TempDir;

on_both! {
    server =>
    the_command_line,
    the_command_line_in_bulk,
    python,
    python_async,
    python_messages,
    node_redis,
    node_messages,
    ioredis,
    redis_rs,
    fred,
    hiredis,
    phpredis,
    ruby,
}

fn server(kind: Kind) -> Server {
    match kind {
        Kind::Larder => Server::larder(&["--requirepass", "sesame"]),
        // restarts must not lose anything
        Kind::Redis => Server::redis(&["--requirepass", "sesame", "--appendonly", "yes"]),
    }
}

fn the_command_line(mut server: Server) {
    let cli = |server: &Server, args: &[&str]| run(redis_cli(server).args(args));
    assert_eq!(cli(&server, &["PING"]), "PONG\n");
    assert_eq!(cli(&server, &["SET", "k", r#"{"a":[1,2]}"#]), "OK\n");
    assert_eq!(cli(&server, &["GET", "k"]), "{\"a\":[1,2]}\n");
    assert_eq!(cli(&server, &["-n", "3", "SET", "k", "3"]), "OK\n");
    assert_eq!(cli(&server, &["-n", "3", "-3", "GET", "k"]), "3\n");
    assert_eq!(cli(&server, &["GET", "missing"]), "\n");
    assert_eq!(run_with_input(redis_cli(&server).args(["-x", "SET", "x"]), b"\"from stdin\""), "OK\n");
    assert_eq!(cli(&server, &["STRLEN", "x"]), "12\n");

    // this version of redis-cli takes a missing user name for an empty one
    let url = format!("{}/3", server.url().replace("//:", "//default:"));
    assert_eq!(run(Command::new("redis-cli").args(["-u", &url, "GET", "k"])), "3\n");
    let refused =
        Command::new("redis-cli").args(["-p", &server.port().to_string(), "PING"]).output().unwrap();
    assert_eq!(refused.stdout, b"NOAUTH Authentication required.\n\n");
    assert_eq!(cli(&server, &["-r", "5", "INCR", "counter"]), "1\n2\n3\n4\n5\n");
    assert!(cli(&server, &["NONSENSE"]).starts_with("ERR unknown command"));

    server.restart();
    assert_eq!(cli(&server, &["GET", "counter"]), "5\n");
    assert_eq!(cli(&server, &["-n", "3", "GET", "k"]), "3\n");

    if server.kind() == Kind::Larder {
        assert_eq!(cli(&server, &["STORE", "CREATE", "orders"]), "OK\n");
        let typed = b"SELECT orders\nSET k \"{\\\"id\\\":1}\"\nGET k\n";
        let printed = run_with_input(&mut redis_cli(&server), typed);
        assert_eq!(printed, "OK\nOK\n{\"id\":1}\n");
        assert_eq!(cli(&server, &["-n", "16", "GET", "k"]), "{\"id\":1}\n");
    }
}

fn the_command_line_in_bulk(server: Server) {
    let count = 5000;
    let mut input = Vec::new();
    for index in 0..count {
        let value = format!("{{\"index\":{index}}}");
        input.extend(request(&["SET", &format!("key:{index}"), &value]));
    }
    let printed = run_with_input(redis_cli(&server).arg("--pipe"), &input);
    assert!(printed.contains(&format!("errors: 0, replies: {count}")), "{printed}");

    let scan = |pattern: &str| run(redis_cli(&server).args(["--scan", "--pattern", pattern]));
    assert_eq!(scan("key:*").lines().count(), count);
    assert_eq!(scan("key:49??").lines().count(), 100);
    assert_eq!(scan("nothing*"), "");
}

fn python(mut server: Server) {
    hold(python_script("everyday.py", &server), &mut server);
}

fn python_async(mut server: Server) {
    hold(python_script("everyday_async.py", &server), &mut server);
}

fn python_messages(mut server: Server) {
    hold(python_script("pubsub.py", &server), &mut server);
}

fn node_messages(mut server: Server) {
    hold(node_script("pubsub.mjs", &server), &mut server);
}

fn node_redis(mut server: Server) {
    hold(node_script("node-redis.mjs", &server), &mut server);
}

fn ioredis(mut server: Server) {
    hold(node_script("ioredis.mjs", &server), &mut server);
}

fn redis_rs(mut server: Server) {
    hold(rust_program("client-redis-rs", &server), &mut server);
}

fn fred(mut server: Server) {
    hold(rust_program("client-fred", &server), &mut server);
}

fn hiredis(mut server: Server) {
    let folder = TempDir::new().unwrap();
    let binary = folder.path().join("hiredis");
    let source = clients_folder().join("c/hiredis.c");
    run(Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-o"])
        .args([&binary, &source])
        .arg("-lhiredis"));
    hold(program(&binary, &server), &mut server);
}

fn phpredis(mut server: Server) {
    hold(script("php", "php/phpredis.php", &server), &mut server);
}

fn ruby(mut server: Server) {
    hold(script("ruby", "ruby/everyday.rb", &server), &mut server);
}
