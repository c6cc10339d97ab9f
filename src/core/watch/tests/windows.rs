//! Windows through the watch: known at every phase, whole after a start, blind where too much is missing.

use std::time::Duration;

use proptest::prelude::*;

use super::{super::*, bench::*};
use crate::core::{
    name::SignalName,
    policy::*,
    reading::Reading,
    sample::{Measurement, Outcome, Reason, RequestCounts},
};

/// The bench's service with one more question: an error rate above 5 % over `over`, widened up to `widen_to`, of a
/// source that is polled every `every`. Lengths in milliseconds.
fn with_window(over: u64, widen_to: u64, every: u64) -> ServicePolicy {
    let mut policy = policy();
    policy.signals[usize::from(REQUESTS)].every = Duration::from_millis(every);
    for atom in &mut policy.atoms {
        if let Atom::ErrorRate { limit, .. } = atom {
            limit.over = Duration::from_millis(over);
            limit.widen_to = Duration::from_millis(widen_to);
        }
    }
    policy
}

fn rate_seen(bench: &Bench, question: usize) -> (u64, f64, f64) {
    let path = bench.watch.path(bench.now, bench.facts());
    let Reading::Rate { requests, over_seconds, blind, .. } = path.questions[question].readings[0] else {
        panic!("{path:?}")
    };
    (requests, over_seconds, blind)
}

#[test]
fn a_regular_source_has_an_answer_at_every_phase() {
    for (over, widen_to, every) in [
        (10_000, 600_000, 5_000),
        (10_000, 600_000, 1_000),
        (15_000, 600_000, 5_000),
        (19_000, 600_000, 5_000),
        (20_000, 600_000, 5_000),
        (60_000, 600_000, 5_000),
        (60_000, 600_000, 15_000),
        (60_000, 60_000, 60_000),
        (1_000, 600_000, 500),
        (5_000, 3_600_000, 5_000),
    ] {
        let mut bench = Bench::of(with_window(over, widen_to, every));
        for poll in 0..400_u64 {
            // A poll begins late by up to a twentieth of the interval.
            let late = every * (poll * 7_919 % 50) / 1_000;
            let start = bench.now;
            bench.wait(Duration::from_millis(late));
            bench.count(1_000, 0);
            bench.evaluate();
            for phase in 1..=7 {
                if poll > 20 {
                    assert_eq!(
                        bench.answer("error_rate_critical"),
                        Answer::No,
                        "{over} {widen_to} {every}: {poll} {phase}"
                    );
                    let (requests, seconds, blind) = rate_seen(&bench, 3);
                    assert!(
                        seconds * 1_000.0 <= over.max(every) as f64 * 1.3,
                        "{over} {widen_to} {every}: {seconds} s"
                    );
                    let most = over.div_ceil(every) * 1_000;
                    assert!(requests <= most + 1_000, "{over} {widen_to} {every}: {requests} requests");
                    assert!(blind <= 0.5, "{over} {widen_to} {every}: {blind}");
                }
                bench.now = start.after(Duration::from_millis(late + (every - late) * phase / 7));
                bench.evaluate();
            }
        }
    }
}

#[test]
fn after_a_start_windows_begin_with_the_first_poll_that_was_heard() {
    // Seconds for which the source could not be read, and polls until there is a no.
    for (silent, polls) in [(0, 3), (5, 3), (60, 3), (3_600, 3)] {
        let mut bench = Bench::new();
        for _ in 0..silent / 5 {
            bench.wait(seconds(5));
            bench.record(REQUESTS, Measurement::RequestsMissed(Reason::new("prometheus is away")));
            bench.evaluate();
            assert_eq!(bench.answer("error_rate_critical"), Answer::Unknown);
        }
        for poll in 1..=12 {
            bench.wait(seconds(5));
            bench.count(1_000, 0);
            bench.evaluate();
            let expected = if poll >= polls { Answer::No } else { Answer::Unknown };
            assert_eq!(bench.answer("error_rate_critical"), expected, "poll {poll} after {silent} s");
        }
    }
    // Errors need no stretch of time: they are evidence as soon as there are enough of them.
    let mut bench = Bench::new();
    bench.wait(seconds(5));
    bench.count(1_000, 200);
    bench.evaluate();
    assert_eq!(bench.answer("error_rate_critical"), Answer::Yes);
    // Few requests are too little, however many polls there were.
    let mut bench = Bench::new();
    assert_eq!(bench.live(60, 1, |_| 0).kind, VerdictKind::Monitor);
    assert_eq!(bench.answer("error_rate_critical"), Answer::Unknown);
}

