//! MEMORY: what records, caches and the allocator take.

use tikv_jemalloc_ctl::{epoch, stats};

use crate::command::base::server::text;
use crate::command::base::table::help;
use crate::command::base::{
    Call, Flags, Group, KeyUse, KeyUses, Keys, Plan, Spec, permission, read_key, reply,
};
use crate::engine::Meta;
use crate::error::Error;
use crate::limits::{DEADLINE_BYTES, GENERATION_BYTES};
use crate::resp::Reply;
use crate::telemetry::process;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "memory",
    summary: "Commands about memory",
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Spec::DEFAULT
}];

const SUBCOMMAND: Spec = Spec { group: Group::Server, since: "4.0.0", arity: 2, ..Spec::DEFAULT };

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "memory|doctor",
        summary: "Returns a short report about memory",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        plan: doctor,
        ..SUBCOMMAND
    },
    Spec {
        name: "memory|malloc-stats",
        summary: "Returns statistics of the allocator",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        plan: malloc_stats,
        ..SUBCOMMAND
    },
    Spec {
        name: "memory|purge",
        summary: "Returns unused memory to the system at once; otherwise that happens some seconds later",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        plan: purge,
        ..SUBCOMMAND
    },
    Spec {
        name: "memory|stats",
        summary: "Returns memory usage: changes that are not yet on disk, the value cache, the allocator",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        plan: memory_stats,
        ..SUBCOMMAND
    },
    Spec {
        name: "memory|usage",
        syntax: "key [SAMPLES count]",
        summary: "Returns the bytes that a record takes on disk, with its key and index entries",
        arity: -3,
        flags: Flags::READONLY.union(Flags::PEEKS),
        keys: Keys::Range { first: 2, last: 2, step: 1 },
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: usage,
        ..SUBCOMMAND
    },
    Spec {
        name: "memory|help",
        summary: "Lists the subcommands",
        flags: Flags::LOADING.union(Flags::STALE),
        plan: help,
        ..SUBCOMMAND
    },
];

/// What LMDB adds to an entry of a table: a node header, and a slot in its page.
const LMDB_ENTRY_BYTES: u64 = 8 + 2;

fn usage(call: &mut Call<'_>) -> Result<Plan, Error> {
    // a record has nothing nested to take samples of, so the option is only parsed
    for option in call.rest(3).chunks(2) {
        match option {
            [name, samples] if name.eq_ignore_ascii_case(b"samples") => {
                let samples = crate::record::number::parse_i64(samples).ok_or(Error::NotInteger)?;
                if samples < 0 {
                    return Err(Error::Syntax);
                }
            }
            _ => return Err(Error::Syntax),
        }
    }
    read_key(move |txn, key| {
        let meta = txn.peek(key)?;
        Ok(meta.map_or(Reply::Null, |meta| Reply::Integer(record_bytes(key.name.len(), &meta) as i64)))
    })
}

/// The bytes of a record in LMDB: its entry, and that in the expiry index if it has one.
fn record_bytes(key_bytes: usize, meta: &Meta) -> u64 {
    let record = LMDB_ENTRY_BYTES + GENERATION_BYTES as u64 + meta.stored_bytes;
    let deadline = LMDB_ENTRY_BYTES + (DEADLINE_BYTES + GENERATION_BYTES + key_bytes) as u64;
    record + meta.expires_at_ms.map_or(0, |_| deadline)
}

fn doctor(call: &mut Call<'_>) -> Result<Plan, Error> {
    let status = call.server.engine.status();
    let mut report = format!(
        "Records are kept on disk. Memory holds {} bytes of changes that are not in LMDB yet and {} bytes of decompressed values.",
        status.memtable_bytes, status.cache_bytes
    );
    if let Some(failure) = &status.checkpoint.failure {
        report.push_str(&format!(
            " Changes pile up, because the last checkpoint failed: {failure}. It is tried again every second."
        ));
    }
    reply(Reply::Verbatim(text(report)))
}

fn malloc_stats(_: &mut Call<'_>) -> Result<Plan, Error> {
    let lines: Vec<String> =
        allocator_stats().into_iter().map(|(name, bytes)| format!("{name}: {bytes} bytes\n")).collect();
    reply(Reply::Verbatim(text(lines.concat())))
}

fn purge(_: &mut Call<'_>) -> Result<Plan, Error> {
    process::return_memory();
    reply(Reply::OK)
}

