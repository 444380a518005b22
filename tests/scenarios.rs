//! Conversations of `tests/scenarios/*.txt`, held with Larder and with the reference: both have to answer alike.
//!
//! `cargo test --test scenarios ::redis` checks the files themselves, against the reference only. The language of the
//! files is described in `tests/support/script.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use support::script::{self, Action, Section, Settings, Step, Variables};
use support::{Connection, Kind, Reply, Server, now_ms};

/// A test for each file and server that it is for, and the list of the files.
macro_rules! scenarios {
    (both: $($both:ident),+; larder only: $($alone:ident),+) => {
        const FILES: &[&str] = &[$(stringify!($both),)+ $(stringify!($alone)),+];

        $(mod $both {
            #[test]
            fn larder() {
                super::hold(stringify!($both), super::Kind::Larder);
            }

            #[test]
            fn redis() {
                super::hold(stringify!($both), super::Kind::Redis);
            }
        })+

        $(mod $alone {
            #[test]
            fn larder() {
                super::hold(stringify!($alone), super::Kind::Larder);
            }
        })+
    };
}

scenarios! {
    both: acl, authentication, conditions, connection, errors, expiry, functions, increx, keys, monitor, notifications,
        pubsub, scripting, server, strings, tracking, transactions;
    larder only: absent, json_documented, json_replies, json_values, limits,
        redisinsight, stores
}

#[test]
fn every_file_is_listed() {
    let listed: BTreeSet<PathBuf> = FILES.iter().map(|name| path_of(name)).collect();
    let present: BTreeSet<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    assert_eq!(listed, present);
}

