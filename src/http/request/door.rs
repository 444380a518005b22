//! Decides which requests are let in: checks credentials, and refuses requests that a web page makes a browser send.
//!
//! There are no cookies, so a page of another origin has no credentials to misuse. What remains is a server without a
//! password that a browser on its own machine or network can reach:
//!
//! * A page of another origin: browsers name it in `Origin`, and it is refused unless it is `http-cors-origin`'s.
//!   Bodies must be of a type that a form can't send (`ask`). For requests without `Origin` (images, frames, links),
//!   browsers say in `Sec-Fetch-Site` that the page is a foreign one.
//! * DNS rebinding: the page's own host name points to this server, so its requests are of one origin. While no password
//!   is asked for and `protected-mode` is on, `Host` must therefore be an address or `localhost`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::client::Client;
use crate::command::base::login;
use crate::command::{Server, Session, dispatch};
use crate::engine::clock;
use crate::error::Error;
use crate::http::response::problem::Problem;
use crate::resp::{Reply, Request};

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub address: SocketAddr,
    pub local_address: SocketAddr,
}

/// Authenticates a request.
pub fn enter(server: &Server, headers: &HeaderMap, peer: Option<Peer>) -> Result<Session, Problem> {
    let host = host(headers)?;
    refuse_other_origins(server, headers, host)?;
    let mut session = login::begin(server, Arc::new(client(server, peer)));
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (user, password) = value
            .to_str()
            .ok()
            .and_then(credentials)
            .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "WRONGPASS", UNREADABLE))?;
        authenticate(server, &mut session, user, password)?;
    }
    if login::is_stranger(server, &session) {
        return Err(Error::NoAuth.into());
    }
    let is_open = !server.acl.asks_for_password();
    if is_open && server.config.settings().protected_mode && !host.is_none_or(is_unmistakable) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "NOPERM", MISTAKABLE));
    }
    Ok(session)
}

const UNREADABLE: &str = "Authorization must be Basic or Bearer with the base64 of user:password";
const MISTAKABLE: &str = "without a password, this server answers only to an address or localhost as Host, since another \
                          name may be that of a web page; set a password, or protected-mode no";

/// The `Host` of the request; `None` if there is no browser or proxy at the other end.
fn host(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|host| host.to_str().map_err(|_| Problem::bad("Host is not ASCII")));
    if hosts.next().is_some() {
        return Err(Problem::bad("there is more than one Host"));
    }
    host.transpose()
}

fn refuse_other_origins(server: &Server, headers: &HeaderMap, host: Option<&str>) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return if is_of_foreign_page(headers) { Err(foreign_page()) } else { Ok(()) };
    };
    let origin = origin.to_str().unwrap_or_default();
    let settings = server.config.settings();
    let is_allowed = settings.http_cors_origin.is_some_and(|allowed| allowed.eq_ignore_ascii_case(origin));
    let of_origin = origin.split_once("://").map(|(_, authority)| authority);
    let is_own = of_origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host));
    if is_allowed || is_own {
        return Ok(());
    }
    Err(foreign_page())
}

/// Whether the browser says that a page of another origin caused this request: an image, a frame or a link, for which
/// it names no origin. The page sees no response, but it could start one search after another.
fn is_of_foreign_page(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| !["same-origin", "none"].iter().any(|own| site == own))
}

const FETCH_SITE: header::HeaderName = header::HeaderName::from_static("sec-fetch-site");

fn foreign_page() -> Problem {
    let detail = "requests from pages of other origins are refused; http-cors-origin can allow one";
    Problem::new(StatusCode::FORBIDDEN, "NOPERM", detail)
}

/// Whether no web page can have this host: an address, or `localhost`.
fn is_unmistakable(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let name = bracketed.unwrap_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name));
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// User and password. Empty users are the default one.
fn credentials(header: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") && !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let pair = STANDARD.decode(rest.trim()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some((pair[..colon].to_vec(), pair[colon + 1..].to_vec()))
}

