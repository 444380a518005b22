//! Every setting there is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::declaration::{Effect, Setting, When, settings};
use super::form::{Addresses, ByClass, Bytes, Custom, File, Form, Itself, Limit, Number, OneOf, Text, YesNo};
use super::units::{parse_bytes, parse_word};
use super::{Address, BufferLimits, Config};
use crate::archive::Ack;
use crate::archive::store::Place;
use crate::engine::Fsync;
use crate::engine::events::Classes;
use crate::limits;
use crate::record::compress::Compression;
use crate::store::ValueKind;
use crate::store::eviction::Policy;

settings! {
    "Data and addresses":

    dir: PathBuf = PathBuf::from("./larder-data") => {
        name: "dir",
        value: "PATH",
        form: Custom(parse_dir, |dir| dir.display().to_string()),
        when: When::Start,
        is_first: true,
        help: "Directory of the data: LMDB environment and journal. It is created if it doesn't exist",
    }

    bind: Vec<Address> = vec!["127.0.0.1".into()] => {
        name: "bind",
        value: "ADDRESS …",
        form: Addresses,
        when: When::Start,
        is_first: true,
        help: "Addresses to listen on, separated by spaces; `*` is all of IPv4, `::*` of IPv6; with a `-` before it, one that \
               the machine may lack",
    }

    port: u16 = 6379 => {
        name: "port",
        value: "PORT",
        form: Number(0, u16::MAX),
        when: When::Start,
        is_first: true,
        help: "TCP port; 0 takes a free port and logs it or, if tls-port is set, disables plain connections",
    }

    "TLS":

    /// 0: no TLS.
    tls_port: u16 = 0 => {
        name: "tls-port",
        value: "PORT",
        form: Number(0, u16::MAX),
        when: When::Start,
        help: "Port for TLS connections; 0: none. With port 0 it is the only one",
    }

    tls_cert_file: Option<PathBuf> = None => {
        name: "tls-cert-file",
        value: "PATH",
        form: File,
        when: When::Any(Effect::Tls),
        help: "Certificate of the server, with intermediate certificates, in PEM; SIGHUP reloads it",
    }

    tls_key_file: Option<PathBuf> = None => {
        name: "tls-key-file",
        value: "PATH",
        form: File,
        when: When::Any(Effect::Tls),
        help: "Private key of the server, in PEM, unencrypted",
    }

    tls_ca_cert_file: Option<PathBuf> = None => {
        name: "tls-ca-cert-file",
        value: "PATH",
        form: File,
        when: When::Any(Effect::Tls),
        help: "Certificates of the authorities that sign the certificates of clients, in PEM",
    }

    tls_auth_clients: ClientCertificates = ClientCertificates::Required => {
        name: "tls-auth-clients",
        value: "yes|no|optional",
        form: OneOf(CLIENT_CERTIFICATES),
        when: When::Any(Effect::Tls),
        help: "Whether TLS clients must show a certificate that tls-ca-cert-file has signed",
    }

    "Unix socket and HTTP":

    unixsocket: Option<PathBuf> = None => {
        name: "unixsocket",
        value: "PATH",
        form: File,
        when: When::Start,
        help: "Unix socket to listen on as well",
    }

    /// Permissions of the Unix socket; None: what the process's umask leaves.
    unixsocket_mode: Option<u32> = None => {
        name: "unixsocketperm",
        value: "OCTAL",
        form: Custom(parse_mode, |mode| format!("{:o}", mode.unwrap_or(0))),
        when: When::Start,
        help: "Permissions of the Unix socket, like 770; 0: what the umask leaves",
    }

    http_bind: Vec<Address> = vec!["127.0.0.1".into()] => {
        name: "http-bind",
        value: "ADDRESS …",
        form: Addresses,
        when: When::Start,
        help: "Addresses of the HTTP API and the dashboard, written like those of bind",
    }

    /// 0: no plain HTTP.
    http_port: u16 = 8379 => {
        name: "http-port",
        value: "PORT",
        form: Number(0, u16::MAX),
        when: When::Start,
        is_first: true,
        help: "Port of the HTTP API, the dashboard, /metrics, /healthz and /readyz; 0: none",
    }

    /// 0: no HTTPS.
    https_port: u16 = 0 => {
        name: "https-port",
        value: "PORT",
        form: Number(0, u16::MAX),
        when: When::Start,
        help: "Port of the same over TLS, beside or (with http-port 0) instead of the plain one, with the certificates of \
               tls-cert-file and the like; 0: none",
    }

    http_cors_origin: Option<String> = None => {
        name: "http-cors-origin",
        value: "ORIGIN",
        form: Custom(parse_origin, |origin| origin.clone().unwrap_or_default()),
        when: When::Start,
        help: "Origin of web pages that may use the HTTP API, such as https://tools.example.com; empty: only the server's own pages",
    }

    "Users and passwords":

    requirepass: Option<String> = None => {
        name: "requirepass",
        value: "PASSWORD",
        form: Text,
        when: When::Any(Effect::Password),
        is_first: true,
        is_secret: true,
        help: "Password of the user default, which clients send with AUTH; empty: none",
    }

    aclfile: Option<PathBuf> = None => {
        name: "aclfile",
        value: "PATH",
        form: File,
        when: When::Start,
        help: "File of users and their rules, for ACL LOAD and ACL SAVE. It must exist, and may be empty",
    }

    /// Whether new users may use all channels.
    acl_pubsub_default: bool = false => {
        name: "acl-pubsub-default",
        value: "allchannels|resetchannels",
        form: OneOf(CHANNEL_DEFAULTS),
        when: When::Any(Effect::NewUsers),
        help: "Channels that new users may use: all or none",
    }

    acllog_max_len: usize = 128 => {
        name: "acllog-max-len",
        value: "N",
        form: Number(0, 1_000_000),
        when: When::Any(Effect::None),
        help: "Number of entries that ACL LOG keeps",
    }

    protected_mode: bool = true => {
        name: "protected-mode",
        value: "yes|no",
        form: YesNo,
        when: When::Start,
        help: "Refuse to start without a password if other machines can connect",
    }

    "Stores and limits":

    appendfsync: Fsync = Fsync::Always => {
        name: "appendfsync",
        value: "always|everysec|no",
        form: OneOf(FSYNCS),
        when: When::Any(Effect::Fsync),
        help: "When writes are synced to disk: before the reply (always), every second (everysec), or when the system decides (no)",
    }

    databases: u32 = limits::DATABASES => {
        name: "databases",
        value: "N",
        form: Number(1, limits::DATABASES_MAX),
        when: When::Start,
        help: "Numbered stores",
    }

    default_values: ValueKind = ValueKind::Json => {
        name: "default-values",
        value: "json|any",
        form: OneOf(KINDS),
        when: When::Any(Effect::DefaultValues),
        help: "Values of stores without a setting of their own: JSON only, or any bytes",
    }

    auto_create_stores: bool = false => {
        name: "auto-create-stores",
        value: "yes|no",
        form: YesNo,
        when: When::Any(Effect::None),
        kept: AtomicBool,
        help: "Create a store when its name is selected and doesn't exist",
    }

    max_keys_per_query: usize = limits::KEYS_PER_QUERY => {
        name: "max-keys-per-query",
        value: "N",
        form: Number(0, limits::KEYS_PER_QUERY_MAX),
        when: When::Any(Effect::None),
        kept: AtomicUsize,
        help: "Maximum number of matches of KEYS, and of keys in a page of SCAN; 0: no limit",
    }

    max_stores: Option<u64> = None => {
        name: "max-stores",
        value: "N",
        form: Limit(Number(0, i64::MAX as u64)),
        when: When::Any(Effect::Quota),
        help: "Maximum number of named stores; 0: no limit",
    }

    max_keys: Option<u64> = None => {
        name: "max-keys",
        value: "N",
        form: Limit(Number(0, i64::MAX as u64)),
        when: When::Any(Effect::Quota),
        help: "Maximum number of keys in all stores; 0: no limit",
    }

    max_bytes: Option<u64> = None => {
        name: "max-bytes",
        former: "maxmemory",
        value: "BYTES",
        form: Limit(Bytes(0, u64::MAX)),
        when: When::Any(Effect::Quota),
        help: "Maximum number of bytes in all stores, after compression; 0: no limit",
    }

    maxmemory_policy: Option<Policy> = None => {
        name: "maxmemory-policy",
        value: "POLICY",
        form: OneOf(Policy::NAMES),
        when: When::Any(Effect::Quota),
        help: "Which records are evicted when max-keys or max-bytes is reached: noeviction, allkeys-lru, allkeys-lfu, \
               allkeys-random, or volatile-lru, volatile-lfu, volatile-random, volatile-ttl, which spare what does not expire",
    }

    compression: Compression = Compression::default() => {
        name: "compression",
        value: "QUALITY[:BYTES[:no-dictionaries]]|off",
        form: Itself,
        when: When::Any(Effect::Compression),
        help: "Brotli quality 0 to 11, from how many bytes on a value is compressed, and whether stores learn dictionaries",
    }

    "Clients":

    maxclients: usize = 10_000 => {
        name: "maxclients",
        value: "N",
        form: Number(1, limits::CLIENTS_MAX),
        when: When::Any(Effect::Clients),
        help: "Maximum number of connections",
    }

    timeout_s: u64 = 0 => {
        name: "timeout",
        value: "SECONDS",
        form: Number(0, i32::MAX as u64),
        when: When::Any(Effect::None),
        kept: AtomicU64,
        help: "Close a connection after so many seconds without a request; 0: never",
    }

    tcp_keepalive_s: u64 = 300 => {
        name: "tcp-keepalive",
        value: "SECONDS",
        form: Number(0, i32::MAX as u64),
        when: When::Any(Effect::None),
        help: "Seconds after which silent peers are probed with TCP keep-alive; 0: never",
    }

    tcp_backlog: u32 = 511 => {
        name: "tcp-backlog",
        value: "N",
        form: Number(1, 65_535),
        when: When::Start,
        help: "Number of connections that may wait to be accepted",
    }

    proto_max_bulk_len: usize = limits::VALUE_BYTES_MAX => {
        name: "proto-max-bulk-len",
        value: "BYTES",
        form: Bytes(1 << 20, limits::VALUE_BYTES_MAX as u64),
        when: When::Any(Effect::None),
        kept: AtomicUsize,
        help: "Maximum size of a word of a request, and thus of a value",
    }

    /// The most memory that all clients together may hold; 0: no limit.
    maxmemory_clients: u64 = limits::CLIENTS_BYTES => {
        name: "maxmemory-clients",
        value: "BYTES",
        form: Bytes(0, 1 << 50),
        when: When::Any(Effect::None),
        kept: AtomicU64,
        help: "What all clients may hold together of requests, queued commands and replies; beyond it, the one that holds most \
               is disconnected; 0: any",
    }

    client_query_buffer_limit: usize = limits::REQUEST_BYTES_MAX => {
        name: "client-query-buffer-limit",
        value: "BYTES",
        form: Bytes(1 << 20, 64 << 30),
        when: When::Any(Effect::None),
        kept: AtomicUsize,
        help: "Maximum size of a request",
    }

    io_threads: usize = io_threads_default() => {
        name: "io-threads",
        value: "COUNT",
        form: Number(1, limits::IO_THREADS_MAX),
        when: When::Start,
        help: "Number of threads that serve connections. The default is one less than the number of cores, between 1 and 4",
    }

    client_output_buffer_limit: BufferLimits = BufferLimits::default() => {
        name: "client-output-buffer-limit",
        value: "CLASS HARD SOFT SECONDS …",
        form: ByClass,
        when: When::Any(Effect::Push),
        help: "Limits of unread output per client, by class: hard limit, soft limit and its seconds",
    }

    "Notifications":

    notify_keyspace_events: Classes = Classes::empty() => {
        name: "notify-keyspace-events",
        value: "LETTERS",
        form: Itself,
        when: When::Any(Effect::Push),
        help: "Changes that are published as keyspace notifications: K (by key) or E (by event), and kinds of events; empty: none",
    }

    tracking_table_max_keys: usize = limits::TRACKED_KEYS => {
        name: "tracking-table-max-keys",
        value: "N",
        form: Number(0, usize::MAX),
        when: When::Any(Effect::Push),
        help: "Maximum number of keys that are remembered for client-side caching; 0: no limit",
    }

    "Memory and scripts":

    memtable_memory: u64 = limits::MEMTABLE_BYTES => {
        name: "memtable-memory",
        former: "overlay-memory",
        value: "BYTES",
        form: Bytes(1 << 20, 1 << 40),
        when: When::Start,
        help: "Memory for changes that are not in LMDB yet; writers wait when it is used up",
    }

    lua_memory_limit: usize = limits::SCRIPT_MEMORY_BYTES => {
        name: "lua-memory-limit",
        value: "BYTES",
        form: Bytes(limits::SCRIPT_MEMORY_BYTES_MIN as u64, 64 << 30),
        when: When::Any(Effect::None),
        kept: AtomicUsize,
        help: "Memory for scripts, including their interpreter, and as much for functions",
    }

    busy_reply_threshold_ms: u64 = 5_000 => {
        name: "busy-reply-threshold",
        former: "lua-time-limit",
        value: "MILLISECONDS",
        form: Number(0, i32::MAX as u64),
        when: When::Any(Effect::None),
        kept: AtomicU64,
        help: "Milliseconds after which other clients are answered with BUSY while a script runs; 0: never",
    }

    cache_memory: u64 = limits::CACHE_BYTES => {
        name: "cache-memory",
        value: "BYTES",
        form: Bytes(0, u64::MAX),
        when: When::Start,
        help: "Memory for decompressed values",
    }

    "Disk":

    checkpoint_interval_s: u64 = limits::CHECKPOINT_INTERVAL_S => {
        name: "checkpoint-interval",
        value: "SECONDS",
        form: Number(1, 86_400),
        when: When::Start,
        help: "Maximum number of seconds between checkpoints, which move changes to LMDB",
    }

    map_size: u64 = 0 => {
        name: "map-size",
        value: "BYTES",
        form: Custom(parse_map_size, u64::to_string),
        when: When::Start,
        help: "Maximum size of the LMDB file; 0: as much as the address space allows. It reserves no memory",
    }

    "Archive":
    /// None: there is no archive.
    archive: Option<Place> = None => {
        name: "archive",
        value: "URL",
        form: Custom(parse_archive, |place| place.as_ref().map_or_else(String::new, Place::to_string)),
        when: When::Start,
        help: "Object storage to which everything is copied: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or a \
               directory; empty: none. Credentials, region and endpoint come from the environment",
    }

    archive_ack: Ack = Ack::Local => {
        name: "archive-ack",
        value: "local|archived",
        form: OneOf(ACKS),
        when: When::Start,
        help: "Whether replies to writes wait until the archive has them (archived) or not (local)",
    }

    archive_interval_s: u64 = 1 => {
        name: "archive-interval",
        value: "SECONDS",
        form: Number(1, 3_600),
        when: When::Start,
        help: "Seconds between two uploads to the archive if replies don't wait for it: what is lost at most with the machine",
    }

    archive_keep_s: u64 = 7 * 24 * 60 * 60 => {
        name: "archive-keep",
        value: "SECONDS",
        form: Number(60, 100 * 365 * 24 * 60 * 60),
        when: When::Start,
        help: "How many seconds back the archive can be restored; what only earlier times need is removed",
    }

    archive_timeout_s: u64 = 10 => {
        name: "archive-timeout",
        value: "SECONDS",
        form: Number(1, 600),
        when: When::Start,
        help: "Seconds that a request to the archive may take, and that replies wait for the archive before writes are refused",
    }

    "Compatibility, diagnosis and the log":

    reported_version: String = "8.8.0".into() => {
        name: "redis-version",
        value: "VERSION",
        form: Custom(parse_version, String::clone),
        when: When::Start,
        help: "Version of Redis that the server reports to clients",
    }

    slowlog_log_slower_than_us: i64 = 10_000 => {
        name: "slowlog-log-slower-than",
        value: "MICROSECONDS",
        form: Number(-1, i64::MAX),
        when: When::Any(Effect::Thresholds),
        help: "Microseconds from which a command is recorded in the slow log; -1: never",
    }

    slowlog_max_len: usize = 128 => {
        name: "slowlog-max-len",
        value: "COUNT",
        form: Number(0, i64::MAX as usize),
        when: When::Any(Effect::Thresholds),
        help: "Number of entries that the slow log keeps",
    }

    latency_monitor_threshold_ms: u64 = 0 => {
        name: "latency-monitor-threshold",
        value: "MILLISECONDS",
        form: Number(0, i64::MAX as u64),
        when: When::Any(Effect::Thresholds),
        help: "Milliseconds from which LATENCY records a command as a spike; 0: never",
    }

    latency_tracking: bool = true => {
        name: "latency-tracking",
        value: "yes|no",
        form: YesNo,
        when: When::Any(Effect::Latencies),
        help: "Keep histograms of the durations of each command",
    }

    /// As they are written, separated by spaces.
    latency_percentiles: String = "50 99 99.9".into() => {
        name: "latency-tracking-info-percentiles",
        value: "PERCENT …",
        form: Custom(parse_percentiles, String::clone),
        when: When::Any(Effect::None),
        help: "Percentiles of these histograms that INFO shows, separated by spaces",
    }

    enable_debug_command: DebugAccess = DebugAccess::No => {
        name: "enable-debug-command",
        value: "no|local|yes",
        form: OneOf(DEBUG_ACCESSES),
        when: When::Start,
        help: "Who may send DEBUG: nobody (no), clients on this machine (local), or everybody (yes)",
    }

    loglevel: String = "info".into() => {
        name: "loglevel",
        value: "LEVEL",
        form: Custom(parse_log_level, String::clone),
        when: When::Any(Effect::LogLevel),
        help: "error, warn, info, debug or trace; or as Redis calls them: nothing, warning, notice, verbose",
    }

    json_log: bool = false => {
        name: "log-format",
        value: "human|json",
        form: OneOf(LOG_FORMATS),
        when: When::Start,
        help: "Format of the log",
    }
}

