//! Clients that send a load, and what they see.
//!
//! A crew is a number of connections with the same load. Each connection sends its requests and waits for their replies before it sends
//! more. A thread serves its connections as they become readable, as event loops of real clients do. Latencies are those of
//! a whole pipeline.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::event::{Timespec, epoll};

use crate::server::Server;

/// Connections with the same load.
pub struct Crew<'a> {
    pub connections: usize,
    /// Threads that serve the connections.
    pub threads: usize,
    /// Requests that a connection sends together.
    pub pipeline: usize,
    /// Requests per second of all connections together. `None`: as many as possible. With a rate, the time that a request
    /// waits for a connection counts as latency.
    pub rate: Option<f64>,
    /// Appends a request, or returns false if there are no more.
    pub request: &'a (dyn Fn(&mut Rng, &mut Vec<u8>) -> bool + Sync),
}

/// When crews begin and end.
#[derive(Clone, Copy)]
pub enum Span {
    /// For so long, after some time that is not measured.
    Time { warm_up: Duration, measured: Duration },
    /// Until there are no more requests.
    ToTheEnd,
}

impl Span {
    pub const USUAL: Span =
        Span::Time { warm_up: Duration::from_millis(200), measured: Duration::from_millis(1_500) };
    pub const SHORT: Span =
        Span::Time { warm_up: Duration::from_millis(200), measured: Duration::from_millis(1_000) };
}

/// What the crews saw.
pub struct Observed {
    pub seconds: f64,
    /// Processor time of the server.
    pub server_cpu_s: f64,
    /// Processor time of this program, as a share of a core.
    pub own_share: f64,
    pub crews: Vec<Outcome>,
}

/// What a crew saw.
#[derive(Default)]
pub struct Outcome {
    pub requests: u64,
    /// In ascending order.
    latencies_us: Vec<u32>,
}

impl Outcome {
    /// The latency that this part of the pipelines did not exceed.
    pub fn latency_us(&self, part: f64) -> f64 {
        let at = (self.latencies_us.len() as f64 * part) as usize;
        self.latencies_us
            .get(at.min(self.latencies_us.len().saturating_sub(1)))
            .map_or(0.0, |us| f64::from(*us))
    }
}

/// Sends the loads of all crews at the same time.
pub fn run(server: &Server, crews: &[Crew], span: Span) -> Result<Observed, String> {
    let mut connected = Vec::new();
    for (crew_at, crew) in crews.iter().enumerate() {
        for thread in 0..crew.threads {
            let count =
                crew.connections / crew.threads + usize::from(thread < crew.connections % crew.threads);
            let connections: Vec<TcpStream> =
                (0..count).map(|_| server.connect()).collect::<Result<_, _>>()?;
            connected.push((crew_at, connections));
        }
    }
    let start = Instant::now();
    let (from, until) = match span {
        Span::Time { warm_up, measured } => (start + warm_up, Some(start + warm_up + measured)),
        Span::ToTheEnd => (start, None),
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = connected
            .into_iter()
            .enumerate()
            .map(|(seed, (crew_at, connections))| {
                let worker = move || work(&crews[crew_at], connections, seed as u64, from, until);
                (crew_at, scope.spawn(worker))
            })
            .collect();
        std::thread::sleep(from.saturating_duration_since(Instant::now()));
        let before = (Instant::now(), server.processor_time(), own_cpu_s());
        if let Some(until) = until {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        let at_the_end = until.map(|_| (Instant::now(), server.processor_time(), own_cpu_s()));
        let mut outcomes: Vec<Outcome> = crews.iter().map(|_| Outcome::default()).collect();
        for (crew_at, thread) in threads {
            let mut outcome = thread.join().map_err(|_| "a client panicked")??;
            outcomes[crew_at].requests += outcome.requests;
            outcomes[crew_at].latencies_us.append(&mut outcome.latencies_us);
        }
        let after = at_the_end.unwrap_or_else(|| (Instant::now(), server.processor_time(), own_cpu_s()));
        outcomes.iter_mut().for_each(|outcome| outcome.latencies_us.sort_unstable());
        let seconds = (after.0 - before.0).as_secs_f64();
        Ok(Observed {
            seconds,
            server_cpu_s: after.1.seconds_since(&before.1),
            own_share: (after.2 - before.2) / seconds,
            crews: outcomes,
        })
    })
}

fn own_cpu_s() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

struct Connection {
    stream: TcpStream,
    replies: Replies,
    awaited: usize,
    sent: Instant,
}

