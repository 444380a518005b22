//! Commands about the connection itself: its user, its store and protocol, and whether it is alive.
//!
//! They change only the session. Commands about other connections are in [`client`](crate::command::clients).

use bytes::Bytes;

use crate::acl::{DEFAULT_USER, Reason};
use crate::command::base::reach::Stores;
use crate::command::base::{Call, Flags, Group, Plan, Secrets, Spec, control, login, permission, reply};
use crate::command::clients::check_name;
use crate::engine::Writer;
use crate::error::Error;
use crate::limits::DATABASES_MAX;
use crate::record::number;
use crate::resp::{Protocol, Reply};

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "auth",
        syntax: "[username] password",
        summary: "Authenticates the connection",
        complexity: "O(N), where N is the length of the password",
        arity: -2,
        flags: ANY_TIME.union(Flags::CONTROL),
        secrets: Secrets::From(1),
        plan: |_| control(auth),
        ..CONNECTION
    },
    Spec {
        name: "echo",
        syntax: "message",
        summary: "Returns the message",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
        plan: |call| reply(Reply::Bulk(call.args[1].clone())),
        ..CONNECTION
    },
    Spec {
        name: "hello",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        summary: "Switches the protocol, authenticates and names the connection, and describes the server",
        since: "6.0.0",
        arity: -1,
        flags: ANY_TIME.union(Flags::CONTROL),
        secrets: Secrets::After(|word| word.eq_ignore_ascii_case(b"auth"), 2),
        plan: |_| control(hello),
        ..CONNECTION
    },
    Spec {
        name: "ping",
        syntax: "[message]",
        summary: "Returns the message, or PONG, to show that the server is alive",
        arity: -1,
        flags: Flags::FAST.union(Flags::WHILE_SUBSCRIBED),
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        plan: ping,
        ..CONNECTION
    },
    Spec {
        name: "quit",
        summary: "Closes the connection once its replies are sent",
        arity: -1,
        flags: ANY_TIME.union(Flags::UNQUEUED).union(Flags::WHILE_SUBSCRIBED),
        plan: |call| {
            call.session.closing = true;
            reply(Reply::OK)
        },
        ..CONNECTION
    },
    Spec {
        name: "reset",
        summary: "Resets the connection to its initial state",
        since: "6.2.0",
        flags: ANY_TIME.union(Flags::UNQUEUED).union(Flags::WHILE_SUBSCRIBED).union(Flags::CONTROL),
        plan: |_| control(reset),
        ..CONNECTION
    },
    Spec {
        name: "select",
        syntax: "store",
        summary: "Selects the store of the connection, by number or name",
        arity: 2,
        flags: Flags::LOADING
            .union(Flags::STALE)
            .union(Flags::FAST)
            .union(Flags::SELECTS)
            .union(Flags::CONTROL),
        stores: Stores::Named { first: 1, last: 1 },
        plan: |_| control(select),
        ..CONNECTION
    },
];

const CONNECTION: Spec = Spec { group: Group::Connection, ..Spec::DEFAULT };

/// Commands that are allowed before authentication, and while the server is busy.
const ANY_TIME: Flags = Flags::NOSCRIPT
    .union(Flags::STATEFUL)
    .union(Flags::LOADING)
    .union(Flags::STALE)
    .union(Flags::FAST)
    .union(Flags::NO_AUTH)
    .union(Flags::ALLOW_BUSY);

fn ping(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.session.protocol == Protocol::Resp2 && call.session.subscriptions.are_any() && call.args.len() < 3
    {
        // in the form of a message, like everything that such a connection receives
        return reply(Reply::Array(vec![Reply::text("pong"), Reply::Bulk(call.word(1))]));
    }
    match call.rest(1) {
        [] => reply(Reply::Simple("PONG")),
        [message] => reply(Reply::Bulk(message.clone())),
        _ => Err(call.arity_error()),
    }
}