impl Setting {
    /// The setting of a name, in any case.
    pub fn find(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.names().any(|other| other.eq_ignore_ascii_case(name)))
    }
}

/// Former settings, and what to do instead. Setting one is refused with this text.
pub const RETIRED: &[(&str, &str)] = &[(
    "salvage",
    "is no setting any longer, since it would discard data again at the next damage: `larder salvage DIR` shows what would be \
     lost, and does it once with --yes",
)];

/// Whether TLS clients must show a certificate that the CA has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    Required,
    /// A certificate is optional, but if the client shows one, it must be valid.
    Optional,
    NotAsked,
}

/// Who may send DEBUG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugAccess {
    No,
    /// Clients that connect through a loopback address or the Unix socket.
    Local,
    Yes,
}

// in Redis's order, which its error shows
const FSYNCS: &[(&str, Fsync)] =
    &[("everysec", Fsync::EverySec), ("always", Fsync::Always), ("no", Fsync::No)];
const ACKS: &[(&str, Ack)] = &[("local", Ack::Local), ("archived", Ack::Archived)];
const KINDS: &[(&str, ValueKind)] = &[("json", ValueKind::Json), ("any", ValueKind::Any)];
const DEBUG_ACCESSES: &[(&str, DebugAccess)] =
    &[("no", DebugAccess::No), ("yes", DebugAccess::Yes), ("local", DebugAccess::Local)];
