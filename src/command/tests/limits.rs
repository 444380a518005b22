//! Limits as clients meet them: random commands on a server with limits and on one without.
//!
//! What the unlimited one makes of a command says whether the limited one has to take it; what it refuses has to leave
//! everything as it was, and the unlimited one is put back to that. How much a state takes is computed here from values
//! alone, so it can't be wrong in the same way as the counters.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use proptest::prelude::*;

use crate::command::base::{Server, Session};
use crate::command::tests::harness::{Harness, session, shown};
use crate::command::{COMMANDS, dispatch};
use crate::config::Config;
use crate::engine::recovery::check;
use crate::engine::{Engine, Options, clock};
use crate::limits::KEY_BYTES_MAX;
use crate::record::compress::{Compression, compress};
use crate::record::header;
use crate::resp::{Reply, Request};
use crate::store::{Quota, ServerQuota};

const STORES: usize = 2;
const KEYS: u8 = 6;
/// Without dictionaries: what a record takes depends on nothing but itself.
const COMPRESSION: Compression = Compression::Brotli { quality: 4, min_bytes: 64, dictionaries: false };

/// A server on a directory of its own, without sockets.
struct Stage {
    dir: tempfile::TempDir,
    /// Server and session; none between an end and a new start.
    running: Option<(Server, Session)>,
}

/// Value, and whether it expires, by store and key.
type Records = BTreeMap<(usize, u8), (Bytes, bool)>;

impl Stage {
    fn new() -> Stage {
        let mut stage = Stage { dir: tempfile::tempdir().unwrap(), running: None };
        stage.start(ServerQuota::default());
        stage
    }

    fn start(&mut self, quota: ServerQuota) {
        let options = Options {
            quota,
            journal_segment_bytes: 64 * 1024,
            compression: COMPRESSION,
            ..Options::new(self.dir.path())
        };
        let engine = Engine::open(options).unwrap();
        let config = Config::default();
        config.update(|settings| {
            settings.compression = COMPRESSION;
            (settings.max_stores, settings.max_keys, settings.max_bytes) =
                (quota.max_stores, quota.max_keys, quota.max_bytes);
        });
        let server = Server::new(&COMMANDS, engine, config, clock::steady_ms());
        let session = session(&server);
        self.running = Some((server, session));
    }

    /// Closes the engine, and recounts what it left on disk.
    fn stop(&mut self) {
        let (server, _) = self.running.take().unwrap();
        server.engine.close().unwrap();
        drop(server);
        assert_eq!(check::check(self.dir.path()).unwrap().problems, [""; 0]);
    }

    fn crash(&mut self) {
        let (server, _) = self.running.take().unwrap();
        server.engine.abandon();
    }

    fn engine(&self) -> &Engine {
        &self.running.as_ref().unwrap().0.engine
    }

    fn run(&mut self, store: usize, words: &[String]) -> Reply {
        let (server, session) = self.running.as_mut().unwrap();
        session.select(store as u32);
        let args = words.iter().map(|word| Bytes::from(word.clone())).collect();
        dispatch(server, session, Request { args }).reply.unwrap()
    }

