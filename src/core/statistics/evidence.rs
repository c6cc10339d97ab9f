//! When a count of errors is evidence.

use std::time::Duration;

use super::{at_least, at_most, whole_part};
use crate::core::{answer::Answer, policy::RateLimit};

/// A day, over which false alarms are bounded.
pub const SECONDS_A_DAY: f64 = 86_400.0;

/// Tests for one poll: the window's sums change when it enters, and again when it leaves.
const TESTS_A_POLL: f64 = 2.0;

/// A service whose true error rate is at most this share of the limit is called honest, and the chance that it is
/// falsely accused on any one day is bounded.
///
/// Chosen by computation for a limit of 5 %, 60 requests a minute and a poll every 5 s. A true 12 % is found within five
/// minutes in 84 % of runs with one half, 93 % with 0.4, and 97 % with 0.35: the largest that reaches the goal of 95 %.
/// A smaller share gains nothing, because the evidence of a single test asks for as many errors by then.
pub const HONEST_FRACTION: f64 = 0.35;

/// What was above the limit counts as below again only at this share of it.
pub const EXIT_FRACTION: f64 = 0.8;

/// Numbers of errors whose test is remembered; with more, each test is computed (about a microsecond).
const REMEMBERED_ERRORS: usize = 64;

/// The test of one error rate against its limit.
///
/// *Yes* needs, besides `min_requests` and `min_errors`, both of
/// - one test's evidence: P(X ≥ k | n, limit) ≤ 1 − confidence, the exact (Clopper–Pearson) one-sided binomial test;
/// - all tests' evidence: P(X ≥ k | n, honest) ≤ (1 − confidence) / tests a day, where honest is [`HONEST_FRACTION`] of
///   the limit. By Boole's inequality the chance of a false alarm on a day is then at most 1 − confidence, however the
///   windows overlap: Bonferroni's correction, the error spent evenly over the day's tests.
///
/// *No* needs `min_requests` and P(X ≤ k | n, limit) ≤ 1/2: the median-unbiased estimate of the rate lies at or below
/// the limit. That is deliberately less than `yes` needs, so that a healthy service of low traffic can be called healthy.
/// Between the two, and with fewer requests, the answer is unknown.
#[derive(Debug, Clone)]
pub struct Evidence {
    limit: f64,
    one_test: f64,
    each_of_a_day: f64,
    min_requests: u64,
    min_errors: u64,
    /// By number of errors: the most requests among which so many are evidence, plus one; 0 where not yet computed.
    /// A fixed table of k for n, kept by k: of n there are too many. Made and filled as needed: a service that stays
    /// below its limit needs none.
    most_requests: Option<Box<[u32; REMEMBERED_ERRORS]>>,
}

impl Evidence {
    /// The test for a source that is polled every `every`.
    pub fn new(limit: &RateLimit, every: Duration) -> Self {
        let tests = (TESTS_A_POLL * SECONDS_A_DAY / every.as_secs_f64().max(1e-3)).max(1.0);
        let one_test = 1.0 - limit.confidence;
        Self {
            limit: limit.above,
            one_test,
            each_of_a_day: one_test / tests,
            min_requests: limit.min_requests.max(1),
            min_errors: limit.min_errors.max(1),
            most_requests: None,
        }
    }

    /// The answer to `errors` among `requests`, without hysteresis.
    pub fn answer(&mut self, errors: u64, requests: u64) -> Answer {
        if requests < self.min_requests {
            Answer::Unknown
        } else if self.is_above(errors, requests) {
            Answer::Yes
        } else {
            self.is_below(errors, requests)
        }
    }

    /// Whether so many errors are evidence for a rate above the limit.
    pub fn is_above(&mut self, errors: u64, requests: u64) -> bool {
        // Below its own median a tail is at least one half, and no confidence is that low.
        if errors < self.min_errors || requests < self.min_requests || errors as f64 <= self.limit * requests as f64 {
            return false;
        }
        let Some(place) = usize::try_from(errors).ok().filter(|&place| place < REMEMBERED_ERRORS) else {
            return self.proves(errors, requests);
        };
        let known = self.most_requests.as_ref().map_or(0, |table| table[place]);
        if known > 0 {
            return requests < u64::from(known);
        }
        let most = u32::try_from(self.most_requests_for(errors)).unwrap_or(u32::MAX - 1);
        self.most_requests.get_or_insert_with(|| Box::new([0; REMEMBERED_ERRORS]))[place] = most + 1;
        requests <= u64::from(most)
    }

    /// Whether so few errors are evidence for a rate at or below the limit: no, else unknown.
    pub fn is_below(&self, errors: u64, requests: u64) -> Answer {
        if requests < self.min_requests {
            return Answer::Unknown;
        }
        // The median lies between the whole numbers around the mean (Kaas and Buhrman, Statistica Neerlandica 34, 1980).
        let mean = self.limit * requests as f64;
        let below = errors as f64 + 1.0 <= mean.floor()
            || (errors as f64 <= mean && at_most(errors, requests, self.limit) <= 0.5);
        if below { Answer::No } else { Answer::Unknown }
    }

    /// Whether the rate is low enough to end what was above the limit.
    pub fn is_clear(&self, errors: u64, requests: u64) -> bool {
        requests >= self.min_requests && errors as f64 <= EXIT_FRACTION * self.limit * requests as f64
    }

