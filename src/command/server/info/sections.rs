//! The figures of the server, each declared once: INFO, `/metrics` and the dashboard show them.
//!
//! Fields that Redis has keep Redis's names and meanings. Fields of mechanisms that Larder lacks have the values that
//! Redis shows when the mechanism was never used. Fields that only Larder has are named after the part that they
//! describe: `journal_…`, `checkpoint_…`, `store_…`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::absent;
use super::figure::Value::{Bytes, Decimal, Distribution};
use super::figure::{Family, Figure, Part, Read, Section, Value, column, figure};
use super::plain;
use super::sample::Sample;
use crate::acl::Reason;
use crate::client::Client;
use crate::command::base::permission;
use crate::engine::{Fill, Fsync, clock};
use crate::push::channels::SubscriptionKind as Subscription;
use crate::store::{Store, StoreId, Usage, ValueKind};
use crate::telemetry::Histogram;
use crate::telemetry::counts::Counts;
use crate::telemetry::process;
use crate::telemetry::stats::CommandStats;

const MICRO: f64 = 1e-6;
const MILLI: f64 = 1e-3;

/// A section that INFO shows by default, and that needs no engine.
const SECTION: Section = Section { title: "", by_default: true, without_engine: true, parts: &[] };

/// In the order in which INFO shows them.
pub static SECTIONS: &[Section] = &[
    Section { title: "Server", parts: &[Part::Figures(SERVER), Part::Fixed(absent::SERVER)], ..SECTION },
    Section { title: "Clients", parts: &[Part::Figures(CLIENTS), Part::Fixed(absent::CLIENTS)], ..SECTION },
    Section { title: "Memory", parts: &[Part::Figures(MEMORY), Part::Fixed(absent::MEMORY)], ..SECTION },
    Section {
        title: "Persistence",
        parts: &[
            Part::Figures(PERSISTENCE),
            Part::Figures(JOURNAL),
            Part::Figures(ARCHIVE),
            Part::Figures(CHECKPOINT),
            Part::Figures(LMDB),
            Part::Fixed(absent::PERSISTENCE),
        ],
        ..SECTION
    },
    Section {
        title: "Stats",
        parts: &[
            Part::Figures(STATS),
            Part::Family(&REFUSALS),
            Part::Figures(SLOW_LOG_AND_HTTP),
            Part::Fixed(absent::STATS),
        ],
        ..SECTION
    },
    Section { title: "Replication", parts: &[Part::Figures(REPLICATION)], ..SECTION },
    Section { title: "CPU", parts: &[Part::Figures(CPU), Part::Fixed(absent::CPU)], ..SECTION },
    Section { title: "Modules", ..SECTION },
    Section { title: "Commandstats", by_default: false, parts: &[Part::Family(&COMMANDS)], ..SECTION },
    Section { title: "Errorstats", parts: &[Part::Family(&ERRORS)], ..SECTION },
    Section { title: "Latencystats", by_default: false, parts: &[Part::Family(&LATENCIES)], ..SECTION },
    Section { title: "Cluster", parts: &[Part::Fixed(absent::CLUSTER)], ..SECTION },
    Section { title: "Keyspace", without_engine: false, parts: &[Part::Family(&DATABASES)], ..SECTION },
    Section {
        title: "Limits",
        without_engine: false,
        parts: &[Part::Figures(LIMITS), Part::Family(&NEAR_LIMITS)],
        ..SECTION
    },
    Section { title: "Stores", without_engine: false, parts: &[Part::Family(&STORES)], ..SECTION },
];

/// How long the archive has made no progress, if it lacks something.
fn archive_lag_ms(s: &Sample<'_>) -> u64 {
    if s.archive_lag() == 0 { 0 } else { s.archive().stalled.as_millis() as u64 }
}

/// All figures of the whole server.
pub fn figures() -> impl Iterator<Item = &'static Figure<Read>> {
    SECTIONS.iter().flat_map(|section| section.parts).flat_map(|part| match part {
        Part::Figures(figures) => *figures,
        Part::Family(_) | Part::Fixed(_) => &[],
    })
}

