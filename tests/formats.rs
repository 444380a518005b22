//! The upgrade promise: a server opens the data of every format that a version before it has written. `tests/formats` holds
//! such directories, each as a killed server of its time left it, and what that server itself answered (`make` says how).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Connection, Reply, Server, larder, run};
use tempfile::TempDir;

/// The kept directories, by the formats in their names: tables, then journal.
fn kept() -> BTreeMap<(u32, u32), PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let formats = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".tar.gz")?;
        let (tables, journal) = name.strip_prefix("tables-")?.split_once("-journal-")?;
        Some((tables.parse().ok()?, journal.parse().ok()?))
    };
    paths.filter_map(|path| Some((formats(&path)?, path))).collect()
}

/// A stopped server on a copy of a kept directory, and the folder of what is expected of it.
fn server_on(archive: &Path, folder: &TempDir) -> (Server, PathBuf) {
    let mut server = Server::larder(&[]);
    server.stop();
    fs::remove_dir_all(server.data_folder()).unwrap();
    run(Command::new("tar")
        .arg("--extract")
        .arg("--file")
        .arg(archive)
        .arg("--directory")
        .arg(folder.path()));
    run(Command::new("mv").arg(folder.path().join("data")).arg(server.data_folder()));
    (server, folder.path().join("expected"))
}

fn files(folder: &Path, extension: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|known| known == extension))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Compares each store, byte for byte, and the libraries.
fn compare(server: &Server, expected: &Path, of: &Path) {
    let stores = files(expected, "csv");
    assert_eq!(stores.len(), 9, "{of:?}");
    for (store, records) in stores {
        let mut export = larder();
        export.args(["export", "--url", &server.url(), "--store", &store, "--format", "csv"]);
        let output = export.output().unwrap();
        assert!(output.status.success(), "{of:?}: {store}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == records, "{of:?}: the records of store '{store}' differ");
    }
    let mut connection = server.connect();
    let listed = connection.ask("FUNCTION LIST WITHCODE").to_string();
    let libraries = files(expected, "lua");
    assert_eq!(listed.matches("library_code").count(), libraries.len(), "{of:?}");
    for (library, _) in libraries {
        let answer = if library == "kept" { 1 } else { 2 };
        assert_eq!(connection.ask(&format!("FCALL {library}_one 0")), Reply::Integer(answer), "{of:?}");
    }
    connection.ask("SELECT orders");
    assert_eq!(connection.ask("PEXPIRETIME 7").integer(), 4_102_444_800_007, "{of:?}");
    assert!(
        connection.ask("STORE INFO orders").to_string().contains("100000"),
        "{of:?}: the limits are kept"
    );
}

/// Changes that a comparison doesn't see: in a store of their own.
fn write(connection: &mut Connection, round: u32) {
    connection.ask("STORE CREATE after");
    connection.ask("SELECT after");
    for at in 0..100 {
        let value = format!("{{\"round\": {round}, \"at\": {at}}}");
        assert_eq!(connection.call(&["SET", &format!("n:{at}"), &value]), Reply::ok());
    }
}

fn compare_written(connection: &mut Connection, round: u32) {
    connection.ask("SELECT after");
    assert_eq!(connection.ask("DBSIZE").integer(), 100);
    let expected = Reply::bulk(&*format!("{{\"round\": {round}, \"at\": 99}}"));
    assert_eq!(connection.ask("GET n:99"), expected);
}

#[test]
fn every_format_is_read_byte_for_byte_written_and_read_again() {
    for path in kept().values() {
        let folder = TempDir::new().unwrap();
        let (mut server, expected) = server_on(path, &folder);
        server.start();
        compare(&server, &expected, path);
        write(&mut server.connect(), 1);
        server.kill_hard();
        server.start();
        compare(&server, &expected, path);
        compare_written(&mut server.connect(), 1);
        write(&mut server.connect(), 2);
        server.restart();
        compare(&server, &expected, path);
        compare_written(&mut server.connect(), 2);
        server.stop();
        let (is_sound, said) = server.check();
        assert!(is_sound, "{path:?}: {said}");
    }
}

/// Whoever changes a format keeps a directory of the one before, and one of the new: `tests/formats/make`.
#[test]
fn there_is_a_directory_of_every_format() {
    let said = run(larder().arg("--version"));
    let number = |what: &str| {
        let behind = said.split_once(&format!("{what} ")).expect(what).1;
        behind.split([',', '\n']).next().unwrap().parse::<u32>().unwrap()
    };
    let (tables, journal) = (number("tables"), number("journal"));
    let kept = kept();
    for format in 1..=tables {
        assert!(kept.keys().any(|(known, _)| *known == format), "none with tables of format {format}");
    }
    for format in 1..=journal {
        assert!(kept.keys().any(|(_, known)| *known == format), "none with a journal of format {format}");
    }
    assert!(kept.contains_key(&(tables, journal)), "none of this version");
}

/// All bytes of a directory's files, by their paths in it. The server's lock is not data.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut content = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => content.append(&mut self::content(&path)),
            false if path.ends_with("lock") || path.ends_with("lock.mdb") => {}
            false => _ = content.insert(path.clone(), fs::read(&path).unwrap()),
        }
    }
    content
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_changed() {
    let kept = kept();
    let ((tables, _), newest) = kept.last_key_value().unwrap();
    let of_mark = |data: &Path| fs::write(data.join("larder"), "larder data directory, format 2\n").unwrap();
    let of_tables = |data: &Path| {
        let path = data.join("lmdb/data.mdb");
        let mut bytes = fs::read(&path).unwrap();
        let row = [b"format".as_slice(), &tables.to_be_bytes()].concat();
        let places: Vec<_> =
            (0..bytes.len() - row.len()).filter(|at| bytes[*at..].starts_with(&row)).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at + 6..at + 10].copy_from_slice(&(tables + 1).to_be_bytes());
        }
        fs::write(path, bytes).unwrap();
    };
    let newer_tables =
        format!("has format {}, and this version knows only formats up to {tables}", tables + 1);
    type Case<'a> = (&'a dyn Fn(&Path), &'a str);
    let cases: [Case<'_>; 2] =
        [(&of_mark, "has format 2, and this version knows only format 1"), (&of_tables, &newer_tables)];
    for (change, why) in cases {
        let folder = TempDir::new().unwrap();
        let (mut server, _) = server_on(newest, &folder);
        change(&server.data_folder());
        let before = content(&server.data_folder());
        let said = server.start_in_vain();
        assert!(said.contains(why) && said.contains("use a newer larder"), "{said}");
        assert!(content(&server.data_folder()) == before, "{why}: files were changed");
    }
}
