//! The sessions in the README and in docs are what a newcomer types, so they have to work as they are.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Server, installed, redis_cli, run, run_with_input};

#[test]
fn the_session_with_redis_cli() {
    let session = code_block("console");
    hold(session.split_once('\n').unwrap().1);
}

#[test]
fn the_session_with_documents() {
    hold(&code_blocks("console")[1]);
}

#[test]
fn the_session_with_limits() {
    hold(&code_blocks_of("docs/LIMITS.md", "console")[0]);
}

#[test]
fn the_session_with_users() {
    hold(&code_blocks_of("docs/USERS.md", "console")[0]);
}

/// What is typed behind the prompt has to be answered with what stands below.
fn hold(session: &str) {
    let server = Server::larder(&[]);
    let (mut typed, mut shown) = (String::new(), String::new());
    for line in session.lines() {
        match line.split_once("> ").filter(|(prompt, _)| prompt.starts_with("127.0.0.1:6379")) {
            Some((_, command)) => typed += &format!("{command}\n"),
            None => shown += &format!("{line}\n"),
        }
    }
    let answered = run_with_input(redis_cli(&server).arg("--no-raw"), typed.as_bytes());
    let answered: Vec<&str> = answered.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(answered, shown.lines().collect::<Vec<_>>());
}

#[test]
fn the_session_with_python() {
    let server = Server::larder(&[]);
    let connect = format!("redis.Redis(port={}, ", server.port());
    let script = code_block("python").replace("redis.Redis(", &connect);
    let printed = run(Command::new(installed("venv/bin/python")).args(["-c", &script]));
    assert_eq!(printed, "{'name': 'Ada'}\nuser:1 3600\n");
}

#[test]
fn the_session_with_node() {
    let server = Server::larder(&[]);
    // beside the packages, where Node looks for them
    let path = installed("node").join(format!("readme-{}.mjs", server.port()));
    fs::write(&path, code_block("js").replace("redis://127.0.0.1:6379", &server.url())).unwrap();
    let printed = run(Command::new("node").arg(&path));
    fs::remove_file(&path).unwrap();
    assert_eq!(printed, "{ name: 'Ada' }\n[ 'user:1' ]\n");
}

/// The README's first block of code in a language.
fn code_block(language: &str) -> String {
    code_blocks(language).swap_remove(0)
}

/// All of the README's blocks of code in a language.
fn code_blocks(language: &str) -> Vec<String> {
    code_blocks_of("README.md", language)
}

fn code_blocks_of(document: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|text| text.split_once("```").expect("an end").0.to_owned()).collect()
}
