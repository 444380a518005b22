//! The records of an RDB file, database by database.

use std::io::Read;

use super::shape::Shape;
use super::{Found, Record, named};
use crate::rdb::{Collect, Fault, File, Item, Key, Kind};
use crate::resp::format_double;

/// The records of an RDB file, each behind the number of its database, if that is another than before. With
/// `only_database`, those of this database, without the number.
pub fn read<'a>(
    from: impl Read + 'a,
    now_ms: u64,
    only_database: Option<u64>,
) -> impl Iterator<Item = Result<Found, String>> + 'a {
    let mut dump = Dump { file: None, database: None, only_database, value: None };
    let mut from = Some(from);
    let mut has_failed = false;
    std::iter::from_fn(move || {
        if has_failed {
            return None;
        }
        let found = match from.take() {
            None => dump.next(),
            Some(from) => File::open(from, now_ms).and_then(|file| {
                dump.file = Some(file);
                dump.next()
            }),
        };
        found.map_err(|fault| dump.error(&fault)).inspect_err(|_| has_failed = true).transpose()
    })
}

struct Dump<R> {
    file: Option<File<R>>,
    /// Of the record that was found last.
    database: Option<u64>,
    only_database: Option<u64>,
    /// A record that waits behind the number of its database.
    value: Option<Found>,
}

impl<R: Read> Dump<R> {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        if let Some(found) = self.value.take() {
            return Ok(Some(found));
        }
        let Some(file) = &mut self.file else { return Ok(None) };
        while let Some(item) = file.next_item()? {
            let key = match item {
                // they are of no database
                Item::Functions(_) if self.only_database.is_some() => continue,
                Item::Functions(code) => return Ok(Some(Found::Library(code))),
                Item::ModuleData(name) => {
                    let why = "it can't become a record".to_owned();
                    return Ok(Some(Found::Refused(format!("data of the module {name}"), why)));
                }
                Item::Key(key) if self.only_database.is_some_and(|only| only != key.database) => continue,
                Item::Key(key) => key,
            };
            let database = key.database;
            let Some(found) = value(file, key)? else { continue };
            if self.only_database.is_none() && self.database.replace(database) != Some(database) {
                self.value = Some(found);
                return Ok(Some(Found::Database(database)));
            }
            return Ok(Some(found));
        }
        Ok(None)
    }

    fn error(&self, fault: &Fault) -> String {
        let offset = self.file.as_ref().map_or(0, File::offset);
        format!("the RDB file can't be read beyond byte {offset}: {fault}")
    }
}

/// What becomes of a key; `None` if it has no members.
fn value<R: Read>(file: &mut File<R>, key: Key) -> Result<Option<Found>, Fault> {
    let value = match key.kind {
        Kind::String => file.text()?.map(|text| Ok(Some(text))),
        Kind::Stream | Kind::Module => {
            let why = format!("a {} can't become a record", key.type_name);
            file.read_value(&mut ())?.then_some(Err(why))
        }
        Kind::List | Kind::Set | Kind::SortedSet | Kind::Hash => {
            let mut collection = Collection::of(key.kind);
            file.read_value(&mut collection)?.then(|| collection.finish())
        }
    };
    Ok(match value.unwrap_or_else(|| Err("it has a string that is too long for a record".to_owned())) {
        Ok(Some(value)) => {
            Some(Found::Record(Record { key: key.name, value, expires_at_ms: key.expires_at_ms }))
        }
        Ok(None) => None,
        Err(why) => Some(Found::Refused(named(&key.name), why)),
    })
}

/// The members of a value. Those of a sorted set are put in order at the end.
struct Collection {
    shape: Shape,
    /// Members of a sorted set, one behind the other.
    members: Vec<u8>,
    /// Their scores, and where each ends.
    scores: Vec<(f64, usize)>,
}

impl Collection {
    fn of(kind: Kind) -> Collection {
        let shape = if matches!(kind, Kind::List | Kind::Set) { Shape::array() } else { Shape::object() };
        Collection { shape, members: Vec::new(), scores: Vec::new() }
    }

    fn finish(self) -> Result<Option<Vec<u8>>, String> {
        let Collection { mut shape, members, scores } = self;
        let starts = [0].into_iter().chain(scores.iter().map(|(_, end)| *end));
        let mut scored: Vec<(f64, &[u8])> =
            starts.zip(&scores).map(|(start, (score, end))| (*score, &members[start..*end])).collect();
        scored.sort_unstable_by(|(a, left), (b, right)| a.total_cmp(b).then_with(|| left.cmp(right)));
        scored.iter().for_each(|(score, member)| shape.scored(member, format_double(*score).as_bytes()));
        shape.finish()
    }
}

impl Collect for Collection {
    fn member(&mut self, member: &[u8]) {
        self.shape.member(member);
    }

    fn scored(&mut self, member: &[u8], score: f64) {
        self.members.extend_from_slice(member);
        self.scores.push((score, self.members.len()));
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.shape.field(name, value);
    }
}
