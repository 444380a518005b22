//! Real input: the records of Debian's `iso-codes` (countries, regions, languages, currencies, scripts) go into stores
//! by three clients, through a restart, and come back byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::value::RawValue;
use tempfile::TempDir;

use support::{Kind, Reply, Server, node_script, python_script, redis_cli, request, run, run_with_input};

/// The files, and the member that names an entry.
const FILES: [(&str, &str); 8] = [
    ("iso_15924", "alpha_4"),
    ("iso_3166-1", "alpha_2"),
    ("iso_3166-2", "code"),
    ("iso_3166-3", "alpha_4"),
    ("iso_4217", "alpha_3"),
    ("iso_639-2", "alpha_3"),
    ("iso_639-3", "alpha_3"),
    ("iso_639-5", "alpha_3"),
];

/// Key to JSON text, as it stands in the file.
type Records = BTreeMap<String, String>;

#[test]
fn larder() {
    let server = Server::larder(&[]);
    let mut connection = server.connect();
    let stores = ["by-redis-cli", "by-redis-py", "by-node-redis"];
    for store in stores {
        assert_eq!(connection.call(&["STORE", "CREATE", store]), Reply::ok());
    }
    load_and_check(server, [16, 17, 18]);
}

#[test]
fn redis() {
    load_and_check(Server::redis(&["--appendonly", "yes"]), [1, 2, 3]);
}

fn load_and_check(mut server: Server, stores: [usize; 3]) {
    let records = iso_codes();
    assert!(records.len() > 10_000, "iso-codes has only {} records", records.len());
    let folder = TempDir::new().unwrap();
    let file = write_lines(&records, folder.path());
    let file = file.to_str().unwrap();
    let [by_cli, by_python, by_node] = stores.map(|store| store.to_string());

    pipe(&records, &by_cli, &server);
    println!("{}", run(python_script("records.py", &server).args(["load", file, &by_python])));
    println!("{}", run(node_script("records.mjs", &server).args(["load", file, &by_node])));

    server.restart();

    // each reads what another has written
    println!("{}", run(python_script("records.py", &server).args(["check", file, &by_node])));
    println!("{}", run(node_script("records.mjs", &server).args(["check", file, &by_cli])));
    check_by_hand(&records, &by_python, &server);

    list_by_prefix(&records, &by_cli, &server);
    some_expire(&records, &by_cli, &server);
    if server.kind() == Kind::Larder {
        tell_the_compression(&server);
    }
}

/// All records of the files, whose text keeps its own spaces and escapes.
fn iso_codes() -> Records {
    let mut records = Records::new();
    for (name, member) in FILES {
        let path = Path::new("/usr/share/iso-codes/json").join(name).with_extension("json");
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; tests/run installs it", path.display()));
        let lists: BTreeMap<String, Vec<Box<RawValue>>> = serde_json::from_str(&text).unwrap();
        for record in lists.into_values().flatten() {
            let fields: BTreeMap<&str, serde_json::Value> = serde_json::from_str(record.get()).unwrap();
            let id = fields[member].as_str().unwrap();
            records.insert(format!("{name}:{id}"), record.get().to_string());
        }
    }
    records
}

fn write_lines(records: &Records, folder: &Path) -> PathBuf {
    let lines: Vec<String> = records
        .iter()
        .map(|(key, value)| serde_json::json!({"key": key, "value": value}).to_string())
        .collect();
    let path = folder.join("records");
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn pipe(records: &Records, store: &str, server: &Server) {
    let mut input = request(&["SELECT", store]);
    for (key, value) in records {
        input.extend(request(&["SET", key, value]));
    }
    let printed = run_with_input(redis_cli(server).arg("--pipe"), &input);
    let expected = format!("errors: 0, replies: {}", records.len() + 1);
    assert!(printed.contains(&expected), "{printed}");
}

fn check_by_hand(records: &Records, store: &str, server: &Server) {
    let mut connection = server.connect();
    assert_eq!(connection.call(&["SELECT", store]), Reply::ok());
    let keys: Vec<&str> = records.keys().map(String::as_str).collect();
    for page in keys.chunks(1000) {
        let mut mget = vec!["MGET"];
        mget.extend(page);
        let values = connection.call(&mget);
        for (key, value) in page.iter().zip(values.elements()) {
            assert_eq!(value.text(), records[*key], "{key}");
        }
    }
}

fn list_by_prefix(records: &Records, store: &str, server: &Server) {
    let mut connection = server.connect();
    assert_eq!(connection.call(&["SELECT", store]), Reply::ok());
    for (name, _) in FILES {
        let prefix = format!("{name}:");
        let pattern = format!("{prefix}*");
        let expected: BTreeSet<&str> =
            records.keys().map(String::as_str).filter(|key| key.starts_with(&prefix)).collect();
        let printed = run(redis_cli(server).args(["-n", store, "--scan", "--pattern", &pattern]));
        assert_eq!(printed.lines().collect::<BTreeSet<_>>(), expected);

        let listed = connection.call(&["KEYS", &pattern]);
        if server.kind() == Kind::Larder && expected.len() > 1024 {
            assert!(listed.is_error("TOOMANYKEYS 426"), "KEYS {pattern} gave {listed}");
        } else {
            let listed: BTreeSet<String> = listed.elements().iter().map(Reply::text).collect();
            assert_eq!(listed.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
        }
    }
}

fn some_expire(records: &Records, store: &str, server: &Server) {
    let mut connection = server.connect();
    assert_eq!(connection.call(&["SELECT", store]), Reply::ok());
    let short_lived = |key: &str| key.starts_with("iso_3166-2:");
    for key in records.keys().filter(|key| short_lived(key)) {
        assert_eq!(connection.call(&["PEXPIRE", key, "1"]), Reply::Integer(1));
    }
    thread::sleep(Duration::from_millis(5));
    for key in records.keys() {
        let exists = connection.call(&["EXISTS", key]).integer() == 1;
        assert_eq!(exists, !short_lived(key), "{key}");
    }
    let left = records.keys().filter(|key| !short_lived(key)).count();
    assert_eq!(connection.ask("DBSIZE").integer(), i64::try_from(left).unwrap());
}

fn tell_the_compression(server: &Server) {
    let mut connection = server.connect();
    for store in ["by-redis-cli", "by-redis-py", "by-node-redis"] {
        let info = connection.call(&["STORE", "INFO", store]);
        assert!(!matches!(info, Reply::Error(_)), "{info}");
        println!("STORE INFO {store}: {info}");
    }
}
