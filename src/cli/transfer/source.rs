//! Records of a running server, Larder or Redis, page by page.
//!
//! A page of keys comes from SCAN. A first round asks for types and lengths, so that a second one can read values and
//! deadlines of several keys in one MULTI without asking for more than [`TRANSFER_BYTES`] at once. The value and the
//! deadline of a record are thus of the same instant.
//!
//! Hashes, lists, sets and sorted sets of a Redis become JSON, in the form of [`super::shape`].

use std::vec::IntoIter;

use super::shape::Shape;
use super::{Found, Record, named};
use crate::cli::client::{Client, Reply, Request, request};
use crate::engine::clock;
use crate::limits::TRANSFER_BYTES;

/// Keys that one SCAN asks for.
const PAGE: &str = "256";

/// The records of the selected store.
pub struct Records {
    cursor: Vec<u8>,
    pattern: Option<String>,
    knows_deadlines: bool,
    is_done: bool,
    keys: Vec<Listed>,
    found: IntoIter<Found>,
}

/// A key with what its record is.
struct Listed {
    key: Vec<u8>,
    kind: Kind,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Hash,
    List,
    Set,
    SortedSet,
}

impl Records {
    pub fn new(client: &mut Client, pattern: Option<String>) -> Result<Records, String> {
        // Redis has it from 7.0 on
        let probe = client.call(request(&["PEXPIRETIME", "0"]))?;
        Ok(Records {
            cursor: b"0".to_vec(),
            pattern,
            knows_deadlines: !matches!(probe, Reply::Error(_)),
            is_done: false,
            keys: Vec::new(),
            found: Vec::new().into_iter(),
        })
    }

    /// The next record; `None` at the end. The client belongs to the caller, who may use it in between.
    pub fn next(&mut self, client: &mut Client) -> Result<Option<Found>, String> {
        loop {
            if let Some(found) = self.found.next() {
                return Ok(Some(found));
            }
            self.found = if !self.keys.is_empty() {
                self.read_some(client)?.into_iter()
            } else if self.is_done {
                return Ok(None);
            } else {
                self.list_page(client)?.into_iter()
            };
        }
    }

    /// Reads the next page of keys. Returns what is no record.
    fn list_page(&mut self, client: &mut Client) -> Result<Vec<Found>, String> {
        let mut scan = vec![b"SCAN".to_vec(), std::mem::take(&mut self.cursor)];
        scan.extend(request(&["COUNT", PAGE]));
        if let Some(pattern) = &self.pattern {
            scan.extend(request(&["MATCH", pattern]));
        }
        let (cursor, keys) = match client.call(scan)? {
            Reply::List(page) => match <[Reply; 2]>::try_from(page) {
                Ok([Reply::Text(cursor), Reply::List(keys)]) => (cursor, keys),
                _ => return Err("SCAN gave no page".to_owned()),
            },
            Reply::Error(error) => return Err(error),
            _ => return Err("SCAN gave no page".to_owned()),
        };
        self.is_done = cursor == b"0";
        self.cursor = cursor;
        let keys: Vec<Vec<u8>> = keys.into_iter().filter_map(text).collect();
        let questions: Vec<Request> = keys
            .iter()
            .flat_map(|key| ["TYPE", "STRLEN"].map(|name| vec![name.as_bytes().to_vec(), key.clone()]))
            .collect();
        let mut answers = client.pipeline(&questions)?.into_iter();
        let mut refused = Vec::new();
        for key in keys {
            let (Some(kind), Some(length)) = (answers.next(), answers.next()) else { break };
            let kind = match kind {
                Reply::Text(kind) => kind,
                Reply::Error(error) => return Err(error),
                _ => continue,
            };
            let kind = match &kind[..] {
                b"string" => Kind::Text,
                b"hash" => Kind::Hash,
                b"list" => Kind::List,
                b"set" => Kind::Set,
                b"zset" => Kind::SortedSet,
                // it was removed since it was listed
                b"none" => continue,
                other => {
                    let why = format!("a {} can't become a record", String::from_utf8_lossy(other));
                    refused.push(Found::Refused(named(&key), why));
                    continue;
                }
            };
            let bytes = match length {
                Reply::Integer(bytes) => usize::try_from(bytes).unwrap_or(0),
                _ => 0,
            };
            self.keys.push(Listed { key, kind, bytes });
        }
        self.keys.reverse();
        Ok(refused)
    }

