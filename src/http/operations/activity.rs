//! What the server is doing, as JSON: for the dashboard, and for programs that don't want to parse INFO.
//!
//! Each route is a command of the Redis protocol, and a user who may run the command may see this. Figures are those of
//! `/metrics`, with the same names; readers compute rates and percentiles over time from two requests.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use crate::command::base::{Shared, permission};
use crate::command::{Flags, Keys, Spec};
use crate::engine::clock;
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{Schema, any, array, boolean, integer, map, number, object, text};
use crate::http::operations::metrics;
use crate::http::request::ask::Ask;
use crate::http::request::gate::{items, words};
use crate::http::response::json::answer;
use crate::http::response::problem::{Answer, Problem};
use crate::limits::HTTP_BODY_BYTES_MAX;
use crate::resp::Reply;

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/session", session)
            .named("session", "Who the caller is, and what it may ask for at once")
            .returns(
                200,
                "The user, and limits",
                object([
                    ("user", text()),
                    ("asks_for_password", boolean()),
                    ("version", text()),
                    ("max_keys_per_query", integer().at_least(0).about("0: no limit")),
                    ("max_body_bytes", integer().at_least(1)),
                    (
                        "refused_commands",
                        array(text()).about(
                            "Commands, and subcommands as config|get, that the user may not run at all",
                        ),
                    ),
                ]),
            ),
        route::get("/api/v1/stats", stats)
            .named(
                "stats",
                "Figures of the server, how long commands on keys took since it started, and how \
                 long clients waited",
            )
            .about(
                "reads and writes are how long commands ran; responses are from the arrival of a \
                 request until its reply was sent, with the wait for the disk.",
            )
            .returns(
                200,
                "For who may use INFO",
                object([
                    ("at_ms", integer()),
                    ("figures", map(number()).about("Those of /metrics, by their names there")),
                    ("reads", durations_schema()),
                    ("writes", durations_schema()),
                    ("responses", durations_schema()),
                ]),
            ),
        route::get("/api/v1/slowlog", slow_log)
            .named("slowLog", "The commands that took long, latest first")
            .returns(
                200,
                "For who may use SLOWLOG",
                object([(
                    "entries",
                    array(object([
                        ("id", integer()),
                        ("at", integer().about("Seconds since 1970")),
                        ("took_us", integer()),
                        ("command", array(text())),
                        ("client", text()),
                        ("client_name", text()),
                    ])),
                )]),
            ),
        route::delete("/api/v1/slowlog", clear_slow_log)
            .named("clearSlowLog", "Forget them")
            .returns_nothing(204, "Done"),
        route::get("/api/v1/clients", clients)
            .named("clients", "The connections of the Redis protocol")
            .returns(
                200,
                "For who may use CLIENT LIST, whose fields these are",
                object([(
                    "clients",
                    array(
                        object([
                            ("id", integer()),
                            ("addr", text()),
                            ("name", text()),
                            ("user", text()),
                            ("db", integer()),
                            ("age", integer().about("Seconds since it came")),
                            ("idle", integer().about("Seconds since its last command")),
                        ])
                        .with_others(any().of_types(&["string", "integer"])),
                    ),
                )]),
            ),
    ]
}

fn durations_schema() -> Schema {
    array(array(integer()).of_size(2, 2))
        .about("Pairs: nanoseconds, and how many took no longer than those and longer than those before")
        .named("Durations")
}

/// The caller's user, and how much it may ask for at once.
pub async fn session(ask: Ask) -> Answer {
    ask.params(&[])?;
    let (server, config) = (&ask.gate.server, &ask.gate.server.config);
    let may_run = |spec: &&'static Spec| permission::may_run(server, &ask.gate.session, spec);
    let refused = server.commands.everything().filter(|spec| !may_run(spec)).map(|spec| spec.name);
    let told = json!({
        "refused_commands": refused.collect::<Vec<_>>(),
        "user": ask.gate.session.account.name(),
        "asks_for_password": ask.gate.server.acl.asks_for_password(),
        "version": env!("CARGO_PKG_VERSION"),
        "max_keys_per_query": config.max_keys_per_query(),
        "max_body_bytes": HTTP_BODY_BYTES_MAX.min(config.proto_max_bulk_len()),
    });
    Ok(answer(told.to_string()))
}

