//! Keys and entries of a store: all in one response if they are few enough, or page by page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::engine::Seq;
use crate::http::openapi::parameter::{cursor, limit, prefix, preview};
use crate::http::openapi::route::{self, Route, value_schema};
use crate::http::openapi::schema::{Schema, array, base64, count, object, one_of, text};
use crate::http::request::ask::{Ask, Params};
use crate::http::request::gate::{MissingStore, Talk, items, words};
use crate::http::response::json::{Writer, answer};
use crate::http::response::problem::{Answer, Problem};
use crate::http::response::version;
use crate::limits::{ENTRIES_PAGE_BYTES, HTTP_PAGE_TURNS_MAX, KEYS_PER_QUERY, KEYS_PER_QUERY_UNLIMITED};
use crate::resp::Reply;
use crate::store::StoreId;

/// The requested part of a store.
pub struct Page {
    /// `None`: everything at once, if that is allowed.
    cursor: Option<Bytes>,
    /// A pattern of SCAN.
    pub pattern: Bytes,
    pub limit: usize,
}

pub const PAGE_PARAMS: [&str; 3] = ["prefix", "cursor", "limit"];

impl Page {
    pub fn of(params: &Params, limit_max: usize) -> Result<Page, Problem> {
        if params.bytes("cursor").is_none() && params.bytes("limit").is_some() {
            return Err(Problem::bad("'limit' needs a 'cursor'; the first page's is 0"));
        }
        Page::paged(params, limit_max)
    }

    /// The same, for lists that come in pages even without a cursor.
    pub fn paged(params: &Params, limit_max: usize) -> Result<Page, Problem> {
        let is_endless = params.bytes("cursor").is_some() && limit_max == KEYS_PER_QUERY_UNLIMITED;
        let default = if is_endless { KEYS_PER_QUERY } else { limit_max };
        let limit = params.integer("limit", 1)?.map_or(default, |limit| limit as usize);
        if limit > limit_max {
            return Err(Problem::bad(format!("'limit' must be at most {limit_max} (max-keys-per-query)")));
        }
        let pattern = begins_with(params.bytes("prefix").map_or(b"", |prefix| prefix));
        Ok(Page { cursor: params.bytes("cursor").cloned(), pattern, limit })
    }

    /// The cursor of a command at which to begin, in a list of these stores. A client's cursor also says which list it
    /// belongs to, because in another list it would silently skip records.
    pub fn start(&self, stores: &[StoreId]) -> Result<Bytes, Problem> {
        let Some(cursor) = self.cursor.as_ref().filter(|cursor| &cursor[..] != b"0") else {
            return Ok(Bytes::from_static(b"0"));
        };
        let at = cursor.iter().rposition(|byte| *byte == b'-');
        let (position, mark) = at.map_or((&b""[..], &b""[..]), |at| (&cursor[..at], &cursor[at + 1..]));
        if position.is_empty() || mark != self.mark(stores).as_bytes() {
            let detail = "'cursor' is 0 for the first page, and then what the last page of the same list gave: with the same \
                          stores and 'prefix'";
            return Err(Problem::bad(detail));
        }
        Ok(cursor.slice_ref(position))
    }

    /// The cursor for the client.
    pub fn cursor(&self, stores: &[StoreId], next: &[u8]) -> Bytes {
        [next, b"-", self.mark(stores).as_bytes()].concat().into()
    }

    /// Which list a cursor belongs to.
    fn mark(&self, stores: &[StoreId]) -> String {
        let stores = stores.iter().flat_map(|id| id.to_be_bytes());
        let list: Vec<u8> = stores.chain(self.pattern.iter().copied()).collect();
        format!("{:08x}", xxh3_64(&list) as u32)
    }
}

