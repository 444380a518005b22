//! How replies are compared, and the differences that are meant: the whole list, each with its reason.

use super::support::Reply;

/// What has to be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Every byte.
    Bytes,
    /// The elements, in any order.
    Elements,
    /// Numbers up to so much: the servers read the clock one after the other.
    About(i64),
    /// Whether it is an error and which, or nothing, or what type. The value is the server's own affair.
    Type,
    /// SCAN: all pages together, in any order.
    Pages,
}

/// Commands whose replies are not compared byte by byte, and why.
const OTHERWISE: &[(&str, Compare, &str)] = &[
    ("keys", Compare::Elements, "no order is promised"),
    ("scan", Compare::Pages, "no order is promised, and a cursor means something to its server alone"),
    ("randomkey", Compare::Type, "chance"),
    ("ttl", Compare::About(2), "clock"),
    ("pttl", Compare::About(2_000), "clock"),
    ("expiretime", Compare::About(2), "clock"),
    ("pexpiretime", Compare::About(2_000), "clock"),
    ("object idletime", Compare::Type, "there, small numbers share one value, and its age"),
    ("time", Compare::Type, "clock"),
    ("lastsave", Compare::Type, "clock"),
    ("hello", Compare::Type, "names the server, its version and the number of the connection"),
    ("info", Compare::Type, "describes the server"),
    ("client id", Compare::Type, "numbers of connections"),
    ("client info", Compare::Type, "describes the connection"),
    ("client list", Compare::Type, "describes the connections"),
    ("client help", Compare::Type, "made from Larder's own declarations"),
    ("object help", Compare::Type, "made from Larder's own declarations"),
    ("acl help", Compare::Type, "made from Larder's own declarations"),
    ("command help", Compare::Type, "made from Larder's own declarations"),
    ("config help", Compare::Type, "made from Larder's own declarations"),
    ("latency help", Compare::Type, "made from Larder's own declarations"),
    ("memory help", Compare::Type, "made from Larder's own declarations"),
    ("module help", Compare::Type, "made from Larder's own declarations"),
    ("slowlog help", Compare::Type, "made from Larder's own declarations"),
    ("command", Compare::Type, "lists the commands there are"),
    ("command count", Compare::Type, "counts the commands there are"),
    ("command docs", Compare::Type, "documents commands in Larder's words"),
    ("command info", Compare::Type, "lists subcommands that one of the two may not have"),
    ("command list", Compare::Type, "lists the commands there are"),
    ("module list", Compare::Type, "since version 8, Redis lists modules that are parts of it"),
    ("config get", Compare::Type, "Larder's settings are its own"),
    ("latency doctor", Compare::Type, "describes the server"),
    ("latency histogram", Compare::Type, "depends on how long commands took"),
    ("memory doctor", Compare::Type, "describes the server"),
    ("memory stats", Compare::Type, "describes the server"),
    ("memory usage", Compare::Type, "bytes on disk here, in memory there"),
    ("slowlog get", Compare::Type, "depends on how long commands took"),
    ("slowlog len", Compare::Type, "depends on how long commands took"),
    ("latency doctor", Compare::Type, "depends on how long commands took"),
    ("latency graph", Compare::Type, "depends on how long commands took"),
    ("latency histogram", Compare::Type, "depends on how long commands took"),
    ("latency history", Compare::Type, "depends on how long commands took"),
    ("latency latest", Compare::Type, "depends on how long commands took"),
    ("object encoding", Compare::Type, "tells what the bytes look like; how they came about is not kept"),
    (
        "dump",
        Compare::Type,
        "the version is that of the server; tests/rdb.rs restores payloads there and here",
    ),
    ("object refcount", Compare::Type, "there are no shared values in memory"),
];

