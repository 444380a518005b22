//! Kills: a server is killed over and over while several writers write, and nothing it acknowledged may be missing.
//!
//! Each writer has a store of its own and sends a known sequence of commands in pipelines. After a kill the store has to
//! hold what some beginning of that sequence makes: at least what was acknowledged, at most what was sent. The seed is
//! printed; `LARDER_TEST_SEED` repeats it as far as the machine's timing allows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::{Connection, Random, Server, request};

const KILLS: usize = 50;
const WRITERS: usize = 4;
const KEYS: usize = 24;
/// How many commands a writer sends at once: many, whose replies leave by the delivery thread, and few, whose do not.
const PIPELINES: [usize; WRITERS] = [16, 1, 4, 24];

/// Values by key, and whether they expire.
type Records = BTreeMap<String, (String, bool)>;

#[derive(Debug, Clone)]
enum Command {
    Set(usize, u64),
    SetMany(usize, u64),
    Increment,
    Delete(usize),
    Expire(usize),
    Flush,
    Transaction(usize, u64),
}

impl Command {
    fn any(random: &mut Random, number: u64) -> Command {
        let key = random.below(KEYS);
        match random.below(100) {
            0..45 => Command::Set(key, number),
            45..60 => Command::SetMany(key, number),
            60..75 => Command::Increment,
            75..85 => Command::Delete(key),
            85..90 => Command::Expire(key),
            90..98 => Command::Transaction(key, number),
            _ => Command::Flush,
        }
    }

    /// The requests, and how many replies come.
    fn requests(&self) -> (Vec<u8>, usize) {
        let line = |words: &str| request(&words.split(' ').collect::<Vec<_>>());
        match self {
            Command::Set(key, number) => (request(&["SET", &name(*key), &value(*number)]), 1),
            Command::SetMany(key, number) => {
                let (other, value) = (name((key + 1) % KEYS), value(*number));
                (request(&["MSET", &name(*key), &value, &other, &value]), 1)
            }
            Command::Increment => (line("INCR counter"), 1),
            Command::Delete(key) => (line(&format!("DEL {}", name(*key))), 1),
            Command::Expire(key) => (line(&format!("EXPIRE {} 100000", name(*key))), 1),
            Command::Flush => (line("FLUSHDB"), 1),
            Command::Transaction(key, number) => {
                let set = request(&["SET", &name(*key), &value(*number)]);
                ([line("MULTI"), set, line("INCR counter"), line("EXEC")].concat(), 4)
            }
        }
    }

    fn apply(&self, records: &mut Records) {
        let increment = |records: &mut Records| {
            let (counter, _) = records.entry("counter".into()).or_insert_with(|| ("0".into(), false));
            *counter = (counter.parse::<u64>().unwrap() + 1).to_string();
        };
        match self {
            Command::Set(key, number) => drop(records.insert(name(*key), (value(*number), false))),
            Command::SetMany(key, number) => {
                records.insert(name(*key), (value(*number), false));
                records.insert(name((key + 1) % KEYS), (value(*number), false));
            }
            Command::Increment => increment(records),
            Command::Delete(key) => drop(records.remove(&name(*key))),
            Command::Expire(key) => {
                records.entry(name(*key)).and_modify(|(_, expires)| *expires = true);
            }
            Command::Flush => records.clear(),
            Command::Transaction(key, number) => {
                records.insert(name(*key), (value(*number), false));
                increment(records);
            }
        }
    }
}

fn name(key: usize) -> String {
    format!("key:{key}")
}

