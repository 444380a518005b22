//! Search in values. There is no index: a page looks at a bounded number of records, in the order of their keys, and
//! says how many, so many pages may have no match.

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

use crate::document::compare::{self, Numbers};
use crate::document::{Path, Work};
use crate::http::api::keys::cursor_schema;
use crate::http::api::keys::entry_schema;
use crate::http::api::keys::{Found, Page, entries_page, preview_of, write_cursor, write_shown};
use crate::http::openapi::parameter::{cursor, limit, prefix, preview, query};
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{array, boolean, count, object, text};
use crate::http::request::ask::{Ask, Params};
use crate::http::request::gate::{MissingStore, Talk};
use crate::http::response::json::{Writer, answer};
use crate::http::response::problem::{Answer, Problem};
use crate::limits::{HTTP_SEARCH_BYTES, HTTP_SEARCH_RECORDS_MAX, KEY_REGEX_BYTES_MAX};
use crate::record::json;

/// The number of records of one step.
const STEP: usize = 256;

/// The condition on a value.
enum Wanted {
    /// The same text, or equal JSON with another spelling.
    Equal { text: Vec<u8>, is_json: bool },
    /// A substring of the value's text, with escapes as they are written there.
    Contained(Vec<u8>),
    /// The same in any case.
    ContainedInAnyCase(String),
    /// JSON in which a path finds something.
    Found(Path),
    /// Any value: the condition is on the key.
    Anything,
}

/// The condition on a key, beside the pattern that the page has.
struct Keys {
    prefix: bytes::Bytes,
    regex: Option<Regex>,
}

impl Keys {
    fn of(params: &Params) -> Result<Keys, Problem> {
        let regex = params.bytes("key_regex").map(|regex| {
            let text = std::str::from_utf8(regex).map_err(|_| Problem::bad("'key_regex' is not UTF-8"))?;
            let built = RegexBuilder::new(text).unicode(false).size_limit(KEY_REGEX_BYTES_MAX).build();
            built.map_err(|error| Problem::bad(format!("'key_regex': {error}")))
        });
        Ok(Keys { prefix: params.bytes("prefix").cloned().unwrap_or_default(), regex: regex.transpose()? })
    }

    fn are(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix) && self.regex.as_ref().is_none_or(|regex| regex.is_match(key))
    }
}

impl Wanted {
    fn of(params: &Params) -> Result<Wanted, Problem> {
        let ignores_case = params.is("ignore_case")?;
        let of_value =
            ["equals", "contains", "jsonpath"].into_iter().filter(|name| params.bytes(name).is_some());
        let of_key = ["key_matches", "key_regex"].into_iter().any(|name| params.bytes(name).is_some());
        match (of_value.count(), of_key) {
            (0, true) if !ignores_case => return Ok(Wanted::Anything),
            (1, _) => {}
            _ => {
                let detail = "one of 'equals', 'contains' and 'jsonpath' must be there, or a condition on keys: \
                              'key_matches' or 'key_regex'";
                return Err(Problem::bad(detail));
            }
        }
        if let Some(path) = params.bytes("jsonpath").filter(|_| !ignores_case) {
            let path = std::str::from_utf8(path).map_err(|_| Problem::bad("'jsonpath' is not UTF-8"))?;
            return Path::parse(path).map(Wanted::Found).map_err(|error| {
                Problem::bad(format!(
                    "'jsonpath': {}",
                    format_args!("at {}, {} expected", error.at, error.expected)
                ))
            });
        }
        match (params.bytes("equals"), params.bytes("contains")) {
            (Some(_), _) if ignores_case => Err(Problem::bad("'ignore_case' goes with 'contains'")),
            (Some(equals), None) => {
                Ok(Wanted::Equal { text: equals.trim_ascii().to_vec(), is_json: json::check(equals).is_ok() })
            }
            (None, Some(text)) if ignores_case => {
                let text = std::str::from_utf8(text).map_err(|_| Problem::bad("'contains' is not UTF-8"))?;
                Ok(Wanted::ContainedInAnyCase(text.to_lowercase()))
            }
            (None, Some(text)) => Ok(Wanted::Contained(text.to_vec())),
            _ => Err(Problem::bad("'ignore_case' goes with 'contains'")),
        }
    }

