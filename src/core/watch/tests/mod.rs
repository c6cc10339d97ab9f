//! The watch as a whole: samples in, answers, verdict, path and wakes out.

pub(in crate::core) mod bench;
mod properties;
mod windows;

use std::{sync::Arc, time::Duration};

pub(super) use bench::*;

use super::*;
use crate::core::{
    policy::*,
    reading::Reading,
    sample::{Measurement, Outcome, Reason, RequestCounts},
    verdict::{Onset, PlanKind},
};

#[test]
fn before_any_sample_all_is_unknown_and_a_healthy_service_becomes_healthy() {
    let mut bench = Bench::new();
    assert_eq!(bench.evaluate().kind, VerdictKind::Monitor);
    for name in ["system_down", "error_rate_critical", "key_feature_broken", "performance_degraded"] {
        assert_eq!(bench.answer(name), Answer::Unknown, "{name}");
    }
    for name in ["rollout_failing", "data_at_risk", "complaints"] {
        assert_eq!(bench.answer(name), Answer::No, "{name}");
    }
    for _ in 0..40 {
        bench.wait(seconds(5));
        bench.pass(READY);
        bench.pass(SMOKE);
        bench.latency(50, 0);
        bench.evaluate();
    }
    assert_eq!(bench.watch.verdict().kind, VerdictKind::Healthy);
    assert_eq!(bench.watch.onset(bench.now), Onset::Nothing);
    let path = bench.watch.path(bench.now, bench.facts());
    assert_eq!(path.because, "All 8 questions are answered no.");
    // The probe is expected every 2 s and was heard every 5.
    let lost: Vec<_> = bench.watch.lost(bench.now).into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(lost, ["ready"]);
}

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
fn what_was_so_at_the_start_has_no_known_onset() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.wait(seconds(1));
        bench.fail(READY);
    }
    assert_eq!(bench.evaluate().kind, VerdictKind::RollBack);
    assert_eq!(bench.watch.onset(bench.now), Onset::Unknown);
    let mut bench = Bench::new();
    assert_eq!(bench.live(60, 40, |_| 10).kind, VerdictKind::RollBack);
    assert_eq!(bench.watch.onset(bench.now), Onset::Unknown);
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
    assert_eq!(bench.watch.path(bench.now, facts).because, format!("The rollout: {why}."));
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
fn elevated_errors_must_last_and_a_blind_spell_is_neither() {
    let mut bench = Bench::new();
    bench.live(120, 100, |_| 0);
    assert_eq!(bench.live(240, 100, |_| 3).kind, VerdictKind::Monitor);
    let path = bench.watch.path(bench.now, bench.facts());
    assert!(path.because.contains("Nothing is decided. "), "{}", path.because);
    let verdict = bench.live(180, 100, |_| 3);
    assert_eq!((verdict.kind, verdict.decided_by), (VerdictKind::Consider, Some(4)));
    assert!(bench.watch.path(bench.now, bench.facts()).because.ends_with("; so for 5 min of 5 min."));
    assert_eq!(bench.live(200, 100, |_| 0).kind, VerdictKind::Monitor);
    assert_eq!(bench.answer("error_rate_elevated"), Answer::No);
}

