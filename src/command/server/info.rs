//! INFO: a report of the server about itself, as text that people read and tools parse.
//!
//! Fields that Redis has keep its names and mean the same. Fields of mechanisms that Larder lacks say that nothing of
//! it happened ([`info_constants`](crate::command::server::info_constants)). Fields that only Larder has are named after the part that
//! they describe: `journal_…`, `checkpoint_…`, `store_…`. Each number is read at its own moment.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use crate::acl::Reason;
use crate::command::base::{Call, Flags, Plan, Server, Session, Spec, permission, reply};
use crate::command::server::info_constants::constants;
use crate::engine::{CheckpointStatus, Fill, Fsync, Status, clock, journal};
use crate::error::Error;
use crate::push::channels::Kind as Subscription;
use crate::resp::Reply;
use crate::store::{Kind, Store, StoreId};
use crate::telemetry::process;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "info",
    syntax: "[section ...]",
    summary: "Returns information and statistics about the server",
    complexity: "O(N) where N is the number of stores",
    arity: -1,
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::DANGEROUS).union(Flags::LONG),
    plan: info,
    ..Spec::DEFAULT
}];

/// A section of the text. Clients ask for it by its title, in any case.
struct Section {
    title: &'static str,
    /// Whether it is shown by default.
    by_default: bool,
    /// Whether it can be made while a script has the engine.
    without_engine: bool,
    write: fn(&Server, &mut Fields<'_>),
}

/// In the order in which they are shown.
static SECTIONS: &[Section] = &[
    Section { title: "Server", by_default: true, without_engine: true, write: server },
    Section { title: "Clients", by_default: true, without_engine: true, write: clients },
    Section { title: "Memory", by_default: true, without_engine: true, write: memory },
    Section { title: "Persistence", by_default: true, without_engine: true, write: persistence },
    Section { title: "Stats", by_default: true, without_engine: true, write: stats },
    Section { title: "Replication", by_default: true, without_engine: true, write: replication },
    Section { title: "CPU", by_default: true, without_engine: true, write: cpu },
    Section { title: "Modules", by_default: true, without_engine: true, write: |_, _| () },
    Section { title: "Commandstats", by_default: false, without_engine: true, write: command_stats },
    Section { title: "Errorstats", by_default: true, without_engine: true, write: error_stats },
    Section { title: "Latencystats", by_default: false, without_engine: true, write: latency_stats },
    Section {
        title: "Cluster",
        by_default: true,
        without_engine: true,
        write: |_, fields| fields.add("cluster_enabled", 0),
    },
    Section { title: "Keyspace", by_default: true, without_engine: false, write: keyspace },
    Section { title: "Limits", by_default: true, without_engine: false, write: limits },
    Section { title: "Stores", by_default: true, without_engine: false, write: stores },
];

fn info(call: &mut Call<'_>) -> Result<Plan, Error> {
    let asked = |word: &str| (1..call.args.len()).any(|at| call.is(at, word));
    let all = asked("all") || asked("everything");
    let default = call.args.len() == 1 || asked("default");
    let shown = SECTIONS
        .iter()
        .filter(|section| all || (default && section.by_default) || asked(section.title))
        .map(|section| written(call.server, call.session, section));
    reply(Reply::Verbatim(shown.collect::<Vec<_>>().join("\r\n").into()))
}

/// What INFO shows while a script has the engine: everything except counts of records.
pub fn text_without_engine(server: &Server, reader: &Session) -> String {
    SECTIONS
        .iter()
        .filter(|section| section.without_engine)
        .map(|section| written(server, reader, section))
        .collect()
}

fn written(server: &Server, reader: &Session, section: &Section) -> String {
    let mut fields = Fields { text: format!("# {}\r\n", section.title), reader };
    (section.write)(server, &mut fields);
    constants(section.title).for_each(|(name, value)| fields.add(name, value));
    fields.text
}

/// The lines of a section.
struct Fields<'a> {
    text: String,
    /// The session that reads them.
    reader: &'a Session,
}

impl Fields<'_> {
    /// Whether the reader may know of a store.
    fn shows(&self, store: &Store) -> bool {
        permission::may_use_store(self.reader, &store.label())
    }

    fn add(&mut self, name: &str, value: impl Display) {
        // writing to memory can't fail
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    /// A number of bytes, and once more for people.
    fn add_bytes(&mut self, name: &str, bytes: u64) {
        self.add(name, bytes);
        self.add(&format!("{name}_human"), human(bytes));
    }
}

