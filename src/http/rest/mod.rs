//! The REST protocol of the `@upstash/redis` SDK, below `/redis`: commands of the Redis protocol for programs that can
//! only send HTTP requests.
//!
//! | path | what is run |
//! |---|---|
//! | `/redis` | the body: `["SET", "k", "v"]` |
//! | `/redis/set/k/v` | the segments; then the body, if there is one; then the query: `?EX=10` |
//! | `/redis/pipeline` | the body: an array of commands, one after the other |
//! | `/redis/multi-exec` | the same, as one transaction |
//! | `/redis/subscribe/…`, `/psubscribe/…`, `/monitor` | a stream of server-sent events (`streams`) |
//!
//! The store is that in which the user's connections begin, or the one that the path names: `/redis/@orders/get/k`. A
//! token is that of the rest of the API, in `Authorization` or as the parameter `_token`. Results are `{"result": …}`, and
//! errors `{"error": "…"}` with a status that this protocol has (`door`).
//!
//! While the server asks for no password, a web page could send requests without knowing anything. Browsers do not name
//! its origin for a GET in every case, so a GET then runs only commands that change nothing, and a body must be of a type
//! that a form can't send.

mod answer;
mod door;
mod streams;
#[cfg(test)]
mod tests;
mod words;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderName, Method, StatusCode, header};
use bytes::Bytes;

use crate::command::base::table::Lookup;
use crate::command::{Flags, Server, Spec};
use crate::engine::Claim;
use crate::error::Error;
use crate::http::App;
use crate::http::openapi::parameter::{Parameter, header as header_parameter, query};
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{Schema, any, array, one_of, text};
use crate::http::request::ask::Ask;
use crate::http::request::gate::{MissingStore, Talk};
use crate::http::response::problem::{Answer, Problem};
use crate::limits::HTTP_VALUES_BYTES_MAX;
use crate::resp::Reply;
use answer::Encoding;
pub use door::{is_below, translate};

/// Asks for strings in base64: `Upstash-Encoding: base64`.
const ENCODING: HeaderName = HeaderName::from_static("upstash-encoding");
/// What the SDK sends besides. One server needs no token to know what has been written.
const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");
const TELEMETRY: [HeaderName; 3] = [
    HeaderName::from_static("upstash-telemetry-sdk"),
    HeaderName::from_static("upstash-telemetry-platform"),
    HeaderName::from_static("upstash-telemetry-runtime"),
];

/// The headers that pages of another origin may send.
pub fn headers() -> impl Iterator<Item = HeaderName> {
    [ENCODING, SYNC_TOKEN].into_iter().chain(TELEMETRY)
}

pub fn routes() -> Vec<Route> {
    let command = || array(word_schema()).with("minItems", 1).named("RedisCommand");
    let commands = || array(command());
    let result = || one_of([answer::result_schema(), answer::error_schema()]);
    let in_path = |route: Route, id, summary| {
        with_errors(
            route
                .named(id, summary)
                .about(
                    "The segments are the words of the command, percent-encoded. The first may be @ and a store. \
                     subscribe, psubscribe and monitor answer with a stream.",
                )
                .parameters(parameters())
                .returns_content(
                    200,
                    "Its reply, or server-sent events",
                    vec![("application/json", answer::result_schema()), ("text/event-stream", text())],
                ),
        )
    };
    const IN_PATH: &str = "/redis/{*command}";
    let with_body = |route: Route| {
        route.takes_content(vec![("application/json", any()), ("application/octet-stream", any())])
    };
    vec![
        with_errors(
            route::post("/redis", serve)
                .named("redisCommand", "Run a command")
                .about("The protocol of the @upstash/redis SDK")
                .parameters(parameters())
                .takes(command())
                .returns(200, "Its reply", answer::result_schema()),
        ),
        with_errors(
            route::post("/redis/pipeline", serve)
                .named("redisPipeline", "Run commands one after the other")
                .parameters(parameters())
                .takes(commands())
                .returns(200, "The reply or the error of each", array(result())),
        ),
        with_errors(
            route::post("/redis/multi-exec", serve)
                .named("redisTransaction", "Run commands as one transaction")
                .parameters(parameters())
                .takes(commands())
                .returns(200, "The reply or the error of each", array(result())),
        ),
        in_path(route::get(IN_PATH, serve), "redisCommandInPath", "Run a command that the path has"),
        in_path(
            with_body(route::post(IN_PATH, serve)),
            "redisCommandWithBody",
            "Run a command that the path has; the body is its next word, and the query its last ones",
        ),
        in_path(with_body(route::put(IN_PATH, serve)), "redisCommandByPut", "The same as POST"),
    ]
}

