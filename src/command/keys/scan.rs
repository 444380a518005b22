//! KEYS and SCAN: the keys of a store, all at once or page by page.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::acl::{Access, Sight};
use crate::client::Client;
use crate::command::base::{Call, Flags, Group, Plan, Spec, permission};
use crate::engine::Seq;
use crate::engine::scan::{Range, Row};
use crate::error::Error;
use crate::record::number;
use crate::resp::Reply;
use crate::store::cursor::{Piece, Position};
use crate::store::{Pattern, StoreId};

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "keys",
        syntax: "pattern",
        summary: "Returns all keys that match a pattern; fails if there are more than max-keys-per-query",
        group: Group::Generic,
        complexity: "O(N) where N is the number of keys that begin with the part of the pattern before its first special character",
        arity: 2,
        flags: Flags::READONLY.union(Flags::DANGEROUS).union(Flags::LONG),
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        plan: keys,
        ..Spec::DEFAULT
    },
    Spec {
        name: "scan",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        summary: "Returns a page of keys, in order, and the cursor of the next page",
        group: Group::Generic,
        since: "2.8.0",
        complexity: "O(count) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of keys in the store, or of those that begin with the part of the pattern before its first special character.",
        arity: -2,
        flags: Flags::READONLY.union(Flags::LONG),
        tips: &["nondeterministic_output", "request_policy:special"],
        plan: scan,
        ..Spec::DEFAULT
    },
];

/// The number of keys of removed records that a page skips without counting them, so that pages after a bulk deletion
/// are rarely empty.
pub const ABSENT_FREE: usize = 4_096;
/// The default number of keys that a page looks at, as in Redis.
const COUNT_DEFAULT: usize = 10;