const CHANNEL_DEFAULTS: &[(&str, bool)] = &[("allchannels", true), ("resetchannels", false)];
const CLIENT_CERTIFICATES: &[(&str, ClientCertificates)] = &[
    ("no", ClientCertificates::NotAsked),
    ("yes", ClientCertificates::Required),
    ("optional", ClientCertificates::Optional),
];
/// What is logged at each level, in words of the log. The last four levels are Redis's.
pub(super) const LOG_LEVELS: &[(&str, &str)] = &[
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
    ("nothing", "off"),
    ("warning", "warn"),
    ("notice", "info"),
    ("verbose", "debug"),
];
const LOG_FORMATS: &[(&str, bool)] = &[("human", false), ("json", true)];

/// One core is left for syncs and checkpoints. Beyond a few threads, contention for the engine's lock outweighs the
/// gain.
fn io_threads_default() -> usize {
    const IO_THREADS_MAX: usize = 4;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores - 1).clamp(1, IO_THREADS_MAX)
}

fn parse_dir(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("argument must be a path".into()) } else { Ok(PathBuf::from(text)) }
}

fn parse_archive(text: &str) -> Result<Option<Place>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// Permissions as Redis takes them: octal, 0 for none.
fn parse_mode(text: &str) -> Result<Option<u32>, String> {
    let mode = u32::from_str_radix(text, 8).map_err(|_| "argument couldn't be parsed as an octal number")?;
    if mode > 0o777 {
        Err("argument must be between 0 and 777 inclusive".into())
    } else {
        Ok((mode > 0).then_some(mode))
    }
}

