//! What the command line needs of the configuration.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Exit, Failure};

/// The socket that the configuration names. Secrets are not resolved: whoever only looks need not be able to read them.
pub(super) fn socket(config: &Path) -> Result<PathBuf, Failure> {
    load(config).map(|(socket, _)| socket)
}

/// The history file that the configuration names. Secrets are not resolved.
pub(super) fn history(config: &Path) -> Result<PathBuf, Failure> {
    load(config).map(|(_, history)| history)
}

fn load(config: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let checked = crate::config::check(config, None);
    match checked.config {
        Some(form) => Ok((form.server.socket, form.history)),
        None => Err(told(&checked.diagnostics).with_hint("use --socket, --server or --file")),
    }
}

/// A configuration with mistakes: the diagnostics are the message.
pub(super) fn told(diagnostics: &crate::config::Diagnostics) -> Failure {
    // If standard error is closed, the exit code still tells it.
    let _closed = writeln!(anstream::stderr(), "{}", diagnostics.render(true));
    Failure::told(Exit::CONFIGURATION)
}