/// Bytes in Redis's short form: `512B`, `1.50K`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.2}{}", UNITS[unit])
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn yes(is: bool) -> u8 {
    u8::from(is)
}

fn ok(failure: Option<&String>) -> &'static str {
    if failure.is_none() { "ok" } else { "err" }
}

fn server(server: &Server, fields: &mut Fields<'_>) {
    let settings = server.config.settings();
    let uptime_s = clock::steady_ms().saturating_sub(server.started_ms) / 1000;
    fields.add("redis_version", &settings.reported_version);
    fields.add("redis_git_sha1", "00000000");
    fields.add("redis_git_dirty", 0);
    fields.add("redis_build_id", 0);
    fields.add("redis_mode", "standalone");
    fields.add("larder_version", env!("CARGO_PKG_VERSION"));
    fields.add("os", process::operating_system());
    fields.add("arch_bits", usize::BITS);
    fields.add("process_id", std::process::id());
    fields.add("run_id", &server.run_id);
    fields.add("tcp_port", server.stats.port());
    fields.add("server_time_usec", clock::now_us());
    fields.add("uptime_in_seconds", uptime_s);
    fields.add("uptime_in_days", uptime_s / (24 * 60 * 60));
    fields.add("hz", 10);
    fields.add("configured_hz", 10);
    fields.add("executable", std::env::current_exe().unwrap_or_default().display());
    let config_file = server.config.file().map(|path| path.display().to_string());
    fields.add("config_file", config_file.unwrap_or_default());
    fields.add("lru_clock", (clock::now_ms() / 1000) & 0xff_ffff);
    fields.add("io_threads_active", 0);
    fields.add("data_directory", settings.dir.display());
}

fn clients(server: &Server, fields: &mut Fields<'_>) {
    let clients = server.clients.all();
    let largest = |bytes: fn(&crate::command::base::clients::Client) -> usize| {
        clients.iter().map(|client| bytes(client)).max().unwrap_or(0)
    };
    fields.add("connected_clients", clients.len());
    fields.add("cluster_connections", 0);
    fields.add("maxclients", server.config.settings().maxclients);
    fields.add("client_recent_max_input_buffer", largest(|client| client.query_buffer.load(Relaxed)));
    fields.add("client_recent_max_output_buffer", largest(|client| client.output_buffer.load(Relaxed)));
    fields.add("blocked_clients", server.clients.held());
    fields.add("tracking_clients", server.push.tracking.figures().clients);
    fields.add("pubsub_clients", clients.iter().filter(|client| client.is_subscriber()).count());
    fields.add("clients_in_timeout_table", 0);
    let watched = || clients.iter().map(|client| client.watched.load(Relaxed)).filter(|keys| *keys > 0);
    fields.add("watching_clients", watched().count());
    fields.add("total_watched_keys", watched().sum::<usize>());
}

