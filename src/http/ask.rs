//! A request as handlers see it: let in, its path and query understood as bytes, its body still to come.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::App;
use super::door::{self, Peer};
use super::gate::Gate;
use super::problem::Problem;
use crate::limits::HTTP_BODY_BYTES_MAX;
use crate::record::{json, number};

/// Where store, key and a second store stand in a path: `/api/v1/stores/{store}/records/{key}`.
const STORE_SEGMENT: usize = 3;
const KEY_SEGMENT: usize = 5;

/// A request of someone who may come in.
pub struct Ask {
    pub gate: Gate,
    pub headers: HeaderMap,
    path: Vec<Bytes>,
    query: String,
    body: Body,
}

impl FromRequest<App> for Ask {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Ask, Problem> {
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().copied();
        let session = loop {
            app.wait_for_script().await?;
            // a script begins only once this thread has left the engine
            if let Some(_inside) = app.server.scripts.turnstile.enter(&app.slot) {
                break door::enter(&app.server, &parts.headers, peer)?;
            }
        };
        // inside a nested router the path lacks what was matched already
        let whole = parts.extensions.get::<axum::extract::OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
        let path = whole.path().split('/').skip(1).map(decoded).collect::<Result<_, _>>()?;
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Ok(Ask {
            gate: Gate { server: app.server.clone(), session },
            headers: parts.headers,
            path,
            query,
            body,
        })
    }
}

impl Ask {
    /// The store that the path names.
    pub fn store(&self) -> Bytes {
        self.path.get(STORE_SEGMENT).cloned().unwrap_or_default()
    }

    /// What the path names within the store: a key, or another store.
    pub fn key(&self) -> Bytes {
        self.path.get(KEY_SEGMENT).cloned().unwrap_or_default()
    }

    /// The query, which may have these parameters and no others.
    pub fn params(&self, allowed: &[&'static str]) -> Result<Params, Problem> {
        let mut params = Params(Vec::new());
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = allowed.iter().copied().find(|known| *known == name) else {
                let all = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
                return Err(Problem::bad(format!("there is no parameter '{name}' here; there is: {all}")));
            };
            if params.bytes(name).is_some() {
                return Err(Problem::bad(format!("the parameter '{name}' is there twice")));
            }
            params.0.push((name, decoded(&value.replace('+', " "))?));
        }
        Ok(params)
    }

    /// The body, which must be JSON of this shape; and the gate, which is left.
    pub async fn json<T: DeserializeOwned>(self) -> Result<(T, Gate), Problem> {
        if !is_json(self.content_type()?) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "ERR",
                "Content-Type must be application/json",
            ));
        }
        let (body, gate) = self.collect().await?;
        json::check(&body)?;
        let shape =
            serde_json::from_slice(&body).map_err(|error| Problem::bad(format!("the body: {error}")))?;
        Ok((shape, gate))
    }

    /// The body as a value of a record: JSON, or for stores that take it anything.
    pub async fn value(self) -> Result<(Bytes, Gate), Problem> {
        let kind = self.content_type()?;
        let (is_json, is_bytes) = (is_json(kind), kind.eq_ignore_ascii_case("application/octet-stream"));
        if !is_json && !is_bytes {
            let detail = "Content-Type must be application/json or application/octet-stream";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ERR", detail));
        }
        let (body, gate) = self.collect().await?;
        if is_json {
            json::check(&body)?;
        }
        Ok((body, gate))
    }

    /// The body as lines of JSON, each of which may be wrong.
    pub async fn lines(self) -> Result<(Bytes, Gate), Problem> {
        let kind = self.content_type()?;
        if !["application/x-ndjson", "application/octet-stream"]
            .iter()
            .any(|taken| kind.eq_ignore_ascii_case(taken))
        {
            let detail = "Content-Type must be application/x-ndjson or application/octet-stream";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ERR", detail));
        }
        self.collect().await
    }

    /// The type of the body, without its parameters. Forms can't send those that are taken, so no page of another origin
    /// can write without asking first.
    fn content_type(&self) -> Result<&str, Problem> {
        let Some(kind) = self.headers.get(header::CONTENT_TYPE) else { return Ok("") };
        let kind = kind.to_str().map_err(|_| Problem::bad("Content-Type is not ASCII"))?;
        Ok(kind.split(';').next().unwrap_or_default().trim())
    }

    async fn collect(self) -> Result<(Bytes, Gate), Problem> {
        if self.headers.get(header::CONTENT_ENCODING).is_some() {
            let detail = "a body must not be compressed";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "ERR", detail));
        }
        let limit = HTTP_BODY_BYTES_MAX.min(self.gate.server.config.proto_max_bulk_len());
        match Limited::new(self.body, limit).collect().await {
            Ok(body) => Ok((body.to_bytes(), self.gate)),
            Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
                let detail = format!("the body is longer than the limit of {limit} bytes");
                Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "ERR", detail))
            }
            Err(_) => Err(Problem::bad("the body did not arrive whole")),
        }
    }
}

fn is_json(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("application/json")
}

/// A field of a body that may be left out: `null` is not the same, but a value or a mistake.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Percent-decoded; any bytes may come out, and nothing that only looks like an escape may go in.
fn decoded(text: &str) -> Result<Bytes, Problem> {
    let is_hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    if text.match_indices('%').any(|(at, _)| !is_hex(at + 1) || !is_hex(at + 2)) {
        return Err(Problem::bad("a % in the URL must be followed by two hexadecimal digits"));
    }
    Ok(Cow::<[u8]>::from(percent_decode_str(text)).into_owned().into())
}

/// The parameters of a query.
pub struct Params(Vec<(&'static str, Bytes)>);

impl Params {
    pub fn bytes(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Given and `true`, or `false` or not given.
    pub fn is(&self, name: &str) -> Result<bool, Problem> {
        match self.bytes(name).map(|value| &value[..]) {
            None | Some(b"false") => Ok(false),
            Some(b"true") => Ok(true),
            Some(_) => Err(Problem::bad(format!("'{name}' must be true or false"))),
        }
    }

    /// A whole number of at least `least`.
    pub fn integer(&self, name: &str, least: i64) -> Result<Option<i64>, Problem> {
        let Some(value) = self.bytes(name) else { return Ok(None) };
        let number = number::parse_i64(value).filter(|number| *number >= least);
        let number =
            number.ok_or_else(|| Problem::bad(format!("'{name}' must be a whole number from {least} up")))?;
        Ok(Some(number))
    }
}
