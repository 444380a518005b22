//! The log: for a person on a terminal, or as JSON for a machine. Written to standard error.
//!
//! A log that can't be written must never matter: its disk may be full, or its reader may be gone or have stopped
//! reading, in which case a write to the pipe blocks for ever. Therefore logging only puts a line into a bounded queue,
//! and one thread, for which nobody waits without a time limit, writes the queue to standard error. Lines for which the
//! queue has no room, or that can't be written, are lost; when the log works again, a line says how many. (The crate
//! `tracing-appender` has such a queue, but it bounds lines and not bytes, does not count lines that can't be written,
//! and reports a stuck log on standard output, which may be the same stuck pipe.)

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::limits::{LOG_QUEUE_BYTES_MAX, LOG_QUEUE_LINES_MAX};
use crate::text;

/// How long an orderly end waits for the last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Of the running log.
static FILTERING: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// From now on the log has what `filter` names, like `debug`. Does nothing where no log was started.
pub fn change_filter(filter: &str) {
    if let Some(filtering) = FILTERING.get() {
        // it fails only once the subscriber is gone
        let _ = filtering.reload(EnvFilter::new(filter));
    }
}

/// Starts the log. `RUST_LOG` takes precedence over the level, to see the details of one module. Panics are logged,
/// too, instead of being written by the panicking thread. Dropping the returned guard waits for the lines so far, in
/// bounded time.
pub fn start(level: &str, json: bool) -> Result<Log, String> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let (mut queue, log) =
        queue(io::stderr()).map_err(|error| format!("the log can't be started: {error}"))?;
    queue.has_colors = !json && io::stderr().is_terminal();
    let has_colors = queue.has_colors;
    // errors of the log would be written to standard error, by the thread that logs
    let (filter, filtering) = reload::Layer::new(filter);
    let subscriber = tracing_subscriber::registry().with(filter);
    let format = fmt::layer().log_internal_errors(false).with_writer(queue);
    let started = if json {
        subscriber.with(format.json().flatten_event(true)).try_init()
    } else {
        subscriber.with(format.with_ansi(has_colors).with_target(false)).try_init()
    };
    started.map_err(|error| format!("the log can't be started: {error}"))?;
    let _ = FILTERING.set(filtering);
    std::panic::set_hook(Box::new(log_panic));
    Ok(log)
}

/// Writes a line to standard error, waiting only a bounded time. For messages after the log has ended.
pub fn write_last_line(line: String) {
    if let Ok((queue, _log)) = queue(io::stderr()) {
        queue.put(format!("{line}\n").into_bytes());
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("?");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(thread, %backtrace, "{panic}"),
        _ => tracing::error!(thread, "{panic}"),
    }
}

/// Dropped at an orderly end: waits until the lines so far have been written, in bounded time.
pub struct Log(SyncSender<Item>);

impl Drop for Log {
    fn drop(&mut self) {
        const STEP: Duration = Duration::from_millis(10);
        let (done, is_done) = sync_channel(1);
        let mut item = Item::End(done);
        let mut patience = LAST_LINES;
        while let Err(TrySendError::Full(full)) = self.0.try_send(item) {
            if patience.is_zero() {
                return;
            }
            item = full;
            thread::sleep(STEP);
            patience = patience.saturating_sub(STEP);
        }
        let _ = is_done.recv_timeout(patience);
    }
}

enum Item {
    Line(Vec<u8>),
    /// Requests a notification when everything that was put in before has been written or lost.
    End(SyncSender<()>),
}

/// The bounded queue in front of the thread that writes.
#[derive(Clone)]
struct Queue {
    items: SyncSender<Item>,
    counts: Arc<Counts>,
    /// Whether the subscriber writes for a terminal.
    has_colors: bool,
}

#[derive(Default)]
struct Counts {
    /// Of lines in the queue.
    bytes: AtomicUsize,
    /// Lines, ever.
    lost: AtomicU64,
}

fn queue(destination: impl Write + Send + 'static) -> io::Result<(Queue, Log)> {
    let (items, taken) = sync_channel(LOG_QUEUE_LINES_MAX);
    let counts = Arc::new(Counts::default());
    let counted = counts.clone();
    thread::Builder::new().name("log".to_owned()).spawn(move || write_all(destination, &taken, &counted))?;
    Ok((Queue { items: items.clone(), counts, has_colors: false }, Log(items)))
}

