//! Sequences of commands, by chance: mostly what the syntax allows, with values at the edges, and sometimes what it does
//! not.

use super::differences;
use super::grammar::Command;
use super::support::{Random, now_ms};

/// Connections that a sequence speaks on.
pub const CONNECTIONS: usize = 3;
const STEPS_MAX: usize = 60;

/// What one connection says.
#[derive(Debug, Clone)]
pub struct Step {
    pub connection: usize,
    pub words: Vec<Vec<u8>>,
    /// It may set a deadline that is past, or a few milliseconds ahead: nothing is said before Redis has seen to it.
    pub expires: bool,
}

/// The commands that are sent, each as often as its weight says.
pub struct Writer<'c> {
    commands: Vec<&'c Command>,
    weighted: Vec<&'c Command>,
}

impl<'c> Writer<'c> {
    pub fn new(commands: Vec<&'c Command>) -> Writer<'c> {
        let weight = |command: &Command| match (command.group.as_str(), command.name.as_str()) {
            // what sets the stage anew is worth less than what plays on it
            (_, "flushall" | "flushdb" | "quit" | "reset" | "hello" | "swapdb") => 1,
            ("Transactions", _) => 12,
            ("String" | "Generic", _) => 10,
            (_, "select" | "dbsize") => 5,
            _ => 1,
        };
        let weighted =
            commands.iter().flat_map(|command| std::iter::repeat_n(*command, weight(command))).collect();
        Writer { commands, weighted }
    }

    pub fn sequence(&self, random: &mut Random) -> Vec<Step> {
        let count = 1 + random.below(STEPS_MAX);
        (0..count).map(|_| self.step(random)).collect()
    }

    fn step(&self, random: &mut Random) -> Step {
        // one of them does most of the talking, so that transactions get somewhere
        let connection = if random.one_in(2) { 0 } else { random.below(CONNECTIONS) };
        if random.one_in(25) {
            return Step { connection, words: short_lived(random), expires: true };
        }
        let command = self.weighted[random.below(self.weighted.len())];
        let mut words = self.request(command, random);
        if random.one_in(12) {
            spoil(&mut words, random);
        }
        if random.one_in(10) {
            words[0].make_ascii_lowercase();
        }
        let expires = is_past(&words);
        Step { connection, words, expires }
    }

    fn request(&self, command: &Command, random: &mut Random) -> Vec<Vec<u8>> {
        loop {
            let words = command.words(random, &mut |random, name| match name {
                "command" => self.request(self.commands[random.below(self.commands.len())], random),
                "arg" => Vec::new(),
                name => vec![word(name, random)],
            });
            if !differences::is_newer(&words) && words.len() < 64 && !ends_connections(&words) {
                return words;
            }
        }
    }
}

/// CLIENT KILL with nothing but a type or whom to spare would end the connections that are not to know.
fn ends_connections(words: &[Vec<u8>]) -> bool {
    words.len() > 2 && words[0] == b"CLIENT" && words[1] == b"KILL" && {
        let options: Vec<_> = words[2..].chunks(2).map(|pair| pair[0].as_slice()).collect();
        let chooses = |option: &&[u8]| [&b"ID"[..], b"ADDR", b"LADDR", b"USER"].contains(option);
        !options.iter().any(chooses)
    }
}

/// A word for what docs/COMMANDS.md calls by this name.
///
/// Numbers between 0 and 100,000 are only where no deadline can be: what is to expire does so at once, or after the
/// test.
fn word(name: &str, random: &mut Random) -> Vec<u8> {
    const KEYS: &[&[u8]] =
        &[b"a", b"b", b"c", b"a", b"b", b"c", b"", b"key with \r\n", b"\xff\x00", b"{t}:1"];
    const VALUES: &[&[u8]] = &[
        b"",
        b"0",
        b"-5",
        b"1000000",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"3.5",
        b"1e300",
        b" 7",
        b"7 ",
        b"+700000",
        b"007",
        b"0x10",
        b"nan",
        b"inf",
        b"-inf",
        b"hello",
        b"the quick brown fox",
        b"\x00\xff\r\n",
        b"1e400",
        b"5.0e3",
        b"-0",
        b"0.1",
        b"1.10",
        b"12345678901234567890",
        b"0.00000000000000000001",
        b"{\"a\":1}",
        b"ohmytext",
        b"mynewtext",
    ];
    const STEPS: &[&[u8]] = &[
        b"1",
        b"-1",
        b"0",
        b"1000000",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"9223372036854775808",
        b"abc",
        b"",
        b" 1",
        b"1.5",
    ];
    const DECIMALS: &[&[u8]] = &[
        b"0.1",
        b"-3.3",
        b"1e20",
        b"1e-20",
        b"5e3",
        b"0",
        b"inf",
        b"-inf",
        b"nan",
        b"abc",
        b"1000000",
        b"-0",
        b"3.0000000000000000001",
        b"1e5000",
        b" 1",
        b"0x1p3",
        b"1e4900",
        b"1000000000000000000000",
    ];
    const STORES: &[&[u8]] = &[b"0", b"1", b"0", b"1", b"2", b"15", b"16", b"-1", b"abc", b"", b"1.5", b"01"];
    const JUNK: &[&[u8]] =
        &[b"", b"abc", b"-1", b"0", b"1.5", b"9223372036854775807", b"9223372036854775808"];
    let small = |random: &mut Random, low: i64, high: i64| {
        (low + random.below((high - low) as usize) as i64).to_string().into_bytes()
    };
    match name {
        "key" | "key1" | "key2" | "newkey" | "source" | "destination" => random.pick(KEYS).to_vec(),
        "value" | "message" => match random.below(12) {
            0 => vec![b'x'; 1 + random.below(2_000)],
            1 => small(random, 100_000, 1_000_000),
            _ => random.pick(VALUES).to_vec(),
        },
        "decrement" => random.pick(STEPS).to_vec(),
        "increment" if random.one_in(2) => random.pick(DECIMALS).to_vec(),
        "increment" => random.pick(STEPS).to_vec(),
        "start" | "end" if !random.one_in(6) => small(random, -12, 12),
        "offset" if !random.one_in(6) => small(random, 0, 40),
        "offset" => random.pick(&[&b"-1"[..], b"abc", b"536870912", b"9223372036854775807"]).to_vec(),
        "min-match-len" if !random.one_in(6) => small(random, 0, 6),
        "start" | "end" | "min-match-len" => random.pick(JUNK).to_vec(),
        "seconds" => deadline(random, 1, 0),
        "milliseconds" => deadline(random, 1_000, 0),
        "unix-time-seconds" => deadline(random, 1, now_ms() / 1_000),
        "unix-time-milliseconds" => deadline(random, 1_000, now_ms()),
        "db" | "destination-db" | "store" | "index1" | "index2" => random.pick(STORES).to_vec(),
        "pattern" => {
            const PATTERNS: &[&[u8]] = &[
                b"*", b"*", b"a*", b"?", b"[ab]", b"[^a]", b"[a-b]*", b"\\a", b"", b"*a*", b"[", b"[z-a]",
                b"**?", b"a",
            ];
            random.pick(PATTERNS).to_vec()
        }
        "cursor" if !random.one_in(8) => b"0".to_vec(),
        "cursor" => random.pick(&[&b"abc"[..], b"-1", b"", b"18446744073709551616", b"1.5"]).to_vec(),
        "count" => random.pick(&[&b"1"[..], b"2", b"10", b"1000", b"0", b"-1", b"-2", b"abc"]).to_vec(),
        "type" => random.pick(&[&b"string"[..], b"STRING", b"hash", b"list"]).to_vec(),
        "command-name" => random.pick(&[&b"get"[..], b"SET", b"config|get", b"nosuch", b"client"]).to_vec(),
        "protover" => random.pick(&[&b"2"[..], b"3", b"2", b"3", b"1", b"4", b"abc"]).to_vec(),
        "clientname" | "connection-name" => {
            random.pick(&[&b"alice"[..], b"bob", b"", b"two words", b"line\n", b"\xc3\xa9"]).to_vec()
        }
        "username" => random.pick(&[&b"nobody"[..], b"Default", b""]).to_vec(),
        "password" => random.pick(&[&b"secret"[..], b""]).to_vec(),
        "ip:port" => random.pick(&[&b"192.0.2.1:5"[..], b"nonsense", b""]).to_vec(),
        "client-id" => random.pick(&[&b"999999999"[..], b"0", b"-1", b"abc"]).to_vec(),
        "timeout" => random.pick(&[&b"0"[..], b"-1", b"abc"]).to_vec(),
        "section" => random.pick(&[&b"server"[..], b"keyspace", b"nosuch", b"all", b"everything"]).to_vec(),
        "parameter" => random.pick(&[&b"maxclients"[..], b"max*", b"nosuch", b"PORT"]).to_vec(),
        "channel" | "shardchannel" => random.pick(&[&b"news"[..], b"", b"a"]).to_vec(),
        "event" => random.pick(&[&b"command"[..], b"nosuch"]).to_vec(),
        "category" => random.pick(&[&b"string"[..], b"nosuch"]).to_vec(),
        "module-name" => b"nosuch".to_vec(),
        "libname" | "libver" => random.pick(&[&b"redis-py"[..], b"1.2.3", b"", b"two words"]).to_vec(),
        "numkeys" | "numlocal" | "numreplicas" => {
            random.pick(&[&b"1"[..], b"2", b"1", b"2", b"0", b"-1", b"abc", b"9223372036854775807"]).to_vec()
        }
        "name" | "flags" | "ip" => random.pick(JUNK).to_vec(),
        "version" => random.pick(&[&b"5"[..], b"6", b"abc"]).to_vec(),
        "ifeq-value" | "ifne-value" | "ifdeq-digest" | "ifdne-digest" => b"hello".to_vec(),
        _ => panic!("tests/differential/sequence.rs has no words for '{name}'"),
    }
}

/// A deadline that is past, far away, too far, or nonsense.
fn deadline(random: &mut Random, unit: i64, now: i64) -> Vec<u8> {
    let far = now + (1 + random.below(9) as i64) * 100_000 * unit;
    match random.below(10) {
        0 => b"0".to_vec(),
        1 => b"-1".to_vec(),
        2 => b"9223372036854775807".to_vec(),
        3 => random.pick(&[&b"abc"[..], b"", b"1.5", b"9223372036854775"]).to_vec(),
        4 => (now - 100_000 * unit).to_string().into_bytes(),
        _ => far.to_string().into_bytes(),
    }
}

fn is_past(words: &[Vec<u8>]) -> bool {
    words.windows(2).any(|pair| {
        let unit = if pair[0].eq_ignore_ascii_case(b"EXAT") { 1_000 } else { 1 };
        let number = std::str::from_utf8(&pair[1]).ok().and_then(|text| text.parse::<i64>().ok());
        (unit == 1_000 || pair[0].eq_ignore_ascii_case(b"PXAT"))
            && number.is_some_and(|at| at <= now_ms() / unit)
    })
}

/// Sets a deadline that passes before the next step.
fn short_lived(random: &mut Random) -> Vec<Vec<u8>> {
    let milliseconds = (1 + random.below(9)).to_string();
    let key = word("key", random);
    let typed: &[&[u8]] = match random.below(4) {
        0 => &[b"SET", &key, b"gone", b"PX", milliseconds.as_bytes()],
        1 => &[b"PSETEX", &key, milliseconds.as_bytes(), b"gone"],
        2 => &[b"GETEX", &key, b"PX", milliseconds.as_bytes()],
        _ => &[b"PEXPIRE", &key, milliseconds.as_bytes()],
    };
    typed.iter().map(|word| word.to_vec()).collect()
}

/// Makes a mistake, as people and programs do.
fn spoil(words: &mut Vec<Vec<u8>>, random: &mut Random) {
    const STRAY: &[&[u8]] = &[
        b"",
        b"abc",
        b"-1",
        b"0",
        b"1.5",
        b"9223372036854775807",
        b"9223372036854775808",
        b"NX",
        b"XX",
        b"GET",
        b"EX",
        b"KEEPTTL",
        b"PERSIST",
        b"WITHMATCHLEN",
        b"REPLACE",
        b"GT",
        b"MATCH",
        b"\x00",
        b"[",
    ];
    let is_risky =
        words.len() > 1 && words[0] == b"CLIENT" && [&b"PAUSE"[..], b"KILL"].contains(&&words[1][..]);
    let at = random.below(words.len());
    match random.below(5) {
        _ if is_risky => {}
        0 if words.len() > 1 => drop(words.pop()),
        1 => words.push(random.pick(STRAY).to_vec()),
        2 => words.insert(1.max(at), random.pick(STRAY).to_vec()),
        3 => words[at] = random.pick(STRAY).to_vec(),
        _ => {
            // not the name: some arguments are commands
            let other = 1.max(random.below(words.len()));
            if at > 0 && other < words.len() {
                words.swap(at, other);
            }
        }
    }
}
