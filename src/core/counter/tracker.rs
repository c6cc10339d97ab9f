//! One source of request counts, poll after poll.

use std::{collections::BTreeMap, time::Duration};

use super::{
    BucketValue, Counted, CounterError, SERIES_LIMIT, SeriesValue, TargetKey,
    histogram::Histograms,
    series::{Counters, Poll},
    slots::{Remainders, Slots},
};
use crate::core::{sample::Reason, statistics::whole_part};

/// A series or target unseen for longer than this (or than three intervals) is evicted, and an increment over a longer
/// gap is not counted: it would put old requests into a new window. Five minutes is Prometheus' own lookback.
pub const LONGEST_GAP_AT_LEAST: Duration = Duration::from_mins(5);

/// Polls with new requests for which errors may run ahead of them. A scrape between two queries is made good by the
/// next poll; one more is for a second such accident.
const POLLS_AHEAD_LIMIT: u32 = 2;

/// Turns points of counters into counts. See the [module](super).
#[derive(Debug)]
pub struct CounterTracker {
    longest_gap_millis: i64,
    newest_millis: Option<i64>,
    targets: BTreeMap<TargetKey, i64>,
    total: Counters,
    errors: Counters,
    latency: Histograms,
    remainders: Remainders,
    polls_ahead: u32,
}

impl CounterTracker {
    /// A tracker that has seen nothing, for a source that is polled every `every`.
    pub fn new(every: Duration) -> Self {
        let longest_gap = LONGEST_GAP_AT_LEAST.max(every.saturating_mul(3));
        Self {
            longest_gap_millis: i64::try_from(longest_gap.as_millis()).unwrap_or(i64::MAX),
            newest_millis: None,
            targets: BTreeMap::new(),
            total: Counters::default(),
            errors: Counters::default(),
            latency: Histograms::default(),
            remainders: Remainders::default(),
            polls_ahead: 0,
        }
    }

    /// One poll: every point that the source gave, in any order, old ones too. `latency` is [`None`] where no histogram
    /// is configured.
    ///
    /// Gives what is new, oldest first, at most [`REQUEST_POINTS_LIMIT`](crate::core::sample::REQUEST_POINTS_LIMIT)
    /// entries; the last one is at the newest point of `total`, with zeros where nothing happened since. Empty on a first
    /// poll that gives only baselines.
    pub fn observe(
        &mut self,
        total: &[SeriesValue],
        errors: &[SeriesValue],
        latency: Option<&[BucketValue]>,
    ) -> Result<Vec<Counted>, CounterError> {
        let newest_millis = total.iter().map(|point| point.at_millis).max().ok_or(CounterError::NoTotal)?;
        check(total, errors, latency.unwrap_or_default())?;
        self.check_direction(newest_millis)?;

        let total = by_time(total);
        let errors = by_time(errors);
        let buckets = latency.map(buckets_by_time);
        let gap = buckets.as_deref().and_then(|points| self.latency.prepare(points).err());

        let first = self.newest_millis.is_none();
        let before = self.newest_millis.unwrap_or(i64::MIN);
        let oldest_new = total.iter().map(|point| point.at_millis).find(|&at| at > before).unwrap_or(newest_millis);
        let mut slots = Slots::new(oldest_new, newest_millis, self.latency.bounds().map_or(0, |bounds| bounds.len()));
        let poll = Poll { known: &self.targets, longest_gap_millis: self.longest_gap_millis };
        self.total.observe(&poll, &total, |at, increment| slots.add_total(at, increment));
        self.errors.observe(&poll, &errors, |at, increment| slots.add_errors(at, increment));
        if let Some(points) = buckets.as_deref().filter(|_| self.latency.bounds().is_some()) {
            self.latency.observe(&poll, points, |at, increments| slots.add_latency(at, increments));
        }

        self.remember_targets(&total, &errors, buckets.as_deref().unwrap_or_default());
        self.newest_millis = Some(newest_millis.max(before));
        self.evict()?;
        if first && slots.is_untouched() {
            return Ok(Vec::new());
        }
        let bounds = if latency.is_some() && gap.is_none() { self.latency.bounds().cloned() } else { None };
        let mut counted = slots.finish(&mut self.remainders, bounds.as_ref());
        if let (Some(gap), Some(newest)) = (gap, counted.last_mut()) {
            newest.counts.latency = Some(Err(Reason::new(&gap.to_string())));
        }
        self.check_errors_ahead(newest_millis > before)?;
        Ok(counted)
    }

