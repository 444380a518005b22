//! STORE TREE: the keys of a store as a tree, one level at a time.
//!
//! With the separator `:`, the keys `user:1`, `user:2:name` and `version` have two nodes on their first level: the group
//! `user:` with two keys, and the key `version`. Keys are in order, so all keys of a group are next to each other, and
//! the next node is found by seeking past the group. A level of ten groups therefore costs ten seeks, however many keys
//! are in them; only counting looks at the keys of a group, and that is bounded.
//!
//! Each group is counted as it is at its own moment, since a page is made by many scans.

use std::cell::Cell;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use memchr::memmem;

use crate::acl::{Access, Sight};
use crate::command::base::reach::Stores;
use crate::command::base::{Call, Plan, Spec, permission};
use crate::command::keys::scan::{ABSENT_FREE, bulk, check_presence, with_cursor};
use crate::command::stores::ASKING;
use crate::engine::Seq;
use crate::engine::scan::{End, Range, successor};
use crate::error::Error;
use crate::limits::{TREE_KEYS_COUNTED_MAX, TREE_PAGE_KEYS, TREE_SEPARATOR_BYTES_MAX};
use crate::record::number;
use crate::resp::Reply;
use crate::store::StoreId;
use crate::store::cursor::{Piece, Position};

pub const TREE: Spec = Spec {
    name: "store|tree",
    syntax: "name [PREFIX prefix] [SEPARATOR separator] [CURSOR cursor] [COUNT count]",
    summary: "Returns a page of what is directly below a prefix, in order, and a cursor to go on with: keys, and groups of keys with the same text up to the next separator (':' by default), as group, prefix, number of keys, and 1 if there are more keys than were counted",
    complexity: "O(N) where N is the number of keys that are counted: at most 10,000 of each group, and about 100,000 for a page",
    arity: -3,
    stores: Stores::THIRD_WORD,
    plan: tree,
    ..ASKING
};

/// The number of nodes of a page by default.
const COUNT_DEFAULT: usize = 100;

/// What a request asks for.
struct Level<'a> {
    prefix: &'a [u8],
    separator: &'a [u8],
    cursor: u64,
    count: usize,
}

impl<'a> Level<'a> {
    fn of(options: &'a [Bytes]) -> Result<Level<'a>, Error> {
        let mut level = Level { prefix: b"", separator: b":", cursor: 0, count: COUNT_DEFAULT };
        for option in options.chunks(2) {
            let [name, value] = option else { return Err(Error::Syntax) };
            match &name.to_ascii_lowercase()[..] {
                b"prefix" => level.prefix = value,
                b"separator" if value.is_empty() || value.len() > TREE_SEPARATOR_BYTES_MAX => {
                    return Err(Error::other("ERR the separator must have from 1 to 64 bytes"));
                }
                b"separator" => level.separator = value,
                b"cursor" => {
                    let cursor = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    level.cursor = cursor.ok_or(Error::other("ERR invalid cursor"))?;
                }
                b"count" => {
                    let count = number::parse_i64(value).ok_or(Error::NotInteger)?;
                    let count = usize::try_from(count).ok().filter(|count| *count > 0);
                    level.count = count.ok_or(Error::Syntax)?;
                }
                _ => return Err(Error::Syntax),
            }
        }
        Ok(level)
    }

    /// The group that a key of this level is in; `None` if the key is a node of its own.
    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let at = memmem::find(key.get(self.prefix.len()..)?, self.separator)?;
        Some(&key[..self.prefix.len() + at + self.separator.len()])
    }
}

/// Where the next node is looked for.
enum Place {
    After(Bytes),
    /// After all keys of this group.
    Behind(Bytes),
}

impl Place {
    /// What a cursor remembers. The first byte says which it is.
    fn remembered(&self) -> Bytes {
        match self {
            Place::After(key) => [b"k", &key[..]].concat().into(),
            Place::Behind(group) => [b"g", &group[..]].concat().into(),
        }
    }

    fn recalled(position: Position) -> Option<Place> {
        let Position::After(remembered) = position else { return None };
        match remembered.split_first()? {
            (b'k', key) => Some(Place::After(remembered.slice_ref(key))),
            (b'g', group) => Some(Place::Behind(remembered.slice_ref(group))),
            _ => None,
        }
    }
}

