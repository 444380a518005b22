//! What the server was doing in the last hour, day and week, as JSON for the dashboard's curves.

use std::fmt::Write;

use crate::engine::clock;
use crate::http::openapi::parameter::query;
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{array, integer, number, object, text, word};
use crate::http::operations::metrics;
use crate::http::request::ask::Ask;
use crate::http::response::json::answer;
use crate::http::response::problem::{Answer, Problem};
use crate::telemetry::history::{Point, SPANS};

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/history", history)
            .named("history", "Figures of the last hour, day or week, which the server keeps over restarts")
            .about(
                "A point has a time in milliseconds, then the values of the columns for the time since the point before: \
                 counters (_total) as their growth per second, percentiles of how long clients waited, and other figures as \
                 they were at the end. What is not known is null. While the server was down, there are no points.",
            )
            .parameters([query("last", word(&SPANS.each_ref().map(|span| span.name)), "The span; hour if it is left out")])
            .returns(
                200,
                "For who may use INFO",
                object([
                    ("last", text()),
                    ("step_ms", integer().about("Time between two points")),
                    ("now_ms", integer().about("The server's clock")),
                    ("columns", array(text()).about("Names of /metrics, and percentiles of the response time")),
                    ("points", array(array(number().or_null()))),
                ]),
            ),
    ]
}

pub async fn history(ask: Ask) -> Answer {
    let params = ask.params(&["last"])?;
    let named = params.bytes("last").map_or(SPANS[0].name.as_bytes(), |name| &name[..]);
    let span = SPANS.iter().find(|span| span.name.as_bytes() == named);
    let span = span.ok_or_else(|| Problem::bad("'last' must be hour, day or week"))?;
    let told = ask
        .gate
        .read(move |talk| {
            // refuses whom INFO refuses
            metrics::sample(talk)?;
            let now_ms = clock::now_ms();
            let history = talk.server.history.get();
            let columns: Vec<&str> = history.into_iter().flat_map(|history| history.names()).collect();
            let points = history.map(|history| history.points(span, now_ms)).unwrap_or_default();
            let (name, step_ms) = (span.name, span.step_ms);
            let columns = serde_json::Value::from(columns);
            let head = format!(
                r#"{{"last":"{name}","step_ms":{step_ms},"now_ms":{now_ms},"columns":{columns},"points":"#
            );
            Ok(head + &written(&points) + "}")
        })
        .await?;
    Ok(answer(told))
}

/// The points as JSON. Numbers have no more digits than a single float.
fn written(points: &[Point]) -> String {
    let mut out = "[".to_owned();
    for (at, Point { at_ms, values }) in points.iter().enumerate() {
        // writing to memory can't fail
        let _ = write!(out, "{}[{at_ms}", if at > 0 { "," } else { "" });
        for value in values {
            let _ = if value.is_finite() { write!(out, ",{value}") } else { write!(out, ",null") };
        }
        out.push(']');
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use crate::command::server::history::look;
    use crate::http::testing::Api;
    use crate::telemetry::History;
    use crate::telemetry::history::{Column, Look};

    #[tokio::test]
    async fn points_are_told_by_span() {
        let api = Api::new();
        let none = api.run("GET /api/v1/history", "").await.json();
        assert_eq!((&none["last"], none["points"].as_array().map(Vec::len)), (&"hour".into(), Some(0)));
        let columns = vec![Column { name: "larder_commands_total", is_counter: true }];
        let history = api.server.history.get_or_init(|| History::new(columns));
        for step in 0..30 {
            let now = look(&api.server);
            let (at_ms, steady_ms) = (now.at_ms - 300_000 + step * 10_000, step * 10_000);
            history.note(Look { at_ms, steady_ms, figures: vec![step as f64 * 25.0], ..now });
        }
        for (last, points) in [("", 29), ("?last=hour", 29), ("?last=day", 2), ("?last=week", 0)] {
            let told = api.run(&format!("GET /api/v1/history{last}"), "").await.json();
            let all = told["points"].as_array().cloned().unwrap_or_default();
            assert_eq!(all.len(), points, "{last}");
            assert!(all.iter().all(|point| point[1] == 2.5 && point[2].is_null()), "{last}: {all:?}");
            assert_eq!(told["columns"].as_array().map(Vec::len), Some(4), "{last}");
        }
        assert_eq!(api.run("GET /api/v1/history?last=year", "").await.status, 400);
    }

    #[tokio::test]
    async fn who_may_not_see_figures_may_not_see_them_later() {
        let api = Api::new();
        let session = &mut crate::command::tests::harness::session(&api.server);
        let words = "ACL SETUSER reader on nopass ~* +@read".split(' ');
        let args = words.map(|word| bytes::Bytes::copy_from_slice(word.as_bytes())).collect();
        crate::command::dispatch(&api.server, session, crate::resp::Request { args });
        // reader:
        let reader = [("authorization", "Bearer cmVhZGVyOg==")];
        assert_eq!(api.send("GET /api/v1/history", &reader, "").await.status, 403);
    }
}
