//! Walks through a data directory that no server uses, and recounts everything: `larder check`.
//!
//! Changes nothing. The structure of LMDB's pages is verified before LMDB sees them; if it is damaged, the report has
//! only that. Then every record is read, its checksum compared, its value decompressed and, in a `json` store, parsed;
//! counters and the expiry index are compared with what is there; the journal's segments are verified.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use crate::engine::directory;
use crate::engine::error::Fault;
use crate::engine::journal;
use crate::engine::journal::Seq;
use crate::engine::lmdb;
use crate::engine::lmdb::residence::Wait;
use crate::engine::lmdb::{DeadlineRow, JOURNAL, RecordRow, Snapshot, Tables, deadline_key};
use crate::engine::recovery::open::OpenError;
use crate::record::dictionary::Dictionary;
use crate::record::header::RecordView;
use crate::record::json;
use crate::store::usage::Weight;
use crate::store::{Generation, Quota, Usage, ValueKind};

/// So many problems are described one by one; further ones are only counted.
const DESCRIBED_MAX: usize = 100;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    pub stores: Vec<StoreReport>,
    /// Records of flushed and dropped stores that have not been reclaimed yet.
    pub garbage_records: u64,
    pub journal: Option<journal::Inspection>,
    /// Descriptions of what is wrong, up to a bound.
    pub problems: Vec<String>,
    pub problem_count: u64,
}

/// One store, as counted.
#[derive(Debug)]
pub struct StoreReport {
    pub label: String,
    pub counted: Usage,
    pub quota: Quota,
}

impl Report {
    fn problem(&mut self, what: String) {
        self.problem_count += 1;
        if self.problems.len() < DESCRIBED_MAX {
            self.problems.push(what);
        }
    }
}

/// What the counters of a data directory say, without a recount.
#[derive(Debug)]
pub struct Overview {
    /// According to the counters, up to the last checkpoint.
    pub stores: Vec<StoreReport>,
    pub checkpoint: Seq,
    pub file_bytes: u64,
    pub journal: journal::Inspection,
}

/// Reads the counters and the journal of a data directory that no server uses.
pub fn overview(dir: &Path) -> Result<Overview, OpenError> {
    let _lock = directory::claim_existing(dir)?;
    let lmdb_dir = dir.join("lmdb");
    let tables = Tables::open(&lmdb_dir, None).map_err(|error| OpenError::Tables(lmdb_dir, error))?;
    let snapshot = tables.snapshot()?;
    let mut stores = Vec::new();
    for (id, generation, definition) in tables.stores(&snapshot)? {
        let counted = tables.usage(&snapshot, generation)?;
        if definition.name.is_some() || counted.records > 0 {
            let (label, quota) = (definition.name.unwrap_or(id.to_string()), definition.quota);
            stores.push(StoreReport { label, counted, quota });
        }
    }
    let checkpoint = tables.checkpoint(&snapshot)?;
    let identity = tables.meta_number(&snapshot, JOURNAL)?;
    let journal = journal::inspect(&dir.join("journal"), checkpoint, identity)?;
    Ok(Overview { stores, checkpoint, file_bytes: tables.file_bytes(), journal })
}

/// Checks the data directory. Fails only if it can't be read at all; what is wrong in it is in the report.
pub fn check(dir: &Path) -> Result<Report, OpenError> {
    let _lock = directory::claim_existing(dir)?;
    check_claimed(dir)
}

/// Checks a data directory that the caller has locked.
pub(in crate::engine) fn check_claimed(dir: &Path) -> Result<Report, OpenError> {
    let lmdb_dir = dir.join("lmdb");
    let mut report = Report::default();
    let damage = lmdb::pages::verify(&lmdb_dir.join(lmdb::DATA_FILE));
    let damage = damage.map_err(|error| OpenError::Tables(lmdb_dir.clone(), error.into()))?;
    if !damage.is_empty() {
        // LMDB trusts its pages: it must not see these
        damage.into_iter().for_each(|what| report.problem(format!("LMDB file: {what}")));
        return Ok(report);
    }
    let tables = Tables::open(&lmdb_dir, None).map_err(|error| OpenError::Tables(lmdb_dir, error))?;
    let snapshot = tables.snapshot()?;
    check_records(&tables, &snapshot, &mut report)?;
    check_deadlines(&tables, &snapshot, &mut report)?;
    if let Err(fault) = tables.libraries(&snapshot) {
        report.problem(fault.to_string());
    }
    let (checkpoint, identity) = (tables.checkpoint(&snapshot)?, tables.meta_number(&snapshot, JOURNAL)?);
    check_journal(&dir.join("journal"), checkpoint, identity, &mut report)?;
    Ok(report)
}

