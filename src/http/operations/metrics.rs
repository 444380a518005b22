//! `/metrics`: INFO's fields as Prometheus reads them.
//!
//! A figure is made once, for INFO; here are its name and meaning for Prometheus. So both always agree, and a user who
//! may see INFO may see this.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::command::base::{permission, table};
use crate::command::server::info;
use crate::error::Error;
use crate::http::App;
use crate::http::request::ask::Ask;
use crate::http::request::door;
use crate::http::request::door::Peer;
use crate::http::request::gate;
use crate::http::request::gate::words;
use crate::http::response::problem::{Answer, Problem};
use crate::resp::Reply;

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// A metric and the field of INFO that it shows.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    field: &'static str,
    /// From the field's unit to the metric's.
    scale: f64,
}

const fn counter(name: &'static str, field: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help, field, scale: 1.0 }
}

const fn gauge(name: &'static str, field: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help, field, scale: 1.0 }
}

impl Metric {
    /// Of a field in other units.
    const fn scaled(self, scale: f64) -> Metric {
        Metric { scale, ..self }
    }
}

const MICRO: f64 = 1e-6;
const MILLI: f64 = 1e-3;

/// Figures of the whole server.
static METRICS: &[Metric] = &[
    gauge("larder_uptime_seconds", "uptime_in_seconds", "Time since the start"),
    gauge("larder_connected_clients", "connected_clients", "Connections of the Redis protocol"),
    gauge("larder_max_clients", "maxclients", "Most connections of the Redis protocol that are let in"),
    counter("larder_connections_total", "total_connections_received", "Connections that came"),
    counter(
        "larder_rejected_connections_total",
        "rejected_connections",
        "Connections refused for maxclients",
    ),
    counter("larder_commands_total", "total_commands_processed", "Commands that ran"),
    counter("larder_error_replies_total", "total_error_replies", "Commands that were answered with an error"),
    counter(
        "larder_net_input_bytes_total",
        "total_net_input_bytes",
        "Bytes received over the Redis protocol",
    ),
    counter("larder_net_output_bytes_total", "total_net_output_bytes", "Bytes sent over the Redis protocol"),
    counter("larder_http_requests_total", "http_requests", "HTTP requests that were answered"),
    counter("larder_http_errors_total", "http_errors", "HTTP requests answered with a status of 400 or more"),
    gauge("larder_http_event_streams", "http_event_streams", "Streams of changes that are open"),
    counter("larder_keyspace_hits_total", "keyspace_hits", "Keys that were looked for and found"),
    counter("larder_keyspace_misses_total", "keyspace_misses", "Keys that were looked for and not found"),
    counter("larder_expired_records_total", "expired_keys", "Expired records that were removed"),
    gauge("larder_memory_allocated_bytes", "used_memory", "Memory that is allocated"),
    gauge("larder_memory_peak_bytes", "used_memory_peak", "Most memory that was seen allocated"),
    gauge("larder_memory_resident_bytes", "used_memory_rss", "Resident memory, pages of the map included"),
    gauge("larder_memory_anonymous_bytes", "rss_anonymous", "Resident memory without files"),
    gauge("larder_overlay_bytes", "overlay_bytes", "Changes in memory that no checkpoint holds yet"),
    gauge("larder_cache_bytes", "cache_bytes", "Decompressed records in memory"),
    gauge("larder_lmdb_file_bytes", "lmdb_file_bytes", "Size of LMDB's file"),
    gauge("larder_lmdb_live_bytes", "lmdb_live_bytes", "Bytes of LMDB's file that hold something"),
    gauge(
        "larder_lmdb_free_bytes",
        "lmdb_free_bytes",
        "Bytes of LMDB's file that are used again before it grows",
    ),
    gauge("larder_lmdb_map_bytes", "lmdb_map_bytes", "Size that LMDB's file can reach"),
    counter("larder_journal_entries_total", "journal_last_entry", "Journal entries ever made"),
    counter(
        "larder_journal_written_bytes_total",
        "journal_bytes",
        "Bytes written to the journal since the start",
    ),
    counter("larder_journal_syncs_total", "journal_syncs", "Syncs of the journal"),
    counter("larder_journal_slow_syncs_total", "journal_slow_syncs", "Syncs of the journal that took long"),
    gauge(
        "larder_journal_pending_bytes",
        "journal_pending_bytes",
        "Bytes that wait to be written to the journal",
    ),
    gauge("larder_journal_segments_bytes", "journal_segments_bytes", "Size of the journal's segments"),
    gauge("larder_journal_disk_bytes", "journal_disk_bytes", "Size of all the journal's files"),
    gauge("larder_journal_last_sync_seconds", "journal_last_sync_usec", "How long the last sync took")
        .scaled(MICRO),
    gauge("larder_journal_max_sync_seconds", "journal_max_sync_usec", "How long the longest sync took")
        .scaled(MICRO),
    counter("larder_checkpoints_total", "checkpoints", "Checkpoints that were made"),
    gauge("larder_checkpoint_running", "checkpoint_running", "1 while a checkpoint is being made"),
    gauge(
        "larder_checkpoint_last_timestamp_seconds",
        "checkpoint_last_time_msec",
        "When the last checkpoint ended",
    )
    .scaled(MILLI),
    gauge(
        "larder_checkpoint_last_duration_seconds",
        "checkpoint_last_duration_msec",
        "How long the last took",
    )
    .scaled(MILLI),
    gauge("larder_records", "keys", "Records in all stores"),
    gauge("larder_stored_bytes", "stored_bytes", "Keys and records in all stores as stored"),
    gauge("larder_named_stores", "named_stores", "Stores with a name"),
    gauge("larder_max_records", "max_keys", "Most records in all stores; 0: no limit"),
    gauge("larder_max_stored_bytes", "max_bytes", "Most stored bytes in all stores; 0: no limit"),
    gauge("larder_max_named_stores", "max_stores", "Most stores with a name; 0: no limit"),
    gauge(
        "larder_limits_nearly_reached",
        "limits_nearly_reached",
        "Limits of the server and of stores that are used to 80 % or more",
    ),
    counter("larder_cpu_user_seconds_total", "used_cpu_user", "Processor time in the program"),
    counter(
        "larder_cpu_system_seconds_total",
        "used_cpu_sys",
        "Processor time in the system for the program",
    ),
];

