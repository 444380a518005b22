//! Single records: read, put, delete, create if missing, append, increment.
//!
//! A record's version is its `ETag` ([`crate::http::response::version`]). A request that depends on a version watches, compares and
//! writes as WATCH and EXEC do, so a change in between makes the request fail instead of being lost.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::document::number::Number;
use crate::engine::{Claim, Seq};
use crate::error::Error;
use crate::http::openapi::parameter::{if_match, if_none_match, query, ttl, ttl_ms};
use crate::http::openapi::route::{self, Route, value_schema};
use crate::http::openapi::schema::{boolean, count, integer, number, object, text};
use crate::http::request::ask::{Ask, Params, given};
use crate::http::request::gate::{self, Gate, MissingStore, Talk, value, words};
use crate::http::response::json::{Writer, answer};
use crate::http::response::problem::{Answer, Problem};
use crate::http::response::version::{Needs, Preconditions, tag};
use crate::limits::JSON_INTEGER_MAX;
use crate::record::json;
use crate::resp::Reply;

/// The milliseconds until a record expires; without the header, never.
pub const TTL_MS: HeaderName = HeaderName::from_static("larder-ttl-ms");
/// Bytes that key and record take as stored.
pub const STORED_BYTES: HeaderName = HeaderName::from_static("larder-stored-bytes");

/// Bytes of key and value as they are.
pub const PLAIN_BYTES: HeaderName = HeaderName::from_static("larder-plain-bytes");

/// How often an append is tried against others who delete the record.
const APPEND_ATTEMPTS: usize = 10;

pub struct Record {
    value: Bytes,
    pub version: Seq,
    ttl_ms: i64,
    plain_bytes: i64,
    stored_bytes: i64,
}

/// The routes of one record, whose key is in the path or, below `/record`, the parameter `key`.
pub fn routes() -> Vec<Route> {
    let routes = routes_below_a_record().into_iter().flat_map(|route| {
        let in_path = format!("/api/v1/stores/{{store}}/records/{{key}}{}", route.path);
        let in_query = format!("/api/v1/stores/{{store}}/record{}", route.path);
        [route.clone().at(in_path), route.with_key_in_query().at(in_query)]
    });
    routes.collect()
}

/// With their paths below that of the record.
fn routes_below_a_record() -> Vec<Route> {
    vec![
        route::get("", get)
            .named("getRecord", "Read a record")
            .parameters([if_match(), if_none_match()])
            .returns_value(200, "The value, byte for byte as it was put")
            .versioned()
            .with_header("Larder-Ttl-Ms", "Milliseconds left; without it, forever", integer())
            .with_header("Larder-Plain-Bytes", "Bytes of key and value as they are", integer())
            .with_header("Larder-Stored-Bytes", "Bytes that key and record take as stored", integer())
            .returns_nothing(304, "If-None-Match has its version"),
        route::put("", put)
            .named("putRecord", "Put a record")
            .parameters([
                ttl(),
                ttl_ms(),
                query("keepttl", boolean(), "Keep the expiry that there is"),
                query("nx", boolean(), "Only if there is none"),
                query("xx", boolean(), "Only if there is one"),
                if_match(),
                if_none_match(),
            ])
            .takes_value()
            .returns_nothing(201, "It is new")
            .versioned()
            .returns_nothing(204, "It replaced another")
            .versioned(),
        route::delete("", delete)
            .named("deleteRecord", "Delete a record")
            .parameters([if_match(), if_none_match()])
            .returns_value(200, "The value it had"),
        route::post("/get-or-create", get_or_create)
            .named("getOrCreate", "Read a record, or create it")
            .parameters([ttl(), ttl_ms()])
            .takes_value()
            .returns_value(200, "The value there is")
            .returns_value(201, "The value of the request, which is there now")
            .versioned(),
        route::post("/append", append)
            .named("append", "Append a value to the array in a record")
            .about("Without a record, to an empty array.")
            .takes(value_schema())
            .returns(200, "Its length now", object([("length", count())]))
            .versioned(),
        route::post("/increment", increment)
            .named("increment", "Add to the number in a record")
            .about("Without a record, to 0.")
            .parameters([if_match(), if_none_match()])
            .takes(object([("by", number().about("1 if it is left out").optional())]))
            .returns(200, "What it is now", object([("value", number())]))
            .versioned(),
        route::put("/field", set_field)
            .named("setField", "Replace one place in a JSON record, or add a member to an object")
            .about("The rest of the record stays byte for byte as it is.")
            .parameters([
                query("path", text(), "A JSONPath, such as $.user[\"first name\"]")
                    .required()
                    .example("$.name"),
                if_match(),
                if_none_match(),
            ])
            .takes(value_schema())
            .returns_nothing(204, "Done")
            .versioned(),
        route::delete("/field", delete_field)
            .named("deleteField", "Remove one place from a JSON record")
            .parameters([
                query("path", text(), "A JSONPath, such as $.user[\"first name\"]")
                    .required()
                    .example("$.name"),
                if_match(),
                if_none_match(),
            ])
            .returns_nothing(204, "Done")
            .versioned(),
        route::put("/ttl", set_ttl)
            .named("setTtl", "Have a record expire, or not any more")
            .parameters([if_match(), if_none_match()])
            .takes(object([("ttl_ms", integer().or_null().at_least(1).about("null: never"))]))
            .returns_nothing(204, "Done"),
    ]
}

