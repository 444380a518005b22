//! Runs the commands of an HTTP request through the gate, and waits for durability.
//!
//! The commands of a request run one after the other, on a thread that may block. The response waits until everything
//! that the request found or changed is as durable as the policy promises.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::client::Client;
use crate::command::base::permission;
use crate::command::{Flags, Server, Session, Spec, dispatch};
use crate::engine::{Claim, Seq, clock};
use crate::error::Error;
use crate::http::response::problem::Problem;
use crate::resp::{Reply, Request};

/// How often a paused request checks whether it may continue.
const PAUSE_STEP: Duration = Duration::from_millis(10);
/// What a command takes in memory beside its words.
const EFFECT_BYTES: usize = 256;

/// The caller, and the server.
pub struct Gate {
    pub server: Arc<Server>,
    pub session: Session,
}

impl Gate {
    /// Runs commands that only read.
    pub async fn read<R: Send + 'static>(
        self,
        run: impl FnOnce(&mut Talk) -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        self.pause(b"get").await;
        self.run(run).await.1
    }

    /// Runs commands that write about so many bytes, with this claim on the last room.
    pub async fn claim<R: Send + 'static>(
        self,
        claim: Claim,
        bytes: usize,
        run: impl FnOnce(&mut Talk) -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        self.pause(b"set").await;
        poll_fn(|cx| self.server.engine.poll_room(bytes + EFFECT_BYTES, claim, cx)).await?;
        self.run(run).await.1
    }

    /// Runs commands that write about so many bytes.
    pub async fn write<R: Send + 'static>(
        self,
        bytes: usize,
        run: impl FnOnce(&mut Talk) -> Result<R, Problem> + Send + 'static,
    ) -> Result<R, Problem> {
        self.claim(Claim::Ordinary, bytes, run).await
    }

    /// Runs commands that only read, and returns the gate for more.
    pub async fn page<R: Send + 'static>(
        self,
        run: impl FnOnce(&mut Talk) -> Result<R, Problem> + Send + 'static,
    ) -> Result<(Gate, R), Problem> {
        self.pause(b"get").await;
        let (gate, outcome) = self.run(run).await;
        let gate = gate.ok_or_else(|| Problem::ours("the request was lost"))?;
        Ok((gate, outcome?))
    }

    /// The most keys that a request about this store may name or return.
    pub fn keys_per_query(&self, store: &[u8]) -> usize {
        let view = self.server.view();
        let known = view.known_store(store).ok();
        let own = known.filter(|id| permission::may_use_store(&self.session, &view.store_label(*id)));
        own.map_or(self.server.config.keys_per_query(), |id| view.keys_per_query(id))
    }

    async fn run<R: Send + 'static>(
        self,
        run: impl FnOnce(&mut Talk) -> Result<R, Problem> + Send + 'static,
    ) -> (Option<Gate>, Result<R, Problem>) {
        let server = self.server.clone();
        let client = self.session.client.clone();
        client.has_left.store(false, Ordering::Relaxed);
        let _leaving = LeaveOnDrop(client);
        let ran = tokio::task::spawn_blocking(move || {
            let mut talk =
                Talk { server: self.server, session: self.session, reflects: 0, has_written: false };
            let outcome = run(&mut talk);
            (talk, outcome)
        });
        let Ok((talk, outcome)) = ran.await else {
            return (None, Err(Problem::ours("the request ended in a panic; the log says more")));
        };
        // refusals wait, too, because they reveal what was found
        let outcome = match poll_fn(|cx| server.engine.poll_acknowledged(talk.reflects, cx)).await {
            Ok(()) => outcome,
            Err(error) => Err(error.into()),
        };
        (Some(Gate { server, session: talk.session }), outcome)
    }

    /// Waits as long as CLIENT PAUSE delays a command like this.
    async fn pause(&self, like: &[u8]) {
        let Some(spec): Option<&Spec> = self.server.commands.find(like) else { return };
        while self.server.clients.holds_up(|| spec.has_effect(), clock::steady_ms)
            && !self.server.shutdown.is_raised()
        {
            tokio::time::sleep(PAUSE_STEP).await;
        }
    }
}

/// Waits while a script has the engine, at most until it makes the server busy.
pub async fn wait_for_script(server: &Server) -> Result<(), Problem> {
    const STEP: Duration = Duration::from_millis(100);
    let turnstile = &server.scripts.turnstile;
    while turnstile.is_closed() {
        if server.is_busy() {
            return Err(server.busy().into());
        }
        let patience = server.busy_in().unwrap_or(STEP).min(STEP);
        // whether it is open or not, the loop checks again
        let _ = tokio::time::timeout(patience, turnstile.opened()).await;
    }
    Ok(())
}

/// Dropped with the request, also when its client has left while commands run.
struct LeaveOnDrop(Arc<Client>);

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        self.0.has_left.store(true, Ordering::Relaxed);
    }
}

/// The commands of one request.
pub struct Talk {
    pub server: Arc<Server>,
    pub session: Session,
    reflects: Seq,
    /// A command that may have changed something has been run.
    has_written: bool,
}

/// Whether a missing store may be created (`auto-create-stores`): only for requests that write something into it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MissingStore {
    Refused,
    Created,
}

impl Talk {
    /// Runs a command.
    pub fn command(&mut self, words: Vec<Bytes>) -> Result<Reply, Problem> {
        self.versioned(words).map(|(reply, _)| reply)
    }

    /// Runs a command. Also returns the version of what it wrote, if anything.
    pub fn versioned(&mut self, args: Vec<Bytes>) -> Result<(Reply, Seq), Problem> {
        match self.answer(args)? {
            (Reply::Error(error), _) => Err(error.into()),
            answer => Ok(answer),
        }
    }