fn memory(server: &Server, fields: &mut Fields<'_>) {
    let memory = process::memory();
    let status = server.engine.status();
    let peak = server.stats.note_memory(memory.allocated);
    fields.add_bytes("used_memory", memory.allocated);
    fields.add_bytes("used_memory_rss", memory.rss);
    fields.add_bytes("used_memory_peak", peak);
    fields.add("used_memory_peak_perc", format!("{:.2}%", ratio(memory.allocated, peak) * 100.0));
    let (dataset, startup) = (status.overlay_bytes as u64 + status.cache_bytes, server.stats.startup_bytes);
    let grown = memory.allocated.saturating_sub(startup);
    fields.add("used_memory_overhead", memory.allocated.saturating_sub(dataset));
    fields.add("used_memory_startup", startup);
    fields.add("used_memory_dataset", dataset);
    fields.add("used_memory_dataset_perc", format!("{:.2}%", (ratio(dataset, grown) * 100.0).min(100.0)));
    fields.add("allocator_allocated", memory.allocated);
    fields.add("allocator_active", memory.active);
    fields.add("allocator_resident", memory.resident);
    fields.add_bytes("total_system_memory", memory.system);
    let (scripts, lua) = (server.scripts.cache_status(), server.scripts.interpreter_bytes());
    fields.add_bytes("used_memory_lua", lua as u64);
    fields.add("used_memory_vm_eval", lua);
    fields.add_bytes("used_memory_vm_total", lua as u64);
    fields.add("used_memory_scripts_eval", scripts.bytes);
    fields.add_bytes("used_memory_scripts", scripts.bytes as u64);
    fields.add("number_of_cached_scripts", scripts.scripts);
    fields.add_bytes("maxmemory", 0);
    fields.add("maxmemory_policy", "noeviction");
    fields.add("allocator_frag_ratio", format!("{:.2}", ratio(memory.active, memory.allocated)));
    fields.add("allocator_frag_bytes", memory.active.saturating_sub(memory.allocated));
    fields.add("allocator_rss_ratio", format!("{:.2}", ratio(memory.resident, memory.active)));
    fields.add("allocator_rss_bytes", memory.resident.saturating_sub(memory.active));
    // without the pages of the LMDB map, which the system keeps as long as nobody else needs the memory
    fields.add("mem_fragmentation_ratio", format!("{:.2}", ratio(memory.rss_anonymous, memory.allocated)));
    fields.add("mem_fragmentation_bytes", memory.rss_anonymous.saturating_sub(memory.allocated));
    fields.add("rss_overhead_ratio", format!("{:.2}", ratio(memory.rss_anonymous, memory.resident)));
    fields.add("rss_overhead_bytes", memory.rss_anonymous.saturating_sub(memory.resident));
    let buffers = server.clients.all().iter().map(|client| client.buffer_bytes()).sum::<usize>();
    fields.add("mem_clients_normal", buffers);
    fields.add("mem_aof_buffer", status.journal.pending_bytes);
    fields.add("mem_allocator", "jemalloc");
    fields.add("active_defrag_running", 0);
    fields.add("lazyfree_pending_objects", 0);
    fields.add("rss_anonymous", memory.rss_anonymous);
    fields.add("rss_file_backed", memory.rss.saturating_sub(memory.rss_anonymous));
    fields.add("overlay_bytes", status.overlay_bytes);
    fields.add("cache_bytes", status.cache_bytes);
}

fn persistence(server: &Server, fields: &mut Fields<'_>) {
    let Status { journal, checkpoint, file, map_bytes, shortage, .. } = server.engine.status();
    let checkpoint_s = checkpoint.last_took_ms / 1000;
    fields.add("loading", 0);
    fields.add("async_loading", 0);
    fields.add("rdb_changes_since_last_save", journal.last.saturating_sub(checkpoint.through));
    fields.add("rdb_bgsave_in_progress", yes(checkpoint.running));
    fields.add("rdb_last_save_time", checkpoint.last_ms / 1000);
    fields.add("rdb_last_bgsave_status", ok(checkpoint.failure.as_ref()));
    fields.add("rdb_last_bgsave_time_sec", if checkpoint.done == 0 { -1 } else { checkpoint_s as i64 });
    fields.add("rdb_current_bgsave_time_sec", -1);
    fields.add("rdb_saves", checkpoint.done);
    fields.add("aof_enabled", 1);
    fields.add("aof_rewrite_in_progress", 0);
    fields.add("aof_rewrite_scheduled", 0);
    fields.add("aof_last_rewrite_time_sec", -1);
    fields.add("aof_current_rewrite_time_sec", -1);
    fields.add("aof_last_bgrewrite_status", ok(checkpoint.failure.as_ref()));
    fields.add("aof_last_write_status", ok(journal.failure.as_ref()));
    fields.add("aof_current_size", journal.segments_bytes);
    fields.add("aof_base_size", 0);
    fields.add("aof_buffer_length", journal.pending_bytes);
    fields.add("aof_delayed_fsync", journal.slow_syncs);
    write_journal(&journal, fields);
    write_checkpoint(&checkpoint, fields);
    fields.add("lmdb_file_bytes", file.pages);
    fields.add("lmdb_live_bytes", file.live());
    fields.add("lmdb_free_bytes", file.free);
    fields.add("lmdb_free_pages", file.free_pages());
    fields.add("lmdb_reserve_bytes", file.reserve);
    fields.add("lmdb_map_bytes", map_bytes);
    fields.add("lmdb_shortage", one_line(shortage.as_deref()));
}

