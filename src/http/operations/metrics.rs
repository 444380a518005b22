//! `/metrics`: the figures of the server as Prometheus reads them. They are declared in
//! [`sections`](crate::command::server::info::sections), for INFO, too, so a user who may see INFO may see this.

use std::fmt::Write;
use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json};

use crate::command::base::permission;
use crate::command::server::info::figure::{Kind, Metric, Part, Rows, Value};
use crate::command::server::info::sample::Sample;
use crate::command::server::info::sections::{SECTIONS, figures};
use crate::error::Error;
use crate::http::App;
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::text;
use crate::http::request::ask::Ask;
use crate::http::request::door;
use crate::http::request::door::Peer;
use crate::http::request::gate;
use crate::http::request::gate::{Talk, words};
use crate::http::response::problem::{Answer, Problem};
use crate::telemetry::histogram::Distribution;

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/metrics", metrics)
            .named("metrics", "Figures in Prometheus's text format")
            .returns_content(200, "For who may use INFO", vec![("text/plain", text())]),
    ]
}

/// While a script has the engine, figures about records are left out.
pub async fn metrics(State(app): State<App>, request: Request) -> Answer {
    if gate::wait_for_script(&app.server).await.is_err() {
        return metrics_without_engine(app, request).await;
    }
    let ask = Ask::from_request(request, &app).await?;
    ask.params(&[])?;
    Ok(told(ask.gate.read(|talk| Ok(rendered(&sample(talk)?, true))).await?))
}

async fn metrics_without_engine(app: App, request: Request) -> Answer {
    const PATIENCE: Duration = Duration::from_secs(1);
    let entering = tokio::task::spawn_blocking(move || {
        let peer = request.extensions().get::<Peer>().copied();
        let session = door::enter(&app.server, request.headers(), peer)?;
        let info = app.server.commands.find(b"info").ok_or(Error::Busy)?;
        permission::check(
            app.server.view(),
            &session,
            info,
            &words([b"INFO"]),
            permission::context(&session),
        )?;
        Ok::<String, Problem>(rendered(&Sample::new(app.server.view(), &session), false))
    });
    // a user whose first store has to be looked up in the engine has to wait
    match tokio::time::timeout(PATIENCE, entering).await {
        Ok(Ok(metrics)) => Ok(told(metrics?)),
        Ok(Err(_)) => Err(Problem::ours("the request ended in a panic; the log says more")),
        Err(_) => Err(Error::Busy.into()),
    }
}

fn told(metrics: String) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, metrics).into_response()
}

/// The server, for a caller who may see what INFO shows. The gate decides about that, counts it and logs it as it does with
/// INFO. There is no section of this name, so the command itself reads nothing.
pub fn sample(talk: &mut Talk) -> Result<Sample<'_>, Problem> {
    talk.command(words([b"INFO", b"metrics"]))?;
    Ok(Sample::new(talk.server.view(), &talk.session))
}

/// The figures of the whole server, by the names that Prometheus knows them by.
pub fn as_json(sample: &Sample<'_>) -> Map<String, Json> {
    let shown = figures().filter_map(|figure| {
        let metric = figure.metric?;
        let number = figure.value(sample).number()?;
        Some((metric.name.to_owned(), Json::from(number * metric.scale)))
    });
    shown.collect()
}

/// All metrics in Prometheus's format. Without the engine, those that need it have no values.
fn rendered(sample: &Sample<'_>, has_engine: bool) -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let is_readable = has_engine || section.without_engine;
        for part in section.parts {
            match part {
                Part::Fixed(_) => {}
                Part::Figures(figures) => {
                    for figure in *figures {
                        let Some(metric) = figure.metric else { continue };
                        write_head(&mut out, &metric);
                        if is_readable {
                            write_value(&mut out, &metric, "", &figure.value(sample));
                        }
                    }
                }
                Part::Family(family) => write_family(&mut out, is_readable.then_some(sample), *family),
            }
        }
    }
    out
}

fn write_family(out: &mut String, sample: Option<&Sample<'_>>, family: &dyn Rows) {
    let metrics = family.metrics();
    // reading a family without metrics would be in vain
    let sample = sample.filter(|_| !metrics.is_empty());
    let rows = sample.map(|sample| family.metrics_of_rows(sample)).unwrap_or_default();
    for (at, metric) in metrics.iter().enumerate() {
        write_head(out, metric);
        for (name, values) in &rows {
            let label = format!("{}=\"{}\"", family.label(), escaped(name));
            write_value(out, metric, &label, &values[at].1);
        }
    }
}

// writing to memory can't fail

