//! Probes: failures in a row, what is missed or late, rollouts, and clocks.

use super::*;

#[test]
fn three_failures_in_a_row_and_the_flags_of_each_sample() {
    let mut bench = Bench::new();
    bench.pass(READY);
    bench.evaluate();
    bench.wait(seconds(2));
    assert_eq!(bench.pass(READY), Recorded::default(), "a pass among passes changes nothing");
    bench.wait(seconds(2));
    let first = bench.now.boot;
    assert_eq!(bench.fail(READY), Recorded { changed: true, first_failure: true, ..Recorded::default() });
    for expected in [VerdictKind::Monitor, VerdictKind::Monitor, VerdictKind::RollBack] {
        assert_eq!(bench.evaluate().kind, expected);
        bench.wait(Duration::from_millis(250));
        assert!(!bench.fail(READY).first_failure);
    }
    assert_eq!(bench.watch.failing_since(), Some(first));
    assert_eq!(bench.watch.failing_for(), Some(Duration::from_millis(750)));
    assert_eq!(bench.watch.onset(bench.now), Onset::Ago(Duration::from_millis(750)));
    let verdict = bench.evaluate();
    assert_eq!((verdict.decided_by, verdict.plan, verdict.held_back), (Some(0), None, false));
    let path = bench.watch.path(bench.now, bench.facts());
    assert_eq!(path.because, "Ready failed 4 times in a row (connection refused); 3 are enough.");
    assert_eq!(path.deciding().expect("decided").would_change, "3 passes of ready in a row");
    let recorded = bench.pass(READY);
    assert!(recorded.changed && recorded.first_pass);
    assert_eq!(bench.watch.failing_since(), None);
}

#[test]
fn a_flapping_probe_stays_failing_until_it_passes_three_times() {
    let mut bench = Bench::new();
    bench.pass(READY);
    for _ in 0..3 {
        bench.wait(seconds(1));
        bench.fail(READY);
    }
    assert_eq!(bench.evaluate().kind, VerdictKind::RollBack);
    for _ in 0..20 {
        bench.wait(seconds(1));
        bench.pass(READY);
        assert_eq!(bench.evaluate().kind, VerdictKind::RollBack);
        bench.wait(seconds(1));
        bench.fail(READY);
        assert_eq!(bench.evaluate().kind, VerdictKind::RollBack);
    }
    for expected in [Answer::Yes, Answer::Yes, Answer::No] {
        bench.wait(seconds(1));
        bench.pass(READY);
        bench.evaluate();
        assert_eq!(bench.answer("system_down"), expected);
    }
}

#[test]
fn missed_samples_neither_extend_nor_break_a_streak_and_silence_is_unknown() {
    let mut bench = Bench::new();
    bench.pass(READY);
    bench.wait(seconds(2));
    bench.fail(READY);
    bench.wait(seconds(1));
    assert_eq!(bench.miss(READY), Recorded::default());
    bench.wait(seconds(1));
    bench.fail(READY);
    bench.evaluate();
    assert_eq!(bench.answer("system_down"), Answer::No);
    bench.wait(seconds(1));
    bench.fail(READY);
    bench.evaluate();
    assert_eq!(bench.answer("system_down"), Answer::Yes);
    // Three intervals and a timeout later nobody knows; the wake says when.
    let wake = bench.watch.next_wake(bench.now).expect("a wake");
    assert_eq!(wake.since(bench.now.boot), seconds(7));
    for _ in 0..7 {
        bench.wait(seconds(1));
        bench.miss(READY);
    }
    assert_eq!(bench.evaluate().kind, VerdictKind::Monitor);
    assert_eq!(bench.answer("system_down"), Answer::Unknown);
    let path = bench.watch.path(bench.now, bench.facts());
    assert_eq!(path.because, "Nothing is decided. Ready has no answer to build on (the resolver is down).");
    bench.wait(seconds(6));
    let lost = bench.watch.lost(bench.now);
    assert_eq!(lost[0], ("ready".into(), "the resolver is down".to_owned()));
}

