//! Increments by the time at which they were seen.

use std::sync::Arc;

use super::Counted;
use crate::core::{
    sample::{LatencyCounts, REQUEST_POINTS_LIMIT, RequestCounts},
    statistics::whole_part,
};

/// Points closer together than this are counted as one: targets are scraped at offsets of their own, and no window is
/// finer than a second.
const SLOT_MILLIS_AT_LEAST: i64 = 1_000;

/// One poll's increments, oldest slot first; the last slot ends at the newest point.
#[derive(Debug)]
pub(super) struct Slots {
    newest_millis: i64,
    width_millis: i64,
    all: Vec<Slot>,
}

#[derive(Debug, Clone)]
struct Slot {
    at_millis: i64,
    touched: bool,
    total: f64,
    errors: f64,
    latency: Vec<f64>,
}

/// What is left over between polls.
#[derive(Debug, Default)]
pub(super) struct Remainders {
    /// Errors that have no request yet.
    errors_ahead: f64,
    total_fraction: f64,
    latency_fractions: Vec<f64>,
}

impl Remainders {
    pub(super) fn errors_ahead(&self) -> f64 {
        self.errors_ahead
    }

    pub(super) fn drop_errors_ahead(&mut self) {
        self.errors_ahead = 0.0;
    }
}

impl Slots {
    pub(super) fn new(oldest_new_millis: i64, newest_millis: i64, buckets: usize) -> Self {
        let limit = i64::try_from(REQUEST_POINTS_LIMIT).expect("a small constant");
        let span = newest_millis.saturating_sub(oldest_new_millis).max(0);
        let width_millis = (span / limit + 1).max(SLOT_MILLIS_AT_LEAST);
        let count = usize::try_from(span / width_millis + 1).unwrap_or(1).min(REQUEST_POINTS_LIMIT);
        let empty = Slot { at_millis: i64::MIN, touched: false, total: 0.0, errors: 0.0, latency: vec![0.0; buckets] };
        let mut all = vec![empty; count];
        all[count - 1].at_millis = newest_millis;
        Self { newest_millis, width_millis, all }
    }

    fn slot(&mut self, at_millis: i64) -> &mut Slot {
        let back = self.newest_millis.saturating_sub(at_millis).max(0) / self.width_millis;
        let last = self.all.len() - 1;
        let slot = &mut self.all[last - usize::try_from(back).unwrap_or(usize::MAX).min(last)];
        slot.at_millis = slot.at_millis.max(at_millis.min(self.newest_millis));
        slot.touched = true;
        slot
    }

    pub(super) fn add_total(&mut self, at_millis: i64, increment: f64) {
        self.slot(at_millis).total += increment;
    }

    pub(super) fn add_errors(&mut self, at_millis: i64, increment: f64) {
        self.slot(at_millis).errors += increment;
    }

    pub(super) fn add_latency(&mut self, at_millis: i64, increments: impl Iterator<Item = f64>) {
        let slot = self.slot(at_millis);
        for (sum, increment) in slot.latency.iter_mut().zip(increments) {
            *sum += increment;
        }
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.all.iter().all(|slot| !slot.touched)
    }

    /// Whole numbers, with what does not fit carried on in `remainders`. The last slot is always there, perhaps with
    /// zeros: that nothing happened is news too.
    pub(super) fn finish(self, remainders: &mut Remainders, bounds: Option<&Arc<[f64]>>) -> Vec<Counted> {
        let last = self.all.len() - 1;
        let mut counted = Vec::new();
        for (place, slot) in self.all.into_iter().enumerate() {
            if !slot.touched && place != last {
                continue;
            }
            let total = whole(slot.total, &mut remainders.total_fraction);
            remainders.errors_ahead += slot.errors;
            let errors = whole_part(remainders.errors_ahead.round().min(total as f64));
            remainders.errors_ahead = settle(remainders.errors_ahead - errors as f64);
            let latency = bounds.map(|bounds| {
                remainders.latency_fractions.resize(slot.latency.len(), 0.0);
                let fractions = remainders.latency_fractions.iter_mut();
                let counts = slot.latency.iter().zip(fractions).map(|(&sum, fraction)| whole(sum, fraction)).collect();
                Ok(LatencyCounts { bounds: Arc::clone(bounds), counts })
            });
            counted.push(Counted { at_millis: slot.at_millis, counts: RequestCounts { total, errors, latency } });
        }
        counted
    }
}

/// The nearest whole number to `sum` and what was left before; the rest is left for the next.
fn whole(sum: f64, fraction: &mut f64) -> u64 {
    let exact = sum + *fraction;
    let rounded = exact.round().max(0.0);
    *fraction = settle(exact - rounded);
    whole_part(rounded)
}

/// Rounding noise of a sum over many series is no remainder.
fn settle(remainder: f64) -> f64 {
    if remainder.abs() < 1e-6 { 0.0 } else { remainder }
}
