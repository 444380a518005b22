//! Single records: read, put, delete, create if missing, append, increment.
//!
//! A record's version is its `ETag`. What depends on a version is watched, compared and written as WATCH and EXEC do it,
//! so a change in between fails the request instead of being lost.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ask::{Ask, Params, given};
use super::gate::{Entry, Talk, integer, value, words};
use super::json::{Writer, answer};
use super::problem::{Answer, Problem};
use crate::engine::Seq;
use crate::record::json;
use crate::resp::Reply;

/// Milliseconds that a record has left; without the header, forever.
pub const TTL_MS: HeaderName = HeaderName::from_static("larder-ttl-ms");
/// Bytes that key and record take as stored.
pub const STORED_BYTES: HeaderName = HeaderName::from_static("larder-stored-bytes");

/// Bytes of key and value as they are.
pub const PLAIN_BYTES: HeaderName = HeaderName::from_static("larder-plain-bytes");

/// How often an append is tried against others who delete the record.
const APPEND_ATTEMPTS: usize = 10;

struct Record {
    value: Bytes,
    version: Seq,
    ttl_ms: i64,
    plain_bytes: i64,
    stored_bytes: i64,
}

pub async fn get(ask: Ask) -> Answer {
    ask.params(&[])?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let record = ask
        .gate
        .read(move |talk| {
            talk.enter(&store, Entry::Existing)?;
            look_up(talk, &key)
        })
        .await?
        .ok_or_else(Problem::no_record)?;
    if preconditions.if_match.as_ref().is_some_and(|tags| !tags.have(Some(record.version))) {
        return Err(Problem::failed_precondition());
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, tag(record.version));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if record.ttl_ms >= 0 {
        headers.insert(TTL_MS, record.ttl_ms.into());
    }
    headers.insert(PLAIN_BYTES, record.plain_bytes.into());
    headers.insert(STORED_BYTES, record.stored_bytes.into());
    if preconditions.if_none_match.is_some_and(|tags| tags.have(Some(record.version))) {
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
    let (value, gate) = ask.value().await?;
    let (before, version) = gate
        .write(key.len() + value.len(), move |talk| {
            talk.enter(&store, Entry::Creating)?;
            let mut command = words([b"SET", &key]);
            command.push(value);
            command.extend(options);
            command.push(Bytes::from_static(b"GET"));
            let (before, version) = preconditions.run(talk, &key, command)?;
            let before = super::gate::value(before)?;
            // GET has the reply tell what was there, so it tells whether the condition held, too
            match (before.is_some(), nx, xx) {
                (true, true, _) => {
                    Err(Problem::new(StatusCode::CONFLICT, "RECORDEXISTS", "there is a record at this key"))
                }
                (false, _, true) => Err(Problem::no_record()),
                (before, ..) => Ok((before, version)),
            }
        })
        .await?;
    let status = if before { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
    Ok((status, [(header::ETAG, tag(version))]).into_response())
}

/// Answers with the value that was deleted.
pub async fn delete(ask: Ask) -> Answer {
    ask.params(&[])?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let deleted = ask
        .gate
        .write(key.len(), move |talk| {
            talk.enter(&store, Entry::Existing)?;
            let (deleted, _) = preconditions.run(talk, &key, words([b"GETDEL", &key]))?;
            value(deleted)
        })
        .await?;
    Ok(raw(deleted.ok_or_else(Problem::no_record)?))
}

/// Answers with the value there is, or with the one of the request, which it has created then.
pub async fn get_or_create(ask: Ask) -> Answer {
    let options = expiry(&ask.params(&["ttl", "ttl_ms"])?)?;
    Preconditions::refuse(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let (offered, gate) = ask.value().await?;
    gate.write(key.len() + offered.len(), move |talk| {
        talk.enter(&store, Entry::Creating)?;
        let mut command = words([b"SET", &key]);
        command.extend([offered.clone(), Bytes::from_static(b"NX"), Bytes::from_static(b"GET")]);
        command.extend(options);
        let (found, version) = talk.versioned(command)?;
        Ok(match value(found)? {
            Some(found) => raw(found),
            None => (StatusCode::CREATED, [(header::ETAG, tag(version))], raw(offered)).into_response(),
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
    let (length, version) = gate
        .write(key.len() + item.get().len(), move |talk| {
            talk.enter(&store, Entry::Creating)?;
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
                    Err(_) if integer(&talk.command(words([b"EXISTS", &key]))?)? == 0 => {}
                    Err(problem) => return Err(problem),
                }
            }
            let detail = "others create and delete this record all the time; try again";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "BUSY", detail))
        })
        .await?;
    Ok(([(header::ETAG, tag(version))], answer(format!("{{\"length\":{length}}}"))).into_response())
}

/// What JSON.ARRAPPEND says of its one match.
fn length(lengths: Reply) -> Result<i64, Problem> {
    match super::gate::items(lengths)?.first() {
        Some(Reply::Integer(length)) => Ok(*length),
        _ => Err(Problem::new(StatusCode::CONFLICT, "WRONGTYPE", "the record is not a JSON array")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Increment {
    #[serde(default, deserialize_with = "given")]
    by: Option<serde_json::Number>,
}

/// Adds to the number at the key; without a record, to 0.
pub async fn increment(ask: Ask) -> Answer {
    ask.params(&[])?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let (Increment { by }, gate) = ask.json().await?;
    let by = by.map_or_else(|| "1".to_owned(), |by| by.to_string());
    let command = if by.parse::<i64>().is_ok() { "INCRBY" } else { "INCRBYFLOAT" };
    let (number, version) = gate
        .write(key.len(), move |talk| {
            talk.enter(&store, Entry::Creating)?;
            preconditions.run(talk, &key, words([command.as_bytes(), &key, by.as_bytes()]))
        })
        .await?;
    let mut writer = Writer::new();
    match number {
        Reply::Integer(number) => writer.raw(format!("{{\"value\":{number}}}")),
        Reply::Bulk(number) => writer.raw("{").value("value", &number).raw("}"),
        _ => return Err(Problem::ours("an increment gave no number")),
    };
    Ok(([(header::ETAG, tag(version))], answer(writer.finish())).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ttl {
    /// null: forever.
    #[serde(deserialize_with = "Option::deserialize")]
    ttl_ms: Option<i64>,
}

/// Has the record expire, or not any more.
pub async fn set_ttl(ask: Ask) -> Answer {
    ask.params(&[])?;
    let preconditions = Preconditions::of(&ask.headers)?;
    let (store, key) = (ask.store(), ask.key());
    let (Ttl { ttl_ms }, gate) = ask.json().await?;
    if ttl_ms.is_some_and(|ttl_ms| ttl_ms < 1) {
        return Err(Problem::bad("'ttl_ms' must be a whole number from 1 up, or null"));
    }
    gate.write(key.len(), move |talk| {
        talk.enter(&store, Entry::Existing)?;
        let command = match ttl_ms {
            Some(ttl_ms) => words([b"PEXPIRE", &key, ttl_ms.to_string().as_bytes()]),
            None => words([b"PERSIST", &key]),
        };
        let (changed, _) = preconditions.run(talk, &key, command)?;
        // PERSIST changes nothing of a record without expiry, either
        if integer(&changed)? == 0 && integer(&talk.command(words([b"EXISTS", &key]))?)? == 0 {
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

fn look_up(talk: &mut Talk, key: &Bytes) -> Result<Option<Record>, Problem> {
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
    let (version, ttl_ms) = (integer(&version)? as Seq, integer(&ttl_ms)?);
    let (plain_bytes, stored_bytes) = (integer(&plain_bytes)?, integer(&stored_bytes)?);
    Ok(Some(Record { value, version, ttl_ms, plain_bytes, stored_bytes }))
}

/// A value as it is, and as what it is.
fn raw(value: Bytes) -> Response {
    let kind = if json::check(&value).is_ok() { "application/json" } else { "application/octet-stream" };
    ([(header::CONTENT_TYPE, kind)], value).into_response()
}

fn tag(version: Seq) -> HeaderValue {
    // digits in quotes are a good header
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// `If-Match` and `If-None-Match`.
struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

enum Tags {
    Any,
    /// Those that are versions; others match none.
    Versions(Vec<Seq>),
}

impl Tags {
    fn of(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
        let mut versions = Vec::new();
        let mut is_given = false;
        for header in headers.get_all(&name) {
            is_given = true;
            let text = header.to_str().map_err(|_| Problem::bad(format!("{name} is not ASCII")))?;
            for tag in text.split(',').map(str::trim) {
                if tag == "*" {
                    return Ok(Some(Tags::Any));
                }
                let strong = tag.strip_prefix("W/").unwrap_or(tag);
                let opaque = strong.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                let opaque =
                    opaque.ok_or_else(|| Problem::bad(format!("{name} must be * or \"version\"")))?;
                versions.extend(opaque.parse::<Seq>());
            }
        }
        Ok(is_given.then_some(Tags::Versions(versions)))
    }

    fn have(&self, version: Option<Seq>) -> bool {
        match (self, version) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::Versions(versions), Some(version)) => versions.contains(&version),
        }
    }
}

impl Preconditions {
    fn of(headers: &HeaderMap) -> Result<Preconditions, Problem> {
        let if_match = Tags::of(headers, header::IF_MATCH)?;
        Ok(Preconditions { if_match, if_none_match: Tags::of(headers, header::IF_NONE_MATCH)? })
    }

    /// Where a version makes no sense.
    fn refuse(headers: &HeaderMap) -> Result<(), Problem> {
        match Preconditions::of(headers)? {
            Preconditions { if_match: None, if_none_match: None } => Ok(()),
            _ => Err(Problem::bad("If-Match and If-None-Match are not taken here")),
        }
    }

    /// Runs a command on a key if the preconditions hold for it.
    fn run(self, talk: &mut Talk, key: &Bytes, command: Vec<Bytes>) -> Result<(Reply, Seq), Problem> {
        if self.if_match.is_none() && self.if_none_match.is_none() {
            return talk.versioned(command);
        }
        talk.command(words([b"WATCH", key]))?;
        let version = look_up(talk, key)?.map(|record| record.version);
        let is_met = self.if_match.is_none_or(|tags| tags.have(version))
            && self.if_none_match.is_none_or(|tags| !tags.have(version));
        if !is_met {
            return Err(Problem::failed_precondition());
        }
        let (mut replies, version) =
            talk.together(vec![command])?.ok_or_else(Problem::failed_precondition)?;
        let reply = replies.pop().ok_or_else(|| Problem::ours("a transaction gave no reply"))?;
        Ok((reply, version))
    }
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
            ("POST /api/v1/stores/0/records/a/increment", "{}", 400, ""),
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
