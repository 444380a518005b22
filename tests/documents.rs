//! Documents through client libraries: redis-py's `client.json()` and node-redis's `client.json`, and the data stores of
//! `examples/`, which are made of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::process::Command;

use support::{Server, node_script, python_script, run};

#[test]
fn redis_py() {
    hold(|server| python_script("documents.py", server));
}

#[test]
fn node_redis() {
    hold(|server| node_script("documents.mjs", server));
}

#[test]
fn the_example_in_python() {
    hold(|server| python_script("data_store.py", server));
}

#[test]
fn the_example_in_node() {
    hold(|server| node_script("data-store.mjs", server));
}

fn hold(script: impl FnOnce(&Server) -> Command) {
    let server = Server::larder(&[]);
    assert_eq!(run(&mut script(&server)), "done\n");
}
