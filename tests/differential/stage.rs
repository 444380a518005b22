//! Both servers, and a sequence said to both of them.

use std::collections::BTreeSet;
use std::fmt;
use std::thread;
use std::time::Duration;

use super::differences::{self, Compare, Verdict};
use super::sequence::{CONNECTIONS, Step};
use super::support::{Connection, Reply, Server, printable, request};

/// Longer than the longest deadline that passes during a sequence.
const EXPIRY: Duration = Duration::from_millis(30);

/// Larder and the reference, both for byte strings of any kind.
pub struct Stage {
    larder: Server,
    redis: Server,
    protocol: u8,
    /// Of all commands that Larder has.
    names: BTreeSet<String>,
}

impl Stage {
    pub fn new(protocol: u8, names: BTreeSet<String>) -> Stage {
        Stage {
            larder: Server::larder(&["--default-values", "any", "--appendfsync", "no"]),
            // expired keys are removed soon, as in Larder, so that DBSIZE does not count them
            redis: Server::redis(&["--hz", "500"]),
            protocol,
            names,
        }
    }

    /// The commands that the reference knows.
    pub fn reference_has(&self) -> BTreeSet<String> {
        let Reply::Array(specs) = self.redis.connect().ask("COMMAND") else {
            panic!("COMMAND gives an array")
        };
        let mut names = BTreeSet::new();
        for spec in &specs {
            let name = |spec: &Reply| spec.elements()[0].text().replace('|', " ");
            names.insert(name(spec));
            names.extend(spec.elements()[9].elements().iter().map(name));
        }
        names
    }

    /// Plays a sequence on empty servers; the first difference ends it.
    pub fn play(&self, steps: &[Step]) -> Result<(), Difference> {
        for server in [&self.larder, &self.redis] {
            assert_eq!(server.connect().ask("FLUSHALL"), Reply::ok());
        }
        let mut pairs: Vec<Pair> = (0..CONNECTIONS).map(|_| self.pair()).collect();
        for step in steps {
            let pair = &mut pairs[step.connection];
            let name = self.name_of(&step.words);
            let (larder, redis) = pair.call(&step.words);
            match pair.judge(&name, step, &larder, &redis) {
                Verdict::Alike => {}
                Verdict::Meant => return Ok(()),
                Verdict::Different => {
                    return Err(Difference { larder: shown(&larder), redis: shown(&redis) });
                }
            }
            if name == "quit" || larder.is_none() {
                *pair = self.pair();
            }
        }
        Ok(())
    }

    fn pair(&self) -> Pair {
        let mut pair = Pair {
            larder: self.larder.connect(),
            redis: self.redis.connect(),
            queued: None,
            queued_expires: false,
        };
        if self.protocol == 3 {
            pair.call(&[b"HELLO".to_vec(), b"3".to_vec()]);
        }
        pair
    }

    /// `get`, `client list`; empty if there is no such command.
    fn name_of(&self, words: &[Vec<u8>]) -> String {
        let lower = |word: &Vec<u8>| String::from_utf8_lossy(word).to_lowercase();
        let container = words.first().map(lower).unwrap_or_default();
        let sub = words.get(1).map(|word| format!("{container} {}", lower(word)));
        [sub, Some(container)]
            .into_iter()
            .flatten()
            .find(|name| self.names.contains(name))
            .unwrap_or_default()
    }
}

/// Where the servers went apart.
pub struct Difference {
    larder: String,
    redis: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Larder: {}\nRedis:  {}", self.larder, self.redis)
    }
}

fn shown(reply: &Option<Reply>) -> String {
    reply.as_ref().map_or_else(|| "closed, or no reply".into(), ToString::to_string)
}

/// A connection to each.
struct Pair {
    larder: Connection,
    redis: Connection,
    /// Between MULTI and EXEC: the commands whose replies EXEC gives.
    queued: Option<Vec<String>>,
    queued_expires: bool,
}