/// Figures, how long commands took since the start, and how long clients waited.
pub async fn stats(ask: Ask) -> Answer {
    ask.params(&[])?;
    let stats = ask
        .gate
        .read(|talk| {
            let sample = metrics::sample(talk)?;
            Ok(json!({
                "at_ms": clock::now_ms(),
                "figures": metrics::as_json(&sample),
                "reads": durations(&sample.server, Flags::READONLY),
                "writes": durations(&sample.server, Flags::WRITE),
                "responses": sample.stats().responses().buckets().collect::<Vec<_>>(),
            }))
        })
        .await?;
    Ok(answer(stats.to_string()))
}

/// The durations of commands on keys: pairs of a bound in nanoseconds, and the number of commands that took at most
/// that long and longer than the bound before.
fn durations(server: &Shared, flag: Flags) -> Vec<(u64, u64)> {
    let mut all = BTreeMap::new();
    for (name, histogram) in server.stats.all_durations() {
        let is_meant = |spec: &&Spec| spec.is(flag) && !matches!(spec.keys, Keys::None);
        if server.commands.find_full(name.as_bytes()).filter(is_meant).is_some() {
            for (bound_ns, count) in histogram.buckets() {
                *all.entry(bound_ns).or_insert(0) += count;
            }
        }
    }
    all.into_iter().collect()
}

/// The commands that took long, latest first.
pub async fn slow_log(ask: Ask) -> Answer {
    ask.params(&[])?;
    let entries = ask.gate.read(|talk| items(talk.command(words([b"SLOWLOG", b"GET", b"-1"]))?)).await?;
    let entries: Vec<Value> = entries.iter().map(slow_entry).collect();
    Ok(answer(json!({ "entries": entries }).to_string()))
}

fn slow_entry(entry: &Reply) -> Value {
    let Reply::Array(fields) = entry else { return Value::Null };
    let words = |reply: &Reply| match reply {
        Reply::Array(words) => words.iter().map(lossy).collect(),
        _ => Vec::new(),
    };
    match &fields[..] {
        [Reply::Integer(id), Reply::Integer(at_s), Reply::Integer(took_us), command, address, name] => {
            json!({
                "id": id, "at": at_s, "took_us": took_us, "command": words(command),
                "client": lossy(address), "client_name": lossy(name),
            })
        }
        _ => Value::Null,
    }
}

