//! What the command line needs of the configuration.

use std::path::{Path, PathBuf};

use super::Failure;

/// The socket that the configuration names. Secrets are not resolved: whoever only looks need not be able to read them.
pub(super) fn socket(config: &Path) -> Result<PathBuf, Failure> {
    load(config).map(|(socket, _)| socket)
}

/// The history file that the configuration names. Secrets are not resolved.
pub(super) fn history(config: &Path) -> Result<PathBuf, Failure> {
    load(config).map(|(_, history)| history)
}

// INTEGRATION POINT: read and check `config` with secrets left unresolved (as `check --no-secrets` does), print its
// diagnostics to standard error on mistakes and return `Failure::told(Exit::CONFIGURATION)`; else its socket and history.
fn load(config: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    Err(Failure::configuration(format!("read {}: the reader of configurations is not joined yet", config.display()))
        .with_hint("use --socket, --server or --file"))
}
