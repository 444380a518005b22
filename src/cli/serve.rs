//! `larder serve`: starts a server from its settings, and ends it in order.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use tokio::signal::unix::{SignalKind, signal};

use super::{notify, place};
use crate::archive::{self, Archive};
use crate::command::server::history;
use crate::command::{COMMANDS, Server, acl};
use crate::config::{self, Config, Loaded, Room, Settings};
use crate::engine::{Engine, Options, Seq, clock, is_data_directory};
use crate::http;
use crate::net;
use crate::telemetry::{log, process};
use crate::tls::Tls;

/// Serves until a signal or SHUTDOWN ends it.
pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    run_and_then(arguments, |_| {})
}

/// Where a server is that serves.
pub struct Places {
    /// URLs of the Redis protocol.
    pub redis: Vec<String>,
    /// URLs of HTTP, at which the dashboard is; none if it is switched off.
    pub http: Vec<String>,
}

/// The same; `ready` is called when the server can be reached, and must not wait.
pub fn run_and_then(arguments: &ArgMatches, ready: impl FnOnce(&Places)) -> Result<ExitCode, String> {
    let Loaded { mut settings, file, warnings } = config::load(arguments)?;
    // dropped last, so that the reason for the end is logged
    let _log = log::start(settings.log_filter(), settings.json_log)?;
    settings.check()?;
    for why in warnings.into_iter().chain(settings.plain_http_beside_tls()) {
        tracing::warn!("{why}");
    }
    let room = Room::make(&settings)?;
    if room.clients < settings.maxclients {
        tracing::warn!(
            asked = settings.maxclients,
            maxclients = room.clients,
            "the limit on open files (ulimit -n) is too low for so many clients; maxclients is lowered"
        );
        settings.maxclients = room.clients;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("threads can't be started: {error}"))?;
    {
        let _entered = runtime.enter();
        survive_file_size_limit().map_err(|error| format!("signals can't be caught: {error}"))?;
    }
    let places = net::Listen {
        bind: settings.bind.clone(),
        port: settings.port,
        tls_port: settings.tls_port,
        unixsocket: settings.unixsocket.clone(),
        unixsocket_mode: settings.unixsocket_mode,
        backlog: settings.tcp_backlog,
    };
    let http_places = http::Listen {
        bind: settings.http_bind.clone(),
        port: settings.http_port,
        tls_port: settings.https_port,
        backlog: settings.tcp_backlog,
    };
    let with_tls = settings.tls_port != 0 || settings.https_port != 0;
    let tls = if with_tls { Some(Arc::new(Tls::load(&settings)?)) } else { None };
    process::return_memory_in_background();
    let is_new = !is_data_directory(&settings.dir);
    let archived = match settings.archive {
        Some(_) => archive::archived_before_start(&settings.dir)?,
        None => Seq::MAX,
    };
    let engine =
        Engine::open(Options { archived, ..engine_options(&settings) }).map_err(|error| error.to_string())?;
    if is_new {
        place::tell_new(&settings.dir);
    }
    let archive = match settings.archive_options() {
        Some(options) => Some(Archive::start(engine.clone(), options)?),
        None => None,
    };
    let server =
        Arc::new(Server::new(&COMMANDS, engine.clone(), Config::of_file(settings, file), clock::steady_ms()));
    acl::load_at_start(&server)?;
    if let Some(archive) = &archive {
        // a server is started only once
        let _ = server.archive.set(archive.clone());
    }
    if let Some(tls) = tls.clone() {
        // a server is started only once
        let _ = server.tls_reload.set(Box::new(move |settings: &Settings| tls.reload(settings)));
    }
    let history = history::keep(server.clone()).map_err(|error| error.to_string())?;
    let http = http::start(server.clone(), &http_places, tls.clone(), room.http_connections)
        .map_err(|error| error.to_string())?;
    let served = runtime.block_on(async {
        end_on_signal(server.clone())?;
        net::serve(server.clone(), &places, tls, |urls| {
            notify::tell(notify::READY);
            let http = http.as_ref().map(|http| http.urls.clone()).unwrap_or_default();
            let places = Places { redis: urls.to_owned(), http };
            tell_start(&engine, &server.config.settings(), &places);
            ready(&places);
        })
        .await
    });
    notify::tell(notify::STOPPING);
    // it ends together with everything else, whatever the reason
    server.shutdown.raise();
    if let Some(http) = http {
        http.join();
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(archive) = archive {
        archive.close();
    }
    history.end();
    engine
        .close()
        .map_err(|error| format!("the last checkpoint failed: {error}; its changes are in the journal"))?;
    served.map_err(|error| error.to_string())?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The one line that says what runs here, and on what.
fn tell_start(engine: &Engine, settings: &Settings, places: &Places) {
    let (stores, records) = engine.reader().with_catalog(|catalog| {
        let filled = catalog.iter().filter(|store| store.name.is_some() || store.usage.records > 0);
        (filled.count(), catalog.total().records)
    });
    let dashboard = if places.http.is_empty() { "none".to_owned() } else { places.http.join(" ") };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        dir = %place::absolute(&settings.dir).display(),
        stores,
        records,
        redis = places.redis.join(" "),
        dashboard,
        "listening"
    );
}

fn engine_options(settings: &Settings) -> Options {
    Options {
        fsync: settings.appendfsync,
        databases: settings.databases,
        default_kind: settings.default_values,
        quota: settings.quota(),
        compression: settings.compression,
        memtable_bytes_max: settings.memtable_memory as usize,
        cache_bytes_max: settings.cache_memory,
        checkpoint_interval: Duration::from_secs(settings.checkpoint_interval_s),
        map_bytes: (settings.map_size > 0).then_some(settings.map_size as usize),
        ..Options::new(settings.dir.clone())
    }
}

/// A write beyond `ulimit -f` has to fail instead of ending the server. Once tokio has listened to a signal, it stays
/// caught.
fn survive_file_size_limit() -> std::io::Result<()> {
    const SIGXFSZ: i32 = 25;
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

fn end_on_signal(server: Arc<Server>) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let reloading = server.clone();
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            match reloading.reload_tls(&reloading.config.settings()) {
                Ok(()) if reloading.tls_reload.get().is_none() => {
                    tracing::info!("SIGHUP: without TLS there are no certificates to read again");
                }
                Ok(()) => tracing::info!("SIGHUP: certificates were read again"),
                Err(why) => {
                    tracing::error!(why, "SIGHUP: the certificates can't be read, and stay as they were")
                }
            }
        }
    });
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        server.shutdown.raise();
    });
    Ok(())
}
