//! `larder serve`: from settings to a running server, and to its orderly end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use tokio::signal::unix::{SignalKind, signal};

use crate::command::Server;
use crate::config::{self, Config, Loaded, Settings};
use crate::engine::{Engine, Options, clock};
use crate::net::{self, Listen};
use crate::telemetry::log;

/// Serves until a signal or SHUTDOWN ends it.
pub fn run(arguments: &ArgMatches) -> Result<ExitCode, String> {
    let Loaded { settings, file } = config::load(arguments)?;
    log::start(&settings.loglevel, settings.json_log)?;
    settings.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("threads can't be started: {error}"))?;
    let listen = Listen {
        bind: settings.bind.clone(),
        port: settings.port,
        unixsocket: settings.unixsocket.clone(),
        backlog: settings.tcp_backlog,
    };
    let engine = Engine::open(engine_options(&settings)).map_err(|error| error.to_string())?;
    let server = Arc::new(Server::new(engine.clone(), Config::of_file(settings, file), clock::now_ms()));
    let served = runtime.block_on(async {
        end_on_signal(server.clone())?;
        net::serve(server, &listen).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    engine
        .close()
        .map_err(|error| format!("the last checkpoint failed: {error}; its changes are in the journal"))?;
    served.map_err(|error| error.to_string())?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn engine_options(settings: &Settings) -> Options {
    Options {
        fsync: settings.appendfsync,
        databases: settings.databases,
        default_kind: settings.default_values,
        compression: settings.compression,
        overlay_bytes_max: settings.overlay_memory as usize,
        cache_bytes_max: settings.cache_memory,
        checkpoint_interval: Duration::from_secs(settings.checkpoint_interval_s),
        map_bytes: (settings.map_size > 0).then_some(settings.map_size as usize),
        ..Options::new(settings.dir.clone())
    }
}

fn end_on_signal(server: Arc<Server>) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        server.shutdown.raise();
    });
    Ok(())
}
