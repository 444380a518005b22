//! The sessions in the README and in docs are what a newcomer types, so they have to work as they are.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Reply, Server, installed, larder_with_http, redis_cli, run, run_with_input};

#[test]
fn the_session_with_redis_cli() {
    let session = code_block("console");
    hold(session.split_once('\n').unwrap().1);
}

#[test]
fn the_session_with_documents() {
    hold(&code_blocks("console")[1]);
}

#[test]
fn the_session_with_limits() {
    hold(&code_blocks_of("docs/LIMITS.md", "console")[0]);
}

#[test]
fn the_session_with_users() {
    hold(&code_blocks_of("docs/USERS.md", "console")[0]);
}

/// What is typed behind the prompt has to be answered with what stands below.
fn hold(session: &str) {
    let server = Server::larder(&[]);
    let (mut typed, mut shown) = (String::new(), String::new());
    for line in session.lines() {
        match line.split_once("> ").filter(|(prompt, _)| prompt.starts_with("127.0.0.1:6379")) {
            Some((_, command)) => typed += &format!("{command}\n"),
            None => shown += &format!("{line}\n"),
        }
    }
    let answered = run_with_input(redis_cli(&server).arg("--no-raw"), typed.as_bytes());
    let answered: Vec<&str> = answered.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(answered, shown.lines().collect::<Vec<_>>());
}

#[test]
fn the_session_with_python() {
    let server = Server::larder(&[]);
    let connect = format!("redis.Redis(port={}, ", server.port());
    let script = code_block("python").replace("redis.Redis(", &connect);
    let printed = run(Command::new(installed("venv/bin/python")).args(["-c", &script]));
    assert_eq!(printed, "{'name': 'Ada'}\nuser:1 3600\n");
}

#[test]
fn the_session_with_node() {
    let server = Server::larder(&[]);
    // beside the packages, where Node looks for them
    let path = installed("node").join(format!("readme-{}.mjs", server.port()));
    fs::write(&path, code_block("js").replace("redis://127.0.0.1:6379", &server.url())).unwrap();
    let printed = run(Command::new("node").arg(&path));
    fs::remove_file(&path).unwrap();
    assert_eq!(printed, "{ name: 'Ada' }\n[ 'user:1' ]\n");
}

/// Runs commands of a document in a shell, against this server. Gives what they print.
fn run_in_shell(commands: &str, server: &Server, http_port: u16) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let commands = commands
        .replace("redis-cli ", &format!("redis-cli -p {} ", server.port()))
        .replace("8379", &http_port.to_string())
        .replace("curl ", "curl --silent --show-error --fail-with-body ");
    run(Command::new("sh").args(["-euc", &commands]).env("PATH", path))
}

/// Runs a script of a document in Node, beside the packages and beside the examples. Gives what it prints.
fn run_in_node(script: &str, server: &Server, http_port: u16) -> String {
    let folder = installed("node").join(format!("document-{}", server.port()));
    fs::create_dir(&folder).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node/data-store.mjs");
    fs::copy(example, folder.join("data-store.mjs")).unwrap();
    let script = script
        .replace("redis://127.0.0.1:6379", &server.url())
        .replace("127.0.0.1:8379", &format!("127.0.0.1:{http_port}"));
    fs::write(folder.join("script.mjs"), script).unwrap();
    let printed = run(Command::new("node").arg(folder.join("script.mjs")));
    fs::remove_dir_all(&folder).unwrap();
    printed
}

#[test]
fn who_comes_from_upstash_finds_what_works() {
    let page = "docs/COMING_FROM_UPSTASH.md";
    let (server, http_port) = larder_with_http(&[]);
    let (shell, node) = (code_blocks_of(page, "sh"), code_blocks_of(page, "js"));
    assert_eq!((shell.len(), node.len()), (2, 1));
    assert_eq!(run_in_shell(&shell[0], &server, http_port), "OK\nOK\n");
    assert_eq!(run_in_node(&node[0], &server, http_port), "{ hello: 'world' }\n[ 1, 2 ]\n");
    let answered = run_in_shell(&shell[1], &server, http_port);
    assert_eq!(answered.replace('\n', ""), r#"{"result":"OK"}{"result":"blue"}"#);
}

#[test]
fn who_comes_from_pipedream_finds_what_works() {
    let page = "docs/COMING_FROM_PIPEDREAM.md";
    let (server, http_port) = larder_with_http(&[]);
    let (shell, node) = (code_blocks_of(page, "sh"), code_blocks_of(page, "js"));
    assert_eq!((shell.len(), node.len()), (1, 2));
    let printed = run_in_node(&node[0], &server, http_port);
    assert_eq!(printed, "{ total: 12.5, lines: [] } true 2\n4711 { total: 12.5, lines: [] }\ntoken abc\n");
    assert!(run_in_shell(&shell[0], &server, http_port).ends_with(r#"{"name": "Ada"}"#));
    // a Map of asynchronous entries is what a workflow has
    let moved = format!(
        "{}\nconst data = (async function* () {{ yield* [['a', 1], ['b', {{ c: [2] }}]]; }})();\n\
         console.log((await send(data, 'http://127.0.0.1:8379/api/v1/stores/customers')).put);\n",
        node[1]
    );
    assert_eq!(run_in_node(&moved, &server, http_port), "2\n");
    let mut connection = server.connect();
    connection.ask("SELECT customers");
    assert_eq!(connection.ask("GET b").to_string(), Reply::bulk(r#"{"c":[2]}"#).to_string());
}

/// The documents of the repository, by their paths in it.
fn documents() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let is_document = |name: &String| name.ends_with(".md") || name == "llms.txt";
        names.into_iter().filter(is_document).map(|name| format!("{folder}{name}")).collect::<Vec<_>>()
    };
    [names(""), names("docs/")].concat()
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(root.join(&document)).unwrap();
        let links =
            text.split("](").skip(1).filter_map(|behind| behind.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root.join(&document),
                file => root.join(&document).with_file_name("").join(file),
            };
            let is_there = target.exists()
                && (heading.is_empty() || headings_of(&target).iter().any(|known| known == heading));
            if !is_there {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The headings of a document, as links name them.
fn headings_of(document: &Path) -> Vec<String> {
    let text = fs::read_to_string(document).unwrap();
    let titles =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let as_link = |title: &str| {
        let kept = title
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    titles.map(as_link).collect()
}

#[test]
fn the_list_for_programs_has_every_page_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(root.join("docs/llms.txt")).unwrap();
    assert!(list.starts_with("# Larder\n\n> "));
    for page in
        documents().iter().filter_map(|path| path.strip_prefix("docs/")).filter(|name| *name != "llms.txt")
    {
        assert_eq!(list.matches(&format!("]({page}): ")).count(), 1, "{page}");
    }
}

/// The README's first block of code in a language.
fn code_block(language: &str) -> String {
    code_blocks(language).swap_remove(0)
}

/// All of the README's blocks of code in a language.
fn code_blocks(language: &str) -> Vec<String> {
    code_blocks_of("README.md", language)
}

fn code_blocks_of(document: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|text| text.split_once("```").expect("an end").0.to_owned()).collect()
}
