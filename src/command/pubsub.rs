//! Channels: SUBSCRIBE and related commands, PUBLISH, PUBSUB.
//!
//! The reply to a subscription is a push for every name. A published message may reveal everything that its publisher
//! has done or seen, so it waits until that is durable, like a reply; published in a transaction, it waits for the
//! transaction.

use bytes::Bytes;

use crate::command::base::reach::Channels;
use crate::command::base::table::help;
use crate::command::base::{Call, Flags, Group, KeyUse, KeyUses, Plan, Session, Spec, permission, reply};
use crate::error::Error;
use crate::limits::CHANNEL_BYTES_MAX;
use crate::push::channels::{Publication, SubscriptionKind};
use crate::resp::Reply;
use crate::store::Pattern;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "subscribe",
        syntax: "channel [channel ...]",
        channels: Channels::All,
        summary: "Subscribes the connection to channels",
        plan: |call| subscribe(call, "subscribe", SubscriptionKind::Channel),
        ..SUBSCRIBE
    },
    Spec {
        name: "psubscribe",
        syntax: "pattern [pattern ...]",
        channels: Channels::Patterns,
        summary: "Subscribes the connection to the channels that match patterns",
        plan: |call| subscribe(call, "psubscribe", SubscriptionKind::Pattern),
        ..SUBSCRIBE
    },
    Spec {
        name: "ssubscribe",
        syntax: "shardchannel [shardchannel ...]",
        channels: Channels::All,
        summary: "Subscribes the connection to shard channels; this server is the only shard",
        since: "7.0.0",
        key_uses: KeyUses::Each(&[KeyUse::NOT_KEY]),
        plan: |call| subscribe(call, "ssubscribe", SubscriptionKind::Shard),
        ..SUBSCRIBE
    },
    Spec {
        name: "unsubscribe",
        syntax: "[channel [channel ...]]",
        summary: "Ends subscriptions to channels; without arguments, all of them",
        plan: |call| unsubscribe(call, "unsubscribe", SubscriptionKind::Channel),
        ..UNSUBSCRIBE
    },
    Spec {
        name: "punsubscribe",
        syntax: "[pattern [pattern ...]]",
        summary: "Ends subscriptions to patterns; without arguments, all of them",
        plan: |call| unsubscribe(call, "punsubscribe", SubscriptionKind::Pattern),
        ..UNSUBSCRIBE
    },
    Spec {
        name: "sunsubscribe",
        syntax: "[shardchannel [shardchannel ...]]",
        summary: "Ends subscriptions to shard channels; without arguments, all of them",
        since: "7.0.0",
        key_uses: KeyUses::Each(&[KeyUse::NOT_KEY]),
        plan: |call| unsubscribe(call, "sunsubscribe", SubscriptionKind::Shard),
        ..UNSUBSCRIBE
    },
    Spec {
        name: "publish",
        syntax: "channel message",
        channels: Channels::One,
        summary: "Sends a message to the subscribers of a channel, and returns their number",
        plan: |call| publish(call, false),
        ..PUBLISH
    },
    Spec {
        name: "spublish",
        syntax: "shardchannel message",
        channels: Channels::One,
        summary: "Sends a message to the subscribers of a shard channel, and returns their number",
        since: "7.0.0",
        key_uses: KeyUses::Each(&[KeyUse::NOT_KEY]),
        plan: |call| publish(call, true),
        ..PUBLISH
    },
    Spec {
        name: "pubsub",
        summary: "Commands about subscriptions",
        since: "2.8.0",
        complexity: "Depends on subcommand.",
        arity: -2,
        subcommands: SUBCOMMANDS,
        ..GROUP
    },
];