fn word_schema() -> Schema {
    any().of_types(&["string", "number", "boolean"])
}

fn parameters() -> [Parameter; 2] {
    [
        query("_token", text(), "The token, if it is not in Authorization").shared_as("redis-token"),
        header_parameter("Upstash-Encoding", "base64: strings in the reply are in base64, except OK"),
    ]
}

fn with_errors(route: Route) -> Route {
    [
        (400, "The command failed or is malformed"),
        (401, "The token is missing or wrong"),
        (405, "This method is not taken here"),
        (413, "The body is too long"),
        (415, "The body is of a type that is not taken"),
        (503, "The server can't do it now"),
    ]
    .into_iter()
    .fold(route, |route, (status, description)| route.returns(status, description, answer::error_schema()))
}

/// What a request asks for.
enum Asked {
    Command(Vec<Bytes>),
    Pipeline(Vec<Vec<Bytes>>),
    Transaction(Vec<Vec<Bytes>>),
}

impl Asked {
    fn commands(&self) -> &[Vec<Bytes>] {
        match self {
            Asked::Command(command) => std::slice::from_ref(command),
            Asked::Pipeline(commands) | Asked::Transaction(commands) => commands,
        }
    }
}

async fn serve(State(app): State<App>, request: Request) -> Answer {
    let takes_body = matches!(*request.method(), Method::POST | Method::PUT);
    let is_open = !app.server.acl.asks_for_password();
    let ask = Ask::from_request(request, &app).await?;
    let encoding = Encoding::asked_for(&ask.headers);
    let (store, path) = place(ask.path());
    let query = ask.query_words()?;
    if is_open && takes_body && is_of_form(&ask) {
        let why = "while the server asks for no password, Content-Type must be one that a form can't send, such as application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ERR", why));
    }
    if let [name, ..] = &path[..]
        && streams::is_stream(name)
    {
        return streams::open(&app, ask.gate, store, path).await;
    }
    let (body, gate) = if takes_body { ask.bytes().await? } else { (Bytes::new(), ask.gate) };
    let asked = match &path[..] {
        [] if takes_body => Asked::Command(words::command(&body)?),
        [] => {
            return Err(Problem::bad(
                "a command is missing: POST it as a JSON array, or write it into the path",
            ));
        }
        [word] if takes_body && word == "pipeline" => Asked::Pipeline(words::commands(&body)?),
        [word] if takes_body && word == "multi-exec" => Asked::Transaction(words::commands(&body)?),
        _ => {
            let body = Some(body).filter(|body| !body.is_empty());
            Asked::Command(path.into_iter().chain(body).chain(query).collect())
        }
    };
    let plan = Plan::of(&gate.server, &asked);
    if is_open && !takes_body && plan.may_change {
        let why = "while the server asks for no password, a GET runs only commands that change nothing; send this one by POST";
        return Err(Problem::bad(why));
    }
    let work = move |talk: &mut Talk| {
        if let Some(store) = &store {
            let entry = if plan.claim.is_some() { MissingStore::Created } else { MissingStore::Refused };
            talk.enter(store, entry)?;
        }
        run(talk, asked, encoding)
    };
    let json = match plan.claim {
        Some(claim) => gate.claim(claim, plan.bytes, work).await?,
        None => gate.read(work).await?,
    };
    Ok(crate::http::response::json::answer(json))
}

