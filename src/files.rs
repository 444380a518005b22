//! Files that are written as a whole or not at all, whatever happens meanwhile.
//!
//! The journal goes through a disk of its own (`engine::journal::disk`), which tests can cut the power of.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces the contents of a file durably, as a whole or not at all. An existing file keeps its permissions, and a
/// symbolic link stays one; only its owner may read a new file.
///
/// A file that is a mount point of its own, as in containers, can't be replaced, only overwritten. Then a power cut may
/// leave a part of the contents.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace_by(path, contents, |from, to| fs::rename(from, to))
}

fn replace_by(
    path: &Path,
    contents: &[u8],
    rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        path => path?,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp-{}", std::process::id()));
    let beside = path.with_file_name(name);
    let outcome = match write(&beside, &path, contents).and_then(|()| rename(&beside, &path)) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => write_in_place(&path, contents),
        outcome => outcome,
    };
    // after a rename there is nothing to remove; before it, the temporary file is useless
    let _ = fs::remove_file(&beside);
    outcome?;
    sync_folder(folder_of(&path))
}

/// Gives a new file or folder, which is complete, its name. After a power cut, all of it is there or nothing.
pub fn publish(unfinished: &Path, path: &Path) -> io::Result<()> {
    File::open(unfinished)?.sync_all()?;
    fs::rename(unfinished, path)?;
    sync_folder(folder_of(path))
}

/// Makes durable what was created, renamed or removed in a folder.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that a path is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write(beside: &Path, path: &Path, contents: &[u8]) -> io::Result<()> {
    // it may hold passwords, so nobody else may read it, not even while it is new
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    if let Ok(current) = fs::metadata(path) {
        file.set_permissions(current.permissions())?;
    }
    file.write_all(contents)?;
    file.sync_all()
}

fn write_in_place(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_link_stays_one_and_permissions_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        replace(&file, b"1").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        replace(&link, b"2").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"2");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(dir.path()), ["file", "link"]);
    }

    #[test]
    fn what_can_not_be_replaced_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mounted");
        fs::write(&file, b"longer than what comes").unwrap();
        let is_mounted = |_: &Path, _: &Path| Err(io::ErrorKind::ResourceBusy.into());
        replace_by(&file, b"new", is_mounted).unwrap();
        assert_eq!(
            (fs::read(&file).unwrap().as_slice(), names(dir.path())),
            (&b"new"[..], vec!["mounted".into()])
        );
        let fails = |_: &Path, _: &Path| Err(io::ErrorKind::PermissionDenied.into());
        assert!(replace_by(&file, b"newer", fails).is_err());
        assert_eq!(
            (fs::read(&file).unwrap().as_slice(), names(dir.path())),
            (&b"new"[..], vec!["mounted".into()])
        );
    }
}
