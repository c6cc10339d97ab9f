//! What a probe brings back.
//!
//! A sample is passed, failed or missed. Missed means that the watchdog could not see: its resolver was down, it had
//! no descriptors left, Prometheus was away. Missed is never health and never failure.

use std::{sync::Arc, time::Duration};

use super::{
    name::{ServiceIndex, SignalIndex},
    time::BootTime,
};

/// Longest reason that is kept, in bytes: enough for one line on a page, little enough to keep ten thousand of them.
pub const REASON_LIMIT_BYTES: usize = 240;

/// Why a sample failed or was missed, in words that follow "failed:" or "missed:". Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason(Arc<str>);

impl Reason {
    /// Keeps the first line of `text`, up to [`REASON_LIMIT_BYTES`], without control characters.
    pub fn new(text: &str) -> Self {
        let line = text.trim().lines().next().unwrap_or("").trim_end();
        let mut kept = String::with_capacity(line.len().min(REASON_LIMIT_BYTES));
        for character in line.chars() {
            let shown = if character.is_control() { ' ' } else { character };
            if kept.len() + shown.len_utf8() > REASON_LIMIT_BYTES - '…'.len_utf8() {
                kept.push('…');
                break;
            }
            kept.push(shown);
        }
        Self(kept.into())
    }

    /// The reason as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(&self.0)
    }
}

/// The outcome of one probe or feature check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service answered as it should.
    Passed,
    /// The service did not.
    Failed(Reason),
    /// The watchdog could not tell.
    Missed(Reason),
}

/// Requests counted since the previous sample of the same source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestCounts {
    /// All requests, errors included.
    pub total: u64,
    /// Requests that ended in an error; never more than `total`.
    pub errors: u64,
    /// How long they took, or why that could not be seen while the counts could; [`None`] where nobody asked.
    pub latency: Option<Result<LatencyCounts, Reason>>,
}

/// A histogram of request durations, already differenced against the previous sample.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyCounts {
    /// Upper bounds in seconds, ascending, the last one infinite; at most [`LATENCY_BUCKETS_LIMIT`].
    pub bounds: Arc<[f64]>,
    /// Requests in each bucket (not cumulative); as many as there are bounds.
    pub counts: Box<[u64]>,
}

/// Most buckets that a latency histogram may have: keeps a histogram signal's window within 16 KiB.
pub const LATENCY_BUCKETS_LIMIT: usize = 32;

/// Most points that one request sample may carry: a poll that catches up after a pause brings several.
pub const REQUEST_POINTS_LIMIT: usize = 64;

/// What one sample measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Measurement {
    /// A probe's or feature's outcome.
    Check(Outcome),
    /// Requests counted up to the sample's `taken_at`.
    Requests(RequestCounts),
    /// The source of requests could not be read, or its answer could not be trusted.
    RequestsMissed(Reason),
}

/// One sample of one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Whose.
    pub service: ServiceIndex,
    /// Which of its signals.
    pub signal: SignalIndex,
    /// When it was taken: when a probe began, or the source's own timestamp of a count.
    pub taken_at: BootTime,
    /// How much later than planned it began; the probe's lag.
    pub lag: Duration,
    /// What it saw.
    pub measurement: Measurement,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_bounded_line() {
        assert_eq!(Reason::new("  refused\nsecond line").as_str(), "refused");
        assert_eq!(Reason::new("a\tb\u{1b}[0m").as_str(), "a b [0m");
        let long = Reason::new(&"é".repeat(4000));
        assert!(long.as_str().len() <= REASON_LIMIT_BYTES);
        assert!(long.as_str().ends_with('…'));
    }
}
