//! `backstop demo`: two releases of a small shop, the second one bad.

use super::{Failure, arguments::Demo};

pub(super) fn run(demo: &Demo) -> Result<(), Failure> {
    crate::demo::run(demo.fault, demo.stay).map_err(Failure::failed)
}