    /// Runs a command, whose reply may be an error.
    pub fn reply(&mut self, args: Vec<Bytes>) -> Result<Reply, Problem> {
        self.answer(args).map(|(reply, _)| reply)
    }

    fn answer(&mut self, args: Vec<Bytes>) -> Result<(Reply, Seq), Problem> {
        self.wait_for_script()?;
        let spec = args.first().and_then(|name| self.server.commands.find(name));
        let is_any = |flags| spec.is_some_and(|spec| spec.flags.intersects(flags));
        self.has_written |= is_any(Flags::WRITE | Flags::EXECUTES | Flags::SCRIPT);
        let runs_queue = is_any(Flags::EXECUTES)
            && self.session.queue.as_ref().is_some_and(|queue| queue.has(Flags::SCRIPT));
        let server = self.server.clone();
        // a script has the engine to itself; none begins while the server is busy, and the gate then refuses
        let is_script = runs_queue || (is_any(Flags::SCRIPT) && self.session.queue.is_none());
        let _closed = is_script.then(|| server.scripts.turnstile.close(|| server.is_busy()));
        let answer = dispatch(&self.server, &mut self.session, Request { args });
        self.reflects = self.reflects.max(answer.reflects);
        match answer.reply {
            Some(reply) => Ok((reply, answer.reflects)),
            None => Err(Problem::ours("a command gave no reply")),
        }
    }

    /// A script may have begun since the request was let in, while its body came or it waited for a thread. As long as the
    /// request has changed nothing, it ends when that script makes the server busy.
    fn wait_for_script(&self) -> Result<(), Problem> {
        if self.has_written || !self.server.scripts.turnstile.is_closed() {
            return Ok(());
        }
        Handle::current().block_on(wait_for_script(&self.server))
    }

    /// Selects a store, by number or name.
    pub fn enter(&mut self, store: &[u8], entry: MissingStore) -> Result<(), Problem> {
        let label = self.server.view().label_of_named_store(store);
        if !permission::may_use_store(&self.session, &label) {
            // refuses, and logs it
            self.command(words([b"SELECT", store]))?;
        }
        let id = match entry {
            MissingStore::Refused => self.server.view().known_store(store)?,
            MissingStore::Created => self.server.find_store(store)?,
        };
        self.session.select(id);
        Ok(())
    }

    /// Whether the caller may read a key of the store that it is in.
    pub fn may_read(&self, key: &[u8]) -> bool {
        let store = self.server.view().store_label(self.session.store);
        permission::may_read(&self.server, &self.session, &store, Some(key))
    }

    /// Runs commands as one transaction. `None` if a watched key has changed.
    pub fn together(&mut self, commands: Vec<Vec<Bytes>>) -> Result<Option<(Vec<Reply>, Seq)>, Problem> {
        self.command(words([b"MULTI"]))?;
        for command in commands {
            self.command(command)?;
        }
        let (reply, version) = self.versioned(words([b"EXEC"]))?;
        match reply {
            Reply::Array(replies) => match replies.into_iter().map(done).collect::<Result<_, _>>() {
                Ok(replies) => Ok(Some((replies, version))),
                Err(error) => Err(error.into()),
            },
            _ => Ok(None),
        }
    }
}

fn done(reply: Reply) -> Result<Reply, Error> {
    match reply {
        Reply::Error(error) => Err(error),
        reply => Ok(reply),
    }
}

/// The words of a command.
pub fn words<const N: usize>(words: [&[u8]; N]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word)).collect()
}

/// A reply that is an array.
pub fn items(reply: Reply) -> Result<Vec<Reply>, Problem> {
    match reply {
        Reply::Array(items) => Ok(items),
        _ => Err(Problem::ours("a command gave another reply than a list")),
    }
}

/// A reply that is a value or nothing.
pub fn value(reply: Reply) -> Result<Option<Bytes>, Problem> {
    match reply {
        Reply::Bulk(value) => Ok(Some(value)),
        Reply::Null => Ok(None),
        _ => Err(Problem::ours("a command gave another reply than a value")),
    }
}

/// A reply that is an integer.
pub fn integer(reply: &Reply) -> Result<i64, Problem> {
    match reply {
        Reply::Integer(number) => Ok(*number),
        _ => Err(Problem::ours("a command gave another reply than an integer")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::http::request::gate::*;
    use crate::http::testing::Api;

    /// A request that was let in before a script began, for example one whose body came slowly, doesn't wait for the
    /// end of the script.
    #[tokio::test]
    async fn who_was_let_in_before_a_script_is_told_that_the_server_is_busy() {
        let api = Api::new();
        let busy_after_ms = |ms| api.server.config.update(|settings| settings.busy_reply_threshold_ms = ms);
        busy_after_ms(3_600_000);
        let gate = || Gate {
            server: api.server.clone(),
            session: crate::command::tests::harness::session(&api.server),
        };
        let (before, late) = (gate(), gate());
        let get = || words([b"GET", b"k"]);
        let closed = api.server.scripts.turnstile.close(|| false).unwrap();
        let script = api.server.scripts.running.begin(crate::script::Runs::Script);
        // a request that has changed something continues, because a refusal would not tell what has happened
        let done = late.write(1, move |talk| {
            talk.has_written = true;
            talk.command(get())
        });
        assert_eq!(done.await.unwrap(), Reply::Null);
        busy_after_ms(200);
        let problem = before.read(move |talk| talk.command(get())).await.unwrap_err();
        assert_eq!(problem.told().0, "BUSY");
        drop((script, closed));
        assert_eq!(gate().read(move |talk| talk.command(get())).await.unwrap(), Reply::Null);
    }
}