    fn line(&mut self, store: usize, line: &str) -> Reply {
        self.run(store, &line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn records(&mut self) -> Records {
        let mut records = Records::new();
        for store in 0..STORES {
            let names: Vec<String> = (0..KEYS).map(name).collect();
            let Reply::Array(values) = self.line(store, &format!("MGET {}", names.join(" "))) else {
                panic!("MGET gives an array");
            };
            for (key, value) in (0..KEYS).zip(values) {
                if let Reply::Bulk(value) = value {
                    let expires = self.line(store, &format!("PTTL {}", name(key))) != Reply::Integer(-1);
                    records.insert((store, key), (value, expires));
                }
            }
        }
        records
    }

    fn restore(&mut self, records: &Records) {
        self.line(0, "FLUSHALL");
        for ((store, key), (value, expires)) in records {
            let value = String::from_utf8(value.to_vec()).unwrap();
            self.run(*store, &["SET".into(), name(*key), value]);
            self.line(
                *store,
                &if *expires {
                    format!("EXPIRE {} 100000", name(*key))
                } else {
                    format!("PERSIST {}", name(*key))
                },
            );
        }
    }

    /// The counters: records and stored bytes of each store.
    fn counted(&self) -> [(u64, u64); STORES] {
        let catalog = self.engine().reader().catalog();
        std::array::from_fn(|store| {
            let usage = catalog.get(store as u32).unwrap().usage;
            (usage.records, usage.stored_bytes)
        })
    }
}

/// Of different lengths.
fn name(key: u8) -> String {
    "k".repeat(usize::from(key) * 3 + 1)
}

/// Knows how values come out of compression, each tried once.
#[derive(Default)]
struct Scale(HashMap<Bytes, usize>);

impl Scale {
    /// How many records each store has, and what they take in LMDB.
    fn weigh(&mut self, records: &Records) -> [(u64, u64); STORES] {
        let mut taken = [(0, 0); STORES];
        for ((store, key), (value, expires)) in records {
            let compressed = || compress(value, &COMPRESSION, None).record_bytes(false);
            let record_bytes = *self.0.entry(value.clone()).or_insert_with(compressed);
            taken[*store].0 += 1;
            taken[*store].1 += (name(*key).len() + record_bytes + header::deadline_bytes(*expires)) as u64;
        }
        taken
    }
}

/// Whether limits let this become that.
fn may_become(
    before: [(u64, u64); STORES],
    after: [(u64, u64); STORES],
    quotas: &[Quota; STORES],
    server: ServerQuota,
) -> bool {
    let fits =
        |before: u64, after: u64, max: Option<u64>| after <= before || max.is_none_or(|max| after <= max);
    let both = |before: (u64, u64), after: (u64, u64), max_keys, max_bytes| {
        fits(before.0, after.0, max_keys) && fits(before.1, after.1, max_bytes)
    };
    let sum =
        |used: [(u64, u64); STORES]| used.into_iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    (0..STORES).all(|at| both(before[at], after[at], quotas[at].max_keys, quotas[at].max_bytes))
        && both(sum(before), sum(after), server.max_keys, server.max_bytes)
}

#[derive(Debug, Clone)]
enum Step {
    Command(usize, Vec<String>),
    Limit(usize, Option<u8>, Option<u16>),
    LimitServer(Option<u8>, Option<u16>),
    DefaultTtl(usize, bool),
    Checkpoint,
    Restart,
    Crash,
}

/// JSON of a size, of a kind that shrinks or that hardly does.
fn value() -> impl Strategy<Value = String> {
    let text = (0..900usize, any::<bool>()).prop_map(|(size, shrinks)| {
        if shrinks {
            return format!("\"{}\"", "abcdefgh ".repeat(size / 9));
        }
        let noise = |at: u64| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&at.to_be_bytes()));
        format!("\"{}\"", (0..size as u64 / 16).map(noise).collect::<String>())
    });
    prop_oneof![4 => text, 1 => Just("[1,2]".to_owned()), 1 => any::<i32>().prop_map(|n| n.to_string())]
}

