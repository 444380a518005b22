//! Many records at once. Each request is one command: it happens as a whole or not at all, and sees one instant.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use serde_json::value::RawValue;

use crate::engine::Claim;
use crate::http::api::keys::key_schema;
use crate::http::openapi::route::{self, Route, value_schema};
use crate::http::openapi::schema::{array, base64, boolean, count, integer, object, text};
use crate::http::request::ask::{Ask, Object, given};
use crate::http::request::gate::{self, MissingStore, items, words};
use crate::http::response::json::{Writer, answer};
use crate::http::response::problem::{Answer, Problem};
use crate::limits::HTTP_VALUES_BYTES_MAX;
use crate::record::line;
use crate::resp::Reply;

/// A key in a body: text, or `{"base64":"…"}`.
struct Key(Bytes);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        line::key(deserializer).map(|key| Key(key.into()))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyList {
    keys: Vec<Key>,
}

pub fn routes() -> Vec<Route> {
    vec![
        route::post("/api/v1/stores/{store}/many/get", get)
            .named("getMany", "Read many records, all as they are at one moment")
            .takes(object([("keys", array(key_schema()).of_size(1, 1024))]))
            .returns(
                200,
                "In the order of the keys",
                object([(
                    "records",
                    array(
                        object([
                            ("key", key_schema()),
                            ("found", boolean()),
                            ("value", value_schema().optional()),
                            ("value_base64", text().optional()),
                        ])
                        .open(),
                    ),
                )]),
            ),
        route::post("/api/v1/stores/{store}/many/put", put)
            .named("putMany", "Put many records, all or none")
            .takes(object([
                (
                    "records",
                    array(
                        object([
                            ("key", key_schema()),
                            ("value", value_schema().optional()),
                            ("value_base64", base64().optional()),
                        ])
                        .with("oneOf", json!([{"required": ["value"]}, {"required": ["value_base64"]}])),
                    )
                    .of_size(1, 1024),
                ),
                ("ttl", integer().at_least(1).optional()),
                ("ttl_ms", integer().at_least(1).optional()),
                ("keepttl", boolean().optional()),
                ("nx", boolean().about("Only if none of them is there").optional()),
                ("xx", boolean().about("Only if all of them are there").optional()),
            ]))
            .returns(200, "How many", object([("put", count())])),
        route::post("/api/v1/stores/{store}/many/delete", delete)
            .named("deleteMany", "Delete many records at once")
            .takes(object([("keys", array(key_schema()).of_size(1, 1024))]))
            .returns(200, "How many there were", object([("deleted", count())])),
    ]
}

