//! Stores: list, create, look into, set, rename, clear, drop. Each is the STORE command of its name.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ask::{Ask, given};
use super::gate::{Entry, items, words};
use super::json::{answer, of_reply};
use super::problem::{Answer, Problem};

pub async fn list(ask: Ask) -> Answer {
    ask.params(&[])?;
    let stores = ask.gate.read(|talk| talk.command(words([b"STORE", b"LIST"]))).await?;
    Ok(answer(json!({ "stores": of_reply(&stores) }).to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStore {
    name: String,
    #[serde(default, deserialize_with = "given")]
    values: Option<String>,
}

pub async fn create(ask: Ask) -> Answer {
    ask.params(&[])?;
    let (new, gate) = ask.json::<NewStore>().await?;
    let location = format!("/api/v1/stores/{}", utf8_percent_encode(&new.name, NON_ALPHANUMERIC));
    let info = gate
        .write(new.name.len(), move |talk| {
            let mut command = words([b"STORE", b"CREATE", new.name.as_bytes()]);
            if let Some(values) = &new.values {
                command.extend(words([b"VALUES", values.as_bytes()]));
            }
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

/// Changes settings, all or none: an object of those that STORE SET takes.
pub async fn set(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    let (settings, gate) = ask.json::<Map<String, Value>>().await?;
    let mut command = words([b"STORE", b"SET", &store]);
    for (name, value) in settings {
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => return Err(Problem::bad(format!("'{name}' must be a text or a number"))),
        };
        command.extend([Bytes::from(name), Bytes::from(value)]);
    }
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
    let (NewName { name }, gate) = ask.json().await?;
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
    let (Nothing {}, gate) = ask.json().await?;
    gate.write(0, move |talk| {
        talk.enter(&store, Entry::Existing)?;
        talk.command(words([b"FLUSHDB"]))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn drop_store(ask: Ask) -> Answer {
    let force = ask.params(&["force"])?.is("force")?;
    let mut command = words([b"STORE", b"DROP", &ask.store()]);
    command.extend(force.then_some(Bytes::from_static(b"FORCE")));
    ask.gate.write(0, move |talk| talk.command(command)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What all stores together hold that the caller may know of.
pub async fn usage(ask: Ask) -> Answer {
    ask.params(&[])?;
    let stores = ask.gate.read(|talk| items(talk.command(words([b"STORE", b"LIST"]))?)).await?;
    let stores: Vec<Value> = stores.iter().map(of_reply).collect();
    let sum = |field: &str| stores.iter().filter_map(|store| store[field].as_u64()).sum::<u64>();
    let total = json!({
        "stores": stores.len(),
        "records": sum("records"),
        "expiring": sum("expiring"),
        "plain_bytes": sum("plain_bytes"),
        "stored_bytes": sum("stored_bytes"),
    });
    Ok(answer(total.to_string()))
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
    async fn a_store_in_use_is_dropped_only_by_force() {
        let api = Api::new();
        api.run("POST /api/v1/stores", r#"{"name": "orders"}"#).await;
        crate::command::testing::session(&api.server).select(16);
        let refused = api.run("DELETE /api/v1/stores/orders", "").await;
        assert_eq!((refused.status, &refused.json()["code"]), (409, &"INUSE".into()));
        assert_eq!(api.run("DELETE /api/v1/stores/orders?force=true", "").await.status, 204);
    }
}