static SERVER: &[Figure<Read>] = &[
    figure("redis_version", |s| s.settings().reported_version.as_str().into()),
    figure("redis_git_sha1", |_| "00000000".into()),
    figure("redis_git_dirty", |_| "0".into()),
    figure("redis_build_id", |_| "0".into()),
    figure("redis_mode", |_| "standalone".into()),
    figure("larder_version", |_| env!("CARGO_PKG_VERSION").into()),
    figure("os", |_| process::operating_system().into()),
    figure("arch_bits", |_| u64::from(usize::BITS).into()),
    figure("process_id", |_| u64::from(std::process::id()).into()),
    figure("run_id", |s| s.server.run_id.as_str().into()),
    figure("tcp_port", |s| u64::from(s.stats().port()).into()),
    figure("server_time_usec", |_| clock::now_us().into()),
    figure("uptime_in_seconds", |s| s.uptime_s().into())
        .gauge("larder_uptime_seconds", "Time since the start"),
    figure("uptime_in_days", |s| (s.uptime_s() / (24 * 60 * 60)).into()),
    figure("hz", |_| "10".into()),
    figure("configured_hz", |_| "10".into()),
    figure("executable", |_| std::env::current_exe().unwrap_or_default().as_path().into()),
    figure("config_file", |s| s.server.config.file().unwrap_or(Path::new("")).into()),
    figure("lru_clock", |_| ((clock::now_ms() / 1000) & 0xff_ffff).into()),
    figure("io_threads_active", |_| "0".into()),
    figure("data_directory", |s| s.settings().dir.as_path().into()),
];

static CLIENTS: &[Figure<Read>] = &[
    figure("connected_clients", |s| s.clients().len().into())
        .gauge("larder_connected_clients", "Connections of the Redis protocol")
        .remembered(),
    figure("cluster_connections", |_| "0".into()),
    figure("maxclients", |s| s.settings().maxclients.into())
        .gauge("larder_max_clients", "Most connections of the Redis protocol that are let in"),
    figure("client_recent_max_input_buffer", |s| largest(s, |client| client.query_buffer.load(Relaxed))),
    figure("client_recent_max_output_buffer", |s| largest(s, |client| client.output_buffer.load(Relaxed))),
    figure("blocked_clients", |s| s.server.clients.held().into()),
    figure("tracking_clients", |s| s.server.push.tracking.figures().clients.into()),
    figure("pubsub_clients", |s| s.clients().iter().filter(|client| client.is_subscriber()).count().into()),
    figure("clients_in_timeout_table", |_| "0".into()),
    figure("watching_clients", |s| watched(s).count().into()),
    figure("total_watched_keys", |s| watched(s).sum::<usize>().into()),
];