#[test]
fn a_cut_begins_windows_anew_in_the_same_way() {
    let mut bench = Bench::new();
    bench.live(120, 100, |_| 0);
    bench.watch.cut(bench.now);
    // The source is away while the release starts; the first counts reach back over the cut.
    for _ in 0..6 {
        bench.wait(seconds(5));
        bench.record(REQUESTS, Measurement::RequestsMissed(Reason::new("connection refused")));
    }
    for (poll, expected) in
        [Answer::Unknown, Answer::Unknown, Answer::Unknown, Answer::No, Answer::No].iter().enumerate()
    {
        bench.wait(seconds(5));
        bench.count(100, 0);
        bench.evaluate();
        assert_eq!(bench.answer("error_rate_critical"), *expected, "poll {poll}");
    }
}

#[test]
fn a_gap_past_the_budget_is_unknown_until_five_polls_in_a_row_were_heard() {
    for (missed, lost) in [(1, false), (3, false), (4, false), (5, true), (12, true), (200, true)] {
        let mut bench = Bench::new();
        bench.live(600, 100, |_| 0);
        for _ in 0..missed {
            bench.wait(seconds(5));
            bench.pass(READY);
            bench.record(REQUESTS, Measurement::RequestsMissed(Reason::new("prometheus is away")));
            bench.evaluate();
        }
        let is_lost = |bench: &Bench| bench.watch.lost(bench.now).iter().any(|(name, _)| name.as_str() == "requests");
        // What was due at the end of the gap may still come within its timeout.
        assert_eq!(missed > 5 || is_lost(&bench), missed > 5, "{missed}");
        let known = |bench: &Bench| bench.answer("error_rate_critical") == Answer::No;
        assert_eq!(known(&bench), missed <= 3, "{missed}");
        let mut polls_until_known = 0;
        for poll in 1..=12 {
            bench.wait(seconds(5));
            bench.pass(READY);
            bench.count(100, 0);
            bench.evaluate();
            assert_eq!(is_lost(&bench), lost && poll < 5, "{missed} missed, poll {poll}");
            if !known(&bench) {
                polls_until_known = poll;
            }
        }
        let most = if lost { 5 } else { 11 };
        assert!(polls_until_known < most, "{missed} missed: {polls_until_known} polls");
    }
}

