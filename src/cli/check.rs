//! `backstop check FILE`: every mistake of a configuration.

use super::{Failure, arguments::Check};

// INTEGRATION POINT: the checker; diagnostics to standard error, then `Failure::told(Exit::CONFIGURATION)`.
pub(super) fn run(check: &Check) -> Result<(), Failure> {
    let what =
        format!("check {} (secrets: {}): the checker is not joined yet", check.file.display(), !check.no_secrets);
    Err(Failure::configuration(what))
}
