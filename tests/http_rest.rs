//! The REST protocol of the `@upstash/redis` SDK: the stock packages run against it, and a token leaves no trace.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::{exchange, hold, larder_with_http, node_script};

const PASSWORD: &str = "sesame";

#[test]
fn the_packages_of_upstash_run_unchanged() {
    let (mut server, port) = larder_with_http(&["--requirepass", PASSWORD]);
    let mut connection = server.connect();
    for line in [
        "AUTH sesame",
        "STORE SET 0 VALUES any",
        "STORE CREATE orders",
        "ACL SETUSER reader on >look ~* &* +@read",
    ] {
        assert!(!connection.ask(line).is_error(""), "{line}");
    }
    let mut command = node_script("upstash.mjs", &server);
    command.env("LARDER_REST_URL", format!("http://127.0.0.1:{port}/redis"));
    command.env("LARDER_REST_TOKEN", STANDARD.encode(format!(":{PASSWORD}")));
    command.env("LARDER_REST_READER", STANDARD.encode("reader:look"));
    hold(command, &mut server);
}

#[test]
fn a_token_in_a_url_is_seen_nowhere() {
    let (server, port) = larder_with_http(&["--requirepass", PASSWORD, "--loglevel", "trace"]);
    let mut connection = server.connect();
    connection.ask("AUTH sesame");
    connection.ask("CONFIG SET slowlog-log-slower-than 0");
    let (right, wrong) = (STANDARD.encode(format!(":{PASSWORD}")), STANDARD.encode(":guess-of-a-stranger"));
    for (token, status) in [(&right, 200), (&wrong, 401)] {
        let answer = exchange(
            port,
            &format!(
                "GET /redis/set/k/1?EX=100&_token={token} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            ),
        );
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && !answer.contains(token.as_str()),
            "{answer}"
        );
    }
    let slow = connection.ask("SLOWLOG GET 100").to_string();
    let acl = connection.ask("ACL LOG").to_string();
    assert!(slow.contains("EX") && acl.contains("AUTH"), "{slow}\n{acl}");
    for seen in [server.log(), slow, acl] {
        for secret in [&right, &wrong, PASSWORD, "guess-of-a-stranger", "_token"] {
            assert!(!seen.contains(secret), "{secret}: {seen}");
        }
    }
}
