//! Stores: list, create, describe, change, rename, clear, drop. Each route is the STORE command of its name.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::command::base::permission;
use crate::engine::Claim;
use crate::http::openapi::parameter::query;
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{Schema, any, array, boolean, count, number, object, text, word};
use crate::http::request::ask::Ask;
use crate::http::request::gate::{MissingStore, Talk, items, words};
use crate::http::response::json::{answer, of_reply};
use crate::http::response::problem::{Answer, Problem};

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/usage", usage)
            .named("usage", "What all stores together hold, and may hold")
            .returns(
                200,
                "Totals over the stores that the caller may use; limits over all stores",
                object([
                    ("stores", count()),
                    ("records", count()),
                    ("expiring", count()),
                    ("plain_bytes", count()),
                    ("stored_bytes", count()),
                    ("max_stores", count().about("0: no limit")),
                    ("max_keys", count().about("0: no limit")),
                    ("max_bytes", count().about("0: no limit")),
                    ("nearly_reached", array(fill_schema()).about("Limits of which 80 % or more are used")),
                ]),
            ),
        route::get("/api/v1/stores", list).named("listStores", "List stores").returns(
            200,
            "All stores, but for numbered ones that are empty and as they were",
            object([("stores", array(store_schema()))]),
        ),
        route::post("/api/v1/stores", create)
            .named("createStore", "Create a store")
            .takes(object([
                ("name", text().of_length(1, 128)),
                ("values", values_schema().optional()),
                ("max-keys", max_keys_schema().optional()),
                ("max-bytes", max_bytes_schema().optional()),
                ("evict", evict_schema().optional()),
                ("default-ttl", default_ttl_schema().optional()),
                ("retention", retention_schema().optional()),
                ("max-keys-per-query", keys_per_query_schema().optional()),
            ]))
            .returns(201, "The store", store_schema()),
        route::get("/api/v1/stores/{store}", info).named("getStore", "Tell about a store").returns(
            200,
            "The store",
            store_schema(),
        ),
        route::patch("/api/v1/stores/{store}", set)
            .named("setStore", "Change settings of a store")
            .takes(
                object([
                    ("values", values_schema().optional()),
                    ("max-keys", max_keys_schema().optional()),
                    ("max-bytes", max_bytes_schema().optional()),
                    ("evict", evict_schema().optional()),
                    ("default-ttl", default_ttl_schema().optional()),
                    ("retention", retention_schema().optional()),
                    ("max-keys-per-query", keys_per_query_schema().optional()),
                ])
                .with("minProperties", 1),
            )
            .returns(200, "The store", store_schema()),
        route::delete("/api/v1/stores/{store}", drop_store)
            .named("dropStore", "Drop a store with all its records")
            .parameters([query(
                "force",
                boolean(),
                "Even if workflows are linked to it or clients have it selected",
            )])
            .returns_nothing(204, "Dropped"),
        route::post("/api/v1/stores/{store}/rename", rename)
            .named("renameStore", "Give a store another name")
            .takes(object([("name", text().of_length(1, 128))]))
            .returns(200, "The store", store_schema()),
        route::post("/api/v1/stores/{store}/clear", clear)
            .named("clearStore", "Remove all records of a store")
            .takes(object([]).with("maxProperties", 0))
            .returns_nothing(204, "It is empty"),
    ]
}

pub fn store_schema() -> Schema {
    object([
        ("number", count()),
        ("name", text()),
        ("values", word(&["json", "any"])),
        ("records", count()),
        ("expiring", count()),
        ("plain_bytes", count()),
        ("stored_bytes", count()),
        ("ratio", number()),
        ("max_keys", count().about("0: no limit")),
        ("max_bytes", count().about("0: no limit")),
        ("evict", word(&EVICT).about("Which records make room; none: writes are refused")),
        ("default_ttl_ms", count().about("0: none")),
        ("retention_ms", count().about("0: none")),
        ("max_keys_per_query", count().about("0: no limit")),
        ("links", count().about("How many workflows are linked")),
        ("clients", count().optional()),
    ])
    .open()
    .named("Store")
}