pub async fn get(ask: Ask) -> Answer {
    ask.params(&[])?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key, server) = (ask.store(), ask.key(), ask.gate.server.clone());
    let record = ask
        .gate
        .read(move |talk| {
            talk.enter(&store, MissingStore::Refused)?;
            look_up(talk, &key)
        })
        .await?
        .ok_or_else(Problem::no_record)?;
    let known = preconditions.of_read(&server, record.version)?;
    let is_known = known.is_some();
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, known.unwrap_or_else(|| tag(&server, record.version)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if record.ttl_ms >= 0 {
        headers.insert(TTL_MS, record.ttl_ms.into());
    }
    headers.insert(PLAIN_BYTES, record.plain_bytes.into());
    headers.insert(STORED_BYTES, record.stored_bytes.into());
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, raw(record.value)).into_response())
}

pub async fn put(ask: Ask) -> Answer {
    let params = ask.params(&["ttl", "ttl_ms", "keepttl", "nx", "xx"])?;
    let mut options = expiry(&params)?;
    let (nx, xx) = (params.is("nx")?, params.is("xx")?);
    if nx && xx {
        return Err(Problem::bad("'nx' and 'xx' exclude each other"));
    }
    options.extend(nx.then_some(Bytes::from_static(b"NX")));
    options.extend(xx.then_some(Bytes::from_static(b"XX")));
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let needs = match (nx, xx) {
        (true, _) => Needs::NoRecord,
        (_, true) => Needs::Record,
        _ => Needs::Nothing,
    };
    let (value, gate) = ask.value().await?;
    let server = gate.server.clone();
    let (before, version) = gate
        .write(key.len() + value.len(), move |talk| {
            talk.enter(&store, MissingStore::Created)?;
            let mut command = words([b"SET", &key]);
            command.push(value);
            command.extend(options);
            command.push(Bytes::from_static(b"GET"));
            let (before, version) = preconditions.run(talk, &key, needs, command)?;
            let before = crate::http::request::gate::value(before)?;
            // with GET the reply shows what was there, and thus whether the condition was met
            match (before.is_some(), nx, xx) {
                (true, true, _) => Err(Problem::record_exists()),
                (false, _, true) => Err(Problem::no_record()),
                (before, ..) => Ok((before, version)),
            }
        })
        .await?;
    let status = if before { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
    Ok((status, [(header::ETAG, tag(&server, version))]).into_response())
}

/// Returns the value that was deleted.
pub async fn delete(ask: Ask) -> Answer {
    ask.params(&[])?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let deleted = ask
        .gate
        .claim(Claim::Removal, key.len(), move |talk| {
            talk.enter(&store, MissingStore::Refused)?;
            let (deleted, _) = preconditions.run(talk, &key, Needs::Record, words([b"GETDEL", &key]))?;
            value(deleted)
        })
        .await?;
    Ok(raw(deleted.ok_or_else(Problem::no_record)?))
}

/// Returns the existing value, or creates the record with the value of the request and returns that.
pub async fn get_or_create(ask: Ask) -> Answer {
    let options = expiry(&ask.params(&["ttl", "ttl_ms"])?)?;
    Preconditions::refuse(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let (offered, gate) = ask.value().await?;
    gate.write(key.len() + offered.len(), move |talk| {
        talk.enter(&store, MissingStore::Created)?;
        let mut command = words([b"SET", &key]);
        command.extend([offered.clone(), Bytes::from_static(b"NX"), Bytes::from_static(b"GET")]);
        command.extend(options);
        let (found, version) = talk.versioned(command)?;
        Ok(match value(found)? {
            Some(found) => raw(found),
            None => (StatusCode::CREATED, [(header::ETAG, tag(&talk.server, version))], raw(offered))
                .into_response(),
        })
    })
    .await
}

/// Adds the body, a JSON value, to the array at the key; without a record, to an empty one.
pub async fn append(ask: Ask) -> Answer {
    ask.params(&[])?;
    Preconditions::refuse(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let (item, gate) = ask.json::<Box<RawValue>>().await?;
    let server = gate.server.clone();
    let (length, version) = gate
        .write(key.len() + item.get().len(), move |talk| {
            talk.enter(&store, MissingStore::Created)?;
            let alone = [b"[", item.get().as_bytes(), b"]"].concat();
            for _ in 0..APPEND_ATTEMPTS {
                let (created, version) = talk.versioned(words([b"SET", &key, &alone, b"NX"]))?;
                if created != Reply::Null {
                    return Ok((1, version));
                }
                let command = words([b"JSON.ARRAPPEND", &key, b"$", item.get().as_bytes()]);
                match talk.versioned(command) {
                    Ok((lengths, version)) => return Ok((length(lengths)?, version)),
                    // it expired or was deleted in between
                    Err(_) if gate::integer(&talk.command(words([b"EXISTS", &key]))?)? == 0 => {}
                    Err(problem) => return Err(problem),
                }
            }
            let detail = "others create and delete this record all the time; try again";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "BUSY", detail))
        })
        .await?;
    Ok(([(header::ETAG, tag(&server, version))], answer(format!("{{\"length\":{length}}}"))).into_response())
}

/// The reply of JSON.ARRAPPEND for its one match.
fn length(lengths: Reply) -> Result<i64, Problem> {
    match crate::http::request::gate::items(lengths)?.first() {
        Some(Reply::Integer(length)) => Ok(*length),
        _ => Err(Problem::wrong_type("the record is not a JSON array")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Increment {
    #[serde(default, deserialize_with = "given")]
    by: Option<Box<RawValue>>,
}

/// Adds to the number at the key, or to 0 if there is no record. Only the values of the two numbers matter, not their
/// spelling: integers are added exactly, others as decimal numbers.
pub async fn increment(ask: Ask) -> Answer {
    ask.params(&[])?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let (Increment { by }, gate) = ask.object().await?;
    let server = gate.server.clone();
    let by = by.as_ref().map_or("1", |by| by.get()).to_owned();
    let number = Number::parse(by.as_bytes()).ok_or_else(|| Problem::bad("'by' must be a number"))?;
    let (number, version) = gate
        .write(key.len(), move |talk| {
            talk.enter(&store, MissingStore::Created)?;
            if let Some(whole) = whole(number) {
                let command = words([b"INCRBY", &key, whole.to_string().as_bytes()]);
                match preconditions.run(talk, &key, Needs::Nothing, command) {
                    // the number at the key may have a fraction
                    Err(problem) if problem.is(&Error::NotInteger) => {}
                    done => return done,
                }
            }
            let command = words([b"INCRBYFLOAT", &key, by.as_bytes()]);
            preconditions.run(talk, &key, Needs::Nothing, command).map_err(|problem| {
                let is_other = problem.is(&Error::NotFloat);
                if is_other { Problem::wrong_type("the record is not a number") } else { problem }
            })
        })
        .await?;
    let mut writer = Writer::new();
    match number {
        Reply::Integer(number) => writer.raw(format!("{{\"value\":{number}}}")),
        Reply::Bulk(number) => writer.raw("{").value("value", &number).raw("}"),
        _ => return Err(Problem::ours("an increment gave no number")),
    };
    Ok(([(header::ETAG, tag(&server, version))], answer(writer.finish())).into_response())
}

/// The number as an integer, if it is one that is represented exactly.
fn whole(number: Number) -> Option<i64> {
    match number {
        Number::Integer(integer) => Some(integer),
        Number::Double(double) if double.fract() == 0.0 && double.abs() <= JSON_INTEGER_MAX as f64 => {
            Some(double as i64)
        }
        Number::Double(_) | Number::Unsigned(_) | Number::BigInteger(_) => None,
    }
}

/// Replaces what a path leads to, or adds a member to an object.
async fn set_field(ask: Ask) -> Answer {
    let path = path_of(&ask)?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let (value, gate) = ask.json::<Box<RawValue>>().await?;
    let bytes = key.len() + value.get().len();
    let command = move |key: &Bytes| words([b"JSON.SET", key, &path, value.get().as_bytes()]);
    change_field(gate, preconditions, Claim::Ordinary, bytes, (store, key), command).await
}

/// Removes what a path leads to.
async fn delete_field(ask: Ask) -> Answer {
    let path = path_of(&ask)?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let bytes = key.len();
    let command = move |key: &Bytes| words([b"JSON.DEL", key, &path]);
    change_field(ask.gate, preconditions, Claim::Removal, bytes, (store, key), command).await
}

fn path_of(ask: &Ask) -> Result<Bytes, Problem> {
    ask.params(&["path"])?.bytes("path").cloned().ok_or_else(|| Problem::bad("'path' must be there"))
}

async fn change_field(
    gate: Gate,
    preconditions: Preconditions,
    claim: Claim,
    bytes: usize,
    (store, key): (Bytes, Bytes),
    command: impl FnOnce(&Bytes) -> Vec<Bytes> + Send + 'static,
) -> Answer {
    let server = gate.server.clone();
    let (reply, version) = gate
        .claim(claim, bytes, move |talk| {
            talk.enter(&store, MissingStore::Refused)?;
            preconditions.run(talk, &key, Needs::Record, command(&key))
        })
        .await?;
    if matches!(reply, Reply::Null | Reply::Integer(0)) {
        let detail = "the path leads nowhere in this record";
        return Err(Problem::new(StatusCode::NOT_FOUND, "NOPATH", detail));
    }
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, tag(&server, version))]).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ttl {
    /// null: forever.
    #[serde(deserialize_with = "Option::deserialize")]
    ttl_ms: Option<i64>,
}

/// Sets or removes the expiry of a record.
pub async fn set_ttl(ask: Ask) -> Answer {
    ask.params(&[])?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let (Ttl { ttl_ms }, gate) = ask.object().await?;
    if ttl_ms.is_some_and(|ttl_ms| ttl_ms < 1) {
        return Err(Problem::bad("'ttl_ms' must be a whole number from 1 up, or null"));
    }
    gate.write(key.len(), move |talk| {
        talk.enter(&store, MissingStore::Refused)?;
        let command = match ttl_ms {
            Some(ttl_ms) => words([b"PEXPIRE", &key, ttl_ms.to_string().as_bytes()]),
            None => words([b"PERSIST", &key]),
        };
        let (changed, _) = preconditions.run(talk, &key, Needs::Record, command)?;
        // PERSIST changes nothing of a record without expiry, either
        if gate::integer(&changed)? == 0 && gate::integer(&talk.command(words([b"EXISTS", &key]))?)? == 0 {
            return Err(Problem::no_record());
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

/// Options of SET for `ttl` (seconds), `ttl_ms` and `keepttl`.
pub fn expiry(params: &Params) -> Result<Vec<Bytes>, Problem> {
    let seconds = params.integer("ttl", 1)?.map(|ttl| words([b"EX", ttl.to_string().as_bytes()]));
    let millis = params.integer("ttl_ms", 1)?.map(|ttl| words([b"PX", ttl.to_string().as_bytes()]));
    let keep = params.is("keepttl")?.then(|| words([b"KEEPTTL"]));
    let mut given = [seconds, millis, keep].into_iter().flatten();
    let options = given.next().unwrap_or_default();
    match given.next() {
        None => Ok(options),
        Some(_) => Err(Problem::bad("'ttl', 'ttl_ms' and 'keepttl' exclude each other")),
    }
}

pub fn look_up(talk: &mut Talk, key: &Bytes) -> Result<Option<Record>, Problem> {
    let told = match talk.command(words([b"GETRECORD", key]))? {
        Reply::Null => return Ok(None),
        Reply::Map(told) => told,
        _ => return Err(Problem::ours("GETRECORD gave no record")),
    };
    let mut fields = told.into_iter().map(|(_, value)| value);
    let (Some(Reply::Bulk(value)), Some(version), Some(ttl_ms), Some(plain_bytes), Some(stored_bytes)) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Problem::ours("GETRECORD left something out"));
    };
    let (version, ttl_ms) = (gate::integer(&version)? as Seq, gate::integer(&ttl_ms)?);
    let (plain_bytes, stored_bytes) = (gate::integer(&plain_bytes)?, gate::integer(&stored_bytes)?);
    Ok(Some(Record { value, version, ttl_ms, plain_bytes, stored_bytes }))
}

/// A value, with its content type.
fn raw(value: Bytes) -> Response {
    let kind = if json::check(&value).is_ok() { "application/json" } else { "application/octet-stream" };
    ([(header::CONTENT_TYPE, kind)], value).into_response()
}

#[cfg(test)]
mod tests {
    use crate::http::testing::Api;

    #[tokio::test]
    async fn a_value_comes_back_byte_for_byte_with_its_version() {
        let api = Api::new();
        let put = api.run("PUT /api/v1/stores/0/records/a", r#"{ "n" : 1.50 }"#).await;
        assert_eq!((put.status, put.body.len()), (201, 0));
        let got = api.run("GET /api/v1/stores/0/records/a", "").await;
        assert_eq!((got.status, &got.body[..]), (200, &br#"{ "n" : 1.50 }"#[..]));
        assert_eq!(got.header("content-type"), "application/json");
        assert_eq!(got.header("etag"), put.header("etag"));
        assert!(got.headers.get("larder-ttl-ms").is_none());
        let again = api.run("PUT /api/v1/stores/0/records/a?ttl=100", "null").await;
        assert_eq!(again.status, 204);
        assert_ne!(again.header("etag"), put.header("etag"));
        let got = api.run("GET /api/v1/stores/0/records/a", "").await;
        assert!((1..=100_000).contains(&got.header("larder-ttl-ms").parse::<i64>().unwrap_or(0)));
        let head = api.run("HEAD /api/v1/stores/0/records/a", "").await;
        assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, again.header("etag")));
    }

    /// Keys that no path can hold, and others in the same way.
    #[tokio::test]
    async fn any_key_can_be_named_in_the_query() {
        let api = Api::new();
        for key in ["", ".", "..", "%2E", "a%2Fb%20c", "ttl", "%FF%00", "%26key%3Dx", "constructor"] {
            let record = |rest: &str, more: &str| format!("/api/v1/stores/0/record{rest}?key={key}{more}");
            let put = api.run(&format!("PUT {}", record("", "&ttl=1000")), "1").await;
            assert_eq!(put.status, 201, "{key}");
            let got = api.run(&format!("GET {}", record("", "")), "").await;
            assert_eq!((&got.body[..], got.header("etag")), (&b"1"[..], put.header("etag")), "{key}");
            assert_ne!(got.header("larder-ttl-ms"), "", "{key}");
            for (line, body, status) in [
                (format!("PUT {}", record("/ttl", "")), r#"{"ttl_ms": null}"#, 204),
                (format!("POST {}", record("/increment", "")), "{}", 200),
                (format!("POST {}", record("/get-or-create", "")), "5", 200),
                (format!("POST {}", record("/append", "")), "5", 409),
                (format!("PUT {}", record("", "&nx=true")), "5", 409),
                (format!("DELETE {}", record("", "")), "", 200),
                (format!("GET {}", record("", "")), "", 404),
            ] {
                assert_eq!(api.run(&line, body).await.status, status, "{line}");
            }
        }
        for query in ["", "?", "?key", "?ttl=5", "?key=a&key=b", "?key=%", "?key=a&what=b"] {
            assert_eq!(
                api.run(&format!("PUT /api/v1/stores/0/record{query}"), "1").await.status,
                400,
                "{query}"
            );
        }
    }

    /// A field is changed in place, only where the path leads and only over the version that was seen.
    #[tokio::test]
    async fn a_field_is_changed_and_the_rest_stays() {
        let api = Api::new();
        let put = api.run("PUT /api/v1/stores/0/records/a", r#"{ "n" : 1.50, "l": [1, 2] }"#).await;
        let field =
            |method: &str, path: &str| format!("{method} /api/v1/stores/0/records/a/field?path={path}");
        let seen = [("if-match", put.header("etag")), ("content-type", "application/json")];
        let changed = api.send(&field("PUT", "$.l[1]"), &seen, "12345678901234567890").await;
        assert_eq!(changed.status, 204);
        let got = api.run("GET /api/v1/stores/0/records/a", "").await;
        assert_eq!(&got.body[..], br#"{ "n" : 1.50, "l": [1, 12345678901234567890] }"#);
        assert_eq!(got.header("etag"), changed.header("etag"));
        for (line, body, status) in [
            (field("PUT", "$.x.y"), "1", 404),
            (field("PUT", "$.x[").replace('[', "%5B"), "1", 400),
            (field("PUT", ""), "1", 400),
            (field("PUT", "$.x"), "{", 422),
            (field("DELETE", "$.x"), "", 404),
        ] {
            assert_eq!(api.run(&line, body).await.status, status, "{line}");
        }
        for method in ["PUT", "DELETE"] {
            let stale = api.send(&field(method, "$.n"), &seen, "1").await;
            assert_eq!(stale.status, 412, "{method}");
        }
        assert_eq!(api.run(&field("DELETE", "$.l"), "").await.status, 204);
        let got = api.run("GET /api/v1/stores/0/records/a", "").await;
        assert_eq!(got.json(), serde_json::json!({"n": 1.5}));
        let none = api.run("PUT /api/v1/stores/0/records/none/field?path=$.n", "1").await;
        assert!(none.status >= 400, "{}", none.status);
        assert_eq!(api.run("GET /api/v1/stores/0/records/none", "").await.status, 404);
    }

    #[test]
    fn conditions_of_put() {
        Api::new().expect(&[
            ("PUT /api/v1/stores/0/records/a?xx=true", "1", 404, ""),
            ("PUT /api/v1/stores/0/records/a?nx=true", "1", 201, ""),
            ("PUT /api/v1/stores/0/records/a?nx=true", "2", 409, ""),
            ("GET /api/v1/stores/0/records/a", "", 200, "1"),
            ("PUT /api/v1/stores/0/records/a?xx=true&ttl_ms=100000", "2", 204, ""),
            ("PUT /api/v1/stores/0/records/a?nx=true&xx=true", "3", 400, ""),
            ("PUT /api/v1/stores/0/records/a?ttl=1&keepttl=true", "3", 400, ""),
            ("PUT /api/v1/stores/0/records/a?ttl=0", "3", 400, ""),
            ("PUT /api/v1/stores/0/records/a?ttl=x", "3", 400, ""),
            ("PUT /api/v1/stores/0/records/a?ttl=9223372036854775807", "3", 400, ""),
            ("PUT /api/v1/stores/0/records/a?frist=1", "3", 400, ""),
            ("PUT /api/v1/stores/0/records/a?ttl=1&ttl=2", "3", 400, ""),
            ("PUT /api/v1/stores/0/records/a", "{\"a\":", 422, ""),
            ("PUT /api/v1/stores/0/records/%zz", "3", 400, ""),
            ("PUT /api/v1/stores/nowhere/records/a", "3", 404, ""),
            ("PUT /api/v1/stores/99999999999999999999/records/a", "3", 400, ""),
            ("GET /api/v1/stores/0/records/a", "", 200, "2"),
        ]);
    }

    #[tokio::test]
    async fn a_version_guards_against_lost_updates() {
        let api = Api::new();
        let line = "PUT /api/v1/stores/0/records/a";
        let missing = api.send(line, &[("if-match", "\"1\"")], "1").await;
        assert_eq!(missing.status, 412);
        let first = api.send(line, &[("if-none-match", "*")], "1").await;
        assert_eq!(first.status, 201);
        assert_eq!(api.send(line, &[("if-none-match", "*")], "2").await.status, 412);
        let tag = first.header("etag").to_owned();
        let second = api.send(line, &[("if-match", &tag)], "2").await;
        assert_eq!(second.status, 204);
        assert_eq!(api.send(line, &[("if-match", &tag)], "3").await.status, 412);
        assert_eq!(api.send(line, &[("if-match", "nonsense")], "3").await.status, 400);
        let newest = second.header("etag").to_owned();
        let got = api.run("GET /api/v1/stores/0/records/a", "").await;
        assert_eq!((got.header("etag"), &got.body[..]), (&newest[..], &b"2"[..]));
        let get = "GET /api/v1/stores/0/records/a";
        assert_eq!(api.send(get, &[("if-none-match", &newest)], "").await.status, 304);
        assert_eq!(api.send(get, &[("if-match", &tag)], "").await.status, 412);
        let delete = "DELETE /api/v1/stores/0/records/a";
        assert_eq!(api.send(delete, &[("if-match", &tag)], "").await.status, 412);
        assert_eq!(api.send(delete, &[("if-match", &newest)], "").await.status, 200);
        assert_eq!(api.run(get, "").await.status, 404);
    }

    #[test]
    fn a_delete_answers_with_the_old_value_even_if_it_is_nothing_much() {
        for value in ["0", "\"\"", "false", "null"] {
            Api::new().expect(&[
                ("PUT /api/v1/stores/0/records/a", value, 201, ""),
                ("DELETE /api/v1/stores/0/records/a", "", 200, value),
                ("DELETE /api/v1/stores/0/records/a", "", 404, ""),
            ]);
        }
    }

    #[test]
    fn create_if_missing() {
        Api::new().expect(&[
            ("POST /api/v1/stores/0/records/a/get-or-create?ttl=100", "[1]", 201, "[1]"),
            ("POST /api/v1/stores/0/records/a/get-or-create", "[2]", 200, "[1]"),
            ("GET /api/v1/stores/0/records/a", "", 200, "[1]"),
        ]);
    }

    #[test]
    fn append_and_increment() {
        Api::new().expect(&[
            ("POST /api/v1/stores/0/records/a/append", "{\"x\": [1]}", 200, "{\"length\":1}"),
            ("POST /api/v1/stores/0/records/a/append", "null", 200, "{\"length\":2}"),
            ("GET /api/v1/stores/0/records/a", "", 200, "[{\"x\": [1]},null]"),
            ("POST /api/v1/stores/0/records/a/increment", "{}", 409, ""),
            ("POST /api/v1/stores/0/records/a/increment", "{\"by\": 0.5}", 409, ""),
            ("POST /api/v1/stores/0/records/n/increment", "{}", 200, "{\"value\":1}"),
            ("POST /api/v1/stores/0/records/n/increment", "{\"by\": -3}", 200, "{\"value\":-2}"),
            ("POST /api/v1/stores/0/records/n/increment", "{\"by\": 0.5}", 200, "{\"value\":-1.5}"),
            ("POST /api/v1/stores/0/records/n/increment", "{\"by\": \"1\"}", 400, ""),
            ("POST /api/v1/stores/0/records/n/increment", "{\"um\": 1}", 400, ""),
            ("POST /api/v1/stores/0/records/n/append", "1", 409, ""),
            ("GET /api/v1/stores/0/records/n", "", 200, "-1.5"),
        ]);
    }

    #[test]
    fn an_increment_goes_by_values_not_by_spelling() {
        let api = Api::new();
        for (before, by, after) in [
            ("2.5", "1", "3.5"),
            ("1e2", "1", "101"),
            ("-0", "1", "1"),
            ("5", "1.0", "6"),
            ("5", "1e0", "6"),
            ("5", "10e-1", "6"),
            ("5", "-0", "5"),
            ("5", "0.5", "5.5"),
            ("2.5", "0.5", "3"),
            ("9007199254740993", "1", "9007199254740994"),
            ("9223372036854775806", "1.0", "9223372036854775807"),
            ("18446744073709551614", "1", "18446744073709551615"),
        ] {
            let body = format!("{{\"by\": {by}}}");
            api.expect(&[
                (
                    "PUT /api/v1/stores/0/records/n",
                    before,
                    if before == "2.5" && by == "1" { 201 } else { 204 },
                    "",
                ),
                ("POST /api/v1/stores/0/records/n/increment", &body, 200, &format!("{{\"value\":{after}}}")),
                ("GET /api/v1/stores/0/records/n", "", 200, after),
            ]);
        }
        for body in ["{\"by\": null}", "{\"by\": true}", "{\"by\": [1]}", "{\"by\": \"1\"}"] {
            api.expect(&[("POST /api/v1/stores/0/records/n/increment", body, 400, "")]);
        }
        api.expect(&[
            ("PUT /api/v1/stores/0/records/n", "9223372036854775807", 204, ""),
            ("POST /api/v1/stores/0/records/n/increment", "{}", 400, ""),
            ("GET /api/v1/stores/0/records/n", "", 200, "9223372036854775807"),
        ]);
    }

    #[test]
    fn an_append_keeps_the_expiry() {
        let api = Api::new();
        api.expect(&[
            ("PUT /api/v1/stores/0/records/a?ttl=100", "[1]", 201, ""),
            ("POST /api/v1/stores/0/records/a/append", "2", 200, ""),
            ("PUT /api/v1/stores/0/records/b/ttl", "{\"ttl_ms\": 5}", 404, ""),
        ]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ttl = |api: &Api| {
            let told = runtime.block_on(api.run("GET /api/v1/stores/0/records/a", ""));
            told.header("larder-ttl-ms").to_owned()
        };
        assert_ne!(ttl(&api), "");
        api.expect(&[
            ("PUT /api/v1/stores/0/records/a/ttl", "{\"ttl_ms\": null}", 204, ""),
            ("PUT /api/v1/stores/0/records/a/ttl", "{\"ttl_ms\": null}", 204, ""),
            ("PUT /api/v1/stores/0/records/a/ttl", "{}", 400, ""),
            ("PUT /api/v1/stores/0/records/a/ttl", "{\"ttl_ms\": 0}", 400, ""),
        ]);
        assert_eq!(ttl(&api), "");
    }

    #[tokio::test]
    async fn keys_are_any_bytes_and_values_of_some_stores_too() {
        let api = Api::new();
        api.run("POST /api/v1/stores", r#"{"name": "blobs", "values": "any"}"#).await;
        let bytes = [("content-type", "application/octet-stream")];
        let put = api.send("PUT /api/v1/stores/blobs/records/%ff%00%2F", &bytes, "not JSON").await;
        assert_eq!(put.status, 201);
        let got = api.run("GET /api/v1/stores/blobs/records/%FF%00%2f", "").await;
        assert_eq!(
            (got.header("content-type"), &got.body[..]),
            ("application/octet-stream", &b"not JSON"[..])
        );
        let refused = api.send("PUT /api/v1/stores/0/records/a", &bytes, "not JSON").await;
        assert_eq!((refused.status, refused.header("content-type")), (422, "application/problem+json"));
        assert_eq!(refused.json()["code"], "NOTJSON");
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains("(line 1, column 2)") && detail.contains("values of store 0"), "{detail}");
        let entries = api.run("GET /api/v1/stores/blobs/entries", "").await.json();
        assert_eq!(entries["entries"][0]["key"]["base64"], "/wAv");
        assert_eq!(entries["entries"][0]["value_base64"], "bm90IEpTT04=");
    }

    #[tokio::test]
    async fn a_type_that_a_form_can_send_writes_nothing() {
        let api = Api::new();
        for kind in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
        {
            let headers = [("content-type", kind)];
            for line in ["PUT /api/v1/stores/0/records/a", "POST /api/v1/stores/0/records/a/increment"] {
                assert_eq!(api.send(line, &headers, "{}").await.status, 415, "{line} {kind}");
            }
        }
        assert_eq!(api.run("GET /api/v1/stores/0/records/a", "").await.status, 404);
    }
}
