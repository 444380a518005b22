//! The gate: every request of every connection passes here, and each check is made once.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::command::base::run::{Stop, count, note_slow, run};
use crate::command::base::session::Replies;
use crate::command::base::table::Lookup;
use crate::command::base::{Flags, Server, Session, Shared, Spec, View, login, pause, permission, queue};
use crate::command::reference::compatibility;
use crate::engine::Seq;
use crate::engine::clock::Stopwatch;
use crate::error::Error;
use crate::resp::{Protocol, Reply, Request};

/// A reply, and the change that it reflects.
#[derive(Debug)]
pub struct Answer {
    /// `None`: nothing is sent.
    pub reply: Option<Reply>,
    /// The journal sequence number that the reply reflects: it is not sent before that is durable.
    pub reflects: Seq,
    /// Nothing has happened, and the request is to be dispatched again.
    pub postponed: Option<Postponed>,
}

impl Answer {
    fn new(reply: Option<Reply>, reflects: Seq) -> Answer {
        Answer { reply, reflects, postponed: None }
    }

    fn postponed(request: Postponed) -> Answer {
        Answer { postponed: Some(request), ..Answer::new(None, 0) }
    }
}

/// A request that could not run yet.
#[derive(Debug)]
pub enum Postponed {
    /// It is too much work for a network thread, and has to run on a thread that may block ([`Session::may_block`]).
    Aside(Request),
    /// CLIENT PAUSE holds it up.
    Held(Request),
}

/// Runs one request.
pub fn dispatch(server: &Server, session: &mut Session, request: Request) -> Answer {
    let found = server.commands.lookup(&request.args);
    dispatch_found(server, session, &mut Stopwatch::start(), found, request)
}

/// Runs one of many requests, whose command was looked up already. The stopwatch continues from request to request.
pub fn dispatch_found(
    server: &Server,
    session: &mut Session,
    watch: &mut Stopwatch,
    found: Lookup,
    request: Request,
) -> Answer {
    if matches!(found, Lookup::UnknownCommand) && is_http(&request.args) {
        let address = &session.client.address;
        tracing::warn!(
            address,
            "a request looks like HTTP, and a browser may have been tricked into sending it; the connection was closed"
        );
        session.closing = true;
        return Answer::new(None, 0);
    }
    let (engine, server) = (server.engine.writer(), server.view());
    let now_ms = watch.now_ms();
    session.client.active_ms.store(watch.steady_ms(), Ordering::Relaxed);
    session.reply_bytes = 0;
    let mut request = request;
    let (reply, reflects) = match admit(server, session, found, &request.args) {
        Ok(spec) if pause::holds_up(&server, session, spec, &request.args) => {
            return Answer::postponed(Postponed::Held(request));
        }
        Ok(spec) => {
            let command = server.commands.index(spec);
            session.client.last_command.store(command, Ordering::Relaxed);
            let is_queued = session.queue.is_some() && !spec.is(Flags::UNQUEUED);
            let outcome = if is_queued {
                queue::queue(&server, session, spec, &request.args)
                    .map(|queued| (queued, 0))
                    .map_err(Stop::from)
            } else {
                run(&server, engine, session, spec, &mut request.args, now_ms)
            };
            let took_ns = watch.lap_ns();
            let outcome = match outcome {
                Err(Stop::Aside) => return Answer::postponed(Postponed::Aside(request)),
                Err(Stop::Refused(error)) => Err(error),
                Ok(done) => Ok(done),
            };
            match &outcome {
                _ if !is_queued => count(&server, session, command, took_ns, outcome.is_err()),
                // EXEC counts the command when it runs it
                Ok(_) => {}
                Err(_) => server.stats.rejected(command),
            }
            if server.slow.is_notable(took_ns) && !is_queued {
                note_slow(&server, session, spec, &request.args, took_ns);
            }
            outcome.unwrap_or_else(|error| failed(server, error))
        }
        Err(error) => {
            if let Lookup::Command(spec) = found {
                server.stats.rejected(server.commands.index(spec));
            }
            (Reply::Error(queue::refused(session, found, error)), 0)
        }
    };
    if let Reply::Error(error) = &reply {
        server.stats.error(error);
    }
    session.seen = session.seen.max(reflects);
    if session.caching.is_given {
        session.caching.forget_given(found, session.queue.is_some());
    }
    request.recycle();
    Answer::new(wanted(session, reply), reflects)
}