const GROUP: Spec = Spec { group: Group::PubSub, since: "2.0.0", ..Spec::DEFAULT };
const SUBSCRIBE: Spec = Spec {
    complexity: "O(N) where N is the number of names",
    arity: -2,
    flags: Flags::PUBSUB
        .union(Flags::NOSCRIPT)
        .union(Flags::LOADING)
        .union(Flags::STALE)
        .union(Flags::STATEFUL)
        .union(Flags::WHILE_SUBSCRIBED),
    ..GROUP
};
const UNSUBSCRIBE: Spec = Spec { arity: -1, ..SUBSCRIBE };
const PUBLISH: Spec = Spec {
    complexity: "O(N+M) where N is the number of subscribers and M that of patterns",
    arity: 3,
    flags: Flags::PUBSUB
        .union(Flags::LOADING)
        .union(Flags::STALE)
        .union(Flags::FAST)
        .union(Flags::MAY_REPLICATE),
    ..GROUP
};
const SUBCOMMAND: Spec = Spec {
    since: "2.8.0",
    complexity: "O(N) where N is the number of names asked about",
    flags: Flags::PUBSUB.union(Flags::LOADING).union(Flags::STALE),
    ..GROUP
};

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "pubsub|channels",
        syntax: "[pattern]",
        summary: "Returns the channels that have subscribers",
        complexity: "O(N) where N is the number of channels",
        arity: -2,
        plan: |call| channels(call, SubscriptionKind::Channel),
        ..SUBCOMMAND
    },
    Spec {
        name: "pubsub|numpat",
        summary: "Returns the number of patterns that are subscribed to",
        complexity: "O(1)",
        arity: 2,
        plan: |call| reply(Reply::Integer(call.server.push.channels.count(SubscriptionKind::Pattern) as i64)),
        ..SUBCOMMAND
    },
    Spec {
        name: "pubsub|numsub",
        syntax: "[channel [channel ...]]",
        summary: "Returns the number of subscribers of channels",
        arity: -2,
        plan: |call| subscribers(call, SubscriptionKind::Channel),
        ..SUBCOMMAND
    },
    Spec {
        name: "pubsub|shardchannels",
        syntax: "[pattern]",
        summary: "Returns the shard channels that have subscribers",
        since: "7.0.0",
        complexity: "O(N) where N is the number of channels",
        arity: -2,
        plan: |call| channels(call, SubscriptionKind::Shard),
        ..SUBCOMMAND
    },
    Spec {
        name: "pubsub|shardnumsub",
        syntax: "[shardchannel [shardchannel ...]]",
        summary: "Returns the number of subscribers of shard channels",
        since: "7.0.0",
        arity: -2,
        plan: |call| subscribers(call, SubscriptionKind::Shard),
        ..SUBCOMMAND
    },
    Spec {
        name: "pubsub|help",
        summary: "Lists the subcommands",
        since: "6.2.0",
        complexity: "O(1)",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE),
        plan: help,
        ..SUBCOMMAND
    },
];

/// Refuses a channel or pattern that is too long: publishing compares every channel with every pattern.
fn check_length(name: &[u8]) -> Result<(), Error> {
    if name.len() > CHANNEL_BYTES_MAX {
        let bytes = name.len();
        return Err(Error::other(format!(
            "ERR channel or pattern is {bytes} bytes, longer than the limit of {CHANNEL_BYTES_MAX}"
        )));
    }
    Ok(())
}

fn subscribe(call: &mut Call<'_>, event: &'static str, kind: SubscriptionKind) -> Result<Plan, Error> {
    call.rest(1).iter().try_for_each(|name| check_length(name))?;
    let Call { server, session, args, .. } = call;
    let Session { client, subscriptions, .. } = &mut **session;
    let mut confirmations = Vec::with_capacity(args.len() - 1);
    for name in &args[1..] {
        let name = Bytes::copy_from_slice(name);
        server.push.channels.subscribe(client, subscriptions, kind, name.clone())?;
        confirmations.push(confirmation(event, Reply::Bulk(name), subscriptions.counted_with(kind)));
    }
    session.show_memory();
    reply(Reply::Sequence(confirmations))
}

fn unsubscribe(call: &mut Call<'_>, event: &'static str, kind: SubscriptionKind) -> Result<Plan, Error> {
    let Call { server, session, args, .. } = call;
    let Session { client, subscriptions, .. } = &mut **session;
    let names: Vec<Bytes> = match &args[1..] {
        [] => subscriptions.of(kind).iter().cloned().collect(),
        names => names.to_vec(),
    };
    let mut confirmations = Vec::with_capacity(names.len());
    for name in names {
        server.push.channels.unsubscribe(client, subscriptions, kind, &name);
        confirmations.push(confirmation(event, Reply::Bulk(name), subscriptions.counted_with(kind)));
    }
    if confirmations.is_empty() {
        confirmations.push(confirmation(event, Reply::Null, subscriptions.counted_with(kind)));
    }
    session.show_memory();
    // no message may come after the end of its subscription
    session.messages_first = session.client.mailbox.size().0;
    reply(Reply::Sequence(confirmations))
}

fn confirmation(event: &'static str, name: Reply, count: usize) -> Reply {
    Reply::Push(vec![Reply::text(event), name, Reply::Integer(count as i64)])
}