    fn is(&self, value: &[u8]) -> bool {
        match self {
            Wanted::Equal { text, is_json } => {
                let value = value.trim_ascii();
                let is_equal = || compare::equal(value, text, Numbers::ByValue);
                text == value || *is_json && json::check(value).is_ok() && is_equal()
            }
            Wanted::Contained(text) => memmem::find(value, text).is_some(),
            Wanted::Anything => true,
            Wanted::Found(path) => {
                json::check(value).is_ok()
                    && path.select(value, &mut Work::on(value.len())).is_ok_and(|found| !found.is_empty())
            }
            Wanted::ContainedInAnyCase(text) => String::from_utf8_lossy(value).to_lowercase().contains(text),
        }
    }
}

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/stores/{store}/search", search)
            .named("search", "Search in values and keys")
            .about("One condition on the value, or one on the key, or both.")
            .parameters([
                query("equals", text(), "The value: the same text, or the same JSON in other words"),
                query("contains", text(), "Text in the value's text"),
                query("ignore_case", boolean(), "With contains: in any case"),
                query("jsonpath", text(), "A JSONPath that finds something in the value"),
                query("key_matches", text(), "A pattern of the key, as SCAN takes it"),
                query("key_regex", text(), "A regular expression that is found in the key"),
                prefix(),
                cursor(),
                limit(),
                preview(),
            ])
            .returns(
                200,
                "Matches, and how many records were looked at; a page may be without a match",
                object([
                    ("entries", array(entry_schema())),
                    ("looked_at", count()),
                    ("cursor", cursor_schema()),
                ]),
            ),
    ]
}

pub async fn search(ask: Ask) -> Answer {
    let params = ask.params(&[
        "equals",
        "contains",
        "ignore_case",
        "jsonpath",
        "key_matches",
        "key_regex",
        "prefix",
        "cursor",
        "limit",
        "preview",
    ])?;
    let preview_bytes = preview_of(&params)?;
    let wanted = Wanted::of(&params)?;
    let keys = Keys::of(&params)?;
    let mut page = Page::paged(&params, ask.gate.server.config.keys_per_query())?;
    if let Some(pattern) = params.bytes("key_matches") {
        page.pattern = pattern.clone();
    }
    let store = ask.store();
    let (found, looked_at, cursor) =
        ask.gate.read(move |talk| look(talk, &store, &page, &keys, &wanted)).await?;
    let mut writer = Writer::new();
    writer.raw("{\"entries\":[").each(&found, |writer, entry| write_shown(writer, entry, preview_bytes));
    writer.raw(format!("],\"looked_at\":{looked_at},"));
    Ok(answer(write_cursor(&mut writer, cursor.as_ref()).raw("}").finish()))
}

type Matches = (Vec<Found>, usize, Option<bytes::Bytes>);

