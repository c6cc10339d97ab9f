//! `backstop demo`: two releases of a small shop, the second one bad.

use super::{Failure, arguments::Demo};

// INTEGRATION POINT: hand over to the demonstration; the right outcome is `Ok`, any other a `Failure::failed`.
pub(super) fn run(demo: &Demo) -> Result<(), Failure> {
    Err(Failure::failed(format!("show {:?} (stay: {}): the demonstration is not joined yet", demo.fault, demo.stay)))
}
