//! Cargo's build script: tells the program which commit it is built from, in the variable `LARDER_BUILT_FROM`.
//!
//! It is the variable `LARDER_COMMIT` if that is set, as by builds without a repository; else what git says; else what
//! `cargo package` has noted. Debug builds leave it out, so that a commit does not compile everything again.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rerun-if-env-changed=LARDER_COMMIT");
    let given = std::env::var("LARDER_COMMIT").ok().filter(|commit| !commit.is_empty());
    let is_debug = std::env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    let commit = given.or_else(|| if is_debug { None } else { of_repository().or_else(of_package) });
    println!("cargo::rustc-env=LARDER_BUILT_FROM={}", commit.unwrap_or_default());
}

/// The commit that is checked out here, with a `+` if the sources differ from it. None if they are in no repository of
/// their own: a copy of them may be inside of another one.
fn of_repository() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    for path in [&git(&["rev-parse", "--git-path", "HEAD"])?, "src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    // where HEAD is a branch, a commit changes only this file
    if let Some(path) = git(&["symbolic-ref", "--quiet", "HEAD"])
        .and_then(|branch| git(&["rev-parse", "--git-path", &branch]))
        .filter(|path| Path::new(path).exists())
    {
        println!("cargo::rerun-if-changed={path}");
    }
    let is_changed = !git(&["status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"])?.is_empty();
    Some(if is_changed { commit + "+" } else { commit })
}

/// The commit that `cargo package` has noted beside the manifest.
fn of_package() -> Option<String> {
    let noted = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, behind) = noted.split_once("\"sha1\"")?;
    let commit: String = behind.split('"').nth(1)?.chars().take(12).collect();
    commit.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(commit)
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