impl Pair {
    /// `None`: there is no reply.
    fn call(&mut self, words: &[Vec<u8>]) -> (Option<Reply>, Option<Reply>) {
        let bytes = request(words);
        let both = [&mut self.larder, &mut self.redis];
        let sent = both.map(|connection| connection.try_send(&bytes).is_ok());
        let read = |connection: &mut Connection, sent| if sent { connection.try_read().ok() } else { None };
        (read(&mut self.larder, sent[0]), read(&mut self.redis, sent[1]))
    }

    /// Compares, and follows what the replies say of the transaction. Waits if something is to expire now.
    fn judge(&mut self, name: &str, step: &Step, larder: &Option<Reply>, redis: &Option<Reply>) -> Verdict {
        let (Some(larder), Some(redis)) = (larder, redis) else {
            return if larder == redis { Verdict::Alike } else { Verdict::Different };
        };
        if *larder == Reply::Simple(b"QUEUED".to_vec()) {
            self.queued_expires |= step.expires;
            self.queued.get_or_insert_default().push(name.into());
            return differences::judge(name, Compare::Bytes, larder, redis);
        }
        let verdict = match name {
            "exec" => self.judge_all(larder, redis),
            "scan" => self.judge_pages(&step.words, larder, redis),
            _ => differences::judge(name, differences::compare_of(name), larder, redis),
        };
        let has_expired = step.expires || (name == "exec" && self.queued_expires);
        if has_expired {
            thread::sleep(EXPIRY);
        }
        match name {
            "exec" | "discard" if larder.is_error("ERR") => {}
            "exec" | "discard" | "reset" => {
                self.queued = None;
                self.queued_expires = false;
            }
            _ => {}
        }
        verdict
    }

    /// The replies of EXEC, each as its command's.
    fn judge_all(&self, larder: &Reply, redis: &Reply) -> Verdict {
        let queued = self.queued.as_deref().unwrap_or_default();
        match (larder, redis) {
            (Reply::Array(ours), Reply::Array(theirs)) if ours.len() == theirs.len() => {
                let each = queued.iter().zip(ours.iter().zip(theirs));
                let each = each.map(|(name, (ours, theirs))| {
                    differences::judge(name, differences::compare_of(name), ours, theirs)
                });
                match each.max().unwrap_or(Verdict::Alike) {
                    // meant: all replies are in the protocol that the transaction ends with, in Redis each in that of its time
                    Verdict::Different if queued.iter().any(|name| name == "hello") => Verdict::Meant,
                    verdict => verdict,
                }
            }
            _ => differences::judge("exec", Compare::Bytes, larder, redis),
        }
    }

    /// All pages of a scan together, if it begins at the beginning.
    fn judge_pages(&mut self, words: &[Vec<u8>], larder: &Reply, redis: &Reply) -> Verdict {
        match (pages(&mut self.larder, words, larder), pages(&mut self.redis, words, redis)) {
            (Some(ours), Some(theirs)) if ours == theirs => Verdict::Alike,
            (Some(_), Some(_)) => Verdict::Different,
            _ => differences::judge("scan", Compare::Type, larder, redis),
        }
    }
}

/// The keys of all pages of a scan that begins with this one; `None` if it doesn't begin at the beginning.
fn pages(connection: &mut Connection, words: &[Vec<u8>], first: &Reply) -> Option<BTreeSet<String>> {
    if words.get(1)? != b"0" {
        return None;
    }
    let mut keys = BTreeSet::new();
    let mut page = first.clone();
    let mut words = words.to_vec();
    while let Reply::Array(parts) = &page {
        let [cursor, found] = &parts[..] else { return None };
        keys.extend(found.elements().iter().map(ToString::to_string));
        if cursor.bytes() == b"0" {
            return Some(keys);
        }
        words[1] = cursor.bytes().to_vec();
        page = connection.call(&words);
    }
    None
}

/// A step as the files of tests/scenarios write it.
impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ["", "second", "third"][self.connection];
        write!(out, "{name}>")?;
        for word in &self.words {
            let plain = !word.is_empty()
                && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
            match plain {
                true => write!(out, " {}", String::from_utf8_lossy(word))?,
                false => write!(out, " \"{}\"", printable(word))?,
            }
        }
        Ok(())
    }
}