#[test]
fn a_late_or_overtaken_sample_is_dropped() {
    let mut bench = Bench::new();
    bench.pass(READY);
    let early = bench.now.boot;
    bench.wait(seconds(2));
    bench.pass(READY);
    let failed = Measurement::Check(Outcome::Failed(Reason::new("old")));
    assert_eq!(bench.record_at(early, READY, failed), Recorded { late: true, ..Recorded::default() });
    assert_eq!(bench.watch.signals(bench.now)[0].failing, 0);
    let ancient = bench.now.boot.before(seconds(700));
    let counts = Measurement::Requests(RequestCounts { total: 5, errors: 5, latency: None });
    assert!(bench.record_at(ancient, REQUESTS, counts).late);
}

#[test]
fn a_rollout_under_way_opens_nothing() {
    let mut bench = Bench::new();
    bench.pass(READY);
    bench.evaluate();
    let begun = bench.now.boot;
    bench.rolling_out = true;
    for _ in 0..10 {
        bench.wait(seconds(1));
        bench.fail(READY);
        assert_eq!(bench.evaluate().kind, VerdictKind::Monitor);
    }
    assert!(!bench.watch.critical_probes_passed_since(begun));
    let path = bench.watch.path(bench.now, bench.facts());
    assert!(path.because.contains("rolling out"), "{}", path.because);
    bench.wait(seconds(1));
    bench.pass(READY);
    assert!(bench.watch.critical_probes_passed_since(begun));
    bench.rolling_out = false;
    bench.watch.cut(bench.now);
    bench.wait(seconds(2));
    bench.pass(READY);
    bench.evaluate();
    assert_eq!(bench.answer("system_down"), Answer::No);

    let why = "no healthy answer within 120 s";
    let facts = Facts { rollout: RolloutState::Failing { why }, reports: &[], operators_reports: &[], baseline: &[] };
    let verdict = bench.watch.evaluate(bench.now, facts);
    assert_eq!((verdict.kind, verdict.decided_by), (VerdictKind::RollBack, Some(1)));
    assert_eq!(bench.watch.path(bench.now, facts).because, format!("The live release: {why}."));
}

#[test]
fn failed_samples_of_critical_probes_are_counted_since_a_rollout_began() {
    let mut bench = Bench::new();
    bench.fail(READY);
    bench.wait(seconds(2));
    let begun = bench.now.boot;
    assert_eq!(bench.watch.failed_critical_samples_since(begun), 0);
    bench.fail(READY);
    bench.fail(SMOKE);
    bench.fail(SMOKE);
    assert_eq!(bench.watch.failed_critical_samples_since(begun), 1, "a feature is no critical probe");
    bench.wait(seconds(2));
    bench.pass(READY);
    bench.wait(seconds(2));
    bench.miss(READY);
    bench.watch.cut(bench.now);
    bench.wait(seconds(2));
    bench.fail(READY);
    bench.record_at(begun, READY, Measurement::Check(Outcome::Failed(Reason::new("late"))));
    assert_eq!(bench.watch.failed_critical_samples_since(begun), 2);
    assert_eq!(bench.watch.failed_critical_samples_since(bench.now.boot), 1);
    assert_eq!(bench.watch.failed_critical_samples_since(BootTime::START), 3);
}

#[test]
fn a_suspended_machine_and_a_stepped_wall_clock() {
    let mut bench = Bench::new();
    bench.live(600, 100, |_| 0);
    assert_eq!(bench.answer("error_rate_critical"), Answer::No);
    bench.now.wall = bench.now.wall.after(seconds(86_400 * 365));
    bench.live(5, 100, |_| 0);
    assert_eq!(bench.answer("error_rate_critical"), Answer::No);
    bench.now.wall = bench.now.wall.before(seconds(86_400 * 730));
    bench.live(5, 100, |_| 0);
    assert_eq!(bench.answer("error_rate_critical"), Answer::No);
    bench.wait(seconds(3_600));
    bench.evaluate();
    for name in ["system_down", "error_rate_critical", "error_rate_elevated", "key_feature_broken"] {
        assert_eq!(bench.answer(name), Answer::Unknown, "{name}");
    }
    assert_eq!(bench.watch.lost(bench.now).len(), 3);
    bench.live(600, 100, |_| 0);
    assert_eq!(bench.answer("error_rate_critical"), Answer::No);
}
