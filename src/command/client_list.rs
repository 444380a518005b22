//! CLIENT LIST, INFO and KILL: choosing connections, and describing them or ending them.
//!
//! A connection is ended by raising its signal; its own task closes it.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use indexmap::IndexSet;

use super::client_tracking::redirects_to;
use super::clients::Client;
use super::push::channels::Kind;
use super::push::tracking::Options;
use super::server::Server;
use super::{Call, Plan, permission, reply};
use crate::engine::clock;
use crate::error::Error;
use crate::record::number;
use crate::resp::Reply;

pub fn list(call: &mut Call<'_>) -> Result<Plan, Error> {
    let clients = &call.server.clients;
    let chosen = match call.rest(2) {
        [] => clients.all(),
        [_, word] if call.is(2, "type") => {
            let wanted = Type::parse(word)?;
            clients.all().into_iter().filter(|client| Type::of(client) == wanted).collect()
        }
        [_, ids @ ..] if call.is(2, "id") && !ids.is_empty() => {
            let ids: Vec<i64> = ids
                .iter()
                .map(|id| number::parse_i64(id).ok_or(Error::other("ERR Invalid client ID")))
                .collect::<Result<_, _>>()?;
            // each once: a line is much longer than the number that asks for it
            let ids: IndexSet<i64> = ids.into_iter().collect();
            ids.into_iter().filter_map(|id| clients.get(u64::try_from(id).ok()?)).collect()
        }
        _ => return Err(Error::Syntax),
    };
    reply(describe(call, chosen.iter().map(|client| &**client)))
}

pub fn info(call: &mut Call<'_>) -> Result<Plan, Error> {
    reply(describe(call, std::iter::once(&*call.session.client)))
}

pub fn kill(call: &mut Call<'_>) -> Result<Plan, Error> {
    // the old form: with it one can kill oneself
    let address = match call.rest(2) {
        [address] => Some(address.clone()),
        _ => None,
    };
    let is_old_form = address.is_some();
    let filter = if is_old_form { Filter { address, ..Filter::default() } } else { Filter::parse(call)? };

    let mut killed = 0;
    for client in call.server.clients.all() {
        if !filter.admits(&client, clock::steady_ms()) {
            continue;
        }
        killed += 1;
        if client.id == call.session.client.id {
            // not before the reply is sent
            call.session.closing = true;
        } else {
            call.server.clients.kill(&client);
        }
    }
    match (is_old_form, killed) {
        (true, 0) => Err(Error::other("ERR No such client")),
        (true, _) => reply(Reply::OK),
        (false, _) => reply(Reply::Integer(killed)),
    }
}

/// The types of connection that Redis has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl Type {
    fn parse(word: &[u8]) -> Result<Type, Error> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Type::Normal),
            b"master" => Ok(Type::Master),
            b"replica" | b"slave" => Ok(Type::Replica),
            b"pubsub" => Ok(Type::PubSub),
            _ => {
                let word = String::from_utf8_lossy(word);
                Err(Error::other(format!("ERR Unknown client type '{word}'")))
            }
        }
    }

    /// No connection replicates.
    fn of(client: &Client) -> Type {
        if client.is_subscriber() { Type::PubSub } else { Type::Normal }
    }
}

/// Which connections CLIENT KILL means: those to which everything that is set applies.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<Type>,
    address: Option<Bytes>,
    local_address: Option<Bytes>,
    user: Option<String>,
    age_s_min: u64,
    spared: Option<u64>,
}

