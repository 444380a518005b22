//! The data directory: checks that it belongs to Larder, and lets only one server use it.
//!
//! | name | what |
//! |---|---|
//! | `larder` | one line, `larder data directory, format N` |
//! | `lock` | locked by the server that runs on it, as is the directory itself |
//! | `lmdb/` | the LMDB environment; `lmdb.new/` while it is being made |
//! | `journal/` | the journal's segments |

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::files;

/// The format of the directory that this version writes.
pub const FORMAT: u32 = 1;
/// Only the owner may access what is in the directory.
const PRIVATE: u32 = 0o700;
const MARK: &str = "larder data directory, format ";

/// Why a directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("the data directory {0} can't be used: {1}")]
    Io(PathBuf, io::Error),
    #[error("another larder runs on the data directory {0}")]
    Locked(PathBuf),
    #[error(
        "the directory {0} contains files of another program (there is no file 'larder' in it); name an empty directory, or one that does not exist"
    )]
    Foreign(PathBuf),
    #[error("the directory {0} is not empty; name an empty one, or one that does not exist")]
    NotEmpty(PathBuf),
    #[error("the directory {0} is inside {1}, the server's own data directory; name one elsewhere")]
    Own(PathBuf, PathBuf),
    #[error("there is no data directory at {0} (no file 'larder' in it)")]
    Missing(PathBuf),
    #[error(
        "the data directory {0} has format {1}, and this version knows only format {FORMAT}; use a newer larder"
    )]
    Newer(PathBuf, u32),
}

/// The right to use a directory, as long as this value lives.
#[derive(Debug)]
pub struct Lock {
    #[allow(dead_code)]
    file: File,
    #[allow(dead_code)]
    dir: File,
}

/// Whether there is a data directory.
pub fn is_data_directory(dir: &Path) -> bool {
    dir.join("larder").is_file()
}

/// Makes the directory if it is missing, checks that it is Larder's, and locks it.
pub fn claim(dir: &Path) -> Result<Lock, DirectoryError> {
    let failed = |error| DirectoryError::Io(dir.to_owned(), error);
    create_durably(dir).map_err(failed)?;
    check_mark(dir)?;
    let lock = lock(dir)?;
    write_mark(dir).map_err(failed)?;
    let journal = dir.join("journal");
    create_durably(&journal).map_err(failed)?;
    // earlier versions created it readable by everybody
    fs::set_permissions(&journal, fs::Permissions::from_mode(PRIVATE)).map_err(failed)?;
    files::sync_folder(dir).map_err(failed)?;
    Ok(lock)
}

/// Makes and locks a directory for data that is still being written. It becomes a data directory with [`finish`]; until
/// then no server starts on it. Fails if there is anything in it.
pub fn begin(dir: &Path) -> Result<Lock, DirectoryError> {
    let failed = |error| DirectoryError::Io(dir.to_owned(), error);
    create_durably(dir).map_err(failed)?;
    if fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(DirectoryError::NotEmpty(dir.to_owned()));
    }
    let lock = lock(dir)?;
    create_durably(&dir.join("journal")).map_err(failed)?;
    Ok(lock)
}

/// Makes the directory a data directory.
pub fn finish(dir: &Path) -> Result<(), DirectoryError> {
    files::sync_folder(dir)
        .and_then(|()| write_mark(dir))
        .map_err(|error| DirectoryError::Io(dir.to_owned(), error))
}

/// Makes a directory and its missing parents durably, so that they survive a power cut.
fn create_durably(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(Path::new(""));
    create_durably(parent)?;
    fs::DirBuilder::new().mode(PRIVATE).create(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => in_the_way(dir),
        _ => error,
    })?;
    files::sync_folder(files::folder_of(dir))
}

/// What there is in place of a directory.
fn in_the_way(path: &Path) -> io::Error {
    let why = match fs::read_link(path) {
        Ok(target) if !path.exists() => {
            format!("{} is a link to {}, which does not exist", path.display(), target.display())
        }
        _ => format!("{} is no directory", path.display()),
    };
    io::Error::new(io::ErrorKind::NotADirectory, why)
}

/// The path of a directory that need not exist yet, without links. Fails if it is another directory or inside it, whatever
/// links and mounts lead there.
pub fn resolve_outside(dir: &Path, own: &Path) -> Result<PathBuf, DirectoryError> {
    let failed = |error| DirectoryError::Io(dir.to_owned(), error);
    let itself = fs::metadata(own).map_err(failed)?;
    let mut there = PathBuf::new();
    for component in std::path::absolute(dir).map_err(failed)?.components() {
        match component {
            // no link is left in what is climbed from
            Component::ParentDir => _ = there.pop(),
            component => {
                there.push(component);
                there = fs::canonicalize(&there).unwrap_or(there);
            }
        }
    }
    let is_itself = |path: &Path| {
        fs::metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == (itself.dev(), itself.ino()))
    };
    if there.ancestors().any(is_itself) {
        return Err(DirectoryError::Own(dir.to_owned(), own.to_owned()));
    }
    Ok(there)
}

/// Checks that there is a data directory, and locks it; makes nothing.
pub fn claim_existing(dir: &Path) -> Result<Lock, DirectoryError> {
    if !dir.join("larder").exists() {
        return Err(DirectoryError::Missing(dir.to_owned()));
    }
    check_mark(dir)?;
    lock(dir)
}

