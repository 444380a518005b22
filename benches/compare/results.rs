//! What was measured, as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::server::Program;

/// Of the file. It changes when older files can't be read any more.
const FORMAT: u32 = 1;

/// Numbers by name. A name ends with the unit, and for some loads begins with the clients that it is about.
pub type Figures = BTreeMap<String, f64>;

#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    pub format: u32,
    /// Like 2026-11-30.
    pub date: String,
    pub machine: Machine,
    /// Larder is the first.
    pub servers: Vec<ServerInfo>,
    pub rounds: usize,
    pub measured: Vec<Measured>,
    pub skipped: Vec<Skipped>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Distinguishes it from the others.
    pub name: String,
    /// How it describes itself, and how it was built as far as that is known.
    pub version: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    pub load: String,
    pub round: usize,
    /// By its name.
    pub server: String,
    pub figures: Figures,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Skipped {
    pub load: String,
    pub round: usize,
    /// By its name.
    pub server: String,
    pub why: String,
}

impl Results {
    /// Nothing measured yet.
    pub fn new(folder: &Path, rounds: usize, programs: &[Program]) -> Result<Results, String> {
        let mut servers: Vec<ServerInfo> = Vec::new();
        for program in programs {
            let namesakes = servers.iter().filter(|server| server.name.starts_with(&program.name)).count();
            let name = if namesakes == 0 {
                program.name.clone()
            } else {
                format!("{} ({})", program.name, namesakes + 1)
            };
            servers.push(ServerInfo { name, version: program.version.clone() });
        }
        Ok(Results {
            format: FORMAT,
            date: crate::machine::today(),
            machine: Machine::describe(folder)?,
            servers,
            rounds,
            measured: Vec::new(),
            skipped: Vec::new(),
        })
    }

    /// Takes what another run has of other loads.
    pub fn add_other_loads(&mut self, other: Results, loads: &[&str]) -> Result<(), String> {
        if other.servers != self.servers {
            return Err("it has measurements of other servers or versions; name another file".into());
        }
        self.measured
            .extend(other.measured.into_iter().filter(|found| !loads.contains(&found.load.as_str())));
        self.skipped.extend(other.skipped.into_iter().filter(|found| !loads.contains(&found.load.as_str())));
        Ok(())
    }

    pub fn read(path: &Path) -> Result<Results, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Results::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    pub fn parse(text: &str) -> Result<Results, String> {
        let results: Results = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if results.format != FORMAT {
            return Err(format!("the format is {}, and this program reads {FORMAT}", results.format));
        }
        Ok(results)
    }

    /// Writes a file with one measurement on each line.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        let lines = text.replace("{\"load\"", "\n{\"load\"").replace("\"skipped\":", "\n\"skipped\":");
        std::fs::write(path, lines + "\n").map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A figure in all rounds in which a server has it, with the rounds.
    pub fn figure(&self, load: &str, server: &str, figure: &str) -> Vec<(usize, f64)> {
        let of_both = self.measured.iter().filter(|found| found.load == load && found.server == server);
        of_both.filter_map(|found| Some((found.round, *found.figures.get(figure)?))).collect()
    }
}

/// The middle one; the mean of the two in the middle of an even number.
pub fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    let upper = *numbers.get(middle)?;
    Some(if numbers.len().is_multiple_of(2) { f64::midpoint(numbers[middle - 1], upper) } else { upper })
}
