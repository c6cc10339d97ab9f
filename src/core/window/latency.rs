//! Request durations.

use std::sync::Arc;

use super::{Division, LATENCY_ROWS_LIMIT, View, ring::Ring};
use crate::core::{
    sample::{LATENCY_BUCKETS_LIMIT, LatencyCounts},
    time::BootTime,
};

/// Most requests that one bucket takes from one sample, so that the sum of a window of a hundred such samples fits its 32
/// bits.
const BUCKET_LIMIT: u64 = u32::MAX as u64 / (100 * LATENCY_BUCKETS_LIMIT as u64);

/// A histogram in slots of time. Column `i` counts the requests in bucket `i` and in all slower ones.
#[derive(Debug)]
pub struct LatencyWindow {
    bounds: Arc<[f64]>,
    ring: Ring<u32>,
    views: Box<[View]>,
}

/// What a view saw of requests slower than a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowSums {
    /// Requests.
    pub total: u64,
    /// Those surely slower: their bucket begins at or above the limit.
    pub surely: u64,
    /// Those perhaps slower: their bucket ends above the limit.
    pub perhaps: u64,
    /// When the window begins.
    pub begin: BootTime,
    /// The length that was asked for, or that it was widened to.
    pub span_nanos: u64,
    /// When it begins at another time if nothing more is recorded.
    pub changes_at: BootTime,
}

impl LatencyWindow {
    /// An empty ring that serves all of `views`, for histograms with these bounds.
    pub fn new(views: &[View], bounds: Arc<[f64]>, now: BootTime) -> Self {
        let ring = Ring::new(Division::of(views, LATENCY_ROWS_LIMIT), bounds.len(), now);
        Self { bounds, ring, views: views.into() }
    }

    /// Adds one poll's histogram; false if it is too old. Other bounds than before begin anew.
    pub fn record(&mut self, time: BootTime, latency: &LatencyCounts) -> bool {
        if !Arc::ptr_eq(&self.bounds, &latency.bounds) && self.bounds != latency.bounds {
            *self = Self::new(&self.views, Arc::clone(&latency.bounds), time);
        }
        let mut slower = [0_u32; LATENCY_BUCKETS_LIMIT];
        let buckets = self.bounds.len().min(latency.counts.len()).min(LATENCY_BUCKETS_LIMIT);
        let mut sum = 0_u32;
        for bucket in (0..buckets).rev() {
            sum += u32::try_from(latency.counts[bucket].min(BUCKET_LIMIT)).expect("just bounded");
            slower[bucket] = sum;
        }
        self.ring.add(time, &slower[..self.bounds.len().min(LATENCY_BUCKETS_LIMIT)])
    }

    /// Requests slower than `limit_seconds` in the window just now.
    pub fn slower(&self, now: BootTime, view: &View, limit_seconds: f64) -> SlowSums {
        let window = view.window(&self.ring, now, |begin| self.ring.since(begin, 0));
        // The first bucket that ends above the limit may hold both; the next begins above it.
        let mixed = self.bounds.partition_point(|&bound| bound <= limit_seconds);
        let begins_at_limit = mixed > 0 && self.bounds[mixed - 1] >= limit_seconds;
        let sure = if begins_at_limit || limit_seconds <= 0.0 { mixed } else { mixed + 1 };
        let sum = |column| if column < self.bounds.len() { self.ring.since(window.begin, column) } else { 0 };
        SlowSums {
            total: sum(0),
            surely: sum(sure),
            perhaps: sum(mixed),
            begin: BootTime::from_nanos(self.ring.time_of(window.begin)),
            span_nanos: window.span_nanos,
            changes_at: window.changes_at,
        }
    }

    /// The quantile in seconds as it was at `then`, from slots of time that had ended by then: interpolated within its
    /// bucket; the last finite bound where it lies above that. None with fewer requests than the view asks for.
    ///
    /// The same estimate as Prometheus' `histogram_quantile`, so that people can compare.
    pub fn quantile_until(&self, then: BootTime, view: &View, quantile: f64) -> Option<f64> {
        let end = self.ring.last_until(then);
        let window = view.window(&self.ring, then, |begin| self.ring.between(begin, end, 0));
        let sum = |column| self.ring.between(window.begin, end, column);
        let total = sum(0);
        if total < view.min_requests.max(1) {
            return None;
        }
        let slower_share = (1.0 - quantile) * total as f64;
        // The last bucket such that at least so many are in it or slower.
        let bucket = (0..self.bounds.len()).rev().find(|&bucket| sum(bucket) as f64 >= slower_share)?;
        let lower = if bucket == 0 { 0.0 } else { self.bounds[bucket - 1] };
        let upper = self.bounds[bucket];
        if upper.is_infinite() {
            return Some(lower);
        }
        let slower_than_bucket = if bucket + 1 < self.bounds.len() { sum(bucket + 1) } else { 0 };
        let inside = (sum(bucket) - slower_than_bucket).max(1) as f64;
        let from_above = ((slower_share - slower_than_bucket as f64) / inside).clamp(0.0, 1.0);
        Some(upper - (upper - lower) * from_above)
    }

    /// Drops everything but the bounds.
    pub fn clear(&mut self) {
        self.ring.clear();
    }

    /// Memory on the heap, the shared bounds included.
    pub fn bytes(&self) -> usize {
        self.ring.bytes() + size_of_val(&*self.bounds) + size_of_val(&*self.views)
    }
}
