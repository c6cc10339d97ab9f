//! What both sources of request counts share: selectors, bucket bounds, and how counts become measurements.

use std::time::Duration;

use tokio::task::JoinError;

use super::selector::{Selector, SelectorError};
use crate::core::{
    counter::{BucketValue, Counted, CounterError, CounterTracker, SeriesValue},
    sample::{Measurement, Reason},
    time::BootTime,
};

/// The label that holds a histogram bucket's upper bound.
pub const BOUND_LABEL: &str = "le";

/// Bodies up to this size are decoded where they arrive; bigger ones on a thread of their own, because that takes long
/// enough to hold up other probes.
pub const DECODE_HERE_LIMIT_BYTES: usize = 256 * 1024;

/// A histogram bucket without a bound. Follows "failed to".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the latency histogram: {} is no bucket's bound; select the series that end in _bucket", .0.as_deref().map_or_else(|| "a series without the label \"le\"".to_owned(), |bound| format!("le={bound:?}")))]
pub struct BucketBoundError(pub Option<String>);

/// The selectors of a source, parsed.
#[derive(Debug, Clone)]
pub struct Selectors {
    /// All requests.
    pub total: Selector,
    /// Those that ended in an error.
    pub errors: Selector,
    /// Histogram buckets.
    pub latency: Option<Selector>,
}

impl Selectors {
    /// Reads all of them.
    pub fn parse(total: &str, errors: &str, latency: Option<&str>) -> Result<Self, SelectorError> {
        Ok(Self {
            total: Selector::parse(total)?,
            errors: Selector::parse(errors)?,
            latency: latency.map(Selector::parse).transpose()?,
        })
    }
}

/// A bucket's upper bound in seconds, from its label.
pub fn bound(label: Option<&str>) -> Result<f64, BucketBoundError> {
    let text = label.ok_or(BucketBoundError(None))?;
    let bound: f64 = text.parse().map_err(|_| BucketBoundError(Some(text.to_owned())))?;
    if bound.is_nan() { Err(BucketBoundError(Some(text.to_owned()))) } else { Ok(bound) }
}

/// Decodes `body` here or, if it is big, on a thread of the blocking pool.
pub async fn off_the_loop<T: Send + 'static>(body: Vec<u8>, decode: impl FnOnce(Vec<u8>) -> T + Send + 'static) -> T {
    if body.len() <= DECODE_HERE_LIMIT_BYTES {
        return decode(body);
    }
    match tokio::task::spawn_blocking(move || decode(body)).await.map_err(JoinError::try_into_panic) {
        Ok(decoded) => decoded,
        // Its panic goes on here, where the schedule makes a miss of it.
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The process ends, and this task with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// The buckets of a poll, or why there are none although they were asked for; [`None`] where no histogram is configured.
pub type Latency = Option<Result<Vec<BucketValue>, Reason>>;

/// Counts one poll. What is wrong with the histogram alone does not make errors invisible: it is told beside the counts.
pub fn observe(
    tracker: &mut CounterTracker,
    total: &[SeriesValue],
    errors: &[SeriesValue],
    latency: Latency,
) -> Result<Vec<Counted>, CounterError> {
    let (buckets, missed) = match latency {
        None => (None, None),
        Some(Ok(buckets)) => (Some(buckets), None),
        Some(Err(reason)) => (None, Some(reason)),
    };
    let mut counted = tracker.observe(total, errors, buckets.as_deref())?;
    if let (Some(reason), Some(newest)) = (missed, counted.last_mut()) {
        newest.counts.latency = Some(Err(reason));
    }
    Ok(counted)
}

/// Turns counts into measurements, and says what of them is absent whenever that changes.
#[derive(Debug)]
pub struct Teller {
    /// `service/signal`, for the log.
    name: String,
    told: Option<Reason>,
}

impl Teller {
    /// A teller for the source called `name`.
    pub const fn new(name: String) -> Self {
        Self { name, told: None }
    }

    /// The measurements of one poll.
    pub fn measurements(&mut self, counted: Vec<(BootTime, Counted)>) -> Vec<(BootTime, Measurement)> {
        let missed = counted.last().and_then(|(_, counted)| counted.latency_missed().cloned());
        if missed != self.told {
            if let Some(reason) = &missed {
                tracing::warn!(signal = self.name, %reason, "latency is not measured");
            } else {
                tracing::info!(signal = self.name, "latency is measured again");
            }
            self.told = missed;
        }
        counted.into_iter().map(|(at, counted)| (at, Measurement::Requests(counted.counts))).collect()
    }
}

/// Room between a source's clock and ours, in either direction; more of it is told as a miss.
pub const SKEW_LIMIT: Duration = Duration::from_secs(5);
