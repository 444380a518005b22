//! Settings of Redis that do nothing here. Clients and tools ask for them, and depend on the reply; some save their
//! values and set them again.

use super::units::parse_bytes;

/// A setting of Redis, and its value unless it was set to another one.
#[derive(Debug, Clone, Copy)]
pub struct Constant {
    pub name: &'static str,
    pub value: &'static str,
    /// Whether another value would promise nothing that Larder doesn't keep: CONFIG SET takes it, and CONFIG GET
    /// answers it until the server stops.
    pub is_free: bool,
}

impl Constant {
    /// Checks a value for the setting, in Redis's words: one of the same form as its default.
    pub fn check(&self, value: &str) -> Result<String, String> {
        if value.eq_ignore_ascii_case(self.value) {
            return Ok(self.value.to_owned());
        }
        if !self.is_free {
            return Err(format!("it can't be changed here from '{}'", self.value));
        }
        match self.value {
            "yes" | "no" => match value.to_ascii_lowercase().as_str() {
                answer @ ("yes" | "no") => Ok(answer.to_owned()),
                _ => Err("argument must be 'yes' or 'no'".to_owned()),
            },
            _ if self.value.parse::<i64>().is_ok() => match value.parse::<i64>() {
                Ok(number) => Ok(number.to_string()),
                Err(_) => parse_bytes(value)
                    .map(|bytes| bytes.to_string())
                    .map_err(|_| "argument couldn't be parsed into an integer".to_owned()),
            },
            _ if value.len() <= WORD_BYTES_MAX => Ok(value.to_owned()),
            _ => Err(format!("argument is longer than {WORD_BYTES_MAX} bytes")),
        }
    }
}

pub fn constants() -> impl Iterator<Item = Constant> {
    let fixed = FIXED.iter().map(|&(name, value)| Constant { name, value, is_free: false });
    fixed.chain(FREE.iter().map(|&(name, value)| Constant { name, value, is_free: true }))
}

/// The constant of a name, in any case.
pub fn constant(name: &str) -> Option<Constant> {
    constants().find(|constant| constant.name.eq_ignore_ascii_case(name))
}

/// Longest value that is remembered.
const WORD_BYTES_MAX: usize = 64;

/// What another value would contradict: a promise of Redis that Larder would not keep.
const FIXED: &[(&str, &str)] = &[
    // the journal
    ("appendonly", "yes"),
    ("cluster-enabled", "no"),
    ("daemonize", "no"),
    // there are no replicas
    ("min-replicas-to-write", "0"),
    ("min-slaves-to-write", "0"),
    // checkpoints need no schedule
    ("save", ""),
    ("slowlog-entry-max-argc", "32"),
    ("slowlog-entry-max-string-len", "128"),
    ("supervised", "no"),
];

/// What is about the inside of a Redis: encodings in memory, the defragmentation of memory, snapshots, replicas.
const FREE: &[(&str, &str)] = &[
    ("active-defrag-cycle-max", "25"),
    ("active-defrag-cycle-min", "1"),
    ("active-defrag-ignore-bytes", "104857600"),
    ("active-defrag-max-scan-fields", "1000"),
    ("active-defrag-threshold-lower", "10"),
    ("active-defrag-threshold-upper", "100"),
    ("active-expire-effort", "1"),
    ("activedefrag", "no"),
    ("activerehashing", "yes"),
    ("aof-load-truncated", "yes"),
    ("aof-rewrite-incremental-fsync", "yes"),
    ("aof-timestamp-enabled", "no"),
    ("aof-use-rdb-preamble", "yes"),
    ("auto-aof-rewrite-min-size", "67108864"),
    ("auto-aof-rewrite-percentage", "0"),
    ("crash-log-enabled", "yes"),
    ("crash-memcheck-enabled", "yes"),
    ("dynamic-hz", "yes"),
    ("hash-max-listpack-entries", "512"),
    ("hash-max-listpack-value", "64"),
    ("hash-max-ziplist-entries", "512"),
    ("hash-max-ziplist-value", "64"),
    ("hll-sparse-max-bytes", "3000"),
    ("hz", "10"),
    ("jemalloc-bg-thread", "yes"),
    ("key-memory-histograms", "no"),
    ("lazyfree-lazy-eviction", "no"),
    ("lazyfree-lazy-expire", "no"),
    ("lazyfree-lazy-server-del", "no"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("lfu-decay-time", "1"),
    ("lfu-log-factor", "10"),
    ("list-compress-depth", "0"),
    ("list-max-listpack-size", "-2"),
    ("list-max-ziplist-size", "-2"),
    ("lookahead", "16"),
    ("maxmemory-eviction-tenacity", "10"),
    ("maxmemory-samples", "5"),
    ("min-replicas-max-lag", "10"),
    ("min-slaves-max-lag", "10"),
    // appendfsync says all that there is to say
    ("no-appendfsync-on-rewrite", "no"),
    ("propagation-error-behavior", "ignore"),
    ("rdb-del-sync-files", "no"),
    ("rdb-save-incremental-fsync", "yes"),
    ("rdbchecksum", "yes"),
    ("rdbcompression", "yes"),
    ("repl-backlog-size", "1048576"),
    ("repl-backlog-ttl", "3600"),
    ("repl-disable-tcp-nodelay", "no"),
    ("repl-diskless-load", "disabled"),
    ("repl-diskless-sync", "yes"),
    ("repl-diskless-sync-delay", "5"),
    ("repl-diskless-sync-max-replicas", "0"),
    ("repl-ping-replica-period", "10"),
    ("repl-timeout", "60"),
    ("replica-ignore-maxmemory", "yes"),
    ("replica-lazy-flush", "no"),
    ("replica-priority", "100"),
    ("replica-read-only", "yes"),
    ("replica-serve-stale-data", "yes"),
    ("sanitize-dump-payload", "no"),
    ("set-max-intset-entries", "512"),
    ("set-max-listpack-entries", "128"),
    ("set-max-listpack-value", "64"),
    ("set-proc-title", "yes"),
    ("shutdown-timeout", "10"),
    ("slave-read-only", "yes"),
    ("slave-serve-stale-data", "yes"),
    ("stop-writes-on-bgsave-error", "yes"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
    ("zset-max-ziplist-entries", "128"),
    ("zset-max-ziplist-value", "64"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_constant_hides_a_setting() {
        for Constant { name, .. } in constants() {
            assert!(crate::config::Setting::find(name).is_none(), "{name}");
            assert_eq!(constants().filter(|other| other.name == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn a_value_has_the_form_of_the_default() {
        for (name, value, taken) in [
            ("activedefrag", "YES", Ok("yes")),
            ("activedefrag", "1", Err("argument must be 'yes' or 'no'")),
            ("hz", "100", Ok("100")),
            ("list-max-listpack-size", "-5", Ok("-5")),
            ("repl-backlog-size", "1mb", Ok("1048576")),
            ("hz", "x", Err("argument couldn't be parsed into an integer")),
            ("repl-diskless-load", "swapdb", Ok("swapdb")),
            ("repl-diskless-load", &"x".repeat(65), Err("argument is longer than 64 bytes")),
            ("appendonly", "YES", Ok("yes")),
            ("appendonly", "no", Err("it can't be changed here from 'yes'")),
            ("save", "", Ok("")),
            ("save", "900 1", Err("it can't be changed here from ''")),
        ] {
            let taken = taken.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(constant(name).map(|it| it.check(value)), Some(taken), "{name} {value}");
        }
    }
}