fn tree(call: &mut Call<'_>) -> Result<Plan, Error> {
    let store = call.server.known_store(call.arg(2))?;
    let level = Level::of(call.rest(3))?;
    let (engine, cursors) = (&call.server.engine, &call.server.cursors);
    let generation = engine.with_catalog(|catalog| catalog.get(store).map(|store| store.generation));
    let generation = generation.ok_or_else(|| Error::NoStore(store.to_string()))?;
    let sight = permission::sight(call, store, Access::empty());
    let walk = Walk { call, store, sight: &sight, looked_at: Cell::new(0) };
    let room = level.count.min(call.server.keys_per_query(store));

    // a position may be a key that must not be shown, so no part of one is ever in a cursor
    let mut place = Place::recalled(cursors.recall(generation, b"", level.cursor));
    let (mut nodes, mut reflects) = (Vec::new(), 0);
    loop {
        let behind = match &place {
            Some(Place::Behind(group)) => match successor(group) {
                Some(next) => next,
                None => return Ok(Plan::Reflecting(with_cursor(0, nodes), reflects)),
            },
            _ => Vec::new(),
        };
        let from = match &place {
            None => Bound::Unbounded,
            Some(Place::After(key)) => Bound::Excluded(&key[..]),
            Some(Place::Behind(_)) => Bound::Included(&behind[..]),
        };
        let is_full = nodes.len() == room || walk.looked_at.get() >= TREE_PAGE_KEYS;
        if let Some(place) = place.as_ref().filter(|_| is_full) {
            let cursor = cursors.remember(generation, b"", place.remembered(), Piece::Hidden);
            return Ok(Plan::Reflecting(with_cursor(cursor, nodes), reflects));
        }
        let (first, end) = walk.first(level.prefix, from)?;
        reflects = reflects.max(end.reflects);
        let Some(key) = first else {
            let Some(last) = end.more_after else {
                return Ok(Plan::Reflecting(with_cursor(0, nodes), reflects));
            };
            place = Some(Place::After(last));
            continue;
        };
        let Some(group) = level.group(&key) else {
            nodes.push(Reply::Array(vec![Reply::text("key"), bulk(&key)]));
            place = Some(Place::After(key));
            continue;
        };
        let (count, is_more, seen) = walk.count(group, &key)?;
        reflects = reflects.max(seen);
        let [count, is_more] = [count as i64, i64::from(is_more)].map(Reply::Integer);
        nodes.push(Reply::Array(vec![Reply::text("group"), bulk(group), count, is_more]));
        place = Some(Place::Behind(key.slice_ref(group)));
    }
}

/// The scans of one page.
struct Walk<'w> {
    call: &'w Call<'w>,
    store: StoreId,
    sight: &'w Sight,
    /// How many keys they looked at, with those that may not be shown and those of removed records.
    looked_at: Cell<usize>,
}

