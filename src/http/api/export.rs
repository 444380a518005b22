//! All records of a store, or those with a prefix, as a stream of JSON lines ([`crate::record::line`]), without a
//! limit. A record that exists from start to end is in it once. While others write, the stream is not a snapshot.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use crate::engine::clock;
use crate::http::api::keys::{Found, Page, entries_page};
use crate::http::openapi::parameter::prefix;
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::text;
use crate::http::request::ask::Ask;
use crate::http::request::gate::Gate;
use crate::http::response::problem::{Answer, Problem};
use crate::record::line::{self, Record};

/// Records that are read and sent at once.
const STEP: usize = 256;

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/stores/{store}/export", export)
            .named("export", "Stream all records")
            .parameters([prefix()])
            .returns_content(
                200,
                "A line of JSON for each record, in the order of keys: key or key_base64; value, \
                 value_text or value_base64; expires_at in milliseconds since 1970, and ttl in \
                 seconds",
                vec![("application/x-ndjson", text())],
            ),
    ]
}

pub async fn export(ask: Ask) -> Answer {
    let params = ask.params(&["prefix"])?;
    let page = Page::paged(&params, ask.gate.server.config.keys_per_query())?;
    let export =
        Export { store: ask.store(), pattern: page.pattern.clone(), cursor: Bytes::from_static(b"0") };
    // the first page is made at once, so that its errors have a status
    let (gate, entries, rest) = export.step(ask.gate).await?;
    let begun = (Some(entries), rest.map(|rest| (gate, rest)));
    let lines = stream::try_unfold(begun, async |(ready, rest)| {
        let (entries, rest) = match (ready, rest) {
            (Some(entries), rest) => (entries, rest),
            (None, None) => return Ok(None),
            (None, Some((gate, export))) => {
                // the response has begun, so the only way to report the error is to end it in the middle, which clients
                // notice
                let (gate, entries, rest) = export.step(gate).await.map_err(|problem| {
                    tracing::warn!(?problem, "an export had to stop");
                    std::io::Error::other("the export had to stop")
                })?;
                (entries, rest.map(|rest| (gate, rest)))
            }
        };
        Ok::<_, std::io::Error>(Some((lines(&entries), (None, rest))))
    });
    Ok(stream_of(Body::from_stream(lines)))
}

struct Export {
    store: Bytes,
    pattern: Bytes,
    cursor: Bytes,
}

impl Export {
    /// Some records, and where to continue.
    async fn step(self, gate: Gate) -> Result<(Gate, Vec<Found>, Option<Export>), Problem> {
        let (gate, (entries, rest)) = gate
            .page(move |talk| {
                let (entries, next) = entries_page(talk, &self.store, &self.cursor, &self.pattern, STEP)?;
                Ok((entries, next.map(|cursor| Export { cursor, ..self })))
            })
            .await?;
        Ok((gate, entries, rest))
    }
}

fn lines(entries: &[Found]) -> Bytes {
    let (now_ms, mut lines) = (clock::now_ms(), Vec::new());
    for entry in entries {
        let record = Record {
            key: entry.key.to_vec(),
            value: entry.value.to_vec(),
            expires_at_ms: u64::try_from(entry.expires_at_ms).ok(),
        };
        line::write(&record, now_ms, &mut lines);
        lines.push(b'\n');
    }
    lines.into()
}

fn stream_of(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

#[cfg(test)]
mod tests {
    use crate::http::testing::Api;

    #[tokio::test]
    async fn every_record_is_a_line() {
        let api = Api::new();
        let records: Vec<String> =
            (0..600).map(|n| format!(r#"{{"key": "k{n:03}", "value": {n}}}"#)).collect();
        let body = format!(r#"{{"records": [{}]}}"#, records.join(","));
        assert_eq!(api.run("POST /api/v1/stores/0/many/put", &body).await.status, 200);
        let told = api.run("GET /api/v1/stores/0/export", "").await;
        assert_eq!((told.status, told.header("content-type")), (200, "application/x-ndjson"));
        let text = String::from_utf8_lossy(&told.body).into_owned();
        assert_eq!(text.lines().count(), 600);
        assert_eq!(text.lines().nth(7), Some(r#"{"key":"k007","value":7}"#));
        let some = api.run("GET /api/v1/stores/0/export?prefix=k00", "").await;
        assert_eq!(some.body.split(|byte| *byte == b'\n').count(), 11);
        assert_eq!(api.run("GET /api/v1/stores/none/export", "").await.status, 404);
    }
}
