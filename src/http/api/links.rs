//! The users of a store: workflows that are linked to it, and connections of the Redis protocol that have it selected.
//! Each route is the STORE command of its name.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;

use crate::http::openapi::parameter::workflow_in_query;
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{Schema, array, object, text};
use crate::http::request::ask::Ask;
use crate::http::request::gate::{Talk, integer, words};
use crate::http::response::json::{answer, of_reply};
use crate::http::response::problem::{Answer, Problem};

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/stores/{store}/links", list).named("links", "Tell who uses a store").returns(
            200,
            "Its users",
            users_schema(),
        ),
        route::post("/api/v1/stores/{store}/links", link)
            .named("link", "Note that a workflow uses a store, so that it can't be dropped unawares")
            .takes(object([("workflow", text().of_length(1, 128))]))
            .returns(200, "Its users", users_schema()),
        route::delete("/api/v1/stores/{store}/links/{workflow}", unlink)
            .named("unlink", "Note that a workflow uses a store no more")
            .returns_nothing(204, "It was linked"),
        route::delete("/api/v1/stores/{store}/link", unlink)
            .named(
                "unlinkByQuery",
                "Note that a workflow uses a store no more, by a name that no path can hold",
            )
            .parameters([workflow_in_query()])
            .returns_nothing(204, "It was linked"),
    ]
}

fn users_schema() -> Schema {
    object([("workflows", array(text())), ("clients", array(text()))])
        .about(
            "Workflows that are linked, and connections of the Redis protocol that have the store selected",
        )
        .named("Users")
}

pub async fn list(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    ask.gate.read(move |talk| told(talk, &store)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLink {
    workflow: String,
}

pub async fn link(ask: Ask) -> Answer {
    ask.params(&[])?;
    let store = ask.store();
    let (NewLink { workflow }, gate) = ask.object().await?;
    gate.write(workflow.len(), move |talk| {
        talk.command(words([b"STORE", b"LINK", &store, workflow.as_bytes()]))?;
        told(talk, &store)
    })
    .await
}

pub async fn unlink(ask: Ask) -> Answer {
    ask.params(&[])?;
    let (store, workflow) = (ask.store(), ask.key());
    let command = words([b"STORE", b"UNLINK", &store, &workflow]);
    match integer(&ask.gate.write(0, move |talk| talk.command(command)).await?)? {
        0 => Err(Problem::new(StatusCode::NOT_FOUND, "NOLINK", "no workflow of this name is linked")),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

fn told(talk: &mut Talk, store: &Bytes) -> Result<Response, Problem> {
    let links = talk.command(words([b"STORE", b"LINKS", store]))?;
    Ok(answer(of_reply(&links).to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::http::testing::Api;

    #[tokio::test]
    async fn a_linked_store_is_dropped_only_by_force() {
        let api = Api::new();
        api.run("POST /api/v1/stores", r#"{"name": "orders"}"#).await;
        let linked = api.run("POST /api/v1/stores/orders/links", r#"{"workflow": "nightly/import"}"#).await;
        let users = json!({"workflows": ["nightly/import"], "clients": []});
        assert_eq!((linked.status, linked.json()), (200, users.clone()));
        assert_eq!(api.run("GET /api/v1/stores/16/links", "").await.json(), users);
        assert_eq!(api.run("GET /api/v1/stores/16", "").await.json()["links"], 1);
        let refused = api.run("DELETE /api/v1/stores/orders", "").await;
        let told = refused.json();
        assert_eq!((refused.status, &told["code"]), (409, &"INUSE".into()));
        let detail = "store 'orders' is used by workflow nightly/import; close or unlink them, or drop it with ?force=true";
        assert_eq!(told["detail"], detail);
        let path = "DELETE /api/v1/stores/orders/links/nightly%2Fimport";
        assert_eq!(api.run(path, "").await.status, 204);
        assert_eq!(api.run(path, "").await.json()["code"], "NOLINK");
        assert_eq!(api.run("DELETE /api/v1/stores/orders", "").await.status, 204);
    }

    #[tokio::test]
    async fn any_workflow_can_be_named_in_the_query() {
        let api = Api::new();
        for workflow in [".", "..", "a/b"] {
            let body = json!({ "workflow": workflow }).to_string();
            assert_eq!(api.run("POST /api/v1/stores/0/links", &body).await.status, 200);
            let line = format!("DELETE /api/v1/stores/0/link?workflow={workflow}");
            assert_eq!(api.run(&line, "").await.status, 204, "{workflow}");
            assert_eq!(api.run(&line, "").await.status, 404, "{workflow}");
        }
        assert_eq!(api.run("DELETE /api/v1/stores/0/link", "").await.status, 400);
    }

    #[test]
    fn what_can_not_be_is_refused() {
        Api::new().expect(&[
            ("GET /api/v1/stores/nowhere/links", "", 404, ""),
            ("POST /api/v1/stores/nowhere/links", r#"{"workflow": "x"}"#, 404, ""),
            ("DELETE /api/v1/stores/nowhere/links/x", "", 404, ""),
            ("DELETE /api/v1/stores/0/links/x", "", 404, ""),
            ("POST /api/v1/stores/0/links", r#"{"workflow": ""}"#, 400, ""),
            ("POST /api/v1/stores/0/links", r#"{"workflow": "a\nb"}"#, 400, ""),
            ("POST /api/v1/stores/0/links", r#"{"workflow": 1}"#, 400, ""),
            ("POST /api/v1/stores/0/links", "{}", 400, ""),
            ("POST /api/v1/stores/0/links", r#"{"workflow": "x", "y": 1}"#, 400, ""),
            ("DELETE /api/v1/stores/0/links/%00", "", 400, ""),
            ("DELETE /api/v1/stores/0/links", "", 405, ""),
            ("GET /api/v1/stores/0/links", "", 200, r#"{"clients":[],"workflows":[]}"#),
        ]);
    }
}