fn values_schema() -> Schema {
    any()
        .with("enum", json!(["json", "any", "none", null]))
        .about(
            "What values the store takes; becomes json only while it is empty. null: what \
                 default-values says",
        )
        .named("Values")
}

fn max_keys_schema() -> Schema {
    any()
        .of_types(&["integer", "string", "null"])
        .at_least(0)
        .about("Most records. null or 0: no limit")
        .named("MaxKeys")
}

fn max_bytes_schema() -> Schema {
    any()
        .of_types(&["integer", "string", "null"])
        .at_least(0)
        .about("Most bytes of keys and records after compression, or a text like 64mb. null or 0: no limit")
        .named("MaxBytes")
}

/// What `evict` takes.
const EVICT: [&str; 5] = ["none", "lru", "lfu", "ttl", "random"];

fn evict_schema() -> Schema {
    any()
        .with("enum", json!([EVICT[0], EVICT[1], EVICT[2], EVICT[3], EVICT[4], null]))
        .about("Which records make room when a limit is reached. null or none: writes are refused instead")
        .named("Evict")
}

fn default_ttl_schema() -> Schema {
    any()
        .of_types(&["integer", "string", "null"])
        .at_least(0)
        .about(
            "How long a record lives that is put without a word on it: seconds, or a text \
                 like 30s, 15m, 12h, 90d. null or 0: forever",
        )
        .named("DefaultTtl")
}

fn retention_schema() -> Schema {
    any()
        .of_types(&["integer", "string", "null"])
        .at_least(0)
        .about(
            "How long a record lives after its last change: seconds, or a text like 30s, \
                 15m, 12h, 90d. null or 0: forever",
        )
        .named("Retention")
}

fn keys_per_query_schema() -> Schema {
    any()
        .of_types(&["integer", "string", "null"])
        .at_least(0)
        .about(
            "Most keys that one query returns. 0: no limit; null: what the server's max-keys-per-query says",
        )
        .named("MaxKeysPerQuery")
}

pub fn fill_schema() -> Schema {
    object([
        ("store", text().or_null().about("null: the limit is the server's")),
        ("limit", word(&["max-stores", "max-keys", "max-bytes"])),
        ("used", count()),
        ("max", count()),
    ])
    .named("Fill")
}

pub async fn list(ask: Ask) -> Answer {
    ask.params(&[])?;
    let stores = ask.gate.read(|talk| talk.command(words([b"STORE", b"LIST"]))).await?;
    Ok(answer(json!({ "stores": of_reply(&stores) }).to_string()))
}

#[derive(Deserialize)]
struct NewStore {
    name: String,
    #[serde(flatten)]
    settings: Map<String, Value>,
}

pub async fn create(ask: Ask) -> Answer {
    ask.params(&[])?;
    let (new, gate) = ask.object::<NewStore>().await?;
    let location = format!("/api/v1/stores/{}", utf8_percent_encode(&new.name, NON_ALPHANUMERIC));
    let settings = setting_words(new.settings)?;
    let info = gate
        .write(new.name.len(), move |talk| {
            let mut command = words([b"STORE", b"CREATE", new.name.as_bytes()]);
            command.extend(settings);
            talk.command(command)?;
            talk.command(words([b"STORE", b"INFO", new.name.as_bytes()]))
        })
        .await?;
    let location = HeaderValue::from_str(&location).map_err(|_| Problem::ours("a name became no URL"))?;
    let told = answer(of_reply(&info).to_string());
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], told).into_response())
}

pub async fn info(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    let info = ask.gate.read(move |talk| talk.command(words([b"STORE", b"INFO", &store]))).await?;
    Ok(answer(of_reply(&info).to_string()))
}