fn keys(call: &mut Call<'_>) -> Result<Plan, Error> {
    let pattern = Pattern::new(call.arg(1))?;
    let (server, store) = (call.server, call.session.store);
    let limit = server.keys_per_query(store);
    let mut keys = Vec::new();
    let client = &call.session.client;
    let sight = permission::sight(call, store, Access::empty());
    // if the client has left, every key matches, so that the scan ends at the next one
    let wants = |key: &[u8]| client.is_leaving() || pattern.matches(key) && sight.shows(key);
    let prefix = narrower(&pattern, &sight);
    let range = range(store, &pattern, prefix, Bound::Unbounded, usize::MAX);
    let end = server.engine.scan(call.now_ms, range, &wants, &mut |row| {
        check_presence(client)?;
        if keys.len() == limit {
            return Err(Error::TooManyKeys { store: server.store_label(store), limit });
        }
        keys.push(bulk(row.key()));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Plan::Reflecting(Reply::Array(keys), end.reflects))
}

fn scan(call: &mut Call<'_>) -> Result<Plan, Error> {
    let mut page = Page::new(call.arg(1))?;
    let mut is_empty = false;
    for option in call.rest(2).chunks(2) {
        let [name, value] = option else { return Err(Error::Syntax) };
        if name.eq_ignore_ascii_case(b"type") {
            // every record is a string to Redis's clients
            is_empty = !value.eq_ignore_ascii_case(b"string");
        } else {
            page.set(name, value)?;
        }
    }
    if is_empty {
        return Ok(Plan::Reply(with_cursor(0, Vec::new())));
    }
    let mut keys = Vec::new();
    let (cursor, reflects) = page.visit(call, call.session.store, Access::empty(), &mut |row| {
        keys.push(bulk(row.key()));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Plan::Reflecting(with_cursor(cursor, keys), reflects))
}

/// Fails if nobody waits for the reply any more.
pub fn check_presence(client: &Client) -> Result<(), Error> {
    if client.is_leaving() {
        Err(Error::other("ERR the client left before the command ended"))
    } else {
        Ok(())
    }
}

/// The part of a store's records that a request shows: what SCAN and STORE ENTRIES have in common.
pub struct Page {
    cursor: u64,
    pattern: Pattern,
    /// The most keys that are looked at.
    count: usize,
}

impl Page {
    pub fn new(cursor: &[u8]) -> Result<Page, Error> {
        let mut page = Page { cursor: 0, pattern: Pattern::all(), count: COUNT_DEFAULT };
        page.set_cursor(cursor)?;
        Ok(page)
    }

    pub fn set_cursor(&mut self, cursor: &[u8]) -> Result<(), Error> {
        let number = std::str::from_utf8(cursor).ok().and_then(|cursor| cursor.parse().ok());
        self.cursor = number.ok_or(Error::other("ERR invalid cursor"))?;
        Ok(())
    }

    /// Parses MATCH or COUNT.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        if name.eq_ignore_ascii_case(b"match") {
            self.pattern = Pattern::new(value)?;
        } else if name.eq_ignore_ascii_case(b"count") {
            let count = number::parse_i64(value).ok_or(Error::NotInteger)?;
            self.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Error::Syntax)?;
        } else {
            return Err(Error::Syntax);
        }
        Ok(())
    }

    /// Calls `visit` with the records of the page to which the user has this access, at most `max-keys-per-query`,
    /// until it breaks. Returns the cursor of the next page, or 0 if this is the last, and the sequence number that the
    /// page reflects.
    pub fn visit(
        &self,
        call: &Call<'_>,
        store: StoreId,
        access: Access,
        visit: &mut dyn FnMut(Row<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(u64, Seq), Error> {
        let (engine, cursors) = (&call.server.engine, &call.server.cursors);
        let generation = engine.with_catalog(|catalog| catalog.get(store).map(|store| store.generation));
        let generation = generation.ok_or_else(|| Error::NoStore(store.to_string()))?;
        let sight = permission::sight(call, store, access);
        let prefix = narrower(&self.pattern, &sight);
        let position = cursors.recall(generation, prefix, self.cursor);
        let from = match &position {
            Position::Start => Bound::Unbounded,
            Position::After(key) => Bound::Excluded(&key[..]),
            Position::At(key) => Bound::Included(&key[..]),
        };
        let client = &call.session.client;
        let wants = |key: &[u8]| client.is_leaving() || self.pattern.matches(key) && sight.shows(key);
        let mut room = call.server.keys_per_query(store);
        let range = range(store, &self.pattern, prefix, from, self.count);
        let end = engine.scan(call.now_ms, range, &wants, &mut |row| {
            check_presence(client)?;
            room = room.saturating_sub(1);
            let flow = visit(row)?;
            Ok::<_, Error>(if room == 0 { ControlFlow::Break(()) } else { flow })
        })?;
        let cursor = match end.more_after {
            Some(key) if !self.pattern.is_literal() => {
                // the position may be a key that must not be shown, so no part of it may be in the cursor
                let piece = if sight.shows_all_with(prefix) { Piece::Shown } else { Piece::Hidden };
                cursors.remember(generation, prefix, key, piece)
            }
            _ => 0,
        };
        Ok((cursor, end.reflects))
    }
}

/// The reply of a page.
pub fn with_cursor(cursor: u64, items: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::text(cursor.to_string()), Reply::Array(items)])
}

pub fn bulk(bytes: &[u8]) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(bytes))
}

/// The common prefix of all keys that match the pattern and may be shown: the longer of the two prefixes. If they
/// contradict each other, there is no such key.
fn narrower<'a>(pattern: &'a Pattern, sight: &'a Sight) -> &'a [u8] {
    let (matching, shown) = (pattern.literal_prefix(), sight.prefix());
    if shown.starts_with(matching) && !pattern.is_literal() { shown } else { matching }
}

/// The range to read for a pattern. The only key that matches a literal pattern is the first that begins with it.
fn range<'a>(
    store: StoreId,
    pattern: &Pattern,
    prefix: &'a [u8],
    from: Bound<&'a [u8]>,
    keys_max: usize,
) -> Range<'a> {
    let keys_max = if pattern.is_literal() { 1 } else { keys_max };
    let absent_free = if pattern.is_literal() { 0 } else { ABSENT_FREE };
    Range { store, prefix, from, keys_max, absent_free }
}

