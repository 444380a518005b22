//! The router without a socket, for tests of handlers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::command::{COMMANDS, Server};
use crate::config::Config;
use crate::engine::{Engine, Options, clock};

pub struct Api {
    pub server: Arc<Server>,
    router: Router,
    _dir: tempfile::TempDir,
}

pub struct Told {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Api {
    pub fn new() -> Api {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::new(dir.path())).unwrap();
        let server = Arc::new(Server::new(&COMMANDS, engine, Config::default(), clock::steady_ms()));
        Api { router: super::router(server.clone()), server, _dir: dir }
    }

    /// Sends what `request` makes of `METHOD /path` with a body, `application/json` if there is one.
    pub async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Told {
        let (parts, body) = self.begin(line, headers, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Told { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// The same; the body of the answer is still to come.
    pub async fn begin(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn run(&self, line: &str, body: &str) -> Told {
        self.send(line, &[], body).await
    }

    /// Runs requests one after the other: method and path, body, status, body of the answer if it matters.
    #[track_caller]
    pub fn expect(&self, dialogue: &[(&str, &str, u16, &str)]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (line, body, status, answer) in dialogue {
            let told = runtime.block_on(self.run(line, body));
            let text = String::from_utf8_lossy(&told.body);
            assert_eq!(told.status, *status, "{line}: {text}");
            if !answer.is_empty() {
                assert_eq!(text, *answer, "{line}");
            }
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.engine.close().unwrap();
    }
}
