//! CLIENT LIST, INFO and KILL: choosing connections, and describing them or ending them.
//!
//! A connection is ended by raising its signal; its own task closes it.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use indexmap::IndexSet;

use crate::client::Client;
use crate::command::base::describe::{letters, write_line};
use crate::command::base::server::View;
use crate::command::base::{Call, Plan, permission, reply};
use crate::engine::clock;
use crate::error::Error;
use crate::record::number;
use crate::resp::Reply;

pub fn list(call: &mut Call<'_>) -> Result<Plan, Error> {
    let filter = Filter::parse(call, Form::List)?;
    let steady_ms = clock::steady_ms();
    let mut chosen = match filter.ids() {
        // in their order, each only once, because a line is much longer than the number that asks for it
        Some(ids) => ids.iter().filter_map(|id| call.server.clients.get(u64::try_from(*id).ok()?)).collect(),
        None => call.server.clients.all(),
    };
    chosen.retain(|client| filter.admits(client, call.server, steady_ms));
    reply(describe(call, chosen.iter().map(|client| &**client)))
}

pub fn info(call: &mut Call<'_>) -> Result<Plan, Error> {
    reply(describe(call, std::iter::once(&*call.session.client)))
}

pub fn kill(call: &mut Call<'_>) -> Result<Plan, Error> {
    // the old form, which can also kill the calling connection
    let address = match call.rest(2) {
        [address] => Some(address.clone()),
        _ => None,
    };
    let is_old_form = address.is_some();
    let filter = match address {
        Some(address) => Filter::of(Test::Address(address)),
        None => Filter::parse(call, Form::Kill)?,
    };

    let mut killed = 0;
    for client in call.server.clients.all() {
        if !filter.admits(&client, call.server, clock::steady_ms()) {
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
            b"master" | b"primary" => Ok(Type::Master),
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

/// What is asked of a connection.
enum Test {
    /// It is one of these.
    Ids(IndexSet<i64>),
    Kind(Type),
    Address(Bytes),
    LocalAddress(Bytes),
    /// That of its peer, without the port.
    Ip(Bytes),
    User(String),
    /// It has all these letters in `flags`.
    Letters(Bytes),
    Name(Bytes),
    LibraryName(Bytes),
    LibraryVersion(Bytes),
    /// The name of its store; `None`: no store that the user may use.
    Store(Option<String>),
    /// Seconds since it connected, at least.
    Age(u64),
    /// Seconds since its last request, at least.
    Idle(u64),
}

/// Letters that Redis and Valkey show in `flags`.
const LETTERS: &[u8] = b"OSMPxbtRBdcuAUreTIiEN";

impl Test {
    /// The test for an option and its value; `None` if there is no such option.
    fn parse(call: &Call<'_>, option: &[u8], value: &Bytes) -> Result<Option<Test>, Error> {
        Ok(Some(match option {
            b"type" => Test::Kind(Type::parse(value)?),
            b"addr" => Test::Address(value.clone()),
            b"laddr" => Test::LocalAddress(value.clone()),
            b"ip" => Test::Ip(value.clone()),
            b"user" => match call.server.acl.get(value) {
                Some(account) => Test::User(account.name().to_owned()),
                None => {
                    let user = String::from_utf8_lossy(value);
                    return Err(Error::other(format!("ERR No such user '{user}'")));
                }
            },
            b"flags" if value.iter().all(|letter| LETTERS.contains(letter)) => {
                // each only once: this is compared with every connection
                Test::Letters(LETTERS.iter().copied().filter(|letter| value.contains(letter)).collect())
            }
            b"flags" => {
                let letters = String::from_utf8_lossy(value);
                let why = format!("ERR Unknown flags found in the provided filter: {letters}");
                return Err(Error::other(why));
            }
            b"name" => Test::Name(value.clone()),
            b"lib-name" => Test::LibraryName(value.clone()),
            b"lib-ver" => Test::LibraryVersion(value.clone()),
            // a store that the user may not use is as if it had no clients
            b"db" => Test::Store(
                Some(call.server.label_of_named_store(value))
                    .filter(|label| permission::may_use_store(call.session, label)),
            ),
            b"maxage" => Test::Age(seconds("maxage", value)?),
            b"idle" => Test::Idle(seconds("idle", value)?),
            _ => return Ok(None),
        }))
    }

    fn applies(&self, client: &Client, server: View<'_>, steady_ms: u64) -> bool {
        let seconds_since = |ms: u64| steady_ms.saturating_sub(ms) / 1000;
        // nobody asks for those that have no name
        let is = |name: &str, wanted: &[u8]| !name.is_empty() && name.as_bytes() == wanted;
        match self {
            Test::Ids(ids) => i64::try_from(client.id).is_ok_and(|id| ids.contains(&id)),
            Test::Kind(kind) => *kind == Type::of(client),
            Test::Address(address) => client.address == *address,
            Test::LocalAddress(address) => client.local_address == *address,
            Test::Ip(ip) => !client.unix && ip_of(&client.address).as_bytes() == *ip,
            Test::User(user) => client.is_of(user),
            Test::Letters(wanted) => {
                let tracking = &server.push.tracking;
                let shown = tracking.with_options(client, |options| letters(client, server, options));
                wanted.iter().all(|letter| shown.as_bytes().contains(letter))
            }
            Test::Name(name) => is(&client.name.lock(), name),
            Test::LibraryName(name) => is(&client.library_name.lock(), name),
            Test::LibraryVersion(version) => is(&client.library_version.lock(), version),
            Test::Store(label) => label.as_ref() == Some(&server.store_label(client.store())),
            Test::Age(age_s) => seconds_since(client.created_ms) >= *age_s,
            Test::Idle(idle_s) => seconds_since(client.active_ms.load(Ordering::Relaxed)) >= *idle_s,
        }
    }
}

/// A positive number of seconds.
fn seconds(option: &str, value: &[u8]) -> Result<u64, Error> {
    match number::parse_i64(value) {
        None => Err(Error::other(format!("ERR {option} is not an integer or out of range"))),
        Some(..=0) => Err(Error::other(format!("ERR {option} should be greater than 0"))),
        Some(seconds @ 1..) => Ok(seconds as u64),
    }
}

/// `127.0.0.1` of `127.0.0.1:6379`, `::1` of `[::1]:6379`.
fn ip_of(address: &str) -> &str {
    let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
    ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip)
}

/// Who is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    List,
    Kill,
}

/// Which connections are meant: those of which every test says what it is expected to. These options are Valkey's; Redis
/// has some of them, and nothing that begins with `NOT-`.
struct Filter {
    /// Each with whether it is to apply. The last of an option counts, as in Redis.
    tests: Vec<(Test, bool)>,
    spared: Option<u64>,
}

impl Filter {
    fn of(test: Test) -> Filter {
        Filter { tests: vec![(test, true)], spared: None }
    }

    fn parse(call: &Call<'_>, form: Form) -> Result<Filter, Error> {
        let me = call.session.client.id;
        let mut filter = Filter { tests: Vec::new(), spared: (form == Form::Kill).then_some(me) };
        let mut words = call.rest(2);
        while let [option, rest @ ..] = words {
            let option = option.to_ascii_lowercase();
            let (name, is_wanted) = match option.strip_prefix(b"not-") {
                Some(name) => (name, false),
                None => (&option[..], true),
            };
            if name == b"id" {
                words = filter.take_ids(rest, is_wanted, form)?;
                continue;
            }
            let [value, rest @ ..] = rest else { return Err(Error::Syntax) };
            match &option[..] {
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.spared = Some(me),
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.spared = None,
                _ => filter.add(Test::parse(call, name, value)?.ok_or(Error::Syntax)?, is_wanted),
            }
            words = rest;
        }
        Ok(filter)
    }

    /// Parses the ids up to the next option. Returns the remaining words.
    fn take_ids<'w>(
        &mut self,
        words: &'w [Bytes],
        is_wanted: bool,
        form: Form,
    ) -> Result<&'w [Bytes], Error> {
        let is_option = |word: &Bytes| {
            let lower = word.to_ascii_lowercase();
            let name = lower.strip_prefix(b"not-").unwrap_or(&lower);
            OPTIONS.iter().any(|option| option.as_bytes() == name)
        };
        let count = words.iter().position(is_option).unwrap_or(words.len());
        let (ids, rest) = words.split_at(count);
        if ids.is_empty() {
            return Err(Error::Syntax);
        }
        let parsed = ids.iter().map(|id| match (number::parse_i64(id), form) {
            (Some(id), Form::List) => Ok(id),
            (Some(id @ 1..), Form::Kill) => Ok(id),
            (None, Form::List) => Err(Error::other("ERR Invalid client ID")),
            (_, Form::Kill) => Err(Error::other("ERR client-id should be greater than 0")),
        });
        let ids = parsed.collect::<Result<IndexSet<_>, _>>()?;
        self.add(Test::Ids(ids), is_wanted);
        Ok(rest)
    }

    fn add(&mut self, test: Test, is_wanted: bool) {
        let kind = std::mem::discriminant(&test);
        self.tests
            .retain(|(other, of_other)| std::mem::discriminant(other) != kind || *of_other != is_wanted);
        self.tests.push((test, is_wanted));
    }

    /// The connections that it names by their ids, if it does.
    fn ids(&self) -> Option<&IndexSet<i64>> {
        self.tests.iter().find_map(|test| match test {
            (Test::Ids(ids), true) => Some(ids),
            _ => None,
        })
    }

    fn admits(&self, client: &Client, server: View<'_>, steady_ms: u64) -> bool {
        self.spared != Some(client.id)
            && self
                .tests
                .iter()
                .all(|(test, is_wanted)| test.applies(client, server, steady_ms) == *is_wanted)
    }
}

