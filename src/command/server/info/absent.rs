//! Fields of INFO with a fixed value, for mechanisms of Redis that Larder doesn't have. Tools look for them.

pub static SERVER: &[(&str, &str)] = &[
    ("monotonic_clock", "POSIX clock_gettime"),
    ("multiplexing_api", "epoll"),
    ("atomicvar_api", "rust"),
    ("gcc_version", "0.0.0"),
    ("process_supervised", "no"),
];

pub static CLIENTS: &[(&str, &str)] = &[("total_blocking_keys", "0"), ("total_blocking_keys_on_nokey", "0")];

pub static MEMORY: &[(&str, &str)] = &[
    ("mem_not_counted_for_evict", "0"),
    ("mem_replication_backlog", "0"),
    ("mem_total_replication_buffers", "0"),
    ("mem_clients_slaves", "0"),
    ("mem_cluster_links", "0"),
    ("lazyfreed_objects", "0"),
];

pub static PERSISTENCE: &[(&str, &str)] = &[
    ("current_cow_peak", "0"),
    ("current_cow_size", "0"),
    ("current_cow_size_age", "0"),
    ("current_fork_perc", "0.00"),
    ("current_save_keys_processed", "0"),
    ("current_save_keys_total", "0"),
    ("rdb_last_cow_size", "0"),
    ("rdb_last_load_keys_expired", "0"),
    ("rdb_last_load_keys_loaded", "0"),
    ("aof_rewrites", "0"),
    ("aof_rewrites_consecutive_failures", "0"),
    ("aof_last_cow_size", "0"),
    ("module_fork_in_progress", "0"),
    ("module_fork_last_cow_size", "0"),
];

pub static STATS: &[(&str, &str)] = &[
    ("total_net_repl_input_bytes", "0"),
    ("total_net_repl_output_bytes", "0"),
    ("instantaneous_input_repl_kbps", "0.00"),
    ("instantaneous_output_repl_kbps", "0.00"),
    ("expired_stale_perc", "0.00"),
    ("expired_time_cap_reached_count", "0"),
    ("expire_cycle_cpu_milliseconds", "0"),
    ("total_eviction_exceeded_time", "0"),
    ("current_eviction_exceeded_time", "0"),
    ("migrate_cached_sockets", "0"),
    ("slave_expires_tracked_keys", "0"),
    ("active_defrag_hits", "0"),
    ("active_defrag_misses", "0"),
    ("active_defrag_key_hits", "0"),
    ("active_defrag_key_misses", "0"),
    ("total_active_defrag_time", "0"),
    ("current_active_defrag_time", "0"),
    ("unexpected_error_replies", "0"),
    ("dump_payload_sanitizations", "0"),
    ("io_threaded_reads_processed", "0"),
    ("io_threaded_writes_processed", "0"),
    ("reply_buffer_shrinks", "0"),
    ("reply_buffer_expands", "0"),
];

pub static CPU: &[(&str, &str)] =
    &[("used_cpu_sys_main_thread", "0.000000"), ("used_cpu_user_main_thread", "0.000000")];

pub static CLUSTER: &[(&str, &str)] = &[("cluster_enabled", "0")];
