//! The watch as a whole: samples in, answers, verdict, path and wakes out.

pub(in crate::core) mod bench;
mod failures;
mod properties;
mod rates;
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
