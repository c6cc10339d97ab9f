//! `backstop run`: the daemon.

use std::{io::Write as _, path::Path, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use super::{Failure, configuration, logging};
use crate::{
    config::{self, SystemSecrets},
    runtime::{self, ConfigurationFile, ContentDigest},
};

/// What still runs when the daemon has ended is waited for so long. A call into a file system that is away has no end, and
/// whoever waited for it would keep a dead watchdog from being started again.
const LEFT_OVER_WAIT: Duration = Duration::from_secs(1);

/// Checks the configuration, binds nothing before it is right, and runs until SIGTERM or SIGINT. SIGHUP puts the
/// configuration in force anew.
pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let bytes = config::read(path).map_err(|diagnostics| configuration::told(&diagnostics))?;
    let content = ContentDigest::of(&bytes);
    let checked = config::check_bytes_here(&path.display().to_string(), bytes, &SystemSecrets);
    let Some(config) = checked.config else { return Err(configuration::told(&checked.diagnostics)) };
    for warning in &checked.diagnostics.list {
        // If standard error is closed, nobody wanted to be warned.
        let _closed = writeln!(anstream::stderr(), "{}", warning.render(true));
    }
    let logging = logging::start();
    let threads = runtime::runtime(&config).enable_all().build();
    let threads = threads.map_err(|error| Failure::failed(format!("start the runtime: {error}")))?;
    let ended = threads.block_on(async {
        let shutdown = CancellationToken::new();
        end_on_signals(&shutdown)?;
        let file = ConfigurationFile { path: path.to_owned(), content, asked: Arc::default() };
        reload_on_hangup(&file.asked)?;
        let running = runtime::start(config, Some(file), shutdown).await.map_err(Failure::failed)?;
        running.metrics.count_lost_log_lines(logging.lost_lines());
        tracing::info!(address = %running.address, "watching");
        running.wait().await.map_err(Failure::failed)?;
        tracing::info!("stopped");
        Ok(())
    });
    threads.shutdown_timeout(LEFT_OVER_WAIT);
    ended
}

/// Notifies `asked` at SIGHUP.
fn reload_on_hangup(asked: &Arc<Notify>) -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| unheard(&error))?;
    let asked = Arc::clone(asked);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            asked.notify_one();
        }
    });
    Ok(())
}

fn unheard(error: &std::io::Error) -> Failure {
    Failure::failed(format!("listen for signals: {error}"))
}

/// Cancels `shutdown` at SIGTERM or SIGINT. A second one ends the process at once: what it has begun ends with it, and
/// the next start looks at what became of it, as after a kill.
pub(crate) fn end_on_signals(shutdown: &CancellationToken) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| unheard(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| unheard(&error))?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        let received = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("received {received}; stopping");
        shutdown.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("asked a second time: ending at once");
        std::process::exit(i32::from(super::Exit::FAILED.code()));
    });
    Ok(())
}