fn write_journal(status: &journal::Status, fields: &mut Fields<'_>) {
    let fsync = match status.fsync {
        Fsync::Always => "always",
        Fsync::EverySec => "everysec",
        Fsync::No => "no",
    };
    fields.add("journal_fsync", fsync);
    fields.add("journal_last_entry", status.last);
    fields.add("journal_written_entry", status.written);
    fields.add("journal_durable_entry", status.durable);
    fields.add("journal_pending_bytes", status.pending_bytes);
    fields.add("journal_segments", status.segments);
    fields.add("journal_segments_bytes", status.segments_bytes);
    fields.add("journal_spare_segments", status.spares);
    fields.add("journal_disk_bytes", status.disk_bytes);
    fields.add("journal_frames", status.frames);
    fields.add("journal_bytes", status.bytes);
    fields.add("journal_syncs", status.syncs);
    fields.add("journal_slow_syncs", status.slow_syncs);
    fields.add("journal_last_sync_usec", status.last_sync_us);
    fields.add("journal_max_sync_usec", status.max_sync_us);
    fields.add("journal_failure", one_line(status.failure.as_deref()));
    fields.add("journal_shortage", one_line(status.shortage.as_deref()));
}

fn write_checkpoint(status: &CheckpointStatus, fields: &mut Fields<'_>) {
    fields.add("checkpoint_entry", status.through);
    fields.add("checkpoint_running", yes(status.running));
    fields.add("checkpoints", status.done);
    fields.add("checkpoint_last_time_msec", status.last_ms);
    fields.add("checkpoint_last_duration_msec", status.last_took_ms);
    fields.add("checkpoint_last_records", status.last_records);
    fields.add("checkpoint_failure", one_line(status.failure.as_deref()));
}

/// A reason as the value of a field; empty if there is none.
fn one_line(text: Option<&str>) -> String {
    text.unwrap_or_default().replace(['\r', '\n'], " ")
}

fn stats(server: &Server, fields: &mut Fields<'_>) {
    let stats = &server.stats;
    let (kbps_in, kbps_out) = stats.kbps();
    fields.add("total_connections_received", stats.connections.load(Relaxed));
    fields.add("total_commands_processed", stats.commands());
    fields.add("instantaneous_ops_per_sec", stats.ops_per_sec());
    fields.add("total_net_input_bytes", stats.bytes_in.load(Relaxed));
    fields.add("total_net_output_bytes", stats.bytes_out.load(Relaxed));
    fields.add("instantaneous_input_kbps", format!("{kbps_in:.2}"));
    fields.add("instantaneous_output_kbps", format!("{kbps_out:.2}"));
    fields.add("rejected_connections", stats.rejected_connections.load(Relaxed));
    fields.add("sync_full", 0);
    fields.add("sync_partial_ok", 0);
    fields.add("sync_partial_err", 0);
    fields.add("expired_keys", stats.expired(server.engine.status().expired_records));
    // records do not expire by being read; the sweeper removes them
    fields.add("expired_keys_active", stats.expired(server.engine.status().expired_records));
    fields.add("evicted_keys", 0);
    fields.add("evicted_clients", server.clients.evicted.load(Relaxed));
    fields.add("evicted_scripts", server.scripts.cache_status().evicted);
    let (hits, misses) = stats.lookups.hits_and_misses();
    fields.add("keyspace_hits", hits);
    fields.add("keyspace_misses", misses);
    let (channels, tracking) = (&server.push.channels, server.push.tracking.figures());
    fields.add("pubsub_channels", channels.count(Subscription::Channel));
    fields.add("pubsub_patterns", channels.count(Subscription::Pattern));
    fields.add("pubsubshard_channels", channels.count(Subscription::Shard));
    fields.add("latest_fork_usec", 0);
    fields.add("total_forks", 0);
    fields.add("tracking_total_keys", tracking.keys);
    fields.add("tracking_total_items", tracking.items);
    fields.add("tracking_total_prefixes", tracking.prefixes);
    fields.add("client_query_buffer_limit_disconnections", stats.overlong_requests.load(Relaxed));
    fields.add("client_output_buffer_limit_disconnections", server.push.post.overflows.load(Relaxed));
    fields.add("total_error_replies", stats.errors.load(Relaxed));
    fields.add("total_reads_processed", stats.reads.load(Relaxed));
    fields.add("total_writes_processed", stats.writes.load(Relaxed));
    let denied = |reason| server.acl.log.count(reason);
    fields.add("acl_access_denied_auth", denied(Reason::Auth));
    fields.add("acl_access_denied_cmd", denied(Reason::Command));
    fields.add("acl_access_denied_key", denied(Reason::Key));
    fields.add("acl_access_denied_channel", denied(Reason::Channel));
    fields.add("acl_access_denied_store", denied(Reason::Store));
    fields.add("slowlog_entries", server.slow.len());
    fields.add("http_requests", stats.http_requests.load(Relaxed));
    fields.add("http_errors", stats.http_errors.load(Relaxed));
    fields.add("http_event_streams", server.push.followers.count());
}

