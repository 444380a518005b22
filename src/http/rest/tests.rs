//! Requests below `/redis`, as a client without an SDK would send them.

#![allow(clippy::unwrap_used)]

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;

use crate::command::tests::harness::type_in;
use crate::http::testing::Api;
use crate::limits::{HTTP_COMMANDS_MAX, HTTP_STREAMS_MAX};

const ANY: (&str, &str, u16, &str) =
    ("POST /redis", r#"["STORE","SET","0","VALUES","any"]"#, 200, r#"{"result":"OK"}"#);

#[test]
fn a_command_is_in_the_body_or_in_path_and_query() {
    Api::new().expect(&[
        ANY,
        ("POST /redis", r#"["SET","k","v"]"#, 200, r#"{"result":"OK"}"#),
        ("GET /redis/get/k", "", 200, r#"{"result":"v"}"#),
        ("HEAD /redis/get/k", "", 200, ""),
        ("POST /redis/get/k", "", 200, r#"{"result":"v"}"#),
        ("POST /redis/SET/k", "the body", 200, r#"{"result":"OK"}"#),
        ("PUT /redis/set/k?EX=100&GET", "1", 200, r#"{"result":"the body"}"#),
        ("POST /redis/persist/k", "", 200, r#"{"result":1}"#),
        ("POST /redis/set/a%2Fb%20c/%22?PX=100000&NX", "", 200, r#"{"result":"OK"}"#),
        ("GET /redis/get/a%2Fb%20c", "", 200, r#"{"result":"\""}"#),
        ("POST /redis/set/empty/", "", 200, r#"{"result":"OK"}"#),
        ("GET /redis/mget/k/missing/empty", "", 200, r#"{"result":["1",null,""]}"#),
        // names that have a meaning elsewhere in the API
        ("GET /redis/mget/a/b/record/link", "", 200, r#"{"result":[null,null,null,null]}"#),
        ("POST /redis", r#"["SETEX","n",100,1.50]"#, 200, r#"{"result":"OK"}"#),
        ("GET /redis/get/n", "", 200, r#"{"result":"1.50"}"#),
        ("GET /redis/pipeline", "", 405, ""),
    ]);
}

#[test]
fn commands_run_in_a_pipeline_and_in_a_transaction() {
    Api::new().expect(&[
        ANY,
        (
            "POST /redis/pipeline",
            r#"[["SET","a","x"],["INCR","a"],["NONSENSE"],["GET"],["GET","a"]]"#,
            200,
            r#"[{"result":"OK"},{"error":"ERR value is not an integer or out of range"},{"error":"ERR unknown command 'NONSENSE'"},{"error":"ERR wrong number of arguments for 'get' command"},{"result":"x"}]"#,
        ),
        ("POST /redis/pipeline", "[]", 200, "[]"),
        ("POST /redis/pipeline", r#"[["SELECT",1],["SET","a","1"],["GET","a"]]"#, 200, ""),
        ("GET /redis/get/a", "", 200, r#"{"result":"x"}"#),
        (
            "POST /redis/multi-exec",
            r#"[["SET","t",1],["INCRBY","t",2],["APPEND","a",1],["INCR","a"]]"#,
            200,
            r#"[{"result":"OK"},{"result":3},{"result":2},{"error":"ERR value is not an integer or out of range"}]"#,
        ),
        (
            "POST /redis/multi-exec",
            r#"[["SET","t",5],["NONSENSE"]]"#,
            400,
            r#"{"error":"ERR unknown command 'NONSENSE'"}"#,
        ),
        ("GET /redis/get/t", "", 200, r#"{"result":"3"}"#),
        ("POST /redis/multi-exec", r#"[["EVAL","return redis.call('INCR', KEYS[1])",1,"t"]]"#, 200, r#"[{"result":4}]"#),
        ("POST /redis", r#"["EVAL","return {1,{'a'},{err='E x'}}",0]"#, 200, r#"{"result":[1,["a"],"E x"]}"#),
    ]);
}

#[test]
fn the_path_may_name_a_store() {
    Api::new().expect(&[
        (
            "GET /redis/@orders/get/k",
            "",
            400,
            r#"{"error":"NOSTORE no store is named 'orders'; create it with STORE CREATE"}"#,
        ),
        ("POST /redis", r#"["STORE","CREATE","orders"]"#, 200, ""),
        ("POST /redis/@orders", r#"["SET","k",1]"#, 200, r#"{"result":"OK"}"#),
        ("GET /redis/@16/get/k", "", 200, r#"{"result":"1"}"#),
        (
            "POST /redis/@orders/pipeline",
            r#"[["GET","k"],["DBSIZE"]]"#,
            200,
            r#"[{"result":"1"},{"result":1}]"#,
        ),
        ("GET /redis/get/k", "", 200, r#"{"result":null}"#),
        ("GET /redis/@99/get/k", "", 400, r#"{"error":"ERR DB index is out of range"}"#),
    ]);
}

#[test]
fn what_is_no_command_is_refused_as_this_protocol_does() {
    let api = Api::new();
    let many = format!("[{}[\"PING\"]]", "[\"PING\"],".repeat(HTTP_COMMANDS_MAX));
    let (nested, list) =
        ("[".repeat(100_000), format!("[\"SET\",\"k\",{}1{}]", "[".repeat(1000), "]".repeat(1000)));
    api.expect(&[
        ("POST /redis", "", 400, ""),
        ("POST /redis", "{}", 400, ""),
        ("POST /redis", "[]", 400, ""),
        ("POST /redis", r#"["GET","k""#, 400, ""),
        ("POST /redis", r#"["SET","k",null]"#, 400, ""),
        ("POST /redis", r#"["SET","k",{"a":1}]"#, 400, ""),
        ("POST /redis", r#"[["PING"]]"#, 400, ""),
        ("POST /redis/pipeline", r#"["PING"]"#, 400, ""),
        ("POST /redis/pipeline", &many, 400, ""),
        ("POST /redis", &nested, 400, ""),
        ("POST /redis", &list, 400, ""),
        ("POST /redis", "[\"GET\",\"\\ud800\"]", 400, ""),
        (
            "GET /redis/get/%zz",
            "",
            400,
            r#"{"error":"ERR a % in the URL must be followed by two hexadecimal digits"}"#,
        ),
        ("GET /redis/get/k?x=%", "", 400, ""),
        ("GET /redis", "", 405, r#"{"error":"ERR this path does not take this method"}"#),
        ("DELETE /redis/get/k", "", 405, ""),
        ("GET /redisx", "", 404, ""),
    ]);
    for command in [
        r#"["AUTH","x"]"#,
        r#"["HELLO",3]"#,
        r#"["MULTI"]"#,
        r#"["WATCH","k"]"#,
        r#"["SUBSCRIBE","c"]"#,
        r#"["MONITOR"]"#,
        r#"["CLIENT","REPLY","OFF"]"#,
        r#"["QUIT"]"#,
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let told = runtime.block_on(api.run("POST /redis", command));
        assert_eq!(told.status, 400, "{command}");
        assert!(told.json()["error"].as_str().unwrap().contains("changes a connection"), "{command}");
    }
}

#[tokio::test]
async fn strings_are_in_base64_if_the_client_asks_for_it() {
    let api = Api::new();
    api.run("POST /redis", r#"["STORE","SET","0","VALUES","any"]"#).await;
    let ask = async |line, body| {
        let told = api.send(line, &[("upstash-encoding", "base64")], body).await;
        String::from_utf8(told.body.to_vec()).unwrap()
    };
    assert_eq!(ask("POST /redis", r#"["SET","k","é"]"#).await, r#"{"result":"OK"}"#);
    assert_eq!(
        ask("POST /redis/pipeline", r#"[["GET","k"],["PING"]]"#).await,
        r#"[{"result":"w6k="},{"result":"UE9ORw=="}]"#
    );
    assert_eq!(ask("GET /redis/incr/k", "").await, ask("GET /redis/incr/k", "").await);
    assert_eq!(
        ask("POST /redis/incr/k", "").await,
        r#"{"error":"ERR value is not an integer or out of range"}"#
    );
}

#[tokio::test]
async fn a_token_is_in_a_header_or_in_the_query_and_is_a_user() {
    let api = Api::new();
    for line in [
        "STORE SET 0 VALUES any",
        "ACL SETUSER reader on >pw ~open:* &news +@read +subscribe +psubscribe",
        "MSET open:1 shown hidden:1 secret",
    ] {
        type_in(&api.server, line);
    }
    api.server.acl.set_default_password(Some("pw"));
    let (admin, reader) = (STANDARD.encode(":pw"), STANDARD.encode("reader:pw"));
    for (path, status, answer) in [
        (format!("get/open:1?_token={admin}"), 200, r#"{"result":"shown"}"#),
        (format!("get/open:1?_token={}", reader.replace('=', "%3D")), 200, r#"{"result":"shown"}"#),
        ("get/open:1".to_owned(), 401, r#"{"error":"NOAUTH Authentication required."}"#),
        ("get/open:1?_token=x".to_owned(), 401, ""),
        (format!("get/open:1?_token={}", STANDARD.encode("reader:px")), 401, ""),
        (format!("get/hidden:1?_token={reader}"), 400, ""),
        (format!("set/open:1/x?_token={reader}"), 400, ""),
        // where a password is asked for, a GET may write
        (format!("set/open:2/x?_token={admin}&EX=9"), 200, r#"{"result":"OK"}"#),
        (format!("subscribe/olds?_token={reader}"), 400, ""),
        (format!("monitor?_token={reader}"), 400, ""),
    ] {
        let told = api.run(&format!("GET /redis/{path}"), "").await;
        let text = String::from_utf8_lossy(&told.body);
        assert_eq!(told.status, status, "{path}: {text}");
        assert!(answer.is_empty() || text == answer, "{path}: {text}");
        assert!(!text.contains("secret") && told.json().is_object(), "{path}: {text}");
    }
    let headers = [("authorization", &*format!("Bearer {admin}"))];
    let told = api.send("POST /redis/pipeline", &headers, r#"[["KEYS","*"]]"#).await;
    assert_eq!(told.json()[0]["result"].as_array().unwrap().len(), 3);
    let wrong = [("authorization", "Bearer x"), ("content-type", "text/plain")];
    assert_eq!(api.send("POST /redis", &wrong, "[\"PING\"]").await.status, 401);
    let form = [headers[0], ("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(api.send("POST /redis", &form, "[\"PING\"]").await.json()["result"], "PONG");
}

#[tokio::test]
async fn a_page_changes_nothing_on_a_server_without_a_password() {
    let api = Api::new();
    type_in(&api.server, "SET k 1");
    for line in [
        "set/k/2",
        "flushall",
        "eval/return 1/0",
        "config/set/databases/3",
        "shutdown",
        "script/flush",
        "script/load/return 1",
        "script/kill",
        "function/kill",
        "client/setname/x",
        "publish/a/b",
        "subscribe",
    ] {
        let told = api.run(&format!("GET /redis/{}", line.replace(' ', "%20")), "").await;
        assert_eq!(told.status, 400, "{line}");
    }
    for kind in
        ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "multipart/form-data; boundary=x"]
    {
        let told = api.send("POST /redis", &[("content-type", kind)], r#"["SET","k",2]"#).await;
        assert_eq!(told.status, 415, "{kind}");
    }
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(api.send("POST /redis", &foreign, r#"["SET","k",2]"#).await.status, 400);
    assert_eq!(api.run("GET /redis/get/k", "").await.json()["result"], "1");
}

/// A stream, as its client reads it.
struct Reading(Body);

impl Reading {
    async fn of(api: &Api, line: &str) -> Reading {
        let response = api.begin(line, &[], "").await;
        assert_eq!(response.status(), 200, "{line}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Reading(response.into_body())
    }

    /// What comes next; empty at the end.
    async fn next(&mut self) -> String {
        match self.0.frame().await {
            Some(frame) => String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap(),
            None => String::new(),
        }
    }
}

#[tokio::test]
async fn messages_come_as_events_until_the_client_leaves() {
    let api = Api::new();
    let mut channels = Reading::of(&api, "GET /redis/subscribe/news/olds").await;
    assert_eq!(channels.next().await, "data: subscribe,news,1\n\ndata: subscribe,olds,2\n\n");
    let mut patterns = Reading::of(&api, "POST /redis/psubscribe/new*").await;
    assert_eq!(patterns.next().await, "data: psubscribe,new*,1\n\n");
    type_in(&api.server, "PUBLISH news a,b");
    type_in(&api.server, "PUBLISH olds \"two\\nlines\"");
    assert_eq!(channels.next().await, "data: message,news,a,b\n\ndata: message,olds,two\ndata: lines\n\n");
    assert_eq!(patterns.next().await, "data: pmessage,new*,news,a,b\n\n");
    let mut monitor = Reading::of(&api, "POST /redis/monitor").await;
    assert_eq!(monitor.next().await, "data: \"OK\"\n\n");
    type_in(&api.server, "GET k");
    let line = monitor.next().await;
    assert!(line.starts_with("data: ") && line.ends_with(" \"GET\" \"k\"\n\n"), "{line}");
    drop((channels, patterns, monitor));
    assert_eq!(api.run("GET /redis/pubsub/numsub/news/olds", "").await.json()["result"][1], 0);
    assert_eq!(api.run("GET /redis/pubsub/numpat", "").await.json()["result"], 0);
    assert!(!api.server.push.monitors.are_any());
}

#[tokio::test]
async fn a_stream_ends_when_its_user_may_not_listen_any_more() {
    let api = Api::new();
    for line in ["ACL SETUSER ada on >pw &news +subscribe", "ACL SETUSER bob on >pw &news +subscribe"] {
        type_in(&api.server, line);
    }
    let open = async |user: &str| {
        let token = STANDARD.encode(format!("{user}:pw"));
        let mut reading = Reading::of(&api, &format!("GET /redis/subscribe/news?_token={token}")).await;
        assert_eq!(reading.next().await, "data: subscribe,news,1\n\n");
        reading
    };
    let (mut ada, mut bob) = (open("ada").await, open("bob").await);
    type_in(&api.server, "ACL SETUSER ada resetchannels");
    type_in(&api.server, "ACL DELUSER bob");
    type_in(&api.server, "PUBLISH news secret");
    assert_eq!((ada.next().await, bob.next().await), (String::new(), String::new()));
}

#[tokio::test]
async fn there_are_only_so_many_streams() {
    let api = Api::new();
    let mut streams = Vec::new();
    for _ in 0..HTTP_STREAMS_MAX {
        streams.push(Reading::of(&api, "GET /redis/subscribe/news").await);
    }
    let refused = api.run("GET /redis/subscribe/news", "").await;
    assert_eq!(refused.status, 503);
    assert!(refused.json()["error"].as_str().unwrap().contains("too many streams"));
    streams.pop();
    Reading::of(&api, "GET /redis/subscribe/news").await;
}