fn look(
    talk: &mut Talk,
    store: &[u8],
    page: &Page,
    keys: &Keys,
    wanted: &Wanted,
) -> Result<Matches, Problem> {
    let (mut found, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
    talk.enter(store, MissingStore::Refused)?;
    let stores = [talk.session.store];
    let mut cursor = page.start(&stores)?;
    // records that the caller may not read count, too, because they have to be skipped
    let mut left = HTTP_SEARCH_RECORDS_MAX;
    loop {
        // no step may find more than the page has room for, since cursors are only between steps
        let step = STEP.min(page.limit - found.len()).min(left);
        left -= step;
        let (entries, next) = entries_page(talk, store, &cursor, &page.pattern, step)?;
        looked_at += entries.len();
        bytes += entries.iter().map(Found::bytes).sum::<usize>();
        found.extend(entries.into_iter().filter(|entry| keys.are(&entry.key) && wanted.is(&entry.value)));
        let is_full = found.len() >= page.limit;
        match next {
            Some(next) if !is_full && left > 0 && bytes < HTTP_SEARCH_BYTES => {
                cursor = next;
            }
            next => return Ok((found, looked_at, next.map(|next| page.cursor(&stores, &next)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::testing::Api;

    fn found(told: &serde_json::Value) -> Vec<&str> {
        let entries = told["entries"].as_array().map_or(&[][..], |entries| entries);
        entries.iter().filter_map(|entry| entry["key"].as_str()).collect()
    }

    #[tokio::test]
    async fn values_are_found_by_text_or_as_a_whole() {
        let api = Api::new();
        for (key, value) in
            [("a", r#"{"n": 1, "Name": "Ada"}"#), ("b", r#"{"Name":"Ada","n":1}"#), ("c", "\"ADA\"")]
        {
            api.run(&format!("PUT /api/v1/stores/0/records/{key}"), value).await;
        }
        for (query, keys) in [
            ("contains=Ada", &["a", "b"][..]),
            ("contains=ada&ignore_case=true", &["a", "b", "c"]),
            ("contains=ada", &[]),
            ("contains=Ada&prefix=b", &["b"]),
            ("equals=%7B%22n%22:1,%22Name%22:%22Ada%22%7D", &["a", "b"]),
            ("equals=%22ADA%22", &["c"]),
            ("jsonpath=$.n", &["a", "b"]),
            ("jsonpath=$%5B?(@==%22ADA%22)%5D", &[]),
            ("jsonpath=$%5B?(@==1)%5D", &["a", "b"]),
            ("key_matches=%5Bab%5D", &["a", "b"]),
            ("key_matches=*&prefix=c", &["c"]),
            ("key_matches=a", &["a"]),
            ("key_regex=%5E%5Bbc%5D$", &["b", "c"]),
            ("key_regex=.&contains=ADA", &["c"]),
            ("key_regex=%5Ea&jsonpath=$.n&key_matches=*", &["a"]),
        ] {
            let told = api.run(&format!("GET /api/v1/stores/0/search?{query}"), "").await;
            assert_eq!(found(&told.json()), keys, "{query}");
        }
        for query in [
            "",
            "contains=a&equals=b",
            "equals=1&ignore_case=true",
            "contains=%ff&ignore_case=true",
            "jsonpath=$%5B",
            "jsonpath=%ff",
            "key_regex=(",
            "key_regex=%ff",
            "key_regex=a%7B1000%7D%7B1000%7D%7B1000%7D",
            "jsonpath=$&contains=a",
            "key_regex=a&ignore_case=true",
        ] {
            let told = api.run(&format!("GET /api/v1/stores/0/search?{query}"), "").await;
            assert_eq!(told.status, 400, "{query}");
        }
    }

    /// With each value alone in the store: whether it is found by `equals`.
    #[tokio::test]
    async fn values_are_equal_as_documents_are() {
        let api = Api::new();
        for (value, equals, is_equal) in [
            ("100000000000000000000", "100000000000000000001", false),
            ("100000000000000000001", "100000000000000000001", true),
            ("0.1", "0.10", true),
            ("1e2", "100", true),
            ("-0", "0", true),
            (r#"{"$serde_json::private::RawValue":"5"}"#, "5", false),
            ("5", r#"{"$serde_json::private::RawValue":"5"}"#, false),
            (
                r#"{"$serde_json::private::RawValue":"5"}"#,
                r#"{ "$serde_json::private::RawValue" : "5" }"#,
                true,
            ),
            (r#""\u0041d\u0061""#, r#""Ada""#, true),
            (" [1,\t{\"a\" : null}]\n", r#"[1.0,{"\u0061":null}]"#, true),
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, true),
            ("[1,2]", "[2,1]", false),
            ("1", "\"1\"", false),
        ] {
            api.run("PUT /api/v1/stores/0/records/a", value).await;
            let equals = percent_encoding::utf8_percent_encode(equals, percent_encoding::NON_ALPHANUMERIC);
            let told = api.run(&format!("GET /api/v1/stores/0/search?equals={equals}"), "").await;
            assert_eq!(found(&told.json()).len(), usize::from(is_equal), "{value} {equals}");
        }
    }

    #[tokio::test]
    async fn a_page_stops_at_its_limit_and_goes_on_behind() {
        let api = Api::new();
        for n in 0..30 {
            api.run(&format!("PUT /api/v1/stores/0/records/k{n:02}"), if n % 3 == 0 { "1" } else { "2" })
                .await;
        }
        let (mut all, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let line = format!("GET /api/v1/stores/0/search?equals=1&limit=4&cursor={cursor}");
            let page = api.run(&line, "").await.json();
            assert!(found(&page).len() <= 4);
            all.extend(found(&page).into_iter().map(str::to_owned));
            match page["cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        let expected: Vec<String> = (0..30).step_by(3).map(|n| format!("k{n:02}")).collect();
        assert_eq!(all, expected);
    }
}
