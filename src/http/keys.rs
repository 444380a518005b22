//! Keys and entries of a store: all in one answer if they are few enough, or page by page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::ask::{Ask, Params};
use super::gate::{Entry, Talk, items, words};
use super::json::{Writer, answer};
use super::problem::{Answer, Problem};
use crate::limits::ENTRIES_PAGE_BYTES;
use crate::resp::Reply;

/// Which part of a store is asked for.
pub struct Page {
    /// None: everything at once, if that is allowed.
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

    /// The same, where answers come in pages even if no cursor is given.
    pub fn paged(params: &Params, limit_max: usize) -> Result<Page, Problem> {
        let limit = params.integer("limit", 1)?.map_or(limit_max, |limit| limit as usize);
        if limit > limit_max {
            return Err(Problem::bad(format!("'limit' must be at most {limit_max} (max-keys-per-query)")));
        }
        let pattern = begins_with(params.bytes("prefix").map_or(b"", |prefix| prefix));
        Ok(Page { cursor: params.bytes("cursor").cloned(), pattern, limit })
    }

    /// The cursor to begin with.
    pub fn start(&self) -> Bytes {
        self.cursor.clone().unwrap_or(Bytes::from_static(b"0"))
    }
}

pub async fn keys(ask: Ask) -> Answer {
    let page = Page::of(&ask.params(&PAGE_PARAMS)?, ask.gate.server.config.max_keys_per_query())?;
    let store = ask.store();
    let (keys, cursor) = ask
        .gate
        .read(move |talk| {
            talk.enter(&store, Entry::Existing)?;
            let Some(cursor) = page.cursor else {
                return Ok((items(talk.command(words([b"KEYS", &page.pattern]))?)?, None));
            };
            let limit = page.limit.to_string();
            let scan = words([b"SCAN", &cursor, b"MATCH", &page.pattern, b"COUNT", limit.as_bytes()]);
            with_cursor(talk.command(scan)?)
        })
        .await?;
    let mut writer = Writer::new();
    writer.raw("{\"keys\":[").each(&keys, |writer, key| _ = writer.key(bulk(key))).raw("],");
    Ok(answer(write_cursor(&mut writer, cursor.as_ref()).raw("}").finish()))
}

pub async fn entries(ask: Ask) -> Answer {
    let params = ask.params(&["prefix", "cursor", "limit", "preview"])?;
    let page = Page::of(&params, ask.gate.server.config.max_keys_per_query())?;
    let preview_bytes = preview(&params)?;
    let store = ask.store();
    let (entries, cursor) = ask
        .gate
        .read(move |talk| match page.cursor.clone() {
            Some(cursor) => entries_page(talk, &store, &cursor, &page.pattern, page.limit),
            None => all_entries(talk, &store, &page).map(|entries| (entries, None)),
        })
        .await?;
    let mut writer = Writer::new();
    writer.raw("{\"entries\":[").each(&entries, |writer, entry| write_shown(writer, entry, preview_bytes));
    writer.raw("],");
    Ok(answer(write_cursor(&mut writer, cursor.as_ref()).raw("}").finish()))
}

fn all_entries(talk: &mut Talk, store: &[u8], page: &Page) -> Result<Vec<Found>, Problem> {
    talk.enter(store, Entry::Existing)?;
    // refuses too many, having read no value
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
    pub version: i64,
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
            version: *version,
            expires_at_ms: *expires_at_ms,
            plain_bytes: *plain_bytes,
            stored_bytes: *stored_bytes,
        }),
        _ => Err(Problem::ours("STORE ENTRIES gave no entry")),
    });
    Ok((entries.collect::<Result<_, _>>()?, cursor))
}

/// The parameter `preview`: how many bytes of a value are wanted, if not all.
pub fn preview(params: &Params) -> Result<Option<usize>, Problem> {
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
    // a character that the cut went through is left out
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
        ",\"ttl_ms\":{ttl_ms},\"version\":{version},\"plain_bytes\":{plain_bytes},\"stored_bytes\":{stored_bytes}}}"
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

/// The pattern of all that begins with these bytes.
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
        assert_eq!(format!("\"{}\"", entry["version"]), put.header("etag"));
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
        let mut session = crate::command::testing::session(&api.server);
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
