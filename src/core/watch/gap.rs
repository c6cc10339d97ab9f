//! The gap budget: how much of a signal may be missing before it counts as lost.

use std::time::Duration;

use crate::core::time::BootTime;

/// Share of expected samples, or of a "for", that may be missing or unknown (design §3).
pub const GAP_BUDGET: f64 = 0.2;

/// Expected samples over which the budget of a signal is counted: long enough that one glitch is not a fifth of it.
const SPAN_SAMPLES: u32 = 20;

/// With fewer samples expected so far nothing is said.
const SAMPLES_AT_LEAST: u32 = 3;

/// One sample that is missing is an accident.
const MISSING_AT_LEAST: u64 = 2;

/// A lost signal is restored once so many expected samples in a row were heard.
const RESTORED_AFTER_SAMPLES: u32 = 5;

/// The last expected samples, a bit each: heard or not.
///
/// A signal is lost once more than a fifth of the last twenty is missing, two at least. It is restored once the last five
/// were all heard; what was missing before them then no longer counts. If it is lost again before twenty more were heard, it
/// takes twice as many in a row to be restored, twenty at most: a signal of which a fourth is missing stays lost.
#[derive(Debug)]
pub(super) struct GapBudget {
    every: Duration,
    timeout: Duration,
    /// The newest in the lowest bit.
    heard: u32,
    expected: u32,
    /// When the newest was heard, or when the watch began.
    anchor: BootTime,
    lost: bool,
    /// Samples in a row that restore it.
    needed: u32,
    /// Samples heard since it was last restored, up to the span.
    calm: u32,
}

/// What a sample that was heard is to a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It came so soon after the one before that it was not an expected one.
    Between,
    /// An expected one.
    Expected,
    /// The one that restores a lost signal. What is watched begins anew at this time, with the first of those in a row.
    Restoring(BootTime),
}

impl GapBudget {
    pub(super) fn new(every: Duration, timeout: Duration, now: BootTime) -> Self {
        Self {
            every: every.max(Duration::from_millis(1)),
            timeout,
            heard: 0,
            expected: 0,
            anchor: now,
            lost: false,
            needed: RESTORED_AFTER_SAMPLES,
            calm: SPAN_SAMPLES,
        }
    }

    /// A sample that was not missed.
    pub(super) fn hear(&mut self, at: BootTime) -> Hearing {
        let gap = at.since(self.anchor);
        if self.expected > 0 && gap < self.every / 2 {
            return Hearing::Between;
        }
        let was_lost = self.lost || (gap >= self.every + self.timeout && self.is_lost(at));
        let missing = if gap < self.every { 0 } else { self.intervals(gap + self.every / 2) - 1 };
        self.heard = (self.heard << missing << 1 | 1) & ((1 << SPAN_SAMPLES) - 1);
        self.expected = (self.expected + missing + 1).min(SPAN_SAMPLES);
        self.anchor = at;
        self.lost = was_lost || is_too_much((self.expected - self.heard.count_ones()).into(), self.expected.into());
        let in_a_row = self.heard.trailing_ones();
        if !self.lost {
            self.calm = (self.calm + 1).min(SPAN_SAMPLES);
            return Hearing::Expected;
        }
        if self.calm == SPAN_SAMPLES {
            self.needed = RESTORED_AFTER_SAMPLES;
        }
        if in_a_row < self.needed {
            return Hearing::Expected;
        }
        self.lost = false;
        self.expected = in_a_row;
        self.heard = (1 << in_a_row) - 1;
        self.calm = 0;
        self.needed = (self.needed * 2).min(SPAN_SAMPLES);
        Hearing::Restoring(at.before(self.every * in_a_row))
    }

    /// Whole intervals in `gap`, as far as they are worth remembering.
    fn intervals(&self, gap: Duration) -> u32 {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let intervals = (nanos(gap) / nanos(self.every)).min(SPAN_SAMPLES.into());
        u32::try_from(intervals).expect("no more than the span")
    }