static MEMORY: &[Figure<Read>] = &[
    figure("used_memory", |s| Bytes(s.memory().allocated))
        .gauge("larder_memory_allocated_bytes", "Memory that is allocated")
        .remembered(),
    figure("used_memory_rss", |s| Bytes(s.memory().rss))
        .gauge("larder_memory_resident_bytes", "Resident memory, pages of the map included")
        .remembered(),
    figure("used_memory_peak", |s| Bytes(peak(s)))
        .gauge("larder_memory_peak_bytes", "Most memory that was seen allocated"),
    figure("used_memory_peak_perc", |s| {
        format!("{:.2}%", ratio(s.memory().allocated, peak(s)) * 100.0).into()
    }),
    figure("used_memory_overhead", |s| s.memory().allocated.saturating_sub(dataset(s)).into()),
    figure("used_memory_startup", |s| s.stats().startup_bytes.into()),
    figure("used_memory_dataset", |s| dataset(s).into()),
    figure("used_memory_dataset_perc", |s| {
        format!("{:.2}%", (ratio(dataset(s), grown(s)) * 100.0).min(100.0)).into()
    }),
    figure("allocator_allocated", |s| s.memory().allocated.into()),
    figure("allocator_active", |s| s.memory().active.into()),
    figure("allocator_resident", |s| s.memory().resident.into()),
    figure("total_system_memory", |s| Bytes(s.memory().system)),
    figure("used_memory_lua", |s| Bytes(lua(s))),
    figure("used_memory_vm_eval", |s| lua(s).into()),
    figure("used_memory_vm_functions", |s| s.server.scripts.functions.interpreter_bytes().into()),
    figure("used_memory_vm_total", |s| Bytes(lua(s) + s.server.scripts.functions.interpreter_bytes() as u64)),
    figure("used_memory_functions", |s| s.functions().bytes().into()),
    figure("used_memory_scripts_eval", |s| s.scripts().bytes.into()),
    figure("used_memory_scripts", |s| Bytes((s.scripts().bytes + s.functions().bytes()) as u64)),
    figure("number_of_functions", |s| s.functions().functions_count().into()),
    figure("number_of_libraries", |s| s.functions().libraries().len().into()),
    figure("number_of_cached_scripts", |s| s.scripts().scripts.into()),
    // stored bytes on disk, not memory: max-bytes under Redis's name
    figure("maxmemory", |s| Bytes(s.settings().quota().max_bytes.unwrap_or(0))),
    figure("maxmemory_policy", |s| s.settings().maxmemory_policy_name().into()),
    figure("allocator_frag_ratio", |s| Decimal(ratio(s.memory().active, s.memory().allocated), 2)),
    figure("allocator_frag_bytes", |s| s.memory().active.saturating_sub(s.memory().allocated).into()),
    figure("allocator_rss_ratio", |s| Decimal(ratio(s.memory().resident, s.memory().active), 2)),
    figure("allocator_rss_bytes", |s| s.memory().resident.saturating_sub(s.memory().active).into()),
    // without the pages of the LMDB map, which the system keeps as long as nobody else needs the memory
    figure("mem_fragmentation_ratio", |s| Decimal(ratio(s.memory().rss_anonymous, s.memory().allocated), 2)),
    figure("mem_fragmentation_bytes", |s| {
        s.memory().rss_anonymous.saturating_sub(s.memory().allocated).into()
    }),
    figure("rss_overhead_ratio", |s| Decimal(ratio(s.memory().rss_anonymous, s.memory().resident), 2)),
    figure("rss_overhead_bytes", |s| s.memory().rss_anonymous.saturating_sub(s.memory().resident).into()),
    figure("mem_clients_normal", |s| {
        s.clients().iter().map(|client| client.buffer_bytes()).sum::<usize>().into()
    }),
    figure("mem_aof_buffer", |s| s.engine().journal.pending_bytes.into()),
    figure("mem_allocator", |_| "jemalloc".into()),
    figure("active_defrag_running", |_| "0".into()),
    figure("lazyfree_pending_objects", |_| "0".into()),
    figure("rss_anonymous", |s| s.memory().rss_anonymous.into())
        .gauge("larder_memory_anonymous_bytes", "Resident memory without files"),
    figure("rss_file_backed", |s| s.memory().rss.saturating_sub(s.memory().rss_anonymous).into()),
    figure("memtable_bytes", |s| s.engine().memtable_bytes.into())
        .gauge("larder_memtable_bytes", "Changes in memory that no checkpoint holds yet")
        .remembered(),
    figure("cache_bytes", |s| s.engine().cache_bytes.into())
        .gauge("larder_cache_bytes", "Decompressed records in memory")
        .remembered(),
];

static PERSISTENCE: &[Figure<Read>] = &[
    figure("loading", |_| "0".into()),
    figure("async_loading", |_| "0".into()),
    figure("rdb_changes_since_last_save", |s| {
        s.engine().journal.last.saturating_sub(s.engine().checkpoint.through).into()
    }),
    figure("rdb_bgsave_in_progress", |s| s.engine().checkpoint.running.into()),
    figure("rdb_last_save_time", |s| (s.engine().checkpoint.last_ms / 1000).into()),
    figure("rdb_last_bgsave_status", |s| ok(s.engine().checkpoint.failure.as_ref())),
    figure("rdb_last_bgsave_time_sec", checkpoint_seconds),
    figure("rdb_current_bgsave_time_sec", |_| "-1".into()),
    figure("rdb_saves", |s| s.engine().checkpoint.done.into()),
    figure("aof_enabled", |_| "1".into()),
    figure("aof_rewrite_in_progress", |_| "0".into()),
    figure("aof_rewrite_scheduled", |_| "0".into()),
    figure("aof_last_rewrite_time_sec", |_| "-1".into()),
    figure("aof_current_rewrite_time_sec", |_| "-1".into()),
    figure("aof_last_bgrewrite_status", |s| ok(s.engine().checkpoint.failure.as_ref())),
    figure("aof_last_write_status", |s| ok(s.engine().journal.failure.as_ref())),
    figure("aof_current_size", |s| s.engine().journal.segments_bytes.into()),
    figure("aof_base_size", |_| "0".into()),
    figure("aof_buffer_length", |s| s.engine().journal.pending_bytes.into()),
    figure("aof_delayed_fsync", |s| s.engine().journal.slow_syncs.into()).resets(),
];

