//! Every setting there is.

use std::path::PathBuf;

use super::units::{parse_bytes, parse_bytes_between, parse_number, parse_word, parse_yes_no, word, yes_no};
use super::{Address, BufferLimits};
use crate::engine::Fsync;
use crate::engine::events::Classes;
use crate::limits;
use crate::record::compress::Compression;
use crate::store::{Kind, ServerQuota};
use crate::telemetry::slow::Thresholds;

/// The values of all settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub dir: PathBuf,
    pub bind: Vec<Address>,
    pub port: u16,
    /// 0: no TLS.
    pub tls_port: u16,
    pub tls_cert_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    pub tls_ca_cert_file: Option<PathBuf>,
    pub tls_auth_clients: ClientCertificates,
    pub unixsocket: Option<PathBuf>,
    /// Permissions of the Unix socket; None: what the process's umask leaves.
    pub unixsocket_mode: Option<u32>,
    pub http_bind: Vec<Address>,
    /// 0: no plain HTTP.
    pub http_port: u16,
    /// 0: no HTTPS.
    pub https_port: u16,
    pub http_cors_origin: Option<String>,
    pub requirepass: Option<String>,
    pub aclfile: Option<PathBuf>,
    /// What follows `user` in the settings file: a name and rules each.
    pub users: Vec<String>,
    /// Whether new users may use all channels.
    pub acl_pubsub_default: bool,
    pub acllog_max_len: usize,
    pub protected_mode: bool,
    pub appendfsync: Fsync,
    pub databases: u32,
    pub default_values: Kind,
    pub auto_create_stores: bool,
    pub max_keys_per_query: usize,
    pub quota: ServerQuota,
    pub compression: Compression,
    pub maxclients: usize,
    pub timeout_s: u64,
    pub tcp_keepalive_s: u64,
    pub tcp_backlog: u32,
    pub proto_max_bulk_len: usize,
    pub client_query_buffer_limit: usize,
    pub io_threads: usize,
    pub client_output_buffer_limit: BufferLimits,
    /// The most memory that all clients together may hold; 0: no limit.
    pub maxmemory_clients: u64,
    pub notify_keyspace_events: Classes,
    pub tracking_table_max_keys: usize,
    pub overlay_memory: u64,
    pub cache_memory: u64,
    pub checkpoint_interval_s: u64,
    pub map_size: u64,
    pub lua_memory_limit: usize,
    pub busy_reply_threshold_ms: u64,
    pub reported_version: String,
    pub slowlog_log_slower_than_us: i64,
    pub slowlog_max_len: usize,
    pub latency_monitor_threshold_ms: u64,
    pub latency_tracking: bool,
    /// As they are written, separated by spaces.
    pub latency_percentiles: String,
    pub enable_debug_command: DebugAccess,
    pub loglevel: String,
    pub json_log: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            dir: PathBuf::from("./larder-data"),
            bind: vec!["127.0.0.1".into()],
            http_bind: vec!["127.0.0.1".into()],
            port: 6379,
            tls_port: 0,
            tls_cert_file: None,
            tls_key_file: None,
            tls_ca_cert_file: None,
            tls_auth_clients: ClientCertificates::Required,
            unixsocket: None,
            unixsocket_mode: None,
            http_port: 8379,
            https_port: 0,
            http_cors_origin: None,
            requirepass: None,
            aclfile: None,
            users: Vec::new(),
            acl_pubsub_default: false,
            acllog_max_len: 128,
            protected_mode: true,
            appendfsync: Fsync::Always,
            databases: limits::DATABASES,
            default_values: Kind::Json,
            auto_create_stores: false,
            max_keys_per_query: limits::KEYS_PER_QUERY,
            quota: ServerQuota::default(),
            compression: Compression::default(),
            maxclients: 10_000,
            timeout_s: 0,
            tcp_keepalive_s: 300,
            tcp_backlog: 511,
            proto_max_bulk_len: limits::VALUE_BYTES_MAX,
            client_query_buffer_limit: limits::REQUEST_BYTES_MAX,
            io_threads: io_threads_default(),
            overlay_memory: 128 << 20,
            client_output_buffer_limit: BufferLimits::default(),
            maxmemory_clients: limits::CLIENTS_BYTES,
            notify_keyspace_events: Classes::empty(),
            tracking_table_max_keys: limits::TRACKED_KEYS,
            cache_memory: 64 << 20,
            checkpoint_interval_s: 10,
            map_size: 0,
            lua_memory_limit: limits::SCRIPT_MEMORY_BYTES,
            busy_reply_threshold_ms: 5_000,
            reported_version: "8.8.0".into(),
            slowlog_log_slower_than_us: 10_000,
            slowlog_max_len: 128,
            latency_monitor_threshold_ms: 0,
            latency_tracking: true,
            latency_percentiles: "50 99 99.9".into(),
            enable_debug_command: DebugAccess::No,
            loglevel: "info".into(),
            json_log: false,
        }
    }
}

