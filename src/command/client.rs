//! CLIENT: what a connection tells of itself, and what it can see of the others and do to them.
//!
//! Who is connected stands in [`clients`](super::clients). Killing and pausing only leave a mark there; the tasks of the
//! connections concerned heed it.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::clients::{Client, DEFAULT_USER, Pause};
use super::server::Server;
use super::session::Replies;
use super::{Call, Flags, Group, Plan, Spec, reply, table};
use crate::error::Error;
use crate::record::number;
use crate::resp::Reply;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "client",
    summary: "Commands about client connections",
    group: Group::Connection,
    since: "2.4.0",
    complexity: "Depends on the subcommand",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Spec::DEFAULT
}];

const OWN: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);
const OTHERS: Flags = OWN.union(Flags::ADMIN);

const CLIENT: Spec = Spec { group: Group::Connection, flags: OWN, arity: 2, ..Spec::DEFAULT };

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "client|getname",
        summary: "Returns the name of the connection",
        since: "2.6.9",
        plan: |call| {
            let name = call.session.client.name.lock().clone();
            reply(if name.is_empty() { Reply::Null } else { Reply::text(name) })
        },
        ..CLIENT
    },
    Spec {
        name: "client|getredir",
        summary: "Returns -1: invalidation messages of the connection go nowhere, as there is no client-side caching",
        since: "6.0.0",
        plan: |_| reply(Reply::Integer(NO_REDIRECTION)),
        ..CLIENT
    },
    Spec {
        name: "client|help",
        summary: "Lists the subcommands",
        since: "5.0.0",
        flags: Flags::LOADING.union(Flags::STALE),
        plan: table::help,
        ..CLIENT
    },
    Spec {
        name: "client|id",
        summary: "Returns the number of the connection, which is not used again while the server runs",
        since: "5.0.0",
        plan: |call| reply(Reply::Integer(call.session.client.id as i64)),
        ..CLIENT
    },
    Spec {
        name: "client|info",
        summary: "Returns the line of this connection in CLIENT LIST",
        since: "6.2.0",
        plan: |call| {
            let lines = describe(call, std::iter::once(&*call.session.client));
            reply(lines)
        },
        ..CLIENT
    },
    Spec {
        name: "client|kill",
        syntax: "<ip:port | [ID client-id] [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [USER username] [ADDR ip:port] \
                 [LADDR ip:port] [SKIPME <YES | NO>] [MAXAGE seconds]>",
        summary: "Closes connections",
        since: "2.4.0",
        complexity: "O(N), where N is the number of connections",
        arity: -3,
        flags: OTHERS,
        plan: kill,
        ..CLIENT
    },
    Spec {
        name: "client|list",
        syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB> | ID client-id [client-id ...]]",
        summary: "Lists the connections, one line each",
        since: "2.4.0",
        complexity: "O(N), where N is the number of connections",
        arity: -2,
        flags: OTHERS,
        plan: list,
        ..CLIENT
    },
    Spec {
        name: "client|no-evict",
        syntax: "<ON | OFF>",
        summary: "Marks the connection as one not to be evicted (here none ever is)",
        since: "7.0.0",
        arity: 3,
        flags: OTHERS,
        plan: |call| switch(call, &call.session.client.no_evict),
        ..CLIENT
    },
    Spec {
        name: "client|no-touch",
        syntax: "<ON | OFF>",
        summary: "Marks the connection as one that leaves access times alone (here all do)",
        since: "7.2.0",
        arity: 3,
        plan: |call| switch(call, &call.session.client.no_touch),
        ..CLIENT
    },
    Spec {
        name: "client|pause",
        syntax: "timeout [WRITE | ALL]",
        summary: "Lets commands, or just those that write, wait for so many milliseconds",
        since: "3.0.0",
        arity: -3,
        flags: OTHERS,
        plan: pause,
        ..CLIENT
    },
    Spec {
        name: "client|reply",
        syntax: "<ON | OFF | SKIP>",
        summary: "Tells which replies the connection wants: all, none, or not the next one",
        since: "3.2.0",
        arity: 3,
        plan: choose_replies,
        ..CLIENT
    },
    Spec {
        name: "client|setinfo",
        syntax: "<LIB-NAME libname | LIB-VER libver>",
        summary: "Tells which library the client uses",
        since: "7.2.0",
        arity: 4,
        plan: set_info,
        ..CLIENT
    },
    Spec {
        name: "client|setname",
        syntax: "connection-name",
        summary: "Gives the connection a name, or takes it away if that is empty",
        since: "2.6.9",
        arity: 3,
        plan: |call| {
            check_name(call.arg(2))?.clone_into(&mut call.session.client.name.lock());
            reply(Reply::OK)
        },
        ..CLIENT
    },
    Spec {
        name: "client|trackinginfo",
        summary: "Tells that client-side caching is off",
        since: "6.2.0",
        plan: |_| reply(tracking_info()),
        ..CLIENT
    },
    Spec {
        name: "client|unblock",
        syntax: "client-id [TIMEOUT | ERROR]",
        summary: "Returns 0: no command blocks its connection, so none can be unblocked",
        since: "5.0.0",
        arity: -3,
        flags: OTHERS,
        plan: unblock,
        ..CLIENT
    },
    Spec {
        name: "client|unpause",
        summary: "Ends CLIENT PAUSE",
        since: "6.2.0",
        complexity: "O(N), where N is the number of connections that wait",
        flags: OTHERS,
        plan: |call| {
            call.server.clients.unpause();
            reply(Reply::OK)
        },
        ..CLIENT
    },
];