impl Filter {
    fn parse(call: &Call<'_>) -> Result<Filter, Error> {
        let me = call.session.client.id;
        let mut filter = Filter { spared: Some(me), ..Filter::default() };
        for pair in call.rest(2).chunks(2) {
            let [option, value] = pair else { return Err(Error::Syntax) };
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = number::parse_i64(value).filter(|id| *id > 0);
                    let id = id.ok_or(Error::other("ERR client-id should be greater than 0"))?;
                    filter.id = Some(id as u64);
                }
                b"maxage" => {
                    let age_s = number::parse_i64(value)
                        .ok_or(Error::other("ERR maxage is not an integer or out of range"))?;
                    if age_s <= 0 {
                        return Err(Error::other("ERR maxage should be greater than 0"));
                    }
                    filter.age_s_min = age_s as u64;
                }
                b"type" => filter.kind = Some(Type::parse(value)?),
                b"addr" => filter.address = Some(value.clone()),
                b"laddr" => filter.local_address = Some(value.clone()),
                b"user" => match call.server.acl.get(value) {
                    Some(account) => filter.user = Some(account.name().to_owned()),
                    None => {
                        let user = String::from_utf8_lossy(value);
                        return Err(Error::other(format!("ERR No such user '{user}'")));
                    }
                },
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.spared = Some(me),
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.spared = None,
                _ => return Err(Error::Syntax),
            }
        }
        Ok(filter)
    }

    fn admits(&self, client: &Client, steady_ms: u64) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.kind.is_none_or(|kind| kind == Type::of(client))
            && self.address.as_ref().is_none_or(|address| client.address == *address)
            && self.local_address.as_ref().is_none_or(|address| client.local_address == *address)
            && self.user.as_ref().is_none_or(|user| client.is_of(user))
            && steady_ms.saturating_sub(client.created_ms) / 1000 >= self.age_s_min
            && self.spared != Some(client.id)
    }
}

fn describe<'a>(call: &Call<'_>, clients: impl Iterator<Item = &'a Client>) -> Reply {
    let (mut lines, steady_ms) = (String::new(), clock::steady_ms());
    for client in clients {
        // writing to memory cannot fail
        let store = call.server.store_label(client.store());
        let store = Some(store).filter(|label| permission::may_use_store(call.session, label));
        if client.id == call.session.client.id {
            let bytes = call.args.iter().map(Bytes::len).sum();
            client.argument_bytes.store(bytes, Ordering::Relaxed);
        }
        let _ = write_line(&mut lines, client, call.server, store.as_deref(), steady_ms);
    }
    Reply::Verbatim(Bytes::from(lines))
}

/// What CLIENT INFO says of a connection, without the end of the line.
pub fn line(client: &Client, server: &Server, steady_ms: u64) -> String {
    let mut line = String::new();
    // writing to memory cannot fail
    let store = server.store_label(client.store());
    let _ = write_line(&mut line, client, server, Some(&store), steady_ms);
    line.truncate(line.trim_end().len());
    line
}

/// One line of CLIENT LIST: Redis's fields in its order, those for what we don't have at what Redis shows for nothing,
/// and at the end what the store is called, if it is given.
fn write_line(
    out: &mut String,
    client: &Client,
    server: &Server,
    store: Option<&str>,
    steady_ms: u64,
) -> std::fmt::Result {
    let seconds_since = |ms: u64| steady_ms.saturating_sub(ms) / 1000;
    let query_bytes = client.query_buffer.load(Ordering::Relaxed);
    let (messages, message_bytes) = client.mailbox.size();
    let output_bytes = client.output_buffer.load(Ordering::Relaxed) + message_bytes;
    let subscriptions = |kind: Kind| client.subscriptions[kind as usize].load(Ordering::Relaxed);
    let (redirect, letters) = server
        .push
        .tracking
        .with_options(client, |tracking| (redirects_to(tracking), letters(client, server, tracking)));
    write!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} watch={} \
         qbuf={query_bytes} qbuf-free={} argv-mem={} multi-mem={} rbs=0 rbp=0 obl=0 oll={messages} omem={output_bytes} tot-mem={} \
         events=r cmd={} user={} redir={} resp={} lib-name={} lib-ver={} io-thread=0 tot-net-in={} \
         tot-net-out={} tot-cmds={}",
        client.id,
        client.address,
        client.local_address,
        client.file_descriptor,
        client.name.lock(),
        seconds_since(client.created_ms),
        seconds_since(client.active_ms.load(Ordering::Relaxed)),
        letters,
        client.store(),
        subscriptions(Kind::Channel),
        subscriptions(Kind::Pattern),
        subscriptions(Kind::Shard),
        client.queued.load(Ordering::Relaxed),
        client.watched.load(Ordering::Relaxed),
        client.query_room.load(Ordering::Relaxed),
        client.argument_bytes.load(Ordering::Relaxed),
        client.session_bytes.load(Ordering::Relaxed),
        client.memory_bytes(),
        client.last_command(),
        client.user(),
        redirect,
        client.protocol.load(Ordering::Relaxed),
        client.library_name.lock(),
        client.library_version.lock(),
        client.bytes_in.load(Ordering::Relaxed),
        client.bytes_out.load(Ordering::Relaxed),
        client.commands.load(Ordering::Relaxed),
    )?;
    if let Some(label) = store {
        write!(out, " store={}", unspaced(label))?;
    }
    out.push('\n');
    Ok(())
}