/// Commands of Larder's table that both servers have and that are not sent, and why. A name stands for its subcommands.
const NOT_SENT: &[(&str, &str)] = &[
    ("client reply", "a reply that does not come cannot be compared; tests/scenarios/connection.txt has it"),
    ("config set", "Larder's settings are its own"),
    ("config rewrite", "Larder's settings are its own"),
    ("debug", "what it shows and does is of the inside of a server"),
    ("shutdown", "ends the servers"),
    ("wait", "may wait for ever; tests/scenarios/server.txt has it"),
    ("waitaof", "came with Redis 7.2"),
    ("bgsave", "its answer depends on whether one is running already"),
    ("bgrewriteaof", "its answer depends on whether one is running already"),
    ("lolwut", "art is free"),
    ("memory malloc-stats", "the form of the reply depends on the allocator that Redis was built with"),
    ("monitor", FOREIGN_MESSAGES),
    ("subscribe", FOREIGN_MESSAGES),
    ("psubscribe", FOREIGN_MESSAGES),
    ("ssubscribe", FOREIGN_MESSAGES),
    ("unsubscribe", FOREIGN_MESSAGES),
    ("punsubscribe", FOREIGN_MESSAGES),
    ("sunsubscribe", FOREIGN_MESSAGES),
    ("client tracking", FOREIGN_MESSAGES),
    ("client caching", FOREIGN_MESSAGES),
    ("eval", SCRIPTS),
    ("eval_ro", SCRIPTS),
    ("evalsha", SCRIPTS),
    ("evalsha_ro", SCRIPTS),
    ("script", SCRIPTS),
    ("fcall", SCRIPTS),
    ("fcall_ro", SCRIPTS),
    ("function", SCRIPTS),
    ("acl cat", USERS),
    ("acl deluser", USERS),
    ("acl dryrun", USERS),
    ("acl genpass", USERS),
    ("acl getuser", USERS),
    ("acl list", USERS),
    ("acl load", USERS),
    ("acl log", USERS),
    ("acl save", USERS),
    ("acl setuser", USERS),
    ("acl users", USERS),
    ("restore", "no payload is made by chance; tests/rdb.rs restores payloads there and here"),
    ("cluster", "describes a server that is alone, in its own words"),
    ("pubsub", "what is subscribed to does not change; tests/scenarios/pubsub.txt has it"),
    ("failover", "needs replication"),
    ("replicaof", "a mistake in it makes the reference a replica"),
    ("slaveof", "a mistake in it makes the reference a replica"),
];

const FOREIGN_MESSAGES: &str = "what others do comes in between the replies, at any time";
const SCRIPTS: &str = "no script is made by chance";
const USERS: &str = "users and categories are Larder's own; Redis's test suite is run for them";

/// Options that the reference does not know: they came after 7.0.
const NEWER_OPTIONS: &[&str] = &["IFEQ", "IFNE", "IFDEQ", "IFDNE", "MAXAGE"];

/// Options of CLIENT LIST and CLIENT KILL that are Valkey's: Redis does not know them.
const FILTERS_OF_VALKEY: &[&str] = &["IDLE", "FLAGS", "NAME", "LIB-NAME", "LIB-VER", "DB", "IP"];

