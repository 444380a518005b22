//! The properties of a command.

use bitflags::bitflags;

bitflags! {
    /// Properties of a command. COMMAND INFO shows the names in lower case, except for the last ones.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Flags: u64 {
        const WRITE = 1;
        const READONLY = 1 << 1;
        const DENYOOM = 1 << 2;
        const ADMIN = 1 << 3;
        const NOSCRIPT = 1 << 4;
        const LOADING = 1 << 5;
        const STALE = 1 << 6;
        const FAST = 1 << 7;
        /// May be sent before AUTH.
        const NO_AUTH = 1 << 8;
        /// Other clients may notice that it ran although it writes no record itself: it publishes, or runs a script.
        const MAY_REPLICATE = 1 << 9;
        const MOVABLEKEYS = 1 << 10;
        const ALLOW_BUSY = 1 << 11;
        const NO_MULTI = 1 << 12;
        const SKIP_SLOWLOG = 1 << 13;
        const SENTINEL = 1 << 14;
        /// An ACL category rather than a flag: @dangerous.
        const DANGEROUS = 1 << 15;
        /// @keyspace, if the group doesn't say so.
        const KEYSPACE = 1 << 16;
        /// @connection, if the group doesn't say so.
        const CONNECTION = 1 << 17;
        /// @admin, of a command that anyone may use.
        const ADMINISTRATION = 1 << 18;
        /// Reads a whole value or creates a new one, which takes long for a long value. All commands on documents do
        /// this.
        const WHOLE_VALUE = 1 << 19;
        /// Only removes records, so it is accepted when other writes are refused for lack of space.
        const REMOVES = 1 << 20;
        /// Only empties or drops whole stores, so it is the last kind of write to be refused for lack of space.
        const FLUSHES = 1 << 21;
        /// Controls the engine beyond a transaction: it may make stores, run a group, a checkpoint or a backup, or
        /// change settings of the engine. Commands without this and without WRITE can only read.
        const CONTROL = 1 << 22;
        /// Works on channels, not on keys; also the category @pubsub.
        const PUBSUB = 1 << 24;
        const SKIP_MONITOR = 1 << 27;
        const NO_MANDATORY_KEYS = 1 << 28;
        /// Runs a script, which may write unless it is READONLY too.
        const SCRIPT = 1 << 29;
        /// May take long (a walk over many keys, a checkpoint), so it runs on a thread that may block.
        const LONG = 1 << 31;
        /// Exists to end a script that takes too long.
        const ENDS_SCRIPTS = 1 << 32;
        /// Runs at once even between MULTI and EXEC.
        const UNQUEUED = 1 << 33;
        /// Runs the queued commands: EXEC.
        const EXECUTES = 1 << 34;
        /// Changes the selected store, so the store of commands that are queued after it is not known before EXEC.
        const SELECTS = 1 << 35;
        /// May be sent by a connection that has subscriptions and speaks RESP2.
        const WHILE_SUBSCRIBED = 1 << 36;
        /// Names a script by its digest rather than by its text.
        const BY_DIGEST = 1 << 37;
        /// Names a function rather than a script.
        const BY_FUNCTION = 1 << 40;
        /// A script may call it after DEBUG SET-DISABLE-DENY-SCRIPTS.
        const DEBUGS = 1 << 38;
        /// Does not use up CLIENT CACHING, which is for the next other command.
        const KEEPS_CACHING = 1 << 39;
        /// Asks about records without using them, as far as eviction is concerned.
        const PEEKS = 1 << 41;
        /// Uses records even after CLIENT NO-TOUCH.
        const TOUCHES = 1 << 42;
        /// Changes what a connection is or gets from then on, so it has no meaning in a request over HTTP.
        const STATEFUL = 1 << 43;
    }
}

impl Flags {
    /// The flags that COMMAND INFO shows, with its names.
    pub const SHOWN: [(Flags, &'static str); 16] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_SLOWLOG, "skip_slowlog"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::MOVABLEKEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_a_bit_of_its_own() {
        let mut seen = Flags::empty();
        for flag in <Flags as bitflags::Flags>::FLAGS {
            assert!(!seen.intersects(*flag.value()), "{}", flag.name());
            seen |= *flag.value();
        }
    }
}
