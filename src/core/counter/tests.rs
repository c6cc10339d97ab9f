//! Counters against tables and against a naive model.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::core::sample::REQUEST_POINTS_LIMIT;

const EVERY: Duration = Duration::from_secs(5);

fn point(series: &str, instance: &str, at_millis: i64, value: f64) -> SeriesValue {
    let target = TargetKey::of(instance, "api");
    SeriesValue { series: SeriesKey::of([("code", series), ("instance", instance)]), target, at_millis, value }
}

fn buckets(instance: &str, at_millis: i64, values: &[(f64, f64)]) -> Vec<BucketValue> {
    let series = SeriesKey::of([("instance", instance)]);
    let target = TargetKey::of(instance, "api");
    values.iter().map(|&(le, value)| BucketValue { series, target, le, at_millis, value }).collect()
}

fn sums(counted: &[Counted]) -> (u64, u64) {
    (counted.iter().map(|each| each.counts.total).sum(), counted.iter().map(|each| each.counts.errors).sum())
}

/// Polls one after another; each gives the sum of requests and errors, or an error.
fn polls(polls: &[(&[SeriesValue], &[SeriesValue])]) -> Vec<Result<(u64, u64), CounterError>> {
    let mut tracker = CounterTracker::new(EVERY);
    polls.iter().map(|(total, errors)| tracker.observe(total, errors, None).map(|counted| sums(&counted))).collect()
}

#[test]
fn baselines_resets_new_series_and_new_targets() {
    let a = |at, value| point("200", "a", at, value);
    let failing = |at, value| point("500", "a", at, value);
    let b = |at, value| point("200", "b", at, value);
    assert_eq!(
        polls(&[
            (&[a(0, 100.0)], &[]),
            (&[a(5_000, 110.0)], &[]),
            // The first error ever counts from 0, as a request and as an error.
            (&[a(10_000, 117.0), failing(10_000, 3.0)], &[failing(10_000, 3.0)]),
            // A new target's first value is a baseline.
            (&[a(15_000, 117.0), failing(15_000, 3.0), b(15_000, 4000.0)], &[failing(15_000, 3.0)]),
            // The process began anew, and served 6.
            (&[a(20_000, 6.0), b(20_000, 4001.0)], &[]),
            // Its error series comes back.
            (&[a(25_000, 6.0), failing(25_000, 2.0)], &[failing(25_000, 2.0)]),
        ]),
        [Ok((0, 0)), Ok((10, 0)), Ok((10, 3)), Ok((0, 0)), Ok((7, 0)), Ok((2, 2))]
    );
}

#[test]
fn an_empty_total_is_no_zero_and_loses_nothing() {
    let a = |at, value| point("200", "a", at, value);
    let seen = polls(&[(&[a(0, 1.0)], &[]), (&[], &[]), (&[a(10_000, 9.0)], &[])]);
    assert_eq!(seen, [Ok((0, 0)), Err(CounterError::NoTotal), Ok((8, 0))]);
}

#[test]
fn values_that_no_counter_has_are_refused_and_change_nothing() {
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        let a = |at, value| point("200", "a", at, value);
        let seen = polls(&[(&[a(0, 1.0)], &[]), (&[a(5_000, bad)], &[]), (&[a(10_000, 4.0)], &[])]);
        assert!(matches!(seen[1], Err(CounterError::BadValue { .. })), "{bad}: {seen:?}");
        assert_eq!(seen[2], Ok((3, 0)));
    }
}

#[test]
fn errors_that_run_ahead_wait_and_errors_that_never_fit_are_told() {
    let a = |at, value| point("200", "a", at, value);
    let seen = polls(&[
        (&[a(0, 0.0)], &[a(0, 0.0)]),
        (&[a(5_000, 1.0)], &[a(5_000, 4.0)]),
        (&[a(10_000, 6.0)], &[a(10_000, 4.0)]),
    ]);
    assert_eq!(seen, [Ok((0, 0)), Ok((1, 1)), Ok((5, 3))]);

    let never: Vec<_> = (0..5).map(|poll| (a(poll * 5_000, 0.0), a(poll * 5_000, poll as f64 * 10.0))).collect();
    let mut tracker = CounterTracker::new(EVERY);
    let told: Vec<_> =
        never.iter().map(|(total, errors)| tracker.observe(&[*total], &[*errors], None).is_err()).collect();
    assert_eq!(told, [false, false, false, true, false]);
}

