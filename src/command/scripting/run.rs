//! What scripts and functions have in common: how they run, and how they are ended.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::command::base::run::{Stop, count, run};
use crate::command::base::table::Lookup;
use crate::command::base::{Call, Flags, Plan, Session, Spec, View, permission, reply};
use crate::engine::{Seq, Writer};
use crate::error::Error;
use crate::limits::SCRIPT_WRITES_BYTES_MAX;
use crate::resp::{Protocol, Reply};
use crate::script::{Host, Kill, Scripts};

/// Runs a script or a function: everybody else waits, and what it writes is one journal entry. Returns the reply, and
/// the sequence number that it reflects.
pub fn run_alone(
    call: &mut Call<'_>,
    engine: Writer<'_>,
    reads_only: bool,
    run: impl FnOnce(&Scripts, &mut dyn Host) -> Result<Reply, Error>,
) -> Result<(Reply, Seq), Error> {
    let (server, now_ms, session) = (call.server, call.now_ms, call.session.for_script());
    let outcome = engine.alone(|engine| {
        engine.allow_writes(Some(SCRIPT_WRITES_BYTES_MAX));
        let server = server.with(*engine);
        let mut commands = Commands { server, engine, session, reads_only, now_ms, reflects: 0 };
        let reply = run(&server.scripts, &mut commands);
        // within a transaction, other commands may write after it
        engine.allow_writes(None);
        (reply, commands.reflects)
    });
    // the script's session shares its client with the caller's
    let store = call.session.store;
    call.session.select(store);
    let ((reply, read), written) = outcome?;
    Ok((reply?, read.max(written)))
}

/// Ends the running script, or the running function, unless it has written.
pub fn end(call: &mut Call<'_>, is_function: bool) -> Result<Plan, Error> {
    match call.server.scripts.running.kill(is_function) {
        Kill::Done => reply(Reply::OK),
        Kill::NotBusy => Err(Error::other("NOTBUSY No scripts in execution right now.")),
        Kill::Other => Err(call.server.busy()),
        Kill::Unkillable => Err(Error::other(
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait \
             the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        )),
    }
}

/// What a script finds in `KEYS` and `ARGV`; `count` is the number of keys.
pub fn keys_and_args(call: &Call<'_>, count: i64) -> Result<(Vec<Bytes>, Vec<Bytes>), Error> {
    let words = call.rest(3);
    let Ok(count) = usize::try_from(count) else {
        return Err(Error::other("ERR Number of keys can't be negative"));
    };
    match words.split_at_checked(count) {
        Some((keys, args)) => Ok((keys.to_vec(), args.to_vec())),
        None => Err(Error::other("ERR Number of keys can't be greater than number of args")),
    }
}

/// The commands of one script.
struct Commands<'a> {
    server: View<'a>,
    engine: Writer<'a>,
    session: Session,
    reads_only: bool,
    /// The one time of the whole script.
    now_ms: u64,
    /// The sequence number that its replies reflect.
    reflects: Seq,
}

impl Commands<'_> {
    /// Refuses what a script may not run.
    fn admit(&mut self, args: &[Bytes]) -> Result<&'static Spec, Error> {
        let Lookup::Command(spec) = self.server.commands.lookup(args) else {
            return Err(Error::other("ERR Unknown Redis command called from script"));
        };
        if !spec.takes(args.len()) {
            return Err(Error::other("ERR Wrong number of args calling Redis command from script"));
        }
        let may_debug = || spec.is(Flags::DEBUGS) && self.server.scripts.may_debug.load(Ordering::Relaxed);
        if spec.is(Flags::NOSCRIPT) && !may_debug() {
            return Err(Error::other("ERR This Redis command is not allowed from script"));
        }
        permission::check_in_script(self.server, &self.session, spec, args)?;
        if self.reads_only && spec.has_effect() {
            return Err(Error::other("ERR Write commands are not allowed from read-only scripts."));
        }
        if spec.is(Flags::WRITE) {
            self.server.scripts.running.note_write();
        }
        Ok(spec)
    }

    /// Makes an error, and counts it.
    fn refused(&self, error: &Error) -> Reply {
        self.server.stats.error(error);
        Reply::Error(Error::Counted(error.to_string()))
    }
}

impl Host for Commands<'_> {
    fn call(&mut self, mut args: Vec<Bytes>) -> Reply {
        let spec = match self.admit(&args) {
            Ok(spec) => spec,
            Err(error) => {
                if let Lookup::Command(spec) = self.server.commands.lookup(&args) {
                    self.server.stats.rejected(self.server.commands.index(spec));
                }
                return self.refused(&error);
            }
        };
        let outcome = run(&self.server, self.engine, &mut self.session, spec, &mut args, self.now_ms)
            .map_err(Stop::into_error);
        count(&self.server, &self.session, self.server.commands.index(spec), 0, outcome.is_err());
        match outcome {
            Ok((reply, reflects)) => {
                self.reflects = self.reflects.max(reflects);
                self.session.seen = self.session.seen.max(reflects);
                match reply {
                    Reply::Error(error) => self.refused(&error),
                    reply => reply,
                }
            }
            Err(error) => self.refused(&error),
        }
    }

    fn may_run(&mut self, args: &[Bytes]) -> Result<bool, Error> {
        match self.server.commands.lookup(args) {
            Lookup::Command(spec) if !spec.takes(args.len()) => {
                Err(Error::other("ERR Wrong number of args for redis.acl_check_cmd()"))
            }
            Lookup::Command(spec) => {
                let account = &self.session.account;
                Ok(permission::dry_run(self.server, account, spec, args, self.session.store).is_none())
            }
            _ => Err(Error::other("ERR Invalid command passed to redis.acl_check_cmd()")),
        }
    }

    fn protocol(&self) -> Protocol {
        self.session.protocol
    }

    fn set_protocol(&mut self, protocol: Protocol) {
        // not that of the client, which keeps its own
        self.session.protocol = protocol;
    }
}