/// Fills a page from pages of a command. Those look at a bounded number of keys, so they may have few keys or none
/// after many deletions, or if the caller may know about few keys. `turn` gets a cursor and how much room there is; it
/// returns the cursor of the next page, and whether this one is full.
fn fill(
    page: &Page,
    store: StoreId,
    mut turn: impl FnMut(&[u8]) -> Result<(Option<Bytes>, bool), Problem>,
) -> Result<Option<Bytes>, Problem> {
    let mut cursor = page.start(&[store])?;
    for _ in 0..HTTP_PAGE_TURNS_MAX {
        match turn(&cursor)? {
            (None, _) => return Ok(None),
            (Some(next), true) => return Ok(Some(page.cursor(&[store], &next))),
            (Some(next), false) => cursor = next,
        }
    }
    Ok(Some(page.cursor(&[store], &cursor)))
}

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/stores/{store}/keys", keys)
            .named("keys", "List keys")
            .about(
                "Without a cursor all of them, or 426 if they are more than max-keys-per-query; \
                 with one, a page.",
            )
            .parameters([prefix(), cursor(), limit()])
            .returns(
                200,
                "Keys, in order",
                object([("keys", array(key_schema())), ("cursor", cursor_schema())]),
            ),
        route::get("/api/v1/stores/{store}/entries", entries)
            .named("entries", "List records")
            .about(
                "Without a cursor all of them, or 426 if they are more than max-keys-per-query \
                 or than one answer holds; with one, a page.",
            )
            .parameters([prefix(), cursor(), limit(), preview()])
            .returns(
                200,
                "Records, in the order of their keys",
                object([("entries", array(entry_schema())), ("cursor", cursor_schema())]),
            ),
    ]
}

pub fn key_schema() -> Schema {
    one_of([text(), object([("base64", base64())])])
        .about("A key: text, or what is not UTF-8 as base64")
        .named("Key")
}

pub fn cursor_schema() -> Schema {
    text().or_null().about("The cursor of the next page; null after the last").named("Cursor")
}

pub fn ttl_ms_schema() -> Schema {
    count().or_null().about("Milliseconds that the record has left; null: forever").named("TtlMs")
}

pub fn entry_schema() -> Schema {
    object([
        ("key", key_schema()),
        ("value", value_schema().optional()),
        ("value_base64", text().about("Instead of value, where that is not JSON").optional()),
        ("preview", text().about("The beginning of the value, where preview was asked for").optional()),
        ("preview_base64", text().about("The same, where it is not UTF-8").optional()),
        ("ttl_ms", ttl_ms_schema()),
        ("version", text().with("pattern", "^[0-9a-f]{8}-[0-9]+$").about("As in ETag, without the quotes")),
        ("plain_bytes", count().about("Bytes of key and value as they are")),
        ("stored_bytes", count().about("Bytes that key and record take as stored")),
    ])
    .open()
    .named("Entry")
}

pub async fn keys(ask: Ask) -> Answer {
    let store = ask.store();
    let page = Page::of(&ask.params(&PAGE_PARAMS)?, ask.gate.keys_per_query(&store))?;
    let (keys, cursor) = ask
        .gate
        .read(move |talk| {
            talk.enter(&store, MissingStore::Refused)?;
            if page.cursor.is_none() {
                return Ok((items(talk.command(words([b"KEYS", &page.pattern]))?)?, None));
            }
            let mut keys = Vec::new();
            let cursor = fill(&page, talk.session.store, |cursor| {
                let room = (page.limit - keys.len()).to_string();
                let scan = words([b"SCAN", cursor, b"MATCH", &page.pattern, b"COUNT", room.as_bytes()]);
                let (found, next) = with_cursor(talk.command(scan)?)?;
                keys.extend(found);
                Ok((next, keys.len() >= page.limit))
            })?;
            Ok((keys, cursor))
        })
        .await?;
    let mut writer = Writer::new();
    writer.raw("{\"keys\":[").each(&keys, |writer, key| _ = writer.key(bulk(key))).raw("],");
    Ok(answer(write_cursor(&mut writer, cursor.as_ref()).raw("}").finish()))
}

pub async fn entries(ask: Ask) -> Answer {
    let params = ask.params(&["prefix", "cursor", "limit", "preview"])?;
    let store = ask.store();
    let page = Page::of(&params, ask.gate.keys_per_query(&store))?;
    let preview_bytes = preview_of(&params)?;
    let (entries, cursor) = ask
        .gate
        .read(move |talk| {
            talk.enter(&store, MissingStore::Refused)?;
            if page.cursor.is_none() {
                return Ok((all_entries(talk, &store, &page)?, None));
            }
            let (mut entries, mut bytes) = (Vec::new(), 0);
            let cursor = fill(&page, talk.session.store, |cursor| {
                let room = page.limit - entries.len();
                let (found, next) = entries_page(talk, &store, cursor, &page.pattern, room)?;
                bytes += found.iter().map(Found::bytes).sum::<usize>();
                entries.extend(found);
                Ok((next, entries.len() >= page.limit || bytes >= ENTRIES_PAGE_BYTES))
            })?;
            Ok((entries, cursor))
        })
        .await?;
    let mut writer = Writer::new();
    writer.raw("{\"entries\":[").each(&entries, |writer, entry| write_shown(writer, entry, preview_bytes));
    writer.raw("],");
    Ok(answer(write_cursor(&mut writer, cursor.as_ref()).raw("}").finish()))
}

