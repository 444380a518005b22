//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Between MULTI and EXEC requests are checked and queued ([`queue`]). EXEC runs them as one: nobody sees or writes
//! anything in between, and together they are one journal entry ([`Engine::alone`](crate::engine::Engine::alone)). As
//! in Redis, a command that fails while it runs does not stop the others. If the journal refuses their entry, EXEC
//! fails, and nothing has happened.
//!
//! WATCH remembers the version of each record, and the change that gave its store its contents; EXEC compares. A key
//! without a record has no version, so writes there are counted ([`Watch`]).

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};

use super::dispatch::{Stop, count, run};
use crate::command::base::table::Lookup;
use crate::command::base::{Call, Flags, Group, Keys, Plan, Server, Session, Spec, permission, reply};
use crate::command::clients::pause;
use crate::command::server::slow;
use crate::engine::clock::Stopwatch;
use crate::engine::{Claim, Seq, Watch};
use crate::error::Error;
use crate::limits::{ASIDE_BYTES, ASIDE_COMMANDS, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::resp::Reply;
use crate::store::Key;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "multi",
        summary: "Starts a transaction: commands are queued until EXEC",
        group: Group::Transactions,
        since: "1.2.0",
        flags: CONTROL.union(Flags::FAST).union(Flags::ALLOW_BUSY),
        plan: multi,
        ..Spec::DEFAULT
    },
    Spec {
        name: "exec",
        summary: "Runs all queued commands as one transaction",
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "That of the queued commands",
        flags: CONTROL.union(Flags::SKIP_SLOWLOG),
        plan: exec,
        ..Spec::DEFAULT
    },
    Spec {
        name: "discard",
        summary: "Forgets all queued commands",
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N) where N is the number of queued commands",
        flags: CONTROL.union(Flags::FAST).union(Flags::ALLOW_BUSY),
        plan: discard,
        ..Spec::DEFAULT
    },
    Spec {
        name: "watch",
        syntax: "key [key ...]",
        summary: "Makes the next EXEC do nothing if one of the keys changes before",
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1) for every key",
        arity: -2,
        flags: CONTROL.union(Flags::FAST).union(Flags::ALLOW_BUSY),
        keys: Keys::ALL,
        plan: watch,
        ..Spec::DEFAULT
    },
    Spec {
        name: "unwatch",
        summary: "Forgets all watched keys",
        group: Group::Transactions,
        since: "2.2.0",
        flags: CONTROL.union(Flags::FAST).union(Flags::ALLOW_BUSY),
        plan: unwatch,
        ..Spec::DEFAULT
    },
];

const CONTROL: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);

/// A transaction that a session has begun.
pub struct Queue {
    requests: Vec<(&'static Spec, Vec<Bytes>)>,
    bytes: usize,
    /// The union of the flags of the queued requests.
    flags: Flags,
    /// The smallest claim on the last room of those requests that write.
    claim: Option<Claim>,
    selects: bool,
    /// Others may notice that EXEC ran.
    has_effect: bool,
    /// Whether a request was refused, so that EXEC refuses the rest.
    refused: bool,
}

impl Queue {
    fn new() -> Queue {
        Queue {
            requests: Vec::new(),
            bytes: 0,
            flags: Flags::empty(),
            claim: None,
            selects: false,
            has_effect: false,
            refused: false,
        }
    }

    /// Whether one of the queued commands has these flags.
    pub fn has(&self, flags: Flags) -> bool {
        self.flags.intersects(flags)
    }

    /// Whether EXEC may take long.
    pub fn is_long(&self) -> bool {
        self.has(Flags::LONG | Flags::SCRIPT | Flags::WHOLE_VALUE)
            || self.requests.len() > ASIDE_COMMANDS
            || self.bytes > ASIDE_BYTES
    }

    /// How much of the last room the transaction may use: as much as each of its writing commands may.
    pub fn claim(&self) -> Option<Claim> {
        self.claim
    }

    /// How many commands are queued.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether one of the queued commands has an effect on others.
    pub fn has_effect(&self) -> bool {
        self.has_effect
    }

