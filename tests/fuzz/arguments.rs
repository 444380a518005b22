//! Every command through the gate, with words by chance: those of its syntax, edges of numbers, keys, nonsense.

use ::bytes::Bytes;
use larder::client::Client;
use larder::command::base::login;
use larder::command::{COMMANDS, Server, Session, dispatch};
use larder::config::Config;
use larder::engine::{Engine, Fsync, Options, clock};
use larder::resp::{Protocol, Request};
use larder::store::ValueKind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::bytes::is_readable;
use super::fuzz;
use super::mutation::mutated;

/// Ends the server; writes where chance says.
const NOT_SENT: &[&str] = &["shutdown", "backup"];

/// Whatever is asked, there is one reply, in either protocol, and the next request is answered.
#[test]
fn arguments() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { fsync: Fsync::No, default_kind: ValueKind::Any, ..Options::new(folder.path()) };
    let engine = Engine::open(options).unwrap();
    let server = Server::new(&COMMANDS, engine, Config::default(), clock::now_ms());
    fuzz("arguments", &vec(request(), 1..8), |requests| {
        let mut session = session(&server);
        for words in requests {
            if let Some(reply) = dispatch(&server, &mut session, Request { args: words }).reply {
                prop_assert!(is_readable(&reply, Protocol::Resp2), "RESP2: {reply:?}");
                prop_assert!(is_readable(&reply, Protocol::Resp3), "RESP3: {reply:?}");
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
    login::begin(server, client)
}

/// A command or subcommand, and up to eight words.
fn request() -> impl Strategy<Value = Vec<Bytes>> {
    let all = COMMANDS.all().filter(|spec| !NOT_SENT.contains(&spec.name));
    let names: Vec<(String, Vec<Bytes>)> = all
        .flat_map(|spec| spec.with_subcommands())
        .map(|spec| (spec.name.to_owned(), options(spec.syntax)))
        .collect();
    select(names).prop_flat_map(|(name, options)| {
        vec(word(options), 0..9).prop_map(move |words| {
            let names = name.split('|').map(|part| Bytes::copy_from_slice(part.as_bytes()));
            names.chain(words).collect()
        })
    })
}

/// The words of a syntax that are typed as they are.
fn options(syntax: &str) -> Vec<Bytes> {
    let words = syntax.split(|letter: char| " []<>|".contains(letter));
    let typed = words.filter(|word| !word.is_empty() && *word == word.to_uppercase() && *word != "...");
    let mut options: Vec<Bytes> = typed.map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    options.push(Bytes::from_static(b"key"));
    options
}

fn word(options: Vec<Bytes>) -> impl Strategy<Value = Bytes> {
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
    let edges: Vec<Bytes> = EDGES.iter().map(|word| Bytes::from_static(word)).collect();
    let keys = [&b"a"[..], b"b", b"c"].map(Bytes::from_static).to_vec();
    let changed = mutated(EDGES.iter().map(|word| word.to_vec()).collect());
    prop_oneof![4 => select(options), 4 => select(keys), 4 => select(edges), 1 => changed]
}
