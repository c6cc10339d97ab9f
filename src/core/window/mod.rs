//! Sliding windows: rings of slots of boot time, with running sums.
//!
//! What was counted in all is remembered at the end of each slot, so that the sum since any of them is one subtraction,
//! at any `now`: nothing has to be rolled for reading. Time that passes without samples, suspend included, leaves slots in
//! which nothing was heard; those are blind, not empty. Memory is fixed when the ring is made.
//!
//! One ring serves windows of very different lengths: ten seconds, widened to ten minutes. It has several levels of
//! slots, each twice as wide as the one before; a window begins at its first boundary of the finest level that reaches so
//! far back. So it is never longer than asked for, and shorter by less than a slot. A slot is a twentieth of the shortest
//! window and at most a tenth of any other; where they are so far apart that memory asks for wider ones, an eighth and a
//! quarter, and beyond that the configuration is refused ([`longest_beside`]).

mod counts;
mod latency;
mod ring;
#[cfg(test)]
mod tests;

pub use counts::{CountSums, CountWindow, Heard};
pub use latency::{LatencyWindow, SlowSums};

use std::time::Duration;

use self::ring::{Boundary, Ring};
use crate::core::time::BootTime;

/// Most rows of a ring of counts: 3.5 KiB.
const COUNT_ROWS_LIMIT: u64 = 112;

/// Most rows of a ring of durations: with [`LATENCY_BUCKETS_LIMIT`](crate::core::sample::LATENCY_BUCKETS_LIMIT) buckets
/// 11.5 KiB, which leaves room for the counts and the rest of a signal within 16 KiB.
const LATENCY_ROWS_LIMIT: u64 = 92;

/// What one question polls through: `over`, lengthened slot by slot up to `widen_to` until enough requests are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The window itself.
    pub over: Duration,
    /// The longest that it may become.
    pub widen_to: Duration,
    /// Requests that are enough.
    pub min_requests: u64,
}

/// The longest window that may stand beside one of `shortest` in the same ring, so that both have slots fine enough:
/// for counts of requests and, the shorter of the two, for their durations.
pub fn longest_beside(shortest: Duration, durations: bool) -> Duration {
    let rows_limit = if durations { LATENCY_ROWS_LIMIT } else { COUNT_ROWS_LIMIT };
    let levels = (rows_limit - 1) / (Division::SLOTS_AT_LEAST + 1);
    shortest.saturating_mul(1 << (levels - 1))
}

impl View {
    /// The window just now, whose requests since a boundary `requests` counts.
    fn window<T: ring::Cell>(&self, ring: &Ring<T>, now: BootTime, requests: impl Fn(Boundary) -> u64) -> Window {
        let (over, longest) = (nanos(self.over), nanos(self.widen_to.max(self.over)));
        let begin = ring.begin_of(now, over);
        if longest == over || requests(begin) >= self.min_requests {
            return Window { begin, span_nanos: over, changes_at: ring.moves_at(begin, over) };
        }
        let limit = ring.begin_of(now, longest);
        let begin = ring.widen(begin, limit, |begin| requests(begin) >= self.min_requests);
        let span_nanos = if begin == limit { longest } else { now.as_nanos().saturating_sub(ring.time_of(begin)) };
        Window { begin, span_nanos, changes_at: ring.moves_at(limit, longest) }
    }
}

/// Where a window begins, how long it is meant to be, and when it begins elsewhere if nothing more is recorded.
struct Window {
    begin: Boundary,
    span_nanos: u64,
    changes_at: BootTime,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// How a ring divides time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Division {
    /// Of a slot of level 0; each level's are twice as wide as those of the one before.
    width_nanos: u64,
    /// Slots of the longest window of each level.
    slots: u64,
    levels: u32,
}

impl Division {
    /// More slots than these are of no use.
    const SLOTS_AT_MOST: u64 = 20;
    /// With fewer the configuration is refused.
    const SLOTS_AT_LEAST: u64 = 8;

    /// The finest slots such that every one of `views` fits into so many rows.
    fn of(views: &[View], rows_limit: u64) -> Self {
        let shortest = views.iter().map(|view| nanos(view.over)).min().unwrap_or(1);
        let longest = views.iter().map(|view| nanos(view.over.max(view.widen_to))).max().unwrap_or(1);
        let with = |slots: u64| {
            let width_nanos = shortest.div_ceil(slots);
            let reach = |levels: u32| width_nanos.saturating_mul(slots).saturating_mul(1 << (levels - 1));
            let levels = (1..u64::BITS).find(|&levels| reach(levels) >= longest).unwrap_or(u64::BITS);
            Self { width_nanos, slots, levels }
        };
        let fits = |division: &Self| division.rows() <= rows_limit;
        // One slot fits any two lengths that a configuration can hold.
        (2..=Self::SLOTS_AT_MOST).rev().map(with).find(fits).unwrap_or_else(|| with(1))
    }

    /// Boundaries that each level remembers: one more than it has slots.
    const fn per_level(self) -> u64 {
        self.slots + 1
    }

    /// The newest sums, and those of each level.
    fn rows(self) -> u64 {
        1 + u64::from(self.levels) * self.per_level()
    }

    /// The finest level that reaches back by `length`.
    fn level_for(self, length: u64) -> u32 {
        let reach = self.width_nanos.saturating_mul(self.slots);
        (0..self.levels - 1).find(|&level| reach << level >= length).unwrap_or(self.levels - 1)
    }
}
