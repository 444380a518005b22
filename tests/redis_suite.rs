//! Redis's own test suite, of Debian's source package, against Larder.
//!
//! `tests/run` fetches the suite (`tests/redis_suite/fetch`); nothing of it is committed. `tests/redis_suite/units.txt`
//! lists the units that are run, and the tests in them that are not, each with its reason. Everything else has to pass.
//!
//! A unit is run in one of two ways. `external`: against a server that runs already, which is the suite's mode for other
//! implementations. `started`: some units are marked as not for external servers, since they need settings from the
//! start on or restarts; for them `tests/redis_suite/redis-server` stands where the suite expects the server it starts.
//!
//! `LARDER_SUITE_UNITS="unit/expire unit/multi"` runs these alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Server, installed};
use tempfile::TempDir;

/// Tests of these tags are left out; the reasons are those of whole families.
const TAGS: &[&str] = &[
    // replication: one Larder has no other
    "-needs:repl",
    // a debugger for scripts
    "-debugger",
];

/// Gives up when a test makes no progress for so long.
const PATIENCE_S: &str = "120";

#[test]
fn redis_tests_itself_on_larder() {
    let units = parse(include_str!("redis_suite/units.txt"));
    let wanted = std::env::var("LARDER_SUITE_UNITS").unwrap_or_default();
    let wanted: BTreeSet<&str> = wanted.split_whitespace().collect();
    let mut total = Outcome::default();
    for unit in units.iter().filter(|unit| wanted.is_empty() || wanted.contains(unit.name.as_str())) {
        let outcome = run(unit);
        println!("{:<22} {outcome}", unit.name);
        total.add(outcome);
    }
    println!("{:<22} {total}", "altogether");
    let played = total.passed + total.skipped + total.complaints.len();
    assert!(played > 0, "no unit has the name {wanted:?}");
    assert!(total.complaints.is_empty(), "\n{}\n", total.complaints.join("\n\n"));
}

#[test]
fn every_left_out_test_has_its_reason() {
    let units = parse(include_str!("redis_suite/units.txt"));
    let names: BTreeSet<&str> = units.iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(names.len(), units.len(), "a unit is listed twice");
    for unit in &units {
        let left_out: BTreeSet<&String> = unit.left_out.iter().collect();
        assert_eq!(left_out.len(), unit.left_out.len(), "{} leaves a test out twice", unit.name);
    }
}

/// A file of the suite.
struct Unit {
    name: String,
    external: bool,
    /// Names of tests. One that begins with a slash is a regular expression.
    left_out: Vec<String>,
}

/// ```text
/// == external unit/type/string
/// because: sets are absent
/// MGET against non-string key
/// ```
///
/// A reason is for the names below it, up to an empty line.
fn parse(text: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut has_reason = false;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            let (mode, name) = title.split_once(' ').expect("a mode and a unit");
            assert!(["external", "started"].contains(&mode), "{line}: no such mode");
            units.push(Unit { name: name.into(), external: mode == "external", left_out: Vec::new() });
            has_reason = false;
        } else if let Some(reason) = line.strip_prefix("because: ") {
            assert!(!reason.trim().is_empty(), "an empty reason");
            has_reason = true;
        } else if line.is_empty() {
            has_reason = false;
        } else {
            assert!(has_reason, "{line}: left out without a reason");
            units.last_mut().expect("a unit comes first").left_out.push(line.into());
        }
    }
    units
}

/// Runs a unit in a copy of the suite, with a server of its own.
fn run(unit: &Unit) -> Outcome {
    let stage = TempDir::new().unwrap();
    prepare(stage.path(), &unit.left_out);
    let mut suite = Command::new("tclsh");
    suite.current_dir(stage.path()).env("TERM", "dumb").arg("tests/test_helper.tcl");
    // `--durable`: an error is a failure of its test, not the end of the run
    suite.args(["--single", &unit.name, "--durable", "--clients", "1", "--timeout", PATIENCE_S]);
    suite.args(["--skipfile", "left_out.txt", "--tags", &TAGS.join(" ")]);
    let server = unit.external.then(|| {
        Server::larder(&["--default-values", "any", "--appendfsync", "no", "--enable-debug-command", "yes"])
    });
    match &server {
        Some(server) => suite.args(["--host", "127.0.0.1", "--port", &server.port().to_string()]),
        None => suite.env("LARDER_UNDER_TEST", env!("CARGO_BIN_EXE_larder")),
    };
    let output = suite.output().expect("tclsh runs the suite");
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut outcome = Outcome::read(&printed, unit);
    if outcome.complaints.is_empty() && (!output.status.success() || outcome.passed + outcome.skipped == 0) {
        let errors = String::from_utf8_lossy(&output.stderr);
        outcome.complaints.push(format!("{}: the suite broke off\n{printed}\n{errors}", unit.name));
    }
    outcome
}