static ARCHIVE: &[Figure<Read>] = &[
    figure("archive_state", |s| match s.server.archive.get() {
        Some(_) => s.archive().state().into(),
        None => "none".into(),
    }),
    figure("archive_last_entry", |s| s.archive().entry.into())
        .counter("larder_archive_entries_total", "Journal entries that the archive has"),
    figure("archive_lag_entries", |s| s.archive_lag().into())
        .gauge("larder_archive_lag_entries", "Journal entries that the archive lacks"),
    figure("archive_lag_ms", |s| archive_lag_ms(s).into())
        .gauge("larder_archive_lag_seconds", "How long the archive has lacked entries without getting any")
        .scaled(MILLI),
    figure("archive_last_segment", |s| s.archive().segment.into()),
    figure("archive_epoch", |s| s.archive().epoch.into()),
    figure("archive_uploads", |s| s.archive().uploads.into())
        .counter("larder_archive_uploads_total", "Objects that were uploaded to the archive"),
    figure("archive_uploaded_bytes", |s| s.archive().bytes.into())
        .counter("larder_archive_uploaded_bytes_total", "Bytes that were uploaded to the archive"),
    figure("archive_failures", |s| s.archive().failures.into())
        .counter("larder_archive_failures_total", "Requests to the archive that failed"),
    figure("archive_failure", |s| {
        let trouble = s.archive().trouble.as_ref().map(ToString::to_string);
        one_line(s.archive().ended.clone().or(trouble).as_deref())
    }),
    figure("archive_gaps", |s| s.archive().gaps.into())
        .counter("larder_archive_gaps_total", "Gaps of the log that a snapshot has healed"),
    figure("archive_snapshot_entry", |s| s.archive().snapshot_entry.into()),
    figure("archive_snapshot_time", |s| (s.archive().snapshot_ms / 1000).into()).gauge(
        "larder_archive_snapshot_timestamp_seconds",
        "When the last snapshot in the archive was made; 0 for none",
    ),
    figure("archive_snapshot_bytes", |s| s.archive().snapshot_bytes.into()),
    figure("archive_log_bytes", |s| s.archive().log_bytes.into())
        .gauge("larder_archive_log_bytes", "Bytes of the segments after the last snapshot"),
];

static JOURNAL: &[Figure<Read>] = &[
    figure("journal_fsync", |s| fsync(s.engine().journal.fsync)),
    figure("journal_last_entry", |s| s.engine().journal.last.into())
        .counter("larder_journal_entries_total", "Journal entries ever made"),
    figure("journal_written_entry", |s| s.engine().journal.written.into()),
    figure("journal_durable_entry", |s| s.engine().journal.durable.into()),
    figure("journal_pending_bytes", |s| s.engine().journal.pending_bytes.into())
        .gauge("larder_journal_pending_bytes", "Bytes that wait to be written to the journal"),
    figure("journal_segments", |s| s.engine().journal.segments.into()),
    figure("journal_segments_bytes", |s| s.engine().journal.segments_bytes.into())
        .gauge("larder_journal_segments_bytes", "Size of the journal's segments"),
    figure("journal_spare_segments", |s| s.engine().journal.spares.into()),
    figure("journal_disk_bytes", |s| s.engine().journal.disk_bytes.into())
        .gauge("larder_journal_disk_bytes", "Size of all the journal's files")
        .remembered(),
    figure("journal_frames", |s| s.engine().journal.frames.into()),
    figure("journal_bytes", |s| s.engine().journal.bytes.into())
        .counter("larder_journal_written_bytes_total", "Bytes written to the journal since the start")
        .remembered(),
    figure("journal_syncs", |s| s.engine().journal.syncs.into())
        .counter("larder_journal_syncs_total", "Syncs of the journal"),
    figure("journal_slow_syncs", |s| s.engine().journal.slow_syncs.into())
        .counter("larder_journal_slow_syncs_total", "Syncs of the journal that took long"),
    figure("journal_last_sync_usec", |s| s.engine().journal.last_sync_us.into())
        .gauge("larder_journal_last_sync_seconds", "How long the last sync took")
        .scaled(MICRO),
    figure("journal_max_sync_usec", |s| s.engine().journal.max_sync_us.into())
        .gauge("larder_journal_max_sync_seconds", "How long the longest sync took")
        .scaled(MICRO),
    figure("journal_failure", |s| one_line(s.engine().journal.failure.as_deref())),
    figure("journal_shortage", |s| one_line(s.engine().journal.shortage.as_deref())),
];