    /// Whether the store may change before what is queued next.
    pub fn selects(&self) -> bool {
        self.selects
    }

    /// The memory of the queued requests.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The watched keys of a session, each once.
pub type WatchedKeys = IndexMap<Key, Watched>;

/// The state at a watched key.
pub struct Watched {
    was: Standing,
    /// Only for a key without a record.
    puts: Option<Watch>,
}

/// What is at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// The version of the record; 0 if there is none.
    version: Seq,
    /// The change that gave the store its contents: a flush, a swap.
    born: Seq,
}

impl Standing {
    /// A flush or swap concerns a record only if there was one, or is one now.
    fn is_changed(self, now: Standing) -> bool {
        self.version != now.version || (self.version != 0 && self.born != now.born)
    }
}

/// Whether a command runs at once even between MULTI and EXEC.
pub fn is_control(spec: &Spec) -> bool {
    matches!(spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

/// Queues a request that has passed the gate.
pub fn queue(
    server: &Server,
    session: &mut Session,
    spec: &'static Spec,
    args: &[Bytes],
) -> Result<Reply, Error> {
    const WORD_BYTES: usize = 64;
    let has_effect = pause::has_effect(server, session, spec, args);
    let Some(queue) = &mut session.queue else { return Err(Error::other("ERR no transaction was begun")) };
    let bytes = args.iter().map(|word| word.len() + WORD_BYTES).sum::<usize>();
    if spec.is(Flags::NO_MULTI) {
        queue.refused = true;
        return Err(Error::other("ERR Command not allowed inside a transaction"));
    }
    if queue.bytes + bytes > REQUEST_BYTES_MAX {
        queue.refused = true;
        return Err(Error::other(format!("ERR the transaction is longer than {REQUEST_BYTES_MAX} bytes")));
    }
    queue.bytes += bytes;
    queue.flags |= spec.flags;
    queue.claim = queue.claim.into_iter().chain(spec.writes().then(|| spec.claim())).min();
    if spec.group == Group::Json {
        queue.flags |= Flags::WHOLE_VALUE;
    }
    queue.has_effect |= has_effect;
    queue.selects |= spec.name == "select";
    // copied, so that a long transaction does not keep every read buffer alive
    queue.requests.push((spec, args.iter().map(|word| Bytes::copy_from_slice(word)).collect()));
    session.show_transaction();
    Ok(Reply::Simple("QUEUED"))
}

/// Called when a request was refused before it could be queued: EXEC will be refused, too.
pub fn refused(session: &mut Session, found: Lookup, error: Error) -> Error {
    if let Some(queue) = &mut session.queue {
        queue.refused = true;
    }
    match found {
        Lookup::Command(spec) if spec.name == "exec" => {
            session.queue = None;
            session.unwatch();
            session.show_transaction();
            discarded_because(&error)
        }
        _ => error,
    }
}

fn multi(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.session.queue.is_some() {
        return Err(Error::other("ERR MULTI calls can not be nested"));
    }
    call.session.queue = Some(Queue::new());
    call.session.show_transaction();
    reply(Reply::OK)
}

fn discard(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.session.queue.take().is_none() {
        return Err(Error::other("ERR DISCARD without MULTI"));
    }
    call.session.unwatch();
    call.session.show_transaction();
    reply(Reply::OK)
}

/// What a watched key costs beside its bytes.
const WATCHED_BYTES: usize = 256;

fn watch(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.session.queue.is_some() {
        return Err(Error::other("ERR WATCH inside MULTI is not allowed"));
    }
    let named: IndexSet<Key> = call.keys(1).into_iter().collect();
    let new = named.into_iter().filter(|key| !call.session.watched.contains_key(key));
    // kept beyond the command
    let kept = |key: Key| Key { name: Bytes::copy_from_slice(&key.name), ..key };
    let keys: Vec<Key> = new.map(kept).collect();
    // before reading the keys, so that no write goes unnoticed
    let watches: Vec<Watch> = keys.iter().map(|key| call.server.engine.watch(key)).collect();
    let (standings, reflects) = standings(call, &keys)?;
    for ((key, was), puts) in keys.into_iter().zip(standings).zip(watches) {
        let puts = (was.version == 0).then_some(puts);
        call.session.watched_bytes += key.name.len() + WATCHED_BYTES;
        call.session.watched.insert(key, Watched { was, puts });
    }
    call.session.show_transaction();
    Ok(Plan::Reflecting(Reply::OK, reflects))
}

fn unwatch(call: &mut Call<'_>) -> Result<Plan, Error> {
    call.session.unwatch();
    call.session.show_transaction();
    reply(Reply::OK)
}

fn exec(call: &mut Call<'_>) -> Result<Plan, Error> {
    let Some(queue) = call.session.queue.take() else { return Err(Error::other("ERR EXEC without MULTI")) };
    let watched = call.session.unwatch();
    call.session.show_transaction();
    if queue.refused {
        return Err(Error::other("EXECABORT Transaction discarded because of previous errors."));
    }
    let Call { server, session, spec, now_ms, .. } = call;
    let blocking = Blocking::new(session);
    let done = server.engine.alone(|| {
        let session = &mut *blocking.session;
        let mut call = Call { server, session, spec, args: Vec::new(), now_ms: *now_ms };
        run_queued(&mut call, queue, &watched)
    });
    drop(blocking);
    let ((reply, read), written) = done.map_err(|error| discarded(error.into()))?;
    Ok(Plan::Reflecting(reply, read.max(written)))
}

/// A session that may block until this is dropped, by a panic, too.
struct Blocking<'a> {
    session: &'a mut Session,
    may_block: bool,
}

impl Blocking<'_> {
    fn new(session: &mut Session) -> Blocking<'_> {
        let may_block = std::mem::replace(&mut session.may_block, true);
        Blocking { session, may_block }
    }
}