/// A thread of a crew.
fn work(
    crew: &Crew,
    streams: Vec<TcpStream>,
    seed: u64,
    from: Instant,
    until: Option<Instant>,
) -> Result<Outcome, String> {
    let failed = |error: std::io::Error| format!("a connection failed: {error}");
    let poll = epoll::create(epoll::CreateFlags::empty()).map_err(|errno| failed(errno.into()))?;
    let now = Instant::now();
    let mut connections = Vec::new();
    for (at, stream) in streams.into_iter().enumerate() {
        epoll::add(&poll, &stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)
            .map_err(|errno| failed(errno.into()))?;
        connections.push(Connection { stream, replies: Replies::default(), awaited: 0, sent: now });
    }
    let pause = crew.rate.map(|rate| Duration::from_secs_f64((crew.pipeline * crew.threads) as f64 / rate));
    let mut random = Rng::with_seed(seed);
    let (mut outcome, mut requests, mut input) = (Outcome::default(), Vec::new(), vec![0; 256 * 1024]);
    let mut idle: Vec<usize> = (0..connections.len()).collect();
    let (mut due, mut has_more, mut working) = (now, true, 0);
    let mut events = Vec::with_capacity(connections.len());
    loop {
        let now = Instant::now();
        has_more &= until.is_none_or(|until| now < until);
        while has_more && pause.is_none_or(|_| due <= now) {
            let Some(at) = idle.pop() else { break };
            requests.clear();
            let count = (0..crew.pipeline).take_while(|_| (crew.request)(&mut random, &mut requests)).count();
            if count == 0 {
                has_more = false;
                break;
            }
            let connection = &mut connections[at];
            (connection.awaited, connection.sent) = (count, if pause.is_some() { due } else { now });
            connection.stream.write_all(&requests).map_err(failed)?;
            working += 1;
            due += pause.unwrap_or_default();
        }
        if working == 0 && !has_more {
            return Ok(outcome);
        }
        let timeout = (has_more && !idle.is_empty()).then(|| due.saturating_duration_since(now));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(failed(errno.into())),
        }
        for event in &events {
            let at = event.data.u64() as usize;
            let connection = &mut connections[at];
            let length = connection.stream.read(&mut input).map_err(failed)?;
            if length == 0 {
                return Err("the server closed a connection".into());
            }
            connection.awaited -= connection.replies.feed(&input[..length])?.min(connection.awaited);
            if connection.awaited == 0 {
                idle.push(at);
                working -= 1;
                let now = Instant::now();
                if connection.sent >= from && until.is_none_or(|until| now <= until) {
                    outcome.requests += crew.pipeline as u64;
                    outcome.latencies_us.push((now - connection.sent).as_micros() as u32);
                }
            }
        }
    }
}

/// Finds the ends of replies (RESP2) in bytes that arrive in pieces.
#[derive(Default)]
pub struct Replies {
    /// The beginning of a line.
    line: Vec<u8>,
    /// Bytes of a string that are still to come, with its line break.
    skipped: usize,
    /// Parts of an array that are still to come; 0 between two replies.
    parts: usize,
}

impl Replies {
    /// How many replies end in these bytes. Fails if one is an error, or no reply.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<usize, String> {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.skipped > 0 {
                let length = self.skipped.min(bytes.len());
                bytes = &bytes[length..];
                self.skipped -= length;
                ended += usize::from(self.skipped == 0 && self.end_part());
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                break;
            };
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            ended += usize::from(if self.line.is_empty() {
                self.line(line)?
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.line(&whole)?
            });
        }
        Ok(ended)
    }

    /// Whether a reply ends with this line.
    fn line(&mut self, line: &[u8]) -> Result<bool, String> {
        let text = || String::from_utf8_lossy(line).trim_end().to_owned();
        let length = || text()[1..].parse::<i64>().map_err(|_| format!("no length: {}", text()));
        self.parts += usize::from(self.parts == 0);
        match line.first() {
            Some(b'+' | b':') => Ok(self.end_part()),
            Some(b'$') => match length()? {
                ..0 => Ok(self.end_part()),
                bytes => {
                    self.skipped = bytes as usize + 2;
                    Ok(false)
                }
            },
            Some(b'*') => {
                self.parts += length()?.max(0) as usize;
                Ok(self.end_part())
            }
            Some(b'-') => Err(text()[1..].to_owned()),
            _ => Err(format!("no reply: {}", text())),
        }
    }

    fn end_part(&mut self) -> bool {
        self.parts -= 1;
        self.parts == 0
    }
}

/// Appends a request of these words.
pub fn push_request(bytes: &mut Vec<u8>, words: &[&[u8]]) {
    let line = |bytes: &mut Vec<u8>, kind: u8, count: usize| {
        bytes.push(kind);
        bytes.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        bytes.extend_from_slice(b"\r\n");
    };
    line(bytes, b'*', words.len());
    for word in words {
        line(bytes, b'$', word.len());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}