/// Meant differences of single replies.
const MEANT: &[Meant] = &[
    Meant {
        why: "what is not a number is the name of a store",
        is: |command, larder, redis| {
            let is_no_number =
                redis.is_error("ERR invalid first DB") || redis.is_error("ERR invalid second DB");
            larder.is_error("NOSTORE") || (command == "swapdb" && is_no_number && larder.is_error(""))
        },
    },
    Meant {
        why: "as in Valkey, CLIENT LIST takes the filters of CLIENT KILL, and both take any number of ids",
        is: |command, _, redis| {
            let does_not_know = ["ERR syntax error", "ERR Invalid client ID"];
            matches!(command, "client list" | "client kill")
                && does_not_know.iter().any(|text| redis.is_error(text))
        },
    },
    Meant {
        why: "a key is at most 1,920 bytes long",
        is: |_, larder, _| match larder {
            Reply::Error(text) => text.ends_with(b"bytes, longer than the limit of 1920"),
            _ => false,
        },
    },
    Meant {
        why: "LCS compares no more than 16 million pairs of bytes",
        is: |command, larder, _| command == "lcs" && larder.is_error("ERR Insufficient memory"),
    },
    Meant {
        why: "what a client said is repeated as UTF-8, to its end: Redis repeats any bytes, up to a zero byte",
        is: |_, larder, redis| match (larder, redis) {
            (Reply::Error(ours), Reply::Error(theirs)) => {
                let shown: Vec<u8> = ours.iter().copied().filter(|byte| *byte != 0).collect();
                shown == String::from_utf8_lossy(theirs).as_bytes()
            }
            _ => false,
        },
    },
    Meant {
        why: "since Redis 8 the commands that COMMAND GETKEYS is asked about may be of one word",
        is: |_, _, redis| redis.is_error("ERR wrong number of arguments for 'command|getkeys"),
    },
    Meant {
        why: "since Redis 7.2 HELLO looks at all its options before it looks at the password",
        is: |command, larder, _| {
            let of_option = ["ERR Client names cannot", "ERR Syntax error in HELLO option"];
            command == "hello" && of_option.iter().any(|text| larder.is_error(text))
        },
    },
    Meant {
        why: "since Redis 8 the error of an unknown command without arguments does not end in an empty list of them",
        is: |_, larder, redis| match (larder, redis) {
            (Reply::Error(ours), Reply::Error(theirs)) => {
                theirs.strip_suffix(b", with args beginning with: ") == Some(&ours[..])
            }
            _ => false,
        },
    },
    Meant {
        why: "since Redis 8 a cursor is read like any other number",
        is: |command, larder, _| command == "scan" && larder.is_error("ERR invalid cursor"),
    },
];

struct Meant {
    why: &'static str,
    is: fn(&str, &Reply, &Reply) -> bool,
}

pub fn compare_of(command: &str) -> Compare {
    OTHERWISE.iter().find(|(name, ..)| *name == command).map_or(Compare::Bytes, |(_, compare, _)| *compare)
}

pub fn is_sent(command: &str) -> bool {
    let container = command.split(' ').next().unwrap_or_default();
    !NOT_SENT.iter().any(|(name, _)| *name == command || *name == container)
}

pub fn is_newer(words: &[Vec<u8>]) -> bool {
    let is_of_clients = words.first().is_some_and(|word| word.eq_ignore_ascii_case(b"client"));
    let filters = if is_of_clients { FILTERS_OF_VALKEY } else { &[] };
    let mut unknown = NEWER_OPTIONS.iter().chain(filters);
    unknown.any(|option| words.iter().any(|word| option.as_bytes() == word))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Alike,
    /// On the list. From here on the servers may hold different things.
    Meant,
    Different,
}

/// How two replies to a command go together.
pub fn judge(command: &str, compare: Compare, larder: &Reply, redis: &Reply) -> Verdict {
    let alike = larder == redis
        || match compare {
            Compare::Bytes => false,
            Compare::Elements => match (larder, redis) {
                (Reply::Array(ours), Reply::Array(theirs)) => sorted(ours) == sorted(theirs),
                _ => false,
            },
            Compare::About(tolerance) => match (larder, redis) {
                (Reply::Integer(ours), Reply::Integer(theirs)) => {
                    *ours >= 0 && *theirs >= 0 && ours.abs_diff(*theirs) <= tolerance.unsigned_abs()
                }
                _ => false,
            },
            Compare::Type | Compare::Pages => {
                let is_error = |reply: &Reply| matches!(reply, Reply::Error(_));
                let kind = std::mem::discriminant::<Reply>;
                !is_error(larder) && !is_error(redis) && kind(larder) == kind(redis)
            }
        };
    if alike {
        Verdict::Alike
    } else if MEANT.iter().any(|meant| (meant.is)(command, larder, redis)) {
        Verdict::Meant
    } else {
        Verdict::Different
    }
}

pub fn sorted(elements: &[Reply]) -> Vec<String> {
    let mut shown: Vec<String> = elements.iter().map(ToString::to_string).collect();
    shown.sort_unstable();
    shown
}

#[test]
fn every_difference_has_its_reason() {
    let reasons = OTHERWISE.iter().map(|(_, _, why)| *why);
    let reasons = reasons.chain(NOT_SENT.iter().map(|(_, why)| *why));
    for why in reasons.chain(MEANT.iter().map(|meant| meant.why)) {
        assert!(!why.is_empty());
    }
}
