//! The HTTP API of a whole server, as clients see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::io::{Read, Write};
use std::process::Command;
use std::thread;

use support::{Server, connect_http, exchange, installed, larder_with_http, redis_cli, run};

/// A server and its HTTP port.
struct Api {
    server: Server,
    port: u16,
}

struct Told {
    status: u16,
    head: String,
    body: String,
}

impl Api {
    fn start(flags: &[&str]) -> Api {
        let (server, port) = larder_with_http(flags);
        Api { server, port }
    }

    fn ask(&self, line: &str, headers: &[&str], body: &str) -> Told {
        ask(self.port, line, headers, body)
    }

    /// A request with JSON or nothing as its body.
    fn json(&self, line: &str, body: &str) -> Told {
        self.ask(line, &["Content-Type: application/json"], body)
    }

    fn redis(&self, words: &[&str]) -> String {
        run(redis_cli(&self.server).args(words)).trim_end().to_owned()
    }
}

/// One request on a connection of its own.
fn ask(port: u16, line: &str, headers: &[&str], body: &str) -> Told {
    let mut request = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    headers.iter().for_each(|header| request += &format!("{header}\r\n"));
    request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let answer = exchange(port, &request);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    Told { status, head: head.to_owned(), body: if is_chunked { joined(body) } else { body.to_owned() } }
}

/// The content of chunks.
fn joined(mut chunks: &str) -> String {
    let mut all = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        all += &rest[..size];
        chunks = &rest[(size + 2).min(rest.len())..];
    }
    all
}

