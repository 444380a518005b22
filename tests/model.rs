//! Random commands against a model: every reply is checked, and so is everything stored, through restarts and kills.
//!
//! The model is a map per store. It is itself held against Redis (`the_model_is_right`), so that a difference means
//! Larder. `LARDER_TEST_SEED` repeats a run.
//!
//! Deadlines are either far away or a few milliseconds ahead. A record whose deadline is near is never spoken of: the
//! run waits until it has passed for sure, so that no reply depends on how fast anything is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use support::{Connection, Kind, Random, Reply, Server, now_ms, request};

#[test]
fn the_model_is_right() {
    Run::new(Server::redis(&[]), numbered_stores()).steps(6000);
}

#[test]
fn larder_agrees_with_the_model() {
    let mut run = Run::new(Server::larder(&[]), named_and_numbered_stores());
    for _ in 0..6 {
        run.steps(400);
        run.restart();
        run.steps(400);
        run.kill();
    }
}

/// Without a sync for every reply, a power cut may cost a second of writes, but the end of the process costs nothing.
#[test]
fn larder_agrees_with_the_model_when_it_syncs_every_second() {
    let server = Server::larder(&["--appendfsync", "everysec"]);
    let mut run = Run::new(server, named_and_numbered_stores());
    for _ in 0..6 {
        run.steps(400);
        run.kill();
        run.steps(400);
        run.restart();
    }
}

/// What was written in order is there in order: after a kill a prefix is left, and in it all that was acknowledged.
#[test]
fn a_kill_in_the_middle_leaves_a_prefix() {
    let mut random = Random::from_environment();
    for policy in ["always", "everysec"] {
        let mut server = Server::larder(&["--appendfsync", policy]);
        for round in 0..5 {
            let total = 5000;
            let key = move |index: usize| format!("{round}:{index}");
            let mut connection = server.connect();
            let mut socket = connection.socket();
            let writer = thread::spawn(move || {
                for index in 0..total {
                    let set = request(&["SET", &key(index), &index.to_string()]);
                    if socket.write_all(&set).is_err() {
                        return;
                    }
                }
            });
            let mut acknowledged = 0;
            for _ in 0..random.below(total) {
                assert_eq!(connection.read(), Reply::ok());
                acknowledged += 1;
            }
            server.kill_hard();
            while connection.try_read().is_ok_and(|reply| reply == Reply::ok()) {
                acknowledged += 1;
            }
            writer.join().unwrap();
            server.start();

            let mut connection = server.connect();
            let present: Vec<bool> = (0..total)
                .map(|index| connection.ask(&format!("EXISTS {}", key(index))).integer() == 1)
                .collect();
            let prefix = present.iter().take_while(|&&present| present).count();
            let count = present.iter().filter(|&&present| present).count();
            assert_eq!(count, prefix, "there is a gap behind record {prefix}");
            assert!(prefix >= acknowledged, "{acknowledged} were acknowledged, {prefix} are there");
        }
    }
}

/// A cursor from before a restart goes on: nothing that was there all the time is missed.
#[test]
fn a_scan_survives_a_restart() {
    let mut server = Server::larder(&[]);
    let mut connection = server.connect();
    let keys: BTreeSet<String> = (0..500).map(|index| format!("key:{index}")).collect();
    for key in &keys {
        assert_eq!(connection.ask(&format!("SET {key} 1")), Reply::ok());
    }
    let mut seen = BTreeSet::new();
    let mut cursor = "0".to_string();
    for page in 0.. {
        let reply = connection.ask(&format!("SCAN {cursor} COUNT 20"));
        seen.extend(reply.elements()[1].elements().iter().map(Reply::text));
        cursor = reply.elements()[0].text();
        if cursor == "0" {
            break;
        }
        match page {
            5 => server.restart(),
            12 => {
                server.kill_hard();
                server.start();
            }
            _ => continue,
        }
        connection = server.connect();
    }
    assert_eq!(seen, keys);
}