fn value(number: u64) -> String {
    format!(r#"{{"number":{number},"text":"{}"}}"#, "abc ".repeat(number as usize % 60))
}

/// What one writer knows.
struct Writer {
    store: String,
    pipeline: usize,
    random: Random,
    numbers: u64,
    /// What is certainly there.
    acknowledged: Records,
    /// What was sent and not answered before the kill, in order.
    doubtful: Vec<Command>,
}

impl Writer {
    /// Writes until the server is gone.
    fn write(&mut self, port: u16) {
        let Ok(mut connection) = Connection::try_open(port) else { return };
        if connection.try_send(&request(&["SELECT", &self.store])).is_err() || connection.try_read().is_err()
        {
            return;
        }
        loop {
            let commands: Vec<Command> = (0..self.pipeline)
                .map(|_| {
                    self.numbers += 1;
                    Command::any(&mut self.random, self.numbers)
                })
                .collect();
            let bytes: Vec<u8> = commands.iter().flat_map(|command| command.requests().0).collect();
            self.doubtful = commands.clone();
            if connection.try_send(&bytes).is_err() {
                return;
            }
            for command in commands {
                for _ in 0..command.requests().1 {
                    match connection.try_read() {
                        Ok(reply) => assert!(!reply.is_error(""), "{command:?}: {reply}"),
                        Err(_) => return,
                    }
                }
                command.apply(&mut self.acknowledged);
                self.doubtful.remove(0);
            }
        }
    }

    /// Compares the store with every state it may be in, and goes on from the one it is in.
    fn check(&mut self, server: &Server) {
        let mut connection = server.connect();
        connection.call(&["SELECT", &self.store]);
        let mut names: Vec<String> = (0..KEYS).map(name).collect();
        names.push("counter".into());
        let words: Vec<&str> = std::iter::once("MGET").chain(names.iter().map(String::as_str)).collect();
        let values = connection.call(&words);
        let pairs = names.iter().zip(values.elements()).filter(|(_, value)| !value.is_null());
        let found: Records = pairs
            .map(|(name, value)| {
                let expires = connection.call(&["TTL", name]).integer() >= 0;
                (name.clone(), (value.text(), expires))
            })
            .collect();
        let count = connection.call(&["DBSIZE"]).integer();
        assert_eq!(count, found.len() as i64, "store {}", self.store);

        let mut state = self.acknowledged.clone();
        let mut doubtful = std::mem::take(&mut self.doubtful).into_iter();
        while state != found {
            let Some(command) = doubtful.next() else {
                panic!("store {}: {found:?} is none of the states after {:?}", self.store, self.acknowledged)
            };
            command.apply(&mut state);
        }
        self.acknowledged = state;
    }
}

/// Kills the server again and again while the writers write.
fn survive(flags: &[&str], kills: usize) {
    let mut random = Random::from_environment();
    let mut server = Server::larder(flags);
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|at| {
            let store = if at % 2 == 0 { at.to_string() } else { format!("store-{at}") };
            if at % 2 == 1 {
                server.connect().call(&["STORE", "CREATE", &store]);
            }
            let random = Random::new(random.next());
            let (pipeline, acknowledged, doubtful) = (PIPELINES[at], Records::new(), Vec::new());
            Writer { store, pipeline, random, numbers: 0, acknowledged, doubtful }
        })
        .collect();
    for kill in 0..kills {
        let port = server.port();
        std::thread::scope(|scope| {
            let running: Vec<_> =
                writers.iter_mut().map(|writer| scope.spawn(move || writer.write(port))).collect();
            scope.spawn(move || write_checkpoints(port));
            std::thread::sleep(Duration::from_millis(random.below(120) as u64));
            server.kill_hard();
            running.into_iter().for_each(|writer| writer.join().unwrap());
        });
        if kill % 3 == 2 {
            // once more, in the middle of recovery or of the checkpoint behind it
            server.launch();
            std::thread::sleep(Duration::from_millis(random.below(40) as u64));
            server.kill_hard();
        }
        server.start();
        writers.iter_mut().for_each(|writer| writer.check(&server));
    }
    // what a kill leaves has to be sound, too, and what an orderly end leaves after it
    server.kill_hard();
    assert_sound(&server);
    server.start();
    writers.iter_mut().for_each(|writer| writer.check(&server));
    server.stop();
    assert_sound(&server);
}

/// One checkpoint after the other until the server is gone, so that kills meet them.
fn write_checkpoints(port: u16) {
    let Ok(mut connection) = Connection::try_open(port) else { return };
    while connection.try_send(b"BGSAVE\r\n").is_ok() && connection.try_read().is_ok() {
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn assert_sound(server: &Server) {
    let (sound, said) = server.check();
    assert!(sound, "{said}");
}

#[test]
fn nothing_acknowledged_is_lost_to_kills() {
    survive(&["--memtable-memory", "1mb", "--checkpoint-interval", "1"], KILLS);
}

#[test]
fn nothing_acknowledged_is_lost_to_kills_when_syncing_every_second() {
    survive(
        &["--appendfsync", "everysec", "--memtable-memory", "1mb", "--checkpoint-interval", "1"],
        KILLS / 2,
    );
}
