//! Opening the environment, and its transactions.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use heed::types::Bytes as Raw;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, RoTxn, WithoutTls};

use super::pages;
use super::reader::Reader;
use super::tables::Tables;
use crate::files;
use crate::limits::LMDB_READERS_MAX;

/// The format of tables and keys: there may be libraries of functions. Formats 1 (without dictionaries) to 4 are read,
/// and [converted](Tables::upgrade).
pub const FORMAT: u32 = 5;
const FORMAT_MIN: u32 = 1;
/// The first format with checksums of the rows of small tables.
pub(super) const FORMAT_WITH_SEALS: u32 = 3;
/// The first format with dictionaries that have codes.
pub(super) const FORMAT_WITH_CODES: u32 = 4;
/// The first format with libraries of functions.
pub(super) const FORMAT_WITH_LIBRARIES: u32 = 5;
/// The row of `meta` that says which one it is.
pub(super) const FORMAT_ROW: &[u8] = b"format";

/// The names of all tables. A file of an older format may lack one, which is made then.
pub(super) const TABLES: [&str; 8] =
    ["records", "deadlines", "stores", "usage", "retired", "dictionaries", "libraries", "meta"];

/// LMDB's name for its file.
pub const DATA_FILE: &str = "data.mdb";

/// Address space for the map. Only what is used takes disk or memory; the file grows by itself up to here.
const MAP_BYTES: usize = 1 << 40;
/// Less than this is refused, because a server that stops at the first gigabyte helps nobody.
const MAP_BYTES_MIN: usize = 1 << 30;

/// Why the environment can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the data directory has format {found}, and this version knows only formats up to {FORMAT}; use a newer larder"
    )]
    NewerFormat { found: u32 },
    #[error(
        "the data directory holds an LMDB environment that is not Larder's (no format in its table 'meta')"
    )]
    Foreign,
    #[error(
        "the address space for the LMDB map can't be reserved (tried {MAP_BYTES} down to {MAP_BYTES_MIN} bytes): {0}; raise `ulimit -v`"
    )]
    Map(heed::Error),
    #[error(
        "the LMDB file is damaged: {0}; examine it with `larder check`, and restore a backup (the journal has the changes since the last checkpoint)"
    )]
    Damaged(String),
    #[error("the LMDB environment can't be opened: {0}{advice}", advice = super::advice(.0))]
    Lmdb(#[from] heed::Error),
    #[error("the LMDB file can't be read: {0}")]
    Unreadable(#[from] std::io::Error),
}

/// A read transaction: one consistent state of all tables. Cheap. Don't hold it while waiting, because it keeps old
/// pages from being reused.
pub type Snapshot<'e> = RoTxn<'e, WithoutTls>;
/// A table as LMDB knows it.
pub(super) type RawTable = Database<'static, Raw, Raw>;

/// A table of raw bytes. Its rows are changed by [a batch](super::WriteBatch), and read by [`Reader`].
pub(super) struct Table {
    pub name: &'static str,
    pub rows: RawTable,
}

impl Tables {
    /// Makes the environment's directory if there is none, under a temporary name first, so that a power cut leaves all
    /// of it or nothing.
    pub fn create(dir: &Path, map_bytes: Option<usize>) -> Result<(), OpenError> {
        if dir.exists() {
            return Ok(());
        }
        let unfinished = dir.with_extension("new");
        let cleared = match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            cleared => cleared,
        };
        cleared
            .and_then(|()| fs::DirBuilder::new().mode(0o700).create(&unfinished))
            .map_err(heed::Error::Io)?;
        drop(Tables::open(&unfinished, map_bytes)?);
        files::publish(&unfinished, dir).map_err(|error| OpenError::Lmdb(heed::Error::Io(error)))
    }

    /// Opens the environment in an existing directory, with a map of at most `map_bytes`.
    pub fn open(dir: &Path, map_bytes: Option<usize>) -> Result<Tables, OpenError> {
        let damage = pages::verify_entrance(&dir.join(DATA_FILE))?;
        if let Some(damage) = damage.into_iter().next() {
            return Err(OpenError::Damaged(damage));
        }
        let env = open_env(dir, map_bytes)?;
        fill_up(&env)?;
        let found = env.unnamed_database_stat().entries;
        let wtxn = env.write_txn()?;
        let mut opened_format = FORMAT;
        let opened = env.create_databases_and_commit(wtxn, |opener, wtxn| -> heed::Result<_> {
            let mut table = |name| opener.create_database::<Raw, Raw>(wtxn, name);
            let tables = (
                table(Some("records"))?,
                table(Some("deadlines"))?,
                table(Some("stores"))?,
                table(Some("usage"))?,
                table(Some("retired"))?,
                table(Some("dictionaries"))?,
                table(Some("libraries"))?,
                table(Some("meta"))?,
                table(None)?,
            );
            let meta = &tables.7;
            let format = match meta.get(wtxn, FORMAT_ROW)? {
                Some(bytes) => bytes.try_into().ok().map(u32::from_be_bytes),
                None if found == 0 => {
                    meta.put(wtxn, FORMAT_ROW, &FORMAT.to_be_bytes())?;
                    Some(FORMAT)
                }
                None => None,
            };
            Ok(match format {
                Some(format @ FORMAT_MIN..=FORMAT) => {
                    opened_format = format;
                    CommitOrAbort::Commit(tables)
                }
                Some(found) => CommitOrAbort::Abort(OpenError::NewerFormat { found }),
                None => CommitOrAbort::Abort(OpenError::Foreign),
            })
        })?;
        match opened {
            CommitOrAbort::Commit((
                records,
                deadlines,
                stores,
                usage,
                retired,
                dictionaries,
                libraries,
                meta,
                list,
            )) => {
                let reader = Reader::new(&env, list, &env.read_txn()?);
                Ok(Tables {
                    reader: reader.map_err(|fault| OpenError::Damaged(fault.to_string()))?,
                    format: opened_format.into(),
                    env,
                    records: Table { name: "records", rows: records },
                    deadlines: Table { name: "deadlines", rows: deadlines },
                    stores: Table { name: "stores", rows: stores },
                    usage: Table { name: "usage", rows: usage },
                    retired: Table { name: "retired", rows: retired },
                    dictionaries: Table { name: "dictionaries", rows: dictionaries },
                    libraries: Table { name: "libraries", rows: libraries },
                    meta: Table { name: "meta", rows: meta },
                    #[cfg(test)]
                    watch: Default::default(),
                })
            }
            CommitOrAbort::Abort(refused) => Err(refused),
        }
    }
}

