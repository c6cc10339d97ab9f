//! The gap budget: how much of a signal may be missing before it counts as lost.

use std::time::Duration;

use crate::core::time::BootTime;

/// Share of expected samples, or of a "for", that may be missing or unknown (design §3).
pub const GAP_BUDGET: f64 = 0.2;

/// Expected samples over which the budget of a signal is counted: long enough that one glitch is not a fifth of it.
const SPAN_SAMPLES: u32 = 20;

/// With fewer samples expected so far nothing is said.
const SAMPLES_AT_LEAST: u32 = 3;

/// One sample that is missing is an accident, however few were expected so far.
const MISSING_AT_LEAST: u32 = 2;

/// The last expected samples, a bit each: heard or not.
#[derive(Debug)]
pub(super) struct GapBudget {
    every: Duration,
    timeout: Duration,
    /// The newest in the lowest bit.
    heard: u32,
    expected: u32,
    /// When the newest was heard, or when the watch began.
    anchor: BootTime,
}

impl GapBudget {
    pub(super) fn new(every: Duration, timeout: Duration, now: BootTime) -> Self {
        Self { every: every.max(Duration::from_millis(1)), timeout, heard: 0, expected: 0, anchor: now }
    }

    /// A sample that was not missed. False if it came so soon after the one before that it was not an expected one.
    pub(super) fn hear(&mut self, at: BootTime) -> bool {
        let gap = at.since(self.anchor).as_secs_f64() / self.every.as_secs_f64();
        if self.expected > 0 && gap < 0.5 {
            return false;
        }
        // Never more than the span is worth remembering.
        let missing = ((gap.round() - 1.0).max(0.0)).min(f64::from(SPAN_SAMPLES));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the span")]
        let missing = missing as u32;
        self.heard = (self.heard << missing << 1 | 1) & ((1 << SPAN_SAMPLES) - 1);
        self.expected = (self.expected + missing + 1).min(SPAN_SAMPLES);
        self.anchor = at;
        true
    }

    /// Whether too much is missing just now, samples that never came included.
    pub(super) fn is_lost(&self, now: BootTime) -> bool {
        let overdue = now.since(self.anchor).saturating_sub(self.timeout).as_secs_f64() / self.every.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the span")]
        let absent = overdue.floor().clamp(0.0, f64::from(SPAN_SAMPLES)) as u32;
        let expected = (self.expected + absent).min(SPAN_SAMPLES);
        let heard = ((u64::from(self.heard) << absent) & ((1 << SPAN_SAMPLES) - 1)).count_ones();
        let missing = expected - heard.min(expected);
        expected >= SAMPLES_AT_LEAST
            && missing >= MISSING_AT_LEAST
            && f64::from(missing) > GAP_BUDGET * f64::from(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> BootTime {
        BootTime::from_nanos((1_000_000 + millis) * 1_000_000)
    }

    fn heard(times: &[u64]) -> GapBudget {
        let mut budget = GapBudget::new(EVERY, Duration::from_secs(1), at(0));
        for &time in times {
            budget.hear(at(time));
        }
        budget
    }

    #[test]
    fn a_regular_signal_with_jitter_and_confirmations_is_not_lost() {
        let mut times: Vec<u64> = (0..30).map(|number| number * 2_000 + (number * 7919) % 400).collect();
        times.extend((0..8).map(|number| 58_500 + number * 250));
        times.sort_unstable();
        let budget = heard(&times);
        assert!(!budget.is_lost(at(60_500)));
    }

    #[test]
    fn silence_is_noticed_after_a_few_intervals_and_heals() {
        let mut budget = heard(&(0..30).map(|number| number * 2_000).collect::<Vec<_>>());
        assert!(!budget.is_lost(at(58_000 + 8_900)), "four missing of twenty are within the budget");
        assert!(budget.is_lost(at(58_000 + 11_100)), "five are not");
        for number in 0..20 {
            budget.hear(at(70_000 + number * 2_000));
        }
        assert!(!budget.is_lost(at(108_500)));
    }

    #[test]
    fn one_in_four_missing_is_lost_and_one_in_ten_is_not() {
        let every_but = |nth: u64| {
            let times: Vec<u64> = (0..60).filter(|number| number % nth != 0).map(|number| number * 2_000).collect();
            heard(&times).is_lost(at(118_500))
        };
        assert!(every_but(4));
        assert!(!every_but(10));
    }

    #[test]
    fn a_signal_that_never_speaks_is_lost_only_after_three_intervals() {
        let budget = heard(&[]);
        assert!(!budget.is_lost(at(6_900)));
        assert!(budget.is_lost(at(7_100)));
    }

    #[test]
    fn a_suspended_machine_loses_the_signal() {
        let mut budget = heard(&(0..30).map(|number| number * 2_000).collect::<Vec<_>>());
        budget.hear(at(3_600_000));
        assert!(budget.is_lost(at(3_600_100)));
    }
}
