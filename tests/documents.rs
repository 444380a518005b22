//! Documents through client libraries: redis-py's `client.json()` and node-redis's `client.json`, and the data stores of
//! `examples/`, which are made of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::process::Command;

use support::{Server, node_script, python_script};

#[test]
fn redis_py() {
    check(|server| python_script("documents.py", server));
}

#[test]
fn node_redis() {
    check(|server| node_script("documents.mjs", server));
}

#[test]
fn the_example_in_python() {
    check(|server| python_script("data_store.py", server));
}

#[test]
fn the_example_in_node() {
    check(|server| node_script("data-store.mjs", server));
}

fn check(script: impl FnOnce(&Server) -> Command) {
    let mut server = Server::larder(&[]);
    support::hold(script(&server), &mut server);
}
