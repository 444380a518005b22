//! Every bound of the system, in one place.
//!
//! Sizes are in bytes unless the name says otherwise. A limit that a setting can change is here as that setting's
//! default or as its ceiling. Relations between limits are asserted at compile time, at the end.

/// Longest key of a record. LMDB takes 1,982 bytes (`longer-keys`); the longest key in a table is an entry of the
/// expiry index: a deadline, a generation and a key.
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

/// After so many wrong passwords from one address, the next attempt has to wait. Fewer are typing errors.
pub const WRONG_PASSWORDS_FREE: u32 = 5;
/// How long the first of those waits; each further one twice as long.
pub const WRONG_PASSWORD_DELAY_MS: u64 = 100;
/// The longest wait, which right passwords from the same address share: shorter than clients wait for a connection.
pub const WRONG_PASSWORD_DELAY_MS_MAX: u64 = 1_000;
/// Wrong passwords are forgotten after so long without another one.
pub const WRONG_PASSWORDS_FORGOTTEN_MS: u64 = 60_000;
/// The number of addresses whose wrong passwords are counted; the most recent ones.
pub const WRONG_PASSWORD_ADDRESSES_MAX: usize = 4_096;

/// Steps of the system's clock that the server's own time follows at once: leap seconds and small corrections.
pub const CLOCK_STEP_FOLLOWED_MS: u64 = 1_000;
/// How long the system's clock has to keep to a longer step before the server's own time follows it.
pub const CLOCK_STEP_PATIENCE_MS: u64 = 10 * 60 * 1_000;
/// Settings of the system's clock that retention remembers, to tell what time can have passed between two runs.
pub const CLOCK_SETTINGS_MAX: usize = 8;
/// No correct clock shows a time before this: 2026-11-01, which is before this was written.
pub const CLOCK_EARLIEST_MS: u64 = 1_793_491_200_000;

/// The most memory of one reply, not counting values that are in memory anyway: values that are decompressed or
/// assembled for it. The reply of a transaction counts as one. One value always fits.
pub const REPLY_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Most bytes of documents that one JSON.MSET may write.
pub const DOCUMENT_WRITES_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// The most bytes of values in the response to one request to `many/get`.
pub const HTTP_VALUES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest file of figures of the last hour, day and week. With 64 figures it has less than half of that.
pub const HISTORY_FILE_BYTES_MAX: usize = 1024 * 1024;
/// The most memory that all clients together may hold in queues, requests and replies: the default of
/// `maxmemory-clients`.
pub const CLIENTS_BYTES: u64 = 2 * REQUEST_BYTES_MAX as u64;
/// A command that has to read at least so many bytes runs aside, on a thread that may block.
pub const ASIDE_BYTES: usize = 1024 * 1024;
/// EXEC of at least so many queued commands runs aside.
pub const ASIDE_COMMANDS: usize = 256;

/// The most matches in a reply of KEYS and similar commands: the default of `max-keys-per-query`.
pub const KEYS_PER_QUERY: usize = 1_024;
/// The largest limit that the setting can have.
pub const KEYS_PER_QUERY_MAX: usize = 1_000_000;
/// What counts where there is no limit: the largest number that a command takes as COUNT.
pub const KEYS_PER_QUERY_UNLIMITED: usize = i64::MAX as usize;

/// A page of STORE ENTRIES ends with the record at which its keys and values reach this size.
pub const ENTRIES_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Numbered stores: the default of `databases`, and the ceiling of that setting.
pub const DATABASES: u32 = 16;
/// Named stores get numbers from here up, whatever `databases` says up to its ceiling.
pub const DATABASES_MAX: u32 = 16;

/// Memory for changes that are not in LMDB yet, unless `memtable-memory` says otherwise.
pub const MEMTABLE_BYTES: u64 = 128 * 1024 * 1024;
/// Memory for decompressed values, unless `cache-memory` says otherwise.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Longest time between checkpoints, unless `checkpoint-interval` says otherwise.
pub const CHECKPOINT_INTERVAL_S: u64 = 10;

/// The most dictionaries, of 5 KB each, that a store learns between two flushes. They can't be removed while records
/// refer to them.
pub const DICTIONARIES_PER_GENERATION: usize = 16;

/// Deepest nesting of a JSON value: that of RedisJSON, and one more than `serde_json` reads into a tree.
pub const JSON_DEPTH_MAX: usize = 128;
/// Largest integer that JSONPath has for indices and slices (RFC 9535, 2.1): 2⁵³ − 1.
pub const JSON_INTEGER_MAX: i64 = (1 << 53) - 1;

