//! A user without a right to a key sees neither its value nor its name, with any command.
//!
//! Commands that declare their keys are refused by the gate. Here are all the others: each has a line that is run by a
//! user of few rights, and no answer may hold what is hidden from that user.

#![allow(clippy::unwrap_used)]

use crate::command::COMMANDS;
use crate::command::base::{Flags, Keys, Session, Spec};
use crate::command::tests::harness::{Harness, mail, session, shown};

/// Every command that declares no keys, with requests that would show keys, values or stores if it did not look who asks.
/// One without a request ends the connection or the server, and answers nothing.
const REQUESTS: &[(&str, &[&str])] = &[
    ("acl|cat", &["ACL CAT"]),
    ("acl|deluser", &["ACL DELUSER nobody"]),
    ("acl|dryrun", &["ACL DRYRUN ada GET app:1", "ACL DRYRUN ada SELECT 17"]),
    ("acl|genpass", &["ACL GENPASS"]),
    ("acl|getuser", &["ACL GETUSER ada"]),
    ("acl|help", &["ACL HELP"]),
    ("acl|list", &["ACL LIST"]),
    ("acl|load", &["ACL LOAD"]),
    ("acl|log", &["ACL LOG"]),
    ("acl|save", &["ACL SAVE"]),
    ("acl|setuser", &["ACL SETUSER ada"]),
    ("acl|users", &["ACL USERS"]),
    ("acl|whoami", &["ACL WHOAMI"]),
    ("auth", &["AUTH ada pw"]),
    ("backup", &["BACKUP /tmp/none"]),
    ("bgrewriteaof", &["BGREWRITEAOF"]),
    ("bgsave", &["BGSAVE"]),
    ("client|caching", &["CLIENT CACHING YES"]),
    ("client|getname", &["CLIENT GETNAME"]),
    ("client|getredir", &["CLIENT GETREDIR"]),
    ("client|help", &["CLIENT HELP"]),
    ("client|id", &["CLIENT ID"]),
    ("client|info", &["CLIENT INFO"]),
    ("client|kill", &["CLIENT KILL ID 99"]),
    ("client|list", &["CLIENT LIST"]),
    ("client|no-evict", &["CLIENT NO-EVICT OFF"]),
    ("client|no-touch", &["CLIENT NO-TOUCH OFF"]),
    ("client|pause", &["CLIENT PAUSE 0"]),
    ("client|reply", &["CLIENT REPLY ON"]),
    ("client|setinfo", &["CLIENT SETINFO lib-name x"]),
    ("client|setname", &["CLIENT SETNAME x"]),
    ("client|tracking", &["CLIENT TRACKING OFF"]),
    ("client|trackinginfo", &["CLIENT TRACKINGINFO"]),
    ("client|unblock", &["CLIENT UNBLOCK 99"]),
    ("client|unpause", &["CLIENT UNPAUSE"]),
    ("command|count", &["COMMAND COUNT"]),
    ("command|docs", &["COMMAND DOCS get"]),
    ("command|getkeys", &["COMMAND GETKEYS GET app:1"]),
    ("command|getkeysandflags", &["COMMAND GETKEYSANDFLAGS GET app:1"]),
    ("command|help", &["COMMAND HELP"]),
    ("command|info", &["COMMAND INFO get"]),
    ("command|list", &["COMMAND LIST"]),
    ("config|get", &["CONFIG GET *"]),
    ("config|help", &["CONFIG HELP"]),
    ("config|resetstat", &["CONFIG RESETSTAT"]),
    ("config|rewrite", &["CONFIG REWRITE"]),
    ("config|set", &["CONFIG SET timeout 0"]),
    ("dbsize", &["DBSIZE"]),
    ("debug", &["DEBUG DIGEST", "DEBUG RELOAD"]),
    ("discard", &["DISCARD"]),
    ("echo", &["ECHO x"]),
    ("exec", &["EXEC"]),
    ("failover", &["FAILOVER"]),
    ("flushall", &["FLUSHALL"]),
    ("flushdb", &["FLUSHDB"]),
    ("function|delete", &["FUNCTION DELETE x"]),
    ("function|dump", &["FUNCTION DUMP"]),
    ("function|flush", &["FUNCTION FLUSH"]),
    ("function|help", &["FUNCTION HELP"]),
    ("function|kill", &["FUNCTION KILL"]),
    ("function|list", &["FUNCTION LIST WITHCODE"]),
    (
        "function|load",
        &[
            r##"FUNCTION LOAD "#!lua name=a\nredis.register_function('f', function() return redis.call('keys', '*') end)""##,
            "FCALL f 0",
        ],
    ),
    ("function|restore", &["FUNCTION RESTORE x"]),
    ("function|stats", &["FUNCTION STATS"]),
    ("hello", &["HELLO 3"]),
    ("info", &["INFO everything"]),
    ("keys", &["KEYS *", "KEYS h*", "KEYS hidden:1", "KEYS *1", "KEYS app:1"]),
    ("lastsave", &["LASTSAVE"]),
    ("latency|doctor", &["LATENCY DOCTOR"]),
    ("latency|graph", &["LATENCY GRAPH command"]),
    ("latency|help", &["LATENCY HELP"]),
    ("latency|histogram", &["LATENCY HISTOGRAM"]),
    ("latency|history", &["LATENCY HISTORY command"]),
    ("latency|latest", &["LATENCY LATEST"]),
    ("latency|reset", &["LATENCY RESET"]),
    ("lolwut", &["LOLWUT"]),
    ("memory|doctor", &["MEMORY DOCTOR"]),
    ("memory|help", &["MEMORY HELP"]),
    ("memory|malloc-stats", &["MEMORY MALLOC-STATS"]),
    ("memory|purge", &["MEMORY PURGE"]),
    ("memory|stats", &["MEMORY STATS"]),
    ("module|help", &["MODULE HELP"]),
    ("module|list", &["MODULE LIST"]),
    ("monitor", &["MONITOR"]),
    ("multi", &["MULTI", "KEYS *", "RANDOMKEY", "STORE ENTRIES 0", "EXEC"]),
    ("object|help", &["OBJECT HELP"]),
    ("ping", &["PING"]),
    ("psubscribe", &["PSUBSCRIBE app:x*"]),
    ("publish", &["PUBLISH app:x 1"]),
    ("pubsub|channels", &["PUBSUB CHANNELS"]),
    ("pubsub|help", &["PUBSUB HELP"]),
    ("pubsub|numpat", &["PUBSUB NUMPAT"]),
    ("pubsub|numsub", &["PUBSUB NUMSUB app:x"]),
    ("pubsub|shardchannels", &["PUBSUB SHARDCHANNELS"]),
    ("pubsub|shardnumsub", &["PUBSUB SHARDNUMSUB app:x"]),
    ("punsubscribe", &["PUNSUBSCRIBE app:x*"]),
    ("quit", &[]),
    ("randomkey", &["RANDOMKEY", "RANDOMKEY", "RANDOMKEY", "RANDOMKEY", "RANDOMKEY", "RANDOMKEY"]),
    ("replicaof", &["REPLICAOF NO ONE"]),
    ("reset", &[]),
    ("role", &["ROLE"]),
    ("save", &["SAVE"]),
    ("scan", &["SCAN 0 COUNT 1000", "SCAN 0 MATCH h* COUNT 1000", "SCAN 0 MATCH hidden:1"]),
    ("script|debug", &["SCRIPT DEBUG NO"]),
    ("script|exists", &["SCRIPT EXISTS x"]),
    ("script|flush", &["SCRIPT FLUSH"]),
    ("script|help", &["SCRIPT HELP"]),
    ("script|kill", &["SCRIPT KILL"]),
    (
        "script|load",
        &[
            "SCRIPT LOAD 'return 1'",
            r#"EVAL "return redis.call('keys', '*')" 0"#,
            r#"EVAL "return redis.call('scan', '0')" 0"#,
            r#"EVAL "return redis.call('randomkey')" 0"#,
            r#"EVAL "return redis.call('store', 'entries', '0')" 0"#,
        ],
    ),
    // whoever knows the SHA-1 of a text knows the text
    ("script|show", &["SCRIPT SHOW ffffffffffffffffffffffffffffffffffffffff"]),
    ("select", &["SELECT 17", "SELECT 0"]),
    ("shutdown", &[]),
    ("slaveof", &["SLAVEOF NO ONE"]),
    ("slowlog|get", &["SLOWLOG GET -1"]),
    ("slowlog|help", &["SLOWLOG HELP"]),
    ("slowlog|len", &["SLOWLOG LEN"]),
    ("slowlog|reset", &["SLOWLOG RESET"]),
    ("spublish", &["SPUBLISH app:x 1"]),
    ("ssubscribe", &["SSUBSCRIBE app:x"]),
    ("store|create", &["STORE CREATE mine"]),
    ("store|drop", &["STORE DROP 17 FORCE"]),
    ("store|entries", &["STORE ENTRIES 0", "STORE ENTRIES orders WITHMETA", "STORE ENTRIES 17"]),
    ("store|help", &["STORE HELP"]),
    ("store|info", &["STORE INFO", "STORE INFO 17"]),
    ("store|link", &["STORE LINK 17 w"]),
    ("store|links", &["STORE LINKS orders", "STORE LINKS 17"]),
    ("store|list", &["STORE LIST"]),
    ("store|rename", &["STORE RENAME orders mine"]),
    ("store|set", &["STORE SET 0 retention 1"]),
    (
        "store|tree",
        &["STORE TREE 0", "STORE TREE 0 PREFIX hidden:", "STORE TREE orders SEPARATOR i", "STORE TREE 17"],
    ),
    ("store|unlink", &["STORE UNLINK orders w"]),
    ("subscribe", &["SUBSCRIBE app:x"]),
    ("sunsubscribe", &["SUNSUBSCRIBE app:x"]),
    ("swapdb", &["SWAPDB 0 17"]),
    ("time", &["TIME"]),
    ("unsubscribe", &["UNSUBSCRIBE app:x"]),
    ("unwatch", &["UNWATCH"]),
    ("wait", &["WAIT 0 0"]),
    ("waitaof", &["WAITAOF 0 0 0"]),
];

