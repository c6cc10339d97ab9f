//! Requests: error rates and latency.

use super::*;

#[test]
fn a_high_error_rate_is_found_explained_and_cleared_with_hysteresis() {
    let mut bench = Bench::new();
    bench.live(120, 40, |_| 0);
    assert_eq!(bench.answer("error_rate_critical"), Answer::No);
    let verdict = bench.live(60, 40, |_| 5);
    assert_eq!((verdict.kind, verdict.decided_by), (VerdictKind::RollBack, Some(3)));
    let path = bench.watch.path(bench.now, bench.facts());
    let deciding = path.deciding().expect("decided");
    let Reading::Rate { requests, errors, needed: Some(needed), over_seconds, .. } = &deciding.readings[0] else {
        panic!("{:?}", deciding.readings);
    };
    assert_eq!((*requests, *errors), (480, 60));
    assert!((*over_seconds - 60.0).abs() < 5.0);
    assert_eq!(
        path.because,
        format!("Error rate 12.5% (60 of 480 requests in 60 s) is above 5%; {needed} would have been enough.")
    );
    assert_eq!(deciding.would_change, "at most 19 errors among 480 requests, for 15 s");
    let Onset::Ago(ago) = bench.watch.onset(bench.now) else { panic!("it was healthy before") };
    assert!(ago >= seconds(35) && ago <= seconds(65), "{ago:?}");
    // 4.5 % is under the limit, but not under the exit threshold.
    bench.live(300, 40, |step| if step % 5 == 0 { 1 } else { 2 });
    assert_eq!(bench.answer("error_rate_critical"), Answer::Yes);
    bench.live(15, 40, |_| 0);
    assert_eq!(bench.answer("error_rate_critical"), Answer::Yes, "below, but not yet for long enough");
    bench.live(25, 40, |_| 0);
    assert_eq!(bench.answer("error_rate_critical"), Answer::No);
}

#[test]
fn little_traffic_widens_the_window_and_too_little_is_unknown() {
    let mut bench = Bench::new();
    bench.live(240, 2, |_| 0);
    assert_eq!(bench.answer("error_rate_critical"), Answer::Unknown);
    let path = bench.watch.path(bench.now, bench.facts());
    assert_eq!(path.questions[3].would_change, "4 more requests within 10 min");
    bench.live(20, 2, |_| 0);
    assert_eq!(bench.answer("error_rate_critical"), Answer::No);
    // Between the two: six of a hundred are no evidence either way.
    bench.live(250, 2, |step| u64::from(step % 9 == 0));
    assert_eq!(bench.answer("error_rate_critical"), Answer::Unknown);
    let path = bench.watch.path(bench.now, bench.facts());
    assert!(path.questions[3].would_change.ends_with("more errors among 100 requests"), "{:?}", path.questions[3]);
}

#[test]
fn old_errors_do_not_blame_a_new_release_and_old_faults_are_not_new() {
    let mut bench = Bench::new();
    bench.live(120, 40, |_| 0);
    bench.live(60, 40, |_| 5);
    assert_eq!(bench.answer("error_rate_critical"), Answer::Yes);
    bench.watch.cut(bench.now);
    bench.wait(seconds(5));
    bench.count(40, 40);
    bench.evaluate();
    let mut unknown = bench.live(10, 40, |_| 0);
    assert_eq!((unknown.kind, bench.answer("error_rate_critical")), (VerdictKind::Monitor, Answer::Unknown));
    assert_eq!(bench.watch.requests_since_cut(), Some(80), "the sample across the cut is left out");
    unknown = bench.live(10, 40, |_| 0);
    assert_ne!(unknown.kind, VerdictKind::RollBack);
    assert_eq!(bench.answer("error_rate_critical"), Answer::No);

    // The same fault before and after a cut began before it.
    let mut bench = Bench::new();
    bench.live(120, 40, |_| 0);
    bench.live(60, 40, |_| 5);
    bench.watch.cut(bench.now);
    bench.live(60, 40, |_| 5);
    let Onset::Ago(ago) = bench.watch.onset(bench.now) else { panic!("it was healthy before") };
    assert!(ago > seconds(60), "{ago:?}");

    // A fault that comes with the release began after it.
    let mut bench = Bench::new();
    bench.live(120, 40, |_| 0);
    bench.watch.cut(bench.now);
    let verdict = bench.live(60, 40, |_| 5);
    assert_eq!(verdict.kind, VerdictKind::RollBack);
    let Onset::Ago(ago) = bench.watch.onset(bench.now) else { panic!("it was healthy before") };
    assert!(ago <= seconds(60), "{ago:?}");
}

