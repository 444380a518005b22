//! Requests that are as much work as their size allows. None of them may take more than about that: a server that scans a
//! list for each of its elements takes minutes for these, and the tests' patience with a reply ends first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::io::Write;
use std::thread;

use support::{Connection, Reply, Server, exchange, larder_with_http, request, wait_for};

type Words = Vec<Vec<u8>>;

fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// A request of a few words and many more.
fn many(start: &str, more: impl IntoIterator<Item = Vec<u8>>) -> Words {
    words(start).into_iter().chain(more).collect()
}

fn names(prefix: &str, count: usize) -> impl Iterator<Item = Vec<u8>> + use<'_> {
    (0..count).map(move |at| format!("{prefix}{at:07}").into_bytes())
}

/// Sends requests together, and reads so many replies.
fn send(connection: &mut Connection, requests: &[Words], replies: usize) -> Vec<Reply> {
    let mut writer = connection.socket();
    let bytes: Vec<u8> = requests.iter().flat_map(|words| request(words)).collect();
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&bytes).unwrap());
        (0..replies).map(|_| connection.read()).collect()
    })
}

#[test]
fn lists_are_not_scanned_for_each_of_their_elements() {
    let server = Server::larder(&["--default-values", "any"]);
    let pairs = |count| names("k", count).flat_map(|name| [name, b"v".to_vec()]);
    let each = |start: &str, count: usize| -> Vec<Words> {
        names("n", count).map(|name| many(start, [name])).collect()
    };
    let watch = vec![many("WATCH", names("w", 60_000)); 2];
    let queued = {
        let mut requests = vec![words("MULTI")];
        requests.resize(200_001, words("GET k"));
        requests.extend([words("DISCARD")]);
        requests
    };
    let mixed = {
        // every other key is in LMDB only, the rest in memory
        let mut requests = vec![many("MSET", pairs(60_000)), words("SAVE")];
        let again = names("k", 60_000).step_by(2).flat_map(|name| [name, b"w".to_vec()]);
        requests.push(many("MSET", again));
        requests.extend([many("MGET", names("k", 60_000)), many("EXISTS", names("k", 60_000))]);
        requests.push(many("MSETNX", pairs(60_000)));
        requests.push(many("DEL", names("k", 60_000).chain(names("k", 60_000))));
        requests
    };
    let prefixes = names("p", 30_000).flat_map(|name| [b"PREFIX".to_vec(), name]);
    let tracking = vec![words("HELLO 3"), many("CLIENT TRACKING ON BCAST", prefixes)];
    let cases: Vec<(&str, Vec<Words>, usize)> = vec![
        ("WATCH of many keys, twice", watch, 2),
        ("many queued commands", queued, 200_002),
        ("keys in memory and on disk, and twice", mixed, 7),
        ("the same key over and over", vec![many("MGET", vec![b"k".to_vec(); 300_000])], 1),
        ("many channels", vec![many("SUBSCRIBE", names("c", 60_000)), words("UNSUBSCRIBE")], 120_000),
        ("many patterns", vec![many("PSUBSCRIBE", names("*x", 30_000)), words("PUNSUBSCRIBE")], 60_000),
        ("many prefixes", [tracking, vec![words("CLIENT TRACKING OFF")]].concat(), 3),
        (
            "prefixes one by one",
            [
                vec![words("HELLO 3")],
                each("CLIENT TRACKING ON BCAST PREFIX", 20_000),
                each("CLIENT CACHING", 20_000),
                vec![words("CLIENT TRACKINGINFO"), words("CLIENT LIST")],
            ]
            .concat(),
            40_003,
        ),
        (
            "names of commands and settings",
            vec![
                many("COMMAND DOCS", vec![b"json.set".to_vec(); 200_000]),
                many("COMMAND INFO", vec![b"json.set".to_vec(); 200_000]),
                many("CONFIG GET", vec![b"*".to_vec(); 200_000]),
                many("LATENCY HISTOGRAM", vec![b"client".to_vec(); 200_000]),
                many("CLIENT LIST ID", vec![b"1".to_vec(); 200_000]),
                many("CLIENT KILL", vec![vec![b"TYPE".to_vec(), b"master".to_vec()]; 100_000].concat()),
            ],
            6,
        ),
        (
            "rules of a user",
            vec![
                many("ACL SETUSER ada", names("~k", 60_000)),
                many("ACL SETUSER ada", names("&c", 60_000)),
                many("ACL SETUSER ada", names("+select|", 60_000)),
                many("ACL SETUSER ada", names(">", 60_000)),
                many("ACL SETUSER ada", vec![b"(+get)".to_vec(); 60_000]),
                words("ACL GETUSER ada"),
            ],
            6,
        ),
    ];
    for (name, requests, replies) in cases {
        let mut connection = server.connect();
        let replies = send(&mut connection, &requests, replies);
        println!("{name}: {:.60}", replies.last().unwrap().to_string());
    }
}