fn lock(dir: &Path) -> Result<Lock, DirectoryError> {
    let failed = |error| DirectoryError::Io(dir.to_owned(), error);
    let file =
        File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(DirectoryError::Locked(dir.to_owned())),
        Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
    }
    // the file can be deleted and replaced, and another server can then lock the new one; the directory cannot be
    // replaced while it is in use
    let itself = File::open(dir).map_err(failed)?;
    match itself.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Err(DirectoryError::Locked(dir.to_owned())),
        // some network file systems lock files, but no directories
        Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(Lock { file, dir: itself }),
    }
}

fn check_mark(dir: &Path) -> Result<(), DirectoryError> {
    let failed = |error| DirectoryError::Io(dir.to_owned(), error);
    match fs::read_to_string(dir.join("larder")) {
        Ok(text) => match text.trim_end().strip_prefix(MARK).and_then(|format| format.parse().ok()) {
            Some(FORMAT) => Ok(()),
            Some(newer) => Err(DirectoryError::Newer(dir.to_owned(), newer)),
            None => Err(DirectoryError::Foreign(dir.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // a start that was interrupted may have left the lock and the folders, but nothing else
            let foreign = fs::read_dir(dir).map_err(failed)?.any(|entry| {
                entry.map_or(true, |entry| {
                    !["lock", "larder.new", "lost+found"].iter().any(|ours| entry.file_name() == *ours)
                })
            });
            if foreign { Err(DirectoryError::Foreign(dir.to_owned())) } else { Ok(()) }
        }
        Err(error) => Err(failed(error)),
    }
}

fn write_mark(dir: &Path) -> io::Result<()> {
    if dir.join("larder").exists() {
        return Ok(());
    }
    let unfinished = dir.join("larder.new");
    fs::write(&unfinished, format!("{MARK}{FORMAT}\n"))?;
    files::publish(&unfinished, &dir.join("larder"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::engine::directory::*;

    #[test]
    fn nobody_else_reads_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        drop(claim(&path).unwrap());
        fs::set_permissions(path.join("journal"), fs::Permissions::from_mode(0o755)).unwrap();
        drop(claim(&path).unwrap());
        assert_eq!((mode(&path), mode(&path.join("journal"))), (0o700, 0o700));
        drop(begin(&dir.path().join("backup")).unwrap());
        assert_eq!(mode(&dir.path().join("backup")), 0o700);
        crate::engine::Engine::open(crate::engine::Options::new(&path)).unwrap().close().unwrap();
        for folder in ["journal", "lmdb"] {
            assert_eq!(mode(&path.join(folder)), 0o700, "{folder}");
            for file in fs::read_dir(path.join(folder)).unwrap() {
                let file = file.unwrap().path();
                assert_eq!(mode(&file), 0o600, "{}", file.display());
            }
        }
    }

    #[test]
    fn what_is_in_the_way_of_a_directory_is_named() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        symlink(at("file"), at("to-file")).unwrap();
        for (name, why) in [
            ("dangling", "nowhere, which does not exist"),
            ("dangling/data", "nowhere, which does not exist"),
            ("file", "file is no directory"),
            ("file/data", "file is no directory"),
            ("to-file", "to-file is no directory"),
        ] {
            for told in [claim(&at(name)).unwrap_err(), begin(&at(name)).unwrap_err()] {
                assert!(told.to_string().ends_with(why), "{name}: {told}");
            }
        }
        fs::create_dir(at("real")).unwrap();
        symlink(at("real"), at("link")).unwrap();
        claim(&at("link/data")).unwrap();
    }

    #[test]
    fn a_directory_is_outside_of_another_or_not() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("data/sub")).unwrap();
        fs::create_dir(at("other")).unwrap();
        symlink(at("data"), at("link")).unwrap();
        symlink(at("data/sub"), at("other/deep")).unwrap();
        symlink(at("other"), at("data/out")).unwrap();
        for inside in [
            "data",
            "data/.",
            "data/new",
            "data/new/er",
            "data/sub",
            "link",
            "link/new",
            "other/deep",
            "other/deep/new",
            "other/../data/new",
            "new/../data/new",
            "data/new/../newer",
            "data/out/deep/x",
            "other/deep/..",
        ] {
            let told = resolve_outside(&at(inside), &at("data"));
            assert!(matches!(told, Err(DirectoryError::Own(..))), "{inside}: {told:?}");
            assert!(resolve_outside(&at(inside), &at("link")).is_err(), "{inside}");
        }
        for outside in [
            "other",
            "new",
            "new/data",
            "data-2",
            "data/out",
            "data/out/new",
            "data/../new",
            "data/new/../../x",
            "",
        ] {
            assert!(resolve_outside(&at(outside), &at("data")).is_ok(), "{outside}");
        }
        let resolved = resolve_outside(&at("data/new/../../x/./y"), &at("data")).unwrap();
        assert_eq!(resolved, fs::canonicalize(dir.path()).unwrap().join("x/y"));
    }

    #[test]
    fn a_directory_is_claimed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let lock = claim(&path).unwrap();
        assert!(matches!(claim(&path), Err(DirectoryError::Locked(_))));
        fs::remove_file(path.join("lock")).unwrap();
        assert!(matches!(claim(&path), Err(DirectoryError::Locked(_))), "without the file");
        assert!(matches!(claim_existing(&path), Err(DirectoryError::Locked(_))), "without the file");
        drop(lock);
        claim(&path).unwrap();
    }

    #[test]
    fn somebody_elses_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        assert!(matches!(claim(dir.path()), Err(DirectoryError::Foreign(_))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was added");
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("larder"), format!("{MARK}7\n")).unwrap();
        assert!(matches!(claim(dir.path()), Err(DirectoryError::Newer(_, 7))));
    }
}
