//! Evidence in numbers: exact binomial tails, and the bound that many tests of a sliding window need.

mod binomial;
mod evidence;

pub use binomial::{at_least, at_most};
pub use evidence::{EXIT_FRACTION, Evidence, HONEST_FRACTION, SECONDS_A_DAY};

/// A number that is not negative, without what follows its point; as large as may be where it does not fit.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "that is what it is for; `as` saturates")]
pub fn whole_part(number: f64) -> u64 {
    number as u64
}
