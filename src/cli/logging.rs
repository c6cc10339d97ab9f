//! The log on standard error, which nobody may be reading.
//!
//! A thread of its own writes it: whoever logs never waits, the loop least of all. Where standard error takes nothing (a pipe
//! that is not read, a log on a disk that hangs), lines are kept up to a bound; the ones after it are lost, and counted.

use std::io::IsTerminal as _;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that wait for standard error: of some hundred bytes each, so about a MiB, and many rollbacks' worth, which log some
/// fifty.
const LINES_LIMIT: usize = 4096;

/// Writes what is logged until this is dropped, which waits shortly for what is still queued.
#[derive(Debug)]
pub(super) struct Logging {
    _writer: WorkerGuard,
    lost: ErrorCounter,
}

impl Logging {
    /// Reads how many lines were lost until now.
    pub(super) fn lost_lines(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let lost = self.lost.clone();
        move || lost.dropped_lines() as u64
    }
}

/// Logs to standard error, as `RUST_LOG` wants it; by default what matters to an operator. Panics are logged too.
pub(super) fn start() -> Logging {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("backstop=info,warn"));
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_LIMIT)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stderr());
    let lost = writer.error_counter();
    // It fails only where a subscriber is there already.
    let _already_there = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    // The hook that the standard library brings writes to standard error by itself, and would wait for it.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Logging { _writer: guard, lost }
}
