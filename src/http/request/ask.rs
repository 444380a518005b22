//! A request as handlers see it: authorized, with its path and query decoded to bytes, and its body still unread.

use std::borrow::Cow;
use std::marker::PhantomData;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::http::App;
use crate::http::request::door;
use crate::http::request::door::Peer;
use crate::http::request::gate;
use crate::http::request::gate::Gate;
use crate::http::response::problem::Problem;
use crate::limits::HTTP_BODY_BYTES_MAX;
use crate::record::{json, number};

/// The positions of store, key and a second store in a path: `/api/v1/stores/{store}/records/{key}`.
const STORE_SEGMENT: usize = 3;
const KIND_SEGMENT: usize = 4;
const KEY_SEGMENT: usize = 5;
/// Paths whose record, or workflow, is named in the query instead, since not every name can stand in a path: browsers and
/// proxies resolve `.` and `..`, and an empty segment is none.
const NAMED_IN_QUERY: [(&[u8], &str); 2] = [(b"record", "key"), (b"link", "workflow")];

/// An authorized request.
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
        let mut session = loop {
            gate::wait_for_script(&app.server).await?;
            // a script begins only once this thread has left the engine
            if let Some(_inside) = app.server.scripts.turnstile.enter(&app.slot) {
                break door::enter(&app.server, &parts.headers, peer)?;
            }
        };
        session.is_watching = is_watching(&parts.method, &parts.headers);
        let mut path = parts.uri.path().split('/').skip(1).map(decoded).collect::<Result<Vec<_>, _>>()?;
        let mut query = parts.uri.query().unwrap_or_default().to_owned();
        let kind = path.get(KIND_SEGMENT).filter(|_| path[0] == "api");
        if let Some((_, name)) =
            NAMED_IN_QUERY.iter().find(|(named, _)| kind.is_some_and(|kind| kind == named))
        {
            let key = take_parameter(&mut query, name)?;
            path.truncate(KEY_SEGMENT);
            path.push(key);
        }
        Ok(Ask {
            gate: Gate { server: app.server.clone(), session },
            headers: parts.headers,
            path,
            query,
            body,
        })
    }
}

/// Whether a page sends this request by itself, to show what the server is doing. Only reads count, so that nobody can
/// hide a change this way.
pub fn is_watching(method: &Method, headers: &HeaderMap) -> bool {
    const WATCHING: HeaderName = HeaderName::from_static("larder-watching");
    method == Method::GET && headers.get(WATCHING).is_some_and(|value| value == "true")
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

    /// The segments of the path.
    pub fn path(&self) -> &[Bytes] {
        &self.path
    }

    /// The names and values of the query as words, in their order. A name without a value is one word.
    pub fn query_words(&self) -> Result<Vec<Bytes>, Problem> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let words = pairs.flat_map(|pair| pair.splitn(2, '='));
        words.map(|word| decoded(&word.replace('+', " "))).collect()
    }

    /// The body, of any type.
    pub async fn bytes(self) -> Result<(Bytes, Gate), Problem> {
        self.collect().await
    }

    /// The query, which may have only these parameters.
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

    /// The body, which must be a JSON object of this shape, and the gate.
    pub async fn object<T: DeserializeOwned>(self) -> Result<(T, Gate), Problem> {
        let (Object(shape), gate) = self.json::<Object<T>>().await?;
        Ok((shape, gate))
    }

    /// The body, which must be JSON of this shape, and the gate.
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
        let shape = serde_json::from_slice(&body)
            .map_err(|error| Problem::bad(format!("the body: {}", plain(&error))))?;
        Ok((shape, gate))
    }

    /// The body as the value of a record: JSON or, for stores that take any bytes, anything.
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

    /// The body as lines of JSON, each of which may be invalid.
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

    /// The type of the body, without its parameters. HTML forms can't send the accepted types, so no page of another
    /// origin can write without a preflight request.
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

/// Something that is an object in JSON. What serde derives for a struct also takes an array of the fields' values.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Visit<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Object<T>, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Visit(PhantomData))
    }
}

/// What is wrong with a body, in terms of JSON.
fn plain(error: &serde_json::Error) -> String {
    let words = [
        ("invalid type: map", "invalid type: object"),
        ("invalid type: sequence", "invalid type: array"),
        ("invalid type: unit value", "invalid type: null"),
        ("expected u64", "expected a whole number from 0 up"),
        ("expected i64", "expected a whole number"),
        ("expected a sequence", "expected an array"),
        ("expected a map", "expected an object"),
    ];
    words.iter().fold(error.to_string(), |text, (rust, json)| text.replace(rust, json))
}

/// A field of a body that may be absent. `null` is not the same: it is a value or an error.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Takes the value of a parameter that has to be there once out of a query.
fn take_parameter(query: &mut String, name: &str) -> Result<Bytes, Problem> {
    let is_meant = |pair: &&str| pair.split_once('=').is_some_and(|(known, _)| known == name);
    let (meant, others): (Vec<&str>, Vec<&str>) =
        query.split('&').filter(|pair| !pair.is_empty()).partition(is_meant);
    let [pair] = meant[..] else {
        return Err(Problem::bad(format!("the parameter '{name}' must be there once")));
    };
    let value = decoded(&pair[name.len() + 1..].replace('+', " "))?;
    *query = others.join("&");
    Ok(value)
}

