//! Imports records line by line, in the format that [`export`](crate::http::api::export) and `larder export` write.
//!
//! Every line is a write of its own: refused lines are reported, and the others are imported. A client may therefore
//! send a file of any length in pieces, and send it again if it doesn't know how far it got.

use bytes::Bytes;
use serde_json::json;

use crate::engine::clock;
use crate::http::openapi::parameter::query;
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{any, array, boolean, count, integer, object, text};
use crate::http::request::ask::Ask;
use crate::http::request::gate::{MissingStore, Talk, words};
use crate::http::response::json::answer;
use crate::http::response::problem::{Answer, Problem};
use crate::limits::HTTP_REFUSALS_TOLD;
use crate::record::line::{self, Record};
use crate::resp::Reply;

#[derive(Default)]
struct Outcome {
    put: u64,
    /// With `nx`, the number of records that existed and stayed.
    kept: u64,
    /// The number of lines whose expiry has passed.
    expired: u64,
    refused: u64,
    refusals: Vec<serde_json::Value>,
}

pub fn routes() -> Vec<Route> {
    vec![
        route::post("/api/v1/stores/{store}/import", import)
            .named("import", "Put the records of an export")
            .about(
                "Every line is a write of its own: what is refused is told, and the others go \
                 in. Lines are those of export, or entries.",
            )
            .parameters([query("nx", boolean(), "Keep records that are there")])
            .takes_content(vec![("application/x-ndjson", text()), ("application/octet-stream", any())])
            .returns(
                200,
                "What came of the lines",
                object([
                    ("put", count()),
                    ("kept", count().about("Records that were there, with nx")),
                    ("expired", count().about("Lines whose time is over")),
                    ("refused", count()),
                    (
                        "refusals",
                        array(object([
                            ("line", integer().at_least(1)),
                            ("code", text()),
                            ("detail", text()),
                        ]))
                        .about("The first 100 of them"),
                    ),
                ]),
            ),
    ]
}

pub async fn import(ask: Ask) -> Answer {
    let nx = ask.params(&["nx"])?.is("nx")?;
    let store = ask.store();
    let (body, gate) = ask.lines().await?;
    let outcome = gate
        .write(body.len(), move |talk| {
            talk.enter(&store, MissingStore::Created)?;
            let mut outcome = Outcome::default();
            for (at, line) in line::without_mark(&body).split(|byte| *byte == b'\n').enumerate() {
                if !line.trim_ascii().is_empty() {
                    outcome.take(talk, at + 1, line, nx);
                }
            }
            Ok(outcome)
        })
        .await?;
    let Outcome { put, kept, expired, refused, refusals } = outcome;
    let told =
        json!({ "put": put, "kept": kept, "expired": expired, "refused": refused, "refusals": refusals });
    Ok(answer(told.to_string()))
}

impl Outcome {
    fn take(&mut self, talk: &mut Talk, number: usize, line: &[u8], nx: bool) {
        let now_ms = clock::now_ms();
        let record = line::parse(line, now_ms).map_err(Problem::bad);
        let put = match record {
            Ok(record) if record.expires_at_ms.is_some_and(|deadline| deadline <= now_ms) => {
                self.expired += 1;
                return;
            }
            Ok(record) => put(talk, record, nx),
            Err(problem) => Err(problem),
        };
        match put {
            Ok(true) => self.put += 1,
            Ok(false) => self.kept += 1,
            Err(problem) => {
                self.refused += 1;
                if self.refusals.len() < HTTP_REFUSALS_TOLD {
                    let (code, detail) = problem.told();
                    self.refusals.push(json!({ "line": number, "code": code, "detail": detail }));
                }
            }
        }
    }
}

/// Whether the record was written; with `nx`, only if there was none.
fn put(talk: &mut Talk, record: Record, nx: bool) -> Result<bool, Problem> {
    let mut command = words([b"SET"]);
    command.extend([Bytes::from(record.key), Bytes::from(record.value)]);
    if let Some(deadline) = record.expires_at_ms {
        command.extend(words([b"PXAT", deadline.to_string().as_bytes()]));
    }
    command.extend(nx.then_some(Bytes::from_static(b"NX")));
    Ok(talk.command(command)? != Reply::Null)
}

#[cfg(test)]
mod tests {
    use crate::http::testing::Api;

    const LINES: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];
    const IMPORT: &str = "POST /api/v1/stores/0/import";

    #[tokio::test]
    async fn an_export_comes_back_byte_for_byte_with_its_deadlines() {
        let api = Api::new();
        api.run("PUT /api/v1/stores/0/records/a?ttl=1000", "{ \"n\":\n 1.50 }").await;
        api.run("PUT /api/v1/stores/0/records/%FF", "[1]").await;
        let lines = api.run("GET /api/v1/stores/0/export", "").await.body;
        let text = String::from_utf8_lossy(&lines).into_owned();
        assert_eq!(text.lines().count(), 2);
        api.run("POST /api/v1/stores/0/clear", "{}").await;
        let told = api.send(IMPORT, &LINES, &format!("\u{feff}{text}")).await;
        assert_eq!((told.status, &told.json()["put"]), (200, &2.into()));
        assert_eq!(api.run("GET /api/v1/stores/0/records/a", "").await.body, "{ \"n\":\n 1.50 }");
        let again = api.run("GET /api/v1/stores/0/export", "").await.body;
        let deadline = |line: &str| line.split("\"expires_at\":").nth(1).map(|rest| rest[..13].to_owned());
        assert_eq!(deadline(&String::from_utf8_lossy(&again)), deadline(&text));
        assert!(deadline(&text).is_some());
    }

    #[tokio::test]
    async fn what_is_refused_is_told_and_the_rest_goes_in() {
        let api = Api::new();
        api.run("PUT /api/v1/stores/0/records/there", "1").await;
        let lines = "{\"key\":\"a\",\"value\":1}\r\n\n{\"key\":\n{\"key\":\"b\",\"value_text\":\"<p>\"}\n\
                     {\"key\":\"there\",\"value\":2}\n{\"key\":\"old\",\"value\":1,\"expires_at\":5}";
        let told = api.send(&format!("{IMPORT}?nx=true"), &LINES, lines).await.json();
        assert_eq!((&told["put"], &told["kept"], &told["expired"]), (&1.into(), &1.into(), &1.into()));
        assert_eq!((&told["refused"], &told["refusals"][0]["line"]), (&2.into(), &3.into()));
        assert_eq!(
            (&told["refusals"][1]["line"], &told["refusals"][1]["code"]),
            (&4.into(), &"NOTJSON".into())
        );
        assert_eq!(api.run("GET /api/v1/stores/0/records/there", "").await.body, "1");
        assert_eq!(api.send(IMPORT, &LINES, lines).await.json()["put"], 2);
    }

    #[tokio::test]
    async fn another_type_or_store_is_refused() {
        let api = Api::new();
        assert_eq!(api.run(IMPORT, "{}").await.status, 415);
        let line = "POST /api/v1/stores/none/import";
        assert_eq!(api.send(line, &LINES, "{}").await.status, 404);
        assert_eq!(api.send(&format!("{IMPORT}?xx=true"), &LINES, "{}").await.status, 400);
    }
}