#[test]
fn writes_are_not_compared_with_every_prefix() {
    let server = Server::larder(&["--default-values", "any"]);
    let mut reader = server.connect();
    let prefixes = names("p", 30_000).flat_map(|name| [b"PREFIX".to_vec(), name]);
    send(&mut reader, &[words("HELLO 3"), many("CLIENT TRACKING ON BCAST", prefixes)], 2);
    let sets: Vec<Words> = names("p", 30_000).map(|name| many("SET", [name, b"v".to_vec()])).collect();
    let replies = send(&mut server.connect(), &sets, sets.len());
    assert!(replies.iter().all(|reply| *reply == Reply::ok()));
    assert!(matches!(reader.read(), Reply::Push(_)));
}

#[test]
fn long_patterns_and_names_are_refused_or_cheap() {
    let server = Server::larder(&["--default-values", "any"]);
    let long = |text: &str, bytes: usize| text.repeat(bytes / text.len()).into_bytes();
    let mut listener = server.connect();
    let refused = send(
        &mut listener,
        &[
            many("PSUBSCRIBE", [long("*a", 100_000)]),
            many("SUBSCRIBE", [long("a", 100_000)]),
            many("PUBLISH", [long("a", 100_000), b"x".to_vec()]),
            many("KEYS", [long("a", 100_000)]),
            many("SCAN 0 MATCH", [long("a", 100_000)]),
        ],
        5,
    );
    assert!(refused.iter().all(|reply| reply.is_error("ERR")), "{refused:?}");
    // 500 patterns that begin everywhere in the name, and nowhere end
    let patterns = names("b", 500).map(|name| [b"*", &long("a", 2_000)[..], &name, b"*"].concat());
    send(&mut listener, &[many("PSUBSCRIBE", patterns)], 500);
    let name = long("a", 4_000);
    let published = send(&mut server.connect(), &[many("PUBLISH", [name, b"x".to_vec()])], 1);
    assert_eq!(published, [Reply::Integer(0)]);
}

#[test]
fn a_long_search_ends_with_its_client() {
    let server = Server::larder(&["--default-values", "any"]);
    let mut other = server.connect();
    let keys = (0..10_000).flat_map(|at| [format!("{}{at}", "a".repeat(1_900)).into_bytes(), b"v".to_vec()]);
    send(&mut other, &[many("MSET", keys)], 1);
    // a part of 900 elements behind a star, which matches up to its last element everywhere
    let pattern = format!("*{}b*", "[ab]".repeat(900));
    for _ in 0..8 {
        let mut leaves = server.connect();
        let requests: Vec<u8> =
            (0..20).flat_map(|_| request(&[b"KEYS".to_vec(), pattern.clone().into_bytes()])).collect();
        leaves.send(&requests);
        drop(leaves);
    }
    let is_alone = |reply: Reply| reply.text().lines().count() == 1;
    wait_for(|| is_alone(other.ask("CLIENT LIST")).then_some(())).expect("all have left");
}

/// The most memory that the server has had at once, in bytes.
fn peak_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

const MB: usize = 1024 * 1024;

/// A text that does not compress to nothing, and is JSON.
fn long_text(bytes: usize) -> Vec<u8> {
    let digits = (0_u64..).flat_map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_string().into_bytes());
    [&b"\""[..], &digits.take(bytes).collect::<Vec<u8>>(), b"\""].concat()
}

