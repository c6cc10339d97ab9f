//! Evidence in numbers: exact binomial tails, and the bound that many looks at a sliding window need.

mod binomial;
mod evidence;

pub use binomial::{at_least, at_most};
pub use evidence::{EXIT_FRACTION, Evidence, HONEST_FRACTION, SECONDS_A_DAY};