/// The store that the path names, and the words behind it.
fn place(path: &[Bytes]) -> (Option<Bytes>, Vec<Bytes>) {
    let words = path.get(1..).unwrap_or_default();
    match words.split_first() {
        Some((first, rest)) if first.starts_with(b"@") => (Some(first.slice(1..)), rest.to_vec()),
        _ => (None, words.to_vec()),
    }
}

/// Whether a form of a web page could have sent the body.
fn is_of_form(ask: &Ask) -> bool {
    const FORMS: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
    let kind = ask.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    FORMS.iter().any(|form| kind.eq_ignore_ascii_case(form))
}

/// What the commands of a request need.
struct Plan {
    /// The claim on the last room, if one of them writes.
    claim: Option<Claim>,
    /// The bytes of their words.
    bytes: usize,
    /// Whether one of them may have an effect of any kind.
    may_change: bool,
}

impl Plan {
    fn of(server: &Server, asked: &Asked) -> Plan {
        let effects = Flags::WRITE
            | Flags::SCRIPT
            | Flags::MAY_REPLICATE
            | Flags::CONTROL
            | Flags::ADMIN
            | Flags::DANGEROUS
            // what scripts may not run changes the connection or what all of them share
            | Flags::NOSCRIPT
            | Flags::ENDS_SCRIPTS;
        let specs = || asked.commands().iter().filter_map(|words| spec(server, words));
        Plan {
            claim: specs().filter(|spec| spec.writes()).map(Spec::claim).min(),
            bytes: asked.commands().iter().flatten().map(Bytes::len).sum(),
            may_change: specs().any(|spec| spec.flags.intersects(effects)),
        }
    }
}

fn spec(server: &Server, words: &[Bytes]) -> Option<&'static Spec> {
    match server.commands.lookup(words) {
        Lookup::Command(spec) => Some(spec),
        _ => None,
    }
}

fn run(talk: &mut Talk, asked: Asked, encoding: Encoding) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::new();
    match asked {
        Asked::Command(words) => match reply(talk, words)? {
            Reply::Error(error) => return Err(error.into()),
            reply => encoding.write(&reply, &mut out)?,
        },
        Asked::Pipeline(commands) => {
            let mut separator = b'[';
            for words in commands {
                out.push(std::mem::replace(&mut separator, b','));
                let reply = match out.len() {
                    ..=HTTP_VALUES_BYTES_MAX => reply(talk, words)?,
                    _ => Reply::Error(too_long()),
                };
                // the error is in its place
                let _ = encoding.write(&reply, &mut out);
            }
            out.extend_from_slice(if separator == b'[' { b"[]" } else { b"]" });
        }
        Asked::Transaction(commands) => {
            let replies = transaction(talk, commands)?;
            out.push(b'[');
            for (at, reply) in replies.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                // the error is in its place
                let _ = encoding.write(reply, &mut out);
            }
            out.push(b']');
        }
    }
    Ok(out)
}

/// The reply of a command, which may be an error.
fn reply(talk: &mut Talk, words: Vec<Bytes>) -> Result<Reply, Problem> {
    match spec(&talk.server, &words) {
        Some(spec) if spec.is(Flags::STATEFUL) => Ok(Reply::Error(Error::other(format!(
            "ERR '{}' changes a connection, and a request over HTTP has none",
            spec.name.replace('|', " ")
        )))),
        _ => talk.reply(words),
    }
}

/// The replies of a transaction. If a command is refused before it runs, none of them runs.
fn transaction(talk: &mut Talk, commands: Vec<Vec<Bytes>>) -> Result<Vec<Reply>, Problem> {
    talk.command(vec![Bytes::from_static(b"MULTI")])?;
    for words in commands {
        if let Reply::Error(error) = reply(talk, words)? {
            talk.command(vec![Bytes::from_static(b"DISCARD")])?;
            return Err(error.into());
        }
    }
    match talk.command(vec![Bytes::from_static(b"EXEC")])? {
        Reply::Array(replies) => Ok(replies),
        _ => Err(Problem::ours("a transaction gave another reply than a list")),
    }
}

fn too_long() -> Error {
    Error::other(format!(
        "ERR this command was not run: the replies of those before it have more than {HTTP_VALUES_BYTES_MAX} bytes"
    ))
}