#[test]
fn the_notation_tells_replies_apart() {
    let matches = |pattern: &str, reply: &Reply, protocol| {
        script::parse_pattern(pattern).matches(reply, protocol, &mut Variables::new())
    };
    let list = Reply::Array(vec![Reply::bulk("a"), Reply::Integer(5), Reply::NullBulk]);
    assert!(matches(r#"["a" :5 nil]"#, &list, 2));
    assert!(matches(r#"[~"*" :1..9 ?]"#, &list, 2));
    assert!(matches(r#"any-order[:5 nil "a"]"#, &list, 2));
    assert!(matches(r#"set["a" ...]"#, &list, 2));
    for wrong in [
        r#"["a" :5 nil]"#,
        r#"["a" :5 nil-array]"#,
        r#"["a" :6 nil]"#,
        r#"["b" :5 nil]"#,
        r#"["a" :5]"#,
        r#"["a" :5 nil ?]"#,
        r#"[:5 "a" nil]"#,
        "+a",
    ] {
        // the first is right in RESP2, where a null bulk string is a null
        let protocol = if wrong == r#"["a" :5 nil]"# { 3 } else { 2 };
        assert!(!matches(wrong, &list, protocol), "{wrong}");
    }
    assert!(matches(",1.5", &Reply::Double(b"1.5".to_vec()), 3));
    assert!(matches(",1.5", &Reply::bulk("1.5"), 2));
    assert!(!matches(",1.5", &Reply::bulk("1.5"), 3));
    assert!(matches("~-ERR * limit", &Reply::Error(b"ERR a limit".to_vec()), 2));
    assert!(!matches("-ERR a", &Reply::Error(b"ERR a limit".to_vec()), 2));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn path_of(name: &str) -> PathBuf {
    folder().join(name).with_extension("txt")
}

/// Holds all conversations of a file with one kind of server, and reports every section that went wrong.
fn hold(name: &str, kind: Kind) {
    let (settings, sections) = script::parse_file(&path_of(name));
    let mut stage = Stage::new(kind, settings);
    let (taken, left_out): (Vec<_>, Vec<_>) = sections.iter().partition(|section| stage.knows(section));
    for section in left_out {
        println!("the reference does not know this: {}", section.title);
    }
    let mut wrong = Vec::new();
    for section in taken {
        for &protocol in &section.settings.protocols {
            if let Err(what) = stage.play(section, protocol) {
                wrong.push(format!(
                    "{}\n{what}\n  {kind:?}, RESP{protocol}, tests/scenarios/{name}.txt",
                    section.title
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} went wrong:\n\n{}\n", wrong.len(), wrong.join("\n\n"));
}

/// A server for the sections of one file.
struct Stage {
    kind: Kind,
    version: (u32, u32),
    server: Option<Server>,
    /// Those of the running server.
    settings: Settings,
}

impl Stage {
    fn new(kind: Kind, settings: Settings) -> Stage {
        Stage {
            kind,
            version: match kind {
                Kind::Larder => (u32::MAX, u32::MAX),
                Kind::Redis => reference_version(),
            },
            server: None,
            settings,
        }
    }

    fn knows(&self, section: &Section) -> bool {
        let settings = &section.settings;
        match self.kind {
            Kind::Larder => settings.against_larder,
            _ => settings.against_reference && settings.since <= self.version,
        }
    }

    fn play(&mut self, section: &Section, protocol: u8) -> Result<(), String> {
        let reference = (self.kind == Kind::Redis).then_some(self.version);
        let server = self.server_for(&section.settings);
        let now_ms = now_ms();
        let mut conversation = Conversation {
            server,
            reference,
            protocol,
            connections: HashMap::new(),
            spoke_last: String::new(),
            said_last: String::new(),
            variables: Variables::from([
                ("seconds".to_string(), (now_ms / 1000).to_string()),
                ("millis".to_string(), now_ms.to_string()),
                ("port".to_string(), server.port().to_string()),
                ("space".to_string(), " ".to_string()),
            ]),
        };
        section.steps.iter().try_for_each(|step| conversation.take(step))
    }

    /// An empty server with these settings: the running one, if it has them.
    fn server_for(&mut self, settings: &Settings) -> &Server {
        let same = self.settings.flags == settings.flags && self.settings.any_values == settings.any_values;
        if settings.fresh || !same {
            self.server = None;
        }
        self.settings = settings.clone();
        let server = self.server.get_or_insert_with(|| {
            let mut flags: Vec<&str> = settings.flags.iter().map(String::as_str).collect();
            if self.kind == Kind::Larder && settings.any_values {
                flags.extend(["--default-values", "any"]);
            }
            Server::of_kind(self.kind, &flags)
        });
        let mut administrator = server.connect();
        if let Some(at) = settings.flags.iter().position(|flag| flag == "--requirepass") {
            administrator.call(&["AUTH", &settings.flags[at + 1]]);
        }
        assert_eq!(administrator.ask("FLUSHALL"), Reply::ok());
        server
    }
}

/// The connections of one section.
struct Conversation<'a> {
    server: &'a Server,
    /// The version of the reference, if it is asked.
    reference: Option<(u32, u32)>,
    protocol: u8,
    connections: HashMap<String, Connection>,
    spoke_last: String,
    said_last: String,
    variables: Variables,
}

impl Conversation<'_> {
    fn take(&mut self, step: &Step) -> Result<(), String> {
        match &step.action {
            Action::Wait { milliseconds } => {
                thread::sleep(Duration::from_millis(*milliseconds));
                Ok(())
            }
            Action::Send { connection, text } => {
                self.spoke_last.clone_from(connection);
                self.said_last.clone_from(text);
                let arguments = script::arguments(&script::substitute(text, &self.variables));
                self.connection(connection).send(&support::request(&arguments));
                Ok(())
            }
            Action::Expect { connection, text, instead } => {
                let text = script::expected(text, instead, self.reference);
                let name = connection.clone().unwrap_or_else(|| self.spoke_last.clone());
                self.expect(&name, text).map_err(|received| {
                    format!(
                        "  line {}: > {}\n  expected {text}\n  received {received}",
                        step.line, self.said_last
                    )
                })
            }
        }
    }

    /// Gives what was received instead.
    fn expect(&mut self, connection: &str, text: &str) -> Result<(), String> {
        let protocol = self.protocol;
        let text = script::substitute(text, &self.variables);
        let received = self.connection(connection).try_read();
        if text == "closed" {
            return match received {
                Ok(reply) => Err(reply.to_string()),
                Err(error) if is_close(&error) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
        }
        let reply = received.map_err(|error| error.to_string())?;
        let expected = script::parse_pattern(&text);
        if expected.matches(&reply, protocol, &mut self.variables) { Ok(()) } else { Err(reply.to_string()) }
    }

    fn connection(&mut self, name: &str) -> &mut Connection {
        let (server, protocol) = (self.server, self.protocol);
        self.connections.entry(name.to_string()).or_insert_with(|| {
            let mut connection = server.connect();
            if protocol == 3 {
                let greeting = connection.ask("HELLO 3");
                assert!(matches!(greeting, Reply::Map(_)), "HELLO 3 gave {greeting}");
            }
            connection
        })
    }
}

fn is_close(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | UnexpectedEof)
}

/// The version of the Redis on this machine.
fn reference_version() -> (u32, u32) {
    let printed = support::run(std::process::Command::new("redis-server").arg("--version"));
    let version = printed
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="))
        .expect("redis-server tells its version");
    script::parse_version(version).unwrap()
}
