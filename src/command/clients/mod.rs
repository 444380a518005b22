//! CLIENT: what a connection says about itself, and what it can see of other connections and do to them.
//!
//! The registry of connections is [`clients`](crate::client). Pausing only sets a mark there, which the tasks of the
//! connections obey. LIST, INFO and KILL are in [`list`].

pub mod connection;
pub mod list;
pub mod tracking;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::Pause;
use crate::command::base::reach::Stores;
use crate::command::base::session::Replies;
use crate::command::base::{Call, Flags, Group, Plan, Spec, control, reply, table};
use crate::engine::{Writer, clock};
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

const OWN: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::KEEPS_CACHING);
const OTHERS: Flags = OWN.union(Flags::ADMIN);
const STATEFUL: Flags = OWN.union(Flags::STATEFUL);

const CLIENT: Spec = Spec { group: Group::Connection, flags: OWN, arity: 2, ..Spec::DEFAULT };

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "client|caching",
        syntax: "<YES | NO>",
        summary: "Sets whether the keys of the next command are tracked, in OPTIN or OPTOUT mode",
        since: "6.0.0",
        arity: 3,
        flags: STATEFUL,
        plan: tracking::caching,
        ..CLIENT
    },
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
        summary: "Returns the id of the connection that gets the invalidations of this one; 0: this one; -1: it does not track keys",
        since: "6.0.0",
        plan: tracking::redirection,
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
        summary: "Returns the id of the connection, which is not used again while the server runs",
        since: "5.0.0",
        plan: |call| reply(Reply::Integer(call.session.client.id as i64)),
        ..CLIENT
    },
    Spec {
        name: "client|info",
        summary: "Returns the line of this connection in CLIENT LIST",
        since: "6.2.0",
        tips: &["nondeterministic_output"],
        plan: list::info,
        ..CLIENT
    },
    Spec {
        name: "client|kill",
        is_harmful: true,
        syntax: "<ip:port | [ID client-id [client-id ...]] [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] \
                 [USER username] [ADDR ip:port] [LADDR ip:port] [SKIPME <YES | NO>] [MAXAGE seconds] [IDLE seconds] \
                 [FLAGS flags] [NAME name] [LIB-NAME name] [LIB-VER version] [DB store] [IP ip]>",
        summary: "Closes the connections that match all filters; NOT- before the name of a filter inverts it",
        since: "2.4.0",
        complexity: "O(N), where N is the number of connections",
        arity: -3,
        flags: OTHERS,
        // the filter DB only leaves out connections
        stores: Stores::None,
        plan: list::kill,
        ..CLIENT
    },
    Spec {
        name: "client|list",
        syntax: "[ID client-id [client-id ...]] [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [USER username] \
                 [ADDR ip:port] [LADDR ip:port] [SKIPME <YES | NO>] [MAXAGE seconds] [IDLE seconds] [FLAGS flags] \
                 [NAME name] [LIB-NAME name] [LIB-VER version] [DB store] [IP ip]",
        summary: "Lists the connections that match all filters, one line each; NOT- before the name of a filter inverts it",
        since: "2.4.0",
        complexity: "O(N), where N is the number of connections",
        arity: -2,
        flags: OTHERS,
        stores: Stores::None,
        tips: &["nondeterministic_output"],
        plan: list::list,
        ..CLIENT
    },
    Spec {
        name: "client|no-evict",
        syntax: "<ON | OFF>",
        summary: "Protects the connection from being closed at maxmemory-clients",
        since: "7.0.0",
        arity: 3,
        flags: OTHERS,
        plan: |call| switch(call, &call.session.client.no_evict),
        ..CLIENT
    },
    Spec {
        name: "client|no-touch",
        syntax: "<ON | OFF>",
        summary: "Has no effect, because access times are not recorded",
        since: "7.2.0",
        arity: 3,
        plan: |call| switch(call, &call.session.client.no_touch),
        ..CLIENT
    },
    Spec {
        name: "client|pause",
        is_harmful: true,
        syntax: "timeout [WRITE | ALL]",
        summary: "Makes all commands, or only those that write or publish, wait for a number of milliseconds; nothing expires meanwhile",
        since: "3.0.0",
        arity: -3,
        flags: OTHERS.union(Flags::CONTROL),
        plan: |_| control(pause),
        ..CLIENT
    },
    Spec {
        name: "client|reply",
        syntax: "<ON | OFF | SKIP>",
        summary: "Sets which replies the connection gets: all, none, or all but the next one",
        since: "3.2.0",
        arity: 3,
        flags: STATEFUL,
        plan: choose_replies,
        ..CLIENT
    },
    Spec {
        name: "client|setinfo",
        syntax: "<LIB-NAME libname | LIB-VER libver>",
        summary: "Sets the name and version of the client's library",
        since: "7.2.0",
        arity: 4,
        plan: set_info,
        ..CLIENT
    },
    Spec {
        name: "client|setname",
        syntax: "connection-name",
        summary: "Sets the name of the connection, or removes it if the name is empty",
        since: "2.6.9",
        arity: 3,
        plan: |call| {
            check_name(call.arg(2))?.clone_into(&mut call.session.client.name.lock());
            reply(Reply::OK)
        },
        ..CLIENT
    },
    Spec {
        name: "client|tracking",
        syntax: "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        summary: "Tells the connection when keys change that it has read, or that begin with a prefix",
        since: "6.0.0",
        complexity: "O(1); some options need O(N) for N prefixes",
        arity: -3,
        flags: STATEFUL,
        plan: tracking::tracking,
        ..CLIENT
    },
    Spec {
        name: "client|trackinginfo",
        summary: "Returns how the connection tracks keys",
        since: "6.2.0",
        plan: tracking::tracking_info,
        ..CLIENT
    },
    Spec {
        name: "client|unblock",
        syntax: "client-id [TIMEOUT | ERROR]",
        summary: "Returns 0, because no command blocks its connection",
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
        flags: OTHERS.union(Flags::CONTROL),
        plan: |_| control(unpause),
        ..CLIENT
    },
];