#[test]
fn a_write_through_http_and_one_through_resp_are_the_same() {
    let mut api = Api::start(&[]);
    assert_eq!(api.json("POST /api/v1/stores", r#"{"name": "orders"}"#).status, 201);
    assert_eq!(api.json("PUT /api/v1/stores/orders/records/a?ttl=1000", r#"{"n": 1}"#).status, 201);
    assert_eq!(api.redis(&["-n", "16", "GET", "a"]), r#"{"n": 1}"#);
    assert_eq!(api.redis(&["-n", "16", "EXPIRE", "a", "2000", "GT"]), "1");
    assert_eq!(api.redis(&["-n", "16", "SET", "b", "[2]"]), "OK");
    api.server.kill_hard();
    api.server.start();
    assert_eq!(api.ask("GET /api/v1/stores/orders/records/b", &[], "").body, "[2]");
    let told = api.ask("GET /api/v1/stores/16/records/a", &[], "");
    assert_eq!((told.status, told.body.as_str()), (200, r#"{"n": 1}"#));
    let ttl_ms = told.head.lines().find_map(|line| line.strip_prefix("larder-ttl-ms: "));
    assert!(ttl_ms.and_then(|ttl_ms| ttl_ms.parse::<u64>().ok()).is_some_and(|ttl_ms| ttl_ms > 1_000_000));
}

#[test]
fn nothing_is_lost_between_clients_that_change_the_same_record() {
    const CLIENTS: usize = 8;
    const TIMES: usize = 20;
    let api = Api::start(&[]);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for _ in 0..TIMES {
                    let added = api.json("POST /api/v1/stores/0/records/n/increment", "{}");
                    assert_eq!(added.status, 200, "{}", added.body);
                    let appended = api.json("POST /api/v1/stores/0/records/list/append", "1");
                    assert_eq!(appended.status, 200, "{}", appended.body);
                }
            });
        }
    });
    assert_eq!(api.redis(&["GET", "n"]), (CLIENTS * TIMES).to_string());
    assert_eq!(api.redis(&["GET", "list"]).matches('1').count(), CLIENTS * TIMES);
}

#[test]
fn a_password_guards_everything_but_health() {
    let api = Api::start(&["--requirepass", "pw"]);
    for line in ["GET /api/v1/stores", "PUT /api/v1/stores/0/records/a", "GET /metrics"] {
        assert_eq!(api.json(line, "").status, 401, "{line}");
        assert_eq!(api.ask(line, &["Authorization: Bearer ZGVmYXVsdDpubw=="], "").status, 401, "{line}");
    }
    // base64 of `default:pw`
    assert_eq!(api.ask("GET /api/v1/stores", &["Authorization: Bearer ZGVmYXVsdDpwdw=="], "").status, 200);
    assert_eq!(api.ask("GET /healthz", &[], "").status, 200);
    assert_eq!(api.ask("GET /readyz", &[], "").status, 200);
}

#[test]
fn records_of_any_bytes_break_no_answer() {
    let api = Api::start(&["--default-values", "any"]);
    let mut connection = api.server.connect();
    connection.send(b"*3\r\n$3\r\nSET\r\n$2\r\n\xff\x00\r\n$3\r\n\xfe\r\n\r\n");
    connection.read();
    for what in ["entries", "entries?cursor=0", "keys", "export", "search?contains=%FE"] {
        let told = api.ask(&format!("GET /api/v1/stores/0/{what}"), &[], "");
        assert_eq!(told.status, 200, "{what}");
        let json: serde_json::Value = serde_json::from_str(&told.body).unwrap();
        let text = json.to_string();
        let key = if what == "export" { r#""key_base64":"/wA=""# } else { r#"{"base64":"/wA="}"# };
        assert!(text.contains(key), "{what}: {text}");
    }
}

#[test]
fn pages_in_browsers_get_what_http_cors_origin_says() {
    let api = Api::start(&["--http-cors-origin", "https://tools.example.com"]);
    let preflight = ["Origin: https://tools.example.com", "Access-Control-Request-Method: PUT"];
    let told = api.ask("OPTIONS /api/v1/stores/0/records/a", &preflight, "");
    assert!(told.head.contains("access-control-allow-origin: https://tools.example.com"), "{}", told.head);
    assert_eq!(api.ask("GET /api/v1/stores", &preflight[..1], "").status, 200);
    assert_eq!(api.ask("GET /api/v1/stores", &["Origin: https://evil.example.com"], "").status, 403);
}

#[test]
fn answers_are_compressed_for_who_takes_it() {
    let api = Api::start(&[]);
    for (coding, told) in [("br", "br"), ("gzip", "gzip"), ("gzip, br", "br"), ("zstd", "")] {
        // the body is none of UTF-8: only its head is asked for
        let accept = format!("Accept-Encoding: {coding}");
        let head = api.ask("HEAD /openapi.json", &[&accept], "").head;
        let coding = head.lines().find_map(|line| line.strip_prefix("content-encoding: "));
        assert_eq!(coding.unwrap_or_default(), told, "{head}");
    }
}

#[test]
fn what_is_no_http_ends_a_connection_and_nothing_else() {
    let api = Api::start(&[]);
    let headers = "a: b\r\n".repeat(1_000);
    let long = "x".repeat(1 << 20);
    let inputs = [
        "*1\r\n$4\r\nPING\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\n{headers}\r\n"),
        format!("GET / HTTP/1.1\r\na: {long}\r\n\r\n"),
        "PUT /api/v1/stores/0/records/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: -5\r\n\r\n1"
            .to_owned(),
        "PUT /api/v1/stores/0/records/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\nzz\r\n1"
            .to_owned(),
    ];
    for input in inputs {
        let mut stream = connect_http(api.port);
        // the server may answer and close before it has everything
        let _ = stream.write_all(input.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let shown = &input[..input.len().min(40)];
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{shown}: {answer}");
    }
    assert_eq!(api.ask("GET /api/v1/stores/0/records/a", &[], "").status, 404);
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let mut api = Api::start(&[]);
    let mut idle = connect_http(api.port);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_ne!(idle.read(&mut [0; 1024]).unwrap(), 0);
    let _silent = connect_http(api.port);
    api.server.stop();
}

#[test]
fn a_port_that_is_taken_is_an_orderly_refusal() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut server = Server::larder(&[]);
    server.stop();
    server.set_flags(&["--http-port", &port]);
    let said = server.start_in_vain();
    assert!(said.contains(&format!("can't listen on 127.0.0.1:{port}, http-port")), "{said}");
}

/// What the server says of its API, and what it answers: schemathesis makes requests of the one and looks at the other.
#[test]
fn the_api_is_as_its_openapi_file_says() {
    let api = Api::start(&[]);
    assert_eq!(api.json("PUT /api/v1/stores/0/records/user%3A1", "[1]").status, 201);
    let url = format!("http://127.0.0.1:{}", api.port);
    let mut command = Command::new(installed("openapi/bin/schemathesis"));
    command.args(["run", &format!("{url}/openapi.json"), "--url", &url]);
    command.args(["--max-examples", "25", "--seed", "1", "--phases", "examples,coverage,fuzzing"]);
    // goes on without end; tests/http_events.rs looks at what is in it
    command.args(["--exclude-path-regex", "/events$"]);
    command.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]);
    command.args(["--checks", "response_headers_conformance,response_schema_conformance"]);
    command.args(["--checks", "negative_data_rejection,missing_required_header,unsupported_method"]);
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    run(&mut command);
    assert_eq!(api.ask("GET /healthz", &[], "").status, 200);
}