/// A server with hidden records, stores and channels; the harness has the session of a user who may use the keys `app:*`
/// and write to `wo:*`, in the stores `0` and `orders`. The other session is the administrator's.
fn scene() -> (Harness, Session) {
    let mut h = Harness::new();
    h.expect(&[
        ("CONFIG SET slowlog-log-slower-than 0 notify-keyspace-events KEA default-values any", "OK"),
        ("STORE CREATE orders", "OK"),
        ("STORE CREATE hidden-store", "OK"),
        ("ACL SETUSER ada on >pw ~app:* %W~wo:* &app:* +@all store=0 store=orders", "OK"),
        ("ACL SETUSER bob on >pw +get", "OK"),
    ]);
    for store in ["0", "orders"] {
        h.expect(&[
            (&format!("SELECT {store}"), "OK"),
            ("MSET app:1 shown hidden:1 hidden-value wo:1 hidden-value", "OK"),
        ]);
    }
    h.expect(&[
        ("SELECT hidden-store", "OK"),
        ("SET app:hidden hidden-value", "OK"),
        ("CONFIG SET max-keys 7", "OK"),
        ("STORE SET hidden-store max-keys 1", "OK"),
    ]);
    let mut bob = session(&h.server);
    h.swap(&mut bob);
    h.expect(&[("AUTH bob pw", "OK")]);
    h.run("GET hidden:2");
    let mut subscriber = session(&h.server);
    h.swap(&mut subscriber);
    h.run("SUBSCRIBE hidden-channel");
    h.run("SSUBSCRIBE hidden-channel");
    let mut administrator = session(&h.server);
    administrator.select(17);
    h.session = session(&h.server);
    h.session.set_protocol(crate::resp::Protocol::Resp3);
    h.expect(&[("AUTH ada pw", "OK")]);
    (h, administrator)
}

