//! Commands as a person types them, with typed replies: for the console of the dashboard, and for its pages about the
//! server.
//!
//! A command passes the same gate as over any other way. A reply keeps what RESP3 tells apart: maps, sets, numbers of each
//! kind, nothing, errors inside of lists. Commands that wait or subscribe need a connection, and a request has none.

use std::time::Duration;

use axum::extract::FromRequest;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::command::base::table::Lookup;
use crate::command::{Flags, Spec};
use crate::config::{SETTINGS, When};
use crate::engine::clock::Stopwatch;
use crate::error::Error;
use crate::http::App;
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{any, array, boolean, count, integer, object, text, word};
use crate::http::request::ask::{Ask, given};
use crate::http::request::gate::{MissingStore, Talk, words};
use crate::http::response::json::answer;
use crate::http::response::problem::{Answer, Problem};
use crate::limits::HTTP_VALUES_BYTES_MAX;
use crate::record::line;
use crate::resp::{Protocol, Reply, format_double, split_arguments};

pub fn routes() -> Vec<Route> {
    let words = array(any().about("Text, or {\"base64\": …}")).with("minItems", 1);
    let form = object([
        ("line", text().about("The command as redis-cli takes it, with quotes and escapes").optional()),
        ("words", words.about("The command, instead of line").optional()),
        (
            "store",
            text()
                .about("Name or number of the store; 0, or the user's first one, if it is left out")
                .optional(),
        ),
    ]);
    const TYPES: [&str; 13] = [
        "status",
        "error",
        "integer",
        "string",
        "null",
        "array",
        "map",
        "set",
        "double",
        "boolean",
        "text",
        "push",
        "big number",
    ];
    let reply = object([
        ("type", word(&TYPES)),
        ("text", text().about("Of a single value, numbers included").optional()),
        ("base64", text().about("Instead of text, if it is not UTF-8").optional()),
        ("items", array(any()).about("Replies; those of a map are names and values by turns").optional()),
    ])
    .named("TypedReply");
    vec![
        route::post("/api/v1/run", run)
            .named("run", "Run a command of the Redis protocol, and get its reply with its types")
            .takes(form)
            .returns(
                200,
                "The reply, which may be an error",
                object([
                    ("reply", reply),
                    ("store", integer().about("The store that is selected now: SELECT changes it")),
                    ("took_us", count()),
                ]),
            ),
        route::get("/api/v1/commands", commands)
            .named("commands", "All commands with their documentation, as COMMAND DOCS has it")
            .returns(
                200,
                "By name",
                object([(
                    "commands",
                    array(object([
                        ("name", text().about("A subcommand is config|get")),
                        ("summary", text()),
                        ("syntax", text().about("The arguments")),
                        ("since", text().about("The version of Redis that has it")),
                        ("group", text()),
                        ("complexity", text()),
                        (
                            "is_harmful",
                            boolean().about("It empties, stops or changes something for everybody"),
                        ),
                        ("needs_connection", boolean().about("It can't be run by a request")),
                        ("hides", boolean().about("Some of its words may be secrets")),
                    ])),
                )]),
            ),
        route::get("/api/v1/settings", settings)
            .named("settings", "The settings of the server, with their documentation")
            .returns(
                200,
                "For who may use CONFIG GET",
                object([
                    ("has_file", boolean().about("Whether CONFIG REWRITE can keep changes")),
                    (
                        "settings",
                        array(object([
                            ("name", text()),
                            ("value", text().or_null().about("null for a secret")),
                            ("default", text().or_null()),
                            ("takes", text().about("What a value looks like")),
                            ("help", text()),
                            ("is_secret", boolean()),
                            ("is_changeable", boolean().about("While the server runs")),
                        ])),
                    ),
                ]),
            ),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, deserialize_with = "given")]
    line: Option<String>,
    #[serde(default, deserialize_with = "given")]
    words: Option<Vec<Word>>,
    #[serde(default, deserialize_with = "given")]
    store: Option<String>,
}

struct Word(Bytes);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
        line::key(deserializer).map(|word| Word(word.into()))
    }
}

impl Form {
    fn command(&mut self) -> Result<Vec<Bytes>, Problem> {
        let words = match (self.line.take(), self.words.take()) {
            (Some(line), None) => split_arguments(line.as_bytes()).ok_or_else(|| {
                Problem::bad("a quote is not closed, or something follows its end without a blank")
            })?,
            (None, Some(words)) => words.into_iter().map(|word| word.0).collect(),
            _ => return Err(Problem::bad("there must be either 'line' or 'words'")),
        };
        if words.is_empty() { Err(Problem::bad("there is no command")) } else { Ok(words) }
    }
}

