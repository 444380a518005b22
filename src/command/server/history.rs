//! Keeps the history of the server ([`crate::telemetry::history`]): a thread that reads the remembered figures from time
//! to time, and writes them to the data directory now and then.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::client::Client;
use crate::command::base::{Server, Session};
use crate::command::server::info::figure::{Figure, Kind, Read};
use crate::command::server::info::sample::Sample;
use crate::command::server::info::sections::figures;
use crate::engine::clock;
use crate::telemetry::history::{Column, History, LOOK_EVERY, Look};

/// The file in the data directory.
const FILE: &str = "history";

/// The running thread.
pub struct Keeper {
    end: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Writes what is not written yet, and ends.
    pub fn end(self) {
        drop(self.end);
        if self.thread.join().is_err() {
            tracing::error!("the thread that keeps the history panicked");
        }
    }
}

/// Begins to keep the history, after what the data directory has of it.
pub fn keep(server: Arc<Server>) -> io::Result<Keeper> {
    let path = server.config.settings().dir.join(FILE);
    let (end, ended) = sync_channel::<()>(0);
    let history = server.history.get_or_init(|| loaded(&path));
    history.note(look(&server));
    let thread = thread::Builder::new().name("history".to_owned()).spawn(move || {
        let Some(history) = server.history.get() else { return };
        while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            if history.note(look(&server)) {
                save(history, &path);
            }
        }
        save(history, &path);
    })?;
    Ok(Keeper { end, thread })
}

fn loaded(path: &Path) -> History {
    let history = History::new(remembered().map(|(column, _)| column).collect());
    if let Err(error) = history.load(path) {
        // figures for people are no reason to refuse a start
        tracing::warn!(file = %path.display(), %error, "the history of figures can't be read, and begins anew");
    }
    history
}

fn save(history: &History, path: &Path) {
    if let Err(error) = history.save(path) {
        tracing::warn!(file = %path.display(), %error, "the history of figures can't be written; it is tried again later");
    }
}

/// The figures of this moment.
pub fn look(server: &Server) -> Look {
    // remembered figures don't depend on who reads them
    let client = Client::new(0, String::new(), String::new(), server.started_ms);
    let reader = Session::new(Arc::new(client), server.acl.default_account(), false);
    let sample = Sample::new(server.view(), &reader);
    let value = |figure: &Figure<Read>| {
        let scale = figure.metric.map_or(1.0, |metric| metric.scale);
        figure.value(&sample).number().map_or(f64::NAN, |number| number * scale)
    };
    Look {
        at_ms: clock::now_ms(),
        steady_ms: clock::steady_ms(),
        figures: remembered().map(|(_, figure)| value(figure)).collect(),
        responses: server.stats.responses(),
        commands: server.stats.commands(),
    }
}

fn remembered() -> impl Iterator<Item = (Column, &'static Figure<Read>)> {
    figures().filter(|figure| figure.is_remembered).filter_map(|figure| {
        let metric = figure.metric?;
        Some((Column { name: metric.name, is_counter: metric.kind == Kind::Counter }, figure))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::command::COMMANDS;
    use crate::command::tests::harness::Harness;
    use crate::config::Config;
    use crate::engine::{Engine, Options};
    use crate::telemetry::history::SPANS;

    #[test]
    fn what_is_remembered_has_a_name_and_a_number() {
        let marked = figures().filter(|figure| figure.is_remembered).count();
        assert_eq!((remembered().count(), marked > 15), (marked, true));
        let h = Harness::new();
        let figures = look(&h.server).figures;
        assert!(figures.iter().all(|figure| figure.is_finite()), "{figures:?}");
        // the number of columns is a byte of the file, and so is the length of a name
        assert!(marked < 60 && remembered().all(|(column, _)| column.name.len() < 256));
    }

    #[test]
    fn a_server_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let start = |name: &str| {
            let engine = Engine::open(Options::new(dir.path().join(name))).unwrap();
            let server = Arc::new(Server::new(&COMMANDS, engine, Config::default(), clock::steady_ms()));
            server.config.update(|settings| settings.dir = dir.path().to_owned());
            (server.clone(), keep(server).unwrap())
        };
        let (server, keeper) = start("first");
        let history = server.history.get().unwrap();
        let later = look(&server);
        history.note(Look { steady_ms: later.steady_ms + 10_000, ..later });
        let points = history.points(&SPANS[0], clock::now_ms());
        assert_eq!(points.len(), 1);
        keeper.end();
        let (server, keeper) = start("second");
        let again = server.history.get().unwrap().points(&SPANS[0], clock::now_ms());
        assert_eq!(again.iter().map(|point| point.at_ms).collect::<Vec<_>>(), [points[0].at_ms]);
        keeper.end();
        // damage is no reason to refuse a start
        std::fs::write(dir.path().join(FILE), "no history").unwrap();
        let (server, keeper) = start("third");
        assert_eq!(server.history.get().unwrap().points(&SPANS[0], clock::now_ms()), []);
        keeper.end();
    }
}
