//! Plain counters.

use std::collections::BTreeMap;

use super::{SeriesKey, SeriesValue, TargetKey};

/// What decides on increments, the same for counters and histograms.
pub(super) struct Poll<'a> {
    /// Targets known before this poll.
    pub(super) known: &'a BTreeMap<TargetKey, i64>,
    /// Over a longer gap the time of an increment says nothing: the series begins anew.
    pub(super) longest_gap_millis: i64,
}

/// The last point of each series.
#[derive(Debug, Default)]
pub(super) struct Counters {
    last: BTreeMap<SeriesKey, Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    at_millis: i64,
    value: f64,
}

impl Counters {
    pub(super) fn len(&self) -> usize {
        self.last.len()
    }

    /// Drops series that were last seen before `oldest_millis`.
    pub(super) fn evict(&mut self, oldest_millis: i64) {
        self.last.retain(|_, last| last.at_millis >= oldest_millis);
    }

    /// Takes points in ascending order of time and gives each increment to `count`.
    pub(super) fn observe(&mut self, poll: &Poll<'_>, points: &[SeriesValue], mut count: impl FnMut(i64, f64)) {
        for point in points {
            let increment = match self.last.get(&point.series) {
                Some(last) if point.at_millis <= last.at_millis => continue,
                Some(last) if point.at_millis.saturating_sub(last.at_millis) > poll.longest_gap_millis => None,
                Some(last) if point.value < last.value => Some(point.value),
                Some(last) => Some(point.value - last.value),
                None => poll.known.contains_key(&point.target).then_some(point.value),
            };
            if let Some(increment) = increment {
                count(point.at_millis, increment);
            }
            self.last.insert(point.series, Last { at_millis: point.at_millis, value: point.value });
        }
    }
}