async fn run(State(app): State<App>, request: Request) -> Answer {
    let ask = Ask::from_request(request, &app).await?;
    ask.params(&[])?;
    let (mut form, gate) = ask.object::<Form>().await?;
    let words = form.command()?;
    let spec = match gate.server.commands.lookup(&words) {
        Lookup::Command(spec) => Some(spec),
        _ => None,
    };
    if let Some(spec) = spec.filter(|spec| needs_connection(spec)) {
        let name = spec.name.replace('|', " ").to_ascii_uppercase();
        return Err(Problem::bad(format!(
            "{name} works on a connection, and a request over HTTP has none: use redis-cli for it"
        )));
    }
    let claim = spec.filter(|spec| spec.writes()).map(Spec::claim);
    let entry = if claim.is_some() { MissingStore::Created } else { MissingStore::Refused };
    let bytes = words.iter().map(Bytes::len).sum();
    let work = move |talk: &mut Talk| {
        if let Some(store) = &form.store {
            talk.enter(store.as_bytes(), entry)?;
        }
        talk.session.set_protocol(Protocol::Resp3);
        let mut clock = Stopwatch::start();
        let reply = talk.reply(words)?;
        let took = Duration::from_nanos(clock.lap_ns()).as_micros();
        let mut out = b"{\"reply\":".to_vec();
        write(&reply, &mut out)?;
        out.extend(format!(",\"store\":{},\"took_us\":{took}}}", talk.session.store).into_bytes());
        Ok(out)
    };
    Ok(answer(match claim {
        Some(claim) => gate.claim(claim, bytes, work).await?,
        None => gate.read(work).await?,
    }))
}

/// Whether a command changes a connection or waits on one.
fn needs_connection(spec: &Spec) -> bool {
    spec.is(Flags::STATEFUL)
}

/// Appends a reply as JSON. Fails if the answer becomes too long; a single string may be of any length.
fn write(reply: &Reply, out: &mut Vec<u8>) -> Result<(), Error> {
    if out.len() > HTTP_VALUES_BYTES_MAX {
        return Err(Error::other(format!("ERR the reply has more than {HTTP_VALUES_BYTES_MAX} bytes")));
    }
    match reply {
        Reply::Simple(text) => write_text("status", text.as_bytes(), out),
        Reply::Status(text) => write_text("status", text, out),
        Reply::Error(error) => write_text("error", error.to_string().as_bytes(), out),
        Reply::Integer(number) => write_text("integer", itoa::Buffer::new().format(*number).as_bytes(), out),
        Reply::Bulk(text) => write_text("string", text, out),
        Reply::Verbatim(text) => write_text("text", text, out),
        Reply::Double(number) => write_text("double", format_double(*number).as_bytes(), out),
        Reply::BigNumber(digits) => write_text("big number", digits.as_bytes(), out),
        Reply::Boolean(is) => write_text("boolean", if *is { b"true" } else { b"false" }, out),
        Reply::Null | Reply::NullArray => out.extend_from_slice(b"{\"type\":\"null\"}"),
        Reply::Attributed(_, reply) => return write(reply, out),
        Reply::Array(items) | Reply::Sequence(items) => return write_items("array", items.iter(), out),
        Reply::Set(items) => return write_items("set", items.iter(), out),
        Reply::Push(items) => return write_items("push", items.iter(), out),
        Reply::Map(pairs) => {
            return write_items("map", pairs.iter().flat_map(|(name, value)| [name, value]), out);
        }
    }
    Ok(())
}

fn write_items<'r>(
    kind: &str,
    items: impl Iterator<Item = &'r Reply>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.extend(format!("{{\"type\":\"{kind}\",\"items\":[").into_bytes());
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out)?;
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

fn write_text(kind: &str, text: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{{\"type\":\"{kind}\",").into_bytes());
    match std::str::from_utf8(text) {
        Ok(text) => {
            out.extend_from_slice(b"\"text\":");
            // a string is always JSON, and a vector takes everything
            let _ = serde_json::to_writer(&mut *out, text);
        }
        Err(_) => out.extend(format!("\"base64\":\"{}\"", STANDARD.encode(text)).into_bytes()),
    }
    out.push(b'}');
}

async fn commands(ask: Ask) -> Answer {
    ask.params(&[])?;
    let all = ask.gate.server.commands.everything();
    // a mere container of subcommands can't be run
    let told: Vec<Value> = all
        .filter(|spec| spec.subcommands.is_empty() || spec.takes(1))
        .map(|spec| {
            json!({
                "name": spec.name, "summary": spec.summary, "syntax": spec.syntax, "since": spec.since,
                "group": spec.group.as_str(), "complexity": spec.complexity, "is_harmful": spec.is_harmful,
                "needs_connection": needs_connection(spec), "hides": spec.hides(),
            })
        })
        .collect();
    Ok(answer(json!({ "commands": told }).to_string()))
}