fn replication(server: &Server, fields: &mut Fields<'_>) {
    fields.add("role", "master");
    fields.add("connected_slaves", 0);
    fields.add("master_failover_state", "no-failover");
    fields.add("master_replid", &server.run_id);
    fields.add("master_replid2", "0".repeat(40));
    fields.add("master_repl_offset", 0);
    fields.add("second_repl_offset", -1);
    fields.add("repl_backlog_active", 0);
    fields.add("repl_backlog_size", 0);
    fields.add("repl_backlog_first_byte_offset", 0);
    fields.add("repl_backlog_histlen", 0);
}

fn cpu(_: &Server, fields: &mut Fields<'_>) {
    let cpu = process::cpu();
    fields.add("used_cpu_sys", format!("{:.6}", cpu.system));
    fields.add("used_cpu_user", format!("{:.6}", cpu.user));
    fields.add("used_cpu_sys_children", "0.000000");
    fields.add("used_cpu_user_children", "0.000000");
}

fn command_stats(server: &Server, fields: &mut Fields<'_>) {
    for (name, stats) in server.stats.by_command() {
        let per_call = ratio(stats.micros, stats.calls);
        let line = format!(
            "calls={},usec={},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
            stats.calls, stats.micros, stats.rejected, stats.failed
        );
        fields.add(&format!("cmdstat_{name}"), line);
    }
}

/// How long commands take, at the percentiles that `latency-tracking-info-percentiles` names.
fn latency_stats(server: &Server, fields: &mut Fields<'_>) {
    let percentiles = server.config.settings().latency_percentiles;
    for (name, durations) in server.stats.all_durations() {
        let shown = percentiles.split_whitespace().map(|word| {
            let nanos = durations.percentile_ns(word.parse().unwrap_or_default());
            format!("p{word}={:.3}", nanos as f64 / 1_000.0)
        });
        fields.add(&format!("latency_percentiles_usec_{name}"), shown.collect::<Vec<_>>().join(","));
    }
}

fn error_stats(server: &Server, fields: &mut Fields<'_>) {
    for (code, count) in server.stats.by_error() {
        fields.add(&format!("errorstat_{}", plain(&code)), format!("count={count}"));
    }
}

/// Stores by number, as tools expect databases; `Stores` has the names of the named ones.
fn keyspace(server: &Server, fields: &mut Fields<'_>) {
    let filled: Vec<_> = {
        let catalog = server.engine.catalog();
        let filled = catalog.iter().filter(|store| store.usage.records > 0 && fields.shows(store));
        filled.map(|store| (store.id, store.usage)).collect()
    };
    for (id, usage) in filled {
        let average_ttl_ms = if usage.expiring > 0 { average_ttl_ms(server, id) } else { 0 };
        let line =
            format!("keys={},expires={},avg_ttl={average_ttl_ms},subexpiry=0", usage.records, usage.expiring);
        fields.add(&format!("db{id}"), line);
    }
}

/// The average remaining time of records that expire, estimated from some of them.
fn average_ttl_ms(server: &Server, store: StoreId) -> u64 {
    let now_ms = clock::now_ms();
    // INFO has no place for an error; reading records reports it
    let samples = server.engine.sample(now_ms, store, &mut || server.random()).unwrap_or_default();
    let (mut total_ms, mut total_weight) = (0.0, 0.0);
    for sample in &samples {
        if let Some(deadline) = sample.expires_at_ms {
            total_ms += deadline.saturating_sub(now_ms) as f64 * sample.weight;
            total_weight += sample.weight;
        }
    }
    if total_weight > 0.0 { (total_ms / total_weight) as u64 } else { 0 }
}

