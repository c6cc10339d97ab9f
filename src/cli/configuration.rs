//! What the command line needs of the configuration.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Exit, Failure};

/// The socket that the configuration names. Secrets are not resolved: whoever only looks need not be able to read them.
pub(super) fn socket(config: &Path) -> Result<PathBuf, Failure> {
    load(config, "use --socket, --server or --file").map(|form| form.server.socket)
}

/// The history file that the configuration names. Secrets are not resolved.
pub(super) fn history(config: &Path) -> Result<PathBuf, Failure> {
    load(config, "use --socket, --server or --file").map(|form| form.history)
}

/// The store that the configuration names. Secrets are not resolved.
pub(super) fn store(config: &Path) -> Result<PathBuf, Failure> {
    load(config, "use --store").map(|form| form.store)
}

fn load(config: &Path, hint: &'static str) -> Result<crate::config::form::Config, Failure> {
    let checked = crate::config::check(config, None);
    checked.config.ok_or_else(|| told(&checked.diagnostics).with_hint(hint))
}

/// A configuration with mistakes: the diagnostics are the message.
pub(super) fn told(diagnostics: &crate::config::Diagnostics) -> Failure {
    // If standard error is closed, the exit code still tells it.
    let _closed = writeln!(anstream::stderr(), "{}", diagnostics.render(true));
    Failure::told(Exit::CONFIGURATION)
}