static CHECKPOINT: &[Figure<Read>] = &[
    figure("checkpoint_entry", |s| s.engine().checkpoint.through.into()),
    figure("checkpoint_running", |s| s.engine().checkpoint.running.into())
        .gauge("larder_checkpoint_running", "1 while a checkpoint is being made"),
    figure("checkpoints", |s| s.engine().checkpoint.done.into())
        .counter("larder_checkpoints_total", "Checkpoints that were made"),
    figure("checkpoint_last_time_msec", |s| s.engine().checkpoint.last_ms.into())
        .gauge("larder_checkpoint_last_timestamp_seconds", "When the last checkpoint ended")
        .scaled(MILLI),
    figure("checkpoint_last_duration_msec", |s| s.engine().checkpoint.last_took_ms.into())
        .gauge("larder_checkpoint_last_duration_seconds", "How long the last took")
        .scaled(MILLI),
    figure("checkpoint_last_records", |s| s.engine().checkpoint.last_records.into()),
    figure("checkpoint_failure", |s| one_line(s.engine().checkpoint.failure.as_deref())),
];

static LMDB: &[Figure<Read>] = &[
    figure("lmdb_file_bytes", |s| s.engine().file_bytes.into())
        .gauge("larder_lmdb_file_bytes", "Size of LMDB's file")
        .remembered(),
    figure("lmdb_live_bytes", |s| s.engine().file_live_bytes.into())
        .gauge("larder_lmdb_live_bytes", "Bytes of LMDB's file that hold something")
        .remembered(),
    figure("lmdb_free_bytes", |s| s.engine().file_free_bytes.into())
        .gauge("larder_lmdb_free_bytes", "Bytes of LMDB's file that are used again before it grows")
        .remembered(),
    figure("lmdb_free_pages", |s| s.engine().file_free_pages.into()),
    figure("lmdb_reserve_bytes", |s| s.engine().file_reserve_bytes.into()),
    figure("lmdb_map_bytes", |s| s.engine().map_bytes.into())
        .gauge("larder_lmdb_map_bytes", "Size that LMDB's file can reach"),
    figure("lmdb_shortage", |s| one_line(s.engine().shortage.as_deref())),
];

static STATS: &[Figure<Read>] = &[
    figure("total_connections_received", |s| total(s, |counts| &counts.connections))
        .counter("larder_connections_total", "Connections that came"),
    figure("total_commands_processed", |s| s.stats().commands().into())
        .counter("larder_commands_total", "Commands that ran")
        .remembered(),
    figure("instantaneous_ops_per_sec", |s| s.stats().ops_per_sec().into()),
    figure("total_net_input_bytes", |s| total(s, |counts| &counts.bytes_in))
        .counter("larder_net_input_bytes_total", "Bytes received over the Redis protocol")
        .remembered(),
    figure("total_net_output_bytes", |s| total(s, |counts| &counts.bytes_out))
        .counter("larder_net_output_bytes_total", "Bytes sent over the Redis protocol")
        .remembered(),
    figure("instantaneous_input_kbps", |s| Decimal(s.stats().kbps().0, 2)),
    figure("instantaneous_output_kbps", |s| Decimal(s.stats().kbps().1, 2)),
    figure("rejected_connections", |s| total(s, |counts| &counts.rejected_connections))
        .counter("larder_rejected_connections_total", "Connections refused for maxclients"),
    figure("sync_full", |_| "0".into()),
    figure("sync_partial_ok", |_| "0".into()),
    figure("sync_partial_err", |_| "0".into()),
    figure("expired_keys", |s| s.engine().expired_records.into())
        .counter("larder_expired_records_total", "Expired records that were removed")
        .remembered()
        .resets(),
    // records do not expire by being read; the sweeper removes them
    figure("expired_keys_active", |s| s.engine().expired_records.into()).resets(),
    figure("evicted_keys", |s| s.engine().evicted_records.into())
        .counter("larder_evicted_records_total", "Records that were evicted because a limit was reached")
        .remembered()
        .resets(),
    figure("evicted_clients", |s| s.server.clients.evicted.load(Relaxed).into()).resets(),
    figure("evicted_scripts", |s| s.scripts().evicted.into()).resets(),
    figure("keyspace_hits", |s| total(s, |counts| &counts.lookups.hits))
        .counter("larder_keyspace_hits_total", "Keys that were looked for and found")
        .remembered(),
    figure("keyspace_misses", |s| total(s, |counts| &counts.lookups.misses))
        .counter("larder_keyspace_misses_total", "Keys that were looked for and not found")
        .remembered(),
    figure("pubsub_channels", |s| s.server.push.channels.count(Subscription::Channel).into()),
    figure("pubsub_patterns", |s| s.server.push.channels.count(Subscription::Pattern).into()),
    figure("pubsubshard_channels", |s| s.server.push.channels.count(Subscription::Shard).into()),
    figure("latest_fork_usec", |_| "0".into()),
    figure("total_forks", |_| "0".into()),
    figure("tracking_total_keys", |s| s.server.push.tracking.figures().keys.into()),
    figure("tracking_total_items", |s| s.server.push.tracking.figures().items.into()),
    figure("tracking_total_prefixes", |s| s.server.push.tracking.figures().prefixes.into()),
    figure("client_query_buffer_limit_disconnections", |s| total(s, |counts| &counts.overlong_requests)),
    figure("client_output_buffer_limit_disconnections", |s| {
        s.server.push.post.overflows.load(Relaxed).into()
    })
    .resets(),
    figure("total_error_replies", |s| total(s, |counts| &counts.errors))
        .counter("larder_error_replies_total", "Commands that were answered with an error")
        .remembered(),
    figure("total_reads_processed", |s| total(s, |counts| &counts.reads)),
    figure("total_writes_processed", |s| total(s, |counts| &counts.writes)),
];