fn all_entries(talk: &mut Talk, store: &[u8], page: &Page) -> Result<Vec<Found>, Problem> {
    // refuses too many before any value is read
    talk.command(words([b"KEYS", &page.pattern]))?;
    let (mut all, mut bytes) = (Vec::new(), 0);
    let mut cursor = Bytes::from_static(b"0");
    loop {
        let (entries, next) = entries_page(talk, store, &cursor, &page.pattern, page.limit)?;
        bytes += entries.iter().map(Found::bytes).sum::<usize>();
        all.extend(entries);
        match next {
            None => return Ok(all),
            Some(_) if all.len() > page.limit || bytes >= ENTRIES_PAGE_BYTES => {
                let detail = format!(
                    "the entries are more than one answer holds ({ENTRIES_PAGE_BYTES} bytes); use a cursor"
                );
                return Err(Problem::new(axum::http::StatusCode::UPGRADE_REQUIRED, "TOOMANYKEYS", detail));
            }
            Some(next) => cursor = next,
        }
    }
}

/// A record on a page.
pub struct Found {
    pub key: Bytes,
    pub value: Bytes,
    /// -1: forever.
    pub ttl_ms: i64,
    /// Milliseconds since 1970; -1: none.
    pub expires_at_ms: i64,
    pub version: String,
    /// With the key.
    pub plain_bytes: i64,
    pub stored_bytes: i64,
}

impl Found {
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// A page of STORE ENTRIES, and the cursor of the next.
pub fn entries_page(
    talk: &mut Talk,
    store: &[u8],
    cursor: &[u8],
    pattern: &[u8],
    count: usize,
) -> Result<(Vec<Found>, Option<Bytes>), Problem> {
    let count = count.to_string();
    let options = [b"CURSOR", cursor, b"MATCH", pattern, b"COUNT", count.as_bytes()];
    let mut command = words([b"STORE", b"ENTRIES", store]);
    command.extend(words(options));
    command.push(Bytes::from_static(b"WITHMETA"));
    let (entries, cursor) = with_cursor(talk.command(command)?)?;
    let entries = entries.into_iter().map(|entry| match &items(entry)?[..] {
        [
            Reply::Bulk(key),
            Reply::Bulk(value),
            Reply::Integer(ttl_ms),
            Reply::Integer(version),
            Reply::Integer(expires_at_ms),
            Reply::Integer(plain_bytes),
            Reply::Integer(stored_bytes),
        ] => Ok(Found {
            key: key.clone(),
            value: value.clone(),
            ttl_ms: *ttl_ms,
            version: version::version(&talk.server, *version as Seq),
            expires_at_ms: *expires_at_ms,
            plain_bytes: *plain_bytes,
            stored_bytes: *stored_bytes,
        }),
        _ => Err(Problem::ours("STORE ENTRIES gave no entry")),
    });
    Ok((entries.collect::<Result<_, _>>()?, cursor))
}

/// The parameter `preview`: how many bytes of a value are wanted, if not all.
pub fn preview_of(params: &Params) -> Result<Option<usize>, Problem> {
    Ok(params.integer("preview", 0)?.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)))
}

/// An entry, with its whole value or so many bytes of it.
pub fn write_shown(writer: &mut Writer, entry: &Found, preview_bytes: Option<usize>) {
    match preview_bytes {
        Some(bytes) => write_preview(writer, entry, bytes),
        None => write_entry(writer, entry),
    }
}

/// `{"key":…,"value":…,"ttl_ms":…,…}`, with null for forever.
fn write_entry(writer: &mut Writer, entry: &Found) {
    writer.raw("{\"key\":").key(&entry.key).raw(",").value("value", &entry.value);
    write_meta(writer, entry);
}

/// The same with the beginning of the value only: as text, or what is not UTF-8 in Base64.
fn write_preview(writer: &mut Writer, entry: &Found, bytes_max: usize) {
    writer.raw("{\"key\":").key(&entry.key).raw(",");
    let start = &entry.value[..entry.value.len().min(bytes_max)];
    // a character that was cut in the middle is left out
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() && start.len() < entry.value.len() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) => writer.raw("\"preview\":").raw(serde_json::Value::from(text).to_string()),
        None => writer.raw(format!("\"preview_base64\":\"{}\"", STANDARD.encode(start))),
    };
    write_meta(writer, entry);
}