/// Checks a name for a connection; an empty one removes the name.
pub fn check_name(name: &[u8]) -> Result<&str, Error> {
    check_attribute(name)
        .ok_or(Error::other("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// A name must not break up the lines of CLIENT LIST: printable ASCII, no spaces.
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

fn pause(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let writes_only = match call.rest(3) {
        [] => false,
        [_] if call.is(3, "write") => true,
        [_] if call.is(3, "all") => false,
        [_] => return Err(Error::other("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(wrong_subcommand(call)),
    };
    let steady_ms = clock::steady_ms();
    let until_ms = match number::parse_i64(call.arg(2)) {
        None => return Err(Error::other("ERR timeout is not an integer or out of range")),
        Some(..0) => return Err(Error::other("ERR timeout is negative")),
        Some(0) => 0,
        Some(timeout_ms @ 1..) => i64::try_from(steady_ms)
            .ok()
            .and_then(|now_ms| now_ms.checked_add(timeout_ms))
            .ok_or(Error::other("ERR timeout is out of range"))?,
    };
    let pause = call.server.clients.pause(Pause { until_ms: until_ms as u64, writes_only }, steady_ms);
    engine.sweep_from(pause.until_ms);
    reply(Reply::OK)
}

fn unpause(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    call.server.clients.unpause();
    engine.sweep_from(0);
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

/// The error for a known subcommand with a wrong number of words.
fn wrong_subcommand(call: &Call<'_>) -> Error {
    Error::other(format!(
        "ERR unknown subcommand or wrong number of arguments for '{:.128}'. Try CLIENT HELP.",
        call.text(1)
    ))
}

#[cfg(test)]
mod tests {
    use crate::command::clients::*;
    use crate::command::tests::harness::Harness;

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
        assert!(first.writes_only && first.until_ms > harness.server.started_ms + 99_999);
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
        let Reply::Verbatim(info) = harness.run("CLIENT INFO") else { panic!("not a text") };
        assert!(String::from_utf8_lossy(&info).contains(" flags=e "));
        let Reply::Array(help) = harness.run("CLIENT HELP") else { panic!("not a list") };
        assert_eq!(help[0], Reply::Simple("CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
        assert!(help.contains(&Reply::Simple("PAUSE timeout [WRITE | ALL]")));
    }
}