#[cfg(test)]
impl Tables {
    /// The environment's flags that let a commit return before it is durable.
    pub fn weakening_flags(&self) -> u32 {
        use heed::EnvFlags;
        let weakening =
            EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC | EnvFlags::MAP_ASYNC | EnvFlags::WRITE_MAP;
        self.env.get_flags().map_or(u32::MAX, |flags| flags & weakening.bits())
    }
}

/// Gives the file its full length. LMDB doesn't write pages at the end that were allocated and freed in one
/// transaction, so a sound file may be shorter than it says. But a truncated file may be, too, and reading beyond its
/// end would end the process. With zeros there, LMDB reports that the page is not what it should be.
fn fill_up(env: &Env<WithoutTls>) -> Result<(), OpenError> {
    let page_bytes = u64::from(env.unnamed_database_stat().page_size);
    let needed = (env.info().last_page_number as u64 + 1) * page_bytes;
    let file = env.try_clone_inner_file()?;
    let lengthen = |file: &File| {
        if file.metadata()?.len() < needed { file.set_len(needed) } else { Ok(()) }
    };
    lengthen(&file).map_err(|error| OpenError::Lmdb(heed::Error::Io(error)))
}

fn open_env(dir: &Path, map_bytes: Option<usize>) -> Result<Env<WithoutTls>, OpenError> {
    let mut map_bytes = map_bytes.unwrap_or(MAP_BYTES);
    loop {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_bytes).max_dbs(8).max_readers(LMDB_READERS_MAX as u32);
        // SAFETY: this flag says how the system is to read the file, and nothing else; see `residence`.
        unsafe { options.flags(EnvFlags::NO_READ_AHEAD) };
        // SAFETY: "the underlying file is [not] subsequently modified, in or out of process": the data directory is
        // locked against a second server before this is called, and nothing in this process writes the file but LMDB; the
        // engine changes its length behind the last page, which nobody reads.
        // No flag that weakens syncing or locking is set.
        match unsafe { options.open(dir) } {
            Ok(env) => return Ok(env),
            Err(heed::Error::Io(error))
                if error.kind() == io::ErrorKind::OutOfMemory && map_bytes > MAP_BYTES_MIN =>
            {
                map_bytes /= 2;
            }
            Err(heed::Error::Io(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                return Err(OpenError::Map(heed::Error::Io(error)));
            }
            Err(error) => return Err(OpenError::Lmdb(error)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[allow(clippy::disallowed_methods, reason = "LMDB writes numbers in the byte order of the machine")]
mod tests {
    use super::*;

    #[test]
    fn what_a_cut_off_creation_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (lmdb, unfinished) = (dir.path().join("lmdb"), dir.path().join("lmdb.new"));
        fs::create_dir(&unfinished).unwrap();
        fs::write(unfinished.join("data.mdb"), "half of a page").unwrap();
        Tables::create(&lmdb, None).unwrap();
        assert!(!unfinished.exists());
        let tables = Tables::open(&lmdb, None).unwrap();
        assert_eq!(tables.checkpoint(&tables.snapshot().unwrap()).unwrap(), 0);
    }

    #[test]
    fn a_table_whose_name_has_changed_is_not_made_anew() {
        for name in TABLES {
            let dir = tempfile::tempdir().unwrap();
            drop(Tables::open(dir.path(), None).unwrap());
            let path = dir.path().join(DATA_FILE);
            let mut file = fs::read(&path).unwrap();
            // behind the node's header, which ends with the length of the name
            let node = [&(name.len() as u16).to_ne_bytes()[..], name.as_bytes()].concat();
            let places: Vec<_> = (0..file.len()).filter(|at| file[*at..].starts_with(&node)).collect();
            assert!(!places.is_empty(), "{name}");
            places.iter().for_each(|at| file[at + node.len() - 1] ^= 0x20);
            fs::write(&path, file).unwrap();
            let opened = Tables::open(dir.path(), None).map(drop);
            assert!(matches!(opened, Err(OpenError::Damaged(_))), "{name}: {opened:?}");
            assert!(!pages::verify(&path).unwrap().is_empty(), "{name}");
        }
    }
}