fn publish(call: &mut Call<'_>, shard: bool) -> Result<Plan, Error> {
    check_length(call.arg(1))?;
    let kept = |at| Bytes::copy_from_slice(call.arg(at));
    let publication = Publication { channel: kept(1), payload: kept(2), shard, about: None };
    let (engine, push, seen) = (call.server.engine, &call.server.push, call.session.seen);
    let receivers = if engine.is_in_group() {
        let (receivers, push) = (push.channels.receivers(&publication), push.clone());
        engine.say_at_end(move |seq| {
            push.channels.publish(&push.post, seen.max(seq), publication);
        });
        receivers
    } else {
        push.channels.publish(&push.post, seen, publication)
    };
    reply(Reply::Integer(receivers as i64))
}

fn channels(call: &mut Call<'_>, kind: SubscriptionKind) -> Result<Plan, Error> {
    let pattern = match call.rest(2) {
        [] => None,
        [pattern] => Some(Pattern::new(pattern)?),
        _ => {
            return Err(Error::other(format!(
                "ERR unknown subcommand or wrong number of arguments for '{:.128}'. Try PUBSUB HELP.",
                call.text(1)
            )));
        }
    };
    let names = call.server.push.channels.active(kind, pattern.as_ref()).into_iter();
    let usable = names.filter(|name| permission::may_use_channel(call.session, name, false));
    reply(Reply::Array(usable.map(Reply::Bulk).collect()))
}

