//! A wall clock that is set by an hour, forward or back: nothing is resumed, released, accused or acquitted by it.

use backstop::{
    core::{
        answer::Answer,
        durable::ApprovalState,
        entry::PlanOutcome,
        event::{Authority, Request},
        gate::Gate,
        name::ServiceIndex,
        page::PageKind,
        policy::{Finding, Mode, ReportKind, ServicePolicy},
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{as_it_is, outcome};

const HOUR: i64 = 3600;
const STEPS: [i64; 3] = [0, HOUR, -HOUR];

fn gate(bench: &mut Bench, gate: Gate) -> Answer {
    let view = bench.state.service_view(bench.now, ServiceIndex(0));
    view.gates.iter().find(|report| report.gate == gate).expect("every gate is asked").answer
}

/// A rollback whose switch is under way.
fn switching() -> Bench {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("switching", |bench| bench.switches().len() == 1);
    bench
}

/// A rollback that was verified just now.
fn rolled_back(change: impl FnOnce(&mut ServicePolicy)) -> Bench {
    let mut bench = Bench::with_v2(Mode::Act, change);
    bench.requests = (40, 20);
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    bench
}

#[test]
fn a_plan_is_resumed_by_how_long_it_really_was_left() {
    for step in STEPS {
        let mut bench = switching();
        bench.step_wall_clock(step);
        bench.restart(600);
        bench.until("ended", |bench| outcome(bench).is_some());
        let found = (outcome(&bench), bench.switches().len());
        assert_eq!(found, (Some(PlanOutcome::Stuck), 1), "left for ten minutes, the clock set by {step} s");

        let mut bench = switching();
        bench.step_wall_clock(step);
        bench.restart(5);
        bench.requests = (40, 0);
        bench.until("ended", |bench| outcome(bench).is_some());
        assert_eq!(outcome(&bench), Some(PlanOutcome::Verified), "left for five seconds, the clock set by {step} s");
    }
}

#[test]
fn over_a_restart_of_the_machine_a_clock_that_was_set_back_is_not_believed() {
    for (step, off_seconds, expected) in [
        (0, 5, PlanOutcome::Verified),
        (0, 600, PlanOutcome::Stuck),
        (HOUR, 5, PlanOutcome::Stuck),
        (-HOUR, 600, PlanOutcome::Stuck),
        (-HOUR, 5, PlanOutcome::Stuck),
    ] {
        let mut bench = switching();
        bench.step_wall_clock(step);
        bench.restart_the_machine(off_seconds);
        bench.requests = (40, 0);
        bench.until("ended", |bench| outcome(bench).is_some());
        assert_eq!(outcome(&bench), Some(expected), "off for {off_seconds} s, the clock set by {step} s");
    }
}

#[test]
fn cooldown_and_budget_last_as_long_as_they_are() {
    for step in STEPS {
        for restarts in [false, true] {
            let mut bench = rolled_back(|policy| policy.gates.rollbacks.at_most = 1);
            bench.step_wall_clock(step);
            if restarts {
                bench.restart(1);
                bench.pass(5);
            }
            for held in [Gate::Cooldown, Gate::Budget] {
                assert_eq!(gate(&mut bench, held), Answer::No, "{held} just after, the clock set by {step} s");
            }
            bench.pass(35);
            assert_eq!(gate(&mut bench, Gate::Cooldown), Answer::Yes, "after its 30 s, the clock set by {step} s");
            assert_eq!(gate(&mut bench, Gate::Budget), Answer::No);
            bench.pass(3600);
            assert_eq!(gate(&mut bench, Gate::Budget), Answer::Yes, "after its hour, the clock set by {step} s");
        }
    }
}

#[test]
fn after_a_restart_of_the_machine_the_cooldown_goes_on_at_least() {
    let mut bench = rolled_back(as_it_is);
    bench.step_wall_clock(-HOUR);
    bench.restart_the_machine(3);
    assert_eq!(gate(&mut bench, Gate::Cooldown), Answer::No, "20 s have passed since the machine was started");
    bench.pass(15);
    assert_eq!(gate(&mut bench, Gate::Cooldown), Answer::Yes);
}

#[test]
fn a_deploy_is_blamed_by_its_true_age_and_by_what_came_first() {
    for step in STEPS {
        // Young, and the fault came after it.
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        bench.step_wall_clock(step);
        bench.requests = (40, 20);
        bench.until("switched", |bench| !bench.switches().is_empty());

        // The clock is set between the fault and the incident.
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        bench.ready = Some(false);
        bench.pass(1);
        bench.step_wall_clock(step);
        bench.until("switched", |bench| !bench.switches().is_empty());

        // Old.
        let mut bench = Bench::with_v2(Mode::Act, |policy| {
            policy.gates.deployed_within = std::time::Duration::from_secs(60);
        });
        bench.pass(90);
        bench.step_wall_clock(step);
        bench.requests = (40, 20);
        bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
        assert!(bench.incident(1).found(Finding::NoDeployToBlame), "{:?}", bench.told());
        assert!(bench.switches().is_empty());
    }
}

#[test]
fn a_rollout_under_way_has_its_settling_time_after_a_restart() {
    for step in STEPS {
        let mut bench = Bench::new(Mode::Act, as_it_is);
        bench.live = Some("v2");
        bench.ready = Some(false);
        bench.pass(2);
        bench.step_wall_clock(step);
        bench.restart(1);
        bench.pass(4);
        assert!(!bench.was_told(PageKind::IncidentOpened), "7 of 12 s, the clock set by {step} s: {:?}", bench.told());
        bench.until("it has failed", |bench| bench.was_told(PageKind::IncidentOpened));
    }
}

#[test]
fn a_pause_and_an_approval_last_as_long_as_they_were_given() {
    for step in STEPS {
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        let pause = Request::Pause { service: None, for_seconds: Some(300), reason: "a migration".to_owned() };
        bench.ask(pause).expect("a pause");
        bench.step_wall_clock(step);
        bench.pass(290);
        assert_eq!(gate(&mut bench, Gate::NotPaused), Answer::No, "the clock set by {step} s");
        bench.pass(15);
        assert_eq!(gate(&mut bench, Gate::NotPaused), Answer::Yes, "the clock set by {step} s");

        let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
        bench.requests = (40, 20);
        bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
        bench.step_wall_clock(step);
        bench.pass(29 * 60);
        assert_eq!(bench.incident(1).approvals[0].state, ApprovalState::Open, "the clock set by {step} s");
        bench.pass(2 * 60);
        assert!(matches!(bench.incident(1).approvals[0].state, ApprovalState::Void(_)), "the clock set by {step} s");
    }
}

#[test]
fn a_report_counts_as_long_as_it_does() {
    for step in STEPS {
        let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
        let kind = ReportKind::DataCorruption;
        let service = SERVICE.into();
        let report = Request::Report { service, kind, detail: None, authority: Authority::Operator };
        bench.step_wall_clock(step);
        bench.ask(report).expect("a report");
        bench.step_wall_clock(-2 * step);
        let counts = |bench: &mut Bench| {
            let view = bench.state.service_view(bench.now, ServiceIndex(0));
            let answer = view.conditions.iter().find(|(name, _)| name.as_str() == "data_at_risk").map(|one| *one.1);
            (view.reports.len(), answer)
        };
        bench.pass(50);
        assert_eq!(counts(&mut bench), (1, Some(Answer::Yes)), "the clock set by {step} s");
        bench.pass(15);
        assert_eq!(counts(&mut bench), (0, Some(Answer::No)), "the clock set by {step} s");
    }
}

#[test]
fn a_page_is_given_up_by_its_true_age() {
    for step in [30 * HOUR, -30 * HOUR] {
        let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
        bench.deliveries_fail = 4;
        bench.requests = (40, 20);
        bench.until("tried", |bench| bench.deliveries_fail == 3);
        bench.step_wall_clock(step);
        bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
        assert!(bench.pages.iter().all(|page| page.finding != Some(Finding::PageUndelivered)), "{:?}", bench.told());
    }
}