/// Limits over all stores (0: none), how much of them the stores use that the reader may use, and which limits,
/// including those of stores, are nearly reached.
fn limits(server: &Server, fields: &mut Fields<'_>) {
    let quota = server.config.settings().quota();
    let (mut named, mut records, mut stored_bytes) = (0, 0, 0);
    for store in server.engine.catalog().iter().filter(|store| fields.shows(store)) {
        named += u64::from(store.name.is_some());
        records += store.usage.records;
        stored_bytes += store.usage.stored_bytes;
    }
    fields.add("max_stores", quota.max_stores.unwrap_or(0));
    fields.add("named_stores", named);
    fields.add("max_keys", quota.max_keys.unwrap_or(0));
    fields.add("keys", records);
    fields.add("max_bytes", quota.max_bytes.unwrap_or(0));
    fields.add("stored_bytes", stored_bytes);
    let nearly_full = permission::nearly_full(server, fields.reader);
    fields.add("limits_nearly_reached", nearly_full.len());
    for (at, (store, Fill { setting, used, max, .. })) in nearly_full.into_iter().enumerate() {
        let whose = store.map_or_else(String::new, |label| plain(&label));
        fields.add(&format!("limit_{at}"), format!("store={whose},limit={setting},used={used},max={max}"));
    }
}

/// Named stores, and numbered ones with records.
fn stores(server: &Server, fields: &mut Fields<'_>) {
    let default_kind = server.engine.default_kind();
    let catalog = server.engine.catalog();
    for store in catalog.iter().filter(|store| store.name.is_some() || store.usage.records > 0) {
        if !fields.shows(store) {
            continue;
        }
        fields.add(&format!("store_{}", plain(&store.label())), store_line(store, default_kind));
    }
}

fn store_line(store: &Store, default_kind: Kind) -> String {
    let usage = store.usage;
    format!(
        "number={},values={},records={},expiring={},plain_bytes={},stored_bytes={},ratio={:.2},max_keys={},max_bytes={}",
        store.id,
        store.kind.unwrap_or(default_kind).as_str(),
        usage.records,
        usage.expiring,
        usage.plain_bytes,
        usage.stored_bytes,
        usage.ratio(),
        store.quota.max_keys.unwrap_or(0),
        store.quota.max_bytes.unwrap_or(0),
    )
}

