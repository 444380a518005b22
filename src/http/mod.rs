//! The HTTP API: the same stores, records and rules as over RESP, for programs without a Redis client.
//!
//! ```text
//! server ──▶ router ──▶ Ask: path, query, who it is ──▶ a handler ──▶ Gate: command::dispatch ──▶ JSON
//! sockets    [`router`]  `ask`, `door`                   `records` …   `gate`                      `json`, `problem`
//! ```
//!
//! A route is declared beside its handler, together with what `/openapi.json` says about it (`openapi`). A handler
//! turns a request into commands, so that permissions, statistics and writes are implemented once. Before it responds,
//! it waits until what it saw is durable (`request::gate`). The router is callable without a socket. It is independent
//! of `net`: `server` runs it on a runtime and a thread of its own. The pages for people (`dashboard`) are files that
//! use this API.

mod api;
mod dashboard;
mod openapi;
mod operations;
mod request;
mod response;
mod rest;
mod server;
#[cfg(test)]
mod testing;

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use server::{Listen, start};

use crate::command::Server;
use crate::engine::clock::{self, Stopwatch};
use crate::http::openapi::route::Route;
use crate::http::response::problem::Problem;
use crate::limits::{HTTP_REQUESTS_MAX, HTTP_STREAMS_MAX};
use crate::script::turnstile::Slot;
use server::Crowded;

/// How long a request may take from its first byte to the first byte of its response, including the wait for its turn.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What handlers share.
#[derive(Clone)]
struct App {
    server: Arc<Server>,
    /// The semaphore for requests that are processed.
    places: Arc<Semaphore>,
    /// The semaphore for streams of messages.
    streams: Arc<Semaphore>,
    /// Marks the HTTP thread as being inside the engine.
    slot: Arc<Slot>,
}

/// Everything that is served. `Extension(request::door::Peer)` says where a request comes from.
pub fn router(server: Arc<Server>) -> Router {
    let cors = cors(server.config.settings().http_cors_origin.as_deref());
    let slot = server.scripts.turnstile.slot();
    let semaphore = |places| Arc::new(Semaphore::new(places));
    let app =
        App { server, places: semaphore(HTTP_REQUESTS_MAX), streams: semaphore(HTTP_STREAMS_MAX), slot };
    let (api, operations): (Vec<_>, Vec<_>) = routes()
        .into_iter()
        .flat_map(|(_, routes)| routes)
        .partition(|route| route.path.starts_with("/api/") || rest::is_below(&route.path));
    let api = served(api).layer(middleware::from_fn_with_state(app.clone(), take_turn));
    let router = served(operations)
        .route("/", get(dashboard::page))
        .route("/ui/{name}", get(dashboard::asset))
        .route("/openapi.json", get(description))
        .merge(api)
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "ERR", "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "ERR", "this path does not take this method")
        })
        .layer(middleware::from_fn(refuse_if_crowded))
        .layer(middleware::from_fn_with_state(app.clone(), attend))
        .layer(middleware::from_fn(rest::translate))
        .layer(CompressionLayer::new())
        .layer(middleware::map_response(response::version::mark_coding));
    let router = match cors {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.with_state(app)
}

/// All routes by subject, except the pages for people and the description.
fn routes() -> Vec<(&'static str, Vec<Route>)> {
    vec![
        ("server", operations::activity::routes()),
        ("server", operations::history::routes()),
        ("server", operations::console::routes()),
        ("stores", api::stores::routes()),
        ("stores", api::links::routes()),
        ("pages", api::keys::routes()),
        ("pages", api::tree::routes()),
        ("pages", api::search::routes()),
        ("pages", api::difference::routes()),
        ("pages", api::export::routes()),
        ("pages", api::events::routes()),
        ("pages", api::import::routes()),
        ("many", api::many::routes()),
        ("records", api::records::routes()),
        ("redis", rest::routes()),
        ("server", operations::health::routes()),
        ("server", operations::metrics::routes()),
    ]
}

fn served(routes: Vec<Route>) -> Router<App> {
    routes.into_iter().fold(Router::new(), |router, route| router.route(&route.path, route.handler))
}

/// Lets a bounded number of requests run at once.
async fn take_turn(State(app): State<App>, request: Request, next: Next) -> Response {
    const STEP: Duration = Duration::from_millis(100);
    let is_watching = request::ask::is_watching(request.method(), request.headers());
    let mut arrived = Stopwatch::start();
    // one place in the queue, however often it is looked at
    let mut place = std::pin::pin!(app.places.acquire());
    loop {
        if let Ok(_place) = tokio::time::timeout(STEP, place.as_mut()).await {
            let response = next.run(request).await;
            if !is_watching {
                app.server.stats.answered(1, arrived.lap_ns());
            }
            return response;
        }
        // the running requests may be waiting for a script
        if app.server.is_busy() {
            return Problem::from(app.server.busy()).into_response();
        }
    }
}

/// Handles a connection beyond the maximum: health checks and metrics are answered, everything else is refused.
async fn refuse_if_crowded(request: Request, next: Next) -> Response {
    let is_crowded = request.extensions().get::<Crowded>().is_some();
    if !is_crowded || matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics") {
        return next.run(request).await;
    }
    let why = "there are too many connections, in all or from this address; try again later";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ERR", why).into_response()
}

/// What every request gets: a time limit, a count, and common headers.
async fn attend(State(app): State<App>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<request::door::Peer>().map(|peer| peer.address.to_string());
    let guesser = peer.filter(|_| request.headers().contains_key(header::AUTHORIZATION));
    let answered = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        let why = "the request took too long; a write may or may not have happened";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "ERR", why).into_response()
    });
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(address) = guesser
    {
        // every request has its password, and all clients of a proxy share an address, so right passwords never wait
        tokio::time::sleep(app.server.guesses.delay(&address, clock::steady_ms())).await;
    }
    app.server.stats.mine().http_requests.fetch_add(1, Ordering::Relaxed);
    if response.status().is_client_error() || response.status().is_server_error() {
        app.server.stats.mine().http_errors.fetch_add(1, Ordering::Relaxed);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // what is stored here is data: a browser that shows it must not run anything in it
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"));
    response
}

/// Lets the pages of one other origin use the API; without a setting there is none.
fn cors(origin: Option<&str>) -> Option<CorsLayer> {
    let origin = HeaderValue::from_str(origin?).ok()?;
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let asked = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        api::events::LAST_EVENT_ID,
    ];
    let told = [
        header::ETAG,
        header::LOCATION,
        api::records::TTL_MS,
        api::records::PLAIN_BYTES,
        api::records::STORED_BYTES,
    ];
    let asked: Vec<_> = asked.into_iter().chain(rest::headers()).collect();
    let layer = CorsLayer::new().allow_origin(AllowOrigin::exact(origin)).allow_methods(methods);
    Some(layer.allow_headers(asked).expose_headers(told).max_age(Duration::from_secs(600)))
}

/// The OpenAPI document.
async fn description() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document(routes()).to_string());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}
