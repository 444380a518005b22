//! Every bound of the system, in one place.
//!
//! Sizes are bytes unless the name says otherwise. A limit that a setting can change stands here as that setting's
//! default or as its hard ceiling. Relations between limits are asserted at compile time, at the end.

/// Longest key of a record. LMDB takes 1,982 bytes (`longer-keys`); the longest thing stored is an expiry index entry,
/// a key behind a deadline and a generation.
pub const KEY_BYTES_MAX: usize = 1_920;

/// Longest value, and the ceiling of `proto-max-bulk-len`: Redis's own default.
pub const VALUE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Longest name of a store.
pub const STORE_NAME_BYTES_MAX: usize = 128;

/// Most workflows that are linked to one store.
pub const STORE_LINKS_MAX: usize = 1_024;
/// Longest default TTL and retention of a store: 36,500 days.
pub const STORE_LIFETIME_MS_MAX: u64 = 36_500 * 24 * 60 * 60 * 1_000;

/// Longest glob pattern, as KEYS and SCAN take it. A key of [`KEY_BYTES_MAX`] can be escaped many times over in it.
pub const GLOB_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a channel, and longest pattern of a subscription. The longest names that the server makes itself are
/// those of keyspace notifications, with the name of a store and a key in them.
pub const CHANNEL_BYTES_MAX: usize = 4 * 1024;
/// Most names of commands or settings, or patterns of those, that one request may ask about (COMMAND INFO, CONFIG GET).
/// There are fewer than that of either.
pub const NAMES_PER_QUESTION: usize = 1_024;
/// Most patterns, first arguments of commands, passwords and selectors that a user of the access control list may have
/// of each.
pub const ACL_RULES_MAX: usize = 4_096;

/// Wrong passwords of one address after which the next has to wait; before, people mistype.
pub const WRONG_PASSWORDS_FREE: u32 = 5;
/// How long the first of those waits; each further one twice as long.
pub const WRONG_PASSWORD_DELAY_MS: u64 = 100;
/// The longest wait, which right passwords from the same address share: shorter than clients wait for a connection.
pub const WRONG_PASSWORD_DELAY_MS_MAX: u64 = 1_000;
/// After so long without another one, wrong passwords are forgotten.
pub const WRONG_PASSWORDS_FORGOTTEN_MS: u64 = 60_000;
/// Addresses whose wrong passwords are counted; those that were wrong last.
pub const WRONG_PASSWORD_ADDRESSES_MAX: usize = 4_096;

/// Steps of the system's clock that the server's own time follows at once: leap seconds and small corrections.
pub const CLOCK_STEP_FOLLOWED_MS: u64 = 1_000;
/// How long the system's clock has to keep to a longer step before the server's own time follows it.
pub const CLOCK_STEP_PATIENCE_MS: u64 = 10 * 60 * 1_000;
/// Settings of the system's clock that retention remembers, to tell what time can have passed between two runs.
pub const CLOCK_SETTINGS_MAX: usize = 8;
/// No right clock has shown a time before this: 2026-11-01, before this was written.
pub const CLOCK_EARLIEST_MS: u64 = 1_793_491_200_000;

/// Most memory that one reply may take beside what memory holds anyway: values that are decompressed or put together for
/// it. That of a transaction is one reply. One value always fits.
pub const REPLY_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Most bytes of documents that one JSON.MSET may write.
pub const DOCUMENT_WRITES_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Most bytes of values that one request to `many/get` is answered with.
pub const HTTP_VALUES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What all clients together may hold in memory, their queues, requests and replies: the default of `maxmemory-clients`.
pub const CLIENTS_BYTES: u64 = 2 * REQUEST_BYTES_MAX as u64;
/// From so many bytes on that a command has to go through, it runs aside, on a thread that may block.
pub const ASIDE_BYTES: usize = 1024 * 1024;
/// Queued commands from which on EXEC runs aside.
pub const ASIDE_COMMANDS: usize = 256;

/// Most matches that KEYS and its like answer with: the default of `max-keys-per-query`.
pub const KEYS_PER_QUERY: usize = 1_024;