/// The suite writes into its own folder, so each run has a copy.
fn prepare(stage: &Path, left_out: &[String]) {
    support::run(Command::new("cp").arg("-R").arg(installed("redis/tests")).arg(stage));
    let programs = stage.join("src");
    fs::create_dir(&programs).unwrap();
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis_suite/redis-server");
    fs::copy(stand_in, programs.join("redis-server")).unwrap();
    fs::write(stage.join("left_out.txt"), left_out.join("\n")).unwrap();

    // Before every group of tests the suite has an external server forget its functions, a family that Larder has not.
    replace(&stage.join("tests/support/server.tcl"), "    r function flush\n", "");
    // Each of these tests is there twice, with its script as a function and in an EVAL.
    replace(&stage.join("tests/unit/scripting.tcl"), "foreach is_eval {0 1} {", "foreach is_eval {1} {");
    // This one is a group without a test. Its only command would fail, and all that follows would not be run.
    let debugs = |tags: &str| format!("start_server {{tags {{\"{tags}\"}}}} {{\n    r script debug sync\n");
    let tagged = debugs("scripting debugger external:skip");
    replace(&stage.join("tests/unit/scripting.tcl"), &debugs("scripting external:skip"), &tagged);
    for unit in ["acl", "acl-v2"] {
        reword_refusals(&stage.join(format!("tests/unit/{unit}.tcl")));
    }
}

/// What Redis 7.0 says of users and refusals, and what it says since 7.2.
const REWORDED: &[(&str, &str)] = &[
    (
        "this user has no permissions to access one of the keys used as arguments",
        "No permissions to access a key",
    ),
    ("*NOPERM*keys*", "*NOPERM*key*"),
    ("*NOPERM*channels*", "*NOPERM*channel*"),
    ("on nopass resetchannels &foo", "on nopass sanitize-payload resetchannels &foo"),
];

/// Has a unit expect the words of later versions.
fn reword_refusals(path: &Path) {
    const OF_USER: &str = "This user has no permissions";
    let text = fs::read_to_string(path).unwrap();
    let reworded = text.lines().map(|line| {
        let line = REWORDED.iter().fold(line.to_owned(), |line, (old, new)| line.replace(old, new));
        match line.split_once("ACL DRYRUN ") {
            Some((_, asked)) => {
                let user = asked.split(' ').next().unwrap();
                line.replace(OF_USER, &format!("User {user} has no permissions"))
            }
            None => line,
        }
    });
    fs::write(path, reworded.collect::<Vec<_>>().join("\n")).unwrap();
}

/// Replaces what is in a file once.
fn replace(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.matches(old).count(), 1, "the suite is not the one known here");
    fs::write(path, text.replace(old, new)).unwrap();
}

#[derive(Default)]
struct Outcome {
    passed: usize,
    skipped: usize,
    /// Left out by a tag, of ours or of the suite (for external servers).
    by_tag: usize,
    /// Failures, and names that the list leaves out in vain.
    complaints: Vec<String>,
}

impl Outcome {
    /// Reads lines like `[ok]: name (3 ms)`, `[err]: name in file`, `[skip]: name`, `[ignore]: name: tag`.
    fn read(printed: &str, unit: &Unit) -> Outcome {
        let mut outcome = Outcome::default();
        let mut skipped = BTreeSet::new();
        let mut in_failure = false;
        for line in printed.lines() {
            let Some((kind, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("]: ")) else {
                // what follows a failure explains it
                if in_failure && !line.is_empty() {
                    let explained = outcome.complaints.last_mut().expect("a failure came first");
                    explained.push_str(&format!("\n    {line}"));
                }
                continue;
            };
            in_failure = ["err", "exception", "TIMEOUT"].contains(&kind);
            match kind {
                "ok" => outcome.passed += 1,
                "ignore" => outcome.by_tag += 1,
                "skip" => {
                    outcome.skipped += 1;
                    skipped.insert(rest);
                }
                "err" | "exception" | "TIMEOUT" => outcome.complaints.push(format!("{}: {rest}", unit.name)),
                _ => {}
            }
        }
        for name in unit.left_out.iter().filter(|name| !name.starts_with('/')) {
            if !skipped.contains(name.as_str()) {
                outcome.complaints.push(format!("{}: there is no test to leave out: {name}", unit.name));
            }
        }
        outcome
    }

    fn add(&mut self, other: Outcome) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.by_tag += other.by_tag;
        self.complaints.extend(other.complaints);
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome { passed, skipped, by_tag, complaints } = self;
        let failed = complaints.len();
        write!(out, "{passed:4} passed {skipped:4} skipped {by_tag:4} left out by tag {failed:4} failed")
    }
}
