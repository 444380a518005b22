//! A part of a document against the whole of it: `cargo bench --profile dist --bench documents`.
//!
//! Documents of 1 KB, 10 KB and 1 MB, on a Larder at `everysec`; the load is `redis-benchmark` with 50 clients, medians of
//! three rounds. The parts that are read and changed stand at the end of their documents, where they are found last.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 3;
const LOADS: [(&str, &[&str]); 6] = [
    ("GET of the whole", &["GET", KEY]),
    ("JSON.GET of one field", &["JSON.GET", KEY, "$.stats.count"]),
    ("SET of the whole", &["SET", KEY]),
    ("JSON.SET of one field", &["JSON.SET", KEY, "$.stats.note", "\"changed\""]),
    ("JSON.NUMINCRBY", &["JSON.NUMINCRBY", KEY, "$.stats.count", "1"]),
    ("JSON.ARRAPPEND", &["JSON.ARRAPPEND", KEY, "$.log", "1"]),
];
const KEY: &str = "doc:__rand_int__";

fn main() {
    println!(
        "everysec, 50 clients, requests per second, profile {}\n\n| load | 1 KB | 10 KB | 1 MB |\n|---|---|---|---|",
        env!("CARGO_BIN_EXE_larder").rsplit('/').nth(1).unwrap_or("?")
    );
    let sizes = [(1 << 10, 1_000, 100_000), (10 << 10, 1_000, 50_000), (1 << 20, 20, 1_000)];
    let columns: Vec<Vec<f64>> =
        sizes.map(|(bytes, documents, requests)| measure(bytes, documents, requests)).into();
    for (row, (name, _)) in LOADS.iter().enumerate() {
        let cells: Vec<String> = columns.iter().map(|column| format!("{:.0}", column[row])).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// Requests per second of each load, on so many documents of a size.
fn measure(bytes: usize, documents: usize, requests: usize) -> Vec<f64> {
    let server = Server::start();
    let text = document(bytes);
    for index in 0..documents {
        server.call(&["SET", &format!("doc:{index:012}"), &text]);
    }
    LOADS
        .iter()
        .map(|(_, words)| {
            let mut rounds: Vec<f64> =
                (0..ROUNDS).map(|_| server.benchmark(documents, requests, words, &text)).collect();
            rounds.sort_by(f64::total_cmp);
            rounds[ROUNDS / 2]
        })
        .collect()
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

struct Server {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Server {
    fn start() -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-documents-{port}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg("--dir").arg(&folder).args([
            "--port",
            &port.to_string(),
            "--appendfsync",
            "everysec",
            "--http-port",
            "0",
        ]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("larder");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        Server { process, port, folder }
    }

    fn call(&self, words: &[&str]) {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+OK\r\n");
    }

    /// A command without its last word gets the text as that, by way of standard input.
    fn benchmark(&self, keys: usize, requests: usize, words: &[&str], text: &str) -> f64 {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &self.port.to_string(), "-c", "50", "-q"]);
        command.args(["-n", &requests.to_string(), "-r", &keys.to_string()]);
        let takes_text = words[0] == "SET";
        if takes_text {
            command.arg("-x");
        }
        let mut process = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = process.stdin.take().unwrap();
        if takes_text {
            stdin.write_all(text.as_bytes()).unwrap();
        }
        drop(stdin);
        let printed =
            String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap().replace('\r', "\n");
        assert!(!printed.contains("rror"), "{words:?}: {printed}");
        let line = printed.lines().rev().find(|line| line.contains("requests per second")).expect("a result");
        let before = line.split(" requests per second").next().unwrap();
        before.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