/// Redis's figures, then those that only Larder has.
fn memory_stats(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (server, engine) = (call.server, &call.server.engine);
    let (status, memory) = (engine.status(), process::memory());
    let keys: u64 = engine.with_catalog(|catalog| {
        let usable = catalog.iter().filter(|store| permission::may_use_store(call.session, &store.label()));
        usable.map(|store| store.usage.records).sum()
    });
    let peak = server.stats.note_memory(memory.allocated);
    let startup = server.stats.startup_bytes;
    let dataset = status.memtable_bytes as u64 + status.cache_bytes;
    let buffers = server.clients.all().iter().map(|client| client.buffer_bytes() as u64).sum();
    let bytes = |count: u64| Reply::Integer(count as i64);
    let share = |part: u64, whole: u64| Reply::Double(part as f64 / whole.max(1) as f64);
    let percent = |part: u64, whole: u64| Reply::Double(part as f64 * 100.0 / whole.max(1) as f64);
    let figures = [
        ("peak.allocated", bytes(peak)),
        ("total.allocated", bytes(memory.allocated)),
        ("startup.allocated", bytes(startup)),
        ("replication.backlog", bytes(0)),
        ("clients.slaves", bytes(0)),
        ("clients.normal", bytes(buffers)),
        ("cluster.links", bytes(0)),
        ("aof.buffer", bytes(status.journal.pending_bytes as u64)),
        ("lua.caches", bytes(server.scripts.cache_status().bytes as u64)),
        ("functions.caches", bytes(server.functions().bytes() as u64)),
        ("overhead.total", bytes(memory.allocated.saturating_sub(dataset))),
        ("keys.count", bytes(keys)),
        ("keys.bytes-per-key", bytes(dataset / keys.max(1))),
        ("dataset.bytes", bytes(dataset)),
        ("dataset.percentage", percent(dataset, memory.allocated.saturating_sub(startup).max(dataset))),
        ("peak.percentage", percent(memory.allocated, peak)),
        ("allocator-fragmentation.ratio", share(memory.active, memory.allocated)),
        ("allocator-fragmentation.bytes", bytes(memory.active.saturating_sub(memory.allocated))),
        ("allocator-rss.ratio", share(memory.resident, memory.active)),
        ("allocator-rss.bytes", bytes(memory.resident.saturating_sub(memory.active))),
        ("rss-overhead.ratio", share(memory.rss_anonymous, memory.resident)),
        ("rss-overhead.bytes", bytes(memory.rss_anonymous.saturating_sub(memory.resident))),
        ("fragmentation", share(memory.rss_anonymous, memory.allocated)),
        ("fragmentation.bytes", bytes(memory.rss_anonymous.saturating_sub(memory.allocated))),
        ("memtable.bytes", bytes(status.memtable_bytes as u64)),
        ("cache.bytes", bytes(status.cache_bytes)),
        ("lmdb.file-bytes", bytes(status.file_bytes)),
        ("lmdb.map-bytes", bytes(status.map_bytes)),
    ];
    let named = figures.into_iter().map(|(name, figure)| (Reply::text(name), figure));
    let allocator = allocator_stats().into_iter();
    let allocator = allocator.map(|(name, count)| (Reply::text(format!("allocator.{name}")), bytes(count)));
    reply(Reply::Map(named.chain(allocator).collect()))
}

/// jemalloc's counters, in bytes; 0 if they are not available.
fn allocator_stats() -> Vec<(&'static str, u64)> {
    // the figures are refreshed by a new epoch
    let _ = epoch::advance();
    let figures = [
        ("allocated", stats::allocated::read()),
        ("active", stats::active::read()),
        ("metadata", stats::metadata::read()),
        ("resident", stats::resident::read()),
        ("mapped", stats::mapped::read()),
        ("retained", stats::retained::read()),
    ];
    figures.into_iter().filter_map(|(name, bytes)| Some((name, bytes.ok()? as u64))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::tests::harness::{Harness, shown};

    fn usage(h: &mut Harness, line: &str) -> u64 {
        shown(&h.run(line)).parse().unwrap()
    }

    #[test]
    fn usage_counts_key_record_and_expiry() {
        let mut h = Harness::new();
        h.run(&format!("SET key {}", "x".repeat(100)));
        let plain = usage(&mut h, "MEMORY USAGE key");
        assert!((103..150).contains(&plain), "{plain}");
        h.run("EXPIRE key 1000");
        assert!(usage(&mut h, "MEMORY USAGE key SAMPLES 0") >= plain + 12 + 3);
        h.expect(&[("MEMORY USAGE missing", "nil")]);
    }

    #[test]
    fn usage_refuses_what_redis_refuses() {
        let mut h = Harness::new();
        for options in ["SAMPLES", "SAMPLES -1", "FOO 1", "SAMPLES 1 FOO"] {
            h.expect(&[(&format!("MEMORY USAGE k {options}"), "-ERR syntax error")]);
        }
        h.expect(&[
            ("MEMORY USAGE k SAMPLES x", "-ERR value is not an integer or out of range"),
            ("MEMORY USAGE", "-ERR wrong number of arguments for 'memory|usage' command"),
        ]);
    }

    #[test]
    fn figures_are_there() {
        let mut h = Harness::new();
        h.expect(&[("MSET a 1 b 2", "OK"), ("MEMORY PURGE", "OK")]);
        for (line, figure) in [
            ("MEMORY STATS", r#""keys.count": 2"#),
            ("MEMORY DOCTOR", "not in LMDB yet"),
            ("MEMORY MALLOC-STATS", "allocated: "),
        ] {
            let reply = shown(&h.run(line));
            assert!(reply.contains(figure), "{line}: {reply}");
        }
    }
}
