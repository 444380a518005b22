//! Limits, default TTL, retention and links of a whole server: over both protocols, in log and metrics, and through kills.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::thread;
use std::time::Duration;

use support::{Connection, Random, Reply, Server, exchange, larder_with_http, request, wait_for};

/// What is answered to a request over HTTP, head and body.
fn ask(port: u16, line: &str, body: &str) -> String {
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json";
    exchange(port, &format!("{line} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A field of STORE INFO.
fn told(connection: &mut Connection, store: &str, field: &str) -> i64 {
    let info = connection.call(&["STORE", "INFO", store]);
    let at = info.elements().iter().position(|name| *name == Reply::bulk(field)).expect("the field");
    info.elements()[at + 1].integer()
}

#[test]
fn a_default_ttl_holds_over_both_protocols() {
    let (server, http) = larder_with_http(&[]);
    let mut connection = server.connect();
    assert!(ask(http, "PATCH /api/v1/stores/0", r#"{"default-ttl": "1d"}"#).starts_with("HTTP/1.1 200"));
    assert!(ask(http, "PUT /api/v1/stores/0/records/http", "1").starts_with("HTTP/1.1 201"));
    assert_eq!(connection.ask("SET resp 1"), Reply::ok());
    assert_eq!(connection.ask("SET own 1 EX 100"), Reply::ok());
    assert_eq!(connection.ask("JSON.SET document $ {}"), Reply::ok());
    assert_eq!(connection.ask("INCR counter").integer(), 1);
    for key in ["http", "resp", "document", "counter"] {
        let ttl = connection.ask(&format!("TTL {key}")).integer();
        assert!((100..=86_400).contains(&ttl), "{key}: {ttl}");
        assert!(ask(http, &format!("GET /api/v1/stores/0/records/{key}"), "").contains("larder-ttl-ms: "));
    }
    assert!(connection.ask("TTL own").integer() <= 100);
    assert_eq!(connection.ask("PERSIST http").integer(), 1);
    assert!(!ask(http, "GET /api/v1/stores/0/records/http", "").contains("larder-ttl-ms: "));
    assert_eq!(connection.ask("INCR http").integer(), 2);
    assert_eq!(connection.ask("TTL http").integer(), -1, "what is changed keeps what it had");
}

#[test]
fn a_default_ttl_ends_records() {
    let (server, _) = larder_with_http(&[]);
    let mut connection = server.connect();
    assert_eq!(connection.ask("STORE SET 0 default-ttl 200ms"), Reply::ok());
    assert_eq!(connection.ask("SET a 1"), Reply::ok());
    wait_for(|| connection.ask("GET a").is_null().then_some(())).expect("the record ends");
    wait_for(|| (told(&mut connection, "0", "records") == 0).then_some(())).expect("its space comes back");
}

/// What lies in LMDB and what lies in memory, from before the rule and from after it; nothing of other stores.
#[test]
fn retention_removes_what_has_not_changed() {
    let (mut server, http) = larder_with_http(&[]);
    let mut connection = server.connect();
    assert_eq!(connection.ask("STORE CREATE archive"), Reply::ok());
    for store in ["0", "archive"] {
        connection.call(&["SELECT", store]);
        assert_eq!(connection.ask("MSET a 1 b [2] later 3"), Reply::ok());
        assert_eq!(connection.ask("EXPIRE later 100000").integer(), 1);
    }
    server.restart();
    let mut connection = server.connect();
    assert_eq!(connection.ask("SET c 1"), Reply::ok());
    assert!(
        ask(http, "PATCH /api/v1/stores/0", r#"{"retention": "1500ms"}"#).contains(r#""retention_ms":1500"#)
    );
    assert_eq!(connection.ask("SET d 1"), Reply::ok());
    assert_eq!(connection.ask("TTL a").integer(), -1);
    wait_for(|| (connection.ask("DBSIZE").integer() == 0).then_some(())).expect("records go");
    // a kill makes them go later, not stay
    assert_eq!(connection.ask("SET e 1"), Reply::ok());
    server.kill_hard();
    server.start();
    let mut connection = server.connect();
    wait_for(|| (connection.ask("DBSIZE").integer() == 0).then_some(())).expect("records go after a kill");
    assert_eq!(told(&mut connection, "archive", "records"), 3);
    server.stop();
    let (sound, said) = server.check();
    assert!(sound, "{said}");
}

#[test]
fn a_limit_that_is_nearly_reached_is_told_everywhere() {
    let (server, http) = larder_with_http(&["--max-stores", "1"]);
    let mut connection = server.connect();
    assert_eq!(connection.ask("STORE CREATE orders max-keys 5"), Reply::ok());
    connection.ask("SELECT orders");
    assert_eq!(connection.ask("MSET a 1 b 1 c 1"), Reply::ok());
    let figures = ask(http, "GET /metrics", "");
    assert!(figures.contains("\nlarder_limits_nearly_reached 1\n"), "the one store is all there may be");
    assert_eq!(connection.ask("SET d 1"), Reply::ok());
    let figures = ask(http, "GET /metrics", "");
    let lines = [
        "larder_limits_nearly_reached 2",
        "larder_max_named_stores 1",
        "larder_store_records{store=\"orders\"} 4",
        "larder_store_max_records{store=\"orders\"} 5",
    ];
    for line in lines {
        assert!(figures.contains(&format!("\n{line}\n")), "{line}");
    }
    let info = connection.ask("INFO limits").text();
    assert!(info.contains("store=orders,limit=max-keys,used=4,max=5"), "{info}");
    let warnings = || server.log().matches("a limit is nearly reached").count();
    wait_for(|| (warnings() == 2).then_some(())).expect("a warning for each");
    // once there is room again, it is told again when it is used up
    assert_eq!(connection.ask("DEL d").integer(), 1);
    let keys = ["d", "e"];
    wait_for(|| {
        connection.ask("DEL d e");
        thread::sleep(Duration::from_millis(150));
        connection.call(&["MSET", keys[0], "1", keys[1], "1"]);
        thread::sleep(Duration::from_millis(150));
        (warnings() >= 3).then_some(())
    })
    .expect("a new warning");
}

/// Several writers at limits of keys and bytes, and kills: never more than a limit allows, and the counters are those
/// of the records that are there.
#[test]
fn limits_hold_through_kills() {
    const MAX_KEYS: i64 = 40;
    const MAX_BYTES: i64 = 8_000;
    let mut random = Random::from_environment();
    let mut server = Server::larder(&["--appendfsync", "everysec", "--memtable-memory", "1mb"]);
    let mut connection = server.connect();
    let create = format!("STORE CREATE orders max-keys {MAX_KEYS} max-bytes {MAX_BYTES}");
    assert_eq!(connection.ask(&create), Reply::ok());
    assert_eq!(connection.ask("STORE LINK orders nightly").integer(), 1);
    let mut refusals = 0;
    for _ in 0..8 {
        let port = server.port();
        thread::scope(|scope| {
            let seeds: Vec<u64> = (0..3).map(|_| random.next()).collect();
            let writers: Vec<_> =
                seeds.into_iter().map(|seed| scope.spawn(move || write(port, Random::new(seed)))).collect();
            thread::sleep(Duration::from_millis(100 + random.below(200) as u64));
            server.kill_hard();
            refusals += writers.into_iter().map(|writer| writer.join().unwrap()).sum::<usize>();
        });
        server.start();
        let mut connection = server.connect();
        connection.ask("SELECT orders");
        let keys = connection.ask("KEYS *").elements().len() as i64;
        assert_eq!(told(&mut connection, "orders", "records"), keys);
        assert!(keys <= MAX_KEYS, "{keys}");
        // behind a checkpoint, records count with what they take
        assert_eq!(connection.ask("SAVE"), Reply::ok());
        let bytes = told(&mut connection, "orders", "stored_bytes");
        assert!(bytes <= MAX_BYTES, "{bytes}");
        assert!(connection.ask("STORE DROP orders").is_error("INUSE"));
    }
    assert!(refusals > 0, "the limits were met");
    server.kill_hard();
    let (sound, said) = server.check();
    assert!(sound, "{said}");
}

/// The same where limits evict: writers are not refused, and what was evicted stays away.
#[test]
fn eviction_holds_limits_through_kills() {
    const MAX_KEYS: i64 = 40;
    const MAX_BYTES: i64 = 8_000;
    let mut random = Random::from_environment();
    let mut server = Server::larder(&["--appendfsync", "everysec", "--memtable-memory", "1mb"]);
    let mut connection = server.connect();
    let create = format!("STORE CREATE orders max-keys {MAX_KEYS} max-bytes {MAX_BYTES} evict lru");
    assert_eq!(connection.ask(&create), Reply::ok());
    for policy in ["lru", "lfu", "random"] {
        let port = server.port();
        assert_eq!(server.connect().ask(&format!("STORE SET orders evict {policy}")), Reply::ok());
        thread::scope(|scope| {
            let seeds: Vec<u64> = (0..3).map(|_| random.next()).collect();
            let writers: Vec<_> =
                seeds.into_iter().map(|seed| scope.spawn(move || write(port, Random::new(seed)))).collect();
            thread::sleep(Duration::from_millis(200 + random.below(200) as u64));
            assert!(server.connect().ask("INFO stats").text().contains("evicted_keys:"));
            server.kill_hard();
            let refusals: usize = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
            assert_eq!(refusals, 0, "{policy}");
        });
        server.start();
        let mut connection = server.connect();
        connection.ask("SELECT orders");
        let keys = connection.ask("KEYS *").elements().len() as i64;
        assert_eq!(told(&mut connection, "orders", "records"), keys, "{policy}");
        assert!((1..=MAX_KEYS).contains(&keys), "{policy}: {keys}");
        assert_eq!(connection.ask("SAVE"), Reply::ok());
        wait_for(|| (told(&mut connection, "orders", "stored_bytes") <= MAX_BYTES).then_some(()))
            .expect("estimates that were too low are made up for");
    }
    server.kill_hard();
    let (sound, said) = server.check();
    assert!(sound, "{said}");
}

/// The event of an eviction goes to those who may know of the key, and to nobody else.
#[test]
fn an_eviction_is_told_to_who_may_see_the_key() {
    let server = Server::larder(&["--notify-keyspace-events", "KEe"]);
    let mut administrator = server.connect();
    let rules = "ACL SETUSER guest on nopass ~open:* &* +@all";
    assert_eq!(administrator.ask(rules), Reply::ok());
    assert_eq!(administrator.ask("STORE SET 0 max-keys 1 evict lru"), Reply::ok());
    let mut guest = server.connect();
    assert_eq!(guest.call(&["AUTH", "guest", ""]), Reply::ok());
    guest.ask("PSUBSCRIBE __key*__:*");
    for key in ["secret:1", "open:1", "secret:2"] {
        assert_eq!(administrator.call(&["SET", key, "1"]), Reply::ok());
    }
    let mut message = || {
        let message = guest.read();
        format!("{} {}", message.elements()[2].text(), message.elements()[3].text())
    };
    let told = [message(), message()];
    assert_eq!(told, ["__keyspace@0__:open:1 evicted", "__keyevent@0__:evicted open:1"]);
    let log = administrator.ask("INFO stats").text();
    assert!(log.contains("evicted_keys:2\r\n"), "{log}");
    // no more than these
    assert_eq!(guest.ask("PING").elements().len(), 2);
}

#[test]
fn what_evicts_says_what_it_can_not_do_and_what_it_does() {
    let server = Server::larder(&["--maxmemory-policy", "volatile-lru"]);
    let mut connection = server.connect();
    for number in 0..300 {
        assert_eq!(connection.ask(&format!("SET key:{number} 1 EX 1000")), Reply::ok());
    }
    assert_eq!(connection.ask("SET stays 1"), Reply::ok());
    assert_eq!(connection.ask("CONFIG SET max-keys 1"), Reply::ok());
    server.wait_for_log("a limit is below what is there");
    server.wait_for_log("the limit is kept");
    assert_eq!(connection.ask("KEYS *").elements().len(), 1);
    assert!(
        connection.ask("SET other 1").is_error("OOM command not allowed when used memory > 'maxmemory'.")
    );
    server.wait_for_log("no record that expires is left");
    assert_eq!(connection.ask("SET stays 2"), Reply::ok());
    assert!(connection.ask("CONFIG SET maxmemory-policy allkeys-lrm").is_error("ERR CONFIG SET failed"));
    assert_eq!(connection.ask("CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lfu"), Reply::ok());
    assert_eq!(connection.ask("SET other 1"), Reply::ok());
    let memory = connection.ask("INFO memory").text();
    assert!(
        memory.contains("maxmemory:104857600\r\n") && memory.contains("maxmemory_human:100.00M\r\n"),
        "{memory}"
    );
    assert!(memory.contains("maxmemory_policy:allkeys-lfu\r\n"), "{memory}");
    let shown = connection.ask("CONFIG GET maxmemory max-bytes");
    let shown: Vec<&Reply> = shown.elements().iter().collect();
    assert_eq!(shown.iter().filter(|reply| ***reply == Reply::bulk("104857600")).count(), 2);
}

/// Writes until the server is gone; says how often a limit was in the way.
fn write(port: u16, mut random: Random) -> usize {
    let mut refusals = 0;
    let Ok(mut connection) = Connection::try_open(port) else { return refusals };
    let _ = connection.try_send(b"SELECT orders\r\n");
    let _ = connection.try_read();
    loop {
        let key = format!("key:{}", random.below(80));
        let value = format!("\"{}{}\"", random.next(), "abc ".repeat(random.below(200)));
        let command = match random.below(10) {
            0 => request(&["DEL", &key]),
            1 => request(&["JSON.STRAPPEND", &key, "$", r#"" and more""#]),
            2 => request(&["RENAME", &key, &format!("key:{}", random.below(80))]),
            3 => request(&["MSET", &key, &value, &format!("{key}:2"), &value]),
            4 if random.one_in(20) => b"FLUSHDB\r\n".to_vec(),
            5 if random.one_in(4) => b"BGSAVE\r\n".to_vec(),
            _ => request(&["SET", &key, &value]),
        };
        if connection.try_send(&command).is_err() {
            return refusals;
        }
        match connection.try_read() {
            Ok(reply) => refusals += usize::from(reply.is_error("QUOTA")),
            Err(_) => return refusals,
        }
    }
}