fn write_meta(writer: &mut Writer, entry: &Found) {
    let Found { ttl_ms, version, plain_bytes, stored_bytes, .. } = entry;
    let ttl_ms = if *ttl_ms < 0 { "null".to_owned() } else { ttl_ms.to_string() };
    writer.raw(format!(
        ",\"ttl_ms\":{ttl_ms},\"version\":\"{version}\",\"plain_bytes\":{plain_bytes},\"stored_bytes\":{stored_bytes}}}"
    ));
}

/// `"cursor":"…"`, with null after the last page.
pub fn write_cursor<'w>(writer: &'w mut Writer, cursor: Option<&Bytes>) -> &'w mut Writer {
    match cursor {
        Some(cursor) => writer.raw("\"cursor\":\"").raw(cursor).raw("\""),
        None => writer.raw("\"cursor\":null"),
    }
}

/// Items, and the cursor to go on with.
pub fn with_cursor(reply: Reply) -> Result<(Vec<Reply>, Option<Bytes>), Problem> {
    match <[Reply; 2]>::try_from(items(reply)?) {
        Ok([Reply::Bulk(cursor), found]) => Ok((items(found)?, (&cursor[..] != b"0").then_some(cursor))),
        _ => Err(Problem::ours("a page came without a cursor")),
    }
}

/// The bytes of a key in a list.
pub fn bulk(reply: &Reply) -> &[u8] {
    match reply {
        Reply::Bulk(bytes) => bytes,
        _ => b"",
    }
}