#[test]
fn durations_that_are_missing_beside_good_counts_are_neither_health_nor_failure() {
    let reason = "the latency histogram answered nothing; check its selector";
    let missing = |bench: &mut Bench, total| {
        let latency = Some(Err(Reason::new(reason)));
        bench.record(REQUESTS, Measurement::Requests(RequestCounts { total, errors: 0, latency }))
    };
    // From the start: nothing is known about latency, and that is told; errors are counted all the same.
    let mut bench = Bench::new();
    for _ in 0..12 {
        bench.wait(seconds(5));
        assert!(missing(&mut bench, 100).changed);
        bench.evaluate();
    }
    assert_eq!(
        (bench.answer("error_rate_critical"), bench.answer("performance_degraded")),
        (Answer::No, Answer::Unknown)
    );
    let is_requests = |(name, _): &(SignalName, String)| name.as_str() == "requests";
    let lost = bench.watch.lost(bench.now);
    assert_eq!(lost.iter().find(|lost| is_requests(lost)).expect("lost").1, reason);
    let path = bench.watch.path(bench.now, bench.facts());
    let Reading::Rate { reason: Some(told), .. } = &path.questions[6].readings[0] else { panic!("{path:?}") };
    assert_eq!(told, reason);

    // In the middle: known from the past for as long as any signal, then unknown; it comes back as any signal does.
    for was_slow in [false, true] {
        let mut bench = Bench::new();
        bench.baseline = vec![("requests p99".to_owned(), 0.05)];
        let slow = if was_slow { 30 } else { 0 };
        for _ in 0..150 {
            bench.wait(seconds(5));
            bench.latency(100 - slow, slow);
            bench.evaluate();
        }
        let before = Answer::from(was_slow);
        assert_eq!(bench.answer("performance_degraded"), before);
        for poll in 1..=12 {
            bench.wait(seconds(5));
            missing(&mut bench, 100);
            bench.evaluate();
            // Three intervals and a timeout after the last that was heard.
            let expected = if poll * 5 < 19 || was_slow { before } else { Answer::Unknown };
            assert_eq!(bench.answer("performance_degraded"), expected, "poll {poll}");
            assert_eq!(bench.answer("error_rate_critical"), Answer::No);
        }
        assert!(bench.watch.lost(bench.now).iter().any(is_requests));
        for poll in 1..=5 {
            bench.wait(seconds(5));
            bench.latency(100, 0);
            bench.evaluate();
            assert_eq!(bench.watch.lost(bench.now).iter().any(is_requests), poll < 5);
        }
        if !was_slow {
            assert_eq!(bench.answer("performance_degraded"), Answer::No);
        }
    }
}

