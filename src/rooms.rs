//! Imports go down: outside of tests, a file or folder uses only those that stand below it.

use std::fs;
use std::path::Path;

/// The rooms of a folder from top to bottom. `mod` is what the folder itself exports.
const ORDERS: [(&str, &str); 4] = [
    (
        "crate",
        "cli net http listen tls command push script client config telemetry resp error acl document archive engine store rdb \
         record sync limits files text random",
    ),
    (
        "crate::archive",
        "check restore upload keep snapshot mod attach objects body status stop time store protocol format",
    ),
    (
        "crate::command",
        "dispatch reference acl clients json pubsub scripting server stores strings keys transaction mod base",
    ),
    (
        "crate::engine",
        "mod backup recovery eviction expiry checkpoint scan transaction limits core state memtable heat events effect error \
         directory journal lmdb clock",
    ),
];

/// Not part of the server, or above everything.
const OUTSIDE: [&str; 6] = ["build", "generated", "lib", "main", "model", "rooms"];

#[test]
fn imports_go_down() {
    let mut found = Vec::new();
    for (folder, order) in ORDERS {
        let order: Vec<&str> = order.split(' ').collect();
        let root = folder.replacen("crate", "src", 1).replace("::", "/");
        for (path, text) in sources(&root) {
            let mut names: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
            names.pop_if(|name| *name == "mod");
            let Some(room) = names.first() else { continue };
            if OUTSIDE.contains(room) || names.iter().any(|name| name.ends_with("tests")) {
                continue;
            }
            let Some(at) = order.iter().position(|other| other == room) else {
                found.push(format!("{folder}::{room} has no place in the order"));
                continue;
            };
            let prefixes = [format!("{folder}::"), "super::".repeat(names.len())];
            let code = text.split("tests {\n").next().unwrap_or_default();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let mut used = prefixes.iter().flat_map(|prefix| line.split(prefix).skip(1)).map(first_room);
                let is_above = |used| order[at..].iter().all(|below| *below != used) && used != "tests";
                if used.any(is_above) {
                    found.push(format!("{root}/{path}: {}", line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The room that a path begins with; `mod` if it begins with another name.
fn first_room(path: &str) -> &str {
    let end = path.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(path.len());
    if end == 0 { "mod" } else { &path[..end] }
}

/// The files of Rust below a folder of the repository, with their paths in it.
pub fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).unwrap().display().to_string();
                sources.push((inside, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources
}