static SLOW_LOG_AND_HTTP: &[Figure<Read>] = &[
    figure("slowlog_entries", |s| s.server.slow.len().into()),
    figure("http_requests", |s| total(s, |counts| &counts.http_requests))
        .counter("larder_http_requests_total", "HTTP requests that were answered")
        .remembered(),
    figure("http_errors", |s| total(s, |counts| &counts.http_errors))
        .counter("larder_http_errors_total", "HTTP requests answered with a status of 400 or more"),
    figure("http_event_streams", |s| s.server.push.followers.count().into())
        .gauge("larder_http_event_streams", "Streams of changes that are open"),
];

static REPLICATION: &[Figure<Read>] = &[
    figure("role", |_| "master".into()),
    figure("connected_slaves", |_| "0".into()),
    figure("master_failover_state", |_| "no-failover".into()),
    figure("master_replid", |s| s.server.run_id.as_str().into()),
    figure("master_replid2", |_| "0".repeat(40).into()),
    figure("master_repl_offset", |_| "0".into()),
    figure("second_repl_offset", |_| "-1".into()),
    figure("repl_backlog_active", |_| "0".into()),
    figure("repl_backlog_size", |_| "0".into()),
    figure("repl_backlog_first_byte_offset", |_| "0".into()),
    figure("repl_backlog_histlen", |_| "0".into()),
];

static CPU: &[Figure<Read>] = &[
    figure("used_cpu_sys", |s| Decimal(s.cpu().system, 6))
        .counter("larder_cpu_system_seconds_total", "Processor time in the system for the program")
        .remembered(),
    figure("used_cpu_user", |s| Decimal(s.cpu().user, 6))
        .counter("larder_cpu_user_seconds_total", "Processor time in the program")
        .remembered(),
    figure("used_cpu_sys_children", |_| "0.000000".into()),
    figure("used_cpu_user_children", |_| "0.000000".into()),
];

/// Limits over all stores (0: none), and the part of them that is used by the stores that the reader may use.
static LIMITS: &[Figure<Read>] = &[
    figure("max_stores", |s| s.settings().quota().max_stores.unwrap_or(0).into())
        .gauge("larder_max_named_stores", "Most stores with a name; 0: no limit"),
    figure("named_stores", |s| s.totals().named_stores.into())
        .gauge("larder_named_stores", "Stores with a name"),
    figure("max_keys", |s| s.settings().quota().max_keys.unwrap_or(0).into())
        .gauge("larder_max_records", "Most records in all stores; 0: no limit"),
    figure("keys", |s| s.totals().usage.records.into()).gauge("larder_records", "Records in all stores"),
    figure("max_bytes", |s| s.settings().quota().max_bytes.unwrap_or(0).into())
        .gauge("larder_max_stored_bytes", "Most stored bytes in all stores; 0: no limit"),
    figure("stored_bytes", |s| s.totals().usage.stored_bytes.into())
        .gauge("larder_stored_bytes", "Keys and records in all stores as stored"),
    figure("limits_nearly_reached", |s| permission::nearly_full(s.server, s.reader).len().into()).gauge(
        "larder_limits_nearly_reached",
        "Limits of the server and of stores that are used to 80 % or more",
    ),
];

fn total(s: &Sample<'_>, counter: fn(&Counts) -> &AtomicU64) -> Value {
    s.stats().total(counter).into()
}

fn largest(s: &Sample<'_>, bytes: fn(&Client) -> usize) -> Value {
    s.clients().iter().map(|client| bytes(client)).max().unwrap_or(0).into()
}