/// Keys and values that one page of STORE ENTRIES holds before its last record: it ends with the one that reaches this.
pub const ENTRIES_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Numbered stores: the default of `databases`, and the ceiling of that setting.
pub const DATABASES: u32 = 16;
/// Named stores get numbers from here up, whatever `databases` says up to its ceiling.
pub const DATABASES_MAX: u32 = 16;

/// Dictionaries that a store learns between two flushes, of 4 KB each: they can't go while records name them.
pub const DICTIONARIES_PER_GENERATION: usize = 16;

/// Deepest nesting of a JSON value: that of RedisJSON, and one more than `serde_json` reads into a tree.
pub const JSON_DEPTH_MAX: usize = 128;
/// Largest integer that JSONPath has for indices and slices (RFC 9535, 2.1): 2⁵³ − 1.
pub const JSON_INTEGER_MAX: i64 = (1 << 53) - 1;

/// Longest text of a path into a document.
pub const PATH_BYTES_MAX: usize = 64 * 1024;
/// Filters and parentheses within each other in a path.
pub const PATH_NESTING_MAX: usize = 32;
/// Bytes of a document that the paths of one command may look at, over and over: this many, and
/// [`PATH_WORK_PER_BYTE`] times the document. Below it stays every path that asks for something once; beyond it come
/// filters within filters, and what multiplies its own findings.
pub const PATH_WORK_BYTES: u64 = 64 * 1024 * 1024;
pub const PATH_WORK_PER_BYTE: u64 = 16;
/// Values that a path may find more than once, beyond each value once.
pub const PATH_REPEATED_NODES_MAX: usize = 1024 * 1024;
/// Longest INDENT, NEWLINE and SPACE of JSON.GET.
pub const LAYOUT_BYTES_MAX: usize = 1024;
/// Largest compiled regular expression of a filter.
pub const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Most arguments of one request (as Redis). What really bounds them is `client-query-buffer-limit`: see the next one.
pub const REQUEST_ARGUMENTS_MAX: usize = i32::MAX as usize;
/// From so many arguments on, each counts with [`ARGUMENT_BYTES`] as well as with its bytes: a request of empty ones would
/// take many times its length in memory.
pub const PLAIN_ARGUMENTS: usize = 1024 * 1024;
pub const ARGUMENT_BYTES: usize = 64;
/// Most arguments, and longest argument, of a request before authentication (as Redis).
pub const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
/// Longest argument of a request before authentication (as Redis).
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;
/// Longest inline request, and longest line that announces a count or a length (as Redis).
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes that one request may hold before it is complete: `client-query-buffer-limit`.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Most that an entry of ACL LOG keeps of a key, channel or name that was refused.
pub const ACL_LOG_OBJECT_BYTES_MAX: usize = 1_024;
/// Most bits of a password that ACL GENPASS makes (as Redis).
pub const PASSWORD_BITS_MAX: usize = 4_096;
/// Words of a command that the slow log keeps (as Redis).
pub const SLOW_ARGUMENTS_MAX: usize = 32;
/// Bytes of a word that the slow log keeps (as Redis).
pub const SLOW_ARGUMENT_BYTES_MAX: usize = 128;
/// Spikes that the latency monitor keeps of an event (as Redis).
pub const LATENCY_SPIKES_PER_EVENT: usize = 160;

/// Most lines of the log, and most bytes of them, that wait to be written; further ones are lost, and counted.
pub const LOG_QUEUE_LINES_MAX: usize = 8_192;
pub const LOG_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most bytes that wait to be sent to a client that subscribes, tracks or monitors, and so many for so long (as Redis).
pub const UNREAD_BYTES_MAX: u64 = 32 * 1024 * 1024;
pub const UNREAD_BYTES_SOFT: u64 = 8 * 1024 * 1024;
pub const UNREAD_SOFT_S: u64 = 60;

