//! One connection: reads bytes, runs requests, sends replies.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::outbox::{Asked, KEPT_BYTES, Outbox, Outcome, Outlet, emptied};
use super::round::Round;
use crate::client::Client;
use crate::command::base::login;
use crate::command::base::queue::Queue;
use crate::command::base::table::Lookup;
use crate::command::dispatch::{Answer, dispatch_found};
use crate::command::{Flags, Postponed, Server, Session, Spec};
use crate::config::Limit;
use crate::engine::Seq;
use crate::engine::clock::{self, Stopwatch};
use crate::error::Error;
use crate::limits::{ASIDE_BYTES, STRANGER_S};
use crate::resp::{Output, Parser, ProtocolError, Reply, Request, RequestLimits, encode_sharing};

/// Requests that are taken from what was received before the first of them runs.
const REQUESTS_AT_ONCE: usize = 32;
/// The least room for a read.
const READ_BYTES: usize = 16 * 1024;
/// Replies are sent when they reach this, even if more requests have been received.
const OUTPUT_BYTES: usize = 64 * 1024;
/// If at least so many requests were received together, their replies are sent by the delivery thread. Where two cores
/// serve the clients as well, that costs a tenth to a fifth with pipelines of 4, breaks even with 12, and gains with
/// longer ones.
const DELIVERED_FROM: usize = 12;
/// How long a connection runs requests before it lets others run theirs. The request that is running then is not
/// interrupted, but requests that may be long run [aside](Connection::run_aside).
const TURN: Duration = Duration::from_millis(2);
/// Shorter replies are not compared with `client-output-buffer-limit`, as in Redis.
const UNLIMITED_OUTPUT_BYTES: usize = 16 * 1024;
/// How often a paused connection checks whether it may continue.
const PAUSE_STEP: Duration = Duration::from_millis(10);
/// How long replies wait for a client that has not authenticated and doesn't read them.
const STRANGER_PATIENCE: Duration = Duration::from_secs(2);

/// Where a connection comes from.
pub struct Peer {
    pub address: String,
    pub local_address: String,
    pub unix: bool,
    pub file_descriptor: i32,
}

/// The sending side of a new connection.
pub enum Link {
    Plain(Outlet),
    /// With TLS, whose two directions share state, the connection's own task sends the replies.
    Sealed(Box<dyn AsyncWrite + Send + Sync + Unpin>),
}

/// Serves a connection until either side closes it.
pub async fn run<R: AsyncRead + Unpin>(
    server: Arc<Server>,
    round: Arc<Round>,
    reader: R,
    link: Link,
    peer: Peer,
) {
    let client = Arc::new(new_client(&server, peer));
    server.stats.mine().connections.fetch_add(1, Ordering::Relaxed);
    server.clients.add(client.clone());
    let Some(mut session) = begin(&server, &round, client.clone()).await else {
        server.clients.remove(client.id);
        return;
    };
    // commands run on a thread that also serves others
    session.may_block = false;
    session.may_be_held = true;
    let mut connection = Connection {
        session,
        server: server.clone(),
        round,
        reader,
        writer: match link {
            Link::Plain(outlet) => Writer::Plain(Arc::new(Outbox::new(outlet, client.clone()))),
            Link::Sealed(writer) => Writer::Sealed(writer),
        },
        input: BytesMut::new(),
        requests: VecDeque::new(),
        output: Output::default(),
        parser: Parser::new(),
        reflects: 0,
        answered: 0,
        is_delivering: false,
        has_left: false,
        watch: Stopwatch::start(),
        arrived: Stopwatch::start(),
        strange_since_ms: None,
    };
    if let Err(error) = connection.serve().await {
        tracing::debug!(id = client.id, address = client.address, %error, "connection lost");
    }
    server.clients.remove(client.id);
    connection.session.detach(server.view());
    client.mailbox.close();
}

/// The session of a new connection. Finding the store of its user needs the engine, so while a script has the engine, a
/// thread that may block does it. `None` if the server ends.
async fn begin(server: &Arc<Server>, round: &Round, client: Arc<Client>) -> Option<Session> {
    if let Some(_inside) = server.scripts.turnstile.enter(&round.slot) {
        return Some(login::begin(server, client));
    }
    let server = server.clone();
    tokio::task::spawn_blocking(move || login::begin(&server, client)).await.ok()
}