/// An origin as browsers write it: scheme and authority, and nothing after them. `None` if the text is empty.
fn parse_origin(text: &str) -> Result<Option<String>, String> {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_good = |authority: &str| {
        !authority.is_empty() && authority.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
    };
    match authority {
        _ if text.is_empty() => Ok(None),
        Some(authority) if is_good(authority) => Ok(Some(text.to_owned())),
        _ => Err("argument must be an origin: http:// or https://, a host, and nothing behind".into()),
    }
}

/// Whole pages.
fn parse_map_size(text: &str) -> Result<u64, String> {
    parse_bytes(text).map(|bytes| bytes / 4096 * 4096)
}

fn parse_version(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.split('.').map(str::parse::<u32>).collect();
    if parts.len() == 3 && parts.iter().all(Result::is_ok) {
        Ok(text.to_owned())
    } else {
        Err("argument must be three numbers with dots, like 8.8.0".into())
    }
}

fn parse_percentiles(text: &str) -> Result<String, String> {
    let percents: Option<Vec<String>> = text
        .split_whitespace()
        .map(|word| word.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent)))
        // shown as short as they can be: `50`, not `50.0`
        .map(|percent| percent.map(|percent| percent.to_string()))
        .collect();
    percents
        .map(|percents| percents.join(" "))
        .ok_or("Invalid latency-tracking-info-percentiles parameters".into())
}

