//! `backstop run`: the daemon.

use std::path::Path;

use super::Failure;

// INTEGRATION POINT: load the configuration with its secrets (mistakes: diagnostics, then `Failure::told(Exit::CONFIGURATION)`),
// start logging to standard error, and hand over to the runtime until SIGTERM.
pub(super) fn run(config: &Path) -> Result<(), Failure> {
    Err(Failure::failed(format!("run with {}: the runtime is not joined yet", config.display())))
}