/// A random key of the selected store that the user may know about.
pub fn random_key(call: &mut Call<'_>) -> Result<Plan, Error> {
    /// How often a key of the whole store is drawn before all keys are scanned.
    const DRAWS: usize = 16;
    let (server, store) = (call.server, call.session.store);
    let sight = permission::sight(call, store, Access::empty());
    for _ in 0..DRAWS {
        let (key, reflects) = server.engine.random_key(call.now_ms, store, &mut || server.random())?;
        if key.as_ref().is_none_or(|key| sight.shows(key)) {
            return Ok(Plan::Reflecting(Reply::bulk_or_null(key), reflects));
        }
    }
    // the user may know about few keys; each of them is equally likely to be chosen last
    let (mut chosen, mut seen) = (None, 0);
    let client = &call.session.client;
    let wants = |key: &[u8]| client.is_leaving() || sight.shows(key);
    let range =
        Range { store, prefix: sight.prefix(), from: Bound::Unbounded, keys_max: usize::MAX, absent_free: 0 };
    let end = server.engine.scan(call.now_ms, range, &wants, &mut |row| {
        check_presence(client)?;
        seen += 1;
        if server.random() % seen == 0 {
            chosen = Some(Bytes::copy_from_slice(row.key()));
        }
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    Ok(Plan::Reflecting(Reply::bulk_or_null(chosen), end.reflects))
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::{Harness, shown};
    use crate::resp::Reply;

    fn fill(h: &mut Harness, keys: &[impl AsRef<str>]) {
        for key in keys {
            h.expect(&[(&format!("SET {} 1", key.as_ref()), "OK")]);
        }
    }

    /// The cursor and the keys of a page.
    fn page(h: &mut Harness, line: &str) -> (String, Vec<String>) {
        match &h.run(line) {
            Reply::Array(parts) => match &parts[..] {
                [cursor, Reply::Array(keys)] => {
                    let unquoted = |reply: &Reply| shown(reply).trim_matches('"').to_owned();
                    (unquoted(cursor), keys.iter().map(unquoted).collect())
                }
                other => panic!("{line}: {other:?}"),
            },
            other => panic!("{line}: {other:?}"),
        }
    }

    /// All pages of a scan.
    fn pages(h: &mut Harness, options: &str) -> Vec<Vec<String>> {
        let (mut pages, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let (next, keys) = page(h, &format!("SCAN {cursor} {options}"));
            pages.push(keys);
            if next == "0" {
                return pages;
            }
            cursor = next;
        }
    }

    #[test]
    fn keys_matches_patterns() {
        let mut h = Harness::new();
        fill(&mut h, &["user:1", "user:2", "user:10", "users", "h*llo", "hello"]);
        h.expect(&[
            ("KEYS user:?", r#"["user:1", "user:2"]"#),
            ("KEYS *1*", r#"["user:1", "user:10"]"#),
            ("KEYS user", "[]"),
            ("KEYS users", r#"["users"]"#),
            (r"KEYS h\*llo", r#"["h*llo"]"#),
            (r#"KEYS """#, "[]"),
            ("KEYS u*", r#"["user:1", "user:10", "user:2", "users"]"#),
        ]);
    }

    #[test]
    fn keys_fails_from_one_match_too_many_on() {
        let mut h = Harness::new();
        h.server.config.update(|settings| settings.max_keys_per_query = 3);
        fill(&mut h, &["a:1", "a:2", "a:3", "b:1"]);
        h.expect(&[
            ("KEYS a:*", r#"["a:1", "a:2", "a:3"]"#),
            (
                "KEYS *",
                "-TOOMANYKEYS 426 more than 3 keys match in store '0' (max-keys-per-query is 3); use SCAN to page through them",
            ),
        ]);
    }

    #[test]
    fn a_store_may_have_a_limit_of_its_own_or_none() {
        let mut h = Harness::new();
        h.server.config.update(|settings| settings.max_keys_per_query = 3);
        fill(&mut h, &["a:1", "a:2", "a:3", "b:1", "b:2"]);
        let all = r#"["a:1", "a:2", "a:3", "b:1", "b:2"]"#;
        let shown = |h: &mut Harness, limit: &str| {
            assert!(shown(&h.run("STORE INFO 0")).contains(&format!("\"max_keys_per_query\": {limit},")));
        };
        shown(&mut h, "3");
        h.expect(&[("STORE SET 0 max-keys-per-query 0", "OK"), ("KEYS *", all)]);
        shown(&mut h, "0");
        assert_eq!(pages(&mut h, "COUNT 1000").len(), 1);
        h.expect(&[
            ("STORE SET 0 max-keys-per-query 5", "OK"),
            ("KEYS *", all),
            ("STORE SET 0 max-keys-per-query 4", "OK"),
            (
                "KEYS *",
                "-TOOMANYKEYS 426 more than 4 keys match in store '0' (max-keys-per-query is 4); use SCAN to page through them",
            ),
        ]);
        assert_eq!(pages(&mut h, "COUNT 1000").len(), 2);
        h.expect(&[("STORE SET 0 max-keys-per-query none", "OK")]);
        shown(&mut h, "3");
        h.expect(&[("SELECT 1", "OK"), ("KEYS *", "[]")]);
    }

    #[test]
    fn a_scan_returns_every_key_once_in_pages() {
        let mut h = Harness::new();
        let names: Vec<String> = (10..60).map(|n| format!("k{n}")).collect();
        fill(&mut h, &names);
        fill(&mut h, &["a", "z"]);
        let found = pages(&mut h, "COUNT 7 MATCH k*");
        assert!(found.len() >= 8 && found.iter().all(|page| page.len() <= 7));
        assert_eq!(found.concat(), names);
        assert_eq!(pages(&mut h, "").concat().len(), 52);
        assert_eq!(pages(&mut h, "MATCH k11"), [["k11"]]);
        assert_eq!(pages(&mut h, "MATCH k1"), [[""; 0]]);
        assert_eq!(pages(&mut h, "MATCH k?7 COUNT 1000").concat().len(), 5);
    }

    #[test]
    fn a_page_never_exceeds_the_limit() {
        let mut h = Harness::new();
        h.server.config.update(|settings| settings.max_keys_per_query = 4);
        fill(&mut h, &["a", "b", "c", "d", "e", "f"]);
        assert_eq!(pages(&mut h, "COUNT 1000"), [vec!["a", "b", "c", "d"], vec!["e", "f"]]);
    }

    #[test]
    fn a_scan_survives_changes_and_lost_cursors() {
        let mut h = Harness::new();
        fill(&mut h, &["a", "b", "c", "d"]);
        let (cursor, first) = page(&mut h, "SCAN 0 COUNT 2");
        assert_eq!(first, ["a", "b"]);
        h.expect(&[("DEL b c", "2")]);
        assert_eq!(page(&mut h, &format!("SCAN {cursor}")), ("0".to_owned(), vec!["d".to_owned()]));
        // as after a restart: only the piece of the key that is in the cursor counts
        let piece = u64::from(u32::from_be_bytes(*b"c\0\0\0"));
        assert_eq!(page(&mut h, &format!("SCAN {}", 77 << 32 | piece)).1, ["d"]);
    }

    #[test]
    fn types_are_string_or_nothing() {
        let mut h = Harness::new();
        fill(&mut h, &["a"]);
        h.expect(&[
            ("SCAN 0 TYPE STRING", r#"["0", ["a"]]"#),
            ("SCAN 0 TYPE hash", r#"["0", []]"#),
            ("SCAN 0 TYPE nonsense", r#"["0", []]"#),
        ]);
    }

    #[test]
    fn scan_refuses_what_redis_refuses() {
        let mut h = Harness::new();
        for cursor in ["abc", "1.5", "-1", "18446744073709551616", r#""""#] {
            h.expect(&[(&format!("SCAN {cursor} FOO"), "-ERR invalid cursor")]);
        }
        for options in ["COUNT 0", "COUNT -1", "COUNT", "FOO", "FOO 1", "MATCH"] {
            h.expect(&[(&format!("SCAN 0 {options}"), "-ERR syntax error")]);
        }
        h.expect(&[
            ("SCAN 18446744073709551615", r#"["0", []]"#),
            ("SCAN 0 COUNT abc FOO", "-ERR value is not an integer or out of range"),
        ]);
    }

    #[test]
    fn a_store_that_is_gone_has_no_keys() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE orders", "OK")]);
        h.session.select(16);
        h.expect(&[("STORE DROP orders", "OK")]);
        for line in ["SCAN 0", "KEYS *", "KEYS a", "DBSIZE", "RANDOMKEY", "GET a", "FLUSHDB", "STORE INFO"] {
            assert!(shown(&h.run(line)).starts_with("-NOSTORE "), "{line}");
        }
    }
}