fn parse_log_level(text: &str) -> Result<String, String> {
    parse_word(text, LOG_LEVELS).map(|_| text.to_ascii_lowercase())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::declaration::variable;

    #[test]
    fn every_setting_takes_back_what_it_shows() {
        for setting in SETTINGS {
            let mut settings = Settings::default();
            let shown = (setting.get)(&settings);
            if !shown.is_empty() {
                assert_eq!((setting.set)(&mut settings, &shown), Ok(()), "{}", setting.name);
            }
            assert_eq!((setting.get)(&settings), shown, "{}", setting.name);
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for setting in SETTINGS {
            for name in setting.names() {
                let found = Setting::find(&name.to_uppercase());
                assert_eq!(found.map(|found| found.name), Some(setting.name), "{name}");
            }
        }
        assert_eq!(variable("http-port"), "LARDER_HTTP_PORT");
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        let refused = |name: &str, text: &str| {
            Setting::find(name).and_then(|setting| (setting.set)(&mut Settings::default(), text).err())
        };
        assert_eq!(
            refused("port", "70000").as_deref(),
            Some("argument must be between 0 and 65535 inclusive")
        );
        assert_eq!(
            refused("appendfsync", "sometimes").as_deref(),
            Some("argument(s) must be one of the following: everysec, always, no")
        );
        for (name, text) in [("compression", "12"), ("loglevel", "loud"), ("redis-version", "8"), ("dir", "")]
        {
            assert!(refused(name, text).is_some(), "{name} {text}");
        }
    }

    /// Special treatment of a setting belongs into its declaration. No other code may compare its name.
    #[test]
    fn no_code_outside_of_the_table_compares_settings_by_name() {
        let mut found = Vec::new();
        for (file, text) in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
            let code = text.split("#[cfg(test)]\n").next().unwrap_or_default();
            let looks_up = file.display().to_string().contains("/config") || code.contains("Setting::find");
            for (line, at) in code.lines().zip(1..) {
                let compares = |name: &str| {
                    ["== ", "!= ", "eq_ignore_ascii_case(", "starts_with("]
                        .iter()
                        .any(|by| line.contains(&format!("{by}\"{name}\"")))
                };
                let names = SETTINGS.iter().flat_map(Setting::names);
                let mut quoted = names.filter(|name| line.contains(&format!("\"{name}\"")));
                if quoted.any(|name| looks_up || compares(name)) || line.contains("starts_with(\"tls-") {
                    found.push(format!("{}:{at}: {}", file.display(), line.trim()));
                }
            }
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// All files of a folder but this one, tests, and what is below.
    fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
        let mut sources = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("tests") || path.ends_with("tests.rs") || path.ends_with(file!()) {
            } else if path.is_dir() {
                sources.extend(self::sources(&path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                sources.push((path, text));
            }
        }
        sources
    }
}
