//! What is around a rollback: other services, a configuration that changed, a state that is not to be trusted.

use std::time::Duration;

use backstop::{
    core::{
        durable::ApprovalState,
        entry::PlanOutcome,
        event::Request,
        page::PageKind,
        policy::{Finding, Mode},
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{as_it_is, outcome};

/// Two others, one of them seldom sampled, and a new release here.
fn crowd(slowest: Duration) -> Bench {
    let mut bench = Bench::with_others(Mode::Act, as_it_is, &[Duration::from_secs(1), slowest]);
    bench.live = Some("v2");
    bench.pass(6);
    bench
}

#[test]
fn acting_waits_until_the_most_seldom_sampled_service_could_be_seen_failing() {
    // Whenever the fault comes within the interval of the slow one.
    for offset in 0..5 {
        let mut bench = crowd(Duration::from_secs(5));
        bench.pass(offset);
        bench.ready = Some(false);
        bench.others_ready = false;
        bench.until("told", |bench| bench.pages.iter().any(|page| page.finding == Some(Finding::SharedCause)));
        bench.pass(60);
        assert!(bench.switches().is_empty(), "offset {offset} s: {:?}", bench.told());
    }
}

#[test]
fn one_that_fails_alone_waits_no_longer_than_it_must() {
    for (slowest, most) in [(5, 8), (3600, 12)] {
        let mut bench = crowd(Duration::from_secs(slowest));
        bench.ready = Some(false);
        let began = bench.now.boot;
        bench.until("switched", |bench| !bench.switches().is_empty());
        let waited = bench.now.boot.since(began);
        assert!(waited <= Duration::from_secs(most), "others each {slowest} s: {waited:?}");
    }
}

#[test]
fn what_was_open_for_a_service_that_is_configured_no_more_is_closed_and_told() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.ask(Request::Verify { service: SERVICE.into() }).expect("a verification");
    bench.pages.clear();
    bench.restart_with_another_service(60);
    bench.until("closed", |bench| bench.was_told(PageKind::IncidentResolved));
    let incident = bench.incident(1);
    assert!(incident.resolved.as_ref().is_some_and(|(_, how)| how.contains("no longer watched")), "{incident:?}");
    assert!(matches!(incident.approvals[0].state, ApprovalState::Void(_)));
    let (_, ended, why) = bench.record().verification.clone().and_then(|one| one.ended).expect("it ended");
    assert!(ended == PlanOutcome::Unverified && why.contains("no longer watched"));
    let told = bench.told();
    assert!(
        told.iter().any(|line| line.contains("incident.resolved") && line.contains("no longer watched")),
        "{told:?}"
    );
    // It is told once, and what is watched now opens incidents of its own.
    bench.pages.clear();
    bench.restart(1);
    bench.pass(5);
    assert!(!bench.was_told(PageKind::IncidentResolved), "{:?}", bench.told());
}

#[test]
fn an_unfinished_plan_of_a_service_that_is_configured_no_more_is_left_to_people() {
    for (ends, expected, finding) in [
        (vec![Ends::Silent], PlanOutcome::Failed, Finding::RollbackFailed),
        (vec![Ends::Well, Ends::Silent], PlanOutcome::Stuck, Finding::StepStuck),
    ] {
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        let operations = ends.len();
        bench.ends = ends.into();
        bench.requests = (40, 20);
        bench.until("under way", |bench| bench.operations.len() == operations);
        bench.restart_with_another_service(5);
        bench.until("told", |bench| bench.was_told(PageKind::RollbackFailed));
        assert_eq!(outcome(&bench), Some(expected));
        let page = bench.pages.iter().find(|page| page.kind == PageKind::RollbackFailed).expect("told");
        assert_eq!((page.finding, page.severity.as_str()), (Some(finding), "S1"));
        assert!(!bench.incident(1).is_open());
        bench.pass(60);
        assert_eq!(bench.operations.len(), operations, "nothing more is done at its target");
    }
}

#[test]
fn a_state_that_is_folded_anew_ends_what_was_in_flight_and_may_only_page() {
    for (ends, step, expected) in [
        (vec![Ends::Silent], 1, PlanOutcome::Failed),
        (vec![Ends::Well, Ends::Silent], 2, PlanOutcome::Stuck),
        (vec![Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Silent], 4, PlanOutcome::Stuck),
        (vec![Ends::Well, Ends::Well, Ends::Silent], 3, PlanOutcome::Stuck),
    ] {
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        bench.ends = ends.into();
        bench.requests = (40, 20);
        bench.until("in flight", |bench| bench.operations.len() == step);
        bench.panic();
        bench.until("ended", |bench| outcome(bench).is_some());
        assert_eq!(outcome(&bench), Some(expected), "operation {step}");
        assert!(bench.was_told(PageKind::RollbackFailed));
        // What was in flight comes back later, and is news to nobody.
        bench.pass(60);
        assert_eq!(bench.operations.len(), step, "nothing more is done: {:?}", bench.told());
        let order = Request::RollBack {
            service: SERVICE.into(),
            order: backstop::core::event::RollbackOrder {
                to: None,
                plan: None,
                dry_run: false,
                overrides: Vec::new(),
                reason: None,
            },
        };
        bench.ask(order).expect_err("not by hand either");
        // It still tells what it sees.
        bench.pages.clear();
        bench.live = Some("v3");
        bench.requests = (40, 0);
        bench.pass(30);
        bench.ready = Some(false);
        bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
        bench.pass(120);
        assert_eq!(bench.operations.len(), step);
        assert!(!bench.was_told(PageKind::ApprovalRequested), "{:?}", bench.told());
    }
}

#[test]
fn an_operation_that_waits_for_the_journal_is_not_begun_once_somebody_deployed() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 20);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.commits_wait = true;
    bench.pass(20);
    assert!(bench.operations.is_empty() && bench.incident(1).active_plan().is_some(), "it waits for the journal");
    bench.live = Some("v3");
    bench.pass(2);
    assert_eq!(outcome(&bench), Some(PlanOutcome::Overtaken));
    bench.commits_wait = false;
    bench.until("told", |bench| bench.was_told(PageKind::RollbackFailed));
    bench.pass(60);
    assert!(bench.operations.is_empty(), "{:?}", bench.told());
}