fn command() -> impl Strategy<Value = Vec<String>> {
    let key = || (0..KEYS).prop_map(name);
    let line = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let of_key = |words: &'static str| key().prop_map(move |key| line(words.replace("KEY", &key)));
    let with_value = |words: &'static str| {
        (key(), value()).prop_map(move |(key, value)| {
            words
                .split(' ')
                .map(|word| word.replace("KEY", &key).replace("VALUE", &value))
                .collect::<Vec<_>>()
        })
    };
    let of_two = |words: &'static str| {
        (key(), key()).prop_map(move |(a, b)| line(words.replace("KEY", &a).replace("OTHER", &b)))
    };
    let many = |command: &'static str| {
        proptest::collection::vec((key(), value()), 1..4).prop_map(move |pairs| {
            let pairs = pairs.into_iter().flat_map(|(key, value)| [key, value]);
            std::iter::once(command.to_owned()).chain(pairs).collect::<Vec<_>>()
        })
    };
    let writing = prop_oneof![
        6 => with_value("SET KEY VALUE"),
        1 => with_value("SET KEY VALUE EX 100000"),
        1 => with_value("SET KEY VALUE KEEPTTL"),
        1 => with_value("SET KEY VALUE NX GET"),
        1 => with_value("GETSET KEY VALUE"),
        3 => many("MSET"),
        1 => many("MSETNX"),
        1 => of_key("INCR KEY"),
        2 => of_two("RENAME KEY OTHER"),
        1 => of_two("RENAMENX KEY OTHER"),
        2 => of_two("COPY KEY OTHER REPLACE"),
        1 => of_two("COPY KEY OTHER DB 1 REPLACE"),
        1 => of_key("MOVE KEY 1"),
        1 => Just(line("SWAPDB 0 1".into())),
    ];
    let of_documents = prop_oneof![
        2 => with_value("JSON.SET KEY $ VALUE"),
        2 => with_value("JSON.ARRAPPEND KEY $ VALUE"),
        1 => with_value("JSON.STRAPPEND KEY $ VALUE"),
        1 => of_key("JSON.NUMINCRBY KEY $ 12345"),
        1 => of_key("JSON.ARRTRIM KEY $ 0 0"),
        1 => of_key("JSON.DEL KEY"),
    ];
    let never_refused = prop_oneof![
        3 => of_key("DEL KEY"),
        1 => of_two("UNLINK KEY OTHER"),
        1 => of_key("GETDEL KEY"),
        3 => of_key("EXPIRE KEY 100000"),
        1 => of_key("GETEX KEY EX 100000"),
        1 => of_key("EXPIRE KEY -1"),
        2 => of_key("PERSIST KEY"),
        1 => Just(line("FLUSHDB".into())),
    ];
    prop_oneof![8 => writing, 3 => of_documents, 4 => never_refused]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let store = || 0..STORES;
    let keys = || proptest::option::of(0..KEYS);
    let bytes = || proptest::option::of(20..1_500u16);
    let step = prop_oneof![
        30 => (store(), command()).prop_map(|(store, words)| Step::Command(store, words)),
        3 => (store(), keys(), bytes()).prop_map(|(store, keys, bytes)| Step::Limit(store, keys, bytes)),
        1 => (keys(), bytes()).prop_map(|(keys, bytes)| Step::LimitServer(keys, bytes)),
        1 => (store(), any::<bool>()).prop_map(|(store, on)| Step::DefaultTtl(store, on)),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Limited and unlimited, side by side.
struct Pair {
    limited: Stage,
    unlimited: Stage,
    quotas: [Quota; STORES],
    server: ServerQuota,
    scale: Scale,
    /// What both hold.
    records: Records,
}

impl Pair {
    fn take(&mut self, step: &Step) {
        let text = |limit: Option<u64>| limit.map_or("none".to_owned(), |limit| limit.to_string());
        match step {
            Step::Command(store, words) => self.run(*store, words),
            Step::Limit(store, keys, bytes) => {
                // 0 takes a limit away
                let max_keys = keys.map(u64::from).filter(|keys| *keys > 0);
                let max_bytes = bytes.map(u64::from);
                self.quotas[*store] = Quota { max_keys, max_bytes, ..Quota::default() };
                let (keys, bytes) = (text(keys.map(u64::from)), text(max_bytes));
                let line = format!("STORE SET {store} max-keys {keys} max-bytes {bytes}");
                assert_eq!(self.limited.line(0, &line), Reply::OK);
            }
            Step::LimitServer(keys, bytes) => {
                let max_keys = keys.map(u64::from).filter(|keys| *keys > 0);
                self.server =
                    ServerQuota { max_keys, max_bytes: bytes.map(u64::from), ..ServerQuota::default() };
                let (keys, bytes) = (keys.unwrap_or(0), bytes.unwrap_or(0));
                let line = format!("CONFIG SET max-keys {keys} max-bytes {bytes}");
                assert_eq!(self.limited.line(0, &line), Reply::OK);
            }
            Step::DefaultTtl(store, on) => {
                let line = format!("STORE SET {store} default-ttl {}", if *on { "1d" } else { "none" });
                assert_eq!(self.limited.line(0, &line), Reply::OK);
                assert_eq!(self.unlimited.line(0, &line), Reply::OK);
            }
            Step::Checkpoint => {
                let _ = self.limited.engine().writer().checkpoint();
                let taken = self.scale.weigh(&self.records);
                assert_eq!(self.limited.counted(), taken, "counters are exact behind a checkpoint");
            }
            Step::Restart => {
                self.limited.stop();
                self.limited.start(self.server);
                assert_eq!(self.limited.records(), self.records);
            }
            Step::Crash => {
                self.limited.crash();
                self.limited.start(self.server);
                assert_eq!(self.limited.records(), self.records);
            }
        }
    }

    fn run(&mut self, store: usize, words: &[String]) {
        let expected = self.unlimited.run(store, words);
        let after = self.unlimited.records();
        let reply = self.limited.run(store, words);
        let is_excused = matches!(&words[0][..], "EXPIRE" | "GETEX" | "PERSIST");
        let (was, becomes) = (self.scale.weigh(&self.records), self.scale.weigh(&after));
        let may = is_excused || may_become(was, becomes, &self.quotas, self.server);
        let limits = (&self.quotas, self.server);
        if may {
            assert_eq!(shown(&reply), shown(&expected), "{words:?} within {limits:?}");
            assert_eq!(self.limited.records(), after, "{words:?}");
            self.records = after;
        } else {
            let refused = shown(&reply);
            assert!(refused.starts_with("-QUOTA "), "{words:?} beyond {limits:?}: {refused}");
            assert_eq!(self.limited.records(), self.records, "{words:?} was refused");
            self.unlimited.restore(&self.records);
        }
        let exact = if may { becomes } else { was };
        for ((records, stored_bytes), exact) in self.limited.counted().into_iter().zip(exact) {
            assert_eq!(records, exact.0);
            assert!(stored_bytes >= exact.1, "what is not compressed yet counts with no less");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn commands_keep_to_limits_and_the_recount_agrees(steps in steps()) {
        let (quotas, server, scale, records) = Default::default();
        let (limited, unlimited) = (Stage::new(), Stage::new());
        let mut pair = Pair { limited, unlimited, quotas, server, scale, records };
        steps.iter().for_each(|step| pair.take(step));
        pair.limited.stop();
        pair.unlimited.stop();
    }
}

#[test]
fn what_has_expired_is_in_nobodys_way() {
    let mut stage = Stage::new();
    for round in 0..20 {
        assert_eq!(stage.line(0, "STORE SET 0 max-keys 1"), Reply::OK);
        assert_eq!(stage.line(0, &format!("SET {round}:short 1 PX 1")), Reply::OK);
        while stage.line(0, &format!("GET {round}:short")) != Reply::Null {}
        let set = stage.line(0, &format!("SET {round}:next 1"));
        assert_eq!(set, Reply::OK);
        assert_eq!(stage.line(0, "FLUSHDB"), Reply::OK);
    }
    stage.stop();
}

/// A key that is too long is one without a record, to all commands but those that put one there.
#[test]
fn a_key_that_is_too_long_is_not_there() {
    let mut h = Harness::json();
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    h.expect(&[("SET a 1", "OK"), ("SAVE", "OK")]);
    for (line, answer) in [
        ("GET K", "nil"),
        ("MGET a K", "[\"1\", nil]"),
        ("EXISTS a K", "1"),
        ("STRLEN K", "0"),
        ("TTL K", "-2"),
        ("TYPE K", "none"),
        ("GETDEL K", "nil"),
        ("DEL K", "0"),
        ("UNLINK K", "0"),
        ("TOUCH K", "0"),
        ("EXPIRE K 10", "0"),
        ("PERSIST K", "0"),
        ("COPY K b", "0"),
        ("RENAME K b", "-ERR no such key"),
        ("DUMP K", "nil"),
        ("JSON.GET K", "nil"),
        ("JSON.DEL K", "0"),
        ("WATCH K", "OK"),
        ("KEYS K", "[]"),
        ("KEYS K*", "[]"),
        ("SCAN 0 MATCH K*", "[\"0\", []]"),
        ("GET a", "\"1\""),
    ] {
        h.expect(&[(&line.replace(" K", &format!(" {long}")), answer)]);
    }
    let refused = format!("-ERR key is {} bytes, longer than the limit of {KEY_BYTES_MAX}", long.len());
    for line in [
        "SET K 1",
        "SETNX K 1",
        "MSET b 1 K 1",
        "INCR K",
        "APPEND K 1",
        "COPY a K",
        "RENAME a K",
        "JSON.SET K $ 1",
    ] {
        h.expect(&[(&line.replace(" K", &format!(" {long}")), &refused)]);
    }
    h.expect(&[("GET b", "nil"), ("DBSIZE", "1")]);
}