thread_local! {
    /// The buffer for the next read of this thread. A connection has a buffer of its own only while it has received something
    /// that has not run: most connections are idle most of the time, and the first page of each buffer would be in memory.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// Reads what is available, with the thread's buffer if the connection has none. Leaves the buffer to others if nothing was received.
fn poll_read<R: AsyncRead + Unpin>(
    reader: &mut R,
    input: &mut BytesMut,
    client: &Client,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if input.is_empty() && (input.capacity() == 0 || input.capacity() > KEPT_BYTES) {
        *input = SPARE.take();
    }
    input.reserve(READ_BYTES);
    let polled = pin!(reader.read_buf(input)).poll(cx);
    if polled.is_pending() && input.is_empty() {
        SPARE.set(std::mem::take(input));
        client.query_room.store(0, Ordering::Relaxed);
    }
    polled
}

struct Connection<R> {
    server: Arc<Server>,
    /// What the connections of this thread do together.
    round: Arc<Round>,
    session: Session,
    reader: R,
    writer: Writer,
    /// Received and not yet parsed. Without room while the connection is idle.
    input: BytesMut,
    /// Parsed and not yet run.
    requests: VecDeque<(Lookup, Request)>,
    /// Replies not yet sent.
    output: Output,
    parser: Parser,
    /// The change that the replies in `output` must not overtake.
    reflects: Seq,
    /// Requests whose replies are in `output`.
    answered: usize,
    /// Whether replies were handed over to the delivery thread and not asked about since.
    is_delivering: bool,
    /// Whether the client has left while a command ran for it.
    has_left: bool,
    /// Measures the requests that were received together.
    watch: Stopwatch,
    /// Runs since they were received.
    arrived: Stopwatch,
    /// Since when, by the steady clock, it has not authenticated, or not sent anything.
    strange_since_ms: Option<u64>,
}

enum Writer {
    Plain(Arc<Outbox>),
    Sealed(Box<dyn AsyncWrite + Send + Sync + Unpin>),
}

impl Writer {
    /// Sends everything, waiting for the client, and flushes, because TLS may hold back what was only written.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Writer::Plain(outbox) => outbox.send(bytes).await,
            Writer::Sealed(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Ready when the delivery thread returns replies that it could not send.
    async fn returned(&self) {
        match self {
            Writer::Plain(outbox) => outbox.returned().await,
            Writer::Sealed(_) => std::future::pending().await,
        }
    }

    /// Ready when the client has left. For TLS connections that is not known before something is sent.
    async fn left(&self) {
        match self {
            Writer::Plain(outbox) => outbox.left().await,
            Writer::Sealed(_) => std::future::pending().await,
        }
    }

    /// The shared sending side; `None` with TLS.
    fn outbox(&self) -> Option<Arc<Outbox>> {
        match self {
            Writer::Plain(outbox) => Some(outbox.clone()),
            Writer::Sealed(_) => None,
        }
    }

    /// Closes the TLS session; a plain socket is closed when it is dropped.
    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Writer::Plain(_) => Ok(()),
            Writer::Sealed(stream) => stream.shutdown().await,
        }
    }
}

impl<R: AsyncRead + Unpin> Connection<R> {
    async fn serve(&mut self) -> io::Result<()> {
        while self.receive().await? {
            let outcome = self.run_received().await;
            self.flush().await?;
            if !outcome? || self.session.closing || self.session.client.kill.is_raised() {
                break;
            }
        }
        self.await_delivery().await?;
        // if they were refused, the reason still has to be sent
        self.flush().await?;
        self.writer.shutdown().await
    }

    /// Reads what is available. Returns false if the connection has to end.
    async fn receive(&mut self) -> io::Result<bool> {
        let patience = self.patience();
        let client = self.session.client.clone();
        let read = poll_fn(|cx| poll_read(&mut self.reader, &mut self.input, &client, cx));
        let received = tokio::select! {
            biased;
            received = within(patience, read) => received?,
            () = client.disturbed() => return Ok(!client.kill.is_raised()),
            () = self.writer.returned(), if self.is_delivering => {
                self.await_delivery().await?;
                return Ok(true);
            }
        };
        client.bytes_in.fetch_add(received as u64, Ordering::Relaxed);
        self.show_input();
        self.server.stats.received(received);
        Ok(received > 0 && !client.kill.is_raised())
    }

