//! The differences of two stores: first the keys of the first store, compared with the second; then the keys of the
//! second that the first lacks. A page is bounded by the number of records that it looks at, so it may be empty. While
//! others write, each record is compared as it is when its page is made.

use bytes::Bytes;

use crate::http::api::keys::cursor_schema;
use crate::http::api::keys::key_schema;
use crate::http::api::keys::{PAGE_PARAMS, Page, bulk, entries_page, with_cursor, write_cursor};
use crate::http::openapi::parameter::{cursor, limit, prefix};
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{array, object, word};
use crate::http::request::ask::Ask;
use crate::http::request::gate::{MissingStore, Talk, integer, items, words};
use crate::http::response::json::{Writer, answer};
use crate::http::response::problem::{Answer, Problem};
use crate::resp::Reply;

/// How the stores differ at a key.
#[derive(Clone, Copy)]
enum Difference {
    OnlyHere,
    OnlyThere,
    Value,
}

impl Difference {
    fn as_str(self) -> &'static str {
        match self {
            Difference::OnlyHere => "only_here",
            Difference::OnlyThere => "only_there",
            Difference::Value => "value",
        }
    }
}

/// The half of the comparison that a cursor is in: the cursor begins with this letter.
const HERE: u8 = b'h';
const THERE: u8 = b't';

type Part = (Vec<(Bytes, Difference)>, Option<Bytes>);

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/stores/{store}/difference/{other}", difference)
            .named("difference", "Compare two stores")
            .parameters([prefix(), cursor(), limit()])
            .returns(
                200,
                "Keys at which they differ; a page may be empty",
                object([
                    (
                        "differences",
                        array(object([
                            ("key", key_schema()),
                            ("difference", word(&["only_here", "only_there", "value"])),
                        ])),
                    ),
                    ("cursor", cursor_schema()),
                ]),
            ),
    ]
}

pub async fn difference(ask: Ask) -> Answer {
    let page = Page::paged(&ask.params(&PAGE_PARAMS)?, ask.gate.server.config.keys_per_query())?;
    let (here, there) = (ask.store(), ask.key());
    let (found, cursor) = ask
        .gate
        .read(move |talk| {
            let mut stores = [0; 2];
            for (store, id) in [&here, &there].into_iter().zip(&mut stores) {
                talk.enter(store, MissingStore::Refused)?;
                *id = talk.session.store;
            }
            let start = page.start(&stores)?;
            let (found, next) = match start.split_first() {
                Some((&THERE, cursor)) => only_there(talk, &here, &there, cursor, &page),
                Some((&HERE, cursor)) => of_here(talk, &here, &there, cursor, &page),
                _ if &start[..] == b"0" => of_here(talk, &here, &there, b"0", &page),
                _ => Err(Problem::bad("'cursor' is not one of a difference")),
            }?;
            Ok((found, next.map(|next| page.cursor(&stores, &next))))
        })
        .await?;
    let mut writer = Writer::new();
    writer.raw("{\"differences\":[").each(&found, |writer, (key, difference)| {
        writer.raw("{\"key\":").key(key).raw(format!(",\"difference\":\"{}\"}}", difference.as_str()));
    });
    Ok(answer(write_cursor(writer.raw("],"), cursor.as_ref()).raw("}").finish()))
}

fn of_here(talk: &mut Talk, here: &[u8], there: &[u8], cursor: &[u8], page: &Page) -> Result<Part, Problem> {
    let (mut entries, next) = entries_page(talk, here, cursor, &page.pattern, page.limit)?;
    talk.enter(there, MissingStore::Refused)?;
    entries.retain(|entry| talk.may_read(&entry.key));
    let mut found = Vec::new();
    if !entries.is_empty() {
        let mut command = words([b"MGET"]);
        command.extend(entries.iter().map(|entry| entry.key.clone()));
        for (entry, other) in entries.iter().zip(items(talk.command(command)?)?) {
            match other {
                Reply::Bulk(value) if value == entry.value => {}
                Reply::Bulk(_) => found.push((entry.key.clone(), Difference::Value)),
                _ => found.push((entry.key.clone(), Difference::OnlyHere)),
            }
        }
    }
    let next = next.map_or_else(|| in_half(THERE, b"0"), |next| in_half(HERE, &next));
    Ok((found, Some(next)))
}

fn only_there(
    talk: &mut Talk,
    here: &[u8],
    there: &[u8],
    cursor: &[u8],
    page: &Page,
) -> Result<Part, Problem> {
    talk.enter(there, MissingStore::Refused)?;
    let limit = page.limit.to_string();
    let scan = words([b"SCAN", cursor, b"MATCH", &page.pattern, b"COUNT", limit.as_bytes()]);
    let (keys, next) = with_cursor(talk.command(scan)?)?;
    talk.enter(here, MissingStore::Refused)?;
    let mut found = Vec::new();
    for key in keys.iter().map(bulk) {
        if !talk.may_read(key) {
            continue;
        }
        if integer(&talk.command(words([b"EXISTS", key]))?)? == 0 {
            found.push((Bytes::copy_from_slice(key), Difference::OnlyThere));
        }
    }
    Ok((found, next.map(|next| in_half(THERE, &next))))
}

fn in_half(half: u8, cursor: &[u8]) -> Bytes {
    [&[half], cursor].concat().into()
}

#[cfg(test)]
mod tests {
    use crate::http::testing::Api;

    #[tokio::test]
    async fn two_stores_are_compared_page_by_page() {
        let api = Api::new();
        for (store, key, value) in [
            (0, "same", "1"),
            (0, "here", "1"),
            (0, "other", "1"),
            (1, "same", "1"),
            (1, "other", "2"),
            (1, "there", "1"),
        ] {
            api.run(&format!("PUT /api/v1/stores/{store}/records/{key}"), value).await;
        }
        let (mut all, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let line = format!("GET /api/v1/stores/0/difference/1?limit=1&cursor={cursor}");
            let page = api.run(&line, "").await.json();
            for found in page["differences"].as_array().unwrap_or(&Vec::new()) {
                all.push(format!("{} {}", found["key"], found["difference"]));
            }
            match page["cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(all, [r#""here" "only_here""#, r#""other" "value""#, r#""there" "only_there""#]);
        for cursor in ["x", "", "h", "t-1"] {
            let line = format!("GET /api/v1/stores/0/difference/1?cursor={cursor}");
            assert_eq!(api.run(&line, "").await.status, 400, "{cursor}");
        }
    }
}