fn auth(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let (user, password) = match call.rest(1) {
        [_] if call.server.acl.default_account().user().nopass => {
            return Err(Error::other(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        [password] => (Bytes::from_static(DEFAULT_USER.as_bytes()), password.clone()),
        [user, password] => (user.clone(), password.clone()),
        _ => return Err(Error::Syntax),
    };
    authenticate(call, engine, &user, &password)?;
    // the store to begin with may have been created a moment ago
    Ok(Plan::Reflecting(Reply::OK, call.server.engine.last_seq()))
}

/// Logs in, and records the attempt if it fails.
fn authenticate(call: &mut Call<'_>, engine: Writer<'_>, user: &[u8], password: &[u8]) -> Result<(), Error> {
    let outcome = login::authenticate(call.server, engine, call.session, user, password);
    if outcome == Err(Error::WrongPass) {
        let context = permission::context(call.session);
        let username = Bytes::copy_from_slice(user);
        permission::log(call.server, call.session, Reason::Auth, context, call.word(0), username);
    }
    outcome
}

fn hello(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let protocol = match call.rest(1) {
        [] => None,
        [version, ..] => Some(parse_protocol(version)?),
    };
    let mut login = None;
    let mut name = None;
    call.options(2, |at| match call.rest(at + 1) {
        [user, password, ..] if call.is(at, "AUTH") => {
            login = Some((user.clone(), password.clone()));
            Ok(2)
        }
        [word, ..] if call.is(at, "SETNAME") => {
            name = Some(check_name(word)?.to_owned());
            Ok(1)
        }
        _ => Err(Error::other(format!("ERR Syntax error in HELLO option '{}'", call.text(at)))),
    })?;

    let logs_in = login.is_some();
    if let Some((user, password)) = login {
        authenticate(call, engine, &user, &password)?;
    }
    if login::is_stranger(&call.server, call.session) {
        return Err(Error::other(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        *call.session.client.name.lock() = name;
    }
    if let Some(protocol) = protocol {
        call.session.set_protocol(protocol);
    }
    let reflects = if logs_in { call.server.engine.last_seq() } else { 0 };
    Ok(Plan::Reflecting(greeting(call), reflects))
}

fn parse_protocol(version: &[u8]) -> Result<Protocol, Error> {
    match number::parse_i64(version) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(Error::other("NOPROTO unsupported protocol version")),
        None => Err(Error::other("ERR Protocol version is not an integer or out of range")),
    }
}

/// The reply of HELLO. Clients decide by `server` and `version` which commands they may use, so these are those of
/// Redis.
fn greeting(call: &Call<'_>) -> Reply {
    let fields = [
        ("server", Reply::text("redis")),
        ("version", Reply::text(call.server.config.settings().reported_version)),
        ("proto", Reply::Integer(call.session.protocol.number().into())),
        ("id", Reply::Integer(call.session.client.id as i64)),
        ("mode", Reply::text("standalone")),
        ("role", Reply::text("master")),
        ("modules", Reply::Array(Vec::new())),
    ];
    Reply::Map(fields.map(|(name, value)| (Reply::text(name), value)).into())
}

fn reset(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    call.session.detach(call.server);
    login::reset(call.server, engine, call.session);
    reply(Reply::Simple("RESET"))
}

fn select(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let store = call.store(1, engine)?;
    call.session.select(store);
    if store < DATABASES_MAX {
        return reply(Reply::OK);
    }
    // a named store may have been created a moment ago, perhaps by this very command
    Ok(Plan::Reflecting(Reply::OK, call.server.engine.last_seq()))
}

#[cfg(test)]
mod tests {
    use crate::command::clients::connection::*;
    use crate::command::tests::harness::Harness;

    fn with_password() -> Harness {
        let mut harness = Harness::new();
        harness.run("CONFIG SET requirepass secret");
        harness.session.authenticated = false;
        harness
    }

    #[test]
    fn ping_and_echo() {
        Harness::new().expect(&[
            ("PING", "PONG"),
            ("PING \"a b\"", r#""a b""#),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
            ("ECHO hello", r#""hello""#),
            ("ECHO", "-ERR wrong number of arguments for 'echo' command"),
        ]);
    }

    #[test]
    fn auth_without_a_password_set() {
        Harness::new().expect(&[
            (
                "AUTH x",
                "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ),
            ("AUTH default x", "OK"),
            ("AUTH someone x", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH a b c", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn a_password_is_asked_for_and_checked() {
        let mut harness = with_password();
        harness.expect(&[
            ("PING", "-NOAUTH Authentication required."),
            ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH someone secret", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("PING", "-NOAUTH Authentication required."),
            ("AUTH secret", "OK"),
            ("PING", "PONG"),
            ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("PING", "PONG"),
            ("RESET", "RESET"),
            ("PING", "-NOAUTH Authentication required."),
            ("AUTH default secret", "OK"),
            ("PING", "PONG"),
        ]);
    }

    #[test]
    fn hello_tells_what_the_server_is() {
        let mut harness = Harness::new();
        let told = |proto: u8| {
            format!(
                r#"{{"server": "redis", "version": "8.8.0", "proto": {proto}, "id": 1, "mode": "standalone", "role": "master", "modules": []}}"#
            )
        };
        harness.expect(&[("HELLO", &told(2)), ("HELLO 3", &told(3)), ("HELLO", &told(3))]);
        assert!(harness.bytes("HELLO 2").starts_with(r"*14\r\n$6\r\nserver\r\n"));
        assert!(harness.bytes("HELLO 3").starts_with(r"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"));
        harness.run("HELLO 2 setname me");
        harness.expect(&[("CLIENT GETNAME", r#""me""#)]);
        assert_eq!(harness.session.protocol, Protocol::Resp2);
    }

    #[test]
    fn hello_refuses_in_the_order_of_its_words_and_changes_nothing_then() {
        let mut harness = with_password();
        harness.expect(&[
            ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
            ("HELLO 4", "-NOPROTO unsupported protocol version"),
            ("HELLO 1 what", "-NOPROTO unsupported protocol version"),
            ("HELLO 3 what", "-ERR Syntax error in HELLO option 'what'"),
            ("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'"),
            (
                "HELLO 3 SETNAME \"a b\" AUTH default wrong",
                "-ERR Client names cannot contain spaces, newlines or special characters.",
            ),
            (
                "HELLO 3 AUTH default wrong SETNAME me",
                "-WRONGPASS invalid username-password pair or user is disabled.",
            ),
            (
                "HELLO 3 SETNAME me",
                "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            ),
        ]);
        assert_eq!(harness.session.protocol, Protocol::Resp2);
        harness.run("HELLO 3 AUTH default secret");
        harness.expect(&[("CLIENT GETNAME", "nil"), ("PING", "PONG")]);
        assert_eq!(harness.session.protocol, Protocol::Resp3);
    }

    #[test]
    fn stores_are_selected_by_number_and_name() {
        let mut harness = Harness::new();
        harness.expect(&[
            ("SELECT 15", "OK"),
            ("SELECT 16", "-ERR DB index is out of range"),
            ("SELECT -1", "-ERR DB index is out of range"),
            ("SELECT orders", "-NOSTORE no store is named 'orders'; create it with STORE CREATE"),
        ]);
        assert_eq!(harness.session.store, 15, "what fails leaves the selection alone");
        harness.server.config.update(|settings| settings.auto_create_stores = true);
        harness.expect(&[("SELECT orders", "OK"), ("SELECT 0", "OK"), ("SELECT 16", "OK")]);
        assert_eq!(harness.session.store, 16);
        assert_eq!(harness.session.client.store(), 16);
    }

    #[test]
    fn quit_closes_after_its_reply() {
        let mut harness = Harness::new();
        harness.expect(&[("QUIT now", "OK")]);
        assert!(harness.session.closing);
    }

    #[test]
    fn reset_takes_back_what_was_set() {
        let mut harness = Harness::new();
        for line in ["HELLO 3 SETNAME me", "SELECT 3", "CLIENT NO-EVICT ON", "CLIENT SETINFO LIB-NAME lib"] {
            harness.run(line);
        }
        assert_eq!(harness.send("CLIENT REPLY OFF"), None);
        harness.expect(&[("RESET", "RESET"), ("CLIENT GETNAME", "nil")]);
        assert_eq!((harness.session.store, harness.session.protocol), (0, Protocol::Resp2));
        let Reply::Verbatim(info) = harness.run("CLIENT INFO") else { panic!("not a text") };
        let info = String::from_utf8_lossy(&info).into_owned();
        for field in [" flags=N ", " db=0 ", " resp=2 ", " lib-name=lib "] {
            assert!(info.contains(field), "{field} in {info}");
        }
    }
}