#[test]
fn reports_count_expire_and_hold_back() {
    let mut bench = Bench::new();
    bench.live(120, 100, |_| 0);
    for _ in 0..3 {
        bench.wait(seconds(1));
        bench.reports.push((ReportKind::Complaint, bench.now.wall));
    }
    let verdict = bench.evaluate();
    assert_eq!((verdict.kind, verdict.decided_by), (VerdictKind::Consider, Some(7)));
    assert_eq!(bench.watch.onset(bench.now), Onset::Ago(seconds(2)));
    assert_eq!(bench.watch.path(bench.now, bench.facts()).because, "3 reports of complaint; 3 are enough.");
    bench.reports.push((ReportKind::UnderOnePercent, bench.now.wall));
    let verdict = bench.evaluate();
    assert_eq!((verdict.kind, verdict.held_back), (VerdictKind::Monitor, true));
    // Measured at three percent, "under one percent" is void.
    bench.live(60, 100, |_| 3);
    assert_eq!(bench.watch.verdict().kind, VerdictKind::Consider);
    bench.reports.push((ReportKind::MinorUi, bench.now.wall));
    assert!(bench.evaluate().held_back);
    bench.live(600, 100, |_| 0);
    assert_eq!(bench.answer("complaints"), Answer::No);
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

#[test]
fn wakes_are_asked_for_when_time_alone_matters() {
    let mut bench = Bench::new();
    bench.live(120, 100, |_| 0);
    bench.live(60, 100, |_| 3);
    let wake = bench.watch.next_wake(bench.now).expect("the window slides on");
    let soonest = bench.now.boot.after(WAKE_AT_LEAST);
    assert!(wake >= soonest && wake <= bench.now.boot.after(seconds(5)), "{wake:?}");
}

#[test]
fn a_question_inherits_the_plan_of_the_one_above() {
    let mut policy = policy();
    policy.tree[0].plan = Some(PlanKind::Gather);
    let mut bench = Bench::of(policy);
    for _ in 0..3 {
        bench.wait(seconds(1));
        bench.fail(READY);
    }
    assert_eq!(bench.evaluate().plan, Some(PlanKind::Gather));
}

#[test]
fn memory_is_bounded() {
    let policy = policy();
    let views = [atom::view_of(&rate(0.05, 60)), atom::view_of(&rate(0.01, 300))];
    let probe = Signal::new(&policy.signals[0], &[], &[], BootTime::START);
    assert!(size_of_val(&probe) + 3 * size_of::<AtomState>() <= 1_024, "{}", size_of_val(&probe));
    let bounds: Arc<[f64]> = (1..=32).map(f64::from).collect();
    let counts = crate::core::window::CountWindow::new(&views, BootTime::START);
    let latency = crate::core::window::LatencyWindow::new(&views, bounds, BootTime::START);
    let evidence = 3 * (size_of::<AtomState>() + size_of::<crate::core::statistics::Evidence>());
    let requests = size_of::<Signal>() + size_of::<signal::Requests>() + counts.bytes() + evidence;
    assert!(requests <= 5 * 1_024, "{requests}");
    assert!(requests + latency.bytes() <= 18 * 1_024, "{requests} + {}", latency.bytes());
}

#[test]
fn what_was_seen_and_is_not_surely_over_is_no_ground_for_acting() {
    // How the errors end: none any more (held for a while); nothing heard any more (soon unknown); or about the limit still.
    for (end, is_held) in [("clear", true), ("blind", false), ("near", false)] {
        let mut bench = Bench::new();
        bench.live(120, 100, |_| 0);
        let verdict = bench.live(60, 100, |_| 20);
        assert_eq!((verdict.kind, bench.watch.may_act()), (VerdictKind::RollBack, true), "{end}");
        let (mut with_ground, mut without_ground) = (0, 0);
        for _ in 0..48 {
            let verdict = match end {
                "clear" => bench.live(5, 100, |_| 0),
                "near" => bench.live(5, 100, |_| 5),
                _ => {
                    bench.wait(seconds(5));
                    bench.pass(READY);
                    bench.pass(SMOKE);
                    bench.miss(REQUESTS);
                    bench.evaluate()
                }
            };
            match (verdict.kind, bench.watch.may_act()) {
                (VerdictKind::RollBack, true) => with_ground += 1,
                (VerdictKind::RollBack, false) => without_ground += 1,
                (_, may_act) => assert!(!may_act || verdict.kind == VerdictKind::Consider, "{end}"),
            }
        }
        assert!(with_ground > 0, "{end}: the window still shows it for a while");
        assert_eq!(without_ground > 0, is_held, "{end}: {with_ground} with, {without_ground} without");
    }
}

#[test]
fn reporters_alone_lead_to_consider_at_most() {
    let mut policy = policy();
    let atom = u16::try_from(policy.atoms.len()).expect("few");
    policy.atoms.push(Atom::Reported { kind: ReportKind::DataCorruption, at_least: 2, over: seconds(600) });
    let condition = u16::try_from(policy.conditions.len()).expect("few");
    policy.conditions.push(ConditionPolicy { name: "data_reported".into(), expression: Expression::Atom(atom) });
    let then = Then::Verdict(VerdictKind::RollBack);
    policy.tree.insert(0, Question { ask: "Is data at risk?".into(), when: condition, then, plan: None });
    let mut bench = Bench::of(policy);
    bench.live(120, 100, |_| 0);
    let report = |bench: &mut Bench, by_reporters: usize, by_operators: usize| {
        let one = (ReportKind::DataCorruption, bench.now.wall);
        let all = vec![one; by_reporters + by_operators];
        let facts = Facts {
            rollout: RolloutState::Settled,
            reports: &all,
            operators_reports: &all[..by_operators],
            baseline: &[],
        };
        let verdict = bench.watch.evaluate(bench.now, facts);
        (verdict, bench.watch.path(bench.now, facts))
    };
    for (by_reporters, by_operators, kind) in [
        (1, 0, VerdictKind::Monitor),
        (2, 0, VerdictKind::Consider),
        (50, 0, VerdictKind::Consider),
        (50, 1, VerdictKind::Consider),
        (0, 2, VerdictKind::RollBack),
        (50, 2, VerdictKind::RollBack),
        (3, 0, VerdictKind::Consider),
        (0, 0, VerdictKind::Monitor),
    ] {
        let (verdict, path) = report(&mut bench, by_reporters, by_operators);
        assert_eq!(verdict.kind, kind, "{by_reporters} and {by_operators}");
        assert_eq!(path.verdict, kind);
        assert_eq!(verdict.unconfirmed, kind == VerdictKind::Consider);
        assert_eq!(
            bench.watch.may_act(),
            kind == VerdictKind::RollBack,
            "what reporters say is asked about, not acted on"
        );
        assert_eq!(path.because.contains("Only reporters say so"), verdict.unconfirmed, "{}", path.because);
    }
    // What is measured needs nobody's word.
    for _ in 0..10 {
        bench.wait(seconds(1));
        bench.fail(READY);
    }
    let (verdict, path) = report(&mut bench, 5, 0);
    assert_eq!((verdict.kind, verdict.decided_by, verdict.unconfirmed), (VerdictKind::RollBack, Some(1), false));
    assert!(path.because.starts_with("Ready failed"), "{}", path.because);
}