pub async fn get(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    let (KeyList { keys }, gate) = ask.object().await?;
    check_count(keys.len(), gate.keys_per_query(&store))?;
    let (keys, values) = gate
        .read(move |talk| {
            talk.enter(&store, MissingStore::Refused)?;
            let values = items(talk.command(with_keys(b"MGET", &keys))?)?;
            Ok((keys, values))
        })
        .await?;
    let bytes = |value: &Reply| if let Reply::Bulk(value) = value { value.len() } else { 0 };
    let all_bytes: usize = values.iter().map(bytes).sum();
    if all_bytes > HTTP_VALUES_BYTES_MAX {
        return Err(Problem::bad(format!(
            "the values are {all_bytes} bytes together, more than the limit of {HTTP_VALUES_BYTES_MAX}; ask for fewer at once"
        )));
    }
    let mut writer = Writer::new();
    writer.raw("{\"records\":[").each(keys.iter().zip(&values), |writer, (Key(key), value)| {
        writer.raw("{\"key\":").key(key);
        match value {
            Reply::Bulk(value) => writer.raw(",\"found\":true,").value("value", value).raw("}"),
            _ => writer.raw(",\"found\":false}"),
        };
    });
    Ok(answer(writer.raw("]}").finish()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordList {
    records: Vec<Object<NewRecord>>,
    /// One for all, in seconds or milliseconds.
    #[serde(default, deserialize_with = "given")]
    ttl: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    ttl_ms: Option<u64>,
    #[serde(default)]
    keepttl: bool,
    /// Only if none of them is there.
    #[serde(default)]
    nx: bool,
    /// Only if all of them are there.
    #[serde(default)]
    xx: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRecord {
    key: Key,
    #[serde(default, deserialize_with = "given")]
    value: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "given")]
    value_base64: Option<String>,
}

impl NewRecord {
    fn value(&self) -> Result<Bytes, Problem> {
        match (&self.value, &self.value_base64) {
            (Some(json), None) => Ok(Bytes::copy_from_slice(json.get().as_bytes())),
            (None, Some(encoded)) => match STANDARD.decode(encoded) {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => Err(Problem::bad(format!("'value_base64': {error}"))),
            },
            _ => Err(Problem::bad("every record needs 'value' or 'value_base64'")),
        }
    }
}

pub async fn put(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    let (list, gate) = ask.object::<RecordList>().await?;
    check_count(list.records.len(), gate.keys_per_query(&store))?;
    let (nx, xx) = (list.nx, list.xx);
    let count = list.records.len();
    let mut command = words([b"MSETEX", count.to_string().as_bytes()]);
    for Object(record) in &list.records {
        command.extend([record.key.0.clone(), record.value()?]);
    }
    command.extend(options(&list)?);
    let bytes = command.iter().map(Bytes::len).sum::<usize>();
    let put = gate
        .write(bytes, move |talk| {
            talk.enter(&store, MissingStore::Created)?;
            gate::integer(&talk.command(command)?)
        })
        .await?;
    match (put, nx, xx) {
        (0, true, _) => {
            Err(Problem::new(StatusCode::CONFLICT, "RECORDEXISTS", "there is a record at one of the keys"))
        }
        (0, _, true) => {
            Err(Problem::new(StatusCode::NOT_FOUND, "NORECORD", "there is no record at one of the keys"))
        }
        _ => Ok(answer(format!("{{\"put\":{count}}}")).into_response()),
    }
}

/// What is put behind the pairs.
fn options(list: &RecordList) -> Result<Vec<Bytes>, Problem> {
    let condition = match (list.nx, list.xx) {
        (true, true) => return Err(Problem::bad("'nx' and 'xx' exclude each other")),
        (true, false) => words([b"NX"]),
        (false, true) => words([b"XX"]),
        (false, false) => Vec::new(),
    };
    let seconds = list.ttl.map(|ttl| words([b"EX", ttl.to_string().as_bytes()]));
    let millis = list.ttl_ms.map(|ttl| words([b"PX", ttl.to_string().as_bytes()]));
    let keep = list.keepttl.then(|| words([b"KEEPTTL"]));
    let expiries: Vec<_> = [seconds, millis, keep].into_iter().flatten().collect();
    if expiries.len() > 1 {
        return Err(Problem::bad("'ttl', 'ttl_ms' and 'keepttl' exclude each other"));
    }
    Ok([condition, expiries.concat()].concat())
}

pub async fn delete(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    let (KeyList { keys }, gate) = ask.object().await?;
    check_count(keys.len(), gate.keys_per_query(&store))?;
    let bytes = keys.iter().map(|Key(key)| key.len()).sum::<usize>();
    let deleted = gate
        .claim(Claim::Removal, bytes, move |talk| {
            talk.enter(&store, MissingStore::Refused)?;
            gate::integer(&talk.command(with_keys(b"DEL", &keys))?)
        })
        .await?;
    Ok(answer(format!("{{\"deleted\":{deleted}}}")))
}

fn check_count(count: usize, max: usize) -> Result<(), Problem> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(Problem::bad(format!("there are {count} keys, allowed are 1 to {max} (max-keys-per-query)")))
}

fn with_keys(command: &'static [u8], keys: &[Key]) -> Vec<Bytes> {
    std::iter::once(Bytes::from_static(command)).chain(keys.iter().map(|Key(key)| key.clone())).collect()
}

#[cfg(test)]
mod tests {
    use crate::http::testing::Api;

    #[test]
    fn many_are_put_read_and_deleted_at_once() {
        Api::new().expect(&[
            (
                "POST /api/v1/stores/0/many/put",
                r#"{"records": [{"key": "a", "value": 1.0}, {"key": {"base64": "/w=="}, "value": null}], "ttl": 100}"#,
                200,
                r#"{"put":2}"#,
            ),
            (
                "POST /api/v1/stores/0/many/get",
                r#"{"keys": ["a", {"base64": "/w=="}, "c"]}"#,
                200,
                r#"{"records":[{"key":"a","found":true,"value":1.0},{"key":{"base64":"/w=="},"found":true,"value":null},{"key":"c","found":false}]}"#,
            ),
            ("POST /api/v1/stores/0/many/delete", r#"{"keys": ["a", "c"]}"#, 200, r#"{"deleted":1}"#),
        ]);
    }

    #[test]
    fn all_or_nothing() {
        Api::new().expect(&[
            ("PUT /api/v1/stores/0/records/b", "1", 201, ""),
            (
                "POST /api/v1/stores/0/many/put",
                r#"{"records": [{"key": "a", "value": 2}, {"key": "b", "value": 2}], "nx": true}"#,
                409,
                "",
            ),
            (
                "POST /api/v1/stores/0/many/put",
                r#"{"records": [{"key": "a", "value": 2}, {"key": "b", "value": 2}], "xx": true}"#,
                404,
                "",
            ),
            (
                "POST /api/v1/stores/0/many/put",
                r#"{"records": [{"key": "a", "value": 2}, {"key": "b", "value_base64": "/w=="}]}"#,
                422,
                "",
            ),
            ("POST /api/v1/stores/0/many/put", r#"{"records": [{"key": "a"}]}"#, 400, ""),
            (
                "POST /api/v1/stores/0/many/put",
                r#"{"records": [{"key": "a", "value_base64": "!"}]}"#,
                400,
                "",
            ),
            ("POST /api/v1/stores/0/many/put", r#"{"records": []}"#, 400, ""),
            ("POST /api/v1/stores/0/many/put", r#"{"records": [{"key": 1, "value": 1}]}"#, 400, ""),
            ("POST /api/v1/stores/0/many/get", r#"{"keys": []}"#, 400, ""),
            ("GET /api/v1/stores/0/records/a", "", 404, ""),
            ("GET /api/v1/stores/0/records/b", "", 200, "1"),
        ]);
    }
}