/// Keys that are remembered for client-side caching: the default of `tracking-table-max-keys` (as Redis).
pub const TRACKED_KEYS: usize = 1_000_000;
/// Longest body of an HTTP request, where `proto-max-bulk-len` is not less.
pub const HTTP_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes, and most headers, that an HTTP request may have before its body.
pub const HTTP_HEAD_BYTES_MAX: usize = 32 * 1024;
pub const HTTP_HEADERS_MAX: usize = 64;
/// Most connections to the HTTP port, where the process may open enough descriptors; further ones are refused, but for health
/// checks.
pub const HTTP_CONNECTIONS_MAX: usize = 512;
/// Of the connections to the HTTP port, so many in a hundred may come from one address.
pub const HTTP_ADDRESS_PERCENT: usize = 75;
/// Connections beyond those, which are let in for health checks and figures only; when there are more, the oldest goes.
pub const HTTP_CROWDED_MAX: usize = 32;
/// Most HTTP requests that are worked on at once; further ones wait.
pub const HTTP_REQUESTS_MAX: usize = 32;
/// Threads that run them, and that make figures, for which requests need not wait.
pub const HTTP_THREADS_MAX: usize = HTTP_REQUESTS_MAX + 4;
/// Most streams of changes at once, fewer than there may be connections.
pub const FOLLOWERS_MAX: usize = 256;
/// Most bytes that a stream of changes puts together before it sends them, but for its last event.
pub const EVENTS_CHUNK_BYTES: usize = 64 * 1024;
/// How often a page of keys or entries is filled up from further on before it is given as it is.
pub const HTTP_PAGE_TURNS_MAX: usize = 4_096;
/// Most records that one page of a search in values looks at.
pub const HTTP_SEARCH_RECORDS_MAX: usize = 10_000;
/// Most bytes of values that one page of a search looks at before its last step.
pub const HTTP_SEARCH_BYTES: usize = 64 * 1024 * 1024;
/// Refused lines of an import that are told one by one; further ones are only counted.
pub const HTTP_REFUSALS_TOLD: usize = 100;

/// What a script may take in memory, interpreter and compiled scripts included: the default of `lua-memory-limit`.
pub const SCRIPT_MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// Least that `lua-memory-limit` may be: an interpreter takes some of it.
pub const SCRIPT_MEMORY_BYTES_MIN: usize = 1024 * 1024;
/// Longest text of a script, and of what a script compiles: the parser can't be stopped.
pub const SCRIPT_TEXT_BYTES_MAX: usize = SCRIPT_CACHE_BYTES_MAX;
/// Scripts that are kept though they only came with an EVAL (as Redis since 7.4).
pub const EVAL_SCRIPTS_MAX: usize = 500;
/// Texts of all scripts that are kept.
pub const SCRIPT_CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Scripts that are kept compiled.
pub const COMPILED_SCRIPTS_MAX: usize = 2 * EVAL_SCRIPTS_MAX;
/// What one script may write: it becomes one journal entry, and is in memory until it does.
pub const SCRIPT_WRITES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Largest reply of a script. Its tables may hold one another, so that few of them stand for many.
pub const SCRIPT_REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What of a line that a script logs is written (as in Redis).
pub const SCRIPT_LOG_BYTES_MAX: usize = 1024;
/// Deepest nesting of a script's reply.
pub const SCRIPT_REPLY_DEPTH_MAX: usize = 256;
/// Deepest nesting that `cjson` reads and writes, and `cmsgpack` reads.
pub const SCRIPT_JSON_DEPTH_MAX: usize = 1000;
/// How deep the items of a pattern nest, each repetition and group in the one before (as Lua since 5.2).
pub const PATTERN_DEPTH_MAX: usize = 200;

/// Highest `maxclients`.
pub const CLIENTS_MAX: usize = 1_000_000;
/// Highest `io-threads`.
pub const IO_THREADS_MAX: usize = 128;
/// Commands that run aside at once, over all network threads; further ones wait.
pub const LONG_COMMANDS_MAX: usize = 256;
/// How long a connection may take to authenticate, where a password is asked for, and to send its first byte.
pub const STRANGER_S: u64 = 30;

/// File descriptors that are kept for everything but clients: LMDB, segments of the journal, a checkpoint, a backup, files
/// that are read again, connections that are about to be refused.
pub const OWN_DESCRIPTORS: usize = 160;
/// Descriptors that a network thread has for itself, and that an address takes on which the server listens.
pub const THREAD_DESCRIPTORS: usize = 8;
pub const ADDRESS_DESCRIPTORS: usize = 8;
/// Of the descriptors that are left for connections, HTTP gets one in so many at the most.
pub const HTTP_DESCRIPTORS_SHARE: usize = 4;
/// A server that could serve fewer clients than this does not start.
pub const CLIENTS_MIN: usize = 8;

