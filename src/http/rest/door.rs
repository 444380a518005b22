//! What is different about requests below `/redis`: where the token may be, and the form of errors.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;

use super::answer::error_json;
use crate::http::response::problem::Line;

const TOKEN: &str = "_token=";

/// Whether a path belongs to this protocol.
pub fn is_below(path: &str) -> bool {
    path.strip_prefix("/redis").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Takes the token out of the query, so that nothing else sees it there, and gives errors the form of this protocol.
pub async fn translate(mut request: Request, next: Next) -> Response {
    if !is_below(request.uri().path()) {
        return next.run(request).await;
    }
    take_token(&mut request);
    let mut response = next.run(request).await;
    let Some(Line(line)) = response.extensions_mut().remove() else { return response };
    *response.status_mut() = status(response.status());
    *response.body_mut() = Body::from(error_json(&line));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.remove(header::CONTENT_LENGTH);
    response
}

/// This protocol has few kinds of errors: whatever is wrong with a command is a 400.
fn status(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => status,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn take_token(request: &mut Request) {
    let Some(query) = request.uri().query() else { return };
    let (tokens, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with(TOKEN));
    let Some(token) = tokens.first().map(|token| &token[TOKEN.len()..]) else { return };
    let token = percent_decode_str(token).collect::<Vec<u8>>();
    // one that can't be a header can't be a token
    let token = HeaderValue::from_bytes(&[b"Bearer ", &token[..]].concat())
        .unwrap_or(HeaderValue::from_static("Bearer"));
    let path = request.uri().path().to_owned();
    let target = if others.is_empty() { path.clone() } else { format!("{path}?{}", others.join("&")) };
    *request.uri_mut() = target.parse().or_else(|_| path.parse()).unwrap_or(Uri::from_static("/redis"));
    request.headers_mut().entry(header::AUTHORIZATION).or_insert(token);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_becomes_a_header_and_leaves_the_query() {
        for (uri, expected, token) in [
            ("/redis/get/k?_token=YTpi", "/redis/get/k", "Bearer YTpi"),
            ("/redis/set/k?EX=1&_token=YTpi%3D&NX&_token=x", "/redis/set/k?EX=1&NX", "Bearer YTpi="),
            ("/redis/get/%2Fk?_token=%0A", "/redis/get/%2Fk", "Bearer"),
            ("/redis/get/k?x_token=1", "/redis/get/k?x_token=1", ""),
        ] {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = uri.parse().unwrap_or_default();
            take_token(&mut request);
            let header =
                request.headers().get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
            assert_eq!((request.uri().to_string().as_str(), header), (expected, token.as_bytes()));
        }
    }
}