    /// Fewest errors that are evidence among so many requests; none if there are too few requests.
    pub fn needed(&self, requests: u64) -> Option<u64> {
        if requests < self.min_requests || !self.proves(requests, requests) {
            return None;
        }
        let (mut too_few, mut enough) = (0, requests);
        while enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            if self.proves(middle, requests) { enough = middle } else { too_few = middle }
        }
        Some(enough.max(self.min_errors))
    }

    fn proves(&self, errors: u64, requests: u64) -> bool {
        at_least(errors, requests, self.limit) <= self.one_test
            && at_least(errors, requests, HONEST_FRACTION * self.limit) <= self.each_of_a_day
    }

    /// The most requests among which so many errors are evidence; 0 if none are.
    fn most_requests_for(&self, errors: u64) -> u64 {
        if !self.proves(errors, errors) {
            return 0;
        }
        // At the limit itself they are the median, which proves nothing.
        let (mut proved, mut too_many) = (errors, whole_part(errors as f64 / self.limit) + 3);
        while too_many - proved > 1 {
            let middle = proved + (too_many - proved) / 2;
            if self.proves(errors, middle) { proved = middle } else { too_many = middle }
        }
        proved
    }
}

#[cfg(test)]
mod tests {
    use Answer::{No, Unknown, Yes};
    use proptest::prelude::*;

    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    fn limit(above: f64) -> RateLimit {
        RateLimit {
            above,
            over: Duration::from_mins(1),
            confidence: 0.99,
            min_requests: 100,
            widen_to: Duration::from_mins(10),
            min_errors: 3,
        }
    }

    #[test]
    fn fewest_errors_for_the_runbooks_limits() {
        let cases = [(0.05, 100, Some(12)), (0.05, 99, None), (0.05, 480, Some(37)), (0.01, 100, Some(7))];
        for (above, requests, needed) in cases {
            assert_eq!(Evidence::new(&limit(above), EVERY).needed(requests), needed, "{above} {requests}");
        }
    }

    #[test]
    fn answers_for_a_hundred_requests_at_five_percent() {
        let mut evidence = Evidence::new(&limit(0.05), EVERY);
        let answers: Vec<_> = [0, 4, 5, 11, 12, 100].map(|errors| evidence.answer(errors, 100)).into();
        assert_eq!(answers, [No, No, Unknown, Unknown, Yes, Yes]);
        assert_eq!(evidence.answer(99, 99), Unknown, "too few requests prove nothing");
    }

    #[test]
    fn few_errors_prove_nothing_however_rare_they_should_be() {
        let mut evidence = Evidence::new(&RateLimit { min_requests: 1, ..limit(1e-9) }, EVERY);
        assert_eq!(evidence.answer(2, 100), Answer::Unknown);
        assert_eq!(evidence.answer(3, 100), Answer::Yes);
    }

    #[test]
    fn needed_errors_never_fall_with_more_requests_and_rise_by_at_most_one() {
        for above in [0.001, 0.01, 0.05, 0.3] {
            let mut evidence = Evidence::new(&limit(above), EVERY);
            let mut before = evidence.needed(100).expect("enough requests");
            for requests in 101..3_000 {
                let needed = evidence.needed(requests).expect("enough requests");
                assert!(needed == before || needed == before + 1, "{above} {requests}: {before} {needed}");
                assert!(evidence.is_above(needed, requests));
                assert!(!evidence.is_above(needed - 1, requests));
                before = needed;
            }
        }
    }

    #[test]
    fn the_error_of_a_day_is_spent_over_its_tests() {
        // Whatever the table says: a day of tests at an honest service costs at most one percent.
        let evidence = Evidence::new(&limit(0.05), EVERY);
        let tests = SECONDS_A_DAY / EVERY.as_secs_f64() * TESTS_A_POLL;
        for requests in [100, 104, 250, 500, 6_000] {
            let needed = evidence.needed(requests).expect("enough requests");
            let day = tests * at_least(needed, requests, HONEST_FRACTION * 0.05);
            assert!(day <= 0.01 * (1.0 + 1e-9), "{requests}: {day}");
        }
    }

    proptest! {
        /// The remembered table and the shortcut by the median say what the tails say.
        #[test]
        fn answers_equal_the_tails(
            above in 0.0005_f64..0.6,
            requests in 1_u64..3_000,
            share in 0.0_f64..=1.0,
            near in 0.0_f64..3.0,
            min_requests in 1_u64..200,
        ) {
            let limit = RateLimit { min_requests, ..limit(above) };
            let mut evidence = Evidence::new(&limit, EVERY);
            let around = whole_part(near * above * requests as f64);
            for errors in [whole_part(share * requests as f64), around.min(requests)] {
                let yes = errors >= 3
                    && at_least(errors, requests, above) <= 0.01
                    && at_least(errors, requests, HONEST_FRACTION * above) <= 0.01 / 34_560.0;
                let no = at_most(errors, requests, above) <= 0.5;
                let expected = match (requests >= min_requests, yes, no) {
                    (true, true, _) => Answer::Yes,
                    (true, false, true) => Answer::No,
                    _ => Answer::Unknown,
                };
                prop_assert_eq!(evidence.answer(errors, requests), expected, "{} of {}", errors, requests);
                prop_assert_eq!(evidence.answer(errors, requests), expected, "the second time, from the table");
            }
        }
    }
}
