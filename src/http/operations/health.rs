//! Liveness and readiness. Both are open to everyone, so they say little.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http::App;
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{array, constant, object, text};
use crate::http::response::json::answer;

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/healthz", alive).named("alive", "Whether the process answers").open().returns(
            200,
            "It does",
            object([("status", constant("ok"))]),
        ),
        route::get("/readyz", ready)
            .named("ready", "Whether reads and writes are answered")
            .open()
            .returns(200, "They are", object([("status", constant("ready"))]))
            .returns(
                503,
                "They are not",
                object([("status", constant("not ready")), ("because", array(text()))]),
            ),
    ]
}

/// Liveness: the process answers.
pub async fn alive() -> Response {
    answer(json!({ "status": "ok" }).to_string())
}

/// Readiness: reads and writes work. Load balancers and orchestrators ask for it before they send clients.
pub async fn ready(State(app): State<App>) -> Response {
    let status = app.server.engine.reader().status();
    let troubles = [
        (app.server.shutdown.is_raised(), "stopping"),
        (status.journal.failure.is_some(), "the journal has failed"),
        (status.journal.shortage.is_some(), "there is no room for the journal"),
        (app.server.is_busy(), "a script keeps everybody waiting; SCRIPT KILL or FUNCTION KILL ends it"),
        (status.shortage.is_some(), "there is no space for more records"),
        (status.checkpoint.failure.is_some(), "the last checkpoint failed"),
    ];
    let troubles: Vec<&str> = troubles.iter().filter_map(|(is, what)| is.then_some(*what)).collect();
    if troubles.is_empty() {
        return answer(json!({ "status": "ready" }).to_string());
    }
    let body = answer(json!({ "status": "not ready", "because": troubles }).to_string());
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}
