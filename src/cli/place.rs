//! A data directory that is new: said clearly, because data that seems lost is mostly in another directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::is_data_directory;

/// How many other data directories are named, and how many places are looked at for them.
const NAMED_MAX: usize = 3;
const LOOKED_AT_MAX: usize = 1_000;
/// Where the unit of systemd keeps the data.
const OF_SERVICE: &str = "/var/lib/larder";

/// Logs that the server has made a data directory, and which others there are near it.
pub fn tell_new(dir: &Path) {
    let dir = absolute(dir);
    let others = data_directories_near(&dir);
    let shown = dir.display();
    if others.is_empty() {
        tracing::info!(dir = %shown, "this data directory is new and empty");
    } else {
        let others: Vec<_> = others.iter().map(|other| other.display().to_string()).collect();
        tracing::warn!(
            dir = %shown,
            others = others.join(" "),
            "this data directory is new and empty; there are others near it: if one of them is meant, start with --dir"
        );
    }
}

/// The whole path, for people: it stays as given if there is no working directory.
pub fn absolute(dir: &Path) -> PathBuf {
    let whole = fs::canonicalize(dir).or_else(|_| std::path::absolute(dir));
    whole.unwrap_or_else(|_| dir.to_owned())
}

/// Data directories at places where one may have been before: beside this one, in a folder beside it or above it under the
/// same name, and where a service keeps it.
fn data_directories_near(dir: &Path) -> Vec<PathBuf> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return Vec::new() };
    let beside = fs::read_dir(parent).into_iter().flatten().flatten().take(LOOKED_AT_MAX);
    let beside = beside.flat_map(|entry| [entry.path(), entry.path().join(name)]);
    let above = parent.ancestors().skip(1).map(|above| above.join(name));
    let places = beside.chain(above).chain([PathBuf::from(OF_SERVICE)]);
    let mut found: Vec<PathBuf> =
        places.filter(|place| place != dir && is_data_directory(place)).take(NAMED_MAX).collect();
    found.sort();
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_directory_and_another_working_directory_are_found() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        let make = |path: &str| {
            fs::create_dir_all(root.join(path)).unwrap();
            fs::write(root.join(path).join("larder"), "larder data directory, format 1\n").unwrap();
        };
        make("project/larder-data");
        fs::create_dir_all(root.join("project/sub/deep")).unwrap();
        fs::create_dir_all(root.join("other")).unwrap();
        for (new, others) in [
            ("project/larder-dta", &["project/larder-data"][..]),
            ("project/sub/larder-data", &["project/larder-data"]),
            ("project/sub/deep/larder-data", &["project/larder-data"]),
            ("larder-data", &["project/larder-data"]),
            ("other/larder-data", &[]),
            ("project/larder-data", &[]),
        ] {
            let found = data_directories_near(&root.join(new));
            let found: Vec<_> = found.iter().filter_map(|path| path.strip_prefix(&root).ok()).collect();
            assert_eq!(found, others.iter().map(Path::new).collect::<Vec<_>>(), "{new}");
        }
    }
}