impl Drop for Blocking<'_> {
    fn drop(&mut self) {
        self.session.may_block = self.may_block;
    }
}

/// Runs what was queued, with the engine to itself. Returns the reply, and the sequence number that it reflects.
fn run_queued(call: &mut Call<'_>, queue: Queue, watched: &WatchedKeys) -> (Reply, Seq) {
    if is_changed(call, watched) {
        return (Reply::NullArray, 0);
    }
    let mut replies = Vec::with_capacity(queue.requests.len());
    let mut reflects = 0;
    let mut watch = Stopwatch::start();
    for (spec, mut args) in queue.requests {
        let outcome = check_reply(call.session, spec)
            .and_then(|()| permission::check_again(call.server, call.session, spec, &args))
            .and_then(|()| {
                run(call.server, call.session, spec, &mut args, call.now_ms).map_err(Stop::into_error)
            });
        let took_ns = watch.lap_ns();
        count(call.server, call.session, spec, took_ns, outcome.is_err());
        if call.server.slow.is_notable(took_ns) {
            slow::note(call.server, call.session, spec, &args, took_ns);
        }
        replies.push(match outcome {
            Ok((reply, seq)) => {
                reflects = reflects.max(seq);
                call.session.reply_bytes = call.session.reply_bytes.saturating_add(reply.own_bytes());
                reply
            }
            Err(error) => {
                call.server.stats.error(&error);
                if call.server.engine.is_group_refused() {
                    break;
                }
                Reply::Error(error)
            }
        });
    }
    (Reply::Array(replies), reflects)
}

/// Refuses to add more to a reply that has reached its limit. A command that writes is not refused.
fn check_reply(session: &Session, spec: &Spec) -> Result<(), Error> {
    if session.reply_bytes > REPLY_BYTES_MAX && spec.is(Flags::READONLY) {
        return Err(Error::ReplyTooLong);
    }
    Ok(())
}

/// In Redis's words if it is the client's fault; errors of the machine keep their code.
fn discarded(error: Error) -> Error {
    if error.is_of_machine() { error } else { discarded_because(&error) }
}

fn discarded_because(error: &Error) -> Error {
    let why = error.to_string();
    let why = why.strip_prefix("ERR ").unwrap_or(&why);
    Error::other(format!("EXECABORT Transaction discarded because of: {why}"))
}