    fn check_direction(&mut self, newest_millis: i64) -> Result<(), CounterError> {
        let back_millis = self.newest_millis.map_or(0, |before| before.saturating_sub(newest_millis));
        if back_millis > self.longest_gap_millis {
            self.begin_anew();
            return Err(CounterError::SteppedBack { back_millis });
        }
        Ok(())
    }

    fn check_errors_ahead(&mut self, news: bool) -> Result<(), CounterError> {
        let excess = self.remainders.errors_ahead();
        if excess < 1.0 {
            self.polls_ahead = 0;
        } else if news {
            self.polls_ahead += 1;
            if self.polls_ahead > POLLS_AHEAD_LIMIT {
                self.polls_ahead = 0;
                self.remainders.drop_errors_ahead();
                return Err(CounterError::ErrorsExceedTotal { excess: whole_part(excess) });
            }
        }
        Ok(())
    }

    fn remember_targets(&mut self, total: &[SeriesValue], errors: &[SeriesValue], buckets: &[BucketValue]) {
        let seen = total.iter().chain(errors).map(|point| (point.target, point.at_millis));
        for (target, at_millis) in seen.chain(buckets.iter().map(|point| (point.target, point.at_millis))) {
            let last = self.targets.entry(target).or_insert(at_millis);
            *last = at_millis.max(*last);
        }
    }

    /// A series that comes back on a target that was there all the time was gone because the process began anew: it
    /// counts from 0 again. A target that comes back after so long is a new one.
    fn evict(&mut self) -> Result<(), CounterError> {
        let oldest_millis = self.newest_millis.unwrap_or(i64::MIN).saturating_sub(self.longest_gap_millis);
        self.targets.retain(|_, last| *last >= oldest_millis);
        self.total.evict(oldest_millis);
        self.errors.evict(oldest_millis);
        self.latency.evict(oldest_millis);
        let series = self.total.len() + self.errors.len() + self.latency.len();
        if series > 2 * SERIES_LIMIT {
            self.begin_anew();
            return Err(CounterError::TooManySeries { series });
        }
        Ok(())
    }

    fn begin_anew(&mut self) {
        self.newest_millis = None;
        self.targets.clear();
        self.total = Counters::default();
        self.errors = Counters::default();
        self.latency.clear();
        self.remainders = Remainders::default();
        self.polls_ahead = 0;
    }
}

/// Everything that must hold before anything is changed.
fn check(total: &[SeriesValue], errors: &[SeriesValue], buckets: &[BucketValue]) -> Result<(), CounterError> {
    let values = total.iter().chain(errors).map(|point| point.value);
    let mut values = values.chain(buckets.iter().map(|point| point.value));
    if let Some(value) = values.find(|value| !value.is_finite() || *value < 0.0) {
        return Err(CounterError::BadValue { value });
    }
    if let Some(bucket) = buckets.iter().find(|point| point.le.is_nan()) {
        return Err(CounterError::BadValue { value: bucket.le });
    }
    let distinct_of = |points: &[SeriesValue]| distinct(points.iter().map(|point| point.series).collect());
    let buckets = distinct(buckets.iter().map(|point| (point.series, point.le.to_bits())).collect());
    let series = distinct_of(total) + distinct_of(errors) + buckets;
    if series > SERIES_LIMIT { Err(CounterError::TooManySeries { series }) } else { Ok(()) }
}

fn by_time(points: &[SeriesValue]) -> Vec<SeriesValue> {
    let mut points = points.to_vec();
    points.sort_by_key(|point| point.at_millis);
    points
}

fn buckets_by_time(points: &[BucketValue]) -> Vec<BucketValue> {
    let mut points = points.to_vec();
    points.sort_by(|one, other| {
        (one.at_millis, one.series).cmp(&(other.at_millis, other.series)).then(one.le.total_cmp(&other.le))
    });
    points
}

fn distinct<T: Ord>(mut keys: Vec<T>) -> usize {
    keys.sort_unstable();
    keys.dedup();
    keys.len()
}