    /// How long it may be silent from now on; `None` for ever. The time of an unauthenticated connection is counted
    /// from its beginning, whatever it sends, so that nobody can occupy connections without a password.
    fn patience(&mut self) -> Option<Duration> {
        let idle_s = if self.session.is_listening() { 0 } else { self.server.config.timeout_s() };
        let idle = (idle_s > 0).then(|| Duration::from_secs(idle_s));
        let has_spoken = self.session.client.bytes_in.load(Ordering::Relaxed) > 0;
        if has_spoken && !login::is_stranger(&self.server, &self.session) {
            self.strange_since_ms = None;
            return idle;
        }
        let since_ms = *self.strange_since_ms.get_or_insert_with(clock::steady_ms);
        let left = Duration::from_secs(STRANGER_S)
            .saturating_sub(Duration::from_millis(clock::steady_ms().saturating_sub(since_ms)));
        Some(idle.map_or(left, |idle| idle.min(left)))
    }

    /// Runs every complete request that was received. Returns false if the connection has to end.
    async fn run_received(&mut self) -> io::Result<bool> {
        self.watch = Stopwatch::start();
        self.arrived = self.watch;
        let bulk_bytes_max = self.server.config.proto_max_bulk_len();
        let request_bytes_max = self.server.config.client_query_buffer_limit();
        loop {
            let limits = RequestLimits {
                authenticated: !login::is_stranger(&self.server, &self.session),
                bulk_bytes_max,
                request_bytes_max,
            };
            let end = self.take_requests(&limits);
            loop {
                let is_postponed = self.run_ready();
                if self.session.closing {
                    return Ok(false);
                }
                if self.output.len() >= OUTPUT_BYTES {
                    self.flush().await?;
                    self.watch = Stopwatch::start();
                    continue;
                }
                if self.watch.ran() >= TURN {
                    // lets others run; the rest of what was received runs after them
                    tokio::task::yield_now().await;
                    self.watch = Stopwatch::start();
                    // to find out that a request has to wait may have taken the whole turn, and would again
                    if !is_postponed {
                        continue;
                    }
                }
                let Some((found, request)) = self.requests.pop_front() else { break };
                self.run_request(found, request).await?;
            }
            match end {
                Ok(true) => {}
                Ok(false) => {
                    self.show_input();
                    return Ok(true);
                }
                Err(error) => {
                    if matches!(error, ProtocolError::RequestTooLong(_)) {
                        self.server.stats.mine().overlong_requests.fetch_add(1, Ordering::Relaxed);
                    }
                    self.server.stats.error(&Error::from(error));
                    encode_sharing(&Reply::Error(error.into()), self.session.protocol, &mut self.output);
                    return Ok(false);
                }
            }
        }
    }

    /// Publishes how much was received and has not run, for CLIENT LIST.
    fn show_input(&self) {
        let client = &self.session.client;
        client.query_buffer.store(self.input.len(), Ordering::Relaxed);
        client.query_room.store(self.input.capacity() - self.input.len(), Ordering::Relaxed);
    }

