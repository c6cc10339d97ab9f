//! Sliding windows: rings of fixed slots of boot time, with running sums.
//!
//! A slot holds the sum of everything up to its end, so that the sum over any number of slots is one subtraction, at any
//! `now`: nothing has to be rolled for reading. Time that passes without samples, suspend included, leaves slots in which
//! nothing was heard; those are blind, not empty. Memory is fixed when the ring is made.

mod counts;
mod latency;
mod ring;
#[cfg(test)]
mod tests;

pub use counts::{CountSums, CountWindow};
pub use latency::{LatencyWindow, SlowSums};

use std::time::Duration;

/// What one question looks through: `over`, lengthened slot by slot up to `widen_to` until enough requests are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The window itself.
    pub over: Duration,
    /// The longest that it may become.
    pub widen_to: Duration,
    /// Requests that are enough.
    pub min_requests: u64,
}

/// How a ring divides time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Division {
    width_nanos: u64,
    slots: u64,
}

impl Division {
    /// At most `slots_limit` slots for the longest view, such that the shortest is a whole number of them.
    fn of(views: &[View], slots_limit: u64) -> Self {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1);
        let shortest = views.iter().map(|view| nanos(view.over)).min().unwrap_or(1);
        let longest = views.iter().map(|view| nanos(view.over.max(view.widen_to))).max().unwrap_or(1);
        let finest = longest.div_ceil(slots_limit);
        let width_nanos = if shortest < finest { finest } else { shortest.div_ceil(shortest / finest) };
        Self { width_nanos, slots: longest.div_ceil(width_nanos) }
    }

    fn slots_in(self, duration: Duration) -> u64 {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        nanos.div_ceil(self.width_nanos).clamp(1, self.slots)
    }
}

/// The smallest number of slots between `least` and `most` at which `enough` holds, or `most`. `enough` is monotone.
fn widen(least: u64, most: u64, enough: impl Fn(u64) -> bool) -> u64 {
    if enough(least) {
        return least;
    }
    let (mut too_few, mut slots) = (least, most.max(least));
    while slots - too_few > 1 {
        let middle = too_few + (slots - too_few) / 2;
        if enough(middle) {
            slots = middle;
        } else {
            too_few = middle;
        }
    }
    slots
}