fn authenticate(
    server: &Server,
    session: &mut Session,
    user: Vec<u8>,
    password: Vec<u8>,
) -> Result<(), Problem> {
    let user = if user.is_empty() { crate::acl::DEFAULT_USER.as_bytes().to_vec() } else { user };
    let args = vec![Bytes::from_static(b"AUTH"), user.into(), password.into()];
    match dispatch(server, session, Request { args }).reply {
        Some(Reply::Error(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

fn client(server: &Server, peer: Option<Peer>) -> Client {
    let (address, local) =
        peer.map_or_else(Default::default, |peer| (peer.address.to_string(), peer.local_address.to_string()));
    Client::new(server.clients.next_id(), address, local, clock::steady_ms())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::http::request::door::*;
    use crate::http::testing::Api;

    #[test]
    fn hosts_that_no_page_can_have() {
        for host in
            ["localhost", "LOCALHOST:8379", "127.0.0.1", "127.0.0.1:1", "[::1]:8379", "[::1]", "10.1.2.3"]
        {
            assert!(is_unmistakable(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8379", "127.0.0.1.evil.example", "", "localhost.evil:1"] {
            assert!(!is_unmistakable(host), "{host}");
        }
    }

    #[test]
    fn credentials_are_base64_of_user_and_password() {
        let pair =
            |user: &str, password: &str| Some((user.as_bytes().to_vec(), password.as_bytes().to_vec()));
        assert_eq!(credentials("Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(credentials("bearer OnB3"), pair("", "pw"));
        for bad in ["", "Basic", "Basic !", "Basic YWI=", "Digest YTpi", "Bearer"] {
            assert_eq!(credentials(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_password_is_asked_for_and_users_have_their_rules() {
        let api = Api::new();
        let line = "GET /api/v1/stores/0/keys";
        assert_eq!(api.run(line, "").await.status, 200);
        api.server.acl.set_default_password(Some("pw"));
        let refused = api.run(line, "").await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer realm=\"larder\""));
        for (authorization, status) in [
            ("Basic OnB3", 200),
            ("Bearer OnB3", 200),
            ("Bearer ZGVmYXVsdDpwdw==", 200),
            ("Bearer ZGVmYXVsdDpweA==", 401),
            ("Bearer nonsense!", 401),
            ("Digest OnB3", 401),
        ] {
            let told = api.send(line, &[("authorization", authorization)], "").await;
            assert_eq!(told.status, status, "{authorization}");
        }
    }

    #[tokio::test]
    async fn wrong_passwords_are_counted() {
        let api = Api::new();
        api.server.acl.set_default_password(Some("pw"));
        let peer =
            Peer { address: "10.0.0.1:1".parse().unwrap(), local_address: "10.0.0.2:2".parse().unwrap() };
        let enter = |authorization: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
            super::enter(&api.server, &headers, Some(peer)).map(drop)
        };
        for _ in 0..5 {
            assert!(api.server.guesses.delay("10.0.0.1:9", clock::steady_ms()).is_zero());
            assert!(enter("Basic Ong=").is_err());
        }
        assert!(!api.server.guesses.delay("10.0.0.1:9", clock::steady_ms()).is_zero());
        assert!(enter("Basic OnB3").is_ok());
    }

    #[tokio::test]
    async fn users_may_do_what_their_rules_allow() {
        let api = Api::new();
        let mut session = crate::command::tests::harness::session(&api.server);
        let rules = "ACL SETUSER reader on >pw ~a* +@read +set resetstores store=0";
        let args = rules.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        assert_eq!(dispatch(&api.server, &mut session, Request { args }).reply, Some(Reply::OK));
        let authorization = format!("Bearer {}", STANDARD.encode("reader:pw"));
        for (line, body, status) in [
            ("PUT /api/v1/stores/0/records/a", "1", 201),
            ("GET /api/v1/stores/0/records/a", "", 200),
            ("PUT /api/v1/stores/0/records/b", "1", 403),
            ("GET /api/v1/stores/0/records/b", "", 403),
            ("DELETE /api/v1/stores/0/records/a", "", 403),
            ("PUT /api/v1/stores/1/records/a", "1", 403),
            ("GET /api/v1/stores/1/keys", "", 403),
            ("GET /api/v1/stores/1/entries", "", 403),
            ("POST /api/v1/stores", "{\"name\": \"x\"}", 403),
            ("POST /api/v1/stores/0/clear", "{}", 403),
            ("GET /metrics", "", 403),
            ("GET /healthz", "", 200),
        ] {
            let told = api.send(line, &[("authorization", &authorization)], body).await;
            assert_eq!(told.status, status, "{line}: {:?}", told.body);
        }
    }

    /// Every route that returns keys or values that its caller did not name.
    #[tokio::test]
    async fn no_route_shows_what_a_user_may_not_read() {
        let api = Api::new();
        let admin = |line: &str| _ = crate::command::tests::harness::type_in(&api.server, line);
        for line in [
            "STORE CREATE hidden-store",
            "CONFIG SET slowlog-log-slower-than 0 max-keys 3",
            "MSET app:1 '\"shown\"' hidden:1 '\"hidden-value\"' wo:1 '\"hidden-value\"'",
            "ACL SETUSER reader on >pw ~app:* %W~wo:* +@all store=0 store=1",
        ] {
            admin(line);
        }
        let authorization = format!("Bearer {}", STANDARD.encode("reader:pw"));
        for (path, shown) in [
            ("stores", "\"records\":3"),
            ("stores/0/keys", "[\"app:1\",\"wo:1\"]"),
            ("stores/0/keys?cursor=0&limit=100", "[\"app:1\",\"wo:1\"]"),
            ("stores/0/entries", "\"app:1\""),
            ("stores/0/entries?cursor=0&preview=99", "\"app:1\""),
            ("stores/0/search?contains=d", "\"looked_at\":1,"),
            ("stores/0/search?contains=d&prefix=hidden", "\"looked_at\":0,"),
            ("stores/0/export", "\"app:1\""),
            ("stores/0/difference/1", "{\"key\":\"app:1\",\"difference\":\"only_here\"}],"),
            ("stores/0/links", "\"clients\""),
            ("slowlog", "... (6 more arguments)"),
            ("clients", "clients"),
            ("usage", "\"records\":3"),
            ("stats", "figures"),
            ("session", "reader"),
            ("../../metrics", "larder_records 3"),
        ] {
            let line = format!("GET /api/v1/{path}").replace("api/v1/../../", "");
            let told = api.send(&line, &[("authorization", &authorization)], "").await;
            let text = String::from_utf8_lossy(&told.body);
            assert_eq!(told.status, 200, "{line}: {text}");
            assert!(text.contains(shown) && !text.contains("hidden"), "{line}: {text}");
        }
        // the second page is about the other store
        let headers = [("authorization", &authorization[..])];
        let first = api.send("GET /api/v1/stores/1/difference/0", &headers, "").await.json();
        let cursor = first["cursor"].as_str().unwrap_or_default();
        let line = format!("GET /api/v1/stores/1/difference/0?cursor={cursor}");
        let text = String::from_utf8_lossy(&api.send(&line, &headers, "").await.body).into_owned();
        assert!(text.contains("{\"key\":\"app:1\",\"difference\":\"only_there\"}],"), "{text}");
        for line in [
            "GET /api/v1/stores/16/entries",
            "GET /api/v1/stores/16",
            "GET /api/v1/stores/0/records/hidden:1",
        ] {
            let told = api.send(line, &[("authorization", &authorization)], "").await;
            let text = String::from_utf8_lossy(&told.body);
            assert!(told.status == 403 && !text.contains("hidden"), "{line}: {text}");
        }
    }

    #[tokio::test]
    async fn pages_of_other_origins_and_rebound_names_are_refused() {
        let api = Api::new();
        let line = "GET /api/v1/stores";
        for (headers, status) in [
            (&[("host", "localhost:8379"), ("origin", "http://localhost:8379")][..], 200),
            (&[("host", "127.0.0.1:8379"), ("origin", "http://evil.example")], 403),
            (&[("host", "127.0.0.1:8379"), ("origin", "null")], 403),
            (&[("origin", "http://localhost")], 403),
            (&[("sec-fetch-site", "cross-site")], 403),
            (&[("sec-fetch-site", "same-site")], 403),
            (&[("sec-fetch-site", "same-origin")], 200),
            (&[("sec-fetch-site", "none")], 200),
            (&[("host", "evil.example"), ("origin", "http://evil.example")], 403),
            (&[("host", "evil.example")], 403),
            (&[("host", "127.0.0.1"), ("host", "evil.example")], 400),
        ] {
            assert_eq!(api.send(line, headers, "").await.status, status, "{headers:?}");
        }
        api.server.config.update(|settings| settings.http_cors_origin = Some("http://ui.example".into()));
        let allowed =
            [("host", "127.0.0.1"), ("origin", "http://ui.example"), ("sec-fetch-site", "cross-site")];
        assert_eq!(api.send(line, &allowed, "").await.status, 200);
        api.server.config.update(|settings| settings.protected_mode = false);
        assert_eq!(api.send(line, &[("host", "larder:8379")], "").await.status, 200);
    }
}