async fn settings(ask: Ask) -> Answer {
    ask.params(&[])?;
    let told = ask
        .gate
        .read(|talk| {
            // refuses whom CONFIG GET refuses
            talk.command(words([b"CONFIG", b"GET", b"port"]))?;
            let config = &talk.server.config;
            let (now, default) = (config.settings(), crate::config::Settings::default());
            let all = SETTINGS.iter().map(|setting| {
                let shown = |settings| (!setting.is_secret).then(|| (setting.get)(settings));
                json!({
                    "name": setting.name, "value": shown(&now), "default": shown(&default), "takes": setting.value,
                    "help": setting.help, "is_secret": setting.is_secret,
                    "is_changeable": setting.when != When::Start,
                })
            });
            let settings: Vec<Value> = all.collect();
            Ok(json!({ "has_file": config.file().is_some(), "settings": settings }).to_string())
        })
        .await?;
    Ok(answer(told))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::http::testing::Api;

    #[tokio::test]
    async fn replies_keep_their_types() {
        let api = Api::new();
        for (command, reply) in [
            (r#"{"line": "SET k '{\"a\": 1}'"}"#, json!({"type": "status", "text": "OK"})),
            (r#"{"words": ["GET", "k"]}"#, json!({"type": "string", "text": "{\"a\": 1}"})),
            (r#"{"line": "GET none"}"#, json!({"type": "null"})),
            (r#"{"line": "STRLEN k"}"#, json!({"type": "integer", "text": "8"})),
            (
                r#"{"line": "MGET k none"}"#,
                json!({"type": "array", "items": [{"type": "string", "text": "{\"a\": 1}"}, {"type": "null"}]}),
            ),
            (
                r#"{"line": "CONFIG GET databases"}"#,
                json!({"type": "map", "items": [{"type": "string", "text": "databases"}, {"type": "string", "text": "16"}]}),
            ),
            (r#"{"line": "ECHO \"\\xff\""}"#, json!({"type": "string", "base64": "/w=="})),
            (r#"{"words": ["ECHO", {"base64": "/w=="}]}"#, json!({"type": "string", "base64": "/w=="})),
            (
                r#"{"line": "GET"}"#,
                json!({"type": "error", "text": "ERR wrong number of arguments for 'get' command"}),
            ),
            (r#"{"line": "NOTHING"}"#, json!({"type": "error", "text": "ERR unknown command 'NOTHING'"})),
        ] {
            let told = api.run("POST /api/v1/run", command).await;
            assert_eq!((told.status, &told.json()["reply"]), (200, &reply), "{command}");
        }
    }

    #[tokio::test]
    async fn a_command_runs_in_its_store_or_not_at_all() {
        let api = Api::new();
        for (body, status, store) in [
            (r#"{"line": "SET k 1", "store": "3"}"#, 200, 3),
            (r#"{"line": "SELECT 5"}"#, 200, 5),
            (r#"{"line": "GET k", "store": "nowhere"}"#, 404, -1),
            (r#"{"line": "GET 'k"}"#, 400, -1),
            (r#"{"line": " "}"#, 400, -1),
            (r#"{"words": []}"#, 400, -1),
            (r#"{"words": [["GET"]]}"#, 400, -1),
            (r#"{"line": "PING", "words": ["PING"]}"#, 400, -1),
            ("{}", 400, -1),
            (r#"{"line": "SUBSCRIBE news"}"#, 400, -1),
            (r#"{"line": "MONITOR"}"#, 400, -1),
            (r#"{"line": "MULTI"}"#, 400, -1),
            (r#"{"line": "AUTH x"}"#, 400, -1),
        ] {
            let told = api.run("POST /api/v1/run", body).await;
            assert_eq!((told.status, told.json()["store"].as_i64().unwrap_or(-1)), (status, store), "{body}");
        }
        assert_eq!(api.run("GET /api/v1/stores/3/records/k", "").await.status, 200);
    }

    #[tokio::test]
    async fn commands_and_settings_are_documented() {
        let api = Api::new();
        let told = api.run("GET /api/v1/commands", "").await.json();
        let of = |name: &str| {
            told["commands"].as_array().into_iter().flatten().find(|of| of["name"] == name).cloned()
        };
        let flushall = of("flushall").unwrap_or_default();
        assert_eq!((&flushall["is_harmful"], &flushall["needs_connection"]), (&true.into(), &false.into()));
        assert_eq!(of("subscribe").unwrap_or_default()["needs_connection"], true);
        assert_eq!(of("acl|setuser").unwrap_or_default()["hides"], true);
        assert_eq!(of("get").unwrap_or_default()["syntax"], "key");
        assert!(of("config").is_none() && of("command").is_some());
        api.run("POST /api/v1/run", r#"{"line": "CONFIG SET timeout 7"}"#).await;
        let told = api.run("GET /api/v1/settings", "").await.json();
        let of = |name: &str| {
            told["settings"].as_array().into_iter().flatten().find(|of| of["name"] == name).cloned()
        };
        let timeout = of("timeout").unwrap_or_default();
        assert_eq!(
            (&timeout["value"], &timeout["default"], &timeout["is_changeable"]),
            (&"7".into(), &"0".into(), &true.into())
        );
        assert_eq!(of("requirepass").unwrap_or_default()["value"], json!(null));
        assert_eq!(of("port").unwrap_or_default()["is_changeable"], false);
    }
}