/// How a store is selected, and its number.
type Store = (&'static str, usize);

fn numbered_stores() -> Vec<Store> {
    vec![("0", 0), ("1", 1), ("15", 15)]
}

fn named_and_numbered_stores() -> Vec<Store> {
    vec![("0", 0), ("1", 1), ("orders", 16), ("Grüße", 17)]
}

struct Record {
    value: Vec<u8>,
    /// Between these two times; equal where it was set as a point in time.
    deadline: Option<RangeInclusive<i64>>,
}

/// Deadlines in less than this are waited for. No reply takes so long.
const NEAR_MS: i64 = 10_000;
/// The server's time follows the system's clock to within some microseconds, which may be a millisecond once both are
/// rounded.
const CLOCKS_APART_MS: i64 = 1;

struct Run {
    server: Server,
    connection: Connection,
    random: Random,
    stores: Vec<Store>,
    /// What the server should hold, in the order of `stores`.
    model: Vec<BTreeMap<String, Record>>,
    /// The selected one, as an index.
    selected: usize,
}

impl Run {
    fn new(server: Server, stores: Vec<Store>) -> Run {
        let mut connection = server.connect();
        for (name, _) in stores.iter().filter(|(_, number)| *number >= 16) {
            assert_eq!(connection.call(&["STORE", "CREATE", name]), Reply::ok());
        }
        Run {
            connection,
            server,
            random: Random::from_environment(),
            model: stores.iter().map(|_| BTreeMap::new()).collect(),
            stores,
            selected: 0,
        }
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
        self.check_everything();
    }

    fn restart(&mut self) {
        self.server.restart();
        self.reconnect();
    }

    fn kill(&mut self) {
        self.server.kill_hard();
        self.server.start();
        self.reconnect();
    }

    fn reconnect(&mut self) {
        self.connection = self.server.connect();
        self.selected = 0;
        self.check_everything();
    }

    /// Every store: how many, which, what they hold, and until when.
    fn check_everything(&mut self) {
        for index in 0..self.stores.len() {
            self.select_store(index);
            self.list_keys();
            self.count_keys();
            let keys: Vec<String> = self.model[index].keys().cloned().collect();
            for key in keys {
                self.get(&key);
                self.ask_deadline(&key);
            }
        }
    }

    fn step(&mut self) {
        let key = self.key();
        match self.random.below(100) {
            0..20 => self.set(&key),
            20..34 => self.get(&key),
            34..40 => self.increment(&key),
            40..44 => self.append_digit(&key),
            44..47 => self.get_and_delete(&key),
            47..50 => self.set_many(),
            50..53 => self.get_many(),
            53..57 => self.delete_some(),
            57..60 => self.count_existing(),
            60..66 => self.expire(&key),
            66..68 => self.persist(&key),
            68..72 => self.ask_deadline(&key),
            72..75 => self.rename(&key),
            75..78 => self.copy(&key),
            78..81 => self.move_to_another_store(&key),
            81..83 => self.transaction(),
            83..85 => self.scan(),
            85..87 => self.list_keys(),
            87..89 => self.count_keys(),
            89..90 => self.random_key(),
            90..91 => self.swap(),
            91..98 => {
                let index = self.random.below(self.stores.len());
                self.select_store(index);
            }
            _ if self.random.one_in(10) => self.flush(),
            _ => self.length(&key),
        }
    }

    // What the run speaks of.

    fn key(&mut self) -> String {
        format!("{}:{}", self.random.pick(&["user", "order", "ключ"]), self.random.below(12))
    }

    fn some_keys(&mut self) -> Vec<String> {
        (0..=self.random.below(5)).map(|_| self.key()).collect()
    }

    /// JSON of many kinds and sizes, of which some compress and some do not.
    fn value(&mut self) -> Vec<u8> {
        let text = match self.random.below(6) {
            0 | 1 => (self.random.below(2000) as i64 - 1000).to_string(),
            2 => format!("{{\"id\": {}, \"tags\":[\"a\",\"b\",null], \"ok\":true}}", self.random.below(1000)),
            3 => format!("[{}0]", "{\"name\":\"Ada\",\"born\":1815},".repeat(self.random.below(500))),
            4 => {
                let words: Vec<String> =
                    (0..self.random.below(200)).map(|_| format!("{:016x}", self.random.next())).collect();
                format!("\"{}\"", words.concat())
            }
            _ => self.random.pick(&["null", "true", "\"\"", " [ ] ", "\"\\u00e9é\"", "-1.5e-10"]).to_string(),
        };
        text.into_bytes()
    }

    // What the server is asked, and what it has to answer.

    fn call(&mut self, args: &[&str]) -> Reply {
        self.connection.call(args)
    }

    fn expect(&mut self, args: &[&str], expected: &Reply) {
        let reply = self.call(args);
        assert!(reply == *expected, "{args:?} gave {reply}, not {expected}");
    }

    fn select_store(&mut self, index: usize) {
        self.selected = index;
        self.expect(&["SELECT", self.stores[index].0], &Reply::ok());
    }

    fn get(&mut self, key: &str) {
        let expected = self.bulk_of(key);
        self.expect(&["GET", key], &expected);
    }

    fn length(&mut self, key: &str) {
        let length = self.record(key).map_or(0, |record| record.value.len());
        self.expect(&["STRLEN", key], &integer(length));
    }

    fn set(&mut self, key: &str) {
        let value = self.value();
        let old = self.bulk_of(key);
        let exists = old != Reply::NullBulk;
        let mut args: Vec<Vec<u8>> = vec![b"SET".to_vec(), key.into(), value.clone()];
        let allowed = match self.random.below(4) {
            0 => {
                args.push(b"NX".to_vec());
                !exists
            }
            1 => {
                args.push(b"XX".to_vec());
                exists
            }
            _ => true,
        };
        let asks_old = self.random.one_in(4);
        if asks_old {
            args.push(b"GET".to_vec());
        }
        let kept = self.record(key).and_then(|record| record.deadline.clone());
        let keeps = self.random.one_in(8);
        let time = self.time();
        if keeps {
            args.push(b"KEEPTTL".to_vec());
        } else if let Some((option, number, _)) = &time {
            args.extend([option.as_bytes().to_vec(), number.to_string().into_bytes()]);
        }
        let before = now_ms() - CLOCKS_APART_MS;
        let reply = self.connection.call(&args);
        let after = now_ms() + CLOCKS_APART_MS;
        let expected = match (asks_old, allowed) {
            (true, _) => old,
            (false, true) => Reply::ok(),
            (false, false) => Reply::NullBulk,
        };
        assert!(reply == expected, "SET {key} with {} arguments gave {reply}, not {expected}", args.len());
        if allowed {
            let deadline = match time {
                _ if keeps => kept,
                Some((_, _, deadline)) => Some(deadline.between(before, after)),
                None => None,
            };
            self.put(key, Record { value, deadline });
        }
    }

    fn increment(&mut self, key: &str) {
        let step = self.random.below(100) as i64 - 50;
        let old = match self.record(key) {
            None => Some(0),
            Some(record) => decimal(&record.value),
        };
        let args = ["INCRBY", key, &step.to_string()];
        let Some(old) = old else {
            let error = b"ERR value is not an integer or out of range".to_vec();
            return self.expect(&args, &Reply::Error(error));
        };
        self.expect(&args, &Reply::Integer(old + step));
        self.rewrite(key, (old + step).to_string().into_bytes());
    }

    /// Numbers stay JSON when a digit is appended; nothing else is appended to, and nothing that would grow for ever.
    fn append_digit(&mut self, key: &str) {
        let mut value = match self.record(key) {
            None => Vec::new(),
            Some(record) => match decimal(&record.value) {
                Some(number) if number != 0 && number.abs() < 1_000_000 => record.value.clone(),
                _ => return,
            },
        };
        value.push(b'7');
        self.expect(&["APPEND", key, "7"], &integer(value.len()));
        self.rewrite(key, value);
    }

    fn get_and_delete(&mut self, key: &str) {
        let expected = self.bulk_of(key);
        self.expect(&["GETDEL", key], &expected);
        self.remove(key);
    }

    fn set_many(&mut self) {
        let keys = self.some_keys();
        let taken = keys.iter().any(|key| self.record(key).is_some());
        let only_new = self.random.one_in(2);
        let mut args = vec![if only_new { b"MSETNX".to_vec() } else { b"MSET".to_vec() }];
        let mut records = Vec::new();
        for key in keys {
            let value = self.value();
            args.extend([key.clone().into_bytes(), value.clone()]);
            records.push((key, Record { value, deadline: None }));
        }
        let expected = match only_new {
            true => Reply::Integer(i64::from(!taken)),
            false => Reply::ok(),
        };
        assert_eq!(self.connection.call(&args), expected);
        if !(only_new && taken) {
            for (key, record) in records {
                self.put(&key, record);
            }
        }
    }

    fn get_many(&mut self) {
        let keys = self.some_keys();
        let expected = keys.iter().map(|key| self.bulk_of(key)).collect();
        self.expect(&with("MGET", &keys), &Reply::Array(expected));
    }

    fn delete_some(&mut self) {
        let keys = self.some_keys();
        let count = keys.iter().filter(|key| self.remove(key)).count();
        let name = self.random.pick(&["DEL", "UNLINK"]);
        self.expect(&with(name, &keys), &integer(count));
    }

    fn count_existing(&mut self) {
        let keys = self.some_keys();
        let count = keys.iter().filter(|key| self.record(key).is_some()).count();
        self.expect(&with("EXISTS", &keys), &integer(count));
    }

    fn expire(&mut self, key: &str) {
        let Some((option, number, deadline)) = self.time() else {
            return self.expire_at_once(key);
        };
        let exists = self.record(key).is_some();
        let name = match option {
            "EX" => "EXPIRE",
            "PX" => "PEXPIRE",
            _ => "PEXPIREAT",
        };
        let before = now_ms() - CLOCKS_APART_MS;
        self.expect(&[name, key, &number.to_string()], &Reply::Integer(i64::from(exists)));
        let after = now_ms() + CLOCKS_APART_MS;
        if let Some(record) = self.record(key) {
            record.deadline = Some(deadline.between(before, after));
        }
    }

    fn expire_at_once(&mut self, key: &str) {
        let existed = self.remove(key);
        let number = -(self.random.below(1000) as i64);
        self.expect(&["PEXPIRE", key, &number.to_string()], &Reply::Integer(i64::from(existed)));
    }

    fn persist(&mut self, key: &str) {
        let had = self.record(key).is_some_and(|record| record.deadline.take().is_some());
        self.expect(&["PERSIST", key], &Reply::Integer(i64::from(had)));
    }

    fn ask_deadline(&mut self, key: &str) {
        let expected = match self.record(key).map(|record| record.deadline.clone()) {
            None => -2..=-2,
            Some(None) => -1..=-1,
            Some(Some(deadline)) => deadline,
        };
        let deadline = self.call(&["PEXPIRETIME", key]).integer();
        assert!(expected.contains(&deadline), "PEXPIRETIME {key} gave {deadline}, not {expected:?}");
        if deadline >= 0 {
            // from here on it is known exactly
            self.record(key).unwrap().deadline = Some(deadline..=deadline);
            let before = now_ms() - CLOCKS_APART_MS;
            let left = self.call(&["PTTL", key]).integer();
            let after = now_ms() + CLOCKS_APART_MS;
            let expected = deadline - after..=deadline - before;
            assert!(expected.contains(&left), "PTTL {key} gave {left}, not {expected:?}");
        }
    }

    fn rename(&mut self, key: &str) {
        let to = self.key();
        let only_new = self.random.one_in(2);
        let taken = self.record(&to).is_some();
        let name = if only_new { "RENAMENX" } else { "RENAME" };
        let args = [name, key, &to];
        if self.record(key).is_none() {
            return self.expect(&args, &Reply::Error(b"ERR no such key".to_vec()));
        }
        match only_new {
            true => self.expect(&args, &Reply::Integer(i64::from(!taken))),
            false => self.expect(&args, &Reply::ok()),
        }
        if !(only_new && taken) {
            let record = self.model[self.selected].remove(key).unwrap();
            self.put(&to, record);
        }
    }

    fn copy(&mut self, key: &str) {
        let to = self.key();
        let index = self.random.below(self.stores.len());
        if to == key && index == self.selected {
            return;
        }
        let number = self.stores[index].1.to_string();
        let replaces = self.random.one_in(2);
        let taken = self.record_in(index, &to).is_some();
        let copied = self
            .record(key)
            .map(|record| Record { value: record.value.clone(), deadline: record.deadline.clone() });
        let mut args = vec!["COPY", key, &to, "DB", &number];
        args.extend(replaces.then_some("REPLACE"));
        match copied.filter(|_| replaces || !taken) {
            Some(record) => {
                self.expect(&args, &Reply::Integer(1));
                self.model[index].insert(to, record);
            }
            None => self.expect(&args, &Reply::Integer(0)),
        }
    }

    fn move_to_another_store(&mut self, key: &str) {
        let index = self.random.below(self.stores.len());
        if index == self.selected {
            return;
        }
        let taken = self.record_in(index, key).is_some();
        let moves = self.record(key).is_some() && !taken;
        let number = self.stores[index].1.to_string();
        self.expect(&["MOVE", key, &number], &Reply::Integer(i64::from(moves)));
        if moves {
            let record = self.model[self.selected].remove(key).unwrap();
            self.model[index].insert(key.to_string(), record);
        }
    }

    /// A few commands at once, sent as one pipeline.
    fn transaction(&mut self) {
        let keys = self.some_keys();
        let mut pipeline = request(&["MULTI"]);
        let mut expected = Vec::new();
        for key in &keys {
            expected.extend([self.bulk_of(key), Reply::ok()]);
            let value = self.value();
            pipeline.extend(request(&["GET", key]));
            pipeline.extend(request(&[b"SET", key.as_bytes(), &value]));
            self.put(key, Record { value, deadline: None });
        }
        pipeline.extend(request(&["EXEC"]));
        self.connection.send(&pipeline);
        assert_eq!(self.connection.read(), Reply::ok());
        for _ in &expected {
            assert_eq!(self.connection.read(), Reply::Simple(b"QUEUED".to_vec()));
        }
        assert_eq!(self.connection.read(), Reply::Array(expected));
    }

    /// All pages of a scan; between them other records change.
    fn scan(&mut self) {
        self.finish();
        let prefix = *self.random.pick(&["", "user:", "user:1", "ключ:", "nothing"]);
        let pattern = format!("{prefix}*");
        let count = (1 + self.random.below(20)).to_string();
        let at_first = self.keys_with(prefix);
        let mut seen = BTreeSet::new();
        let mut untouched = at_first.clone();
        let mut cursor = "0".to_string();
        loop {
            let page = self.call(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", &count]);
            for key in page.elements()[1].elements().iter().map(Reply::text) {
                let twice = !seen.insert(key.clone()) && untouched.contains(&key);
                assert!(!twice || self.server.kind() == Kind::Redis, "{key} came twice");
            }
            cursor = page.elements()[0].text();
            if cursor == "0" {
                break;
            }
            let touched = self.key();
            untouched.remove(&touched);
            match self.random.one_in(2) {
                true => self.get_and_delete(&touched),
                false => self.increment(&touched),
            }
        }
        let missed: Vec<_> = untouched.difference(&seen).collect();
        assert!(missed.is_empty(), "a scan for {pattern} missed {missed:?}");
        assert!(seen.iter().all(|key| key.starts_with(prefix)));
    }

    fn list_keys(&mut self) {
        self.finish();
        let prefix = *self.random.pick(&["", "user:", "ключ:1", "nothing"]);
        let reply = self.call(&["KEYS", &format!("{prefix}*")]);
        let listed: BTreeSet<String> = reply.elements().iter().map(Reply::text).collect();
        assert_eq!(listed.len(), reply.elements().len(), "KEYS gave a key twice");
        assert_eq!(listed, self.keys_with(prefix));
    }

    fn count_keys(&mut self) {
        self.finish();
        if self.server.kind() == Kind::Redis {
            // Redis counts what has expired until it comes across it
            self.call(&["SCAN", "0", "COUNT", "10000"]);
        }
        let count = self.model[self.selected].len();
        self.expect(&["DBSIZE"], &integer(count));
    }

    fn random_key(&mut self) {
        self.finish();
        let reply = self.call(&["RANDOMKEY"]);
        match self.model[self.selected].is_empty() {
            true => assert_eq!(reply, Reply::NullBulk),
            false => assert!(self.model[self.selected].contains_key(&reply.text())),
        }
    }

    fn swap(&mut self) {
        // the first two are numbered in every run
        self.expect(&["SWAPDB", "0", "1"], &Reply::ok());
        self.model.swap(0, 1);
    }

    fn flush(&mut self) {
        self.expect(&["FLUSHDB"], &Reply::ok());
        self.model[self.selected].clear();
    }

    // The model.

    /// An expiry option, its number, and the deadline it means. None in half of all cases.
    fn time(&mut self) -> Option<(&'static str, i64, Deadline)> {
        let far_ms = 1_000_000 + self.random.below(1_000_000) as i64;
        let near_ms = 1 + self.random.below(20) as i64;
        Some(match self.random.below(8) {
            0 => ("EX", far_ms / 1000, Deadline::After(far_ms / 1000 * 1000)),
            1 => ("PX", far_ms, Deadline::After(far_ms)),
            2 => {
                let at = now_ms() + far_ms;
                ("PXAT", at, Deadline::At(at))
            }
            3 => ("PX", near_ms, Deadline::After(near_ms)),
            _ => return None,
        })
    }

    /// A record of the selected store, if it is there.
    fn record(&mut self, key: &str) -> Option<&mut Record> {
        self.record_in(self.selected, key)
    }

    /// Waits until it is certain whether the record is there.
    fn record_in(&mut self, index: usize, key: &str) -> Option<&mut Record> {
        let deadline = self.model[index].get(key)?.deadline.clone();
        if let Some(deadline) = deadline
            && deadline.start() - NEAR_MS < now_ms()
        {
            while now_ms() <= *deadline.end() + CLOCKS_APART_MS {
                thread::sleep(Duration::from_millis(1));
            }
            self.model[index].remove(key);
        }
        self.model[index].get_mut(key)
    }

    fn finish(&mut self) {
        let keys: Vec<String> = self.model[self.selected].keys().cloned().collect();
        for key in keys {
            self.record(&key);
        }
    }

    fn bulk_of(&mut self, key: &str) -> Reply {
        match self.record(key) {
            Some(record) => Reply::bulk(&record.value),
            None => Reply::NullBulk,
        }
    }

    fn put(&mut self, key: &str, record: Record) {
        self.model[self.selected].insert(key.to_string(), record);
    }

    /// A new value under the old deadline.
    fn rewrite(&mut self, key: &str, value: Vec<u8>) {
        match self.record(key) {
            Some(record) => record.value = value,
            None => self.put(key, Record { value, deadline: None }),
        }
    }

    /// Whether it was there.
    fn remove(&mut self, key: &str) -> bool {
        let existed = self.record(key).is_some();
        self.model[self.selected].remove(key);
        existed
    }

    fn keys_with(&self, prefix: &str) -> BTreeSet<String> {
        let keys = self.model[self.selected].keys();
        keys.filter(|key| key.starts_with(prefix)).cloned().collect()
    }
}

enum Deadline {
    /// So many milliseconds after the server took the command.
    After(i64),
    At(i64),
}

impl Deadline {
    /// For a command that the server took between these times.
    fn between(&self, before: i64, after: i64) -> RangeInclusive<i64> {
        match self {
            Deadline::After(milliseconds) => before + milliseconds..=after + milliseconds,
            Deadline::At(time) => *time..=*time,
        }
    }
}

fn integer(count: usize) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap())
}

fn with<'a>(name: &'a str, keys: &'a [String]) -> Vec<&'a str> {
    std::iter::once(name).chain(keys.iter().map(String::as_str)).collect()
}

/// A number as INCR takes it.
fn decimal(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
