//! Classic histograms: cumulative buckets, differenced bucket by bucket.

use std::{collections::BTreeMap, sync::Arc};

use super::{BucketValue, SeriesKey, series::Poll};
use crate::core::sample::LATENCY_BUCKETS_LIMIT;

/// The last cumulative buckets of each histogram series, all with the same bounds.
#[derive(Debug, Default)]
pub(super) struct Histograms {
    bounds: Option<Arc<[f64]>>,
    last: BTreeMap<SeriesKey, Last>,
}

#[derive(Debug)]
struct Last {
    at_millis: i64,
    cumulative: Box<[f64]>,
}

/// Why one poll gives no latency. Baselines were dropped, but for [`LatencyGap::Empty`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum LatencyGap {
    #[error("the latency histogram answered nothing; check its selector")]
    Empty,
    #[error("the latency histogram has {0} buckets, more than {LATENCY_BUCKETS_LIMIT}")]
    TooManyBuckets(usize),
    #[error("the latency histogram has no bucket le=\"+Inf\"")]
    NoInfinity,
    #[error("the latency histogram's series have different buckets; narrow its selector")]
    Mixed,
    #[error("the latency histogram's buckets changed; counting of latency begins anew")]
    Changed,
}

impl Histograms {
    pub(super) fn len(&self) -> usize {
        self.last.len() * self.bounds.as_ref().map_or(0, |bounds| bounds.len())
    }

    pub(super) fn bounds(&self) -> Option<&Arc<[f64]>> {
        self.bounds.as_ref()
    }

    pub(super) fn evict(&mut self, oldest_millis: i64) {
        self.last.retain(|_, last| last.at_millis >= oldest_millis);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Checks the buckets of `points`, sorted by time, series and bound, and takes their bounds. On a gap the poll
    /// gives no latency; where the buckets merely changed, `points` are still to be observed, as baselines.
    pub(super) fn prepare(&mut self, points: &[BucketValue]) -> Result<(), LatencyGap> {
        if points.is_empty() {
            return Err(LatencyGap::Empty);
        }
        let checked = bounds_of(points);
        match checked {
            Err(gap) => {
                self.clear();
                Err(gap)
            }
            Ok(bounds) if self.bounds.as_deref() == Some(&bounds) => Ok(()),
            Ok(bounds) => {
                let changed = self.bounds.is_some();
                self.last.clear();
                self.bounds = Some(bounds.into());
                if changed { Err(LatencyGap::Changed) } else { Ok(()) }
            }
        }
    }

    /// Takes points sorted by time, series and bound, and gives each scrape's increments, one a bucket, to `count`.
    pub(super) fn observe(
        &mut self,
        poll: &Poll<'_>,
        points: &[BucketValue],
        mut count: impl FnMut(i64, &mut dyn Iterator<Item = f64>),
    ) {
        for group in groups(points) {
            let first = &group[0];
            let last = self.last.get(&first.series);
            let before = match last {
                Some(last) if first.at_millis <= last.at_millis => continue,
                Some(last) if first.at_millis.saturating_sub(last.at_millis) > poll.longest_gap_millis => None,
                // One bucket that fell: the process began anew, and so did every other bucket of this series.
                Some(last) if group.iter().zip(&last.cumulative).any(|(now, &then)| now.value < then) => Some(None),
                Some(last) => Some(Some(&last.cumulative)),
                None => poll.known.contains_key(&first.target).then_some(None),
            };
            if let Some(before) = before {
                let mut below = 0.0;
                let mut increments = group.iter().enumerate().map(|(bucket, point)| {
                    let grown = point.value - before.map_or(0.0, |cumulative| cumulative[bucket]);
                    // A page written while it was read may show a bucket behind the one below it.
                    let own = (grown - below).max(0.0);
                    below += own;
                    own
                });
                count(first.at_millis, &mut increments);
            }
            let cumulative = group.iter().map(|point| point.value).collect();
            self.last.insert(first.series, Last { at_millis: first.at_millis, cumulative });
        }
    }
}

fn groups(points: &[BucketValue]) -> impl Iterator<Item = &[BucketValue]> {
    points.chunk_by(|one, other| one.at_millis == other.at_millis && one.series == other.series)
}

fn bounds_of(points: &[BucketValue]) -> Result<Vec<f64>, LatencyGap> {
    let mut bounds: Vec<f64> = points.iter().map(|point| point.le).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    if bounds.len() > LATENCY_BUCKETS_LIMIT {
        return Err(LatencyGap::TooManyBuckets(bounds.len()));
    }
    if bounds.last() != Some(&f64::INFINITY) {
        return Err(LatencyGap::NoInfinity);
    }
    let same = |group: &[BucketValue]| {
        group.len() == bounds.len()
            && group.iter().zip(&bounds).all(|(point, bound)| point.le.to_bits() == bound.to_bits())
    };
    if groups(points).all(same) { Ok(bounds) } else { Err(LatencyGap::Mixed) }
}
