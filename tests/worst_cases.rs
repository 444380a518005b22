//! Requests that are as much work as their size allows. None of them may take more than about that: a server that scans a
//! list for each of its elements takes minutes for these, and the tests' patience with a reply ends first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::io::Write;
use std::thread;

use support::{Connection, Reply, Server, request};

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
    support::wait_for(|| is_alone(other.ask("CLIENT LIST")).then_some(())).expect("all have left");
}
