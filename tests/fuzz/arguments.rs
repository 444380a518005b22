//! Every command through the gate, with words by chance: those of its syntax, edges of numbers, keys, nonsense.

use ::bytes::Bytes;
use larder::command::clients::Client;
use larder::command::{Server, Session, dispatch, table};
use larder::config::Config;
use larder::engine::{Engine, Fsync, Options, clock};
use larder::resp::{Protocol, Request};
use larder::store::Kind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::bytes::is_one_reply;
use super::fuzz;
use super::mutation::mutated;

/// Ends the server.
const NOT_SENT: &[&str] = &["shutdown"];

/// Whatever is asked, there is one reply, in either protocol, and the next request is answered.
#[test]
fn arguments() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { fsync: Fsync::No, default_kind: Kind::Any, ..Options::new(folder.path()) };
    let engine = Engine::open(options).unwrap();
    let server = Server::new(engine, Config::default(), clock::now_ms());
    fuzz("arguments", &vec(request(), 1..8), |requests| {
        let mut session = session(&server);
        for words in requests {
            let args = words.into_iter().map(Bytes::from).collect();
            if let Some(reply) = dispatch(&server, &mut session, Request { args }).reply {
                prop_assert!(is_one_reply(&reply, Protocol::Resp2), "RESP2: {reply:?}");
                prop_assert!(is_one_reply(&reply, Protocol::Resp3), "RESP3: {reply:?}");
            }
            if session.closing {
                break;
            }
        }
        server.clients.remove(session.client.id);
        Ok(())
    });
    server.engine.close().unwrap();
}

fn session(server: &Server) -> Session {
    let id = server.clients.next_id();
    let client = Client::new(id, format!("127.0.0.1:{id}"), "127.0.0.1:6379".into(), clock::now_ms());
    let client = std::sync::Arc::new(client);
    server.clients.add(client.clone());
    Session::new(client, true)
}

/// A command or subcommand, and up to eight words.
fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let all = table::all().filter(|spec| !NOT_SENT.contains(&spec.name));
    let names: Vec<(String, Vec<Vec<u8>>)> = all
        .flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
        .map(|spec| (spec.name.to_owned(), options(spec.syntax)))
        .collect();
    select(names).prop_flat_map(|(name, options)| {
        vec(word(options), 0..9).prop_map(move |words| {
            let names = name.split('|').map(|part| part.as_bytes().to_vec());
            names.chain(words).collect()
        })
    })
}

/// The words of a syntax that are typed as they are.
fn options(syntax: &str) -> Vec<Vec<u8>> {
    let words = syntax.split(|letter: char| " []<>|".contains(letter));
    let typed = words.filter(|word| !word.is_empty() && *word == word.to_uppercase() && *word != "...");
    let mut options: Vec<Vec<u8>> = typed.map(|word| word.as_bytes().to_vec()).collect();
    options.push(b"key".to_vec());
    options
}

fn word(options: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    const EDGES: &[&[u8]] = &[
        b"",
        b"0",
        b"1",
        b"-1",
        b"2",
        b"16",
        b"100",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"9223372036854775808",
        b"18446744073709551615",
        b"1.5",
        b"1e400",
        b"-inf",
        b"nan",
        b"1700000000000",
        b"*",
        b"[a-",
        b"string",
        b"orders",
        b"a:1",
        b"get",
        b"SET",
        b"{\"a\":[1,2]}",
        b"\xff\xfe",
        b"\0",
        b"line\r\nend",
    ];
    let edges: Vec<Vec<u8>> = EDGES.iter().map(|word| word.to_vec()).collect();
    let keys: Vec<Vec<u8>> = [&b"a"[..], b"b", b"c"].map(<[u8]>::to_vec).to_vec();
    prop_oneof![4 => select(options), 4 => select(keys), 4 => select(edges.clone()), 1 => mutated(edges)]
}