fn write_head(out: &mut String, Metric { name, kind, help, .. }: &Metric) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn write_value(out: &mut String, Metric { name, scale, .. }: &Metric, label: &str, value: &Value) {
    if let Value::Distribution(distribution) = value {
        write_distribution(out, name, label, distribution);
    } else if let Some(number) = value.number() {
        let label = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let _ = writeln!(out, "{name}{label} {}", number * scale);
    }
}

/// Each bucket counts what the ones before it count, too.
fn write_distribution(out: &mut String, name: &str, label: &str, distribution: &Distribution) {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let Distribution { below, count, sum_ns } = distribution;
    for (bound_ns, below) in below {
        let _ = writeln!(out, "{name}_bucket{{{label},le=\"{}\"}} {below}", seconds(*bound_ns));
    }
    let _ = writeln!(out, "{name}_bucket{{{label},le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum{{{label}}} {}\n{name}_count{{{label}}} {count}", seconds(*sum_ns));
}

/// The value of a label.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use crate::http::operations::metrics::*;
    use crate::http::testing::Api;

    fn metrics_declared() -> Vec<Metric> {
        let parts = SECTIONS.iter().flat_map(|section| section.parts);
        let metrics = parts.flat_map(|part| match part {
            Part::Fixed(_) => Vec::new(),
            Part::Figures(figures) => figures.iter().filter_map(|figure| figure.metric).collect(),
            Part::Family(family) => family.metrics(),
        });
        metrics.collect()
    }

    #[tokio::test]
    async fn every_metric_has_a_figure() {
        let api = Api::new();
        api.run("POST /api/v1/stores", r#"{"name": "a\"b"}"#).await;
        api.run("PUT /api/v1/stores/a%22b/records/k", "1").await;
        api.run("PUT /api/v1/stores/0/records/k", "[").await;
        api.run("DELETE /api/v1/stores/nowhere", "").await;
        let told = api.run("GET /metrics", "").await;
        let text = String::from_utf8_lossy(&told.body).into_owned();
        for metric in metrics_declared() {
            let suffix = if metric.kind == Kind::Histogram { "_bucket" } else { "" };
            let is_sample = |line: &str| {
                let value = line.strip_prefix(metric.name).and_then(|line| line.strip_prefix(suffix));
                value.is_some_and(|value| value.starts_with([' ', '{']))
            };
            assert!(text.lines().any(is_sample), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert_eq!(text.matches(&format!("# TYPE {} ", metric.name)).count(), 1);
        }
        assert!(text.contains("\nlarder_store_records{store=\"a\\\"b\"} 1\n"), "{text}");
        assert!(text.contains("\nlarder_command_calls_total{command=\"set\"} 1\n"), "{text}");
    }

    /// As histogram_quantile of Prometheus needs them: buckets of ascending bounds that end with infinity.
    #[tokio::test]
    async fn durations_of_commands_that_ran_are_histograms() {
        let api = Api::new();
        let commands = api.server.commands;
        let set = commands.find(b"set").map(|spec| commands.index(spec));
        for nanos in [900, 1_500, 3_000_000, 60_000_000_000] {
            api.server.stats.command(set.expect("SET"), nanos, false);
        }
        let told = api.run("GET /metrics", "").await;
        let text = String::from_utf8_lossy(&told.body).into_owned();
        let name = "larder_command_duration_seconds";
        let of_set: Vec<_> = text.lines().filter(|line| line.starts_with(name)).collect();
        let buckets: Vec<(f64, u64)> = of_set
            .iter()
            .filter_map(|line| {
                line.strip_prefix(&format!("{name}_bucket{{command=\"set\",le=\""))?.split_once("\"} ")
            })
            .map(|(bound, count)| (bound.parse().expect("a bound"), count.parse().expect("a count")))
            .collect();
        assert_eq!(buckets.len(), 25);
        assert_eq!(buckets[..2], [(1.024e-6, 1), (2.048e-6, 2)]);
        assert_eq!(buckets[23..], [(8.589934592, 3), (f64::INFINITY, 4)]);
        assert!(buckets.is_sorted());
        assert!(of_set.contains(&&*format!("{name}_count{{command=\"set\"}} 4")), "{of_set:?}");
        assert!(!text.contains(&format!("{name}_count{{command=\"get\"}}")));
    }

    #[tokio::test]
    async fn the_server_tells_how_it_is() {
        let api = Api::new();
        assert_eq!(api.run("GET /healthz", "").await.json()["status"], "ok");
        assert_eq!(api.run("GET /readyz", "").await.json()["status"], "ready");
        api.server.shutdown.raise();
        let told = api.run("GET /readyz", "").await;
        assert_eq!((told.status, &told.json()["because"][0]), (503, &"stopping".into()));
    }
}