/// Figures of several objects: fields of INFO with a common prefix that hold `name=figure,…`.
struct Family {
    prefix: &'static str,
    label: &'static str,
    metrics: &'static [Metric],
}

static FAMILIES: &[Family] = &[
    Family {
        prefix: "cmdstat_",
        label: "command",
        metrics: &[
            counter("larder_command_calls_total", "calls", "Calls of a command"),
            counter("larder_command_duration_seconds_total", "usec", "Time in a command").scaled(MICRO),
            counter(
                "larder_command_rejected_total",
                "rejected_calls",
                "Calls that were refused before they ran",
            ),
            counter("larder_command_failed_total", "failed_calls", "Calls that failed"),
        ],
    },
    Family {
        prefix: "errorstat_",
        label: "code",
        metrics: &[counter("larder_errors_total", "count", "Errors that were answered, by their code")],
    },
    Family {
        prefix: "store_",
        label: "store",
        metrics: &[
            gauge("larder_store_records", "records", "Records in a store"),
            gauge("larder_store_expiring_records", "expiring", "Records in a store that have an expiry"),
            gauge(
                "larder_store_plain_bytes",
                "plain_bytes",
                "Keys and values in a store as clients know them",
            ),
            gauge("larder_store_stored_bytes", "stored_bytes", "Keys and records in a store as stored"),
            gauge("larder_store_max_records", "max_keys", "Most records in a store; 0: no limit"),
            gauge("larder_store_max_stored_bytes", "max_bytes", "Most stored bytes in a store; 0: no limit"),
        ],
    },
];

/// While a script has the engine, figures about records are left out.
pub async fn metrics(State(app): State<App>, request: Request) -> Answer {
    if gate::wait_for_script(&app.server).await.is_err() {
        return metrics_without_engine(app, request).await;
    }
    let ask = Ask::from_request(request, &app).await?;
    ask.params(&[])?;
    let info = match ask.gate.read(|talk| talk.command(words([b"INFO", b"everything"]))).await? {
        Reply::Verbatim(info) | Reply::Bulk(info) => info,
        _ => return Err(Problem::ours("INFO gave no text")),
    };
    Ok(told(&String::from_utf8_lossy(&info)))
}