/// Longest text of a path into a document.
pub const PATH_BYTES_MAX: usize = 64 * 1024;
/// Filters and parentheses within each other in a path.
pub const PATH_NESTING_MAX: usize = 32;
/// How many bytes of a document the paths of one command may look at, counting repetitions: this many, plus
/// [`PATH_WORK_PER_BYTE`] times the document. Every path that visits each value once stays below it; filters within
/// filters, and paths that multiply their own matches, exceed it.
pub const PATH_WORK_BYTES: u64 = 64 * 1024 * 1024;
pub const PATH_WORK_PER_BYTE: u64 = 16;
/// How many repeated matches a path may have.
pub const PATH_REPEATED_NODES_MAX: usize = 1024 * 1024;
/// Longest INDENT, NEWLINE and SPACE of JSON.GET.
pub const LAYOUT_BYTES_MAX: usize = 1024;
/// Largest compiled regular expression of a filter.
pub const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Most arguments of one request (as Redis). What really bounds them is `client-query-buffer-limit`: see the next one.
pub const REQUEST_ARGUMENTS_MAX: usize = i32::MAX as usize;
/// Each argument beyond so many counts [`ARGUMENT_BYTES`] in addition to its bytes, because a request of empty
/// arguments would take many times its length in memory.
pub const PLAIN_ARGUMENTS: usize = 1024 * 1024;
pub const ARGUMENT_BYTES: usize = 64;
/// Most arguments of a request before authentication (as Redis).
pub const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
/// Longest argument of a request before authentication (as Redis).
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;
/// Longest inline request, and longest line that announces a count or a length (as Redis).
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes that one request may hold before it is complete: `client-query-buffer-limit`.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// The most bytes of a refused key, channel or name that an entry of ACL LOG keeps.
pub const ACL_LOG_OBJECT_BYTES_MAX: usize = 1_024;
/// Most bits of a password that ACL GENPASS makes (as Redis).
pub const PASSWORD_BITS_MAX: usize = 4_096;
/// Words of a command that the slow log keeps (as Redis).
pub const SLOW_ARGUMENTS_MAX: usize = 32;
/// Bytes of a word that the slow log keeps (as Redis).
pub const SLOW_ARGUMENT_BYTES_MAX: usize = 128;
/// Spikes that the latency monitor keeps of an event (as Redis).
pub const LATENCY_SPIKES_PER_EVENT: usize = 160;

/// The most lines of the log, and bytes of them, that wait to be written. Further ones are lost, and counted.
pub const LOG_QUEUE_LINES_MAX: usize = 8_192;
pub const LOG_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most bytes that may wait for a client that subscribes, tracks or monitors: the hard limit, the soft limit and
/// its time (as in Redis).
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
/// The most connections to the HTTP port, if the process may open enough descriptors. Further ones are refused, except
/// for health checks.
pub const HTTP_CONNECTIONS_MAX: usize = 512;
/// Of the connections to the HTTP port, so many in a hundred may come from one address.
pub const HTTP_ADDRESS_PERCENT: usize = 75;
/// The most connections beyond those, which are accepted only for health checks and metrics. If there are more, the
/// oldest is closed.
pub const HTTP_CROWDED_MAX: usize = 32;
/// The most HTTP requests that are processed at once; further ones wait.
pub const HTTP_REQUESTS_MAX: usize = 32;
/// The number of threads that run them, and of those that make metrics, which need not wait for requests.
pub const HTTP_THREADS_MAX: usize = HTTP_REQUESTS_MAX + 4;
/// Most streams of changes at once, fewer than there may be connections.
pub const FOLLOWERS_MAX: usize = 256;
/// The most bytes that a stream of changes collects before it sends them, not counting its last event.
pub const EVENTS_CHUNK_BYTES: usize = 64 * 1024;
/// Most commands, and most words of them all together, in one request below `/redis`.
pub const HTTP_COMMANDS_MAX: usize = 10_000;
pub const HTTP_WORDS_MAX: usize = PLAIN_ARGUMENTS;
/// Most streams of messages below `/redis` at once. With those of changes, they are fewer than there may be connections.
pub const HTTP_STREAMS_MAX: usize = 128;
/// How often a page of keys or entries is filled from the next page of a command before it is returned as it is.
pub const HTTP_PAGE_TURNS_MAX: usize = 4_096;
/// A group of STORE TREE is counted up to so many keys.
pub const TREE_KEYS_COUNTED_MAX: usize = 10_000;
/// A page of STORE TREE ends after the group with which it has looked at so many keys.
pub const TREE_PAGE_KEYS: usize = 100_000;
/// Longest separator of STORE TREE.
pub const TREE_SEPARATOR_BYTES_MAX: usize = 64;
/// Most records that one page of a search in values looks at.
pub const HTTP_SEARCH_RECORDS_MAX: usize = 10_000;
/// Most memory of the regular expression of a search in keys.
pub const KEY_REGEX_BYTES_MAX: usize = 1 << 20;
/// Most bytes of values that one page of a search looks at before its last step.
pub const HTTP_SEARCH_BYTES: usize = 64 * 1024 * 1024;
/// The most refused lines of an import that are reported one by one; further ones are only counted.
pub const HTTP_REFUSALS_TOLD: usize = 100;