#[test]
fn while_a_script_keeps_everybody_waiting_http_says_so_and_health_goes_on() {
    let (server, port) = larder_with_http(&["--busy-reply-threshold", "50"]);
    let get = |path: &str| exchange(port, &format!("GET {path} HTTP/1.0\r\n\r\n"));
    assert!(get("/metrics").contains("\nlarder_records "));
    let mut script = server.connect();
    script.send(&support::request(&["EVAL", "while true do end", "0"]));
    support::wait_for(|| get("/readyz").starts_with("HTTP/1.0 503").then_some(()))
        .expect("the server is busy");
    assert!(get("/readyz").contains("a script keeps everybody waiting"));
    assert!(get("/healthz").starts_with("HTTP/1.0 200"));
    // more than there are places for requests
    for _ in 0..40 {
        let told = get("/api/v1/stores/0/records/key");
        assert!(told.starts_with("HTTP/1.0 503") && told.contains("\"BUSY\""), "{told}");
    }
    let figures = get("/metrics");
    assert!(
        figures.starts_with("HTTP/1.0 200") && figures.contains("\nlarder_command_calls_total"),
        "{figures}"
    );
    assert!(!figures.contains("\nlarder_records "));
    assert_eq!(server.connect().ask("SCRIPT KILL"), support::Reply::ok());
    support::wait_for(|| get("/readyz").starts_with("HTTP/1.0 200").then_some(()))
        .expect("the server is ready");
    assert!(get("/api/v1/stores/0/records/key").starts_with("HTTP/1.0 404"));
    assert!(get("/metrics").contains("\nlarder_records "));
}

#[test]
fn connections_that_keep_all_places_do_not_keep_health_checks_out() {
    let (_server, port) = larder_with_http(&[]);
    let get = |path: &str| exchange(port, &format!("GET {path} HTTP/1.0\r\n\r\n"));
    let mut half_sent: Vec<_> = (0..600).map(|_| support::connect_http(port)).collect();
    for stream in &mut half_sent {
        // those that came first among the last may have been ended for the others
        let _ = stream.write_all(b"GET /api/v1/stores HTTP/1.1\r\nHost: local");
    }
    assert!(get("/healthz").starts_with("HTTP/1.0 200"));
    assert!(get("/readyz").starts_with("HTTP/1.0 200"));
    let told = get("/api/v1/stores");
    assert!(told.starts_with("HTTP/1.0 503") && told.contains("too many connections"), "{told}");
    // it was answered while they were there, not after their time was over
    let first = &half_sent[0];
    first.set_nonblocking(true).unwrap();
    let still_open = first.peek(&mut [0]).unwrap_err();
    assert_eq!(still_open.kind(), std::io::ErrorKind::WouldBlock);
    drop(half_sent);
    support::wait_for(|| get("/api/v1/stores").starts_with("HTTP/1.0 200").then_some(()))
        .expect("places are free");
}