#[test]
fn what_a_user_has_no_right_to_is_in_no_answer() {
    let (mut h, _administrator) = scene();
    let declares_none = |spec: &&'static Spec| spec.keys == Keys::None && spec.subcommands.is_empty();
    for spec in COMMANDS.everything().filter(declares_none) {
        let (_, lines) = REQUESTS.iter().find(|(name, _)| *name == spec.name).unwrap_or_else(|| {
            panic!("{} declares no keys: say with a request that it shows none", spec.name)
        });
        for line in *lines {
            let told = h.send(line).map(|reply| shown(&reply)).unwrap_or_default();
            assert!(!told.contains("hidden"), "{line}: {told}");
        }
    }
    let known = |name: &str| COMMANDS.find_full(name.as_bytes()).is_some_and(|spec| declares_none(&spec));
    let unknown: Vec<&str> = REQUESTS.iter().map(|(name, _)| *name).filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn what_a_user_has_a_right_to_is_shown() {
    let (mut h, mut administrator) = scene();
    h.expect(&[
        ("KEYS *", r#"["app:1", "wo:1"]"#),
        ("KEYS app:*", r#"["app:1"]"#),
        ("SCAN 0 COUNT 100", r#"["0", ["app:1", "wo:1"]]"#),
        ("STORE ENTRIES orders", r#"["0", [["app:1", "shown", -1]]]"#),
        (r#"EVAL "return redis.call('keys', '*')" 0"#, r#"["app:1", "wo:1"]"#),
        ("FLUSHDB", "-NOPERM No permissions to access all keys, as this command needs"),
    ]);
    let drawn: std::collections::BTreeSet<String> = (0..100).map(|_| shown(&h.run("RANDOMKEY"))).collect();
    assert_eq!(Vec::from_iter(drawn), [r#""app:1""#, r#""wo:1""#]);
    let told = shown(&h.run("MEMORY STATS"));
    assert!(told.contains(r#""keys.count": 6"#), "{told}");
    let told = shown(&h.run("INFO keyspace limits stores"));
    assert!(told.contains("db0:keys=3,") && told.contains("\\nkeys:6\\r"), "{told}");
    let told = shown(&h.run("SLOWLOG GET -1"));
    assert!(told.contains(r#"["MSET", "... (6 more arguments)"]"#), "{told}");
    h.swap(&mut administrator);
    let told = shown(&h.run("SLOWLOG GET -1"));
    assert!(told.contains(r#"["MSET", "app:1", "shown", "hidden:1""#), "{told}");
}

/// A selector's keys are for its own commands and stores.
#[test]
fn selectors_do_not_mix() {
    let (mut h, mut administrator) = scene();
    h.swap(&mut administrator);
    let rules = "ACL SETUSER ada resetkeys resetstores -@all (~app:* +keys store=0) (~hidden:* +get +keys store=orders)";
    h.expect(&[(rules, "OK")]);
    h.swap(&mut administrator);
    h.expect(&[("KEYS *", r#"["app:1"]"#)]);
    h.session.select(16);
    h.expect(&[("KEYS *", r#"["hidden:1"]"#)]);
}

/// A cursor is made of the key that a page ended at: none of a hidden one may be in it.
#[test]
fn cursors_hold_nothing_of_hidden_keys() {
    let (mut h, mut administrator) = scene();
    h.swap(&mut administrator);
    h.expect(&[("SELECT 0", "OK"), ("CONFIG SET max-keys 0", "OK")]);
    for n in 0..20 {
        h.run(&format!("SET m{n:02} 1"));
    }
    h.swap(&mut administrator);
    let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let told = shown(&h.run(&format!("SCAN {cursor} COUNT 2")));
        let (next, keys) = told.trim_start_matches(r#"[""#).split_once(r#"", "#).unwrap();
        seen.push(keys.to_owned());
        cursor = next.to_owned();
        if cursor == "0" {
            break;
        }
        assert_eq!(cursor.parse::<u64>().unwrap() & 0xffff_ffff, 0, "{cursor}");
        assert!(seen.len() < 100);
    }
    assert_eq!(seen.concat().matches(":1").count(), 2, "{seen:?}");
}

#[test]
fn news_of_hidden_keys_is_not_sent() {
    let (mut h, mut administrator) = scene();
    h.swap(&mut administrator);
    h.expect(&[
        ("ACL SETUSER ada allchannels", "OK"),
        ("STORE SET hidden-store max-keys none", "OK"),
        ("CONFIG SET max-keys 0", "OK"),
        ("SELECT 0", "OK"),
    ]);
    h.swap(&mut administrator);
    for line in ["PSUBSCRIBE *", "SUBSCRIBE __keyspace@0__:hidden:1 __keyevent@hidden-store__:set"] {
        h.run(line);
    }
    h.expect(&[("CLIENT TRACKING ON BCAST", "OK")]);
    h.swap(&mut administrator);
    h.expect(&[
        ("MSET app:2 1 hidden:1 2 wo:2 3", "OK"),
        ("SELECT hidden-store", "OK"),
        ("SET app:elsewhere 1", "OK"),
    ]);
    h.swap(&mut administrator);
    let told = mail(&h.session.client);
    for part in ["__keyspace@0__:app:2", "__keyevent@0__:set", "$5\r\napp:2\r\n$4\r\nwo:2"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    for part in ["hidden", "elsewhere"] {
        assert!(!told.contains(part), "{part} in {told}");
    }
    // what others publish is no news of the server: the rules for channels are what counts
    h.swap(&mut administrator);
    h.expect(&[("PUBLISH __keyspace@0__:hidden:1 x", "2")]);
}

/// A change of a key in a store that one may not use tells nothing, and does not end what was promised for the other store.
#[test]
fn keys_that_were_read_stay_remembered() {
    let (mut h, mut administrator) = scene();
    h.swap(&mut administrator);
    h.expect(&[("CONFIG SET max-keys 0", "OK"), ("STORE SET hidden-store max-keys none", "OK")]);
    h.swap(&mut administrator);
    h.expect(&[("CLIENT TRACKING ON", "OK"), ("GET app:1", r#""shown""#)]);
    h.swap(&mut administrator);
    h.expect(&[("SET app:1 1", "OK")]);
    h.swap(&mut administrator);
    assert_eq!(mail(&h.session.client), "");
    h.swap(&mut administrator);
    h.expect(&[("SELECT 0", "OK"), ("SET app:1 1", "OK")]);
    h.swap(&mut administrator);
    assert!(mail(&h.session.client).contains("invalidate"));
}

#[test]
fn who_watches_everything_loses_it_with_the_right() {
    let (mut h, mut administrator) = scene();
    h.swap(&mut administrator);
    h.expect(&[("ACL SETUSER ada allkeys allstores", "OK")]);
    h.swap(&mut administrator);
    h.expect(&[("MONITOR", "OK")]);
    h.swap(&mut administrator);
    h.run("GET hidden:1");
    assert!(mail(&administrator.client).contains("hidden:1"));
    h.expect(&[("ACL SETUSER ada resetkeys ~app:*", "OK")]);
    h.run("GET hidden:1");
    assert_eq!(mail(&administrator.client), "");
}

/// What a command that names or changes whole stores needs beside the right to run it: `a`dmin, `d`angerous, and all keys
/// to be `r`ead or `w`ritten.
const OF_STORES: &[(&str, &str)] = &[
    ("acl|log", "adr"),
    ("backup", "adr"),
    // a filter leaves out connections
    ("client|kill", "ad"),
    ("client|list", "ad"),
    // the keys are declared, and both stores are asked for
    ("copy", ""),
    ("dbsize", ""),
    ("debug", "adr"),
    ("flushall", "dw"),
    ("flushdb", "dw"),
    // functions do what their callers may do
    ("function|delete", ""),
    ("function|dump", ""),
    ("function|flush", ""),
    ("function|help", ""),
    ("function|kill", ""),
    ("function|list", ""),
    ("function|load", ""),
    ("function|restore", ""),
    ("function|stats", ""),
    ("monitor", "adr"),
    ("move", ""),
    ("select", ""),
    // what it creates is empty
    ("store|create", ""),
    ("store|drop", "adrw"),
    // shows what its user may read
    ("store|entries", ""),
    ("store|info", ""),
    // workflows link themselves; it only makes DROP ask for FORCE, which needs its own rights
    ("store|link", ""),
    ("store|links", ""),
    ("store|list", ""),
    // the records are judged by the new name from then on
    ("store|rename", "adrw"),
    // retention and default-ttl remove records
    ("store|set", "adrw"),
    // it shows what the user may see
    ("store|tree", ""),
    ("store|unlink", ""),
    ("swapdb", "drw"),
];

#[test]
fn what_works_on_whole_stores_needs_all_keys_of_them() {
    use crate::acl::Access;
    use crate::command::base::reach::Stores;
    let is_of_stores = |spec: &&'static Spec| {
        !matches!(spec.stores, Stores::ByFlags | Stores::Selected)
            || !spec.all_keys.is_empty()
            || spec.keys == Keys::None && spec.is(Flags::WRITE)
            || spec.name == "dbsize"
    };
    for spec in COMMANDS.everything().filter(is_of_stores) {
        let categories: Vec<&str> = spec.categories().collect();
        let needs: String = [
            ('a', categories.contains(&"@admin")),
            ('d', categories.contains(&"@dangerous")),
            ('r', spec.all_keys.contains(Access::READ)),
            ('w', spec.all_keys.contains(Access::WRITE)),
        ]
        .into_iter()
        .filter_map(|(letter, applies)| applies.then_some(letter))
        .collect();
        let expected = OF_STORES.iter().find(|(name, _)| *name == spec.name).map(|(_, needs)| *needs);
        assert_eq!(Some(&*needs), expected, "{}", spec.name);
    }
}

#[test]
fn who_has_some_keys_changes_no_store() {
    let (mut h, mut administrator) = scene();
    let refused = "-NOPERM No permissions to access all keys, as this command needs";
    let lines = [
        "STORE SET orders retention 1",
        "STORE RENAME orders orders",
        "STORE DROP orders FORCE",
        "SWAPDB 0 orders",
        "FLUSHDB",
    ];
    for line in lines {
        h.expect(&[(line, refused)]);
        h.expect(&[(
            &format!("ACL DRYRUN ada {line}"),
            &format!("\"User ada has no permissions to {ALL}\""),
        )]);
    }
    h.swap(&mut administrator);
    h.expect(&[("ACL SETUSER ada resetkeys %W~*", "OK")]);
    h.swap(&mut administrator);
    h.expect(&[("SWAPDB 0 orders", refused), ("FLUSHDB", "OK")]);
    h.swap(&mut administrator);
    h.expect(&[("ACL SETUSER ada ~* +@all -@admin -@dangerous", "OK")]);
    h.swap(&mut administrator);
    for line in lines {
        assert!(shown(&h.run(line)).contains("no permissions to run the"), "{line}");
    }
}

const ALL: &str = "access all keys, as this command needs";