#[test]
fn a_gap_too_long_is_not_counted_and_its_series_go_on() {
    let a = |at, value| point("200", "a", at, value);
    let seen = polls(&[(&[a(0, 0.0)], &[]), (&[a(301_000, 900.0)], &[]), (&[a(306_000, 905.0)], &[])]);
    assert_eq!(seen, [Ok((0, 0)), Ok((0, 0)), Ok((5, 0))]);
}

#[test]
fn a_series_absent_for_long_on_a_live_target_counts_from_zero() {
    let mut tracker = CounterTracker::new(EVERY);
    let steady = |at| point("200", "a", at, 10.0);
    let failing = |at, value| point("500", "a", at, value);
    assert!(tracker.observe(&[steady(0), failing(0, 50.0)], &[failing(0, 50.0)], None).is_ok());
    for at in (60_000..=360_000).step_by(60_000) {
        assert!(tracker.observe(&[steady(at)], &[], None).is_ok());
    }
    let counted = tracker.observe(&[steady(365_000), failing(365_000, 60.0)], &[failing(365_000, 60.0)], None);
    assert_eq!(sums(&counted.expect("a poll")), (60, 60));
}

#[test]
fn timestamps_that_step_back_begin_anew() {
    let a = |at, value| point("200", "a", at, value);
    let seen = polls(&[
        (&[a(1_000_000, 5.0)], &[]),
        (&[a(10_000, 7.0)], &[]),
        (&[a(15_000, 9.0)], &[]),
        (&[a(20_000, 12.0)], &[]),
    ]);
    assert_eq!(seen, [Ok((0, 0)), Err(CounterError::SteppedBack { back_millis: 990_000 }), Ok((0, 0)), Ok((3, 0))]);
}

#[test]
fn catching_up_gives_each_count_its_time_and_a_bounded_number_of_them() {
    let mut tracker = CounterTracker::new(EVERY);
    let a = |at: i64| point("200", "a", at, at as f64 / 1_000.0);
    assert!(tracker.observe(&[a(0)], &[], None).expect("a poll").is_empty());
    let points: Vec<_> = (0..=30).map(|second| a(second * 1_000)).rev().collect();
    let counted = tracker.observe(&points, &[], None).expect("a poll");
    assert_eq!(counted.len(), 30);
    assert!(counted.iter().enumerate().all(|(place, each)| each.at_millis / 1_000
        == i64::try_from(place).expect("few") + 1
        && each.counts.total == 1));
    let many: Vec<_> = (30..=300).map(|second| a(second * 1_000)).collect();
    let counted = tracker.observe(&many, &[], None).expect("a poll");
    assert!(counted.len() <= REQUEST_POINTS_LIMIT && counted.len() > REQUEST_POINTS_LIMIT / 2, "{}", counted.len());
    assert_eq!(sums(&counted).0, 270);
    assert!(counted.is_sorted_by(|one, next| one.at_millis < next.at_millis));
}

#[test]
fn too_many_series_are_told() {
    let points: Vec<_> = (0..=SERIES_LIMIT).map(|number| point(&number.to_string(), "a", 0, 1.0)).collect();
    let mut tracker = CounterTracker::new(EVERY);
    let told = tracker.observe(&points, &[], None);
    assert_eq!(told, Err(CounterError::TooManySeries { series: SERIES_LIMIT + 1 }));
    assert!(tracker.observe(&points[1..], &[], None).is_ok());
}

#[test]
fn histograms_bucket_by_bucket_with_one_series_beginning_anew() {
    let mut tracker = CounterTracker::new(EVERY);
    let infinite = f64::INFINITY;
    let mut poll = |at, a: [f64; 3], b: [f64; 3]| {
        let all = [("a", a), ("b", b)]
            .map(|(name, [one, two, three])| buckets(name, at, &[(0.1, one), (infinite, three), (0.5, two)]));
        let total = [point("200", "a", at, a[2]), point("200", "b", at, b[2])];
        let counted = tracker.observe(&total, &[], Some(&all.concat())).expect("a poll");
        let latency = counted.last().and_then(|last| last.counts.latency.clone());
        latency.map(|latency| latency.expect("a histogram").counts.to_vec())
    };
    assert_eq!(poll(0, [10.0, 20.0, 30.0], [5.0, 5.0, 5.0]), None);
    assert_eq!(poll(5_000, [11.0, 23.0, 34.0], [5.0, 5.0, 5.0]), Some(vec![1, 2, 1]));
    assert_eq!(poll(10_000, [11.0, 23.0, 34.0], [1.0, 1.0, 4.0]), Some(vec![1, 0, 3]));
}

