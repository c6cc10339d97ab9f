//! Counters to counts: exact increments of Prometheus counters and histograms, however often they are polled.
//!
//! A caller reads raw series (never a `rate()`), hands over every point it got, and gets whole numbers back:
//!
//! ```
//! use backstop::core::counter::{CounterTracker, SeriesKey, SeriesValue, TargetKey};
//!
//! let mut tracker = CounterTracker::new(std::time::Duration::from_secs(5));
//! let series = SeriesKey::of([("__name__", "requests_total"), ("code", "200"), ("instance", "a:80"), ("job", "api")]);
//! let target = TargetKey::of("a:80", "api");
//! let point = |at_millis, value| SeriesValue { series, target, at_millis, value };
//! // The first poll gives baselines only.
//! assert!(tracker.observe(&[point(1_000, 70.0)], &[], None).expect("a poll").is_empty());
//! // Points that were seen before may come again; only what is new counts.
//! let counted = tracker.observe(&[point(1_000, 70.0), point(6_000, 75.0)], &[], None).expect("a poll");
//! assert_eq!((counted[0].at_millis, counted[0].counts.total, counted[0].counts.errors), (6_000, 5, 0));
//! ```
//!
//! Rules, all of design §3:
//! - A value below the one before it is a reset (the process began anew): the value itself is the increment.
//! - A series first seen on a target already known counts from 0 (the first error after hours without one); on a new
//!   target its first value is the baseline, because nobody knows what it counted before.
//! - An empty `errors` beside a `total` is no errors; an empty `total` is an error of the poll, which is *missed*.
//! - Errors that run ahead of `total` (a scrape fell between the two queries) wait for the next poll.
//! - A poll that fails changes nothing, so that the next one counts what this one did not, except where the variant of
//!   [`CounterError`] says that baselines were dropped.

mod histogram;
mod series;
mod slots;
#[cfg(test)]
mod tests;
mod tracker;

pub use tracker::{CounterTracker, LONGEST_GAP_AT_LEAST};

use super::sample::{Reason, RequestCounts};

/// Most series that one poll may bring, those of `total`, `errors` and `latency` together (each bucket is a series):
/// enough for a large service, little enough that a runaway label costs no more than a few megabytes.
pub const SERIES_LIMIT: usize = 10_000;

/// Identity of one series: its name and labels, hashed. For histograms without the label `le`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey(u128);

/// Identity of the process that exposes a series: its `instance` and `job`, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey(u128);

impl SeriesKey {
    /// The key of a series with these labels, the name as `__name__` among them. Their order does not matter.
    pub fn of<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut labels: Vec<_> = labels.into_iter().collect();
        labels.sort_unstable();
        Self(hash(labels.into_iter().flat_map(|(name, value)| [name, value])))
    }
}

impl TargetKey {
    /// The key of a target. A single exposition page is one target: any constant pair will do.
    pub fn of(instance: &str, job: &str) -> Self {
        Self(hash([instance, job]))
    }
}

/// 128-bit FNV-1a over the parts, each closed by a byte that UTF-8 never has. Ten thousand series collide with
/// probability below 10⁻³⁰. Source: Fowler, Noll, Vo; draft-eastlake-fnv, §5.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    parts
        .into_iter()
        .flat_map(|part| part.bytes().chain([0xff]))
        .fold(OFFSET, |state, byte| (state ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// One point of one counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesValue {
    /// Which series.
    pub series: SeriesKey,
    /// Whose.
    pub target: TargetKey,
    /// The point's own timestamp in milliseconds. Any clock that does not step while the tracker lives: Prometheus' own
    /// timestamps, or boot time for a page that we read ourselves.
    pub at_millis: i64,
    /// The counter's value.
    pub value: f64,
}

/// One point of one histogram bucket (`…_bucket`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketValue {
    /// Which histogram series: its labels without `le`.
    pub series: SeriesKey,
    /// Whose.
    pub target: TargetKey,
    /// The label `le`: the bucket's upper bound in seconds; `+Inf` is [`f64::INFINITY`].
    pub le: f64,
    /// As in [`SeriesValue`].
    pub at_millis: i64,
    /// Requests no slower than `le`, as exposed (cumulative).
    pub value: f64,
}

/// What was counted up to one instant. Make one sample of each, `taken_at` that instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The newest timestamp that is counted here, by the clock of the points.
    pub at_millis: i64,
    /// Increments since the [`Counted`] before.
    pub counts: RequestCounts,
}

impl Counted {
    /// Why a latency that was asked for is absent: to be told, while the rest is good all the same.
    pub fn latency_missed(&self) -> Option<&Reason> {
        self.counts.latency.as_ref()?.as_ref().err()
    }
}

/// Why a poll could not be counted; it is *missed*. Follows "failed to".
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CounterError {
    /// `total` answered nothing. Nothing was changed.
    #[error(
        "count requests: the series of all requests answered nothing; check its selector, and whether it is scraped"
    )]
    NoTotal,
    /// Too many series in one poll, or too many that come and go. In the second case all baselines were dropped.
    #[error("count requests: {series} series are more than {SERIES_LIMIT}; narrow the selectors by labels")]
    TooManySeries {
        /// How many there are.
        series: usize,
    },
    /// NaN, infinite or negative. Nothing was changed.
    #[error("count requests: a counter has the value {value}, which no counter can have")]
    BadValue {
        /// The value.
        value: f64,
    },
    /// More errors than requests, poll after poll: the two selectors do not fit. This poll and the excess were dropped.
    #[error("count requests: {excess} more errors than requests; `errors` must select among the series of `total`")]
    ErrorsExceedTotal {
        /// Errors without a request.
        excess: u64,
    },
    /// The timestamps went back by more than the longest gap. Baselines were dropped.
    #[error("count requests: the source's timestamps went back by {back_millis} ms; counting begins anew")]
    SteppedBack {
        /// How far.
        back_millis: i64,
    },
}