/// One core is left for syncs and checkpoints. Beyond a few threads, contention for the engine's lock outweighs the
/// gain.
fn io_threads_default() -> usize {
    const IO_THREADS_MAX: usize = 4;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores - 1).clamp(1, IO_THREADS_MAX)
}

impl Settings {
    /// The thresholds of the slow log and the latency monitor.
    pub fn slow_thresholds(&self) -> Thresholds {
        Thresholds {
            slow_us: self.slowlog_log_slower_than_us,
            entries_max: self.slowlog_max_len,
            spike_ms: self.latency_monitor_threshold_ms,
        }
    }

    /// Checks whether values that are valid one by one are valid together.
    pub fn check(&self) -> Result<(), String> {
        if self.aclfile.is_some() && !self.users.is_empty() {
            return Err("users come from aclfile or from the settings file, not from both; drop one".into());
        }
        // if users are described elsewhere, it is known only after reading them who gets in without a password
        let has_users = self.aclfile.is_some() || !self.users.is_empty();
        self.check_door(self.requirepass.is_none() && !has_users)
    }

    /// Protected mode: if no password is required, nobody from outside may be able to connect.
    pub fn check_door(&self, is_open: bool) -> Result<(), String> {
        if !is_open || !self.protected_mode {
            return Ok(());
        }
        let mut doors = vec![("bind", &self.bind)];
        if self.has_http() {
            doors.push(("http-bind", &self.http_bind));
        }
        let wide = doors.into_iter().find(|(_, addresses)| !addresses.iter().all(Address::is_local));
        wide.map_or(Ok(()), |(setting, addresses)| {
            Err(format!(
                "{setting} {} would let others than this machine in without a password; set requirepass, or \
                 protected-mode no",
                Address::show_all(addresses)
            ))
        })
    }

    /// A warning, if others than this machine reach plain HTTP while the Redis protocol is served over TLS alone.
    pub fn plain_http_beside_tls(&self) -> Option<String> {
        let only_tls = self.tls_port != 0 && self.port == 0;
        let is_wide = self.http_port != 0 && !self.http_bind.iter().all(Address::is_local);
        (only_tls && is_wide).then(|| {
            format!(
                "there is no plain port for the Redis protocol, but http-port serves passwords and records in plain text at \
                 {}; set http-port 0 and https-port, or a local http-bind",
                Address::show_all(&self.http_bind)
            )
        })
    }

    /// Which events the log has, as a filter of the log takes it.
    pub fn log_filter(&self) -> &'static str {
        parse_word(&self.loglevel, LOG_LEVELS).unwrap_or("info")
    }

    /// Whether there is HTTP at all, plain or over TLS.
    pub fn has_http(&self) -> bool {
        self.http_port != 0 || self.https_port != 0
    }
}

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

/// When a setting can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Only before the server starts.
    Start,
    /// At any time, by CONFIG SET.
    Any,
}

