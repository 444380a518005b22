//! Measures Larder beside other servers of the same machine: docs/BENCHMARKS.md says how to run it, and what each load is.
//!
//! | part | what is in it |
//! |---|---|
//! | `options` | the command line |
//! | `loads` | what is measured |
//! | `server` | programs of either kind, and servers that run in a folder of their own |
//! | `client` | clients that send a load, and what they see |
//! | `machine` | what the measurements were made on |
//! | `results` | what was measured, as JSON |
//! | `report` | tables of it |

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

pub mod client;
pub mod loads;
pub mod machine;
pub mod options;
pub mod report;
pub mod results;
pub mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use loads::Load;
use options::{Measure, Options};
use results::{Measured, Results, Skipped};
use server::Program;

// as in the server, for the loads that measure the engine without one
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = Options::parse(std::env::args().skip(1)).and_then(|options| match options {
        Options::Help => {
            println!("{}", options::HELP);
            Ok(())
        }
        Options::Measure(measure) => run(&measure),
        Options::Report(path) => rewrite_document(&path),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the chosen loads with all servers, round by round, and prints the tables.
fn run(measure: &Measure) -> Result<(), String> {
    let loads = loads::chosen(&measure.loads)?;
    let paths = std::iter::once(Path::new(server::OWN)).chain(measure.servers.iter().map(PathBuf::as_path));
    let programs: Vec<Program> = paths.map(Program::of).collect::<Result<_, _>>()?;
    machine::raise_descriptor_limit();
    let mut results = Results::new(&measure.folder, measure.rounds, &programs)?;
    if let Some(path) = measure.json.as_deref().filter(|path| path.exists()) {
        let names: Vec<&str> = loads.iter().map(|load| load.name.as_str()).collect();
        let added = Results::read(path).and_then(|other| results.add_other_loads(other, &names));
        added.map_err(|why| format!("{}: {why}", path.display()))?;
    }
    for load in loads {
        for round in 0..load.rounds(measure.rounds) {
            for at in order(round, programs.len()) {
                measure_once(load, round, at, &programs[at], &measure.folder, &mut results);
            }
        }
        // an interrupted run keeps what it has
        if let Some(path) = &measure.json {
            results.write(path)?;
        }
    }
    println!("{}", report::markdown(&results)?);
    Ok(())
}

fn measure_once(
    load: &Load,
    round: usize,
    at: usize,
    program: &Program,
    folder: &Path,
    results: &mut Results,
) {
    if !load.is_for(program) {
        return;
    }
    let server = results.servers[at].name.clone();
    eprint!("{}, round {}, {server}: ", load.name, round + 1);
    match load.run(program, folder) {
        Ok(figures) => {
            let rates = figures.iter().filter(|(name, _)| name.ends_with("per_s"));
            eprintln!("{}", rates.map(|(name, rate)| format!("{name} {rate:.0} ")).collect::<String>());
            results.measured.push(Measured { load: load.name.clone(), round, server, figures });
        }
        Err(why) => {
            eprintln!("not measured: {why}");
            results.skipped.push(Skipped { load: load.name.clone(), round, server, why });
        }
    }
}

/// The order of the servers in a round. It alternates, so that a machine that gets slower or faster is fair to all.
pub fn order(round: usize, servers: usize) -> Vec<usize> {
    let forwards = 0..servers;
    if round.is_multiple_of(2) { forwards.collect() } else { forwards.rev().collect() }
}

/// Replaces the tables in docs/BENCHMARKS.md.
fn rewrite_document(results: &Path) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BENCHMARKS.md");
    let old = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let new = report::replace(&old, &report::markdown(&Results::read(results)?)?)?;
    std::fs::write(&path, new).map_err(|error| format!("{}: {error}", path.display()))
}