/// The most memory of a script, including the interpreter and compiled scripts: the default of `lua-memory-limit`.
pub const SCRIPT_MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// Least that `lua-memory-limit` may be: an interpreter takes some of it.
pub const SCRIPT_MEMORY_BYTES_MIN: usize = 1024 * 1024;
/// Longest text of a script, and of what a script compiles: the parser can't be stopped.
pub const SCRIPT_TEXT_BYTES_MAX: usize = SCRIPT_CACHE_BYTES_MAX;
/// The most scripts that are kept although they only came with an EVAL (as in Redis since 7.4).
pub const EVAL_SCRIPTS_MAX: usize = 500;
/// Texts of all scripts that are kept.
pub const SCRIPT_CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most libraries of functions, and bytes of their names and texts.
pub const LIBRARIES_MAX: usize = 256;
pub const LIBRARIES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest name of a library or a function. LMDB keeps libraries by their names.
pub const FUNCTION_NAME_BYTES_MAX: usize = 256;
/// The most functions of a library, and bytes of their names and descriptions.
pub const FUNCTIONS_PER_LIBRARY_MAX: usize = 1_024;
pub const DESCRIPTIONS_PER_LIBRARY_BYTES_MAX: usize = 64 * 1024;
/// The longest time that the text of a library may run to register its functions (as in Redis), and that all of a FUNCTION
/// RESTORE may.
pub const LIBRARY_LOAD_MS_MAX: u64 = 500;
pub const LIBRARIES_LOAD_MS_MAX: u64 = 10 * LIBRARY_LOAD_MS_MAX;
/// The same for a library that was loaded before: a busy machine is no reason to miss it after a restart.
pub const LIBRARY_RELOAD_MS_MAX: u64 = 100 * LIBRARY_LOAD_MS_MAX;
/// Scripts that are kept compiled.
pub const COMPILED_SCRIPTS_MAX: usize = 2 * EVAL_SCRIPTS_MAX;
/// The most bytes that one script may write. They become one journal entry, and are in memory until then.
pub const SCRIPT_WRITES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The largest reply of a script. Its tables may contain each other, so that few tables can make a large reply.
pub const SCRIPT_REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most bytes of a line that a script logs (as in Redis).
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

/// File descriptors that are reserved for everything except clients: LMDB, segments of the journal, a checkpoint, a
/// backup, files that are read again, connections that are about to be refused.
pub const OWN_DESCRIPTORS: usize = 160;
/// Descriptors that a network thread has for itself, and that an address takes on which the server listens.
pub const THREAD_DESCRIPTORS: usize = 8;
pub const ADDRESS_DESCRIPTORS: usize = 8;
/// HTTP gets at most one in so many of the descriptors that are left for connections.
pub const HTTP_DESCRIPTORS_SHARE: usize = 4;
/// A server that could serve fewer clients than this does not start.
pub const CLIENTS_MIN: usize = 8;

/// The stack of a thread that runs long commands, including scripts. The deepest use are the calls of a script: Lua
/// nests 200 calls through C, each of which may hold a buffer of 8 KB, and `cjson` its levels.
pub const THREAD_STACK_BYTES: usize = 16 * 1024 * 1024;

