//! Runs a command: plans it, carries the plan out as a transaction, shows it to monitors, and counts it. The gate, EXEC
//! and scripts call this when the request was admitted.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::client::Client;
use crate::command::base::{Call, Flags, Plan, Session, Shared, Spec};
use crate::engine::{self, Evicted, Seq, Weighed, Writer};
use crate::error::Error;
use crate::resp::Reply;
use crate::store::Key;
use crate::telemetry::slow::Done;

/// Why a command did not run.
#[derive(Debug)]
pub enum Stop {
    /// The command is too much work for a network thread. This never happens in a session that [may
    /// block](Session::may_block).
    Aside,
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

impl From<engine::Error> for Stop {
    fn from(error: engine::Error) -> Stop {
        match error {
            engine::Error::Fault(engine::Fault::Cold) => Stop::Aside,
            error => Stop::Refused(error.into()),
        }
    }
}

impl Stop {
    /// The error for a client, where nothing can run aside.
    pub fn into_error(self) -> Error {
        match self {
            Stop::Aside => Error::other("ERR the command takes too long for this thread"),
            Stop::Refused(error) => error,
        }
    }
}

/// Runs a command and shows it to monitors. The arguments are still there afterwards.
pub fn run(
    server: &Shared,
    engine: Writer<'_>,
    session: &mut Session,
    spec: &'static Spec,
    args: &mut Vec<Bytes>,
    now_ms: u64,
) -> Result<(Reply, Seq), Stop> {
    if server.push.monitors.are_any() {
        return run_shown(server, engine, session, spec, args, now_ms);
    }
    run_unseen(server, engine, session, spec, args, now_ms)
}

/// Plans a command and runs the plan. The arguments are still there afterwards.
fn run_unseen(
    server: &Shared,
    engine: Writer<'_>,
    session: &mut Session,
    spec: &'static Spec,
    args: &mut Vec<Bytes>,
    now_ms: u64,
) -> Result<(Reply, Seq), Stop> {
    let mut call = Call { server: server.with(*engine), session, spec, args: std::mem::take(args), now_ms };
    let mut keys: SmallVec<[Key; 1]> = SmallVec::new();
    for at in spec.keys.positions(&call.args) {
        // not kept beyond the command, so it need not be copied
        keys.push(call.key(at));
    }
    // for a script, the keys that it reads count, not those that it declares
    let reads = spec.is(Flags::READONLY) && !spec.is(Flags::SCRIPT) && !keys.is_empty();
    if reads && call.session.caching.remembers() {
        let push = &server.push;
        push.tracking.remember(&push.post, &call.session.client, keys.iter().map(|key| &key.name));
    }
    let outcome = carry_out(&mut call, engine, &mut keys);
    // the slow log may need them
    *args = call.args;
    outcome
}

/// Plans and runs a command: once or, if it would exceed a limit, until the compressed sizes are known and expired
/// records are removed.
fn carry_out(
    call: &mut Call<'_>,
    engine: Writer<'_>,
    keys: &mut SmallVec<[Key; 1]>,
) -> Result<(Reply, Seq), Stop> {
    let (server, spec, now_ms, client_id) = (call.server, call.spec, call.now_ms, call.session.client.id);
    let goes_through_values = spec.goes_through_values();
    let may_block = call.session.may_block;
    let engine = if may_block { engine } else { engine.without_disk() };
    let spent = &Cell::new(call.session.reply_bytes);
    let named = keys.len();
    let (mut weighed, mut evicted) = (Weighed::default(), Evicted::default());
    loop {
        match plan(call, engine)? {
            Plan::Aside => return Err(Stop::Aside),
            Plan::Reply(reply) => return Ok((reply, 0)),
            Plan::Reflecting(reply, reflects) => return Ok((reply, reflects)),
            Plan::Read(run) => {
                let done = engine.read(now_ms, keys, |txn| {
                    if !may_block && txn.is_long(goes_through_values) {
                        return Err(Stop::Aside);
                    }
                    txn.spend(spent.get())?;
                    server.stats.mine().lookups.count(txn.hits_and_misses());
                    if txn.counts_uses() && uses(spec, &call.session.client) {
                        txn.touch();
                    }
                    // a subcommand (of OBJECT, MEMORY) asks about a record, so an absent one is no miss
                    if !spec.is_subcommand() {
                        txn.tell_misses();
                    }
                    let reply = run(txn);
                    spent.set(txn.spent_bytes());
                    Ok(reply?)
                });
                call.session.reply_bytes = spent.get();
                return done;
            }
            Plan::Write(run, more) if spec.is(Flags::WRITE) => {
                keys.truncate(named);
                keys.extend(more);
                let done = engine.write_weighed(now_ms, keys, &mut weighed, |txn| {
                    if !may_block && txn.is_long(goes_through_values) {
                        return Err(Stop::Aside);
                    }
                    txn.set_origin(client_id);
                    Ok(run(txn)?)
                });
                match done {
                    Ok(Some(done)) => return Ok(done),
                    Ok(None) => {}
                    Err(Stop::Refused(Error::Quota(exceeded)))
                        if engine.make_room(now_ms, &exceeded, &mut evicted)? => {}
                    Err(error) => return Err(error),
                }
            }
            Plan::Write(..) | Plan::Control(_) => {
                return Err(Error::other("ERR the command is not declared to change anything").into());
            }
        }
    }
}

/// Whether a command uses the records that it reads, as far as eviction is concerned.
fn uses(spec: &Spec, client: &Client) -> bool {
    !spec.is(Flags::PEEKS) && (spec.is(Flags::TOUCHES) || !client.no_touch.load(Ordering::Relaxed))
}

/// Plans a command, and lets it control the engine if it is declared to.
fn plan(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    match (call.spec.plan)(call)? {
        Plan::Control(run) if call.spec.flags.intersects(Flags::WRITE | Flags::CONTROL) => run(call, engine),
        plan => Ok(plan),
    }
}

/// Counts a command that ran, by itself, in EXEC or in a script; by its index in the table.
pub fn count(server: &Shared, session: &Session, command: usize, took_ns: u64, failed: bool) {
    // nobody else counts here, so it need not be one step
    let commands = &session.client.commands;
    commands.store(commands.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    server.stats.command(command, took_ns, failed);
}

/// Reports a finished command to the slow log and the latency monitor.
pub fn note_slow(server: &Shared, session: &Session, spec: &Spec, words: &[Bytes], took_ns: u64) {
    if session.is_watching {
        return;
    }
    let client = &session.client;
    server.slow.note(&Done {
        now_ms: crate::engine::clock::now_ms(),
        took_ns,
        event: if spec.is(Flags::FAST) { "fast-command" } else { "command" },
        is_logged: !spec.is(Flags::SKIP_SLOWLOG),
        words,
        shown_words: spec.secrets.first(words).unwrap_or(usize::MAX),
        client_address: &client.address,
        client_name: &client.name.lock(),
    });
}

/// Runs a command and shows it: EXEC after the commands that it runs, a script before them.
fn run_shown(
    server: &Shared,
    engine: Writer<'_>,
    session: &mut Session,
    spec: &'static Spec,
    args: &mut Vec<Bytes>,
    now_ms: u64,
) -> Result<(Reply, Seq), Stop> {
    if spec.is(Flags::ADMIN) {
        // too dangerous to be shown
        return run_unseen(server, engine, session, spec, args, now_ms);
    }
    let words = args.clone();
    let show = |session: &Session| {
        let client = &session.client;
        let source = if session.is_script {
            "lua".to_owned()
        } else if client.unix {
            format!("unix:{}", unix_path(&client.address))
        } else {
            client.address.clone()
        };
        server
            .push
            .monitors
            .show(&server.push.post, &source, session.store, &words, |at| spec.secrets.has(&words, at));
    };
    let is_script = spec.is(Flags::SCRIPT);
    if is_script {
        show(session);
    }
    let outcome = run_unseen(server, engine, session, spec, args, now_ms);
    if !is_script {
        show(session);
    }
    outcome
}

/// The path of the socket in the address of a client: `path:0`.
fn unix_path(address: &str) -> &str {
    address.strip_suffix(":0").unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use crate::command::base::run::*;
    use crate::command::base::{control, write};
    use crate::command::tests::harness::Harness;

    /// A plan gets what can change something only if the command is declared to change it.
    #[test]
    fn what_is_not_declared_to_change_anything_can_only_read() {
        type Plans = fn(&mut Call<'_>) -> Result<Plan, Error>;
        let writes: Plans = |_| write(|txn| Ok(Reply::Integer(txn.define(None, Default::default())?.into())));
        let controls: Plans = |_| {
            control(|_, engine| {
                let (store, _) = engine.write(1, &[], |txn| txn.define(None, Default::default()))?;
                Ok(Plan::Reply(Reply::Integer(store.into())))
            })
        };
        let then_writes: Plans = |_| control(|call, _| write_as(call));
        fn write_as(_: &mut Call<'_>) -> Result<Plan, Error> {
            write(|txn| Ok(Reply::Integer(txn.define(None, Default::default())?.into())))
        }
        let neither = Flags::READONLY.union(Flags::ADMIN).union(Flags::SCRIPT);
        for (plan, flags, may) in [
            (writes, Flags::empty(), false),
            (writes, neither, false),
            (writes, Flags::CONTROL, false),
            (writes, Flags::WRITE, true),
            (controls, Flags::empty(), false),
            (controls, neither, false),
            (controls, Flags::CONTROL, true),
            (controls, Flags::WRITE, true),
            (then_writes, Flags::CONTROL, false),
            (then_writes, Flags::WRITE, true),
        ] {
            let mut h = Harness::new();
            let spec: &'static Spec =
                Box::leak(Box::new(Spec { name: "test", flags, plan, ..Spec::DEFAULT }));
            let engine = h.server.engine.clone();
            let stores = || engine.reader().catalog().iter().count();
            let before = stores();
            let outcome = run(&h.server, engine.writer(), &mut h.session, spec, &mut Vec::new(), 1);
            assert_eq!(outcome.is_ok(), may, "{flags:?}: {outcome:?}");
            assert_eq!(stores() > before, may, "{flags:?}");
        }
    }
}
