//! The dashboard: pages for people. They are files in the binary, the same for everyone, and get what they show from
//! the API, as any client does.
//!
//! Their content security policy allows no other scripts than these files, and no loading from elsewhere, and no text
//! becomes markup: `require-trusted-types-for` makes the browser refuse it.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use xxhash_rust::xxh3::xxh3_64;

use crate::http::response::problem::Problem;

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        Asset { name: $name, kind: $kind, content: include_str!(concat!("dashboard/", $name)) }
    };
}

static PAGE: Asset = asset!("index.html", "text/html; charset=utf-8");

static ASSETS: &[Asset] = &[
    asset!("app.css", CSS),
    asset!("icon.svg", "image/svg+xml"),
    asset!("theme.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("address.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("pages.js", SCRIPT),
    asset!("parts.js", SCRIPT),
    asset!("changes.js", SCRIPT),
    asset!("compare.js", SCRIPT),
    asset!("copy.js", SCRIPT),
    asset!("tree.js", SCRIPT),
    asset!("search.js", SCRIPT),
    asset!("matching.js", SCRIPT),
    asset!("live.js", SCRIPT),
    asset!("columns.js", SCRIPT),
    asset!("listtools.js", SCRIPT),
    asset!("reader.js", SCRIPT),
    asset!("outline.js", SCRIPT),
    asset!("decode.js", SCRIPT),
    asset!("browse.css", CSS),
    asset!("rights.js", SCRIPT),
    asset!("dialog.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("exact.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("json.js", SCRIPT),
    asset!("editor.js", SCRIPT),
    asset!("login.js", SCRIPT),
    asset!("stores.js", SCRIPT),
    asset!("settings.js", SCRIPT),
    asset!("records.js", SCRIPT),
    asset!("record.js", SCRIPT),
    asset!("transfer.js", SCRIPT),
    asset!("activity.js", SCRIPT),
    asset!("chart.js", SCRIPT),
    asset!("slowlog.js", SCRIPT),
    asset!("clients.js", SCRIPT),
    asset!("server.css", CSS),
    asset!("backup.js", SCRIPT),
    asset!("command-line.js", SCRIPT),
    asset!("console.js", SCRIPT),
    asset!("disk.js", SCRIPT),
    asset!("points.js", SCRIPT),
    asset!("reply.js", SCRIPT),
    asset!("run.js", SCRIPT),
    asset!("server-settings.js", SCRIPT),
    asset!("user-rules.js", SCRIPT),
    asset!("users.js", SCRIPT),
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

pub async fn page(headers: HeaderMap) -> Response {
    PAGE.answer(&headers)
}

pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => asset.answer(&headers),
        None => Problem::new(StatusCode::NOT_FOUND, "ERR", "there is nothing at this path").into_response(),
    }
}

/// All files have one version, because they belong together: a browser never mixes those of two releases.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let all: String = std::iter::once(&PAGE).chain(ASSETS).map(|asset| asset.content).collect();
    // weak: the same content may be compressed
    format!("W/\"{:016x}\"", xxh3_64(all.as_bytes()))
});

impl Asset {
    fn answer(&self, asked: &HeaderMap) -> Response {
        let known = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
        // compared weakly, as RFC 9110 asks for here
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let is_known = known.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == opaque(&TAG));
        let mut response = if is_known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, self.kind)], self.content).into_response()
        };
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(&TAG) {
            headers.insert(header::ETAG, tag);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::Api;

    #[tokio::test]
    async fn pages_come_with_a_policy_and_only_once() {
        let api = Api::new();
        let told = api.run("GET /", "").await;
        assert_eq!((told.status, told.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(told.header("content-security-policy").contains("script-src 'self';"));
        let tag = told.header("etag").to_owned();
        let again = api.send("GET /", &[("if-none-match", &tag)], "").await;
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, &tag[..]));
        for (tags, status) in [(tag.trim_start_matches("W/"), 304), ("*", 304), ("\"x\"", 200)] {
            assert_eq!(api.send("GET /", &[("if-none-match", tags)], "").await.status, status, "{tags}");
        }
        assert_eq!(api.run("GET /ui/app.js", "").await.header("content-type"), SCRIPT);
        assert_eq!(api.run("GET /ui/nothing.js", "").await.status, 404);
        assert_eq!(api.run("GET /ui/..%2Fmod.rs", "").await.status, 404);
    }

    /// Every file that is requested exists, and every existing file is requested.
    #[test]
    fn all_files_are_embedded_and_used() {
        let sources: String = std::iter::once(&PAGE).chain(ASSETS).map(|asset| asset.content).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/dashboard");
        for file in std::fs::read_dir(folder).expect("a folder") {
            let name = file.expect("a file").file_name().into_string().expect("a name");
            assert!(name == PAGE.name || ASSETS.iter().any(|asset| asset.name == name), "{name}");
        }
        for asset in ASSETS {
            let is_named = |prefix| sources.contains(&format!("{prefix}{}\"", asset.name));
            assert!(is_named("./") || is_named("ui/"), "{}", asset.name);
        }
    }

    /// The policy forbids both, and a page that tried would be broken.
    #[test]
    fn nothing_is_inline_and_nothing_from_elsewhere() {
        assert!(!PAGE.content.contains("<style") && !PAGE.content.contains(" style="));
        assert!(!PAGE.content.contains("onclick") && !PAGE.content.contains("javascript:"));
        for asset in std::iter::once(&PAGE).chain(ASSETS) {
            let without_namespace = asset.content.replace("http://www.w3.org/2000/svg", "");
            assert!(!without_namespace.contains("http://") && !without_namespace.contains("https://"));
            assert!(!asset.content.contains("innerHTML"), "{}", asset.name);
        }
    }
}
