//! `backstop run`: the daemon.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{Failure, configuration};
use crate::{
    config::{self, SystemSecrets},
    runtime,
};

/// Checks the configuration, binds nothing before it is right, and runs until SIGTERM or SIGINT.
pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let (config, warnings) =
        config::load(config, &SystemSecrets).map_err(|diagnostics| configuration::told(&diagnostics))?;
    for warning in &warnings {
        // If standard error is closed, nobody wanted to be warned.
        let _closed = writeln!(anstream::stderr(), "{}", warning.render(true));
    }
    start_logging();
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let threads = threads.map_err(|error| Failure::failed(format!("start the runtime: {error}")))?;
    threads.block_on(async {
        let shutdown = CancellationToken::new();
        end_on_signals(&shutdown)?;
        let running = runtime::start(config, shutdown).await.map_err(Failure::failed)?;
        tracing::info!(address = %running.address, "watching");
        running.wait().await.map_err(Failure::failed)?;
        tracing::info!("stopped");
        Ok(())
    })
}

/// Logs to standard error, as `RUST_LOG` wants it; by default what matters to an operator.
pub(super) fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("backstop=info,warn"));
    // It fails only where a subscriber is there already.
    let _already_there = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// Cancels `shutdown` at SIGTERM or SIGINT.
pub(crate) fn end_on_signals(shutdown: &CancellationToken) -> Result<(), Failure> {
    let failed = |error| Failure::failed(format!("listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        let received = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("received {received}; stopping");
        shutdown.cancel();
    });
    Ok(())
}