/// A setting, declared once.
pub struct Setting {
    /// The name on the command line and in CONFIG GET.
    pub name: &'static str,
    /// A placeholder for its value, for `--help`.
    pub value: &'static str,
    pub help: &'static str,
    pub when: When,
    pub get: fn(&Settings) -> String,
    /// Parses a value. The error says what is allowed.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    /// The environment variable that sets it: `LARDER_HTTP_PORT`.
    pub fn variable(&self) -> String {
        format!("LARDER_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// The setting that an environment variable sets.
    pub fn of_variable(variable: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.variable() == variable)
    }

    /// The setting of a name, in any case.
    pub fn find(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
    }
}

/// Former settings, and what to do instead. Setting one is refused with this text.
pub const RETIRED: &[(&str, &str)] = &[(
    "salvage",
    "is no setting any longer, since it would discard data again at the next damage: `larder salvage DIR` shows what would be \
     lost, and does it once with --yes",
)];

/// All settings, in the order of `--help`.
#[expect(clippy::unit_arg, reason = "an assignment that may be refused reads best as one expression")]
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "dir",
        value: "PATH",
        help: "Directory of the data: LMDB environment and journal. It is created if it doesn't exist",
        when: When::Start,
        get: |s| s.dir.display().to_string(),
        set: |s, text| {
            s.dir = PathBuf::from(text);
            if text.is_empty() { Err("argument must be a path".into()) } else { Ok(()) }
        },
    },
    Setting {
        name: "bind",
        value: "ADDRESS …",
        help: "Addresses to listen on, separated by spaces; `*` is all of IPv4, `::*` of IPv6; with a `-` before it, one that \
               the machine may lack",
        when: When::Start,
        get: |s| Address::show_all(&s.bind),
        set: |s, text| Ok(s.bind = Address::parse_all(text)?),
    },
    Setting {
        name: "port",
        value: "PORT",
        help: "TCP port; 0 takes a free port and logs it or, if tls-port is set, disables plain connections",
        when: When::Start,
        get: |s| s.port.to_string(),
        set: |s, text| Ok(s.port = parse_number(text, 0, u16::MAX)?),
    },
    Setting {
        name: "tls-port",
        value: "PORT",
        help: "Port for TLS connections; 0: none. With port 0 it is the only one",
        when: When::Start,
        get: |s| s.tls_port.to_string(),
        set: |s, text| Ok(s.tls_port = parse_number(text, 0, u16::MAX)?),
    },
    Setting {
        name: "tls-cert-file",
        value: "PATH",
        help: "Certificate of the server, with intermediate certificates, in PEM; SIGHUP reloads it",
        when: When::Any,
        get: |s| shown_path(&s.tls_cert_file),
        set: |s, text| Ok(s.tls_cert_file = parse_path(text)),
    },
    Setting {
        name: "tls-key-file",
        value: "PATH",
        help: "Private key of the server, in PEM, unencrypted",
        when: When::Any,
        get: |s| shown_path(&s.tls_key_file),
        set: |s, text| Ok(s.tls_key_file = parse_path(text)),
    },
    Setting {
        name: "tls-ca-cert-file",
        value: "PATH",
        help: "Certificates of the authorities that sign the certificates of clients, in PEM",
        when: When::Any,
        get: |s| shown_path(&s.tls_ca_cert_file),
        set: |s, text| Ok(s.tls_ca_cert_file = parse_path(text)),
    },
    Setting {
        name: "tls-auth-clients",
        value: "yes|no|optional",
        help: "Whether TLS clients must show a certificate that tls-ca-cert-file has signed",
        when: When::Any,
        get: |s| word(&s.tls_auth_clients, CLIENT_CERTIFICATES),
        set: |s, text| Ok(s.tls_auth_clients = parse_word(text, CLIENT_CERTIFICATES)?),
    },
    Setting {
        name: "unixsocket",
        value: "PATH",
        help: "Unix socket to listen on as well",
        when: When::Start,
        get: |s| shown_path(&s.unixsocket),
        set: |s, text| Ok(s.unixsocket = parse_path(text)),
    },
    Setting {
        name: "unixsocketperm",
        value: "OCTAL",
        help: "Permissions of the Unix socket, like 770; 0: what the umask leaves",
        when: When::Start,
        get: |s| format!("{:o}", s.unixsocket_mode.unwrap_or(0)),
        set: |s, text| Ok(s.unixsocket_mode = parse_mode(text)?),
    },
    Setting {
        name: "http-bind",
        value: "ADDRESS …",
        help: "Addresses of the HTTP API and the dashboard, written like those of bind",
        when: When::Start,
        get: |s| Address::show_all(&s.http_bind),
        set: |s, text| Ok(s.http_bind = Address::parse_all(text)?),
    },
    Setting {
        name: "http-port",
        value: "PORT",
        help: "Port of the HTTP API, the dashboard, /metrics, /healthz and /readyz; 0: none",
        when: When::Start,
        get: |s| s.http_port.to_string(),
        set: |s, text| Ok(s.http_port = parse_number(text, 0, u16::MAX)?),
    },
    Setting {
        name: "https-port",
        value: "PORT",
        help: "Port of the same over TLS, beside or (with http-port 0) instead of the plain one, with the certificates of \
               tls-cert-file and the like; 0: none",
        when: When::Start,
        get: |s| s.https_port.to_string(),
        set: |s, text| Ok(s.https_port = parse_number(text, 0, u16::MAX)?),
    },
    Setting {
        name: "http-cors-origin",
        value: "ORIGIN",
        help: "Origin of web pages that may use the HTTP API, such as https://tools.example.com; empty: only the server's own pages",
        when: When::Start,
        get: |s| s.http_cors_origin.clone().unwrap_or_default(),
        set: |s, text| Ok(s.http_cors_origin = parse_origin(text)?),
    },
    Setting {
        name: "requirepass",
        value: "PASSWORD",
        help: "Password of the user default, which clients send with AUTH; empty: none",
        when: When::Any,
        get: |s| s.requirepass.clone().unwrap_or_default(),
        set: |s, text| Ok(s.requirepass = (!text.is_empty()).then(|| text.to_owned())),
    },
    Setting {
        name: "aclfile",
        value: "PATH",
        help: "File of users and their rules, for ACL LOAD and ACL SAVE. It must exist, and may be empty",
        when: When::Start,
        get: |s| shown_path(&s.aclfile),
        set: |s, text| Ok(s.aclfile = parse_path(text)),
    },
    Setting {
        name: "acl-pubsub-default",
        value: "allchannels|resetchannels",
        help: "Channels that new users may use: all or none",
        when: When::Any,
        get: |s| word(&s.acl_pubsub_default, CHANNEL_DEFAULTS),
        set: |s, text| Ok(s.acl_pubsub_default = parse_word(text, CHANNEL_DEFAULTS)?),
    },
    Setting {
        name: "acllog-max-len",
        value: "N",
        help: "Number of entries that ACL LOG keeps",
        when: When::Any,
        get: |s| s.acllog_max_len.to_string(),
        set: |s, text| Ok(s.acllog_max_len = parse_number(text, 0, 1_000_000)?),
    },
    Setting {
        name: "protected-mode",
        value: "yes|no",
        help: "Refuse to start without a password if other machines can connect",
        when: When::Start,
        get: |s| yes_no(s.protected_mode),
        set: |s, text| Ok(s.protected_mode = parse_yes_no(text)?),
    },
    Setting {
        name: "appendfsync",
        value: "always|everysec|no",
        help: "When writes are synced to disk: before the reply (always), every second (everysec), or when the system decides (no)",
        when: When::Any,
        get: |s| word(&s.appendfsync, FSYNCS),
        set: |s, text| Ok(s.appendfsync = parse_word(text, FSYNCS)?),
    },
    Setting {
        name: "databases",
        value: "N",
        help: "Numbered stores",
        when: When::Start,
        get: |s| s.databases.to_string(),
        set: |s, text| Ok(s.databases = parse_number(text, 1, limits::DATABASES_MAX)?),
    },
    Setting {
        name: "default-values",
        value: "json|any",
        help: "Values of stores without a setting of their own: JSON only, or any bytes",
        when: When::Any,
        get: |s| word(&s.default_values, KINDS),
        set: |s, text| Ok(s.default_values = parse_word(text, KINDS)?),
    },
    Setting {
        name: "auto-create-stores",
        value: "yes|no",
        help: "Create a store when its name is selected and doesn't exist",
        when: When::Any,
        get: |s| yes_no(s.auto_create_stores),
        set: |s, text| Ok(s.auto_create_stores = parse_yes_no(text)?),
    },
    Setting {
        name: "max-keys-per-query",
        value: "N",
        help: "Maximum number of matches of KEYS, and of keys in a page of SCAN",
        when: When::Any,
        get: |s| s.max_keys_per_query.to_string(),
        set: |s, text| Ok(s.max_keys_per_query = parse_number(text, 1, 1_000_000)?),
    },
    Setting {
        name: "max-stores",
        value: "N",
        help: "Maximum number of named stores; 0: no limit",
        when: When::Any,
        get: |s| s.quota.max_stores.unwrap_or(0).to_string(),
        set: |s, text| Ok(s.quota.max_stores = unless_zero(parse_number(text, 0, i64::MAX as u64)?)),
    },
    Setting {
        name: "max-keys",
        value: "N",
        help: "Maximum number of keys in all stores; 0: no limit",
        when: When::Any,
        get: |s| s.quota.max_keys.unwrap_or(0).to_string(),
        set: |s, text| Ok(s.quota.max_keys = unless_zero(parse_number(text, 0, i64::MAX as u64)?)),
    },
    Setting {
        name: "max-bytes",
        value: "BYTES",
        help: "Maximum number of bytes in all stores, after compression; 0: no limit",
        when: When::Any,
        get: |s| s.quota.max_bytes.unwrap_or(0).to_string(),
        set: |s, text| Ok(s.quota.max_bytes = unless_zero(parse_bytes(text)?)),
    },
    Setting {
        name: "compression",
        value: "QUALITY[:BYTES[:no-dictionaries]]|off",
        help: "Brotli quality 0 to 11, from how many bytes on a value is compressed, and whether stores learn dictionaries",
        when: When::Any,
        get: |s| s.compression.to_string(),
        set: |s, text| Ok(s.compression = text.parse().map_err(|error| format!("{error}"))?),
    },
    Setting {
        name: "maxclients",
        value: "N",
        help: "Maximum number of connections",
        when: When::Any,
        get: |s| s.maxclients.to_string(),
        set: |s, text| Ok(s.maxclients = parse_number(text, 1, limits::CLIENTS_MAX)?),
    },
    Setting {
        name: "timeout",
        value: "SECONDS",
        help: "Close a connection after so many seconds without a request; 0: never",
        when: When::Any,
        get: |s| s.timeout_s.to_string(),
        set: |s, text| Ok(s.timeout_s = parse_number(text, 0, i32::MAX as u64)?),
    },
    Setting {
        name: "tcp-keepalive",
        value: "SECONDS",
        help: "Seconds after which silent peers are probed with TCP keep-alive; 0: never",
        when: When::Any,
        get: |s| s.tcp_keepalive_s.to_string(),
        set: |s, text| Ok(s.tcp_keepalive_s = parse_number(text, 0, i32::MAX as u64)?),
    },
    Setting {
        name: "tcp-backlog",
        value: "N",
        help: "Number of connections that may wait to be accepted",
        when: When::Start,
        get: |s| s.tcp_backlog.to_string(),
        set: |s, text| Ok(s.tcp_backlog = parse_number(text, 1, 65_535)?),
    },
    Setting {
        name: "proto-max-bulk-len",
        value: "BYTES",
        help: "Maximum size of a word of a request, and thus of a value",
        when: When::Any,
        get: |s| s.proto_max_bulk_len.to_string(),
        set: |s, text| {
            let bytes = parse_bytes_between(text, 1 << 20, limits::VALUE_BYTES_MAX as u64)?;
            s.proto_max_bulk_len = bytes as usize;
            Ok(())
        },
    },
    Setting {
        name: "maxmemory-clients",
        value: "BYTES",
        help: "What all clients may hold together of requests, queued commands and replies; beyond it, the one that holds most \
               is disconnected; 0: any",
        when: When::Any,
        get: |s| s.maxmemory_clients.to_string(),
        set: |s, text| {
            s.maxmemory_clients = parse_bytes_between(text, 0, 1 << 50)?;
            Ok(())
        },
    },
    Setting {
        name: "client-query-buffer-limit",
        value: "BYTES",
        help: "Maximum size of a request",
        when: When::Any,
        get: |s| s.client_query_buffer_limit.to_string(),
        set: |s, text| {
            let bytes = parse_bytes_between(text, 1 << 20, 64 << 30)?;
            s.client_query_buffer_limit = usize::try_from(bytes).unwrap_or(usize::MAX);
            Ok(())
        },
    },
    Setting {
        name: "io-threads",
        value: "COUNT",
        help: "Number of threads that serve connections. The default is one less than the number of cores, between 1 and 4",
        when: When::Start,
        get: |s| s.io_threads.to_string(),
        set: |s, text| Ok(s.io_threads = parse_number(text, 1, limits::IO_THREADS_MAX)?),
    },
    Setting {
        name: "client-output-buffer-limit",
        value: "CLASS HARD SOFT SECONDS …",
        help: "Limits of unread output per client, by class: hard limit, soft limit and its seconds",
        when: When::Any,
        get: |s| s.client_output_buffer_limit.to_string(),
        set: |s, text| s.client_output_buffer_limit.change(text),
    },
    Setting {
        name: "notify-keyspace-events",
        value: "LETTERS",
        help: "Changes that are published as keyspace notifications: K (by key) or E (by event), and kinds of events; empty: none",
        when: When::Any,
        get: |s| s.notify_keyspace_events.to_string(),
        set: |s, text| Ok(s.notify_keyspace_events = text.parse::<Classes>()?),
    },
    Setting {
        name: "tracking-table-max-keys",
        value: "N",
        help: "Maximum number of keys that are remembered for client-side caching; 0: no limit",
        when: When::Any,
        get: |s| s.tracking_table_max_keys.to_string(),
        set: |s, text| Ok(s.tracking_table_max_keys = parse_number(text, 0, usize::MAX)?),
    },
    Setting {
        name: "overlay-memory",
        value: "BYTES",
        help: "Memory for changes that are not in LMDB yet; writers wait when it is used up",
        when: When::Start,
        get: |s| s.overlay_memory.to_string(),
        set: |s, text| Ok(s.overlay_memory = parse_bytes_between(text, 1 << 20, 1 << 40)?),
    },
    Setting {
        name: "lua-memory-limit",
        value: "BYTES",
        help: "Memory for scripts, including their interpreter",
        when: When::Any,
        get: |s| s.lua_memory_limit.to_string(),
        set: |s, text| {
            let bytes = parse_bytes_between(text, limits::SCRIPT_MEMORY_BYTES_MIN as u64, 64 << 30)?;
            s.lua_memory_limit = usize::try_from(bytes).unwrap_or(usize::MAX);
            Ok(())
        },
    },
    Setting {
        name: "busy-reply-threshold",
        value: "MILLISECONDS",
        help: "Milliseconds after which other clients are answered with BUSY while a script runs; 0: never",
        when: When::Any,
        get: |s| s.busy_reply_threshold_ms.to_string(),
        set: |s, text| Ok(s.busy_reply_threshold_ms = parse_number(text, 0, i32::MAX as u64)?),
    },
    Setting {
        name: "lua-time-limit",
        value: "MILLISECONDS",
        help: "The older name of busy-reply-threshold",
        when: When::Any,
        get: |s| s.busy_reply_threshold_ms.to_string(),
        set: |s, text| Ok(s.busy_reply_threshold_ms = parse_number(text, 0, i32::MAX as u64)?),
    },
    Setting {
        name: "cache-memory",
        value: "BYTES",
        help: "Memory for decompressed values",
        when: When::Start,
        get: |s| s.cache_memory.to_string(),
        set: |s, text| Ok(s.cache_memory = parse_bytes(text)?),
    },
    Setting {
        name: "checkpoint-interval",
        value: "SECONDS",
        help: "Maximum number of seconds between checkpoints, which move changes to LMDB",
        when: When::Start,
        get: |s| s.checkpoint_interval_s.to_string(),
        set: |s, text| Ok(s.checkpoint_interval_s = parse_number(text, 1, 86_400)?),
    },
    Setting {
        name: "map-size",
        value: "BYTES",
        help: "Maximum size of the LMDB file; 0: as much as the address space allows. It reserves no memory",
        when: When::Start,
        get: |s| s.map_size.to_string(),
        set: |s, text| {
            s.map_size = parse_bytes(text)? / 4096 * 4096;
            Ok(())
        },
    },
    Setting {
        name: "redis-version",
        value: "VERSION",
        help: "Version of Redis that the server reports to clients",
        when: When::Start,
        get: |s| s.reported_version.clone(),
        set: |s, text| {
            s.reported_version = text.to_owned();
            let is_version =
                text.split('.').count() == 3 && text.split('.').all(|part| part.parse::<u32>().is_ok());
            if is_version {
                Ok(())
            } else {
                Err("argument must be three numbers with dots, like 8.8.0".into())
            }
        },
    },
    Setting {
        name: "slowlog-log-slower-than",
        value: "MICROSECONDS",
        help: "Microseconds from which a command is recorded in the slow log; -1: never",
        when: When::Any,
        get: |s| s.slowlog_log_slower_than_us.to_string(),
        set: |s, text| Ok(s.slowlog_log_slower_than_us = parse_number(text, -1, i64::MAX)?),
    },
    Setting {
        name: "slowlog-max-len",
        value: "COUNT",
        help: "Number of entries that the slow log keeps",
        when: When::Any,
        get: |s| s.slowlog_max_len.to_string(),
        set: |s, text| Ok(s.slowlog_max_len = parse_number(text, 0, i64::MAX as usize)?),
    },
    Setting {
        name: "latency-monitor-threshold",
        value: "MILLISECONDS",
        help: "Milliseconds from which LATENCY records a command as a spike; 0: never",
        when: When::Any,
        get: |s| s.latency_monitor_threshold_ms.to_string(),
        set: |s, text| Ok(s.latency_monitor_threshold_ms = parse_number(text, 0, i64::MAX as u64)?),
    },
    Setting {
        name: "latency-tracking",
        value: "yes|no",
        help: "Keep histograms of the durations of each command",
        when: When::Any,
        get: |s| yes_no(s.latency_tracking),
        set: |s, text| Ok(s.latency_tracking = parse_yes_no(text)?),
    },
    Setting {
        name: "latency-tracking-info-percentiles",
        value: "PERCENT …",
        help: "Percentiles of these histograms that INFO shows, separated by spaces",
        when: When::Any,
        get: |s| s.latency_percentiles.clone(),
        set: |s, text| {
            let percents: Option<Vec<String>> = text
                .split_whitespace()
                .map(|word| word.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent)))
                // shown as short as they can be: `50`, not `50.0`
                .map(|percent| percent.map(|percent| percent.to_string()))
                .collect();
            let percents = percents.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            s.latency_percentiles = percents.join(" ");
            Ok(())
        },
    },
    Setting {
        name: "enable-debug-command",
        value: "no|local|yes",
        help: "Who may send DEBUG: nobody (no), clients on this machine (local), or everybody (yes)",
        when: When::Start,
        get: |s| word(&s.enable_debug_command, DEBUG_ACCESSES),
        set: |s, text| Ok(s.enable_debug_command = parse_word(text, DEBUG_ACCESSES)?),
    },
    Setting {
        name: "loglevel",
        value: "LEVEL",
        help: "error, warn, info, debug or trace; or as Redis calls them: nothing, warning, notice, verbose",
        when: When::Any,
        get: |s| s.loglevel.clone(),
        set: |s, text| {
            parse_word(text, LOG_LEVELS)?;
            Ok(s.loglevel = text.to_ascii_lowercase())
        },
    },
    Setting {
        name: "log-format",
        value: "human|json",
        help: "Format of the log",
        when: When::Start,
        get: |s| word(&s.json_log, LOG_FORMATS),
        set: |s, text| Ok(s.json_log = parse_word(text, LOG_FORMATS)?),
    },
];