async fn metrics_without_engine(app: App, request: Request) -> Answer {
    const PATIENCE: Duration = Duration::from_secs(1);
    let entering = tokio::task::spawn_blocking(move || {
        let peer = request.extensions().get::<Peer>().copied();
        let session = door::enter(&app.server, request.headers(), peer)?;
        let info = table::find(b"info").ok_or(Error::Busy)?;
        permission::check(&app.server, &session, info, &words([b"INFO"]), permission::context(&session))?;
        Ok::<String, Problem>(info::text_without_engine(&app.server, &session))
    });
    // a user whose first store has to be looked up in the engine has to wait
    match tokio::time::timeout(PATIENCE, entering).await {
        Ok(Ok(info)) => Ok(told(&info?)),
        Ok(Err(_)) => Err(Problem::ours("the request ended in a panic; the log says more")),
        Err(_) => Err(Error::Busy.into()),
    }
}

fn told(info: &str) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, rendered(info)).into_response()
}

/// The figures of the whole server, by the names that Prometheus knows them by.
pub fn figures(info: &str) -> Map<String, Value> {
    let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
    let figures = METRICS.iter().filter_map(|metric| {
        let number: f64 = fields.get(metric.field)?.parse().ok()?;
        Some((metric.name.to_owned(), Value::from(number * metric.scale)))
    });
    figures.collect()
}

/// INFO's text in Prometheus's format.
fn rendered(info: &str) -> String {
    let fields: Vec<(&str, &str)> = info.lines().filter_map(|line| line.split_once(':')).collect();
    let mut out = String::new();
    for metric in METRICS {
        let values = fields.iter().filter(|(name, _)| *name == metric.field);
        write_metric(&mut out, metric, values.map(|(_, value)| (String::new(), *value)));
    }
    for family in FAMILIES {
        for metric in family.metrics {
            let of_family =
                fields.iter().filter_map(|(name, value)| Some((name.strip_prefix(family.prefix)?, value)));
            let values = of_family.filter_map(|(name, line)| {
                let mut parts = line.split(',').filter_map(|part| part.split_once('='));
                let value = parts.find(|(name, _)| *name == metric.field)?.1;
                Some((format!("{{{}=\"{}\"}}", family.label, escaped(name)), value))
            });
            write_metric(&mut out, metric, values);
        }
    }
    out
}

fn write_metric<'v>(out: &mut String, metric: &Metric, values: impl Iterator<Item = (String, &'v str)>) {
    let Metric { name, help, scale, .. } = metric;
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    // writing to memory can't fail
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in values {
        if let Ok(number) = value.parse::<f64>() {
            let _ = writeln!(out, "{name}{labels} {}", number * scale);
        }
    }
}

/// A name as INFO has it, as the value of a label.
fn escaped(name: &str) -> String {
    let name = percent_decode_str(name).decode_utf8_lossy();
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use crate::http::operations::metrics::*;
    use crate::http::testing::Api;

    #[tokio::test]
    async fn every_metric_has_a_figure() {
        let api = Api::new();
        api.run("POST /api/v1/stores", r#"{"name": "a\"b"}"#).await;
        api.run("PUT /api/v1/stores/a%22b/records/k", "1").await;
        api.run("PUT /api/v1/stores/0/records/k", "[").await;
        api.run("DELETE /api/v1/stores/nowhere", "").await;
        let told = api.run("GET /metrics", "").await;
        let text = String::from_utf8_lossy(&told.body).into_owned();
        let all = METRICS.iter().chain(FAMILIES.iter().flat_map(|family| family.metrics));
        for metric in all {
            let is_sample = |line: &str| {
                line.starts_with(&format!("{} ", metric.name))
                    || line.starts_with(&format!("{}{{", metric.name))
            };
            assert!(text.lines().any(is_sample), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                matches!(metric.kind, Kind::Counter),
                "{}",
                metric.name
            );
            assert_eq!(text.matches(&format!("# TYPE {} ", metric.name)).count(), 1);
        }
        assert!(text.contains("\nlarder_store_records{store=\"a\\\"b\"} 1\n"), "{text}");
        assert!(text.contains("\nlarder_command_calls_total{command=\"set\"} 1\n"), "{text}");
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