#[test]
fn a_missed_check_neither_advances_nor_ends_a_run_of_failures() {
    // A feature that is broken after two failures in a row: P passed, F failed, M missed.
    let (yes, no, unknown) = (Answer::Yes, Answer::No, Answer::Unknown);
    for (outcomes, expected) in [
        ("F", unknown),
        ("M", unknown),
        ("MF", unknown),
        ("FF", yes),
        ("PF", no),
        ("PFF", yes),
        ("PFMF", yes),
        ("PFMMF", yes),
        ("PFM", no),
        ("PMMM", no),
        ("PFMPF", no),
        ("PFPF", no),
        ("PMFMPMF", no),
        ("PFFM", yes),
        ("PFFP", yes),
        ("PFFPM", yes),
        ("PFFPMP", no),
        ("PFFMPP", no),
        ("PFFPF", yes),
        ("PFFPMF", yes),
        // Three intervals and a timeout without a word: nobody knows any more.
        ("PMMMM", unknown),
        ("PFFMMMM", unknown),
        ("PFMMMMF", yes),
    ] {
        let mut bench = Bench::new();
        for outcome in outcomes.chars() {
            bench.wait(seconds(60));
            match outcome {
                'P' => bench.pass(SMOKE),
                'F' => bench.fail(SMOKE),
                _ => bench.miss(SMOKE),
            };
            bench.evaluate();
        }
        assert_eq!(bench.answer("key_feature_broken"), expected, "{outcomes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every request is in the window or was told to be late, and what is young enough is never late.
    #[test]
    fn late_samples_are_counted_in_their_place_or_told(
        samples in prop::collection::vec((0_u64..40_000, 0_u64..1_400_000, 1_u64..9), 1..80),
    ) {
        let mut bench = Bench::new();
        let began = bench.now.boot;
        let longest = seconds(600);
        let mut taken: Vec<(BootTime, u64)> = Vec::new();
        let mut newest = began;
        for (wait, age, total) in samples {
            bench.wait(Duration::from_millis(wait));
            // Half of them are on time.
            let at = if age > 700_000 { bench.now.boot } else { bench.now.boot.before(Duration::from_millis(age)) };
            let recorded = bench.record_at(
                at,
                REQUESTS,
                Measurement::Requests(RequestCounts { total, errors: 0, latency: None }),
            );
            newest = newest.max(at).max(bench.now.boot);
            if recorded.late {
                prop_assert!(at < began || newest.since(at) >= longest, "{:?} is young", newest.since(at));
            } else {
                taken.push((at, total));
            }
            let Some(requests) = bench.watch.signals[usize::from(REQUESTS)].requests.as_deref() else { panic!("requests") };
            for widen_to in [60, 600] {
                let view = crate::core::window::View { over: seconds(60), widen_to: seconds(widen_to), min_requests: 1_000 };
                let sums = requests.counts.sums(bench.now.boot, &view);
                let naive: u64 = taken.iter().filter(|(at, _)| *at >= sums.begin).map(|(_, total)| total).sum();
                prop_assert_eq!(sums.total, naive);
            }
            prop_assert_eq!(requests.since_cut, taken.iter().map(|(_, total)| total).sum::<u64>());
        }
    }

    /// What was above the limit is above it until enough evidence lay below the exit threshold for a fourth of the
    /// window, without a break.
    #[test]
    fn a_rate_that_was_met_clears_only_below_its_exit_threshold_and_after_a_while(
        polls in prop::collection::vec((0_u64..120, 0_u64..12, prop::bool::weighted(0.1)), 20..120),
    ) {
        let mut bench = Bench::new();
        bench.live(60, 100, |_| 20);
        prop_assert_eq!(bench.answer("error_rate_critical"), Answer::Yes);
        let mut clear_since: Option<BootTime> = None;
        for (total, errors, missed) in polls {
            bench.wait(seconds(5));
            bench.pass(READY);
            if missed {
                bench.record(REQUESTS, Measurement::RequestsMissed(Reason::new("prometheus is away")));
            } else {
                bench.count(total, errors.min(total));
            }
            let before = bench.answer("error_rate_critical");
            bench.evaluate();
            let after = bench.answer("error_rate_critical");
            let path = bench.watch.path(bench.now, bench.facts());
            let Reading::Rate { requests, errors, blind, .. } = &path.questions[3].readings[0] else { panic!("{path:?}") };
            let is_clear = *requests >= 100 && *errors as f64 <= 0.8 * 0.05 * *requests as f64 && *blind <= 0.2;
            clear_since = if is_clear { clear_since.or(Some(bench.now.boot)) } else { None };
            if before == Answer::Yes && after == Answer::No {
                let clear = clear_since.map(|since| bench.now.boot.since(since));
                prop_assert!(clear >= Some(seconds(15)), "{:?} after {}", clear, path.because);
            }
        }
    }

    /// The same for failures in a row: a yes ends with so many passes in a row, and with no fewer.
    #[test]
    fn a_run_of_failures_clears_only_after_passes_in_a_row(outcomes in prop::collection::vec(0_u8..4, 1..80)) {
        let mut bench = Bench::new();
        let (mut failing, mut passing, mut down) = (0, 0, false);
        for outcome in outcomes {
            bench.wait(seconds(1));
            let outcome = match outcome {
                0 => Outcome::Failed(Reason::new("refused")),
                1 => Outcome::Missed(Reason::new("the resolver is down")),
                _ => Outcome::Passed,
            };
            match &outcome {
                Outcome::Passed => (failing, passing) = (0, passing + 1),
                Outcome::Failed(_) => (failing, passing) = (failing + 1, 0),
                Outcome::Missed(_) => {}
            }
            down = failing >= 3 || (down && passing < 3);
            bench.record(READY, Measurement::Check(outcome));
            bench.evaluate();
            match bench.answer("system_down") {
                Answer::Yes => prop_assert!(down),
                Answer::No => prop_assert!(!down),
                // Before the first pass, or when too much was missed.
                Answer::Unknown => {}
            }
        }
    }
}
