//! The command line.

use std::path::PathBuf;

pub const HELP: &str = "\
Measures Larder beside other servers that speak the Redis protocol.

cargo bench --profile dist --bench compare -- [OPTIONS]

  --server PATH     a redis-server, a valkey-server or another larder; can be repeated
  --load NAME,…     only these loads, or those whose names begin like this; docs/BENCHMARKS.md lists them
  --rounds N        rounds of each load [default: 3]
  --dir PATH        where the servers keep their data, on the disk that is to be measured [default: below target]
  --json FILE       write all single results to a file; it keeps what it has of other loads
  --report FILE     measure nothing; rewrite the tables of docs/BENCHMARKS.md from such a file";

#[derive(Debug, PartialEq, Eq)]
pub enum Options {
    Help,
    Measure(Measure),
    Report(PathBuf),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Measure {
    /// What Larder is measured beside.
    pub servers: Vec<PathBuf>,
    /// Beginnings of the names of loads; all loads if there are none.
    pub loads: Vec<String>,
    pub rounds: usize,
    pub folder: PathBuf,
    pub json: Option<PathBuf>,
}

impl Options {
    /// Fails with a text for the user.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut measure = Measure {
            servers: Vec::new(),
            loads: Vec::new(),
            rounds: 3,
            folder: env!("CARGO_TARGET_TMPDIR").into(),
            json: None,
        };
        while let Some(option) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{option} needs a value\n\n{HELP}"));
            match option.as_str() {
                "--server" => measure.servers.push(value()?.into()),
                "--load" => measure.loads.extend(value()?.split(',').map(str::to_owned)),
                "--rounds" => {
                    let rounds = value()?;
                    measure.rounds = rounds
                        .parse()
                        .ok()
                        .filter(|rounds| *rounds > 0)
                        .ok_or_else(|| format!("--rounds needs a number from 1, and not '{rounds}'"))?;
                }
                "--dir" => measure.folder = value()?.into(),
                "--json" => measure.json = Some(value()?.into()),
                "--report" => return Ok(Options::Report(value()?.into())),
                "--help" | "-h" => return Ok(Options::Help),
                // cargo bench adds it
                "--bench" => {}
                _ => return Err(format!("unknown option '{option}'\n\n{HELP}")),
            }
        }
        Ok(Options::Measure(measure))
    }
}