/// Whether a watched key has changed, or its store is gone.
fn is_changed(call: &Call<'_>, watched: &WatchedKeys) -> bool {
    let keys: Vec<Key> = watched.keys().cloned().collect();
    match standings(call, &keys) {
        Ok((standings, _)) => watched.values().zip(standings).any(|(watched, now)| {
            watched.was.is_changed(now) || watched.puts.as_ref().is_some_and(Watch::saw_put)
        }),
        Err(_) => true,
    }
}

fn standings(call: &Call<'_>, keys: &[Key]) -> Result<(Vec<Standing>, Seq), Error> {
    let engine = &call.server.engine;
    let born: Vec<Seq> = {
        let catalog = engine.catalog();
        keys.iter().map(|key| catalog.get(key.store).map_or(0, |store| store.born)).collect()
    };
    engine.read(call.now_ms, keys, |txn| {
        let version = |key| Ok::<Seq, Error>(txn.peek(key)?.map_or(0, |record| record.version));
        let both = keys.iter().zip(born);
        both.map(|(key, born)| Ok(Standing { version: version(key)?, born })).collect()
    })
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::{Harness, session, shown};
    use crate::engine::Options;
    use crate::store::Kind;

    #[test]
    fn queued_commands_run_as_one() {
        Harness::new().expect(&[
            ("MULTI", "OK"),
            ("SET a 1", "QUEUED"),
            ("INCR a", "QUEUED"),
            ("DBSIZE", "QUEUED"),
            ("KEYS *", "QUEUED"),
            ("LPUSHY a 1", "-ERR unknown command 'LPUSHY', with args beginning with: 'a' '1' "),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("EXISTS a", "0"),
            ("MULTI", "OK"),
            ("SET a x", "QUEUED"),
            ("INCR a", "QUEUED"),
            ("SELECT 1", "QUEUED"),
            ("SET b 2", "QUEUED"),
            ("DBSIZE", "QUEUED"),
            ("EXEC", "[OK, -ERR value is not an integer or out of range, OK, OK, 1]"),
            ("GET b", "\"2\""),
        ]);
    }

    #[test]
    fn a_watched_key_that_changed_stops_exec() {
        let mut h = Harness::new();
        let mut other = session(&h.server);
        h.expect(&[("SET a 1", "OK"), ("WATCH a b", "OK")]);
        h.swap(&mut other);
        h.expect(&[("SET b 1", "OK")]);
        h.swap(&mut other);
        h.expect(&[("MULTI", "OK"), ("SET a 2", "QUEUED"), ("EXEC", "nil"), ("GET a", "\"1\"")]);
        h.expect(&[("WATCH a", "OK"), ("MULTI", "OK"), ("INCR a", "QUEUED"), ("EXEC", "[2]")]);
        h.expect(&[("WATCH a", "OK"), ("SET a 5", "OK"), ("UNWATCH", "OK"), ("MULTI", "OK"), ("EXEC", "[]")]);
    }

    #[test]
    fn a_watched_key_that_came_and_went_stops_exec() {
        let mut h = Harness::new();
        for (between, runs) in [
            (&["SET k 1", "DEL k"][..], false),
            (&["SET k 1", "FLUSHDB"], false),
            (&["SET k 1", "SAVE", "DEL k", "SAVE"], false),
            (&["DEL k", "FLUSHALL", "SET other 1"], true),
            (&["SWAPDB 0 1", "SWAPDB 0 1"], true),
            (&["SWAPDB 0 1", "SET k 1", "DEL k"], false),
            (&["SWAPDB 0 2", "SWAPDB 2 0"], false),
            (&["SWAPDB 2 0", "SAVE", "SWAPDB 0 2"], false),
            (&["SWAPDB 1 2", "SWAPDB 1 2"], true),
        ] {
            h.expect(&[("FLUSHALL", "OK"), ("SELECT 2", "OK"), ("SET k 1", "OK"), ("SELECT 0", "OK")]);
            h.expect(&[("WATCH k", "OK")]);
            between.iter().for_each(|line| drop(h.run(line)));
            h.expect(&[("MULTI", "OK"), ("EXEC", if runs { "[]" } else { "nil" })]);
        }
        // two records of one transaction have one version
        h.expect(&[
            ("MULTI", "OK"),
            ("SET k 1", "QUEUED"),
            ("SELECT 1", "QUEUED"),
            ("SET k 2", "QUEUED"),
            ("EXEC", "[OK, OK, OK]"),
            ("WATCH k", "OK"),
            ("SWAPDB 0 1", "OK"),
            ("MULTI", "OK"),
            ("EXEC", "nil"),
        ]);
    }

    /// A transaction whose entry is longer than the journal takes: by one command or by all of them, in EXEC, in a script,
    /// and in a script within EXEC.
    #[test]
    fn what_is_too_large_for_one_entry_has_not_happened() {
        let mut h = Harness::with(|options| Options {
            default_kind: Kind::Any,
            journal_entry_bytes_max: 4_000,
            ..options
        });
        let limit = "EXECABORT Transaction discarded because of: the change takes";
        let value = "v".repeat(1_000);
        h.expect(&[(&format!("SET a {value}"), "OK"), ("SET n 1", "OK"), ("WATCH b", "OK")]);
        let before = (h.server.engine.last_seq(), h.meta("n"));
        let copies: Vec<String> = (0..5).map(|at| format!("COPY a copy{at}")).collect();
        let mut groups = vec![
            [&["INCR n".to_owned()], &copies[..], &["INCR n".to_owned()]].concat(),
            vec!["FLUSHALL".into(), "SET b 1".into(), format!("SET c {}", "c".repeat(5_000))],
            vec![
                r#"EVAL "for i = 1, 5 do redis.pcall('COPY', KEYS[1], 'copy' .. i) end return 1" 1 a"#.into(),
            ],
        ];
        groups.push([&["SWAPDB 1 2".to_owned()], &copies[..]].concat());
        for group in groups {
            h.expect(&[("MULTI", "OK")]);
            group.iter().for_each(|line| h.expect(&[(line, "QUEUED")]));
            let answer = shown(&h.run("EXEC"));
            assert!(answer.contains(limit) && answer.ends_with("make it in parts"), "{answer}");
            assert_eq!((h.server.engine.last_seq(), h.meta("n")), before);
            h.expect(&[("DBSIZE", "2"), ("EXISTS a b c copy1", "1"), ("GET n", "\"1\"")]);
        }
        let script = r#"EVAL "for i = 1, 5 do redis.pcall('COPY', KEYS[1], 'copy' .. i) end return 1" 1 a"#;
        let answer = shown(&h.run(script));
        assert!(answer.starts_with("-ERR the change takes"), "{answer}");
        h.expect(&[("DBSIZE", "2"), ("WATCH b", "OK")]);
        // what fits goes on, with the next number
        h.expect(&[("MULTI", "OK"), ("INCR n", "QUEUED"), ("COPY a b", "QUEUED"), ("EXEC", "[2, 1]")]);
        assert_eq!(h.server.engine.last_seq(), before.0 + 1);
    }

    #[test]
    fn a_panic_within_exec_leaves_the_session_as_it_was() {
        let mut h = Harness::new();
        h.session.may_block = false;
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let blocking = super::Blocking::new(&mut h.session);
            assert!(blocking.session.may_block);
            panic!("as a command might");
        }));
        assert!(panicked.is_err() && !h.session.may_block);
    }

    #[test]
    fn what_is_out_of_place_is_refused() {
        Harness::new().expect(&[
            ("EXEC", "-ERR EXEC without MULTI"),
            ("DISCARD", "-ERR DISCARD without MULTI"),
            ("MULTI", "OK"),
            ("MULTI", "-ERR MULTI calls can not be nested"),
            ("WATCH a", "-ERR WATCH inside MULTI is not allowed"),
            ("GET", "-ERR wrong number of arguments for 'get' command"),
            ("DISCARD", "OK"),
            ("PING", "PONG"),
        ]);
    }
}