    /// Reads as many of the listed keys as fit, at one instant.
    fn read_some(&mut self, client: &mut Client) -> Result<Vec<Found>, String> {
        let (mut some, mut bytes) = (Vec::new(), 0);
        while let Some(listed) =
            self.keys.pop_if(|listed| bytes == 0 || bytes + listed.bytes <= TRANSFER_BYTES)
        {
            bytes += listed.bytes.max(1);
            some.push(listed);
        }
        let deadline = if self.knows_deadlines { "PEXPIRETIME" } else { "PTTL" };
        let mut group = vec![request(&["MULTI"])];
        for Listed { key, kind, .. } in &some {
            group.push(kind.reading(key));
            group.push(vec![deadline.as_bytes().to_vec(), key.clone()]);
        }
        group.push(request(&["EXEC"]));
        let read = match client.pipeline(&group)?.pop() {
            Some(Reply::List(read)) if read.len() == 2 * some.len() => read,
            Some(Reply::Error(error)) => return Err(error),
            _ => return Err("EXEC gave something else than what was asked for".to_owned()),
        };
        let mut read = read.into_iter();
        let found = some.into_iter().filter_map(|listed| {
            let (value, left) = (read.next()?, read.next()?);
            self.found(listed, value, left)
        });
        Ok(found.collect())
    }

    fn found(&self, Listed { key, kind, .. }: Listed, value: Reply, left: Reply) -> Option<Found> {
        let expires_at_ms = match left {
            // gone: PEXPIRETIME and PTTL agree on this number
            Reply::Integer(-2) => return None,
            Reply::Integer(-1) => None,
            Reply::Integer(ms) => {
                let ms = u64::try_from(ms).unwrap_or(0);
                Some(if self.knows_deadlines { ms } else { clock::now_ms().saturating_add(ms) })
            }
            Reply::Error(error) => return Some(Found::Refused(named(&key), error)),
            _ => None,
        };
        match kind.value(value) {
            Ok(Some(value)) => Some(Found::Record(Record { key, value, expires_at_ms })),
            Ok(None) => None,
            Err(why) => Some(Found::Refused(named(&key), why)),
        }
    }
}

impl Kind {
    fn reading(self, key: &[u8]) -> Request {
        let (name, rest): (_, &[&str]) = match self {
            Kind::Text => ("GET", &[]),
            Kind::Hash => ("HGETALL", &[]),
            Kind::List => ("LRANGE", &["0", "-1"]),
            Kind::Set => ("SMEMBERS", &[]),
            Kind::SortedSet => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
        };
        let mut words = vec![name.as_bytes().to_vec(), key.to_vec()];
        words.extend(request(rest));
        words
    }

    /// What was read, as a value; `None` if it is gone.
    fn value(self, read: Reply) -> Result<Option<Vec<u8>>, String> {
        let members = match read {
            Reply::Text(value) => return Ok(Some(value)),
            Reply::Null => return Ok(None),
            Reply::List(members) => members,
            Reply::Error(error) => return Err(error),
            Reply::Integer(_) => return Err("it was answered with a number".to_owned()),
        };
        let members: Vec<Vec<u8>> = members.into_iter().filter_map(text).collect();
        let mut shape =
            if matches!(self, Kind::Hash | Kind::SortedSet) { Shape::object() } else { Shape::array() };
        match self {
            Kind::Text | Kind::List | Kind::Set => members.iter().for_each(|member| shape.member(member)),
            Kind::Hash => members.as_chunks().0.iter().for_each(|[name, value]| shape.field(name, value)),
            Kind::SortedSet => {
                members.as_chunks().0.iter().for_each(|[member, score]| shape.scored(member, score));
            }
        }
        shape.finish()
    }
}

fn text(reply: Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn value(kind: Kind, members: &[&str]) -> String {
        let list = members.iter().map(|member| Reply::Text(member.as_bytes().to_vec())).collect();
        String::from_utf8(kind.value(Reply::List(list)).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn collections_become_json() {
        assert_eq!(value(Kind::Hash, &["a", "1", "\"", "x\ny"]), r#"{"a":"1","\"":"x\ny"}"#);
        assert_eq!(value(Kind::List, &["b", "a", "b"]), r#"["b","a","b"]"#);
        assert_eq!(
            value(Kind::SortedSet, &["m", "1.5", "n", "inf", "o", "1e+30"]),
            r#"{"m":1.5,"n":"inf","o":1e+30}"#
        );
        let binary = Reply::List(vec![Reply::Text(vec![0xff])]);
        assert!(Kind::Set.value(binary).is_err());
        assert_eq!(Kind::Hash.value(Reply::List(vec![])), Ok(None));
    }
}