fn subscribers(call: &mut Call<'_>, kind: SubscriptionKind) -> Result<Plan, Error> {
    let counted = |name: &Bytes| {
        let count = call.server.push.channels.subscribers_of(kind, name);
        [Reply::Bulk(name.clone()), Reply::Integer(count as i64)]
    };
    reply(Reply::Array(call.rest(2).iter().flat_map(counted).collect()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use bytes::BytesMut;

    use super::*;
    use crate::command::tests::harness::{Harness, session};
    use crate::engine::Seq;

    #[test]
    fn subscriptions_are_confirmed_and_counted() {
        let mut harness = Harness::new();
        harness.expect(&[
            ("SUBSCRIBE a b a", r#"["subscribe", "a", 1], ["subscribe", "b", 2], ["subscribe", "a", 2]"#),
            ("PSUBSCRIBE x*", r#"["psubscribe", "x*", 3]"#),
            ("SSUBSCRIBE s", r#"["ssubscribe", "s", 1]"#),
            ("UNSUBSCRIBE none a", r#"["unsubscribe", "none", 3], ["unsubscribe", "a", 2]"#),
            ("UNSUBSCRIBE", r#"["unsubscribe", "b", 1]"#),
            ("UNSUBSCRIBE", r#"["unsubscribe", nil, 1]"#),
            ("PUNSUBSCRIBE", r#"["punsubscribe", "x*", 0]"#),
            ("SUNSUBSCRIBE", r#"["sunsubscribe", "s", 0]"#),
        ]);
        assert!(!harness.session.client.is_subscriber() && harness.server.push.channels.is_empty());
    }

    #[test]
    fn in_resp2_who_listens_does_little_else() {
        let mut harness = Harness::new();
        harness.expect(&[
            ("SUBSCRIBE a", r#"["subscribe", "a", 1]"#),
            (
                "CLIENT LIST",
                "-ERR Can't execute 'client|list': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                 allowed in this context",
            ),
            ("PING", r#"["pong", ""]"#),
            ("PING x", r#"["pong", "x"]"#),
            ("PING x y", "-ERR wrong number of arguments for 'ping' command"),
            ("RESET", "RESET"),
            ("PING", "PONG"),
        ]);
        let mut harness = harness.resp3();
        harness.expect(&[("SUBSCRIBE a", r#"["subscribe", "a", 1]"#), ("PING", "PONG"), ("GET k", "nil")]);
    }

    /// A client that has sent these lines.
    fn listener(harness: &mut Harness, lines: &[&str]) -> Session {
        let mut listener = session(&harness.server);
        harness.swap(&mut listener);
        lines.iter().for_each(|line| drop(harness.run(line)));
        harness.swap(&mut listener);
        listener
    }

    /// The messages that wait for a client, and the sequence number that they must not overtake.
    fn waiting(listener: &Session) -> (Seq, String) {
        let mut out = BytesMut::new();
        let seq = listener.client.mailbox.take(&mut out, usize::MAX, usize::MAX);
        (seq, out.escape_ascii().to_string())
    }

    #[test]
    fn a_message_waits_for_what_its_sender_has_seen() {
        let mut harness = Harness::new();
        let listener = listener(&mut harness, &["SUBSCRIBE news"]);
        harness.expect(&[("PUBLISH news 1", "1"), ("PUBLISH other 1", "0")]);
        assert_eq!(waiting(&listener).0, 0);
        harness.expect(&[("SET k 1", "OK"), ("PUBLISH news 2", "1")]);
        assert_eq!(waiting(&listener).0, harness.server.engine.reader().last_seq());
        harness.expect(&[("MULTI", "OK"), ("PUBLISH news 3", "QUEUED"), ("INCR k", "QUEUED")]);
        harness.expect(&[("EXEC", "[1, 2]")]);
        assert_eq!(waiting(&listener).0, harness.server.engine.reader().last_seq());
    }

    #[test]
    fn messages_are_of_the_receivers_protocol() {
        let mut harness = Harness::new();
        let old = listener(&mut harness, &["SUBSCRIBE a", "PSUBSCRIBE ?", "SSUBSCRIBE a"]);
        let new = listener(&mut harness, &["HELLO 3", "SUBSCRIBE a"]);
        harness.expect(&[("PUBLISH a x", "3")]);
        let message = r"3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n";
        let by_pattern = r"*4\r\n$8\r\npmessage\r\n$1\r\n?\r\n$1\r\na\r\n$1\r\nx\r\n";
        assert_eq!(waiting(&old).1, format!("*{message}{by_pattern}"));
        assert_eq!(waiting(&new).1, format!(">{message}"));
        harness.expect(&[("SPUBLISH a x", "1")]);
        assert_eq!(waiting(&old).1, r"*3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$1\r\nx\r\n");
    }

    #[test]
    fn what_waits_when_a_subscription_ends_comes_first() {
        let mut harness = Harness::new();
        let mut listener = listener(&mut harness, &["SUBSCRIBE a b"]);
        harness.expect(&[("PUBLISH a 1", "1"), ("PUBLISH b 1", "1")]);
        harness.swap(&mut listener);
        harness.expect(&[("UNSUBSCRIBE a", r#"["unsubscribe", "a", 1]"#)]);
        assert_eq!(harness.session.messages_first, 2);
    }

    #[test]
    fn who_reads_nothing_is_disconnected() {
        let mut harness = Harness::new();
        let listener = listener(&mut harness, &["SUBSCRIBE a"]);
        harness.expect(&[("CONFIG SET client-output-buffer-limit \"pubsub 1000 0 0\"", "OK")]);
        for _ in 0..9 {
            harness.expect(&[("PUBLISH a x", "1")]);
        }
        assert!(!listener.client.kill.is_raised());
        harness.run(&format!("PUBLISH a {}", "x".repeat(500)));
        assert!(listener.client.kill.is_raised());
        assert_eq!(listener.client.mailbox.size(), (0, 0));
        assert_eq!(harness.server.push.post.overflows.load(Ordering::Relaxed), 1);
        // from then on nobody counts it, though its task has not ended yet
        harness.expect(&[
            ("PUBLISH a x", "0"),
            ("PUBSUB NUMSUB a", "[\"a\", 0]"),
            ("PUBSUB CHANNELS", "[]"),
            ("CLIENT LIST ID 2", "\"\""),
            ("CLIENT KILL ID 2", "0"),
        ]);
        assert_eq!(harness.server.clients.len(), 1);
    }

    #[test]
    fn stores_with_a_name_are_notified_of_by_name() {
        let mut harness = Harness::new();
        let listener = listener(&mut harness, &["PSUBSCRIBE __key*"]);
        harness.expect(&[
            ("STORE CREATE orders", "OK"),
            ("SELECT orders", "OK"),
            ("CONFIG SET notify-keyspace-events KEA", "OK"),
            ("SET k 1", "OK"),
        ]);
        let (seq, message) = waiting(&listener);
        assert_eq!(seq, harness.server.engine.reader().last_seq());
        assert!(message.contains(r"__keyspace@orders__:k\r\n$3\r\nset"), "{message}");
        assert!(message.contains(r"__keyevent@orders__:set\r\n$1\r\nk"), "{message}");
    }

    #[test]
    fn channels_are_under_access_control() {
        let mut harness = Harness::new();
        harness.expect(&[("ACL SETUSER ada on >pw resetchannels &news +@all", "OK")]);
        let mut ada = listener(&mut harness, &["AUTH ada pw", "SUBSCRIBE news"]);
        harness.swap(&mut ada);
        let refused = "-NOPERM No permissions to access a channel";
        harness.expect(&[("SUBSCRIBE news weather", refused), ("PSUBSCRIBE n*", refused)]);
        harness.swap(&mut ada);
        harness.expect(&[("ACL SETUSER ada +get", "OK")]);
        assert!(!ada.client.kill.is_raised());
        harness.expect(&[("ACL SETUSER ada resetchannels &other", "OK")]);
        assert!(ada.client.kill.is_raised(), "it may not hear news any more");
    }
}
