//! The dashboard in a real browser: scripts in `tests/dashboard` click through everything that it can do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Server, heed, installed, larder_with_http, program};

/// Runs a script to its end; `act` does what it asks for, line by line.
fn run(name: &str, flags: &[&str], act: impl Fn(&Server, &str)) {
    let (server, port) = larder_with_http(flags);
    let mut command: Command = program("node", &server);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboard").join(name));
    command.env("LARDER_NODE_PACKAGES", installed("dashboard/node_modules"));
    command.env("LARDER_DASHBOARD", format!("http://127.0.0.1:{port}/"));
    heed(command, |asked| {
        act(&server, asked);
        true
    });
}

fn nothing(_: &Server, asked: &str) {
    panic!("the script asks for {asked}");
}

#[test]
fn stores_are_created_set_renamed_emptied_and_dropped() {
    run("stores.mjs", &[], nothing);
}

#[test]
fn records_are_added_edited_and_deleted() {
    run("records.mjs", &[], nothing);
}

#[test]
fn a_change_of_somebody_else_is_not_lost() {
    run("conflict.mjs", &[], nothing);
}

#[test]
fn what_was_typed_is_lost_only_if_one_says_so() {
    run("unsaved.mjs", &[], nothing);
}

#[test]
fn what_has_to_be_seen_exactly_is() {
    run("exact.mjs", &[], nothing);
}

#[test]
fn numbers_are_shown_at_their_edges() {
    run("format.mjs", &[], nothing);
}

#[test]
fn ten_thousand_records_are_browsed() {
    run("pages.mjs", &[], nothing);
}

#[test]
fn files_go_out_and_come_in() {
    run("transfer.mjs", &[], nothing);
}

#[test]
fn the_server_is_watched() {
    run("server.mjs", &[], nothing);
}

#[test]
fn commands_are_typed_into_the_console() {
    run("console.mjs", &[], nothing);
}

#[test]
fn the_server_is_operated() {
    run("operate.mjs", &[], nothing);
}

#[test]
fn lines_rules_and_points_are_worked_out() {
    run("typed.mjs", &[], nothing);
}

#[test]
fn who_comes_in_signs_in() {
    const READER: &str = "reader on >pä:ss ~* +@read resetstores store=0";
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.acl");
    std::fs::write(&users, format!("user default on >sesame ~* &* +@all\nuser {READER}\n")).unwrap();
    run("login.mjs", &["--aclfile", users.to_str().unwrap()], |server, asked| {
        let mut connection = server.connect();
        connection.ask("AUTH sesame");
        match asked {
            "forget the reader" => assert_eq!(connection.ask("ACL DELUSER reader").to_string(), ":1"),
            "let the reader write" => {
                assert_eq!(connection.ask(&format!("ACL SETUSER {READER} +@write")).to_string(), "+OK");
            }
            "let the reader only read" => {
                assert_eq!(connection.ask("ACL SETUSER reader -@write").to_string(), "+OK");
            }
            _ => nothing(server, asked),
        }
    });
}

#[test]
fn json_is_what_it_is_elsewhere() {
    run("json.mjs", &[], nothing);
}

#[test]
fn data_is_found_and_understood() {
    run("browse.mjs", &[], nothing);
}

#[test]
fn two_stores_are_compared_and_made_alike() {
    run("compare.mjs", &[], nothing);
}

#[test]
fn the_last_changes_are_shown() {
    run("changes.mjs", &[], nothing);
}

#[test]
fn values_are_laid_out_as_lines() {
    run("outline.mjs", &[], nothing);
}

#[test]
fn bytes_are_read_as_what_they_are() {
    run("decode.mjs", &[], nothing);
}

#[test]
fn a_phone_is_wide_enough() {
    run("phone.mjs", &[], nothing);
}

#[test]
fn a_keyboard_is_enough() {
    run("keyboard.mjs", &[], nothing);
}