/// The number of watched keys of each client that watches keys.
fn watched(s: &Sample<'_>) -> impl Iterator<Item = usize> {
    s.clients().iter().map(|client| client.watched.load(Relaxed)).filter(|keys| *keys > 0)
}

fn peak(s: &Sample<'_>) -> u64 {
    s.stats().note_memory(s.memory().allocated)
}

fn dataset(s: &Sample<'_>) -> u64 {
    s.engine().memtable_bytes as u64 + s.engine().cache_bytes
}

/// The memory that was allocated since the start.
fn grown(s: &Sample<'_>) -> u64 {
    s.memory().allocated.saturating_sub(s.stats().startup_bytes)
}

fn lua(s: &Sample<'_>) -> u64 {
    s.server.scripts.interpreter_bytes() as u64
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn ok(failure: Option<&String>) -> Value {
    if failure.is_none() { "ok".into() } else { "err".into() }
}

/// A reason as the value of a field; empty if there is none.
fn one_line(text: Option<&str>) -> Value {
    text.unwrap_or_default().replace(['\r', '\n'], " ").into()
}

fn checkpoint_seconds(s: &Sample<'_>) -> Value {
    let checkpoint = &s.engine().checkpoint;
    if checkpoint.done == 0 { "-1".into() } else { (checkpoint.last_took_ms / 1000).into() }
}

fn fsync(policy: Fsync) -> Value {
    match policy {
        Fsync::Always => "always".into(),
        Fsync::EverySec => "everysec".into(),
        Fsync::No => "no".into(),
    }
}

static REFUSALS: Family<u64> = Family {
    prefix: "acl_access_denied_",
    label: "reason",
    rows: |s| {
        let reasons: [(&str, Reason); Reason::COUNT] = [
            ("auth", Reason::Auth),
            ("cmd", Reason::Command),
            ("key", Reason::Key),
            ("channel", Reason::Channel),
            ("store", Reason::Store),
        ];
        reasons.map(|(name, reason)| (name.to_owned(), s.server.acl.log.count(reason))).into()
    },
    columns: &[column("", |refusals: &u64| (*refusals).into())],
};

static COMMANDS: Family<CommandStats> = Family {
    prefix: "cmdstat_",
    label: "command",
    rows: |s| named(s.stats().by_command()),
    columns: &[
        column("calls", |c: &CommandStats| c.calls.into())
            .counter("larder_command_calls_total", "Calls of a command"),
        column("usec", |c: &CommandStats| c.micros.into())
            .counter("larder_command_duration_seconds_total", "Time in a command")
            .scaled(MICRO),
        column("usec_per_call", |c: &CommandStats| Decimal(ratio(c.micros, c.calls), 2)),
        column("rejected_calls", |c: &CommandStats| c.rejected.into())
            .counter("larder_command_rejected_total", "Calls that were refused before they ran"),
        column("failed_calls", |c: &CommandStats| c.failed.into())
            .counter("larder_command_failed_total", "Calls that failed"),
    ],
};

static ERRORS: Family<u64> = Family {
    prefix: "errorstat_",
    label: "code",
    rows: |s| s.stats().by_error(),
    columns: &[column("count", |errors: &u64| (*errors).into())
        .counter("larder_errors_total", "Errors that were answered, by their code")],
};

/// How long calls of a command took.
struct Latency {
    durations: Box<Histogram>,
    /// Which percentiles INFO shows.
    percentiles: Arc<str>,
}

static LATENCIES: Family<Latency> = Family {
    prefix: "latency_percentiles_usec_",
    label: "command",
    rows: |s| {
        let percentiles: Arc<str> = s.settings().latency_percentiles.as_str().into();
        let latency =
            |durations| Latency { durations: Box::new(durations), percentiles: percentiles.clone() };
        named(s.stats().all_durations().map(|(name, durations)| (name, latency(durations))))
    },
    columns: &[
        column("", |latency: &Latency| percentiles(&latency.durations, &latency.percentiles).into()),
        column("", |latency: &Latency| Distribution(latency.durations.distribution()))
            .histogram("larder_command_duration_seconds", "How long calls of a command took"),
    ],
};

fn percentiles(durations: &Histogram, percentiles: &str) -> String {
    let shown = percentiles.split_whitespace().map(|word| {
        let nanos = durations.percentile_ns(word.parse().unwrap_or_default());
        format!("p{word}={:.3}", nanos as f64 / 1_000.0)
    });
    shown.collect::<Vec<_>>().join(",")
}

/// Stores by number, as tools expect databases; [`STORES`] has the names of the named ones.
static DATABASES: Family<(Usage, u64)> = Family {
    prefix: "db",
    label: "store",
    rows: |s| {
        let filled = s.stores(|store| store.usage.records > 0).into_iter();
        let average_ttl_ms =
            |store: &Store| if store.usage.expiring > 0 { average_ttl_ms(s, store.id) } else { 0 };
        filled.map(|store| (store.id.to_string(), (store.usage, average_ttl_ms(&store)))).collect()
    },
    columns: &[
        column("keys", |(usage, _): &(Usage, u64)| usage.records.into()),
        column("expires", |(usage, _): &(Usage, u64)| usage.expiring.into()),
        column("avg_ttl", |(_, average_ttl_ms): &(Usage, u64)| (*average_ttl_ms).into()),
        column("subexpiry", |_| "0".into()),
    ],
};

/// The average remaining time of records that expire, estimated from some of them.
fn average_ttl_ms(s: &Sample<'_>, store: StoreId) -> u64 {
    let now_ms = clock::now_ms();
    // INFO has no place for an error; reading records reports it
    let samples = s.server.engine.sample(now_ms, store, &mut || s.server.random()).unwrap_or_default();
    let (mut total_ms, mut total_weight) = (0.0, 0.0);
    for sample in &samples {
        if let Some(deadline) = sample.expires_at_ms {
            total_ms += deadline.saturating_sub(now_ms) as f64 * sample.weight;
            total_weight += sample.weight;
        }
    }
    if total_weight > 0.0 { (total_ms / total_weight) as u64 } else { 0 }
}

/// Limits that are nearly reached, of the server and of stores.
static NEAR_LIMITS: Family<(Option<String>, Fill)> = Family {
    prefix: "limit_",
    label: "limit",
    rows: |s| named(permission::nearly_full(s.server, s.reader).into_iter().enumerate()),
    columns: &[
        column("store", |(store, _): &(Option<String>, Fill)| {
            store.as_deref().map_or_else(String::new, plain).into()
        }),
        column("limit", |(_, fill): &(Option<String>, Fill)| fill.setting.into()),
        column("used", |(_, fill): &(Option<String>, Fill)| fill.used.into()),
        column("max", |(_, fill): &(Option<String>, Fill)| fill.max.into()),
    ],
};

/// Named stores, and numbered ones with records.
static STORES: Family<(Store, ValueKind)> = Family {
    prefix: "store_",
    label: "store",
    rows: |s| {
        let default_kind = s.server.engine.default_kind();
        let stores = s.stores(|store| store.name.is_some() || store.usage.records > 0).into_iter();
        stores.map(|store| (store.label(), (store, default_kind))).collect()
    },
    columns: &[
        column("number", |(store, _): &(Store, ValueKind)| store.id.to_string().into()),
        column("values", |(store, default_kind): &(Store, ValueKind)| {
            store.kind.unwrap_or(*default_kind).as_str().into()
        }),
        column("records", |(store, _): &(Store, ValueKind)| store.usage.records.into())
            .gauge("larder_store_records", "Records in a store"),
        column("expiring", |(store, _): &(Store, ValueKind)| store.usage.expiring.into())
            .gauge("larder_store_expiring_records", "Records in a store that have an expiry"),
        column("plain_bytes", |(store, _): &(Store, ValueKind)| store.usage.plain_bytes.into())
            .gauge("larder_store_plain_bytes", "Keys and values in a store as clients know them"),
        column("stored_bytes", |(store, _): &(Store, ValueKind)| store.usage.stored_bytes.into())
            .gauge("larder_store_stored_bytes", "Keys and records in a store as stored"),
        column("ratio", |(store, _): &(Store, ValueKind)| Decimal(store.usage.ratio(), 2)),
        column("max_keys", |(store, _): &(Store, ValueKind)| store.quota.max_keys.unwrap_or(0).into())
            .gauge("larder_store_max_records", "Most records in a store; 0: no limit"),
        column("max_bytes", |(store, _): &(Store, ValueKind)| store.quota.max_bytes.unwrap_or(0).into())
            .gauge("larder_store_max_stored_bytes", "Most stored bytes in a store; 0: no limit"),
    ],
};

/// Rows with their names as text.
fn named<T>(rows: impl IntoIterator<Item = (impl ToString, T)>) -> Vec<(String, T)> {
    rows.into_iter().map(|(name, row)| (name.to_string(), row)).collect()
}