/// The field `flags`.
fn letters(client: &Client, server: &Server, tracking: Option<&Options>) -> String {
    let letters: String = [
        ('O', server.push.monitors.has(client.id)),
        ('P', client.is_subscriber()),
        ('x', client.queued.load(Ordering::Relaxed) >= 0),
        ('b', client.held.load(Ordering::Relaxed)),
        ('t', tracking.is_some()),
        ('R', tracking.is_some_and(|options| options.is_broken)),
        ('B', tracking.is_some_and(|options| options.broadcast)),
        ('A', client.kill.is_raised()),
        ('U', client.unix),
        ('e', client.no_evict.load(Ordering::Relaxed)),
        ('T', client.no_touch.load(Ordering::Relaxed)),
    ]
    .into_iter()
    .filter_map(|(letter, applies)| applies.then_some(letter))
    .collect();
    if letters.is_empty() { "N".into() } else { letters }
}

/// The name of a store may have spaces inside; those, and `%` itself, are percent-encoded, for programs split the line.
fn unspaced(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for char in name.chars() {
        if char == '%' || char.is_whitespace() {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::command::testing::{Harness, session};

    fn text(reply: Reply) -> String {
        match reply {
            Reply::Verbatim(text) => String::from_utf8(text.to_vec()).unwrap(),
            other => panic!("not a text: {other:?}"),
        }
    }

    /// The ids in an answer of CLIENT LIST.
    fn ids(harness: &mut Harness, line: &str) -> Vec<u64> {
        let id = |line: &str| line.strip_prefix("id=")?.split(' ').next()?.parse().ok();
        text(harness.run(line)).lines().map(|line| id(line).expect(line)).collect()
    }

    #[test]
    fn the_line_of_a_client_has_the_fields_of_redis_in_their_order() {
        let mut harness = Harness::new();
        harness.server.config.update(|settings| settings.auto_create_stores = true);
        harness.expect(&[
            ("CLIENT SETNAME me", "OK"),
            ("CLIENT SETINFO lib-name lib", "OK"),
            ("CLIENT NO-TOUCH ON", "OK"),
            ("SELECT \"all orders\"", "OK"),
        ]);
        let line = text(harness.run("CLIENT INFO"));
        let line = line.strip_suffix('\n').unwrap();
        let fields: Vec<(&str, &str)> =
            line.split(' ').map(|field| field.split_once('=').expect(field)).collect();
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let expected = "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem \
                        multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver io-thread \
                        tot-net-in tot-net-out tot-cmds store";
        assert_eq!(names.join(" "), expected);
        for field in [
            ("id", "1"),
            ("addr", "127.0.0.1:1"),
            ("laddr", "127.0.0.1:6379"),
            ("name", "me"),
            ("flags", "T"),
            ("db", "16"),
            ("multi", "-1"),
            ("cmd", "client|info"),
            ("user", "default"),
            ("redir", "-1"),
            ("resp", "2"),
            ("lib-name", "lib"),
            ("lib-ver", ""),
            ("argv-mem", "10"),
            ("tot-cmds", "4"),
            ("store", "all%20orders"),
        ] {
            assert!(fields.contains(&field), "{field:?} in {line}");
        }
    }

    #[test]
    fn age_and_idle_are_seconds() {
        let mut line = String::new();
        let harness = Harness::new();
        let client = Client::new(7, "peer".into(), "here".into(), 10_000);
        client.active_ms.store(12_500, Ordering::Relaxed);
        write_line(&mut line, &client, &harness.server, None, 15_000).unwrap();
        assert!(line.contains(" age=5 idle=2 flags=N ") && line.contains(" cmd=NULL "), "{line}");
        assert!(!line.contains("store="), "not of a store that the reader may not know of: {line}");
    }

    #[test]
    fn lists_can_be_narrowed() {
        let mut harness = Harness::new();
        let _others = [session(&harness.server), session(&harness.server)];
        assert_eq!(ids(&mut harness, "CLIENT LIST"), [1, 2, 3]);
        assert_eq!(ids(&mut harness, "CLIENT LIST TYPE normal"), [1, 2, 3]);
        assert_eq!(ids(&mut harness, "CLIENT LIST TYPE Slave"), [0; 0]);
        assert_eq!(ids(&mut harness, "CLIENT LIST ID 3 -1 99 1"), [3, 1]);
        harness.expect(&[
            ("CLIENT LIST TYPE what", "-ERR Unknown client type 'what'"),
            ("CLIENT LIST ID 1 x", "-ERR Invalid client ID"),
            ("CLIENT LIST ID", "-ERR syntax error"),
            ("CLIENT LIST TYPE normal x", "-ERR syntax error"),
            ("CLIENT LIST what", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn kill_by_filters() {
        let mut harness = Harness::new();
        let others = [session(&harness.server), session(&harness.server), session(&harness.server)];
        let killed = |at: usize| others[at].client.kill.is_raised();
        harness.expect(&[
            ("CLIENT KILL ID 2 ADDR 127.0.0.1:3", "0"),
            ("CLIENT KILL ID 2 ADDR 127.0.0.1:2", "1"),
        ]);
        assert!(killed(0) && !killed(1) && !killed(2));
        assert_eq!(ids(&mut harness, "CLIENT LIST"), [1, 3, 4]);
        harness.expect(&[
            ("CLIENT KILL LADDR 127.0.0.1:1", "0"),
            ("CLIENT KILL TYPE pubsub", "0"),
            ("CLIENT KILL MAXAGE 1000", "0"),
            ("CLIENT KILL ID 1", "0"),
            ("CLIENT KILL USER default", "2"),
        ]);
        assert!(killed(1) && killed(2) && !harness.session.closing);
        harness.expect(&[("CLIENT KILL TYPE normal SKIPME no", "1")]);
        assert!(harness.session.closing, "oneself, after the reply");
        assert!(!harness.session.client.kill.is_raised());
    }

    #[test]
    fn kill_by_address() {
        let mut harness = Harness::new();
        let other = session(&harness.server);
        harness
            .expect(&[("CLIENT KILL 127.0.0.1:9", "-ERR No such client"), ("CLIENT KILL 127.0.0.1:2", "OK")]);
        assert!(other.client.kill.is_raised() && !harness.session.closing);
        harness.expect(&[("CLIENT KILL 127.0.0.1:1", "OK")]);
        assert!(harness.session.closing, "the old form kills oneself as well");
    }

    #[test]
    fn kill_says_what_is_wrong() {
        Harness::new().expect(&[
            ("CLIENT KILL", "-ERR wrong number of arguments for 'client|kill' command"),
            ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
            ("CLIENT KILL ID x", "-ERR client-id should be greater than 0"),
            ("CLIENT KILL MAXAGE x", "-ERR maxage is not an integer or out of range"),
            ("CLIENT KILL MAXAGE 0", "-ERR maxage should be greater than 0"),
            ("CLIENT KILL TYPE x", "-ERR Unknown client type 'x'"),
            ("CLIENT KILL USER x", "-ERR No such user 'x'"),
            ("CLIENT KILL SKIPME x", "-ERR syntax error"),
            ("CLIENT KILL ID 1 ADDR", "-ERR syntax error"),
            ("CLIENT KILL what x", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn another_connection_can_be_seen_and_named() {
        let mut harness = Harness::new();
        let mut other = session(&harness.server);
        harness.swap(&mut other);
        harness.expect(&[("CLIENT ID", "2"), ("CLIENT SETNAME second", "OK")]);
        harness.swap(&mut other);
        assert!(text(harness.run("CLIENT LIST ID 2")).contains(" name=second "));
    }
}