/// A name as a part of a field name: characters that would end it are percent-encoded.
fn plain(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut out, c| {
        if matches!(c, ':' | '=' | ',' | '%' | ' ') || c.is_control() {
            // writing to memory can't fail
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::server::info::*;
    use crate::command::tests::harness::{Harness, shown};

    fn answer(harness: &mut Harness, line: &str) -> String {
        let Reply::Verbatim(text) = harness.run(line) else { panic!("not a text") };
        String::from_utf8(text.to_vec()).unwrap()
    }

    /// The value of a field in an answer.
    fn field<'a>(text: &'a str, name: &str) -> &'a str {
        let line = text.split("\r\n").find(|line| line.split(':').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).split_once(':').unwrap().1
    }

    fn titles(text: &str) -> Vec<&str> {
        text.split("\r\n").filter_map(|line| line.strip_prefix("# ")).collect()
    }

    #[test]
    fn sections_are_shown_as_asked_for() {
        let mut harness = Harness::new();
        assert_eq!(answer(&mut harness, "INFO keyspace"), "# Keyspace\r\n");
        assert_eq!(answer(&mut harness, "INFO nothing"), "");
        assert_eq!(titles(&answer(&mut harness, "INFO KEYSPACE server nothing")), ["Server", "Keyspace"]);
        let default = answer(&mut harness, "INFO");
        assert_eq!(titles(&default), titles(&answer(&mut harness, "INFO default")));
        assert!(!titles(&default).contains(&"Commandstats"));
        assert!(default.contains("\r\n\r\n# Clients\r\n"));
        for everything in ["INFO all", "INFO everything"] {
            assert_eq!(titles(&answer(&mut harness, everything)).len(), SECTIONS.len());
        }
        assert!(titles(&answer(&mut harness, "INFO default commandstats")).contains(&"Commandstats"));
    }

    #[test]
    fn every_line_is_a_title_or_a_field() {
        let mut harness = Harness::new();
        harness.run("GET k");
        harness.run("GET");
        for line in answer(&mut harness, "INFO everything").split("\r\n").filter(|line| !line.is_empty()) {
            assert!(line.starts_with("# ") || line.contains(':'), "{line}");
        }
    }

    /// Tools look for fields by name, and of two with the same name take the first or the last.
    #[test]
    fn every_field_of_redis_is_there_once() {
        let mut harness = Harness::new();
        let text = answer(&mut harness, "INFO everything");
        let names: Vec<&str> = text.split("\r\n").filter_map(|line| Some(line.split_once(':')?.0)).collect();
        for name in include_str!("redis_7_0_info_fields.txt").lines() {
            assert!(names.contains(&name), "{name}");
        }
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name} is there twice");
        }
    }

    #[test]
    fn percentiles_are_those_that_are_set() {
        let mut harness = Harness::new();
        harness.expect(&[
            ("GET k", "nil"),
            ("CONFIG SET latency-tracking-info-percentiles \"50.0 99.9\"", "OK"),
        ]);
        let text = answer(&mut harness, "INFO latencystats");
        let line = field(&text, "latency_percentiles_usec_get");
        assert!(line.starts_with("p50=") && line.contains(",p99.9="), "{line}");
        assert!(!answer(&mut harness, "INFO").contains("latency_percentiles"));
    }

    #[test]
    fn who_watches_is_counted() {
        let mut harness = Harness::new();
        harness.run("WATCH a b");
        let text = answer(&mut harness, "INFO clients");
        assert_eq!((field(&text, "watching_clients"), field(&text, "total_watched_keys")), ("1", "2"));
        let list = shown(&harness.run("CLIENT INFO"));
        assert!(list.contains(" multi=-1 watch=2 "), "{list}");
        harness.expect(&[("MULTI", "OK"), ("PING", "QUEUED"), ("CLIENT ID", "QUEUED")]);
        assert!(shown(&harness.run("EXEC")).starts_with("[PONG"));
        assert_eq!(field(&answer(&mut harness, "INFO clients"), "watching_clients"), "0");
    }

    #[test]
    fn counters_count() {
        let mut harness = Harness::new();
        harness.run("SET k 1 EX 100");
        harness.run("MGET k missing gone");
        harness.run("INCR k x");
        harness.run("SELECT nothing");
        let text = answer(&mut harness, "INFO everything");
        assert_eq!(field(&text, "connected_clients"), "1");
        assert_eq!((field(&text, "keyspace_hits"), field(&text, "keyspace_misses")), ("1", "2"));
        assert_eq!(field(&text, "total_error_replies"), "2");
        assert_eq!(field(&text, "errorstat_ERR"), "count=1");
        assert_eq!(field(&text, "errorstat_NOSTORE"), "count=1");
        assert!(field(&text, "cmdstat_mget").starts_with("calls=1,usec="));
        assert!(
            field(&text, "cmdstat_incr")
                .ends_with("calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0")
        );
        assert!(field(&text, "cmdstat_select").ends_with("rejected_calls=0,failed_calls=1"));
        let line = field(&text, "db0");
        let average =
            line.strip_prefix("keys=1,expires=1,avg_ttl=").unwrap().strip_suffix(",subexpiry=0").unwrap();
        assert!((1..=100_000).contains(&average.parse::<u64>().unwrap()), "{line}");
        assert_eq!(field(&text, "rdb_changes_since_last_save"), "1");
    }

    #[test]
    fn stores_are_told_by_name_and_as_databases() {
        let mut harness = Harness::new();
        harness.run("STORE CREATE \"a=b c\" VALUES json");
        harness.run("SELECT \"a=b c\"");
        harness.run("SET k 12345");
        let text = answer(&mut harness, "INFO keyspace stores");
        assert_eq!(field(&text, "db16"), "keys=1,expires=0,avg_ttl=0,subexpiry=0");
        let line = field(&text, "store_a%3Db%20c");
        assert!(
            line.starts_with("number=16,values=json,records=1,expiring=0,plain_bytes=6,stored_bytes="),
            "{line}"
        );
    }

    #[test]
    fn persistence_follows_the_checkpoint() {
        let mut harness = Harness::new();
        harness.run("SET k 1");
        harness.run("SAVE");
        let text = answer(&mut harness, "INFO persistence");
        assert_eq!(field(&text, "rdb_changes_since_last_save"), "0");
        assert_eq!(field(&text, "checkpoints"), "1");
        assert_eq!(field(&text, "checkpoint_entry"), field(&text, "journal_last_entry"));
        assert_eq!((field(&text, "aof_last_write_status"), field(&text, "journal_failure")), ("ok", ""));
    }

    #[test]
    fn bytes_for_people() {
        for (bytes, shown) in
            [(0, "0B"), (1023, "1023B"), (1536, "1.50K"), (6_975_488, "6.65M"), (1 << 40, "1.00T")]
        {
            assert_eq!(human(bytes), shown);
        }
    }
}