impl Queue {
    /// Puts a line in, or loses it. Never waits.
    fn put(&self, line: Vec<u8>) {
        let bytes = line.len();
        let queued = self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes > LOG_QUEUE_BYTES_MAX || self.items.try_send(Item::Line(line)).is_err() {
            self.counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Each event is one call.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(one_line(line, self.has_colors).into_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an event as one line, whatever foreign texts are in it (keys, paths, what scripts log): characters that could
/// forge another line are escaped. Colour sequences come from the subscriber only, which escapes those in texts.
fn one_line(event: &[u8], has_colors: bool) -> String {
    let event = String::from_utf8_lossy(event);
    let line = event.strip_suffix('\n').unwrap_or(&event);
    let mut line = text::escaped(line, |c| c == '\t' || has_colors && c == '\u{1b}');
    line.push('\n');
    line
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Queue;

    fn make_writer(&'a self) -> Queue {
        self.clone()
    }
}

/// The thread that writes. It may be stuck in a write as long as the reader of the log doesn't read.
fn write_all(mut destination: impl Write, items: &Receiver<Item>, counts: &Counts) {
    let (mut told, mut works) = (0, true);
    loop {
        let item = match items.try_recv() {
            Ok(item) => item,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                let lost = counts.lost.load(Ordering::Relaxed);
                if works && lost > told {
                    tracing::warn!(
                        lines = lost - told,
                        "lines of the log were lost, because it could not be written"
                    );
                    told = lost;
                    continue;
                }
                let Ok(item) = items.recv() else { return };
                item
            }
        };
        match item {
            Item::Line(line) => {
                works = destination.write_all(&line).and_then(|()| destination.flush()).is_ok();
                counts.bytes.fetch_sub(line.len(), Ordering::Relaxed);
                if !works {
                    counts.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            Item::End(done) => drop(done.try_send(())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::Sender;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A device that is full.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A pipe that nobody reads: the first write says that it has begun, and blocks for ever.
    struct Stuck(Sender<()>);

    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.send(()).unwrap();
            loop {
                thread::park();
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lost(queue: &Queue) -> u64 {
        queue.counts.lost.load(Ordering::Relaxed)
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let forged = b"WARN a\nINFO forged\r\x1b[1m\xe2\x80\xa8x\xff\n";
        assert_eq!(one_line(forged, false), "WARN a\\nINFO forged\\r\\u{1b}[1m\\u{2028}x\u{fffd}\n");
        assert_eq!(one_line(b"\x1b[33mWARN\x1b[0m a\tb\n", true), "\u{1b}[33mWARN\u{1b}[0m a\tb\n");
    }

    #[test]
    fn the_end_waits_for_the_last_line() {
        let written = Written::default();
        let (queue, log) = queue(written.clone()).unwrap();
        for at in 0..1_000 {
            queue.put(format!("{at}\n").into_bytes());
        }
        drop(log);
        assert!(written.0.lock().ends_with(b"998\n999\n"));
        assert_eq!((lost(&queue), queue.counts.bytes.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let (queue, log) = queue(Full).unwrap();
        (0..3).for_each(|_| queue.put(b"line\n".to_vec()));
        drop(log);
        assert_eq!((lost(&queue), queue.counts.bytes.load(Ordering::Relaxed)), (3, 0));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn nobody_waits_for_a_log_that_nobody_reads_and_its_queue_is_bounded() {
        for (line_bytes, lines_max) in [(1, LOG_QUEUE_LINES_MAX), (LOG_QUEUE_BYTES_MAX / 8, 7)] {
            let (begins, begun) = std::sync::mpsc::channel();
            let (queue, log) = queue(Stuck(begins)).unwrap();
            queue.put(vec![b'x'; line_bytes]);
            begun.recv().unwrap();
            (0..2 * lines_max).for_each(|_| queue.put(vec![b'x'; line_bytes]));
            assert_eq!(lost(&queue), lines_max as u64, "lines of {line_bytes} bytes");
            drop(log);
        }
    }
}