pub async fn clear_slow_log(ask: Ask) -> Answer {
    ask.params(&[])?;
    ask.gate.read(|talk| talk.command(words([b"SLOWLOG", b"RESET"]))).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The connections of the Redis protocol.
pub async fn clients(ask: Ask) -> Answer {
    ask.params(&[])?;
    let list = ask.gate.read(|talk| text_of(talk.command(words([b"CLIENT", b"LIST"]))?)).await?;
    let clients: Vec<Value> = list.lines().map(client).collect();
    Ok(answer(json!({ "clients": clients }).to_string()))
}

/// The fields of a line of CLIENT LIST, numbers as numbers.
fn client(line: &str) -> Value {
    const NUMBERS: [&str; 8] =
        ["id", "age", "idle", "db", "tot-net-in", "tot-net-out", "tot-cmds", "tot-mem"];
    const TEXTS: [&str; 7] = ["addr", "name", "user", "cmd", "lib-name", "lib-ver", "flags"];
    let fields = line.split(' ').filter_map(|field| field.split_once('='));
    let told = fields.filter_map(|(name, value)| {
        let value = match () {
            () if NUMBERS.contains(&name) => Value::from(value.parse::<u64>().ok()?),
            () if TEXTS.contains(&name) => Value::from(value),
            () => return None,
        };
        Some((name.replace('-', "_"), value))
    });
    Value::Object(told.collect::<Map<_, _>>())
}

fn lossy(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}

fn text_of(reply: Reply) -> Result<String, Problem> {
    match reply {
        Reply::Bulk(text) | Reply::Verbatim(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        _ => Err(Problem::ours("a command gave another reply than text")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::http::testing::Api;

    #[tokio::test]
    async fn the_caller_is_told_who_it_is() {
        let api = Api::new();
        let told = api.run("GET /api/v1/session", "").await.json();
        assert_eq!((&told["user"], &told["asks_for_password"]), (&"default".into(), &false.into()));
        assert_eq!(told["max_keys_per_query"], 1024);
        assert_eq!(told["refused_commands"], serde_json::json!([]));
    }

    #[tokio::test]
    async fn the_caller_is_told_what_it_may_not_run() {
        let api = Api::new();
        let rules =
            ["on", ">secret", "~*", "+@read", "+info", "+config|get", "-keys"].map(|rule| rule.into());
        api.server.acl.set_user("reader", &rules).unwrap();
        let basic = [("authorization", "Bearer cmVhZGVyOnNlY3JldA==")];
        let told = api.send("GET /api/v1/session", &basic, "").await.json();
        let refused: Vec<&str> = told["refused_commands"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str())
            .collect();
        for (name, is_refused) in [
            ("get", false),
            ("set", true),
            ("info", false),
            ("config|get", false),
            ("config|set", true),
            ("keys", true),
        ] {
            assert_eq!(refused.contains(&name), is_refused, "{name}");
        }
    }

    #[tokio::test]
    async fn durations_count_commands_on_keys() {
        let api = Api::new();
        api.run("PUT /api/v1/stores/0/records/k", "1").await;
        api.run("GET /api/v1/stores", "").await;
        let told = api.run("GET /api/v1/stats", "").await.json();
        let calls = |of: &str| -> u64 {
            let pairs = told[of].as_array().into_iter().flatten();
            pairs.filter_map(|pair| pair[1].as_u64()).sum()
        };
        assert_eq!((calls("writes"), calls("reads")), (1, 0));
        assert!(told["figures"]["larder_commands_total"].as_f64().is_some_and(|count| count >= 2.0));
        assert!(told["figures"].get("larder_store_records").is_none());
    }

    #[tokio::test]
    async fn the_slow_log_is_told_and_cleared() {
        let api = Api::new();
        api.server.slow.set_thresholds(crate::telemetry::slow::Thresholds {
            slow_us: 0,
            entries_max: 8,
            spike_ms: 0,
        });
        api.run("PUT /api/v1/stores/0/records/k", "\"<b>\"").await;
        let told = api.run("GET /api/v1/slowlog", "").await.json();
        let puts = told["entries"].as_array().into_iter().flatten();
        let command = puts.map(|entry| &entry["command"]).find(|command| command[0] == "SET");
        assert_eq!(command.map(|command| &command[2]), Some(&"\"<b>\"".into()));
        assert_eq!(api.run("DELETE /api/v1/slowlog", "").await.status, 204);
        let told = api.run("GET /api/v1/slowlog", "").await.json();
        assert!(told["entries"].as_array().is_some_and(|entries| entries.len() <= 1));
    }

    /// What a page looks at by itself is neither slow nor waited for; what somebody asks for or changes is.
    #[tokio::test]
    async fn who_only_watches_is_not_watched() {
        let api = Api::new();
        let thresholds = crate::telemetry::slow::Thresholds { slow_us: 0, entries_max: 1000, spike_ms: 0 };
        api.server.slow.set_thresholds(thresholds);
        let figures = || (api.server.slow.len(), api.server.stats.responses().total());
        let looks = [
            "session",
            "stats",
            "slowlog",
            "clients",
            "usage",
            "stores",
            "stores/0",
            "stores/0/links",
            "stores/0/entries?cursor=0",
        ];
        for path in looks {
            let line = format!("GET /api/v1/{path}");
            let told = api.send(&line, &[("larder-watching", "true")], "").await;
            assert_eq!((told.status, figures()), (200, (0, 0)), "{line}");
        }
        for (line, headers, body) in [
            ("GET /api/v1/stores", &[][..], ""),
            ("GET /api/v1/stores", &[("larder-watching", "no")], ""),
            ("PUT /api/v1/stores/0/records/k", &[("larder-watching", "true")], "1"),
            ("DELETE /api/v1/stores/0/records/k", &[("larder-watching", "true")], ""),
        ] {
            let (slow, waited) = figures();
            api.send(line, headers, body).await;
            assert!(figures().0 > slow && figures().1 == waited + 1, "{line}");
        }
    }

    #[tokio::test]
    async fn clients_are_listed() {
        let api = Api::new();
        let session = crate::command::tests::harness::session(&api.server);
        *session.client.name.lock() = "worker".into();
        let told = api.run("GET /api/v1/clients", "").await.json();
        assert_eq!(told["clients"][0]["name"], "worker");
        assert!(told["clients"][0]["id"].is_u64() && told["clients"][0]["tot_cmds"].is_u64());
    }
}