fn unless_zero(limit: u64) -> Option<u64> {
    (limit > 0).then_some(limit)
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

fn parse_path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn shown_path(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(String::new, |path| path.display().to_string())
}

// in Redis's order, which its error shows
const FSYNCS: &[(&str, Fsync)] =
    &[("everysec", Fsync::EverySec), ("always", Fsync::Always), ("no", Fsync::No)];
const KINDS: &[(&str, Kind)] = &[("json", Kind::Json), ("any", Kind::Any)];
const DEBUG_ACCESSES: &[(&str, DebugAccess)] =
    &[("no", DebugAccess::No), ("yes", DebugAccess::Yes), ("local", DebugAccess::Local)];
const CHANNEL_DEFAULTS: &[(&str, bool)] = &[("allchannels", true), ("resetchannels", false)];
const CLIENT_CERTIFICATES: &[(&str, ClientCertificates)] = &[
    ("no", ClientCertificates::NotAsked),
    ("yes", ClientCertificates::Required),
    ("optional", ClientCertificates::Optional),
];
/// What is logged at each level, in words of the log. The last four levels are Redis's.
const LOG_LEVELS: &[(&str, &str)] = &[
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

#[cfg(test)]
mod tests {
    use super::*;

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

    fn refused(bind: &str, requirepass: Option<&str>, protected_mode: bool) -> bool {
        let bind = Address::parse_all(bind).unwrap_or_default();
        let requirepass = requirepass.map(str::to_owned);
        Settings { bind, requirepass, protected_mode, ..Settings::default() }.check().is_err()
    }

    #[test]
    fn an_open_door_needs_a_password_or_a_word() {
        assert!(!refused("127.0.0.1 ::1 localhost", None, true));
        assert!(refused("0.0.0.0", None, true));
        assert!(refused("127.0.0.1 *", None, true));
        assert!(!refused("0.0.0.0", Some("secret"), true));
        assert!(!refused("0.0.0.0", None, false));
    }

    #[test]
    fn http_is_a_door_of_its_own() {
        let refused = |http_port: u16, https_port: u16, http_bind: &str| {
            let http_bind = Address::parse_all(http_bind).unwrap_or_default();
            Settings { http_bind, http_port, https_port, ..Settings::default() }.check().err()
        };
        for (http_port, https_port, http_bind, is_refused) in [
            (8379, 0, "127.0.0.1 -::1 localhost", false),
            (8379, 0, "0.0.0.0", true),
            (0, 8380, "0.0.0.0", true),
            (8379, 0, "127.0.0.1 -::*", true),
            // nobody listens
            (0, 0, "0.0.0.0", false),
        ] {
            let told = refused(http_port, https_port, http_bind);
            assert_eq!(told.is_some(), is_refused, "{http_bind}");
            assert!(told.is_none_or(|told| told.starts_with(&format!("http-bind {http_bind} would"))));
        }
    }

    #[test]
    fn plain_http_beside_tls_alone_is_told() {
        for (port, tls_port, http_port, http_bind, is_told) in [
            (0, 6380, 8379, "0.0.0.0", true),
            (0, 6380, 8379, "127.0.0.1", false),
            (0, 6380, 0, "0.0.0.0", false),
            (6379, 6380, 8379, "0.0.0.0", false),
            (6379, 0, 8379, "0.0.0.0", false),
        ] {
            let http_bind = Address::parse_all(http_bind).unwrap_or_default();
            let settings = Settings { port, tls_port, http_port, http_bind, ..Settings::default() };
            assert_eq!(settings.plain_http_beside_tls().is_some(), is_told, "{port} {tls_port} {http_port}");
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for setting in SETTINGS {
            assert_eq!(
                Setting::find(&setting.name.to_uppercase()).map(|found| found.help),
                Some(setting.help)
            );
        }
        assert_eq!(Setting::find("http-port").map(Setting::variable).as_deref(), Some("LARDER_HTTP_PORT"));
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
}