    /// Whether too much is missing just now, samples that never came included.
    pub(super) fn is_lost(&self, now: BootTime) -> bool {
        let absent = self.intervals(now.since(self.anchor).saturating_sub(self.timeout));
        let expected = (self.expected + absent).min(SPAN_SAMPLES);
        let heard = ((u64::from(self.heard) << absent) & ((1 << SPAN_SAMPLES) - 1)).count_ones();
        self.lost
            || (expected >= SAMPLES_AT_LEAST && is_too_much((expected - heard.min(expected)).into(), expected.into()))
    }
}

/// Whether so many missing of those that were expected are past the budget. One is an accident, however few were expected.
pub(super) fn is_too_much(missing: u64, expected: u64) -> bool {
    missing >= MISSING_AT_LEAST && missing as f64 > GAP_BUDGET * expected as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// Takes a pattern of expected samples, heard or missing, round and round; tells at which sample it was found lost,
    /// restored, lost, and so on.
    fn changes(pattern: &str, samples: u64) -> Vec<u64> {
        let mut budget = heard(&[0]);
        let (mut changes, mut was_lost) = (Vec::new(), false);
        for (number, kind) in (1..=samples).zip(pattern.chars().cycle()) {
            let time = at(number * 2_000);
            if kind == 'H' {
                budget.hear(time);
            }
            // When the next one is about to come.
            let is_lost = budget.is_lost(time.after(Duration::from_millis(1_999)));
            if is_lost != was_lost {
                changes.push(number);
                was_lost = is_lost;
            }
        }
        changes
    }

    #[test]
    fn a_lost_signal_is_restored_by_five_in_a_row_and_does_not_flap() {
        let twenty = "HHHHHHHHHHHHHHHHHHHH";
        let cases = [
            // Found within the budget's five, and restored by five, however long it was lost.
            (format!("{twenty}{}{twenty}", "M".repeat(5)), 45, vec![25, 30]),
            (format!("{twenty}{}{twenty}", "M".repeat(500)), 540, vec![25, 525]),
            // Within the budget.
            (format!("{twenty}MMMM"), 240, vec![]),
            ("HHHHHHHHHM".to_owned(), 1_000, vec![]),
            // More than a fifth for good: lost for good.
            ("HHHM".to_owned(), 1_000, vec![8]),
            // Five in a row between two gaps restore it once, and then it takes ten, and then twenty.
            ("HHHHHMM".to_owned(), 10_000, vec![7, 12, 14]),
            ("HHHHHHHHHHMMMM".to_owned(), 10_000, vec![13, 19, 27, 38, 41]),
            // Twenty heard are a new beginning.
            (format!("{twenty}{twenty}{}", "M".repeat(9)), 147, vec![45, 54, 94, 103, 143]),
        ];
        for (pattern, samples, expected) in cases {
            assert_eq!(changes(&pattern, samples), expected, "{pattern}");
        }
    }

    proptest! {
        /// What is lost is restored only by five or more in a row; what is restored was not missing for five samples.
        #[test]
        fn it_is_restored_only_by_samples_in_a_row(heard in prop::collection::vec(prop::bool::weighted(0.8), 1..400)) {
            let mut budget = GapBudget::new(EVERY, Duration::from_secs(1), at(0));
            let (mut in_a_row, mut was_lost, mut restored) = (0, false, 0_u64);
            for (number, &heard) in (1..).zip(&heard) {
                let time = at(number * 2_000);
                let hearing = heard.then(|| budget.hear(time));
                in_a_row = if heard { in_a_row + 1 } else { 0 };
                let is_lost = budget.is_lost(time);
                match hearing {
                    Some(Hearing::Restoring(begin)) => {
                        prop_assert!(was_lost && !is_lost && in_a_row >= RESTORED_AFTER_SAMPLES);
                        prop_assert_eq!(begin, time.before(EVERY * in_a_row));
                        restored += 1;
                    }
                    _ => prop_assert!(is_lost || !was_lost, "it is restored, and nobody is told"),
                }
                was_lost = is_lost;
            }
            // It takes a loss, five at least and two missing again.
            prop_assert!(restored <= heard.len() as u64 / 7 + 1);
        }
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
