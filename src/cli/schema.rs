//! `backstop schema`: the configuration's JSON Schema.

use super::Failure;

// INTEGRATION POINT: `output::print` the schema.
pub(super) fn run() -> Result<(), Failure> {
    Err(Failure::failed("print the schema: it is not joined yet"))
}