/// What CLIENT GETREDIR and TRACKINGINFO answer while tracking is off.
const NO_REDIRECTION: i64 = -1;

/// Checks a name for a connection; an empty one takes the name away.
pub fn check_name(name: &[u8]) -> Result<&str, Error> {
    check_attribute(name)
        .ok_or(Error::other("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// What is shown in CLIENT LIST must not break its lines up: printable ASCII, no spaces.
fn check_attribute(value: &[u8]) -> Option<&str> {
    if value.iter().all(u8::is_ascii_graphic) { std::str::from_utf8(value).ok() } else { None }
}

fn set_info(call: &mut Call<'_>) -> Result<Plan, Error> {
    let client = &call.session.client;
    let target = if call.is(2, "lib-name") {
        &client.library_name
    } else if call.is(2, "lib-ver") {
        &client.library_version
    } else {
        return Err(Error::other(format!("ERR Unrecognized option '{}'", call.text(2))));
    };
    let Some(value) = check_attribute(call.arg(3)) else {
        let option = call.text(2);
        return Err(Error::other(format!(
            "ERR {option} cannot contain spaces, newlines or special characters."
        )));
    };
    value.clone_into(&mut target.lock());
    reply(Reply::OK)
}

fn switch(call: &Call<'_>, flag: &AtomicBool) -> Result<Plan, Error> {
    let on = if call.is(2, "on") {
        true
    } else if call.is(2, "off") {
        false
    } else {
        return Err(Error::Syntax);
    };
    flag.store(on, Ordering::Relaxed);
    reply(Reply::OK)
}

fn choose_replies(call: &mut Call<'_>) -> Result<Plan, Error> {
    let replies = &mut call.session.replies;
    match call.args[2].to_ascii_lowercase().as_slice() {
        b"on" => *replies = Replies::On,
        b"off" => *replies = Replies::Off,
        b"skip" if *replies == Replies::Off => {}
        b"skip" => *replies = Replies::SkipNext,
        _ => return Err(Error::Syntax),
    }
    reply(Reply::OK)
}

fn pause(call: &mut Call<'_>) -> Result<Plan, Error> {
    let writes_only = match call.rest(3) {
        [] => false,
        [_] if call.is(3, "write") => true,
        [_] if call.is(3, "all") => false,
        [_] => return Err(Error::other("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(wrong_subcommand(call)),
    };
    let until_ms = match number::parse_i64(call.arg(2)) {
        None => return Err(Error::other("ERR timeout is not an integer or out of range")),
        Some(..0) => return Err(Error::other("ERR timeout is negative")),
        Some(0) => 0,
        Some(timeout_ms @ 1..) => {
            (call.now_ms as i64).checked_add(timeout_ms).ok_or(Error::other("ERR timeout is out of range"))?
        }
    };
    call.server.clients.pause(Pause { until_ms: until_ms as u64, writes_only }, call.now_ms);
    reply(Reply::OK)
}

fn unblock(call: &mut Call<'_>) -> Result<Plan, Error> {
    match call.rest(3) {
        [] => {}
        [_] if call.is(3, "timeout") || call.is(3, "error") => {}
        [_] => return Err(Error::other("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(wrong_subcommand(call)),
    }
    call.integer(2)?;
    reply(Reply::Integer(0))
}

/// Of a subcommand that is known, but not with so many words.
fn wrong_subcommand(call: &Call<'_>) -> Error {
    Error::other(format!(
        "ERR unknown subcommand or wrong number of arguments for '{:.128}'. Try CLIENT HELP.",
        call.text(1)
    ))
}

fn tracking_info() -> Reply {
    let fields = [
        ("flags", Reply::Set(vec![Reply::text("off")])),
        ("redirect", Reply::Integer(NO_REDIRECTION)),
        ("prefixes", Reply::Array(Vec::new())),
    ];
    Reply::Map(fields.map(|(name, value)| (Reply::text(name), value)).into())
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

    /// No connection replicates or subscribes.
    fn of(_client: &Client) -> Type {
        Type::Normal
    }
}

fn list(call: &mut Call<'_>) -> Result<Plan, Error> {
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
            ids.into_iter().filter_map(|id| clients.get(u64::try_from(id).ok()?)).collect()
        }
        _ => return Err(Error::Syntax),
    };
    reply(describe(call, chosen.iter().map(|client| &**client)))
}

fn describe<'a>(call: &Call<'_>, clients: impl Iterator<Item = &'a Client>) -> Reply {
    let mut lines = String::new();
    for client in clients {
        // writing to memory cannot fail
        let _ = write_line(&mut lines, client, call.server, call.now_ms);
    }
    Reply::Verbatim(Bytes::from(lines))
}

/// One line of CLIENT LIST: Redis's fields in its order, those for what we don't have at what Redis shows for nothing,
/// and at the end the store's name, if it has one.
fn write_line(out: &mut String, client: &Client, server: &Server, now_ms: u64) -> std::fmt::Result {
    let seconds_since = |ms: u64| now_ms.saturating_sub(ms) / 1000;
    let query_bytes = client.query_buffer.load(Ordering::Relaxed);
    let output_bytes = client.output_buffer.load(Ordering::Relaxed);
    write!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi=-1 watch=0 \
         qbuf={query_bytes} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem={output_bytes} tot-mem={} \
         events=r cmd={} user={} redir={NO_REDIRECTION} resp={} lib-name={} lib-ver={} io-thread=0 tot-net-in={} \
         tot-net-out={} tot-cmds={}",
        client.id,
        client.address,
        client.local_address,
        client.file_descriptor,
        client.name.lock(),
        seconds_since(client.created_ms),
        seconds_since(client.active_ms.load(Ordering::Relaxed)),
        letters(client),
        client.store(),
        size_of::<Client>() + query_bytes + output_bytes,
        client.last_command(),
        client.user.lock(),
        client.protocol.load(Ordering::Relaxed),
        client.library_name.lock(),
        client.library_version.lock(),
        client.bytes_in.load(Ordering::Relaxed),
        client.bytes_out.load(Ordering::Relaxed),
        client.commands.load(Ordering::Relaxed),
    )?;
    let name = server.engine.catalog().get(client.store()).and_then(|store| store.name.clone());
    if let Some(name) = name {
        write!(out, " store={}", unspaced(&name))?;
    }
    out.push('\n');
    Ok(())
}

/// The field `flags`.
fn letters(client: &Client) -> String {
    let letters: String = [
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

/// Which connections CLIENT KILL means: those to which everything that is set applies.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<Type>,
    address: Option<Bytes>,
    local_address: Option<Bytes>,
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
                // all connections are this user's
                b"user" if value == DEFAULT_USER => {}
                b"user" => {
                    let user = String::from_utf8_lossy(value);
                    return Err(Error::other(format!("ERR No such user '{user}'")));
                }
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.spared = Some(me),
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.spared = None,
                _ => return Err(Error::Syntax),
            }
        }
        Ok(filter)
    }

    fn admits(&self, client: &Client, now_ms: u64) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.kind.is_none_or(|kind| kind == Type::of(client))
            && self.address.as_ref().is_none_or(|address| client.address == *address)
            && self.local_address.as_ref().is_none_or(|address| client.local_address == *address)
            && now_ms.saturating_sub(client.created_ms) / 1000 >= self.age_s_min
            && self.spared != Some(client.id)
    }
}