impl Walk<'_> {
    /// The first key with this prefix that may be shown.
    fn first(&self, prefix: &[u8], from: Bound<&[u8]>) -> Result<(Option<Bytes>, End), Error> {
        let left = TREE_PAGE_KEYS.saturating_sub(self.looked_at.get()).max(1);
        let mut first = None;
        let end = self.scan(prefix, from, left, &mut |key| {
            first = Some(Bytes::copy_from_slice(key));
            ControlFlow::Break(())
        })?;
        Ok((first, end))
    }

    /// How many keys of a group may be shown, whether there may be more than were counted, and what that reflects.
    fn count(&self, group: &[u8], first: &[u8]) -> Result<(usize, bool, Seq), Error> {
        let mut count = 0;
        let end = self.scan(group, Bound::Included(first), TREE_KEYS_COUNTED_MAX, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok((count, end.more_after.is_some(), end.reflects))
    }

    fn scan(
        &self,
        prefix: &[u8],
        from: Bound<&[u8]>,
        keys_max: usize,
        visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<End, Error> {
        let client = &self.call.session.client;
        let wants = |key: &[u8]| {
            self.looked_at.set(self.looked_at.get() + 1);
            client.is_leaving() || self.sight.shows(key)
        };
        // all keys that may be shown have the longer of the two
        let shown = self.sight.prefix();
        let prefix = if shown.starts_with(prefix) { shown } else { prefix };
        let range = Range { store: self.store, prefix, from, keys_max, absent_free: ABSENT_FREE };
        self.call.server.engine.scan(self.call.now_ms, range, &wants, &mut |row| {
            check_presence(client)?;
            Ok(visit(row.key()))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use bytes::Bytes;

    use crate::command::dispatch;
    use crate::command::tests::harness::{Harness, session, shown};
    use crate::limits::TREE_KEYS_COUNTED_MAX;
    use crate::resp::{Reply, Request};

    /// The nodes of a page as texts such as `user: 2` and `version`, and its cursor.
    fn page(h: &mut Harness, line: &str) -> (Vec<String>, String) {
        let unquoted = |reply: &Reply| shown(reply).trim_matches('"').to_owned();
        let Reply::Array(parts) = h.run(line) else { panic!("{line}") };
        let [cursor, Reply::Array(nodes)] = &parts[..] else { panic!("{line}: {parts:?}") };
        let nodes = nodes.iter().map(|node| match node {
            Reply::Array(node) => match &node[..] {
                [_, key] => unquoted(key),
                [_, group, Reply::Integer(count), Reply::Integer(is_more)] => {
                    format!("{} {count}{}", unquoted(group), if *is_more == 1 { "+" } else { "" })
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        });
        (nodes.collect(), unquoted(cursor))
    }

    fn all(h: &mut Harness, options: &str) -> Vec<String> {
        let (mut all, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let (nodes, next) = page(h, &format!("STORE TREE 0 {options} CURSOR {cursor}"));
            all.extend(nodes);
            if next == "0" {
                return all;
            }
            cursor = next;
        }
    }

    fn send(h: &mut Harness, words: &[&[u8]]) -> Reply {
        let args = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
        let mut session = session(&h.server);
        dispatch(&h.server, &mut session, Request { args }).reply.expect("a reply")
    }

    fn put(h: &mut Harness, keys: &[&str]) {
        for key in keys {
            h.expect(&[(&format!("SET {key} 1"), "OK")]);
        }
    }

    #[test]
    fn a_level_has_groups_and_keys_in_order() {
        let mut h = Harness::new();
        put(
            &mut h,
            &["user:1", "user:2:name", "user:2:age", "user:", "user", "a", "z:1", "::", "x/y:z", "x/z"],
        );
        for checkpointed in [false, true] {
            if checkpointed {
                h.server.engine.writer().checkpoint().unwrap();
            }
            for (options, nodes) in [
                ("", &[": 1", "a", "user", "user: 4", "x/y: 1", "x/z", "z: 1"][..]),
                ("PREFIX user:", &["user:", "user:1", "user:2: 2"]),
                ("PREFIX user:2:", &["user:2:age", "user:2:name"]),
                ("PREFIX us", &["user", "user: 4"]),
                ("PREFIX :", &[":: 1"]),
                ("PREFIX nobody", &[]),
                (
                    "SEPARATOR /",
                    &["::", "a", "user", "user:", "user:1", "user:2:age", "user:2:name", "x/ 2", "z:1"],
                ),
                ("SEPARATOR ser:", &["::", "a", "user", "user: 4", "x/y:z", "x/z", "z:1"]),
            ] {
                for count in [1, 2, 100] {
                    assert_eq!(all(&mut h, &format!("{options} COUNT {count}")), nodes, "{options} {count}");
                }
            }
        }
    }

    #[test]
    fn the_last_group_of_all_ends_a_level() {
        let mut h = Harness::new();
        let key = |tail: &[u8]| Bytes::from([b"\xff\xff", tail].concat());
        for tail in [&b"a"[..], b"b"] {
            send(&mut h, &[b"SET", &key(tail), b"1"]);
        }
        let told = send(&mut h, &[b"STORE", b"TREE", b"0", b"SEPARATOR", b"\xff\xff", b"COUNT", b"1"]);
        let Reply::Array(parts) = told else { panic!("{told:?}") };
        assert_eq!(shown(&parts[0]), "\"0\"");
    }

    /// Keys that are gone, or that the user may not know about, are neither named nor counted.
    #[test]
    fn only_what_may_be_shown_is_told() {
        let mut h = Harness::new();
        put(&mut h, &["a:1", "a:2", "b:1", "b:secret:1", "c:1", "d"]);
        h.expect(&[("DEL c:1", "1")]);
        assert_eq!(all(&mut h, ""), ["a: 2", "b: 2", "d"]);
        h.expect(&[
            ("ACL SETUSER some on nopass +@all ~a:1 ~b:secret:*", "OK"),
            ("ACL SETUSER none on nopass +@all", "OK"),
            ("AUTH some x", "OK"),
        ]);
        for count in [1, 100] {
            assert_eq!(all(&mut h, &format!("COUNT {count}")), ["a: 1", "b: 1"]);
        }
        assert_eq!(all(&mut h, "PREFIX b:"), ["b:secret: 1"]);
        h.expect(&[("AUTH none x", "OK")]);
        assert_eq!(all(&mut h, ""), [""; 0]);
    }

    #[test]
    fn counts_and_pages_are_bounded() {
        let mut h = Harness::new();
        for at in 0..TREE_KEYS_COUNTED_MAX {
            send(&mut h, &[b"SET", format!("k:{at:06}").as_bytes(), b"1"]);
        }
        put(&mut h, &["z"]);
        assert_eq!(all(&mut h, ""), ["k: 10000", "z"]);
        put(&mut h, &["k:z"]);
        assert_eq!(all(&mut h, ""), ["k: 10000+", "z"]);
        assert_eq!(page(&mut h, "STORE TREE 0 PREFIX k: COUNT 5000").0.len(), 1024, "max-keys-per-query");
    }

    #[test]
    fn bad_requests_are_refused() {
        let mut h = Harness::new();
        h.expect(&[
            ("STORE TREE none", "-NOSTORE no store is named 'none'; create it with STORE CREATE"),
            ("STORE TREE 0 SEPARATOR", "-ERR syntax error"),
            ("STORE TREE 0 COUNT 0", "-ERR syntax error"),
            ("STORE TREE 0 COUNT x", "-ERR value is not an integer or out of range"),
            ("STORE TREE 0 CURSOR x", "-ERR invalid cursor"),
            ("STORE TREE 0 SORTED yes", "-ERR syntax error"),
        ]);
        let long = "x".repeat(65);
        for separator in ["", &long] {
            let told = send(&mut h, &[b"STORE", b"TREE", b"0", b"SEPARATOR", separator.as_bytes()]);
            assert!(shown(&told).contains("from 1 to 64 bytes"), "{told:?}");
        }
    }
}
