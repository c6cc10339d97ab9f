//! What the command line needs of the configuration.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Exit, Failure};
use crate::config::{self, Paths};

/// The socket that the configuration names, whatever else is wrong with it.
pub(super) fn socket(config: &Path) -> Result<PathBuf, Failure> {
    named(config, |paths| paths.socket, "use --socket, or --server URL")
}

/// The history file that the configuration names, whatever else is wrong with it.
pub(super) fn history(config: &Path) -> Result<PathBuf, Failure> {
    named(config, |paths| paths.history, "use --file")
}

/// The store that the configuration names, whatever else is wrong with it.
pub(super) fn store(config: &Path) -> Result<PathBuf, Failure> {
    named(config, |paths| paths.store, "use --store")
}

fn named(config: &Path, which: impl Fn(Paths) -> Option<PathBuf>, otherwise: &'static str) -> Result<PathBuf, Failure> {
    let hint = || format!("name the configuration with --config or BACKSTOP_CONFIG, or {otherwise}");
    let (paths, diagnostics) = config::paths(config).map_err(|found| told(&found).with_hint(hint()))?;
    which(paths).ok_or_else(|| told(&diagnostics).with_hint(hint()))
}

/// A configuration with mistakes: the diagnostics are the message.
pub(super) fn told(diagnostics: &config::Diagnostics) -> Failure {
    // If standard error is closed, the exit code still tells it.
    let _closed = writeln!(anstream::stderr(), "{}", diagnostics.render(true));
    Failure::told(Exit::CONFIGURATION)
}
