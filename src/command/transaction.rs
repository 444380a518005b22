//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Between MULTI and EXEC requests are checked and queued ([`queue`](crate::command::base::queue)). EXEC runs them as one: nobody sees or writes
//! anything in between, and together they are one journal entry ([`Writer::alone`]). As
//! in Redis, a command that fails while it runs does not stop the others. If the journal refuses their entry, EXEC
//! fails, and nothing has happened.
//!
//! WATCH remembers the version of each record, and the change that gave its store its contents; EXEC compares. A key
//! without a record has no version, so writes there are counted ([`Watch`]).

use bytes::Bytes;
use indexmap::IndexSet;

use crate::command::base::queue::{Queue, Standing, Watched, WatchedKeys, discarded_because};
use crate::command::base::run::{Stop, count, note_slow, run};
use crate::command::base::{
    Call, Flags, Group, KeyUse, KeyUses, Keys, Plan, Session, Spec, control, permission, reply,
};
use crate::engine::clock::Stopwatch;
use crate::engine::{Seq, Watch, Writer};
use crate::error::Error;
use crate::limits::REPLY_BYTES_MAX;
use crate::resp::Reply;
use crate::store::Key;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "multi",
        summary: "Starts a transaction: commands are queued until EXEC",
        group: Group::Transactions,
        since: "1.2.0",
        flags: TRANSACTING.union(Flags::FAST).union(Flags::ALLOW_BUSY).union(Flags::UNQUEUED),
        plan: multi,
        ..Spec::DEFAULT
    },
    Spec {
        name: "exec",
        summary: "Runs all queued commands as one transaction",
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "That of the queued commands",
        flags: TRANSACTING
            .union(Flags::SKIP_SLOWLOG)
            .union(Flags::UNQUEUED)
            .union(Flags::EXECUTES)
            .union(Flags::CONTROL),
        plan: |_| control(exec),
        ..Spec::DEFAULT
    },
    Spec {
        name: "discard",
        summary: "Forgets all queued commands",
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N) where N is the number of queued commands",
        flags: TRANSACTING.union(Flags::FAST).union(Flags::ALLOW_BUSY).union(Flags::UNQUEUED),
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
        flags: TRANSACTING.union(Flags::FAST).union(Flags::ALLOW_BUSY).union(Flags::UNQUEUED),
        keys: Keys::ALL,
        key_uses: KeyUses::Each(&[KeyUse::RO]),
        plan: watch,
        ..Spec::DEFAULT
    },
    Spec {
        name: "unwatch",
        summary: "Forgets all watched keys",
        group: Group::Transactions,
        since: "2.2.0",
        flags: TRANSACTING.union(Flags::FAST).union(Flags::ALLOW_BUSY),
        plan: unwatch,
        ..Spec::DEFAULT
    },
];

const TRANSACTING: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::STATEFUL);

fn multi(call: &mut Call<'_>) -> Result<Plan, Error> {
    if call.session.queue.is_some() {
        return Err(Error::other("ERR MULTI calls can not be nested"));
    }
    call.session.queue = Some(Queue::default());
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

fn exec(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let Some(queue) = call.session.queue.take() else { return Err(Error::other("ERR EXEC without MULTI")) };
    let watched = call.session.unwatch();
    call.session.show_transaction();
    if queue.refused {
        return Err(Error::other("EXECABORT Transaction discarded because of previous errors."));
    }
    let Call { server, session, spec, now_ms, .. } = call;
    let blocking = Blocking::new(session);
    let done = engine.alone(|engine| {
        let (server, session) = (server.with(*engine), &mut *blocking.session);
        let mut call = Call { server, session, spec, args: Vec::new(), now_ms: *now_ms };
        run_queued(&mut call, engine, queue, &watched)
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
fn run_queued(call: &mut Call<'_>, engine: Writer<'_>, queue: Queue, watched: &WatchedKeys) -> (Reply, Seq) {
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
                run(&call.server, engine, call.session, spec, &mut args, call.now_ms)
                    .map_err(Stop::into_error)
            });
        let took_ns = watch.lap_ns();
        count(&call.server, call.session, call.server.commands.index(spec), took_ns, outcome.is_err());
        if call.server.slow.is_notable(took_ns) {
            note_slow(&call.server, call.session, spec, &args, took_ns);
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
    let born: Vec<Seq> = engine.with_catalog(|catalog| {
        keys.iter().map(|key| catalog.get(key.store).map_or(0, |store| store.born)).collect()
    });
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
    use crate::store::ValueKind;

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
            default_kind: ValueKind::Any,
            journal_entry_bytes_max: 4_000,
            ..options
        });
        let limit = "EXECABORT Transaction discarded because of: the change takes";
        let value = "v".repeat(1_000);
        h.expect(&[(&format!("SET a {value}"), "OK"), ("SET n 1", "OK"), ("WATCH b", "OK")]);
        let before = (h.server.engine.reader().last_seq(), h.meta("n"));
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
            assert!(answer.contains(limit) && answer.ends_with("split the change into parts"), "{answer}");
            assert_eq!((h.server.engine.reader().last_seq(), h.meta("n")), before);
            h.expect(&[("DBSIZE", "2"), ("EXISTS a b c copy1", "1"), ("GET n", "\"1\"")]);
        }
        let script = r#"EVAL "for i = 1, 5 do redis.pcall('COPY', KEYS[1], 'copy' .. i) end return 1" 1 a"#;
        let answer = shown(&h.run(script));
        assert!(answer.starts_with("-ERR the change takes"), "{answer}");
        h.expect(&[("DBSIZE", "2"), ("WATCH b", "OK")]);
        // what fits goes on, with the next number
        h.expect(&[("MULTI", "OK"), ("INCR n", "QUEUED"), ("COPY a b", "QUEUED"), ("EXEC", "[2, 1]")]);
        assert_eq!(h.server.engine.reader().last_seq(), before.0 + 1);
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