/// Refuses a request that is unknown, has the wrong number of words, or may not be sent now or by this user.
fn admit(server: View<'_>, session: &Session, found: Lookup, args: &[Bytes]) -> Result<&'static Spec, Error> {
    let spec = match found {
        Lookup::Command(spec) => spec,
        Lookup::UnknownCommand => return Err(unknown_command(&server, args)),
        Lookup::UnknownSubcommand(container) => return Err(unknown_subcommand(container, args)),
    };
    if !spec.takes(args.len()) {
        return Err(Error::Arity(Cow::Borrowed(spec.name)));
    }
    if !spec.is(Flags::NO_AUTH) && login::is_stranger(&server, session) {
        return Err(Error::NoAuth);
    }
    if !spec.is(Flags::ALLOW_BUSY) && server.is_busy() {
        return Err(server.busy());
    }
    permission::check(server, session, spec, args, permission::context(session))?;
    if session.is_listening() {
        admit_listener(session, spec)?;
    }
    Ok(spec)
}

/// Refuses what a connection that subscribes or monitors may not send: in RESP2 a reply could not be distinguished from
/// a message, and a connection that monitors counts as a replica.
fn admit_listener(session: &Session, spec: &Spec) -> Result<(), Error> {
    let in_resp2 = session.protocol == Protocol::Resp2 && session.subscriptions.are_any();
    if in_resp2 && !spec.is(Flags::WHILE_SUBSCRIBED) {
        return Err(Error::other(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context",
            spec.name
        )));
    }
    if session.monitoring && (spec.is(Flags::READONLY) || spec.has_effect()) {
        return Err(Error::other("ERR Replica can't interact with the keyspace"));
    }
    Ok(())
}

/// An error may tell of what it found, so it waits like every other reply; not one of the machine, whose trouble may be that
/// nothing becomes durable.
fn failed(server: View<'_>, error: Error) -> (Reply, Seq) {
    let reflects = if error.is_of_machine() { 0 } else { server.engine.last_seq() };
    (Reply::Error(error), reflects)
}

/// Applies CLIENT REPLY.
fn wanted(session: &mut Session, reply: Reply) -> Option<Reply> {
    match session.replies {
        Replies::On => Some(reply),
        // confirmations of subscriptions are sent nevertheless
        _ if matches!(reply, Reply::Push(_) | Reply::Sequence(_)) => Some(reply),
        Replies::Off => None,
        Replies::SkipNext => {
            session.replies = Replies::Skip;
            None
        }
        Replies::Skip => {
            session.replies = Replies::On;
            None
        }
    }
}

/// Whether this is a line of HTTP. As in Redis, such a connection is closed, because what follows may be commands that
/// a web page made a browser send.
fn is_http(args: &[Bytes]) -> bool {
    args.first().is_some_and(|word| word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:"))
}

/// As in Redis, the error has the name and the first arguments, up to 128 bytes of each. For a command that only Redis
/// has, it gives the reason.
fn unknown_command(server: &Shared, args: &[Bytes]) -> Error {
    let name =
        args.first().map(|name| String::from_utf8_lossy(shown(name, SHOWN_BYTES_MAX))).unwrap_or_default();
    if let Some(refusal) = compatibility::refusal(server.commands, &name) {
        return Error::other(refusal);
    }
    let mut arguments = Vec::new();
    for word in args.iter().skip(1) {
        if arguments.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let room = SHOWN_BYTES_MAX - arguments.len();
        arguments.extend([b"'", shown(word, room), b"' "].concat());
    }
    if args.len() < 2 {
        return Error::other(format!("ERR unknown command '{name}'"));
    }
    let arguments = String::from_utf8_lossy(&arguments);
    Error::other(format!("ERR unknown command '{name}', with args beginning with: {arguments}"))
}

fn unknown_subcommand(container: &Spec, args: &[Bytes]) -> Error {
    let word =
        args.get(1).map(|word| String::from_utf8_lossy(shown(word, SHOWN_BYTES_MAX))).unwrap_or_default();
    Error::other(format!("ERR unknown subcommand '{word}'. Try {} HELP.", container.name.to_uppercase()))
}

/// How many bytes of a word an error repeats.
const SHOWN_BYTES_MAX: usize = 128;

/// The first bytes of a word, up to a zero byte: Redis prints C strings.
fn shown(word: &[u8], bytes_max: usize) -> &[u8] {
    let text = word.split(|&byte| byte == 0).next().unwrap_or_default();
    &text[..text.len().min(bytes_max)]
}