/// The options there are; all but `skipme` also with `not-` in front.
const OPTIONS: [&str; 14] = [
    "id", "type", "addr", "laddr", "ip", "user", "flags", "name", "lib-name", "lib-ver", "db", "maxage",
    "idle", "skipme",
];

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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::command::clients::list::*;
    use crate::command::tests::harness::{Harness, session};

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
        write_line(&mut line, &client, harness.server.view(), None, 15_000).unwrap();
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

    /// Valkey's filters, as its 9.1.2 answers them.
    #[test]
    fn lists_can_be_narrowed_by_what_a_connection_is_like() {
        let mut harness = Harness::new();
        let mut other = session(&harness.server);
        let _third = session(&harness.server);
        harness.expect(&[("STORE CREATE orders", "OK"), ("ACL SETUSER bob on nopass ~* +@all", "OK")]);
        harness.swap(&mut other);
        harness.expect(&[
            ("CLIENT SETNAME two", "OK"),
            ("CLIENT SETINFO lib-name jedis", "OK"),
            ("CLIENT SETINFO lib-ver 5", "OK"),
            ("AUTH bob x", "OK"),
            ("SELECT orders", "OK"),
            ("MULTI", "OK"),
        ]);
        harness.swap(&mut other);
        for (filter, expected) in [
            ("ADDR 127.0.0.1:2", &[2][..]),
            ("NOT-ADDR 127.0.0.1:2", &[1, 3]),
            ("LADDR 127.0.0.1:6379", &[1, 2, 3]),
            ("NOT-LADDR 127.0.0.1:6379", &[]),
            ("IP 127.0.0.1", &[1, 2, 3]),
            ("IP 127.0.0", &[]),
            ("NOT-IP 127.0.0.1", &[]),
            ("USER bob", &[2]),
            ("NOT-USER bob", &[1, 3]),
            ("NAME two", &[2]),
            ("NAME none", &[]),
            ("NOT-NAME two", &[1, 3]),
            ("LIB-NAME jedis", &[2]),
            ("NOT-LIB-NAME jedis", &[1, 3]),
            ("LIB-VER 5", &[2]),
            ("NOT-LIB-VER 5", &[1, 3]),
            ("DB 0", &[1, 3]),
            ("DB orders", &[2]),
            ("DB 16", &[2]),
            ("NOT-DB 16", &[1, 3]),
            ("FLAGS x", &[2]),
            ("FLAGS xxxx", &[2]),
            ("FLAGS N", &[1, 3]),
            ("FLAGS xN", &[]),
            ("NOT-FLAGS x", &[1, 3]),
            ("TYPE normal", &[1, 2, 3]),
            ("NOT-TYPE normal", &[]),
            ("TYPE primary", &[]),
            ("IDLE 100000", &[]),
            ("NOT-IDLE 100000", &[1, 2, 3]),
            ("MAXAGE 100000", &[]),
            ("SKIPME yes", &[2, 3]),
            ("SKIPME no", &[1, 2, 3]),
            ("NOT-ID 2 3", &[1]),
            ("ID 3 2 USER bob", &[2]),
            ("ID 1 2 3 NOT-ID 2 SKIPME yes", &[3]),
            ("USER default USER bob", &[2]),
            ("NAME two NOT-USER bob", &[]),
        ] {
            assert_eq!(ids(&mut harness, &format!("CLIENT LIST {filter}")), expected, "{filter}");
        }
        harness.expect(&[
            ("CLIENT LIST FLAGS Q", "-ERR Unknown flags found in the provided filter: Q"),
            ("CLIENT LIST IDLE 0", "-ERR idle should be greater than 0"),
            ("CLIENT LIST IDLE x", "-ERR idle is not an integer or out of range"),
            ("CLIENT LIST USER nobody", "-ERR No such user 'nobody'"),
            ("CLIENT LIST NAME", "-ERR syntax error"),
            ("CLIENT LIST NOT-SKIPME yes", "-ERR syntax error"),
            ("CLIENT LIST NOT-ID", "-ERR syntax error"),
            ("CLIENT KILL NOT-USER default NAME one", "0"),
            ("CLIENT KILL ID 2 3 NOT-NAME two", "1"),
            ("CLIENT KILL FLAGS x", "1"),
        ]);
        assert_eq!(ids(&mut harness, "CLIENT LIST"), [1]);
        assert_eq!(ip_of("[::1]:6379"), "::1");
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