/// Percent-decoded. The result may be any bytes; invalid escapes are refused.
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

    /// Whether the parameter is given and `true`.
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

#[cfg(test)]
mod tests {
    use crate::http::testing::Api;

    /// Requests whose body has to be an object, and one that is right.
    const BODIES: [(&str, &str); 10] = [
        ("POST /api/v1/stores", r#"{"name": "new"}"#),
        ("PATCH /api/v1/stores/0", r#"{"max-keys": 1000}"#),
        ("POST /api/v1/stores/new/rename", r#"{"name": "newer"}"#),
        ("POST /api/v1/stores/0/links", r#"{"workflow": "w"}"#),
        ("POST /api/v1/stores/0/records/n/increment", r#"{"by": 1}"#),
        ("PUT /api/v1/stores/0/records/n/ttl", r#"{"ttl_ms": 100000}"#),
        ("POST /api/v1/stores/0/many/put", r#"{"records": [{"key": "a", "value": 1}], "ttl": 100}"#),
        ("POST /api/v1/stores/0/many/get", r#"{"keys": ["a", {"base64": "YQ=="}]}"#),
        ("POST /api/v1/stores/0/many/delete", r#"{"keys": ["x"]}"#),
        ("POST /api/v1/stores/0/clear", "{}"),
    ];

    /// What no message may contain: names from Rust, from the code, and of commands.
    const FOREIGN: [&str; 12] = [
        "struct", "enum", "u64", "i64", "f64", "tuple", "sequence", "map", "untagged", "Form", "STORE",
        "MSET",
    ];

    #[tokio::test]
    async fn a_body_is_the_object_that_it_should_be_or_is_refused_in_words_of_json() {
        let api = Api::new();
        api.run("PUT /api/v1/stores/0/records/n", "1").await;
        for (line, right) in BODIES {
            // the values of its fields in a row, as serde would take them, too
            let values =
                format!("[{}]", right.split_once(':').map_or("", |(_, rest)| rest.trim_end_matches('}')));
            let wrong =
                ["[]", "null", "1", "\"x\"", "true", &values, r#"{"what": 1}"#, "{\"", r#"{"name": 1}"#];
            let more = [
                r#"{"keys": [["YQ=="]]}"#,
                r#"{"keys": [{"base64": 1}]}"#,
                r#"{"keys": [1]}"#,
                r#"{"keys": {}}"#,
                r#"{"records": [["a", 1]]}"#,
                r#"{"records": [{"key": ["YQ=="], "value": 1}]}"#,
                r#"{"records": [{"key": "a", "value": 1}], "ttl": -1}"#,
                r#"{"records": [{"key": "a", "value": 1}], "nx": 1}"#,
                r#"{"ttl_ms": "x"}"#,
                r#"{"ttl_ms": 1.5}"#,
                r#"{"by": {}}"#,
            ];
            for body in wrong.iter().chain(&more) {
                let told = api.run(line, body).await;
                let detail = told.json()["detail"].as_str().unwrap_or_default().to_owned();
                assert!([400, 404, 422].contains(&told.status), "{line} {body}: {} {detail}", told.status);
                assert!(!FOREIGN.iter().any(|word| detail.contains(word)), "{line} {body}: {detail}");
            }
            assert_eq!(api.run("GET /api/v1/stores/0/records/n", "").await.status, 200, "{line}");
            let told = api.run(line, right).await;
            assert!(told.status < 300, "{line}: {}", told.status);
        }
    }

    #[test]
    fn errors_name_no_commands_of_the_other_protocol() {
        let api = Api::new();
        api.server.config.update(|settings| settings.max_keys_per_query = 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { panic!("no runtime") };
        for (line, body, status) in [
            ("PUT /api/v1/stores/0/records/a", "1", 201),
            ("PUT /api/v1/stores/0/records/b", "1", 201),
            ("GET /api/v1/stores/0/keys", "", 426),
            ("GET /api/v1/stores/none/keys", "", 404),
            ("PUT /api/v1/stores/0/records/a?ttl=9223372036854775807", "1", 400),
            ("PATCH /api/v1/stores/0", "{}", 400),
            ("PATCH /api/v1/stores/0", r#"{"max-keys": 1}"#, 200),
            ("PUT /api/v1/stores/0/records/c", "1", 507),
            ("POST /api/v1/stores", r#"{"name": "x"}"#, 201),
            ("POST /api/v1/stores/x/links", r#"{"workflow": "w"}"#, 200),
            ("DELETE /api/v1/stores/x", "", 409),
        ] {
            let told = runtime.block_on(api.run(line, body));
            let text = String::from_utf8_lossy(&told.body).into_owned();
            assert_eq!(told.status, status, "{line}: {text}");
            let names = ["SCAN", "STORE ", "CONFIG", "FORCE", "'set'", "command"];
            assert!(!names.iter().any(|name| text.contains(name)), "{line}: {text}");
        }
    }
}