fn kill(call: &mut Call<'_>) -> Result<Plan, Error> {
    // the old form: with it one can kill oneself
    let address = match call.rest(2) {
        [address] => Some(address.clone()),
        _ => None,
    };
    let is_old_form = address.is_some();
    let filter = if is_old_form { Filter { address, ..Filter::default() } } else { Filter::parse(call)? };

    let mut killed = 0;
    for client in call.server.clients.all() {
        if !filter.admits(&client, call.now_ms) {
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
    fn names_and_library() {
        Harness::new().expect(&[
            ("CLIENT ID", "1"),
            ("CLIENT GETNAME", "nil"),
            ("CLIENT SETNAME me", "OK"),
            ("CLIENT GETNAME", r#""me""#),
            (
                "CLIENT SETNAME \"a b\"",
                "-ERR Client names cannot contain spaces, newlines or special characters.",
            ),
            (
                "CLIENT SETNAME gr\u{f6}\u{df}e",
                "-ERR Client names cannot contain spaces, newlines or special characters.",
            ),
            ("CLIENT GETNAME", r#""me""#),
            ("CLIENT SETNAME \"\"", "OK"),
            ("CLIENT GETNAME", "nil"),
            ("CLIENT SETINFO lib-name redis-py(x)", "OK"),
            ("CLIENT SETINFO LIB-VER 5.0.1", "OK"),
            (
                "CLIENT SETINFO lib-NAME \"a b\"",
                "-ERR lib-NAME cannot contain spaces, newlines or special characters.",
            ),
            ("CLIENT SETINFO lib x", "-ERR Unrecognized option 'lib'"),
            ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
            ("CLIENT ID 1", "-ERR wrong number of arguments for 'client|id' command"),
            ("CLIENT WHAT", "-ERR unknown subcommand 'WHAT'. Try CLIENT HELP."),
        ]);
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
            ("tot-cmds", "5"),
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
        write_line(&mut line, &client, &harness.server, 15_000).unwrap();
        assert!(line.contains(" age=5 idle=2 flags=N ") && line.contains(" cmd=NULL "), "{line}");
        assert!(!line.contains("store="), "a numbered store has no name: {line}");
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
    fn unwanted_replies_are_not_sent() {
        let mut harness = Harness::new();
        assert_eq!(harness.send("CLIENT REPLY SKIP"), None);
        assert_eq!(harness.send("PING"), None);
        harness.expect(&[("PING", "PONG"), ("CLIENT REPLY what", "-ERR syntax error")]);
        assert_eq!(harness.send("CLIENT REPLY OFF"), None);
        assert_eq!(harness.send("CLIENT REPLY SKIP"), None);
        assert_eq!(harness.send("PING"), None);
        assert_eq!(harness.send("PING"), None);
        harness.expect(&[("CLIENT REPLY ON", "OK"), ("PING", "PONG")]);
    }

    #[test]
    fn pauses_become_longer_and_stricter_until_they_end() {
        let mut harness = Harness::new();
        let current = |harness: &Harness| harness.server.clients.current_pause();
        harness.expect(&[("CLIENT PAUSE 100000 WRITE", "OK")]);
        let first = current(&harness);
        assert!(first.writes_only && first.until_ms > harness.server.started_ms);
        harness.expect(&[("CLIENT PAUSE 10 ALL", "OK"), ("CLIENT PAUSE 10 WRITE", "OK")]);
        let second = current(&harness);
        assert!(!second.writes_only && second.until_ms == first.until_ms);
        harness.expect(&[("CLIENT UNPAUSE", "OK")]);
        assert_eq!(current(&harness).until_ms, 0);
        harness.expect(&[
            ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range"),
            ("CLIENT PAUSE -1", "-ERR timeout is negative"),
            ("CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range"),
            ("CLIENT PAUSE x what", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
            (
                "CLIENT PAUSE 1 ALL x",
                "-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.",
            ),
            ("CLIENT PAUSE 0", "OK"),
        ]);
        assert_eq!(current(&harness).until_ms, 0);
    }

    #[test]
    fn marks_and_what_there_is_none_of() {
        let mut harness = Harness::new();
        harness.expect(&[
            ("CLIENT NO-EVICT on", "OK"),
            ("CLIENT NO-EVICT what", "-ERR syntax error"),
            ("CLIENT GETREDIR", "-1"),
            ("CLIENT TRACKINGINFO", r#"{"flags": ["off"], "redirect": -1, "prefixes": []}"#),
            ("CLIENT UNBLOCK 1", "0"),
            ("CLIENT UNBLOCK 99 error", "0"),
            ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range"),
            ("CLIENT UNBLOCK x what", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ]);
        assert!(text(harness.run("CLIENT INFO")).contains(" flags=e "));
        let Reply::Array(help) = harness.run("CLIENT HELP") else { panic!("not a list") };
        assert_eq!(help[0], Reply::Simple("CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
        assert!(help.contains(&Reply::Simple("PAUSE timeout [WRITE | ALL]")));
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