/// Keys and values that export reads at once, and that a chunk of it holds before its last record.
pub const TRANSFER_BYTES: usize = 16 * 1024 * 1024;
/// Records that import sends at once, and bytes of them before the last.
pub const TRANSFER_BATCH_RECORDS: usize = 512;
pub const TRANSFER_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most that export, or `larder ready`, reads of an endpoint's answer.
pub const ENDPOINT_ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The reserve of LMDB's file, so that records can always be removed: this fraction of the disk or of the map,
/// whichever is smaller, within these bounds.
pub const LMDB_RESERVE_PART: u64 = 64;
pub const LMDB_RESERVE_BYTES_MIN: u64 = 256 * 1024;
pub const LMDB_RESERVE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The most space that a change takes in LMDB, as a multiple of its size in memory: a record that is a little longer
/// than half a page has a page of its own.
pub const LMDB_BYTES_PER_MEMTABLE: u64 = 2;
/// How many times `memtable-memory` the journal may grow before the latest checkpoint has ended. Beyond that, writers
/// wait or, while checkpoints fail, are refused.
pub const JOURNAL_BYTES_PER_MEMTABLE: u64 = 16;
/// A segment of the journal is at most this fraction of its volume, but not less than this size.
pub const JOURNAL_SEGMENTS_PER_VOLUME: u64 = 32;
pub const JOURNAL_SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
/// The size of the journal's segment while nothing is written: enough for the first writes, until the stock thread has
/// made segments of the usual size again.
pub const JOURNAL_REST_BYTES: u64 = 1024 * 1024;
/// The journal grows to at most this fraction of its own size and the free space on its volume, because a checkpoint
/// needs room there for what the journal holds, before any of the journal can be removed.
pub const JOURNAL_PART: u64 = 4;
/// Room in the journal that is kept for entries that free space: removals of some thousand records, and flushes.
pub const JOURNAL_KEPT_BYTES: u64 = 512 * 1024;

/// The most bytes of journal segments that are kept only because an archive lacks their entries.
pub const JOURNAL_UNCOPIED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Longest key of a table that LMDB takes (`longer-keys`).
pub const LMDB_KEY_BYTES_MAX: usize = 1_982;

/// Most read transactions of LMDB at once.
pub const LMDB_READERS_MAX: usize = 1_022;
/// The longest record whose checksum is verified only because of a neighbouring key or its deadline: a few
/// microseconds, if LMDB's pages are in memory.
pub const CHECKED_BYTES_MAX: usize = 64 * 1024;

/// Bytes before a key in LMDB: a generation (48 bits), and in the expiry index a deadline (48 bits).
pub const GENERATION_BYTES: usize = 6;
/// Bytes of a deadline in the expiry index.
pub const DEADLINE_BYTES: usize = 6;

/// Longest address that a server announces to others by the lease of an archive.
pub const ARCHIVE_ADDRESS_BYTES_MAX: usize = 512;
/// Most snapshots of an archive at once.
pub const ARCHIVE_SNAPSHOTS_MAX: usize = 1_024;
/// Most epochs that one data directory is about to lead until it has led one of them.
pub const ARCHIVE_OWN_EPOCHS_MAX: usize = 16;
/// Longest segment of an archive before compression. The longest entry of the journal fits.
pub const ARCHIVE_SEGMENT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Longest part of a snapshot in an archive before compression, and the most parts: together 64 TiB.
pub const ARCHIVE_PART_BYTES_MAX: u32 = 64 * 1024 * 1024;
pub const ARCHIVE_PARTS_MAX: u32 = 1024 * 1024;

const _: () = assert!(KEY_BYTES_MAX + GENERATION_BYTES + DEADLINE_BYTES <= LMDB_KEY_BYTES_MAX);
const _: () = assert!(FUNCTION_NAME_BYTES_MAX <= LMDB_KEY_BYTES_MAX);
const _: () = assert!(LIBRARIES_BYTES_MAX <= SCRIPT_TEXT_BYTES_MAX);
const _: () = assert!(UNAUTHENTICATED_BULK_BYTES_MAX <= INLINE_BYTES_MAX);
const _: () = assert!(STORE_NAME_BYTES_MAX + KEY_BYTES_MAX + 64 <= CHANNEL_BYTES_MAX);
const _: () = assert!(CHANNEL_BYTES_MAX <= GLOB_BYTES_MAX);
const _: () = assert!(DATABASES <= DATABASES_MAX);
const _: () = assert!(FOLLOWERS_MAX + HTTP_STREAMS_MAX < HTTP_CONNECTIONS_MAX);
// A command holds at most two read transactions, and so does a network thread; the rest is for the engine's own
// threads.
const _: () = assert!(2 * (LONG_COMMANDS_MAX + HTTP_THREADS_MAX + IO_THREADS_MAX) + 64 <= LMDB_READERS_MAX);
const _: () = assert!(LONG_COMMANDS_MAX >= IO_THREADS_MAX);
const _: () = assert!(HTTP_CROWDED_MAX + FOLLOWERS_MAX < HTTP_CONNECTIONS_MAX);
const _: () = assert!(UNREAD_BYTES_SOFT <= UNREAD_BYTES_MAX);