#[test]
fn elevated_errors_must_last_and_a_blind_spell_is_neither() {
    let mut bench = Bench::new();
    bench.live(120, 100, |_| 0);
    assert_eq!(bench.live(240, 100, |_| 3).kind, VerdictKind::Monitor);
    let path = bench.watch.path(bench.now, bench.facts());
    assert!(path.because.contains("Nothing is decided. "), "{}", path.because);
    let verdict = bench.live(180, 100, |_| 3);
    assert_eq!((verdict.kind, verdict.decided_by), (VerdictKind::Consider, Some(4)));
    assert!(bench.watch.path(bench.now, bench.facts()).because.ends_with("; so for 5 min or longer, which is enough."));
    assert_eq!(bench.live(200, 100, |_| 0).kind, VerdictKind::Monitor);
    assert_eq!(bench.answer("error_rate_elevated"), Answer::No);
}

#[test]
fn latency_is_compared_with_what_it_was_before() {
    let mut bench = Bench::new();
    let live = |bench: &mut Bench, for_seconds: u64, fast, slow| {
        for _ in 0..for_seconds / 5 {
            bench.wait(seconds(5));
            bench.pass(READY);
            bench.pass(SMOKE);
            bench.latency(fast, slow);
            bench.evaluate();
        }
    };
    live(&mut bench, 300, 100, 0);
    assert_eq!(bench.answer("performance_degraded"), Answer::No, "surely fast needs no baseline");
    let baseline = bench.watch.baseline(bench.now);
    assert_eq!(baseline.len(), 1);
    assert_eq!(baseline[0].0, "requests p99");
    assert!((baseline[0].1 - 0.099).abs() < 1e-9, "{baseline:?}");
    // A release that is slow from its first request on does not spoil what it is compared with, until it is noticed.
    live(&mut bench, 5, 0, 100);
    assert_eq!(bench.watch.baseline(bench.now), baseline);
    live(&mut bench, 295, 95, 5);
    assert_eq!(bench.answer("performance_degraded"), Answer::Unknown, "slow compared with what?");
    bench.baseline = baseline;
    live(&mut bench, 360, 95, 5);
    assert_eq!(bench.answer("performance_degraded"), Answer::Yes);
    assert_eq!(bench.watch.verdict().kind, VerdictKind::Consider);
    let path = bench.watch.path(bench.now, bench.facts());
    assert!(path.because.starts_with("Share of requests slower than 200 ms 5%"), "{}", path.because);
    let asked = path.questions.iter().find(|question| question.when.as_str() == "performance_degraded").expect("asked");
    assert!(asked.would_change.contains("requests slower than 200 ms among"), "{}", asked.would_change);
    // Had it been as slow before, nothing would have changed.
    bench.baseline = vec![("requests p99".to_owned(), 0.7)];
    live(&mut bench, 120, 95, 5);
    assert_eq!(bench.answer("performance_degraded"), Answer::No);
}

#[test]
fn requests_without_a_histogram_say_nothing_about_latency() {
    let mut bench = Bench::new();
    bench.live(300, 100, |_| 0);
    assert_eq!(bench.answer("performance_degraded"), Answer::Unknown);
    assert!(bench.watch.baseline(bench.now).is_empty());
}