/// Stack of a thread that runs what may take long, scripts among it. The deepest thing on it are the calls of a script: Lua nests 200 calls
/// through C, each of which may hold a buffer of 8 KB, and `cjson` its levels.
pub const THREAD_STACK_BYTES: usize = 16 * 1024 * 1024;

/// Keys and values that export reads at once, and that a chunk of it holds before its last record.
pub const TRANSFER_BYTES: usize = 16 * 1024 * 1024;
/// Records that import sends at once, and bytes of them before the last.
pub const TRANSFER_BATCH_RECORDS: usize = 512;
pub const TRANSFER_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most that export, or `larder ready`, reads of an endpoint's answer.
pub const ENDPOINT_ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What LMDB's file keeps free on its disk, so that records can always be removed: this part of the disk or of the map,
/// whichever is smaller, within these bounds.
pub const LMDB_RESERVE_PART: u64 = 64;
pub const LMDB_RESERVE_BYTES_MIN: u64 = 256 * 1024;
pub const LMDB_RESERVE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What a change in memory takes in LMDB at the most, as a multiple of what it takes in memory: a record that is a little longer
/// than half a page has a page of its own.
pub const LMDB_BYTES_PER_OVERLAY: u64 = 2;
/// How many times `overlay-memory` the journal may grow by before the checkpoint that began last has ended. Beyond it,
/// writers wait or, while checkpoints fail, are refused.
pub const JOURNAL_BYTES_PER_OVERLAY: u64 = 16;
/// A segment of the journal is at most one part in so many of its volume, but not less than this.
pub const JOURNAL_SEGMENTS_PER_VOLUME: u64 = 32;
pub const JOURNAL_SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
/// What the journal's segment takes while nothing is written: enough for the writes that come first, while the stock thread makes
/// segments of the usual size again.
pub const JOURNAL_REST_BYTES: u64 = 1024 * 1024;
/// The journal grows to at most one part in so many of what it takes and what is free on its volume: a checkpoint has to
/// find room there for what the journal holds, before any of the journal can go.
pub const JOURNAL_PART: u64 = 4;
/// Room of the journal that is kept for entries that give space back: removals of some thousand records, and flushes.
pub const JOURNAL_KEPT_BYTES: u64 = 512 * 1024;

/// Longest key of a table that LMDB takes (`longer-keys`).
pub const LMDB_KEY_BYTES_MAX: usize = 1_982;

/// Most read transactions of LMDB at once.
pub const LMDB_READERS_MAX: usize = 1_022;
/// Longest record whose checksum is compared for the sake of another one beside it, or of its deadline alone: a few
/// microseconds, where LMDB's pages are not in memory.
pub const CHECKED_BYTES_MAX: usize = 64 * 1024;

/// Bytes in front of a key in LMDB: a generation (48 bits), and for the expiry index a deadline (48 bits).
pub const GENERATION_BYTES: usize = 6;
/// Bytes of a deadline in the expiry index.
pub const DEADLINE_BYTES: usize = 6;

const _: () = assert!(KEY_BYTES_MAX + GENERATION_BYTES + DEADLINE_BYTES <= LMDB_KEY_BYTES_MAX);
const _: () = assert!(UNAUTHENTICATED_BULK_BYTES_MAX <= INLINE_BYTES_MAX);
const _: () = assert!(STORE_NAME_BYTES_MAX + KEY_BYTES_MAX + 64 <= CHANNEL_BYTES_MAX);
const _: () = assert!(CHANNEL_BYTES_MAX <= GLOB_BYTES_MAX);
const _: () = assert!(DATABASES <= DATABASES_MAX);
// A command holds two read transactions at the most, and so does a network thread; the engine's own threads have the rest.
const _: () = assert!(2 * (LONG_COMMANDS_MAX + HTTP_THREADS_MAX + IO_THREADS_MAX) + 64 <= LMDB_READERS_MAX);
const _: () = assert!(LONG_COMMANDS_MAX >= IO_THREADS_MAX);
const _: () = assert!(HTTP_CROWDED_MAX + FOLLOWERS_MAX < HTTP_CONNECTIONS_MAX);
const _: () = assert!(UNREAD_BYTES_SOFT <= UNREAD_BYTES_MAX);
