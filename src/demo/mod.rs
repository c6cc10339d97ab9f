//! The demonstration: two releases of a small shop, the second one bad, and the real daemon in between. Loop, store,
//! probes, target, API and webhooks are those of `backstop run`; only the configuration's times are compressed.
//!
//! Processes: this one (the daemon, the customers, the pages' receiver, and the shop's service manager), the shop, and for
//! a moment the restart command under its supervisor. None outlives this one.

mod configuration;
mod customers;
mod follow;
mod manager;
mod outcome;
mod place;
mod receiver;
mod release;
mod screen;
mod shop;
mod stage;
mod story;
mod summary;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use crate::{cli::Fault, runtime::RunError};

/// What is still running at the end gets so long.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Why the demonstration failed, phrased to follow "failed to".
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The file system or the network says no.
    #[error("{doing} {path}: {error}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The checker refused the configuration.
    #[error("check the demonstration's configuration: {0}")]
    Configuration(String),
    /// The shop does not run.
    #[error("restart the shop: {0}")]
    Shop(String),
    /// The daemon could not start, or ended.
    #[error("run the daemon: {0}")]
    Daemon(#[from] RunError),
    /// The on-call engineer's command was refused.
    #[error("approve the rollback: {0}")]
    Approve(String),
    /// It took too long.
    #[error("see {0} in time")]
    Late(&'static str),
    /// Someone pressed Ctrl-C.
    #[error("end by itself: it was interrupted")]
    Interrupted,
    /// It came to an end, and to another one than it should have.
    #[error("come to the right outcome: {0}")]
    Outcome(String),
}

impl DemoError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { doing, path: path.to_owned(), error }
    }
}

/// Shows it all. With `stay` the daemon and the shop go on afterwards, until Ctrl-C.
pub(crate) fn run(fault: Fault, stay: bool) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(DemoError::io("start", Path::new("the runtime")))?;
    let outcome = runtime.block_on(story::tell(fault, stay));
    // Nothing that matters is left; what hangs ends with the process.
    runtime.shutdown_timeout(END_LIMIT);
    outcome
}

/// `backstop demo-shop`: the shop itself.
pub(crate) fn shop(current: &Path, port: u16) -> ExitCode {
    shop::main(current, port)
}

/// `backstop demo-restart`: what the configuration names as the restart command.
pub(crate) fn restart(socket: &Path) -> Result<(), DemoError> {
    manager::ask(socket)
}