/// The pattern for everything that begins with these bytes.
fn begins_with(prefix: &[u8]) -> Bytes {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix {
        if b"\\*?[]".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern.into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::command::dispatch;
    use crate::http::testing::Api;
    use crate::resp::Request;

    /// A store of five records, in an API that gives three keys at once.
    fn api() -> Api {
        let api = Api::new();
        for key in ["a*1", "a*2", "a:3", "b", "c"] {
            api.expect(&[(&format!("PUT /api/v1/stores/0/records/{key}"), "1", 201, "")]);
        }
        api.server.config.update(|settings| settings.max_keys_per_query = 3);
        api
    }

    #[test]
    fn few_come_at_once_and_too_many_are_426() {
        api().expect(&[
            ("GET /api/v1/stores/0/keys?prefix=a*", "", 200, r#"{"keys":["a*1","a*2"],"cursor":null}"#),
            ("GET /api/v1/stores/0/keys?prefix=a", "", 200, r#"{"keys":["a*1","a*2","a:3"],"cursor":null}"#),
            ("GET /api/v1/stores/0/keys", "", 426, ""),
            ("GET /api/v1/stores/0/entries", "", 426, ""),
        ]);
    }

    #[tokio::test]
    async fn entries_are_told_with_what_is_known_of_them() {
        let api = Api::new();
        let value = format!("\"{}ä\"", "x".repeat(20));
        let put = api.run("PUT /api/v1/stores/0/records/a?ttl=1000", &value).await;
        let told = api.run("GET /api/v1/stores/0/entries", "").await.json();
        let entry = &told["entries"][0];
        assert_eq!(entry["version"].to_string(), put.header("etag"));
        assert_eq!(entry["value"].as_str().map(str::len), Some(22));
        assert_eq!(entry["plain_bytes"], 25);
        assert!(entry["stored_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
        assert!(entry["ttl_ms"].as_u64().is_some_and(|ttl_ms| ttl_ms > 900_000));
        for (bytes, preview) in [(0, ""), (3, "\"xx"), (22, &value[..21]), (23, &value[..23]), (99, &value)] {
            let line = format!("GET /api/v1/stores/0/entries?preview={bytes}");
            let entry = &api.run(&line, "").await.json()["entries"][0];
            assert_eq!((&entry["preview"], entry.get("value")), (&preview.into(), None), "{bytes}");
        }
        assert_eq!(api.run("GET /api/v1/stores/0/entries?preview=x", "").await.status, 400);
    }

    #[tokio::test]
    async fn a_preview_of_bytes_is_base64() {
        let api = Api::new();
        api.run("POST /api/v1/stores", r#"{"name": "blobs", "values": "any"}"#).await;
        let mut session = crate::command::tests::harness::session(&api.server);
        session.select(16);
        for (key, value) in [("a", &b"ab\xff"[..]), ("b", b"ab\xc3")] {
            let args = vec![Bytes::from_static(b"SET"), key.into(), Bytes::copy_from_slice(value)];
            dispatch(&api.server, &mut session, Request { args });
        }
        let told = api.run("GET /api/v1/stores/blobs/entries?preview=9", "").await.json();
        let previews = |at: usize| told["entries"][at]["preview_base64"].as_str();
        assert_eq!((previews(0), previews(1)), (Some("YWL/"), Some("YWLD")));
    }

    #[tokio::test]
    async fn pages_have_everything_once() {
        let api = tokio::task::spawn_blocking(api).await.unwrap();
        for what in ["keys", "entries"] {
            let (mut seen, mut cursor) = (0, "0".to_owned());
            loop {
                let line = format!("GET /api/v1/stores/0/{what}?limit=2&cursor={cursor}");
                let page = api.run(&line, "").await.json();
                let items = page[what].as_array().map_or(0, Vec::len);
                assert!(items <= 2);
                seen += items;
                match page["cursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(seen, 5, "{what}");
        }
    }

    #[tokio::test]
    async fn a_page_is_full_or_the_last_whatever_was_deleted() {
        let api = Api::new();
        let write = |words: Vec<String>| {
            let mut session = crate::command::tests::harness::session(&api.server);
            let args = words.into_iter().map(Bytes::from).collect();
            dispatch(&api.server, &mut session, Request { args })
        };
        let pairs = |at: usize| [format!("k{at:06}"), "1".to_owned()];
        let deleted = 5_000;
        write(std::iter::once("MSET".to_owned()).chain((0..deleted + 10).flat_map(pairs)).collect());
        for checkpointed in [false, true] {
            if checkpointed {
                api.server.engine.writer().checkpoint().unwrap();
            }
            // around what is deleted, three records stay in front and seven behind
            write(
                std::iter::once("DEL".to_owned())
                    .chain((3..deleted + 3).map(|at| pairs(at)[0].clone()))
                    .collect(),
            );
            for what in ["keys", "entries"] {
                let (mut seen, mut cursor) = (Vec::new(), "0".to_owned());
                loop {
                    let line = format!("GET /api/v1/stores/0/{what}?limit=4&prefix=k&cursor={cursor}");
                    let page = api.run(&line, "").await.json();
                    seen.push(page[what].as_array().map_or(0, Vec::len));
                    match page["cursor"].as_str() {
                        Some(next) => cursor = next.to_owned(),
                        None => break,
                    }
                }
                assert_eq!(seen, [4, 4, 2], "{what}");
            }
        }
        write(vec!["FLUSHDB".to_owned()]);
    }

    #[tokio::test]
    async fn a_cursor_goes_on_only_in_its_own_list() {
        let api = tokio::task::spawn_blocking(api).await.unwrap();
        for what in ["keys?", "entries?", "search?contains=1&", "difference/1?"] {
            let ask = |store: &str, rest: &str| format!("GET /api/v1/stores/{store}/{what}limit=1&{rest}");
            let page = api.run(&ask("0", "prefix=a&cursor=0"), "").await.json();
            let cursor = page["cursor"].as_str().unwrap();
            let own = api.run(&ask("0", &format!("prefix=a&cursor={cursor}")), "").await;
            assert_eq!(own.status, 200, "{what}");
            for (store, prefix) in [("0", "b"), ("0", ""), ("0", "a*"), ("2", "a")] {
                let other = api.run(&ask(store, &format!("prefix={prefix}&cursor={cursor}")), "").await;
                assert_eq!(other.status, 400, "{what} {store} {prefix}");
                let detail = other.json()["detail"].to_string();
                assert!(detail.contains("the same stores and 'prefix'"), "{detail}");
            }
            for cursor in ["", "-", "1", "1-", "-1", "0-0"] {
                let other = api.run(&ask("0", &format!("prefix=a&cursor={cursor}")), "").await;
                assert_eq!(other.status, 400, "{what} {cursor}");
            }
        }
    }

    #[test]
    fn bad_pages_are_refused() {
        api().expect(&[
            ("GET /api/v1/stores/0/keys?limit=2", "", 400, ""),
            ("GET /api/v1/stores/0/keys?cursor=0&limit=4", "", 400, ""),
            ("GET /api/v1/stores/0/keys?cursor=0&limit=0", "", 400, ""),
            ("GET /api/v1/stores/0/keys?cursor=x", "", 400, ""),
            ("GET /api/v1/stores/0/entries?cursor=-1", "", 400, ""),
            ("GET /api/v1/stores/0/keys?prefix=%f", "", 400, ""),
            ("GET /api/v1/stores/none/keys", "", 404, ""),
        ]);
    }
}