#[test]
fn a_histogram_that_cannot_be_used_is_told_and_spoils_no_counts() {
    let infinite = f64::INFINITY;
    let good = |at, value| buckets("a", at, &[(0.1, value), (infinite, value)]);
    let cases: [(Vec<BucketValue>, &str); 5] = [
        (vec![], "answered nothing"),
        (buckets("a", 10_000, &[(0.1, 1.0)]), "+Inf"),
        (buckets("a", 10_000, &[(0.2, 6.0), (infinite, 6.0)]), "changed"),
        ([good(10_000, 6.0), buckets("b", 10_000, &[(0.3, 1.0), (infinite, 1.0)])].concat(), "different buckets"),
        (buckets("a", 10_000, &(0..40).map(|le| (f64::from(le), 1.0)).collect::<Vec<_>>()), "40 buckets"),
    ];
    for (latency, words) in cases {
        let mut tracker = CounterTracker::new(EVERY);
        let total = |at, value| [point("200", "a", at, value)];
        assert!(tracker.observe(&total(0, 0.0), &[], Some(&good(0, 0.0))).expect("a poll").is_empty());
        assert!(tracker.observe(&total(5_000, 5.0), &[], Some(&good(5_000, 5.0))).is_ok());
        let counted = tracker.observe(&total(10_000, 7.0), &[], Some(&latency)).expect("a poll");
        let last = counted.last().expect("one");
        assert_eq!(last.counts.total, 2);
        let told = last.latency_missed().expect("told").to_string();
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn fractions_are_carried_to_whole_numbers() {
    let mut tracker = CounterTracker::new(EVERY);
    let mut sum = 0;
    for poll in 0..=1_000 {
        let counted = tracker.observe(&[point("200", "a", poll * 5_000, poll as f64 * 0.3)], &[], None);
        sum += sums(&counted.expect("a poll")).0;
    }
    assert_eq!(sum, 300);
}

proptest! {
    /// Two series that count up by known steps and begin anew now and then; polled at arbitrary times through a
    /// range of points, every increment is counted exactly once.
    #[test]
    fn nothing_is_lost_or_counted_twice(
        steps in prop::collection::vec((0_u32..20, 0_u32..20, prop::bool::weighted(0.1)), 1..120),
        poll_every in 1_usize..8,
        overlap in 0_usize..5,
    ) {
        let (mut good, mut bad) = (0_u32, 0_u32);
        let (mut expected_total, mut expected_errors) = (0, 0);
        let mut history = vec![(0_i64, good, bad)];
        for (at, &(more_good, more_bad, anew)) in (1..).zip(&steps) {
            if anew {
                (good, bad) = (0, 0);
            }
            (good, bad) = (good + more_good, bad + more_bad);
            // A process that began anew and overtook its old count within one scrape cannot be told from one that went on.
            let (_, last_good, last_bad) = *history.last().expect("one");
            let seen = |last: u32, now: u32| if now < last { now } else { now - last };
            let (add_good, add_bad) = (seen(last_good, good), seen(last_bad, bad));
            expected_total += u64::from(add_good + add_bad);
            expected_errors += u64::from(add_bad);
            history.push((at * 1_000, good, bad));
        }
        let mut tracker = CounterTracker::new(EVERY);
        let (mut total, mut errors) = (0, 0);
        let mut seen = 1;
        prop_assert!(tracker.observe(
            &[point("200", "a", 0, 0.0), point("500", "a", 0, 0.0)], &[point("500", "a", 0, 0.0)], None
        ).expect("a poll").is_empty());
        while seen < history.len() {
            let until = (seen + poll_every).min(history.len());
            let range = &history[seen.saturating_sub(overlap)..until];
            let bad: Vec<_> = range.iter().map(|&(at, _, bad)| point("500", "a", at, f64::from(bad))).collect();
            let mut all: Vec<_> = range.iter().map(|&(at, good, _)| point("200", "a", at, f64::from(good))).collect();
            all.extend(&bad);
            let counted = tracker.observe(&all, &bad, None).expect("a poll");
            prop_assert!(counted.iter().all(|each| each.counts.errors <= each.counts.total));
            let (more, more_errors) = sums(&counted);
            (total, errors) = (total + more, errors + more_errors);
            seen = until;
        }
        prop_assert_eq!((total, errors), (expected_total, expected_errors));
    }
}