/// To find out that a command is too long for a network thread can take longer than a connection's turn there.
#[test]
fn a_command_is_run_whose_look_up_takes_longer_than_a_turn() {
    let (mut server, _http) = larder_with_http(&["--io-threads", "1"]);
    let names: Vec<Vec<u8>> = (0..3_000).map(|number| format!("key:{number}").into_bytes()).collect();
    let value = long_text(2_000);
    let sets = names.iter().map(|name| many("SET", [name.clone(), value.clone()])).collect::<Vec<_>>();
    send(&mut server.connect(), &sets, sets.len());
    // then no record is in memory
    server.stop();
    server.start();
    let mut reader = server.connect();
    let mget = many("MGET", names.clone());
    // the second one waits behind the first
    let replies = send(&mut reader, &[mget, words("PING")], 2);
    assert_eq!(replies[0].elements().len(), names.len());
    assert!(replies[0].elements().iter().all(|reply| reply.bytes() == value));
    assert_eq!(replies[1], Reply::Simple("PONG".into()));
}

#[test]
fn a_reply_shares_the_values_that_it_repeats() {
    let (mut server, http) = larder_with_http(&["--io-threads", "1"]);
    let value = long_text(10 * MB);
    let set = many("SET b", [value.clone()]);
    assert_eq!(send(&mut server.connect(), &[set], 1), [Reply::ok()]);
    for is_cold in [false, true] {
        if is_cold {
            server.stop();
            server.start();
        }
        let before = server.resident_bytes();
        let mget = many("MGET", vec![b"b".to_vec(); 300]);
        let mut exec = vec![words("MULTI")];
        // a cold value is decompressed for each
        let gets = if is_cold { 40 } else { 300 };
        exec.resize(1 + gets, words("GET b"));
        exec.push(words("EXEC"));
        for requests in [vec![mget], exec] {
            let mut reader = server.connect();
            requests.iter().for_each(|words| reader.send(&request(words)));
            let mut other = server.connect();
            for at in 0..20 {
                assert_eq!(other.ask(&format!("SET other {at}")), Reply::ok());
            }
            let extra = server.resident_bytes().saturating_sub(before);
            assert!(extra < 800 * MB as u64, "{extra} bytes for {:?}", requests.len());
            // it ends with the client
            drop(reader);
            let is_alone = |reply: Reply| reply.text().lines().count() == 1;
            wait_for(|| is_alone(other.ask("CLIENT LIST")).then_some(())).expect("the other has left");
        }
        let mut reader = server.connect();
        let replies = reader.call(&many("MGET", vec![b"b".to_vec(); 5]));
        assert!(replies.elements().iter().all(|reply| reply.bytes() == value));
        if is_cold {
            let mut requests = vec![words("MULTI")];
            requests.resize(101, words("GET b"));
            requests.push(words("EXEC"));
            let replies = send(&mut reader, &requests, 102).pop().unwrap();
            assert!(!replies.elements()[0].is_error("ERR"), "there is room for some");
            assert!(replies.elements()[99].is_error("ERR the reply would take more than"), "and not for all");
        }
        let keys = vec!["\"b\""; 300].join(",");
        let body = format!("{{\"keys\":[{keys}]}}");
        let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json";
        let line = "POST /api/v1/stores/0/many/get HTTP/1.1";
        let answer =
            exchange(http, &format!("{line}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert!(answer.contains("bytes together, more than the limit of"), "{answer:.300}");
    }
    assert!(peak_bytes(&server) < 1_500 * MB as u64, "{}", peak_bytes(&server));
}

#[test]
fn what_one_client_holds_is_bounded_and_what_all_hold() {
    let server = Server::larder(&["--default-values", "any"]);
    let mut watcher = server.connect();
    assert_eq!(watcher.ask("CONFIG GET maxmemory-clients").elements()[1], Reply::bulk("2147483648"));
    assert_eq!(watcher.ask("CONFIG SET maxmemory-clients 30mb"), Reply::ok());
    assert_eq!(watcher.ask("CLIENT NO-EVICT on"), Reply::ok());
    let set = many("SET k", [vec![b'x'; MB]]);
    let mut greedy = server.connect();
    let mut requests = vec![words("MULTI")];
    requests.resize(41, set.clone());
    let sent: Vec<u8> = requests.iter().flat_map(|words| request(words)).collect();
    // it may be ended while it still sends
    let _ = greedy.try_send(&sent);
    let evicted = |text: String| text.contains("evicted_clients:1\r\n");
    wait_for(|| evicted(watcher.ask("INFO stats").text()).then_some(())).expect("it is disconnected");
    assert_eq!(watcher.ask("CONFIG SET maxmemory-clients 0"), Reply::ok());

    assert_eq!(watcher.call(&many("SET k", [vec![b'x'; 10 * MB]])), Reply::ok());
    let mut limit = |text| watcher.call(&["CONFIG", "SET", "client-output-buffer-limit", text]);
    assert_eq!(limit("normal 1mb 0 0"), Reply::ok());
    let mut reader = server.connect();
    assert_eq!(reader.ask("ECHO short"), Reply::bulk("short"));
    reader.send(b"GET k\r\n");
    assert!(reader.read_to_close().is_empty(), "ended at the hard limit");
    assert_eq!(limit("normal 0 1mb 1"), Reply::ok());
    let mut reader = server.connect();
    reader.send(b"GET k\r\n");
    let ended = |text: String| text.contains("client_output_buffer_limit_disconnections:2\r\n");
    wait_for(|| ended(watcher.ask("INFO stats").text()).then_some(())).expect("ended at the soft limit");
}

#[test]
fn a_long_pipeline_lets_others_have_their_turn() {
    let server = Server::larder(&["--io-threads", "1"]);
    let mut other = server.connect();
    // one that runs on the network's thread, and one that is large enough to run aside
    for bytes in [MB / 2, 5 * MB] {
        let document = [br#"{"a":1,"text":"#, &long_text(bytes)[..], br#","b":2}"#].concat();
        assert_eq!(other.call(&many("JSON.SET d $", [document])), Reply::ok());
        let mut busy = server.connect();
        let id = busy.ask("CLIENT ID").integer();
        let pipeline: Vec<u8> = (0..300).flat_map(|_| request(&words("JSON.GET d $.b"))).collect();
        busy.send(&pipeline);
        let line = wait_for(|| {
            let line = other.ask(&format!("CLIENT LIST ID {id}")).text();
            line.contains(" cmd=json.get ").then_some(line)
        });
        let line = line.expect("the pipeline has begun");
        let commands = line.split("tot-cmds=").nth(1).unwrap().split_whitespace().next().unwrap();
        assert!(commands.parse::<u32>().unwrap() < 300, "all ran before anybody else: {line}");
        for _ in 0..300 {
            assert_eq!(busy.read(), Reply::bulk("[2]"));
        }
    }
}

#[test]
fn what_can_only_be_refused_takes_no_memory() {
    let server = Server::larder(&[]);
    let mut connection = server.connect();
    assert_eq!(connection.ask("SET k 12"), Reply::ok());
    for line in [
        "SETRANGE k 536870911 1",
        "SETRANGE k 3 1",
        "SETRANGE none 536870911 1",
        "SETRANGE k 536870912 1",
        "SETRANGE k 9223372036854775807 1",
        "JSON.SET k $ 1 INDENT 536870911",
        "SCAN 0 COUNT 9223372036854775807 MATCH none*",
        "STORE ENTRIES 0 COUNT 9223372036854775807 MATCH none*",
        "GETRANGE none 0 536870911",
        "JSON.ARRINSERT k $ 9223372036854775807 1",
        "JSON.ARRTRIM k $ 0 9223372036854775807",
        "RESTORE new 0 \"\\x00\\xc3\\x01\\xbf\\xff\\xff\\xff\"",
        "LOLWUT VERSION 5 536870911 536870911 536870911",
        "ACL GENPASS 9223372036854775807",
        "SLOWLOG GET 9223372036854775807",
        "EVAL \"return 1\" 536870911",
        "MSETEX 536870911 a 1",
        "DEBUG JMAP",
    ] {
        for _ in 0..10 {
            connection.ask(line);
        }
        assert_eq!(connection.ask("GET k"), Reply::bulk("12"), "{line}");
        let peak = peak_bytes(&server);
        assert!(peak < 300 * MB as u64, "{line}: {peak} bytes");
    }
}