    /// Parses some of the requests that were received. Returns whether there may be more. The limits of an
    /// unauthenticated client may change with each request, so its requests are parsed one by one.
    fn take_requests(&mut self, limits: &RequestLimits) -> Result<bool, ProtocolError> {
        let requests_max = if limits.authenticated { REQUESTS_AT_ONCE } else { 1 };
        while self.requests.len() < requests_max {
            match self.parser.next(&mut self.input, limits)? {
                Some(request) => {
                    self.requests.push_back((self.server.commands.lookup(&request.args), request))
                }
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Prefetches the records of all parsed requests in parallel, before each request would wait for its own.
    fn warm_up(&self) {
        self.server.engine.warm_up(self.session.store, self.keys_ahead());
    }

    /// The first key of each parsed request.
    fn keys_ahead(&self) -> impl Iterator<Item = &Bytes> {
        self.requests.iter().filter_map(|(found, request)| match found {
            Lookup::Command(spec) => request.args.get(spec.keys.positions(&request.args).next()?),
            Lookup::UnknownCommand | Lookup::UnknownSubcommand(_) => None,
        })
    }

    /// Runs the taken requests one after another, up to the first that may have to wait for something. Returns whether it
    /// tried to run that one.
    fn run_ready(&mut self) -> bool {
        let (server, round) = (self.server.clone(), self.round.clone());
        let Some(_inside) = server.scripts.turnstile.enter(&round.slot) else { return false };
        if self.requests.len() > 1 {
            self.warm_up();
        }
        let bytes = self.requests.iter().map(|(_, request)| room_for(request)).sum();
        let has_room = server.engine.has_room(bytes);
        while let Some((Lookup::Command(spec), request)) = self.requests.front()
            && self.session.queue.is_none()
            && !spec.is(Flags::LONG)
            && !spec.is(Flags::SCRIPT)
            // a password may have to wait
            && !spec.is(Flags::NO_AUTH)
            && (has_room || !spec.is(Flags::WRITE))
            && (bytes <= ASIDE_BYTES || room_for(request) <= ASIDE_BYTES)
            && self.output.len() < OUTPUT_BYTES
            && self.watch.ran() < TURN
            && !self.session.closing
            && let Some((found, request)) = self.requests.pop_front()
        {
            let answer = dispatch_found(&server, &mut self.session, &mut self.watch, found, request);
            if let Some(Postponed::Aside(request) | Postponed::Held(request)) = answer.postponed {
                // the first that may have to wait
                self.requests.push_front((found, request));
                return true;
            }
            self.take_answer(&answer);
        }
        false
    }

    async fn run_request(&mut self, found: Lookup, request: Request) -> io::Result<()> {
        let spec = match found {
            Lookup::Command(spec) => Some(spec),
            Lookup::UnknownCommand | Lookup::UnknownSubcommand(_) => None,
        };
        if let Some(spec) = spec {
            if spec.is(Flags::NO_AUTH) {
                self.wait_after_guesses(spec, &request).await?;
            }
            if (self.will(Flags::WRITE, spec) || self.will(Flags::SCRIPT, spec))
                && let Err(error) = self.wait_for_room(spec, &request).await
            {
                encode_sharing(&Reply::Error(error), self.session.protocol, &mut self.output);
                return Ok(());
            }
        }
        let bytes = request.args.iter().map(Bytes::len).sum();
        self.session.client.argument_bytes.store(bytes, Ordering::Relaxed);
        let answer = self.answer(spec, found, request).await?;
        if let Some(Postponed::Aside(request) | Postponed::Held(request)) = answer.postponed {
            self.wait_for_end_of_pause().await?;
            self.requests.push_front((found, request));
            return Ok(());
        }
        self.session.client.argument_bytes.store(0, Ordering::Relaxed);
        self.take_answer(&answer);
        Ok(())
    }

    /// Runs a request here or aside, as it needs; only a pause can postpone it.
    async fn answer(
        &mut self,
        spec: Option<&'static Spec>,
        found: Lookup,
        request: Request,
    ) -> io::Result<Answer> {
        match spec {
            Some(spec) if self.is_long(spec, &request) => {
                self.wait_for_script(spec).await?;
                self.run_aside(found, request, self.will(Flags::SCRIPT, spec), Vec::new()).await
            }
            Some(spec) => match self.run_here(spec, found, request).await? {
                Answer { postponed: Some(Postponed::Aside(request)), .. } => {
                    self.wait_for_script(spec).await?;
                    // if this one waits for the disk, the next ones are likely to
                    let ahead = self.keys_ahead().cloned().collect();
                    self.run_aside(found, request, false, ahead).await
                }
                answer => Ok(answer),
            },
            None => Ok(dispatch_found(&self.server, &mut self.session, &mut self.watch, found, request)),
        }
    }

    /// Adds the reply, and the messages from others that go before and after it.
    fn take_answer(&mut self, answer: &Answer) {
        self.reflects = self.reflects.max(answer.reflects);
        self.answered += 1;
        let first = std::mem::take(&mut self.session.messages_first);
        self.take_messages(first, usize::MAX);
        if let Some(reply) = &answer.reply {
            encode_sharing(reply, self.session.protocol, &mut self.output);
        }
        self.take_messages(usize::MAX, OUTPUT_BYTES);
    }

    /// Runs a short request on this thread, as soon as no script has the engine. While a script makes the server busy,
    /// only refusals by the gate and commands that end scripts run.
    async fn run_here(&mut self, spec: &'static Spec, found: Lookup, request: Request) -> io::Result<Answer> {
        loop {
            if let Some(_inside) = self.server.scripts.turnstile.enter(&self.round.slot) {
                let (server, session, watch) = (&self.server, &mut self.session, &mut self.watch);
                return Ok(dispatch_found(server, session, watch, found, request));
            }
            if spec.is(Flags::ENDS_SCRIPTS) && self.session.account.is_unrestricted() {
                let (server, session, watch) = (&self.server, &mut self.session, &mut self.watch);
                return Ok(dispatch_found(server, session, watch, found, request));
            }
            if spec.is(Flags::ALLOW_BUSY) || self.server.is_busy() {
                // it may still have to wait for the engine
                return self.run_aside(found, request, false, Vec::new()).await;
            }
            self.wait_for_script(spec).await?;
        }
    }

    /// Waits while a script runs, at most until it makes the server busy.
    async fn wait_for_script(&mut self, spec: &Spec) -> io::Result<()> {
        const STEP: Duration = Duration::from_millis(100);
        while self.server.scripts.turnstile.is_closed()
            && !spec.is(Flags::ALLOW_BUSY)
            && !self.server.is_busy()
            && !self.session.client.kill.is_raised()
        {
            self.flush().await?;
            let patience = self.server.busy_in().unwrap_or(STEP).min(STEP);
            // whether it is open or not, the loop checks again
            let _ = tokio::time::timeout(patience, self.server.scripts.turnstile.opened()).await;
            self.watch = Stopwatch::start();
        }
        Ok(())
    }

    /// Runs a request that may take long on a thread that may block; a script runs when its turn comes. The records of the
    /// keys in `ahead` are asked for first, so that the disk reads all of them at the same time.
    async fn run_aside(
        &mut self,
        found: Lookup,
        request: Request,
        is_script: bool,
        ahead: Vec<Bytes>,
    ) -> io::Result<Answer> {
        let server = self.server.clone();
        let placeholder = Session::new(self.session.client.clone(), self.session.account.clone(), false);
        let mut session = std::mem::replace(&mut self.session, placeholder);
        session.may_block = true;
        let running = tokio::task::spawn_blocking(move || {
            // no script begins while the server is busy; the gate then refuses
            let _closed = is_script.then(|| server.scripts.turnstile.close(|| server.is_busy()));
            if !ahead.is_empty() {
                server.engine.fetch_cold(session.store, ahead.iter());
            }
            let answer = dispatch_found(&server, &mut session, &mut Stopwatch::start(), found, request);
            (session, answer)
        });
        let mut running = pin!(running);
        let ended = tokio::select! {
            biased;
            ended = &mut running => ended,
            () = self.writer.left(), if !self.has_left => {
                self.has_left = true;
                self.session.client.has_left.store(true, Ordering::Relaxed);
                running.await
            }
        };
        let (session, answer) = ended?;
        self.session = session;
        self.session.may_block = false;
        self.watch = Stopwatch::start();
        Ok(answer)
    }

    /// Adds messages from others to the replies.
    fn take_messages(&mut self, count_max: usize, bytes_max: usize) {
        let reflects = self.session.client.mailbox.take(self.output.tail(), count_max, bytes_max);
        self.reflects = self.reflects.max(reflects);
    }

    /// Whether a command has these flags, or may run a transaction that has them.
    fn will(&self, flags: Flags, spec: &Spec) -> bool {
        spec.is(flags) || self.session.queue.as_ref().is_some_and(|queue| queue.has(flags))
    }

    /// Whether a request may take long: because of its command, its size, or what a transaction has queued. A request
    /// that is only queued does not.
    fn is_long(&self, spec: &Spec, request: &Request) -> bool {
        match &self.session.queue {
            Some(queue) if spec.is(Flags::EXECUTES) => queue.is_long(),
            Some(_) => false,
            None => spec.is(Flags::LONG) || room_for(request) > ASIDE_BYTES,
        }
    }

    /// Waits until there is room in memory and in the journal for a write of this size.
    async fn wait_for_room(&self, spec: &Spec, request: &Request) -> Result<(), Error> {
        let bytes = self.session.queue.as_ref().map_or(0, Queue::bytes) + room_for(request);
        let queued = self.session.queue.as_ref().and_then(Queue::claim);
        let claim = queued.into_iter().chain(spec.writes().then(|| spec.claim())).min().unwrap_or_default();
        Ok(poll_fn(|cx| self.server.engine.poll_room(bytes, claim, cx)).await?)
    }

    /// Waits until the pause has ended or was replaced by another one. Messages from others are sent meanwhile.
    async fn wait_for_end_of_pause(&mut self) -> io::Result<()> {
        let (server, client) = (self.server.clone(), self.session.client.clone());
        let _held = server.clients.hold(&client);
        let pause = server.clients.current_pause();
        let outbox = self.writer.outbox();
        let mut left = pin!(async {
            match &outbox {
                Some(outbox) => outbox.left().await,
                None => std::future::pending().await,
            }
        });
        while pause.until_ms > clock::steady_ms() && server.clients.current_pause() == pause {
            self.flush().await?;
            tokio::select! {
                biased;
                () = client.kill.raised() => return Err(io::ErrorKind::ConnectionAborted.into()),
                // as in Redis, its last request is dropped
                () = &mut left => return Err(io::ErrorKind::ConnectionAborted.into()),
                () = client.mailbox.filled() => {}
                () = tokio::time::sleep(PAUSE_STEP) => {}
            }
        }
        self.watch = Stopwatch::start();
        Ok(())
    }

    /// Waits before a password is checked, if several from the same address were wrong.
    async fn wait_after_guesses(&mut self, spec: &Spec, request: &Request) -> io::Result<()> {
        let has_password = spec.is(Flags::NO_AUTH) && spec.secrets.first(&request.args).is_some();
        let server = &self.server;
        let delay = server.guesses.delay(&self.session.client.address, clock::steady_ms());
        if has_password && !delay.is_zero() {
            self.flush().await?;
            tokio::time::sleep(delay).await;
            self.watch = Stopwatch::start();
        }
        Ok(())
    }

    /// Waits for the end of the round, and until everything that the replies reflect is as durable as the policy
    /// promises.
    async fn acknowledged(&self) -> Result<(), Error> {
        let mut round = pin!(self.round.ended());
        let mut has_ended = false;
        poll_fn(|cx| {
            // polled first, so that the end of the round knows who waits
            let outcome = self.server.engine.poll_gathered(self.reflects, cx);
            has_ended = has_ended || round.as_mut().poll(cx).is_ready();
            if has_ended { outcome } else { Poll::Pending }
        })
        .await?;
        Ok(())
    }

    /// Sends the replies when everything that they reflect is as durable as the policy promises. This is the one place
    /// where replies leave, from here or by delivery.
    async fn flush(&mut self) -> io::Result<()> {
        self.take_messages(usize::MAX, OUTPUT_BYTES);
        if self.output.is_empty() {
            return Ok(());
        }
        self.await_delivery().await?;
        let answered = std::mem::take(&mut self.answered);
        if let Writer::Plain(outbox) = &self.writer
            && answered >= DELIVERED_FROM
            && self.session.authenticated
            && !self.session.closing
            && !self.output.is_shared()
            && self.server.engine.is_acknowledged_soon(self.reflects)
        {
            outbox.hand_in(
                self.output.tail(),
                self.reflects,
                Asked { requests: answered, since: self.arrived },
            );
            self.round.hand_over(outbox.clone());
            self.is_delivering = true;
            return Ok(());
        }
        if let Err(error) = self.acknowledged().await {
            self.refuse_replies(error);
        }
        let replies = std::mem::take(&mut self.output);
        self.output = self.send(replies).await?;
        let mut arrived = self.arrived;
        self.server.stats.answered(answered, arrived.lap_ns());
        Ok(())
    }

    /// Waits until the replies that went before have left.
    async fn await_delivery(&mut self) -> io::Result<()> {
        let Writer::Plain(outbox) = &self.writer else { return Ok(()) };
        if !std::mem::take(&mut self.is_delivering) {
            return Ok(());
        }
        match outbox.delivered().await {
            Outcome::Sent => {}
            Outcome::Unsent(rest) => drop(self.send(rest.into()).await?),
            Outcome::Refused(error) => self.refuse_replies(error),
        }
        Ok(())
    }

    /// The changes that the replies show may be lost, so none of them is sent, but the error.
    fn refuse_replies(&mut self, error: Error) {
        self.output.clear();
        self.session.closing = true;
        encode_sharing(&Reply::Error(error), self.session.protocol, &mut self.output);
    }

    /// Sends replies from here, as fast as the client takes them. Returns their buffer.
    async fn send(&mut self, mut replies: Output) -> io::Result<Output> {
        let (client, bytes) = (&self.session.client, replies.len());
        client.output_buffer.store(bytes, Ordering::Relaxed);
        client.own_output.store(replies.own_bytes(), Ordering::Relaxed);
        let limit = self.limit_on(bytes);
        if limit.hard_bytes > 0 && bytes as u64 > limit.hard_bytes {
            return Err(self.refuse_to_wait());
        }
        let sent_at_once = match &self.writer {
            // mostly the socket takes all of it, and nothing has to be waited for
            Writer::Plain(outbox) if !replies.is_shared() => outbox.send_some(replies.front())?,
            _ => 0,
        };
        if sent_at_once < bytes {
            replies.advance(sent_at_once);
            self.send_rest(&mut replies, limit).await?;
        }
        let client = &self.session.client;
        client.output_buffer.store(0, Ordering::Relaxed);
        client.own_output.store(0, Ordering::Relaxed);
        client.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        self.server.stats.sent(bytes);
        Ok(emptied(std::mem::take(replies.tail())).into())
    }

    /// Sends replies as fast as the client takes them, and frees each piece that has left.
    async fn send_rest(&mut self, replies: &mut Output, limit: Limit) -> io::Result<()> {
        let client = &self.session.client;
        let is_stranger = !self.session.authenticated;
        let writer = &mut self.writer;
        let mut next_look = replies.len() / 2;
        let sending = async {
            while replies.is_shared() {
                let piece = replies.front();
                let sent = piece.len();
                writer.send(piece).await?;
                replies.advance(sent);
                client.output_buffer.store(replies.len(), Ordering::Relaxed);
                // computing it looks at all pieces, so it isn't done after each of them
                if replies.len() <= next_look {
                    client.own_output.store(replies.own_bytes(), Ordering::Relaxed);
                    next_look = replies.len() / 2;
                }
            }
            writer.send(replies.front()).await
        };
        tokio::select! {
            biased;
            sent = sending => sent,
            // no replies are kept for long for an unauthenticated client
            () = tokio::time::sleep(STRANGER_PATIENCE), if is_stranger => {
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            () = waited_too_long(client, limit) => Err(self.refuse_to_wait()),
            // a client that doesn't read can still be killed
            () = stalled(client) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// The `client-output-buffer-limit` that applies to so many bytes of replies.
    fn limit_on(&self, bytes: usize) -> Limit {
        if bytes <= UNLIMITED_OUTPUT_BYTES {
            return Limit::default();
        }
        if self.session.subscriptions.are_any() {
            return self.server.push.post.limit();
        }
        self.server.config.normal_output()
    }

    /// The client has too much to read.
    fn refuse_to_wait(&self) -> io::Error {
        let client = &self.session.client;
        self.server.push.post.note_overflow(client);
        io::ErrorKind::ConnectionAborted.into()
    }
}

/// Ready when more than the soft limit has waited for as long as it may.
async fn waited_too_long(client: &Client, limit: Limit) {
    let waits = || client.output_buffer.load(Ordering::Relaxed) as u64 > limit.soft_bytes;
    if limit.soft_bytes == 0 || !waits() {
        return std::future::pending().await;
    }
    tokio::time::sleep(Duration::from_secs(limit.soft_s)).await;
    if !waits() {
        std::future::pending().await
    }
}

/// The most room in the journal that a write of ordinary size needs.
fn room_for(request: &Request) -> usize {
    const EFFECT_BYTES: usize = 64;
    request.args.iter().map(|arg| arg.len() + EFFECT_BYTES).sum()
}

/// Ready when the client was killed and takes no replies.
async fn stalled(client: &Client) {
    const LAST_CHANCE: Duration = Duration::from_secs(1);
    client.kill.raised().await;
    if !client.overflowed.load(Ordering::Relaxed) {
        tokio::time::sleep(LAST_CHANCE).await;
    }
}

async fn within(
    patience: Option<Duration>,
    read: impl Future<Output = io::Result<usize>>,
) -> io::Result<usize> {
    let Some(patience) = patience else { return read.await };
    match tokio::time::timeout(patience, read).await {
        Ok(received) => received,
        // silence is an end, not an error
        Err(_) => Ok(0),
    }
}

fn new_client(server: &Server, peer: Peer) -> Client {
    let Peer { address, local_address, unix, file_descriptor } = peer;
    Client {
        unix,
        file_descriptor,
        ..Client::new(server.clients.next_id(), address, local_address, clock::steady_ms())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::COMMANDS;
    use tokio::io::DuplexStream;

    use super::*;
    use crate::config::Config;
    use crate::engine::{Engine, Options};
    use crate::net::delivery::Delivery;

    /// A connection, which tells when it has ended, and its client's side.
    fn connect(server: &Arc<Server>) -> (tokio::task::JoinHandle<()>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(ours);
        let server = server.clone();
        let delivery = Arc::new(Delivery::default());
        let round = Arc::new(Round::new(delivery, server.scripts.turnstile.slot()));
        let (ending, engine) = (round.clone(), server.engine.clone());
        let peer =
            Peer { address: String::new(), local_address: String::new(), unix: false, file_descriptor: -1 };
        let task = tokio::spawn(async move {
            let settling = tokio::spawn(async move {
                ending.finish(|| engine.is_sync_due(), || engine.sync_gathered()).await
            });
            run(server, round, reader, Link::Sealed(Box::new(writer)), peer).await;
            settling.abort();
        });
        (task, theirs)
    }

    /// Sends, and reads a reply of so many bytes.
    async fn ask(client: &mut DuplexStream, words: &str, reply: &str) {
        client.write_all(words.as_bytes()).await.unwrap();
        let mut read = vec![0; reply.len()];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&read), reply);
    }

    #[tokio::test]
    async fn every_request_is_counted_with_how_long_its_client_waited() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::new(dir.path())).unwrap();
        let server = Arc::new(Server::new(&COMMANDS, engine, Config::default(), clock::steady_ms()));
        let (_task, mut client) = connect(&server);
        let (pipeline, replies) = ("SET k 1\r\n".repeat(50), "+OK\r\n".repeat(50));
        for (words, reply, requests) in [
            ("PING\r\n", "+PONG\r\n", 1),
            ("SET k 1\r\nGET k\r\n", "+OK\r\n$1\r\n1\r\n", 2),
            (&pipeline, &replies, 50),
            ("MULTI\r\nINCR k\r\nEXEC\r\n", "+OK\r\n+QUEUED\r\n*1\r\n:2\r\n", 3),
            ("GET\r\n", "-ERR wrong number of arguments for 'get' command\r\n", 1),
        ] {
            let before = server.stats.responses().total();
            ask(&mut client, words, reply).await;
            // the last of them is counted once its reply has left
            while server.stats.responses().total() < before + requests {
                tokio::task::yield_now().await;
            }
            ask(&mut client, "PING\r\n", "+PONG\r\n").await;
            while server.stats.responses().total() < before + requests + 1 {
                tokio::task::yield_now().await;
            }
            assert_eq!(server.stats.responses().total(), before + requests + 1, "{words}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_have_a_deadline_and_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::new(dir.path())).unwrap();
        let server = Arc::new(Server::new(&COMMANDS, engine, Config::default(), clock::steady_ms()));
        let (ended, _silent) = connect(&server);
        let (known, mut client) = connect(&server);
        ask(&mut client, "PING\r\n", "+PONG\r\n").await;
        // the clock is the test's: it advances when no task has anything to do
        ended.await.unwrap();
        tokio::time::sleep(Duration::from_secs(100 * STRANGER_S)).await;
        ask(&mut client, "PING\r\n", "+PONG\r\n").await;
        assert!(!known.is_finished());

        server.acl.set_default_password(Some("pw"));
        let (ended, mut stranger) = connect(&server);
        let (known, mut client) = connect(&server);
        ask(&mut stranger, "PING\r\n", "-NOAUTH Authentication required.\r\n").await;
        ask(&mut client, "AUTH pw\r\n", "+OK\r\n").await;
        ended.await.unwrap();
        tokio::time::sleep(Duration::from_secs(100 * STRANGER_S)).await;
        // RESET makes it a stranger again, from now on
        ask(&mut client, "RESET\r\n", "+RESET\r\n").await;
        ask(&mut client, "AUTH pw\r\n", "+OK\r\n").await;
        assert!(!known.is_finished());
    }
}
