//! Settings of Redis that have a fixed value here. Clients and tools ask for them, and depend on the reply.

/// A setting of Redis and its fixed value.
#[derive(Debug, Clone, Copy)]
pub struct Constant {
    pub name: &'static str,
    pub value: &'static str,
}

pub fn constants() -> impl Iterator<Item = Constant> {
    CONSTANTS.iter().map(|&(name, value)| Constant { name, value })
}

/// The constant of a name, in any case.
pub fn constant(name: &str) -> Option<Constant> {
    constants().find(|constant| constant.name.eq_ignore_ascii_case(name))
}

const CONSTANTS: &[(&str, &str)] = &[
    ("activedefrag", "no"),
    ("activerehashing", "yes"),
    // the journal
    ("appendonly", "yes"),
    ("auto-aof-rewrite-percentage", "0"),
    ("cluster-enabled", "no"),
    ("daemonize", "no"),
    // what INFO says; nothing here depends on it
    ("hz", "10"),
    ("lazyfree-lazy-eviction", "no"),
    ("lazyfree-lazy-expire", "no"),
    ("lazyfree-lazy-server-del", "no"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("list-max-listpack-size", "-2"),
    // memory is bounded by memtable-memory and cache-memory, and nothing is ever evicted
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
    ("replica-read-only", "yes"),
    ("replica-serve-stale-data", "yes"),
    // checkpoints need no schedule
    ("save", ""),
    ("slave-read-only", "yes"),
    ("slowlog-entry-max-argc", "32"),
    ("slowlog-entry-max-string-len", "128"),
    ("stop-writes-on-bgsave-error", "yes"),
    ("supervised", "no"),
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
}