/// Settings as STORE SET takes them, from an object of them; `null` takes one away.
fn setting_words(settings: Map<String, Value>) -> Result<Vec<Bytes>, Problem> {
    let mut words = Vec::with_capacity(2 * settings.len());
    for (name, value) in settings {
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Null => "none".to_owned(),
            _ => return Err(Problem::bad(format!("'{name}' must be a text, a number or null"))),
        };
        words.extend([Bytes::from(name), Bytes::from(value)]);
    }
    Ok(words)
}

/// Changes settings, all or none.
pub async fn set(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    let (settings, gate) = ask.object::<Map<String, Value>>().await?;
    let mut command = words([b"STORE", b"SET", &store]);
    command.extend(setting_words(settings)?);
    let info = gate
        .write(0, move |talk| {
            talk.command(command)?;
            talk.command(words([b"STORE", b"INFO", &store]))
        })
        .await?;
    Ok(answer(of_reply(&info).to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewName {
    name: String,
}

pub async fn rename(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    let (NewName { name }, gate) = ask.object().await?;
    let info = gate
        .write(name.len(), move |talk| {
            talk.command(words([b"STORE", b"RENAME", &store, name.as_bytes()]))?;
            talk.command(words([b"STORE", b"INFO", name.as_bytes()]))
        })
        .await?;
    Ok(answer(of_reply(&info).to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Removes all records.
pub async fn clear(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    let (Nothing {}, gate) = ask.object().await?;
    gate.claim(Claim::Flush, 0, move |talk| {
        talk.enter(&store, MissingStore::Refused)?;
        talk.command(words([b"FLUSHDB"]))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn drop_store(ask: Ask) -> Answer {
    let force = ask.params(&["force"])?.is("force")?;
    let mut command = words([b"STORE", b"DROP", &ask.store()]);
    command.extend(force.then_some(Bytes::from_static(b"FORCE")));
    ask.gate.claim(Claim::Flush, 0, move |talk| talk.command(command)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The total of the stores that the caller may know about, the limits over all stores, and the limits that are nearly
/// reached.
pub async fn usage(ask: Ask) -> Answer {
    ask.params(&[])?;
    let server = ask.gate.server.clone();
    let (stores, nearly_reached) = ask
        .gate
        .read(|talk| Ok((items(talk.command(words([b"STORE", b"LIST"]))?)?, nearly_reached(talk))))
        .await?;
    let stores: Vec<Value> = stores.iter().map(of_reply).collect();
    let quota = server.config.settings().quota();
    let sum = |field: &str| stores.iter().filter_map(|store| store[field].as_u64()).sum::<u64>();
    let total = json!({
        "stores": stores.len(),
        "records": sum("records"),
        "expiring": sum("expiring"),
        "plain_bytes": sum("plain_bytes"),
        "stored_bytes": sum("stored_bytes"),
        "max_stores": quota.max_stores.unwrap_or(0),
        "max_keys": quota.max_keys.unwrap_or(0),
        "max_bytes": quota.max_bytes.unwrap_or(0),
        "nearly_reached": nearly_reached,
    });
    Ok(answer(total.to_string()))
}

fn nearly_reached(talk: &Talk) -> Vec<Value> {
    let fills = permission::nearly_full(talk.server.view(), &talk.session).into_iter();
    let told = fills.map(
        |(store, fill)| json!({"store": store, "limit": fill.setting, "used": fill.used, "max": fill.max}),
    );
    told.collect()
}

#[cfg(test)]
mod tests {
    use crate::http::testing::Api;

    #[tokio::test]
    async fn the_life_of_a_store() {
        let api = Api::new();
        let created = api.run("POST /api/v1/stores", r#"{"name": "my orders"}"#).await;
        assert_eq!((created.status, created.header("location")), (201, "/api/v1/stores/my%20orders"));
        assert_eq!(created.json()["number"], 16);
        api.run("PUT /api/v1/stores/my%20orders/records/a", "1").await;
        let info = api.run("GET /api/v1/stores/16", "").await.json();
        assert_eq!((&info["name"], &info["records"]), (&"my orders".into(), &1.into()));
        let renamed = api.run("POST /api/v1/stores/16/rename", r#"{"name": "sales"}"#).await;
        assert_eq!((renamed.status, &renamed.json()["name"]), (200, &"sales".into()));
        let set = api.run("PATCH /api/v1/stores/sales", r#"{"values": "any"}"#).await;
        assert_eq!((set.status, &set.json()["values"]), (200, &"any".into()));
        assert_eq!(api.run("GET /api/v1/usage", "").await.json()["records"], 1);
        assert_eq!(api.run("POST /api/v1/stores/sales/clear", "{}").await.status, 204);
        let list = api.run("GET /api/v1/stores", "").await.json();
        assert_eq!((&list["stores"][0]["name"], &list["stores"][0]["records"]), (&"sales".into(), &0.into()));
        assert_eq!(api.run("DELETE /api/v1/stores/sales", "").await.status, 204);
        assert_eq!(api.run("GET /api/v1/stores/sales", "").await.status, 404);
    }

    #[test]
    fn what_can_not_be_is_refused() {
        Api::new().expect(&[
            ("POST /api/v1/stores", r#"{"name": "orders"}"#, 201, ""),
            ("POST /api/v1/stores", r#"{"name": "orders"}"#, 409, ""),
            ("POST /api/v1/stores", r#"{"name": "17"}"#, 400, ""),
            ("POST /api/v1/stores", r#"{"name": "x", "values": "xml"}"#, 400, ""),
            ("POST /api/v1/stores", r#"{"nom": "x"}"#, 400, ""),
            ("POST /api/v1/stores", r#"{"name": 5}"#, 400, ""),
            ("POST /api/v1/stores", r#"{"name": "x""#, 422, ""),
            ("POST /api/v1/stores?x=1", r#"{"name": "x"}"#, 400, ""),
            ("PATCH /api/v1/stores/orders", r#"{"colour": "red"}"#, 400, ""),
            ("PATCH /api/v1/stores/orders", "{}", 400, ""),
            ("PATCH /api/v1/stores/orders", r#"{"values": true}"#, 400, ""),
            ("PATCH /api/v1/stores/orders", r#"{"max-keys": -1}"#, 400, ""),
            ("PATCH /api/v1/stores/orders", r#"{"max-keys": 1.5}"#, 400, ""),
            ("PATCH /api/v1/stores/orders", r#"{"max-keys": 5, "retention": "1w"}"#, 400, ""),
            ("POST /api/v1/stores", r#"{"name": "x", "max-bytes": []}"#, 400, ""),
            ("POST /api/v1/stores", r#"{"name": "x", "name2": "y"}"#, 400, ""),
            ("GET /api/v1/stores/x", "", 404, ""),
            ("POST /api/v1/stores/0/rename", r#"{"name": "x"}"#, 400, ""),
            ("DELETE /api/v1/stores/0", "", 400, ""),
            ("DELETE /api/v1/stores/orders?force=maybe", "", 400, ""),
            ("DELETE /api/v1/stores/nowhere", "", 404, ""),
            ("GET /api/v1/stores/99", "", 404, ""),
            ("GET /api/v2/stores", "", 404, ""),
            ("POST /api/v1/usage", "{}", 405, ""),
        ]);
    }

    #[tokio::test]
    async fn limits_are_set_told_and_heeded() {
        let api = Api::new();
        let new =
            r#"{"name": "orders", "max-keys": 5, "max-bytes": "1kb", "default-ttl": 90, "retention": "30d"}"#;
        let told = api.run("POST /api/v1/stores", new).await.json();
        let limits = ["max_keys", "max_bytes", "default_ttl_ms", "retention_ms"];
        assert_eq!(limits.map(|name| told[name].as_u64().unwrap_or(0)), [5, 1_024, 90_000, 30 * 86_400_000]);
        for at in 0..4 {
            let put = api.run(&format!("PUT /api/v1/stores/orders/records/{at}"), "1").await;
            assert_eq!(put.status, 201);
        }
        let usage = api.run("GET /api/v1/usage", "").await.json();
        let nearly = serde_json::json!([{"store": "orders", "limit": "max-keys", "used": 4, "max": 5}]);
        assert_eq!((&usage["nearly_reached"], &usage["max_keys"]), (&nearly, &0.into()));
        let many = r#"{"records": [{"key": "4", "value": 1}, {"key": "5", "value": 1}]}"#;
        let refused = api.run("POST /api/v1/stores/orders/many/put", many).await;
        assert_eq!((refused.status, &refused.json()["code"]), (507, &"QUOTA".into()));
        let detail = "store 'orders' holds 4 of at most 5 keys; delete some or raise the setting max-keys of store orders";
        assert_eq!(refused.json()["detail"], detail);
        assert_eq!(api.run("GET /api/v1/stores/orders/records/4", "").await.status, 404, "all or none");
        assert_eq!(api.run("PUT /api/v1/stores/orders/records/0", "2").await.status, 204);
        let free = r#"{"max-keys": null, "max-bytes": 0, "default-ttl": "none", "retention": "0"}"#;
        let told = api.run("PATCH /api/v1/stores/orders", free).await.json();
        assert_eq!(limits.map(|name| told[name].as_u64()), [Some(0); 4]);
        for (value, told) in [("2", 2), ("0", 0), ("null", 1024)] {
            let body = format!("{{\"max-keys-per-query\": {value}}}");
            let store = api.run("PATCH /api/v1/stores/orders", &body).await.json();
            assert_eq!(store["max_keys_per_query"], told);
            let status = if told == 2 { 426 } else { 200 };
            for list in ["keys", "entries"] {
                let line = format!("GET /api/v1/stores/orders/{list}");
                assert_eq!(api.run(&line, "").await.status, status, "{line} {value}");
                let line = format!("{line}?cursor=0&limit=3");
                assert_eq!(
                    api.run(&line, "").await.status,
                    if told == 2 { 400 } else { 200 },
                    "{line} {value}"
                );
            }
            let keys = r#"{"keys": ["0", "1", "2"]}"#;
            let many = api.run("POST /api/v1/stores/orders/many/get", keys).await;
            assert_eq!(many.status, if told == 2 { 400 } else { 200 }, "{value}");
        }
        assert_eq!(api.run("POST /api/v1/stores/orders/many/put", many).await.status, 200);
    }

    #[tokio::test]
    async fn limits_of_the_server_are_told() {
        let api = Api::new();
        let set = "CONFIG SET max-stores 1 max-keys 10 max-bytes 1mb";
        crate::command::tests::harness::type_in(&api.server, set);
        assert_eq!(api.run("POST /api/v1/stores", r#"{"name": "one"}"#).await.status, 201);
        let refused = api.run("POST /api/v1/stores", r#"{"name": "two"}"#).await;
        assert_eq!((refused.status, &refused.json()["code"]), (507, &"QUOTA".into()));
        let usage = api.run("GET /api/v1/usage", "").await.json();
        let limits = ["max_stores", "max_keys", "max_bytes"].map(|name| usage[name].as_u64());
        assert_eq!(limits, [Some(1), Some(10), Some(1 << 20)]);
        let nearly = serde_json::json!([{"store": null, "limit": "max-stores", "used": 1, "max": 1}]);
        assert_eq!(usage["nearly_reached"], nearly);
    }

    #[tokio::test]
    async fn a_store_in_use_is_dropped_only_by_force() {
        let api = Api::new();
        api.run("POST /api/v1/stores", r#"{"name": "orders"}"#).await;
        crate::command::tests::harness::session(&api.server).select(16);
        let refused = api.run("DELETE /api/v1/stores/orders", "").await;
        assert_eq!((refused.status, &refused.json()["code"]), (409, &"INUSE".into()));
        assert_eq!(api.run("DELETE /api/v1/stores/orders?force=true", "").await.status, 204);
    }
}