fn check_records(tables: &Tables, snapshot: &Snapshot<'_>, report: &mut Report) -> Result<(), Fault> {
    let mut counted: BTreeMap<Generation, Usage> = BTreeMap::new();
    let retired: HashSet<Generation> = tables.retired(snapshot)?.into_iter().collect();
    let stores = tables.stores(snapshot)?;
    let json_only: HashSet<Generation> = stores
        .iter()
        .filter(|(.., definition)| definition.kind == Some(ValueKind::Json))
        .map(|(_, generation, _)| *generation)
        .collect();
    let dictionaries = check_dictionaries(tables, snapshot, report)?;
    for row in tables.record_rows(snapshot)? {
        let RecordRow { generation, key, bytes } = match row {
            Ok(row) => row,
            Err(fault) => {
                report.problem(fault.to_string());
                continue;
            }
        };
        if retired.contains(&generation) {
            report.garbage_records += 1;
            continue;
        }
        let name = key.escape_ascii();
        let checked = RecordView::parse(&lmdb::record_key(generation, key), bytes);
        let dictionary = |view: &RecordView<'_>| dictionaries.get(&(generation, view.dictionary?));
        match checked.and_then(|view| view.plain(dictionary(&view)).map(|plain| (view, plain))) {
            Err(damage) => report.problem(format!("record '{name}' of generation {generation}: {damage}")),
            Ok((view, plain)) => {
                if json_only.contains(&generation)
                    && let Err(error) = json::check(&plain)
                {
                    report.problem(format!("record '{name}' of generation {generation}: {error}"));
                }
                if let Some(deadline) = view.expires_at_ms
                    && !tables.has_deadline(snapshot, deadline, generation, key)?
                {
                    report.problem(format!(
                        "record '{name}' of generation {generation}: not in the expiry index"
                    ));
                }
                counted.entry(generation).or_default().add(Weight {
                    expires: view.expires_at_ms.is_some(),
                    plain_bytes: (key.len() + view.plain_len) as u64,
                    stored_bytes: (key.len() + bytes.len()) as u64,
                });
            }
        }
    }
    for (id, generation, definition) in stores {
        let label = definition.name.unwrap_or_else(|| id.to_string());
        let counted = counted.remove(&generation).unwrap_or_default();
        let noted = tables.usage(snapshot, generation)?;
        if noted != counted {
            report.problem(format!("store '{label}': its counters say {noted:?}, counted are {counted:?}"));
        }
        report.stores.push(StoreReport { label, counted, quota: definition.quota });
    }
    // a first checkpoint that was interrupted leaves records of generations that belong to no known store; replaying
    // the journal tells whose they are
    if tables.checkpoint(snapshot)? > 0 {
        for (generation, usage) in counted {
            let noted = tables.usage(snapshot, generation)?;
            if noted != usage {
                report.problem(format!(
                    "generation {generation}: its counters say {noted:?}, counted are {usage:?}"
                ));
            }
        }
    }
    Ok(())
}

/// All dictionaries that are sound.
fn check_dictionaries<'t>(
    tables: &'t Tables,
    snapshot: &'t Snapshot<'_>,
    report: &mut Report,
) -> Result<HashMap<(Generation, u32), Dictionary<'t>>, Fault> {
    let mut dictionaries = HashMap::new();
    for row in tables.dictionary_rows(snapshot)? {
        match row {
            Ok((generation, dictionary)) => {
                drop(dictionaries.insert((generation, dictionary.id), dictionary))
            }
            Err(fault) => report.problem(fault.to_string()),
        }
    }
    Ok(dictionaries)
}

fn check_deadlines(tables: &Tables, snapshot: &Snapshot<'_>, report: &mut Report) -> Result<(), Fault> {
    for row in tables.deadline_rows(snapshot)? {
        let DeadlineRow { deadline, generation, key, .. } = match row {
            Ok(row) => row,
            Err(fault) => {
                report.problem(fault.to_string());
                continue;
            }
        };
        let record = tables.record(snapshot, generation, key, Wait::ForDisk)?;
        let indexed = record.and_then(|record| record.view.expires_at_ms);
        let fits = indexed.is_some_and(|of_record| {
            deadline_key(of_record, generation, key) == deadline_key(deadline, generation, key)
        });
        if !fits {
            let name = key.escape_ascii();
            report.problem(format!("expiry index: '{name}' of generation {generation} has no such record"));
        }
    }
    Ok(())
}

fn check_journal(
    dir: &Path,
    checkpoint: Seq,
    identity: Option<u64>,
    report: &mut Report,
) -> Result<(), OpenError> {
    let inspection = journal::inspect(dir, checkpoint, identity)?;
    if let Some(lost) = &inspection.lost {
        report.problem(lost.to_string());
    }
    report.journal = Some(inspection);
    Ok(())
}
