//! What frameworks keep in a Redis: caches, sessions, results, locks, counts of rate limiters. Each does with Larder what its documentation shows.
//!
//! Those that write JSON use a store of JSON, those that write pickles one of any bytes. docs/FRAMEWORKS.md says how to set
//! them up. Each also runs on Redis (`cargo test --test frameworks ::redis`), which shows that the scripts are right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::process::Command;

use support::{Kind, Server, hold, installed, node_script, on_both, python_script, redis_cli, run, script};

on_both! {
    server =>
    django,
    flask_caching,
    fastapi_cache,
    aiocache,
    langgraph_cache,
    celery_with_json,
    celery_with_pickles,
    express_sessions,
    keyv_and_cache_manager,
    laravel,
    symfony,
    rails,
    locks_and_limits_in_python,
    locks_and_limits_in_node,
    socket_io,
    resumable_stream,
}

/// The scripts take store 1 for JSON and store 2 for any bytes.
fn server(kind: Kind) -> Server {
    match kind {
        Kind::Larder => {
            let server = Server::larder(&["--requirepass", "sesame"]);
            assert_eq!(run(redis_cli(&server).args(["STORE", "SET", "2", "values", "any"])), "OK\n");
            server
        }
        Kind::Redis => Server::redis(&["--requirepass", "sesame", "--appendonly", "yes"]),
    }
}

fn django(mut server: Server) {
    hold(python_script("django_caches.py", &server), &mut server);
}

fn flask_caching(mut server: Server) {
    hold(python_script("flask_cache.py", &server), &mut server);
}

fn fastapi_cache(mut server: Server) {
    hold(python_script("fastapi_caches.py", &server), &mut server);
}

fn aiocache(mut server: Server) {
    hold(python_script("aiocaches.py", &server), &mut server);
}

/// It uses commands for JSON documents, which a Redis without its modules does not have.
#[test]
fn langchain_cache() {
    let mut server = server(Kind::Larder);
    hold(langchain_script("langchain_cache.py", &server), &mut server);
}

fn langgraph_cache(mut server: Server) {
    hold(langchain_script("langgraph_cache.py", &server), &mut server);
}

fn langchain_script(name: &str, server: &Server) -> Command {
    script(installed("langchain/bin/python"), &format!("python/{name}"), server)
}

fn celery_with_json(server: Server) {
    celery(server, "json");
}

fn celery_with_pickles(server: Server) {
    celery(server, "pickle");
}

fn celery(mut server: Server, serializer: &str) {
    let mut script = python_script("celery_results.py", &server);
    script.arg(serializer);
    hold(script, &mut server);
}

fn express_sessions(mut server: Server) {
    hold(node_script("sessions.mjs", &server), &mut server);
}

fn keyv_and_cache_manager(mut server: Server) {
    hold(node_script("keyv.mjs", &server), &mut server);
}

fn laravel(mut server: Server) {
    hold(script("php", "php/laravel_cache.php", &server), &mut server);
}

fn symfony(mut server: Server) {
    hold(script("php", "php/symfony_cache.php", &server), &mut server);
}

fn rails(mut server: Server) {
    hold(script("ruby", "ruby/rails_cache.rb", &server), &mut server);
}

fn locks_and_limits_in_python(mut server: Server) {
    hold(python_script("scripts.py", &server), &mut server);
}

fn locks_and_limits_in_node(mut server: Server) {
    hold(node_script("scripts.mjs", &server), &mut server);
}

fn socket_io(mut server: Server) {
    hold(node_script("socket-io.mjs", &server), &mut server);
}

fn resumable_stream(mut server: Server) {
    hold(node_script("resumable-stream.mjs", &server), &mut server);
}
