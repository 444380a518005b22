//! A part of a document beside the whole of it.

use std::path::Path;

use fastrand::Rng;

use super::{Group, Load, Subject, describe, key};
use crate::client::{Crew, Span, push_request, run};
use crate::results::Figures;
use crate::server::{Program, Server, Setup};

/// Names of the loads, and their requests, of which the key is left out. A SET without a value gets the whole document. The
/// parts that are read and changed are at the end of their documents, where they are found last.
const REQUESTS: [(&str, &str, &[&[u8]]); 6] = [
    ("get", "GET of the whole", &[b"GET"]),
    ("json-get", "JSON.GET of one field", &[b"JSON.GET", b"$.stats.count"]),
    ("set", "SET of the whole", &[b"SET"]),
    ("json-set", "JSON.SET of one field", &[b"JSON.SET", b"$.stats.note", b"\"changed\""]),
    ("json-numincrby", "JSON.NUMINCRBY", &[b"JSON.NUMINCRBY", b"$.stats.count", b"1"]),
    ("json-arrappend", "JSON.ARRAPPEND", &[b"JSON.ARRAPPEND", b"$.log", b"1"]),
];

pub fn loads() -> Vec<Load> {
    let mut loads = Vec::new();
    for (size, bytes, documents) in
        [("1 KB", 1 << 10, 1_000), ("10 KB", 10 << 10, 1_000), ("1 MB", 1 << 20, 20)]
    {
        for (name, title, words) in REQUESTS {
            let name = format!("documents-{}-{name}", size.replace(' ', "").to_lowercase());
            let measure =
                move |program: &Program, folder: &Path| measure(program, folder, bytes, documents, words);
            loads.push(
                Load::new(Group::Documents, name, format!("{size}, {title}"), measure)
                    .of(Subject::LarderServers),
            );
        }
    }
    loads
}

fn measure(
    program: &Program,
    folder: &Path,
    bytes: usize,
    documents: usize,
    words: &[&[u8]],
) -> Result<Figures, String> {
    let server = Server::start(program, &Setup::with_fsync("everysec"), folder)?;
    let text = document(bytes).into_bytes();
    super::write_in_order(&server, documents, |at| (key(at).to_vec(), text.clone()))?;
    let request = |random: &mut Rng, bytes: &mut Vec<u8>| {
        let key = key(random.usize(..documents));
        let mut all = vec![words[0], &key];
        all.extend(&words[1..]);
        if words[0] == b"SET" {
            all.push(&text);
        }
        push_request(bytes, &all);
        true
    };
    let crew = Crew { connections: 50, threads: 1, pipeline: 1, rate: None, request: &request };
    let observed = run(&server, &[crew], Span::SHORT)?;
    let mut figures = Figures::new();
    describe(&mut figures, "", &observed.crews[0], observed.seconds);
    Ok(figures)
}

/// A document of about so many bytes.
fn document(bytes: usize) -> String {
    let mut items = Vec::new();
    let mut length = 0;
    while length < bytes.saturating_sub(120) {
        let index = items.len();
        let item = format!(
            r#"{{"sku":"item-{index}","count":{},"note":"some words of text","tags":["a","b"]}}"#,
            index * 7
        );
        length += item.len() + 1;
        items.push(item);
    }
    format!(r#"{{"id":17,"items":[{}],"stats":{{"count":0,"note":"new"}},"log":[]}}"#, items.join(","))
}
